"""What this machine has, and the limits that MLX keeps while a model is in use.

The only place that asks MLX or the system about memory. Knows no model and no plan's arithmetic.
Sources: mlx's `device_info`, `set_memory_limit`, `set_cache_limit`, `set_wired_limit`; /proc/meminfo; vm_stat(1).
"""

import os
import platform
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlx.core as mx

from gemma_mlx.errors import MemoryPlanError
from gemma_mlx.memory.sizes import GIB
from gemma_mlx.memory.values import Machine, Plan

_CPU_SHARE = 0.8  # of the memory: MLX's own default limit on a CPU
_SMALL_RAM, _SMALL_CACHE, _CACHE = 18 * GIB, 256 * 2**20, GIB
_WIRED_MORE = 512 * 2**20  # what is read at every step besides the weights
_GPU_SHARE = 2 / 3  # the least that a Mac lets its GPU use, for memory that is only named (`--memory 16GB`)


def this_machine(ram: int | None = None, *, mac: bool = False) -> Machine:
    """The machine that this runs on. `ram`: plan for so many bytes instead; `mac`: for a Mac, wherever this runs."""
    info = mx.device_info()
    found = int(info.get("memory_size", 0)) or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    name = str(info.get("device_name", platform.processor() or platform.machine()))
    metal = mac or mx.metal.is_available()
    if mac and not mx.metal.is_available():
        name = "a Mac"
    if ram is not None or not metal:
        size = found if ram is None else ram
        share = _GPU_SHARE if metal else _CPU_SHARE
        return Machine(name, "metal" if metal else "cpu", size, int(share * size), None if ram else free_memory())
    working_set = int(info.get("max_recommended_working_set_size", _GPU_SHARE * found))
    return Machine(name, "metal", found, working_set, free_memory())


@contextmanager
def memory_limits(plan: Plan, weights: int, *, wire: bool = False) -> Iterator[None]:
    """MLX's limits while a model of so many bytes of weights is in use; those from before come back at the end.

    The memory limit makes MLX wait for work in flight and return freed buffers before more is taken than planned. The
    cache limit keeps freed buffers from adding up: by default they may, up to nearly all memory. Wiring keeps
    the weights from being paged out between turns; it is off unless asked for, because it has led to kernel panics on
    macOS, and never covers more than the weights. Raises `MemoryPlanError` if they are too large for that.
    """
    wired = _wire(plan.machine, weights) if wire else None
    memory = mx.set_memory_limit(plan.limit)
    cache = mx.set_cache_limit(_SMALL_CACHE if plan.machine.ram <= _SMALL_RAM else _CACHE)
    try:
        yield
    finally:
        mx.synchronize()  # limits must not change under work in flight
        if wired is not None:
            mx.set_wired_limit(wired)
        mx.set_cache_limit(cache)
        mx.set_memory_limit(memory)


def _wire(machine: Machine, weights: int) -> int:
    """Pin the weights; returns the limit from before."""
    most, wanted = int(min(0.85 * machine.working_set, machine.ram - 8 * GIB)), weights + _WIRED_MORE
    if wanted > most:
        raise MemoryPlanError(
            f"wiring {wanted / 1e9:.1f} GB would leave too little for macOS, "
            f"{max(0, most) / 1e9:.1f} GB are safe here: leave out --wire"
        )
    try:
        return mx.set_wired_limit(wanted)
    except ValueError:  # a plan for more memory than this Mac has
        raise MemoryPlanError(
            f"wiring {wanted / 1e9:.1f} GB is more than this Mac lets its GPU use: leave out --wire"
        ) from None


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
