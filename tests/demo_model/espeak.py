"""Speech by libespeak-ng, through its C interface: samples, and where each word lies.

A program started per utterance would be slow and would not tell where the words are. espeak-ng reports where a word
begins; where it ends is read from the energy, so that a pause belongs to no word. The library keeps one voice at a time
and its noise generators run on from utterance to utterance: the same calls in a fresh process give the same samples,
the same call later in one process almost the same. Not known: whether a voice is easy to understand.
Source: espeak-ng's public header `speak_lib.h` (release 1.51) for calls, events and the numbers of parameters.
"""

import ctypes
import re
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

RATE = 16000
_LIBRARIES = ("libespeak-ng.so.1", "libespeak-ng.dylib", "/opt/homebrew/lib/libespeak-ng.dylib")
_SYNCHRONOUS, _DONT_EXIT, _CHARACTERS, _UTF8 = 2, 0x8000, 1, 1
_END, _WORD = 0, 1
_SPEED, _VOLUME, _PITCH, _RANGE, _WORD_GAP = 1, 2, 3, 4, 7  # numbers of espeak_PARAMETER
_NOT_CLIPPED = 60  # volume; at the usual 100 the louder variants are
_QUIET = 0.015  # of the loudest 5 ms of a word: what is quieter at its ends is a pause


@dataclass(frozen=True)
class Voice:
    """How to speak. `accent` and `variant` as `espeak-ng --voices` names them; `gap` between words in 10 ms."""

    accent: str = "en-us"
    variant: str = "m1"
    speed: int = 160  # words per minute
    pitch: int = 50  # 0..99
    range: int = 50  # 0..99, 0 is monotonous
    gap: int = 0


@dataclass(frozen=True)
class Spoken:
    """Float32 (n,) in [-1, 1] at 16 kHz, and the (first, last + 1) sample of each word."""

    samples: np.ndarray
    bounds: tuple[tuple[int, int], ...]


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_void_p),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class _Engine:
    """The library, and what its callback has collected of the utterance being spoken."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self._chunks: list[np.ndarray] = []
        self._starts: dict[int, int] = {}
        self._callback = _Callback(self._collect)  # the library keeps a pointer only
        self.rate = self._begin()

    def _begin(self) -> int:
        """Make the library ready to speak, into our callback; its rate."""
        rate: int = self._library.espeak_Initialize(_SYNCHRONOUS, 0, None, _DONT_EXIT)
        if rate <= 0:
            raise OSError("libespeak-ng finds no data: install the package espeak-ng-data")
        self._library.espeak_SetSynthCallback(self._callback)
        return rate

    def _collect(self, wave: Any, count: int, event: Any) -> int:  # pointers of ctypes
        if wave and count > 0:
            self._chunks.append(np.ctypeslib.as_array(wave, (count,)).copy())
        i = 0
        while event[i].type != _END:
            if event[i].type == _WORD:
                self._starts.setdefault(event[i].text_position - 1, event[i].sample)
            i += 1
        return 0

    def speak(self, text: str, voice: Voice) -> tuple[np.ndarray, dict[int, int]]:
        """Int16 samples at the library's rate, and the first sample of the word at a position in the text.

        Events at the end of a clause name positions where no word begins.
        """
        self._synthesize(text, voice)
        if not self._chunks:  # after many voices it sometimes falls silent, without a fault
            self._library.espeak_Cancel()
            self._begin()
            self._synthesize(text, voice)
        return np.concatenate(self._chunks), self._starts

    def _synthesize(self, text: str, voice: Voice) -> None:
        self._chunks, self._starts = [], {}
        name = f"{voice.accent}+{voice.variant}"
        if self._library.espeak_SetVoiceByName(name.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {name!r}")
        parameters = {_SPEED: voice.speed, _PITCH: voice.pitch, _RANGE: voice.range, _WORD_GAP: voice.gap}
        for parameter, value in {_VOLUME: _NOT_CLIPPED, **parameters}.items():
            self._library.espeak_SetParameter(parameter, value, 0)
        spoken = text.encode() + b"\0"
        if self._library.espeak_Synth(spoken, ctypes.c_size_t(len(spoken)), 0, _CHARACTERS, 0, _UTF8, None, None) != 0:
            raise RuntimeError(f"espeak-ng did not speak {text!r}")


@cache
def engine() -> _Engine:
    """Raises OSError where libespeak-ng or its data is missing."""
    for name in _LIBRARIES:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        return _Engine(library)
    raise OSError(f"libespeak-ng is not installed (looked for {', '.join(_LIBRARIES)})")


def say(text: str, voice: Voice) -> Spoken:
    """Speak `text`, one bound for each of its words.

    Raises ValueError for an unknown accent and for words that espeak-ng speaks as one, such as "no one".
    """
    raw, starts = engine().speak(text, voice)
    rate = engine().rate
    samples = resample(raw / 32768, rate)
    words = [found.start() for found in re.finditer(r"\S+", text)]
    if not starts.keys() >= set(words):
        raise ValueError(f"espeak-ng joins words in {text!r}")
    edges = [round(starts[word] * RATE / rate) for word in words] + [len(samples)]
    bounds = tuple(_sounding(samples, first, end) for first, end in pairwise(edges))
    return Spoken(samples, bounds)


def resample(samples: np.ndarray, rate: int) -> np.ndarray:
    """Band-limited resampling from `rate` Hz to 16 kHz of the whole signal by its spectrum, float32."""
    common = int(np.gcd(rate, RATE))
    blocks = -(-len(samples) // (rate // common))  # padded to where both lengths are whole
    spectrum = np.fft.rfft(samples, blocks * rate // common)[: blocks * RATE // common // 2 + 1]
    whole = np.fft.irfft(spectrum, blocks * RATE // common) * (RATE / rate)
    return whole[: round(len(samples) * RATE / rate)].astype(np.float32)


def _sounding(samples: np.ndarray, first: int, end: int) -> tuple[int, int]:
    """The part of samples[first:end] from its first to its last 5 ms that are not quiet."""
    step = RATE // 200
    count = (end - first) // step
    if count < 2:
        return first, end
    loud = np.square(samples[first : first + count * step]).reshape(count, step).mean(1)
    (where,) = np.nonzero(loud > _QUIET**2 * loud.max())
    return first + int(where[0]) * step, end if where[-1] == count - 1 else first + int(where[-1] + 1) * step
