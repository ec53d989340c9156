/* GGUF, llama.cpp's model files, versions 2 and 3, little-endian: metadata (the vocabulary stands
 * there) and tensors. Everything in the header is checked against the file before it is used.
 * Tensors of float and integer types are given as they lie in the file; quantized ones are listed
 * and refused by name when asked for. */
#ifndef NOKEN_GGUF_H
#define NOKEN_GGUF_H

#include <noken/base.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "model/safetensors.h"

#ifdef __cplusplus
extern "C" {
#endif

struct nk_gguf;

/* The types of metadata values, as the file numbers them. */
enum nk_gguf_type {
  NK_GGUF_UINT8,
  NK_GGUF_INT8,
  NK_GGUF_UINT16,
  NK_GGUF_INT16,
  NK_GGUF_UINT32,
  NK_GGUF_INT32,
  NK_GGUF_FLOAT32,
  NK_GGUF_BOOL,
  NK_GGUF_STRING,
  NK_GGUF_ARRAY,
  NK_GGUF_UINT64,
  NK_GGUF_INT64,
  NK_GGUF_FLOAT64,
  NK_GGUF_N_TYPES
};

/* A metadata value. */
struct nk_gguf_value {
  const char *key;
  bool is_array;
  enum nk_gguf_type type;    /* of the value, or of the array's elements */
  size_t count;              /* elements; 1 for what is no array */
  const unsigned char *data; /* in the file, of any alignment */
  size_t n_bytes;
};

/* A tensor as the file lists it, of any type. */
struct nk_gguf_entry {
  const char *name;
  uint32_t type;         /* ggml's number */
  const char *type_name; /* "Q4_K", or "type 99" for one that is not known */
  size_t n_dims;
  size_t shape[NK_MAX_DIMS]; /* row-major, outermost first: the file's order reversed */
};

/* Reads the header of file, which the result then owns (also on failure). NULL on failure: not a
 * GGUF file, another version or byte order, a count, length or offset that the file cannot hold,
 * two keys or tensors of one name. */
struct nk_gguf *nk_gguf_read(struct nk_file *file);
struct nk_gguf *nk_gguf_open(const char *path);
void nk_gguf_free(struct nk_gguf *gguf);
/* True when file begins with GGUF's magic bytes. */
bool nk_gguf_is(const struct nk_file *file);

/* Metadata in the order of the file, or by key: NULL past the end, when there is none of the name
 * (no error is set). */
size_t nk_gguf_n_values(const struct nk_gguf *gguf);
const struct nk_gguf_value *nk_gguf_value(const struct nk_gguf *gguf, size_t index);
const struct nk_gguf_value *nk_gguf_find(const struct nk_gguf *gguf, const char *key);

/* One value, which is no array: 0; NK_ENOTFOUND when there is none (out untouched), NK_EDATA when
 * it is of another type or does not fit. A string's bytes are in the file, not 0-terminated. */
int nk_gguf_integer(const struct nk_gguf *gguf, const char *key, int64_t *out);
int nk_gguf_number(const struct nk_gguf *gguf, const char *key, double *out);
int nk_gguf_bool(const struct nk_gguf *gguf, const char *key, bool *out);
int nk_gguf_string(const struct nk_gguf *gguf, const char *key, const char **out, size_t *n);

/* The array called key whose elements are strings (the first form), or numbers or bools. NULL when
 * there is none (nk_error() set: NK_ENOTFOUND) or it holds something else. */
const struct nk_gguf_value *nk_gguf_strings(const struct nk_gguf *gguf, const char *key);
const struct nk_gguf_value *nk_gguf_numbers(const struct nk_gguf *gguf, const char *key);
/* Elements of an array of strings from front to back: *cursor begins at 0. NULL past the end. */
const char *nk_gguf_next_string(const struct nk_gguf_value *array, size_t *cursor, size_t *n);
/* Element of an array of numbers or bools, index < count. */
double nk_gguf_number_at(const struct nk_gguf_value *array, size_t index);

/* Tensors in the order of the file. */
size_t nk_gguf_n_tensors(const struct nk_gguf *gguf);
const struct nk_gguf_entry *nk_gguf_entry(const struct nk_gguf *gguf, size_t index);
/* The tensor called name, its data in the file. NULL when there is none, or its type is quantized
 * (NK_EUNSUPPORTED: the message names it). */
const struct nk_tensor *nk_gguf_tensor(const struct nk_gguf *gguf, const char *name);

#ifdef __cplusplus
}
#endif
#endif
