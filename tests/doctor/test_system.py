"""Verdicts on recorded-like facts: versions at and around their limits, wheel tags, GPUs."""

import pytest

from gemma_mlx.doctor import system
from gemma_mlx.doctor.builds import mlx_build, wheel_tags
from gemma_mlx.doctor.finding import Finding
from gemma_mlx.doctor.system import Build

M4, M5 = 16, 17
OLD_WHEEL = """Wheel-Version: 1.0
Generator: setuptools (84.0.0)
Root-Is-Purelib: false
Tag: py3-none-macosx_15_0_arm64

"""
NEW_WHEEL = OLD_WHEEL.replace("15_0", "26_0")


def build(wheel: str, version: str = "0.32.4", backend_version: str = "0.32.4") -> Build:
    return Build(version, "mlx-metal", backend_version, wheel_tags(wheel))


@pytest.mark.parametrize(
    ("version", "gpu", "state"),
    [
        ("13.7.8", M4, "fix"),
        ("14.0", M4, "ok"),
        ("15.6.1", M4, "ok"),
        ("15.6.1", M5, "warning"),
        ("26.1", M5, "warning"),
        ("26.2", M5, "ok"),
        ("27.0", M5, "ok"),
        ("26.1", None, "ok"),
        ("", M5, "warning"),
    ],
)
def test_macos(version: str, gpu: int | None, state: str) -> None:
    found = system.macos(version, gpu)
    assert found.state == state
    assert version in found.text


@pytest.mark.parametrize(
    ("architecture", "expected"),
    [("applegpu_g13g", 13), ("applegpu_g17s", 17), ("applegpu_g18", 18), ("x86_64", None), ("sm_90", None), ("", None)],
)
def test_generation_of_the_gpu(architecture: str, expected: int | None) -> None:
    assert system.generation(architecture) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("26.2.1", (26, 2, 1)), ("0.32.4.dev20260101+abc", (0, 32, 4)), ("14", (14,)), ("", ())]
)
def test_version(text: str, expected: tuple[int, ...]) -> None:
    assert system.version_of(text) == expected


def test_only_an_m5_needs_the_new_wheel() -> None:
    assert system.mlx(build(NEW_WHEEL), M5).state == system.mlx(build(OLD_WHEEL), M4).state == "ok"
    found = system.mlx(build(OLD_WHEEL), M5)
    assert found.state == "warning"
    assert "macosx_15_0_arm64" in found.text
    assert "mlx-metal==0.32.4" in found.advice
    assert system.mlx(build("no tag here"), M5).state == "warning"


@pytest.mark.parametrize(
    ("installed", "state", "words"),
    [
        (build(NEW_WHEEL, "0.32.3", "0.32.3"), "fix", "upgrade"),
        (build(NEW_WHEEL, "0.33.0", "0.33.0"), "ok", ""),
        (build(NEW_WHEEL, "0.32.5", "0.32.4"), "fix", "mlx==0.32.5 mlx-metal==0.32.5"),
        (Build("0.32.4", None), "warning", "new environment"),
        (Build("unknown", None), "warning", "new environment"),
    ],
)
def test_mlx(installed: Build, state: str, words: str) -> None:
    found = system.mlx(installed)
    assert found.state == state
    assert words in found.advice


def test_the_build_that_runs_here_is_found() -> None:
    found = mlx_build()
    assert system.version_of(found.version) >= system.OLDEST_MLX
    assert found.backend in ("mlx-cpu", "mlx-metal", "mlx-cuda-12", "mlx-cuda-13")
    assert found.tags


def test_several_tags_are_all_read() -> None:
    tags = wheel_tags("Tag: cp311-cp311-manylinux_2_17_x86_64\nTag: cp311-cp311-manylinux2014_x86_64\nBuild: 1\n")
    assert [system.platform_of(tag) for tag in tags] == ["manylinux_2_17_x86_64", "manylinux2014_x86_64"]


def test_python() -> None:
    assert system.python((3, 11, 0), "arm64") == Finding("Python", "ok", "3.11.0, arm64")
    assert system.python((3, 10, 14), "arm64").state == "fix"


def test_chip() -> None:
    assert system.chip("Apple M4", "applegpu_g16g", "metal").text == "Apple M4 (applegpu_g16g), MLX uses Metal"
    assert system.chip("some Xeon", "x86_64", "cpu").state == "warning"
    assert system.metal_missing().state == "fix"


def test_mlx_that_cannot_be_imported_is_one_line() -> None:
    found = system.broken_mlx("libmlx.so: cannot open\nshared object file", translated=False)
    assert found.state == "fix"
    assert "libmlx.so: cannot open shared object file" in found.text
    assert "arm64" in system.broken_mlx("", translated=True).advice


def test_blas() -> None:
    assert system.blas("libopenblas.so.0", None).state == "ok"
    assert system.blas(None, "/usr/lib/x/libopenblas.so.0").advice == "export LD_PRELOAD=/usr/lib/x/libopenblas.so.0"
    assert "apt install" in system.blas(None, None).advice


def test_compiler_and_precision() -> None:
    assert [system.compiler(found).state for found in (True, False)] == ["ok", "warning"]
    states = {dtype: system.precision(dtype).state for dtype in ("auto", "float32", "bfloat16", "float16")}
    assert states == {"auto": "ok", "float32": "ok", "bfloat16": "warning", "float16": "warning"}
