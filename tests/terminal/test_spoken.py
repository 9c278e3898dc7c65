"""Calls of many threads to one that takes them."""

from threading import Lock, Thread
from time import sleep

from gemma_mlx.terminal.spoken import MOST_LINES, Calls


def test_a_wake_is_taken_once_and_two_are_one() -> None:
    calls = Calls(lambda: None)
    calls.wake()
    calls.wake()
    assert calls.take_wake()
    assert not calls.take_wake()


def test_no_wake_is_lost() -> None:
    calls, speaking = Calls(lambda: None), Lock()

    def wake() -> None:
        for _ in range(500):
            with speaking:
                calls.wake()
                while calls.woken:
                    sleep(0)

    threads = [Thread(target=wake) for _ in range(4)]
    for thread in threads:
        thread.start()
    taken = 0
    while any(thread.is_alive() for thread in threads) or calls.woken:
        taken += calls.take_wake()
    assert taken == 2000
    assert not calls.take_wake()


def test_whoever_waits_is_rung_after_the_call() -> None:
    seen: list[tuple[bool, bool]] = []
    calls = Calls(lambda: seen.append((calls.woken, calls.talking)))
    calls.say("a")
    calls.wake()
    assert seen == [(False, True), (True, True)]


def test_lines_come_in_order_and_what_is_too_much_is_counted() -> None:
    calls = Calls(lambda: None)
    assert calls.take_lines() == []
    for extra, left_out in ((0, []), (1, ["1 earlier notice left out"]), (9, ["9 earlier notices left out"])):
        said = [str(number) for number in range(MOST_LINES + extra)]
        for line in said:
            calls.say(line)
        assert calls.take_lines() == [*left_out, *said[extra:]]
    assert not calls.talking
