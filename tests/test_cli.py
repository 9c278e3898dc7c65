"""The command line as a person and a script use it: what goes where, and how it exits. Runs the demo model."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from gemma_mlx.chat import Chat
from gemma_mlx.generation.sampling import Sampler
from gemma_mlx.inputs.message import Part
from gemma_mlx.inputs.tokenizer import load_tokenizer
from gemma_mlx.models import find_model
from gemma_mlx.options import MODEL_VARIABLE, Settings, demo_notice
from tests.command import gemma_mlx, hum, png, write_video, write_wav
from tests.inputs.films import Clip, every, make, noise

DEMO_DIRECTORY = find_model("demo")
GREEDY = ("--temperature", "0")
OUT_OF_RANGE = (
    ("--top-p", "0"),
    ("--top-p", "1.5"),
    ("--min-p", "-1"),
    ("--min-p", "1.1"),
    ("--temperature", "-1"),
    ("--temperature", "101"),
    ("--temperature", "inf"),
    ("--seed", "-1"),
    ("--seed", str(2**64)),
    ("--context", "0"),
    ("--context", "-1"),
    ("--context", "9" * 5000),
    ("--context", "all"),
    ("--memory", "16"),
    ("--memory", "much"),
    ("--fps", "0"),
    ("--fps", "inf"),
)


def ask_json(*arguments: str | Path, stdin: bytes = b"") -> dict[str, Any]:
    run = gemma_mlx("ask", *arguments, "--json", stdin=stdin)
    assert run.code == 0, run
    assert run.out.count("\n") == 1
    answer: dict[str, Any] = json.loads(run.out)
    return answer


def test_the_answer_alone_is_on_stdout() -> None:
    run = gemma_mlx("ask", "hello", *GREEDY)
    assert run.code == 0
    assert run.out == ask_json("hello", *GREEDY)["text"] + "\n"
    assert run.err == demo_notice() + "\n"


def test_a_directory_is_no_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gemma_mlx("ask", "hello", "--model", DEMO_DIRECTORY, *GREEDY).err == ""
    monkeypatch.setenv(MODEL_VARIABLE, str(DEMO_DIRECTORY))
    assert gemma_mlx("ask", "hello", *GREEDY).err == ""


def test_json_has_exactly_the_documented_shape() -> None:
    answer = ask_json("hello", *GREEDY)

    def shape(value: Any) -> Any:
        return {k: shape(v) for k, v in value.items()} if isinstance(value, dict) else type(value)

    assert shape(answer) == {
        "text": str,
        "thinking": type(None),
        "tokens": list,
        "finish_reason": str,
        "usage": dict.fromkeys(
            ("prompt_tokens", "image_tokens", "audio_tokens", "video_tokens", "cached_tokens", "completion_tokens"), int
        ),
        "timing": dict.fromkeys(("load_s", "ttft_s", "prefill_tok_s", "decode_tok_s"), float),
        "draft": dict.fromkeys(("rounds", "drafted", "accepted"), int),
        "memory": dict.fromkeys(("weights_bytes", "kv_bytes", "peak_bytes", "limit_bytes"), int),
        "model": {"path": str, "bits": dict.fromkeys(("language", "vision", "audio"), int)},
    }


def test_json_agrees_with_itself() -> None:
    answer = ask_json("hello", *GREEDY)
    tokenizer = load_tokenizer(DEMO_DIRECTORY)
    assert tokenizer.decode(answer["tokens"]) == answer["text"]
    assert answer["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] == len(answer["tokens"]) > 0
    assert answer["usage"]["prompt_tokens"] > 0
    assert answer["timing"]["ttft_s"] > 0
    assert answer["memory"]["peak_bytes"] >= answer["memory"]["weights_bytes"] > 1_000_000
    assert answer["memory"]["kv_bytes"] > 0
    assert answer["model"]["path"] == str(DEMO_DIRECTORY)


def test_attachments_are_counted_by_kind(tmp_path: Path) -> None:
    picture, clip = tmp_path / "a.png", write_wav(tmp_path / "a.wav", hum(1.01))
    picture.write_bytes(png(96, 96))
    usage = ask_json("what is it?", "-a", picture, "-a", clip, "--attach", picture, "--image-tokens", "70")["usage"]
    assert usage["image_tokens"] == 2 * 64  # the largest square of 48-pixel patches within 70
    assert usage["audio_tokens"] == 26
    assert usage["video_tokens"] == 0


def test_pictures_come_before_the_question_and_recordings_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture, clip = tmp_path / "a.png", write_wav(tmp_path / "a.wav", hum(0.5))
    picture.write_bytes(png(96, 96))
    parts: list[str] = []
    add = Chat.add

    def spy(chat: Chat, part: Part, *, read: bool = True) -> None:
        parts.append(type(part).__name__)
        add(chat, part, read=read)

    monkeypatch.setattr(Chat, "add", spy)
    for files in (("-a", picture, "-a", clip), ("-a", clip, "-a", picture)):
        assert gemma_mlx("ask", "what is it?", *files, "--max-tokens", "1").code == 0
    assert parts == ["Image", "Text", "Audio"] * 2


def test_a_video_says_what_it_costs(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "a.mp4", 16)
    run = gemma_mlx("ask", "what happens?", "-a", clip, "--max-tokens", "2", "--fps", "2")
    assert run.err.splitlines()[0] == f"{clip}: video, 4 frames, 256 tokens"
    assert ask_json("what happens?", "-a", clip, "--fps", "2")["usage"]["video_tokens"] == 256
    assert ask_json("what happens?", "-a", clip, "--max-frames", "3")["usage"]["video_tokens"] == 192
    assert ask_json("what happens?", "-a", clip)["usage"]["video_tokens"] == 16 * 64


def test_a_video_with_sound_is_read_before_the_question_unless_its_sound_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make(tmp_path / "a.mp4", Clip(every(0.5, 2), [noise(2)]))
    sound = write_wav(tmp_path / "a.wav", hum(0.1))
    parts: list[str] = []
    add = Chat.add

    def spy(chat: Chat, part: Part, *, read: bool = True) -> None:
        parts.append(type(part).__name__)
        add(chat, part, read=read)

    monkeypatch.setattr(Chat, "add", spy)
    run = gemma_mlx("ask", "what happens?", "-a", sound, "-a", clip, "--max-tokens", "1")
    assert run.err.splitlines()[1].startswith(f"{clip}: video, 4 frames, 252 tokens, with 2.")
    assert parts == ["Video", "Audio", "Text", "Audio"]
    assert ask_json("what happens?", "-a", clip)["usage"]["audio_tokens"] >= 50
    assert ask_json("what happens?", "-a", clip, "--no-sound")["usage"]["audio_tokens"] == 0


def test_a_dash_is_standard_input(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(png(200, 100))
    from_file = ask_json("what is it?", "-a", picture, *GREEDY)
    from_stdin = ask_json("what is it?", "-a", "-", *GREEDY, stdin=picture.read_bytes())
    assert from_file["tokens"] == from_stdin["tokens"]
    for file in (picture, write_wav(tmp_path / "a.wav", hum(0.1)), write_video(tmp_path / "a.mp4", 2)):
        run = gemma_mlx("ask", "what is it?", "-a", "-", "--max-tokens", "1", stdin=file.read_bytes())
        assert run.err.startswith("standard input: ")
    assert ask_json("-", *GREEDY, stdin=b"hello\n")["tokens"] == ask_json("hello", *GREEDY)["tokens"]
    for arguments in (("-", "-a", "-"), ("what?", "-a", "-", "-a", "-")):
        assert "one thing only" in gemma_mlx("ask", *arguments).fault


def test_the_reply_ends_where_it_is_told_to() -> None:
    whole = ask_json("hello", *GREEDY)
    short = ask_json("hello", *GREEDY, "--max-tokens", "2")
    assert short["tokens"] == whole["tokens"][:2]
    assert short["finish_reason"] == "length"
    word = whole["text"].split()[1]
    stopped = ask_json("hello", *GREEDY, "--stop", "never said", "--stop", word)
    assert stopped["text"] == whole["text"][: whole["text"].index(word)]
    assert stopped["finish_reason"] == "stop"


def test_a_seed_draws_the_same_again() -> None:
    hot = ("hello", "--temperature", "20", "--top-k", "0", "--top-p", "1", "--max-tokens", "12", "--seed")
    assert ask_json(*hot, "7")["tokens"] == ask_json(*hot, "7")["tokens"] != ask_json(*hot, "8")["tokens"]


def test_system_thinking_and_context_reach_the_model() -> None:
    plain = ask_json("hello", "--max-tokens", "1")["usage"]["prompt_tokens"]
    assert ask_json("hello", "--max-tokens", "1", "--system", "Be brief.")["usage"]["prompt_tokens"] > plain
    thinking = ask_json("hello", "--max-tokens", "1", "--think")["usage"]["prompt_tokens"]
    assert thinking != ask_json("hello", "--max-tokens", "1", "--no-think")["usage"]["prompt_tokens"] == plain
    assert "context holds 8" in gemma_mlx("ask", "hello", "--context", "8").err


def test_given_options_replace_the_defaults_of_the_model() -> None:
    default = Sampler(temperature=1.0, top_p=0.95, top_k=64, suppress_tokens=(3,))
    assert Settings().sampler(default) == default
    given = Settings(temperature=0, top_p=0.5, top_k=0, min_p=0.1, seed=3).sampler(default)
    assert given == Sampler(0, 0.5, 0, 0.1, 3, (3,))


@pytest.mark.parametrize("dtype", ["auto", "float32", "bfloat16", "float16"])
def test_every_activation_type_answers(dtype: str) -> None:
    assert gemma_mlx("ask", "hello", "--dtype", dtype, "--max-tokens", "3").code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("ask",),
        ("ask", "hello", "--no-such-option"),
        ("ask", "hello", "there"),
        ("ask", "hello", "--image-tokens", "100"),
        ("ask", "hello", "--max-tokens", "0"),
        ("ask", "hello", "--context", "0"),
        ("ask", "hello", "--temperature", "warm"),
        ("ask", "hello", "--temperature", "nan"),
        ("ask", "hello", "--dtype", "int8"),
        *(("ask", "hello", option, value) for option, value in OUT_OF_RANGE),
        *(("chat", option, value) for option, value in OUT_OF_RANGE),
        ("chat", "hello"),
        ("sing",),
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2(arguments: tuple[str, ...]) -> None:
    run = gemma_mlx(*arguments)
    assert run.code == 2
    assert run.out == ""
    assert "Traceback" not in run.err


def test_ctrl_c_during_ask_exits_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gemma_mlx.loading.load", interrupted)
    run = gemma_mlx("ask", "hello")
    assert run.code == 130
    assert "Traceback" not in run.err


def test_a_bug_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("gemma_mlx.loading.load", broken)
    with pytest.raises(ZeroDivisionError):
        gemma_mlx("ask", "hello")


def test_every_setting_has_help_and_a_default() -> None:
    text = gemma_mlx("ask", "--help").out
    for field in dataclasses.fields(Settings):
        assert f"--{field.name.replace('_', '-')}" in text
        assert field.default is not dataclasses.MISSING
