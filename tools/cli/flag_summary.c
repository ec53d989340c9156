/* Shares of generations that match flags. */
#include "cli/flag_summary.h"

#include <string.h>

#include "cli/sets.h"
#include "summary/intervals.h"

/* ---- Flags ---- */

int cli_flag_summary_read(const char *path, struct cli_flag_summary *summary) {
  *summary = (struct cli_flag_summary){0};
  struct cli_frame *frame = cli_frame_read(path);
  if (frame == NULL) return nk_error_code();
  size_t n = cli_frame_n_rows(frame);
  int64_t name = cli_frame_column(frame, "name"), pattern = cli_frame_column(frame, "pattern");
  int code = name < 0 || pattern < 0 ? nk_error_code() : NK_OK;
  if (code == NK_OK) {
    summary->names = nk_calloc(n, sizeof *summary->names);
    summary->flags = nk_calloc(n, sizeof(struct nk_flags *));
    if (summary->names == NULL || summary->flags == NULL) code = NK_EMEMORY;
  }
  for (size_t row = 0; row < n && code == NK_OK; row++) {
    const char *cells[] = {cli_frame_cell(frame, row, (size_t)name),
                           cli_frame_cell(frame, row, (size_t)pattern)};
    summary->n++;
    summary->names[row] = nk_strdup(cells[0]);
    summary->flags[row] = nk_flags_new(&cells[0], &cells[1], 1);
    if (summary->names[row] == NULL || summary->flags[row] == NULL)
      code = nk_fail_in(nk_error_code(), "%s", cli_frame_name(frame));
  }
  cli_frame_free(frame);
  return code;
}

void cli_flag_summary_free(struct cli_flag_summary *summary) {
  for (size_t i = 0; i < summary->n; i++) {
    nk_free(summary->names[i]);
    nk_flags_free(summary->flags[i]);
  }
  nk_free(summary->names);
  nk_free(summary->flags);
}

/* ---- Groups ---- */

static const char *const factors[] = {"direction", "distance"};
enum { N_FACTORS = sizeof factors / sizeof *factors };

struct group {
  size_t item; /* the first */
  size_t n;
};

struct groups {
  struct group *item; /* [n] */
  size_t n;
  size_t *flagged; /* [n, flags] generations that match */
};

static bool is_alike(const struct nk_items *items, size_t a, size_t b) {
  size_t n_tokens = items->n_tokens;
  if (a < n_tokens || b < n_tokens) return a < n_tokens && b < n_tokens;
  for (int f = 0; f < N_FACTORS; f++) {
    const struct nk_column *column = nk_vectors_column(items->vectors, factors[f]);
    if (column != NULL && !cli_column_same(column, a - n_tokens, b - n_tokens)) return false;
  }
  return true;
}

/* The item's group: items in turn mostly have that of the item before. */
static size_t find_group(struct groups *groups, const struct nk_items *items, size_t item,
                         size_t last) {
  if (groups->n > 0 && is_alike(items, item, groups->item[last].item)) return last;
  for (size_t g = 0; g < groups->n; g++)
    if (is_alike(items, item, groups->item[g].item)) return g;
  groups->item[groups->n] = (struct group){.item = item};
  return groups->n++;
}

/* Adds to flagged [flags] whether each flag matches. */
static int match(const struct cli_flag_summary *summary, const struct nk_buffer *text,
                 size_t *flagged) {
  struct nk_buffer names = {0};
  int code = NK_OK;
  for (size_t f = 0; f < summary->n && code == NK_OK; f++) {
    nk_buffer_clear(&names);
    code =
        nk_flags_match(summary->flags[f], text->data == NULL ? "" : text->data, text->size, &names);
    flagged[f] += names.size > 0;
  }
  nk_buffer_free(&names);
  return code;
}

static int count(const struct cli_flag_summary *summary, const struct cli_behaviour_table *what,
                 const struct cli_behaviour_result *result, size_t n_items, struct groups *groups) {
  struct nk_buffer text = {0};
  size_t group = 0;
  int code = NK_OK;
  for (size_t i = 0; i < n_items && code == NK_OK; i++) {
    group = find_group(groups, what->items, i, group);
    groups->item[group].n++;
    nk_buffer_clear(&text);
    code = nk_tokenizer_decode(what->tokenizer, result->ids + i * what->n_generate,
                               result->lengths[i], NK_DECODE_SKIP_SPECIAL, &text);
    if (code == NK_OK) code = match(summary, &text, groups->flagged + group * summary->n);
  }
  nk_buffer_free(&text);
  return code;
}

/* ---- The table ---- */

int cli_flag_summary_head(const struct cli_behaviour_table *what, struct cli_table *table) {
  static const char *const rest[] = {"n", "flagged", "share", "low", "high"};
  int code = cli_table_column(table, "flag");
  if (code == NK_OK) code = cli_table_column(table, "prompt");
  if (code == NK_OK && what->at) code = cli_table_column(table, "at");
  for (int f = 0; f < N_FACTORS && code == NK_OK; f++)
    if (nk_vectors_column(what->items->vectors, factors[f]) != NULL)
      code = cli_table_column(table, factors[f]);
  for (size_t c = 0; c < sizeof rest / sizeof *rest && code == NK_OK; c++)
    code = cli_table_column(table, rest[c]);
  return code;
}

static int write_row(const char *flag, const struct cli_behaviour_table *what,
                     const struct cli_behaviour_result *result, const struct group *group,
                     size_t flagged, struct cli_table *table) {
  const struct nk_items *items = what->items;
  struct summary_interval share = summary_share_of(flagged, group->n, 0.95);
  cli_table_cell(table, flag);
  cli_table_string(table, result->prompt->name);
  if (what->at) cli_table_integer(table, (int64_t)result->layer);
  for (int f = 0; f < N_FACTORS; f++) {
    const struct nk_column *column = nk_vectors_column(items->vectors, factors[f]);
    if (column == NULL) continue;
    if (group->item < items->n_tokens)
      cli_table_missing(table);
    else
      cli_set_cell(items->vectors, column, group->item - items->n_tokens, table);
  }
  cli_table_integer(table, (int64_t)group->n);
  cli_table_integer(table, (int64_t)flagged);
  cli_table_number(table, share.value);
  cli_table_number(table, share.low);
  cli_table_number(table, share.high);
  return cli_table_end_row(table);
}

int cli_flag_summary_rows(const struct cli_flag_summary *summary,
                          const struct cli_behaviour_table *what,
                          const struct cli_behaviour_result *result, struct cli_table *table) {
  const struct nk_items *items = what->items;
  size_t n_items = items->n_tokens + (items->vectors == NULL ? 0 : items->vectors->n);
  struct groups groups = {.item = nk_alloc(n_items, sizeof *groups.item),
                          .flagged = nk_calloc(n_items, (summary->n + 1) * sizeof *groups.flagged)};
  int code = groups.item == NULL || groups.flagged == NULL
                 ? NK_EMEMORY
                 : count(summary, what, result, n_items, &groups);
  for (size_t f = 0; f < summary->n && code == NK_OK; f++)
    for (size_t g = 0; g < groups.n && code == NK_OK; g++)
      code = write_row(summary->names[f], what, result, &groups.item[g],
                       groups.flagged[g * summary->n + f], table);
  nk_free(groups.item);
  nk_free(groups.flagged);
  return code;
}
