#!/usr/bin/env python3
"""Makes the seeds of corpus/: small good files, from the formats' own descriptions, that the
fuzzing harnesses mutate. Needs nothing but Python; the tests do not run it."""
import json
import os
import struct

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")


def save(folder, name, data):
    os.makedirs(os.path.join(ROOT, folder), exist_ok=True)
    with open(os.path.join(ROOT, folder, name), "wb") as f:
        f.write(data if isinstance(data, bytes) else data.encode())


def safetensors(tensors, metadata=None):
    """tensors: name -> (dtype, shape, bytes)."""
    header, body = {}, b""
    if metadata is not None:
        header["__metadata__"] = metadata
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape,
                        "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body


def floats(*values):
    return struct.pack(f"<{len(values)}f", *values)


def integers(*values):
    return struct.pack(f"<{len(values)}q", *values)


def npy(descr, shape, data, fortran=False, version=1):
    text = f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}".encode()
    size = "<H" if version == 1 else "<I"
    start = 8 + struct.calcsize(size)
    text += b" " * (-(start + len(text) + 1) % 64) + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack(size, len(text)) + text + data


SET = {
    "vectors": ("F32", [3, 2], floats(1, 2, 3, 4, 5, 6)),
    "id": ("I64", [3], integers(0, 7, 9)),
    "text.bytes": ("U8", [5], b"a\xe2\x96b\n"),
    "text.offsets": ("I64", [4], integers(0, 1, 3, 5)),
    "distance": ("F64", [3], struct.pack("<3d", 0.5, 1.5, float("inf"))),
    "count": ("I64", [3], integers(1, 2, 3)),
    "unknown": ("F16", [2, 1, 2], b"\0" * 8),
}
METADATA = {"noken.kind": "vectors", "noken.version": "1", "noken.model": "m",
            "noken.space": "input", "noken.history": json.dumps(["nk-extract m", "nk-stats"])}

for folder in ("safetensors", "vectors"):
    save(folder, "set", safetensors(SET, METADATA))
    save(folder, "half", safetensors({"x": ("BF16", [2, 3], b"\x80\x3f" * 6)}))
    save(folder, "nothing", safetensors({}))
save("safetensors", "scalars", safetensors({
    "a": ("F64", [], struct.pack("<d", 1)), "b": ("BOOL", [3], b"\1\0\1"),
    "c": ("I8", [0, 4], b""), "d": ("F8_E4M3", [2], b"\x38\x40")}, {"key": "\u00e9\"\\"}))
save("vectors", "nan", safetensors({"vectors": ("F32", [2, 1], floats(float("nan"), 1))}))
STATES = ("F32", [2, 3, 2], floats(*range(12)))
save("vectors", "states", safetensors({"hidden_states": STATES,
                                       "token_ids": ("I64", [3], integers(5, 6, 7)),
                                       "attention_mask": ("I64", [3], integers(0, 1, 1))}))
save("vectors", "states-each", safetensors({"layer_0": ("F16", [2, 2], b"\0\x3c" * 4),
                                            "layer_1": ("F16", [2, 2], b"\0\x3c" * 4)}))
save("vectors", "states.npy", npy("<f4", (2, 1, 3), floats(*range(6)), fortran=True))
save("vectors", "f4.npy", npy("<f4", (2, 3), floats(*range(6))))
save("vectors", "f8.npy", npy("<f8", (2, 2), struct.pack("<4d", *range(4)), fortran=True))
save("vectors", "f2.npy", npy("<f2", (3, 2), b"\0\x3c" * 6, version=2))
save("vectors", "i8.npy", npy("<i8", (2, 1), integers(1, -1), version=3))

save("model", "gpt2", json.dumps({
    "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": 4, "n_embd": 2}))
BLOCK = ["wte.weight", "wpe.weight", "ln_f.weight", "ln_f.bias"] + [
    f"h.0.{part}.{kind}" for part in ("ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc",
                                      "mlp.c_proj") for kind in ("weight", "bias")]
save("model", "block", json.dumps({
    "model_type": "gpt2", "n_embd": 2, "n_head": 1, "n_layer": 1, "n_positions": 4, "n_inner": 2,
    "activation_function": "gelu_new"}) + "\x1e" + json.dumps({
        "weight_map": {name: "a.safetensors" for name in BLOCK}}))
