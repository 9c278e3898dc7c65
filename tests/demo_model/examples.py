"""Conversations, pictures and sounds as padded batches of token ids, features and targets.

Prompts are the strings that the published chat template renders, with one placeholder for each picture, frame or
recording; only the last reply, with its `<turn|>`, is a target.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from gemma_mlx.inputs.image import patches, resize

from .conversations import Conversation
from .reference import Batch

IMAGE, VIDEO, AUDIO = "<|image|>", "<|video|>", "<|audio|>"
_TYPES = {IMAGE: 1, VIDEO: 2, AUDIO: 3}
_NO_PLACES = np.zeros((0, 2), np.uint16)
_NO_PATCHES, _NO_FRAMES = np.zeros((0, 6912), np.uint8), np.zeros((0, 640), np.float32)
GLYPH_SLOTS = 3


@dataclass(frozen=True, eq=False)
class Media:
    """One attachment: its text, and by placeholder in that text how many soft tokens it stands for; their features.

    `labels` says by soft token what is seen or heard there, for training: the characters of a patch and the index of
    the first, or the word last heard and how many so far.
    """

    text: str
    counts: tuple[int, ...]
    positions: np.ndarray = field(default_factory=lambda: _NO_PLACES)  # (V, 2) of every patch
    patches: np.ndarray = field(default_factory=lambda: _NO_PATCHES)  # (M, 6912) uint8 of those not of one grey
    places: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))  # (M,) which of the V they are
    frames: np.ndarray = field(default_factory=lambda: _NO_FRAMES)
    labels: np.ndarray | None = None  # (V, GLYPH_SLOTS + 1) or (N, 2)


@dataclass(frozen=True, eq=False)
class Example:
    """A prompt, the reply to learn and the media in the prompt, in order."""

    prompt: str
    reply: str
    media: tuple[Media, ...] = ()


def image(pixels: np.ndarray, budget: int) -> Media:
    """A picture, uint8 (height, width, 3), resized to at most `budget` soft tokens."""
    return video([pixels], budget, IMAGE, stamps=False)


def video(frames: Sequence[np.ndarray], budget: int = 70, placeholder: str = VIDEO, stamps: bool = True) -> Media:
    """Frames one second apart, at most `budget` soft tokens each."""
    drawn = [patches(resize(frame, budget)) for frame in frames]
    text = " ".join(
        (f"{i // 60:02}:{i % 60:02} " if stamps else "") + f"<|image>{placeholder}<image|>" for i in range(len(drawn))
    )
    rows = np.concatenate([rows for rows, _ in drawn])
    shown = np.flatnonzero(rows.max(1) != rows.min(1))
    return Media(
        text,
        tuple(len(rows) for rows, _ in drawn),
        positions=np.concatenate([at for _, at in drawn]),
        patches=rows[shown],
        places=shown,
    )


def audio(samples: np.ndarray, labels: np.ndarray | None = None) -> Media:
    """A recording of at most 30 s, float32 (n,)."""
    frames = np.pad(samples, (0, -len(samples) % 640)).reshape(-1, 640)
    return Media(f"<|audio>{AUDIO}<audio|>", (len(frames),), frames=frames, labels=labels)


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

    def ids(self, one: Example) -> tuple[list[int], list[int]]:
        """Ids of the prompt, its placeholders repeated, and of the reply."""
        counts = iter([count for part in one.media for count in part.counts])
        prompt: list[int] = []
        for token in self.encode(one.prompt):
            prompt.extend([token] * (next(counts) if token in self.types else 1))
        return prompt, self.encode(one.reply)

    def __call__(self, examples: Sequence[Example], length: int | None = None) -> Batch:
        """Pad on the right with zeros, to `length` if it is given. Feature rows follow the order of the examples."""
        return self.batch([self.ids(one) for one in examples], [one.media for one in examples], length)

    def batch(
        self,
        pairs: Sequence[tuple[list[int], list[int]]],
        media: Sequence[tuple[Media, ...]],
        length: int | None = None,
    ) -> Batch:
        """The batch of prompts and replies that are encoded already."""
        length = length or max(len(prompt) + len(reply) for prompt, reply in pairs)
        ids = np.zeros((len(pairs), length), np.int64)
        targets = np.zeros((len(pairs), length), bool)
        for row, (prompt, reply) in enumerate(pairs):
            ids[row, : len(prompt)] = prompt
            ids[row, len(prompt) : len(prompt) + len(reply)] = reply
            targets[row, len(prompt) : len(prompt) + len(reply)] = True
        kinds = np.zeros(self.vocab_size, np.int64)
        kinds[list(self.types)] = list(self.types.values())
        parts = [part for group in media for part in group]
        before = np.cumsum([0, *(len(part.positions) for part in parts)])
        places = [part.places + start for part, start in zip(parts, before[:-1], strict=True)]
        return Batch(
            torch.from_numpy(ids),
            torch.from_numpy(kinds[ids]),
            torch.from_numpy(targets),
            torch.from_numpy(np.concatenate([_NO_PLACES, *(part.positions for part in parts)]).astype(np.int64)),
            torch.from_numpy(np.concatenate([_NO_PATCHES, *(part.patches for part in parts)])),
            torch.from_numpy(np.concatenate([np.zeros(0, np.int64), *places])),
            torch.from_numpy(np.concatenate([_NO_FRAMES, *(part.frames for part in parts)])),
        )
