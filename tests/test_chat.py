"""A conversation kept warm against the same history read cold, with media in every other turn.

Two models: the demo model, which answers, and the same shape with random weights, which says anything.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice, pairwise
from typing import Any

import numpy as np
import pytest

from gemma_mlx.chat import SETTLE_TOKENS, Chat
from gemma_mlx.context.context import Context, Read, keys_of
from gemma_mlx.errors import ContextError, InputError
from gemma_mlx.generation.events import Event
from gemma_mlx.generation.sampling import Sampler
from gemma_mlx.inputs.message import Audio, Message, Part, Text
from gemma_mlx.loading import Gemma
from gemma_mlx.model import cache
from tests import chats
from tests.chats import (
    GREEDY,
    answers_like_a_cold_chat,
    audio,
    cold_copy,
    end_of,
    image,
    rendered,
    settled,
    shown,
    video,
)
from tests.states import cold, failing, same_caches

TURNS: Sequence[tuple[Sequence[Part], str | None]] = (
    ([image()], "What do you see?"),
    ([], "Hello!"),
    ([Text("Listen: "), audio(), Text("and look: "), image(16, 17, 1)], "What is it?"),  # longer than the window
    ([video()], "And this?"),
    ([audio(1.0, 2), audio(0.1, 3)], None),
    ([], "Thank you. Ünïcödé 中文 🙂 <|turn>"),
)


@pytest.fixture(params=["demo", "noise"])
def gemma(request: pytest.FixtureRequest) -> Gemma:
    return chats.demo() if request.param == "demo" else chats.noise()


@pytest.fixture(scope="module", name="demo")
def _demo() -> Gemma:
    return chats.demo()


@pytest.fixture(scope="module", name="noise")
def _noise() -> Gemma:
    return chats.noise()


@pytest.mark.parametrize(
    ("gemma", "thinking", "system"),
    [("demo", False, None), ("demo", True, "Be brief."), ("noise", False, "Be brief."), ("noise", True, None)],
    indirect=["gemma"],
)
def test_six_turns_equal_cold_ones(gemma: Gemma, thinking: bool, system: str | None) -> None:
    chat, said = Chat(gemma, system, enable_thinking=thinking), []
    for parts, question in TURNS:
        before_turn = len(chat.context.keys)
        for part in parts:
            chat.add(part)
        before, read = cold_copy(chat), len(chat.context.keys)
        assert (read > before_turn) == bool(parts)
        warm = end_of(chat.reply(question, GREEDY, max_tokens=10))
        again = end_of(before.reply(question, GREEDY, max_tokens=10))
        assert (warm.tokens, warm.text, warm.reason) == (again.tokens, again.text, again.reason)
        assert (warm.usage.cached_tokens, again.usage.cached_tokens) == (read, 0)
        assert replace(warm.usage, cached_tokens=0) == again.usage
        assert not set(warm.tokens) & gemma.stop_ids
        assert warm.usage.completion_tokens == len(warm.tokens)
        settled(chat)
        said.append(warm.text)
        assert chat.history[-1].thinking == (warm.thinking if warm.text else None)
    assert [message.text for message in chat.history if message.role == "assistant"] == [text for text in said if text]
    assert sum(message.role == "user" for message in chat.history) == 6


def test_usage_counts_what_each_medium_takes(demo: Gemma) -> None:
    chat, parts = Chat(demo), (image(2, 3), audio(0.5), video(2))
    for part in parts:
        chat.add(part)
    usage = end_of(chat.reply("Well?", GREEDY, max_tokens=2)).usage
    assert (usage.image_tokens, usage.audio_tokens, usage.video_tokens) == (6, 13, 4)
    assert usage.prompt_tokens == demo.prompts.build([Message("user", (*parts, Text("Well?")))]).n_tokens


def test_media_are_read_when_they_are_added(demo: Gemma) -> None:
    chat = Chat(demo)
    for part in (image(), audio(), video()):
        chat.add(part)
        prompt = demo.prompts.build([Message("user", chat.pending)], add_generation_prompt=False)
        keys = keys_of(prompt.segments)
        end = max(index for index, key in enumerate(keys) if isinstance(key, tuple)) + 1
        assert chat.context.keys == keys[:end]
        same_caches(chat.context.caches, cold(demo.model, prompt.segments, end)[1])
        with failing(demo.model, 0, 0, AssertionError("text waits for what follows")):
            chat.add(Text("Look: "))


@pytest.mark.parametrize("thinking", [False, True])
def test_an_interrupted_answer_is_kept_as_far_as_it_was_shown(gemma: Gemma, thinking: bool) -> None:
    whole = list(Chat(gemma, enable_thinking=thinking).reply("Hello!", GREEDY, max_tokens=20))
    for count in (1, 2, len(whole) // 2, len(whole) - 1):
        chat = Chat(gemma, enable_thinking=thinking)
        events = chat.reply("Hello!", GREEDY, max_tokens=20)
        assert (seen := list(islice(events, count))) == whole[:count]
        if count % 2:
            events.close()
        else:
            with pytest.raises(KeyboardInterrupt):
                events.throw(KeyboardInterrupt)
        assert [message.text for message in chat.history] == ["Hello!", *filter(None, [shown(seen)])]
        assert len(chat.context.keys) == chat.context.caches.offset
        answers_like_a_cold_chat(chat, "Why?")


@pytest.mark.parametrize("depth", [0, 3])
@pytest.mark.parametrize("call", [0, 1, 2])
def test_ctrl_c_inside_the_model(demo: Gemma, call: int, depth: int) -> None:
    """While the prompt is read nothing was asked; later the answer stays as far as it was shown."""
    chat, seen = Chat(demo), list[Event]()
    chat.add(image())
    with failing(demo.model, 3, call, KeyboardInterrupt()), pytest.raises(KeyboardInterrupt):
        seen += chat.reply("Hello!", GREEDY, draft_depth=depth)
    asked = call >= 1  # the prompt is one piece
    assert (len(chat.pending), len(chat.history) > 0) == ((0, True) if asked else (1, False))
    assert "".join(message.text for message in chat.history[1:]) == shown(seen)
    answers_like_a_cold_chat(chat, "Why?" if asked else None)


def test_what_does_not_fit_leaves_the_turn_as_it_was(demo: Gemma) -> None:
    chat = Chat(demo, context=60)
    chat.add(image())
    pending, keys = chat.pending, [*chat.context.keys]
    for part, fault in ((image(9, 9), ContextError), (Audio("empty.wav", np.zeros(0, np.float32)), InputError)):
        with pytest.raises(fault):
            chat.add(part)
        assert (chat.pending, chat.context.keys) == (pending, keys)
    with pytest.raises(ContextError, match="the context holds 60"):
        list(chat.reply("word " * 80))
    assert (chat.history, chat.pending) == ((), pending)
    other = Chat(demo)
    other.add(image())
    assert end_of(chat.reply("What is it?", GREEDY)).tokens == end_of(other.reply("What is it?", GREEDY)).tokens


@pytest.mark.parametrize("thinking", [False, True])
def test_an_answer_that_fills_the_context_ends_without_a_fault(noise: Gemma, thinking: bool) -> None:
    length = noise.prompts.build([Message.of("user", "Hello!")], enable_thinking=thinking).n_tokens
    for room in range(6):
        chat = Chat(noise, enable_thinking=thinking, context=length + room)
        end = end_of(chat.reply("Hello!", GREEDY))
        assert (end.reason, len(end.tokens)) == ("length", max(1, room))
        assert chat.history[-1].text == end.text
        assert len(chat.context.keys) <= length + room
        with pytest.raises(ContextError):
            list(chat.reply("And?"))


@pytest.mark.parametrize("text", [None, "", "  \n\t"])
def test_nothing_to_answer(demo: Gemma, text: str | None) -> None:
    chat = Chat(demo)
    with pytest.raises(InputError, match="nothing to answer"):
        list(chat.reply(text))
    assert chat.history == ()
    chat.add(image())
    assert end_of(chat.reply(text, GREEDY)).usage.image_tokens == 6


def test_max_tokens(noise: Gemma) -> None:
    for count in (1, 2, 7):
        end = end_of(Chat(noise).reply("Hello!", GREEDY, max_tokens=count))
        assert (end.reason, len(end.tokens)) == ("length", count)


def test_a_stop_string_ends_the_answer_in_history_as_well(demo: Gemma) -> None:
    whole = end_of(Chat(demo).reply("Hello!", GREEDY))
    chat, word = Chat(demo), whole.text[4:7]
    end = end_of(chat.reply("Hello!", GREEDY, stop=[word, "never said"]))
    assert (end.text, end.reason) == (whole.text.partition(word)[0], "stop")
    assert end.tokens == whole.tokens[: len(end.tokens)] != whole.tokens
    assert chat.history[-1].text == end.text
    settled(chat)
    assert end_of(Chat(demo).reply("Hello!", GREEDY, stop=[f"{whole.text[-1]}never said"])).text == whole.text


def test_what_the_checkpoint_suppresses_stays_suppressed_whatever_the_sampler(noise: Gemma) -> None:
    said = end_of(Chat(noise).reply("Hello!", GREEDY, max_tokens=30)).tokens
    for own in ((), said[:1]):
        gemma = replace(noise, sampler=Sampler(suppress_tokens=said[1:]))
        sampler = Sampler(temperature=0, suppress_tokens=own)
        tokens = end_of(Chat(gemma).reply("Hello!", sampler, max_tokens=30)).tokens
        assert tokens
        assert not set(tokens) & {*said[1:], *own}


def test_a_reply_does_not_settle(demo: Gemma) -> None:
    chat = Chat(demo)
    end = end_of(chat.reply("Hello!", GREEDY, draft_depth=0))
    assert len(chat.context.keys) == end.usage.prompt_tokens + len(end.tokens) + 1


def test_an_interrupted_settle_is_made_up_for(noise: Gemma) -> None:
    """Each piece is asked for, and what is left of it is read by the next turn."""
    for pieces in range(3):
        chat = Chat(noise)
        end_of(chat.reply("Hello!", GREEDY, max_tokens=110))
        asked: list[int] = []

        def interrupted(most: int = pieces, asked: list[int] = asked, chat: Chat = chat) -> bool:
            asked.append(len(chat.context.keys))
            return len(asked) > most

        chat.settle(interrupted)
        assert [b - a for a, b in pairwise(asked)] == [SETTLE_TOKENS] * (len(asked) - 1)
        assert (len(chat.context.keys) < rendered(chat).n_tokens) == (len(asked) > pieces)
        held = len(chat.context.keys)
        again = end_of(cold_copy(chat).reply("Why?", GREEDY, max_tokens=8))
        end = end_of(chat.reply("Why?", GREEDY, max_tokens=8))
        assert end.tokens == again.tokens
        assert end.usage.cached_tokens == held
        settled(chat)


@pytest.mark.parametrize("thinking", [False, True])
def test_settling_a_long_answer_reads_the_answer_alone(
    noise: Gemma, thinking: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[Read] = []
    read = Context.read

    def recorded(self: Context, *arguments: Any, **options: Any) -> Read:
        reads.append(read(self, *arguments, **options))
        return reads[-1]

    monkeypatch.setattr(cache, "STEP", 8)
    monkeypatch.setattr(Context, "read", recorded)
    chat = Chat(noise, enable_thinking=thinking)
    chat.add(image(8, 9))
    end = end_of(chat.reply("Hello!", GREEDY, max_tokens=180))  # no buffer goes back so far
    settled(chat)
    tail = 1 if thinking else 4  # of the prompt: what is always read anew, or an empty thought
    assert reads[-1].cached == end.usage.prompt_tokens - tail


def test_settling_twice(demo: Gemma) -> None:
    chat = Chat(demo)
    for _ in range(2):
        chat.settle()  # before anything was said as well
        end_of(chat.reply("Hello!", GREEDY))
        settled(chat)
        with failing(demo.model, 0, 0, AssertionError("all is read")):
            chat.settle()


def test_settling_leaves_an_open_turn_as_it_is(demo: Gemma) -> None:
    chat = Chat(demo)
    end_of(chat.reply("Hello!", GREEDY))
    chat.add(image())
    held = [*chat.context.keys]
    with failing(demo.model, 0, 0, AssertionError("all is read")):
        chat.settle()
    assert chat.context.keys == held
