#!/bin/sh
# The main job on a picture of the repository, then three samplers side by side; writes to out/demo.
set -eu
cd "$(dirname "$0")/.."
vipo=build/vipo
model=models/metaworld-64
image=examples/frames/09_hammer_corner_seed1002.png
text="hammer the nail"
faucet=examples/frames/06_faucet-close_corner_seed1000.png
out=out/demo

# show ARGUMENTS: prints the command line as a user would type it, then runs it.
show() {
    printf '\n$ %s' "$vipo"
    for word; do
        case $word in
        *[!A-Za-z0-9_./:,=-]*) printf ' "%s"' "$word" ;;
        *) printf ' %s' "$word" ;;
        esac
    done
    printf '\n'
    "$vipo" "$@"
}

mkdir -p "$out"
echo
echo "1. Imagine the future: one camera picture and a task in, seven frames out."
show plan --model "$model" --image "$image" --text "$text" --out "$out/plan.gif" --out "$out/plan.png"
echo
echo "2. The text decides: two commands, one picture, the same noise."
show plan --model "$model" --image "$faucet" --text "open the faucet" --out "$out/faucet-open.png"
show plan --model "$model" --image "$faucet" --text "close the faucet" --out "$out/faucet-close.png"
echo
echo "3. The same noise through five samplers: AVDC's 100 steps, 10 steps, Draft-and-Target Sampling, the same without"
echo "   verification calls, and unipc, the default."
show compare --model "$model" --image "$image" --text "$text" --reference ddim:100 \
    --samplers ddim:100,ddim:10,draft-target,draft-target-lazy,unipc:12 --out "$out/compare.png"
cat <<END

Look at    $out/plan.png      the plan: condition frame and seven imagined frames
           $out/plan.gif      the same, moving
           $out/faucet-open.png, $out/faucet-close.png   two texts from one picture
           $out/compare.png   one row per sampler
Try next   another picture:   ls examples/frames
           another seed:      $vipo plan -m $model -i $image -t "$text" --seed 7 -o $out/seed7.png
           all options:       $vipo plan --help
END
