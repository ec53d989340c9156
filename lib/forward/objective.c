/* Objectives: one number for each vector in the place of probes, and its gradient. Each probe's
 * items are a batch of nk_gradient_run, whose terms carry the weight of the mean over probes. */
#include "forward/objective.h"

#include <string.h>

#include "base/error.h"
#include "model/dtype.h"

static const size_t GRADIENT_BYTES = (size_t)64 << 20; /* of the vectors that are run at once */

struct run {
  const struct nk_objective_options *objective;
  const float *x;
  double *values;
  float *gradients; /* or NULL */
};

/* ---- Checks ---- */

/* A token that is summed twice would count twice; a text may repeat one. */
static int check_twice(const int64_t *ids, size_t n, size_t n_vocabulary) {
  unsigned char *given = nk_calloc(n_vocabulary, 1);
  if (given == NULL) return NK_EMEMORY;
  size_t i = 0;
  while (i < n && given[ids[i]]++ == 0) i++;
  nk_free(given);
  if (i == n) return NK_OK;
  return nk_fail(NK_EUSAGE, "objective: id %lld is given twice", (long long)ids[i]);
}

static int check_ids(const struct nk_objective_options *o, const struct nk_forward_shape *shape) {
  if (o->kind != NK_OBJECTIVE_TOKENS && o->kind != NK_OBJECTIVE_TEXT) return NK_OK;
  if (o->ids == NULL || o->n_ids == 0)
    return nk_fail(NK_EUSAGE, "objective: no ids of tokens whose probability it is");
  for (size_t i = 0; i < o->n_ids; i++)
    if (o->ids[i] < 0 || (size_t)o->ids[i] >= shape->n_vocabulary)
      return nk_fail(NK_EUSAGE, "objective: id %lld: the model has tokens 0 to %zu",
                     (long long)o->ids[i], shape->n_vocabulary - 1);
  return o->kind == NK_OBJECTIVE_TEXT ? NK_OK : check_twice(o->ids, o->n_ids, shape->n_vocabulary);
}

static int check_probe(const struct nk_objective_options *o, size_t number) {
  const struct nk_probe *probe = o->probes[number], *first = o->probes[0];
  if (probe == NULL) return nki_fail_null();
  const struct nk_forward_shape *shape = &probe->forward->config.shape;
  size_t n_tail = o->kind == NK_OBJECTIVE_TEXT ? o->n_ids - 1 : 0;
  if (probe->model != first->model || probe->layer != first->layer || probe->mode != first->mode)
    return nk_fail(NK_EUSAGE,
                   "objective: prompt '%s': expected the model, the layer and the mode of prompt "
                   "'%s'",
                   probe->prompt.name, first->prompt.name);
  if (probe->offsets[probe->n_offsets - 1] != probe->end)
    return nk_fail(NK_EUSAGE, "objective: prompt '%s': its last offset is %zu, not its end at %zu",
                   probe->prompt.name, probe->offsets[probe->n_offsets - 1], probe->end);
  if (n_tail > shape->n_positions - probe->prompt.n)
    return nk_fail(NK_EUSAGE,
                   "prompt '%s': %zu tokens and %zu of a text: the model's context is %zu",
                   probe->prompt.name, probe->prompt.n, n_tail, shape->n_positions);
  return NK_OK;
}

int nki_objective_check(const struct nk_objective_options *o) {
  if (o->probes == NULL || o->n_probes == 0) return nk_fail(NK_EUSAGE, "objective: no probes");
  if ((unsigned)o->kind > NK_OBJECTIVE_TEXT)
    return nk_fail(NK_EUSAGE, "objective: no such kind: %d", (int)o->kind);
  if (o->probes[0] == NULL) return nki_fail_null();
  int code = check_ids(o, &o->probes[0]->forward->config.shape);
  for (size_t i = 0; i < o->n_probes && code == NK_OK; i++) code = check_probe(o, i);
  return code;
}

/* ---- A block of vectors in one probe's place ---- */

static size_t n_terms_of(const struct nk_objective_options *o) {
  return o->kind == NK_OBJECTIVE_TEXT ? o->n_ids : 1;
}

