/* The message of a thread's last failure. The buffer is fixed: reporting an error must not
 * need memory.
 */
#include "base/error.h"

#include <errno.h>
#include <noken/base.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

#include "base/utf8.h"

enum { MESSAGE_SIZE = 2048 };

static _Thread_local char message[MESSAGE_SIZE];
static _Thread_local int last_code;

/* Whether the character of `length` bytes, valid UTF-8, can be printed within a line: no control,
 * no line or paragraph separator, and no format character, such as those that turn the direction of
 * the text around. */
static bool is_printable(const char *bytes, size_t length) {
  size_t width;
  utf8proc_category_t category = utf8proc_category((int32_t)nki_utf8_decode(bytes, &width));
  return !nki_is_control(bytes, length) && category != UTF8PROC_CATEGORY_CF &&
         category != UTF8PROC_CATEGORY_ZL && category != UTF8PROC_CATEGORY_ZP;
}

void nki_printable(const char *text, char *out, size_t size) {
  size_t n = strlen(text), used = 0, length;
  for (size_t i = 0; i < n; i += length) {
    char piece[16];
    length = nk_utf8_length(text + i, n - i);
    bool is_plain = length > 0 && is_printable(text + i, length);
    if (!is_plain) length = 1;
    char c = text[i];
    char letter = c == '\t' ? 't' : c == '\n' ? 'n' : c == '\r' ? 'r' : 0;
    int width = is_plain      ? snprintf(piece, sizeof piece, "%.*s", (int)length, text + i)
                : letter != 0 ? snprintf(piece, sizeof piece, "\\%c", letter)
                              : snprintf(piece, sizeof piece, "\\x%02X", (unsigned char)c);
    if (used + (size_t)width >= size) break;
    memcpy(out + used, piece, (size_t)width);
    used += (size_t)width;
  }
  out[used] = 0;
}

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
  nki_printable(text, message, sizeof message);
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
  int code = reason == EPIPE    ? NK_EPIPE
             : reason == ENOENT ? NK_ENOTFOUND
             : reason == ENOMEM ? NK_EMEMORY
                                : NK_EIO;
  return nk_fail(code, "%s: %s", context, strerror(reason));
}

int nki_fail_null(void) {
  return last_code != NK_OK ? last_code : nk_fail(NK_EUSAGE, "an object is NULL");
}

void nki_clear_error(void) {
  message[0] = '\0';
  last_code = NK_OK;
}
