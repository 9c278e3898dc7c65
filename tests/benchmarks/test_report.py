"""The page, the Markdown and the block to submit: whole, escaped, with spreads, and without a person's names."""

import json
import platform
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from gemma_mlx.benchmarks import report
from gemma_mlx.benchmarks.plots import OTHERS, pictures
from gemma_mlx.benchmarks.schema import OURS, Recorded, Result, ratios
from gemma_mlx.errors import GemmaError
from tests.benchmarks.recorded import MACHINE, MODEL, drafted, everything, recorded, spoken, timed, watched

VOID = {"meta", "br", "path", "use", "rect"}
NASTY = "<script>alert(1)</script> | $x_1^{2}$ & `y`\nz"


class Page(HTMLParser):
    """Its text, its tags, what it refers to; tags must close in order."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.words: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]
        self.references += re.findall(r"url\((.*?)\)", " ".join(value or "" for _, value in attrs))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


def written(folder: Path, *runs: Recorded) -> tuple[Page, str]:
    page, text = report.write(runs, folder / "report.html")
    return Page(page), text.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> tuple[Page, str]:
    run = replace(recorded(everything()), skipped={"vllm": "not installed: pip install vllm"})
    return written(tmp_path_factory.mktemp("full"), run)


def test_the_page_is_whole_and_needs_nothing_beside_it(full: tuple[Page, str]) -> None:
    page, _ = full
    assert page.open == []
    assert page.tags.count("section") == 14  # thirteen suites, and what was skipped
    assert page.tags.count("svg") >= 16
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert page.references
    assert {reference.lstrip("#") for reference in page.references} <= set(page.ids)
    assert all(reference.startswith("#") for reference in page.references)
    assert len(page.ids) == len(set(page.ids))


def test_colours_are_those_of_the_page_in_light_and_dark(tmp_path: Path) -> None:
    page, _ = report.write([recorded(everything())], tmp_path / "report")
    text = page.read_text(encoding="utf-8")
    used = set(re.findall(r"var\((--[\w]+)\)", text))
    light, dark = re.findall(r":root \{(.*?)\}", text, re.DOTALL)[:2]
    for scheme in (light, dark):
        assert used <= set(re.findall(r"(--\w+):", scheme))
        assert f"--c{OTHERS}:" in scheme
    assert not re.findall(r"(?:fill|stroke): #\w+", text)


def test_cards_and_what_was_skipped_are_told(full: tuple[Page, str]) -> None:
    page, text = full
    for told in (page.text, text):
        for part in ("Apple M4", "17.2 GB", "120 GB/s", "6.75 GB", "google/gemma-4-12b-it", "0.32.4", "11:33:49"):
            assert part in told
        assert "performance 4" in told
        assert "wheel" not in told  # not known
        assert "gemma-mlx bench --out results.jsonl" in told
        assert "pip install vllm" in told
        assert report.PARTIAL not in told


def test_every_figure_has_its_spread(full: tuple[Page, str]) -> None:
    _, text = full
    rows = [row.split(" | ") for row in re.findall(r"^\| (.*) \|$", text, re.MULTILINE) if "---" not in row]
    rows = [row for row in rows if row[0] != "what"]
    assert len(rows) == len(everything())
    assert all(re.search(r"once|\d – ", " | ".join(row)) for row in rows)


def test_decode_is_told_with_what_memory_can_deliver(tmp_path: Path) -> None:
    result = Result("decode", "plain", OURS, "tokens/s", (13.0, 13.1, 13.3), "more", 8, 16.8)
    page, text = written(tmp_path, recorded([result]))
    assert "13.1 tok/s, 78 % of what this memory can deliver" in text
    assert "13.1 tok/s, 78 % of what this memory can deliver" in page.text
    assert "13.0 – 13.3" in text


def test_ratios_are_those_of_each_alternation(tmp_path: Path) -> None:
    ours, theirs = timed(1, 2, 3, 4, 5), timed(2, 4, 3, 8, 15, program="mlx-vlm")
    spread = ratios(ours, theirs)
    told = f"{spread.median:.2f} × ({spread.low:.2f} – {spread.high:.2f})"
    page, text = written(tmp_path, recorded([ours, theirs]))
    assert told == "2.00 × (2.00 – 2.00)"
    assert told in page.text
    assert told in text


@pytest.mark.parametrize(
    "theirs",
    [
        timed(1, 1, program="one value less"),
        timed(1, 0, 1, program="no time at all"),
        timed(1, 1, 1, program="predicted", better=""),
        timed(1, 1, 1, program="of another thing", case="another"),
    ],
)
def test_what_does_not_belong_together_has_no_ratio(tmp_path: Path, theirs: Result) -> None:
    page, text = written(tmp_path, recorded([timed(1, 2, 3), theirs]))
    assert theirs.program in page.text
    assert "×" not in page.text + text


def test_a_single_alternation_says_once(tmp_path: Path) -> None:
    page, text = written(tmp_path, recorded([timed(2), timed(3, program="mlx-vlm")]))
    assert "1.50 × (once)" in text
    assert page.text.count("once") >= 3


def test_an_interrupted_run_says_so(tmp_path: Path) -> None:
    page, text = written(tmp_path, recorded([timed(1)], finished=False))
    assert report.PARTIAL == "interrupted: partial results"
    assert all(report.PARTIAL in told for told in (page.text, text, report.submission(recorded([], finished=False))))


def test_a_run_without_results_and_cards_is_told_as_such(tmp_path: Path) -> None:
    empty = recorded([], machine={}, model={}, versions={}, command="", id="some day")
    page, text = written(tmp_path, empty)
    assert report.NOTHING in page.text
    assert report.NOTHING in text
    assert "some day" in text


def test_several_runs_are_told_one_after_the_other(tmp_path: Path) -> None:
    page, text = written(tmp_path, recorded([timed(1)]), recorded([timed(2)], id="2026-11-23T08:00:00"))
    assert page.tags.count("h1") == 2
    assert text.index("2026-11-22") < text.index("2026-11-23")
    assert len(page.ids) == len(set(page.ids))


def test_the_same_results_make_the_same_page(tmp_path: Path) -> None:
    run = recorded([timed(1, 2), watched()])
    first, second = (report.write([run], tmp_path / name)[0].read_bytes() for name in ("first", "second"))
    assert first == second


def test_names_are_text_and_nothing_else(tmp_path: Path) -> None:
    nasty = Result(NASTY, NASTY, NASTY, NASTY, (1.0, 2.0), "less", details={"same_ids": False, "prompt_tokens": 7})
    run = replace(recorded([nasty], machine={NASTY: NASTY}, command=NASTY, id=NASTY), skipped={NASTY: NASTY})
    page, text = written(tmp_path, run)
    assert "script" not in page.tags
    assert page.open == []
    assert "$x_1^{2}$" in page.text
    assert "not the same tokens" in page.text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 3
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1
    assert not [line for line in text.splitlines() if "<script" in line and not line.startswith("Command: `")]


def test_a_prompt_of_another_length_is_told(tmp_path: Path) -> None:
    results = [
        replace(timed(1, 2, program=program), details={"prompt_tokens": count})
        for program, count in ((OURS, 300), ("mlx-vlm", 301), ("mlx-lm", 300))
    ]
    assert re.findall(r"prompt of \d+ tokens", written(tmp_path, recorded(results))[1]) == ["prompt of 301 tokens"]


@pytest.mark.parametrize("name", ["a.html", "a.md", "a.htm", "a"])
def test_files_lie_beside_each_other(tmp_path: Path, name: str) -> None:
    assert report.write([recorded([])], tmp_path / "new" / name) == (tmp_path / "new/a.html", tmp_path / "new/a.md")
    assert report.write([recorded([])], tmp_path / "v1.5")[0].name == "v1.5.html"


def test_faults_of_a_report_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GemmaError, match="no run to report"):
        report.write([], tmp_path / "a.html")
    (tmp_path / "file").write_text("")
    with pytest.raises(GemmaError, match="cannot be written"):
        report.write([recorded([])], tmp_path / "file" / "a.html")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(GemmaError, match=r"pip install 'gemma-mlx\[bench\]'"):
        report.write([recorded([timed(1)])], tmp_path / "a.html")


@pytest.mark.parametrize(
    ("suite", "results", "count"),
    [
        ("drafter", drafted(), 2),
        ("drafter", drafted(["prose"])[:1], 1),
        ("drafter", drafted(["prose", "code", "list", "table"]), 2),
        ("voice", [spoken(OURS, 29, 0.4), spoken(OURS, 2, 0.3)], 2),
        ("memory", [watched(), replace(watched(), program="planned", details={}, better="")], 2),
        ("memory", [replace(watched(), details={"timeline": []})], 1),
        ("decode", [each for each in everything([]) if each.suite == "decode"], 1),
        ("prefill", [each for each in everything([]) if each.suite == "prefill"][:1], 1),
        ("load", [timed(0, 0)], 1),
        ("load", [timed(1), replace(timed(5, 6), unit="bytes")], 2),
    ],
)
def test_suites_have_the_pictures_that_they_need(suite: str, results: list[Result], count: int) -> None:
    drawn = pictures(suite, results, [OURS])
    assert len(drawn) == count
    assert all(picture.svg.count("<svg") == 1 and picture.caption.endswith(".") for picture in drawn)


def test_pictures_show_what_they_are_for() -> None:
    results = everything([])
    drawn = {
        suite: " ".join(
            " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", picture.svg))
            for picture in pictures(suite, [each for each in results if each.suite == suite], [OURS])
        )
        for suite in ("decode", "drafter", "voice", "memory")
    }
    for suite, texts in {
        "decode": ("what this memory can deliver", "tokens in the context", "32k"),
        "drafter": ("adaptive", "prose", "code", "list", "% accepted", "position of the draft"),
        "voice": ("speaking", "silence", "prefill", "first text", "430 ms", "end of speech"),
        "memory": ("limit, 11.2 GB", "seconds"),
    }.items():
        assert [text for text in texts if text not in drawn[suite]] == []


def test_what_is_submitted_names_no_person_host_or_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/Users/ada")
    monkeypatch.setenv("USERPROFILE", "/Users/ada")
    monkeypatch.setattr(platform, "node", lambda: "Difference-Engine.local")
    notes = ["in ~/models", "ada's, Difference-Engine"]
    machine = MACHINE | {"hostname": "engine-2", "notes": notes, "cpu": "3/4 used"}
    model = MODEL | {"directory": "charles", "source": {"path": "babbage", "url": "https://hub/babbage/x"}}
    command = "/opt/bin/gemma-mlx bench --model=/Users/ada/models --out babbage.jsonl --report 'C:\\Users\\babbage'"
    run = recorded([timed(1, 2, case="babbage/prose")], machine=machine, model=model, command=command)
    text = report.submission(replace(run, skipped={"voice": "no microphone at /dev/babbage, ada"}))
    for name in ("ada", "babbage", "Users", "engine-2", "Difference", "charles", "models", "/opt"):
        assert name not in text
    assert "google/gemma-4-12b-it" in text
    assert "--model=…" in text
    assert "no microphone at …" in text
    assert "3/4 used" in text


def test_what_is_submitted_is_a_table_and_cards_folded_away() -> None:
    result = Result("decode", "plain", OURS, "tokens/s", (13.0, 13.1, 13.3), "more", 8, 16.8)
    text = report.submission(recorded([result]))
    assert "| plain | 13.1 tok/s, 78 % of what this memory can deliver | 13.0 – 13.3 | 3 |" in text
    folded = re.findall(r"<details>.*\n```json\n(.*)\n```\n\n</details>", text, re.DOTALL)
    cards = json.loads(folded[0])
    assert cards["machine"] == MACHINE
    assert cards["model"] == MODEL
    assert cards["command"] == "gemma-mlx bench --out …"
