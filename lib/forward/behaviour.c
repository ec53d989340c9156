/* What items do in a prompt's slot. Every question goes through one function, probe, that lays the
 * items out as a batch: the prompt up to the first touched position is the shared prefix, the rest
 * is a sequence per item with its overrides. */
#include <noken/probe.h>

#include <math.h>
#include <noken/base.h>
#include <noken/region.h>
#include <string.h>
#include "base/random.h"

#include <noken/forward.h>
#include <noken/tokenizer.h>
#include "forward/internal.h"

enum { ITEMS_AT_ONCE = 16384 }; /* bounds the bookkeeping of a batch */

/* ---- Laying items out ---- */

static size_t n_items(const struct nk_items *items) {
  return items->n_tokens + items->n_vectors;
}

static struct nk_items slice(const struct nk_items *items, size_t first, size_t n, size_t dim) {
  struct nk_items out = {0};
  if (first < items->n_tokens) {
    out.tokens = items->tokens + first;
    out.n_tokens = items->n_tokens - first < n ? items->n_tokens - first : n;
  }
  size_t skipped = first + out.n_tokens - items->n_tokens;
  out.n_vectors = n - out.n_tokens;
  if (out.n_vectors > 0) out.vectors = items->vectors + skipped * dim;
  return out;
}

size_t nk_prompt_base(const struct nk_prompt *prompt, const struct nk_intervention *how) {
  return how->at_position ? how->position : prompt->slots[prompt->n_slots - 1];
}

static size_t first_touched(const struct nk_prompt *prompt, const struct nk_intervention *how) {
  size_t first = how->at_position ? how->position : prompt->slots[0];
  if (prompt->n_slots > 0 && prompt->slots[0] < first) first = prompt->slots[0];
  return first;
}

/* A batch's arrays; those of asks come from the caller. */
struct layout {
  struct nk_batch batch;
  int64_t *ids; /* [n_items, length] */
  struct nk_sequence *sequences;
  struct nk_override *overrides;
};

static void free_layout(struct layout *layout) {
  nk_free(layout->ids);
  nk_free(layout->sequences);
  nk_free(layout->overrides);
}

static bool is_place(const struct nk_prompt *prompt, const struct nk_intervention *how, size_t i) {
  if (how->at_position) return i == how->position;
  for (size_t s = 0; s < prompt->n_slots; s++)
    if (prompt->slots[s] == i) return true;
  return false;
}

/* Sequence i: the prompt from `first` on with the item in its places. */
static void lay_item(struct layout *l, const struct nk_prompt *prompt,
                     const struct nk_intervention *how, size_t first, size_t item, int64_t token,
                     const float *vector) {
  int64_t *ids = l->ids + item * (prompt->n - first);
  bool replaces = vector != NULL && how->layer == 0 && how->mode == NK_REPLACE;
  l->sequences[item] = (struct nk_sequence){ids, prompt->n - first};
  for (size_t i = first; i < prompt->n; i++) {
    bool place = is_place(prompt, how, i);
    ids[i - first] = place && vector == NULL ? token : prompt->ids[i];
    if (place && replaces) ids[i - first] = NK_VECTOR;
    if (ids[i - first] == NK_VECTOR && !(place && replaces))
      l->overrides[l->batch.n_overrides++] =
          (struct nk_override){item, i, 0, NK_REPLACE, how->fill};
    if (place && vector != NULL)
      l->overrides[l->batch.n_overrides++] =
          (struct nk_override){item, i, how->layer, how->mode, vector};
  }
}

static int lay_out(const struct nk_prompt *prompt, const struct nk_intervention *how,
                   const struct nk_items *items, size_t dim, struct layout *l) {
  size_t n = n_items(items), first = first_touched(prompt, how);
  size_t places = prompt->n_slots + (how->at_position ? 1 : 0);
  *l = (struct layout){.ids = nk_alloc(n, (prompt->n - first) * sizeof(int64_t)),
                       .sequences = nk_alloc(n, sizeof *l->sequences),
                       .overrides = nk_alloc(n, 2 * places * sizeof *l->overrides)};
  if (l->ids == NULL || l->sequences == NULL || l->overrides == NULL) {
    free_layout(l);
    return NK_EMEMORY;
  }
  for (size_t i = 0; i < n; i++)
    lay_item(l, prompt, how, first, i, i < items->n_tokens ? items->tokens[i] : NK_VECTOR,
             i < items->n_tokens ? NULL : items->vectors + (i - items->n_tokens) * dim);
  l->batch.prefix = (struct nk_sequence){prompt->ids, first};
  l->batch.sequences = l->sequences;
  l->batch.n_sequences = n;
  l->batch.overrides = l->overrides;
  return 0;
}

