/* Hidden states that other programs saved, as a vector set, without holding either in memory: rows
 * are read and written in the order of nk-run's, by context, position and layer, whatever the order
 * of the axes is. */
#include <math.h>
#include <noken/base.h>
#include <noken/vectors.h>
#include <stdint.h>
#include <stdio.h>
#include "base/error.h"
#include "base/file.h"
#include "io/states_layout.h"
#include "io/vectors.h"
#include "model/dtype.h"

/* Floats of a block: 1 MiB, which the caches still hold when it is written. */
enum { BLOCK = 1 << 18 };

struct states {
  struct nki_states_layout *files; /* [n_files] */
  size_t n_files;
  float *block; /* [most, dim] */
  size_t most;
  size_t n; /* rows in it */
  bool warned;
};

static void free_states(void *source) {
  struct states *s = source;
  if (s == NULL) return;
  for (size_t i = 0; s->files != NULL && i < s->n_files; i++) nki_states_layout_free(&s->files[i]);
  nk_free(s->files);
  nk_free(s->block);
  nk_free(s);
}

/* Whether position p of context b is a token's, not padding. */
static bool is_kept(const struct nki_states_layout *l, size_t b, size_t p) {
  return l->mask == NULL || nki_element_integer(l->mask->dtype, l->mask->data,
                                                b * l->mask_stride[0] + p * l->mask_stride[1]) != 0;
}

/* ---- The values ---- */

static void warn_of_range(struct states *s, const struct nki_states_layout *l,
                          const struct nk_tensor *t, size_t first, const float *row) {
  size_t stride = l->stride[NKI_DIM];
  for (size_t j = 0; j < l->size[NKI_DIM] && !s->warned; j++) {
    double value = isinf(row[j]) ? nki_element_number(t->dtype, t->data, first + j * stride) : 0;
    if (value == 0 || isinf(value)) continue;
    s->warned = true;
    nk_warn("%s: array '%s': %.9g is beyond the range of a float: it is written as an infinity",
            l->arrays.file->name, t->name, value);
  }
}

static int read_state(struct states *s, const struct nki_states_layout *l,
                      const struct nki_states_layer *layer, size_t b, size_t p) {
  const struct nk_tensor *tensor = layer->tensor;
  size_t first = nki_states_element(l, layer, b, p), dim = l->size[NKI_DIM];
  float *row = s->block + s->n++ * dim;
  int code = NK_OK;
  if (l->stride[NKI_DIM] == 1) {
    const unsigned char *bytes = tensor->data;
    code = nki_widen(tensor->dtype, bytes + first * nki_dtype_size(tensor->dtype), dim, row);
  } else {
    for (size_t j = 0; j < dim; j++)
      row[j] =
          (float)nki_element_number(tensor->dtype, tensor->data, first + j * l->stride[NKI_DIM]);
  }
  if (code == NK_OK && tensor->dtype == NK_F64) warn_of_range(s, l, tensor, first, row);
  return code;
}

/* Positions [first, end) of context b were read. */
static void forget(const struct nki_states_layout *l, size_t b, size_t first, size_t end) {
  if (l->stride[NKI_DIM] != 1 || l->stride[NKI_POSITIONS] < l->size[NKI_DIM]) return;
  for (size_t i = 0; i < l->n_layers; i++) {
    const struct nki_states_layer *layer = &l->layers[i];
    size_t size = nki_dtype_size(layer->tensor->dtype);
    size_t from = nki_states_element(l, layer, b, first) * size;
    size_t to = (nki_states_element(l, layer, b, end - 1) + l->size[NKI_DIM]) * size;
    const unsigned char *data = layer->tensor->data;
    nki_file_forget(l->arrays.file, (size_t)(data - l->arrays.file->data) + from, to - from);
  }
}

static int flush(struct states *s, const struct nki_states_layout *l,
                 struct nki_safetensors_writer *writer) {
  int code =
      nki_safetensors_writer_bytes(writer, s->block, s->n * l->size[NKI_DIM] * sizeof(float));
  s->n = 0;
  return code;
}

static int write_context(struct states *s, const struct nki_states_layout *l, size_t b,
                         struct nki_safetensors_writer *writer) {
  size_t n = l->size[NKI_POSITIONS], fresh = 0; /* the first position that is not forgotten */
  int code = NK_OK;
  for (size_t p = 0; p < n && code == NK_OK; p++) {
    for (size_t i = 0; is_kept(l, b, p) && i < l->n_layers && code == NK_OK; i++) {
      code = read_state(s, l, &l->layers[i], b, p);
      if (code == NK_OK && s->n == s->most) code = flush(s, l, writer);
    }
    if ((p + 1 - fresh) * l->n_layers < s->most && p + 1 < n) continue;
    forget(l, b, fresh, p + 1);
    fresh = p + 1;
  }
  return code;
}

static int write_rows(struct nki_safetensors_writer *writer, void *source) {
  struct states *s = source;
  int code = NK_OK;
  for (size_t f = 0; f < s->n_files && code == NK_OK; f++) {
    const struct nki_states_layout *l = &s->files[f];
    code = nk_progress("files", f, s->n_files);
    for (size_t b = 0; b < l->size[NKI_BATCH] && code == NK_OK; b++)
      code = write_context(s, l, b, writer);
  }
  if (code == NK_OK && s->n > 0) code = flush(s, &s->files[0], writer);
  return code == NK_OK ? nk_progress("files", s->n_files, s->n_files) : code;
}

