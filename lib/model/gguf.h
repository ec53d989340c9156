/* GGUF, llama.cpp's model files, versions 2 and 3, little-endian: metadata (with the vocabulary)
 * and tensors. Everything in the header is checked against the file before it is used. Tensors
 * point to their bytes in the file. */
#ifndef NOKEN_MODEL_GGUF_H
#define NOKEN_MODEL_GGUF_H

#include <noken/model.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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

/* A file. The shapes are row-major, outermost first: the file's order reversed. A tensor of
 * a type that noken does not read is listed: its dtype is NK_OTHER, its dtype_name ggml's name of
 * the type, or "type 99"; of the latter the size is not known, and n_bytes is 0. */
struct nki_gguf {
  struct nk_file *file;
  struct nki_gguf_value *value; /* [n_values] in the file's order */
  struct nk_tensor *tensor;     /* [n_tensors] likewise */
  size_t n_values, n_tensors;
  struct nki_gguf_value **by_key; /* the same, sorted by name */
  struct nk_tensor **by_name;
  char (*type_names)[16]; /* [n_tensors] "type 99" */
};

/* Reads the header of file, which the result then owns (also on failure). NULL on failure: not a
 * GGUF file, another version or byte order, a count, length or offset that the file cannot hold,
 * two keys or tensors of one name. */
struct nki_gguf *nki_gguf_read(struct nk_file *file);
struct nki_gguf *nki_gguf_open(const char *path);
void nki_gguf_free(struct nki_gguf *gguf);
/* True when file begins with GGUF's magic bytes. */
bool nki_gguf_is(const struct nk_file *file);

/* A value by its key, a tensor by its name: NULL, without an error, when there is none. */
const struct nki_gguf_value *nki_gguf_find(const struct nki_gguf *gguf, const char *key);
const struct nk_tensor *nki_gguf_find_tensor(const struct nki_gguf *gguf, const char *name);

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

#endif
