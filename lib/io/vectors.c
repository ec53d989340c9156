/* Vector sets in memory: rows, ids, texts, columns, metadata. vectors_file.c reads and writes
 * files. */
#include <math.h>
#include <noken/base.h>
#include <noken/vectors.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "io/vectors.h"
#include "model/dtype.h"
#include "model/rows.h"
#include "model/safetensors.h"

/* ---- Making and freeing ---- */

struct nk_vectors *nki_vectors_bare(size_t n, size_t dim) {
  struct nk_vectors *set = nk_calloc(1, sizeof *set);
  if (set == NULL) return NULL;
  set->n = n;
  set->dim = dim;
  set->hidden = nk_calloc(1, sizeof *set->hidden);
  set->ids = nk_alloc(n, sizeof *set->ids);
  if (set->hidden == NULL || set->ids == NULL) {
    nk_vectors_free(set);
    return NULL;
  }
  for (size_t i = 0; i < n; i++) set->ids[i] = (int64_t)i;
  return set;
}

struct nk_vectors *nk_vectors_new(size_t n, size_t dim, float *values, bool borrowed) {
  size_t n_values;
  if (!nk_size_mul(n, dim, &n_values)) {
    nk_fail(NK_EMEMORY, "%zu rows of %zu values: out of memory", n, dim);
    return NULL;
  }
  struct nk_vectors *set = nki_vectors_bare(n, dim);
  if (set == NULL) return NULL;
  float *own = values == NULL && !borrowed ? nk_alloc(n_values, sizeof *own) : NULL;
  if (values == NULL && !borrowed && own == NULL) goto fail;
  if (nk_vectors_set_metadata(set, "noken.kind", "vectors") != NK_OK ||
      nk_vectors_set_metadata(set, "noken.version", "1") != NK_OK)
    goto fail;
  set->values = own != NULL ? own : values;
  set->own_values = borrowed ? NULL : own != NULL ? own : values;
  return set;
fail:
  nk_free(own);
  nk_vectors_free(set);
  return NULL;
}

/* Each tensor's name and, without a file, its data and dtype_name belong to the set. */
static void free_carried(struct nk_vectors *set) {
  for (size_t i = 0; i < set->n_carried; i++) {
    nk_free((char *)(uintptr_t)set->carried[i].name);
    if (set->hidden->st != NULL) continue;
    nk_free((void *)(uintptr_t)set->carried[i].data);
    nk_free((char *)(uintptr_t)set->carried[i].dtype_name);
  }
  nk_free(set->carried);
}

static void free_hidden(struct nk_vectors_private *hidden) {
  if (hidden == NULL) return;
  nki_pairs_free(&hidden->metadata);
  nk_free(hidden->text);
  nk_free(hidden->name);
  nki_safetensors_free(hidden->st);
  nk_file_free(hidden->npy);
  if (hidden->free_rows != NULL) hidden->free_rows(hidden->source_of_rows);
  nk_free(hidden);
}

void nk_vectors_free(struct nk_vectors *set) {
  if (set == NULL) return;
  for (size_t i = 0; i < set->n_columns; i++) {
    nk_free(set->columns[i].name);
    nk_free(set->columns[i].data.number);
  }
  nk_free(set->columns);
  nk_free(set->ids);
  nk_free((int64_t *)(uintptr_t)set->text_offsets);
  nk_free(set->own_values);
  free_carried(set);
  free_hidden(set->hidden);
  nk_free(set);
}

/* ---- Text ---- */

int nk_vectors_set_text(struct nk_vectors *set, const void *bytes, const int64_t *offsets) {
  if (set == NULL) return nki_fail_null();
  if (offsets[0] != 0)
    return nk_fail(NK_EUSAGE, "the text offsets begin at %lld, expected 0", (long long)offsets[0]);
  for (size_t i = 0; i < set->n; i++) {
    if (offsets[i + 1] < offsets[i]) {
      return nk_fail(NK_EUSAGE, "the text offsets descend at row %zu", i);
    }
  }
  size_t n_bytes = (size_t)offsets[set->n];
  unsigned char *text = nk_alloc(n_bytes + 1, 1);
  int64_t *own = nk_alloc(set->n + 1, sizeof *own);
  if (text == NULL || own == NULL) {
    nk_free(text);
    nk_free(own);
    return NK_EMEMORY;
  }
  if (n_bytes > 0) memcpy(text, bytes, n_bytes);
  memcpy(own, offsets, (set->n + 1) * sizeof *own);
  nk_free(set->hidden->text);
  nk_free((int64_t *)(uintptr_t)set->text_offsets);
  set->text = set->hidden->text = text;
  set->text_offsets = own;
  return NK_OK;
}

