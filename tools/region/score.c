/* nk-region score: which operand is the set, and the table of its rows' scores. */
#include <string.h>

#include "region/region.h"

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

int region_score(const struct cli_run *run, const struct region_options *o,
                 struct cli_table *table) {
  struct cli_region_scores scores = {.guarantees = o->guarantees};
  size_t n = 0;
  const char *path;
  char *const *regions;
  struct nk_vectors *set = NULL;
  int code = find_set(run, &path, &regions, &n);
  if (code == NK_OK && n > 1 && o->by != NULL)
    code = nk_fail(NK_EUSAGE, "--by: the regions are named by one operand with {}");
  if (code == NK_OK && (n > 1 || o->all) && cli_asks_guarantee(&o->guarantees))
    code = nk_fail(NK_EUSAGE,
                   "--conditional, --fdr and --fdp: one region, or one for each value of --by");
  if (code == NK_OK) {
    set = nk_vectors_read(path);
    code = set != NULL ? cli_check_finite(&set, o->skip_bad) : nk_error_code();
  }
  if (code == NK_OK)
    code = n > 1 || o->all ? cli_region_scores_best(&scores, set, regions, n)
                           : cli_region_scores_by(&scores, set, regions[0], o->by);
  if (code == NK_OK && scores.n_own > 0)
    nk_warn(
        "%zu of %zu rows are tokens that the region was made of: no guarantee holds with them, "
        "nor that of p_value",
        scores.n_own, set->n);
  if (code == NK_OK && scores.n_unknown > 0)
    nk_warn(
        "the region holds no tokens (--tokens none): no guarantee holds with rows that it was "
        "made of, and whether there are any is not known");
  if (code == NK_OK) code = cli_region_scores_write(&scores, set, o->level, o->all, table);
  cli_region_scores_free(&scores);
  nk_vectors_free(set);
  return code;
}
