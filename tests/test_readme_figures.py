"""The figures of the README are those of the results that it links: the model, its speed, conversations."""

import re
import statistics

from gemma_mlx.benchmarks import schema
from tests.readme_results import README, ROOT, results


def test_the_figures_at_full_size_are_those_of_the_results() -> None:
    stages = {stage["stage"]: stage for stage in results("rehearsal")}
    assert all(met for stage in stages.values() for met in stage["bars"].values())
    section = README.partition("### At full size")[2].partition("### Speed")[0]
    load, generate = stages["load"], stages["generate"]
    for figure in (
        f"peak resident memory | {stages['convert']['peak_resident_bytes'] / 1e9:.3f} GB |",
        f"in bfloat16 | {stages['inspect']['output_bytes'] / 1e9:.3f} GB |",
        f"the {load['weights_bytes'] / 1e9:.3f} GB that the weights",
        f"in float32 | {load['peak_over_weights_bytes'] / 1e9:.3f} GB |",
        f"{generate['predicted_peak_bytes'] / 1e9:.3f} / {generate['mlx_peak_bytes'] / 1e9:.3f} GB |",
        f"{stages['fabricate']['target_bytes'] / 1e9:.1f} GB, on a 2-core",
    ):
        assert figure in section, figure


def test_the_figures_of_the_conversion_are_those_of_the_results() -> None:
    measured = results("conversion")[-1]
    assert f"**{measured['times_as_fast']['median']}** times as fast" in README
    assert f"**{measured['times_its_peak']['median']}** of its peak memory" in README
    assert f"{measured['source']['tensor_bytes'] / 1e9:.2f} GB slice" in README
    assert f"{measured['rounds']} alternations" in README
    assert f"mlx-vlm {measured['versions']['mlx-vlm']}" in README


def test_the_speeds_are_those_of_the_results() -> None:
    measured = results("speed")[-1]
    ratios = measured["ours_over_peer"]
    assert f"prefill **{ratios['prefill']['median']}** times as fast" in README
    assert f"decode **{ratios['decode']['median']}** times" in README
    assert ratios["same_ids"]
    assert f"{measured['rounds']} alternations" in README
    assert f"{measured['shape']['parameters'] / 1e6:.1f} million parameters" in README
    assert f"mlx-vlm {measured['versions']['mlx-vlm']}" in README


def test_the_figures_of_conversations_are_those_of_the_results() -> None:
    turn, resumed = results("second turn")[-1], results("resume")[-1]
    rows = re.findall(r"^\| (?:the same|mlx-vlm's) .*\| ([\d.]+) \|$", README, re.MULTILINE)
    ratios = [ratio["median"] for name, ratio in turn["ratios"].items() if name.startswith("ours / ")]
    assert rows == [f"{ratio:.3f}" for ratio in ratios]
    assert max(ratios[:3]) <= 0.2
    assert ratios[3] <= 1
    assert turn["same_prompt_ids"]
    assert turn["same_answers"]
    (rounds,) = re.findall(r"--rounds (\d+)", turn["command"])
    assert f"{rounds} alternations ([second turn]" in README
    assert f"{turn['shape']['parameters'] / 1e6:.1f} million\nparameters in all programs" in README
    assert f"took {turn['programs']['ours']['pause_s']['median']:.2f} s of the pause" in README
    assert f"conversation of {resumed['held_tokens']:,} tokens" in README
    assert f"takes **{resumed['resumed / read_again']['median']:.3f}** of the time" in README
    assert resumed["resumed / read_again"]["median"] <= 0.1
    assert resumed["same_answers"]


PROFILE_ROWS = {
    "nodes of its graph, a token": ("nodes per decoded token", 0.9),
    "the same, where norms, positions and attention are one node each, as on a GPU": (
        "nodes per decoded token on a GPU",
        0.9,
    ),
    "host time, a token": ("host time per decoded token", 0.8),
    "nodes, a step of the drafter": ("nodes per drafter step", 0.9),
    "host time to build the graph of that step": ("graph building per drafter step", 0.8),
    "host time of that step in all": ("host time per drafter step", 1.0),
    "time of that step": ("time per drafter step", 1.03),
}
"""Label in the README to the case, and the most that it may be."""


