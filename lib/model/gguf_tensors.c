/* The tensors of a model as GGUF has them: which there are, their names and their layouts. Those of
 * a checkpoint are those of the table of architectures, changed as llama.cpp's converter changes
 * them: matrices of the form [in, out] are transposed, rows of q and k are reordered where
 * llama.cpp rotates pairs of components and the checkpoint rotates halves, q, k and v that
 * alternate by heads are put one after the other, experts and norms of heads are put into one
 * tensor, gate and up that alternate into two, and the 1 that Gemma's norms add is added. */
#include <noken/base.h>
#include <noken/model.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/names.h"
#include "model/dtype.h"
#include "model/family.h"
#include "model/gguf_write.h"
#include "model/model.h"
#include "model/quantized.h"
#include "model/rows.h"

/* ---- Entries ---- */

/* Matrices get the type that is asked for, or F16 where their rows are not whole blocks of it. As
 * llama.cpp's converter does, vectors, norms, biases, positions and the routers of experts stay
 * F32. */
static enum nk_dtype dtype_of(const struct nki_gguf_writing *w, const char *name, size_t n_dims,
                              size_t columns) {
  bool is_exact = strcmp(name, "position_embd.weight") == 0 ||
                  strstr(name, "ffn_gate_inp") != NULL || nki_ends_with(name, "_norm.weight") ||
                  nki_ends_with(name, ".bias");
  struct nki_block_size block = nki_block_size(w->dtype);
  if (n_dims < 2 || is_exact) return NK_F32;
  return block.elements > 0 && columns % block.elements != 0 ? NK_F16 : w->dtype;
}

/* Adds an entry that has everything but its name, type and numbers of rows and columns. */
static int add_entry(struct nki_gguf_writing *w, const char *name,
                     const struct nki_gguf_entry *made) {
  if (w->n_entries == w->capacity) {
    size_t capacity = w->capacity * 2 + 64;
    struct nki_gguf_entry *more = nk_realloc(w->entries, w->n_entries, capacity, sizeof *more);
    if (more == NULL) return NK_EMEMORY;
    w->entries = more;
    w->capacity = capacity;
  }
  struct nki_gguf_entry *entry = &w->entries[w->n_entries];
  *entry = *made;
  if ((size_t)snprintf(entry->name, sizeof entry->name, "%s", name) >= sizeof entry->name)
    return nk_fail(NK_EDATA, "the name of tensor '%.200s' is too long", name);
  size_t n = 1;
  for (size_t d = 0; d < entry->n_dims; d++) n *= entry->shape[d];
  entry->columns = entry->shape[entry->n_dims - 1];
  entry->rows = entry->columns > 0 ? n / entry->columns / entry->n_slices : 0;
  entry->dtype = entry->change == NKI_PACKED_MXFP4
                     ? NK_MXFP4
                     : dtype_of(w, name, entry->n_dims, entry->columns);
  w->n_entries++;
  return NK_OK;
}

/* A tensor that is one slice. */
static int add_tensor(struct nki_gguf_writing *w, const char *name, const struct nk_tensor *tensor,
                      enum nki_gguf_change change) {
  struct nki_gguf_entry made = {
      .tensor = tensor, .change = change, .n_slices = 1, .n_dims = tensor->n_dims};
  if (tensor->n_dims < 1 || (tensor->n_dims > 2 && w->architecture != NULL))
    return nk_fail(NK_EDATA, "tensor '%s' is neither a vector nor a matrix", tensor->name);
  int code = nki_tensor_check_widens(tensor);
  if (code != NK_OK) return code;
  memcpy(made.shape, tensor->shape, tensor->n_dims * sizeof *tensor->shape);
  if (change == NKI_STRIDED) { /* transposed */
    made.shape[0] = made.stride = tensor->shape[1];
    made.shape[1] = tensor->shape[0];
    made.step = 1;
  }
  return add_entry(w, name, &made);
}

