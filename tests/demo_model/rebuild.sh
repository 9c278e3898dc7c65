#!/bin/sh
# Makes the demo model from nothing: sh tests/demo_model/rebuild.sh DIRECTORY, in the repository root. What is there
# already is kept, so that it goes on where it was cut off.
set -eu
pools=$1/pools work=$1/work
mkdir -p "$pools" "$work"
run() { "${PYTHON:-python3}" "$@"; }
made() { [ -e "$pools/$1/READY" ]; }
made tokenizer || { run tests/demo_model/build_tokenizer.py "$pools/tokenizer" && touch "$pools/tokenizer/READY"; }
made speech || run -m tests.demo_model.speech --count 40000 --out "$pools/speech"
made speech_held_out || run -m tests.demo_model.speech --count 3000 --split held_out --out "$pools/speech_held_out"
made lines || run -m tests.demo_model.lines --count 50000 --out "$pools/lines"
made crops || run -m tests.demo_model.pictures --processes 2 --count 50000 --crops --out "$pools/crops"
made pictures || run -m tests.demo_model.pictures --processes 2 --count 16000 --out "$pools/pictures"
made pictures_held_out || run -m tests.demo_model.pictures --count 600 --split held_out --out "$pools/pictures_held_out"
run -m tests.demo_model.train "$pools" --work "$work"
[ -e "$work/drafter.done" ] || { run -m tests.demo_model.drafting "$pools" --work "$work" && touch "$work/drafter.done"; }
run -m tests.demo_model.finish "$pools" --work "$work"
run -m tests.demo_model.check "$pools" --work "$work" --count 150 --packed 500 --all pictures questions
