/* What the tables of a summary share. */
#include "summary/head.h"

#include <math.h>

#include "cli/sets.h"

int summary_add_name(struct cli_names *names, const char *format, const char *name) {
  struct nk_buffer text = {0};
  size_t index;
  nk_buffer_printf(&text, format, name);
  nk_buffer_byte(&text, 0);
  while (!text.failed && cli_names_find(names, text.data) >= 0) cli_set_prefix(&text);
  int code = text.failed ? NK_EMEMORY : cli_names_add(names, text.data, &index);
  nk_buffer_free(&text);
  return code;
}

int summary_write_head(struct cli_names *names, const struct summary_factors *by,
                       struct cli_table *table) {
  size_t n_own = names->n;
  int code = NK_OK;
  for (size_t f = 0; f < by->n && code == NK_OK; f++)
    code = summary_add_name(names, "%s", by->item[f].name);
  for (size_t i = n_own; i < names->n && code == NK_OK; i++)
    code = cli_table_column(table, cli_names_item(names, i));
  for (size_t i = 0; i < n_own && code == NK_OK; i++)
    code = cli_table_column(table, cli_names_item(names, i));
  return code;
}

void summary_write_interval(struct cli_table *table, const struct summary_interval *interval,
                            double level, const char *method) {
  cli_table_number(table, interval->value);
  cli_table_number(table, interval->low);
  cli_table_number(table, interval->high);
  cli_table_number(table, level);
  if (isnan(interval->low) && isnan(interval->high))
    cli_table_missing(table);
  else
    cli_table_string(table, method);
}

/* Simulated 95% intervals of means hold the truth in 93% of tables with 5 clusters, 89% with 3. */
enum { FEW = 5 };

void summary_warn_of_few(size_t fewest, const char *kind) {
  if (fewest == 0 || fewest >= FEW) return;
  if (fewest == 1)
    nk_warn("a group has rows of 1 different '%s': it has no interval", kind);
  else
    nk_warn(
        "a group has rows of %zu different '%s': intervals from fewer than %d clusters can be "
        "too short",
        fewest, kind, FEW);
}
