/* Attention's inner loops: products of few keys, and the softmax. Scores, sums of values and their
 * derivatives are all products of small matrices, of a few rows with 16 columns at a time: the sums
 * of six rows stay in registers, so that what is loaded of one matrix is used six times, and six
 * chains of additions are under way at once. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "base/clones.h"
#include "forward/functions.h"
#include "forward/internal.h"

enum { LANES = 16, ROWS = 6, FEW_ROWS = 4 };

typedef float lanes __attribute__((vector_size(LANES * sizeof(float))));
/* The same at any place in an array of floats. */
typedef float loose __attribute__((vector_size(LANES * sizeof(float)), aligned(4), may_alias));

/* ---- Products ---- */

/* y [n_rows, width] = (with `add`: +=) x m, where element (r, i) of x is at
 * x + r * row_step + i * step, and m is [n, width]. */
struct product {
  const float *x;
  size_t row_step, step;
  const float *m;
  size_t ld_m, n;
  float *y;
  size_t ld_y;
  size_t n_rows, width;
  bool add;
};

/* n_rows rows (a constant) from `row` on, columns [at, at + LANES). */
NKI_INLINE void multiply_tile(const struct product *p, const size_t n_rows, size_t row, size_t at) {
  const float *x = p->x + row * p->row_step, *m = p->m + at;
  float *y = p->y + row * p->ld_y + at;
  lanes sums[ROWS];
  for (size_t r = 0; r < n_rows; r++) {
    sums[r] = (lanes){0};
    if (p->add) sums[r] = *(const loose *)(y + r * p->ld_y);
  }
  for (size_t i = 0; i < p->n; i++) {
    const lanes values = *(const loose *)(m + i * p->ld_m);
    for (size_t r = 0; r < n_rows; r++) sums[r] += x[r * p->row_step + i * p->step] * values;
  }
  for (size_t r = 0; r < n_rows; r++) *(loose *)(y + r * p->ld_y) = sums[r];
}

/* The columns from `at` on that do not fill the lanes. */
NKI_INLINE void multiply_rest(const struct product *p, size_t at) {
  for (size_t r = 0; r < p->n_rows; r++)
    for (size_t k = at; k < p->width; k++) {
      float sum = p->add ? p->y[r * p->ld_y + k] : 0.0f;
      for (size_t i = 0; i < p->n; i++)
        sum += p->x[r * p->row_step + i * p->step] * p->m[i * p->ld_m + k];
      p->y[r * p->ld_y + k] = sum;
    }
}

NKI_CLONES static void multiply(const struct product *p) {
  size_t at = 0;
  for (; at + LANES <= p->width; at += LANES) {
    size_t row = 0;
    for (; row + ROWS <= p->n_rows; row += ROWS) multiply_tile(p, ROWS, row, at);
    for (; row + 2 <= p->n_rows; row += 2) multiply_tile(p, 2, row, at);
    if (row < p->n_rows) multiply_tile(p, 1, row, at);
  }
  multiply_rest(p, at);
}

NKI_INLINE float row_product(const float *restrict x, const float *restrict y, size_t n) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (size_t i = 0; i < n; i++) sum += x[i] * y[i];
  return sum;
}

NKI_CLONES float nki_row_product(const float *restrict x, const float *restrict y, size_t n) {
  return row_product(x, y, n);
}

/* scores = q k^T of few queries, for which transposing the keys would cost more than it saves. */
NKI_CLONES static void few_scores(const struct nki_keys *own) {
  for (size_t r = 0; r < own->n_q; r++)
    for (size_t j = 0; j < own->n_keys; j++)
      own->scores[r * own->ld_scores + j] =
          row_product(own->q + r * own->ld_q, own->k + j * own->ld_kv, own->head_dim);
}

/* The keys are transposed into packed [head_dim, width], so that one component of a query is
 * multiplied with as many keys as a vector register has lanes. */
