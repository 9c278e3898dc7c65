"""The loop of `gemma-mlx chat`: lines of the person become messages and commands.

Knows a conversation by `Talk` and the place where it is shown by `Surface`, so that tests drive it with their own.
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, suppress
from typing import Protocol

from gemma_mlx.errors import ContextError, GemmaError, InputError
from gemma_mlx.generation.events import Event, Finished, TextDelta
from gemma_mlx.terminal.commands import split
from gemma_mlx.terminal.paths import dropped, dropped_before, given
from gemma_mlx.terminal.spoken import Spoken
from gemma_mlx.terminal.words import count, shortened

BREAK_HINT = "press Ctrl-C again, or Ctrl-D, to leave"
STAYS = "what you said stays attached to the next message: /drop forgets it"
SPOKEN_LINE = "> (spoken)"  # where a question would stand
GREETING = "/help lists the commands, Ctrl-D leaves"
WAY_OUT = (
    "; /context drop goes on without the oldest turns, /drop forgets what is attached, /new starts a new conversation"
)
_FULL = {"d": "drop the oldest turns", "s": "stop"}

Replies = Generator[Event, None, None]


class Surface(Protocol):
    """Where lines come from and replies go. All of it belongs to one thread, but `wake` and `say` to any."""

    def ask(self) -> str | Spoken:
        """The next line of the person, or SPOKEN after a `wake`. Raises EOFError at the end and KeyboardInterrupt after
        Ctrl-C."""

    def wake(self) -> None:
        """A spoken turn is over: the `ask` that waits, or else the next one, returns SPOKEN. What
        was half written then stands in the next prompt."""

    def correct(self, text: str) -> str | None:
        """The person's correction of `text`, or None if it cannot be offered for editing."""

    def choose(self, question: str, choices: Mapping[str, str]) -> str | None:
        """The key that the person chooses, or None if nobody can be asked."""

    def say(self, line: str) -> None:
        """A line that is not part of an answer; from another thread it is shown as soon as it breaks nothing."""

    def explain(self, live: bool) -> None:
        """Say what the commands are, `live` those with a microphone."""

    def recall(self, question: str, answer: str) -> None:
        """Show what was said before the conversation was resumed."""

    def show(self, events: Iterator[Event]) -> Finished | None:
        """Show a reply as it comes; how it ended, None if it never did."""


class Talk(Protocol):
    """What the loop needs of a conversation. All of it may raise `GemmaError`, and then has changed nothing."""

    def answer(self, text: str) -> Replies:
        """Close the open turn with `text` and answer it."""

    def spoken(self) -> Replies:
        """Answer the spoken turn that is over; nothing if it was taken back since."""

    def mute(self, on: bool | None) -> bool:
        """Let the microphone hear nothing, or listen again; None: the other of the two. Whether it is muted now."""

    def push(self) -> None:
        """Push-to-talk: begin what is said, or end it."""

    def retry(self) -> Replies:
        """Answer the last question again."""

    def edit(self, text: str) -> Replies:
        """Put `text` in place of the last question's and answer that."""

    def exchange(self) -> tuple[str, str] | None:
        """The text of the last question and of its answer; None before the first."""

    def undo(self) -> str:
        """Take back the last question and its answer; its text."""

    def attach(self, file: str) -> str:
        """Read a file into the open turn and say what it was."""

    def look(self, words: str) -> str:
        """Read a picture of the screen, or of what `words` name of it, into the open turn and say what it was."""

    def paste(self) -> str:
        """Read the picture in the clipboard into the open turn and say what it was."""

    def drop(self) -> int:
        """Forget what is attached to the open turn; how much that was."""

    def new(self) -> str | None:
        """Begin anew, with the same options; a line about what became of the old conversation."""

    def think(self, on: bool) -> None:
        """Whether the model thinks before it answers, from the next answer on."""

    def could_drop(self) -> bool:
        """Whether there are turns that would make room, but may not."""

    def make_room(self, drop: bool) -> None:
        """Once the context is full: whether the oldest turns are dropped, or nothing more is read."""

    def context(self) -> str:
        """What is read, in a few lines."""

    def stats(self) -> str:
        """The last reply in figures, in a few lines."""

    def save(self, name: str | None) -> str:
        """Save the conversation, under that name from now on; what was done, in a line."""

    def branch(self, name: str | None) -> str:
        """Save the conversation and go on in a copy of that name; what was done, in a line."""


