/* Vector sets from tables of text: CSV, TSV, or numbers between spaces.
 *
 * A first line of words names the columns. The values are then the longest run of neighbours with
 * names that count up, such as v1, v2, ..., or dim_0, dim_1, ...; `id` (or an unnamed first column,
 * as pandas writes an index) and `text` are the rows' ids and texts; other columns of numbers are
 * columns of the set. Without such a line all cells are values. The cells of all lines are counted
 * before anything is allocated for them: memory is at most a small multiple of the file. */
#include <float.h>
#include <math.h>
#include <noken/base.h>
#include <noken/vectors.h>
#include <stdint.h>
#include <string.h>
#include "base/number.h"
#include "io/vectors.h"

enum role { ROLE_NUMBER, ROLE_VALUE, ROLE_ID, ROLE_TEXT, ROLE_WORDS };

struct column {
  const char *name; /* [length] in the file */
  size_t length;
  enum role role;
};

struct text {
  const struct nk_file *file;
  const char *start, *end; /* from the header, or the first row, on */
  size_t first_line;       /* its number, as an editor counts */
  char separator;          /* ' ': any number of spaces */
  bool has_header;
  size_t n_rows, n_columns;
  struct column *columns; /* [n_columns]; NULL: all are values */
  size_t first_value, dim;
};

struct cell {
  const char *text; /* [n], without its quotes */
  size_t n;
  bool quoted; /* "" in it is a quote */
};

bool nki_text_is(const struct nk_file *file) {
  size_t n = file->size < 512 ? file->size : 512;
  for (size_t i = 0; i < n; i++)
    if (file->data[i] < 0x20 && strchr("\t\r\n", file->data[i]) == NULL) return false;
  return n > 0 && memchr(file->data, 0, n) == NULL;
}

/* ---- Lines and cells ---- */

/* The line at *at, without its end: line[0..*n). Moves *at behind it; false at the end. */
static bool next_line(const struct text *t, const char **at, const char **line, size_t *n) {
  if (*at >= t->end) return false;
  const char *newline = memchr(*at, '\n', (size_t)(t->end - *at));
  const char *end = newline != NULL ? newline : t->end;
  *line = *at;
  *n = (size_t)(end - *at);
  *at = newline != NULL ? newline + 1 : t->end;
  if (*n > 0 && end[-1] == '\r') --*n;
  while (t->separator == ' ' && *n > 0 && (*line)[*n - 1] == ' ') --*n;
  while (t->separator == ' ' && *n > 0 && **line == ' ') ++*line, --*n;
  return true;
}

/* The next line that is not blank; *number counts the lines. */
static bool next_row(const struct text *t, const char **at, const char **line, size_t *n,
                     size_t *number) {
  while (next_line(t, at, line, n)) {
    ++*number;
    for (size_t i = 0; i < *n; i++)
      if ((*line)[i] != ' ') return true;
  }
  return false;
}

/* The cell at *at of a line that ends at `end`. Moves *at behind its separator, or beyond `end`
 * after the last cell. */
static struct cell next_cell(const struct text *t, const char **at, const char *end) {
  const char *s = *at;
  bool quoted = t->separator != '\t' && s < end && *s == '"';
  if (quoted) /* "" within quotes is a quote */
    for (s++; s < end && (*s != '"' || (s + 1 < end && s[1] == '"'));) s += *s == '"' ? 2 : 1;
  const char *stop = s < end ? memchr(s, t->separator, (size_t)(end - s)) : NULL;
  if (stop == NULL) stop = end;
  struct cell cell = {*at, (size_t)(stop - *at), false};
  *at = stop + 1;
  while (t->separator == ' ' && *at < end && **at == ' ') ++*at;
  if (quoted && cell.n >= 2 && stop[-1] == '"')
    cell = (struct cell){cell.text + 1, cell.n - 2, true};
  return cell;
}

/* The cell without the spaces around it: texts keep theirs. */
static struct cell trim(struct cell cell) {
  while (cell.n > 0 && *cell.text == ' ') ++cell.text, --cell.n;
  while (cell.n > 0 && cell.text[cell.n - 1] == ' ') --cell.n;
  return cell;
}

static size_t count_cells(const struct text *t, const char *line, size_t n) {
  const char *at = line;
  size_t count = 0;
  do {
    next_cell(t, &at, line + n);
    count++;
  } while (at <= line + n);
  return count;
}

