/* The loss of what is held out, and how much of it is out of distribution. That is judged by
 * references of the model as it is now, as for any model: what ordinary tokens do differs so little
 * in many prompts that by the frozen model's the least change of a weight puts all of them out. */
#include <math.h>
#include <noken/base.h>
#include <string.h>

#include "base/error.h"
#include "forward/tune.h"

enum { AT_ONCE = 64, PIECES_AT_ONCE = 8 }; /* examples of a run: a piece has many distributions */
static const double OUT = 0.05;            /* p-values at most so large are out of distribution */

/* The prompts of an evaluation: those held out; where none is, all. */
static size_t held_prompts(const struct nk_tune *tune, const size_t **prompts) {
  const struct nki_split *s = &tune->of_prompts;
  bool none = s->n_train == s->n;
  *prompts = s->order + (none ? 0 : s->n_train);
  return none ? s->n : s->n - s->n_train;
}

static struct nki_split *split_of(struct nk_tune *tune, enum nki_example_kind kind) {
  return kind == NKI_NOKEN  ? &tune->of_nokens
         : kind == NKI_TEXT ? &tune->of_pieces
                            : &tune->of_ordinary;
}

static double mean_of(const double *sums, const size_t *n_terms, int kind) {
  return n_terms[kind] > 0 ? sums[kind] / (double)n_terms[kind] : (double)NAN;
}

/* *loss = the mean over all held-out examples of the kind; of text also *next = the mean of -log p
 * of each next token. NaN: there are none. */
static int measure(struct nk_tune *tune, enum nki_example_kind kind, double *loss, double *next) {
  struct nki_example examples[AT_ONCE];
  double sums[NKI_N_TERMS] = {0};
  size_t n_terms[NKI_N_TERMS] = {0}, n = 0;
  const struct nki_split *split = split_of(tune, kind);
  const size_t *prompts;
  size_t n_prompts = held_prompts(tune, &prompts);
  size_t most = kind == NKI_TEXT ? PIECES_AT_ONCE : AT_ONCE;
  int code = NK_OK;
  if (kind == NKI_TEXT) n_prompts = 1;
  for (size_t p = 0; p < n_prompts; p++)
    for (size_t i = split->n_train; i < split->n && code == NK_OK; i++) {
      examples[n++] =
          (struct nki_example){.kind = kind, .item = split->order[i], .prompt = prompts[p]};
      bool last = p + 1 == n_prompts && i + 1 == split->n;
      if (n < most && !last) continue;
      code = nki_tune_loss(tune, examples, n, false, sums, n_terms);
      n = 0;
    }
  *loss = mean_of(sums, n_terms, (int)kind);
  if (next != NULL) *next = mean_of(sums, n_terms, NKI_NEXT_TOKEN);
  return code;
}

/* The held-out ordinary tokens and nokens, as items. */
struct held {
  struct nk_items items;
  struct nk_vectors *set;
  float *values;
  int64_t *tokens;
};

static void free_held(struct held *held) {
  nk_vectors_free(held->set);
  nk_free(held->values);
  nk_free(held->tokens);
}

static int gather_held(const struct nk_tune *tune, struct held *held) {
  const struct nki_split *nokens = &tune->of_nokens, *ordinary = &tune->of_ordinary;
  size_t n = nokens->n - nokens->n_train, n_tokens = ordinary->n - ordinary->n_train;
  *held = (struct held){.values = nk_alloc(n, tune->dim * sizeof(float)),
                        .tokens = nk_alloc(n_tokens, sizeof(int64_t))};
  if (held->values == NULL || held->tokens == NULL) return NK_EMEMORY;
  held->set = nk_vectors_new(n, tune->dim, held->values, true);
  if (held->set == NULL) return nk_error_code();
  for (size_t i = 0; i < n; i++)
    memcpy(held->values + i * tune->dim,
           tune->nokens + nokens->order[nokens->n_train + i] * tune->dim,
           tune->dim * sizeof(float));
  for (size_t i = 0; i < n_tokens; i++)
    held->tokens[i] = tune->ordinary[ordinary->order[ordinary->n_train + i]];
  held->items = (struct nk_items){held->tokens, n_tokens, held->set};
  return NK_OK;
}

