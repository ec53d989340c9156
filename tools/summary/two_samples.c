/* The rows of both samples of each group: their features, strata and units. */
#include "summary/two_samples.h"

#include <math.h>
#include <string.h>

#include "cli/names.h"
#include "summary/energy.h"
#include "summary/head.h"

/* Where the rows of a sample are. */
struct source {
  struct summary_table table;
  struct summary_factors features, strata, cluster;
};

struct job {
  struct summary_plan plan;
  struct summary_groups groups;
  struct source own, other;
  const struct source *source[2];
  const struct summary *options;
  struct cli_table *table;
  size_t n[2],
      missing[2]; /* rows of the group, those that are compared and those without a value */
  size_t fewest;  /* units of any sample; 0: none yet */
};

/* The rows of a group in memory. */
struct sample {
  struct summary_two_samples rows;
  double *value;
  uint32_t *stratum, *unit;
  struct cli_names strata, units;
};

/* ---- Sources ---- */

static int source_make(struct source *source, const struct summary *s,
                       const struct summary_table *table) {
  source->table = *table;
  int code = summary_factors_add(&source->features, s->energy, ',', &source->table);
  for (size_t f = 0; f < source->features.n && code == NK_OK; f++)
    if (source->features.item[f].condition.column != NULL)
      code = nk_fail(NK_EUSAGE, "option --energy: '%s': a condition is not a feature",
                     source->features.item[f].name);
  if (code == NK_OK) code = summary_factors_add(&source->strata, s->strata, ',', &source->table);
  return code == NK_OK ? summary_factors_add(&source->cluster, s->cluster, '+', &source->table)
                       : code;
}

static void source_free(struct source *source) {
  summary_factors_free(&source->features);
  summary_factors_free(&source->strata);
  summary_factors_free(&source->cluster);
}

static int check_options(const struct summary *s) {
  if ((s->against != NULL) == (s->between != NULL))
    return nk_fail(NK_EUSAGE,
                   "option --energy: two samples are needed; use one of --against and --between");
  if (summary_has_statistics(s))
    return nk_fail(NK_EUSAGE, "option --energy: other statistics are not printed beside it");
  if (s->cluster != NULL && strchr(s->cluster, ',') != NULL)
    return nk_fail(NK_EUSAGE,
                   "option --cluster: '%s': --energy takes one kind; use --strata for prompts",
                   s->cluster);
  return summary_check_differ("--energy", s->energy);
}

/* ---- Samples ---- */

/* The unit of a row. Units of the first sample come first; ids of another table are others. */
static int find_unit(const struct job *job, struct sample *sample, int side, size_t row,
                     size_t *unit) {
  const struct source *source = job->source[side];
  *unit = sample->rows.n_units;
  if (source->cluster.n > 0) {
    int code = summary_factors_key(&source->cluster, &source->table, row, &sample->units, unit);
    if (code != NK_OK) return code;
    if (side == 1 && job->options->against != NULL) *unit += sample->rows.n_first;
    if (side == 1 && *unit < sample->rows.n_first)
      return nk_fail(NK_EDATA,
                     "%s: row %zu: its '%s' is in both groups; --energy compares groups of "
                     "different ones",
                     cli_frame_name(source->table.frame), row + 1, job->options->cluster);
  }
  if (*unit == sample->rows.n_units) sample->rows.n_units++;
  return NK_OK;
}

static int add_row(struct job *job, struct sample *sample, int side, size_t row) {
  const struct source *source = job->source[side];
  struct summary_two_samples *rows = &sample->rows;
  size_t n = rows->n, stratum, unit;
  int code = NK_OK;
  for (size_t f = 0; f < source->features.n && code == NK_OK; f++)
    code = summary_number(&source->table, source->features.item[f].column, row,
                          &sample->value[n * source->features.n + f]);
  if (code == NK_ENOTFOUND) {
    job->missing[side]++;
    return NK_OK;
  }
  if (code == NK_OK)
    code = summary_factors_key(&source->strata, &source->table, row, &sample->strata, &stratum);
  if (code == NK_OK) code = find_unit(job, sample, side, row, &unit);
  if (code != NK_OK) return code;
  sample->stratum[n] = (uint32_t)stratum;
  sample->unit[n] = (uint32_t)unit;
  rows->n_strata = sample->strata.n;
  rows->n++;
  job->n[side]++;
  return NK_OK;
}

static int add_rows(struct job *job, struct sample *sample, size_t group) {
  const struct summary_plan *plan = &job->plan;
  const struct cli_frame *against = job->options->against;
  int code = NK_OK;
  for (int side = 0; side < 2; side++) {
    job->n[side] = job->missing[side] = 0;
    for (size_t i = job->groups.begin[group]; i < job->groups.begin[group + 1] && code == NK_OK;
         i++)
      if (plan->second[job->groups.order[i]] == side)
        code = add_row(job, sample, side, plan->row[job->groups.order[i]]);
    if (side == 0) sample->rows.n_first = sample->rows.n_units;
    if (against == NULL) continue;
    if (side == 0) { /* its units have numbers of their own */
      cli_names_free(&sample->units);
      sample->units = (struct cli_names){0};
    }
    for (size_t i = 0; side == 1 && i < cli_frame_n_rows(against) && code == NK_OK; i++)
      code = add_row(job, sample, side, i);
  }
  return code;
}

