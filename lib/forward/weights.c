/* The model's weights: finding them by the architecture's names, checking their shapes, and
 * widening a block, or an expert, at a time. A tensor in a block's place that the architecture does
 * not have (an adapter, a quantized weight's scales) is an error. */
#include <math.h>
#include <noken/base.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forward/batch.h"
#include "forward/bf16.h"
#include "model/dtype.h"
#include "model/family.h"
#include "model/model.h"

enum { QKV_BLOCK = 64 }; /* rows of a fused q, k, v that are widened at once */

/* ---- What each part looks like ---- */

void nki_part_shape(const struct nki_config *config, enum nki_part part, size_t *n_out,
                    size_t *n_in) {
  const struct nk_forward_shape *s = &config->shape;
  size_t q = s->n_heads * s->head_dim, kv = s->n_kv_heads * s->head_dim;
  bool whole = config->qk_norm == NKI_QK_NORM_WHOLE;
  const size_t shapes[NKI_N_PARTS][2] = {
      [NKI_NORM1] = {s->dim, 0},
      [NKI_NORM2] = {s->dim, 0},
      [NKI_NORM1_POST] = {s->dim, 0},
      [NKI_NORM2_POST] = {s->dim, 0},
      [NKI_Q_NORM] = {whole ? q : s->head_dim, 0},
      [NKI_K_NORM] = {whole ? kv : s->head_dim, 0},
      [NKI_SINKS] = {s->n_heads, 0},
      [NKI_QKV] = {q + 2 * kv, s->dim},
      [NKI_Q] = {q, s->dim},
      [NKI_K] = {kv, s->dim},
      [NKI_V] = {kv, s->dim},
      [NKI_O] = {s->dim, q},
      [NKI_GATE] = {s->mlp_dim, s->dim},
      [NKI_UP] = {s->mlp_dim, s->dim},
      [NKI_GATE_UP] = {2 * s->mlp_dim, s->dim},
      [NKI_DOWN] = {s->dim, s->mlp_dim},
      [NKI_ROUTER] = {config->n_experts, s->dim},
      [NKI_EXPERTS_GATE_UP] = {2 * config->expert_dim, s->dim},
      [NKI_EXPERTS_GATE] = {config->expert_dim, s->dim},
      [NKI_EXPERTS_UP] = {config->expert_dim, s->dim},
      [NKI_EXPERTS_DOWN] = {s->dim, config->expert_dim},
      [NKI_SHARED_GATE] = {config->shared_dim, s->dim},
      [NKI_SHARED_UP] = {config->shared_dim, s->dim},
      [NKI_SHARED_DOWN] = {s->dim, config->shared_dim},
      [NKI_SHARED_SCALE] = {1, s->dim},
  };
  *n_out = shapes[part][0];
  *n_in = shapes[part][1];
}

/* Whether this layer of this model has the part, for families that name it. */
static bool has_part(const struct nki_config *config, size_t layer, enum nki_part part) {
  bool sparse = part >= NKI_ROUTER && part <= NKI_SHARED_SCALE;
  bool dense = part >= NKI_GATE_UP && part <= NKI_DOWN;
  if (config->absent[part] || (sparse && !config->layers[layer].sparse)) return false;
  return !(dense && config->layers[layer].sparse);
}

/* A shape as text: "[3, 4]". */
static void print_shape(const size_t *shape, size_t n_dims, char out[96]) {
  size_t n = 0;
  for (size_t i = 0; i < n_dims && n < 90; i++)
    n += (size_t)snprintf(out + n, 96 - n, "%s%zu", i == 0 ? "[" : ", ", shape[i]);
  snprintf(out + n, 96 - n, "]");
}

static int check_shape(const struct nk_tensor *tensor, const size_t *shape, size_t n_dims) {
  char wanted[96];
  if (tensor->n_dims == n_dims && memcmp(tensor->shape, shape, n_dims * sizeof *shape) == 0)
    return NK_OK;
  print_shape(shape, n_dims, wanted);
  return nk_fail(NK_EDATA, "tensor '%s' is not %s as config.json has it", tensor->name, wanted);
}

