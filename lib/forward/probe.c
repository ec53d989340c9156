/* Probes: items in one place of one prompt. Every question goes through nki_probe_pass, which runs
 * the items as batches. */
#include "forward/probe.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "io/vectors.h"
#include "model/model_config.h"

enum { MAX_STOPS = 16 };

/* ---- Items ---- */

static size_t n_items(const struct nk_items *items) {
  return items->n_tokens + (items->vectors == NULL ? 0 : items->vectors->n);
}

int nki_check_items(const struct nk_probe *probe, const struct nk_items *items) {
  if (probe == NULL || items == NULL || (items->tokens == NULL && items->vectors == NULL))
    return nki_fail_null();
  size_t dim = probe->forward->config.shape.dim;
  if (items->vectors != NULL && items->vectors->dim != dim)
    return nk_fail(NK_EDATA, "vectors have %zu values, the model's have %zu", items->vectors->dim,
                   dim);
  return items->vectors != NULL ? nki_vectors_need_values(items->vectors) : NK_OK;
}

/* ---- A pass ---- */

/* A batch with its asks. */
struct pass {
  const struct nk_probe *probe;
  size_t first; /* item */
  struct nki_layout layout;
  struct nk_ask *asks; /* [items, n_offsets] */
  float *log_probs;    /* [asks, 2] of the top token and of the item's own */
  size_t *layers;      /* 1 to n_layers */
};

static void free_pass(struct pass *pass) {
  nki_layout_free(&pass->layout);
  nk_free(pass->asks);
  nk_free(pass->log_probs);
  nk_free(pass->layers);
}

static int make_pass(struct pass *pass, const struct nki_slice *slice) {
  const struct nk_probe *probe = pass->probe;
  size_t n_layers = probe->forward->config.shape.n_layers, n_asks = slice->n * probe->n_offsets;
  pass->asks = nk_calloc(n_asks, sizeof *pass->asks);
  pass->log_probs = nk_alloc(n_asks, 2 * sizeof *pass->log_probs);
  pass->layers = nk_alloc(n_layers, sizeof *pass->layers);
  if (pass->asks == NULL || pass->log_probs == NULL || pass->layers == NULL) return NK_EMEMORY;
  for (size_t layer = 0; layer < n_layers; layer++) pass->layers[layer] = layer + 1;
  return nki_layout_make(probe, slice, &pass->layout);
}

/* What a behaviour needs of row `row`; token: the item's, or NULL. */
static void ask_behaviour(const struct pass *pass, const struct nk_behaviour *into, size_t row,
                          const int64_t *token, struct nk_ask *ask) {
  const struct nk_forward_shape *shape = &pass->probe->forward->config.shape;
  float *log_probs = pass->log_probs + 2 * (ask - pass->asks);
  ask->distribution = true;
  ask->n_top = 1;
  ask->top_ids = &into->top_id[row];
  ask->top_log_probs = &log_probs[0];
  ask->layers = pass->layers;
  ask->n_layers = shape->n_layers;
  ask->norms = into->norms + row * shape->n_layers;
  if (token == NULL || (size_t)*token >= shape->n_vocabulary) return;
  ask->n_ids = 1;
  ask->ids = token;
  ask->log_probs = &log_probs[1];
}

static void make_asks(struct pass *pass, const struct nki_slice *slice,
                      const struct nki_wanted *wanted) {
  const struct nk_probe *probe = pass->probe;
  const struct nk_forward_shape *shape = &probe->forward->config.shape;
  struct nk_batch *batch = &pass->layout.batch;
  for (size_t i = 0; i < slice->n; i++)
    for (size_t k = 0; k < probe->n_offsets; k++) {
      struct nk_ask *ask = &pass->asks[batch->n_asks++];
      size_t row = (pass->first + i) * probe->n_offsets + k;
      const int64_t *token = i < slice->n_tokens ? &slice->tokens[i] : NULL;
      ask->sequence = i;
      ask->position = probe->base + probe->offsets[k];
      if (wanted->sum != NULL) ask->sum = wanted->sum + k * shape->n_vocabulary;
      if (wanted->log_mean != NULL) ask->reference = wanted->log_mean + k * shape->n_vocabulary;
      if (wanted->into != NULL) ask_behaviour(pass, wanted->into, row, token, ask);
      if (wanted->residuals == NULL) continue;
      ask->layers = wanted->layers;
      ask->n_layers = wanted->n_layers;
      ask->residuals = wanted->residuals + row * wanted->n_layers * shape->dim;
    }
  batch->asks = pass->asks;
}

