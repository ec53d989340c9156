/* How much evidence a row of a matrix gives that training showed its token.
 *
 * Never-seen rows are drawn from N(c, S0), a ball; the other rows have mean m and covariance S1. A
 * token seen a little has moved a part t of the way: N(c + t (m - c), (1 - t^2) S0 + t^2 S1), and
 * beyond t = 1 N(c + t (m - c), t^2 S1). In coordinates in which S0 is the identity and S1 is
 * diagonal, the log likelihood ratio of t to 0 is a sum over coordinates z, linear in z and z^2:
 * two matrix products for all rows and a grid of t. The evidence is the log of the ratios' sum over
 * a grid that is even in log t.
 *
 * It is taken twice: with S0 = s^2 I, as rows begin, and with S0 the covariance of the rows found
 * inside the ball, shrunk by Ledoit and Wolf (2004). The second is the better judge near the ball
 * and a poor one far from it, where it weighs most what varied least in the ball: there it levels
 * off, as does the direction in which a row lies. How far a row has come on the way from c to m is
 * the better judge of those that were seen a few times. */
#include <cblas.h>
#include <lapacke.h>
#include <math.h>
#include <noken/base.h>
#include <noken/geometry.h>
#include <string.h>

#include "geometry/gaussian.h"
#include "geometry/internal.h"
#include "glitch/internal.h"

enum { PASSES = 3, MAX_GRID = 128 };
static const double GRID_RATIO = 1.25; /* between neighbouring t */
static const double LARGEST_T = 4;
static const double HALF_WAY = 0.5; /* where the evidence with the ball's own shape levels off */
static const double DIRECTION_WEIGHT = 0.5;

/* The ball and the rest of the rows as two normal distributions. */
struct model {
  size_t dim;
  struct nk_moments *ball, *rest;
  double variance; /* of a coordinate, in the ball */
  double rounding; /* of a coordinate, by the precision in which the rows were kept */
};

/* Coordinates z = transform (x - centre) in which the ball is standard normal and the rest has the
 * variances `lambda` and the mean `shift`. */
struct frame {
  float *transform;       /* [dim, dim] */
  double *lambda, *shift; /* [dim] */
};

/* For each t of the grid: log ratio = constant + sum_j linear_j z_j + square_j z_j^2. */
struct grid {
  size_t n;
  double t[MAX_GRID], constant[MAX_GRID];
  float *linear, *square; /* [n, dim] */
};

/* ---- The two distributions ---- */

static void model_free(struct model *model) {
  nk_moments_free(model->ball);
  nk_moments_free(model->rest);
}

/* rows [n] in two parts: `in` first, those outside from *n_in on. */
static void split(const bool *member, size_t n, size_t *rows, size_t *n_in) {
  size_t in = 0, out = 0;
  for (size_t i = 0; i < n; i++) in += member[i];
  *n_in = in;
  for (size_t i = 0, at = 0; i < n; i++) {
    if (member[i])
      rows[at++] = i;
    else
      rows[in + out++] = i;
  }
}

/* Square of the distance between neighbouring numbers of the precision in which the rows were kept,
 * mean over the coordinates of row. Halves and bfloat16 leave the mantissa's last bits 0. */
static double rounding_of(const float *x, size_t dim, const size_t *rows, size_t n,
                          const double *row) {
  uint32_t used = 0, bits;
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < dim; j++) {
      memcpy(&bits, x + rows[i] * dim + j, sizeof bits);
      used |= bits & 0x7fffff;
    }
  int kept = 23;
  while (kept > 0 && !(used >> (23 - kept) & 1)) kept--;
  double sum = 0;
  for (size_t j = 0; j < dim; j++) {
    int exponent;
    frexp(row[j], &exponent);
    sum += row[j] != 0 ? ldexp(1, 2 * (exponent - 1 - kept)) : 0;
  }
  return sum / (double)dim;
}

