/* The metadata of GGUF, each value as what it is asked for. */
#include <noken/base.h>
#include <string.h>

#include "model/dtype.h"
#include "model/gguf.h"

/* The dtype whose elements look like this metadata type's; -1 for strings and arrays. */
static int dtype_of(enum nki_gguf_type type) {
  static const signed char dtypes[NKI_GGUF_N_TYPES] = {NK_U8,  NK_I8,  NK_U16,  NK_I16, NK_U32,
                                                       NK_I32, NK_F32, NK_BOOL, -1,     -1,
                                                       NK_U64, NK_I64, NK_F64};
  return dtypes[type];
}

static bool is_integer(enum nki_gguf_type type) {
  return dtype_of(type) >= 0 && type != NKI_GGUF_FLOAT32 && type != NKI_GGUF_FLOAT64 &&
         type != NKI_GGUF_BOOL;
}

static int missing(const struct nki_gguf *gguf, const char *key) {
  return nk_fail(NK_ENOTFOUND, "%s: no '%s' in the metadata", gguf->file->name, key);
}

static int wrong(const struct nki_gguf *gguf, const char *key, const char *wanted) {
  return nk_fail(NK_EDATA, "%s: '%s' is not %s", gguf->file->name, key, wanted);
}

int nki_gguf_integer(const struct nki_gguf *gguf, const char *key, int64_t *out) {
  const struct nki_gguf_value *value = nki_gguf_find(gguf, key);
  if (value == NULL) return missing(gguf, key);
  if (value->is_array || !is_integer(value->type)) return wrong(gguf, key, "an integer");
  if (value->type == NKI_GGUF_UINT64 && value->data[7] >> 7)
    return wrong(gguf, key, "an integer that fits");
  *out = nki_element_integer((enum nk_dtype)dtype_of(value->type), value->data, 0);
  return NK_OK;
}

int nki_gguf_number(const struct nki_gguf *gguf, const char *key, double *out) {
  const struct nki_gguf_value *value = nki_gguf_find(gguf, key);
  if (value == NULL) return missing(gguf, key);
  if (value->is_array || dtype_of(value->type) < 0 || value->type == NKI_GGUF_BOOL)
    return wrong(gguf, key, "a number");
  *out = nki_gguf_number_at(value, 0);
  return NK_OK;
}

int nki_gguf_bool(const struct nki_gguf *gguf, const char *key, bool *out) {
  const struct nki_gguf_value *value = nki_gguf_find(gguf, key);
  if (value == NULL) return missing(gguf, key);
  if (value->is_array || value->type != NKI_GGUF_BOOL) return wrong(gguf, key, "a boolean");
  *out = value->data[0] != 0;
  return NK_OK;
}

int nki_gguf_string(const struct nki_gguf *gguf, const char *key, const char **out, size_t *n) {
  const struct nki_gguf_value *value = nki_gguf_find(gguf, key);
  if (value == NULL) return missing(gguf, key);
  if (value->is_array || value->type != NKI_GGUF_STRING) return wrong(gguf, key, "a string");
  *out = (const char *)value->data + 8;
  *n = value->n_bytes - 8;
  return NK_OK;
}

const struct nki_gguf_value *nki_gguf_strings(const struct nki_gguf *gguf, const char *key) {
  const struct nki_gguf_value *value = nki_gguf_find(gguf, key);
  if (value == NULL)
    missing(gguf, key);
  else if (!value->is_array || value->type != NKI_GGUF_STRING)
    wrong(gguf, key, "an array of strings");
  else
    return value;
  return NULL;
}

const struct nki_gguf_value *nki_gguf_numbers(const struct nki_gguf *gguf, const char *key) {
  const struct nki_gguf_value *value = nki_gguf_find(gguf, key);
  if (value == NULL)
    missing(gguf, key);
  else if (!value->is_array || dtype_of(value->type) < 0)
    wrong(gguf, key, "an array of numbers");
  else
    return value;
  return NULL;
}

const char *nki_gguf_next_string(const struct nki_gguf_value *array, size_t *cursor, size_t *n) {
  if (*cursor >= array->n_bytes) return NULL;
  const unsigned char *at = array->data + *cursor;
  *n = (size_t)nki_element_integer(NK_U64, at, 0);
  *cursor += 8 + *n;
  return (const char *)at + 8;
}

double nki_gguf_number_at(const struct nki_gguf_value *array, size_t index) {
  int dtype = dtype_of(array->type);
  if (dtype < 0) return 0;
  if (dtype == NK_BOOL) return array->data[index] != 0;
  if (!is_integer(array->type)) return nki_element_number((enum nk_dtype)dtype, array->data, index);
  if (array->type == NKI_GGUF_UINT64) {
    uint64_t whole; /* above INT64_MAX too */
    memcpy(&whole, array->data + 8 * index, sizeof whole);
    return (double)whole;
  }
  return (double)nki_element_integer((enum nk_dtype)dtype, array->data, index);
}
