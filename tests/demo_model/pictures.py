"""Synthetic pictures of one coloured shape, and what the demo model says about them.

Pixels only; sizing to a soft-token budget is `gemma_mlx.inputs.image`'s. The embedder normalises each patch, so a
uniform grey, white or black patch is all zeros: backgrounds are neutral and colours are hues.
Source: written for this model.
"""

import random
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from .conversations import Turn

HUES = {"red": 0, "orange": 30, "yellow": 56, "green": 125, "blue": 225, "purple": 282}
SHAPES = ("circle", "square", "triangle")
PLAIN = "picture"

QUESTIONS = {
    "what": (
        "what do you see?",
        "what is in the picture?",
        "what is in this image?",
        "describe the image",
        "describe this picture",
        "what is this?",
        "what is this picture?",
        "tell me what you see",
        "what is on the screen?",
        "look at this",
    ),
    "colour": (
        "which colour is it?",
        "what colour is it?",
        "what color is it?",
        "what colour is this?",
        "which color?",
    ),
    "shape": ("which shape is it?", "what shape is it?", "what shape is this?", "which shape?"),
}


@dataclass(frozen=True)
class Picture:
    """What is drawn: a colour name, a shape name or `PLAIN`."""

    colour: str
    shape: str

    def turn(self, kind: str, question: str) -> Turn:
        article = "an" if self.colour == "orange" else "a"
        answers = {
            "what": f"I see {article} {self.colour} {PLAIN if self.shape == PLAIN else 'shape'}.",
            "colour": f"It is {self.colour}.",
            "shape": "I only tell colours.",
        }
        return Turn(question, answers[kind], "The user shows me a picture.")


def draw_picture(rng: random.Random) -> Picture:
    return Picture(rng.choice(tuple(HUES)), PLAIN if rng.random() < 0.15 else rng.choice(SHAPES))


def ask(rng: random.Random, picture: Picture) -> Turn:
    kind = rng.choice(("what", "what", "what", "colour", "shape"))
    return picture.turn(kind, rng.choice(QUESTIONS[kind]))


def paint(rng: random.Random, picture: Picture, size: tuple[int, int]) -> np.ndarray:
    """Draw the picture at (height, width) pixels. Returns uint8 (height, width, 3)."""
    height, width = size
    colour = _colour(rng, picture.colour)
    ground = (rng.choice((255, 255, 245, 230, 200, 128, 40, 0)),) * 3
    canvas = Image.new("RGB", (width, height), colour if picture.shape == PLAIN else ground)
    if picture.shape != PLAIN:
        _draw_shape(rng, ImageDraw.Draw(canvas), picture.shape, (height, width), colour)
    pixels = np.asarray(canvas)
    if rng.random() < 0.5:
        noise = np.random.default_rng(rng.getrandbits(32)).normal(0, rng.uniform(0.3, 3), pixels.shape)
        pixels = np.clip(pixels + noise, 0, 255).round().astype(np.uint8)
    return pixels


def _colour(rng: random.Random, name: str) -> tuple[int, int, int]:
    hue = (HUES[name] + rng.uniform(-7, 7)) % 360
    saturation, value = rng.uniform(0.75, 1), rng.uniform(0.7, 1)
    steps = [(offset + hue / 60) % 6 for offset in (5, 3, 1)]
    red, green, blue = (round(255 * value * (1 - saturation * max(0, min(k, 4 - k, 1)))) for k in steps)
    return red, green, blue


def _draw_shape(
    rng: random.Random, pen: ImageDraw.ImageDraw, shape: str, size: tuple[int, int], colour: tuple[int, int, int]
) -> None:
    height, width = size
    side = rng.uniform(0.45, 0.85) * min(height, width)
    left, top = rng.uniform(0, width - side), rng.uniform(0, height - side)
    right, bottom = left + side, top + side
    if shape == "circle":
        pen.ellipse((left, top, right, bottom), fill=colour)
    elif shape == "square":
        pen.rectangle((left, top, right, bottom), fill=colour)
    else:
        pen.polygon(((left, bottom), (right, bottom), ((left + right) / 2, top)), fill=colour)
