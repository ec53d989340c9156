/* An ordered list of key and value strings: a file's metadata. */
#ifndef NOKEN_MODEL_PAIRS_H
#define NOKEN_MODEL_PAIRS_H

#include <stddef.h>

struct nki_pair {
  char *key, *value;
};

struct nki_pairs {
  struct nki_pair *item;
  size_t n, capacity;
};

/* The value of key, or NULL. */
const char *nki_pairs_find(const struct nki_pairs *pairs, const char *key);
/* Adds a key that the list does not hold. Returns NK_OK or NK_EMEMORY. */
int nki_pairs_append(struct nki_pairs *pairs, const char *key, const char *value);
/* Sets key, at the end if it is new; value NULL removes it. Returns NK_OK or NK_EMEMORY. */
int nki_pairs_set(struct nki_pairs *pairs, const char *key, const char *value);
void nki_pairs_free(struct nki_pairs *pairs);

#endif
