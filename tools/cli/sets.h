/* What every tool does with vector sets: checks their values, keeps their history, and carries
 * their columns into tables. */
#ifndef CLI_SETS_H
#define CLI_SETS_H

#include <noken/vectors.h>

#include "cli/table.h"

/* nk_vectors_check_finite, for a tool whose option --skip-bad sets skip_bad: its message is
 * completed by a hint to that option. */
int cli_check_finite(struct nk_vectors **set, bool skip_bad);

/* ---- History (history.c) ---- */

struct cli_tool;

/* Appends the tool's command line to the metadata noken.history, a JSON array of strings, each as a
 * shell reads it. File arguments keep their base names only, and -o, --shard and --threads are
 * left out, so that the same command on the same data gives the same bytes wherever it runs. */
int cli_add_history(struct nk_vectors *set, const struct cli_tool *tool, int argc,
                    char *const *argv);

/* Appends the command lines in the history of `from` that the set's own lacks. Returns NK_OK or a
 * negative code. */
int cli_join_history(struct nk_vectors *set, const struct nk_vectors *from);

/* Appends the command line as a shell reads it, with its paths. */
void cli_quote_command(struct nk_buffer *out, int argc, char *const *argv);

/* ---- Columns (sets.c) ---- */

/* The column's value in a row; that of integers as a double. */
double cli_column_number(const struct nk_column *column, size_t row);
/* Whether two rows have the same value, or none. */
bool cli_column_same(const struct nk_column *column, size_t a, size_t b);

#define CLI_NO_ROW SIZE_MAX
/* Adds the column `name` to a set: row i has the column's value in row rows[i] of `from`, and none
 * for CLI_NO_ROW; with the words that the values stand for. Integers stay so where each row has
 * one. Returns NK_OK or a negative code. */
int cli_copy_column(const struct nk_vectors *from, const struct nk_column *column,
                    const size_t *rows, const char *name, struct nk_vectors *to);

/* ---- Tables made from a set (sets.c) ---- */

/* A table has the columns
 *   id, text (where the set has texts) | the tool's columns | the set's other columns
 * cli_set_head names the first part and cli_set_row writes its cells for a row; the _tail pair does
 * it for the last part. A column of the set that has the name of another one of the table is
 * carried as set_NAME (set_set_NAME where there is one of that name, and so on).
 * Where the metadata noken.codes.NAME are words ("isotropic covariance"), a whole number of the
 * column NAME is written as the word with that index. */
int cli_set_head(const struct nk_vectors *set, struct cli_table *table);
void cli_set_row(const struct nk_vectors *set, size_t row, struct cli_table *table);
int cli_set_head_tail(const struct nk_vectors *set, struct cli_table *table);
void cli_set_row_tail(const struct nk_vectors *set, size_t row, struct cli_table *table);
/* One of its cells. */
void cli_set_cell(const struct nk_vectors *set, const struct nk_column *column, size_t row,
                  struct cli_table *table);

/* *word [*n] = the word that the column's value in a row stands for; NULL where there is none.
 * Returns NK_OK or a negative code. */
int cli_set_word(const struct nk_vectors *set, const struct nk_column *column, size_t row,
                 const char **word, size_t *n);

/* Puts "set_" before a name with its closing 0. */
void cli_set_prefix(struct nk_buffer *name);
/* Copies the words of a column's values (noken.codes.NAME) to a column of another set. Returns
 * NK_OK or a negative code. */
int cli_copy_codes(const struct nk_vectors *from, const char *from_column, struct nk_vectors *to,
                   const char *to_column);

/* Writes the whole set as a table: id, text, the set's columns, then the values v1 to vDIM.
 * NK_EDATA where a column of the set has the name of a value. */
int cli_write_vectors(const struct nk_vectors *set, struct cli_table *table);

#endif
