"""What is shipped: the wheel holds everything under `gemma_mlx`, nothing beside it, and works without the checkout."""

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LARGEST = 12_000_000  # bytes that the package takes, the demo model with it
IGNORED = shutil.ignore_patterns(".git", ".venv", "build", "dist", "*.egg-info", "__pycache__", ".*_cache")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist of a copy of the checkout, and the wheel that was built from the sdist."""
    folder = tmp_path_factory.mktemp("built")
    shutil.copytree(ROOT, folder / "checkout", symlinks=True, ignore=IGNORED)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(folder / "checkout")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stdout + run.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's files where Python would put them."""
    folder = tmp_path_factory.mktemp("site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def shipped() -> set[str]:
    """Every file that belongs into the package, with links followed; results of measurements stay in the repository."""
    found = set()
    for folder, _, files in os.walk(ROOT / "gemma_mlx", followlinks=True):
        if "__pycache__" not in folder:
            found |= {str((Path(folder) / file).relative_to(ROOT)) for file in files}
    return {name for name in found if "/." not in name and "/benchmarks/results/" not in name}


def test_the_wheel_installs_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        (record,) = (name for name in archive.namelist() if name.endswith("top_level.txt"))
        assert archive.read(record).split() == [b"gemma_mlx"]
    assert names == shipped()
    assert all(name.startswith("gemma_mlx/") for name in names)
    assert {"gemma_mlx/py.typed", "gemma_mlx/assets/demo/model.safetensors"} <= names


def test_the_package_is_small(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        sizes = {member.filename: member.file_size for member in archive.infolist()}
    assert sizes["gemma_mlx/assets/demo/model.safetensors"] > 1_000_000
    assert sum(sizes.values()) <= LARGEST, sorted(sizes.items(), key=lambda item: item[1])[-5:]


def test_the_wheel_names_licence_and_command(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        texts = {
            name.split("/", 1)[1]: archive.read(name).decode() for name in archive.namelist() if "dist-info" in name
        }
    assert "License-Expression: Apache-2.0" in texts["METADATA"]
    assert "Apache License" in texts["licenses/LICENSE"]
    assert "gemma-mlx = gemma_mlx.cli:main" in texts["entry_points.txt"]


def test_the_sdist_holds_files_not_links(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        members = {member.name.split("/", 1)[-1]: member for member in archive.getmembers()}
    assert shipped() <= set(members)
    assert not [name for name, member in members.items() if member.issym() or member.islnk()]
    assert {"LICENSE", "README.md", "pyproject.toml"} <= set(members)


def test_the_installed_package_answers_without_the_checkout(installed: Path, tmp_path: Path) -> None:
    code = "import gemma_mlx, gemma_mlx.benchmarks; print(gemma_mlx.__file__, gemma_mlx.benchmarks.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"}

    def run(*arguments: str) -> str:
        command = [sys.executable, *arguments]
        result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env=environment)
        return result.stdout

    for file in run("-c", code).split():
        assert Path(file).is_relative_to(installed)
    assert run("-m", "gemma_mlx", "ask", "hello", "--max-tokens", "3", "--temperature", "0").strip()


def test_the_checkout_links_what_the_wheel_ships_as_its_own() -> None:
    link = ROOT / "gemma_mlx" / "benchmarks"
    assert link.readlink() == Path("..") / "benchmarks"
    assert (link / "__init__.py").is_file()


def test_run_time_needs_no_reference_implementation() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = " ".join(project["dependencies"])
    assert not any(word in names for word in ("torch", "transformers", "mlx-lm", "mlx-vlm"))
