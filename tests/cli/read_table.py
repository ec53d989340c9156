"""Reads a table of nk-tokens as a user of READER does, with its defaults, undoes the escaping as
nk(1) says, and compares every text with the vocabulary in the model's tokenizer.json.

usage: read_table.py READER TABLE MODEL     READER: csv, pandas, polars, duckdb,
                                            agate (csvkit), mlr or r

Exits with status 77 where READER is not installed.
"""
import codecs
import json
import sys


def read_csv(path):
    import csv
    with open(path, newline="", encoding="utf-8") as file:
        return [(row["id"], row["text"]) for row in csv.DictReader(file, delimiter="\t")]


def read_pandas(path):
    import pandas
    table = pandas.read_csv(path, sep="\t")
    assert table.columns[:2].tolist() == ["id", "text"]
    assert table["text"].notna().all(), table[table["text"].isna()]
    return zip(table["id"], table["text"])


def read_polars(path):
    import polars
    table = polars.read_csv(path, separator="\t")
    return zip(table["id"], table["text"])


def read_duckdb(path):
    import duckdb
    return duckdb.sql(f"select id, text from read_csv('{path}')").fetchall()


def read_agate(path):
    import agate
    table = agate.Table.from_csv(path, delimiter="\t")
    return [(row["id"], row["text"]) for row in table.rows]


def read_mlr(path):
    import subprocess
    try:
        lines = subprocess.run(["mlr", "--itsv", "--ojsonl", "-S", "cat", path], check=True,
                               stdout=subprocess.PIPE).stdout.decode().splitlines()
    except FileNotFoundError as error:
        raise ImportError(error)
    return [(row["id"], str(row["text"])) for row in map(json.loads, lines)]


def read_r(path):
    import subprocess
    script = 't <- read.delim(commandArgs(TRUE)[1], encoding = "UTF-8");' \
             'stopifnot(!anyNA(t$text)); cat(rbind(t$id, t$text), sep = "\\n")'
    try:
        lines = subprocess.run(["Rscript", "-e", script, path], check=True,
                               stdout=subprocess.PIPE).stdout.decode().splitlines()
    except FileNotFoundError as error:
        raise ImportError(error)
    return zip(lines[::2], lines[1::2])


def vocabulary(model):
    """id: bytes, of a byte-level tokenizer (the alphabet of bytes is that of GPT-2's encoder.py)."""
    with open(f"{model}/tokenizer.json", encoding="utf-8") as file:
        tokenizer = json.load(file)
    plain = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    byte_of = {chr(byte): byte for byte in plain}
    byte_of.update({chr(256 + i): byte for i, byte in enumerate(others)})
    added = {token["id"]: token["content"].encode() for token in tokenizer["added_tokens"]}
    texts = {id: bytes(byte_of[c] for c in token) if id not in added else added[id]
             for token, id in tokenizer["model"]["vocab"].items()}
    return texts | added


def main(reader, path, model):
    try:
        rows = globals()["read_" + reader](path)
    except ImportError as error:
        print(error)
        return 77
    found = {int(id): codecs.escape_decode(text.encode())[0] for id, text in rows}
    expected = vocabulary(model)
    wrong = [id for id in expected if found.get(id) != expected[id]]
    print(f"{len(expected) - len(wrong)} of {len(expected)} texts, {len(found)} rows")
    for id in wrong[:5]:
        print(id, expected[id], found.get(id))
    return 0 if not wrong and len(found) == len(expected) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
