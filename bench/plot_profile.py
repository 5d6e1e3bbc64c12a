#!/usr/bin/env python3
"""The picture of a profile that `vipo bench --profile` or `vipo denoise --profile` wrote: time by level and kind of operation, and
along the network from its first layer (left) to its last. Only the standard library.

  bench/plot_profile.py profile.csv docs/images/profile.svg [--title TEXT]
"""
import argparse
import csv
import sys
from html import escape

WIDTH, LEFT, RIGHT, TOP, BAR, GAP = 900, 76, 196, 56, 26, 10
CELL = 20  # height of a row of the lower picture
COLOURS = {
    "conv_space 3x3": "#2f6690",
    "conv_space upsample2": "#5fa8d3",
    "conv_space stride2": "#9ccbe8",
    "conv_space linear": "#81b29a",
    "conv_time time": "#c8553d",
    "conv_time linear": "#3d8b6d",
    "attention": "#e0a030",
    "group_norm": "#8d6a9f",
    "linear": "#777777",
}
WORDS = {
    "conv_space 3x3": "3x3 convolution",
    "conv_space upsample2": "3x3 after enlargement",
    "conv_space stride2": "3x3, stride 2",
    "conv_space linear": "attention: qkv",
    "conv_time time": "temporal convolution",
    "conv_time linear": "attention: projection",
    "attention": "attention",
    "group_norm": "group norm",
    "linear": "embeddings",
}


class Failure(Exception):
    """One line for the user."""


def read(path):
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or "seconds" not in rows[0] or "products" not in rows[0]:
        raise Failure("%s: no profile, expected the columns that vipo bench --profile writes" % path)
    for row in rows:
        row["seconds"], row["macs"], row["products"] = float(row["seconds"]), float(row["macs"]), float(row["products"])
        row["kind"] = row["op"] if row["op"] == "linear" else (row["op"] + " " + row["kind"]).strip()
        row["level"] = None if row["op"] == "linear" else (int(row["height"]), int(row["width"]))
    return rows


def group(rows, key):
    """-> {value of key: rows with it}, in order of appearance"""
    groups = {}
    for row in rows:
        groups.setdefault(row[key], []).append(row)
    return groups


def seconds(rows):
    return sum(row["seconds"] for row in rows)


def rect(x, y, width, height, colour, title, stroke="white"):
    return '<rect x="%.2f" y="%.1f" width="%.2f" height="%.1f" fill="%s" stroke="%s" stroke-width="0.5"><title>%s</title></rect>' % (
        x, y, max(width, 0), height, colour, stroke, escape(title))


def text(x, y, words, anchor="start", colour="#333", size=12, bold=False):
    return '<text x="%.1f" y="%.1f" text-anchor="%s" fill="%s" font-size="%d"%s>%s</text>' % (
        x, y, anchor, colour, size, ' font-weight="bold"' if bold else "", escape(words))


def rates(rows, peak):
    spent = seconds(rows)
    words = "%.1f ms" % (1e3 * spent)
    if spent > 0 and peak > 0:
        words += ", %.0f GFLOP/s, real %.0f %%" % (2e-9 * sum(r["macs"] for r in rows) / spent,
                                                   2e-7 * sum(r["products"] for r in rows) / spent / peak)
    return words


def bars(rows, peak, out):
    """A bar for each level, its kinds side by side. Returns where it ends."""
    levels = group([row for row in rows if row["level"]], "level")
    longest, y = max(seconds(part) for part in levels.values()), TOP
    width = WIDTH - LEFT - RIGHT
    for level in sorted(levels, reverse=True):
        x = LEFT
        out.append(text(LEFT - 8, y + BAR * 0.68, "%dx%d" % level, "end"))
        for kind, part in sorted(group(levels[level], "kind").items(), key=lambda item: -seconds(item[1])):
            size = seconds(part) / longest * width
            out.append(rect(x, y, size, BAR, COLOURS.get(kind, "#bbb"), "%dx%d %s: %s" % (level + (kind, rates(part, peak)))))
            x += size
        out.append(text(x + 8, y + BAR * 0.68, rates(levels[level], peak), size=11))
        y += BAR + GAP
    return y


