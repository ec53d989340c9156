/* Ranges of blocks. */
#include "cli/shard.h"

#include <stdio.h>
#include <string.h>

int cli_shard_parse(const char *text, struct cli_shard *shard) {
  const char *slash = text == NULL ? NULL : strchr(text, '/');
  int64_t number = 1, n = 1;
  int code = NK_OK;
  if (text != NULL) {
    char *first = slash == NULL ? NULL : nk_strndup(text, (size_t)(slash - text));
    if (slash != NULL && first == NULL) return NK_EMEMORY;
    code = slash == NULL ? NK_EUSAGE : cli_parse_integer("--shard", first, &number);
    if (code == NK_OK) code = cli_parse_integer("--shard", slash + 1, &n);
    nk_free(first);
  }
  if (code != NK_OK || number < 1 || number > n || n > CLI_MOST)
    return nk_fail(NK_EUSAGE, "--shard: '%s' is not I/N, with N from 1 to %d and I from 1 to N",
                   text, CLI_MOST);
  *shard = (struct cli_shard){(size_t)number, (size_t)n};
  return NK_OK;
}

bool cli_shard_is_first(const struct cli_shard *shard) {
  return shard->number <= 1;
}

/* n i / of, rounded down, for i and `of` of at most CLI_MOST. */
static size_t part(size_t n, size_t i, size_t of) {
  return n / of * i + n % of * i / of;
}

void cli_shard_range(const struct cli_shard *shard, size_t n, size_t range[2]) {
  size_t of = shard->n == 0 ? 1 : shard->n, number = shard->n == 0 ? 1 : shard->number;
  range[0] = part(n, number - 1, of);
  range[1] = part(n, number, of);
}

struct cli_table *cli_shard_table(const struct cli_shard *shard, const struct cli_run *run,
                                  struct nk_output *output) {
  struct cli_table *table = cli_new_table(run, output);
  if (table != NULL && !cli_shard_is_first(shard)) cli_table_omit_header(table);
  return table;
}

int cli_shard_mark(const struct cli_shard *shard, struct nk_vectors *set) {
  char text[48];
  if (shard->n <= 1) return NK_OK;
  snprintf(text, sizeof text, "%zu/%zu", shard->number, shard->n);
  return nk_vectors_set_metadata(set, "noken.shard", text);
}

/* ---- Blocks ---- */

static size_t blocks_of(size_t n_items, size_t size) {
  return n_items / size + (n_items % size > 0);
}

size_t cli_count_blocks(size_t n_scans, size_t n_items, size_t size) {
  return n_scans * blocks_of(n_items, size);
}

struct cli_block cli_block_at(size_t number, size_t n_items, size_t size) {
  size_t each = blocks_of(n_items, size), first = number % each * size;
  return (struct cli_block){
      .scan = number / each, .first = first, .n = n_items - first < size ? n_items - first : size};
}

void cli_shard_items(const struct cli_shard *shard, size_t n_scans, size_t n_items, size_t size,
                     size_t range[2]) {
  cli_shard_range(shard, cli_count_blocks(n_scans, n_items, size), range);
  for (int i = 0; i < 2 && n_items > 0; i++) {
    const struct cli_block block = cli_block_at(range[i], n_items, size);
    range[i] = block.scan * n_items + block.first;
  }
}

int cli_report_block(size_t number, const size_t range[2]) {
  size_t n = range[1] - range[0];
  return n > 1 ? nk_progress("blocks", number - range[0], n) : NK_OK; /* one has its own progress */
}

struct nk_items cli_slice_items(const struct nk_items *items, size_t first, size_t n,
                                struct nk_vectors *vectors) {
  size_t end = first + n, n_tokens = items->n_tokens;
  size_t from = first < n_tokens ? first : n_tokens, to = end < n_tokens ? end : n_tokens;
  struct nk_items slice = {.tokens = items->tokens == NULL ? NULL : items->tokens + from,
                           .n_tokens = to - from};
  if (end == to) return slice;
  size_t row = first > n_tokens ? first - n_tokens : 0;
  *vectors = *items->vectors;
  vectors->n = end - n_tokens - row;
  vectors->values += row * vectors->dim;
  slice.vectors = vectors;
  return slice;
}
