#!/bin/sh
# fuzz.sh: runs the fuzz targets of tests/fuzz, one after another, and prints a table. docs/fuzzing.md.
#   FUZZ_SECONDS   for each target, 600 unless set
#   FUZZ_TARGETS   names between spaces, all unless set
# Crashing inputs go to build/fuzz/crashes/TARGET, new interesting ones to build/fuzz/corpus/TARGET, what libFuzzer
# says to build/fuzz/TARGET.log. Exit status 1 if anything crashed.
set -eu
cd "$(dirname "$0")/.."
seconds=${FUZZ_SECONDS:-600}
folder=build/fuzz
seeds=tests/fuzz/corpus
targets=${FUZZ_TARGETS:-$(for file in tests/fuzz/fuzz_*.c; do basename "$file" .c | cut -d _ -f 2-; done)}

log=$folder/build.log
mkdir -p "$folder"
echo "fuzz: building (log: $log)"
if ! { cmake --preset fuzz && cmake --build "$folder" --target fuzzers -- --quiet; } >"$log" 2>&1; then
    cat "$log" >&2
    echo "fuzz: build failed" >&2
    exit 1
fi

# Processor seconds of what this script has run so far. `times` must not be run in a subshell, which starts anew.
processor_seconds() {
    times >"$folder/times"
    used=$(awk 'NR == 2 { split($1, u, "[ms]"); split($2, s, "[ms]"); printf "%d", 60 * (u[1] + s[1]) + u[2] + s[2] }' "$folder/times")
}

# statistic FILE NAME: a number of libFuzzer's final statistics
statistic() {
    sed -n "s/^stat::$2: *//p" "$1" | tail -n 1
}

crashed=""
table=$(printf "%-12s %11s %8s %6s %9s %7s %8s" target executions seconds cpu_s coverage corpus crashes)
for target in $targets; do
    program=$folder/tests/fuzz/fuzz_$target
    log=$folder/$target.log
    [ -x "$program" ] || { echo "fuzz: no target \"$target\", see tests/fuzz/fuzz_*.c" >&2; exit 2; }
    mkdir -p "$folder/corpus/$target" "$folder/crashes/$target"
    echo "fuzz: $target for $seconds s (log: $log)"
    started=$(date +%s)
    processor_seconds
    before=$used
    touch "$folder/started-$target"
    status=0
    # The limits: what a small file may make vipo ask for at once (the largest picture allowed has 192 MiB).
    nice -n 19 "$program" -dict="tests/fuzz/dict/$target" -max_total_time="$seconds" -max_len=4096 \
        -timeout=60 -rss_limit_mb=1024 -malloc_limit_mb=256 -print_final_stats=1 \
        -artifact_prefix="$folder/crashes/$target/" "$folder/corpus/$target" "$seeds/$target" >"$log" 2>&1 || status=$?
    took=$(($(date +%s) - started))
    processor_seconds
    crashes=$(find "$folder/crashes/$target" -type f -newer "$folder/started-$target" | wc -l)
    coverage=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    table="$table
$(printf "%-12s %11s %8s %6s %9s %7s %8s" "$target" "$(statistic "$log" number_of_executed_units)" "$took" \
        $((used - before)) "$coverage" "$(find "$folder/corpus/$target" -type f | wc -l)" \
        "$crashes")"
    [ "$status" = 0 ] && [ "$crashes" = 0 ] || crashed="$crashed $target"
done
printf "\n%s\n" "$table"
echo "cpu_s: processor seconds; coverage: edges of libvipo and the target that were reached; corpus: inputs in $folder/corpus"
if [ -n "$crashed" ]; then
    echo "fuzz: crashed:$crashed (inputs: $folder/crashes, reasons: $folder/TARGET.log)" >&2
    exit 1
fi
