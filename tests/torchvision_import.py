"""Makes `import torchvision`, and with it transformers, work beside a torch that it was not built for.

There is no CPU build of torchvision for every torch; its CUDA build then cannot load its compiled operators and fails
at import, over declarations of operators that nobody here runs. Declaring them is enough.
"""

import importlib
import importlib.util

import torch

_SIGNATURES = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def import_torchvision() -> torch.library.Library | None:
    """Import torchvision where it is installed. Returns what must stay alive as long as torchvision is used."""
    if importlib.util.find_spec("torchvision") is None:
        return None
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        for signature in _SIGNATURES:
            library.define(signature)
        importlib.import_module("torchvision")
        return library
    return None
