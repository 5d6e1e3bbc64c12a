"""How convolutions are computed: measured once, stored, and the same from then on, in every process."""
import glob
import json
import os
import re

from harness import case, expect, expect_one_line, special

PLAN = "plan -m {model} -i {image} -t 'door open' -s ddim -n 1 "

case("tune", "fixed", PLAN + "--json", json={"methods": "fixed"})
case("tune", "fixed: said with --verbose", PLAN + "-o V.npy -v", err=r"methods fixed, \d+ thread", files={"V.npy": None})
case("tune", "info --verbose", "info {model} -v", out=r"\nmethods +fixed, kernels \w+\n  3x3 +6 -> +32  7 x +64 x +64 +1x  \w+\n")


def environment(run, **more):
    return dict(os.environ, VIPO_TUNE="on", VIPO_CACHE=run.path("cache"), **more)


def tuned(run, line, **more):
    """-> stderr, the JSON object"""
    code, out, err = run.run(line + " --json", env=environment(run, **more))
    expect(code == 0, "%s: exit status %d: %s", line, code, err)
    return err, json.loads(out)


def stored(run):
    """The file of choices -> its path, its content"""
    paths = glob.glob(run.path("cache/methods-*.json"))
    expect(len(paths) == 1, "files %s", run.files())
    with open(paths[0], encoding="utf-8") as file:
        return paths[0], json.load(file)


def expect_same_bytes(run, *names):
    contents = set()
    for name in names:
        with open(run.path(name), "rb") as file:
            contents.add(file.read())
    expect(len(contents) == 1, "%s differ", ", ".join(names))


@special("tune", "measured at the first plan, the same bytes from then on")
def _(run):
    err, first = tuned(run, PLAN + "-v -o first.npy --trace first.jsonl")
    expect(re.search(r"\nvipo plan: methods of \d+ layers measured in [0-9.]+ s, stored in [^\n]*cache/methods-\w+-[0-9a-f]{8}[.]json\n", "\n" + err),
           "stderr %r", err)
    expect(re.fullmatch("tuned [0-9a-f]{8}", first["methods"]), "methods %r", first["methods"])
    path, content = stored(run)
    expect(content["key"]["compute"] == first["compute"] and content["key"]["cores"] >= 1, "key %s", content["key"])
    expect(all(layer["milliseconds"][layer["method"]] > 0 for layer in content["layers"]), "layers %s", content["layers"])
    with open(run.path("first.jsonl"), encoding="utf-8") as file:
        end = json.loads(file.readlines()[-1])
    expect(end["methods"] == first["methods"] and end["compute"] == first["compute"], "end %s", end)
    with open(path, "rb") as file:
        before = file.read()
    for name, threads in ("second.npy", ""), ("third.npy", "--threads 1"):
        err, again = tuned(run, PLAN + "-v -o %s %s" % (name, threads))
        expect("measured" not in err and again["methods"] == first["methods"], "%s: %r, %s", name, err, again["methods"])
    expect_same_bytes(run, "first.npy", "second.npy", "third.npy")
    with open(path, "rb") as file:
        expect(file.read() == before, "the file was written again")
    methods = tuned(run, "info {model}")[1]["methods"]
    expect(methods["name"] == first["methods"] and methods["compute"] == first["compute"], "info %s", methods)
    expect(len([layer for layer in methods["layers"] if layer["seconds"]]) == len(content["layers"]), "info %s", methods)
    os.unlink(path)
    expect(tuned(run, "info {model}")[1]["methods"]["name"] == "untuned", "info measures")


@special("tune", "several processes that measure at once")
def _(run):
    line = PLAN + "--threads 1 --json -o %d.npy"
    processes = [run.start(line % i, env=environment(run)) for i in range(3)]
    names = set()
    for process in processes:
        code, out, err = run.finish(process)
        expect(code == 0 and err == "", "exit status %d: %r", code, err)
        names.add(json.loads(out)["methods"])
    expect(len(names) == 1 and names.pop().startswith("tuned "), "methods %s", names)
    expect_same_bytes(run, "0.npy", "1.npy", "2.npy")
    expect(len(os.listdir(run.path("cache"))) == 2, "files %s", run.files())


@special("tune", "a damaged file is written anew")
def _(run):
    tuned(run, PLAN)
    path, content = stored(run)
    with open(path, "r+b") as file:
        file.truncate(200)
    err, plan = tuned(run, PLAN)
    expect_one_line(err, "warning: [^\n]*methods-[^\n]*it is not used")
    expect(plan["methods"].startswith("tuned "), "methods %s", plan["methods"])
    again = stored(run)[1]
    expect([layer["kind"] for layer in again["layers"]] == [layer["kind"] for layer in content["layers"]], "layers %s", again)
    expect(tuned(run, PLAN)[0] == "", "a warning again")


@special("tune", "where nothing can be stored, the fixed choice")
def _(run):
    with open(run.path("file"), "w") as file:
        file.write("no folder\n")
    for folder in run.path("file"), run.path("file/below"), "/proc/vipo":
        code, out, err = run.run(PLAN + "--json", env=dict(environment(run), VIPO_CACHE=folder))
        expect(code == 0 and err == "" and json.loads(out)["methods"] == "fixed", "%s: %d %r %s", folder, code, err, out)
        code, out, err = run.run(PLAN + "--json -v", env=dict(environment(run), VIPO_CACHE=folder))
        expect(code == 0 and len(re.findall("methods are the fixed ones: [^\n]*cannot write", err)) == 1, "%s: %r", folder, err)


@special("tune", "off, other commands and kernels without a choice store nothing")
def _(run):
    for line, more in ((PLAN, {"VIPO_TUNE": "off"}), ("encode-text -m {model} -t door -o K.npy", {}),
                       (PLAN, {"VIPO_COMPUTE": "ref"}), ("info {model} -v", {}), ("preprocess --model {model} --image {image} -o C.npy", {})):
        code, out, err = run.run(line + " --json", env=dict(environment(run), **more))
        expect(code == 0, "%s: exit status %d: %s", line, code, err)
        if line == PLAN:
            expect(json.loads(out)["methods"] == "fixed", "%s: %s", more, out)
        expect(not os.path.exists(run.path("cache")), "%s: files %s", line, run.files())


@special("tune", "the folder by default")
def _(run):
    plain = {name: value for name, value in environment(run, HOME=run.path("home")).items() if name not in ("VIPO_CACHE", "XDG_CACHE_HOME")}
    code, _, err = run.run(PLAN + "--json", env=plain)
    expect(code == 0 and err == "", "exit status %d: %s", code, err)
    expect([name for name in run.files() if re.fullmatch(r"home/[.]cache/vipo/methods-\w+-[0-9a-f]{8}[.]json", name)], "files %s", run.files())


@special("tune", "an unknown wish")
def _(run):
    code, out, err = run.run(PLAN + "--json", env=dict(environment(run), VIPO_TUNE="yes"))
    expect(code == 1 and out == "", "exit status %d: %s", code, out)
    expect_one_line(err, '^vipo plan: VIPO_TUNE: "yes", expected on or off\n$')
    expect(run.files() == [], "files %s", run.files())
