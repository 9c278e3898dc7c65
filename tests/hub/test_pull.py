"""`gemma-mlx pull` from a Hub on this machine: what comes, how it continues, and what needs no network."""

import json
import os
import re
from pathlib import Path

import mlx.core as mx
import pytest
from huggingface_hub import constants

from gemma_mlx import checkpoint
from gemma_mlx.errors import ConfigError
from gemma_mlx.hub.media import MEDIA_FILE
from gemma_mlx.hub.pull import pull
from gemma_mlx.loading import load_model
from gemma_mlx.models import RECORD, default_model, drafter_for, find_model, models_directory
from gemma_mlx.names import target_name
from tests.command import gemma_mlx
from tests.hub.repositories import ASSISTANT, COMMIT, FOUR, MIXED, REFERENCE, four_bit, reference
from tests.hub.server import Hub

MEDIA = ("vision_embedder.", "embed_vision.", "embed_audio.")
SHARDS = [name for name in four_bit() if name.endswith(".safetensors")]


def stored(directory: Path) -> dict[str, mx.array]:
    """The tensors of a directory by our names, as an index with `unused` lists them."""
    found: dict[str, mx.array] = {}
    for tensor in checkpoint.read_tensors(directory).values():
        loaded = mx.load(str(tensor.file))
        assert isinstance(loaded, dict)
        found[str(target_name(tensor.name))] = loaded[tensor.name]
    return found


def written(files: dict[str, bytes], directory: Path) -> Path:
    directory.mkdir()
    for name, content in files.items():
        (directory / name).write_bytes(content)
    return directory


def test_the_default_is_the_4bit_model_with_16bit_media_and_its_drafter(hub: Hub, tmp_path: Path) -> None:
    run = gemma_mlx("pull", "--memory", "16GB")
    assert run.code == 0, run
    directory, assistant = models_directory() / "4bit", models_directory() / "assistant"
    assert run.out == f"{directory}\n{assistant}\n"
    *asked, first, second, third = run.err.splitlines()
    assert asked == ["asking the Hub about 4bit", "asking the Hub about assistant"]
    assert first.startswith("4bit: 4-bit language, 16-bit vision and audio, 8.2 MB, fits in 16 GB with a context of ")
    assert first.endswith(" and the drafter")
    held = "0.9 MB of memory once packed to 4 bits, beside what the model takes"
    assert second == f"assistant: 16-bit drafter, 3.0 MB, {held}"
    assert third == "assistant-4bit: the drafter packed to 4 bits, 0.8 MB"
    assert default_model() == find_model("4bit") == directory
    assert drafter_for(directory) == models_directory() / "assistant-4bit"
    ours, before, original = (
        stored(directory),
        stored(written(four_bit(), tmp_path / "4bit")),
        stored(written(reference(), tmp_path / "reference")),
    )
    media = {name for name in original if name.startswith(MEDIA)}
    assert len(media) == 11
    assert ours.keys() == {name for name in before if not name.startswith(MEDIA)} | media
    for name, array in ours.items():
        expected = original[name] if name in media else before[name]
        assert array.dtype == expected.dtype, name
        assert mx.array_equal(array, expected), name
    load_model(directory)


def test_weights_are_links_into_the_cache_that_others_share(hub: Hub, tmp_path: Path) -> None:
    gemma_mlx("pull", "4bit")
    for name in SHARDS:
        link = models_directory() / "4bit" / name
        assert link.is_symlink()
        assert link.resolve().is_relative_to(tmp_path / "cache")
        assert find_model(f"{FOUR.repo}@{FOUR.revision}").joinpath(name).read_bytes() == four_bit()[name]
    assert "README.md" not in {path.name for path in (models_directory() / "4bit").iterdir()}


def test_a_repository_with_a_record_of_its_own(hub: Hub, tmp_path: Path) -> None:
    """Ours would be written through the link, into the cache that others share."""
    hub.repositories[ASSISTANT.repo][ASSISTANT.revision][RECORD] = b'{"repo": "../x"}'
    assert gemma_mlx("pull", "assistant").code == 0
    record = models_directory() / "assistant" / RECORD
    assert not record.is_symlink()
    assert json.loads(record.read_text())["repo"] == ASSISTANT.repo


