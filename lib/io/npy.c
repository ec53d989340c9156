/* NumPy's .npy (format versions 1.0 to 3.0):
 *
 *   "\x93NUMPY"  major, minor version (a byte each)
 *   header length: 2 bytes little-endian in version 1, 4 from version 2 on
 *   header: a Python literal, padded with spaces and ended by a newline:
 *     {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
 *   the elements */
#include "io/npy.h"
#include <noken/base.h>
#include <noken/model.h>
#include <string.h>
#include "model/dtype.h"

static const char magic[6] = "\x93NUMPY";

/* NumPy's name of a type, without its byte order. */
static const struct {
  char descr[3];
  enum nk_dtype dtype;
} descrs[] = {
    {"f4", NK_F32}, {"f2", NK_F16}, {"f8", NK_F64}, {"i8", NK_I64}, {"i4", NK_I32}, {"i2", NK_I16},
    {"i1", NK_I8},  {"u8", NK_U64}, {"u4", NK_U32}, {"u2", NK_U16}, {"u1", NK_U8},  {"b1", NK_BOOL},
};
enum { N_DESCRS = sizeof descrs / sizeof *descrs };

bool nki_npy_is(const struct nk_file *file) {
  return file->size >= sizeof magic && memcmp(file->data, magic, sizeof magic) == 0;
}

/* ---- The header's literal ---- */

struct cursor {
  const char *at, *end;
};

static void skip_spaces(struct cursor *c) {
  while (c->at < c->end && strchr(" \t\r\n", *c->at) != NULL && *c->at != 0) c->at++;
}

/* Takes the next character, after spaces, if it is `wanted`. */
static bool take(struct cursor *c, char wanted) {
  skip_spaces(c);
  if (c->at == c->end || *c->at != wanted) return false;
  c->at++;
  return true;
}

static bool take_word(struct cursor *c, const char *word) {
  size_t n = strlen(word);
  skip_spaces(c);
  if ((size_t)(c->end - c->at) < n || memcmp(c->at, word, n) != 0) return false;
  c->at += n;
  return true;
}

/* A quoted string without escapes: text[0..n). */
static bool take_string(struct cursor *c, const char **text, size_t *n) {
  char quote = take(c, '\'') ? '\'' : take(c, '"') ? '"' : 0;
  if (quote == 0) return false;
  *text = c->at;
  while (c->at < c->end && *c->at != quote) c->at++;
  *n = (size_t)(c->at - *text);
  return take(c, quote);
}

static bool take_size(struct cursor *c, size_t *out) {
  skip_spaces(c);
  const char *start = c->at;
  for (*out = 0; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++) {
    if (!nk_size_mul(*out, 10, out) || !nk_size_add(*out, (size_t)(*c->at - '0'), out))
      return false;
  }
  take(c, 'L'); /* the suffix of Python 2's long integers */
  return c->at > start;
}

static int read_descr(struct cursor *c, struct nk_tensor *tensor) {
  const char *text;
  size_t n;
  if (!take_string(c, &text, &n)) {
    return nk_fail(NK_EUNSUPPORTED, "structured dtype, expected numbers");
  }
  if (n >= 2 && text[0] == '|' && text[1] == 'O') {
    return nk_fail(NK_EUNSUPPORTED,
                   "an array of Python objects (dtype object), where numbers are "
                   "needed");
  }
  for (int i = 0; i < N_DESCRS; i++) {
    if (n != 3 || memcmp(text + 1, descrs[i].descr, 2) != 0) continue;
    tensor->dtype = descrs[i].dtype;
    if (strchr("<|=", text[0]) != NULL) return NK_OK;
    return nk_fail(NK_EUNSUPPORTED, "dtype '%.3s' is big-endian, expected little-endian", text);
  }
  return nk_fail(NK_EUNSUPPORTED, "dtype '%.*s' is not supported", n < 40 ? (int)n : 40, text);
}

static int read_npy_shape(struct cursor *c, struct nk_tensor *tensor) {
  if (!take(c, '(')) return nk_fail(NK_EDATA, "'shape' is not a tuple");
  tensor->n_dims = 0;
  tensor->n_elements = 1;
  while (!take(c, ')')) {
    size_t length;
    if (!take_size(c, &length)) return nk_fail(NK_EDATA, "'shape' is not a tuple of numbers");
    if (tensor->n_dims == NK_MAX_DIMS) {
      return nk_fail(NK_EUNSUPPORTED, "has more than %d dimensions", NK_MAX_DIMS);
    }
    tensor->shape[tensor->n_dims++] = length;
    if (!nk_size_mul(tensor->n_elements, length, &tensor->n_elements)) {
      return nk_fail(NK_EDATA, "the product of the shape overflows");
    }
    take(c, ',');
  }
  return NK_OK;
}

