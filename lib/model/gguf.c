/* Reading GGUF. The layout (little-endian, nothing aligned before the tensors' data):
 *
 *   "GGUF"  u32 version  u64 n_tensors  u64 n_values
 *   n_values times:  string key  u32 type  value
 *   n_tensors times: string name  u32 n_dims  u64 dims[n_dims]  u32 type  u64 offset
 *   padding to general.alignment (32 if the metadata has none)
 *   the tensors' data; a tensor's offset counts from here
 *
 *   string: u64 length, bytes      array: u32 element type, u64 count, elements
 *
 * dims run from the innermost to the outermost, the other way round than safetensors' shapes. */
#include "model/gguf.h"
#include <noken/base.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "model/dtype.h"

enum { MAX_GGUF_DIMS = 4, MAX_NESTING = 8 };

struct tensor {
  struct nki_gguf_entry entry;
  struct nk_tensor tensor; /* data NULL for types that are not given out */
  uint64_t offset;
  size_t n_elements;
  char type_name[16]; /* for a type that is not known */
};

struct nki_gguf {
  struct nk_file *file;
  struct nki_gguf_value *value; /* [n_values] in the file's order */
  struct tensor *tensor;        /* [n_tensors] likewise */
  size_t n_values, n_tensors;
  struct nki_gguf_value **by_key; /* the same, sorted by name */
  struct tensor **by_name;
};

/* ggml's tensor types: a block of `elements` values takes `bytes`. dtype is -1 for those that are
 * quantized. */
static const struct {
  uint32_t type;
  const char *name;
  size_t elements, bytes;
  int dtype;
} types[] = {
    {0, "F32", 1, 4, NK_F32},     {1, "F16", 1, 2, NK_F16},     {2, "Q4_0", 32, 18, -1},
    {3, "Q4_1", 32, 20, -1},      {6, "Q5_0", 32, 22, -1},      {7, "Q5_1", 32, 24, -1},
    {8, "Q8_0", 32, 34, -1},      {9, "Q8_1", 32, 36, -1},      {10, "Q2_K", 256, 84, -1},
    {11, "Q3_K", 256, 110, -1},   {12, "Q4_K", 256, 144, -1},   {13, "Q5_K", 256, 176, -1},
    {14, "Q6_K", 256, 210, -1},   {15, "Q8_K", 256, 292, -1},   {16, "IQ2_XXS", 256, 66, -1},
    {17, "IQ2_XS", 256, 74, -1},  {18, "IQ3_XXS", 256, 98, -1}, {19, "IQ1_S", 256, 50, -1},
    {20, "IQ4_NL", 32, 18, -1},   {21, "IQ3_S", 256, 110, -1},  {22, "IQ2_S", 256, 82, -1},
    {23, "IQ4_XS", 256, 136, -1}, {24, "I8", 1, 1, NK_I8},      {25, "I16", 1, 2, NK_I16},
    {26, "I32", 1, 4, NK_I32},    {27, "I64", 1, 8, NK_I64},    {28, "F64", 1, 8, NK_F64},
    {29, "IQ1_M", 256, 56, -1},   {30, "BF16", 1, 2, NK_BF16},  {34, "TQ1_0", 256, 54, -1},
    {35, "TQ2_0", 256, 66, -1},   {39, "MXFP4", 32, 17, -1},
};
enum { N_TYPES = sizeof types / sizeof *types };

/* ---- Taking numbers and strings off the front ---- */

struct reader {
  const char *name; /* the file's */
  const unsigned char *at, *end;
};

static size_t left(const struct reader *reader) {
  return (size_t)(reader->end - reader->at);
}

static int too_short(const struct reader *reader, const char *what) {
  return nk_fail(NK_EDATA, "%s: the file ends within %s", reader->name, what);
}

