"""What can go wrong with a pull: one line that says what to do, nothing half-made, and the same command mends it."""

import errno
import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from huggingface_hub import constants

from gemma_mlx.checkpoint import INDEX
from gemma_mlx.hub.place import alone, partial_directory
from gemma_mlx.models import models_directory
from tests.command import gemma_mlx
from tests.hub.faults import WAITING, fault
from tests.hub.repositories import FOUR, MIXED, REFERENCE, four_bit
from tests.hub.server import Files, Hub, digest

LATER = "run it again later or use another HF_ENDPOINT"
SHARD = "model-00001-of-00002.safetensors"


def four(hub: Hub) -> Files:
    return hub.repositories[FOUR.repo][FOUR.revision]


def test_names_that_are_none(hub: Hub) -> None:
    give = "names no model: give 4bit, assistant, reference, qat, owner/repo or owner/repo@revision"
    for name in ("nothing", "../x", ""):
        assert fault(name) == f"{name!r} {give}"
    assert fault("8bit").endswith("gemma-mlx pull reference, then gemma-mlx convert reference --recipe 8bit")
    assert "a--b/c is no name of a repository: write it as owner/repo" in fault("a--b/c")
    assert hub.requests == []


def test_what_is_not_on_the_hub(hub: Hub) -> None:
    assert "someone/nothing does not exist or is private: check the name" in fault("someone/nothing")
    assert f"{MIXED}@nothing has no such revision" in fault(f"{MIXED}@nothing")
    del hub.repositories[FOUR.repo]
    assert f"{FOUR.repo}@{FOUR.revision} does not exist or is private" in fault()


@pytest.mark.parametrize("listing", [b"<html>log in</html>", b"[]", b'{"siblings": []}', b""])
def test_an_answer_of_no_hub(hub: Hub, listing: bytes) -> None:
    hub.listing = listing
    assert "HF_ENDPOINT" in fault("4bit")


@pytest.mark.parametrize(
    "entry", [{"size": None}, {"size": "3"}, {"size": -1}, {"blobId": None}, {"blobId": 5}, {"blobId": "../../x"}]
)
def test_a_listing_without_sizes_or_digests(hub: Hub, entry: dict[str, Any]) -> None:
    sibling = {"rfilename": "config.json", "size": 3, "blobId": "a" * 40} | entry
    hub.listing = json.dumps({"id": FOUR.repo, "sha": FOUR.revision, "siblings": [sibling]}).encode()
    assert "lists no size or digest of config.json" in fault("4bit")


def test_another_commit_than_was_asked_for(hub: Hub) -> None:
    hub.listing = json.dumps({"id": FOUR.repo, "sha": "0" * 40, "siblings": []}).encode()
    assert f"the Hub answers with commit {'0' * 40}" in fault("4bit")


def test_no_checkpoint_at_all(hub: Hub) -> None:
    hub.repositories["someone/data"] = {"1" * 40: {"README.md": b""}}
    assert "someone/data@11111111 has no config.json" in fault("someone/data")
    hub.repositories["someone/gguf"] = {"1" * 40: {"config.json": four(hub)["config.json"], "model.gguf": b""}}
    assert "someone/gguf@11111111 has no model.safetensors" in fault("someone/gguf")


class Change(NamedTuple):
    name: str
    change: Callable[[bytes], bytes]
    words: str


def another_family(content: bytes) -> bytes:
    return json.dumps(json.loads(content) | {"model_type": "llama"}).encode()


def longer(content: bytes) -> bytes:
    return content + bytes(7)


def other_header(change: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
    def rewrite(content: bytes) -> bytes:
        (length,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + length])
        change(header)
        text = json.dumps(header).encode()
        return struct.pack("<Q", len(text)) + text + content[8 + length :]

    return rewrite


def packed(header: dict[str, Any]) -> str:
    return min(name for name, entry in header.items() if entry.get("dtype") == "U32" and "layers" in name)


def lengthen(content: bytes) -> bytes:
    return struct.pack("<Q", 90_000_000) + content[8:] + bytes(95_000_000)