/* The ball by its members; the rest by all other rows, or, when `all`, by every row. */
static int fit(const float *x, size_t n, size_t dim, const bool *member, bool all,
               struct model *out) {
  size_t *rows = nk_alloc(n, sizeof *rows), n_in = 0;
  if (rows == NULL) return NK_EMEMORY;
  *out = (struct model){.dim = dim};
  split(member, n, rows, &n_in);
  if (n - n_in < 2) all = true;
  out->ball = nk_moments_compute(x, rows, n_in, dim);
  if (out->ball != NULL)
    out->rest = nk_moments_compute(x, all ? NULL : rows + n_in, all ? n : n - n_in, dim);
  if (out->rest != NULL) out->rounding = rounding_of(x, dim, rows, n_in, out->ball->mean);
  nk_free(rows);
  if (out->rest == NULL) return nk_error_code();
  double spread = out->rest->total_variance / (double)dim;
  if (!(spread > 0)) return nk_fail(NK_EDATA, "the rows do not differ: there is nothing to rank");
  out->variance = out->ball->total_variance / (double)dim * (double)n_in / (double)(n_in - 1);
  /* Rows that differ by rounding alone do not show how wide the ball is. */
  out->variance = fmax(out->variance, fmax(out->rounding, 1e-10 * spread));
  return NK_OK;
}

/* ---- Coordinates ---- */

static void frame_free(struct frame *frame) {
  nk_free(frame->transform);
  nk_free(frame->lambda);
  nk_free(frame->shift);
}

/* factor [dim, dim]: lower triangle of the Cholesky factor of the ball's shrunk covariance. */
static int shrunk_factor(const struct model *model, double *factor) {
  size_t dim = model->dim, n = model->ball->n;
  double shrinkage = nki_ledoit_wolf(model->ball);
  double keep = (1 - shrinkage) * (double)n / (double)(n - 1);
  for (size_t i = 0; i < dim * dim; i++) factor[i] = keep * model->ball->covariance[i];
  for (size_t i = 0; i < dim; i++) factor[i * dim + i] += (shrinkage + 1e-6) * model->variance;
  /* Row-major lower is LAPACK's upper. */
  int info = LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'U', (int)dim, factor, (int)dim);
  return info == 0 ? NK_OK : nk_fail(NK_EDATA, "the ball's covariance is not positive definite");
}

/* work [dim, dim] = the rest's covariance where the ball is standard normal; factor NULL: the ball
 * is round. */
static void whiten_rest(const struct model *model, const double *factor, double *work) {
  size_t dim = model->dim;
  int d = (int)dim;
  memcpy(work, model->rest->covariance, dim * dim * sizeof *work);
  if (factor == NULL) {
    for (size_t i = 0; i < dim * dim; i++) work[i] /= model->variance;
    return;
  }
  cblas_dtrsm(CblasRowMajor, CblasLeft, CblasLower, CblasNoTrans, CblasNonUnit, d, d, 1, factor, d,
              work, d);
  cblas_dtrsm(CblasRowMajor, CblasRight, CblasLower, CblasTrans, CblasNonUnit, d, d, 1, factor, d,
              work, d);
  for (size_t i = 0; i < dim; i++) /* exactly symmetric again */
    for (size_t j = 0; j < i; j++) work[i * dim + j] = work[j * dim + i];
}

/* Turns the eigenvectors in frame->transform into the transform, and finds the shift. work [dim,
 * dim] is free. */
static void finish_frame(const struct model *model, const double *factor, double *work,
                         struct frame *frame) {
  size_t dim = model->dim;
  double scale = factor == NULL ? 1 / sqrt(model->variance) : 1;
  for (size_t i = 0; i < dim * dim; i++) work[i] = scale * (double)frame->transform[i];
  if (factor != NULL)
    cblas_dtrsm(CblasRowMajor, CblasRight, CblasLower, CblasNoTrans, CblasNonUnit, (int)dim,
                (int)dim, 1, factor, (int)dim, work, (int)dim);
  for (size_t i = 0; i < dim; i++) {
    double sum = 0;
    for (size_t j = 0; j < dim; j++)
      sum += work[i * dim + j] * (model->rest->mean[j] - model->ball->mean[j]);
    frame->shift[i] = sum;
  }
  for (size_t i = 0; i < dim * dim; i++) frame->transform[i] = (float)work[i];
}

static int make_frame(const struct model *model, bool round, struct frame *frame) {
  size_t dim = model->dim, square = 0;
  double *work = NULL, *factor = NULL;
  int code = NK_EMEMORY;
  *frame = (struct frame){0};
  if (!nk_size_mul(dim, dim, &square)) goto done;
  work = nk_alloc(square, sizeof *work);
  frame->transform = nk_alloc(square, sizeof(float));
  frame->lambda = nk_alloc(dim, sizeof(double));
  frame->shift = nk_alloc(dim, sizeof(double));
  if (work == NULL || !frame->transform || !frame->lambda || !frame->shift) goto done;
  if (!round) {
    if ((factor = nk_alloc(square, sizeof *factor)) == NULL) goto done;
    if ((code = shrunk_factor(model, factor)) != NK_OK) goto done;
  }
  whiten_rest(model, factor, work);
  code = nki_eigen(work, dim, dim, frame->lambda, frame->transform);
  if (code == NK_OK) finish_frame(model, factor, work, frame);

done:
  nk_free(work);
  nk_free(factor);
  return code;
}

