"""Conversations for tests: two models, media, and what a cold prompt of the same history gives.

The demo model answers; the same shape with random weights says anything, and never stops.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten, tree_unflatten

from gemma_mlx.chat import Chat
from gemma_mlx.context.context import keys_of
from gemma_mlx.conversation.excerpt import Excerpt
from gemma_mlx.generation.events import Event, Finished, Notice, TextDelta, Token
from gemma_mlx.generation.loop import DecodeOptions
from gemma_mlx.generation.sampling import Sampler
from gemma_mlx.generation.speculative import Drafting
from gemma_mlx.inputs.message import Audio, Image, Video
from gemma_mlx.inputs.prompt import Prompt, PromptBuilder
from gemma_mlx.inputs.template import ChatTemplate
from gemma_mlx.loading import Gemma, LoadOptions, load
from gemma_mlx.model.gemma import GemmaModel
from tests.states import cold, same_caches

GREEDY = Sampler(temperature=0)


@cache
def demo() -> Gemma:
    """The demo model with its drafter, and a template that like the published ones cannot render nothing."""
    gemma = load("demo", LoadOptions(dtype="float32", context=4096))
    source = "{%- set first = messages[0]['role'] -%}" + (gemma.path / "chat_template.jinja").read_text("utf-8")
    return replace(gemma, prompts=PromptBuilder(gemma.tokenizer, ChatTemplate(source, {}), gemma.config))


@cache
def noise() -> Gemma:
    """The demo model's shape with weights that mean nothing and a window that short chats go past, and the demo's
    drafter, which is always wrong."""
    rng, config = np.random.default_rng(1), demo().config
    config = replace(config, text_config=replace(config.text_config, sliding_window=64))
    model = GemmaModel(config)
    drawn = {
        path: mx.array((rng.standard_normal(old.shape) / old.shape[-1] ** 0.5).astype(np.float32) + (old.ndim == 1))
        for path, old in dict(tree_flatten(model.parameters())).items()
    }
    model.update(tree_unflatten(list(drawn.items())))
    return replace(demo(), config=config, model=model, stop_ids=frozenset())


def with_snapshots(gemma: Gemma, count: int) -> Gemma:
    """The same model under a plan with memory for so many marks."""
    return replace(gemma, plan=replace(gemma.plan, knobs=replace(gemma.plan.knobs, snapshots=count)))


def image(rows: int = 2, columns: int = 3, seed: int = 0) -> Image:
    """Noise; a token for each row and column."""
    return Image("a.png", np.random.default_rng(seed).integers(0, 256, (48 * rows, 48 * columns, 3), np.uint8))


def audio(seconds: float = 0.5, seed: int = 0) -> Audio:
    """Noise; 25 tokens a second."""
    return Audio("a.wav", np.random.default_rng(seed).uniform(-1, 1, round(16000 * seconds)).astype(np.float32))


def video(frames: int = 2) -> Video:
    """Noise; two tokens a frame."""
    shown = tuple(image(1, 2, seed).pixels for seed in range(frames))
    return Video("a.mp4", shown, tuple(map(float, range(frames))))


def rendered(chat: Chat) -> Prompt:
    """The history as a settled chat has read it."""
    return Excerpt(chat.gemma.prompts, chat.tools, chat.enable_thinking, chat.dropped).prompt(chat.history, reply=False)


def settled(chat: Chat) -> None:
    """Fails unless keys and caches, once settled, are what a cold prompt of the history gives."""
    chat.settle()
    prompt = rendered(chat)
    assert chat.context.keys == keys_of(prompt.segments)
    same_caches(chat.context.caches, cold(chat.gemma.model, prompt.segments)[1])


def cold_copy(chat: Chat) -> Chat:
    """Another chat with the same history that has read nothing."""
    other = Chat(
        chat.gemma,
        enable_thinking=chat.enable_thinking,
        context=chat.context.limit,
        tools=chat.tools,
        when_full=chat.when_full,
    )
    other.history, other.pending, other.dropped = chat.history, chat.pending, chat.dropped
    return other


def answers_like_a_cold_chat(chat: Chat, question: str | None) -> None:
    """Fails unless the next greedy answer, and what is held after it, are those of a cold chat."""
    again = end_of(cold_copy(chat).reply(question, GREEDY, max_tokens=8))
    assert end_of(chat.reply(question, GREEDY, max_tokens=8)).tokens == again.tokens
    settled(chat)


def end_of(events: Iterator[Event]) -> Finished:
    """The end of a reply; fails unless it says what was shown."""
    *before, last = events
    assert isinstance(last, Finished)
    assert shown(before) == last.text
    assert shown(before, "thought").strip() == (last.thinking or "")
    return last


def ids_of(text: str) -> list[int]:
    """Token ids of text in which markers are spelled out."""
    tokenizer, ids = demo().tokenizer, list[int]()
    while text:
        at, literal = min(((text.find(s), s) for s in tokenizer.specials if s in text), default=(len(text), ""))
        ids += tokenizer.encode(text[:at]) if at else []
        ids += [tokenizer.specials[literal]] if literal else []
        text = text[at + len(literal) :]
    return ids


@contextmanager
def saying(chat: Chat, text: str) -> Iterator[None]:
    """While it is open, the model says this."""
    context, ids = chat.context, ids_of(text)

    def decode(hidden: mx.array, options: DecodeOptions, drafting: Drafting | None = None) -> Generator[Token]:
        for token in ids:
            context.marks.secure(context.caches, 1)
            context.model(context.model.embed_text(mx.array([[token]])), context.caches)
            context.keys.append(token)
            yield Token(token)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(context, "decode", decode)
        yield


def shown(events: Sequence[Event], channel: str = "answer") -> str:
    """Text that was yielded."""
    return "".join(event.text for event in events if isinstance(event, TextDelta) and event.channel == channel)


def notices(events: Sequence[Event]) -> list[str]:
    """Lines that were yielded beside the text."""
    return [event.text for event in events if isinstance(event, Notice)]
