"""Counters of energy: which count, their wrap, and None wherever one is missing."""

import platform
import sys
import time
from pathlib import Path

import pytest

from gemma_mlx.benchmarks import power
from gemma_mlx.benchmarks.power import Channel, Energy

RANGE = 1_000_000
FIRST: list[Channel] = [
    ("CPU Energy", "mJ", 1000),
    ("PCPU0", "mJ", 500),
    ("GPU Energy", "nJ", 2_000_000_000),
    ("ANE0", "mJ", 0),
    ("ANE0_SRAM", "mJ", 7),
    ("DRAM0", "uJ", 0),
    ("PCIe Port 0 Energy", "mJ", 3),
    ("GPU CS Voltage", "", 9),
]
SECOND: list[Channel] = [
    ("CPU Energy", "mJ", 3500),
    ("PCPU0", "mJ", 1700),
    ("GPU Energy", "nJ", 7_000_000_000),
    ("ANE0", "mJ", 100),
    ("ANE0_SRAM", "mJ", 70),
    ("DRAM0", "uJ", 400_000),
    ("PCIe Port 0 Energy", "mJ", 99),
    ("GPU CS Voltage", "", 1),
]


def zone(root: Path, place: str, name: str, energy: int | str) -> None:
    folder = root / place
    folder.mkdir(exist_ok=True)
    for file, text in (("name", name), ("energy_uj", energy), ("max_energy_range_uj", RANGE)):
        (folder / file).write_text(f"{text}\n")


def zones(root: Path, package: int | str, memory: int = 0) -> None:
    zone(root, "intel-rapl:0", "package-0", package)
    zone(root, "intel-rapl:0:0", "core", 77)
    zone(root, "intel-rapl:0:1", "dram", memory)
    zone(root, "intel-rapl:1", "psys", 99)
    zone(root, "intel-rapl-mmio:0", "package-0", package)


def test_packages_and_memory_count_once(tmp_path: Path) -> None:
    zones(tmp_path, 100_000, 20)
    end = power.begin_rapl(tmp_path)
    zones(tmp_path, 600_000, 50)
    zone(tmp_path, "intel-rapl:0:0", "core", 400_000)
    zone(tmp_path, "intel-rapl:1", "psys", 900_000)
    assert end() == pytest.approx(0.500030)


def test_a_counter_that_begins_again(tmp_path: Path) -> None:
    zones(tmp_path, RANGE - 10)
    end = power.begin_rapl(tmp_path)
    zones(tmp_path, 5)
    assert end() == pytest.approx(15e-6)


def test_nothing_taken_is_not_nothing_known(tmp_path: Path) -> None:
    zones(tmp_path, 5)
    assert power.begin_rapl(tmp_path)() == 0


def test_counters_that_cannot_be_read(tmp_path: Path) -> None:
    assert power.begin_rapl(tmp_path / "absent")() is None
    assert power.begin_rapl(tmp_path)() is None
    zones(tmp_path, "")
    assert power.begin_rapl(tmp_path)() is None
    zones(tmp_path, 5)
    end = power.begin_rapl(tmp_path)
    (tmp_path / "intel-rapl:0:1" / "energy_uj").unlink()
    assert end() is None
    (tmp_path / "intel-rapl:0:1" / "energy_uj").mkdir()  # as one that only root may read: an OSError for root too
    assert power.begin_rapl(tmp_path)() is None


def test_a_package_that_appears_meanwhile(tmp_path: Path) -> None:
    zones(tmp_path, 5)
    end = power.begin_rapl(tmp_path)
    zone(tmp_path, "intel-rapl:2", "package-1", 5)
    assert end() is None


def test_totals_of_a_chip_count_in_their_units() -> None:
    assert power.joules_between(FIRST, SECOND) == pytest.approx(2.5 + 5 + 0.1 + 0.4)
    assert power.joules_between(FIRST, FIRST) == 0


def test_each_die_counts() -> None:
    first: list[Channel] = [("DIE_0_CPU Energy", "mJ", 0), ("DIE_1_CPU Energy", "mJ", 0), ("GPU Energy", "mJ", 0)]
    second: list[Channel] = [(name, unit, 1000 * index) for index, (name, unit, _) in enumerate(first)]
    assert power.joules_between(first, second) == pytest.approx(3)


@pytest.mark.parametrize("missing", ["CPU Energy", "GPU Energy"])
def test_a_total_without_its_largest_parts_is_none(missing: str) -> None:
    first, second = ([each for each in sample if each[0] != missing] for sample in (FIRST, SECOND))
    assert power.joules_between(first, second) is None
    assert power.joules_between(FIRST, second) is None


def test_unknown_units_are_none() -> None:
    strange: list[Channel] = [("CPU Energy", "mW", 1), ("GPU Energy", "mJ", 1)]
    assert power.joules_between(strange, strange) is None
    assert power.joules_between([], []) is None


def child(tmp_path: Path, code: str) -> list[str]:
    """A command that stands in for the child which asks macOS."""
    (tmp_path / "child.py").write_text(f"import json, sys\nfirst, second = {FIRST!r}, {SECOND!r}\n{code}\n")
    return [sys.executable, str(tmp_path / "child.py")]


def test_a_child_reads_before_and_after(tmp_path: Path) -> None:
    code = "print(json.dumps(first), flush=True)\nsys.stdin.read()\nprint(json.dumps(second))"
    assert power.begin_macos(child(tmp_path, code))() == pytest.approx(8.0)


@pytest.mark.parametrize(
    "code",
    [
        "import os; os.abort()",
        "sys.exit('no such group')",
        "print(json.dumps(first), flush=True); sys.stdin.read(); import os; os.abort()",
        "print(json.dumps(first), flush=True)",
        "print(json.dumps(first)); sys.stdin.read(); print(json.dumps(second)); sys.exit(1)",
        "print('{', flush=True); sys.stdin.read(); print(json.dumps(second))",
        "",
    ],
)
def test_a_child_that_fails_is_none(tmp_path: Path, code: str) -> None:
    assert power.begin_macos(child(tmp_path, code))() is None


@pytest.mark.parametrize("when", ["import time; time.sleep(60)", "sys.stdin.read(); import time; time.sleep(60)"])
def test_a_child_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    monkeypatch.setattr(power, "_SECONDS", 0.5)
    first = "print(json.dumps(first), flush=True); " if "stdin" in when else ""
    start = time.monotonic()
    assert power.begin_macos(child(tmp_path, first + when))() is None
    assert time.monotonic() - start < 30


def test_the_child_itself() -> None:
    """Without the library it fails; where it is, time takes energy or a channel is missing."""
    joules = power.begin_macos()()
    assert joules is None or (platform.system() == "Darwin" and joules >= 0)


def test_the_span_of_a_with(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = iter([10.0, 12.5])

    def begin() -> power.Meter:
        first = next(counts)
        return lambda: next(counts) - first

    monkeypatch.setattr(power, "begin", begin)
    energy = Energy()
    assert energy.joules is None
    with energy:
        assert energy.joules is None
    assert energy.joules == 2.5


def test_each_system_has_its_counters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "begin_macos", lambda: lambda: 1.0)
    monkeypatch.setattr(power, "begin_rapl", lambda: lambda: 2.0)
    for system, expected in (("Darwin", 1.0), ("Linux", 2.0)):
        monkeypatch.setattr(platform, "system", lambda system=system: system)
        with Energy() as energy:
            pass
        assert energy.joules == expected
