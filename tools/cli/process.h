/* Other programs, run to their end. */
#ifndef CLI_PROCESS_H
#define CLI_PROCESS_H

#include <noken/base.h>

/* Runs command, an array of arguments ended by NULL whose first is looked up in PATH (or is a
 * path), with input (NULL: none) as its standard input, and appends what it writes to output and
 * errors. Its locale is C.UTF-8 and its time zone UTC. *status is as waitpid sets it. Returns
 * NK_OK, also where the program failed; NK_ENOTFOUND where there is no such program; or another
 * code. */
int cli_process_run(const char *const *command, const struct nk_buffer *input,
                    struct nk_buffer *output, struct nk_buffer *errors, int *status);

#endif
