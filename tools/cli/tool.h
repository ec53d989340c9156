/* What every tool's main shares: reading the command line, help and version, warnings and progress
 * on standard error, the exit status. This is the only place that prints messages. */
#ifndef CLI_TOOL_H
#define CLI_TOOL_H

#include <noken/noken.h>

#include "cli/behaviour_table.h"
#include "cli/lists.h"
#include "cli/options.h"
#include "cli/sets.h"
#include "cli/table.h"

struct cli_run {
  const struct cli_tool *tool;
  struct cli_common common;
  int argc; /* as main got them: for the history */
  char **argv;
  char **operands;
  size_t n_operands;
};

/* Reads the command line, sets threads, warnings and progress. Prints help or version and exits 0
 * when asked to, or a usage fault and exits 2. `max_operands` bounds what is no option. */
void cli_begin(struct cli_run *run, const struct cli_tool *tool, int argc, char **argv,
               size_t min_operands, size_t max_operands);

/* The i-th operand, or "-" (standard input) when there are fewer. */
const char *cli_operand(const struct cli_run *run, size_t i);

/* Opens the output of -o. NULL on failure. */
struct nk_output *cli_output(const struct cli_run *run, int kind);
/* A table over output in the format asked for. */
struct cli_table *cli_new_table(const struct cli_run *run, struct nk_output *output);

/* Ends a table and its output, either of which may be NULL after a failure: finished and committed
 * when code is 0, left behind otherwise. Frees both and returns the code that is then due. */
int cli_close(struct cli_table *table, struct nk_output *output, int code);

/* Appends " (HINT)" to this thread's message where code is `when`, and returns code. The library's
 * messages state what is wrong; which option of a tool avoids it is stated by the tool:
 *   code = cli_hint(nk_region_score(...), NK_EUSAGE, "fit the region with --tokens all"); */
int cli_hint(int code, int when, const char *format, ...) NK_PRINTF(3, 4);

/* Turns a code of the library into the exit status, printing nk_error() as "nk-stats: message" for
 * a failure: 0 for NK_OK, 2 for NK_EUSAGE, 1 for the rest; NK_EPIPE is quiet (141 as if by the
 * signal). */
int cli_end(const struct cli_run *run, int code);

#endif
