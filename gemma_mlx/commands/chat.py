"""`gemma-mlx chat`: a conversation in the terminal, over pipes, or by voice."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer

from gemma_mlx.commands import shared
from gemma_mlx.commands.listening import Listening
from gemma_mlx.options import Settings

if TYPE_CHECKING:
    from gemma_mlx.commands.listening import Ears
    from gemma_mlx.commands.looking import Source
    from gemma_mlx.commands.session import Session
    from gemma_mlx.live.listener import Listener
    from gemma_mlx.terminal.repl import Replies, Surface
    from gemma_mlx.worker import Worker

Value = TypeVar("Value")
EXAMPLES = """Examples:

\b
  gemma-mlx chat --model ~/models/gemma-4-12B-it-4bit
  gemma-mlx chat --system "Answer in one sentence." --temperature 0
  gemma-mlx chat --mic
  gemma-mlx chat --mic --push-to-talk --echo
  gemma-mlx chat --resume last
  gemma-mlx chat --save holiday --when-full drop

In the chat, /help lists the commands. Ctrl-C stops the answer, not the program."""


class _Talk:
    """The conversation, each step on the thread of the model; screen and clipboard are read on this one."""

    def __init__(self, worker: "Worker[Session]", say: Callable[[str], None], ears: "Listener | None") -> None:
        self.worker, self.say, self.ears = worker, say, ears

    def answer(self, text: str) -> "Replies":
        return self._reply(lambda session: session.answer(text))

    def spoken(self) -> "Replies":
        return self.worker.stream(lambda session: session.answer_spoken())

    def mute(self, on: bool | None) -> bool:
        assert self.ears is not None, "only what is live is muted"
        wanted = not self.ears.muted if on is None else on
        self.ears.mute(wanted)
        return wanted

    def push(self) -> None:
        assert self.ears is not None, "only what is live is pushed"
        self.ears.push()

    def retry(self) -> "Replies":
        return self._reply(lambda session: session.retry())

    def edit(self, text: str) -> "Replies":
        return self._reply(lambda session: session.edit(text))

    def exchange(self) -> tuple[str, str] | None:
        return self._do(lambda session: session.exchange())

    def undo(self) -> str:
        return self._do(lambda session: session.undo())

    def attach(self, file: str) -> str:
        return self._do(lambda session: session.attach_file(file))

    def look(self, words: str) -> str:
        from gemma_mlx.commands.looking import named

        return self._attach(named(words))

    def paste(self) -> str:
        return self._attach("clipboard")

    def _attach(self, source: "Source") -> str:
        from gemma_mlx.commands.looking import look

        picture = look(source, self.say)
        return self._do(lambda session: session.attach_picture(picture, str(source)))

    def drop(self) -> int:
        return self._do(lambda session: session.drop())

    def new(self) -> str | None:
        return self._do(lambda session: session.new())

    def think(self, on: bool) -> None:
        self._do(lambda session: session.think(on))

    def could_drop(self) -> bool:
        return self._do(lambda session: session.could_drop())

    def make_room(self, drop: bool) -> None:
        self._do(lambda session: session.make_room(drop))

    def context(self) -> str:
        return self._do(lambda session: session.context())

    def stats(self) -> str:
        return self._do(lambda session: session.stats())

    def save(self, name: str | None) -> str:
        return self._do(lambda session: session.save(name))

    def branch(self, name: str | None) -> str:
        return self._do(lambda session: session.branch(name))

    def _do(self, job: "Callable[[Session], Value]") -> Value:
        return self.worker.run(lambda session: job(session.aside()))

    def _reply(self, job: "Callable[[Session], Replies]") -> "Replies":
        return self.worker.stream(lambda session: job(session.aside()))


def chat(
    settings: Settings,
    microphone: Listening,
    push_to_talk: Annotated[
        bool, typer.Option("--push-to-talk", help="With --mic: space or Enter begins and ends what you say.")
    ] = False,
    echo: Annotated[bool, typer.Option("--echo", help="With --mic: show the level of what is heard.")] = False,
    transcript: Annotated[
        bool, typer.Option("--transcript", help="With --mic: write down what you said, after the answer.")
    ] = False,
    resume: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Go on with a saved conversation; last: the one that was used last."),
    ] = None,
    save: Annotated[
        str | None, typer.Option(metavar="NAME", help="Save the conversation under this name, not one of its own.")
    ] = None,
    no_save: Annotated[
        bool, typer.Option("--no-save", help="Keep nothing; what comes through a pipe is kept only if it is named.")
    ] = False,
    when_full: Annotated[
        Literal["stop", "drop"],
        typer.Option(help="Once the context is full: read nothing more, or drop the oldest turns."),
    ] = "stop",
) -> None:
    """Talk, turn by turn, in the terminal: typed, or spoken with --mic."""
    from gemma_mlx.commands.session import Keeping, Session
    from gemma_mlx.commands.speaking import Person
    from gemma_mlx.terminal.repl import GREETING, Repl
    from gemma_mlx.worker import Worker

    _refuse_contradictions(settings, resume, save, no_save)
    microphone.refuse_alone({"--push-to-talk": push_to_talk, "--echo": echo, "--transcript": transcript})
    at_terminal = sys.stdin.isatty()
    named = resume is not None or save is not None
    keeping = Keeping(save, not no_save and (named or at_terminal), when_full)
    console = shared.console()
    prepared = settings.prepare()
    microphone.check(prepared)

    @contextmanager
    def own(worker: "Worker[Session]") -> Iterator[Session]:
        with settings.loaded(prepared, console, worker.check) as gemma:
            yield Session(settings, prepared, gemma, keeping, worker.check)

    with (
        shared.ended_by_signals(),
        microphone.opened(console.say, by_key=push_to_talk) as ears,
        Worker(own, Session.rest) as worker,
    ):
        with _surface(worker, no_save, ears, echo) as surface:
            talk = _Talk(worker, surface.say, ears.listener if ears else None)
            repl = Repl(talk, surface, drops=at_terminal, live=ears is not None, push_to_talk=push_to_talk)
            if resume is not None:
                for line in worker.run(lambda session: session.resume(resume)):
                    console.say(line)
                repl.recall()
            if at_terminal:
                console.say(GREETING)
            if ears is not None:
                person = Person(surface.say, surface.wake, transcript)
                worker.run(partial(Session.listen, inbox=ears.inbox, person=person))
            left = repl.run()
        if kept := worker.run(lambda session: session.leave()):
            console.say(kept)
    if not left:
        raise KeyboardInterrupt


def _refuse_contradictions(settings: Settings, resume: str | None, save: str | None, no_save: bool) -> None:
    """Raises `BadParameter` for options that cannot go together."""
    if save is not None and no_save:
        raise typer.BadParameter("it cannot go with --no-save", param_hint="--save")
    if save is not None and resume is not None:
        raise typer.BadParameter("a resumed conversation has a name: /save NAME changes it", param_hint="--save")
    if resume is not None and settings.system is not None:
        raise typer.BadParameter("a resumed conversation keeps its own: leave it out", param_hint="--system")


@contextmanager
def _surface(worker: "Worker[Session]", forgetful: bool, ears: "Ears | None", echo: bool) -> Iterator["Surface"]:
    """A terminal that can move its cursor, or plain streams."""
    from gemma_mlx.terminal.plain import LiveConsole
    from gemma_mlx.terminal.spoken import Live

    if not shared.is_capable_terminal():
        yield shared.console() if ears is None else LiveConsole(sys.stdin, sys.stdout, sys.stderr)
        return
    from gemma_mlx.models import home_directory
    from gemma_mlx.terminal.interactive import Interactive, silent_keys
    from gemma_mlx.terminal.status import line

    session = worker.run(lambda session: session)
    history = None if forgetful else home_directory() / "history"
    count = session.gemma.tokenizer.encode
    live = None
    if ears is not None:
        inbox, listener = ears.inbox, ears.listener
        live = Live(lambda: inbox.meter, echo, listener.push if ears.by_key else None)
    with silent_keys():
        yield Interactive(history, lambda width: line(session.status, width), lambda text: len(count(text)), live)
