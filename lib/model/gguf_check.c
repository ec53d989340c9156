/* What the GGUF writer refuses: settings that GGUF has no key for, and that llama.cpp's
 * implementation of the family has otherwise, so that the file would be another model. What
 * llama.cpp alone ignores is a warning. */
#include <math.h>
#include <noken/base.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "model/family.h"
#include "model/gguf_write.h"
#include "model/model.h"
#include "model/model_config.h"
#include "model/rotary.h"

static int refuse_flag(const char *key, bool value) {
  return nk_fail(NK_EUNSUPPORTED, "config.json: %s = %s is not written as GGUF", key,
                 value ? "true" : "false");
}

/* A number that llama.cpp takes for the family. */
static int refuse_number(const struct nki_gguf_writing *w, enum nki_setting setting, double value,
                         double theirs) {
  return nk_fail(NK_EUNSUPPORTED,
                 "config.json: %s is %g, and GGUF cannot say it: llama.cpp takes %g",
                 nki_setting_key(w->model, setting), value, theirs);
}

/* ---- Sizes ---- */

static int read_sizes(struct nki_gguf_writing *w) {
  const struct nki_architecture *architecture = w->architecture;
  const size_t most = (size_t)1 << 24;
  int code = nki_need_size(w->model, NKI_SETTING_DIM, most, &w->dim);
  if (code == NK_OK) code = nki_need_size(w->model, NKI_SETTING_N_LAYERS, 1u << 16, &w->n_layers);
  if (code == NK_OK) code = nki_need_size(w->model, NKI_SETTING_N_HEADS, most, &w->n_heads);
  if (code != NK_OK) return code;
  w->head_dim = w->dim / w->n_heads;
  code = nki_read_optional_size(w->model, NKI_SETTING_HEAD_DIM, 1, most, &w->head_dim);
  if (code == NK_OK) code = nki_read_kv_heads(w->model, architecture, w->n_heads, &w->n_kv_heads);
  if (code == NK_OK) code = nki_read_order(w->model, architecture, &w->parallel, &w->two_norms);
  if (code == NK_OK && architecture->names[NKI_ROUTER] != NULL)
    code = nki_need_size(w->model, NKI_SETTING_N_EXPERTS, 1u << 16, &w->n_experts);
  w->qkv_groups = nki_qkv_groups(w->model, architecture, w->n_kv_heads);
  if (code != NK_OK) return code;
  if (w->n_heads * w->head_dim != w->dim && !w->architecture->gguf_wide_heads)
    return nk_fail(NK_EUNSUPPORTED,
                   "config.json: %zu heads of %zu components are not written as GGUF: llama.cpp's "
                   "'%s' has %zu of them",
                   w->n_heads, w->head_dim, architecture->gguf, w->dim);
  if (w->n_kv_heads != w->n_heads && w->architecture->gguf_all_keys)
    return nk_fail(NK_EUNSUPPORTED,
                   "config.json: %zu heads with keys of %zu are not written as GGUF: llama.cpp's "
                   "'%s' has as many keys",
                   w->n_heads, w->n_kv_heads, architecture->gguf);
  return NK_OK;
}

/* ---- Attention ---- */

static int check_scale(const struct nki_gguf_writing *w) {
  const struct nki_architecture *architecture = w->architecture;
  bool wide = architecture->gguf_wide_blocks > 0 && w->n_layers == architecture->gguf_wide_blocks;
  double scale = 0, scalar = 0, theirs = (double)(wide ? w->dim / w->n_heads : w->head_dim);
  bool scaled = true;
  nki_model_config_bool(w->model, "scale_attn_weights", &scaled);
  if (!scaled) return refuse_flag("scale_attn_weights", false);
  int code = nki_read_number(w->model, NKI_SETTING_QUERY_SCALAR, &scalar);
  if (code == NK_OK && scalar != 0 && scalar != theirs)
    return refuse_number(w, NKI_SETTING_QUERY_SCALAR, scalar, theirs);
  if (code != NK_OK || architecture->defaults[NKI_SETTING_ATTENTION_SCALE] != 0) return code;
  code = nki_read_number(w->model, NKI_SETTING_ATTENTION_SCALE, &scale);
  if (code != NK_OK || scale == 0 || fabs(scale * sqrt(theirs) - 1) < 1e-6) return code;
  return refuse_number(w, NKI_SETTING_ATTENTION_SCALE, scale, 1 / sqrt(theirs));
}

