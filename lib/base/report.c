/* The hooks for warnings and progress. */
#include <noken/base.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/error.h"

static struct {
  nk_warning_hook *warning;
  void *warning_user;
  nk_progress_hook *progress;
  void *progress_user;
} hooks;

void nk_on_warning(nk_warning_hook *hook, void *user) {
  hooks.warning = hook;
  hooks.warning_user = user;
}

void nk_on_progress(nk_progress_hook *hook, void *user) {
  hooks.progress = hook;
  hooks.progress_user = user;
}

void nk_warn(const char *format, ...) {
  if (hooks.warning == NULL) return;
  char text[2048], message[2048];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  nki_printable(text, message, sizeof message);
  hooks.warning(message, hooks.warning_user);
}

int nk_progress(const char *what, size_t done, size_t total) {
  if (hooks.progress == NULL || hooks.progress(what, done, total, hooks.progress_user) == 0)
    return NK_OK;
  return nk_fail(NK_EINTERRUPTED, "%s: interrupted", what);
}
