/* nk-knn: the nearest neighbours of every row of a vector set. */
#include <math.h>
#include <string.h>

#include "cli/shard.h"
#include "cli/tool.h"
#include "summary/intervals.h"

#define NO_RECALL SIZE_MAX /* neighbours are wanted */

struct options {
  struct nk_knn_options search;
  const char *query, *shard;
  int metric;
  size_t recall; /* rows, or NO_RECALL */
  bool summary, skip_bad;
};

static int check_usage(const struct options *o) {
  if (o->shard != NULL && o->query == NULL)
    return nk_fail(NK_EUSAGE, "--shard needs --query, whose rows it divides");
  if (o->search.k == 0) return nk_fail(NK_EUSAGE, "-k: at least 1 neighbour");
  if (o->search.search != NULL && o->search.index == NULL)
    return nk_fail(NK_EUSAGE, "--search needs --index");
  if (o->recall == 0) return nk_fail(NK_EUSAGE, "--recall: at least 1 row");
  if (o->recall != NO_RECALL && o->search.index == NULL)
    return nk_fail(NK_EUSAGE, "--recall needs --index");
  if (o->recall != NO_RECALL && (o->summary || o->shard != NULL))
    return nk_fail(NK_EUSAGE, "--recall prints a table of its own: remove %s",
                   o->summary ? "--summary" : "--shard");
  return NK_OK;
}

static int read_set(const char *path, bool skip_bad, struct nk_vectors **set) {
  if ((*set = nk_vectors_read(path)) == NULL) return nk_error_code();
  return cli_check_finite(set, skip_bad);
}

static const char *const NEIGHBOUR_COLUMNS[] = {"rank", "neighbour", "neighbour_text", "distance"};

/* A row per row of `from`, from number `first` on, and neighbour among the rows of `base`. */
static int write_neighbours(const struct nk_vectors *from, size_t first,
                            const struct nk_vectors *base, const struct nk_knn *knn,
                            struct cli_table *table) {
  bool texts = base->text_offsets != NULL;
  int code = cli_set_head(from, table);
  for (int i = 0; i < 4 && code == NK_OK; i++)
    if (i != 2 || texts) code = cli_table_column(table, NEIGHBOUR_COLUMNS[i]);
  if (code == NK_OK) code = cli_set_head_tail(from, table);
  for (size_t i = 0; i < knn->n * knn->k && code == NK_OK; i++) {
    if (knn->rows[i] < 0) continue;
    size_t row = i / knn->k, neighbour = (size_t)knn->rows[i], n_bytes = 0;
    cli_set_row(from, first + row, table);
    cli_table_integer(table, (int64_t)(i % knn->k) + 1);
    cli_table_integer(table, base->ids[neighbour]);
    if (texts) {
      const char *text = nk_vectors_text(base, neighbour, &n_bytes);
      cli_table_text(table, text, n_bytes);
    }
    cli_table_number(table, knn->distances[i]);
    cli_set_row_tail(from, first + row, table);
    code = cli_table_end_row(table);
  }
  return code;
}

static const char *const SUMMARY_COLUMNS[] = {"kth", "mean", "hubness", "lof"};

/* A row per row of `from`, from number `first` on; hubness and lof only where it was searched among
 * its own rows. */
static int write_summary(const struct nk_vectors *from, size_t first, const struct nk_knn *knn,
                         bool self, struct cli_table *table) {
  size_t n_columns = self ? 4 : 2;
  int64_t *hubness = nk_alloc(knn->n, sizeof *hubness);
  double *lof = nk_alloc(knn->n, sizeof *lof);
  int code = hubness != NULL && lof != NULL ? cli_set_head(from, table) : NK_EMEMORY;
  for (size_t i = 0; i < n_columns && code == NK_OK; i++)
    code = cli_table_column(table, SUMMARY_COLUMNS[i]);
  if (code == NK_OK) code = cli_set_head_tail(from, table);
  if (code == NK_OK && self) nk_hubness(knn, hubness);
  if (code == NK_OK && self) code = nk_lof(knn, lof);
  for (size_t row = 0; row < knn->n && code == NK_OK; row++) {
    const double *distances = knn->distances + row * knn->k;
    double sum = 0;
    size_t count = 0;
    for (; count < knn->k && knn->rows[row * knn->k + count] >= 0; count++) sum += distances[count];
    cli_set_row(from, first + row, table);
    cli_table_number(table, count > 0 ? distances[count - 1] : (double)NAN);
    cli_table_number(table, count > 0 ? sum / (double)count : (double)NAN);
    if (self) cli_table_integer(table, hubness[row]);
    if (self) cli_table_number(table, lof[row]);
    cli_set_row_tail(from, first + row, table);
    code = cli_table_end_row(table);
  }
  nk_free(hubness);
  nk_free(lof);
  return code;
}

static const char *const RECALL_COLUMNS[] = {"rows", "k", "recall", "low", "high"};

/* One row: the mean share of the exact neighbours of the rows searched for that the index found.
 * One found at most as far as the last exact one counts: it is one of them or as near. The interval
 * is that of rows drawn from many, missing where all were searched for. */
