#!/usr/bin/env python3
"""Fetches what the simulator needs into deps/: MuJoCo's C library and headers from its Python wheel, and Meta-World's
models. Wheels are downloaded through pip, so its configuration (mirrors, proxies) counts, and compared with the sums
below. Does nothing, and needs no network, when everything is there. Exit status 1: not all could be had; vipo can
then be built without the simulator."""
import hashlib
import os
import platform
import posixpath
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree
import zipfile

DEPS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "deps")
MUJOCO, METAWORLD = "3.3.0", "3.1.1"
MUJOCO_SUMS = {
    "x86_64": "1403630afb922ab2cb7aa7310b5cb596a5568ee4250f96e663c9f365353cab00",
    "aarch64": "ff984aaec2006effe12fbb8bc29fbc0abb82b4332891307d99e637791067e912",
}
METAWORLD_SUM = "99e25d9baf97f2f1a19ca89c0d2ca9c6a2b396d9a9be81729de64eedc683f0d3"
# The models of the tasks, in metaworld/assets/sawyer_xyz; what they name comes with them.
MODELS = """sawyer_assembly_peg sawyer_basketball sawyer_button_press sawyer_button_press_topdown sawyer_door_pull
sawyer_faucet sawyer_hammer sawyer_handle_press sawyer_shelf_placing""".split()


class Unavailable(Exception):
    pass


def download(requirement, wanted, folder, extra):
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
               "--only-binary=:all:", "--python-version", "3.11", "--dest", folder] + extra + [requirement]
    try:
        run = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             text=True, errors="replace", timeout=600)
    except subprocess.TimeoutExpired:
        raise Unavailable("downloading %s took more than 10 minutes" % requirement)
    wheels = [name for name in os.listdir(folder) if name.endswith(".whl")]
    if run.returncode or len(wheels) != 1:
        errors = [line for line in run.stdout.splitlines() if line.strip()]
        raise Unavailable("pip could not download %s: %s" % (requirement, errors[-1].strip() if errors else "no message"))
    path = os.path.join(folder, wheels[0])
    with open(path, "rb") as file:
        found = hashlib.sha256(file.read()).hexdigest()
    if found != wanted:
        raise Unavailable("%s: SHA-256 %s, expected %s" % (wheels[0], found, wanted))
    return zipfile.ZipFile(path)


def write(folder, name, content):
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)


def unpack_mujoco(wheel, folder):
    library = "libmujoco.so." + MUJOCO
    for name in wheel.namelist():
        parts = name.split("/")
        if name == "mujoco/" + library:
            write(folder, "lib/" + library, wheel.read(name))
        elif name.startswith("mujoco/include/mujoco/") and name.endswith(".h"):
            write(folder, "include/mujoco/" + parts[-1], wheel.read(name))
        elif parts[-1].startswith("LICENSE"):
            write(folder, parts[-1], wheel.read(name))


def unpack_metaworld(wheel, folder):
    """The models and every file that they name, directly or by inclusion; MuJoCo resolves all paths from the model."""
    names = set(wheel.namelist())
    waiting, done = ["sawyer_xyz/%s.xml" % model for model in MODELS], set()
    while waiting:
        name = waiting.pop()
        if name in done:
            continue
        done.add(name)
        if "metaworld/assets/" + name not in names:
            raise Unavailable("the wheel of metaworld %s lacks %s" % (METAWORLD, name))
        content = wheel.read("metaworld/assets/" + name)
        write(folder, "assets/" + name, content)
        if name.endswith(".xml"):
            for element in xml.etree.ElementTree.fromstring(content).iter():
                if "file" in element.attrib:
                    waiting.append(posixpath.normpath(posixpath.join("sawyer_xyz", element.attrib["file"])))
    for name in names:
        if name.endswith("/licenses/LICENSE"):
            write(folder, "LICENSE", wheel.read(name))


def install(name, requirement, wanted, extra, unpack):
    target = os.path.join(DEPS, name)
    if os.path.isdir(target):
        return
    print("setup: fetching %s" % requirement, flush=True)
    os.makedirs(DEPS, exist_ok=True)
    work = tempfile.mkdtemp(prefix=".new-", dir=DEPS)
    try:
        fresh = os.path.join(work, name)
        os.mkdir(fresh)
        with download(requirement, wanted, work, extra) as wheel:
            unpack(wheel, fresh)
        try:
            os.rename(fresh, target)
        except OSError:
            if not os.path.isdir(target):  # else another set-up was faster
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def main():
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    if machine not in MUJOCO_SUMS:
        raise Unavailable("there is no MuJoCo wheel for %s" % machine)
    install("mujoco-" + MUJOCO, "mujoco==" + MUJOCO, MUJOCO_SUMS[machine],
            ["--platform", "manylinux2014_" + machine], unpack_mujoco)
    install("metaworld-" + METAWORLD, "metaworld==" + METAWORLD, METAWORLD_SUM, [], unpack_metaworld)
    print("setup: MuJoCo %s and Meta-World %s are there" % (MUJOCO, METAWORLD))


if __name__ == "__main__":
    try:
        main()
    except (Unavailable, OSError, zipfile.BadZipFile, xml.etree.ElementTree.ParseError, KeyError) as problem:
        print("setup: warning: no simulator: %s" % " ".join(str(problem).split()), file=sys.stderr)
        sys.exit(1)
