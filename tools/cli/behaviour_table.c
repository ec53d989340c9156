/* Behaviours as rows. */
#include "cli/behaviour_table.h"

#include <noken/base.h>
#include <stdio.h>
#include <string.h>
#include "cli/sets.h"

/* The columns in order; optional ones have a letter. */
static const struct {
  const char *name;
  char when; /* 0 always, s tokens, n norms, e echo, g continuation, f flags */
} columns[] = {
    {"entropy", 0},     {"top_id", 0},         {"top_text", 0},    {"top_prob", 0},
    {"kl", 0},          {"p_value", 0},        {"p_min", 0},       {"residual_norm", 'n'},
    {"self_prob", 's'}, {"echo", 'e'},         {"echo_text", 'e'}, {"echo_prob", 'e'},
    {"echo_rank", 'e'}, {"continuation", 'g'}, {"flags", 'f'},
};
enum { N_COLUMNS = sizeof columns / sizeof columns[0] };

static bool has_column(const struct cli_behaviour_table *what, char when) {
  switch (when) {
    case 's':
      return what->items->n_tokens > 0;
    case 'n':
      return what->n_norms == 0;
    case 'e':
      return what->echo;
    case 'g':
      return what->n_generate > 0;
    case 'f':
      return what->flags != NULL;
    default:
      return true;
  }
}

static bool has_text(const struct cli_behaviour_table *what) {
  const struct nk_vectors *set = what->items->vectors;
  return what->items->n_tokens > 0 || (set != NULL && set->text != NULL);
}

int cli_behaviour_head_place(const struct cli_behaviour_table *what, struct cli_table *table) {
  int code = cli_table_column(table, "id");
  if (code == NK_OK && has_text(what)) code = cli_table_column(table, "text");
  if (code == NK_OK) code = cli_table_column(table, "prompt");
  if (code == NK_OK) code = cli_table_column(table, "offset");
  return code == NK_OK && what->at ? cli_table_column(table, "at") : code;
}

int cli_behaviour_head_tail(const struct cli_behaviour_table *what, struct cli_table *table) {
  const struct nk_vectors *set = what->items->vectors;
  return set == NULL ? NK_OK : cli_set_head_tail(set, table);
}

int cli_behaviour_table_head(const struct cli_behaviour_table *what, struct cli_table *table) {
  int code = cli_behaviour_head_place(what, table);
  for (size_t c = 0; c < N_COLUMNS && code == NK_OK; c++) {
    if (has_column(what, columns[c].when)) code = cli_table_column(table, columns[c].name);
    if (columns[c].when != 'n') continue;
    for (size_t l = 0; l < what->n_norms && code == NK_OK; l++) {
      char name[48];
      snprintf(name, sizeof name, "residual_norm_%zu", what->norms[l]);
      code = cli_table_column(table, name);
    }
  }
  return code == NK_OK ? cli_behaviour_head_tail(what, table) : code;
}

/* ---- Cells ---- */

void cli_behaviour_token(const struct cli_behaviour_table *what, int64_t id,
                         struct cli_table *table) {
  size_t n = 0;
  const char *bytes = nk_tokenizer_bytes(what->tokenizer, (size_t)id, &n);
  cli_table_text(table, bytes == NULL ? "" : bytes, bytes == NULL ? 0 : n);
}

static void write_item(const struct cli_behaviour_table *what, size_t item,
                       struct cli_table *table) {
  const struct nk_vectors *set = what->items->vectors;
  size_t n, row = item - what->items->n_tokens;
  if (set == NULL || item < what->items->n_tokens) {
    cli_table_integer(table, what->items->tokens[item]);
    cli_behaviour_token(what, what->items->tokens[item], table);
    return;
  }
  cli_table_integer(table, set->ids[row]);
  if (!has_text(what)) return;
  const char *text = nk_vectors_text(set, row, &n);
  if (set->text == NULL)
    cli_table_missing(table);
  else
    cli_table_text(table, text, n);
}

