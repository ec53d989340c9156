/* The exact search for neighbours.
 *
 * 1. FAISS proposes. The nearest y of x by L2 has the largest s(x, y) = x . y - |y|^2 / 2, an inner
 *    product of (x, 1) and (y, -|y|^2 / 2): a flat index of inner products therefore finds it with
 *    one pass over what sgemm gives, where FAISS's own L2 takes two. Rows are centred first, as the
 *    error of s grows with their length. FAISS copies what it searches, so it gets the rows a part
 *    at a time; its blocks are made larger than its defaults, for fewer and longer sgemm calls.
 * 2. The distances of the candidates are taken in double, sorted, cut to k.
 * 3. A row that was no candidate has s at most that of the last candidate, up to rounding. Where
 *    |x|^2 - 2 s, less a bound on the rounding, is not beyond the k-th distance, something may have
 *    been missed. Such rows lie close together compared with their distance from the centre, or are
 *    copies; they are searched again, ball by ball, centred at one of them; and what is not sure
 *    even so is compared with every row in double. */
#include <faiss/c_api/Index_c.h>
#include <faiss/c_api/index_factory_c.h>
#include <faiss/c_api/utils/distances_c.h>
#include <math.h>
#include <noken/base.h>
#include <noken/geometry.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "geometry/internal.h"
#include "geometry/neighbours.h"

enum {
  SPARE = 4,          /* candidates beyond k, so that few rows have to be searched again */
  SPARE_AGAIN = 64,   /* the same when a ball is searched again */
  QUERY_BLOCK = 2048, /* FAISS's blocks: 2,048 x 4,096 products, 32 MiB */
  BASE_BLOCK = 4096,
  QUERIES = 4096,        /* rows handed to FAISS at once */
  SMALL_BALL = 16,       /* rows that are sooner compared with every row than searched again */
  MOST_BALLS = 64,       /* how often a search is repeated for another ball */
  PART_BYTES = 160 << 20 /* of the rows in FAISS's index at a time */
};

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

/* Merges the sorted candidates of one row (a) with those of another part of the base (b, whose rows
 * are larger) into a; temporary [per_row] each. */
static void merge(size_t per_row, float *a_scores, idx_t *a_rows, const float *b_scores,
                  const idx_t *b_rows, idx_t offset, float *scores, idx_t *rows) {
  size_t a = 0, b = 0;
  for (size_t i = 0; i < per_row; i++) {
    bool from_a = a_rows[a] >= 0 && (b_rows[b] < 0 || a_scores[a] >= b_scores[b]);
    scores[i] = from_a ? a_scores[a] : b_scores[b];
    rows[i] = from_a ? a_rows[a] : b_rows[b] < 0 ? -1 : b_rows[b] + offset;
    if (from_a)
      a++;
    else
      b++;
  }
  memcpy(a_scores, scores, per_row * sizeof *scores);
  memcpy(a_rows, rows, per_row * sizeof *rows);
}

/* One part of the base against all queries of list. */
struct part {
  const struct nki_search *s;
  const size_t *list; /* [c->n] rows of the query, or NULL for all */
  const double *centre;
  FaissIndex *index;
  float *block; /* [queries, dim + 1] */
  size_t queries;
  struct candidates found; /* [queries] of this part */
  size_t first, n, n_parts, number;
};

