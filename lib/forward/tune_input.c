/* What a run of tuning reads: prompts as probes, whose references give targets, ordinary tokens
 * beside these, texts in pieces, and the shares of all of them that are held out. */
#include <math.h>
#include <noken/base.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/random.h"
#include "forward/tune.h"
#include "io/vectors.h"
#include "model/dtype.h"
#include "model/model.h"

enum {
  REFERENCE = 512, /* ordinary tokens of a probe's reference, as of a probe by itself */
  ORDINARY = 512,  /* others, of the loss */
  PIECE = 64,      /* tokens of a piece of text, at most: their distributions are held in memory */
  /* Held-out pieces that evaluations read: at most as many positions as a few steps have, however
   * long the text is. */
  HELD = 128
};

/* What is split: streams of its random numbers. */
enum { SPLIT_NOKENS, SPLIT_PROMPTS, SPLIT_ORDINARY, SPLIT_PIECES, SPLIT_HELD };

/* With the size, so that no two lists of arrays are one. */
static void add_hash(struct nk_tune *tune, const void *bytes, size_t n) {
  uint64_t parts[3] = {tune->input, n, nki_hash(bytes, n)};
  tune->input = nki_hash((const char *)parts, sizeof parts);
}

static void add_count(struct nk_tune *tune, size_t n) {
  const uint64_t count = n;
  add_hash(tune, &count, sizeof count);
}

/* ---- Probes and targets ---- */

struct nk_probe *nki_tune_probe(struct nk_tune *tune, size_t prompt) {
  const struct nk_tune_options *o = &tune->options;
  const struct nk_probe_options options = {.layer = o->layer,
                                           .mode = o->mode,
                                           .reference_ids = tune->reference,
                                           .n_reference_ids = tune->n_reference};
  const char *text = prompt < tune->n_prompts ? tune->prompts[prompt]
                                              : nk_verify_prompts[prompt - tune->n_prompts];
  return nk_probe_new(tune->model, text, &options);
}

static int copy_prompts(struct nk_tune *tune, const struct nk_tune_options *options) {
  tune->n_prompts = options->n_prompts;
  tune->prompts = nk_calloc(options->n_prompts, sizeof *tune->prompts);
  if (tune->prompts == NULL) return NK_EMEMORY;
  add_count(tune, options->n_prompts);
  for (size_t p = 0; p < options->n_prompts; p++) {
    for (size_t k = 0; k < p; k++)
      if (strcmp(options->prompts[k], options->prompts[p]) == 0)
        return nk_fail(NK_EUSAGE,
                       "prompts %zu and %zu are the same: held out, it would be read too", k + 1,
                       p + 1);
    tune->prompts[p] = nk_strdup(options->prompts[p]);
    if (tune->prompts[p] == NULL) return NK_EMEMORY;
    add_hash(tune, tune->prompts[p], strlen(tune->prompts[p]));
  }
  return NK_OK;
}

/* The prompts, and those of nk_verify, where ordinary tokens shall stay what they are too. */
static int make_probes(struct nk_tune *tune) {
  size_t n = tune->n_prompts + NK_VERIFY_PROMPTS;
  tune->probes = nk_calloc(n, sizeof(struct nk_probe *));
  if (tune->probes == NULL) return NK_EMEMORY;
  for (; tune->n_probes < n; tune->n_probes++) {
    tune->probes[tune->n_probes] = nki_tune_probe(tune, tune->n_probes);
    const struct nk_probe *probe = tune->probes[tune->n_probes];
    if (probe == NULL) return nk_error_code();
    add_hash(tune, probe->prompt.ids, probe->prompt.n * sizeof *probe->prompt.ids);
  }
  return NK_OK;
}

/* out [n_vocabulary] = log q of the token in the probe's place. */
static int read_target(struct nk_tune *tune, struct nk_probe *probe, int64_t token, float *out) {
  double *sum = nk_calloc(tune->n_vocabulary, sizeof *sum);
  if (sum == NULL) return NK_EMEMORY;
  const struct nk_items items = {.tokens = &token, .n_tokens = 1};
  const struct nki_wanted wanted = {.sum = sum};
  int code = nki_probe_pass(probe, &items, &wanted);
  for (size_t i = 0; i < tune->n_vocabulary && code == NK_OK; i++)
    out[i] = (float)log(fmax(sum[i], 1e-38));
  nk_free(sum);
  return code;
}

