"""Verdicts on memory: limits met exactly, and one byte over."""

from gemma_mlx.doctor import memory
from gemma_mlx.memory.plan import limit_of
from gemma_mlx.memory.sizes import GIB, gigabytes
from gemma_mlx.memory.values import Machine

AIR = Machine("Apple M4", "metal", 16 * GIB, int(10.67 * GIB), 7 * GIB)
LINUX = Machine("some Xeon", "cpu", 25 * 10**9, 20 * 10**9, None)


def test_memory_names_what_a_plan_may_use() -> None:
    text = memory.memory(AIR).text
    assert text.startswith("16 GB Mac, ")
    assert memory.memory(LINUX).text.startswith("23.3 GB machine, ")
    assert gigabytes(AIR.working_set) in text
    assert gigabytes(limit_of(AIR)) in text
    assert "GPU" not in memory.memory(LINUX).text


def test_free_memory_is_compared_with_what_the_model_needs() -> None:
    assert AIR.free is not None
    assert memory.free(AIR, AIR.free).state == "ok"
    assert memory.free(AIR, None).state == "ok"
    found = memory.free(AIR, AIR.free + 2 * 10**9)
    assert found.state == "warning"
    assert "2.0 GB" in found.advice
    assert memory.free(LINUX, 1).state == "warning"
    assert "free, the 12B needs 2.0 GB" in memory.free(AIR, 2 * 10**9, "the 12B").text


def test_swap() -> None:
    assert [memory.swap(used).state for used in (0, GIB - 1, GIB, None)] == ["ok", "ok", "warning", "warning"]
    assert "1.1 GB" in memory.swap(GIB).text


def test_a_limit_set_by_hand() -> None:
    assert memory.wired_limit(0, AIR) is None
    fair, high = memory.wired_limit(13 * GIB, AIR), memory.wired_limit(13 * GIB + 1, AIR)
    assert fair is not None
    assert high is not None
    assert (fair.state, high.state) == ("ok", "warning")
    assert "13312" in fair.text
