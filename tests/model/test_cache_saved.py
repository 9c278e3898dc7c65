"""Saved conversations go on as if they had not been; anything else in the file is refused."""

from collections.abc import Iterator
from pathlib import Path

import mlx.core as mx
import pytest

from gemma_mlx.errors import CheckpointError
from gemma_mlx.model import cache
from gemma_mlx.model.cache import Caches
from tests import rows, tiny
from tests.rows import CONFIG, SLACK, STEP, WINDOW, Conversation, far


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "STEP", STEP)


def saved_after(talk: Conversation, path: Path) -> Conversation:
    """The same conversation with caches that were saved and loaded."""
    talk.caches.save(path)
    talk.caches = Caches.load(path, CONFIG)
    return talk


@pytest.mark.parametrize("seed", range(6))
def test_saved_and_loaded_conversations_go_on(tmp_path: Path, seed: int) -> None:
    talk = Conversation(seed)
    for number in range(15):
        for _ in range(3):
            talk.step()
        trimmable = talk.caches.trimmable
        saved_after(talk, tmp_path / f"{number}.safetensors")
        talk.snapshots.clear()
        rows.holds(talk.caches, talk.ids)
        assert talk.caches.slack == SLACK
        assert talk.caches.trimmable >= min(trimmable, SLACK)


@pytest.mark.parametrize("length", range(2 * (WINDOW + SLACK) + 3))
def test_saving_at_every_position(tmp_path: Path, length: int) -> None:
    for back in range(min(length, SLACK) + 1):
        talk = Conversation()
        for _ in range(length):
            talk.extend(1)
        talk.trim(back)
        saved_after(talk, tmp_path / f"{back}.safetensors")
        rows.holds(talk.caches, talk.ids)
        talk.extend(2 * STEP)
        rows.holds(talk.caches, talk.ids)


def damaged(path: Path) -> Iterator[str]:
    """Write one damaged file after the other; yields what is wrong with it."""
    whole = path.read_bytes()
    loaded = mx.load(str(path), return_metadata=True)
    assert isinstance(loaded, tuple)
    arrays, metadata = loaded
    mx.eval(arrays)
    assert isinstance(arrays, dict)
    for kept in (0, 7, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:kept])
        yield f"cut to {kept} bytes"
    path.write_bytes(b"x" * 1000)
    yield "rubbish"
    changes: dict[str, tuple[dict[str, mx.array], dict[str, str]]] = {
        "no metadata": (arrays, {}),
        "offset no number": (arrays, metadata | {"offset": "many"}),
        "offset negative": (arrays, metadata | {"offset": "-1"}),
        "offset too small": (arrays, metadata | {"offset": "4"}),
        "offset too large": (arrays, metadata | {"offset": "1000000"}),
        "slack negative": (arrays, metadata | {"slack": "-7"}),
        "a layer lost": ({name: a for name, a in arrays.items() if name != "2.values"}, metadata),
        "a layer too many": (arrays | {"7.keys": arrays["6.keys"]}, metadata),
        "keys and values of different length": (arrays | {"2.keys": arrays["2.keys"][:, :, 1:]}, metadata),
        "no rows": (arrays | {f"2.{k}": arrays[f"2.{k}"][:, :, :0] for k in ("keys", "values")}, metadata),
        "whole numbers": (arrays | {"2.keys": arrays["2.keys"].astype(mx.int32)}, metadata),
        "one number": (arrays | {"2.keys": mx.array(1.0)}, metadata),
        "rows but no position": (arrays, metadata | {"offset": "0"}),
        "another model": (arrays | {"2.keys": mx.ones((1, 9, 9, 9))}, metadata),
    }
    for fault, (changed, about) in changes.items():
        mx.save_safetensors(str(path), changed, about)
        yield fault


def test_damaged_files(tmp_path: Path) -> None:
    talk, path = far(), tmp_path / "talk.safetensors"
    talk.caches.save(path)
    for fault in damaged(path):
        with pytest.raises(CheckpointError, match="is no cache of this model") as found:
            Caches.load(path, CONFIG)
        assert "\n" not in str(found.value), fault
        assert "talk.safetensors is no cache of this model" in str(found.value)


def test_files_that_are_not_there_or_of_another_model(tmp_path: Path) -> None:
    path = tmp_path / "talk.safetensors"
    with pytest.raises(CheckpointError, match=r"talk\.safetensors is no cache of this model"):
        Caches.load(path, CONFIG)
    far().caches.save(path)
    for changes in ({"head_dim": 24}, {"sliding_window": 2 * WINDOW}, {"num_global_key_value_heads": 2}):
        with pytest.raises(CheckpointError, match=r"talk\.safetensors is no cache of this model"):
            Caches.load(path, tiny.config(**({"sliding_window": WINDOW} | changes)).text_config)


def test_what_was_loaded_does_not_need_the_file(tmp_path: Path) -> None:
    path = tmp_path / "talk.safetensors"
    talk = saved_after(far(), path)
    path.write_bytes(b"x" * path.stat().st_size)
    rows.holds(talk.caches, talk.ids)


def test_saving_nothing(tmp_path: Path) -> None:
    talk = saved_after(Conversation(), tmp_path / "talk.safetensors")
    assert talk.caches.offset == 0
    talk.extend(2)
    rows.holds(talk.caches, talk.ids)
