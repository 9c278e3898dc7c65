"""Text <-> token ids, from a checkpoint's `tokenizer.json` or `tokenizer.model`; both give the same ids.

`encode` takes plain text only: where text spells a control token ("<|turn>"), it is cut after the "<", so that no
backend can match the token and the characters are encoded one side at a time. Control tokens are placed by id, by
whoever builds a prompt. Nothing here knows chat templates or media.
Source: the published Gemma 4 tokenizer (BPE, byte fallback, U+2581 for space, no dummy prefix).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from gemma_mlx.errors import CheckpointError

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor
    from tokenizers import Tokenizer as RustTokenizer

# Control tokens of Gemma 4. Named here because a sentencepiece model marks most of them as ordinary user symbols.
CONTROL_TOKENS = (
    *("<pad>", "<eos>", "<bos>", "<unk>", "<mask>"),
    *("<|tool>", "<tool|>", "<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>", '<|"|>'),
    *("<|think|>", "<|channel>", "<channel|>", "<|turn>", "<turn|>"),
    *("<|image>", "<|image|>", "<image|>", "<|audio>", "<|audio|>", "<audio|>", "<|video|>"),
)
_REQUIRED = ("<bos>", "<|turn>", "<turn|>")
_BYTE_PIECE = re.compile(r"<0x([0-9A-F]{2})>")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class Tokenizer(Protocol):
    """What the rest of the package needs of a tokenizer."""

    @property
    def vocab_size(self) -> int:
        """Number of ids; a model's embedding may have more rows, never fewer."""

    @property
    def specials(self) -> Mapping[str, int]:
        """Every control token: literal -> id."""

    def encode(self, text: str) -> list[int]:
        """Ids of plain text, without `<bos>`; a control token's literal is encoded as characters."""

    def token_bytes(self, token: int) -> bytes:
        """The UTF-8 bytes a token adds to the text; empty for control tokens and ids beyond the vocabulary."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`, with U+FFFD for bytes that are no UTF-8."""


def inside_literals(literals: Iterable[str]) -> re.Pattern[str]:
    """Matches the empty position after the first character of each literal: the place to cut or to break it."""
    tails: dict[str, list[str]] = {}
    for literal in literals:
        tails.setdefault(literal[0], []).append(re.escape(literal[1:]))
    return re.compile("|".join(f"(?<={re.escape(head)})(?:(?={'|'.join(tail)}))" for head, tail in tails.items()))


class TokenizersTokenizer:
    """`tokenizer.json`, read by the `tokenizers` library."""

    def __init__(self, backend: "RustTokenizer") -> None:
        backend.no_truncation()
        backend.no_padding()
        self._backend = backend
        added = backend.get_added_tokens_decoder().items()
        self.specials: Mapping[str, int] = {
            token.content: number for number, token in added if token.special or token.content in CONTROL_TOKENS
        }
        self._control = frozenset(self.specials.values())
        self._cut = inside_literals(self.specials)

    @property
    def vocab_size(self) -> int:
        return self._backend.get_vocab_size(with_added_tokens=True)

    def encode(self, text: str) -> list[int]:
        chunks = self._cut.split(_valid(text))
        return [
            token for chunk in chunks if chunk for token in self._backend.encode(chunk, add_special_tokens=False).ids
        ]

    def token_bytes(self, token: int) -> bytes:
        piece = self._backend.id_to_token(token)
        if piece is None or token in self._control:
            return b""
        return _piece_bytes(piece)

    def decode(self, ids: Sequence[int]) -> str:
        return b"".join(map(self.token_bytes, ids)).decode("utf-8", errors="replace")


class SentencePieceTokenizer:
    """`tokenizer.model`, read by sentencepiece."""

    def __init__(self, backend: "SentencePieceProcessor") -> None:
        self._backend = backend
        self.vocab_size: int = backend.get_piece_size()
        pieces = ((backend.id_to_piece(number), number) for number in range(self.vocab_size))
        self.specials: Mapping[str, int] = {
            piece: number for piece, number in pieces if piece in CONTROL_TOKENS or backend.is_control(number)
        }
        self._control = frozenset(self.specials.values())
        self._cut = inside_literals(self.specials)

    def encode(self, text: str) -> list[int]:
        chunks = self._cut.split(_valid(text))
        return [token for chunk in chunks if chunk for token in self._backend.encode(chunk, out_type=int)]

    def token_bytes(self, token: int) -> bytes:
        if token >= self.vocab_size or token in self._control:
            return b""
        return _piece_bytes(self._backend.id_to_piece(token))

    def decode(self, ids: Sequence[int]) -> str:
        return b"".join(map(self.token_bytes, ids)).decode("utf-8", errors="replace")


def load_tokenizer(directory: Path) -> Tokenizer:
    """The tokenizer of a model directory: `tokenizer.json` if it exists, else `tokenizer.model`.

    Raises `CheckpointError` if there is neither, the file cannot be read, or it is not a Gemma 4 tokenizer.
    """
    as_json, as_model = directory / "tokenizer.json", directory / "tokenizer.model"
    tokenizer: Tokenizer
    if as_json.exists():
        path, tokenizer = as_json, _from_json(as_json)
    elif as_model.exists():
        path, tokenizer = as_model, _from_sentencepiece(as_model)
    else:
        raise CheckpointError(f"{directory} has no tokenizer.json or tokenizer.model: download the model again")
    missing = [literal for literal in _REQUIRED if literal not in tokenizer.specials]
    if missing:
        raise CheckpointError(f"{path} lacks {', '.join(missing)}: it is not a tokenizer of Gemma 4")
    return tokenizer


def _from_json(path: Path) -> TokenizersTokenizer:
    from tokenizers import Tokenizer as RustTokenizer

    content = _read(path)
    try:
        return TokenizersTokenizer(RustTokenizer.from_buffer(content))
    except ValueError as fault:
        raise CheckpointError(f"{path} is not a tokenizer ({fault}): download it again") from None


def _from_sentencepiece(path: Path) -> SentencePieceTokenizer:
    from sentencepiece import SentencePieceProcessor

    content = _read(path)
    try:
        return SentencePieceTokenizer(SentencePieceProcessor(model_proto=content))
    except RuntimeError:
        raise CheckpointError(f"{path} is not a sentencepiece model: download it again") from None


def _read(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as fault:
        raise CheckpointError(f"{path} cannot be read: {fault.strerror}") from None
    if not content:
        raise CheckpointError(f"{path} is empty: download it again")
    return content


def _piece_bytes(piece: str) -> bytes:
    byte = _BYTE_PIECE.fullmatch(piece)
    return bytes([int(byte[1], 16)]) if byte else piece.replace("\u2581", " ").encode("utf-8")


def _valid(text: str) -> str:
    # Command lines and file names can carry bytes that are no text; neither backend takes them.
    return _LONE_SURROGATE.sub("\ufffd", text)