save("model", "sharded", json.dumps({
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 4,
    "tie_word_embeddings": False, "rope_scaling": {"factor": 8.0, "rope_type": "llama3"}})
    + "\x1e" + json.dumps({"metadata": {"total_size": 64}, "weight_map": {
        "wte.weight": "a.safetensors", "lm_head.weight": "b.safetensors"}}))

ADDED = [{"id": 6, "content": "<|end|>", "single_word": False, "lstrip": False, "rstrip": False,
          "normalized": False, "special": True}]
save("tokenizer", "byte-level", json.dumps({
    "version": "1.0", "added_tokens": ADDED, "normalizer": None,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
    "decoder": {"type": "ByteLevel"},
    "model": {"type": "BPE", "unk_token": None, "byte_fallback": False,
              "vocab": {"a": 0, "b": 1, "\u0120": 2, "ab": 3, "\u0120a": 4, "\u00e2": 5},
              "merges": ["a b", "\u0120 a"]}}))
save("tokenizer", "metaspace", json.dumps({
    "added_tokens": ADDED,
    "normalizer": {"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "\u2581"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]},
    "pre_tokenizer": None,
    "decoder": {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
        {"type": "ByteFallback"}, {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
    "model": {"type": "BPE", "unk_token": "<unk>", "byte_fallback": True, "fuse_unk": True,
              "vocab": {"<unk>": 0, "<0x0A>": 1, "\u2581": 2, "a": 3, "\u2581a": 4, "<0xFF>": 5},
              "merges": [["\u2581", "a"]]}}, ensure_ascii=False))
save("tokenizer", "unigram", json.dumps({
    "added_tokens": [], "normalizer": {"type": "NFKC"},
    "pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always"},
    "decoder": {"type": "Metaspace", "replacement": "\u2581"},
    "model": {"type": "Unigram", "unk_id": 0, "byte_fallback": True,
              "vocab": [["<unk>", 0.0], ["\u2581a", -1.5], ["b", -2.25], ["<0x41>", -9]]}}))
save("tokenizer", "split", json.dumps({
    "added_tokens": ADDED,
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": "\\p{L}+|\\s+(?!\\S)|[^\\s]"},
         "behavior": "Isolated", "invert": False},
        {"type": "Digits", "individual_digits": True},
        {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}]},
    "decoder": {"type": "ByteLevel"},
    "model": {"type": "BPE", "ignore_merges": True, "vocab": {"a": 0, "1": 1}, "merges": []}}))

save("table", "tokens.tsv", "id\ttext\tscore\n1\t\\xe2\\x96 a\\tb\t0.5\n2\t\tnan\n3\tp\t-inf\n")
save("table", "header-only.tsv", "id\n")
save("table", "crlf.tsv", "a\tb\r\n1\t2\r\n")
save("table", "empty", "")
save("table", "rows.jsonl", '{"id": 1, "text": "a\\tb", "score": 1.5e-3}\n'
     '{"id": 2, "score": null, "ok": true}\n')
save("table", "unicode.jsonl", '{"id":9223372036854775807,"t":"\\u00e9\\ud83d\\ude00"}')


def string(text):
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(data)) + data