static int make_targets(struct nk_tune *tune, const int64_t *token) {
  tune->targets = nk_alloc(tune->n_prompts, sizeof *tune->targets);
  if (tune->targets == NULL) return NK_EMEMORY;
  for (size_t p = 0; p < tune->n_prompts; p++)
    tune->targets[p] = tune->probes[p]->reference->side[0].log_mean;
  if (token == NULL) return NK_OK;
  tune->token_target = nk_alloc(tune->n_prompts, tune->n_vocabulary * sizeof(float));
  int code = tune->token_target == NULL ? NK_EMEMORY : NK_OK;
  for (size_t p = 0; p < tune->n_prompts && code == NK_OK; p++) {
    tune->targets[p] = tune->token_target + p * tune->n_vocabulary;
    code = read_target(tune, tune->probes[p], *token, tune->targets[p]);
  }
  return code;
}

int nki_tune_refer(struct nk_tune *tune, const struct nk_tune_options *options) {
  int code = NK_OK;
  for (size_t p = 0; p < tune->n_prompts && code == NK_OK; p++) {
    tune->probes[p]->reference = nki_reference_new(tune->probes[p]);
    if (tune->probes[p]->reference == NULL) return nk_error_code();
    code = nk_progress("references", p + 1, tune->n_prompts);
  }
  return code == NK_OK ? make_targets(tune, options->target) : code;
}

/* ---- What is held out ---- */

static size_t n_held(const struct nk_tune *tune, size_t n) {
  size_t held = (size_t)((double)n * tune->options.hold_out + 0.5);
  return n < 2 ? 0 : held < 1 ? 1 : held > n - 1 ? n - 1 : held;
}

/* A random order whose last ones are held out: of a single one none is. */
static int split(const struct nk_tune *tune, size_t n, uint64_t stream, struct nki_split *out) {
  struct nki_random random = nki_random_stream(tune->options.seed, NKI_RANDOM_TUNE_SPLIT, stream);
  *out = (struct nki_split){.order = nk_alloc(n, sizeof *out->order), .n = n};
  if (out->order == NULL) return NK_EMEMORY;
  nki_random_permutation(&random, n, out->order);
  out->n_train = n - n_held(tune, n);
  return NK_OK;
}

/* An item by what it has in common with others. */
struct keyed {
  uint64_t key;
  size_t item;
};

static int compare_keys(const void *a, const void *b) {
  const struct keyed *x = a, *y = b;
  if (x->key != y->key) return x->key < y->key ? -1 : 1;
  return x->item < y->item ? -1 : x->item > y->item;
}

/* groups [n] = the number of each item's key, in the order of their first items; *n_groups of them.
 * Sorts the items [n]. */
static void number_groups(struct keyed *items, size_t n, size_t *groups, size_t *n_groups) {
  qsort(items, n, sizeof *items, compare_keys);
  size_t first = 0;
  for (size_t i = 0; i < n; i++) {
    if (items[i].key != items[first].key) first = i;
    groups[items[i].item] = items[first].item;
  }
  *n_groups = 0;
  for (size_t i = 0; i < n; i++) groups[i] = groups[i] == i ? (*n_groups)++ : groups[groups[i]];
}

/* Groups are split; the order is one of the n items. */
static int split_groups(const struct nk_tune *tune, const size_t *groups, size_t n, size_t n_groups,
                        uint64_t stream, struct nki_split *out) {
  struct nki_split by_group = {0};
  size_t *at = nk_calloc(n_groups + 1, sizeof *at), place = 0;
  int code = at == NULL ? NK_EMEMORY : split(tune, n_groups, stream, &by_group);
  if (code != NK_OK) goto done;
  *out = (struct nki_split){.order = nk_alloc(n, sizeof *out->order), .n = n, .n_train = n};
  if (out->order == NULL) code = NK_EMEMORY;
  if (code != NK_OK) goto done;
  /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): where there are items there are groups */
  for (size_t i = 0; i < n; i++) at[groups[i]]++;
  for (size_t g = 0; g < n_groups; g++) { /* from sizes to the places of their first items */
    size_t size = at[by_group.order[g]];
    at[by_group.order[g]] = place;
    if (g == by_group.n_train) out->n_train = place;
    place += size;
  }
  for (size_t i = 0; i < n; i++) out->order[at[groups[i]]++] = i;

done:
  nk_free(by_group.order);
  nk_free(at);
  return code;
}

