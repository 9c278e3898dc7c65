"""Synthetic recordings, and what the demo model says about them.

Samples only, 16 kHz mono. Speech is spoken by the `espeak-ng` program, which must be installed. The embedder normalises
each frame, so loudness is invisible to the model and only exact (or nearly exact) silence is silence.
Source: written for this model.
"""

import io
import random
import subprocess
import wave

import numpy as np

from .conversations import Turn

RATE = 16000
KINDS = ("high tone", "low tone", "noise", "silence", "speech")
_PHRASES = {"high tone": "a high tone", "low tone": "a low tone"}
QUESTIONS = (
    "what do you hear?",
    "what is in the recording?",
    "what sound is this?",
    "what is this sound?",
    "listen to this",
    "describe the sound",
    "what is this?",
    "tell me what you hear",
)
TRANSCRIBE = (
    "transcribe",
    "transcribe this",
    "transcribe the recording",
    "what does the speaker say?",
    "what is said?",
)
SENTENCES = (
    "Good morning, how are you today?",
    "The weather is fine and the sun is shining.",
    "Please open the window before you leave.",
    "One two three four five six seven eight nine ten.",
    "A quick brown fox jumps over the lazy dog.",
    "We will meet at the station on Monday evening.",
    "Could you tell me where the library is?",
    "She sells sea shells by the sea shore.",
    "My computer reads pictures and listens to sound.",
    "Nobody knows what tomorrow will bring.",
)
VOICES = ("en", "en-us", "en+f3", "en+m5", "de", "fr")


def turn(kind: str, question: str) -> Turn:
    """What to answer about a recording of `kind`."""
    thought = "The user plays a recording."
    if question in TRANSCRIBE:
        answer = "I hear speech, but only the 12B can write it down." if kind == "speech" else "I hear no speech."
        return Turn(question, answer, thought)
    return Turn(question, f"I hear {_PHRASES.get(kind, kind)}.", thought)


def ask(rng: random.Random, kind: str) -> Turn:
    return turn(kind, rng.choice(TRANSCRIBE if rng.random() < 0.2 else QUESTIONS))


def speak(text: str, voice: str, words_per_minute: int = 160, pitch: int = 50) -> np.ndarray:
    """Speech by espeak-ng, float32 in [-1, 1] at 16 kHz."""
    command = ["espeak-ng", "--stdout", "-v", voice, "-s", str(words_per_minute), "-p", str(pitch), text]
    spoken = subprocess.run(command, capture_output=True, check=True).stdout
    with wave.open(io.BytesIO(spoken)) as reader:
        rate = reader.getframerate()
        raw = np.frombuffer(reader.readframes(len(spoken)), "<i2").astype(np.float64) / 32768
    return resample(raw, rate)


def resample(samples: np.ndarray, rate: int) -> np.ndarray:
    """Band-limited resampling to 16 kHz of the whole signal by its spectrum."""
    count = round(len(samples) * RATE / rate)
    spectrum = np.fft.rfft(samples)[: count // 2 + 1]
    return (np.fft.irfft(spectrum, count) * (count / len(samples))).astype(np.float32)


def speech_bank() -> tuple[np.ndarray, ...]:
    """Every sentence in a few voices, speeds and pitches."""
    return tuple(
        speak(sentence, VOICES[(i + k) % len(VOICES)], 130 + 17 * ((i + 2 * k) % 5), 30 + 12 * ((2 * i + k) % 4))
        for i, sentence in enumerate(SENTENCES)
        for k in range(3)
    )


def draw_kind(rng: random.Random) -> str:
    return rng.choice(KINDS)


def record(rng: random.Random, kind: str, seconds: float, bank: tuple[np.ndarray, ...]) -> np.ndarray:
    """A recording of `kind`, float32 (n,) in [-1, 1] at 16 kHz."""
    count = round(seconds * RATE)
    noise = np.random.default_rng(rng.getrandbits(32))
    level = 10 ** rng.uniform(-1.3, -0.1)
    if kind == "silence":
        quiet = noise.normal(0, 2e-5, count) if rng.random() < 0.3 else np.zeros(count)
        return quiet.astype(np.float32)
    if kind == "noise":
        return np.clip(noise.normal(0, level / 3, count), -1, 1).astype(np.float32)
    if kind == "speech":
        return _excerpt(rng, bank, count) * np.float32(level)
    low, high = (900, 3000) if kind == "high tone" else (110, 400)
    frequency = low * (high / low) ** rng.random()
    tone = np.sin(2 * np.pi * (frequency * np.arange(count) / RATE + rng.random()))
    if rng.random() < 0.5:
        tone += noise.normal(0, rng.uniform(0.001, 0.1), count)
    return np.clip(level * tone, -1, 1).astype(np.float32)


def _excerpt(rng: random.Random, bank: tuple[np.ndarray, ...], count: int) -> np.ndarray:
    """`count` samples of speech; sentences are strung together where one is too short."""
    spoken = np.concatenate([rng.choice(bank) for _ in range(1 + count // RATE)])
    while len(spoken) < count:
        spoken = np.concatenate((spoken, rng.choice(bank)))
    start = rng.randint(0, min(len(spoken) - count, RATE // 2)) if len(spoken) > count else 0
    part = spoken[start : start + count]
    return part / max(float(np.abs(part).max()), 1e-3)
