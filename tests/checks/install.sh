#!/bin/sh
# install.sh BUILD CMAKE: an installed vipo is found by pkg-config and by CMake, and works from anywhere; its
# manual pages and completion scripts lie where man and the shells look.
set -eu
build=$1
cmake=$2
source=$PWD
image=$PWD/examples/frames/00_door-open_corner_seed1000.png
model=$PWD/models/metaworld-64
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$cmake" --install "$build" --prefix "$folder/first" >"$folder/log"
mv "$folder/first" "$folder/vipo" # an installation may be moved
cd "$folder"

cp "$source/examples/plan.c" program.c
cat >CMakeLists.txt <<'END'
cmake_minimum_required(VERSION 3.20)
project(program C)
find_package(vipo 0.1 REQUIRED)
add_executable(program program.c)
target_link_libraries(program PRIVATE vipo::vipo)
END
expected=$(vipo/bin/vipo version)
pkg_config=$(dirname "$(find vipo -name vipo.pc)")
libraries=$PWD/$(dirname "$pkg_config")
flags=$(PKG_CONFIG_PATH=$PWD/$pkg_config pkg-config --cflags --libs vipo)
# shellcheck disable=SC2086  # flags are meant to be split
cc -std=c11 -Wall -Werror program.c -o by-pkg-config $flags
LD_LIBRARY_PATH=$libraries ./by-pkg-config "$model" "$image" "door open" one.gif
test -s one.gif
"$cmake" -S . -B by-cmake -DCMAKE_PREFIX_PATH="$PWD/vipo" >>log
"$cmake" --build by-cmake >>log
by-cmake/program "$model" "$image" "door open" two.gif
cmp one.gif two.gif
vipo/bin/vipo preprocess --preset mw --image "$image" --out frame.npy

# a manual page for every command, and completion where each shell looks for it
vipo/bin/vipo help --man | cmp - vipo/share/man/man1/vipo.1
commands=$(vipo/bin/vipo help | sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\) .*/\1/p')
for command in $commands; do
    vipo/bin/vipo help --man "$command" | cmp - "vipo/share/man/man1/vipo-$command.1"
done
test "$(find vipo/share/man -type f | wc -l)" -eq "$(($(echo "$commands" | wc -w) + 1))"
vipo/bin/vipo help --completion bash | cmp - vipo/share/bash-completion/completions/vipo
vipo/bin/vipo help --completion zsh | cmp - vipo/share/zsh/site-functions/_vipo
vipo/bin/vipo help --completion fish | cmp - vipo/share/fish/vendor_completions.d/vipo.fish
if [ -d "$build/without_mujoco" ]; then # with the simulator
    vipo/bin/vipo sim list | grep -q "MuJoCo"
    vipo/bin/vipo sim render --task door-open --seed 1 --json | grep -q '"matrix"' # the installed models
    if [ -d "$build/without_sqlite" ]; then # with the evaluation
        vipo/bin/vipo eval --out results.db --policy expert --tasks handle-press --cameras corner --quiet >results.txt
        vipo/bin/vipo report results.db | grep -q "1 episodes, 1 with success"
    fi
    readelf -d vipo/bin/vipo "$libraries/libvipo_sim.so.0" "$libraries/libvipo_eval.so.0" | grep -q "$source" && exit 1
    cat >sim.c <<'END'
#include <stdio.h>
#include <vipo/sim.h>
int main(void)
{
    vipo_error error;
    vipo_sim *sim;
    if (vipo_sim_open(&sim, "hammer", NULL, &error)) puts(error.message);
    else puts(vipo_sim_geom_name(sim, 0));
    vipo_sim_close(&sim);
}
END
    # shellcheck disable=SC2046
    cc -std=c11 -Wall -Werror sim.c -o sim $(PKG_CONFIG_PATH=$PWD/$pkg_config pkg-config --cflags --libs vipo-sim)
    [ "$(LD_LIBRARY_PATH=$libraries VIPO_METAWORLD_ASSETS="" ./sim)" = "floor|world" ]
fi
echo "$expected: installed, found by pkg-config and by CMake"
