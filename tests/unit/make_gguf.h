/* GGUF files as the unit tests make them, after the format's description. */
#ifndef NOKEN_MAKE_GGUF_H
#define NOKEN_MAKE_GGUF_H

#include "unit.h"

enum { U32 = 4, F32 = 6, BOOL = 7, STRING = 8, ARRAY = 9 }; /* types of values */

struct gguf {
  struct nk_buffer values, tensors, data;
  uint64_t n_values, n_tensors;
};

static inline void number(struct nk_buffer *out, uint64_t value, int n_bytes) {
  for (int i = 0; i < n_bytes; i++) nk_buffer_byte(out, (int)(value >> 8 * i & 0xFF));
}

static inline void string(struct nk_buffer *out, const char *text) {
  number(out, strlen(text), 8);
  nk_buffer_text(out, text);
}

static inline void key(struct gguf *g, const char *name, uint64_t type) {
  string(&g->values, name);
  number(&g->values, type, 4);
  g->n_values++;
}

static inline void put_u32(struct gguf *g, const char *name, uint64_t value) {
  key(g, name, U32);
  number(&g->values, value, 4);
}

static inline void put_f32(struct gguf *g, const char *name, float value) {
  key(g, name, F32);
  nk_buffer_append(&g->values, &value, sizeof value);
}

static inline void put_string(struct gguf *g, const char *name, const char *value) {
  key(g, name, STRING);
  string(&g->values, value);
}

/* A tensor of shape [n_dims], outermost first; data of n bytes, NULL: zeros. */
static inline void put_shape(struct gguf *g, const char *name, const size_t *shape, size_t n_dims,
                             uint64_t type, const void *data, size_t n) {
  while (g->data.size % 32 != 0) nk_buffer_byte(&g->data, 0);
  string(&g->tensors, name);
  number(&g->tensors, n_dims, 4);
  for (size_t d = n_dims; d-- > 0;) number(&g->tensors, shape[d], 8);
  number(&g->tensors, type, 4);
  number(&g->tensors, g->data.size, 8);
  g->n_tensors++;
  for (size_t i = 0; i < n; i++)
    nk_buffer_byte(&g->data, data != NULL ? ((const unsigned char *)data)[i] : 0);
}

/* [rows, columns], or [columns] with rows 0. */
static inline void put_tensor(struct gguf *g, const char *name, size_t rows, size_t columns,
                              uint64_t type, const void *data, size_t n) {
  const size_t shape[2] = {rows, columns};
  put_shape(g, name, rows > 0 ? shape : shape + 1, rows > 0 ? 2 : 1, type, data, n);
}

/* Zeros of F32. */
static inline void put_zeros(struct gguf *g, const char *name, size_t rows, size_t columns) {
  put_tensor(g, name, rows, columns, 0, NULL, (rows > 0 ? rows : 1) * columns * 4);
}

static inline void save(struct gguf *g, const char *path) {
  struct nk_buffer out = {0};
  nk_buffer_text(&out, "GGUF");
  number(&out, 3, 4);
  number(&out, g->n_tensors, 8);
  number(&out, g->n_values, 8);
  nk_buffer_append(&out, g->values.data, g->values.size);
  nk_buffer_append(&out, g->tensors.data, g->tensors.size);
  while (out.size % 32 != 0) nk_buffer_byte(&out, 0);
  nk_buffer_append(&out, g->data.data, g->data.size);
  write_bytes(path, out.data, out.size);
  nk_buffer_free(&out);
  nk_buffer_free(&g->values);
  nk_buffer_free(&g->tensors);
  nk_buffer_free(&g->data);
  *g = (struct gguf){0};
}

static inline const char *in(void *const *state, const char *name) {
  static char paths[4][300];
  static int turn;
  char *path = paths[turn++ % 4];
  snprintf(path, sizeof paths[0], "%s/%s", (const char *)*state, name);
  return path;
}

#endif