/* The next n bytes as an unsigned integer. */
static int take(struct reader *reader, size_t n, const char *what, uint64_t *out) {
  *out = 0;
  if (left(reader) < n) return too_short(reader, what);
  for (size_t i = 0; i < n; i++) *out |= (uint64_t)reader->at[i] << 8 * i;
  reader->at += n;
  return NK_OK;
}

static int take_bytes(struct reader *reader, const char *what, const char **bytes, size_t *n) {
  uint64_t length;
  *bytes = NULL;
  *n = 0;
  int code = take(reader, 8, what, &length);
  if (code != NK_OK) return code;
  if (length > left(reader)) return too_short(reader, what);
  *bytes = (const char *)reader->at;
  *n = (size_t)length;
  reader->at += length;
  return NK_OK;
}

/* A name, copied so that it ends with a 0. */
static int take_name(struct reader *reader, const char *what, const char **out) {
  const char *bytes;
  size_t n;
  int code = take_bytes(reader, what, &bytes, &n);
  if (code != NK_OK) return code;
  if (n > 65535 || memchr(bytes, 0, n) != NULL)
    return nk_fail(NK_EDATA, "%s: %s is not a name", reader->name, what);
  *out = nk_strndup(bytes, n);
  return *out != NULL ? NK_OK : NK_EMEMORY;
}

/* ---- Metadata ---- */

/* Bytes of one value of a type of fixed size; 0 for the others. */
static size_t type_size(uint64_t type) {
  static const unsigned char sizes[NKI_GGUF_N_TYPES] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return type < NKI_GGUF_N_TYPES ? sizes[type] : 0;
}

/* Steps over count values of a type, checking that they lie within the file. */
static int skip_values(struct reader *reader, uint64_t type, uint64_t count, int nesting) {
  if (type >= NKI_GGUF_N_TYPES || nesting > MAX_NESTING)
    return nk_fail(NK_EDATA, "%s: metadata of an unknown type", reader->name);
  size_t size = type_size(type);
  if (size > 0) {
    if (count > left(reader) / size) return too_short(reader, "a metadata value");
    reader->at += count * size;
    return NK_OK;
  }
  int code = NK_OK;
  for (uint64_t i = 0; i < count && code == NK_OK; i++) {
    const char *bytes;
    size_t n;
    uint64_t inner, inner_count = 0;
    if (type == NKI_GGUF_STRING) {
      code = take_bytes(reader, "a metadata string", &bytes, &n);
      continue;
    }
    code = take(reader, 4, "a metadata array", &inner);
    if (code == NK_OK) code = take(reader, 8, "a metadata array", &inner_count);
    if (code == NK_OK) code = skip_values(reader, inner, inner_count, nesting + 1);
  }
  return code;
}

static int read_value(struct reader *reader, struct nki_gguf_value *value) {
  uint64_t type = 0, count = 1;
  int code = take_name(reader, "a metadata key", &value->key);
  if (code == NK_OK) code = take(reader, 4, "a metadata type", &type);
  if (code == NK_OK && type == NKI_GGUF_ARRAY) {
    value->is_array = true;
    code = take(reader, 4, "a metadata array", &type);
    if (code == NK_OK) code = take(reader, 8, "a metadata array", &count);
  }
  if (code != NK_OK) return code;
  value->data = reader->at;
  code = skip_values(reader, type, count, 0);
  value->type = (enum nki_gguf_type)type;
  value->count = (size_t)count;
  value->n_bytes = (size_t)(reader->at - value->data);
  return code;
}

/* ---- Tensors ---- */

