"""What the command does with outputs that are closed, full or of few characters, as a shell would start it."""

import builtins
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import gemma_mlx as package
from gemma_mlx.commands.shared import _prompted
from tests.command import gemma_mlx

FULL = Path("/dev/full")


def shell(line: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line in which `$G` is the program."""
    script = f'G() {{ "{sys.executable}" -m gemma_mlx "$@"; }}; {line.replace("$G", "G")}'
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(["sh", "-c", script], capture_output=True, timeout=120, check=False, env=environment)


@pytest.mark.parametrize("command", ["$G ask hello", "$G ask hello --json", "echo hello | $G chat", "$G --version"])
@pytest.mark.parametrize(
    "where",
    [
        ">&-",
        pytest.param(">/dev/full", marks=pytest.mark.skipif(not FULL.exists(), reason="no /dev/full on this system")),
    ],
)
def test_an_output_that_cannot_be_written_is_one_line(command: str, where: str) -> None:
    run = shell(f"{command} {where}")
    assert run.returncode == 1
    line = run.stderr.decode().splitlines()[-1]
    assert "output" in line
    assert ": send it" in line
    assert b"Traceback" not in run.stderr
    assert b"Exception" not in run.stderr


@pytest.mark.parametrize("command", ["ask hello", "ask hello --json"])
def test_a_reader_that_has_left_ends_it_without_a_word(command: str) -> None:
    run = shell(f"{{ $G {command} --model demo; echo $? >&2; }} | true")
    assert run.stderr.decode().splitlines()[-1] == "1"
    assert len(run.stderr.splitlines()) == 2, run.stderr  # with the notice


def test_a_closed_input_is_an_empty_one() -> None:
    assert shell("$G ask hello <&-").returncode == 0
    assert shell("$G chat <&-").returncode == 0


def test_an_output_of_few_characters_gets_the_answer_all_the_same() -> None:
    hot = "--temperature 20 --top-k 0 --top-p 1 --max-tokens 60 --seed 1"
    whole = gemma_mlx("ask", "tell me", *hot.split(), "--json").out
    expected = json.loads(whole)["text"]
    assert not expected.isascii()
    printed = shell(f"PYTHONIOENCODING=ascii $G ask 'tell me' {hot}")
    assert printed.returncode == 0
    assert printed.stdout.decode() == expected.encode("ascii", "replace").decode() + "\n"
    as_json = shell(f"PYTHONIOENCODING=ascii $G ask 'tell me' {hot} --json")
    assert json.loads(as_json.stdout)["text"] == expected


def test_ctrl_d_ends_the_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def left(_: str) -> str:
        raise EOFError

    monkeypatch.setattr(builtins, "input", left)
    with pytest.raises(EOFError):
        _prompted()
    assert capsys.readouterr().out == "\n"


def test_the_version() -> None:
    assert gemma_mlx("--version").out == package.__version__ + "\n"
