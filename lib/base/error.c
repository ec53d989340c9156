/* The message of a thread's last failure. The buffer is fixed: reporting an error must not
 * need memory.
 */
#include "base/error.h"

#include <errno.h>
#include <noken/base.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MESSAGE_SIZE = 2048 };

static _Thread_local char message[MESSAGE_SIZE];
static _Thread_local int last_code;

const char *nk_error(void) {
  return message;
}

int nk_error_code(void) {
  return last_code;
}

int nk_fail(int code, const char *format, ...) {
  char text[MESSAGE_SIZE]; /* the arguments may point into message itself */
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  memcpy(message, text, sizeof message);
  last_code = code;
  return code;
}

int nk_fail_in(int code, const char *format, ...) {
  char context[MESSAGE_SIZE / 2];
  va_list args;
  va_start(args, format);
  vsnprintf(context, sizeof context, format, args);
  va_end(args);
  return nk_fail(code, "%s: %s", context, message);
}

int nk_fail_errno(const char *format, ...) {
  int reason = errno;
  char context[MESSAGE_SIZE / 2];
  va_list args;
  va_start(args, format);
  vsnprintf(context, sizeof context, format, args);
  va_end(args);
  int code = reason == EPIPE ? NK_EPIPE : reason == ENOENT ? NK_ENOTFOUND : NK_EIO;
  return nk_fail(code, "%s: %s", context, strerror(reason));
}

int nki_fail_null(void) {
  return last_code != NK_OK ? last_code : nk_fail(NK_EUSAGE, "an object is NULL");
}

void nki_clear_error(void) {
  message[0] = '\0';
  last_code = NK_OK;
}
