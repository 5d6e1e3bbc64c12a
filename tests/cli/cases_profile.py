"""Cases of times and memory: bench, denoise --profile, what plan says of its start. No time is compared with a wanted one."""
import csv
import json
import re

from harness import case, expect, special

DENOISE = "denoise --model {model} --x {noise} --cond {cond} --tokens {tokens} --t 50"
BENCH = "bench -m {model}"
OPS = {"conv_space", "conv_time", "group_norm", "attention", "linear"}


def positive(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0


def read_profile(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def check_rows(rows):
    """The operations of one row of the shipped model, in order."""
    expect(len(rows) > 100 and rows[0]["name"] == "time_embed" and rows[-1]["name"] == "out.2", "%d operations", len(rows))
    expect({row["op"] for row in rows} == OPS, "operations %s", {row["op"] for row in rows})
    for row in rows:
        expect(row["rows"] == "1" and float(row["seconds"]) > 0, "row %s", row)
        expect(float(row["products"]) <= float(row["macs"]), "more products than multiply-adds: %s", row)
        if row["op"] == "conv_space" and row["kind"] == "3x3":
            macs = 9 * int(row["frames"]) * int(row["height"]) * int(row["width"]) * int(row["in_channels"]) * int(row["out_channels"])
            expect(float(row["macs"]) == macs, "%s multiply-adds, expected %d", row["macs"], macs)


def check_summary(profile, rows):
    """Levels and kinds are sums of the rows."""
    for parts in (profile["levels"], profile["operations"], [profile["sum"]]):
        for key, digits in (("seconds", 1e-6), ("macs", 1e-6), ("products", 1e-6)):
            total, wanted = sum(part[key] for part in parts), sum(float(row[key]) for row in rows)
            expect(abs(total / wanted - 1) < digits, "%s: %g, the rows have %g", key, total, wanted)
        expect(sum(part["calls"] for part in parts) == len(rows), "parts %s", parts)
        expect(abs(sum(part["share"] for part in parts) - 1) < 1e-6, "shares of %s", parts)
    sizes = [(level["height"], level["width"]) for level in profile["levels"]]
    expect(sizes == [(64, 64), (32, 32), (16, 16), (8, 8), (None, None)], "levels %s", sizes)
    spent = [part["seconds"] for part in profile["operations"]]
    expect(spent == sorted(spent, reverse=True), "kinds are not sorted: %s", spent)
    peak = profile["peak_gflops"]
    if peak is not None:
        for part in profile["operations"] + [profile["sum"]]:
            expect(abs(part["peak_share"] - part["gflops"] / peak) < 1e-6, "share of the peak: %s", part)
            expect(part["product_peak_share"] <= part["peak_share"], "products: %s", part)


# ---- denoise --profile ----------------------------------------------------------------------------------------

case("profile", "with a dump", DENOISE + " --profile P.csv --dump layers", code=2, err="--dump would spoil the times of --profile")
case("profile", "unwritable", DENOISE + " --profile nowhere/P.csv", code=1, err="nowhere/P.csv: cannot write: its folder does not exist")
case("profile", "the name of another output", DENOISE + " --out V.npy --profile V.npy", code=2, err="V.npy: two outputs have this name")
case("profile", "as text", DENOISE + " --profile P.csv", files={"P.csv": b"name,op,kind,method,half,rows,"},
     out=r"^1 row, network .*\nlevel +calls +ms +share +GFLOP/s.*\n64x64 .*\nvectors .*\noperation +calls.*\nsum +\d+ .* 100[.]0 %.*\nP[.]csv  ")


@special("profile", "denoise: median of several calls")
def _(run):
    code, out, err = run.run(DENOISE + " --profile P.csv --repeat 3 --json")
    expect(code == 0, "exit status %d: %s", code, err)
    rows, summary = read_profile(run.path("P.csv")), json.loads(out)
    check_rows(rows)
    check_summary(summary["profile"], rows)
    expect(all(row["compute"] == summary["compute"] and row["threads"] == str(summary["threads"]) for row in rows), "first row %s", rows[0])
    # an operation's median is at most the time of the longest call
    expect(summary["profile"]["sum"]["seconds"] < 3 * max(summary["seconds"]), "seconds %s, profile %s", summary["seconds"], summary["profile"]["sum"])


# ---- bench ----------------------------------------------------------------------------------------------------

case("bench", "no model", "bench", code=2, err="--model DIR is missing")
case("bench", "--rows 0", BENCH + " --rows 0", code=2, err="--rows 0: expected integers from 1 to 256")
case("bench", "--repeat 0", BENCH + " --repeat 0", code=2, err="--repeat 0: expected an integer from 1 to 1000")
case("bench", "no such model", "bench -m nowhere", code=1, err="nowhere")
case("bench", "unwritable profile", BENCH + " --profile nowhere/P.csv", code=1, err="nowhere/P.csv: cannot write")
case("bench", "as text", "bench -m {no_text} --rows 1 --repeat 1 --profile P.csv", files={"P.csv": b"name,op,"},
     out=r"^\S+: 64x64, 6[.]83 GMAC; kernels \w+, \d+ threads?.*\n +rows +ms.*\n +1 .*\n(peak .*\n)?level ")


@special("bench", "as JSON")
def _(run):
    code, out, err = run.run(BENCH + " --rows 2 --repeat 1 --profile P.csv --json --threads 1")
    expect(code == 0, "exit status %d: %s", code, err)
    rows, summary = read_profile(run.path("P.csv")), json.loads(out)
    check_rows(rows)
    check_summary(summary["profile"], rows)
    one, two = summary["batches"]
    expect((one["rows"], two["rows"], one["cost"]) == (1, 2, 1.0), "batches %s", summary["batches"])
    expect(positive(one["seconds"]) and abs(two["cost"] - two["seconds"] / one["seconds"]) < 1e-6, "batches %s", summary["batches"])
    expect(summary["macs"] == summary["profile"]["sum"]["macs"], "multiply-adds %s", summary["macs"])
    expect(abs(two["gflops"] / (4e-9 * summary["macs"] / two["seconds"]) - 1) < 1e-6, "batches %s", summary["batches"])
    expect(summary["threads"] == 1 and summary["out"] == "P.csv", "JSON %s", out[:300])


# ---- start and memory of a plan ---------------------------------------------------------------------------------

PLAN = "plan -m {model} -i {image} -t 'door open' --sampler ddim --steps 1"
case("plan", "verbose names the parts of the start", PLAN + " -v --json",
     err=r"model loaded in \S+ s \(tokenizer \S+ s, reading \S+ s, packing \S+ s\); kernels (.|\n)*first step \S+ s after the start of the process")


@special("plan", "start and memory as JSON")
def _(run):
    code, out, err = run.run(PLAN + " --json --threads 2")
    expect(code == 0, "exit status %d: %s", code, err)
    summary = json.loads(out)
    load, memory = summary["load"], summary["memory"]
    expect(sorted(load) == ["config", "map", "pack", "read", "tokenizer"] and all(value >= 0 for value in load.values()), "load %s", load)
    expect(0 < sum(load.values()) <= summary["load_seconds"] <= summary["start_seconds"], "JSON %s", out[-600:])
    parts = [memory[name] for name in ("weights", "arena", "scratch", "sampler")]
    expect(all(map(positive, parts)) and sum(parts) == summary["peak_bytes"], "memory %s, peak %s", memory, summary["peak_bytes"])
    expect(memory["resident_peak"] is None or memory["resident_peak"] > memory["weights"] + memory["arena"], "memory %s", memory)
    match = re.search(r"VmHWM:", open("/proc/self/status", encoding="utf-8").read())
    expect((memory["resident_peak"] is None) == (match is None), "memory %s", memory)