int nk_intervention_check(const struct nk_forward *forward, const struct nk_prompt *prompt,
                          const struct nk_intervention *how, size_t n_more) {
  const struct nk_forward_shape *shape = nk_forward_shape(forward);
  if (how->layer > shape->n_layers)
    return nk_fail(NK_EUSAGE, "layer %zu: the model has layers 0 to %zu", how->layer,
                   shape->n_layers);
  if (how->at_position && how->position >= prompt->n)
    return nk_fail(NK_EUSAGE, "position %zu: prompt '%s' has %zu tokens", how->position,
                   prompt->name, prompt->n);
  if (!how->at_position && prompt->n_slots == 0)
    return nk_fail(NK_EUSAGE, "prompt '%s' has no slot {}", prompt->text);
  if (prompt->n + n_more > shape->n_positions)
    return nk_fail(NK_EUSAGE, "prompt '%s': %zu tokens%s: the model's context is %zu", prompt->name,
                   prompt->n + n_more, n_more > 0 ? " with those to be generated" : "",
                   shape->n_positions);
  return 0;
}

int nk_mean_embedding(const struct nk_forward *forward, float *fill) {
  size_t dim = forward->config.shape.dim, n = forward->embedding->shape[0];
  double *sum = nk_calloc(dim, sizeof *sum);
  if (sum == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < n; i++) {
    nk_forward_embedding(forward, (int64_t)i, fill);
    for (size_t k = 0; k < dim; k++) sum[k] += (double)fill[k];
  }
  for (size_t k = 0; k < dim; k++) fill[k] = (float)(sum[k] / (double)n);
  nk_free(sum);
  return 0;
}

/* ---- Probing ---- */

/* What is wanted at each offset, and where it goes: rows item * n_offsets + offset. */
struct probe {
  const size_t *offsets;
  size_t n_offsets;
  const float *log_mean;     /* [n_offsets, vocabulary] or NULL */
  double *sum;               /* [n_offsets, vocabulary] or NULL */
  struct nk_behaviour *into; /* or NULL */
};

static void fill_ask(const struct probe *probe, const struct nk_forward_shape *shape,
                     const size_t *layers, size_t row, size_t offset, const int64_t *token,
                     float *log_probs, struct nk_ask *ask) {
  if (probe->sum != NULL) ask->sum = probe->sum + offset * shape->n_vocabulary;
  if (probe->into == NULL) return;
  ask->distribution = true;
  ask->n_top = 1;
  ask->top_ids = &probe->into->top_id[row];
  ask->top_log_probs = &log_probs[0];
  ask->layers = layers;
  ask->n_layers = shape->n_layers;
  ask->norms = probe->into->norms + row * shape->n_layers;
  if (probe->log_mean != NULL) ask->reference = probe->log_mean + offset * shape->n_vocabulary;
  if (token != NULL && (size_t)*token < shape->n_vocabulary) {
    ask->n_ids = 1;
    ask->ids = token;
    ask->log_probs = &log_probs[1];
  }
}

static void take_answer(const struct nk_ask *ask, size_t row, struct nk_behaviour *into) {
  into->entropy[row] = ask->entropy;
  into->kl[row] = ask->kl;
  into->top_prob[row] = exp((double)ask->top_log_probs[0]);
  into->self_prob[row] = ask->n_ids > 0 ? exp((double)ask->log_probs[0]) : (double)NAN;
}

