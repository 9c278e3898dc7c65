"""What the shipped demo model can do, asked through the package: samples of tasks that it was not trained on.

Bounds are below what the model gets right of these few tasks, so that they fail when an ability is lost and not before;
answers are greedy, pictures in the font that Pillow carries, voices espeak-ng's. An answer is right if it is the
expected one to the letter.
"""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from gemma_mlx import Audio, Chat, Finished, Gemma, Image, LoadOptions, Sampler, Text, Video, load
from gemma_mlx.inputs.message import Message, Part
from gemma_mlx.names import target_name

from . import asking, calling, conversations, espeak, examples, pictures, reference, sounds, speech, strings
from .answering import answer, prompt_of, reference_agrees
from .answers import FALLBACK
from .conversations import Conversation, Turn
from .examples import Collator, Example

SEED = 41
DEPTH = 3
SNR = 15.0  # dB
NONSENSE = "fmzt quorble"


@dataclass(frozen=True)
class Task:
    """What a chat has before its reply, and whether that is right."""

    messages: tuple[Message, ...]
    right: Callable[[Finished], bool]
    thinking: bool = False
    tools: tuple[calling.Declaration, ...] = ()


@cache
def gemma() -> Gemma:
    return load("demo")


def _expecting(reply: str) -> Callable[[Finished], bool]:
    return lambda end: end.text == reply


def _asked(parts: Sequence[Part], reply: str) -> Task:
    return Task((Message("user", tuple(parts)),), _expecting(reply))


def _talk(conversation: Conversation) -> Task:
    messages: list[Message] = []
    for turn in conversation.turns:
        messages += [Message.of("user", turn.question), Message.of("assistant", turn.answer)]
    return Task(tuple(messages[:-1]), _expecting(conversation.turns[-1].answer))


def questions() -> list[Task]:
    drawn = random.Random(SEED).sample(conversations.held_out_questions(), 30)
    return [_asked([Text(question)], reply) for question, reply in drawn]


def follow_ups() -> list[Task]:
    return [_talk(one) for one in random.Random(SEED).sample(conversations.held_out_follow_ups(), 10)]


def names() -> list[Task]:
    """The name is given, perhaps something else is asked, and then the name."""
    rng = random.Random(SEED)
    return [_talk(Conversation(conversations._name_turns(rng, "held_out"))) for _ in range(10)]


def fallback() -> list[Task]:
    rng = random.Random(SEED)
    turns = [conversations._unknown(rng, "held_out") for _ in range(9)]
    return [_asked([Text(question)], FALLBACK) for question in (NONSENSE, *(turn.question for turn in turns))]


def thinking() -> list[Task]:
    drawn = random.Random(SEED + 1).sample(conversations.held_out_questions(), 10)

    def task(question: str, reply: str) -> Task:
        right = _expecting(reply)
        asked = (Message.of("user", question),)
        return Task(asked, lambda end: right(end) and bool((end.thinking or "").strip()), thinking=True)

    return [task(question, reply) for question, reply in drawn]


def calls() -> list[Task]:
    """Calls with their names and arguments, answers from results, and the fallback where the tool is missing."""

    def task(one: calling.Task) -> Task:
        def right(end: Finished) -> bool:
            return calling.is_right(one, end.calls, end.text)

        return Task(one.messages, right, one.thinking, one.tools)

    return [task(one) for one in calling.held_out(20, SEED)]


def _image(rng: random.Random, text: str, budget: int) -> Image:
    return Image("picture.png", pictures.whole(rng, text, None, budget).pixels)


def _pictures(budget: int, count: int) -> list[Task]:
    rng = random.Random(SEED + budget)
    tasks = []
    for _ in range(count):
        text = strings.draw(rng, "held_out", 6)
        question, reply = asking.about_picture(rng, text)
        tasks.append(_asked([_image(rng, text, budget), Text(question)], reply))
    return tasks


