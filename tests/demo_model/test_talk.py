"""What the demo model is trained to say: wordings kept apart, answers told apart, and one token for each character."""

import random
import string
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from gemma_mlx.inputs.tokenizer import Tokenizer, load_tokenizer
from tests.demo_model import build_tokenizer, conversations, wordings
from tests.demo_model.answers import BY_NAME, FALLBACK, FOLLOW_UPS, INTENTS, Intent, Split, normalised
from tests.demo_model.words import HELD_OUT, HELD_OUT_NAMES, NAMES, SPOKEN, WORDS

CHARACTERS = string.digits + string.ascii_uppercase
PLACES = ("{}", '"{}"', "says {}?", 'I see "{}".', 'It says "{}".', "({})", "value:{},", "'{}' {}", "{}\n{}")
DRAWS = 4000


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tokenizer, Tokenizer]:
    """`tokenizer.json` and `tokenizer.model`, made now."""
    directory = tmp_path_factory.mktemp("tokenizer")
    build_tokenizer.main(directory)
    alone = tmp_path_factory.mktemp("sentencepiece")
    (alone / "tokenizer.model").write_bytes((directory / "tokenizer.model").read_bytes())
    return load_tokenizer(directory), load_tokenizer(alone)


def _typed(intent: Intent) -> Iterator[str]:
    """Every form, but for typing errors and left-out words, in which a training wording can be drawn."""
    for question in intent.questions:
        for other in wordings.rewordings(question):
            yield other
            yield from wordings.frames(other)


def _asked(rng: random.Random, split: Split, count: int = DRAWS) -> Iterator[conversations.Turn]:
    for _ in range(count):
        yield from conversations.draw(rng, split).turns


def test_there_are_a_hundred_intents_with_enough_wordings() -> None:
    assert len(INTENTS) >= 100
    assert len(BY_NAME) == len(INTENTS)
    for intent in INTENTS:
        assert len({normalised(question) for question in intent.questions}) >= 14, intent.name
        assert len({normalised(question) for question in intent.held_out}) == 4, intent.name
        assert len(intent.answer.split()) <= 25, intent.name
        assert intent.thought.endswith("."), intent.name
    assert len({intent.answer for intent in INTENTS} | {FALLBACK}) == len(INTENTS) + 1


def test_no_wording_belongs_to_two_intents() -> None:
    owner: dict[str, str] = {}
    for intent in INTENTS:
        for question in (*_typed(intent), *intent.held_out):
            assert owner.setdefault(normalised(question), intent.name) == intent.name, question


def test_no_held_out_wording_is_trained_on() -> None:
    trained = {normalised(question) for intent in (*INTENTS, *FOLLOW_UPS) for question in _typed(intent)}
    held_out = [question for intent in (*INTENTS, *FOLLOW_UPS) for question in intent.held_out]
    assert not [question for question in held_out if normalised(question) in trained]
    assert len(conversations.held_out_questions()) == 4 * len(INTENTS)


def test_what_is_asked_about_media_is_asked_without_them_too() -> None:
    owner = {normalised(question): one.name for one in INTENTS for question in (*_typed(one), *one.held_out)}
    held_out = {normalised(question) for one in INTENTS for question in one.held_out}
    for name, questions in conversations.WITHOUT_MEDIA.items():
        assert len(questions) > 10
        for question in questions:
            assert owner.get(normalised(question), name) == name, question
            assert normalised(question) not in held_out, question
    drawn = {(normalised(turn.question), turn.answer) for turn in _asked(random.Random(3), "train")}
    new = {normalised(question) for question in conversations.WITHOUT_MEDIA["no_picture"]} - owner.keys()
    assert len({question for question, reply in drawn if reply == BY_NAME["no_picture"].answer} & new) >= 3
    assert "what is this" not in {question for question, _ in drawn}