/* ---- Columns ---- */

static struct nk_column *find_column(struct nk_vectors *set, const char *name) {
  const struct nk_column *found = nk_vectors_column(set, name);
  return found == NULL ? NULL : &set->columns[found - set->columns];
}

/* Room for one more column; it grows by half, so that n columns cost time in proportion to n. */
static int reserve_column(struct nk_vectors *set) {
  size_t *capacity = &set->hidden->columns_capacity;
  if (set->columns != NULL && set->n_columns < *capacity) return NK_OK;
  size_t more = *capacity + *capacity / 2 + 8;
  struct nk_column *grown = nk_realloc(set->columns, set->n_columns, more, sizeof *grown);
  if (grown == NULL) return NK_EMEMORY;
  set->columns = grown;
  *capacity = more;
  return NK_OK;
}

struct nk_column *nki_vectors_append_column(struct nk_vectors *set, const char *name,
                                            enum nk_dtype dtype) {
  if (strcmp(name, "vectors") == 0 || strcmp(name, "id") == 0 || strncmp(name, "text.", 5) == 0) {
    nk_fail(NK_EUSAGE, "a column of a vector set cannot be called '%s'", name);
    return NULL;
  }
  if (reserve_column(set) != NK_OK) return NULL;
  struct nk_column fresh = {.name = nk_strdup(name), .dtype = dtype};
  fresh.data.number = nk_alloc(set->n, sizeof *fresh.data.number);
  if (fresh.name == NULL || fresh.data.number == NULL) {
    nk_free(fresh.name);
    nk_free(fresh.data.number);
    return NULL;
  }
  set->columns[set->n_columns] = fresh;
  return &set->columns[set->n_columns++];
}

struct nk_column *nki_vectors_add_column(struct nk_vectors *set, const char *name,
                                         enum nk_dtype dtype) {
  struct nk_column *column = find_column(set, name);
  if (column == NULL) return nki_vectors_append_column(set, name, dtype);
  column->dtype = dtype; /* numbers and integers have one size: the array is reused */
  return column;
}