static int sample_make(struct job *job, struct sample *sample, size_t group) {
  const struct cli_frame *against = job->options->against;
  size_t n = job->groups.begin[group + 1] - job->groups.begin[group], n_values;
  if (against != NULL) n += cli_frame_n_rows(against);
  size_t width = sample->rows.n_features = job->own.features.n;
  if (!nk_size_mul(n, width, &n_values)) return nk_fail(NK_EMEMORY, "out of memory");
  sample->rows.value = sample->value = nk_alloc(n_values, sizeof *sample->value);
  sample->rows.stratum = sample->stratum = nk_alloc(n, sizeof *sample->stratum);
  sample->rows.unit = sample->unit = nk_alloc(n, sizeof *sample->unit);
  if (sample->value == NULL || sample->stratum == NULL || sample->unit == NULL) return NK_EMEMORY;
  return add_rows(job, sample, group);
}

static void sample_free(struct sample *sample) {
  nk_free(sample->value);
  nk_free(sample->stratum);
  nk_free(sample->unit);
  cli_names_free(&sample->strata);
  cli_names_free(&sample->units);
}

/* ---- Rows ---- */

static int write_head(const struct job *job) {
  static const char *const names[] = {"statistic", "between",  "value",       "low",     "high",
                                      "level",     "interval", "n",           "missing", "n_first",
                                      "n_second",  "p_value",  "null_median", "null_q95"};
  struct cli_names own = {0};
  int code = NK_OK;
  for (size_t i = 0; i < sizeof names / sizeof *names && code == NK_OK; i++)
    if (i != 1 || job->options->between != NULL) code = summary_add_name(&own, "%s", names[i]);
  if (code == NK_OK && job->options->cluster != NULL)
    code = summary_add_name(&own, "n_%s", job->options->cluster);
  if (code == NK_OK && job->options->strata != NULL)
    code = summary_add_name(&own, "n_%s", job->options->strata);
  if (code == NK_OK) code = summary_write_head(&own, &job->plan.by, job->table);
  cli_names_free(&own);
  return code;
}

static void write_names(const struct job *job) {
  struct nk_buffer text = {0};
  nk_buffer_printf(&text, "energy %s", job->options->energy);
  if (!text.failed) cli_table_string(job->table, text.data);
  nk_buffer_clear(&text);
  if (job->options->between != NULL) {
    nk_buffer_printf(&text, "%s ~ %s", job->plan.between_name[0], job->plan.between_name[1]);
    if (!text.failed) cli_table_cell(job->table, text.data);
  }
  if (text.failed) cli_table_fail(job->table);
  nk_buffer_free(&text);
}

static int write_row(const struct job *job, size_t group, const struct summary_two_samples *rows,
                     const struct summary_energy *energy) {
  const struct summary_plan *plan = &job->plan;
  struct cli_table *table = job->table;
  for (size_t f = 0; f < plan->by.n; f++)
    cli_table_cell(table,
                   summary_factor_cell(&plan->by.item[f], &plan->table, job->groups.first[group]));
  write_names(job);
  summary_write_interval(table, &energy->interval, plan->options.level, "bootstrap");
  cli_table_integer(table, (int64_t)(job->n[0] + job->n[1]));
  cli_table_integer(table, (int64_t)(job->missing[0] + job->missing[1]));
  for (int side = 0; side < 2; side++) cli_table_integer(table, (int64_t)job->n[side]);
  cli_table_number(table, energy->p_value);
  cli_table_number(table, energy->null_median);
  cli_table_number(table, energy->null_q95);
  if (job->options->cluster != NULL) cli_table_integer(table, (int64_t)rows->n_units);
  if (job->options->strata != NULL) cli_table_integer(table, (int64_t)energy->n_strata);
  return cli_table_end_row(table);
}

static int compare_group(struct job *job, size_t group) {
  struct sample sample = {0};
  struct summary_energy energy = {{NAN, NAN, NAN}, NAN, NAN, NAN, 0};
  int code = sample_make(job, &sample, group);
  const size_t units[2] = {sample.rows.n_first, sample.rows.n_units - sample.rows.n_first};
  if (code == NK_OK && units[0] > 0 && units[1] > 0)
    code = summary_energy(&sample.rows, &job->plan.options, &energy);
  for (int side = 0; side < 2; side++)
    if (units[side] > 0 && (job->fewest == 0 || units[side] < job->fewest))
      job->fewest = units[side];
  if (code == NK_OK) code = write_row(job, group, &sample.rows, &energy);
  sample_free(&sample);
  return code;
}

/* ---- All groups ---- */

static int job_make(struct job *job, const struct summary *s, const struct cli_frame *frame) {
  struct summary_plan *plan = &job->plan;
  const struct summary_table other = {.frame = s->against};
  int code = summary_plan_make(plan, s, frame);
  if (code == NK_OK) code = source_make(&job->own, s, &plan->table);
  if (code == NK_OK && s->against != NULL) code = source_make(&job->other, s, &other);
  job->source[0] = &job->own;
  job->source[1] = s->against != NULL ? &job->other : &job->own;
  return code == NK_OK ? summary_plan_group(plan, &job->groups) : code;
}

int summary_write_energy(const struct summary *summary, const struct cli_frame *frame,
                         struct cli_table *table) {
  struct job job = {.options = summary, .table = table};
  int code = check_options(summary);
  if (code == NK_OK) code = job_make(&job, summary, frame);
  if (code == NK_OK) code = write_head(&job);
  for (size_t g = 0; g < job.groups.n && code == NK_OK; g++) {
    code = compare_group(&job, g);
    if (code == NK_OK) code = nk_progress("groups", g + 1, job.groups.n);
  }
  if (code == NK_OK && summary->cluster != NULL) summary_warn_of_few(job.fewest, summary->cluster);
  source_free(&job.own);
  source_free(&job.other);
  summary_groups_free(&job.groups);
  summary_plan_free(&job.plan);
  return code;
}
