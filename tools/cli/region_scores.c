/* Scores of a set's rows by regions. One region is in memory at a time. */
#include "cli/region_scores.h"

#include <float.h>
#include <math.h>
#include <noken/noken.h>
#include <stdlib.h>
#include <string.h>

#include "cli/groups.h"
#include "cli/sets.h"

static int scores_alloc(struct cli_region_scores *scores, size_t n) {
  const struct cli_guarantees asked = scores->guarantees;
  *scores = (struct cli_region_scores){
      .n = n,
      .guarantees = asked,
      .score = nk_alloc(n, sizeof *scores->score),
      .p_value = nk_alloc(n, sizeof *scores->p_value),
      .p_min = nk_alloc(n, sizeof *scores->p_min),
      .p_conditional = asked.conditional > 0 ? nk_alloc(n, sizeof(double)) : NULL,
      .q_value = asked.fdr > 0 ? nk_alloc(n, sizeof(double)) : NULL,
      .fdp_bound = asked.fdp > 0 ? nk_alloc(n, sizeof(double)) : NULL,
  };
  bool ok = scores->score != NULL && scores->p_value != NULL && scores->p_min != NULL &&
            (scores->p_conditional != NULL) == (asked.conditional > 0) &&
            (scores->q_value != NULL) == (asked.fdr > 0) &&
            (scores->fdp_bound != NULL) == (asked.fdp > 0);
  return ok ? NK_OK : NK_EMEMORY;
}

static bool is_layer(const char *space) {
  return strncmp(space, "residual", 8) == 0 && (space[8] == 0 || space[8] == ':');
}

/* Whether the region can judge the set: with `layers` one of any layers' states those of others. */
static int check_fit(const struct nk_vectors *set, const struct nk_region *region, bool layers) {
  const char *of_set = nk_vectors_metadata(set, "noken.space");
  const char *of_region = nk_vectors_metadata(region->tokens, "noken.space");
  if (set->dim != region->dim)
    return nk_fail(NK_EDATA, "vectors have %zu values, the region is for %zu", set->dim,
                   region->dim);
  if (of_set == NULL || of_region == NULL || strcmp(of_set, of_region) == 0) return NK_OK;
  if (layers && is_layer(of_set) && is_layer(of_region)) return NK_OK;
  return nk_fail(NK_EDATA, "the set is of the space '%s', the region of '%s'", of_set, of_region);
}

/* ---- A region for each group ---- */

/* A token of a region. */
struct token {
  int64_t id;
  size_t row;
};

static int compare_tokens(const void *a, const void *b) {
  const struct token *x = a, *y = b;
  return (x->id > y->id) - (x->id < y->id);
}

/* Whether a row x [dim] has the values of a token, to the rounding of the type it is kept in: half
 * a unit in the last place, for a subnormal number of that type half of the least one. */
static bool is_token(const float *token, const float *x, size_t dim, enum nk_region_tokens keep) {
  float part = keep == NK_TOKENS_BF16 ? 0x1p-8f : keep == NK_TOKENS_F16 ? 0x1p-11f : 0;
  float least = keep == NK_TOKENS_F16 ? 0x1p-25f : 0;
  for (size_t j = 0; j < dim; j++)
    if (!(fabsf(token[j] - x[j]) <= fmaxf(part * fabsf(x[j]), least))) return false;
  return true;
}

/* Counts the rows [n] of a set that have the id and the values of a token of the region, of which
 * no guarantee speaks. */
static int count_own(const struct nk_vectors *set, const struct nk_region *region,
                     const size_t *rows, size_t n, struct cli_region_scores *out) {
  const struct nk_vectors *tokens = region->tokens;
  if (tokens->values == NULL) {
    if (cli_asks_guarantee(&out->guarantees)) out->n_unknown += n;
    return NK_OK;
  }
  struct token *sorted = nk_alloc(tokens->n, sizeof *sorted);
  if (sorted == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < tokens->n; i++) sorted[i] = (struct token){tokens->ids[i], i};
  qsort(sorted, tokens->n, sizeof *sorted, compare_tokens);
  for (size_t i = 0; i < n; i++) {
    const struct token wanted = {set->ids[rows[i]], 0};
    const struct token *own = bsearch(&wanted, sorted, tokens->n, sizeof *sorted, compare_tokens);
    out->n_own += own != NULL && is_token(tokens->values + own->row * set->dim,
                                          set->values + rows[i] * set->dim, set->dim, region->keep);
  }
  nk_free(sorted);
  return NK_OK;
}

