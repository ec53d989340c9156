/* The exact search for neighbours.
 *
 * 1. FAISS proposes. The nearest y of x by L2 has the largest s(x, y) = x . y - |y|^2 / 2, an inner
 *    product of (x, 1) and (y, -|y|^2 / 2): a flat index of inner products therefore finds it with
 *    one pass over what sgemm gives, where FAISS's own L2 takes two. Rows are centred first, as the
 *    error of s grows with their length. FAISS copies what it searches, so it gets the rows a part
 *    at a time.
 * 2. The distances of the candidates are computed in double, sorted, cut to k. The k-th is an upper
 *    bound of the k-th of all rows.
 * 3. A row that was no candidate has a score of at most the last candidate's. Where no row as near
 *    as the k-th can have so low a score (nki_least_score), the result is exact.
 * 4. The other query rows lie close to their neighbours compared with their distance from the
 *    centre, or are copies. Where many of them share a ball they are searched again with its centre
 *    and its size as the frame.
 * 5. What is left is compared in double with every row whose score does not exclude it. */
#include "geometry/knn_exact.h"

#include <cblas.h>
#include <faiss/c_api/Index_c.h>
#include <faiss/c_api/index_factory_c.h>
#include <faiss/c_api/utils/distances_c.h>
#include <math.h>
#include <noken/base.h>
#include <noken/geometry.h>
#include <omp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "geometry/internal.h"

