/* How near a token is to a vector among all tokens. */
#include <cblas.h>
#include <noken/base.h>
#include <noken/probe.h>
#include <string.h>

#include <noken/forward.h>
#include "forward/internal.h"

enum { TOKENS = 4096, ROWS = 512 };

/* Half the squared distance of x to w, less the |x|^2 that all w have in common. */
static double nearness(const float *x, const float *w, size_t dim) {
  double dot = 0, squares = 0;
  for (size_t k = 0; k < dim; k++) {
    dot += (double)x[k] * (double)w[k];
    squares += (double)w[k] * (double)w[k];
  }
  return squares / 2 - dot;
}

static void count_block(const float *products, const double *half_squares, size_t first, size_t n,
                        const double *own, const int64_t *ids, size_t n_rows, int64_t *ranks) {
#pragma omp parallel for
  for (size_t r = 0; r < n_rows; r++)
    for (size_t t = 0; t < n; t++)
      if ((int64_t)(first + t) != ids[r] && half_squares[t] - (double)products[r * n + t] < own[r])
        ranks[r]++;
}

int nk_echo_ranks(const struct nk_forward *forward, const float *vectors, const int64_t *ids,
                  size_t n, int64_t *ranks) {
  size_t dim = forward->config.shape.dim, n_tokens = forward->embedding->shape[0];
  float *weights = nk_alloc(TOKENS * dim, sizeof *weights);
  float *products = nk_alloc((size_t)TOKENS * ROWS, sizeof *products);
  double *half_squares = nk_alloc(TOKENS, sizeof *half_squares);
  double *own = nk_alloc(n, sizeof *own);
  int code = weights == NULL || products == NULL || half_squares == NULL || own == NULL ? NK_EMEMORY
                                                                                        : NK_OK;
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    ranks[i] = 1;
    code = nk_forward_embedding(forward, ids[i], weights);
    if (code == NK_OK) own[i] = nearness(vectors + i * dim, weights, dim);
  }
  for (size_t first = 0; first < n_tokens && code == NK_OK; first += TOKENS) {
    size_t n_block = n_tokens - first < TOKENS ? n_tokens - first : TOKENS;
    const float *w = nki_tensor_floats(forward->embedding, first * dim, n_block * dim, weights);
    for (size_t t = 0; t < n_block; t++) {
      double length = nki_length(w + t * dim, dim);
      half_squares[t] = length * length / 2;
    }
    for (size_t row = 0; row < n; row += ROWS) {
      size_t rows = n - row < ROWS ? n - row : ROWS;
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)n_block, (int)dim, 1.0f,
                  vectors + row * dim, (int)dim, w, (int)dim, 0.0f, products, (int)n_block);
      count_block(products, half_squares, first, n_block, own + row, ids + row, rows, ranks + row);
    }
  }
  nk_free(weights);
  nk_free(products);
  nk_free(half_squares);
  nk_free(own);
  return code;
}

int nk_behaviour_echo(const struct nk_forward *forward, const struct nk_intervention *how,
                      const struct nk_items *items, const struct nk_behaviour *behaviour,
                      int64_t **ranks) {
  size_t dim = forward->config.shape.dim, n = behaviour->n_items;
  *ranks = NULL;
  if (how->layer != 0 || how->mode != NK_REPLACE) return 0;
  float *vectors = nk_alloc(n * dim, sizeof *vectors);
  int64_t *ids = nk_alloc(n, sizeof *ids), *out = nk_alloc(n, sizeof *out);
  int code = vectors == NULL || ids == NULL || out == NULL ? NK_EMEMORY : NK_OK;
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    ids[i] = behaviour->top_id[(i + 1) * behaviour->n_offsets - 1];
    if (i < items->n_tokens)
      code = nk_forward_embedding(forward, items->tokens[i], vectors + i * dim);
    else
      memcpy(vectors + i * dim, items->vectors + (i - items->n_tokens) * dim,
             dim * sizeof *vectors);
  }
  if (code == NK_OK) code = nk_echo_ranks(forward, vectors, ids, n, out);
  if (code == NK_OK) {
    *ranks = out;
    out = NULL;
  }
  nk_free(vectors);
  nk_free(ids);
  nk_free(out);
  return code;
}
