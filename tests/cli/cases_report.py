"""The cases of `vipo report`: what it says of a store is worked out here a second time."""
import base64
import csv
import html.parser
import json
import math
import os
import re
import sqlite3
import xml.etree.ElementTree

from cases_eval import CHEAP, evaluate, why_skipped  # noqa: F401  (run.py asks for why_skipped)
from harness import case, expect, expect_one_line, special

COLUMNS = ["settings", "task", "camera", "seed", "success", "first_success", "steps", "total_reward", "max_reward", "plans", "replans", "calls",
           "evaluations", "network_rows", "rounds", "drafted", "accepted", "plan_steps", "error"]


def make_store(run, name="a.db"):
    """Real episodes, then some results changed, so that there is something to tell apart."""
    evaluate(run, "eval -p expert -t handle-press,button-press -c corner,corner3 --seeds 4 -o " + name)
    store = sqlite3.connect(run.path(name))
    (settings, text), = store.execute("SELECT hash, json FROM settings").fetchall()
    store.execute("INSERT INTO settings VALUES ('0123456789abcdef', 'other', ?)", (text,))
    names = [row[1] for row in store.execute("PRAGMA table_info(episodes)")]
    store.execute("INSERT INTO episodes SELECT '0123456789abcdef', %s FROM episodes" % ", ".join(names[1:]))
    store.execute("UPDATE episodes SET success = 0, first_success = NULL WHERE settings = ? AND seed = 1", (settings,))
    store.execute("UPDATE episodes SET success = 0, first_success = NULL, error = 'no <way>' WHERE settings != ? AND (seed = 3 OR camera = 'corner3')", (settings,))
    store.execute("UPDATE episodes SET plans = 2, calls = 10, drafted = 8, accepted = 6, plan_steps = '[0,5]', plan_seconds = '[0.5,1.5]', "
                  "planning_seconds = 2 WHERE settings != ?", (settings,))
    store.commit()
    store.close()
    return settings


def wilson(k, n):
    """The ends of the interval as the roots of (p - k/n)^2 = z^2 p (1 - p) / n."""
    z = 1.959963984540054
    a, b, c = 1 + z * z / n, -(2 * k / n + z * z / n), (k / n) ** 2
    root = math.sqrt(max(b * b - 4 * a * c, 0))
    return (-b - root) / (2 * a), (-b + root) / (2 * a)


def mcnemar(b, c):
    return min(1, 2 * sum(math.comb(b + c, i) for i in range(min(b, c) + 1)) / 2 ** (b + c)) if b + c else 1


@special("report", "JSON")
def as_json(run):
    settings = make_store(run)
    code, out, err = run.run("report a.db --json")
    expect(code == 0 and err == "", "%s", err)
    report = json.loads(out)
    store = sqlite3.connect(run.path("a.db"))
    expect(report["episodes"] == 32 and report["baseline"] == "expert", "%s", out[:300])
    expect([s["hash"] for s in report["settings"]] == [settings, "0123456789abcdef"], "settings")
    for one in report["settings"]:
        n, k, errors, steps = store.execute("SELECT count(*), sum(success), sum(error != ''), avg(steps) FROM episodes WHERE settings = ?", (one["hash"],)).fetchone()
        expect((one["episodes"], one["successes"], one["errors"]) == (n, k, errors), "%s", one)
        expect(abs(one["steps"] - steps) < 1e-6 and abs(one["success_rate"] - k / n) < 1e-9, "%s", one)
        expect(all(abs(a - b) < 1e-8 for a, b in zip(one["interval_95"], wilson(k, n))), "%s, %s", one["interval_95"], wilson(k, n))
        for kind in ("task", "camera"):
            for row in one[kind + "s"]:
                wanted = store.execute("SELECT count(*), sum(success) FROM episodes WHERE settings = ? AND %s = ?" % kind, (one["hash"], row[kind])).fetchone()
                expect((row["episodes"], row["successes"]) == wanted, "%s", row)
    plans = report["settings"][1]["per_plan"]
    expect((plans["count"], plans["calls"], plans["acceptance"], plans["seconds"], plans["median_seconds"]) == (32, 5, 0.75, 1, 1), "%s", plans)
    pairs = store.execute("SELECT a.success, b.success, count(*) FROM episodes a JOIN episodes b USING (task, camera, seed) "
                          "WHERE a.settings = ? AND b.settings != ? GROUP BY 1, 2", (settings, settings)).fetchall()
    count = {(a, b): n for a, b, n in pairs}
    comparison, = report["comparisons"]
    only = count.get((1, 0), 0), count.get((0, 1), 0)
    expect((comparison["pairs"], comparison["only_a"], comparison["only_b"]) == (16,) + only, "%s, %s", comparison, pairs)
    expect(min(only) > 0 and abs(comparison["p"] - mcnemar(*only)) < 1e-9, "%s", comparison)
    expect(report["errors"] == [{"error": "no <way>", "episodes": 10}], "%s", report["errors"])
    store.close()


