/* GGUF files for benchmarks, written value by value: matrices of quantized blocks with random codes
 * and usual scales. */
#ifndef NOKEN_BENCH_GGUF_H
#define NOKEN_BENCH_GGUF_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/dtype.h"

enum { GGUF_F32 = 0, GGUF_Q8_0 = 8, GGUF_Q4_K = 12 };

static inline void gguf_bytes(FILE *file, const void *bytes, size_t n) {
  if (fwrite(bytes, 1, n, file) != n) exit(2);
}

static inline void gguf_number(FILE *file, uint64_t value, size_t n) {
  gguf_bytes(file, &value, n);
}

static inline void gguf_text(FILE *file, const char *text) {
  gguf_number(file, strlen(text), 8);
  gguf_bytes(file, text, strlen(text));
}

static inline void gguf_begin(FILE *file, uint64_t n_tensors, uint64_t n_values) {
  gguf_bytes(file, "GGUF\3\0\0", 8);
  gguf_number(file, n_tensors, 8);
  gguf_number(file, n_values, 8);
}

static inline void gguf_text_value(FILE *file, const char *key, const char *text) {
  gguf_text(file, key);
  gguf_number(file, 8, 4);
  gguf_text(file, text);
}

static inline void gguf_u32_value(FILE *file, const char *key, uint32_t value) {
  gguf_text(file, key);
  gguf_number(file, 4, 4);
  gguf_number(file, value, 4);
}

static inline void gguf_f32_value(FILE *file, const char *key, float value) {
  gguf_text(file, key);
  gguf_number(file, 6, 4);
  gguf_bytes(file, &value, 4);
}

static inline void gguf_pad(FILE *file) {
  while (ftell(file) % 32 != 0) gguf_number(file, 0, 1);
}

static inline size_t gguf_size(size_t n_elements, int type) {
  if (type == GGUF_Q4_K) return n_elements / 256 * 144;
  return type == GGUF_Q8_0 ? n_elements / 32 * 34 : n_elements * 4;
}

/* A tensor [rows, columns], or a vector of `columns` for rows 0, at `offset` of the data, which
 * becomes that of the next. */
static inline void gguf_tensor(FILE *file, const char *name, size_t rows, size_t columns, int type,
                               uint64_t *offset) {
  gguf_text(file, name);
  gguf_number(file, rows > 0 ? 2 : 1, 4);
  gguf_number(file, columns, 8);
  if (rows > 0) gguf_number(file, rows, 8);
  gguf_number(file, (uint64_t)type, 4);
  gguf_number(file, *offset, 8);
  *offset += (gguf_size((rows > 0 ? rows : 1) * columns, type) + 31) / 32 * 32;
}

/* Blocks of about the standard deviation 0.1; floats that are all `value`. */
static inline void gguf_data(FILE *file, size_t n_elements, int type, float value) {
  static uint64_t state = 88172645463325252u;
  unsigned char block[144];
  size_t size = type == GGUF_Q4_K ? 144 : type == GGUF_Q8_0 ? 34 : 4;
  size_t n = gguf_size(n_elements, type) / size;
  uint16_t scale = nki_f16_of_float(1e-3f), least = nki_f16_of_float(7.5e-3f);
  for (size_t i = 0; i < n; i++) {
    for (size_t k = 0; k < size && type != GGUF_F32; k++) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      block[k] = (unsigned char)(state >> 56);
    }
    if (type == GGUF_F32) memcpy(block, &value, 4);
    if (type != GGUF_F32) memcpy(block, &scale, 2);
    if (type == GGUF_Q4_K) memcpy(block + 2, &least, 2);
    gguf_bytes(file, block, size);
  }
  gguf_pad(file);
}

#endif
