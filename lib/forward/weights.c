/* The model's weights: finding them by the architecture's names, checking their shapes, and
 * widening a block at a time. A tensor in a block's place that the architecture does not have (an
 * adapter, a quantized weight's scales) is an error. */
#include <noken/base.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forward/batch.h"
#include "model/dtype.h"
#include "model/model.h"

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

static int check_tensor(const struct nk_tensor *tensor, size_t n_out, size_t n_in) {
  int code = nki_tensor_check_widens(tensor);
  if (code != NK_OK) return code;
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
  return NK_OK;
}

/* *out = the tensor called name, checked. */
static int find_tensor(const struct nk_model *model, const char *name, size_t n_out, size_t n_in,
                       const struct nk_tensor **out) {
  *out = nk_model_find(model, name);
  return *out != NULL ? check_tensor(*out, n_out, n_in) : NK_ENOTFOUND;
}

/* ---- Blocks ---- */

/* How the tensors of this file are named. */
struct naming {
  const struct nki_architecture *architecture;
  const char *prefix;
};

static int find_part(struct nk_forward *forward, const struct naming *naming, size_t layer,
                     enum nki_part part) {
  const struct nki_architecture *architecture = naming->architecture;
  struct nki_weight *weight = &forward->blocks[layer].part[part];
  char name[NKI_MAX_NAME];
  size_t n_out, n_in;
  part_shape(&forward->config, part, &n_out, &n_in);
  bool turned = forward->config.in_out && n_in != 0;
  int code = nki_part_name(architecture, naming->prefix, layer, part, "weight", name);
  if (code == NK_OK)
    code = find_tensor(forward->model, name, turned ? n_in : n_out, turned ? n_out : n_in,
                       &weight->weight);
  if (code != NK_OK || !nki_part_has_bias(architecture, forward->model, part)) return code;
  code = nki_part_name(architecture, naming->prefix, layer, part, "bias", name);
  return code != NK_OK ? code : find_tensor(forward->model, name, n_out, 0, &weight->bias);
}

static int find_block(struct nk_forward *forward, const struct naming *naming, size_t layer) {
  int code = NK_OK;
  for (int part = 0; part < NKI_N_PARTS && code == NK_OK; part++) {
    if (naming->architecture->names[part] != NULL)
      code = find_part(forward, naming, layer, (enum nki_part)part);
  }
  return code;
}

/* Masks and frequencies that published checkpoints contain although they follow from the
 * configuration. */
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

/* A tensor in a block's place that the architecture does not have is a part of the model that the
 * forward pass would leave out. */