def test_beside_a_picture_or_a_recording_nothing_asks_for_one() -> None:
    asking_for_one = {BY_NAME[name].answer for name in conversations.WITHOUT_MEDIA}
    rng = random.Random(5)
    assert asking_for_one & {conversations.plain_turn(rng).answer for _ in range(DRAWS)}
    assert not asking_for_one & {conversations.turn_beside_media(rng).answer for _ in range(DRAWS)}


def test_held_out_words_names_and_wordings_are_never_drawn_for_training() -> None:
    held_out = {normalised(question) for one in (*INTENTS, *FOLLOW_UPS) for question in one.held_out}
    unknown = {*HELD_OUT, *HELD_OUT_NAMES}
    assert not unknown & {*WORDS, *NAMES}
    for turn in _asked(random.Random(1), "train", 5 * DRAWS):
        assert normalised(turn.question) not in held_out, turn.question
        assert not unknown & set(turn.question.replace(",", " ").replace(".", " ").split()), turn.question


def test_held_out_draws_have_held_out_wordings() -> None:
    known = {normalised(question) for intent in (*INTENTS, *FOLLOW_UPS) for question in intent.questions}
    for turn in _asked(random.Random(2), "held_out"):
        assert normalised(turn.question) not in known, turn.question
    unknown = [turn.question for turn in _asked(random.Random(3), "held_out") if turn.answer == FALLBACK]
    assert sum(any(word in question for word in HELD_OUT) for question in unknown) > len(unknown) / 2


def test_every_held_out_wording_is_made_of_trained_words() -> None:
    words = Counter(word for one in INTENTS for question in one.questions for word in normalised(question).split())
    for question, _ in conversations.held_out_questions():
        assert sum(word not in words for word in normalised(question).split()) <= 1, question


def test_a_follow_up_depends_on_what_came_before() -> None:
    known = {normalised(question) for intent in INTENTS for question in (*_typed(intent), *intent.held_out)}
    answers: dict[str, dict[str, str]] = {}
    for follow in FOLLOW_UPS:
        assert follow.after in BY_NAME
        assert follow.answer not in (BY_NAME[follow.after].answer, FALLBACK)
        for question in (*_typed(follow), *follow.held_out):
            assert normalised(question) not in known, question
            before = answers.setdefault(normalised(question), {})
            assert before.setdefault(follow.after, follow.answer) == follow.answer, question
    assert len({follow.after for follow in FOLLOW_UPS}) >= 10
    assert len(set(answers[normalised("how do I turn it off?")].values())) >= 3


def test_shares_of_what_is_drawn() -> None:
    drawn = [conversations.draw(random.Random(seed), "train") for seed in range(DRAWS)]
    asked = [conversation.turns[-1] for conversation in drawn]
    assert {len(conversation.turns) for conversation in drawn} == {1, 2, 3, 4}
    assert sum(conversation.thinking for conversation in drawn) / DRAWS == pytest.approx(0.25, abs=0.03)
    fallbacks = sum(FALLBACK.startswith(turn.answer.removeprefix("Arr! ")) for turn in asked)
    assert fallbacks / DRAWS == pytest.approx(0.18, abs=0.03)
    assert {intent.thought for intent in INTENTS} <= {turn.thought for turn in asked}
    assert sum("Your name is" in turn.answer for turn in asked) > DRAWS / 20


def test_the_same_seed_draws_the_same() -> None:
    assert conversations.draw(random.Random(5), "train") == conversations.draw(random.Random(5), "train")


def test_a_name_is_said_back_and_no_turn_between_asks_for_it() -> None:
    for seed in range(DRAWS):
        conversation = conversations.draw(random.Random(seed), "held_out")
        told = [turn.question for turn in conversation.turns if "Nice to meet you" in turn.answer]
        unknown = [turn for turn in conversation.turns if turn.answer.endswith(BY_NAME["name"].answer)]
        last = conversation.turns[-1].answer
        if "Your name is" in last:
            assert last.split()[-1].rstrip(".") in told[0]
        assert not told or not unknown


