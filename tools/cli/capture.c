/* Captures: what is read, and the vector set that holds it. Values of all rows are in memory; ids,
 * texts and columns are those of the rows' items, found by the items' numbers. */
#include "cli/capture.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/options.h"
#include "cli/sets.h"

/* ---- The option ---- */

static int compare_sizes(const void *a, const void *b) {
  const size_t *x = a, *y = b;
  return (*x > *y) - (*x < *y);
}

/* Sorts sizes [*n] and keeps each once. */
static void sort_once(size_t *sizes, size_t *n) {
  size_t kept = 0;
  qsort(sizes, *n, sizeof *sizes, compare_sizes);
  for (size_t i = 0; i < *n; i++)
    if (kept == 0 || sizes[i] != sizes[kept - 1]) sizes[kept++] = sizes[i];
  *n = kept;
}

/* "0,2-4,end": `end` is NK_PROMPT_END, which is the last one. */
static int parse_offsets(const char *text, struct cli_capture *capture) {
  struct nk_buffer numbers = {0};
  int64_t *ids = NULL;
  size_t n = 0;
  bool end = false;
  for (const char *item = text; item != NULL;) {
    const char *comma = strchr(item, ',');
    size_t length = comma == NULL ? strlen(item) : (size_t)(comma - item);
    if (length == 3 && memcmp(item, "end", 3) == 0) {
      end = true;
    } else {
      if (numbers.size > 0) nk_buffer_byte(&numbers, ',');
      nk_buffer_append(&numbers, item, length);
      if (length == 0) nk_buffer_byte(&numbers, ','); /* cli_parse_ids refuses it */
    }
    item = comma == NULL ? NULL : comma + 1;
  }
  bool any = numbers.size > 0;
  nk_buffer_byte(&numbers, 0);
  int code = numbers.failed ? nk_fail(NK_EMEMORY, "no memory for offsets") : NK_OK;
  if (code == NK_OK && any) code = cli_parse_ids("--capture", numbers.data, &ids, &n);
  capture->offsets = code == NK_OK ? nk_alloc(n + 1, sizeof *capture->offsets) : NULL;
  if (code == NK_OK && capture->offsets == NULL) code = NK_EMEMORY;
  for (size_t i = 0; i < n && code == NK_OK; i++)
    capture->offsets[capture->n_offsets++] = (size_t)ids[i];
  if (code == NK_OK && end) capture->offsets[capture->n_offsets++] = NK_PROMPT_END;
  if (code == NK_OK) sort_once(capture->offsets, &capture->n_offsets);
  nk_buffer_free(&numbers);
  nk_free(ids);
  return code;
}

int cli_capture_parse(const char *text, size_t most, struct cli_capture *capture) {
  const char *colon = strchr(text, ':');
  char *layers = nk_strdup(text);
  if (layers == NULL) return NK_EMEMORY;
  if (colon != NULL) layers[colon - text] = 0;
  int code = cli_parse_layers("--capture", layers, 0, most, &capture->layers, &capture->n_layers);
  if (code == NK_OK) sort_once(capture->layers, &capture->n_layers);
  if (code == NK_OK) code = parse_offsets(colon == NULL ? "0" : colon + 1, capture);
  nk_free(layers);
  return code;
}

void cli_capture_free(struct cli_capture *capture) {
  nk_free(capture->layers);
  nk_free(capture->offsets);
  *capture = (struct cli_capture){0};
}

/* ---- Rows ---- */

/* Where each row comes from: [n] each. */
struct rows {
  const struct nk_items *items;
  size_t blocks[2]; /* those of the shard, a scan for each prompt */
  size_t n;
  size_t *item;
  int64_t *prompt, *layer, *offset;
};

static size_t n_items(const struct nk_items *items) {
  return items->n_tokens + (items->vectors == NULL ? 0 : items->vectors->n);
}

static struct cli_block block_at(const struct rows *rows, size_t number) {
  return cli_block_at(number, n_items(rows->items), CLI_BLOCK);
}

/* Sets n, and allocates the others. */
static int count_rows(const struct cli_capture *capture, struct nk_probe *const *probes,
                      struct rows *rows) {
  for (size_t b = rows->blocks[0]; b < rows->blocks[1]; b++) {
    const struct cli_block block = block_at(rows, b);
    size_t n;
    nk_probe_offsets(probes[block.scan], &n);
    if (!nk_size_mul(n, capture->n_layers, &n) || !nk_size_mul(n, block.n, &n) ||
        !nk_size_add(rows->n, n, &rows->n))
      return nk_fail(NK_EMEMORY, "a capture of more rows than memory holds");
  }
  rows->item = nk_alloc(rows->n, sizeof *rows->item);
  rows->prompt = nk_alloc(rows->n, sizeof *rows->prompt);
  rows->layer = nk_alloc(rows->n, sizeof *rows->layer);
  rows->offset = nk_alloc(rows->n, sizeof *rows->offset);
  if (rows->item == NULL || rows->prompt == NULL || rows->layer == NULL || rows->offset == NULL)
    return NK_EMEMORY;
  return NK_OK;
}

