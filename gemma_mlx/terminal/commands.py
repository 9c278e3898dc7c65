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
MUTE = Command("/mute", "[on|off]", "let the microphone hear nothing, or listen again", ("on", "off"))
LIVE_COMMANDS = (*COMMANDS[:-2], MUTE, *COMMANDS[-2:])  # with a microphone
NAMES = tuple(command.name for command in COMMANDS)
_INTERRUPT = "Ctrl-C stops an answer; what was shown of it stays in the conversation."
KEYS = (
    "Alt-Enter starts a new line, Tab completes, Ctrl-R searches what you wrote before.\n"
    "A picture, recording or video that is dropped on the window is attached."
)
PUSH_KEYS = "On an empty line, space or Enter begins and ends what you say; while an answer comes, it stops that."


def listed(live: bool) -> Sequence[Command]:
    """The commands that there are, `live` with a microphone."""
    return LIVE_COMMANDS if live else COMMANDS


def explained(commands: Sequence[Command], columns: int | None = None) -> str:
    """What the commands are, a line each; in two columns, where these fit into `columns`."""
    uses = [f"{command.name} {command.takes}".rstrip() for command in commands]
    width = max(map(len, uses))
    wide = [f"{use:{width}}  {command.does}" for use, command in zip(uses, commands, strict=True)]
    narrow = [f"{use}: {command.does}" for use, command in zip(uses, commands, strict=True)]
    fits = columns is None or max(map(len, [*wide, _INTERRUPT])) <= columns
    return "\n".join([*(wide if fits else narrow), _INTERRUPT])


HELP, NARROW_HELP = explained(COMMANDS), explained(COMMANDS, 0)


def split(line: str, live: bool = False) -> tuple[str, str]:
    """The command of a line that begins with "/", and what follows it. Raises `InputError` if there is no such one."""
    name, *rest = line.split(maxsplit=1)
    if name not in NAMES and name != MUTE.name:  # which has its own answer where there is no microphone
        if "/" in name[1:]:
            raise InputError(f"{name} is no command: /attach FILE reads a picture, recording or video")
        near = get_close_matches(name, [command.name for command in listed(live)], n=1, cutoff=0.5)
        hint = f"{near[0]} is, and /help lists them" if near else "/help lists them"
        raise InputError(f"{name} is no command: {hint}")
    return name, rest[0] if rest else ""
