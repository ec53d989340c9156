/* The table of a vocabulary: a row for each id. */
#include "tokens/tokens.h"

static int print_token(const struct tokens_job *job, size_t id, enum nk_category category,
                       struct cli_table *table) {
  size_t n;
  const char *bytes = nk_tokenizer_bytes(job->tokenizer, id, &n);
  cli_table_integer(table, (int64_t)id);
  if (bytes != NULL)
    cli_table_text(table, bytes, n);
  else
    cli_table_missing(table);
  cli_table_string(table, nk_category_names[category]);
  return cli_table_end_row(table);
}

int tokens_vocabulary(const struct tokens_job *job, struct cli_table *table) {
  static const char *const columns[] = {"id", "text", "category"};
  enum nk_category *category = NULL;
  size_t n_rows = 0, n_tokens = nk_tokenizer_n_tokens(job->tokenizer);
  int code = nk_model_count_rows(job->run->operands[0], &n_rows);
  if (code != NK_OK) return code;
  if (n_rows < n_tokens) n_rows = n_tokens;
  if ((category = nk_alloc(n_rows, sizeof *category)) == NULL) return NK_EMEMORY;
  code = nk_tokenizer_categories(job->tokenizer, n_rows, category);
  for (size_t c = 0; c < 3 && code == NK_OK; c++) code = cli_table_column(table, columns[c]);
  for (size_t id = 0; id < n_rows && code == NK_OK; id++) {
    if (job->options->no_special && category[id] == NK_TOKEN_SPECIAL) continue;
    code = print_token(job, id, category[id], table);
  }
  nk_free(category);
  return code;
}
