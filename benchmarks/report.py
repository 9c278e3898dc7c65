"""What `gemma-mlx bench --report` writes, a page that needs nothing beside it and Markdown, and what `--submit` prints.

No figure stands without its spread. Texts come from results files and are escaped. The block to submit leaves out
whatever may name a person, a machine's name or a place on it. Knows nothing of how anything was measured.
"""

import html
import itertools
import json
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from gemma_mlx.benchmarks.plots import VARIABLES, Picture, pictures
from gemma_mlx.benchmarks.schema import OURS, Recorded, Result, Run, ratios
from gemma_mlx.benchmarks.suites.names import SUITES
from gemma_mlx.benchmarks.units import figure, number, spread_of
from gemma_mlx.errors import GemmaError

PARTIAL = "interrupted: partial results"
NOTHING = "nothing was measured"
_HEADLINES = (("decode", 0), ("prefill", 0), ("voice", 0), ("turn", -1), ("memory", 0))  # which of a suite's own
_UNITS = re.compile(r"_(bytes|s|seconds)(_per_s|_per_second)?$")  # at the end of an entry of a card
_PRIVATE = frozenset("host hostname node user username login home path directory folder file serial uuid".split())
_NO_PLACE = re.compile(r"(google|mlx-community)/[\w.-]+|(tok|tokens|[kMGT]?B|bytes)/\w+|[\d/.]+")
_PLACE = re.compile(r"[/\\]|^~|\.(jsonl?|html|md|log|safetensors|gguf|wav|png)$")


@dataclass(frozen=True)
class Row:
    """A line of a table, as text. `share` and `notes` may be empty, `beside` where there is nothing to compare."""

    case: str
    program: str
    median: str
    share: str
    spread: str
    times: int
    beside: str
    notes: str
    ours: bool


@dataclass(frozen=True)
class Section:
    """A suite of a run."""

    title: str
    about: str
    rows: tuple[Row, ...]
    pictures: tuple[Picture, ...]

    @property
    def compared(self) -> bool:
        """Whether any row has something beside it."""
        return any(row.beside for row in self.rows)


@dataclass(frozen=True)
class Part:
    """A run: cards are names and texts."""

    date: str
    command: str
    state: str
    cards: Mapping[str, Mapping[str, str]]
    skipped: Mapping[str, str]
    sections: tuple[Section, ...]
    headlines: tuple[tuple[str, Row], ...]


def write(runs: Sequence[Recorded], path: Path) -> tuple[Path, Path]:
    """The page and the Markdown beside it; `path` is that of the page, with or without `.html`. Raises `GemmaError` if
    there is no run, no matplotlib, or no place to write."""
    if not runs:
        raise GemmaError("there is no run to report; measure one first: gemma-mlx bench")
    plain = path.with_suffix("") if path.suffix in (".html", ".htm", ".md") else path
    page, text = plain.with_name(plain.name + ".html"), plain.with_name(plain.name + ".md")
    parts = [_part(each) for each in runs]
    contents = {page: _page(parts), text: "\n".join(markdown(each) for each in runs)}
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        for file, content in contents.items():
            file.write_text(content, encoding="utf-8")
    except OSError as fault:
        raise GemmaError(f"the report cannot be written to {page}: {fault.strerror}; choose another file") from fault
    return page, text


def markdown(run: Recorded) -> str:
    """The report of one run, without pictures."""
    lines = [*_opening(run, "#"), f"Command: `{run.run.command.replace('`', chr(39))}`", ""]
    for name, card in _cards(run).items():
        lines += [f"## {name}", "", *(f"- {_cell(key)}: {_cell(value)}" for key, value in card.items()), ""]
    return "\n".join(lines + _tables(run))


def submission(run: Recorded) -> str:
    """A block of Markdown to paste into an issue: tables, and the cards folded away. Names no person, no host, no path:
    entries with such names are left out, words that look like places are cut."""
    run = _unnamed(run)
    facts = {"date": run.run.id, "command": run.run.command, "repetitions": run.run.repetitions}
    facts |= {"machine": run.run.machine, "model": run.run.model, "versions": run.run.versions}
    folded = json.dumps(facts, indent=2, ensure_ascii=False).replace("`", "'")
    folding = ["<details><summary>machine, model, versions</summary>", "", "```json", folded, "```", "", "</details>"]
    return "\n".join([*_opening(run, "###"), *_tables(run, "####"), *folding, ""])


