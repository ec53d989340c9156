/* From a model's file to a vector set without holding either in memory. */
#include <noken/base.h>
#include <noken/model.h>
#include <noken/vectors.h>
#include "base/error.h"
#include "io/vectors.h"
#include "model/dtype.h"
#include "model/rows.h"
#include "model/safetensors.h"

/* Floats of a block: 1 MiB, which the caches still hold when it is written. */
enum { BLOCK = 1 << 18 };

/* ---- The values ---- */

struct stream {
  const struct nk_model *model;
  const struct nk_tensor *tensor;
  const struct nk_vectors *set;
  float *block; /* [rows of a block, dim]; NULL where the file's own bytes will do */
};

/* Warns of the first value of the block, rows from `row` on, that is beyond a float's range; true
 * when there is one. */
static bool warn_of_range(const struct stream *s, size_t row, size_t n_values) {
  size_t dim = s->set->dim, first = row * dim;
  size_t at = nki_tensor_first_beyond(s->tensor, first, s->block, n_values);
  if (at == n_values) return false;
  nk_warn(
      "%s: tensor '%s': row %zu holds %.9g, beyond the range of a float: it is written as an "
      "infinity",
      nk_model_name(s->model), s->tensor->name, row + at / dim,
      nki_element_number(NK_F64, s->tensor->data, first + at));
  return true;
}

/* How many of the rows from `row` on, at most `most`, follow one another in the file. */
static size_t run_length(const struct stream *s, size_t row, size_t most) {
  size_t n = 1;
  while (n < most && s->set->ids[row + n] == s->set->ids[row] + (int64_t)n) n++;
  return n;
}

static int write_rows(struct nki_safetensors_writer *writer, void *source) {
  struct stream *s = source;
  size_t n = s->set->n, dim = s->set->dim, most = dim < BLOCK ? BLOCK / dim : 1;
  int code = NK_OK;
  bool warned = false;
  if (s->tensor->dtype != NK_F32 && s->block == NULL) {
    s->block = nk_alloc(dim < BLOCK ? BLOCK : dim, sizeof *s->block);
    if (s->block == NULL) return NK_EMEMORY;
  }
  for (size_t row = 0, count; row < n && code == NK_OK; row += count) {
    code = nk_progress("rows", row, n);
    if (code != NK_OK) break;
    count = run_length(s, row, n - row < most ? n - row : most);
    size_t first = (size_t)s->set->ids[row];
    if (s->set->ids[row] < 0 || first + count > nki_tensor_n_rows(s->tensor))
      return nk_fail(NK_EUSAGE, "%s: tensor '%s' has no row %lld: ids of the set were changed",
                     nk_model_name(s->model), s->tensor->name, (long long)s->set->ids[row]);
    const void *floats = (const char *)s->tensor->data + first * dim * sizeof(float);
    if (s->block != NULL) {
      code = nk_model_rows(s->tensor, first, count, s->block);
      floats = s->block;
      if (code == NK_OK && !warned) warned = warn_of_range(s, first, count * dim);
    }
    if (code == NK_OK)
      code = nki_safetensors_writer_bytes(writer, floats, count * dim * sizeof(float));
    nki_model_forget(s->model, s->tensor, first, count);
  }
  return code == NK_OK ? nk_progress("rows", n, n) : code;
}

static void free_stream(void *source) {
  struct stream *s = source;
  if (s != NULL) nk_free(s->block);
  nk_free(s);
}

/* ---- The set ---- */

struct nk_vectors *nk_extract_begin(const struct nk_model *model, const struct nk_tensor *tensor,
                                    const char *space, const int64_t *ids, size_t n) {
  if (model == NULL || tensor == NULL) return NULL;
  if (tensor->n_dims != 1 && tensor->n_dims != 2) {
    nk_fail(NK_EDATA, "%s: tensor '%s' has %zu dimensions, rows of vectors need 2, a row 1",
            nk_model_name(model), tensor->name, tensor->n_dims);
    return NULL;
  }
  size_t n_rows = nki_tensor_n_rows(tensor), dim = nki_tensor_row_dim(tensor);
  if (dim == 0) {
    nk_fail(NK_EDATA, "%s: tensor '%s': its rows have dimension 0", nk_model_name(model),
            tensor->name);
    return NULL;
  }
  int code = nki_tensor_check_widens(tensor);
  if (code != NK_OK) {
    nk_fail_in(code, "%s", nk_model_name(model));
    return NULL;
  }
  for (size_t i = 0; ids != NULL && i < n; i++) {
    if (ids[i] >= 0 && (uint64_t)ids[i] < n_rows) continue;
    nk_fail(NK_EDATA, "%s: no row %lld in tensor '%s', which has %zu", nk_model_name(model),
            (long long)ids[i], tensor->name, n_rows);
    return NULL;
  }
  struct nk_vectors *set = nk_vectors_new(ids != NULL ? n : n_rows, dim, NULL, true);
  if (set == NULL) return NULL;
  for (size_t i = 0; ids != NULL && i < n; i++) set->ids[i] = ids[i];
  struct stream *s = nk_calloc(1, sizeof *s);
  if (s != NULL) *s = (struct stream){.model = model, .tensor = tensor, .set = set};
  set->hidden->write_rows = write_rows;
  set->hidden->source_of_rows = s;
  set->hidden->free_rows = free_stream;
  if (s != NULL && nk_vectors_set_metadata(set, "noken.model", nk_model_name(model)) == NK_OK &&
      nk_vectors_set_metadata(set, "noken.space", space) == NK_OK) {
    return set;
  }
  nk_vectors_free(set);
  return NULL;
}