/* Norms of q and k that depend on the configuration: Command R has them from 64 blocks on. */
static int check_qk_norms(const struct nki_gguf_writing *w) {
  const struct nki_architecture *architecture = w->architecture;
  const char *key = architecture->qk_norm_key;
  if (key == NULL) return NK_OK;
  bool normed = nki_flag_value(w->model, (struct nki_flag){key, false});
  if (normed && !w->architecture->gguf_qk_norms) return refuse_flag(key, true);
  if (architecture->gguf_normed_blocks == 0 ||
      normed == (w->n_layers >= architecture->gguf_normed_blocks))
    return NK_OK;
  return nk_fail(NK_EUNSUPPORTED,
                 "config.json: %s = %s with %zu blocks is not written as GGUF: llama.cpp has these "
                 "norms from %zu blocks on",
                 key, normed ? "true" : "false", w->n_layers, architecture->gguf_normed_blocks);
}

/* Without the key of a soft cap, llama.cpp takes the family's default; with 0 it divides by it. */
static int check_caps(const struct nki_gguf_writing *w) {
  static const enum nki_setting caps[] = {NKI_SETTING_ATTENTION_CAP, NKI_SETTING_LOGIT_CAP};
  int code = NK_OK;
  for (size_t i = 0; i < sizeof caps / sizeof *caps && code == NK_OK; i++) {
    double theirs = w->architecture->defaults[caps[i]], value = 0;
    code = nki_read_number(w->model, caps[i], &value);
    if (code == NK_OK && theirs != 0 && value == 0) code = refuse_number(w, caps[i], value, theirs);
  }
  return code;
}

static int check_attention(const struct nki_gguf_writing *w) {
  double clip = 0;
  int code = check_scale(w);
  if (code == NK_OK) code = check_caps(w);
  if (code == NK_OK) code = check_qk_norms(w);
  if (code == NK_OK) code = nki_read_number(w->model, NKI_SETTING_QKV_CLIP, &clip);
  if (code == NK_OK && clip > 0 && !w->architecture->gguf_clip)
    return nk_fail(NK_EUNSUPPORTED,
                   "config.json: %s is not written as GGUF: llama.cpp's '%s' does not clip",
                   nki_setting_key(w->model, NKI_SETTING_QKV_CLIP), w->architecture->gguf);
  bool is_power = (w->n_heads & (w->n_heads - 1)) == 0;
  if (code == NK_OK && w->architecture->alibi == NKI_ALIBI_MPT && !is_power)
    return nk_fail(NK_EUNSUPPORTED,
                   "config.json: %zu heads are not a power of two, and are not written as GGUF: "
                   "llama.cpp biases them otherwise",
                   w->n_heads);
  bool alibi = false;
  if (w->architecture->alibi == NKI_ALIBI_FALCON) nki_model_config_bool(w->model, "alibi", &alibi);
  if (code == NK_OK && alibi) return refuse_flag("alibi", true);
  if (code == NK_OK && w->architecture->order == NKI_PARALLEL_FALCON && !w->parallel)
    return refuse_flag("parallel_attn", false);
  return code;
}

/* ---- Positions ---- */