/* Items [first, first + n) of all, as one batch. */
static int probe_some(struct nk_forward *forward, const struct nk_prompt *prompt,
                      const struct nk_intervention *how, const struct nk_items *items, size_t first,
                      const struct probe *probe) {
  const struct nk_forward_shape *shape = nk_forward_shape(forward);
  size_t n = n_items(items), n_asks = n * probe->n_offsets, base = nk_prompt_base(prompt, how);
  struct layout layout = {0};
  struct nk_ask *asks = nk_calloc(n_asks, sizeof *asks);
  float *log_probs = nk_alloc(n_asks, 2 * sizeof *log_probs);
  size_t *layers = nk_alloc(shape->n_layers, sizeof *layers);
  int code = asks == NULL || log_probs == NULL || layers == NULL ? NK_EMEMORY : NK_OK;
  if (code == NK_OK) code = lay_out(prompt, how, items, shape->dim, &layout);
  if (code != NK_OK) goto done;
  for (size_t l = 0; l < shape->n_layers; l++) layers[l] = l + 1;
  for (size_t i = 0; i < n; i++)
    for (size_t k = 0; k < probe->n_offsets; k++) {
      size_t at = i * probe->n_offsets + k, row = first * probe->n_offsets + at;
      asks[at].sequence = i;
      asks[at].position = base + probe->offsets[k];
      fill_ask(probe, shape, layers, row, k, i < items->n_tokens ? &items->tokens[i] : NULL,
               &log_probs[2 * at], &asks[at]);
    }
  layout.batch.asks = asks;
  layout.batch.n_asks = n_asks;
  code = nk_forward_run(forward, &layout.batch);
  for (size_t at = 0; at < n_asks && code == NK_OK && probe->into != NULL; at++)
    take_answer(&asks[at], first * probe->n_offsets + at, probe->into);
done:
  free_layout(&layout);
  nk_free(asks);
  nk_free(log_probs);
  nk_free(layers);
  return code;
}

static int run_probe(struct nk_forward *forward, const struct nk_prompt *prompt,
                     const struct nk_intervention *how, const struct nk_items *items,
                     const struct probe *probe) {
  size_t dim = nk_forward_shape(forward)->dim, n = n_items(items);
  int code = NK_OK;
  for (size_t first = 0; first < n && code == NK_OK; first += ITEMS_AT_ONCE) {
    struct nk_items some =
        slice(items, first, n - first < ITEMS_AT_ONCE ? n - first : ITEMS_AT_ONCE, dim);
    code = probe_some(forward, prompt, how, &some, first, probe);
  }
  return code;
}

/* ---- The reference ---- */

struct nk_reference {
  size_t n_offsets;
  size_t *offsets;
  float *log_mean;             /* [n_offsets, vocabulary] */
  struct nk_typical **typical; /* [n_offsets] */
};

int nk_draw_ids(const int64_t *from, size_t n_from, uint64_t seed, size_t n_wanted, int64_t **ids,
                size_t *n) {
  size_t *order = nk_alloc(n_from, sizeof *order);
  *n = n_wanted < n_from ? n_wanted : n_from;
  *ids = nk_alloc(*n, sizeof **ids);
  int code = order == NULL || *ids == NULL ? NK_EMEMORY : NK_OK;
  if (code == NK_OK) {
    struct nki_random random = nki_random_stream(seed, NKI_RANDOM_REFERENCE, 0);
    nki_random_permutation(&random, n_from, order);
    for (size_t i = 0; i < *n; i++) (*ids)[i] = from[order[i]];
  }
  nk_free(order);
  if (code != NK_OK) {
    nk_free(*ids);
    *ids = NULL;
    *n = 0;
  }
  return code;
}

/* Keeps, in their order, those of ids [*n] that the model can repeat; stops at n_wanted. */
static int keep_known(struct nk_forward *forward, const struct nk_tokenizer *tokenizer,
                      size_t n_wanted, int64_t *ids, size_t *n) {
  struct nk_prompts prompts = {0};
  size_t kept = 0, at = 0, most = *n < 4 * n_wanted ? *n : 4 * n_wanted;
  double *max_prob = nk_alloc(most, sizeof *max_prob);
  int64_t *known = nk_alloc(n_wanted, sizeof *known);
  int code =
      max_prob == NULL || known == NULL ? NK_EMEMORY : nk_verify_prompts(&prompts, tokenizer);
  while (code == NK_OK && at < most && kept < n_wanted) {
    size_t some = (n_wanted - kept) + (n_wanted - kept) / 4 + 8;
    if (some > most - at) some = most - at;
    code = nk_verify(forward, &prompts, ids + at, some, 1, 0, max_prob);
    for (size_t i = 0; i < some && code == NK_OK && kept < n_wanted; i++)
      if (nk_verdict_of(max_prob[i]) != NK_STRONGLY_VERIFIED) known[kept++] = ids[at + i];
    at += some;
  }
  if (code == NK_OK && kept < n_wanted / 2) {
    nk_warn(
        "of %zu tokens the model can repeat %zu: the reference is of tokens drawn without "
        "regard to that",
        at, kept);
    kept = *n < n_wanted ? *n : n_wanted;
  } else if (code == NK_OK) {
    memcpy(ids, known, kept * sizeof *ids);
  }
  *n = kept;
  nk_prompts_free(&prompts);
  nk_free(max_prob);
  nk_free(known);
  return code;
}