enum {
  SPARE = 4,          /* candidates beyond k, so that few rows have to be searched again */
  SPARE_AGAIN = 64,   /* the same when a ball is searched again */
  QUERY_BLOCK = 2048, /* FAISS's blocks: 2,048 x 4,096 products, 32 MiB */
  BASE_BLOCK = 4096,
  QUERIES = 4096,         /* rows handed to FAISS at once */
  SMALL_BALL = 64,        /* query rows that are not worth a search of their own */
  MOST_BALLS = 64,        /* how often a search is repeated for another ball */
  PART_BYTES = 160 << 20, /* of the rows in FAISS's index at a time */
  MOST_CHECKED = 2048,    /* rows of a block of the last step, and its bytes */
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

/* ---- 1. Candidates ---- */

struct candidates {
  size_t n, per_row;
  float *scores; /* [n, per_row] s, descending */
  idx_t *rows;   /* [n, per_row]; -1 where there are no more */
};

static void free_candidates(struct candidates *c) {
  nk_free(c->scores);
  nk_free(c->rows);
  *c = (struct candidates){0};
}

static int new_candidates(struct candidates *c, size_t n, size_t per_row) {
  size_t size = 0;
  *c = (struct candidates){.n = n, .per_row = per_row};
  if (nk_size_mul(n, per_row, &size)) {
    c->scores = nk_alloc(size, sizeof *c->scores);
    c->rows = nk_alloc(size, sizeof *c->rows);
  }
  return c->scores != NULL && c->rows != NULL ? NK_OK : NK_EMEMORY;
}

/* Row i of the candidates. */
struct list {
  float *scores; /* [per_row] */
  idx_t *rows;
};

static struct list list_of(const struct candidates *c, size_t i) {
  return (struct list){c->scores + i * c->per_row, c->rows + i * c->per_row};
}

/* Merges the sorted candidates b of another part of the base, whose rows are `offset` larger, into
 * a; room is for as many. */
static void merge(size_t per_row, struct list a, struct list b, idx_t offset, struct list room) {
  size_t i_a = 0, i_b = 0;
  for (size_t i = 0; i < per_row; i++) {
    bool from_a = a.rows[i_a] >= 0 && (b.rows[i_b] < 0 || a.scores[i_a] >= b.scores[i_b]);
    room.scores[i] = from_a ? a.scores[i_a] : b.scores[i_b];
    room.rows[i] = from_a ? a.rows[i_a] : b.rows[i_b] < 0 ? -1 : b.rows[i_b] + offset;
    if (from_a)
      i_a++;
    else
      i_b++;
  }
  memcpy(a.scores, room.scores, per_row * sizeof *room.scores);
  memcpy(a.rows, room.rows, per_row * sizeof *room.rows);
}

/* FAISS's block sizes belong to the process: they are made larger than its defaults once, for fewer
 * and longer sgemm calls, and never again, so that they stay as a program sets them. */
static void set_block_sizes(void) {
  faiss_set_distance_compute_blas_query_bs(QUERY_BLOCK);
  faiss_set_distance_compute_blas_database_bs(BASE_BLOCK);
}

static pthread_once_t block_sizes = PTHREAD_ONCE_INIT;

/* One part of the base against all queries of list. */
struct part {
  const struct nki_search *s;
  const struct nki_frame *frame;
  const size_t *list; /* [c->n] rows of the query, or NULL for all */
  FaissIndex *index;
  bool is_kept; /* the index is the base's own, with its rows */
  float *block; /* [queries, dim + 1] */
  size_t queries;
  struct candidates found; /* [queries + 1] of this part, and room to merge in */
  size_t first, n, n_parts, number;
};

static int search_part(struct part *part, struct candidates *c) {
  for (size_t first = 0; first < c->n; first += part->queries) {
    size_t n = c->n - first < part->queries ? c->n - first : part->queries;
    struct list to = part->number == 0 ? list_of(c, first) : list_of(&part->found, 0);
    nki_prepare(part->frame, &part->s->query, part->list, first, n, NKI_QUERY, part->block);
    int code = nki_faiss(faiss_Index_search(part->index, (idx_t)n, part->block, (idx_t)c->per_row,
                                            to.scores, to.rows),
                         "search");
    for (size_t i = 0; i < n && code == NK_OK && part->number > 0; i++)
      merge(c->per_row, list_of(c, first + i), list_of(&part->found, i), (idx_t)part->first,
            list_of(&part->found, part->queries));
    if (code == NK_OK && part->list == NULL)
      code = nk_progress("nearest neighbours", part->number * c->n + first + n,
                         part->n_parts * c->n + 1);
    if (code != NK_OK) return code;
  }
  return NK_OK;
}

/* The rows of a part into the index. */
static int fill_part(struct part *part) {
  size_t stride = part->s->base.dim + 1;
  int code = nki_faiss(faiss_Index_reset(part->index), "reset");
  float *rows = code == NK_OK ? nk_alloc(part->n, stride * sizeof *rows) : NULL;
  if (rows == NULL) return nk_error_code();
  nki_prepare(part->frame, &part->s->base, NULL, part->first, part->n, NKI_BASE, rows);
  code = nki_faiss(faiss_Index_add(part->index, (idx_t)part->n, rows), "adding rows");
  nk_free(rows);
  return code;
}

static int new_index(size_t dim, FaissIndex **index) {
  pthread_once(&block_sizes, set_block_sizes);
  return nki_faiss(faiss_index_factory(index, (int)dim + 1, "Flat", METRIC_INNER_PRODUCT), "index");
}

/* Rows of a part, at most. */
static size_t most_of_part(size_t dim) {
  size_t most = PART_BYTES / ((dim + 1) * sizeof(float));
  return most > 1024 ? most : 1024;
}

/* Candidates for the query rows of list (NULL: all), in the frame. */
static int propose(const struct nki_search *s, const struct nki_frame *frame, const size_t *list,
                   struct candidates *c) {
  size_t row_bytes = (s->base.dim + 1) * sizeof(float), per_part = most_of_part(s->base.dim);
  struct part part = {.s = s, .list = list, .frame = frame};
  part.is_kept = s->kept != NULL && s->kept->index != NULL && frame->centre == s->kept->centre &&
                 frame->scale == s->kept->frame.scale;
  part.n_parts = (s->base.n - 1) / per_part + 1;
  per_part = (s->base.n + part.n_parts - 1) / part.n_parts;
  part.queries = ((size_t)48 << 20) / row_bytes;
  if (part.queries > QUERIES) part.queries = QUERIES;
  if (part.queries < 256) part.queries = 256;
  if (part.queries > c->n) part.queries = c->n;

