"""Energy that the processor takes over a span of time, where the system tells it to a program without root's rights.

Linux: the RAPL counters of packages and their memory, which most systems let only root read (CVE-2020-8694); then None.
macOS: the channels "CPU Energy", "GPU Energy", "ANE" and "DRAM" of IOReport's group "Energy Model", in a child process,
because a wrong call into that private library ends the process that makes it. None where a counter is missing. Counts
what all programs take: not the screen, disks and losses of the power supply. A counter of RAPL that wraps twice in one
span counts once: keep spans below an hour. Sources: the kernel's Documentation/power/powercap; for IOReport, which
Apple does not document, the calls and channel names that macmon and zeus-apple-silicon use. The macOS part has not run
on a Mac.
"""

import ctypes
import json
import platform
import re
import select
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

_POWERCAP = Path("/sys/class/powercap")
_CHILD = (sys.executable, "-P", "-m", "gemma_mlx.benchmarks.power")  # -P: the current directory may hold anything
_SECONDS = 20  # that the child may take to begin or to end
# The totals of a chip: other channels are parts of them. A chip of two dies has one of each.
_CHANNEL = re.compile(r"(?:DIE_\d+_)?CPU Energy|GPU Energy|(?:ANE|DRAM)\d*(?:_\d+)?")
_JOULES = {"J": 1.0, "mJ": 1e-3, "uJ": 1e-6, "µJ": 1e-6, "nJ": 1e-9}
_UTF8 = 0x08000100  # kCFStringEncodingUTF8

Meter = Callable[[], float | None]
Channel = tuple[str, str, int]
"""Name, unit and count of an IOReport channel."""


class Energy:
    """`with Energy() as energy: ...`, then `energy.joules`: what was taken meanwhile, None if no system tells it."""

    joules: float | None = None
    _end: Meter

    def __enter__(self) -> "Energy":
        self._end = begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.joules = self._end()


def begin() -> Meter:
    """Begin to count; what it returns ends the span, to be called once, and says its joules or None."""
    return begin_macos() if platform.system() == "Darwin" else begin_rapl()


def begin_rapl(root: Path = _POWERCAP) -> Meter:
    """As `begin`, by the counters below `root`."""
    before = _counters(root)

    def end() -> float | None:
        after = _counters(root)
        if not before or not after or before.keys() != after.keys():
            return None
        return sum(_difference(before[zone], after[zone]) for zone in before) / 1e6

    return end


def _counters(root: Path) -> Mapping[Path, tuple[int, int]] | None:
    """Microjoules and the counter's range of each package and its memory, None if one cannot be read. `core`, `uncore`
    and `psys` count the same energy again."""
    found = {}
    try:
        for zone in root.glob("intel-rapl:*"):  # AMD's are called so too
            if re.match("package|dram", (zone / "name").read_text()):
                found[zone] = (int((zone / "energy_uj").read_text()), int((zone / "max_energy_range_uj").read_text()))
    except (OSError, ValueError):
        return None
    return found


def _difference(before: tuple[int, int], after: tuple[int, int]) -> int:
    """Microjoules between two readings, of a counter that begins again after its range."""
    taken = after[0] - before[0]
    return taken if taken >= 0 else taken + after[1]