/* ---- Likelihood ratios ---- */

/* Variance of a coordinate at t. The floor keeps a direction in which the rest has none finite. */
static double variance_at(double t, double lambda) {
  return fmax(fmax(1 - t * t, 0) + t * t * fmax(lambda, 0), 1e-6);
}

/* The grid begins where t no longer makes a difference: a tenth of the largest spread or shift. */
static int make_grid(const struct frame *frame, size_t dim, struct grid *grid) {
  double largest = 1, shift = 0;
  for (size_t j = 0; j < dim; j++) {
    if (frame->lambda[j] > largest) largest = frame->lambda[j];
    shift += frame->shift[j] * frame->shift[j];
  }
  double first = 0.1 / sqrt(shift > largest ? shift : largest);
  size_t n = (size_t)ceil(log(LARGEST_T / first) / log(GRID_RATIO)) + 1;
  grid->n = n < MAX_GRID ? n : MAX_GRID;
  grid->linear = nk_alloc(grid->n * dim, sizeof(float));
  grid->square = nk_alloc(grid->n * dim, sizeof(float));
  if (grid->linear == NULL || grid->square == NULL) return NK_EMEMORY;
  for (size_t k = 0; k < grid->n; k++) {
    double t = first * pow(LARGEST_T / first, (double)k / (double)(grid->n - 1)), sum = 0;
    for (size_t j = 0; j < dim; j++) {
      double v = variance_at(t, frame->lambda[j]), m = t * frame->shift[j];
      sum -= (m * m / v + log(v)) / 2;
      grid->linear[k * dim + j] = (float)(m / v);
      grid->square[k * dim + j] = (float)((1 - 1 / v) / 2);
    }
    grid->t[k] = t;
    grid->constant[k] = sum;
  }
  return NK_OK;
}

/* log of 1 + the sum of exp(ratio) over the grid: at least 0. */
static double log_sum(const double *ratio, size_t n) {
  double largest = 0, sum = 0;
  for (size_t k = 0; k < n; k++) largest = fmax(largest, ratio[k]);
  for (size_t k = 0; k < n; k++) sum += exp(ratio[k] - largest);
  return largest + log(sum + exp(-largest));
}

struct blocks {
  float *centred, *z, *ratio; /* [rows, dim] twice, [rows, grid] */
};

static void block_evidence(const struct frame *frame, const struct grid *grid, size_t rows,
                           size_t dim, struct blocks *b, double *out) {
  int r = (int)rows, d = (int)dim, k = (int)grid->n;
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, r, d, d, 1, b->centred, d, frame->transform,
              d, 0, b->z, d);
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, r, k, d, 1, b->z, d, grid->linear, d, 0,
              b->ratio, k);
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < rows * dim; i++) b->z[i] *= b->z[i];
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, r, k, d, 1, b->z, d, grid->square, d, 1,
              b->ratio, k);
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < rows; i++) {
    double ratio[MAX_GRID];
    for (size_t g = 0; g < grid->n; g++)
      ratio[g] = (double)b->ratio[i * grid->n + g] + grid->constant[g];
    out[i] = log_sum(ratio, grid->n);
  }
}

/* out [n] = the evidence of the rows of x in these coordinates around centre. */
static int evidence(const float *x, size_t n, size_t dim, const double *centre,
                    const struct frame *frame, const char *what, double *out) {
  struct grid grid = {0};
  struct blocks b = {0};
  size_t block = nki_block_rows(dim), values = 0;
  if (block > n) block = n;
  int code = make_grid(frame, dim, &grid);
  if (code != NK_OK) goto done;
  code = NK_EMEMORY;
  if (!nk_size_mul(block, dim, &values)) goto done;
  b.centred = nk_alloc(values, sizeof(float));
  b.z = nk_alloc(values, sizeof(float));
  b.ratio = nk_alloc(block * grid.n, sizeof(float));
  if (b.centred == NULL || b.z == NULL || b.ratio == NULL) goto done;
  code = NK_OK;
  for (size_t first = 0; first < n && code == NK_OK; first += block) {
    size_t rows = n - first < block ? n - first : block;
    nki_copy_rows_centred(x, NULL, first, rows, dim, centre, b.centred);
    block_evidence(frame, &grid, rows, dim, &b, out + first);
    code = nk_progress(what, first + rows, n);
  }

done:
  nk_free(b.centred);
  nk_free(b.z);
  nk_free(b.ratio);
  nk_free(grid.linear);
  nk_free(grid.square);
  return code;
}

