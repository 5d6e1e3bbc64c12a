"""Pictures of every kind, and what only looks like one; arrays that are broken or do not fit."""
import hostile  # noqa: F401, makes the inputs
from harness import case, expect, read_npy, special

GOOD = ["picture_grey", "picture_grey16", "picture_rgb16", "picture_alpha", "picture_bits", "picture_small", "picture_bomb", "jpeg_plain",
        "jpeg_rotated", "jpeg_grey", "jpeg_progressive", "jpeg_three"]
for name in GOOD:
    case("bad-image", name, "preprocess --preset mw -i {%s} -o C.npy" % name, files={"C.npy": (1, 128, 128, 3)}, out="^128x128  C.npy")
BAD = [
    ("picture_no_palette", "no_palette.png: damaged PNG: .*PLTE"),
    ("picture_one", "image of 1x1 .height x width. is too small, expected at least 16x16"),
    ("picture_none", "none.png: damaged PNG: Invalid IHDR"),
    ("picture_claims", "claims.png: picture of 2147483647x2147483647 .*, expected sides of 1..16384"),
    ("picture_claims_less", "claims_less.png: damaged PNG: Not enough image data"),
    ("picture_long", "long.png: picture of 1x100000 .*, expected sides of 1..16384"),
    ("picture_depth", "depth.png: damaged PNG: Invalid IHDR"),
    ("picture_header", "header.png: damaged PNG: the file is cut short"),
    ("picture_checksum", "checksum.png: damaged PNG: "),
    ("jpeg_cut", "cut.jpg: damaged JPEG: Premature end"),
    ("jpeg_header", "header.jpg: damaged JPEG: Premature end"),
    ("jpeg_bits", "bits.jpg: .*precision 12"),
    ("jpeg_four", "four.jpg: damaged JPEG: "),
    ("jpeg_cmyk", "cmyk.jpg: JPEG in CMYK, expected grey or RGB colours"),
    ("jpeg_zero", "zero.jpg: damaged JPEG: Empty JPEG image"),
    ("jpeg_huge", "huge.jpg: (damaged JPEG: Maximum|picture of 65535x65535)"),
]
for name, err in BAD:
    case("bad-image", name, "preprocess --preset mw -i {%s} -o C.npy" % name, code=1, err="^vipo preprocess: .*" + err)
    if name in ("picture_claims", "picture_checksum", "jpeg_cut", "jpeg_cmyk"):
        case("bad-image", "plan: " + name, "plan -m {model} -i {%s} -t a -s ddim -n 1 -o a.gif" % name, code=1, err=err)


@special("bad-image", "the orientation that a camera notes is not applied: AVDC does not either")
def _(run):
    values = []
    for name in ("jpeg_plain", "jpeg_rotated"):
        code, _, err = run.run("preprocess --preset mw -i {%s} -o C.npy -q" % name)
        expect(code == 0, "exit status %d: %s", code, err)
        values.append(read_npy(run.path("C.npy")))
    expect(values[0] == values[1], "the frames differ")


PLAN = "plan -m {model} -i {image} -t a -s ddim -n 1 -o V.npy --noise {%s}"
EXPECTED = [
    ("array_object", r"object.npy: dtype '\|O', expected one of f2 f4"),
    ("array_complex", "complex.npy: dtype '<c8', expected one of"),
    ("array_string", "string.npy: dtype '<U4', expected one of"),
    ("array_structured", "structured.npy: structured dtype, expected one of"),
    ("array_long", "long.npy: too long: 344068 bytes of elements, expected 344064"),
    ("array_flat", r"noise: expected shape \[1\]\[7\]\[64\]\[64\]\[3\], found \[86016\]"),
    ("array_scalar", r"noise: expected shape \[1\]\[7\]\[64\]\[64\]\[3\], found a single number"),
    ("array_empty", "empty.npy: dimension 0 is 0"),
    ("array_deep", "deep.npy: more than 6 dimensions"),
    ("array_huge", "huge.npy: the shape in the .npy header overflows"),
    ("array_claims", "claims.npy: truncated: 4 bytes of elements, expected 344064000000"),
    ("array_negative", "negative.npy: .npy header, .*expected a tuple of sizes"),
    ("array_nan", "noise: element 7 is not a finite number"),
    ("array_infinite", "noise: element 0 is not a finite number"),
]
for name, err in EXPECTED:
    case("bad-array", name, PLAN % name, code=1, err=err)
case("bad-array", "header of version 2", PLAN % "array_version", out="ddim-1", files={"V.npy": (1, 7, 64, 64, 3)})
case("bad-array", "integers", PLAN % "array_integers", out="ddim-1", files={"V.npy": (1, 7, 64, 64, 3)})
case("bad-array", "a NaN in the condition frame", "plan -m {model} --cond {cond_nan} -t a -s ddim -n 1 -o V.npy", code=1,
     err="cond.*element 0 is not a finite number")
case("bad-array", "a NaN in the tokens", "plan -m {model} -i {image} --tokens {tokens_nan} -s ddim -n 1 -o V.npy", code=1,
     err="tokens: element 0 is not a finite number")
case("bad-array", "too many tokens", "plan -m {model} -i {image} --tokens {tokens_many} -s ddim -n 1 -o V.npy", code=1,
     err=r"tokens: expected shape \[1\]\[L in 1..512\]\[128\], found .*\[2000\]")
case("bad-array", "tokens of two texts", "plan -m {model} -i {image} --tokens {tokens_none} -s ddim -n 1 -o V.npy", code=1,
     err="tokens: expected one text")
case("bad-array", "step noise of one step", "plan -m {model} -i {image} -t a --step-noise {noise} -s ddpm -o V.npy", code=1,
     err=r"step noise: expected shape \[99\]\[1\]\[7\]\[64\]\[64\]\[3\], found \[1\]\[7\]")
DENOISE = "denoise -m {model} --x {%s} --cond {%s} --tokens {tokens} --t 1 -o V.npy --dump d"
case("bad-array", "denoise: a NaN in x", DENOISE % ("array_nan", "cond"), code=1, err="x: element 7 is not a finite number")
case("bad-array", "denoise: a NaN in cond", DENOISE % ("noise", "cond_nan"), code=1, err="cond: element 0 is not a finite number")
case("bad-array", "denoise: an object", DENOISE % ("array_object", "cond"), code=1, err="object.npy: dtype")


@special("bad-array", "byte order and order of elements do not matter")
def _(run):
    plans = []
    for name in ("little_endian", "big_endian", "fortran"):
        code, _, err = run.run(PLAN % ("array_" + name) + " -q")
        expect(code == 0, "%s: exit status %d: %s", name, code, err)
        plans.append(read_npy(run.path("V.npy")))
    expect(plans[0] == plans[1] == plans[2], "the plans differ")
