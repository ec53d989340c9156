/* The loops that are not matrix products. Each is a function of one row, compiled for several
 * instruction sets and selected at run time, in a loop over the rows in all threads. exp, tanh and
 * the normal distribution are polynomials in float that the compiler can vectorize: no branches, no
 * calls (functions.h). */
#include "forward/internal.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

#include "base/clones.h"
#include "forward/bf16.h"
#include "forward/functions.h"

enum { FEW_ROWS = 4 };

/* ---- Norms ---- */

struct norm {
  bool rms;
  float one, eps; /* y = normed * (one + weight) + bias */
  const float *weight, *bias;
};

/* y = norm(x), of one row; y may be x. False when x or its mean square is not finite. */
NKI_CLONES static bool norm_row(const struct norm *norm, const float *x, size_t d, float *y) {
  const float one = norm->one, *weight = norm->weight, *bias = norm->bias;
  float sum = 0, squares = 0;
  if (!norm->rms) {
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < d; i++) sum += x[i];
  }
  float mean = sum / (float)d;
#pragma omp simd reduction(+ : squares)
  for (size_t i = 0; i < d; i++) squares += (x[i] - mean) * (x[i] - mean);
  float scale = 1.0f / sqrtf(squares / (float)d + norm->eps);
  if (weight == NULL) {
#pragma omp simd
    for (size_t i = 0; i < d; i++) y[i] = (x[i] - mean) * scale;
  } else if (bias == NULL) {
#pragma omp simd
    for (size_t i = 0; i < d; i++) y[i] = (x[i] - mean) * scale * (one + weight[i]);
  } else {
#pragma omp simd
    for (size_t i = 0; i < d; i++) y[i] = (x[i] - mean) * scale * (one + weight[i]) + bias[i];
  }
  return scale > 0 && scale < INFINITY;
}

NKI_CLONES static void add_row(float *restrict x, const float *restrict y, size_t n) {
#pragma omp simd
  for (size_t i = 0; i < n; i++) x[i] += y[i];
}

bool nki_norm_rows(const struct nki_norm_step *step, float *x, size_t n, float *y) {
  const struct nki_config *c = step->config;
  const size_t d = c->shape.dim;
  const struct norm norm = {.rms = c->rms,
                            .one = c->norm_plus_one ? 1.0f : 0.0f,
                            .eps = c->norm_eps,
                            .weight = step->scale.weight,
                            .bias = step->scale.bias};
  bool finite = true;
#pragma omp parallel for reduction(&& : finite) if (n > FEW_ROWS)
  for (size_t r = 0; r < n; r++) {
    float *from = x + r * d, *to = y + r * d;
    if (step->before != NULL) add_row(from, step->before, d);
    if (step->copy) memcpy(to, from, d * sizeof *to);
    finite = finite && (step->copy ? isfinite(nki_length(to, d)) : norm_row(&norm, from, d, to));
    if (step->after != NULL) add_row(from, step->after, d);
  }
  return finite;
}

/* ---- Activations and sums ---- */

#define ACTIVATE_ROW(NAME, F)                                                                     \
  NKI_CLONES static void NAME(const struct nki_activating *a, const float *up, const float *gate, \
                              float *out) {                                                       \
    const float *bias = a->bias, *gate_bias = a->gate_bias;                                       \
    if (gate == NULL) {                                                                           \
      _Pragma("omp simd") for (size_t i = 0; i < a->width; i++) {                                 \
        float x = bias == NULL ? up[i] : up[i] + bias[i];                                         \
        out[i] = (F);                                                                             \
      }                                                                                           \
    } else {                                                                                      \
      _Pragma("omp simd") for (size_t i = 0; i < a->width; i++) {                                 \
        float x = gate_bias == NULL ? gate[i] : gate[i] + gate_bias[i];                           \
        float u = bias == NULL ? up[i] : up[i] + bias[i];                                         \
        out[i] = u * (F);                                                                         \
      }                                                                                           \
    }                                                                                             \
  }

ACTIVATE_ROW(gelu_row, x *nki_normal_cdf(x))
ACTIVATE_ROW(gelu_tanh_row, nki_gelu_tanh(x))
ACTIVATE_ROW(quick_gelu_row, nki_sigmoid_times(x, 1.702f))
ACTIVATE_ROW(relu_row, x < 0 ? 0.0f : x) /* NaN stays */
ACTIVATE_ROW(silu_row, nki_sigmoid_times(x, 1.0f))

