/* Endings of names of files and tensors. */
#ifndef NOKEN_BASE_NAMES_H
#define NOKEN_BASE_NAMES_H

#include <stdbool.h>
#include <string.h>

static inline bool nki_ends_with(const char *string, const char *end) {
  size_t n = strlen(string), n_end = strlen(end);
  return n >= n_end && strcmp(string + n - n_end, end) == 0;
}

#endif
