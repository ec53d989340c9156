/* WordPiece. A word is looked up at most once for each pair of its ends, and is at most a hundred
 * characters. */
#include "text/wordpiece.h"

#include <noken/base.h>
#include <string.h>

#include "base/utf8.h"

struct nki_wordpiece {
  const struct nki_pieces *pieces;
  const char *prefix; /* in the spec's JSON, or "##" */
  size_t n_prefix;
  const char *unknown_name;
  int64_t unknown; /* NKI_NO_ID: the vocabulary does not have it */
  size_t max_chars;
  size_t max_piece; /* bytes of the longest string */
};

struct nki_wordpiece *nki_wordpiece_new(const struct nki_spec *spec) {
  const json_t *model = json_object_get(spec->config, "model");
  const json_t *prefix = json_object_get(model, "continuing_subword_prefix");
  const json_t *unknown = json_object_get(model, "unk_token");
  const json_t *max = json_object_get(model, "max_input_chars_per_word");
  struct nki_wordpiece *w = nk_calloc(1, sizeof *w);
  if (w == NULL) return NULL;
  w->pieces = &spec->pieces;
  w->prefix = json_is_string(prefix) ? json_string_value(prefix) : "##";
  w->n_prefix = json_is_string(prefix) ? json_string_length(prefix) : 2;
  w->unknown_name = json_is_string(unknown) ? json_string_value(unknown) : "[UNK]";
  w->unknown = nki_spec_find(spec, w->unknown_name, strlen(w->unknown_name));
  w->max_chars =
      json_is_integer(max) && json_integer_value(max) >= 0 ? (size_t)json_integer_value(max) : 100;
  for (size_t id = 0; id < w->pieces->n; id++)
    if (w->pieces->piece[id].length > w->max_piece) w->max_piece = w->pieces->piece[id].length;
  return w;
}

void nki_wordpiece_free(struct nki_wordpiece *wordpiece) {
  nk_free(wordpiece);
}

/* The longest token at s[at..n): its end, 0 when there is none. */
static size_t longest(const struct nki_wordpiece *w, struct nk_buffer *key, const char *s, size_t n,
                      size_t at, int64_t *id) {
  size_t end = n - at > w->max_piece ? at + w->max_piece : n;
  size_t prefix = at > 0 ? w->n_prefix : 0;
  while (end < n && end > at && ((unsigned char)s[end] & 0xC0) == 0x80) end--;
  nk_buffer_clear(key);
  nk_buffer_append(key, w->prefix, prefix);
  nk_buffer_append(key, s + at, end - at);
  if (key->failed) return 0;
  for (; end > at; end = nki_utf8_before(s, end)) {
    *id = nki_pieces_find(w->pieces, key->data, prefix + end - at);
    if (*id >= 0) return end;
  }
  return 0;
}

int nki_wordpiece_encode(const struct nki_wordpiece *w, struct nk_buffer *key, const char *s,
                         size_t n, struct nki_ids *ids) {
  size_t n_chars = 0, first = ids->n;
  for (size_t i = 0; i < n && n_chars <= w->max_chars; i += nki_utf8_width(s[i])) n_chars++;
  bool known = n_chars <= w->max_chars;
  for (size_t at = 0, end; at < n && known; at = end) {
    int64_t id;
    end = longest(w, key, s, n, at, &id);
    if (key->failed) return nk_fail(NK_EMEMORY, "out of memory for a word");
    known = end != 0;
    if (known && !nki_ids_add(ids, id)) return NK_EMEMORY;
  }
  if (known) return NK_OK;
  ids->n = first;
  if (w->unknown >= 0) return nki_ids_add(ids, w->unknown) ? NK_OK : NK_EMEMORY;
  return nk_fail(NK_EDATA,
                 "a word has no tokens, and the vocabulary does not hold the unk_token '%s'",
                 w->unknown_name);
}

bool nki_wordpiece_within(const struct nki_wordpiece *w, const char **bytes, size_t *n) {
  if (w->n_prefix == 0 || *n <= w->n_prefix || memcmp(*bytes, w->prefix, w->n_prefix) != 0)
    return false;
  *bytes += w->n_prefix;
  *n -= w->n_prefix;
  return true;
}
