/* The columns of nokens on rays, and the rows that are omitted. */
#include <math.h>
#include <noken/base.h>

#include <noken/vectors.h>
#include "geometry/internal.h"
#include "io/vectors.h"
#include "sample/sampling.h"

static const double TOLERANCE = 1e-5; /* relative, of the achieved distance */

/* ---- Rows that are omitted ---- */

/* Row i of every column becomes row n. */
static void move_row(struct sampling *s, size_t i, size_t n) {
  s->distance[n] = s->distance[i];
  s->origin[n] = s->origin[i];
  s->toward[n] = s->toward[i];
  s->direction[n] = s->direction[i];
  s->ray[n] = s->ray[i];
  if (s->radius != NULL) s->radius[n] = s->radius[i];
  if (s->angle != NULL) s->angle[n] = s->angle[i];
  if (s->origin_row != NULL) s->origin_row[n] = s->origin_row[i];
}

int nki_omit_unreached(struct sampling *s) {
  size_t *rows = nk_alloc(s->set->n, sizeof *rows), n = 0;
  if (rows == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < s->set->n; i++) {
    if (s->direction[i] < 0) continue;
    move_row(s, i, n);
    rows[n++] = i;
  }
  bool none = n == 0 && s->set->n > 0;
  struct nk_vectors *kept = none ? NULL : nki_vectors_select(s->set, rows, n);
  nk_free(rows);
  if (none) return nk_fail(NK_EDATA, "no ray reaches any of the distances");
  if (kept == NULL) return nk_error_code();
  for (size_t i = 0; i < n; i++) kept->ids[i] = (int64_t)i;
  nk_vectors_free(s->set);
  s->set = kept;
  return NK_OK;
}

/* ---- The columns ---- */

/* The numbers of the column `direction`, named. */
static int name_directions(const struct nk_sample_options *o, struct nk_vectors *set) {
  struct nk_buffer text = {0};
  for (size_t i = 0; i < o->n_directions; i++) {
    if (i > 0) nk_buffer_byte(&text, ' ');
    nki_direction_name(&o->directions[i], &text);
  }
  int code =
      text.failed ? NK_EMEMORY : nk_vectors_set_metadata(set, "noken.codes.direction", text.data);
  nk_buffer_free(&text);
  return code;
}

/* The measure of every row as it is stored. */
static const double *achieved_of(const struct sampling *s) {
  if (s->options.measure == NK_MEASURE_RADIUS) return s->radius;
  if (s->options.measure == NK_MEASURE_ANGLE) return s->angle;
  return nk_vectors_column(s->set, nk_metric_names[s->options.metric])->data.number;
}

/* quantile and times: distances among those of the tokens. */
static int add_place_among_tokens(const struct sampling *s) {
  struct nk_vectors *set = s->set;
  double *quantile = nk_alloc(set->n, sizeof *quantile), *times = nk_alloc(set->n, sizeof *times);
  int code = quantile != NULL && times != NULL ? NK_OK : NK_EMEMORY;
  for (size_t i = 0; i < set->n && code == NK_OK; i++) {
    bool asked = !isnan(s->distance[i]);
    size_t n_below = asked ? nki_count_below(s->held_out, s->n_held_out, s->distance[i]) : 0;
    quantile[i] = asked ? (double)n_below / (double)s->n_held_out : (double)NAN;
    times[i] = s->distance[i] / s->held_out[s->n_held_out - 1];
  }
  if (code == NK_OK) code = nk_vectors_set_numbers(set, "quantile", quantile);
  if (code == NK_OK) code = nk_vectors_set_numbers(set, "times", times);
  nk_free(quantile);
  nk_free(times);
  return code;
}

static int refuse_row(const struct sampling *s, size_t row, double achieved) {
  struct nk_buffer from = {0};
  nki_name_origin(s, s->origin[row], s->origin_row != NULL ? s->origin_row[row] : 0, &from);
  int code = nk_fail(NK_EDATA, "ray %lld from %s: %s %.9g instead of %.9g: floats are too coarse",
                     (long long)s->ray[row], from.failed ? "?" : from.data,
                     nki_measure_name(&s->options), achieved, s->distance[row]);
  nk_buffer_free(&from);
  return code;
}

/* distance and achieved; an achieved distance that is not the asked one is a failure. */
static int add_achieved(const struct sampling *s) {
  const double *achieved = achieved_of(s), *asked = s->distance;
  struct nk_vectors *set = s->set;
  for (size_t i = 0; i < set->n; i++)
    if (!isnan(asked[i]) && !(fabs(achieved[i] - asked[i]) <= TOLERANCE * asked[i]))
      return refuse_row(s, i, achieved[i]);
  int code = nk_vectors_set_numbers(set, "distance", asked);
  if (code == NK_OK) code = nk_vectors_set_numbers(set, "achieved", achieved);
  if (code == NK_OK && s->options.measure == NK_MEASURE_METRIC) code = add_place_among_tokens(s);
  return code;
}

/* origin_row, and what the rows of the set have. */
static int add_origin_rows(const struct sampling *s) {
  int64_t *rows = nk_alloc(s->set->n, sizeof *rows);
  int code = rows != NULL ? NK_OK : NK_EMEMORY;
  for (size_t i = 0; i < s->set->n && code == NK_OK; i++) rows[i] = (int64_t)s->origin_row[i];
  if (code == NK_OK) code = nk_vectors_set_integers(s->set, "origin_row", rows);
  nk_free(rows);
  return code;
}

int nki_add_columns(const struct sampling *s) {
  struct nk_vectors *set = s->set;
  int code = nki_describe(s->region, &s->space, set);
  if (code == NK_OK) code = add_achieved(s);
  if (code == NK_OK) code = nk_vectors_set_integers(set, "origin", s->origin);
  if (code == NK_OK) code = nk_vectors_set_integers(set, "toward", s->toward);
  if (code == NK_OK) code = nk_vectors_set_integers(set, "direction", s->direction);
  if (code == NK_OK) code = nk_vectors_set_integers(set, "ray", s->ray);
  if (code == NK_OK && s->radius != NULL) code = nk_vectors_set_numbers(set, "radius", s->radius);
  if (code == NK_OK) code = name_directions(&s->options, set);
  if (code == NK_OK && s->origin_row != NULL) code = add_origin_rows(s);
  if (code == NK_OK && s->origin_row != NULL)
    code = nki_carry_rows(s->options.set, s->origin_row, set);
  return code;
}
