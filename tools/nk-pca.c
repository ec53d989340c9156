/* nk-pca: principal components of a vector set, as scores, a spectrum or a set without them. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/tool.h"

#define UNSET SIZE_MAX
enum { DEFAULT_COMPONENTS = 10 };

struct options {
  size_t components, project, remove;
  bool spectrum, summary, whiten, skip_bad;
  const char *basis, *with;
};

static int check_usage(const struct options *o, const char *output) {
  int n_outputs = o->spectrum + o->summary + (o->project != UNSET) + (o->remove != UNSET);
  if (n_outputs > 1)
    return nk_fail(NK_EUSAGE, "--spectrum, --summary, --project and --remove exclude one another");
  if (o->whiten && (o->spectrum || o->summary || o->remove != UNSET))
    return nk_fail(NK_EUSAGE, "--whiten applies to scores and --project only");
  if (o->components != UNSET && o->project != UNSET)
    return nk_fail(NK_EUSAGE, "--project and --components exclude each other");
  if (o->project == 0) return nk_fail(NK_EUSAGE, "--project: at least 1 component");
  if (o->basis != NULL && strcmp(o->basis, "-") == 0 &&
      (output == NULL || strcmp(output, "-") == 0))
    return nk_fail(NK_EUSAGE, "the basis and the %s cannot both go to standard output",
                   o->project != UNSET || o->remove != UNSET ? "set" : "table");
  if (o->with != NULL && o->basis != NULL)
    return nk_fail(NK_EUSAGE, "--with (apply a basis) and --basis (save one) exclude each other");
  return NK_OK;
}

/* How many components are used, of a basis that has at most `limit`. */
static size_t needed(const struct options *o, size_t limit) {
  if (o->project != UNSET) return o->project;
  if (o->remove != UNSET) return o->remove;
  if (o->components != UNSET) return o->components;
  return limit < DEFAULT_COMPONENTS ? limit : DEFAULT_COMPONENTS;
}

/* The basis of --with, or one made from the set, with as many components as are used or saved. */
static struct nk_pca *basis_of(const struct nk_vectors *set, const struct options *o) {
  if (o->with != NULL) {
    struct nk_pca *pca = nk_pca_read(o->with);
    if (pca == NULL || pca->dim == set->dim) return pca;
    nk_fail(NK_EDATA, "%s: a basis for vectors of %zu values, these have %zu", o->with, pca->dim,
            set->dim);
    nk_pca_free(pca);
    return NULL;
  }
  struct nk_moments *moments = nk_moments_compute(set->values, NULL, set->n, set->dim);
  if (moments == NULL) return NULL;
  size_t count = needed(o, set->dim);
  if ((o->spectrum || o->summary) && o->basis == NULL) count = 0;
  if (o->components != UNSET && o->components > count && o->basis != NULL) count = o->components;
  return nk_pca_new(moments, count, true);
}

static int save_basis(const struct nk_pca *pca, const char *path) {
  struct nk_output *output = nk_output_open(path, NK_OUTPUT_BINARY);
  if (output == NULL) return nk_error_code();
  int code = nk_pca_write(pca, output);
  if (code == NK_OK) code = nk_output_commit(output);
  nk_output_free(output);
  return code;
}

static int write_spectrum(const struct nk_pca *pca, struct cli_table *table) {
  static const char *const COLUMNS[] = {"component", "eigenvalue", "ratio", "cumulative",
                                        "noise_ratio"};
  double total = pca->total_variance, sum = 0;
  int code = NK_OK;
  for (int i = 0; i < 5 && code == NK_OK; i++) code = cli_table_column(table, COLUMNS[i]);
  for (size_t k = 0; k < pca->dim && code == NK_OK; k++) {
    sum += pca->eigenvalues[k];
    cli_table_integer(table, (int64_t)k + 1);
    cli_table_number(table, pca->eigenvalues[k]);
    cli_table_number(table, total > 0 ? pca->eigenvalues[k] / total : 0);
    cli_table_number(table, total > 0 ? sum / total : 0);
    cli_table_number(table, pca->noise_edge / total);
    code = cli_table_end_row(table);
  }
  return code;
}

