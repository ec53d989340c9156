/* Tables, written a cell at a time. A row is built in memory and written as a whole. */
#include "cli/table.h"

#include <math.h>
#include <string.h>
#include <strings.h>

#include "cli/frame.h"
#include "cli/names.h"

struct cli_table {
  struct nk_output *output;
  enum cli_table_format format;
  struct cli_names columns;
  size_t n_cells; /* of the current row */
  size_t n_rows;
  bool without_header;
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

void cli_table_omit_header(struct cli_table *table) {
  table->without_header = true;
}

int cli_table_column(struct cli_table *table, const char *name) {
  size_t index, n = table->columns.n;
  if (table->n_rows > 0 || table->n_cells > 0)
    return nk_fail(NK_EUSAGE, "column '%s' is named after the first cell", name);
  int code = cli_names_add(&table->columns, name, &index);
  return code == NK_OK && index < n ? nk_fail(NK_EDATA, "duplicate column '%s'", name) : code;
}

bool cli_table_has_column(const struct cli_table *table, const char *name) {
  return cli_names_find(&table->columns, name) >= 0;
}

/* ---- Escaping ----
 * nk_escape keeps a row on one line. Other programs, with their defaults, take a quotation mark for
 * the beginning of a cell that can hold line breaks (R within a cell too), and blank cells and some
 * words for missing values: those are escaped too. Miller undoes \t, \n and \\ by itself: with a
 * backslash as \x5C, undoing the escapes once more changes nothing. */

/* The words that pandas, R and csvkit take for missing values, in small letters. */
static const char *const missing_words[] = {
    "na",  "n/a",      "nan", "-nan",   "null",    "none",    "<na>",     "#n/a",
    "#na", "#n/a n/a", ".",   "1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan",
};

/* The number of bytes of the white space at the beginning of bytes [n]: ASCII's and Unicode's, as
 * Python's str.strip removes it. Control characters do not matter here: they are escaped anyway. */
static size_t space_length(const char *bytes, size_t n) {
  static const char *const spaces[] = {
      " ",
      "\xC2\xA0",
      "\xE1\x9A\x80",
      "\xE2\x80\xA8",
      "\xE2\x80\xA9",
      "\xE2\x80\xAF",
      "\xE2\x81\x9F",
      "\xE3\x80\x80",
  };
  for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++) {
    size_t length = strlen(spaces[i]);
    if (n >= length && memcmp(bytes, spaces[i], length) == 0) return length;
  }
  bool in_range = n >= 3 && memcmp(bytes, "\xE2\x80", 2) == 0; /* U+2000 to U+200A */
  return in_range && (unsigned char)bytes[2] >= 0x80 && (unsigned char)bytes[2] <= 0x8A ? 3 : 0;
}

/* Is the text, without the white space around it, empty or a word for a missing value? */
static bool looks_missing(const char *bytes, size_t n) {
  size_t begin = 0, end = 0, length;
  while ((length = space_length(bytes + begin, n - begin)) > 0) begin += length;
  for (size_t i = begin; i<n; i += length> 0 ? length : 1) {
    length = space_length(bytes + i, n - i);
    if (length == 0) end = i + 1;
  }
  if (begin == n) return n > 0;
  for (size_t i = 0; i < sizeof missing_words / sizeof *missing_words; i++)
    if (strlen(missing_words[i]) == end - begin &&
        strncasecmp(missing_words[i], bytes + begin, end - begin) == 0)
      return true;
  return false;
}

static void append_hex(struct nk_buffer *out, const char *bytes, size_t n) {
  for (size_t i = 0; i < n; i++) nk_buffer_printf(out, "\\x%02X", (unsigned char)bytes[i]);
}

void cli_escape_cell(struct nk_buffer *out, const char *bytes, size_t n) {
  size_t i = 0;
  if (looks_missing(bytes, n)) {
    i = space_length(bytes, n);
    if (i == 0) i = 1;
    append_hex(out, bytes, i);
  }
  while (i < n) {
    size_t stop = i;
    while (stop < n && bytes[stop] != '"' && bytes[stop] != '\\') stop++;
    nk_escape(out, bytes + i, stop - i);
    if (stop < n) append_hex(out, bytes + stop, 1);
    i = stop + 1;
  }
}

/* ---- Cells ---- */

/* Writes what precedes a cell's value. Returns false where no value follows: the cell is missing,
 * or there are more cells than columns. */
