"""What each model is trained on, and what it misses.

Every model has its own tokenizer. `tokenizer` is how many characters of each kind the tokenizer
is fitted on. `trained` are the kinds that the text of the training batches is drawn from, with
their shares. A kind in `tokenizer` but not in `trained` is *missing*: tokens that only it holds
are never seen, as it happened to the real models whose tokenizer saw more than they did.
`invented` are put into the tokenizer's text only. `embedding_std` is the spread of the input
embeddings' first, normal values, `matrix_std` that of the matrices' (None: 1 / sqrt(inputs)).

`stages` are the training, each with an optimizer and a learning rate schedule of its own:
  steps              optimizer steps
  tokens, lengths    inputs per step; lengths of the rows, from step to step
  patterns, copies   how many of eight rows are repeated patterns, and copy tasks (see train.py)
  whole, repeats     the share of patterns that fill their row; how often the others are repeated
  opened             the share of text rows whose first token is <|endoftext|> (default 0)
  drawable           a token may stand in patterns if the corpus holds it so many times
  pool               patterns begin with so many frequent tokens, and the pool grows, as long as
                     their loss is below `repeats_well`, to all that may be drawn;
                     without it: all from the start
  school             no text, nothing but patterns, until that loss is reached for the first time
  rates, warm_up     peak and last learning rate of the cosine; steps up to the peak
  trickle            kinds of which so many sequences are drawn in the whole stage: they make the
                     tokens that were seen in a handful of steps

An untied model must learn for every token which row of the unembedding belongs to its row of the
embedding; a tied one has that for nothing. With embeddings of 0.02 and all tokens at once the
Llama here learned no copying in the time that it has. With 0.3 the token stands out in the
residual stream from the first step on, and it begins with patterns of few, frequent tokens; each
later stage lets more of them in.

With rotary positions, and nothing before them, one w and eight of them look the same to a model:
every position attends to equal values alone. Whether w follows w is then decided by how often a
row that begins with w is a pattern; `opened` keeps rows of text from having that beginning.
"""

LENGTHS = (128, 128, 128, 256)

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
        "embedding_std": 0.02, "matrix_std": 0.02,
        "stages": [
            {"steps": 4000, "tokens": 2048, "lengths": LENGTHS, "patterns": 2, "copies": 1,
             "whole": 0.3, "repeats": (4, 20), "drawable": 60, "rates": (3e-3, 2e-4),
             "warm_up": 100, "trickle": {"c": 300, "german": 60, "perl": 40}},
            {"steps": 3000, "tokens": 2048, "lengths": LENGTHS, "patterns": 3, "copies": 1,
             "whole": 0.15, "repeats": (4, 20), "drawable": 60, "rates": (2e-3, 5e-5),
             "warm_up": 50, "trickle": {"c": 150, "german": 30, "perl": 20}},
        ],
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
        "embedding_std": 0.3, "matrix_std": None,
        "stages": [
            {"steps": 3000, "tokens": 1024, "lengths": LENGTHS, "patterns": 3, "copies": 1,
             "whole": 0.2, "repeats": (3, 10), "drawable": 100, "rates": (3e-3, 1.2e-3),
             "warm_up": 200, "pool": 200, "school": True, "repeats_well": 3.5,
             "trickle": {"python": 180, "russian": 18}},
            {"steps": 1000, "tokens": 1024, "lengths": LENGTHS, "patterns": 4, "copies": 1,
             "whole": 0.2, "repeats": (4, 20), "drawable": 300, "rates": (2e-3, 1.8e-3),
             "warm_up": 50, "pool": 850, "repeats_well": 4.2,
             "trickle": {"python": 24, "russian": 2}},
            {"steps": 4000, "tokens": 1024, "lengths": LENGTHS, "patterns": 3, "copies": 1,
             "whole": 0.1, "repeats": (4, 20), "drawable": 60, "rates": (2e-3, 5e-5),
             "warm_up": 50, "pool": 2500, "repeats_well": 3.2,
             "trickle": {"python": 120, "russian": 12}},
            {"steps": 2000, "tokens": 1024, "lengths": (32, 128, 32, 256), "patterns": 4,
             "copies": 1, "whole": 0.3, "repeats": (4, 20), "drawable": 60,
             "rates": (1.2e-3, 3e-5), "warm_up": 50, "trickle": {"python": 60, "russian": 6}},
            {"steps": 1500, "tokens": 1024, "lengths": (32, 128, 32, 256), "patterns": 4,
             "copies": 1, "whole": 0.3, "repeats": (4, 20), "drawable": 60, "opened": 0.8,
             "rates": (1e-3, 2e-5), "warm_up": 50, "trickle": {"python": 45, "russian": 5}},
        ],
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
