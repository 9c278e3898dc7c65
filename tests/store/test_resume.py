"""A conversation with the demo model, saved and resumed: it goes on as if it had never stopped."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from gemma_mlx.chat import Chat
from gemma_mlx.generation.events import Draft, Finished, Timing
from gemma_mlx.generation.sampling import Sampler
from gemma_mlx.inputs.message import Part
from gemma_mlx.loading import Gemma, LoadOptions, load
from gemma_mlx.store.caches import CACHES
from gemma_mlx.store.store import Store
from tests.states import same_caches
from tests.store.talk import picture, recording, video

GREEDY = Sampler(temperature=0)
TURNS: Sequence[tuple[tuple[Part, ...], str]] = (
    ((picture(0, 18, 19),), "What do you see?"),
    ((), "Hello!"),
    ((recording(0, 16000), video()), "What do you hear?"),
    ((), "Thank you. Ünïcödé 中文 <|turn>"),
)


@pytest.fixture(scope="module")
def gemma() -> Gemma:
    return load("demo", LoadOptions(dtype="float32"))


def turn(chat: Chat, number: int) -> Finished:
    parts, question = TURNS[number]
    for part in parts:
        chat.add(part)
    *_, end = chat.reply(question, GREEDY, max_tokens=40)
    assert isinstance(end, Finished)
    chat.settle()
    return replace(end, timing=Timing(), draft=Draft())  # both depend on how fast the machine is


def resumed(store: Store, gemma: Gemma, name: str) -> tuple[Chat, list[str]]:
    """The conversation in a new chat, of a program that has just begun and ends without another word."""
    chat, saved = Chat(gemma), store.open(name)
    notices = saved.restore(chat)
    saved.close()
    return chat, notices


@pytest.mark.parametrize("thinking", [False, True])
def test_a_resumed_conversation_goes_on_as_if_it_had_never_stopped(
    gemma: Gemma, thinking: bool, tmp_path: Path
) -> None:
    store, whole = Store(tmp_path), Chat(gemma, "Be brief.", enable_thinking=thinking)
    saved = store.create("holiday")
    saved.follow(whole)
    for number in range(len(TURNS) - 1):
        turn(whole, number)
        assert saved.save_caches(whole) is None
        saved.close()
        again, notices = resumed(store, gemma, "holiday")
        assert notices == []
        assert again.context.keys == whole.context.keys
        same_caches(again.context.caches, whole.context.caches)
        settled = len(again.context.keys)
        expected, found = turn(whole, number + 1), turn(again, number + 1)
        assert found == expected
        assert found.usage.cached_tokens >= settled > 0
        saved = store.open("holiday")
        saved.follow(whole)
        saved.save(whole)


@pytest.mark.parametrize("damage", ["gone", "cut", "foreign"])
def test_without_its_caches_it_is_read_again(gemma: Gemma, damage: str, tmp_path: Path) -> None:
    store, whole = Store(tmp_path), Chat(gemma)
    saved = store.create("holiday")
    saved.follow(whole)
    turn(whole, 0)
    saved.save_caches(whole)
    saved.close()
    caches = store.path("holiday") / CACHES
    if damage == "gone":
        caches.unlink()
    elif damage == "cut":
        caches.write_bytes(caches.read_bytes()[:-1000])
    else:
        content = bytearray(caches.read_bytes())
        content[-5000] ^= 1
        caches.write_bytes(content)
    again, (line,) = resumed(store, gemma, "holiday")
    assert line.startswith("holiday is read again with the next message: ")
    assert "\n" not in line
    assert again.context.keys == []
    expected, found = turn(whole, 1), turn(again, 1)
    assert found.usage.cached_tokens == 0
    assert replace(found, usage=expected.usage) == expected


def test_an_answer_that_a_crash_cut_off_is_given_again(gemma: Gemma, tmp_path: Path) -> None:
    store, chat = Store(tmp_path), Chat(gemma)
    crashed = store.create("holiday")
    crashed.follow(chat)
    turn(chat, 0)
    reply = chat.reply("Hello!", GREEDY)
    next(reply)
    chat.keep = None  # the program ends here
    reply.close()
    crashed.close()
    again, notices = resumed(store, gemma, "holiday")
    assert notices[0] == "the last message has no answer yet: /retry answers it"
    *_, end = again.regenerate(GREEDY)
    *_, expected = chat.regenerate(GREEDY)
    assert isinstance(end, Finished)
    assert isinstance(expected, Finished)
    assert end.tokens == expected.tokens
    other, _ = resumed(store, gemma, "holiday")
    *_, end = other.reply("Why?", GREEDY)  # or the person goes on with something else
    assert isinstance(end, Finished)
    assert [message.role for message in other.history[-3:]] == ["user", "user", "assistant"]
