"""`--check`: errors by kind of tensor, kept tensors bit by bit, and logits where they fit."""

import shutil
from collections.abc import Callable
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

import gemma_mlx
from gemma_mlx.convert import agreement
from gemma_mlx.convert import check as check_module
from gemma_mlx.convert.agreement import Agreement, obstacle
from gemma_mlx.convert.check import CheckReport, Row, check
from gemma_mlx.convert.recipes import find_recipe
from gemma_mlx.convert.run import convert
from gemma_mlx.convert.source import Source
from gemma_mlx.convert.values import open_values
from gemma_mlx.errors import CheckpointError
from tests.convert import outliers

ASSETS = Path(gemma_mlx.__file__).parent / "assets"
DEMO, ASSISTANT = ASSETS / "demo", ASSETS / "demo-assistant"
MATRICES = {"q", "k", "v", "o", "gate", "up", "down", "embedding"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return outliers.write(tmp_path_factory.mktemp("source"), mx.float32)


@pytest.fixture(scope="module")
def four_bit(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("output") / "4bit"
    convert(source, output, find_recipe("4bit"))
    return output


@pytest.fixture
def damaged(four_bit: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of the conversion with one bit flipped in the middle of a tensor, given by our name."""

    def damage(name: str) -> Path:
        output = Path(shutil.copytree(four_bit, tmp_path / "damaged"))
        tensor = Source.read(output).weights.tensors[name]
        content = bytearray(tensor.file.read_bytes())
        content[tensor.start + tensor.nbytes // 2] ^= 1
        tensor.file.write_bytes(content)
        return output

    return damage


def row(report: CheckReport, kind: str) -> Row:
    (found,) = (row for row in report.rows if row.kind == kind)
    return found


@pytest.mark.parametrize("recipe", ["4bit", "4bit-g32", "8bit", "qat-q4_0"])
def test_errors_are_those_of_the_matrices_of_a_kind_together(recipe: str, source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "output", find_recipe(recipe))
    report = check(source, tmp_path / "output")
    before, after = (mx.load(str(place / "model.safetensors")) for place in (source, tmp_path / "output"))
    assert isinstance(before, dict)
    assert isinstance(after, dict)
    stored = find_recipe(recipe).default
    assert stored is not None
    for kind in ("down_proj", "q_proj"):
        lost, size, errors = 0.0, 0.0, []
        for name in (name for name in before if kind in name):
            weight, scales, biases = (after[f"{_theirs(name)}.{part}"] for part in ("weight", "scales", "biases"))
            exact = np.array(before[name], np.float64)
            restored = np.array(mx.dequantize(weight, scales, biases, stored.group_size, stored.bits), np.float64)
            errors.append(np.linalg.norm(restored - exact) / np.linalg.norm(exact))
            lost, size = lost + np.sum((restored - exact) ** 2), size + np.sum(exact**2)
        found = row(report, kind.removesuffix("_proj"))
        assert found.tensors == len(errors) == 7
        assert found.error == pytest.approx((lost / size) ** 0.5, rel=1e-5)
        assert found.worst_error == pytest.approx(max(errors), rel=1e-5)


def _theirs(name: str) -> str:
    return name.removeprefix("model.").replace("language_model.", "language_model.model.").removesuffix(".weight")


def test_kinds_are_complete_and_in_order(source: Path, four_bit: Path) -> None:
    report = check(source, four_bit)
    assert {row.kind for row in report.rows if row.error is not None} == MATRICES
    assert {row.kind for row in report.rows if row.error is None} == {"vision", "audio", "kept"}
    assert report.cast is None
    errors = [row.error or -1 for row in report.rows]
    assert errors == sorted(errors, reverse=True)
    assert report.rows[0].kind == "down"
    assert sum(row.tensors for row in report.rows) == len(Source.read(source).shapes)


def test_slices_change_nothing(source: Path, four_bit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = check(source, four_bit)
    monkeypatch.setattr(check_module, "_SLICE", 1000)
    for ours, theirs in zip(check(source, four_bit).rows, whole.rows, strict=True):
        assert (ours.kind, ours.tensors, ours.worst) == (theirs.kind, theirs.tensors, theirs.worst)
        assert (ours.error is None) == (theirs.error is None)
        assert (ours.error or 0) == pytest.approx(theirs.error or 0, rel=1e-6)


@pytest.mark.parametrize("values", [1, 63, 64, 65, 127, 128, 128 * 64 - 1, 128 * 64, 128 * 64 + 1])
def test_slices_are_all_rows_in_order(values: int, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_module, "_SLICE", values)
    with open_values(Source.read(source)) as opened:
        slices = list(check_module._slices(opened, "language_model.embed_tokens.weight"))
        (single,) = check_module._slices(opened, "language_model.norm.weight")
    assert [row for first, last in slices for row in range(first, last)] == list(range(128))
    assert max(last - first for first, last in slices) == min(128, max(1, values // 64))
    assert single == (0, 1)


@pytest.mark.parametrize(
    "name",
    [
        "vision_embedder.patch_dense.weight",
        "vision_embedder.pos_embedding",
        "embed_audio.embedding_projection.weight",
        "language_model.layers.3.layer_scalar",
        "language_model.norm.weight",
    ],
)
def test_one_bit_of_a_kept_tensor_is_a_fault_that_names_it(
    name: str, source: Path, damaged: Callable[[str], Path]
) -> None:
    with pytest.raises(CheckpointError, match="is not the source's: convert again") as fault:
        check(source, damaged(name))
    assert name.removeprefix("language_model.") in str(fault.value)
    assert "\n" not in str(fault.value)


def test_one_bit_of_a_packed_tensor_shows_in_its_error(
    source: Path, four_bit: Path, damaged: Callable[[str], Path]
) -> None:
    name = "language_model.layers.2.mlp.gate_proj.weight"
    before, after = row(check(source, four_bit), "gate"), row(check(source, damaged(name)), "gate")
    assert after.error != before.error


def test_a_cast_is_told_and_checked(source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "bf16", find_recipe("bf16"))
    report = check(source, tmp_path / "bf16")
    assert report.cast == "BF16"
    assert all(row.error is None for row in report.rows)
    assert {row.kind for row in report.rows} == MATRICES | {"vision", "audio", "kept"}
    assert "the source's values, rounded to BF16" in report.lines()[0]
    tensor = Source.read(tmp_path / "bf16").weights.tensors["language_model.embed_tokens.weight"]
    content = bytearray(tensor.file.read_bytes())
    content[tensor.start] ^= 1
    tensor.file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"embed_tokens\.weight is not the source's"):
        check(source, tmp_path / "bf16")


def test_a_source_that_was_packed_already_is_compared_as_it_is(four_bit: Path, tmp_path: Path) -> None:
    convert(four_bit, tmp_path / "again", find_recipe("4bit"))
    convert(four_bit, tmp_path / "8bit", find_recipe("8bit"))
    convert(four_bit, tmp_path / "bf16", find_recipe("bf16"))
    assert {row.error for row in check(four_bit, tmp_path / "again").rows} == {0.0, None}
    for name, most in (("8bit", 0.02), ("bf16", 0.004)):
        errors = [row.error for row in check(four_bit, tmp_path / name).rows if row.error is not None]
        assert len(errors) == len(MATRICES)
        assert max(errors) < most


def test_another_model_is_a_fault(source: Path, four_bit: Path) -> None:
    for other in (DEMO, ASSISTANT):
        with pytest.raises(CheckpointError, match=r"is no conversion of .*: it has other tensors") as fault:
            check(other, four_bit)
        assert "\n" not in str(fault.value)


def test_progress_ends_with_all_bytes(source: Path, four_bit: Path) -> None:
    seen: list[tuple[int, int]] = []
    check(source, four_bit, lambda done, total: seen.append((done, total)))
    assert len({total for _, total in seen}) == 1
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == seen[-1][1] == Source.read(source).weights.nbytes


def test_logits_agree_the_more_the_less_is_lost(tmp_path: Path, plain_demo: Path) -> None:
    found: dict[str, Agreement] = {}
    for recipe in ("bf16", "8bit", "4bit"):
        convert(plain_demo, tmp_path / recipe, find_recipe(recipe))
        found[recipe] = agreement.agreement(Source.read(plain_demo), Source.read(tmp_path / recipe))
    assert found["bf16"].top1 == 1
    assert found["bf16"].divergence == pytest.approx(0, abs=1e-6)
    assert 0 < 10 * found["8bit"].divergence < found["4bit"].divergence
    assert found["4bit"].top1 < found["8bit"].top1 <= 1
    assert {logits.positions for logits in found.values()} == {found["bf16"].positions}


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_pieces_change_no_logits(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = list(range(2, 23))
    whole = agreement._logits(DEMO, ids, 60)
    monkeypatch.setattr(agreement, "_PIECE", piece)
    assert mx.allclose(agreement._logits(DEMO, ids, 60), whole, atol=1e-4)
    assert agreement._logits(DEMO, ids, 0).shape == (min(piece, 21), whole.shape[1])


def test_what_was_read_in_time_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    demo = Source.read(DEMO)
    found = agreement.agreement(demo, demo, seconds=0)
    assert (found.positions, found.top1) == (agreement._PIECE, 1)
    rows = iter([20, 12])  # the second is slower
    monkeypatch.setattr(agreement, "_logits", lambda *_: mx.zeros((next(rows), 5)))
    assert agreement.agreement(demo, demo).positions == 12


def test_agreement_from_its_definition() -> None:
    rng = np.random.default_rng(0)
    wanted, got = (logits - np.log(np.exp(logits).sum(-1, keepdims=True)) for logits in rng.normal(size=(2, 5, 7)))
    expected = [sum(np.exp(p) * (p - q) for p, q in zip(*pair, strict=True)) for pair in zip(wanted, got, strict=True)]
    found = agreement._compared(mx.array(wanted), mx.array(got))
    assert found.divergence == pytest.approx(np.mean(expected), rel=1e-4)
    assert found.top1 == pytest.approx(np.mean(wanted.argmax(-1) == got.argmax(-1)))
    assert found.positions == 5


def test_logits_that_do_not_fit_are_not_compared(source: Path, four_bit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = agreement._loaded_bytes(Source.read(source))
    monkeypatch.setattr(agreement, "free_memory", lambda: free - 1)
    both = Source.read(source), Source.read(four_bit)
    assert obstacle(*both) == f"{free / 1e6:.1f} MB of memory are needed, {free / 1e6:.1f} MB are free"
    for enough in (free, None):
        monkeypatch.setattr(agreement, "free_memory", lambda enough=enough: enough)
        assert "tokenizer" in str(obstacle(*both))  # this one has none
    assert obstacle(Source.read(DEMO), Source.read(DEMO)) is None


def test_an_assistant_is_checked_without_logits(tmp_path: Path) -> None:
    convert(ASSISTANT, tmp_path / "8bit", find_recipe("8bit", drafter=True))
    report = check(ASSISTANT, tmp_path / "8bit")
    assert {row.kind for row in report.rows} == MATRICES - {"k", "v"} | {"projection", "kept"}
    both = Source.read(ASSISTANT), Source.read(tmp_path / "8bit")
    assert obstacle(*both) == "the assistant answers nothing without its target"


def test_the_report_is_a_table() -> None:
    rows = (
        Row("down", 48, 0.0943, 0.1251, "language_model.layers.3.mlp.down_proj.weight"),
        Row("embedding", 1, 0.0839, 0.0839, "language_model.embed_tokens.weight"),
        Row("kept", 338),
    )
    assert CheckReport(rows, None).lines() == [
        "down         48 tensors  error 9.43 %, at most 12.51 % in language_model.layers.3.mlp.down_proj.weight",
        "embedding     1 tensor   error 8.39 %",
        "kept        338 tensors  the source's bits",
    ]
    told = "same best token at 95.5 % of 89 positions, mean divergence 0.0123 nats"
    assert str(Agreement(89, 0.9551, 0.01234)) == told
