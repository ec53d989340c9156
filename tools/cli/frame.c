/* Tables, read into memory. The bytes of a TSV are kept once, tabs and line ends replaced by 0, and
 * a cell is an offset into them. Of JSON Lines only the cells that are there are kept: rows can
 * have keys of their own, and memory has to grow as the file does. */
#include "cli/frame.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/names.h"

/* A cell of JSON Lines. */
struct cell {
  size_t column;
  size_t begin; /* offset into text */
};

struct cli_frame {
  char *name;
  struct cli_names columns; /* unescaped */
  struct nk_buffer text;    /* all cells, each 0-terminated */
  size_t n_rows;
  /* TSV: */
  size_t *cells; /* [n_rows, n_columns] offsets into text */
  /* JSON Lines: */
  struct cell *present; /* [n_present] row by row, by column within a row */
  size_t n_present, capacity;
  size_t *row_begin; /* [n_rows + 1] offsets into present */
  size_t rows_capacity;
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

/* Takes the columns' names from the header line, bytes [begin, end). */
static int set_names(struct cli_frame *frame, size_t begin, size_t end) {
  const char *bytes = frame->text.data;
  size_t n_columns = count_cells(bytes, begin, end), index = 0;
  struct nk_buffer name = {0};
  int code = NK_OK;
  for (size_t i = begin, column = 0; column < n_columns && code == NK_OK; column++) {
    const char *tab = memchr(bytes + i, '\t', end - i);
    size_t stop = tab != NULL ? (size_t)(tab - bytes) : end;
    nk_buffer_clear(&name);
    nk_unescape(&name, bytes + i, stop - i);
    code = name.failed ? nk_fail(NK_EMEMORY, "%s: out of memory", frame->name)
                       : cli_names_add(&frame->columns, name.size > 0 ? name.data : "", &index);
    if (code == NK_OK && index != column)
      code = nk_fail(NK_EDATA, "%s: duplicate column '%s'", frame->name, name.data);
    i = stop + 1;
  }
  nk_buffer_free(&name);
  return code;
}

/* Ends the cells of a row, bytes [begin, end), and keeps their offsets. `line` is for messages. */
static int add_row(struct cli_frame *frame, size_t begin, size_t end, size_t line) {
  size_t n = count_cells(frame->text.data, begin, end);
  if (n != frame->columns.n)
    return nk_fail(NK_EDATA, "%s: line %zu has %zu cells, the header has %zu", frame->name, line, n,
                   frame->columns.n);
  if (memchr(frame->text.data + begin, 0, end - begin) != NULL)
    return nk_fail(NK_EDATA, "%s: line %zu contains a zero byte: not a text table", frame->name,
                   line);
  size_t *cell = frame->cells + frame->n_rows++ * frame->columns.n;
  *cell++ = begin;
  for (size_t i = begin; i < end; i++)
    if (frame->text.data[i] == '\t') {
      frame->text.data[i] = 0;
      *cell++ = i + 1;
    }
  frame->text.data[end] = 0; /* the LF, the CR, or the 0 that follows the last line */
  return NK_OK;
}

/* Takes the rows from the lines in bytes [begin, size). */
static int set_cells(struct cli_frame *frame, size_t size, size_t begin) {
  size_t n_lines = 0, next = begin;
  for (size_t i = begin; i < size; i = next, n_lines++) line_end(frame->text.data, size, i, &next);
  size_t n_cells = size + 1; /* each takes a byte: a tab or a line end */
  if (n_lines < n_cells / frame->columns.n) n_cells = n_lines * frame->columns.n;
  frame->cells = nk_alloc(n_cells, sizeof *frame->cells);
  if (frame->cells == NULL) return NK_EMEMORY;
  size_t line = 2; /* as an editor counts: the header is line 1 */
  for (size_t i = begin; i < size; i = next, line++) {
    size_t end = line_end(frame->text.data, size, i, &next);
    if (end == i && frame->columns.n > 1) continue; /* an empty line is not a row */
    int code = add_row(frame, i, end, line);
    if (code != NK_OK) return code;
  }
  return NK_OK;
}

static int parse_tsv(struct cli_frame *frame, const char *bytes, size_t size) {
  if (size == 0) return nk_fail(NK_EDATA, "%s: empty (a table needs a header line)", frame->name);
  nk_buffer_append(&frame->text, bytes, size);
  if (frame->text.failed) return nk_fail(NK_EMEMORY, "%s: out of memory", frame->name);
  size_t next, end = line_end(frame->text.data, size, 0, &next);
  int code = set_names(frame, 0, end);
  return code == NK_OK ? set_cells(frame, size, next) : code;
}

/* ---- JSON Lines ---- */

/* Strings that cli_table wrote are escaped already; those of other programs can contain tabs and
 * newlines. */
static void append_string(struct nk_buffer *out, const char *text, size_t n) {
  for (size_t i = 0; i < n; i++) {
    if ((unsigned char)text[i] < 0x20) {
      nk_escape(out, text + i, 1);
    } else {
      nk_buffer_byte(out, text[i]);
    }
  }
}

/* Appends the cell's text as it is in a TSV, without its closing 0. */
static void append_value(struct nk_buffer *out, const json_t *value) {
  char *text;
  switch (json_typeof(value)) {
    case JSON_NULL:
      break;
    case JSON_TRUE:
    case JSON_FALSE:
      nk_buffer_byte(out, json_typeof(value) == JSON_TRUE ? '1' : '0');
      break;
    case JSON_INTEGER:
      nk_buffer_integer(out, json_integer_value(value));
      break;
    case JSON_REAL:
      nk_buffer_printf(out, "%.17g", json_real_value(value));
      break;
    case JSON_STRING:
      append_string(out, json_string_value(value), json_string_length(value));
      break;
    case JSON_ARRAY:
    case JSON_OBJECT:
      text = json_dumps(value, JSON_COMPACT);
      if (text == NULL)
        out->failed = true;
      else
        append_string(out, text, strlen(text));
      free(text);
      break;
  }
}

static bool begins_with(const char *bytes, size_t n, const char *word) {
  size_t length = strlen(word);
  return n >= length && memcmp(bytes, word, length) == 0;
}

/* Copies a line of JSON with the words that Python writes for numbers that JSON does not have
 * replaced: NaN by null, Infinity and -Infinity by strings. */
static void copy_json(struct nk_buffer *out, const char *line, size_t n) {
  bool in_string = false;
  nk_buffer_clear(out);
  for (size_t i = 0, length; i < n; i += length) {
    const char *rest = line + i, *instead = NULL;
    length = 1;
    if (in_string) {
      length = *rest == '\\' && i + 1 < n ? 2 : 1;
      in_string = *rest != '"';
    } else if (*rest == '"') {
      in_string = true;
    } else if (begins_with(rest, n - i, "NaN")) {
      instead = "null";
      length = strlen("NaN");
    } else if (begins_with(rest, n - i, "Infinity")) {
      instead = "\"inf\"";
      length = strlen("Infinity");
    } else if (begins_with(rest, n - i, "-Infinity")) {
      instead = "\"-inf\"";
      length = strlen("-Infinity");
    }
    nk_buffer_append(out, instead != NULL ? instead : rest,
                     instead != NULL ? strlen(instead) : length);
  }
}

/* The object of one line, or NULL on failure. A whole number beyond 64 bits is read as a double. */
static json_t *parse_line(const struct cli_frame *frame, const struct nk_buffer *json,
                          size_t line) {
  size_t flags = JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL;
  json_error_t error = {0};
  json_t *row = json_loadb(json->data, json->size, flags, &error);
  if (row == NULL && json_error_code(&error) == json_error_numeric_overflow)
    row = json_loadb(json->data, json->size, flags | JSON_DECODE_INT_AS_REAL, &error);
  if (row != NULL && json_typeof(row) == JSON_OBJECT) return row;
  if (row == NULL && json_error_code(&error) == json_error_out_of_memory)
    nk_fail(NK_EMEMORY, "%s: line %zu: out of memory", frame->name, line);
  else
    nk_fail(NK_EDATA, "%s: line %zu, column %d: %s", frame->name, line,
            row != NULL ? 1 : error.column, row != NULL ? "not a JSON object" : error.text);
  json_decref(row);
  return NULL;
}

/* Makes room for n more cells and one more row. */
static int reserve(struct cli_frame *frame, size_t n) {
  if (frame->n_present + n > frame->capacity) {
    size_t capacity = 2 * (frame->n_present + n);
    struct cell *present = nk_realloc(frame->present, frame->n_present, capacity, sizeof *present);
    if (present == NULL) return NK_EMEMORY;
    frame->present = present;
    frame->capacity = capacity;
  }
  if (frame->n_rows + 2 > frame->rows_capacity) {
    size_t capacity = 2 * (frame->n_rows + 2), used = frame->n_rows > 0 ? frame->n_rows + 1 : 0;
    size_t *begin = nk_realloc(frame->row_begin, used, capacity, sizeof *begin);
    if (begin == NULL) return NK_EMEMORY;
    frame->row_begin = begin;
    frame->rows_capacity = capacity;
    if (used == 0) begin[0] = 0;
  }
  return NK_OK;
}

static int compare_columns(const void *a, const void *b) {
  const struct cell *x = a, *y = b;
  return (x->column > y->column) - (x->column < y->column);
}

/* Adds a row with the object's values; a null is a missing cell. */
static int add_object(struct cli_frame *frame, json_t *row) {
  int code = reserve(frame, json_object_size(row) + 1); /* an empty object too has a place */
  if (code != NK_OK) return code;
  struct cell *first = frame->present + frame->n_present, *cell = first;
  bool sorted = true;
  for (void *at = json_object_iter(row); at != NULL && code == NK_OK;
       at = json_object_iter_next(row, at)) {
    json_t *value = json_object_iter_value(at);
    code = cli_names_add(&frame->columns, json_object_iter_key(at), &cell->column);
    if (code != NK_OK || json_typeof(value) == JSON_NULL) continue;
    cell->begin = frame->text.size;
    append_value(&frame->text, value);
    nk_buffer_byte(&frame->text, 0);
    if (cell > first && cell->column < cell[-1].column) sorted = false;
    cell++;
  }
  if (code == NK_OK && frame->text.failed)
    code = nk_fail(NK_EMEMORY, "%s: out of memory", frame->name);
  if (code != NK_OK) return code;
  if (!sorted) qsort(first, (size_t)(cell - first), sizeof *first, compare_columns);
  frame->n_present = (size_t)(cell - frame->present);
  frame->row_begin[++frame->n_rows] = frame->n_present;
  return NK_OK;
}

static int parse_json_lines(struct cli_frame *frame, const char *bytes, size_t size) {
  struct nk_buffer json = {0};
  size_t line = 1, next;
  int code = NK_OK;
  for (size_t i = 0; i < size && code == NK_OK; i = next, line++) {
    size_t end = line_end(bytes, size, i, &next);
    if (end == i) continue;
    copy_json(&json, bytes + i, end - i);
    json_t *row = json.failed ? NULL : parse_line(frame, &json, line);
    if (json.failed)
      code = nk_fail(NK_EMEMORY, "%s: out of memory", frame->name);
    else
      code = row != NULL ? add_object(frame, row) : nk_error_code();
    json_decref(row);
  }
  nk_buffer_free(&json);
  return code;
}

/* ---- The frame ---- */

/* A byte order mark is no part of the table. */
static int parse(struct cli_frame *frame, const struct nk_file *file) {
  const char *bytes = (const char *)file->data;
  size_t size = file->size;
  frame->name = nk_strdup(file->name);
  if (frame->name == NULL) return NK_EMEMORY;
  if (begins_with(bytes, size, "\xEF\xBB\xBF")) {
    bytes += 3;
    size -= 3;
  }
  if (begins_with(bytes, size, "\xFF\xFE") || begins_with(bytes, size, "\xFE\xFF"))
    return nk_fail(NK_EDATA, "%s: a UTF-16 file, expected UTF-8", frame->name);
  if (begins_with(bytes, size, "[{"))
    return nk_fail(NK_EDATA, "%s: a JSON array, expected JSON Lines: one object a line",
                   frame->name);
  if (size > 0 && bytes[0] == '{') return parse_json_lines(frame, bytes, size);
  return parse_tsv(frame, bytes, size);
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
  cli_names_free(&frame->columns);
  nk_buffer_free(&frame->text);
  nk_free(frame->cells);
  nk_free(frame->present);
  nk_free(frame->row_begin);
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
  return frame->columns.n;
}

const char *cli_frame_column_name(const struct cli_frame *frame, size_t column) {
  return cli_names_item(&frame->columns, column);
}

int64_t cli_frame_find(const struct cli_frame *frame, const char *name) {
  return cli_names_find(&frame->columns, name);
}

enum { MAX_NAMES_SHOWN = 32 };

int64_t cli_frame_column(const struct cli_frame *frame, const char *name) {
  int64_t column = cli_frame_find(frame, name);
  if (column >= 0) return column;
  struct nk_buffer names = {0};
  for (size_t i = 0; i < frame->columns.n && i < MAX_NAMES_SHOWN; i++) {
    const char *item = cli_names_item(&frame->columns, i);
    nk_buffer_text(&names, i > 0 ? " " : "");
    nk_escape(&names, item, strlen(item));
  }
  if (frame->columns.n > MAX_NAMES_SHOWN)
    nk_buffer_printf(&names, " and %zu more", frame->columns.n - MAX_NAMES_SHOWN);
  bool other = frame->columns.n == 1 && strpbrk(cli_names_item(&frame->columns, 0), ",; ") != NULL;
  int code = nk_fail(NK_ENOTFOUND, "%s: no column '%s'; the columns are: %s%s", frame->name, name,
                     names.size > 0 ? names.data : "",
                     other ? " (one column: separate columns by tabs)" : "");
  nk_buffer_free(&names);
  return code;
}

const char *cli_frame_cell(const struct cli_frame *frame, size_t row, size_t column) {
  if (frame->cells != NULL) return frame->text.data + frame->cells[row * frame->columns.n + column];
  if (frame->row_begin == NULL) return "";
  size_t first = frame->row_begin[row], n = frame->row_begin[row + 1] - first;
  const struct cell key = {.column = column};
  const struct cell *cell =
      n > 0 ? bsearch(&key, frame->present + first, n, sizeof key, compare_columns) : NULL;
  return cell != NULL ? frame->text.data + cell->begin : "";
}

/* What numpy, pandas, polars, R and Julia write for a number that is missing. */
bool cli_frame_is_missing(const char *cell) {
  static const char *const words[] = {"", "na", "n/a", "<na>", "nan", "null", "none", "missing"};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (strcasecmp(cell, words[i]) == 0) return true;
  return false;
}

/* Whether a cell is a number by the grammar of JSON (RFC 8259), which has one way to write most. */
static bool is_json_number(const char *cell) {
  static const char digits[] = "0123456789";
  size_t n;
  if (*cell == '-') cell++;
  n = strspn(cell, digits);
  if (n == 0 || (n > 1 && *cell == '0')) return false;
  cell += n;
  if (*cell == '.') {
    n = strspn(++cell, digits);
    if (n == 0) return false;
    cell += n;
  }
  if (*cell == 'e' || *cell == 'E') {
    cell++;
    if (*cell == '-' || *cell == '+') cell++;
    n = strspn(cell, digits);
    if (n == 0) return false;
    cell += n;
  }
  return *cell == 0;
}

static bool is_number_column(const struct cli_frame *frame, size_t column) {
  static const char suffix[] = "text";
  const char *name = cli_frame_column_name(frame, column);
  size_t length = strlen(name), n = sizeof suffix - 1;
  bool any = false;
  if (length >= n && strcmp(name + length - n, suffix) == 0) return false;
  for (size_t row = 0; row < frame->n_rows; row++) {
    const char *cell = cli_frame_cell(frame, row, column);
    bool number = is_json_number(cell) || strcmp(cell, "inf") == 0 || strcmp(cell, "-inf") == 0;
    if (!number && !cli_frame_is_missing(cell)) return false;
    any = any || number;
  }
  return any;
}

bool *cli_frame_number_columns(const struct cli_frame *frame) {
  bool *number = nk_calloc(frame->columns.n, sizeof *number);
  for (size_t c = 0; c < frame->columns.n && number != NULL; c++)
    number[c] = is_number_column(frame, c);
  return number;
}

/* The error for a cell that is not what was expected, "a number". */
static int bad_cell(const struct cli_frame *frame, size_t row, size_t column,
                    const char *expected) {
  const char *cell = cli_frame_cell(frame, row, column);
  const char *name = cli_names_item(&frame->columns, column);
  if (*cell == 0)
    return nk_fail(NK_ENOTFOUND, "%s: row %zu, column '%s': the cell is empty", frame->name,
                   row + 1, name);
  if (cli_frame_is_missing(cell))
    return nk_fail(NK_ENOTFOUND, "%s: row %zu, column '%s': the value is missing ('%s')",
                   frame->name, row + 1, name, cell);
  return nk_fail(NK_EDATA, "%s: row %zu, column '%s': '%.40s' is not %s", frame->name, row + 1,
                 name, cell, expected);
}

int cli_frame_number(const struct cli_frame *frame, size_t row, size_t column, double *out) {
  const char *cell = cli_frame_cell(frame, row, column);
  char *end;
  double value = strtod(cell, &end);
  if (end == cell || *end != 0 || cli_frame_is_missing(cell))
    return bad_cell(frame, row, column, "a number");
  *out = value;
  return NK_OK;
}

/* The whole number that text is, also as the double that pandas makes of it: "300.0". */
static bool parse_integer(const char *text, int64_t *out) {
  static const double most = 9007199254740992.0; /* 2^53: doubles up to here are exact */
  char *end;
  errno = 0;
  long long value = strtoll(text, &end, 10);
  if (end != text && *end == 0 && errno == 0) {
    *out = value;
    return true;
  }
  double number = strtod(text, &end);
  if (end == text || *end != 0 || !(fabs(number) <= most) || number != trunc(number)) return false;
  *out = (int64_t)number;
  return true;
}

int cli_frame_integer(const struct cli_frame *frame, size_t row, size_t column, int64_t *out) {
  if (parse_integer(cli_frame_cell(frame, row, column), out)) return NK_OK;
  return bad_cell(frame, row, column, "a whole number");
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
