"""Make the demo model's tokenizer: the same pieces as `tokenizer.model` (sentencepiece) and `tokenizer.json`.

`python tests/demo_model/build_tokenizer.py [DIRECTORY]` trains on `corpus.txt`, `questions.toml` and `words.py` beside
this file and writes both tokenizers and the small configs that name their ids. The result depends on those files only.
It knows nothing of the weights. Layout and settings are the published Gemma 4 tokenizer's: BPE, byte fallback, no
normalisation, no dummy prefix, space as U+2581, single digits, control tokens first.
"""

import io
import json
import re
import sys
from pathlib import Path

import sentencepiece as spm

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from tests.demo_model import answers, words  # noqa: E402

ASSETS = HERE.parents[1] / "gemma_mlx" / "assets" / "demo"
VOCAB_SIZE = 2048
SPACE = "\u2581"
PAIRED = ("tool", "tool_call", "tool_response")
CONTROL = (
    *(literal for name in PAIRED for literal in (f"<|{name}>", f"<{name}|>")),
    *('<|"|>', "<|think|>", "<|channel>", "<channel|>", "<|turn>", "<turn|>"),
    *("<|image>", "<|image|>", "<image|>", "<|audio>", "<|audio|>", "<audio|>", "<|video|>"),
)
NEWLINES = ("\n", "\n\n")
NAMES = {
    "pad_token": "<pad>",
    "eos_token": "<eos>",
    "bos_token": "<bos>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
    "sot_token": "<|turn>",
    "eot_token": "<turn|>",
    "soc_token": "<|channel>",
    "eoc_token": "<channel|>",
    "std_token": "<|tool>",
    "etd_token": "<tool|>",
    "stc_token": "<|tool_call>",
    "etc_token": "<tool_call|>",
    "str_token": "<|tool_response>",
    "etr_token": "<tool_response|>",
    "think_token": "<|think|>",
    "escape_token": '<|"|>',
    "boi_token": "<|image>",
    "image_token": "<|image|>",
    "eoi_token": "<image|>",
    "boa_token": "<|audio>",
    "audio_token": "<|audio|>",
    "eoa_token": "<audio|>",
}


# What is read in a picture, as "XK4E0", must be one token per character wherever it stands: at the start, after a
# space, after a quote, before a full stop. So no piece may join two of capitals and digits, nor one of them to a space,
# a quote or a mark. Training sees no pair across these places, hence learns no piece with one: text is cut there into
# sentences of its own. Left are pieces as "Hello", a capital with lower-case letters after it, and " memory"; the space
# of " Hello" is a token. Cut: before every capital or digit, after one unless a lower-case letter follows, and between
# quotes and letters.
_CUTS = re.compile(r"(?=[A-Z0-9])|(?<=[A-Z0-9])(?![a-z])|(?<=[\"'])(?=[a-z])|(?<=[a-z])(?=\")")
_ROLES = ("user", "model", "system", "thought", "call", "response", "declaration", "value")
_SAID, _NAMED, _SPOKEN = 3, 20, 100  # how often lines are repeated, so that they get long pieces


def lines() -> list[str]:
    """What the tokenizer is trained on, before it is cut."""
    everything = (*answers.INTENTS, *answers.FOLLOW_UPS)
    said = [text for one in everything for text in (one.answer, one.thought)]
    said += [answers.FALLBACK, answers.FALLBACK_THOUGHT]
    asked = [wording for one in everything for wording in one.questions[: one.tokenized]]
    asked += [wording[0].upper() + wording[1:] for wording in asked]
    spoken = [text for word in words.SPOKEN for text in (word, f"{word} {word}")] + list(_ROLES)
    others = [f"the {word}" for word in (*words.WORDS, *words.SUBJECTS)]
    named = [f"the {name}!" for name in words.NAMES]
    corpus = (HERE / "corpus.txt").read_text(encoding="utf-8").splitlines()
    return [*corpus, *asked, *others, *said * _SAID, *named * _NAMED, *spoken * _SPOKEN]


def sentences() -> list[str]:
    return [part for line in lines() for part in _CUTS.split(line) if part]


