/* nk-tokens: a tokenizer's vocabulary, and text to ids and back. */
#include <stdio.h>
#include <string.h>

#include "tokens/tokens.h"

/* ---- The summary ---- */

/* A row with a name and a number, or with a name and a text. */
static int print_count(struct cli_table *table, const char *name, size_t count) {
  cli_table_string(table, name);
  cli_table_integer(table, (int64_t)count);
  return cli_table_end_row(table);
}

static int print_words(struct cli_table *table, const char *name, const char *words, size_t n) {
  cli_table_string(table, name);
  cli_table_text(table, words, n);
  return cli_table_end_row(table);
}

/* Rows for the tokens that encoding puts around a text, those of "" being before and after nothing:
 * the tokens of a letter tell where they stand. */
static int print_around(const struct tokens_job *job, struct cli_table *table) {
  int64_t *with = NULL, *alone = NULL;
  size_t n_with = 0, n_alone = 0, first = 0;
  int code = nk_tokenizer_encode(job->tokenizer, "a", 1, NK_ENCODE_SPECIAL, &with, &n_with);
  if (code == NK_OK) code = nk_tokenizer_encode(job->tokenizer, "a", 1, 0, &alone, &n_alone);
  while (code == NK_OK && first + n_alone < n_with && n_alone > 0 &&
         memcmp(with + first, alone, n_alone * sizeof *alone) != 0)
    first++;
  for (size_t i = 0; i < n_with && code == NK_OK; i++) {
    if (i >= first && i < first + n_alone) continue;
    size_t n_bytes = 0;
    const char *bytes = nk_tokenizer_bytes(job->tokenizer, (size_t)with[i], &n_bytes);
    code = print_words(table, i < first ? "token before a text" : "token after a text",
                       bytes != NULL ? bytes : "", n_bytes);
  }
  const char *why = nk_tokenizer_around(job->tokenizer);
  if (code == NK_OK) code = print_words(table, "tokens around a text by", why, strlen(why));
  nk_free(with);
  nk_free(alone);
  return code;
}

static int print_summary(const struct tokens_job *job, struct cli_table *table) {
  size_t counts[NK_N_CATEGORIES] = {0}, n_rows = 0;
  int code = tokens_count_ids(job, &n_rows);
  if (code != NK_OK) return code;
  enum nk_category *category = nk_alloc(n_rows, sizeof *category);
  if (category == NULL) return NK_EMEMORY;
  code = nk_tokenizer_categories(job->tokenizer, n_rows, category);
  for (size_t id = 0; id < n_rows && code == NK_OK; id++) counts[category[id]]++;
  nk_free(category);
  if (code == NK_OK) code = cli_table_column(table, "what");
  if (code == NK_OK) code = cli_table_column(table, "value");
  if (code == NK_OK) code = print_count(table, "ids", n_rows);
  for (size_t c = 0; c < NK_N_CATEGORIES && code == NK_OK; c++)
    code = print_count(table, nk_category_names[c], counts[c]);
  return code != NK_OK ? code : print_around(job, table);
}

/* ---- Encoding ---- */

/* Prints a row for each token of a text; `line` > 0 is its number. */
static int print_tokens(const struct tokens_job *job, const char *text, size_t n, int64_t line,
                        struct cli_table *table) {
  int flags = (job->options->no_special ? 0 : NK_ENCODE_SPECIAL) |
              (job->options->plain ? NK_ENCODE_PLAIN : 0);
  int64_t *ids;
  size_t n_ids;
  int code = nk_tokenizer_encode(job->tokenizer, text, n, flags, &ids, &n_ids);
  if (code != NK_OK) return line > 0 ? nk_fail_in(code, "line %lld", (long long)line) : code;
  for (size_t i = 0; i < n_ids && code == NK_OK; i++) {
    tokens_write_token(job, ids[i], table);
    if (line > 0) cli_table_integer(table, line);
    code = cli_table_end_row(table);
  }
  nk_free(ids);
  return code;
}

