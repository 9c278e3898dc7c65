"""Findings about memory: what there is, what a plan may use of it, and what already presses.

Knows facts as plain values: not how they were found, and no plan's arithmetic beyond its limit.
"""

from gemma_mlx.doctor.finding import Finding
from gemma_mlx.memory.plan import limit_of
from gemma_mlx.memory.sizes import GIB, gigabytes
from gemma_mlx.memory.values import Machine

_MUCH_SWAP = GIB  # less is what a system that runs for days has anyway
_SYSTEM = 3 * GIB  # what macOS needs beside what the GPU wires, or it freezes


def memory(machine: Machine) -> Finding:
    """Memory, the share that MLX may use and the limit of a plan."""
    allowed = f"a plan may use {gigabytes(limit_of(machine))}"
    if machine.backend == "cpu":
        return Finding("memory", "ok", f"{machine.kind}, {allowed}")
    text = f"{machine.kind}, its GPU should use {gigabytes(machine.working_set)}, {allowed}"
    return Finding("memory", "ok", text)


def free(machine: Machine, needed: int | None, subject: str = "a conversation") -> Finding:
    """What is free now, beside what a conversation of comfortable length needs with the model, if that is known.
    `subject`: in words, what needs it."""
    if machine.free is None:
        return Finding("free memory", "warning", "the system does not say", "close what you do not need")
    text = f"{gigabytes(machine.free)} free"
    if needed is None:
        return Finding("free memory", "ok", text)
    text += f", {subject} needs {gigabytes(needed)}"
    if machine.free < needed:
        advice = f"close programs that hold {gigabytes(needed - machine.free)}, browsers first"
        return Finding("free memory", "warning", text, advice)
    return Finding("free memory", "ok", text)


def swap(used: int | None) -> Finding:
    """What is swapped out already."""
    if used is None:
        return Finding("swap", "warning", "the system does not say", "if answers crawl, close other programs")
    text = f"{gigabytes(used)} swapped out" if used else "none in use"
    if used >= _MUCH_SWAP:
        return Finding("swap", "warning", text, "close other programs before loading: a swapping model crawls")
    return Finding("swap", "ok", text)


def wired_limit(limit: int, machine: Machine) -> Finding | None:
    """A limit of the GPU's memory that was set by hand; None if it was not."""
    if not limit:
        return None
    text = f"iogpu.wired_limit_mb is {limit // 2**20}, {gigabytes(limit)}, until the next start"
    if machine.ram - limit < _SYSTEM:
        advice = "sudo sysctl iogpu.wired_limit_mb=0 lets macOS choose again"
        return Finding("GPU limit", "warning", f"{text}: too little is left for macOS, it may freeze", advice)
    return Finding("GPU limit", "ok", text)
