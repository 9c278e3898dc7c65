"""The line that a pull ends with."""

from gemma_mlx.models import models_directory
from tests.command import gemma_mlx

WAITING = "; trying again for up to "


def fault(*arguments: str) -> str:
    """The one line that a pull ends with; lines that were said before it, while all was well, do not count."""
    run = gemma_mlx("pull", *arguments)
    assert run.code == 1, run
    assert run.out == ""
    *said, line = run.err.splitlines()
    assert all(
        line.startswith(("4bit: 4-bit", "assistant: 16-bit", "asking the Hub")) or WAITING in line for line in said
    )
    assert len(line) < 500
    assert not [path for path in models_directory().glob("*") if not path.name.startswith(".")]
    return line
