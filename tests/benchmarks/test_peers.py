"""Programs in processes of their own: they do the same work, and what goes wrong is told and leaves nothing behind."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gemma_mlx.benchmarks.midsize import SMALL, write_pair
from gemma_mlx.benchmarks.peers.catalogue import PEERS, installation, known
from gemma_mlx.benchmarks.peers.common import by_position, pictures_and_recordings, until
from gemma_mlx.benchmarks.peers.link import Generated, Linked, Unavailable
from gemma_mlx.benchmarks.peers.program import Settings
from gemma_mlx.benchmarks.peers.reference import refuse_packed
from gemma_mlx.benchmarks.schema import OURS
from gemma_mlx.errors import GemmaError
from gemma_mlx.inputs.tokenizer import load_tokenizer

ASSETS = Path(__file__).parents[2] / "gemma_mlx" / "assets"
DEMO, ASSISTANT, SAMPLES = ASSETS / "demo", ASSETS / "demo-assistant", ASSETS / "samples"
STORY = "One, two, three, four, five. The boats wait for the tide, and one, two, three, four, five"
TOKENS = 24
STOPS = {1, 9, 16}  # of the demo
BUDGET = 70
PLAIN = Settings("float32", image_tokens=BUDGET)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`target` and `assistant`, in float32, not packed."""
    directory = tmp_path_factory.mktemp("models")
    write_pair(directory, SMALL)
    return directory


@pytest.fixture(scope="module")
def prompt() -> list[int]:
    return [2, *load_tokenizer(DEMO).encode(STORY)]


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Linked]:
    with Linked(OURS, DEMO, PLAIN, tmp_path_factory.mktemp("ours") / "log") as linked:
        yield linked


@pytest.fixture(scope="module")
def vlm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Linked]:
    """Drafts, two a round."""
    log = tmp_path_factory.mktemp("vlm") / "log"
    with Linked("mlx-vlm", DEMO, replace(PLAIN, drafter=ASSISTANT, depth=2), log) as linked:
        yield linked


@pytest.fixture(scope="module")
def expected(ours: Linked, prompt: list[int]) -> Generated:
    return ours.generate(prompt, TOKENS)


def test_a_run_is_measured(ours: Linked, prompt: list[int], expected: Generated) -> None:
    assert len(expected.ids) == len(expected.times) == TOKENS
    assert len(set(expected.ids)) > 1  # or equal ids would say little
    assert 0 < expected.first <= expected.times[1] <= expected.times[-1] < 60
    assert list(expected.times) == sorted(expected.times)
    assert expected.decode == (TOKENS - 2) / (expected.times[-1] - expected.times[1])
    assert expected.prompt_tokens == len(prompt)
    assert 0 < ours.weights_bytes < expected.peak_mlx_bytes
    assert expected.peak_resident_bytes > ours.weights_bytes
    assert ours.load_seconds > 0
    assert expected.accepted == ()


def test_every_call_begins_anew(ours: Linked, prompt: list[int], expected: Generated) -> None:
    assert ours.generate(prompt, 1).ids == expected.ids[:1]
    assert ours.generate(prompt[:1], 2).decode == 0.0
    again = ours.generate(prompt, TOKENS)
    assert again.ids == expected.ids
    assert again.peak_mlx_bytes < 1.2 * expected.peak_mlx_bytes  # nothing of the calls before is held


def test_the_peak_is_of_one_call(ours: Linked, prompt: list[int]) -> None:
    long = ours.generate(prompt * 6, 2)
    assert ours.generate(prompt, 2).peak_mlx_bytes < long.peak_mlx_bytes


def test_mlx_vlm_writes_the_same_and_counts_its_drafts(
    ours: Linked, vlm: Linked, prompt: list[int], expected: Generated
) -> None:
    assert ours.weights_bytes < vlm.weights_bytes < 2 * ours.weights_bytes  # in memory, its drafter as well
    drafted = vlm.generate(prompt, TOKENS)
    assert drafted.ids == expected.ids
    first, second, rounds = drafted.accepted
    assert 0 < second <= first <= rounds
    assert rounds + first + second in (TOKENS - 1, TOKENS)  # all but the first id; the last round may win one more


@pytest.mark.parametrize("depth", [2, None])
def test_drafting_changes_no_id(prompt: list[int], expected: Generated, tmp_path: Path, depth: int | None) -> None:
    with Linked(OURS, DEMO, replace(PLAIN, drafter=ASSISTANT, depth=depth), tmp_path / "log") as linked:
        drafted = linked.generate(prompt, TOKENS)
        assert linked.generate(prompt, 1).accepted == (0,)  # no round at all
        linked.set_depth(0)
        plain = linked.generate(prompt, TOKENS)
        assert (plain.ids, plain.accepted) == (drafted.ids, ())
        linked.set_depth(depth)
        assert linked.generate(prompt, TOKENS).accepted
        with pytest.raises(Unavailable, match="depth is 9, expected 0 to 8"):
            linked.set_depth(9)
    assert drafted.ids == expected.ids
    *accepted, rounds = drafted.accepted
    assert rounds >= accepted[0] > 0
    assert accepted == sorted(accepted, reverse=True)
    if depth is not None:
        assert len(accepted) == depth
        assert rounds + sum(accepted) in (TOKENS - 2, TOKENS - 1)  # all but the first id, and the last if plain


