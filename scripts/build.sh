#!/bin/sh
# build.sh PRESET [FOLDER [TARGET...]]: configures and builds a preset of CMakePresets.json, in its own folder or in
# FOLDER, all of it or some targets. Prints the compiler's messages only if something fails.
set -eu
cd "$(dirname "$0")/.."
preset=$1
folder=${2:-build}
log=$folder/build-$preset.log
[ $# -gt 2 ] && shift 2 || set -- all
mkdir -p "$folder"
echo "build: $preset (log: $log)"
if ! cmake --preset "$preset" -B "$folder" >"$log" 2>&1 || ! cmake --build "$folder" --target "$@" -- --quiet >>"$log" 2>&1; then
    cat "$log" >&2
    echo "build: $preset failed" >&2
    exit 1
fi