static int read_header(struct cursor *c, struct nk_tensor *tensor, bool *fortran_order) {
  bool has_descr = false, has_order = false, has_shape = false;
  int code = NK_OK;
  if (!take(c, '{')) return nk_fail(NK_EDATA, "the header is not a dictionary");
  while (!take(c, '}')) {
    const char *key;
    size_t n;
    if (!take_string(c, &key, &n) || !take(c, ':')) {
      return nk_fail(NK_EDATA, "the header is not a dictionary");
    }
    if (n == 5 && memcmp(key, "descr", n) == 0) {
      code = read_descr(c, tensor);
      has_descr = true;
    } else if (n == 5 && memcmp(key, "shape", n) == 0) {
      code = read_npy_shape(c, tensor);
      has_shape = true;
    } else if (n == 13 && memcmp(key, "fortran_order", n) == 0) {
      *fortran_order = take_word(c, "True");
      if (!*fortran_order && !take_word(c, "False"))
        code = nk_fail(NK_EDATA, "'fortran_order' is neither True nor False");
      has_order = true;
    } else {
      code = nk_fail(NK_EDATA, "unknown key '%.*s' in the header", n < 40 ? (int)n : 40, key);
    }
    if (code != NK_OK) return code;
    take(c, ',');
  }
  if (has_descr && has_order && has_shape) return NK_OK;
  return nk_fail(NK_EDATA, "the header lacks 'descr', 'fortran_order' or 'shape'");
}

/* ---- The file ---- */

static int read_file(const struct nk_file *file, struct nk_tensor *tensor, bool *fortran_order) {
  if (!nki_npy_is(file)) return nk_fail(NK_EDATA, "not a .npy file");
  if (file->size < 12) return nk_fail(NK_EDATA, "the file ends within the header");
  unsigned major = file->data[6];
  if (major < 1 || major > 3) {
    return nk_fail(NK_EUNSUPPORTED, ".npy version %u.%u is not supported", major, file->data[7]);
  }
  size_t start = major == 1 ? 10 : 12, length = 0;
  memcpy(&length, file->data + 8, start - 8);
  if (length > file->size - start) return nk_fail(NK_EDATA, "the file ends within the header");
  struct cursor c = {(const char *)file->data + start, (const char *)file->data + start + length};
  int code = read_header(&c, tensor, fortran_order);
  if (code != NK_OK) return code;
  start += length;
  if (!nk_size_mul(tensor->n_elements, nki_dtype_size(tensor->dtype), &tensor->n_bytes)) {
    return nk_fail(NK_EDATA, "the product of the shape overflows");
  }
  if (tensor->n_bytes != file->size - start) {
    return nk_fail(NK_EDATA, "dtype and shape need %zu bytes, the file has %zu after the header",
                   tensor->n_bytes, file->size - start);
  }
  tensor->data = file->data + start;
  tensor->name = file->name;
  return NK_OK;
}

int nki_npy_read(const struct nk_file *file, struct nk_tensor *tensor, bool *fortran_order) {
  int code = read_file(file, tensor, fortran_order);
  return code == NK_OK ? NK_OK : nk_fail_in(code, "%s", file->name);
}

int nki_npy_write_header(struct nk_output *output, enum nk_dtype dtype, size_t n_dims,
                         const size_t *shape) {
  const char *descr = NULL;
  for (int i = 0; i < N_DESCRS; i++) {
    if (descrs[i].dtype == dtype) descr = descrs[i].descr;
  }
  if (descr == NULL) return nk_fail(NK_EUNSUPPORTED, ".npy has no type %s", nk_dtype_names[dtype]);
  struct nk_buffer header = {0};
  nk_buffer_printf(&header, "{'descr': '%s%s', 'fortran_order': False, 'shape': (",
                   nki_dtype_size(dtype) == 1 ? "|" : "<", descr);
  for (size_t i = 0; i < n_dims; i++) {
    nk_buffer_printf(&header, i + 1 < n_dims ? "%zu, " : n_dims == 1 ? "%zu," : "%zu", shape[i]);
  }
  nk_buffer_text(&header, "), }");
  while ((header.size + 11) % 64 != 0 && !header.failed) nk_buffer_byte(&header, ' ');
  nk_buffer_byte(&header, '\n');
  int code = header.failed ? nk_fail(NK_EMEMORY, ".npy header: out of memory") : NK_OK;
  uint16_t length = (uint16_t)header.size; /* at most NK_MAX_DIMS numbers: far below 65536 */
  if (code == NK_OK) code = nk_output_write(output, magic, sizeof magic);
  if (code == NK_OK) code = nk_output_write(output, "\x01\x00", 2);
  if (code == NK_OK) code = nk_output_write(output, &length, 2);
  if (code == NK_OK) code = nk_output_write(output, header.data, header.size);
  nk_buffer_free(&header);
  return code;
}