def date(run: Recorded) -> str:
    """As "2026-11-22 11:33:49"; a name that is no date stays as it is."""
    try:
        return str(datetime.fromisoformat(run.run.id).replace(microsecond=0, tzinfo=None))
    except ValueError:
        return run.run.id


def _state(run: Recorded) -> str:
    return "; ".join(([] if run.finished else [PARTIAL]) + ([] if run.results else [NOTHING]))


def _opening(run: Recorded, heading: str) -> list[str]:
    return [
        f"{heading} gemma-mlx bench, {_cell(str(run.run.model.get('name', '')))}, {_cell(date(run))}",
        "",
        *([f"**{state}**", ""] if (state := _state(run)) else []),
    ]


def _part(run: Recorded) -> Part:
    sections = tuple(_section(run, suite, True) for suite in _suites(run))
    own = [each for each in run.results if each.program == OURS]
    shown = [found[which] for suite, which in _HEADLINES if (found := [each for each in own if each.suite == suite])]
    headlines = tuple((_title(each.suite)[0], _row(each, run.results)) for each in shown)
    return Part(date(run), run.run.command, _state(run), _cards(run), run.skipped, sections, headlines)


def _suites(run: Recorded) -> list[str]:
    """Those with results, in the order in which suites run, then as they were measured."""
    found = dict.fromkeys(each.suite for each in run.results)
    return [name for name in SUITES if name in found] + [name for name in found if name not in SUITES]


def _title(suite: str) -> tuple[str, str]:
    """Of a section, and what it tells."""
    return SUITES[suite][:2] if suite in SUITES else (suite[:1].upper() + suite[1:], "")


def _section(run: Recorded, suite: str, drawn: bool) -> Section:
    results = [each for each in run.results if each.suite == suite]
    cases = [each.case for each in results]
    rows = tuple(_row(each, results) for each in sorted(results, key=lambda each: cases.index(each.case)))
    programs = list(dict.fromkeys(each.program for each in run.results))
    return Section(*_title(suite), rows, tuple(pictures(suite, results, programs)) if drawn else ())


def _row(result: Result, results: Sequence[Result]) -> Row:
    key = (result.suite, result.case, OURS, result.unit)
    ours = [each for each in results if each.key == key and each.x == result.x]
    median = result.spread.median
    share = f"{100 * median / result.bound:.0f} % of what this memory can deliver" if result.bound else ""
    notes, read = [], result.details.get("prompt_tokens")
    if ours and read != ours[0].details.get("prompt_tokens"):
        notes.append(f"prompt of {read} tokens")
    if result.details.get("same_ids") is False:
        notes.append("not the same tokens")
    beside = _beside(ours[0], result) if ours and result.program != OURS else ""
    known = result.case, result.program, figure(median, result.unit), share, spread_of(result), len(result.values)
    return Row(*known, beside, ", ".join(notes), result.program == OURS)


def _beside(ours: Result, theirs: Result) -> str:
    """How many times as good ours is; empty where values do not belong together one by one, or are zero."""
    if (
        not ours.better
        or ours.better != theirs.better
        or len(ours.values) != len(theirs.values)
        or 0.0 in (*ours.values, *theirs.values)
    ):
        return ""
    found = ratios(ours, theirs)
    spread = f"{number(found.low)} – {number(found.high)}" if len(ours.values) > 1 else "once"
    return f"{number(found.median)} × ({spread})"


