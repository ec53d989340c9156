/* Where a file of hidden states has which state. Its arrays are one for all layers, [layers,
 * positions, d] in any order of the axes and perhaps with an axis of contexts, or one for each
 * layer, whose number is in the array's name:
 *
 *   hidden_states   [positions, layers, d]         vLLM's
 *   hidden_states   [layers, batch, positions, d]  PyTorch's stack of what Transformers returns
 *   hidden.0, ...   [batch, positions, d]          a tensor of each layer
 *
 * Beside them may be the tokens, `token_ids` or `input_ids`, [positions] or [batch, positions], and
 * in the same shape `attention_mask`, 0 where a context is padded. */
#ifndef IO_STATES_LAYOUT_H
#define IO_STATES_LAYOUT_H

#include <noken/vectors.h>
#include "io/arrays.h"

enum { NKI_LAYERS, NKI_POSITIONS, NKI_BATCH, NKI_DIM, NKI_N_AXES };

struct nki_states_layer {
  const struct nk_tensor *tensor;
  size_t first; /* element of the layer's first one */
  int64_t number;
};

/* Axes that a file lacks have size 1 and stride 0. Strides are in elements. */
struct nki_states_layout {
  struct nki_arrays arrays;
  size_t size[NKI_N_AXES], stride[NKI_N_AXES];
  struct nki_states_layer *layers; /* [n_layers] those to read */
  size_t n_layers;
  const struct nk_tensor *tokens, *mask;   /* or NULL */
  size_t tokens_stride[2], mask_stride[2]; /* of contexts and positions */
};

/* Returns NK_OK, or a negative code whose message begins with the file's name. */
int nki_states_layout_read(const char *path, const struct nk_states_options *options,
                           struct nki_states_layout *layout);
void nki_states_layout_free(struct nki_states_layout *layout);

/* Element of the first value of the layer's state at position p of context b. */
static inline size_t nki_states_element(const struct nki_states_layout *l,
                                        const struct nki_states_layer *layer, size_t b, size_t p) {
  return layer->first + b * l->stride[NKI_BATCH] + p * l->stride[NKI_POSITIONS];
}

#endif
