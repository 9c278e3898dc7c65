"""Regions as people write them."""

import pytest

from gemma_mlx.capture.region import Region
from gemma_mlx.errors import InputError


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("0,25,800,600", Region(0, 25, 800, 600)),
        (" 1, 2 ,3,4 ", Region(1, 2, 3, 4)),
        ("-1440,-5,1,1", Region(-1440, -5, 1, 1)),
        ("0,0,999999,1", Region(0, 0, 999999, 1)),
    ],
)
def test_a_region_is_four_numbers(text: str, region: Region) -> None:
    assert Region.parse(text) == region
    assert Region.parse(str(region).removeprefix("region ")) == region


@pytest.mark.parametrize(
    "text",
    ["", "1,2,3", "1,2,3,4,5", "1,2,0,4", "1,2,3,0", "1,2,-3,4", "1,2,3,1000000", "1.5,2,3,4", "a,b,c,d", "1,2,3,٤"],
)
def test_anything_else_is_refused_by_what_was_written(text: str) -> None:
    with pytest.raises(InputError) as caught:
        Region.parse(text)
    assert repr(text) in str(caught.value)
    assert "X,Y,W,H" in str(caught.value)
