/* A run of tuning: its options, its steps, its end. */
#include <inttypes.h>
#include <math.h>
#include <noken/base.h>
#include <string.h>

#include "base/error.h"
#include "base/random.h"
#include "forward/tune.h"

enum { MOST_BATCH = 1 << 16 };

const char *const nk_tune_columns[NK_TUNE_COLUMNS] = {"step",
                                                      "rate",
                                                      "loss",
                                                      "noken_loss",
                                                      "ordinary_loss",
                                                      "text_loss",
                                                      "heldout_loss",
                                                      "heldout_noken_loss",
                                                      "heldout_ordinary_loss",
                                                      "heldout_text_loss",
                                                      "heldout_share",
                                                      "ordinary_share",
                                                      "next_token_loss"};
_Static_assert(sizeof(struct nk_tune_row) == NK_TUNE_COLUMNS * sizeof(double), "a row is doubles");

/* ---- Beginning and end ---- */

static int check_options(struct nk_tune_options *o) {
  if (o->nokens == NULL) return nki_fail_null();
  if (o->n_steps == 0) o->n_steps = 400;
  if (o->rate == 0) o->rate = 1e-3;
  if (o->weight == 0) o->weight = 1;
  if (o->n_batch == 0) o->n_batch = 64;
  if (o->hold_out == 0) o->hold_out = 0.2;
  if (o->n_evaluate == 0) o->n_evaluate = o->n_steps < 20 ? 1 : o->n_steps / 20;
  if (!(o->rate > 0 && o->rate <= 1))
    return nk_fail(NK_EUSAGE, "rate %g: above 0, at most 1", o->rate);
  if (!(o->weight > 0 && o->weight <= 1e6))
    return nk_fail(NK_EUSAGE, "weight %g: above 0, at most 1e6", o->weight);
  if (!(o->decay >= 0 && o->decay * o->rate < 1))
    return nk_fail(NK_EUSAGE, "decay %g: from 0, below 1 / rate", o->decay);
  if (!(o->hold_out > 0 && o->hold_out < 1))
    return nk_fail(NK_EUSAGE, "share %g to hold out: between 0 and 1", o->hold_out);
  if (o->n_batch > MOST_BATCH)
    return nk_fail(NK_EUSAGE, "a batch of %zu nokens: at most %d", o->n_batch, MOST_BATCH);
  return NK_OK;
}

static int check_target(const struct nk_tune *tune, const int64_t *target) {
  if (target == NULL || (*target >= 0 && (uint64_t)*target < tune->n_vocabulary)) return NK_OK;
  return nk_fail(NK_EUSAGE, "target token %" PRId64 ": the model has tokens 0 to %zu", *target,
                 tune->n_vocabulary - 1);
}

struct nk_tune *nk_tune_new(struct nk_model *model, const struct nk_tune_options *options) {
  if (model == NULL) return NULL;
  struct nk_tune *tune = nk_calloc(1, sizeof *tune);
  if (tune == NULL) return NULL;
  tune->model = model;
  tune->options = *options;
  int code = check_options(&tune->options);
  if (code == NK_OK) {
    tune->forward = nk_model_forward(model);
    if (tune->forward == NULL) code = nk_error_code();
  }
  if (code == NK_OK) {
    tune->dim = nk_forward_shape(tune->forward)->dim;
    tune->n_vocabulary = nk_forward_shape(tune->forward)->n_vocabulary;
    code = check_target(tune, options->target);
  }
  if (code == NK_OK) code = nki_tune_choose(tune);
  if (code == NK_OK) code = nki_tune_read(tune, options);
  if (code == NK_OK && options->checkpoint != NULL) code = nki_tune_load(tune, options->checkpoint);
  if (code == NK_OK) code = nki_tune_refer(tune, options);
  if (code == NK_OK) code = nki_tune_use(tune, true);
  if (code == NK_OK) return tune;
  nk_tune_free(tune);
  return NULL;
}

void nk_tune_free(struct nk_tune *tune) {
  if (tune == NULL) return;
  if (tune->has_values) nki_tune_use(tune, false);
  for (size_t i = 0; i < tune->n_tensors; i++) {
    struct nki_tune_tensor *t = &tune->tensors[i];
    nk_free(t->values);
    nk_free(t->gradient);
    nk_free(t->mean);
    nk_free(t->square);
    nk_free(t->best);
  }
  for (size_t p = 0; p < tune->n_probes; p++) nk_probe_free(tune->probes[p]);
  for (size_t i = 0; i < tune->n_pieces; i++) nk_free((void *)tune->pieces[i].ids);
  struct nki_split *splits[] = {&tune->of_nokens, &tune->of_prompts, &tune->of_ordinary,
                                &tune->of_pieces};
  for (size_t i = 0; i < sizeof splits / sizeof *splits; i++) nk_free(splits[i]->order);
  nk_free(tune->tensors);
  nk_free(tune->weights);
  nk_free(tune->nokens);
  nk_free(tune->given);
  nk_free(tune->distances);
  for (size_t p = 0; tune->prompts != NULL && p < tune->n_prompts; p++) nk_free(tune->prompts[p]);
  nk_free(tune->prompts);
  nk_free(tune->reference);
  nk_free(tune->probes);
  nk_free(tune->targets);
  nk_free(tune->token_target);
  nk_free(tune->ordinary);
  nk_free(tune->pieces);
  nk_free(tune->rows);
  nk_free(tune);
}