static int make_rows(const struct cli_capture *capture, struct nk_probe *const *probes,
                     struct rows *rows) {
  size_t n_offsets, at = 0;
  int code = count_rows(capture, probes, rows);
  for (size_t b = rows->blocks[0]; b < rows->blocks[1] && code == NK_OK; b++) {
    const struct cli_block block = block_at(rows, b);
    const size_t *offsets = nk_probe_offsets(probes[block.scan], &n_offsets);
    for (size_t i = block.first; i < block.first + block.n; i++)
      for (size_t k = 0; k < n_offsets; k++)
        for (size_t l = 0; l < capture->n_layers; l++, at++) {
          rows->item[at] = i;
          rows->prompt[at] = (int64_t)block.scan;
          rows->layer[at] = (int64_t)capture->layers[l];
          rows->offset[at] = (int64_t)offsets[k];
        }
  }
  return code;
}

static void free_rows(struct rows *rows) {
  nk_free(rows->item);
  nk_free(rows->prompt);
  nk_free(rows->layer);
  nk_free(rows->offset);
}

static int read_streams(const struct cli_capture *capture, struct nk_probe *const *probes,
                        const struct rows *rows, struct nk_vectors *out) {
  float *values = nk_vectors_writable(out);
  int code = NK_OK;
  for (size_t b = rows->blocks[0]; b < rows->blocks[1] && code == NK_OK; b++) {
    const struct cli_block block = block_at(rows, b);
    struct nk_vectors vectors;
    const struct nk_items items = cli_slice_items(rows->items, block.first, block.n, &vectors);
    size_t n_offsets;
    nk_probe_offsets(probes[block.scan], &n_offsets);
    code = cli_report_block(b, rows->blocks);
    if (code == NK_OK)
      code =
          nk_probe_capture(probes[block.scan], &items, capture->layers, capture->n_layers, values);
    values += block.n * n_offsets * capture->n_layers * out->dim;
  }
  return code == NK_OK ? cli_report_block(rows->blocks[1], rows->blocks) : code;
}

/* ---- Ids, texts, columns ---- */

static void set_ids(const struct rows *rows, struct nk_vectors *out) {
  const struct nk_items *items = rows->items;
  for (size_t i = 0; i < rows->n; i++)
    out->ids[i] = rows->item[i] < items->n_tokens
                      ? items->tokens[rows->item[i]]
                      : items->vectors->ids[rows->item[i] - items->n_tokens];
}

static int set_texts(const struct rows *rows, const struct nk_tokenizer *tokenizer,
                     struct nk_vectors *out) {
  const struct nk_items *items = rows->items;
  if (items->n_tokens == 0 && (items->vectors == NULL || items->vectors->text == NULL))
    return NK_OK;
  struct nk_buffer bytes = {0};
  int64_t *offsets = nk_alloc(rows->n + 1, sizeof *offsets);
  if (offsets == NULL) return NK_EMEMORY;
  offsets[0] = 0;
  for (size_t i = 0; i < rows->n; i++) {
    size_t item = rows->item[i], length = 0;
    const char *text = item < items->n_tokens
                           ? nk_tokenizer_bytes(tokenizer, (size_t)items->tokens[item], &length)
                           : nk_vectors_text(items->vectors, item - items->n_tokens, &length);
    if (text != NULL) nk_buffer_append(&bytes, text, length);
    offsets[i + 1] = (int64_t)bytes.size;
  }
  int code = bytes.failed ? nk_fail(NK_EMEMORY, "no memory for texts")
                          : nk_vectors_set_text(out, bytes.data, offsets);
  nk_buffer_free(&bytes);
  nk_free(offsets);
  return code;
}

/* As cli_copy_column, of a whole some of whose rows have no value, whether they are in this shard
 * or not: integers become numbers. */
