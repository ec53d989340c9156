/* Text to ids:
 *
 *   text -> added tokens as written -> normalizer -> added tokens as normalized -> pre-tokenizer
 *        -> model, a piece at a time, through the cache
 *
 * The text between two added tokens is normalized and split by itself. */
#include <noken/base.h>
#include <string.h>

#include <noken/tokenizer.h>
#include "base/utf8.h"
#include "text/tokenizer.h"

/* ---- Encoders ---- */

static void encoder_free(struct nki_encoder *encoder) {
  if (encoder == NULL) return;
  nki_match_free(encoder->match);
  nki_normalizing_free(&encoder->normalizing);
  nki_splitting_free(&encoder->splitting);
  nki_bpe_work_free(&encoder->bpe);
  nki_unigram_work_free(&encoder->unigram);
  nk_buffer_free(&encoder->wordpiece);
  nk_free(encoder->cache);
  nk_free(encoder);
}

struct nki_encoder *nki_encoder_borrow(const struct nk_tokenizer *tokenizer) {
  struct nki_pool *pool = tokenizer->pool;
  pthread_mutex_lock(&pool->lock);
  struct nki_encoder *encoder = pool->idle;
  if (encoder != NULL) pool->idle = encoder->next;
  pthread_mutex_unlock(&pool->lock);
  if (encoder != NULL) return encoder;
  encoder = nk_calloc(1, sizeof *encoder);
  if (encoder == NULL) return NULL;
  encoder->match = nki_match_new();
  encoder->cache = nk_calloc(NKI_CACHE_PLACES, sizeof *encoder->cache);
  if (encoder->match != NULL && encoder->cache != NULL) return encoder;
  encoder_free(encoder);
  return NULL;
}

void nki_encoder_return(const struct nk_tokenizer *tokenizer, struct nki_encoder *encoder) {
  struct nki_pool *pool = tokenizer->pool;
  if (encoder == NULL) return;
  pthread_mutex_lock(&pool->lock);
  encoder->next = pool->idle;
  pool->idle = encoder;
  pthread_mutex_unlock(&pool->lock);
}

struct nki_pool *nki_pool_new(void) {
  struct nki_pool *pool = nk_calloc(1, sizeof *pool);
  if (pool != NULL) pthread_mutex_init(&pool->lock, NULL);
  return pool;
}

void nki_pool_free(struct nki_pool *pool) {
  if (pool == NULL) return;
  while (pool->idle != NULL) {
    struct nki_encoder *next = pool->idle->next;
    encoder_free(pool->idle);
    pool->idle = next;
  }
  pthread_mutex_destroy(&pool->lock);
  nk_free(pool);
}

/* ---- Pieces ---- */

/* Appends the tokens of s[0..n), n > 0, which is encoded by itself. */
static inline int encode_word(const struct nk_tokenizer *t, struct nki_encoder *encoder,
                              const char *s, size_t n, struct nki_ids *ids) {
  struct nki_cached *place = nki_cache_place(encoder->cache, s, n);
  if (place != NULL && nki_cache_holds(place, s, n)) {
    if (!nki_ids_reserve(ids, NKI_CACHE_IDS)) return NK_EMEMORY;
    for (size_t i = 0; i < place->n_ids; i++) ids->id[ids->n + i] = place->id[i];
    ids->n += place->n_ids;
    return NK_OK;
  }
  size_t first = ids->n;
  int code = t->bpe != NULL ? nki_bpe_encode(t->bpe, &encoder->bpe, s, n, ids)
             : t->unigram != NULL
                 ? nki_unigram_encode(t->unigram, &encoder->unigram, s, n, ids)
                 : nki_wordpiece_encode(t->wordpiece, &encoder->wordpiece, s, n, ids);
  if (code == NK_OK && place != NULL && ids->n > first)
    nki_cache_put(place, s, n, ids->id + first, ids->n - first);
  return code;
}

static int encode_piece(const struct nk_tokenizer *t, struct nki_encoder *encoder, const char *s,
                        size_t n, struct nki_ids *ids) {
  int code = NK_OK;
  for (size_t at = 0, end; at < n && code == NK_OK; at = end) {
    end = t->bpe != NULL ? nki_bpe_cut(t->bpe, s, n, at) : n;
    code = encode_word(t, encoder, s + at, end - at, ids);
  }
  return code;
}

