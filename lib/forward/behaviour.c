/* Behaviours: their memory, and the tokens that are repeated. */
#include <string.h>

#include "forward/probe.h"

struct nk_behaviour *nki_behaviour_new(const struct nk_probe *probe, size_t n_items) {
  size_t n_offsets = probe->n_offsets, n_layers = probe->forward->config.shape.n_layers, rows;
  struct nk_behaviour *b = nk_calloc(1, sizeof *b);
  if (b == NULL) return NULL;
  if (!nk_size_mul(n_items, n_offsets, &rows)) {
    nk_fail(NK_EMEMORY, "%zu items at %zu positions", n_items, n_offsets);
    goto failed;
  }
  *b = (struct nk_behaviour){.n_items = n_items,
                             .n_offsets = n_offsets,
                             .n_layers = n_layers,
                             .offsets = nk_alloc(n_offsets, sizeof(size_t)),
                             .end_offset = probe->end,
                             .entropy = nk_alloc(rows, sizeof(double)),
                             .top_id = nk_alloc(rows, sizeof(int64_t)),
                             .top_prob = nk_alloc(rows, sizeof(double)),
                             .kl = nk_alloc(rows, sizeof(double)),
                             .p_value = nk_alloc(rows, sizeof(double)),
                             .self_prob = nk_alloc(rows, sizeof(double)),
                             .norms = nk_alloc(rows, n_layers * sizeof(double))};
  if (b->offsets == NULL || b->entropy == NULL || b->top_id == NULL || b->top_prob == NULL ||
      b->kl == NULL || b->p_value == NULL || b->self_prob == NULL || b->norms == NULL)
    goto failed;
  memcpy(b->offsets, probe->offsets, n_offsets * sizeof *b->offsets);
  return b;

failed:
  nk_behaviour_free(b);
  return NULL;
}

void nk_behaviour_free(struct nk_behaviour *b) {
  if (b == NULL) return;
  nk_free(b->offsets);
  nk_free(b->entropy);
  nk_free(b->top_id);
  nk_free(b->top_prob);
  nk_free(b->kl);
  nk_free(b->p_value);
  nk_free(b->self_prob);
  nk_free(b->norms);
  nk_free(b->echo_rank);
  nk_free(b);
}

/* True when the probe has echoes: vectors that replace the input embedding, and the prompt's end as
 * the last offset. */
static bool has_echo(const struct nk_probe *probe) {
  return probe->repetition && probe->layer == 0 && probe->mode == NK_REPLACE &&
         probe->n_offsets > 0 && probe->offsets[probe->n_offsets - 1] == probe->end;
}

int nki_behaviour_echo(const struct nk_probe *probe, const struct nk_items *items,
                       struct nk_behaviour *b) {
  size_t dim = probe->forward->config.shape.dim, n = b->n_items;
  if (!has_echo(probe)) return NK_OK;
  float *vectors = nk_alloc(n, dim * sizeof *vectors);
  int64_t *ids = nk_alloc(n, sizeof *ids);
  int code = vectors == NULL || ids == NULL ? NK_EMEMORY : NK_OK;
  b->echo_rank = nk_alloc(n, sizeof *b->echo_rank);
  if (b->echo_rank == NULL) code = NK_EMEMORY;
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    ids[i] = b->top_id[(i + 1) * b->n_offsets - 1];
    if (i < items->n_tokens)
      code = nk_forward_embedding(probe->forward, items->tokens[i], vectors + i * dim);
    else
      memcpy(vectors + i * dim, items->vectors->values + (i - items->n_tokens) * dim,
             dim * sizeof *vectors);
  }
  if (code == NK_OK) code = nki_echo_ranks(probe->forward, vectors, ids, n, b->echo_rank);
  nk_free(vectors);
  nk_free(ids);
  return code;
}
