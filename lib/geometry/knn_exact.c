/* The exact search for neighbours.
 *
 * 1. Float products propose candidates (knn_candidates.c).
 * 2. Their distances are computed in double, sorted, cut to k. The k-th is an upper bound of the
 *    k-th of all rows.
 * 3. A row that was no candidate has a score of at most the lowest candidate's. Where no row as
 *    near as the k-th can have so low a score (nki_least_score), the result is exact.
 * 4. The other query rows lie close to their neighbours compared with their distance from the
 *    centre, or are copies. Where many of them share a ball they are searched again with its centre
 *    and its size as the frame.
 * 5. What is left is compared in double with every row whose score does not exclude it. */
#include "geometry/knn_exact.h"

#include <cblas.h>
#include <math.h>
#include <noken/base.h>
#include <noken/geometry.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "geometry/internal.h"
#include "geometry/knn_candidates.h"

enum {
  SPARE = 4,           /* candidates beyond k, so that few rows have to be searched again */
  SPARE_AGAIN = 64,    /* the same when a ball is searched again */
  SMALL_BALL = 64,     /* query rows that are not worth a search of their own */
  MOST_BALLS = 64,     /* how often a search is repeated for another ball */
  MOST_CHECKED = 2048, /* rows of a block of the last step, and its bytes */
  CHECKED_BYTES = 32 << 20,
  FURTHER = 256 /* a frame of the base is one of query rows so many times as long: floats and the
                 * error of scores allow far more */
};

/* ---- What float products can tell ---- */

/* With u = 2^-24, n = dim + 1 and gamma_m = m u / (1 - m u), everything in units of the frame:
 *
 *   x', y'   the rows as they are compared, less the centre, as real numbers; |x'| = length
 *   x^, y^   the same as floats. A value is scaled and centred in double, with an error of 2^-53 of
 *            either result, then rounded to float:  |x^ - x'| <= u |x'| + 2^-52 (|x'| + C) + tiny,
 *            C = centre_length, because the row itself is no longer than |x'| + C
 *   s        the computed score of (x^, 1) and (y^, h), h = -|y^|^2 / 2 rounded to float
 *
 * A float inner product of n terms, in any order of summation, in blocks or lanes, with or without
 * fused multiply-add, has an error of at most gamma_n times the inner product of absolute values,
 * which by Cauchy and Schwarz is at most gamma_n (|x^| |y^| + |h|): Higham, "Accuracy and Stability
 * of Numerical Algorithms" (2nd edition, 2002), section 3.1, equations (3.2) to (3.5). h has an
 * error of u |y^|^2 / 2 from rounding and less than that from its sum in double. By lemma 3.3
 * there, gamma_n + 2 u (1 + gamma_n) <= gamma_(n + 2), so
 *
 *   |s - (x^ . y^ - |y^|^2 / 2)| <= R = gamma_(n + 2) (|x^| |y^| + |y^|^2 / 2) + tiny
 *
 * where `tiny` covers underflow: n products and sums below 2^-126 each, far below 2^-90. As
 * |x^ - y^|^2 = |x^|^2 - 2 (x^ . y^ - |y^|^2 / 2), a row with |x' - y'| <= kth has
 *
 *   |x^|^2 - 2 (s + R) <= |x^ - y^|^2 <= (kth + e)^2,  e = |x^ - x'| + |y^ - y'|
 *   s >= (|x^|^2 - (kth + e)^2) / 2 - R
 *
 * with |y'| <= length + kth, which bounds e and R. The factor 1.1 and the one more in gamma cover
 * that length, kth and the bound itself are computed in double (relative error below 1e-9).
 *
 * A row with coordinates that were cut off at NKI_FAR is at least that long, cut off or not: its
 * distance exceeds any kth that is let through here, and its score is below -NKI_FAR^2 / 4, which
 * is less than any bound that is returned. */
double nki_least_score(double length, double kth, double centre_length, size_t dim) {
  const double u = 0x1p-24, tiny = 0x1p-90;
  double terms = ((double)dim + 4) * u, gamma = terms / (1 - terms);
  if (!(terms < 0.25) || !(length + kth < NKI_FAR / 1024)) return -INFINITY;
  double e = 1.1 * u * (2 * length + kth) + 0x1p-50 * (length + kth + centre_length) + tiny;
  double other = length + kth + e; /* |y^| is at most this */
  double rounding = gamma * ((length + e) * other + 0.5 * other * other) + tiny;
  double least = length > e ? length - e : 0; /* |x^| is at least this */
  return 0.5 * (least * least - (kth + e) * (kth + e)) - rounding;
}

