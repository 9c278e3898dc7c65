"""The line that a person writes on a terminal: editing, history, completion, several lines, a status line below.

Other threads may end it or print above it while it waits: what they have lies in `Calls`, and the loop that the prompt
runs in is only told to look. Knows keys and files: no conversation.
"""

import asyncio
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from contextvars import Context, copy_context
from itertools import takewhile
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app, run_in_terminal
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import Condition, has_focus
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input.typeahead import get_typeahead, store_typeahead
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.layout.processors import TabsProcessor
from prompt_toolkit.styles import Style

from gemma_mlx.errors import GemmaError
from gemma_mlx.terminal.commands import listed
from gemma_mlx.terminal.meter import below
from gemma_mlx.terminal.paths import is_medium
from gemma_mlx.terminal.spoken import SPOKEN, Calls, Live, Spoken

_PROMPT, _CONTINUED = "> ", "  "
_PUSHES = (" ", Keys.ControlM, Keys.ControlJ)  # Enter is the last one where the terminal translates it
_REFRESH = 0.1  # seconds after which a microphone is looked at again
_STYLE = Style.from_dict({"bottom-toolbar": "noreverse fg:ansibrightblack"})


class _WokenError(Exception):
    """Ends the prompt in place of a line."""


class Prompt:
    """Asks for lines. `history`: the file of earlier ones, None to keep none; `status(width)`: the line below;
    `say` prints a line on the terminal, `live` is the microphone, if there is one. `calls` is for any thread, all else
    for one."""

    def __init__(
        self,
        history: Path | None,
        status: Callable[[int], str],
        say: Callable[[str], None],
        live: Live | None = None,
    ) -> None:
        self.calls, self._say = Calls(self._ring), say
        self._push = live.push if live is not None else None
        self._loop: asyncio.AbstractEventLoop | None = None  # of the prompt that is shown
        self._context: Context | None = None  # in which prompt_toolkit finds it
        self._wakeable = False
        self._draft = Document()  # what was half written when somebody spoke
        self._session: PromptSession[str] = PromptSession(
            _PROMPT,
            multiline=True,
            prompt_continuation=_CONTINUED,
            key_bindings=self._keys(),
            history=_opened(history),
            completer=CommandCompleter(live is not None),
            complete_while_typing=False,
            bottom_toolbar=lambda: _below(live, status, get_app().output.get_size().columns),
            refresh_interval=_REFRESH if live is not None else 0,
            style=_STYLE,
            reserve_space_for_menu=4,
            input_processors=[TabsProcessor(char1=" ", char2=" ")],  # pasted ones look like tabs, not like ^I
        )
        # A terminal that is slow to say where its cursor is needs no warning: the status line just comes later.
        self._session.app.renderer.cpr_not_supported_callback = None

    def ask(self) -> str | Spoken:
        """What the person writes, or SPOKEN after a wake; what is half written then is kept for the next prompt.
        Raises EOFError (Ctrl-D) and KeyboardInterrupt (Ctrl-C)."""
        self.say_waiting()
        if self.calls.take_wake():
            return SPOKEN
        draft, self._draft = self._draft, Document()
        try:
            return self._read(draft, wakeable=True)
        except _WokenError:
            self.calls.take_wake()
            return SPOKEN

    def edit(self, text: str) -> str:
        """What the person makes of `text`, whoever speaks. Raises EOFError and KeyboardInterrupt."""
        return self._read(Document(text), wakeable=False)

    def choose(self, question: str, keys: Iterable[str]) -> str | None:
        """The first letter of what is written, if it is one of `keys`."""
        letter = PromptSession[str](question).prompt().strip().lower()[:1]
        return letter if letter in set(keys) else None

    def take_pushes(self) -> None:
        """While no prompt is shown: push to talk for each key that waits and does so, up to the first other one. That
        and all after it stay for the next prompt, and so do all if something half written stands there."""
        if self._push is None or self._draft.text:
            return
        source = self._session.app.input
        keys = [*get_typeahead(source), *source.read_keys()]
        pushes = list(takewhile(lambda each: each.key in _PUSHES, keys))
        store_typeahead(source, keys[len(pushes) :])
        for _ in pushes:
            self._talk(self._push)

    @property
    def shown(self) -> bool:
        """Whether there is a prompt on the terminal that lines must not be printed over."""
        return self._loop is not None

    def say_waiting(self) -> None:
        """Print what other threads have to say."""
        for line in self.calls.take_lines():
            self._say(line)

    def _read(self, draft: Document, wakeable: bool) -> str:
        def begin() -> None:
            self._context, self._loop = copy_context(), asyncio.get_running_loop()
            self._ring()  # for what was called before there was a loop to be told

        self._wakeable = wakeable
        self._session.app.erase_when_done = False
        try:
            return self._session.prompt(default=draft, pre_run=begin)
        finally:
            self._loop = None
            self.say_waiting()

    def _ring(self) -> None:
        """From any thread: the prompt, if there is one, looks at what was called. If it ends before it could, `ask`
        does."""
        if (loop := self._loop) is not None:
            with suppress(RuntimeError):  # the loop was closed just now
                loop.call_soon_threadsafe(self._look, context=self._context)

    def _look(self) -> None:
        app = self._session.app
        if not app.is_running or app.is_done:
            return
        if self._wakeable and self.calls.woken:
            self._draft = self._session.default_buffer.document
            app.layout.focus(self._session.default_buffer)  # a search would still be open in the next prompt
            app.erase_when_done = True
            app.exit(exception=_WokenError())
        elif self.calls.talking:
            run_in_terminal(self.say_waiting)

    def _talk(self, push: Callable[[], None]) -> None:
        try:
            push()
        except GemmaError as fault:
            self.calls.say(str(fault))

    def _keys(self) -> KeyBindings:
        """Enter sends, Alt-Enter (or Esc, Enter) begins a new line; on an empty line, space and Enter push to talk."""
        keys, writing, push = KeyBindings(), has_focus(DEFAULT_BUFFER), self._push  # not searching
        empty = Condition(lambda: push is not None and not get_app().current_buffer.text)

        @keys.add("enter", filter=writing & ~empty)
        def send(event: KeyPressEvent) -> None:
            event.current_buffer.validate_and_handle()

        @keys.add("escape", "enter", filter=writing)
        def new_line(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text("\n")

        @keys.add("enter", filter=writing & empty)
        @keys.add(" ", filter=writing & empty)
        def talk(event: KeyPressEvent) -> None:
            if push is not None:
                self._talk(push)

        return keys


class CommandCompleter(Completer):
    """Names of commands, and what may follow them: files for /attach, words for others. `live`: with a microphone."""

    def __init__(self, live: bool = False) -> None:
        self._files = PathCompleter(expanduser=True, file_filter=lambda name: os.path.isdir(name) or is_medium(name))
        self._commands = {command.name: command for command in listed(live)}

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


def _below(live: Live | None, status: Callable[[int], str], width: int) -> str:
    return status(width) if live is None else below(live.meter(), live.echo, status, width)


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
