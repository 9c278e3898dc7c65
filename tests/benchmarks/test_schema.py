"""Results come back as they were written, whatever happened while they were."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gemma_mlx.benchmarks import schema
from gemma_mlx.benchmarks.schema import OURS, Result, Run, Writer
from gemma_mlx.errors import GemmaError

RUN = Run("2026-11-22T10:00:00", "gemma-mlx bench", {"chip": "a"}, {"name": "demo"}, {"mlx": "1"}, 3)
ONE = Result("decode", "from the beginning", OURS, "tokens/s", (3.0, 1.0, 2.0), "more", 8, 9.5, {"same_ids": True})


def written(path: Path, *results: Result, finished: bool = True) -> Path:
    writer = Writer(path, RUN)
    for result in results:
        writer.add(result)
    writer.skip("llama.cpp", "it is not installed")
    writer.end(finished, {"seconds": 1.5})
    return path


def test_a_run_comes_back(tmp_path: Path) -> None:
    other = replace(ONE, case="after 128 tokens", x=None, bound=None, better="less")
    (recorded,) = schema.read(written(tmp_path / "deep" / "a.jsonl", ONE, other))
    assert recorded == schema.Recorded(RUN, (ONE, other), {"llama.cpp": "it is not installed"}, True, {"seconds": 1.5})


def test_runs_are_appended(tmp_path: Path) -> None:
    written(tmp_path / "a.jsonl", ONE)
    written(tmp_path / "a.jsonl", finished=False)
    first, second = schema.read(tmp_path / "a.jsonl")
    assert (len(first.results), first.finished) == (1, True)
    assert (len(second.results), second.finished) == (0, False)


def test_a_run_that_was_cut_off_anywhere_is_valid_and_partial(tmp_path: Path) -> None:
    whole = written(tmp_path / "a.jsonl", ONE, ONE).read_bytes()
    lines = whole.splitlines(keepends=True)
    cut = tmp_path / "cut.jsonl"
    ends = [len(b"".join(lines[: count + 1])) for count in range(1, 3)]  # of both results
    for size in range(len(lines[0]), len(whole) - len(lines[-1])):
        cut.write_bytes(whole[:size])
        (recorded,) = schema.read(cut)
        assert not recorded.finished
        assert len(recorded.results) == sum(size >= end - 1 for end in ends)
    cut.write_bytes(b"")
    assert schema.read(cut) == ()


def test_what_follows_a_line_that_was_cut_off_is_read(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", ONE, ONE)
    path.write_bytes(path.read_bytes()[:-120])
    written(path, ONE)
    first, second = schema.read(path)
    assert (len(first.results), first.finished) == (2, False)
    assert (len(second.results), second.finished) == (1, True)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{}", "kind"),
        ("[]", "line 2"),
        ('{"kind": "other"}', "'other'"),
        (json.dumps({"kind": "result", "suite": "a"}), "values"),
        (json.dumps({"kind": "result", "suite": "a", "case": "", "program": "", "unit": "s", "values": []}), "values"),
        ('{"kind": "result", "suite": "a", "case": "", "program": "", "unit": "s", "values": [NaN]}', "numbers"),
        (json.dumps({"kind": "run", "schema": 2}), "schema 2"),
        ("not json}", "line 2"),
    ],
)
def test_what_is_not_a_result_is_named_with_its_line(tmp_path: Path, line: str, words: str) -> None:
    path = written(tmp_path / "a.jsonl")
    first, *rest = path.read_text().splitlines()
    path.write_text("\n".join([first, line, *rest]))
    with pytest.raises(GemmaError, match=words) as fault:
        schema.read(path)
    assert "line 2" in str(fault.value)
    assert "\n" not in str(fault.value)


def test_results_before_any_run_and_files_that_are_none(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", ONE)
    path.write_text("\n".join(path.read_text().splitlines()[1:]))
    with pytest.raises(GemmaError, match="before any run"):
        schema.read(path)
    with pytest.raises(GemmaError, match="cannot be read"):
        schema.read(tmp_path)
    with pytest.raises(GemmaError, match="cannot be read"):
        schema.read(tmp_path / "none.jsonl")


@pytest.mark.parametrize("content", ["a line of mine", "one\ntwo", "{}", '{"kind": "run"'])
def test_a_file_of_something_else_is_left_as_it_is(tmp_path: Path, content: str) -> None:
    path = tmp_path / "mine.txt"
    path.write_text(content)
    with pytest.raises(GemmaError, match=r"mine\.txt"):
        Writer(path, RUN)
    assert path.read_text() == content


def test_an_empty_file_is_written_to(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").touch()
    assert len(schema.read(written(tmp_path / "a.jsonl", ONE))) == 1


def test_nothing_is_written_without_values(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no values"):
        Writer(tmp_path / "a.jsonl", RUN).add(replace(ONE, values=()))


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ((2.0,), (2, 2, 2)),
        ((4.0, 2.0), (3, 2, 4)),
        ((9.0, 1.0, 2.0), (2, 1, 9)),
        ((4.0, 1.0, 3.0, 2.0, 5.0), (3, 2, 4)),
    ],
)
def test_a_spread_is_median_and_quartiles(values: tuple[float, ...], wanted: tuple[float, float, float]) -> None:
    assert schema.spread(values) == schema.Spread(*wanted)


def test_ratios_are_of_the_same_alternation_and_above_one_is_better() -> None:
    theirs = replace(ONE, program="mlx-vlm", values=(1.5, 1.0, 4.0))
    assert schema.ratios(ONE, theirs) == schema.Spread(1.0, 0.5, 2.0)
    less = replace(ONE, better="less"), replace(theirs, better="less")
    assert schema.ratios(*less) == schema.Spread(1.0, 0.5, 2.0)
    assert schema.ratios(replace(less[0], values=(1.0, 1.0, 1.0)), less[1]) == schema.Spread(1.5, 1.0, 4.0)
    for other in (replace(theirs, values=(1.0,)), replace(theirs, case="x"), replace(theirs, unit="s")):
        with pytest.raises(ValueError, match="cannot be compared"):
            schema.ratios(ONE, other)
