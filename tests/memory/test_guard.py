"""A conversation under a budget: what does not fit is not begun, and nothing is lost."""

import gc
from collections.abc import Callable, Iterator
from dataclasses import replace

import mlx.core as mx
import numpy as np
import pytest

from gemma_mlx.benchmarks.memory import raw_config, scenario
from gemma_mlx.chat import Chat
from gemma_mlx.config import ModelConfig
from gemma_mlx.context.context import Admit
from gemma_mlx.errors import MemoryPlanError
from gemma_mlx.generation.depth import MOST
from gemma_mlx.generation.events import Finished, TextDelta
from gemma_mlx.generation.sampling import Sampler
from gemma_mlx.inputs.message import Image
from gemma_mlx.inputs.prompt import Prompt
from gemma_mlx.loading import Gemma, LoadOptions, load
from gemma_mlx.memory.guard import PASSING, Guard
from gemma_mlx.memory.moments import LONG_CONTEXT, PIECE_TOKENS, piece_tokens
from gemma_mlx.memory.plan import plan
from gemma_mlx.memory.published import published_bytes
from gemma_mlx.memory.sizes import GIB
from gemma_mlx.memory.values import Machine, ModelBytes, Wish
from gemma_mlx.model.cache import STEP
from tests import tiny

GREEDY = Sampler(temperature=0)


@pytest.fixture(scope="module")
def gemma() -> Gemma:
    return load("demo", LoadOptions(dtype="float32"))


@pytest.fixture(autouse=True)
def _no_reuse() -> Iterator[None]:
    limit = mx.set_cache_limit(0)
    yield
    mx.set_cache_limit(limit)


def _needed(gemma: Gemma, positions: int, piece: int) -> int:
    """The limit of a plan that just admits the pass, with nothing else in the process."""
    low, high = 0, 2**40
    while low < high:
        middle = (low + high) // 2
        try:
            Guard(gemma.sizes, replace(gemma.plan, limit=middle), lambda: 0).admit(positions, piece, 0)
            high = middle
        except MemoryPlanError:
            low = middle + 1
    return low


Limited = Callable[[Gemma, int], Gemma]


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> Limited:
    """A model under a plan of so many bytes; what this process holds for other tests is not counted."""
    active = mx.get_active_memory

    def plan_of(gemma: Gemma, limit: int) -> Gemma:
        foreign = active() - gemma.weights_bytes
        monkeypatch.setattr(mx, "get_active_memory", lambda: active() - foreign)
        return replace(gemma, plan=replace(gemma.plan, limit=limit))

    return plan_of


def test_needs_grow_with_positions_and_pieces(gemma: Gemma) -> None:
    assert _needed(gemma, 100, 10) < _needed(gemma, 10_000, 10) < _needed(gemma, 10_000, 500)


def test_what_others_hold_counts(gemma: Gemma) -> None:
    limit = _needed(gemma, 1000, 100)
    guard = Guard(gemma.sizes, replace(gemma.plan, limit=limit), lambda: 0)
    guard.admit(1000, 100, 0)
    replace(guard, in_use=lambda: 7 + PASSING).admit(1000, 100, 7)
    with pytest.raises(MemoryPlanError, match=r"1,000 tokens need .* are allowed: start a new conversation"):
        replace(guard, in_use=lambda: 8 + PASSING).admit(1000, 100, 7)


def _scaled(seed: int) -> ModelBytes:
    return ModelBytes(ModelConfig.from_dict(raw_config(scenario(seed, 300, (96,)))), 10**6, 0, 4)


