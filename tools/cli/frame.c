/* Tables, read into memory. The bytes of a TSV are kept once, tabs and line ends replaced by 0, and
 * a cell is an offset into them. JSON Lines are converted to TSV first. */
#include "cli/frame.h"

#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct cli_frame {
  char *name;
  char *bytes;   /* all cells, each 0-terminated */
  size_t *cells; /* [n_rows, n_columns] offsets into bytes */
  char **names;  /* [n_columns] unescaped */
  size_t n_rows;
  size_t n_columns;
};

/* ---- TSV ---- */

/* The end of the line that begins at i, without its LF or CR LF; *next is the beginning of the line
 * after it. */
static size_t line_end(const char *bytes, size_t size, size_t i, size_t *next) {
  const char *newline = memchr(bytes + i, '\n', size - i);
  size_t end = newline != NULL ? (size_t)(newline - bytes) : size;
  *next = newline != NULL ? end + 1 : size;
  return end > i && bytes[end - 1] == '\r' ? end - 1 : end;
}

static size_t count_cells(const char *bytes, size_t begin, size_t end) {
  size_t n = 1;
  for (size_t i = begin; i < end; i++) n += bytes[i] == '\t';
  return n;
}

/* The unescaped text of bytes [n]. Free with nk_free. */
static char *unescaped(const char *bytes, size_t n) {
  struct nk_buffer text = {0};
  nk_unescape(&text, bytes, n);
  char *copy = text.failed ? NULL : nk_strndup(text.size > 0 ? text.data : "", text.size);
  nk_buffer_free(&text);
  return copy;
}

/* Takes the columns' names from the header line, bytes [begin, end). */
static int set_names(struct cli_frame *frame, size_t begin, size_t end) {
  size_t n_columns = count_cells(frame->bytes, begin, end);
  frame->names = nk_calloc(n_columns, sizeof *frame->names);
  if (frame->names == NULL) return NK_EMEMORY;
  frame->n_columns = n_columns;
  for (size_t i = begin, column = 0; column < n_columns; column++) {
    const char *tab = memchr(frame->bytes + i, '\t', end - i);
    size_t stop = tab != NULL ? (size_t)(tab - frame->bytes) : end;
    char *name = unescaped(frame->bytes + i, stop - i);
    if (name == NULL) return NK_EMEMORY;
    frame->names[column] = name;
    if (cli_frame_find(frame, name) != (int64_t)column)
      return nk_fail(NK_EDATA, "%s: duplicate column '%s'", frame->name, name);
    i = stop + 1;
  }
  return NK_OK;
}

/* Ends the cells of a row, bytes [begin, end), and keeps their offsets. `line` is for messages. */
static int add_row(struct cli_frame *frame, size_t begin, size_t end, size_t line) {
  size_t n = count_cells(frame->bytes, begin, end);
  if (n != frame->n_columns)
    return nk_fail(NK_EDATA, "%s: line %zu has %zu cells, the header has %zu", frame->name, line, n,
                   frame->n_columns);
  if (memchr(frame->bytes + begin, 0, end - begin) != NULL)
    return nk_fail(NK_EDATA, "%s: line %zu contains a zero byte: not a text table", frame->name,
                   line);
  size_t *cell = frame->cells + frame->n_rows++ * frame->n_columns;
  *cell++ = begin;
  for (size_t i = begin; i < end; i++)
    if (frame->bytes[i] == '\t') {
      frame->bytes[i] = 0;
      *cell++ = i + 1;
    }
  frame->bytes[end] = 0; /* the LF, the CR, or the 0 that follows the last line */
  return NK_OK;
}

/* Takes the rows from the lines in bytes [begin, size). */
static int set_cells(struct cli_frame *frame, size_t size, size_t begin) {
  size_t n_lines = 0, next = begin;
  for (size_t i = begin; i < size; i = next, n_lines++) line_end(frame->bytes, size, i, &next);
  frame->cells = nk_alloc(n_lines, frame->n_columns * sizeof *frame->cells);
  if (frame->cells == NULL) return NK_EMEMORY;
  size_t line = 2; /* as an editor counts: the header is line 1 */
  for (size_t i = begin; i < size; i = next, line++) {
    size_t end = line_end(frame->bytes, size, i, &next);
    if (end == i && frame->n_columns > 1) continue; /* an empty line is not a row */
    int code = add_row(frame, i, end, line);
    if (code != NK_OK) return code;
  }
  return NK_OK;
}

static int parse_tsv(struct cli_frame *frame, const char *bytes, size_t size) {
  frame->bytes = nk_strndup(bytes, size);
  if (frame->bytes == NULL) return NK_EMEMORY;
  if (size == 0) return nk_fail(NK_EDATA, "%s: empty (a table needs a header line)", frame->name);
  size_t next, end = line_end(frame->bytes, size, 0, &next);
  int code = set_names(frame, 0, end);
  return code == NK_OK ? set_cells(frame, size, next) : code;
}

