/* Vector sets in tables. */
#include "cli/sets.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/messages.h"

int cli_check_finite(struct nk_vectors **set, bool skip_bad) {
  return cli_hint(nk_vectors_check_finite(set, skip_bad), NK_EDATA,
                  "use --skip-bad to leave such rows out");
}

/* ---- The columns of tables made from a set ---- */

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

void cli_set_prefix(struct nk_buffer *name) {
  size_t length = name->size;
  nk_buffer_text(name, "set_");
  if (name->failed) return;
  memmove(name->data + name->size - length, name->data, length);
  memcpy(name->data, "set_", 4);
}

/* Names a column of the table `name`, after as many times "set_" as make it unlike those before. */
static int name_column(const char *name, struct cli_table *table) {
  struct nk_buffer own = {0};
  nk_buffer_text(&own, name);
  nk_buffer_byte(&own, 0);
  while (!own.failed && cli_table_has_column(table, own.data)) cli_set_prefix(&own);
  int code = own.failed ? nk_fail(NK_EMEMORY, "no memory for a column's name")
                        : cli_table_column(table, own.data);
  nk_buffer_free(&own);
  return code;
}

int cli_set_head_tail(const struct nk_vectors *set, struct cli_table *table) {
  int code = NK_OK;
  for (size_t c = 0; c < set->n_columns && code == NK_OK; c++)
    code = name_column(set->columns[c].name, table);
  return code;
}

double cli_column_number(const struct nk_column *column, size_t row) {
  return column->dtype == NK_I64 ? (double)column->data.integer[row] : column->data.number[row];
}

bool cli_column_same(const struct nk_column *column, size_t a, size_t b) {
  if (column->dtype == NK_I64) return column->data.integer[a] == column->data.integer[b];
  double x = column->data.number[a], y = column->data.number[b];
  return x == y || (isnan(x) && isnan(y));
}

/* *words = the metadata with the words of a column's values, noken.codes.NAME, or NULL. NK_OK or
 * NK_EMEMORY. */
static int find_codes(const struct nk_vectors *set, const char *column, const char **words) {
  struct nk_buffer key = {0};
  nk_buffer_printf(&key, "noken.codes.%s", column);
  int code = key.failed ? nk_fail(NK_EMEMORY, "no memory for metadata") : NK_OK;
  *words = code == NK_OK ? nk_vectors_metadata(set, key.data) : NULL;
  nk_buffer_free(&key);
  return code;
}

int cli_copy_codes(const struct nk_vectors *from, const char *from_column, struct nk_vectors *to,
                   const char *to_column) {
  const char *words;
  int code = find_codes(from, from_column, &words);
  if (words == NULL) return code;
  struct nk_buffer key = {0};
  nk_buffer_printf(&key, "noken.codes.%s", to_column);
  code = key.failed ? nk_fail(NK_EMEMORY, "no memory for metadata")
                    : nk_vectors_set_metadata(to, key.data, words);
  nk_buffer_free(&key);
  return code;
}

static int copy_integers(const struct nk_column *column, const size_t *rows, const char *name,
                         struct nk_vectors *to) {
  int64_t *integers = nk_alloc(to->n, sizeof *integers);
  if (integers == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < to->n; i++) integers[i] = column->data.integer[rows[i]];
  int code = nk_vectors_set_integers(to, name, integers);
  nk_free(integers);
  return code;
}

static int copy_numbers(const struct nk_column *column, const size_t *rows, const char *name,
                        struct nk_vectors *to) {
  double *numbers = nk_alloc(to->n, sizeof *numbers);
  if (numbers == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < to->n; i++)
    numbers[i] = rows[i] == CLI_NO_ROW ? (double)NAN : cli_column_number(column, rows[i]);
  int code = nk_vectors_set_numbers(to, name, numbers);
  nk_free(numbers);
  return code;
}

int cli_copy_column(const struct nk_vectors *from, const struct nk_column *column,
                    const size_t *rows, const char *name, struct nk_vectors *to) {
  bool whole = column->dtype == NK_I64;
  for (size_t i = 0; i < to->n && whole; i++) whole = rows[i] != CLI_NO_ROW;
  int code = whole ? copy_integers(column, rows, name, to) : copy_numbers(column, rows, name, to);
  return code == NK_OK ? cli_copy_codes(from, column->name, to, name) : code;
}

/* The word with index `value`, and its length; NULL where there is none. */
static const char *find_word(const char *words, double value, size_t *length) {
  if (!(value >= 0 && value < 1e9) || value != trunc(value)) return NULL;
  for (size_t left = (size_t)value; words != NULL && left > 0; left--) {
    words = strchr(words, ' ');
    if (words != NULL) words++;
  }
  *length = words != NULL ? strcspn(words, " ") : 0;
  return *length > 0 ? words : NULL;
}

int cli_set_word(const struct nk_vectors *set, const struct nk_column *column, size_t row,
                 const char **word, size_t *n) {
  const char *words;
  *n = 0;
  *word = NULL;
  int code = find_codes(set, column->name, &words);
  if (code == NK_OK) *word = find_word(words, cli_column_number(column, row), n);
  return code;
}

void cli_set_cell(const struct nk_vectors *set, const struct nk_column *column, size_t row,
                  struct cli_table *table) {
  size_t length = 0;
  const char *word;
  if (cli_set_word(set, column, row, &word, &length) != NK_OK) cli_table_fail(table);
  if (word != NULL)
    cli_table_text(table, word, length);
  else if (column->dtype == NK_I64)
    cli_table_integer(table, column->data.integer[row]);
  else
    cli_table_number(table, cli_column_number(column, row));
}

void cli_set_row_tail(const struct nk_vectors *set, size_t row, struct cli_table *table) {
  for (size_t c = 0; c < set->n_columns; c++) cli_set_cell(set, &set->columns[c], row, table);
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
  if (code == NK_OK) code = cli_set_head_tail(set, table);
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
    cli_set_row_tail(set, row, table);
    const float *values = set->values + row * set->dim;
    for (size_t i = 0; i < set->dim; i++) cli_table_number(table, (double)values[i]);
    code = cli_table_end_row(table);
    if (code == NK_OK && row % 1024 == 0) code = nk_progress("rows", row, set->n);
  }
  return code == NK_OK ? nk_progress("rows", set->n, set->n) : code;
}
