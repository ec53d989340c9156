/* The derivatives of the loops of kernels.c, in the same form: a function of one row, compiled for
 * several instruction sets, in a loop over the rows in all threads. No row adds to another's
 * results; sums over rows are taken in the order of the rows for each column. */
#include <cblas.h>
#include <math.h>
#include <noken/base.h>
#include <string.h>

#include "base/clones.h"
#include "forward/backward.h"
#include "forward/functions.h"

enum { FEW_ROWS = 4, COLUMNS = 64 };

/* ---- Norms ---- */

struct norm {
  bool rms;
  float one, eps;             /* y = normed * (one + weight) + bias */
  const float *weight, *bias; /* weight NULL: y = normed */
};

struct moments {
  float mean, scale; /* normed = (x - mean) * scale */
};

NKI_CLONES static struct moments moments_of(const float *x, size_t d, bool rms, float eps) {
  float sum = 0, squares = 0;
  if (!rms) {
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < d; i++) sum += x[i];
  }
  float mean = sum / (float)d;
#pragma omp simd reduction(+ : squares)
  for (size_t i = 0; i < d; i++) squares += (x[i] - mean) * (x[i] - mean);
  return (struct moments){mean, 1.0f / sqrtf(squares / (float)d + eps)};
}

/* g = dy (one + weight); dx = scale (g - mean(g) - normed mean(g normed)), without mean(g) for a
 * root mean square; dx [d] may be dy, and is added to with `add`. */
NKI_CLONES static void norm_back_row(const struct norm *norm, const float *x, size_t d,
                                     const float *dy, float *dx, bool add) {
  const struct moments m = moments_of(x, d, norm->rms, norm->eps);
  const float *weight = norm->weight, one = norm->one, n = (float)d, keep = add ? 1.0f : 0.0f;
  float sum = 0, dot = 0;
  if (weight == NULL) {
#pragma omp simd reduction(+ : sum, dot)
    for (size_t i = 0; i < d; i++) {
      sum += dy[i];
      dot += dy[i] * (x[i] - m.mean);
    }
  } else {
#pragma omp simd reduction(+ : sum, dot)
    for (size_t i = 0; i < d; i++) {
      float g = dy[i] * (one + weight[i]);
      sum += g;
      dot += g * (x[i] - m.mean);
    }
  }
  float mean = norm->rms ? 0 : sum / n, slope = dot * m.scale * m.scale / n;
#pragma omp simd
  for (size_t i = 0; i < d; i++) {
    float g = weight == NULL ? dy[i] : dy[i] * (one + weight[i]);
    dx[i] = keep * dx[i] + m.scale * (g - mean - (x[i] - m.mean) * slope);
  }
}

static struct norm norm_of(const struct nki_norm_step *step) {
  const struct nki_config *c = step->config;
  return (struct norm){c->rms, c->norm_plus_one ? 1.0f : 0.0f, c->norm_eps, step->scale.weight,
                       step->scale.bias};
}

void nki_norm_back(const struct nki_norm_step *step, const float *x, size_t n, const float *dy,
                   float *dx, bool add) {
  const size_t d = step->config->shape.dim;
  const struct norm norm = norm_of(step);
#pragma omp parallel for if (n > FEW_ROWS)
  for (size_t r = 0; r < n; r++) norm_back_row(&norm, x + r * d, d, dy + r * d, dx + r * d, add);
}

/* Columns of a row that one thread sums, a multiple of COLUMNS: as wide as they can be, since
 * reading a little of each of many rows is slow. */
static size_t columns_each(size_t width) {
  size_t n_threads = nk_threads();
  return (width / n_threads / COLUMNS + 1) * COLUMNS;
}

