/* nk-stats: lengths and distances of every row of a vector set. */
#include <math.h>
#include <string.h>

#include "cli/paths.h"
#include "cli/tool.h"

static const char *const MEASURES[] = {"norm", "centroid_l2", "centroid_cosine", "mahalanobis",
                                       "p_length"};
enum { NORM, L2, COSINE, MAHALANOBIS, P_LENGTH, N_MEASURES };

struct options {
  const char *reference;
  bool no_mahalanobis;
  bool summary;
  bool path;
  bool skip_bad;
};

/* The distribution of the reference; *dist NULL, with a warning, when its rows do not differ. */
static int fit(const struct nk_vectors *reference, struct nk_gaussian **dist) {
  struct nk_moments *moments =
      nk_moments_compute(reference->values, NULL, reference->n, reference->dim);
  if (moments == NULL) return nk_error_code();
  if (moments->total_variance > 0) {
    *dist = nk_gaussian_new(moments, -1, true);
    return *dist != NULL ? NK_OK : nk_error_code();
  }
  nk_moments_free(moments);
  nk_warn("the rows do not differ: Mahalanobis distances are missing");
  return NK_OK;
}

/* The column means of *set, where it has rows. The set is searched for rows that are not finite
 * only when the means show that there is one. */
static int centre_of(struct nk_vectors **set, bool skip_bad, double *mean) {
  if ((*set)->n == 0) return NK_OK;
  int code = nk_mean((*set)->values, NULL, (*set)->n, (*set)->dim, mean);
  if (code != NK_EDATA) return code;
  code = cli_check_finite(set, skip_bad);
  if (code != NK_OK || (*set)->n == 0) return code;
  return nk_mean((*set)->values, NULL, (*set)->n, (*set)->dim, mean);
}

/* A set's p-values within itself are its ranks: the same numbers for any set, which no summary
 * needs. */
static int make_columns(size_t n, const struct options *options, double *values[N_MEASURES]) {
  for (int m = 0; m < N_MEASURES; m++) {
    if (m == MAHALANOBIS && options->no_mahalanobis) continue;
    if (m == P_LENGTH && options->summary && options->reference == NULL) continue;
    if ((values[m] = nk_alloc(n, sizeof(double))) == NULL) return NK_EMEMORY;
  }
  return NK_OK;
}

/* p-values of the rows' lengths among those of the reference (NULL: among themselves). */
static int compare_lengths(const struct nk_vectors *reference, const double *centre, size_t n,
                           double *const values[N_MEASURES]) {
  if (values[P_LENGTH] == NULL) return NK_OK;
  if (reference == NULL) return nk_two_sided_p(values[NORM], n, NULL, 0, values[P_LENGTH]);
  double *lengths = nk_alloc(reference->n, sizeof *lengths);
  if (lengths == NULL) return NK_EMEMORY;
  nk_row_distances(reference->values, reference->n, reference->dim, centre, lengths, NULL, NULL);
  int code = nk_two_sided_p(values[NORM], n, lengths, reference->n, values[P_LENGTH]);
  nk_free(lengths);
  return code;
}

static int measure(struct nk_vectors **set, const struct options *options,
                   double *values[N_MEASURES]) {
  struct nk_vectors *reference = NULL;
  struct nk_gaussian *dist = NULL;
  float *distances = NULL;
  int code = NK_OK;
  if ((*set)->n == 0) return make_columns(0, options, values);
  if (options->reference != NULL) {
    reference = nk_vectors_read(options->reference);
    if ((code = reference != NULL ? NK_OK : nk_error_code()) != NK_OK) goto done;
    if (reference->dim != (*set)->dim) {
      code = nk_fail(NK_EDATA, "%s: vectors have %zu values, those measured have %zu",
                     options->reference, reference->dim, (*set)->dim);
      goto done;
    }
    if ((code = cli_check_finite(set, options->skip_bad)) != NK_OK) goto done;
  }
  double *centre = nk_alloc((*set)->dim, sizeof *centre);
  code = centre == NULL
             ? NK_EMEMORY
             : centre_of(reference != NULL ? &reference : set, options->skip_bad, centre);
  if (code == NK_OK && reference != NULL && reference->n == 0)
    code = nk_fail(NK_EDATA, "%s: no rows to measure from", options->reference);
  size_t n = (*set)->n; /* after rows were left out */
  if (code == NK_OK) code = make_columns(n, options, values);
  if (code == NK_OK)
    nk_row_distances((*set)->values, n, (*set)->dim, centre, values[NORM], values[L2],
                     values[COSINE]);
  if (code == NK_OK) code = compare_lengths(reference, centre, n, values);
  nk_free(centre);
  if (code != NK_OK || n == 0 || options->no_mahalanobis) goto done;

  if ((code = fit(reference != NULL ? reference : *set, &dist)) != NK_OK) goto done;
  if ((distances = nk_alloc(n, sizeof *distances)) == NULL) code = NK_EMEMORY;
  if (code == NK_OK && dist != NULL) code = nk_mahalanobis(dist, (*set)->values, n, distances);
  for (size_t i = 0; i < n && code == NK_OK; i++)
    values[MAHALANOBIS][i] = dist != NULL ? (double)distances[i] : (double)NAN;

done:
  nk_free(distances);
  nk_gaussian_free(dist);
  nk_vectors_free(reference);
  return code;
}

