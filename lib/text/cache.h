/* The tokens of pieces encoded before: the words of a text repeat, and a look-up is far cheaper
 * than merging bytes. Each piece has one place, which a later piece overwrites. */
#ifndef NOKEN_TEXT_CACHE_H
#define NOKEN_TEXT_CACHE_H

#include <noken/base.h>
#include <string.h>

#include "text/ids.h"
#include "text/pieces.h"

enum {
  NKI_CACHE_PLACES = 32768, /* of a cache line each: 2 MiB, which stays in a core's own cache */
  NKI_CACHE_BYTES = 25,
  NKI_CACHE_IDS = 9,
};

struct nki_cached {
  uint8_t n_bytes; /* 0: empty */
  uint8_t n_ids;
  char bytes[NKI_CACHE_BYTES];
  uint32_t id[NKI_CACHE_IDS];
};

/* A cache is nk_calloc(NKI_CACHE_PLACES, sizeof(struct nki_cached)). The place of a piece, n > 0;
 * NULL for one too long to be kept. */
static inline struct nki_cached *nki_cache_place(struct nki_cached *cache, const char *s,
                                                 size_t n) {
  if (n > NKI_CACHE_BYTES) return NULL;
  return &cache[nki_hash(s, n) & (NKI_CACHE_PLACES - 1)];
}

static inline bool nki_cache_holds(const struct nki_cached *place, const char *s, size_t n) {
  return place->n_bytes == n && memcmp(place->bytes, s, n) == 0;
}

/* Stores the piece's ids where there are few enough. */
static inline void nki_cache_put(struct nki_cached *place, const char *s, size_t n,
                                 const int64_t *ids, size_t n_ids) {
  if (n_ids > NKI_CACHE_IDS) return;
  place->n_bytes = (uint8_t)n;
  place->n_ids = (uint8_t)n_ids;
  memcpy(place->bytes, s, n);
  for (size_t i = 0; i < n_ids; i++) place->id[i] = (uint32_t)ids[i];
}

#endif