/* A missing number (an empty cell, NA, ...) is NaN. */
static bool read_number(struct cell cell, double *value) {
  static const char *const MISSING[] = {"", "NA", "N/A", "null", "None", "<NA>"};
  cell = trim(cell);
  for (size_t i = 0; i < sizeof MISSING / sizeof *MISSING; i++)
    if (strlen(MISSING[i]) == cell.n && memcmp(cell.text, MISSING[i], cell.n) == 0) {
      *value = (double)NAN;
      return true;
    }
  return nki_number_of_text(cell.text, cell.n, value);
}

/* Whether a cell is of digits alone, as a number that names a column is. */
static bool is_count(struct cell cell) {
  for (size_t i = 0; i < cell.n; i++)
    if (cell.text[i] < '0' || cell.text[i] > '9') return false;
  return cell.n > 0 && cell.n <= 9;
}

/* ---- The columns ---- */

/* The number at the end of a name, and where it begins; false where there is none. */
static bool number_at_end(const struct column *column, size_t *begin, size_t *number) {
  size_t at = column->length, unit = 1;
  *number = 0;
  while (at > 0 && column->length - at < 9 && column->name[at - 1] >= '0' &&
         column->name[at - 1] <= '9') {
    *number += unit * (size_t)(column->name[--at] - '0');
    unit *= 10;
  }
  *begin = at;
  return at < column->length;
}

/* Whether column b counts on from a. */
static bool follows(const struct column *a, const struct column *b) {
  size_t begin_a, begin_b, number_a, number_b;
  return number_at_end(a, &begin_a, &number_a) && number_at_end(b, &begin_b, &number_b) &&
         number_b == number_a + 1 && begin_a == begin_b && memcmp(a->name, b->name, begin_a) == 0;
}

static bool is_named(const struct column *column, const char *name) {
  return column->length == strlen(name) && memcmp(column->name, name, column->length) == 0;
}

/* The columns that are values: the longest run; v1 alone is one. */
static int find_values(struct text *t) {
  size_t n = t->n_columns, runs = 0;
  for (size_t first = 0, last; first < n; first = last + 1) {
    for (last = first; last + 1 < n && follows(&t->columns[last], &t->columns[last + 1]);) last++;
    size_t length = last - first + 1;
    if (length < 2 && !is_named(&t->columns[first], "v1")) continue;
    runs = length > t->dim ? 1 : runs + (length == t->dim);
    if (length <= t->dim) continue;
    t->dim = length;
    t->first_value = first;
  }
  if (t->dim == 0)
    return nk_fail(
        NK_EDATA,
        "a table, but not a vector set: no columns with names that count up, such as v1, "
        "v2, ..., hold its values");
  if (runs > 1)
    return nk_fail(NK_EDATA, "%zu groups of %zu columns count up: which are the values?", runs,
                   t->dim);
  for (size_t c = t->first_value; c < t->first_value + t->dim; c++) t->columns[c].role = ROLE_VALUE;
  return NK_OK;
}

static int name_columns(struct text *t, const char *line, size_t n) {
  const char *at = line;
  size_t n_ids = 0, n_texts = 0;
  t->columns = nk_calloc(t->n_columns, sizeof *t->columns);
  if (t->columns == NULL) return NK_EMEMORY;
  for (size_t c = 0; c < t->n_columns; c++) {
    struct column *column = &t->columns[c];
    struct cell cell = next_cell(t, &at, line + n);
    if (t->separator != '\t') cell = trim(cell);
    column->name = cell.text;
    column->length = cell.n;
    bool is_id = is_named(column, "id"), is_text = is_named(column, "text");
    n_ids += is_id;
    n_texts += is_text;
    if (is_id || (c == 0 && column->length == 0)) column->role = ROLE_ID;
    if (is_text) column->role = ROLE_TEXT;
  }
  if (n_ids > 1 || n_texts > 1)
    return nk_fail(NK_EDATA, "line %zu: two columns are called '%s'", t->first_line,
                   n_ids > 1 ? "id" : "text");
  return find_values(t);
}

/* Whether a first line is of names: it has a word, or it is an empty cell and counts, as pandas
 * names an index and numbered columns. A line 0, 1, 2, ... could be either. */
static int read_header(struct text *t, const char *line, size_t n) {
  const char *at = line;
  size_t n_counting = 0, n_counts = 0;
  double value;
  bool is_index = false;
  for (size_t c = 0; c < t->n_columns; c++) {
    struct cell cell = trim(next_cell(t, &at, line + n));
    if (!read_number(cell, &value)) t->has_header = true;
    if (c == 0) is_index = cell.n == 0;
    n_counts += is_count(cell);
    n_counting += is_count(cell) && value == (double)c;
  }
  if (is_index && t->n_columns > 1 && n_counts == t->n_columns - 1) t->has_header = true;
  if (t->has_header) return name_columns(t, line, n);
  t->dim = t->n_columns;
  if (n_counting == t->n_columns && n_counting > 1)
    return nk_fail(NK_EDATA,
                   "line %zu, 0 to %zu, can be names or values: name the columns v1, v2, ..., or "
                   "leave the line out",
                   t->first_line, n_counting - 1);
  return NK_OK;
}

