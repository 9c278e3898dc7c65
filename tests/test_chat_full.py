"""A full context: it is told, or the oldest turns are no longer read; history stays whole, nothing is cut silently."""

import random

import pytest

from gemma_mlx.chat import Chat
from gemma_mlx.errors import ContextError
from gemma_mlx.generation.events import Finished
from gemma_mlx.inputs.message import Message
from gemma_mlx.loading import Gemma
from tests import chats
from tests.chats import GREEDY, answers_like_a_cold_chat, cold_copy, end_of, image, notices, rendered, saying, settled

LIMIT = 160
TOOL = {"name": "look", "description": "Looks.", "parameters": {"type": "object", "properties": {}}}


@pytest.fixture(scope="module", name="demo")
def _demo() -> Gemma:
    return chats.demo()


def _full(gemma: Gemma, **options: object) -> Chat:
    """As many turns as fit."""
    chat = Chat(gemma, "Be brief.", context=LIMIT, **options)  # type: ignore[arg-type]
    while rendered(chat).n_tokens < LIMIT - 40:
        end_of(chat.reply("What is MLX?", GREEDY, max_tokens=20))
    return chat


def test_a_full_context_says_what_can_be_done(demo: Gemma) -> None:
    chat = _full(demo)
    history = chat.history
    with pytest.raises(ContextError) as found:
        list(chat.reply("word " * 60, GREEDY))
    words = f"the context holds {LIMIT}: start a new one, undo a turn, let the oldest turns go"
    assert words in str(found.value)
    assert (chat.history, chat.dropped) == (history, 0)
    chat.undo()
    answers_like_a_cold_chat(chat, "Why?")


def test_the_oldest_turns_are_no_longer_read(demo: Gemma) -> None:
    chat = _full(demo, when_full="drop")
    while not chat.dropped:
        before = chat.history
        events = list(chat.reply("What is MLX?", GREEDY, max_tokens=20))
    last = events[-1]
    assert isinstance(last, Finished)
    assert notices(events) == [
        f"the context of {LIMIT} tokens is full: the {chat.dropped} oldest messages are no longer read"
    ]
    assert chat.history[: len(before)] == before
    assert chat.history[1 + chat.dropped].role == "user"
    assert last.usage.prompt_tokens <= LIMIT // 2
    settled(chat)
    events = list(chat.reply("What is MLX?", GREEDY, max_tokens=20))
    assert notices(events) == []
    settled(chat)


@pytest.mark.parametrize("seed", range(3))
def test_a_long_conversation_never_ends(demo: Gemma, seed: int) -> None:
    rng = random.Random(seed)
    chat = Chat(demo, "Be brief." if seed else None, context=LIMIT, when_full="drop")
    for _ in range(8):
        if rng.random() < 0.3:
            chat.add(image(3, 4))
        if rng.random() < 0.2:
            chat.undo()
        question = rng.choice(["Hello!", "What is MLX? " * 4, "Thanks, and what else is there to say?"])
        events = list(chat.reply(question, GREEDY, max_tokens=30))
        dropped = chat.dropped
        assert len(chat.context.keys) <= LIMIT
        again = cold_copy(chat)
        again.history = again.history[:-1] if chat.history[-1].role == "assistant" else again.history
        assert end_of(again.reply(None, GREEDY, max_tokens=30)).tokens == end_of(iter(events)).tokens
        assert again.dropped == dropped
        assert chat.history[len(chat.history) and bool(seed) + dropped].role == "user"
        if rng.random() < 0.7:
            settled(chat)


@pytest.mark.parametrize(("tokens", "drops"), [(20, False), (21, True), (22, True)])
def test_room_for_an_answer_is_kept(demo: Gemma, tokens: int, drops: bool) -> None:
    chat = _full(demo)
    asked = (*chat.history, Message.of("user", "And?"))
    chat = Chat(demo, context=demo.prompts.build(asked).n_tokens + 20, when_full="drop")
    chat.history = asked[:-1]
    events = list(chat.reply("And?", GREEDY, max_tokens=tokens))
    assert bool(chat.dropped) == bool(notices(events)) == drops