/* Encodes a normalized text that holds no added tokens. at_start: it begins the whole text. */
static int encode_pieces(const struct nk_tokenizer *t, struct nki_encoder *encoder, const char *s,
                         size_t n, bool at_start, struct nki_ids *ids) {
  struct nki_split split;
  int code = NK_OK;
  if (t->fast != NULL) {
    for (size_t at = 0, end; at < n && code == NK_OK; at = end) {
      end = t->fast(s, n, at);
      code = encode_word(t, encoder, s + at, end - at, ids);
    }
    return code;
  }
  code =
      nki_pretokenize(t->pretokenizer, &encoder->splitting, encoder->match, s, n, at_start, &split);
  for (size_t i = 0; code == NK_OK && i < split.n; i++)
    code = encode_piece(t, encoder, split.text + split.span[i].begin,
                        split.span[i].end - split.span[i].begin, ids);
  return code;
}

/* ---- Sections between added tokens ---- */

/* The encoding of one text. */
struct job {
  const struct nk_tokenizer *tokenizer;
  struct nki_encoder *encoder;
  int flags; /* NK_ENCODE_... */
  struct nki_ids *ids;
};

/* Encodes a section of the text. at_start: it begins the text. */
typedef int section(const struct job *job, const char *s, size_t n, bool at_start);

/* Cuts s[0..n) at the added tokens of the set and encodes the text between them by `inner`. */
static int sections(const struct job *job, const struct nki_added_set *set, const char *s, size_t n,
                    bool at_start, section *inner) {
  bool is_plain = (job->flags & NK_ENCODE_PLAIN) != 0;
  size_t taken = 0;
  struct nki_hit hit = {0};
  int code = NK_OK;
  while (code == NK_OK && nki_added_find(set, s, n, hit.next, taken, is_plain, &hit)) {
    if (hit.begin > taken) code = inner(job, s + taken, hit.begin - taken, at_start && taken == 0);
    if (code == NK_OK && !nki_ids_add(job->ids, hit.id)) code = NK_EMEMORY;
    taken = hit.end;
  }
  if (code == NK_OK && taken < n) code = inner(job, s + taken, n - taken, at_start && taken == 0);
  return code;
}

static int normalized_section(const struct job *job, const char *s, size_t n, bool at_start) {
  return encode_pieces(job->tokenizer, job->encoder, s, n, at_start, job->ids);
}

static int raw_section(const struct job *job, const char *s, size_t n, bool at_start) {
  struct nki_encoder *encoder = job->encoder;
  int code = nki_normalize(job->tokenizer->normalizer, &encoder->normalizing, encoder->match, s, n,
                           &s, &n);
  if (code != NK_OK) return code;
  return sections(job, &job->tokenizer->added_normalized, s, n, at_start, normalized_section);
}

int nki_encode(const struct nk_tokenizer *tokenizer, struct nki_encoder *encoder, const char *text,
               size_t n, int flags, struct nki_ids *ids) {
  const struct job job = {tokenizer, encoder, flags, ids};
  return sections(&job, &tokenizer->added, text, n, true, raw_section);
}

static bool add_all(struct nki_ids *ids, const struct nki_ids *more) {
  for (size_t i = 0; i < more->n; i++)
    if (!nki_ids_add(ids, more->id[i])) return false;
  return true;
}

int nk_tokenizer_encode(const struct nk_tokenizer *tokenizer, const char *text, size_t n, int flags,
                        int64_t **ids, size_t *n_ids) {
  struct nki_ids out = {0};
  int code = nki_tokenizer_check_encodes(tokenizer);
  if (code != NK_OK) return code;
  if ((flags & NK_ENCODE_WITHIN) != 0)
    return nki_encode_within(tokenizer, text, n, flags & NK_ENCODE_PLAIN, ids, n_ids);
  size_t bad = nki_utf8_first_invalid(text, n);
  if (bad < n) return nk_fail(NK_EDATA, "the text is not valid UTF-8 at byte %zu", bad);
  struct nki_encoder *encoder = nki_encoder_borrow(tokenizer);
  if (encoder == NULL || !nki_ids_reserve(&out, n / 4 + 1)) code = NK_EMEMORY;
  bool is_special = (flags & NK_ENCODE_SPECIAL) != 0;
  if (code == NK_OK && is_special && !add_all(&out, &tokenizer->before)) code = NK_EMEMORY;
  if (code == NK_OK) code = nki_encode(tokenizer, encoder, text, n, flags, &out);
  if (code == NK_OK && is_special && !add_all(&out, &tokenizer->after)) code = NK_EMEMORY;
  nki_encoder_return(tokenizer, encoder);
  if (code != NK_OK) {
    nk_free(out.id);
    return code;
  }
  *ids = out.id;
  *n_ids = out.n;
  return NK_OK;
}
