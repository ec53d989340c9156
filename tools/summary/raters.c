/* The ratings of each group: a row of the table is one rater's of one item. */
#include "summary/raters.h"

#include <inttypes.h>
#include <stdio.h>

#include "cli/names.h"
#include "summary/head.h"
#include "summary/kappa.h"

enum { ITEM, RATER, CLASS, N_PARTS };

struct job {
  struct summary_plan plan;
  struct summary_groups groups;
  struct summary_factors part[N_PARTS];
  const struct summary *options;
  struct cli_table *table;
  size_t fewest; /* items of any group; 0: none yet */
};

/* The ratings of a group in memory. */
struct sample {
  struct summary_ratings ratings;
  uint32_t *index[N_PARTS];
  struct cli_names names[N_PARTS], pairs; /* pairs of item and rater */
};

/* ---- Ratings ---- */

/* A cell without a class is left out. */
static int add_rating(struct job *job, struct sample *sample, size_t row) {
  const struct summary_table *table = &job->plan.table;
  size_t n = sample->ratings.n, index[N_PARTS], pair;
  char text[48];
  int code = NK_OK;
  if (cli_frame_is_missing(summary_factor_cell(&job->part[CLASS].item[0], table, row)))
    return NK_OK;
  for (int p = 0; p < N_PARTS && code == NK_OK; p++) {
    code = summary_factors_key(&job->part[p], table, row, &sample->names[p], &index[p]);
    sample->index[p][n] = (uint32_t)index[p];
  }
  if (code != NK_OK) return code;
  snprintf(text, sizeof text, "%zu %zu", index[ITEM], index[RATER]);
  code = cli_names_add(&sample->pairs, text, &pair);
  if (code == NK_OK && pair < n)
    code =
        nk_fail(NK_EDATA, "%s: row %zu: a second rating of the same '%s' by the same '%s'",
                cli_frame_name(table->frame), row + 1, job->options->items, job->options->raters);
  sample->ratings.n++;
  return code;
}

static int sample_make(struct job *job, struct sample *sample, size_t group) {
  size_t n = job->groups.begin[group + 1] - job->groups.begin[group];
  int code = NK_OK;
  for (int p = 0; p < N_PARTS; p++) {
    sample->index[p] = nk_alloc(n, sizeof **sample->index);
    if (sample->index[p] == NULL) code = NK_EMEMORY;
  }
  for (size_t i = job->groups.begin[group]; i < job->groups.begin[group + 1] && code == NK_OK; i++)
    code = add_rating(job, sample, job->plan.row[job->groups.order[i]]);
  sample->ratings = (struct summary_ratings){
      sample->ratings.n,   sample->names[ITEM].n, sample->names[RATER].n, sample->names[CLASS].n,
      sample->index[ITEM], sample->index[RATER],  sample->index[CLASS],
  };
  return code;
}

static void sample_free(struct sample *sample) {
  for (int p = 0; p < N_PARTS; p++) {
    nk_free(sample->index[p]);
    cli_names_free(&sample->names[p]);
  }
  cli_names_free(&sample->pairs);
}

/* ---- Rows ---- */

static int write_head(const struct job *job) {
  static const char *const names[] = {"statistic", "value",    "low", "high",
                                      "level",     "interval", "n",   "missing"};
  struct cli_names own = {0};
  int code = NK_OK;
  for (size_t i = 0; i < sizeof names / sizeof *names && code == NK_OK; i++)
    code = summary_add_name(&own, "%s", names[i]);
  if (code == NK_OK) code = summary_add_name(&own, "n_%s", job->options->items);
  if (code == NK_OK) code = summary_add_name(&own, "n_%s", job->options->raters);
  if (code == NK_OK) code = summary_write_head(&own, &job->plan.by, job->table);
  cli_names_free(&own);
  return code;
}

