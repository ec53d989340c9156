/* The map's bytes, all numbers little-endian:
 *
 *   u32 size of the trie in bytes | trie: u32 units | strings, each ended by a 0
 *
 * The trie is a double array (Yata's Darts-clone): from the root, a byte c leads from the node at
 * `place` to the unit at place ^ offset ^ c, whose label must be c.
 *
 *   bits of a unit: 31 leaf | 10..30 offset | 9 offset is shifted by 8 | 8 has a leaf | 0..7 label
 *   of a leaf:      0..30 value: where the string that replaces begins */
#include "text/charsmap.h"

#include <string.h>
#include <utf8proc.h>

#include "base/utf8.h"

struct nki_charsmap {
  const unsigned char *unit; /* [n_units] of four bytes */
  size_t n_units;
  const char *strings; /* [n_strings] bytes */
  size_t n_strings;
  char *bytes; /* all of it */
};

static uint32_t little(const unsigned char *at) {
  return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* ---- Reading ---- */

/* A map that owns bytes [n], from nk_alloc; bytes are freed on failure. */
static struct nki_charsmap *take(const char *name, char *bytes, size_t n) {
  const unsigned char *raw = (const unsigned char *)bytes;
  size_t size = n >= 4 ? little(raw) : SIZE_MAX;
  struct nki_charsmap *map = NULL;
  if (size > n - 4 || size % 4 != 0 || size == 0)
    nk_fail(NK_EDATA, "%s: a precompiled character map is cut off", name);
  else
    map = nk_calloc(1, sizeof *map);
  if (map == NULL) {
    nk_free(bytes);
    return NULL;
  }
  map->bytes = bytes;
  map->unit = raw + 4;
  map->n_units = size / 4;
  map->strings = bytes + 4 + size;
  map->n_strings = n - 4 - size;
  return map;
}

struct nki_charsmap *nki_charsmap_new(const char *name, const char *bytes, size_t n) {
  char *copy = nk_alloc(n, 1);
  if (copy == NULL) return NULL;
  memcpy(copy, bytes, n);
  return take(name, copy, n);
}

static int base64_digit(char c) {
  return c >= 'A' && c <= 'Z'   ? c - 'A'
         : c >= 'a' && c <= 'z' ? c - 'a' + 26
         : c >= '0' && c <= '9' ? c - '0' + 52
         : c == '+'             ? 62
         : c == '/'             ? 63
                                : -1;
}

struct nki_charsmap *nki_charsmap_of_base64(const char *name, const char *text, size_t n) {
  char *bytes = nk_alloc(n / 4 * 3 + 3, 1);
  if (bytes == NULL) return NULL;
  size_t n_bytes = 0;
  uint32_t bits = 0;
  int n_bits = 0;
  while (n > 0 && text[n - 1] == '=') n--;
  for (size_t i = 0; i < n; i++) {
    int digit = base64_digit(text[i]);
    if (digit < 0) {
      nk_fail(NK_EDATA, "%s: a precompiled character map is not base64", name);
      nk_free(bytes);
      return NULL;
    }
    bits = bits << 6 | (uint32_t)digit;
    n_bits += 6;
    if (n_bits < 8) continue;
    n_bits -= 8;
    bytes[n_bytes++] = (char)(bits >> n_bits & 0xFF);
  }
  return take(name, bytes, n_bytes);
}

void nki_charsmap_free(struct nki_charsmap *map) {
  if (map == NULL) return;
  nk_free(map->bytes);
  nk_free(map);
}

/* ---- Searching ---- */

static size_t offset_of(uint32_t unit) {
  return (size_t)(unit >> 10) << ((unit & 0x200) >> 6);
}

/* The longest (or shortest) string of the map that begins s[0..n): its length, 0 when there is
 * none; *value is where what replaces it begins. */
static size_t find(const struct nki_charsmap *map, const char *s, size_t n, bool longest,
                   size_t *value) {
  size_t place = offset_of(little(map->unit)), found = 0;
  for (size_t i = 0; i < n && s[i] != 0; i++) {
    unsigned char c = (unsigned char)s[i];
    place ^= c;
    if (place >= map->n_units) break;
    uint32_t unit = little(map->unit + 4 * place);
    if ((unit & 0x800000FFu) != c) break;
    place ^= offset_of(unit);
    if ((unit >> 8 & 1) == 0) continue;
    if (place >= map->n_units) break;
    *value = little(map->unit + 4 * place) & 0x7FFFFFFF;
    found = i + 1;
    if (!longest) break;
  }
  return found;
}

static void append_value(const struct nki_charsmap *map, size_t value, struct nk_buffer *out) {
  if (value >= map->n_strings) return;
  const char *s = map->strings + value;
  size_t n = strnlen(s, map->n_strings - value);
  if (nki_utf8_first_invalid(s, n) == n) nk_buffer_append(out, s, n);
}

void nki_charsmap_longest(const struct nki_charsmap *map, const char *s, size_t n,
                          struct nk_buffer *out) {
  for (size_t at = 0, length, value; at < n; at += length) {
    length = find(map, s + at, n - at, true, &value);
    /* a map whose strings end within a character is not one of SentencePiece's */
    if (length != 0 && (at + length == n || ((unsigned char)s[at + length] & 0xC0) != 0x80)) {
      append_value(map, value, out);
    } else {
      length = nki_utf8_width(s[at]);
      nk_buffer_append(out, s + at, length);
    }
  }
}

static void replace_cluster(const struct nki_charsmap *map, const char *s, size_t n,
                            struct nk_buffer *out) {
  size_t value;
  if (n < 6 && find(map, s, n, false, &value) != 0) {
    append_value(map, value, out);
    return;
  }
  for (size_t at = 0, width; at < n; at += width) {
    width = nki_utf8_width(s[at]);
    if (find(map, s + at, width, false, &value) != 0)
      append_value(map, value, out);
    else
      nk_buffer_append(out, s + at, width);
  }
}

void nki_charsmap_graphemes(const struct nki_charsmap *map, const char *s, size_t n,
                            struct nk_buffer *out) {
  size_t begin = 0, at = 0, width;
  utf8proc_int32_t state = 0, last = 0;
  while (at < n) {
    utf8proc_int32_t code = (utf8proc_int32_t)nki_utf8_decode(s + at, &width);
    if (at > begin && utf8proc_grapheme_break_stateful(last, code, &state)) {
      replace_cluster(map, s + begin, at - begin, out);
      begin = at;
    }
    last = code;
    at += width;
  }
  if (at > begin) replace_cluster(map, s + begin, at - begin, out);
}
