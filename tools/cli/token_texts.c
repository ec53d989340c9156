/* What becomes of tokens' texts. */
#include "cli/token_texts.h"

const char *const cli_token_texts_columns[CLI_TOKEN_TEXTS_COLUMNS] = {
    "reencoded", "in_other_tokens", "other_token"};

int cli_token_texts_read(struct cli_token_texts *texts, const struct nk_tokenizer *tokenizer,
                         size_t n) {
  *texts = (struct cli_token_texts){.tokenizer = tokenizer, .n = n};
  texts->in_others = nk_alloc(n, sizeof *texts->in_others);
  texts->first = nk_alloc(n, sizeof *texts->first);
  if (texts->in_others == NULL || texts->first == NULL) return NK_EMEMORY;
  return nk_tokenizer_containing(tokenizer, n, texts->in_others, texts->first);
}

void cli_token_texts_free(struct cli_token_texts *texts) {
  nk_free(texts->in_others);
  nk_free(texts->first);
}

static void write_text(const struct cli_token_texts *texts, int64_t id, struct cli_table *table) {
  size_t n = 0;
  const char *bytes = id < 0 ? NULL : nk_tokenizer_bytes(texts->tokenizer, (size_t)id, &n);
  if (bytes != NULL)
    cli_table_text(table, bytes, n);
  else
    cli_table_missing(table);
}

static int write_reencoded(const struct cli_token_texts *texts, const char *bytes, size_t n,
                           struct cli_table *table) {
  struct nk_buffer list = {0};
  int64_t *ids = NULL;
  size_t n_ids = 0;
  int code = nk_tokenizer_encode(texts->tokenizer, bytes, n, NK_ENCODE_WITHIN, &ids, &n_ids);
  for (size_t i = 0; i < n_ids && code == NK_OK; i++) {
    if (i > 0) nk_buffer_byte(&list, ' ');
    nk_buffer_integer(&list, ids[i]);
  }
  nk_free(ids);
  if (list.failed) code = nk_fail(NK_EMEMORY, "out of memory for a list of ids");
  if (code == NK_OK)
    cli_table_text(table, list.data != NULL ? list.data : "", list.size);
  else if (code == NK_EDATA) /* not valid UTF-8 */
    cli_table_missing(table);
  nk_buffer_free(&list);
  return code == NK_EDATA ? NK_OK : code;
}

int cli_token_texts_write(const struct cli_token_texts *texts, size_t id, struct cli_table *table) {
  size_t n = 0;
  const char *bytes = nk_tokenizer_bytes(texts->tokenizer, id, &n);
  if (bytes == NULL) {
    for (size_t c = 0; c < CLI_TOKEN_TEXTS_COLUMNS; c++) cli_table_missing(table);
    return NK_OK;
  }
  int code = write_reencoded(texts, bytes, n, table);
  cli_table_integer(table, (int64_t)texts->in_others[id]);
  write_text(texts, texts->first[id], table);
  return code;
}
