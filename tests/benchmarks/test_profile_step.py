"""What a step is made of: nodes counted on graphs that are known, both programs in turns, a model without a drafter."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import mlx.core as mx
import pytest

from gemma_mlx.benchmarks import dispatch, profile_step
from gemma_mlx.benchmarks.dispatch import Ours, Vlm
from gemma_mlx.benchmarks.graph import as_on_a_gpu, compiled, dispatches, kept_together, nodes
from gemma_mlx.benchmarks.layout import Size
from gemma_mlx.benchmarks.peers.program import Settings
from gemma_mlx.benchmarks.profile_step import NARROW, PROMPT, compared, fabricate, main, profile
from gemma_mlx.benchmarks.schema import OURS, Result, read
from gemma_mlx.errors import ConfigError, GemmaError
from gemma_mlx.memory.values import Machine

SIX = replace(NARROW, layers=6)
KINDS = ("nodes per {}", "nodes per {} on a GPU", "host time per {}", "graph building per {}", "time per {}")
PEER = "mlx-vlm"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return fabricate(tmp_path_factory.mktemp("six"), SIX)


@pytest.fixture(autouse=True)
def twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile_step, "REPETITIONS", 2)


class Other(Ours):
    """Stands in for the peer."""

    name = PEER


def test_nodes_of_known_graphs() -> None:
    a = mx.array([1.0, 2.0])
    assert nodes([a]) == 0
    root = mx.sqrt(a)
    assert nodes([root]) == 1
    assert nodes([root, root + root]) == 2  # what is shared counts once
    mx.eval(root)
    assert nodes([root + root]) == 1
    fused = mx.compile(lambda x: mx.exp(x) * x + x)
    assert nodes([fused(a)]) == 1


def test_every_dispatch_is_seen_and_the_real_one_is_back() -> None:
    real, a = mx.async_eval, mx.array([1.0, 2.0])
    with pytest.raises(RuntimeError, match="fault"), dispatches(counted=True) as found:
        mx.async_eval(mx.sqrt(a), [mx.exp(a), {"x": (mx.sin(a),)}])
        mx.async_eval(a)
        raise RuntimeError("fault")
    assert found.nodes == [3, 0]
    assert len(found.ms) == 2
    assert all(ms >= 0 for ms in found.ms)
    assert mx.async_eval is real


def test_a_block_is_counted_whole_though_its_parts_are_begun() -> None:
    def build() -> mx.array:
        x = mx.array([1.0, 2.0])
        for _ in range(3):
            x = mx.sqrt(x)
            mx.async_eval(x)
        return x

    assert kept_together(build) == 3
    assert nodes([build()]) == 0


def test_on_a_gpu_fast_operations_are_one_node_each() -> None:
    x, weight = mx.ones((1, 2, 1, 8)), mx.ones((8,))
    mx.eval(x, weight)
    with as_on_a_gpu():
        normed = mx.fast.rms_norm(x, weight, 1e-6)
        turned = mx.fast.rope(normed, 8, traditional=False, base=1e4, scale=1.0, offset=3)
        attended = mx.fast.scaled_dot_product_attention(turned, turned, turned, scale=1.0)
        assert [nodes([each]) for each in (normed, turned, attended)] == [1, 2, 3]
        assert nodes([mx.fast.rms_norm(x, None, 1e-6)]) == 1
    assert attended.shape == x.shape
    if mx.default_device() == mx.cpu:
        assert nodes([mx.fast.rms_norm(x, None, 1e-6)]) > 3


def test_every_case_of_a_model_and_its_drafter(pair: tuple[Path, Path]) -> None:
    found = _by_case(profile(*pair, Settings()))
    assert set(found) == {
        (case, OURS)
        for of in ("decoded token", "drafter step")
        for case in (*(kind.format(of) for kind in KINDS), f"bytes read per {of}")
    }
    for of in ("decoded token", "drafter step"):
        here, there = (found[kind.format(of), OURS].values for kind in KINDS[:2])
        assert 0 < there[0] <= here[0]
        host, building = (found[f"{kind} per {of}", OURS].values for kind in ("host time", "graph building"))
        assert len(host) == len(building) == 2
        assert all(0 < part < whole for part, whole in zip(building, host, strict=True))


def test_bytes_are_all_weights_and_the_rows_in_reach(pair: tuple[Path, Path]) -> None:
    found = _by_case(profile(*pair, Settings(dtype="float32")))
    sliding, full = SIX.kv_heads * SIX.head_dim, 2 * SIX.head_dim
    rows = 4 * 2 * len(PROMPT)  # float32, keys and values
    assert found["bytes read per decoded token", OURS].values == (_floats(SIX) * 4 + rows * (5 * sliding + full),)
    drafter = sum(array.nbytes for array in _stored(pair[1]))
    assert found["bytes read per drafter step", OURS].values == (drafter + rows * (3 * sliding + full),)


def test_without_a_drafter_only_tokens_are_profiled(pair: tuple[Path, Path]) -> None:
    cases = {result.case for result in profile(pair[0], None, Settings())}
    assert cases == {*(kind.format("decoded token") for kind in KINDS), "bytes read per decoded token"}


def test_a_layer_costs_few_nodes(tmp_path: Path) -> None:
    here: list[float] = []
    there: list[float] = []
    for layers in (6, 12):
        target, _ = fabricate(tmp_path / str(layers), replace(NARROW, layers=layers), bits=4)
        with compiled():
            found = _by_case(profile(target, None, Settings()))
        here += found["nodes per decoded token", OURS].values
        there += found["nodes per decoded token on a GPU", OURS].values
    assert there[1] - there[0] <= 6 * 29
    assert here[1] - here[0] <= 6 * 80


def test_programs_take_turns(pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[str] = []
    measure = profile_step.decoding

    def noted(program: Ours) -> profile_step.Spent:
        turns.append(program.name)
        return measure(program)

    monkeypatch.setattr(profile_step, "Vlm", Other)
    monkeypatch.setattr(profile_step, "decoding", noted)
    found = _by_case(compared(*pair, 3))
    assert turns == [OURS, PEER, PEER, OURS, OURS, PEER]
    assert {program for _, program in found} == {OURS, PEER}
    assert all(len(found[case, OURS].values) == len(result.values) for (case, _), result in found.items())
    assert found["nodes per drafter step", OURS].values == found["nodes per drafter step", PEER].values
    assert found["time per decoded token", PEER].details["same_ids"] is True


def test_other_tokens_are_told(pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(Other):
        def decode(self, ids: list[int], tokens: int) -> Iterator[int]:
            return (token + 1 for token in super().decode(ids, tokens))

    monkeypatch.setattr(profile_step, "Vlm", Wrong)
    assert not any(r.details["same_ids"] for r in compared(pair[0], None, 1) if "token" in r.case)


def test_faults_of_a_person_name_what_to_do(pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"config\.json"):
        profile(pair[0].parent / "nowhere", None, Settings())
    monkeypatch.setattr(dispatch, "hide", lambda *_: None)
    monkeypatch.setitem(sys.modules, "mlx_vlm", None)
    with pytest.raises(GemmaError, match="pip install 'mlx-vlm"):
        Vlm(*pair, "auto")
    size = sum(file.stat().st_size for file in pair[0].glob("*.safetensors"))
    machine = Machine("small", "cpu", ram=int(2.8 * size), working_set=size)
    monkeypatch.setattr(profile_step, "this_machine", lambda: machine)
    with pytest.raises(GemmaError, match="without --compare"):
        compared(*pair, 1)


def test_a_run_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile_step, "Vlm", Other)
    out = tmp_path / "out.jsonl"
    main(["--rounds", "1", "--layers", "6", "--out", str(out)])
    (run,) = read(out)
    assert run.finished
    assert len(run.results) == 2 * 2 * 2 * 6  # programs, packings, kinds of step, cases
    assert {result.case.rpartition(", ")[2] for result in run.results} == {"float32", "4-bit"}
    assert str(tmp_path) not in out.read_text()


def test_what_was_measured_before_an_interrupt_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Path] = []

    def interrupted(target: Path, assistant: Path, rounds: int) -> list[Result]:
        calls.append(target)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return [Result("profile", "nodes", OURS, "nodes", (1.0,) * rounds)]

    monkeypatch.setattr(profile_step, "compared", interrupted)
    with pytest.raises(KeyboardInterrupt):
        main(["--rounds", "1", "--layers", "6", "--out", str(tmp_path / "out.jsonl")])
    (run,) = read(tmp_path / "out.jsonl")
    assert (run.finished, len(run.results)) == (False, 1)


@pytest.mark.parametrize("wrong", [["--rounds", "0"], ["--layers", "0"], ["--layers", "7"]])
def test_impossible_numbers_are_refused(wrong: list[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as fault:
        main([*wrong, "--out", str(tmp_path / "out.jsonl")])
    assert fault.value.code == 2
    assert not (tmp_path / "out.jsonl").exists()


def _by_case(results: list[Result]) -> dict[tuple[str, str], Result]:
    assert all(result.suite == "profile" for result in results)
    return {(result.case, result.program): result for result in results}


def _stored(directory: Path) -> list[mx.array]:
    loaded = mx.load(str(directory / "model.safetensors"))
    assert isinstance(loaded, dict)
    return list(loaded.values())


def _floats(size: Size) -> int:
    """Weights of the language model, by hand."""
    total = size.vocabulary * size.hidden + size.hidden
    for layer in range(size.layers):
        full = layer % 6 == 5
        dim = size.head_dim * (2 if full else 1)
        keys = dim if full else size.kv_heads * dim
        total += 4 * size.hidden + 1 + 2 * dim + 3 * size.hidden * size.intermediate
        total += size.hidden * (2 * size.heads * dim + keys * (1 if full else 2))
    return total
