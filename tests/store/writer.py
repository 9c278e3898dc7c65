"""A program that goes on with the conversation "holiday" until it is killed, and says what is safely kept.

python -m tests.store.writer DIRECTORY
"""

import sys
from pathlib import Path

from gemma_mlx.store.store import Store
from tests.store.talk import StandIn, assistant, picture, recording, user


def main() -> None:
    store, talk = Store(Path(sys.argv[1])), StandIn()
    if store.summaries():
        saved = store.open("holiday")
        saved.restore(talk.chat())
    else:
        saved = store.create("holiday")
        saved.follow(talk.chat())
    print(len(talk.history), flush=True)
    while True:
        number = len(talk.history)
        if number % 2 == 0:
            talk.say(user(f"Message {number}", picture(number), recording(number)))
        talk.say(assistant("word " * 2000))
        talk.context.keys = [*range(number + 2)]
        assert saved.save_caches(talk.chat()) is None
        assert saved.fault is None
        print(len(talk.history), flush=True)


if __name__ == "__main__":
    main()
