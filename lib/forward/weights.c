/* The model's weights: finding them by the family's names, checking their shapes, and widening a
 * block at a time. A tensor in a block's place that the architecture does not know is refused: it
 * would be a part of the model that the forward pass leaves out (an adapter, a quantized weight's
 * scales). */
#include <noken/base.h>
#include <stdio.h>
#include <string.h>
#include "model/dtype.h"

#include <noken/forward.h>
#include <noken/model.h>
#include "forward/family.h"
#include "model/model.h"
#include "model/widen.h"

enum { NAME_SIZE = 256 };

/* ---- What each part looks like ---- */

/* Rows (out) and columns (in) of a part; *n_out is its length for a norm, with *n_in 0. */
static void part_shape(const struct nki_config *config, enum nki_part part, size_t *n_out,
                       size_t *n_in) {
  const struct nk_forward_shape *s = &config->shape;
  size_t q = s->n_heads * s->head_dim, kv = s->n_kv_heads * s->head_dim;
  const size_t shapes[NKI_N_PARTS][2] = {
      [NKI_NORM1] = {s->dim, 0},
      [NKI_NORM2] = {s->dim, 0},
      [NKI_NORM1_POST] = {s->dim, 0},
      [NKI_NORM2_POST] = {s->dim, 0},
      [NKI_Q_NORM] = {s->head_dim, 0},
      [NKI_K_NORM] = {s->head_dim, 0},
      [NKI_QKV] = {q + 2 * kv, s->dim},
      [NKI_Q] = {q, s->dim},
      [NKI_K] = {kv, s->dim},
      [NKI_V] = {kv, s->dim},
      [NKI_O] = {s->dim, q},
      [NKI_GATE] = {s->mlp_dim, s->dim},
      [NKI_UP] = {s->mlp_dim, s->dim},
      [NKI_GATE_UP] = {2 * s->mlp_dim, s->dim},
      [NKI_DOWN] = {s->dim, s->mlp_dim},
  };
  *n_out = shapes[part][0];
  *n_in = shapes[part][1];
}

/* True when the part has a bias. */
static bool part_bias(const struct nk_model *model, const struct nki_family *family,
                      enum nki_part part) {
  bool attention = part == NKI_QKV || part == NKI_Q || part == NKI_K || part == NKI_V;
  bool flag = false;
  if (part == NKI_Q_NORM || part == NKI_K_NORM) return false;
  switch (family->biases) {
    case NKI_NO_BIAS:
      return false;
    case NKI_BIAS:
      if (attention || part == NKI_O) {
        flag = true;
        nk_model_config_bool(model, "attention_bias", &flag); /* GPT-NeoX may say false */
        return flag;
      }
      return true;
    case NKI_BIAS_NOT_QKVO:
      return !attention && part != NKI_O;
    case NKI_BIAS_QKV:
      return attention;
    case NKI_BIAS_CONFIG:
      break;
  }
  if (attention || part == NKI_O) nk_model_config_bool(model, "attention_bias", &flag);
  if (part == NKI_GATE || part == NKI_UP || part == NKI_DOWN)
    nk_model_config_bool(model, "mlp_bias", &flag);
  return flag;
}

static int check_tensor(const struct nk_tensor *tensor, size_t n_out, size_t n_in) {
  if (tensor->dtype != NK_F32 && tensor->dtype != NK_F16 && tensor->dtype != NK_BF16 &&
      tensor->dtype != NK_F64)
    return nk_fail(NK_EUNSUPPORTED, "tensor '%s' is %s: weights are F32, F16, BF16 or F64",
                   tensor->name, nk_dtype_name(tensor->dtype));
  size_t n_dims = n_in == 0 ? 1 : 2;
  if (tensor->n_dims != n_dims || tensor->shape[0] != n_out ||
      (n_dims == 2 && tensor->shape[1] != n_in)) {
    char wanted[64];
    if (n_in == 0)
      snprintf(wanted, sizeof wanted, "[%zu]", n_out);
    else
      snprintf(wanted, sizeof wanted, "[%zu, %zu]", n_out, n_in);
    return nk_fail(NK_EDATA, "tensor '%s' is not %s as config.json has it", tensor->name, wanted);
  }
  return 0;
}

