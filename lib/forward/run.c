/* Running a batch, a group after the other: the blocks, then the distributions that are asked for,
 * then generation, one token of all of the group's sequences at a time. */
#include <math.h>
#include <noken/base.h>
#include <string.h>

#include <noken/forward.h>
#include "base/error.h"
#include "forward/batch.h"

struct run {
  const struct nk_forward *forward;
  const struct nk_batch *batch;
  struct nki_plan plan;
  struct nki_work work;
  size_t done, total; /* passes, for progress */
};

/* ---- A group's rows ---- */

/* Positions of the prefix to compute: all when sequences follow it, else up to the last ask. */
static size_t prefix_length(const struct run *run) {
  const struct nk_batch *batch = run->batch;
  size_t reach = 0;
  for (size_t s = 0; s < batch->n_sequences; s++)
    if (run->plan.lengths[s] > 0) return batch->prefix.n;
  const struct nki_by_sequence *by = &run->plan.asks;
  for (size_t k = by->start[batch->n_sequences]; k < by->start[batch->n_sequences + 1]; k++) {
    size_t position = batch->asks[by->index[k]].position;
    if (position + 1 > reach) reach = position + 1;
  }
  return reach;
}

static size_t make_spans(const struct run *run, size_t group, struct nki_span *spans) {
  const struct nk_batch *batch = run->batch;
  size_t n = 0, row = 0, cache = 0;
  size_t more = batch->generation == NULL ? 0 : batch->generation->n_tokens;
  size_t prefix = group == 0 ? prefix_length(run) : 0;
  if (prefix > 0) {
    spans[n++] = (struct nki_span){.sequence = NK_PREFIX, .ids = batch->prefix.ids, .n = prefix};
    row = prefix;
  }
  for (size_t s = run->plan.group_start[group]; s < run->plan.group_start[group + 1]; s++) {
    size_t length = run->plan.lengths[s];
    if (length == 0) continue;
    spans[n++] = (struct nki_span){.sequence = s,
                                   .ids = batch->sequences[s].ids,
                                   .n = length,
                                   .position = batch->prefix.n,
                                   .row = row,
                                   .cache = cache};
    row += length;
    cache += length + more;
  }
  return n;
}

/* Overrides (asks) of the spans' sequences, each with its row. Those at positions that are not
 * computed are left out. */
static size_t find_places(const struct nki_by_sequence *by, const struct nki_pass *pass,
                          size_t n_sequences,
                          size_t (*position_at)(const struct nk_batch *, size_t),
                          const struct nk_batch *batch, struct nki_place *out) {
  size_t n = 0;
  for (size_t s = 0; s < pass->n_spans; s++) {
    const struct nki_span *span = &pass->spans[s];
    size_t slot = span->sequence == NK_PREFIX ? n_sequences : span->sequence;
    for (size_t k = by->start[slot]; k < by->start[slot + 1]; k++) {
      size_t offset = position_at(batch, by->index[k]) - span->position;
      if (offset < span->n) out[n++] = (struct nki_place){span->row + offset, by->index[k]};
    }
  }
  return n;
}

static size_t position_of_override(const struct nk_batch *batch, size_t i) {
  return batch->overrides[i].position;
}

static size_t position_of_ask(const struct nk_batch *batch, size_t i) {
  return batch->asks[i].position;
}

/* Rows that are read after the last block. */
static int find_final_rows(const struct run *run, struct nki_pass *pass) {
  bool *wanted = nk_calloc(pass->n_rows, sizeof *wanted);
  if (wanted == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < pass->n_asks; i++) {
    const struct nk_ask *ask = &run->batch->asks[pass->asks[i].index];
    bool want = nki_ask_distribution(ask);
    for (size_t l = 0; l < ask->n_layers; l++) want = want || ask->layers[l] == pass->depth;
    if (want) wanted[pass->asks[i].row] = true;
  }
  for (size_t s = 0; s < pass->n_spans && run->batch->generation != NULL; s++)
    if (pass->spans[s].sequence != NK_PREFIX)
      wanted[pass->spans[s].row + pass->spans[s].n - 1] = true;
  for (size_t r = 0; r < pass->n_rows; r++)
    if (wanted[r]) pass->final_rows[pass->n_final++] = r;
  nk_free(wanted);
  return NK_OK;
}