/* Finds the first line after blank ones and comments, and what separates its cells. */
static bool find_start(struct text *t, const char **line, size_t *n) {
  const char *at = t->start;
  if (t->end - at >= 3 && memcmp(at, "\xEF\xBB\xBF", 3) == 0) at += 3;
  for (t->separator = ' '; next_row(t, &at, line, n, &t->first_line);) {
    if (**line == '#') continue;
    t->separator = memchr(*line, '\t', *n) != NULL  ? '\t'
                   : memchr(*line, ',', *n) != NULL ? ','
                   : memchr(*line, ';', *n) != NULL ? ';'
                                                    : ' ';
    at = t->start = *line;
    return next_line(t, &at, line, n);
  }
  return false;
}

/* Reads the first line, and counts rows and their cells. */
static int survey(struct text *t) {
  const char *line = NULL, *at;
  size_t n = 0, number;
  if (!find_start(t, &line, &n)) return nk_fail(NK_EDATA, "a text without numbers");
  if (*line == '{' || *line == '[')
    return nk_fail(NK_EUNSUPPORTED, "JSON is not read as a vector set: write the values as TSV");
  t->n_columns = count_cells(t, line, n);
  int code = read_header(t, line, n);
  if (code != NK_OK) return code;
  at = t->start;
  if (t->has_header) next_line(t, &at, &line, &n);
  t->start = at;
  t->first_line += t->has_header;
  for (number = t->first_line - 1; next_row(t, &at, &line, &n, &number);) {
    size_t cells = count_cells(t, line, n);
    if (cells != t->n_columns)
      return nk_fail(NK_EDATA, "line %zu has %zu cells, the first has %zu", number, cells,
                     t->n_columns);
    t->n_rows++;
  }
  return NK_OK;
}

/* ---- The rows ---- */

/* What the cells of a table become. */
struct cells {
  float *values;   /* [n_rows, dim] */
  double *numbers; /* [n_columns - dim, n_rows] of the other columns */
  struct nk_buffer text;
  int64_t *ends; /* [n_rows + 1] of the texts */
  size_t n_beyond;
};

static int bad_cell(size_t line, size_t c, struct cell cell) {
  return nk_fail(NK_EDATA, "line %zu, cell %zu: '%.*s' is not a number", line, c + 1,
                 cell.n < 40 ? (int)cell.n : 40, cell.text);
}

/* The place of a column among those that are no values. */
static size_t place_of(const struct text *t, size_t c) {
  return c < t->first_value ? c : c - t->dim;
}

static int append_text(const struct text *t, struct cell cell, struct nk_buffer *out) {
  if (t->separator == '\t')
    nk_unescape(out, cell.text, cell.n);
  else if (!cell.quoted)
    nk_buffer_append(out, cell.text, cell.n);
  for (size_t i = 0; cell.quoted && i < cell.n; i++) {
    nk_buffer_byte(out, cell.text[i]);
    i += cell.text[i] == '"' && i + 1 < cell.n && cell.text[i + 1] == '"';
  }
  return out->failed ? nk_fail(NK_EMEMORY, "out of memory for texts") : NK_OK;
}

static int read_cell(struct text *t, size_t row, size_t line, size_t c, struct cell cell,
                     struct cells *out) {
  enum role role = t->columns != NULL ? t->columns[c].role : ROLE_VALUE;
  double value = 0;
  if (role == ROLE_WORDS) return NK_OK;
  if (role == ROLE_TEXT) return append_text(t, cell, &out->text);
  if (!read_number(cell, &value)) {
    if (role != ROLE_NUMBER) return bad_cell(line, c, cell);
    t->columns[c].role = ROLE_WORDS;
    return NK_OK;
  }
  if (role == ROLE_VALUE) {
    out->values[row * t->dim + c - t->first_value] = (float)value;
    out->n_beyond += isfinite(value) && fabs(value) > (double)FLT_MAX;
  } else {
    if (role == ROLE_ID && !(value == floor(value) && fabs(value) < 0x1p53))
      return bad_cell(line, c, cell);
    out->numbers[place_of(t, c) * t->n_rows + row] = value;
  }
  return NK_OK;
}

