#!/usr/bin/env python3
"""Writes a tensor of a GGUF file as zeros of another type: gguf-zero.py NAME TYPE < IN > OUT

TYPE is ggml's number of a type, IN has F32 alone: a test of types that nk-convert does not write."""
import importlib.util
import os
import struct
import sys

BLOCKS = {0: (1, 4), 16: (256, 66)}  # values, bytes: F32, IQ2_XXS


def load_reader():
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "gguf-rename.py")
    spec = importlib.util.spec_from_file_location("gguf_rename", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main():
    name, kind = sys.argv[1].encode(), int(sys.argv[2])
    library = load_reader()
    reader = library.Reader(sys.stdin.buffer.read())
    reader.take(8)
    n_tensors, n_values = reader.number("Q"), reader.number("Q")
    for _ in range(n_values):
        reader.string()
        reader.value(reader.number("I"))
    out, tensors, offset = bytearray(reader.data[: reader.at]), [], 0
    for _ in range(n_tensors):
        key, n = reader.string(), reader.number("I")
        shape = struct.unpack(f"<{n}Q", reader.take(8 * n))
        reader.take(4)
        tensors.append((key, shape, reader.number("Q")))
    reader.at += -reader.at % 32
    body = bytearray()
    for key, shape, start in tensors:
        count = 1
        for size in shape:
            count *= size
        values, n_bytes = BLOCKS[kind if key == name else 0]
        data = bytes(count // values * n_bytes)
        if key != name:
            data = reader.data[reader.at + start :][: count * 4]
        out += library.string(key) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        out += struct.pack("<IQ", kind if key == name else 0, len(body))
        body += data + bytes(-len(data) % 32)
    out += bytes(-len(out) % 32)
    sys.stdout.buffer.write(out + body)


main()
