"""`gemma-mlx convert` as a person uses it."""

import os
import shutil
from pathlib import Path

import pytest

from gemma_mlx.convert import run
from gemma_mlx.loading import load, load_drafter
from gemma_mlx.models import find_model
from tests.command import gemma_mlx
from tests.convert import checkpoints
from tests.convert.checkpoints import contents


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where pulled models are."""
    monkeypatch.setenv("GEMMA_MLX_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "models"


@pytest.fixture
def model(tmp_path: Path, plain_demo: Path) -> Path:
    return Path(shutil.copytree(plain_demo, tmp_path / "model"))


def test_a_directory_is_converted_beside_it(model: Path) -> None:
    done = gemma_mlx("convert", model)
    place = model.with_name("model-4bit")
    assert done.code == 0
    (line,) = done.out.splitlines()
    assert line.startswith(f"{place}: 8.2 MB, language 4 bits, vision 16 bits, audio 16 bits, ")
    assert line.endswith(f" s; gemma-mlx chat --model {place}")
    (said,) = done.err.splitlines()
    assert said.startswith(f"{model} to {place}: 8.2 MB, 4-bit in groups of 64; ")
    assert load(place).bits == {"language": 4, "vision": 16, "audio": 16}
    assert sorted(path.name for path in model.parent.iterdir()) == ["model", "model-4bit"]


def test_a_name_is_converted_among_the_pulled_models(home: Path) -> None:
    done = gemma_mlx("convert", "demo", "--recipe", "8bit")
    assert done.code == 0
    assert load(home / "demo-8bit").bits["language"] == 8
    assert gemma_mlx("ask", "hello", "--model", "demo-8bit", "--max-tokens", "1").code == 0


def test_a_model_in_the_cache_is_named_after_its_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path, plain_demo: Path
) -> None:
    snapshot = tmp_path / "hub" / "models--google--gemma-4-12B-it" / "snapshots" / ("5" * 40)
    shutil.copytree(plain_demo, snapshot)
    monkeypatch.setattr("gemma_mlx.models.find_model", lambda name: snapshot)
    assert gemma_mlx("convert", "google/gemma-4-12B-it").code == 0
    assert (home / "gemma-4-12B-it-4bit").is_dir()


def test_the_assistant(tmp_path: Path, plain_assistant: Path) -> None:
    done = gemma_mlx("convert", plain_assistant, "-o", tmp_path / "out")
    assert done.code == 0
    assert done.out.startswith(f"{tmp_path / 'out'}: ")
    assert "chat" not in done.out
    load_drafter(tmp_path / "out", target=load("demo").config)


def test_an_output_in_the_home_directory(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert gemma_mlx("convert", model, "-o", "~/deep/out").code == 0
    assert (tmp_path / "deep" / "out" / "config.json").is_file()


def test_the_current_directory(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = model.parent / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    assert gemma_mlx("convert", "../model", "-o", ".").code == 0
    assert (place / "config.json").is_file()


def test_force_replaces_a_model(model: Path) -> None:
    place = model.with_name("model-4bit")
    gemma_mlx("convert", model)
    first = contents(place)
    gemma_mlx("convert", model, "-o", place, "--recipe", "8bit", "--force")
    assert load(place).bits["language"] == 8
    assert gemma_mlx("convert", model, "--force").code == 0
    assert contents(place) == first


def test_packing_again_is_warned_of_once(model: Path) -> None:
    gemma_mlx("convert", model)
    packed = model.with_name("model-4bit")
    done = gemma_mlx("convert", packed, "--recipe", "8bit")
    assert done.code == 0
    assert done.err.count("is quantized already: what that lost stays lost") == 1


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    source = checkpoints.target(tmp_path / "a")
    for name in checkpoints.TOKENIZER:
        (source / name).unlink()
    done = gemma_mlx("convert", source)
    assert done.code == 0
    assert (
        f"{source} has no tokenizer and no chat template and no processor_config.json: without, the output" in done.err
    )


def test_mixed_within_a_size(model: Path) -> None:
    done = gemma_mlx("convert", model, "--target-size", "9MB")
    assert done.code == 0
    place = model.with_name("model-mixed")
    assert sum(file.stat().st_size for file in place.glob("*.safetensors")) <= 9_000_000
    assert 4 < load(place).bits["language"] < 8
    again = gemma_mlx("convert", model, "-o", model.with_name("b"), "--recipe", "mixed", "--target-size", "9 MB")
    assert again.code == 0
    assert contents(model.with_name("b")) == contents(place)
    fault = gemma_mlx("convert", model, "-o", model.with_name("c"), "--target-size", "1MB").fault
    assert "1.0 MB is less than the 8.3 MB that 4 bits take" in fault
    assert gemma_mlx("convert", model, "--target-size", "big").fault.startswith("'big' is no size: write it as ")


@pytest.mark.parametrize("arguments", [("--recipe", "mixed"), ("--recipe", "4bit", "--target-size", "8GB"), ()])
def test_wrong_usage(arguments: tuple[str, ...]) -> None:
    source = ("demo",) if arguments else ()
    run = gemma_mlx("convert", *source, *arguments)
    assert run.code == 2
    words = {2: "--recipe: mixed needs --target-size SIZE", 4: "--recipe: --target-size is for mixed", 0: "SRC"}
    assert words[len(arguments)] in run.err


def test_empty_names() -> None:
    assert gemma_mlx("convert", "").fault.startswith("'' is no directory: give")
    assert gemma_mlx("convert", "demo", "-o", "").fault == "-o '' names no directory: give one, or leave -o out"


def test_ctrl_c_and_again(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, left = os.pwrite, iter(range(50))

    def interrupted(descriptor: int, data: memoryview, start: int) -> int:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return write(descriptor, data, start)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", interrupted)
        stopped = gemma_mlx("convert", model)
    assert stopped.code == 130
    partial = model.with_name(".model-4bit.partial")
    assert stopped.err.splitlines()[-1] == f"stopped; the same command goes on from here, with what is in {partial}"
    assert partial.is_dir()
    assert not model.with_name("model-4bit").exists()
    assert gemma_mlx("convert", model).code == 0
    assert sorted(path.name for path in model.parent.iterdir()) == ["model", "model-4bit"]


def test_check(model: Path) -> None:
    done = gemma_mlx("convert", model, "--check")
    assert done.code == 0
    assert len(done.out.splitlines()) > 2
    assert done.out.splitlines()[-1].startswith("logits     same best token at ")
    assert "asking both models for their logits, up to 2 minutes each" in done.err.splitlines()[-1]


def test_check_of_what_cannot_be_asked(tmp_path: Path) -> None:
    done = gemma_mlx("convert", find_model("demo").with_name("demo-assistant"), "-o", tmp_path / "out", "--check")
    assert done.code == 0
    assert done.out.splitlines()[-1] == "logits     not compared: the assistant answers nothing without its target"
    assert "asking" not in done.err


@pytest.mark.parametrize("place", ["gemma_mlx.convert.check.check", "gemma_mlx.convert.agreement.agreement"])
def test_ctrl_c_while_it_compares(place: str, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(place, interrupted)
    stopped = gemma_mlx("convert", model, "--check")
    output = model.with_name("model-4bit")
    assert stopped.code == 130
    assert stopped.err.splitlines()[-1] == f"stopped; {output} is finished, only the comparison is not"
    load(output)


def test_the_bar_counts_bytes_of_the_source(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, int]] = []
    plain = run.convert

    def watched(*arguments: object, **options: object) -> object:
        source, output, recipe, progress = arguments

        def both(done: int, total: int) -> None:
            calls.append((done, total))
            progress(done, total)  # type: ignore[operator]

        return plain(source, output, recipe, both, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(run, "convert", watched)
    gemma_mlx("convert", model)
    size = (model / "model.safetensors").stat().st_size
    assert calls[0][0] == 0
    assert 0.99 * size < calls[-1][0] == calls[-1][1] <= size
