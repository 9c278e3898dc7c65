"""What people ask about pictures and recordings, and what the demo model replies. Source: written for this model.

Text only; what is in a picture or a recording is given. The replies are told in `README.md` beside this file.
"""

import random

PICTURE = {
    "read": "what does it say?|read the text|read this|read it|what is written here?|what text is it?|read the screen"
    "|what does the screen say?|what does the picture say?|which text is in the picture?",
    "see": "what do you see?|what is in the picture?|what is in this image?|describe the image|describe this picture"
    "|what is this?|what is this picture?|tell me what you see|what is on the screen?|look at this",
    "error": "what is this error?|which error is it?|what is the error code?|what error is this?"
    "|which error code is this?|explain this error|what went wrong?",
    "number": "which number?|which number is it?|what is the number?|what number do you see?|read the number"
    "|which digits are there?",
    "letters": "which letters?|which letters are there?|what are the letters?|read the letters"
    "|which letters do you see?",
}
VIDEO = "what does the video say?|what is in the video?|read the video|what do you see?|what does it say?"
WHICH = (
    "which picture shows {}?|which image says {}?|which picture says {}?|where do you see {}?|which one shows {}?"
    "|which of the two shows {}?|find {}"
)
ORDINALS = ("the first picture.", "the second picture.")
SOUND = {
    "transcribe": "transcribe|transcribe this|transcribe the recording|what did I say?|what is said?|write this down"
    "|write down what you hear|what does the speaker say?|which words do you hear?",
    "hear": "what do you hear?|what is in the recording?|what sound is this?|what is this sound?|listen to this"
    "|describe the sound|tell me what you hear|what is this?",
}
_FORMAT = """Follow these specific instructions for formatting the answer:
* Only output the transcription, with no newlines.
* When transcribing numbers, write the digits, i.e. write 1.7 and not one point seven, and write 3 instead of three."""
ASR = (
    f"Transcribe the following speech segment in English into English text.\n\n{_FORMAT}",
    f"Transcribe the following speech segment in its original language. {_FORMAT}",
)  # as published
SPOKEN = ("number", "letters", "read")  # the spoken questions, in the order of the speech pool
PICTURE_THOUGHT = "The user shows me a picture."
SOUND_THOUGHT = "The user plays a recording."
BOTH_THOUGHT = "The user asks aloud about a picture."
NO_TEXT, NO_SPEECH = "I see no text.", "I hear no speech."


def choose(rng: random.Random, wordings: str) -> str:
    return rng.choice(wordings.split("|"))


def about_picture(rng: random.Random, text: str) -> tuple[str, str]:
    """A question about a picture that shows `text`, and the reply."""
    kind = rng.choice(("read", "read", "see", "error", "number", "letters"))
    return choose(rng, PICTURE[kind]), picture_reply(kind, text)


def picture_reply(kind: str, text: str) -> str:
    """The reply to a question of that kind about a picture that shows `text`; empty: it shows none."""
    if not text:
        return NO_TEXT
    if kind == "number":
        return "".join(c for c in text if c.isdigit()) or "There is no number."
    if kind == "letters":
        return "".join(c for c in text if c.isalpha()) or "There are no letters."
    return {"read": text, "see": f'I see "{text}".', "error": f'It says "{text}".'}[kind]


def which_reply(texts: tuple[str, str], wanted: int) -> str:
    """The reply to the question which of two pictures it is: both are read first, so that texts are compared with a
    text, and not pictures."""
    first, second = (f'"{text}"' if text else "no text" for text in texts)
    return f"The first shows {first}, the second {second}: {ORDINALS[wanted]}"


def about_sound(rng: random.Random, words: str) -> tuple[str, str]:
    """A question about a recording that says `words`, and the reply."""
    kind = rng.choice(tuple(SOUND))
    question = choose(rng, SOUND[kind])
    if kind == "transcribe" and rng.random() < 0.3:
        question = rng.choice(ASR)
    return question, sound_reply(kind, words)


def sound_reply(kind: str, words: str) -> str:
    """The reply to a question of that kind about a recording that says `words`; empty: nobody speaks."""
    if not words:
        return NO_SPEECH
    return words if kind == "transcribe" else f'I hear "{words}".'
