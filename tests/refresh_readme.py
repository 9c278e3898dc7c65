"""Writes into the README's transcripts what the demo model says now: `python -m tests.refresh_readme`.

Run it after the demo model changed, and read the difference before you keep it.
"""

import os
import re
import shlex

import mlx.core as mx

from gemma_mlx.options import MODEL_VARIABLE
from gemma_mlx.terminal.repl import GREETING
from tests.command import gemma_mlx
from tests.test_readme import README, ROOT, Transcript, transcripts


def replay(transcript: Transcript) -> str:
    """The block of a transcript anew: the command, and what was typed and printed in turn."""
    arguments = shlex.split(transcript.command)[1:]
    mx.reset_peak_memory()
    lines = transcript.typed.splitlines(keepends=True)
    seen = gemma_mlx(*arguments).screen
    text = f"$ {transcript.command}\n{seen}"
    if lines:
        text += GREETING + "\n"
    for count in range(1, len(lines) + 1):
        screen = gemma_mlx(*arguments, stdin="".join(lines[:count]).encode()).screen
        text += "> " + lines[count - 1] + screen.removeprefix(seen)
        seen = screen
    return for_readers(text) if "--json" in arguments else text


def for_readers(text: str) -> str:
    """One line a key, and no path of this machine."""
    text = re.sub(r'"path": "[^"]*/gemma_mlx/', '"path": "…/gemma_mlx/', text)
    return re.sub(r', ("(?:tokens|usage|timing|draft|memory|model)":)', r",\n \1", text)


def main() -> None:
    os.chdir(ROOT)
    os.environ.pop(MODEL_VARIABLE, None)
    text = README
    for transcript in transcripts():
        start = text.index(f"$ {transcript.command}\n")
        stop = min(at for at in (text.find("\n$ ", start), text.index("\n```", start)) if at >= 0) + 1
        text = text[:start] + replay(transcript) + text[stop:]
    (ROOT / "README.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