/* *out = the tensor NAME.suffix, checked. */
static int find_tensor(const struct nk_model *model, const char *name, const char *suffix,
                       size_t n_out, size_t n_in, const struct nk_tensor **out) {
  char full[NAME_SIZE];
  if ((size_t)snprintf(full, sizeof full, "%s.%s", name, suffix) >= sizeof full)
    return nk_fail(NK_EDATA, "a tensor's name is too long: %s", name);
  *out = nk_model_find(model, full);
  if (*out == NULL) return NK_ENOTFOUND;
  return check_tensor(*out, n_out, n_in);
}

/* ---- Blocks ---- */

static int find_block(struct nk_forward *forward, const struct nki_family *family,
                      const char *prefix, size_t layer) {
  char block[NAME_SIZE], name[NAME_SIZE];
  int length = snprintf(block, sizeof block, "%s", prefix);
  snprintf(block + length, sizeof block - (size_t)length, family->block, layer);
  for (int part = 0; part < NKI_N_PARTS; part++) {
    if (family->names[part] == NULL) continue;
    size_t n_out, n_in;
    part_shape(&forward->config, (enum nki_part)part, &n_out, &n_in);
    snprintf(name, sizeof name, "%s%s", block, family->names[part]);
    struct nki_weight *weight = &forward->blocks[layer].part[part];
    bool turned = forward->config.in_out && n_in != 0;
    int code = find_tensor(forward->model, name, "weight", turned ? n_in : n_out,
                           turned ? n_out : n_in, &weight->weight);
    if (code == NK_OK && part_bias(forward->model, family, (enum nki_part)part))
      code = find_tensor(forward->model, name, "bias", n_out, 0, &weight->bias);
    if (code != NK_OK) return code;
  }
  return 0;
}

/* Masks and frequencies that published checkpoints carry along: they say nothing new. */
static bool is_buffer(const char *name) {
  static const char *const buffers[] = {"attn.bias", "attn.masked_bias", "attention.bias",
                                        "attention.masked_bias", "rotary_emb.inv_freq"};
  size_t length = strlen(name);
  for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++) {
    size_t n = strlen(buffers[i]);
    if (length >= n && strcmp(name + length - n, buffers[i]) == 0) return true;
  }
  return false;
}

static bool is_part(const struct nk_forward *forward, const struct nk_tensor *tensor,
                    size_t layer) {
  if (layer >= forward->config.shape.n_layers) return false;
  for (int part = 0; part < NKI_N_PARTS; part++) {
    const struct nki_weight *weight = &forward->blocks[layer].part[part];
    if (weight->weight == tensor || weight->bias == tensor) return true;
  }
  return false;
}

static int refuse_strangers(const struct nk_forward *forward, const struct nki_family *family,
                            const char *prefix) {
  char head[NAME_SIZE]; /* "model.layers." */
  const char *number = strchr(family->block, '%');
  snprintf(head, sizeof head, "%s%.*s", prefix, (int)(number - family->block), family->block);
  size_t n_head = strlen(head);
  for (size_t i = 0; i < nk_model_n_tensors(forward->model); i++) {
    const struct nk_tensor *tensor = nk_model_tensor(forward->model, i);
    size_t layer;
    if (strncmp(tensor->name, head, n_head) != 0) continue;
    if (sscanf(tensor->name + n_head, "%zu.", &layer) != 1) continue;
    if (is_part(forward, tensor, layer) || is_buffer(tensor->name)) continue;
    if (layer >= forward->config.shape.n_layers)
      return nk_fail(NK_EDATA, "tensor '%s' belongs to block %zu, config.json says %zu blocks",
                     tensor->name, layer, forward->config.shape.n_layers);
    return nk_fail(NK_EUNSUPPORTED, "tensor '%s': '%s' models have no such part", tensor->name,
                   family->type);
  }
  return 0;
}

