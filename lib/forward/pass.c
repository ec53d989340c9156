/* A group of a plan made ready to run: its spans and rows, the overrides and asks at their rows,
 * and the rows that are read after the last block. */
#include <noken/base.h>
#include <string.h>

#include "forward/batch.h"

size_t nki_prefix_length(const struct nki_plan *plan) {
  const struct nk_batch *batch = plan->batch;
  size_t reach = 0;
  for (size_t s = 0; s < batch->n_sequences; s++)
    if (plan->lengths[s] > 0) return batch->prefix.n;
  const struct nki_by_sequence *by = &plan->asks;
  for (size_t k = by->start[batch->n_sequences]; k < by->start[batch->n_sequences + 1]; k++) {
    size_t position = batch->asks[by->index[k]].position;
    if (position + 1 > reach) reach = position + 1;
  }
  return reach;
}

void nki_plan_spans(const struct nki_plan *plan, size_t *longest, size_t *most) {
  *longest = nki_prefix_length(plan);
  *most = 0;
  for (size_t g = 0; g < plan->n_groups; g++) {
    size_t n = plan->group_start[g + 1] - plan->group_start[g] + 1;
    if (n > *most) *most = n;
  }
  for (size_t s = 0; s < plan->batch->n_sequences; s++)
    if (plan->lengths[s] > *longest) *longest = plan->lengths[s];
}

static size_t make_spans(const struct nki_plan *plan, size_t group, struct nki_span *spans) {
  const struct nk_batch *batch = plan->batch;
  size_t n = 0, row = 0, cache = 0;
  size_t more = batch->generation == NULL ? 0 : batch->generation->n_tokens;
  size_t prefix = group == 0 ? nki_prefix_length(plan) : 0;
  if (prefix > 0) {
    spans[n++] = (struct nki_span){.sequence = NK_PREFIX, .ids = batch->prefix.ids, .n = prefix};
    row = prefix;
  }
  for (size_t s = plan->group_start[group]; s < plan->group_start[group + 1]; s++) {
    size_t length = plan->lengths[s];
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
static int find_final_rows(const struct nki_plan *plan, struct nki_pass *pass) {
  bool *wanted = nk_calloc(pass->n_rows, sizeof *wanted);
  if (wanted == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < pass->n_asks; i++) {
    const struct nk_ask *ask = &plan->batch->asks[pass->asks[i].index];
    bool want = nki_ask_distribution(ask);
    for (size_t l = 0; l < ask->n_layers; l++)
      want = want || nki_depth(ask->site, ask->layers[l]) == pass->depth;
    if (want) wanted[pass->asks[i].row] = true;
  }
  for (size_t s = 0; s < pass->n_spans && plan->batch->generation != NULL; s++)
    if (pass->spans[s].sequence != NK_PREFIX)
      wanted[pass->spans[s].row + pass->spans[s].n - 1] = true;
  for (size_t r = 0; r < pass->n_rows; r++)
    if (wanted[r]) pass->final_rows[pass->n_final++] = r;
  nk_free(wanted);
  return NK_OK;
}

void nki_pass_number(struct nki_pass *pass) {
  for (size_t s = 0; s < pass->n_spans; s++) {
    const struct nki_span *span = &pass->spans[s];
    for (size_t i = 0; i < span->n; i++) {
      pass->positions[span->row + i] = (uint32_t)(span->position + i);
      pass->numbers[span->row + i] = (uint32_t)(span->past + i);
    }
  }
}

static int allocate_pass(const struct nki_plan *plan, struct nki_pass *pass) {
  size_t dim = plan->forward->config.shape.dim;
  const struct nki_span *last = &pass->spans[pass->n_spans - 1];
  pass->n_rows = last->row + last->n;
  pass->x = nk_alloc(pass->n_rows * dim, sizeof(float));
  pass->positions = nk_alloc(pass->n_rows, sizeof(uint32_t));
  pass->numbers = nk_alloc(pass->n_rows, sizeof(uint32_t));
  pass->final_rows = nk_alloc(pass->n_rows, sizeof(size_t));
  if (pass->x == NULL || pass->positions == NULL || pass->numbers == NULL ||
      pass->final_rows == NULL)
    return NK_EMEMORY;
  nki_pass_number(pass);
  return NK_OK;
}

void nki_pass_free(struct nki_pass *pass) {
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

int nki_pass_make(const struct nki_plan *plan, size_t group, struct nki_pass *pass) {
  const struct nk_forward_shape *shape = &plan->forward->config.shape;
  const struct nk_batch *batch = plan->batch;
  size_t n_group = plan->group_start[group + 1] - plan->group_start[group];
  pass->depth = plan->depth;
  pass->replaced = plan->replaced;
  pass->sites = plan->sites ? batch : NULL;
  pass->spans = nk_alloc(n_group + 1, sizeof *pass->spans);
  pass->overrides = nk_alloc(batch->n_overrides, sizeof *pass->overrides);
  pass->asks = nk_alloc(batch->n_asks, sizeof *pass->asks);
  if (pass->spans == NULL || pass->overrides == NULL || pass->asks == NULL) return NK_EMEMORY;
  pass->n_spans = make_spans(plan, group, pass->spans);
  if (pass->n_spans == 0) return NK_OK;
  int code = allocate_pass(plan, pass);
  if (code != NK_OK) return code;
  pass->n_overrides = find_places(&plan->overrides, pass, batch->n_sequences, position_of_override,
                                  batch, pass->overrides);
  pass->n_asks =
      find_places(&plan->asks, pass, batch->n_sequences, position_of_ask, batch, pass->asks);
  code = find_final_rows(plan, pass);
  if (code != NK_OK) return code;
  pass->final = nk_alloc(pass->n_final * nki_final_width(plan->forward), sizeof(float));
  if (pass->final == NULL) return NK_EMEMORY;
  if (batch->generation == NULL || plan->forward->engine->keeps_keys) return NK_OK;
  const struct nki_span *last = &pass->spans[pass->n_spans - 1];
  pass->cache_rows = last->cache + last->n + batch->generation->n_tokens;
  size_t row = shape->n_layers * shape->n_kv_heads * shape->head_dim, size;
  if (!nk_size_mul(row, pass->cache_rows, &size))
    return nk_fail(NK_EMEMORY, "keys and values of %zu positions", pass->cache_rows);
  pass->cache_k = nk_alloc(size, sizeof(float));
  pass->cache_v = nk_alloc(size, sizeof(float));
  return pass->cache_k == NULL || pass->cache_v == NULL ? NK_EMEMORY : NK_OK;
}
