"""A conversation kept warm against the same history read cold, with media in every other turn.

Two models: the demo model, which answers, and the same shape with random weights, which says anything.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten, tree_unflatten

from gemma_mlx.chat import Chat
from gemma_mlx.context import Context, Read, keys_of
from gemma_mlx.errors import ContextError, InputError
from gemma_mlx.generation.events import Event, Finished, TextDelta
from gemma_mlx.generation.sampling import Sampler
from gemma_mlx.inputs.message import Audio, Image, Message, Part, Text, Video
from gemma_mlx.inputs.prompt import Prompt
from gemma_mlx.loading import Gemma, LoadOptions, load
from gemma_mlx.model.gemma import GemmaModel
from tests.states import cold, failing, same_caches

GREEDY = Sampler(temperature=0)


def _random_weights(gemma: Gemma) -> GemmaModel:
    """The demo model's shape with weights that mean nothing."""
    rng = np.random.default_rng(1)
    model = GemmaModel(gemma.config)
    drawn = {
        path: mx.array((rng.standard_normal(old.shape) / old.shape[-1] ** 0.5).astype(np.float32) + (old.ndim == 1))
        for path, old in dict(tree_flatten(model.parameters())).items()
    }
    model.update(tree_unflatten(list(drawn.items())))
    return model


@pytest.fixture(scope="module")
def demo() -> Gemma:
    return load("demo", LoadOptions(dtype="float32"))


@pytest.fixture(scope="module")
def noise(demo: Gemma) -> Gemma:
    return replace(demo, model=_random_weights(demo))


@pytest.fixture(params=["demo", "noise"])
def gemma(request: pytest.FixtureRequest) -> Gemma:
    chosen: Gemma = request.getfixturevalue(request.param)
    return chosen


def _image(rows: int = 2, columns: int = 3, seed: int = 0) -> Image:
    return Image("a.png", np.random.default_rng(seed).integers(0, 256, (48 * rows, 48 * columns, 3), np.uint8))


def _audio(seconds: float = 0.5, seed: int = 0) -> Audio:
    return Audio("a.wav", np.random.default_rng(seed).uniform(-1, 1, round(16000 * seconds)).astype(np.float32))


def _video(frames: int = 2) -> Video:
    shown = tuple(_image(1, 2, seed).pixels for seed in range(frames))
    return Video("a.mp4", shown, tuple(map(float, range(frames))))


TURNS: Sequence[tuple[Sequence[Part], str | None]] = (
    ([_image()], "What do you see?"),
    ([], "Hello!"),
    ([Text("Listen: "), _audio(), Text("and look: "), _image(8, 9, 1)], "What is it?"),  # longer than the window
    ([_video()], "And this?"),
    ([_audio(1.0, 2), _audio(0.1, 3)], None),
    ([], "Thank you. Ünïcödé 中文 🙂 <|turn>"),
)


def _history(chat: Chat, messages: Sequence[Message] | None = None) -> Prompt:
    told = [replace(message, thinking=None) for message in (chat.history if messages is None else messages)]
    return chat.gemma.prompts.build(told, enable_thinking=chat.enable_thinking, add_generation_prompt=False)


def _settled(chat: Chat) -> None:
    """Fails unless keys and caches are what a cold prompt of the history gives."""
    prompt = _history(chat)
    assert chat.context.keys == keys_of(prompt.segments)
    same_caches(chat.context.caches, cold(chat.gemma.model, prompt.segments)[1])


def _copy(chat: Chat) -> Chat:
    """Another chat with the same history that has read nothing."""
    other = Chat(chat.gemma, enable_thinking=chat.enable_thinking)
    other.history, other.pending = [*chat.history], chat.pending
    return other


def _answers_like_a_cold_chat(chat: Chat, question: str | None) -> None:
    warm, again = (_end(one.reply(question, GREEDY, max_tokens=8)) for one in (chat, _copy(chat)))
    assert warm.tokens == again.tokens
    _settled(chat)


