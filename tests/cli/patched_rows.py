"""Checks a model with patched rows against values computed here, in double, from the files alone.

usage: patched_rows.py retype MODEL FOLDER TYPE       FOLDER: MODEL with its 2-D tensors as F32 or BF16
       patched_rows.py check SOURCE MODEL COPY TABLE K  what COPY's rows have to be: SOURCE is mean,
                                                      neighbours, text or text-input

TABLE: ids, one a line. Every other row and tensor has to have the same bytes. The pieces of a token
are those of plain BPE without the merges that make a listed one.
"""
import json
import math
import os
import shutil
import struct
import subprocess
import sys

from same_values import tensors

SIZES = {"F16": 2, "BF16": 2, "F32": 4}


def floats(dtype, raw):
    if dtype == "BF16":
        raw, dtype = b"".join(b"\0\0" + raw[i:i + 2] for i in range(0, len(raw), 2)), "F32"
    return struct.unpack("<%d%s" % (len(raw) // SIZES[dtype], "e" if dtype == "F16" else "f"), raw)


def stored(dtype, values):
    """Rounded to float, and then to the type."""
    values = struct.unpack("<%df" % len(values), struct.pack("<%df" % len(values), *values))
    if dtype == "F16":
        return struct.pack("<%de" % len(values), *values)
    if dtype == "F32":
        return struct.pack("<%df" % len(values), *values)
    out = []
    for value in values:  # to nearest, ties to even
        bits = struct.unpack("<I", struct.pack("<f", value))[0]
        out.append((bits + 0x7FFF + (bits >> 16 & 1)) >> 16)
    return struct.pack("<%dH" % len(out), *out)


def retype(model, folder, dtype):
    shutil.copytree(model, folder)
    at, header, body = 0, {}, b""
    for name, (old, shape, raw) in sorted(tensors(model).items()):
        if len(shape) == 2:
            raw = stored(dtype, [v * 1.001 for v in floats(old, raw)])
            old = dtype
        header[name] = {"dtype": old, "shape": shape, "data_offsets": [at, at + len(raw)]}
        at += len(raw)
        body += raw
    text = json.dumps(header).encode()
    with open(os.path.join(folder, "model.safetensors"), "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + body)


class Pieces:
    def __init__(self, model, listed):
        with open(os.path.join(model, "tokenizer.json")) as file:
            bpe = json.load(file)["model"]
        self.vocab, self.listed = bpe["vocab"], listed
        self.string = {i: s for s, i in self.vocab.items()}
        merges = [m.split(" ") if isinstance(m, str) else m for m in bpe["merges"]]
        self.rank = {tuple(m): r for r, m in enumerate(merges)
                     if self.vocab["".join(m)] not in listed}

    def of(self, token):
        units = list(self.string.get(token, ""))
        while True:
            pairs = [(self.rank.get(p, math.inf), i) for i, p in enumerate(zip(units, units[1:]))]
            rank, i = min(pairs, default=(math.inf, 0))
            if rank == math.inf:
                break
            units[i:i + 2] = ["".join(units[i:i + 2])]
        ids = [self.vocab[u] for u in units]
        return [] if any(i in self.listed for i in ids) else ids


def mean_row(rows, ids):
    return [math.fsum(column) / len(ids) for column in zip(*(rows[i] for i in ids))]


def nearest(rows, ordinary, token, k):
    def cosine(a, b):
        return math.fsum(x * y for x, y in zip(a, b)) / math.sqrt(
            math.fsum(x * x for x in a) * math.fsum(y * y for y in b))
    return sorted(ordinary, key=lambda i: (-cosine(rows[i], rows[token]), i))[:k]


def check(source, model, copy, table, k):
    with open(table) as file:
        listed = {int(line) for line in file.read().split()}
    lines = subprocess.run(["nk-tokens", model], capture_output=True, check=True).stdout
    categories = [line.split(b"\t")[2] for line in lines.splitlines()[1:]]
    ordinary = [i for i, c in enumerate(categories)
                if c in (b"ok", b"byte", b"partial_utf8") and i not in listed]
    before, after = tensors(model), tensors(copy)
    assert before.keys() == after.keys()
    matrices = [n for n in before if n.endswith(("wte.weight", "embed_tokens.weight"))]
    rows, chosen, changed = {}, {}, 0
    for name in matrices + [n for n in before if n.endswith("lm_head.weight")]:
        dtype, (n, dim), raw = before[name]
        values = floats(dtype, raw)
        rows[name] = [values[i * dim:(i + 1) * dim] for i in range(n)]
    pieces = Pieces(model, listed)
    for token in sorted(listed):
        chosen[token] = (ordinary if source == "mean" else pieces.of(token) if source[:4] == "text"
                         else nearest(rows[matrices[0]], ordinary, token, k))
    for name, (dtype, shape, raw) in before.items():
        assert after[name][:2] == (dtype, shape), name
        new, size = after[name][2], 0
        if name in rows and not (source == "text-input" and name not in matrices):
            size = shape[1] * SIZES[dtype]
            of_all = mean_row(rows[name], ordinary) if source == "mean" else None
            for token, ids in chosen.items():
                if ids:
                    mean = of_all or mean_row(rows[name], ids)
                    raw = raw[:token * size] + stored(dtype, mean) + raw[(token + 1) * size:]
                    changed += new[token * size:(token + 1) * size] != before[name][2][
                        token * size:(token + 1) * size]
        assert new == raw, name
    assert changed > 0
    print(sum(1 for ids in chosen.values() if not ids), "of", len(listed), "without pieces")


if sys.argv[1] == "retype":
    retype(*sys.argv[2:])
else:
    check(*sys.argv[2:6], int(sys.argv[6]))
