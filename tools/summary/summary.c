/* The rows of a summary: for each group the sample of each statistic, ascending by value, with the
 * clusters of its rows. */
#include "summary/summary.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/names.h"
#include "summary/head.h"
#include "summary/plan.h"

/* A row of a sample, before its values are sorted. */
struct entry {
  double value;
  size_t row; /* of plan->row */
};

/* Memory that the samples of all groups share: the largest group needs it. */
struct work {
  struct entry *entry;
  struct summary_sample sample;
  uint32_t *local[SUMMARY_MAX_KINDS];   /* [n clusters of the table] their numbers in this sample */
  uint32_t *seen[2][SUMMARY_MAX_KINDS]; /* the last sample in which the group had the cluster */
  uint32_t n_samples;
};

struct job {
  struct summary_plan plan;
  struct summary_groups groups;
  struct summary_groups kinds[SUMMARY_MAX_KINDS];
  struct work work;
  struct cli_table *table;
  size_t fewest, fewest_kind; /* clusters of any sample; 0: none yet */
};

/* ---- Samples ---- */

static int compare_entries(const void *a, const void *b) {
  const struct entry *x = a, *y = b;
  if (x->value != y->value) return x->value < y->value ? -1 : 1;
  return (x->row > y->row) - (x->row < y->row);
}

/* The value of a row: NK_ENOTFOUND where it is missing. Every row counts. */
static int value_of(const struct summary_plan *plan, const struct summary_measure *measure,
                    size_t row, double *value) {
  *value = 1;
  if (measure->statistic == SUMMARY_COUNT) return NK_OK;
  if (measure->statistic != SUMMARY_SHARE)
    return summary_number(&plan->table, measure->of.column, row, value);
  const char *cell = summary_cell(&plan->table, measure->of.column, row);
  if (cli_condition_lacks(&measure->of.condition, cell)) return NK_ENOTFOUND;
  *value = cli_condition_holds(&measure->of.condition, cell);
  return NK_OK;
}

/* Gives the clusters of the sample's rows numbers from 0, and counts them in each group. */
static void set_clusters(struct job *job, size_t kind) {
  struct work *work = &job->work;
  struct summary_sample *s = &work->sample;
  s->n_clusters[kind] = s->n_in[0][kind] = s->n_in[1][kind] = 0;
  for (size_t i = 0; i < s->n; i++) {
    size_t cluster = job->kinds[kind].of[work->entry[i].row];
    uint32_t *seen = &work->seen[s->second[i]][kind][cluster];
    bool is_new = work->seen[0][kind][cluster] != work->n_samples &&
                  work->seen[1][kind][cluster] != work->n_samples;
    if (is_new) work->local[kind][cluster] = (uint32_t)s->n_clusters[kind]++;
    s->cluster[kind][i] = work->local[kind][cluster];
    s->n_in[s->second[i]][kind] += *seen != work->n_samples;
    *seen = work->n_samples;
  }
}

/* The rows of a group that have a value. */
static int make_sample(struct job *job, const struct summary_measure *measure, size_t group) {
  const struct summary_plan *plan = &job->plan;
  struct work *work = &job->work;
  struct summary_sample *s = &work->sample;
  s->n = 0;
  for (size_t i = job->groups.begin[group]; i < job->groups.begin[group + 1]; i++) {
    struct entry *entry = &work->entry[s->n];
    entry->row = job->groups.order[i];
    int code = value_of(plan, measure, plan->row[entry->row], &entry->value);
    if (code == NK_OK) s->n++;
    if (code != NK_OK && code != NK_ENOTFOUND) return code;
  }
  if (s->n > 1) qsort(work->entry, s->n, sizeof *work->entry, compare_entries);
  for (size_t i = 0; i < s->n; i++) {
    s->value[i] = work->entry[i].value;
    s->second[i] = plan->second[work->entry[i].row];
  }
  work->n_samples++;
  for (size_t kind = 0; kind < s->n_kinds; kind++) set_clusters(job, kind);
  return NK_OK;
}

/* ---- Rows ---- */

/* Which rows a line of the summary is about: those of one group, or both and how they compare. */
enum side { FIRST, SECOND, DIFFERENCE, AUC, AUC_EXCHANGED };

