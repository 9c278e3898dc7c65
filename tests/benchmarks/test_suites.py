"""Every suite measures what it says, on a tiny model; programs take turns; a run survives what happens in it."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from gemma_mlx.benchmarks.ceiling import Bandwidth
from gemma_mlx.benchmarks.midsize import SMALL, write_pair
from gemma_mlx.benchmarks.peers.link import Generated, Linked, Unavailable
from gemma_mlx.benchmarks.peers.program import Settings
from gemma_mlx.benchmarks.runner import Told
from gemma_mlx.benchmarks.schema import OURS, Result
from gemma_mlx.benchmarks.suites import bench as benches
from gemma_mlx.benchmarks.suites import catalogue, drafting, media, names, sizes, speed, turns, voice
from gemma_mlx.benchmarks.suites.bench import Bench, Programs
from gemma_mlx.errors import GemmaError
from gemma_mlx.loading import LoadOptions, prepare

SILENT = Told(lambda _: None, lambda _: None, lambda *_: None)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("models")
    write_pair(directory, SMALL)
    return directory


@pytest.fixture
def skipped() -> dict[str, str]:
    return {}


@pytest.fixture
def bench(models: Path, tmp_path: Path, skipped: dict[str, str]) -> Bench:
    prepared = prepare(models / "target", LoadOptions(draft=models / "assistant", context=3000))
    told = lambda _: None  # noqa: E731
    return Bench(prepared, 2, True, {}, tmp_path, Bandwidth(1e9, "published"), 10**6, told, skipped.__setitem__)


def of(results: list[Result], suite: str) -> list[Result]:
    return [each for each in results if each.suite == suite]


def test_reading_and_writing(bench: Bench, monkeypatch: pytest.MonkeyPatch, skipped: dict[str, str]) -> None:
    monkeypatch.setattr(speed, "QUICK", (16, 40, 3000))
    results = list(speed.speed(bench, frozenset({"prefill", "decode"})))
    assert [(each.x, len(each.values)) for each in of(results, "prefill")] == [(16, 2), (40, 2)]
    decoded = of(results, "decode")
    assert [each.x for each in decoded] == [8, 16, 40]  # 3,000 do not fit
    assert all(min(each.values) > 0 and each.details["same_ids"] for each in results)
    bounds = [each.bound or math.nan for each in decoded]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[0] < 1e9 / 1e6
    alone = list(speed.speed(replace(bench, lengths=(24, 8, 9000)), frozenset({"prefill"})))
    assert [(each.suite, each.case) for each in alone] == [("prefill", "24 tokens"), ("prefill", "8 tokens")]
    assert "9,000 tokens" in skipped


def test_loading(bench: Bench) -> None:
    (loaded,) = speed.loading(bench, frozenset({"load"}))
    assert len(loaded.values) == 2
    assert 0 < min(loaded.values) < 30


def test_drafting_changes_no_answer(bench: Bench, monkeypatch: pytest.MonkeyPatch, skipped: dict[str, str]) -> None:
    monkeypatch.setattr(drafting, "_QUICKLY", 12)
    results = list(drafting.drafting(replace(bench, repetitions=1), frozenset({"drafter"})))
    assert [each.x for each in results] == [0, 3, None] * 3
    assert all(each.details["same_ids"] for each in results)
    shares = results[1].details["accepted_by_position"]
    assert len(shares) == 3
    assert all(0 <= share <= 1 for share in shares)
    assert "accepted_by_position" not in results[0].details
    without = replace(bench, prepared=prepare(bench.model, LoadOptions(draft="off")))
    assert list(drafting.drafting(without, frozenset({"drafter"}))) == []
    assert "drafter" in skipped


def test_pictures_and_recordings(bench: Bench, monkeypatch: pytest.MonkeyPatch, skipped: dict[str, str]) -> None:
    monkeypatch.setattr(media, "QUICK_BUDGETS", (70, 1120))
    small = replace(bench, prepared=prepare(bench.model, LoadOptions(image_tokens=280, draft="off")))
    (looked,) = media.image(small, frozenset({"image"}))
    assert (looked.x, len(looked.values)) == (70, 2)
    assert 50 < looked.details["prompt_tokens"] < 110
    assert list(skipped) == ["image, 1120 tokens"]
    monkeypatch.setattr(media, "QUICK_SECONDS", (1, 2))
    one, two = media.audio(small, frozenset({"audio"}))
    assert two.details["prompt_tokens"] - one.details["prompt_tokens"] == pytest.approx(25, abs=8)


@pytest.mark.alone
def test_a_spoken_turn(bench: Bench) -> None:
    end, decided = voice.voice(replace(bench, repetitions=1), frozenset({"voice"}))
    assert 0.6 < end.values[0] < 5  # the silence that is waited for is part of it
    assert decided.values[0] < end.values[0] - 0.6
    spans = {span["what"]: span for span in end.details["timeline"]}
    assert set(spans) == {"speaking", "silence", "prefill", "first text"}
    assert spans["speaking"]["to"] == spans["silence"]["from"] == pytest.approx(2, abs=0.1)
    prefills = [span for span in end.details["timeline"] if span["what"] == "prefill"]
    assert prefills[0]["from"] < 1  # it is read while it is spoken
    assert end.details["unread_tokens"] <= 25


def test_conversations_that_go_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "QUICK", 120)
    first, second = turns.turn(bench, frozenset({"turn"}))
    assert (first.x, second.x) == (1, 2)
    assert second.details["cached_tokens"] > 100
    assert max(second.values) < min(first.values)
    resumed, again = turns.resuming(bench, frozenset({"resume"}))
    assert (resumed.program, again.program) == (OURS, turns.AGAIN)
    assert resumed.details["same_answers"] is True
    assert max(resumed.values) < min(again.values)
    *_, theirs = turns.resuming(replace(bench, peers={"mlx-vlm": None}), frozenset({"resume"}))
    assert theirs.program == "mlx-vlm"
    assert theirs.details["same_ids"] is True
    assert theirs.details["prompt_tokens"] > 120
    assert len(theirs.values) == bench.repetitions


def test_memory_and_conversion(bench: Bench, skipped: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    measured, planned = sizes.memory(replace(bench, repetitions=1), frozenset({"memory"}))
    assert planned.better == ""
    assert 0.5 < planned.values[0] / measured.values[0] < 2
    seconds, held = zip(*measured.details["timeline"], strict=True)
    assert list(seconds) == sorted(seconds)
    assert max(held) > 0
    took, most = sizes.converting(replace(bench, repetitions=1), frozenset({"conversion"}))
    assert (took.unit, most.unit) == ("s", "bytes")
    assert not (bench.folder / "source").exists()
    monkeypatch.setattr(sizes.shutil, "disk_usage", lambda _: sizes.shutil._ntuple_diskusage(9, 9, 0))
    assert list(sizes.converting(bench, frozenset({"conversion"}))) == []
    assert "disk" in skipped["conversion"]


class Fake(Linked):
    """Notes who was asked."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.calls = name, log

    def __enter__(self) -> "Fake":
        self.calls.append(f"start {self.name}")
        return self

    def __exit__(self, *_: object) -> None:
        self.calls.append(f"end {self.name}")


