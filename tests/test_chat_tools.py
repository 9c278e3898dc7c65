"""Calls of tools: one turn of the model over several replies, warm as cold, with its thoughts until it is over."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest

from gemma_mlx.chat import Chat
from gemma_mlx.context.context import common_prefix, keys_of
from gemma_mlx.errors import ContextError, InputError
from gemma_mlx.generation.events import Finished
from gemma_mlx.inputs.message import Message, Part, Text, ToolCall
from gemma_mlx.inputs.prompt import PromptBuilder
from gemma_mlx.inputs.template import ChatTemplate
from gemma_mlx.loading import Gemma
from tests import chats
from tests.chats import GREEDY, answers_like_a_cold_chat, cold_copy, end_of, ids_of, image, rendered, saying, settled

TOOL = {"name": "look", "description": "Looks.", "parameters": {"type": "object", "properties": {}}}
THOUGHT = "<|channel>thought\nI must look.\n<channel|>"
CALL = "<|tool_call>call:look{}<tool_call|>"


@pytest.fixture(scope="module", name="demo")
def _demo() -> Gemma:
    return chats.demo()


def _calling(chat: Chat, text: str, question: str | None = "What is there?") -> tuple[ToolCall, ...]:
    """A reply that says `text` and waits for results."""
    with saying(chat, f"{text}<|tool_response>"):
        *_, end = chat.reply(question, GREEDY)
    assert isinstance(end, Finished)
    assert end.reason == "tool_calls"
    return end.calls


RESULTS: Sequence[str | Mapping[str, Any] | Sequence[Part]] = (
    "A cat <|turn> sits there.",
    {"cats": 1, "names": ["Tom"]},
    [Text("See: "), image()],
)


@pytest.mark.parametrize("result", RESULTS, ids=["text", "mapping", "picture"])
@pytest.mark.parametrize("thinking", [False, True])
def test_one_turn_over_two_replies(
    demo: Gemma, thinking: bool, result: str | Mapping[str, Any] | Sequence[Part]
) -> None:
    chat = Chat(demo, tools=[TOOL], enable_thinking=thinking)
    (call,) = _calling(chat, THOUGHT + CALL if thinking else CALL)
    assert (call.name, call.arguments, call.id) == ("look", {}, "call-1")
    assert [*chat.unanswered] == [call]
    # Without thinking, the model spoke after an empty thought that history, and so the rest of the turn, is without.
    held = len(chat.context.keys) if thinking else common_prefix(chat.context.keys, keys_of(rendered(chat).segments))
    chat.respond(call, result)
    assert not chat.unanswered
    again = end_of(cold_copy(chat).reply(None, GREEDY, max_tokens=12))
    end = end_of(chat.reply(None, GREEDY, max_tokens=12))
    assert end.tokens == again.tokens
    assert end.usage.cached_tokens >= held - 1
    assert [message.role for message in chat.history][:3] == ["user", "assistant", "tool"]
    assert chat.history[1].calls == (call,)
    assert chat.history[1].thinking == ("I must look." if thinking else None)
    answers_like_a_cold_chat(chat, "Why?")


def test_the_response_marker_is_read_once(demo: Gemma) -> None:
    chat = Chat(demo, tools=[TOOL])
    (call,) = _calling(chat, CALL)
    marker = demo.tokenizer.specials["<|tool_response>"]
    chat.settle()
    assert chat.context.keys.count(marker) == 1
    chat.respond(call, "A cat.")
    list(islice(chat.reply(None, GREEDY), 1))
    assert chat.context.keys.count(marker) == 1


def test_a_thought_is_read_until_the_turn_is_over(demo: Gemma) -> None:
    chat = Chat(demo, tools=[TOOL], enable_thinking=True)
    thought = ids_of("I must look.")

    def read() -> bool:
        keys = chat.context.keys
        return any(keys[at : at + len(thought)] == thought for at in range(len(keys)))

    (call,) = _calling(chat, THOUGHT + CALL)
    chat.settle()
    assert read()
    chat.respond(call, "A cat.")
    with saying(chat, "<channel|>It is a cat."):
        list(chat.reply(None, GREEDY))
    assert read()
    assert chat.history[-1].text == "It is a cat."
    settled(chat)
    assert not read()
    assert chat.history[1].thinking == "I must look."


def test_a_chain_of_calls_stays_in_messages_of_their_own(demo: Gemma) -> None:
    """As the template's own example of a chain is written."""
    chat = Chat(demo, tools=[TOOL])
    first, second = _calling(chat, f"Let me see. {CALL}{CALL}")
    chat.respond(second, "2")
    chat.respond(first, "1")
    (third,) = _calling(chat, CALL, None)
    assert [call.id for call in (first, second, third)] == ["call-1", "call-2", "call-3"]
    chat.respond(third, {"n": 3})
    with saying(chat, "Done."):
        list(chat.reply(None, GREEDY))
    roles = [message.role for message in chat.history]
    assert roles == ["user", "assistant", "tool", "tool", "assistant", "tool", "assistant"]
    assert [len(message.calls) for message in chat.history if message.role == "assistant"] == [2, 1, 0]
    assert rendered(chat).ids.count(demo.tokenizer.specials["<|turn>"]) == 3  # system with the tools, user, model
    answers_like_a_cold_chat(chat, "Why?")


