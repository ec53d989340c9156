/* The ranking, as the table that nk-glitch prints. */
#include <math.h>
#include <string.h>

#include "glitch/glitch.h"

static int64_t id_of(const struct glitch_tokens *t, size_t row) {
  return t->output != NULL ? t->output->ids[row] : (int64_t)row;
}

static const char *category_of(const struct glitch_tokens *t, size_t row) {
  if (t->category != NULL) return nk_category_names[t->category[row]];
  return t->glitch->role[row] == NK_ROLE_TEXT ? "ok" : "unused";
}

/* The table of --with. */
struct with {
  struct cli_frame *frame; /* NULL: none */
  int64_t *row_of;         /* [n] its row of each token, -1: none */
  bool *number;            /* [its columns] whether they are of numbers */
};

static int read_with(const struct glitch_tokens *t, struct with *with) {
  int code = glitch_read_table(t->options.with, t, &with->frame, &with->row_of);
  if (code != NK_OK) return code;
  with->number = cli_frame_number_columns(with->frame);
  return with->number == NULL ? NK_EMEMORY : NK_OK;
}

static void write_text(const struct glitch_tokens *t, size_t row, struct cli_table *table) {
  size_t n = 0;
  const char *text = "";
  if (t->output != NULL)
    text = nk_vectors_text(t->output, row, &n);
  else if (row < nk_tokenizer_n_tokens(t->tokenizer))
    text = nk_tokenizer_bytes(t->tokenizer, row, &n);
  cli_table_text(table, text != NULL ? text : "", n);
}

static bool has_text(const struct glitch_tokens *t) {
  return t->output != NULL ? t->output->text_offsets != NULL : t->tokenizer != NULL;
}

static int name_columns(const struct glitch_tokens *t, const struct cli_frame *with,
                        struct cli_table *table) {
  static const char *const own[] = {"id",    "text",    "category", "rank",
                                    "score", "p_value", "q_value"};
  int code = NK_OK;
  for (size_t c = 0; c < sizeof own / sizeof *own && code == NK_OK; c++)
    if (c != 1 || has_text(t)) code = cli_table_column(table, own[c]);
  for (size_t c = 0; c < t->glitch->n_columns && code == NK_OK; c++)
    code = cli_table_column(table, t->glitch->columns[c].name);
  for (size_t c = 0; c < CLI_TOKEN_TEXTS_COLUMNS && t->tokenizer != NULL && code == NK_OK; c++)
    code = cli_table_column(table, cli_token_texts_columns[c]);
  for (size_t c = 0; with != NULL && c < cli_frame_n_columns(with) && code == NK_OK; c++) {
    const char *name = cli_frame_column_name(with, c);
    bool taken = nk_glitch_find(t->glitch, name) != NULL;
    for (size_t o = 0; o < sizeof own / sizeof *own; o++)
      taken = taken || (strcmp(name, own[o]) == 0 && o > 1);
    for (size_t o = 0; o < CLI_TOKEN_TEXTS_COLUMNS && t->tokenizer != NULL; o++)
      taken = taken || strcmp(name, cli_token_texts_columns[o]) == 0;
    if (taken)
      return nk_fail(NK_EUSAGE, "%s: its column '%s' is one of this table's", t->options.with,
                     name);
    if (strcmp(name, "id") != 0 && strcmp(name, "text") != 0) code = cli_table_column(table, name);
  }
  return code;
}

static void write_with(const struct with *with, size_t row, struct cli_table *table) {
  int64_t with_row = with->row_of[row];
  for (size_t c = 0; c < cli_frame_n_columns(with->frame); c++) {
    const char *name = cli_frame_column_name(with->frame, c);
    if (strcmp(name, "id") == 0 || strcmp(name, "text") == 0) continue;
    const char *cell = with_row >= 0 ? cli_frame_cell(with->frame, (size_t)with_row, c) : "";
    cli_table_copy(table, cell, with->number[c]);
  }
}

static int write_row(const struct glitch_tokens *t, size_t row, const struct with *with,
                     struct cli_table *table) {
  const struct nk_glitch *glitch = t->glitch;
  cli_table_integer(table, id_of(t, row));
  if (has_text(t)) write_text(t, row, table);
  cli_table_string(table, category_of(t, row));
  cli_table_integer(table, (int64_t)glitch->rank[row]);
  cli_table_number(table, glitch->score[row]);
  cli_table_number(table, glitch->p_value[row]);
  cli_table_number(table, glitch->q_value[row]);
  for (size_t c = 0; c < glitch->n_columns; c++)
    cli_table_number(table, glitch->columns[c].values[row]);
  int code = t->tokenizer == NULL ? NK_OK : cli_token_texts_write(&t->texts, row, table);
  if (code != NK_OK) return code;
  if (with->frame != NULL) write_with(with, row, table);
  return cli_table_end_row(table);
}

int glitch_write_ranking(struct glitch_tokens *t, struct cli_table *table) {
  const struct nk_glitch *glitch = t->glitch;
  struct with with = {0};
  bool cut = t->options.top > 0 || t->options.fdr >= 0 || t->options.threshold > -INFINITY;
  size_t n = cut ? glitch->n_ranked : glitch->n;
  if (t->options.top > 0 && t->options.top < n) n = t->options.top;
  int code = t->options.with != NULL ? read_with(t, &with) : NK_OK;
  if (code == NK_OK && t->tokenizer != NULL)
    code = cli_token_texts_read(&t->texts, t->tokenizer, glitch->n);
  if (code == NK_OK) code = name_columns(t, with.frame, table);
  for (size_t at = 0; at < n && code == NK_OK; at++) {
    size_t row = glitch->order[at];
    if (cut && !(glitch->score[row] >= t->options.threshold)) break;
    if (t->options.fdr >= 0 && !(glitch->q_value[row] <= t->options.fdr)) break;
    code = write_row(t, row, &with, table);
  }
  cli_frame_free(with.frame);
  nk_free(with.row_of);
  nk_free(with.number);
  return code;
}