class Repl:
    """Reads lines, runs commands and shows replies until the person leaves. `drops`: a line that is nothing but names
    of media attaches them, and so does one that begins with their paths before it is sent. `live`: there is a
    microphone; `push_to_talk`: an empty line begins and ends what is said into it."""

    def __init__(
        self,
        talk: Talk,
        surface: Surface,
        *,
        drops: bool = False,
        live: bool = False,
        push_to_talk: bool = False,
    ) -> None:
        self.talk, self.surface, self.drops = talk, surface, drops
        self.live, self.push_to_talk = live, push_to_talk
        self.thought = ""  # of the last reply
        self._commands: dict[str, Callable[[str], None]] = {
            "/attach": lambda rest: self._attach(given(rest)),
            "/screen": lambda rest: self.surface.say(self.talk.look(rest)),
            "/paste": lambda rest: self.surface.say(self.talk.paste()),
            "/drop": lambda rest: self._drop(),
            "/undo": lambda rest: self.surface.say(f"took back: {shortened(self.talk.undo())}"),
            "/retry": lambda rest: self._reply(self.talk.retry),
            "/edit": self._edit,
            "/think": self._think,
            "/context": self._context,
            "/stats": lambda rest: self.surface.say(self.talk.stats()),
            "/save": lambda rest: self.surface.say(self.talk.save(rest.strip() or None)),
            "/branch": lambda rest: self.surface.say(self.talk.branch(rest.strip() or None)),
            "/new": self._new,
            "/mute": self._mute,
            "/help": lambda rest: self.surface.explain(self.live),
        }

    def run(self) -> bool:
        """Until `/quit` or the end of the input (True), or Ctrl-C twice at the prompt (False)."""
        try:
            return self._read_lines()
        except KeyboardInterrupt:  # the second one, before the prompt was there again
            return False

    def _read_lines(self) -> bool:
        broken = False
        while True:
            try:
                line = self.surface.ask()
            except EOFError:
                return True
            except KeyboardInterrupt:
                if broken:
                    return False
                broken = True
                self.surface.say(BREAK_HINT)
                continue
            broken = False
            if isinstance(line, str) and line.strip() == "/quit":
                return True
            try:
                self.turn(line)
            except ContextError as fault:
                self.surface.say(f"{fault}{WAY_OUT if self.talk.could_drop() else ''}")
            except GemmaError as fault:
                self.surface.say(str(fault))
            except KeyboardInterrupt:
                with suppress(KeyboardInterrupt):  # pressed once more: it means the same answer
                    self.surface.say("[stopped]")

    def recall(self) -> None:
        """Show the last exchange of a conversation that goes on."""
        if (exchange := self.talk.exchange()) is not None:
            question, answer = exchange
            self.surface.recall(question or "[spoken]", answer)

    def turn(self, line: str | Spoken) -> None:
        """What the person wrote, a command or a message, or said. Raises `GemmaError` for what cannot be done."""
        if isinstance(line, Spoken):
            self.surface.say(SPOKEN_LINE)
            self._reply(self.talk.spoken)
        elif not line and self.push_to_talk:
            self.talk.push()
        else:
            self._written(line.strip())

    def _written(self, line: str) -> None:
        if self.drops and (files := dropped(line)):
            self._attach(*files)
        elif self.drops and (found := dropped_before(line))[0]:
            files, text = found
            self._attach(*files)
            self._reply(lambda: self.talk.answer(text))
        elif line.startswith("/"):
            command, rest = split(line, self.live)
            self._commands[command](rest)
        elif line:
            self._reply(lambda: self.talk.answer(line))

    def _reply(self, begin: Callable[[], Replies]) -> None:
        """Show a reply; where the context is full, the person chooses whether the oldest turns make room."""
        try:
            self._show(begin())
        except ContextError as fault:
            choice = self.surface.choose(f"{fault}.", _FULL) if self.talk.could_drop() else None
            if choice is None:
                raise
            if choice == "d":
                self.talk.make_room(True)
                self._show(begin())
            elif begin == self.talk.spoken:
                self.surface.say(STAYS)

    def _show(self, events: Replies) -> None:
        with closing(events):
            self.surface.show(self._heard(events))

    def _heard(self, events: Replies) -> Iterator[Event]:
        """The events, their thoughts remembered."""
        self.thought = ""
        for event in events:
            if isinstance(event, TextDelta) and event.channel == "thought":
                self.thought += event.text
            yield event

    def _drop(self) -> None:
        dropped = self.talk.drop()
        if not dropped:
            raise InputError("nothing is attached to the next message: there is nothing to drop")
        self.surface.say(f"{count(dropped, 'attachment')} dropped")

    def _attach(self, *files: str) -> None:
        for file in files:
            self.surface.say(self.talk.attach(file))

    def _edit(self, rest: str) -> None:
        exchange = self.talk.exchange()
        if exchange is None:
            raise InputError("nothing was asked yet: ask something")
        text = rest.strip() or self.surface.correct(exchange[0])
        if text is None:
            raise InputError("/edit needs the new question here: /edit TEXT")
        if not text.strip():
            raise InputError("the question would be empty: it stays as it was")
        self._reply(lambda: self.talk.edit(text))

    def _think(self, rest: str) -> None:
        match rest.strip():
            case "on" | "off" as wanted:
                self.talk.think(wanted == "on")
                self.surface.say(f"thinking is {wanted}")
            case "show" if self.thought.strip():
                self.surface.say(self.thought.strip())
            case "show":
                raise InputError("there was no thought in the last answer: /think on asks for them")
            case _:
                raise InputError("/think takes on, off or show: /think on")

    def _mute(self, rest: str) -> None:
        if not self.live:
            raise InputError("/mute needs a microphone: gemma-mlx chat --mic listens to one")
        wanted = {"": None, "on": True, "off": False}
        if rest.strip() not in wanted:
            raise InputError("/mute takes on or off, or nothing: /mute")
        muted = self.talk.mute(wanted[rest.strip()])
        self.surface.say("muted: /mute off listens again" if muted else "listening")

    def _context(self, rest: str) -> None:
        match rest.strip():
            case "drop" | "stop" as wanted:
                self.talk.make_room(wanted == "drop")
                self.surface.say(f"once the context is full: {_FULL[wanted[0]]}")
            case "":
                self.surface.say(self.talk.context())
            case _:
                raise InputError("/context takes drop or stop, or nothing: /context")

    def _new(self, rest: str) -> None:
        if line := self.talk.new():
            self.surface.say(line)
        self.surface.say("new conversation")
