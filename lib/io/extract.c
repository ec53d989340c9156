/* From a model's file to a vector set without holding either in memory. */
#include <noken/base.h>
#include <noken/model.h>
#include <noken/vectors.h>
#include "base/error.h"
#include "io/vectors.h"
#include "model/rows.h"
#include "model/safetensors.h"

/* Floats of a block: 1 MiB, which the caches still hold when it is written. */
enum { BLOCK = 1 << 18 };

struct nk_vectors *nk_extract_begin(const struct nk_model *model, const struct nk_tensor *tensor,
                                    const char *space, const int64_t *ids, size_t n) {
  if (model == NULL || tensor == NULL) return NULL;
  if (tensor->n_dims != 2 || tensor->shape[1] == 0) {
    nk_fail(NK_EDATA, "%s: tensor '%s' has %zu dimension%s, rows of vectors need 2",
            nk_model_name(model), tensor->name, tensor->n_dims, tensor->n_dims == 1 ? "" : "s");
    return NULL;
  }
  int code = nki_tensor_check_widens(tensor);
  if (code != NK_OK) {
    nk_fail_in(code, "%s", nk_model_name(model));
    return NULL;
  }
  for (size_t i = 0; ids != NULL && i < n; i++) {
    if (ids[i] >= 0 && (uint64_t)ids[i] < tensor->shape[0]) continue;
    nk_fail(NK_EDATA, "%s: no row %lld in tensor '%s', which has %zu", nk_model_name(model),
            (long long)ids[i], tensor->name, tensor->shape[0]);
    return NULL;
  }
  struct nk_vectors *set =
      nk_vectors_new(ids != NULL ? n : tensor->shape[0], tensor->shape[1], NULL, true);
  if (set == NULL) return NULL;
  for (size_t i = 0; ids != NULL && i < n; i++) set->ids[i] = ids[i];
  if (nk_vectors_set_metadata(set, "noken.model", nk_model_name(model)) == NK_OK &&
      nk_vectors_set_metadata(set, "noken.space", space) == NK_OK) {
    return set;
  }
  nk_vectors_free(set);
  return NULL;
}

/* ---- Streaming ---- */

struct stream {
  const struct nk_model *model;
  const struct nk_tensor *tensor;
  const struct nk_vectors *set;
  float *block; /* [rows of a block, dim]; NULL where the file's own bytes will do */
};

/* How many of the rows from `row` on, at most `most`, follow one another in the file. */
static size_t run_length(const struct stream *s, size_t row, size_t most) {
  size_t n = 1;
  while (n < most && s->set->ids[row + n] == s->set->ids[row] + (int64_t)n) n++;
  return n;
}

static int write_rows(struct nki_safetensors_writer *writer, void *user) {
  const struct stream *s = user;
  size_t n = s->set->n, dim = s->set->dim, most = dim < BLOCK ? BLOCK / dim : 1;
  int code = NK_OK;
  for (size_t row = 0, count; row < n && code == NK_OK; row += count) {
    code = nk_progress("rows", row, n);
    if (code != NK_OK) break;
    count = run_length(s, row, n - row < most ? n - row : most);
    size_t first = (size_t)s->set->ids[row];
    const void *floats = (const char *)s->tensor->data + first * dim * sizeof(float);
    if (s->block != NULL) {
      code = nk_model_rows(s->tensor, first, count, s->block);
      floats = s->block;
    }
    if (code == NK_OK)
      code = nki_safetensors_writer_bytes(writer, floats, count * dim * sizeof(float));
    nki_model_forget(s->model, s->tensor, first, count);
  }
  return code == NK_OK ? nk_progress("rows", n, n) : code;
}

int nk_extract_write(const struct nk_model *model, const struct nk_tensor *tensor,
                     const struct nk_vectors *set, struct nk_output *output) {
  struct stream s = {.model = model, .tensor = tensor, .set = set};
  if (model == NULL || tensor == NULL || set == NULL || output == NULL) return nki_fail_null();
  if (tensor->dtype != NK_F32) {
    size_t n = set->dim < BLOCK ? BLOCK : set->dim;
    s.block = nk_alloc(n, sizeof *s.block);
    if (s.block == NULL) return NK_EMEMORY;
  }
  int code = nki_vectors_write_rows(set, output, write_rows, &s);
  nk_free(s.block);
  return code;
}
