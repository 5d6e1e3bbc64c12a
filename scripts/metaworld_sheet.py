#!/usr/bin/env python3
"""metaworld_sheet.py OUT.jpg [--vipo build/vipo] [--seed 0] [--moment 0.7]: the contact sheet of docs/metaworld.md, every task from
every camera, drawn by `vipo sim render` after that part of the steps that the scripted policy needs to succeed. Needs Pillow."""
import argparse
import json
import os
import subprocess
import tempfile

from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT, GAP, TITLE, LEFT = 208, 156, 4, 24, 118
COLUMNS = 2  # of tasks


def ask(*command):
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--vipo", default="build/vipo")
    parser.add_argument("--seed", default="0")
    parser.add_argument("--moment", type=float, default=0.7)
    args = parser.parse_args()
    names = ask(args.vipo, "sim", "list", "--json")
    tasks, cameras = [task["name"] for task in names["tasks"]], names["cameras"]

    rows = -(-len(tasks) // COLUMNS)
    block = LEFT + len(cameras) * (WIDTH + GAP)
    sheet = Image.new("RGB", (COLUMNS * block + GAP, TITLE + rows * (HEIGHT + GAP)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=15)
    for i, task in enumerate(tasks):
        x0, y0 = i // rows * block, TITLE + i % rows * (HEIGHT + GAP)
        episode = ask(args.vipo, "sim", "expert", "-t", task, "--seed", args.seed, "--json")
        steps = int(args.moment * (episode["first_success"] or episode["steps"]))
        draw.multiline_text((x0 + 6, y0 + HEIGHT // 2), "%s\nstep %d" % (task.replace("press-top", "press-\ntop"), steps), "black", font, anchor="lm")
        for j, camera in enumerate(cameras):
            x = x0 + LEFT + j * (WIDTH + GAP)
            if i % rows == 0:
                draw.text((x + WIDTH // 2, TITLE // 2), camera, "black", font, anchor="mm")
            with tempfile.TemporaryDirectory() as folder:
                path = os.path.join(folder, "picture.png")
                ask(args.vipo, "sim", "render", "-t", task, "-c", camera, "--seed", args.seed, "--steps", str(steps), "-o", path, "--json")
                sheet.paste(Image.open(path).resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS), (x, y0))
    sheet.save(args.out, quality=85, optimize=True)


main()
