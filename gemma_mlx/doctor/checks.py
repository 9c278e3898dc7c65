"""Every check of `gemma-mlx doctor`, in the order of the report. Nothing here loads weights.

Knows which facts belong together: not how they are found (`macos`, `linux`, `permissions`, `builds`) nor judged.
"""

import os
import platform
import sys
from collections.abc import Iterator

import mlx.core as mx

from gemma_mlx.device import this_machine
from gemma_mlx.doctor import capture, files, linux, macos, memory, permissions, system
from gemma_mlx.doctor.builds import mlx_build
from gemma_mlx.doctor.finding import Finding
from gemma_mlx.memory.values import Machine


def check(name: str | None, dtype: str = "auto") -> Iterator[Finding]:
    """Findings about this machine, its packages and the model `name` (None: the one that commands take by themselves)
    with activations of `dtype`. Yields each as soon as it is known.
    """
    on_a_mac = platform.system() == "Darwin"
    info = mx.device_info()
    gpu = system.generation(str(info.get("architecture", "")))
    yield system.macos(macos.version(), gpu) if on_a_mac else Finding("system", "ok", linux.name())
    machine = this_machine()
    yield _chip(machine, on_a_mac)
    yield system.python(sys.version_info[:3], platform.machine())
    yield system.mlx(mlx_build(), gpu)
    if _computes_on_cpu() and not on_a_mac:
        yield from _cpu(dtype)
    model = files.model(name, dtype, machine)
    yield from _memory(machine, on_a_mac, model)
    yield from model.findings
    yield files.disk_here(name)
    yield from _capture(on_a_mac)


def _computes_on_cpu() -> bool:
    return mx.default_device() == mx.cpu


def _chip(machine: Machine, on_a_mac: bool) -> Finding:
    if on_a_mac and machine.backend != "metal":
        return system.metal_missing()
    backend = "cpu" if _computes_on_cpu() else "metal" if on_a_mac else "cuda"
    return system.chip(machine.name, str(mx.device_info().get("architecture", "unknown")), backend)


def _cpu(dtype: str) -> Iterator[Finding]:
    openblas = linux.installed_openblas()
    yield system.blas(linux.fast_blas(), str(openblas) if openblas else None)
    yield system.compiler(linux.compiler())
    yield system.precision(dtype)


def _memory(machine: Machine, on_a_mac: bool, model: files.Model) -> Iterator[Finding]:
    yield memory.memory(machine)
    yield memory.free(machine, model.needed, model.subject)
    yield memory.swap(macos.swap_used() if on_a_mac else linux.swap_used())
    if on_a_mac and (finding := memory.wired_limit(macos.wired_limit(), machine)):
        yield finding


def _capture(on_a_mac: bool) -> Iterator[Finding]:
    if on_a_mac:
        app = capture.app(os.environ.get("TERM_PROGRAM"))
        yield capture.microphone(permissions.microphone(), app)
        yield capture.screen(permissions.screen(), app)
    else:
        yield capture.portaudio(linux.portaudio())
        yield capture.display(linux.display())
