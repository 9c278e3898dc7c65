"""A stand-in for the module sounddevice whose devices come, go, misbehave and speak when a test says so."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

BLOCK = 320


class Fault(Exception):
    """As sounddevice's PortAudioError: a text and a code."""


@dataclass(frozen=True)
class Flags:
    input_overflow: bool = False


class FakeStream:
    """A stream; what it was opened with is in `options`."""

    def __init__(self, module: "FakeSound", options: Mapping[str, Any]) -> None:
        self._module, self.options = module, options
        self.running = self.closed = False
        self.let_go = threading.Event()  # until then, it does not end
        self.let_go.set()

    def start(self) -> None:
        if self._module.start_fault is not None:
            raise self._module.start_fault
        self.running = True

    def abort(self, ignore_errors: bool = True) -> None:
        self.let_go.wait()
        if self.running:
            self.running = False
            self.options["finished_callback"]()

    def close(self, ignore_errors: bool = True) -> None:
        self.abort()
        self.closed = True

    def hear(self, samples: np.ndarray, overflow: bool = False) -> None:
        """Call the callback as PortAudio does: its buffer is used again afterwards."""
        assert self.running
        buffer = bytearray(samples.astype(np.int16).tobytes())
        self.options["callback"](memoryview(buffer), len(samples), None, Flags(overflow))
        buffer[:] = bytes([0x55]) * len(buffer)


class Defaults:
    """As `sounddevice.default`."""

    def __init__(self, module: "FakeSound") -> None:
        self._module = module

    @property
    def device(self) -> tuple[int, int]:
        return self._module.default_number, -1


class FakeSound:
    """The module. `plugged` is what the system has, seen after the next start; a fault is raised where it says."""

    PortAudioError = Fault

    def __init__(self, *names: str, default: int = 0) -> None:
        self.plugged = [(name, 1) for name in names]
        self.default_number = default
        self.open_fault: Callable[[int], Fault | None] = lambda number: None
        self.start_fault: Fault | None = None
        self.list_fault: Fault | None = None
        self.initialize_fault: Fault | None = None
        self.running = True
        self.streams: list[FakeStream] = []
        self._known = list(self.plugged)
        self.default = Defaults(self)

    @property
    def stream(self) -> FakeStream:
        """The last one that was opened."""
        return self.streams[-1]

    def query_devices(self) -> list[dict[str, Any]]:
        if self.list_fault is not None:
            raise self.list_fault
        return [{"name": name, "max_input_channels": inputs} for name, inputs in self._known]

    def RawInputStream(self, **options: Any) -> FakeStream:
        assert self.running
        assert all(stream.closed for stream in self.streams), "two streams at a time"
        fault = self.open_fault(options["device"])
        if fault is not None:
            raise fault
        self.streams.append(FakeStream(self, options))
        return self.stream

    def _exit_handler(self) -> None:
        self._terminate()

    def _terminate(self) -> None:
        assert all(stream.closed for stream in self.streams), "PortAudio ends under a stream"
        if not self.running:
            raise Fault("PortAudio not initialized", -10000)
        self.running = False

    def _initialize(self) -> None:
        if self.initialize_fault is not None:
            raise self.initialize_fault
        self.running = True
        self._known = list(self.plugged)