static int check_tensor(const struct nk_tensor *tensor, const size_t *shape, size_t n_dims) {
  int code = nki_tensor_check_widens(tensor);
  if (code != NK_OK) return code;
  return check_shape(tensor, shape, n_dims);
}

/* *out = the tensor called name, checked. */
static int find_tensor(const struct nk_model *model, const char *name, const size_t *shape,
                       size_t n_dims, const struct nk_tensor **out) {
  *out = nk_model_find(model, name);
  return *out != NULL ? check_tensor(*out, shape, n_dims) : NK_ENOTFOUND;
}

static int find_vector(const struct nk_model *model, const char *name, size_t n,
                       const struct nk_tensor **out) {
  return find_tensor(model, name, &n, 1, out);
}

/* ---- Blocks ---- */

/* How the tensors of this file are named. */
struct naming {
  const struct nki_architecture *architecture;
  const char *prefix;
};

/* A part of a block of this file. */
struct place {
  const struct naming *naming;
  size_t layer;
  enum nki_part part;
  const char *spelling; /* of the part's name */
};

static int name_of(const struct place *place, size_t number, const char *suffix,
                   char name[NKI_MAX_NAME]) {
  return nki_spell_part(place->naming->architecture, place->naming->prefix, place->layer,
                        place->spelling, number, suffix, name);
}

/* The family's other name of the part where the file has that one. */
static const char *spell(const struct nk_model *model, const struct place *place) {
  const struct nki_architecture *a = place->naming->architecture;
  const char *other = a->other_names[place->part];
  char name[NKI_MAX_NAME];
  if (other == NULL) return a->names[place->part];
  const char *suffix = nki_part_suffix(a, other, place->part, false);
  if (nki_spell_part(a, place->naming->prefix, place->layer, other, 0, suffix, name) == NK_OK &&
      nki_model_look_up(model, name) != NULL)
    return other;
  return a->names[place->part];
}

/* MXFP4 as gpt-oss has it: NAME_blocks U8 [experts, n_out, n_in / 32, 16], two values a byte, and
 * NAME_scales U8 [experts, n_out, n_in / 32]. NK_ENOTFOUND without an error where it is absent. */
static int find_mxfp4(struct nk_forward *forward, const struct place *place, size_t n_out,
                      size_t n_in) {
  struct nki_weight *weight = &forward->blocks[place->layer].part[place->part];
  const size_t shape[4] = {forward->config.n_experts, n_out, n_in / 32, 16};
  const char *const suffixes[2] = {"_blocks", "_scales"};
  const struct nk_tensor *found[2];
  char name[NKI_MAX_NAME];
  for (size_t i = 0; i < 2; i++) {
    int code = name_of(place, 0, suffixes[i], name);
    if (code != NK_OK) return code;
    found[i] =
        i == 0 ? nki_model_look_up(forward->model, name) : nk_model_find(forward->model, name);
    if (found[i] == NULL && i == 0) return NK_ENOTFOUND;
    if (found[i] == NULL) return nk_fail(NK_EDATA, "no tensor '%s' for its blocks", name);
    if (found[i]->dtype != NK_U8 || n_in % 32 != 0)
      return nk_fail(NK_EUNSUPPORTED, "tensor '%s' is %s of %zu columns: MXFP4 is U8 of 32s", name,
                     nki_tensor_dtype_name(found[i]), n_in);
    code = check_shape(found[i], shape, 4 - i);
    if (code != NK_OK) return code;
  }
  weight->weight = found[0];
  weight->scales = found[1];
  return NK_OK;
}

/* One tensor for each expert or head. */
static int find_each(struct nk_forward *forward, const struct place *place, const size_t *shape,
                     size_t n_dims) {
  struct nki_weight *weight = &forward->blocks[place->layer].part[place->part];
  const struct nki_config *c = &forward->config;
  char name[NKI_MAX_NAME];
  size_t n = place->part == NKI_Q_NORM   ? c->shape.n_heads
             : place->part == NKI_K_NORM ? c->shape.n_kv_heads
                                         : c->n_experts;
  weight->each = nk_calloc(n, sizeof(const struct nk_tensor *));
  if (weight->each == NULL) return NK_EMEMORY;
  for (weight->n_each = 0; weight->n_each < n; weight->n_each++) {
    int code = name_of(place, weight->n_each, ".weight", name);
    if (code == NK_OK)
      code = find_tensor(forward->model, name, shape, n_dims, &weight->each[weight->n_each]);
    if (code != NK_OK) return code;
  }
  return NK_OK;
}

