"""Inputs that are broken, lie or attack, made when a case asks for them ({name}); used by cases_bad_*.py."""
import json
import os
import pickle
import struct
import zipfile
import zlib

from harness import SOURCE, made, write_npy

# ---- safetensors and model folders ----------------------------------------------------------------------


def read_safetensors(path):
    """-> header as a dict, the bytes after it"""
    with open(path, "rb") as f:
        content = f.read()
    length = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8:8 + length]), content[8 + length:]


def write_safetensors(path, header, data, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text) if length is None else length) + text + data)


MODEL_FILES = ("config.json", "unet.safetensors", "text_encoder.safetensors", "vocab.json", "merges.txt")


def bad_model(name, file):
    """The decorated function(model, path) writes one file of a model folder whose others are links to the good ones;
    {name} is the folder. A function that writes nothing leaves the file out."""
    def add(function):
        def make(at, folder):
            os.mkdir(folder)
            for other in MODEL_FILES:
                if other != file:
                    os.symlink(os.path.join(at["model"], other), os.path.join(folder, other))
            function(at["model"], os.path.join(folder, file))
        made(name)(make)
        return function
    return add


def bad_file(name, file, content):
    @bad_model(name, file)
    def _(model, path):
        with open(path, "wb") as f:
            f.write(content)


def bad_config(name, *place_and_value):
    """One member of config.json set to something else, given as its path and its JSON text."""
    *place, value = place_and_value

    @bad_model(name, "config.json")
    def _(model, path):
        with open(os.path.join(model, "config.json")) as f:
            config = json.load(f)
        at = config
        for part in place[:-1]:
            at = at[part]
        at[place[-1]] = "@@"
        with open(path, "w") as f:
            f.write(json.dumps(config).replace('"@@"', value))


def bad_tensors(name, file="unet.safetensors"):
    """The decorated function(header, data) changes the header of a weight file, or returns (header, data[, length])."""
    def add(function):
        @bad_model(name, file)
        def _(model, path):
            header, data = read_safetensors(os.path.join(model, file))
            changed = function(header, data)
            write_safetensors(path, *(changed or (header, data)))
        return function
    return add


bad_model("config_missing", "config.json")(lambda model, path: None)
bad_model("config_folder", "config.json")(lambda model, path: os.mkdir(path))
bad_model("config_pipe", "config.json")(lambda model, path: os.mkfifo(path))
bad_file("config_empty", "config.json", b"")
bad_file("config_bytes", "config.json", b'{"name": "\xff\xfe"}')
bad_file("config_deep", "config.json", b"[" * 100000)
bad_file("config_deep_objects", "config.json", b'{"a":' * 100000)
bad_file("config_null", "config.json", b"null")
bad_file("config_list", "config.json", b"[]")
bad_file("config_twice", "config.json", b'{"image": {}, "image": {}}')
bad_file("config_nul", "config.json", b'{"name": "a\\u0000b", "a\\u0000b": 1}')
bad_config("config_infinite", "diffusion", "timesteps", "1e999")
bad_config("config_huge", "unet", "model_channels", "9" * 30)
bad_config("config_large", "unet", "model_channels", "2147483648")
bad_config("config_negative", "image", "height", "-64")
bad_config("config_text", "unet", "num_res_blocks", '"two"')
bad_config("config_other_size", "unet", "model_channels", "64")
bad_config("config_other_text", "text_encoder", "hidden_size", "64")
bad_config("config_few_words", "text_encoder", "vocab_size", "100")
bad_config("config_escape", "unet", "num_res_blocks", '"\\u001b[2J\\u009b2J\\n\\u202e"')

FIRST = "time_embed.0.weight"  # [128, 32], F16


@bad_tensors("unet_cut_header")
def _(header, data):
    return json.dumps(header).encode()[:1000], b"", len(json.dumps(header))


@bad_tensors("unet_long_header")
def _(header, data):
    return header, data, 2 ** 63


@bad_tensors("unet_short_header")
def _(header, data):
    return header, data, 100


@bad_tensors("unet_no_header")
def _(header, data):
    return b"", b"", 0


@bad_tensors("unet_bytes_header")
def _(header, data):
    return b'{"a\xff": {}}', b""


@bad_tensors("unet_deep_header")
def _(header, data):
    return b'{"a":' * 50000, b""


@bad_tensors("unet_overlap")
def _(header, data):
    a, b = sorted(header)[1:3]
    header[b] = dict(header[a])


