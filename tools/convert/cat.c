/* Sets one after another. Ids, texts and columns are copied; the values, which are most of a set,
 * are written from where they are. */
#include "convert/cat.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "convert/write.h"

/* ---- What the sets share ---- */

static int check_columns(const struct nk_vectors *first, const char *first_path,
                         const struct nk_vectors *set, const char *path) {
  for (size_t i = 0; i < first->n_columns; i++) {
    const struct nk_column *a = &first->columns[i], *b = nk_vectors_column(set, a->name);
    if (b == NULL)
      return nk_fail(NK_EDATA, "%s: no column '%.200s', which %s has: all sets need the same", path,
                     a->name, first_path);
    if (a->dtype != b->dtype)
      return nk_fail(NK_EDATA, "%s: column '%.200s' is %s, that of %s is %s", path, a->name,
                     nk_dtype_names[b->dtype], first_path, nk_dtype_names[a->dtype]);
  }
  for (size_t i = 0; i < set->n_columns; i++)
    if (nk_vectors_column(first, set->columns[i].name) == NULL)
      return nk_fail(NK_EDATA, "%s: no column '%.200s', which %s has: all sets need the same",
                     first_path, set->columns[i].name, path);
  return NK_OK;
}

static bool same_text(const char *a, const char *b) {
  return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* Numbers that stand for words stand for the same words. */
static int check_codes(const struct nk_vectors *first, const char *first_path,
                       const struct nk_vectors *set, const char *path) {
  int code = NK_OK;
  for (size_t i = 0; i < first->n_columns && code == NK_OK; i++) {
    struct nk_buffer key = {0};
    nk_buffer_printf(&key, "noken.codes.%s", first->columns[i].name);
    if (key.failed)
      code = NK_EMEMORY;
    else if (!same_text(nk_vectors_metadata(first, key.data), nk_vectors_metadata(set, key.data)))
      code = nk_fail(NK_EDATA, "%s: the words of column '%.200s' are not those of %s", path,
                     first->columns[i].name, first_path);
    nk_buffer_free(&key);
  }
  return code;
}

static int check(const struct nk_vectors *first, const char *first_path,
                 const struct nk_vectors *set, const char *path) {
  if (set->n_carried > 0)
    return nk_fail(NK_EDATA, "%s: tensor '%.200s' has no value for each row: it cannot be joined",
                   path, set->carried[0].name);
  if (set->dim != first->dim)
    return nk_fail(NK_EDATA, "%s: %zu dimensions, %s has %zu", path, set->dim, first_path,
                   first->dim);
  if ((set->text_offsets == NULL) != (first->text_offsets == NULL))
    return nk_fail(NK_EDATA, "%s has texts and %s has none: all sets or none need them",
                   set->text_offsets != NULL ? path : first_path,
                   set->text_offsets != NULL ? first_path : path);
  int code = check_columns(first, first_path, set, path);
  return code == NK_OK ? check_codes(first, first_path, set, path) : code;
}

/* ---- Joining ---- */

static int join_ids(struct nk_vectors *joined, struct nk_vectors *const *sets, size_t n) {
  size_t total = 0, at = 0;
  for (size_t s = 0; s < n; s++)
    if (!nk_size_add(total, sets[s]->n, &total))
      return nk_fail(NK_EMEMORY, "more rows than memory has");
  int64_t *ids = nk_alloc(total, sizeof *ids);
  if (ids == NULL) return NK_EMEMORY;
  for (size_t s = 0; s < n; s++) {
    if (sets[s]->n > 0) memcpy(ids + at, sets[s]->ids, sets[s]->n * sizeof *ids);
    at += sets[s]->n;
  }
  nk_free(joined->ids);
  joined->ids = ids;
  joined->n = total;
  return NK_OK;
}

static int join_texts(struct nk_vectors *joined, struct nk_vectors *const *sets, size_t n) {
  if (sets[0]->text_offsets == NULL) return NK_OK;
  struct nk_buffer bytes = {0};
  int64_t *offsets = nk_alloc(joined->n + 1, sizeof *offsets);
  if (offsets == NULL) return NK_EMEMORY;
  offsets[0] = 0;
  size_t at = 0;
  for (size_t s = 0; s < n; s++) {
    const struct nk_vectors *set = sets[s];
    int64_t before = offsets[at];
    for (size_t i = 0; i < set->n; i++) offsets[++at] = before + set->text_offsets[i + 1];
    nk_buffer_append(&bytes, (const char *)set->text, (size_t)set->text_offsets[set->n]);
  }
  int code = bytes.failed ? nk_fail(NK_EMEMORY, "out of memory for texts")
                          : nk_vectors_set_text(joined, bytes.size > 0 ? bytes.data : "", offsets);
  nk_buffer_free(&bytes);
  nk_free(offsets);
  return code;
}

static int join_column(struct nk_vectors *joined, struct nk_column *column,
                       struct nk_vectors *const *sets, size_t n) {
  double *values = nk_alloc(joined->n, sizeof *values); /* or as many integers */
  size_t at = 0;
  if (values == NULL) return NK_EMEMORY;
  for (size_t s = 0; s < n; s++) {
    const struct nk_column *part = nk_vectors_column(sets[s], column->name);
    if (sets[s]->n > 0) memcpy(values + at, part->data.number, sets[s]->n * sizeof *values);
    at += sets[s]->n;
  }
  nk_free(column->data.number);
  column->data.number = values;
  return NK_OK;
}

/* Puts the columns in the order of the first set with rows: those of a file of none, whose bytes
 * are all at one place, are read by name. */
static void order_columns(struct nk_vectors *joined, struct nk_vectors *const *sets, size_t n) {
  size_t s = 0;
  while (s < n && sets[s]->n == 0) s++;
  for (size_t c = 0; s < n && c < joined->n_columns; c++) {
    size_t at = c;
    while (strcmp(joined->columns[at].name, sets[s]->columns[c].name) != 0) at++;
    const struct nk_column other = joined->columns[c];
    joined->columns[c] = joined->columns[at];
    joined->columns[at] = other;
  }
}

/* A model or space that differs is that of no row of the others. */
static int join_metadata(struct nk_vectors *joined, const struct nk_vectors *set,
                         const char *path) {
  static const char *const keys[] = {"noken.model", "noken.space"};
  int code = NK_OK;
  for (size_t i = 0; i < sizeof keys / sizeof *keys && code == NK_OK; i++) {
    const char *kept = nk_vectors_metadata(joined, keys[i]);
    if (kept == NULL || same_text(kept, nk_vectors_metadata(set, keys[i]))) continue;
    nk_warn("%s: another %s than the sets before it: the joined set states none", path,
            i == 0 ? "model" : "space");
    code = nk_vectors_set_metadata(joined, keys[i], NULL);
  }
  return code == NK_OK ? cli_join_history(joined, set) : code;
}

static int join(struct nk_vectors *joined, char *const *paths, struct nk_vectors *const *sets,
                size_t n) {
  int code = join_ids(joined, sets, n);
  if (code == NK_OK) code = join_texts(joined, sets, n);
  for (size_t c = 0; c < joined->n_columns && code == NK_OK; c++)
    code = join_column(joined, &joined->columns[c], sets, n);
  if (code == NK_OK) order_columns(joined, sets, n);
  for (size_t s = 1; s < n && code == NK_OK; s++) code = join_metadata(joined, sets[s], paths[s]);
  joined->values = NULL;
  joined->parts = (const struct nk_vectors *const *)sets;
  joined->n_parts = n;
  return code;
}

/* ---- Parts of a run by --shard ---- */

static const char shard_key[] = "noken.shard";

/* Whether two sets were made by the same commands from the same model. */
static bool is_same_run(const struct nk_vectors *a, const struct nk_vectors *b) {
  static const char *const keys[] = {"noken.history", "noken.model", "noken.space"};
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
    if (!same_text(nk_vectors_metadata(a, keys[i]), nk_vectors_metadata(b, keys[i]))) return false;
  return true;
}

/* Whether the sets are all parts of a run, in their order: joined, they are what the whole run
 * writes. Where some are parts, but not these, a warning says so. *shards: whether any is one. */
static bool is_complete(char *const *paths, struct nk_vectors *const *sets, size_t n,
                        bool *shards) {
  const char *found = NULL; /* in place of the first part that is missing */
  size_t place = 0;
  *shards = false;
  for (size_t s = 0; s < n; s++) {
    const char *shard = nk_vectors_metadata(sets[s], shard_key);
    char expected[48];
    snprintf(expected, sizeof expected, "%zu/%zu", s + 1, n);
    *shards = *shards || shard != NULL;
    if (found != NULL) continue;
    place = s;
    if (shard == NULL)
      found = "no part of a run";
    else if (strcmp(shard, expected) != 0)
      found = shard;
    else if (!is_same_run(sets[0], sets[s]))
      found = "a part of another run";
  }
  if (*shards && found != NULL)
    nk_warn(
        "%s: part %zu/%zu of one run is expected here, this is %.40s: the joined set is not a "
        "whole run; name all its parts in their order",
        paths[place], place + 1, n, found);
  return found == NULL;
}

/* The whole of a run has the run's history alone. */
static int write_joined(const struct cli_run *run, struct nk_vectors *joined, bool complete) {
  if (!complete) return convert_write(run, CONVERT_TO_SAFETENSORS, joined);
  struct nk_output *output = cli_output(run, NK_OUTPUT_BINARY);
  int code = output == NULL ? nk_error_code() : nk_vectors_write(joined, output);
  if (code == NK_OK) code = nk_output_commit(output);
  nk_output_free(output);
  return code;
}

static int write_parts(const struct cli_run *run, struct nk_vectors *joined,
                       struct nk_vectors *const *sets) {
  bool shards, complete = is_complete(run->operands, sets, run->n_operands, &shards);
  int code = shards ? nk_vectors_set_metadata(joined, shard_key, NULL) : NK_OK;
  return code == NK_OK ? write_joined(run, joined, complete) : code;
}

/* ---- The whole ---- */

/* A set of the rows of all sets at paths [n], in their order, with their ids, texts and columns;
 * its values stay in the sets, which are read into sets [n] (NULL at first) and have to outlive it.
 * NULL on failure. */
static struct nk_vectors *join_files(char *const *paths, size_t n, struct nk_vectors **sets) {
  for (size_t s = 0; s < n; s++) {
    sets[s] = nk_vectors_read(paths[s]);
    if (sets[s] == NULL || check(sets[0], paths[0], sets[s], paths[s]) != NK_OK) return NULL;
  }
  struct nk_vectors *joined = nk_vectors_select_ids(sets[0], NULL, 0);
  if (joined == NULL || join(joined, paths, sets, n) == NK_OK) return joined;
  nk_vectors_free(joined);
  return NULL;
}

int convert_cat(const struct cli_run *run) {
  size_t n = run->n_operands;
  struct nk_vectors **sets = nk_calloc(n, sizeof *sets);
  struct nk_vectors *joined = sets != NULL ? join_files(run->operands, n, sets) : NULL;
  int code = joined != NULL ? write_parts(run, joined, sets) : nk_error_code();
  nk_vectors_free(joined);
  for (size_t i = 0; i < n && sets != NULL; i++) nk_vectors_free(sets[i]);
  nk_free(sets);
  return code;
}
