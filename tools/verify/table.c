/* Tables of verdicts: a row for each token or text, and what they are together. */
#include <math.h>
#include <string.h>

#include "summary/intervals.h"
#include "verify/verify.h"

/* The names of the verdicts as columns. */
static const char *const verdict_columns[NK_N_VERDICTS] = {"strongly_verified", "weakly_verified",
                                                           "weakly_rejected", "strongly_rejected"};

/* ---- A row for each token ---- */

static bool is_text(const char *column) {
  size_t length = strlen(column);
  return length >= 4 && strcmp(column + length - 4, "text") == 0;
}

static void write_cell(const struct cli_frame *frame, size_t row, size_t column,
                       struct cli_table *table) {
  const char *cell = cli_frame_cell(frame, row, column);
  bool text = is_text(cli_frame_column_name(frame, column));
  double number;
  if (!text && cli_frame_number(frame, row, column, &number) == NK_OK)
    cli_table_number(table, number);
  else if (cell[0] == 0 || (!text && cli_frame_is_missing(cell)))
    cli_table_missing(table);
  else
    cli_table_cell(table, cell);
}

/* The cell of item i, which no row of the frame has. */
static void write_own(const struct verify_job *v, size_t i, const char *column,
                      struct cli_table *table) {
  size_t n = 0;
  if (v->texts != NULL && strcmp(column, "text") == 0) {
    cli_table_text(table, v->texts[i].bytes, v->texts[i].n);
  } else if (v->texts != NULL) {
    cli_table_missing(table);
  } else if (strcmp(column, "id") == 0) {
    cli_table_integer(table, v->ids[i]);
  } else if (strcmp(column, "text") == 0) {
    const char *bytes = nk_tokenizer_bytes(v->tokenizer, (size_t)v->ids[i], &n);
    cli_table_text(table, bytes == NULL ? "" : bytes, n);
  } else if (strcmp(column, "category") == 0) {
    cli_table_string(table, nk_category_names[v->categories[v->ids[i]]]);
  } else {
    cli_table_missing(table);
  }
}

static bool is_taken(const char *name) {
  static const char *const taken[] = {"control", "pieces", "encoded", "max_prob", "verdict"};
  for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++)
    if (strcmp(name, taken[i]) == 0) return true;
  return false;
}

static const char *const own_columns[] = {"id", "text", "category"};

static size_t n_columns_of(const struct verify_job *v) {
  return v->frame == NULL ? sizeof own_columns / sizeof own_columns[0]
                          : cli_frame_n_columns(v->frame);
}

static const char *column_name(const struct verify_job *v, size_t column) {
  return v->frame == NULL ? own_columns[column] : cli_frame_column_name(v->frame, column);
}

static int name_columns(const struct verify_job *v, struct cli_table *table) {
  int code = NK_OK;
  for (size_t c = 0; c < n_columns_of(v) && code == NK_OK; c++)
    if (!is_taken(column_name(v, c))) code = cli_table_column(table, column_name(v, c));
  if (code == NK_OK && v->control != NULL) code = cli_table_column(table, "control");
  if (code == NK_OK && v->texts != NULL) code = cli_table_column(table, "pieces");
  if (code == NK_OK) code = cli_table_column(table, "encoded");
  if (code == NK_OK) code = cli_table_column(table, "max_prob");
  return code == NK_OK ? cli_table_column(table, "verdict") : code;
}

static void write_found(const struct verify_job *v, size_t i, struct cli_table *table) {
  double max_prob = v->found.max_prob[i];
  if (v->control != NULL) cli_table_integer(table, v->control[i]);
  if (v->texts != NULL) cli_table_integer(table, (int64_t)v->found.n_pieces[i]);
  cli_table_integer(table, (int64_t)v->found.encoded[i]);
  cli_table_number(table, max_prob);
  if (isnan(max_prob)) /* a text without tokens */
    cli_table_missing(table);
  else
    cli_table_string(table, nk_verdict_names[nk_verdict_of(max_prob)]);
}

int verify_write_rows(const struct verify_job *v, struct cli_table *table) {
  size_t n_rows = v->frame == NULL ? 0 : cli_frame_n_rows(v->frame);
  int code = name_columns(v, table);
  for (size_t i = 0; i < v->n && code == NK_OK; i++) {
    for (size_t c = 0; c < n_columns_of(v); c++) {
      const char *name = column_name(v, c);
      if (is_taken(name)) continue;
      if (i < n_rows)
        write_cell(v->frame, i, c, table);
      else
        write_own(v, i, name, table);
    }
    write_found(v, i, table);
    code = cli_table_end_row(table);
  }
  return code;
}

/* ---- The summary ---- */

/* Tokens of one kind. */
struct group {
  size_t n, n_verdicts[NK_N_VERDICTS];
};

/* Of tokens: text gives them in their place. A text always stands in its place, where it is one. */
static bool is_encoded(const struct verify_job *v, size_t i) {
  return v->texts == NULL ? v->found.encoded[i] > 0 : v->found.n_pieces[i] > 0;
}

static struct group count_group(const struct verify_job *v, bool control, bool encoded) {
  struct group group = {0};
  for (size_t i = 0; i < v->n; i++) {
    if (v->control[i] != control || is_encoded(v, i) != encoded) continue;
    group.n++;
    if (!isnan(v->found.max_prob[i])) group.n_verdicts[nk_verdict_of(v->found.max_prob[i])]++;
  }
  return group;
}

