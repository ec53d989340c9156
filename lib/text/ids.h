/* A growing array of token ids. */
#ifndef NOKEN_TEXT_IDS_H
#define NOKEN_TEXT_IDS_H

#include <noken/base.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct nki_ids {
  int64_t *id; /* [n], from nk_alloc */
  size_t n, capacity;
};

/* Room for n more; false without memory. */
static inline bool nki_ids_reserve(struct nki_ids *ids, size_t n) {
  if (n <= ids->capacity - ids->n) return true;
  size_t capacity = ids->capacity ? ids->capacity : 256;
  while (capacity - ids->n < n && capacity < SIZE_MAX / 4) capacity *= 2;
  int64_t *grown = (int64_t *)nk_realloc(ids->id, ids->n, capacity, sizeof *grown);
  if (grown == NULL) return false;
  ids->id = grown;
  ids->capacity = capacity;
  return true;
}

static inline bool nki_ids_add(struct nki_ids *ids, int64_t id) {
  if (!nki_ids_reserve(ids, 1)) return false;
  ids->id[ids->n++] = id;
  return true;
}

#endif
