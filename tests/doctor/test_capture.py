"""Verdicts on microphone and screen."""

from typing import get_args

import pytest

from gemma_mlx.doctor import capture
from gemma_mlx.doctor.permissions import Permission

STATES = {"allowed": "ok", "not asked": "ok", "denied": "warning", "restricted": "warning", "unknown": "warning"}


@pytest.mark.parametrize("permission", get_args(Permission))
def test_microphone(permission: Permission) -> None:
    found = capture.microphone(permission, "iTerm")
    assert found.state == STATES[permission]
    assert ("iTerm" in found.text) == (permission != "restricted")
    if permission == "denied":
        assert "allow iTerm" in found.advice


@pytest.mark.parametrize("permission", get_args(Permission))
def test_screen_is_never_more_than_a_warning(permission: Permission) -> None:
    found = capture.screen(permission, "Terminal")
    assert found.state == ("ok" if permission == "allowed" else "warning")


def test_the_app_of_the_terminal() -> None:
    assert capture.app("Apple_Terminal") == "Terminal"
    assert capture.app("something new") == capture.app(None) == "your terminal"


def test_linux() -> None:
    assert [capture.portaudio(found).state for found in (True, False)] == ["ok", "warning"]
    assert [capture.display(name).state for name in (":0", None)] == ["ok", "warning"]
