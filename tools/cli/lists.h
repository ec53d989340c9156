/* What options name: lists on the command line and tables of prompts, tokens and patterns. */
#ifndef CLI_LISTS_H
#define CLI_LISTS_H

#include <noken/probe.h>

#include "cli/frame.h"

/* Token ids from a list ("3,10-20", or NULL) and from the column `id` of a table (or NULL), each
 * checked against n_vocabulary: *ids [*n], free with nk_free. */
int cli_read_tokens(const char *list, const char *table, size_t n_vocabulary, int64_t **ids,
                    size_t *n);

/* "1,3-5" as layers from `least` to the model's last: *layers [*n], free with nk_free. */
int cli_parse_layers(const struct nk_forward *forward, const char *what, const char *text,
                     size_t least, size_t **layers, size_t *n);

/* Adds to ids [*n] (from nk_alloc, or NULL) those of a table: all of them, or those verified where
 * it has a column `verdict`. */
int cli_read_verified(const char *path, int64_t **ids, size_t *n);

/* Adds those of a table with the columns `prompt` (name), `text` and, where there are any,
 * `repetition` (1 or 0; missing: 0). In the text \n, \t and \\ stand as everywhere in tables. */
int cli_read_prompts(struct nk_prompts *prompts, const struct nk_tokenizer *tokenizer,
                     const char *path, bool need_slot);

/* Flags from a table with the columns `name` and `pattern`. NULL on failure: the pattern that is
 * wrong, where and why. */
struct nk_flags *cli_read_flags(const char *path);

#endif