@pytest.mark.parametrize(
    ("model", "machine", "wish"),
    [
        (published_bytes("4bit", 2), Machine("a Mac", "metal", 16 * GIB, 32 * GIB // 3), Wish()),
        (published_bytes("4bit", 2), Machine("a Mac", "metal", 16 * GIB, 32 * GIB // 3), Wish(9001, 1120)),
        (published_bytes("4bit", 2, drafter=True), Machine("a Mac", "metal", 14 * GIB, 28 * GIB // 3), Wish()),
        (published_bytes("4bit", 2), Machine("a Mac", "metal", 27 * GIB // 2, 9 * GIB), Wish(None, 280)),
        (published_bytes("4bit", 4), Machine("a PC", "cpu", 16 * GIB, 11 * GIB), Wish(image_tokens=280)),
        (_scaled(1), Machine("a PC", "cpu", 16 * GIB, 10 * GIB), Wish(700)),
        (_scaled(2), Machine("a PC", "cpu", 16 * GIB, 10 * GIB), Wish(16385, 1120)),
        (_scaled(3), Machine("a PC", "cpu", 16 * GIB, 10 * GIB), Wish(300, 1120)),
    ],
)
def test_what_was_planned_is_admitted_to_the_last_byte(model: ModelBytes, machine: Machine, wish: Wish) -> None:
    """At any position, up to the planned context, under a limit that is no more than the plan comes to."""
    planned = plan(model, machine, wish)
    context, knobs = planned.knobs.context, planned.knobs
    guard = Guard(model, replace(planned, limit=planned.total), lambda: 0)
    for end in {1, 300, 8192, LONG_CONTEXT + PIECE_TOKENS - 1, context - 1, context}:
        for piece in {
            1,
            2,
            MOST + 1,
            70,
            128,
            256,
            knobs.image_tokens,
            piece_tokens(knobs, max(0, end - knobs.piece_tokens)),
        }:
            if piece <= end <= context and piece <= max(knobs.piece_tokens, knobs.image_tokens):
                guard.admit(end, piece, 0)
                assert guard.peak(end, piece) <= planned.peak


def test_what_was_planned_is_admitted_without_counting(gemma: Gemma, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, because it is asked before each piece; what is more than planned is counted."""
    guard, knobs = Guard(gemma.sizes, gemma.plan, lambda: 0), gemma.plan.knobs
    longest = max(knobs.piece_tokens, knobs.image_tokens)
    counted: list[tuple[int, int]] = []

    def peak(self: Guard, positions: int, piece: int) -> int:
        counted.append((positions, piece))
        return gemma.plan.peak

    monkeypatch.setattr(Guard, "peak", peak)
    others = 7
    planned = replace(guard, plan=replace(gemma.plan, limit=gemma.plan.total + others), in_use=lambda: others + PASSING)
    planned.admit(knobs.context, longest, 0)
    assert counted == []
    planned.admit(knobs.context + 1, longest, 0)
    planned.admit(knobs.context, longest + 1, 0)
    with pytest.raises(MemoryPlanError):
        planned.admit(knobs.context, longest, -1)
    assert len(counted) == 3


def test_buffers_of_longer_pieces_are_remembered(gemma: Gemma) -> None:
    """Writing after pieces of 512 holds wider sliding buffers than writing after pieces of 128."""
    short = replace(gemma, plan=replace(gemma.plan, knobs=replace(gemma.plan.knobs, piece_tokens=128, image_tokens=70)))
    long = replace(gemma, plan=replace(gemma.plan, knobs=replace(gemma.plan.knobs, piece_tokens=512, image_tokens=70)))
    assert _needed(short, 2000, 1) < _needed(long, 2000, 1)


def test_the_last_full_piece_is_admitted_beside_what_the_one_before_leaves(limited: Limited) -> None:
    gemma = load("demo", LoadOptions(dtype="float32", context=2 * PIECE_TOKENS))
    context = Chat(limited(gemma, gemma.plan.total)).context
    found: list[int] = []

    def admit(positions: int, piece: int, held: int) -> None:
        found.append(mx.get_active_memory() - context.nbytes)
        asked(positions, piece, held)

    asked, context.admit = context.admit, admit
    context.read(Prompt((tiny.text([7] * context.limit),)))
    assert 0 < found[1] - found[0] < 2 * gemma.config.text_config.hidden_size * 4  # one state
    assert len(context.keys) == context.limit


def test_a_conversation_fills_its_context_under_the_limit_that_was_planned(limited: Limited) -> None:
    """The guard, asked before each pass, finds nothing that the plan does not know."""
    gemma = load("demo", LoadOptions(dtype="float32", context=1300, image_tokens=280))
    chat = Chat(limited(gemma, gemma.plan.total))
    chat.add(Image("picture.png", np.zeros((672, 912, 3), np.uint8)))
    room = chat.context.limit - len(chat.context.keys)
    text = " a" * (room - 280)
    finished = list(chat.reply(text, replace(GREEDY, suppress_tokens=tuple(gemma.stop_ids)), max_tokens=10**6))[-1]
    assert isinstance(finished, Finished)
    assert finished.notice is None
    assert finished.usage.prompt_tokens + len(finished.tokens) == chat.context.limit
    assert len(finished.tokens) > STEP


def test_a_prompt_that_does_not_fit_is_not_read(gemma: Gemma, limited: Limited) -> None:
    chat = Chat(limited(gemma, _needed(gemma, 250, 250)))
    chat.pending = (Image("large.png", np.zeros((672, 912, 3), np.uint8)),)
    with pytest.raises(MemoryPlanError):
        list(chat.reply("what do you see?", GREEDY))
    assert chat.history == ()
    assert len(chat.pending) == 1
    assert chat.context.keys == []


def _until(most: int) -> Admit:
    """Admits so many positions."""

    def admit(positions: int, piece: int, held: int) -> None:
        if positions > most:
            raise MemoryPlanError("full")

    return admit


def test_a_new_conversation_has_the_memory_of_the_one_before(gemma: Gemma) -> None:
    """At once: nothing waits for the garbage collector."""
    gc.collect()
    gc.disable()
    try:
        before = mx.get_active_memory()
        chat = Chat(gemma)
        list(chat.reply("hello", GREEDY))
        held = chat.context.nbytes
        del chat
        assert mx.get_active_memory() - before < 0.1 * held
    finally:
        gc.enable()


def test_growth_is_admitted_before_it_happens(gemma: Gemma) -> None:
    """Decoding is a step ahead of what it yields."""
    chat = Chat(gemma)
    admitted = [0]

    def admit(positions: int, piece: int, held: int) -> None:
        assert chat.context.caches.offset <= admitted[-1] or piece > 1
        admitted.append(positions)

    chat.context.admit = admit
    sampler = replace(GREEDY, suppress_tokens=tuple(gemma.stop_ids))
    for _ in chat.reply("hello", sampler, max_tokens=2 * STEP + 2, loop_guard=False):
        assert chat.context.caches.offset <= admitted[-1]
    assert len(admitted) == 5  # none, the prompt's, and those of the answer: at its beginning and twice as it grew


def test_an_answer_is_whole_even_if_what_follows_it_does_not_fit(gemma: Gemma) -> None:
    """Reading the end of the turn is left to the next one, which tells what is wrong."""
    chat = Chat(gemma)
    finished = None
    for event in chat.reply("hello", GREEDY):
        if isinstance(event, Finished):
            finished, chat.context.admit = event, _until(0)
    assert finished is not None
    assert finished.reason == "stop"
    assert [message.role for message in chat.history] == ["user", "assistant"]
    with pytest.raises(MemoryPlanError, match="full"):
        list(chat.reply("hello", GREEDY))


@pytest.mark.parametrize("ahead", [1, MOST + 1])
def test_an_answer_is_kept_as_far_as_memory_went(gemma: Gemma, ahead: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """`ahead`: positions that are written before the next question, without and with a drafter."""
    gemma = gemma if ahead > 1 else replace(gemma, drafter=None)
    monkeypatch.setattr("gemma_mlx.context.context.STEP", 4)
    whole = list(Chat(gemma).reply("hello", GREEDY))[-1]
    assert isinstance(whole, Finished)
    chat = Chat(gemma)
    chat.context.admit = _until(whole.usage.prompt_tokens + 8 + ahead)
    *deltas, finished = chat.reply("hello", GREEDY)
    assert isinstance(finished, Finished)
    assert finished.reason == "memory"
    assert finished.tokens == whole.tokens[:8]
    assert "".join(delta.text for delta in deltas if isinstance(delta, TextDelta)) == finished.text
    assert whole.text.startswith(finished.text)
    assert chat.history[-1].text == finished.text
