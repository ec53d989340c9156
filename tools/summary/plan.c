/* The names in a summary's options, resolved in a table. */
#include "summary/plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/names.h"

/* ---- Statistics ---- */

/* A measure of a column or condition, text [length]; name is "median" or "quantile". */
static int add_measure(struct summary_plan *plan, enum summary_statistic statistic,
                       const char *name, const char *text, size_t length, double p) {
  void *grown =
      nk_realloc(plan->measure, plan->n_measures, plan->n_measures + 1, sizeof *plan->measure);
  if (grown == NULL) return NK_EMEMORY;
  plan->measure = grown;
  struct summary_measure *measure = &plan->measure[plan->n_measures++];
  *measure = (struct summary_measure){.statistic = statistic, .p = p};
  struct summary_factors of = {0};
  struct nk_buffer label = {0};
  char *column = nk_strndup(text, length);
  int code = column == NULL ? NK_EMEMORY : NK_OK;
  nk_buffer_text(&label, name);
  if (length > 0) nk_buffer_printf(&label, " %s", column);
  if (strcmp(name, "quantile") == 0) nk_buffer_printf(&label, ":%.9g", p);
  if (code == NK_OK && length > 0) code = summary_factors_add(&of, column, '\n', &plan->table);
  if (of.n > 0) measure->of = of.item[0];
  if (code == NK_OK && statistic != SUMMARY_SHARE && measure->of.condition.column != NULL)
    code = nk_fail(NK_EUSAGE, "'%s': a condition has a share, not a %s", column, name);
  measure->name = label.failed ? NULL : nk_strdup(label.data);
  if (code == NK_OK && measure->name == NULL) code = NK_EMEMORY;
  nk_free(of.item); /* its parts are the measure's */
  nk_buffer_free(&label);
  nk_free(column);
  return code;
}

static int add_measures(struct summary_plan *plan, enum summary_statistic statistic,
                        const char *name, const struct cli_strings *columns) {
  int code = NK_OK;
  for (size_t i = 0; i < columns->n && code == NK_OK; i++)
    code = add_measure(plan, statistic, name, columns->item[i], strlen(columns->item[i]), 0.5);
  return code;
}

/* "COLUMN:0.1,0.9" */
static int add_quantiles(struct summary_plan *plan, const char *text) {
  const char *colon = strrchr(text, ':');
  double *p = NULL;
  size_t n = 0;
  if (colon == NULL || colon == text)
    return nk_fail(NK_EUSAGE, "option --quantile: '%s' is not of the form COLUMN:P", text);
  int code = cli_parse_numbers("--quantile", colon + 1, &p, &n);
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    if (!(p[i] >= 0 && p[i] <= 1))
      code = nk_fail(NK_EUSAGE, "option --quantile: '%s': not a number from 0 to 1", text);
    else
      code = add_measure(plan, SUMMARY_QUANTILE, "quantile", text, (size_t)(colon - text), p[i]);
  }
  nk_free(p);
  return code;
}

bool summary_has_statistics(const struct summary *s) {
  return s->count || s->share.n + s->mean.n + s->median.n + s->quantile.n + s->auc.n > 0;
}

static int set_measures(struct summary_plan *plan, const struct summary *s) {
  if (s->auc.n > 0 && s->between == NULL)
    return nk_fail(NK_EUSAGE, "option --auc: the two groups are missing; use --between");
  int code = s->count || !summary_has_statistics(s)
                 ? add_measure(plan, SUMMARY_COUNT, "count", "", 0, 0)
                 : NK_OK;
  if (code == NK_OK) code = add_measures(plan, SUMMARY_SHARE, "share", &s->share);
  if (code == NK_OK) code = add_measures(plan, SUMMARY_MEAN, "mean", &s->mean);
  if (code == NK_OK) code = add_measures(plan, SUMMARY_QUANTILE, "median", &s->median);
  for (size_t i = 0; i < s->quantile.n && code == NK_OK; i++)
    code = add_quantiles(plan, s->quantile.item[i]);
  return code == NK_OK ? add_measures(plan, SUMMARY_AUC, "auc", &s->auc) : code;
}

/* ---- Rows ---- */

