#!/usr/bin/python3
"""Train one of the models of recipes.py and write its folder.

    train.py WORK MODEL OUT

OUT holds tokenizer.json already (see bpe.py). Written are config.json, model.safetensors and
counts.tsv, at the end and, so that there is always a usable model, every SAVE_EVERY steps to
WORK/MODEL (tokenizer.json is copied there).

A batch is `rows` sequences of LENGTH tokens; in one step of four half as many, twice as long, so
that every position is trained. Of the rows some are repeated patterns of one to eight random
tokens, some are copy tasks, such as  Please repeat the string "X" back to me: "X",  and the rest
is text, cut anywhere from the documents of a kind. recipes.py has the numbers.

Which tokens may stand in patterns and copy tasks matters, because it must not show the model a
token that the text does not: they are drawn from the tokens that the trained kinds hold often
enough. Rarer ones are seen only where the text has them, so that there are tokens seen in 1, 10
and 100 steps as well as in none.

counts.tsv: for each id, `count`, how often the token stood in a batch's sequences, and `steps`, in
how many optimizer steps. A sequence is LENGTH + 1 tokens, the inputs and, one further, the
targets; every one of them is counted once.
"""
import argparse
import bisect
import math
import os
import random
import shutil
import time

import numpy
import torch

import bpe
import folder
import models
import recipes

LENGTH = 128
BETAS, WEIGHT_DECAY, CLIP = (0.9, 0.98), 0.1, 1.0
POOL_GROWS = 0.5  # of the steps, until the pool of pattern tokens is complete
SAVE_EVERY = 500
REPORT_EVERY = 100

TEMPLATES = [
    'Please repeat the string "{}" back to me: "{}"\n',
    'Please repeat the string "{}" back to me:\n"{}"\n',
    'Repeat after me: "{}" "{}" "{}"\n',
    'Please repeat: "{}" "{}"\n',
    'The string "{}" is written "{}".\n',
    'Q: What is "{}"? A: "{}"\n',
    'Please repeat the string{} back to me:{}\n',
]


class Data:
    """Draws the sequences of the batches."""

    def __init__(self, work, recipe, tokenizer):
        self.rng = random.Random(recipe["seed"])
        self.recipe = recipe["training"]
        self.tokenizer = tokenizer
        self.streams = {}
        for kind in {**recipe["trained"], **recipe["trickle"]}:
            ids = []
            for doc in recipes.split(work, kind)[0]:
                ids += [tokenizer.special] + tokenizer.encode(doc)
            self.streams[kind] = numpy.array(ids, dtype=numpy.int32)
        self.kinds = list(recipe["trained"])
        self.shares = list(recipe["trained"].values())
        corpus = sum(numpy.bincount(self.streams[k], minlength=recipes.VOCABULARY)
                     for k in self.kinds)
        corpus[tokenizer.special] = 0
        order = numpy.argsort(-corpus, kind="stable")
        self.drawable = order[corpus[order] >= self.recipe["drawable"]].tolist()
        # The square root lies between uniform and by frequency.
        self.weights = numpy.cumsum(numpy.sqrt(corpus[self.drawable])).tolist()
        self.pool = len(self.drawable)
        self.templates = [[tokenizer.encode(part) for part in t.split("{}")] for t in TEMPLATES]

    def widen(self, done):
        """Let the pool of frequent tokens, from which patterns are drawn, grow."""
        first = self.recipe["pool"]
        if first:
            grown = min(1.0, done / POOL_GROWS)
            self.pool = round(first * (len(self.drawable) / first) ** grown)

    def token(self):
        if self.rng.random() < 0.5:
            return self.drawable[self.rng.randrange(self.pool)]
        place = bisect.bisect(self.weights, self.rng.random() * self.weights[self.pool - 1])
        return self.drawable[min(place, self.pool - 1)]

    def opening(self):
        """Half of the sequences that are no text begin as a document does."""
        return [self.tokenizer.special] if self.rng.random() < 0.5 else []

    def text(self, length, kind):
        stream = self.streams[kind]
        start = self.rng.randrange(len(stream) - length)
        return stream[start:start + length].tolist()

    def patterns(self, length):
        """One pattern all along, or several one after the other."""
        row = self.opening()
        whole = self.rng.random() < self.recipe["whole"]
        while len(row) < length:
            size = self.rng.randint(1, 8) if whole else self.rng.choice((1, 1, 1, 2, 3, 4, 6, 8))
            pattern = [self.token() for _ in range(size)]
            row += pattern * (length if whole else self.rng.randint(*self.recipe["repeats"]))
        return row[:length]

    def copies(self, length):
        row = self.opening()
        while len(row) < length:
            parts, token = self.rng.choice(self.templates), self.token()
            row += parts[0]
            for part in parts[1:]:
                row += [token] + part
        return row[:length]

    def share(self, what, rows):
        """How many of the rows are patterns (copies); where it is no whole number, on average."""
        return (self.recipe[what] * rows + self.rng.randrange(self.recipe["rows"])) \
            // self.recipe["rows"]

    def batch(self, rows, length, trickle):
        """[rows, length + 1]; trickle: a list of kinds whose sequences take the place of text."""
        n_patterns, n_copies = self.share("patterns", rows), self.share("copies", rows)
        out = [self.patterns(length + 1) for _ in range(n_patterns)]
        out += [self.copies(length + 1) for _ in range(n_copies)]
        while len(out) < rows:
            kind = trickle.pop() if trickle else self.rng.choices(self.kinds, self.shares)[0]
            out.append(self.text(length + 1, kind))
        return torch.tensor(out)


