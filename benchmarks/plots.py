"""Results as pictures: SVG drawn by matplotlib, in colours that stand for others (`VARIABLES`).

The page puts its own colours in their place, so that one picture is readable in light and dark. Text stays text, in the
page's font. Knows neither the page nor what a suite measures, only which picture is its own.
"""

import io
import math
import re
import statistics
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from gemma_mlx.benchmarks.schema import OURS, Result
from gemma_mlx.benchmarks.units import figure, scale, spelled, tokens
from gemma_mlx.errors import GemmaError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 7.6  # inches
OTHERS = 8  # colours of programs that are not ours; more programs begin with the first again
_INK, _SOFT, _RULE = "#010a01", "#010a02", "#010a03"
_PROGRAMS = tuple(f"#010b0{number}" for number in range(OTHERS + 1))
VARIABLES = {_INK: "--ink", _SOFT: "--soft", _RULE: "--rule"} | {c: f"--c{i}" for i, c in enumerate(_PROGRAMS)}
"""What the colours of a drawing stand for: variables of the page."""

_STYLE: Any = {  # of matplotlib; names are drawn as they are, not as formulas
    **dict.fromkeys(("axes.edgecolor", "grid.color", "xtick.color", "ytick.color"), _RULE),
    **dict.fromkeys(("axes.labelcolor", "xtick.labelcolor"), _SOFT),
    **dict.fromkeys(("axes.titlecolor", "legend.labelcolor", "text.color", "ytick.labelcolor"), _INK),
    **dict.fromkeys(("axes.labelsize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize", "font.size"), 9),
    "axes.titlesize": 10,
    **dict.fromkeys(("axes.facecolor", "figure.facecolor"), "none"),
    **dict.fromkeys(("axes.spines.right", "axes.spines.top", "legend.frameon"), False),
    **dict.fromkeys(("text.parse_math", "text.usetex"), False),
    **dict.fromkeys(("axes.axisbelow", "figure.constrained_layout.use"), True),
    **dict(zip(("font.family", "svg.fonttype", "svg.hashsalt"), ("DejaVu Sans", "none", OURS), strict=True)),
    **dict(zip(("grid.linewidth", "lines.markersize", "errorbar.capsize"), (0.6, 4, 3), strict=True)),
}
_BOUND = "what this memory can deliver"
_OVER_X = {"decode": "tokens in the context", "prefill": "tokens in the prompt"}
_HOW_DRAFTED = re.compile(r"\b(adaptive|plain|depth \d+|\d+ drafts?)\b")


@dataclass(frozen=True)
class Picture:
    """`svg` is a file as matplotlib writes it; `caption` says what is drawn, in a sentence."""

    caption: str
    svg: str


def require() -> None:
    """Raises `GemmaError` without matplotlib."""
    if find_spec("matplotlib") is None:
        raise GemmaError("a report needs matplotlib, which is missing: pip install 'gemma-mlx[bench]'")


def pictures(suite: str, results: Sequence[Result], programs: Sequence[str]) -> list[Picture]:
    """What shows one suite's results best, bars for suites that are not known. `programs`: of the whole run, so that
    each has one colour. Raises `GemmaError` without matplotlib."""
    found = []
    for unit in dict.fromkeys(each.unit for each in results):
        left = [each for each in results if each.unit == unit]
        placed = [each for each in left if each.x is not None]
        if suite in (*_OVER_X, "drafter") and len({each.x for each in placed}) > 1:
            if suite == "drafter":
                placed += [each for each in left if each.x is None and _is_adaptive(each)]
            found.append(_depths(placed, programs) if suite == "drafter" else _over_x(suite, placed, programs))
            left = [each for each in left if each not in placed]
        if left:
            found.append(_bars(left, programs))
    draw: Mapping[str, Callable[[list[Result], Sequence[str]], Picture]]
    draw = {"drafter": _accepted, "voice": _turns, "memory": _memory}
    told = [each for each in results if each.details.get("accepted_by_position" if suite == "drafter" else "timeline")]
    return found + ([draw[suite](told, programs)] if told and suite in draw else [])