/* "COLUMN=A,B" as the conditions COLUMN=A and COLUMN=B, or two conditions. */
static int set_between(struct summary_plan *plan, const char *text) {
  if (text == NULL) return NK_OK;
  const char *comma = strchr(text, ',');
  if (comma == NULL || !cli_condition_is(text))
    return nk_fail(NK_EUSAGE,
                   "option --between: '%s' is not of the form COLUMN=A,B or CONDITION,CONDITION",
                   text);
  bool conditions = cli_condition_is(comma + 1);
  size_t operator= strcspn(text, "=!<>"), value = operator+ strspn(text + operator, "=!<>");
  struct nk_buffer list = {0};
  nk_buffer_append(&list, text, (size_t)(comma - text));
  nk_buffer_byte(&list, '\n');
  if (!conditions) nk_buffer_append(&list, text, value);
  nk_buffer_text(&list, comma + 1);
  int code = list.failed ? nk_fail(NK_EMEMORY, "out of memory") : NK_OK;
  if (code == NK_OK) code = summary_factors_add(&plan->between, list.data, '\n', &plan->table);
  for (size_t g = 0; g < 2 && code == NK_OK; g++) {
    plan->between_name[g] = nk_strdup(plan->between.item[g].name + (conditions ? 0 : value));
    if (plan->between_name[g] == NULL) code = NK_EMEMORY;
  }
  nk_buffer_free(&list);
  return code;
}

/* Whether the row meets all conditions. */
static bool is_wanted(const struct summary_plan *plan, size_t row) {
  for (size_t f = 0; f < plan->where.n; f++)
    if (!summary_factor_holds(&plan->where.item[f], &plan->table, row)) return false;
  return true;
}

static int set_rows(struct summary_plan *plan) {
  const struct summary_table *table = &plan->table;
  size_t n = cli_frame_n_rows(table->frame);
  plan->row = nk_alloc(n, sizeof *plan->row);
  plan->second = nk_alloc(n, sizeof *plan->second);
  if (plan->row == NULL || plan->second == NULL) return NK_EMEMORY;
  for (size_t row = 0; row < n; row++) {
    bool in[2] = {true, false};
    if (!is_wanted(plan, row)) continue;
    for (size_t g = 0; g < plan->between.n; g++)
      in[g] = summary_factor_holds(&plan->between.item[g], table, row);
    if (!in[0] && !in[1]) continue;
    if (in[0] && in[1])
      return nk_fail(NK_EDATA, "%s: row %zu is in both groups, '%s' and '%s'",
                     cli_frame_name(table->frame), row + 1, plan->between.item[0].name,
                     plan->between.item[1].name);
    plan->second[plan->n_rows] = in[1];
    plan->row[plan->n_rows++] = row;
  }
  return NK_OK;
}

/* Each item gives a column, or a feature. */
int summary_check_differ(const char *option, const char *list) {
  struct cli_names names = {0};
  size_t index;
  int code = NK_OK;
  while (list != NULL && code == NK_OK) {
    const char *comma = strchr(list, ',');
    char *name = nk_strndup(list, comma != NULL ? (size_t)(comma - list) : strlen(list));
    size_t n = names.n;
    code = name != NULL ? cli_names_add(&names, name, &index) : NK_EMEMORY;
    if (code == NK_OK && index < n)
      code = nk_fail(NK_EUSAGE, "option %s: '%s' is given twice", option, name);
    nk_free(name);
    list = comma != NULL ? comma + 1 : NULL;
  }
  cli_names_free(&names);
  return code;
}

static int set_kinds(struct summary_plan *plan, const char *list) {
  int code = NK_OK;
  while (list != NULL && code == NK_OK) {
    const char *comma = strchr(list, ',');
    if (plan->n_kinds == SUMMARY_MAX_KINDS)
      return nk_fail(NK_EUSAGE, "option --cluster: the limit is %d kinds", SUMMARY_MAX_KINDS);
    char *name = nk_strndup(list, comma != NULL ? (size_t)(comma - list) : strlen(list));
    if (name == NULL) return NK_EMEMORY;
    plan->kind_name[plan->n_kinds] = name;
    code = summary_factors_add(&plan->kinds[plan->n_kinds++], name, '+', &plan->table);
    list = comma != NULL ? comma + 1 : NULL;
  }
  return code;
}

/* ---- The plan ---- */

