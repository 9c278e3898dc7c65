"""The reference's drafter made to run: transformers 5.23 marks no layer of the target as the one whose keys and values
are shared, and refuses a decoder that shares all of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from transformers.models import gemma4_unified as unified


@contextmanager
def corrected_sharing() -> Iterator[None]:
    """The last layer of each kind stores its keys and values; a decoder whose layers are all shared reuses them."""

    def modes(config: unified.Gemma4UnifiedTextConfig) -> list[str | None]:
        if config.num_kv_shared_layers == config.num_hidden_layers:
            return ["reuse"] * config.num_hidden_layers
        last = {kind: index for index, kind in enumerate(config.layer_types)}
        return ["store" if last[kind] == index else None for index, kind in enumerate(config.layer_types)]

    with mock.patch.object(unified.Gemma4UnifiedTextConfig, "kv_sharing_modes", property(modes)):
        yield
