/* Gradients of a batch's scalars. Each term is an ask of the forward pass, so that groups, depth
 * and the rows to compute follow from the terms as they do from asks. The prefix is a pass of its
 * own: where it has gradients, it is differentiated last, by what all groups gave to its keys and
 * values. */
#include <float.h>
#include <math.h>
#include <noken/base.h>
#include <noken/forward.h>
#include <string.h>

#include "base/error.h"
#include "forward/backward.h"
#include "model/dtype.h"

enum { MANY_ROWS = 1024 };        /* enough for the products to be fast */
static const float MOST_LOG = 88; /* whose power of e is a float */

/* What the passes of one kind keep. */
struct tapes {
  struct nki_tape *tapes; /* [n_layers] */
  float *streams;         /* [depth - lowest, rows, dim] */
  float *inside;          /* of all these blocks, or of one */
  float *embedded;        /* [rows, dim], or NULL */
};

struct run {
  struct nk_forward *forward;
  struct nk_batch batch; /* the caller's, with an ask for each term */
  struct nk_gradient *gradient;
  size_t *layers; /* [n_terms] */
  float *answers; /* what the asks are answered in */
  struct nki_plan plan;
  struct nki_work work;
  struct nki_back back;
  struct nki_weight_arrays arrays;
  struct tapes prefix, group;
  size_t lowest;  /* the lowest layer with a gradient; depth: none has */
  bool keep;      /* the inside of all blocks */
  bool of_prefix; /* the prefix has gradients */
};

/* ---- Checks ---- */

/* A reference log q: -inf is a q of 0, from which a divergence can be. */
static int check_reference(const struct nk_term *t, size_t i, size_t n) {
  for (size_t k = 0; k < n; k++) {
    float x = t->vector[k];
    if (x <= MOST_LOG && isfinite(x)) continue;
    if (x == -INFINITY && t->kind == NK_TERM_KL_REVERSE) continue;
    if (x == -INFINITY)
      return nk_fail(NK_EDATA,
                     "term %zu: vector: log q of token %zu is -inf: p is above 0 everywhere, so "
                     "that the divergence is infinite; give each token a finite log q",
                     i, k);
    return nk_fail(NK_EDATA,
                   "term %zu: vector: log q of token %zu is %g: give the natural logarithms of a "
                   "distribution",
                   i, k, (double)x);
  }
  return NK_OK;
}

static int check_vector(const struct nk_forward_shape *shape, const struct nk_term *t, size_t i) {
  bool stream = !nki_term_distribution(t);
  size_t n = stream ? shape->dim : shape->n_vocabulary;
  if (t->kind <= NK_TERM_ENTROPY) return NK_OK;
  if (t->vector == NULL) return nk_fail(NK_EUSAGE, "term %zu: no vector", i);
  if (t->kind == NK_TERM_KL || t->kind == NK_TERM_KL_REVERSE) return check_reference(t, i, n);
  size_t bad = nki_first_not_finite(t->vector, n);
  if (bad < n) return nk_fail(NK_EDATA, "term %zu: component %zu is not finite", i, bad);
  if (stream && t->layer > shape->n_layers)
    return nk_fail(NK_EUSAGE, "term %zu: layer %zu: the model has layers 0 to %zu", i, t->layer,
                   shape->n_layers);
  return NK_OK;
}

static int check_ids(const struct nk_forward_shape *shape, const struct nk_term *t, size_t i) {
  if (t->kind != NK_TERM_LOG_PROB) return NK_OK;
  if (t->ids == NULL || t->n_ids == 0) return nk_fail(NK_EUSAGE, "term %zu: no ids", i);
  for (size_t k = 0; k < t->n_ids; k++) {
    if (t->ids[k] < 0 || (size_t)t->ids[k] >= shape->n_vocabulary)
      return nk_fail(NK_EUSAGE, "term %zu: id %lld: the model has tokens 0 to %zu", i,
                     (long long)t->ids[k], shape->n_vocabulary - 1);
    if (t->id_weights != NULL && !isfinite(t->id_weights[k]))
      return nk_fail(NK_EDATA, "term %zu: the weight of id %lld is not finite", i,
                     (long long)t->ids[k]);
    if (t->id_weights != NULL && t->summed && !(t->id_weights[k] > 0))
      return nk_fail(NK_EDATA,
                     "term %zu: the weight of id %lld is %g: probabilities are summed with weights "
                     "above 0",
                     i, (long long)t->ids[k], (double)t->id_weights[k]);
  }
  return NK_OK;
}

