"""A child's peak is its own, and its failure is not mistaken for a result."""

import os
from pathlib import Path

import pytest

from gemma_mlx.benchmarks import child

MEGABYTE = 1_000_000


def run(code: str, tmp_path: Path) -> child.Child:
    """Run a module that consists of `code`."""
    (tmp_path / "worker.py").write_text(code)
    return child.run("worker", ["some", "words"], {**os.environ, "PYTHONPATH": str(tmp_path)})


def test_the_peak_is_seen_after_the_memory_is_free_again(tmp_path: Path) -> None:
    small = run("import sys; print(sys.argv[1:], __name__)", tmp_path)
    large = run("block = b'x' * 200_000_000; del block", tmp_path)
    assert small.stdout == "['some', 'words'] __main__\n"
    assert 0 < small.peak_resident_bytes < 150 * MEGABYTE
    assert 190 * MEGABYTE < large.peak_resident_bytes - small.peak_resident_bytes < 210 * MEGABYTE
    assert small.seconds > 0


def test_the_peak_of_the_parent_is_not_the_child_s(tmp_path: Path) -> None:
    block = b"x" * (200 * MEGABYTE)
    assert run("pass", tmp_path).peak_resident_bytes < 150 * MEGABYTE < len(block)


def test_a_failure_ends_the_run_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no such luck"):
        run("raise ValueError('no such luck')", tmp_path)
