"""One reply at a time, what it reports, and what may be asked of a chat."""

from collections.abc import Callable, Generator
from dataclasses import replace
from itertools import islice

import pytest

from gemma_mlx.chat import Chat
from gemma_mlx.errors import ConfigError, InputError
from gemma_mlx.generation.events import Event, Finished
from gemma_mlx.generation.sampling import Sampler
from gemma_mlx.inputs.message import Audio, Image, Text
from gemma_mlx.loading import Gemma, LoadOptions, load
from tests.chats import end_of
from tests.states import failing

GREEDY = Sampler(temperature=0)


@pytest.fixture(scope="module")
def demo() -> Gemma:
    return load("demo", LoadOptions(dtype="float32"))


def _text(chat: Chat, question: str) -> str:
    *_, last = chat.reply(question, GREEDY)
    assert isinstance(last, Finished)
    return last.text


def test_a_second_reply_ends_the_first(demo: Gemma) -> None:
    chat = Chat(demo)
    first = chat.reply("hello", GREEDY)
    shown = list(islice(first, 2))
    expected = _text(chat, "What is MLX?")
    assert list(first) == []
    assert [message.role for message in chat.history] == ["user", "assistant", "user", "assistant"]
    assert chat.history[1].text == "".join(getattr(event, "text", "") for event in shown)
    assert chat.history[3].text == expected
    cold = Chat(demo)
    cold.history = chat.history[:2]
    assert _text(cold, "What is MLX?") == expected


def test_what_is_asked_next_ends_an_open_reply(demo: Gemma, picture: Image) -> None:
    for ask in (Chat.settle, lambda chat: chat.add(picture)):
        chat = Chat(demo)
        reply = chat.reply("hello", GREEDY)
        next(reply)
        ask(chat)
        assert list(reply) == []
        assert [message.role for message in chat.history] == ["user", "assistant"]


@pytest.fixture
def picture() -> Image:
    import numpy as np

    return Image("a.png", np.zeros((96, 96, 3), np.uint8))


def test_media_can_wait_for_the_question(demo: Gemma, picture: Image) -> None:
    at_once, later = Chat(demo), Chat(demo)
    at_once.add(picture)
    later.add(picture, read=False)
    assert len(at_once.context.keys) > 0
    assert later.context.keys == []
    ends = []
    for chat in (at_once, later):
        *_, last = chat.reply("what do you see?", GREEDY)
        assert isinstance(last, Finished)
        ends.append(last)
    assert ends[0].tokens == ends[1].tokens
    assert ends[0].usage.cached_tokens > 0
    assert ends[1].usage.cached_tokens == 0


@pytest.mark.parametrize("context", [-3, 0, 10**9])
def test_a_context_that_the_model_does_not_hold(demo: Gemma, context: int) -> None:
    with pytest.raises(ConfigError, match=f"context is {context}, the model holds 1 to"):
        Chat(demo, context=context)


def test_requests_are_refused_when_they_are_made(demo: Gemma) -> None:
    with pytest.raises(InputError, match="nothing to answer"):
        Chat(demo).reply()
    with pytest.raises(InputError, match="max-tokens is 0"):
        Chat(demo).reply("hello", max_tokens=0)


def test_an_empty_recording_is_refused_and_forgotten(demo: Gemma) -> None:
    import numpy as np

    chat = Chat(demo)
    with pytest.raises(InputError, match="empty"):
        chat.add(Audio("a.wav", np.zeros(0, np.float32)))
    assert chat.pending == ()


def test_a_seed_moves_on_by_turns_and_retries(demo: Gemma) -> None:
    """Otherwise each reply would draw with the same numbers."""
    hot = Sampler(temperature=5.0, seed=2**64 - 1)
    ids = []
    for chat in (Chat(demo, "Be brief."), Chat(demo)):
        for ask in (lambda chat: chat.reply("hello", hot, max_tokens=12), _again(hot), _again(hot)) * 2:
            *_, last = ask(chat)
            assert isinstance(last, Finished)
            ids.append(last.tokens)
    assert len(set(ids[:6])) == len(set(ids[6:])) == 6
    for chat in (Chat(demo), Chat(demo)):
        *_, last = chat.reply("hello", hot, max_tokens=12)
        assert isinstance(last, Finished)
        assert last.tokens == ids[6]


