/* nk-tokens: a tokenizer's vocabulary, and text to ids and back. */
#include <stdio.h>
#include <string.h>

#include "cli/tool.h"

static const char *text_to_encode, *ids_to_decode;
static bool no_special, plain;

static const struct cli_option options[] = {
    {'e', "encode", CLI_OPTION_STRING, &text_to_encode, "TEXT",
     "print the tokens of TEXT ('-': of each line of stdin)"},
    {'d', "decode", CLI_OPTION_STRING, &ids_to_decode, "IDS",
     "print the text of ids 3,10-20 ('-': of the table on stdin)"},
    {0, "no-special", CLI_OPTION_FLAG, &no_special, NULL,
     "without special tokens: begin, end, rows, text"},
    {0, "plain", CLI_OPTION_FLAG, &plain, NULL, "encode what looks like a special token as text"},
};

static const struct cli_tool tool = {
    .name = "nk-tokens",
    .summary = "a tokenizer's vocabulary, text to token ids and back",
    .usage = "[OPTION]... MODEL",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .example = "nk-tokens --encode 'Hello world' data/gpt2-tiny",
};

/* ---- The vocabulary ---- */

static int print_vocabulary(const struct cli_run *run, const struct nk_tokenizer *tokenizer,
                            struct cli_table *table) {
  static const char *const columns[] = {"id", "text", "category"};
  size_t rows = 0, n;
  int code = nk_model_count_rows(run->operands[0], &rows);
  if (rows < nk_tokenizer_n_tokens(tokenizer)) rows = nk_tokenizer_n_tokens(tokenizer);
  enum nk_category *category = code != NK_OK ? NULL : nk_alloc(rows, sizeof *category);
  if (category == NULL) return nk_error_code();
  code = nk_tokenizer_categories(tokenizer, rows, category);
  for (size_t c = 0; c < 3 && code == NK_OK; c++) code = cli_table_column(table, columns[c]);
  for (size_t id = 0; id < rows && code == NK_OK; id++) {
    const char *bytes = nk_tokenizer_bytes(tokenizer, id, &n);
    if (no_special && category[id] == NK_TOKEN_SPECIAL) continue;
    cli_table_integer(table, (int64_t)id);
    if (bytes != NULL)
      cli_table_text(table, bytes, n);
    else
      cli_table_missing(table);
    cli_table_string(table, nk_category_names[category[id]]);
    code = cli_table_end_row(table);
  }
  nk_free(category);
  return code;
}

/* ---- Encoding ---- */

/* Prints a row for each token of a text; `line` > 0 is its number. */
static int print_tokens(const struct nk_tokenizer *tokenizer, const char *text, size_t n,
                        int64_t line, struct cli_table *table) {
  int flags = (no_special ? 0 : NK_ENCODE_SPECIAL) | (plain ? NK_ENCODE_PLAIN : 0);
  int64_t *ids;
  size_t n_ids, n_bytes;
  int code = nk_tokenizer_encode(tokenizer, text, n, flags, &ids, &n_ids);
  if (code != NK_OK) return line != 0 ? nk_fail_in(code, "line %lld", (long long)line) : code;
  for (size_t i = 0; i < n_ids && code == NK_OK; i++) {
    const char *bytes = nk_tokenizer_bytes(tokenizer, (size_t)ids[i], &n_bytes);
    cli_table_integer(table, ids[i]);
    cli_table_text(table, bytes != NULL ? bytes : "", bytes != NULL ? n_bytes : 0);
    if (line != 0) cli_table_integer(table, line);
    code = cli_table_end_row(table);
  }
  nk_free(ids);
  return code;
}

static int encode(const struct nk_tokenizer *tokenizer, struct cli_table *table) {
  bool lines = strcmp(text_to_encode, "-") == 0;
  int code = cli_table_column(table, "id");
  if (code == NK_OK) code = cli_table_column(table, "text");
  if (code == NK_OK && lines) code = cli_table_column(table, "line");
  if (code != NK_OK) return code;
  if (!lines) return print_tokens(tokenizer, text_to_encode, strlen(text_to_encode), 0, table);
  struct nk_file *file = nk_file_open("-");
  if (file == NULL) return nk_error_code();
  const char *at = (const char *)file->data, *end = at + file->size;
  for (int64_t line = 1; at < end && code == NK_OK; line++) {
    const char *stop = memchr(at, '\n', (size_t)(end - at));
    if (stop == NULL) stop = end;
    code = print_tokens(tokenizer, at, (size_t)(stop - at), line, table);
    at = stop + 1;
  }
  nk_file_free(file);
  return code;
}

