/* Checks a batch and plans it: the positions and blocks to compute, and the groups. */
#include "forward/batch.h"

#include <noken/base.h>
#include <noken/forward.h>
#include <string.h>
#include "model/dtype.h"

static const size_t DEFAULT_MEMORY = (size_t)1 << 30;

bool nki_ask_distribution(const struct nk_ask *ask) {
  return ask->distribution || ask->n_top > 0 || ask->n_ids > 0 || ask->reference != NULL ||
         ask->sum != NULL || ask->logits != NULL;
}

/* ---- Checks ---- */

static size_t own_length(const struct nk_batch *batch, size_t sequence) {
  return sequence == NK_PREFIX ? batch->prefix.n : batch->sequences[sequence].n;
}

int nki_check_place(const struct nk_batch *batch, const char *what, size_t index, size_t sequence,
                    size_t position) {
  size_t first = sequence == NK_PREFIX ? 0 : batch->prefix.n;
  if (sequence != NK_PREFIX && sequence >= batch->n_sequences)
    return nk_fail(NK_EUSAGE, "%s %zu: no sequence %zu: the batch has %zu", what, index, sequence,
                   batch->n_sequences);
  if (position < first)
    return nk_fail(NK_EUSAGE, "%s %zu: position %zu of sequence %zu is in the shared prefix", what,
                   index, position, sequence);
  if (position - first >= own_length(batch, sequence))
    return nk_fail(NK_EUSAGE, "%s %zu: position %zu is past the end (%zu positions)", what, index,
                   position, first + own_length(batch, sequence));
  return NK_OK;
}

/* The layer and head of a site have to exist. */
static int check_site(const struct nki_plan *plan, const char *what, size_t index,
                      enum nk_site site, size_t layer, size_t head) {
  const struct nk_forward_shape *shape = &plan->forward->config.shape;
  if ((unsigned)site > NK_SITE_HEAD)
    return nk_fail(NK_EUSAGE, "%s %zu: no such site: %d", what, index, (int)site);
  if (site == NK_SITE_STREAM && layer > shape->n_layers)
    return nk_fail(NK_EUSAGE, "%s %zu: layer %zu: the model has layers 0 to %zu", what, index,
                   layer, shape->n_layers);
  if (site == NK_SITE_STREAM) return NK_OK;
  if (plan->forward->engine != &nki_native_engine)
    return nk_fail(NK_EUNSUPPORTED, "%s %zu: %s shows the stream alone: use the native engine",
                   what, index, plan->forward->engine->name);
  if (layer >= shape->n_layers)
    return nk_fail(NK_EUSAGE, "%s %zu: block %zu: the model has blocks 0 to %zu", what, index,
                   layer, shape->n_layers - 1);
  if (site == NK_SITE_HEAD && head >= shape->n_heads)
    return nk_fail(NK_EUSAGE, "%s %zu: head %zu: the model has heads 0 to %zu", what, index, head,
                   shape->n_heads - 1);
  return NK_OK;
}

static int check_override(const struct nki_plan *plan, size_t i) {
  const struct nk_override *o = &plan->batch->overrides[i];
  const struct nk_forward_shape *shape = &plan->forward->config.shape;
  int code = nki_check_place(plan->batch, "override", i, o->sequence, o->position);
  if (code == NK_OK) code = check_site(plan, "override", i, o->site, o->layer, o->head);
  if (code != NK_OK) return code;
  if (o->vector == NULL) return nk_fail(NK_EUSAGE, "override %zu: no vector", i);
  size_t width = o->site == NK_SITE_HEAD ? shape->head_dim : shape->dim;
  size_t bad = nki_first_not_finite(o->vector, width);
  if (bad < width) return nk_fail(NK_EDATA, "override %zu: component %zu is not finite", i, bad);
  return NK_OK;
}

static int check_ask(const struct nki_plan *plan, size_t i) {
  const struct nk_ask *a = &plan->batch->asks[i];
  const struct nk_forward_shape *shape = &plan->forward->config.shape;
  int code = nki_check_place(plan->batch, "ask", i, a->sequence, a->position);
  if (code != NK_OK) return code;
  for (size_t l = 0; l < a->n_layers && code == NK_OK; l++)
    code = check_site(plan, "ask", i, a->site, a->layers[l], a->head);
  if (code != NK_OK) return code;
  for (size_t k = 0; k < a->n_ids; k++)
    if (a->ids[k] < 0 || (size_t)a->ids[k] >= shape->n_vocabulary)
      return nk_fail(NK_EUSAGE, "ask %zu: id %lld: the model has tokens 0 to %zu", i,
                     (long long)a->ids[k], shape->n_vocabulary - 1);
  if (a->n_top > shape->n_vocabulary)
    return nk_fail(NK_EUSAGE, "ask %zu: the top %zu of %zu tokens", i, a->n_top,
                   shape->n_vocabulary);
  return NK_OK;
}

