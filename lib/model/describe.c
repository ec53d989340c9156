/* What a model is, by its configuration and the headers of its files. */
#include <noken/base.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/names.h"
#include "model/architecture.h"
#include "model/family.h"
#include "model/model.h"
#include "model/model_config.h"

/* ---- Files ---- */

static bool is_shard(const struct nki_model_files *files, const char *path) {
  for (size_t i = 0; i < files->n_shards; i++)
    if (strcmp(files->shards[i], path) == 0) return true;
  return false;
}

/* Whether a file of the folder is read beside the weights: the configuration, the index of shards,
 * tokenizers. */
static bool is_read(const struct nki_model_files *files, const char *path) {
  static const char *const names[] = {"config.json",     "chat_template.jinja",
                                      "tokenizer.json",  "tokenizer_config.json",
                                      "tekken.json",     "special_tokens_map.json",
                                      "tokenizer.model", "vocab.json",
                                      "merges.txt",      "vocab.txt"};
  const char *name = strrchr(path, '/') + 1;
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (strcmp(name, names[i]) == 0) return true;
  if (strcmp(name, "model.safetensors.index.json") == 0) return files->index.n_shards > 0;
  return nki_ends_with(name, ".tiktoken") || strcmp(name, "tiktoken.model") == 0;
}

int nki_model_list_files(struct nk_model *model) {
  const struct nki_model_files *files = &model->files;
  bool single = files->folder == NULL;
  size_t n = single ? files->n_shards : files->n_files;
  char **paths = single ? files->shards : files->files;
  model->used = nk_calloc(n, sizeof *model->used);
  if (model->used == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < n; i++)
    if (single || is_shard(files, paths[i]) || is_read(files, paths[i]))
      model->used[model->n_used++] = paths[i];
  return NK_OK;
}

/* ---- Weights ---- */

bool nki_is_weight(const struct nk_tensor *tensor) {
  static const char *const tables[] = {".masked_bias", "inv_freq", "rope_freqs.weight",
                                       "rope_factors_long.weight", "rope_factors_short.weight"};
  enum nk_dtype type = tensor->dtype;
  bool is_mask = tensor->n_dims == 4 && tensor->shape[0] == 1 && tensor->shape[1] == 1;
  bool is_float = type <= NK_F64 || (type >= NK_F8_E4M3 && type <= NK_F4) ||
                  (type >= NK_Q4_0 && type < NK_OTHER);
  for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
    if (nki_ends_with(tensor->name, tables[i])) return false;
  return is_float && !is_mask;
}

/* Whether the tensor has blocks of MXFP4, two elements in a byte: NAME_blocks beside NAME_scales.
 */
static bool is_mxfp4(const struct nk_model *model, const struct nk_tensor *tensor) {
  static const char end[] = "_blocks";
  char name[NKI_MAX_NAME];
  if (tensor->dtype != NK_U8 || !nki_ends_with(tensor->name, end)) return false;
  int n = (int)(strlen(tensor->name) - strlen(end));
  if ((size_t)snprintf(name, sizeof name, "%.*s_scales", n, tensor->name) >= sizeof name)
    return false;
  return nki_model_look_up(model, name) != NULL;
}

static int count_weights(const struct nk_model *model, size_t *sum) {
  for (size_t i = 0; i < model->n_tensors; i++) {
    const struct nk_tensor *tensor = model->tensors[i];
    size_t n = nki_is_weight(tensor) ? tensor->n_elements : 0;
    if (is_mxfp4(model, tensor) && !nk_size_mul(tensor->n_elements, 2, &n)) n = SIZE_MAX;
    if (!nk_size_add(*sum, n, sum))
      return nk_fail(NK_EDATA, "%s: more elements than can be counted", model->files.name);
  }
  return NK_OK;
}

/* ---- Settings ---- */

/* 0 where the configuration lacks the setting, or its value cannot be used. */
static size_t size_of(const struct nk_model *model, enum nki_setting setting) {
  size_t out = 0;
  if (nki_read_optional_size(model, setting, 1, (size_t)1 << 30, &out) == NK_OK) return out;
  nki_clear_error();
  return 0;
}

static size_t count_kv_heads(const struct nk_model *model, size_t n_heads) {
  const struct nki_architecture *architecture = nki_model_architecture(model);
  size_t out = 0;
  if (architecture == NULL || n_heads == 0) return size_of(model, NKI_SETTING_N_KV_HEADS);
  if (nki_read_kv_heads(model, architecture, n_heads, &out) == NK_OK) return out;
  nki_clear_error();
  return 0;
}

int nk_model_describe(const struct nk_model *model, struct nk_model_facts *facts) {
  if (model == NULL) return nki_fail_null();
  size_t n_heads = size_of(model, NKI_SETTING_N_HEADS);
  *facts = (struct nk_model_facts){
      .type = nki_model_type(model),
      .gguf = model->files.n_shards > 0 && model->shards[0].gguf != NULL,
      .n_layers = size_of(model, NKI_SETTING_N_LAYERS),
      .dim = size_of(model, NKI_SETTING_DIM),
      .n_heads = n_heads,
      .n_kv_heads = count_kv_heads(model, n_heads),
      .n_positions = size_of(model, NKI_SETTING_N_POSITIONS),
      .n_missing = nki_model_n_missing(model),
      .files = model->used,
      .n_files = model->n_used,
  };
  return count_weights(model, &facts->n_parameters);
}
