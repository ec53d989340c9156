/* Vector sets as the tools give them: their columns in tables, their history. */
#ifndef CLI_SETS_H
#define CLI_SETS_H

#include <noken/vectors.h>

#include "cli/table.h"

/* Appends this command line to noken.history: file arguments by their base names, and without
 * --threads, which says nothing of what was made. */
int cli_add_history(struct nk_vectors *set, int argc, char *const *argv);

/* nk_vectors_check_finite, whose message is completed by the option --skip-bad, the one by which a
 * tool sets `skip_bad`. */
int cli_check_finite(struct nk_vectors **set, bool skip_bad);

/* The columns that every table made from a set carries. cli_set_head names `id`, and
 * `text` when the set has texts; cli_set_row writes them for a row. The _tail pair does it
 * for the set's own columns, which stand after the tool's. A set column that the tool itself gives
 * is left out: taken [n_taken] holds the tool's column names. Where the metadata noken.codes.NAME
 * hold words ("isotropic covariance"), the integer column NAME is written as the word of that
 * number, counted from 0. */
int cli_set_head(const struct nk_vectors *set, struct cli_table *table);
void cli_set_row(const struct nk_vectors *set, size_t row, struct cli_table *table);
int cli_set_head_tail(const struct nk_vectors *set, const char *const *taken, size_t n_taken,
                      struct cli_table *table);
void cli_set_row_tail(const struct nk_vectors *set, size_t row, const char *const *taken,
                      size_t n_taken, struct cli_table *table);

/* A table: id, text, the set's columns, then the values v1 .. vDIM. NK_EDATA when a column of the
 * set has the name of one of those. */
int cli_write_vectors(const struct nk_vectors *set, struct cli_table *table);

#endif