/* The shares, in the prompts of evaluations, by references of the model as it is now. */
static int measure_shares(struct nk_tune *tune, struct nk_tune_row *row) {
  const size_t *prompts;
  size_t n_prompts = held_prompts(tune, &prompts), out_tokens = 0, out = 0;
  struct held held;
  int code = gather_held(tune, &held);
  for (size_t p = 0; p < n_prompts && code == NK_OK; p++) {
    struct nk_probe *probe = nki_tune_probe(tune, prompts[p]);
    struct nk_behaviour *b = nk_probe_run(probe, &held.items);
    if (b == NULL) code = nk_error_code();
    for (size_t i = 0; code == NK_OK && i < b->n_items; i++)
      *(i < held.items.n_tokens ? &out_tokens : &out) += b->p_value[i] <= OUT;
    nk_behaviour_free(b);
    nk_probe_free(probe);
  }
  if (code == NK_OK) {
    row->heldout_share = (double)out / (double)(n_prompts * held.set->n);
    row->ordinary_share = (double)out_tokens / (double)(n_prompts * held.items.n_tokens);
  }
  free_held(&held);
  return code;
}

/* noken + weight (ordinary + text), where there is a text. */
static double total(const struct nk_tune *tune, double noken, double ordinary, double text) {
  return noken + tune->options.weight * (ordinary + (isnan(text) ? 0 : text));
}

static int keep_row(struct nk_tune *tune, const struct nk_tune_row *row) {
  struct nk_tune_row *grown = nk_realloc(tune->rows, tune->n_rows, tune->n_rows + 1, sizeof *grown);
  if (grown == NULL) return NK_EMEMORY;
  tune->rows = grown;
  grown[tune->n_rows++] = *row;
  tune->n_stale++;
  if (tune->n_rows > 1 && !(row->heldout_loss < tune->best_loss)) return NK_OK;
  tune->n_stale = 0;
  tune->best_loss = row->heldout_loss;
  for (size_t i = 0; i < tune->n_tensors; i++)
    memcpy(tune->tensors[i].best, tune->tensors[i].values, tune->tensors[i].n * sizeof(float));
  return NK_OK;
}

int nki_tune_evaluate(struct nk_tune *tune) {
  double n = tune->n_sums > 0 ? (double)tune->n_sums : (double)NAN, *sums = tune->sums;
  struct nk_tune_row row = {.step = (double)tune->step,
                            .noken_loss = sums[NKI_NOKEN] / n,
                            .ordinary_loss = sums[NKI_ORDINARY] / n,
                            .text_loss = tune->n_pieces > 0 ? sums[NKI_TEXT] / n : (double)NAN};
  row.rate = tune->step > 0 ? nki_tune_rate(&tune->options, tune->step) : 0;
  row.loss = total(tune, row.noken_loss, row.ordinary_loss, row.text_loss);
  const size_t *prompts;
  size_t n_prompts = held_prompts(tune, &prompts);
  int code = nki_tune_search_held(tune, prompts, n_prompts);
  if (code == NK_OK) code = measure(tune, NKI_NOKEN, &row.heldout_noken_loss, NULL);
  if (code == NK_OK) code = measure(tune, NKI_ORDINARY, &row.heldout_ordinary_loss, NULL);
  if (code == NK_OK) code = measure(tune, NKI_TEXT, &row.heldout_text_loss, &row.next_token_loss);
  if (code == NK_OK) code = measure_shares(tune, &row);
  row.heldout_loss =
      total(tune, row.heldout_noken_loss, row.heldout_ordinary_loss, row.heldout_text_loss);
  memset(tune->sums, 0, sizeof tune->sums);
  tune->n_sums = 0;
  return code == NK_OK ? keep_row(tune, &row) : code;
}