int nk_ordinary_tokens(struct nk_forward *forward, const struct nk_tokenizer *tokenizer,
                       const int64_t *excluded, size_t n_excluded, bool known, uint64_t seed,
                       size_t n_wanted, int64_t **ids, size_t *n) {
  size_t total = forward->embedding->shape[0], found = 0;
  enum nk_category *category = nk_alloc(total, sizeof *category);
  int64_t *ordinary = nk_alloc(total, sizeof *ordinary);
  int code = category == NULL || ordinary == NULL ? NK_EMEMORY : NK_OK;
  if (total > forward->config.shape.n_vocabulary) total = forward->config.shape.n_vocabulary;
  if (code == NK_OK) code = nk_tokenizer_categories(tokenizer, total, category);
  for (size_t i = 0; code == NK_OK && i < n_excluded; i++)
    if (excluded[i] >= 0 && (size_t)excluded[i] < total)
      category[excluded[i]] = NK_TOKEN_UNREACHABLE;
  for (size_t i = 0; code == NK_OK && i < total; i++)
    if (category[i] == NK_TOKEN_OK) ordinary[found++] = (int64_t)i;
  if (code == NK_OK) code = nk_draw_ids(ordinary, found, seed, known ? found : n_wanted, ids, n);
  if (code == NK_OK && known) code = keep_known(forward, tokenizer, n_wanted, *ids, n);
  nk_free(category);
  nk_free(ordinary);
  return code;
}

static struct nk_behaviour *new_behaviour(size_t n, size_t n_offsets, size_t n_layers) {
  struct nk_behaviour *b = nk_calloc(1, sizeof *b);
  size_t rows = n * n_offsets;
  if (b == NULL) return NULL;
  *b = (struct nk_behaviour){.n_items = n,
                             .n_offsets = n_offsets,
                             .n_layers = n_layers,
                             .entropy = nk_alloc(rows, sizeof(double)),
                             .top_id = nk_alloc(rows, sizeof(int64_t)),
                             .top_prob = nk_alloc(rows, sizeof(double)),
                             .kl = nk_alloc(rows, sizeof(double)),
                             .p_value = nk_alloc(rows, sizeof(double)),
                             .self_prob = nk_alloc(rows, sizeof(double)),
                             .norms = nk_alloc(rows, n_layers * sizeof(double))};
  if (b->entropy != NULL && b->top_id != NULL && b->top_prob != NULL && b->kl != NULL &&
      b->p_value != NULL && b->self_prob != NULL && b->norms != NULL)
    return b;
  nk_behaviour_free(b);
  return NULL;
}

void nk_behaviour_free(struct nk_behaviour *b) {
  if (b == NULL) return;
  nk_free(b->entropy);
  nk_free(b->top_id);
  nk_free(b->top_prob);
  nk_free(b->kl);
  nk_free(b->p_value);
  nk_free(b->self_prob);
  nk_free(b->norms);
  nk_free(b);
}

/* The features of a behaviour at one offset, [n_items, 3 + n_layers]: entropy, top probability, KL
 * and the logarithms of the residual norms. */
static double *features_at(const struct nk_behaviour *b, size_t offset) {
  size_t dim = 3 + b->n_layers;
  double *features = nk_alloc(b->n_items, dim * sizeof *features);
  if (features == NULL) return NULL;
  for (size_t i = 0; i < b->n_items; i++) {
    size_t row = i * b->n_offsets + offset;
    double *f = features + i * dim;
    f[0] = b->entropy[row];
    f[1] = b->top_prob[row];
    f[2] = b->kl[row];
    for (size_t l = 0; l < b->n_layers; l++)
      f[3 + l] = log(fmax(b->norms[row * b->n_layers + l], 1e-30));
  }
  return features;
}