def gguf(values, tensors, version=3):
    """values: key -> (type number, packed bytes); tensors: name -> (type, file's shape, bytes)."""
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(values))
    for key, (number, data) in values.items():
        out += string(key) + struct.pack("<I", number) + data
    body = b""
    for name, (number, shape, data) in tensors.items():
        body += b"\0" * (-len(body) % 32)
        out += string(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        out += struct.pack("<IQ", number, len(body))
        body += data
    return out + b"\0" * (-len(out) % 32) + body


def array(number, items):
    return 9, struct.pack("<IQ", number, len(items)) + b"".join(items)


TOKENS = ["<unk>", "<s>", "<0x0A>", "\u2581", "a", "\u2581a", "b", "ab", "<0xC3>", "<0xA9>"]
save("gguf", "llama", gguf({
    "general.architecture": (8, string("llama")), "general.alignment": (4, struct.pack("<I", 32)),
    "llama.rope.freq_base": (6, floats(1e4)), "tokenizer.ggml.model": (8, string("llama")),
    "tokenizer.ggml.tokens": array(8, [string(t) for t in TOKENS]),
    "tokenizer.ggml.scores": array(6, [floats(-i) for i in range(10)]),
    "tokenizer.ggml.token_type": array(5, [struct.pack("<i", t)
                                           for t in (2, 3, 6, 1, 1, 1, 1, 1, 6, 6)]),
    "tokenizer.ggml.bos_token_id": (4, struct.pack("<I", 1)),
    "tokenizer.ggml.add_bos_token": (7, b"\1")},
    {"token_embd.weight": (0, [2, 10], floats(*range(20))), "q": (12, [256], b"\0" * 144)}))
BYTES = ["a", "b", "\u0120", "ab", "\u0120a", "\u00c3", "\u00a9", "<|end|>"]
save("gguf", "gpt2", gguf({
    "general.architecture": (8, string("gpt2")), "tokenizer.ggml.model": (8, string("gpt2")),
    "tokenizer.ggml.pre": (8, string("gpt-2")),
    "tokenizer.ggml.tokens": array(8, [string(t) for t in BYTES]),
    "tokenizer.ggml.token_type": array(5, [struct.pack("<i", t) for t in [1] * 7 + [3]]),
    "tokenizer.ggml.merges": array(8, [string("a b"), string("\u0120 a")]),
    "nested": array(9, [struct.pack("<IQ", 0, 2) + b"\1\2"]),
    "big": (10, struct.pack("<Q", 2**63))}, {"x": (1, [2, 2], b"\0" * 8)}, version=2))
save("gguf", "spaces", gguf({
    "tokenizer.ggml.model": (8, string("gemma4")),
    "tokenizer.ggml.tokens": array(8, [string(t) for t in [*TOKENS, "\n"]]),
    "tokenizer.ggml.token_type": array(5, [struct.pack("<i", t)
                                           for t in (2, 3, 6, 1, 1, 1, 1, 1, 6, 6, 1)]),
    "tokenizer.ggml.merges": array(8, [string("\u2581 a"), string("a b")]),
    "tokenizer.ggml.bos_token_id": (4, struct.pack("<I", 1)),
    "tokenizer.ggml.unknown_token_id": (4, struct.pack("<I", 0))}, {}))
save("gguf", "nothing", gguf({}, {}))


def blocks(number, size, rows, columns):
    """Zeros of a quantized type whose blocks of 32 values have `size` bytes."""
    return number, [columns, rows], b"\0" * (rows * columns // 32 * size)


ones = (0, [32], floats(*[1] * 32))
u32 = {"block_count": 1, "embedding_length": 32, "feed_forward_length": 64, "context_length": 16,
       "attention.head_count": 2, "attention.head_count_kv": 1, "attention.key_length": 16,
       "rope.dimension_count": 16}
save("gguf", "model", gguf(
    {"general.architecture": (8, string("llama")),
     **{"llama." + key: (4, struct.pack("<I", value)) for key, value in u32.items()},
     "llama.attention.layer_norm_rms_epsilon": (6, floats(1e-5)),
     "llama.rope.freq_base": (6, floats(1e4))},
    {"token_embd.weight": blocks(2, 18, 8, 32), "output_norm.weight": ones,
     "output.weight": blocks(3, 20, 8, 32), "rope_freqs.weight": (0, [8], floats(*[2] * 8)),
     "blk.0.attn_norm.weight": ones, "blk.0.ffn_norm.weight": ones,
     "blk.0.attn_q.weight": blocks(8, 34, 32, 32), "blk.0.attn_k.weight": blocks(6, 22, 16, 32),
     "blk.0.attn_v.weight": blocks(7, 24, 16, 32), "blk.0.attn_output.weight": blocks(20, 18, 32, 32),
     "blk.0.ffn_gate.weight": blocks(39, 17, 64, 32), "blk.0.ffn_up.weight": blocks(2, 18, 64, 32),
     "blk.0.ffn_down.weight": blocks(3, 20, 32, 64)}))
