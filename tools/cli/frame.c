/* Tables read into memory. The bytes of a TSV are kept once, with tabs and newlines turned into the
 * cells' ends, and each cell is an offset into them; JSON Lines are first turned into the same. */
#include <errno.h>
#include <noken/base.h>
#include <stdlib.h>
#include <string.h>
#include "cli/table.h"

#include <jansson.h>

struct cli_frame {
  char *name;
  char *bytes;   /* all cells, each 0-terminated */
  size_t *cells; /* [n_rows, n_columns] offsets into bytes */
  char **names;  /* [n_columns] unescaped */
  size_t n_rows;
  size_t n_columns;
};

/* ---- TSV ---- */

/* The end of the line that begins at i; *next is where the following line begins. A line may end
 * in CR LF: tables come from other systems too. */
static size_t line_end(const char *bytes, size_t size, size_t i, size_t *next) {
  const char *newline = memchr(bytes + i, '\n', size - i);
  size_t end = newline ? (size_t)(newline - bytes) : size;
  *next = newline ? end + 1 : size;
  return end > i && bytes[end - 1] == '\r' ? end - 1 : end;
}

static size_t count_cells(const char *bytes, size_t begin, size_t end) {
  size_t n = 1;
  for (size_t i = begin; i < end; i++) n += bytes[i] == '\t';
  return n;
}

static int set_names(struct cli_frame *frame, size_t begin, size_t end) {
  frame->n_columns = count_cells(frame->bytes, begin, end);
  frame->names = nk_calloc(frame->n_columns, sizeof *frame->names);
  if (!frame->names) return NK_EMEMORY;
  struct nk_buffer name = {0};
  for (size_t i = begin, column = 0; column < frame->n_columns; column++) {
    const char *tab = memchr(frame->bytes + i, '\t', end - i);
    size_t stop = tab ? (size_t)(tab - frame->bytes) : end;
    nk_buffer_clear(&name);
    nk_unescape(&name, frame->bytes + i, stop - i);
    frame->names[column] = nk_strndup(name.data ? name.data : "", name.size);
    i = stop + 1;
    if (name.failed || !frame->names[column]) break;
    for (size_t k = 0; k < column; k++)
      if (strcmp(frame->names[k], frame->names[column]) == 0) {
        nk_buffer_free(&name);
        return nk_fail(NK_EDATA, "%s: two columns are called '%s'", frame->name,
                       frame->names[column]);
      }
  }
  nk_buffer_free(&name);
  return frame->names[frame->n_columns - 1] ? 0 : NK_EMEMORY;
}

static int set_cells(struct cli_frame *frame, size_t size, size_t begin) {
  size_t n_lines = 0, next = begin, n_cells;
  for (size_t i = begin; i < size; i = next, n_lines++) line_end(frame->bytes, size, i, &next);
  if (!nk_size_mul(n_lines, frame->n_columns, &n_cells))
    return nk_fail(NK_EDATA, "%s: too many cells", frame->name);
  frame->cells = nk_alloc(n_cells, sizeof *frame->cells);
  if (!frame->cells) return NK_EMEMORY;
  size_t line = 2; /* as an editor counts them: the header is line 1 */
  for (size_t i = begin; i < size; i = next, line++) {
    size_t end = line_end(frame->bytes, size, i, &next);
    if (end == i && frame->n_columns > 1) continue; /* an empty line is no row */
    size_t n = count_cells(frame->bytes, i, end);
    if (n != frame->n_columns)
      return nk_fail(NK_EDATA, "%s: line %zu has %zu cells, the header has %zu", frame->name, line,
                     n, frame->n_columns);
    if (memchr(frame->bytes + i, 0, end - i))
      return nk_fail(NK_EDATA, "%s: line %zu holds a zero byte: this is no text table", frame->name,
                     line);
    size_t *cell = frame->cells + frame->n_rows++ * frame->n_columns;
    *cell++ = i;
    for (size_t k = i; k < end; k++)
      if (frame->bytes[k] == '\t') {
        frame->bytes[k] = 0;
        *cell++ = k + 1;
      }
    frame->bytes[end] = 0; /* the newline, the CR, or the 0 kept behind the last line */
  }
  return 0;
}

static int parse_tsv(struct cli_frame *frame, const char *bytes, size_t size) {
  frame->bytes = nk_strndup(bytes, size);
  if (!frame->bytes) return NK_EMEMORY;
  if (size == 0)
    return nk_fail(NK_EDATA, "%s: empty, a table has at least a header line", frame->name);
  size_t next, end = line_end(frame->bytes, size, 0, &next);
  int code = set_names(frame, 0, end);
  return code == NK_OK ? set_cells(frame, size, next) : code;
}

/* ---- JSON Lines, turned into TSV ---- */

/* A string of cli_table is escaped already; what others wrote may hold tabs and newlines. */
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
  if (json_is_string(value)) {
    append_string(tsv, json_string_value(value), json_string_length(value));
  } else if (json_is_integer(value)) {
    nk_buffer_integer(tsv, json_integer_value(value));
  } else if (json_is_real(value)) {
    nk_buffer_printf(tsv, "%.17g", json_real_value(value));
  } else if (json_is_boolean(value)) {
    nk_buffer_text(tsv, json_is_true(value) ? "1" : "0");
  } else if (json_is_object(value) || json_is_array(value)) {
    char *text = json_dumps(value, JSON_COMPACT);
    if (text) append_string(tsv, text, strlen(text));
    free(text);
  }
}

