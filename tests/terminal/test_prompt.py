"""Completion of commands and files, and the file of earlier lines; keys are tested in `test_interactive`."""

import os
from pathlib import Path

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, InMemoryHistory

from gemma_mlx.terminal.commands import NAMES
from gemma_mlx.terminal.prompt import CommandCompleter, _opened


def completed(text: str) -> list[str]:
    """What the text could become."""
    found = CommandCompleter().get_completions(Document(text), CompleteEvent())
    return [text[: len(text) + each.start_position] + each.text for each in found]


def test_commands_and_their_words() -> None:
    assert completed("/") == list(NAMES)
    assert completed("/s") == ["/screen", "/stats", "/save"]
    assert completed("/think o") == ["/think on", "/think off"]
    assert completed("/context ") == ["/context drop", "/context stop"]
    assert completed("/undo ") == []
    assert completed("/nothing x") == []
    assert completed("hello") == []
    assert completed("") == []


def test_files_that_can_be_attached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one two.png", "one.txt", "one.wav"):
        (tmp_path / name).touch()
    (tmp_path / "onwards").mkdir()
    assert completed(f"/attach {tmp_path}/on") == [
        f"/attach {tmp_path}/{name}" for name in ("one two.png", "one.wav", "onwards")
    ]
    monkeypatch.chdir(tmp_path)
    assert completed("/attach one ") == ["/attach one two.png"]


def test_earlier_lines_are_kept_for_this_person_only(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "history"
    assert isinstance(_opened(file), FileHistory)
    assert file.stat().st_mode & 0o777 == 0o600
    assert isinstance(_opened(None), InMemoryHistory)


def test_without_a_place_for_them_none_are_kept(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert isinstance(_opened(tmp_path / "file" / "history"), InMemoryHistory)
    os.mkdir(tmp_path / "history")
    assert isinstance(_opened(tmp_path / "history"), InMemoryHistory)
