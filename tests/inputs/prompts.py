"""Configurations for the demo's tokenizer, and media of any size, for tests of prompts."""

from pathlib import Path

import numpy as np

from gemma_mlx.config import AudioConfig, ModelConfig, RopeConfig, TextConfig, VisionConfig
from gemma_mlx.inputs.message import Audio, Image, Video
from gemma_mlx.inputs.tokenizer import Tokenizer

DEMO = Path(__file__).parents[2] / "gemma_mlx" / "assets" / "demo"
ROPE = RopeConfig("default", 1e4)
TEXT = TextConfig(64, 128, 2, 2, 1, 32, 1, 32, ("sliding_attention", "full_attention"), 16, 2048, ROPE, ROPE)


def demo_config(
    tokenizer: Tokenizer,
    vision: VisionConfig | None = VisionConfig(64, 64),  # noqa: B008 - frozen
    audio: AudioConfig | None = AudioConfig(),  # noqa: B008 - frozen
) -> ModelConfig:
    ids = tokenizer.specials
    return ModelConfig(
        text_config=TEXT,
        vision_config=vision,
        audio_config=audio,
        quantization=None,
        image_token_id=ids["<|image|>"],
        audio_token_id=ids["<|audio|>"],
        video_token_id=ids["<|video|>"],
        boi_token_id=ids["<|image>"],
        eoi_token_id=ids["<image|>"],
        boa_token_id=ids["<|audio>"],
        eoa_token_id=ids["<audio|>"],
    )


def pixels(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (48 * rows, 48 * columns, 3), np.uint8)


def picture(rows: int, columns: int, name: str = "a.png", seed: int = 0) -> Image:
    return Image(name, pixels(rows, columns, seed))


def recording(samples: int, name: str = "a.wav") -> Audio:
    return Audio(name, np.random.default_rng(samples).uniform(-1, 1, samples).astype(np.float32))


def clip(*timestamps: float, rows: int = 1, columns: int = 2) -> Video:
    frames = tuple(pixels(rows, columns, seed) for seed in range(len(timestamps)))
    return Video("a.mp4", frames, timestamps)
