/* The forward pass of a model: which engine computes it. */
#include <noken/base.h>
#include <noken/forward.h>
#include <string.h>

#include "base/error.h"
#include "forward/backward.h"
#include "forward/bf16.h"
#include "model/model.h"
#include "model/model_config.h"

static void free_part(void *part) {
  struct nk_forward *forward = part;
  if (forward == NULL) return;
  forward->engine->free(forward);
  nk_free(forward->mean_embedding);
  nk_free(forward);
}

static struct nk_forward *new_forward(const struct nk_model *model) {
  struct nk_forward *forward = nk_calloc(1, sizeof *forward);
  if (forward == NULL) return NULL;
  forward->model = model;
  forward->most_rows = forward->most_sequences = SIZE_MAX;
  return forward;
}

/* The path of the GGUF file that the model is, or NULL. */
static const char *gguf_path(const struct nk_model *model) {
  bool is_gguf = model->files.n_shards > 0 && model->shards[0].gguf != NULL;
  return is_gguf ? model->files.shards[0] : NULL;
}

static struct nk_forward *open_native(const struct nk_model *model, enum nk_precision precision,
                                      bool check) {
  struct nk_forward *forward = new_forward(model);
  if (forward == NULL) return NULL;
  forward->engine = &nki_native_engine;
  int code = nki_name_metadata(model, nki_native_open(forward));
  if (code == NK_OK && precision == NK_PRECISION_BF16) code = nki_bf16_open(forward, check);
  if (code == NK_OK) return forward;
  free_part(forward);
  return NULL;
}

/* check: the file's metadata alone are read, and the forward pass cannot run. */
static struct nk_forward *open_llama(const struct nk_model *model,
                                     const struct nk_engine_options *options, bool check) {
  const char *path = gguf_path(model);
  if (path == NULL) {
    nk_fail(NK_EUNSUPPORTED, "%s: llama.cpp runs GGUF files; nk-convert writes the model as one",
            nk_model_name(model));
    return NULL;
  }
  struct nk_forward *forward = new_forward(model);
  if (forward == NULL) return NULL;
  forward->engine = &nki_llama_engine;
  if (nki_llama_open(forward, path, options, check) == NK_OK) return forward;
  free_part(forward);
  return NULL;
}

/* The message without the model's name before it. */
static const char *without_name(const char *message, const struct nk_model *model) {
  const char *name = nk_model_name(model);
  size_t n = strlen(name);
  return strncmp(message, name, n) == 0 && strncmp(message + n, ": ", 2) == 0 ? message + n + 2
                                                                              : message;
}

static struct nk_forward *open_part(const struct nk_model *model, bool check) {
  static const struct nk_engine_options defaults;
  const struct nk_engine_options *options = model->parts[NKI_MODEL_ENGINE].object;
  if (options == NULL) options = &defaults;
  if (options->engine == NK_ENGINE_LLAMA) return open_llama(model, options, check);
  struct nk_forward *forward = open_native(model, options->precision, check);
  bool other = forward == NULL && options->engine == NK_ENGINE_AUTO &&
               nk_error_code() == NK_EUNSUPPORTED && gguf_path(model) != NULL;
  if (!other) return forward;
  char *reason = nk_strdup(nk_error());
  forward = open_llama(model, options, check);
  if (forward == NULL && reason != NULL)
    nk_fail(nk_error_code(), "%s; by llama.cpp: %s", reason, without_name(nk_error(), model));
  nk_free(reason);
  return forward;
}

static void free_options(void *part) {
  struct nk_engine_options *options = part;
  nk_free((void *)options->rpc);
  nk_free(options);
}

int nk_model_use_engine(struct nk_model *model, const struct nk_engine_options *options) {
  if (model == NULL) return nki_fail_null();
  bool elsewhere = options->n_gpu_layers > 0 || options->rpc != NULL;
  if (model->parts[NKI_MODEL_FORWARD].object != NULL)
    return nk_fail(NK_EUSAGE, "%s: the forward pass is already open", nk_model_name(model));
  if (elsewhere && options->engine == NK_ENGINE_NATIVE)
    return nk_fail(NK_EUSAGE, "GPUs and servers need the llama engine");
  if ((unsigned)options->precision > NK_PRECISION_BF16)
    return nk_fail(NK_EUSAGE, "no such precision: %d", (int)options->precision);
  bool bf16 = options->precision == NK_PRECISION_BF16;
  if (bf16 && (elsewhere || options->engine == NK_ENGINE_LLAMA))
    return nk_fail(NK_EUSAGE, "products of bfloat16 need the native engine");
  struct nk_engine_options *copy = nk_alloc(1, sizeof *copy);
  if (copy == NULL) return NK_EMEMORY;
  *copy = *options;
  if (elsewhere) copy->engine = NK_ENGINE_LLAMA;
  if (bf16) copy->engine = NK_ENGINE_NATIVE;
  if (options->rpc != NULL && (copy->rpc = nk_strdup(options->rpc)) == NULL) {
    nk_free(copy);
    return NK_EMEMORY;
  }
  struct nki_model_slot *slot = &model->parts[NKI_MODEL_ENGINE];
  if (slot->object != NULL) slot->free(slot->object);
  *slot = (struct nki_model_slot){copy, free_options};
  return NK_OK;
}

struct nk_forward *nk_model_forward(struct nk_model *model) {
  if (model == NULL) return NULL;
  struct nki_model_slot *slot = &model->parts[NKI_MODEL_FORWARD];
  if (slot->object == NULL) *slot = (struct nki_model_slot){open_part(model, false), free_part};
  return slot->object;
}

/* NK_OK where the engine has gradients of what the ability says. */
static int check_gradients(const struct nk_forward *forward, enum nk_ability ability) {
  int code = nki_check_gradients(forward);
  bool weights = ability == NK_ABILITY_WEIGHT_GRADIENTS;
  return code == NK_OK && weights ? nki_check_weight_gradients(forward) : code;
}

int nk_model_check_ability(const struct nk_model *model, enum nk_ability ability,
                           enum nk_engine *engine) {
  if (model == NULL) return nki_fail_null();
  struct nk_forward *const open = model->parts[NKI_MODEL_FORWARD].object;
  struct nk_forward *forward = open != NULL ? open : open_part(model, true);
  if (forward == NULL) return nk_error_code();
  bool native = forward->engine == &nki_native_engine;
  if (engine != NULL) *engine = native ? NK_ENGINE_NATIVE : NK_ENGINE_LLAMA;
  int code = ability == NK_ABILITY_RUN ? NK_OK : check_gradients(forward, ability);
  if (open == NULL) free_part(forward);
  return code;
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
