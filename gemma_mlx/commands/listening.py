"""How `chat`, `ask` and `transcribe` listen: the options of the microphone, and what is open while they do.

Knows options, devices and threads: not what becomes of what is said.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gemma_mlx.errors import InputError

if TYPE_CHECKING:
    from gemma_mlx.live.inbox import Inbox
    from gemma_mlx.live.listener import Listener
    from gemma_mlx.loading import Prepared


LISTENING = "listening: a short silence ends what you say"
BY_KEY = "space or Enter begins what you say, and ends it"


@dataclass(frozen=True)
class Listening:
    """The options, as typed."""

    mic: Annotated[bool, typer.Option("--mic", help="Listen to the microphone.")] = False
    device: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The microphone: a number or a part of its name; without: the system's."),
    ] = None
    vad: Annotated[
        Literal["auto", "silero", "energy"],
        typer.Option(help="What tells speech from noise; auto: silero's network where it is installed."),
    ] = "auto"
    silence: Annotated[
        int, typer.Option(min=400, max=1500, metavar="MS", help="Silence that ends what you say, in milliseconds.")
    ] = 700

    def refuse_alone(self, others: Mapping[str, bool] = MappingProxyType({})) -> None:
        """Raises `BadParameter` for an option that means nothing without --mic; `others`: which of the command's own
        are given."""
        given = {"--device": self.device is not None, "--vad": self.vad != "auto", "--silence": self.silence != 700}
        if not self.mic and (alone := [name for name, there in (given | {**others}).items() if there]):
            raise typer.BadParameter("it belongs to --mic", param_hint=alone[0])

    def check(self, prepared: "Prepared") -> None:
        """Raises `InputError` if the model does not hear what the microphone does."""
        if self.mic and prepared.config.audio_config is None:
            raise InputError(
                f"{prepared.directory.name} does not hear, it has no audio_config: --mic needs a model that does"
            )

    @contextmanager
    def opened(self, say: Callable[[str], None], *, by_key: bool = False) -> "Iterator[Ears | None]":
        """What is said from now on, if anybody is to be listened to; `by_key`: from one `push` to the next. Raises
        `InputError` without a microphone."""
        if not self.mic:
            yield None
            return
        from gemma_mlx.capture.activity import Ear, activity
        from gemma_mlx.capture.microphone import Microphone
        from gemma_mlx.capture.microphone import Options as Capture
        from gemma_mlx.capture.vad import Timing
        from gemma_mlx.live.inbox import Inbox
        from gemma_mlx.live.listener import Listener, Options

        timing = Timing(end_ms=self.silence)
        ear = None if by_key else Ear(activity(self.vad), timing)
        inbox, microphone = Inbox(), Microphone(Capture(self.device))
        with Listener(microphone, ear, inbox, Options(reach=timing.reach)) as listener:
            say(BY_KEY if by_key else LISTENING)
            yield Ears(inbox, listener, by_key)


@dataclass(frozen=True)
class Ears:
    """What listens, and what it hears."""

    inbox: "Inbox"
    listener: "Listener"
    by_key: bool
