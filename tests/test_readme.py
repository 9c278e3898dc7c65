"""The README says what is true: its options and files exist, its transcripts are what the demo model prints."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

from gemma_mlx.terminal.commands import HELP
from gemma_mlx.terminal.repl import GREETING
from tests.command import gemma_mlx

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCES = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
VERDICT = re.compile(r"which (?:fits this machine|this machine is too small for)")  # on the 12B


@dataclass(frozen=True)
class Transcript:
    """A command, what was typed while it ran, and what it printed."""

    command: str
    typed: str
    printed: str

    def __str__(self) -> str:
        return self.command


def transcripts() -> list[Transcript]:
    """Every `$ gemma-mlx …` of the console blocks; lines after `> ` were typed."""
    found = []
    for kind, body in FENCES:
        for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:] if kind == "console" else ():
            command, _, rest = part.partition("\n")
            lines = rest.splitlines(keepends=True)
            typed = "".join(line.removeprefix("> ") for line in lines if line.startswith("> "))
            printed = "".join(line for line in lines if not line.startswith("> ") and line.strip() != GREETING)
            found.append(Transcript(command, typed, printed))
    return found


def options(*command: str) -> set[str]:
    return set(OPTION.findall(gemma_mlx(*command, "--help").out.partition("Examples:")[0])) - {"--help"}


def test_the_first_two_blocks_are_the_two_commands() -> None:
    (first, install), (second, test) = FENCES[:2]
    assert (first, second) == ("sh", "sh")
    assert re.search(r"venv \.venv\b.*pip install .*gemma-mlx ask ", install, re.DOTALL)
    assert re.search(r"pip install .*\[test\].*pytest", test, re.DOTALL)


COMMANDS = re.findall(r"^ +(\w+) ", gemma_mlx("--help").out.partition("Commands:")[2], re.MULTILINE)


def test_options_of_the_readme_exist_and_none_of_ask_and_chat_is_left_out() -> None:
    named = set(OPTION.findall(re.sub(r"`python -m [^`]*`|pytest .*", "", README))) - {"--help"}
    nested = [("chats", "export"), ("chats", "delete")]
    assert named <= set().union(*map(options, COMMANDS), *(options(*command) for command in nested))
    assert options("ask") | options("chat") <= named


@pytest.mark.parametrize("command", COMMANDS)
def test_the_examples_of_the_help_use_options_that_exist(command: str) -> None:
    examples = gemma_mlx(command, "--help").out.partition("Examples:")[2]
    assert "gemma-mlx" in examples
    assert set(OPTION.findall(examples)) <= options(command)


def test_commands_of_the_readme_exist() -> None:
    assert set(re.findall(r"gemma-mlx ([a-z]+)\b", README)) == set(COMMANDS)


def test_the_commands_of_the_chat_are_described() -> None:
    assert set(re.findall(r"/[a-z]+\b", HELP)) <= set(re.findall(r"/[a-z]+\b", README))


def test_files_that_the_readme_links_or_maps_exist() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)", README) if "://" not in link]
    mapped = re.findall(r"^\| `([\w./-]+)`", README.partition("## Architecture")[2], re.MULTILINE)
    assert links
    assert mapped
    for name in (*links, *mapped):
        assert (ROOT / name).exists(), name


def test_the_map_names_every_module() -> None:
    for path in (ROOT / "gemma_mlx").iterdir():
        if not path.name.startswith(("__", ".")) and path.suffix in ("", ".py"):
            assert re.search(rf"\b{path.stem}\b", README.partition("## Architecture")[2]), path.name


def test_there_are_transcripts_of_text_picture_recording_and_chat() -> None:
    commands = " ".join(t.command for t in transcripts())
    for word in ("gemma-mlx ask", "gemma-mlx chat", "picture.png", "recording.wav", "--json"):
        assert word in commands


@pytest.mark.parametrize("transcript", transcripts(), ids=str)
def test_transcripts_are_what_is_printed(transcript: Transcript, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    program, *arguments = shlex.split(transcript.command)
    assert program == "gemma-mlx"
    screen = VERDICT.sub("which fits this machine", gemma_mlx(*arguments, stdin=transcript.typed.encode()).screen)
    if "--json" in arguments:  # times and bytes are those of one machine, and lines are broken for the reader
        screen, printed = (
            re.sub(r"\s+|\d+\.\d+|\d{5,}|\"path\": \"[^\"]*\"", "", text) for text in (screen, transcript.printed)
        )
        assert screen == printed
    else:
        assert screen == transcript.printed
