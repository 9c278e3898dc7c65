"""Cards: what systems print as they print it, models against the same models loaded, and nothing private in them."""

import json
import os
import platform
from collections.abc import Iterable
from pathlib import Path

import mlx.core as mx
import pytest
from mlx.utils import tree_flatten

from gemma_mlx.benchmarks import machine
from gemma_mlx.convert.recipes import RECIPES
from gemma_mlx.convert.run import convert
from gemma_mlx.doctor import linux, macos
from gemma_mlx.doctor.system import Build
from gemma_mlx.errors import CheckpointError, ConfigError
from gemma_mlx.loading import load_drafter, load_model
from gemma_mlx.models import find_model
from tests import unpacked

DEMO = find_model("demo")
ASSISTANT = DEMO.with_name("demo-assistant")
M4 = {
    "sysctl -n machdep.cpu.brand_string": "Apple M4",
    "sysctl -n hw.nperflevels": "2",
    "sysctl -n hw.perflevel0.name": "Performance",
    "sysctl -n hw.perflevel0.physicalcpu": "4",
    "sysctl -n hw.perflevel1.name": "Efficiency",
    "sysctl -n hw.perflevel1.physicalcpu": "6",
    "sysctl -n vm.swapusage": "total = 1024.00M  used = 512.50M  free = 511.50M  (encrypted)",
    "ioreg -r -d 1 -c AGXAccelerator": '+-o AGXAcceleratorG16G\n    {\n      "gpu-core-count" = 10\n    }',
    "pmset -g batt": "Now drawing from 'AC Power'\n -InternalBattery-0 (id=1)\t80%; charging; present: true",
    "sw_vers -productVersion": "26.2",
}


def answers(monkeypatch: pytest.MonkeyPatch, says: dict[str, str]) -> None:
    """A Mac whose commands print these texts, and nothing for others."""
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(macos, "output", lambda *command: says.get(" ".join(command), ""))


def test_a_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, M4)
    monkeypatch.setattr(os, "cpu_count", lambda: 10)
    build = Build("0.32.4", "mlx-metal", "0.32.4", ("py3-none-macosx_26_0_arm64",))
    monkeypatch.setattr(machine, "mlx_build", lambda: build)
    card = machine.machine_card()
    assert card["chip"] == "Apple M4"
    assert card["cores"] == {"total": 10, "performance": 4, "efficiency": 6}
    assert (card["gpu_cores"], card["os"], card["power"], card["system"]) == (10, "macOS 26.2", "mains", "macos")
    assert card["mlx"]["wheel_tag"] == "py3-none-macosx_26_0_arm64"
    assert (card["mlx"]["version"], card["mlx"]["backend"]) == ("0.32.4", "mlx-metal")
    assert machine.swap_used() == int(512.5 * 2**20)


def test_a_mac_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, {})
    monkeypatch.setattr(machine, "mlx_build", lambda: Build("unknown", None))
    card = machine.machine_card()
    assert card["chip"] == platform.machine()
    assert set(card["cores"]) == {"total"}
    assert (card["gpu_cores"], card["os"], card["power"]) == (None, "macOS", None)
    assert card["mlx"]["wheel_tag"] is card["mlx"]["backend"] is machine.swap_used() is None


def test_kinds_of_cores_are_called_as_macos_calls_them(monkeypatch: pytest.MonkeyPatch) -> None:
    super_cores = {"sysctl -n hw.perflevel0.name": "Super", "sysctl -n hw.perflevel1.name": "Performance"}
    answers(monkeypatch, M4 | super_cores)
    assert machine.macos_cores() == {"super": 4, "performance": 6}
    answers(monkeypatch, M4 | {"sysctl -n hw.perflevel1.physicalcpu": ""})
    assert machine.macos_cores() == {"performance": 4}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Now drawing from 'AC Power'", "mains"),
        ("Now drawing from 'Battery Power'\n -InternalBattery-0 (id=1)\t80%; discharging", "battery"),
        ("Now drawing from 'UPS Power'", None),
        ("", None),
    ],
)
def test_power_of_a_mac(monkeypatch: pytest.MonkeyPatch, text: str, expected: str | None) -> None:
    answers(monkeypatch, {"pmset -g batt": text})
    assert machine.macos_power() == expected


@pytest.mark.parametrize(
    ("supplies", "expected"),
    [
        ({}, None),
        ({"AC": {"type": "Mains", "online": "1"}}, "mains"),
        ({"AC": {"type": "Mains", "online": "0"}, "BAT0": {"type": "Battery", "status": "Discharging"}}, "battery"),
        ({"AC": {"type": "Mains", "online": "1"}, "BAT0": {"type": "Battery", "status": "Discharging"}}, "mains"),
        ({"usb": {"type": "USB", "online": "1"}, "BAT0": {"type": "Battery", "status": "Unknown"}}, "mains"),
        (
            {"BAT0": {"type": "Battery", "status": "Full"}, "BAT1": {"type": "Battery", "status": "Discharging"}},
            "battery",
        ),
        ({"BAT0": {"type": "Battery", "status": "Not charging"}}, "mains"),
        ({"BAT0": {"type": "Battery", "status": "Charging"}}, "mains"),
        ({"BAT0": {"type": "Battery", "status": "Unknown"}}, None),
        ({"BAT0": {"type": "Battery"}}, None),
        ({"mouse": {"type": "Battery", "status": "Discharging", "scope": "Device"}}, None),
        ({"AC": {"type": "Mains"}}, None),
    ],
)
def test_power_of_linux(tmp_path: Path, supplies: dict[str, dict[str, str]], expected: str | None) -> None:
    for name, files in supplies.items():
        (tmp_path / name).mkdir()
        for file, text in files.items():
            (tmp_path / name / file).write_text(f"{text}\n")
    assert machine.linux_power(tmp_path) == expected
    assert machine.linux_power(tmp_path / "absent") is None