  part.block = nk_alloc(part.queries, row_bytes);
  int code =
      part.block != NULL ? new_candidates(&part.found, part.queries + 1, c->per_row) : NK_EMEMORY;
  if (part.is_kept) part.index = s->kept->index;
  if (code == NK_OK && !part.is_kept) code = new_index(s->base.dim, &part.index);
  for (; part.number < part.n_parts && code == NK_OK; part.number++) {
    part.first = part.number * per_part;
    part.n = s->base.n - part.first < per_part ? s->base.n - part.first : per_part;
    if (!part.is_kept) code = fill_part(&part);
    if (code == NK_OK) code = search_part(&part, c);
  }
  if (!part.is_kept) faiss_Index_free(part.index);
  nk_free(part.block);
  free_candidates(&part.found);
  return code;
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

/* Row q of the result from candidates i. Returns whether it is exact. */
static bool refine(const struct nki_search *s, const struct nki_frame *frame,
                   const struct candidates *c, size_t i, size_t q, struct nki_neighbour *found) {
  const struct list list = list_of(c, i);
  size_t count = 0, given = 0;
  for (; given < c->per_row && list.rows[given] >= 0; given++) {
    size_t row = (size_t)list.rows[given];
    if (s->self && row == q) continue;
    found[count++] =
        (struct nki_neighbour){nki_distance(&s->query, q, &s->base, row), (int64_t)row};
  }
  nki_keep(found, count, s->out, q);
  if (given == s->base.n) return true;
  if (count < s->k) return false;
  return (double)list.scores[given - 1] < least_score(s, frame, q);
}

/* Query rows: those of list [n], all n when list is NULL. */
struct rows {
  size_t *list;
  size_t n;
};

/* Searches rows in the frame; unsure->list [rows.n] gets those whose result may not be exact. It
 * may be the same list. */
static int search_in(const struct nki_search *s, const struct nki_frame *frame, struct rows rows,
                     size_t spare, struct rows *unsure) {
  struct candidates c = {0};
  size_t n = rows.n, per_row = s->k + spare < s->base.n ? s->k + spare : s->base.n;
  struct nki_neighbour *found = nk_alloc(nk_threads(), per_row * sizeof *found);
  unsigned char *exact = nk_alloc(n, 1);
  int code = found != NULL && exact != NULL ? new_candidates(&c, n, per_row) : NK_EMEMORY;
  if (code == NK_OK) code = propose(s, frame, rows.list, &c);
  if (code != NK_OK) goto done;
#pragma omp parallel for schedule(dynamic, 16)
  for (size_t i = 0; i < n; i++)
    exact[i] = refine(s, frame, &c, i, rows.list != NULL ? rows.list[i] : i,
                      found + (size_t)omp_get_thread_num() * per_row);
  unsure->n = 0;
  for (size_t i = 0; i < n; i++)
    if (!exact[i]) unsure->list[unsure->n++] = rows.list != NULL ? rows.list[i] : i;

done:
  free_candidates(&c);
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
      code = search_in(s, &frame, ball, SPARE_AGAIN, &unsure);
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
  size_t base_rows;            /* in a block */
  float *queries, *base;       /* [n, dim + 1] and [base_rows, dim + 1] */
  float *scores;               /* [n, base_rows] */
  double *least;               /* [n] scores below it are excluded */
  struct nki_neighbour *found; /* [n, k] in order */
  size_t *n_found;             /* [n] */
};

/* Compares the i-th query row with n rows of the base from `first` on. */
static void check_row(struct check *check, size_t i, size_t first, size_t n) {
  const struct nki_search *s = check->s;
  const float *scores = check->scores + i * n;
  struct nki_neighbour *found = check->found + i * s->k;
  size_t count = check->n_found[i], q = check->list[i];
  for (size_t j = 0; j < n; j++) {
    size_t row = first + j;
    if ((double)scores[j] < check->least[i] || (s->self && row == q)) continue;
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
  int stride = (int)s->base.dim + 1;
  nki_prepare(check->frame, &s->query, check->list, 0, check->n, NKI_QUERY, check->queries);
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < check->n; i++) {
    check->least[i] = least_score(s, check->frame, check->list[i]);
    check->n_found[i] = 0;
  }
  for (size_t first = 0; first < s->base.n; first += check->base_rows) {
    size_t n = s->base.n - first < check->base_rows ? s->base.n - first : check->base_rows;
    nki_prepare(check->frame, &s->base, NULL, first, n, NKI_BASE, check->base);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)check->n, (int)n, stride, 1,
                check->queries, stride, check->base, stride, 0, check->scores, (int)n);
#pragma omp parallel for schedule(dynamic)
    for (size_t i = 0; i < check->n; i++) check_row(check, i, first, n);
  }
  for (size_t i = 0; i < check->n; i++)
    nki_keep(check->found + i * s->k, check->n_found[i], s->out, check->list[i]);
}