static void write_side(struct job *job, enum side side) {
  struct nk_buffer text = {0};
  char *const *name = job->plan.between_name;
  bool exchanged = side == AUC_EXCHANGED;
  if (side == FIRST || side == SECOND)
    nk_buffer_text(&text, name[side]);
  else
    nk_buffer_printf(&text, "%s %c %s", name[exchanged], side == DIFFERENCE ? '-' : '>',
                     name[!exchanged]);
  cli_table_cell(job->table, text.data != NULL ? text.data : "");
  nk_buffer_free(&text);
}

static int write_row(struct job *job, size_t group, const struct summary_measure *measure,
                     enum side side, const struct summary_interval *interval, const char *method) {
  const struct summary_plan *plan = &job->plan;
  const struct summary_sample *s = &job->work.sample;
  const bool in[2] = {side != SECOND, side != FIRST};
  size_t n[2] = {0, 0}, n_rows = 0, used;
  for (size_t i = 0; i < s->n; i++) n[s->second[i]] += in[s->second[i]];
  for (size_t i = job->groups.begin[group]; i < job->groups.begin[group + 1]; i++)
    n_rows += in[plan->second[job->groups.order[i]]];
  used = n[0] + n[1];
  for (size_t f = 0; f < plan->by.n; f++)
    cli_table_cell(job->table,
                   summary_factor_cell(&plan->by.item[f], &plan->table, job->groups.first[group]));
  cli_table_string(job->table, measure->name);
  if (plan->between.n > 0) write_side(job, side);
  summary_write_interval(job->table, interval, plan->options.level, method);
  cli_table_integer(job->table, (int64_t)used);
  cli_table_integer(job->table, (int64_t)(n_rows - used));
  for (size_t g = 0; g < 2 && plan->between.n > 0; g++)
    cli_table_integer(job->table, (int64_t)n[g]);
  for (size_t k = 0; k < s->n_kinds; k++) {
    size_t n_clusters = in[0] && in[1] ? s->n_clusters[k] : s->n_in[side == SECOND][k];
    cli_table_integer(job->table, (int64_t)n_clusters);
  }
  return cli_table_end_row(job->table);
}

/* The rows of a group without a second one to compare it with, or of both and their difference. */
static int write_result(struct job *job, size_t group, const struct summary_measure *measure,
                        struct summary_result *result) {
  struct summary_interval *auc = &result->first;
  bool both = job->plan.between.n > 0;
  if (measure->statistic == SUMMARY_AUC) {
    bool exchange = job->plan.two_sided && auc->value < 0.5;
    if (exchange) *auc = (struct summary_interval){1 - auc->value, 1 - auc->high, 1 - auc->low};
    return write_row(job, group, measure, exchange ? AUC_EXCHANGED : AUC, auc, result->of_groups);
  }
  int code = write_row(job, group, measure, FIRST, &result->first, result->of_groups);
  if (code == NK_OK && both)
    code = write_row(job, group, measure, SECOND, &result->second, result->of_groups);
  if (code == NK_OK && both && measure->statistic != SUMMARY_COUNT)
    code = write_row(job, group, measure, DIFFERENCE, &result->difference, result->of_difference);
  return code;
}

/* The number of clusters of the kind with the fewest, of all samples that have rows. */
static void note_few(struct job *job) {
  const struct summary_sample *s = &job->work.sample;
  for (size_t k = 0; k < s->n_kinds; k++)
    for (size_t g = 0; g < 2; g++) {
      size_t n = s->n_in[g][k];
      if (n == 0 || (job->fewest > 0 && n >= job->fewest)) continue;
      job->fewest = n;
      job->fewest_kind = k;
    }
}

static int summarize(struct job *job, size_t group, const struct summary_measure *measure) {
  const struct summary_sample *s = &job->work.sample;
  int code = make_sample(job, measure, group);
  if (code != NK_OK) return code;
  struct summary_result result = {.first = {0, NAN, NAN}, .second = {0, NAN, NAN}};
  if (measure->statistic == SUMMARY_COUNT) {
    for (size_t i = 0; i < s->n; i++) (s->second[i] ? &result.second : &result.first)->value++;
  } else {
    note_few(job);
    code = summary_estimate(s, measure->statistic, measure->p, &job->plan.options, &result);
  }
  return code == NK_OK ? write_result(job, group, measure, &result) : code;
}

