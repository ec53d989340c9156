/* What options name: lists on the command line and tables of prompts, tokens and patterns. */
#ifndef CLI_LISTS_H
#define CLI_LISTS_H

#include <noken/probe.h>
#include <noken/sample.h>

#include "cli/frame.h"
#include "cli/names.h"
#include "cli/options.h"

/* Token ids from a list ("3,10-20", or NULL) and from the column `id` of a table (or NULL), each
 * checked against n_vocabulary: *ids [*n], free with nk_free. */
int cli_read_tokens(const char *list, const char *table, size_t n_vocabulary, int64_t **ids,
                    size_t *n);

/* row_of [n] = the row of the frame whose column `id` holds each of ids [n] (NULL: 0 to n - 1), -1
 * where there is none. Returns NK_OK or a negative code. */
int cli_match_ids(const struct cli_frame *frame, const int64_t *ids, size_t n, int64_t *row_of);

/* "1,3-5" as different layers from `least` to `most`: *layers [*n], free with nk_free. `what` is
 * the option's name, for the message. */
int cli_parse_layers(const char *what, const char *text, size_t least, size_t most, size_t **layers,
                     size_t *n);

/* *directions [*n] (free with nk_free) = those that lists name: each of them one, or several with
 * commas. */
int cli_read_directions(const struct cli_strings *lists, struct nk_direction **directions,
                        size_t *n);

/* Adds to ids [*n] (from nk_alloc, or NULL) those of a table: all of them, or those verified where
 * it has a column `verdict`; each once. */
int cli_read_verified(const char *path, int64_t **ids, size_t *n);

struct cli_prompt {
  char *name;
  char *text;
  char *place;     /* where it was given, for messages */
  char *special;   /* special tokens that its text writes, separated by spaces; or NULL */
  bool repetition; /* it asks to repeat what is in its slot */
};

/* Start from `struct cli_prompts p = {0};`, end with cli_prompts_free. */
struct cli_prompts {
  struct cli_prompt *item;
  size_t n;
  struct cli_names names;
};

/* Adds a prompt; name and place NULL: its number, from 1, and the option --prompt. NK_EDATA where
 * there is one of that name. */
int cli_prompts_add(struct cli_prompts *prompts, const char *name, const char *text,
                    bool repetition, const char *place);
/* Adds the prompts of a table with the columns `prompt` (name), `text` and optionally `repetition`
 * (1 or 0; missing: 0) and `special`. The text is escaped as in all tables. */
int cli_read_prompts(struct cli_prompts *prompts, const char *path);
/* Adds texts, then the prompts of tables: what -p and --prompts gave. NK_EDATA where
 * tables are given and there are no prompts. */
int cli_read_all_prompts(struct cli_prompts *prompts, const struct cli_strings *texts,
                         const struct cli_strings *tables);
void cli_prompts_free(struct cli_prompts *prompts);

/* Flags from a table with the columns `name` and `pattern`. NULL on failure. */
struct nk_flags *cli_read_flags(const char *path);

#endif
