"""Held-out words through a microphone and from files: `python -m tests.demo_model.heard_check POOLS --count 100`.

The microphone is a virtual one (`tests.capture.soundserver`), the rest is what a person has: `gemma-mlx chat --mic` in
a process of its own, with PortAudio, voice activity and prefill while it is spoken. The same samples are then given as
files. An answer is right if it is the expected one to the letter. Prints a line of results.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from gemma_mlx.benchmarks.record import append, busy, command, line
from gemma_mlx.chat import Chat
from gemma_mlx.commands.listening import LISTENING
from gemma_mlx.generation.events import Finished
from gemma_mlx.generation.sampling import Sampler
from gemma_mlx.inputs.message import Audio
from gemma_mlx.loading import load
from tests.capture.soundserver import VirtualMicrophone, virtual_microphone
from tests.program import Program, running

from . import asking, sounds, speech
from .held_out import SEED, SNR
from .pools import SpeechPool

SETTLED = 1.0  # seconds without speech between two turns
WAITING = 20.0  # seconds until an answer counts as missing
CHAT = ("chat", "--no-save", "--model", "demo", "--temperature", "0", "--mic", "--device", "pulse")
Said = tuple[np.ndarray, str]


def utterances(pool: SpeechPool, count: int) -> list[Said]:
    """Of one to three words at 15 dB: int16 samples, and what the model should answer."""
    rng = np.random.default_rng(SEED)
    found = [int(i) for i in pool.said if 1 <= (pool.words[i] >= 0).sum() <= 3][:count]
    noisy = [sounds.noise_at(pool.clean(i), SNR, rng) for i in found]
    samples = [np.round(one * 32767).astype(np.int16) for one in noisy]
    replies = [asking.sound_reply("hear", speech.written(pool.words[i])) for i in found]
    return list(zip(samples, replies, strict=True))


def from_files(said: list[Said]) -> list[bool]:
    """Which of them are answered rightly as a recording that is attached."""
    gemma, right = load("demo"), []
    for samples, reply in said:
        chat = Chat(gemma)
        chat.add(Audio("said.wav", samples.astype(np.float32) / 32768))
        answers = [event.text for event in chat.reply(sampler=Sampler(temperature=0)) if isinstance(event, Finished)]
        right.append(answers == [reply])
    return right


def by_microphone(room: VirtualMicrophone, said: list[Said]) -> list[bool]:
    """Which of them are answered rightly when they are spoken, each in a conversation of its own."""
    right = []
    with running(*CHAT) as program:
        program.shows(LISTENING)
        for number, (samples, reply) in enumerate(said, 1):
            heard = len(answers(program))
            room.play(samples)
            until = time.monotonic() + samples.size / 16000 + WAITING
            while len(answers(program)) == heard and time.monotonic() < until:
                time.sleep(0.05)
            time.sleep(SETTLED)
            right.append(answers(program)[heard:] == [reply])
            print(f"{number} of {len(said)}: {sum(right)} right", file=sys.stderr, flush=True)
            program.type("/new")
            program.shows("new conversation", number)  # what is said before would be part of the old one
    return right


def answers(program: Program) -> list[str]:
    """What the model has said until now."""
    return [shown for shown in list(program.lines) if shown.startswith("I ")]


def main() -> None:
    """Measure and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pools", type=Path, help="directory of the held-out pool of utterances")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--out", type=Path, help="JSON lines file to append to")
    options, before = parser.parse_args(), busy()
    said = utterances(SpeechPool(options.pools / "speech_held_out"), options.count)
    with virtual_microphone() as (room, _):
        spoken = by_microphone(room, said)
    filed = from_files(said)
    both = sum(a and b for a, b in zip(spoken, filed, strict=True))
    right = {"by_microphone": sum(spoken), "from_files": sum(filed), "both": both}
    fields = {"load_before": before, "utterances": len(said), "right": right}
    append(options.out, line("heard", command("tests.demo_model.heard_check", sys.argv[1:]), fields))


if __name__ == "__main__":
    main()
