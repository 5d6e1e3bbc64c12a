#!/bin/sh
# peers.sh PROGRAM [ARGUMENT...]: runs a Python program of bench/ with the peers' packages, in pinned versions
# (bench/peers/requirements.txt) and in a virtual environment of its own, out/peers/venv, made first where it is
# missing or older than the requirements. Details go to out/peers/setup.log.
set -eu
cd "$(dirname "$0")/.."
venv=out/peers/venv
wanted=bench/peers/requirements.txt
if ! cmp -s "$wanted" "$venv/requirements.txt"; then
    echo "peers: installing the packages of $wanted into $venv (PyTorch is large; log: out/peers/setup.log)"
    rm -rf "$venv"
    mkdir -p out/peers
    if ! { python3 -m venv "$venv" && "$venv/bin/pip" install --no-cache-dir -r "$wanted"; } >out/peers/setup.log 2>&1; then
        tail -n 15 out/peers/setup.log >&2
        echo "peers: the packages could not be installed (log: out/peers/setup.log)" >&2
        exit 1
    fi
    cp "$wanted" "$venv/requirements.txt"
fi
exec "$venv/bin/python" "$@"
