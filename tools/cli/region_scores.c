/* Scores of a set's rows by regions. One region is in memory at a time. */
#include "cli/region_scores.h"

#include <math.h>
#include <noken/noken.h>
#include <string.h>

#include "cli/groups.h"
#include "cli/sets.h"

static int scores_alloc(struct cli_region_scores *scores, size_t n) {
  *scores = (struct cli_region_scores){
      .n = n,
      .score = nk_alloc(n, sizeof *scores->score),
      .p_value = nk_alloc(n, sizeof *scores->p_value),
      .p_min = nk_alloc(n, sizeof *scores->p_min),
  };
  bool ok = scores->score != NULL && scores->p_value != NULL && scores->p_min != NULL;
  return ok ? NK_OK : NK_EMEMORY;
}

static int check_dim(const struct nk_vectors *set, const struct nk_region *region) {
  if (set->dim == region->dim) return NK_OK;
  return nk_fail(NK_EDATA, "vectors have %zu values, the region is for %zu", set->dim, region->dim);
}

/* ---- A region for each group ---- */

/* Scores the rows of a group, ascending, by its region. */
static int score_group(const struct nk_vectors *set, const struct nk_region *region,
                       const size_t *rows, size_t n, const struct cli_region_scores *out) {
  size_t dim = set->dim;
  if (region == NULL) return nk_error_code();
  int code = check_dim(set, region);
  if (code != NK_OK) return code;
  for (size_t i = 0; i < n; i++) out->p_min[rows[i]] = region->calibration->p_min;
  if (n == set->n) return nk_region_score(region, set->values, n, out->score, out->p_value);
  float *x = nk_alloc(n, dim * sizeof *x);
  double *score = nk_alloc(n, sizeof *score), *p_value = nk_alloc(n, sizeof *p_value);
  code = x != NULL && score != NULL && p_value != NULL ? NK_OK : NK_EMEMORY;
  for (size_t i = 0; i < n && code == NK_OK; i++)
    memcpy(x + i * dim, set->values + rows[i] * dim, dim * sizeof *x);
  if (code == NK_OK) code = nk_region_score(region, x, n, score, p_value);
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    out->score[rows[i]] = score[i];
    out->p_value[rows[i]] = p_value[i];
  }
  nk_free(x);
  nk_free(score);
  nk_free(p_value);
  return code;
}

int cli_region_scores_by(struct cli_region_scores *scores, const struct nk_vectors *set,
                         const char *path, const char *by) {
  struct cli_groups groups = {0};
  int code = scores_alloc(scores, set->n);
  if (code == NK_OK) code = cli_groups_of(set, by, NULL, 0, &groups);
  for (size_t g = 0; g < groups.n && code == NK_OK; g++) {
    char *own = by != NULL ? cli_group_path("REGION", path, groups.value[g]) : NULL;
    struct nk_region *region =
        own != NULL || by == NULL ? nk_region_read(own != NULL ? own : path) : NULL;
    code = score_group(set, region, groups.rows + groups.begin[g],
                       groups.begin[g + 1] - groups.begin[g], scores);
    nk_region_free(region);
    nk_free(own);
  }
  cli_groups_free(&groups);
  return code;
}

/* ---- The best of several regions ---- */

/* A path without its folder and suffix. */
static char *base_name(const char *path) {
  static const char SUFFIX[] = ".safetensors";
  const char *slash = strrchr(path, '/'), *base = slash != NULL ? slash + 1 : path;
  size_t length = strlen(base), suffix = sizeof SUFFIX - 1;
  if (length > suffix && strcmp(base + length - suffix, SUFFIX) == 0) length -= suffix;
  return nk_strndup(base, length);
}

static int name_regions(struct cli_region_scores *scores, char *const *paths, size_t n) {
  bool same = false;
  scores->name = nk_calloc(n, sizeof *scores->name);
  if (scores->name == NULL) return NK_EMEMORY;
  for (scores->n_regions = 0; scores->n_regions < n; scores->n_regions++) {
    char *name = base_name(paths[scores->n_regions]);
    if (name == NULL) return NK_EMEMORY;
    scores->name[scores->n_regions] = name;
    for (size_t r = 0; r < scores->n_regions; r++)
      same = same || strcmp(scores->name[r], name) == 0;
  }
  for (size_t r = 0; r < n && same; r++) {
    nk_free(scores->name[r]);
    if ((scores->name[r] = nk_strdup(paths[r])) == NULL) return NK_EMEMORY;
  }
  return NK_OK;
}

/* What is known of each region once it has scored the rows. */
struct region {
  double *score;        /* [n] */
  double median, p_min; /* of its calibrating rows' scores; its least p-value */
};