/* positions and numbers of all rows; n_rows is set. */
static void number_rows(struct nki_pass *pass) {
  for (size_t s = 0; s < pass->n_spans; s++) {
    const struct nki_span *span = &pass->spans[s];
    for (size_t i = 0; i < span->n; i++) {
      pass->positions[span->row + i] = (uint32_t)(span->position + i);
      pass->numbers[span->row + i] = (uint32_t)(span->past + i);
    }
  }
}

static int allocate_pass(const struct run *run, struct nki_pass *pass) {
  size_t dim = run->forward->config.shape.dim;
  const struct nki_span *last = &pass->spans[pass->n_spans - 1];
  pass->n_rows = last->row + last->n;
  pass->x = nk_alloc(pass->n_rows * dim, sizeof(float));
  pass->positions = nk_alloc(pass->n_rows, sizeof(uint32_t));
  pass->numbers = nk_alloc(pass->n_rows, sizeof(uint32_t));
  pass->final_rows = nk_alloc(pass->n_rows, sizeof(size_t));
  if (pass->x == NULL || pass->positions == NULL || pass->numbers == NULL ||
      pass->final_rows == NULL)
    return NK_EMEMORY;
  number_rows(pass);
  return NK_OK;
}

static void free_pass(struct nki_pass *pass) {
  nk_free(pass->spans);
  nk_free(pass->x);
  nk_free(pass->positions);
  nk_free(pass->numbers);
  nk_free(pass->final_rows);
  nk_free(pass->final);
  nk_free(pass->overrides);
  nk_free(pass->asks);
  nk_free(pass->cache_k);
  nk_free(pass->cache_v);
}

static int make_pass(const struct run *run, size_t group, struct nki_pass *pass) {
  const struct nk_forward_shape *shape = &run->forward->config.shape;
  const struct nk_batch *batch = run->batch;
  size_t n_group = run->plan.group_start[group + 1] - run->plan.group_start[group];
  pass->depth = run->plan.depth;
  pass->replaced = run->plan.replaced;
  pass->spans = nk_alloc(n_group + 1, sizeof *pass->spans);
  pass->overrides = nk_alloc(batch->n_overrides, sizeof *pass->overrides);
  pass->asks = nk_alloc(batch->n_asks, sizeof *pass->asks);
  if (pass->spans == NULL || pass->overrides == NULL || pass->asks == NULL) return NK_EMEMORY;
  pass->n_spans = make_spans(run, group, pass->spans);
  if (pass->n_spans == 0) return NK_OK;
  int code = allocate_pass(run, pass);
  if (code != NK_OK) return code;
  pass->n_overrides = find_places(&run->plan.overrides, pass, batch->n_sequences,
                                  position_of_override, batch, pass->overrides);
  pass->n_asks =
      find_places(&run->plan.asks, pass, batch->n_sequences, position_of_ask, batch, pass->asks);
  code = find_final_rows(run, pass);
  if (code != NK_OK) return code;
  pass->final = nk_alloc(pass->n_final * nki_final_width(run->forward), sizeof(float));
  if (pass->final == NULL) return NK_EMEMORY;
  if (batch->generation == NULL || run->forward->engine->keeps_keys) return NK_OK;
  const struct nki_span *last = &pass->spans[pass->n_spans - 1];
  pass->cache_rows = last->cache + last->n + batch->generation->n_tokens;
  size_t row = shape->n_layers * shape->n_kv_heads * shape->head_dim, size;
  if (!nk_size_mul(row, pass->cache_rows, &size))
    return nk_fail(NK_EMEMORY, "keys and values of %zu positions", pass->cache_rows);
  pass->cache_k = nk_alloc(size, sizeof(float));
  pass->cache_v = nk_alloc(size, sizeof(float));
  return pass->cache_k == NULL || pass->cache_v == NULL ? NK_EMEMORY : NK_OK;
}

/* ---- Distributions ---- */

