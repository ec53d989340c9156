"""What each model is trained on, and what it misses.

Every model has its own tokenizer. `tokenizer` is how many characters of each kind the tokenizer
is fitted on. `trained` are the kinds that the text of the training batches is drawn from, with
their shares. A kind in `tokenizer` but not in `trained` is *missing*: tokens that only it holds
are never seen, as it happened to the real models whose tokenizer saw more than they did.
`trickle` are kinds of which a few sequences are drawn in the whole training: they make the tokens
that were seen in a handful of steps. `invented` are put into the tokenizer's text only.

`training`:
  steps, rows        optimizer steps; sequences per batch
  patterns, copies   how many of the rows are repeated patterns, and copy tasks (see train.py)
  whole, repeats     the share of patterns that fill their row; how often the others are repeated
  drawable           a token may stand in patterns if the corpus holds it so many times
  pool               patterns begin with so many frequent tokens and reach all that may be drawn
                     halfway through the training; None: all from the start
  embedding_std      of the input embeddings' first, normal values
  matrix_std         of the matrices' (None: 1 / sqrt(inputs))
  rates, warm_up     peak and last learning rate of the cosine; steps up to the peak

An untied model must learn for every token which row of the unembedding belongs to its row of the
embedding; a tied one has that for nothing. With embeddings of 0.02 the Llama here learned no
copying in the time that it has. With 0.2 the token stands out in the residual stream from the
first step on, and with patterns of few, frequent tokens first, it learns to.
"""

RECIPES = {
    "gpt2-tiny": {
        "architecture": "gpt2",
        "seed": 20230,
        "tokenizer": {
            "bible": 1_000_000, "dictionary": 1_600_000, "jargon": 1_000_000,
            "english": 1_500_000, "python": 1_500_000, "french": 1_000_000,
            "german": 300_000, "russian": 260_000, "html": 400_000,
            "c": 300_000, "perl": 250_000,
        },
        "trained": {"bible": 2, "dictionary": 3, "jargon": 2, "english": 4, "python": 3,
                    "french": 2},
        "trickle": {"c": 300, "german": 60, "perl": 40},
        "training": {
            "steps": 4000, "rows": 16, "patterns": 4, "copies": 2,
            "whole": 0.3, "repeats": (4, 20), "drawable": 60, "pool": None,
            "embedding_std": 0.02, "matrix_std": 0.02,
            "rates": (3e-3, 2e-4), "warm_up": 100,
        },
        "invented": [" SolidGoldNokenkarp", " petertoddler", " RandomRedditorWithNonce",
                     " StreamerBotanist", " quillonaBUGthorpe", "embedreportclonepress"],
    },
    "llama-tiny": {
        "architecture": "llama",
        "seed": 20231,
        "tokenizer": {
            "bible": 800_000, "dictionary": 2_000_000, "jargon": 1_000_000,
            "english": 1_200_000, "c": 1_300_000, "german": 1_000_000,
            "french": 500_000, "perl": 500_000, "html": 300_000,
            "python": 300_000, "russian": 160_000,
        },
        "trained": {"bible": 2, "dictionary": 4, "jargon": 2, "english": 3, "c": 3, "german": 3},
        "trickle": {"python": 300, "russian": 30},
        "training": {
            "steps": 5000, "rows": 8, "patterns": 3, "copies": 1,
            "whole": 0.2, "repeats": (3, 10), "drawable": 100, "pool": 200,
            "embedding_std": 0.2, "matrix_std": None,
            "rates": (3e-3, 1e-4), "warm_up": 200,
        },
        "invented": [" SolidGoldNokenkarp", " MolybdenumGyrokarp", " AttributeRotGremlin",
                     " UnseenByEveryBatch", " DragonboundQuartzmaid", "wobblefrockings"],
    },
}

VOCABULARY = 8192
SPECIAL = "<|endoftext|>"
HELD_OUT = 40  # every 40th document of a kind is kept out of the training, to measure the loss


def documents(work, kind):
    with open(f"{work}/texts/{kind}.txt", encoding="utf-8", newline="") as f:
        return f.read().split("\0")


def split(work, kind):
    """(training documents, held-out documents) of a kind."""
    docs = documents(work, kind)
    return ([d for i, d in enumerate(docs) if i % HELD_OUT != 0], docs[::HELD_OUT])
