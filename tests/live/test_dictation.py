"""Turns from an inbox as clips to write down."""

from itertools import islice

import numpy as np

from gemma_mlx.capture.vad import FRAME_SAMPLES
from gemma_mlx.live.dictation import clips
from gemma_mlx.live.inbox import Closed, Inbox, Item, Opened, Paused, Resumed, Sound, Told, Withdrawn

SPEECH = np.random.default_rng(0).integers(-9000, 9000, 800 * FRAME_SAMPLES).astype(np.int16)


def test_each_turn_is_a_clip_and_false_starts_are_none() -> None:
    inbox, told = Inbox(), list[str]()
    times = iter([10.0, 12.5, 99.0])  # it begins; two turns begin
    made = clips(inbox, told.append, lambda: next(times))
    inbox.put(Told("muted"))
    first, second = Sound(SPEECH[: 20 * FRAME_SAMPLES]), Sound(SPEECH[20 * FRAME_SAMPLES : 40 * FRAME_SAMPLES])
    turn: tuple[Item, ...] = (
        Opened(),
        first,
        Paused(15 * FRAME_SAMPLES),
        Resumed(),
        second,
        Closed(30 * FRAME_SAMPLES),
    )
    for item in turn:
        inbox.put(item)
    (clip,) = islice(made, 1)
    assert (clip.start, told) == (2.5, ["muted"])
    np.testing.assert_array_equal(clip.audio.samples, SPEECH[: 30 * FRAME_SAMPLES].astype(np.float32) / 32768)
    inbox.put(Opened())
    inbox.put(Sound(SPEECH[:FRAME_SAMPLES]))
    inbox.put(Withdrawn())
    inbox.put(Opened())
    inbox.put(Sound(SPEECH))
    inbox.put(Closed(SPEECH.size))
    begin, end = islice(made, 2)
    assert begin.start == 89.0
    assert begin.end == end.start
    assert len(begin.audio.samples) <= 750 * FRAME_SAMPLES
    both = np.concatenate([begin.audio.samples, end.audio.samples])
    np.testing.assert_array_equal(both, SPEECH.astype(np.float32) / 32768)