def train() -> bytes:
    """The serialized sentencepiece model."""
    model = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences()),
        model_writer=model,
        model_type="bpe",
        vocab_size=VOCAB_SIZE,
        character_coverage=1.0,
        byte_fallback=True,
        split_digits=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=False,
        allow_whitespace_only_pieces=True,
        pad_id=0,
        eos_id=1,
        bos_id=2,
        unk_id=3,
        pad_piece="<pad>",
        eos_piece="<eos>",
        bos_piece="<bos>",
        user_defined_symbols=["<mask>", *CONTROL, *NEWLINES],
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


def vocabulary(model: spm.SentencePieceProcessor) -> dict[str, int]:
    """Piece -> id, in the order of the ids."""
    return {model.id_to_piece(number): number for number in range(model.get_piece_size())}


def merges(pieces: dict[str, float]) -> list[tuple[str, str]]:
    """Every way to join two pieces into a third, best score first, as sentencepiece would prefer them."""
    ranked = sorted((piece for piece in pieces if len(piece) > 1), key=lambda piece: -pieces[piece])
    splits = ((piece[:cut], piece[cut:]) for piece in ranked for cut in range(1, len(piece)))
    return [(left, right) for left, right in splits if left in pieces and right in pieces]


def tokenizer_json(model: spm.SentencePieceProcessor) -> dict[str, object]:
    """The `tokenizers` description of the same model."""
    ids = vocabulary(model)
    whole = {piece for piece, n in ids.items() if model.is_control(n) or model.is_unknown(n)}
    whole |= {"<mask>", *CONTROL, *NEWLINES}
    normal = {piece: model.get_score(n) for piece, n in ids.items() if piece not in whole and not model.is_byte(n)}
    added = [
        {
            "id": ids[piece],
            "content": piece,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": piece not in NEWLINES,
        }
        for piece in sorted(whole, key=lambda piece: ids[piece])
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": SPACE},
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": ids,
            "merges": merges(normal),
        },
    }


def configs(ids: dict[str, int]) -> dict[str, dict[str, object]]:
    """File name -> content of the small configs; shaped like the published ones, with the demo's ids."""
    rescaled = {
        "do_convert_rgb": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.0, 0.0, 0.0],
        "image_std": [1.0, 1.0, 1.0],
        "patch_size": 16,
        "pooling_kernel_size": 3,
        "resample": 3,
        "rescale_factor": 1 / 255,
    }
    image = {"do_normalize": False, "image_processor_type": "Gemma4UnifiedImageProcessor", "max_soft_tokens": 280}
    video = {
        "do_normalize": True,
        "do_sample_frames": True,
        "max_soft_tokens": 70,
        "num_frames": 32,
        "return_metadata": False,
        "video_processor_type": "Gemma4UnifiedVideoProcessor",
    }
    audio = {
        "audio_samples_per_token": 640,
        "feature_extractor_type": "Gemma4UnifiedAudioFeatureExtractor",
        "feature_size": 640,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": True,
        "sampling_rate": 16000,
    }
    return {
        "generation_config.json": {
            "bos_token_id": ids["<bos>"],
            "do_sample": True,
            "eos_token_id": [ids["<eos>"], ids["<turn|>"], ids["<|tool_response>"]],
            "pad_token_id": ids["<pad>"],
            "suppress_tokens": [ids["<audio|>"], ids["<image|>"]],
            "temperature": 1.0,
            "top_k": 64,
            "top_p": 0.95,
        },
        "processor_config.json": {
            "audio_ms_per_token": 40,
            "audio_seq_length": 750,
            "feature_extractor": audio,
            "image_processor": rescaled | image,
            "image_seq_length": 280,
            "processor_class": "Gemma4UnifiedProcessor",
            "video_processor": rescaled | video,
        },
        "tokenizer_config.json": {
            **NAMES,
            "extra_special_tokens": ["<|video|>"],
            "padding_side": "left",
            "processor_class": "Gemma4UnifiedProcessor",
            "tokenizer_class": "GemmaTokenizer",
        },
    }


def main(directory: Path) -> None:
    """Write the five files into `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    serialized = train()
    model = spm.SentencePieceProcessor(model_proto=serialized)
    (directory / "tokenizer.model").write_bytes(serialized)
    compact = json.dumps(tokenizer_json(model), ensure_ascii=False, separators=(",", ":"))
    (directory / "tokenizer.json").write_text(compact + "\n", encoding="utf-8")
    for name, content in configs(vocabulary(model)).items():
        (directory / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ASSETS)