static int read_tensor(struct reader *reader, struct tensor *tensor) {
  uint64_t n_dims = 0, dim = 0, type = 0;
  struct nki_gguf_entry *entry = &tensor->entry;
  int code = take_name(reader, "a tensor's name", &entry->name);
  if (code == NK_OK) code = take(reader, 4, "a tensor's dimensions", &n_dims);
  if (code != NK_OK) return code;
  if (n_dims > MAX_GGUF_DIMS)
    return nk_fail(NK_EDATA, "%s: tensor '%s': %llu dimensions", reader->name, entry->name,
                   (unsigned long long)n_dims);
  entry->n_dims = (size_t)n_dims;
  tensor->n_elements = 1;
  for (size_t i = 0; i < entry->n_dims; i++) {
    code = take(reader, 8, "a tensor's dimensions", &dim);
    if (code != NK_OK) return code;
    entry->shape[entry->n_dims - 1 - i] = (size_t)dim;
    if (dim > SIZE_MAX || !nk_size_mul(tensor->n_elements, (size_t)dim, &tensor->n_elements))
      return nk_fail(NK_EDATA, "%s: tensor '%s': a shape too large", reader->name, entry->name);
  }
  code = take(reader, 4, "a tensor's type", &type);
  if (code == NK_OK) code = take(reader, 8, "a tensor's offset", &tensor->offset);
  entry->type = (uint32_t)type;
  return code;
}

/* Checks the tensor's bytes against the data part and points to them. */
static int place_tensor(const struct nki_gguf *gguf, struct tensor *tensor, size_t data_start,
                        size_t alignment) {
  struct nki_gguf_entry *entry = &tensor->entry;
  const char *file = gguf->file->name;
  size_t size = gguf->file->size - data_start, kind = 0, row, n_bytes;
  if (tensor->offset > size || tensor->offset % alignment)
    return nk_fail(NK_EDATA, "%s: tensor '%s': offset %llu is not aligned or outside the file",
                   file, entry->name, (unsigned long long)tensor->offset);
  while (kind < N_TYPES && types[kind].type != entry->type) kind++;
  if (kind == N_TYPES) { /* of a later version: listed by its number */
    snprintf(tensor->type_name, sizeof tensor->type_name, "type %u", entry->type);
    entry->type_name = tensor->type_name;
    return NK_OK;
  }
  entry->type_name = types[kind].name;
  row = entry->n_dims ? entry->shape[entry->n_dims - 1] : 1;
  if (row % types[kind].elements ||
      !nk_size_mul(tensor->n_elements / types[kind].elements, types[kind].bytes, &n_bytes))
    return nk_fail(NK_EDATA, "%s: tensor '%s': its shape does not fit %s", file, entry->name,
                   entry->type_name);
  if (n_bytes > size - tensor->offset)
    return nk_fail(NK_EDATA, "%s: tensor '%s': needs %zu bytes at %llu, the file has %zu", file,
                   entry->name, n_bytes, (unsigned long long)tensor->offset, size);
  if (types[kind].dtype < 0) return NK_OK;
  tensor->tensor = (struct nk_tensor){
      .name = entry->name,
      .dtype = (enum nk_dtype)types[kind].dtype,
      .n_dims = entry->n_dims,
      .n_elements = tensor->n_elements,
      .n_bytes = n_bytes,
      .data = gguf->file->data + data_start + tensor->offset,
  };
  memcpy(tensor->tensor.shape, entry->shape, sizeof entry->shape);
  return NK_OK;
}

static int place_tensors(struct nki_gguf *gguf, const struct reader *reader) {
  int64_t alignment = 32;
  int code = nki_gguf_integer(gguf, "general.alignment", &alignment);
  if (code != NK_OK && code != NK_ENOTFOUND) return code;
  if (alignment <= 0 || alignment > 1 << 20 || (alignment & (alignment - 1)))
    return nk_fail(NK_EDATA, "%s: general.alignment is %lld", gguf->file->name,
                   (long long)alignment);
  size_t mask = (size_t)alignment - 1;
  size_t start = ((size_t)(reader->at - gguf->file->data) + mask) & ~mask;
  if (start > gguf->file->size) start = gguf->file->size; /* a vocabulary alone is not padded */
  code = NK_OK;
  for (size_t i = 0; i < gguf->n_tensors && code == NK_OK; i++)
    code = place_tensor(gguf, &gguf->tensor[i], start, (size_t)alignment);
  return code;
}

/* ---- Names ---- */