static int check_for_unknown_parts(const struct nk_forward *forward, const struct naming *naming) {
  const char *block = naming->architecture->block, *number = strchr(block, '%');
  char head[NKI_MAX_NAME]; /* "model.layers." */
  snprintf(head, sizeof head, "%s%.*s", naming->prefix, (int)(number - block), block);
  size_t n_head = strlen(head);
  for (size_t i = 0; i < nk_model_n_tensors(forward->model); i++) {
    const struct nk_tensor *tensor = nk_model_tensor(forward->model, i);
    if (strncmp(tensor->name, head, n_head) != 0) continue;
    char *end;
    size_t layer = strtoull(tensor->name + n_head, &end, 10); /* too large: SIZE_MAX, no block */
    if (end == tensor->name + n_head || *end != '.') continue;
    if (is_part(forward, tensor, layer) || is_buffer(tensor->name)) continue;
    if (layer >= forward->config.shape.n_layers)
      return nk_fail(NK_EDATA, "tensor '%s' belongs to block %zu, config.json says %zu blocks",
                     tensor->name, layer, forward->config.shape.n_layers);
    return nk_fail(NK_EUNSUPPORTED, "tensor '%s': '%s' models have no such part", tensor->name,
                   naming->architecture->type);
  }
  return NK_OK;
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

static void count_floats(struct nk_forward *forward) {
  struct nk_forward_shape *shape = &forward->config.shape;
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
}

/* ---- Around the blocks ---- */

/* The matrix that nk-extract gives too, as wide as the residual stream. */
static int find_matrix(const struct nk_forward *forward, enum nk_matrix which,
                       const struct nk_tensor **out) {
  *out = nk_model_matrix(forward->model, which, NULL);
  if (*out == NULL) return nk_error_code();
  return check_tensor(*out, (*out)->shape[0], forward->config.shape.dim);
}

static int find_matrices(struct nk_forward *forward, const struct naming *naming) {
  const struct nki_architecture *architecture = naming->architecture;
  struct nk_forward_shape *shape = &forward->config.shape;
  char name[NKI_MAX_NAME];
  int code = find_matrix(forward, NK_MATRIX_INPUT, &forward->embedding);
  if (code == NK_OK) code = find_matrix(forward, NK_MATRIX_OUTPUT, &forward->unembedding);
  if (code != NK_OK) return code;
  shape->n_vocabulary = forward->unembedding->shape[0];
  if (architecture->head_bias) {
    snprintf(name, sizeof name, "%s.bias", architecture->head);
    const struct nk_tensor *bias = nki_model_named(forward->model, name, 1);
    if (bias == NULL) return nk_fail(NK_ENOTFOUND, "no tensor '%s'", name);
    code = check_tensor(bias, shape->n_vocabulary, 0);
    forward->unembedding_bias = bias;
  }
  if (code != NK_OK || architecture->positions == NULL) return code;
  code = find_matrix(forward, NK_MATRIX_POSITION, &forward->positions);
  return code != NK_OK
             ? code
             : check_tensor(forward->positions, shape->n_positions + architecture->position_offset,
                            shape->dim);
}

static int find_final_norm(struct nk_forward *forward, const struct naming *naming) {
  const char *norm = naming->architecture->final_norm;
  size_t dim = forward->config.shape.dim;
  char name[NKI_MAX_NAME];
  snprintf(name, sizeof name, "%s%s.weight", naming->prefix, norm);
  int code = find_tensor(forward->model, name, dim, 0, &forward->final_norm.weight);
  if (code != NK_OK || forward->config.rms) return code;
  snprintf(name, sizeof name, "%s%s.bias", naming->prefix, norm);
  return find_tensor(forward->model, name, dim, 0, &forward->final_norm.bias);
}

int nki_weights_find(struct nk_forward *forward, const struct nki_architecture *architecture) {
  size_t n_layers = forward->config.shape.n_layers;
  char prefix[NKI_MAX_PREFIX];
  struct naming naming = {architecture, prefix};
  if (!nki_architecture_prefix(architecture, forward->model, prefix))
    return nk_fail(NK_EDATA, "no tensor '%s%s.weight': not a '%s' checkpoint", architecture->prefix,
                   architecture->embedding, architecture->type);
  bool in_pairs = forward->model->own != NULL && architecture->gguf_pairs;
  if (in_pairs && forward->config.shape.head_dim % 2 != 0)
    return nk_fail(NK_EDATA, "heads of %zu components are not pairs, as GGUF stores them",
                   forward->config.shape.head_dim);
  forward->blocks = nk_calloc(n_layers, sizeof *forward->blocks);
  int code = forward->blocks != NULL ? NK_OK : NK_EMEMORY;
  for (size_t layer = 0; layer < n_layers && code == NK_OK; layer++)
    code = find_block(forward, &naming, layer);
  if (code == NK_OK) code = check_for_unknown_parts(forward, &naming);
  if (code == NK_OK) code = find_matrices(forward, &naming);
  if (code == NK_OK) code = find_final_norm(forward, &naming);
  if (code == NK_OK) count_floats(forward);
  return code;
}

/* ---- Widening ---- */

/* The heads of q or k where the file has their rows in pairs; else 0. */
static size_t n_heads_in_pairs(const struct nk_forward *forward, enum nki_part part) {
  const struct nki_architecture *own = forward->model->own;
  if (own == NULL || !own->gguf_pairs) return 0;
  const struct nk_forward_shape *shape = &forward->config.shape;
  return part == NKI_Q ? shape->n_heads : part == NKI_K ? shape->n_kv_heads : 0;
}

/* *out = the tensor's floats: in the mapping, or in *scratch, which then moves past them. */
static void widen(const struct nk_tensor *tensor, size_t n_heads, float **scratch,
                  const float **out) {
  if (tensor == NULL) return;
  *out = *scratch;
  if (n_heads > 0)
    nki_tensor_widen_pairs(tensor, n_heads, *scratch);
  else
    *out = nki_tensor_floats(tensor, 0, tensor->n_elements, *scratch);
  if (*out == *scratch) *scratch += (tensor->n_elements + 15) / 16 * 16;
}

void nki_block_widen(const struct nk_forward *forward, size_t layer, float *scratch,
                     struct nki_floats floats[NKI_N_PARTS]) {
  for (int part = 0; part < NKI_N_PARTS; part++) {
    const struct nki_weight *w = &forward->blocks[layer].part[part];
    size_t n_heads = n_heads_in_pairs(forward, (enum nki_part)part);
    floats[part] = (struct nki_floats){NULL, NULL};
    widen(w->weight, n_heads, &scratch, &floats[part].weight);
    widen(w->bias, n_heads, &scratch, &floats[part].bias);
  }
}

/* ---- The native engine ---- */

static const float *embeddings(const struct nk_forward *forward, size_t first, size_t n,
                               float *scratch) {
  size_t dim = forward->config.shape.dim;
  return nki_tensor_floats(forward->embedding, first * dim, n * dim, scratch);
}

static void free_native(struct nk_forward *forward) {
  nki_config_free(&forward->config);
  nk_free(forward->blocks);
}

const struct nki_engine nki_native_engine = {.name = "native",
                                             .begin = nki_work_make,
                                             .end = nki_work_free,
                                             .pass = nki_pass_run,
                                             .embeddings = embeddings,
                                             .free = free_native};

int nki_native_open(struct nk_forward *forward) {
  const struct nki_architecture *architecture;
  int code = nki_config_read(forward->model, &forward->config, &architecture);
  if (code != NK_OK) return code;
  code = nki_weights_find(forward, architecture);
  if (code != NK_OK) return nk_fail_in(code, "%s", nk_model_name(forward->model));
  forward->n_tokens = forward->embedding->shape[0];
  return NK_OK;
}
