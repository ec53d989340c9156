#!/usr/bin/python3
"""Train one of the models of recipes.py and write its folder.

    train.py WORK MODEL OUT [STAGE]      STAGE: go on with this stage, from WORK/MODEL

OUT holds tokenizer.json already (see bpe.py). Written are config.json, model.safetensors and
counts.tsv, at the end and, so that there is always a usable model, every SAVE_EVERY steps to
WORK/MODEL (tokenizer.json is copied there).

The sequences of a batch, its rows, have one length; the length changes from step to step, so that
every position is trained and short prompts are known too. Some of the rows are repeated patterns
of one to eight random tokens, some are copy tasks, such as  Please repeat the string "X" back to
me: "X",  and the rest is text, cut anywhere from the documents of a kind. recipes.py has the
numbers.

Which tokens may stand in patterns and copy tasks matters, because it must not show the model a
token that the text does not: they are drawn from the tokens that the trained kinds hold often
enough. Rarer ones are seen only where the text has them, so that there are tokens seen in 1, 10
and 100 steps as well as in none.

counts.tsv: for each id, `count`, how often the token stood in a batch's sequences, and `steps`, in
how many optimizer steps. A row is its inputs and, one further, its targets; each
of its tokens is counted once.
"""
import bisect
import math
import os
import random
import shutil
import sys
import time

import numpy
import torch

import bpe
import folder
import models
import recipes

BETAS, WEIGHT_DECAY, CLIP = (0.9, 0.98), 0.1, 1.0
POOL_GROWTH = 1.005  # per step
SAVE_EVERY = 500
REPORT_EVERY = 50

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

    def __init__(self, work, recipe, stage, tokenizer):
        self.rng = random.Random(f"{recipe['seed']} {stage}")
        self.stage = recipe["stages"][stage]
        self.tokenizer = tokenizer
        self.streams = {}
        for kind in {**recipe["trained"], **self.stage["trickle"]}:
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
        self.drawable = order[corpus[order] >= self.stage["drawable"]].tolist()
        # The square root lies between uniform and by frequency.
        self.weights = numpy.cumsum(numpy.sqrt(corpus[self.drawable])).tolist()
        self.school = self.stage.get("school", False)
        self.pool = self.stage.get("pool", len(self.drawable))
        self.pattern_loss = math.log(recipes.VOCABULARY)
        self.templates = [[tokenizer.encode(part) for part in t.split("{}")] for t in TEMPLATES]

    def learned(self, pattern_loss):
        """Tell the mean loss of a batch's patterns: the pool grows when the model repeats it."""
        self.pattern_loss += 0.05 * (pattern_loss - self.pattern_loss)
        if self.pattern_loss < self.stage.get("repeats_well", 0):
            self.school = False
            self.pool = min(len(self.drawable), math.ceil(self.pool * POOL_GROWTH))

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
        row = stream[start:start + length].tolist()
        if self.rng.random() < self.stage.get("opened", 0):
            row[0] = self.tokenizer.special
        return row

    def patterns(self, length):
        """One pattern all along, or several one after the other."""
        row = self.opening()
        whole = self.rng.random() < self.stage["whole"]
        while len(row) < length:
            size = self.rng.randint(1, 8) if whole else self.rng.choice((1, 1, 1, 2, 3, 4, 6, 8))
            pattern = [self.token() for _ in range(size)]
            row += pattern * (length if whole else self.rng.randint(*self.stage["repeats"]))
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
        return (self.stage[what] * rows + self.rng.randrange(8)) // 8

    def batch(self, rows, length, trickle):
        """([rows, length + 1], the number of patterns, which come first).

        trickle: a list of kinds whose sequences take the place of text.
        """
        n_patterns, n_copies = self.share("patterns", rows), self.share("copies", rows)
        if self.school:
            n_patterns, n_copies = max(0, rows - len(trickle)), 0
        out = [self.patterns(length + 1) for _ in range(n_patterns)]
        out += [self.copies(length + 1) for _ in range(n_copies)]
        while len(out) < rows:
            kind = trickle.pop() if trickle else self.rng.choices(self.kinds, self.shares)[0]
            out.append(self.text(length + 1, kind))
        return torch.tensor(out), n_patterns


def trickle_schedule(stage, rng):
    """{step: [kinds]}: the sequences of the trickled kinds, spread at random over the stage."""
    schedule = {}
    for kind, n in stage["trickle"].items():
        for _ in range(n):
            schedule.setdefault(rng.randrange(stage["steps"]), []).append(kind)
    return schedule


