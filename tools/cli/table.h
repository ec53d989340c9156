/* Tables, written: TSV with one header line, or JSON Lines. cli/frame.h reads them.
 *
 *            TSV                                   JSON Lines
 *   number   as printf's %.9g                      the same
 *   missing  an empty cell                         the key is left out
 *   NaN      a missing value
 *   infinite inf, -inf                             strings of those
 *   text     escaped by cli_escape_cell            the same text, as a JSON string
 *
 * A text is the same in both, so that bytes that are not valid UTF-8 survive in either. */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include <noken/base.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum cli_table_format { CLI_TABLE_TSV, CLI_TABLE_JSON };

struct cli_table;

/* Appends a text as a table has it: escaped by nk_escape, and so that the default readers of other
 * programs (pandas, polars, R, csvkit, DuckDB, Miller) read each row and each text whole. A
 * quotation mark is \x22, a backslash \x5C; the first character of a text that they take for a
 * missing value ("null", "NA", ".", blanks) is \xNN. nk_unescape is the inverse. */
void cli_escape_cell(struct nk_buffer *out, const char *bytes, size_t n);

/* A table over output, which stays the caller's. All columns are named first; then each row's cells
 * are given in the same order. NULL on failure, also where output is NULL (its error stays). */
struct cli_table *cli_table_new(struct nk_output *output, enum cli_table_format format);

/* Leaves out the header: another table, which this one continues, has it. */
void cli_table_omit_header(struct cli_table *table);

/* Adds a column. NK_EDATA where there is one of that name. */
int cli_table_column(struct cli_table *table, const char *name);
bool cli_table_has_column(const struct cli_table *table, const char *name);

/* One cell each. Failures are reported by cli_table_end_row. */
void cli_table_text(struct cli_table *table, const char *bytes, size_t n);
void cli_table_string(struct cli_table *table, const char *string);
/* A text that is escaped already: the cell of another table. */
void cli_table_cell(struct cli_table *table, const char *cell);
/* The cell of another table with the same characters; those that are not printable, and quotation
 * marks, are escaped. In JSON Lines it is a string, or, in a column of numbers
 * (cli_frame_number_columns), a number with the same digits; missing where it is empty, or a word
 * for a missing number. */
void cli_table_copy(struct cli_table *table, const char *cell, bool number);
void cli_table_integer(struct cli_table *table, int64_t value);
/* A NaN is a missing value: a measure that is not defined for this row. */
void cli_table_number(struct cli_table *table, double value);
void cli_table_missing(struct cli_table *table);
/* In place of a cell for which memory was short: the row's end fails. */
void cli_table_fail(struct cli_table *table);

/* Ends the row and writes it; the header line of a TSV is written before the first row. Returns
 * NK_OK or a negative code; NK_EUSAGE where the row has more or fewer cells than there are columns.
 */
int cli_table_end_row(struct cli_table *table);

/* Writes the header line of a table without rows, and frees the table. Does not commit the output.
 */
int cli_table_finish(struct cli_table *table);
/* Frees the table without writing anything. */
void cli_table_free(struct cli_table *table);

#endif
