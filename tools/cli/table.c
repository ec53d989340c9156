/* Tables, written a cell at a time. A row is built in memory and written as a whole. */
#include "cli/table.h"

#include <math.h>
#include <string.h>

struct cli_table {
  struct nk_output *output;
  enum cli_table_format format;
  char **names;
  size_t n_columns;
  size_t n_cells; /* of the current row */
  size_t n_rows;
  struct nk_buffer row;
  struct nk_buffer scratch; /* an escaped text, before it is quoted for JSON */
};

struct cli_table *cli_table_new(struct nk_output *output, enum cli_table_format format) {
  struct cli_table *table = output != NULL ? nk_calloc(1, sizeof *table) : NULL;
  if (table == NULL) return NULL;
  table->output = output;
  table->format = format;
  return table;
}

int cli_table_column(struct cli_table *table, const char *name) {
  if (table->n_rows > 0 || table->n_cells > 0)
    return nk_fail(NK_EUSAGE, "column '%s' is named after the first cell", name);
  for (size_t i = 0; i < table->n_columns; i++)
    if (strcmp(table->names[i], name) == 0) return nk_fail(NK_EDATA, "duplicate column '%s'", name);
  char **names =
      nk_realloc(table->names, table->n_columns, table->n_columns + 1, sizeof *table->names);
  if (names == NULL) return NK_EMEMORY;
  table->names = names;
  names[table->n_columns] = nk_strdup(name);
  if (names[table->n_columns] == NULL) return NK_EMEMORY;
  table->n_columns++;
  return NK_OK;
}

/* Writes what precedes a cell's value. Returns false where no value follows: the cell is missing,
 * or there are more cells than columns. */
static bool begin_cell(struct cli_table *table, bool missing) {
  size_t cell = table->n_cells++;
  if (cell >= table->n_columns) return false;
  if (table->format == CLI_TABLE_TSV) {
    if (cell > 0) nk_buffer_byte(&table->row, '\t');
  } else if (!missing) {
    nk_buffer_text(&table->row, table->row.size > 0 ? "," : "{");
    nk_buffer_quote(&table->row, table->names[cell], strlen(table->names[cell]));
    nk_buffer_byte(&table->row, ':');
  }
  return !missing;
}

void cli_table_text(struct cli_table *table, const char *bytes, size_t n) {
  if (!begin_cell(table, false)) return;
  if (table->format == CLI_TABLE_TSV) {
    nk_escape(&table->row, bytes, n);
  } else {
    nk_buffer_clear(&table->scratch);
    nk_escape(&table->scratch, bytes, n);
    nk_buffer_quote(&table->row, table->scratch.data, table->scratch.size);
  }
}

void cli_table_string(struct cli_table *table, const char *string) {
  cli_table_text(table, string, strlen(string));
}

void cli_table_integer(struct cli_table *table, int64_t value) {
  if (begin_cell(table, false)) nk_buffer_integer(&table->row, value);
}

void cli_table_number(struct cli_table *table, double value) {
  if (!begin_cell(table, false)) return;
  const char *word = isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
  if (isfinite(value)) {
    nk_buffer_number(&table->row, value);
  } else if (table->format == CLI_TABLE_TSV) {
    nk_buffer_text(&table->row, word);
  } else {
    nk_buffer_quote(&table->row, word, strlen(word));
  }
}

void cli_table_missing(struct cli_table *table) {
  begin_cell(table, true);
}

void cli_table_known(struct cli_table *table, double value) {
  if (isnan(value))
    cli_table_missing(table);
  else
    cli_table_number(table, value);
}

static int write_header(struct cli_table *table) {
  struct nk_buffer line = {0};
  for (size_t i = 0; i < table->n_columns; i++) {
    if (i > 0) nk_buffer_byte(&line, '\t');
    nk_escape(&line, table->names[i], strlen(table->names[i]));
  }
  nk_buffer_byte(&line, '\n');
  int code = line.failed ? nk_fail(NK_EMEMORY, "out of memory for a table's header")
                         : nk_output_write(table->output, line.data, line.size);
  nk_buffer_free(&line);
  return code;
}

int cli_table_end_row(struct cli_table *table) {
  int code = NK_OK;
  if (table->n_cells != table->n_columns)
    return nk_fail(NK_EUSAGE, "a row has %zu cells, the table %zu columns", table->n_cells,
                   table->n_columns);
  if (table->format == CLI_TABLE_TSV && table->n_rows == 0) code = write_header(table);
  if (table->format == CLI_TABLE_JSON)
    nk_buffer_text(&table->row, table->row.size > 0 ? "}" : "{}");
  nk_buffer_byte(&table->row, '\n');
  if (code == NK_OK)
    code = table->row.failed ? nk_fail(NK_EMEMORY, "out of memory for a table's row")
                             : nk_output_write(table->output, table->row.data, table->row.size);
  nk_buffer_clear(&table->row);
  table->n_cells = 0;
  table->n_rows++;
  return code;
}

int cli_table_finish(struct cli_table *table) {
  int code = NK_OK;
  if (table->format == CLI_TABLE_TSV && table->n_rows == 0) code = write_header(table);
  cli_table_free(table);
  return code;
}

void cli_table_free(struct cli_table *table) {
  if (table == NULL) return;
  for (size_t i = 0; i < table->n_columns; i++) nk_free(table->names[i]);
  nk_free(table->names);
  nk_buffer_free(&table->row);
  nk_buffer_free(&table->scratch);
  nk_free(table);
}
