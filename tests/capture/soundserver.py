"""A private sound server whose microphone is a pipe, so that every sample that it hears is known.

PulseAudio with `module-pipe-source`: it passes on what is written into the pipe, at the pace at which it is written,
and a client that asks for the same format gets the same bits. The pace is kept here by the wall clock, or made wrong.
Needs PulseAudio, ALSA's plugin for it, and PortAudio; tests skip without them. Sources: PulseAudio's module reference;
the plugin's `99-pulseaudio-default.conf.example`.
"""

import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from gemma_mlx.capture import devices
from gemma_mlx.errors import InputError

RATE = devices.RATE
CHUNK = 160  # samples that are written at once, 10 ms
_PACKAGES = "Debian and Ubuntu: apt-get install pulseaudio libasound2-plugins libportaudio2"
_SECONDS = 10.0  # until a server that does not start counts as broken


class VirtualMicrophone:
    """The server, and the thread that feeds its pipe: with what is played, else with `idle` noise of one bit."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._server: subprocess.Popen[bytes] | None = None
        self._waiting: deque[np.ndarray] = deque()
        self._over = threading.Event()
        self._idle = np.random.default_rng(5).integers(-1, 2, CHUNK).astype(np.int16)
        self._feeder = threading.Thread(target=self._feed, name="virtual microphone")
        self.pace = 1.0  # of the samples, in wall clock's
        self.muted = False
        self.written: float = 0.0  # time.monotonic() when the first chunk of what was played last was written

    def play(self, samples: np.ndarray) -> None:
        """Let the microphone hear int16 `(n,)`, after what it hears already; returns at once."""
        padded = np.pad(samples, (0, -samples.size % CHUNK))
        self._waiting.append(padded)

    def plug(self) -> None:
        """Start the server; it has one microphone, and something to play to that nobody hears."""
        command = [
            "pulseaudio",
            "-n",
            "--daemonize=no",
            "--use-pid-file=no",
            "--exit-idle-time=-1",
            "--disable-shm=yes",  # else its client can wait for ever for the one of a server that was killed
            "--log-level=error",
        ]
        modules = [
            f"module-native-protocol-unix auth-anonymous=1 socket={self._directory}/native",
            f"module-pipe-source source_name=pipe file={self._directory}/pipe format=s16le rate={RATE} channels=1",
            f"module-null-sink sink_name=nobody format=s16le rate={RATE} channels=1",
        ]
        environment = dict(os.environ, HOME=str(self._directory), XDG_RUNTIME_DIR=str(self._directory))
        environment.pop("PULSE_SERVER", None)
        self._server = subprocess.Popen(
            [*command, *(word for module in modules for word in ("-L", module))],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + _SECONDS
        while not ((self._directory / "native").exists() and (self._directory / "pipe").exists()):
            assert time.monotonic() < until, "the sound server does not start"
            assert self._server.poll() is None, f"the sound server ended with {self._server.returncode}"
            time.sleep(0.01)

    def unplug(self) -> None:
        """Kill the server, and with it the microphone."""
        if self._server is not None:
            self._server.kill()
            self._server.wait()
            self._server = None
        for name in ("native", "pipe"):
            (self._directory / name).unlink(missing_ok=True)

    def _feed(self) -> None:
        """Open the pipe whenever there is one, and write into it in time."""
        while not self._over.wait(0.01):
            with suppress(OSError):  # no pipe, no reader yet, or no reader any more
                pipe = os.open(self._directory / "pipe", os.O_WRONLY | os.O_NONBLOCK)
                os.set_blocking(pipe, True)
                try:
                    self._write(pipe)
                finally:
                    os.close(pipe)

    def _write(self, pipe: int) -> None:
        due = time.monotonic()
        rest = np.zeros(0, np.int16)
        while not self._over.is_set():
            if not rest.size and self._waiting:
                rest, self.written = self._waiting.popleft(), time.monotonic()
            chunk, rest = (rest[:CHUNK], rest[CHUNK:]) if rest.size else (self._idle, rest)
            os.write(pipe, (np.zeros_like(chunk) if self.muted else chunk).tobytes())
            due += CHUNK / RATE / self.pace
            time.sleep(max(0.0, due - time.monotonic()))

    def __enter__(self) -> "VirtualMicrophone":
        self.plug()
        self._feeder.start()
        return self

    def __exit__(self, *fault: object) -> None:
        self.unplug()
        self._over.set()
        self._feeder.join()


@contextmanager
def virtual_microphone() -> Iterator[tuple[VirtualMicrophone, devices.SoundDevice]]:
    """A microphone that is the only one, and PortAudio that knows it as `pulse`."""
    if shutil.which("pulseaudio") is None:
        pytest.skip(f"PulseAudio is not installed ({_PACKAGES})")
    try:
        sound = devices.portaudio()
    except InputError as fault:
        pytest.skip(f"{fault} ({_PACKAGES})")
    with tempfile.TemporaryDirectory(prefix="gemma-mlx-sound-") as directory, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PULSE_SERVER", f"unix:{directory}/native")  # read by ALSA's plugin inside of this process
        patch.setenv("XDG_RUNTIME_DIR", directory)
        patch.setenv("PULSE_LATENCY_MSEC", "20")  # else blocks come in bursts
        with VirtualMicrophone(Path(directory)) as microphone:
            devices.look_again(sound)
            if not any(each.name == "pulse" for each in devices.microphones(sound)):
                pytest.skip(f"ALSA does not know PulseAudio ({_PACKAGES})")
            yield microphone, sound
