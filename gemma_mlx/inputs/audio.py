"""Sound files to the frames that the model hears: mono float32 at 16 kHz, 640 samples (40 ms) to a soft token.

Knows containers, codecs and sample formats (through PyAV), resampling, and where to cut a long recording. Does not know
the model, the prompt or the microphone. There is no scaling, no spectrogram and no silence removal: the published
feature extractor (transformers, `gemma4_unified`) hands the waveform over as it is.

Channels are averaged here rather than by swresample, whose stereo to mono mix is normalised by other rules. Rates other
than 16 kHz go through swresample with a 128-tap filter at 0.97 of the Nyquist frequency (transition 7.5 to 8.2 kHz,
aliases 94 dB down; its default of 32 taps leaves 15 dB there). A 16 kHz file is not resampled: 16-bit samples come out
as exactly `value / 32768`.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gemma_mlx.errors import InputError
from gemma_mlx.inputs.source import label, opened

if TYPE_CHECKING:
    from av import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.filter import Graph

SAMPLE_RATE = 16_000
FRAME_SAMPLES = 640
MAX_BLOCK_TOKENS = 750
MAX_SECONDS = 262_144 * FRAME_SAMPLES // SAMPLE_RATE
"""Longest recording that is decoded: what fills the longest context of the model (2 h 54 min, 671 MB of samples)."""
MAX_PEAK = 65_536.0
"""Largest magnitude of a float sample. Above 1 is kept: the model normalises each frame, so loudness is no fault."""

_FILTER = "filter_size=128:cutoff=0.97"
_FILTER_TAPS = 128


def decode(source: str | Path | bytes, *, name: str | None = None, max_seconds: float = MAX_SECONDS) -> np.ndarray:
    """Read a sound file, or the first sound track of a video, as float32 `(n,)`, mono, 16 kHz, nominally in [-1, 1].

    `source` is a path or the content of a file; `name` stands for it in messages. Channels are averaged. Float samples
    beyond [-1, 1] are kept up to `MAX_PEAK`. Decoding streams, so that memory is the result and one packet.

    Raises `InputError` for a file that is missing, empty, damaged, without sound, longer than `max_seconds`, or that
    holds NaN, infinite or absurdly large samples.
    """
    name = name or label(source)
    samples = bytearray()
    for chunk in chunks(source, name=name):
        samples += chunk.tobytes()
        if len(samples) > max_seconds * SAMPLE_RATE * 4:
            raise InputError(f"{name} is longer than {max_seconds:.0f} s: cut it into shorter files")
    return np.frombuffer(samples, np.float32)


def chunks(source: str | Path | bytes, *, name: str | None = None) -> Iterator[np.ndarray]:
    """What `decode` joins, a packet at a time, so that a recording may be of any length. Raises what `decode` does,
    where it comes to it."""
    name = name or label(source)
    heard = 0
    with container_of(source, name) as container:
        if not container.streams.audio:
            raise InputError(f"{name} has no sound track: attach a file with sound")
        for chunk in _resampled(_mono(container, container.streams.audio[0], name)):
            heard += len(chunk)
            yield chunk
    if not heard:
        raise InputError(f"{name} holds no sound samples: record or export it again")


def duration(source: str | Path | bytes, *, name: str | None = None) -> float | None:
    """How long a sound file says that it is, None if it does not: for those who wait, not to be relied on.

    Raises `InputError` for a file that cannot be opened.
    """
    with container_of(source, name or label(source)) as container:
        return container.duration / 1e6 if container.duration and container.duration > 0 else None


def frames(samples: np.ndarray) -> np.ndarray:
    """Samples `(n,)` to frames `(ceil(n / 640), 640)`, float32, the last one filled with zeros. May share memory."""
    padding = -len(samples) % FRAME_SAMPLES
    padded = np.pad(samples, (0, padding)) if padding else samples
    return padded.astype(np.float32, copy=False).reshape(-1, FRAME_SAMPLES)


def blocks(samples: np.ndarray, max_tokens: int = MAX_BLOCK_TOKENS) -> list[np.ndarray]:
    """Cut samples `(n,)` into blocks `(n_i, 640)`, `1 <= n_i <= max_tokens`, that concatenate to `frames(samples)`.

    A recording longer than the limit (30 s) is cut at the quietest frame boundary of the sixth (5 s) below it. The cut
    moves forward where the rest would otherwise be shorter than that sixth. No samples give no blocks.
    """
    if max_tokens < 1:
        raise ValueError(f"max_tokens must be at least 1, got {max_tokens}")
    rest = frames(samples)
    result = []
    while len(rest) > max_tokens:
        cut = _quietest_cut(rest, max_tokens)
        result.append(rest[:cut])
        rest = rest[cut:]
    return [*result, rest] if len(rest) else result


@contextmanager
def container_of(source: str | Path | bytes, name: str) -> Iterator["InputContainer"]:
    """Open a media file for reading; every fault of the file, then or while it is read, is an `InputError`.

    Only the given file is read: playlists that name other files or addresses are refused.
    """
    import av

    with opened(source, name) as file:
        options = {"protocol_whitelist": "none"}
        try:
            with av.open(file, "r", options=options, metadata_errors="replace") as container:
                if not (container.streams.audio or container.streams.video):
                    raise InputError(f"{name} holds neither sound nor pictures: export it again")
                yield container
        except av.FFmpegError as fault:
            raise InputError(
                f"{name} is damaged or no known audio or video format ({fault.strerror}): "
                "export it again, as WAV, MP3 or MP4"
            ) from None


def _quietest_cut(rest: np.ndarray, max_tokens: int) -> int:
    """Number of frames before the cut; `rest` is longer than `max_tokens`."""
    margin = max_tokens // 6
    last = min(max_tokens, len(rest) - margin)
    first = max(1, last - margin)
    nearby = rest[first - 1 : last + 1]
    energy = np.einsum("ij,ij->i", nearby, nearby, dtype=np.float64)
    around = energy[:-1] + energy[1:]
    return last - int(np.argmin(around[::-1]))


def _mono(container: "InputContainer", stream: "AudioStream", name: str) -> Iterator[tuple[int, np.ndarray]]:
    """Decoded packets as (sample rate, float32 `(n,)`), checked for values that are no sound."""
    seconds = 0.0
    for frame in container.decode(stream):
        mono = _average(frame)
        if mono.size and not np.abs(mono).max() <= MAX_PEAK:
            raise InputError(
                f"{name} holds samples that are NaN or larger than {MAX_PEAK:.0f} after {seconds:.1f} s: "
                "export it again"
            )
        seconds += mono.size / frame.sample_rate
        yield frame.sample_rate, mono


def _average(frame: "AudioFrame") -> np.ndarray:
    """One decoded frame of any format as float32 `(n,)`: the mean of its channels, integers scaled to [-1, 1)."""
    values = frame.to_ndarray()
    if frame.format.is_packed:
        values = values.reshape(-1, frame.layout.nb_channels).T
    mono = values.mean(axis=0, dtype=np.float64)
    if values.dtype == np.uint8:
        mono = (mono - 128) / 128
    elif values.dtype.kind == "i":
        mono /= 2.0 ** (8 * values.dtype.itemsize - 1)
    with np.errstate(over="ignore"):
        return mono.astype(np.float32)


def _resampled(chunks: Iterable[tuple[int, np.ndarray]]) -> Iterator[np.ndarray]:
    """Chunks at 16 kHz. A stream may change its rate (chained Ogg): each run of one rate is resampled by itself."""
    for rate, run in groupby(chunks, key=itemgetter(0)):
        at_rate = (chunk for _, chunk in run)
        yield from at_rate if rate == SAMPLE_RATE else _resample(at_rate, rate)


def _resample(chunks: Iterable[np.ndarray], rate: int) -> Iterator[np.ndarray]:
    """Convert n samples at `rate` to exactly ceil(n · 16000 / rate), in step with the input."""
    graph = _resampler(rate)
    taken = given = 0
    for chunk in chunks:
        for output in _push(graph, chunk, rate, taken):
            given += len(output)
            yield output
        taken += len(chunk)
    # Silence behind the end: swresample gives nothing for a clip shorter than its filter.
    tail = np.zeros(2 * _FILTER_TAPS * (1 + rate // SAMPLE_RATE), np.float32)
    due = -(-taken * SAMPLE_RATE // rate) - given
    for output in _push(graph, tail, rate, taken):
        yield output[: max(due, 0)]
        due -= len(output)


def _resampler(rate: int) -> "Graph":
    from av.filter import Graph

    graph = Graph()
    entry = graph.add_abuffer(sample_rate=rate, format="flt", layout="mono", time_base=Fraction(1, rate))
    stages = (
        graph.add("aresample", f"{SAMPLE_RATE}:{_FILTER}"),
        graph.add("aformat", "sample_fmts=flt"),
        graph.add("abuffersink"),
    )
    for before, after in zip((entry, *stages), stages, strict=False):
        before.link_to(after)
    graph.configure()
    return graph


def _push(graph: "Graph", chunk: np.ndarray, rate: int, position: int) -> Iterator[np.ndarray]:
    """Feed samples that start at `position` and yield what the resampler has ready."""
    from av import AudioFrame
    from av.error import BlockingIOError

    frame = AudioFrame.from_ndarray(chunk[np.newaxis], format="flt", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = rate, position, Fraction(1, rate)
    graph.push(frame)
    while True:
        try:
            yield graph.pull().to_ndarray()[0]
        except BlockingIOError:
            return
