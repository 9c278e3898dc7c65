"""Rotary embedding against one rotation at a time in float64."""

from collections.abc import Callable
from functools import partial

import mlx.core as mx
import numpy as np
import pytest

from gemma_mlx.config import RopeConfig
from gemma_mlx.model.rope import Rope, proportional_periods
from tests import oracles

Oracle = Callable[[oracles.Floats, int], oracles.Floats]

CASES: list[tuple[str, int, RopeConfig, Oracle]] = [
    ("default", 16, RopeConfig("default", 1e4), partial(oracles.rope_default, theta=1e4)),
    ("published sliding", 256, RopeConfig("default", 1e4), partial(oracles.rope_default, theta=1e4)),
    ("default ignores the factor", 16, RopeConfig("default", 1e4, 0.25), partial(oracles.rope_default, theta=1e4)),
    *(
        (
            f"proportional {share}",
            width,
            RopeConfig("proportional", 1e6, share),
            partial(oracles.rope_proportional, theta=1e6, share=share),
        )
        for share, width in [(0.25, 32), (0.5, 32), (1.0, 32), (0.25, 512), (0.3, 20), (0.01, 16)]
    ),
]


@pytest.mark.parametrize(("width", "config", "oracle"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
@pytest.mark.parametrize("offset", [0, 1, 1023, 2**16 - 1, 2**16 + 1, 2**18 - 3])
def test_rotation(width: int, config: RopeConfig, oracle: Oracle, offset: int) -> None:
    x = np.random.default_rng(0).standard_normal((1, 2, 3, width))
    found = np.array(Rope(width, config)(mx.array(x.astype(np.float32)), offset))
    expected = np.array([[[oracle(row, offset + at) for at, row in enumerate(head)] for head in x[0]]])
    # An angle is position × frequency in float32; a position more or less turns the first pair by a whole radian.
    np.testing.assert_allclose(found, expected, atol=2e-6 + 4 * offset * 2**-23)


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_pairs_beyond_the_share_stand_still(share: float) -> None:
    width, turning = 32, int(16 * share)
    x = mx.random.normal((1, 1, 4, width))
    turned = np.array(Rope(width, RopeConfig("proportional", 1e6, share))(x, 1000)) != np.array(x)
    assert turned[..., :turning].all()
    assert turned[..., 16 : 16 + turning].all()
    assert not turned[..., turning:16].any()
    assert not turned[..., 16 + turning :].any()


def test_periods_of_the_published_full_layers() -> None:
    periods = np.array(proportional_periods(512, RopeConfig("proportional", 1e6, 0.25)))
    assert periods.shape == (256,)
    np.testing.assert_allclose(periods[:64], 1e6 ** (np.arange(64) * 2 / 512), rtol=1e-6)
    assert np.isinf(periods[64:]).all()


@pytest.mark.parametrize("config", [RopeConfig("default", 1e4), RopeConfig("proportional", 1e6, 0.25)])
def test_a_piece_equals_its_rows_one_by_one(config: RopeConfig) -> None:
    rope, x = Rope(32, config), mx.random.normal((1, 2, 7, 32))
    rows = [rope(x[:, :, at : at + 1], 70_000 + at) for at in range(7)]
    np.testing.assert_allclose(np.array(rope(x, 70_000)), np.array(mx.concatenate(rows, axis=2)), atol=1e-6)