def test_the_figures_of_a_token_are_those_of_the_results() -> None:
    (link,) = re.findall(r"\[profile\]\((.*?)\)", README)
    run = schema.read(ROOT / link)[-1]
    assert run.finished
    section = README.partition("### Where the time of a token goes")[2].partition("###")[0]
    assert f"mlx-vlm {run.run.versions['mlx-vlm']}" in section
    assert f"{run.run.repetitions} alternations" in section
    found = {(each.case, each.program): each for each in run.results}
    assert all(each.details.get("same_ids", True) for each in run.results)
    for label, (case, most) in PROFILE_ROWS.items():
        shares = []
        for kind in ("float32", "4-bit"):
            ours, theirs = (found[f"{case}, {kind}", program].values for program in (schema.OURS, "mlx-vlm"))
            shares.append(statistics.median(a / b for a, b in zip(ours, theirs, strict=True)))
        assert f"| {label} | {shares[0]:.2f} | {shares[1]:.2f} |" in section
        assert max(shares) <= most, case


def test_the_figures_of_drafting_are_those_of_the_results() -> None:
    passes, overhead, depths = results("passes")[-1], results("overhead")[-1], results("depths")
    assert f"trained on: {passes['passes_per_token']['3']['all']:.2f} passes" in README
    deepest = overhead["milliseconds_a_round"]["vocabulary 262144"]["depth 8"]
    accepting, host = (deepest[part]["median"] for part in ("acceptance", "host"))
    assert f"{accepting:.2f} ms of a round with 8 drafts" in README
    assert f"all that Python does beside the networks, {host:.2f}" in README
    assert accepting <= 1
    answers = [line for line in depths if line["grid"] in ("first", "known")]
    assert {line["seeds"] for line in answers} == {20}
    assert f"at least **{min(line['lowest_over_plain'] for line in answers):.2f}** of\nplain" in README
    (exception,) = {(cell["chip"], cell["acceptance"]) for line in answers for cell in line["cells_below_a_bar"]}
    cells = [cell for line in answers for cell in line["plain_best_worst_plain_best_depth"].items()]
    others = [figures[1] for name, figures in cells if name != ", ".join(exception)]
    worst = [figures[1] for name, figures in cells if name == ", ".join(exception)]
    assert f"at least **{min(others):.2f}** of the best" in README
    assert f"stays at **{min(worst):.2f} to {max(worst):.2f}** of it" in README
    assert f"fall to **{min(line['worst_run_over_plain'] for line in answers):.2f}** of plain" in README


DEMO_ROWS = {
    "up to three words, voices never heard, noise at 15 dB": "spoken",
    "four or five words": "spoken_4_5",
    "up to six characters in pictures, fonts never seen": "pictures",
    "150 of these, asked for digits, letters or the whole": "pictures_asked",
    "which of two pictures shows a text": "which",
    "a spoken question about a picture": "both",
    "questions on gemma-mlx, wordings never read": "questions",
    "conversations of several turns": "conversations",
    "tool calls: name and arguments": "calls",
    "answers from results, and questions beside declared tools": "told",
    "drafts accepted, three a round, all tasks": "acceptance",
}


def test_the_figures_of_the_demo_model_are_those_of_the_results() -> None:
    measured = results("held-out tasks")[-1]
    section = README.partition("### The demo model")[2].partition("\n### ")[0]
    rows = dict(re.findall(r"^\| (.*?) \| ([\d.]+) % \|", section, re.MULTILINE))
    assert rows == {row: f"{100 * measured['right'][key]:.1f}" for row, key in DEMO_ROWS.items()}
    lost = max(100 * (whole - packed) for whole, packed in measured["float32_and_packed"].values())
    assert f"of any of them | {lost:.1f} points |" in README
    same, count = measured["same_ids_as_reference"]
    assert f"as the reference's | {same} of {count} |" in README
    assert f"{sum(measured['tasks'].values()):,} tasks ([held-out tasks]" in README


