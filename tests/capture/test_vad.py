"""Turns from probabilities: against a slow twin that sees all of them at once, and by hand at every threshold."""

import random
from dataclasses import replace
from typing import Any

import pytest

from gemma_mlx.capture import vad
from gemma_mlx.capture.vad import Began, Ended, Event, FalseStart, Paused, Phase, Resumed, Sustained, Timing, Turns
from gemma_mlx.errors import InputError
from gemma_mlx.inputs import audio

MS = vad.SAMPLE_RATE // 1000
TENTH = 160  # samples of a window of 10 ms: thresholds are whole numbers of it


def heard(pattern: str, timing: Timing | None = None, window: int = TENTH) -> list[Event]:
    """Events of a pattern such as "50. 30# 70.": so many windows of silence or speech."""
    turns = Turns(window, timing)
    return [event for part in pattern.split() for _ in range(int(part[:-1])) for event in turns.hear(part[-1] == "#")]


def kinds(events: list[Event]) -> str:
    return " ".join(type(event).__name__ for event in events)


def twin(probabilities: list[float], window: int, timing: Timing) -> list[Event]:
    """Every turn by searching the whole recording."""
    voiced = [
        next(
            (p >= timing.enter for p in reversed(probabilities[: k + 1]) if p >= timing.enter or p < timing.leave),
            False,
        )
        for k in range(len(probabilities))
    ]

    def windows(milliseconds: int) -> int:
        return next(n for n in range(10**6) if n * window >= milliseconds * MS)

    def grid(position: float, up: bool) -> int:
        return next(p for p in range(0, 10**7, 640) if (p >= position if up else p + 640 > position))

    def enough(first: int, k: int, milliseconds: int) -> range:
        """The recent windows up to k, none before `first`, if they hold so much speech and the last one does."""
        length = max(windows(timing.start_ms), timing.start_window_ms * MS // window)
        recent = range(max(first, k - length + 1), k + 1)
        return recent if voiced[k] and sum(voiced[i] for i in recent) * window >= milliseconds * MS else range(0)

    events: list[Event] = []
    k, first, free, count = 0, 0, 0, len(voiced)
    while k < count:
        recent = enough(first, k, timing.start_ms)
        k += 1
        if not recent:
            continue
        onset = next(i for i in recent if voiced[i]) * window
        start, spoken, sustained = grid(max(onset - timing.pre_roll_ms * MS, free), up=False), 0, False
        events.append(Began(start, k * window))
        while recent:
            spoken += sum(voiced[i] for i in recent)
            while not sustained or k < count:
                if not sustained and spoken * window >= timing.barge_in_ms * MS:
                    sustained = True
                    events.append(Sustained(k * window))
                following = [i for i in range(k, min(count, k + windows(timing.pause_ms))) if voiced[i]]
                if not following:
                    break
                spoken, k = spoken + 1, following[0] + 1
            last = k
            if k + windows(timing.pause_ms) > count:
                return events
            k += windows(timing.pause_ms)
            stop, first, recent = grid((last * window) + timing.tail_ms * MS, up=True), k, range(0)
            events.append(Paused(stop, k * window))
            while not recent and (voiced[k - 1] or k - last < windows(timing.end_ms)):
                if k == count:
                    return events
                recent = enough(first, k, timing.resume_ms)
                k += 1
            if recent:
                events.append(Resumed(stop, k * window))
        if spoken * window < timing.least_ms * MS:
            events.append(FalseStart(start, k * window))
        else:
            events.append(Ended(start, stop, k * window))
            free = stop
    return events


def recording(draw: random.Random) -> list[float]:
    """Stretches of silence, speech and in between of all lengths that matter."""
    probabilities: list[float] = []
    while len(probabilities) < 300:
        low, high = draw.choice([(0.0, 0.34), (0.0, 0.34), (0.5, 1.0), (0.5, 1.0), (0.3, 0.6), (0.0, 1.0)])
        probabilities += [draw.uniform(low, high) for _ in range(draw.choice([1, 2, 3, 7, 10, 20, 40]))]
    return probabilities


TIMINGS = [
    Timing(),
    Timing(start_window_ms=800, start_ms=100, resume_ms=60, least_ms=400, barge_in_ms=900),
    Timing(pause_ms=400, end_ms=400, tail_ms=360, pre_roll_ms=1500),
    Timing(start_ms=300, resume_ms=300, tail_ms=0, pre_roll_ms=0, least_ms=0, barge_in_ms=0),
]


@pytest.mark.parametrize("window", [160, 512, 640])
@pytest.mark.parametrize("timing", TIMINGS)
def test_turns_are_those_of_the_slow_twin(window: int, timing: Timing) -> None:
    seen = set[str]()
    for seed in range(8):
        probabilities = recording(random.Random(seed))
        turns = Turns(window, timing)
        events = [event for p in probabilities for event in turns.hear(p)]
        assert events == twin(probabilities, window, timing)
        seen |= set(kinds(events).split())
    assert {"Began", "Paused", "Ended"} <= seen


@pytest.mark.parametrize("timing", TIMINGS)
def test_positions_are_frames_and_within_reach(timing: Timing) -> None:
    for seed in range(8):
        turns, taken = Turns(512, timing), 0
        for p in recording(random.Random(seed)):
            for event in turns.hear(p):
                assert event.at == turns.heard
                if isinstance(event, Began | FalseStart | Ended):
                    assert event.start % vad.FRAME_SAMPLES == 0
                    assert taken <= event.start < event.at
                if isinstance(event, Paused | Ended):
                    assert event.stop % vad.FRAME_SAMPLES == 0
                    assert event.stop <= event.at
                    assert event.at - event.stop < timing.reach
                if isinstance(event, Began):
                    assert event.at - event.start < timing.reach
                if isinstance(event, Resumed):
                    assert event.at - event.start < timing.reach
                if isinstance(event, Ended):
                    taken = event.stop


def test_a_turn_with_a_pause() -> None:
    events = heard("100. 60# 40. 50# 100.")
    assert events == [
        Began(start=70 * TENTH // 640 * 640, at=120 * TENTH),
        Sustained(at=140 * TENTH),
        Paused(stop=180 * TENTH, at=190 * TENTH),
        Resumed(start=180 * TENTH, at=210 * TENTH),
        Paused(stop=272 * TENTH, at=280 * TENTH),  # 250 and the tail of 20 are 270, and 4 windows are a frame
        Ended(start=68 * TENTH, stop=272 * TENTH, at=320 * TENTH),
    ]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("900.", ""),
        ("19# 80.", ""),
        ("20# 69.", "Began Paused"),
        ("20# 70.", "Began Paused FalseStart"),
        ("24# 70.", "Began Paused FalseStart"),
        ("25# 70.", "Began Paused Ended"),
        ("10# 10. 9#", ""),
        ("10# 10. 10#", "Began"),
        ("10# 11. 10#", ""),  # of the first ten the oldest is forgotten
        ("40# 29. 1# 29.", "Began Sustained"),
        ("40# 30.", "Began Sustained Paused"),
        ("39# 29. 1#", "Began Sustained"),
        ("30# 30. 9# 31.", "Began Paused Ended"),  # a click ends no pause
        ("30# 30. 10# 29.", "Began Paused Resumed Sustained"),
        ("30# 69. 9# 1.", "Began Paused Ended"),  # and only keeps the turn open while it lasts
        ("30# 69. 20# 29.", "Began Paused Resumed Sustained"),
        ("30# 70. 20#", "Began Paused Ended Began"),
    ],
)
def test_thresholds(pattern: str, expected: str) -> None:
    assert kinds(heard(pattern)) == expected


