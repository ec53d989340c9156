/* nk-region: a region in distribution, fitted to a set of tokens, and scores of other vectors. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/groups.h"
#include "cli/region_scores.h"
#include "cli/tool.h"
#include "plot/ellipse.h"

/* Of --subspace: 0 components is not what the option can mean. */
#define UNSET SIZE_MAX

struct options {
  int kind, metric, tokens;
  size_t k, n_components, points;
  const char *components, *with, *by;
  struct cli_strings exclude;
  double level;
  bool include_all, skip_bad, all;
};

/* ---- fit ---- */

static int compare_ids(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

/* rows [*n] of set that the region is fitted to. */
static int choose_rows(const struct nk_vectors *set, const struct options *o, size_t *rows,
                       size_t *n) {
  int64_t *excluded = nk_alloc(0, sizeof *excluded);
  unsigned char *keep = nk_alloc(set->n, 1);
  size_t n_excluded = 0, n_padding = 0, n_listed = 0;
  int code = excluded != NULL && keep != NULL ? NK_OK : NK_EMEMORY;
  for (size_t i = 0; i < o->exclude.n && code == NK_OK; i++)
    code = cli_read_verified(o->exclude.item[i], &excluded, &n_excluded);
  if (code == NK_OK) {
    qsort(excluded, n_excluded, sizeof *excluded, compare_ids);
    memset(keep, 1, set->n);
    if (!o->include_all) code = nk_ordinary_rows(set->values, set->n, set->dim, keep);
  }
  *n = 0;
  for (size_t row = 0; row < set->n && code == NK_OK; row++) {
    if (bsearch(&set->ids[row], excluded, n_excluded, sizeof *excluded, compare_ids) != NULL)
      n_listed++;
    else if (!keep[row])
      n_padding++;
    else
      rows[(*n)++] = row;
  }
  if (code == NK_OK && n_padding > 0)
    nk_warn(
        "%zu rows of zeros, or that copy an earlier row, are omitted as padding "
        "(--include-all keeps them)",
        n_padding);
  if (code == NK_OK && o->exclude.n > 0)
    nk_warn("%zu of %zu rows are omitted by --exclude", n_listed, set->n);
  nk_free(excluded);
  nk_free(keep);
  return code;
}

/* Writes the region of rows [n] of a set to an output, without committing it. */
static int fit_rows(const struct nk_vectors *set, const size_t *rows, size_t n,
                    const struct nk_region_options *options, struct nk_output *output) {
  struct nk_region *region = nk_region_fit(set, rows, n, options);
  int code = region != NULL ? nk_region_write(region, output) : nk_error_code();
  nk_region_free(region);
  return code;
}

/* A region for each group, in a file of its own; none gets its name before all are written. */
static int fit_groups(const struct cli_run *run, const struct options *o, struct nk_vectors *set,
                      const struct cli_groups *groups, const struct nk_region_options *options) {
  const char *space = nk_vectors_metadata(set, "noken.space");
  if (groups->n == 0)
    return nk_fail(NK_EDATA, "0 rows are too few: --by %s finds no group to fit", o->by);
  bool residual = strcmp(o->by, "layer") == 0 && space != NULL && strcmp(space, "residual") == 0;
  struct nk_output **outputs = nk_calloc(groups->n, sizeof *outputs);
  int code = outputs != NULL ? NK_OK : NK_EMEMORY;
  for (size_t g = 0; g < groups->n && code == NK_OK; g++) {
    const size_t *begin = groups->begin + g;
    char name[64];
    char *path = cli_group_path("--output", run->common.output, groups->value[g]);
    if (path == NULL || (outputs[g] = nk_output_open(path, NK_OUTPUT_BINARY)) == NULL)
      code = nk_error_code();
    snprintf(name, sizeof name, "residual:%lld", (long long)groups->value[g]);
    if (code == NK_OK && residual) code = nk_vectors_set_metadata(set, "noken.space", name);
    if (code == NK_OK) {
      code = fit_rows(set, groups->rows + begin[0], begin[1] - begin[0], options, outputs[g]);
      if (code != NK_OK) nk_fail_in(code, "%s %lld", o->by, (long long)groups->value[g]);
    }
    nk_free(path);
  }
  for (size_t g = 0; g < groups->n && code == NK_OK; g++) code = nk_output_commit(outputs[g]);
  for (size_t g = 0; outputs != NULL && g < groups->n; g++) nk_output_free(outputs[g]);
  nk_free(outputs);
  return code;
}

static int fit(const struct cli_run *run, const struct options *o) {
  struct nk_region_options options = {
      .kind = (enum nk_region_kind)o->kind,
      .k = o->k,
      .metric = o->metric == 1 ? NK_METRIC_COSINE : NK_METRIC_L2,
      .n_components = o->n_components == UNSET ? 0 : o->n_components,
      .seed = run->common.seed,
      .tokens = (enum nk_region_tokens)o->tokens};
  struct nk_output *output = NULL;
  struct cli_groups groups = {0};
  size_t *rows = NULL, n = 0;
  struct nk_vectors *set = nk_vectors_read(run->n_operands > 1 ? run->operands[1] : "-");
  int code = set != NULL ? cli_check_finite(&set, o->skip_bad) : nk_error_code();
  if (code == NK_OK && (rows = nk_alloc(set->n, sizeof *rows)) == NULL) code = NK_EMEMORY;
  if (code == NK_OK) code = choose_rows(set, o, rows, &n);
  if (code == NK_OK) code = cli_add_history(set, run->argc, run->argv);
  if (code == NK_OK && o->by != NULL) {
    code = cli_groups_of(set, o->by, rows, n, &groups);
    if (code == NK_OK) code = fit_groups(run, o, set, &groups, &options);
  } else if (code == NK_OK) {
    output = cli_output(run, NK_OUTPUT_BINARY);
    code = output != NULL ? fit_rows(set, rows, n, &options, output) : nk_error_code();
    if (code == NK_OK) code = nk_output_commit(output);
  }
  nk_output_free(output);
  cli_groups_free(&groups);
  nk_vectors_free(set);
  nk_free(rows);
  return code;
}

/* ---- Tables ---- */

static int write_columns(struct cli_table *table, const char *const *names, size_t n) {
  int code = NK_OK;
  for (size_t i = 0; i < n && code == NK_OK; i++) code = cli_table_column(table, names[i]);
  return code;
}

/* Whether an operand is the set among regions: neither is ever taken for the other. */
static int is_set(const char *operand, bool *out) {
  struct nk_region *region = strcmp(operand, "-") != 0 ? nk_region_read(operand) : NULL;
  *out = region == NULL;
  nk_region_free(region);
  if (!*out || strcmp(operand, "-") == 0) return NK_OK;
  return nk_error_code() == NK_EDATA ? NK_OK : nk_error_code();
}

/* What is scored, and by which of the operands: the last one or the first one is the set where it
 * is no region, otherwise the set is standard input. */
static int find_set(const struct cli_run *run, const char **set, char *const **regions, size_t *n) {
  size_t last = run->n_operands - 1;
  bool is_last = false, is_first = false;
  int code = last > 1 ? is_set(run->operands[last], &is_last) : NK_OK;
  if (code == NK_OK && last > 1 && !is_last) code = is_set(run->operands[1], &is_first);
  *set = is_last ? run->operands[last] : is_first ? run->operands[1] : "-";
  *regions = (char *const *)run->operands + 1 + is_first;
  *n = last - (is_last || is_first);
  return code;
}

static int score(const struct cli_run *run, const struct options *o, struct cli_table *table) {
  struct cli_region_scores scores = {0};
  size_t n = 0;
  const char *path;
  char *const *regions;
  struct nk_vectors *set = NULL;
  int code = find_set(run, &path, &regions, &n);
  if (code == NK_OK && n > 1 && o->by != NULL)
    code = nk_fail(NK_EUSAGE, "--by: the regions are named by one operand with {}");
  if (code == NK_OK) {
    set = nk_vectors_read(path);
    code = set != NULL ? cli_check_finite(&set, o->skip_bad) : nk_error_code();
  }
  if (code == NK_OK)
    code = n > 1 || o->all ? cli_region_scores_best(&scores, set, regions, n)
                           : cli_region_scores_by(&scores, set, regions[0], o->by);
  if (code == NK_OK) code = cli_region_scores_write(&scores, set, o->level, o->all, table);
  cli_region_scores_free(&scores);
  nk_vectors_free(set);
  return code;
}

static int property(struct cli_table *table, const char *name, const char *text, double number) {
  cli_table_string(table, name);
  if (text != NULL)
    cli_table_string(table, text);
  else
    cli_table_number(table, number);
  return cli_table_end_row(table);
}

static int info(const struct options *o, const struct nk_region *region, struct cli_table *table) {
  static const char *const COLUMNS[] = {"property", "value"};
  static const char *const KEPT[] = {"", "F32", "F16", "BF16", "none"};
  const char *model = nk_vectors_metadata(region->tokens, "noken.model");
  const char *space = nk_vectors_metadata(region->tokens, "noken.space");
  const struct nk_conformal *calibration = region->calibration;
  const double half = 0.5;
  double median;
  nk_quantiles(calibration->scores, calibration->n, &half, 1, &median); /* sorted already */
  bool knn = region->kind == NK_REGION_KNN || region->kind == NK_REGION_COMBINED;
  bool subspace = region->kind == NK_REGION_SUBSPACE || region->kind == NK_REGION_COMBINED;
  int code = write_columns(table, COLUMNS, 2);
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
      {"p_min", NULL, calibration->p_min, true},
      {"median_score", NULL, median, true},
      {"largest_score", NULL, calibration->scores[calibration->n - 1], true},
      {"level", NULL, o->level, true},
      {"threshold", NULL, nk_region_threshold(region, o->level), true},
  };
  for (size_t i = 0; i < sizeof properties / sizeof properties[0] && code == NK_OK; i++)
    if (properties[i].shown)
      code = property(table, properties[i].name, properties[i].text, properties[i].number);
  return code;
}