static int compare_keys(const void *a, const void *b) {
  return strcmp((*(struct nki_gguf_value *const *)a)->key,
                (*(struct nki_gguf_value *const *)b)->key);
}

static int compare_names(const void *a, const void *b) {
  return strcmp((*(struct tensor *const *)a)->entry.name, (*(struct tensor *const *)b)->entry.name);
}

static int duplicate(const struct nki_gguf *gguf, const char *name) {
  return nk_fail(NK_EDATA, "%s: duplicate name '%s'", gguf->file->name, name);
}

static int sort_keys(struct nki_gguf *gguf) {
  gguf->by_key = nk_alloc(gguf->n_values, sizeof *gguf->by_key);
  if (gguf->by_key == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < gguf->n_values; i++) gguf->by_key[i] = &gguf->value[i];
  qsort(gguf->by_key, gguf->n_values, sizeof *gguf->by_key, compare_keys);
  for (size_t i = 1; i < gguf->n_values; i++)
    if (compare_keys(&gguf->by_key[i - 1], &gguf->by_key[i]) == 0)
      return duplicate(gguf, gguf->by_key[i]->key);
  return NK_OK;
}

static int sort_names(struct nki_gguf *gguf) {
  gguf->by_name = nk_alloc(gguf->n_tensors, sizeof *gguf->by_name);
  if (gguf->by_name == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < gguf->n_tensors; i++) gguf->by_name[i] = &gguf->tensor[i];
  qsort(gguf->by_name, gguf->n_tensors, sizeof *gguf->by_name, compare_names);
  for (size_t i = 1; i < gguf->n_tensors; i++)
    if (compare_names(&gguf->by_name[i - 1], &gguf->by_name[i]) == 0)
      return duplicate(gguf, gguf->by_name[i]->entry.name);
  return NK_OK;
}

/* ---- The whole ---- */

/* Checks magic and version and takes the two counts. */
static int read_head(struct nki_gguf *gguf, struct reader *reader, uint64_t *n_tensors,
                     uint64_t *n_values) {
  uint64_t magic, version = 0;
  if (!nki_gguf_is(gguf->file)) return nk_fail(NK_EDATA, "%s: not a GGUF file", reader->name);
  int code = take(reader, 4, "the header", &magic);
  if (code == NK_OK) code = take(reader, 4, "the header", &version);
  if (code != NK_OK) return code;
  if (version >> 16)
    return nk_fail(NK_EUNSUPPORTED, "%s: a big-endian GGUF file is not supported", reader->name);
  if (version != 2 && version != 3)
    return nk_fail(NK_EUNSUPPORTED, "%s: GGUF version %llu is not supported", reader->name,
                   (unsigned long long)version);
  code = take(reader, 8, "the header", n_tensors);
  if (code == NK_OK) code = take(reader, 8, "the header", n_values);
  if (code != NK_OK) return code;
  /* The least that one value, and one tensor, takes in the file. */
  if (*n_values > left(reader) / 13 || *n_tensors > left(reader) / 24)
    return nk_fail(NK_EDATA, "%s: %llu values and %llu tensors are more than the file can hold",
                   reader->name, (unsigned long long)*n_values, (unsigned long long)*n_tensors);
  return NK_OK;
}

static int read_all(struct nki_gguf *gguf) {
  struct reader reader = {.name = gguf->file->name, .at = gguf->file->data};
  reader.end = reader.at + gguf->file->size;
  uint64_t n_tensors = 0, n_values = 0;
  int code = read_head(gguf, &reader, &n_tensors, &n_values);
  if (code != NK_OK) return code;
  gguf->value = nk_calloc((size_t)n_values, sizeof *gguf->value);
  gguf->tensor = nk_calloc((size_t)n_tensors, sizeof *gguf->tensor);
  if (gguf->value == NULL || gguf->tensor == NULL) return NK_EMEMORY;
  while (gguf->n_values < n_values && code == NK_OK)
    code = read_value(&reader, &gguf->value[gguf->n_values++]);
  if (code == NK_OK) code = sort_keys(gguf);
  while (gguf->n_tensors < n_tensors && code == NK_OK)
    code = read_tensor(&reader, &gguf->tensor[gguf->n_tensors++]);
  if (code == NK_OK) code = sort_names(gguf);
  return code == NK_OK ? place_tensors(gguf, &reader) : code;
}