/* The prefix that the names of this file's tensors have. */
static const char *find_prefix(const struct nk_model *model, const struct nki_family *family) {
  char name[NAME_SIZE];
  for (size_t i = 0; i < 3 && family->prefixes[i] != NULL; i++) {
    snprintf(name, sizeof name, "%s%s.weight", family->prefixes[i], family->embedding);
    if (nk_model_find(model, name) != NULL) return family->prefixes[i];
  }
  return NULL;
}

/* Floats that a block takes when all of it is widened, each tensor from a multiple of 16. */
static size_t block_floats(const struct nki_block *block) {
  size_t total = 0;
  for (int part = 0; part < NKI_N_PARTS; part++) {
    const struct nki_weight *w = &block->part[part];
    if (w->weight != NULL) total += (w->weight->n_elements + 15) / 16 * 16;
    if (w->bias != NULL) total += (w->bias->n_elements + 15) / 16 * 16;
  }
  return total;
}

/* ---- Around the blocks ---- */

static int find_matrices(struct nk_forward *forward, const struct nki_family *family,
                         const char *prefix) {
  const struct nk_model *model = forward->model;
  struct nk_forward_shape *shape = &forward->config.shape;
  char name[NAME_SIZE];
  snprintf(name, sizeof name, "%s%s.weight", prefix, family->embedding);
  forward->embedding = nk_model_find(model, name);
  if (forward->embedding == NULL) return NK_ENOTFOUND;
  int code = check_tensor(forward->embedding, forward->embedding->shape[0], shape->dim);
  if (code != NK_OK) return code;

  bool tied = family->tied;
  code = nk_model_config_bool(model, "tie_word_embeddings", &tied);
  if (code != NK_OK && code != NK_ENOTFOUND) return code;
  forward->unembedding = forward->embedding;
  if (!tied) {
    snprintf(name, sizeof name, "%s.weight", family->head);
    forward->unembedding = nk_model_find(model, name);
    if (forward->unembedding == NULL) return NK_ENOTFOUND;
    code = check_tensor(forward->unembedding, forward->unembedding->shape[0], shape->dim);
  } else {
    code = 0;
  }
  shape->n_vocabulary = forward->unembedding->shape[0];
  if (code == NK_OK && family->head_bias)
    code = find_tensor(model, family->head, "bias", shape->n_vocabulary, 0,
                       &forward->unembedding_bias);
  if (code != NK_OK || family->positions == NULL) return code;
  snprintf(name, sizeof name, "%s%s", prefix, family->positions);
  return find_tensor(model, name, "weight", shape->n_positions + family->position_offset,
                     shape->dim, &forward->positions);
}

int nki_weights_find(struct nk_forward *forward, const struct nki_family *family) {
  struct nk_forward_shape *shape = &forward->config.shape;
  const char *prefix = find_prefix(forward->model, family);
  char name[NAME_SIZE];
  if (prefix == NULL)
    return nk_fail(NK_EDATA, "no tensor '%s%s.weight': not a '%s' checkpoint", family->prefixes[0],
                   family->embedding, family->type);
  forward->blocks = nk_calloc(shape->n_layers, sizeof *forward->blocks);
  if (forward->blocks == NULL) return NK_EMEMORY;
  int code = NK_OK;
  for (size_t layer = 0; layer < shape->n_layers && code == NK_OK; layer++)
    code = find_block(forward, family, prefix, layer);
  if (code == NK_OK) code = refuse_strangers(forward, family, prefix);
  if (code == NK_OK) code = find_matrices(forward, family, prefix);
  if (code != NK_OK) return code;
  snprintf(name, sizeof name, "%s%s", prefix, family->final_norm);
  code = find_tensor(forward->model, name, "weight", shape->dim, 0, &forward->final_norm.weight);
  if (code == NK_OK && !family->rms)
    code = find_tensor(forward->model, name, "bias", shape->dim, 0, &forward->final_norm.bias);
  for (size_t layer = 0; layer < shape->n_layers; layer++) {
    const struct nki_block *block = &forward->blocks[layer];
    size_t floats = block_floats(block);
    if (floats > forward->scratch_floats) forward->scratch_floats = floats;
    for (int part = 0; part < NKI_N_PARTS; part++) {
      const struct nki_weight *w = &block->part[part];
      if (w->weight != NULL) shape->n_parameters += w->weight->n_elements;
      if (w->bias != NULL) shape->n_parameters += w->bias->n_elements;
    }
  }
  return code;
}

