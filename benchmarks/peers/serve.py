"""A program in a process of its own, told by lines of JSON what to do, and measured inside it.

    python -m gemma_mlx.benchmarks.peers.serve NAME

Orders on stdin: `load` (`directory`, `settings`), `depth` (`depth`), `generate` (`ids`, `tokens`), `ask` (`question`,
`files`, `tokens`), `quit`. To each but the last an answer on stdout, where nothing else gets: what the program prints
goes to stderr. What the program cannot do is answered with `unavailable` and why; any other fault ends the process with
its traceback. So does the end of stdin, whatever is being computed. Knows no program.
"""

import gc
import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import mlx.core as mx

from gemma_mlx.benchmarks.child import peak_resident
from gemma_mlx.benchmarks.peers.catalogue import installation, program
from gemma_mlx.benchmarks.peers.program import Asked, Program, Settings
from gemma_mlx.errors import GemmaError

Order = dict[str, Any]
Answer = dict[str, Any]
_GRACE_S = 1.0  # that a worker without orders has to end by itself


def obey(program: Program, order: Order) -> Answer:
    """Do one thing. Times are seconds from here to each id; the peak of MLX is of this call, the resident one of the
    process so far."""
    gc.collect()  # caches of the call before
    mx.reset_peak_memory()
    started = time.perf_counter()
    accepted: tuple[int, ...] = ()
    if order["do"] == "load":
        program.load(Path(order["directory"]), _settings(order["settings"]))
        return {"seconds": time.perf_counter() - started, "weights_bytes": mx.get_active_memory()}
    if order["do"] == "depth":
        program.set_depth(order["depth"])
        return {}
    if order["do"] == "generate":
        asked = Asked(len(order["ids"]), program.generate(order["ids"], order["tokens"]))
    else:
        asked = program.ask(order["question"], [Path(file) for file in order["files"]], order["tokens"])
    ids, times = [], []
    for token in asked.ids:
        times.append(time.perf_counter() - started)
        ids.append(token)
    if order["do"] == "generate":
        accepted = program.drafted()
    return {
        "ids": ids,
        "times": times,
        "prompt_tokens": asked.prompt_tokens,
        "peak_mlx_bytes": mx.get_peak_memory(),
        "peak_resident_bytes": peak_resident() + program.elsewhere(),
        "accepted": accepted,
    }


def serve(name: str, orders: Iterator[Order], answers: TextIO) -> None:
    """Obey until told to quit, or until there are no more orders."""
    made: Program | None = None
    for order in orders:
        try:
            made = made or program(name)
            answer = obey(made, order)
        except ImportError as fault:
            answer = _unavailable(f"{name} cannot be imported ({fault}): {installation(name)}")
        except (GemmaError, NotImplementedError) as fault:
            answer = _unavailable(str(fault))
        print(json.dumps(answer), file=answers, flush=True)


def _unavailable(why: str) -> Answer:
    return {"unavailable": " ".join(why.split())}


def _settings(fields: dict[str, Any]) -> Settings:
    drafter = fields["drafter"]
    return Settings(**{**fields, "drafter": None if drafter is None else Path(drafter)})


def _orders(file: TextIO) -> Iterator[Order]:
    """Read by a thread, which notices that the parent is gone while the program computes."""
    waiting: queue.SimpleQueue[Order | None] = queue.SimpleQueue()

    def read() -> None:
        for line in file:
            waiting.put(json.loads(line))
        waiting.put(None)
        time.sleep(_GRACE_S)
        if os.getpgrp() == os.getpid():  # with all that the program started
            os.killpg(os.getpid(), signal.SIGTERM)
        os._exit(1)

    threading.Thread(target=read, daemon=True).start()
    while (order := waiting.get()) is not None and order["do"] != "quit":
        yield order


def main() -> None:
    """Keep stdin and stdout to ourselves, then serve."""
    orders, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    serve(sys.argv[1], _orders(orders), answers)


if __name__ == "__main__":
    main()
