"""What comes out of an inbox, by what went in and when it was taken."""

import math
import threading
import time

import numpy as np
import pytest

from gemma_mlx.live.inbox import Closed, Inbox, Item, Meter, Opened, Paused, Resumed, Sound, Told, Withdrawn

FRAME = 640
SECOND = 16000


def sound(frames: int, first: int = 0) -> Sound:
    """Each frame holds its own number."""
    return Sound(np.repeat(np.arange(first, first + frames) % 32768, FRAME).astype(np.int16))


def numbers(samples: np.ndarray) -> list[int]:
    """Those of the frames."""
    return [int(frame[0]) for frame in samples.reshape(-1, FRAME)]


def drained(inbox: Inbox) -> list[object]:
    """All that waits; sounds as the numbers of their frames."""
    taken: list[object] = []
    while (item := inbox.take(0)) is not None:
        taken.append(numbers(item.samples) if isinstance(item, Sound) else item)
    return taken


def filled(*items: Item, most_frames: int = 100) -> Inbox:
    inbox = Inbox(most_frames * FRAME)
    for item in items:
        inbox.put(item)
    return inbox


def test_items_come_in_order_and_sounds_in_one_piece() -> None:
    inbox = filled(Opened(), sound(2), sound(1, 2), Paused(640), sound(1, 3), Told("a"), sound(1, 4), Closed(640))
    assert inbox.waiting
    assert drained(inbox) == [Opened(), [0, 1, 2], Paused(640), [3], Told("a"), [4], Closed(640)]
    assert not inbox.waiting
    assert inbox.take(0) is None


def test_what_is_taken_cannot_be_changed() -> None:
    inbox = filled(Opened(), sound(1))
    inbox.take(0)
    first = inbox.take(0)
    inbox.put(sound(1))
    inbox.put(sound(1))
    for item in (first, inbox.take(0)):
        assert isinstance(item, Sound)
        assert not item.samples.flags.writeable


WITHDRAWN: list[tuple[tuple[Item, ...], list[object]]] = [
    ((Opened(), Withdrawn()), []),
    ((Opened(), sound(3), Withdrawn()), []),
    ((Opened(), sound(3), Told("a"), Paused(640), sound(1), Withdrawn()), [Told("a")]),
    ((Opened(), sound(1), Closed(640), Opened(), sound(3), Withdrawn()), [Opened(), [0], Closed(640)]),
    ((Opened(), sound(3), Withdrawn(), Opened(), sound(1), Closed(640)), [Opened(), [0], Closed(640)]),
]


@pytest.mark.parametrize(("items", "taken"), WITHDRAWN)
def test_a_turn_withdrawn_before_it_was_taken_never_was(items: tuple[Item, ...], taken: list[object]) -> None:
    inbox = filled(*items, most_frames=4)
    assert drained(inbox) == taken
    inbox.put(Opened())
    inbox.put(sound(4))  # as much as there was room for at first
    assert drained(inbox) == [Opened(), [0, 1, 2, 3]]


def test_a_turn_withdrawn_after_it_was_taken_ends_with_that() -> None:
    inbox = filled(Opened(), sound(3))
    assert inbox.take(0) == Opened()
    inbox.put(Told("a"))
    inbox.put(Withdrawn())
    assert drained(inbox) == [Told("a"), Withdrawn()]


def test_a_pause_that_nobody_saw_is_none() -> None:
    inbox = filled(Opened(), sound(1), Paused(640), sound(1, 1), Resumed(), sound(1, 2), Paused(1280))
    assert drained(inbox) == [Opened(), [0, 1, 2], Paused(1280)]
    inbox.put(Resumed())
    inbox.put(sound(1, 3))
    inbox.put(Paused(1920))
    inbox.put(Resumed())
    inbox.put(Closed(2560))
    assert drained(inbox) == [Resumed(), [3], Closed(2560)]


def test_a_pause_of_a_turn_before_is_left_alone() -> None:
    inbox = filled(Opened(), sound(1), Paused(640), Closed(640), Opened(), sound(1), Resumed(), Closed(640))
    assert drained(inbox) == [Opened(), [0], Paused(640), Closed(640), Opened(), [0], Closed(640)]


def test_sound_that_does_not_fit_is_left_out_and_counted() -> None:
    inbox = filled(Opened(), sound(3), sound(3, 3), sound(2, 6), Paused(8 * FRAME), most_frames=4)
    lost, *rest = drained(inbox)
    assert isinstance(lost, Told)
    assert lost.text.startswith("0.16 s ")
    assert rest == [Opened(), [0, 1, 2, 3], Paused(4 * FRAME)]
    inbox.put(Resumed())
    inbox.put(sound(2, 8))
    inbox.put(Closed(9 * FRAME))
    assert drained(inbox) == [Resumed(), [8, 9], Closed(5 * FRAME)]


@pytest.mark.parametrize(("most", "lost"), [(3, 1), (4, 0), (5, 0)])
def test_the_bound_is_exact(most: int, lost: int) -> None:
    taken = drained(filled(Opened(), sound(4), most_frames=most))
    assert isinstance(taken[0], Told) == bool(lost)
    assert taken[-1] == list(range(4 - lost))