static int find_part(struct nk_forward *forward, const struct naming *naming, size_t layer,
                     enum nki_part part) {
  const struct nki_config *c = &forward->config;
  struct nki_weight *weight = &forward->blocks[layer].part[part];
  struct place place = {naming, layer, part, NULL};
  char name[NKI_MAX_NAME];
  size_t n_out, n_in, shape[3], n_dims = 0;
  place.spelling = spell(forward->model, &place);
  nki_part_shape(c, part, &n_out, &n_in);
  bool each = strchr(place.spelling, '%') != NULL, stacked = nki_is_experts(part) && !each;
  bool turned = n_in != 0 && (c->in_out || (stacked && c->experts_fused));
  bool per_head =
      !each && c->qk_norm == NKI_QK_NORM_EACH && (part == NKI_Q_NORM || part == NKI_K_NORM);
  if (stacked) shape[n_dims++] = c->n_experts;
  if (per_head) shape[n_dims++] = part == NKI_Q_NORM ? c->shape.n_heads : c->shape.n_kv_heads;
  shape[n_dims++] = turned ? n_in : n_out;
  if (n_in != 0) shape[n_dims++] = turned ? n_out : n_in;
  if (each) return find_each(forward, &place, shape, n_dims);
  int code = stacked ? find_mxfp4(forward, &place, n_out, n_in) : NK_ENOTFOUND;
  if (code == NK_ENOTFOUND) {
    code = name_of(&place, 0, nki_part_suffix(naming->architecture, place.spelling, part, false),
                   name);
    if (code != NK_OK) return code;
    const struct nk_tensor *found = nki_model_look_up(forward->model, name);
    if (part == NKI_SHARED_SCALE && found != NULL && found->n_dims == 1) /* GGUF has either */
      shape[--n_dims - 1] = n_in;
    code = find_tensor(forward->model, name, shape, n_dims, &weight->weight);
  }
  if (code != NK_OK || !nki_part_has_bias(naming->architecture, forward->model, part)) return code;
  code =
      name_of(&place, 0, nki_part_suffix(naming->architecture, place.spelling, part, true), name);
  const size_t bias[2] = {stacked ? c->n_experts : n_out, n_out};
  return code != NK_OK ? code
                       : find_tensor(forward->model, name, bias, stacked ? 2 : 1, &weight->bias);
}

/* Blocks of MXFP4 are [out, in], the other matrices of such experts [in, out]; nki_expert has one
 * order for all of them. */
static int check_experts(const struct nk_forward *forward, size_t layer) {
  const struct nki_weight *up = &forward->blocks[layer].part[NKI_EXPERTS_GATE_UP];
  const struct nki_weight *down = &forward->blocks[layer].part[NKI_EXPERTS_DOWN];
  if (!forward->config.experts_fused || (up->scales == NULL) == (down->scales == NULL))
    return NK_OK;
  return nk_fail(NK_EUNSUPPORTED, "tensor '%s' is MXFP4 and '%s' is not: both or neither may be",
                 (up->scales != NULL ? up : down)->weight->name,
                 (up->scales != NULL ? down : up)->weight->name);
}

static int find_block(struct nk_forward *forward, const struct naming *naming, size_t layer) {
  int code = NK_OK;
  for (int p = 0; p < NKI_N_PARTS && code == NK_OK; p++) {
    enum nki_part part = (enum nki_part)p;
    if (naming->architecture->names[part] != NULL && has_part(&forward->config, layer, part))
      code = find_part(forward, naming, layer, part);
  }
  return code == NK_OK ? check_experts(forward, layer) : code;
}

static bool is_part(const void *user, const struct nk_tensor *tensor, size_t layer) {
  const struct nk_forward *forward = user;
  for (int part = 0; part < NKI_N_PARTS; part++) {
    const struct nki_weight *weight = &forward->blocks[layer].part[part];
    if (weight->weight == tensor || weight->bias == tensor || weight->scales == tensor) return true;
    for (size_t i = 0; i < weight->n_each; i++)
      if (weight->each[i] == tensor) return true;
  }
  return false;
}