@pytest.mark.parametrize(
    ("probabilities", "speech"),
    [([0.49] * 40, False), ([0.5] * 40, True), ([0.5] + [0.35] * 39, True), ([0.5] + [0.34] * 39, False)],
)
def test_speech_goes_on_at_a_lower_probability(probabilities: list[float], speech: bool) -> None:
    turns = Turns(TENTH)
    assert any(turns.hear(p) for p in probabilities) is speech


def test_a_turn_begins_not_before_the_one_before_it_ends() -> None:
    timing = Timing(pre_roll_ms=5000)
    first, second = (event for event in heard("50# 70. 50# 70.", timing) if isinstance(event, Ended))
    assert first.start == 0
    assert second.start == first.stop


def test_a_false_start_may_be_pre_roll() -> None:
    events = heard("20# 70. 50# 70.", Timing(pre_roll_ms=5000))
    assert kinds(events) == "Began Paused FalseStart Began Sustained Paused Ended"
    assert [event.start for event in events if isinstance(event, Ended)] == [0]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("0.", []),
        ("90.", []),
        ("19#", []),
        ("90. 24#", [FalseStart(60 * TENTH, 114 * TENTH)]),
        ("90. 41#", [Ended(60 * TENTH, 132 * TENTH, 131 * TENTH)]),  # the last frame of the tail is zeros
        ("90. 40# 10.", [Ended(60 * TENTH, 140 * TENTH, 140 * TENTH)]),
        ("90. 40# 50.", [Ended(60 * TENTH, 152 * TENTH, 180 * TENTH)]),
    ],
)
def test_a_turn_can_be_finished_at_any_time(pattern: str, expected: list[Event]) -> None:
    turns = Turns(TENTH)
    for part in pattern.split():
        for _ in range(int(part[:-1])):
            turns.hear(part[-1] == "#")
    assert turns.finish() == expected
    assert turns.phase is Phase.LISTENING
    assert turns.finish() == []
    assert not any(turns.hear(0.4) for _ in range(40))  # no speech goes on
    assert not any(turns.hear(1.0) for _ in range(19))  # nothing of before counts
    assert kinds(turns.hear(1.0)) == "Began"


