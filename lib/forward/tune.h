/* What the files behind noken/tune.h share. */
#ifndef NOKEN_FORWARD_TUNE_H
#define NOKEN_FORWARD_TUNE_H

#include <noken/tune.h>

#include "forward/probe.h"

/* A tensor that is trained; arrays [n]. */
struct nki_tune_tensor {
  const char *name;
  size_t n;
  float *values, *gradient;
  float *mean, *square; /* moments of the gradient */
  float *best;
};

/* Indices of what is trained on, then of what is held out. */
struct nki_split {
  size_t *order; /* [n] */
  size_t n, n_train;
};

enum { NKI_TUNE_STALE = 5 }; /* evaluations in turn that do not lower the loss: the end */

enum nki_example_kind { NKI_NOKEN, NKI_ORDINARY, NKI_TEXT, NKI_N_EXAMPLES };

/* A term of the loss has the kind of its example; evaluations of text have terms beside the loss,
 * -log p of each next token. */
enum { NKI_NEXT_TOKEN = NKI_N_EXAMPLES, NKI_N_TERMS };

/* What the loss is a mean over: a noken (its row), an ordinary token (its number) in a prompt, or a
 * piece of text, in which a token may be replaced. */
struct nki_example {
  enum nki_example_kind kind;
  size_t item, prompt;
  size_t token, position; /* of text: 1 + the ordinary token at the position; 0: as it is */
};

struct nk_tune {
  struct nk_model *model;
  struct nk_forward *forward;
  size_t dim, n_vocabulary;
  struct nk_tune_options options;  /* without what they point to; 0 is replaced by the defaults */
  struct nki_tune_tensor *tensors; /* [n_tensors] */
  struct nk_weight_gradient *weights; /* [n_tensors] */
  size_t n_tensors;
  float *given; /* [n_nokens, dim] and distances [n_nokens], where nokens are searched */
  double *distances;
  float *nokens;            /* [n_nokens, dim] */
  char **prompts;           /* [n_prompts] */
  struct nk_probe **probes; /* [n_probes] of the prompts, then of prompts for ordinary tokens */
  size_t n_prompts, n_probes;
  float **targets;     /* [n_prompts] log q [n_vocabulary] */
  float *token_target; /* [n_prompts, n_vocabulary] of options.target, or NULL */
  int64_t *reference;  /* [n_reference] of all probes */
  size_t n_reference;
  int64_t *ordinary;          /* [n_ordinary] of the loss: none is in a reference */
  struct nk_sequence *pieces; /* [n_pieces] of texts */
  size_t n_pieces;
  struct nki_split of_nokens, of_prompts, of_ordinary, of_pieces;
  uint64_t input;       /* hash of what the options point to and of the model */
  size_t step, n_stale; /* n_stale: evaluations in turn that did not lower the loss */
  double best_loss;
  double sums[NKI_N_EXAMPLES]; /* of the batches' losses since the last row */
  size_t n_sums;
  struct nk_tune_row *rows; /* [n_rows] */
  size_t n_rows;
  bool has_values; /* the model may have the trained values */
  bool done;
};

/* The learning rate of a step, counted from 1 (tune.c). */
double nki_tune_rate(const struct nk_tune_options *options, size_t step);

/* ---- Input (tune_input.c) ---- */

/* The probe of a prompt for the model as it is now; NULL on failure. */
struct nk_probe *nki_tune_probe(struct nk_tune *tune, size_t prompt);
/* Probes, ordinary tokens, pieces of text, what is held out, and the hash of all. NK_OK or a
 * negative code. */
int nki_tune_read(struct nk_tune *tune, const struct nk_tune_options *options);
/* The prompts' references by the model of the files, and targets: the long part. */
int nki_tune_refer(struct nk_tune *tune, const struct nk_tune_options *options);

/* ---- Weights (tune_weights.c) ---- */

/* Chooses the tensors and copies their values, which the model can use from now on. */
int nki_tune_choose(struct nk_tune *tune);
/* The model has the trained values, or those of its files. */
int nki_tune_use(struct nk_tune *tune, bool trained);
/* One step of AdamW with the tensors' gradients; step counts from 1. */
void nki_tune_update(struct nk_tune *tune, double rate, size_t step);

/* ---- Loss (tune_loss.c) ---- */

/* sums [NKI_N_TERMS] += the examples' terms, n_terms their number; with `train` without those
 * beside the loss, and the tensors' gradients become those of the loss. */
int nki_tune_loss(struct nk_tune *tune, const struct nki_example *examples, size_t n, bool train,
                  double *sums, size_t *n_terms);

/* ---- Search (tune_search.c) ---- */

/* The given nokens and their distances, where they are to be searched. */
int nki_tune_read_distances(struct nk_tune *tune, const struct nk_tune_options *options);
/* Searches the nokens that are trained on anew, where that is due before this step. */
int nki_tune_search(struct nk_tune *tune);
/* Searches those that are held out, in these prompts; NK_OK where none are searched. */
int nki_tune_search_held(struct nk_tune *tune, const size_t *prompts, size_t n_prompts);

/* ---- Evaluation (tune_evaluate.c) ---- */

/* Adds a row, and keeps the values where they are the best so far. */
int nki_tune_evaluate(struct nk_tune *tune);

/* ---- Checkpoints (tune_checkpoint.c) ---- */

/* The state of the file at path. */
int nki_tune_load(struct nk_tune *tune, const char *path);

#endif
