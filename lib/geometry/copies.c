/* Rows that copy others, by hashes of their values. 0 and -0 are the same value. */
#include <noken/base.h>
#include <noken/region.h>
#include <stdlib.h>
#include <string.h>

#include "geometry/internal.h"

struct hashed_row {
  uint64_t hash;
  size_t row;
};

static int compare_hashed(const void *a, const void *b) {
  const struct hashed_row *x = a, *y = b;
  if (x->hash != y->hash) return x->hash < y->hash ? -1 : 1;
  return (x->row > y->row) - (x->row < y->row);
}

static uint32_t bits_of(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits != 0x80000000 ? bits : 0;
}

/* Fowler, Noll and Vo's FNV-1a over 32-bit words: of every NKI_LANES-th word, as each step waits
 * for the one before, then of the last words and these hashes. */
NKI_CLONES uint64_t nki_hash_row(const float *row, size_t dim) {
  const uint64_t offset = 14695981039346656037u, prime = 1099511628211u;
  uint64_t part[NKI_LANES], hash = offset;
  size_t j = 0;
  for (size_t l = 0; l < NKI_LANES; l++) part[l] = offset;
  for (; j + NKI_LANES <= dim; j += NKI_LANES)
    for (size_t l = 0; l < NKI_LANES; l++) part[l] = (part[l] ^ bits_of(row[j + l])) * prime;
  for (; j < dim; j++) hash = (hash ^ bits_of(row[j])) * prime;
  for (size_t l = 0; l < NKI_LANES; l++) hash = (hash ^ part[l]) * prime;
  return hash;
}

static bool is_same(const float *x, const float *y, size_t dim) {
  for (size_t j = 0; j < dim; j++)
    if (bits_of(x[j]) != bits_of(y[j])) return false;
  return true;
}

/* Among rows of one hash the first of each value is all that the later ones are compared with. */
int nki_find_copies(const float *x, const size_t *rows, size_t n, size_t dim, size_t *first) {
  struct hashed_row *hashed = nk_alloc(n, sizeof *hashed);
  if (hashed == NULL) return NK_EMEMORY;
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < n; i++)
    hashed[i] = (struct hashed_row){nki_hash_row(nki_row(x, rows, i, dim), dim), i};
  qsort(hashed, n, sizeof *hashed, compare_hashed);
  for (size_t i = 0, begin = 0; i < n; i++) {
    size_t row = hashed[i].row;
    if (hashed[i].hash != hashed[begin].hash) begin = i;
    first[row] = row;
    for (size_t j = begin; j < i && first[row] == row; j++) {
      size_t other = hashed[j].row;
      if (first[other] == other &&
          is_same(nki_row(x, rows, other, dim), nki_row(x, rows, row, dim), dim))
        first[row] = other;
    }
  }
  nk_free(hashed);
  return NK_OK;
}

static bool is_zero(const float *row, size_t dim) {
  size_t j = 0;
  while (j < dim && bits_of(row[j]) == 0) j++;
  return j == dim;
}

int nk_ordinary_rows(const float *x, size_t n, size_t dim, unsigned char *keep) {
  size_t *first = nk_alloc(n, sizeof *first);
  int code = first != NULL ? nki_find_copies(x, NULL, n, dim, first) : NK_EMEMORY;
  for (size_t i = 0; i < n && code == NK_OK; i++)
    keep[i] = first[i] == i && !is_zero(x + i * dim, dim);
  nk_free(first);
  return code;
}
