/* What the parts of nk-tokens have in common: ids, the cells of one, the tokens that --prune and
 * --scan take. */
#include "tokens/tokens.h"

int tokens_count_ids(const struct tokens_job *job, size_t *n) {
  size_t n_tokens = nk_tokenizer_n_tokens(job->tokenizer);
  int code = nk_model_count_rows(job->run->operands[0], n);
  if (code == NK_OK && *n < n_tokens) *n = n_tokens;
  return code;
}

size_t tokens_first_invalid(const char *bytes, size_t n) {
  size_t at = 0;
  for (size_t width; at < n && (width = nk_utf8_length(bytes + at, n - at)) > 0;) at += width;
  return at;
}

void tokens_write_token(const struct tokens_job *job, int64_t id, struct cli_table *table) {
  size_t n = 0;
  const char *bytes = nk_tokenizer_bytes(job->tokenizer, (size_t)id, &n);
  cli_table_integer(table, id);
  cli_table_text(table, bytes != NULL ? bytes : "", bytes != NULL ? n : 0);
}

int tokens_read_listed(const struct tokens_job *job, const char *path, int64_t **ids, size_t *n,
                       size_t *n_ids) {
  int code = cli_read_verified(path, ids, n);
  if (code == NK_OK) code = tokens_count_ids(job, n_ids);
  if (code != NK_OK) return code;
  if (*n == 0) nk_warn("%s: no tokens are listed", path);
  for (size_t i = 0; i < *n; i++)
    if ((*ids)[i] < 0 || (uint64_t)(*ids)[i] >= *n_ids)
      return nk_fail(NK_EDATA, "%s: no token has the id %lld: %s has %zu ids", path,
                     (long long)(*ids)[i], job->run->operands[0], *n_ids);
  return NK_OK;
}
