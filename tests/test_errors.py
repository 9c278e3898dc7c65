"""Messages hold names that strangers chose: they stay one line, and cannot move a terminal's cursor."""

import pytest

from gemma_mlx.errors import CheckpointError, GemmaError


@pytest.mark.parametrize("control", ["\n", "\r", "\x1b[2J", "\x07", "\x7f", "\x9b", "\u2028", "\u202e"])
def test_controls_are_not_printed(control: str) -> None:
    assert str(CheckpointError(f"a{control}b")) == f"a�{control[1:]}b"


def test_what_is_visible_stays() -> None:
    for text in ("", "Bildschirmfoto 9.41\u202fAM.png", "größe 60 × 5, 日本語 🙂", "\udcff"):
        assert str(GemmaError(text)) == text
