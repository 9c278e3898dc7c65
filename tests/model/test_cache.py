"""All layers of a conversation: trim, snapshot, restore, realign, save and load against lists that keep everything."""

import random
from collections.abc import Iterator
from pathlib import Path

import mlx.core as mx
import pytest

from gemma_mlx.errors import CheckpointError, ContextError
from gemma_mlx.model import cache
from gemma_mlx.model.cache import SLACK as DEFAULT_SLACK
from gemma_mlx.model.cache import Caches, Snapshot
from tests import rows, tiny

STEP, WINDOW, SLACK = 8, 5, 3
CONFIG = tiny.config(sliding_window=WINDOW).text_config


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "STEP", STEP)


class Conversation:
    """Caches beside the list of what they should hold; every position gets an id that was never used."""

    def __init__(self, seed: int = 0, slack: int = SLACK) -> None:
        self.caches, self.ids = Caches(CONFIG, slack), list[int]()
        self.rng, self.fresh = random.Random(seed), iter(range(100_000))
        self.snapshots: list[tuple[Snapshot, list[int]]] = []

    def extend(self, length: int) -> None:
        added = [next(self.fresh) for _ in range(length)]
        rows.extend(self.caches, added)
        self.ids = self.ids + added

    def trim(self, n: int) -> None:
        self.caches.trim(n)
        self.ids = self.ids[: len(self.ids) - n]

    def snapshot(self) -> None:
        self.snapshots.append((self.caches.snapshot(), self.ids))

    def restore(self, index: int) -> None:
        """Restores exactly if nothing below the snapshot was taken back since; otherwise it is an error."""
        snapshot, ids = self.snapshots[index]
        possible = self.ids[: len(ids)] == ids
        assert self.caches.can_restore(snapshot) == possible
        if possible:
            self.caches.restore(snapshot)
            self.ids = ids
        else:
            with pytest.raises(ContextError, match=f"snapshot at position {len(ids)} was overwritten"):
                self.caches.restore(snapshot)

    def step(self) -> None:
        """Something that a conversation does."""
        match self.rng.randrange(8):
            case 0 | 1 | 2:
                self.extend(self.rng.choice([1, 2, self.rng.randint(1, 3 * STEP)]))
            case 3 | 4:
                self.trim(self.rng.randint(0, self.caches.trimmable))
            case 5:
                self.snapshot()
            case 6 if self.snapshots:
                self.restore(self.rng.randrange(len(self.snapshots)))
            case 7:
                rows.extend(self.caches, [-1] * self.rng.randint(1, 2 * STEP), self.rng.randint(0, 6))
                self.caches.realign()


@pytest.mark.parametrize("seed", range(12))
def test_random_conversations(seed: int) -> None:
    talk = Conversation(seed)
    for _ in range(60):
        talk.step()
        rows.holds(talk.caches, talk.ids)
        assert talk.caches.offset == len(talk.ids)
        with pytest.raises(ContextError, match="restore a snapshot"):
            talk.caches.trim(talk.caches.trimmable + 1)
        rows.holds(talk.caches, talk.ids)


def test_trim_by_everything_it_offers_at_every_position() -> None:
    for length in range(1, 4 * WINDOW + STEP):
        for n in range(length + 1):
            talk = Conversation()
            for _ in range(length):
                talk.extend(1)
            assert talk.caches.trimmable >= min(length, SLACK)
            if n <= talk.caches.trimmable:
                talk.trim(n)
                rows.holds(talk.caches, talk.ids)
            else:
                with pytest.raises(ContextError, match=f"cannot take back {n} of {length} positions"):
                    talk.caches.trim(n)


def test_nothing_to_take_back() -> None:
    caches = Caches(CONFIG)
    caches.trim(0)
    caches.realign()
    assert (caches.offset, caches.trimmable, caches.nbytes, caches.arrays) == (0, 0, 0, [])
    assert caches.slack == DEFAULT_SLACK
    with pytest.raises(ContextError, match="cannot take back 1 of 0 positions"):
        caches.trim(1)


