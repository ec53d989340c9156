/* nk-tokens --prune: a tokenizer without the listed tokens; the table of what became of them. */
#include <string.h>

#include "tokens/tokens.h"

int tokens_prune_check(const struct cli_run *run, const struct tokens_options *o) {
  const char *output = run->common.output;
  if (o->prune == NULL)
    return o->checks.n == 0 ? NK_OK : nk_fail(NK_EUSAGE, "--check needs --prune");
  if (o->encode != NULL || o->decode != NULL || o->summary || o->texts || o->plain || o->no_special)
    return nk_fail(NK_EUSAGE, "of nk-tokens' own options, --prune goes with --check alone");
  size_t n_standard = strcmp(o->prune, "-") == 0;
  for (size_t i = 0; i < o->checks.n; i++) n_standard += strcmp(o->checks.item[i], "-") == 0;
  if (n_standard > 1)
    return nk_fail(NK_EUSAGE, "--prune and --check: standard input is one of them");
  if (output == NULL || strcmp(output, "-") == 0)
    return nk_fail(NK_EUSAGE,
                   "--prune needs -o FILE for the tokenizer: standard output has the table of what "
                   "became of each token");
  return NK_OK;
}

/* ---- The table ---- */

static const char *word_of(enum nk_prune_result result) {
  return result == NK_PRUNE_DONE          ? "pruned"
         : result == NK_PRUNE_UNREACHABLE ? "unreachable"
                                          : "kept";
}

/* Appends why the token was kept. */
static void reason_of(const struct nk_tokenizer *tokenizer, const struct nk_pruned *pruned,
                      struct nk_buffer *out) {
  size_t n = 0;
  const char *bytes =
      pruned->other >= 0 ? nk_tokenizer_bytes(tokenizer, (size_t)pruned->other, &n) : NULL;
  switch (pruned->result) {
    case NK_PRUNE_ADDED:
      nk_buffer_text(out, "an added token: its name gives it");
      break;
    case NK_PRUNE_AROUND:
      nk_buffer_text(out, "put around every text");
      break;
    case NK_PRUNE_UNKNOWN:
      nk_buffer_text(out, "the token for text without tokens");
      break;
    case NK_PRUNE_NO_PIECES:
      nk_buffer_text(out, "no other tokens stand for its text");
      break;
    case NK_PRUNE_PART:
      nk_buffer_printf(out, "token %lld is built from it: ", (long long)pruned->other);
      if (bytes != NULL) nk_buffer_append(out, bytes, n);
      break;
    case NK_PRUNE_NO_NAME:
      nk_buffer_text(out, "a text could hold any new name of it");
      break;
    default:
      break;
  }
}

static int write_row(const struct tokens_job *job, int64_t id, const struct nk_pruned *pruned,
                     struct cli_table *table) {
  struct nk_buffer reason = {0};
  reason_of(job->tokenizer, pruned, &reason);
  tokens_write_token(job, id, table);
  cli_table_string(table, word_of(pruned->result));
  cli_table_text(table, reason.data != NULL ? reason.data : "", reason.size);
  if (reason.failed) cli_table_fail(table);
  nk_buffer_free(&reason);
  return cli_table_end_row(table);
}

/* ---- The work ---- */

static int read_checks(const struct tokens_options *o, struct nk_buffer *text) {
  int code = NK_OK;
  for (size_t i = 0; i < o->checks.n && code == NK_OK; i++) {
    struct nk_file *file = nk_file_open(o->checks.item[i]);
    if (file == NULL) return nk_error_code();
    size_t bad = tokens_first_invalid((const char *)file->data, file->size);
    if (bad < file->size)
      code = nk_fail(NK_EDATA, "%s: not valid UTF-8 at byte %zu", file->name, bad);
    if (code == NK_OK) nk_buffer_append(text, file->data, file->size);
    nk_buffer_byte(text, '\n');
    nk_file_free(file);
  }
  return code == NK_OK && text->failed ? nk_fail(NK_EMEMORY, "no memory for texts") : code;
}

static int write_table(const struct tokens_job *job, const int64_t *ids, size_t n,
                       const struct nk_pruned *pruned) {
  static const char *const columns[] = {"id", "text", "result", "reason"};
  struct nk_output *output = nk_output_open(NULL, NK_OUTPUT_TEXT);
  struct cli_table *table = cli_new_table(job->run, output);
  int code = table != NULL ? NK_OK : nk_error_code();
  for (size_t c = 0; c < 4 && code == NK_OK; c++) code = cli_table_column(table, columns[c]);
  for (size_t i = 0; i < n && code == NK_OK; i++) code = write_row(job, ids[i], &pruned[i], table);
  return cli_close(table, output, code);
}

int tokens_prune(const struct tokens_job *job) {
  struct nk_buffer text = {0}, json = {0};
  struct nk_pruned *pruned = NULL;
  struct nk_output *output = NULL;
  int64_t *ids = NULL;
  size_t n = 0, n_ids = 0;
  int code = tokens_read_listed(job, job->options->prune, &ids, &n, &n_ids);
  if (code == NK_OK) code = read_checks(job->options, &text);
  if (code == NK_OK && (pruned = nk_alloc(n, sizeof *pruned)) == NULL) code = NK_EMEMORY;
  if (code != NK_OK) goto done;
  const struct nk_prune_options options = {.check = text.data, .n_check = text.size};
  code = nk_tokenizer_prune(job->tokenizer, ids, n, &options, pruned, &json);
  if (code == NK_OK && (output = cli_output(job->run, NK_OUTPUT_TEXT)) == NULL)
    code = nk_error_code();
  if (code == NK_OK) code = nk_output_write(output, json.data, json.size);
  if (code == NK_OK) code = write_table(job, ids, n, pruned);
  if (code == NK_OK) code = nk_output_commit(output);
done:
  nk_output_free(output);
  nk_buffer_free(&text);
  nk_buffer_free(&json);
  nk_free(pruned);
  nk_free(ids);
  return code;
}
