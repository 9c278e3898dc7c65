"""The benchmarks of later turns, at a tiny size: what they compare is the same conversation."""

from pathlib import Path

import pytest

from gemma_mlx.benchmarks import resume
from gemma_mlx.benchmarks.midsize import Width, speakable, write_pair
from gemma_mlx.benchmarks.second_turn import COLD, DRAFTED, OURS, Answer, Talker, Turns, converse, question, summary
from gemma_mlx.inputs.tokenizer import load_tokenizer
from gemma_mlx.models import find_model

TINY = Width(64, 128, 6, 4, 2, 32, 64)
TOKENS = 150


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("models")
    write_pair(directory, TINY)
    return directory


def test_words_stay_the_tokens_that_they_are() -> None:
    tokenizer = load_tokenizer(find_model("demo"))
    words = speakable(tokenizer)
    assert len(words) == 12
    for ids in (words, words[::-1], words[:1] * 5):
        assert tokenizer.encode(tokenizer.decode(ids)) == ids


def test_questions_are_of_the_length_that_is_asked_for_and_differ_at_once() -> None:
    tokenizer = load_tokenizer(find_model("demo"))
    first, second = (tokenizer.encode(question(tokenizer, TOKENS, number)) for number in (1, 2))
    assert TOKENS <= min(len(first), len(second)) <= max(len(first), len(second)) < TOKENS + 60
    assert first[:2] != second[:2]


def test_our_program_is_told_what_to_do_and_reads_the_second_turn_only(models: Path, tmp_path: Path) -> None:
    target, assistant = str(models / "target"), str(models / "assistant")
    asked, written = question(load_tokenizer(models / "target"), TOKENS, 1), 6
    talker = Talker(["ours", target, assistant], tmp_path / "log")
    try:
        first, again = converse(talker, asked, written), converse(talker, asked, written)
    finally:
        talker.close()
    assert first.first.text
    assert first.second.text
    assert first.second.first_s > 0
    assert first.pause_s > 0
    read_again = first.second.prompt_tokens - (first.second.cached or 0)
    assert 0 < read_again < 40 < first.first.prompt_tokens
    assert first.second.prompt[: TOKENS // 2] == first.first.prompt[: TOKENS // 2]
    assert again.second.prompt == first.second.prompt  # a new conversation begins anew
    assert again.first.cached == 0


def test_a_program_that_ends_is_told(tmp_path: Path) -> None:
    talker = Talker(["ours", "no such place", "off"], tmp_path / "log")
    with pytest.raises(RuntimeError, match="no such place is no directory"):
        talker.new()
    talker.close()


def test_ratios_are_those_of_a_round() -> None:
    def turns(seconds: float, text: str = "a") -> Turns:
        answer = Answer(seconds, text, 9, 3, (1, 2))
        return Turns(answer, answer, 0.0)

    peers = {name: turns(8) for name in ("mlx-vlm chat", "mlx-vlm server, APC_ENABLED=1")}
    tuned = {"mlx-vlm server, APC_ENABLED=1 APC_CHECKPOINT_GUARD_TOKENS=16": turns(8)}
    rounds = [{OURS: turns(mine), DRAFTED: turns(2), COLD: turns(10), **peers, **tuned} for mine in (1, 2, 4)]
    told = summary(rounds)
    assert told["ratios"][f"{OURS} / {COLD}"] == {"median": 0.2, "min": 0.1, "max": 0.4}
    assert told["ratios"][f"{DRAFTED} / {COLD}"]["median"] == 0.2
    assert told["programs"][OURS]["second_turn_s"]["median"] == 2
    assert told["same_answers"]
    assert told["same_prompt_ids"]
    rounds[1][OURS] = turns(1, "b")
    assert not summary(rounds)["same_answers"]


def test_resuming_gives_the_answer_of_reading_again() -> None:
    found = resume.compare(TINY, TOKENS, 1)
    assert found["same_answers"]
    assert found["cached_tokens"] == [found["held_tokens"]]
    assert found["held_tokens"] > TOKENS
