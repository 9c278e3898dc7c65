"""What the machine is said to have, and limits that come back whatever happens."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import mlx.core as mx
import pytest

from gemma_mlx import device
from gemma_mlx.device import free_memory, memory_limits, this_machine
from gemma_mlx.errors import MemoryPlanError
from gemma_mlx.memory.sizes import GIB
from gemma_mlx.memory.values import Knobs, Machine, Plan

MAC = Machine("a Mac", "metal", 16 * GIB, int(10.67 * GIB), 9 * GIB)
PLAN = Plan(MAC, Knobs(8192, 512, 1, 280, False), (), 9 * GIB, 8192)
VM_STAT = """Mach Virtual Memory Statistics: (page size of 16384 bytes)
Pages free:                               12000.
Pages active:                            250000.
Pages inactive:                          240000.
Pages speculative:                         8000.
Pages throttled:                              0.
Pages wired down:                        150000.
Pages purgeable:                           4000.
"Translation faults":                 500000000.
"""


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """MLX's limits, kept in a dict: what is set for a Mac must not reach this process."""
    kept = {"memory": 1, "cache": 2, "wired": 0}

    def setter(name: str) -> object:
        def change(value: int) -> int:
            before, kept[name] = kept[name], value
            return before

        return change

    for name in kept:
        monkeypatch.setattr(mx, f"set_{name}_limit", setter(name))
    yield kept
    assert kept == {"memory": 1, "cache": 2, "wired": 0}


def test_this_machine_is_the_one_it_runs_on() -> None:
    machine = this_machine()
    assert machine.backend == ("metal" if mx.metal.is_available() else "cpu")
    assert GIB // 2 < machine.working_set < machine.ram
    assert machine.free is not None
    assert 0 < machine.free <= machine.ram


def test_a_machine_of_another_size() -> None:
    machine = this_machine(16 * GIB, mac=True)
    assert (machine.backend, machine.ram, machine.free) == ("metal", 16 * GIB, None)
    assert machine.working_set == 16 * GIB * 2 // 3  # the least that was reported of one: 10.67 GiB


def test_a_mac_says_itself_what_its_gpu_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    info = {"device_name": "Apple M4", "memory_size": 16 * GIB, "max_recommended_working_set_size": 12 * GIB}
    monkeypatch.setattr(mx, "device_info", lambda: info)
    monkeypatch.setattr(mx.metal, "is_available", lambda: True)
    assert replace(this_machine(), free=None) == Machine("Apple M4", "metal", 16 * GIB, 12 * GIB)


def test_free_pages_of_macos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    monkeypatch.setattr(device, "_output", lambda *command: VM_STAT if command == ("vm_stat",) else "")
    assert free_memory() == 264000 * 16384
    monkeypatch.setattr(device, "_output", lambda *command: "")
    assert free_memory() is None


@pytest.mark.parametrize("fault", [None, RuntimeError, KeyboardInterrupt])
def test_limits_are_those_of_the_plan_and_come_back(limits: dict[str, int], fault: type[BaseException] | None) -> None:
    with suppress(RuntimeError, KeyboardInterrupt), memory_limits(PLAN, 6 * GIB):
        assert limits == {"memory": 9 * GIB, "cache": 256 * 2**20, "wired": 0}
        if fault:
            raise fault


def test_a_large_machine_keeps_more_freed_buffers(limits: dict[str, int]) -> None:
    with memory_limits(replace(PLAN, machine=replace(MAC, ram=32 * GIB)), 6 * GIB):
        assert limits["cache"] == GIB


def test_wiring_covers_the_weights_and_little_more(limits: dict[str, int]) -> None:
    with memory_limits(PLAN, 6 * GIB, wire=True):
        assert limits["wired"] == 6 * GIB + 512 * 2**20


def test_a_mac_that_has_less_than_was_planned_for_says_so(
    limits: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLX raises ValueError above the GPU's own limit; no limit is changed then."""

    def refuse(_: int) -> int:
        raise ValueError("[metal::set_wired_limit] Setting a wired limit larger than the maximum working set size")

    monkeypatch.setattr(mx, "set_wired_limit", refuse)
    words = r"^wiring 7\.0 GB is more than this Mac lets its GPU use: leave out --wire$"
    with pytest.raises(MemoryPlanError, match=words), memory_limits(PLAN, 6 * GIB, wire=True):
        pass


def test_what_is_too_large_is_not_wired(limits: dict[str, int]) -> None:
    words = r"wiring 8\.6 GB .* 8\.6 GB are safe here: leave out --wire"
    with pytest.raises(MemoryPlanError, match=words), memory_limits(PLAN, 15 * GIB // 2 + 1, wire=True):
        pass
    with memory_limits(PLAN, 15 * GIB // 2, wire=True):
        assert limits["wired"] == 8 * GIB
