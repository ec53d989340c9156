/* Candidates by float products.
 *
 * The nearest y of x by L2 has the largest score s(x, y) = x . y - |y|^2 / 2. Rows are centred
 * first, as the error of s grows with their length. sgemm multiplies a block of query rows by a
 * tile of the base, and each product is compared with the lowest score in its list: by vectors, as
 * few products enter a list.
 *
 * Where the query rows are the base, x . y serves both rows: s(y, x) differs from s(x, y) in the
 * squared length alone. Only tiles on and below the diagonal are multiplied. Their products are
 * compared along rows for the lists of the block, then along columns for those of the tile; in
 * either pass a list belongs to one thread.
 *
 *                  base, in parts that fit in memory, in tiles
 *             +-------+
 *             |\      |             a pair is where the number in the order
 *     query,  |--\----+-------+     of the base is less than that of the query
 *     in      |       |\      |
 *     blocks  |-------+--\----|
 *
 * The base is taken in a random order: in sorted rows, each one could be nearer than all before it
 * and enter the list. In a random order about per_row ln(n / per_row) of n rows do. */
#include "geometry/knn_candidates.h"

#include <cblas.h>
#include <math.h>
#include <noken/base.h>

#include "geometry/internal.h"

enum {
  PART_BYTES = 160 << 20, /* rows of the base as floats, at a time */
  QUERY_BYTES = 48 << 20, /* query rows */
  MOST_QUERIES = 4096,    /* query rows and columns of a tile: 16 MiB of products */
  LEAST_QUERIES = 256,    /* so that sgemm is as fast as it can be */
  COLUMNS = 1024,         /* few, as half of the tiles on the diagonal is not wanted */
  FEW = 4,                /* query rows for which sgemm, which copies the base, takes longer */
  CHUNK = 64              /* products compared at once */
};

/* ---- Lists ---- */

void nki_candidates_free(struct nki_candidates *c) {
  nk_free(c->scores);
  nk_free(c->rows);
  nk_free(c->least);
  *c = (struct nki_candidates){0};
}

int nki_candidates_new(struct nki_candidates *c, size_t n, size_t per_row) {
  size_t size = 0;
  *c = (struct nki_candidates){.n = n, .per_row = per_row};
  if (nk_size_mul(n, per_row, &size)) {
    c->scores = nk_alloc(size, sizeof *c->scores);
    c->rows = nk_alloc(size, sizeof *c->rows);
    c->least = nk_alloc(n, sizeof *c->least);
  }
  if (c->scores == NULL || c->rows == NULL || c->least == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < size; i++) c->scores[i] = -INFINITY;
  for (size_t i = 0; i < size; i++) c->rows[i] = NKI_NO_ROW;
  for (size_t i = 0; i < n; i++) c->least[i] = -INFINITY;
  return NK_OK;
}

/* Replaces the lowest of list i. */
static void insert(struct nki_candidates *c, size_t i, float score, size_t row) {
  float *scores = c->scores + i * c->per_row;
  size_t *rows = c->rows + i * c->per_row, at = 0;
  for (size_t child = 1; child < c->per_row; child = 2 * at + 1) {
    if (child + 1 < c->per_row && scores[child + 1] < scores[child]) child++;
    if (scores[child] >= score) break;
    scores[at] = scores[child];
    rows[at] = rows[child];
    at = child;
  }
  scores[at] = score;
  rows[at] = row;
  c->least[i] = scores[0];
}

/* ---- Products ---- */

void nki_floats_free(struct nki_floats *floats) {
  nk_free(floats->rows);
  nk_free(floats->half);
  *floats = (struct nki_floats){0};
}

int nki_floats_new(struct nki_floats *floats, size_t n, size_t dim) {
  floats->rows = nk_alloc(n, dim * sizeof *floats->rows);
  floats->half = nk_alloc(n, sizeof *floats->half);
  return floats->rows != NULL && floats->half != NULL ? NK_OK : NK_EMEMORY;
}

