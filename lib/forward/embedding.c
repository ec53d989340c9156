/* The input embedding as a whole: its mean row, and the rank of a token among all tokens by their
 * distance to a vector. */
#include <cblas.h>
#include <math.h>
#include <noken/base.h>
#include <noken/forward.h>
#include <string.h>

#include "forward/internal.h"
#include "model/dtype.h"
#include "model/model.h"

enum { TOKENS = 4096, ROWS = 512, COLUMNS = 64 };

/* ---- The mean ---- */

/* sum [dim] += rows [n, dim], in the order of the rows for every column, so that the sum does not
 * depend on the threads. */
static void add_rows(const float *rows, size_t n, size_t dim, double *sum) {
#pragma omp parallel for
  for (size_t first = 0; first < dim; first += COLUMNS) {
    size_t end = first + COLUMNS < dim ? first + COLUMNS : dim;
    for (size_t i = 0; i < n; i++)
      for (size_t k = first; k < end; k++) sum[k] += (double)rows[i * dim + k];
  }
}

/* Names the first row that is not finite. */
static int fail_mean(const struct nk_forward *forward) {
  size_t dim = forward->config.shape.dim, n = forward->n_tokens;
  float *row = nk_alloc(dim, sizeof *row);
  size_t id = 0;
  while (row != NULL && id < n && nk_forward_embedding(forward, (int64_t)id, row) == NK_OK &&
         nki_first_not_finite(row, dim) == dim)
    id++;
  nk_free(row);
  if (forward->embedding == NULL)
    return nk_fail(NK_EDATA, "the mean of the input embedding: row %zu is not finite", id);
  return nk_fail(NK_EDATA, "the mean of the input embedding: row %zu of tensor '%s' is not finite",
                 id, forward->embedding->name);
}

static int compute_mean(struct nk_forward *forward) {
  size_t dim = forward->config.shape.dim, n = forward->n_tokens;
  float *mean = nk_alloc(dim, sizeof *mean), *rows = nk_alloc(TOKENS, dim * sizeof *rows);
  double *sum = nk_calloc(dim, sizeof *sum);
  int code = mean == NULL || rows == NULL || sum == NULL ? NK_EMEMORY : NK_OK;
  for (size_t first = 0; first < n && code == NK_OK; first += TOKENS) {
    size_t some = n - first < TOKENS ? n - first : TOKENS;
    add_rows(forward->engine->embeddings(forward, first, some, rows), some, dim, sum);
  }
  for (size_t k = 0; k < dim && code == NK_OK; k++) {
    mean[k] = (float)(sum[k] / (double)n);
    if (!isfinite(mean[k])) code = fail_mean(forward);
  }
  nk_free(rows);
  nk_free(sum);
  if (code == NK_OK)
    forward->mean_embedding = mean;
  else
    nk_free(mean);
  return code;
}

int nki_mean_embedding(struct nk_forward *forward, float *mean) {
  if (forward->model->n_values > 0) { /* the matrix may have other values than last time */
    nk_free(forward->mean_embedding);
    forward->mean_embedding = NULL;
  }
  int code = forward->mean_embedding == NULL ? compute_mean(forward) : NK_OK;
  if (code == NK_OK)
    memcpy(mean, forward->mean_embedding, forward->config.shape.dim * sizeof *mean);
  return code;
}

/* ---- Ranks ---- */

/* Half the squared distance of x to w, less the |x|^2 / 2 that is the same for all w. */
static double nearness(const float *x, const float *w, size_t dim) {
  double dot = 0, squares = 0;
  for (size_t k = 0; k < dim; k++) {
    dot += (double)x[k] * (double)w[k];
    squares += (double)w[k] * (double)w[k];
  }
  return squares / 2 - dot;
}

/* A block of tokens beside a block of vectors. */
struct block {
  size_t first, n_tokens;     /* tokens [first, first + n_tokens) */
  size_t n;                   /* vectors */
  const double *half_squares; /* [n_tokens] */
  const float *products;      /* [n, n_tokens] */
};

/* ranks [n] += tokens of the block that are nearer than ids [n], whose nearness is own [n]. */
static void count_nearer(const struct block *b, const int64_t *ids, const double *own,
                         int64_t *ranks) {
#pragma omp parallel for
  for (size_t r = 0; r < b->n; r++)
    for (size_t t = 0; t < b->n_tokens; t++)
      if ((int64_t)(b->first + t) != ids[r] &&
          b->half_squares[t] - (double)b->products[r * b->n_tokens + t] < own[r])
        ranks[r]++;
}

int nki_echo_ranks(const struct nk_forward *forward, const float *vectors, const int64_t *ids,
                   size_t n, int64_t *ranks) {
  size_t dim = forward->config.shape.dim, n_tokens = forward->n_tokens;
  float *weights = nk_alloc(TOKENS, dim * sizeof *weights);
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
    struct block block = {.first = first, .half_squares = half_squares, .products = products};
    block.n_tokens = n_tokens - first < TOKENS ? n_tokens - first : TOKENS;
    const float *w = forward->engine->embeddings(forward, first, block.n_tokens, weights);
    for (size_t t = 0; t < block.n_tokens; t++) {
      double length = nki_length(w + t * dim, dim);
      half_squares[t] = length * length / 2;
    }
    for (size_t row = 0; row < n; row += ROWS) {
      block.n = n - row < ROWS ? n - row : ROWS;
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)block.n, (int)block.n_tokens,
                  (int)dim, 1.0f, vectors + row * dim, (int)dim, w, (int)dim, 0.0f, products,
                  (int)block.n_tokens);
      count_nearer(&block, ids + row, own + row, ranks + row);
    }
  }
  nk_free(weights);
  nk_free(products);
  nk_free(half_squares);
  nk_free(own);
  return code;
}