static void write_numbers(const struct cli_behaviour_table *what,
                          const struct cli_behaviour_result *result, size_t row,
                          struct cli_table *table) {
  const struct nk_behaviour *b = result->behaviour;
  const double *norms = b->norms + row * b->n_layers;
  cli_table_number(table, b->entropy[row]);
  cli_table_integer(table, b->top_id[row]);
  cli_behaviour_token(what, b->top_id[row], table);
  cli_table_number(table, b->top_prob[row]);
  cli_table_number(table, b->kl[row]);
  cli_table_number(table, b->p_value[row]);
  cli_table_number(table, b->p_min);
  if (what->n_norms == 0) cli_table_number(table, norms[b->n_layers - 1]);
  for (size_t l = 0; l < what->n_norms; l++) cli_table_number(table, norms[what->norms[l] - 1]);
  if (what->items->n_tokens > 0) cli_table_number(table, b->self_prob[row]);
}

void cli_behaviour_place(const struct cli_behaviour_table *what, const struct cli_place *place,
                         struct cli_table *table) {
  write_item(what, place->item, table);
  cli_table_string(table, place->prompt->name);
  cli_table_integer(table, (int64_t)place->offset);
  if (what->at) cli_table_integer(table, (int64_t)place->layer);
}

/* A token has no value in the columns of the vectors' set. */
void cli_behaviour_tail(const struct cli_behaviour_table *what, size_t item,
                        struct cli_table *table) {
  const struct nk_vectors *set = what->items->vectors;
  size_t n_tokens = what->items->n_tokens;
  if (set != NULL && item >= n_tokens) cli_set_row_tail(set, item - n_tokens, table);
  for (size_t c = 0; set != NULL && item < n_tokens && c < set->n_columns; c++)
    cli_table_missing(table);
}

/* The repeated token comes after the prompt's end: rows of other offsets have none. */
static void write_echo(const struct cli_behaviour_table *what,
                       const struct cli_behaviour_result *result, size_t row,
                       struct cli_table *table) {
  const struct nk_behaviour *b = result->behaviour;
  if (!result->prompt->repetition || b->offsets[row % b->n_offsets] != b->end_offset) {
    for (int c = 0; c < 4; c++) cli_table_missing(table);
    return;
  }
  cli_table_integer(table, b->top_id[row]);
  cli_behaviour_token(what, b->top_id[row], table);
  cli_table_number(table, b->top_prob[row]);
  if (b->echo_rank == NULL)
    cli_table_missing(table);
  else
    cli_table_integer(table, b->echo_rank[row / b->n_offsets]);
}

static int write_continuation(const struct cli_behaviour_table *what,
                              const struct cli_behaviour_result *result, size_t item,
                              struct cli_table *table) {
  struct nk_buffer text = {0}, names = {0};
  int code = nk_tokenizer_decode(what->tokenizer, result->ids + item * what->n_generate,
                                 result->lengths[item], NK_DECODE_SKIP_SPECIAL, &text);
  if (code == NK_OK) cli_table_text(table, text.data == NULL ? "" : text.data, text.size);
  if (code == NK_OK && what->flags != NULL)
    code = nk_flags_match(what->flags, text.data == NULL ? "" : text.data, text.size, &names);
  if (code == NK_OK && what->flags != NULL)
    cli_table_text(table, names.data == NULL ? "" : names.data, names.size);
  nk_buffer_free(&text);
  nk_buffer_free(&names);
  return code;
}

int cli_behaviour_table_rows(const struct cli_behaviour_table *what,
                             const struct cli_behaviour_result *result, struct cli_table *table) {
  const struct nk_behaviour *b = result->behaviour;
  int code = NK_OK;
  for (size_t item = 0; item < b->n_items && code == NK_OK; item++)
    for (size_t k = 0; k < b->n_offsets && code == NK_OK; k++) {
      size_t row = item * b->n_offsets + k;
      const struct cli_place place = {result->first + item, result->prompt, b->offsets[k],
                                      result->layer};
      cli_behaviour_place(what, &place, table);
      write_numbers(what, result, row, table);
      if (what->echo) write_echo(what, result, row, table);
      if (what->n_generate > 0) code = write_continuation(what, result, item, table);
      if (code != NK_OK) break;
      cli_behaviour_tail(what, place.item, table);
      code = cli_table_end_row(table);
    }
  return code;
}
