"""What goes wrong beside a conversation: what the person is told, and that nothing else is lost.

From a stand-in for PortAudio, or from the command line, to the conversation. What each part does by itself is tested
with that part.
"""

import threading
from pathlib import Path

import numpy as np
import pytest

from gemma_mlx.capture import devices
from gemma_mlx.capture.activity import Ear
from gemma_mlx.capture.microphone import Options
from gemma_mlx.commands.session import Keeping, Session
from gemma_mlx.commands.speaking import Person
from gemma_mlx.generation.events import Finished
from gemma_mlx.inputs.message import Audio, Message
from gemma_mlx.live.inbox import Inbox
from gemma_mlx.live.listener import Listener
from gemma_mlx.loading import Prepared
from gemma_mlx.options import Settings
from tests.capture.programs import pretend
from tests.capture.room import Room, zeros
from tests.capture.sound import BLOCK, FakeSound, Fault
from tests.capture.test_clipboard import APPLESCRIPT
from tests.chats import demo, settled
from tests.command import gemma_mlx
from tests.live.simulation import RATE, Loud, Pause, Scene, Speech, part, sample

TOKENS = 6
FRAME = 640


def sound_of(message: Message) -> np.ndarray:
    """What a message has of recordings, as it was heard."""
    return np.concatenate([np.round(p.samples * 32768).astype(np.int16) for p in message.parts if isinstance(p, Audio)])


def place(heard: np.ndarray, played: np.ndarray) -> int:
    """Where `heard` begins in what was played; fails if it is not there."""
    found = np.arange(played.size - heard.size + 1)
    for probe in np.linspace(0, heard.size - 1, 50).astype(int):
        found = found[played[found + probe] == heard[probe]]
    whole = [at for at in found.tolist() if np.array_equal(heard, played[at : at + heard.size])]
    assert whole, f"{heard.size} samples are nowhere in what was played"
    return whole[0]


class House:
    """A session that is spoken to through PortAudio's stand-in, in a time that tests move. `played`: all that its
    device was given since the beginning."""

    def __init__(self, prepared: Prepared, options: Options | None = None) -> None:
        self.room = Room("Built-in", options=options)
        self.inbox, self.told, self.over = Inbox(), list[str](), 0
        self.listener = Listener(self.room.ears, Ear(Loud()), self.inbox, clock=lambda: self.room.now)
        settings = Settings(model="demo", temperature=0, max_tokens=TOKENS)
        self.session = Session(settings, prepared, demo(), Keeping(None, False, "stop"))
        self.session.listen(self.inbox, Person(self.told.append, self._spoken))
        self.played = np.zeros(0, np.int16)
        self.room.ears.open()

    def _spoken(self) -> None:
        self.over += 1

    def hear(self, samples: np.ndarray, pace: float = 1.0, read: bool = True) -> None:
        """These samples come in time; what they are is followed at once, unless `read` is False."""
        for block in np.split(samples, range(BLOCK, samples.size, BLOCK)):
            self.room.now += BLOCK / RATE / pace
            if self.room.ears.device is not None:
                self.room.sound.stream.hear(block)
                self.played = np.concatenate([self.played, block])
            if read:
                self.follow()

    def wait(self, seconds: float) -> None:
        """Nothing comes for so long."""
        for _ in range(round(seconds * 10)):
            self.room.now += 0.1
            self.follow()

    def follow(self) -> None:
        while self.listener.step(0):
            pass
        if not self.over:  # then the answer comes first
            self.session.rest(lambda: not self.inbox.waiting)

    def speak(self, seconds: float, silence: float = 0.0, pace: float = 1.0) -> None:
        """Somebody speaks, and then nobody for a while."""
        scenes: tuple[Scene, ...] = (Speech(seconds), Pause(silence))
        for scene in (each for each in scenes if each.seconds):
            first = self.played.size
            self.hear(part(scene, first, first + round(scene.seconds * RATE)), pace)

    def answer(self) -> np.ndarray:
        """Answer the turn that is over; what the conversation has of it."""
        assert self.over == 1, "one turn is over"
        self.over = 0
        assert isinstance([*self.session.answer_spoken()][-1], Finished)
        settled(self.session.chat)
        return sound_of(self.session.chat.history[-2])


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return Settings(model="demo").prepare()


@pytest.fixture
def house(prepared: Prepared) -> House:
    made = House(prepared)
    made.hear(sample(np.arange(RATE), 1))
    return made


