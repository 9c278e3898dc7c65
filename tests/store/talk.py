"""Messages of every kind, and a stand-in for a chat, so that tests of files need no model."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from gemma_mlx.errors import CheckpointError
from gemma_mlx.inputs.message import Audio, Image, Message, Part, Text, ToolCall, Video
from gemma_mlx.models import find_model
from gemma_mlx.store.record import Medium
from gemma_mlx.store.saved import SavedChat

if TYPE_CHECKING:
    from gemma_mlx.chat import Chat


def picture(seed: int = 0, rows: int = 1, columns: int = 2, name: str = "a picture.png") -> Image:
    return Image(name, np.random.default_rng(seed).integers(0, 256, (48 * rows, 48 * columns, 3), np.uint8))


def recording(seed: int = 0, samples: int = 1000) -> Audio:
    drawn = np.random.default_rng(seed).standard_normal(samples).astype(np.float32)
    return Audio("a [note].m4a", drawn)


def video(frames: int = 3) -> Video:
    return Video("clip.mp4", tuple(picture(seed).pixels for seed in range(frames)), (0.0, 1 / 3, 1e9 + 0.1)[:frames])


def every_kind() -> tuple[Message, ...]:
    """A conversation with all that a message can have."""
    numbers: dict[str, Any] = {
        "n": [0, -1, 2.5, 1e300, True, None, {"deep": {"er": []}}],
        "ünï": '中文 🙂 \x00\x1b\n"\\',
    }
    return (
        Message.of("system", "Be brief."),
        Message("user", (Text("Look: "), picture(), Text(""), recording(), video(), Text("\tand?\r\n"))),
        Message("assistant", (Text("I see."),), thinking="Hm.\n\nWell."),
        Message("user", (recording(1, 1),)),
        Message("assistant", (), calls=(ToolCall("look", numbers, "call-1"), ToolCall("wait", {}, "call-2"))),
        Message("tool", (), answers="call-1", value=numbers),
        Message("tool", (Text("```\nfence\n```"), picture(3)), answers="call-2"),
        Message("assistant", (Text("\ud800 half a pair"),), thinking=""),
    )


def same_messages(found: tuple[Message, ...], expected: tuple[Message, ...]) -> None:
    """Fails unless they say the same, arrays bit for bit."""
    assert [_plain(message) for message in found] == [_plain(message) for message in expected]


def _plain(message: Message) -> tuple[Any, ...]:
    parts = [_content(part) for part in message.parts]
    return (message.role, parts, message.thinking, message.calls, message.answers, message.value)


def _content(part: Part) -> tuple[Any, ...]:
    match part:
        case Text():
            return ("text", part.text)
        case Image():
            return ("image", part.name, _bits(part.pixels))
        case Audio():
            return ("audio", part.name, _bits(part.samples))
        case Video():
            return ("video", part.name, [_bits(frame) for frame in part.frames], part.timestamps)


def _bits(array: np.ndarray) -> tuple[Any, ...]:
    return (array.dtype, array.shape, array.tobytes())


@dataclass
class StandInContext:
    """Caches that are a list of numbers."""

    keys: list[int] = field(default_factory=list)
    nbytes: int = 1000
    before_save: Callable[[Path], None] = lambda path: None

    def save(self, path: Path, fingerprint: str) -> None:
        self.before_save(path)
        path.write_text(json.dumps([fingerprint, self.keys, "." * self.nbytes]))

    def load(self, path: Path, fingerprint: str) -> None:
        known, keys, _ = json.loads(path.read_text())
        if known != fingerprint:
            raise CheckpointError(f"{path} is of other weights")
        self.keys = keys


@dataclass
class StandIn:
    """What a saved conversation needs of a `Chat`."""

    history: tuple[Message, ...] = ()
    pending: tuple[Part, ...] = ()
    dropped: int = 0
    enable_thinking: bool = False
    tools: tuple[Mapping[str, Any], ...] = ()
    keep: Callable[[tuple[Message, ...], tuple[Part, ...]], None] | None = None
    context: StandInContext = field(default_factory=StandInContext)
    gemma: SimpleNamespace = field(default_factory=lambda: _gemma(find_model("demo")))

    def chat(self) -> "Chat":
        return cast("Chat", self)

    def say(self, *messages: Message) -> None:
        """As a reply does."""
        self.history = (*self.history, *messages)
        assert self.keep is not None
        self.keep(self.history, self.pending)


def _gemma(path: Path) -> SimpleNamespace:
    norm = SimpleNamespace(weight=SimpleNamespace(dtype="float32"))
    return SimpleNamespace(path=path, model=SimpleNamespace(language_model=SimpleNamespace(norm=norm)))


def followed(saved: SavedChat, *messages: Message) -> StandIn:
    """A conversation that is kept, after these messages."""
    talk = StandIn()
    saved.follow(talk.chat())
    if messages:
        talk.say(*messages)
    return talk


def user(text: str, *parts: Part) -> Message:
    return Message("user", (*parts, Text(text)))


def assistant(text: str) -> Message:
    return Message.of("assistant", text)


MEDIUM = Medium("image", "a.png", ("0" * 32 + ".png",))