static int read_rows(struct text *t, struct cells *out) {
  const char *at = t->start, *line;
  size_t n = 0, row = 0, number = t->first_line - 1;
  int code = NK_OK;
  while (code == NK_OK && next_row(t, &at, &line, &n, &number)) {
    const char *in_line = line;
    for (size_t c = 0; c < t->n_columns && code == NK_OK; c++)
      code = read_cell(t, row, number, c, next_cell(t, &in_line, line + n), out);
    out->ends[++row] = (int64_t)out->text.size;
  }
  return code;
}

/* Adds a column of numbers: whole ones as integers. */
static int add_column(struct nk_vectors *set, const char *name, const double *numbers) {
  bool whole = true;
  for (size_t i = 0; i < set->n && whole; i++)
    whole = numbers[i] == floor(numbers[i]) && fabs(numbers[i]) < 0x1p53;
  struct nk_column *column = nki_vectors_append_column(set, name, whole ? NK_I64 : NK_F64);
  if (column == NULL) return nk_error_code();
  for (size_t i = 0; i < set->n; i++)
    if (whole)
      column->data.integer[i] = (int64_t)numbers[i];
    else
      column->data.number[i] = numbers[i];
  return NK_OK;
}

static int take_columns(const struct text *t, const struct cells *cells, struct nk_vectors *set) {
  int code = NK_OK;
  for (size_t c = 0; c < t->n_columns && code == NK_OK; c++) {
    const struct column *column = &t->columns[c];
    if (column->role == ROLE_VALUE) continue;
    if (column->role == ROLE_TEXT) {
      code = nk_vectors_set_text(set, cells->text.data, cells->ends);
      continue;
    }
    const double *numbers = cells->numbers + place_of(t, c) * t->n_rows;
    for (size_t i = 0; column->role == ROLE_ID && i < t->n_rows; i++)
      set->ids[i] = (int64_t)numbers[i];
    if (column->role == ROLE_ID) continue;
    char *name = nk_strndup(column->name, column->length);
    if (name == NULL) return NK_EMEMORY;
    if (column->role == ROLE_WORDS)
      nk_warn("%s: column '%s' holds words and is not read", t->file->name, name);
    else
      code = add_column(set, name, numbers);
    nk_free(name);
  }
  return code;
}

static int check_names(const struct nk_vectors *set) {
  const char **names = nk_alloc(set->n_columns, sizeof *names);
  for (size_t c = 0; names != NULL && c < set->n_columns; c++) names[c] = set->columns[c].name;
  return nki_check_names(names, set->n_columns, "columns");
}

static int read_cells(struct text *t, struct nk_vectors *set) {
  struct cells cells = {.values = nk_vectors_writable(set)};
  size_t size = 0;
  int code = nk_size_mul(t->n_columns - t->dim, t->n_rows, &size) ? NK_OK : NK_EMEMORY;
  if (code == NK_OK) cells.numbers = nk_calloc(size, sizeof *cells.numbers);
  cells.ends = nk_calloc(t->n_rows + 1, sizeof *cells.ends);
  if (cells.numbers == NULL || cells.ends == NULL) code = NK_EMEMORY;
  if (code == NK_OK) code = read_rows(t, &cells);
  if (code == NK_OK && t->columns != NULL) code = take_columns(t, &cells, set);
  if (code == NK_OK) code = check_names(set);
  if (code == NK_OK && cells.n_beyond > 0)
    nk_warn("%s: %zu values beyond the range of a float are read as infinities", t->file->name,
            cells.n_beyond);
  nk_buffer_free(&cells.text);
  nk_free(cells.numbers);
  nk_free(cells.ends);
  return code;
}

struct nk_vectors *nki_vectors_read_text(struct nk_file *file) {
  const char *bytes = (const char *)file->data;
  struct text t = {.file = file, .start = bytes, .end = bytes + file->size};
  struct nk_vectors *set = NULL;
  int code = survey(&t);
  if (code == NK_OK && (set = nk_vectors_new(t.n_rows, t.dim, NULL, false)) == NULL)
    code = nk_error_code();
  if (code == NK_OK) code = read_cells(&t, set);
  if (code == NK_OK && (set->hidden->name = nk_strdup(file->name)) == NULL) code = NK_EMEMORY;
  nk_free(t.columns);
  if (code != NK_OK) {
    nk_fail_in(code, "%s", file->name);
    nk_vectors_free(set);
    set = NULL;
  }
  nk_file_free(file);
  return set;
}
