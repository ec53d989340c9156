/* safetensors, reading and writing.
 *
 *   byte 0   header length N, 8 bytes little-endian
 *   byte 8   header, N bytes of JSON, padded with spaces:
 *              {"__metadata__": {"key": "value", ...},
 *               "NAME": {"dtype": "F32", "shape": [3, 4], "data_offsets": [0, 48]}, ...}
 *   8 + N    the tensors' bytes; data_offsets count from here, end exclusive. They have to cover
 *            the rest of the file without a gap or an overlap.
 *
 * Everything in a header is checked here, once: a tensor's shape, n_elements, n_bytes and data are
 * sound afterwards. */
#include "model/safetensors.h"
#include <inttypes.h>
#include <noken/base.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <noken/model.h>
#include "base/json.h"
#include "base/json_scan.h"
#include "model/dtype.h"
#include "model/pairs.h"

/* The format's own limit on the header, and one on the pairs of __metadata__, where files in use
 * have some hundred at most. */
#define MAX_HEADER 100000000u
#define MAX_METADATA 10000u
/* Bytes of the shortest entry: "":{"dtype":"I8","shape":[],"data_offsets":[0,0]} */
#define MIN_ENTRY 49u

struct nki_safetensors {
  struct nk_file *file;
  struct nk_tensor *tensors;        /* [n_tensors] in the order of their bytes */
  const struct nk_tensor **by_name; /* [n_tensors] sorted by name */
  size_t n_tensors;
  struct nk_buffer names;    /* of the tensors, each with a closing 0 */
  struct nki_pairs metadata; /* as in the file */
};

/* ---- Reading: one tensor ---- */

/* The string at scan, which may hold no 0 byte. */
static int read_string(struct nki_scan *scan, struct nk_buffer *out) {
  nk_buffer_clear(out);
  int code = nki_scan_string(scan, out);
  nk_buffer_append(out, "", 1);
  if (code == NK_OK && out->failed) code = nk_fail(NK_EMEMORY, "out of memory");
  if (code == NK_OK && strlen(out->data) + 1 != out->size) {
    code = nki_scan_fail(scan, "a string with a zero byte");
  }
  return code;
}

/* Reads the array of sizes at `scan` into out[most]; *n is how many there were, perhaps more. */
static int read_sizes(struct nki_scan *scan, size_t most, size_t *out, size_t *n) {
  bool first = true;
  int code = nki_scan_expect(scan, '['), more;
  for (*n = 0; code == NK_OK && (more = nki_scan_next(scan, ']', &first)) != 0; ++*n) {
    int64_t value;
    code = more < 0 ? more : nki_scan_integer(scan, &value);
    if (code == NK_OK && value < 0) code = nki_scan_fail(scan, "a negative size");
    if (code == NK_OK && *n < most) out[*n] = (size_t)value;
  }
  return code;
}

/* The name is left in `name`, with its closing 0. A type of another name is not an error here: a
 * file may have such a tensor beside those that are asked for. */
static int read_dtype(struct nki_scan *scan, struct nk_buffer *name, struct nk_tensor *tensor) {
  int code = read_string(scan, name);
  if (code == NK_OK) tensor->dtype = nki_dtype_of_name(name->data, name->size - 1);
  return code;
}

/* Sets n_elements and n_bytes from dtype and shape; n_bytes stays as it is where the dtype does not
 * say. Dimensions of 0 do not hide an overflow of the others: [2^40, 0, 2^40] is no shape. */
static int measure(struct nk_tensor *tensor) {
  bool empty = false;
  size_t product = 1;
  for (size_t i = 0; i < tensor->n_dims; i++) {
    if (tensor->shape[i] == 0) {
      empty = true;
    } else if (!nk_size_mul(product, tensor->shape[i], &product)) {
      return nk_fail(NK_EDATA, "the product of its shape overflows");
    }
  }
  tensor->n_elements = empty ? 0 : product;
  if (tensor->dtype == NK_OTHER) return NK_OK;
  size_t n_bits;
  if (!nk_size_mul(tensor->n_elements, nki_dtype_bits(tensor->dtype), &n_bits))
    return nk_fail(NK_EDATA, "the product of its shape overflows");
  if (n_bits % 8 != 0)
    return nk_fail(NK_EDATA, "%zu elements of dtype %s do not fill whole bytes", tensor->n_elements,
                   nk_dtype_names[tensor->dtype]);
  tensor->n_bytes = n_bits / 8;
  return NK_OK;
}