def _bars(results: list[Result], programs: Sequence[str]) -> Picture:
    cases = list(dict.fromkeys(each.case for each in results))
    rows = sorted(results, key=lambda each: cases.index(each.case))
    shown = list(dict.fromkeys(each.program for each in rows))
    per, unit = scale(rows[0].unit, max(each.spread.high for each in rows))
    places = [0.0]
    for before, each in pairwise(rows):
        places.append(places[-1] + (0.86 if each.case == before.case else 1.25))
    with _figure(0.55 + 0.3 * (places[-1] + 1) + 0.3 * (len(shown) > 1)) as (drawing, axes):
        for place, each in zip(places, rows, strict=True):
            spread = each.spread
            axes.barh(place, spread.median / per, 0.7, color=_colour(each.program, programs), label=each.program)
            if len(each.values) > 1:
                axes.plot([spread.low / per, spread.high / per], [place] * 2, color=_INK, linewidth=1.1, marker="|")
            if each.bound is not None:
                axes.plot([each.bound / per] * 2, [place - 0.42, place + 0.42], color=_INK, ls=":")
            text = figure(spread.median, each.unit) + (" once" if len(each.values) == 1 else "")
            _beside(axes, text, (spread.high / per, place))
        groups = [[place for place, each in zip(places, rows, strict=True) if each.case == case] for case in cases]
        names = [textwrap.fill(case, 30) or shown[0] for case in cases]
        axes.set_yticks([statistics.fmean(group) for group in groups], names)
        axes.set_ylim(places[-1] + 0.7, -0.7)
        axes.set_xlim(0, max(max(each.spread.high, each.bound or 0) for each in rows) / per * 1.18 or 1)
        axes.grid(axis="x")
        axes.set_xlabel(spelled(unit))
        if len(shown) > 1:
            _legend(drawing, axes)
        bound = f", dotted {_BOUND}" if any(each.bound is not None for each in rows) else ""
        return _picture(drawing, f"{_which(rows)}. Medians, with the quartiles as lines{bound}.")


def _over_x(suite: str, results: list[Result], programs: Sequence[str]) -> Picture:
    with _figure(3.4) as (drawing, axes):
        bounds = sorted({(each.x or 0, each.bound) for each in results if each.bound is not None})
        top = max(*(each.spread.high for each in results), *(bound for _, bound in bounds))
        per, unit = scale(results[0].unit, top)
        for program in dict.fromkeys(each.program for each in results):
            _line(axes, [each for each in results if each.program == program], per, _colour(program, programs), program)
        if bounds:
            axes.plot([x for x, _ in bounds], [bound / per for _, bound in bounds], color=_INK, ls=":", label=_BOUND)
        _x_of(axes, sorted({each.x or 0 for each in results}))
        _label(axes, _OVER_X[suite], spelled(unit), top / per)
        _legend(drawing, axes)
        return _picture(drawing, f"{_which(results)}. Medians against {_OVER_X[suite]}, with the quartiles as lines.")