def _tables(run: Recorded, heading: str = "##") -> list[str]:
    """Of Markdown: a table for each suite, and what was skipped."""
    lines = []
    for section in (_section(run, suite, False) for suite in _suites(run)):
        several = any(not row.ours for row in section.rows)
        head = ["what", *["program"] * several, "median", "spread", "times", *[f"{OURS} beside it"] * section.compared]
        lines += [f"{heading} {_cell(section.title)}", "", *([section.about, ""] if section.about else [])]
        lines += [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
        for row in section.rows:
            shown = ", ".join(filter(None, (row.median, row.share, row.notes)))
            cells = [row.case, *[row.program] * several, shown, row.spread, str(row.times)]
            lines.append(f"| {' | '.join(map(_cell, cells + [row.beside] * section.compared))} |")
        lines += ["", *(["More than 1 × is better: faster, or less of it.", ""] if section.compared else [])]
    if run.skipped:
        skipped = (f"- {_cell(what)}: {_cell(why)}" for what, why in run.skipped.items())
        lines += [f"{heading} Skipped", "", *skipped, ""]
    if run.results:
        lines += ["Spread: the quartiles; of fewer than four values the least and the most.", ""]
    return lines


def _cell(text: str) -> str:
    return html.escape(" ".join(text.split()), quote=False).replace("|", "\\|")


def _cards(run: Recorded) -> dict[str, dict[str, str]]:
    named = (("Machine", run.run.machine), ("Model", run.run.model), ("Versions", run.run.versions), ("Run", run.end))
    return {name: _facts(card, "") for name, card in named if card}


def _facts(card: Mapping[str, Any], outer: str) -> dict[str, str]:
    """Entries as people call them, without those that are not known."""
    known = ((key, f"{outer}{key}", value) for key, value in card.items() if value is not None)
    return {_UNITS.sub("", key).replace("_", " "): _fact(whole, value) for key, whole, value in known}


def _fact(key: str, value: Any) -> str:
    """An entry of a card for people; what it is in is told by the end of its name."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {fact}" for name, fact in _facts(value, f"{key}_").items())
    if isinstance(value, list | tuple):
        return ", ".join(_fact(key, each) for each in value)
    if isinstance(value, int | float):
        if "bytes" in key:
            return figure(value, "bytes") + ("/s" if key.endswith(("_per_s", "_per_second")) else "")
        return figure(value, "s") if key.endswith(("_s", "_seconds")) else f"{value:,}"
    return str(value)


def _page(parts: Sequence[Part]) -> str:
    from jinja2 import Environment, StrictUndefined

    shapes = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    count = itertools.count()
    shapes.filters["drawn"] = lambda picture: _element(picture, next(count))
    template = Path(__file__).with_name("page.html.jinja").read_text(encoding="utf-8")
    return shapes.from_string(template).render(parts=parts, ours=OURS)


def _element(picture: Picture, count: int) -> str:
    """A drawing as a part of a page, in the page's colours and font: `count` keeps its names apart from others'."""
    drawn = picture.svg[picture.svg.index("<svg") :]
    head, drawn = drawn.split(">", 1)
    view = re.findall(r'viewBox="([^"]*)"', head)[0]
    drawn = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", drawn, flags=re.DOTALL)
    drawn = re.sub(r'<g id="[^"]*"', "<g", drawn)
    drawn = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>d{count}-", drawn)
    drawn = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", drawn)
    for colour, name in VARIABLES.items():
        drawn = drawn.replace(colour, f"var({name})")
    return f'<svg role="img" aria-label="{html.escape(picture.caption)}" viewBox="{view}">{drawn}'


def _unnamed(run: Recorded) -> Recorded:
    """Without what tells whose machine it was."""
    results = tuple(
        replace(each, suite=_cut(each.suite), case=_cut(each.case), program=_cut(each.program), unit=_cut(each.unit))
        for each in run.results
    )
    return Recorded(Run(**_without_names(asdict(run.run))), results, _without_names(run.skipped), run.finished)


def _without_names(value: Any) -> Any:
    if isinstance(value, Mapping):
        kept = [key for key in value if not _PRIVATE.intersection(re.split(r"[\W_]+", key.lower()))]
        return {_cut(key): _without_names(value[key]) for key in kept}
    if isinstance(value, list | tuple):
        return [_without_names(each) for each in value]
    return _cut(value) if isinstance(value, str) else value


def _cut(text: str) -> str:
    """Without words that look like a place in a file system, or are the name of this person or machine."""
    for name in {Path.home().name, platform.node(), platform.node().split(".")[0]} - {""}:
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "…", text)
    words = re.split(r"""([\s=,;:"'()]+)""", text)
    return "".join("…" if _PLACE.search(word) and not _NO_PLACE.fullmatch(word) else word for word in words)