@bad_tensors("unet_hole")
def _(header, data):
    for entry in header.values():
        if "data_offsets" in entry:
            entry["data_offsets"] = [n + 2 for n in entry["data_offsets"]]
    return header, b"\0\0" + data


@bad_tensors("unet_after")
def _(header, data):
    return header, data + b"x"


@bad_tensors("unet_twice")
def _(header, data):
    text = json.dumps(header)
    return text[:-1].encode() + b', "%s": %s}' % (FIRST.encode(), json.dumps(header[FIRST]).encode()), data


@bad_tensors("unet_renamed")
def _(header, data):
    header["time_embed.0.wait"] = header.pop(FIRST)


@bad_tensors("unet_extra")
def _(header, data):
    header["a\x1b[31mb\u009b2J\nc"] = {"dtype": "F16", "shape": [1], "data_offsets": [len(data), len(data) + 2]}
    return header, data + b"\0\0"


@bad_tensors("unet_shape")
def _(header, data):
    header[FIRST]["shape"] = header[FIRST]["shape"][::-1]


@bad_tensors("unet_overflow")
def _(header, data):
    header[FIRST]["shape"] = [2 ** 32, 2 ** 32, 2 ** 32]


@bad_tensors("unet_negative")
def _(header, data):
    header[FIRST]["shape"] = [-128, -32]


@bad_tensors("unet_dtype")
def _(header, data):
    header[FIRST]["dtype"] = "I16"


@bad_tensors("unet_f8")
def _(header, data):
    header[FIRST]["dtype"] = "F8_E4M3"


@bad_tensors("unet_f64")
def _(header, data):
    begin, end = header[FIRST]["data_offsets"]
    grown = 3 * (end - begin)
    for entry in header.values():
        if entry.get("data_offsets", [0])[0] > begin:
            entry["data_offsets"] = [n + grown for n in entry["data_offsets"]]
    header[FIRST].update(dtype="F64", data_offsets=[begin, end + grown])
    return header, data[:begin] + b"\0" * (end - begin + grown) + data[end:]


def poison(bits):
    def change(header, data):
        begin = header[FIRST]["data_offsets"][0]
        return header, data[:begin + 10] + struct.pack("<H", bits) + data[begin + 12:]
    return change


bad_tensors("unet_nan")(poison(0x7e00))
bad_tensors("unet_infinite")(poison(0xfc00))


@bad_model("unet_cut", "unet.safetensors")
def _(model, path):
    with open(os.path.join(model, "unet.safetensors"), "rb") as f, open(path, "wb") as g:
        g.write(f.read()[:-1])


bad_file("unet_empty", "unet.safetensors", b"")
bad_model("unet_folder", "unet.safetensors")(lambda model, path: os.mkdir(path))
bad_model("unet_torch", "unet.safetensors")(lambda model, path: os.symlink(os.path.join(SOURCE, CHECKPOINT), path))