def optimizer(model):
    """AdamW. Matrices decay, the embeddings among them; biases and norms do not."""
    decay = [p for p in model.parameters() if p.dim() > 1]
    rest = [p for p in model.parameters() if p.dim() < 2]
    return torch.optim.AdamW([{"params": decay, "weight_decay": WEIGHT_DECAY},
                              {"params": rest, "weight_decay": 0.0}],
                             betas=BETAS, foreach=True)


def rate(step, stage):
    peak, last = stage["rates"]
    if step < stage["warm_up"]:
        return peak * (step + 1) / stage["warm_up"]
    done = (step - stage["warm_up"]) / (stage["steps"] - stage["warm_up"])
    return last + (peak - last) * 0.5 * (1 + math.cos(math.pi * done))


class Truth:
    """How often, and in how many steps, each token was shown."""

    def __init__(self, path=None):
        self.count = numpy.zeros(recipes.VOCABULARY, dtype=numpy.int64)
        self.steps = numpy.zeros(recipes.VOCABULARY, dtype=numpy.int64)
        if path:
            table = numpy.loadtxt(path, dtype=numpy.int64, skiprows=1)
            self.count, self.steps = table[:, 1].copy(), table[:, 2].copy()

    def shown(self, batch):
        n = numpy.bincount(batch.numpy().ravel(), minlength=recipes.VOCABULARY)
        self.count += n
        self.steps += n > 0

    def write(self, path):
        with open(path, "w") as f:
            f.write("id\tcount\tsteps\n")
            for i, (count, steps) in enumerate(zip(self.count.tolist(), self.steps.tolist())):
                f.write(f"{i}\t{count}\t{steps}\n")


def save(model, truth, path):
    folder.save(model, path)
    truth.write(f"{path}/counts.tsv")


def train_stage(model, truth, data, stage, checkpoint):
    schedule = trickle_schedule(stage, data.rng)
    adam = optimizer(model)
    start, total = time.time(), 0.0
    for step in range(stage["steps"]):
        length = stage["lengths"][step % len(stage["lengths"])]
        rows = stage["tokens"] // length
        batch, n_patterns = data.batch(rows, length, schedule.get(step, []))
        truth.shown(batch)

        hidden = model.hidden(batch[:, :-1]).reshape(rows * length, -1)
        losses = torch.empty(rows * length)
        loss = models.FusedCrossEntropy.apply(hidden, model.unembedding(),
                                              batch[:, 1:].reshape(-1), losses) / (rows * length)
        adam.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        for group in adam.param_groups:
            group["lr"] = rate(step, stage)
        adam.step()

        if n_patterns:
            data.learned(losses[:n_patterns * length].mean().item())
        total += loss.item() / REPORT_EVERY
        if (step + 1) % REPORT_EVERY == 0:
            print(f"step {step + 1} loss {total:.3f} patterns {data.pattern_loss:.3f} "
                  f"pool {data.pool} seconds {time.time() - start:.0f}", flush=True)
            total = 0.0
        if (step + 1) % SAVE_EVERY == 0:
            save(model, truth, checkpoint)


def main():
    work, name, out = sys.argv[1:4]
    first_stage = int(sys.argv[4]) if len(sys.argv) > 4 else 0
    recipe = recipes.RECIPES[name]
    checkpoint = os.path.join(work, name)
    os.makedirs(checkpoint, exist_ok=True)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(recipe["seed"])

    tokenizer = bpe.Tokenizer(f"{out}/tokenizer.json")
    if first_stage:
        model, truth = folder.load(checkpoint), Truth(f"{checkpoint}/counts.tsv")
    else:
        config = {"gpt2": models.gpt2_config, "llama": models.llama_config}
        config = config[recipe["architecture"]](recipes.VOCABULARY, tokenizer.special)
        model = models.build(config, recipe["embedding_std"], recipe["matrix_std"])
        truth = Truth()
        shutil.copy(f"{out}/tokenizer.json", checkpoint)
    print(sum(p.numel() for p in model.parameters()), "parameters", flush=True)
    for i, stage in list(enumerate(recipe["stages"]))[first_stage:]:
        data = Data(work, recipe, i, tokenizer)
        print(f"stage {i}: {len(data.drawable)} tokens may stand in patterns", flush=True)
        train_stage(model, truth, data, stage, checkpoint)
    save(model, truth, out)


if __name__ == "__main__":
    main()
