/* Growing text, and the escaping that keeps a token on one line. */
#include <noken/base.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

/* Makes room for n more bytes and a closing 0. */
static bool reserve(struct nk_buffer *buffer, size_t n) {
  if (buffer->failed) return false;
  if (n < SIZE_MAX - buffer->size && buffer->size + n < buffer->capacity) return true;
  size_t capacity = buffer->capacity != 0 ? buffer->capacity : 256;
  while (capacity <= buffer->size + n && capacity <= SIZE_MAX / 4) capacity *= 2;
  char *grown =
      capacity > buffer->size + n ? nk_realloc(buffer->data, buffer->size, capacity, 1) : NULL;
  if (grown == NULL) {
    buffer->failed = true;
    return false;
  }
  buffer->data = grown;
  buffer->capacity = capacity;
  return true;
}

void nk_buffer_append(struct nk_buffer *buffer, const void *bytes, size_t n) {
  if (!reserve(buffer, n)) return;
  if (n != 0) memcpy(buffer->data + buffer->size, bytes, n);
  buffer->size += n;
  buffer->data[buffer->size] = 0;
}

void nk_buffer_printf(struct nk_buffer *buffer, const char *format, ...) {
  va_list args;
  va_start(args, format);
  int n = vsnprintf(NULL, 0, format, args);
  va_end(args);
  if (n < 0 || !reserve(buffer, (size_t)n)) {
    buffer->failed = true;
    return;
  }
  va_start(args, format);
  vsnprintf(buffer->data + buffer->size, (size_t)n + 1, format, args);
  va_end(args);
  buffer->size += (size_t)n;
}

void nk_buffer_free(struct nk_buffer *buffer) {
  nk_free(buffer->data);
  *buffer = (struct nk_buffer){0};
}

/* ---- Escaping ---- */

/* The letter that follows the backslash in a byte's short escape, 0 for none. */
static char short_escape(char byte) {
  return byte == '\t' ? 't' : byte == '\n' ? 'n' : byte == '\r' ? 'r' : byte == '\\' ? '\\' : 0;
}

void nk_escape(struct nk_buffer *out, const char *bytes, size_t n) {
  for (size_t i = 0; i < n;) {
    size_t length = nk_utf8_length(bytes + i, n - i);
    if (short_escape(bytes[i]) != 0) {
      nk_buffer_byte(out, '\\');
      nk_buffer_byte(out, short_escape(bytes[i]));
    } else if (length == 0 || nki_is_control(bytes + i, length)) {
      length = length != 0 ? length : 1;
      for (size_t k = 0; k < length; k++)
        nk_buffer_printf(out, "\\x%02X", (unsigned char)bytes[i + k]);
    } else {
      nk_buffer_append(out, bytes + i, length);
    }
    i += length;
  }
}

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

void nk_unescape(struct nk_buffer *out, const char *text, size_t n) {
  for (size_t i = 0; i < n; i++) {
    if (text[i] != '\\' || i + 1 == n) {
      nk_buffer_byte(out, text[i]);
      continue;
    }
    char c = text[++i];
    if (c == 't') {
      nk_buffer_byte(out, '\t');
    } else if (c == 'n') {
      nk_buffer_byte(out, '\n');
    } else if (c == 'r') {
      nk_buffer_byte(out, '\r');
    } else if (c == '\\') {
      nk_buffer_byte(out, '\\');
    } else if (c == 'x' && i + 2 < n && hex_digit(text[i + 1]) >= 0 &&
               hex_digit(text[i + 2]) >= 0) {
      nk_buffer_byte(out, hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
      i += 2;
    } else {
      nk_buffer_byte(out, '\\');
      nk_buffer_byte(out, c);
    }
  }
}

void nk_buffer_quote(struct nk_buffer *out, const char *bytes, size_t n) {
  nk_buffer_byte(out, '"');
  for (size_t i = 0; i < n; i++) {
    unsigned char c = (unsigned char)bytes[i];
    if (c == '"' || c == '\\') {
      nk_buffer_byte(out, '\\');
      nk_buffer_byte(out, c);
    } else if (c < 0x20 || c == 0x7F) {
      nk_buffer_printf(out, "\\u%04x", c);
    } else {
      nk_buffer_byte(out, c);
    }
  }
  nk_buffer_byte(out, '"');
}