struct work {
  const struct nki_search *s;
  const struct nki_frame *frame;
  const size_t *list; /* [c->n] query rows, or NULL for all */
  struct nki_candidates *c;
  bool paired;                   /* every pair of rows once */
  struct nki_floats base, query; /* [part, dim], [queries, dim] */
  size_t part, queries;
  float *products; /* [queries, COLUMNS] */
};

/* Rows of the query by rows of the base, both as numbers in the order. */
struct tile {
  size_t row, n_rows, column, n_columns;
  struct nki_floats rows, columns;
};

/* The first j from `from` on with products[j] + half[j] > least; n where there is none. */
NKI_CLONES static size_t next_of_row(const float *restrict products, const float *restrict half,
                                     float least, size_t from, size_t n) {
  size_t j = from;
  for (; j + CHUNK <= n; j += CHUNK) {
    unsigned above = 0;
    for (size_t l = 0; l < CHUNK; l++) above |= products[j + l] + half[j + l] > least;
    if (above != 0) break;
  }
  while (j < n && !(products[j] + half[j] > least)) j++;
  return j;
}

/* The first j from `from` on with products[j] + half > least[j]; n where there is none. */
NKI_CLONES static size_t next_of_columns(const float *restrict products, float half,
                                         const float *restrict least, size_t from, size_t n) {
  size_t j = from;
  for (; j + CHUNK <= n; j += CHUNK) {
    unsigned above = 0;
    for (size_t l = 0; l < CHUNK; l++) above |= products[j + l] + half > least[j + l];
    if (above != 0) break;
  }
  while (j < n && !(products[j] + half > least[j])) j++;
  return j;
}

/* With how many columns of the tile its row i makes pairs. */
static size_t n_pairs(const struct work *w, const struct tile *t, size_t i) {
  size_t row = t->row + i, before = row > t->column ? row - t->column : 0;
  return w->paired && before < t->n_columns ? before : t->n_columns;
}

/* The list of row i. */
static void scan_row(const struct work *w, const struct tile *t, size_t i) {
  const float *products = w->products + i * t->n_columns;
  size_t n = n_pairs(w, t, i), list = t->row + i;
  for (size_t j = 0;; j++) {
    j = next_of_row(products, t->columns.half, w->c->least[list], j, n);
    if (j >= n) break;
    insert(w->c, list, products[j] + t->columns.half[j], w->s->order[t->column + j]);
  }
}

/* The lists of the columns from `first` to `end`. */
static void scan_columns(const struct work *w, const struct tile *t, size_t first, size_t end) {
  const float *least = w->c->least + t->column;
  for (size_t i = 0; i < t->n_rows; i++) {
    const float *products = w->products + i * t->n_columns;
    size_t n = n_pairs(w, t, i) < end ? n_pairs(w, t, i) : end;
    for (size_t j = first;; j++) {
      j = next_of_columns(products, t->rows.half[i], least, j, n);
      if (j >= n) break;
      insert(w->c, t->column + j, products[j] + t->rows.half[i], w->s->order[t->row + i]);
    }
  }
}

static void multiply(const struct work *w, const struct tile *t) {
  int dim = (int)w->s->base.dim, n = (int)t->n_columns;
  const float *rows = t->rows.rows, *columns = t->columns.rows;
  if (t->n_rows > FEW)
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)t->n_rows, n, dim, 1, rows, dim,
                columns, dim, 0, w->products, n);
  for (size_t i = 0; i < t->n_rows && t->n_rows <= FEW; i++)
    cblas_sgemv(CblasRowMajor, CblasNoTrans, n, dim, 1, columns, dim, rows + i * (size_t)dim, 1, 0,
                w->products + i * t->n_columns, 1);
}

static void scan(const struct work *w, const struct tile *t) {
  size_t share = (t->n_columns - 1) / nk_threads() / CHUNK * CHUNK + CHUNK;
#pragma omp parallel
  {
#pragma omp for schedule(dynamic, 8)
    for (size_t i = 0; i < t->n_rows; i++) scan_row(w, t, i);
#pragma omp for schedule(dynamic)
    for (size_t j = 0; j < (w->paired ? t->n_columns : 0); j += share)
      scan_columns(w, t, j, j + share < t->n_columns ? j + share : t->n_columns);
  }
}