/* What is told of a spectrum, and of rows (NULL: of a basis without its rows). */
static int write_summary(const struct nk_pca *pca, const struct nk_dimension *rows,
                         struct cli_table *table) {
  static const char *const COLUMNS[] = {
      "rows",           "dims",      "total_variance", "participation_ratio",
      "effective_rank", "iso_score", "pc1_ratio",      "noise_edge",
      "above_noise",    "twonn",     "twonn_low",      "twonn_high",
      "twonn_rows",     "copies"};
  double total = pca->total_variance;
  int code = NK_OK;
  for (size_t i = 0; i < sizeof COLUMNS / sizeof COLUMNS[0] && code == NK_OK; i++)
    code = cli_table_column(table, COLUMNS[i]);
  if (code != NK_OK) return code;
  cli_table_integer(table, (int64_t)pca->n);
  cli_table_integer(table, (int64_t)pca->dim);
  cli_table_number(table, total);
  cli_table_number(table, pca->participation_ratio);
  cli_table_number(table, pca->effective_rank);
  cli_table_number(table, pca->iso_score);
  cli_table_number(table, total > 0 ? pca->eigenvalues[0] / total : (double)NAN);
  cli_table_number(table, pca->noise_edge);
  cli_table_number(table, isnan(pca->noise_edge) ? (double)NAN : (double)pca->n_above_noise);
  if (rows == NULL) {
    for (int i = 0; i < 5; i++) cli_table_missing(table);
  } else {
    cli_table_number(table, rows->estimate);
    cli_table_number(table, rows->low);
    cli_table_number(table, rows->high);
    cli_table_integer(table, (int64_t)rows->n_rows);
    cli_table_integer(table, (int64_t)rows->n_copies);
  }
  return cli_table_end_row(table);
}

/* Table of the rows' scores [n, count]. */
static int write_scores(const struct nk_vectors *set, const float *scores, size_t count,
                        struct cli_table *table) {
  int code = cli_set_head(set, table);
  for (size_t k = 0; k < count && code == NK_OK; k++) {
    char name[24];
    snprintf(name, sizeof name, "pc%zu", k + 1);
    code = cli_table_column(table, name);
  }
  if (code == NK_OK) code = cli_set_head_tail(set, table);
  for (size_t row = 0; row < set->n && code == NK_OK; row++) {
    cli_set_row(set, row, table);
    for (size_t k = 0; k < count; k++) cli_table_number(table, (double)scores[row * count + k]);
    cli_set_row_tail(set, row, table);
    code = cli_table_end_row(table);
  }
  return code;
}

static int write_table(const struct cli_run *run, const struct options *o,
                       const struct nk_vectors *set, const struct nk_pca *pca) {
  size_t count = needed(o, pca->n_components), size = 0;
  bool scores_wanted = !o->spectrum && !o->summary;
  float *scores = NULL;
  struct cli_table *table = NULL;
  struct nk_dimension dimension;
  int code = NK_OK;
  if (scores_wanted) {
    if (nk_size_mul(set->n, count, &size)) scores = nk_alloc(size, sizeof *scores);
    code = scores == NULL ? NK_EMEMORY
                          : nk_pca_project(pca, set->values, set->n, count, o->whiten, scores);
  }
  if (o->summary && o->with == NULL)
    code = nk_intrinsic_dimension(set->values, set->n, set->dim, 0, &dimension);
  struct nk_output *output = code == NK_OK ? cli_output(run, NK_OUTPUT_TEXT) : NULL;
  if (code == NK_OK && output == NULL) code = nk_error_code();
  if (code == NK_OK) table = cli_new_table(run, output);
  if (code == NK_OK && table == NULL) code = NK_EMEMORY;
  if (code == NK_OK)
    code = o->spectrum  ? write_spectrum(pca, table)
           : o->summary ? write_summary(pca, o->with == NULL ? &dimension : NULL, table)
                        : write_scores(set, scores, count, table);
  code = cli_close(table, output, code);
  nk_free(scores);
  return code;
}

