"""Write and read a model folder: config.json, model.safetensors (F16)."""
import json
import struct

import numpy
import torch

import models


def save(model, path):
    with open(f"{path}/config.json", "w") as f:
        json.dump(model.config, f, indent=2, sort_keys=True)
        f.write("\n")
    header, data, offset = {"__metadata__": {"format": "pt"}}, [], 0
    for name, tensor in sorted(model.state_dict().items()):
        raw = tensor.detach().numpy().astype("<f2").tobytes()
        header[name] = {"dtype": "F16", "shape": list(tensor.shape),
                        "data_offsets": [offset, offset + len(raw)]}
        data.append(raw)
        offset += len(raw)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the tensors then start at a multiple of 8
    with open(f"{path}/model.safetensors", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(data))


def load(path):
    with open(f"{path}/config.json") as f:
        model = models.build(json.load(f))
    with open(f"{path}/model.safetensors", "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = f.read()
    header.pop("__metadata__", None)
    state = {}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        array = numpy.frombuffer(data[start:end], "<f2").reshape(entry["shape"])
        state[name] = torch.from_numpy(array.astype("float32"))
    model.load_state_dict(state)
    return model