static int split_nokens(struct nk_tune *tune, const struct nk_vectors *set) {
  const struct nk_column *ray = nk_vectors_column(set, "ray");
  struct keyed *rows = nk_alloc(set->n, sizeof *rows);
  size_t *groups = nk_alloc(set->n, sizeof *groups), n_rays;
  int code = rows == NULL || groups == NULL ? NK_EMEMORY : NK_OK;
  if (code != NK_OK) goto done;
  for (size_t i = 0; i < set->n; i++) {
    rows[i] = (struct keyed){.key = (uint64_t)set->ids[i], .item = i};
    if (ray == NULL) continue;
    double number = ray->dtype == NK_I64 ? 0 : ray->data.number[i] + 0.0; /* no -0 */
    memcpy(&rows[i].key, &number, sizeof number);
    if (ray->dtype == NK_I64) rows[i].key = (uint64_t)ray->data.integer[i];
  }
  number_groups(rows, set->n, groups, &n_rays);
  if (n_rays < 2)
    code = nk_fail(NK_EUSAGE, "%zu nokens of %zu ray%s: a part of two rays or more is held out",
                   set->n, n_rays, n_rays == 1 ? "" : "s");
  if (code == NK_OK)
    code = split_groups(tune, groups, set->n, n_rays, SPLIT_NOKENS, &tune->of_nokens);

done:
  nk_free(rows);
  nk_free(groups);
  return code;
}

/* ---- Texts ---- */

/* The pieces of a text's ids [n], of that group. */
static int add_pieces(struct nk_tune *tune, const int64_t *ids, size_t n, size_t longest,
                      size_t group, size_t **groups) {
  size_t n_more = (n + longest - 1) / longest, n_all = tune->n_pieces + n_more;
  struct nk_sequence *pieces = nk_realloc(tune->pieces, tune->n_pieces, n_all, sizeof *pieces);
  if (pieces != NULL) tune->pieces = pieces;
  size_t *grown = nk_realloc(*groups, tune->n_pieces, n_all, sizeof *grown);
  if (grown != NULL) *groups = grown;
  if (pieces == NULL || grown == NULL) return NK_EMEMORY;
  for (size_t at = 0; at < n; at += longest) {
    size_t length = n - at < longest ? n - at : longest;
    int64_t *copy = nk_alloc(length, sizeof *copy);
    if (copy == NULL) return NK_EMEMORY;
    memcpy(copy, ids + at, length * sizeof *copy);
    grown[tune->n_pieces] = group;
    pieces[tune->n_pieces++] = (struct nk_sequence){copy, length};
  }
  add_hash(tune, ids, n * sizeof *ids);
  return NK_OK;
}

/* groups [n_texts]: those of equal texts are one; by hashes, as an error puts two on one side. */
static int group_texts(const struct nk_tune_options *options, size_t *groups, size_t *n_groups) {
  struct keyed *items = nk_alloc(options->n_texts, sizeof *items);
  if (items == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < options->n_texts; i++)
    items[i] = (struct keyed){nki_hash(options->texts[i].bytes, options->texts[i].n), i};
  number_groups(items, options->n_texts, groups, n_groups);
  nk_free(items);
  if (options->n_texts < 2 || *n_groups > 1) return NK_OK;
  return nk_fail(NK_EUSAGE, "%zu texts, all the same: a part of two or more is held out",
                 options->n_texts);
}

/* Of more than HELD held-out pieces as many, drawn by the seed, are left. */
static void draw_held(struct nk_tune *tune) {
  struct nki_split *split = &tune->of_pieces;
  size_t *held = split->order + split->n_train, n = split->n - split->n_train;
  struct nki_random random =
      nki_random_stream(tune->options.seed, NKI_RANDOM_TUNE_SPLIT, SPLIT_HELD);
  if (n <= HELD) return;
  for (size_t i = 0; i < HELD; i++) {
    size_t other = i + (size_t)nki_random_below(&random, n - i), kept = held[i];
    held[i] = held[other];
    held[other] = kept;
  }
  split->n = split->n_train + HELD;
}

static int read_texts(struct nk_tune *tune, const struct nk_tune_options *options) {
  const struct nk_tokenizer *tokenizer = nk_model_tokenizer(tune->model);
  size_t longest = nk_forward_shape(tune->forward)->n_positions, n_groups = 0;
  size_t *of_texts = nk_alloc(options->n_texts, sizeof *of_texts), *groups = NULL;
  if (longest > PIECE) longest = PIECE;
  int code = tokenizer == NULL ? nk_error_code() : of_texts == NULL ? NK_EMEMORY : NK_OK;
  if (code == NK_OK) code = group_texts(options, of_texts, &n_groups);
  add_count(tune, options->n_texts);
  for (size_t i = 0; i < options->n_texts && code == NK_OK; i++) {
    const struct nk_text *text = &options->texts[i];
    int64_t *ids = NULL;
    size_t n = 0;
    code = nk_prompt_encode(tokenizer, text->bytes, text->n, false, &ids, &n);
    if (code != NK_OK) nk_fail_in(code, "text %zu", i + 1);
    if (code == NK_OK) code = add_pieces(tune, ids, n, longest, of_texts[i], &groups);
    nk_free(ids);
  }
  if (code == NK_OK)
    code = split_groups(tune, groups, tune->n_pieces, n_groups, SPLIT_PIECES, &tune->of_pieces);
  if (code == NK_OK) draw_held(tune);
  nk_free(of_texts);
  nk_free(groups);
  return code;
}