void nki_small_scores(const struct nki_keys *own) {
  size_t head_dim = own->head_dim, n_keys = own->n_keys;
  size_t width = (n_keys + LANES - 1) / LANES * LANES;
  if (own->n_q < FEW_ROWS) {
    few_scores(own);
    return;
  }
  for (size_t j = 0; j < width; j++)
    for (size_t c = 0; c < head_dim; c++) /* the long loop inside */
      own->packed[c * width + j] = j < n_keys ? own->k[j * own->ld_kv + c] : 0.0f;
  const struct product product = {.x = own->q,
                                  .row_step = own->ld_q,
                                  .step = 1,
                                  .m = own->packed,
                                  .ld_m = width,
                                  .n = head_dim,
                                  .y = own->scores,
                                  .ld_y = own->ld_scores,
                                  .n_rows = own->n_q,
                                  .width = width};
  multiply(&product);
}

void nki_small_sums(const struct nki_keys *own, bool add) {
  const struct product product = {.x = own->scores,
                                  .row_step = own->ld_scores,
                                  .step = 1,
                                  .m = own->v,
                                  .ld_m = own->ld_kv,
                                  .n = own->n_keys,
                                  .y = own->out,
                                  .ld_y = own->ld_out,
                                  .n_rows = own->n_q,
                                  .width = own->head_dim,
                                  .add = add};
  multiply(&product);
}

void nki_small_outer(const struct nki_keys *own) {
  const struct product product = {.x = own->scores,
                                  .row_step = 1,
                                  .step = own->ld_scores,
                                  .m = own->q,
                                  .ld_m = own->ld_q,
                                  .n = own->n_q,
                                  .y = own->out,
                                  .ld_y = own->ld_out,
                                  .n_rows = own->n_keys,
                                  .width = own->head_dim,
                                  .add = true};
  multiply(&product);
}

/* ---- Softmax ---- */

/* Of scores [lo, hi) of s [n], the rest of which becomes 0; n is a multiple of LANES. sink: one
 * more score, whose share goes to no key; or NULL. */
NKI_CLONES static void softmax_row(float *restrict s, uint32_t n, uint32_t lo, uint32_t hi,
                                   float scale, const float *sink) {
  const uint32_t end = n / LANES * LANES, n_seen = hi - lo;
  float max = -INFINITY, sum = 0, zero = 0; /* NaN, once a score is not finite */
#pragma omp simd reduction(max : max) reduction(+ : zero)
  for (uint32_t i = 0; i < end; i++) {
    float x = i - lo < n_seen ? s[i] : -FLT_MAX;
    max = x > max ? x : max;
    zero += x - x;
  }
  if (sink != NULL) { /* scale is positive */
    max = *sink > max * scale ? *sink / scale : max;
    sum = nki_exp_of(*sink - max * scale);
    zero += *sink - *sink;
  }
#pragma omp simd reduction(+ : sum)
  for (uint32_t i = 0; i < end; i++) {
    float e = i - lo < n_seen ? nki_exp_of((s[i] - max) * scale) : 0.0f;
    s[i] = e;
    sum += e;
  }
  float inverse = 1.0f / (sum + zero);
#pragma omp simd
  for (uint32_t i = 0; i < end; i++) s[i] *= inverse;
}

void nki_softmax(const struct nki_softmax *softmax, float *scores, size_t lo, size_t hi,
                 size_t width) {
  size_t first = lo / LANES * LANES, end = (hi + LANES - 1) / LANES * LANES;
  float scale = softmax->scale;
  if (softmax->cap > 0 || softmax->bias != NULL) {
    nki_scale(scores + lo, hi - lo, scale);
    if (softmax->cap > 0) nki_soft_cap(scores + lo, hi - lo, softmax->cap);
    for (size_t i = lo; i < hi && softmax->bias != NULL; i++) scores[i] += softmax->bias[i];
    scale = 1;
  }
  memset(scores, 0, first * sizeof *scores);
  softmax_row(scores + first, (uint32_t)(end - first), (uint32_t)(lo - first),
              (uint32_t)(hi - first), scale, softmax->sink);
  memset(scores + end, 0, (width - end) * sizeof *scores);
}
