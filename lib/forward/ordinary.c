/* Ordinary tokens: those that text can give and that the model knows. */
#include <string.h>

#include "base/error.h"
#include "base/random.h"
#include "forward/probe.h"

enum {
  DEFAULT_N = 512,
  PATIENCE = 4,     /* verifies at most PATIENCE times as many as are wanted */
  LEAST_SHARE = 20, /* refuses a model that repeats less than a LEAST_SHARE-th of them */
};

/* *ids [*n] = up to n_wanted of from [n_from], without replacement. */
static int draw_ids(const int64_t *from, size_t n_from, uint64_t seed, size_t n_wanted,
                    int64_t **ids, size_t *n) {
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
  return code;
}

/* known [n] = whether the model repeats ids [n] in any prompt. One settles it: a prompt is run with
 * the tokens that none before it settled. left [n], max_prob [n]: room. */
static int check_known(struct nk_forward *forward, const struct nki_prompt *prompts,
                       const int64_t *ids, size_t n, int64_t *left, double *max_prob, bool *known) {
  int code = NK_OK;
  memset(known, 0, n * sizeof *known);
  for (size_t p = 0; p < NK_VERIFY_PROMPTS && code == NK_OK; p++) {
    size_t n_left = 0, at = 0;
    for (size_t i = 0; i < n; i++)
      if (!known[i]) left[n_left++] = ids[i];
    if (n_left > 0) code = nki_verify(forward, &prompts[p], 1, left, n_left, 1, max_prob);
    for (size_t i = 0; i < n && code == NK_OK; i++)
      if (!known[i]) known[i] = nk_verdict_of(max_prob[at++]) != NK_STRONGLY_VERIFIED;
  }
  return code;
}

/* found [*n_found] = the first n_wanted of ids [*n_tried] that the model can repeat; *n_tried
 * becomes the number of ids that were tried: as many at a time as the share of those found so far
 * lets expect to be enough. */
static int find_known(struct nk_forward *forward, const struct nki_prompt *prompts,
                      const int64_t *ids, size_t *n_tried, size_t n_wanted, int64_t *found,
                      size_t *n_found) {
  size_t most = *n_tried, at = 0;
  int64_t *left = nk_alloc(most, sizeof *left);
  double *max_prob = nk_alloc(most, sizeof *max_prob);
  bool *known = nk_alloc(most, sizeof *known);
  int code = left == NULL || max_prob == NULL || known == NULL ? NK_EMEMORY : NK_OK;
  while (code == NK_OK && at < most && *n_found < n_wanted) {
    double missing = (double)(n_wanted - *n_found);
    size_t some = (size_t)(missing * (double)(at + 1) / (double)(*n_found + 1)) + 4;
    if (some > most - at) some = most - at;
    code = check_known(forward, prompts, ids + at, some, left, max_prob, known);
    for (size_t i = 0; i < some && code == NK_OK && *n_found < n_wanted; i++)
      if (known[i]) found[(*n_found)++] = ids[at + i];
    at += some;
  }
  *n_tried = at;
  nk_free(left);
  nk_free(max_prob);
  nk_free(known);
  return code;
}

/* Keeps, in their order, up to n_wanted of ids [*n] that the model can repeat; *n_tried: how many
 * were tried. NK_EDATA when it repeats hardly any: a reference of tokens that training never showed
 * makes any behaviour ordinary. */
static int keep_known(struct nk_forward *forward, const struct nk_tokenizer *tokenizer,
                      size_t n_wanted, int64_t *ids, size_t *n, size_t *n_tried) {
  struct nki_prompt *prompts = NULL;
  if (n_wanted > *n) n_wanted = *n;
  size_t n_known = 0;
  *n_tried = *n / PATIENCE < n_wanted ? *n : PATIENCE * n_wanted;
  int64_t *known = nk_alloc(n_wanted, sizeof *known);
  int code = known == NULL ? NK_EMEMORY : NK_OK;
  if (code == NK_OK)
    code = nki_verify_prompts(tokenizer, nk_verify_prompts, NK_VERIFY_PROMPTS, &prompts);
  if (code == NK_OK) code = find_known(forward, prompts, ids, n_tried, n_wanted, known, &n_known);
  if (code == NK_OK && n_known <= *n_tried / LEAST_SHARE)
    code = nk_fail(NK_EDATA,
                   "the model repeats %zu of %zu tokens: too few for a reference of tokens that it "
                   "knows; allow unverified tokens, or give the tokens",
                   n_known, *n_tried);
  if (code == NK_OK) {
    memcpy(ids, known, n_known * sizeof *ids);
    *n = n_known;
  }
  nki_verify_prompts_free(prompts, NK_VERIFY_PROMPTS);
  nk_free(known);
  return code;
}