static int check_term(const struct run *run, size_t i) {
  const struct nk_term *t = &run->gradient->terms[i];
  const struct nk_forward_shape *shape = &run->forward->config.shape;
  if (t->sequence == NK_PREFIX)
    return nk_fail(NK_EUSAGE, "term %zu: the prefix has no terms, sequences have", i);
  int code = nki_check_place(&run->batch, "term", i, t->sequence, t->position);
  if (code != NK_OK) return code;
  if ((unsigned)t->kind > NK_TERM_SQUARED_DIFFERENCE)
    return nk_fail(NK_EUSAGE, "term %zu: no such kind: %d", i, (int)t->kind);
  if (!(fabs(t->weight) <= (double)FLT_MAX))
    return nk_fail(NK_EDATA, "term %zu: its weight is %g: gradients are floats, at most %g", i,
                   t->weight, (double)FLT_MAX);
  code = check_vector(shape, t, i);
  return code == NK_OK ? check_ids(shape, t, i) : code;
}

static int check(const struct run *run) {
  int code = nki_check_gradients(run->forward);
  if (code != NK_OK) return code;
  if (run->batch.n_asks > 0 || run->batch.generation != NULL)
    return nk_fail(NK_EUSAGE, "the batch of a gradient has neither asks nor a generation");
  for (size_t i = 0; i < run->batch.n_overrides; i++)
    if (run->batch.overrides[i].site != NK_SITE_STREAM)
      return nk_fail(NK_EUNSUPPORTED, "override %zu: no gradients at sites inside a block", i);
  for (size_t i = 0; i < run->gradient->n_terms && code == NK_OK; i++) code = check_term(run, i);
  return code;
}

/* ---- Terms as asks ---- */

static size_t n_answers(const struct run *run, const struct nk_term *t) {
  if (t->kind == NK_TERM_LOG_PROB) return t->n_ids;
  return nki_term_distribution(t) ? 0 : run->forward->config.shape.dim;
}

static int make_asks(struct run *run) {
  const struct nk_gradient *gradient = run->gradient;
  size_t n = 0, n_terms = gradient->n_terms;
  for (size_t i = 0; i < n_terms; i++)
    if (!nk_size_add(n, n_answers(run, &gradient->terms[i]), &n))
      return nk_fail(NK_EMEMORY, "%zu terms", n_terms);
  struct nk_ask *asks = nk_calloc(n_terms, sizeof *asks);
  run->batch.asks = asks;
  run->batch.n_asks = n_terms;
  run->layers = nk_alloc(n_terms, sizeof *run->layers);
  run->answers = nk_alloc(n, sizeof *run->answers);
  if (asks == NULL || run->layers == NULL || run->answers == NULL) return NK_EMEMORY;
  float *at = run->answers;
  for (size_t i = 0; i < n_terms; i++) {
    const struct nk_term *t = &gradient->terms[i];
    struct nk_ask *ask = &asks[i];
    *ask = (struct nk_ask){.sequence = t->sequence, .position = t->position};
    if (nki_term_distribution(t)) {
      ask->distribution = true;
      ask->ids = t->ids;
      ask->n_ids = t->kind == NK_TERM_LOG_PROB ? t->n_ids : 0;
      ask->log_probs = at;
      ask->reference = t->kind == NK_TERM_KL ? t->vector : NULL;
    } else {
      run->layers[i] = t->layer;
      ask->layers = &run->layers[i];
      ask->n_layers = 1;
      ask->residuals = at;
    }
    at += n_answers(run, t);
  }
  return NK_OK;
}

/* ---- Tapes and groups ---- */

static bool has_embedding_norm(const struct run *run) {
  return run->forward->embedding_norm.weight != NULL;
}

/* Floats of a row inside the blocks: of all that have tapes, or of the largest. */
static size_t inside_floats(const struct run *run, bool all) {
  size_t sum = 0, most = 0;
  for (size_t layer = run->lowest; layer < run->plan.depth; layer++) {
    size_t floats = nki_tape_floats(run->forward, layer);
    sum += floats;
    if (floats > most) most = floats;
  }
  return all ? sum : most;
}

/* Bytes of a row of a group: its stream and the stream's gradient, those at the end, what the
 * read-out has of it (three rows), its tapes. */
static size_t row_bytes(const struct run *run, bool all) {
  size_t n_streams = 7 + run->plan.depth - run->lowest;
  return (n_streams * run->forward->config.shape.dim + inside_floats(run, all)) * sizeof(float);
}