/* ---- Who is in the ball ---- */

/* The 0.99 quantile of Student's t: Abramowitz and Stegun (1964), 26.7.5; exact for 1 and 2. */
static double t_quantile(size_t degrees) {
  double v = (double)degrees, z = 2.3263479;
  if (degrees == 1) return 31.82052;
  if (degrees == 2) return 6.964557;
  return z + (pow(z, 3) + z) / (4 * v) + (5 * pow(z, 5) + 16 * pow(z, 3) + 3 * z) / (96 * v * v) +
         (3 * pow(z, 7) + 19 * pow(z, 5) + 17 * pow(z, 3) - 15 * z) / (384 * v * v * v);
}

/* The evidence of one of the ball's own rows as if it had not taken part in making the centre c of
 * k rows: without it that is c - (x - c) / (k - 1). The ball is round here; z [dim] is free. */
static double evidence_without(const float *row, const struct model *model,
                               const struct frame *frame, const struct grid *grid, double *z) {
  size_t dim = model->dim;
  double k = (double)model->ball->n, ratio[MAX_GRID];
  for (size_t i = 0; i < dim; i++) {
    double sum = 0;
    for (size_t j = 0; j < dim; j++)
      sum += (double)frame->transform[i * dim + j] * ((double)row[j] - model->ball->mean[j]);
    z[i] = sum;
  }
  for (size_t g = 0; g < grid->n; g++) {
    ratio[g] = 0;
    for (size_t j = 0; j < dim; j++) {
      double own = z[j] * k / (k - 1), shift = frame->shift[j] + z[j] / (k - 1);
      double v = variance_at(grid->t[g], frame->lambda[j]), left = own - grid->t[g] * shift;
      ratio[g] -= (left * left / v + log(v) - own * own) / 2;
    }
  }
  return log_sum(ratio, grid->n);
}

/* The evidence below which 99% of fresh never-seen rows lie, from the unused rows: the cube root of
 * a sum of squares is nearly normal (Wilson and Hilferty, 1931). */
static int cut_of(const float *x, const size_t *unused, size_t n_unused, const struct model *model,
                  const struct frame *frame, double *cut) {
  size_t dim = model->dim;
  struct grid grid = {0};
  double *values = nk_alloc(n_unused, sizeof *values), *z = nk_alloc(dim, sizeof *z);
  int code = values == NULL || z == NULL ? NK_EMEMORY : make_grid(frame, dim, &grid);
  double m = (double)n_unused, mean = 0, squares = 0;
  for (size_t i = 0; i < n_unused && code == NK_OK; i++) {
    values[i] = cbrt(evidence_without(x + unused[i] * dim, model, frame, &grid, z));
    mean += values[i] / m;
  }
  for (size_t i = 0; i < n_unused && code == NK_OK; i++)
    squares += (values[i] - mean) * (values[i] - mean);
  double edge = mean + t_quantile(n_unused - 1) * sqrt(squares / (m - 1) * (1 + 1 / m));
  *cut = edge * edge * edge;
  nk_free(values);
  nk_free(z);
  nk_free(grid.linear);
  nk_free(grid.square);
  return code;
}

/* out [n] = the evidence of all rows under the model. */
static int measure(const float *x, size_t n, const struct model *model, bool round, double *out) {
  struct frame frame;
  int code = make_frame(model, round, &frame);
  if (code == NK_OK)
    code = evidence(x, n, model->dim, model->ball->mean, &frame, "evidence of training", out);
  frame_free(&frame);
  return code;
}

/* Finds the members anew; values [n] is free. */
static int find_members(const float *x, size_t n, const size_t *unused, size_t n_unused,
                        const struct model *model, double *values, bool *member) {
  struct frame frame;
  double cut = 0;
  int code = make_frame(model, true, &frame);
  if (code == NK_OK)
    code = evidence(x, n, model->dim, model->ball->mean, &frame, "never-seen rows", values);
  if (code == NK_OK) code = cut_of(x, unused, n_unused, model, &frame, &cut);
  for (size_t i = 0; i < n && code == NK_OK; i++) member[i] = values[i] <= cut;
  for (size_t i = 0; i < n_unused && code == NK_OK; i++) member[unused[i]] = true;
  frame_free(&frame);
  return code;
}