/* gate sigmoid(1.702 gate) (up + 1), both clamped; their values are `step` apart. */
NKI_CLONES static void clamped_row(const struct nki_activating *a, const float *up,
                                   const float *gate, float *out) {
  const float limit = a->limit;
  const size_t step = a->step;
  for (size_t i = 0; i < a->width && gate != NULL; i++) { /* as it always is */
    float x = gate[i * step] + (a->gate_bias == NULL ? 0.0f : a->gate_bias[i * step]);
    float u = up[i * step] + (a->bias == NULL ? 0.0f : a->bias[i * step]);
    x = x > limit ? limit : x;
    u = u > limit ? limit : u < -limit ? -limit : u;
    out[i] = nki_sigmoid_times(x, 1.702f) * (u + 1.0f);
  }
}

typedef void activate_row(const struct nki_activating *a, const float *up, const float *gate,
                          float *out);

void nki_activate(const struct nki_activating *a, float *h, size_t n) {
  static activate_row *const rows[] = {
      [NKI_GELU] = gelu_row, [NKI_GELU_TANH] = gelu_tanh_row, [NKI_QUICK_GELU] = quick_gelu_row,
      [NKI_RELU] = relu_row, [NKI_SILU] = silu_row,           [NKI_CLAMPED_SWIGLU] = clamped_row};
  float *out = a->out == NULL ? h : a->out;
  size_t ld_out = a->out == NULL ? a->ld : a->ld_out;
#pragma omp parallel for if (n > FEW_ROWS)
  for (size_t r = 0; r < n; r++)
    rows[a->f](a, h + r * a->ld, a->gate == NULL ? NULL : a->gate + r * a->ld, out + r * ld_out);
}

void nki_fill_rows(float *y, size_t n, size_t width, size_t ld, const float *row) {
#pragma omp parallel for if (n > FEW_ROWS)
  for (size_t r = 0; r < n; r++) {
    if (row == NULL)
      memset(y + r * ld, 0, width * sizeof *y);
    else
      memcpy(y + r * ld, row, width * sizeof *y);
  }
}

void nki_add_bias(float *y, size_t n, size_t width, size_t ld, const float *bias) {
#pragma omp parallel for if (n > FEW_ROWS)
  for (size_t r = 0; r < n; r++) add_row(y + r * ld, bias, width);
}

void nki_add(float *x, const float *y, size_t n) {
  const size_t chunk = 1 << 14;
#pragma omp parallel for if (n > chunk)
  for (size_t at = 0; at < n; at += chunk) add_row(x + at, y + at, n - at < chunk ? n - at : chunk);
}

void nki_scale(float *x, size_t n, float factor) {
  for (size_t i = 0; i < n; i++) x[i] *= factor;
}

NKI_CLONES double nki_length(const float *x, size_t n) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
  return sqrt(sum);
}

/* x - x is 0, or NaN for what is not finite, which tanh would make a number. */
NKI_CLONES void nki_soft_cap(float *x, size_t n, float cap) {
  float inverse = 1.0f / cap;
#pragma omp simd
  for (size_t i = 0; i < n; i++) x[i] = cap * nki_tanh_of(x[i] * inverse) + (x[i] - x[i]);
}

/* ---- Rotation ---- */

/* x[2 i], x[2 i + 1] turned by angle i. */
NKI_CLONES static void rotate_pairs(float *restrict x, const float *restrict cos,
                                    const float *restrict sin, size_t n) {
#pragma omp simd
  for (size_t i = 0; i < n; i++) {
    float a = x[2 * i], b = x[2 * i + 1];
    x[2 * i] = a * cos[i] - b * sin[i];
    x[2 * i + 1] = a * sin[i] + b * cos[i];
  }
}

/* x[i], x[n + i] turned by angle i. */
NKI_CLONES static void rotate_halves(float *restrict x, const float *restrict cos,
                                     const float *restrict sin, size_t n) {
#pragma omp simd
  for (size_t i = 0; i < n; i++) {
    float a = x[i], b = x[n + i];
    x[i] = a * cos[i] - b * sin[i];
    x[n + i] = a * sin[i] + b * cos[i];
  }
}

NKI_CLONES static void clip_row(float *x, size_t n, float limit) {
#pragma omp simd
  for (size_t i = 0; i < n; i++) {
    float low = x[i] < -limit ? -limit : x[i]; /* NaN stays */
    x[i] = low > limit ? limit : low;
  }
}

void nki_clip(float *x, size_t n, size_t width, size_t ld, float limit) {
#pragma omp parallel for if (n > FEW_ROWS)
  for (size_t r = 0; r < n; r++) clip_row(x + r * ld, width, limit);
}