def pictures_70() -> list[Task]:
    return _pictures(70, 12)


def pictures_280() -> list[Task]:
    return _pictures(280, 8)


def which() -> list[Task]:
    """Two pictures: which of them shows a text?"""
    rng, tasks = random.Random(SEED), []
    for number in range(8):
        texts = strings.draw(rng, "held_out", 6), strings.draw(rng, "held_out", 6)
        shown = [_image(rng, text, 70) for text in texts]
        question = asking.choose(rng, asking.WHICH).format(texts[number % 2])
        tasks.append(_asked([*shown, Text(question)], asking.which_reply(texts, number % 2)))
    return tasks


def videos() -> list[Task]:
    rng, tasks = random.Random(SEED), []
    for _ in range(5):
        text = strings.draw(rng, "held_out", 6)
        frame = pictures.whole(rng, text, None, 70).pixels
        parts: list[Part] = [Video("video.mp4", (frame, frame), (0.0, 1.0)), Text("what does the video say?")]
        tasks.append(_asked(parts, text))
    return tasks


def _recordings(count: int, asked: bool) -> list[tuple[Audio, speech.Utterance]]:
    """Questions, or one to three words, in noise."""
    found: list[tuple[Audio, speech.Utterance]] = []
    noise, index = np.random.default_rng(SEED), 0
    while len(found) < count:
        one = speech.drawn(SEED, "held_out", index)
        index += 1
        if (one.question >= 0) == asked and len(one.words) <= 3:
            samples = sounds.noise_at(speech.render(one)[0], SNR, noise)
            found.append((Audio("recording.wav", samples), one))
    return found


def spoken() -> list[Task]:
    rng, tasks = random.Random(SEED), []
    for recording, said in _recordings(16, asked=False):
        question = asking.choose(rng, asking.SOUND["transcribe"])
        tasks.append(_asked([Text(question), recording], speech.written(said.words)))
    return tasks


def both() -> list[Task]:
    """Spoken questions about a picture."""
    rng, tasks = random.Random(SEED), []
    for recording, said in _recordings(10, asked=True):
        text = strings.draw(rng, "held_out", 6)
        reply = asking.picture_reply(asking.SPOKEN[said.question], text)
        tasks.append(_asked([_image(rng, text, 70), recording], reply))
    return tasks


def without_speech() -> list[Task]:
    noise = np.random.default_rng(SEED)
    heard = [Audio("hum.wav", sounds.no_speech(noise, 20000)) for _ in range(5)]
    return [_asked([Text("transcribe this"), one], asking.NO_SPEECH) for one in heard]


@cache
def replies(group: Callable[[], list[Task]]) -> list[tuple[Task, Finished]]:
    """Every task of a group with the end of its reply, three tokens drafted at a time."""
    found = []
    for task in group():
        chat = Chat(gemma(), enable_thinking=task.thinking, tools=task.tools)
        chat.history = task.messages
        *_, end = chat.reply(sampler=Sampler(temperature=0), max_tokens=96, draft_depth=DEPTH)
        assert isinstance(end, Finished)
        found.append((task, end))
    return found


def _check(group: Callable[[], list[Task]], least: int) -> None:
    wrong = [(task.messages[-1].text, end.text, end.calls) for task, end in replies(group) if not task.right(end)]
    right = len(replies(group)) - len(wrong)
    assert right >= least, f"{right} right, wrong: {wrong}"