def test_a_disk_without_links_gets_copies(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    assert gemma_mlx("pull", "4bit").code == 0
    for name in SHARDS:
        copy = models_directory() / "4bit" / name
        assert not copy.is_symlink()
        assert copy.read_bytes() == four_bit()[name]
    load_model(models_directory() / "4bit")


def test_the_reference_is_fetched_by_range_only(hub: Hub) -> None:
    gemma_mlx("pull", "4bit")
    media = (models_directory() / "4bit" / MEDIA_FILE).stat().st_size
    assert hub.served["model.safetensors"] <= media + 100_000
    assert hub.leaked == []


def test_a_second_pull_asks_no_network(hub: Hub) -> None:
    first = gemma_mlx("pull")
    hub.requests.clear()
    second = gemma_mlx("pull")
    assert second.code == 0
    assert second.out == first.out
    assert second.err.splitlines() == ["4bit is here already", "assistant is here already"]
    assert hub.requests == []


@pytest.mark.parametrize(("here", "missing"), [("4bit", "assistant"), ("assistant", "4bit")])
def test_only_what_is_missing_comes(hub: Hub, here: str, missing: str) -> None:
    alone = gemma_mlx("pull", here)
    assert alone.out == f"{models_directory() / here}\n"
    assert not (models_directory() / missing).exists()
    hub.served.clear()
    run = gemma_mlx("pull")
    assert run.out.splitlines() == [str(models_directory() / name) for name in ("4bit", "assistant")]
    assert f"{here} is here already" in run.err.splitlines()
    shards = {"4bit": sum(hub.served[name] for name in SHARDS), "assistant": hub.served["model.safetensors"]}
    assert shards["4bit"] > 10**6 if missing == "4bit" else shards["4bit"] == 0
    assert shards["assistant"] > 0


def test_progress_is_one_for_both(hub: Hub) -> None:
    seen: list[tuple[int, int]] = []
    pull(["4bit", "assistant"], None, lambda line: None, lambda done, total: seen.append((done, total)))
    directories = [models_directory() / name for name in ("4bit", "assistant")]
    files = {tensor.file for each in directories for tensor in checkpoint.read_tensors(each).values()}
    stored = sum(file.stat().st_size for file in files)
    assert len({total for _, total in seen}) == 1
    assert seen[-1][0] == seen[-1][1] >= stored


def test_a_cache_that_was_emptied_is_filled_again(hub: Hub, tmp_path: Path) -> None:
    gemma_mlx("pull", "4bit")
    shard = models_directory() / "4bit" / SHARDS[1]
    shard.resolve().unlink()
    line = gemma_mlx("ask", "hello").fault  # not the demo in its place
    assert line.endswith(f"is incomplete, {SHARDS[1]} is gone from the Hub's cache: gemma-mlx pull 4bit")
    before = hub.weights_served()
    assert "\n4bit: 4-bit language" in gemma_mlx("pull", "4bit").err
    assert shard.read_bytes() == four_bit()[SHARDS[1]]
    media = (models_directory() / "4bit" / MEDIA_FILE).stat().st_size
    assert hub.weights_served() - before < len(four_bit()[SHARDS[1]]) + media + 400_000  # headers
    assert not list(models_directory().glob(".*.old"))


def test_a_file_that_became_shorter_is_fetched_again(hub: Hub) -> None:
    gemma_mlx("pull", "4bit")
    shard = models_directory() / "4bit" / SHARDS[1]
    os.truncate(shard.resolve(), 100)
    assert "\n4bit: 4-bit language" in gemma_mlx("pull", "4bit").err
    assert shard.read_bytes() == four_bit()[SHARDS[1]]


def test_progress_counts_every_byte_once(hub: Hub) -> None:
    for _ in range(2):
        seen: list[tuple[int, int]] = []

        def note(done: int, total: int, seen: list[tuple[int, int]] = seen) -> None:
            seen.append((done, total))

        pull(["4bit"], None, lambda line: None, note)
        assert seen[-1][0] == seen[-1][1] == seen[0][1]
        assert [done for done, _ in seen] == sorted(done for done, _ in seen)
        (models_directory() / "4bit" / "pulled.json").unlink()  # so that it is made again, from the cache


def test_bodies_that_are_cut_are_continued(hub: Hub) -> None:
    hub.cut_after = 90_000
    run = gemma_mlx("pull", "4bit")
    assert run.code == 0, run
    load_model(models_directory() / "4bit")
    total = sum(len(four_bit()[name]) for name in SHARDS)
    assert sum(hub.served[name] for name in SHARDS) <= total + 200_000 * len(SHARDS)


def test_ranges_that_are_shorter_than_asked_for(hub: Hub) -> None:
    hub.longest_range, hub.total = 40_000, False
    assert gemma_mlx("pull", "4bit").code == 0
    load_model(models_directory() / "4bit")


def test_what_came_before_a_fault_is_kept(hub: Hub, tmp_path: Path) -> None:
    hub.cut_after, hub.seconds_per_chunk = 60_000, 0

    def stop(done: int, total: int) -> None:
        if done > 400_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull(["4bit"], None, lambda line: None, stop)
    (partial,) = (tmp_path / "cache").rglob("*.incomplete")
    have = partial.stat().st_size
    assert have > 0
    with pytest.raises(ConfigError, match=r"4bit is no directory, and not pulled yet: gemma-mlx pull 4bit$"):
        find_model("4bit")
    hub.served.clear()
    hub.cut_after = None
    assert gemma_mlx("pull", "4bit").code == 0
    assert hub.served[SHARDS[0]] <= len(four_bit()[SHARDS[0]]) - have + 170_000  # headers, and what was under way
    assert not list((tmp_path / "cache").rglob("*.incomplete"))


def test_media_continue_after_any_byte(hub: Hub) -> None:
    """What a kill can leave of the file that is written tensor by tensor."""
    gemma_mlx("pull", "4bit")
    directory = models_directory() / "4bit"
    expected = (directory / MEDIA_FILE).read_bytes()
    for kept in (b"", expected[:1], expected[:100], expected[:3000], expected[:-1], expected, expected + b"more", b"?"):
        partial = directory.rename(models_directory() / ".4bit.partial")
        (partial / MEDIA_FILE).write_bytes(kept)
        hub.served.clear()
        assert gemma_mlx("pull", "4bit").code == 0
        assert (directory / MEDIA_FILE).read_bytes() == expected
        rest = len(expected) - len(kept) if expected.startswith(kept) and len(kept) > 2000 else len(expected)
        assert hub.served["model.safetensors"] <= rest + 100_000


def test_what_is_there_is_what_was_published(hub: Hub) -> None:
    gemma_mlx("pull", "4bit")
    ours = {path.name: path.read_bytes() for path in (models_directory() / "4bit").iterdir()}
    made = {"model.safetensors.index.json", "pulled.json", MEDIA_FILE}
    assert ours.keys() == (four_bit().keys() - {"README.md"}) | made
    assert all(ours[name] == four_bit()[name] for name in ours.keys() - made)


def test_another_repository_by_commit_and_by_branch(hub: Hub) -> None:
    by_branch = gemma_mlx("pull", MIXED)
    directory = models_directory() / f"{MIXED.replace('/', '--')}@{COMMIT}"
    assert by_branch.out == f"{directory}\n"
    said = re.search(r"(\S+)-bit language \(embed_tokens 4, self_attn 4, mlp 8\), 4-bit", by_branch.err)
    assert said
    assert 4 < float(said[1]) < 8
    assert json.loads((directory / "pulled.json").read_text())["revision"] == COMMIT
    load_model(directory)
    hub.repositories[MIXED]["f" * 40] = hub.repositories[MIXED].pop("d" * 40)  # the branch moves
    hub.requests.clear()
    assert gemma_mlx("pull", MIXED).err == f"{MIXED} is here already\n"
    assert gemma_mlx("pull", f"{MIXED}@{COMMIT}").out == f"{directory}\n"
    assert hub.requests == []
    assert find_model(MIXED) == find_model(f"{MIXED}@{COMMIT[:8]}") == directory
    newer = gemma_mlx("pull", f"{MIXED}@main")
    assert newer.out == f"{directory.with_name(directory.name.replace(COMMIT, 'f' * 40))}\n"
    assert "say someone/gemma-4-12B-it-qat-4bit@ and one of" in gemma_mlx("ask", "hello", "--model", MIXED).fault


def test_a_checkpoint_that_does_not_fit_is_refused_before_a_body(hub: Hub) -> None:
    whole = sum(len(content) for content in hub.repositories[MIXED][COMMIT].values())
    asked, fault = gemma_mlx("pull", MIXED, "--memory", "1MB").err.splitlines()
    assert asked == f"asking the Hub about {MIXED}"
    assert "does not fit in" in fault
    assert "mlp 8" in fault
    assert "MB may be used in all: take `gemma-mlx pull 4bit`, or add --anyway" in fault
    assert hub.weights_served() <= 100_000 * len(SHARDS) < whole
    assert not models_directory().exists()
    assert gemma_mlx("pull", MIXED, "--memory", "1MB", "--anyway").code == 0


def test_sources_of_conversions_need_not_fit(hub: Hub) -> None:
    run = gemma_mlx("pull", "reference", "--memory", "1MB")
    assert run.code == 0
    assert (
        run.err.splitlines()[1]
        == "reference: 16-bit language, vision and audio, 16.1 MB, for gemma-mlx convert reference"
    )


def test_the_cache_is_enough_without_a_network(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("reference", "4bit"):
        gemma_mlx("pull", name)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("GEMMA_MLX_HOME", str(tmp_path / "another"))
    for name in ("reference", "4bit"):
        assert gemma_mlx("pull", name).out == f"{tmp_path / 'another' / 'models' / name}\n"
        load_model(find_model(name))
    assert find_model(f"{REFERENCE.repo}@{REFERENCE.revision}").name == REFERENCE.revision
    fault = gemma_mlx("pull", "assistant").fault
    assert f"{ASSISTANT.repo}@{ASSISTANT.revision} is not in the cache" in fault
    assert "HF_HUB_OFFLINE" in fault


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", *SHARDS])
def test_a_cache_that_lacks_a_file_is_not_enough(hub: Hub, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for name_of_entry in ("reference", "4bit"):
        gemma_mlx("pull", name_of_entry)
    snapshot = (models_directory() / "4bit" / "config.json").readlink().parent
    (snapshot / "tokenizer.model").unlink()
    (snapshot / name).unlink(missing_ok=True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "is not in the cache, and " in gemma_mlx("pull", "4bit").fault
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert gemma_mlx("pull", "4bit").code == 0


def test_the_list(hub: Hub) -> None:
    gemma_mlx("pull", "assistant")
    gemma_mlx("pull", MIXED)
    lines = gemma_mlx("pull", "--list").out.splitlines()
    short = f"{MIXED}@{COMMIT[:8]}"
    assert [line.split()[0] for line in lines] == ["4bit", "assistant", "reference", "qat", "assistant-4bit", short]
    assert ["not here" in line for line in lines] == [True, False, True, True, False, False]
    assert lines[1].split(maxsplit=4)[1:] == ["0.85", "GB", "here", "its drafter, for faster answers"]
    assert lines[-1].split()[1:] == ["7.2", "MB", "here"]
    directory = models_directory() / f"{MIXED.replace('/', '--')}@{COMMIT}"
    assert find_model(short) == directory
    (directory / SHARDS[0]).resolve().unlink()
    assert gemma_mlx("pull", "--list").out.splitlines()[-1].endswith("incomplete")
    assert gemma_mlx("pull", "--list", "4bit").code == 2


def test_the_repository_of_a_name_is_found_by_its_id(hub: Hub) -> None:
    """The Hub's cache knows no branch of what was fetched at a commit."""
    gemma_mlx("pull", "reference")
    directory = models_directory() / "reference"
    assert find_model(REFERENCE.repo) == directory
    assert gemma_mlx("convert", REFERENCE.repo).code == 0
    assert (models_directory() / "gemma-4-12B-it-4bit").is_dir()
