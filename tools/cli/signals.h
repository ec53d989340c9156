/* What the system does to a process, turned into errors. */
#ifndef CLI_SIGNALS_H
#define CLI_SIGNALS_H

/* Opens the standard descriptors that are closed, so that no file gets their numbers; ignores
 * SIGPIPE and SIGXFSZ, so that a write returns the error; catches SIGBUS, which a mapped file
 * raises that becomes shorter while it is read: one line names the file, and the exit status is 1.
 * `tool` is the name in that line; it has to stay. */
void cli_catch_signals(const char *tool);

#endif
