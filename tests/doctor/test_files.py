"""Model files as `doctor` judges them: the demo, copies of it that are damaged, packed ones, places without room."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import mlx.core as mx
import pytest

from gemma_mlx.doctor import files
from gemma_mlx.errors import MemoryPlanError
from gemma_mlx.loading import LoadOptions, prepare
from gemma_mlx.memory.plan import limit_of
from gemma_mlx.memory.sizes import GIB
from gemma_mlx.memory.values import Machine
from gemma_mlx.models import find_model

DEMO = find_model("demo")
MACHINE = Machine("some Xeon", "cpu", 32 * GIB, 25 * GIB, 20 * GIB)
AIR = Machine("Apple M4", "metal", 16 * GIB, int(10.67 * GIB), 9 * GIB)
LEFT_OUT = "layers.1.mlp.up_proj.weight"


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No pulled models but those that a test puts there."""
    monkeypatch.setenv("GEMMA_MLX_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def states(model: files.Model) -> dict[str, str]:
    return {finding.name: finding.state for finding in model.findings}


def test_without_a_12b_it_is_said_whether_it_would_fit() -> None:
    model = files.model(None, "auto", AIR)
    assert states(model) == {"model": "warning", "fit": "ok"}
    assert "gemma-mlx pull" in model.findings[0].advice
    once_pulled = "the 12B in 4 bits, once pulled: 6.8 GB of weights and 0.2 GB of drafter, up to "
    assert model.findings[1].text.startswith(once_pulled)
    assert "12B, once pulled" in model.subject
    assert "12B" not in files.model("demo", "auto", AIR).subject
    assert model.needed is not None
    assert 7 * 10**9 < model.needed < limit_of(AIR)
    small = files.model(None, "auto", replace(AIR, ram=8 * GIB, working_set=int(5.3 * GIB)))
    assert states(small) == {"model": "warning", "fit": "warning"}
    assert "a Mac with 16 GB" in small.findings[1].text
    assert small.needed is None


def test_the_pulled_model_is_the_default(own_home: Path) -> None:
    pulled = shutil.copytree(DEMO, own_home / "models" / "4bit")
    model = files.model(None, "auto", MACHINE)
    assert states(model)["model"] == "ok"
    assert str(pulled) in model.findings[0].text
    assert "none for this model" in next(f.text for f in model.findings if f.name == "drafter")
    assert "of drafter" not in model.findings[-1].text


def test_a_named_model_comes_first(own_home: Path, tmp_path: Path) -> None:
    shutil.copytree(DEMO, own_home / "models" / "4bit")
    other = Path(shutil.copytree(DEMO, tmp_path / "other"))
    assert str(other) in files.model(str(other), "auto", MACHINE).findings[0].text
    assert states(files.model("demo", "auto", MACHINE))["model"] == "ok"


def truncate(directory: Path) -> None:
    file = directory / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])


def leave_one_out(directory: Path) -> None:
    file = directory / "model.safetensors"
    arrays = mx.load(str(file))
    assert isinstance(arrays, dict)
    kept = {name: array for name, array in arrays.items() if not name.endswith(LEFT_OUT)}
    assert len(kept) == len(arrays) - 1
    mx.save_safetensors(str(file), kept)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (leave_one_out, LEFT_OUT),
        (truncate, "truncated"),
        (lambda directory: (directory / "model.safetensors").unlink(), "does not exist"),
        (lambda directory: (directory / "config.json").write_text("{"), "config.json"),
        (lambda directory: (directory / "tokenizer.json").write_bytes(b""), "tokenizer.json"),
        (lambda directory: (directory / "chat_template.jinja").write_text("{% if %}"), "chat_template.jinja"),
    ],
)
def test_damage_is_one_line(damage: Callable[[Path], None], words: str, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(DEMO, tmp_path / "model"))
    damage(directory)
    (found,) = files.model(str(directory), "auto", MACHINE).findings
    assert (found.name, found.state) == ("model", "fix")
    assert words in found.text
    assert "\n" not in found.text


