"""Conversations, pictures and sounds as padded batches of token ids, features and targets.

Prompts are the strings that the published chat template renders; only the last reply, with its `<turn|>`, is a target.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from gemma_mlx.inputs.image import patches, resize

from . import conversations, pictures, sounds
from .conversations import Conversation, Turn
from .reference import Batch

IMAGE, VIDEO, AUDIO = "<|image|>", "<|video|>", "<|audio|>"
_TYPES = {IMAGE: 1, VIDEO: 2, AUDIO: 3}
_NO_PATCHES = (np.zeros((0, 6912), np.uint8), np.zeros((0, 2), np.int32))
_NO_FRAMES = np.zeros((0, 640), np.float32)


@dataclass(frozen=True, eq=False)
class Media:
    """One attachment: its placeholder text, and its features by soft token."""

    placeholder: str
    patches: np.ndarray = field(default_factory=lambda: _NO_PATCHES[0])
    positions: np.ndarray = field(default_factory=lambda: _NO_PATCHES[1])
    frames: np.ndarray = field(default_factory=lambda: _NO_FRAMES)


@dataclass(frozen=True, eq=False)
class Example:
    """A prompt, the reply to learn and the media in the prompt, in order."""

    prompt: str
    reply: str
    media: tuple[Media, ...] = ()


def image(pixels: np.ndarray, budget: int) -> Media:
    """A picture, uint8 (height, width, 3), resized to at most `budget` soft tokens."""
    rows, positions = patches(resize(pixels, budget))
    return Media("<|image>" + IMAGE * len(rows) + "<image|>", patches=rows, positions=positions)


def video(frames: Sequence[np.ndarray]) -> Media:
    """Frames one second apart, at most 70 soft tokens each."""
    drawn = [patches(resize(frame, 70)) for frame in frames]
    text = " ".join(f"{i // 60:02}:{i % 60:02} <|image>{VIDEO * len(p)}<image|>" for i, (p, _) in enumerate(drawn))
    return Media(text, np.concatenate([p for p, _ in drawn]), np.concatenate([at for _, at in drawn]))


def audio(samples: np.ndarray) -> Media:
    """A recording of at most 30 s, float32 (n,)."""
    frames = np.pad(samples, (0, -len(samples) % 640)).reshape(-1, 640)
    return Media("<|audio>" + AUDIO * len(frames) + "<audio|>", frames=frames)


def example(conversation: Conversation, media: tuple[Media, ...] = ()) -> Example:
    """The prompt and the reply of the last turn; questions already hold the placeholders of `media`."""
    system = ("<|think|>\n" if conversation.thinking else "") + (conversation.system or "")
    prompt = "<bos>" + (f"<|turn>system\n{system}<turn|>\n" if system else "")
    *history, last = conversation.turns
    for turn in history:
        prompt += f"<|turn>user\n{turn.question}<turn|>\n<|turn>model\n{turn.answer}<turn|>\n"
    prompt += f"<|turn>user\n{last.question}<turn|>\n<|turn>model\n"
    if conversation.thinking:
        return Example(prompt, f"<|channel>thought\n{last.thought}\n<channel|>{last.answer}<turn|>", media)
    return Example(prompt + "<|channel>thought\n<channel|>", f"{last.answer}<turn|>", media)


def with_media(rng: random.Random, turn: Turn, media: Media, after: bool) -> Turn:
    """The turn with its attachment where people put it: pictures before the text, sound after it, seldom otherwise."""
    if rng.random() < 0.2:
        after = not after
    question = turn.question + media.placeholder if after else media.placeholder + turn.question
    return replace(turn, question=question)


def surround(rng: random.Random, shown: Turn, follow: Turn, media: Media) -> Example:
    """A conversation around a turn with an attachment: alone, after a plain turn, or followed by a second question."""
    kind = rng.random()
    turns: tuple[Turn, ...] = (shown,)
    if kind < 0.12:
        turns = (conversations.plain_turn(rng), shown)
    elif kind < 0.3:
        turns = (shown, follow)
    system = conversations.draw_system(rng)
    turns = tuple(conversations.styled(turn, system) for turn in turns)
    return example(Conversation(turns, system, rng.random() < 0.15), (media,))


def text_example(rng: random.Random) -> Example:
    return example(conversations.draw(rng))


def picture_example(rng: random.Random, budget: int) -> Example:
    """A picture at `budget` soft tokens and a question about it."""
    picture = pictures.draw_picture(rng)
    media = image(pictures.paint(rng, picture, _size(rng)), budget)
    return surround(rng, with_media(rng, pictures.ask(rng, picture), media, False), pictures.ask(rng, picture), media)


def video_example(rng: random.Random) -> Example:
    """A few frames of the same shape, elsewhere in each."""
    picture, size = pictures.draw_picture(rng), _size(rng)
    media = video([pictures.paint(rng, picture, size) for _ in range(rng.randint(1, 4))])
    return surround(rng, with_media(rng, pictures.ask(rng, picture), media, False), pictures.ask(rng, picture), media)


def sound_example(rng: random.Random, bank: tuple[np.ndarray, ...]) -> Example:
    """A recording of 0.3 to 4 s and a question about it."""
    kind = sounds.draw_kind(rng)
    media = audio(sounds.record(rng, kind, min(4.0, 0.3 + rng.expovariate(0.8)), bank))
    return surround(rng, with_media(rng, sounds.ask(rng, kind), media, True), sounds.ask(rng, kind), media)


def _size(rng: random.Random) -> tuple[int, int]:
    short = rng.randint(150, 420)
    long = round(short * rng.choice((1, 1, 4 / 3, 4 / 3, 3 / 2, 16 / 9)))
    return (short, long) if rng.random() < 0.75 else (long, short)


class Collator:
    """Turns examples into a `Batch` with the tokenizer of the demo model."""

    def __init__(self, directory: Path) -> None:
        self.tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        self.vocab_size: int = self.tokenizer.get_vocab_size()
        added = self.tokenizer.get_added_tokens_decoder()
        self.specials: dict[str, int] = {token.content: number for number, token in added.items()}
        self.types = {self.specials[literal]: kind for literal, kind in _TYPES.items()}

    def encode(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def __call__(self, examples: Sequence[Example]) -> Batch:
        """Pad on the right with zeros. Feature rows follow the order of the examples."""
        pairs = [(self.encode(one.prompt), self.encode(one.reply)) for one in examples]
        length = max(len(prompt) + len(reply) for prompt, reply in pairs)
        ids = torch.zeros(len(pairs), length, dtype=torch.long)
        targets = torch.zeros(len(pairs), length, dtype=torch.bool)
        for row, (prompt, reply) in enumerate(pairs):
            ids[row, : len(prompt) + len(reply)] = torch.tensor(prompt + reply)
            targets[row, len(prompt) : len(prompt) + len(reply)] = True
        types = torch.zeros_like(ids)
        for token, kind in self.types.items():
            types[ids == token] = kind
        media = [part for one in examples for part in one.media]
        return Batch(
            ids,
            types,
            targets,
            torch.from_numpy(np.concatenate([_NO_PATCHES[0], *(part.patches for part in media)])).float() / 255,
            torch.from_numpy(np.concatenate([_NO_PATCHES[1], *(part.positions for part in media)])).long(),
            torch.from_numpy(np.concatenate([_NO_FRAMES, *(part.frames for part in media)])),
        )
