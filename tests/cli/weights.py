"""What nk-info prints of the weights of safetensors models, from the files' headers: model,
parameters, bytes, types (the largest first).

usage: weights.py FOLDER...
"""
import glob
import json
import math
import struct
import sys

for folder in sys.argv[1:]:
    header = {}
    for path in glob.glob(glob.escape(folder) + "/model*.safetensors"):
        with open(path, "rb") as file:
            header.update(json.loads(file.read(struct.unpack("<Q", file.read(8))[0])))
    header.pop("__metadata__", None)
    parameters = total = 0
    types = {}
    for name, tensor in header.items():
        n = math.prod(tensor["shape"])
        if name.endswith("_blocks"):
            parameters += 2 * n
        elif name.endswith(".attn.bias") and len(tensor["shape"]) == 4:
            pass  # GPT-2's causal mask
        elif tensor["dtype"] in ("F64", "F32", "F16", "BF16"):
            parameters += n
        begin, end = tensor["data_offsets"]
        total += end - begin
        types[tensor["dtype"]] = types.get(tensor["dtype"], 0) + end - begin
    order = sorted(types, key=lambda name: (-types[name], name))
    print(folder.rstrip("/").split("/")[-1], parameters, total, " ".join(order), sep="\t")