/* The objects of the lines. Returns an array, or NULL. */
static json_t *parse_lines(const char *name, const char *bytes, size_t size) {
  json_t *rows = json_array();
  size_t line = 1, next;
  for (size_t i = 0; rows && i < size; i = next, line++) {
    size_t end = line_end(bytes, size, i, &next);
    if (end == i) continue;
    json_error_t error;
    json_t *row = json_loadb(bytes + i, end - i, JSON_REJECT_DUPLICATES, &error);
    if (row && json_is_object(row)) {
      json_array_append_new(rows, row);
      continue;
    }
    nk_fail(NK_EDATA, "%s: line %zu, column %d: %s", name, line, row ? 1 : error.column,
            row ? "an object is needed on each line" : error.text);
    json_decref(row);
    json_decref(rows);
    return NULL;
  }
  return rows;
}

/* Every key of any row is a column, in the order of first appearance. */
static json_t *gather_columns(const json_t *rows) {
  json_t *columns = json_object(), *row, *value;
  size_t i;
  const char *key;
  json_array_foreach(rows, i, row) {
    json_object_foreach(row, key, value) {
      if (!json_object_get(columns, key)) json_object_set_new(columns, key, json_null());
    }
  }
  return columns;
}

static int parse_json_lines(struct cli_frame *frame, const char *bytes, size_t size) {
  json_t *rows = parse_lines(frame->name, bytes, size);
  if (!rows) return NK_EDATA;
  json_t *columns = gather_columns(rows), *row, *unused;
  struct nk_buffer tsv = {0};
  const char *key, *separator = "";
  json_object_foreach(columns, key, unused) {
    nk_buffer_text(&tsv, separator);
    nk_escape(&tsv, key, strlen(key));
    separator = "\t";
  }
  size_t i;
  json_array_foreach(rows, i, row) {
    separator = "\n";
    json_object_foreach(columns, key, unused) {
      nk_buffer_text(&tsv, separator);
      append_value(&tsv, json_object_get(row, key));
      separator = "\t";
    }
  }
  nk_buffer_byte(&tsv, '\n');
  int code = tsv.failed ? nk_fail(NK_EMEMORY, "%s: out of memory", frame->name)
                        : parse_tsv(frame, tsv.data, tsv.size);
  nk_buffer_free(&tsv);
  json_decref(columns);
  json_decref(rows);
  return code;
}

/* ---- The frame ---- */

struct cli_frame *cli_frame_read(const char *path) {
  struct nk_file *file = nk_file_open(path);
  if (!file) return NULL;
  struct cli_frame *frame = nk_calloc(1, sizeof *frame);
  int code = frame ? 0 : NK_EMEMORY;
  if (frame) frame->name = nk_strdup(file->name);
  if (frame && !frame->name) code = NK_EMEMORY;
  if (code == NK_OK) {
    const char *bytes = (const char *)file->data;
    bool json = file->size > 0 && bytes[0] == '{';
    code = json ? parse_json_lines(frame, bytes, file->size) : parse_tsv(frame, bytes, file->size);
  }
  nk_file_free(file);
  if (code == NK_OK) return frame;
  cli_frame_free(frame);
  return NULL;
}

void cli_frame_free(struct cli_frame *frame) {
  if (!frame) return;
  for (size_t i = 0; frame->names && i < frame->n_columns; i++) nk_free(frame->names[i]);
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

int64_t cli_frame_column(const struct cli_frame *frame, const char *name) {
  struct nk_buffer all = {0};
  for (size_t i = 0; i < frame->n_columns; i++) {
    if (strcmp(frame->names[i], name) == 0) {
      nk_buffer_free(&all);
      return (int64_t)i;
    }
    nk_buffer_text(&all, i ? " " : "");
    nk_escape(&all, frame->names[i], strlen(frame->names[i]));
  }
  nk_fail(NK_ENOTFOUND, "%s: no column '%s'; there are: %s", frame->name, name,
          all.data ? all.data : "");
  nk_buffer_free(&all);
  return NK_ENOTFOUND;
}

const char *cli_frame_cell(const struct cli_frame *frame, size_t row, size_t column) {
  return frame->bytes + frame->cells[row * frame->n_columns + column];
}

static int bad_cell(const struct cli_frame *frame, size_t row, size_t column, const char *wanted) {
  const char *cell = cli_frame_cell(frame, row, column);
  if (*cell == 0)
    return nk_fail(NK_ENOTFOUND, "%s: row %zu, column '%s' is empty", frame->name, row + 1,
                   frame->names[column]);
  return nk_fail(NK_EDATA, "%s: row %zu, column '%s': '%.40s' is not %s", frame->name, row + 1,
                 frame->names[column], cell, wanted);
}

int cli_frame_number(const struct cli_frame *frame, size_t row, size_t column, double *out) {
  const char *cell = cli_frame_cell(frame, row, column);
  char *end;
  double value = strtod(cell, &end);
  if (end == cell || *end) return bad_cell(frame, row, column, "a number");
  *out = value;
  return 0;
}

int cli_frame_integer(const struct cli_frame *frame, size_t row, size_t column, int64_t *out) {
  const char *cell = cli_frame_cell(frame, row, column);
  char *end;
  errno = 0;
  long long value = strtoll(cell, &end, 10);
  if (end == cell || *end || errno) return bad_cell(frame, row, column, "a whole number");
  *out = value;
  return 0;
}

int cli_frame_integers(const struct cli_frame *frame, const char *name, int64_t **out) {
  int64_t column = cli_frame_column(frame, name);
  if (column < 0) return (int)column;
  int64_t *values = nk_alloc(frame->n_rows, sizeof *values);
  int code = values ? 0 : NK_EMEMORY;
  for (size_t row = 0; row < frame->n_rows && code == NK_OK; row++)
    code = cli_frame_integer(frame, row, (size_t)column, &values[row]);
  if (code == NK_OK)
    *out = values;
  else
    nk_free(values);
  return code;
}
