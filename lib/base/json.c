/* Calls of jansson with noken's errors. */
#include "base/json.h"

#include <noken/base.h>
#include <string.h>

/* ---- What Python writes beyond JSON ---- */

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

/* Appends the text with what Python's json writes and JSON does not have: NaN, Infinity and -Infinity
 * become strings of these words, and a byte order mark is left out. */
static void append_plain(struct nk_buffer *out, const char *text, size_t n) {
  size_t copied = nki_json_mark(text, n), length;
  bool in_string = false;
  for (size_t i = copied; i < n; i++) {
    if (text[i] == '\\' && in_string) {
      i++;
      continue;
    }
    if (text[i] == '"') in_string = !in_string;
    if (in_string || (length = word_length(text + i, n - i)) == 0) continue;
    nk_buffer_append(out, text + copied, i - copied);
    nk_buffer_quote(out, text + i, length);
    copied = i + length;
    i = copied - 1;
  }
  nk_buffer_append(out, text + copied, n - copied);
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
