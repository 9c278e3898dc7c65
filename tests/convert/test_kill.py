"""A conversion that is killed at any moment leaves nothing that loads, and the same command finishes it."""

import random
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from gemma_mlx.convert.recipes import RECIPES
from gemma_mlx.convert.run import convert
from gemma_mlx.errors import GemmaError
from gemma_mlx.loading import load_model
from tests.convert import checkpoints
from tests.convert.killed import SIZES

MOMENTS = 20


@dataclass(frozen=True)
class Whole:
    """A source, what an uninterrupted conversion makes of it, and how often that touches the disk."""

    source: Path
    files: dict[str, bytes]
    touches: int


def killed(source: Path, output: Path, moment: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.convert.killed", str(source), str(output), str(moment)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, cwd=Path(__file__).parents[2]
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    directory = tmp_path_factory.mktemp("whole")
    source = checkpoints.target(directory / "source")
    run = killed(source, directory / "out", 0)
    assert run.returncode == 0, run.stderr
    return Whole(source, checkpoints.contents(directory / "out"), int(run.stdout))


def is_broken(directory: Path, whole: Whole) -> bool:
    """Whether a directory loads although it is not the finished model."""
    try:
        load_model(directory)
    except GemmaError:
        return False
    return checkpoints.contents(directory) != whole.files


@pytest.mark.parametrize("place", range(MOMENTS))
def test_killed_and_run_again(whole: Whole, tmp_path: Path, place: int) -> None:
    first, last = (edge * whole.touches // MOMENTS for edge in (place, place + 1))
    moment = random.Random(place).randrange(first, last) + 1
    output = tmp_path / "out"
    assert killed(whole.source, output, moment).returncode == -signal.SIGKILL
    assert not is_broken(output, whole)
    assert not is_broken(tmp_path / ".out.partial", whole)
    report = convert(whole.source, output, RECIPES["4bit"], sizes=SIZES)
    assert checkpoints.contents(output) == whole.files
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert place < MOMENTS // 2 or report.resumed > 0 or moment == whole.touches


@pytest.mark.parametrize("from_the_end", range(10))
def test_the_last_moments_of_replacing(whole: Whole, tmp_path: Path, from_the_end: int) -> None:
    """Where the old model goes and the new one appears: one of them is there whole, or none is."""
    output = tmp_path / "out"
    convert(whole.source, output, RECIPES["8bit"])
    old = checkpoints.contents(output)
    moment = whole.touches + 1 - from_the_end  # one rename more than without an old model
    assert killed(whole.source, output, moment).returncode == -signal.SIGKILL
    assert checkpoints.contents(output) in (old, whole.files, {})
    convert(whole.source, output, RECIPES["4bit"], force=True, sizes=SIZES)
    assert checkpoints.contents(output) == whole.files
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("from_the_end", range(4))
def test_the_last_moments(whole: Whole, tmp_path: Path, from_the_end: int) -> None:
    """Where the directory has appeared and what led to it is tidied up, nothing is left to force."""
    output = tmp_path / "out"
    assert killed(whole.source, output, whole.touches - from_the_end).returncode == -signal.SIGKILL
    assert not is_broken(output, whole)
    convert(whole.source, output, RECIPES["4bit"], sizes=SIZES)
    assert checkpoints.contents(output) == whole.files
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
