/* Checking that a text is valid UTF-8. */
#include "base/utf8.h"

#include <noken/base.h>
#include <string.h>

size_t nki_utf8_first_invalid(const char *s, size_t n) {
  size_t i = 0;
  while (i < n) {
    uint64_t eight;
    while (i + sizeof eight <= n) { /* most text is ASCII: eight bytes at a time */
      memcpy(&eight, s + i, sizeof eight);
      if ((eight & 0x8080808080808080u) != 0) break;
      i += sizeof eight;
    }
    if (i == n) break;
    size_t length = nk_utf8_length(s + i, n - i);
    if (length == 0) return i;
    i += length;
  }
  return n;
}