def test_a_name_that_means_nothing() -> None:
    (found,) = files.model("nowhere", "auto", MACHINE).findings
    assert found.state == "fix"
    assert "nowhere" in found.text


def test_a_model_that_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise MemoryPlanError("needs 30.0 GB, 8.0 GB are allowed: gemma-mlx pull 4bit")

    monkeypatch.setattr(files, "prepare", refused)
    model = files.model("demo", "auto", MACHINE)
    assert states(model)["fit"] == "fix"
    assert "30.0 GB" in model.findings[-1].text
    assert model.needed is None


def test_what_a_conversation_needs_is_what_the_plan_says_of_its_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oracle: the plan of that context. A longer one than is comfortable is not what must be free."""
    monkeypatch.setattr(files, "COMFORTABLE", 1000)
    planned = prepare("demo", LoadOptions(context=1000)).plan
    assert files.model("demo", "auto", MACHINE).needed == planned.total < prepare("demo").plan.total


def test_what_was_given_up_to_fit_is_said() -> None:
    prepared = prepare("demo")
    plan = replace(prepared.plan, given_up=())
    assert files.room(prepared.sizes, plan).state == "ok"
    found = files.room(prepared.sizes, replace(plan, given_up=("context of 2048 instead of 8192",)))
    assert found.state == "warning"
    assert "context of 2048" in found.text


def test_bits_of_pictures_and_sound() -> None:
    assert files.bits({"language": 4, "vision": 16, "audio": 16}).state == "ok"
    found = files.bits({"language": 4, "vision": 4, "audio": 16})
    assert found.state == "warning"
    assert "vision should" in found.text
    assert files.bits({"language": 4.5}).text == "language 4.5"


def test_the_drafter_of_a_pulled_model(own_home: Path) -> None:
    pulled = Path(shutil.copytree(DEMO, own_home / "models" / "4bit"))
    assistant = shutil.copytree(find_model("demo").parent / "demo-assistant", own_home / "models" / "assistant")
    assert files.drafter(pulled).text.startswith(f"{assistant}, ")
    assert files.drafter(pulled).text.endswith("files whole; gemma-mlx pull assistant packs it to 4 bits")
    assert "of drafter" in files.model(None, "auto", MACHINE).findings[-1].text
    leave_one_out(Path(assistant))
    assert LEFT_OUT in files.drafter(pulled).text
    truncate(Path(assistant))
    assert files.drafter(pulled).state == "fix"


def test_room_on_the_disk(tmp_path: Path) -> None:
    enough = files.DOWNLOAD + 10**9
    assert files.disk(tmp_path, enough, False).state == "ok"
    assert files.disk(tmp_path, enough - 1, True).state == "warning"
    found = files.disk(tmp_path, enough - 2 * 10**9, False)
    assert found.state == "fix"
    assert "free 2.0 GB" in found.advice


def test_room_where_nothing_was_downloaded_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "cache_directory", lambda: tmp_path / "not" / "yet")
    asked: list[Path] = []

    def full(path: Path) -> SimpleNamespace:
        asked.append(path)
        return SimpleNamespace(free=0)

    monkeypatch.setattr(shutil, "disk_usage", full)
    found = files.disk_here(None)
    assert (found.state, files.disk_here("demo").state) == ("fix", "warning")
    assert str(tmp_path / "not" / "yet") in found.text
    assert asked == [tmp_path] * 2


def test_sizes_are_those_of_the_files(tmp_path: Path) -> None:
    """The oracle: bytes of the file without its header."""
    directory = Path(shutil.copytree(DEMO, tmp_path / "model"))
    arrays = mx.load(str(directory / "model.safetensors"))
    assert isinstance(arrays, dict)
    total = sum(array.nbytes for array in arrays.values())
    assert f"{total / 1e6:.0f} MB" in files.model(str(directory), "auto", MACHINE).findings[0].text
