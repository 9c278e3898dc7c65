"""The commands of a chat: their names, what they take, what they do in a line. Knows words only."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from gemma_mlx.errors import InputError


@dataclass(frozen=True)
class Command:
    """A command; `words`: what may follow it, for completion."""

    name: str
    takes: str
    does: str
    words: Sequence[str] = ()


COMMANDS = (
    Command("/attach", "FILE", "read a picture, recording or video; it belongs to the next message"),
    Command("/screen", "[window|X,Y,W,H]", "the same with the screen, a window or a part of the screen", ("window",)),
    Command("/paste", "", "the same with the picture in the clipboard"),
    Command("/drop", "", "forget what is attached to the next message"),
    Command("/undo", "", "take back the last question and its answer"),
    Command("/retry", "", "answer the last question again"),
    Command("/edit", "[TEXT]", "change the last question and answer it again"),
    Command("/think", "on|off|show", "let the model think first, or not; show its last thought", ("on", "off", "show")),
    Command("/context", "[drop|stop]", "what is read; when full, drop the oldest turns or stop", ("drop", "stop")),
    Command("/stats", "", "how fast the last answer was"),
    Command("/save", "[NAME]", "save the conversation, under that name from now on"),
    Command("/branch", "[NAME]", "go on in a copy; the conversation so far stays as it is saved"),
    Command("/new", "", "start a new conversation, with the same options"),
    Command("/help", "", "show this"),
    Command("/quit", "", "leave (so do Ctrl-D, and Ctrl-C twice)"),
)
NAMES = tuple(command.name for command in COMMANDS)
_USES = tuple(f"{command.name} {command.takes}".rstrip() for command in COMMANDS)
_WIDTH = max(map(len, _USES))
_INTERRUPT = "Ctrl-C stops an answer; what was shown of it stays in the conversation."
_PAIRS = tuple(zip(_USES, (command.does for command in COMMANDS), strict=True))
HELP = "\n".join([*(f"{use:{_WIDTH}}  {does}" for use, does in _PAIRS), _INTERRUPT])
NARROW_HELP = "\n".join([*(f"{use}: {does}" for use, does in _PAIRS), _INTERRUPT])  # where its columns would break
HELP_WIDTH = max(map(len, HELP.splitlines()))
KEYS = (
    "Alt-Enter starts a new line, Tab completes, Ctrl-R searches what you wrote before.\n"
    "A picture, recording or video that is dropped on the window is attached."
)


def split(line: str) -> tuple[str, str]:
    """The command of a line that begins with "/", and what follows it. Raises `InputError` if there is no such one."""
    name, *rest = line.split(maxsplit=1)
    if name not in NAMES:
        if "/" in name[1:]:
            raise InputError(f"{name} is no command: /attach FILE reads a picture, recording or video")
        near = get_close_matches(name, NAMES, n=1, cutoff=0.5)
        hint = f"{near[0]} is, and /help lists them" if near else "/help lists them"
        raise InputError(f"{name} is no command: {hint}")
    return name, rest[0] if rest else ""
