#!/usr/bin/env python3
"""Gives the model of a GGUF file another architecture's name: gguf-rename.py FROM TO < IN > OUT

Everything else stays as it is: a test of what programs do with a name that they do not know."""
import struct
import sys

SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
STRING, ARRAY = 8, 9


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        self.at += n
        return self.data[self.at - n : self.at]

    def number(self, form):
        return struct.unpack("<" + form, self.take(struct.calcsize(form)))[0]

    def string(self):
        return self.take(self.number("Q"))

    def value(self, kind):
        """The value's bytes."""
        start = self.at
        if kind == STRING:
            self.string()
        elif kind == ARRAY:
            inner, n = self.number("I"), self.number("Q")
            for _ in range(n):
                self.value(inner)
        else:
            self.take(SIZES[kind])
        return self.data[start : self.at]


def string(value):
    return struct.pack("<Q", len(value)) + value


def main():
    old, new = (name.encode() for name in sys.argv[1:3])
    reader = Reader(sys.stdin.buffer.read())
    out = bytearray(reader.take(8))
    n_tensors, n_values = reader.number("Q"), reader.number("Q")
    out += struct.pack("<QQ", n_tensors, n_values)
    for _ in range(n_values):
        key, kind = reader.string(), reader.number("I")
        value = reader.value(kind)
        if key == b"general.architecture":
            value = string(new)
        if key.startswith(old + b"."):
            key = new + key[len(old) :]
        out += string(key) + struct.pack("<I", kind) + value
    for _ in range(n_tensors):
        out += string(reader.string())
        n = reader.number("I")
        out += struct.pack("<I", n) + reader.take(8 * n + 4 + 8)
    reader.at += -reader.at % 32
    out += bytes(-len(out) % 32)
    sys.stdout.buffer.write(out + reader.data[reader.at :])


if __name__ == "__main__":
    main()
