/* FNV-1a (Fowler, Noll and Vo), 64 bits. The values are part of what seeds give: random streams are
 * chosen by them. */
#ifndef NOKEN_BASE_HASH_H
#define NOKEN_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

static inline uint64_t nki_hash(const char *bytes, size_t n) {
  uint64_t hash = 0xcbf29ce484222325u;
  /* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): callers have set all n */
  for (size_t i = 0; i < n; i++) hash = (hash ^ (unsigned char)bytes[i]) * 0x100000001b3u;
  return hash;
}

#endif
