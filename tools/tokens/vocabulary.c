/* The table of a vocabulary: a row for each id. */
#include "cli/token_texts.h"
#include "tokens/tokens.h"

struct vocabulary {
  const struct tokens_job *job;
  size_t n;
  enum nk_category *category;   /* [n] */
  struct cli_token_texts texts; /* with --texts */
};

static int name_columns(const struct vocabulary *v, struct cli_table *table) {
  static const char *const columns[] = {"id", "text", "category"};
  int code = NK_OK;
  for (size_t c = 0; c < 3 && code == NK_OK; c++) code = cli_table_column(table, columns[c]);
  for (size_t c = 0; c < CLI_TOKEN_TEXTS_COLUMNS && v->job->options->texts && code == NK_OK; c++)
    code = cli_table_column(table, cli_token_texts_columns[c]);
  return code;
}

static int print_token(const struct vocabulary *v, size_t id, struct cli_table *table) {
  size_t n;
  int code = NK_OK;
  const char *bytes = nk_tokenizer_bytes(v->job->tokenizer, id, &n);
  cli_table_integer(table, (int64_t)id);
  if (bytes != NULL)
    cli_table_text(table, bytes, n);
  else
    cli_table_missing(table);
  cli_table_string(table, nk_category_names[v->category[id]]);
  if (v->job->options->texts) code = cli_token_texts_write(&v->texts, id, table);
  return code == NK_OK ? cli_table_end_row(table) : code;
}

int tokens_vocabulary(const struct tokens_job *job, struct cli_table *table) {
  struct vocabulary v = {.job = job};
  int code = tokens_count_ids(job, &v.n);
  if (code != NK_OK) return code;
  if ((v.category = nk_alloc(v.n, sizeof *v.category)) == NULL) return NK_EMEMORY;
  code = nk_tokenizer_categories(job->tokenizer, v.n, v.category);
  if (code == NK_OK && job->options->texts)
    code = cli_token_texts_read(&v.texts, job->tokenizer, v.n);
  if (code == NK_OK) code = name_columns(&v, table);
  for (size_t id = 0; id < v.n && code == NK_OK; id++) {
    if (job->options->no_special && v.category[id] == NK_TOKEN_SPECIAL) continue;
    code = print_token(&v, id, table);
  }
  cli_token_texts_free(&v.texts);
  nk_free(v.category);
  return code;
}
