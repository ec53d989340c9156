/* GGUF, llama.cpp's model files, versions 2 and 3, little-endian: metadata (with the vocabulary)
 * and tensors. Everything in the header is checked against the file before it is used. Tensors of
 * float and integer types point to their bytes in the file; quantized ones can only be listed. */
#ifndef NOKEN_MODEL_GGUF_H
#define NOKEN_MODEL_GGUF_H

#include <noken/model.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct nki_gguf;

/* The types of metadata values, as the file numbers them. */
enum nki_gguf_type {
  NKI_GGUF_UINT8,
  NKI_GGUF_INT8,
  NKI_GGUF_UINT16,
  NKI_GGUF_INT16,
  NKI_GGUF_UINT32,
  NKI_GGUF_INT32,
  NKI_GGUF_FLOAT32,
  NKI_GGUF_BOOL,
  NKI_GGUF_STRING,
  NKI_GGUF_ARRAY,
  NKI_GGUF_UINT64,
  NKI_GGUF_INT64,
  NKI_GGUF_FLOAT64,
  NKI_GGUF_N_TYPES
};

/* A metadata value. */
struct nki_gguf_value {
  const char *key;
  bool is_array;
  enum nki_gguf_type type;   /* of the value, or of the array's elements */
  size_t count;              /* elements; 1 for a value that is not an array */
  const unsigned char *data; /* in the file, of any alignment */
  size_t n_bytes;
};

/* A tensor as the file lists it, of any type. */
struct nki_gguf_entry {
  const char *name;
  uint32_t type;         /* ggml's number */
  const char *type_name; /* "Q4_K", or "type 99" for one that is not known */
  size_t n_dims;
  size_t shape[NK_MAX_DIMS]; /* row-major, outermost first: the file's order reversed */
};

/* Reads the header of file, which the result then owns (also on failure). NULL on failure: not a
 * GGUF file, another version or byte order, a count, length or offset that the file cannot hold,
 * two keys or tensors of one name. */
struct nki_gguf *nki_gguf_read(struct nk_file *file);
struct nki_gguf *nki_gguf_open(const char *path);
void nki_gguf_free(struct nki_gguf *gguf);
/* True when file begins with GGUF's magic bytes. */
bool nki_gguf_is(const struct nk_file *file);

/* Metadata in the order of the file, or by key: NULL past the end, when there is none of the name
 * (no error is set). */
size_t nki_gguf_n_values(const struct nki_gguf *gguf);
const struct nki_gguf_value *nki_gguf_value(const struct nki_gguf *gguf, size_t index);
const struct nki_gguf_value *nki_gguf_find(const struct nki_gguf *gguf, const char *key);

/* A value that is not an array: NK_OK; NK_ENOTFOUND when there is none (out untouched), NK_EDATA
 * when it is of another type or does not fit. A string's bytes are in the file, not
 * 0-terminated. */
int nki_gguf_integer(const struct nki_gguf *gguf, const char *key, int64_t *out);
int nki_gguf_number(const struct nki_gguf *gguf, const char *key, double *out);
int nki_gguf_bool(const struct nki_gguf *gguf, const char *key, bool *out);
int nki_gguf_string(const struct nki_gguf *gguf, const char *key, const char **out, size_t *n);

/* The array called key whose elements are strings (the first form), or numbers or bools. NULL when
 * there is none (nk_error() set: NK_ENOTFOUND) or it holds something else. */
const struct nki_gguf_value *nki_gguf_strings(const struct nki_gguf *gguf, const char *key);
const struct nki_gguf_value *nki_gguf_numbers(const struct nki_gguf *gguf, const char *key);
/* Elements of an array of strings from front to back: *cursor begins at 0. NULL past the end. */
const char *nki_gguf_next_string(const struct nki_gguf_value *array, size_t *cursor, size_t *n);
/* Element of an array of numbers or bools, index < count. */
double nki_gguf_number_at(const struct nki_gguf_value *array, size_t index);

/* Tensors in the order of the file. */
size_t nki_gguf_n_tensors(const struct nki_gguf *gguf);
const struct nki_gguf_entry *nki_gguf_entry(const struct nki_gguf *gguf, size_t index);
/* By name; NULL, without an error, when there is none. */
const struct nki_gguf_entry *nki_gguf_find_entry(const struct nki_gguf *gguf, const char *name);
/* The tensor called name, its data in the file. NULL when there is none, or its type is quantized
 * (NK_EUNSUPPORTED: the message names it). */
const struct nk_tensor *nki_gguf_tensor(const struct nki_gguf *gguf, const char *name);

#endif