static int make_groups(struct run *run) {
  const struct nki_plan *plan = &run->plan;
  size_t n_held = run->of_prefix ? nki_prefix_length(plan) : 0, rows = 0;
  size_t room = nki_plan_memory(plan) / row_bytes(run, true);
  for (size_t s = 0; s < plan->batch->n_sequences; s++) rows += plan->lengths[s];
  run->keep = room >= n_held && (room - n_held >= rows || room - n_held >= MANY_ROWS);
  return nki_plan_group(&run->plan, row_bytes(run, run->keep), plan->batch->prefix.n > 0, n_held);
}

static int make_tapes(const struct run *run, size_t n_rows, struct tapes *out) {
  const struct nk_forward_shape *shape = &run->forward->config.shape;
  size_t n = run->plan.depth - run->lowest, inside = inside_floats(run, run->keep), size;
  if (n_rows == 0) return NK_OK;
  if (!nk_size_mul(n * shape->dim + inside, n_rows, &size))
    return nk_fail(NK_EMEMORY, "the streams of %zu positions", n_rows);
  out->tapes = nk_calloc(shape->n_layers, sizeof *out->tapes);
  out->streams = nk_alloc(n * shape->dim, n_rows * sizeof(float));
  out->inside = nk_alloc(inside, n_rows * sizeof(float));
  if (out->tapes == NULL || out->streams == NULL || out->inside == NULL) return NK_EMEMORY;
  if (has_embedding_norm(run) && run->lowest == 0) {
    out->embedded = nk_alloc(shape->dim, n_rows * sizeof(float));
    if (out->embedded == NULL) return NK_EMEMORY;
  }
  float *at = out->inside;
  for (size_t i = 0; i < n; i++) {
    struct nki_tape *tape = &out->tapes[run->lowest + i];
    tape->x = out->streams + i * n_rows * shape->dim;
    nki_tape_place(run->forward, run->lowest + i, n_rows, at, tape);
    if (run->keep) at += n_rows * nki_tape_floats(run->forward, run->lowest + i);
  }
  return NK_OK;
}

static void free_tapes(struct tapes *tapes) {
  nk_free(tapes->tapes);
  nk_free(tapes->streams);
  nk_free(tapes->inside);
  nk_free(tapes->embedded);
}

/* The lowest layer of overrides and weights, and whether the prefix has gradients. */
static void find_lowest(struct run *run) {
  run->lowest = run->plan.depth;
  if (run->arrays.lowest < run->lowest) {
    run->lowest = run->arrays.lowest;
    run->of_prefix = run->batch.prefix.n > 0;
  }
  if (run->gradient->overrides == NULL) return;
  for (size_t i = 0; i < run->batch.n_overrides; i++) {
    const struct nk_override *o = &run->batch.overrides[i];
    if (o->layer < run->lowest) run->lowest = o->layer;
    if (o->layer < run->plan.depth && o->sequence == NK_PREFIX) run->of_prefix = true;
  }
}

/* Rows of the largest group without the prefix. */
static size_t largest_group(const struct nki_plan *plan) {
  size_t most = 0;
  for (size_t g = 0; g < plan->n_groups; g++) {
    size_t rows = 0;
    for (size_t s = plan->group_start[g]; s < plan->group_start[g + 1]; s++)
      rows += plan->lengths[s];
    if (rows > most) most = rows;
  }
  return most;
}

static int prepare(struct run *run) {
  size_t n_spans, longest;
  find_lowest(run);
  int code = make_groups(run);
  if (code != NK_OK) return code;
  nki_plan_spans(&run->plan, &longest, &n_spans);
  code = nki_work_make(&run->plan, longest, n_spans, &run->work);
  if (code == NK_OK) {
    size_t piece = nki_piece_rows(&run->forward->config);
    const struct nki_weight_arrays *arrays = run->gradient->n_weights > 0 ? &run->arrays : NULL;
    code = nki_back_make(&run->work, arrays, piece > longest ? piece : longest, run->of_prefix,
                         &run->back);
    run->back.values_only = run->gradient->overrides == NULL && run->gradient->n_weights == 0;
  }
  if (code == NK_OK) code = make_tapes(run, largest_group(&run->plan), &run->group);
  if (code == NK_OK && run->of_prefix)
    code = make_tapes(run, nki_prefix_length(&run->plan), &run->prefix);
  return code;
}

/* ---- The passes ---- */

static int run_pass(struct run *run, struct nki_pass *pass, const struct tapes *tapes) {
  pass->tapes = tapes->tapes;
  pass->embedded = tapes->embedded;
  return nki_pass_run(&run->work, &run->batch, pass);
}