/* weight [n] += sum dy normed and bias [n] += sum dy over the rows, of n columns. */
NKI_CLONES static void sum_norm_columns(const struct nki_normed_rows *rows,
                                        const struct moments *moments, size_t n,
                                        float *restrict weight, float *restrict bias) {
  for (size_t r = 0; r < rows->n; r++) {
    const float *x = rows->x + r * rows->ld_x, *dy = rows->dy + r * rows->ld;
    const float mean = moments[r].mean, scale = moments[r].scale;
    if (weight != NULL) {
#pragma omp simd
      for (size_t k = 0; k < n; k++) weight[k] += dy[k] * (x[k] - mean) * scale;
    }
    if (bias != NULL) {
#pragma omp simd
      for (size_t k = 0; k < n; k++) bias[k] += dy[k];
    }
  }
}

void nki_norm_weights_back(const struct nki_normed_rows *rows, bool rms, float eps, float *weight,
                           float *bias) {
  enum { BLOCK = 128 };
  struct moments moments[BLOCK];
  size_t each = columns_each(rows->width);
  if (weight == NULL && bias == NULL) return;
  for (size_t row = 0; row < rows->n; row += BLOCK) {
    struct nki_normed_rows block = *rows;
    block.n = rows->n - row < BLOCK ? rows->n - row : BLOCK;
    block.x += row * rows->ld_x;
    block.dy += row * rows->ld;
#pragma omp parallel for
    for (size_t r = 0; r < block.n; r++)
      moments[r] = moments_of(block.x + r * block.ld_x, block.width, rms, eps);
#pragma omp parallel for
    for (size_t first = 0; first < block.width; first += each) {
      struct nki_normed_rows columns = block;
      columns.x += first;
      columns.dy += first;
      sum_norm_columns(&columns, moments, block.width - first < each ? block.width - first : each,
                       weight == NULL ? NULL : weight + first, bias == NULL ? NULL : bias + first);
    }
  }
}

NKI_CLONES static void sum_columns(const float *restrict y, size_t n_rows, size_t ld, size_t n,
                                   float *restrict sum) {
  for (size_t r = 0; r < n_rows; r++) {
#pragma omp simd
    for (size_t k = 0; k < n; k++) sum[k] += y[r * ld + k];
  }
}

void nki_sum_rows(const float *y, size_t n, size_t width, size_t ld, float *sum) {
  size_t each = columns_each(width);
  if (sum == NULL) return;
#pragma omp parallel for
  for (size_t first = 0; first < width; first += each)
    sum_columns(y + first, n, ld, width - first < each ? width - first : each, sum + first);
}

/* ---- Heads ---- */

/* dy = 0 where y was clipped; norm NULL: y = x. The comparison keeps what is equal to the limit. */
static void unclip_row(const struct norm *norm, const float *x, size_t d, float limit, float *dy) {
  struct moments m = {0, 1};
  const float *weight = norm == NULL ? NULL : norm->weight;
  const float *bias = norm == NULL ? NULL : norm->bias;
  if (norm != NULL) m = moments_of(x, d, norm->rms, norm->eps);
  for (size_t i = 0; i < d; i++) {
    float y = (x[i] - m.mean) * m.scale;
    if (weight != NULL) y *= norm->one + weight[i];
    if (bias != NULL) y += bias[i];
    if (fabsf(y) > limit) dy[i] = 0;
  }
}

void nki_clip_back(const float *x, size_t ld_x, size_t n, size_t width, float limit, float *dy,
                   size_t ld) {
#pragma omp parallel for if (n > FEW_ROWS)
  for (size_t r = 0; r < n; r++) unclip_row(NULL, x + r * ld_x, width, limit, dy + r * ld);
}

/* The rotations of nki_rotate, transposed. */
NKI_CLONES static void turn_pairs_back(float *restrict x, const float *restrict cos,
                                       const float *restrict sin, size_t n) {
#pragma omp simd
  for (size_t i = 0; i < n; i++) {
    float a = x[2 * i], b = x[2 * i + 1];
    x[2 * i] = a * cos[i] + b * sin[i];
    x[2 * i + 1] = b * cos[i] - a * sin[i];
  }
}

