"""Random conversations of ten steps: whatever was done before, a warm chat says and holds what a cold one does.

Sliding layers have little spare room, so that most of this happens past the window and past the slack.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest

from gemma_mlx.chat import Chat
from gemma_mlx.context.context import common_prefix, keys_of
from gemma_mlx.context.state import Key
from gemma_mlx.generation.events import Event, Finished
from gemma_mlx.inputs.message import Part
from gemma_mlx.loading import Gemma
from gemma_mlx.model import cache
from tests import chats
from tests.chats import GREEDY, audio, cold_copy, end_of, image, rendered, saying, settled, video
from tests.states import same_caches

MEDIA: tuple[Callable[[], Part], ...] = (image, lambda: image(10, 12, 1), audio, lambda: audio(1.2, 1), video)
QUESTIONS = ("Hello!", "What do you see?", "And then? Ünïcödé 中文", "Tell me more about the picture, please.")
TOOL = {"name": "look", "description": "Looks.", "parameters": {"type": "object", "properties": {}}}
CALL = "<|channel>thought\nI must look.\n<channel|><|tool_call>call:look{}<tool_call|><|tool_response>"
RESULTS: Sequence[str | Mapping[str, Any] | Sequence[Part]] = ("A cat.", {"cats": 2, "of": ["x"]}, [image()])


@dataclass
class Walk:
    """One conversation and what is done with it. `whole`: everything that was held is known to be kept."""

    gemma: Gemma
    rng: random.Random
    depth: int
    path: Path
    chat: Chat
    others: list[Chat]

    def step(self) -> None:
        """One random step, most of which end in a reply."""
        steps = [self.turn] * 4 + [self.undo, self.edit, self.regenerate, self.branch, self.resume, self.tool]
        self.rng.choice([*steps, self.break_off])()
        match self.rng.randrange(4):
            case 0 | 1:
                self.chat.settle()
            case 2:
                left = self.rng.randrange(3)
                asked = count()
                self.chat.settle(lambda: next(asked) >= left)

    def ask(self) -> str | None:
        for _ in range(self.rng.choice([0, 0, 1, 2])):
            self.chat.add(self.rng.choice(MEDIA)())
        return self.rng.choice(QUESTIONS)

    def turn(self) -> None:
        self.replies(self.chat.reply, [*self.chat.context.keys], self.ask())

    def undo(self) -> None:
        held = [*self.chat.context.keys]
        self.chat.undo()
        self.replies(self.chat.reply, held, self.rng.choice(QUESTIONS))

    def edit(self) -> None:
        if any(message.role == "user" for message in self.chat.history):
            held = [*self.chat.context.keys]
            self.chat.edit(self.rng.choice(QUESTIONS))
            self.replies(self.chat.reply, held, None)

    def regenerate(self) -> None:
        if any(message.role == "user" for message in self.chat.history):
            self.replies(lambda _, *given, **options: self.chat.regenerate(*given, **options), None, None)

    def branch(self) -> None:
        self.others.append(self.chat)
        self.chat = self.chat.branch()
        self.turn()
        if self.rng.random() < 0.5:
            self.chat = self.others.pop(0)

    def resume(self) -> None:
        self.chat.context.save(self.path, "these weights")
        resumed = cold_copy(self.chat)
        resumed.context.load(self.path, "these weights")
        assert resumed.context.keys == self.chat.context.keys
        same_caches(resumed.context.caches, self.chat.context.caches)
        self.chat = resumed
        self.turn()

    def tool(self) -> None:
        with saying(self.chat, CALL):
            *_, end = self.chat.reply(self.ask(), GREEDY)
        assert isinstance(end, Finished)
        for call in end.calls:
            self.chat.respond(call, self.rng.choice(RESULTS))
        self.replies(self.chat.reply, [*self.chat.context.keys], None)

    def break_off(self) -> None:
        events = self.chat.reply(self.ask(), GREEDY, max_tokens=20, draft_depth=self.depth)
        list(islice(events, self.rng.randrange(1, 12)))
        events.close()

    def replies(self, reply: Callable[..., Iterator[Event]], held: list[Key] | None, question: str | None) -> None:
        """Reply, warm and cold, and compare; `held`: what the caches held before."""
        most = self.rng.choice([2, 12, 36])
        settled_keys = keys_of(rendered(self.chat).segments) if self.chat.history else []
        if held is None:
            held = [*self.chat.context.keys]
            begun = turns_before(self.chat)
            warm = end_of(reply(None, GREEDY, max_tokens=most, draft_depth=self.depth))
            again = end_of(begun.reply(None, GREEDY, max_tokens=most, draft_depth=0))
        else:
            before = cold_copy(self.chat)
            warm = end_of(reply(question, GREEDY, max_tokens=most, draft_depth=self.depth))
            again = end_of(before.reply(question, GREEDY, max_tokens=most, draft_depth=0))
        assert (warm.tokens, warm.text, warm.thinking) == (again.tokens, again.text, again.thinking)
        asked = self.chat.context.keys[: warm.usage.prompt_tokens]
        unchanged = min(common_prefix(held, asked), common_prefix(settled_keys, asked))
        assert warm.usage.cached_tokens >= 0.95 * (unchanged - 1)


def turns_before(chat: Chat) -> Chat:
    """A cold chat with the question alone, without its reply."""
    other = cold_copy(chat)
    last = max(index for index, message in enumerate(chat.history) if message.role == "user")
    other.history = chat.history[: last + 1]
    return other


@pytest.mark.parametrize("seed", range(4))
def test_ten_random_steps(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "STEP", 16)
    gemma = chats.with_snapshots(chats.noise() if seed % 2 else chats.demo(), 24)
    chat = Chat(gemma, "Be brief." if seed % 3 else None, enable_thinking=seed % 4 > 1, tools=[TOOL])
    walk = Walk(gemma, random.Random(seed), (0, 3, 8)[seed % 3], tmp_path / "talk.safetensors", chat, [])
    for _ in range(10):
        walk.step()
    for each in (walk.chat, *walk.others):
        settled(each)
        held = len(each.context.keys)
        assert end_of(each.reply("Bye.", GREEDY, max_tokens=2)).usage.cached_tokens == held
