"""The line that a person writes on a terminal: editing, history, completion, several lines, a status line below.

Knows keys and files: no conversation.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import has_focus
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.layout.processors import TabsProcessor
from prompt_toolkit.styles import Style

from gemma_mlx.terminal.commands import COMMANDS
from gemma_mlx.terminal.paths import is_medium

_PROMPT, _CONTINUED = "> ", "  "
_STYLE = Style.from_dict({"bottom-toolbar": "noreverse fg:ansibrightblack"})


class Prompt:
    """Asks for lines. `history`: the file of earlier ones, None to keep none; `status(width)`: the line below."""

    def __init__(self, history: Path | None, status: Callable[[int], str]) -> None:
        self._session: PromptSession[str] = PromptSession(
            _PROMPT,
            multiline=True,
            prompt_continuation=_CONTINUED,
            key_bindings=_keys(),
            history=_opened(history),
            completer=CommandCompleter(),
            complete_while_typing=False,
            bottom_toolbar=lambda: status(get_app().output.get_size().columns),
            style=_STYLE,
            reserve_space_for_menu=4,
            input_processors=[TabsProcessor(char1=" ", char2=" ")],  # pasted ones look like tabs, not like ^I
        )
        # A terminal that is slow to say where its cursor is needs no warning: the status line just comes later.
        self._session.app.renderer.cpr_not_supported_callback = None

    def ask(self, draft: str = "") -> str:
        """What the person writes, beginning with `draft`. Raises EOFError (Ctrl-D) and KeyboardInterrupt (Ctrl-C)."""
        return self._session.prompt(default=draft)

    def choose(self, question: str, keys: Iterable[str]) -> str | None:
        """The first letter of what is written, if it is one of `keys`."""
        letter = PromptSession[str](question).prompt().strip().lower()[:1]
        return letter if letter in set(keys) else None


class CommandCompleter(Completer):
    """Names of commands, and what may follow them: files for /attach, words for others."""

    def __init__(self) -> None:
        self._files = PathCompleter(expanduser=True, file_filter=lambda name: os.path.isdir(name) or is_medium(name))
        self._commands = {command.name: command for command in COMMANDS}

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        text = document.text_before_cursor
        name, space, rest = text.partition(" ")
        if not space:
            for each in self._commands.values():
                if each.name.startswith(name) and name.startswith("/"):
                    yield Completion(each.name, -len(name), display_meta=each.does)
        elif name == "/attach":
            yield from self._files.get_completions(Document(rest), complete_event)
        elif name in self._commands:
            words = (word for word in self._commands[name].words if word.startswith(rest))
            yield from (Completion(word, -len(rest)) for word in words)


def _keys() -> KeyBindings:
    """Enter sends, Alt-Enter (or Esc, Enter) begins a new line."""
    keys, writing = KeyBindings(), has_focus(DEFAULT_BUFFER)  # not searching

    @keys.add("enter", filter=writing)
    def send(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @keys.add("escape", "enter", filter=writing)
    def new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return keys


def _opened(file: Path | None) -> History:
    """Earlier lines, readable by this person only; none where the file cannot be written."""
    if file is None:
        return InMemoryHistory()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(file, os.O_CREAT | os.O_APPEND | os.O_RDWR, 0o600))
    except OSError:
        return InMemoryHistory()
    return FileHistory(file)