/* The norm of a row's heads: of each, or of all as one. */
static void norm_heads(const struct nki_rotation *r, float *x) {
  const struct nki_head_norm *n = &r->norm;
  struct norm norm = {n->rms, n->plus_one ? 1.0f : 0.0f, n->eps, n->scale.weight, n->scale.bias};
  if (n->kind == NKI_QK_NORM_WHOLE) {
    norm_row(&norm, x, r->n_heads * r->head_dim, x);
    return;
  }
  for (size_t h = 0; h < r->n_heads; h++) {
    norm_row(&norm, x + h * r->head_dim, r->head_dim, x + h * r->head_dim);
    if (n->kind == NKI_QK_NORM_EACH) norm.weight += r->head_dim;
  }
}

void nki_rotate(const struct nki_rotation *rotation, float *x, const uint32_t *positions,
                size_t n) {
  size_t half = rotation->rotary_dim / 2;
#pragma omp parallel for if (n > FEW_ROWS)
  for (size_t r = 0; r < n; r++) {
    float *row = x + r * rotation->ld;
    const float *cos = half == 0 ? NULL : rotation->cos + positions[r] * half;
    const float *sin = half == 0 ? NULL : rotation->sin + positions[r] * half;
    if (rotation->norm.scale.weight != NULL) norm_heads(rotation, row);
    if (rotation->clip > 0) clip_row(row, rotation->n_heads * rotation->head_dim, rotation->clip);
    for (size_t h = 0; h < rotation->n_heads && half > 0; h++) {
      if (rotation->pairs)
        rotate_pairs(row + h * rotation->head_dim, cos, sin, half);
      else
        rotate_halves(row + h * rotation->head_dim, cos, sin, half);
    }
  }
}

/* ---- Distributions ---- */

NKI_CLONES static float largest_of(const float *restrict x, size_t n) {
  float max = -INFINITY;
#pragma omp simd reduction(max : max)
  for (size_t i = 0; i < n; i++) max = x[i] > max ? x[i] : max;
  return max;
}

NKI_CLONES static void exp_sums(const float *restrict x, const float *restrict reference, size_t n,
                                float max, float sums[3]) {
  float sum = 0, sum_logit = 0, sum_reference = 0;
  if (reference == NULL) {
#pragma omp simd reduction(+ : sum, sum_logit)
    for (size_t i = 0; i < n; i++) {
      float l = x[i] - max, e = nki_exp_of(l);
      sum += e;
      sum_logit += e * l;
    }
  } else {
#pragma omp simd reduction(+ : sum, sum_logit, sum_reference)
    for (size_t i = 0; i < n; i++) {
      float l = x[i] - max, e = nki_exp_of(l);
      sum += e;
      sum_logit += e * l;
      sum_reference += e * reference[i];
    }
  }
  sums[0] = sum;
  sums[1] = sum_logit;
  sums[2] = sum_reference;
}

void nki_moments_add(struct nki_moments *m, const float *logits, const float *reference, size_t n,
                     float *largest) {
  float sums[3];
  *largest = largest_of(logits, n);
  if (*largest > m->max) { /* the sums so far become relative to the new maximum */
    double shift = m->max - *largest, factor = m->sum > 0 ? exp(shift) : 0;
    m->sum_logit = m->sum > 0 ? factor * (m->sum_logit + m->sum * shift) : 0;
    m->sum *= factor;
    m->sum_reference *= factor;
    m->max = *largest;
  }
  exp_sums(logits, reference, n, (float)m->max, sums);
  m->sum += (double)sums[0];
  m->sum_logit += (double)sums[1];
  m->sum_reference += (double)sums[2];
}

NKI_CLONES void nki_add_probabilities(double *restrict sum, const float *restrict logits,
                                      double log_sum_exp, size_t n) {
  float shift = (float)log_sum_exp;
#pragma omp simd
  for (size_t i = 0; i < n; i++) sum[i] += (double)nki_exp_of(logits[i] - shift);
}

/* ---- Products ---- */

void nki_multiply(const struct nki_product *p, size_t n) {
  if (n == 0 || p->n_out == 0) return;
  if (p->packed != NULL) {
    nki_bf16_multiply(p, n);
    return;
  }
  const float *w = p->in_out ? p->weight + p->first : p->weight + p->first * p->n_in;
  cblas_sgemm(CblasRowMajor, CblasNoTrans, p->in_out ? CblasNoTrans : CblasTrans, (int)n,
              (int)p->n_out, (int)p->n_in, 1.0f, p->x, (int)p->ld_x, w,
              (int)(p->in_out ? p->total : p->n_in), p->add ? 1.0f : 0.0f, p->y, (int)p->ld_y);
}