static size_t round16(size_t n) {
  return (n + 15) / 16 * 16;
}

/* Elements of a part: two in each byte of MXFP4 blocks. */
static size_t n_elements(const struct nki_weight *w) {
  size_t n = w->weight == NULL ? 0 : w->weight->n_elements * (w->scales == NULL ? 1 : 2);
  for (size_t i = 0; i < w->n_each; i++) n += w->each[i]->n_elements;
  return n;
}

/* Floats that a block takes when all of it is widened, each part from a multiple of 16; and those
 * that one of its experts takes. */
static void block_floats(const struct nki_config *c, const struct nki_block *block, size_t *floats,
                         size_t *expert_floats) {
  *floats = *expert_floats = 0;
  for (int part = 0; part < NKI_N_PARTS; part++) {
    const struct nki_weight *w = &block->part[part];
    size_t n = n_elements(w), n_bias = w->bias == NULL ? 0 : w->bias->n_elements;
    if (nki_is_experts((enum nki_part)part))
      *expert_floats += n == 0 ? 0 : round16(n / c->n_experts) + round16(n_bias / c->n_experts);
    else
      *floats += round16(n) + round16(n_bias);
    if (part == NKI_QKV && c->qkv_groups > 1) { /* the rows of widen_qkv */
      size_t n_rows = QKV_BLOCK * c->shape.dim;
      *floats += round16(n_rows > n_bias ? n_rows : n_bias);
    }
  }
}

static void count_floats(struct nk_forward *forward) {
  struct nk_forward_shape *shape = &forward->config.shape;
  for (size_t layer = 0; layer < shape->n_layers; layer++) {
    const struct nki_block *block = &forward->blocks[layer];
    size_t floats, expert_floats;
    block_floats(&forward->config, block, &floats, &expert_floats);
    if (floats > forward->scratch_floats) forward->scratch_floats = floats;
    if (expert_floats > forward->expert_floats) forward->expert_floats = expert_floats;
    for (int part = 0; part < NKI_N_PARTS; part++) {
      const struct nki_weight *w = &block->part[part];
      shape->n_parameters += n_elements(w) + (w->bias == NULL ? 0 : w->bias->n_elements);
    }
  }
}

/* ---- Around the blocks ---- */

/* The matrix that nk-extract gives too, as wide as the residual stream. */
static int find_matrix(const struct nk_forward *forward, enum nk_matrix which,
                       const struct nk_tensor **out) {
  *out = nk_model_matrix(forward->model, which, NULL);
  if (*out == NULL) return nk_error_code();
  const size_t shape[2] = {(*out)->shape[0], forward->config.shape.dim};
  return check_tensor(*out, shape, 2);
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
    code = check_tensor(bias, &shape->n_vocabulary, 1);
    forward->unembedding_bias = bias;
  }
  if (code != NK_OK || architecture->positions == NULL) return code;
  code = find_matrix(forward, NK_MATRIX_POSITION, &forward->positions);
  const size_t wanted[2] = {shape->n_positions + architecture->position_offset, shape->dim};
  return code != NK_OK ? code : check_tensor(forward->positions, wanted, 2);
}