def test_a_turn_of_which_nothing_fits_is_none() -> None:
    inbox = filled(Opened(), sound(2), Closed(1280), Opened(), sound(2), Paused(640), most_frames=2)
    inbox.put(Closed(1280))
    lost, *rest = drained(inbox)
    assert isinstance(lost, Told)
    assert rest == [Opened(), [0, 1], Closed(1280)]


def test_a_turn_that_was_taken_and_of_which_nothing_fitted_is_withdrawn() -> None:
    inbox = filled(Opened(), sound(1), Closed(640), Opened(), sound(1), Paused(640), Resumed(), most_frames=1)
    lost, *rest = drained(inbox)
    assert isinstance(lost, Told)
    assert rest == [Opened(), [0], Closed(640), Opened()]
    inbox.put(Closed(640))
    assert drained(inbox) == [Withdrawn()]


def test_a_turn_wants_the_floor_until_it_is_taken() -> None:
    inbox = filled(Opened(), sound(1))
    assert not inbox.interrupts
    inbox.interrupt()
    assert inbox.interrupts
    assert inbox.take(0) == Opened()
    assert not inbox.interrupts
    inbox.interrupt()  # it has the floor
    assert not inbox.interrupts
    for item in (Closed(640), Opened(), sound(1)):
        inbox.put(item)
    inbox.interrupt()
    inbox.put(Closed(640))
    inbox.put(Opened())
    inbox.interrupt()
    assert inbox.interrupts
    inbox.put(Withdrawn())
    assert inbox.interrupts  # the one before it does
    assert drained(inbox) == [[0], Closed(640), Opened(), [0], Closed(640)]
    assert not inbox.interrupts


def test_a_turn_withdrawn_wants_nothing() -> None:
    inbox = filled(Opened(), sound(1))
    inbox.interrupt()
    inbox.put(Withdrawn())
    assert not inbox.interrupts
    inbox.interrupt()  # no turn at all
    assert not inbox.interrupts


def test_notices_are_bounded_and_not_said_twice_in_a_row() -> None:
    inbox = filled(Told("a"), Told("a"), Told("b"), Told("a"))
    assert drained(inbox) == [Told("a"), Told("b"), Told("a")]
    inbox = filled(*(Told(str(i)) for i in range(40)))
    assert drained(inbox) == [Told("8 earlier notices were left out"), *(Told(str(i)) for i in range(8, 40))]


def test_only_what_is_not_sound_turns() -> None:
    inbox = filled(Opened())
    assert inbox.turning
    inbox.take(0)
    inbox.put(sound(1))
    inbox.put(Told("a"))
    assert not inbox.turning
    inbox.put(Paused(640))
    assert inbox.turning
    drained(inbox)
    inbox.fail(RuntimeError())
    assert inbox.turning


def test_a_fault_is_raised_once() -> None:
    inbox = filled(Told("a"))
    inbox.fail(ZeroDivisionError("ours"))
    assert inbox.waiting
    with pytest.raises(ZeroDivisionError, match="ours"):
        inbox.take(0)
    assert drained(inbox) == [Told("a")]


def test_speech_is_shown_before_what_the_model_does() -> None:
    inbox = Inbox()
    assert inbox.meter == Meter("listening", -math.inf, False)
    inbox.show("answering")
    assert inbox.meter.state == "answering"
    inbox.heard(Meter("listening", -40.0, False))
    assert inbox.meter == Meter("answering", -40.0, False)
    inbox.heard(Meter("hearing", -20.0, False))
    assert inbox.meter == Meter("hearing", -20.0, False)
    inbox.heard(Meter("listening", -math.inf, True))
    inbox.show("listening")
    assert inbox.meter == Meter("listening", -math.inf, True)


WRONG: list[tuple[Item, ...]] = [
    (sound(1),),
    (Withdrawn(),),
    (Opened(), Opened()),
    (Opened(), Closed(0)),
    (Opened(), sound(1), Closed(1280)),
    (Opened(), sound(1), Paused(320)),
    (Opened(), sound(1), Closed(640), Closed(640)),
    (Opened(), Sound(np.zeros(320, np.int16))),
    (Opened(), Sound(np.zeros(0, np.int16))),
    (Opened(), Sound(np.zeros(640, np.float32))),
]


@pytest.mark.parametrize("items", WRONG)
def test_what_cannot_come_next_is_refused(items: tuple[Item, ...]) -> None:
    inbox = filled(*items[:-1])
    with pytest.raises(ValueError):  # noqa: PT011 - each has a text of its own
        inbox.put(items[-1])


def test_a_reader_waits_for_what_comes() -> None:
    inbox = Inbox()
    timer = threading.Timer(0.05, lambda: inbox.put(Told("a")))
    before = time.monotonic()
    timer.start()
    assert inbox.take(30) == Told("a")
    assert time.monotonic() - before < 25
    timer.join()
    assert inbox.take(0.01) is None
