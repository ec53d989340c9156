/* Calls of jansson with noken's errors. */
#include "base/json.h"

#include <ctype.h>
#include <noken/base.h>
#include <stdbool.h>
#include <string.h>

/* ---- What Python writes beyond JSON ---- */

/* Whole numbers of so many digits fit in 64 bits. */
enum { MAX_DIGITS = 18 };

static const char byte_order_mark[] = "\xEF\xBB\xBF";

size_t nki_json_mark(const char *text, size_t n) {
  size_t length = strlen(byte_order_mark);
  return n >= length && memcmp(text, byte_order_mark, length) == 0 ? length : 0;
}

/* Length of the word that stands at s[0..n) for a number that is not finite; 0: none. */
static size_t word_length(const char *s, size_t n) {
  static const char *const words[] = {"NaN", "Infinity", "-Infinity"};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
    size_t length = strlen(words[i]);
    if (length <= n && memcmp(s, words[i], length) == 0) return length;
  }
  return 0;
}

/* Length of the number that begins at s[0..n); 0: none. *digits is how many it has when it is a
 * whole number, else 0. */
static size_t number_length(const char *s, size_t n, size_t *digits) {
  size_t length = 0;
  bool whole = true;
  *digits = 0;
  if (s[0] != '-' && (s[0] < '0' || s[0] > '9')) return 0;
  for (; length < n && s[length] != 0 && strchr("+-.eE0123456789", s[length]) != NULL; length++) {
    whole = whole && strchr("+.eE", s[length]) == NULL;
    *digits += s[length] >= '0' && s[length] <= '9';
  }
  if (!whole) *digits = 0;
  return length;
}

/* Appends a value that is no string as jansson reads it; returns its length, 0 where nothing was
 * appended because it is read as it stands. */
static size_t append_value(struct nk_buffer *out, const char *s, size_t n) {
  size_t digits, length = word_length(s, n);
  if (length > 0) {
    nk_buffer_quote(out, s, length);
    return length;
  }
  length = number_length(s, n, &digits);
  if (digits <= MAX_DIGITS) return 0;
  nk_buffer_append(out, s, length);
  nk_buffer_text(out, ".0");
  return length;
}

/* Appends the text with what Python's json writes and jansson does not read: NaN, Infinity and
 * -Infinity become strings of these words, whole numbers beyond 64 bits (model_max_length is 10^30
 * where it is not known) real ones, and a byte order mark is left out. */
static void append_plain(struct nk_buffer *out, const char *text, size_t n) {
  size_t begin = nki_json_mark(text, n);
  bool in_string = false, in_value = false;
  for (size_t i = begin; i < n; i++) {
    char c = text[i];
    size_t length = 0;
    bool was_in_value = in_value;
    in_value = !in_string && (c == '-' || c == '+' || c == '.' || isalnum((unsigned char)c));
    if (in_string && c == '\\' && i + 1 < n) {
      i++;
      continue;
    }
    if (c == '"') in_string = !in_string;
    if (!in_value || was_in_value) continue;
    nk_buffer_append(out, text + begin, i - begin);
    length = append_value(out, text + i, n - i);
    begin = i + length;
    if (length > 0) i = begin - 1;
  }
  nk_buffer_append(out, text + begin, n - begin);
}

/* ---- Parsing ---- */

json_t *nki_json_parse(const char *name, const void *bytes, size_t n, size_t flags) {
  json_error_t error;
  struct nk_buffer plain = {0};
  json_t *json = NULL;
  append_plain(&plain, bytes, n);
  if (plain.failed) {
    nk_fail(NK_EMEMORY, "%s: out of memory", name);
    goto done;
  }
  json = json_loadb(plain.data, plain.size, flags, &error);
  if (json == NULL)
    nk_fail(NK_EDATA, "%s: line %d, column %d: %s", name, error.line, error.column, error.text);
done:
  nk_buffer_free(&plain);
  return json;
}

json_t *nki_json_load(const char *path, size_t flags) {
  struct nk_file *file = nk_file_open(path);
  if (file == NULL) return NULL;
  json_t *json = nki_json_parse(path, file->data, file->size, flags);
  nk_file_free(file);
  return json;
}