static int check_rows(const struct nki_search *s, const struct nki_frame *frame, struct rows rows) {
  size_t stride = s->base.dim + 1, most = CHECKED_BYTES / (stride * sizeof(float)) + 1;
  if (most > MOST_CHECKED) most = MOST_CHECKED;
  struct check check = {.s = s, .frame = frame, .base_rows = most < s->base.n ? most : s->base.n};
  if (most > rows.n) most = rows.n;
  check.queries = nk_alloc(most, stride * sizeof *check.queries);
  check.base = nk_alloc(check.base_rows, stride * sizeof *check.base);
  check.scores = nk_alloc(most, check.base_rows * sizeof *check.scores);
  check.least = nk_alloc(most, sizeof *check.least);
  check.found = nk_alloc(most, s->k * sizeof *check.found);
  check.n_found = nk_alloc(most, sizeof *check.n_found);
  int code = check.queries != NULL && check.base != NULL && check.scores != NULL &&
                     check.least != NULL && check.found != NULL && check.n_found != NULL
                 ? NK_OK
                 : NK_EMEMORY;
  for (size_t first = 0; first < rows.n && code == NK_OK; first += most) {
    check.list = rows.list + first;
    check.n = rows.n - first < most ? rows.n - first : most;
    check_block(&check);
    code = nk_progress("neighbours in double", first + check.n, rows.n);
  }
  nk_free(check.queries);
  nk_free(check.base);
  nk_free(check.scores);
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

int nki_search_exact(const struct nki_search *s) {
  const struct nki_base *kept = s->kept;
  double *own = kept == NULL ? nk_alloc(s->base.dim, sizeof *own) : NULL, longest = 0;
  const double *centre = kept != NULL ? kept->centre : own;
  struct rows unsure = {nk_alloc(s->query.n, sizeof *unsure.list), 0};
  int code = centre != NULL && unsure.list != NULL ? NK_OK : NK_EMEMORY;
  if (code == NK_OK && kept == NULL) code = nki_centroid(&s->base, own);
  if (code != NK_OK) goto done;
  longest = kept != NULL ? kept->longest : longest_of(&s->base, centre);
  if (!s->self) {
    double query = longest_of(&s->query, centre);
    if (kept == NULL || query > FURTHER * longest) longest = fmax(longest, query);
  }
  struct nki_frame frame = nki_frame_about(centre, s->base.dim, longest);
  code = search_in(s, &frame, (struct rows){NULL, s->query.n}, SPARE + (s->self ? 1 : 0), &unsure);
  if (code == NK_OK) code = search_balls(s, &unsure);
  if (code == NK_OK) code = check_rows(s, &frame, unsure);
  if (code == NK_OK) code = nk_progress("nearest neighbours", 1, 1);

done:
  nk_free(own);
  nk_free(unsure.list);
  return code;
}

/* ---- Rows that are searched in many times ---- */

void nki_base_free(struct nki_base *base) {
  if (base == NULL) return;
  faiss_Index_free(base->index);
  nk_free(base->rows.scale);
  nk_free(base->centre);
  nk_free(base);
}

struct nki_base *nki_base_new(const float *x, size_t n, size_t dim, enum nk_metric metric) {
  struct nki_base *base = nk_calloc(1, sizeof *base);
  if (base == NULL) return NULL;
  base->metric = metric;
  base->centre = nk_alloc(dim, sizeof *base->centre);
  int code = base->centre != NULL ? nki_rows_open(&base->rows, x, n, dim, metric) : NK_EMEMORY;
  if (code == NK_OK) code = nki_centroid(&base->rows, base->centre);
  if (code == NK_OK) {
    base->longest = longest_of(&base->rows, base->centre);
    base->frame = nki_frame_about(base->centre, dim, base->longest);
  }
  if (code == NK_OK && n <= most_of_part(dim)) {
    const struct nki_search s = {.base = base->rows};
    struct part part = {.s = &s, .frame = &base->frame, .n = n};
    code = new_index(dim, &base->index);
    part.index = base->index;
    if (code == NK_OK) code = fill_part(&part);
  }
  if (code == NK_OK) return base;
  nki_base_free(base);
  return NULL;
}