def _end(events: Iterator[Event]) -> Finished:
    *deltas, last = events
    assert isinstance(last, Finished)
    shown = [delta for delta in deltas if isinstance(delta, TextDelta)]
    assert len(shown) == len(deltas)
    assert _shown(shown) == last.text
    assert "".join(delta.text for delta in shown if delta.channel == "thought").strip() == (last.thinking or "")
    return last


def _shown(events: Sequence[Event]) -> str:
    return "".join(e.text for e in events if isinstance(e, TextDelta) and e.channel == "answer")


@pytest.mark.parametrize(
    ("gemma", "thinking", "system"),
    [("demo", False, None), ("demo", True, "Be brief."), ("noise", False, "Be brief."), ("noise", True, None)],
    indirect=["gemma"],
)
def test_six_turns_equal_cold_ones(gemma: Gemma, thinking: bool, system: str | None) -> None:
    chat, said = Chat(gemma, system, enable_thinking=thinking), []
    for parts, question in TURNS:
        settled = len(chat.context.keys)
        for part in parts:
            chat.add(part)
        before, read = _copy(chat), len(chat.context.keys)
        assert (read > settled) == bool(parts)
        warm = _end(chat.reply(question, GREEDY, max_tokens=24))
        again = _end(before.reply(question, GREEDY, max_tokens=24))
        assert (warm.tokens, warm.text, warm.reason) == (again.tokens, again.text, again.reason)
        assert (warm.usage.cached_tokens, again.usage.cached_tokens) == (read, 0)
        assert replace(warm.usage, cached_tokens=0) == again.usage
        assert not set(warm.tokens) & gemma.stop_ids
        assert warm.usage.completion_tokens == len(warm.tokens)
        _settled(chat)
        said.append(warm.text)
        assert chat.history[-1].thinking == (warm.thinking if warm.text else None)
    assert [message.text for message in chat.history if message.role == "assistant"] == [text for text in said if text]
    assert sum(message.role == "user" for message in chat.history) == 6


def test_usage_counts_what_each_medium_takes(demo: Gemma) -> None:
    chat, parts = Chat(demo), (_image(2, 3), _audio(0.5), _video(2))
    for part in parts:
        chat.add(part)
    usage = _end(chat.reply("Well?", GREEDY, max_tokens=2)).usage
    assert (usage.image_tokens, usage.audio_tokens, usage.video_tokens) == (6, 13, 4)
    assert usage.prompt_tokens == demo.prompts.build([Message("user", (*parts, Text("Well?")))]).n_tokens


def test_media_are_read_when_they_are_added(demo: Gemma) -> None:
    chat = Chat(demo)
    for part in (_image(), _audio(), _video()):
        chat.add(part)
        prompt = _history(chat, [Message("user", chat.pending)])
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
        assert (shown := list(islice(events, count))) == whole[:count]
        if count % 2:
            events.close()
        else:
            with pytest.raises(KeyboardInterrupt):
                events.throw(KeyboardInterrupt)
        assert [message.text for message in chat.history] == ["Hello!", *filter(None, [_shown(shown)])]
        assert len(chat.context.keys) == chat.context.caches.offset
        _answers_like_a_cold_chat(chat, "Why?")


@pytest.mark.parametrize("call", [0, 1, 2, 5])
def test_ctrl_c_inside_the_model(demo: Gemma, call: int) -> None:
    """While the prompt is read nothing was asked; later the answer stays as far as it was shown."""
    chat, shown = Chat(demo), list[Event]()
    chat.add(_image())
    with failing(demo.model, 3, call, KeyboardInterrupt()), pytest.raises(KeyboardInterrupt):
        shown += chat.reply("Hello!", GREEDY)
    asked = call >= 2  # one piece up to where replies begin, one for the rest
    assert (len(chat.pending), len(chat.history) > 0) == ((0, True) if asked else (1, False))
    assert "".join(message.text for message in chat.history[1:]) == _shown(shown)
    _answers_like_a_cold_chat(chat, "Why?" if asked else None)