const struct nk_tune_row *nk_tune_rows(const struct nk_tune *tune, size_t *n) {
  *n = tune == NULL ? 0 : tune->n_rows;
  return tune == NULL ? NULL : tune->rows;
}

/* ---- Steps ---- */

double nki_tune_rate(const struct nk_tune_options *o, size_t step) {
  double at = (double)(step - 1), n = (double)o->n_steps, rise = ceil(n / 20);
  if (at < rise) return o->rate * (at + 1) / rise;
  return o->rate / 2 * (1 + cos(acos(-1) * (at - rise) / (n - rise)));
}

static size_t draw(struct nki_random *random, const struct nki_split *split) {
  return split->order[nki_random_below(random, split->n_train)];
}

/* The batch of the step: examples of each kind in turn. */
static void draw_batch(const struct nk_tune *tune, struct nki_example *examples, size_t n_texts) {
  struct nki_random random =
      nki_random_stream(tune->options.seed, NKI_RANDOM_TUNE_STEP, tune->step);
  size_t n = tune->options.n_batch, n_others = tune->n_probes - tune->n_prompts;
  for (size_t i = 0; i < n; i++) {
    size_t noken = draw(&random, &tune->of_nokens), prompt = draw(&random, &tune->of_prompts);
    *examples++ = (struct nki_example){.kind = NKI_NOKEN, .item = noken, .prompt = prompt};
  }
  for (size_t i = 0; i < n; i++) {
    size_t token = draw(&random, &tune->of_ordinary);
    size_t at = (size_t)nki_random_below(&random, tune->of_prompts.n_train + n_others);
    size_t prompt = at < tune->of_prompts.n_train ? tune->of_prompts.order[at]
                                                  : tune->n_prompts + at - tune->of_prompts.n_train;
    *examples++ = (struct nki_example){.kind = NKI_ORDINARY, .item = token, .prompt = prompt};
  }
  for (size_t i = 0; i < n_texts; i++) {
    struct nki_example e = {.kind = NKI_TEXT, .item = draw(&random, &tune->of_pieces)};
    size_t token = draw(&random, &tune->of_ordinary);
    e.position = (size_t)nki_random_below(&random, tune->pieces[e.item].n);
    e.token = i % 2 == 0 ? 0 : token + 1;
    *examples++ = e;
  }
}

static int take_step(struct nk_tune *tune) {
  size_t n_texts = tune->n_pieces == 0 ? 0 : (tune->options.n_batch + 3) / 4;
  size_t n = 2 * tune->options.n_batch + n_texts, n_terms[NKI_N_TERMS] = {0};
  double sums[NKI_N_TERMS] = {0};
  struct nki_example *examples = nk_alloc(n, sizeof *examples);
  if (examples == NULL) return NK_EMEMORY;
  draw_batch(tune, examples, n_texts);
  int code = nki_tune_loss(tune, examples, n, true, sums, n_terms);
  nk_free(examples);
  if (code != NK_OK) return code;
  tune->step++;
  nki_tune_update(tune, nki_tune_rate(&tune->options, tune->step), tune->step);
  for (int kind = 0; kind < NKI_N_EXAMPLES; kind++)
    if (n_terms[kind] > 0) tune->sums[kind] += sums[kind] / (double)n_terms[kind];
  tune->n_sums++;
  return NK_OK;
}

/* The values with the lowest held-out loss become the model's. */
static void finish(struct nk_tune *tune) {
  if (!(tune->best_loss < tune->rows[0].heldout_loss))
    nk_warn("no step lowered the held-out loss: the weights are as they were");
  for (size_t i = 0; i < tune->n_tensors; i++)
    memcpy(tune->tensors[i].values, tune->tensors[i].best, tune->tensors[i].n * sizeof(float));
  tune->done = true;
}

int nk_tune_step(struct nk_tune *tune, bool *done) {
  if (tune == NULL) return nki_fail_null();
  const struct nk_tune_options *o = &tune->options;
  int code = NK_OK;
  if (!tune->done && tune->n_rows == 0) code = nki_tune_evaluate(tune);
  if (!tune->done && code == NK_OK) {
    code = nki_tune_search(tune);
    if (code == NK_OK) code = take_step(tune);
    bool last = tune->step == o->n_steps;
    if (code == NK_OK && (last || tune->step % o->n_evaluate == 0)) code = nki_tune_evaluate(tune);
    if (code == NK_OK && (last || tune->n_stale >= NKI_TUNE_STALE)) finish(tune);
    if (code == NK_OK)
      code = nk_progress("steps", tune->done ? o->n_steps : tune->step, o->n_steps);
  }
  *done = tune->done;
  return code;
}
