/* Key and value strings in their order. */
#include "model/pairs.h"

#include <noken/base.h>
#include <string.h>

static struct nki_pair *find(const struct nki_pairs *pairs, const char *key) {
  for (size_t i = 0; i < pairs->n; i++) {
    if (strcmp(pairs->item[i].key, key) == 0) return &pairs->item[i];
  }
  return NULL;
}

const char *nki_pairs_find(const struct nki_pairs *pairs, const char *key) {
  const struct nki_pair *pair = find(pairs, key);
  return pair != NULL ? pair->value : NULL;
}

static void remove_pair(struct nki_pairs *pairs, struct nki_pair *pair) {
  nk_free(pair->key);
  nk_free(pair->value);
  pairs->n--;
  memmove(pair, pair + 1, (size_t)(pairs->item + pairs->n - pair) * sizeof *pair);
}

int nki_pairs_append(struct nki_pairs *pairs, const char *key, const char *value) {
  if (pairs->n == pairs->capacity) {
    size_t capacity = pairs->capacity > 0 ? 2 * pairs->capacity : 8;
    struct nki_pair *grown = nk_realloc(pairs->item, pairs->n, capacity, sizeof *grown);
    if (grown == NULL) return NK_EMEMORY;
    pairs->item = grown;
    pairs->capacity = capacity;
  }
  struct nki_pair pair = {nk_strdup(key), nk_strdup(value)};
  if (pair.key == NULL || pair.value == NULL) {
    nk_free(pair.key);
    nk_free(pair.value);
    return NK_EMEMORY;
  }
  pairs->item[pairs->n++] = pair;
  return NK_OK;
}

int nki_pairs_set(struct nki_pairs *pairs, const char *key, const char *value) {
  struct nki_pair *pair = find(pairs, key);
  if (value == NULL) {
    if (pair != NULL) remove_pair(pairs, pair);
    return NK_OK;
  }
  if (pair == NULL) return nki_pairs_append(pairs, key, value);
  char *copy = nk_strdup(value);
  if (copy == NULL) return NK_EMEMORY;
  nk_free(pair->value);
  pair->value = copy;
  return NK_OK;
}

void nki_pairs_free(struct nki_pairs *pairs) {
  for (size_t i = 0; i < pairs->n; i++) {
    nk_free(pairs->item[i].key);
    nk_free(pairs->item[i].value);
  }
  nk_free(pairs->item);
}
