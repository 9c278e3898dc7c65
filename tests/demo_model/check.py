"""What the demo model gets right: shares of questions answered word for word, and of drafts accepted.

An answer counts only if every token, `<turn|>` included, is the most probable one; then greedy decoding gives it.
"""

import random
import wave
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from . import conversations, examples, pictures, reference, samples, sounds
from .answers import FALLBACK, FALLBACK_THOUGHT, INTENTS
from .conversations import Conversation, Turn
from .examples import Collator, Example
from .reference import Batch, Drafter, Target
from .words import HELD_OUT

DEPTH = 3


def measure(target: Target, drafter: Drafter, collate: Collator, directory: Path) -> dict[str, float]:
    """Every figure, by name. `directory` holds the sample picture and recording."""
    with torch.no_grad():
        return {name: round(value, 3) for name, value in _figures(target, drafter, collate, directory)}


def _figures(target: Target, drafter: Drafter, collate: Collator, directory: Path) -> Iterator[tuple[str, float]]:
    rng = random.Random(77)
    for name, group in _groups(rng, directory).items():
        yield name, float(np.mean([_right(target, collate, one) for one in group]))
    texts = [examples.text_example(rng) for _ in range(60)]
    seen = [examples.picture_example(rng, 70) for _ in range(20)]
    yield "acceptance_text", acceptance(target, drafter, collate, texts)
    yield "acceptance_pictures", acceptance(target, drafter, collate, seen)


def _groups(rng: random.Random, directory: Path) -> dict[str, list[Example]]:
    known = [conversations.answered(intent, question) for intent in INTENTS for question in intent.questions]
    strange = [Turn(conversations.fallback_question(rng, HELD_OUT), FALLBACK, FALLBACK_THOUGHT) for _ in range(100)]
    bank = sounds.speech_bank()
    groups = {
        "known": [_alone(turn) for turn in known],
        "known_thinking": [_alone(turn, thinking=True) for turn in known],
        "fallback_held_out": [_alone(turn) for turn in strange],
        "drawn": [examples.text_example(rng) for _ in range(200)],
        "video": [examples.video_example(rng) for _ in range(20)],
        "sound": [examples.sound_example(rng, bank) for _ in range(100)],
        "sample_picture": [_sample_picture(directory)],
        "sample_recording": [_sample_recording(directory)],
    }
    for budget, count in ((70, 60), (140, 40), (280, 30), (560, 15), (1120, 8)):
        groups[f"picture_{budget}"] = [examples.picture_example(rng, budget) for _ in range(count)]
    return groups


def _alone(turn: Turn, thinking: bool = False) -> Example:
    return examples.example(Conversation((turn,), thinking=thinking))


def _sample_picture(directory: Path) -> Example:
    shown = examples.image(np.asarray(Image.open(directory / "picture.png")), 280)
    question = shown.placeholder + pictures.QUESTIONS["what"][0]
    turn = Turn(question, samples.PICTURE_ANSWER, "The user shows me a picture.")
    return examples.example(Conversation((turn,)), (shown,))


def _sample_recording(directory: Path) -> Example:
    with wave.open(str(directory / "recording.wav")) as reader:
        played = np.frombuffer(reader.readframes(reader.getnframes()), "<i2").astype(np.float32) / 32768
    heard = examples.audio(played)
    turn = Turn(sounds.QUESTIONS[0] + heard.placeholder, samples.RECORDING_ANSWER, "The user plays a recording.")
    return examples.example(Conversation((turn,)), (heard,))


def _right(target: Target, collate: Collator, one: Example) -> bool:
    batch = collate([one])
    hidden, _ = reference.run(target, batch)
    wanted = batch.targets[:, 1:]
    best = reference.logits(target, hidden[:, :-1][wanted]).argmax(-1)
    return bool((best == batch.ids[:, 1:][wanted]).all())


def acceptance(target: Target, drafter: Drafter, collate: Collator, group: Sequence[Example]) -> float:
    """Share of drafts accepted when the replies are decoded greedily in rounds of three drafts. No gradients."""
    accepted = drafted = 0
    for one in group:
        batch = collate([one])
        right = _drafts(target, drafter, batch) == _following(batch)
        slot, end = int(batch.targets[0].int().argmax()) - 1, batch.ids.shape[1] - 2
        while slot < end:
            room = min(DEPTH, end - slot)
            agreed = int(right[:room, slot].int().cumprod(0).sum())
            accepted, drafted, slot = accepted + agreed, drafted + room, slot + agreed + 1
    return accepted / drafted


def _following(batch: Batch) -> Tensor:
    """(DEPTH, L): the tokens that the drafts from slot t ought to be; -1 past the end."""
    padded = torch.nn.functional.pad(batch.ids[0], (0, DEPTH + 1), value=-1)
    return torch.stack([padded[step + 1 : step + 1 + batch.ids.shape[1]] for step in range(1, DEPTH + 1)])


def _drafts(target: Target, drafter: Drafter, batch: Batch) -> Tensor:
    """(DEPTH, L): what the drafter says from every slot when it is fed with its own drafts."""
    state, shared = reference.run(target, batch, share=True)
    table = target.model.language_model.embed_tokens
    slots = torch.arange(batch.ids.shape[1])[None]
    newest, drafts = torch.nn.functional.pad(batch.ids[:, 1:], (0, 1)), []
    for _ in range(DEPTH):
        guess, state = reference.draft_step(drafter, table(newest), state, slots, shared)
        newest = guess.argmax(-1)
        drafts.append(newest[0])
    return torch.stack(drafts)
