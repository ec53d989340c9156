/* The byte-level alphabet of GPT-2: the bytes that are printable in Latin-1 stand for themselves,
 *   0x21..0x7E  0xA1..0xAC  0xAE..0xFF
 * and the other 68, in ascending order, are U+0100, U+0101, ...
 *   0x00..0x20 -> U+0100..U+0120   0x7F..0xA0 -> U+0121..U+0142   0xAD -> U+0143 */
#include "text/byte_level.h"

#include "base/utf8.h"

/* The byte that a code point stands for; -1 when it is not of the alphabet. */
static int byte_of(uint32_t code) {
  if ((code >= 0x21 && code <= 0x7E) || (code >= 0xA1 && code <= 0xFF && code != 0xAD))
    return (int)code;
  if (code < 0x100 || code > 0x143) return -1;
  if (code <= 0x120) return (int)code - 0x100;
  if (code <= 0x142) return (int)code - 0x121 + 0x7F;
  return 0xAD;
}

bool nki_byte_level_decode(char *text, size_t *n) {
  size_t width, length = 0;
  for (size_t i = 0; i < *n; i += width)
    if (byte_of(nki_utf8_decode(text + i, &width)) < 0) return false;
  for (size_t i = 0; i < *n; i += width)
    text[length++] = (char)byte_of(nki_utf8_decode(text + i, &width));
  *n = length;
  return true;
}

void nki_byte_level_encode(const char *bytes, size_t n, struct nk_buffer *out) {
  for (size_t i = 0; i < n; i++) {
    unsigned char byte = (unsigned char)bytes[i];
    uint32_t code = byte <= 0x20                   ? 0x100u + byte
                    : byte >= 0x7F && byte <= 0xA0 ? 0x121u + byte - 0x7F
                    : byte == 0xAD                 ? 0x143u
                                                   : byte;
    char utf8[4];
    nk_buffer_append(out, utf8, nki_utf8_encode(code, utf8));
  }
}
