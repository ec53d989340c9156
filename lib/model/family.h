/* What a configuration says of a family beyond single settings: what is refused, heads, the order
 * of a block's parts, what differs from layer to layer. The forward pass and the GGUF writer read
 * it alike. A value out of range is NK_EDATA with the key and the value, one that is not
 * implemented NK_EUNSUPPORTED. */
#ifndef NOKEN_MODEL_FAMILY_H
#define NOKEN_MODEL_FAMILY_H

#include "model/architecture.h"
#include "model/model_config.h"

/* Settings within bounds. A missing optional one, and a missing number, leaves *out; numbers are
 * positive. NK_OK or NK_EDATA. */
int nki_read_optional_size(const struct nk_model *model, enum nki_setting setting, size_t least,
                           size_t most, size_t *out);
int nki_need_size(const struct nk_model *model, enum nki_setting setting, size_t most, size_t *out);
int nki_read_number(const struct nk_model *model, enum nki_setting setting, double *out);

/* NK_OK, or NK_EUNSUPPORTED with the key where the configuration asks for what is not implemented
 * in any family, or is of a quantized checkpoint. */
int nki_check_variants(const struct nk_model *model, const struct nki_architecture *architecture);

/* *name = the activation's, "gelu". NK_OK or NK_EDATA. */
int nki_activation_name(const struct nk_model *model, const struct nki_architecture *architecture,
                        const char **name);

/* *out = the heads of k and v, which divide n_heads. */
int nki_read_kv_heads(const struct nk_model *model, const struct nki_architecture *architecture,
                      size_t n_heads, size_t *out);
/* The rows of a fused q, k, v of a checkpoint are [groups, (q, k, v), ..]. */
size_t nki_qkv_groups(const struct nk_model *model, const struct nki_architecture *architecture,
                      size_t n_kv_heads);

/* Attention and mlp side by side, or in turn; and whether each has a norm of its own. */
int nki_read_order(const struct nk_model *model, const struct nki_architecture *architecture,
                   bool *parallel, bool *two_norms);

struct nki_layer_kind {
  size_t window; /* keys that a query sees; 0: all before it */
  bool rotated;  /* in a family with rotary positions */
  bool sparse;   /* the mlp is a mixture of experts */
};
int nki_read_layer_kind(const struct nk_model *model, const struct nki_architecture *architecture,
                        size_t layer, struct nki_layer_kind *out);

/* Whether a tensor in a block's place is one of its known parts. */
typedef bool nki_known_tensor(const void *user, const struct nk_tensor *tensor, size_t layer);
/* NK_OK, or a code with the name of the first tensor in a block's place that is no known part: one
 * that the forward pass and a converted file would leave out. prefix: of the model's names. */
int nki_check_block_tensors(const struct nk_model *model,
                            const struct nki_architecture *architecture, const char *prefix,
                            size_t n_layers, nki_known_tensor *known, const void *user);

#endif