static int check_rotary(const struct nki_gguf_writing *w) {
  const char *type;
  struct nki_yarn yarn;
  size_t rotary;
  if (w->architecture->rotary == NKI_NO_ROTARY) return NK_OK;
  int code = nki_gguf_rotary_dim(w, &rotary);
  if (code != NK_OK) return code;
  if (rotary != w->head_dim && strcmp(w->architecture->gguf, "llama") == 0)
    return nk_fail(
        NK_EUNSUPPORTED,
        "config.json: %zu of %zu components rotated are not written as GGUF: llama.cpp's "
        "'llama' rotates all",
        rotary, w->head_dim);
  code = nki_rope_type(w->model, &type);
  if (code == NK_ENOTFOUND) return NK_OK;
  if (code != NK_OK) return code;
  bool is_listed =
      strcmp(type, "llama3") == 0 || strcmp(type, "longrope") == 0 || strcmp(type, "su") == 0;
  if (is_listed && !w->architecture->gguf_rope_lists)
    return nk_fail(
        NK_EUNSUPPORTED,
        "config.json: %s '%s' is not written as GGUF: llama.cpp's '%s' has no such lists",
        nki_rope_object(w->model), type, w->architecture->gguf);
  if (strcmp(type, "yarn") != 0) return NK_OK;
  code = nki_read_yarn(w->model, &yarn);
  if (code != NK_OK) return code;
  if (yarn.rounded == w->architecture->yarn_exact) return refuse_flag("truncate", yarn.rounded);
  if (!yarn.rounded || yarn.fast != 32 || yarn.slow != 1)
    nk_warn(
        "%s: llama.cpp will round YaRN's bounds, and take 32 and 1 for its betas: its logits "
        "will be others",
        nk_model_name(w->model));
  return NK_OK;
}

/* What layers differ in. */
static int check_layers(const struct nki_gguf_writing *w) {
  size_t window = 0, n_positions = 0;
  int code = nki_read_optional_size(w->model, NKI_SETTING_N_POSITIONS, 0, 1u << 30, &n_positions);
  for (size_t i = 0; i < w->n_layers && code == NK_OK; i++) {
    struct nki_layer_kind kind;
    code = nki_read_layer_kind(w->model, w->architecture, i, &kind);
    if (code != NK_OK) return code;
    if (kind.window > 0) window = kind.window;
    if (w->architecture->rotated == NKI_ROTATED_LISTED && kind.rotated != ((i + 1) % 4 != 0))
      return nk_fail(NK_EUNSUPPORTED,
                     "config.json: no_rope_layers: layer %zu is %srotated, and GGUF cannot say it: "
                     "llama.cpp rotates all but each fourth",
                     i, kind.rotated ? "" : "not ");
    if (w->n_experts > 0 && !kind.sparse)
      return nk_fail(NK_EUNSUPPORTED,
                     "config.json: layer %zu has no experts, and is not written as GGUF: llama.cpp "
                     "needs them in all",
                     i);
  }
  if (window > 0 && window < n_positions && !w->architecture->gguf_windows)
    nk_warn(
        "%s: llama.cpp will ignore the sliding_window of %zu: longer contexts give other logits",
        nk_model_name(w->model), window);
  return code;
}

/* ---- The mlp, biases ---- */

static int check_activation(const struct nki_gguf_writing *w) {
  static const char *const same[][5] = {{"gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh"},
                                        {"silu", "swish"}};
  const char *name, *usual = w->architecture->activation;
  int code = nki_activation_name(w->model, w->architecture, &name);
  if (code != NK_OK || strcmp(name, usual) == 0) return code;
  for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
    bool has_name = false, has_usual = false;
    for (size_t k = 0; same[i][k] != NULL; k++) {
      has_name = has_name || strcmp(same[i][k], name) == 0;
      has_usual = has_usual || strcmp(same[i][k], usual) == 0;
    }
    if (!has_name || !has_usual) continue;
    if (i == 0)
      nk_warn("%s: the activation '%s' is not written to GGUF: '%s' is taken out of it",
              nk_model_name(w->model), name, usual);
    return NK_OK;
  }
  return nk_fail(NK_EUNSUPPORTED,
                 "config.json: activation '%s' is not written as GGUF: llama.cpp's '%s' has '%s'",
                 name, w->architecture->gguf, usual);
}