static int search_part(struct part *part, struct candidates *c) {
  size_t stride = part->s->base.dim + 1, per_row = c->per_row;
  for (size_t first = 0; first < c->n; first += part->queries) {
    size_t n = c->n - first < part->queries ? c->n - first : part->queries;
    float *scores = part->number == 0 ? c->scores + first * per_row : part->found.scores;
    idx_t *rows = part->number == 0 ? c->rows + first * per_row : part->found.rows;
    nki_prepare(&part->s->query, part->list, first, n, part->centre, stride, 1.0f, part->block);
    int code = nki_faiss(
        faiss_Index_search(part->index, (idx_t)n, part->block, (idx_t)per_row, scores, rows),
        "search");
    for (size_t i = 0; i < n && code == NK_OK && part->number > 0; i++)
      merge(per_row, c->scores + (first + i) * per_row, c->rows + (first + i) * per_row,
            scores + i * per_row, rows + i * per_row, (idx_t)part->first,
            part->found.scores + part->queries * per_row,
            part->found.rows + part->queries * per_row);
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
  nki_prepare(&part->s->base, NULL, part->first, part->n, part->centre, stride, NAN, rows);
  code = nki_faiss(faiss_Index_add(part->index, (idx_t)part->n, rows), "adding rows");
  nk_free(rows);
  return code;
}

/* Candidates for the query rows of list (NULL: all), about centre. */
static int propose(const struct nki_search *s, const size_t *list, const double *centre,
                   struct candidates *c) {
  size_t stride = s->base.dim + 1, row_bytes = stride * sizeof(float);
  size_t per_part = PART_BYTES / row_bytes > 1024 ? PART_BYTES / row_bytes : 1024;
  struct part part = {.s = s, .list = list, .centre = centre};
  part.n_parts = (s->base.n + per_part - 1) / per_part;
  per_part = (s->base.n + part.n_parts - 1) / part.n_parts;
  part.queries = ((size_t)48 << 20) / row_bytes;
  if (part.queries > QUERIES) part.queries = QUERIES;
  if (part.queries < 256) part.queries = 256;
  if (part.queries > c->n) part.queries = c->n;

  int query_block = faiss_get_distance_compute_blas_query_bs();
  int base_block = faiss_get_distance_compute_blas_database_bs();
  faiss_set_distance_compute_blas_query_bs(QUERY_BLOCK);
  faiss_set_distance_compute_blas_database_bs(BASE_BLOCK);
  part.block = nk_alloc(part.queries, row_bytes);
  int code =
      part.block != NULL ? new_candidates(&part.found, part.queries + 1, c->per_row) : NK_EMEMORY;
  if (code == NK_OK)
    code = nki_faiss(faiss_index_factory(&part.index, (int)stride, "Flat", METRIC_INNER_PRODUCT),
                     "index");
  for (; part.number < part.n_parts && code == NK_OK; part.number++) {
    part.first = part.number * per_part;
    part.n = s->base.n - part.first < per_part ? s->base.n - part.first : per_part;
    code = fill_part(&part);
    if (code == NK_OK) code = search_part(&part, c);
  }
  faiss_set_distance_compute_blas_query_bs(query_block);
  faiss_set_distance_compute_blas_database_bs(base_block);
  faiss_Index_free(part.index);
  nk_free(part.block);
  free_candidates(&part.found);
  return code;
}

/* ---- 2. and 3. Distances in double, and whether they are sure ---- */

/* Length of row i as it is compared, from centre. */
static double length_from(const struct nki_rows *rows, size_t i, const double *centre) {
  const float *x = rows->x + i * rows->dim;
  double scale = rows->scale != NULL ? rows->scale[i] : 1, sum = 0;
  for (size_t j = 0; j < rows->dim; j++) {
    double difference = (double)x[j] * scale - centre[j];
    sum += difference * difference;
  }
  return sqrt(sum);
}

/* True when no row outside the candidates can be as near as the k-th of them. `kth` is its L2
 * distance, `last` the smallest s of a candidate. A row as near as that is no longer than
 * |x| + kth, which bounds the rounding of its s: the sums of a blocked product err by a few units
 * in the last place times the root of their number, against |x| |y| + |y|^2 / 2. */
static bool is_sure(double length, double kth, double last, size_t dim) {
  double other = length + kth;
  double rounding = (8 + 0.25 * sqrt((double)dim)) * 0x1p-24 * (length * other + other * other / 2);
  return length * length - 2 * (last + rounding) > kth * kth;
}

/* Row q of the result from candidates i. Returns whether it is sure. */
static bool refine(const struct nki_search *s, const struct candidates *c, size_t i, size_t q,
                   const double *centre, struct nki_neighbour *found) {
  size_t count = 0, given = 0;
  for (; given < c->per_row && c->rows[i * c->per_row + given] >= 0; given++) {
    size_t row = (size_t)c->rows[i * c->per_row + given];
    if (s->self && row == q) continue;
    found[count++] =
        (struct nki_neighbour){nki_distance(&s->query, q, &s->base, row), (int64_t)row};
  }
  nki_keep(found, count, s->out, q);
  if (given == s->base.n) return true;
  if (count < s->k) return false;
  double kth = s->out->distances[q * s->k + s->k - 1];
  if (s->base.scale != NULL) kth = sqrt(2 * kth);
  return is_sure(length_from(&s->query, q, centre), kth,
                 (double)c->scores[i * c->per_row + given - 1], s->base.dim);
}

/* Searches the query rows of list [n] (NULL: all n) about centre; unsure [n] gets those rows whose
 * result is not sure, *n_unsure their number. unsure may be list. */
static int search_about(const struct nki_search *s, const size_t *list, size_t n,
                        const double *centre, size_t spare, size_t *unsure, size_t *n_unsure) {
  struct candidates c = {0};
  size_t per_row = s->k + spare < s->base.n ? s->k + spare : s->base.n;
  struct nki_neighbour *found = nk_alloc(nk_threads(), per_row * sizeof *found);
  unsigned char *sure = nk_alloc(n, 1);
  int code = found != NULL && sure != NULL ? new_candidates(&c, n, per_row) : NK_EMEMORY;
  if (code == NK_OK) code = propose(s, list, centre, &c);
  if (code == NK_OK) {
#pragma omp parallel for schedule(dynamic, 16)
    for (size_t i = 0; i < n; i++)
      sure[i] = refine(s, &c, i, list != NULL ? list[i] : i, centre,
                       found + (size_t)omp_get_thread_num() * per_row);
    *n_unsure = 0;
    for (size_t i = 0; i < n; i++)
      if (!sure[i]) unsure[(*n_unsure)++] = list != NULL ? list[i] : i;
  }
  free_candidates(&c);
  nk_free(found);
  nk_free(sure);
  return code;
}

/* Compares row q with every row. */
static void search_every_row(const struct nki_search *s, size_t q, struct nki_neighbour *found) {
  size_t count = 0;
  for (size_t row = 0; row < s->base.n; row++) {
    if (s->self && row == q) continue;
    double distance = nki_distance(&s->query, q, &s->base, row);
    if (count == s->k && !(distance < found[count - 1].distance)) continue;
    size_t place = count < s->k ? count++ : count - 1;
    for (; place > 0 && found[place - 1].distance > distance; place--)
      found[place] = found[place - 1];
    found[place] = (struct nki_neighbour){distance, (int64_t)row};
  }
  nki_keep(found, count, s->out, q);
}

static int search_every_row_of(const struct nki_search *s, const size_t *list, size_t n) {
  struct nki_neighbour *found = nk_alloc(nk_threads(), s->k * sizeof *found);
  int code = found != NULL ? NK_OK : NK_EMEMORY;
  size_t step = 4 * nk_threads();
  for (size_t first = 0; first < n && code == NK_OK; first += step) {
    size_t last = n - first < step ? n : first + step;
#pragma omp parallel for schedule(dynamic)
    for (size_t i = first; i < last; i++)
      search_every_row(s, list[i], found + (size_t)omp_get_thread_num() * s->k);
    code = nk_progress("rows in tight balls", last, n);
  }
  nk_free(found);
  return code;
}

/* Moves those rows of list [*n] that lie in one ball with the first to its end; returns how many
 * stay in front, centre [dim] at the first row. A ball is as wide as float products about its
 * centre tell its rows apart. */
static size_t split_ball(const struct nki_search *s, size_t *list, size_t n, double *centre) {
  const struct nki_rows *rows = &s->query;
  size_t pivot = list[0], others = 0;
  double scale = rows->scale != NULL ? rows->scale[pivot] : 1;
  for (size_t j = 0; j < rows->dim; j++) centre[j] = (double)rows->x[pivot * rows->dim + j] * scale;
  for (size_t i = 0; i < n; i++) {
    double kth = s->out->distances[list[i] * s->k + s->k - 1];
    if (rows->scale != NULL) kth = sqrt(2 * kth);
    if (length_from(rows, list[i], centre) <= 60 * kth) continue;
    size_t other = list[i];
    list[i] = list[others];
    list[others++] = other;
  }
  return others;
}

/* The rows whose first search was not sure. */
static int search_again(const struct nki_search *s, size_t *list, size_t n) {
  double *centre = nk_alloc(s->base.dim, sizeof *centre);
  size_t *hard = nk_alloc(n, sizeof *hard), n_hard = 0;
  int code = centre != NULL && hard != NULL ? NK_OK : NK_EMEMORY;
  for (size_t balls = 0; n > 0 && code == NK_OK; balls++) {
    size_t others = balls < MOST_BALLS ? split_ball(s, list, n, centre) : 0;
    size_t n_ball = n - others, n_unsure = n_ball;
    if (n_ball == 0) { /* no distance yet: its products were beyond a float */
      hard[n_hard++] = list[--n];
      continue;
    }
    memcpy(hard + n_hard, list + others, n_ball * sizeof *hard);
    if (n_ball > SMALL_BALL && balls < MOST_BALLS)
      code = search_about(s, list + others, n_ball, centre, SPARE_AGAIN, hard + n_hard, &n_unsure);
    n_hard += n_unsure;
    n = others;
  }
  if (code == NK_OK) code = search_every_row_of(s, hard, n_hard);
  nk_free(centre);
  nk_free(hard);
  return code;
}

/* The centroid of the rows as they are compared. */
static int centroid(const struct nki_rows *rows, double *mean) {
  if (rows->scale == NULL) return nk_mean(rows->x, NULL, rows->n, rows->dim, mean);
  memset(mean, 0, rows->dim * sizeof *mean);
  for (size_t i = 0; i < rows->n; i++) {
    double weight = rows->scale[i] / (double)rows->n;
    for (size_t j = 0; j < rows->dim; j++) mean[j] += weight * (double)rows->x[i * rows->dim + j];
  }
  return NK_OK;
}

int nki_search_exact(struct nki_search *s) {
  double *centre = nk_alloc(s->base.dim, sizeof *centre);
  size_t *unsure = nk_alloc(s->query.n, sizeof *unsure), n_unsure = 0;
  int code = centre != NULL && unsure != NULL ? centroid(&s->base, centre) : NK_EMEMORY;
  if (code == NK_OK)
    code = search_about(s, NULL, s->query.n, centre, SPARE + (s->self ? 1 : 0), unsure, &n_unsure);
  if (code == NK_OK && n_unsure > 0) code = search_again(s, unsure, n_unsure);
  if (code == NK_OK) code = nk_progress("nearest neighbours", 1, 1);
  nk_free(centre);
  nk_free(unsure);
  return code;
}
