"""What a model's name stands for: the demo, directories, what was pulled, the Hub's cache. No network is asked."""

import json
import shutil
from pathlib import Path

import pytest
from huggingface_hub import constants

from gemma_mlx.errors import ConfigError
from gemma_mlx.hub.catalogue import CATALOGUE
from gemma_mlx.models import (
    NAMES,
    PACKED_ASSISTANT,
    RECORD,
    default_model,
    drafter_for,
    find_drafter,
    find_model,
    home_directory,
    models_directory,
    name_of,
    split_hub_id,
)

DEMO = find_model("demo")
ONE, OTHER = "1" * 40, "2" * 40


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty place for models and an empty cache; the directory for models."""
    monkeypatch.setenv("GEMMA_MLX_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "home" / "models"


def fault(name: str | Path) -> str:
    with pytest.raises(ConfigError) as found:
        find_model(name)
    assert "\n" not in str(found.value)
    return str(found.value)


def cached(tmp_path: Path, repo: str, commit: str) -> Path:
    """A snapshot in the Hub's cache, its commit being the branch `main`."""
    folder = tmp_path / "cache" / f"models--{repo.replace('/', '--')}"
    snapshot = folder / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs" / "main").write_text(commit)
    return snapshot


def test_names_are_the_catalogue() -> None:
    assert set(NAMES) == set(CATALOGUE)
    assert all(len(entry.revision) == 40 for entry in CATALOGUE.values())
    assert all(entry.media_from in {None, *CATALOGUE} for entry in CATALOGUE.values())


def test_where_models_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GEMMA_MLX_HOME", str(tmp_path))
    assert models_directory() == tmp_path / "models"
    monkeypatch.setenv("GEMMA_MLX_HOME", "~/x")
    assert models_directory() == Path.home() / "x" / "models"
    monkeypatch.delenv("GEMMA_MLX_HOME")
    assert models_directory().parts[-2:] == ("gemma-mlx", "models")