/* ---- The evidence, put together ---- */

static int member_median(const double *values, const bool *member, size_t n, double *median) {
  size_t m = 0;
  double *some = nk_alloc(n, sizeof *some);
  if (some == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < n; i++)
    if (member[i]) some[m++] = values[i];
  nki_sort_numbers(some, m);
  *median = nki_quantile_sorted(some, m, 0.5);
  nk_free(some);
  return NK_OK;
}

/* Adds how far rows have come on the straight way from the ball's centre to the mean of the rest,
 * on the scale of the evidence: log(1 + square of that in units of the ball's radius). */
static void add_way(const float *x, size_t n, const struct model *model, double *trained) {
  size_t dim = model->dim;
  const double *m = model->rest->mean, *c = model->ball->mean;
  double length = 0, radius_squares = model->variance * (double)dim;
  for (size_t j = 0; j < dim; j++) length += (m[j] - c[j]) * (m[j] - c[j]);
  if (!(length > 0)) return;
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < n; i++) {
    double way = 0;
    for (size_t j = 0; j < dim; j++) way += ((double)x[i * dim + j] - c[j]) * (m[j] - c[j]);
    if (way > 0) trained[i] += log1p(way * way / length / radius_squares);
  }
}

/* Adds what the direction alone says: the cosine distance to the ball's centre, seen from the mean
 * of the rest, in units of what is usual in the ball. Where the ball has few rows it judges those
 * near it better than lengths do; it levels off, as it knows little of rows far away. */
static int add_direction(const float *x, size_t n, const struct model *model, const bool *member,
                         double *trained) {
  double *angle = nk_alloc(n, sizeof *angle), usual = 0;
  int code = angle == NULL ? NK_EMEMORY : NK_OK;
  if (code == NK_OK) {
    nki_angles(x, n, model->dim, model->rest->mean, model->ball->mean, NULL, angle);
    code = member_median(angle, member, n, &usual);
  }
  for (size_t i = 0; i < n && code == NK_OK && usual > 0; i++)
    if (!isnan(angle[i])) trained[i] += DIRECTION_WEIGHT * angle[i] / (angle[i] + usual);
  nk_free(angle);
  return code;
}

static int keep_ball(const struct model *model, struct nki_evidence *out) {
  if ((out->centre = nk_alloc(model->dim, sizeof(double))) == NULL) return NK_EMEMORY;
  memcpy(out->centre, model->ball->mean, model->dim * sizeof(double));
  out->radius = sqrt(model->variance * (double)model->dim);
  return NK_OK;
}

int nki_evidence(const float *x, size_t n, size_t dim, const size_t *unused, size_t n_unused,
                 struct nki_evidence *out) {
  struct model model = {0};
  double *shaped = nk_alloc(n, sizeof *shaped), scale = 2 / (double)dim;
  int code = NK_EMEMORY;
  *out = (struct nki_evidence){0};
  out->trained = nk_alloc(n, sizeof(double));
  out->member = nk_calloc(n, sizeof(bool));
  if (shaped == NULL || out->trained == NULL || out->member == NULL) goto done;
  for (size_t i = 0; i < n_unused; i++) out->member[unused[i]] = true;

  for (int pass = 0; pass < PASSES; pass++) {
    model_free(&model);
    if ((code = fit(x, n, dim, out->member, pass == 0, &model)) != NK_OK) goto done;
    if (pass == PASSES - 1) break;
    code = find_members(x, n, unused, n_unused, &model, shaped, out->member);
    if (code != NK_OK) goto done;
  }
  if ((code = keep_ball(&model, out)) != NK_OK) goto done;
  code = measure(x, n, &model, true, out->trained);
  if (code == NK_OK) code = measure(x, n, &model, false, shaped);
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    double near = log1p(scale * shaped[i]);
    out->trained[i] = log1p(scale * out->trained[i]) + near / (near + HALF_WAY);
  }
  if (code == NK_OK) add_way(x, n, &model, out->trained);
  if (code == NK_OK) code = add_direction(x, n, &model, out->member, out->trained);

done:
  model_free(&model);
  nk_free(shaped);
  if (code != NK_OK) nki_evidence_free(out);
  return code;
}

void nki_evidence_free(struct nki_evidence *evidence) {
  nk_free(evidence->trained);
  nk_free(evidence->member);
  nk_free(evidence->centre);
  *evidence = (struct nki_evidence){0};
}