static int write_recall(const struct nk_knn *found, const struct nk_knn *exact, bool all,
                        struct cli_table *table) {
  double *shares = nk_alloc(exact->n, sizeof *shares);
  int code = shares != NULL ? NK_OK : NK_EMEMORY;
  for (size_t i = 0; i < 5 && code == NK_OK; i++) code = cli_table_column(table, RECALL_COLUMNS[i]);
  for (size_t row = 0; row < exact->n && code == NK_OK; row++) {
    const double *distances = found->distances + row * exact->k;
    size_t count = 0;
    while (count < exact->k && distances[count] <= exact->distances[(row + 1) * exact->k - 1])
      count++;
    shares[row] = (double)count / (double)exact->k;
  }
  if (code == NK_OK) {
    struct summary_interval recall = summary_clustered_share(shares, exact->n, 0.95);
    cli_table_integer(table, (int64_t)exact->n);
    cli_table_integer(table, (int64_t)exact->k);
    cli_table_number(table, recall.value);
    cli_table_number(table, all ? (double)NAN : recall.low);
    cli_table_number(table, all ? (double)NAN : recall.high);
    code = cli_table_end_row(table);
  }
  nk_free(shares);
  return code;
}

/* The neighbours of rows [range[0], range[1]) of query, or of all of base where query is NULL; with
 * options->rows of those. */
static struct nk_knn *search(const struct nk_vectors *base, const struct nk_vectors *query,
                             const size_t range[2], const struct nk_knn_options *options) {
  return nk_knn_search(base->values, base->n, base->dim,
                       query != NULL ? query->values + range[0] * query->dim : NULL,
                       query != NULL ? range[1] - range[0] : 0, options);
}

/* Evenly spaced rows [n_rows] of n; NULL on failure. */
static size_t *spaced_rows(size_t n, size_t n_rows) {
  size_t *rows = nk_alloc(n_rows, sizeof *rows);
  for (size_t i = 0; i < n_rows && rows != NULL; i++) rows[i] = i * n / n_rows;
  return rows;
}

static int search_and_write(const struct cli_run *run, const struct options *o,
                            const struct cli_shard *shard, const struct nk_vectors *base,
                            const struct nk_vectors *query) {
  const struct nk_vectors *from = query != NULL ? query : base;
  struct nk_knn_options options = o->search;
  struct nk_output *output = NULL;
  struct cli_table *table = NULL;
  struct nk_knn *knn = NULL, *exact = NULL;
  size_t range[2], *rows = NULL;
  bool recalls = o->recall != NO_RECALL;
  if (query != NULL && query->dim != base->dim)
    return nk_fail(NK_EDATA, "%s: vectors have %zu values, those of the set have %zu", o->query,
                   query->dim, base->dim);
  if (recalls && o->recall < from->n) {
    options.n_rows = o->recall;
    options.rows = rows = spaced_rows(from->n, o->recall);
    if (rows == NULL) return nk_error_code();
  }
  cli_shard_items(shard, 1, from->n, CLI_BLOCK, range);
  knn = search(base, query, range, &options);
  options.index = NULL;
  if (knn != NULL && recalls) exact = search(base, query, range, &options);
  if (knn != NULL && (!recalls || exact != NULL)) output = cli_output(run, NK_OUTPUT_TEXT);
  if (output != NULL) table = cli_shard_table(shard, run, output);
  int code = table != NULL ? NK_OK : nk_error_code();
  if (code == NK_OK)
    code = recalls      ? write_recall(knn, exact, rows == NULL, table)
           : o->summary ? write_summary(from, range[0], knn, query == NULL, table)
                        : write_neighbours(from, range[0], base, knn, table);
  code = cli_close(table, output, code);
  nk_knn_free(knn);
  nk_knn_free(exact);
  nk_free(rows);
  return code;
}

int main(int argc, char **argv) {
  struct options o = {.search = {.k = 10}, .recall = NO_RECALL};
  const struct cli_option options[] = {
      {'k', "neighbours", CLI_OPTION_SIZE, &o.search.k, "K", "neighbours per row (default: 10)"},
      {0, "metric", CLI_OPTION_CHOICE, &o.metric, "l2|cosine", "distance (default: l2)"},
      {0, "query", CLI_OPTION_STRING, &o.query, "SET", "search for the rows of this set"},
      CLI_SHARD_OPTION(&o.shard),
      {0, "summary", CLI_OPTION_FLAG, &o.summary, NULL,
       "print one row per vector: kth, mean, hubness, lof"},
      {0, "index", CLI_OPTION_STRING, &o.search.index, "FACTORY",
       "FAISS index: IVF256,Flat; HNSW32 (default: exact)"},
      {0, "search", CLI_OPTION_STRING, &o.search.search, "PARAMETERS",
       "search parameters of the index: nprobe=16; efSearch=64"},
      {0, "recall", CLI_OPTION_SIZE, &o.recall, "ROWS",
       "print the share of exact neighbours that the index finds for so many rows"},
      {0, "skip-bad", CLI_OPTION_FLAG, &o.skip_bad, NULL,
       "omit rows that hold a NaN or an infinity"},
  };
  const struct cli_tool tool = {
      .name = "nk-knn",
      .summary = "nearest neighbours of every row of a vector set",
      .usage = "[OPTION]... [SET]",
      .options = options,
      .n_options = sizeof options / sizeof options[0],
      .example = "nk-extract --ids 300-310 data/gpt2-tiny | nk-knn -k 3",
  };
  struct cli_run run;
  cli_begin(&run, &tool, argc, argv, 0, 1);
  o.search.metric = o.metric == 1 ? NK_METRIC_COSINE : NK_METRIC_L2;

  struct nk_vectors *base = NULL, *query = NULL;
  struct cli_shard shard = {0};
  int code = check_usage(&o);
  if (code == NK_OK) code = cli_shard_parse(o.shard, &shard);
  if (code == NK_OK) code = read_set(cli_operand(&run, 0), o.skip_bad, &base);
  if (code == NK_OK && o.query != NULL) code = read_set(o.query, o.skip_bad, &query);
  if (code == NK_OK) code = search_and_write(&run, &o, &shard, base, query);
  nk_vectors_free(base);
  nk_vectors_free(query);
  return cli_end(&run, code);
}