/* ---- The search ---- */

/* The tile of a block of n query rows from `row` on and of a part of n_base rows from `first` on
 * that begins at the part's row `column`. Rows that make no pair with it are left out: its n_rows
 * may be 0. */
static struct tile tile_of(const struct work *w, size_t row, size_t n, size_t first, size_t n_base,
                           size_t column) {
  size_t dim = w->s->base.dim, at = first + column;
  size_t skipped = w->paired && at > row ? at - row < n ? at - row : n : 0;
  return (struct tile){
      .row = row + skipped,
      .n_rows = n - skipped,
      .column = at,
      .n_columns = n_base - column < COLUMNS ? n_base - column : COLUMNS,
      .rows = {w->query.rows + skipped * dim, w->query.half + skipped},
      .columns = {w->base.rows + column * dim, w->base.half + column},
  };
}

/* The query rows against n_base rows of the base from `first` on. */
static int search_part(const struct work *w, size_t first, size_t n_base) {
  size_t n_lists = w->c->n;
  for (size_t row = w->paired ? first : 0; row < n_lists; row += w->queries) {
    size_t n = n_lists - row < w->queries ? n_lists - row : w->queries;
    nki_prepare(w->frame, &w->s->query, w->list, row, n, w->query.rows, w->query.half);
    for (size_t column = 0; column < n_base; column += COLUMNS) {
      struct tile tile = tile_of(w, row, n, first, n_base, column);
      if (tile.n_rows == 0) break;
      multiply(w, &tile);
      scan(w, &tile);
    }
    if (n_lists < w->s->query.n) continue; /* a few rows again */
    int code = nk_progress("nearest neighbours", first * n_lists + (row + n) * n_base,
                           w->s->base.n * n_lists + 1);
    if (code != NK_OK) return code;
  }
  return NK_OK;
}

size_t nki_part_of(const struct nki_rows *base) {
  size_t most = PART_BYTES / (base->dim * sizeof(float));
  if (most < COLUMNS) most = COLUMNS;
  size_t n_parts = (base->n - 1) / most + 1;
  return (base->n - 1) / n_parts + 1;
}

static size_t queries_of(const struct nki_rows *query, size_t n) {
  size_t most = QUERY_BYTES / (query->dim * sizeof(float));
  if (most > MOST_QUERIES) most = MOST_QUERIES;
  if (most < LEAST_QUERIES) most = LEAST_QUERIES;
  return most < n ? most : n;
}

int nki_propose(const struct nki_search *s, const struct nki_frame *frame, const size_t *list,
                struct nki_candidates *c) {
  struct work w = {.s = s, .frame = frame, .list = list, .c = c};
  bool is_kept = s->kept != NULL && s->kept->floats.rows != NULL &&
                 frame->centre == s->kept->centre && frame->scale == s->kept->frame.scale;
  w.paired = nki_is_paired(s, list);
  w.part = nki_part_of(&s->base);
  w.queries = queries_of(&s->query, c->n);
  w.products = nk_alloc(w.queries, COLUMNS * sizeof *w.products);
  int code = w.products != NULL ? nki_floats_new(&w.query, w.queries, s->base.dim) : NK_EMEMORY;
  if (is_kept)
    w.base = s->kept->floats;
  else if (code == NK_OK)
    code = nki_floats_new(&w.base, w.part, s->base.dim);
  for (size_t first = 0; first < s->base.n && code == NK_OK; first += w.part) {
    size_t n = s->base.n - first < w.part ? s->base.n - first : w.part;
    if (!is_kept) nki_prepare(frame, &s->base, s->order, first, n, w.base.rows, w.base.half);
    code = search_part(&w, first, n);
  }
  if (!is_kept) nki_floats_free(&w.base);
  nki_floats_free(&w.query);
  nk_free(w.products);
  return code;
}