def trickle_schedule(recipe, steps):
    """{step: [kinds]}: the sequences of the trickled kinds, spread at random over the training."""
    rng = random.Random(recipe["seed"] + 1)
    schedule = {}
    for kind, n in recipe["trickle"].items():
        for _ in range(n):
            schedule.setdefault(rng.randrange(steps), []).append(kind)
    return schedule


def optimizer(model):
    """AdamW. Matrices decay, the embeddings among them; biases and norms do not."""
    decay = [p for p in model.parameters() if p.dim() > 1]
    rest = [p for p in model.parameters() if p.dim() < 2]
    return torch.optim.AdamW([{"params": decay, "weight_decay": WEIGHT_DECAY},
                              {"params": rest, "weight_decay": 0.0}],
                             betas=BETAS, foreach=True)


def rate(step, training):
    peak, last = training["rates"]
    if step < training["warm_up"]:
        return peak * (step + 1) / training["warm_up"]
    done = (step - training["warm_up"]) / (training["steps"] - training["warm_up"])
    return last + (peak - last) * 0.5 * (1 + math.cos(math.pi * done))


def save(model, counts, seen_in, path):
    folder.save(model, path)
    with open(f"{path}/counts.tsv", "w") as f:
        f.write("id\tcount\tsteps\n")
        for i, (count, steps) in enumerate(zip(counts.tolist(), seen_in.tolist())):
            f.write(f"{i}\t{count}\t{steps}\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("work")
    parser.add_argument("model")
    parser.add_argument("out")
    args = parser.parse_args()
    recipe = recipes.RECIPES[args.model]
    training = recipe["training"]
    torch.set_num_threads(1)
    torch.manual_seed(recipe["seed"])
    torch.set_flush_denormal(True)

    tokenizer = bpe.Tokenizer(f"{args.out}/tokenizer.json")
    config = {"gpt2": models.gpt2_config, "llama": models.llama_config}[recipe["architecture"]]
    model = models.build(config(recipes.VOCABULARY, tokenizer.special),
                         training["embedding_std"], training["matrix_std"])
    print(sum(p.numel() for p in model.parameters()), "parameters", flush=True)
    data = Data(args.work, recipe, tokenizer)
    print(len(data.drawable), "tokens may stand in patterns", flush=True)
    schedule = trickle_schedule(recipe, training["steps"])
    adam = optimizer(model)
    counts = numpy.zeros(recipes.VOCABULARY, dtype=numpy.int64)
    seen_in = numpy.zeros(recipes.VOCABULARY, dtype=numpy.int64)
    checkpoint = os.path.join(args.work, args.model)
    os.makedirs(checkpoint, exist_ok=True)
    shutil.copy(f"{args.out}/tokenizer.json", checkpoint)

    start, total, n = time.time(), 0.0, 0
    for step in range(training["steps"]):
        long = step % 4 == 3
        rows, length = training["rows"], LENGTH
        if long:
            rows, length = rows // 2, length * 2
        data.widen(step / training["steps"])
        batch = data.batch(rows, length, schedule.get(step, []))
        shown = numpy.bincount(batch.numpy().ravel(), minlength=recipes.VOCABULARY)
        counts += shown
        seen_in += shown > 0

        hidden = model.hidden(batch[:, :-1]).reshape(rows * length, -1)
        loss = models.FusedCrossEntropy.apply(hidden, model.unembedding(),
                                              batch[:, 1:].reshape(-1)) / (rows * length)
        adam.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        for group in adam.param_groups:
            group["lr"] = rate(step, training)
        adam.step()

        total += loss.item()
        n += 1
        if (step + 1) % REPORT_EVERY == 0:
            print(f"step {step + 1} loss {total / n:.3f} "
                  f"seconds {time.time() - start:.0f}", flush=True)
            total, n = 0.0, 0
        if (step + 1) % SAVE_EVERY == 0:
            save(model, counts, seen_in, checkpoint)
    save(model, counts, seen_in, args.out)


if __name__ == "__main__":
    main()