/* column[rows[i]] = values[i] */
static void scatter(const double *values, const size_t *rows, size_t n, double *column) {
  for (size_t i = 0; i < n; i++) column[rows[i]] = values[i];
}

/* The guarantees of rows [n] of one region; room [2, n]. */
static int add_guarantees(const struct nk_region *region, const double *p_values,
                          const size_t *rows, size_t n, double *room,
                          struct cli_region_scores *out) {
  const struct nk_conformal *calibration = region->calibration;
  const struct cli_guarantees *asked = &out->guarantees;
  double *given = room, *values = room + n;
  int code = NK_OK;
  if (out->p_conditional != NULL) {
    code = nk_conformal_guarantee(calibration, NK_GUARANTEE_CONDITIONAL, asked->conditional,
                                  p_values, n, given);
    if (code == NK_OK) scatter(given, rows, n, out->p_conditional);
  }
  if (code == NK_OK && out->q_value != NULL) {
    code = nk_conformal_guarantee(calibration, NK_GUARANTEE_FDR, 0,
                                  out->p_conditional != NULL ? given : p_values, n, values);
    if (code == NK_OK) scatter(values, rows, n, out->q_value);
  }
  if (code == NK_OK && out->fdp_bound != NULL) {
    code = nk_conformal_guarantee(calibration, NK_GUARANTEE_FDP, asked->fdp, p_values, n, values);
    if (code == NK_OK) scatter(values, rows, n, out->fdp_bound);
  }
  return code;
}

/* Scores the rows of a group, ascending, by its region, which fits them. */
static int score_group(const struct nk_vectors *set, const struct nk_region *region,
                       const size_t *rows, size_t n, struct cli_region_scores *out) {
  size_t dim = set->dim;
  const float *x = set->values;
  float *own = NULL;
  int code = NK_OK;
  double *room = nk_alloc(n, 4 * sizeof *room), *p_values = NULL;
  if (n < set->n) x = own = nk_alloc(n, dim * sizeof *own);
  if (room == NULL || x == NULL) code = NK_EMEMORY;
  for (size_t i = 0; i < n && code == NK_OK && own != NULL; i++)
    memcpy(own + i * dim, set->values + rows[i] * dim, dim * sizeof *own);
  if (code == NK_OK) {
    p_values = room + n;
    code = nk_region_score(region, x, n, room, p_values);
  }
  if (code == NK_OK) {
    for (size_t i = 0; i < n; i++) out->p_min[rows[i]] = region->calibration->p_min;
    scatter(room, rows, n, out->score);
    scatter(p_values, rows, n, out->p_value);
    code = add_guarantees(region, p_values, rows, n, room + 2 * n, out);
  }
  if (code == NK_OK) code = count_own(set, region, rows, n, out);
  nk_free(own);
  nk_free(room);
  return code;
}

