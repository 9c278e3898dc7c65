"""Costs of drafting from one session to the next: what is remembered comes back, and no file is ever a fault."""

import json
import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gemma_mlx import calibration
from gemma_mlx.calibration import Setting, costs_file, known_costs, remember_costs
from gemma_mlx.generation.costs import Costs

SETTING = Setting(device="Apple M4", model="12b", drafter="assistant", dtype="bfloat16")
COSTS = Costs({1: 1.1, 3: 1.28, 8: 2.5}, 300)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GEMMA_MLX_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_comes_back(home: Path) -> None:
    assert known_costs(SETTING) is None
    assert remember_costs(SETTING, COSTS)
    assert known_costs(SETTING) == COSTS
    assert [path.name for path in home.iterdir()] == ["draft-costs.json"]


def test_later_costs_replace_earlier_ones_and_leave_others_alone() -> None:
    other = replace(SETTING, model="another")
    assert remember_costs(SETTING, COSTS)
    assert remember_costs(other, Costs({2: 3.0}, 0))
    assert remember_costs(SETTING, Costs({4: 2.0}, 9))
    assert known_costs(SETTING) == Costs({4: 2.0}, 9)
    assert known_costs(other) == Costs({2: 3.0}, 0)


@pytest.mark.parametrize("field", ["device", "model", "drafter", "dtype"])
def test_another_setting_has_other_costs(field: str) -> None:
    assert remember_costs(SETTING, COSTS)
    values = {**vars(SETTING), field: "other"}
    assert known_costs(Setting(**values)) is None


def test_another_mlx_has_other_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert remember_costs(SETTING, COSTS)
    monkeypatch.setattr(calibration, "version", lambda _: "9.9")
    assert known_costs(SETTING) is None


def test_nothing_measured_is_not_remembered(home: Path) -> None:
    assert not remember_costs(SETTING, Costs())
    assert not home.exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b"0" * 2**21])
def test_damaged_files_are_passed_over_and_replaced(content: bytes) -> None:
    costs_file().parent.mkdir()
    costs_file().write_bytes(content)
    assert known_costs(SETTING) is None
    assert remember_costs(SETTING, COSTS)
    assert known_costs(SETTING) == COSTS


@pytest.mark.parametrize(
    "entry",
    [
        None,
        [],
        {},
        {"ratios": {}, "position": 0},
        {"ratios": {"1": 1.2}},
        {"ratios": {"1": 1.2}, "position": -1},
        {"ratios": {"1": 1.2}, "position": True},
        {"ratios": {"1": 0.5}, "position": 0},
        {"ratios": {"1": True}, "position": 0},
        {"ratios": {"1": "1.2"}, "position": 0},
        {"ratios": {"1": float("nan")}, "position": 0},
        {"ratios": {"1": float("inf")}, "position": 0},
        {"ratios": {"0": 1.2}, "position": 0},
        {"ratios": {"9": 1.2}, "position": 0},
        {"ratios": {"1.5": 1.2}, "position": 0},
    ],
)
def test_foreign_entries_are_passed_over(entry: Any) -> None:
    assert remember_costs(SETTING, COSTS)
    costs_file().write_text(json.dumps({SETTING.key(): entry}))
    assert known_costs(SETTING) is None


def test_directories_in_the_way_are_no_fault() -> None:
    costs_file().mkdir(parents=True)
    assert known_costs(SETTING) is None
    assert not remember_costs(SETTING, COSTS)
    assert os.listdir(costs_file().parent) == ["draft-costs.json"]


def test_a_home_that_is_a_file_is_no_fault(home: Path) -> None:
    home.write_text("")
    assert known_costs(SETTING) is None
    assert not remember_costs(SETTING, COSTS)


def test_a_full_disk_leaves_the_old_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert remember_costs(SETTING, COSTS)

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", full)
    assert not remember_costs(SETTING, Costs({1: 5.0}, 0))
    assert known_costs(SETTING) == COSTS
    assert [path.name for path in home.iterdir()] == ["draft-costs.json"]


def test_is_bounded(home: Path) -> None:
    for number in range(70):
        assert remember_costs(replace(SETTING, model=str(number)), COSTS)
    assert len(json.loads(costs_file().read_text())) == 64
    assert known_costs(replace(SETTING, model="69")) == COSTS
    assert known_costs(replace(SETTING, model="5")) is None
    assert stat.S_ISREG((home / "draft-costs.json").stat().st_mode)


def test_without_a_home_the_users_cache_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GEMMA_MLX_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert costs_file().parts[-2:] in (("gemma-mlx", "draft-costs.json"), ("Caches", "draft-costs.json"))
