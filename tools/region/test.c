/* nk-region test: is a set as a whole like the tokens of a region? */
#include "region/region.h"

int region_test(const struct cli_run *run, const struct region_options *o,
                const struct nk_region *region, struct cli_table *table) {
  static const char *const COLUMNS[] = {"rows", "tokens",  "coordinates", "mmd2",
                                        "auc",  "p_value", "p_min",       "p_simes"};
  const struct nk_set_test_options options = {.n_permutations = o->n_permutations,
                                              .seed = run->common.seed};
  struct nk_set_test test = {0};
  struct nk_vectors *set = nk_vectors_read(cli_operand(run, 2));
  int code = set != NULL ? cli_check_finite(&set, o->skip_bad) : nk_error_code();
  if (code == NK_OK && region->tokens->values == NULL) {
    code = nk_fail(NK_EUSAGE,
                   "%s: the region does not hold its tokens, which the set is compared with: fit "
                   "it with --tokens auto",
                   run->operands[1]);
  } else if (code == NK_OK) {
    code = nk_region_test(region, set, &options, &test);
    if (code != NK_OK) nk_fail_in(code, "%s by %s", cli_operand_name(run, 2), run->operands[1]);
  }
  nk_vectors_free(set);
  for (size_t c = 0; c < sizeof COLUMNS / sizeof *COLUMNS && code == NK_OK; c++)
    code = cli_table_column(table, COLUMNS[c]);
  if (code != NK_OK) return code;
  cli_table_integer(table, (int64_t)test.n_rows);
  cli_table_integer(table, (int64_t)test.n_tokens);
  cli_table_string(table, test.whitened ? "whitened" : "raw");
  const double numbers[] = {test.mmd2, test.auc, test.p_value, test.p_min, test.p_simes};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) cli_table_number(table, numbers[i]);
  return cli_table_end_row(table);
}
