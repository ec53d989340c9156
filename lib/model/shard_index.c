/* {"metadata": {...}, "weight_map": {"TENSOR": "model-00001-of-00002.safetensors", ...}}, of some
 * ten megabytes for the largest models: read without a tree. */
#include "model/shard_index.h"

#include <noken/base.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_scan.h"

/* The shard called name, added when it is new; files have at most some hundred. */
static int find_shard(struct nki_shard_index *index, const char *name, size_t *shard) {
  for (*shard = index->n_shards; *shard > 0; --*shard) { /* the last one is the likely one */
    if (strcmp(index->shards[*shard - 1], name) == 0) {
      --*shard;
      return NK_OK;
    }
  }
  size_t n = strlen(name), suffix = strlen(".safetensors");
  if (strchr(name, '/') != NULL || name[0] == '.' || n < suffix ||
      strcmp(name + n - suffix, ".safetensors") != 0) {
    return nk_fail(NK_EDATA, "shard '%.200s' is not the name of a .safetensors file beside it",
                   name);
  }
  enum { MOST = 2000 }; /* they are searched one by one; published models have some hundred */
  if (index->n_shards == MOST) return nk_fail(NK_EDATA, "more than %d shards", MOST);
  char **grown = nk_realloc(index->shards, index->n_shards, index->n_shards + 1, sizeof *grown);
  if (grown == NULL) return NK_EMEMORY;
  index->shards = grown;
  *shard = index->n_shards;
  grown[*shard] = nk_strdup(name);
  if (grown[*shard] == NULL) return NK_EMEMORY;
  index->n_shards++;
  return NK_OK;
}

static int add_entry(struct nki_shard_index *index, size_t *capacity, size_t name, size_t shard) {
  if (index->n_entries == *capacity) {
    size_t more = *capacity + *capacity / 2 + 64;
    struct nki_shard_entry *grown =
        nk_realloc(index->entries, index->n_entries, more, sizeof *grown);
    if (grown == NULL) return NK_EMEMORY;
    index->entries = grown;
    *capacity = more;
  }
  index->entries[index->n_entries++] = (struct nki_shard_entry){name, shard};
  return NK_OK;
}

static int read_map(struct nki_scan *scan, struct nki_shard_index *index) {
  struct nk_buffer shard_name = {0};
  size_t capacity = 0, shard;
  bool first = true;
  int code = nki_scan_expect(scan, '{'), more;
  while (code == NK_OK && (more = nki_scan_next(scan, '}', &first)) != 0) {
    size_t name = index->names.size;
    nk_buffer_clear(&shard_name);
    code = more < 0 ? more : nki_scan_string(scan, &index->names);
    nk_buffer_byte(&index->names, 0);
    if (code == NK_OK) code = nki_scan_expect(scan, ':');
    if (code == NK_OK) code = nki_scan_string(scan, &shard_name);
    if (code == NK_OK && (index->names.failed || shard_name.failed))
      code = nk_fail(NK_EMEMORY, "out of memory");
    if (code == NK_OK)
      code = find_shard(index, shard_name.data != NULL ? shard_name.data : "", &shard);
    if (code == NK_OK) code = add_entry(index, &capacity, name, shard);
  }
  nk_buffer_free(&shard_name);
  return code;
}

static int read_index(struct nki_scan *scan, struct nki_shard_index *index) {
  struct nk_buffer key = {0};
  bool first = true;
  int code = nki_scan_expect(scan, '{'), more;
  while (code == NK_OK && (more = nki_scan_next(scan, '}', &first)) != 0) {
    nk_buffer_clear(&key);
    code = more < 0 ? more : nki_scan_string(scan, &key);
    if (code == NK_OK) code = nki_scan_expect(scan, ':');
    if (code != NK_OK) break;
    bool is_map = key.data != NULL && strcmp(key.data, "weight_map") == 0;
    if (is_map && index->n_entries > 0)
      code = nki_scan_fail(scan, "a second 'weight_map'");
    else
      code = is_map ? read_map(scan, index) : nki_scan_skip(scan);
  }
  nk_buffer_free(&key);
  if (code == NK_OK && index->n_entries == 0)
    code = nk_fail(NK_EDATA, "'weight_map' is missing or empty");
  return code;
}

/* ---- Sorting ---- */

struct named {
  const char *name;
  size_t index;
};

static int by_name(const void *a, const void *b) {
  return strcmp(((const struct named *)a)->name, ((const struct named *)b)->name);
}

/* Sorts the shards, and gives the entries their shards' new numbers. */
static int sort_shards(struct nki_shard_index *index) {
  size_t n = index->n_shards;
  struct named *sorted = nk_alloc(n, sizeof *sorted);
  size_t *place = nk_alloc(n, sizeof *place);
  int code = sorted != NULL && place != NULL ? NK_OK : NK_EMEMORY;
  for (size_t i = 0; code == NK_OK && i < n; i++) sorted[i] = (struct named){index->shards[i], i};
  if (code == NK_OK) qsort(sorted, n, sizeof *sorted, by_name);
  for (size_t i = 0; code == NK_OK && i < n; i++) place[sorted[i].index] = i;
  for (size_t i = 0; code == NK_OK && i < n; i++)
    index->shards[i] = (char *)(uintptr_t)sorted[i].name;
  for (size_t i = 0; code == NK_OK && i < index->n_entries; i++) {
    index->entries[i].shard = place[index->entries[i].shard];
  }
  nk_free(sorted);
  nk_free(place);
  return code;
}

static int by_entry(const void *a, const void *b, void *names) {
  const struct nki_shard_entry *x = a, *y = b;
  return strcmp((const char *)names + x->name, (const char *)names + y->name);
}

static int sort_entries(struct nki_shard_index *index) {
  qsort_r(index->entries, index->n_entries, sizeof *index->entries, by_entry, index->names.data);
  for (size_t i = 1; i < index->n_entries; i++) {
    const char *name = nki_shard_index_name(index, i);
    if (strcmp(nki_shard_index_name(index, i - 1), name) == 0)
      return nk_fail(NK_EDATA, "duplicate tensor '%.200s'", name);
  }
  return NK_OK;
}

int nki_shard_index_read(const char *path, struct nki_shard_index *index) {
  struct nk_file *file = nk_file_open(path);
  if (file == NULL) return nk_error_code();
  struct nki_scan scan = nki_scan_begin("JSON", file->data, file->size);
  int code = read_index(&scan, index);
  if (code == NK_OK) code = sort_shards(index);
  if (code == NK_OK) code = sort_entries(index);
  nk_file_free(file);
  return code == NK_OK ? NK_OK : nk_fail_in(code, "%s", path);
}

const char *nki_shard_index_find(const struct nki_shard_index *index, const char *tensor) {
  size_t low = 0, high = index->n_entries;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    int order = strcmp(nki_shard_index_name(index, middle), tensor);
    if (order == 0) return index->shards[index->entries[middle].shard];
    if (order < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return NULL;
}

void nki_shard_index_free(struct nki_shard_index *index) {
  for (size_t i = 0; i < index->n_shards; i++) nk_free(index->shards[i]);
  nk_free(index->shards);
  nk_free(index->entries);
  nk_buffer_free(&index->names);
}