/* ---- All groups ---- */

static int write_head(const struct job *job) {
  static const char *const middle[] = {"value", "low", "high", "level", "interval", "n", "missing"};
  const struct summary_plan *plan = &job->plan;
  struct cli_names names = {0};
  bool both = plan->between.n > 0;
  int code = summary_add_name(&names, "%s", "statistic");
  if (code == NK_OK && both) code = summary_add_name(&names, "%s", "between");
  for (size_t i = 0; i < sizeof middle / sizeof *middle && code == NK_OK; i++)
    code = summary_add_name(&names, "%s", middle[i]);
  if (code == NK_OK && both) code = summary_add_name(&names, "%s", "n_first");
  if (code == NK_OK && both) code = summary_add_name(&names, "%s", "n_second");
  for (size_t k = 0; k < plan->n_kinds && code == NK_OK; k++)
    code = summary_add_name(&names, "n_%s", plan->kind_name[k]);
  if (code == NK_OK) code = summary_write_head(&names, &plan->by, job->table);
  cli_names_free(&names);
  return code;
}

static int work_alloc(struct job *job) {
  struct work *work = &job->work;
  size_t most = 0, n_kinds = job->plan.n_kinds;
  for (size_t g = 0; g < job->groups.n; g++)
    most = job->groups.begin[g + 1] - job->groups.begin[g] > most
               ? job->groups.begin[g + 1] - job->groups.begin[g]
               : most;
  work->entry = nk_alloc(most, sizeof *work->entry);
  work->sample.value = nk_alloc(most, sizeof *work->sample.value);
  work->sample.second = nk_alloc(most, sizeof *work->sample.second);
  work->sample.n_kinds = n_kinds;
  bool ok = work->entry != NULL && work->sample.value != NULL && work->sample.second != NULL;
  for (size_t k = 0; k < n_kinds; k++) {
    size_t n = job->kinds[k].n;
    work->sample.cluster[k] = nk_alloc(most, sizeof(uint32_t));
    work->local[k] = nk_calloc(n, sizeof(uint32_t));
    for (size_t g = 0; g < 2; g++) work->seen[g][k] = nk_calloc(n, sizeof(uint32_t));
    ok = ok && work->sample.cluster[k] != NULL && work->local[k] != NULL &&
         work->seen[0][k] != NULL && work->seen[1][k] != NULL;
  }
  return ok ? NK_OK : NK_EMEMORY;
}

static void job_free(struct job *job) {
  struct work *work = &job->work;
  for (size_t k = 0; k < SUMMARY_MAX_KINDS; k++) {
    summary_groups_free(&job->kinds[k]);
    nk_free(work->sample.cluster[k]);
    nk_free(work->local[k]);
    for (size_t g = 0; g < 2; g++) nk_free(work->seen[g][k]);
  }
  nk_free(work->entry);
  nk_free(work->sample.value);
  nk_free(work->sample.second);
  summary_groups_free(&job->groups);
  summary_plan_free(&job->plan);
}

int summary_write(const struct summary *summary, const struct cli_frame *frame,
                  struct cli_table *table) {
  struct job job = {.table = table};
  struct summary_plan *plan = &job.plan;
  int code = summary_plan_make(plan, summary, frame);
  if (code == NK_OK) code = summary_plan_group(plan, &job.groups);
  for (size_t k = 0; k < plan->n_kinds && code == NK_OK; k++)
    code = summary_group(&plan->table, &plan->kinds[k], plan->row, plan->n_rows, &job.kinds[k]);
  if (code == NK_OK) code = work_alloc(&job);
  if (code == NK_OK) code = write_head(&job);
  for (size_t g = 0; g < job.groups.n && code == NK_OK; g++) {
    for (size_t m = 0; m < plan->n_measures && code == NK_OK; m++)
      code = summarize(&job, g, &plan->measure[m]);
    if (code == NK_OK && plan->n_kinds > 0) code = nk_progress("groups", g + 1, job.groups.n);
  }
  if (code == NK_OK && plan->n_kinds > 0)
    summary_warn_of_few(job.fewest, plan->kind_name[job.fewest_kind]);
  job_free(&job);
  return code;
}