/* A ball about a query row is as wide as float products from its centre can resolve: with rows at
 * `length` = c kth from the centre the error of a squared distance, 2 R = 3 gamma c^2 kth^2, is to
 * be a tenth of kth^2. */
static double ball_width(size_t dim) {
  return sqrt(0.1 / (3 * ((double)dim + 4) * 0x1p-24));
}

/* ---- 2. and 3. Distances in double, and whether they are exact ---- */

/* The L2 distance of query row q to its k-th neighbour found so far; infinity before any. */
static double kth_of(const struct nki_search *s, size_t q) {
  double kth = s->out->distances[q * s->k + s->k - 1];
  return isnan(kth) ? (double)INFINITY : nki_l2_of(&s->query, kth);
}

/* The least score in the frame of a row that may be a neighbour of query row q. */
static double least_score(const struct nki_search *s, const struct nki_frame *frame, size_t q) {
  double length = nki_length_from(&s->query, q, frame->centre) * frame->scale;
  return nki_least_score(length, kth_of(s, q) * frame->scale, frame->centre_length * frame->scale,
                         s->base.dim);
}

/* Row q of the result from list i of the candidates. Returns whether it is exact. */
static bool refine(const struct nki_search *s, const struct nki_frame *frame,
                   const struct nki_candidates *c, size_t i, size_t q,
                   struct nki_neighbour *found) {
  const size_t *rows = c->rows + i * c->per_row;
  size_t count = 0;
  for (size_t j = 0; j < c->per_row; j++)
    if (rows[j] != NKI_NO_ROW && !nki_is_own(s, q, rows[j]))
      found[count++] =
          (struct nki_neighbour){nki_distance(&s->query, q, &s->base, rows[j]), (int64_t)rows[j]};
  nki_keep(found, count, s->out, q);
  if (count == s->base.n - (s->self ? 1 : 0)) return true;
  return count >= s->k && (double)c->least[i] < least_score(s, frame, q);
}

/* Query rows. */
struct rows {
  size_t *list; /* [n] */
  size_t n;
};

/* Searches the n query rows of list (NULL: all) in the frame; unsure->list [n] gets those whose
 * result may not be exact. It may be the same list. */
static int search_in(const struct nki_search *s, const struct nki_frame *frame, const size_t *list,
                     size_t n, size_t spare, struct rows *unsure) {
  struct nki_candidates c = {0};
  size_t n_others = s->base.n - (nki_is_paired(s, list) ? 1 : 0);
  size_t per_row = s->k + spare < n_others ? s->k + spare : n_others;
  struct nki_neighbour *found = nk_alloc(nk_threads(), per_row * sizeof *found);
  unsigned char *exact = nk_alloc(n, 1);
  int code = found != NULL && exact != NULL ? nki_candidates_new(&c, n, per_row) : NK_EMEMORY;
  if (code == NK_OK) code = nki_propose(s, frame, list, &c);
  if (code != NK_OK) goto done;
#pragma omp parallel for schedule(dynamic, 16)
  for (size_t i = 0; i < n; i++)
    exact[i] = refine(s, frame, &c, i, list != NULL ? list[i] : i,
                      found + (size_t)omp_get_thread_num() * per_row);
  unsure->n = 0;
  for (size_t i = 0; i < n; i++)
    if (!exact[i]) unsure->list[unsure->n++] = list != NULL ? list[i] : i;

done:
  nki_candidates_free(&c);
  nk_free(found);
  nk_free(exact);
  return code;
}

/* ---- 4. Balls ---- */

/* Moves those of rows that lie in one ball with the last to the end of the list; returns how many
 * stay in front. centre [dim] becomes the last row, *longest the ball's size. */
static size_t split_ball(const struct nki_search *s, struct rows rows, double *centre,
                         double *longest) {
  const struct nki_rows *query = &s->query;
  size_t pivot = rows.list[rows.n - 1], others = 0;
  double scale = query->scale != NULL ? query->scale[pivot] : 1, width = ball_width(query->dim);
  const float *row = query->x + pivot * query->dim;
  for (size_t j = 0; j < query->dim; j++) centre[j] = (double)row[j] * scale;
  *longest = 0;
  for (size_t i = 0; i < rows.n; i++) {
    double kth = kth_of(s, rows.list[i]);
    double length = nki_length_from(query, rows.list[i], centre);
    if (isfinite(kth) && length <= width * kth) *longest = fmax(*longest, length + kth);
    if (i + 1 == rows.n || length <= width * kth) continue;
    size_t other = rows.list[i];
    rows.list[i] = rows.list[others];
    rows.list[others++] = other;
  }
  return others;
}

