"""The benchmark of live listening: what it plays, how it slows a model down, and one short answer in real time."""

import time
from dataclasses import replace
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from gemma_mlx.benchmarks import live, live_peer
from gemma_mlx.benchmarks.live_figures import Case, Measured, centile, summary
from gemma_mlx.benchmarks.spoken import BLOCK, Player, bare, recordings, scene, utterance
from gemma_mlx.benchmarks.throttle import Rate, Throttled
from gemma_mlx.chat import Chat
from gemma_mlx.errors import InputError
from gemma_mlx.inputs.audio import SAMPLE_RATE
from gemma_mlx.live.inbox import Closed, Opened, Paused, Sound
from gemma_mlx.loading import load_model
from gemma_mlx.model.cache import Caches
from gemma_mlx.models import find_model
from tests import chats, saved

pytestmark = pytest.mark.alone

SLOW, FAST = Rate(70, 8), Rate(1e6, 1e6)


class Clock:
    """Seconds that pass while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_the_peers_copy_of_a_packed_model_loads_and_computes_in_float32(tmp_path: Path) -> None:
    live_peer._copy_in_float32(find_model("demo"), tmp_path / "copy")
    model = load_model(tmp_path / "copy")
    stored = {array.dtype for array in saved.arrays(model).values()}
    assert stored == {mx.uint32, mx.float32}


@pytest.mark.parametrize(("tokens", "seconds"), [(1, 1 / 8), (8, 1 / 8), (9, 9 / 70), (140, 2)])
def test_a_pass_takes_the_time_of_the_slower_machine(tokens: int, seconds: float) -> None:
    clock, model = Clock(), chats.demo().model
    slow = Throttled(model, SLOW, clock, clock.sleep)
    caches, plain = Caches(model.config.text_config), Caches(model.config.text_config)
    embeddings = slow.embed_text(mx.array([[5] * tokens]))
    hidden = slow(embeddings, caches)
    assert clock.now == pytest.approx(seconds)
    assert mx.array_equal(hidden, model(embeddings, plain))
    assert mx.array_equal(slow.logits(hidden), model.logits(hidden))
    assert caches.offset == tokens


def test_a_pass_that_is_slower_by_itself_waits_no_longer() -> None:
    slept: list[float] = []
    times = iter((0.0, 5.0))
    slow = Throttled(chats.demo().model, SLOW, lambda: next(times), slept.append)
    slow(slow.embed_text(mx.array([[5]])), Caches(slow.config.text_config))
    assert slept == [0.0]


def test_quiet_ends_fall_off() -> None:
    loud = np.full(1600, 0.5, np.float32)
    quiet = np.full(800, 0.001, np.float32)
    assert np.array_equal(bare(np.concatenate([quiet, loud, quiet, loud, quiet])), np.concatenate([loud, quiet, loud]))
    for silent in (np.zeros(1600, np.float32), loud[:0]):
        with pytest.raises(InputError, match="silent"):
            bare(silent)


def test_recordings_are_those_that_are_named(tmp_path: Path) -> None:
    (bundled,) = recordings([])
    assert 1 < len(bundled) / SAMPLE_RATE < 3
    with pytest.raises(InputError, match=r"no \.wav file"):
        recordings([tmp_path])


@pytest.mark.parametrize("seconds", [0.4, 2, 29])
def test_utterances_are_as_long_as_asked_for_and_end_where_speech_ends(seconds: float) -> None:
    said = [np.full(round(part * SAMPLE_RATE), part, np.float32) for part in (0.5, 0.7)]
    made = utterance(said, seconds, 1)
    assert seconds - 0.16 < len(made) / SAMPLE_RATE <= seconds
    assert made[0] == np.float32(0.7)  # begins with the second one
    played = scene(made, 0)
    assert played.speech_seconds == pytest.approx(len(made) / SAMPLE_RATE)
    assert len(played.samples) % BLOCK == 0
    around = np.abs(played.samples.astype(int))
    assert around[played.end - 200 : played.end].min() > 8000
    assert around[: SAMPLE_RATE // 2].max() < 200
    assert around[played.end :].max() < 200
    assert 2 <= (len(played.samples) - played.end) / SAMPLE_RATE < 2.03


def test_a_player_is_as_fast_as_time_and_gives_everything_once() -> None:
    samples = np.arange(3 * BLOCK).astype(np.int16)
    player = Player(samples)
    player.open()
    assert player.read(0) is None  # nothing is heard yet
    blocks = [player.read(1) for _ in range(3)]
    late = time.monotonic() - player.when(3 * BLOCK)
    assert late >= 0
    assert [block.number for block in blocks if block] == [0, 1, 2]
    assert np.array_equal(np.concatenate([block.samples for block in blocks if block]), samples)
    assert blocks[2] is not None
    assert blocks[2].time == player.when(3 * BLOCK)
    assert player.read(0.01) is None
    player.close()
    assert player.read(60) is None  # at once


def test_a_short_utterance_is_heard_read_and_answered(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    found = live.compare(live.Plan((1.2,), (FAST,), 1, 1, "energy"), [], None, out)
    assert found["not_one_turn"] == 0
    assert found["left_out"] == ["mlx-vlm: no --peer-python was given"]
    early, recorded, late = found["cases"]
    assert (early["early_close"], recorded["way"], late["early_close"]) == (True, "recorded first", False)
    for case in (early, late):
        assert case["answers"] == 1
        assert case["end_to_decision_s"]["p50"] > 0.6
        whole, after = case["end_to_first_s"]["p50"], case["decision_to_first_s"]["p50"]
        assert whole == pytest.approx(case["end_to_decision_s"]["p50"] + after, abs=1e-3)
        assert case["beyond_silence_s"]["p50"] == pytest.approx(whole - 0.7, abs=1e-3)
    lines = out.read_text().splitlines()
    assert len(lines) == 3
    assert len({line.split('"text": ')[1] for line in lines}) == 1  # the same answer each time


@pytest.mark.parametrize(
    ("early", "items"), [(True, (Opened, Sound, Paused, Closed)), (False, (Opened, Sound, Closed))]
)
def test_the_first_decision_is_noted_with_what_was_unread(early: bool, items: tuple[type, ...]) -> None:
    chat = Chat(chats.demo())
    chat.context.keys = [2, ("a", 0), ("a", 1), 5]
    log, sound = live.Log(chat, early), Sound(np.ones(6 * 640, np.int16))
    for item in (Opened(), sound, Paused(5 * 640), Closed(5 * 640)):
        assert log.decided is None
        log.put(item)
    decided = log.decided
    assert decided is not None
    assert log.unread == 3
    taken = [log.take(0) for _ in items]
    assert tuple(map(type, taken)) == items
    assert not log.waiting
    for another in (Opened(), sound, Closed(640)):
        log.put(another)
    assert (log.decided, log.unread) == (decided, 3)


def test_nothing_is_unread_where_more_than_the_turn_is_held() -> None:
    chat = Chat(chats.demo())
    chat.context.keys = [("a", row) for row in range(9)]
    log = live.Log(chat, early=False)
    for item in (Opened(), Sound(np.ones(9 * 640, np.int16)), Closed(5 * 640)):
        log.put(item)
    assert log.unread == 0


def measured(case: Case, first: float, **more: float) -> Measured:
    return replace(Measured(case, 0, case.seconds, first, 9, "a", 0.75, 0.7), **more)  # type: ignore[arg-type]


def test_figures_and_bars() -> None:
    short, long = (Case("live", seconds, SLOW, True) for seconds in (2, 29))
    recorded, peer = Case("recorded first", 29, SLOW), Case("mlx-vlm", 29, None)
    found = [measured(short, 0.01), measured(long, 0.01), measured(long, 0.012, unread=25), measured(long, 0.03)]
    told = summary([*found, measured(recorded, 0.12), measured(peer, 0.06)])
    assert [case["answers"] for case in told["cases"]] == [1, 3, 1, 1]
    assert told["cases"][1]["decision_to_first_s"] == {"p50": 0.012, "p95": 0.03, "min": 0.01, "max": 0.03}
    (ratios,) = told["longest / shortest"]
    assert ratios["decision_to_first_s"] == 1.2
    assert ratios["end_to_first_s"] == round(0.762 / 0.76, 3)
    assert ratios["beyond_silence_s"] == round(0.062 / 0.06, 3)
    assert [each["decision_to_first_s"] for each in told["live / others"]] == [0.1, 0.2]
    assert len(told["bars"]) == 7
    assert all(told["bars"].values())
    worse = [measured(short, 0.009), measured(long, 0.0124, unread=26), measured(recorded, 0.12), measured(peer, 0.06)]
    assert [name for name, reached in summary(worse)["bars"].items() if not reached] == [
        "70 tok/s: decision_to_first_s of the longest within 30 % of the shortest",
        "70 tok/s: <= 0.1 of recorded first",
        "70 tok/s: <= 0.2 of mlx-vlm",
        "70 tok/s: unread audio tokens <= 25",
    ]
    slow = summary([measured(long, 0.051), measured(long, 0.051), measured(long, 0.201)])["bars"]
    assert not slow["70 tok/s: first text 0.05 s after the decision, p50"]
    assert not slow["70 tok/s: first text 0.2 s after the decision, p95"]


@pytest.mark.parametrize(("count", "p95"), [(1, 0), (19, 18), (20, 18), (21, 19)])
def test_a_centile_is_one_of_the_values(count: int, p95: int) -> None:
    assert centile([*range(count)][::-1], 95) == p95


def test_rates_are_typed_as_two_numbers() -> None:
    assert live.rate("130:13") == Rate(130, 13)
    for wrong in ("130", "130:0", "a:b"):
        with pytest.raises(ValueError, match=r".+"):
            live.rate(wrong)
