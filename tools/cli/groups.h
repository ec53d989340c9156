/* Rows of a set by the values of one of its columns, such as `layer`, and a file for each value. */
#ifndef CLI_GROUPS_H
#define CLI_GROUPS_H

#include <noken/vectors.h>
#include <stddef.h>
#include <stdint.h>

struct cli_groups {
  size_t n;       /* values that occur */
  int64_t *value; /* [n] ascending */
  size_t *begin;  /* [n + 1] group g holds rows[begin[g]] to rows[begin[g + 1] - 1] */
  size_t *rows;   /* rows of the set, ascending in a group */
};

/* Groups the rows that rows [n] lists (NULL: all) by the column `name` of whole numbers; NULL: one
 * group. Free with cli_groups_free. NK_ENOTFOUND: no such column; NK_EDATA: not whole numbers. */
int cli_groups_of(const struct nk_vectors *set, const char *name, const size_t *rows, size_t n,
                  struct cli_groups *out);
void cli_groups_free(struct cli_groups *groups);

/* The whole number that a column has in a row. NK_EDATA where it is another number. */
int cli_whole_number(const struct nk_column *column, size_t row, int64_t *value);

/* A path with every {} of pattern replaced by value; free with nk_free. NULL without memory, or
 * (NK_EUSAGE, naming what) where the pattern is NULL or has no {}. */
char *cli_group_path(const char *what, const char *pattern, int64_t value);

#endif