static int differentiate(struct run *run, struct nki_pass *pass) {
  const struct nki_pass_gradient gradient = {.back = &run->back,
                                             .batch = &run->batch,
                                             .terms = run->gradient->terms,
                                             .lowest = run->lowest,
                                             .again = !run->keep,
                                             .overrides = run->gradient->overrides,
                                             .memory = nki_plan_memory(&run->plan) / 4};
  return nki_pass_back(&gradient, pass);
}

static int run_passes(struct run *run) {
  bool alone = run->batch.prefix.n > 0;
  size_t n = run->plan.n_groups;
  struct nki_pass prefix = {0};
  int code = NK_OK;
  if (alone) code = nki_pass_make(&run->plan, 0, &prefix);
  if (code == NK_OK && prefix.n_spans > 0) code = run_pass(run, &prefix, &run->prefix);
  for (size_t g = alone ? 1 : 0; g < n && code == NK_OK; g++) {
    struct nki_pass pass = {0};
    code = nki_pass_make(&run->plan, g, &pass);
    if (code == NK_OK && pass.n_spans > 0) {
      code = run_pass(run, &pass, &run->group);
      if (code == NK_OK) code = differentiate(run, &pass);
    }
    nki_pass_free(&pass);
    if (code == NK_OK) code = nk_progress("gradient", g + 1, n);
  }
  if (code == NK_OK && run->of_prefix && prefix.n_spans > 0) code = differentiate(run, &prefix);
  nki_pass_free(&prefix);
  return code;
}

static void clear_answers(const struct run *run) {
  const struct nk_gradient *gradient = run->gradient;
  size_t n = run->batch.n_overrides * run->forward->config.shape.dim;
  if (gradient->overrides != NULL) memset(gradient->overrides, 0, n * sizeof(float));
  nki_weight_arrays_clear(run->forward, gradient);
}

static int check_answers(const struct run *run) {
  const struct nk_gradient *gradient = run->gradient;
  size_t dim = run->forward->config.shape.dim;
  for (size_t i = 0; i < gradient->n_terms; i++)
    if (!isfinite(gradient->terms[i].value))
      return nk_fail(NK_EDATA, "term %zu: its value is beyond a float's range", i);
  for (size_t i = 0; i < run->batch.n_overrides && gradient->overrides != NULL; i++)
    if (nki_first_not_finite(gradient->overrides + i * dim, dim) < dim)
      return nk_fail(NK_EDATA,
                     "override %zu: its gradient is beyond a float's range: give the terms smaller "
                     "weights or vectors",
                     i);
  return nki_weight_arrays_check(run->forward, gradient);
}

/* The scalars, from the terms in their order. */
static void add_values(const struct run *run) {
  const struct nk_gradient *gradient = run->gradient;
  if (gradient->values == NULL) return;
  memset(gradient->values, 0, run->batch.n_sequences * sizeof *gradient->values);
  for (size_t i = 0; i < gradient->n_terms; i++)
    gradient->values[gradient->terms[i].sequence] +=
        gradient->terms[i].weight * gradient->terms[i].value;
}

int nk_gradient_run(struct nk_forward *forward, const struct nk_batch *batch,
                    struct nk_gradient *gradient) {
  if (forward == NULL) return nki_fail_null();
  struct run run = {.forward = forward, .batch = *batch, .gradient = gradient};
  int code = check(&run);
  if (code != NK_OK) return code;
  run.batch.asks = NULL;
  code = make_asks(&run);
  if (code == NK_OK) code = nki_weight_arrays_make(forward, gradient, &run.arrays);
  if (code == NK_OK) code = nki_plan_make(forward, &run.batch, &run.plan);
  if (code == NK_OK) code = prepare(&run);
  if (code == NK_OK) clear_answers(&run);
  if (code == NK_OK) code = run_passes(&run);
  if (code == NK_OK)
    code = nki_weight_arrays_finish(forward, gradient, &run.arrays, batch->n_sequences);
  if (code == NK_OK) code = check_answers(&run);
  if (code == NK_OK) add_values(&run);
  free_tapes(&run.group);
  free_tapes(&run.prefix);
  nki_back_free(&run.back);
  nki_weight_arrays_free(&run.arrays);
  nki_work_free(&run.work);
  nki_plan_free(&run.plan);
  nk_free(run.batch.asks);
  nk_free(run.layers);
  nk_free(run.answers);
  return code;
}
