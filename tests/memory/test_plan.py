"""What fits where, in which order things are given up, and that what a refusal advises works."""

import re
from dataclasses import replace

import pytest

from gemma_mlx.errors import ConfigError, MemoryPlanError
from gemma_mlx.memory.plan import COMFORTABLE, LEAST, fits, limit_of, parts, plan
from gemma_mlx.memory.published import published_bytes, target_config
from gemma_mlx.memory.sizes import GIB
from gemma_mlx.memory.values import Backend, Knobs, Machine, ModelBytes, Wish
from tests import tiny

FOUR_BIT, GROUP_32 = published_bytes("4bit", 2), published_bytes("4bit-g32", 2)
WITH_DRAFTER = published_bytes("4bit", 2, drafter=True)
MIXED = ModelBytes(target_config("4bit"), 10_987_599_968, 0, 2)  # 8-bit feed-forward, as some checkpoints have it


def mac(gigabytes: float, free: int | None = None) -> Machine:
    """A Mac that lets its GPU use two thirds of its memory."""
    return Machine("a Mac", "metal", int(gigabytes * GIB), int(gigabytes * GIB * 2 / 3), free)


def refusal(model: ModelBytes, machine: Machine, wish: Wish) -> str:
    with pytest.raises(MemoryPlanError) as fault:
        plan(model, machine, wish)
    assert "\n" not in str(fault.value)
    return str(fault.value)


def test_a_mac_keeps_memory_for_its_system() -> None:
    assert limit_of(mac(16)) == int(0.9 * int(16 * GIB * 2 / 3))
    assert limit_of(mac(8)) == 3 * GIB
    assert limit_of(mac(4)) == 0
    assert limit_of(Machine("PC", "cpu", 16 * GIB, 13 * GIB)) == 13 * GIB


def test_four_bits_fit_into_16_gb_with_room_to_talk() -> None:
    planned = plan(FOUR_BIT, mac(16), Wish())
    assert planned.knobs == Knobs(planned.largest_context, 512, 2, 280, drafter=False)
    assert planned.largest_context >= 40_000
    assert planned.given_up == ()
    assert planned.total <= planned.limit == limit_of(mac(16))
    assert planned.peak == planned.total - 400_000_000


def test_the_drafter_comes_with_a_shorter_context() -> None:
    planned = plan(WITH_DRAFTER, mac(16), Wish())
    assert planned.knobs.drafter
    assert 20_000 <= planned.largest_context < plan(FOUR_BIT, mac(16), Wish()).largest_context
    assert not plan(WITH_DRAFTER, mac(16), Wish(drafter=False)).knobs.drafter
    assert not plan(FOUR_BIT, mac(16), Wish(drafter=True)).knobs.drafter


def test_groups_of_32_fit_with_less() -> None:
    assert COMFORTABLE <= plan(GROUP_32, mac(16), Wish()).largest_context < 40_000


def test_mixed_weights_do_not_fit_and_the_refusal_says_what_would() -> None:
    message = refusal(MIXED, mac(16), Wish())
    assert "needs 12.1 GB for a context of 2,048 tokens, this 16 GB Mac has 10.3 GB for it" in message
    assert message.endswith("take 4bit weights, gemma-mlx pull 4bit")
    assert plan(MIXED, mac(24), Wish()).given_up == ()


def test_eight_gb_are_too_few_and_sixteen_are_enough() -> None:
    message = refusal(FOUR_BIT, mac(8), Wish())
    assert "this 8 GB Mac has 3.2 GB for it" in message
    assert message.endswith("12.5 GB of memory are enough, as in a Mac with 16 GB")
    huge = replace(FOUR_BIT, config=target_config("bf16"), weights=10**15)
    assert "take 8bit weights, gemma-mlx pull reference --anyway, then gemma-mlx convert" in refusal(
        huge, mac(512), Wish()
    )
    assert refusal(replace(huge, weights=10**15, item=10**6), mac(8), Wish()).endswith(
        "no machine that is sold has enough"
    )


@pytest.mark.parametrize("model", [FOUR_BIT, GROUP_32])
def test_the_memory_that_is_said_to_be_enough_is_the_least_in_steps_of_half_a_gb(model: ModelBytes) -> None:
    """The oracle: every step from below."""
    found = re.search(r": ([\d.]+) GB of memory are enough, as in a Mac with (\d+) GB$", refusal(model, mac(8), Wish()))
    assert found
    least = next(half / 2 for half in range(16, 1024) if _fits(model, mac(half / 2)))
    assert float(found[1]) == least <= int(found[2])


def _fits(model: ModelBytes, machine: Machine) -> bool:
    try:
        plan(model, machine, Wish())
    except MemoryPlanError:
        return False
    return True


@pytest.mark.parametrize(("gigabytes", "recipe"), [(32, "8bit"), (16, "4bit")])
def test_the_largest_recipe_that_fits_is_advised(gigabytes: int, recipe: str) -> None:
    message = refusal(published_bytes("bf16", 2), mac(gigabytes), Wish())
    assert f": take {recipe} weights, gemma-mlx pull " in message
    assert plan(published_bytes(recipe, 2), mac(gigabytes), Wish()).knobs.context >= LEAST


@pytest.mark.parametrize(
    ("ram", "words"),
    [
        (300 * 2**20, "300 MB Mac"),
        (8 * GIB, "8 GB Mac"),
        (int(23.5 * GIB), "23.5 GB Mac"),
        (1024 * GIB - 1, "1024 GB Mac"),
        (1024 * GIB, "1 TB Mac"),
    ],
)
def test_memory_is_told_as_it_is_sold(ram: int, words: str) -> None:
    assert Machine("x", "metal", ram, ram).kind == words
    assert Machine("x", "cpu", ram, ram).kind == words.replace("Mac", "machine")


