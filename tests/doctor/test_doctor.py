"""`gemma-mlx doctor` as a person and a script see it, on this machine and on Macs that are faked fact by fact."""

import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlx.core as mx
import pytest

from gemma_mlx.commands.doctor import Report, render
from gemma_mlx.doctor import checks, golden, linux, macos, measure, permissions
from gemma_mlx.doctor.finding import Finding, State
from gemma_mlx.doctor.measure import Measured
from gemma_mlx.doctor.system import Build
from gemma_mlx.errors import ContextError
from gemma_mlx.inputs.tokenizer import load_tokenizer
from gemma_mlx.loading import Prepared, load
from gemma_mlx.memory.sizes import GIB
from gemma_mlx.memory.values import Machine
from gemma_mlx.models import find_model
from gemma_mlx.options import MODEL_VARIABLE
from tests.command import Run, gemma_mlx
from tests.doctor import recordings

NAMES = ["chip", "Python", "MLX", "memory", "free memory", "swap", "model", "bits", "drafter", "fit", "disk"]


@pytest.fixture(autouse=True)
def plain_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MODEL_VARIABLE, raising=False)
    monkeypatch.setenv("GEMMA_MLX_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10**12))


def doctor_json(*arguments: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(gemma_mlx("doctor", *arguments, "--json").out)
    return answer


def states(findings: list[dict[str, str]]) -> dict[str, str]:
    return {finding["name"]: finding["state"] for finding in findings}


def test_every_check_is_one_line() -> None:
    run = gemma_mlx("doctor", "--model", "demo")
    *lines, summary = run.out.splitlines()
    assert run.err == ""
    assert any(line.startswith("ok       free memory") and "a conversation needs" in line for line in lines)
    assert all(line.split()[0] in ("ok", "warning", "fix") for line in lines)
    assert summary.endswith("nothing to fix")
    assert "\x1b" not in run.out
    assert run.code == 0
    for name in NAMES:
        assert sum(line[9:].startswith(f"{name} ") for line in lines) == 1, name


def test_json_says_the_same_as_the_lines() -> None:
    answer = doctor_json()
    lines = gemma_mlx("doctor").out.splitlines()
    assert [finding["name"] for finding in answer["checks"]] == [line[9:22].strip() for line in lines[:-1]]
    for state in ("ok", "warning", "fix"):
        assert answer[state] == list(states(answer["checks"]).values()).count(state)
    assert {key for finding in answer["checks"] for key in finding} == {"name", "state", "text", "advice"}


def test_something_to_fix_is_exit_status_1(tmp_path: Path) -> None:
    run = gemma_mlx("doctor", "--model", tmp_path)
    assert run.code == 1
    assert run.err == ""
    assert str(tmp_path / "config.json") in run.out
    assert "1 to fix" in run.out.splitlines()[-1]
    assert doctor_json("--model", str(tmp_path))["fix"] == 1


@pytest.mark.parametrize("option", ["--golden", "--measure"])
def test_nothing_is_loaded_before_it_is_fixed(option: str, tmp_path: Path) -> None:
    run = gemma_mlx("doctor", option, "--model", tmp_path)
    assert run.code == 1
    assert run.err == "no model is loaded before that is fixed\n"
    assert "1 to fix" in run.out


def test_a_cpu_is_no_place_for_other_types(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks.platform, "system", lambda: "Linux")
    monkeypatch.setattr(checks, "_computes_on_cpu", lambda: True)
    assert states(doctor_json()["checks"])["precision"] == "ok"
    assert states(doctor_json("--dtype", "bfloat16")["checks"])["precision"] == "warning"


def test_mlx_that_cannot_be_imported_is_the_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlx.core", None)
    run = gemma_mlx("doctor")
    assert run.code == 1
    assert run.out.startswith("fix      MLX           cannot be imported")


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (["ok", "ok"], "2 ok, 0 warnings, nothing to fix"),
        (["warning"], "0 ok, 1 warning, nothing to fix"),
        (["warning", "fix", "warning", "fix"], "0 ok, 2 warnings, 2 to fix"),
    ],
)
def test_summary(states: list[State], expected: str) -> None:
    report = Report(None)
    report.section("checks", [Finding("x", state, "y") for state in states[1:]])
    report.section("measure", [Finding("x", states[0], "y")])
    assert report.summary() == expected


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, dict[str, str]]]:
    """A Mac of these facts; returns its findings by name."""

    def facts(
        version: str = "26.2",
        architecture: str = "applegpu_g17g",
        tag: str = "py3-none-macosx_26_0_arm64",
        backend: Any = "metal",
        wired: int = 0,
    ) -> dict[str, dict[str, str]]:
        machine = Machine("Apple M5", backend, 16 * GIB, int(11.84 * GIB), 9 * GIB)
        fakes: list[tuple[object, str, Any]] = [
            (checks.platform, "system", lambda: "Darwin"),
            (mx, "device_info", lambda: {"architecture": architecture}),
            (checks, "_computes_on_cpu", lambda: backend == "cpu"),
            (checks, "this_machine", lambda: machine),
            (checks, "mlx_build", lambda: Build("0.32.4", "mlx-metal", "0.32.4", (tag,))),
            (macos, "version", lambda: version),
            (macos, "swap_used", lambda: 2 * GIB),
            (macos, "wired_limit", lambda: wired),
            (permissions, "microphone", lambda: "denied"),
            (permissions, "screen", lambda: "allowed"),
        ]
        for place, name, fake in fakes:
            monkeypatch.setattr(place, name, fake)
        return {finding["name"]: finding for finding in doctor_json("--model", "demo")["checks"]}

    return facts