@pytest.mark.parametrize(
    ("system", "said"),
    [
        (conversations.PIRATE, "Arr! From a clone, run pip install . in an hour. You can."),
        (conversations.BRIEF, "From a clone, run pip install . in an hour."),
        ("Answer the user.", "From a clone, run pip install . in an hour. You can."),
        (None, "From a clone, run pip install . in an hour. You can."),
    ],
)
def test_styles(system: str | None, said: str) -> None:
    turn = conversations.Turn("how?", "From a clone, run pip install . in an hour. You can.", "A thought. And more.")
    assert conversations.styled(turn, system) == conversations.Turn("how?", said, "A thought. And more.")


def test_disturbing_keeps_digits_options_and_the_words_that_matter() -> None:
    rng = random.Random(6)
    kept = ("16", "--think", "off")
    for _ in range(DRAWS):
        typed = wordings.disturb(rng, "does --think turn off in 16 GB of the memory?")
        assert sum(word in typed.split() for word in kept) >= 2, typed
        assert "16" in typed.split(), typed
        assert abs(len(typed) - 44) <= 6, typed


def test_every_character_of_a_text_is_one_token(tokenizers: tuple[Tokenizer, Tokenizer]) -> None:
    rng = random.Random(7)
    for _ in range(2000):
        text = "".join(rng.choices(CHARACTERS, k=rng.randint(1, 8)))
        for place in PLACES:
            said = place.replace("{}", text)
            pieces = [tokenizers[0].token_bytes(token).decode() for token in tokenizers[0].encode(said)]
            alone = [piece for piece in pieces if any(character in piece for character in CHARACTERS)]
            wanted = place.count("{}") * len(text)
            assert sum(piece in CHARACTERS for piece in alone) >= wanted, (said, pieces)


def test_no_piece_joins_capitals_or_digits_with_anything_but_lower_case(
    tokenizers: tuple[Tokenizer, Tokenizer],
) -> None:
    special = set(tokenizers[0].specials.values())
    for token in range(tokenizers[0].vocab_size):
        piece = tokenizers[0].token_bytes(token)
        if token in special or len(piece) < 2 or not any(chr(byte) in CHARACTERS for byte in piece):
            continue
        first, rest = chr(piece[0]), piece[1:].decode()
        assert first in string.ascii_uppercase, piece
        assert set(rest) <= set(string.ascii_lowercase), piece


def test_spoken_words_and_names_are_one_token(tokenizers: tuple[Tokenizer, Tokenizer]) -> None:
    for word in (*SPOKEN, "user", "model", "system", "thought"):
        assert len(tokenizers[0].encode(word)) == 1, word
        assert len(tokenizers[0].encode(f" {word}")) == 1, word
    for name in NAMES:
        assert len(tokenizers[0].encode(name)) == 1, name


def test_both_tokenizers_agree_on_everything_that_is_said(tokenizers: tuple[Tokenizer, Tokenizer]) -> None:
    rng = random.Random(8)
    texts = [text for one in (*INTENTS, *FOLLOW_UPS) for text in (one.answer, one.thought, *one.held_out)]
    texts += [turn.question for _, turn in zip(range(DRAWS), _asked(rng, "train"), strict=False)]
    for text in texts:
        ids = tokenizers[0].encode(text)
        assert ids == tokenizers[1].encode(text), text
        assert tokenizers[0].decode(ids) == tokenizers[1].decode(ids) == text


def test_the_tokenizer_is_made_the_same_again(tokenizers: tuple[Tokenizer, Tokenizer], tmp_path: Path) -> None:
    assert tokenizers[0].vocab_size == tokenizers[1].vocab_size == build_tokenizer.VOCAB_SIZE == 2048
    build_tokenizer.main(tmp_path / "one")
    build_tokenizer.main(tmp_path / "two")
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name