/* Searches rows ball by ball; rows is then what is left of them. */
static int search_balls(const struct nki_search *s, struct rows *rows) {
  double *centre = nk_alloc(s->base.dim, sizeof *centre), longest = 0;
  size_t *left = nk_alloc(rows->n, sizeof *left), n_left = 0;
  int code = centre != NULL && left != NULL ? NK_OK : NK_EMEMORY;
  for (size_t balls = 0; balls < MOST_BALLS && rows->n >= SMALL_BALL && code == NK_OK; balls++) {
    size_t others = split_ball(s, *rows, centre, &longest);
    struct rows ball = {rows->list + others, rows->n - others}, unsure = {left + n_left, 0};
    if (ball.n < SMALL_BALL || !(longest > 0)) {
      memcpy(unsure.list, ball.list, ball.n * sizeof *ball.list);
      unsure.n = ball.n;
    } else {
      struct nki_frame frame = nki_frame_about(centre, s->base.dim, longest);
      code = search_in(s, &frame, ball.list, ball.n, SPARE_AGAIN, &unsure);
    }
    n_left += unsure.n;
    rows->n = others;
  }
  if (code == NK_OK) {
    memcpy(left + n_left, rows->list, rows->n * sizeof *left);
    rows->n += n_left;
    memcpy(rows->list, left, rows->n * sizeof *left);
  }
  nk_free(centre);
  nk_free(left);
  return code;
}

/* ---- 5. Every row that scores do not exclude ---- */

/* A block of query rows against the base, a block at a time. */
struct check {
  const struct nki_search *s;
  const struct nki_frame *frame;
  const size_t *list; /* [n] */
  size_t n;
  size_t base_rows;              /* in a block */
  struct nki_floats query, base; /* [n, dim] and [base_rows, dim] */
  float *products;               /* [n, base_rows] */
  double *least;                 /* [n] scores below it are excluded */
  struct nki_neighbour *found;   /* [n, k] in order */
  size_t *n_found;               /* [n] */
};

/* Compares the i-th query row with n rows of the base from `first` on. */
static void check_row(struct check *check, size_t i, size_t first, size_t n) {
  const struct nki_search *s = check->s;
  const float *products = check->products + i * n;
  struct nki_neighbour *found = check->found + i * s->k;
  size_t count = check->n_found[i], q = check->list[i];
  for (size_t j = 0; j < n; j++) {
    size_t row = first + j;
    float score = products[j] + check->base.half[j];
    if ((double)score < check->least[i] || nki_is_own(s, q, row)) continue;
    double distance = nki_distance(&s->query, q, &s->base, row);
    if (count == s->k && !(distance < found[count - 1].distance)) continue;
    size_t place = count < s->k ? count++ : count - 1;
    for (; place > 0 && found[place - 1].distance > distance; place--)
      found[place] = found[place - 1];
    found[place] = (struct nki_neighbour){distance, (int64_t)row};
  }
  check->n_found[i] = count;
}

static void check_block(struct check *check) {
  const struct nki_search *s = check->s;
  int dim = (int)s->base.dim;
  nki_prepare(check->frame, &s->query, check->list, 0, check->n, check->query.rows, NULL);
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < check->n; i++) {
    check->least[i] = least_score(s, check->frame, check->list[i]);
    check->n_found[i] = 0;
  }
  for (size_t first = 0; first < s->base.n; first += check->base_rows) {
    size_t n = s->base.n - first < check->base_rows ? s->base.n - first : check->base_rows;
    nki_prepare(check->frame, &s->base, NULL, first, n, check->base.rows, check->base.half);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)check->n, (int)n, dim, 1,
                check->query.rows, dim, check->base.rows, dim, 0, check->products, (int)n);
#pragma omp parallel for schedule(dynamic)
    for (size_t i = 0; i < check->n; i++) check_row(check, i, first, n);
  }
  for (size_t i = 0; i < check->n; i++)
    nki_keep(check->found + i * s->k, check->n_found[i], s->out, check->list[i]);
}

static int check_rows(const struct nki_search *s, const struct nki_frame *frame, struct rows rows) {
  size_t dim = s->base.dim, most = CHECKED_BYTES / (dim * sizeof(float)) + 1;
  if (most > MOST_CHECKED) most = MOST_CHECKED;
  struct check check = {.s = s, .frame = frame, .base_rows = most < s->base.n ? most : s->base.n};
  if (most > rows.n) most = rows.n;
  check.products = nk_alloc(most, check.base_rows * sizeof *check.products);
  check.least = nk_alloc(most, sizeof *check.least);
  check.found = nk_alloc(most, s->k * sizeof *check.found);
  check.n_found = nk_alloc(most, sizeof *check.n_found);
  int code =
      check.products != NULL && check.least != NULL && check.found != NULL && check.n_found != NULL
          ? nki_floats_new(&check.query, most, dim)
          : NK_EMEMORY;
  if (code == NK_OK) code = nki_floats_new(&check.base, check.base_rows, dim);
  for (size_t first = 0; first < rows.n && code == NK_OK; first += most) {
    check.list = rows.list + first;
    check.n = rows.n - first < most ? rows.n - first : most;
    check_block(&check);
    code = nk_progress("neighbours in double", first + check.n, rows.n);
  }
  nki_floats_free(&check.query);
  nki_floats_free(&check.base);
  nk_free(check.products);
  nk_free(check.least);
  nk_free(check.found);
  nk_free(check.n_found);
  return code;
}