/* ---- The whole ---- */

/* The distances, and the region by what it says of the nokens. */
static int hash_distances(struct nk_tune *tune, const struct nk_vectors *set,
                          const struct nk_region *region) {
  if (tune->distances == NULL) return NK_OK;
  double *scores = nk_alloc(set->n, sizeof *scores);
  if (scores == NULL) return NK_EMEMORY;
  int code = nk_region_score(region, set->values, set->n, scores, NULL);
  if (code == NK_OK) add_hash(tune, scores, set->n * sizeof *scores);
  add_hash(tune, tune->distances, set->n * sizeof *tune->distances);
  nk_free(scores);
  return code;
}

static int read_nokens(struct nk_tune *tune, const struct nk_tune_options *options) {
  const struct nk_vectors *set = options->nokens;
  if (set->dim != tune->dim)
    return nk_fail(NK_EDATA, "vectors have %zu values, the model's have %zu", set->dim, tune->dim);
  int code = nki_vectors_need_values(set);
  if (code != NK_OK) return code;
  for (size_t i = 0; i < set->n; i++)
    if (nki_first_not_finite(set->values + i * set->dim, set->dim) < set->dim)
      return nk_fail(NK_EDATA, "vector %zu is not finite", i);
  tune->nokens = nk_alloc(set->n, set->dim * sizeof *tune->nokens);
  if (tune->nokens == NULL) return NK_EMEMORY;
  if (set->n > 0) memcpy(tune->nokens, set->values, set->n * set->dim * sizeof *tune->nokens);
  add_hash(tune, tune->nokens, set->n * set->dim * sizeof *tune->nokens);
  code = nki_tune_read_distances(tune, options);
  if (code == NK_OK) code = hash_distances(tune, set, options->region);
  if (code == NK_OK) code = split_nokens(tune, set);
  if (code == NK_OK) add_hash(tune, tune->of_nokens.order, set->n * sizeof(size_t));
  return code;
}

/* The first of them are the references', the others the loss's. */
static int draw_ordinary(struct nk_tune *tune) {
  const struct nk_ordinary_options options = {.n = REFERENCE + ORDINARY,
                                              .seed = tune->options.seed};
  size_t n = 0;
  int code = nk_ordinary_tokens(tune->model, &options, &tune->reference, &n);
  if (code != NK_OK) return code;
  tune->n_reference = n < REFERENCE + ORDINARY ? n / 2 : REFERENCE;
  size_t rest = n - tune->n_reference;
  if (rest < 2) return nk_fail(NK_EDATA, "the model has %zu ordinary tokens: too few", n);
  tune->ordinary = nk_alloc(rest, sizeof *tune->ordinary);
  if (tune->ordinary == NULL) return NK_EMEMORY;
  memcpy(tune->ordinary, tune->reference + tune->n_reference, rest * sizeof *tune->ordinary);
  add_hash(tune, tune->reference, n * sizeof *tune->reference);
  return split(tune, rest, SPLIT_ORDINARY, &tune->of_ordinary);
}

/* The configuration and all tensors. */
static int hash_model(struct nk_tune *tune) {
  char *config = tune->model->config == NULL
                     ? NULL
                     : json_dumps(tune->model->config, JSON_SORT_KEYS | JSON_COMPACT);
  if (tune->model->config != NULL && config == NULL)
    return nk_fail(NK_EMEMORY, "%s: out of memory", nk_model_name(tune->model));
  if (config != NULL) add_hash(tune, config, strlen(config));
  free(config);
  add_count(tune, nk_model_n_tensors(tune->model));
  for (size_t i = 0; i < nk_model_n_tensors(tune->model); i++) {
    const struct nk_tensor *tensor = nk_model_tensor(tune->model, i);
    add_hash(tune, tensor->name, strlen(tensor->name));
    add_hash(tune, tensor->data, tensor->n_bytes);
  }
  return NK_OK;
}

int nki_tune_read(struct nk_tune *tune, const struct nk_tune_options *options) {
  if (options->n_prompts == 0) return nk_fail(NK_EUSAGE, "no prompt");
  int code = read_nokens(tune, options);
  if (code == NK_OK) code = copy_prompts(tune, options);
  if (code == NK_OK) code = draw_ordinary(tune);
  if (code == NK_OK) code = make_probes(tune);
  add_count(tune, options->target != NULL);
  if (options->target != NULL) add_hash(tune, options->target, sizeof *options->target);
  if (code == NK_OK) code = read_texts(tune, options);
  if (code == NK_OK) code = split(tune, tune->n_prompts, SPLIT_PROMPTS, &tune->of_prompts);
  return code == NK_OK ? hash_model(tune) : code;
}