/* ---- Parts of several tensors or slices ---- */

/* A part of a block of the checkpoint. */
struct place {
  size_t layer;
  enum nki_part part;
  const char *spelling; /* of its name */
};

static int name_of(const struct nki_gguf_writing *w, const struct place *place, size_t number,
                   const char *suffix, char name[NKI_MAX_NAME]) {
  return nki_spell_part(w->architecture, w->prefix, place->layer, place->spelling, number, suffix,
                        name);
}

/* The tensor, or NULL with an error. */
static const struct nk_tensor *find(const struct nki_gguf_writing *w, const struct place *place,
                                    size_t number, const char *suffix) {
  char name[NKI_MAX_NAME];
  if (name_of(w, place, number, suffix, name) != NK_OK) return NULL;
  return nk_model_find(w->model, name);
}

/* name = "blk.N.PART.SUFFIX" */
static int gguf_name(const struct nki_gguf_writing *w, const struct place *place,
                     enum nki_part part, const char *suffix, char name[NKI_MAX_NAME]) {
  const char *to = nki_part_gguf_name(w->architecture, part, !w->two_norms);
  if (to == NULL)
    return nk_fail(NK_EUNSUPPORTED, "'%s' has no name in GGUF", w->architecture->names[part]);
  snprintf(name, NKI_MAX_NAME, "blk.%zu.%s.%s", place->layer, to, suffix);
  return NK_OK;
}

/* One tensor for each expert or head. */
static int add_each(struct nki_gguf_writing *w, const struct place *place) {
  size_t n = place->part == NKI_Q_NORM   ? w->n_heads
             : place->part == NKI_K_NORM ? w->n_kv_heads
                                         : w->n_experts;
  const struct nk_tensor **each = nk_calloc(n, sizeof(const struct nk_tensor *));
  struct nki_gguf_entry made = {.each = each, .n_slices = n, .shape = {n}};
  char name[NKI_MAX_NAME];
  if (each == NULL) return NK_EMEMORY;
  int code = gguf_name(w, place, place->part, "weight", name);
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    each[i] = find(w, place, i, ".weight");
    code = each[i] == NULL ? nk_error_code() : nki_tensor_check_widens(each[i]);
    if (code == NK_OK &&
        (each[i]->n_dims < 1 || each[i]->n_dims > 2 || each[i]->n_dims != each[0]->n_dims ||
         memcmp(each[i]->shape, each[0]->shape, each[0]->n_dims * sizeof *each[0]->shape) != 0))
      code = nk_fail(NK_EDATA, "tensor '%s' has another shape than '%s'", each[i]->name,
                     each[0]->name);
  }
  if (code == NK_OK) {
    made.n_dims = 1 + each[0]->n_dims;
    memcpy(made.shape + 1, each[0]->shape, each[0]->n_dims * sizeof *each[0]->shape);
    code = add_entry(w, name, &made);
  }
  if (code != NK_OK) nk_free(each);
  return code;
}

/* All experts in one tensor, as gpt-oss has them: `step` parts alternate, of which this is number
 * `start`. The weights are [experts, in, step * out], or MXFP4 [experts, step * out, in / 32, 16]
 * with scales; the biases [experts, step * out]. */