/* p_value [n] of the rows by the region of the file, and what is kept of it. */
static int score_region(struct region *out, const struct nk_vectors *set, const char *path,
                        double *p_value) {
  const double half = 0.5;
  struct nk_region *region = nk_region_read(path);
  if (region == NULL) return nk_error_code();
  out->score = nk_alloc(set->n, sizeof *out->score);
  int code = out->score != NULL ? check_dim(set, region) : NK_EMEMORY;
  if (code == NK_OK) code = nk_region_score(region, set->values, set->n, out->score, p_value);
  if (code != NK_OK) nk_fail_in(code, "%s", path);
  nk_quantiles(region->calibration->scores, region->calibration->n, &half, 1, &out->median);
  out->p_min = region->calibration->p_min;
  nk_region_free(region);
  return code;
}

/* Whether a row fits the second region better than the first. p-values that not every region can
 * tell apart, up to the largest p_min, are equal: or a region of few rows got all strange ones. */
static bool is_better(const struct cli_region_scores *scores, const struct region *regions,
                      size_t row, size_t first, size_t second, double floor) {
  double p = fmax(floor, scores->p[first * scores->n + row]);
  double q = fmax(floor, scores->p[second * scores->n + row]);
  if (p != q) return q > p;
  return regions[second].score[row] / regions[second].median <
         regions[first].score[row] / regions[first].median;
}

static void choose_best(struct cli_region_scores *scores, const struct region *regions) {
  double floor = 0;
  for (size_t r = 0; r < scores->n_regions; r++) floor = fmax(floor, regions[r].p_min);
  for (size_t row = 0; row < scores->n; row++) {
    size_t best = 0;
    for (size_t r = 1; r < scores->n_regions; r++)
      if (is_better(scores, regions, row, best, r, floor)) best = r;
    scores->best[row] = best;
    scores->score[row] = regions[best].score[row];
    scores->p_value[row] = scores->p[best * scores->n + row];
    scores->p_min[row] = regions[best].p_min;
  }
}

int cli_region_scores_best(struct cli_region_scores *scores, const struct nk_vectors *set,
                           char *const *paths, size_t n_paths) {
  size_t n = set->n, n_values;
  struct region *regions = nk_calloc(n_paths, sizeof *regions);
  int code = scores_alloc(scores, n);
  if (code == NK_OK) code = name_regions(scores, paths, n_paths);
  scores->best = nk_calloc(n, sizeof *scores->best);
  if (nk_size_mul(n, n_paths, &n_values)) scores->p = nk_alloc(n_values, sizeof *scores->p);
  if (regions == NULL || scores->best == NULL || scores->p == NULL) code = NK_EMEMORY;
  for (size_t r = 0; r < n_paths && code == NK_OK; r++)
    code = score_region(&regions[r], set, paths[r], scores->p + r * n);
  if (code == NK_OK) choose_best(scores, regions);
  for (size_t r = 0; r < n_paths && regions != NULL; r++) nk_free(regions[r].score);
  nk_free(regions);
  return code;
}

/* ---- The table ---- */

/* The columns after those of the set's head. */
static int write_head(const struct cli_region_scores *scores, const struct nk_vectors *set,
                      bool all, struct cli_table *table) {
  static const char *const COLUMNS[] = {"score", "p_value", "inside", "p_min"};
  int code = cli_set_head(set, table);
  if (code == NK_OK && scores->n_regions > 0) code = cli_table_column(table, "region");
  for (size_t c = 0; c < 4 && code == NK_OK; c++) code = cli_table_column(table, COLUMNS[c]);
  for (size_t r = 0; code == NK_OK && all && r < scores->n_regions; r++) {
    struct nk_buffer name = {0};
    nk_buffer_printf(&name, "p_value_%s", scores->name[r]);
    code = name.failed ? NK_EMEMORY : cli_table_column(table, name.data);
    nk_buffer_free(&name);
  }
  return code == NK_OK ? cli_set_head_tail(set, table) : code;
}

int cli_region_scores_write(const struct cli_region_scores *scores, const struct nk_vectors *set,
                            double level, bool all, struct cli_table *table) {
  int code = write_head(scores, set, all, table);
  for (size_t row = 0; code == NK_OK && row < set->n; row++) {
    cli_set_row(set, row, table);
    if (scores->n_regions > 0) cli_table_string(table, scores->name[scores->best[row]]);
    cli_table_number(table, scores->score[row]);
    cli_table_number(table, scores->p_value[row]);
    cli_table_integer(table, scores->p_value[row] > level);
    cli_table_number(table, scores->p_min[row]);
    for (size_t r = 0; all && r < scores->n_regions; r++)
      cli_table_number(table, scores->p[r * set->n + row]);
    cli_set_row_tail(set, row, table);
    code = cli_table_end_row(table);
  }
  return code;
}

void cli_region_scores_free(struct cli_region_scores *scores) {
  for (size_t r = 0; r < scores->n_regions; r++) nk_free(scores->name[r]);
  nk_free(scores->name);
  nk_free(scores->score);
  nk_free(scores->p_value);
  nk_free(scores->p_min);
  nk_free(scores->best);
  nk_free(scores->p);
}
