#!/usr/bin/python3
"""A byte-level BPE tokenizer, as GPT-2 has it: fit it, write it, use it.

    bpe.py WORK MODEL OUT   fits the tokenizer of a model in recipes.py, writes OUT/tokenizer.json

Fitting follows Sennrich et al. (2016): merge the most frequent pair of neighbouring symbols, again
and again. Counts are kept per distinct word and only the words that hold the merged pair are
touched, so it takes a minute or two for some megabytes of text.
"""
import collections
import heapq
import json
import os
import sys

import regex

import recipes

PATTERN = regex.compile(
    r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+""")
LONGEST_WORD = 64    # bytes; longer ones (rules of dashes, tables) teach no useful merge
INVENTED_TIMES = 4000  # how often an invented token stands in the tokenizer's text


def byte_alphabet():
    """GPT-2's map from bytes to printable characters: [256] strings of one character."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    chars = {b: chr(b) for b in printable}
    chars.update({b: chr(256 + i) for i, b in enumerate(others)})
    # GPT-2 numbers the printable bytes first; the ids of its single bytes follow that order.
    return chars, printable + others


def merge_word(word, left, right, new):
    """The word (a list of ids) with every left, right replaced by new."""
    out, i = [], 0
    while i < len(word):
        if i + 1 < len(word) and word[i] == left and word[i + 1] == right:
            out.append(new)
            i += 2
        else:
            out.append(word[i])
            i += 1
    return out


def fit(word_counts, n_merges, first_id, byte_ids):
    """The merges [(left, right)], in order. word_counts: {bytes: count}."""
    words = [[byte_ids[b] for b in w] for w in word_counts]
    counts = list(word_counts.values())
    pair_count = collections.Counter()
    where = collections.defaultdict(set)
    for i, word in enumerate(words):
        for pair in zip(word, word[1:]):
            pair_count[pair] += counts[i]
            where[pair].add(i)
    heap = [(-n, pair) for pair, n in pair_count.items()]
    heapq.heapify(heap)
    merges = []
    while len(merges) < n_merges:
        n, pair = heapq.heappop(heap)
        if pair_count[pair] != -n:  # the count has changed since it was pushed
            continue
        new = first_id + len(merges)
        merges.append(pair)
        changed = set()
        for i in where.pop(pair):
            old = words[i]
            for p in zip(old, old[1:]):
                pair_count[p] -= counts[i]
                changed.add(p)
            words[i] = merge_word(old, *pair, new)
            for p in zip(words[i], words[i][1:]):
                pair_count[p] += counts[i]
                where[p].add(i)
                changed.add(p)
        for p in changed:
            if pair_count[p] > 0:
                heapq.heappush(heap, (-pair_count[p], p))
    return merges


class Tokenizer:
    """Reads a tokenizer.json written here. ids <-> bytes."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as f:
            model = json.load(f)["model"]
        chars, _ = byte_alphabet()
        byte_of = {c: b for b, c in chars.items()}
        self.vocab = model["vocab"]
        self.special = self.vocab[recipes.SPECIAL]
        self.bytes = [b""] * len(self.vocab)
        for text, i in self.vocab.items():
            self.bytes[i] = (recipes.SPECIAL.encode() if i == self.special
                             else bytes(byte_of[c] for c in text))
        self.byte_ids = [self.vocab[chars[b]] for b in range(256)]
        self.ranks = {}
        for rank, merge in enumerate(model["merges"]):
            left, right = merge.split(" ")
            self.ranks[self.vocab[left], self.vocab[right]] = rank, self.vocab[left + right]
        self.cache = {}

    def encode_word(self, word):
        """ids of one pre-token (bytes): the merge of lowest rank first, as long as there is one."""
        if word not in self.cache:
            ids = [self.byte_ids[b] for b in word]
            while len(ids) > 1:
                pairs = [p for p in zip(ids, ids[1:]) if p in self.ranks]
                if not pairs:
                    break
                pair = min(pairs, key=self.ranks.get)
                ids = merge_word(ids, *pair, self.ranks[pair][1])
            self.cache[word] = ids
        return self.cache[word]

    def encode(self, text):
        return [i for w in PATTERN.findall(text) for i in self.encode_word(w.encode("utf-8"))]

    def decode(self, ids):
        return b"".join(self.bytes[i] for i in ids)

    def unreachable(self):
        """Tokens of valid UTF-8 that encoding their own text does not give."""
        out = []
        for i, b in enumerate(self.bytes):
            try:
                text = b.decode("utf-8")
            except UnicodeDecodeError:
                continue
            if i != self.special and self.encode(text) != [i]:
                out.append(i)
        return out


def write_tokenizer(path, vocab, merges):
    """tokenizer.json as Hugging Face's tokenizers writes it for GPT-2."""
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
             "use_regex": True}
    content = {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": vocab[recipes.SPECIAL], "content": recipes.SPECIAL,
                          "single_word": False, "lstrip": False, "rstrip": False,
                          "normalized": False, "special": True}],
        "normalizer": None,
        "pre_tokenizer": level,
        "post_processor": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False,
                           "use_regex": True},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True,
                    "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None,
                  "continuing_subword_prefix": "", "end_of_word_suffix": "", "fuse_unk": False,
                  "byte_fallback": False, "vocab": vocab, "merges": merges},
    }
    with open(path, "w", encoding="utf-8") as f:
        json.dump(content, f, ensure_ascii=False, separators=(",", ":"))
        f.write("\n")


def main():
    work, name, out = sys.argv[1:4]
    recipe = recipes.RECIPES[name]
    words = collections.Counter()
    for kind, limit in recipe["tokenizer"].items():
        text = "\0".join(recipes.documents(work, kind))[:limit]
        for doc in text.split("\0"):
            words.update(PATTERN.findall(doc))
    for token in recipe["invented"]:
        words[token] += INVENTED_TIMES
    counts = {w.encode("utf-8"): n for w, n in sorted(words.items())
              if len(w.encode("utf-8")) <= LONGEST_WORD}
    print(f"{name}: {len(counts)} distinct words")

    chars, order = byte_alphabet()
    byte_ids = {b: i for i, b in enumerate(order)}
    merges = fit(counts, recipes.VOCABULARY - 257, 256, byte_ids)
    texts = [chars[b] for b in order]
    for left, right in merges:
        texts.append(texts[left] + texts[right])
    vocab = {text: i for i, text in enumerate(texts + [recipes.SPECIAL])}
    if len(vocab) != recipes.VOCABULARY:
        sys.exit("two merges give the same token")
    os.makedirs(out, exist_ok=True)
    path = os.path.join(out, "tokenizer.json")
    write_tokenizer(path, vocab, [f"{texts[l]} {texts[r]}" for l, r in merges])

    tokenizer = Tokenizer(path)
    for token in recipe["invented"]:
        if len(tokenizer.encode(token)) != 1:
            sys.exit(f"invented token {token!r} is not one token")
    lost = tokenizer.unreachable()
    print(f"{name}: {len(lost)} unreachable tokens", [tokenizer.bytes[i] for i in lost[:20]])


if __name__ == "__main__":
    main()
