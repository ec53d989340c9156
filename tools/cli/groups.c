/* Rows of a set by the values of one of its columns. */
#include "cli/groups.h"

#include <math.h>
#include <noken/base.h>
#include <stdlib.h>
#include <string.h>

struct place {
  int64_t value;
  size_t row;
};

static int by_value(const void *a, const void *b) {
  const struct place *x = a, *y = b;
  if (x->value != y->value) return x->value < y->value ? -1 : 1;
  return (x->row > y->row) - (x->row < y->row);
}

int cli_whole_number(const struct nk_column *column, size_t row, int64_t *value) {
  double number = column->dtype != NK_I64 ? column->data.number[row] : 0;
  *value = column->dtype == NK_I64 ? column->data.integer[row] : 0;
  if (column->dtype == NK_I64) return NK_OK;
  if (!(number == floor(number) && fabs(number) < 0x1p53))
    return nk_fail(NK_EDATA, "column '%s', row %zu: %.9g is not a whole number", column->name, row,
                   number);
  *value = (int64_t)number;
  return NK_OK;
}

static int find_column(const struct nk_vectors *set, const char *name,
                       const struct nk_column **column) {
  *column = name != NULL ? nk_vectors_column(set, name) : NULL;
  if (name == NULL || *column != NULL) return NK_OK;
  return nk_fail(NK_ENOTFOUND, "the set has no column '%s'", name);
}

int cli_groups_of(const struct nk_vectors *set, const char *name, const size_t *rows, size_t n,
                  struct cli_groups *out) {
  const struct nk_column *column = NULL;
  if (rows == NULL) n = set->n;
  *out = (struct cli_groups){.value = nk_alloc(n + 1, sizeof *out->value),
                             .begin = nk_alloc(n + 2, sizeof *out->begin),
                             .rows = nk_alloc(n, sizeof *out->rows)};
  struct place *places = nk_alloc(n, sizeof *places);
  int code = find_column(set, name, &column);
  if (out->value == NULL || out->begin == NULL || out->rows == NULL || places == NULL)
    code = NK_EMEMORY;
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    places[i] = (struct place){0, rows != NULL ? rows[i] : i};
    if (column != NULL) code = cli_whole_number(column, places[i].row, &places[i].value);
  }
  if (code == NK_OK && n > 0) qsort(places, n, sizeof *places, by_value);
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    if (i == 0 || places[i].value != places[i - 1].value) {
      out->value[out->n] = places[i].value;
      out->begin[out->n++] = i;
    }
    out->rows[i] = places[i].row;
  }
  if (code == NK_OK && out->n == 0 && name == NULL) { /* one group, without rows */
    out->value[0] = 0;
    out->begin[out->n++] = 0;
  }
  if (code == NK_OK) out->begin[out->n] = n;
  nk_free(places);
  return code;
}

void cli_groups_free(struct cli_groups *groups) {
  nk_free(groups->value);
  nk_free(groups->begin);
  nk_free(groups->rows);
}

char *cli_group_path(const char *what, const char *pattern, int64_t value) {
  struct nk_buffer path = {0};
  const char *at = pattern != NULL ? pattern : "", *brace = strstr(at, "{}");
  if (brace == NULL) {
    nk_fail(NK_EUSAGE, "%s: groups need a file each: put {} into the name, for their values", what);
    return NULL;
  }
  for (; brace != NULL; at = brace + 2, brace = strstr(at, "{}")) {
    nk_buffer_append(&path, at, (size_t)(brace - at));
    nk_buffer_integer(&path, value);
  }
  nk_buffer_append(&path, at, strlen(at) + 1);
  if (!path.failed) return path.data;
  nk_buffer_free(&path);
  nk_fail(NK_EMEMORY, "%s: out of memory", what);
  return NULL;
}