static int ellipse(const struct options *o, struct nk_region *region, struct cli_table *table) {
  int64_t *chosen = NULL;
  size_t n_chosen = 0;
  struct nk_pca *other = NULL;
  struct plot_normal normal;
  double *x = NULL, *y = NULL;
  char names[2][32];
  int code = cli_parse_ids("--components", o->components, &chosen, &n_chosen);
  if (code == NK_OK && (n_chosen != 2 || chosen[0] < 1 || chosen[1] < 1))
    code = nk_fail(NK_EUSAGE, "--components: two numbers from 1, as in 1,2");
  if (code == NK_OK && o->with != NULL && (other = nk_pca_read(o->with)) == NULL)
    code = nk_error_code();
  const struct nk_pca *basis = code != NK_OK   ? NULL
                               : other != NULL ? other
                                               : nk_region_basis(region);
  if (code == NK_OK && basis == NULL) code = nk_error_code();
  if (code == NK_OK)
    code =
        plot_project_region(region, basis, (size_t)chosen[0] - 1, (size_t)chosen[1] - 1, &normal);
  if (code == NK_OK) {
    x = nk_alloc(o->points, sizeof *x);
    y = nk_alloc(o->points, sizeof *y);
    if (x == NULL || y == NULL) code = NK_EMEMORY;
  }
  for (int i = 0; i < 2 && code == NK_OK; i++) {
    snprintf(names[i], sizeof names[i], "pc%lld", (long long)chosen[i]);
    code = cli_table_column(table, names[i]);
  }
  if (code == NK_OK) plot_ellipse(&normal, 1 - o->level, o->points, x, y);
  for (size_t i = 0; i < o->points && code == NK_OK; i++) {
    cli_table_number(table, x[i]);
    cli_table_number(table, y[i]);
    code = cli_table_end_row(table);
  }
  nk_pca_free(other);
  nk_free(chosen);
  nk_free(x);
  nk_free(y);
  return code;
}

