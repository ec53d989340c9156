/* Checked sizes, and malloc with the alignment that vector instructions like. */
#include <noken/base.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64 }; /* a cache line, and one AVX-512 register */

bool nk_size_mul(size_t a, size_t b, size_t *out) {
  size_t product;
  if (__builtin_mul_overflow(a, b, &product)) return false;
  *out = product;
  return true;
}

bool nk_size_add(size_t a, size_t b, size_t *out) {
  size_t sum;
  if (__builtin_add_overflow(a, b, &sum)) return false;
  *out = sum;
  return true;
}

void *nk_alloc(size_t count, size_t size) {
  size_t bytes;
  if (!nk_size_mul(count, size, &bytes) || bytes > PTRDIFF_MAX - ALIGNMENT) {
    nk_fail(NK_EMEMORY, "out of memory: %zu x %zu bytes", count, size);
    return NULL;
  }
  bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  void *block = aligned_alloc(ALIGNMENT, bytes ? bytes : ALIGNMENT);
  if (!block) nk_fail(NK_EMEMORY, "out of memory: %zu bytes", bytes);
  return block;
}

void *nk_calloc(size_t count, size_t size) {
  void *block = nk_alloc(count, size);
  if (block) memset(block, 0, count * size);
  return block;
}

void *nk_realloc(void *block, size_t old_count, size_t count, size_t size) {
  void *grown = nk_alloc(count, size);
  if (!grown) return NULL;
  if (block) memcpy(grown, block, (old_count < count ? old_count : count) * size);
  free(block);
  return grown;
}

void nk_free(void *block) {
  free(block);
}

char *nk_strndup(const char *bytes, size_t n) {
  char *copy = nk_alloc(n + 1, 1);
  if (!copy) return NULL;
  if (n) memcpy(copy, bytes, n);
  copy[n] = 0;
  return copy;
}

char *nk_strdup(const char *string) {
  return nk_strndup(string, strlen(string));
}
