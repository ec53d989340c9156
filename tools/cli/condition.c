/* Conditions on rows: the comparison is that of the cell's text or number with the value. */
#include "cli/condition.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/frame.h"

static bool is_number(const char *cell, double *value) {
  char *end;
  *value = strtod(cell, &end);
  return end != cell && *end == 0;
}

bool cli_condition_is(const char *text) {
  return text[strcspn(text, "=!<>")] != 0;
}

int cli_condition_parse(struct cli_condition *condition, const char *text) {
  *condition = (struct cli_condition){.value = ""};
  size_t name_length = strcspn(text, "=!<>");
  const char *s = text + name_length;
  if (*s != 0) { /* the operator: the first of "=!<>", and an '=' after it */
    char *comparison = condition->comparison;
    comparison[0] = *s++;
    if (*s == '=') comparison[1] = *s++;
    if (strcmp(comparison, "!") == 0)
      return nk_fail(NK_EUSAGE, "'%s': the operators are = == != < <= > >=", text);
    condition->value = s;
    condition->numeric = is_number(s, &condition->number);
    if (!condition->numeric && (comparison[0] == '<' || comparison[0] == '>'))
      return nk_fail(NK_EUSAGE, "'%s': '%s' is not a number", text, s);
  }
  condition->column = nk_strndup(text, name_length);
  return condition->column != NULL ? NK_OK : NK_EMEMORY;
}

void cli_condition_free(struct cli_condition *condition) {
  nk_free(condition->column);
  *condition = (struct cli_condition){0};
}

/* Is the cell true: a number that is not 0, or a word that does not mean no? */
static bool is_true(const char *cell) {
  double value;
  if (cli_frame_is_missing(cell)) return false;
  if (is_number(cell, &value)) return value != 0 && !isnan(value);
  return strcasecmp(cell, "no") != 0 && strcasecmp(cell, "false") != 0;
}

bool cli_condition_holds(const struct cli_condition *condition, const char *cell) {
  const char *o = condition->comparison;
  double value;
  if (*o == 0) return is_true(cell);
  bool numeric = is_number(cell, &value);
  bool equal = condition->numeric ? numeric && value == condition->number
                                  : strcmp(cell, condition->value) == 0;
  if (*o == '=') return equal;
  if (*o == '!') return !equal;
  if (!numeric) return false;
  bool beyond = *o == '<' ? value < condition->number : value > condition->number;
  return beyond || (o[1] == '=' && equal);
}

bool cli_condition_lacks(const struct cli_condition *condition, const char *cell) {
  double value;
  if (!condition->numeric) return false;
  return cli_frame_is_missing(cell) || (is_number(cell, &value) && isnan(value));
}