def test_what_does_not_fit_leaves_the_turn_as_it_was(demo: Gemma) -> None:
    chat = Chat(demo, context=60)
    chat.add(_image())
    pending, keys = chat.pending, [*chat.context.keys]
    for part, fault in ((_image(9, 9), ContextError), (Audio("empty.wav", np.zeros(0, np.float32)), InputError)):
        with pytest.raises(fault):
            chat.add(part)
        assert (chat.pending, chat.context.keys) == (pending, keys)
    with pytest.raises(ContextError, match="the context holds 60"):
        list(chat.reply("word " * 80))
    assert (chat.history, chat.pending) == ([], pending)
    other = Chat(demo)
    other.add(_image())
    assert _end(chat.reply("What is it?", GREEDY)).tokens == _end(other.reply("What is it?", GREEDY)).tokens


@pytest.mark.parametrize("thinking", [False, True])
def test_an_answer_that_fills_the_context_ends_without_a_fault(noise: Gemma, thinking: bool) -> None:
    length = noise.prompts.build([Message.of("user", "Hello!")], enable_thinking=thinking).n_tokens
    for room in range(6):
        chat = Chat(noise, enable_thinking=thinking, context=length + room)
        end = _end(chat.reply("Hello!", GREEDY))
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
    assert chat.history == []
    chat.add(_image())
    assert _end(chat.reply(text, GREEDY)).usage.image_tokens == 6


def test_max_tokens(noise: Gemma) -> None:
    for count in (1, 2, 7):
        end = _end(Chat(noise).reply("Hello!", GREEDY, max_tokens=count))
        assert (end.reason, len(end.tokens)) == ("length", count)


def test_a_stop_string_ends_the_answer_in_history_as_well(demo: Gemma) -> None:
    whole = _end(Chat(demo).reply("Hello!", GREEDY))
    chat, word = Chat(demo), whole.text[4:7]
    end = _end(chat.reply("Hello!", GREEDY, stop=[word, "never said"]))
    assert (end.text, end.reason) == (whole.text.partition(word)[0], "stop")
    assert end.tokens == whole.tokens[: len(end.tokens)] != whole.tokens
    assert chat.history[-1].text == end.text
    _settled(chat)
    assert _end(Chat(demo).reply("Hello!", GREEDY, stop=[f"{whole.text[-1]}never said"])).text == whole.text


def test_what_the_checkpoint_suppresses_stays_suppressed_whatever_the_sampler(noise: Gemma) -> None:
    said = _end(Chat(noise).reply("Hello!", GREEDY, max_tokens=30)).tokens
    for own in ((), said[:1]):
        gemma = replace(noise, sampler=Sampler(suppress_tokens=said[1:]))
        sampler = Sampler(temperature=0, suppress_tokens=own)
        tokens = _end(Chat(gemma).reply("Hello!", sampler, max_tokens=30)).tokens
        assert tokens
        assert not set(tokens) & {*said[1:], *own}


def test_an_interrupted_settle_is_made_up_for(demo: Gemma, monkeypatch: pytest.MonkeyPatch) -> None:
    chat = Chat(demo, enable_thinking=True)
    with monkeypatch.context() as patch:
        patch.setattr(Chat, "_settle", lambda self, interrupted: None)
        _end(chat.reply("Hello!", GREEDY))
    chat.settle(interrupted=lambda: True)
    assert len(chat.context.keys) < _history(chat).n_tokens
    _answers_like_a_cold_chat(chat, "Why?")


@pytest.mark.parametrize("thinking", [False, True])
def test_settling_a_long_answer_reads_the_answer_alone(
    noise: Gemma, thinking: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[Read] = []
    read = Context.read

    def recorded(self: Context, *arguments: Any, **options: Any) -> Read:
        reads.append(read(self, *arguments, **options))
        return reads[-1]

    monkeypatch.setattr(Context, "read", recorded)
    chat = Chat(noise, enable_thinking=thinking)
    chat.add(_image(8, 9))
    _end(chat.reply("Hello!", GREEDY, max_tokens=420))  # no buffer goes back so far
    assert reads[-1].cached == reads[1].cached + reads[1].read
    _settled(chat)


def test_settling_twice(demo: Gemma) -> None:
    chat = Chat(demo)
    for _ in range(2):
        chat.settle()  # before anything was said as well
        _end(chat.reply("Hello!", GREEDY))
        chat.settle()
        _settled(chat)