def _never(what: str, why: str) -> None:
    raise AssertionError(what)


@pytest.mark.parametrize("fault", [Unavailable("it reads text only"), RuntimeError("b ended with -9:\nlog\nat 50 %\n")])
@pytest.mark.parametrize("when", [0, 2])
def test_a_peer_that_fails_is_left_out_and_the_others_go_on(fault: Exception, when: int) -> None:
    asked: list[str] = []

    def ask(linked: Linked) -> str:
        asked.append(linked.name)
        if linked.name == "b" and asked.count("b") > when:
            raise fault
        return linked.name

    told: dict[str, str] = {}
    kept = {name: Fake(name, []) for name in (OURS, "b", "c")}
    running = Programs((OURS, "b", "c"), lambda name: Fake(name, []), dict[str, Linked](kept), told.__setitem__)
    assert running.alternate(ask, 3) == {OURS: [OURS] * 3, "c": ["c"] * 3}
    assert told == {"b": "it reads text only" if isinstance(fault, Unavailable) else "b ended with -9: … at 50 %"}
    failing = Programs(("b", OURS), lambda name: Fake(name, []), dict[str, Linked](kept), told.__setitem__)

    def break_down(linked: Linked) -> None:
        raise fault

    with pytest.raises(type(fault)):
        failing.alternate(break_down, 1)  # ours


def test_programs_take_turns_in_changing_order() -> None:
    calls: list[str] = []

    def ask(linked: Linked) -> str:
        calls.append(linked.name)
        return linked.name

    kept = {name: Fake(name, calls) for name in ("a", "b")}
    found = Programs(("a", "b"), lambda name: Fake(name, calls), dict[str, Linked](kept), _never).alternate(ask, 3)
    assert calls == [*"ba", *"ab", *"ba", *"ab"]  # the first two warm up
    assert found == {"a": ["a"] * 3, "b": ["b"] * 3}
    calls.clear()
    Programs(("a", "b"), lambda name: Fake(name, calls), {}, _never).alternate(ask, 1)
    assert calls == ["start a", "a", "a", "end a", "start b", "b", "b", "end b"]