def cursor_up(header: dict[str, Any]) -> None:
    header["\n\x1b[A"] = header.pop(packed(header)) | {"dtype": "\x1b[2J"}


def without_end(header: dict[str, Any]) -> None:
    header[packed(header)]["shape"] = [2**62] * 1000


def lose_a_tensor(header: dict[str, Any]) -> None:
    del header[packed(header)]


def lie_about_a_place(header: dict[str, Any]) -> None:
    header[packed(header)]["data_offsets"][1] += 4


def eight_bits(content: bytes) -> bytes:
    raw = json.loads(content)
    raw["quantization"]["bits"] = 8
    return json.dumps(raw).encode()


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        Change("config.json", another_family, f"{FOUR.repo}/config.json is 'llama', supported: Gemma 4 12B"),
        Change("config.json", lambda content: b"{", "config.json is no JSON"),
        Change("config.json", lambda content: b"[]", "config.json holds a list"),
        Change("config.json", lambda content: content + b" " * 10_000_000, "bytes: it is no description"),
        Change("config.json", eight_bits, "config.json says 64 and 8"),
        Change(SHARD, longer, "bytes, its header describes"),
        Change(SHARD, lambda content: content[:-7], "is truncated"),
        Change(SHARD, lambda content: content[:50], "is truncated"),
        Change(SHARD, lambda content: b"\x05" + bytes(7) + b"what?", "is no safetensors file"),
        Change(SHARD, lengthen, "has a header of 90000000 bytes: it is no checkpoint"),
        Change(SHARD, other_header(cursor_up), "header entry of ��[A is malformed"),
        Change(SHARD, other_header(without_end), ".weight is malformed"),
        Change(SHARD, other_header(lose_a_tensor), ".weight, which is in no shard"),
        Change(SHARD, other_header(lie_about_a_place), " of U32 needs "),
    ],
)
def test_checkpoints_are_judged_before_they_come(
    hub: Hub, name: str, change: Callable[[bytes], bytes], words: str
) -> None:
    four(hub)[name] = change(four(hub)[name])
    line = fault("4bit")
    assert words in line
    assert FOUR.repo in line
    assert hub.weights_served() <= 300_000  # headers of three files
    assert not models_directory().exists()


@pytest.mark.parametrize(
    "shard", ["../../config.json", f"/{SHARD}", f"deep/{SHARD}", "config.json", "nowhere.safetensors"]
)
def test_an_index_that_names_other_files(hub: Hub, shard: str) -> None:
    index = json.loads(four(hub)[INDEX])
    index["weight_map"][min(index["weight_map"])] = shard
    four(hub)[INDEX] = json.dumps(index).encode()
    line = fault("4bit")
    assert shard in line
    assert FOUR.repo in line


def test_a_missing_shard(hub: Hub) -> None:
    del four(hub)[SHARD]
    assert f"{FOUR.repo}@{FOUR.revision[:8]} has no {SHARD}" in fault("4bit")


def test_a_model_without_a_tokenizer(hub: Hub) -> None:
    del four(hub)["tokenizer.json"], four(hub)["tokenizer.model"]
    assert f"{FOUR.repo}@{FOUR.revision[:8]} has no tokenizer.json" in fault("4bit")
    assert hub.weights_served() <= 300_000


def test_media_that_are_packed_are_no_replacement(hub: Hub) -> None:
    hub.repositories[REFERENCE.repo][REFERENCE.revision] = dict(four_bit())
    assert "is packed: vision and audio come from a 16-bit checkpoint" in fault("4bit")


def test_a_body_of_another_digest(hub: Hub, tmp_path: Path) -> None:
    content = four(hub)[SHARD]
    hub.sent_instead[SHARD] = content[:-1] + bytes([content[-1] ^ 1])
    line = fault("4bit")
    assert f"{FOUR.repo}/{SHARD} came damaged (its digest is not {digest(SHARD, content)[:12]}" in line
    assert not [blob for blob in (tmp_path / "cache").rglob(digest(SHARD, content)) if blob.is_file()]
    hub.sent_instead.clear()
    assert gemma_mlx("pull", "4bit").code == 0


