"""The conversation of `gemma-mlx chat`: what is changed, kept and undone, with the demo model."""

from collections.abc import Generator, Iterable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from gemma_mlx.commands.session import Keeping, Session
from gemma_mlx.errors import ContextError, GemmaError, InputError
from gemma_mlx.generation.events import Event, Finished, Notice, TextDelta
from gemma_mlx.inputs.message import Audio, Image, Video
from gemma_mlx.loading import Prepared
from gemma_mlx.options import Settings
from gemma_mlx.store.record import Medium
from gemma_mlx.store.store import Store
from gemma_mlx.worker import InterruptedJob
from tests.chats import demo
from tests.inputs.films import Clip, every, make, noise


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GEMMA_MLX_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return Settings(model="demo").prepare()


def begin(prepared: Prepared, *, context: int = 4096, save: str | None = None, keep: bool = True) -> Session:
    made = Session(Settings(model="demo", temperature=0, max_tokens=40), prepared, demo(), Keeping(save, keep, "stop"))
    made.chat.context.limit = context
    return made


def said(events: Iterable[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def red() -> Image:
    pixels = np.zeros((96, 96, 3), np.uint8)
    pixels[..., 0] = 220
    return Image("red.png", pixels)


def test_a_conversation_is_kept_under_a_name_of_its_own_and_goes_on(prepared: Prepared) -> None:
    first = begin(prepared)
    answer = said(first.answer("hello"))
    assert answer.startswith("Hello!")
    name = first.status.saved_as
    assert name is not None
    assert name.endswith("-hello")
    assert first.leave() == f"saved: gemma-mlx chat --resume {name}"
    second = begin(prepared)
    assert second.resume("last") == []
    assert second.exchange() == ("hello", answer)
    assert second.status.used > 20  # read from the file
    assert said(second.retry()) == answer
    assert second.last is not None
    assert second.last.usage.cached_tokens > 10


def test_nothing_is_kept_that_was_not_said_or_should_not_be(prepared: Prepared) -> None:
    assert begin(prepared, save="named").leave() is None
    silent = begin(prepared, keep=False)
    said(silent.answer("hello"))
    assert silent.leave() is None
    assert Store().summaries() == []
    assert silent.save("after all") == "saved: gemma-mlx chat --resume 'after all'"
    assert [each.turns for each in Store().summaries()] == [1]


def test_a_conversation_can_be_resumed_without_being_changed(prepared: Prepared) -> None:
    first = begin(prepared, save="kept")
    said(first.answer("hello"))
    first.leave()
    second = begin(prepared, keep=False)
    second.resume("kept")
    said(second.answer("hello"))
    assert second.leave() is None
    assert [each.turns for each in Store().summaries()] == [1]


def test_last_without_any_and_names_that_are_not_there(prepared: Prepared) -> None:
    with pytest.raises(InputError, match="no conversation is saved yet"):
        begin(prepared).resume("last")
    with pytest.raises(GemmaError, match="there is no conversation holiday"):
        begin(prepared).resume("holiday")


def test_save_gives_another_name_and_branch_leaves_the_old_one(prepared: Prepared) -> None:
    talk = begin(prepared)
    assert talk.save(None) == "nothing was said yet: there is nothing to save"
    assert talk.save("empty").endswith("there is nothing to save; what is said now is saved as empty")
    assert talk.branch("zero").endswith("there is nothing to save; what is said now is saved as zero")
    said(talk.answer("hello"))
    assert talk.save("one") == "saved: gemma-mlx chat --resume one"
    assert talk.branch("two") == "saved: gemma-mlx chat --resume two; one stays as it is"
    said(talk.answer("hello"))
    with pytest.raises(GemmaError, match="already"):
        talk.branch("one")
    talk.leave()
    assert {each.name: each.turns for each in Store().summaries()} == {"one": 1, "two": 2}


def test_undo_edit_and_drop_reach_the_file(prepared: Prepared) -> None:
    talk = begin(prepared, save="talk")
    with pytest.raises(InputError, match="nothing to take back"):
        talk.undo()
    talk.attach(red())
    said(talk.answer("what do you see?"))
    said(talk.edit("what colour is it?"))
    assert talk.exchange() == ("what colour is it?", talk.last.text if talk.last else "")
    assert len(talk.chat.history[0].parts) == 2  # the picture stays
    said(talk.answer("hello"))
    assert talk.undo() == "hello"
    assert Store().read("talk").turns == 1
    talk.attach(red())
    assert talk.undo() == "[red.png]"
    talk.attach(red())
    assert talk.drop() == 1
    assert Store().read("talk").pending == ()


def test_a_video_with_sound_is_one_attachment(prepared: Prepared, tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", Clip(every(0.5, 35), [noise(35)]))
    talk = begin(prepared, context=8192, save="talk")
    line = talk.attach_file(str(path))
    assert line.startswith(f"{path}: video, 32 frames, ")
    assert ", with 35." in line
    assert talk.context().endswith("(/context drop: the oldest turns are dropped)")
    assert "0 turns, 1 video\n" in talk.context()
    kept = [part for part in Store().read("talk").pending if isinstance(part, Medium)]
    assert [medium.kind for medium in kept] == ["video", "audio", "video", "audio"]
    assert talk.undo() == f"[{path}]"
    talk.attach_file(str(path))
    assert "\n" not in talk.attach_file(str(path))
    assert len(talk.attach_file(str(make(tmp_path / "b.mp4", Clip((0, 0.5), [noise(100)])))).splitlines()) == 2
    assert talk.drop() == 3


def test_a_video_whose_sound_does_not_fit_is_read_without_it_and_says_so(prepared: Prepared, tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", Clip(every(0.5, 35), [noise(35)]))
    talk = begin(prepared, context=3000)
    described, notice = talk.attach_file(str(path)).splitlines()
    assert described.endswith("video, 32 frames, 2,016 tokens")
    assert notice.startswith(f"only the pictures are read, no sound: {path} has more sound than the ")
    with pytest.raises(ContextError):
        begin(prepared, context=1000).attach_file(str(path))


def test_a_video_of_which_a_part_does_not_fit_leaves_nothing(prepared: Prepared) -> None:
    frame, talk = np.zeros((96, 96, 3), np.uint8), begin(prepared, context=100, save="talk")
    talk.attach(red())
    with pytest.raises(ContextError):
        talk.attach(Video("a.mp4", (frame,), (0.0,)), Audio("a.mp4", np.ones(640 * 100, np.float32)))
    assert len(talk.chat.pending) == 1
    assert len(Store().read("talk").pending) == 1


def test_what_cannot_be_done_changes_nothing(prepared: Prepared) -> None:
    talk = begin(prepared, context=64)
    answer = said(talk.answer("hello"))
    before = talk.chat.history
    with pytest.raises(ContextError):
        said(talk.edit("word " * 100))
    assert (talk.chat.history, talk.chat.pending) == (before, ())
    assert said(talk.retry()) == answer


def test_a_full_context_drops_the_oldest_turns_if_told_so(prepared: Prepared) -> None:
    talk = begin(prepared, context=80)
    said(talk.answer("hello"))
    with pytest.raises(ContextError):
        for _ in range(3):
            said(talk.answer("hello"))
    assert "/context drop" in talk.context()
    talk.make_room(True)
    notices = [event.text for event in talk.answer("hello") if isinstance(event, Notice)]
    assert "no longer read" in notices[0]
    assert "no longer read: the oldest " in talk.context()
    assert "/context stop" in talk.context()


def test_reading_is_interrupted_before_the_next_piece(prepared: Prepared) -> None:
    wanted = [False]

    def check() -> None:
        if wanted[0]:
            raise InterruptedJob

    talk = Session(Settings(model="demo", temperature=0), prepared, demo(), Keeping(None, False, "stop"), check)
    wanted[0] = True
    with pytest.raises(InterruptedJob):
        said(talk.answer("hello"))
    assert talk.chat.history == ()
    wanted[0] = False
    answer = said(talk.answer("hello"))
    assert answer.startswith("Hello!")
    for again in (lambda: talk.edit("what is it?"), talk.retry):
        wanted[0] = True
        with pytest.raises(InterruptedJob):
            said(again())
        assert (talk.exchange(), talk.chat.pending) == (("hello", answer), ())
        wanted[0] = False
        assert said(talk.retry()) == answer


def test_an_interrupted_answer_is_kept_as_far_as_it_was_given_out(prepared: Prepared) -> None:
    talk = begin(prepared, save="short")
    shown = ""
    with closing(talk.answer("hello")) as events:
        for event in events:
            assert isinstance(event, TextDelta)
            shown += event.text
            if len(shown) > 10:
                break
    assert talk.exchange() == ("hello", shown)
    assert Store().read("short").turns == 1
    talk.rest(lambda: False)
    assert talk.status.used > 10


def test_new_begins_again_and_keeps_the_choices(prepared: Prepared) -> None:
    talk = begin(prepared)
    said(talk.answer("hello"))
    talk.think(True)
    talk.make_room(True)
    assert talk.new() is not None
    assert talk.chat.history == ()
    assert (talk.chat.enable_thinking, talk.chat.when_full) == (True, "drop")
    assert len(Store().summaries()) == 1
    with pytest.raises(InputError, match="no answer has come"):
        talk.stats()


def test_what_is_read_and_how_fast(prepared: Prepared) -> None:
    talk = begin(prepared)
    assert talk.context().startswith("0 of 4,096 tokens are read (0%): 0 turns")
    talk.attach(red())
    said(talk.answer("what do you see?"))
    assert ": 1 turn, 1 picture" in talk.context().splitlines()[0]
    assert [line.split()[0] for line in talk.stats().splitlines()] == ["prompt", "waited", "answer", "drafts", "memory"]


def test_a_conversation_that_cannot_be_saved_goes_on_and_says_so_once(
    prepared: Prepared, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "file").touch()
    monkeypatch.setenv("GEMMA_MLX_HOME", str(home / "file"))
    talk = begin(prepared)
    events = [*talk.answer("hello")]
    assert isinstance(events[-1], Finished)
    assert ["cannot be saved" in event.text for event in events if isinstance(event, Notice)] == [True]
    assert not any(isinstance(event, Notice) for event in talk.answer("hello"))
    assert "cannot be saved" in (talk.leave() or "")


def test_a_picture_is_attached(prepared: Prepared) -> None:
    from PIL import Image as Pictures

    talk = begin(prepared)
    picture = Pictures.new("RGB", (200, 100), (220, 0, 0))
    assert talk.attach_picture(picture, "screen").startswith("screen: picture, read at ")
    assert len(talk.chat.pending) == 1


def test_what_is_watched_is_closed(prepared: Prepared) -> None:
    closed = []

    def events() -> Generator[Event, None, None]:
        try:
            yield TextDelta("a")
        finally:
            closed.append(True)

    held = events()  # or the end of the last reference would close it
    with closing(begin(prepared)._watched(held)) as watched:
        next(watched)
    assert closed == [True]