@pytest.mark.parametrize(
    ("sound", "words"),
    [
        (FakeSound(), "there is no microphone: connect one"),
        (FakeSound("Built-in"), "the microphone Built-in is busy: close the program that uses it"),
    ],
    ids=["no device", "busy"],
)
@pytest.mark.parametrize("command", ["ask", "chat"])
def test_what_does_not_open_ends_the_program_with_one_line(
    command: str, sound: FakeSound, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound.open_fault = lambda number: Fault("Device unavailable", -9985)
    monkeypatch.setattr(devices, "portaudio", lambda: sound)
    threads = threading.active_count()
    assert gemma_mlx(command, "--model", "demo", "--mic").fault.startswith(words)
    assert threading.active_count() == threads


@pytest.mark.parametrize(
    ("option", "program", "script", "words"),
    [
        ("--window", "screencapture", "true", "no window was clicked: nothing is attached"),
        ("--screen", "screencapture", "echo no >&2; exit 1", "the screen cannot be read (no): allow this terminal in"),
        ("--clipboard", "osascript", f'echo "{APPLESCRIPT}" >&2; exit 1', "the clipboard holds no picture"),
    ],
    ids=["Esc", "no permission", "no picture"],
)
def test_what_cannot_be_seen_on_a_mac_is_one_line_and_nothing_is_asked(
    option: str, program: str, script: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, tmp_path, program, script)
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    run = gemma_mlx("ask", "--model", "demo", option, "What is this?")
    assert (run.code, run.out) == (1, "")
    assert run.err.splitlines()[-1].startswith(words)
    assert "Traceback" not in run.err


@pytest.mark.parametrize(
    ("system", "words"), [("Darwin", "System Settings > Privacy & Security > Microphone"), ("Linux", "unmute it")]
)
def test_without_permission_only_that_is_heard(
    prepared: Prepared, system: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.system", lambda: system)
    house = House(prepared)
    for _ in range(100):
        house.hear(zeros())
    (told,) = house.told
    assert words in told
    assert house.session.chat.context.keys == []
    house.speak(1, silence=1)  # it was given
    assert house.told[1:] == ["there is sound again"]
    assert place(house.answer(), house.played) > RATE


def test_clipped_speech_is_told_of_and_heard_as_it_is(house: House) -> None:
    house.hear(np.where(np.arange(2 * RATE) % 3, 32767, -32768).astype(np.int16))
    house.hear(sample(np.arange(RATE), 1))
    assert house.told == ["the sound is clipped: move away from the microphone, or turn its input down"]
    place(house.answer(), house.played)


def test_unplugged_while_somebody_speaks(house: House) -> None:
    house.speak(1.5)
    assert house.over == 0
    house.room.sound.plugged = []
    house.room.sound.stream.abort()
    house.follow()
    assert house.told == ["the microphone Built-in is gone: waiting for one"]
    first = house.answer()
    whole = first.size - FRAME  # the last frame may end in zeros
    at = place(first[:whole], house.played)
    assert at <= RATE
    assert at + first.size > 2.5 * RATE - FRAME
    house.wait(3)
    house.room.sound.plugged = [("Built-in", 1)]
    house.wait(1.2)
    assert "recording from Built-in" in house.told[1]
    house.speak(1, silence=1)
    place(house.answer(), house.played)
    assert len(house.told) == 2


@pytest.mark.parametrize("pace", [0.5, 1.5])
def test_a_rate_that_switches_while_somebody_speaks(house: House, pace: float) -> None:
    while len(house.told) < 2:
        assert house.room.now < 130, "it is noticed"
        house.speak(0.1, pace=pace)
    spoken_until = house.played.size
    gone, again = house.told
    assert "samples a second, not 16000" in gone
    assert "recording from Built-in" in again
    house.speak(1, silence=1)
    heard = house.answer()
    spoken = heard[heard != 0]
    assert heard.size - spoken.size < RATE // 2  # what was missed while it was opened again
    assert place(spoken, house.played) + spoken.size > spoken_until + RATE
    assert len(house.told) == 2


def test_blocks_that_were_dropped_are_silence_and_told(prepared: Prepared) -> None:
    house = House(prepared, Options(ring=1.0))
    house.speak(1)
    late = sample(np.arange(RATE, 2 * RATE + 20 * BLOCK))
    house.hear(late, read=False)
    house.follow()
    house.hear(sample(np.arange(RATE), 1))
    assert house.told == ["0.40 s were dropped: this program was too slow to listen"]
    played = house.played.copy()
    played[RATE : RATE + 20 * BLOCK] = 0
    assert place(house.answer(), played) == 0


def test_an_overflow_of_the_system_is_told_and_the_turn_goes_on(house: House) -> None:
    house.speak(0.5)
    block = sample(np.arange(house.played.size, house.played.size + BLOCK))
    house.room.now += BLOCK / RATE
    house.room.sound.stream.hear(block, overflow=True)
    house.played = np.concatenate([house.played, block])
    house.speak(0.5, silence=1)
    assert house.told == ["the system lost some sound: too much runs beside this program"]
    place(house.answer(), house.played)
