"""Figures as people read them: three digits, and the unit that fits their size. Knows results, not what they are of."""

import math

from gemma_mlx.benchmarks.schema import Result

COUNTED = ("bytes", "nodes")
"""Units of what is counted, not timed: one value says it."""


def told(result: Result) -> str:
    """A median with its spread, as "13.1 tok/s (12.8 – 13.4)"; of a single value "13.1 tok/s (once)"."""
    return f"{figure(result.spread.median, result.unit)} ({spread_of(result)})"


def spread_of(result: Result) -> str:
    """The spread alone, in the unit of the median: "12.8 – 13.4", "once"."""
    if len(result.values) == 1:
        return "once"
    per = scale(result.unit, result.spread.median)[0]
    return f"{number(result.spread.low / per)} – {number(result.spread.high / per)}"


def figure(value: float, unit: str) -> str:
    """With three digits and the unit that people use: "430 ms" for 0.43 s, "6.75 GB", "78 %"."""
    per, name = scale(unit, value)
    whole = name in COUNTED and float(value).is_integer()
    return f"{f'{value:,.0f}' if whole else number(value / per)} {name}"


def scale(unit: str, value: float) -> tuple[float, str]:
    """What a value like this one is divided by to be read, and what it is called then."""
    size = abs(value)
    if unit in ("s", "ms"):
        seconds, own = (1.0, 1e-3) if unit == "s" else (1e3, 1.0)
        return (seconds, "s") if size >= seconds or not size else (own, "ms")
    if unit == "bytes":
        steps = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
        return next(((per, name) for per, name in steps if size >= per), (1.0, "bytes"))
    return {"share": (0.01, "%"), "tokens/s": (1.0, "tok/s")}.get(unit, (1.0, unit))


def number(value: float) -> str:
    """Three digits, or all that stand before the point."""
    if not value or not math.isfinite(value):
        return f"{value:g}"
    digits = 2 - math.floor(math.log10(abs(float(f"{value:.2e}"))))
    return f"{value:,.{min(max(digits, 0), 9)}f}"


def spelled(unit: str) -> str:
    """A unit as `scale` calls it, in words, for an axis."""
    return {"s": "seconds", "ms": "milliseconds", "tok/s": "tokens a second"}.get(unit, unit)


def tokens(count: float) -> str:
    """Short, for an axis: "4k" of 4096."""
    return f"{count / 1024:g}k" if count >= 1024 and count % 512 == 0 else f"{count:,g}"