/* A norm outside the blocks; name NULL: there is none, or it has no weights. */
static int find_norm(const struct nk_forward *forward, const struct naming *naming,
                     const char *norm, struct nki_weight *out) {
  size_t dim = forward->config.shape.dim;
  char name[NKI_MAX_NAME];
  if (norm == NULL) return NK_OK;
  snprintf(name, sizeof name, "%s%s.weight", naming->prefix, norm);
  int code = find_vector(forward->model, name, dim, &out->weight);
  if (code != NK_OK || !nki_part_has_bias(naming->architecture, forward->model, NKI_NORM1))
    return code;
  snprintf(name, sizeof name, "%s%s.bias", naming->prefix, norm);
  return find_vector(forward->model, name, dim, &out->bias);
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
  if (code == NK_OK)
    code =
        nki_check_block_tensors(forward->model, architecture, prefix, n_layers, is_part, forward);
  if (code == NK_OK) code = find_matrices(forward, &naming);
  if (code == NK_OK)
    code = find_norm(forward, &naming, architecture->final_norm, &forward->final_norm);
  if (code == NK_OK)
    code = find_norm(forward, &naming, architecture->embedding_norm, &forward->embedding_norm);
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

/* The file has them as [groups, (q, k, v), rows of each]. */
size_t nki_qkv_row(const struct nki_config *c, size_t row) {
  size_t q = c->shape.n_heads * c->shape.head_dim / c->qkv_groups;
  size_t kv = c->shape.n_kv_heads * c->shape.head_dim / c->qkv_groups;
  size_t group = row / (q + 2 * kv), at = row % (q + 2 * kv);
  if (at < q) return group * q + at;
  bool second = at >= q + kv; /* k and v, or v and k */
  size_t first_of = c->qkv_groups * (q + (second != c->qkv_value_second ? kv : 0));
  return first_of + group * kv + (at - q) % kv;
}

/* Rows of `width` floats of a fused q, k, v, from where the file has them, in turn. */
static void put_in_turn(const struct nki_config *c, const float *from, size_t width, float *to) {
  size_t n = (c->shape.n_heads + 2 * c->shape.n_kv_heads) * c->shape.head_dim;
  for (size_t row = 0; row < n; row++)
    memcpy(to + nki_qkv_row(c, row) * width, from + row * width, width * sizeof *to);
}

/* A tensor as floats, in scratch where it cannot be used where it is: *scratch then moves past
 * it. */
static const float *widen(const struct nk_tensor *tensor, size_t first, size_t n, float **scratch) {
  const float *floats = nki_tensor_floats(tensor, first, n, *scratch);
  if (floats == *scratch) *scratch += round16(n);
  return floats;
}

/* The same of all of it; n_heads as n_heads_in_pairs. */
static const float *widen_whole(const struct nk_tensor *tensor, size_t n_heads, float **scratch) {
  float *out = *scratch;
  if (n_heads == 0) return widen(tensor, 0, tensor->n_elements, scratch);
  nki_tensor_widen_pairs(tensor, n_heads, out);
  *scratch += round16(tensor->n_elements);
  return out;
}

/* The fused q, k, v, weights and biases. */
static void widen_qkv(const struct nki_config *c, const struct nki_weight *w, float **scratch,
                      struct nki_floats *out) {
  size_t dim = c->shape.dim, n = w->weight->n_elements / dim;
  float *weight = *scratch, *bias = weight + round16(w->weight->n_elements);
  float *rows = bias + (w->bias == NULL ? 0 : round16(n)); /* a block of them, or the biases */
  for (size_t row = 0; row < n; row += QKV_BLOCK) {
    size_t some = n - row < QKV_BLOCK ? n - row : QKV_BLOCK;
    const float *from = nki_tensor_floats(w->weight, row * dim, some * dim, rows);
    for (size_t i = 0; i < some; i++)
      memcpy(weight + nki_qkv_row(c, row + i) * dim, from + i * dim, dim * sizeof *weight);
  }
  *out = (struct nki_floats){.weight = weight};
  if (w->bias != NULL) {
    put_in_turn(c, nki_tensor_floats(w->bias, 0, n, rows), 1, bias);
    out->bias = bias;
  }
  *scratch = rows;
}

void nki_block_widen(const struct nk_forward *forward, size_t layer, float *scratch,
                     struct nki_floats floats[NKI_N_PARTS]) {
  const struct nki_config *c = &forward->config;
  for (int part = 0; part < NKI_N_PARTS; part++) {
    const struct nki_weight *w = &forward->blocks[layer].part[part];
    size_t n_heads = n_heads_in_pairs(forward, (enum nki_part)part);
    floats[part] = (struct nki_floats){NULL, NULL, NULL};
    if (nki_is_experts((enum nki_part)part)) continue;
    if (part == NKI_QKV && w->weight != NULL && c->qkv_groups > 1) {
      widen_qkv(c, w, &scratch, &floats[part]);
      continue;
    }
    bool stays = n_heads == 0 && w->weight != NULL &&
                 nki_bf16_stays(forward, (enum nki_part)part, w->weight);
    if (w->weight != NULL && !stays)
      floats[part].weight = widen_whole(w->weight, n_heads, &scratch);
    if (w->bias != NULL) floats[part].bias = widen_whole(w->bias, n_heads, &scratch);
    if (w->each == NULL) continue;
    floats[part].weight = scratch;
    for (size_t i = 0, n; i < w->n_each; i++, scratch += n) {
      n = w->each[i]->n_elements;
      const float *one = nki_tensor_floats(w->each[i], 0, n, scratch);
      if (one != scratch) memcpy(scratch, one, n * sizeof *scratch);
    }
    scratch += (16 - (size_t)(scratch - floats[part].weight) % 16) % 16;
  }
}

struct nki_norm_step nki_outer_norm(const struct nk_forward *forward, const struct nki_weight *norm,
                                    float *scratch) {
  size_t dim = forward->config.shape.dim;
  struct nki_norm_step step = {.config = &forward->config};
  if (norm->weight != NULL) step.scale.weight = nki_tensor_floats(norm->weight, 0, dim, scratch);
  if (norm->bias != NULL) step.scale.bias = nki_tensor_floats(norm->bias, 0, dim, scratch + dim);
  return step;
}

/* Values of one expert: e2m1 numbers, two a byte, the low half first, each 32 times 2^(scale - 127)
 * (Open Compute Project, Microscaling Formats 1.0). */
static void widen_mxfp4(const struct nki_weight *w, size_t expert, size_t n, float *out) {
  static const float values[16] = {0,     0.5f,  1,  1.5f,  2,  3,  4,  6,
                                   -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6};
  const uint8_t *blocks = (const uint8_t *)w->weight->data + expert * n / 2;
  const uint8_t *scales = (const uint8_t *)w->scales->data + expert * n / 32;
#pragma omp parallel for
  for (size_t b = 0; b < n / 32; b++) {
    float scale = ldexpf(1.0f, scales[b] - 127);
    for (size_t i = 0; i < 16; i++) {
      out[b * 32 + 2 * i] = values[blocks[b * 16 + i] & 15] * scale;
      out[b * 32 + 2 * i + 1] = values[blocks[b * 16 + i] >> 4] * scale;
    }
  }
}

void nki_expert_widen(const struct nk_forward *forward, size_t layer, size_t expert, float *scratch,
                      struct nki_expert *out) {
  static const enum nki_part parts[] = {NKI_EXPERTS_GATE_UP, NKI_EXPERTS_GATE, NKI_EXPERTS_UP,
                                        NKI_EXPERTS_DOWN};
  struct nki_floats *const floats[] = {&out->gate_up, &out->gate, &out->up, &out->down};
  const struct nki_config *c = &forward->config;
  *out = (struct nki_expert){.in_out = c->experts_fused};
  for (size_t p = 0; p < sizeof parts / sizeof parts[0]; p++) {
    const struct nki_weight *w = &forward->blocks[layer].part[parts[p]];
    const struct nk_tensor *one = w->each != NULL ? w->each[expert] : w->weight;
    size_t n = n_elements(w) / c->n_experts;
    if (w->scales != NULL) {
      widen_mxfp4(w, expert, n, scratch);
      floats[p]->weight = scratch;
      scratch += round16(n);
      out->in_out = false;
    } else if (one != NULL && !nki_bf16_stays(forward, parts[p], one)) {
      floats[p]->weight = widen(one, w->each != NULL ? 0 : expert * n, n, &scratch);
    }
    size_t n_bias = w->bias == NULL ? 0 : w->bias->n_elements / c->n_experts;
    if (w->bias != NULL) floats[p]->bias = widen(w->bias, expert * n_bias, n_bias, &scratch);
  }
}

/* ---- The native engine ---- */

static const float *embeddings(const struct nk_forward *forward, size_t first, size_t n,
                               float *scratch) {
  size_t dim = forward->config.shape.dim;
  return nki_tensor_floats(forward->embedding, first * dim, n * dim, scratch);
}

static void free_native(struct nk_forward *forward) {
  size_t n_layers = forward->blocks == NULL ? 0 : forward->config.shape.n_layers;
  for (size_t layer = 0; layer < n_layers; layer++)
    for (int part = 0; part < NKI_N_PARTS; part++) nk_free(forward->blocks[layer].part[part].each);
  nki_config_free(&forward->config);
  nki_bf16_free(forward->bf16);
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
