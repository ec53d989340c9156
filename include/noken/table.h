/* Tables: what flows between tools as text. TSV with one header line, or JSON Lines. Numbers are
 * written %.9g; a missing value is empty (JSON: the key is left out); NaN and infinities are
 * `nan`, `inf`, `-inf` in TSV and strings of those in JSON. Text is escaped by nk_escape in both,
 * so that bytes which are no UTF-8 survive and a cell is the same in either. */
#ifndef NOKEN_TABLE_H
#define NOKEN_TABLE_H

#include <noken/buffer.h>
#include <noken/file.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Writing ---- */

enum nk_table_format { NK_TABLE_TSV, NK_TABLE_JSON };

struct nk_table; /* a table being written */

/* A table over output, which stays the caller's. Name the columns first, then give each row's cells
 * in the same order. NULL on failure. */
struct nk_table *nk_table_new(struct nk_output *output, enum nk_table_format format);
int nk_table_column(struct nk_table *table, const char *name);
/* One cell each. Errors of writing are kept and come back from nk_table_end_row. */
void nk_table_text(struct nk_table *table, const char *bytes, size_t n);
void nk_table_string(struct nk_table *table, const char *string);
void nk_table_integer(struct nk_table *table, int64_t value);
void nk_table_number(struct nk_table *table, double value);
void nk_table_missing(struct nk_table *table);
/* A number, or a missing value where it is NaN: a measure that a row does not have. */
void nk_table_known(struct nk_table *table, double value);
/* Ends the row (in TSV the header line goes out before the first). Returns 0 or a negative code;
 * a row with more or fewer cells than columns is NK_EUSAGE. */
int nk_table_end_row(struct nk_table *table);
/* Writes the header of a table without rows, and frees it. Does not commit the output. */
int nk_table_finish(struct nk_table *table);
/* Frees it without writing. */
void nk_table_free(struct nk_table *table);

/* ---- Reading ---- */

/* A table in memory: TSV with a header line, or JSON Lines (told apart by a first byte '{'). */
struct nk_frame;

/* Reads path ("-" or NULL: standard input). NULL on failure: a row with another number of cells
 * than the header (its line is named), two columns of one name, invalid JSON. */
struct nk_frame *nk_frame_read(const char *path);
void nk_frame_free(struct nk_frame *frame);
const char *nk_frame_name(const struct nk_frame *frame); /* for messages */
size_t nk_frame_rows(const struct nk_frame *frame);
size_t nk_frame_columns(const struct nk_frame *frame);
const char *nk_frame_column_name(const struct nk_frame *frame, size_t column);
/* The number of the column called name, or NK_ENOTFOUND with a message that lists the columns. */
int64_t nk_frame_column(const struct nk_frame *frame, const char *name);
/* The cell as it stands in the TSV (escaped; for JSON Lines, made so); "" when missing. */
const char *nk_frame_cell(const struct nk_frame *frame, size_t row, size_t column);
/* The cell as a number: 0; or NK_ENOTFOUND when it is missing, NK_EDATA when it is no number, with
 * a message naming file, row, column and the cell. nan, inf and -inf are numbers. */
int nk_frame_number(const struct nk_frame *frame, size_t row, size_t column, double *out);
int nk_frame_integer(const struct nk_frame *frame, size_t row, size_t column, int64_t *out);
/* A whole column of integers, such as `id`: *out [rows], free with nk_free. */
int nk_frame_integers(const struct nk_frame *frame, const char *name, int64_t **out);

#ifdef __cplusplus
}
#endif
#endif