def legend(rows, y, out):
    x = LEFT
    for kind, part in sorted(group(rows, "kind").items(), key=lambda item: -seconds(item[1])):
        words = "%s %.1f %%" % (WORDS.get(kind, kind), 100 * seconds(part) / seconds(rows))
        length = 26 + 6.2 * len(words)
        if x + length > WIDTH - 10:
            x, y = LEFT, y + 18
        out.append(rect(x, y, 11, 11, COLOURS.get(kind, "#bbb"), kind))
        out.append(text(x + 16, y + 10, words, size=11))
        x += length
    return y + 18


def block_of(name):
    """input_blocks.3.0.in_layers.2 -> input_blocks, input_blocks.3"""
    parts = name.split(".")
    return parts[0], ".".join(parts[:2]) if parts[0].endswith(("blocks", "block")) else parts[0]


def runs(rows, key):
    """Neighbours of one key -> (key, rows) in order."""
    found = []
    for row in rows:
        if found and found[-1][0] == key(row):
            found[-1][1].append(row)
        else:
            found.append((key(row), [row]))
    return found


def along(rows, peak, y, out):
    """Time from left to right; downwards: side of the network, block, level, operation."""
    width, total = WIDTH - LEFT - 20, seconds(rows)
    keys = (("side", lambda row: block_of(row["name"])[0]), ("block", lambda row: block_of(row["name"])[1]),
            ("level", lambda row: "%dx%d" % row["level"] if row["level"] else "vectors"), ("operation", None))
    for label, key in keys:
        x = LEFT
        out.append(text(LEFT - 8, y + CELL * 0.7, label, "end", "#777", 11))
        for i, (name, part) in enumerate(runs(rows, key) if key else [(row["kind"], [row]) for row in rows]):
            size = seconds(part) / total * width
            colour = ("#e9e4d8", "#d9d2c0")[i % 2] if key else COLOURS.get(name, "#bbb")
            title = "%s %s: %s" % (part[0]["name"], name, rates(part, peak)) if not key else "%s: %s" % (name, rates(part, peak))
            out.append(rect(x, y, size, CELL, colour, title))
            short = name.split(".")[-1] if label == "block" else name
            if key and size > 6.2 * len(short) + 4:
                out.append(text(x + size / 2, y + CELL * 0.7, short, "middle", size=10))
            x += size
        y += CELL + 1
    return y


def main():
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("profile")
    parser.add_argument("picture")
    parser.add_argument("--title", default="")
    options = parser.parse_args()
    rows = read(options.profile)
    first, peak = rows[0], float(rows[0]["peak_gflops"])
    out = []
    y = legend(rows, bars(rows, peak, out) + 4, out) + 26
    out.append(text(LEFT, y - 8, "along the network", bold=True))
    y = along(rows, peak, y, out) + 14
    facts = "%s row%s, kernels %s, %s thread%s" % (first["rows"], "" if first["rows"] == "1" else "s", first["compute"],
                                                   first["threads"], "" if first["threads"] == "1" else "s")
    if peak > 0:
        facts += ", peak %.0f GFLOP/s; real: multiplications done, as a share of it" % peak
    head = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif">' % (WIDTH, y),
            '<rect width="100%" height="100%" fill="white"/>',
            text(LEFT, 24, "%s%s" % (options.title + ": " if options.title else "", rates(rows, peak)), size=14, bold=True),
            text(LEFT, 42, facts, colour="#777", size=11)]
    with open(options.picture, "w", encoding="utf-8") as file:
        file.write("\n".join(head + out + ["</svg>"]) + "\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Failure, OSError) as error:
        print("plot_profile: %s" % error, file=sys.stderr)
        sys.exit(1)