/* ---- JSON Lines, converted to TSV ---- */

/* Strings that cli_table wrote are escaped already; those of other programs can contain tabs and
 * newlines. */
static void append_string(struct nk_buffer *tsv, const char *text, size_t n) {
  for (size_t i = 0; i < n; i++) {
    if ((unsigned char)text[i] < 0x20) {
      nk_escape(tsv, text + i, 1);
    } else {
      nk_buffer_byte(tsv, text[i]);
    }
  }
}

static void append_value(struct nk_buffer *tsv, const json_t *value) {
  char *text;
  if (value == NULL) return;
  switch (json_typeof(value)) {
    case JSON_NULL:
      break;
    case JSON_TRUE:
    case JSON_FALSE:
      nk_buffer_byte(tsv, json_typeof(value) == JSON_TRUE ? '1' : '0');
      break;
    case JSON_INTEGER:
      nk_buffer_integer(tsv, json_integer_value(value));
      break;
    case JSON_REAL:
      nk_buffer_printf(tsv, "%.17g", json_real_value(value));
      break;
    case JSON_STRING:
      append_string(tsv, json_string_value(value), json_string_length(value));
      break;
    case JSON_ARRAY:
    case JSON_OBJECT:
      text = json_dumps(value, JSON_COMPACT);
      if (text == NULL)
        tsv->failed = true;
      else
        append_string(tsv, text, strlen(text));
      free(text);
      break;
  }
}

/* The array of the lines' objects, or NULL on failure. */
static json_t *parse_lines(const char *name, const char *bytes, size_t size) {
  json_t *rows = json_array();
  size_t line = 1, next;
  for (size_t i = 0; rows != NULL && i < size; i = next, line++) {
    size_t end = line_end(bytes, size, i, &next);
    if (end == i) continue;
    json_error_t error = {0};
    json_t *row = json_loadb(bytes + i, end - i, JSON_REJECT_DUPLICATES, &error);
    bool is_object = row != NULL && json_typeof(row) == JSON_OBJECT;
    if (is_object && json_array_append(rows, row) == 0) {
      json_decref(row);
      continue;
    }
    if (is_object)
      nk_fail(NK_EMEMORY, "%s: out of memory", name);
    else
      nk_fail(NK_EDATA, "%s: line %zu, column %d: %s", name, line, row != NULL ? 1 : error.column,
              row != NULL ? "not a JSON object" : error.text);
    json_decref(row);
    json_decref(rows);
    return NULL;
  }
  if (rows == NULL) nk_fail(NK_EMEMORY, "%s: out of memory", name);
  return rows;
}

/* An object whose keys are those of all rows, in the order of first appearance. NULL without
 * memory.
 */
static json_t *gather_columns(const json_t *rows) {
  json_t *columns = json_object();
  for (size_t i = 0; i < json_array_size(rows); i++) {
    json_t *row = json_array_get(rows, i);
    for (void *at = json_object_iter(row); at != NULL; at = json_object_iter_next(row, at)) {
      const char *key = json_object_iter_key(at);
      if (json_object_get(columns, key) != NULL) continue;
      if (json_object_set_new(columns, key, json_null()) == 0) continue;
      json_decref(columns);
      return NULL;
    }
  }
  return columns;
}

/* Appends a line with the names of the columns, then one with the cells of each row. */
static void append_table(struct nk_buffer *tsv, json_t *columns, const json_t *rows) {
  const char *separator = "";
  for (void *at = json_object_iter(columns); at != NULL; at = json_object_iter_next(columns, at)) {
    const char *key = json_object_iter_key(at);
    nk_buffer_text(tsv, separator);
    nk_escape(tsv, key, strlen(key));
    separator = "\t";
  }
  for (size_t i = 0; i < json_array_size(rows); i++) {
    const json_t *row = json_array_get(rows, i);
    separator = "\n";
    for (void *at = json_object_iter(columns); at != NULL;
         at = json_object_iter_next(columns, at)) {
      nk_buffer_text(tsv, separator);
      append_value(tsv, json_object_get(row, json_object_iter_key(at)));
      separator = "\t";
    }
  }
  nk_buffer_byte(tsv, '\n');
}

static int parse_json_lines(struct cli_frame *frame, const char *bytes, size_t size) {
  struct nk_buffer tsv = {0};
  json_t *rows = parse_lines(frame->name, bytes, size);
  if (rows == NULL) return nk_error_code();
  json_t *columns = gather_columns(rows);
  if (columns != NULL) append_table(&tsv, columns, rows);
  int code = columns == NULL || tsv.failed ? nk_fail(NK_EMEMORY, "%s: out of memory", frame->name)
                                           : parse_tsv(frame, tsv.data, tsv.size);
  nk_buffer_free(&tsv);
  json_decref(columns);
  json_decref(rows);
  return code;
}

