/* Opening a model: its files, its configuration, and the tensors of all its files in one list. */
#include <noken/base.h>
#include <noken/model.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "model/gguf_model.h"
#include "model/model.h"
#include "model/safetensors.h"

enum { MAX_CONFIG = 1 << 22 }; /* bytes; real ones have some thousand */

static int by_name(const void *a, const void *b) {
  const struct nk_tensor *const *x = a, *const *y = b;
  return strcmp((*x)->name, (*y)->name);
}

/* Whether another shard, the one that the index names, holds this tensor too: that copy is then the
 * model's. */
static bool is_elsewhere(const struct nk_model *model, const char *name, const char *shard) {
  const char *mapped = nki_shard_index_find(&model->files.index, name);
  if (mapped == NULL || strcmp(mapped, strrchr(shard, '/') + 1) == 0) return false;
  for (size_t s = 0; s < model->files.n_shards; s++) {
    if (strcmp(strrchr(model->files.shards[s], '/') + 1, mapped) == 0)
      return nki_safetensors_look_up(model->shards[s].safetensors, name) != NULL;
  }
  return false;
}

static size_t n_tensors_of(const struct nki_shard *shard) {
  return shard->gguf != NULL ? shard->gguf->n_tensors
                             : nki_safetensors_n_tensors(shard->safetensors);
}

static const struct nk_tensor *tensor_of(const struct nki_shard *shard, size_t i) {
  return shard->gguf != NULL ? &shard->gguf->tensor[i]
                             : nki_safetensors_tensor(shard->safetensors, i);
}

/* All shards' tensors in one list. */
static int gather_tensors(struct nk_model *model) {
  size_t n = 0;
  for (size_t s = 0; s < model->files.n_shards; s++) n += n_tensors_of(&model->shards[s]);
  model->tensors = nk_calloc(n, sizeof *model->tensors);
  model->by_name = nk_calloc(n, sizeof *model->by_name);
  if (model->tensors == NULL || model->by_name == NULL) return NK_EMEMORY;
  for (size_t s = 0; s < model->files.n_shards; s++) {
    for (size_t i = 0; i < n_tensors_of(&model->shards[s]); i++) {
      const struct nk_tensor *tensor = tensor_of(&model->shards[s], i);
      if (!is_elsewhere(model, tensor->name, model->files.shards[s]))
        model->tensors[model->n_tensors++] = tensor;
    }
  }
  n = model->n_tensors;
  if (n > 0) memcpy(model->by_name, model->tensors, n * sizeof *model->by_name);
  qsort(model->by_name, n, sizeof *model->by_name, by_name);
  for (size_t i = 1; i < n; i++) {
    if (strcmp(model->by_name[i - 1]->name, model->by_name[i]->name) == 0) {
      return nk_fail(NK_EDATA, "%s: tensor '%.200s' is in two shards", model->files.name,
                     model->by_name[i]->name);
    }
  }
  return NK_OK;
}

/* Whether a shard of that name is open. */
static bool has_shard(const struct nk_model *model, const char *name) {
  return nki_model_files_path(&model->files, name) != NULL;
}

/* Warns of tensors that the index names and the shards do not hold: loaders go by the shards' own
 * headers, and a tensor that is not asked for may be missing. */
static void check_index(const struct nk_model *model) {
  const struct nki_shard_index *index = &model->files.index;
  const struct nki_shard_entry *first = NULL;
  size_t n_absent = 0;
  for (size_t i = 0; i < index->n_entries; i++) {
    const struct nki_shard_entry *entry = &index->entries[i];
    if (nki_model_look_up(model, nki_shard_index_name(index, i)) != NULL) continue;
    if (!has_shard(model, index->shards[entry->shard])) continue; /* a warning was given */
    if (n_absent++ == 0) first = entry;
  }
  if (n_absent == 0) return;
  nk_warn(
      "%s: the index names %zu tensor%s that the shards do not hold (the first is '%.200s', not "
      "in %s)",
      model->files.name, n_absent, n_absent == 1 ? "" : "s", index->names.data + first->name,
      index->shards[first->shard]);
}

static int open_shard(const char *path, struct nki_shard *shard) {
  struct nk_file *file = nk_file_open(path);
  if (file == NULL) return nk_error_code();
  if (nki_gguf_is(file))
    shard->gguf = nki_gguf_read(file);
  else
    shard->safetensors = nki_safetensors_read(file);
  return shard->gguf != NULL || shard->safetensors != NULL ? NK_OK : nk_error_code();
}

static int open_weights(struct nk_model *model) {
  size_t n = model->files.n_shards, n_ggufs = 0;
  int code = NK_OK;
  model->shards = nk_calloc(n, sizeof *model->shards);
  if (model->shards == NULL) return NK_EMEMORY;
  for (size_t s = 0; s < n && code == NK_OK; s++) {
    code = open_shard(model->files.shards[s], &model->shards[s]);
    n_ggufs += model->shards[s].gguf != NULL;
  }
  if (code == NK_OK && n_ggufs > 0 && n_ggufs < n)
    code = nk_fail(NK_EDATA, "%s: GGUF and safetensors files in one model", model->files.name);
  if (code == NK_OK) code = gather_tensors(model);
  if (code == NK_OK) check_index(model);
  if (code != NK_OK || n_ggufs == 0) return code;
  code = nki_gguf_check_parts(model);
  return code == NK_OK ? nki_gguf_read_config(model) : code;
}

static int read_config(struct nk_model *model) {
  const char *path = nki_model_files_path(&model->files, "config.json");
  if (path == NULL) return NK_OK;
  struct nk_file *file = nk_file_open(path);
  if (file == NULL) return nk_error_code();
  if (file->size <= MAX_CONFIG)
    model->config = nki_json_parse(path, file->data, file->size, 0);
  else
    nk_fail(NK_EDATA, "%s: %zu bytes, at most %d are read as a configuration", path, file->size,
            MAX_CONFIG);
  nk_file_free(file);
  if (model->config == NULL) return nk_error_code();
  return json_is_object(model->config) ? NK_OK : nk_fail(NK_EDATA, "%s: not a JSON object", path);
}

struct nk_model *nk_model_open(const char *name) {
  struct nk_model *model = nk_calloc(1, sizeof *model);
  if (model == NULL) return NULL;
  model->source = nk_strdup(name);
  model->warned = nk_calloc(1, sizeof *model->warned);
  int code = model->source != NULL && model->warned != NULL
                 ? nki_model_files_find(name, &model->files)
                 : NK_EMEMORY;
  if (code == NK_OK) code = read_config(model);
  if (code == NK_OK) code = open_weights(model);
  if (code == NK_OK) code = nki_model_list_files(model);
  if (code == NK_OK) return model;
  nk_model_free(model);
  return NULL;
}

void nk_model_free(struct nk_model *model) {
  if (model == NULL) return;
  for (size_t p = NKI_N_MODEL_PARTS; p-- > 0;) /* the forward pass before the tokenizer */
    if (model->parts[p].object != NULL) model->parts[p].free(model->parts[p].object);
  for (size_t s = 0; model->shards != NULL && s < model->files.n_shards; s++) {
    nki_safetensors_free(model->shards[s].safetensors);
    nki_gguf_free(model->shards[s].gguf);
  }
  nk_free(model->shards);
  nk_free(model->tensors);
  nk_free(model->by_name);
  nk_free(model->used);
  nk_free(model->warned);
  nk_free(model->values);
  nk_free(model->own);
  json_decref(model->config);
  nki_model_files_free(&model->files);
  nk_free(model->source);
  nk_free(model);
}