static int copy_numbers(const struct nk_vectors *set, const struct nk_column *column,
                        const size_t *row, const char *name, struct nk_vectors *out) {
  struct nk_column numbers = {.name = column->name, .dtype = NK_F64};
  numbers.data.number = nk_alloc(set->n, sizeof *numbers.data.number);
  if (numbers.data.number == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < set->n; i++) numbers.data.number[i] = cli_column_number(column, i);
  int code = cli_copy_column(set, &numbers, row, name, out);
  nk_free(numbers.data.number);
  return code;
}

/* row [n]: of the items' set; a token has none. */
static int carry_column(const struct nk_items *items, const struct nk_column *column,
                        const size_t *row, struct nk_vectors *out) {
  struct nk_buffer name = {0};
  int code = NK_OK;
  nk_buffer_text(&name, column->name);
  nk_buffer_byte(&name, 0);
  while (!name.failed && nk_vectors_column(out, name.data) != NULL) cli_set_prefix(&name);
  if (name.failed) code = nk_fail(NK_EMEMORY, "no memory for a column's name");
  if (code == NK_OK)
    code = (items->n_tokens > 0 ? copy_numbers : cli_copy_column)(items->vectors, column, row,
                                                                  name.data, out);
  nk_buffer_free(&name);
  return code;
}

static int set_columns(const struct rows *rows, struct nk_vectors *out) {
  const struct nk_vectors *set = rows->items->vectors;
  size_t n_tokens = rows->items->n_tokens;
  int code = nk_vectors_set_integers(out, "prompt", rows->prompt);
  if (code == NK_OK) code = nk_vectors_set_integers(out, "layer", rows->layer);
  if (code == NK_OK) code = nk_vectors_set_integers(out, "offset", rows->offset);
  if (code != NK_OK || set == NULL) return code;
  size_t *row = nk_alloc(rows->n, sizeof *row);
  if (row == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < rows->n; i++)
    row[i] = rows->item[i] < n_tokens ? CLI_NO_ROW : rows->item[i] - n_tokens;
  for (size_t c = 0; c < set->n_columns && code == NK_OK; c++)
    code = carry_column(rows->items, &set->columns[c], row, out);
  nk_free(row);
  return code;
}

/* ---- Metadata ---- */

static int set_prompt_names(const struct cli_prompts *prompts, struct nk_vectors *out) {
  json_t *names = json_array();
  for (size_t p = 0; names != NULL && p < prompts->n; p++)
    json_array_append_new(names, json_string(prompts->item[p].name));
  char *text = names == NULL ? NULL : json_dumps(names, JSON_COMPACT);
  int code = text == NULL ? nk_fail(NK_EMEMORY, "no memory for the prompts' names")
                          : nk_vectors_set_metadata(out, "noken.prompts", text);
  free(text);
  json_decref(names);
  return code;
}

static int set_metadata(const struct cli_capture *capture, const struct nk_model *model,
                        const struct cli_prompts *prompts, struct nk_vectors *out) {
  char space[48] = "residual"; /* of several layers */
  if (capture->n_layers == 1) snprintf(space, sizeof space, "residual:%zu", capture->layers[0]);
  int code = set_prompt_names(prompts, out);
  if (code == NK_OK) code = nk_vectors_set_metadata(out, "noken.space", space);
  if (code == NK_OK) code = nk_vectors_set_metadata(out, "noken.model", nk_model_name(model));
  return code;
}

/* ---- The whole ---- */

struct nk_vectors *cli_capture_run(const struct cli_capture *capture, struct nk_model *model,
                                   struct nk_probe *const *probes,
                                   const struct cli_prompts *prompts, const struct nk_items *items,
                                   const struct cli_shard *shard) {
  const struct nk_forward_shape *shape = nk_forward_shape(nk_model_forward(model));
  struct rows rows = {.items = items};
  struct nk_vectors *out = NULL;
  cli_shard_range(shard, cli_count_blocks(prompts->n, n_items(items), CLI_BLOCK), rows.blocks);
  int code = shape == NULL ? nk_error_code() : make_rows(capture, probes, &rows);
  if (code == NK_OK && (out = nk_vectors_new(rows.n, shape->dim, NULL, false)) == NULL)
    code = nk_error_code();
  if (code == NK_OK) code = read_streams(capture, probes, &rows, out);
  if (code == NK_OK) set_ids(&rows, out);
  if (code == NK_OK) code = set_texts(&rows, nk_model_tokenizer(model), out);
  if (code == NK_OK) code = set_columns(&rows, out);
  if (code == NK_OK) code = set_metadata(capture, model, prompts, out);
  if (code == NK_OK) code = cli_shard_mark(shard, out);
  free_rows(&rows);
  if (code == NK_OK) return out;
  nk_vectors_free(out);
  return NULL;
}
