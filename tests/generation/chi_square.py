"""How well counts agree with probabilities."""

import numpy as np
import torch
from numpy.typing import NDArray


def p_value(counts: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    """Chance of counts (rows, cells) at least so far from probabilities (rows, cells), each row drawn by itself.

    A row's cells with fewer than five expected counts are taken together. 0 if what cannot be was counted.
    """
    if (counts[probabilities == 0] > 0).any():
        return 0.0
    statistic, freedom = 0.0, 0
    for row, shares in zip(counts, probabilities, strict=True):
        expected = shares * row.sum()
        rare = expected < 5
        expected = np.append(expected[~rare], expected[rare].sum())
        seen = np.append(row[~rare], row[rare].sum())
        seen, expected = seen[expected > 0], expected[expected > 0]
        statistic += float(((seen - expected) ** 2 / expected).sum())
        freedom += max(0, len(expected) - 1)
    if freedom == 0:
        return 1.0
    half = torch.tensor([freedom / 2, statistic / 2], dtype=torch.float64)
    return float(torch.special.gammaincc(half[0], half[1]))
