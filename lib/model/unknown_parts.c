/* Tensors of a checkpoint's blocks that its family has no name for. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/names.h"
#include "model/family.h"
#include "model/model.h"

/* Masks and frequencies that published checkpoints contain although they follow from the
 * configuration. */
static bool is_buffer(const char *name) {
  static const char *const buffers[] = {"attn.bias", "attn.masked_bias", "attention.bias",
                                        "attention.masked_bias", "rotary_emb.inv_freq"};
  for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++)
    if (nki_ends_with(name, buffers[i])) return true;
  return false;
}

int nki_check_block_tensors(const struct nk_model *model,
                            const struct nki_architecture *architecture, const char *prefix,
                            size_t n_layers, nki_known_tensor *known, const void *user) {
  const char *block = architecture->block, *number = strchr(block, '%');
  char head[NKI_MAX_NAME]; /* "model.layers." */
  snprintf(head, sizeof head, "%s%.*s", prefix, (int)(number - block), block);
  size_t n_head = strlen(head);
  for (size_t i = 0; i < nk_model_n_tensors(model); i++) {
    const struct nk_tensor *tensor = nk_model_tensor(model, i);
    if (strncmp(tensor->name, head, n_head) != 0) continue;
    char *end;
    size_t layer = strtoull(tensor->name + n_head, &end, 10); /* too large: SIZE_MAX, no block */
    if (end == tensor->name + n_head || *end != '.') continue;
    if ((layer < n_layers && known(user, tensor, layer)) || is_buffer(tensor->name)) continue;
    if (layer >= n_layers)
      return nk_fail(NK_EDATA, "tensor '%s' belongs to block %zu, config.json says %zu blocks",
                     tensor->name, layer, n_layers);
    return nk_fail(NK_EUNSUPPORTED, "tensor '%s': '%s' models have no such part", tensor->name,
                   architecture->type);
  }
  return NK_OK;
}
