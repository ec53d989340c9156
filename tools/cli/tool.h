/* What the main of every tool shares: the command line, help and version, warnings, progress and
 * errors on standard error, the output, the exit status. A main is
 *
 *   struct cli_run run;
 *   cli_begin(&run, &tool, argc, argv, 0, 1);     exits where there is nothing to do
 *   struct nk_vectors *set = nk_vectors_read(cli_operand(&run, 0));
 *   struct nk_output *output = cli_output(&run, NK_OUTPUT_TEXT);
 *   struct cli_table *table = cli_new_table(&run, output);
 *   int code = set != NULL && table != NULL ? write_rows(set, table) : nk_error_code();
 *   code = cli_close(table, output, code);
 *   nk_vectors_free(set);
 *   return cli_end(&run, code);
 *
 * Warnings, progress and errors are printed in tools/cli and nowhere else. */
#ifndef CLI_TOOL_H
#define CLI_TOOL_H

#include <noken/noken.h>

#include "cli/behaviour_table.h"
#include "cli/frame.h"
#include "cli/lists.h"
#include "cli/messages.h"
#include "cli/options.h"
#include "cli/sets.h"
#include "cli/table.h"

/* A run of a tool. It has to live until cli_end: the hooks of warnings and progress point to it. */
struct cli_run {
  const struct cli_tool *tool;
  struct cli_common common;
  int argc; /* as main has them, for the history */
  char **argv;
  char **operands;
  size_t n_operands;
  struct {
    const char *what; /* the current work */
    double begun;     /* seconds: when the current work began; 0 between two works */
    double written;   /* seconds: when the line was last written */
    bool shown;       /* the line is on the terminal */
  } progress;
};

/* Parses the command line, sets the number of threads, installs the hooks. Exits with status 0
 * after printing help, the version or, for --list-options alone, a list of the options, and with 2
 * after a usage error, such as a number of operands outside [min_operands, max_operands]. */
void cli_begin(struct cli_run *run, const struct cli_tool *tool, int argc, char **argv,
               size_t min_operands, size_t max_operands);

/* The i-th operand, or "-" (standard input) where there are fewer. */
const char *cli_operand(const struct cli_run *run, size_t i);
/* The same for messages: "standard input" in place of "-". */
const char *cli_operand_name(const struct cli_run *run, size_t i);

/* Opens the file of -o, or standard output. `kind` is NK_OUTPUT_TEXT or NK_OUTPUT_BINARY. NULL on
 * failure. */
struct nk_output *cli_output(const struct cli_run *run, int kind);
/* Writes text to output; to a terminal, control characters but tab and newline as \xNN: those out
 * of a file do not reach it. */
int cli_write_text(const struct cli_run *run, const struct nk_buffer *text,
                   struct nk_output *output);
/* Writes a set, this command added to its history, to the file of -o or standard output. Returns
 * NK_OK or a negative code; for a set of NULL that of the failed call that gave it. */
int cli_write_set(const struct cli_run *run, struct nk_vectors *set);
/* A table over output, in the format of --json. NULL on failure, or where output is NULL. */
struct cli_table *cli_new_table(const struct cli_run *run, struct nk_output *output);

/* Ends a table and its output, where they are not NULL, and frees both. Where code is NK_OK they
 * are finished and committed; otherwise the output is abandoned. Returns code, or that of a failure
 * on the way. */
int cli_close(struct cli_table *table, struct nk_output *output, int code);

/* Ends a run: prints nk_error() as "nk-stats: MESSAGE" after a failure, frees what cli_begin
 * allocated, and returns the exit status: 0 for NK_OK, 2 for NK_EUSAGE, else 1. A closed pipe
 * (NK_EPIPE) ends the process by SIGPIPE without a message. */
int cli_end(struct cli_run *run, int code);

/* Appends what --version prints of the tool called name. */
void cli_version(const char *name, struct nk_buffer *out);
/* Writes text to standard output. Returns NK_OK or a negative code. */
int cli_print(const struct nk_buffer *text);

#endif
