/* Behaviours as the table that nk-run prints. */
#ifndef CLI_BEHAVIOUR_TABLE_H
#define CLI_BEHAVIOUR_TABLE_H

#include <noken/probe.h>
#include <noken/vectors.h>
#include "cli/lists.h"
#include "cli/table.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The columns. Those of the items' vector set are carried. */
struct cli_behaviour_table {
  const struct nk_tokenizer *tokenizer;
  const struct nk_items *items;
  bool at;             /* a column with the layer that vectors were put in at */
  bool echo;           /* columns of the repeated token */
  const size_t *norms; /* [n_norms] layers from 1 on, a column each; none: the last one */
  size_t n_norms;
  size_t n_generate;            /* tokens that were generated; 0: no column */
  const struct nk_flags *flags; /* or NULL */
};

/* The result of one probe, of some of the items. */
struct cli_behaviour_result {
  const struct cli_prompt *prompt;
  size_t layer;
  size_t first; /* the number of the first of its items */
  const struct nk_behaviour *behaviour;
  const int64_t *ids;    /* [items, n_generate] */
  const size_t *lengths; /* [items] */
};

/* The columns; then the rows of one result after the other: items in their order, offsets within.
 * Return NK_OK or a negative code. */
int cli_behaviour_table_head(const struct cli_behaviour_table *what, struct cli_table *table);
int cli_behaviour_table_rows(const struct cli_behaviour_table *what,
                             const struct cli_behaviour_result *result, struct cli_table *table);

/* The parts that other tables of items in prompts share. */

/* An item in its place. */
struct cli_place {
  size_t item;
  const struct cli_prompt *prompt;
  size_t offset;
  size_t layer; /* that vectors were put in at */
};

/* The columns and cells id, text, prompt, offset and at. */
int cli_behaviour_head_place(const struct cli_behaviour_table *what, struct cli_table *table);
void cli_behaviour_place(const struct cli_behaviour_table *what, const struct cli_place *place,
                         struct cli_table *table);
/* Those of the items' vector set; a token has no values there. */
int cli_behaviour_head_tail(const struct cli_behaviour_table *what, struct cli_table *table);
void cli_behaviour_tail(const struct cli_behaviour_table *what, size_t item,
                        struct cli_table *table);
/* The cell of a token's text. */
void cli_behaviour_token(const struct cli_behaviour_table *what, int64_t id,
                         struct cli_table *table);

#ifdef __cplusplus
}
#endif
#endif
