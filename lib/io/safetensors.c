/* safetensors, reading and writing.
 *
 *   byte 0   header length N, 8 bytes little-endian
 *   byte 8   header, N bytes of JSON, padded with spaces:
 *              {"__metadata__": {"key": "value", ...},
 *               "NAME": {"dtype": "F32", "shape": [3, 4], "data_offsets": [0, 48]}, ...}
 *   8 + N    the tensors' bytes; data_offsets count from here, end exclusive. They have to cover
 *            the rest of the file without a gap or an overlap.
 *
 * Everything that a header says is checked here, once: whoever holds a tensor can trust its shape,
 * n_elements, n_bytes and data. */
#include <inttypes.h>
#include <noken/memory.h>
#include <noken/safetensors.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "io/pairs.h"

/* The format's own limit. jansson needs some twenty times the text's size, so it also bounds what a
 * hostile header can cost. */
#define MAX_HEADER 100000000u

struct nk_safetensors {
  struct nk_file *file;
  struct nk_tensor *tensors;        /* [n_tensors] in the order of their bytes */
  const struct nk_tensor **by_name; /* [n_tensors] sorted by name */
  size_t n_tensors;
  struct nki_pairs metadata; /* as in the file */
};

/* ---- Reading: one tensor ---- */

static int read_size(const json_t *value, size_t *out) {
  if (!json_is_integer(value) || json_integer_value(value) < 0) return NK_EDATA;
  *out = (size_t)json_integer_value(value);
  return 0;
}

static int read_shape(const json_t *shape, struct nk_tensor *tensor) {
  if (!json_is_array(shape)) return nk_fail(NK_EDATA, "'shape' is missing or not an array");
  tensor->n_dims = json_array_size(shape);
  if (tensor->n_dims > NK_MAX_DIMS) {
    return nk_fail(NK_EUNSUPPORTED, "has %zu dimensions, at most %d are supported", tensor->n_dims,
                   NK_MAX_DIMS);
  }
  bool empty = false;
  size_t product = 1; /* of the dimensions that are not 0: [2^40, 0, 2^40] is no shape either */
  for (size_t i = 0; i < tensor->n_dims; i++) {
    size_t *length = &tensor->shape[i];
    if (read_size(json_array_get(shape, i), length) != 0) {
      return nk_fail(NK_EDATA, "'shape' holds something other than whole numbers from 0 up");
    }
    if (*length == 0)
      empty = true;
    else if (!nk_size_mul(product, *length, &product))
      return nk_fail(NK_EDATA, "the product of its shape overflows");
  }
  tensor->n_elements = empty ? 0 : product;
  if (!nk_size_mul(tensor->n_elements, nk_dtype_size(tensor->dtype), &tensor->n_bytes)) {
    return nk_fail(NK_EDATA, "the product of its shape overflows");
  }
  return 0;
}

/* data [size] is what follows the header. */
static int read_tensor(const json_t *entry, const unsigned char *data, size_t size,
                       struct nk_tensor *tensor) {
  if (!json_is_object(entry)) return nk_fail(NK_EDATA, "its entry is not an object");
  const json_t *dtype = json_object_get(entry, "dtype");
  if (!json_is_string(dtype)) return nk_fail(NK_EDATA, "'dtype' is missing or not a string");
  int type = nk_dtype_of_name(json_string_value(dtype), json_string_length(dtype));
  if (type < 0) {
    return nk_fail(NK_EUNSUPPORTED, "unknown dtype '%.40s'", json_string_value(dtype));
  }
  tensor->dtype = (enum nk_dtype)type;
  int code = read_shape(json_object_get(entry, "shape"), tensor);
  if (code != 0) return code;

  const json_t *offsets = json_object_get(entry, "data_offsets");
  size_t begin, end;
  if (json_array_size(offsets) != 2 || read_size(json_array_get(offsets, 0), &begin) != 0 ||
      read_size(json_array_get(offsets, 1), &end) != 0 || begin > end) {
    return nk_fail(NK_EDATA, "'data_offsets' is not [begin, end]");
  }
  if (end > size) {
    return nk_fail(NK_EDATA, "its bytes end at %zu, but only %zu follow the header", end, size);
  }
  if (end - begin != tensor->n_bytes) {
    return nk_fail(NK_EDATA, "dtype and shape need %zu bytes, data_offsets give %zu",
                   tensor->n_bytes, end - begin);
  }
  tensor->data = data + begin;
  return 0;
}

/* ---- Reading: the header ---- */

