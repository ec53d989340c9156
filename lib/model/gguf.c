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
#include "model/quantized.h"

enum { MAX_GGUF_DIMS = 4, MAX_NESTING = 8 };

/* ggml's tensor types. Of those that noken reads, name and size are the dtype's; of the others a
 * block of `elements` values takes `bytes`. */
static const struct {
  uint32_t type;
  enum nk_dtype dtype;
  const char *name;
  size_t elements, bytes;
} types[] = {
    {0, NK_F32},
    {1, NK_F16},
    {2, NK_Q4_0},
    {3, NK_Q4_1},
    {6, NK_Q5_0},
    {7, NK_Q5_1},
    {8, NK_Q8_0},
    {9, NK_OTHER, "Q8_1", 32, 36},
    {10, NK_Q2_K},
    {11, NK_Q3_K},
    {12, NK_Q4_K},
    {13, NK_Q5_K},
    {14, NK_Q6_K},
    {15, NK_OTHER, "Q8_K", 256, 292},
    {16, NK_OTHER, "IQ2_XXS", 256, 66},
    {17, NK_OTHER, "IQ2_XS", 256, 74},
    {18, NK_OTHER, "IQ3_XXS", 256, 98},
    {19, NK_OTHER, "IQ1_S", 256, 50},
    {20, NK_IQ4_NL},
    {21, NK_OTHER, "IQ3_S", 256, 110},
    {22, NK_OTHER, "IQ2_S", 256, 82},
    {23, NK_IQ4_XS},
    {24, NK_I8},
    {25, NK_I16},
    {26, NK_I32},
    {27, NK_I64},
    {28, NK_F64},
    {29, NK_OTHER, "IQ1_M", 256, 56},
    {30, NK_BF16},
    {34, NK_OTHER, "TQ1_0", 256, 54},
    {35, NK_OTHER, "TQ2_0", 256, 66},
    {39, NK_MXFP4},
    {40, NK_OTHER, "NVFP4", 64, 36},
    {41, NK_OTHER, "Q1_0", 128, 18},
    {42, NK_OTHER, "Q2_0", 64, 18},
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

/* What the header says of a tensor, beside its name and shape. */
struct place {
  uint64_t offset;
  uint32_t type;
};

static int read_tensor(struct reader *reader, struct nk_tensor *tensor, struct place *place) {
  uint64_t n_dims = 0, dim = 0, type = 0;
  int code = take_name(reader, "a tensor's name", &tensor->name);
  if (code == NK_OK) code = take(reader, 4, "a tensor's dimensions", &n_dims);
  if (code != NK_OK) return code;
  if (n_dims > MAX_GGUF_DIMS)
    return nk_fail(NK_EDATA, "%s: tensor '%s': %llu dimensions", reader->name, tensor->name,
                   (unsigned long long)n_dims);
  tensor->n_dims = (size_t)n_dims;
  tensor->n_elements = 1;
  for (size_t i = 0; i < tensor->n_dims; i++) {
    code = take(reader, 8, "a tensor's dimensions", &dim);
    if (code != NK_OK) return code;
    tensor->shape[tensor->n_dims - 1 - i] = (size_t)dim;
    if (dim > SIZE_MAX || !nk_size_mul(tensor->n_elements, (size_t)dim, &tensor->n_elements))
      return nk_fail(NK_EDATA, "%s: tensor '%s': a shape too large", reader->name, tensor->name);
  }
  code = take(reader, 4, "a tensor's type", &type);
  if (code == NK_OK) code = take(reader, 8, "a tensor's offset", &place->offset);
  place->type = (uint32_t)type;
  return code;
}

/* The tensor's dtype, its name, and the size of a block: {0, 0} for a type of a later version,
 * which is listed by its number. */
static void find_type(struct nki_gguf *gguf, struct nk_tensor *tensor, uint32_t type,
                      struct nki_block_size *size) {
  size_t kind = 0;
  while (kind < N_TYPES && types[kind].type != type) kind++;
  *size = (struct nki_block_size){0, 0};
  tensor->dtype = kind < N_TYPES ? types[kind].dtype : NK_OTHER;
  if (tensor->dtype != NK_OTHER) {
    tensor->dtype_name = nk_dtype_names[tensor->dtype];
    *size = nki_block_size(tensor->dtype);
    if (size->elements == 0) *size = (struct nki_block_size){1, nki_dtype_size(tensor->dtype)};
  } else if (kind < N_TYPES) {
    tensor->dtype_name = types[kind].name;
    *size = (struct nki_block_size){types[kind].elements, types[kind].bytes};
  } else {
    char *name = gguf->type_names[tensor - gguf->tensor];
    snprintf(name, sizeof *gguf->type_names, "type %u", type);
    tensor->dtype_name = name;
  }
}

/* Checks the tensor's bytes against the data part and points to them. */
static int place_tensor(struct nki_gguf *gguf, struct nk_tensor *tensor, const struct place *place,
                        size_t data_start, size_t alignment) {
  const char *file = gguf->file->name;
  size_t size = gguf->file->size - data_start;
  struct nki_block_size block;
  if (place->offset > size || place->offset % alignment)
    return nk_fail(NK_EDATA, "%s: tensor '%s': offset %llu is not aligned or outside the file",
                   file, tensor->name, (unsigned long long)place->offset);
  find_type(gguf, tensor, place->type, &block);
  size_t row = tensor->n_dims > 0 ? tensor->shape[tensor->n_dims - 1] : 1;
  if (block.elements > 0 &&
      (row % block.elements != 0 ||
       !nk_size_mul(tensor->n_elements / block.elements, block.bytes, &tensor->n_bytes)))
    return nk_fail(NK_EDATA,
                   "%s: tensor '%s': rows of %zu elements do not fit %s, in blocks of %zu", file,
                   tensor->name, row, tensor->dtype_name, block.elements);
  if (tensor->n_bytes > size - place->offset)
    return nk_fail(NK_EDATA, "%s: tensor '%s': needs %zu bytes at %llu, the file has %zu", file,
                   tensor->name, tensor->n_bytes, (unsigned long long)place->offset, size);
  tensor->data = gguf->file->data + data_start + place->offset;
  return NK_OK;
}

static int place_tensors(struct nki_gguf *gguf, const struct reader *reader,
                         const struct place *places) {
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
    code = place_tensor(gguf, &gguf->tensor[i], &places[i], start, (size_t)alignment);
  return code;
}

/* ---- Names ---- */

static int compare_keys(const void *a, const void *b) {
  return strcmp((*(struct nki_gguf_value *const *)a)->key,
                (*(struct nki_gguf_value *const *)b)->key);
}

static int compare_names(const void *a, const void *b) {
  return strcmp((*(struct nk_tensor *const *)a)->name, (*(struct nk_tensor *const *)b)->name);
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
      return duplicate(gguf, gguf->by_name[i]->name);
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

static int read_tensors(struct nki_gguf *gguf, struct reader *reader, uint64_t n_tensors) {
  struct place *places = nk_calloc((size_t)n_tensors, sizeof *places);
  gguf->tensor = nk_calloc((size_t)n_tensors, sizeof *gguf->tensor);
  gguf->type_names = nk_calloc((size_t)n_tensors, sizeof *gguf->type_names);
  int code =
      places != NULL && gguf->tensor != NULL && gguf->type_names != NULL ? NK_OK : NK_EMEMORY;
  while (gguf->n_tensors < n_tensors && code == NK_OK) {
    code = read_tensor(reader, &gguf->tensor[gguf->n_tensors], &places[gguf->n_tensors]);
    gguf->n_tensors++;
  }
  if (code == NK_OK) code = sort_names(gguf);
  if (code == NK_OK) code = place_tensors(gguf, reader, places);
  nk_free(places);
  return code;
}

static int read_all(struct nki_gguf *gguf) {
  struct reader reader = {.name = gguf->file->name, .at = gguf->file->data};
  reader.end = reader.at + gguf->file->size;
  uint64_t n_tensors = 0, n_values = 0;
  int code = read_head(gguf, &reader, &n_tensors, &n_values);
  if (code != NK_OK) return code;
  gguf->value = nk_calloc((size_t)n_values, sizeof *gguf->value);
  if (gguf->value == NULL) return NK_EMEMORY;
  while (gguf->n_values < n_values && code == NK_OK)
    code = read_value(&reader, &gguf->value[gguf->n_values++]);
  if (code == NK_OK) code = sort_keys(gguf);
  return code == NK_OK ? read_tensors(gguf, &reader, n_tensors) : code;
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
  for (size_t i = 0; i < gguf->n_tensors; i++) nk_free((char *)gguf->tensor[i].name);
  nk_free(gguf->value);
  nk_free(gguf->tensor);
  nk_free(gguf->type_names);
  nk_free(gguf->by_key);
  nk_free(gguf->by_name);
  nk_file_free(gguf->file);
  nk_free(gguf);
}

/* ---- By name ---- */

const struct nki_gguf_value *nki_gguf_find(const struct nki_gguf *gguf, const char *key) {
  struct nki_gguf_value wanted = {.key = key}, *pointer = &wanted;
  struct nki_gguf_value **found =
      bsearch(&pointer, gguf->by_key, gguf->n_values, sizeof *gguf->by_key, compare_keys);
  return found != NULL ? *found : NULL;
}

const struct nk_tensor *nki_gguf_find_tensor(const struct nki_gguf *gguf, const char *name) {
  struct nk_tensor wanted = {.name = name}, *pointer = &wanted;
  struct nk_tensor **found =
      bsearch(&pointer, gguf->by_name, gguf->n_tensors, sizeof *gguf->by_name, compare_names);
  return found != NULL ? *found : NULL;
}
