/* Places, from the columns of a vector set. */
#include "cli/places.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/sets.h"

/* ---- Columns ---- */

/* The column's value in a row as a whole number; -1 where it is not one, or negative. */
static int64_t whole(const struct nk_column *column, size_t row) {
  if (column->dtype == NK_I64)
    return column->data.integer[row] < 0 ? -1 : column->data.integer[row];
  double value = column->data.number[row];
  return value >= 0 && value < 0x1p53 && value == floor(value) ? (int64_t)value : -1;
}

/* *value = that of the set's column, below `bound`. */
static int read_column(const struct cli_place_rules *rules, const char *name, size_t row,
                       size_t bound, const char *of, size_t *value) {
  const struct nk_column *column = nk_vectors_column(rules->set, name);
  int64_t found = whole(column, row);
  *value = (size_t)found;
  if (found >= 0 && (size_t)found < bound) return NK_OK;
  return nk_fail(NK_EDATA, "%s: row %zu: %s %.9g: expected 0 to %zu, %s", rules->name, row, name,
                 cli_column_number(column, row), bound - 1, of);
}

/* ---- Origins ---- */

struct origin {
  double key; /* origin_row, or ray */
  size_t row;
};

static int compare_origins(const void *a, const void *b) {
  const struct origin *x = a, *y = b;
  if (x->key != y->key) return x->key < y->key ? -1 : 1;
  return (x->row > y->row) - (x->row < y->row);
}

/* The rows with radius 0. */
struct origins {
  const struct nk_column *key; /* or NULL */
  struct origin *item;         /* [n] ascending, a key once */
  size_t n;
};

static int find_origins(const struct cli_place_rules *rules, struct origins *origins) {
  const struct nk_vectors *set = rules->set;
  const struct nk_column *radius = nk_vectors_column(set, "radius");
  size_t kept = 0, n = 0, dim = set->dim;
  origins->key = nk_vectors_column(set, "origin_row");
  if (origins->key == NULL) origins->key = nk_vectors_column(set, "ray");
  if (radius == NULL || origins->key == NULL) return NK_OK;
  struct origin *item = origins->item = nk_alloc(set->n, sizeof *item);
  if (item == NULL) return NK_EMEMORY;
  for (size_t row = 0; row < set->n; row++)
    if (cli_column_number(radius, row) == 0 && !isnan(cli_column_number(origins->key, row)))
      item[n++] = (struct origin){cli_column_number(origins->key, row), row};
  qsort(item, n, sizeof *item, compare_origins);
  for (size_t i = 0; i < n; i++) {
    if (kept == 0 || item[i].key != item[kept - 1].key) {
      item[kept++] = item[i];
      continue;
    }
    const float *a = set->values + item[kept - 1].row * dim, *b = set->values + item[i].row * dim;
    if (memcmp(a, b, dim * sizeof *a) != 0)
      return nk_fail(NK_EDATA, "%s: rows %zu and %zu: two vectors of radius 0 with %s %.9g",
                     rules->name, item[kept - 1].row, item[i].row, origins->key->name, item[i].key);
  }
  origins->n = kept;
  return NK_OK;
}

/* The row's origin, or SIZE_MAX. */
static size_t origin_of(const struct origins *origins, size_t row) {
  if (origins->n == 0) return SIZE_MAX;
  struct origin wanted = {cli_column_number(origins->key, row), 0};
  size_t low = 0, high = origins->n;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (origins->item[middle].key < wanted.key)
      low = middle + 1;
    else
      high = middle;
  }
  return low < origins->n && origins->item[low].key == wanted.key ? origins->item[low].row
                                                                  : SIZE_MAX;
}

/* ---- One row ---- */

static int check_token(const struct cli_place_rules *rules, const struct nk_place *place,
                       size_t row) {
  const struct nk_column *token = nk_vectors_column(rules->set, "token");
  int64_t id = rules->contexts->item[place->context].ids[place->position];
  if (token == NULL || rules->of_prompt || rules->at_position ||
      cli_column_number(token, row) == (double)id)
    return NK_OK;
  return nk_fail(NK_EDATA,
                 "%s: row %zu: token %.9g: %s has %lld in line %zu at position %zu; give the file "
                 "that the states are from",
                 rules->name, row, cli_column_number(token, row), rules->contexts->name,
                 (long long)id, place->context + 1, place->position);
}

static int find_slot(const struct cli_place_rules *rules, size_t *position) {
  const struct nk_sequence *prompt = &rules->contexts->item[0];
  for (size_t i = prompt->n; i > 0; i--)
    if (prompt->ids[i - 1] == NK_VECTOR) {
      *position = i - 1;
      return NK_OK;
    }
  return nk_fail(NK_EUSAGE, "%s has no slot {}", rules->contexts->name);
}