def test_an_m5_with_everything_it_needs(mac: Callable[..., dict[str, dict[str, str]]]) -> None:
    found = mac()
    assert {name: finding["state"] for name, finding in found.items() if finding["state"] != "ok"} == {
        "swap": "warning",
        "microphone": "warning",
    }
    assert found["macOS"]["text"] == "26.2"
    assert found["chip"]["text"] == "Apple M5 (applegpu_g17g), MLX uses Metal"
    assert not {"BLAS", "mx.compile", "precision", "GPU limit"} & found.keys()


def test_an_m5_that_reads_slowly(mac: Callable[..., dict[str, dict[str, str]]]) -> None:
    found = mac(version="26.1", tag="py3-none-macosx_15_0_arm64")
    assert [found[name]["state"] for name in ("macOS", "MLX")] == ["warning", "warning"]
    assert "SYSTEM_VERSION_COMPAT=0 pip install" in found["MLX"]["advice"]


def test_the_same_mlx_is_right_for_an_m4(mac: Callable[..., dict[str, dict[str, str]]]) -> None:
    found = mac(version="15.6", architecture="applegpu_g16g", tag="py3-none-macosx_15_0_arm64", wired=14 * GIB)
    assert [found[name]["state"] for name in ("macOS", "MLX", "GPU limit")] == ["ok", "ok", "warning"]


def test_a_mac_without_metal_must_be_fixed(mac: Callable[..., dict[str, dict[str, str]]]) -> None:
    found = mac(backend="cpu", architecture="arm64")
    assert found["chip"]["state"] == "fix"
    assert "BLAS" not in found


def test_what_only_linux_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks.platform, "system", lambda: "Linux")
    monkeypatch.setattr(checks, "_computes_on_cpu", lambda: True)
    monkeypatch.setattr(linux, "fast_blas", lambda: "libopenblas.so.0")
    monkeypatch.setattr(linux, "compiler", lambda: False)
    monkeypatch.setattr(linux, "portaudio", lambda: True)
    monkeypatch.setattr(linux, "display", lambda: ":1")
    found = states(doctor_json()["checks"])
    names = ("system", "BLAS", "mx.compile", "microphone", "screen")
    assert [found[name] for name in names] == ["ok", "ok", "warning", "ok", "ok"]


def test_a_fault_is_a_finding_and_nothing_is_lost() -> None:
    run = gemma_mlx("doctor", "--golden", "--model", "demo")
    *lines, fault, summary = run.out.splitlines()
    assert [line for line in lines if line[9:].startswith("model ")]
    assert fault.startswith("fix      golden ")
    assert "vocabulary of 2048 tokens" in fault
    assert "1 to fix" in summary
    assert (run.code, run.err) == (1, "")
    answer = doctor_json("--golden", "--model", "demo")
    assert states(answer["golden"]) == {"golden": "fix"}
    assert answer["fix"] == 1
    assert len(answer["checks"]) == len(lines)