def test_the_processor_of_linux(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    assert machine.linux_chip(cpuinfo) == platform.machine()
    cpuinfo.write_text("processor\t: 0\nmodel\t\t: 17\nmodel name\t: AMD EPYC 9B14 \nmodel name\t: other\n")
    assert machine.linux_chip(cpuinfo) == "AMD EPYC 9B14"
    cpuinfo.write_text("model name\t:\nprocessor\t: 0\nCPU implementer\t: 0x41\n")
    assert machine.linux_chip(cpuinfo) == platform.machine()


def test_swap_of_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(linux, "swap_used", lambda: 7)
    assert machine.swap_used() == 7


def test_the_card_of_this_machine_is_json_and_names_no_host() -> None:
    card = machine.machine_card()
    assert json.loads(json.dumps(card)) == card
    assert card["memory_bytes"] > 10**9
    assert card["cores"]["total"] == os.cpu_count()
    assert card["mlx"]["device"] == ("cpu" if mx.default_device() == mx.cpu else "gpu")
    values = set(_values(card))
    assert not {platform.node(), str(Path.home()), str(Path.cwd())} & values
    assert not [value for value in values if value.startswith("/")]


def _values(value: object) -> Iterable[str]:
    if isinstance(value, dict):
        for each in value.values():
            yield from _values(each)
    elif isinstance(value, str):
        yield value


def test_versions() -> None:
    found = machine.versions(["mlx", "numpy", "no-such-package-anywhere"])
    assert set(found) == {"mlx", "numpy"}
    assert found["mlx"].startswith("0.")
    assert machine.versions([]) == {}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo in bfloat16 as published, of no known repository."""
    return unpacked.demo(tmp_path_factory.mktemp("plain") / "some-model")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("packed", [True, False], ids=["packed", "plain"])
def test_a_model_reads_what_it_has_in_memory(packed: bool, dtype: str, plain: Path) -> None:
    """Not the embedders of pictures and sound; the table of embeddings once, as the head."""
    directory = DEMO if packed else plain
    card = machine.model_card(directory, dtype)
    loaded = load_model(directory, dtype=dtype)
    arrays = dict(tree_flatten(loaded.language_model.parameters()))
    assert any("embed_tokens" in name for name in arrays)
    assert card["bytes_per_token"] == sum(array.nbytes for array in arrays.values())
    assert card["bytes_per_token"] < sum(array.nbytes for array in dict(tree_flatten(loaded.parameters())).values())
    assert card["dtype"] == dtype


def test_packing_changes_bits_and_no_parameters(plain: Path) -> None:
    packed, full = machine.model_card(DEMO), machine.model_card(plain)
    arrays = dict(tree_flatten(load_model(plain).parameters()))
    assert packed["parameters"] == full["parameters"] == sum(array.size for array in arrays.values())
    assert packed["bits"] == {"language": 4, "vision": 16, "audio": 16}
    assert full["bits"] == {"language": 16, "vision": 16, "audio": 16}
    assert packed["dtype"] == ("float32" if mx.default_device() == mx.cpu else "bfloat16")


def test_an_assistant_reads_all_it_has() -> None:
    card = machine.model_card(ASSISTANT, "float32")
    arrays = dict(tree_flatten(load_drafter(ASSISTANT, dtype="float32").parameters()))
    assert card["bytes_per_token"] == sum(array.nbytes for array in arrays.values())
    assert set(card["bits"]) == {"language"}


def test_where_a_model_is_from(plain: Path, tmp_path: Path) -> None:
    card = machine.model_card(plain)
    assert (card["name"], card["revision"], card["recipe"]) == ("some-model", None, None)
    (tmp_path / "pulled").mkdir()
    for file in plain.iterdir():
        (tmp_path / "pulled" / file.name).symlink_to(file)
    (tmp_path / "pulled" / "pulled.json").write_text(
        json.dumps({"repo": "google/gemma-4-12B-it", "revision": "c0ffee"})
    )
    card = machine.model_card(tmp_path / "pulled")
    assert (card["name"], card["revision"], card["recipe"]) == ("google/gemma-4-12B-it", "c0ffee", None)
    convert(tmp_path / "pulled", tmp_path / "converted", RECIPES["4bit"])
    card = machine.model_card(tmp_path / "converted")
    assert (card["name"], card["revision"], card["recipe"]) == ("google/gemma-4-12B-it", "c0ffee", "4bit")
    assert str(tmp_path) not in json.dumps(card)


def test_damaged_models_are_refused(tmp_path: Path, plain: Path) -> None:
    with pytest.raises(ConfigError, match="is no directory"):
        machine.model_card(tmp_path / "absent")
    (tmp_path / "config.json").write_bytes((plain / "config.json").read_bytes())
    with pytest.raises(CheckpointError, match="does not exist"):
        machine.model_card(tmp_path)
    with pytest.raises(ConfigError, match="float8"):
        machine.model_card(plain, "float8")
