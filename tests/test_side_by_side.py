"""Tests side by side: one that is marked `alone` has no company, others do."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TESTS = """
import time
from pathlib import Path

import pytest

STAYS = Path(__file__).parent / "stays"


@pytest.mark.parametrize("number", range(12))
{mark}
def test(number):
    start = time.monotonic()
    time.sleep(0.05)
    with STAYS.open("a") as stays:
        stays.write(f"{kind} {{start}} {{time.monotonic()}}\\n")
"""


@pytest.mark.parametrize("kind", ["alone", "other"])
def test_who_is_alone_has_no_company(tmp_path: Path, kind: str) -> None:
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    (tmp_path / "pyproject.toml").write_text('[tool.pytest.ini_options]\nmarkers = ["alone"]\n')
    mark = "@pytest.mark.alone" if kind == "alone" else ""
    (tmp_path / "test_one.py").write_text(TESTS.format(kind="other", mark=""))
    (tmp_path / "test_two.py").write_text(TESTS.format(kind=kind, mark=mark))
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2", "--dist", "loadfile"]
    done = subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    lines = [line.split() for line in (tmp_path / "stays").read_text().splitlines()]
    stays = [(name, float(start), float(end)) for name, start, end in lines]
    assert len(stays) == 24
    met = {
        frozenset((one[0], two[0]))
        for i, one in enumerate(stays)
        for two in stays[:i]
        if one[1] < two[2] and two[1] < one[2]
    }
    assert met == ({frozenset({"other"})} if kind == "other" else set())