static int write_row(const struct job *job, size_t group, const struct sample *sample,
                     const struct summary_agreement *found, bool is_kappa) {
  const struct summary_plan *plan = &job->plan;
  const struct summary_interval *interval = is_kappa ? &found->kappa : &found->share;
  size_t n_rows = job->groups.begin[group + 1] - job->groups.begin[group];
  const char *kappa = sample->ratings.n_raters > 2 ? "fleiss kappa" : "cohen kappa";
  struct nk_buffer name = {0};
  nk_buffer_printf(&name, "%s %s", is_kappa ? kappa : "agreement", job->options->kappa);
  for (size_t f = 0; f < plan->by.n; f++)
    cli_table_cell(job->table,
                   summary_factor_cell(&plan->by.item[f], &plan->table, job->groups.first[group]));
  if (name.failed)
    cli_table_fail(job->table);
  else
    cli_table_text(job->table, name.data, name.size);
  nk_buffer_free(&name);
  summary_write_interval(job->table, interval, plan->options.level,
                         is_kappa ? found->of_kappa : "Wilson");
  cli_table_integer(job->table, (int64_t)found->n);
  cli_table_integer(job->table, (int64_t)(n_rows - found->n));
  cli_table_integer(job->table, (int64_t)found->n_items);
  cli_table_integer(job->table, (int64_t)sample->ratings.n_raters);
  return cli_table_end_row(job->table);
}

static int rate_group(struct job *job, size_t group) {
  struct sample sample = {0};
  struct summary_agreement found;
  int code = sample_make(job, &sample, group);
  if (code == NK_OK) code = summary_agree(&sample.ratings, &job->plan.options, &found);
  if (code == NK_OK) code = write_row(job, group, &sample, &found, false);
  if (code == NK_OK) code = write_row(job, group, &sample, &found, true);
  if (code == NK_OK && found.n_items > 0 && (job->fewest == 0 || found.n_items < job->fewest))
    job->fewest = found.n_items;
  sample_free(&sample);
  return code;
}

/* ---- All groups ---- */

static int check_options(const struct summary *s) {
  if (s->items == NULL || s->raters == NULL)
    return nk_fail(NK_EUSAGE, "option --kappa: --items and --raters are needed");
  if (summary_has_statistics(s) || s->energy != NULL || s->between != NULL)
    return nk_fail(NK_EUSAGE, "option --kappa: other statistics are not printed beside it");
  if (s->cluster != NULL)
    return nk_fail(NK_EUSAGE, "option --kappa: the clusters are those of --items");
  return NK_OK;
}

static int job_make(struct job *job, const struct summary *s, const struct cli_frame *frame) {
  const char *const lists[N_PARTS] = {[ITEM] = s->items, [RATER] = s->raters, [CLASS] = s->kappa};
  struct summary_plan *plan = &job->plan;
  int code = summary_plan_make(plan, s, frame);
  for (int p = 0; p < N_PARTS && code == NK_OK; p++)
    code = summary_factors_add(&job->part[p], lists[p], p == CLASS ? '\n' : '+', &plan->table);
  return code == NK_OK ? summary_plan_group(plan, &job->groups) : code;
}

int summary_write_kappa(const struct summary *summary, const struct cli_frame *frame,
                        struct cli_table *table) {
  struct job job = {.options = summary, .table = table};
  int code = check_options(summary);
  if (code == NK_OK) code = job_make(&job, summary, frame);
  if (code == NK_OK) code = write_head(&job);
  for (size_t g = 0; g < job.groups.n && code == NK_OK; g++) {
    code = rate_group(&job, g);
    if (code == NK_OK) code = nk_progress("groups", g + 1, job.groups.n);
  }
  if (code == NK_OK) summary_warn_of_few(job.fewest, summary->items);
  for (int p = 0; p < N_PARTS; p++) summary_factors_free(&job.part[p]);
  summary_groups_free(&job.groups);
  summary_plan_free(&job.plan);
  return code;
}