/* True when an override replaces this place at the layer. */
static bool is_replaced(const struct nki_plan *plan, size_t slot, size_t position, size_t layer) {
  const struct nki_by_sequence *by = &plan->overrides;
  for (size_t k = by->start[slot]; k < by->start[slot + 1]; k++) {
    const struct nk_override *o = &plan->batch->overrides[by->index[k]];
    if (o->layer == layer && o->position == position && o->mode == NK_REPLACE &&
        o->site == NK_SITE_STREAM)
      return true;
  }
  return false;
}

static int check_ids(const struct nki_plan *plan, const struct nk_sequence *sequence, size_t slot) {
  size_t n_tokens = plan->forward->n_tokens;
  size_t first = slot == plan->batch->n_sequences ? 0 : plan->batch->prefix.n;
  for (size_t i = 0; i < sequence->n; i++) {
    int64_t id = sequence->ids[i];
    if (id == NK_VECTOR) {
      if (is_replaced(plan, slot, first + i, 0)) continue;
      return nk_fail(NK_EUSAGE, "position %zu holds neither a token nor a vector", first + i);
    }
    if (id < 0 || (size_t)id >= n_tokens)
      return nk_fail(NK_EUSAGE, "id %lld: the model has tokens 0 to %zu", (long long)id,
                     n_tokens - 1);
  }
  return NK_OK;
}

/* ---- By sequence ---- */

static size_t slot_of(const struct nk_batch *batch, size_t sequence) {
  return sequence == NK_PREFIX ? batch->n_sequences : sequence;
}

/* A counting sort: sequence_at(i) is the i-th item's sequence. */
static int sort_by_sequence(const struct nk_batch *batch, size_t n,
                            size_t (*sequence_at)(const struct nk_batch *, size_t),
                            struct nki_by_sequence *out) {
  out->start = nk_calloc(batch->n_sequences + 3, sizeof(size_t));
  out->index = nk_alloc(n, sizeof(size_t));
  if (out->start == NULL || out->index == NULL) return NK_EMEMORY;
  size_t *next = out->start + 1; /* becomes start once filled */
  for (size_t i = 0; i < n; i++) next[slot_of(batch, sequence_at(batch, i)) + 1]++;
  for (size_t s = 1; s < batch->n_sequences + 2; s++) next[s] += next[s - 1];
  for (size_t i = 0; i < n; i++) out->index[next[slot_of(batch, sequence_at(batch, i))]++] = i;
  return NK_OK;
}

static size_t sequence_of_override(const struct nk_batch *batch, size_t i) {
  return batch->overrides[i].sequence;
}

static size_t sequence_of_ask(const struct nk_batch *batch, size_t i) {
  return batch->asks[i].sequence;
}

/* ---- The plan ---- */

/* How far and how deep the asks reach, and whether there are sites. */
static void measure(struct nki_plan *plan) {
  const struct nk_batch *batch = plan->batch;
  size_t n_layers = plan->forward->config.shape.n_layers;
  for (size_t i = 0; i < batch->n_overrides; i++)
    plan->sites = plan->sites || batch->overrides[i].site != NK_SITE_STREAM;
  for (size_t i = 0; i < batch->n_asks; i++) {
    const struct nk_ask *a = &batch->asks[i];
    if (nki_ask_distribution(a)) plan->depth = n_layers;
    for (size_t l = 0; l < a->n_layers; l++)
      if (nki_depth(a->site, a->layers[l]) > plan->depth)
        plan->depth = nki_depth(a->site, a->layers[l]);
    plan->sites = plan->sites || (a->site != NK_SITE_STREAM && a->n_layers > 0);
    if (a->sequence == NK_PREFIX) continue;
    size_t reach = a->position - batch->prefix.n + 1;
    if (reach > plan->lengths[a->sequence]) plan->lengths[a->sequence] = reach;
  }
  size_t more = 0;
  if (batch->generation != NULL) {
    plan->depth = n_layers;
    more = batch->generation->n_tokens;
    for (size_t s = 0; s < batch->n_sequences; s++) plan->lengths[s] = batch->sequences[s].n;
  }
  plan->longest = batch->prefix.n;
  for (size_t s = 0; s < batch->n_sequences; s++)
    if (plan->lengths[s] > 0 && batch->prefix.n + plan->lengths[s] + more > plan->longest)
      plan->longest = batch->prefix.n + plan->lengths[s] + more;
}

