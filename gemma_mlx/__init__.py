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
    from gemma_mlx.generation.events import BadCall, Finished, Notice, TextDelta
    from gemma_mlx.generation.sampling import Sampler
    from gemma_mlx.inputs.attachment import Reading, open_attachment, open_attachments
    from gemma_mlx.inputs.message import Audio, Image, Message, Text, ToolCall, Video
    from gemma_mlx.loading import Gemma, LoadOptions, load
    from gemma_mlx.tools.declaration import Tool, tool
    from gemma_mlx.tools.loop import run_tools

__version__ = "0.1.0"

__all__ = [
    "Audio",
    "BadCall",
    "Chat",
    "Finished",
    "Gemma",
    "GemmaError",
    "Image",
    "LoadOptions",
    "Message",
    "Notice",
    "Reading",
    "Sampler",
    "Text",
    "TextDelta",
    "Tool",
    "ToolCall",
    "Video",
    "load",
    "open_attachment",
    "open_attachments",
    "run_tools",
    "tool",
]

_HOMES = {
    "Audio": "inputs.message",
    "BadCall": "generation.events",
    "Chat": "chat",
    "Finished": "generation.events",
    "Gemma": "loading",
    "GemmaError": "errors",
    "Image": "inputs.message",
    "LoadOptions": "loading",
    "Message": "inputs.message",
    "Notice": "generation.events",
    "Reading": "inputs.attachment",
    "Sampler": "generation.sampling",
    "Text": "inputs.message",
    "TextDelta": "generation.events",
    "Tool": "tools.declaration",
    "ToolCall": "inputs.message",
    "Video": "inputs.message",
    "load": "loading",
    "open_attachment": "inputs.attachment",
    "open_attachments": "inputs.attachment",
    "run_tools": "tools.loop",
    "tool": "tools.declaration",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
