/* What every tool's main shares: reading the command line, help and version, warnings and progress
 * on standard error, the exit status. This is the only place that prints messages. */
#ifndef NOKEN_TOOL_H
#define NOKEN_TOOL_H

#include <noken/noken.h>

struct nk_run {
  const struct nk_tool *tool;
  struct nk_common common;
  int argc; /* as main got them: for the history */
  char **argv;
  char **operands;
  size_t n_operands;
};

/* Reads the command line, sets threads, warnings and progress. Prints help or version and exits 0
 * when asked to, or a usage fault and exits 2. `max_operands` bounds what is no option. */
void tool_begin(struct nk_run *run, const struct nk_tool *tool, int argc, char **argv,
                size_t min_operands, size_t max_operands);

/* The i-th operand, or "-" (standard input) when there are fewer. */
const char *tool_operand(const struct nk_run *run, size_t i);

/* Opens the output of -o. NULL on failure. */
struct nk_output *tool_output(const struct nk_run *run, int kind);
/* A table over output in the format asked for. */
struct nk_table *tool_table(const struct nk_run *run, struct nk_output *output);

/* Ends a table and its output, either of which may be NULL after a failure: finished and committed
 * when code is 0, left behind otherwise. Frees both and returns the code that is then due. */
int tool_close(struct nk_table *table, struct nk_output *output, int code);

/* Turns a code of the library into the exit status, printing nk_error() as "nk-stats: message" for
 * a failure: 0 for NK_OK, 2 for NK_EUSAGE, 1 for the rest; NK_EPIPE is quiet (141 as if by the
 * signal). */
int tool_end(const struct nk_run *run, int code);

#endif