static void take_answers(const struct pass *pass, struct nk_behaviour *into) {
  for (size_t i = 0; i < pass->layout.batch.n_asks; i++) {
    const struct nk_ask *ask = &pass->asks[i];
    size_t row = pass->first * pass->probe->n_offsets + i;
    into->entropy[row] = ask->entropy;
    into->kl[row] = ask->kl;
    into->top_prob[row] = exp((double)ask->top_log_probs[0]);
    into->self_prob[row] = ask->n_ids > 0 ? exp((double)ask->log_probs[0]) : (double)NAN;
  }
}

/* eos_token_id of config.json, a number or an array of numbers: stops [MAX_STOPS]; returns how
 * many. */
static size_t stop_tokens(const struct nk_model *model, int64_t *stops) {
  const json_t *value = nki_model_config_value(model, "eos_token_id");
  size_t n = 0;
  if (json_is_integer(value)) stops[n++] = json_integer_value(value);
  for (size_t i = 0; i < json_array_size(value) && n < MAX_STOPS; i++)
    if (json_is_integer(json_array_get(value, i)))
      stops[n++] = json_integer_value(json_array_get(value, i));
  return n;
}

/* Items [first, first + slice->n). */
static int run_slice(const struct nk_probe *probe, const struct nki_slice *slice, size_t first,
                     const struct nki_wanted *wanted) {
  int64_t stops[MAX_STOPS];
  struct nk_generation generation = {.n_tokens = probe->n_generate, .stop = stops};
  struct pass pass = {.probe = probe, .first = first};
  int code = make_pass(&pass, slice);
  if (code != NK_OK) goto done;
  if (wanted->ids != NULL) {
    generation.n_stop = stop_tokens(probe->model, stops);
    generation.ids = wanted->ids + first * probe->n_generate;
    generation.lengths = wanted->lengths + first;
    pass.layout.batch.generation = &generation;
  } else {
    make_asks(&pass, slice, wanted);
  }
  code = nk_forward_run(probe->forward, &pass.layout.batch);
  if (code == NK_OK && wanted->into != NULL) take_answers(&pass, wanted->into);

done:
  free_pass(&pass);
  return code;
}

int nki_probe_pass(const struct nk_probe *probe, const struct nk_items *items,
                   const struct nki_wanted *wanted) {
  size_t n = n_items(items), dim = probe->forward->config.shape.dim;
  int code = NK_OK;
  for (size_t first = 0; first < n && code == NK_OK; first += NKI_ITEMS_AT_ONCE) {
    size_t n_tokens = items->n_tokens > first ? items->n_tokens - first : 0;
    size_t vector = first > items->n_tokens ? first - items->n_tokens : 0;
    struct nki_slice slice = {
        .n = n - first < NKI_ITEMS_AT_ONCE ? n - first : NKI_ITEMS_AT_ONCE,
        .tokens = n_tokens > 0 ? items->tokens + first : NULL,
        .vectors = items->vectors == NULL ? NULL : items->vectors->values + vector * dim};
    slice.n_tokens = n_tokens < slice.n ? n_tokens : slice.n;
    code = run_slice(probe, &slice, first, wanted);
  }
  return code;
}

/* ---- Making a probe ---- */

static int set_place(struct nk_probe *probe, const struct nk_probe_options *options) {
  const struct nki_prompt *prompt = &probe->prompt;
  const struct nk_forward_shape *shape = &probe->forward->config.shape;
  int64_t position =
      options->position < 0 ? options->position + (int64_t)prompt->n : options->position;
  probe->layer = options->layer;
  probe->mode = options->mode;
  probe->at_position = options->at_position;
  probe->position = position < 0 ? SIZE_MAX : (size_t)position;
  if (probe->layer > shape->n_layers)
    return nk_fail(NK_EUSAGE, "layer %zu: the model has layers 0 to %zu", probe->layer,
                   shape->n_layers);
  if (probe->mode != NK_REPLACE && probe->mode != NK_ADD)
    return nk_fail(NK_EUSAGE, "mode %d: neither NK_REPLACE nor NK_ADD", (int)probe->mode);
  if (probe->at_position && probe->position >= prompt->n)
    return nk_fail(NK_EUSAGE, "position %lld: prompt '%s' has %zu tokens",
                   (long long)options->position, prompt->name, prompt->n);
  if (!probe->at_position && prompt->n_slots == 0)
    return nk_fail(NK_EUSAGE, "prompt '%s' has no slot {}", prompt->name);
  probe->base = probe->at_position ? probe->position : prompt->slots[prompt->n_slots - 1];
  probe->first = probe->at_position ? probe->position : prompt->slots[0];
  if (prompt->n_slots > 0 && prompt->slots[0] < probe->first) probe->first = prompt->slots[0];
  probe->end = prompt->n - 1 - probe->base;
  return NK_OK;
}

