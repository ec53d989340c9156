/* Other values for tensors of an open model. The tensor that everything points to becomes one of
 * F32 over the caller's values; what the file says of it is kept for the writer. */
#include <noken/base.h>
#include <string.h>

#include "base/error.h"
#include "model/model.h"

const struct nki_values *nki_model_values(const struct nk_model *model,
                                          const struct nk_tensor *tensor) {
  for (size_t i = 0; i < model->n_values; i++)
    if (model->values[i].tensor == tensor && model->values[i].in_use) return &model->values[i];
  return NULL;
}

/* The tensor as its shard has it. */
static struct nk_tensor *writable(struct nk_model *model, const struct nk_tensor *tensor) {
  struct nk_tensor *found = NULL;
  for (size_t s = 0; s < model->files.n_shards && found == NULL; s++)
    found = nki_safetensors_writable(model->shards[s].safetensors, tensor);
  return found;
}

static int add(struct nk_model *model, const struct nk_tensor *tensor, size_t group) {
  struct nk_tensor *own = writable(model, tensor);
  if (own == NULL)
    return nk_fail(NK_ENOTFOUND, "tensor '%s': no shard of the model has it", tensor->name);
  struct nki_values *grown =
      nk_realloc(model->values, model->n_values, model->n_values + 1, sizeof *grown);
  if (grown == NULL) return NK_EMEMORY;
  model->values = grown;
  grown[model->n_values++] = (struct nki_values){.tensor = own, .file = *tensor, .group = group};
  return NK_OK;
}

/* The tensor, and with it the other of two tied matrices that a file holds twice, as a group: they
 * stay the same. Any other tensors of equal bytes, as of repeated blocks, are not copies. */
static int add_group(struct nk_model *model, const struct nk_tensor *tensor, size_t group) {
  const struct nk_tensor *copy = nki_model_copy(model, tensor);
  int code = add(model, tensor, group);
  return code == NK_OK && copy != NULL ? add(model, copy, group) : code;
}

static int find_group(struct nk_model *model, const struct nk_tensor *tensor, size_t *group) {
  *group = 0;
  for (size_t i = 0; i < model->n_values; i++) {
    if (model->values[i].tensor == tensor) {
      *group = model->values[i].group;
      return NK_OK;
    }
    if (model->values[i].group >= *group) *group = model->values[i].group + 1;
  }
  return add_group(model, tensor, *group);
}

int nk_model_use_values(struct nk_model *model, const char *name, const float *values) {
  const struct nk_tensor *tensor = nk_model_find(model, name);
  if (tensor == NULL) return nk_error_code();
  size_t group;
  if (model->own != NULL || model->shards[0].gguf != NULL)
    return nk_fail(NK_EUNSUPPORTED, "%s: a GGUF keeps its values: use a safetensors checkpoint",
                   nk_model_name(model));
  if (tensor->dtype > NK_F64)
    return nk_fail(NK_EUNSUPPORTED,
                   "tensor '%s': elements of type %s, where F32, F16, BF16 or F64 is needed",
                   tensor->name, nk_dtype_names[tensor->dtype]);
  int code = find_group(model, tensor, &group);
  for (size_t i = 0; i < model->n_values && code == NK_OK; i++) {
    struct nki_values *v = &model->values[i];
    if (v->group != group) continue;
    v->in_use = values != NULL;
    *v->tensor = v->file;
    if (values == NULL) continue;
    v->tensor->dtype = NK_F32;
    v->tensor->dtype_name = NULL;
    v->tensor->n_bytes = v->file.n_elements * sizeof *values;
    v->tensor->data = values;
  }
  return code;
}
