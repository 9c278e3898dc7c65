"""The published prompts, word for word, and what is taken out of answers."""

import pytest

from gemma_mlx.errors import InputError
from gemma_mlx.transcription.task import Task
from tests.demo_model.asking import ASR

IN_GERMAN = """Transcribe the following speech segment in German into German text.

Follow these specific instructions for formatting the answer:
* Only output the transcription, with no newlines.
* When transcribing numbers, write the digits, i.e. write 1.7 and not one point seven, and write 3 instead of three."""
ANY = """Transcribe the following speech segment in its original language. \
Follow these specific instructions for formatting the answer:
* Only output the transcription, with no newlines.
* When transcribing numbers, write the digits, i.e. write 1.7 and not one point seven, and write 3 instead of three."""
INTO_ENGLISH = """Transcribe the following speech segment in German, then translate it into English.
When formatting the answer, first output the transcription in German, then one newline, then output the string \
'English: ', then the translation in English."""


def test_the_prompts_are_the_published_ones() -> None:
    assert Task("German").prompt == IN_GERMAN
    assert Task().prompt == ANY
    assert Task("German", "English").prompt == INTO_ENGLISH


def test_the_demo_model_is_trained_on_them() -> None:
    assert (Task("English").prompt, Task().prompt) == ASR


@pytest.mark.parametrize(
    ("answer", "text", "translation"),
    [
        ("Guten Tag.\nEnglish: Good day.", "Guten Tag.", "Good day."),
        (" Guten\n Tag.\n\nEnglish:  Good\nday.\n", "Guten Tag.", "Good day."),
        ("English: Good day.", "", "Good day."),
        ("Guten Tag.", "Guten Tag.", None),
        ("Er sagte English: ja", "Er sagte English: ja", None),
        ("a\nEnglish: b\nEnglish: c", "a", "b English: c"),
        ("", "", None),
    ],
)
def test_transcription_and_translation(answer: str, text: str, translation: str | None) -> None:
    assert Task("German", "English").parts(answer) == (text, translation)


def test_an_answer_without_translation_is_one_line() -> None:
    assert Task().parts(" one\n two\tthree ") == ("one two three", None)


@pytest.mark.parametrize("name", ["German", "Brazilian Portuguese", "Chinese (Mandarin)", "Français", "N’Ko"])
def test_names_of_languages(name: str) -> None:
    assert f"in {name} into {name} text" in Task(name).prompt


@pytest.mark.parametrize("name", ["", "de", "de-DE2", "German\n", "x" * 41, "'German'", "{source}", "-ish"])
def test_no_names_of_languages(name: str) -> None:
    with pytest.raises(InputError, match="no name of a language: write"):
        Task(name)
    with pytest.raises(InputError, match="no name of a language: write"):
        Task("German", name)


def test_a_translation_needs_to_know_from_what() -> None:
    with pytest.raises(InputError, match="into English needs the language that is spoken: give --language"):
        Task(None, "English")