def test_where_models_do_not_fit_together_each_is_started_for_its_turn(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, skipped: dict[str, str]
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(benches, "Linked", lambda name, *_: Fake(name, calls))
    with benches.programs(replace(bench, peers={"b": None}), bench.settings()) as running:
        assert calls == [f"start {OURS}", "start b"]
        assert running.names == (OURS, "b")
    calls.clear()
    monkeypatch.setattr(benches, "_TOGETHER", 0.0)
    with benches.programs(replace(bench, peers={"b": None}), bench.settings()) as running:
        assert calls == [f"start {OURS}", f"end {OURS}", "start b", "end b"]
        assert not running._kept
    assert not skipped


class Drafting(Fake):
    """Notes the depths that it is told."""

    def set_depth(self, depth: int | None) -> None:
        self.calls.append(str(depth))

    def generate(self, ids: list[int], tokens: int) -> Generated:
        return Generated((1, 2, 3), (0.1, 0.2, 0.3), len(ids), 0, 0)


@pytest.mark.parametrize(("together", "told"), [(1.0, 1), (0.0, 2)])
def test_depths_take_turns(bench: Bench, monkeypatch: pytest.MonkeyPatch, together: float, told: int) -> None:
    """`told` so many times a turn, where the model is loaded anew for each."""
    calls: list[str] = []
    monkeypatch.setattr(benches, "Linked", lambda name, *_: Drafting(name, calls))
    monkeypatch.setattr(benches, "_TOGETHER", together)
    list(drafting.drafting(replace(bench, repetitions=4), frozenset({"drafter"})))
    depths = [call for call in calls if " " not in call]
    rounds = [depths[i : i + 3] for i in range(0, len(depths), 3)]
    counted = [each for i, each in enumerate(rounds) if i % told == told - 1]
    assert {tuple(each) for each in counted} == {("0", "3", "None"), ("None", "3", "0")}
    forward = sum(each[0] == "0" for each in counted)
    assert abs(2 * forward - len(counted)) <= 2


def test_suites_are_chosen_by_name() -> None:
    assert list(catalogue.SUITES) == list(names.SUITES)
    assert len(catalogue.chosen((), quick=False)) == len(set(catalogue.SUITES.values()))
    assert {name for _, served in catalogue.chosen((), quick=True) for name in served} == set(catalogue.QUICK)
    assert catalogue.chosen(("decode", "prefill"), quick=False) == [(speed.speed, frozenset({"prefill", "decode"}))]
    with pytest.raises(GemmaError, match="there is no suite speed: choose from load, prefill"):
        catalogue.chosen(("speed",), quick=False)


def test_generated_rates() -> None:
    assert Generated((1, 2, 3, 4), (1.0, 1.5, 2.0, 2.5), 8, 0, 0).decode == 2.0
    rounds = Generated((1,) * 7, (1.0, 2.0, 2.0, 2.0, 3.0, 3.0, 3.0), 8, 0, 0)
    assert rounds.decode == 3.0  # those of the round that ended when the clock began do not count
    assert Generated((1, 2, 3), (1.0, 2.0, 2.0), 8, 0, 0).decode == 0.0
    assert Generated((1, 2), (1.0, 2.0), 8, 0, 0).decode == 0.0


def test_a_peer_that_is_missing_or_too_large_is_left_out_of_the_suites_in_other_processes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, skipped: dict[str, str]
) -> None:
    assert not bench.has_vlm("turn")
    both = replace(bench, peers={"mlx-vlm": None})
    assert both.has_vlm("turn", models=2)
    assert not skipped
    monkeypatch.setattr(benches, "_TOGETHER", 0.0)
    assert both.has_vlm("conversion")
    assert not both.has_vlm("turn", models=2)
    assert "memory" in skipped["turn, mlx-vlm"]
    monkeypatch.setattr(benches, "find_spec", lambda _: None)
    assert not both.has_vlm("conversion")
    assert "pip install mlx-vlm" in skipped["conversion, mlx-vlm"]


def test_workers_plan_as_the_run_does(bench: Bench) -> None:
    prepared = prepare(bench.model, LoadOptions("float32", context=900, memory=2**31, draft="off"))
    assert replace(bench, prepared=prepared).settings() == Settings("float32", memory=2**31, context=900)
    assert replace(bench, prepared=prepared).settings(drafter=True).drafter is None