static int compare_names(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int nki_check_names(const char **names, size_t n, const char *what) {
  if (names == NULL) return NK_EMEMORY;
  int code = NK_OK;
  if (n > 0) qsort(names, n, sizeof *names, compare_names);
  for (size_t i = 1; i < n && code == NK_OK; i++)
    if (strcmp(names[i - 1], names[i]) == 0)
      code = nk_fail(NK_EDATA, "two %s are called '%.40s'", what, names[i]);
  nk_free(names);
  return code;
}

int nk_vectors_set_numbers(struct nk_vectors *set, const char *name, const double *values) {
  if (set == NULL) return nki_fail_null();
  struct nk_column *column = nki_vectors_add_column(set, name, NK_F64);
  if (column == NULL) return nk_error_code();
  if (set->n > 0) memcpy(column->data.number, values, set->n * sizeof *values);
  return NK_OK;
}

int nk_vectors_set_integers(struct nk_vectors *set, const char *name, const int64_t *values) {
  if (set == NULL) return nki_fail_null();
  struct nk_column *column = nki_vectors_add_column(set, name, NK_I64);
  if (column == NULL) return nk_error_code();
  if (set->n > 0) memcpy(column->data.integer, values, set->n * sizeof *values);
  return NK_OK;
}

/* ---- Metadata ---- */

const char *nk_vectors_metadata(const struct nk_vectors *set, const char *key) {
  return set == NULL ? NULL : nki_pairs_find(&set->hidden->metadata, key);
}

int nk_vectors_set_metadata(struct nk_vectors *set, const char *key, const char *value) {
  if (set == NULL) return nki_fail_null();
  return nki_pairs_set(&set->hidden->metadata, key, value);
}

/* ---- Sets from sets ---- */

static int copy_metadata(struct nk_vectors *to, const struct nk_vectors *from) {
  const struct nki_pairs *pairs = &from->hidden->metadata;
  int code = NK_OK;
  for (size_t i = 0; i < pairs->n && code == NK_OK; i++) {
    code = nki_pairs_set(&to->hidden->metadata, pairs->item[i].key, pairs->item[i].value);
  }
  if (code == NK_OK && from->hidden->name != NULL) {
    to->hidden->name = nk_strdup(from->hidden->name);
    if (to->hidden->name == NULL) code = NK_EMEMORY;
  }
  return code;
}

int nki_vectors_copy_texts(struct nk_vectors *to, const struct nk_vectors *from,
                           const size_t *rows) {
  struct nk_buffer text = {0};
  if (from->text_offsets == NULL) return NK_OK;
  int64_t *offsets = nk_alloc(to->n + 1, sizeof *offsets);
  if (offsets == NULL) return NK_EMEMORY;
  offsets[0] = 0;
  for (size_t i = 0; i < to->n; i++) {
    size_t n_bytes;
    const char *bytes = nk_vectors_text(from, rows != NULL ? rows[i] : i, &n_bytes);
    nk_buffer_append(&text, bytes, n_bytes);
    offsets[i + 1] = (int64_t)text.size;
  }
  int code = text.failed ? nk_fail(NK_EMEMORY, "out of memory for the rows' texts")
                         : nk_vectors_set_text(to, text.data, offsets);
  nk_buffer_free(&text);
  nk_free(offsets);
  return code;
}

/* Row i of `to` is row rows[i] of `from`, or row i where rows is NULL: ids, texts, columns. */
static int copy_rows(struct nk_vectors *to, const struct nk_vectors *from, const size_t *rows) {
  for (size_t i = 0; i < to->n; i++) to->ids[i] = from->ids[rows != NULL ? rows[i] : i];
  int code = nki_vectors_copy_texts(to, from, rows);
  for (size_t c = 0; c < from->n_columns && code == NK_OK; c++) {
    const struct nk_column *source = &from->columns[c];
    struct nk_column *column = nki_vectors_append_column(to, source->name, source->dtype);
    if (column == NULL) return nk_error_code();
    for (size_t i = 0; i < to->n; i++) { /* numbers too, by their bits */
      column->data.integer[i] = source->data.integer[rows != NULL ? rows[i] : i];
    }
  }
  return code;
}

int nki_vectors_need_values(const struct nk_vectors *set) {
  if (set->values != NULL || set->n == 0) return NK_OK;
  return nk_fail(NK_EUSAGE, "the set has no values in memory: write it, and read what was written");
}

struct nk_vectors *nki_vectors_select(const struct nk_vectors *set, const size_t *rows, size_t n) {
  if (n > 0 && nki_vectors_need_values(set) != NK_OK) return NULL;
  struct nk_vectors *chosen = nk_vectors_new(n, set->dim, NULL, false);
  if (chosen == NULL) return NULL;
  if (copy_metadata(chosen, set) != NK_OK || copy_rows(chosen, set, rows) != NK_OK) {
    nk_vectors_free(chosen);
    return NULL;
  }
  float *values = nk_vectors_writable(chosen);
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < n; i++) {
    memcpy(values + i * set->dim, set->values + rows[i] * set->dim, set->dim * sizeof *values);
  }
  return chosen;
}

struct nk_vectors *nk_vectors_select_ids(const struct nk_vectors *set, const int64_t *ids,
                                         size_t n) {
  if (set == NULL) return NULL;
  size_t *rows = nk_alloc(n, sizeof *rows);
  struct nk_vectors *chosen = NULL;
  size_t found = 0;
  if (rows == NULL) return NULL;
  for (; found < n; found++) {
    /* Most sets hold id i in row i. */
    size_t row = (size_t)ids[found];
    if (row >= set->n || set->ids[row] != ids[found])
      for (row = 0; row < set->n && set->ids[row] != ids[found]; row++) continue;
    if (row == set->n) break;
    rows[found] = row;
  }
  if (found < n)
    nk_fail(NK_ENOTFOUND, "the set has no row of id %lld", (long long)ids[found]);
  else
    chosen = nki_vectors_select(set, rows, n);
  nk_free(rows);
  return chosen;
}

