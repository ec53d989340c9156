/* Lists and tables of prompts, tokens and patterns. */
#include "cli/lists.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/options.h"

int cli_read_tokens(const char *list, const char *table, size_t n_vocabulary, int64_t **ids,
                    size_t *n) {
  struct cli_frame *frame = NULL;
  int64_t *more = NULL;
  *ids = NULL;
  *n = 0;
  int code = list == NULL ? NK_OK : cli_parse_ids("--ids", list, ids, n);
  if (code == NK_OK && table != NULL) {
    frame = cli_frame_read(table);
    code = frame == NULL ? nk_error_code() : cli_frame_integers(frame, "id", &more);
    size_t rows = code == NK_OK ? cli_frame_n_rows(frame) : 0;
    int64_t *all = code == NK_OK ? nk_realloc(*ids, *n, *n + rows, sizeof *all) : NULL;
    if (code == NK_OK && all == NULL) code = NK_EMEMORY;
    if (all != NULL) *ids = all;
    for (size_t i = 0; i < rows && all != NULL; i++) all[(*n)++] = more[i];
  }
  for (size_t i = 0; i < *n && code == NK_OK; i++)
    if ((*ids)[i] < 0 || (size_t)(*ids)[i] >= n_vocabulary)
      code = nk_fail(NK_EUSAGE, "id %lld: the model has tokens 0 to %zu", (long long)(*ids)[i],
                     n_vocabulary - 1);
  nk_free(more);
  cli_frame_free(frame);
  return code;
}

/* ---- Rows by id ---- */

struct id_row {
  int64_t id;
  size_t row;
};

static int compare_ids(const void *a, const void *b) {
  const struct id_row *x = a, *y = b;
  if (x->id != y->id) return x->id < y->id ? -1 : 1;
  return (x->row > y->row) - (x->row < y->row);
}

/* sorted [n]: the rows of a set by their ids; NULL without memory. */
static struct id_row *sort_ids(const int64_t *ids, size_t n) {
  struct id_row *sorted = nk_alloc(n, sizeof *sorted);
  if (sorted == NULL) return NULL;
  for (size_t row = 0; row < n; row++) sorted[row] = (struct id_row){ids[row], row};
  qsort(sorted, n, sizeof *sorted, compare_ids);
  return sorted;
}

/* The first row of the id; n where there is none. */
static size_t find_id(const struct id_row *sorted, size_t n, int64_t id) {
  size_t low = 0, high = n;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (sorted[middle].id < id)
      low = middle + 1;
    else
      high = middle;
  }
  return low < n && sorted[low].id == id ? sorted[low].row : n;
}

int cli_match_ids(const struct cli_frame *frame, const int64_t *ids, size_t n, int64_t *row_of) {
  size_t next = 0;
  int64_t column = cli_frame_column(frame, "id"), id = 0;
  struct id_row *sorted = NULL;
  int code = column < 0 ? (int)column : NK_OK;
  if (code == NK_OK && ids != NULL && (sorted = sort_ids(ids, n)) == NULL) code = NK_EMEMORY;
  for (size_t row = 0; row < n; row++) row_of[row] = -1;
  for (size_t i = 0; i < cli_frame_n_rows(frame) && code == NK_OK; i++) {
    code = cli_frame_integer(frame, i, (size_t)column, &id);
    if (code != NK_OK) break;
    size_t row = id >= 0 ? (size_t)id : n;
    if (ids != NULL) /* of rows with one id, the one in the table's order */
      row = next < n && ids[next] == id ? next : find_id(sorted, n, id);
    next = row + 1;
    if (row < n) row_of[row] = (int64_t)i;
  }
  nk_free(sorted);
  return code;
}

/* ---- Layers ---- */

int cli_parse_layers(const char *what, const char *text, size_t least, size_t most, size_t **layers,
                     size_t *n) {
  int64_t *ids = NULL;
  int code = cli_parse_ids(what, text, &ids, n);
  *layers = code == NK_OK ? nk_alloc(*n, sizeof **layers) : NULL;
  if (code == NK_OK && *layers == NULL) code = NK_EMEMORY;
  for (size_t i = 0; code == NK_OK && i < *n; i++) {
    if (ids[i] < (int64_t)least || (size_t)ids[i] > most)
      code = nk_fail(NK_EUSAGE, "%s: layer %lld: the model has layers %zu to %zu", what,
                     (long long)ids[i], least, most);
    else
      (*layers)[i] = (size_t)ids[i];
    for (size_t k = 0; k < i && code == NK_OK; k++)
      if (ids[k] == ids[i])
        code = nk_fail(NK_EUSAGE, "%s: layer %lld is given twice", what, (long long)ids[i]);
  }
  nk_free(ids);
  return code;
}