NKI_CLONES static void turn_halves_back(float *restrict x, const float *restrict cos,
                                        const float *restrict sin, size_t n) {
#pragma omp simd
  for (size_t i = 0; i < n; i++) {
    float a = x[i], b = x[n + i];
    x[i] = a * cos[i] + b * sin[i];
    x[n + i] = b * cos[i] - a * sin[i];
  }
}

/* Norm and clipping of a row's heads, x before them; d in place. */
static void heads_back(const struct nki_rotation *r, const float *x, float *d) {
  const struct nki_head_norm *n = &r->norm;
  bool whole = n->kind == NKI_QK_NORM_WHOLE, normed = n->scale.weight != NULL;
  size_t width = whole || !normed ? r->n_heads * r->head_dim : r->head_dim;
  struct norm norm = {n->rms, n->plus_one ? 1.0f : 0.0f, n->eps, n->scale.weight, n->scale.bias};
  for (size_t at = 0; at < r->n_heads * r->head_dim; at += width) {
    if (r->clip > 0) unclip_row(normed ? &norm : NULL, x + at, width, r->clip, d + at);
    if (normed) norm_back_row(&norm, x + at, width, d + at, d + at, false);
    if (normed && n->kind == NKI_QK_NORM_EACH) norm.weight += width;
  }
}

void nki_unclip_heads(const struct nki_rotation *r, const float *x, size_t ld_x, float *d,
                      size_t n) {
  const struct nki_head_norm *h = &r->norm;
  size_t width = h->kind == NKI_QK_NORM_WHOLE ? r->n_heads * r->head_dim : r->head_dim;
#pragma omp parallel for if (n > FEW_ROWS)
  for (size_t row = 0; row < n; row++) {
    struct norm norm = {h->rms, h->plus_one ? 1.0f : 0.0f, h->eps, h->scale.weight, h->scale.bias};
    for (size_t at = 0; at < r->n_heads * r->head_dim; at += width) {
      unclip_row(&norm, x + row * ld_x + at, width, r->clip, d + row * r->ld + at);
      if (h->kind == NKI_QK_NORM_EACH) norm.weight += width;
    }
  }
}

void nki_rotate_back(const struct nki_rotation *rotation, const float *x, size_t ld_x, float *d,
                     const uint32_t *positions, size_t n) {
  size_t half = rotation->rotary_dim / 2;
#pragma omp parallel for if (n > FEW_ROWS)
  for (size_t r = 0; r < n; r++) {
    float *row = d + r * rotation->ld;
    const float *cos = half == 0 ? NULL : rotation->cos + positions[r] * half;
    const float *sin = half == 0 ? NULL : rotation->sin + positions[r] * half;
    for (size_t h = 0; h < rotation->n_heads && half > 0; h++) {
      if (rotation->pairs)
        turn_pairs_back(row + h * rotation->head_dim, cos, sin, half);
      else
        turn_halves_back(row + h * rotation->head_dim, cos, sin, half);
    }
    if (x != NULL) heads_back(rotation, x + r * ld_x, row);
  }
}

/* ---- Activations ---- */

/* f and its derivative: h = f(x) u, du = f(x) d, dx = f'(x) u d, with u = 1 where there is no gate.
 * FORM sets f and slope from x. */
#define ACTIVATE_BACK_ROW(NAME, FORM)                                             \
  NKI_CLONES static void NAME(const struct nki_activating *a, float *restrict up, \
                              float *restrict gate, float *restrict d) {          \
    const float *bias = a->bias, *gate_bias = a->gate_bias;                       \
    if (gate == NULL) {                                                           \
      _Pragma("omp simd") for (size_t i = 0; i < a->width; i++) {                 \
        float x = bias == NULL ? up[i] : up[i] + bias[i], f, slope;               \
        FORM;                                                                     \
        up[i] = slope * d[i];                                                     \
        d[i] = f;                                                                 \
      }                                                                           \
    } else {                                                                      \
      _Pragma("omp simd") for (size_t i = 0; i < a->width; i++) {                 \
        float x = gate_bias == NULL ? gate[i] : gate[i] + gate_bias[i], f, slope; \
        float u = bias == NULL ? up[i] : up[i] + bias[i];                         \
        FORM;                                                                     \
        up[i] = f * d[i];                                                         \
        gate[i] = slope * u * d[i];                                               \
        d[i] = f * u;                                                             \
      }                                                                           \
    }                                                                             \
  }