/* Copies of the tensors that `from` carries. */
static int copy_carried(struct nk_vectors *to, const struct nk_vectors *from) {
  size_t n = from->n_carried;
  struct nk_tensor *carried = to->carried = nk_calloc(n, sizeof *carried);
  if (carried == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < n; i++) {
    const struct nk_tensor *source = &from->carried[i];
    void *data = nk_alloc(source->n_bytes, 1);
    carried[i] = *source;
    carried[i].name = nk_strdup(source->name);
    carried[i].dtype_name = nk_strdup(nki_tensor_dtype_name(source));
    carried[i].data = data;
    to->n_carried = i + 1;
    if (carried[i].name == NULL || carried[i].dtype_name == NULL || data == NULL) return NK_EMEMORY;
    memcpy(data, source->data, source->n_bytes);
  }
  return NK_OK;
}

struct nk_vectors *nk_vectors_like(const struct nk_vectors *set, size_t dim, float *values) {
  if (set == NULL) return NULL;
  struct nk_vectors *like = nk_vectors_new(set->n, dim, values, false);
  if (like == NULL) return NULL;
  if (copy_metadata(like, set) == NK_OK && copy_rows(like, set, NULL) == NK_OK &&
      copy_carried(like, set) == NK_OK) {
    return like;
  }
  if (values != NULL) like->own_values = NULL; /* stays the caller's */
  nk_vectors_free(like);
  return NULL;
}

/* ---- Rows that are not finite ---- */

/* The first row from `start` on that holds a NaN or an infinity; n when there is none. */
static size_t first_bad_row(const struct nk_vectors *set, size_t start) {
  size_t first = set->n;
#pragma omp parallel for schedule(static) reduction(min : first)
  for (size_t row = start; row < set->n; row++) {
    if (row < first && nki_first_not_finite(set->values + row * set->dim, set->dim) < set->dim)
      first = row;
  }
  return first;
}

static int refuse_row(const struct nk_vectors *set, size_t row) {
  const struct nk_tensor *source = &set->hidden->source;
  const float *values = set->values + row * set->dim;
  size_t column = nki_first_not_finite(values, set->dim);
  size_t index = set->hidden->transposed ? column * set->n + row : row * set->dim + column;
  int code;
  if (source->data != NULL && nki_tensor_first_beyond(source, index, values + column, 1) == 0)
    code = nk_fail(NK_EDATA, "row %zu holds %.9g, beyond the range of a float (3.4e38)", row,
                   nki_element_number(source->dtype, source->data, index));
  else
    code =
        nk_fail(NK_EDATA, "row %zu holds %s", row, isnan(values[column]) ? "a NaN" : "an infinity");
  return set->hidden->name != NULL ? nk_fail_in(code, "%s", set->hidden->name) : code;
}

int nk_vectors_check_finite(struct nk_vectors **set, bool skip) {
  if (*set == NULL) return nki_fail_null();
  if (nki_vectors_need_values(*set) != NK_OK) return NK_EUSAGE;
  size_t n = (*set)->n, first = first_bad_row(*set, 0);
  if (first == n) return NK_OK;
  if (!skip) return refuse_row(*set, first);
  size_t *rows = nk_alloc(n, sizeof *rows);
  if (rows == NULL) return NK_EMEMORY;
  size_t kept = 0;
  for (size_t row = 0; row < n; row++) {
    if (nki_first_not_finite((*set)->values + row * (*set)->dim, (*set)->dim) == (*set)->dim)
      rows[kept++] = row;
  }
  struct nk_vectors *finite = nki_vectors_select(*set, rows, kept);
  nk_free(rows);
  if (finite == NULL) return nk_error_code();
  nk_warn("%zu of %zu rows hold a NaN or an infinity and are left out (the first is row %zu)",
          n - kept, n, first);
  nk_vectors_free(*set);
  *set = finite;
  return NK_OK;
}
