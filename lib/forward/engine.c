/* The forward pass of a model: which engine computes it. */
#include <noken/base.h>
#include <noken/forward.h>
#include <string.h>

#include "base/error.h"
#include "forward/internal.h"
#include "model/model.h"

static void free_part(void *part) {
  struct nk_forward *forward = part;
  if (forward == NULL) return;
  forward->engine->free(forward);
  nk_free(forward->mean_embedding);
  nk_free(forward);
}

static struct nk_forward *open_part(const struct nk_model *model) {
  struct nk_forward *forward = nk_calloc(1, sizeof *forward);
  if (forward == NULL) return NULL;
  forward->model = model;
  forward->engine = &nki_native_engine;
  forward->most_rows = forward->most_sequences = SIZE_MAX;
  if (nki_native_open(forward) == NK_OK) return forward;
  free_part(forward);
  return NULL;
}

struct nk_forward *nk_model_forward(struct nk_model *model) {
  if (model == NULL) return NULL;
  struct nki_model_slot *slot = &model->parts[NKI_MODEL_FORWARD];
  if (slot->object == NULL) *slot = (struct nki_model_slot){open_part(model), free_part};
  return slot->object;
}

const struct nk_forward_shape *nk_forward_shape(const struct nk_forward *forward) {
  return forward == NULL ? NULL : &forward->config.shape;
}

int nk_forward_embedding(const struct nk_forward *forward, int64_t id, float *out) {
  if (forward == NULL) return nki_fail_null();
  size_t dim = forward->config.shape.dim, n = forward->n_tokens;
  if (id < 0 || (size_t)id >= n)
    return nk_fail(NK_EUSAGE, "id %lld: the model has tokens 0 to %zu", (long long)id, n - 1);
  const float *row = forward->engine->embeddings(forward, (size_t)id, 1, out);
  if (row != out) memcpy(out, row, dim * sizeof(float));
  return NK_OK;
}
