/* UTF-8, read and written a code point at a time. */
#ifndef NOKEN_BASE_UTF8_H
#define NOKEN_BASE_UTF8_H

#include <noken/base.h>
#include <stddef.h>
#include <stdint.h>

/* Number of bytes of the sequence that begins with this byte, for text known to be valid. */
static inline size_t nki_utf8_width(char first) {
  unsigned char c = (unsigned char)first;
  return c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
}

/* The code point at s, for text known to be valid; *width is its number of bytes. */
static inline uint32_t nki_utf8_decode(const char *s, size_t *width) {
  const unsigned char *u = (const unsigned char *)s;
  *width = nki_utf8_width(*s);
  switch (*width) {
    case 1:
      return u[0];
    case 2:
      return (uint32_t)((u[0] & 0x1F) << 6 | (u[1] & 0x3F));
    case 3:
      return (uint32_t)((u[0] & 0x0F) << 12 | (u[1] & 0x3F) << 6 | (u[2] & 0x3F));
    default:
      return (uint32_t)((u[0] & 0x07) << 18 | (u[1] & 0x3F) << 12 | (u[2] & 0x3F) << 6 |
                        (u[3] & 0x3F));
  }
}

/* Start of the sequence that ends before s[end], for valid text with end > 0. */
static inline size_t nki_utf8_before(const char *s, size_t end) {
  do end--;
  while (((unsigned char)s[end] & 0xC0) == 0x80);
  return end;
}

/* Writes a code point (at most U+10FFFF) to out[4] and returns its number of bytes. */
static inline size_t nki_utf8_encode(uint32_t code, char *out) {
  if (code < 0x80) {
    out[0] = (char)code;
    return 1;
  }
  if (code < 0x800) {
    out[0] = (char)(0xC0 | code >> 6);
    out[1] = (char)(0x80 | (code & 0x3F));
    return 2;
  }
  if (code < 0x10000) {
    out[0] = (char)(0xE0 | code >> 12);
    out[1] = (char)(0x80 | (code >> 6 & 0x3F));
    out[2] = (char)(0x80 | (code & 0x3F));
    return 3;
  }
  out[0] = (char)(0xF0 | code >> 18);
  out[1] = (char)(0x80 | (code >> 12 & 0x3F));
  out[2] = (char)(0x80 | (code >> 6 & 0x3F));
  out[3] = (char)(0x80 | (code & 0x3F));
  return 4;
}

/* Whether the valid sequence bytes[0..length) is a control character. C1 controls (U+0080 to
 * U+009F) are valid UTF-8 that terminals execute: they are escaped as C0 is. */
static inline bool nki_is_control(const char *bytes, size_t length) {
  const unsigned char *s = (const unsigned char *)bytes;
  if (length == 1) return s[0] < 0x20 || s[0] == 0x7F;
  return length == 2 && s[0] == 0xC2 && s[1] < 0xA0;
}

/* Index of the first byte of s[0..n) that does not belong to valid UTF-8; n when all do. */
size_t nki_utf8_first_invalid(const char *s, size_t n);

#endif
