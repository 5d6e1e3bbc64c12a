#!/usr/bin/env python3
"""test_reader.py VIPO: what train/data reads is what `vipo sim collect` wrote. Skipped (77) without NumPy, PyAV,
MuJoCo or OpenGL. `make test` has installed NumPy and PyAV for Debian's Python; if this one lacks them, that one goes on."""
import os
import subprocess
import sys
import tempfile

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(SOURCE, "train"), os.path.join(SOURCE, "tests", "support")]
import debian_python  # noqa: E402


def skip(why):
    print("skipped: %s" % why)
    sys.exit(77)


def collect(vipo, folder, *more):
    done = subprocess.run([vipo, "sim", "collect", "-o", folder, "-t", "handle-press", "-c", "corner,corner3", "-n", "1", "--size", "48x32",
                           "--picture", "64x48", "--max-frames", "12", "--shadow-size", "-1", *more],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode and ("built without MuJoCo" in done.stderr or "no OpenGL" in done.stderr):
        skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr


def fnv1a(data):
    """FNV-1a of 32 bits, as hexadecimal: what the index keeps of the pictures."""
    value = 2166136261
    for byte in data:
        value = (value ^ byte) * 16777619 & 0xffffffff
    return "%08x" % value


def main():
    try:
        import av  # noqa: F401
        import numpy as np
    except ImportError as problem:
        debian_python.missing("%s (scripts/setup.sh test)" % problem)
    from data import frame_numbers, open_clips, sample

    with tempfile.TemporaryDirectory() as folder:
        lossy, exact = os.path.join(folder, "lossy"), os.path.join(folder, "exact")
        collect(sys.argv[1], lossy)
        collect(sys.argv[1], exact, "--lossless")
        pairs = list(zip(open_clips(lossy), open_clips(exact)))
        assert len(pairs) == 2
        for a, b in pairs:
            x, y = a.frames(), b.frames()
            assert x.shape == y.shape == (a.info["frames"], 32, 48, 3) and x.dtype == np.uint8
            psnr = 10 * np.log10(255 ** 2 / np.mean((x.astype(float) - y) ** 2))
            print("%s: %.2f dB, the index says %.2f" % (a.camera, psnr, a.psnr))
            assert psnr > 38 and abs(psnr - a.psnr) < 0.3
            assert b.psnr is None
            assert a.drawn == b.drawn == fnv1a(y.tobytes()), (a.drawn, b.drawn)
        first, second = (b for _, b in pairs)
        assert (first.camera, second.camera) == ("corner", "corner3") and not np.array_equal(first.frames(), second.frames())
        assert [c.camera for c in open_clips(exact, cameras=["corner3"])] == ["corner3"]
        assert open_clips(exact, tasks=["hammer"]) == [] and len(open_clips(exact, seeds=[0])) == 2

        os.truncate(os.path.join(lossy, pairs[0][0].video), 300)
        try:
            pairs[0][0].frames()
        except (ValueError, av.FFmpegError):
            pass
        else:
            raise AssertionError("a clip that was cut off was read")

        states = first.states()
        steps = first.first_success + 10
        assert states["step/action"].shape == (steps, 4) and states["step/obs"].shape == (steps, 39)
        assert states["step/success"][first.first_success - 1] == 1 and not states["step/success"][:first.first_success - 1].any()
        assert states["video/step"].tolist() == first.steps and states["init/obs"].shape == (39,)

        rng = np.random.default_rng(0)
        texts = set()
        for _ in range(60):
            video, text = sample(first, rng, frames=first.frames())
            assert video.shape == (8, 32, 48, 3) and np.array_equal(video[-1], first.frames()[-1])
            texts.add(text)
        assert texts <= set(first.texts) and len(texts) > 5 and "handle press" in first.texts
        assert sample(first, rng, held_out=True)[1] in first.held_out_texts and not set(first.texts) & set(first.held_out_texts)
    assert frame_numbers(45, 0) == [0, 6, 12, 18, 25, 31, 37, 44]
    assert frame_numbers(10, 9) == [9] * 8
    print("done")


main()
