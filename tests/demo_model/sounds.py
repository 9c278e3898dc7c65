"""What a room and a microphone add to clean speech, and recordings without speech.

Samples only, float32 in [-1, 1] at 16 kHz. Nothing here moves a sound in time, so the bounds of words stay valid. Every
draw comes from the given generator. Coloured noise is cut from a minute of it that is made once, from a fixed seed.
Not known: real rooms, real microphones. Source: written for this model.
"""

from functools import cache

import numpy as np

from .espeak import RATE

SILENT, HISS, TONE, HUM, CLICKS = range(5)  # kinds of recordings without speech
_COLOURS = {"white": 0.0, "pink": 0.5, "brown": 1.0}  # the spectrum's amplitude falls with frequency to this power
_BANK = 60 * RATE
_FRAME = RATE // 50
_STEPS = 32767  # of a 16-bit recording


def disturb(rng: np.random.Generator, samples: np.ndarray) -> np.ndarray:
    """Clean speech as it might be recorded: timbre, an echo, noise, clipping, level; same length, float32.

    Noise lies 10 to 40 dB below the speech, and one recording in ten has none. The peak is between 0.03 and 1.
    """
    heard = _room(rng, samples)
    if rng.random() < 0.9:
        added = noise(rng, len(heard))
        added *= _gain(speech_power(heard)[0], float(np.dot(added, added)) / len(added), rng.uniform(10, 40))
        heard += added
    peak = max(float(heard.max()), -float(heard.min()), 1e-9)
    level = 0.03 ** rng.random()
    if rng.random() < 0.1:
        level *= rng.uniform(1.5, 4)
    heard *= level / peak
    if level > 1:
        np.clip(heard, -1, 1, out=heard)
        heard *= np.float32(rng.uniform(0.3, 1))
    if rng.random() < 0.5:  # as a 16-bit file has it
        heard *= _STEPS
        np.rint(heard, out=heard)
        heard /= _STEPS
    return heard


def _room(rng: np.random.Generator, samples: np.ndarray) -> np.ndarray:
    """Darker or brighter by one zero, and now and then one reflection 2 to 40 ms later."""
    heard = samples.astype(np.float32)
    if rng.random() < 0.7:
        heard[1:] += np.float32(rng.uniform(-0.7, 0.7)) * samples[:-1]
    if rng.random() < 0.5:
        delay = int(rng.integers(RATE // 500, RATE // 25))
        heard[delay:] += np.float32(rng.uniform(-0.35, 0.35)) * samples[:-delay]
    return heard


def noise_at(samples: np.ndarray, snr_db: float, rng: np.random.Generator) -> np.ndarray:
    """Speech in white noise, `snr_db` exactly where there is speech; scaled down together where it would clip."""
    power, spoken = speech_power(samples)
    added = rng.standard_normal(len(samples), np.float32)
    added *= _gain(power, float(np.square(added[spoken]).mean()), snr_db)
    noisy = samples + added
    return (noisy / max(1.0, float(np.abs(noisy).max()))).astype(np.float32)


def speech_power(samples: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean square of the speech part, and the bool (n,) mask of it: 20 ms each, at most 30 dB below the loudest."""
    count = len(samples) // _FRAME
    if count == 0:
        return float(np.square(samples).mean()), np.ones(len(samples), bool)
    frames = samples[: count * _FRAME].reshape(count, _FRAME)
    power = np.einsum("ij,ij->i", frames, frames) / _FRAME
    spoken = power >= power.max() / 1000
    mask = np.zeros(len(samples), bool)
    mask[: count * _FRAME] = np.repeat(spoken, _FRAME)
    return float(power[spoken].mean()), mask


def _gain(speech: float, added: float, snr_db: float) -> np.float32:
    return np.float32(np.sqrt(speech / max(added, 1e-20) / 10 ** (snr_db / 10)))


def noise(rng: np.random.Generator, count: int) -> np.ndarray:
    """White, pink or brown noise or mains hum, of any level; float32 (count,)."""
    kind = int(rng.integers(4))
    if kind == 0:
        return rng.standard_normal(count, np.float32)
    if kind == 3:
        return hum(rng, count)
    bank = _coloured(list(_COLOURS)[kind])
    start = int(rng.integers(_BANK))
    piece = bank[start : start + count]
    return piece.copy() if len(piece) == count else np.resize(np.roll(bank, -start), count)


@cache
def _coloured(colour: str) -> np.ndarray:
    """A minute of noise that can be repeated without a seam, unit power."""
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal(_BANK))
    frequency = np.fft.rfftfreq(_BANK, 1 / RATE)
    spectrum *= np.maximum(frequency, 20) ** -_COLOURS[colour]
    spectrum[0] = 0
    samples = np.fft.irfft(spectrum, _BANK)
    return (samples / samples.std()).astype(np.float32)


def hum(rng: np.random.Generator, count: int) -> np.ndarray:
    """50 or 60 Hz with up to eight overtones."""
    base = (50, 60)[int(rng.integers(2))]
    time = np.arange(RATE // 10) / RATE  # whole periods of both
    overtones = np.arange(1, 2 + rng.integers(9))
    amplitudes = rng.random(len(overtones)) / overtones ** rng.uniform(0, 1)
    phases = 2 * np.pi * rng.random((len(overtones), 1))
    tenth = amplitudes @ np.sin(2 * np.pi * base * overtones[:, None] * time + phases)
    return np.resize(tenth.astype(np.float32), count)


def no_speech(rng: np.random.Generator, count: int) -> np.ndarray:
    """`count` samples of silence, noise, tones, hum or clicks; the peak is at most 1, float32."""
    kind = int(rng.integers(5))
    if kind == SILENT:
        faint = 2e-5 if rng.random() < 0.5 else 0.0
        return rng.standard_normal(count, np.float32) * np.float32(faint)
    if kind == HISS:
        sound = noise(rng, count) * _swell(rng, count)
    elif kind == TONE:
        sound = _tones(rng, count)
    elif kind == HUM:
        sound = hum(rng, count)
    else:
        sound = np.zeros(count, np.float32)
        sound[rng.integers(count, size=1 + count // RATE * 2)] = 1
        sound = np.convolve(sound, rng.standard_normal(80) * np.exp(-np.arange(80) / 15))[:count]
    if kind != HISS and rng.random() < 0.7:
        sound = sound + noise(rng, count) * np.float32(10 ** rng.uniform(-3, -1))
    return (sound * (0.03 ** rng.random() / max(float(np.abs(sound).max()), 1e-9))).astype(np.float32)


def _swell(rng: np.random.Generator, count: int) -> np.ndarray:
    """One or a slow change of level between 0.2 and 1."""
    if rng.random() < 0.5:
        return np.ones(count, np.float32)
    points = rng.uniform(0.2, 1, 2 + count // RATE * 2)
    return np.interp(np.linspace(0, len(points) - 1, count), np.arange(len(points)), points).astype(np.float32)


def _tones(rng: np.random.Generator, count: int) -> np.ndarray:
    """One to three notes at once or one after the other, steady or gliding, between 80 and 4,000 Hz."""
    notes = 1 + int(rng.integers(3))
    together = rng.random() < 0.5
    sound = np.zeros(count, np.float32)
    for i in range(notes):
        first, end = (0, count) if together else (i * count // notes, (i + 1) * count // notes)
        low = 80 * 50 ** rng.random()
        high = low * (1 if rng.random() < 0.7 else rng.uniform(0.7, 1.4))
        phase = np.cumsum(np.linspace(low, high, end - first)) / RATE + rng.random()
        sound[first:end] += np.sin(2 * np.pi * phase).astype(np.float32)
    return sound
