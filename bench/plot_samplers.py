#!/usr/bin/env python3
"""The picture of docs/samplers.md: distance against evaluations, from the table of bench/samplers.py. Only the standard library.

  bench/plot_samplers.py bench/results/samplers-metaworld-64.csv docs/images/samplers.svg
"""
import csv
import math
import sys
from html import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 480, 64, 150, 30, 52
# Series: label, colour, dashed, and the rows of the table that belong to it.
SERIES = [
    ("ddim", "#4e6e8e", False, lambda n: n.startswith("ddim:") and "grid" not in n),
    ("ddim s:1.7,1.5", "#4e6e8e", True, lambda n: n.startswith("ddim:") and "grid" in n),
    ("dpm-solver++", "#b07d2b", False, lambda n: n.startswith("dpm-solver++:")),
    ("unipc 2", "#2a8c6e", False, lambda n: n.startswith("unipc:") and n.count(":") == 1),
    ("unipc 3", "#2a8c6e", True, lambda n: n.startswith("unipc:") and n.endswith("order=3")),
    ("ab2", "#c0392b", False, lambda n: n.startswith("ab2:") and n.count(":") == 1),
    ("draft-target", "#7d3c98", False, lambda n: n.startswith("draft-target") and "lazy" not in n),
    ("draft-target-lazy", "#7d3c98", True, lambda n: n.startswith("draft-target-lazy")),
]


def scale(low, high, start, end):
    low, high = math.log(low), math.log(high)
    return lambda value: start + (math.log(value) - low) / (high - low) * (end - start)


def spread(labels, gap=14):
    """Moves labels (y, ...) apart."""
    labels.sort()
    for i in range(1, len(labels)):
        labels[i][0] = max(labels[i][0], labels[i - 1][0] + gap)
    return labels


def main():
    with open(sys.argv[1], newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    x = scale(5.5, 110, LEFT, WIDTH - RIGHT)
    y = scale(0.09, 0.002, TOP, HEIGHT - BOTTOM)
    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">' % (WIDTH, HEIGHT),
           '<rect width="100%" height="100%" fill="white"/>']
    for value in (6, 8, 10, 12, 16, 20, 25, 50, 75, 100):
        out.append('<line x1="{0:.1f}" y1="{1}" x2="{0:.1f}" y2="{2}" stroke="#eee"/><text x="{0:.1f}" y="{3}" text-anchor="middle" '
                   'fill="#555">{4}</text>'.format(x(value), TOP, HEIGHT - BOTTOM, HEIGHT - BOTTOM + 17, value))
    for value in (0.002, 0.003, 0.005, 0.01, 0.02, 0.03, 0.05):
        out.append('<line x1="{0}" y1="{1:.1f}" x2="{2}" y2="{1:.1f}" stroke="#eee"/><text x="{3}" y="{4:.1f}" text-anchor="end" '
                   'fill="#555">{5:g}</text>'.format(LEFT, y(value), WIDTH - RIGHT, LEFT - 6, y(value) + 4, value))
    labels = []
    for name, colour, dashed, belongs in SERIES:
        points = sorted((float(r["evaluations"]), float(r["distance"])) for r in rows
                        if belongs(r["sampler"]) and r["sampler"].split(":")[1:2] != ["100"] or r["sampler"] == "ddim:100" and name == "ddim")
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        path = " ".join("%.1f,%.1f" % (x(e), y(d)) for e, d in points)
        if not name.startswith("draft"):
            out.append('<polyline points="%s" fill="none" stroke="%s" stroke-width="1.8"%s/>' % (path, colour, dash))
        for e, d in points:
            fill = "white" if dashed else colour
            out.append('<circle cx="%.1f" cy="%.1f" r="3.6" fill="%s" stroke="%s" stroke-width="1.6"/>' % (x(e), y(d), fill, colour))
        e, d = points[-1]
        labels.append([y(d) + 4, name, colour, dash, x(e), y(d)])
    for at, name, colour, dash, px, py in spread(labels):
        left = WIDTH - RIGHT + 10
        out.append('<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" stroke-width="0.7" opacity="0.45"/>'
                   % (px + 5, py, left - 3, at - 4, colour))
        out.append('<text x="%d" y="%.1f" fill="%s" font-weight="bold">%s</text>' % (left, at, colour, escape(name)))
    out.append('<text x="%d" y="%d" text-anchor="middle" fill="#333">network evaluations of a plan</text>'
               % ((LEFT + WIDTH - RIGHT) // 2, HEIGHT - 14))
    out.append('<text transform="translate(16 %d) rotate(-90)" text-anchor="middle" fill="#333">rms distance to the exact flow</text>'
               % ((TOP + HEIGHT - BOTTOM) // 2))
    out.append("</svg>")
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        file.write("\n".join(out) + "\n")


main()
