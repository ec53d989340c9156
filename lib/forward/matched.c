/* Tokens and texts like others: what any token of their category and length does, or any text of as
 * many tokens, is the base rate that a finding about a list of them is compared with. */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
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
  bool whole; /* of tokens that are whole characters alone */
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

static bool is_whole(const struct nk_tokenizer *tokenizer, int64_t id) {
  size_t n = 0, length = 1;
  const char *bytes = nk_tokenizer_bytes(tokenizer, (size_t)id, &n);
  for (; n > 0 && length > 0; bytes += length, n -= length) length = nk_utf8_length(bytes, n);
  return n == 0;
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
    if (pool->whole && !is_whole(pool->tokenizer, id)) continue;
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

static void pool_free(struct pool *pool) {
  nk_free(pool->candidates);
  nk_free(pool->strata);
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
  pool_free(&pool);
  nk_free(category);
  nk_free(taken);
  return code;
}

/* ---- Texts ---- */

enum { TRIES = 100 }; /* of each text: that many draws of tokens which join to others */

/* Appends a text of n tokens drawn like pieces [n], each of the nearest length, that text gives as
 * these tokens. false when no try gave one. */
static bool draw_text(const struct pool *pool, const int64_t *pieces, size_t n, int64_t *drawn,
                      struct nki_random *random, struct nk_buffer *out) {
  size_t start = out->size;
  bool given = false;
  for (int try = 0; try < TRIES && !given; try++) {
    out->size = start;
    for (size_t i = 0; i < n; i++) {
      size_t length = length_of(pool->tokenizer, pieces[i]);
      struct stratum *s = nearest(pool, pool->of_token[pieces[i]], length);
      if (s == NULL) s = nearest(pool, NK_TOKEN_OK, length);
      if (s == NULL) return false;
      size_t at = s->next + (size_t)nki_random_below(random, s->end - s->next);
      drawn[i] = pool->candidates[at].id;
      const char *bytes = nk_tokenizer_bytes(pool->tokenizer, (size_t)drawn[i], &length);
      nk_buffer_append(out, bytes, length);
    }
    int64_t *ids = NULL;
    size_t n_ids = 0;
    if (!out->failed && nk_tokenizer_encode(pool->tokenizer, out->data + start, out->size - start,
                                            NK_ENCODE_WITHIN, &ids, &n_ids) == NK_OK)
      given = n_ids == n && memcmp(ids, drawn, n * sizeof *ids) == 0;
    nk_free(ids);
  }
  if (!given) out->size = start;
  return given;
}

/* Texts, one after the other, and where they are by their hash. */
struct drawn {
  struct nk_buffer *bytes;
  size_t *ends; /* [n] */
  size_t
      *table; /* [n_slots] a text's number + 1 in the first free slot from its hash on; 0: free */
  size_t n_slots; /* a power of two, over twice the texts that there can be */
  size_t n;
};

static struct nk_text text_at(const struct drawn *drawn, size_t i) {
  size_t start = i == 0 ? 0 : drawn->ends[i - 1];
  return (struct nk_text){drawn->bytes->data + start, drawn->ends[i] - start};
}

/* Adds text number n, which is in bytes already. false where it is there. */
static bool add_text(struct drawn *drawn) {
  struct nk_text text = text_at(drawn, drawn->n);
  uint64_t hash = nki_hash(text.bytes, text.n);
  size_t slot = (size_t)(hash ^ hash >> 32) & (drawn->n_slots - 1);
  for (; drawn->table[slot] != 0; slot = (slot + 1) & (drawn->n_slots - 1)) {
    struct nk_text other = text_at(drawn, drawn->table[slot] - 1);
    if (other.n == text.n && memcmp(other.bytes, text.bytes, text.n) == 0) return false;
  }
  drawn->table[slot] = ++drawn->n;
  return true;
}

/* Draws a text like one. NK_OK; out->n stays where there is none. */
static int draw_like(const struct pool *pool, const struct nk_text *like, struct nki_random *random,
                     struct drawn *out) {
  int64_t *pieces = NULL, *drawn = NULL;
  size_t n_pieces = 0, start = out->bytes->size;
  int code = nk_tokenizer_encode(pool->tokenizer, like->bytes, like->n, NK_ENCODE_WITHIN, &pieces,
                                 &n_pieces);
  if (code == NK_EDATA) return NK_OK;
  if (code != NK_OK) return code;
  for (size_t i = 0; i < n_pieces; i++)
    if (pieces[i] < 0 || (size_t)pieces[i] >= pool->n_tokens) n_pieces = 0;
  drawn = nk_alloc(n_pieces, sizeof *drawn);
  if (drawn == NULL) code = NK_EMEMORY;
  if (code == NK_OK && n_pieces > 0 &&
      draw_text(pool, pieces, n_pieces, drawn, random, out->bytes)) {
    out->ends[out->n] = out->bytes->size;
    if (!add_text(out)) out->bytes->size = start;
  }
  if (out->bytes->failed) code = nk_fail(NK_EMEMORY, "no memory for texts");
  nk_free(pieces);
  nk_free(drawn);
  return code;
}

/* The texts of o->like_texts, in turn, in a random order, until a whole turn gives none. */
static int draw_texts(struct pool *pool, const struct nk_ordinary_options *o,
                      struct nki_random *random, struct nk_buffer *out, size_t *ends, size_t *n) {
  struct drawn drawn = {.bytes = out, .ends = ends, .n_slots = 4};
  size_t *order = nk_alloc(o->n_like, sizeof *order), wanted = *n;
  while (drawn.n_slots / 2 <= wanted && drawn.n_slots <= SIZE_MAX / 2) drawn.n_slots *= 2;
  drawn.table = nk_calloc(drawn.n_slots, sizeof *drawn.table);
  int code = order == NULL || drawn.table == NULL ? NK_EMEMORY : NK_OK;
  if (code == NK_OK) nki_random_permutation(random, o->n_like, order);
  for (size_t i = 0, passed = 0; code == NK_OK && drawn.n < wanted && passed < o->n_like; i++) {
    size_t before = drawn.n;
    code = draw_like(pool, &o->like_texts[order[i % o->n_like]], random, &drawn);
    passed = drawn.n > before ? 0 : passed + 1;
  }
  *n = drawn.n;
  nk_free(order);
  nk_free(drawn.table);
  return code;
}

int nk_ordinary_texts(struct nk_model *model, const struct nk_ordinary_options *o,
                      struct nk_buffer *out, size_t **ends, size_t *n) {
  enum { DEFAULT_N = 512 };
  const struct nk_forward_shape *shape = nk_forward_shape(nk_model_forward(model));
  const struct nk_tokenizer *tokenizer = shape == NULL ? NULL : nk_model_tokenizer(model);
  *ends = NULL;
  *n = 0;
  if (tokenizer == NULL) return nki_fail_null();
  size_t n_tokens = shape->n_vocabulary, n_wanted = o->n == 0 ? DEFAULT_N : o->n;
  struct nki_random random = nki_random_stream(o->seed, NKI_RANDOM_MATCHED, 1);
  enum nk_category *category = nk_alloc(n_tokens, sizeof *category);
  bool *taken = nk_calloc(n_tokens, sizeof *taken);
  struct pool pool = {
      .tokenizer = tokenizer, .of_token = category, .n_tokens = n_tokens, .whole = true};
  *ends = nk_alloc(n_wanted, sizeof **ends);
  int code = category == NULL || taken == NULL || *ends == NULL ? NK_EMEMORY : NK_OK;
  if (code == NK_OK) code = nk_tokenizer_categories(tokenizer, n_tokens, category);
  for (size_t i = 0; i < o->n_like && code == NK_OK; i++) {
    int64_t id = nk_tokenizer_id(tokenizer, o->like_texts[i].bytes, o->like_texts[i].n);
    if (id >= 0 && (size_t)id < n_tokens) taken[id] = true;
  }
  if (code == NK_OK) code = make_pool(&pool, taken, &random);
  *n = code == NK_OK ? n_wanted : 0;
  if (code == NK_OK) code = draw_texts(&pool, o, &random, out, *ends, n);
  if (code == NK_OK && o->n_like > 0 && *n < n_wanted)
    nk_warn("%zu of %zu texts to compare with: no more were found", *n, n_wanted);
  pool_free(&pool);
  nk_free(category);
  nk_free(taken);
  if (code == NK_OK) return NK_OK;
  nk_free(*ends);
  *ends = NULL;
  *n = 0;
  return code;
}
