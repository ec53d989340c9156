/* malloc with the alignment that vector instructions are fastest with. */
#include <noken/base.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64 }; /* a cache line, and one AVX-512 register */

void *nk_alloc(size_t count, size_t size) {
  size_t bytes;
  if (!nk_size_mul(count, size, &bytes) || bytes > PTRDIFF_MAX - ALIGNMENT) {
    nk_fail(NK_EMEMORY, "out of memory: %zu x %zu bytes", count, size);
    return NULL;
  }
  bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  void *block = aligned_alloc(ALIGNMENT, bytes != 0 ? bytes : ALIGNMENT);
  if (block == NULL) nk_fail(NK_EMEMORY, "out of memory: %zu bytes", bytes);
  return block;
}

void *nk_calloc(size_t count, size_t size) {
  void *block = nk_alloc(count, size);
  if (block != NULL) memset(block, 0, count * size);
  return block;
}

void *nk_realloc(void *block, size_t old_count, size_t count, size_t size) {
  void *grown = nk_alloc(count, size);
  if (grown == NULL) return NULL;
  if (block != NULL) memcpy(grown, block, (old_count < count ? old_count : count) * size);
  free(block);
  return grown;
}

void nk_free(void *block) {
  free(block);
}

char *nk_strndup(const char *bytes, size_t n) {
  char *copy = nk_alloc(n + 1, 1);
  if (copy == NULL) return NULL;
  if (n != 0) memcpy(copy, bytes, n);
  copy[n] = 0;
  return copy;
}