/* The mean distribution of tokens at every offset, as logarithms. A probability that is 0 in float
 * stands for one too small to matter; its logarithm must be finite. */
static int find_mean(struct nk_forward *forward, const struct nk_prompt *prompt,
                     const struct nk_intervention *how, const struct nk_items *items,
                     struct nk_reference *reference) {
  size_t n = reference->n_offsets * nk_forward_shape(forward)->n_vocabulary;
  double *sum = nk_calloc(n, sizeof *sum);
  if (sum == NULL) return NK_EMEMORY;
  struct probe probe = {
      .offsets = reference->offsets, .n_offsets = reference->n_offsets, .sum = sum};
  int code = run_probe(forward, prompt, how, items, &probe);
  for (size_t i = 0; i < n && code == NK_OK; i++)
    reference->log_mean[i] = (float)log(fmax(sum[i] / (double)items->n_tokens, 1e-38));
  nk_free(sum);
  return code;
}

static int find_typical(struct nk_forward *forward, const struct nk_prompt *prompt,
                        const struct nk_intervention *how, const struct nk_items *items,
                        uint64_t seed, struct nk_reference *reference) {
  struct nk_behaviour *b =
      new_behaviour(items->n_tokens, reference->n_offsets, nk_forward_shape(forward)->n_layers);
  struct probe probe = {.offsets = reference->offsets,
                        .n_offsets = reference->n_offsets,
                        .log_mean = reference->log_mean,
                        .into = b};
  int code = b == NULL ? NK_EMEMORY : run_probe(forward, prompt, how, items, &probe);
  for (size_t k = 0; k < reference->n_offsets && code == NK_OK; k++) {
    double *features = features_at(b, k);
    if (features != NULL)
      reference->typical[k] = nk_typical_new(features, b->n_items, 3 + b->n_layers, seed);
    if (reference->typical[k] == NULL) code = nk_error_code();
    nk_free(features);
  }
  nk_behaviour_free(b);
  return code;
}

struct nk_reference *nk_reference_new(struct nk_forward *forward, const struct nk_prompt *prompt,
                                      const struct nk_intervention *how, const int64_t *ids,
                                      size_t n, size_t n_mean, const size_t *offsets,
                                      size_t n_offsets, uint64_t seed) {
  size_t vocabulary = nk_forward_shape(forward)->n_vocabulary;
  if (n_mean == 0 || n_mean + 4 > n) {
    nk_fail(NK_EUSAGE, "%zu tokens are too few for a reference", n);
    return NULL;
  }
  struct nk_reference *r = nk_calloc(1, sizeof *r);
  if (r == NULL) return NULL;
  struct nk_items mean = {.tokens = ids, .n_tokens = n_mean};
  struct nk_items others = {.tokens = ids + n_mean, .n_tokens = n - n_mean};
  r->n_offsets = n_offsets;
  r->offsets = nk_alloc(n_offsets, sizeof *r->offsets);
  r->log_mean = nk_alloc(n_offsets, vocabulary * sizeof *r->log_mean);
  r->typical = nk_calloc(n_offsets, sizeof(struct nk_typical *));
  int code = r->offsets == NULL || r->log_mean == NULL || r->typical == NULL ? NK_EMEMORY : NK_OK;
  if (code == NK_OK) {
    memcpy(r->offsets, offsets, n_offsets * sizeof *offsets);
    code = find_mean(forward, prompt, how, &mean, r);
  }
  if (code == NK_OK) code = find_typical(forward, prompt, how, &others, seed, r);
  if (code == NK_OK) return r;
  nk_reference_free(r);
  return NULL;
}

void nk_reference_free(struct nk_reference *reference) {
  if (reference == NULL) return;
  for (size_t k = 0; reference->typical != NULL && k < reference->n_offsets; k++)
    nk_typical_free(reference->typical[k]);
  nk_free(reference->typical);
  nk_free(reference->log_mean);
  nk_free(reference->offsets);
  nk_free(reference);
}

/* ---- Behaviour, continuation, capture ---- */

