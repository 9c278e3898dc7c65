"""All layers of a conversation: trim, snapshot, restore, realign, save and load against lists that keep everything."""

import mlx.core as mx
import pytest

from gemma_mlx.errors import ContextError
from gemma_mlx.model import cache
from gemma_mlx.model.cache import SLACK as DEFAULT_SLACK
from gemma_mlx.model.cache import Caches
from tests import rows, tiny
from tests.rows import CONFIG, SLACK, STEP, WINDOW, Conversation, far


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "STEP", STEP)


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
    talk = Conversation()
    for length in range(1, 4 * WINDOW + STEP):
        talk.extend(1)
        offered, state = talk.caches.trimmable, [layer.rows for layer in talk.caches.layers]
        assert offered >= min(length, SLACK)
        for n in range(offered + 1):
            talk.caches.trim(n)
            rows.holds(talk.caches, talk.ids[: length - n])
            for layer, before in zip(talk.caches.layers, state, strict=True):
                layer.rows = before
        for n in range(offered + 1, length + 2):
            with pytest.raises(ContextError, match=f"cannot take back {n} of {length} positions: {offered} are kept"):
                talk.caches.trim(n)
        rows.holds(talk.caches, talk.ids)


def test_nothing_to_take_back() -> None:
    caches = Caches(CONFIG)
    caches.trim(0)
    caches.realign()
    assert (caches.offset, caches.trimmable, caches.nbytes, caches.arrays) == (0, 0, 0, [])
    assert caches.slack == DEFAULT_SLACK
    with pytest.raises(ContextError, match="cannot take back 1 of 0 positions"):
        caches.trim(1)


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


def test_appends_after_a_snapshot_are_written_in_place() -> None:
    """Were the snapshot a slice of the buffers, each append would copy them."""
    caches = Caches(tiny.config(sliding_window=4096).text_config, SLACK)
    rows.extend(caches, range(4096))
    rows.extend(caches, [1])  # makes room
    mx.eval(caches.arrays)
    snapshot = caches.snapshot()
    buffer = max(array.nbytes for array in caches.arrays)
    for layer, attention in zip(caches.layers, caches.config.layers, strict=True):
        row = rows.pair([2], attention.num_key_value_heads, attention.head_dim)
        mx.eval(row)
        held = mx.get_active_memory()
        mx.reset_peak_memory()
        layer.append(*row)
        mx.eval(caches.arrays)
        assert mx.get_peak_memory() - held < buffer // 4
    assert snapshot.offset == 4097


def test_bytes_and_arrays() -> None:
    talk = far()
    assert talk.caches.nbytes == sum(array.nbytes for array in talk.caches.arrays)
    assert len(talk.caches.arrays) == 2 * len(CONFIG.layers)


def test_going_back_is_never_forward() -> None:
    talk = Conversation()
    talk.extend(5)
    with pytest.raises(ContextError):
        talk.caches.trim(-1)


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


def test_many_rounds_of_trims_cost_nothing() -> None:
    """A drafter takes back tokens in every round: what is remembered grows with snapshots, not with rounds."""
    talk = far()
    for _ in range(300):
        talk.extend(2)
        talk.trim(1)
    assert len(talk.caches._branches) <= 3
    talk.restore(0)
    rows.holds(talk.caches, talk.ids)
