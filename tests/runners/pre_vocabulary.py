#!/usr/bin/env python3
"""Vocabularies that show how a pre-tokenizer cuts text: pre_vocabulary.py FOLDER NAME ...

Writes FOLDER/texts, each text ended by a zero byte, and FOLDER/NAME.0.gguf to NAME.3.gguf for each
name: vocabularies (but for RAW byte-level) whose tokenizer.ggml.pre is NAME. Their merges join the whole texts,
across words, numbers and spaces, in an order that is drawn for each: a text that is cut elsewhere
has other ids in most of them. Some tokens are made by no merge, so that they show whether merges
are ignored; bos_token_id is there without add_bos_token."""
import re
import struct
import sys
import zlib

N_ORDERS = 4
RAW = ("gemma4", "granite-embed-multi-311m", "sarvam-moe")  # text and <0x00>, not byte-level

TEXTS = [
    "Hello World! HELLO wORLD HelloWorld", "I've I'VE we'll WE'LL don't DON'T he'd HE'D it's IT'S I'm",
    "'s 't 're 've 'm 'll 'd 'S 'T", "1 12 123 1234 12345 123456 1234567 x1y22z333", "3.14 1,000,000 v2.0",
    "a  b   c    d     e", "tab\tand\t\ttwo", "line\nline\n\nline\n\n\nline", " \n \n\n x\r\ny\r\n\r\nz",
    "end of line  \n  begin", "trailing   ", "   leading", "\t\n \t", "!!! ... ?!?! ---- ==== ++== <=> ~^|`",
    "foo(bar)[baz]{qux} -> a_b.c/d\\e", "\"quoted\" 'single' `back`", "price: $12.50, 50% + tax & more #1 @x",
    "https://example.org/a?b=c&d=e#f", "The quick brown fox, jumped over: the lazy dog; twice.",
    "übung straße élan naïve Ærø ŁÓDŹ", "Привет, мир! как дела", "αβγ ΑΒΓ και", "日本語のテキスト 中文字符 한국어 문장",
    "我有3个苹果和12个梨。好！", "😀 smile 🚀🚀 👍", "مرحبا بالعالم", "x=1\n    y=2\n\treturn x+y\n", "a\u00a0b\u2003c",
    "½ ² Ⅷ ٣٤", "<sentinel:12> IMGIMGABZ", "!abc ?def ,ghi", "word\n", "\n", "a", "A1b2C3", "don’t “quote” — dash…",
]  # Letters with marks are left out: llama.cpp lacks \p{M} in some of its patterns.


def alphabet():
    kept = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in kept]
    return {**{b: chr(b) for b in kept}, **{b: chr(256 + i) for i, b in enumerate(others)}}


def learn(words, order):
    """Merges until each word is one token: of the pairs that are there, one drawn by its string."""
    merges = []
    while True:
        pairs = {pair for word in words for pair in zip(word, word[1:])}
        if not pairs:
            return merges
        best = min(pairs, key=lambda pair: (zlib.crc32(f"{order} {pair}".encode()), pair))
        merges.append(best)
        for word in words:
            i = 0
            while i + 1 < len(word):
                if (word[i], word[i + 1]) == best:
                    word[i : i + 2] = ["".join(best)]
                i += 1


def string(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def strings(values):
    return 9, struct.pack("<IQ", 8, len(values)) + b"".join(map(string, values))


def write(path, values):
    with open(path, "wb") as f:
        f.write(b"GGUF" + struct.pack("<IQQ", 3, 0, len(values)))
        for key, (kind, data) in values.items():
            f.write(string(key) + struct.pack("<I", kind) + data)


def strings_of(order, raw):
    """The tokens, and the pairs that merge."""
    letters = alphabet()
    if raw:  # characters beyond U+FFFF are written by their bytes
        parts = [part for text in TEXTS for part in re.split("[\U00010000-\U0010FFFF]", text)]
        words = [list(part.replace(" ", "\u2581")) for part in parts]
    else:
        words = [[letters[b] for b in text.encode()] for text in TEXTS]
    base = {c: None for word in words for c in word} if raw else list(letters.values())
    tokens = [f"<0x{b:02X}>" for b in range(256)] if raw else []
    merges = learn(words, order)
    tokens += [*base, *dict.fromkeys("".join(pair) for pair in merges)]
    space = "\u2581" if raw else "\u0120"
    whole = ["HelloWorld", space + "World", "123", space + "quick", "line", "return"]
    return tokens + [text for text in whole if text not in tokens], merges


def vocabulary(order, raw):
    """The values of a file, without the name of its pre-tokenizer."""
    tokens, merges = strings_of(order, raw)
    sizes = {"block_count": 1, "context_length": 64, "embedding_length": 64,
             "feed_forward_length": 64, "attention.head_count": 1}
    types = [6 if raw and i < 256 else 1 for i in range(len(tokens))]
    return {"general.architecture": (8, string("llama")),
            **{"llama." + key: (4, struct.pack("<I", value)) for key, value in sizes.items()},
            "llama.attention.layer_norm_rms_epsilon": (6, struct.pack("<f", 1e-5)),
            "tokenizer.ggml.model": (8, string("gpt2")), "tokenizer.ggml.tokens": strings(tokens),
            "tokenizer.ggml.token_type": (9, struct.pack(f"<IQ{len(types)}i", 5, len(types), *types)),
            "tokenizer.ggml.merges": strings([" ".join(pair) for pair in merges]),
            "tokenizer.ggml.bos_token_id": (4, struct.pack("<I", 7))}


def main():
    folder, names = sys.argv[1], sys.argv[2:]
    with open(folder + "/texts", "wb") as f:
        f.write(b"".join(text.encode() + b"\0" for text in TEXTS))
    for order in range(N_ORDERS):
        values = [vocabulary(order, raw) for raw in (False, True)]
        for name in names:
            write(f"{folder}/{name}.{order}.gguf",
                  {**values[name in RAW], "tokenizer.ggml.pre": (8, string(name))})


main()
