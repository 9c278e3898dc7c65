"""The endless stream of training batches: talk, tool calls, pictures, speech and both, and what is where in the media.

Pictures and utterances come from pools on disk (`pictures`, `speech`); noise, colours, speed and questions are drawn
here, of the kinds that a stage of `schedule` asks for. Knows nothing of the model.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from . import asking, calling, conversations, examples, fonts, sounds, speech
from .conversations import Conversation, Turn
from .examples import GLYPH_SLOTS, Collator, Example, Media
from .lines import BINS
from .pools import LinePool, PicturePool, SpeechPool
from .reference import Batch
from .schedule import Stage
from .strips import Strips

TOKENS = 6144  # of one batch
TEXTS, CALLS, STRIPS = 48000, 24000, 16000
DRAWN = 384  # examples with media that are sorted into batches at a time
KINDS = ("lines", "strips", "sounds", "talk", "calls", "pictures", "speech", "both")
LINES, SENSING = KINDS[:2], KINDS[:3]  # what is labelled by sixths of patches; what has no reply
SENSED = 4608  # tokens of a batch of lines, strips or sounds, which has something to learn in nearly all of them
HEARD = 0.7  # a word counts as heard when this share of it is over
Pair = tuple[list[int], list[int]]
Told = tuple[Turn, Turn, tuple[Media, ...]]
"""A turn with an attachment, a second question about it, and what is attached."""


@dataclass(frozen=True, eq=False)
class Step:
    """One batch, and what its media show: for the losses that are used in training only."""

    kind: str
    batch: Batch
    glyphs: Tensor  # (V, GLYPH_SLOTS + 1) int64; of lines (V, BINS)
    words: Tensor  # (N, 2) int64


class Mixture:
    """Draws batches. `pools` holds the directories `crops`, `pictures` and `speech`; `seed` fixes everything.

    `texts` and `calls`: how many conversations of either kind are drawn, once, from which batches are then made.
    """

    def __init__(self, collate: Collator, pools: Path, seed: int, texts: int = TEXTS, calls: int = CALLS) -> None:
        self.collate, self.rng, self.noise = collate, random.Random(seed), np.random.default_rng(seed)
        self.pools, self.crops = pools, PicturePool(pools / "crops")
        self.lines, self.utterances = LinePool(pools / "lines"), SpeechPool(pools / "speech")
        self.whole_share = self.new_share = 0.0
        draws: dict[str, Callable[[], Example]] = {
            "pictures": self.picture_example,
            "lines": self.line,
            "strips": self.strip,
            "sounds": self.sound,
            "speech": self.sound_example,
            "both": self.both_example,
        }
        rng = random.Random(seed + 1)
        talked = [examples.example(conversations.draw(rng, "train")) for _ in range(texts)]
        called = [calling.draw(rng, "train") for _ in range(calls)]
        self.groups = {kind: self._groups(draw, SENSED if kind in SENSING else TOKENS) for kind, draw in draws.items()}
        self.groups["talk"] = self._prepared([self.collate.ids(one) for one in talked])
        self.groups["calls"] = self._prepared([self.collate.ids(one) for one in called])

    @cached_property
    def strips(self) -> Strips:
        return Strips(fonts.available("train"), 1, STRIPS)

    @cached_property
    def whole(self) -> PicturePool:
        return PicturePool(self.pools / "pictures")

    def step(self, stage: Stage) -> Step:
        """The next batch, of a kind that the stage asks for."""
        self.whole_share, self.new_share = stage.whole, stage.new
        (kind,) = self.rng.choices(tuple(stage.shares), tuple(stage.shares.values()))
        pairs, media = next(self.groups[kind])
        length = max(-(-(len(prompt) + len(reply)) // 16) * 16 for prompt, reply in pairs)
        labels = [part for group in media for part in group]
        width = BINS if kind in LINES else GLYPH_SLOTS + 1
        glyphs = [_labels(part, width) for part in labels if len(part.positions)]
        words = [_labels(part, 2) for part in labels if len(part.frames)]
        return Step(kind, self.collate.batch(pairs, media, length), _stack(glyphs, width), _stack(words, 2))

    def _groups(self, draw: Callable[[], Example], tokens: int) -> Iterator[tuple[list[Pair], list[tuple[Media, ...]]]]:
        while True:
            drawn = [draw() for _ in range(DRAWN)]
            encoded = [(self.collate.ids(one), one.media) for one in drawn]
            yield from self._packed(encoded, tokens)

    def _prepared(self, pairs: list[Pair]) -> Iterator[tuple[list[Pair], list[tuple[Media, ...]]]]:
        while True:
            yield from self._packed([(pair, ()) for pair in self.rng.sample(pairs, min(1024, len(pairs)))], TOKENS)

    def _packed(
        self, items: list[tuple[Pair, tuple[Media, ...]]], tokens: int
    ) -> Iterator[tuple[list[Pair], list[tuple[Media, ...]]]]:
        """Groups of similar length, so that little is padded, in random order."""
        sizes = [-(-(len(pair[0]) + len(pair[1])) // 16) * 16 for pair, _ in items]
        order = sorted(range(len(items)), key=lambda i: sizes[i])
        groups: list[list[int]] = [[]]
        for i in order:
            if groups[-1] and (len(groups[-1]) + 1) * sizes[i] > tokens:
                groups.append([])
            groups[-1].append(i)
        self.rng.shuffle(groups)
        for group in groups:
            yield [items[i][0] for i in group], [items[i][1] for i in group]

    def picture(self) -> tuple[Media, str]:
        """A picture from the pools, whole or a crop, or a crop made anew, and its text."""
        kind = self.rng.random()
        if kind < self.new_share:
            return self.strips.crop(self.rng)
        pool = self.whole if kind < self.new_share + self.whole_share else self.crops
        return pool.draw(self.rng, moved=pool is self.crops)

    def utterance(self, questions: bool) -> tuple[Media, int, str]:
        """Disturbed speech: its media, which question it is (or -1) and its words as written."""
        samples, bounds, question, ids = self.utterances.draw(self.rng, questions)
        samples, bounds = _faster(samples, bounds, self.rng.uniform(0.9, 1.12))
        samples = sounds.disturb(self.noise, samples)
        return examples.audio(samples, _heard(ids, bounds, len(samples))), question, speech.written(ids)

    def line(self) -> Example:
        """A line and nothing else: what patches show is learnt many times as fast without words around."""
        media = self.lines.draw(self.rng)
        return Example(media.text, "", (media,))

    def strip(self) -> Example:
        """A line that was never seen before."""
        media = self.strips.draw(self.rng)
        return Example(media.text, "", (media,))

    def sound(self) -> Example:
        """Spoken words and nothing else."""
        media, _, _ = self.utterance(questions=False)
        return Example(media.text, "", (media,))

    def picture_example(self) -> Example:
        kind = self.rng.random()
        if kind < 0.1 and self.new_share:
            return self._zoomed()
        media, text = self.picture()
        if kind < 0.23:
            return self._which(media, text)
        if kind < 0.27 and media.counts[0] <= 72:
            return self._video(media, text)
        return self._surround(*self._shown(media, text), self._played)

    def _shown(self, media: Media, text: str) -> Told:
        (first, reply), second = asking.about_picture(self.rng, text), asking.about_picture(self.rng, text)
        shown = Turn(self._with(first, media, 0.1), reply, asking.PICTURE_THOUGHT)
        return shown, Turn(*second, asking.PICTURE_THOUGHT), (media,)

    def _zoomed(self) -> Example:
        """A picture and its part with the text; `gemma_mlx.inputs.tiles` shows the part first."""
        overview, part, text = self.strips.zoomed(self.rng)
        question, reply = asking.about_picture(self.rng, text)
        turn = Turn(overview.text + part.text + question, reply, asking.PICTURE_THOUGHT)
        return examples.example(Conversation((turn,), None, self.rng.random() < 0.05), (overview, part))

    def _with(self, question: str, media: Media, after: float) -> str:
        """The question, and its attachment after it with that probability: people attach first, and ask then."""
        return question + media.text if self.rng.random() < after else media.text + question

    def _which(self, media: Media, text: str) -> Example:
        other, second = self.picture()
        while second == text:
            other, second = self.picture()
        wanted = self.rng.randrange(2) if text and second else int(not text)
        question = asking.choose(self.rng, asking.WHICH).format((text, second)[wanted])
        reply = asking.which_reply((text, second), wanted)
        turn = Turn(media.text + other.text + question, reply, asking.PICTURE_THOUGHT)
        return examples.example(Conversation((turn,), None, self.rng.random() < 0.05), (media, other))

    def _video(self, media: Media, text: str) -> Example:
        count = self.rng.randint(1, 3)
        frame = media.text.replace(examples.IMAGE, examples.VIDEO)
        stamps = [f"{i // 60:02}:{i % 60:02} {frame}" for i in range(count)]
        reply = asking.picture_reply("read", text)
        shown = " ".join(stamps) + asking.choose(self.rng, asking.VIDEO)
        return examples.example(Conversation((Turn(shown, reply, asking.PICTURE_THOUGHT),)), (media,) * count)

    def sound_example(self) -> Example:
        return self._surround(*self._played(), lambda: self._shown(*self.picture()))

    def _played(self) -> Told:
        if self.rng.random() < 0.06:
            count = self.rng.randint(4000, 40000)
            samples = sounds.no_speech(self.noise, count)
            media, words = examples.audio(samples, np.zeros((-(-count // 640), 2), np.int64)), ""
        else:
            media, _, words = self.utterance(questions=False)
        (first, reply), second = asking.about_sound(self.rng, words), asking.about_sound(self.rng, words)
        if self.rng.random() < 0.2:  # as with a microphone
            first, reply = "", asking.sound_reply("hear", words)
        played = Turn(self._with(first, media, 0.7), reply, asking.SOUND_THOUGHT)
        return played, Turn(*second, asking.SOUND_THOUGHT), (media,)

    def both_example(self) -> Example:
        (seen, text), (heard, question, _) = self.picture(), self.utterance(questions=True)
        reply = asking.picture_reply(asking.SPOKEN[question], text)
        turn = Turn(seen.text + heard.text, reply, asking.BOTH_THOUGHT)
        return self._surround(turn, None, (seen, heard))

    def _surround(
        self, shown: Turn, follow: Turn | None, media: tuple[Media, ...], other: Callable[[], Told] | None = None
    ) -> Example:
        """A conversation around the turn: alone, or with a plain turn before or after it, or with a second question
        about the same, at once or after a plain turn, or after a turn with the `other` medium."""
        kind = self.rng.random()
        turns: tuple[Turn, ...] = (shown,)
        if kind < 0.08:
            turns = (conversations.plain_turn(self.rng), shown)
        elif kind < 0.22:
            turns = (shown, conversations.turn_beside_media(self.rng))
        elif kind < 0.32 and follow:
            turns = (shown, follow)
        elif kind < 0.36 and follow:
            turns = (shown, conversations.turn_beside_media(self.rng), follow)
        elif kind < 0.42 and other:
            before, _, others = other()
            turns, media = (before, shown), (*others, *media)
        system = conversations.draw_system(self.rng) if self.rng.random() < 0.4 else None
        turns = tuple(conversations.styled(turn, system) for turn in turns)
        return examples.example(Conversation(turns, system, self.rng.random() < 0.1), media)


def _labels(part: Media, width: int) -> np.ndarray:
    count = len(part.positions) or len(part.frames)
    return np.full((count, width), -100, np.int64) if part.labels is None else part.labels


def _stack(labels: list[np.ndarray], width: int) -> Tensor:
    return torch.from_numpy(np.concatenate([np.zeros((0, width), np.int64), *labels]))


def _faster(samples: np.ndarray, bounds: np.ndarray, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """The utterance played `factor` times as fast: another voice."""
    count = int(len(samples) / factor)
    at = np.arange(count) * factor
    return np.interp(at, np.arange(len(samples)), samples).astype(np.float32), (bounds / factor).astype(np.int64)


def _heard(ids: np.ndarray, bounds: np.ndarray, count: int) -> np.ndarray:
    """By frame: 1 + the word last heard (0: none yet) and how many so far."""
    ends = (np.arange(-(-count // 640)) + 1) * 640
    known = [first + HEARD * (last - first) for (first, last), word in zip(bounds, ids, strict=True) if word >= 0]
    heard = np.searchsorted(np.array(known), ends, side="right")
    words = np.array([0, *(int(word) + 1 for word in ids if word >= 0)])
    return np.stack([words[heard], heard], 1)
