"""The comparison of a picture that is read while somebody types with one that is not, on a fast model."""

import pytest

from gemma_mlx.benchmarks.screen import Desk, desk, measure
from gemma_mlx.benchmarks.throttle import Rate
from gemma_mlx.worker import Worker

pytestmark = pytest.mark.alone


def test_what_was_read_while_somebody_typed_is_not_waited_for() -> None:
    with Worker(desk, Desk.rest) as worker:
        measure(worker, Rate(10_000, 1000), 20, 0.0)
        found = measure(worker, Rate(100, 1000), 110, 2.0)  # reading takes 1.1 s
        assert found["at_once_s"] > 1.1
        assert found["typed_later_s"] < 0.6 * found["at_once_s"]
