/* Tables of verdicts: a row for each token or text, and what they are together. */
#include <math.h>
#include <string.h>

#include "verify/verify.h"

/* The names of the verdicts as columns. */
static const char *const verdict_columns[NK_N_VERDICTS] = {"strongly_verified", "weakly_verified",
                                                           "weakly_rejected", "strongly_rejected"};

/* ---- A row for each token ---- */

/* The cell of item i, which no row of the frame has. */
static void write_own(const struct verify_job *v, size_t i, const char *column,
                      struct cli_table *table) {
  size_t n = 0;
  bool token = v->texts == NULL;
  if (!token && strcmp(column, "text") == 0) {
    cli_table_text(table, v->texts[i].bytes, v->texts[i].n);
  } else if (token && strcmp(column, "id") == 0) {
    cli_table_integer(table, v->ids[i]);
  } else if (token && strcmp(column, "text") == 0) {
    const char *bytes = nk_tokenizer_bytes(v->tokenizer, (size_t)v->ids[i], &n);
    cli_table_text(table, bytes == NULL ? "" : bytes, n);
  } else if (token && strcmp(column, "category") == 0) {
    cli_table_string(table, nk_category_names[v->categories[v->ids[i]]]);
  } else {
    cli_table_missing(table);
  }
}

/* The columns of --repeats. */
static const char *const rate_columns[] = {"failures", "trials", "rate", "rate_low", "rate_high"};
enum { N_RATES = sizeof rate_columns / sizeof rate_columns[0] };

static bool is_taken(const char *name) {
  static const char *const taken[] = {"control",  "pieces",  "encoded",
                                      "max_prob", "verdict", "cell"};
  for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++)
    if (strcmp(name, taken[i]) == 0) return true;
  for (size_t i = 0; i < N_RATES; i++)
    if (strcmp(name, rate_columns[i]) == 0) return true;
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

int verify_name_columns(const struct verify_job *v, struct cli_table *table) {
  int code = NK_OK;
  for (size_t c = 0; c < n_columns_of(v) && code == NK_OK; c++)
    if (!is_taken(column_name(v, c))) code = cli_table_column(table, column_name(v, c));
  if (code == NK_OK && v->control != NULL) code = cli_table_column(table, "control");
  if (code == NK_OK && v->texts != NULL) code = cli_table_column(table, "pieces");
  if (code == NK_OK) code = cli_table_column(table, "encoded");
  if (code == NK_OK) code = cli_table_column(table, "max_prob");
  if (code == NK_OK) code = cli_table_column(table, "verdict");
  for (size_t c = 0; c < N_RATES && v->options.repeats > 0 && code == NK_OK; c++)
    code = cli_table_column(table, rate_columns[c]);
  return code;
}

void verify_write_interval(const struct summary_interval *interval, struct cli_table *table) {
  cli_table_number(table, interval->value);
  cli_table_number(table, interval->low);
  cli_table_number(table, interval->high);
}

static struct summary_interval rate_of(const struct verify_job *v, size_t i) {
  size_t n_prompts = verify_n_prompts(v);
  return summary_stratified_share(v->found.failures + i * n_prompts, n_prompts, v->options.repeats,
                                  0.95);
}