/* ids [n] = the tokens below n that text can give, without excluded [n_excluded]; *n becomes how
 * many. */
static int find_ordinary(const struct nk_tokenizer *tokenizer, const int64_t *excluded,
                         size_t n_excluded, int64_t *ids, size_t *n) {
  size_t total = *n;
  enum nk_category *category = nk_alloc(total, sizeof *category);
  if (category == NULL) return NK_EMEMORY;
  int code = nk_tokenizer_categories(tokenizer, total, category);
  for (size_t i = 0; code == NK_OK && i < n_excluded; i++)
    if (excluded[i] >= 0 && (size_t)excluded[i] < total)
      category[excluded[i]] = NK_TOKEN_UNREACHABLE;
  *n = 0;
  for (size_t i = 0; code == NK_OK && i < total; i++)
    if (category[i] == NK_TOKEN_OK) ids[(*n)++] = (int64_t)i;
  nk_free(category);
  return code;
}

/* The same without excluded, from ids that are given. */
static void drop_excluded(const struct nk_ordinary_options *o, int64_t *ids, size_t *n) {
  *n = 0;
  for (size_t i = 0; i < o->n_from; i++) {
    bool excluded = false;
    for (size_t k = 0; k < o->n_excluded; k++) excluded = excluded || o->excluded[k] == o->from[i];
    if (!excluded) ids[(*n)++] = o->from[i];
  }
}

/* *ids [*n] = those like o->like. */
static int draw_like(const struct nk_tokenizer *tokenizer, const struct nk_ordinary_options *o,
                     size_t n_tokens, size_t n_wanted, int64_t **ids, size_t *n) {
  if (o->from != NULL) return nk_fail(NK_EUSAGE, "tokens from a list, and like those of another");
  *ids = nk_alloc(n_wanted, sizeof **ids);
  if (*ids == NULL) return NK_EMEMORY;
  *n = n_wanted;
  int code = nki_matched_tokens(tokenizer, o, n_tokens, *ids, n);
  if (code == NK_OK) return NK_OK;
  nk_free(*ids);
  *ids = NULL;
  *n = 0;
  return code;
}

int nk_ordinary_tokens(struct nk_model *model, const struct nk_ordinary_options *options,
                       int64_t **ids, size_t *n) {
  static const struct nk_ordinary_options defaults;
  const struct nk_ordinary_options *o = options == NULL ? &defaults : options;
  struct nk_forward *forward = nk_model_forward(model);
  const struct nk_tokenizer *tokenizer = forward == NULL ? NULL : nk_model_tokenizer(model);
  size_t n_wanted = o->n == 0 ? DEFAULT_N : o->n, n_all, n_tried = 0;
  bool verified = o->from == NULL && !o->unverified;
  *ids = NULL;
  *n = 0;
  if (tokenizer == NULL) return nki_fail_null();
  n_all = forward->n_tokens;
  if (n_all > forward->config.shape.n_vocabulary) n_all = forward->config.shape.n_vocabulary;
  if (o->from != NULL) n_all = o->n_from;
  if (o->like != NULL) return draw_like(tokenizer, o, n_all, n_wanted, ids, n);
  int64_t *all = nk_alloc(n_all, sizeof *all);
  int code = all == NULL ? NK_EMEMORY : NK_OK;
  if (code == NK_OK && o->from != NULL)
    drop_excluded(o, all, &n_all);
  else if (code == NK_OK)
    code = find_ordinary(tokenizer, o->excluded, o->n_excluded, all, &n_all);
  if (code == NK_OK) code = draw_ids(all, n_all, o->seed, verified ? n_all : n_wanted, ids, n);
  if (code == NK_OK && verified) code = keep_known(forward, tokenizer, n_wanted, *ids, n, &n_tried);
  nk_free(all);
  if (code == NK_OK && *n < n_wanted && verified)
    nk_warn(
        "%zu of the %zu ordinary tokens wanted: of %zu that were tried the model repeats no more",
        *n, n_wanted, n_tried);
  else if (code == NK_OK && *n < n_wanted)
    nk_warn("a draw of %zu ordinary tokens: there are no more than %zu", n_wanted, *n);
  if (code == NK_OK) return NK_OK;
  nk_free(*ids);
  *ids = NULL;
  *n = 0;
  return code;
}
