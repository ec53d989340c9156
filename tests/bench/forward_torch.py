#!/usr/bin/python3
"""The same work as bench_forward in PyTorch: 512 nokens in a prompt of 24 tokens, the noken at 12,
the entropy at the end, the prefix's keys and values computed once and shared.

    forward_torch.py FOLDER       prints nokens per second (the best of two), then the sum of the
                                  entropies, to be compared
    forward_torch.py --gradient FOLDER  the same of the entropies' gradients with respect to the
                                  nokens, and their length
    forward_torch.py --weights FOLDER  and with respect to all weights; the length of the embedding
                                  matrix's gradient
"""
import json
import math
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

N, LENGTH, SLOT, CHUNK = 512, 24, 12, 128


def read(path):
    raw = np.memmap(path, dtype=np.uint8, mode="r")
    size = int.from_bytes(raw[:8].tobytes(), "little")
    header = json.loads(raw[8:8 + size].tobytes())
    return {name: torch.from_numpy(np.frombuffer(raw[8 + size + e["data_offsets"][0]:
                                                     8 + size + e["data_offsets"][1]],
                                                 dtype="<f4").reshape(e["shape"]).copy())
            for name, e in header.items() if name != "__metadata__"}


def heads(x, n):
    return x.view(x.shape[0], x.shape[1], n, -1).transpose(1, 2)


def block(w, p, x, past):
    """x [b, t, d]; past (k, v) [1, heads, s, head_dim] or None. Returns x and this part's k, v."""
    n, d = 12, x.shape[2]
    y = F.layer_norm(x, (d,), w[p + "ln_1.weight"], w[p + "ln_1.bias"])
    q, k, v = (heads(t, n) for t in torch.addmm(
        w[p + "attn.c_attn.bias"], y.view(-1, d), w[p + "attn.c_attn.weight"]).view(
            *x.shape[:2], -1).split(d, 2))
    t = x.shape[1]
    scores = [(q @ k.transpose(2, 3)) / 8 + torch.full((t, t), -1e9).triu(1)]
    if past is not None:
        scores.insert(0, (q @ past[0].transpose(2, 3)) / 8)
    a = torch.softmax(torch.cat(scores, 3), 3)
    o = a[..., -t:] @ v
    if past is not None:
        o = o + a[..., :-t] @ past[1]
    o = o.transpose(1, 2).reshape(-1, d)
    x = x + torch.addmm(w[p + "attn.c_proj.bias"], o, w[p + "attn.c_proj.weight"]).view_as(x)
    y = F.layer_norm(x, (d,), w[p + "ln_2.weight"], w[p + "ln_2.bias"]).view(-1, d)
    h = torch.addmm(w[p + "mlp.c_fc.bias"], y, w[p + "mlp.c_fc.weight"])
    h = 0.5 * h * (1 + torch.tanh(math.sqrt(2 / math.pi) * (h + 0.044715 * h * h * h)))
    x = x + torch.addmm(w[p + "mlp.c_proj.bias"], h, w[p + "mlp.c_proj.weight"]).view_as(x)
    return x, (k, v)


def run(w, vectors):
    ids = torch.tensor([1000 + 37 * t for t in range(LENGTH)])
    x = (w["wte.weight"][ids[:SLOT]] + w["wpe.weight"][:SLOT])[None]
    past = []
    for i in range(12):
        x, kv = block(w, f"h.{i}.", x, None)
        past.append(kv)
    out = []
    for chunk in vectors.split(CHUNK):
        x = w["wte.weight"][ids[SLOT:]].repeat(len(chunk), 1, 1)
        x[:, 0] = chunk
        x = x + w["wpe.weight"][SLOT:LENGTH]
        for i in range(12):
            x, _ = block(w, f"h.{i}.", x, past[i])
        last = F.layer_norm(x[:, -1], (x.shape[2],), w["ln_f.weight"], w["ln_f.bias"])
        log_p = torch.log_softmax(last @ w["wte.weight"].t(), 1)
        out.append(-(log_p.exp() * log_p).sum(1))
    return torch.cat(out)


def gradients(w, vectors):
    leaves = vectors.clone().requires_grad_()
    for chunk in leaves.split(CHUNK):  # a graph of all would not fit
        run(w, chunk).sum().backward()
    return leaves.grad


def all_gradients(w, vectors):
    for leaf in w.values():
        leaf.grad = None
        leaf.requires_grad_()
    gradients(w, vectors)
    return w["wte.weight"].grad / N


def main():
    weights, gradient = "--weights" in sys.argv, "--gradient" in sys.argv
    torch.set_grad_enabled(weights or gradient)
    w = read(sys.argv[-1] + "/model.safetensors")
    work = all_gradients if weights else gradients if gradient else run
    rows = w["wte.weight"][[17 * i for i in range(N)]].clone()
    torch.set_num_threads(len(__import__("os").sched_getaffinity(0)))
    best = math.inf
    for _ in range(2):
        start = time.time()
        out = work(w, rows)
        best = min(best, time.time() - start)
    print(f"{N / best:.2f} {(out.norm() if weights or gradient else out.sum()).item():.6g}")


if __name__ == "__main__":
    main()
