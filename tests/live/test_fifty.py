"""Fifty utterances, heard while they are spoken, against files of what was heard: the samples, keys and values, ids.

Speech of synthetic voices comes block by block through the listener and its ear, which finds where a turn begins and
ends; the clock is the sound's. Between one word and more than 30 s, with and without noise.
"""

import random
import wave
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from gemma_mlx.capture.activity import Ear, Energy
from gemma_mlx.capture.ring import Block
from gemma_mlx.chat import Chat
from gemma_mlx.inputs import audio
from gemma_mlx.inputs.message import Audio
from gemma_mlx.live.hearing import Hearing
from gemma_mlx.live.inbox import Inbox
from gemma_mlx.live.listener import Listener
from tests import chats
from tests.chats import end_of, settled
from tests.demo_model import espeak
from tests.live.simulation import BLOCK, RATE, Clock
from tests.live.test_hearing import Room, at_once

COUNT = 50
WORDS = "red blue seven open weather Paris today please read line again now twenty picture close window".split()
ACCENTS, VARIANTS = ("en-us", "en-gb-x-rp", "en-gb-scotland"), ("m1", "m3", "m7", "f1", "f2", "f4")


@dataclass
class Tape:
    """A microphone that plays these samples, and silence after them."""

    samples: np.ndarray
    clock: Clock
    position: int = field(default=0, init=False)

    def open(self) -> None: ...
    def close(self) -> None: ...

    def read(self, timeout: float) -> Block:
        played = self.samples[self.position : self.position + BLOCK]
        heard = np.concatenate([played, np.ones(BLOCK - played.size, np.int16)])
        self.position += BLOCK
        self.clock.now += BLOCK / RATE
        return Block(self.position // BLOCK - 1, heard, self.clock.now)


def utterance(number: int) -> np.ndarray:
    """Int16 samples of one to twelve words, every 25th time of more than 30 s, with half a second before them."""
    rng, noise = random.Random(number), np.random.default_rng(number)
    voice = espeak.Voice(rng.choice(ACCENTS), rng.choice(VARIANTS), rng.randint(130, 190))
    parts, wanted = [np.zeros(RATE // 2, np.float32)], 31 * RATE if number % 25 == 24 else 1
    while sum(map(len, parts[1:])) < wanted:
        said = espeak.say(" ".join(rng.choices(WORDS, k=rng.randint(1, 12))), voice).samples
        parts.append(said * np.float32(rng.uniform(0.1, 0.9) / np.abs(said).max()))
    clean = np.round(np.concatenate(parts) * 32767)
    loudest = rng.choice((1, 2, 60))
    return (clean + noise.integers(-loudest, loudest + 1, clean.size)).clip(-32768, 32767).astype(np.int16)


def written(part: Audio, path: Path) -> Audio:
    """The recording as a file of 16 bits, read as any file is."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.round(part.samples * 32768).astype("<i2").tobytes())
    return Audio(path.name, audio.decode(path))


@pytest.mark.parametrize("number", range(COUNT))
def test_what_is_heard_live_is_what_its_file_gives(number: int, tmp_path: Path) -> None:
    try:
        espeak.engine()
    except OSError as fault:
        pytest.skip(str(fault))
    clock, inbox = Clock(), Inbox()
    tape = Tape(utterance(number), clock)
    listener = Listener(tape, Ear(Energy()), inbox, clock=clock)
    room = Room(Chat(chats.demo(), "Be brief."))
    hearing, before = Hearing(room, inbox), room.chat.history
    while not hearing.closed:
        assert tape.position < tape.samples.size + 5 * RATE, "the turn does not end"
        listener.step(0.1)
        while inbox.waiting:
            hearing.step(0)
    found = end_of(hearing.answer())
    heard = [part for part in room.chat.history[-2].parts if isinstance(part, Audio)]
    files = tuple(written(part, tmp_path / f"{place}.wav") for place, part in enumerate(heard))
    for part, file in zip(heard, files, strict=True):
        np.testing.assert_array_equal(part.samples, file.samples)
    spoken = np.round(np.concatenate([part.samples for part in heard]) * 32768).astype(np.int16)
    assert spoken.tobytes() in tape.samples.tobytes() + np.ones(RATE, np.int16).tobytes()
    assert spoken.size > 0.8 * (tape.samples.size - RATE // 2)
    assert len(heard) == (2 if spoken.size > 30 * RATE else 1)
    assert (spoken.size > 30 * RATE) == (number % 25 == 24)
    expected = at_once(chats.demo(), before, files, room.chat.context.limit)
    assert (found.tokens, found.text) == (expected.tokens, expected.text)
    assert found.usage.audio_tokens == expected.usage.audio_tokens > 0
    settled(room.chat)