static int check_experts(const struct nki_gguf_writing *w) {
  const struct nki_flag normed = w->architecture->active_normed;
  double limit = 7;
  if (w->n_experts == 0) return NK_OK;
  bool value = nki_flag_value(w->model, normed);
  if (normed.key != NULL && value != w->architecture->gguf_normed)
    return refuse_flag(normed.key, value);
  int code = nki_read_number(w->model, NKI_SETTING_SWIGLU_LIMIT, &limit);
  if (code == NK_OK && limit != 7) return refuse_number(w, NKI_SETTING_SWIGLU_LIMIT, limit, 7);
  return code;
}

/* llama.cpp takes biases of q, k and v that are apart as it finds them, in most families. */
static int check_biases(const struct nki_gguf_writing *w) {
  static const enum nki_biased groups[] = {NKI_BIASED_QKV, NKI_BIASED_O, NKI_BIASED_MLP};
  if (w->architecture->gguf_biases) return NK_OK;
  for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
    const struct nki_flag flag = w->architecture->biases[groups[i]];
    bool value = nki_flag_value(w->model, flag);
    bool is_free = groups[i] == NKI_BIASED_QKV && w->architecture->names[NKI_QKV] == NULL;
    if (value != flag.otherwise && !is_free) return refuse_flag(flag.key, value);
  }
  return NK_OK;
}

int nki_gguf_check(struct nki_gguf_writing *w) {
  int code = nki_check_variants(w->model, w->architecture);
  if (code == NK_OK) code = read_sizes(w);
  if (code == NK_OK) code = check_attention(w);
  if (code == NK_OK) code = check_rotary(w);
  if (code == NK_OK) code = check_layers(w);
  if (code == NK_OK) code = check_activation(w);
  if (code == NK_OK) code = check_experts(w);
  return code == NK_OK ? check_biases(w) : code;
}

/* ---- Nothing is left out ---- */

/* The tensors that entries are made of, sorted by address. */
struct sources {
  const struct nk_tensor **tensors;
  size_t n;
};

static int compare_addresses(const void *a, const void *b) {
  const struct nk_tensor *x = *(const struct nk_tensor *const *)a;
  const struct nk_tensor *y = *(const struct nk_tensor *const *)b;
  return (x > y) - (x < y);
}

static bool is_source(const void *user, const struct nk_tensor *tensor, size_t layer) {
  const struct sources *sources = user;
  (void)layer;
  return bsearch(&tensor, sources->tensors, sources->n, sizeof *sources->tensors,
                 compare_addresses) != NULL;
}

int nki_gguf_check_complete(const struct nki_gguf_writing *w) {
  size_t n = 0;
  for (size_t i = 0; i < w->n_entries; i++)
    n += 2 + (w->entries[i].each != NULL ? w->entries[i].n_slices : 0);
  struct sources sources = {.tensors = nk_alloc(n, sizeof *sources.tensors)};
  if (sources.tensors == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < w->n_entries; i++) {
    const struct nki_gguf_entry *entry = &w->entries[i];
    if (entry->tensor != NULL) sources.tensors[sources.n++] = entry->tensor;
    if (entry->scales != NULL) sources.tensors[sources.n++] = entry->scales;
    for (size_t k = 0; entry->each != NULL && k < entry->n_slices; k++)
      sources.tensors[sources.n++] = entry->each[k];
  }
  qsort(sources.tensors, sources.n, sizeof *sources.tensors, compare_addresses);
  int code = nki_check_block_tensors(w->model, w->architecture, w->prefix, w->n_layers, is_source,
                                     &sources);
  nk_free(sources.tensors);
  return code;
}
