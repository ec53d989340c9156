/* What is in a model. */
#include "model/model.h"

#include <noken/base.h>
#include <stdlib.h>
#include <string.h>

static int by_name(const void *a, const void *b) {
  const struct nk_tensor *const *x = a, *const *y = b;
  return strcmp((*x)->name, (*y)->name);
}

static bool has_shard(const struct nk_model *model, const char *name) {
  return nki_model_files_path(&model->files, name) != NULL;
}

const char *nk_model_name(const struct nk_model *model) {
  return model != NULL ? model->files.name : NULL;
}

const char *nk_model_folder(const struct nk_model *model) {
  if (model == NULL) return NULL;
  bool is_gguf = model->files.n_shards > 0 && model->shards[0].gguf != NULL;
  return is_gguf ? model->source : model->files.folder;
}

const char *nki_model_path(const struct nk_model *model, const char *file) {
  return nki_model_files_path(&model->files, file);
}

size_t nk_model_n_tensors(const struct nk_model *model) {
  return model != NULL ? model->n_tensors : 0;
}

const struct nk_tensor *nk_model_tensor(const struct nk_model *model, size_t index) {
  return index < nk_model_n_tensors(model) ? model->tensors[index] : NULL;
}

const struct nk_tensor *nki_model_look_up(const struct nk_model *model, const char *name) {
  const struct nk_tensor wanted = {.name = name}, *key = &wanted;
  const struct nk_tensor **found =
      bsearch(&key, model->by_name, model->n_tensors, sizeof key, by_name);
  return found != NULL ? *found : NULL;
}

int nki_model_fail_absent(const struct nk_model *model, const char *name) {
  const char *shard = nki_shard_index_find(&model->files.index, name);
  if (shard == NULL)
    return nk_fail(NK_ENOTFOUND, "%s: no tensor '%.200s'", model->files.name, name);
  return nk_fail(NK_ENOTFOUND, "%s: tensor '%.200s' is not there: its shard '%.200s' %s",
                 model->files.name, name, shard,
                 has_shard(model, shard) ? "does not hold it" : "is missing");
}

const struct nk_tensor *nk_model_find(const struct nk_model *model, const char *name) {
  if (model == NULL) return NULL;
  const struct nk_tensor *tensor = nki_model_look_up(model, name);
  if (tensor == NULL) nki_model_fail_absent(model, name);
  return tensor;
}