static int find_place(const struct cli_place_rules *rules, size_t row, struct nk_place *place) {
  const struct cli_contexts *c = rules->contexts;
  int code = NK_OK;
  *place = (struct nk_place){.layer = rules->layer, .alone = rules->at_position};
  if (!rules->of_prompt)
    code = read_column(rules, "context", row, c->n, "the file's lines", &place->context);
  const struct nk_sequence *context = &c->item[code == NK_OK ? place->context : 0];
  if (code == NK_OK && context->n == 0)
    code = nk_fail(NK_EDATA, "%s: row %zu: context %zu: line %zu of %s is empty", rules->name, row,
                   place->context, place->context + 1, c->name);
  if (code != NK_OK) return code;
  if (rules->at_position)
    code = cli_contexts_position(c, place->context, rules->position, &place->position);
  else if (rules->of_prompt)
    code = find_slot(rules, &place->position);
  else
    code = read_column(rules, "position", row, context->n, "the line's tokens", &place->position);
  if (code == NK_OK && !rules->at_layer)
    code =
        read_column(rules, "layer", row, rules->n_layers + 1, "the model's layers", &place->layer);
  place->read = rules->read_place ? place->position : context->n - 1;
  return code == NK_OK ? check_token(rules, place, row) : code;
}

/* ---- All rows ---- */

struct key {
  struct nk_place place;
  size_t origin, row;
};

static int compare(size_t a, size_t b) {
  return (a > b) - (a < b);
}

static int compare_places(const struct key *x, const struct key *y) {
  int order = compare(x->place.context, y->place.context);
  if (order == 0) order = compare(x->place.position, y->place.position);
  if (order == 0) order = compare(x->place.layer, y->place.layer);
  return order == 0 ? compare(x->origin, y->origin) : order;
}

static int compare_keys(const void *a, const void *b) {
  const struct key *x = a, *y = b;
  int order = compare_places(x, y);
  return order == 0 ? compare(x->row, y->row) : order;
}

/* A row and its origin are of one place, wherever the rules put them. */
static int check_origin(const struct cli_place_rules *rules, const struct origins *origins,
                        const struct key *key) {
  static const char *const columns[] = {"context", "position", "layer"};
  bool slot = rules->contexts->item[key->place.context].ids[key->place.position] == NK_VECTOR;
  bool is_of_none = origins->n == 0 || cli_column_number(origins->key, key->row) < 0;
  if (key->origin == SIZE_MAX && (slot || !is_of_none))
    return nk_fail(NK_EDATA, "%s: row %zu: no row of radius 0 with its %s, %s", rules->name,
                   key->row, origins->key == NULL ? "origin_row" : origins->key->name,
                   slot ? "and a slot has no state of its own; use nk-sample --with-origin"
                        : "as other rows have; leave out this row, or give it -1 there");
  for (size_t c = 0; c < sizeof columns / sizeof *columns && key->origin != SIZE_MAX; c++) {
    const struct nk_column *column = nk_vectors_column(rules->set, columns[c]);
    if (column != NULL && !cli_column_same(column, key->row, key->origin))
      return nk_fail(NK_EDATA,
                     "%s: row %zu: %s %.9g: row %zu, of radius 0 with its %s, has %.9g; number "
                     "the origins of a set apart",
                     rules->name, key->row, columns[c], cli_column_number(column, key->row),
                     key->origin, origins->key->name, cli_column_number(column, key->origin));
  }
  return NK_OK;
}

static int find_key(const struct cli_place_rules *rules, const struct origins *origins, size_t row,
                    struct key *key) {
  int code = find_place(rules, row, &key->place);
  key->row = row;
  key->origin = origin_of(origins, row);
  if (code == NK_OK) code = check_origin(rules, origins, key);
  if (code == NK_OK && key->origin != SIZE_MAX)
    key->place.origin = rules->set->values + key->origin * rules->set->dim;
  return code;
}

static int check_columns(const struct cli_place_rules *rules) {
  const struct {
    const char *name, *instead;
    bool wanted;
  } columns[] = {{"context", "make it by nk-run --contexts", !rules->of_prompt},
                 {"position", "use --position P", !rules->of_prompt && !rules->at_position},
                 {"layer", "use --at L", !rules->at_layer}};
  for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
    if (columns[i].wanted && nk_vectors_column(rules->set, columns[i].name) == NULL)
      return nk_fail(NK_EUSAGE, "%s: no column '%s': %s", rules->name, columns[i].name,
                     columns[i].instead);
  return NK_OK;
}

int cli_places_make(const struct cli_place_rules *rules, struct cli_places *places) {
  size_t n = rules->set->n;
  struct origins origins = {0};
  struct key *keys = nk_alloc(n, sizeof *keys);
  int code = keys == NULL ? NK_EMEMORY : check_columns(rules);
  if (code == NK_OK) code = find_origins(rules, &origins);
  for (size_t row = 0; row < n && code == NK_OK; row++)
    code = find_key(rules, &origins, row, &keys[row]);
  if (code != NK_OK) goto done;
  qsort(keys, n, sizeof *keys, compare_keys);
  places->item = nk_alloc(n, sizeof *places->item);
  places->of_row = nk_alloc(n, sizeof *places->of_row);
  if (places->item == NULL || places->of_row == NULL) code = NK_EMEMORY;
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    if (i == 0 || compare_places(&keys[i - 1], &keys[i]) != 0)
      places->item[places->n++] = keys[i].place;
    places->of_row[keys[i].row] = places->n - 1;
  }

done:
  nk_free(keys);
  nk_free(origins.item);
  return code;
}

void cli_places_free(struct cli_places *places) {
  nk_free(places->item);
  nk_free(places->of_row);
  *places = (struct cli_places){0};
}
