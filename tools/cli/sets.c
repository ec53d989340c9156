/* Vector sets in tables. */
#include "cli/sets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/messages.h"

int cli_check_finite(struct nk_vectors **set, bool skip_bad) {
  return cli_hint(nk_vectors_check_finite(set, skip_bad), NK_EDATA,
                  "use --skip-bad to leave such rows out");
}

/* ---- The columns of tables made from a set ---- */

static bool is_taken(const char *name, const char *const *taken, size_t n_taken) {
  for (size_t i = 0; i < n_taken; i++) {
    if (strcmp(name, taken[i]) == 0) return true;
  }
  return false;
}

int cli_set_head(const struct nk_vectors *set, struct cli_table *table) {
  int code = cli_table_column(table, "id");
  return code == NK_OK && set->text_offsets != NULL ? cli_table_column(table, "text") : code;
}

void cli_set_row(const struct nk_vectors *set, size_t row, struct cli_table *table) {
  cli_table_integer(table, set->ids[row]);
  if (set->text_offsets == NULL) return;
  size_t n_bytes;
  const char *text = nk_vectors_text(set, row, &n_bytes);
  cli_table_text(table, text, n_bytes);
}

int cli_set_head_tail(const struct nk_vectors *set, const char *const *taken, size_t n_taken,
                      struct cli_table *table) {
  int code = NK_OK;
  for (size_t c = 0; c < set->n_columns && code == NK_OK; c++) {
    const char *name = set->columns[c].name;
    if (!is_taken(name, taken, n_taken)) code = cli_table_column(table, name);
  }
  return code;
}

/* The word with index `value` in the metadata noken.codes.NAME of the integer column NAME, and its
 * length; NULL where there is none. */
static const char *code_word(const struct nk_vectors *set, const struct nk_column *column,
                             int64_t value, size_t *length) {
  char key[128];
  snprintf(key, sizeof key, "noken.codes.%s", column->name);
  const char *word = nk_vectors_metadata(set, key);
  for (; word != NULL && value > 0; value--) {
    word = strchr(word, ' ');
    if (word != NULL) word++;
  }
  *length = word != NULL && value == 0 ? strcspn(word, " ") : 0;
  return *length > 0 ? word : NULL;
}

void cli_set_row_tail(const struct nk_vectors *set, size_t row, const char *const *taken,
                      size_t n_taken, struct cli_table *table) {
  for (size_t c = 0; c < set->n_columns; c++) {
    const struct nk_column *column = &set->columns[c];
    if (is_taken(column->name, taken, n_taken)) continue;
    if (column->dtype != NK_I64) {
      cli_table_number(table, column->data.number[row]);
      continue;
    }
    size_t length;
    const char *word = code_word(set, column, column->data.integer[row], &length);
    if (word != NULL)
      cli_table_text(table, word, length);
    else
      cli_table_integer(table, column->data.integer[row]);
  }
}

/* ---- The whole set ---- */

/* Is name one of v1 to vDIM? */
static bool is_value_name(const char *name, size_t dim) {
  char *end;
  if (name[0] != 'v' || name[1] < '1' || name[1] > '9') return false;
  unsigned long long number = strtoull(name + 1, &end, 10);
  return *end == 0 && number <= dim;
}

static int name_columns(const struct nk_vectors *set, struct cli_table *table) {
  int code = cli_set_head(set, table);
  for (size_t c = 0; c < set->n_columns && code == NK_OK; c++) {
    if (is_value_name(set->columns[c].name, set->dim)) {
      code =
          nk_fail(NK_EDATA, "the set's column '%s' has the name of a value", set->columns[c].name);
    }
  }
  if (code == NK_OK) code = cli_set_head_tail(set, NULL, 0, table);
  for (size_t i = 0; i < set->dim && code == NK_OK; i++) {
    char name[32];
    snprintf(name, sizeof name, "v%zu", i + 1);
    code = cli_table_column(table, name);
  }
  return code;
}

/* More columns than a table has use of; a set without rows has its number from a few bytes. */
enum { MAX_COLUMNS = 1 << 24, MAX_COLUMNS_OF_NOTHING = 1 << 16 };

int cli_write_vectors(const struct nk_vectors *set, struct cli_table *table) {
  if (set->dim > (set->n > 0 ? MAX_COLUMNS : MAX_COLUMNS_OF_NOTHING))
    return nk_fail(NK_EDATA, "%zu rows of %zu values: too many columns for a table", set->n,
                   set->dim);
  int code = name_columns(set, table);
  for (size_t row = 0; row < set->n && code == NK_OK; row++) {
    cli_set_row(set, row, table);
    cli_set_row_tail(set, row, NULL, 0, table);
    const float *values = set->values + row * set->dim;
    for (size_t i = 0; i < set->dim; i++) cli_table_number(table, (double)values[i]);
    code = cli_table_end_row(table);
    if (code == NK_OK && row % 1024 == 0) code = nk_progress("rows", row, set->n);
  }
  return code == NK_OK ? nk_progress("rows", set->n, set->n) : code;
}
