/* Tables, read into memory: TSV with one header line, or JSON Lines (a first byte '{'). cli/table.h
 * writes them.
 *
 * A cell is kept as the text that it has in a TSV: escaped, "" where it is missing. Of JSON
 * Lines, every key of any line is a column, in the order of first appearance; true and false are
 * 1 and 0, null is missing, arrays and objects are their JSON. Python's words NaN, Infinity and
 * -Infinity are numbers. Lines can end in CR LF, and the file can begin with a byte order mark.
 * Time and memory grow linearly with the file. */
#ifndef CLI_FRAME_H
#define CLI_FRAME_H

#include <noken/base.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cli_frame;

/* Reads path ("-" or NULL: standard input). NULL on failure, naming the line: a row with more or
 * fewer cells than the header, two columns of one name, invalid JSON. */
struct cli_frame *cli_frame_read(const char *path);
void cli_frame_free(struct cli_frame *frame);

/* The file's name, for messages. */
const char *cli_frame_name(const struct cli_frame *frame);
size_t cli_frame_n_rows(const struct cli_frame *frame);
size_t cli_frame_n_columns(const struct cli_frame *frame);
const char *cli_frame_column_name(const struct cli_frame *frame, size_t column);

/* The index of the column called name, or -1 (no error is set): for a column that is optional. */
int64_t cli_frame_find(const struct cli_frame *frame, const char *name);
/* The same for a column that is required: NK_ENOTFOUND lists the columns that there are. */
int64_t cli_frame_column(const struct cli_frame *frame, const char *name);

/* The cell's text, as it is in the TSV; "" where it is missing. */
const char *cli_frame_cell(const struct cli_frame *frame, size_t row, size_t column);
/* number [n_columns] = whether a column is of numbers: each cell that is not missing is one as JSON
 * writes it, or inf or -inf, and there is one; a column whose name ends in "text" is of texts. One
 * cell decides otherwise: 007 is a text, and so are the cells beside it. Free with nk_free; NULL:
 * no memory. */
bool *cli_frame_number_columns(const struct cli_frame *frame);
/* Whether a cell is empty or a word that other programs write for a missing number: NA, NaN, null,
 * None. */
bool cli_frame_is_missing(const char *cell);
/* The cell as a number (inf and -inf are numbers) or a whole number (300.0 is one). Returns
 * NK_OK; NK_ENOTFOUND where the number is missing; NK_EDATA where the cell is not a number. The
 * message names file, row, column and the cell. */
int cli_frame_number(const struct cli_frame *frame, size_t row, size_t column, double *out);
int cli_frame_integer(const struct cli_frame *frame, size_t row, size_t column, int64_t *out);
/* A whole column of whole numbers, such as `id`: *out [n_rows], free with nk_free. */
int cli_frame_integers(const struct cli_frame *frame, const char *name, int64_t **out);

#endif
