/* Tokens like others: what any token of their category and length does is the base rate that a
 * finding about a list of tokens is compared with. */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/random.h"
#include "forward/probe.h"

struct candidate {
  enum nk_category category;
  size_t length; /* bytes */
  size_t rank;   /* in a random order */
  int64_t id;
};

/* Candidates [next, end) of one category and length are left. */
struct stratum {
  enum nk_category category;
  size_t length, next, end;
};

struct pool {
  const struct nk_tokenizer *tokenizer;
  const enum nk_category *of_token; /* [n_tokens] */
  size_t n_tokens;
  struct candidate *candidates;
  size_t n;
  struct stratum *strata; /* by category, then length */
  size_t n_strata;
};

static int by_stratum(const void *a, const void *b) {
  const struct candidate *x = a, *y = b;
  if (x->category != y->category) return x->category < y->category ? -1 : 1;
  if (x->length != y->length) return x->length < y->length ? -1 : 1;
  return (x->rank > y->rank) - (x->rank < y->rank);
}

static bool is_given_by_text(enum nk_category category) {
  return category == NK_TOKEN_OK || category == NK_TOKEN_BYTE || category == NK_TOKEN_PARTIAL_UTF8;
}

static size_t length_of(const struct nk_tokenizer *tokenizer, int64_t id) {
  size_t length = 0;
  const char *bytes = nk_tokenizer_bytes(tokenizer, (size_t)id, &length);
  return bytes == NULL ? 0 : length;
}

/* Tokens [0, n_tokens) that text gives, but not those `taken`, in strata. */
static int make_pool(struct pool *pool, const bool *taken, struct nki_random *random) {
  size_t n_tokens = pool->n_tokens;
  size_t *order = nk_alloc(n_tokens, sizeof *order);
  pool->candidates = nk_alloc(n_tokens, sizeof *pool->candidates);
  pool->strata = nk_alloc(n_tokens, sizeof *pool->strata);
  if (order == NULL || pool->candidates == NULL || pool->strata == NULL) {
    nk_free(order);
    return NK_EMEMORY;
  }
  nki_random_permutation(random, n_tokens, order);
  for (size_t i = 0; i < n_tokens; i++) {
    int64_t id = (int64_t)order[i];
    enum nk_category category = pool->of_token[id];
    if (taken[id] || !is_given_by_text(category)) continue;
    pool->candidates[pool->n++] =
        (struct candidate){category, length_of(pool->tokenizer, id), i, id};
  }
  nk_free(order);
  qsort(pool->candidates, pool->n, sizeof *pool->candidates, by_stratum);
  for (size_t i = 0; i < pool->n; i++) {
    const struct candidate *c = &pool->candidates[i];
    struct stratum *last = pool->n_strata == 0 ? NULL : &pool->strata[pool->n_strata - 1];
    if (last == NULL || last->category != c->category || last->length != c->length)
      pool->strata[pool->n_strata++] = (struct stratum){c->category, c->length, i, i + 1};
    else
      last->end++;
  }
  return NK_OK;
}

/* The stratum of the category with the nearest length that has a token left, or NULL. */
static struct stratum *nearest(const struct pool *pool, enum nk_category category, size_t length) {
  struct stratum *best = NULL;
  size_t least = SIZE_MAX;
  for (size_t i = 0; i < pool->n_strata; i++) {
    struct stratum *s = &pool->strata[i];
    size_t apart = s->length > length ? s->length - length : length - s->length;
    if (s->category != category || s->next == s->end || apart >= least) continue;
    best = s;
    least = apart;
  }
  return best;
}

/* out [*n] = up to *n candidates, each for one of like [n_like] in turn, in a random order. A token
 * without a match is passed over; none in a whole turn ends the draw. */
static int draw(struct pool *pool, const struct nk_ordinary_options *o, struct nki_random *random,
                int64_t *out, size_t *n) {
  size_t *order = nk_alloc(o->n_like, sizeof *order);
  if (order == NULL) return NK_EMEMORY;
  nki_random_permutation(random, o->n_like, order);
  size_t wanted = *n, passed = 0;
  *n = 0;
  for (size_t i = 0; *n < wanted && passed < o->n_like; i++) {
    int64_t like = o->like[order[i % o->n_like]];
    bool known = like >= 0 && (size_t)like < pool->n_tokens;
    size_t length = known ? length_of(pool->tokenizer, like) : 0;
    struct stratum *s = known ? nearest(pool, pool->of_token[like], length) : NULL;
    if (s == NULL) s = nearest(pool, NK_TOKEN_OK, length);
    passed = s == NULL ? passed + 1 : 0;
    if (s == NULL) continue;
    out[(*n)++] = pool->candidates[s->next++].id;
  }
  nk_free(order);
  return NK_OK;
}

int nki_matched_tokens(const struct nk_tokenizer *tokenizer, const struct nk_ordinary_options *o,
                       size_t n_tokens, int64_t *out, size_t *n) {
  struct nki_random random = nki_random_stream(o->seed, NKI_RANDOM_MATCHED, 0);
  enum nk_category *category = nk_alloc(n_tokens, sizeof *category);
  bool *taken = nk_calloc(n_tokens, sizeof *taken);
  struct pool pool = {.tokenizer = tokenizer, .of_token = category, .n_tokens = n_tokens};
  size_t n_wanted = *n;
  int code = category == NULL || taken == NULL ? NK_EMEMORY : NK_OK;
  if (code == NK_OK) code = nk_tokenizer_categories(tokenizer, n_tokens, category);
  for (size_t i = 0; i < o->n_like && code == NK_OK; i++)
    if (o->like[i] >= 0 && (size_t)o->like[i] < n_tokens) taken[o->like[i]] = true;
  for (size_t i = 0; i < o->n_excluded && code == NK_OK; i++)
    if (o->excluded[i] >= 0 && (size_t)o->excluded[i] < n_tokens) taken[o->excluded[i]] = true;
  if (code == NK_OK) code = make_pool(&pool, taken, &random);
  *n = o->n_like == 0 ? 0 : n_wanted;
  if (code == NK_OK && *n > 0) code = draw(&pool, o, &random, out, n);
  if (code == NK_OK && o->n_like > 0 && *n < n_wanted)
    nk_warn("%zu of %zu tokens to compare with: the vocabulary has no more", *n, n_wanted);
  nk_free(pool.candidates);
  nk_free(pool.strata);
  nk_free(category);
  nk_free(taken);
  return code;
}