bool nki_gguf_is(const struct nk_file *file) {
  return file->size >= 4 && memcmp(file->data, "GGUF", 4) == 0;
}

struct nki_gguf *nki_gguf_read(struct nk_file *file) {
  struct nki_gguf *gguf = nk_calloc(1, sizeof *gguf);
  if (gguf == NULL) {
    nk_file_free(file);
    return NULL;
  }
  gguf->file = file;
  if (read_all(gguf) != NK_OK) {
    nki_gguf_free(gguf);
    return NULL;
  }
  return gguf;
}

struct nki_gguf *nki_gguf_open(const char *path) {
  struct nk_file *file = nk_file_open(path);
  return file != NULL ? nki_gguf_read(file) : NULL;
}

void nki_gguf_free(struct nki_gguf *gguf) {
  if (gguf == NULL) return;
  for (size_t i = 0; i < gguf->n_values; i++) nk_free((char *)gguf->value[i].key);
  for (size_t i = 0; i < gguf->n_tensors; i++) nk_free((char *)gguf->tensor[i].entry.name);
  nk_free(gguf->value);
  nk_free(gguf->tensor);
  nk_free(gguf->by_key);
  nk_free(gguf->by_name);
  nk_file_free(gguf->file);
  nk_free(gguf);
}

/* ---- Metadata and tensors by name ---- */

size_t nki_gguf_n_values(const struct nki_gguf *gguf) {
  return gguf->n_values;
}

const struct nki_gguf_value *nki_gguf_value(const struct nki_gguf *gguf, size_t index) {
  return index < gguf->n_values ? &gguf->value[index] : NULL;
}

const struct nki_gguf_value *nki_gguf_find(const struct nki_gguf *gguf, const char *key) {
  struct nki_gguf_value wanted = {.key = key}, *pointer = &wanted;
  struct nki_gguf_value **found =
      bsearch(&pointer, gguf->by_key, gguf->n_values, sizeof *gguf->by_key, compare_keys);
  return found != NULL ? *found : NULL;
}

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

size_t nki_gguf_n_tensors(const struct nki_gguf *gguf) {
  return gguf->n_tensors;
}

const struct nki_gguf_entry *nki_gguf_entry(const struct nki_gguf *gguf, size_t index) {
  return index < gguf->n_tensors ? &gguf->tensor[index].entry : NULL;
}

static const struct tensor *look_up(const struct nki_gguf *gguf, const char *name) {
  struct tensor wanted = {.entry = {.name = name}}, *pointer = &wanted;
  struct tensor **found =
      bsearch(&pointer, gguf->by_name, gguf->n_tensors, sizeof *gguf->by_name, compare_names);
  return found != NULL ? *found : NULL;
}

const struct nki_gguf_entry *nki_gguf_find_entry(const struct nki_gguf *gguf, const char *name) {
  const struct tensor *found = look_up(gguf, name);
  return found != NULL ? &found->entry : NULL;
}

const struct nk_tensor *nki_gguf_tensor(const struct nki_gguf *gguf, const char *name) {
  const struct tensor *found = look_up(gguf, name);
  if (found == NULL) {
    nk_fail(NK_ENOTFOUND, "%s: no tensor '%s'", gguf->file->name, name);
    return NULL;
  }
  if (found->tensor.data == NULL) {
    nk_fail(NK_EUNSUPPORTED, "%s: tensor '%s': %s is quantized or of an unknown type",
            gguf->file->name, name, found->entry.type_name);
    return NULL;
  }
  return &found->tensor;
}
