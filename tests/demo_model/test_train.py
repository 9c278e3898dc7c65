"""The recipe runs: a few steps on small pools, begun again where a snapshot stands, and a step of the drafter."""

import json
import shutil
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gemma_mlx.models import find_model
from tests.demo_model import fonts, mixture, reference, schedule, train
from tests.demo_model.conftest import FAMILIES
from tests.demo_model.drafting import draft_loss, load_target
from tests.demo_model.examples import Collator
from tests.demo_model.lean import Lean
from tests.demo_model.mixture import Mixture, Step
from tests.demo_model.schedule import Stage
from tests.demo_model.shapes import drafter_config
from tests.kv_sharing import corrected_sharing

_ANY = Stage(1, dict.fromkeys(mixture.KINDS, 1), whole=0.3, new=0.3)
STAGES = (_ANY, replace(_ANY, rounded=True))
STEPS = len(STAGES)
FIXED = ("layer_scalar", "patch_ln1.weight", "patch_ln1.bias")  # what no step changes


class Drawn(Mixture):
    """Batches of every kind, in an order that follows from the stage alone."""

    def __init__(self, collate: Collator, pools: Path) -> None:
        super().__init__(collate, pools, seed=1, texts=200, calls=50)
        found: dict[str, Step] = {}
        while found.keys() != set(mixture.KINDS):
            step = super().step(_ANY)
            found[step.kind] = step
        self.drawn = found

    def step(self, stage: Stage) -> Step:
        return self.drawn["lines" if stage.rounded else "both"]


@pytest.fixture(scope="module")
def collate() -> Collator:
    return Collator(find_model("demo"))


@pytest.fixture(scope="module")
def drawn(collate: Collator, pools: Path) -> Iterator[Drawn]:
    """Small batches, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mixture, "TOKENS", 512)
        patch.setattr(mixture, "DRAWN", 8)
        patch.setattr(mixture, "STRIPS", 8)
        patch.setattr(fonts, "available", lambda _: FAMILIES)
        yield Drawn(collate, pools)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def trained(collate: Collator, drawn: Drawn, pools: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All steps without a break; the snapshots of the beginning and of the first step are `0.pt` and `1.pt`."""
    work = tmp_path_factory.mktemp("work")

    def kept(state: train.State, done: int, work: Path) -> None:
        snapshot(state, done, work)
        shutil.copy(work / "state.pt", work / f"{done}.pt")

    snapshot = train.snapshot
    state, done = train.begin(collate, work)
    assert done == 0
    kept(state, 0, work)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "snapshot", kept)
        _learn(
            state, drawn, 0, Namespace(plain=True, dtype=torch.bfloat16, stages=STAGES, work=work, pools=pools), collate
        )
    return work


def _learn(state: train.State, drawn: Drawn, done: int, options: Namespace, collate: Collator) -> None:
    """Take the steps that are left. The last one is rounded to 4 bits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "SNAPSHOT", 1)
        patch.setattr(train, "TEST", 1)
        train.learn(state, drawn, done, options, collate)


def _tensors(value: object, path: str = "") -> dict[str, torch.Tensor]:
    """Every tensor and number of nested dicts and lists, by its path."""
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    elif isinstance(value, torch.Tensor | int | float):
        return {path: torch.as_tensor(value)}
    else:
        return {}
    return {name: tensor for key, part in items for name, tensor in _tensors(part, f"{path}/{key}").items()}


def test_steps_change_every_weight(trained: Path) -> None:
    before, after = (torch.load(trained / f"{done}.pt") for done in (0, STEPS))
    assert after["done"] == STEPS
    for part in ("model", "heads"):
        same = {name for name, value in before[part].items() if torch.equal(after[part][name], value)}
        assert {name for name in same if not name.endswith(FIXED)} == set()
    lines = [json.loads(line) for line in (trained / "progress.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["step"] for line in lines] == [1, STEPS]
    assert all(torch.isfinite(value).all() for value in _tensors(after).values())


def test_training_goes_on_where_a_snapshot_stands(
    collate: Collator, drawn: Drawn, pools: Path, trained: Path, tmp_path: Path
) -> None:
    shutil.copy(trained / "1.pt", tmp_path / "state.pt")
    state, done = train.begin(collate, tmp_path)
    assert done == 1
    _learn(
        state,
        drawn,
        done,
        Namespace(plain=True, dtype=torch.bfloat16, stages=STAGES, work=tmp_path, pools=pools),
        collate,
    )
    again, whole = (_tensors(torch.load(path / "state.pt")) for path in (tmp_path, trained))
    assert again.keys() == whole.keys()
    for name, value in whole.items():
        torch.testing.assert_close(again[name], value, rtol=0, atol=0, msg=name)


def test_every_loss_is_finite_and_there_for_its_media(collate: Collator, drawn: Drawn, trained: Path) -> None:
    lean = Lean(load_target(collate, trained), lambda value: value.bfloat16(), compiled=False)
    heads, own = train.Heads(), {kind: {kind} for kind in mixture.KINDS}
    own |= {"pictures": {"pictures", "glyphs"}, "sounds": {"words"}}
    own |= {"speech": {"speech", "words"}, "both": {"both", "glyphs", "words"}}
    with torch.no_grad():
        for kind, step in drawn.drawn.items():
            found = train.losses(lean, heads, step)
            assert found.keys() == own[kind]
            assert all(0 < float(value) < 50 for value in found.values())


def test_the_drafter_learns_from_the_rounded_target(collate: Collator, drawn: Drawn, trained: Path) -> None:
    torch.manual_seed(5)
    with corrected_sharing():
        drafter = reference.build_drafter(drafter_config(collate.specials, collate.vocab_size))
    lean = Lean(load_target(collate, trained), lambda value: value.bfloat16(), compiled=False)
    batch = drawn.drawn["calls"].batch
    losses = []
    for _ in range(3):
        loss = draft_loss(lean, drafter, batch)
        loss.backward()
        with torch.no_grad():
            for name, value in drafter.named_parameters():
                assert value.grad is not None, name
                assert torch.isfinite(value.grad).all(), name
                assert value.grad.any(), name
                value -= 0.01 * value.grad / value.grad.norm() * value.norm()
                value.grad = None
        losses.append(loss.item())
    assert losses[0] > losses[1] > losses[2] > 0
    assert not any(value.requires_grad for value in lean.model.parameters())
    assert not draft_loss(lean, drafter, drawn.drawn["lines"].batch).requires_grad


def test_the_rate_falls_within_its_stage_and_warms_up_at_its_beginning() -> None:
    stages = (Stage(100, {"lines": 1}), Stage(200, {"talk": 1}, rate=(0.8, 0.2)))
    found = [schedule.at(number, stages) for number in range(300)]
    assert [stage for stage, _ in found] == [stages[0]] * 100 + [stages[1]] * 200
    rates = [rate for _, rate in found]
    assert rates[0] == 1 / schedule.WARM_UP
    assert rates[50:100] == [1.0] * 50
    assert rates[100] == pytest.approx(0.8 / schedule.WARM_UP)
    assert rates[200] == pytest.approx(0.5)
    assert rates[299] == pytest.approx(0.203)
    with pytest.raises(ValueError, match="step 300 of 300"):
        schedule.at(300, stages)


def test_every_stage_draws_kinds_that_there_are() -> None:
    assert all(stage.shares.keys() <= set(mixture.KINDS) and stage.steps > 0 for stage in schedule.STAGES)
    assert schedule.STAGES[-1].rounded
