/* nk-region info: a table of a region's properties. */
#include "region/region.h"

static int property(struct cli_table *table, const char *name, const char *text, double number) {
  cli_table_string(table, name);
  if (text != NULL)
    cli_table_string(table, text);
  else
    cli_table_number(table, number);
  return cli_table_end_row(table);
}

/* The meaning of p-values, by which a calibrating half is one draw of many or the one there is. */
static const char ON_AVERAGE[] =
    "a vector like the calibrating rows has p <= a with probability at most a, averaged over "
    "halves";
static const char GIVEN[] =
    "a vector like the calibrating rows has p <= a with probability at most a, given this half";

/* What --conditional adds: h(p) of each p there is. */
static int conditional(const struct region_options *o, const struct nk_region *region,
                       struct cli_table *table) {
  size_t n = region->calibration->n, n_outside = 0, n_plain = 0;
  double delta = o->guarantees.conditional;
  double *p = nk_alloc(n + 1, sizeof *p), *given = nk_alloc(n + 1, sizeof *given);
  int code = p != NULL && given != NULL ? NK_OK : NK_EMEMORY;
  for (size_t i = 0; i <= n && code == NK_OK; i++) p[i] = (double)(i + 1) / (double)(n + 1);
  if (code == NK_OK)
    code = nk_conformal_guarantee(region->calibration, NK_GUARANTEE_CONDITIONAL, delta, p, n + 1,
                                  given);
  if (code == NK_OK) {
    while (n_outside <= n && given[n_outside] <= o->level) n_outside++;
    while (n_plain <= n && p[n_plain] <= o->level) n_plain++;
    code = property(table, "p_conditional", GIVEN, 0);
  }
  if (code == NK_OK) code = property(table, "probability", NULL, 1 - delta);
  if (code == NK_OK) code = property(table, "p_conditional_min", NULL, given[0]);
  if (code == NK_OK)
    code = property(table, "threshold_conditional", NULL,
                    nk_region_threshold(region, n_outside > 0 ? p[n_outside - 1] : 0));
  if (code == NK_OK)
    code = property(table, "rate_at_threshold", NULL, n_plain > 0 ? given[n_plain - 1] : 0);
  nk_free(p);
  nk_free(given);
  return code;
}

int region_info(const struct region_options *o, const struct nk_region *region,
                struct cli_table *table) {
  static const char *const KEPT[] = {"", "F32", "F16", "BF16", "none"};
  const char *model = nk_vectors_metadata(region->tokens, "noken.model");
  const char *space = nk_vectors_metadata(region->tokens, "noken.space");
  const struct nk_conformal *calibration = region->calibration;
  const double half = 0.5;
  double median;
  nk_quantiles(calibration->scores, calibration->n, &half, 1, &median); /* sorted already */
  bool knn = region->kind == NK_REGION_KNN || region->kind == NK_REGION_COMBINED;
  bool subspace = region->kind == NK_REGION_SUBSPACE || region->kind == NK_REGION_COMBINED;
  int code = cli_table_column(table, "property");
  if (code == NK_OK) code = cli_table_column(table, "value");
  const struct {
    const char *name, *text;
    double number;
    bool shown;
  } properties[] = {
      {"kind", nk_region_kind_names[region->kind], 0, true},
      {"model", model, 0, model != NULL},
      {"space", space, 0, space != NULL},
      {"dims", NULL, (double)region->dim, true},
      {"rows", NULL, (double)region->tokens->n, true},
      {"fitted", NULL, (double)region->n_fit, true},
      {"ranked", NULL, (double)region->n_ranks, region->n_ranks > 0},
      {"calibrated", NULL, (double)region->n_calibration, true},
      {"seed", NULL, (double)region->seed, true},
      {"k", NULL, (double)region->k, knn},
      {"metric", nk_metric_names[region->metric], 0, knn},
      {"components", NULL, (double)region->n_components, subspace},
      {"tokens", KEPT[region->keep], 0, true},
      {"p_value", ON_AVERAGE, 0, true},
      {"p_min", NULL, calibration->p_min, true},
      {"median_score", NULL, median, true},
      {"largest_score", NULL, calibration->scores[calibration->n - 1], true},
      {"level", NULL, o->level, true},
      {"threshold", NULL, nk_region_threshold(region, o->level), true},
  };
  for (size_t i = 0; i < sizeof properties / sizeof properties[0] && code == NK_OK; i++)
    if (properties[i].shown)
      code = property(table, properties[i].name, properties[i].text, properties[i].number);
  if (code == NK_OK && o->guarantees.conditional > 0) code = conditional(o, region, table);
  return code;
}
