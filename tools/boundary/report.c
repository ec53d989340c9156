/* Tables of boundaries, and sets of nokens at them. */
#include "boundary/report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/sets.h"

/* ---- Rows ---- */

enum field { CONTEXT, POSITION, TOKEN, LAYER };

static size_t field_of(const struct boundary_report *report, const struct nk_place *place,
                       enum field field) {
  switch (field) {
    case CONTEXT:
      return place->context;
    case POSITION:
      return place->position;
    case TOKEN:
      return (size_t)report->contexts->item[place->context].ids[place->position];
    default:
      return place->layer;
  }
}

static int set_field(const struct boundary_report *report, const size_t *row, enum field field,
                     const char *name, struct nk_vectors *out) {
  int64_t *values = nk_alloc(out->n, sizeof *values);
  if (values == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < out->n; i++)
    values[i] = (int64_t)field_of(report, &report->places[row[i]], field);
  int code = nk_vectors_set_integers(out, name, values);
  nk_free(values);
  return code;
}

/* noken.space: the layer that the rows go to, where it is one. */
static int set_space(const struct boundary_report *report, const size_t *row,
                     struct nk_vectors *out) {
  const char *space = nk_vectors_metadata(out, "noken.space");
  char name[48];
  if (out->n == 0 || space == NULL) return NK_OK;
  size_t layer = report->places[row[0]].layer;
  for (size_t i = 1; i < out->n; i++)
    if (report->places[row[i]].layer != layer) return NK_OK;
  if (layer == 0 && strncmp(space, "residual", 8) != 0) return NK_OK; /* the input matrix */
  snprintf(name, sizeof name, "residual:%zu", layer);
  return nk_vectors_set_metadata(out, "noken.space", name);
}

/* A set of these rows [n], with the columns of their rays and places. */
static struct nk_vectors *make_set(const struct boundary_report *report, const size_t *row,
                                   size_t n, bool with_values) {
  struct nk_vectors *out = NULL;
  size_t *ray = nk_alloc(n, sizeof *ray);
  int code = ray == NULL ? NK_EMEMORY : NK_OK;
  for (size_t i = 0; i < n && code == NK_OK; i++) ray[i] = row[i] % report->rays->n;
  if (code == NK_OK && (out = boundary_rays_set(report->rays, ray, n, with_values)) == NULL)
    code = nk_error_code();
  if (code == NK_OK && report->prompts == NULL)
    code = set_field(report, row, CONTEXT, "context", out);
  if (code == NK_OK) code = set_field(report, row, POSITION, "position", out);
  if (code == NK_OK && report->prompts == NULL &&
      nk_vectors_column(report->rays->set, "token") != NULL)
    code = set_field(report, row, TOKEN, "token", out);
  if (code == NK_OK) code = set_field(report, row, LAYER, "layer", out);
  if (code == NK_OK) code = set_space(report, row, out);
  nk_free(ray);
  if (code == NK_OK) return out;
  nk_vectors_free(out);
  return NULL;
}

struct nk_vectors *boundary_rows(const struct boundary_report *report) {
  size_t *row = nk_alloc(report->n, sizeof *row);
  for (size_t i = 0; i < report->n && row != NULL; i++) row[i] = i;
  struct nk_vectors *out = row == NULL ? NULL : make_set(report, row, report->n, false);
  nk_free(row);
  return out;
}