static bool begin_cell(struct cli_table *table, bool missing) {
  size_t cell = table->n_cells++;
  if (cell >= table->columns.n) return false;
  if (table->format == CLI_TABLE_TSV) {
    if (cell > 0) nk_buffer_byte(&table->row, '\t');
  } else if (!missing) {
    nk_buffer_text(&table->row, table->row.size > 0 ? "," : "{");
    const char *name = cli_names_item(&table->columns, cell);
    nk_buffer_quote(&table->row, name, strlen(name));
    nk_buffer_byte(&table->row, ':');
  }
  return !missing;
}

void cli_table_text(struct cli_table *table, const char *bytes, size_t n) {
  if (!begin_cell(table, false)) return;
  if (table->format == CLI_TABLE_TSV) {
    cli_escape_cell(&table->row, bytes, n);
  } else {
    nk_buffer_clear(&table->scratch);
    cli_escape_cell(&table->scratch, bytes, n);
    nk_buffer_quote(&table->row, table->scratch.data, table->scratch.size);
    if (table->scratch.failed) table->row.failed = true;
  }
}

void cli_table_string(struct cli_table *table, const char *string) {
  cli_table_text(table, string, strlen(string));
}

void cli_table_cell(struct cli_table *table, const char *cell) {
  struct nk_buffer raw = {0};
  nk_unescape(&raw, cell, strlen(cell));
  cli_table_text(table, raw.data, raw.size);
  if (raw.failed) table->row.failed = true;
  nk_buffer_free(&raw);
}

/* The cell's backslashes begin its escapes, and stay. */
static void append_copy(struct nk_buffer *out, const char *cell) {
  for (size_t n; *cell != 0; cell += n) {
    n = strcspn(cell, "\\\"");
    nk_escape(out, cell, n);
    if (n > 0) continue;
    n = 1;
    if (*cell == '"')
      append_hex(out, cell, n);
    else
      nk_buffer_byte(out, *cell);
  }
}

void cli_table_copy(struct cli_table *table, const char *cell, bool number) {
  bool json = table->format == CLI_TABLE_JSON;
  if (!begin_cell(table, *cell == 0 || (json && number && cli_frame_is_missing(cell)))) return;
  bool quoted = json && (!number || strchr(cell, 'i') != NULL); /* inf */
  nk_buffer_clear(&table->scratch);
  append_copy(&table->scratch, cell);
  if (table->scratch.failed)
    table->row.failed = true;
  else if (quoted)
    nk_buffer_quote(&table->row, table->scratch.data, table->scratch.size);
  else
    nk_buffer_append(&table->row, table->scratch.data, table->scratch.size);
}

void cli_table_integer(struct cli_table *table, int64_t value) {
  if (begin_cell(table, false)) nk_buffer_integer(&table->row, value);
}

void cli_table_number(struct cli_table *table, double value) {
  if (!begin_cell(table, isnan(value))) return;
  const char *word = value > 0 ? "inf" : "-inf";
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

void cli_table_fail(struct cli_table *table) {
  table->row.failed = true;
}

static int write_header(struct cli_table *table) {
  struct nk_buffer line = {0};
  if (table->without_header || table->format != CLI_TABLE_TSV) return NK_OK;
  for (size_t i = 0; i < table->columns.n; i++) {
    const char *name = cli_names_item(&table->columns, i);
    if (i > 0) nk_buffer_byte(&line, '\t');
    cli_escape_cell(&line, name, strlen(name));
  }
  nk_buffer_byte(&line, '\n');
  int code = line.failed ? nk_fail(NK_EMEMORY, "out of memory for a table's header")
                         : nk_output_write(table->output, line.data, line.size);
  nk_buffer_free(&line);
  return code;
}

int cli_table_end_row(struct cli_table *table) {
  int code = NK_OK;
  if (table->n_cells != table->columns.n)
    return nk_fail(NK_EUSAGE, "a row has %zu cells, the table %zu columns", table->n_cells,
                   table->columns.n);
  if (table->n_rows == 0) code = write_header(table);
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
  int code = table->n_rows == 0 ? write_header(table) : NK_OK;
  cli_table_free(table);
  return code;
}

void cli_table_free(struct cli_table *table) {
  if (table == NULL) return;
  cli_names_free(&table->columns);
  nk_buffer_free(&table->row);
  nk_buffer_free(&table->scratch);
  nk_free(table);
}
