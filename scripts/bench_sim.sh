#!/bin/sh
# bench_sim.sh [options of bench/sim/speed.py]: the simulator beside the Python packages, which are installed into a
# virtual environment of their own, build/bench-sim, the first time and whenever their list changes.
set -eu
cd "$(dirname "$0")/.."
folder=build/bench-sim
if ! cmp -s bench/sim/requirements.txt "$folder/installed.txt"; then
    echo "bench: installing Meta-World's Python packages into $folder (half a gigabyte)"
    rm -rf "$folder"
    python3 -m venv "$folder" || {
        echo "bench: no virtual environment: on Debian, install python3-venv" >&2
        exit 1
    }
    "$folder/bin/pip" --quiet --disable-pip-version-check install -r bench/sim/requirements.txt
    cp bench/sim/requirements.txt "$folder/installed.txt"
fi
exec "$folder/bin/python" -B bench/sim/speed.py "$@"