int cli_region_scores_by(struct cli_region_scores *scores, const struct nk_vectors *set,
                         const char *path, const char *by) {
  struct cli_groups groups = {0};
  int code = scores_alloc(scores, set->n);
  if (code == NK_OK) code = cli_groups_of(set, by, NULL, 0, &groups);
  for (size_t g = 0; g < groups.n && code == NK_OK; g++) {
    char *own = by != NULL ? cli_group_path("REGION", path, groups.value[g]) : NULL;
    const char *name = by != NULL ? own : path;
    struct nk_region *region = name != NULL ? nk_region_read(name) : NULL;
    if (region == NULL) {
      code = nk_error_code();
    } else if ((code = check_fit(set, region, by != NULL)) != NK_OK) {
      nk_fail_in(code, "%s", name);
    } else {
      code = score_group(set, region, groups.rows + groups.begin[g],
                         groups.begin[g + 1] - groups.begin[g], scores);
    }
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
  double *score;       /* [n] */
  double *log_density; /* [n] of its normal distribution, but for the same constant in all */
  double p_min;        /* its least p-value */
};

/* -(m^2 + log det S) / 2, with the Mahalanobis distance m and the covariance S. */
static int log_density(struct nk_region *region, const struct nk_vectors *set, double *out) {
  const struct nk_pca *basis = nk_region_basis(region);
  float *distance = nk_alloc(set->n, sizeof *distance);
  int code = basis == NULL ? nk_error_code() : distance == NULL ? NK_EMEMORY : NK_OK;
  if (code == NK_OK) code = nk_mahalanobis(region->gaussian, set->values, set->n, distance);
  if (code == NK_OK) {
    double log_det = 0;
    for (size_t k = 0; k < basis->dim; k++) log_det += log(fmax(basis->eigenvalues[k], DBL_MIN));
    for (size_t i = 0; i < set->n; i++)
      out[i] = -0.5 * ((double)distance[i] * (double)distance[i] + log_det);
  }
  nk_free(distance);
  return code;
}

/* p_value [n] of the rows by the region of the file, and what is kept of it. */
static int score_region(struct region *out, const struct nk_vectors *set, const char *path,
                        double *p_value) {
  struct nk_region *region = nk_region_read(path);
  if (region == NULL) return nk_error_code();
  out->score = nk_alloc(set->n, sizeof *out->score);
  out->log_density = nk_alloc(set->n, sizeof *out->log_density);
  int code =
      out->score != NULL && out->log_density != NULL ? check_fit(set, region, true) : NK_EMEMORY;
  if (code == NK_OK) code = nk_region_score(region, set->values, set->n, out->score, p_value);
  if (code == NK_OK) code = log_density(region, set, out->log_density);
  if (code != NK_OK) nk_fail_in(code, "%s", path);
  out->p_min = region->calibration->p_min;
  nk_region_free(region);
  return code;
}

static void choose_best(struct cli_region_scores *scores, const struct region *regions) {
  for (size_t row = 0; row < scores->n; row++) {
    size_t best = 0;
    for (size_t r = 1; r < scores->n_regions; r++)
      if (regions[r].log_density[row] > regions[best].log_density[row]) best = r;
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
  for (size_t r = 0; r < n_paths && regions != NULL; r++) {
    nk_free(regions[r].score);
    nk_free(regions[r].log_density);
  }
  nk_free(regions);
  return code;
}

/* ---- The table ---- */

struct column {
  const char *name;
  const double *values;
};

enum { N_COLUMNS = 5 };

/* The columns before `inside`, those of the guarantees where they are asked for. */
static void list_columns(const struct cli_region_scores *scores, struct column columns[N_COLUMNS]) {
  const struct column all[N_COLUMNS] = {{"score", scores->score},
                                        {"p_value", scores->p_value},
                                        {"p_conditional", scores->p_conditional},
                                        {"q_value", scores->q_value},
                                        {"fdp_bound", scores->fdp_bound}};
  memcpy(columns, all, sizeof all);
}

/* The columns after those of the set's head. */
static int write_head(const struct cli_region_scores *scores, const struct nk_vectors *set,
                      bool all, struct cli_table *table) {
  struct column columns[N_COLUMNS];
  int code = cli_set_head(set, table);
  list_columns(scores, columns);
  if (code == NK_OK && scores->n_regions > 0) code = cli_table_column(table, "region");
  for (size_t c = 0; c < N_COLUMNS && code == NK_OK; c++)
    if (columns[c].values != NULL) code = cli_table_column(table, columns[c].name);
  if (code == NK_OK) code = cli_table_column(table, "inside");
  if (code == NK_OK) code = cli_table_column(table, "p_min");
  for (size_t r = 0; code == NK_OK && all && r < scores->n_regions; r++) {
    struct nk_buffer name = {0};
    nk_buffer_printf(&name, "p_value_%s", scores->name[r]);
    code = name.failed ? NK_EMEMORY : cli_table_column(table, name.data);
    nk_buffer_free(&name);
  }
  return code == NK_OK ? cli_set_head_tail(set, table) : code;
}

static bool is_inside(const struct cli_region_scores *scores, size_t row, double level) {
  for (size_t r = 0; r < scores->n_regions; r++)
    if (scores->p[r * scores->n + row] > level) return true;
  if (scores->n_regions > 0) return false;
  if (scores->q_value != NULL) return scores->q_value[row] > scores->guarantees.fdr;
  if (scores->p_conditional != NULL) return scores->p_conditional[row] > level;
  return scores->p_value[row] > level;
}

int cli_region_scores_write(const struct cli_region_scores *scores, const struct nk_vectors *set,
                            double level, bool all, struct cli_table *table) {
  struct column columns[N_COLUMNS];
  int code = write_head(scores, set, all, table);
  list_columns(scores, columns);
  for (size_t row = 0; code == NK_OK && row < set->n; row++) {
    cli_set_row(set, row, table);
    if (scores->n_regions > 0) cli_table_string(table, scores->name[scores->best[row]]);
    for (size_t c = 0; c < N_COLUMNS; c++)
      if (columns[c].values != NULL) cli_table_number(table, columns[c].values[row]);
    cli_table_integer(table, is_inside(scores, row, level));
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
  nk_free(scores->p_conditional);
  nk_free(scores->q_value);
  nk_free(scores->fdp_bound);
  nk_free(scores->best);
  nk_free(scores->p);
}
