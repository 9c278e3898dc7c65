"""Programs that hold a conversation, each in a process of its own, told what to do and timed from outside.

    python -m gemma_mlx.benchmarks.talkers ours TARGET DRAFTER [DTYPE [MEMORY]]
    python -m gemma_mlx.benchmarks.talkers mlx-vlm TARGET [DTYPE]

A program reads orders from stdin, one JSON object a line. To each it writes a record separator, its answer as it comes,
another separator and a report, one JSON line. Ours is `Chat`; the other is mlx-vlm's chat program, its own class, which
is driven as its own loop drives it.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from gemma_mlx.benchmarks.peers.common import hide, make_resident

SEPARATOR = "\x1e"
Order = dict[str, Any]
Report = dict[str, Any]
Program = Callable[[Order], Report]


def ours(target: str, drafter: str, dtype: str = "auto", memory: str = "") -> Program:
    """Orders: "new"; "ask" (`text`, `tokens`); "settle". `drafter`: its directory, or "off"; `memory`: bytes to plan
    for, empty: what there is."""
    import gemma_mlx as gm

    gemma = gm.load(target, gm.LoadOptions(dtype, draft=drafter, memory=int(memory) if memory else None))
    chats = [gm.Chat(gemma)]

    def obey(order: Order) -> Report:
        if order["do"] == "new":
            chats[:] = [gm.Chat(gemma)]
            return {}
        started, chat = time.perf_counter(), chats[0]
        if order["do"] == "settle":
            chat.settle()
            return {"seconds": time.perf_counter() - started}
        finished = None
        for event in chat.reply(order["text"], gm.Sampler(temperature=0), max_tokens=order["tokens"], loop_guard=False):
            if isinstance(event, gm.TextDelta):
                print(event.text, end="", flush=True)
            elif isinstance(event, gm.Finished):
                finished = event
        assert finished is not None
        return {
            "prompt": chat.context.keys[: finished.usage.prompt_tokens],
            "cached": finished.usage.cached_tokens,
            "text": finished.text,
        }

    return obey


def theirs(target: str, dtype: str = "auto") -> Program:
    """mlx-vlm's chat program, with activations of the type that ours takes. Orders: "new"; "ask"; "settle", which it
    knows nothing of."""
    hide("torch", "torchvision")
    from mlx_vlm.chat import MLXVisionChat
    from mlx_vlm.prompt_utils import apply_chat_template

    chat = MLXVisionChat(model_path=target, temperature=0.0, verbose=True, enable_thinking=False)
    make_resident(chat.model, dtype)

    def obey(order: Order) -> Report:
        if order["do"] == "new":
            chat.handle_command("/clear", "")
        if order["do"] != "ask":
            return {}
        chat.max_tokens = order["tokens"]
        chat.add_to_history("user", order["text"])
        history = [dict(message) for message in chat.history]
        text = chat.generate_response()
        chat.add_to_history("assistant", text)
        prompt = apply_chat_template(
            chat.processor, chat.model.config, history, num_images=0, **chat.chat_template_kwargs
        )
        ids = chat.processor.tokenizer.encode(prompt, add_special_tokens=False)
        return {"prompt": ids, "cached": None, "text": text}

    return obey


def _orders() -> Iterator[Order]:
    for line in sys.stdin:
        yield json.loads(line)


def main() -> None:
    """Obey until stdin ends."""
    name, target, *rest = sys.argv[1:]
    program = ours(target, *rest) if name == "ours" else theirs(target, *rest)
    for order in _orders():
        print(SEPARATOR, end="", flush=True)
        print(f"{SEPARATOR}{json.dumps(program(order))}", flush=True)


if __name__ == "__main__":
    main()