static bool is_offset(const struct nk_probe *probe, size_t offset) {
  for (size_t k = 0; k < probe->n_offsets; k++)
    if (probe->offsets[k] == offset) return true;
  return false;
}

static int set_offsets(struct nk_probe *probe, const struct nk_probe_options *options) {
  size_t end = probe->end, n = options->n_offsets;
  if (options->offsets == NULL) n = n == 0 ? 1 : n < end + 1 ? n : end + 1;
  if (n == 0) return nk_fail(NK_EUSAGE, "prompt '%s': no offsets", probe->prompt.name);
  probe->offsets = nk_alloc(n, sizeof *probe->offsets);
  if (probe->offsets == NULL) return NK_EMEMORY;
  for (size_t k = 0; k < n; k++) {
    size_t offset = options->offsets != NULL  ? options->offsets[k]
                    : options->n_offsets == 0 ? NK_PROMPT_END
                                              : k;
    probe->offsets[probe->n_offsets] = offset == NK_PROMPT_END ? end : offset;
    if (options->offsets == NULL || !is_offset(probe, probe->offsets[probe->n_offsets]))
      probe->n_offsets++;
    if (offset != NK_PROMPT_END && offset > end)
      return nk_fail(NK_EUSAGE, "offset %zu: prompt '%s' has %zu tokens after the %s", offset,
                     probe->prompt.name, end, probe->at_position ? "position" : "slot");
  }
  return NK_OK;
}

/* True when a place is left at layer 0 that no token and no vector replaces. */
static bool needs_fill(const struct nk_probe *probe) {
  return probe->layer > 0 || probe->mode == NK_ADD ||
         (probe->at_position && probe->prompt.n_slots > 0);
}

static int set_fill(struct nk_probe *probe, const float *fill) {
  size_t dim = probe->forward->config.shape.dim;
  if (!needs_fill(probe)) return NK_OK;
  probe->fill = nk_alloc(dim, sizeof *probe->fill);
  if (probe->fill == NULL) return NK_EMEMORY;
  if (fill == NULL) return nki_mean_embedding(probe->forward, probe->fill);
  memcpy(probe->fill, fill, dim * sizeof *fill);
  return NK_OK;
}

static int set_reference(struct nk_probe *probe, const struct nk_probe_options *options) {
  size_t n = options->reference_ids == NULL ? 0 : options->n_reference_ids;
  probe->n_reference = options->n_reference == 0 ? 256 : options->n_reference;
  probe->seed = options->seed;
  if (options->reference_ids == NULL) return NK_OK;
  probe->reference_ids = nk_alloc(n, sizeof *probe->reference_ids);
  if (probe->reference_ids == NULL) return NK_EMEMORY;
  if (n > 0) memcpy(probe->reference_ids, options->reference_ids, n * sizeof(int64_t));
  probe->n_reference_ids = n;
  return NK_OK;
}

int nki_probe_need_reference(struct nk_probe *probe) {
  if (probe->reference == NULL) probe->reference = nki_reference_new(probe);
  return probe->reference == NULL ? nk_error_code() : NK_OK;
}

/* Whether items behave in this probe as in the other one: at the same offsets of the same prompt,
 * with as many tokens and layers. */
static bool is_comparable(const struct nk_probe *probe, const struct nk_probe *other) {
  const struct nk_forward_shape *a = &probe->forward->config.shape,
                                *b = &other->forward->config.shape;
  return a->n_vocabulary == b->n_vocabulary && a->n_layers == b->n_layers &&
         probe->prompt.n == other->prompt.n && probe->n_offsets == other->n_offsets &&
         probe->base == other->base &&
         memcmp(probe->prompt.ids, other->prompt.ids, probe->prompt.n * sizeof(int64_t)) == 0 &&
         memcmp(probe->offsets, other->offsets, probe->n_offsets * sizeof(size_t)) == 0;
}