/* True when no block reaches an answer: each ask is of a row that is replaced at the last layer. */
static bool all_replaced(const struct nki_plan *plan) {
  const struct nk_batch *batch = plan->batch;
  if (batch->generation != NULL || plan->depth == 0) return false;
  for (size_t i = 0; i < batch->n_asks; i++) {
    const struct nk_ask *a = &batch->asks[i];
    if (!is_replaced(plan, slot_of(batch, a->sequence), a->position, plan->depth)) return false;
    for (size_t l = 0; l < a->n_layers; l++)
      if (a->layers[l] != plan->depth) return false;
  }
  return true;
}

size_t nki_plan_memory(const struct nki_plan *plan) {
  return plan->batch->memory == 0 ? DEFAULT_MEMORY : plan->batch->memory;
}

int nki_plan_group(struct nki_plan *plan, size_t row_bytes, bool prefix_alone, size_t n_held) {
  const struct nk_batch *batch = plan->batch;
  size_t more = batch->generation == NULL ? 0 : batch->generation->n_tokens;
  size_t room = nki_plan_memory(plan) / row_bytes, rows = batch->prefix.n, n = 0;
  size_t most = plan->forward->most_rows;
  if (more > 0 && most < SIZE_MAX / 4) most *= 4; /* its steps have one row for each sequence */
  room = room > n_held ? room - n_held : 0;
  if (most < room) room = most;
  nk_free(plan->group_start);
  plan->group_start = nk_alloc(batch->n_sequences + 3, sizeof(size_t));
  if (plan->group_start == NULL) return NK_EMEMORY;
  plan->group_start[0] = 0;
  bool any = false;
  if (prefix_alone) plan->group_start[++n] = rows = 0;
  for (size_t s = 0; s < batch->n_sequences; s++) {
    size_t need = plan->lengths[s] == 0 ? 0 : plan->lengths[s] + more;
    bool full = rows + need > room || s - plan->group_start[n] >= plan->forward->most_sequences;
    if (any && full) {
      plan->group_start[++n] = s;
      rows = 0;
      any = false;
    }
    rows += need;
    any = any || need > 0;
  }
  plan->group_start[++n] = batch->n_sequences;
  plan->n_groups = n;
  return NK_OK;
}

/* Bytes of a row: its stream before and after the blocks, keys and values where they are kept. */
static size_t row_bytes(const struct nki_plan *plan) {
  const struct nk_forward_shape *shape = &plan->forward->config.shape;
  size_t floats = shape->dim + nki_final_width(plan->forward);
  if (plan->batch->generation != NULL || plan->forward->engine->keeps_keys)
    floats += 2 * shape->n_layers * shape->n_kv_heads * shape->head_dim;
  return floats * sizeof(float);
}

static int check_batch(struct nki_plan *plan) {
  const struct nk_batch *batch = plan->batch;
  int code = NK_OK;
  if (batch->generation != NULL) code = nki_generation_check(batch->generation);
  for (size_t i = 0; i < batch->n_overrides && code == NK_OK; i++) code = check_override(plan, i);
  for (size_t i = 0; i < batch->n_asks && code == NK_OK; i++) code = check_ask(plan, i);
  if (code == NK_OK)
    code = sort_by_sequence(batch, batch->n_overrides, sequence_of_override, &plan->overrides);
  if (code == NK_OK) code = sort_by_sequence(batch, batch->n_asks, sequence_of_ask, &plan->asks);
  if (code == NK_OK) code = check_ids(plan, &batch->prefix, batch->n_sequences);
  for (size_t s = 0; s < batch->n_sequences && code == NK_OK; s++) {
    code = check_ids(plan, &batch->sequences[s], s);
    if (code == NK_OK && batch->generation != NULL && batch->sequences[s].n == 0)
      code = nk_fail(NK_EUSAGE, "sequence %zu has no token of its own to continue after", s);
  }
  return code;
}

int nki_plan_make(const struct nk_forward *forward, const struct nk_batch *batch,
                  struct nki_plan *plan) {
  *plan = (struct nki_plan){.forward = forward, .batch = batch};
  int code = check_batch(plan);
  if (code != NK_OK) return code;
  plan->lengths = nk_calloc(batch->n_sequences, sizeof(size_t));
  if (plan->lengths == NULL) return NK_EMEMORY;
  measure(plan);
  plan->replaced = all_replaced(plan);
  if (plan->longest > forward->config.shape.n_positions)
    return nk_fail(NK_EUSAGE, "%zu positions: the model has %zu", plan->longest,
                   forward->config.shape.n_positions);
  return nki_plan_group(plan, row_bytes(plan), false, 0);
}

void nki_plan_free(struct nki_plan *plan) {
  nk_free(plan->overrides.start);
  nk_free(plan->overrides.index);
  nk_free(plan->asks.start);
  nk_free(plan->asks.index);
  nk_free(plan->lengths);
  nk_free(plan->group_start);
}
