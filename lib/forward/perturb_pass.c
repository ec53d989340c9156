/* Rows of perturbations, laid out as batches. A batch has one prefix: rows of one context share the
 * positions before the first place, where they are enough for a batch of their own; rows of other
 * contexts go through together as whole sequences. */
#include "forward/perturb.h"

#include <stdlib.h>

#include "base/error.h"
#include "forward/batch.h"

/* A batch reads all weights: it costs about as much as this many positions in a larger one. */
enum { BATCH_POSITIONS = 64 };
enum { ROWS_AT_ONCE = 4096, POSITIONS_AT_ONCE = 1 << 16 };
static const size_t ANSWER_BYTES = (size_t)256 << 20; /* of one batch */

/* ---- Places ---- */

/* The position of the first place of a row; the positions before it are those of the context. */
static size_t first_of(const struct nk_perturb *p, size_t place) {
  const struct nk_sequence *context = &p->contexts[p->places[place].context];
  for (size_t i = 0; i < p->places[place].position; i++)
    if (context->ids[i] == NK_VECTOR) return i;
  return p->places[place].position;
}

static bool is_place(const struct nk_place *place, const struct nk_sequence *context, size_t i) {
  return i == place->position || (!place->alone && context->ids[i] == NK_VECTOR &&
                                  context->ids[place->position] == NK_VECTOR);
}

/* ---- A batch ---- */

struct layout {
  const struct nk_perturb *perturb;
  const struct nki_perturb_rows *rows;
  struct nk_batch batch;
  struct nk_sequence *sequences; /* [n] */
  struct nk_override *overrides;
  struct nk_ask *asks;  /* [n, n_reads], then [n] of own states */
  float *top_log_probs; /* [n, n_reads] */
  struct nki_perturb_answers answers;
};

static void free_layout(struct layout *l) {
  nk_free(l->sequences);
  nk_free(l->overrides);
  nk_free(l->asks);
  nk_free(l->top_log_probs);
  nk_free(l->answers.logits);
  nk_free(l->answers.log_sum_exp);
  nk_free(l->answers.top_id);
  nk_free(l->answers.streams);
}

static int make_layout(struct layout *l, const size_t *order, size_t n) {
  const struct nk_perturb *p = l->perturb;
  const struct nk_forward_shape *shape = &p->forward->config.shape;
  size_t n_overrides = 0, n_answers = n * p->n_reads, width = (p->n_layers + 1) * shape->dim;
  for (size_t i = 0; i < n; i++) {
    const struct nk_sequence *context = &p->contexts[p->places[l->rows->place[order[i]]].context];
    n_overrides++;
    for (size_t k = 0; k < context->n; k++) n_overrides += context->ids[k] == NK_VECTOR ? 2 : 0;
  }
  l->sequences = nk_alloc(n, sizeof *l->sequences);
  l->overrides = nk_alloc(n_overrides, sizeof *l->overrides);
  l->asks = nk_calloc(n_answers + n, sizeof *l->asks);
  l->top_log_probs = nk_alloc(n_answers, sizeof *l->top_log_probs);
  l->answers.logits = nk_alloc(n_answers, shape->n_vocabulary * sizeof(float));
  l->answers.log_sum_exp = nk_alloc(n_answers, sizeof(double));
  l->answers.top_id = nk_alloc(n_answers, sizeof(int64_t));
  l->answers.streams = nk_alloc(n_answers, width * sizeof(float));
  bool failed = l->sequences == NULL || l->overrides == NULL || l->asks == NULL ||
                l->top_log_probs == NULL || l->answers.logits == NULL ||
                l->answers.log_sum_exp == NULL || l->answers.top_id == NULL ||
                l->answers.streams == NULL;
  return failed ? NK_EMEMORY : NK_OK;
}

/* Sequence `number`: the context from position `first` on, with the vector in its place. */
static void lay_row(struct layout *l, size_t number, size_t row, size_t first) {
  const struct nk_perturb *p = l->perturb;
  const struct nk_place *place = &p->places[l->rows->place[row]];
  const struct nk_sequence *context = &p->contexts[place->context];
  const float *vector = l->rows->vectors[row];
  size_t end = place->read + p->n_reads;
  l->sequences[number] = (struct nk_sequence){context->ids + first, end - first};
  for (size_t i = first; i < end; i++) {
    bool replaced = vector != NULL && is_place(place, context, i);
    if (context->ids[i] == NK_VECTOR && !(replaced && place->layer == 0 && p->mode == NK_REPLACE))
      l->overrides[l->batch.n_overrides++] =
          (struct nk_override){number, i, 0, NK_REPLACE, p->fill};
    if (replaced)
      l->overrides[l->batch.n_overrides++] =
          (struct nk_override){number, i, place->layer, p->mode, vector};
  }
}

static void ask_row(struct layout *l, size_t number, size_t row) {
  const struct nk_perturb *p = l->perturb;
  const struct nk_forward_shape *shape = &p->forward->config.shape;
  const struct nk_place *place = &p->places[l->rows->place[row]];
  for (size_t k = 0; k < p->n_reads; k++) {
    size_t at = number * p->n_reads + k;
    l->asks[l->batch.n_asks++] =
        (struct nk_ask){.sequence = number,
                        .position = place->read + k,
                        .layers = p->layers,
                        .n_layers = p->n_layers + 1,
                        .residuals = l->answers.streams + at * (p->n_layers + 1) * shape->dim,
                        .n_top = 1,
                        .top_ids = &l->answers.top_id[at],
                        .top_log_probs = &l->top_log_probs[at],
                        .logits = l->answers.logits + at * shape->n_vocabulary};
  }
}