class Page(html.parser.HTMLParser):
    """Tags that are open, and everything that a page would fetch."""

    def __init__(self):
        super().__init__()
        self.open, self.fetched, self.films = [], [], []

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in ("src", "href"):
                (self.films if value.startswith("data:video/mp4;base64,") else self.fetched).append(value)
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        expect(self.open and self.open[-1] == tag, "</%s> closes %s", tag, self.open[-3:])
        self.open.pop()


@special("report", "HTML with films")
def as_html(run):
    make_store(run)
    evaluate(run, "eval -p expert -t handle-press -c corner --plan truth --plan-frames 2 --seeds 2 --videos films --video-stride 20 -o b.db " + CHEAP)
    code, out, err = run.run("report a.db b.db -o page.html --videos films --title '<Title> & more'")
    expect(code == 0 and err == "" and re.fullmatch(r"page.html  [0-9.]+ kB\n", out), "%s%s", out, err)
    with open(run.path("page.html")) as file:
        text = file.read()
    page = Page()
    page.feed(text)
    page.close()
    expect(page.open == [] and page.fetched == [], "left open %s, fetched %s", page.open, page.fetched)
    expect("&lt;Title&gt; &amp; more" in text and "no &lt;way&gt;" in text, "names are not escaped")
    expect(len(page.films) == 2, "%d films", len(page.films))
    names = sorted(os.listdir(run.path("films")))
    contents = sorted(base64.b64decode(film.split(",")[1]) for film in page.films)
    expect(contents == sorted(open(run.path("films/" + name), "rb").read() for name in names), "other films")
    drawings = re.findall(r"<svg.*?</svg>", text, re.S)
    expect(len(drawings) == 4, "%d drawings", len(drawings))
    for drawing in drawings:
        tree = xml.etree.ElementTree.fromstring(drawing)
        width, height = map(float, tree.attrib["viewBox"].split()[2:])
        for shape in tree.iter():
            x = float(shape.attrib.get("x", shape.attrib.get("cx", shape.attrib.get("x1", 0))))
            y = float(shape.attrib.get("y", shape.attrib.get("cy", shape.attrib.get("y1", 0))))
            expect(0 <= x <= width and 0 <= y <= height, "%s at %s, %s of %s x %s", shape.tag, x, y, width, height)
    bare = run.run("report a.db b.db -o bare.html")
    expect(bare[0] == 0 and "<video" not in open(run.path("bare.html")).read(), "films without --videos")
    code, out, err = run.run("report b.db -o lost.html --videos nowhere")
    expect(code == 1 and not os.path.exists(run.path("lost.html")), "exit status %d", code)
    expect_one_line(err, "nowhere: no such folder of films")
    # films that were tidied away are not shown
    os.remove(run.path("films/" + names[0]))
    expect(run.run("report a.db b.db -o page.html --videos films")[0] == 0, "a film is missing")
    expect(open(run.path("page.html")).read().count("<video") == 1, "films")


@special("report", "CSV and Markdown")
def as_tables(run):
    make_store(run)
    code, out, err = run.run("report a.db -o rows.csv -o tables.md -q")
    expect(code == 0 and out + err == "", "%s%s", out, err)
    with open(run.path("rows.csv"), newline="") as file:
        found = list(csv.DictReader(file))
    store = sqlite3.connect(run.path("a.db"))
    wanted = store.execute("SELECT %s FROM episodes" % ", ".join(COLUMNS)).fetchall()
    store.close()
    read = {(row["settings"], row["task"], row["camera"], row["seed"]): row for row in found}
    expect(len(found) == len(read) == len(wanted) == 32, "%d rows", len(found))
    for row in wanted:
        one = read[(row[0], row[1], row[2], str(row[3]))]
        for name, value in zip(COLUMNS, row):
            same = one[name] == ("" if value is None else str(value)) or (isinstance(value, float) and float(one[name]) == value)
            expect(same, "%s: %r, %r", name, one[name], value)
    code, out, err = run.run("report a.db")
    with open(run.path("tables.md")) as file:
        expect(file.read() == out, "standard output is not the file")
    for table in out.split("\n## ")[1:]:
        lines = [line for line in table.split("\n") if line.startswith("|")]
        expect(len({line.replace("\\|", "").count("|") for line in lines}) == 1 and len(lines) > 2, "%s", table[:300])