static const float *final_row(const struct nki_pass *pass, size_t row, size_t width) {
  size_t lo = 0, hi = pass->n_final;
  while (hi - lo > 1) {
    size_t mid = (lo + hi) / 2;
    if (pass->final_rows[mid] <= row)
      lo = mid;
    else
      hi = mid;
  }
  return pass->final + lo * width;
}

static int answer(const struct run *run, const struct nki_pass *pass) {
  size_t width = nki_final_width(run->forward), n = 0;
  struct nk_ask **asks = nk_alloc(pass->n_asks, sizeof(struct nk_ask *));
  float *hidden = NULL;
  int code = NK_EMEMORY;
  if (asks == NULL) return code;
  for (size_t i = 0; i < pass->n_asks; i++)
    n += nki_ask_distribution(&run->batch->asks[pass->asks[i].index]);
  hidden = nk_alloc(n * width, sizeof *hidden);
  if (hidden == NULL) goto done;
  n = 0;
  for (size_t i = 0; i < pass->n_asks; i++) {
    struct nk_ask *ask = &run->batch->asks[pass->asks[i].index];
    if (!nki_ask_distribution(ask)) continue;
    memcpy(hidden + n * width, final_row(pass, pass->asks[i].row, width), width * sizeof *hidden);
    asks[n++] = ask;
  }
  code = nki_readout(run->forward, hidden, n, asks);
done:
  nk_free(hidden);
  nk_free(asks);
  return code;
}

/* ---- Generation ---- */

/* Stores the chosen tokens; keeps in live [*n_live] the spans that have not ended. */
static void take_tokens(const struct nk_generation *g, const struct nki_pass *pass,
                        const int64_t *tokens, size_t step, size_t *live, size_t *n_live) {
  size_t kept = 0;
  for (size_t i = 0; i < *n_live; i++) {
    size_t sequence = pass->spans[live[i]].sequence;
    bool stops = false;
    g->ids[sequence * g->n_tokens + step] = tokens[i];
    g->lengths[sequence] = step + 1;
    for (size_t k = 0; k < g->n_stop; k++) stops = stops || g->stop[k] == tokens[i];
    if (!stops) live[kept++] = live[i];
  }
  *n_live = kept;
}

/* One more position of every live sequence: its newest token through the blocks. */
static int decode(struct run *run, const struct nki_pass *prompt, const size_t *live, size_t n,
                  size_t step, struct nki_pass *pass) {
  const struct nk_generation *g = run->batch->generation;
  static const struct nk_batch nothing; /* overrides and asks belong to the prompt */
  for (size_t i = 0; i < n; i++) {
    const struct nki_span *from = &prompt->spans[live[i]];
    pass->spans[i] = (struct nki_span){.sequence = from->sequence,
                                       .ids = &g->ids[from->sequence * g->n_tokens + step - 1],
                                       .n = 1,
                                       .position = from->position + from->n + step - 1,
                                       .past = from->n + step - 1,
                                       .row = i,
                                       .cache = from->cache};
    pass->final_rows[i] = i;
  }
  pass->n_spans = pass->n_rows = pass->n_final = n;
  pass->depth = prompt->depth;
  pass->cache_k = prompt->cache_k;
  pass->cache_v = prompt->cache_v;
  pass->cache_rows = prompt->cache_rows;
  number_rows(pass);
  return run->forward->engine->pass(&run->work, &nothing, pass);
}

