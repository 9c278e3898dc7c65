"""Gemma 4 12B, Google's encoder-free multimodal model, on Apple silicon with MLX.

    import gemma_mlx as gm
    chat = gm.Chat(gm.load("DIR"), system="Be brief.")
    chat.add(gm.Image.open("shot.png"))
    for event in chat.reply("What is the error?"): ...

Names are imported when first used: `import gemma_mlx` stays fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gemma_mlx.chat import Chat
    from gemma_mlx.errors import GemmaError
    from gemma_mlx.generation.events import Finished, TextDelta
    from gemma_mlx.generation.sampling import Sampler
    from gemma_mlx.inputs.attachment import open_attachment
    from gemma_mlx.inputs.message import Audio, Image, Message, Text, Video
    from gemma_mlx.loading import Gemma, LoadOptions, load

__version__ = "0.1.0"

__all__ = [
    "Audio",
    "Chat",
    "Finished",
    "Gemma",
    "GemmaError",
    "Image",
    "LoadOptions",
    "Message",
    "Sampler",
    "Text",
    "TextDelta",
    "Video",
    "load",
    "open_attachment",
]

_HOMES = {
    "Audio": "inputs.message",
    "Chat": "chat",
    "Finished": "generation.events",
    "Gemma": "loading",
    "GemmaError": "errors",
    "Image": "inputs.message",
    "LoadOptions": "loading",
    "Message": "inputs.message",
    "Sampler": "generation.sampling",
    "Text": "inputs.message",
    "TextDelta": "generation.events",
    "Video": "inputs.message",
    "load": "loading",
    "open_attachment": "inputs.attachment",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
