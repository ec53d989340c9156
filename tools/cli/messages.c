/* Messages to people. */
#include "cli/messages.h"

#include <stdarg.h>
#include <stdio.h>

int cli_hint(int code, int when, const char *format, ...) {
  if (code == NK_OK || code != when) return code;
  char hint[512];
  va_list args;
  va_start(args, format);
  vsnprintf(hint, sizeof hint, format, args);
  va_end(args);
  return nk_fail(code, "%s (%s)", nk_error(), hint);
}

void cli_print_message(const char *name, const char *kind, const char *message) {
  fprintf(stderr, "%s: %s%s\n", name, kind, message);
}