def test_the_demo_and_directories(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (DEMO / "config.json").exists()
    assert find_model(str(tmp_path)) == find_model(tmp_path) == tmp_path
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_model("~") == tmp_path
    monkeypatch.chdir(tmp_path)
    (tmp_path / "4bit").mkdir()
    (home / "4bit").mkdir(parents=True)
    assert find_model("4bit") == Path("4bit")  # what is here and was named comes first
    (tmp_path / "owner" / "repo").mkdir(parents=True)
    assert find_model("owner/repo") == Path("owner/repo")


@pytest.mark.parametrize("name", ["nowhere", "", "a/b/c", "/a/b", "a/../b", ".", "..x", "a b", ".4bit.partial"])
def test_what_is_nothing(home: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".4bit.partial").mkdir(parents=True)
    if name == ".":
        assert find_model(name) == Path()
        return
    line = fault(name)
    assert line.startswith(f"{name or repr(name)} is no directory: give the directory of a Gemma 4 12B model")
    assert "gemma-mlx pull --list" in line


@pytest.mark.parametrize("name", NAMES)
def test_pulled_models(home: Path, name: str) -> None:
    assert fault(name) == f"{name} is no directory, and not pulled yet: gemma-mlx pull {name}"
    (home / name).mkdir(parents=True)
    assert find_model(name) == home / name
    assert default_model() == (home / name if name == "4bit" else None)


def test_what_convert_wrote_beside_them(home: Path) -> None:
    (home / "reference-mixed").mkdir(parents=True)
    assert find_model("reference-mixed") == home / "reference-mixed"


def test_pulled_revisions(home: Path) -> None:
    assert fault("a/b") == "a/b is no directory, and no model of that name was pulled: gemma-mlx pull a/b"
    (home / f"a--b@{ONE}").mkdir(parents=True)
    for name in ("a/b", f"a/b@{ONE}", "a/b@1111"):
        assert find_model(name) == home / f"a--b@{ONE}"
    assert fault("a/b@main") == f"a/b@main was not pulled, but at other revisions: say a/b@ and one of {ONE}"
    (home / f"a--b@{OTHER}").mkdir()
    assert find_model("a/b@2") == home / f"a--b@{OTHER}"
    assert fault("a/b") == f"a/b was pulled at 2 revisions: say a/b@ and one of {ONE}, {OTHER}"


@pytest.mark.parametrize("name", ["4bit", "a/b", "mine-4bit"])
def test_files_that_are_gone_from_the_cache(home: Path, name: str) -> None:
    directory = home / (f"a--b@{ONE}" if name == "a/b" else name)
    directory.mkdir(parents=True)
    (directory / "config.json").symlink_to(home / "nowhere")
    step = f"gemma-mlx pull {f'a/b@{ONE}' if name == 'a/b' else name}"
    line = f"{directory} is incomplete, config.json is gone from the Hub's cache: {step}"
    assert fault(name) == line
    if name == "4bit":
        with pytest.raises(ConfigError, match="is incomplete"):
            default_model()


def test_the_repository_that_a_record_names(home: Path) -> None:
    for number, content in enumerate(("{", "[]", "{}", json.dumps({"repo": "x/y", "revision": ONE}))):
        directory = home / f"other{number}"
        directory.mkdir(parents=True)
        (directory / RECORD).write_text(content)
    (home / "reference").mkdir()
    (home / "reference" / RECORD).write_text(json.dumps({"repo": "a/b", "revision": ONE}))
    for name in ("a/b", f"a/b@{ONE}", "a/b@1111"):
        assert find_model(name) == home / "reference"
    assert fault(f"a/b@{OTHER}").endswith(f"gemma-mlx pull a/b@{OTHER}")


def test_the_cache_of_the_hub(home: Path, tmp_path: Path) -> None:
    snapshot = cached(tmp_path, "a/b", ONE)
    for name in ("a/b", "a/b@main", f"a/b@{ONE}"):
        assert find_model(name) == snapshot
    assert "gemma-mlx pull a/b@other" in fault("a/b@other")
    assert "gemma-mlx pull a/c" in fault("a/c")
    (home / f"a--b@{OTHER}").mkdir(parents=True)
    assert find_model("a/b") == home / f"a--b@{OTHER}"  # what was asked for here comes before what others fetched
    assert find_model("a/b@main") == snapshot


@pytest.mark.parametrize("name", ["runs/a--b", "a/b.git", "a/b..c", "a/" + "b" * 100])
def test_what_the_hub_allows_as_no_name(home: Path, name: str) -> None:
    assert fault(name) == f"{name} is no directory, and no model of that name was pulled: gemma-mlx pull {name}"


def test_hub_ids() -> None:
    assert split_hub_id("a/b") == ("a/b", None)
    assert split_hub_id("a-1/b.c_d@refs/pr/1") == ("a-1/b.c_d", "refs/pr/1")
    for name in ("a", "a/b/c", "/a/b", "a/b@", "a/b@x y", "../b", "a/.b", "a/b@../x"):
        assert split_hub_id(name) is None


def test_the_drafter_of_a_model(home: Path, tmp_path: Path) -> None:
    assert drafter_for(DEMO) == DEMO.parent / "demo-assistant"
    model = Path(shutil.copytree(DEMO, tmp_path / "model"))
    assert drafter_for(model) is None
    shutil.copytree(DEMO.parent / "demo-assistant", home / "assistant")
    assert drafter_for(model) == home / "assistant"
    packed = Path(shutil.copytree(home / "assistant", home / PACKED_ASSISTANT))
    assert drafter_for(model) == packed == find_drafter(PACKED_ASSISTANT, model)
    assert find_drafter("assistant", model) == home / "assistant"
    content = (packed / "config.json").read_text()
    (packed / "config.json").write_text(json.dumps(json.loads(content) | {"backbone_hidden_size": 3840}))
    assert drafter_for(model) == home / "assistant"  # the packed one is of another model
    (packed / "config.json").unlink()
    assert drafter_for(model) == home / "assistant"
    raw = json.loads((home / "assistant" / "config.json").read_text())
    for change in ({"backbone_hidden_size": 3840}, {"text_config": raw["text_config"] | {"vocab_size": 64}}):
        (home / "assistant" / "config.json").write_text(json.dumps(raw | change))
        assert drafter_for(model) is None
    assert find_drafter("auto", DEMO) == drafter_for(DEMO)
    assert find_drafter("assistant", DEMO) == home / "assistant"
    assert find_drafter("off", DEMO) is find_drafter(None, DEMO) is None
    (model / "config.json").write_text("{")
    with pytest.raises(ConfigError):
        drafter_for(model)


@pytest.mark.parametrize("name", ["demo", "4bit", "owner--repo@" + ONE, "a.name"])
def test_the_name_of_a_directory_finds_it_again(home: Path, name: str) -> None:
    if name != "demo":
        (home / name).mkdir(parents=True)
    assert name_of(find_model(name)) == name


def test_the_name_of_a_snapshot_and_of_other_directories(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = cached(tmp_path, "owner/my-model", ONE)
    assert name_of(snapshot) == f"owner/my-model@{ONE}"
    assert find_model(name_of(snapshot)) == snapshot
    copy = tmp_path / "elsewhere" / "models--owner--my-model" / "snapshots" / ONE
    copy.mkdir(parents=True)
    assert name_of(copy) == str(copy)
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert name_of(Path("x")) == str(tmp_path / "elsewhere" / "x")
    (home / "no name").mkdir(parents=True)
    assert find_model(name_of(home / "no name")) == home / "no name"


def test_where_all_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GEMMA_MLX_HOME", str(tmp_path))
    assert home_directory() == tmp_path
    monkeypatch.delenv("GEMMA_MLX_HOME")
    assert home_directory().name == "gemma-mlx"
