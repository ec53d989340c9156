/* Conditions on the rows of a table: a column alone, or a comparison: "control", "p_value<=0.05",
 * "verdict==verified". */
#ifndef CLI_CONDITION_H
#define CLI_CONDITION_H

#include <noken/base.h>
#include <stdbool.h>

struct cli_condition {
  char *column;
  char comparison[3]; /* "=", "!", "<", ">", the latter two also with '='; "" for a column alone */
  const char *value;  /* points into the text */
  double number;
  bool numeric; /* value is a number */
};

/* Parses text, which has to live as long as the condition: COLUMN, or COLUMN and VALUE with one of
 * = == != < <= > >= between them. Free with cli_condition_free. Returns NK_OK, NK_EUSAGE (unknown
 * operator, an order of texts) or NK_EMEMORY. */
int cli_condition_parse(struct cli_condition *condition, const char *text);
void cli_condition_free(struct cli_condition *condition);

/* Whether text has an operator of a condition. */
bool cli_condition_is(const char *text);

/* Whether the cell fulfils the condition. Where VALUE is a number, numbers are compared, and a cell
 * that is not a number is neither less nor greater nor equal; otherwise texts are, as they are in
 * the table. A column alone asks for a number that is not 0, or a text that is not missing, "no"
 * or "false". */
bool cli_condition_holds(const struct cli_condition *condition, const char *cell);
/* Whether the condition compares with a number, which the cell lacks. */
bool cli_condition_lacks(const struct cli_condition *condition, const char *cell);

#endif
