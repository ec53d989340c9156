/* Paths between two vectors of a set: straight, or at a constant angular speed about 0. */
#include <math.h>
#include <noken/base.h>
#include <string.h>

#include <noken/sample.h>
#include <noken/vectors.h>
#include "geometry/internal.h"
#include "sample/internal.h"

enum { USUAL_STEPS = 10 };

/* Below this length the sum of two unit vectors is rounding: the vectors are opposite. */
static const double OPPOSITE = 1e-6;

/* One path from a to b, [dim] each. */
struct path {
  const float *a, *b;
  size_t dim;
  double length_a, length_b;
  double angle; /* slerp: between a and b, in radians */
};

/* ---- The rows of a pair ---- */

/* The only row of an id: two rows with one id can be different vectors. */
static int find_row(const struct nk_vectors *set, int64_t id, size_t *row) {
  size_t found = 0;
  for (size_t i = 0; i < set->n; i++) {
    if (set->ids[i] != id) continue;
    *row = i;
    found++;
  }
  if (found == 1) return NK_OK;
  if (found == 0) return nk_fail(NK_ENOTFOUND, "the set has no row of id %lld", (long long)id);
  return nk_fail(NK_EDATA, "id %lld: %zu rows of the set; use row_a and row_b", (long long)id,
                 found);
}

/* Whether every row's id is its number, as in most sets. */
static bool ids_are_rows(const struct nk_vectors *set) {
  for (size_t i = 0; i < set->n; i++)
    if (set->ids[i] != (int64_t)i) return false;
  return true;
}

/* rows [2 n_pairs] of the set. */
static int find_rows(const struct nk_sample_options *o, size_t *rows) {
  int code = NK_OK;
  if (o->n_pairs == 0) return NK_OK;
  if (o->pairs == NULL) return nk_fail(NK_EUSAGE, "paths between rows: no pairs are given");
  bool in_place = o->pairs_are_rows || ids_are_rows(o->set);
  for (size_t i = 0; i < 2 * o->n_pairs && code == NK_OK; i++) {
    rows[i] = (size_t)o->pairs[i];
    if (in_place && o->pairs[i] >= 0 && rows[i] < o->set->n) continue;
    if (!o->pairs_are_rows)
      code = find_row(o->set, o->pairs[i], &rows[i]);
    else
      code = nk_fail(NK_ENOTFOUND, "row %lld: the set has %zu rows, from 0", (long long)o->pairs[i],
                     o->set->n);
    if (code != NK_OK) nk_fail_in(code, "pair %zu", i / 2);
  }
  if (code == NK_OK) code = nki_check_rows(o->set->values, rows, 0, 2 * o->n_pairs, o->set->dim);
  return nki_fail_in_set(code, o->set);
}

/* ---- One path ---- */

/* NK_EDATA where there is no path by slerp from row `from` of the set to row `to`. */
static int open_path(const struct nk_vectors *set, size_t from, size_t to, bool slerp,
                     struct path *path) {
  size_t dim = set->dim;
  *path = (struct path){set->values + from * dim, set->values + to * dim, dim, 0, 0, 0};
  if (!slerp) return NK_OK;
  path->length_a = sqrt(nki_sum_squares(path->a, dim));
  path->length_b = sqrt(nki_sum_squares(path->b, dim));
  size_t zero = path->length_a > 0 ? to : from;
  if (!(path->length_a > 0 && path->length_b > 0))
    return nk_fail(NK_EDATA, "row %zu, id %lld, is 0: slerp needs its direction", zero,
                   (long long)set->ids[zero]);
  path->angle = nki_angle(path->a, path->b, NULL, dim);
  if (2 * cos(path->angle / 2) < OPPOSITE)
    return nk_fail(
        NK_EDATA,
        "row %zu, id %lld, and row %zu, id %lld, are opposite: no plane for slerp between "
        "them",
        from, (long long)set->ids[from], to, (long long)set->ids[to]);
  return NK_OK;
}