static int encode_lines(const struct tokens_job *job, struct cli_table *table) {
  struct nk_file *file = nk_file_open("-");
  if (file == NULL) return nk_error_code();
  const char *at = (const char *)file->data, *end = at + file->size;
  int code = NK_OK;
  for (int64_t line = 1; at < end && code == NK_OK; line++) {
    const char *stop = memchr(at, '\n', (size_t)(end - at));
    if (stop == NULL) stop = end;
    code = print_tokens(job, at, (size_t)(stop - at), line, table);
    at = stop + 1;
  }
  nk_file_free(file);
  return code;
}

static int encode(const struct tokens_job *job, struct cli_table *table) {
  const char *text = job->options->encode;
  bool has_lines = strcmp(text, "-") == 0;
  int code = cli_table_column(table, "id");
  if (code == NK_OK) code = cli_table_column(table, "text");
  if (code == NK_OK && has_lines) code = cli_table_column(table, "line");
  if (code != NK_OK) return code;
  return has_lines ? encode_lines(job, table) : print_tokens(job, text, strlen(text), 0, table);
}

/* ---- Decoding ---- */

/* Appends the text of ids [n] and a line break to out. */
static int decode_ids(const struct tokens_job *job, const int64_t *ids, size_t n,
                      struct nk_buffer *out) {
  int flags = job->options->no_special ? NK_DECODE_SKIP_SPECIAL : 0;
  int code = nk_tokenizer_decode(job->tokenizer, ids, n, flags, out);
  nk_buffer_byte(out, '\n');
  return code;
}

enum { MAX_EMPTY_LINES = 1000000 };

/* The ids of a table. Where it has a column `line`, the ids of each line make a line of text. */
static int decode_table(const struct tokens_job *job, struct nk_buffer *out) {
  struct cli_frame *frame = cli_frame_read("-");
  if (frame == NULL) return nk_error_code();
  size_t n_rows = cli_frame_n_rows(frame), first = 0;
  int64_t line_column = cli_frame_column(frame, "line"), line = 1;
  int64_t column = cli_frame_column(frame, "id"), *ids = nk_alloc(n_rows, sizeof *ids);
  int code = ids == NULL || column < 0 ? nk_error_code() : NK_OK;
  for (size_t row = 0; row < n_rows && code == NK_OK; row++) {
    int64_t number = line;
    code = cli_frame_integer(frame, row, (size_t)column, &ids[row]);
    if (code == NK_OK && line_column >= 0)
      code = cli_frame_integer(frame, row, (size_t)line_column, &number);
    if (code == NK_OK && (number < line || number - line > MAX_EMPTY_LINES))
      code = nk_fail(NK_EDATA, "row %zu: line %lld after line %lld", row + 1, (long long)number,
                     (long long)line);
    for (; line < number && code == NK_OK; line++, first = row) /* lines without ids are empty */
      code = decode_ids(job, ids + first, row - first, out);
  }
  if (code == NK_OK) code = decode_ids(job, ids + first, n_rows - first, out);
  nk_free(ids);
  cli_frame_free(frame);
  return code;
}

static int decode_list(const struct tokens_job *job, struct nk_buffer *out) {
  int64_t *ids;
  size_t n;
  int code = cli_parse_ids("--decode", job->options->decode, &ids, &n);
  if (code != NK_OK) return code;
  code = decode_ids(job, ids, n, out);
  nk_free(ids);
  return code;
}

static int decode(const struct tokens_job *job, struct nk_output *output) {
  struct nk_buffer text = {0};
  bool is_table = strcmp(job->options->decode, "-") == 0;
  int code = is_table ? decode_table(job, &text) : decode_list(job, &text);
  if (code == NK_OK) code = cli_write_text(job->run, &text, output);
  nk_buffer_free(&text);
  return code;
}

/* ---- The tool ---- */

static int check_usage(const struct tokens_options *o, bool json) {
  if (o->encode != NULL && o->decode != NULL)
    return nk_fail(NK_EUSAGE, "--encode and --decode exclude each other");
  if (o->summary && (o->encode != NULL || o->decode != NULL))
    return nk_fail(NK_EUSAGE, "--summary excludes --encode and --decode");
  if (o->texts && (o->summary || o->encode != NULL || o->decode != NULL))
    return nk_fail(NK_EUSAGE, "--texts excludes --summary, --encode and --decode");
  if (o->decode != NULL && json)
    return nk_fail(NK_EUSAGE, "--decode prints text: --json has no meaning");
  return NK_OK;
}

