#!/bin/sh
# build.sh PRESET: configures and builds one preset of CMakePresets.json, quietly: on success one line, on
# failure the compiler's messages.
set -eu
cd "$(dirname "$0")/.."
preset=$1
log=build/configure-$preset.log
mkdir -p build
cmake --preset "$preset" >"$log" 2>&1 || {
    cat "$log" >&2
    exit 1
}
folder=$(sed -n 's/^-- Build files have been written to: //p' "$log")
ninja --quiet -C "$folder" >"$log" 2>&1 || {
    cat "$log" >&2
    exit 1
}
cat "$log"
echo "build: $preset is up to date in ${folder#"$PWD"/}"