/* ---- Widening ---- */

const float *nki_tensor_floats(const struct nk_tensor *tensor, size_t first, size_t n,
                               float *scratch) {
  size_t size = nk_dtype_size(tensor->dtype);
  const char *data = (const char *)tensor->data + first * size;
  if (tensor->dtype == NK_F32 && (uintptr_t)data % sizeof(float) == 0) return (const float *)data;
  nki_widen_parallel(tensor->dtype, data, n, scratch);
  return scratch;
}

void nki_block_widen(const struct nk_forward *forward, size_t layer, float *scratch,
                     struct nki_floats floats[NKI_N_PARTS]) {
  for (int part = 0; part < NKI_N_PARTS; part++) {
    const struct nki_weight *w = &forward->blocks[layer].part[part];
    floats[part] = (struct nki_floats){NULL, NULL};
    if (w->weight != NULL) {
      floats[part].weight = nki_tensor_floats(w->weight, 0, w->weight->n_elements, scratch);
      if (floats[part].weight == scratch) scratch += (w->weight->n_elements + 15) / 16 * 16;
    }
    if (w->bias != NULL) {
      floats[part].bias = nki_tensor_floats(w->bias, 0, w->bias->n_elements, scratch);
      if (floats[part].bias == scratch) scratch += (w->bias->n_elements + 15) / 16 * 16;
    }
  }
}

/* ---- The public face ---- */

struct nk_forward *nk_forward_open(const struct nk_model *model) {
  struct nk_forward *forward = nk_calloc(1, sizeof *forward);
  const struct nki_family *family;
  if (forward == NULL) return NULL;
  forward->model = model;
  int code = nki_config_read(model, &forward->config, &family);
  if (code == NK_OK) {
    code = nki_weights_find(forward, family);
    if (code != NK_OK) nk_fail_in(code, "%s", nk_model_name(model));
  }
  if (code != NK_OK) {
    nk_forward_free(forward);
    return NULL;
  }
  return forward;
}

void nk_forward_free(struct nk_forward *forward) {
  if (forward == NULL) return;
  nki_config_free(&forward->config);
  nk_free(forward->blocks);
  nk_free(forward);
}

static void free_part(void *forward) {
  nk_forward_free(forward);
}

struct nk_forward *nk_model_forward(struct nk_model *model) {
  if (model == NULL) return NULL;
  struct nki_model_slot *slot = &model->parts[NKI_MODEL_FORWARD];
  if (slot->object == NULL) *slot = (struct nki_model_slot){nk_forward_open(model), free_part};
  return slot->object;
}

const struct nk_forward_shape *nk_forward_shape(const struct nk_forward *forward) {
  return &forward->config.shape;
}

int nk_forward_embedding(const struct nk_forward *forward, int64_t id, float *out) {
  size_t dim = forward->config.shape.dim, n = forward->embedding->shape[0];
  if (id < 0 || (size_t)id >= n)
    return nk_fail(NK_EUSAGE, "id %lld: the model has tokens 0 to %zu", (long long)id, n - 1);
  const float *row = nki_tensor_floats(forward->embedding, (size_t)id * dim, dim, out);
  if (row != out) memcpy(out, row, dim * sizeof(float));
  return 0;
}
