/* Columns of tables with a row for a token: what becomes of its text. */
#ifndef CLI_TOKEN_TEXTS_H
#define CLI_TOKEN_TEXTS_H

#include <noken/tokenizer.h>

#include "cli/table.h"

/* Start from {0}, end with cli_token_texts_free. */
struct cli_token_texts {
  const struct nk_tokenizer *tokenizer; /* the caller's */
  size_t n;
  size_t *in_others; /* [n] as nk_tokenizer_containing gives them */
  int64_t *first;    /* [n] */
};

/* Searches the vocabulary for the ids 0 to n - 1. NK_OK or a negative code. */
int cli_token_texts_read(struct cli_token_texts *texts, const struct nk_tokenizer *tokenizer,
                         size_t n);
void cli_token_texts_free(struct cli_token_texts *texts);

/* The names of the columns: `reencoded`, the ids of the token's text in the middle of a text,
 * separated by spaces, missing where its bytes are not valid UTF-8; `in_other_tokens`, the number
 * of longer tokens that contain it; `other_token`, the text of the first of these. */
enum { CLI_TOKEN_TEXTS_COLUMNS = 3 };
extern const char *const cli_token_texts_columns[CLI_TOKEN_TEXTS_COLUMNS];
/* Writes the cells of a row, missing for an id without a token. NK_OK or a negative code. */
int cli_token_texts_write(const struct cli_token_texts *texts, size_t id, struct cli_table *table);

#endif