@bad_model("unet_sparse", "unet.safetensors")  # claims a terabyte and has it, as a hole
def _(model, path):
    size = 1 << 40
    write_safetensors(path, {FIRST: {"dtype": "F16", "shape": [size // 2], "data_offsets": [0, size]}}, b"")
    os.truncate(path, os.path.getsize(path) + size)


TEXT = "text_encoder.safetensors"
bad_file("text_empty", TEXT, b"")


@bad_tensors("text_shape", TEXT)
def _(header, data):
    entry = header["text_model.final_layer_norm.weight"]
    entry["shape"] = [entry["shape"][0] // 2, 2]


@bad_tensors("text_missing", TEXT)
def _(header, data):
    header["a"] = header.pop("text_model.final_layer_norm.weight")


@bad_tensors("text_nan", TEXT)
def _(header, data):
    begin = header["text_model.final_layer_norm.weight"]["data_offsets"][0]
    return header, data[:begin] + b"\0\x7e" + data[begin + 2:]


bad_model("vocab_missing", "vocab.json")(lambda model, path: None)
bad_model("merges_missing", "merges.txt")(lambda model, path: None)
bad_file("vocab_cut", "vocab.json", b'{"a": 1, "b"')
bad_file("vocab_bytes", "vocab.json", b'{"\xff": 1}')
bad_file("vocab_id", "vocab.json", b'{"a": 1e99}')
bad_file("vocab_ids", "vocab.json", b'{"a": 1, "b": 1}')
bad_file("vocab_few", "vocab.json", b'{"a": 1}')
bad_file("merges_line", "merges.txt", b"#version: 0.2\nt h\nth\n")
bad_file("merges_unknown", "merges.txt", b"t h\nqqq zzz\n")
bad_file("merges_bytes", "merges.txt", b"\xff\x00 \x1b[2J\n")

# ---- checkpoints ----------------------------------------------------------------------------------------

CHECKPOINT = "tests/golden/unet/square.model-24.pt"


def write_checkpoint(path, data, *more):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", data)
        for name, content in more:
            archive.writestr(name, content)


def bad_pickle(name, data):
    made("pickle_" + name, name + ".pt")(lambda at, path: write_checkpoint(path, data))


COMMAND = b"touch pickle-was-run"
TEXT_COMMAND = b"X" + struct.pack("<I", len(COMMAND)) + COMMAND
PYTHON = b"open('pickle-was-run', 'w')"
TEXT_PYTHON = b"X" + struct.pack("<I", len(PYTHON)) + PYTHON

bad_pickle("global", b"\x80\x02cos\nsystem\n" + TEXT_COMMAND + b"\x85R.")
bad_pickle("stack_global", b"\x80\x04\x8c\x02os\x8c\x06system\x93" + TEXT_COMMAND + b"\x85R.")
bad_pickle("inst", b"\x80\x02(" + TEXT_COMMAND + b"ios\nsystem\n.")
bad_pickle("obj", b"\x80\x02(cos\nsystem\n" + TEXT_COMMAND + b"o.")
bad_pickle("newobj", b"\x80\x02cbuiltins\neval\n" + TEXT_PYTHON + b"\x85\x81.")
bad_pickle("eval", b"\x80\x02cbuiltins\neval\n" + TEXT_PYTHON + b"\x85R.")
bad_pickle("exec2", b"\x80\x02c__builtin__\nexec\n" + TEXT_PYTHON + b"\x85R.")
bad_pickle("ext", b"\x80\x02\x82\x01.")
bad_pickle("text0", b"cos\nsystem\n(S'touch pickle-was-run'\ntR.")
bad_pickle("hidden", pickle.dumps({"a": 1}, protocol=2)[:-1] + b"0cos\nsystem\n" + TEXT_COMMAND + b"\x85R.")
bad_pickle("storage", b"\x80\x02ctorch\nFloatStorage\n)R.")
bad_pickle("rebuild", b"\x80\x02}U\x01actorch._utils\n_rebuild_tensor_v2\n(K\x01NNNNNtRs.")
bad_pickle("rebuild_none", b"\x80\x02}U\x01actorch._utils\n_rebuild_tensor_v2\n)Rs.")
bad_pickle("rebuild_no_tuple", b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nK\x01R.")
bad_pickle("build", b"\x80\x02ctorch\nSize\n)R}b.")
bad_pickle("cut", b"\x80\x02}U\x01a")
bad_pickle("empty", b"")
bad_pickle("number", b"\x80\x02K\x01.")
bad_pickle("length", b"\x80\x04\x8d" + struct.pack("<Q", 2 ** 63) + b"a.")
bad_pickle("memo", b"\x80\x02}r\xff\xff\xff\x7f.")
bad_pickle("escape", b"\x80\x02co\x1b[2Js\nsys\xfftem\n.")


@made("zip_bomb", "bomb.pt")
def _(at, path):
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(96)) + packer.flush()
    write_zip(path, [PICKLE, ("a/data/0", packed, {"method": 8, "size": 96 << 20})])


@made("zip_bomb_pickle", "bomb_pickle.pt")  # the pickle itself: 66 MB, a list of ever more Nones
def _(at, path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("a/data.pkl", b"\x80\x02(" + b"N" * (66 << 20) + b"l.")


@made("zip_entries", "entries.pt")  # 200001 empty entries, counted in 64 bits
def _(at, path):
    first = b"PK\3\4\x14\0" + bytes(20) + struct.pack("<HH", 10, 0) + b"a/data.pkl"
    n = 200001
    directory = b"".join(b"PK\1\2\x14\0\x14\0" + bytes(20) + b"\x08\0" + bytes(16) + b"a/%06d" % i for i in range(n))
    end64 = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, n, n, len(directory), len(first))
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, len(first) + len(directory), 1)
    end = b"PK\5\6" + bytes(4) + b"\xff" * 12 + bytes(2)
    write_bytes(path, first + directory + end64 + locator + end)


def write_zip(path, entries, **end):
    """entries: (name, bytes as stored, fields of the central directory that are not as they should be)"""
    with open(path, "wb") as f:
        directory = b""
        for name, stored, lies in entries:
            fields = {"method": 0, "flags": 0, "crc": zlib.crc32(stored), "packed": len(stored), "size": len(stored),
                      "extra": b"", "offset": f.tell()}
            fields.update(lies)
            head = struct.pack("<HHHHHIII", 20, fields["flags"], fields["method"], 0, 0, fields["crc"], fields["packed"],
                               fields["size"])
            if "offset" not in lies:
                f.write(b"PK\3\4" + head + struct.pack("<HH", len(name), 0) + name.encode() + stored)
            directory += b"PK\1\2" + struct.pack("<H", 20) + head + struct.pack(
                "<HHHHHII", len(name), len(fields["extra"]), 0, 0, 0, 0, fields["offset"]) + name.encode() + fields["extra"]
        start = f.tell()
        n = min(len(entries), 0xffff)
        f.write(directory + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, end.get("count", n), end.get("count", n),
                                                     end.get("size", len(directory)), end.get("start", start), 0))


def bad_zip(name, *entries, **end):
    made("zip_" + name, name + ".pt")(lambda at, path: write_zip(path, list(entries), **end))


PICKLE = ("a/data.pkl", b"\x80\x02}.", {})
LARGE = struct.pack("<HHQQQ", 1, 24, 1 << 62, 1 << 62, 0)  # zip64: sizes and place
bad_zip("checksum", ("a/data.pkl", b"\x80\x02}.", {"crc": 1}))
bad_zip("longer", ("a/data.pkl", b"\x80\x02}.", {"size": 400, "packed": 400}))
bad_zip("offset", PICKLE, ("a/data/0", b"", {"offset": 1 << 30, "size": 64, "packed": 64}))
bad_zip("zip64", PICKLE, ("a/data/0", b"0" * 64, {"size": 0xffffffff, "packed": 0xffffffff, "extra": LARGE}))
bad_zip("count", PICKLE, count=3)
bad_zip("directory", PICKLE, size=1 << 30)
bad_zip("start", PICKLE, start=1 << 30)
bad_zip("way_out", PICKLE, ("a/../../evil", b"x", {}))
bad_zip("absolute", ("/tmp/evil", b"x", {}), PICKLE)
bad_zip("twice", PICKLE, PICKLE)
bad_zip("encrypted", ("a/data.pkl", b"\x80\x02}.", {"flags": 1}))
bad_zip("method", ("a/data.pkl", b"\x80\x02}.", {"method": 93}))
bad_zip("deflate", ("a/data.pkl", b"\xff\xff\xff\xff", {"method": 8, "size": 4}))
bad_zip("no_pickle", ("a/x", b"x", {}))
made("zip_nested", "nested.pt")(lambda at, path: write_nested(path))


def write_nested(path):
    write_zip(path + ".inner", [PICKLE])
    with open(path + ".inner", "rb") as f:
        write_zip(path, [("a/data.pkl", f.read(), {})])


@made("pt_cut_end", "cut_end.pt")
def _(at, path):
    with open(at["checkpoint"], "rb") as f, open(path, "wb") as g:
        g.write(f.read()[:100000])


@made("pt_flipped", "flipped.pt")  # one bit of a storage
def _(at, path):
    with open(at["checkpoint"], "rb") as f:
        content = bytearray(f.read())
    with zipfile.ZipFile(at["checkpoint"]) as archive:
        for entry in archive.infolist():  # all of them: whichever the network reads
            if "/data/" in entry.filename and entry.file_size > 100:
                content[entry.header_offset + 30 + len(entry.filename) + 90] ^= 1
    with open(path, "wb") as f:
        f.write(content)


made("pt_legacy", "legacy.pt")(lambda at, path: write_bytes(path, b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M"))


def write_bytes(path, content):
    with open(path, "wb") as f:
        f.write(content)

# ---- pictures -------------------------------------------------------------------------------------------


def png(width, height, depth, colour, rows, more=b"", interlace=0, data=None):
    """A PNG file; rows: bytes of all rows, without the filter bytes."""
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    if data is None:
        step = len(rows) // height
        data = zlib.compress(b"".join(b"\0" + rows[i * step:(i + 1) * step] for i in range(height)))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))
            + more + chunk(b"IDAT", data) + chunk(b"IEND", b""))


def picture(name, content):
    made("picture_" + name, name + ".png")(lambda at, path: write_bytes(path, content()))


SIDE = 240 * 320
picture("grey", lambda: png(320, 240, 8, 0, bytes(i % 251 for i in range(SIDE))))
picture("grey16", lambda: png(320, 240, 16, 0, bytes(i % 251 for i in range(2 * SIDE))))
picture("rgb16", lambda: png(320, 240, 16, 2, bytes(i % 251 for i in range(6 * SIDE))))
picture("alpha", lambda: png(320, 240, 8, 6, bytes(i % 251 for i in range(4 * SIDE))))
picture("bits", lambda: png(320, 240, 1, 0, bytes(i % 251 for i in range(SIDE // 8))))
picture("no_palette", lambda: png(320, 240, 8, 3, bytes(SIDE)))
picture("one", lambda: png(1, 1, 8, 2, b"\1\2\3"))
picture("small", lambda: png(20, 20, 8, 2, bytes(1200)))
picture("none", lambda: png(0, 0, 8, 2, b"", data=b""))
picture("claims", lambda: png(2 ** 31 - 1, 2 ** 31 - 1, 8, 2, b"", data=zlib.compress(bytes(1000))))
picture("claims_less", lambda: png(16384, 4096, 8, 2, b"", data=zlib.compress(bytes(1000))))
picture("bomb", lambda: png(64, 64, 8, 2, b"", data=zlib.compress(bytes(16 << 20), 1)))
picture("long", lambda: png(100000, 1, 8, 2, bytes(300000)))
picture("depth", lambda: png(320, 240, 7, 2, bytes(3 * SIDE)))
picture("header", lambda: png(320, 240, 8, 2, bytes(3 * SIDE))[:25])


@made("picture_checksum", "checksum.png")
def _(at, path):
    content = bytearray(png(320, 240, 8, 2, bytes(3 * SIDE)))
    content[-20] ^= 1
    write_bytes(path, content)


def golden_jpeg():
    with open(os.path.join(SOURCE, "tests", "golden", "media", "240x320.rgb.jpg"), "rb") as f:
        return bytearray(f.read())


def jpeg(name, change):
    @made("jpeg_" + name, name + ".jpg")
    def _(at, path):
        content = golden_jpeg()
        write_bytes(path, change(content) or content)


def frame_header(content):
    return next(i for i in range(len(content) - 1) if content[i] == 0xff and content[i + 1] in (0xc0, 0xc2))


def set_byte(offset, value):
    def change(content):
        content[frame_header(content) + offset] = value
    return change


# byte order, one entry: orientation (0x112), a short, 6 = rotated by 90 degrees
EXIF = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
jpeg("rotated", lambda c: c[:2] + b"\xff\xe1" + struct.pack(">H", len(EXIF) + 2) + EXIF + c[2:])
jpeg("plain", lambda c: c)
jpeg("cut", lambda c: c[:len(c) // 2])
jpeg("header", lambda c: c[:4])
jpeg("bits", set_byte(4, 12))
jpeg("four", set_byte(9, 4))
jpeg("zero", lambda c: c[:frame_header(c) + 5] + b"\0\0\0\0" + c[frame_header(c) + 9:])
jpeg("huge", lambda c: c[:frame_header(c) + 5] + b"\xff\xff\xff\xff" + c[frame_header(c) + 9:])

def tiny_jpeg(frame, components):
    """16x16 pixels of blocks whose only coefficient is 0: every code is the bit 0."""
    def segment(kind, content):
        return b"\xff" + bytes([kind]) + struct.pack(">H", len(content) + 2) + content
    one_code = bytes([1]) + bytes(15) + b"\0"
    scan = bytes([components]) + b"".join(bytes([i + 1, 0]) for i in range(components))
    scan += b"\0\0\0" if frame == 0xc2 else b"\0\x3f\0"
    bits = 4 * components * (1 if frame == 0xc2 else 2)
    tables = segment(0xdb, b"\0" + b"\1" * 64) + segment(0xc4, b"\0" + one_code + b"\x10" + one_code)
    sizes = struct.pack(">BHHB", 8, 16, 16, components) + b"".join(bytes([i + 1, 0x11, 0]) for i in range(components))
    data = bytes(bits // 8) + (bytes([0xff >> bits % 8]) if bits % 8 else b"")
    return b"\xff\xd8" + tables + segment(frame, sizes) + segment(0xda, scan) + data + b"\xff\xd9"


for name, frame, components in (("grey", 0xc0, 1), ("progressive", 0xc2, 1), ("cmyk", 0xc0, 4), ("three", 0xc0, 3)):
    made("jpeg_" + name, name + ".jpg")(lambda at, path, f=frame, c=components: write_bytes(path, tiny_jpeg(f, c)))

# ---- arrays ---------------------------------------------------------------------------------------------


def array_header(text, version=1):
    head = text.encode("latin-1")
    head += b" " * (63 - (10 + len(head)) % 64) + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(head)) + head


def array(name, descr, shape, content, order="False", version=1):
    head = array_header("{'descr': %s, 'fortran_order': %s, 'shape': %s, }" % (descr, order, shape), version)
    made("array_" + name, name + ".npy")(lambda at, path: write_bytes(path, head + content()))


VIDEO = "(1, 7, 64, 64, 3)"
COUNT = 7 * 64 * 64 * 3
RAMP = [(i * 37 % 1000 - 500) / 250 for i in range(COUNT)]
TURNED = [RAMP[((f * 64 + y) * 64 + x) * 3 + c] for c in range(3) for x in range(64) for y in range(64) for f in range(7)]
array("object", "'|O'", VIDEO, lambda: pickle.dumps([Touch()]))
array("complex", "'<c8'", VIDEO, lambda: bytes(8 * COUNT))
array("string", "'<U4'", VIDEO, lambda: bytes(16 * COUNT))
array("structured", "[('a', '<f4')]", VIDEO, lambda: bytes(4 * COUNT))
array("integers", "'|u1'", VIDEO, lambda: bytes(COUNT))
array("long", "'<f4'", VIDEO, lambda: bytes(4 * COUNT + 4))
array("flat", "'<f4'", "(%d,)" % COUNT, lambda: bytes(4 * COUNT))
array("scalar", "'<f4'", "()", lambda: bytes(4))
array("empty", "'<f4'", "(0, 7, 64, 64, 3)", bytes)
array("deep", "'<f4'", "(1, 1, 1, 7, 64, 64, 3)", lambda: bytes(4 * COUNT))
array("big_endian", "'>f4'", VIDEO, lambda: struct.pack(">%df" % COUNT, *RAMP))
array("little_endian", "'<f4'", VIDEO, lambda: struct.pack("<%df" % COUNT, *RAMP))
array("fortran", "'<f4'", VIDEO, lambda: struct.pack("<%df" % COUNT, *TURNED), order="True")
array("huge", "'<f4'", "(4294967296, 4294967296, 4294967296)", lambda: bytes(4))
array("claims", "'<f4'", "(1000000, 7, 64, 64, 3)", lambda: bytes(4))
array("negative", "'<f4'", "(-1, 7, 64, 64, 3)", lambda: bytes(4 * COUNT))
array("version", "'<f4'", VIDEO, lambda: bytes(4 * COUNT), version=2)
made("array_nan", "nan.npy")(lambda at, path: write_npy(path, (1, 7, 64, 64, 3), [0] * 7 + [float("nan")] + [0] * (COUNT - 8)))
made("array_infinite", "infinite.npy")(lambda at, path: write_npy(path, (1, 7, 64, 64, 3), [float("-inf")] + [0] * (COUNT - 1)))
made("cond_nan", "cond_nan.npy")(lambda at, path: write_npy(path, (1, 64, 64, 3), [float("nan")] * (64 * 64 * 3)))
made("cond_levels", "cond_levels.npy")(lambda at, path: write_npy(path, (1, 64, 64, 3), [255.0] * (64 * 64 * 3)))
made("tokens_nan", "tokens_nan.npy")(lambda at, path: write_npy(path, (1, 4, 128), [float("nan")] * 512))
made("tokens_many", "tokens_many.npy")(lambda at, path: write_npy(path, (1, 2000, 128), [0.0] * 256000))
made("tokens_none", "tokens_none.npy")(lambda at, path: write_npy(path, (2, 4, 128), [0.0] * 1024))


class Touch:
    def __reduce__(self):
        return os.system, (COMMAND.decode(),)


@made("evil_clip")
def _(at, folder):
    os.mkdir(folder)
    for name in ("config.json", "vocab.json", "merges.txt"):
        os.symlink(os.path.join(at["clip"], name), os.path.join(folder, name))
    write_checkpoint(os.path.join(folder, "pytorch_model.bin"), b"\x80\x02cos\nsystem\n" + TEXT_COMMAND + b"\x85R.")


@made("null_gif", "null.gif")
def _(at, path):
    os.symlink("/dev/null", path)
