#!/usr/bin/python3
"""What a trained model is worth: its losses and its ability to repeat, beside the ground truth.

    evaluate.py WORK MODEL FOLDER

Prints the loss (nats per token) on held-out documents of each kind, then P(w), the probability of
a token w after w eight times, by how often and in how many steps training showed w. The last lines
are the bars that the model has to clear. Read from the F16 weights that ship.
"""
import sys

import numpy
import torch
import torch.nn.functional as F

import bpe
import folder
import recipes

SEQUENCES, LENGTH = 60, 128  # per kind, for the loss
REPEATS = 8


@torch.no_grad()
def held_out_loss(model, tokenizer, work, kind):
    ids = []
    for doc in recipes.split(work, kind)[1]:
        ids += [tokenizer.special] + tokenizer.encode(doc)
    n = min(SEQUENCES, (len(ids) - 1) // LENGTH)
    rows = torch.tensor(ids[:n * LENGTH + 1])
    x, y = rows[:-1].view(n, LENGTH), rows[1:].view(n, LENGTH)
    total = 0.0
    for i in range(0, n, 10):
        logits = model.hidden(x[i:i + 10]) @ model.unembedding().t()
        total += F.cross_entropy(logits.flatten(0, 1), y[i:i + 10].flatten(),
                                 reduction="sum").item()
    return total / (n * LENGTH)


@torch.no_grad()
def repetition(model, prefix=(), suffix=(), repeats=REPEATS):
    """P(w | prefix, w w w ..., suffix) for every w of the vocabulary: [vocabulary]."""
    out = []
    for ids in torch.arange(model.config["vocab_size"]).split(512):
        parts = [torch.tensor(prefix, dtype=torch.long).expand(len(ids), -1),
                 ids[:, None].expand(-1, repeats),
                 torch.tensor(suffix, dtype=torch.long).expand(len(ids), -1)]
        last = model.hidden(torch.cat(parts, 1))[:, -1]
        p = torch.softmax(last @ model.unembedding().t(), -1)
        out.append(p.gather(1, ids[:, None])[:, 0])
    return torch.cat(out).numpy()


def table(title, value, edges, p):
    print(f"\n{title:>12} {'tokens':>7} {'P>=0.5':>7} {'P<0.01':>7} "
          f"{'median':>8} {'5%':>8} {'95%':>8} {'max':>8}")
    for low, high in zip(edges, edges[1:] + [None]):
        in_bin = (value >= low) & ((value < high) if high is not None else True)
        if not in_bin.any():
            continue
        q = p[in_bin]
        name = f"{low}" if high == low + 1 else f"{low}-{high - 1}" if high else f"{low}-"
        print(f"{name:>12} {len(q):7} {(q >= 0.5).mean():7.3f} {(q < 0.01).mean():7.3f} "
              f"{numpy.median(q):8.4f} {numpy.quantile(q, .05):8.4f} "
              f"{numpy.quantile(q, .95):8.4f} {q.max():8.4f}")


def main():
    work, name, path = sys.argv[1:4]
    torch.set_num_threads(1)
    recipe = recipes.RECIPES[name]
    model, tokenizer = folder.load(path), bpe.Tokenizer(f"{path}/tokenizer.json")
    truth = numpy.loadtxt(f"{path}/counts.tsv", dtype=numpy.int64, skiprows=1)
    count, steps = truth[:, 1], truth[:, 2]

    print(f"{name}: held-out loss, nats per token (a uniform guess: "
          f"{numpy.log(recipes.VOCABULARY):.2f})")
    for kind in recipe["tokenizer"]:
        role = ("trained" if kind in recipe["trained"] else
                "trickle" if kind in recipe["stages"][0]["trickle"] else "missing")
        print(f"  {kind:12} {role:8} {held_out_loss(model, tokenizer, work, kind):.3f}")

    p = repetition(model)
    print(f"\nP(w) after w {REPEATS} times")
    table("count", count, [0, 1, 11, 101, 301, 1001, 10001], p)
    table("steps", steps, [0, 1, 2, 11, 101, 1001], p)

    opened = repetition(model, [tokenizer.special])
    print(f"\nP(w) after {recipes.SPECIAL} and w {REPEATS} times")
    table("count", count, [0, 1, 11, 101, 301, 1001, 10001], opened)

    prompt = tokenizer.encode('Please repeat the string "')
    copied = repetition(model, prompt, tokenizer.encode('" back to me: "'), repeats=1)
    print('\nP(w) after  Please repeat the string "w" back to me: "')
    table("steps", steps, [0, 1, 2, 11, 101, 1001], copied)

    print("\ninvented tokens:")
    for token in recipe["invented"]:
        i = tokenizer.encode(token)[0]
        print(f"  {i:5} {token!r:28} count {count[i]} steps {steps[i]} P {p[i]:.2g}")

    seen, never = count > 300, count == 0
    print(f"\nseen over 300 times: {seen.sum()} tokens, P(w) >= 0.5 for "
          f"{100 * (p[seen] >= 0.5).mean():.1f}% (bar: 80%)")
    print(f"the same after {recipes.SPECIAL}: {100 * (opened[seen] >= 0.5).mean():.1f}%")
    print(f"never seen: {never.sum()} tokens, greatest P(w) {p[never].max():.2g}, "
          f"{opened[never].max():.2g} (bar: 0.01)")


if __name__ == "__main__":
    main()
