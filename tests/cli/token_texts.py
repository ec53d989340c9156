#!/usr/bin/env python3
"""Checks the columns that nk-tokens --texts adds, on standard input, by comparing tokens with every
other: in_other_tokens and other_token, and that the ids of `reencoded` spell the text, which
are missing just where the bytes are not valid UTF-8. Prints the number of tokens."""
import re
import sys

ESCAPES = {"t": b"\t", "n": b"\n", "r": b"\r", "\\": b"\\"}


def plain(cell):
    parts = re.split(r"\\(x[0-9A-F]{2}|[tnr\\])", cell)
    return b"".join(part.encode() if i % 2 == 0 else
                    ESCAPES.get(part) or bytes([int(part[1:], 16)]) for i, part in enumerate(parts))


def main():
    sys.stdin.reconfigure(encoding="utf-8", newline="\n")
    lines = [line.rstrip("\n").split("\t") for line in sys.stdin]
    assert lines[0] == ["id", "text", "category", "reencoded", "in_other_tokens", "other_token"]
    rows = [line for line in lines[1:] if line[2] != "padding"]
    text = {int(row[0]): plain(row[1]) for row in rows}
    others = [(int(row[0]), plain(row[1])) for row in rows if row[2] != "special"]
    step = 1 if len(rows) < 1000 else 7  # of a large vocabulary some tokens, with all others
    for identifier, _, _, reencoded, count, first in rows[::step]:
        mine = text[int(identifier)]
        containing = [(i, other) for i, other in others if mine in other and len(other) > len(mine)]
        containing = containing if mine else []
        assert int(count) == len(containing), identifier
        assert plain(first) == (containing[0][1] if containing else b""), identifier
        ids = [int(i) for i in reencoded.split()]
        try:
            mine.decode()
        except UnicodeDecodeError:
            assert not ids, identifier
        else:
            assert b"".join(text[i] for i in ids) == mine, identifier
    for line in lines[1:]:
        assert line[2] != "padding" or line[3:] == ["", "", ""], line
    print(len(rows))


main()
