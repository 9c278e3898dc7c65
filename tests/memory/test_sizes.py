import pytest

from gemma_mlx.errors import ConfigError
from gemma_mlx.memory.sizes import GIB, file_size, gigabytes, parse_size


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("16GB", 16 * GIB),
        ("16 GiB", 16 * GIB),
        ("16g", 16 * GIB),
        ("10.5GB", 21 * GIB // 2),
        ("800M", 800 * 2**20),
        ("1T", 1024 * GIB),
        (" 8 gb ", 8 * GIB),
    ],
)
def test_sizes_are_read_in_powers_of_1024(text: str, expected: int) -> None:
    assert parse_size(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("8GB", 8_000_000_000), ("8.5 g", 8_500_000_000), ("1.7MB", 1_700_000), ("2k", 2000)],
)
def test_sizes_of_files_are_read_in_powers_of_1000(text: str, expected: int) -> None:
    assert parse_size(text, base=1000) == expected


@pytest.mark.parametrize(
    "text", ["", "16", "GB", "0GB", "-1GB", "16 gigs", "1e9", "16GBit", "1,5GB", "nan", "16GB 8GB", "9" * 400]
)
def test_anything_else_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ConfigError) as fault:
        parse_size(text)
    assert repr(text) in str(fault.value)
    assert "16GB" in str(fault.value)
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize(
    ("nbytes", "expected"),
    [(0, "0 MB"), (1_499_999, "1 MB"), (99_999_999, "100 MB"), (100_000_000, "0.1 GB"), (6_803_751_008, "6.8 GB")],
)
def test_sizes_are_told_in_powers_of_1000(nbytes: int, expected: str) -> None:
    assert gigabytes(nbytes) == expected


@pytest.mark.parametrize(
    ("nbytes", "expected"),
    [
        (0, "0.0 MB"),
        (1_650_000, "1.6 MB"),
        (99_999_999, "100.0 MB"),
        (100_000_000, "0.10 GB"),
        (6_741_039_511, "6.74 GB"),
    ],
)
def test_files_are_told_in_two_decimals(nbytes: int, expected: str) -> None:
    assert file_size(nbytes) == expected