QUICK_ROWS = {
    "prefill, 128 tokens": ("prefill", "128 tokens"),
    "prefill, 512 tokens": ("prefill", "512 tokens"),
    "decode from the beginning": ("decode", "from the beginning"),
    "decode after 128 tokens": ("decode", "after 128 tokens"),
    "decode after 512 tokens": ("decode", "after 512 tokens"),
    "a picture of 280 tokens, first token": ("image", "1008 × 624 pixels, up to 280 tokens"),
    "a recording of 5 s, first token": ("audio", "5 s"),
    "a first turn of 300 tokens, first text": ("turn", "the first, 300 tokens"),
    "the second turn, first text": ("turn", "the second, after 300 tokens"),
    "loading": ("load", "weights in memory"),
}
"""Label in the README to suite and case."""


def runs(name: str) -> tuple[schema.Recorded, ...]:
    """Of `gemma-mlx bench`, in the file that the README links by that name."""
    (link,) = re.findall(rf"\[{name}\]\((.*?)\)", README)
    return schema.read(ROOT / link)


def beside(run: schema.Recorded, suite: str, case: str) -> tuple[schema.Result, schema.Result]:
    """Ours and mlx-vlm's."""
    found = {each.program: each for each in run.results if (each.suite, each.case) == (suite, case)}
    return found[schema.OURS], found["mlx-vlm"]


def test_the_figures_of_the_large_checkpoint_are_those_of_the_results() -> None:
    (run,) = runs("large")
    assert run.run.repetitions == 9
    assert run.run.model["recipe"] == "4bit"
    assert f"checkpoint of {run.run.model['parameters'] / 1e6:.0f} million parameters" in README
    for suite, case, words in (
        ("prefill", "64 tokens", "prefill **{:.3f}** times as fast"),
        ("decode", "after 64 tokens", "decode **{:.3f}** times,"),
    ):
        ours, theirs = beside(run, suite, case)
        assert ours.details["same_ids"]
        assert theirs.details["same_ids"]
        assert schema.ratios(ours, theirs).median >= 0.97
        assert words.format(schema.ratios(ours, theirs).median) in README


def test_the_figures_of_the_quick_suite_are_those_of_the_results() -> None:
    pair = runs("quick")
    assert len(pair) == 2
    assert all(run.finished and run.run.repetitions == 9 for run in pair)
    apart = []
    for label, (suite, case) in QUICK_ROWS.items():
        first, second = (schema.ratios(*beside(run, suite, case)) for run in pair)
        assert f"| {label} | {first.median:.2f} | {second.median:.2f} |" in README
        assert first.low <= second.high
        assert second.low <= first.high
        apart.append(max(first.median, second.median) / min(first.median, second.median) - 1)
    assert max(apart) <= 0.1
    assert f"differ by at most {100 * max(apart):.0f} %" in README
    compared = {(each.suite, each.case) for run in pair for each in run.results if each.program == "mlx-vlm"}
    assert compared == set(QUICK_ROWS.values())


def test_the_figures_of_turns_beside_mlx_vlm_are_those_of_the_results() -> None:
    (run,) = runs("turns")
    assert run.finished
    assert run.run.repetitions == 9
    found = {(each.suite, each.case, each.program): each.spread.median for each in run.results}
    theirs = "mlx-vlm"
    pairs = {
        f"{seconds} s spoken, silence not counted": (
            found["voice", f"{seconds} s, after the turn is known to be over", schema.OURS],
            found["voice", f"{seconds} s, recorded first, then read", theirs],
        )
        for seconds in (2, 10, 29)
    }
    for label, suite, case in (
        ("a second turn, after 2,000 tokens", "turn", "the second, after 2,000 tokens"),
        ("a saved conversation of 2,000 tokens goes on", "resume", "a conversation of 2,000 tokens"),
    ):
        pairs[label] = found[suite, case, schema.OURS], found[suite, case, theirs]
    for label, (ours, peer) in pairs.items():
        assert f"| {label} | {ours:.3f} s | {peer:.2f} s | {ours / peer:.4f} |" in README
        assert ours <= 0.2 * peer
    assert max(found["voice", f"{n} s, from the end of speech", schema.OURS] for n in (2, 10, 29)) < 1
