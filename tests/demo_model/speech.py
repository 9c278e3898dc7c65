"""Spoken words and questions: what is said, in which voices, and a pool of recordings on disk.

    python -m tests.demo_model.speech --count 40000 --seed 1 --out DIR [--split held_out]

A pool is numpy files in one folder, which `pools` reads: `samples` int16 (S,) at 16 kHz; by utterance `starts` int64
(U + 1,) into them, `words` int8 (U, 5), ids in `WORDS`, -1 = none, `bounds` int32 (U, 5, 2), the first and last + 1
sample of each word from the start of the utterance, and `questions` int8 (U,), -1 or an index in `QUESTIONS`. An empty
file READY is written last. What is said, in which voice and with which pauses follows from the seed alone; the samples
also from espeak-ng's version. They are clean: `sounds.disturb` adds what a room and a microphone would. Not known:
people's voices; all of this is espeak-ng. Source: written for this model.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .espeak import RATE, Voice, say

NUMBERS = "zero one two three four five six seven eight nine".split()
WORDS = (
    *NUMBERS,
    *"red green blue yellow orange purple black white".split(),
    *"stop start open close left right next back yes no save play up down".split(),
)
QUESTIONS = ("which number", "which letters", "what does it say")
LONGEST = 5  # words
SPLITS = ("train", "held_out")
# Left out, being hard to understand or not a voice: whispers, robots, strong echoes and other effects; and all but one
# of those that sound exactly alike.
_TRAIN_VARIANTS = (
    *"m1 m2 m4 m5 m6 m8 f1 f2 f3 f5 Alex Andrea Andy Diogo Gene Henrique Hugo Jacky Lee Marco Mario Michael".split(),
    *"Nguyen Storm adam anika antonio aunty belinda benjamin croak david ed edward grandpa gustave iven iven3".split(),
    *"iven4 klatt klatt2 klatt3 marcelo max michel miguel norbert pablo paul pedro sandro steph steph3".split(),
    *"travis victor".split(),
)
VARIANTS = {
    "train": _TRAIN_VARIANTS,
    "held_out": tuple("m3 m7 f4 Annie grandma linda Denis Mike boris john quincy rob robert".split()),
}
_TRAIN_ACCENTS = ("en-us", "en", "en-gb-scotland", "en-029", "en-gb-x-gbcwmd", "en-gb-x-gbclan")
ACCENTS = {"train": _TRAIN_ACCENTS, "held_out": (*_TRAIN_ACCENTS, "en-gb-x-rp", "en-us-nyc")}
_COUNT_WEIGHTS = (0.30, 0.30, 0.25, 0.10, 0.05)  # of 1..5 words
_QUESTION_SHARE = 0.1
_PEAK = 0.9
_EDGE = RATE // 100  # kept around each phrase


@dataclass(frozen=True)
class Utterance:
    """What is said and how.

    `question` is -1 for words. `gaps` follow each word but the last: "" and "," in one breath, otherwise seconds of
    silence. `lead` and `trail` are seconds of silence.
    """

    words: tuple[int, ...]
    question: int
    voice: Voice
    gaps: tuple[str, ...]
    lead: float
    trail: float


def written(ids: tuple[int, ...] | list[int] | np.ndarray) -> str:
    """Numbers as digits: "red 7 stop". Ids of -1 are skipped."""
    return " ".join(str(i) if i < len(NUMBERS) else WORDS[i] for i in map(int, ids) if i >= 0)


def plan(rng: np.random.Generator, split: str) -> Utterance:
    """Draw an utterance of "train" or "held_out"."""
    accents = ACCENTS[split]
    accent = accents[0] if rng.random() < 0.25 else accents[rng.integers(len(accents))]
    variant = VARIANTS[split][rng.integers(len(VARIANTS[split]))]
    speed, pitch, pitch_range = (int(rng.integers(low, high)) for low, high in ((110, 221), (10, 91), (20, 81)))
    gap = int(rng.integers(1, 12)) if rng.random() < 0.3 else 0
    voice = Voice(accent, variant, speed, pitch, pitch_range, gap)
    lead, trail = rng.uniform(0.02, 0.5), rng.uniform(0, 0.5)
    if rng.random() < _QUESTION_SHARE:
        return Utterance((), int(rng.integers(len(QUESTIONS))), voice, (), lead, trail)
    count = 1 + int(rng.choice(LONGEST, p=_COUNT_WEIGHTS))
    words = tuple(int(i) for i in rng.integers(len(WORDS), size=count))
    steady = rng.random()  # below 0.45 no pauses, below 0.6 each word on its own, otherwise mixed
    gaps = tuple(_gap(rng, "none" if steady < 0.45 else "long" if steady < 0.6 else "any") for _ in words[1:])
    return Utterance(words, -1, voice, gaps, lead, trail)


def _gap(rng: np.random.Generator, kind: str) -> str:
    draw = rng.random()
    if kind == "none" or (kind == "any" and draw < 0.4):
        return ""
    return "," if kind == "any" and draw < 0.7 else f"{rng.uniform(0.1, 0.6):.3f}"


def render(utterance: Utterance) -> tuple[np.ndarray, np.ndarray]:
    """Float32 samples with a peak of 0.9, and int32 (words, 2) bounds; questions have none."""
    asked = utterance.question >= 0
    phrases, pauses = ([QUESTIONS[utterance.question]], []) if asked else _phrases(utterance)
    parts, bounds = [_silence(utterance.lead)], list[tuple[int, int]]()
    for phrase, pause in zip(phrases, [*pauses, utterance.trail], strict=True):
        spoken = say(phrase, utterance.voice)
        first = max(spoken.bounds[0][0] - _EDGE, 0)
        shift = sum(map(len, parts)) - first
        bounds += [(start + shift, end + shift) for start, end in spoken.bounds]
        parts += [spoken.samples[first : spoken.bounds[-1][1] + _EDGE], _silence(pause)]
    samples = np.concatenate(parts)
    samples *= _PEAK / max(float(np.abs(samples).max()), 1e-6)
    return samples, np.array([] if asked else bounds, np.int32).reshape(-1, 2)


def _phrases(utterance: Utterance) -> tuple[list[str], list[float]]:
    """The texts to speak in one breath, and the silence between them."""
    phrases, pauses = [WORDS[utterance.words[0]]], list[float]()
    for gap, word in zip(utterance.gaps, utterance.words[1:], strict=True):
        if gap in ("", ","):
            joined = phrases[-1].endswith("no") and WORDS[word] == "one"  # espeak-ng knows "no one" as one word
            phrases[-1] += f"{',' if joined else gap} {WORDS[word]}"
        else:
            phrases.append(WORDS[word])
            pauses.append(float(gap))
    return phrases, pauses


def _silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE), np.float32)


def drawn(seed: int, split: str, index: int) -> Utterance:
    """Utterance `index` of the pool of `seed`."""
    return plan(np.random.default_rng((seed, SPLITS.index(split), index)), split)


def write_pool(out: Path, count: int, seed: int, split: str) -> None:
    """Render `count` utterances to `out`; samples go to disk as they come."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "READY").unlink(missing_ok=True)
    starts = np.zeros(count + 1, np.int64)
    words = np.full((count, LONGEST), -1, np.int8)
    bounds = np.zeros((count, LONGEST, 2), np.int32)
    questions = np.full(count, -1, np.int8)
    begun = time.monotonic()
    with (out / "samples.npy").open("wb") as file:
        _write_header(file, 0)
        for i in range(count):
            utterance = drawn(seed, split, i)
            samples, where = render(utterance)
            file.write(np.round(samples * 32767).astype("<i2").tobytes())
            starts[i + 1] = starts[i] + len(samples)
            words[i, : len(utterance.words)] = utterance.words
            bounds[i, : len(where)] = where
            questions[i] = utterance.question
            if (i + 1) % 2000 == 0 or i + 1 == count:
                print(f"{i + 1}/{count} utterances, {time.monotonic() - begun:.0f} s", flush=True)
        _write_header(file, int(starts[-1]))
    arrays = dict[str, np.ndarray](starts=starts, words=words, bounds=bounds, questions=questions)
    for name, array in arrays.items():
        np.save(out / f"{name}.npy", array)
    (out / "READY").touch()


def _write_header(file: BinaryIO, count: int) -> None:
    """numpy pads the header so that the length can be written in place once it is known."""
    file.seek(0)
    np.lib.format.write_array_header_1_0(file, {"descr": "<i2", "fortran_order": False, "shape": (count,)})


def main() -> None:
    parser = argparse.ArgumentParser(description="Render a pool of spoken words and questions.")
    parser.add_argument("--count", type=int, default=40000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", choices=SPLITS, default="train")
    options = parser.parse_args()
    write_pool(options.out, options.count, options.seed, options.split)


if __name__ == "__main__":
    main()