static int by_data(const void *a, const void *b) {
  const struct nk_tensor *x = a, *y = b;
  uintptr_t p = (uintptr_t)x->data, q = (uintptr_t)y->data;
  if (p != q) return p < q ? -1 : 1;
  if (x->n_bytes != y->n_bytes) return x->n_bytes < y->n_bytes ? -1 : 1; /* empty ones first */
  return strcmp(x->name, y->name);
}

static int by_name(const void *a, const void *b) {
  const struct nk_tensor *const *x = a, *const *y = b;
  return strcmp((*x)->name, (*y)->name);
}

static int read_metadata(struct nk_safetensors *st, json_t *object) {
  if (!json_is_object(object)) return nk_fail(NK_EDATA, "__metadata__ is not an object");
  const char *key;
  json_t *value;
  json_object_foreach(object, key, value) {
    if (!json_is_string(value)) {
      return nk_fail(NK_EDATA, "__metadata__: '%.80s' is not a string", key);
    }
    int code = nki_pairs_append(&st->metadata, key, json_string_value(value));
    if (code != 0) return code;
  }
  return 0;
}

/* Every byte of data [size] belongs to exactly one tensor. */
static int check_cover(const struct nk_safetensors *st, const unsigned char *data, size_t size) {
  size_t end = 0;
  for (size_t i = 0; i < st->n_tensors; i++) {
    const struct nk_tensor *tensor = &st->tensors[i];
    size_t begin = (size_t)((const unsigned char *)tensor->data - data);
    if (begin != end) {
      return nk_fail(NK_EDATA,
                     begin < end ? "tensor '%.200s': overlaps '%.200s'"
                                 : "tensor '%.200s': a gap lies before it, after '%.200s'",
                     tensor->name, i == 0 ? "the header" : st->tensors[i - 1].name);
    }
    end = begin + tensor->n_bytes;
  }
  if (end < size) {
    return nk_fail(NK_EDATA, "%zu bytes at the end belong to no tensor", size - end);
  }
  return 0;
}

static int read_header(struct nk_safetensors *st, json_t *header, size_t header_size) {
  if (!json_is_object(header)) return nk_fail(NK_EDATA, "the header is not a JSON object");
  const unsigned char *data = st->file->data + 8 + header_size;
  size_t size = st->file->size - 8 - header_size;
  size_t n = json_object_size(header);
  st->tensors = nk_calloc(n, sizeof *st->tensors);
  st->by_name = nk_calloc(n, sizeof *st->by_name);
  if (!st->tensors || !st->by_name) return NK_EMEMORY;

  const char *name;
  json_t *entry;
  json_object_foreach(header, name, entry) {
    int code;
    if (strcmp(name, "__metadata__") == 0) {
      code = read_metadata(st, entry);
      if (code != 0) return code;
      continue;
    }
    struct nk_tensor *tensor = &st->tensors[st->n_tensors++];
    if (!(tensor->name = nk_strdup(name))) return NK_EMEMORY;
    code = read_tensor(entry, data, size, tensor);
    if (code != 0) return nk_fail_in(code, "tensor '%.200s'", name);
  }
  qsort(st->tensors, st->n_tensors, sizeof *st->tensors, by_data);
  for (size_t i = 0; i < st->n_tensors; i++) st->by_name[i] = &st->tensors[i];
  qsort(st->by_name, st->n_tensors, sizeof *st->by_name, by_name);
  return check_cover(st, data, size);
}

static int read_file(struct nk_safetensors *st) {
  const struct nk_file *file = st->file;
  uint64_t header_size;
  if (file->size < sizeof header_size) {
    return nk_fail(NK_EDATA, "not a safetensors file: it has only %zu bytes", file->size);
  }
  memcpy(&header_size, file->data, sizeof header_size);
  if (header_size > file->size - 8) {
    return nk_fail(NK_EDATA,
                   "not a safetensors file, or cut short: its header needs %" PRIu64
                   " bytes, the file has %zu",
                   header_size, file->size);
  }
  if (header_size > MAX_HEADER) {
    return nk_fail(NK_EDATA, "its header of %" PRIu64 " bytes is over the format's limit of %u",
                   header_size, MAX_HEADER);
  }
  json_t *header =
      nki_json_parse("header", file->data + 8, (size_t)header_size, JSON_REJECT_DUPLICATES);
  if (!header) return nk_error_code();
  int code = read_header(st, header, (size_t)header_size);
  json_decref(header);
  return code;
}

struct nk_safetensors *nk_safetensors_read(struct nk_file *file) {
  struct nk_safetensors *st = nk_calloc(1, sizeof *st);
  if (!st) {
    nk_file_close(file);
    return NULL;
  }
  st->file = file;
  int code = read_file(st);
  if (code == 0) return st;
  nk_fail_in(code, "%s", file->name);
  nk_safetensors_close(st);
  return NULL;
}