static int add_stacked(struct nki_gguf_writing *w, const struct place *place, enum nki_part part,
                       size_t step, size_t start) {
  char blocks[NKI_MAX_NAME], name[NKI_MAX_NAME];
  const struct nk_tensor *tensor, *bias = find(w, place, 0, "_bias");
  struct nki_gguf_entry made = {
      .step = step, .start = start, .n_slices = w->n_experts, .n_dims = 3};
  if (bias == NULL || name_of(w, place, 0, "_blocks", blocks) != NK_OK) return nk_error_code();
  tensor = nki_model_look_up(w->model, blocks);
  bool packed = tensor != NULL;
  if (!packed) tensor = find(w, place, 0, "");
  made.scales = packed ? find(w, place, 0, "_scales") : NULL;
  if (tensor == NULL || (packed && made.scales == NULL)) return nk_error_code();
  size_t n_in = packed ? 32 * tensor->shape[2] : tensor->shape[1];
  size_t n_out = packed ? tensor->shape[1] : tensor->shape[2];
  bool sound = tensor->n_dims == (packed ? 4 : 3) && n_out % step == 0 &&
               tensor->shape[0] == w->n_experts && bias->n_dims == 2 &&
               bias->shape[0] == w->n_experts && bias->shape[1] == n_out;
  if (packed)
    sound = sound && tensor->dtype == NK_U8 && made.scales->dtype == NK_U8 &&
            tensor->shape[3] == 16 && made.scales->n_elements == tensor->n_elements / 16;
  if (!sound)
    return nk_fail(NK_EDATA, "tensors '%s' and '%s' are not of %zu experts", tensor->name,
                   bias->name, w->n_experts);
  made.tensor = tensor;
  made.change = packed ? NKI_PACKED_MXFP4 : NKI_STRIDED;
  made.stride = n_out;
  made.shape[0] = w->n_experts;
  made.shape[1] = n_out / step;
  made.shape[2] = n_in;
  int code = packed ? NK_OK : nki_tensor_check_widens(tensor);
  if (code == NK_OK) code = nki_tensor_check_widens(bias);
  if (code == NK_OK) code = gguf_name(w, place, part, "weight", name);
  if (code == NK_OK) code = add_entry(w, name, &made);
  if (code == NK_OK) code = gguf_name(w, place, part, "bias", name);
  made = (struct nki_gguf_entry){.tensor = bias,
                                 .change = NKI_STRIDED,
                                 .stride = step,
                                 .start = start,
                                 .n_slices = w->n_experts,
                                 .shape = {w->n_experts, n_out / step},
                                 .n_dims = 2};
  return code == NK_OK ? add_entry(w, name, &made) : code;
}

/* ---- Parts ---- */

static enum nki_gguf_change change_of(const struct nki_gguf_writing *w, enum nki_part part,
                                      size_t n_dims) {
  if (part == NKI_QKV && w->qkv_groups > 1) return NKI_IN_TURN;
  if (w->architecture->in_out && n_dims == 2) return NKI_STRIDED;
  if (w->architecture->gguf_pairs && part == NKI_Q) return NKI_PAIRED_Q;
  if (w->architecture->gguf_pairs && part == NKI_K) return NKI_PAIRED_K;
  return NKI_AS_IS;
}

/* A part in one tensor, or its bias. */
static int add_one(struct nki_gguf_writing *w, const struct place *place, bool is_bias) {
  const struct nki_architecture *architecture = w->architecture;
  char name[NKI_MAX_NAME];
  const struct nk_tensor *tensor =
      find(w, place, 0, nki_part_suffix(architecture, place->spelling, place->part, is_bias));
  if (tensor == NULL) return nk_error_code();
  int code = gguf_name(w, place, place->part, is_bias ? "bias" : "weight", name);
  if (code == NK_OK) code = add_tensor(w, name, tensor, change_of(w, place->part, tensor->n_dims));
  if (code == NK_OK && tensor->n_dims == 1 && architecture->norm == NKI_RMS_NORM_PLUS_ONE)
    w->entries[w->n_entries - 1].plus_one = strstr(name, "norm") != NULL;
  return code;
}

/* The family's other name of the part where the model has that one. */
static const char *spell(const struct nki_gguf_writing *w, struct place place) {
  char name[NKI_MAX_NAME];
  place.spelling = w->architecture->other_names[place.part];
  if (place.spelling != NULL && name_of(w, &place, 0, ".weight", name) == NK_OK &&
      nki_model_look_up(w->model, name) != NULL)
    return place.spelling;
  return w->architecture->names[place.part];
}