/* The table's column called name, or -1. */
static int64_t optional_column(const struct cli_frame *frame, const char *name) {
  for (size_t c = 0; c < cli_frame_n_columns(frame); c++)
    if (strcmp(cli_frame_column_name(frame, c), name) == 0) return (int64_t)c;
  return -1;
}

static bool is_verified(const char *verdict) {
  size_t length = strlen(verdict);
  return length >= 8 && strcmp(verdict + length - 8, "verified") == 0;
}

int cli_read_directions(const struct cli_strings *lists, struct nk_direction **directions,
                        size_t *n) {
  size_t most = 0;
  int code = NK_OK;
  for (size_t i = 0; i < lists->n; i++)
    for (const char *p = lists->item[i]; p != NULL; p = strchr(p + 1, ',')) most++;
  *directions = nk_alloc(most, sizeof **directions);
  *n = 0;
  if (*directions == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < lists->n; i++)
    for (const char *p = lists->item[i]; p != NULL && code == NK_OK;) {
      size_t length = strcspn(p, ",");
      char *name = nk_strndup(p, length);
      if (name == NULL) return NK_EMEMORY;
      code = nk_direction_parse(name, &(*directions)[(*n)++]);
      nk_free(name);
      p = p[length] != 0 ? p + length + 1 : NULL;
    }
  return code;
}

/* Keeps the first of equal ids [*n]. */
static int keep_different(int64_t *ids, size_t *n) {
  size_t kept = 0;
  struct id_row *sorted = sort_ids(ids, *n);
  bool *again = nk_calloc(*n, sizeof *again);
  int code = sorted == NULL || again == NULL ? NK_EMEMORY : NK_OK;
  for (size_t i = 1; i < *n && code == NK_OK; i++)
    again[sorted[i].row] = sorted[i].id == sorted[i - 1].id;
  for (size_t i = 0; i < *n && code == NK_OK; i++)
    if (!again[i]) ids[kept++] = ids[i];
  if (code == NK_OK) *n = kept;
  nk_free(sorted);
  nk_free(again);
  return code;
}

int cli_read_verified(const char *path, int64_t **ids, size_t *n) {
  struct cli_frame *frame = cli_frame_read(path);
  if (frame == NULL) return nk_error_code();
  size_t rows = cli_frame_n_rows(frame);
  int64_t id = cli_frame_column(frame, "id"), verdict = optional_column(frame, "verdict");
  int code = id < 0 ? (int)id : NK_OK;
  int64_t *longer = code != NK_OK ? NULL : nk_realloc(*ids, *n, *n + rows, sizeof *longer);
  if (longer != NULL)
    *ids = longer;
  else if (code == NK_OK)
    code = NK_EMEMORY;
  for (size_t row = 0; row < rows && code == NK_OK; row++) {
    if (verdict >= 0 && !is_verified(cli_frame_cell(frame, row, (size_t)verdict))) continue;
    code = cli_frame_integer(frame, row, (size_t)id, &(*ids)[*n]);
    if (code == NK_OK) ++*n;
  }
  cli_frame_free(frame);
  return code == NK_OK ? keep_different(*ids, n) : code;
}

/* ---- Prompts ---- */

static void free_prompt(struct cli_prompt *prompt) {
  nk_free(prompt->name);
  nk_free(prompt->text);
  nk_free(prompt->place);
  nk_free(prompt->special);
}

/* NK_EDATA where a prompt has the name already; else it is that of the next one. */
static int take_name(struct cli_prompts *prompts, const struct cli_prompt *prompt) {
  size_t index;
  int code = cli_names_add(&prompts->names, prompt->name, &index);
  if (code != NK_OK || index == prompts->n) return code;
  return nk_fail(NK_EDATA, "%s: the name '%s' is that of %s too; each prompt needs its own",
                 prompt->place, prompt->name, prompts->item[index].place);
}

int cli_prompts_add(struct cli_prompts *prompts, const char *name, const char *text,
                    bool repetition, const char *place) {
  char number[24], option[40];
  size_t n = prompts->n; /* the room is the next power of two */
  snprintf(number, sizeof number, "%zu", n + 1);
  snprintf(option, sizeof option, "--prompt (number %zu)", n + 1);
  struct cli_prompt prompt = {.name = nk_strdup(name == NULL ? number : name),
                              .text = nk_strdup(text),
                              .place = nk_strdup(place == NULL ? option : place),
                              .repetition = repetition};
  int code =
      prompt.name == NULL || prompt.text == NULL || prompt.place == NULL ? NK_EMEMORY : NK_OK;
  if (code == NK_OK) code = take_name(prompts, &prompt);
  if (code == NK_OK && (n & (n - 1)) == 0) {
    struct cli_prompt *longer = nk_realloc(prompts->item, n, n > 0 ? 2 * n : 1, sizeof *longer);
    if (longer != NULL) prompts->item = longer;
    if (longer == NULL) code = NK_EMEMORY;
  }
  if (code == NK_OK)
    prompts->item[prompts->n++] = prompt;
  else
    free_prompt(&prompt);
  return code;
}

