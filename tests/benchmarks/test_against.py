"""What counts as a change between two runs, and how figures are told."""

import math
from dataclasses import replace

import pytest

from gemma_mlx.benchmarks.against import Change, changes, words, worse
from gemma_mlx.benchmarks.schema import OURS, Result
from gemma_mlx.benchmarks.units import figure, number, scale, spread_of, tokens, told
from gemma_mlx.errors import GemmaError
from tests.benchmarks.recorded import MACHINE, MODEL, recorded, timed

STEADY = (1.0, 1.01, 1.02, 1.03, 1.04)


def times(factor: float, values: tuple[float, ...] = STEADY) -> Result:
    return timed(*(value * factor for value in values))


def the_change(before: Result, after: Result) -> Change:
    (change,) = changes(recorded([before]), recorded([after]))
    return change


@pytest.mark.parametrize(
    ("factor", "kind"), [(1.0, "same"), (1.02, "same"), (1.06, "slower"), (0.94, "faster"), (0.98, "same")]
)
def test_a_change_is_beyond_the_noise_and_more_than_a_little(factor: float, kind: str) -> None:
    assert the_change(times(1), times(factor)).kind == kind


def test_a_change_within_the_noise_is_none_however_large_it_is() -> None:
    noisy = (1.0, 1.1, 2.0, 3.0, 3.1)
    change = the_change(timed(*noisy), timed(*(1.3 * value for value in noisy)))
    assert change.by == pytest.approx(0.3)
    assert change.kind == "same"


def test_ranges_that_touch_are_no_change() -> None:
    assert the_change(timed(1.0, 1.0, 1.2), timed(1.2, 1.4, 1.4)).kind == "same"
    assert the_change(timed(1.0, 1.0, 1.2), timed(1.21, 1.4, 1.4)).kind == "slower"


def test_a_small_change_without_noise_is_none_up_to_the_least_that_counts() -> None:
    before, after = recorded([timed(100, 100, 100)]), recorded([timed(103, 103, 103)])
    assert changes(before, after)[0].kind == "same"
    assert changes(before, after, least=0.029)[0].kind == "slower"


def test_more_tokens_a_second_are_faster() -> None:
    rates = [Result("decode", "plain", OURS, "tokens/s", (rate, rate, rate), "more") for rate in (10.0, 12.0)]
    assert the_change(*rates).kind == "faster"
    assert the_change(*rates[::-1]).kind == "slower"


def test_what_is_neither_better_nor_worse_is_not_judged() -> None:
    change = the_change(timed(1, 1, 1, better=""), timed(9, 9, 9, better=""))
    assert change.kind == "unjudged"
    assert not worse([change], 0)


def test_what_was_timed_once_is_not_judged_and_what_was_counted_is() -> None:
    unsure = the_change(timed(1), timed(9))
    assert unsure.kind == "unsure"
    assert not worse([unsure])
    counts = [Result("profile", "token", OURS, "nodes", (count,)) for count in (1000.0, 1200.0)]
    assert the_change(*counts).kind == "slower"


def test_missing_and_new_results_are_listed() -> None:
    both, old, new = timed(1, 1), timed(1, 1, case="old"), timed(1, 1, case="new")
    found = changes(recorded([old, both]), recorded([both, new]))
    assert [(change.kind, (change.after or change.before or both).case) for change in found] == [
        ("same", both.case),
        ("new", "new"),
        ("missing", "old"),
    ]
    assert [change.by for change in found] == [0, 0, 0]
    assert "missing" in words(found[2])


def test_other_places_on_the_axis_are_other_things() -> None:
    near, far = (replace(times(1), x=x) for x in (1, 2))
    with pytest.raises(GemmaError, match="nothing in common"):
        changes(recorded([near]), recorded([far]))


@pytest.mark.parametrize(("threshold", "count"), [(0.1, 1), (0.2, 1), (0.25, 0), (0, 2), (9, 0)])
def test_what_became_worse_by_more_than_the_threshold(threshold: float, count: int) -> None:
    before = [timed(100, 100), timed(100, 100, case="little"), timed(100, 100, case="faster")]
    after = [timed(125, 125), timed(105, 105, case="little"), timed(50, 50, case="faster")]
    assert len(worse(changes(recorded(before), recorded(after)), threshold)) == count