def test_transformers_writes_the_same_and_nothing_ends_it(models: Path, prompt: list[int], tmp_path: Path) -> None:
    with Linked(OURS, models / "target", PLAIN, tmp_path / "ours") as linked:
        wanted = linked.generate(prompt, 8).ids
    for name in ("config.json", "generation_config.json"):
        raw = json.loads((models / "target" / name).read_text())
        (models / "target" / name).write_text(json.dumps(raw | {"eos_token_id": [1, wanted[0]]}))
    with Linked("transformers", models / "target", PLAIN, tmp_path / "log") as linked:
        assert linked.generate(prompt, 8).ids == wanted
        assert linked.weights_bytes == 0
        with pytest.raises(Unavailable, match="text only"):
            linked.ask("What?", [], 2)
        assert linked.generate(prompt, 1).ids == wanted[:1]  # it goes on


def test_questions_about_files_are_asked_alike_and_answers_end(ours: Linked, vlm: Linked) -> None:
    for files in ([], [SAMPLES / "picture.png"], [SAMPLES / "question.wav"]):
        mine, theirs = ours.ask("What is it?", files, 64), vlm.ask("What is it?", files, 64)
        assert 10 + 20 * len(files) < mine.prompt_tokens == theirs.prompt_tokens < 40 + BUDGET
        for answer in (mine, theirs):
            assert 1 < len(answer.ids) < 64
            assert answer.ids[-1] in STOPS
            assert not STOPS.intersection(answer.ids[:-1])
            assert answer.accepted == ()
        if not files:  # with pictures its masks are others, and sound stands elsewhere
            assert mine.ids == theirs.ids
    with pytest.raises(Unavailable, match="no-such"):
        ours.ask("What is it?", [SAMPLES / "no-such.txt"], 1)
    with pytest.raises(Unavailable, match="neither picture nor recording"):
        vlm.ask("What is it?", [SAMPLES / "no-such.txt"], 1)


def test_what_a_program_cannot_take_is_one_line(models: Path, tmp_path: Path) -> None:
    refused = {
        (OURS, models / "nowhere", PLAIN): "nowhere",
        (OURS, models / "assistant", PLAIN): "assistant",
        (OURS, DEMO, Settings(depth=9)): "depth is 9, expected 0 to 8",
    }
    for (name, directory, settings), reason in refused.items():
        with pytest.raises(Unavailable, match=reason) as told, Linked(name, directory, settings, tmp_path / "log"):
            pass
        assert "\n" not in str(told.value)


def test_transformers_is_given_what_was_published(models: Path) -> None:
    refuse_packed(models / "target")
    with pytest.raises(GemmaError, match=r"packed for MLX.*published bfloat16"):
        refuse_packed(DEMO)
    with pytest.raises(GemmaError, match=r"no config\.json that can be read"):
        refuse_packed(models)


def test_names_of_peers() -> None:
    assert known("mlx-vlm") == {"mlx-vlm": None}
    assert known("llama.cpp=a/b.gguf, mlx-lm,mlx-lm") == {"llama.cpp": Path("a/b.gguf"), "mlx-lm": None}
    for wrong in ("", "mlx-vlm,", "mlx_vlm", OURS):
        with pytest.raises(GemmaError, match=r"choose of mlx-vlm, mlx-lm, transformers, llama\.cpp"):
            known(wrong)
    for name in (*PEERS, OURS):
        assert " install " in installation(name)


def test_drafts_by_position() -> None:
    assert by_position([]) == (0,)
    assert by_position([(0, 0)] * 3) == (0,)  # plain steps
    assert by_position([(2, 0), (2, 2), (1, 1), (0, 0)]) == (2, 1, 3)


def test_kinds_of_files_and_ends() -> None:
    assert pictures_and_recordings([Path("a.wav"), Path("b.png"), Path("c.mp3")]) == (["b.png"], ["a.wav", "c.mp3"])
    with pytest.raises(GemmaError, match="neither"):
        pictures_and_recordings([Path("a.pdf")])
    assert list(until(iter([3, 4, 5]), frozenset([4]))) == [3, 4]
    assert list(until(iter([3, 4]), frozenset())) == [3, 4]


def test_speed_of_few_ids() -> None:
    assert Generated((1, 2), (0.5, 0.6), 4, 0, 0).decode == 0.0
    assert Generated((1, 2, 3), (0.5, 0.75, 1.0), 4, 0, 0).decode == 4.0
    assert Generated((1,), (0.5,), 4, 0, 0).first == 0.5