int cli_read_all_prompts(struct cli_prompts *prompts, const struct cli_strings *texts,
                         const struct cli_strings *tables) {
  int code = NK_OK;
  for (size_t i = 0; i < texts->n && code == NK_OK; i++)
    code = cli_prompts_add(prompts, NULL, texts->item[i], false, NULL);
  for (size_t i = 0; i < tables->n && code == NK_OK; i++)
    code = cli_read_prompts(prompts, tables->item[i]);
  if (code == NK_OK && tables->n > 0 && prompts->n == 0)
    code = nk_fail(NK_EDATA, "%s: no prompts: a row for each is needed", tables->item[0]);
  return code;
}

void cli_prompts_free(struct cli_prompts *prompts) {
  for (size_t i = 0; i < prompts->n; i++) free_prompt(&prompts->item[i]);
  nk_free(prompts->item);
  cli_names_free(&prompts->names);
  *prompts = (struct cli_prompts){0};
}

static int read_prompt(struct cli_prompts *prompts, const struct cli_frame *frame, size_t row,
                       const int64_t columns[4]) {
  const char *name = cli_frame_cell(frame, row, (size_t)columns[0]),
             *text = cli_frame_cell(frame, row, (size_t)columns[1]);
  struct nk_buffer plain = {0}, place = {0};
  int64_t repeats = 0;
  int code = NK_OK;
  nk_unescape(&plain, text, strlen(text));
  nk_buffer_byte(&plain, 0);
  nk_buffer_printf(&place, "%s: row %zu", cli_frame_name(frame), row + 1);
  if (plain.failed || place.failed) code = nk_fail(NK_EMEMORY, "no memory for a prompt");
  if (columns[2] >= 0 && code == NK_OK) {
    code = cli_frame_integer(frame, row, (size_t)columns[2], &repeats);
    if (code == NK_ENOTFOUND) code = NK_OK;
  }
  if (code == NK_OK) code = cli_prompts_add(prompts, name, plain.data, repeats != 0, place.data);
  const char *special = columns[3] >= 0 ? cli_frame_cell(frame, row, (size_t)columns[3]) : "";
  if (code == NK_OK && !cli_frame_is_missing(special)) {
    prompts->item[prompts->n - 1].special = nk_strdup(special);
    if (prompts->item[prompts->n - 1].special == NULL) code = NK_EMEMORY;
  }
  nk_buffer_free(&plain);
  nk_buffer_free(&place);
  return code;
}

int cli_read_prompts(struct cli_prompts *prompts, const char *path) {
  struct cli_frame *frame = cli_frame_read(path);
  if (frame == NULL) return nk_error_code();
  const int64_t columns[4] = {cli_frame_column(frame, "prompt"), cli_frame_column(frame, "text"),
                              optional_column(frame, "repetition"),
                              optional_column(frame, "special")};
  int code = columns[0] < 0 || columns[1] < 0 ? nk_error_code() : NK_OK;
  for (size_t row = 0; row < cli_frame_n_rows(frame) && code == NK_OK; row++)
    code = read_prompt(prompts, frame, row, columns);
  cli_frame_free(frame);
  return code;
}

/* ---- Flags ---- */

/* A pattern has its own backslashes: the cell is not unescaped. */
struct nk_flags *cli_read_flags(const char *path) {
  struct cli_frame *frame = cli_frame_read(path);
  if (frame == NULL) return NULL;
  size_t n = cli_frame_n_rows(frame);
  struct nk_flags *flags = NULL;
  const char **names = nk_alloc(n, sizeof *names), **patterns = nk_alloc(n, sizeof *patterns);
  int64_t name = cli_frame_column(frame, "name"), pattern = cli_frame_column(frame, "pattern");
  if (names == NULL || patterns == NULL || name < 0 || pattern < 0) goto done;
  for (size_t row = 0; row < n; row++) {
    names[row] = cli_frame_cell(frame, row, (size_t)name);
    patterns[row] = cli_frame_cell(frame, row, (size_t)pattern);
  }
  flags = nk_flags_new(names, patterns, n);
  if (flags == NULL) nk_fail_in(nk_error_code(), "%s", cli_frame_name(frame));
done:
  nk_free(names);
  nk_free(patterns);
  cli_frame_free(frame);
  return flags;
}