static int write_rows(const struct nk_vectors *set, double *const values[N_MEASURES],
                      struct cli_table *table) {
  int code = cli_set_head(set, table);
  for (int m = 0; m < N_MEASURES && code == NK_OK; m++)
    if (values[m] != NULL) code = cli_table_column(table, MEASURES[m]);
  if (code == NK_OK) code = cli_set_head_tail(set, table);
  for (size_t row = 0; row < set->n && code == NK_OK; row++) {
    cli_set_row(set, row, table);
    for (int m = 0; m < N_MEASURES; m++)
      if (values[m] != NULL) cli_table_number(table, values[m][row]);
    cli_set_row_tail(set, row, table);
    code = cli_table_end_row(table);
  }
  return code;
}

/* One row per measure; the measures are sorted in place. */
static int write_summary(size_t n, double *const values[N_MEASURES], struct cli_table *table) {
  static const char *const NAMES[] = {"min", "q01", "q05", "q25", "median",
                                      "q75", "q95", "q99", "max"};
  static const double LEVELS[] = {0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1};
  enum { N_QUANTILES = sizeof LEVELS / sizeof LEVELS[0] };
  double quantiles[N_QUANTILES];
  int code = cli_table_column(table, "measure");
  if (code == NK_OK) code = cli_table_column(table, "rows");
  if (code == NK_OK) code = cli_table_column(table, "mean");
  for (int q = 0; q < N_QUANTILES && code == NK_OK; q++) code = cli_table_column(table, NAMES[q]);
  for (int m = 0; m < N_MEASURES && code == NK_OK; m++) {
    if (values[m] == NULL) continue;
    size_t known = nk_quantiles(values[m], n, LEVELS, N_QUANTILES, quantiles);
    double sum = 0;
    for (size_t i = 0; i < known; i++) sum += values[m][i];
    cli_table_string(table, MEASURES[m]);
    cli_table_integer(table, (int64_t)known);
    cli_table_number(table, known > 0 ? sum / (double)known : (double)NAN);
    for (int q = 0; q < N_QUANTILES; q++) cli_table_number(table, quantiles[q]);
    code = cli_table_end_row(table);
  }
  return code;
}

/* Distances along paths instead. */
static int write_paths(const struct nk_vectors *set, const char *file,
                       const struct options *options, struct cli_table *table) {
  struct cli_paths paths;
  int code = cli_paths_measure(&paths, set, options->skip_bad);
  if (code != NK_OK) nk_fail_in(code, "%s", strcmp(file, "-") != 0 ? file : "standard input");
  if (code == NK_OK)
    code = options->summary ? cli_paths_write_widths(&paths, table)
                            : cli_paths_write_rows(&paths, set, table);
  cli_paths_free(&paths);
  return code;
}

int main(int argc, char **argv) {
  struct options options = {0};
  const struct cli_option table_of_options[] = {
      {'r', "reference", CLI_OPTION_STRING, &options.reference, "SET",
       "measure from SET's centroid and covariance"},
      {0, "no-mahalanobis", CLI_OPTION_FLAG, &options.no_mahalanobis, NULL,
       "omit the column that needs the covariance"},
      {0, "summary", CLI_OPTION_FLAG, &options.summary, NULL,
       "print quantiles of each column instead of rows"},
      {0, "path", CLI_OPTION_FLAG, &options.path, NULL,
       "distances to both ends of each path (columns pair, t); --summary: widths"},
      {0, "skip-bad", CLI_OPTION_FLAG, &options.skip_bad, NULL,
       "omit rows that hold a NaN or an infinity"},
  };
  const struct cli_tool tool = {
      .name = "nk-stats",
      .summary = "lengths and distances of every row of a vector set",
      .usage = "[OPTION]... [SET]",
      .options = table_of_options,
      .n_options = sizeof table_of_options / sizeof table_of_options[0],
      .example = "nk-extract data/gpt2-tiny | nk-stats --summary",
  };
  struct cli_run run;
  cli_begin(&run, &tool, argc, argv, 0, 1);

  double *values[N_MEASURES] = {NULL};
  struct nk_output *output = NULL;
  struct cli_table *table = NULL;
  struct nk_vectors *set = nk_vectors_read(cli_operand(&run, 0));
  int code = set != NULL ? NK_OK : nk_error_code();
  if (code == NK_OK && options.path && (options.reference != NULL || options.no_mahalanobis))
    code = nk_fail(NK_EUSAGE, "--path: --reference and --no-mahalanobis have no effect on it");
  if (code == NK_OK)
    code =
        options.path ? cli_check_finite(&set, options.skip_bad) : measure(&set, &options, values);
  if (code != NK_OK) goto done;
  output = cli_output(&run, NK_OUTPUT_TEXT);
  table = output != NULL ? cli_new_table(&run, output) : NULL;
  if ((code = table != NULL ? NK_OK : nk_error_code()) != NK_OK) goto done;
  if (options.path)
    code = write_paths(set, cli_operand(&run, 0), &options, table);
  else
    code = options.summary ? write_summary(set->n, values, table) : write_rows(set, values, table);

done:
  code = cli_close(table, output, code);
  nk_vectors_free(set);
  for (int m = 0; m < N_MEASURES; m++) nk_free(values[m]);
  return cli_end(&run, code);
}