/* score, info and ellipse: a table from a region. */
static int write_table(const struct cli_run *run, const struct options *o, const char *verb) {
  struct nk_output *output = NULL;
  struct cli_table *table = NULL;
  bool scores = strcmp(verb, "score") == 0; /* which reads its regions by itself */
  struct nk_region *region = scores ? NULL : nk_region_read(run->operands[1]);
  if (scores || region != NULL) output = cli_output(run, NK_OUTPUT_TEXT);
  if (output != NULL) table = cli_new_table(run, output);
  int code = table != NULL ? NK_OK : nk_error_code();
  if (code == NK_OK)
    code = scores                      ? score(run, o, table)
           : strcmp(verb, "info") == 0 ? info(o, region, table)
                                       : ellipse(o, region, table);
  code = cli_close(table, output, code);
  nk_region_free(region);
  return code;
}

static int work(const struct cli_run *run, const struct options *o) {
  static const struct {
    const char *name;
    size_t least, most;
  } VERBS[] = {{"fit", 1, 2}, {"score", 2, CLI_MOST}, {"info", 2, 2}, {"ellipse", 2, 2}};
  const char *verb = run->operands[0];
  if (!(o->level > 0 && o->level < 1))
    return nk_fail(NK_EUSAGE, "--level: a number between 0 and 1");
  if (o->n_components == 0) return nk_fail(NK_EUSAGE, "--subspace: at least 1 component");
  if (o->k == 0) return nk_fail(NK_EUSAGE, "-k: at least 1 neighbour");
  if (o->include_all && o->exclude.n > 0)
    return nk_fail(NK_EUSAGE, "--include-all and --exclude exclude each other");
  if (o->by != NULL && strcmp(verb, "fit") != 0 && strcmp(verb, "score") != 0)
    return nk_fail(NK_EUSAGE, "--by: fit and score take it");
  if (o->all && (strcmp(verb, "score") != 0 || o->by != NULL))
    return nk_fail(NK_EUSAGE, "--all: score takes it, without --by");
  for (size_t i = 0; i < sizeof VERBS / sizeof VERBS[0]; i++) {
    if (strcmp(verb, VERBS[i].name) != 0) continue;
    if (run->n_operands < VERBS[i].least || run->n_operands > VERBS[i].most)
      return nk_fail(NK_EUSAGE, "%s: the operands are %s", verb,
                     i == 0   ? "[SET]"
                     : i == 1 ? "REGION... [SET]"
                              : "REGION");
    return i == 0 ? fit(run, o) : write_table(run, o, verb);
  }
  return nk_fail(NK_EUSAGE, "unknown command '%s': fit, score, info or ellipse", verb);
}

