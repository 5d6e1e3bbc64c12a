"""PyTorch checkpoints that attack, lie or are broken. Nothing in them is run: what they would run makes a file in the
folder of the case, and a case accepts no files but those it names."""
import hostile  # noqa: F401, makes the inputs
from harness import case

REFUSED = r"data.pkl: refused, its pickle refers to %s \(byte \d+\), expected only what tensors .* nothing was run"
EXPECTED = [
    ("pickle_global", REFUSED % "os.system"),
    ("pickle_stack_global", REFUSED % "os.system"),
    ("pickle_inst", REFUSED % "os.system"),
    ("pickle_obj", REFUSED % "os.system"),
    ("pickle_newobj", REFUSED % "builtins.eval"),
    ("pickle_eval", REFUSED % "builtins.eval"),
    ("pickle_exec2", REFUSED % "__builtin__.exec"),
    ("pickle_hidden", REFUSED % "os.system"),
    ("pickle_escape", REFUSED % r"o\?\[2Js.sys\?tem"),
    ("pickle_ext", "data.pkl: broken pickle, byte 2: opcode 0x82"),
    ("pickle_text0", "data.pkl: no pickle of protocols 2 to 5"),
    ("pickle_storage", "refused, its pickle calls torch.FloatStorage .*, which may only be named"),
    ("pickle_rebuild", "tensor a: has no storage"),
    ("pickle_rebuild_none", "tensor a: has no storage"),
    ("pickle_rebuild_no_tuple", "broken pickle, byte 37: the arguments of a call are no tuple"),
    ("pickle_build", "broken pickle, byte 17: state for something that is no dict"),
    ("pickle_cut", "broken pickle, byte 6: truncated, it ends without STOP"),
    ("pickle_empty", "truncated pickle"),
    ("pickle_number", "holds an integer, expected a dict of tensors"),
    ("pickle_length", "truncated pickle"),
    ("pickle_memo", "a memo index beyond the number of values"),
    ("zip_bomb", r"a zip bomb: \d+ bytes that say they unpack to 100663\d+, expected at most 32 times the size"),
    ("zip_bomb_pickle", r"data.pkl has 692060\d\d bytes, expected at most 67108864"),
    ("zip_entries", r"a zip archive of 200001 entries, expected 1 to 200000"),
    ("zip_nested", "data.pkl: no pickle of protocols 2 to 5"),
    ("zip_checksum", "entry a/data.pkl: damaged: CRC error"),
    ("zip_longer", "entry a/data.pkl: says it has 400 bytes, the file has 122"),
    ("zip_zip64", "truncated or damaged zip archive"),
    ("zip_count", "truncated or damaged zip archive"),
    ("zip_directory", "truncated or damaged zip archive"),
    ("zip_start", "truncated or damaged zip archive"),
    ("zip_way_out", r"entry a/../../evil: expected a name inside the archive's folder"),
    ("zip_absolute", "entry /tmp/evil: expected a name inside the archive's folder"),
    ("zip_twice", "entry a/data.pkl: is there twice"),
    ("zip_encrypted", "entry a/data.pkl: is encrypted"),
    ("zip_method", "entry a/data.pkl: expected a stored or deflated entry"),
    ("zip_deflate", "entry a/data.pkl: damaged: Zlib error"),
    ("zip_no_pickle", "not a PyTorch checkpoint: it has no a/data.pkl"),
    ("pt_cut_end", "truncated or damaged zip archive"),
    ("pt_legacy", "in PyTorch's format from before version 1.6"),
]
for name, err in EXPECTED:
    case("bad-checkpoint", "info: " + name, "info {%s}" % name, code=1, err=err)
    case("bad-checkpoint", "convert: " + name, "convert -c {%s} --config {sizes} -o out" % name, code=1, err=err)
case("bad-checkpoint", "convert: a storage with one wrong bit", "convert -c {pt_flipped} --config {sizes} -o out", code=1,
     err=r"flipped.pt: entry model-24/data/\d+: damaged: CRC error")
case("bad-checkpoint", "convert: an entry far beyond the end", "convert -c {zip_offset} --config {sizes} -o out", code=1)
case("bad-checkpoint", "convert: a CLIP folder with a pickle that wants to run something",
     "convert --from safetensors -c {model}/unet.safetensors --config {model}/config.json --clip {evil_clip} -o out", code=1,
     err=REFUSED % "os.system")
