"""`gemma-mlx chat` as a person and a script use it. Runs the demo model."""

import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

from gemma_mlx.models import find_model
from gemma_mlx.options import demo_notice
from gemma_mlx.terminal import BREAK_HINT, WAY_OUT
from tests.command import gemma_mlx, png

DEMO_DIRECTORY = find_model("demo")
GREEDY = ("--temperature", "0")


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
