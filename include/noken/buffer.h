/* A growing array of bytes, for building text. Start from `struct nk_buffer b = {0};`, end with
 * nk_buffer_free. An append that finds no memory sets `failed` and every later one does nothing,
 * so that a run of appends needs one check at its end. data is 0-terminated once anything was
 * appended. */
#ifndef NOKEN_BUFFER_H
#define NOKEN_BUFFER_H

#include <noken/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct nk_buffer {
  char *data;
  size_t size;     /* bytes in use, without the closing 0 */
  size_t capacity; /* bytes allocated */
  bool failed;     /* memory ran out */
};

void nk_buffer_append(struct nk_buffer *buffer, const void *bytes, size_t n);
void nk_buffer_text(struct nk_buffer *buffer, const char *string);
void nk_buffer_byte(struct nk_buffer *buffer, int byte);
void nk_buffer_printf(struct nk_buffer *buffer, const char *format, ...) NK_PRINTF(2, 3);
/* Appends what printf's %.9g (%lld) gives, faster. */
void nk_buffer_number(struct nk_buffer *buffer, double value);
void nk_buffer_integer(struct nk_buffer *buffer, int64_t value);
void nk_buffer_clear(struct nk_buffer *buffer); /* size = 0, memory kept */
void nk_buffer_free(struct nk_buffer *buffer);

/* Appends n raw bytes of a token's text so that they make one printable piece of one line:
 * tab, newline, carriage return and backslash as \t \n \r \\, other control bytes and bytes that
 * are not valid UTF-8 as \xNN, the rest as it is. nk_unescape is the inverse (an unknown escape
 * stands for itself). */
void nk_escape(struct nk_buffer *out, const char *bytes, size_t n);
void nk_unescape(struct nk_buffer *out, const char *text, size_t n);

/* Length in bytes (1 to 4) of the valid UTF-8 sequence at the start of bytes[0..n), 0 if there is
 * none. Overlong forms, surrogates and code points over U+10FFFF are not valid (Unicode 15,
 * table 3-7). */
size_t nk_utf8_length(const char *bytes, size_t n);

#ifdef __cplusplus
}
#endif
#endif
