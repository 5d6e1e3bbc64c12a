#!/usr/bin/env python3
"""The picture of bench/scaling.py's table: threads, batch, resolution. Only the standard library.

  bench/plot_scaling.py bench/results/scaling-<cpu>.csv docs/images/scaling.svg
"""
import csv
import sys
from html import escape

PANEL, HEIGHT, LEFT, TOP, BOTTOM, GAP = 250, 260, 52, 62, 46, 66
OURS, EVEN = "#2f6690", "#c9a66b"


def text(x, y, words, anchor="middle", colour="#333", size=11, bold=False):
    return '<text x="%.1f" y="%.1f" text-anchor="%s" fill="%s" font-size="%d"%s>%s</text>' % (
        x, y, anchor, colour, size, ' font-weight="bold"' if bold else "", escape(words))


def panel(left, title, below, points, even, labels):
    """points, even: [(x, y)]; labels: words of each x. The axes begin at 0."""
    top, bottom = TOP, HEIGHT - BOTTOM
    most_x, most_y = max(x for x, _ in points), max(y for _, y in points + even)

    def place(x, y):
        return left + x / most_x * PANEL, bottom - y / most_y * (bottom - top)

    out = [text(left, top - 14, title, "start", size=12, bold=True),
           '<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#bbb"/>' % (left, bottom, left + PANEL, bottom)]
    for part in (0.25, 0.5, 0.75, 1.0):
        _, y = place(0, part * most_y)
        out.append('<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#eee"/>' % (left, y, left + PANEL, y))
        out.append(text(left - 6, y + 4, "%.3g" % (part * most_y), "end", "#777"))
    for (x, _), words in zip(points, labels):
        out.append(text(place(x, 0)[0], bottom + 15, words, colour="#555"))
    out.append(text(left + PANEL / 2, bottom + 34, below, colour="#777"))
    for series, colour, dash in ((even, EVEN, ' stroke-dasharray="5 4"'), (points, OURS, "")):
        path = " ".join("%.1f,%.1f" % place(x, y) for x, y in series)
        out.append('<polyline points="%s" fill="none" stroke="%s" stroke-width="1.8"%s/>' % (path, colour, dash))
    for x, y in points:
        at = place(x, y)
        out.append('<circle cx="%.1f" cy="%.1f" r="3.4" fill="%s"><title>%.4g</title></circle>' % (at[0], at[1], OURS, y))
    return out


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: plot_scaling.py TABLE.csv PICTURE.svg")
    with open(sys.argv[1], newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or "curve" not in rows[0]:
        sys.exit("plot_scaling: %s: no table of bench/scaling.py" % sys.argv[1])
    for row in rows:
        for name in ("height", "width", "threads", "rows"):
            row[name] = int(row[name])
        row["seconds"] = float(row["seconds"])
    curves = {name: [row for row in rows if row["curve"] == name] for name in ("threads", "batch", "resolution")}
    out, left = [], LEFT
    for name, title, below, x, y, even in (
            ("threads", "speed against one thread", "threads", lambda r: r["threads"],
             lambda r, first: first["seconds"] / r["seconds"] * first["threads"], lambda r, first: r["threads"]),
            ("batch", "time of a batch / of one row", "rows", lambda r: r["rows"],
             lambda r, first: r["seconds"] / first["seconds"], lambda r, first: r["rows"] / first["rows"]),
            ("resolution", "seconds of a step", "side of the pictures; by area", lambda r: r["height"] * r["width"],
             lambda r, first: r["seconds"], lambda r, first: first["seconds"] * r["height"] * r["width"] / first["height"] / first["width"])):
        found = sorted(curves[name], key=x)
        if found:
            points, wanted = [(x(r), y(r, found[0])) for r in found], [(x(r), even(r, found[0])) for r in found]
            labels = ["%d" % (r["height"] if name == "resolution" else x(r)) for r in found]
            out += panel(left, title, below, points, wanted, labels)
            left += PANEL + GAP
    facts = "%s, kernels %s, %s; dashed: in proportion to the first point" % (rows[0]["model"], rows[0]["compute"], rows[0]["cpu"])
    width = left - GAP + 16
    head = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif">' % (width, HEIGHT),
            '<rect width="100%" height="100%" fill="white"/>', text(LEFT, 22, facts, "start", "#777")]
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        file.write("\n".join(head + out + ["</svg>"]) + "\n")


main()