static struct summary_interval share_of(const struct group *group) {
  size_t verified = group->n_verdicts[NK_STRONGLY_VERIFIED] + group->n_verdicts[NK_WEAKLY_VERIFIED];
  size_t judged = 0;
  for (int v = 0; v < NK_N_VERDICTS; v++) judged += group->n_verdicts[v];
  return summary_share((double)verified / (double)judged, (double)judged,
                       summary_t_quantile(0.975, INFINITY));
}

/* group NULL: a difference, which has no tokens. */
static int write_group(const char *name, const struct group *group, struct summary_interval share,
                       struct cli_table *table) {
  cli_table_string(table, name);
  if (group == NULL) {
    for (int i = 0; i < 1 + NK_N_VERDICTS; i++) cli_table_missing(table);
  } else {
    cli_table_integer(table, (int64_t)group->n);
    for (int i = 0; i < NK_N_VERDICTS; i++) cli_table_integer(table, (int64_t)group->n_verdicts[i]);
  }
  cli_table_number(table, share.value);
  cli_table_number(table, share.low);
  cli_table_number(table, share.high);
  return cli_table_end_row(table);
}

int verify_write_summary(const struct verify_job *v, struct cli_table *table) {
  static const char *const names[] = {"listed", "control", "listed, not encoded",
                                      "control, not encoded"};
  struct summary_interval shares[4];
  struct group groups[4];
  int code = cli_table_column(table, "group");
  if (code == NK_OK) code = cli_table_column(table, "tokens");
  for (int i = 0; i < NK_N_VERDICTS && code == NK_OK; i++)
    code = cli_table_column(table, verdict_columns[i]);
  if (code == NK_OK) code = cli_table_column(table, "verified");
  if (code == NK_OK) code = cli_table_column(table, "low");
  if (code == NK_OK) code = cli_table_column(table, "high");
  for (int g = 0; g < 4; g++) {
    groups[g] = count_group(v, g % 2 == 1, g < 2);
    shares[g] = share_of(&groups[g]);
  }
  for (int g = 0; g < 4 && code == NK_OK; g++) {
    code = write_group(names[g], &groups[g], shares[g], table);
    if (g == 1 && code == NK_OK)
      code = write_group("difference", NULL, summary_difference(&shares[0], &shares[1]), table);
  }
  return code;
}

/* ---- By count ---- */

static int write_range(const struct nk_verdict_range *range, struct cli_table *table) {
  size_t verified = range->n_verdicts[NK_STRONGLY_VERIFIED] + range->n_verdicts[NK_WEAKLY_VERIFIED];
  cli_table_integer(table, range->least);
  if (range->most == INT64_MAX)
    cli_table_missing(table);
  else
    cli_table_integer(table, range->most);
  cli_table_integer(table, (int64_t)range->n_tokens);
  for (int v = 0; v < NK_N_VERDICTS; v++) cli_table_integer(table, (int64_t)range->n_verdicts[v]);
  cli_table_number(table, (double)verified / (double)range->n_tokens); /* 0 / 0: missing */
  return cli_table_end_row(table);
}

/* by_id [n_vocabulary] = each token's count in the table of --truth, -1 where it has none. */
static int read_truth(const struct verify_job *v, int64_t *by_id) {
  struct cli_frame *frame = cli_frame_read(v->options.truth);
  if (frame == NULL) return nk_error_code();
  int64_t id = cli_frame_column(frame, "id"), count = cli_frame_column(frame, "count");
  int code = id < 0 ? (int)id : count < 0 ? (int)count : NK_OK;
  for (size_t i = 0; i < v->shape->n_vocabulary; i++) by_id[i] = -1;
  for (size_t row = 0; code == NK_OK && row < cli_frame_n_rows(frame); row++) {
    int64_t token, value;
    code = cli_frame_integer(frame, row, (size_t)id, &token);
    if (code != NK_OK) break;
    code = cli_frame_integer(frame, row, (size_t)count, &value);
    if (code == NK_ENOTFOUND) { /* the count is not known */
      code = NK_OK;
      continue;
    }
    if (code == NK_OK && token >= 0 && (size_t)token < v->shape->n_vocabulary) by_id[token] = value;
  }
  cli_frame_free(frame);
  return code;
}

int verify_write_counts(const struct verify_job *v, struct cli_table *table) {
  struct nk_verdict_range ranges[NK_VERDICT_RANGES];
  size_t kept = 0;
  int64_t *by_id = nk_alloc(v->shape->n_vocabulary, sizeof *by_id);
  int64_t *some = nk_alloc(v->n, sizeof *some);
  double *max_prob = nk_alloc(v->n, sizeof *max_prob);
  int code = by_id == NULL || some == NULL || max_prob == NULL ? NK_EMEMORY : read_truth(v, by_id);
  for (size_t i = 0; i < v->n && code == NK_OK; i++) {
    if (by_id[v->ids[i]] < 0) continue;
    if (v->frame == NULL && v->categories[v->ids[i]] != NK_TOKEN_OK) continue;
    some[kept] = by_id[v->ids[i]];
    max_prob[kept++] = v->found.max_prob[i];
  }
  if (code == NK_OK) code = cli_table_column(table, "least");
  if (code == NK_OK) code = cli_table_column(table, "most");
  if (code == NK_OK) code = cli_table_column(table, "tokens");
  for (int i = 0; i < NK_N_VERDICTS && code == NK_OK; i++)
    code = cli_table_column(table, verdict_columns[i]);
  if (code == NK_OK) code = cli_table_column(table, "verified");
  if (code == NK_OK) nk_verdicts_by_count(max_prob, some, kept, ranges);
  for (size_t r = 0; r < NK_VERDICT_RANGES && code == NK_OK; r++)
    code = write_range(&ranges[r], table);
  nk_free(by_id);
  nk_free(some);
  nk_free(max_prob);
  return code;
}
