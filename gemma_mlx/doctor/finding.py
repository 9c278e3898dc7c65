"""One line of the report. Values only."""

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "fix"]


@dataclass(frozen=True)
class Finding:
    """What was found of `name`, and what to do about it. "fix": something does not work before it is done."""

    name: str
    state: State
    text: str
    advice: str = ""

    def __post_init__(self) -> None:
        assert self.state != "ok" or not self.advice, self
