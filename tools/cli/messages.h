/* Messages on standard error: the form in which all of them are printed, and the hints by which a
 * tool completes the errors of the library. */
#ifndef CLI_MESSAGES_H
#define CLI_MESSAGES_H

#include <noken/base.h>

/* Appends " (HINT)" to this thread's error where code is `when`, and returns code. The library's
 * messages say what is wrong; which option of the tool helps is said by the tool:
 *   code = cli_hint(nk_vectors_check_finite(&set, false), NK_EDATA, "use --skip-bad"); */
int cli_hint(int code, int when, const char *format, ...) NK_PRINTF(3, 4);

/* Prints a line of name, kind ("warning: " or "") and message: "nk-stats: warning: row 17 is zero".
 * Every warning and error of every tool is printed here. */
void cli_print_message(const char *name, const char *kind, const char *message);

#endif
