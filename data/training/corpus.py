#!/usr/bin/python3
"""Collect the texts, by kind, from what Debian ships, into one file per kind.

    corpus.py WORK          writes WORK/texts/KIND.txt and prints their sizes

A kind is a sort of text (a language, a programming language, a markup). Documents within a file
are separated by a NUL byte. The order of documents and the cut of each kind depend on nothing but
the installed packages, so the same packages give the same files.
"""
import glob
import gzip
import hashlib
import html
import os
import re
import subprocess
import sys

# Characters kept per kind. More is of no use to models of this size.
LIMIT = 3_000_000
DOCUMENT = 12_000  # a longer file is cut into documents of about this many characters

# What each package gives, with the licence of the text (see /usr/share/doc/PACKAGE/copyright).
SOURCES = [
    # kind, package, files, reader
    ("bible", "bible-kjv", None, "bible"),
    ("dictionary", "dict-gcide", ["/usr/share/dictd/gcide.dict.dz"], "plain"),
    ("jargon", "jargon-text", ["/usr/share/doc/jargon-text/jargon.txt.gz"], "plain"),
    ("english", "debian-policy", ["/usr/share/doc/debian-policy/policy.txt.gz"], "plain"),
    ("english", "developers-reference",
     ["/usr/share/developers-reference/developers-reference.txt.gz",
      "/usr/share/doc/developers-reference/developers-reference.txt.gz"], "plain"),
    ("english", "manpages", ["/usr/share/man/man[1-8]/*.gz"], "man"),
    ("english", "manpages-dev", ["/usr/share/man/man[1-8]/*.gz"], "man"),
    ("german", "manpages-de", ["/usr/share/man/de/man[1-8]/*.gz"], "man"),
    ("french", "manpages-fr", ["/usr/share/man/fr/man[1-8]/*.gz"], "man"),
    ("russian", "manpages-ru", ["/usr/share/man/ru/man[1-8]/*.gz"], "man"),
    ("python", "libpython3.11-stdlib", ["/usr/lib/python3.11/**/*.py"], "plain"),
    ("c", "libc6-dev", ["/usr/include/**/*.h"], "plain"),
    ("c", "linux-libc-dev", ["/usr/include/**/*.h"], "plain"),
    ("perl", "perl-modules-5.36", ["/usr/share/perl/5.36.*/**/*.pm"], "plain"),
    ("html", "debian-policy", ["/usr/share/doc/debian-policy/policy.html/*.html"], "plain"),
    ("html", "debian-reference-en", ["/usr/share/debian-reference/*.en.html"], "plain"),
]


def package_files(package, patterns):
    """The regular files of a package that match; no symbolic links, so no text comes twice."""
    owned = subprocess.run(["dpkg", "-L", package], capture_output=True, text=True, check=True)
    owned = set(owned.stdout.split("\n"))
    found = []
    for pattern in patterns:
        found += [f for f in sorted(glob.glob(pattern, recursive=True)) if f in owned]
    return [f for f in found if os.path.isfile(f) and not os.path.islink(f)]


def read_plain(path):
    opener = gzip.open if path.endswith((".gz", ".dz")) else open
    with opener(path, "rb") as f:
        return f.read().decode("utf-8", "replace").replace("\r\n", "\n")


def read_man(path):
    """The prose of a manual page: troff comments and requests taken away, words kept."""
    lines = []
    for line in read_plain(path).split("\n"):
        if line.startswith((".\\\"", "'\\\"")):
            continue
        heading = re.match(r"\.S[HS] *\"?(.*?)\"?$", line)
        words = re.match(r"\.(?:B|I|BR|IR|RB|BI|IB|RI|IP|TP) +(.*)", line)
        if heading:
            line = "\n" + heading.group(1)
        elif words:
            line = words.group(1).replace('"', "")
        elif line.startswith((".", "'")):
            continue
        line = re.sub(r"\\f(?:\[\w*\]|\(..|.)|\\[,/&|^]|\\s[-+]?\d", "", line)
        line = line.replace("\\-", "-").replace("\\(aq", "'").replace("\\(bu", "*")
        line = line.replace("\\e", "\\").replace("\\ ", " ")
        line = re.sub(r"\\\((?:lq|rq|dq)|\\\[(?:lq|rq|dq)\]", '"', line)
        line = re.sub(r"\\\(\w\w|\\\[\w+\]|\\\*\(\w\w|\\\*\[[^]]*\]", "", line)
        lines.append(line)
    return html.unescape("\n".join(lines)).strip() + "\n"


def read_bible():
    text = subprocess.run(["bible", "-f", "gen1:1-rev22:21"], capture_output=True, check=True)
    return text.stdout.decode("utf-8", "replace")


def documents(text):
    """Cut a long text at line ends."""
    part, size = [], 0
    for line in text.split("\n"):
        part.append(line)
        size += len(line) + 1
        if size >= DOCUMENT:
            yield "\n".join(part) + "\n"
            part, size = [], 0
    if size > 200:
        yield "\n".join(part)


def main():
    out = os.path.join(sys.argv[1], "texts")
    os.makedirs(out, exist_ok=True)
    kinds = {}
    for kind, package, patterns, reader in SOURCES:
        texts = [read_bible()] if reader == "bible" else [
            (read_man if reader == "man" else read_plain)(f)
            for f in package_files(package, patterns)]
        docs = [d for text in texts for d in documents(text)]
        print(f"{kind:12} {package:22} {len(texts):5} files {sum(map(len, docs)):9} characters")
        kinds.setdefault(kind, []).extend(docs)
    for kind, docs in kinds.items():
        # A fixed shuffle: the cut below then takes a fair sample of every package.
        docs.sort(key=lambda d: hashlib.sha256(d.encode()).digest())
        kept, size = [], 0
        for doc in docs:
            if size >= LIMIT:
                break
            kept.append(doc.replace("\0", ""))
            size += len(doc)
        with open(os.path.join(out, kind + ".txt"), "w", encoding="utf-8", newline="") as f:
            f.write("\0".join(kept))
        print(f"{kind:12} {len(kept):6} documents {size:9} characters")


if __name__ == "__main__":
    main()
