/* nk-summary: shares, means, medians, quantiles and AUCs of groups of a table's rows, with
 * confidence intervals. */
#include <stdio.h>

#include "cli/tool.h"
#include "summary/raters.h"
#include "summary/summary.h"
#include "summary/two_samples.h"

struct options {
  struct summary summary;
  const char *with, *against;
};

/* Reads the table of an option; NULL without it. */
static int read_table(const char *path, struct cli_frame **frame) {
  if (path == NULL) return NK_OK;
  *frame = cli_frame_read(path);
  return *frame != NULL ? NK_OK : nk_error_code();
}

static int summarize(struct options *o, const struct cli_run *run) {
  struct summary *summary = &o->summary;
  if (summary->level == 0 || summary->n_resamples == 0) /* defaults of the struct, not of a user */
    return nk_fail(NK_EUSAGE, "level %g, %zu resamples: 0 is not possible", summary->level,
                   summary->n_resamples);
  if (summary->energy == NULL && (o->against != NULL || summary->strata != NULL))
    return nk_fail(NK_EUSAGE, "options --against and --strata are those of --energy");
  if (summary->kappa == NULL && (summary->items != NULL || summary->raters != NULL))
    return nk_fail(NK_EUSAGE, "options --items and --raters are those of --kappa");
  struct cli_frame *with = NULL, *against = NULL, *frame = cli_frame_read(cli_operand(run, 0));
  int code = frame != NULL ? NK_OK : nk_error_code();
  if (code == NK_OK) code = read_table(o->with, &with);
  if (code == NK_OK) code = read_table(o->against, &against);
  struct nk_output *output = code == NK_OK ? cli_output(run, NK_OUTPUT_TEXT) : NULL;
  struct cli_table *table = cli_new_table(run, output);
  summary->with = with;
  summary->against = against;
  summary->seed = run->common.seed;
  if (code == NK_OK && table == NULL) code = nk_error_code();
  if (code == NK_OK)
    code = (summary->kappa != NULL    ? summary_write_kappa
            : summary->energy != NULL ? summary_write_energy
                                      : summary_write)(summary, frame, table);
  code = cli_close(table, output, code);
  cli_frame_free(frame);
  cli_frame_free(with);
  cli_frame_free(against);
  return code;
}

static void options_free(struct options *o) {
  struct summary *s = &o->summary;
  struct cli_strings *lists[] = {&s->bins,   &s->where,    &s->share, &s->mean,
                                 &s->median, &s->quantile, &s->auc};
  for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) cli_strings_free(lists[i]);
}

int main(int argc, char **argv) {
  struct options o = {.summary = {.level = 0.95, .n_resamples = 2000}};
  struct summary *s = &o.summary;
  const struct cli_option options[] = {
      {'b', "by", CLI_OPTION_STRING, &s->by, "A,B", "group rows by columns or conditions"},
      {0, "bins", CLI_OPTION_LIST, &s->bins, "COL:N", "group by N bins with equal counts"},
      {'w', "where", CLI_OPTION_LIST, &s->where, "COND", "only rows that meet COND: 'offset==0'"},
      {0, "with", CLI_OPTION_STRING, &o.with, "FILE", "join the columns of a table by id"},
      {0, "count", CLI_OPTION_FLAG, &s->count, NULL, "number of rows (default)"},
      {0, "share", CLI_OPTION_LIST, &s->share, "COND", "share of rows: 'p_value<=0.05'"},
      {0, "mean", CLI_OPTION_LIST, &s->mean, "COL", "mean"},
      {0, "median", CLI_OPTION_LIST, &s->median, "COL", "median"},
      {0, "quantile", CLI_OPTION_LIST, &s->quantile, "COL:P", "quantiles: kl:0.1,0.9"},
      {0, "between", CLI_OPTION_STRING, &s->between, "COL=A,B",
       "two groups and their difference; COND,COND"},
      {0, "auc", CLI_OPTION_LIST, &s->auc, "COL", "P(A > B) of the groups of --between"},
      {0, "two-sided", CLI_OPTION_FLAG, &s->two_sided, NULL, "an AUC below 0.5: P(B > A)"},
      {0, "energy", CLI_OPTION_STRING, &s->energy, "COL,COL",
       "energy distance of two samples, by these features"},
      {0, "against", CLI_OPTION_STRING, &o.against, "FILE",
       "the second sample: all rows of a table"},
      {0, "strata", CLI_OPTION_STRING, &s->strata, "A,B", "compare rows with the same A and B"},
      {0, "kappa", CLI_OPTION_STRING, &s->kappa, "COL", "agreement of raters about COL"},
      {0, "items", CLI_OPTION_STRING, &s->items, "A", "the column of what is rated"},
      {0, "raters", CLI_OPTION_STRING, &s->raters, "A", "the column of who rates"},
      {'c', "cluster", CLI_OPTION_STRING, &s->cluster, "A,B", "resample these columns' values"},
      {0, "level", CLI_OPTION_NUMBER, &s->level, "P", "confidence (default: 0.95)"},
      {0, "resamples", CLI_OPTION_SIZE, &s->n_resamples, "N", "resamples (default: 2000)",
       .most = 1000000},
  };
  const struct cli_tool tool = {
      .name = "nk-summary",
      .summary = "shares, medians, AUCs of groups of rows, with intervals",
      .usage = "[OPTION]... [TABLE]",
      .options = options,
      .n_options = sizeof options / sizeof *options,
      .example = "nk-summary --by direction,distance --median kl -c id < behaviour.tsv",
  };
  struct cli_run run;
  cli_begin(&run, &tool, argc, argv, 0, 1);
  int code = summarize(&o, &run);
  options_free(&o);
  return cli_end(&run, code);
}