def test_of_long_answers_only_a_quarter_of_the_context_is_kept_free(demo: Gemma) -> None:
    chat = _full(demo)
    asked = (*chat.history, Message.of("user", "And?"))
    length = demo.prompts.build(asked).n_tokens
    for context, drops in ((length * 4 // 3 + 2, False), (length * 4 // 3 - 2, True)):
        chat = Chat(demo, context=context, when_full="drop")
        chat.history = asked[:-1]
        list(chat.reply("And?", GREEDY))
        assert bool(chat.dropped) == drops


def test_a_turn_that_is_too_long_alone_changes_nothing(demo: Gemma) -> None:
    chat = _full(demo, when_full="drop")
    history = chat.history
    with pytest.raises(ContextError, match=f"the context holds {LIMIT}: shorten it, attach less, or raise --context"):
        list(chat.reply("word " * LIMIT, GREEDY))
    with pytest.raises(ContextError, match="attach less"):
        chat.add(image(12, 14))
    assert (chat.history, chat.pending, chat.dropped) == (history, (), 0)
    answers_like_a_cold_chat(chat, "Why?")


def test_a_picture_makes_room_for_itself(demo: Gemma) -> None:
    chat = _full(demo, when_full="drop")
    chat.add(image(8, 10))
    assert chat.dropped
    events = list(chat.reply("What is it?", GREEDY, max_tokens=5))
    assert len(notices(events)) == 1
    settled(chat)


def test_what_a_picture_dropped_returns_with_it(demo: Gemma) -> None:
    """If nothing else would be read: the turns before it are all that there is."""
    chat = Chat(demo, context=LIMIT, when_full="drop")
    end_of(chat.reply("What is MLX?", GREEDY, max_tokens=20))
    chat.settle()
    chat.add(image(9, 15))
    assert chat.dropped == len(chat.history) == 2
    chat.settle()  # with nothing before the open turn that is read
    chat.undo()
    assert chat.dropped == 0
    answers_like_a_cold_chat(chat, "Why?")


def test_an_edited_turn_is_read_without_what_was_dropped_before_it(demo: Gemma) -> None:
    chat = Chat(demo, context=LIMIT, when_full="drop")
    end_of(chat.reply("What is MLX?", GREEDY, max_tokens=20))
    list(chat.reply("word " * 120, GREEDY, max_tokens=20))
    assert (chat.dropped, len(chat.history)) == (2, 4)
    chat.edit("word " * 110)
    assert (chat.dropped, len(chat.history)) == (2, 2)
    assert notices(list(chat.reply(None, GREEDY, max_tokens=5))) == []
    answers_like_a_cold_chat(chat, "Why?")


def test_an_exchange_with_tools_is_dropped_whole_or_not_at_all(demo: Gemma) -> None:
    chat = Chat(demo, tools=[TOOL], context=300, when_full="drop")
    for number in range(1, 9):
        with saying(chat, "<|tool_call>call:look{}<tool_call|><|tool_response>"):
            *_, end = chat.reply("What is there?", GREEDY)
        assert isinstance(end, Finished)
        chat.respond(end.calls[0], "A cat sits on the mat. " * 2)
        end_of(chat.reply(None, GREEDY, max_tokens=5))
        assert end.calls[0].id == f"call-{number}"
        assert chat.history[chat.dropped].role == "user"
        settled(chat)
    assert chat.dropped
    assert len(chat.history) >= 8 * 3


def test_what_was_dropped_returns_when_all_the_rest_is_taken_back(demo: Gemma) -> None:
    chat = _full(demo, when_full="drop")
    while not chat.dropped:
        end_of(chat.reply("What is MLX?", GREEDY, max_tokens=20))
    while chat.dropped:
        assert len(chat.history) > 1 + chat.dropped
        chat.undo()
    assert len(chat.history) > 1
    answers_like_a_cold_chat(chat, "Why?")
