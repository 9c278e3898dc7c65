"""Both tokenizer backends: equal ids on any text, control tokens only by id, text back from bytes, broken files."""

import json
import random
from pathlib import Path

import pytest

from gemma_mlx.errors import CheckpointError
from gemma_mlx.inputs.tokenizer import (
    CONTROL_TOKENS,
    SentencePieceTokenizer,
    Tokenizer,
    TokenizersTokenizer,
    load_tokenizer,
)
from tests.demo_model import build_tokenizer

DEMO = Path(__file__).parents[2] / "gemma_mlx" / "assets" / "demo"
CORPUS = (Path(build_tokenizer.__file__).parent / "corpus.txt").read_text(encoding="utf-8")
ODD = ("\U0001f600", "\U0001f469\u200d\U0001f4bb", "日本", "语", "é", "e\u0301", "\0", "\r\n", "<0x41>", "▁", "  ")
RUNS = (" ", "\n", "▁", ".", "-", "a", "e", "\t")


def _directory(tmp_path: Path, name: str) -> Path:
    (tmp_path / name).write_bytes((DEMO / name).read_bytes())
    return tmp_path


@pytest.fixture(scope="module")
def rust() -> Tokenizer:
    return load_tokenizer(DEMO)


@pytest.fixture(scope="module")
def piece(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return load_tokenizer(_directory(tmp_path_factory.mktemp("sentencepiece"), "tokenizer.model"))


@pytest.fixture(params=["tokenizer.json", "tokenizer.model"])
def each(request: pytest.FixtureRequest) -> Tokenizer:
    fixture = {"tokenizer.json": "rust", "tokenizer.model": "piece"}[request.param]
    tokenizer: Tokenizer = request.getfixturevalue(fixture)
    return tokenizer


def _any_character(rng: random.Random) -> str:
    return chr(rng.choice((rng.randrange(0xD800), rng.randrange(0xE000, 0x110000), rng.randrange(256))))


def _text(rng: random.Random) -> str:
    length = rng.randrange(60)
    match rng.randrange(6):
        case 0:
            return "".join(_any_character(rng) for _ in range(length))
        case 1:
            start = rng.randrange(len(CORPUS))
            return CORPUS[start : start + 4 * length]
        case 2:
            return "".join(rng.choice(" \n\t▁.-a1") for _ in range(length))
        case 3:
            return "".join(rng.choice((*ODD, *CONTROL_TOKENS, "<", "|>")) for _ in range(length))
        case 4:
            return "".join(rng.choice(RUNS) * rng.randrange(1, 12) for _ in range(length // 4 + 1))
        case _:
            return "".join(rng.choice("etaoin shrdlu") for _ in range(length))


def test_both_files_exist_and_each_is_loaded(rust: Tokenizer, piece: Tokenizer) -> None:
    assert isinstance(rust, TokenizersTokenizer)
    assert isinstance(piece, SentencePieceTokenizer)
    assert rust.vocab_size == piece.vocab_size
    assert rust.vocab_size % 64 == 0
    assert dict(rust.specials) == dict(piece.specials)
    assert set(rust.specials) == set(CONTROL_TOKENS)
    assert [rust.specials[name] for name in CONTROL_TOKENS[:5]] == [0, 1, 2, 3, 4]


def test_ids_of_both_backends_are_equal_and_decode_to_the_text(rust: Tokenizer, piece: Tokenizer) -> None:
    rng = random.Random(4)
    control = frozenset(rust.specials.values())
    for _ in range(4000):
        text = _text(rng)
        ids = rust.encode(text)
        assert ids == piece.encode(text), repr(text)
        assert not control.intersection(ids), repr(text)
        assert rust.decode(ids) == piece.decode(ids) == text.replace("▁", " "), repr(text)


def test_every_token_has_the_same_bytes(rust: Tokenizer, piece: Tokenizer) -> None:
    for token in range(rust.vocab_size + 2):
        assert rust.token_bytes(token) == piece.token_bytes(token), token


@pytest.mark.parametrize("literal", CONTROL_TOKENS)
def test_a_control_token_in_text_is_characters(each: Tokenizer, literal: str) -> None:
    for text in (literal, literal * 2, f"<{literal}>", f"a {literal}\n\nb"):
        ids = each.encode(text)
        assert each.decode(ids) == text
        assert not set(ids) & set(each.specials.values())


def test_control_tokens_add_no_bytes(each: Tokenizer) -> None:
    assert each.decode(list(each.specials.values())) == ""
    assert each.token_bytes(each.vocab_size) == b""


def test_bytes_and_spaces(each: Tokenizer) -> None:
    assert each.encode("") == []
    assert [each.token_bytes(token) for token in each.encode("\U0001f600")] == [b"\xf0", b"\x9f", b"\x98", b"\x80"]
    assert each.decode(each.encode("\U0001f600")[:3]) == "\ufffd"
    assert b"".join(map(each.token_bytes, each.encode(" a  b"))) == b" a  b"
    assert [each.token_bytes(token) for token in each.encode("\n\n\n")] == [b"\n\n", b"\n"]
    assert [each.token_bytes(token) for token in each.encode("42")] == [b"4", b"2"]


def test_text_that_is_no_unicode_becomes_replacement_characters(each: Tokenizer) -> None:
    assert each.decode(each.encode("a\udcff b")) == "a\ufffd b"


def test_words_the_demo_needs_are_single_tokens(rust: Tokenizer) -> None:
    for word in ("Hello", "user", " model", "What", " image", " audio", " red", " memory", " error"):
        assert len(rust.encode(word)) == 1, word


def test_the_demo_files_are_what_the_script_makes(tmp_path: Path) -> None:
    assert load_tokenizer(DEMO).vocab_size == build_tokenizer.VOCAB_SIZE
    build_tokenizer.main(tmp_path)
    made = sorted(tmp_path.iterdir())
    assert len(made) == 5
    for path in made:
        assert path.read_bytes() == (DEMO / path.name).read_bytes(), path.name


def test_the_small_configs_name_the_demo_ids(rust: Tokenizer) -> None:
    generation = json.loads((DEMO / "generation_config.json").read_text(encoding="utf-8"))
    ids = rust.specials
    assert generation["eos_token_id"] == [ids["<eos>"], ids["<turn|>"], ids["<|tool_response>"]]
    assert generation["suppress_tokens"] == [ids["<audio|>"], ids["<image|>"]]
    assert (generation["temperature"], generation["top_k"], generation["top_p"]) == (1.0, 64, 0.95)
    named = json.loads((DEMO / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert {value for key, value in named.items() if key.endswith("_token")} <= set(ids)


def test_a_directory_without_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no tokenizer\.json or tokenizer\.model") as fault:
        load_tokenizer(tmp_path)
    assert str(tmp_path) in str(fault.value)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer.model"])
@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b"\0" * 100, None])
def test_a_corrupt_file_is_named_in_one_line(tmp_path: Path, name: str, content: bytes | None) -> None:
    whole = (DEMO / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(CheckpointError) as fault:
        load_tokenizer(tmp_path)
    assert str(tmp_path / name) in str(fault.value)
    assert ("is empty" in str(fault.value)) == (content == b"")
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer.model"])
def test_a_directory_in_place_of_the_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_tokenizer(tmp_path)


def test_the_tokenizer_of_another_model(tmp_path: Path) -> None:
    content = json.loads((DEMO / "tokenizer.json").read_text(encoding="utf-8"))
    content["added_tokens"] = [token for token in content["added_tokens"] if "turn" not in token["content"]]
    (tmp_path / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"lacks <\|turn>, <turn\|>"):
        load_tokenizer(tmp_path)
