"""The ring: order, what a late reader loses, and that the recording side never waits."""

import threading
import time

import numpy as np
import pytest

from gemma_mlx.capture.ring import Block, Ring


def data(value: int) -> bytes:
    return np.full(4, value, np.int16).tobytes()


def take(ring: Ring) -> Block:
    block = ring.take()
    assert block is not None
    return block


def test_blocks_come_in_order_with_what_was_put() -> None:
    ring = Ring(8)
    ring.put(data(3), 0.5, False)
    ring.put(data(-7), 0.75, True)
    first, second = take(ring), take(ring)
    assert (first.number, first.time, first.lost, first.overflow) == (0, 0.5, 0, False)
    assert (second.number, second.time, second.lost, second.overflow) == (1, 0.75, 0, True)
    assert first.samples.dtype == np.int16
    assert first.samples.tolist() == [3] * 4
    assert second.samples.tolist() == [-7] * 4
    assert ring.take() is None


@pytest.mark.parametrize(("put", "lost"), [(4, 0), (5, 1), (41, 37)])
def test_a_late_reader_gets_the_newest_and_the_number_of_those_that_went(put: int, lost: int) -> None:
    ring = Ring(4)
    for value in range(put):
        ring.put(data(value), 0.0, False)
    blocks = [take(ring) for _ in range(4)]
    assert ring.take() is None
    assert [block.samples[0] for block in blocks] == [*range(lost, put)]
    assert [block.lost for block in blocks] == [lost, 0, 0, 0]


def test_losses_are_told_once_each() -> None:
    ring = Ring(2)
    told = []
    for put in (3, 1, 4):
        for _ in range(put):
            ring.put(data(0), 0.0, False)
        while (block := ring.take()) is not None:
            told.append((block.number, block.lost))
    assert told == [(1, 1), (2, 0), (3, 0), (6, 2), (7, 0)]
    assert sum(lost for _, lost in told) + len(told) == 8


def test_a_wait_ends_with_a_block_or_with_the_time() -> None:
    ring = Ring(2)
    start = time.monotonic()
    ring.wait(0.05)
    assert 0.04 <= time.monotonic() - start < 5
    ring.put(data(0), 0.0, False)
    ring.put(data(1), 0.0, False)  # a second one before the reader looked
    start = time.monotonic()
    ring.wait(30)
    assert time.monotonic() - start < 10
    threading.Timer(0.05, ring.wake).start()
    ring.wait(30)
    assert time.monotonic() - start < 20


def test_two_threads_lose_nothing_unreported() -> None:
    ring, count = Ring(16), 5000

    def make() -> None:
        for n in range(count):
            ring.put(data(n % 1000), float(n), False)

    maker = threading.Thread(target=make)
    maker.start()
    seen = lost = 0
    until = time.monotonic() + 60
    while seen + lost < count and time.monotonic() < until:
        block = ring.take()
        if block is None:
            ring.wait(0.1)
            continue
        assert block.samples[0] == block.number % 1000
        assert block.time == block.number
        lost += block.lost
        seen += 1
    maker.join()
    assert seen + lost == count
