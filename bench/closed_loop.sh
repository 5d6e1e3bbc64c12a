#!/bin/sh
# The episodes of docs/results.md: every policy with the expert's true future and with imagined ones by several samplers; the
# cheap cells of all seeds first. Ctrl-C and repeat: it goes on.
#
#   bench/closed_loop.sh STORE.db [FIRST_SEED [SEEDS]]          VIPO=build/vipo MODEL=models/metaworld-64 WORKERS=2
set -eu
store=${1:?usage: bench/closed_loop.sh STORE.db [FIRST_SEED [SEEDS]]}
first=${2:-100}
seeds=${3:-5}
vipo=${VIPO:-build/vipo}
model=${MODEL:-models/metaworld-64}

# run POLICY OPTIONS: this seed of all tasks and cameras
run() {
    policy=$1
    shift
    "$vipo" eval --out "$store" --policy "$policy" --tasks all --cameras all --seed "$seed" --seeds 1 --shadow-size 1024 \
        --workers "${WORKERS:-2}" --threads 1 --quiet "$@"
}

for samplers in none ab2:12,ddim:10 draft-target:chunk=6 draft-target:chunk=10 ddim:100; do
    seed=$first
    while [ "$seed" -lt $((first + seeds)) ]; do
        if [ "$samplers" = none ]; then
            run bc --predictor-file models/metaworld-cloning-64
            run goal --predictor-file models/metaworld-goal-64 --plan truth --model "$model"
            run flow --plan truth --model "$model"
        else
            run flow --plan model --model "$model" --samplers "$samplers"
            run goal --predictor-file models/metaworld-goal-64 --plan model --model "$model" --samplers "$samplers"
        fi
        seed=$((seed + 1))
    done
done
"$vipo" report "$store"