@pytest.mark.parametrize("model", [FOUR_BIT, WITH_DRAFTER, GROUP_32])
@pytest.mark.parametrize("gigabytes", [14, 16, 24])
@pytest.mark.parametrize("context", [1, 1000, 8192, 50_001, 131_072, 262_144])
def test_a_wished_context_is_kept_or_refused_with_one_that_fits(
    model: ModelBytes, gigabytes: int, context: int
) -> None:
    try:
        planned = plan(model, mac(gigabytes), Wish(context=context))
    except MemoryPlanError as fault:
        found = re.search(rf"for a context of {context:,} tokens.*: try --context (\d+)$", str(fault))
        assert found
        advised = plan(model, mac(gigabytes), Wish(context=int(found[1])))
        assert advised.knobs.context == int(found[1]) < context
    else:
        assert planned.knobs.context == context <= planned.largest_context
        assert planned.total <= planned.limit
        assert not any("context" in line for line in planned.given_up)


def test_the_largest_context_is_the_largest() -> None:
    planned = plan(FOUR_BIT, mac(16), Wish())
    for context, enough in ((planned.largest_context, True), (planned.largest_context + 1024, False)):
        needed = sum(part.nbytes for part in parts(FOUR_BIT, "metal", replace(planned.knobs, context=context)))
        assert (needed <= planned.limit) is enough


def test_things_are_given_up_in_order() -> None:
    """From a machine where all fits down to one where nothing does, in steps of 64 MB."""
    seen: list[tuple[int, ...]] = []
    for megabytes in range(16 * 1024, 12 * 1024, -64):
        try:
            planned = plan(WITH_DRAFTER, mac(megabytes / 1024), Wish())
        except MemoryPlanError:
            break
        knobs = planned.knobs
        assert planned.total <= planned.limit
        assert knobs.context >= LEAST
        if knobs.snapshots < 2:
            assert knobs.piece_tokens < 512
        if knobs.context < COMFORTABLE or knobs.image_tokens < 280:
            assert knobs.snapshots == 0
        if not knobs.drafter:
            assert knobs.image_tokens < 280
        given = (knobs.piece_tokens < 512, knobs.snapshots < 2, knobs.image_tokens < 280, not knobs.drafter)
        assert sum(given) + (knobs.context < COMFORTABLE) == len(planned.given_up)
        seen.append(given)
    else:
        raise AssertionError("everything fits")
    assert seen == sorted(seen)
    assert set(seen) >= {(False,) * 4, (True, False, False, False), (True, True, False, False), (True,) * 4}


def test_what_was_given_up_is_told_once_with_what_is_left() -> None:
    planned = plan(WITH_DRAFTER, mac(12.5), Wish())
    assert planned.given_up == (
        "short of memory: prompts are read in pieces of 256 tokens instead of 512",
        "short of memory: no snapshots to go back to instead of 2",
        "short of memory: pictures of 140 tokens instead of 280",
        "short of memory: no drafter",
    )


def test_wished_pictures_and_drafter_are_never_given_up() -> None:
    tight = mac(12.5)
    assert plan(WITH_DRAFTER, tight, Wish(image_tokens=280)).knobs.image_tokens == 280
    assert refusal(WITH_DRAFTER, tight, Wish(drafter=True)).endswith("and the drafter: try --draft off")
    message = refusal(FOUR_BIT, tight, Wish(image_tokens=1120))
    assert message.endswith("and pictures of 1120: try a smaller --image-tokens")
    assert plan(FOUR_BIT, tight, Wish(image_tokens=70)).knobs.image_tokens == 70


def test_little_free_memory_is_a_warning() -> None:
    """Compared with a context that is comfortable, not with the longest; with a shorter one if that is wished."""
    for wish, context in ((Wish(), COMFORTABLE), (Wish(context=1), 1)):
        needed = plan(FOUR_BIT, mac(16), Wish(context=context)).total
        planned = plan(FOUR_BIT, mac(16, free=needed), wish)
        assert planned.warnings == ()
        (warning,) = plan(FOUR_BIT, mac(16, free=needed - 1), wish).warnings
        assert "for a context of 8,192 tokens: close" in warning or "for a context of 1 token: close" in warning


@pytest.mark.parametrize("context", [-1, 262_145])
def test_a_context_that_the_model_does_not_have_is_refused(context: int) -> None:
    with pytest.raises(ConfigError, match=f"context is {context:,}, the model holds 1 to 262,144 positions"):
        plan(FOUR_BIT, mac(64), Wish(context=context))


@pytest.mark.parametrize("longest", [1, 300, 1024, 1500, 4096])
def test_a_small_model_gets_all_of_its_context(longest: int) -> None:
    model = ModelBytes(tiny.config(max_position_embeddings=longest), 100_000, 0, 4)
    planned = plan(model, Machine("PC", "cpu", 8 * GIB, 6 * GIB), Wish())
    assert planned.knobs.context == planned.largest_context == longest


@pytest.mark.parametrize("backend", ["metal", "cpu"])
def test_fits_says_what_the_plan_would(backend: Backend) -> None:
    model = published_bytes("4bit", 2 if backend == "metal" else 4)
    verdicts = []
    for halves in range(24, 29):
        machine = Machine("any", backend, halves * GIB // 2, halves * GIB // 3)
        try:
            plan(model, machine, Wish())
            verdicts.append(True)
        except MemoryPlanError:
            verdicts.append(False)
        assert fits(model, machine) == verdicts[-1]
    assert set(verdicts) == {True, False}
