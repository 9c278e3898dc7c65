"""A run survives what happens in it: suites that fail, Ctrl-C, faults of ours; and tells what each suite took."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gemma_mlx.benchmarks import power, runner
from gemma_mlx.benchmarks.runner import Told, Wanted
from gemma_mlx.benchmarks.schema import OURS, Result, read
from gemma_mlx.benchmarks.suites import bench as benches
from gemma_mlx.benchmarks.suites.bench import Bench
from gemma_mlx.loading import LoadOptions

SILENT = Told(lambda _: None, lambda _: None, lambda *_: None)


def _good(bench: Bench, wanted: frozenset[str]) -> Iterator[Result]:
    yield Result("good", "one", OURS, "s", (1.0, 2.0))


def _bad(bench: Bench, wanted: frozenset[str]) -> Iterator[Result]:
    yield Result("bad", "before", OURS, "s", (1.0,))
    raise RuntimeError("many lines\nthe last one")


def _stopped(bench: Bench, wanted: frozenset[str]) -> Iterator[Result]:
    yield Result("stopped", "before", OURS, "s", (1.0,))
    raise KeyboardInterrupt


def wanted(*suites: benches.Suite) -> Wanted:
    return Wanted([(suite, frozenset({suite.__name__})) for suite in suites], "demo", LoadOptions(), quick=True)


def test_a_suite_that_fails_is_left_out_and_the_others_go_on(tmp_path: Path) -> None:
    recorded = runner.run(wanted(_bad, _good), tmp_path / "a.jsonl", SILENT)
    assert recorded.finished
    assert [each.suite for each in recorded.results] == ["bad", "good"]
    assert recorded.skipped == {"_bad": "many lines … the last one"}
    assert read(tmp_path / "a.jsonl") == (recorded,)
    assert recorded.end["seconds"] >= 0
    assert recorded.run.repetitions == runner.QUICK_REPETITIONS
    assert recorded.run.model["bytes_per_token"] > 0


def test_energy_is_told_for_each_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meters = iter([lambda: 9.0, lambda: 4.0, lambda: None])  # of the run, then of its suites
    monkeypatch.setattr(power, "begin", lambda: next(meters))
    recorded = runner.run(wanted(_good, _bad), tmp_path / "a.jsonl", SILENT)
    assert {name: value for name, value in recorded.end.items() if "joules" in name} == {
        "joules": 9.0,
        "joules_of__good": 4.0,
    }
    meters = iter([lambda: 9.0, lambda: 4.0, lambda: 3.0])
    both = Wanted([(_good, frozenset({"b", "a"})), (_stopped, frozenset({"c"}))], "demo", LoadOptions(), quick=True)
    with pytest.raises(KeyboardInterrupt):
        runner.run(both, tmp_path / "b.jsonl", SILENT)
    (stopped,) = read(tmp_path / "b.jsonl")
    assert (stopped.end["joules_of_a_and_b"], stopped.end["joules_of_c"]) == (4.0, 3.0)


def test_an_interrupted_run_keeps_what_it_has(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        runner.run(wanted(_good, _stopped, _good), tmp_path / "a.jsonl", SILENT)
    (recorded,) = read(tmp_path / "a.jsonl")
    assert not recorded.finished
    assert [each.suite for each in recorded.results] == ["good", "stopped"]


def test_a_fault_of_ours_keeps_its_traceback_and_what_was_measured(tmp_path: Path) -> None:
    def broken(bench: Bench, wanted: frozenset[str]) -> Iterator[Result]:
        yield Result("broken", "before", OURS, "s", (1.0,))
        raise AssertionError("ours")

    with pytest.raises(AssertionError, match="ours"):
        runner.run(wanted(broken), tmp_path / "a.jsonl", SILENT)
    (recorded,) = read(tmp_path / "a.jsonl")
    assert not recorded.finished
    assert recorded.results