@pytest.mark.parametrize(
    ("group", "least"),
    [
        (questions, 24),
        (follow_ups, 7),
        (names, 7),
        (fallback, 8),
        (thinking, 7),
        (calls, 15),
        (pictures_70, 9),
        (pictures_280, 6),
        (which, 6),
        (videos, 3),
        (without_speech, 4),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_it_does_what_it_was_trained_for(group: Callable[[], list[Task]], least: int) -> None:
    _check(group, least)


@pytest.mark.parametrize(("group", "least"), [(spoken, 12), (both, 6)], ids=["spoken", "both"])
def test_it_understands_voices_that_it_never_heard(group: Callable[[], list[Task]], least: int) -> None:
    try:
        espeak.engine()
    except OSError as fault:
        pytest.skip(str(fault))
    _check(group, least)


def test_a_thought_is_apart_from_the_answer() -> None:
    for _, end in replies(thinking):
        assert end.thinking
        assert end.thinking.strip() not in end.text
    assert all(end.thinking is None for _, end in replies(questions))


def test_most_drafts_are_accepted() -> None:
    ends = [end for group in (questions, calls, pictures_70) for _, end in replies(group)]
    drafted, accepted = sum(end.draft.drafted for end in ends), sum(end.draft.accepted for end in ends)
    assert drafted > 500
    assert accepted >= 0.5 * drafted, f"{accepted} of {drafted}"


def _unpacked(directory: Path, out: Path) -> Path:
    """A packed checkpoint in the published layout, its matrices in float32 as their 4 bits say."""
    out.mkdir()
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    group, bits = config["quantization"]["group_size"], config["quantization"]["bits"]
    stored = mx.load(str(directory / "model.safetensors"))
    assert isinstance(stored, dict)
    tensors = {}
    for name, value in stored.items():
        if name.endswith((".scales", ".biases")):
            continue
        base = name.removesuffix(".weight")
        if f"{base}.scales" in stored:
            scales, biases = (stored[f"{base}.{part}"].astype(mx.float32) for part in ("scales", "biases"))
            value = mx.dequantize(value, scales, biases, group, bits)
        tensors[f"model.{target_name(name)}"] = torch.from_numpy(np.array(value.astype(mx.float32)))
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    plain = {key: value for key, value in config.items() if not key.startswith("quantization")} | {"dtype": "float32"}
    (out / "config.json").write_text(json.dumps(plain), encoding="utf-8")
    for file in directory.iterdir():
        if file.name not in ("config.json", "model.safetensors"):
            (out / file.name).write_bytes(file.read_bytes())
    return out


def _mixed() -> list[Example]:
    """Talk, a thought, calls, pictures of two sizes, two pictures, a sound."""
    rng, noise = random.Random(SEED), np.random.default_rng(SEED)

    def alone(before: str, after: str, *media: examples.Media, thinking: bool = False) -> Example:
        shown = "".join(one.text for one in media)
        turn = Turn(before + shown + after, "", "")
        return examples.example(Conversation((turn,), None, thinking), media)

    def seen(budget: int) -> examples.Media:
        text = strings.draw(rng, "held_out", 6)
        return examples.image(pictures.whole(rng, text, None, budget).pixels, budget)

    heard = examples.audio(sounds.no_speech(noise, 30000))
    asked = [task for task in calling.held_out(20, SEED) if task.expected == "call"]
    return [
        alone("what is a drafter?", ""),
        alone("does it fit in 16 GB?", "", thinking=True),
        calling.example(asked[0]),
        alone("", "what does it say?", seen(70)),
        alone("", "what do you see?", seen(280), thinking=True),
        alone("", "which picture shows E404?", seen(70), seen(70)),
        alone("what do you hear?", "", heard),
        alone("", "", seen(70), heard),
    ]


def test_in_float32_it_says_what_the_reference_says(tmp_path: Path) -> None:
    directory = _unpacked(gemma().path, tmp_path / "float32")
    ours = load(str(directory), LoadOptions(dtype="float32", draft="off"))
    theirs = reference.Target.from_pretrained(directory, dtype=torch.float32)
    collate = Collator(directory)
    for one in _mixed():
        ids = answer(ours, prompt_of(collate, one), None)
        assert len(ids) > 1
        assert reference_agrees(theirs, collate, one, ids), one.prompt
        if one.media or one.reply:
            assert not reference_agrees(theirs, collate, one, (ids[0] + 1, *ids[1:]))