def _depths(results: list[Result], programs: Sequence[str]) -> Picture:
    topics = list(dict.fromkeys(_topic(each.case) for each in results))
    across = min(3, len(topics))
    down = -(-len(topics) // across)
    top = max(each.spread.high for each in results)
    per, unit = scale(results[0].unit, top)
    with _figure(0.4 + 2.9 * down) as (drawing, _):
        drawing.clear()
        panels = drawing.subplots(down, across, sharey=True, squeeze=False)
        for axes in panels.flat[len(topics) :]:
            axes.set_visible(False)
        for axes, topic in zip(panels.flat, topics, strict=False):
            for program in dict.fromkeys(_topic(each.program) or OURS for each in results):
                own = [
                    each for each in results if (_topic(each.case), _topic(each.program) or OURS) == (topic, program)
                ]
                colour = _colour(program, programs)
                _line(axes, [each for each in own if not _is_adaptive(each)], per, colour, f"{program}, fixed depth")
                for each in filter(_is_adaptive, own):
                    axes.axhline(each.spread.median / per, color=colour, ls="--", label=f"{program}, adaptive")
                    axes.axhspan(each.spread.low / per, each.spread.high / per, color=colour, alpha=0.15, linewidth=0)
            axes.set_xticks(sorted({each.x for each in results if each.x is not None}))
            axes.xaxis.set_major_formatter("{x:g}")
            axes.set_title(topic)
            _label(axes, "drafts a round", spelled(unit) if axes is panels[0, 0] else "", top / per)
        _legend(drawing, panels[0, 0])
        return _picture(drawing, f"{_which(results)}. Medians and quartiles against depth; 0 is without a drafter.")


def _accepted(results: list[Result], programs: Sequence[str]) -> Picture:
    deepest: dict[str, list[float]] = {}
    for each in results:
        name = ", ".join(part for part in map(_topic, (each.case, each.program)) if part not in ("", OURS)) or OURS
        shares = [100 * float(share) for share in each.details["accepted_by_position"]]
        deepest[name] = max(deepest.get(name, []), shares, key=len)
    with _figure(2.8) as (drawing, axes):
        for colour, (name, shares) in zip(_PROGRAMS * len(deepest), deepest.items(), strict=False):
            axes.plot(range(1, len(shares) + 1), shares, marker="o", color=colour, label=name)
        axes.set_xticks(range(1, max(map(len, deepest.values())) + 1))
        _label(axes, "position of the draft in its round", "% accepted", 100)
        _legend(drawing, axes)
        return _picture(drawing, "Share of rounds that accepted a draft at each position, at the greatest depth.")


def _turns(results: list[Result], programs: Sequence[str]) -> Picture:
    ends = [max((p["to"] for p in each.details["timeline"] if p["what"] == "speaking"), default=0) for each in results]
    pieces = [(piece, end) for each, end in zip(results, ends, strict=True) for piece in each.details["timeline"]]
    after = max(piece["to"] - end for piece, end in pieces)
    start = max(min(piece["from"] - end for piece, end in pieces), -max(3.0, 1.5 * after))
    with _figure(1.0 + 0.75 * len(results)) as (drawing, axes):
        for row, (each, end) in enumerate(zip(results, ends, strict=True)):
            for piece in each.details["timeline"]:
                _piece(axes, row, piece, end, (each.program, _colour(each.program, programs)))
        axes.axvline(0, color=_INK, linewidth=1, ls=":")
        several = len({each.program for each in results}) > 1
        names = [textwrap.fill(each.case, 26) + several * f"\n{each.program}" for each in results]
        axes.set_yticks(range(len(results)), names)
        axes.set_ylim(len(results) - 0.4, -0.6)
        axes.set_xlim(start, after + 0.14 * (after - start))
        axes.set_xlabel("seconds from the end of speech")
        axes.grid(axis="x")
        _legend(drawing, axes)
        return _picture(drawing, "One of the turns: above what the person does, below what the program does.")


def _piece(axes: "Axes", row: int, piece: Mapping[str, Any], end: float, program: tuple[str, str]) -> None:
    what, begin, length = piece["what"], piece["from"] - end, piece["to"] - piece["from"]
    if what == "first text":
        axes.plot(begin, row + 0.19, marker="D", color=_INK, markersize=6, ls="none", label=what, zorder=3)
        _beside(axes, figure(begin, "s"), (begin, row + 0.19))
    elif what == "speaking":
        axes.barh(row - 0.19, length, 0.3, begin, color=_SOFT, label=what)
    elif what == "silence":
        axes.barh(row - 0.19, length, 0.3, begin, color="none", edgecolor=_SOFT, hatch="////", label=what)
    else:
        axes.barh(row + 0.19, length, 0.3, begin, color=program[1], label=f"{what}, {program[0]}")


def _memory(results: list[Result], programs: Sequence[str]) -> Picture:
    several = len({each.program for each in results}) > 1
    with _figure(3.2) as (drawing, axes):
        limits = {each.details["limit"] / 1e9 for each in results if each.details.get("limit")}
        top = max(limits, default=0.0)
        for number, each in enumerate(results):
            colour = _colour(each.program, programs) if several else _PROGRAMS[number % len(_PROGRAMS)]
            times = [at for at, _ in each.details["timeline"]]
            amounts = [amount / 1e9 for _, amount in each.details["timeline"]]
            top = max(top, *amounts, 0)
            axes.plot(times, amounts, color=colour, label=each.case + several * f", {each.program}")
            axes.fill_between(times, amounts, color=colour, alpha=0.12, linewidth=0)
        for limit in sorted(limits):
            axes.axhline(limit, color=_INK, ls="--", linewidth=1.2, label=f"limit, {figure(limit * 1e9, 'bytes')}")
        axes.margins(x=0)
        _label(axes, "seconds", "GB", top)
        _legend(drawing, axes)
        return _picture(drawing, "Memory over time.")


def _line(axes: "Axes", results: list[Result], per: float, colour: str, label: str) -> None:
    placed = sorted(((each.x or 0, each.spread) for each in results), key=lambda each: each[0])
    if placed:
        xs, middle = [x for x, _ in placed], [spread.median / per for _, spread in placed]
        below = [(spread.median - spread.low) / per for _, spread in placed]
        above = [(spread.high - spread.median) / per for _, spread in placed]
        axes.errorbar(xs, middle, yerr=(below, above), color=colour, marker="o", label=label)


def _x_of(axes: "Axes", xs: list[float]) -> None:
    """Ticks where something was measured, as many as have room; doublings equally apart if there are many."""
    doubling = xs[0] > 0 and xs[-1] > 16 * xs[0]
    if doubling:
        axes.set_xscale("log", base=2)
    places = [math.log2(x) for x in xs] if doubling else xs
    kept = [0]
    for index in range(1, len(xs)):
        if places[index] - places[kept[-1]] >= (places[-1] - places[0]) / 16:
            kept.append(index)
    axes.set_xticks([xs[index] for index in kept], [tokens(xs[index]) for index in kept])
    axes.minorticks_off()


def _label(axes: "Axes", x: str, y: str, top: float) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_ylim(0, top * 1.08 or 1)
    axes.grid()


def _beside(axes: "Axes", text: str, place: tuple[float, float]) -> None:
    axes.annotate(text, place, (8, 0), textcoords="offset points", va="center")


def _is_adaptive(result: Result) -> bool:
    return "adaptive" in f"{result.case} {result.program}".split()


def _topic(text: str) -> str:
    """The name of a case or program without what says how was drafted."""
    return _HOW_DRAFTED.sub("", text).strip(" ,:;-()")


def _which(results: Sequence[Result]) -> str:
    unit = spelled(scale(results[0].unit, max(each.spread.high for each in results))[1])
    return unit[:1].upper() + unit[1:] + (f"; {results[0].better} is better" if results[0].better else "")


def _colour(program: str, programs: Sequence[str]) -> str:
    others = [each for each in programs if each != OURS]
    return _PROGRAMS[1 + others.index(program) % OTHERS] if program in others else _PROGRAMS[0]


def _legend(drawing: "Figure", axes: "Axes") -> None:
    handles = dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
    names = sorted(handles, key=lambda name: name == _BOUND)
    rows = -(-len(names) // max(1, 110 // (max(map(len, names)) + 6)))
    columns = -(-len(names) // rows)
    drawing.legend([handles[name] for name in names], names, loc="outside upper left", ncols=columns)


@contextmanager
def _figure(height: float) -> Iterator[tuple["Figure", "Axes"]]:
    """A figure of `height` inches with empty axes, and the style to fill it in."""
    require()
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        drawing = Figure(figsize=(WIDTH, height))
        yield drawing, drawing.add_subplot()


def _picture(drawing: "Figure", caption: str) -> Picture:
    file = io.StringIO()
    drawing.savefig(file, format="svg")
    return Picture(caption, file.getvalue())
