#!/usr/bin/env python3
"""A model that has a tokenizer and as little else as can be:

  tokenizer_model.py TOKENIZER FOLDER [TABLE ...]

Writes FOLDER with TOKENIZER, a tokenizer.json or tokenizer.model, and a Llama of one block of zeros
with a row for each id. Of TABLEs as tests/fixtures/tokenizers/expected.tsv, the texts of one line
become FOLDER/lines, and those that NFC leaves as they are FOLDER/texts, each ended by a zero byte.
Of large tables every 16th text after the first 1000 is taken. A text with </s> is left out: to
llama.cpp it is a special token wherever it is in a vocabulary."""
import json
import os
import re
import shutil
import struct
import sys
import unicodedata

DIM = 4


def n_ids(path):
    """One more than the largest id; of a tokenizer.model enough."""
    if not path.endswith(".json"):
        return 1024
    with open(path, encoding="utf-8") as f:
        tokenizer = json.load(f)
    vocab = tokenizer["model"]["vocab"]
    ids = vocab.values() if isinstance(vocab, dict) else range(len(vocab))
    return 1 + max([*ids, *(token["id"] for token in tokenizer["added_tokens"])])


def save_weights(path, n_tokens):
    shapes = {"model.embed_tokens.weight": [n_tokens, DIM], "model.norm.weight": [DIM]}
    for name in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
                 "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"):
        shapes[f"model.layers.0.{name}.weight"] = [DIM, DIM]
    for name in ("input_layernorm", "post_attention_layernorm"):
        shapes[f"model.layers.0.{name}.weight"] = [DIM]
    header, size = {}, 0
    for name, shape in shapes.items():
        n = 4 * DIM * (shape[0] if len(shape) == 2 else 1)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [size, size + n]}
        size += n
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + bytes(size))


def unescaped(cell):
    """The text of a table's cell, which has no escaped bytes that are not UTF-8."""
    names = {b"t": b"\t", b"n": b"\n", b"r": b"\r", b"\\": b"\\"}
    return re.sub(rb"\\(x..|.)", lambda m: names.get(m[1]) or bytes([int(m[1][1:], 16)]), cell)


def save_texts(folder, tables):
    texts = {}
    for table in tables:
        with open(table, "rb") as f:
            lines = [line.split(b"\t") for line in f.read().split(b"\n")[1:-1]]
        cells = [cells[1 if len(cells) == 5 else 0] for cells in lines]
        texts |= {unescaped(cell): None for i, cell in enumerate(cells) if i < 1000 or i % 16 == 0}
    kept = [text for text in texts if b"\0" not in text and b"</s>" not in text]
    with open(folder + "/lines", "wb") as f:
        f.write(b"".join(t + b"\n" for t in kept if not re.search(rb"[\r\n]", t)))
    with open(folder + "/texts", "wb") as f:
        f.write(b"".join(t + b"\0" for t in kept if unicodedata.is_normalized("NFC", t.decode())))


def main():
    source, folder, *tables = sys.argv[1:]
    os.makedirs(folder)
    n_tokens = n_ids(source)
    shutil.copy(source, folder + "/tokenizer." + source.rsplit(".", 1)[1])
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": n_tokens,
              "hidden_size": DIM, "intermediate_size": DIM, "num_hidden_layers": 1,
              "num_attention_heads": 1, "num_key_value_heads": 1, "max_position_embeddings": 64,
              "rms_norm_eps": 1e-5, "hidden_act": "silu", "tie_word_embeddings": True}
    with open(folder + "/config.json", "w", encoding="utf-8") as f:
        json.dump(config, f)
    save_weights(folder + "/model.safetensors", n_tokens)
    save_texts(folder, tables)


main()