/* Members of a tensor's entry. */
enum { DTYPE, SHAPE, OFFSETS, N_MEMBERS };
static const char *const members[N_MEMBERS] = {"dtype", "shape", "data_offsets"};

/* One member of the entry, whose key was read: 'seen' counts each of those above. Others are not
 * known, and skipped. */
static int read_member(struct nki_scan *scan, const char *key, struct nk_tensor *tensor,
                       struct nk_buffer *dtype, size_t offsets[2], int seen[N_MEMBERS]) {
  size_t n = 0;
  int member = 0, code;
  while (member < N_MEMBERS && strcmp(key, members[member]) != 0) member++;
  if (member == N_MEMBERS) return nki_scan_skip(scan);
  if (seen[member]++ > 0) return nk_fail(NK_EDATA, "duplicate member '%s'", key);
  if (member == DTYPE) return read_dtype(scan, dtype, tensor);
  if (member == SHAPE) {
    code = read_sizes(scan, NK_MAX_DIMS, tensor->shape, &tensor->n_dims);
    if (code == NK_OK && tensor->n_dims > NK_MAX_DIMS) {
      code = nk_fail(NK_EUNSUPPORTED, "has %zu dimensions, at most %d are supported",
                     tensor->n_dims, NK_MAX_DIMS);
    }
    return code;
  }
  code = read_sizes(scan, 2, offsets, &n);
  if (code == NK_OK && (n != 2 || offsets[0] > offsets[1])) {
    code = nk_fail(NK_EDATA, "'data_offsets' is not [begin, end]");
  }
  return code;
}

/* The entry of a tensor and the name of its dtype; data [size] is what follows the header. */
static int read_tensor(struct nki_scan *scan, const unsigned char *data, size_t size,
                       struct nk_tensor *tensor, struct nk_buffer *dtype) {
  size_t offsets[2] = {0, 0};
  int seen[N_MEMBERS] = {0};
  struct nk_buffer key = {0};
  bool first = true;
  int code = nki_scan_expect(scan, '{'), more;
  while (code == NK_OK && (more = nki_scan_next(scan, '}', &first)) != 0) {
    code = more < 0 ? more : read_string(scan, &key);
    if (code == NK_OK) code = nki_scan_expect(scan, ':');
    if (code == NK_OK) code = read_member(scan, key.data, tensor, dtype, offsets, seen);
  }
  nk_buffer_free(&key);
  if (code != NK_OK) return code;
  for (int member = 0; member < N_MEMBERS; member++) {
    if (seen[member] == 0) return nk_fail(NK_EDATA, "'%s' is missing", members[member]);
  }
  code = measure(tensor);
  if (code != NK_OK) return code;

  size_t begin = offsets[0], end = offsets[1];
  if (end > size) {
    return nk_fail(NK_EDATA, "its bytes end at %zu, but only %zu follow the header", end, size);
  }
  if (tensor->dtype == NK_OTHER) tensor->n_bytes = end - begin;
  if (end - begin != tensor->n_bytes) {
    return nk_fail(NK_EDATA, "dtype and shape need %zu bytes, data_offsets give %zu",
                   tensor->n_bytes, end - begin);
  }
  tensor->data = data + begin;
  return NK_OK;
}

/* ---- Reading: __metadata__ ---- */

static int by_key(const void *a, const void *b) {
  const struct nki_pair *const *x = a, *const *y = b;
  return strcmp((*x)->key, (*y)->key);
}