static int find_p_values(const struct nk_reference *reference, struct nk_behaviour *b) {
  int code = NK_OK;
  double *p_values = nk_alloc(b->n_items, sizeof *p_values);
  if (p_values == NULL) return NK_EMEMORY;
  for (size_t k = 0; k < b->n_offsets && code == NK_OK; k++) {
    double *features = features_at(b, k);
    code = features == NULL
               ? NK_EMEMORY
               : nk_typical_score(reference->typical[k], features, b->n_items, NULL, p_values);
    for (size_t i = 0; i < b->n_items && code == NK_OK; i++)
      b->p_value[i * b->n_offsets + k] = p_values[i];
    nk_free(features);
  }
  nk_free(p_values);
  return code;
}

struct nk_behaviour *nk_behave(struct nk_forward *forward, const struct nk_prompt *prompt,
                               const struct nk_intervention *how, const struct nk_items *items,
                               const struct nk_reference *reference) {
  struct nk_behaviour *b =
      new_behaviour(n_items(items), reference->n_offsets, nk_forward_shape(forward)->n_layers);
  if (b == NULL) return NULL;
  struct probe probe = {.offsets = reference->offsets,
                        .n_offsets = reference->n_offsets,
                        .log_mean = reference->log_mean,
                        .into = b};
  int code = run_probe(forward, prompt, how, items, &probe);
  if (code == NK_OK) code = find_p_values(reference, b);
  if (code == NK_OK) return b;
  nk_behaviour_free(b);
  return NULL;
}

int nk_continue(struct nk_forward *forward, const struct nk_prompt *prompt,
                const struct nk_intervention *how, const struct nk_items *items, size_t n_tokens,
                const int64_t *stop, size_t n_stop, int64_t *ids, size_t *lengths) {
  size_t dim = nk_forward_shape(forward)->dim, n = n_items(items);
  int code = NK_OK;
  for (size_t first = 0; first < n && code == NK_OK; first += ITEMS_AT_ONCE) {
    struct nk_items some =
        slice(items, first, n - first < ITEMS_AT_ONCE ? n - first : ITEMS_AT_ONCE, dim);
    struct nk_generation generation = {.n_tokens = n_tokens,
                                       .stop = stop,
                                       .n_stop = n_stop,
                                       .ids = ids + first * n_tokens,
                                       .lengths = lengths + first};
    struct layout layout;
    code = lay_out(prompt, how, &some, dim, &layout);
    if (code != NK_OK) return code;
    layout.batch.generation = &generation;
    code = nk_forward_run(forward, &layout.batch);
    free_layout(&layout);
  }
  return code;
}

int nk_capture(struct nk_forward *forward, const struct nk_prompt *prompt,
               const struct nk_intervention *how, const struct nk_items *items, size_t layer,
               size_t offset, float *out) {
  size_t dim = nk_forward_shape(forward)->dim, n = n_items(items);
  size_t last = prompt->n - 1 - nk_prompt_base(prompt, how);
  int code = NK_OK;
  if (offset == SIZE_MAX) offset = last;
  if (offset > last)
    return nk_fail(NK_EUSAGE, "prompt '%s' has %zu tokens after the slot", prompt->name, last);
  struct nk_ask *asks = nk_calloc(n < ITEMS_AT_ONCE ? n : ITEMS_AT_ONCE, sizeof *asks);
  if (asks == NULL) return NK_EMEMORY;
  for (size_t first = 0; first < n && code == NK_OK; first += ITEMS_AT_ONCE) {
    struct nk_items some =
        slice(items, first, n - first < ITEMS_AT_ONCE ? n - first : ITEMS_AT_ONCE, dim);
    struct layout layout;
    code = lay_out(prompt, how, &some, dim, &layout);
    if (code != NK_OK) break;
    for (size_t i = 0; i < n_items(&some); i++)
      asks[i] = (struct nk_ask){.sequence = i,
                                .position = nk_prompt_base(prompt, how) + offset,
                                .layers = &layer,
                                .n_layers = 1,
                                .residuals = out + (first + i) * dim};
    layout.batch.asks = asks;
    layout.batch.n_asks = n_items(&some);
    code = nk_forward_run(forward, &layout.batch);
    free_layout(&layout);
  }
  nk_free(asks);
  return code;
}
