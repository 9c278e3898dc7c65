"""Cards of a run: what machine and which model the figures are of, as JSON values. No host name and no path.

Knows where systems tell these things: not what is measured. What macOS alone can answer was written from pmset(1),
ioreg(8) and the keys of sysctl(3) that Apple documents under "Determining system capabilities" (`hw.nperflevels`,
`hw.perflevelN.name`, `hw.perflevelN.physicalcpu`); none of it has run on a Mac. Linux: proc(5), and power supplies as
the kernel's Documentation/ABI/testing/sysfs-class-power describes them.
"""

import os
import platform
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from math import prod
from pathlib import Path
from typing import Any, Literal

import mlx.core as mx

from gemma_mlx.convert.files import provenance
from gemma_mlx.convert.source import Source
from gemma_mlx.device import this_machine
from gemma_mlx.doctor import linux, macos
from gemma_mlx.doctor.builds import mlx_build
from gemma_mlx.memory.weights import resident
from gemma_mlx.weights import activation_dtype

Power = Literal["mains", "battery"]
_READ = "language_model."  # our names of what every token goes through; the embedding table is there, read as the head
_CPUINFO, _SUPPLIES = Path("/proc/cpuinfo"), Path("/sys/class/power_supply")


def machine_card() -> dict[str, Any]:
    """This machine now: its chip, memory and power source, the system, Python and the installed MLX.

    `gpu_cores` and the kinds of `cores` are Apple's; `wheel_tag` is of the package with MLX's backend, None if MLX did
    not come from a wheel; `device` is where MLX computes, "cpu" or "gpu".
    """
    mac, build = platform.system() == "Darwin", mlx_build()
    return {
        "chip": macos_chip() if mac else linux_chip(),
        "cores": {"total": os.cpu_count(), **(macos_cores() if mac else {})},
        "gpu_cores": macos_gpu_cores() if mac else None,
        "memory_bytes": this_machine().ram,
        "system": "macos" if mac else platform.system().lower(),
        "architecture": platform.machine(),
        "os": f"macOS {macos.version()}".strip() if mac else linux.name(),
        "power": macos_power() if mac else linux_power(),
        "mlx": {
            "version": build.version,
            "backend": build.backend,
            "wheel_tag": " ".join(build.tags) or None,
            "device": mx.default_device().type.name,
        },
        "python": platform.python_version(),
    }


def versions(names: Sequence[str]) -> dict[str, str]:
    """Versions of those packages that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def model_card(directory: Path, dtype: str = "auto") -> dict[str, Any]:
    """A model, or an assistant, from its headers; nothing is loaded. Activations of `dtype` as `gemma-mlx --dtype`.

    `name` and `revision`: of the repository that it came from or was converted from, by `recipe`; the directory's own
    name and None where nothing tells. `bits`: as `ask --json` says them. `bytes_per_token`: see `bytes_per_token`.
    Raises `ConfigError` or `CheckpointError` for what is no whole Gemma 4 12B or assistant.
    """
    source = Source.read(directory)
    name, revision = provenance(source)
    converted = source.raw.get("gemma_mlx")
    activations = activation_dtype(dtype, source.weights)
    return {
        "name": name,
        "revision": revision,
        "recipe": converted.get("recipe") if isinstance(converted, Mapping) else None,
        "parameters": sum(prod(shape) for shape in source.shapes.values()),
        "bits": source.weights.bits(),
        "dtype": str(activations).removeprefix("mlx.core."),
        "bytes_per_token": bytes_per_token(source, activations.size),
    }


def bytes_per_token(source: Source, item: int) -> int:
    """Bytes of weights that one decoded token reads, as they are in memory: packed as stored, everything else in an
    activation type of `item` bytes.

    That is the language model with its embedding table, all of which is read as the head; the token's own row, a few
    kB, counts with it. Vision and audio are not read. Of an assistant everything is.
    """
    tensors = source.weights.tensors.items()
    return sum(resident(tensor, item) for name, tensor in tensors if source.is_drafter or name.startswith(_READ))


def swap_used() -> int | None:
    """Bytes swapped out now, by all programs; None if the system does not say."""
    return macos.swap_used() if platform.system() == "Darwin" else linux.swap_used()


def linux_chip(cpuinfo: Path = _CPUINFO) -> str:
    """The processor's name; the architecture where it has none, as on most ARM systems."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    found = re.search(r"^model name[ \t]*:[ \t]*(\S.*)", text, re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def linux_power(supplies: Path = _SUPPLIES) -> Power | None:
    """What feeds the machine; None if it does not say, as desktops and virtual machines. A battery of a device, such
    as a mouse, is not the machine's."""
    own = [path for path in sorted(supplies.glob("*")) if _word(path / "scope") != "Device"]
    if any(_word(path / "type") in ("Mains", "USB") and _word(path / "online") not in ("", "0") for path in own):
        return "mains"
    batteries = {_word(path / "status") for path in own if _word(path / "type") == "Battery"}
    if "Discharging" in batteries:
        return "battery"
    return "mains" if batteries & {"Charging", "Not charging", "Full"} else None  # a charger that is not listed


def _word(path: Path) -> str:
    """What a file of sysfs says; "" if it cannot be read: supplies come and go, and some answer with an error."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def macos_chip() -> str:
    """Such as "Apple M4 Max"; the architecture if macOS does not say."""
    return macos.output("sysctl", "-n", "machdep.cpu.brand_string") or platform.machine()


def macos_cores() -> dict[str, int]:
    """Cores by kind as macOS calls them, such as {"performance": 4, "efficiency": 6}; kinds it does not tell are left
    out."""
    levels = macos.output("sysctl", "-n", "hw.nperflevels")
    found = {}
    for level in range(int(levels) if levels.isdecimal() else 0):
        name = macos.output("sysctl", "-n", f"hw.perflevel{level}.name").lower()
        count = macos.output("sysctl", "-n", f"hw.perflevel{level}.physicalcpu")
        if name and count.isdecimal():
            found[name] = int(count)
    return found


def macos_gpu_cores() -> int | None:
    """Cores of Apple's GPU, which tell chips of one name apart; None if the registry does not say."""
    found = re.search(r'"gpu-core-count" = (\d+)', macos.output("ioreg", "-r", "-d", "1", "-c", "AGXAccelerator"))
    return int(found[1]) if found else None


def macos_power() -> Power | None:
    """What feeds the Mac, from the line "Now drawing from 'AC Power'"; None for anything else, such as a UPS."""
    found = re.search(r"drawing from '(AC|Battery) Power'", macos.output("pmset", "-g", "batt"))
    return None if found is None else "mains" if found[1] == "AC" else "battery"