static int add_part(struct nki_gguf_writing *w, struct place place) {
  place.spelling = spell(w, place);
  if (strchr(place.spelling, '%') != NULL) return add_each(w, &place);
  if (place.part == NKI_EXPERTS_GATE_UP) {
    int code = add_stacked(w, &place, NKI_EXPERTS_GATE, 2, 0);
    return code == NK_OK ? add_stacked(w, &place, NKI_EXPERTS_UP, 2, 1) : code;
  }
  if (place.part == NKI_EXPERTS_DOWN) return add_stacked(w, &place, NKI_EXPERTS_DOWN, 1, 0);
  int code = add_one(w, &place, false);
  if (code == NK_OK && nki_part_has_bias(w->architecture, w->model, place.part))
    code = add_one(w, &place, true);
  return code;
}

/* All experts have their part of a block (gguf_check.c), which then has no mlp beside them. */
static int add_block(struct nki_gguf_writing *w, size_t layer) {
  const struct nki_architecture *architecture = w->architecture;
  const char *key = architecture->qk_norm_key;
  bool qk_norms = key == NULL || nki_flag_value(w->model, (struct nki_flag){key, false});
  int code = NK_OK;
  for (int p = 0; p < NKI_N_PARTS && code == NK_OK; p++) {
    enum nki_part part = (enum nki_part)p;
    bool is_qk_norm = part == NKI_Q_NORM || part == NKI_K_NORM;
    bool is_dense = part >= NKI_GATE_UP && part <= NKI_DOWN;
    if (architecture->names[part] == NULL || (is_qk_norm && !qk_norms) ||
        (part == NKI_NORM2 && !w->two_norms) || (is_dense && w->n_experts > 0))
      continue;
    code = add_part(w, (struct place){layer, part, NULL});
  }
  return code;
}

/* A norm outside the blocks; NULL: there is none, or it has no weights. */
static int add_norm(struct nki_gguf_writing *w, const char *norm, const char *to) {
  bool biased = nki_part_has_bias(w->architecture, w->model, NKI_NORM1);
  int code = NK_OK;
  for (int i = 0; norm != NULL && i < 1 + biased && code == NK_OK; i++) {
    const char *suffix = i == 0 ? "weight" : "bias";
    char from[NKI_MAX_NAME], name[NKI_MAX_NAME];
    snprintf(from, sizeof from, "%s%s.%s", w->prefix, norm, suffix);
    snprintf(name, sizeof name, "%s.%s", to, suffix);
    const struct nk_tensor *tensor = nk_model_find(w->model, from);
    code = tensor != NULL ? add_tensor(w, name, tensor, NKI_AS_IS) : nk_error_code();
    if (code == NK_OK && w->architecture->norm == NKI_RMS_NORM_PLUS_ONE)
      w->entries[w->n_entries - 1].plus_one = true;
  }
  return code;
}

/* ---- Around the blocks ---- */

static int add_matrix(struct nki_gguf_writing *w, enum nk_matrix which, const char *name) {
  const struct nk_tensor *tensor = nk_model_matrix(w->model, which, NULL);
  return tensor != NULL ? add_tensor(w, name, tensor, NKI_AS_IS) : nk_error_code();
}

/* The output matrix and its bias, where the family has one. */
static int add_head(struct nki_gguf_writing *w) {
  const struct nki_architecture *architecture = w->architecture;
  char name[NKI_MAX_NAME];
  bool tied;
  if (nk_model_matrix(w->model, NK_MATRIX_OUTPUT, &tied) == NULL) return nk_error_code();
  if (!tied && architecture->gguf_no_output)
    return nk_fail(NK_EUNSUPPORTED,
                   "an output matrix of its own is not written as GGUF: llama.cpp's '%s' has none",
                   architecture->gguf);
  bool omitted = tied && !architecture->gguf_output;
  int code = omitted ? NK_OK : add_matrix(w, NK_MATRIX_OUTPUT, "output.weight");
  if (code != NK_OK || !architecture->head_bias) return code;
  snprintf(name, sizeof name, "%s.bias", architecture->head);
  const struct nk_tensor *bias = nki_model_named(w->model, name, 1);
  return bias != NULL ? add_tensor(w, "output.bias", bias, NKI_AS_IS)
                      : nk_fail(NK_ENOTFOUND, "no tensor '%s'", name);
}