/* ---- The whole search ---- */

/* The longest of the rows, from centre [dim]. */
static double longest_of(const struct nki_rows *rows, const double *centre) {
  double longest = 0;
#pragma omp parallel for schedule(static) reduction(max : longest)
  for (size_t i = 0; i < rows->n; i++) longest = fmax(longest, nki_length_from(rows, i, centre));
  return longest;
}

/* The order in which n rows of a base are taken; NULL on failure. */
static size_t *random_order(size_t n) {
  struct nki_random random = nki_random_stream(0, NKI_RANDOM_KNN_ORDER, 0);
  size_t *order = nk_alloc(n, sizeof *order);
  if (order != NULL) nki_random_permutation(&random, n, order);
  return order;
}

/* The frame of all rows about the centre. */
static struct nki_frame frame_of_all(const struct nki_search *s, const double *centre) {
  double longest = s->kept != NULL ? s->kept->longest : longest_of(&s->base, centre);
  double query = s->self ? 0 : longest_of(&s->query, centre);
  if (s->kept == NULL || query > FURTHER * longest) longest = fmax(longest, query);
  return nki_frame_about(centre, s->base.dim, longest);
}

int nki_search_exact(const struct nki_search *search) {
  struct nki_search s = *search;
  double *centre = s.kept == NULL ? nk_alloc(s.base.dim, sizeof *centre) : NULL;
  size_t *order = s.kept == NULL ? random_order(s.base.n) : NULL;
  struct rows unsure = {nk_alloc(s.query.n, sizeof *unsure.list), 0};
  s.order = s.kept == NULL ? order : s.kept->order;
  bool failed = s.order == NULL || unsure.list == NULL || (s.kept == NULL && centre == NULL);
  int code = failed ? NK_EMEMORY : NK_OK;
  if (code == NK_OK && s.kept == NULL) code = nki_centroid(&s.base, centre);
  if (code != NK_OK) goto done;
  struct nki_frame frame = frame_of_all(&s, s.kept == NULL ? centre : s.kept->centre);
  const size_t *list = s.self && s.rows == NULL ? s.order : NULL;
  code = search_in(&s, &frame, list, s.query.n, SPARE, &unsure);
  if (code == NK_OK) code = search_balls(&s, &unsure);
  if (code == NK_OK) code = check_rows(&s, &frame, unsure);
  if (code == NK_OK) code = nk_progress("nearest neighbours", 1, 1);

done:
  nk_free(centre);
  nk_free(order);
  nk_free(unsure.list);
  return code;
}

/* ---- Rows that are searched in many times ---- */

void nki_base_free(struct nki_base *base) {
  if (base == NULL) return;
  nki_floats_free(&base->floats);
  nk_free(base->rows.scale);
  nk_free(base->centre);
  nk_free(base->order);
  nk_free(base);
}

struct nki_base *nki_base_new(const float *x, size_t n, size_t dim, enum nk_metric metric) {
  struct nki_base *base = nk_calloc(1, sizeof *base);
  if (base == NULL) return NULL;
  base->metric = metric;
  base->centre = nk_alloc(dim, sizeof *base->centre);
  base->order = random_order(n);
  int code = base->centre != NULL && base->order != NULL
                 ? nki_rows_open(&base->rows, x, n, dim, metric)
                 : NK_EMEMORY;
  if (code == NK_OK) code = nki_centroid(&base->rows, base->centre);
  if (code == NK_OK) {
    base->longest = longest_of(&base->rows, base->centre);
    base->frame = nki_frame_about(base->centre, dim, base->longest);
  }
  if (code == NK_OK && nki_part_of(&base->rows) == n) {
    code = nki_floats_new(&base->floats, n, dim);
    if (code == NK_OK)
      nki_prepare(&base->frame, &base->rows, base->order, 0, n, base->floats.rows,
                  base->floats.half);
  }
  if (code == NK_OK) return base;
  nki_base_free(base);
  return NULL;
}