static int borrow_reference(struct nk_probe *probe, struct nk_probe *other) {
  if (other == NULL) return NK_OK;
  if (!is_comparable(probe, other))
    return nk_fail(NK_EUSAGE,
                   "prompt '%s': the reference of a probe of another prompt, other offsets or a "
                   "model of another shape",
                   probe->prompt.name);
  int code = nki_probe_need_reference(other);
  probe->reference = other->reference;
  probe->borrowed = true;
  return code;
}

static int check_length(const struct nk_probe *probe) {
  size_t n = probe->prompt.n + probe->n_generate, most = probe->forward->config.shape.n_positions;
  if (n <= most && n >= probe->prompt.n) return NK_OK;
  return nk_fail(NK_EUSAGE, "prompt '%s': %zu tokens%s: the model's context is %zu",
                 probe->prompt.name, n, probe->n_generate > 0 ? " with those to be generated" : "",
                 most);
}

struct nk_probe *nk_probe_new(struct nk_model *model, const char *prompt,
                              const struct nk_probe_options *options) {
  static const struct nk_probe_options defaults;
  if (model == NULL) return NULL;
  if (options == NULL) options = &defaults;
  struct nk_probe *probe = nk_calloc(1, sizeof *probe);
  if (probe == NULL) return NULL;
  probe->model = model;
  probe->n_generate = options->n_generate;
  probe->repetition = options->repetition;
  probe->forward = nk_model_forward(model);
  const struct nk_tokenizer *tokenizer = probe->forward == NULL ? NULL : nk_model_tokenizer(model);
  int code = tokenizer == NULL ? nk_error_code() : NK_OK;
  if (code == NK_OK) code = nki_prompt_make(tokenizer, options->name, prompt, &probe->prompt);
  if (code == NK_OK) code = set_place(probe, options);
  if (code == NK_OK) code = set_offsets(probe, options);
  if (code == NK_OK) code = check_length(probe);
  if (code == NK_OK) code = set_fill(probe, options->fill);
  if (code == NK_OK) code = set_reference(probe, options);
  if (code == NK_OK) code = borrow_reference(probe, options->reference_of);
  if (code == NK_OK) return probe;
  nk_probe_free(probe);
  return NULL;
}

void nk_probe_free(struct nk_probe *probe) {
  if (probe == NULL) return;
  if (!probe->borrowed) nki_reference_free(probe->reference);
  nki_prompt_free(&probe->prompt);
  nk_free(probe->fill);
  nk_free(probe->offsets);
  nk_free(probe->reference_ids);
  nk_free(probe);
}

const size_t *nk_probe_offsets(const struct nk_probe *probe, size_t *n) {
  *n = probe == NULL ? 0 : probe->n_offsets;
  return probe == NULL ? NULL : probe->offsets;
}

/* ---- Behaviour, generation, capture ---- */

struct nk_behaviour *nk_probe_run(struct nk_probe *probe, const struct nk_items *items) {
  if (nki_check_items(probe, items) != NK_OK || nki_probe_need_reference(probe) != NK_OK)
    return NULL;
  struct nk_behaviour *b = nki_behaviour_new(probe, n_items(items));
  if (b == NULL) return NULL;
  struct nki_wanted wanted = {.log_mean = probe->reference->side[0].log_mean, .into = b};
  int code = nki_probe_pass(probe, items, &wanted);
  if (code == NK_OK) code = nki_reference_score(probe, probe->reference, items, b);
  if (code == NK_OK) code = nki_behaviour_echo(probe, items, b);
  if (code == NK_OK) return b;
  nk_behaviour_free(b);
  return NULL;
}

int nk_probe_generate(struct nk_probe *probe, const struct nk_items *items, int64_t *ids,
                      size_t *lengths) {
  int code = nki_check_items(probe, items);
  if (code != NK_OK) return code;
  struct nki_wanted wanted = {.ids = ids, .lengths = lengths};
  return nki_probe_pass(probe, items, &wanted);
}

int nk_probe_capture(struct nk_probe *probe, const struct nk_items *items, const size_t *layers,
                     size_t n_layers, float *out) {
  int code = nki_check_items(probe, items);
  if (code != NK_OK) return code;
  struct nki_wanted wanted = {.layers = layers, .n_layers = n_layers, .residuals = out};
  return nki_probe_pass(probe, items, &wanted);
}