/* x s(k x) with the logistic function s: its derivative is s (1 + k x (1 - s)). */
#define SIGMOID_FORM(K)                                  \
  float s = nki_over_one_plus(1.0f, nki_exp_of(-(K)*x)); \
  f = x * s;                                             \
  slope = s * (1.0f + (K)*x * (1.0f - s))
/* x s(2 u), u a polynomial of x */
#define GELU_TANH_FORM                                 \
  float u2 = 1.5957691f * (x + 0.044715f * x * x * x); \
  float s = nki_over_one_plus(1.0f, nki_exp_of(-u2));  \
  f = x * s;                                           \
  slope = s + f * (1.0f - s) * 1.5957691f * (1.0f + 3 * 0.044715f * x * x)
#define GELU_FORM              \
  float s = nki_normal_cdf(x); \
  f = x * s;                   \
  slope = s + x * 0.39894228f * nki_exp_of(-0.5f * x * x)
#define RELU_FORM       \
  f = x < 0 ? 0.0f : x; \
  slope = x > 0 ? 1.0f : 0.0f

ACTIVATE_BACK_ROW(gelu_back, GELU_FORM)
ACTIVATE_BACK_ROW(gelu_tanh_back, GELU_TANH_FORM)
ACTIVATE_BACK_ROW(quick_gelu_back, SIGMOID_FORM(1.702f))
ACTIVATE_BACK_ROW(relu_back, RELU_FORM)
ACTIVATE_BACK_ROW(silu_back, SIGMOID_FORM(1.0f))

/* Of h = x s(1.702 x) (u + 1), both clamped; values of gate and up are `step` apart. */
static void clamped_back(const struct nki_activating *a, float *up, float *gate, float *d) {
  for (size_t i = 0; i < a->width; i++) {
    size_t at = i * a->step;
    float g = gate[at] + (a->gate_bias == NULL ? 0.0f : a->gate_bias[at]);
    float u = up[at] + (a->bias == NULL ? 0.0f : a->bias[at]);
    bool inside_g = g <= a->limit, inside_u = fabsf(u) <= a->limit;
    float x = inside_g ? g : a->limit;
    u = inside_u ? u : copysignf(a->limit, u);
    float f, slope;
    SIGMOID_FORM(1.702f);
    gate[at] = inside_g ? slope * (u + 1.0f) * d[i] : 0.0f;
    up[at] = inside_u ? f * d[i] : 0.0f;
    d[i] = f * (u + 1.0f);
  }
}

typedef void back_row(const struct nki_activating *a, float *restrict up, float *restrict gate,
                      float *restrict d);

void nki_activate_back(const struct nki_activating *a, float *h, float *d, size_t n) {
  static back_row *const rows[] = {[NKI_GELU] = gelu_back,
                                   [NKI_GELU_TANH] = gelu_tanh_back,
                                   [NKI_QUICK_GELU] = quick_gelu_back,
                                   [NKI_RELU] = relu_back,
                                   [NKI_SILU] = silu_back};
#pragma omp parallel for if (n > FEW_ROWS)
  for (size_t r = 0; r < n; r++) {
    float *gate = a->gate == NULL ? NULL : a->gate + r * a->ld;
    if (a->f != NKI_CLAMPED_SWIGLU)
      rows[a->f](a, h + r * a->ld, gate, d + r * a->width);
    else if (gate != NULL) /* as it always is */
      clamped_back(a, h + r * a->ld, gate, d + r * a->width);
  }
}

