/* The tokens that --prune and --scan take. */
#include "tokens/tokens.h"

int tokens_read_listed(const struct tokens_job *job, const char *path, int64_t **ids, size_t *n,
                       size_t *n_ids) {
  int code = cli_read_verified(path, ids, n);
  if (code == NK_OK) code = nk_model_count_rows(job->run->operands[0], n_ids);
  if (code != NK_OK) return code;
  if (*n_ids < nk_tokenizer_n_tokens(job->tokenizer))
    *n_ids = nk_tokenizer_n_tokens(job->tokenizer);
  if (*n == 0) nk_warn("%s: no tokens are listed", path);
  for (size_t i = 0; i < *n; i++)
    if ((*ids)[i] < 0 || (uint64_t)(*ids)[i] >= *n_ids)
      return nk_fail(NK_EDATA, "%s: no token has the id %lld: %s has %zu ids", path,
                     (long long)(*ids)[i], job->run->operands[0], *n_ids);
  return NK_OK;
}