/* The states in the places, after the asks that are compared. */
static void ask_states(struct layout *l, const size_t *order, size_t n) {
  const struct nk_perturb *p = l->perturb;
  for (size_t i = 0; i < n && l->rows->own_states != NULL; i++) {
    size_t number = l->rows->place[order[i]];
    const struct nk_place *place = &p->places[number];
    float *state = l->rows->own_states + number * p->forward->config.shape.dim;
    if (l->rows->vectors[order[i]] == NULL)
      l->asks[l->batch.n_asks++] = (struct nk_ask){.sequence = i,
                                                   .position = place->position,
                                                   .layers = &place->layer,
                                                   .n_layers = 1,
                                                   .residuals = state};
  }
}

/* Where answers go. */
struct taker {
  nki_perturb_take *take;
  void *user;
};

/* The rows order [n], whose contexts share the positions before `first`. */
static int run_batch(const struct nk_perturb *p, const struct nki_perturb_rows *rows,
                     const size_t *order, size_t n, size_t first, const struct taker *taker) {
  struct layout l = {.perturb = p, .rows = rows};
  int code = make_layout(&l, order, n);
  if (code != NK_OK) goto done;
  for (size_t i = 0; i < n; i++) lay_row(&l, i, order[i], first);
  for (size_t i = 0; i < n; i++) ask_row(&l, i, order[i]);
  ask_states(&l, order, n);
  l.batch.prefix = (struct nk_sequence){l.sequences[0].ids - first, first};
  l.batch.sequences = l.sequences;
  l.batch.n_sequences = n;
  l.batch.overrides = l.overrides;
  l.batch.asks = l.asks;
  code = nk_forward_run(p->forward, &l.batch);
  for (size_t i = 0; i < n * p->n_reads; i++) l.answers.log_sum_exp[i] = l.asks[i].log_sum_exp;
  if (code == NK_OK) code = taker->take(taker->user, order, n, &l.answers);

done:
  free_layout(&l);
  return code;
}

/* ---- All rows ---- */

struct key {
  size_t context, place, row;
};

static int compare_keys(const void *a, const void *b) {
  const struct key *x = a, *y = b;
  if (x->context != y->context) return x->context < y->context ? -1 : 1;
  if (x->place != y->place) return x->place < y->place ? -1 : 1;
  return (x->row > y->row) - (x->row < y->row);
}

/* order [n] = the rows by context, then by place. */
static int sort_rows(const struct nk_perturb *p, const struct nki_perturb_rows *rows,
                     size_t *order) {
  struct key *keys = nk_alloc(rows->n, sizeof *keys);
  if (keys == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < rows->n; i++)
    keys[i] = (struct key){p->places[rows->place[i]].context, rows->place[i], i};
  qsort(keys, rows->n, sizeof *keys, compare_keys);
  for (size_t i = 0; i < rows->n; i++) order[i] = keys[i].row;
  nk_free(keys);
  return NK_OK;
}

static size_t rows_at_once(const struct nk_perturb *p) {
  const struct nk_forward_shape *shape = &p->forward->config.shape;
  size_t row = shape->n_vocabulary + (p->n_layers + 1) * shape->dim;
  size_t n = ANSWER_BYTES / sizeof(float) / row / p->n_reads;
  return n < 1 ? 1 : n < ROWS_AT_ONCE ? n : ROWS_AT_ONCE;
}

/* The rows order [n] of one context; *first = the position of their first place. */
static size_t same_context(const struct nk_perturb *p, const struct nki_perturb_rows *rows,
                           const size_t *order, size_t n, size_t *first) {
  size_t context = p->places[rows->place[order[0]]].context, same = 0;
  *first = SIZE_MAX;
  for (; same < n && p->places[rows->place[order[same]]].context == context; same++) {
    size_t at = first_of(p, rows->place[order[same]]);
    if (at < *first) *first = at;
  }
  return same;
}

/* Rows of several contexts, each a whole sequence. */
static int run_together(const struct nk_perturb *p, const struct nki_perturb_rows *rows,
                        const size_t *order, size_t n, const struct taker *taker) {
  size_t most = rows_at_once(p);
  int code = NK_OK;
  for (size_t at = 0, take; at < n && code == NK_OK; at += take) {
    size_t positions = 0;
    for (take = 0; take < most && at + take < n; take++) {
      positions += p->places[rows->place[order[at + take]]].read + p->n_reads;
      if (take > 0 && positions > POSITIONS_AT_ONCE) break;
    }
    code = run_batch(p, rows, order + at, take, 0, taker);
  }
  return code;
}

int nki_perturb_pass(const struct nk_perturb *p, const struct nki_perturb_rows *rows,
                     nki_perturb_take *take, void *user) {
  const struct taker taker = {take, user};
  size_t *order = nk_alloc(rows->n, sizeof *order), *few = nk_alloc(rows->n, sizeof *few);
  size_t n_few = 0, most = rows_at_once(p);
  int code = order == NULL || few == NULL ? NK_EMEMORY : sort_rows(p, rows, order);
  for (size_t at = 0, n; at < rows->n && code == NK_OK; at += n) {
    size_t first;
    n = same_context(p, rows, order + at, rows->n - at, &first);
    if ((n - 1) * first <= BATCH_POSITIONS) { /* positions that a shared prefix saves */
      for (size_t i = 0; i < n; i++) few[n_few++] = order[at + i];
      continue;
    }
    for (size_t i = 0; i < n && code == NK_OK; i += most)
      code = run_batch(p, rows, order + at + i, n - i < most ? n - i : most, first, &taker);
  }
  if (code == NK_OK) code = run_together(p, rows, few, n_few, &taker);
  nk_free(order);
  nk_free(few);
  return code;
}
