"""CLIP's byte-level BPE (Radford et al. 2021): reading, using and learning it.

Gives the ids of `vipo encode-text`; a learned vocabulary goes into a model folder as vocab.json and merges.txt.
"""

from __future__ import annotations

import collections
import json
import unicodedata
from pathlib import Path
from typing import Iterable

from .files import read_json, write_text

BEGIN, END = "<|startoftext|>", "<|endoftext|>"
ENDINGS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")
Pair = tuple[str, str]


def byte_symbols() -> list[str]:
    """A printable character for each byte: itself where it has one, else the next from U+0100 on."""
    printable = set(range(33, 127)) | set(range(161, 173)) | set(range(174, 256))
    others = iter(range(256, 512))
    return [chr(b) if b in printable else chr(next(others)) for b in range(256)]


SYMBOLS = byte_symbols()


def kind(char: str) -> str:
    """'L' letters, 'N' numbers, ' ' white space, '' others."""
    first = unicodedata.category(char)[0]
    if first in "LN":
        return first
    return " " if first == "Z" or char in "\t\n\v\f\r\x85" else ""


def words(text: str) -> list[str]:
    """Lower case, then runs of letters, single numbers, endings such as 's, runs of other characters."""
    text = "".join(c.lower() for c in unicodedata.normalize("NFC", text))
    out, i = [], 0
    while i < len(text):
        ending = next((e for e in ENDINGS if text.startswith(e, i)), None)
        if ending:
            end = i + len(ending)
        else:
            what, end = kind(text[i]), i + 1
            while what not in ("N", " ") and end < len(text) and kind(text[end]) == what:
                end += 1
            if what == " ":
                i = end
                continue
        out.append(text[i:end])
        i = end
    return out


def symbols_of(word: str) -> tuple[str, ...]:
    """Its bytes; the last one carries the end of the word."""
    symbols = [SYMBOLS[b] for b in word.encode()]
    return (*symbols[:-1], symbols[-1] + "</w>")


def join(symbols: tuple[str, ...], pair: Pair) -> tuple[str, ...]:
    """Each occurrence of the pair, from the left, becomes one symbol."""
    out, i = [], 0
    while i < len(symbols):
        if symbols[i : i + 2] == pair:
            out.append(pair[0] + pair[1])
            i += 2
        else:
            out.append(symbols[i])
            i += 1
    return tuple(out)


class Tokenizer:
    """vocab: token -> id; merges by rank."""

    def __init__(self, vocab: dict[str, int], merges: list[Pair]) -> None:
        self.vocab, self.merges = vocab, merges
        self.ranks = {pair: rank for rank, pair in enumerate(merges)}
        self.begin, self.end = vocab[BEGIN], vocab[END]
        self.known: dict[str, list[int]] = {}

    def word(self, word: str) -> list[int]:
        if word not in self.known:
            symbols = symbols_of(word)
            while len(symbols) > 1:
                best = min(zip(symbols, symbols[1:]), key=lambda pair: self.ranks.get(pair, len(self.ranks)))
                if best not in self.ranks:
                    break
                symbols = join(symbols, best)
            self.known[word] = [self.vocab[s] for s in symbols]
        return self.known[word]

    def encode(self, text: str, max_length: int = 77) -> list[int]:
        """Begin token, the text, end token; cut to max_length with the end token kept."""
        ids = [i for word in words(text) for i in self.word(word)]
        return [self.begin, *ids[: max_length - 2], self.end]

    def save(self, folder: str | Path) -> None:
        write_text(Path(folder) / "vocab.json", json.dumps(self.vocab, ensure_ascii=False))
        lines = ["#version: 0.2", *(" ".join(pair) for pair in self.merges)]
        write_text(Path(folder) / "merges.txt", "\n".join(lines) + "\n")


def load(folder: str | Path) -> Tokenizer:
    """From vocab.json and merges.txt."""
    folder = Path(folder)
    vocab = read_json(folder / "vocab.json")
    lines = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()
    pairs = [tuple(line.split()) for line in lines if line.strip() and not line.startswith("#version")]
    for name in (BEGIN, END, *SYMBOLS):
        if name not in vocab:
            raise ValueError(f"{folder / 'vocab.json'}: '{name}' is missing")
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError(f"{folder / 'merges.txt'}: expected two symbols in a line")
    return Tokenizer(vocab, pairs)  # type: ignore[arg-type]


def learn(texts: Iterable[str], most_merges: int = 500) -> Tokenizer:
    """The most frequent pair is merged, again and again; of equally frequent ones the first by its characters."""
    counts = collections.Counter(word for text in texts for word in words(text))
    split = {word: symbols_of(word) for word in counts}
    merges: list[Pair] = []
    while len(merges) < most_merges:
        pairs: collections.Counter[Pair] = collections.Counter()
        for word, symbols in split.items():
            for pair in zip(symbols, symbols[1:]):
                pairs[pair] += counts[word]
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        split = {word: join(symbols, best) for word, symbols in split.items()}
    tokens = [*SYMBOLS, *(s + "</w>" for s in SYMBOLS), *dict.fromkeys(a + b for a, b in merges), BEGIN, END]
    return Tokenizer({token: i for i, token in enumerate(tokens)}, merges)