/* x [dim] = the path at t in (0, 1). */
static void follow(const struct path *path, bool slerp, double t, float *x) {
  double of_a = 1 - t, of_b = t;
  if (slerp) {
    double length = of_a * path->length_a + of_b * path->length_b, sine = sin(path->angle);
    if (sine > 0) { /* else both are in one direction */
      of_a = sin(of_a * path->angle) / sine;
      of_b = sin(of_b * path->angle) / sine;
    }
    of_a *= length / path->length_a;
    of_b *= length / path->length_b;
  }
  for (size_t j = 0; j < path->dim; j++)
    x[j] = (float)(of_a * (double)path->a[j] + of_b * (double)path->b[j]);
}

/* ---- All of them ---- */

/* Fills made with the paths between rows [2 n_pairs]. */
static int follow_all(const struct nk_sample_options *o, const size_t *rows, size_t steps,
                      struct nk_vectors *made) {
  bool slerp = o->kind == NK_SAMPLE_SLERP;
  size_t dim = o->set->dim;
  float *x = nk_vectors_writable(made);
  for (size_t p = 0; p < o->n_pairs; p++) {
    struct path path;
    int code = open_path(o->set, rows[2 * p], rows[2 * p + 1], slerp, &path);
    if (code != NK_OK) return nki_fail_in_set(code, o->set);
    memcpy(x, path.a, dim * sizeof *x);
    for (size_t k = 1; k < steps; k++) follow(&path, slerp, (double)k / (double)steps, x + k * dim);
    memcpy(x + steps * dim, path.b, dim * sizeof *x);
    x += (steps + 1) * dim;
  }
  return NK_OK;
}

/* pair, t, a, b */
static int add_columns(const struct nk_sample_options *o, const size_t *rows, size_t steps,
                       struct nk_vectors *made) {
  int64_t *whole = nk_alloc(made->n, sizeof *whole);
  double *t = nk_alloc(made->n, sizeof *t);
  int code = whole != NULL && t != NULL ? NK_OK : NK_EMEMORY;
  if (code != NK_OK) goto done;
  for (size_t i = 0; i < made->n; i++) {
    whole[i] = (int64_t)(i / (steps + 1));
    t[i] = (double)(i % (steps + 1)) / (double)steps;
  }
  code = nk_vectors_set_integers(made, "pair", whole);
  if (code == NK_OK) code = nk_vectors_set_numbers(made, "t", t);
  for (size_t end = 0; end < 2 && code == NK_OK; end++) {
    for (size_t i = 0; i < made->n; i++) whole[i] = o->set->ids[rows[2 * (i / (steps + 1)) + end]];
    code = nk_vectors_set_integers(made, end == 0 ? "a" : "b", whole);
  }
done:
  nk_free(whole);
  nk_free(t);
  return code;
}

struct nk_vectors *nki_sample_paths(struct nk_region *region,
                                    const struct nk_sample_options *options) {
  struct nki_space space;
  struct nk_vectors *made = NULL;
  size_t *rows = NULL, steps = options->steps > 0 ? options->steps : USUAL_STEPS, n_rows, n_ends;
  int code = region != NULL ? nki_open_space(region, &space) : NK_OK;
  if (code == NK_OK)
    code = nki_need_set(options->set, region != NULL ? &space : NULL, "paths between rows");
  if (code != NK_OK) return NULL;
  if (steps == SIZE_MAX || !nk_size_mul(options->n_pairs, steps + 1, &n_rows) ||
      !nk_size_mul(options->n_pairs, 2, &n_ends)) {
    nk_fail(NK_EMEMORY, "out of memory for %zu paths", options->n_pairs);
    return NULL;
  }
  rows = nk_alloc(n_ends, sizeof *rows);
  made = nk_vectors_new(n_rows, options->set->dim, NULL, false);
  code = rows != NULL && made != NULL ? find_rows(options, rows) : NK_EMEMORY;
  if (code == NK_OK) code = follow_all(options, rows, steps, made);
  if (code == NK_OK && region != NULL) code = nki_describe(region, &space, made);
  if (code == NK_OK) code = add_columns(options, rows, steps, made);
  if (code == NK_OK) code = nki_carry_metadata(options->set, made);
  nk_free(rows);
  if (code == NK_OK) return made;
  nk_vectors_free(made);
  return NULL;
}