def begin_macos(command: Sequence[str] = _CHILD) -> Meter:
    """As `begin`, by a child that reads the channels now and when its input ends; `command` starts it."""
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert child.stdout is not None
    if not select.select([child.stdout], [], [], _SECONDS)[0]:
        child.kill()
    first = child.stdout.readline()

    def end() -> float | None:
        try:
            second, _ = child.communicate(timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
            return None
        try:
            return joules_between(json.loads(first), json.loads(second)) if child.returncode == 0 else None
        except ValueError:
            return None

    return end


def joules_between(before: Sequence[Channel], after: Sequence[Channel]) -> float | None:
    """What processor, GPU, neural engine and memory took between two samples; None if the channels of processor or GPU
    are missing, have other units than joules, or differ. Lists stand for tuples as JSON makes them."""
    totals: list[dict[str, float]] = []
    for sample in (before, after):
        known = {name: (unit.strip(), count) for name, unit, count in sample if _CHANNEL.fullmatch(name)}
        if any(unit not in _JOULES for unit, _ in known.values()):
            return None
        totals.append({name: count * _JOULES[unit] for name, (unit, count) in known.items()})
    first, second = totals
    complete = {"CPU Energy", "GPU Energy"} <= {re.sub(r"^DIE_\d+_", "", name) for name in first}
    if not complete or first.keys() != second.keys():
        return None
    return sum(second[name] - first[name] for name in first)


def _watch() -> None:
    """The child: a sample, one more when the input ends, each a line of JSON."""
    sample = _sampler()
    print(json.dumps(sample()), flush=True)
    sys.stdin.read()
    print(json.dumps(sample()), flush=True)


def _sampler() -> Callable[[], list[Channel]]:
    """What reads IOReport's energy channels. Nothing is released: the process ends soon."""
    core = ctypes.CDLL("/System/Library/Frameworks/CoreFoundation.framework/CoreFoundation")
    report = ctypes.CDLL("/usr/lib/libIOReport.dylib")
    pointer, number = ctypes.c_void_p, ctypes.c_uint64
    signatures: tuple[tuple[Any, Any, list[Any]], ...] = (
        (core.CFStringCreateWithCString, pointer, [pointer, ctypes.c_char_p, ctypes.c_uint32]),
        (core.CFStringGetCString, ctypes.c_bool, [pointer, ctypes.c_char_p, ctypes.c_long, ctypes.c_uint32]),
        (core.CFDictionaryCreateMutableCopy, pointer, [pointer, ctypes.c_long, pointer]),
        (core.CFDictionaryGetValue, pointer, [pointer, pointer]),
        (core.CFArrayGetCount, ctypes.c_long, [pointer]),
        (core.CFArrayGetValueAtIndex, pointer, [pointer, ctypes.c_long]),
        (report.IOReportCopyChannelsInGroup, pointer, [pointer, pointer, number, number, number]),
        (report.IOReportCreateSubscription, pointer, [pointer, pointer, pointer, number, pointer]),
        (report.IOReportCreateSamples, pointer, [pointer, pointer, pointer]),
        (report.IOReportChannelGetChannelName, pointer, [pointer]),
        (report.IOReportChannelGetUnitLabel, pointer, [pointer]),
        (report.IOReportSimpleGetIntegerValue, ctypes.c_int64, [pointer, ctypes.c_int32]),
    )
    for function, result, arguments in signatures:
        function.restype, function.argtypes = result, arguments

    def text(string: int | None) -> str:
        buffer = ctypes.create_string_buffer(256)
        read = bool(string) and core.CFStringGetCString(string, buffer, len(buffer), _UTF8)
        return buffer.value.decode() if read else ""

    group = core.CFStringCreateWithCString(None, b"Energy Model", _UTF8)
    key = core.CFStringCreateWithCString(None, b"IOReportChannels", _UTF8)
    found = report.IOReportCopyChannelsInGroup(group, None, 0, 0, 0)
    if not found:
        raise SystemExit("IOReport has no group Energy Model")
    wanted, subscribed = core.CFDictionaryCreateMutableCopy(None, 0, found), ctypes.c_void_p()
    subscription = report.IOReportCreateSubscription(None, wanted, ctypes.byref(subscribed), 0, None)
    if not subscription:
        raise SystemExit("IOReport takes no subscription")

    def sample() -> list[Channel]:
        channels = core.CFDictionaryGetValue(report.IOReportCreateSamples(subscription, wanted, None), key)
        items = [core.CFArrayGetValueAtIndex(channels, index) for index in range(core.CFArrayGetCount(channels))]
        name, unit = report.IOReportChannelGetChannelName, report.IOReportChannelGetUnitLabel
        value = report.IOReportSimpleGetIntegerValue
        return [(text(name(item)), text(unit(item)), value(item, 0)) for item in items]

    return sample


if __name__ == "__main__":
    _watch()