/* The set of --project or --remove. */
static int write_set(const struct cli_run *run, const struct options *o,
                     const struct nk_vectors *set, const struct nk_pca *pca) {
  bool project = o->project != UNSET;
  size_t dim = project ? o->project : set->dim, size = 0;
  struct nk_vectors *out = NULL;
  float *values = nk_size_mul(set->n, dim, &size) ? nk_alloc(size, sizeof *values) : NULL;
  int code = NK_EMEMORY;
  if (values == NULL) goto done;
  code = project ? nk_pca_project(pca, set->values, set->n, dim, o->whiten, values)
                 : nk_pca_remove(pca, set->values, set->n, o->remove, values);
  if (code != NK_OK) goto done;
  code = NK_EMEMORY;
  if ((out = nk_vectors_like(set, dim, values)) == NULL) goto done;
  values = NULL;
  code = cli_write_set(run, out);

done:
  nk_vectors_free(out);
  nk_free(values);
  return code;
}

int main(int argc, char **argv) {
  struct options o = {.components = UNSET, .project = UNSET, .remove = UNSET};
  const struct cli_option options[] = {
      {'k', "components", CLI_OPTION_SIZE, &o.components, "K",
       "number of components to print or save (default: 10)"},
      {0, "spectrum", CLI_OPTION_FLAG, &o.spectrum, NULL,
       "print all eigenvalues instead of scores"},
      {0, "summary", CLI_OPTION_FLAG, &o.summary, NULL,
       "print variance, effective and intrinsic dimensions, noise"},
      {0, "project", CLI_OPTION_SIZE, &o.project, "K",
       "output the scores on the top K components as a vector set"},
      {0, "remove", CLI_OPTION_SIZE, &o.remove, "K",
       "output vectors with the mean and top K components removed"},
      {'w', "whiten", CLI_OPTION_FLAG, &o.whiten, NULL, "scale scores to variance 1"},
      {0, "basis", CLI_OPTION_STRING, &o.basis, "FILE", "save the basis to FILE"},
      {0, "with", CLI_OPTION_STRING, &o.with, "FILE",
       "apply the basis in FILE, of nk-pca or a region"},
      {0, "skip-bad", CLI_OPTION_FLAG, &o.skip_bad, NULL,
       "omit rows that hold a NaN or an infinity"},
  };
  const struct cli_tool tool = {
      .name = "nk-pca",
      .summary = "principal components of a vector set",
      .usage = "[OPTION]... [SET]",
      .options = options,
      .n_options = sizeof options / sizeof options[0],
      .example = "nk-extract data/gpt2-tiny | nk-pca --spectrum | nk-plot scree > s.png",
  };
  struct cli_run run;
  cli_begin(&run, &tool, argc, argv, 0, 1);

  struct nk_vectors *set = NULL;
  struct nk_pca *pca = NULL;
  int code = check_usage(&o, run.common.output);
  if (code != NK_OK) goto done;
  set = nk_vectors_read(cli_operand(&run, 0));
  if ((code = set != NULL ? NK_OK : nk_error_code()) != NK_OK) goto done;
  if ((code = cli_check_finite(&set, o.skip_bad)) != NK_OK) goto done;
  if (needed(&o, set->dim) > set->dim) {
    code = nk_fail(NK_EUSAGE, "%zu components asked for, vectors have %zu values",
                   needed(&o, set->dim), set->dim);
    goto done;
  }
  pca = basis_of(set, &o);
  if ((code = pca != NULL ? NK_OK : nk_error_code()) != NK_OK) goto done;
  code = o.project != UNSET || o.remove != UNSET ? write_set(&run, &o, set, pca)
                                                 : write_table(&run, &o, set, pca);
  if (code == NK_OK && o.basis != NULL) code = save_basis(pca, o.basis);

done:
  nk_pca_free(pca);
  nk_vectors_free(set);
  return cli_end(&run, code);
}