static int add_rope_factors(struct nki_gguf_writing *w) {
  for (int which = 0; which < 2; which++) {
    const char *name;
    float *factors = NULL;
    size_t n = 0;
    int code = nki_gguf_rope_factors(w, which, &name, &factors, &n);
    w->factors[which] = (struct nk_tensor){.name = name,
                                           .dtype = NK_F32,
                                           .n_dims = 1,
                                           .shape = {n},
                                           .n_elements = n,
                                           .n_bytes = n * sizeof *factors,
                                           .data = factors};
    if (code == NK_OK && name != NULL) code = add_tensor(w, name, &w->factors[which], NKI_AS_IS);
    if (code != NK_OK) return code;
  }
  return NK_OK;
}

/* Rows of q and k are whole heads, those of a fused q, k, v whole groups of them. */
static int check_heads(const struct nki_gguf_writing *w) {
  for (size_t i = 0; i < w->n_entries; i++) {
    const struct nki_gguf_entry *e = &w->entries[i];
    size_t heads = e->change == NKI_PAIRED_K ? w->n_kv_heads : w->n_heads;
    bool in_turn = e->change == NKI_IN_TURN, paired = !in_turn && e->change >= NKI_PAIRED_Q;
    if (e->change == NKI_PACKED_MXFP4 || !(in_turn || paired)) continue;
    size_t unit = in_turn ? w->n_heads + 2 * w->n_kv_heads : 2 * heads;
    if (e->tensor->shape[0] % unit != 0)
      return nk_fail(NK_EDATA, "tensor '%s' is not %zu heads", e->tensor->name, heads);
  }
  return NK_OK;
}

static int collect_checkpoint(struct nki_gguf_writing *w) {
  const struct nki_architecture *architecture = w->architecture;
  if (!nki_architecture_prefix(architecture, w->model, w->prefix))
    return nk_fail(NK_EDATA, "no tensor '%s%s.weight'", architecture->prefix,
                   architecture->embedding);
  int code = add_matrix(w, NK_MATRIX_INPUT, "token_embd.weight");
  if (code == NK_OK && architecture->positions != NULL)
    code = add_matrix(w, NK_MATRIX_POSITION, "position_embd.weight");
  if (code == NK_OK) code = add_norm(w, architecture->embedding_norm, "token_embd_norm");
  if (code == NK_OK) code = add_norm(w, architecture->final_norm, "output_norm");
  if (code == NK_OK) code = add_rope_factors(w);
  for (size_t i = 0; i < w->n_layers && code == NK_OK; i++) code = add_block(w, i);
  if (code == NK_OK) code = add_head(w);
  if (code == NK_OK) code = check_heads(w);
  return code == NK_OK ? nki_gguf_check_complete(w) : code;
}

int nki_gguf_collect(struct nki_gguf_writing *w) {
  if (w->architecture != NULL) return collect_checkpoint(w);
  int code = NK_OK;
  for (size_t i = 0; i < nk_model_n_tensors(w->model) && code == NK_OK; i++) {
    const struct nk_tensor *tensor = nk_model_tensor(w->model, i);
    code = add_tensor(w, tensor->name, tensor, NKI_AS_IS);
  }
  return code;
}

void nki_gguf_free_entries(struct nki_gguf_writing *w) {
  for (size_t i = 0; i < w->n_entries; i++) nk_free((void *)w->entries[i].each);
  for (int i = 0; i < 2; i++) nk_free((void *)w->factors[i].data);
  nk_free(w->entries);
}
