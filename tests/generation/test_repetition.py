"""Loops are found soon, what a person may ask for is left alone; the oracle looks at the whole tail each time."""

import random
import re
import time
from collections.abc import Iterable
from itertools import chain

import pytest

from gemma_mlx.generation.events import Channel
from gemma_mlx.generation.repetition import LONGEST, LoopGuard, repeats


def ends(tokens: Iterable[int], channel: Channel = "answer") -> tuple[int, str] | None:
    """How many tokens the guard saw when it first said that they loop, and its words."""
    guard = LoopGuard()
    for seen, token in enumerate(tokens, 1):
        if reason := guard.push(token, channel):
            return seen, reason
    return None


def words(text: str) -> list[int]:
    """Ids about as the model's tokenizer would cut: words with the space before them, signs, single digits."""
    vocabulary: dict[str, int] = {}
    return [
        vocabulary.setdefault(word, len(vocabulary))
        for word in re.findall(r" ?[^\W\d]+|\d|\n *| (?=\d)| ?[^\w\n]", text)
    ]


def _is_primitive(block: list[int]) -> bool:
    return not any(block == block[:p] * (len(block) // p) for p in range(1, len(block)) if len(block) % p == 0)


def _oracle(tokens: list[int], channel: Channel) -> str | None:
    """The first block, by length, that ends the tokens often enough and is not itself a smaller one repeated."""
    for period in range(1, min(len(tokens), LONGEST) + 1):
        block, times = tokens[-period:], 1
        if tokens[-period - 1 : -period] != tokens[-1:]:
            continue
        while tokens[len(tokens) - (times + 1) * period : len(tokens) - times * period] == block:
            times += 1
        if times >= repeats(period, channel) and _is_primitive(block):
            return f"the same {'token' if period == 1 else f'{period} tokens'} {times} times in a row"
    return None


def _loopy(rng: random.Random) -> list[int]:
    """Blocks repeated about as often as is still allowed, in and after one another."""
    tokens: list[int] = []
    for _ in range(rng.randrange(1, 4)):
        period = rng.choice([1, 2, 3, 5, 8, 13, 16, 20, 25, 30, 36, 45])
        block = rng.choices(range(rng.choice([1, 2, 3, 50])), k=period)
        times = repeats(period, rng.choice(["answer", "thought"])) + rng.randrange(-2, 3)
        tokens += rng.choices(range(3), k=rng.randrange(4)) + block * times + block[: rng.randrange(period)]
    return tokens


@pytest.mark.parametrize("seed", range(6))
def test_each_token_is_judged_as_by_the_whole_tail(seed: int) -> None:
    rng = random.Random(seed)
    loops = 0
    for channel in ("answer", "thought"):
        tokens, guard = _loopy(rng), LoopGuard()
        for seen, token in enumerate(tokens, 1):
            reason = guard.push(token, channel)
            assert reason == _oracle(tokens[:seen], channel), (seed, seen)
            loops += reason is not None
    assert loops


@pytest.mark.parametrize("period", [1, 2, 7, 10, 16, 30, 100, 500, LONGEST])
@pytest.mark.parametrize("channel", ["answer", "thought"])
def test_a_block_over_and_over_is_a_loop_at_its_last_repeat(period: int, channel: Channel) -> None:
    times = repeats(period, channel)
    before, block = list(range(5000, 5100)), list(range(period))
    found = ends(before + block * (times + 1), channel)
    assert found is not None
    assert found[0] == 100 + period * times
    assert found[1] == f"the same {'token' if period == 1 else f'{period} tokens'} {times} times in a row"
    assert ends(before + (block * times)[:-1] + before, channel) is None


@pytest.mark.parametrize(
    ("period", "answer", "thought"),
    [(1, 256, 128), (2, 512, 256), (8, 512, 256), (16, 512, 256), (20, 320, 160), (30, 180, 120), (100, 600, 400)],
)
def test_tokens_until_it_is_sure(period: int, answer: int, thought: int) -> None:
    assert (period * repeats(period, "answer"), period * repeats(period, "thought")) == (answer, thought)


def test_a_longer_block_never_needs_more_repeats_and_a_thought_fewer() -> None:
    channels: tuple[Channel, ...] = ("answer", "thought")
    for channel in channels:
        counts = [repeats(period, channel) for period in range(1, LONGEST + 1)]
        assert counts == sorted(counts, reverse=True)
    assert all(4 <= repeats(p, "thought") < repeats(p, "answer") for p in range(1, LONGEST + 1))


def test_a_block_longer_than_the_longest_is_not_seen() -> None:
    assert ends(list(range(LONGEST + 1)) * 8) is None


ASKED_FOR = {
    "hello, 200 times": "hello\n" * 200,
    "a line to be written fifty times": "I must not talk in class.\n" * 50,
    "laughter": "ha " * 250,
    "a table of zeros": "| 0 | 0 | 0 | 0 |\n" * 35,
    "the head of a wide table": "|" + " --- |" * 60 + "\n",
    "a rule": "-" * 250,
    "a list of zeros in code": "x = [" + "0, " * 160 + "]\n",
    "counting": ", ".join(map(str, range(2000))),
    "numbered lines": "".join(f"{n}. I must not talk in class.\n" for n in range(500)),
    "a table with a counter": "".join(f"| row {n} | yes | no | 0.00 |\n" for n in range(300)),
    "steps that differ in a word": "".join(
        f"Take the {what} out of the box, look at it from all sides, and put it back where it was before.\n"
        for what in ("red ball", "green ball", "cup", "spoon") * 3
    ),
    "cases in code": "".join(f"        case {n}:\n            return self.value\n" for n in range(300)),
    "closing brackets": "".join(" " * 4 * n + "}\n" for n in range(40, 0, -1)),
    "a refrain": "".join(
        f"{verse} {verse}ed the day away.\n" + "Row, row, row your boat,\ngently down the stream.\n" * 3
        for verse in ("sing", "play", "walk", "look", "wait")
    ),
    "a paragraph five times": "The quick brown fox jumps over the lazy dog, and then nobody saw it, "
    "for all of them were fast asleep. " * 5,
}


@pytest.mark.parametrize("text", ASKED_FOR.values(), ids=ASKED_FOR)
def test_what_a_person_may_ask_for(text: str) -> None:
    assert ends(words(text)) is None


ENDLESS = {
    "a token": "ha" * 1 + " ha" * 400,
    "a line": "I must not talk in class.\n" * 200,
    "a paragraph": "Wait, let me check this again. The sum of the two numbers is even, so the product must be even "
    "too, and we are done. " * 12,
}


@pytest.mark.parametrize("text", ENDLESS.values(), ids=ENDLESS)
def test_thoughts_end_sooner(text: str) -> None:
    answer, thought = ends(words(text)), ends(words(text), "thought")
    assert answer is not None
    assert thought is not None
    assert thought[0] < answer[0] <= 520


def test_what_goes_round_between_channels_is_a_loop() -> None:
    """Opening and closing thoughts for ever: the guard is not begun anew by a marker."""
    guard = LoopGuard()
    said = [guard.push(token, "thought" if token == 3 else "answer") for _ in range(400) for token in (1, 3, 2, 9)]
    assert any(said)


def test_a_loop_that_is_left_is_none_any_more() -> None:
    guard = LoopGuard()
    assert any(guard.push(1) for _ in range(300))
    assert not any(guard.push(token) for token in range(2, 400))


def test_a_token_costs_little_whatever_came_before() -> None:
    """Microseconds of this thread for a token of any text; the fastest of some runs, as other load only adds."""
    rng = random.Random(0)
    texts = {
        "text": [rng.randrange(262144) for _ in range(3000)],
        "two tokens": [rng.randrange(2) for _ in range(3000)],
        "a loop": [7] * 3000,
        "a long loop": list(chain.from_iterable([range(1000)] * 3)),
    }
    for name, tokens in texts.items():
        best = float("inf")
        for _ in range(5):
            guard = LoopGuard()
            start = time.thread_time()
            for token in tokens:
                guard.push(token)
            best = min(best, (time.thread_time() - start) / len(tokens))
        assert best < 50e-6, name
