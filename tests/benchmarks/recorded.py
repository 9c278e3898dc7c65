"""Recorded runs that were never run: one of every suite with many programs, and small ones for single questions."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gemma_mlx.benchmarks.schema import OURS, Better, Recorded, Result, Run

MACHINE: dict[str, Any] = {
    "chip": "Apple M4",
    "cores": {"total": 10, "performance": 4, "efficiency": 6},
    "gpu_cores": 10,
    "memory_bytes": 17_179_869_184,
    "system": "macos",
    "architecture": "arm64",
    "os": "macOS 26.3",
    "power": "mains",
    "mlx": {"version": "0.32.4", "backend": "metal", "wheel_tag": None, "device": "gpu"},
    "python": "3.13.1",
    "bandwidth_bytes_per_s": 120_000_000_000,
    "bandwidth_source": "published",
}
MODEL: dict[str, Any] = {
    "name": "google/gemma-4-12b-it",
    "bits": {"attention": 4, "embeddings": 6},
    "bytes_per_token": 6_750_000_000,
}
VERSIONS = {"python": "3.13.1", "gemma-mlx": "0.1.0", "mlx": "0.32.4"}
PEERS = {"mlx-vlm": 0.93, "mlx-lm": 0.97, "transformers": 0.4, "llama.cpp": 0.9, "other": 0.7, "another": 0.6}
"""How fast they are, ours being 1."""

_NOISE = random.Random(0).gauss


def recorded(results: Sequence[Result], *, finished: bool = True, **run: Any) -> Recorded:
    """A run with these results; `run` are fields of `Run` that differ."""
    usual = Run("2026-11-22T11:33:49", "gemma-mlx bench --out results.jsonl", MACHINE, MODEL, VERSIONS, 5)
    return Recorded(replace(usual, **run), tuple(results), {}, finished)


def timed(*values: float, case: str = "weights in memory", program: str = OURS, better: Better = "less") -> Result:
    """Seconds of the suite `load`."""
    return Result("load", case, program, "s", values, better)


def everything(peers: Sequence[str] = tuple(PEERS)) -> list[Result]:
    """Results of every suite, and of one that nobody knows."""
    programs = (OURS, *peers)
    found = [_noisy("load", "weights in memory", program, "s", 2.1 / _speed(program)) for program in programs]
    for x in (8, 128, 512, 2048, 8192, 32768):
        bound = 120e9 / (6.75e9 + 0.34e9 + 16e3 * x)
        case = f"after {x:,} tokens" if x > 8 else "from the beginning"
        for program in programs:
            rate = 0.78 * bound * _speed(program)
            found.append(_noisy("decode", case, program, "tokens/s", rate, better="more", x=x, bound=bound))
            if x > 8:
                rate = 130 * _speed(program) / (1 + x / 60000)
                found.append(_noisy("prefill", f"{x:,} tokens", program, "tokens/s", rate, better="more", x=x))
    found += drafted()
    for program in programs:
        found.append(_noisy("image", "1100 × 700 pixels, up to 280 tokens", program, "s", 2.4 / _speed(program), x=280))
        found.append(_noisy("audio", "5 s", program, "s", 1.1 / _speed(program), x=5))
        found.append(_noisy("turn", "32 tokens after 2,000", program, "s", 0.12 / _speed(program) ** 3))
        found.append(_noisy("resume", "4,040 tokens", program, "s", 0.18 / _speed(program)))
        found.append(_noisy("conversion", "time", program, "s", 41 / _speed(program)))
        found.append(_noisy("conversion", "most memory", program, "bytes", 1.6e8 / _speed(program) ** 6))
        found.append(Result("profile", "graph of a token", program, "nodes", (round(1900 / _speed(program)),)))
    found += [spoken(OURS, 12, 0.43), *(spoken(program, 12, 4.7) for program in peers[:1])]
    found.append(watched())
    found.append(_noisy("waiting", "for the kettle", OURS, "s", 181.0))
    return found


def drafted(kinds: Sequence[str] = ("prose", "code", "list")) -> list[Result]:
    """The suite `drafter`."""
    found = []
    for kind, most in zip(kinds, (0.55, 0.75, 0.93), strict=False):
        for depth in (0, 1, 2, 3, 4, 6, 8, None):
            accepted = [most**position for position in range(1, (depth or 4) + 1)] if depth != 0 else []
            rate = 13.1 * (1 + sum(accepted)) / (1 + 0.14 * (depth or 3)) if depth != 0 else 13.1
            case = f"{kind}, " + ("adaptive" if depth is None else f"{depth} drafts" if depth else "plain")
            details = {"accepted_by_position": accepted, "same_ids": True} if accepted else {}
            found.append(_noisy("drafter", case, OURS, "tokens/s", rate, better="more", x=depth, details=details))
    return found


def spoken(program: str, seconds: float, wait: float) -> Result:
    """A voice turn: read while it is said by ours, afterwards by others."""
    early = program == OURS
    timeline = [
        {"what": "speaking", "from": 0.0, "to": seconds},
        {"what": "silence", "from": seconds, "to": seconds + 0.3},
        {"what": "prefill", "from": 0.5 if early else seconds + 0.3, "to": seconds + (0.2 if early else wait - 0.05)},
        {"what": "first text", "from": seconds + wait, "to": seconds + wait},
    ]
    return _noisy("voice", f"{seconds} s of speech", program, "s", wait, details={"timeline": timeline})


def watched() -> Result:
    """The suite `memory`: loading, reading and writing below a limit."""
    steps = [(second / 4, 6.9e9 * min(1, second / 10) + 2.2e9 * (20 < second < 44) + 0.2e9) for second in range(80)]
    details = {"timeline": [list(step) for step in steps], "limit": 11_200_000_000}
    return Result("memory", "4,096 tokens", OURS, "bytes", (9.3e9, 9.31e9, 9.32e9), details=details)


def _speed(program: str) -> float:
    return PEERS.get(program, 1.0)


def _noisy(
    suite: str,
    case: str,
    program: str,
    unit: str,
    middle: float,
    **more: Any,
) -> Result:
    values = tuple(middle * (1 + abs(_NOISE(0, 0.02))) for _ in range(5))
    return Result(suite, case, program, unit, values, **more)