/* ---- The frame ---- */

static int parse(struct cli_frame *frame, const struct nk_file *file) {
  const char *bytes = (const char *)file->data;
  frame->name = nk_strdup(file->name);
  if (frame->name == NULL) return NK_EMEMORY;
  if (file->size > 0 && bytes[0] == '{') return parse_json_lines(frame, bytes, file->size);
  return parse_tsv(frame, bytes, file->size);
}

struct cli_frame *cli_frame_read(const char *path) {
  struct nk_file *file = nk_file_open(path);
  if (file == NULL) return NULL;
  struct cli_frame *frame = nk_calloc(1, sizeof *frame);
  if (frame != NULL && parse(frame, file) != NK_OK) {
    cli_frame_free(frame);
    frame = NULL;
  }
  nk_file_free(file);
  return frame;
}

void cli_frame_free(struct cli_frame *frame) {
  if (frame == NULL) return;
  for (size_t i = 0; i < frame->n_columns; i++) nk_free(frame->names[i]);
  nk_free(frame->names);
  nk_free(frame->cells);
  nk_free(frame->bytes);
  nk_free(frame->name);
  nk_free(frame);
}

const char *cli_frame_name(const struct cli_frame *frame) {
  return frame->name;
}

size_t cli_frame_n_rows(const struct cli_frame *frame) {
  return frame->n_rows;
}

size_t cli_frame_n_columns(const struct cli_frame *frame) {
  return frame->n_columns;
}

const char *cli_frame_column_name(const struct cli_frame *frame, size_t column) {
  return frame->names[column];
}

int64_t cli_frame_find(const struct cli_frame *frame, const char *name) {
  for (size_t i = 0; i < frame->n_columns; i++)
    if (strcmp(frame->names[i], name) == 0) return (int64_t)i;
  return -1;
}

int64_t cli_frame_column(const struct cli_frame *frame, const char *name) {
  int64_t column = cli_frame_find(frame, name);
  if (column >= 0) return column;
  struct nk_buffer names = {0};
  for (size_t i = 0; i < frame->n_columns; i++) {
    nk_buffer_text(&names, i > 0 ? " " : "");
    nk_escape(&names, frame->names[i], strlen(frame->names[i]));
  }
  int code = nk_fail(NK_ENOTFOUND, "%s: no column '%s'; the columns are: %s", frame->name, name,
                     names.size > 0 ? names.data : "");
  nk_buffer_free(&names);
  return code;
}

const char *cli_frame_cell(const struct cli_frame *frame, size_t row, size_t column) {
  return frame->bytes + frame->cells[row * frame->n_columns + column];
}

/* The error for a cell that is not what was expected, "a number". */
static int bad_cell(const struct cli_frame *frame, size_t row, size_t column,
                    const char *expected) {
  const char *cell = cli_frame_cell(frame, row, column);
  if (*cell == 0)
    return nk_fail(NK_ENOTFOUND, "%s: row %zu, column '%s': the cell is empty", frame->name,
                   row + 1, frame->names[column]);
  return nk_fail(NK_EDATA, "%s: row %zu, column '%s': '%.40s' is not %s", frame->name, row + 1,
                 frame->names[column], cell, expected);
}

int cli_frame_number(const struct cli_frame *frame, size_t row, size_t column, double *out) {
  const char *cell = cli_frame_cell(frame, row, column);
  char *end;
  double value = strtod(cell, &end);
  if (end == cell || *end != 0) return bad_cell(frame, row, column, "a number");
  *out = value;
  return NK_OK;
}

int cli_frame_integer(const struct cli_frame *frame, size_t row, size_t column, int64_t *out) {
  const char *cell = cli_frame_cell(frame, row, column);
  char *end;
  errno = 0;
  long long value = strtoll(cell, &end, 10);
  if (end == cell || *end != 0 || errno != 0) return bad_cell(frame, row, column, "a whole number");
  *out = value;
  return NK_OK;
}

int cli_frame_integers(const struct cli_frame *frame, const char *name, int64_t **out) {
  int64_t column = cli_frame_column(frame, name);
  if (column < 0) return (int)column;
  int64_t *values = nk_alloc(frame->n_rows, sizeof *values);
  int code = values != NULL ? NK_OK : NK_EMEMORY;
  for (size_t row = 0; row < frame->n_rows && code == NK_OK; row++)
    code = cli_frame_integer(frame, row, (size_t)column, &values[row]);
  if (code == NK_OK)
    *out = values;
  else
    nk_free(values);
  return code;
}