struct nk_safetensors *nk_safetensors_open(const char *path) {
  struct nk_file *file = nk_file_open(path);
  return file ? nk_safetensors_read(file) : NULL;
}

void nk_safetensors_close(struct nk_safetensors *st) {
  if (!st) return;
  for (size_t i = 0; i < st->n_tensors; i++) nk_free((char *)(uintptr_t)st->tensors[i].name);
  nki_pairs_free(&st->metadata);
  nk_free(st->tensors);
  nk_free(st->by_name);
  nk_file_close(st->file);
  nk_free(st);
}

/* ---- Reading: what it holds ---- */

size_t nk_safetensors_count(const struct nk_safetensors *st) {
  return st->n_tensors;
}

const struct nk_tensor *nk_safetensors_tensor(const struct nk_safetensors *st, size_t index) {
  return &st->tensors[index];
}

const struct nk_tensor *nk_safetensors_find(const struct nk_safetensors *st, const char *name) {
  const struct nk_tensor wanted = {.name = name}, *key = &wanted;
  const struct nk_tensor **found = bsearch(&key, st->by_name, st->n_tensors, sizeof key, by_name);
  if (found) return *found;
  nk_fail(NK_ENOTFOUND, "%s: no tensor '%.200s'", st->file->name, name);
  return NULL;
}

int nk_safetensors_metadata(const struct nk_safetensors *st, size_t index, const char **key,
                            const char **value) {
  if (index >= st->metadata.n) return NK_ENOTFOUND;
  *key = st->metadata.item[index].key;
  *value = st->metadata.item[index].value;
  return 0;
}

const char *nk_safetensors_metadata_find(const struct nk_safetensors *st, const char *key) {
  return nki_pairs_find(&st->metadata, key);
}

const struct nk_file *nk_safetensors_file(const struct nk_safetensors *st) {
  return st->file;
}

/* ---- Writing ---- */

struct nk_safetensors_writer {
  struct nk_output *output;
  struct nk_buffer metadata; /* the pairs as JSON, "" or "k":"v",... */
  struct nk_buffer entries;  /* the tensors as JSON */
  struct nk_tensor *tensors; /* [n_tensors] */
  size_t n_tensors, capacity;
  size_t offset; /* where the next tensor's bytes go */
  size_t turn;   /* the tensor being written */
  size_t given;  /* bytes of it that are written */
};

struct nk_safetensors_writer *nk_safetensors_writer_new(struct nk_output *output) {
  struct nk_safetensors_writer *writer = nk_calloc(1, sizeof *writer);
  if (writer) writer->output = output;
  return writer;
}

/* A JSON string; what is not valid UTF-8 cannot be one. */
static int quote(struct nk_buffer *out, const char *what, const char *string) {
  size_t n = strlen(string);
  for (size_t i = 0, length; i < n; i += length) {
    length = nk_utf8_length(string + i, n - i);
    if (length == 0) {
      return nk_fail(NK_EDATA, "%s: byte %zu is not valid UTF-8, which safetensors needs", what, i);
    }
  }
  nki_json_quote(out, string, n);
  return out->failed ? nk_fail(NK_EMEMORY, "%s: out of memory", what) : 0;
}

int nk_safetensors_writer_metadata(struct nk_safetensors_writer *writer, const char *key,
                                   const char *value) {
  if (writer->metadata.size > 0) nk_buffer_byte(&writer->metadata, ',');
  int code = quote(&writer->metadata, "metadata", key);
  nk_buffer_byte(&writer->metadata, ':');
  return code != 0 ? code : quote(&writer->metadata, key, value);
}

/* Fills in n_elements and n_bytes; false on overflow. */
static bool measure(struct nk_tensor *tensor) {
  tensor->n_elements = 1;
  for (size_t i = 0; i < tensor->n_dims; i++) {
    if (!nk_size_mul(tensor->n_elements, tensor->shape[i], &tensor->n_elements)) return false;
  }
  return nk_size_mul(tensor->n_elements, nk_dtype_size(tensor->dtype), &tensor->n_bytes);
}