/* ---- Decoding ---- */

static int decode_ids(const struct nk_tokenizer *tokenizer, const int64_t *ids, size_t n,
                      struct nk_buffer *out) {
  int code = nk_tokenizer_decode(tokenizer, ids, n, no_special ? NK_DECODE_SKIP_SPECIAL : 0, out);
  nk_buffer_byte(out, '\n');
  return code;
}

enum { MOST_EMPTY_LINES = 1000000 };

/* The ids of a table; those of one `line`, where it has that column, make a line of text. */
static int decode_table(const struct nk_tokenizer *tokenizer, struct nk_buffer *out) {
  struct cli_frame *frame = cli_frame_read("-");
  if (frame == NULL) return nk_error_code();
  size_t rows = cli_frame_n_rows(frame), first = 0;
  int64_t line_column = cli_frame_column(frame, "line"), line = 1;
  int64_t column = cli_frame_column(frame, "id"), *ids = nk_alloc(rows, sizeof *ids);
  int code = ids == NULL || column < 0 ? nk_error_code() : NK_OK;
  for (size_t row = 0; row < rows && code == NK_OK; row++) {
    int64_t number = line;
    code = cli_frame_integer(frame, row, (size_t)column, &ids[row]);
    if (code == NK_OK && line_column >= 0)
      code = cli_frame_integer(frame, row, (size_t)line_column, &number);
    if (code == NK_OK && (number < line || number - line > MOST_EMPTY_LINES))
      code = nk_fail(NK_EDATA, "row %zu: line %lld behind line %lld", row + 1, (long long)number,
                     (long long)line);
    for (; line < number && code == NK_OK; line++, first = row) /* lines without tokens are empty */
      code = decode_ids(tokenizer, ids + first, row - first, out);
  }
  if (code == NK_OK) code = decode_ids(tokenizer, ids + first, rows - first, out);
  nk_free(ids);
  cli_frame_free(frame);
  return code;
}

static int decode(const struct nk_tokenizer *tokenizer, struct nk_output *output) {
  struct nk_buffer text = {0};
  int64_t *ids = NULL;
  size_t n;
  int code;
  if (strcmp(ids_to_decode, "-") == 0) {
    code = decode_table(tokenizer, &text);
  } else {
    code = cli_parse_ids("--decode", ids_to_decode, &ids, &n);
    if (code == NK_OK) code = decode_ids(tokenizer, ids, n, &text);
  }
  if (code == NK_OK && text.failed) code = nk_fail(NK_EMEMORY, "out of memory for the text");
  if (code == NK_OK) code = nk_output_write(output, text.data, text.size);
  nk_free(ids);
  nk_buffer_free(&text);
  return code;
}

/* ---- The whole ---- */

static int print(const struct cli_run *run, const struct nk_tokenizer *tokenizer,
                 struct nk_output *output) {
  if (ids_to_decode != NULL) return decode(tokenizer, output);
  struct cli_table *table = cli_new_table(run, output);
  if (table == NULL) return nk_error_code();
  int code =
      text_to_encode != NULL ? encode(tokenizer, table) : print_vocabulary(run, tokenizer, table);
  if (code == NK_OK) return cli_table_finish(table);
  cli_table_free(table);
  return code;
}

int main(int argc, char **argv) {
  struct cli_run run;
  cli_begin(&run, &tool, argc, argv, 1, 1);
  if (text_to_encode != NULL && ids_to_decode != NULL)
    return cli_end(&run, nk_fail(NK_EUSAGE, "--encode and --decode exclude each other"));
  if (ids_to_decode != NULL && run.common.json)
    return cli_end(&run, nk_fail(NK_EUSAGE, "--decode prints text: --json has no meaning"));
  struct nk_tokenizer *tokenizer = nk_tokenizer_open(run.operands[0]);
  struct nk_output *output = tokenizer != NULL ? cli_output(&run, NK_OUTPUT_TEXT) : NULL;
  int code = output != NULL ? print(&run, tokenizer, output) : nk_error_code();
  if (code == NK_OK) code = nk_output_commit(output);
  nk_output_free(output);
  nk_tokenizer_free(tokenizer);
  return cli_end(&run, code);
}