@pytest.mark.parametrize("lie", [-1, 1])
def test_sizes_that_are_listed_wrong(hub: Hub, lie: int) -> None:
    hub.listed_size[SHARD] = len(four(hub)[SHARD]) + lie
    line = fault("4bit")
    assert SHARD in line
    assert f"another file than it lists: {LATER}" in line


def test_a_body_of_another_size(hub: Hub) -> None:
    hub.sent_instead[SHARD] = four(hub)[SHARD] + b"more"
    assert f"another file than it lists: {LATER}" in fault("4bit")
    four(hub)["config.json"] = four(hub)["config.json"] + b" "
    hub.listed_size["config.json"] = len(four(hub)["config.json"]) - 1
    assert f"{FOUR.repo}/config.json has more bytes than the Hub lists: {LATER}" in fault("4bit")


def test_a_server_without_ranges(hub: Hub) -> None:
    hub.without_ranges = True
    assert "sends no parts of files (ranges): use another HF_ENDPOINT" in fault("4bit")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (404, "is not on the Hub"),
        (429, "too many requests (429): wait and run it again"),
        (500, "answers with status 500: wait and run it again"),
    ],
)
def test_statuses_of_bodies(hub: Hub, status: int, words: str) -> None:
    hub.status = status
    line = fault("4bit")
    assert words in line
    assert str(status) in line
    assert line.startswith((f"{REFERENCE.repo}/model.safetensors", FOUR.repo))


def test_waiting_is_said_once(hub: Hub) -> None:
    hub.status = 503
    lines = gemma_mlx("pull", "4bit").err.splitlines()
    assert lines[0] == "asking the Hub about 4bit"
    assert [WAITING in line for line in lines] == [False, True, False]
    assert (
        len([each for each in hub.requests if each.startswith("GET /cdn/")]) == 3
    )  # the waits of the fixture, and one


def test_a_connection_that_brings_nothing(hub: Hub) -> None:
    hub.cut_after = 0
    line = fault("4bit")
    assert "nothing comes after byte 0 (" in line
    assert "run it again, it goes on from here" in line


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_too_little_room(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 10**12, 1_000_000))
    line = fault()
    assert "1.0 MB are free at" in line
    assert "set HF_HOME and GEMMA_MLX_HOME to another disk" in line
    assert hub.weights_served() <= 400_000


def test_places_that_take_no_files(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are not told as full."""
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, 0))  # such as /proc
        assert "cannot be written: set HF_HOME and GEMMA_MLX_HOME to directories that can be" in fault()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "cannot be written: set HF_HOME" in fault()


def test_a_disk_that_fills_up(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        line = fault("4bit")
    assert "the disk is full: make room and run it again" in line
    assert gemma_mlx("pull", "4bit").code == 0


def test_places_that_cannot_be_written(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with monkeypatch.context() as patch:
        patch.setenv("GEMMA_MLX_HOME", str(tmp_path / "file"))
        run = gemma_mlx("pull", "4bit")
    assert "set GEMMA_MLX_HOME to a directory that can be written" in run.err.splitlines()[-1]
    assert hub.weights_served() <= 400_000
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "file"))
    line = fault("4bit")
    assert str(tmp_path / "file") in line
    assert "set HF_HOME to a directory that can be written" in line


def test_a_read_only_cache(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def locked(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    partial_directory("4bit")
    monkeypatch.setattr("gemma_mlx.hub.download._alone", locked)  # root may write everywhere
    line = fault("4bit")
    assert "(Permission denied): set HF_HOME" in line


def test_two_pulls_at_once(hub: Hub) -> None:
    partial = partial_directory("assistant")
    with alone(partial):
        assert f"{partial} is in use by another `gemma-mlx pull`: wait for it" in fault("assistant")
    assert gemma_mlx("pull", "assistant").code == 0