int main(int argc, char **argv) {
  struct options o = {
      .k = 10, .n_components = UNSET, .points = 181, .components = "1,2", .level = 0.05};
  const struct cli_option options[] = {
      {0, "kind", CLI_OPTION_CHOICE, &o.kind, "combined|mahalanobis|knn|subspace",
       "fit: score (default: combined)"},
      {'k', "neighbours", CLI_OPTION_SIZE, &o.k, "K",
       "knn: distance to the K-th neighbour (default: 10)"},
      {0, "metric", CLI_OPTION_CHOICE, &o.metric, "l2|cosine", "knn: distance (default: l2)"},
      {0, "subspace", CLI_OPTION_SIZE, &o.n_components, "K",
       "subspace: top K components (default: 90% of variance)"},
      {0, "exclude", CLI_OPTION_LIST, &o.exclude, "TABLE",
       "fit: omit TABLE's ids (those verified)"},
      {0, "include-all", CLI_OPTION_FLAG, &o.include_all, NULL, "fit: include padding rows"},
      {0, "tokens", CLI_OPTION_CHOICE, &o.tokens, "auto|f32|f16|bf16|none",
       "fit: type in which tokens are kept (default: auto)"},
      {0, "by", CLI_OPTION_STRING, &o.by, "COLUMN",
       "fit, score: a region for each value of COLUMN; {} in its file's name is the value"},
      {0, "all", CLI_OPTION_FLAG, &o.all, NULL, "score: a p-value by each of several regions"},
      {0, "level", CLI_OPTION_NUMBER, &o.level, "A", "outside where p_value <= A (default: 0.05)"},
      {0, "components", CLI_OPTION_STRING, &o.components, "A,B",
       "ellipse: components (default: 1,2)"},
      {0, "with", CLI_OPTION_STRING, &o.with, "BASIS", "ellipse: components of a basis of nk-pca"},
      {0, "skip-bad", CLI_OPTION_FLAG, &o.skip_bad, NULL,
       "omit rows that hold a NaN or an infinity"},
  };
  const struct cli_tool tool = {
      .name = "nk-region",
      .summary = "region in distribution, and conformal p-values of vectors",
      .usage = "fit [SET] | score REGION... [SET] | info|ellipse REGION",
      .options = options,
      .n_options = sizeof options / sizeof options[0],
      .example = "nk-extract data/gpt2-tiny | nk-region fit -o in.safetensors",
  };
  struct cli_run run;
  cli_begin(&run, &tool, argc, argv, 1, CLI_MOST);
  int code = work(&run, &o);
  cli_strings_free(&o.exclude);
  return cli_end(&run, code);
}