def test_nothing_is_compared_with_nothing() -> None:
    for before, after in (([], []), ([timed(1)], []), ([], [timed(1)])):
        with pytest.raises(GemmaError, match="nothing in common"):
            changes(recorded(before), recorded(after))


@pytest.mark.parametrize(
    ("what", "card"),
    [
        ("machine", MACHINE | {"chip": "Apple M1"}),
        ("machine", MACHINE | {"memory_bytes": 8_589_934_592}),
        ("machine", MACHINE | {"mlx": {"version": "0.32.4", "device": "cpu"}}),
        ("model", MODEL | {"bits": {"attention": 8, "embeddings": 6}}),
    ],
)
def test_other_machines_and_models_are_refused(what: str, card: dict[str, object]) -> None:
    before = recorded([times(1)])
    after = recorded([times(2)], machine=card) if what == "machine" else recorded([times(2)], model=card)
    with pytest.raises(GemmaError, match=f"the {what} is not the same") as fault:
        changes(before, after)
    assert "\n" not in str(fault.value)


def test_what_changes_on_one_machine_does_not_make_it_another() -> None:
    mlx = {"version": "0.40", "backend": "metal", "wheel_tag": "x", "device": "gpu"}
    later = MACHINE | {"power": "battery", "os": "macOS 27", "mlx": mlx, "memory_bytes": MACHINE["memory_bytes"] + 8192}
    assert changes(recorded([times(1)]), recorded([times(1)], machine=later, model=MODEL | {"new": 1}))


def test_a_change_is_told_in_one_line_with_both_spreads() -> None:
    line = words(the_change(timed(1, 1.1, 1.2), timed(2, 2.2, 2.4)))
    assert line == "load, weights in memory: 1.10 s (1.00 – 1.20) → 2.20 s (2.00 – 2.40): 100 % slower"
    peer = words(the_change(timed(1, 1, program="mlx-vlm"), timed(1, 1, program="mlx-vlm")))
    assert peer.startswith("load, weights in memory (mlx-vlm)")
    assert peer.endswith("no change beyond the noise")
    assert "timed once" in words(the_change(timed(1), timed(2)))


def test_changes_from_and_to_nothing_are_told() -> None:
    change = the_change(timed(0, 0), timed(1, 1))
    assert change.by == math.inf
    assert change in worse([change])
    assert words(change).endswith("from nothing slower")
    assert the_change(timed(0, 0), timed(0, 0)).kind == "same"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.43, "s", "430 ms"),
        (0.0043, "s", "4.30 ms"),
        (1.0, "s", "1.00 s"),
        (181.0, "s", "181 s"),
        (1500.0, "ms", "1.50 s"),
        (0, "s", "0 s"),
        (6.75e9, "bytes", "6.75 GB"),
        (156_397_568, "bytes", "156 MB"),
        (999, "bytes", "999 bytes"),
        (0.784, "share", "78.4 %"),
        (13.123, "tokens/s", "13.1 tok/s"),
        (1234.0, "nodes", "1,234 nodes"),
        (99.96, "boats", "100 boats"),
        (123_456.7, "boats", "123,457 boats"),
        (-2.5, "boats", "-2.50 boats"),
    ],
)
def test_figures_are_told_for_people(value: float, unit: str, text: str) -> None:
    assert figure(value, unit) == text


def test_no_figure_is_told_without_its_spread() -> None:
    assert told(timed(0.5)) == "500 ms (once)"
    assert spread_of(timed(0.9, 0.95, 1.1)) == "900 – 1,100"
    assert spread_of(timed(1, 2, 3, 4, 5)) == "2.00 – 4.00"


def test_numbers_at_the_ends() -> None:
    assert [number(value) for value in (0.0, math.inf, 1e-12)] == ["0", "inf", "0.000000000"]
    assert scale("s", 0) == (1.0, "s")
    assert [tokens(count) for count in (0, 1000, 1024, 1536, 1025)] == ["0", "1,000", "1k", "1.5k", "1,025"]
