"""The figures of the README are those of the results that it links: what is heard and seen while it happens."""

import re
import statistics

from tests.readme_results import README, results


def test_the_figures_of_listening_are_those_of_the_results() -> None:
    measured = [line for line in results("live") if "cases" in line][-1]
    rows = dict(re.findall(r"^\| (\d+ s.*?) \| (.*) \|$", README.partition("### While somebody")[2], re.MULTILINE))
    spoken = (one for one in measured["cases"] if one["way"] == "live")
    live = {(one["prefill_tok_s"], one["utterance_s"], one["early_close"]): one for one in spoken}
    early = (one for one in measured["live / others"] if one["early_close"])
    share = {(one["prefill_tok_s"], one["than"]): one["decision_to_first_s"] for one in early}
    for column, speed in enumerate((70, 130)):
        found = {label: row.split(" | ")[column] for label, row in rows.items()}
        for seconds in (2, 10, 29):
            waited = found[f"{seconds} s spoken: from the end of speech to the first text"]
            assert waited == f"{live[speed, seconds, True]['end_to_first_s']['p50']:.2f} s"
        longest, late = live[speed, 29, True], live[speed, 29, False]
        assert found["29 s, the first text after the turn is known to be over"] == (
            f"{1000 * longest['decision_to_first_s']['p50']:.0f} ms"
        )
        unread = longest["unread_audio_tokens"]["max"]
        assert found["29 s, tokens of sound that are unread then, at most"] == f"{unread:.0f}"
        assert found["29 s, as a share of recording first and reading then"] == f"{share[speed, 'recorded first']:.4f}"
        (peer,) = (figure for label, figure in found.items() if "mlx-vlm" in label)
        assert peer == f"{share[speed, 'mlx-vlm']:.4f}"
        assert (
            found["29 s, from the end of speech, without the early close"] == f"{late['end_to_first_s']['p50']:.2f} s"
        )
        shortest = live[speed, 2, True]["end_to_first_s"]["p50"]
        assert longest["end_to_first_s"]["p50"] <= 1.3 * shortest
        assert share[speed, "recorded first"] <= 0.1
        assert share[speed, "mlx-vlm"] <= 0.2
        assert unread <= 25
    for seconds in (2, 10, 29):
        ready = live[130, seconds, True]["decision_to_first_s"]
        assert ready["p50"] <= 0.05
        assert ready["p95"] <= 0.2


def test_the_figures_of_the_screen_are_those_of_the_results() -> None:
    small = {one["prefill_tok_s"]: one["ratio"]["median"] for one in results("screen") if one["image_tokens"] == 266}
    assert f"**{small[70]}** (M1) and **{small[130]}** (M4)" in README
    assert max(small.values()) <= 1 / 3


def test_the_figures_of_what_is_heard_and_seen_are_those_of_the_results() -> None:
    (heard,), (seen,), (minutes,) = results("heard"), results("seen"), results("minutes")
    for name, count, live, filed in (
        ("utterances", heard["utterances"], heard["right"]["by_microphone"], heard["right"]["from_files"]),
        ("pictures", seen["pictures"], seen["right"]["on_screen"], seen["right"]["from_files"]),
    ):
        assert count >= 50
        (row,) = re.findall(rf"^\| {count} {name} .*$", README, re.MULTILINE)
        assert row.endswith(f"| {100 * live / count:.1f} % | {100 * filed / count:.1f} % |")
        assert live >= filed - 0.02 * count
    assert minutes["minutes"] >= 29
    assert minutes["longest"] <= 30
    assert not minutes["noticed"]
    assert minutes["held"][1] <= 1.02 * minutes["held"][0]
    lost = f"of {minutes['words']:,} words {minutes['missing']} are missing and {minutes['added']} are too many"
    assert lost in README.replace("\n", " ")
    grown = 100 * (minutes["held"][1] / minutes["held"][0] - 1)
    assert f"{minutes['blocks']} blocks of at most {minutes['longest']:.1f} s, memory within {grown:.1f} %" in README


def test_the_figures_of_small_text_are_those_of_the_results() -> None:
    (detail,) = results("detail")
    count, always, chosen = detail["pictures"], detail["always_1120"], detail["chosen"]
    assert f"{count} screens of usual sizes" in README
    assert f"{always['right'] * count:.0f} right with 1,120\ntokens each, **{chosen['right'] * count:.0f}**" in README
    assert f"**{detail['share_of_tokens']:.2f}** of the tokens, {chosen['mean_tokens']:.0f} in the mean" in README
    assert f"Text is found on {count - detail['not_found']['pictures']} of them" in README
    assert detail["reached"]
    assert detail["points_lost"] <= 2
    assert detail["share_of_tokens"] <= 0.5


def test_the_figures_of_the_hour_are_those_of_the_results() -> None:
    (hour,) = results("hour")
    assert all(hour["bars"].values())
    assert hour["minutes"] >= 60
    assert f"through in {hour['wall_s'] / 60:.0f} minutes" in README
    held = [sample["anonymous"] for sample in hour["samples"] if sample["minute"] >= 10]
    third = len(held) // 3
    grown = statistics.median(held[-third:]) / statistics.median(held[:third]) - 1
    assert grown <= 0.02
    assert f"**{held_in_mb(min(held))} to {held_in_mb(max(held))} MB**, the last third {100 * grown:+.1f} %" in README


def held_in_mb(nbytes: int) -> str:
    return f"{nbytes / 1e6:.0f}"
