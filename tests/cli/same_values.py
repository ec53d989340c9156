"""Compares the tensors of two models: names, types and shapes, and their bytes.

usage: same_values.py same|shuffled MODEL COPY     folders; MODEL may be sharded

same: each tensor has the same bytes. shuffled: each has the same entries, those of weights in
another order, and tensors of MODEL with equal bytes have equal bytes in COPY.
"""
import glob
import json
import os
import sys

SIZES = {"F64": 8, "I64": 8, "F32": 4, "F16": 2, "BF16": 2, "I8": 1, "U8": 1, "BOOL": 1}


def tensors(folder):
    found = {}
    for path in glob.glob(os.path.join(folder, "*.safetensors")):
        with open(path, "rb") as file:
            data = file.read()
        start = 8 + int.from_bytes(data[:8], "little")
        for name, entry in json.loads(data[8:start]).items():
            if name != "__metadata__":
                a, b = entry["data_offsets"]
                found[name] = (entry["dtype"], entry["shape"], data[start + a:start + b])
    return found


def entries(tensor):
    size = SIZES[tensor[0]]
    return sorted(tensor[2][i:i + size] for i in range(0, len(tensor[2]), size))


def is_weight(name, tensor):
    return (tensor[0] in ("F64", "F32", "F16", "BF16") and not name.endswith("inv_freq")
            and tensor[1][:2] != [1, 1])


def compare(how, model, copy):
    model, copy = tensors(model), tensors(copy)
    assert len(model) > 0 and model.keys() == copy.keys()
    first = {}
    for name, tensor in model.items():
        other = copy[name]
        assert tensor[:2] == other[:2], name
        if how == "same" or not is_weight(name, tensor):
            assert tensor[2] == other[2], name
            continue
        values = entries(tensor)
        assert values == entries(other), name
        assert tensor[2] != other[2] or values[0] == values[-1] or len(values) < 5, name
        twin = first.setdefault(tensor[2], name)
        assert copy[twin][2] == other[2], (twin, name)


if __name__ == "__main__":
    compare(*sys.argv[1:])
