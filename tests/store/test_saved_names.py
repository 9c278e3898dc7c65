"""What a conversation is called while it goes on: by itself, by a person, and beside others."""

from pathlib import Path

import pytest

from gemma_mlx.errors import StoreError
from gemma_mlx.inputs.message import Message, Text
from gemma_mlx.store.store import Store
from tests.store.talk import StandIn, assistant, followed, picture, same_messages, user


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "chats")


def names(store: Store) -> list[str]:
    return [summary.name for summary in store.summaries()]


def test_an_attachment_names_a_conversation_until_a_text_does(store: Store) -> None:
    kept = store.create()
    talk = followed(kept)
    talk.pending = (picture(name="/home/me/Rome.png"),)
    talk.say()
    assert kept.name is not None
    assert kept.name.endswith("-rome-png")
    talk.pending = (*talk.pending, Text("What is it?"))
    talk.say()
    assert kept.name.endswith("-what-is-it")
    assert names(store) == [kept.name]
    talk.history, talk.pending = (Message("user", talk.pending),), ()
    talk.say(assistant("Rome."), user("Really?"))
    assert kept.name.endswith("-what-is-it")


def test_a_name_that_a_person_gave_stays(store: Store) -> None:
    kept = store.create()
    talk = followed(kept)
    talk.pending = (picture(),)
    talk.say()
    kept.rename("Rome")
    talk.say(user("What is it?"))
    assert (kept.name, names(store)) == ("Rome", ["Rome"])


def test_equal_beginnings_get_other_names(store: Store) -> None:
    kept = [store.create() for _ in range(3)]
    for each in kept:
        followed(each, user("Hello!"))
    first, second, third = (each.name for each in kept)
    assert (second, third) == (f"{first}-2", f"{first}-3")


def test_names_are_taken_once(store: Store) -> None:
    one, two = store.create("holiday"), store.create("holiday")
    followed(one, user("One"))
    followed(two, user("Two"))  # the name was free when it was asked for
    assert one.name == "holiday"
    assert two.name is not None
    assert two.name.endswith("-two")
    for wanted in ("holiday", " holiday "):
        with pytest.raises(StoreError, match="there is a conversation holiday already: choose another name"):
            two.rename(wanted)
        with pytest.raises(StoreError, match="already"):
            store.create(wanted)
    with pytest.raises(StoreError, match="is no name"):
        two.rename("../x")
    two.rename("journey")
    assert sorted(names(store)) == ["holiday", "journey"]


def test_renaming_while_it_goes_on(store: Store) -> None:
    kept = store.create("holiday")
    talk = followed(kept, user("Look", picture()))
    kept.rename("journey")
    talk.say(assistant("A picture."), user("And?", picture(1)))
    kept.close()
    again = StandIn()
    store.open("journey").restore(again.chat())
    same_messages(again.history, talk.history)
    assert names(store) == ["journey"]