static int check_keys(const struct nki_pairs *pairs) {
  const struct nki_pair **sorted = nk_alloc(pairs->n, sizeof *sorted);
  int code = sorted != NULL ? NK_OK : NK_EMEMORY;
  for (size_t i = 0; code == NK_OK && i < pairs->n; i++) sorted[i] = &pairs->item[i];
  if (code == NK_OK) qsort(sorted, pairs->n, sizeof *sorted, by_key);
  for (size_t i = 1; code == NK_OK && i < pairs->n; i++) {
    if (strcmp(sorted[i - 1]->key, sorted[i]->key) == 0)
      code = nk_fail(NK_EDATA, "__metadata__: duplicate key '%.200s'", sorted[i]->key);
  }
  nk_free(sorted);
  return code;
}

/* An object of strings, or null: the format's own reader takes that for none. */
static int read_metadata(struct nki_safetensors *st, struct nki_scan *scan) {
  struct nk_buffer key = {0}, value = {0};
  bool first = true;
  if (nki_scan_peek(scan) == 'n') return nki_scan_word(scan, "null");
  int code = nki_scan_expect(scan, '{'), more;
  while (code == NK_OK && (more = nki_scan_next(scan, '}', &first)) != 0) {
    code = more < 0 ? more : read_string(scan, &key);
    if (code == NK_OK) code = nki_scan_expect(scan, ':');
    if (code == NK_OK) code = read_string(scan, &value);
    if (code == NK_OK && st->metadata.n == MAX_METADATA) {
      code = nki_scan_fail(scan, "too many entries of __metadata__");
    }
    if (code == NK_OK) code = nki_pairs_append(&st->metadata, key.data, value.data);
  }
  nk_buffer_free(&key);
  nk_buffer_free(&value);
  return code == NK_OK ? check_keys(&st->metadata) : code;
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

/* How many members the header has: so that the list of tensors need not grow. */
static int count_members(struct nki_scan scan, size_t *n) {
  bool first = true;
  int code = nki_scan_expect(&scan, '{'), more;
  for (*n = 0; code == NK_OK && (more = nki_scan_next(&scan, '}', &first)) != 0; ++*n) {
    code = more < 0 ? more : nki_scan_string(&scan, NULL);
    if (code == NK_OK) code = nki_scan_expect(&scan, ':');
    if (code == NK_OK) code = nki_scan_skip(&scan);
  }
  nki_scan_peek(&scan);
  if (code == NK_OK && scan.at < scan.end) code = nki_scan_fail(&scan, "the end expected");
  return code;
}

/* Where the names of a tensor and of an unknown dtype are in st->names, which still moves. */
struct name_offsets {
  size_t name, dtype;
};

static int read_members(struct nki_safetensors *st, struct nki_scan *scan,
                        const unsigned char *data, size_t size, struct name_offsets *offsets) {
  struct nk_buffer name = {0}, dtype = {0};
  bool first = true, has_metadata = false;
  int code = nki_scan_expect(scan, '{'), more;
  while (code == NK_OK && (more = nki_scan_next(scan, '}', &first)) != 0) {
    code = more < 0 ? more : read_string(scan, &name);
    if (code == NK_OK) code = nki_scan_expect(scan, ':');
    if (code == NK_OK && strcmp(name.data, "__metadata__") == 0) {
      if (has_metadata) code = nki_scan_fail(scan, "a second __metadata__");
      has_metadata = true;
      if (code == NK_OK) code = read_metadata(st, scan);
    } else if (code == NK_OK) {
      struct nk_tensor *tensor = &st->tensors[st->n_tensors];
      struct name_offsets *offset = &offsets[st->n_tensors++];
      offset->name = st->names.size;
      nk_buffer_append(&st->names, name.data, name.size);
      code = read_tensor(scan, data, size, tensor, &dtype);
      if (code != NK_OK) nk_fail_in(code, "tensor '%.200s'", name.data);
      offset->dtype = st->names.size;
      if (tensor->dtype == NK_OTHER) nk_buffer_append(&st->names, dtype.data, dtype.size);
    }
  }
  nk_buffer_free(&name);
  nk_buffer_free(&dtype);
  if (code == NK_OK && st->names.failed) code = nk_fail(NK_EMEMORY, "out of memory");
  return code;
}

/* Puts the tensors in the order of their bytes and makes the list by name. */
static int sort_tensors(struct nki_safetensors *st) {
  qsort(st->tensors, st->n_tensors, sizeof *st->tensors, by_data);
  for (size_t i = 0; i < st->n_tensors; i++) st->by_name[i] = &st->tensors[i];
  qsort(st->by_name, st->n_tensors, sizeof *st->by_name, by_name);
  for (size_t i = 1; i < st->n_tensors; i++) {
    const char *name = st->by_name[i]->name;
    if (strcmp(st->by_name[i - 1]->name, name) == 0)
      return nk_fail(NK_EDATA, "duplicate tensor '%.200s'", name);
  }
  return NK_OK;
}

/* Every byte of data [size] belongs to exactly one tensor. */
static int check_cover(const struct nki_safetensors *st, const unsigned char *data, size_t size) {
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
  return NK_OK;
}

static int read_header(struct nki_safetensors *st, size_t header_size) {
  const unsigned char *data = st->file->data + 8 + header_size;
  size_t size = st->file->size - 8 - header_size, n;
  const char *text = (const char *)st->file->data + 8;
  struct nki_scan scan = {.name = "header", .start = text, .at = text, .end = text + header_size};
  int code = count_members(scan, &n);
  if (code != NK_OK) return code;
  /* No more room than sound entries can need: reading stops at the first that is not. */
  if (n > header_size / MIN_ENTRY + 1) n = header_size / MIN_ENTRY + 1;
  st->tensors = nk_calloc(n, sizeof *st->tensors);
  st->by_name = nk_calloc(n, sizeof *st->by_name);
  struct name_offsets *offsets = nk_calloc(n, sizeof *offsets);
  code = st->tensors != NULL && st->by_name != NULL && offsets != NULL ? NK_OK : NK_EMEMORY;
  if (code == NK_OK) code = read_members(st, &scan, data, size, offsets);
  for (size_t i = 0; code == NK_OK && i < st->n_tensors; i++) {
    struct nk_tensor *tensor = &st->tensors[i];
    tensor->name = st->names.data + offsets[i].name;
    tensor->dtype_name = tensor->dtype == NK_OTHER ? st->names.data + offsets[i].dtype
                                                   : nk_dtype_names[tensor->dtype];
  }
  nk_free(offsets);
  if (code == NK_OK) code = sort_tensors(st);
  return code == NK_OK ? check_cover(st, data, size) : code;
}

/* Whether n bytes are printable ASCII, or end lines: as the size of a header, 2^56 bytes at least.
 */
static bool begins_as_text(const unsigned char *bytes, size_t n) {
  for (size_t i = 0; i < n; i++)
    if ((bytes[i] < 0x20 || bytes[i] > 0x7e) && bytes[i] != '\t' && bytes[i] != '\n' &&
        bytes[i] != '\r')
      return false;
  return true;
}

static int read_file(struct nki_safetensors *st) {
  const struct nk_file *file = st->file;
  uint64_t header_size;
  if (file->size < sizeof header_size) {
    return nk_fail(NK_EDATA, "not a safetensors file: it has only %zu bytes", file->size);
  }
  if (begins_as_text(file->data, sizeof header_size))
    return nk_fail(NK_EDATA, "not a safetensors file, but text");
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
  return read_header(st, (size_t)header_size);
}

struct nki_safetensors *nki_safetensors_read(struct nk_file *file) {
  struct nki_safetensors *st = nk_calloc(1, sizeof *st);
  if (st == NULL) {
    nk_file_free(file);
    return NULL;
  }
  st->file = file;
  int code = read_file(st);
  if (code == NK_OK) return st;
  nk_fail_in(code, "%s", file->name);
  nki_safetensors_free(st);
  return NULL;
}

struct nki_safetensors *nki_safetensors_open(const char *path) {
  struct nk_file *file = nk_file_open(path);
  return file != NULL ? nki_safetensors_read(file) : NULL;
}

void nki_safetensors_free(struct nki_safetensors *st) {
  if (st == NULL) return;
  nk_buffer_free(&st->names);
  nki_pairs_free(&st->metadata);
  nk_free(st->tensors);
  nk_free(st->by_name);
  nk_file_free(st->file);
  nk_free(st);
}

/* ---- Reading: contents ---- */

size_t nki_safetensors_n_tensors(const struct nki_safetensors *st) {
  return st->n_tensors;
}

const struct nk_tensor *nki_safetensors_tensor(const struct nki_safetensors *st, size_t index) {
  return &st->tensors[index];
}

struct nk_tensor *nki_safetensors_writable(struct nki_safetensors *st,
                                           const struct nk_tensor *tensor) {
  for (size_t i = 0; i < st->n_tensors; i++)
    if (&st->tensors[i] == tensor) return &st->tensors[i];
  return NULL;
}

const struct nk_tensor *nki_safetensors_look_up(const struct nki_safetensors *st,
                                                const char *name) {
  const struct nk_tensor wanted = {.name = name}, *key = &wanted;
  const struct nk_tensor **found = bsearch(&key, st->by_name, st->n_tensors, sizeof key, by_name);
  return found != NULL ? *found : NULL;
}

const struct nk_tensor *nki_safetensors_find(const struct nki_safetensors *st, const char *name) {
  const struct nk_tensor *tensor = nki_safetensors_look_up(st, name);
  if (tensor == NULL) nk_fail(NK_ENOTFOUND, "%s: no tensor '%.200s'", st->file->name, name);
  return tensor;
}

int nki_safetensors_metadata(const struct nki_safetensors *st, size_t index, const char **key,
                             const char **value) {
  if (index >= st->metadata.n) return NK_ENOTFOUND;
  *key = st->metadata.item[index].key;
  *value = st->metadata.item[index].value;
  return NK_OK;
}

const char *nki_safetensors_metadata_find(const struct nki_safetensors *st, const char *key) {
  return nki_pairs_find(&st->metadata, key);
}

const struct nk_file *nki_safetensors_file(const struct nki_safetensors *st) {
  return st->file;
}

/* ---- Writing ---- */

struct nki_safetensors_writer {
  struct nk_output *output;
  struct nk_buffer metadata; /* the pairs as JSON, "" or "k":"v",... */
  struct nk_buffer entries;  /* the tensors as JSON */
  struct nk_tensor *tensors; /* [n_tensors] */
  size_t n_tensors, capacity;
  size_t offset; /* where the next tensor's bytes go */
  size_t turn;   /* the tensor being written */
  size_t given;  /* bytes of it that are written */
};

struct nki_safetensors_writer *nki_safetensors_writer_new(struct nk_output *output) {
  struct nki_safetensors_writer *writer = nk_calloc(1, sizeof *writer);
  if (writer != NULL) writer->output = output;
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
  nk_buffer_quote(out, string, n);
  return out->failed ? nk_fail(NK_EMEMORY, "%s: out of memory", what) : NK_OK;
}

int nki_safetensors_writer_metadata(struct nki_safetensors_writer *writer, const char *key,
                                    const char *value) {
  if (writer->metadata.size > 0) nk_buffer_byte(&writer->metadata, ',');
  int code = quote(&writer->metadata, "metadata", key);
  nk_buffer_byte(&writer->metadata, ':');
  return code != NK_OK ? code : quote(&writer->metadata, key, value);
}

int nki_safetensors_writer_add(struct nki_safetensors_writer *writer,
                               const struct nk_tensor *tensor) {
  if (writer->n_tensors == writer->capacity) {
    size_t capacity = writer->capacity > 0 ? 2 * writer->capacity : 16;
    struct nk_tensor *grown =
        nk_realloc(writer->tensors, writer->n_tensors, capacity, sizeof *grown);
    if (grown == NULL) return NK_EMEMORY;
    writer->tensors = grown;
    writer->capacity = capacity;
  }
  struct nk_tensor *own = &writer->tensors[writer->n_tensors];
  *own = *tensor;
  size_t end;
  if (measure(own) != NK_OK || !nk_size_add(writer->offset, own->n_bytes, &end)) {
    return nk_fail(NK_EDATA, "tensor '%s': too large to write", tensor->name);
  }
  struct nk_buffer *json = &writer->entries;
  if (json->size > 0) nk_buffer_byte(json, ',');
  int code = quote(json, "a tensor's name", tensor->name);
  if (code != NK_OK) return code;
  nk_buffer_text(json, ":{\"dtype\":");
  code = quote(json, "a tensor's dtype", nki_tensor_dtype_name(own));
  if (code != NK_OK) return code;
  nk_buffer_text(json, ",\"shape\":[");
  for (size_t i = 0; i < own->n_dims; i++) {
    nk_buffer_printf(json, i == 0 ? "%zu" : ",%zu", own->shape[i]);
  }
  nk_buffer_printf(json, "],\"data_offsets\":[%zu,%zu]}", writer->offset, end);
  own->name = json->failed ? NULL : nk_strdup(tensor->name);
  if (own->name == NULL) {
    return nk_fail(NK_EMEMORY, "tensor '%s': out of memory", tensor->name);
  }
  writer->offset = end;
  writer->n_tensors++;
  return NK_OK;
}

/* Writes the tensors whose turn it is and whose data is at hand, up to the first without. */
static int write_ready(struct nki_safetensors_writer *writer) {
  for (; writer->turn < writer->n_tensors; writer->turn++, writer->given = 0) {
    const struct nk_tensor *tensor = &writer->tensors[writer->turn];
    if (tensor->n_bytes == writer->given) continue; /* streamed to its end, or empty */
    if (tensor->data == NULL) return NK_OK;
    int code = nk_output_write(writer->output, tensor->data, tensor->n_bytes);
    if (code != NK_OK) return code;
  }
  return NK_OK;
}

int nki_safetensors_writer_begin(struct nki_safetensors_writer *writer) {
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
  int code = NK_OK;
  if (header.failed) {
    code = nk_fail(NK_EMEMORY, "safetensors header: out of memory");
  } else if (size > MAX_HEADER) {
    code = nk_fail(NK_EDATA, "a safetensors header may have %u bytes, this one needs %" PRIu64,
                   MAX_HEADER, size);
  }
  if (code == NK_OK) code = nk_output_write(writer->output, &size, sizeof size);
  if (code == NK_OK) code = nk_output_write(writer->output, header.data, header.size);
  nk_buffer_free(&header);
  return code != NK_OK ? code : write_ready(writer);
}

int nki_safetensors_writer_bytes(struct nki_safetensors_writer *writer, const void *bytes,
                                 size_t n) {
  if (n == 0) return NK_OK;
  if (writer->turn == writer->n_tensors) {
    return nk_fail(NK_EUSAGE, "more bytes given than the tensors named hold");
  }
  const struct nk_tensor *tensor = &writer->tensors[writer->turn];
  if (n > tensor->n_bytes - writer->given) {
    return nk_fail(NK_EUSAGE, "tensor '%s': more bytes given than its shape holds", tensor->name);
  }
  int code = nk_output_write(writer->output, bytes, n);
  if (code != NK_OK) return code;
  writer->given += n;
  return writer->given < tensor->n_bytes ? NK_OK : write_ready(writer);
}

int nki_safetensors_writer_finish(struct nki_safetensors_writer *writer) {
  int code = NK_OK;
  if (writer->turn < writer->n_tensors) {
    const struct nk_tensor *tensor = &writer->tensors[writer->turn];
    code = nk_fail(NK_EUSAGE, "tensor '%s': %zu of its %zu bytes were not given", tensor->name,
                   tensor->n_bytes - writer->given, tensor->n_bytes);
  }
  nki_safetensors_writer_free(writer);
  return code;
}

void nki_safetensors_writer_free(struct nki_safetensors_writer *writer) {
  if (writer == NULL) return;
  for (size_t i = 0; i < writer->n_tensors; i++) {
    nk_free((char *)(uintptr_t)writer->tensors[i].name);
  }
  nk_free(writer->tensors);
  nk_buffer_free(&writer->metadata);
  nk_buffer_free(&writer->entries);
  nk_free(writer);
}