static void write_rate(const struct verify_job *v, size_t i, struct cli_table *table) {
  size_t n_prompts = verify_n_prompts(v), failures = 0;
  for (size_t p = 0; p < n_prompts; p++) failures += v->found.failures[i * n_prompts + p];
  if (isnan(v->found.max_prob[i])) {
    for (size_t c = 0; c < N_RATES; c++) cli_table_missing(table);
    return;
  }
  const struct summary_interval rate = rate_of(v, i);
  cli_table_integer(table, (int64_t)failures);
  cli_table_integer(table, (int64_t)(n_prompts * v->options.repeats));
  verify_write_interval(&rate, table);
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

void verify_write_cells(const struct verify_job *v, size_t i, struct cli_table *table) {
  size_t n_rows = v->frame == NULL ? 0 : cli_frame_n_rows(v->frame);
  for (size_t c = 0; c < n_columns_of(v); c++) {
    const char *name = column_name(v, c);
    if (is_taken(name)) continue;
    if (i < n_rows)
      cli_table_copy(table, cli_frame_cell(v->frame, i, c), v->number[c]);
    else
      write_own(v, i, name, table);
  }
  write_found(v, i, table);
  if (v->options.repeats > 0) write_rate(v, i, table);
}

int verify_write_rows(const struct verify_job *v, struct cli_table *table) {
  size_t range[2];
  int code = verify_name_columns(v, table);
  cli_shard_items(&v->shard, 1, v->n, CLI_BLOCK, range);
  for (size_t i = range[0]; i < range[1] && code == NK_OK; i++) {
    verify_write_cells(v, i, table);
    code = cli_table_end_row(table);
  }
  return code;
}

/* ---- The summary ---- */

/* Tokens of one kind. */
struct group {
  size_t n, n_verdicts[NK_N_VERDICTS];
};

bool verify_is_encoded(const struct verify_job *v, size_t i) {
  return v->texts == NULL ? v->found.encoded[i] > 0 : v->found.n_pieces[i] > 0;
}

static struct group count_group(const struct verify_job *v, bool control, bool encoded) {
  struct group group = {0};
  for (size_t i = 0; i < v->n; i++) {
    if (v->control[i] != control || verify_is_encoded(v, i) != encoded) continue;
    group.n++;
    if (!isnan(v->found.max_prob[i])) group.n_verdicts[nk_verdict_of(v->found.max_prob[i])]++;
  }
  return group;
}

static struct summary_interval share_of(const struct group *group) {
  size_t verified = group->n_verdicts[NK_STRONGLY_VERIFIED] + group->n_verdicts[NK_WEAKLY_VERIFIED];
  size_t judged = 0;
  for (int v = 0; v < NK_N_VERDICTS; v++) judged += group->n_verdicts[v];
  return summary_share_of(verified, judged, 0.95);
}

/* The mean rate of failures; a token's attempts are one cluster. */
static int rate_of_group(const struct verify_job *v, bool control, bool encoded,
                         struct summary_interval *rate) {
  double *rates = nk_alloc(v->n, sizeof *rates);
  size_t n = 0;
  if (rates == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < v->n; i++)
    if (v->control[i] == control && verify_is_encoded(v, i) == encoded &&
        !isnan(v->found.max_prob[i]))
      rates[n++] = rate_of(v, i).value;
  *rate = summary_clustered_share(rates, n, 0.95);
  nk_free(rates);
  return NK_OK;
}

void verify_write_command(const struct verify_job *v, struct cli_table *table) {
  struct nk_buffer command = {0};
  cli_quote_command(&command, v->run->argc, v->run->argv);
  if (command.failed)
    cli_table_fail(table);
  else
    cli_table_text(table, command.data, command.size);
  nk_buffer_free(&command);
}

/* What a row says of some tokens; group NULL: a difference, which has no tokens. */
struct summary_row {
  const char *name;
  const struct group *group;
  struct summary_interval share, rate;
};

static int write_group(const struct verify_job *v, const struct summary_row *row,
                       struct cli_table *table) {
  cli_table_string(table, row->name);
  if (row->group == NULL) {
    for (int i = 0; i < 1 + NK_N_VERDICTS; i++) cli_table_missing(table);
  } else {
    cli_table_integer(table, (int64_t)row->group->n);
    for (int i = 0; i < NK_N_VERDICTS; i++)
      cli_table_integer(table, (int64_t)row->group->n_verdicts[i]);
  }
  verify_write_interval(&row->share, table);
  if (v->options.repeats > 0) verify_write_interval(&row->rate, table);
  verify_write_command(v, table);
  return cli_table_end_row(table);
}

static int name_summary(const struct verify_job *v, struct cli_table *table) {
  int code = cli_table_column(table, "group");
  if (code == NK_OK) code = cli_table_column(table, "tokens");
  for (int i = 0; i < NK_N_VERDICTS && code == NK_OK; i++)
    code = cli_table_column(table, verdict_columns[i]);
  if (code == NK_OK) code = cli_table_column(table, "verified");
  if (code == NK_OK) code = cli_table_column(table, "low");
  if (code == NK_OK) code = cli_table_column(table, "high");
  for (size_t c = 2; c < N_RATES && v->options.repeats > 0 && code == NK_OK; c++)
    code = cli_table_column(table, rate_columns[c]);
  return code == NK_OK ? cli_table_column(table, "command") : code;
}

int verify_write_summary(const struct verify_job *v, struct cli_table *table) {
  struct group groups[4];
  struct summary_row difference = {.name = "difference"},
                     rows[4] = {{.name = "listed"},
                                {.name = "control"},
                                {.name = "listed, not encoded"},
                                {.name = "control, not encoded"}};
  int code = name_summary(v, table);
  for (int g = 0; g < 4 && code == NK_OK; g++) {
    groups[g] = count_group(v, g % 2 == 1, g < 2);
    rows[g].group = &groups[g];
    rows[g].share = share_of(&groups[g]);
    if (v->options.repeats > 0) code = rate_of_group(v, g % 2 == 1, g < 2, &rows[g].rate);
  }
  difference.share = summary_difference(&rows[0].share, &rows[1].share);
  difference.rate = summary_difference(&rows[0].rate, &rows[1].rate);
  for (int g = 0; g < 4 && code == NK_OK; g++) {
    code = write_group(v, &rows[g], table);
    if (g == 1 && code == NK_OK) code = write_group(v, &difference, table);
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