static int print(const struct tokens_job *job, struct nk_output *output) {
  if (job->options->decode != NULL) return decode(job, output);
  struct cli_table *table = cli_new_table(job->run, output);
  if (table == NULL) return nk_error_code();
  int code = job->options->encode != NULL ? encode(job, table)
             : job->options->scan != NULL ? tokens_scan(job, table)
             : job->options->summary      ? print_summary(job, table)
                                          : tokens_vocabulary(job, table);
  if (code == NK_OK) return cli_table_finish(table);
  cli_table_free(table);
  return code;
}

int main(int argc, char **argv) {
  struct tokens_options o = {0};
  const struct cli_option options[] = {
      {'e', "encode", CLI_OPTION_STRING, &o.encode, "TEXT",
       "print the tokens of TEXT ('-': of each line of stdin)"},
      {'d', "decode", CLI_OPTION_STRING, &o.decode, "IDS",
       "print the text of ids 3,10-20 ('-': of the table on stdin)"},
      {0, "no-special", CLI_OPTION_FLAG, &o.no_special, NULL,
       "leave out special tokens (rows, begin and end, text)"},
      {0, "summary", CLI_OPTION_FLAG, &o.summary, NULL,
       "count tokens by category; say which tokens are put around a text, and why"},
      {0, "texts", CLI_OPTION_FLAG, &o.texts, NULL,
       "add the ids that each text gives, and the longer tokens that contain it"},
      {0, "scan", CLI_OPTION_STRING, &o.scan, "FILE",
       "print which lines of FILE ('-': stdin) give tokens of --with"},
      {0, "with", CLI_OPTION_STRING, &o.with, "TABLE", "tokens to find: a table with a column id"},
      {0, "field", CLI_OPTION_STRING, &o.field, "NAME",
       "with --scan: FILE is JSON Lines; scan this text of each"},
      {0, "plain", CLI_OPTION_FLAG, &o.plain, NULL, "encode names of special tokens as text"},
      {0, "prune", CLI_OPTION_STRING, &o.prune, "TABLE",
       "write a tokenizer.json that never gives TABLE's tokens to -o FILE"},
      {0, "check", CLI_OPTION_LIST, &o.checks, "FILE",
       "prove that --prune changes no text of FILE without pruned tokens"},
  };
  const struct cli_tool tool = {
      .name = "nk-tokens",
      .summary = "a tokenizer's vocabulary, text to token ids and back",
      .usage = "[OPTION]... MODEL",
      .options = options,
      .n_options = sizeof options / sizeof *options,
      .example = "nk-tokens --encode 'Hello world' data/gpt2-tiny",
  };
  struct cli_run run;
  cli_begin(&run, &tool, argc, argv, 1, 1);
  struct nk_tokenizer *tokenizer = NULL;
  struct nk_output *output = NULL;
  int code = check_usage(&o, run.common.json);
  if (code == NK_OK) code = tokens_prune_check(&run, &o);
  if (code == NK_OK) code = tokens_scan_check(&o);
  if (code != NK_OK) goto done;
  tokenizer = nk_tokenizer_open(run.operands[0]);
  const struct tokens_job job = {.run = &run, .options = &o, .tokenizer = tokenizer};
  if (o.prune != NULL) {
    code = tokenizer != NULL ? tokens_prune(&job) : nk_error_code();
    goto done;
  }
  if (tokenizer != NULL) output = cli_output(&run, NK_OUTPUT_TEXT);
  if ((code = output != NULL ? NK_OK : nk_error_code()) != NK_OK) goto done;
  code = print(&job, output);
  if (code == NK_OK) code = nk_output_commit(output);
done:
  nk_output_free(output);
  nk_tokenizer_free(tokenizer);
  cli_strings_free(&o.checks);
  return cli_end(&run, code);
}