def _again(sampler: Sampler) -> Callable[[Chat], Generator[Event]]:
    return lambda chat: chat.regenerate(sampler, max_tokens=12)


@pytest.mark.parametrize("depth", [-1, 9])
def test_a_draft_depth_out_of_range(demo: Gemma, depth: int) -> None:
    with pytest.raises(InputError, match=f"draft-depth is {depth}, expected 0"):
        Chat(demo).reply("hello", draft_depth=depth)


@pytest.mark.parametrize("depth", [None, 0, 1, 8])
def test_what_drafting_came_to(demo: Gemma, depth: int | None) -> None:
    plain, drafted = (end_of(Chat(demo).reply("hello", GREEDY, draft_depth=each)) for each in (0, depth))
    assert drafted.tokens == plain.tokens
    assert (plain.draft.rounds, plain.draft.drafted, plain.draft.accepted) == (0, 0, 0)
    assert depth is None or (drafted.draft.rounds > 0) == (depth > 0)
    assert drafted.draft.accepted <= drafted.draft.drafted <= 8 * drafted.draft.rounds


def test_without_a_drafter_all_depths_are_plain(demo: Gemma) -> None:
    bare = replace(demo, drafter=None)
    for depth in (None, 0, 5):
        *_, last = Chat(bare).reply("hello", GREEDY, draft_depth=depth)
        assert isinstance(last, Finished)
        assert last.draft.rounds == 0


def test_what_is_kept_is_told_before_anything_is_read_and_after_each_reply(demo: Gemma, picture: Image) -> None:
    chat, told = Chat(demo), list[tuple[list[str], int, int]]()
    chat.keep = lambda history, pending: told.append(
        ([message.role for message in history], len(pending), len(chat.context.keys))
    )
    chat.add(picture)
    read = len(chat.context.keys)
    assert told == [([], 1, 0)]
    chat.add(Text("well, "))
    events = chat.reply("what do you see?", GREEDY)
    next(events)
    assert told[1:] == [([], 3, read)]
    events.close()
    assert [roles for roles, *_ in told[2:]] == [["user", "assistant"]]
    list(chat.reply("hello", GREEDY))
    assert [(roles, pending) for roles, pending, _ in told[3:]] == [
        (["user", "assistant"], 1),
        (["user", "assistant"] * 2, 0),
    ]


def test_what_keeping_raises_leaves_the_conversation_whole(demo: Gemma) -> None:
    chat = Chat(demo)
    chat.keep = _full_disk
    for _ in range(2):
        with pytest.raises(InputError, match="disk"):
            list(chat.reply("hello", GREEDY))
    assert chat.history == ()
    chat.keep = None
    assert _text(chat, "hello") == _text(Chat(demo), "hello")


def _full_disk(*_: object) -> None:
    raise InputError("the disk is full")


def test_a_loop_is_ended_with_a_reason(demo: Gemma) -> None:
    """Only one token can be chosen."""
    word = demo.tokenizer.encode("a")[0]
    others = tuple(token for token in range(demo.config.text_config.vocab_size) if token != word)
    sampler = Sampler(temperature=0, suppress_tokens=others)
    for guard in (True, False):
        chat = Chat(demo)
        last = end_of(chat.reply("hello", sampler, max_tokens=270, loop_guard=guard))
        assert last.reason == ("loop" if guard else "length")
        assert (last.notice is not None) == guard
        assert (len(last.tokens) < 270) == guard
        assert chat.history[-1].text == last.text


def test_a_reply_to_a_question_that_has_none_yet(demo: Gemma) -> None:
    """What was interrupted before a word came is asked again with nothing new."""
    chat = Chat(demo)
    with failing(demo.model, 0, 1, KeyboardInterrupt()), pytest.raises(KeyboardInterrupt):
        list(chat.reply("hello", GREEDY, draft_depth=0))
    assert [message.role for message in chat.history][:1] == ["user"]
    chat.history = chat.history[:1]
    *_, last = chat.reply(None, GREEDY)
    assert isinstance(last, Finished)
    assert last.text == _text(Chat(demo), "hello")
    with pytest.raises(InputError, match="nothing to answer"):
        chat.reply()
