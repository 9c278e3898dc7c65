"""A program in a process of its own: how long it took from start to exit, and the most memory it ever had resident.

    python -m gemma_mlx.benchmarks.child REPORT MODULE ARGUMENTS …

runs a module as `python -m` would and writes its peak to REPORT. Everything in the process counts, mapped files too.
Source: VmHWM of /proc/self/status; getrusage(2) where there is no /proc.
"""

import atexit
import re
import resource
import runpy
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Child:
    """What a process that ended well took."""

    seconds: float
    peak_resident_bytes: int
    stdout: str


def run(module: str, arguments: Sequence[str], environment: Mapping[str, str]) -> Child:
    """Run `python -m module arguments` and measure it. Raises RuntimeError with its last words if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "peak"
        command = [sys.executable, "-m", __spec__.name, str(report), module, *arguments]
        started = time.perf_counter()
        done = subprocess.run(command, env=dict(environment), capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - started
        if done.returncode:
            words = f"{module} {' '.join(arguments)}"
            raise RuntimeError(f"{words} ended with {done.returncode}:\n{done.stderr[-4000:]}")
        return Child(seconds, int(report.read_text()), done.stdout)


def peak_resident() -> int:
    """Most bytes that this process ever had resident."""
    return _status("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT


def resident() -> int:
    """Bytes that this process has resident now; 0 where the system does not say."""
    return _status("VmRSS") or 0


def _status(key: str) -> int | None:
    """A size of /proc/self/status in bytes; None where there is no /proc."""
    try:
        found = re.search(rf"^{key}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


def main() -> None:
    """Run a module and leave its peak behind."""
    report, module = Path(sys.argv[1]), sys.argv[2]
    atexit.register(lambda: report.write_text(str(peak_resident())))
    sys.argv = sys.argv[2:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
