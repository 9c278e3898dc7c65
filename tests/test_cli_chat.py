"""`gemma-mlx chat` as a person and a script use it. Runs the demo model."""

import json
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from gemma_mlx.models import find_model
from gemma_mlx.options import demo_notice
from gemma_mlx.terminal.repl import BREAK_HINT, GREETING, WAY_OUT
from tests.command import Run, gemma_mlx, png
from tests.terminal.terminal import Terminal

DEMO_DIRECTORY = find_model("demo")
GREEDY = ("--temperature", "0")
ENDLESS = ("--temperature", "20", "--top-k", "0", "--top-p", "1", "--seed", "1", "--max-tokens", "20000")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Conversations are saved where no other test finds them."""
    monkeypatch.setenv("GEMMA_MLX_HOME", str(tmp_path / "home"))


def test_chat_reads_lines_and_answers_each(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(png(96, 96))
    lines = f"hello\n/attach {picture}\nwhat do you see?\n/attach nowhere.png\n/quit\nnever read\n"
    run = gemma_mlx("chat", *GREEDY, "--image-tokens", "70", stdin=lines.encode())
    assert run.code == 0
    hello = gemma_mlx("ask", "hello", *GREEDY).out.strip()
    assert run.out.startswith(hello + "\n")
    assert len(run.out.splitlines()) >= 2
    assert run.err.splitlines() == [
        demo_notice(),
        f"{picture}: picture, read at 384 × 384 pixels, 64 tokens",
        "nowhere.png does not exist: check the path",
    ]


def test_new_begins_again_and_drop_forgets_the_attachment(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(png(96, 96))
    attach, question = f"/attach {picture}\n", "what do you see?\n"
    options = (*GREEDY, "--image-tokens", "70", "--system", "Be brief.")

    def answers(lines: str) -> list[str]:
        return gemma_mlx("chat", *options, stdin=lines.encode()).out.splitlines()

    (seen,), (unseen,) = answers(attach + question), answers(question)
    assert seen != unseen
    assert answers(f"{attach}/drop\n{question}") == [unseen]
    assert answers(f"{attach}{question}/new\n{question}") == [seen, unseen]
    assert answers(f"{attach}/new\n{question}") == [unseen]


def test_a_full_chat_goes_on_after_new() -> None:
    lines = b"hello\nhello\nhello\nhello\n/new\nhello\n"
    run = gemma_mlx("chat", *GREEDY, "--model", DEMO_DIRECTORY, "--context", "60", stdin=lines)
    assert run.err.splitlines()[-2].endswith(WAY_OUT)
    assert run.err.splitlines()[-1] == "new conversation"
    assert run.out.splitlines()[0] == run.out.splitlines()[-1]


def test_chat_ends_with_its_input() -> None:
    assert gemma_mlx("chat", stdin=b"").code == 0
    assert gemma_mlx("chat", stdin=b"hello").out.strip()


def test_ctrl_c_twice_leaves_the_chat_with_130() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "gemma_mlx", "chat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )
    timer = threading.Timer(60, process.kill)
    timer.start()
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdin.write("hello\n")
    process.stdin.flush()
    assert process.stdout.readline().strip()
    line = process.stderr.readline()
    while BREAK_HINT not in line:  # the first may still meet the end of the reply
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        line = process.stderr.readline().strip() or process.stderr.readline()
        assert line, "it ended before the second Ctrl-C"
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate()
    timer.cancel()
    assert process.returncode == 130
    assert rest.strip() == ""


def lines_of(*lines: str, options: tuple[str, ...] = ()) -> Run:
    """A chat through a pipe."""
    return gemma_mlx("chat", *GREEDY, *options, stdin="".join(f"{line}\n" for line in lines).encode())


def test_what_comes_through_a_pipe_is_saved_only_if_it_is_named() -> None:
    assert "saved" not in lines_of("hello").err
    assert gemma_mlx("chats").out == ""
    assert lines_of("hello", options=("--save", "talk")).err.splitlines()[-1] == "saved: gemma-mlx chat --resume talk"
    assert lines_of("hello", options=("--save", "talk")).err.splitlines()[-1].startswith("there is a conversation talk")
    resumed = lines_of("hello", options=("--resume", "talk"))
    hello = lines_of("hello").out
    assert resumed.err.splitlines()[1:3] == ["> hello", hello.strip()]
    assert resumed.out.count("\n") == 1
    lines_of("hello", options=("--resume", "last", "--no-save"))
    assert "  2  " in gemma_mlx("chats").out.splitlines()[1]  # turns


def test_a_resumed_conversation_goes_on_where_it_was() -> None:
    whole = lines_of("hello", "what is it?", "thanks").out.splitlines()
    assert lines_of("hello", "what is it?", options=("--save", "a")).out.splitlines() == whole[:2]
    assert lines_of("/undo", "what is it?", "thanks", options=("--resume", "a")).out.splitlines() == whole[1:]


def test_undo_edit_and_retry_through_a_pipe() -> None:
    run = lines_of("hello", "/retry", "/edit what is it?", "/undo", "what is it?", "/branch", "/think show")
    first, second, *rest = run.out.splitlines()
    assert first == second
    assert len(rest) == 2
    assert rest[0] == rest[1] != first
    assert run.err.splitlines()[1:] == [
        "took back: what is it?",
        "saved: gemma-mlx chat --resume " + run.err.splitlines()[2].rpartition(" ")[2],
        "there was no thought in the last answer: /think on asks for them",
        run.err.splitlines()[-1],
    ]


def test_a_full_chat_drops_the_oldest_turns_if_told_so() -> None:
    lines = ("hello", "hello", "hello", "hello")
    small = ("--model", str(DEMO_DIRECTORY), "--context", "80")
    assert lines_of(*lines, options=small).err.splitlines()[-1].endswith(WAY_OUT)
    for run in (
        lines_of(*lines, options=(*small, "--when-full", "drop")),
        lines_of("/context drop", *lines, options=small),
    ):
        assert len(run.out.splitlines()) == 4
        assert "no longer read" in run.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--save", "a", "--no-save"), "cannot go with --no-save"),
        (("--save", "a", "--resume", "b"), "has a name"),
        (("--system", "a", "--resume", "b"), "keeps its own"),
        (("--when-full", "burst"), "burst"),
    ],
)
def test_options_that_cannot_go_together_are_wrong_usage(options: tuple[str, ...], said: str) -> None:
    run = lines_of(options=options)
    assert run.code == 2
    assert said in run.err


def test_a_conversation_that_is_not_there_is_one_line() -> None:
    assert lines_of(options=("--resume", "nowhere")).code == 1
    assert "nowhere" in lines_of(options=("--resume", "nowhere")).err.splitlines()[-1]
    assert "no conversation is saved yet" in lines_of(options=("--resume", "last")).err
    assert "is no name" in lines_of(options=("--save", "../a")).err


def test_at_a_terminal_it_answers_saves_and_goes_on(tmp_path: Path) -> None:
    arguments = ("-m", "gemma_mlx", "chat", *GREEDY, "--model", DEMO_DIRECTORY)
    with Terminal(*arguments, columns=100, home=tmp_path) as terminal:
        terminal.until_line(">")
        assert terminal.screen.text[0] == GREETING
        terminal.type("hello\r")
        terminal.until(lambda lines: "tokens/s" in lines[-1])
        answer = gemma_mlx("ask", "hello", *GREEDY).out.strip()
        assert terminal.screen.text[1:4] == ["> hello", answer, ">"]
        terminal.type("\x04")
        assert terminal.end() == 0
        kept = terminal.screen.text[-1]
        assert kept.startswith("saved: gemma-mlx chat --resume 20")
    with Terminal(*arguments, "--resume", "last", columns=100, home=tmp_path) as terminal:
        terminal.until_line(">")
        assert terminal.screen.text[:4] == ["> hello", answer, GREETING, ">"]
        terminal.type("\x03")
        terminal.until_line(BREAK_HINT)
        terminal.type("\x03")
        assert terminal.end() == 130
        assert terminal.screen.text[-1] == kept


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_what_was_shown_is_kept_when_the_window_is_closed(number: signal.Signals, tmp_path: Path) -> None:
    with Terminal("-m", "gemma_mlx", "chat", *ENDLESS, columns=60, home=tmp_path) as terminal:
        terminal.until_line(">")
        terminal.type("hello\r")
        terminal.until(lambda lines: len(lines) > 6 and not lines[-1].startswith("0 of"))
        terminal.child.kill(number)
        assert terminal.end() == 128 + number
    (record,) = tmp_path.rglob("conversation.json")
    assert [message["role"] for message in json.loads(record.read_text())["messages"]] == ["user", "assistant"]


def test_at_a_terminal_ctrl_c_stops_the_answer_only(tmp_path: Path) -> None:
    with Terminal("-m", "gemma_mlx", "chat", *ENDLESS, "--no-save", columns=60, home=tmp_path) as terminal:
        terminal.until_line(">")
        terminal.type("hello\r")
        terminal.until(lambda lines: len(lines) > 6 and not lines[-1].startswith("0 of"))
        terminal.type("\x03")
        terminal.until_line("[stopped]")
        terminal.until(lambda lines: lines[-1].endswith("demo"))
        terminal.type("/context\r")
        terminal.until(lambda lines: any(line.endswith(": 1 turn") for line in lines))
        terminal.type("/quit\r")
        assert terminal.end() == 0
    assert not (tmp_path / "history").exists()
