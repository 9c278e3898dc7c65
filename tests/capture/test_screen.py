"""Which system is asked for which view."""

from collections.abc import Callable

import pytest
from PIL import Image

from gemma_mlx.capture import screen
from gemma_mlx.capture.region import Region
from gemma_mlx.capture.screen import View


@pytest.mark.parametrize(("system", "module"), [("Darwin", "macos"), ("Linux", "x11")])
@pytest.mark.parametrize(
    ("view", "function"), [("screen", "whole"), ("window", "window"), (Region(1, 2, 3, 4), "part")]
)
def test_a_view_is_asked_of_its_system(
    system: str, module: str, view: View, function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, given = Image.new("RGB", (1, 1)), list[object]()

    def take(*arguments: object) -> Image.Image:
        given.extend(arguments)
        return taken

    say: Callable[[str], None] = print
    monkeypatch.setattr("platform.system", lambda: system)
    monkeypatch.setattr(f"gemma_mlx.capture.{module}.{function}", take)
    assert screen.grab(view, say) is taken
    assert given == {"whole": [], "window": [say], "part": [view]}[function]