/* The row of `with` that has the id of each row. Several rows can have one id. */
static int join(struct summary_table *table) {
  struct cli_names ids = {0};
  char text[32];
  int64_t id;
  size_t n = cli_frame_n_rows(table->frame), place;
  if (table->with == NULL) return NK_OK;
  int64_t own = cli_frame_column(table->frame, "id"), other = cli_frame_column(table->with, "id");
  int code = own < 0 ? (int)own : other < 0 ? (int)other : NK_OK;
  table->row_of = code == NK_OK ? nk_alloc(n, sizeof *table->row_of) : NULL;
  if (code == NK_OK && table->row_of == NULL) code = NK_EMEMORY;
  for (size_t i = 0; code == NK_OK && i < cli_frame_n_rows(table->with); i++) {
    code = cli_frame_integer(table->with, i, (size_t)other, &id);
    if (code != NK_OK) break;
    snprintf(text, sizeof text, "%" PRId64, id);
    code = cli_names_add(&ids, text, &place);
    if (code == NK_OK && place != i)
      code = nk_fail(NK_EDATA, "%s: two rows have the id %s", cli_frame_name(table->with), text);
  }
  for (size_t i = 0; code == NK_OK && i < n; i++) {
    code = cli_frame_integer(table->frame, i, (size_t)own, &id);
    snprintf(text, sizeof text, "%" PRId64, id);
    table->row_of[i] = code == NK_OK ? cli_names_find(&ids, text) : -1;
    if (code == NK_ENOTFOUND) code = NK_OK;
  }
  cli_names_free(&ids);
  return code;
}

int summary_plan_make(struct summary_plan *plan, const struct summary *s,
                      const struct cli_frame *frame) {
  double level = s->level != 0 ? s->level : 0.95;
  *plan = (struct summary_plan){
      .table = {.frame = frame, .with = s->with},
      .options = {level, s->n_resamples > 0 ? s->n_resamples : 2000, s->seed},
      .two_sided = s->two_sided,
  };
  if (!(level > 0 && level < 1)) return nk_fail(NK_EUSAGE, "level %g: not between 0 and 1", level);
  if (plan->options.n_resamples < 100)
    return nk_fail(NK_EUSAGE, "%zu resamples: at least 100 are needed", plan->options.n_resamples);
  int code = summary_check_differ("--by", s->by);
  if (code == NK_OK) code = summary_check_differ("--cluster", s->cluster);
  if (code == NK_OK) code = join(&plan->table);
  for (size_t i = 0; i < s->where.n && code == NK_OK; i++)
    code = summary_factors_add(&plan->where, s->where.item[i], '\n', &plan->table);
  if (code == NK_OK) code = set_between(plan, s->between);
  if (code == NK_OK) code = set_rows(plan);
  if (code == NK_OK && s->by != NULL)
    code = summary_factors_add(&plan->by, s->by, ',', &plan->table);
  for (size_t i = 0; i < s->bins.n && code == NK_OK; i++)
    code = summary_factors_bin(&plan->by, s->bins.item[i], &plan->table, plan->row, plan->n_rows);
  if (code == NK_OK) code = set_kinds(plan, s->cluster);
  return code == NK_OK ? set_measures(plan, s) : code;
}

int summary_plan_group(const struct summary_plan *plan, struct summary_groups *groups) {
  int code = summary_group(&plan->table, &plan->by, plan->row, plan->n_rows, groups);
  if (code == NK_OK && plan->by.n == 0) groups->n = 1;
  if (code == NK_OK && plan->by.n > 0)
    code = summary_groups_sort(&plan->table, &plan->by, groups, plan->n_rows);
  return code == NK_OK ? summary_groups_rows(groups, plan->n_rows) : code;
}

void summary_plan_free(struct summary_plan *plan) {
  for (size_t m = 0; m < plan->n_measures; m++) {
    nk_free(plan->measure[m].name);
    nk_free(plan->measure[m].of.name);
    cli_condition_free(&plan->measure[m].of.condition);
  }
  for (size_t k = 0; k < plan->n_kinds; k++) {
    summary_factors_free(&plan->kinds[k]);
    nk_free(plan->kind_name[k]);
  }
  for (size_t g = 0; g < 2; g++) nk_free(plan->between_name[g]);
  summary_factors_free(&plan->by);
  summary_factors_free(&plan->where);
  summary_factors_free(&plan->between);
  nk_free(plan->measure);
  nk_free(plan->row);
  nk_free(plan->second);
  nk_free(plan->table.row_of);
  *plan = (struct summary_plan){0};
}