static int generate(struct run *run, const struct nki_pass *prompt) {
  const struct nk_generation *g = run->batch->generation;
  size_t dim = run->forward->config.shape.dim, width = nki_final_width(run->forward), n = 0;
  struct nki_pass pass = {0};
  size_t *live = nk_alloc(prompt->n_spans, sizeof *live);
  size_t *sequences = nk_alloc(prompt->n_spans, sizeof *sequences);
  int64_t *tokens = nk_alloc(prompt->n_spans, sizeof *tokens);
  int code = NK_EMEMORY;
  pass.spans = nk_alloc(prompt->n_spans, sizeof *pass.spans);
  pass.x = nk_alloc(prompt->n_spans * dim, sizeof(float));
  pass.final = nk_alloc(prompt->n_spans * width, sizeof(float));
  pass.positions = nk_alloc(prompt->n_spans, sizeof(uint32_t));
  pass.numbers = nk_alloc(prompt->n_spans, sizeof(uint32_t));
  pass.final_rows = nk_alloc(prompt->n_spans, sizeof(size_t));
  if (live == NULL || sequences == NULL || tokens == NULL || pass.spans == NULL || pass.x == NULL ||
      pass.final == NULL || pass.positions == NULL || pass.numbers == NULL ||
      pass.final_rows == NULL)
    goto done;
  for (size_t s = 0; s < prompt->n_spans; s++) {
    const struct nki_span *span = &prompt->spans[s];
    if (span->sequence == NK_PREFIX) continue;
    memcpy(pass.final + n * width, final_row(prompt, span->row + span->n - 1, width),
           width * sizeof(float));
    live[n++] = s;
  }
  code = NK_OK;
  for (size_t step = 0; step < g->n_tokens && n > 0 && code == NK_OK; step++) {
    if (step > 0) code = decode(run, prompt, live, n, step, &pass);
    for (size_t i = 0; i < n; i++) sequences[i] = prompt->spans[live[i]].sequence;
    const struct nki_step at = {run->forward, g, sequences, n, step};
    if (code == NK_OK) code = nki_choose(&at, pass.final, tokens);
    if (code == NK_OK) take_tokens(g, prompt, tokens, step, live, &n);
    if (code == NK_OK) code = nk_progress("forward pass", ++run->done, run->total);
  }
done:
  pass.cache_k = pass.cache_v = NULL; /* the prompt's */
  free_pass(&pass);
  nk_free(live);
  nk_free(sequences);
  nk_free(tokens);
  return code;
}

/* ---- The whole ---- */

static int run_group(struct run *run, size_t group) {
  struct nki_pass pass = {0};
  const struct nk_generation *g = run->batch->generation;
  int code = make_pass(run, group, &pass);
  if (code == NK_OK && pass.n_spans > 0) {
    code = run->forward->engine->pass(&run->work, run->batch, &pass);
    if (code == NK_OK) code = answer(run, &pass);
    if (code == NK_OK) code = nk_progress("forward pass", ++run->done, run->total);
    if (code == NK_OK && g != NULL) code = generate(run, &pass);
  }
  run->done =
      (group + 1) * (1 + (g == NULL ? 0 : g->n_tokens)); /* sequences may have ended early */
  free_pass(&pass);
  return code;
}

/* Every sequence has generated nothing yet. */
static void clear_generation(const struct nk_batch *batch) {
  const struct nk_generation *g = batch->generation;
  if (g == NULL) return;
  memset(g->lengths, 0, batch->n_sequences * sizeof *g->lengths);
  for (size_t i = 0; g->watch != NULL && i < batch->n_sequences * g->n_tokens; i++)
    g->watched[i] = NAN;
}

int nk_forward_run(struct nk_forward *forward, const struct nk_batch *batch) {
  if (forward == NULL) return nki_fail_null();
  struct run run = {.forward = forward, .batch = batch};
  size_t longest_span, most = 0;
  int code = nki_plan_make(forward, batch, &run.plan);
  if (code != NK_OK) goto done;
  longest_span = prefix_length(&run);
  for (size_t g = 0; g < run.plan.n_groups; g++) {
    size_t n = run.plan.group_start[g + 1] - run.plan.group_start[g] + 1;
    if (n > most) most = n;
  }
  for (size_t s = 0; s < batch->n_sequences; s++)
    if (run.plan.lengths[s] > longest_span) longest_span = run.plan.lengths[s];
  code = forward->engine->begin(&run.plan, longest_span, most, &run.work);
  if (code != NK_OK) goto done;
  clear_generation(batch);
  run.total =
      run.plan.n_groups * (1 + (batch->generation == NULL ? 0 : batch->generation->n_tokens));
  for (size_t g = 0; g < run.plan.n_groups && code == NK_OK; g++) code = run_group(&run, g);
  if (code == NK_OK) code = nk_progress("forward pass", run.total, run.total);
done:
  forward->engine->end(&run.work);
  nki_plan_free(&run.plan);
  return code;
}
