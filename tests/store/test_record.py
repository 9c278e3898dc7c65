"""A conversation as JSON: what comes back, and what is refused."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any

import pytest

from gemma_mlx.inputs.message import Text, ToolCall
from gemma_mlx.store.record import Conversation, Medium, NewerVersion, StoredMessage, decode, encode
from tests.store.talk import MEDIUM

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
VIDEO = Medium("video", "b.mp4", ("1" * 32 + ".png", "1" * 32 + ".png"), (0.0, 1 / 3))
SOUND = Medium("audio", "c.m4a", ("2" * 32 + ".wav",))
VALUE: dict[str, Any] = {"a": [1, -2.5, 1e300, None, True, {"b": []}], "ü": '"\\\x00\x1b\u2028'}
FULL = Conversation(
    model="4bit",
    created=NOW - timedelta(days=1),
    updated=NOW,
    messages=(
        StoredMessage("system", (Text("Be brief."),)),
        StoredMessage("user", (MEDIUM, Text("See\ud800?\n"), VIDEO, SOUND)),
        StoredMessage("assistant", (), "Hm.", (ToolCall("look", VALUE, "1"), ToolCall("wait", {}, "2"))),
        StoredMessage("tool", (), answers="1", value=VALUE),
        StoredMessage("assistant", (Text(""),), thinking=""),
    ),
    pending=(MEDIUM,),
    thinking=True,
    tools=({"name": "look", "parameters": VALUE},),
    dropped=2,
)
EMPTY = Conversation("demo", NOW, NOW)


def changed(**fields: Any) -> bytes:
    return json.dumps(json.loads(encode(FULL)) | fields).encode()


def with_part(**part: Any) -> bytes:
    return changed(messages=[{"role": "user", "parts": [part]}])


@pytest.mark.parametrize("conversation", [FULL, EMPTY], ids=["full", "empty"])
def test_round_trip(conversation: Conversation) -> None:
    found = decode(encode(conversation))
    assert encode(found) == encode(conversation)
    assert found.created == conversation.created
    assert [m.calls for m in found.messages] == [m.calls for m in conversation.messages]
    assert [m.value for m in found.messages] == [m.value for m in conversation.messages]
    assert [m.thinking for m in found.messages] == [m.thinking for m in conversation.messages]
    assert [m.text for m in found.messages] == [m.text for m in conversation.messages]
    assert list(found.media) == list(conversation.media)
    assert (found.thinking, found.tools, found.dropped, found.model) == (
        conversation.thinking,
        conversation.tools,
        conversation.dropped,
        conversation.model,
    )


def test_it_can_be_read_by_people() -> None:
    text = encode(replace(EMPTY, messages=(StoredMessage("user", (Text("Grüß Gott 中文"),)),))).decode()
    assert "Grüß Gott 中文" in text
    assert text.count("\n") > 5


def test_what_the_list_says() -> None:
    assert (FULL.turns, FULL.first_words) == (1, "See\ud800?")
    assert (EMPTY.turns, EMPTY.first_words) == (0, "")
    wordless = replace(
        EMPTY, messages=(StoredMessage("user", (MEDIUM,)), StoredMessage("user", (Text(" \n and\tso "),)))
    )
    assert (wordless.turns, wordless.first_words) == (2, "and so")
    assert replace(EMPTY, pending=(MEDIUM, Text("sent"))).first_words == "sent"


def test_mappings_of_any_kind() -> None:
    inner: MappingProxyType[str, Any] = MappingProxyType({"a": ({"b": 1}, MappingProxyType({}))})
    message = StoredMessage("tool", (), calls=(ToolCall("f", inner, "1"),), answers="1", value={"deep": inner})
    found = decode(encode(replace(EMPTY, messages=(message,), tools=(MappingProxyType({"name": inner}),))))
    plain = {"a": [{"b": 1}, {}]}
    assert found.tools == ({"name": plain},)
    assert found.messages[0].value == {"deep": plain}
    assert found.messages[0].calls[0].arguments == plain


def test_times_of_other_zones() -> None:
    time = datetime(2026, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=2)))
    assert decode(encode(replace(EMPTY, created=time))).created == time


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no JSON"),
        (encode(FULL)[:-1], "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[]", "no object"),
        (b"{}", "version is no int"),
        (changed(version="1"), "version is no int"),
        (changed(version=True), "version is no int"),
        (changed(model=None), "model is no str"),
        (changed(created="yesterday"), "yesterday"),
        (changed(updated="2026-11-21T12:00:00"), "updated has no time zone"),
        (changed(messages={}), "messages is no list"),
        (changed(messages=["hello"]), "messages holds something else"),
        (changed(messages=[{"parts": []}]), "role is no str"),
        (changed(messages=[{"role": "user", "parts": [], "thinking": None}]), "thinking is no str"),
        (changed(messages=[{"role": "user", "parts": [], "calls": [{"name": "a", "id": ""}]}]), "arguments is no dict"),
        (changed(messages=[{"role": "tool", "parts": [], "value": []}]), "value is no dict"),
        (changed(dropped=-1), "dropped is -1"),
        (changed(dropped=6), "dropped is 6 of 5"),
        (changed(dropped=True), "dropped is no int"),
        (changed(tools=["look"]), "tools holds something else"),
        (changed(thinking=1), "thinking is no bool"),
        (with_part(text=1), "text is no str"),
        (with_part(smell="a"), "none of text, image, audio, video"),
        (with_part(image="a.png"), "files is no list"),
        (with_part(image="a.png", files=["../../secret.png"]), "files holds something else"),
        (with_part(image="a.png", files=[]), "a part of image has 0 files"),
        (with_part(image="a.png", files=list(VIDEO.files)), "a part of image has 2 files"),
        (with_part(video="a.mp4", files=list(VIDEO.files), timestamps=[0.0]), "a part of video has 2 files"),
        (with_part(video="a.mp4", files=list(VIDEO.files), timestamps=[0.0, "1"]), "timestamps holds something else"),
        (with_part(video="a.mp4", files=[], timestamps=[]), "a part of video has 0 files"),
        *[
            (with_part(video="a.mp4", files=list(VIDEO.files[:1]), timestamps=[time]), "timestamps holds something")
            for time in (float("nan"), float("inf"), 10**400)
        ],
        *[(changed(created=f"{year}-01-01T00:00:00+00:00"), f"in the year {int(year)}") for year in ("0001", "9999")],
    ],
)
def test_damage_is_told(content: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words) as found:
        decode(content)
    assert not isinstance(found.value, NewerVersion)


def test_a_newer_version_is_no_damage() -> None:
    with pytest.raises(NewerVersion, match="its version is 2, this program knows 1"):
        decode(changed(version=2, messages="in another form"))
