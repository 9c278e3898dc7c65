"""Rotary position embedding of the two kinds of layer.

Knows widths and positions only. `default` rotates all pairs (i, i + head_dim/2); `proportional` spaces the same pairs
over the whole head but rotates only the first `partial_rotary_factor` of them.
Source: transformers `modeling_rope_utils` (default, proportional); `mx.fast.rope` takes periods, infinite = no turn.
"""

import mlx.core as mx

from gemma_mlx.config import RopeConfig

Offset = int | mx.array
"""Position of the first row; int32 () as an array."""


class Rope:
    """Rotates (1, heads, L, head_dim) queries or keys that stand at positions offset … offset + L - 1."""

    def __init__(self, head_dim: int, config: RopeConfig) -> None:
        self.head_dim = head_dim
        self.base: float | None = config.rope_theta
        self.periods: mx.array | None = None
        if config.rope_type == "proportional":
            self.base, self.periods = None, proportional_periods(head_dim, config)
            mx.eval(self.periods)  # as a constant of compiled graphs it would be computed in each of them

    def __call__(self, x: mx.array, offset: Offset) -> mx.array:
        return mx.fast.rope(
            x, self.head_dim, traditional=False, base=self.base, scale=1.0, offset=offset, freqs=self.periods
        )


def proportional_periods(head_dim: int, config: RopeConfig) -> mx.array:
    """Periods (head_dim/2,) float32: theta^(2i/head_dim) for the rotated pairs, infinity for the others."""
    rotated = int(config.partial_rotary_factor * head_dim // 2)
    exponents = mx.arange(0, 2 * rotated, 2, dtype=mx.float32) / head_dim
    still = mx.full((head_dim // 2 - rotated,), mx.inf)
    return mx.concatenate([config.rope_theta**exponents, still])
