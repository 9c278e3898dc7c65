"""Clips answered one after the other against each in a conversation of its own."""

from collections.abc import Generator
from weakref import ref

import numpy as np
import pytest

from gemma_mlx.chat import Chat
from gemma_mlx.demo import samples_directory
from gemma_mlx.generation.events import Event, Finished
from gemma_mlx.inputs.message import Audio, Message, Text
from gemma_mlx.loading import Gemma
from gemma_mlx.transcription import recogniser
from gemma_mlx.transcription.recogniser import Recogniser, most_tokens
from gemma_mlx.transcription.task import Task
from tests.chats import GREEDY, audio, demo, end_of, noise, with_snapshots

TASK = Task("English")


def alone(gemma: Gemma, sound: Audio, task: Task = TASK) -> Finished:
    """The answer in a conversation of its own."""
    chat = Chat(gemma)
    chat.add(Text(task.prompt))
    chat.add(sound)
    return end_of(chat.reply(sampler=GREEDY, max_tokens=most_tokens(len(sound.samples), task)))


@pytest.mark.parametrize("snapshots", [0, 1, 2])
def test_answers_are_those_of_each_clip_alone_and_the_prompt_is_read_once(
    snapshots: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recogniser, "TOKENS_PER_FRAME", 0)  # noise goes on to the bound
    gemma = with_snapshots(noise(), snapshots)
    recognise = Recogniser(gemma, TASK)
    for index, seconds in enumerate((1.6, 4.0, 0.04, 1.6)):
        sound = audio(seconds, seed=index)
        got, expected = recognise(sound), alone(gemma, sound)
        assert (got.tokens, got.reason) == (expected.tokens, expected.reason)
        assert got.usage.audio_tokens == round(25 * seconds)
        if snapshots == 2 and index:
            assert got.usage.cached_tokens == got.usage.prompt_tokens - _after(gemma)


def _after(gemma: Gemma) -> int:
    """Tokens of a prompt behind the sound."""
    prompt = gemma.prompts.build([Message("user", (Text(TASK.prompt), audio(0.04)))])
    return sum(len(segment.ids) for segment in prompt.segments[2:])


def test_the_bundled_recording() -> None:
    sound = Audio.open(samples_directory() / "recording.wav")
    recognise = Recogniser(demo(), TASK)
    first, again = recognise(sound), recognise(sound)
    assert first.reason == "stop"
    assert first.tokens == again.tokens == alone(demo(), sound).tokens


def test_the_bound_is_on_tokens_and_is_said() -> None:
    assert [most_tokens(n, Task()) for n in (0, 1, 640, 641, 480_000)] == [64, 66, 66, 68, 1564]
    assert most_tokens(480_000, Task("German", "English")) == 3128
    sound = audio(0.04, seed=3)
    end = Recogniser(noise(), TASK)(sound)  # noise never stops by itself
    assert end.reason == "length" or end.notice
    assert len(end.tokens) <= 66


@pytest.mark.parametrize("fault", [KeyboardInterrupt, RuntimeError])
def test_what_ends_an_answer_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch, fault: type[BaseException]) -> None:
    recognise, sound = Recogniser(demo(), TASK), audio(1)
    before = recognise(sound).tokens
    whole = Chat._reply

    def broken(self: Chat, *arguments: object) -> Generator[Event]:
        for event in whole(self, *arguments):  # type: ignore[arg-type]
            raise fault
            yield event

    with monkeypatch.context() as patch:
        patch.setattr(Chat, "_reply", broken)
        with pytest.raises(fault):
            recognise(audio(2, seed=1))
    assert not recognise._chat.history
    assert not recognise._chat.pending
    assert recognise(sound).tokens == before


def test_no_clip_is_kept() -> None:
    recognise = Recogniser(demo(), TASK)
    sound = Audio("a.wav", np.zeros(6400, np.float32))
    gone = ref(sound)
    recognise(sound)
    del sound
    recognise(audio(0.2))
    assert gone() is None
