"""A program that is killed at random moments while it saves: what it said was kept is there, and loads."""

import random
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from gemma_mlx.store.store import Store
from tests.store.talk import StandIn, assistant, picture, recording, same_messages, user

KILLS = 20
CHECKOUT = Path(__file__).parents[2]


def run_and_kill(directory: Path, seconds: float) -> int:
    """How many messages the program said were kept, until it was killed so long after its start."""
    command = [sys.executable, "-m", "tests.store.writer", str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=CHECKOUT) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip().isdecimal()
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        assert process.poll() is None, "it goes on until it is killed"
        process.kill()
        rest, err = process.communicate()
    assert err == ""
    return [0, *map(int, rest.split())][-1]


def test_killed_at_random_moments(tmp_path: Path) -> None:
    moments, store, least = random.Random(0), Store(tmp_path / "chats"), 0
    for _ in range(KILLS):
        least = max(least, run_and_kill(store.directory, moments.uniform(0, 0.15)))
        if not store.summaries():
            assert least == 0
            continue
        (summary,) = store.summaries()
        assert summary.fault is None
        saved, talk = store.open("holiday"), StandIn()
        notices = saved.restore(talk.chat())
        saved.close()
        assert least <= len(talk.history) <= least + 2
        assert talk.context.keys or "no caches" in notices[-1]  # whole or not there
        expected = [
            user(f"Message {number}", picture(number), recording(number))
            if number % 2 == 0
            else assistant("word " * 2000)
            for number in range(len(talk.history))
        ]
        least = len(talk.history)
        same_messages(talk.history[-4:], tuple(expected[-4:]))
    assert least > KILLS
    store.delete("holiday")
    assert store.summaries() == []
