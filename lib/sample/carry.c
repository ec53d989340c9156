/* What a noken keeps of the row of a set that it was made from. */
#include <jansson.h>
#include <noken/base.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "io/vectors.h"
#include "sample/internal.h"

int nki_fail_in_set(int code, const struct nk_vectors *set) {
  const char *name = set->hidden->name;
  return code != NK_OK && name != NULL ? nk_fail_in(code, "%s", name) : code;
}

int nki_need_set(const struct nk_vectors *set, const struct nki_space *space, const char *what) {
  if (set == NULL) return nk_fail(NK_EUSAGE, "%s: no set is given", what);
  if (space != NULL && set->dim != space->dim)
    return nki_fail_in_set(
        nk_fail(NK_EDATA, "the set has rows of %zu values, the region is for %zu", set->dim,
                space->dim),
        set);
  return nki_vectors_need_values(set);
}

/* ---- Metadata ---- */

static const char HISTORY[] = "noken.history";

/* The commands of the set after those that made the region, but for what both begin with. */
static int join_histories(const char *text, struct nk_vectors *made) {
  const char *own = nk_vectors_metadata(made, HISTORY);
  if (own == NULL) return nk_vectors_set_metadata(made, HISTORY, text);
  json_t *first = nki_json_parse(HISTORY, own, strlen(own), 0), *second = NULL;
  if (first != NULL) second = nki_json_parse(HISTORY, text, strlen(text), 0);
  char *joined = NULL;
  int code = second != NULL ? NK_OK : nk_error_code();
  if (code == NK_OK && !(json_is_array(first) && json_is_array(second)))
    code = nk_fail(NK_EDATA, "%s: not a JSON array", HISTORY);
  size_t shared = 0, n = code == NK_OK ? json_array_size(second) : 0;
  while (shared < n && json_equal(json_array_get(first, shared), json_array_get(second, shared)))
    shared++;
  for (size_t i = shared; i < n && code == NK_OK; i++)
    if (json_array_append(first, json_array_get(second, i)) != 0) code = NK_EMEMORY;
  if (code == NK_OK && (joined = json_dumps(first, JSON_COMPACT)) == NULL) code = NK_EMEMORY;
  if (code == NK_EMEMORY) nk_fail(code, "%s: out of memory", HISTORY);
  if (code == NK_OK) code = nk_vectors_set_metadata(made, HISTORY, joined);
  free(joined);
  json_decref(first);
  json_decref(second);
  return code;
}

int nki_carry_metadata(const struct nk_vectors *set, struct nk_vectors *made) {
  static const char codes[] = "noken.codes."; /* they go with the columns */
  const struct nki_pairs *pairs = &set->hidden->metadata;
  int code = NK_OK;
  for (size_t i = 0; i < pairs->n && code == NK_OK; i++) {
    const char *key = pairs->item[i].key, *value = pairs->item[i].value;
    bool is_set_s = strcmp(key, "noken.model") == 0 || strcmp(key, "noken.space") == 0;
    if (strcmp(key, HISTORY) == 0)
      code = join_histories(value, made);
    else if (is_set_s ||
             (nk_vectors_metadata(made, key) == NULL && strncmp(key, codes, strlen(codes)) != 0))
      code = nk_vectors_set_metadata(made, key, value);
  }
  return code;
}

/* ---- Columns and texts ---- */

/* The words of a column's values, under its new name. */
static int carry_codes(const struct nk_vectors *set, const char *from, struct nk_vectors *made,
                       const char *to) {
  struct nk_buffer key = {0};
  nk_buffer_printf(&key, "noken.codes.%s", from);
  const char *words = key.failed ? NULL : nk_vectors_metadata(set, key.data);
  nk_buffer_clear(&key);
  nk_buffer_printf(&key, "noken.codes.%s", to);
  int code = key.failed ? nk_fail(NK_EMEMORY, "no memory for metadata") : NK_OK;
  if (code == NK_OK && words != NULL) code = nk_vectors_set_metadata(made, key.data, words);
  nk_buffer_free(&key);
  return code;
}

/* Whether nokens of some kind have a column of that name: the parent's would pass as the noken's
 * own. */
static bool is_noken_s(const char *name) {
  static const char *const NAMES[] = {
      "distance",    "achieved", "quantile", "times",      "l2",     "cosine",
      "mahalanobis", "knn",      "nearest",  "p_value",    "origin", "toward",
      "direction",   "ray",      "radius",   "origin_row", "pair",   "t",
      "a",           "b",        "match",    "norm",       "blend"};
  for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
    if (strcmp(name, NAMES[i]) == 0) return true;
  return false;
}

static int carry_column(const struct nk_vectors *set, const struct nk_column *source,
                        const size_t *rows, struct nk_vectors *made) {
  struct nk_buffer name = {0};
  nk_buffer_text(&name, source->name);
  while (!name.failed && (is_noken_s(name.data) || nk_vectors_column(made, name.data) != NULL)) {
    char *shorter = nk_strndup(name.data, name.size);
    nk_buffer_clear(&name);
    nk_buffer_printf(&name, "set_%s", shorter != NULL ? shorter : "");
    if (shorter == NULL) name.failed = true;
    nk_free(shorter);
  }
  int code = name.failed ? nk_fail(NK_EMEMORY, "no memory for a column's name") : NK_OK;
  struct nk_column *column =
      code == NK_OK ? nki_vectors_append_column(made, name.data, source->dtype) : NULL;
  if (code == NK_OK && column == NULL) code = nk_error_code();
  for (size_t i = 0; i < made->n && code == NK_OK; i++) /* numbers too, by their bits */
    column->data.integer[i] = source->data.integer[rows[i]];
  if (code == NK_OK) code = carry_codes(set, source->name, made, name.data);
  nk_buffer_free(&name);
  return code;
}

int nki_carry_rows(const struct nk_vectors *set, const size_t *rows, struct nk_vectors *made) {
  int code = nki_carry_metadata(set, made);
  if (code == NK_OK) code = nki_vectors_copy_texts(made, set, rows);
  for (size_t c = 0; c < set->n_columns && code == NK_OK; c++)
    code = carry_column(set, &set->columns[c], rows, made);
  return code;
}