/* terms [n, n_terms_of]. */
static void make_terms(const struct nk_objective_options *o, const struct nk_probe *probe, size_t n,
                       struct nk_term *terms) {
  static const enum nk_term_kind kinds[] = {NK_TERM_KL, NK_TERM_ENTROPY, NK_TERM_LOG_PROB,
                                            NK_TERM_LOG_PROB};
  size_t n_each = n_terms_of(o), vocabulary = probe->forward->config.shape.n_vocabulary;
  double weight = (o->minimize ? -1.0 : 1.0) / (double)o->n_probes;
  for (size_t i = 0; i < n; i++)
    for (size_t k = 0; k < n_each; k++) {
      struct nk_term *t = &terms[i * n_each + k];
      *t = (struct nk_term){.sequence = i,
                            .position = probe->base + probe->end + k,
                            .kind = kinds[o->kind],
                            .weight = weight};
      if (o->kind == NK_OBJECTIVE_KL)
        t->vector = probe->reference->side[0].log_mean + (probe->n_offsets - 1) * vocabulary;
      if (t->kind != NK_TERM_LOG_PROB) continue;
      t->ids = o->ids + k;
      t->n_ids = o->kind == NK_OBJECTIVE_TEXT ? 1 : o->n_ids;
      t->summed = o->kind == NK_OBJECTIVE_TOKENS;
    }
}

void nki_add_vector_gradients(const struct nk_probe *probe, const struct nk_batch *batch,
                              const float *overrides, float *gradients) {
  size_t dim = probe->forward->config.shape.dim;
  for (size_t i = 0; i < batch->n_overrides; i++)
    if (batch->overrides[i].vector != probe->fill)
      nki_add(gradients + batch->overrides[i].sequence * dim, overrides + i * dim, dim);
}

/* Adds the probe's part of the values and gradients of vectors [first, first + n). */
static int run_block(const struct run *run, const struct nk_probe *probe, size_t first, size_t n) {
  const struct nk_objective_options *o = run->objective;
  size_t dim = probe->forward->config.shape.dim, n_terms = n * n_terms_of(o);
  const struct nki_slice slice = {.n = n,
                                  .vectors = run->x + first * dim,
                                  .tail = o->ids,
                                  .n_tail = o->kind == NK_OBJECTIVE_TEXT ? o->n_ids - 1 : 0};
  struct nki_layout layout;
  struct nk_gradient gradient = {.terms = nk_alloc(n_terms, sizeof *gradient.terms),
                                 .n_terms = n_terms,
                                 .values = nk_alloc(n, sizeof *gradient.values)};
  int code = nki_layout_make(probe, &slice, &layout);
  if (gradient.terms == NULL || gradient.values == NULL) code = NK_EMEMORY;
  if (code == NK_OK && run->gradients != NULL) {
    gradient.overrides = nk_alloc(layout.batch.n_overrides, dim * sizeof(float));
    if (gradient.overrides == NULL) code = NK_EMEMORY;
  }
  if (code != NK_OK) goto done;
  make_terms(o, probe, n, gradient.terms);
  code = nk_gradient_run(probe->forward, &layout.batch, &gradient);
  if (code != NK_OK) goto done;
  for (size_t i = 0; i < n; i++) run->values[first + i] += gradient.values[i];
  if (run->gradients != NULL)
    nki_add_vector_gradients(probe, &layout.batch, gradient.overrides,
                             run->gradients + first * dim);
done:
  nki_layout_free(&layout);
  nk_free(gradient.terms);
  nk_free(gradient.values);
  nk_free(gradient.overrides);
  return code;
}

/* Vectors that are run at once. */
static size_t block_size(const struct nk_probe *probe) {
  size_t n_places = probe->prompt.n_slots + (probe->at_position ? 1 : 0);
  size_t n = GRADIENT_BYTES / (2 * n_places * probe->forward->config.shape.dim * sizeof(float));
  return n < 1 ? 1 : n < NKI_ITEMS_AT_ONCE ? n : NKI_ITEMS_AT_ONCE;
}

static int run_probe(const struct run *run, struct nk_probe *probe, size_t n) {
  size_t step = block_size(probe);
  int code = NK_OK;
  if (run->objective->kind == NK_OBJECTIVE_KL) code = nki_probe_need_reference(probe);
  for (size_t first = 0; first < n && code == NK_OK; first += step)
    code = run_block(run, probe, first, n - first < step ? n - first : step);
  return code;
}

int nk_objective_run(const struct nk_objective_options *objective, const float *x, size_t n,
                     double *values, float *gradients) {
  const struct run run = {objective, x, values, gradients};
  int code = nki_objective_check(objective);
  if (code != NK_OK || n == 0) return code;
  size_t dim = objective->probes[0]->forward->config.shape.dim;
  size_t bad = nki_first_not_finite(x, n * dim);
  if (bad < n * dim)
    return nk_fail(NK_EDATA, "vector %zu: component %zu is not finite", bad / dim, bad % dim);
  memset(values, 0, n * sizeof *values);
  if (gradients != NULL) memset(gradients, 0, n * dim * sizeof *gradients);
  for (size_t i = 0; i < objective->n_probes && code == NK_OK; i++)
    code = run_probe(&run, objective->probes[i], n);
  return code;
}
