"""What a message without text is called."""

import numpy as np

from gemma_mlx.inputs.message import SPOKEN, Audio, Image, Text
from gemma_mlx.terminal.words import asked, describe_all


def test_a_question_is_called_by_its_text_or_by_what_it_holds() -> None:
    picture = Image("red.png", np.zeros((48, 48, 3), np.uint8))
    said = [Audio(SPOKEN, np.zeros(count, np.float32)) for count in (480000, 8000)]
    assert asked([picture, Text("what "), *said, Text("is this?")]) == "what is this?"
    assert asked(said) == "[spoken, 30.5 s]"
    assert asked([picture, *said]) == "[red.png, spoken, 30.5 s]"
    assert asked([picture, picture]) == "[red.png]"


def test_a_picture_in_parts_is_called_by_its_overview() -> None:
    whole = np.zeros((96, 96, 3), np.uint8)
    part = np.zeros((48, 96, 3), np.uint8)
    names = ("a.png, part 1 of 2", "a.png, part 2 of 2", "a.png, overview")
    shown = [Image(name, pixels) for name, pixels in zip(names, (part, part, whole), strict=True)]
    assert describe_all(shown) == "a.png, overview and 2 parts of it: pictures, 8 tokens"
    assert describe_all(shown[1:]) == "a.png, overview and 1 part of it: pictures, 6 tokens"