def far(slack: int = SLACK) -> Conversation:
    """Ten windows long, with a snapshot in the middle."""
    talk = Conversation(slack=slack)
    talk.extend(30)
    talk.snapshot()
    for length in (1, 2, STEP, 3 * STEP):
        talk.extend(length)
    return talk


def test_a_snapshot_goes_back_further_than_the_slack_and_more_than_once() -> None:
    talk = far()
    assert talk.caches.trimmable < 30
    for _ in range(3):
        talk.restore(0)
        rows.holds(talk.caches, talk.ids)
        assert talk.caches.trimmable == SLACK


def test_restoring_twice_after_other_continuations() -> None:
    talk = far()
    for length in (1, STEP, 40):
        talk.restore(0)
        talk.extend(length)
        rows.holds(talk.caches, talk.ids)
    talk.restore(0)
    assert talk.caches.offset == 30


def test_trims_above_a_snapshot_leave_it_valid_and_trims_below_it_do_not() -> None:
    talk = Conversation()
    talk.extend(20)
    talk.snapshot()
    talk.extend(2)
    talk.trim(2)
    assert talk.caches.can_restore(talk.snapshots[0][0])
    talk.trim(1)
    talk.restore(0)  # an error
    talk.extend(5)
    talk.restore(0)  # still one: position 19 is another now
    rows.holds(talk.caches, talk.ids)


def test_branches_that_were_left() -> None:
    """Restoring an early snapshot forgets the later one, also when the conversation is as long again."""
    talk = Conversation()
    talk.extend(10)
    talk.snapshot()
    talk.extend(10)
    talk.snapshot()
    talk.restore(0)
    talk.restore(1)
    talk.extend(10)
    talk.restore(1)
    assert talk.ids[-1] >= 20
    talk.snapshot()
    talk.extend(30)
    talk.restore(2)
    talk.restore(0)
    rows.holds(talk.caches, talk.ids)


def test_the_snapshot_of_the_beginning() -> None:
    talk = Conversation()
    talk.snapshot()
    talk.extend(50)
    talk.restore(0)
    assert (talk.caches.offset, talk.caches.nbytes) == (0, 0)
    talk.extend(3)
    rows.holds(talk.caches, talk.ids)


def test_a_snapshot_is_a_copy_of_the_sliding_rows_only() -> None:
    talk = far()
    snapshot = talk.snapshots[0][0]
    sliding = [index for index, layer in enumerate(CONFIG.layers) if layer.is_sliding]
    assert sorted(snapshot.sliding) == sliding
    of_a_row = 2 * CONFIG.num_key_value_heads * CONFIG.head_dim * 4
    assert snapshot.nbytes == len(sliding) * (WINDOW + 1 + SLACK) * of_a_row
    for kept in snapshot.sliding.values():
        assert rows.ids_of(kept) == list(range(30 - (WINDOW + 1 + SLACK), 30))


def test_bytes_and_arrays() -> None:
    talk = far()
    assert talk.caches.nbytes == sum(array.nbytes for array in talk.caches.arrays)
    assert len(talk.caches.arrays) == 2 * len(CONFIG.layers)


@pytest.mark.parametrize("layers", range(len(CONFIG.layers) + 1))
@pytest.mark.parametrize("length", [1, SLACK, STEP, 3 * STEP])
def test_an_interrupted_append_is_taken_back(layers: int, length: int) -> None:
    talk = far(slack=0)
    talk.snapshot()
    rows.extend(talk.caches, [-1] * length, layers)
    talk.caches.realign()
    if layers < len(CONFIG.layers):
        rows.holds(talk.caches, talk.ids)
        talk.extend(1)
        rows.holds(talk.caches, talk.ids)
        talk.restore(1)
        talk.restore(0)
        rows.holds(talk.caches, talk.ids)
    else:  # nothing was interrupted
        assert talk.caches.offset == len(talk.ids) + length


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


def test_saving_nothing(tmp_path: Path) -> None:
    talk = saved_after(Conversation(), tmp_path / "talk.safetensors")
    assert talk.caches.offset == 0
    talk.extend(2)
    rows.holds(talk.caches, talk.ids)