@special("report", "LeRobot's eval_info.json")
def eval_info(run):
    make_store(run)
    code, out, err = run.run("report a.db --baseline other -o eval_info.json -q")
    expect(code == 0, "%s", err)
    with open(run.path("eval_info.json")) as file:
        info = json.load(file)
    store = sqlite3.connect(run.path("a.db"))
    n, k, sums, most, seconds = store.execute("SELECT count(*), sum(success), avg(total_reward), avg(max_reward), sum(seconds) FROM episodes "
                                              "WHERE settings = '0123456789abcdef'").fetchone()
    store.close()
    for part in (info["overall"], info["aggregated"], info["per_group"]["metaworld"]):
        expect(abs(part["pc_success"] - 100 * k / n) < 1e-6 and abs(part["avg_sum_reward"] - sums) < 1e-4 and abs(part["avg_max_reward"] - most) < 1e-6, "%s", part)
        expect(abs(part["eval_s"] - seconds) < 1e-5 and abs(part["eval_ep_s"] - seconds / n) < 1e-6, "%s", part)
    expect(info["overall"]["n_episodes"] == n == len(info["per_episode"]), "%d episodes", n)
    expect(sum(one["success"] for one in info["per_episode"]) == k, "successes")
    expect(sum(sum(one["metrics"]["successes"]) for one in info["per_task"]) == k, "successes of tasks")
    expect([one["task"] for one in info["per_task"]] == ["button-press", "handle-press"], "tasks")


@special("report", "a disk that cannot be written")
def read_only(run):
    make_store(run)
    os.mkdir(run.path("shelf"))
    os.rename(run.path("a.db"), run.path("shelf/a.db"))
    os.chmod(run.path("shelf"), 0o555)
    code, out, err = run.run("report shelf/a.db")
    os.chmod(run.path("shelf"), 0o755)
    expect(code == 0 and "32 episodes" in out, "%s", err)
    expect(run.files() == ["shelf/a.db"], "files %s", run.files())


@special("report", "while episodes are added")
def busy(run):
    make_store(run)
    store = sqlite3.connect(run.path("a.db"))
    store.execute("BEGIN IMMEDIATE")
    store.execute("DELETE FROM episodes WHERE seed = 2")
    code, out, err = run.run("report a.db")
    expect(code == 0 and "32 episodes" in out, "%s%s", out[:200], err)
    store.rollback()
    store.close()


@special("report", "a damaged row")
def damaged(run):
    make_store(run)
    for column, value in (("plan_seconds", "'[1,2'"), ("steps", "-5"), ("task", "'%s'" % ("x" * 100)), ("plan_steps", "'[%s]'" % ",".join("1" * 70))):
        store = sqlite3.connect(run.path("a.db"))
        kept, = store.execute("SELECT %s FROM episodes WHERE rowid = 3" % column).fetchone()
        store.execute("UPDATE episodes SET %s = %s WHERE rowid = 3" % (column, value))
        store.commit()
        code, out, err = run.run("report a.db")
        expect(code == 1 and out == "", "%s: exit status %d", column, code)
        expect_one_line(err, "a.db: a value of column %s is out of range" % column)
        store.execute("UPDATE episodes SET %s = ? WHERE rowid = 3" % column, (kept,))
        store.commit()
        store.close()


case("report", "no store", "report", code=2, err="expected STORE.db")
case("report", "a store that is not there", "report none.db", code=1, err="none.db: No such file or directory")
case("report", "no store but a text", "report {no_npy}", code=1, err="no.npy: not a store of results")
case("report", "an empty file", "report {empty}", code=1, err="empty: holds no results")
case("report", "an unknown kind", "report a.db -o report.pdf", code=2, err="report.pdf: unknown kind of report, expected a name that ends with .md, .html, .json or .csv")
case("report", "two outputs of one name", "report a.db -o a.md -o ./a.md", code=2, err="two outputs have this name")
case("report", "nowhere to write", "report a.db -o nowhere/a.md", code=1, err="nowhere/a.md: cannot write")
