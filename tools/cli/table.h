/* Tables: what flows between tools as text. TSV with one header line, or JSON Lines. Numbers are
 * written %.9g; a missing value is empty (JSON: the key is left out); NaN and infinities are
 * `nan`, `inf`, `-inf` in TSV and strings of those in JSON. Text is escaped by nk_escape in both,
 * so that bytes which are no UTF-8 survive and a cell is the same in either. */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include <noken/base.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Writing ---- */

enum cli_table_format { CLI_TABLE_TSV, CLI_TABLE_JSON };

struct cli_table; /* a table being written */

/* A table over output, which stays the caller's. Name the columns first, then give each row's cells
 * in the same order. NULL on failure. */
struct cli_table *cli_table_new(struct nk_output *output, enum cli_table_format format);
int cli_table_column(struct cli_table *table, const char *name);
/* One cell each. Errors of writing are kept and come back from cli_table_end_row. */
void cli_table_text(struct cli_table *table, const char *bytes, size_t n);
void cli_table_string(struct cli_table *table, const char *string);
void cli_table_integer(struct cli_table *table, int64_t value);
void cli_table_number(struct cli_table *table, double value);
void cli_table_missing(struct cli_table *table);
/* A number, or a missing value where it is NaN: a measure that a row does not have. */
void cli_table_known(struct cli_table *table, double value);
/* Ends the row (in TSV the header line goes out before the first). Returns 0 or a negative code;
 * a row with more or fewer cells than columns is NK_EUSAGE. */
int cli_table_end_row(struct cli_table *table);
/* Writes the header of a table without rows, and frees it. Does not commit the output. */
int cli_table_finish(struct cli_table *table);
/* Frees it without writing. */
void cli_table_free(struct cli_table *table);

/* ---- Reading ---- */

/* A table in memory: TSV with a header line, or JSON Lines (told apart by a first byte '{'). */
struct cli_frame;

/* Reads path ("-" or NULL: standard input). NULL on failure: a row with another number of cells
 * than the header (its line is named), two columns of one name, invalid JSON. */
struct cli_frame *cli_frame_read(const char *path);
void cli_frame_free(struct cli_frame *frame);
const char *cli_frame_name(const struct cli_frame *frame); /* for messages */
size_t cli_frame_n_rows(const struct cli_frame *frame);
size_t cli_frame_n_columns(const struct cli_frame *frame);
const char *cli_frame_column_name(const struct cli_frame *frame, size_t column);
/* The number of the column called name, or NK_ENOTFOUND with a message that lists the columns. */
int64_t cli_frame_column(const struct cli_frame *frame, const char *name);
/* The cell as it stands in the TSV (escaped; for JSON Lines, made so); "" when missing. */
const char *cli_frame_cell(const struct cli_frame *frame, size_t row, size_t column);
/* The cell as a number: 0; or NK_ENOTFOUND when it is missing, NK_EDATA when it is no number, with
 * a message naming file, row, column and the cell. nan, inf and -inf are numbers. */
int cli_frame_number(const struct cli_frame *frame, size_t row, size_t column, double *out);
int cli_frame_integer(const struct cli_frame *frame, size_t row, size_t column, int64_t *out);
/* A whole column of integers, such as `id`: *out [rows], free with nk_free. */
int cli_frame_integers(const struct cli_frame *frame, const char *name, int64_t **out);

#ifdef __cplusplus
}
#endif
#endif
