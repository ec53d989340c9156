/* nk-region fit: the rows that are fitted, and a region of them or of each group of them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/groups.h"
#include "region/region.h"

static int compare_ids(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

/* rows [*n] of set that the region is fitted to. */
static int choose_rows(const struct nk_vectors *set, const struct region_options *o, size_t *rows,
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
static int fit_groups(const struct cli_run *run, const struct region_options *o,
                      struct nk_vectors *set, const struct cli_groups *groups,
                      const struct nk_region_options *options) {
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

int region_fit(const struct cli_run *run, const struct region_options *o) {
  struct nk_region_options options = {
      .kind = (enum nk_region_kind)o->kind,
      .k = o->k,
      .metric = o->metric == 1 ? NK_METRIC_COSINE : NK_METRIC_L2,
      .n_components = o->n_components == REGION_NOT_GIVEN ? 0 : o->n_components,
      .seed = run->common.seed,
      .tokens = (enum nk_region_tokens)o->tokens};
  struct nk_output *output = NULL;
  struct cli_groups groups = {0};
  size_t *rows = NULL, n = 0;
  struct nk_vectors *set = nk_vectors_read(run->n_operands > 1 ? run->operands[1] : "-");
  int code = set != NULL ? cli_check_finite(&set, o->skip_bad) : nk_error_code();
  if (code == NK_OK && (rows = nk_alloc(set->n, sizeof *rows)) == NULL) code = NK_EMEMORY;
  if (code == NK_OK) code = choose_rows(set, o, rows, &n);
  if (code == NK_OK) code = cli_add_history(set, run->tool, run->argc, run->argv);
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