def test_what_waits_for_a_result_is_named(demo: Gemma) -> None:
    chat = Chat(demo, tools=[TOOL])
    call, other = _calling(chat, CALL + CALL)
    words = r"the result of look \(call-1\), look \(call-2\): respond to it, or undo the turn"
    for ask in (lambda: chat.reply(), lambda: chat.reply("And?"), lambda: chat.add(image())):
        with pytest.raises(InputError, match=words):
            ask()
    chat.respond(call, "x")
    for wrong in (call, ToolCall("look", {}, "call-9"), ToolCall("look", {})):
        with pytest.raises(InputError, match="waits for a result: answer those in"):
            chat.respond(wrong, "x")
    for result in ({"x": object()}, [image(), "x"], [1]):
        with pytest.raises(InputError, match="the result of look"):
            chat.respond(other, result)  # type: ignore[arg-type]
    assert [*chat.unanswered] == [other]
    taken = chat.undo()
    assert taken is not None
    assert taken.text == "What is there?"
    assert not chat.history
    assert not chat.unanswered


def test_a_result_that_cannot_be_read_is_refused(demo: Gemma) -> None:
    """When it is given: afterwards only undoing the turn would help."""
    blind = PromptBuilder(demo.tokenizer, ChatTemplate.load(demo.path), replace(demo.config, vision_config=None))
    chat = Chat(replace(demo, prompts=blind), tools=[TOOL], context=200)
    (call,) = _calling(chat, CALL)
    for result, fault, words in (
        ([image()], InputError, "this model does not see"),
        ("word " * 300, ContextError, "the context holds 200"),
    ):
        with pytest.raises(fault, match=words):
            chat.respond(call, result)
        assert [*chat.unanswered] == [call]
    chat.respond(call, "It cannot be shown.")
    answers_like_a_cold_chat(chat, None)


def test_a_long_result_makes_room_for_itself(demo: Gemma) -> None:
    chat = Chat(demo, context=400, when_full="drop", tools=[TOOL])
    while rendered(chat).n_tokens < 250 if chat.history else True:
        end_of(chat.reply("What is MLX?", GREEDY, max_tokens=20))
    (call,) = _calling(chat, CALL)
    chat.respond(call, "word " * 160)
    assert not chat.dropped
    *_, end = chat.reply(None, GREEDY, max_tokens=5)
    assert isinstance(end, Finished)
    assert chat.dropped
    answers_like_a_cold_chat(chat, "Why?")


def test_after_the_results_a_person_may_speak_instead(demo: Gemma) -> None:
    chat = Chat(demo, tools=[TOOL])
    (call,) = _calling(chat, CALL)
    chat.respond(call, "A cat.")
    answers_like_a_cold_chat(chat, "Never mind.")
    assert [message.role for message in chat.history][:4] == ["user", "assistant", "tool", "user"]


def test_regenerate_drops_the_whole_turn(demo: Gemma) -> None:
    chat = Chat(demo, tools=[TOOL])
    (call,) = _calling(chat, CALL)
    chat.respond(call, "A cat.")
    end_of(chat.reply(None, GREEDY, max_tokens=5))
    events = chat.regenerate(GREEDY, max_tokens=5)
    assert [message.role for message in chat.history] == ["user"]
    fresh = Chat(demo, tools=[TOOL])
    assert end_of(events).tokens == end_of(fresh.reply("What is there?", GREEDY, max_tokens=5)).tokens


def test_an_interrupted_reply_asks_for_nothing(demo: Gemma) -> None:
    chat = Chat(demo, tools=[TOOL])
    with saying(chat, f"Let me see. {CALL} and"):
        events = chat.reply("What is there?", GREEDY)
        while not isinstance(next(events), ToolCall):
            pass
        events.close()
    assert chat.unanswered == ()
    assert chat.history[-1].text.strip() == "Let me see."
    answers_like_a_cold_chat(chat, "Why?")


def test_a_call_that_cannot_be_read_is_told_to_the_model(demo: Gemma) -> None:
    chat = Chat(demo, tools=[TOOL])
    with saying(chat, "<|tool_call>call:look{x:<tool_call|><|tool_response>"):
        *_, end = chat.reply("What is there?", GREEDY)
    assert isinstance(end, Finished)
    assert (end.reason, end.calls, chat.unanswered) == ("stop", (), ())
    assert chat.history[-1].text == "call:look{x:"
    answers_like_a_cold_chat(chat, "Why?")


def test_an_open_thought_goes_on_after_a_result(demo: Gemma) -> None:
    chat = Chat(demo, tools=[TOOL], enable_thinking=True)
    (call,) = _calling(chat, THOUGHT + CALL)
    chat.respond(call, "A cat.")
    with saying(chat, "So it is.\n<channel|>A cat!"):
        end = end_of(chat.reply(None, GREEDY))
    assert (end.thinking, end.text) == ("So it is.", "A cat!")
    assert chat.history[-1] == Message("assistant", chat.history[-1].parts, "So it is.")
    settled(chat)


def test_tools_are_part_of_what_is_read(demo: Gemma) -> None:
    chat = Chat(demo, tools=[TOOL])
    end_of(chat.reply("Hello!", GREEDY, max_tokens=3))
    settled(chat)
    built = demo.prompts.build(chat.history, tools=[TOOL], add_generation_prompt=False)
    assert chat.context.keys == keys_of(built.segments)
