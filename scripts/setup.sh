#!/bin/sh
# setup.sh [test | fuzz | peers]: installs what vipo needs to build on Debian (and to be tested, and fuzzed: make test,
# make fuzz; to run beside other engines: make bench-peers), and fetches MuJoCo and Meta-World's models for the simulator
# (scripts/setup_mujoco.py). When everything is there it needs neither the network nor root, and says so. What only
# the simulator, its data sets or one method of optical flow need is not essential: if it cannot be had there is a
# warning. Details go to build/setup.log.
set -eu
cd "$(dirname "$0")/.."

# program:package, looked for on the PATH
programs="gcc:gcc cmake:cmake ninja:ninja-build pkg-config:pkg-config python3:python3"
libraries="libc6-dev libjansson-dev libpng-dev libjpeg62-turbo-dev libgif-dev libavformat-dev libavcodec-dev
    libswscale-dev libavutil-dev libutf8proc-dev libpcre2-dev librandom123-dev libzip-dev libcmocka-dev"
# OpenGL without a screen, opened at run time by `vipo sim render`; the results of `vipo eval`, and mpirun
simulator_libraries="libegl1 libgl1-mesa-dri libosmesa6 libsqlite3-dev libopenmpi-dev openmpi-bin"
# `vipo flow --method dis`
flow_libraries="g++ libopencv-core-dev libopencv-imgproc-dev libopencv-video-dev"
# train/, tested by tests/sim/test_reader.py and tests/train; tests/unit/test_number.c
[ "${1:-}" != test ] || simulator_libraries="$simulator_libraries python3-numpy python3-av python3-torch locales"
if [ "${1:-}" = fuzz ]; then
    programs="$programs clang:clang"
    libraries="$libraries libclang-rt-14-dev"
fi
if [ "${1:-}" = peers ]; then # torch.compile compiles C++ that includes Python.h
    programs="$programs g++:g++"
    libraries="$libraries python3-venv python3-dev"
fi

fail() {
    echo "setup: $1" >&2
    exit 1
}
warn() {
    echo "setup: warning: $1" >&2
}

# The packages among $@ that are not installed.
not_installed() {
    for package; do
        state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || state=""
        [ "$state" = installed ] || printf ' %s' "$package"
    done
}

log=build/setup.log
apt() {
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 "$@" >>"$log" 2>&1 </dev/null
}
updated=""
# Installs packages; otherwise says why not and returns 1.
install_packages() {
    command -v apt-get >/dev/null || { problem="no apt-get here; install these packages, then repeat: $*" && return 1; }
    if [ "$(id -u)" = 0 ]; then
        as_root=""
    elif command -v sudo >/dev/null; then
        as_root="sudo"
    else
        problem="neither root nor sudo; ask for these packages to be installed: $*"
        return 1
    fi
    mkdir -p build
    echo "setup: installing $# packages (log: $log): $*"
    # A fresh machine has no package lists, an old one stale lists; an update that fails matters only if the
    # installation fails too.
    [ "$updated" ] || { : >"$log"; apt update || true; }
    updated=yes
    apt install -y --no-install-recommends "$@" || {
        problem="apt-get could not install the packages, see $log: $*"
        return 1
    }
}

missing=""
for pair in $programs; do
    command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair#*:}"
done
if command -v dpkg-query >/dev/null; then
    # shellcheck disable=SC2086  # the lists are meant to be split
    missing="$missing$(not_installed $libraries)"
    # shellcheck disable=SC2086
    wanted=$(not_installed $simulator_libraries $flow_libraries)
elif [ -n "$missing" ]; then
    fail "this is not Debian; install what these packages hold, then repeat:$missing"
else
    echo "setup: this is not Debian, so the libraries are not checked here (needed: README.md)"
    wanted=""
fi

# shellcheck disable=SC2086
[ -z "$missing" ] || install_packages $missing || {
    [ ! -f "$log" ] || tail -n 15 "$log" >&2
    fail "$problem"
}
fetched() {
    [ -d deps/mujoco-3.3.0 ] && [ -d deps/metaworld-3.1.1 ]
}
fetched || python3 -m pip --version >/dev/null 2>&1 || wanted="$wanted python3-pip"
# shellcheck disable=SC2086
[ -z "$wanted" ] || install_packages $wanted || warn "$problem"
scripts/setup_mujoco.py || warn "vipo is built without the simulator (vipo sim) until that succeeds"
[ "$missing$wanted" ] && echo "setup: done" || echo "setup: all packages are there"
