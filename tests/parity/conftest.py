"""Tiny models, each in the reference and loaded by the package from the directory that the reference wrote."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gemma_mlx.loading import load_drafter, load_model
from gemma_mlx.model.drafter import Drafter
from gemma_mlx.model.gemma import GemmaModel
from tests.parity import shapes
from tests.parity.shapes import Shape
from tests.torchvision_import import import_torchvision

if TYPE_CHECKING:
    from tests.parity.reference import Assistant, Target

TOLERANCE = 2e-4  # of the range of the reference's values
_NOTED = "parity: "
_TORCHVISION = import_torchvision()  # before transformers is imported, alive to the end

Close = Callable[[str, NDArray[np.float32], NDArray[np.float32]], None]


@dataclass(frozen=True, eq=False)
class Pair:
    """One model twice: the reference's target and ours, and their drafters."""

    shape: Shape
    config: dict[str, Any]
    target: "Target"
    assistant: "Assistant"
    model: GemmaModel
    drafter: Drafter


@pytest.fixture(scope="session", params=shapes.SHAPES, ids=lambda shape: shape.name)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    from tests.parity import checkpoints, reference

    torch.set_num_threads(1)  # products this small are slower on two
    shape, directory = request.param, tmp_path_factory.mktemp(request.param.name)
    config, assistant_config = shapes.tiny_config(shape), shapes.assistant_config(shape)
    target = reference.build_target(config, seed=1)
    assistant = reference.build_assistant(assistant_config, seed=2)
    checkpoints.save_published(target, config, directory / "target")
    checkpoints.save_published(assistant, assistant_config, directory / "assistant")
    model = load_model(directory / "target", dtype="float32")
    drafter = load_drafter(directory / "assistant", dtype="float32")
    return Pair(shape, config, target, assistant, model, drafter)


@pytest.fixture
def close(request: pytest.FixtureRequest) -> Close:
    """Fails where ours is further from the reference than the tolerance; the test's report notes each distance."""

    def check(name: str, ours: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
        assert ours.shape == expected.shape
        distance = float(np.abs(ours - expected).max() / (expected.max() - expected.min()))
        request.node.user_properties.append((_NOTED + name, distance))
        assert distance <= TOLERANCE, f"{name}: {distance:.2e} of the reference's range, allowed {TOLERANCE:.0e}"

    return check


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "model"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The worst distance of each name, of all workers' tests."""
    worst: dict[str, float] = {}
    for report in (*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")):
        for name, distance in report.user_properties:
            if name.startswith(_NOTED):
                worst[name] = max(worst.get(name, 0.0), distance)
    for name, distance in sorted(worst.items()):
        terminalreporter.write_line(f"{name}: at most {distance:.1e} of the reference's range")
