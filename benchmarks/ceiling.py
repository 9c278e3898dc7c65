"""How many tokens a second a machine's memory allows, beside what was reached.

Decoding reads all weights of the language model for every token, and the keys and values in reach: bandwidth over those
bytes is a bound that no program passes, unless a small model stays in the processor's caches. Knows bytes and seconds:
not what is measured. Bandwidths are those of Apple's technical specifications for each Mac, GB as 10^9 bytes. Chips of
one name with two bandwidths are told apart by their GPU cores. What is not in the table is measured.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import mlx.core as mx

from gemma_mlx.config import TextConfig
from gemma_mlx.device import free_memory
from gemma_mlx.errors import MemoryPlanError
from gemma_mlx.memory.caches import Caches, Rows, row_bytes
from gemma_mlx.memory.sizes import gigabytes

_GB = 10**9
_PUBLISHED = {
    "Apple M1": 68,
    "Apple M1 Pro": 200,
    "Apple M1 Max": 400,
    "Apple M1 Ultra": 800,
    "Apple M2": 100,
    "Apple M2 Pro": 200,
    "Apple M2 Max": 400,
    "Apple M2 Ultra": 800,
    "Apple M3": 100,
    "Apple M3 Pro": 150,
    "Apple M3 Ultra": 819,
    "Apple M4": 120,
    "Apple M4 Pro": 273,
    "Apple M5": 153,
    "Apple M5 Pro": 307,
}
_BY_GPU_CORES = {
    "Apple M3 Max": {30: 300, 40: 400},
    "Apple M4 Max": {32: 410, 40: 546},
    "Apple M5 Max": {32: 460, 40: 614},
}
_MOST, _LEAST = 512 * 10**6, 128 * 10**6  # bytes that are read: well above any cache, and quickly there
_SHARE = 4  # of the free memory that reading may take: one part in four
_STREAMS = 16  # cores that read at once on a CPU; more do not add where these do not suffice
_TIMES = 10


@dataclass(frozen=True)
class Bandwidth:
    """What memory delivers, and whether the chip's maker says so or it was measured here."""

    bytes_per_second: float
    source: Literal["published", "measured"]


def bandwidth(card: Mapping[str, Any]) -> Bandwidth:
    """Of the machine of that card (`machine.machine_card`), which must be this one if the table does not have it.
    Raises `MemoryPlanError` if it must be measured and too little memory is free."""
    chip = card["chip"]
    known = _PUBLISHED.get(chip) or _BY_GPU_CORES.get(chip, {}).get(card.get("gpu_cores") or 0)
    return Bandwidth(float(known * _GB), "published") if known else Bandwidth(measure(), "measured")


def measure() -> float:
    """Bytes per second of reading a large array with MLX on its default device, the best of several times.

    Sums of integers, because those keep up with memory also on a CPU, where each stream is one thread. Programs that
    run beside it take their share, so it is at least this. Raises `MemoryPlanError` if too little memory is free.
    """
    device = mx.default_device()
    count = min(_STREAMS, os.cpu_count() or 1) if device == mx.cpu else 1
    streams = [mx.new_stream(device) for _ in range(count)]
    length = array_bytes(free_memory()) // mx.uint32.size // count
    parts = [mx.ones((length,), mx.uint32, stream=stream) for stream in streams]
    mx.eval(parts)  # in memory before the clock starts
    best = float("inf")
    for _ in range(_TIMES):
        start = time.perf_counter()
        mx.eval([mx.sum(part, stream=stream) for part, stream in zip(parts, streams, strict=True)])
        best = min(best, time.perf_counter() - start)
    total = sum(part.nbytes for part in parts)
    del parts
    mx.clear_cache()
    return total / best


def array_bytes(free: int | None) -> int:
    """How much to read where so many bytes are free (None: unknown). Raises `MemoryPlanError` if that would be so
    little that caches hold it."""
    size = _MOST if free is None else min(_MOST, free // _SHARE)
    if size < _LEAST:
        raise MemoryPlanError(
            f"{gigabytes(free or 0)} of memory are free, measuring its bandwidth needs {gigabytes(_SHARE * _LEAST)}: "
            "close other programs"
        )
    return size


def kv_bytes(config: TextConfig, context: int, item: int) -> int:
    """Bytes of keys and values that decoding a token reads with `context` positions held, its own among them; `item`:
    bytes of a number in them. Sliding layers read no more than their window."""
    held = Caches(Rows(config.sliding_window, end=context), Rows(None, end=context))
    return sum(2 * held.of(layer).visible(1) * row_bytes(layer, item) for layer in config.layers)


def most_tokens(bandwidth: Bandwidth, bytes_per_token: int, kv_bytes: int = 0) -> float:
    """Tokens per second that memory allows when each reads so many bytes of weights, and of keys and values. Raises
    ValueError if that is nothing."""
    if bytes_per_token <= 0 or kv_bytes < 0:
        raise ValueError(f"a token reads {bytes_per_token} bytes of weights and {kv_bytes} of keys and values")
    return bandwidth.bytes_per_second / (bytes_per_token + kv_bytes)


def words(rate: float, bound: float) -> str:
    """Tokens per second beside the bound: "13.1 tok/s, 78 % of what this memory can deliver". Raises ValueError if the
    bound is nothing."""
    if bound <= 0:
        raise ValueError(f"the bound is {bound}")
    percent = 100 * rate / bound
    shown = f"{percent:.0f}" if percent >= 1 or percent == 0 else f"{percent:.1g}"
    speed = f"{rate:.1f}" if rate >= 1 or rate == 0 else f"{rate:.2g}"
    return f"{speed} tok/s, {shown} % of what this memory can deliver"