def test_phases() -> None:
    turns, phases = Turns(TENTH), list[str]()
    for sound in "#" * 20 + "." * 70:
        turns.hear(sound == "#")
        phases.append(turns.phase.value)
    assert phases == ["listening"] * 19 + ["hearing"] * 30 + ["waiting"] * 40 + ["listening"]


@pytest.mark.parametrize("origin", [0, 1, 640, 12345])
def test_positions_count_from_the_origin(origin: int) -> None:
    turns = Turns(TENTH, origin=origin)
    events = [event for _ in range(50) for event in turns.hear(1.0)] + turns.finish()
    (ended,) = (event for event in events if isinstance(event, Ended))
    assert origin <= ended.start < origin + 640
    assert ended.at == origin + 50 * TENTH
    assert ended.stop - ended.at < 640


def test_a_frame_is_one_of_the_model() -> None:
    assert vad.FRAME_SAMPLES == audio.FRAME_SAMPLES
    assert vad.SAMPLE_RATE == audio.SAMPLE_RATE


@pytest.mark.parametrize("window", [0, 641])
def test_windows_are_at_most_a_frame(window: int) -> None:
    with pytest.raises(ValueError, match=f"1 to 640 samples, got {window}"):
        Turns(window)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"leave": 0.6}, "0.6 and 0.5"),
        ({"leave": 0.0}, "0 < leave"),
        ({"enter": 1.01}, "1.01"),
        ({"end_ms": 399}, "399 ms of silence to end a turn: give 400 to 1500"),
        ({"end_ms": 1501}, "1501"),
        ({"start_ms": 0}, "0 ms of speech begin a turn: give 1 to 300"),
        ({"start_ms": 301}, "301"),
        ({"resume_ms": 0}, "0 ms of speech end a pause: give 1 to 300"),
        ({"resume_ms": 301}, "301"),
        ({"pause_ms": 701}, "701 ms of silence are a pause: give 1 to 700"),
        ({"tail_ms": 261}, "261 ms of silence kept after a turn: give 0 to 260"),
        ({"tail_ms": -1}, "-1"),
        ({"pre_roll_ms": -1}, "0 ms or more"),
        ({"least_ms": -1}, "0 ms or more"),
        ({"barge_in_ms": -1}, "0 ms or more"),
    ],
)
def test_times_that_contradict_each_other_are_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        replace(Timing(), **changes)
