"""What a message without text is called."""

import numpy as np

from gemma_mlx.inputs.message import SPOKEN, Audio, Image, Text
from gemma_mlx.terminal.words import asked


def test_a_question_is_called_by_its_text_or_by_what_it_holds() -> None:
    picture = Image("red.png", np.zeros((48, 48, 3), np.uint8))
    said = [Audio(SPOKEN, np.zeros(count, np.float32)) for count in (480000, 8000)]
    assert asked([picture, Text("what "), *said, Text("is this?")]) == "what is this?"
    assert asked(said) == "[spoken, 30.5 s]"
    assert asked([picture, *said]) == "[red.png, spoken, 30.5 s]"
    assert asked([picture, picture]) == "[red.png]"