int boundary_write_rows(const struct boundary_report *report, struct cli_table *table) {
  static const char *const columns[] = {"onset", "reached", "slope_max", "slope_at",
                                        "width", "far",     "fisher"};
  int code = cli_set_head(report->rows, table);
  if (code == NK_OK && report->prompts != NULL) code = cli_table_column(table, "prompt");
  for (size_t c = 0; c < sizeof columns / sizeof *columns && code == NK_OK; c++)
    code = cli_table_column(table, columns[c]);
  if (code == NK_OK) code = cli_set_head_tail(report->rows, table);
  for (size_t i = report->range[0]; i < report->range[1] && code == NK_OK; i++) {
    const struct boundary_onset *onset = &report->onsets[i];
    cli_set_row(report->rows, i, table);
    if (report->prompts != NULL)
      cli_table_string(table, report->prompts->item[report->places[i].context].name);
    cli_table_number(table, onset->onset);
    cli_table_integer(table, isnan(onset->onset) ? 0 : 1);
    cli_table_number(table, onset->slope_max);
    cli_table_number(table, onset->slope_at);
    cli_table_number(table, onset->width);
    cli_table_number(table, onset->far);
    cli_table_number(table, onset->predicted);
    cli_set_row_tail(report->rows, i, table);
    code = cli_table_end_row(table);
  }
  return code;
}

/* ---- Nokens ---- */

/* Rows of the report [2 n], as they come in the set, with their radii and values. */
struct chosen {
  size_t *row;
  double *radius, *achieved;
  size_t n;
};

static void choose(const struct boundary_report *report, bool with_origin, struct chosen *chosen) {
  size_t missing = 0;
  for (size_t i = 0; i < report->n; i++) {
    const struct boundary_onset *onset = &report->onsets[i];
    if (isnan(onset->onset)) {
      missing++;
      continue;
    }
    for (int origin = with_origin ? 1 : 0; origin >= 0; origin--) {
      chosen->row[chosen->n] = i;
      chosen->radius[chosen->n] = origin ? 0 : onset->onset;
      chosen->achieved[chosen->n++] = origin ? 0 : onset->achieved;
    }
  }
  if (missing > 0)
    nk_warn("%zu of %zu rays never reach the level and are left out", missing, report->n);
}

/* Fills in values and ids; each radius becomes that of the stored row. */
static void place_nokens(const struct boundary_rays *rays, const struct chosen *chosen,
                         struct nk_vectors *out) {
  const struct nk_vectors *set = rays->set;
  for (size_t i = 0; i < out->n; i++) {
    size_t ray = chosen->row[i] % rays->n;
    const float *origin = set->values + rays->origin[ray] * set->dim;
    float *row = nk_vectors_writable(out) + i * out->dim;
    double sum = 0;
    boundary_point(rays, ray, chosen->radius[i], row);
    for (size_t k = 0; k < out->dim; k++)
      sum += ((double)row[k] - (double)origin[k]) * ((double)row[k] - (double)origin[k]);
    chosen->radius[i] = sqrt(sum);
    out->ids[i] = (int64_t)i;
  }
}

struct nk_vectors *boundary_doses(const struct boundary_report *report, double level,
                                  bool with_origin) {
  size_t most = 2 * report->n;
  struct chosen chosen = {.row = nk_alloc(most, sizeof *chosen.row),
                          .radius = nk_alloc(most, sizeof *chosen.radius),
                          .achieved = nk_alloc(most, sizeof *chosen.achieved)};
  struct nk_vectors *out = NULL;
  int code = NK_EMEMORY;
  if (chosen.row == NULL || chosen.radius == NULL || chosen.achieved == NULL) goto done;
  choose(report, with_origin, &chosen);
  out = make_set(report, chosen.row, chosen.n, true);
  code = out == NULL ? nk_error_code() : NK_OK;
  if (code != NK_OK) goto done;
  place_nokens(report->rays, &chosen, out);
  code = nk_vectors_set_numbers(out, "radius", chosen.radius);
  if (code == NK_OK) code = nk_vectors_set_numbers(out, "achieved", chosen.achieved);
  for (size_t i = 0; i < chosen.n; i++) chosen.achieved[i] = chosen.radius[i] == 0 ? 0 : level;
  if (code == NK_OK) code = nk_vectors_set_numbers(out, "distance", chosen.achieved);
done:
  nk_free(chosen.row);
  nk_free(chosen.radius);
  nk_free(chosen.achieved);
  if (code == NK_OK) return out;
  nk_vectors_free(out);
  return NULL;
}