/* ---- The set ---- */

static int open_files(struct states *s, const char *const *paths, size_t n,
                      const struct nk_states_options *options) {
  s->files = nk_calloc(n, sizeof *s->files);
  if (s->files == NULL) return NK_EMEMORY;
  for (size_t f = 0; f < n; f++) {
    int code = nki_states_layout_read(paths[f], options, &s->files[f]);
    if (code != NK_OK) return code;
    s->n_files++;
    size_t dim = s->files[f].size[NKI_DIM], expected = s->files[0].size[NKI_DIM];
    if (dim != expected)
      return nk_fail(NK_EDATA, "%s: states of %zu values, expected %zu as in %s",
                     s->files[f].arrays.file->name, dim, expected, s->files[0].arrays.file->name);
  }
  size_t dim = s->files[0].size[NKI_DIM];
  s->most = dim < BLOCK ? BLOCK / dim : 1;
  s->block = nk_alloc(s->most, dim * sizeof *s->block);
  return s->block != NULL ? NK_OK : NK_EMEMORY;
}

/* Rows of a file: at most as many as it has elements. */
static size_t count_rows(const struct nki_states_layout *l) {
  size_t n = 0;
  for (size_t b = 0; b < l->size[NKI_BATCH]; b++)
    for (size_t p = 0; p < l->size[NKI_POSITIONS]; p++) n += is_kept(l, b, p);
  return n * l->n_layers;
}

enum { CONTEXT, POSITION, TOKEN, LAYER, N_COLUMNS };
static const char *const column_names[N_COLUMNS] = {"context", "position", "token", "layer"};

/* Rows of context b, the set's context `context`; positions count from 0 after the padding. */
static size_t fill(const struct nki_states_layout *l, size_t b, int64_t context, size_t row,
                   struct nk_column *const *columns) {
  int64_t position = 0;
  for (size_t p = 0; p < l->size[NKI_POSITIONS]; p++) {
    if (!is_kept(l, b, p)) continue;
    for (size_t i = 0; i < l->n_layers; i++, row++) {
      columns[CONTEXT]->data.integer[row] = context;
      columns[POSITION]->data.integer[row] = position;
      if (columns[TOKEN] != NULL)
        columns[TOKEN]->data.integer[row] = nki_element_integer(
            l->tokens->dtype, l->tokens->data, b * l->tokens_stride[0] + p * l->tokens_stride[1]);
      columns[LAYER]->data.integer[row] = l->layers[i].number;
    }
    position++;
  }
  return row;
}

static int set_columns(const struct states *s, struct nk_vectors *set) {
  struct nk_column *columns[N_COLUMNS] = {NULL};
  bool tokens = true;
  size_t row = 0;
  int64_t context = 0;
  for (size_t f = 0; f < s->n_files; f++) tokens = tokens && s->files[f].tokens != NULL;
  for (int c = 0; c < N_COLUMNS; c++) /* adding one may move the others */
    if ((c != TOKEN || tokens) && nki_vectors_append_column(set, column_names[c], NK_I64) == NULL)
      return nk_error_code();
  for (size_t c = 0, k = 0; c < N_COLUMNS; c++)
    if (c != TOKEN || tokens) columns[c] = &set->columns[k++];
  for (size_t f = 0; f < s->n_files; f++)
    for (size_t b = 0; b < s->files[f].size[NKI_BATCH]; b++)
      row = fill(&s->files[f], b, context++, row, columns);
  for (size_t i = 0; tokens && i < set->n; i++) set->ids[i] = columns[TOKEN]->data.integer[i];
  return NK_OK;
}

/* residual:L where all rows are of a layer, else residual. */
static int set_space(const struct states *s, struct nk_vectors *set) {
  char space[48] = "residual";
  bool one = true;
  int64_t number = s->files[0].layers[0].number;
  for (size_t f = 0; f < s->n_files; f++)
    for (size_t i = 0; i < s->files[f].n_layers; i++)
      one = one && s->files[f].layers[i].number == number;
  if (one) snprintf(space, sizeof space, "residual:%lld", (long long)number);
  return nk_vectors_set_metadata(set, "noken.space", space);
}

struct nk_vectors *nk_states_begin(const char *const *paths, size_t n,
                                   const struct nk_states_options *options) {
  static const struct nk_states_options defaults = {0};
  struct nk_vectors *set = NULL;
  struct states *s = NULL;
  size_t n_rows = 0;
  if (paths == NULL || n == 0) {
    nk_fail(NK_EUSAGE, "no file of states is given");
    return NULL;
  }
  s = nk_calloc(1, sizeof *s);
  int code =
      s != NULL ? open_files(s, paths, n, options != NULL ? options : &defaults) : NK_EMEMORY;
  for (size_t f = 0; code == NK_OK && f < n; f++)
    if (!nk_size_add(n_rows, count_rows(&s->files[f]), &n_rows)) code = NK_EMEMORY;
  if (code == NK_OK) set = nk_vectors_new(n_rows, s->files[0].size[NKI_DIM], NULL, true);
  if (set == NULL) {
    free_states(s);
    return NULL;
  }
  set->hidden->write_rows = write_rows;
  set->hidden->source_of_rows = s;
  set->hidden->free_rows = free_states;
  code = set_columns(s, set);
  if (code == NK_OK) code = set_space(s, set);
  if (code == NK_OK) return set;
  nk_vectors_free(set);
  return NULL;
}