int nk_safetensors_writer_add(struct nk_safetensors_writer *writer,
                              const struct nk_tensor *tensor) {
  if (writer->n_tensors == writer->capacity) {
    size_t capacity = writer->capacity ? 2 * writer->capacity : 16;
    struct nk_tensor *grown =
        nk_realloc(writer->tensors, writer->n_tensors, capacity, sizeof *grown);
    if (!grown) return NK_EMEMORY;
    writer->tensors = grown;
    writer->capacity = capacity;
  }
  struct nk_tensor *own = &writer->tensors[writer->n_tensors];
  *own = *tensor;
  size_t end;
  if (!measure(own) || !nk_size_add(writer->offset, own->n_bytes, &end)) {
    return nk_fail(NK_EDATA, "tensor '%s': too large to write", tensor->name);
  }
  struct nk_buffer *json = &writer->entries;
  if (json->size > 0) nk_buffer_byte(json, ',');
  int code = quote(json, "a tensor's name", tensor->name);
  if (code != 0) return code;
  nk_buffer_printf(json, ":{\"dtype\":\"%s\",\"shape\":[", nk_dtype_name(own->dtype));
  for (size_t i = 0; i < own->n_dims; i++) {
    nk_buffer_printf(json, i == 0 ? "%zu" : ",%zu", own->shape[i]);
  }
  nk_buffer_printf(json, "],\"data_offsets\":[%zu,%zu]}", writer->offset, end);
  if (json->failed || !(own->name = nk_strdup(tensor->name))) {
    return nk_fail(NK_EMEMORY, "tensor '%s': out of memory", tensor->name);
  }
  writer->offset = end;
  writer->n_tensors++;
  return 0;
}

/* Writes the tensors whose turn it is and whose data is at hand, up to the first without. */
static int write_ready(struct nk_safetensors_writer *writer) {
  for (; writer->turn < writer->n_tensors; writer->turn++, writer->given = 0) {
    const struct nk_tensor *tensor = &writer->tensors[writer->turn];
    if (tensor->n_bytes == writer->given) continue; /* streamed to its end, or empty */
    if (!tensor->data) return 0;
    int code = nk_output_write(writer->output, tensor->data, tensor->n_bytes);
    if (code != 0) return code;
  }
  return 0;
}

int nk_safetensors_writer_begin(struct nk_safetensors_writer *writer) {
  struct nk_buffer header = {0};
  nk_buffer_byte(&header, '{');
  if (writer->metadata.size > 0) {
    nk_buffer_text(&header, "\"__metadata__\":{");
    nk_buffer_append(&header, writer->metadata.data, writer->metadata.size);
    nk_buffer_text(&header, writer->n_tensors > 0 ? "}," : "}");
  }
  nk_buffer_append(&header, writer->entries.data, writer->entries.size);
  nk_buffer_byte(&header, '}');
  while (header.size % 8 != 0 && !header.failed) nk_buffer_byte(&header, ' ');
  uint64_t size = header.size;
  int code = 0;
  if (header.failed) {
    code = nk_fail(NK_EMEMORY, "safetensors header: out of memory");
  } else if (size > MAX_HEADER) {
    code = nk_fail(NK_EDATA, "a safetensors header may have %u bytes, this one needs %" PRIu64,
                   MAX_HEADER, size);
  }
  if (code == 0) code = nk_output_write(writer->output, &size, sizeof size);
  if (code == 0) code = nk_output_write(writer->output, header.data, header.size);
  nk_buffer_free(&header);
  return code != 0 ? code : write_ready(writer);
}

int nk_safetensors_writer_bytes(struct nk_safetensors_writer *writer, const void *bytes, size_t n) {
  if (n == 0) return 0;
  if (writer->turn == writer->n_tensors) {
    return nk_fail(NK_EUSAGE, "more bytes given than the tensors named hold");
  }
  const struct nk_tensor *tensor = &writer->tensors[writer->turn];
  if (n > tensor->n_bytes - writer->given) {
    return nk_fail(NK_EUSAGE, "tensor '%s': more bytes given than its shape holds", tensor->name);
  }
  int code = nk_output_write(writer->output, bytes, n);
  if (code != 0) return code;
  writer->given += n;
  return writer->given < tensor->n_bytes ? 0 : write_ready(writer);
}

int nk_safetensors_writer_finish(struct nk_safetensors_writer *writer) {
  int code = 0;
  if (writer->turn < writer->n_tensors) {
    const struct nk_tensor *tensor = &writer->tensors[writer->turn];
    code = nk_fail(NK_EUSAGE, "tensor '%s': %zu of its %zu bytes were not given", tensor->name,
                   tensor->n_bytes - writer->given, tensor->n_bytes);
  }
  nk_safetensors_writer_free(writer);
  return code;
}

void nk_safetensors_writer_free(struct nk_safetensors_writer *writer) {
  if (!writer) return;
  for (size_t i = 0; i < writer->n_tensors; i++) {
    nk_free((char *)(uintptr_t)writer->tensors[i].name);
  }
  nk_free(writer->tensors);
  nk_buffer_free(&writer->metadata);
  nk_buffer_free(&writer->entries);
  nk_free(writer);
}