/* ---- Attention's inner loops ---- */

NKI_CLONES void nki_softmax_back(const float *restrict p, float *restrict d, size_t n, float dot,
                                 float scale) {
#pragma omp simd
  for (size_t i = 0; i < n; i++) d[i] = p[i] * (d[i] - dot) * scale;
}

NKI_CLONES void nki_soft_cap_back(const float *restrict capped, float *restrict d, size_t n,
                                  float cap) {
  float inverse = 1.0f / cap;
#pragma omp simd
  for (size_t i = 0; i < n; i++) {
    float t = capped[i] * inverse;
    d[i] *= 1.0f - t * t;
  }
}

/* ---- Distributions ---- */

#define LEAST_LOG (-87.3f) /* nki_exp_of's */

/* e^x; 0 below its range, as of a token that a distribution leaves out. */
NKI_INLINE float exp_or_0(float x) {
  return x < LEAST_LOG ? 0.0f : nki_exp_of(x);
}

NKI_CLONES void nki_logits_back(const struct nki_logit_slope *slope, const float *restrict logits,
                                const float *restrict other, size_t n, float *restrict d) {
  const float shift = slope->log_sum_exp, a = slope->p, b = slope->p_log_p, c = slope->p_other;
  const float f = slope->other;
  if (other == NULL) {
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
      float log_p = logits[i] - shift;
      d[i] += nki_exp_of(log_p) * (a + b * log_p);
    }
    return;
  }
  if (slope->of_exp_other) {
#pragma omp simd
    for (size_t i = 0; i < n; i++)
      d[i] += nki_exp_of(logits[i] - shift) * a + f * exp_or_0(other[i]);
    return;
  }
#pragma omp simd
  for (size_t i = 0; i < n; i++) {
    float log_p = logits[i] - shift;
    d[i] += nki_exp_of(log_p) * (a + b * log_p + c * other[i]) + f * other[i];
  }
}

NKI_CLONES float nki_reverse_sum(const float *restrict logits, const float *restrict other,
                                 float log_sum_exp, size_t n) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (size_t i = 0; i < n; i++) {
    float o = other[i] < LEAST_LOG ? LEAST_LOG : other[i];
    sum += exp_or_0(other[i]) * (o - (logits[i] - log_sum_exp));
  }
  return sum;
}

NKI_CLONES float nki_exp_sum(const float *restrict other, size_t n) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (size_t i = 0; i < n; i++) sum += exp_or_0(other[i]);
  return sum;
}

/* ---- Products ---- */

void nki_multiply_back(const struct nki_product *p, size_t n) {
  if (n == 0 || p->n_out == 0) return;
  const float *w = p->in_out ? p->weight + p->first : p->weight + p->first * p->n_in;
  cblas_sgemm(CblasRowMajor, CblasNoTrans, p->in_out ? CblasTrans : CblasNoTrans, (int)n,
              (int)p->n_in, (int)p->n_out, 1.0f, p->x, (int)p->ld_x, w,
              (int)(p->in_out ? p->total : p->n_in), p->add ? 1.0f : 0.0f, p->y, (int)p->ld_y);
}

void nki_multiply_weight(const struct nki_product *p, size_t n, float *gradient) {
  if (gradient == NULL || n == 0 || p->n_out == 0) return;
  if (p->in_out)
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)p->n_in, (int)p->n_out, (int)n, 1.0f,
                p->x, (int)p->ld_x, p->y, (int)p->ld_y, 1.0f, gradient + p->first, (int)p->total);
  else
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)p->n_out, (int)p->n_in, (int)n, 1.0f,
                p->y, (int)p->ld_y, p->x, (int)p->ld_x, 1.0f, gradient + p->first * p->n_in,
                (int)p->n_in);
}