def test_a_fault_of_measuring_comes_after_what_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise ContextError("the prompt is too long")

    monkeypatch.setattr(measure, "measure", refused)
    answer = doctor_json("--measure", "--model", "demo")
    assert states(answer["measure"]) == {"measure": "fix"}
    assert answer["measure"][0]["text"] == "the prompt is too long"


@pytest.fixture
def demo_recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    gemma = load("demo")
    cases = [recordings.case(gemma, question) for question in recordings.QUESTIONS]
    cases[0]["output_token_ids"][-1] = 700
    path = recordings.write(tmp_path / "golden.json", gemma, cases)
    fake = golden.read_golden(path)
    monkeypatch.setattr(golden, "read_golden", lambda: fake)
    return path


def golden_run(*arguments: str) -> Run:
    return gemma_mlx("doctor", "--golden", "--model", "demo", *arguments)


def test_golden_prints_a_line_for_each_case_and_a_verdict(demo_recordings: Path) -> None:
    run = golden_run()
    lines = run.out.splitlines()
    spelled = load_tokenizer(find_model("demo")).decode([700])
    assert lines[-5].startswith("ok       hello         5 of 6 tokens, token 6 is '")
    assert lines[-5].endswith(f") instead of {spelled!r} (700)")
    assert lines[-4] == "ok       what_can_you_do? 6 of 6 tokens"
    assert "17 of 18 tokens agree (94%), 2 of 3 answers wholly" in lines[-2]
    assert run.code == 0
    assert run.err == ""


def test_golden_as_json_has_the_ids(demo_recordings: Path) -> None:
    answer = json.loads(golden_run("--json").out)
    recorded = json.loads(demo_recordings.read_text())["cases"]
    assert [each["recorded"] for each in answer["replayed"]] == [case["output_token_ids"] for case in recorded]
    assert [each["chosen"] == each["recorded"] for each in answer["replayed"]] == [False, True, True]
    assert states(answer["golden"])["agreement"] == "ok"


def test_measure_prints_both_peaks(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    def fake(prepared: Prepared, progress: object) -> Measured:
        asked.append(prepared.directory)
        return Measured(
            "cpu", 4, 1000, 7_000_000_000, 6_900_000_000, 8_200_000_000, 8_000_000_000, 6_700_000_000, 100.0, 10.0
        )

    monkeypatch.setattr(measure, "measure", fake)
    run = gemma_mlx("doctor", "--measure", "--model", "demo")
    assert run.out.splitlines()[-4:-1] == [
        "ok       loading       6.9 GB at the worst moment, 7.0 GB planned",
        "ok       answering     8.2 GB predicted, 8.0 GB measured, ratio 1.02; beside the weights 1.5 GB and 1.3 GB",
        "ok       speed         100 tokens read and 10.0 written a second, 1000 in all",
    ]
    answer = doctor_json("--measure")
    assert answer["measured"]["predicted_over_measured"] == 1.025
    assert states(answer["measure"]) == {"loading": "ok", "answering": "ok", "speed": "ok"}
    assert asked == [find_model("demo")] * 2


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_colours_and_lines_of_its_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    finding = Finding(
        "BLAS", "warning", "a sentence " * 8, "export LD_PRELOAD=/a/very/long/path/that-stays/in-one.piece"
    )
    first, *others = render(finding, Terminal()).splitlines()
    assert first.startswith("\x1b[33mwarning\x1b[0m  BLAS")
    assert all(line.startswith(" " * 23) for line in others)
    assert " " * 25 + "LD_PRELOAD=/a/very/long/path/that-stays/in-one.piece" in others
    assert " " * 23 + "→ export" in others
    assert max(map(len, [*others[:-1]])) < 60
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in render(finding, Terminal())


def test_a_pipe_gets_one_line() -> None:
    finding = Finding("BLAS", "warning", "a sentence " * 20, "do this")
    assert render(finding, io.StringIO()) == f"warning  BLAS          {finding.text} → do this"


def test_no_weights_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gemma_mlx.loading.load_model", lambda *_, **__: pytest.fail("weights were read"))
    assert gemma_mlx("doctor", "--model", "demo").code == 0
