"""Vision and audio tensors of a checkpoint, replaced by those of another: 105 MB of the 23.9 GB of the reference.

Quantized checkpoints that are published have them in 4 bits as well, which costs far more in what is seen and heard
than it saves. Knows tensors and bytes: not repositories' names.
"""

import json
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gemma_mlx.checkpoint import Tensor
from gemma_mlx.errors import HubError
from gemma_mlx.hub.download import Tally
from gemma_mlx.hub.repository import Repository
from gemma_mlx.names import target_name

MEDIA_FILE = "vision-and-audio.safetensors"
_PARTS = ("vision_embedder.", "embed_vision.", "embed_audio.")


@dataclass(frozen=True)
class Media:
    """Tensors of `repository` by our names, in the order of their file, that take the place of another's."""

    repository: Repository
    tensors: Mapping[str, Tensor]

    @property
    def nbytes(self) -> int:
        return len(self.header()) + sum(tensor.nbytes for tensor in self.tensors.values())

    def header(self) -> bytes:
        """What the file that `write` makes begins with."""
        source = f"{self.repository.repo}@{self.repository.commit}"
        entries: dict[str, object] = {"__metadata__": {"format": "mlx", "source": source}}
        end = 0
        for name, tensor in self.tensors.items():
            places = [end, end + tensor.nbytes]
            entries[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": places}
            end = places[1]
        text = json.dumps(entries, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        return struct.pack("<Q", len(text)) + text

    def write(self, path: Path, tally: Tally) -> None:
        """The tensors as a safetensors file, fetched by byte range; goes on with what `path` holds already."""
        header = self.header()
        with path.open("a+b") as out:
            out.seek(0)
            if out.read(len(header)) != header or out.seek(0, 2) > self.nbytes:
                out.truncate(0)
                out.write(header)
            have, place = out.seek(0, 2), len(header)
            tally.add(have)
            for tensor in self.tensors.values():
                begun = min(max(0, have - place), tensor.nbytes)
                start = tensor.start + begun
                for chunk in self.repository.chunks(tensor.file.name, start, tensor.start + tensor.nbytes):
                    out.write(chunk)
                    tally.add(len(chunk))
                place += tensor.nbytes
            out.flush()
            os.fsync(out.fileno())


def media_of(repository: Repository, tensors: Mapping[str, Tensor]) -> Media:
    """The vision and audio tensors of a checkpoint. Raises `HubError` if they have fewer than 16 bits."""
    found = {name: tensor for tensor in tensors.values() if (name := _media_name(tensor))}
    for name, tensor in found.items():
        if tensor.dtype not in ("BF16", "F16", "F32") or name.endswith((".scales", ".biases")):
            raise HubError(
                f"{repository.repo}: {tensor.name} is packed: vision and audio come from a 16-bit checkpoint"
            )
    return Media(repository, dict(sorted(found.items(), key=lambda entry: (entry[1].file, entry[1].start))))


def without_media(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The language model's tensors."""
    return {name: tensor for name, tensor in tensors.items() if _media_name(tensor) is None}


def replaced(tensors: Mapping[str, Tensor], media: Media) -> dict[str, Tensor]:
    """All tensors of a checkpoint, vision and audio being the other's."""
    return without_media(tensors) | {name: replace(tensor, name=name) for name, tensor in media.tensors.items()}


def index_with(tensors: Mapping[str, Tensor], media: Media) -> dict[str, object]:
    """The index of a checkpoint whose vision and audio tensors are in a file of their own.

    What they replace stays in its shard, which is a link to a file in the Hub's cache, and is listed as `unused`.
    """
    language = without_media(tensors)
    unused: dict[str, list[str]] = {}
    for name in sorted(tensors.keys() - language.keys()):
        unused.setdefault(tensors[name].file.name, []).append(name)
    weight_map = {name: tensor.file.name for name, tensor in language.items()} | dict.fromkeys(
        media.tensors, MEDIA_FILE
    )
    return {"metadata": {}, "weight_map": dict(sorted(weight_map.items())), "unused": dict(sorted(unused.items()))}


def _media_name(tensor: Tensor) -> str | None:
    name = target_name(tensor.name)
    return name if name and name.startswith(_PARTS) else None
