"""Settings of a reply."""

from collections.abc import Sequence

import pytest

from gemma_mlx.conversation.options import ReplyOptions
from gemma_mlx.errors import InputError


@pytest.mark.parametrize(
    ("stop", "stops"), [("abc", ("abc",)), (["a", "bc"], ("a", "bc")), ((), ()), ("", ("",))], ids=repr
)
def test_one_string_is_one_stop(stop: str | Sequence[str], stops: tuple[str, ...]) -> None:
    assert ReplyOptions(None, 1, stop, None, True).stops == stops


@pytest.mark.parametrize("depth", [-1, 9])
def test_a_depth_out_of_range_is_told(depth: int) -> None:
    with pytest.raises(InputError, match=f"draft-depth is {depth}, expected 0"):
        ReplyOptions(None, 1, (), depth, True)
