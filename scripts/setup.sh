#!/bin/sh
# Installs what vipo needs to build and test on Debian. When everything is there it needs neither the
# network nor root, and says so in one line. Details go to build/setup.log.
set -eu
cd "$(dirname "$0")/.."

# program:package, looked for on the PATH
programs="gcc:gcc cmake:cmake ninja:ninja-build pkg-config:pkg-config python3:python3"
libraries="libc6-dev libjansson-dev libpng-dev libjpeg62-turbo-dev libgif-dev libavformat-dev libavcodec-dev
    libswscale-dev libavutil-dev libutf8proc-dev libpcre2-dev librandom123-dev libzip-dev libcmocka-dev"

fail() {
    echo "setup: $1" >&2
    exit 1
}

missing=""
for pair in $programs; do
    command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair#*:}"
done
if command -v dpkg-query >/dev/null; then
    for package in $libraries; do
        state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || state=""
        [ "$state" = installed ] || missing="$missing $package"
    done
elif [ -n "$missing" ]; then
    fail "this is not Debian; install what these packages hold, then repeat:$missing"
else
    echo "setup: this is not Debian, so the libraries are not checked here (needed: README.md)"
    exit 0
fi
missing=${missing# }

if [ -z "$missing" ]; then
    echo "setup: all packages are there"
    exit 0
fi
command -v apt-get >/dev/null || fail "no apt-get here; install these packages, then repeat: $missing"
if [ "$(id -u)" = 0 ]; then
    as_root=""
elif command -v sudo >/dev/null; then
    as_root="sudo"
else
    fail "neither root nor sudo; ask for these packages to be installed: $missing"
fi

mkdir -p build
log=build/setup.log
echo "setup: installing $(echo "$missing" | wc -w) packages (log: $log): $missing"
apt() {
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 "$@" >>"$log" 2>&1 </dev/null
}
: >"$log"
# A fresh machine has no package lists, an old one stale lists; an update that fails matters only if the
# installation fails too.
apt update || true
# shellcheck disable=SC2086  # the list is meant to be split
apt install -y --no-install-recommends $missing || {
    tail -n 15 "$log" >&2
    fail "apt-get could not install the packages, see $log"
}
echo "setup: done"
