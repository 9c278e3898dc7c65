"""What this machine has, and the limits that MLX keeps while a model is in use.

The only place that asks MLX or the system about memory. Knows no model and no plan's arithmetic.
Sources: mlx's `device_info`, `set_memory_limit`, `set_cache_limit`, `set_wired_limit`; /proc/meminfo; vm_stat(1).
"""

import os
import platform
import re
import subprocess
from pathlib import Path

import mlx.core as mx

from gemma_mlx.memory.values import Machine

_CPU_SHARE = 0.8  # of the memory: MLX's own default limit on a CPU
_GPU_SHARE = 2 / 3  # the least that a Mac lets its GPU use, for memory that is only named (`--memory 16GB`)


def this_machine(ram: int | None = None, *, mac: bool = False) -> Machine:
    """The machine that this runs on. `ram`: plan for so many bytes instead; `mac`: for a Mac, wherever this runs."""
    info = mx.device_info()
    found = int(info.get("memory_size", 0)) or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    name = str(info.get("device_name", platform.processor() or platform.machine()))
    metal = mac or mx.metal.is_available()
    if ram is not None or not metal:
        size = found if ram is None else ram
        share = _GPU_SHARE if metal else _CPU_SHARE
        kind = "a Mac" if mac else name
        return Machine(kind, "metal" if metal else "cpu", size, int(share * size), None if ram else free_memory())
    working_set = int(info.get("max_recommended_working_set_size", _GPU_SHARE * found))
    return Machine(name, "metal", found, working_set, free_memory())


def free_memory() -> int | None:
    """Bytes that programs could take now without swapping; None if the system does not say."""
    if platform.system() == "Darwin":
        return _free_on_macos(_output("vm_stat"))
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def _free_on_macos(statistics: str) -> int | None:
    """Free, inactive, speculative and purgeable pages of `vm_stat`: what macOS hands out before it compresses."""
    size = re.search(r"page size of (\d+) bytes", statistics)
    pages = re.findall(r"^Pages (?:free|inactive|speculative|purgeable):\s+(\d+)", statistics, re.MULTILINE)
    return int(size[1]) * sum(map(int, pages)) if size and pages else None


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
