/* Finding added tokens: leftmost, then longest. */
#include "text/added.h"

#include <noken/base.h>

#include "base/utf8.h"
#include "text/chars.h"

int nki_added_build(struct nki_added_set *set, const struct nki_spec *spec, bool normalized,
                    const struct nki_normalizer *normalizer, struct nki_normalizing *work,
                    struct nki_match *match) {
  set->added = spec->added;
  set->n_added = spec->n_added;
  struct nki_prefix_entry *entry = nk_alloc(spec->n_added, sizeof *entry);
  size_t *offset = nk_alloc(spec->n_added, sizeof *offset), n = 0;
  int code = entry != NULL && offset != NULL ? NK_OK : NK_EMEMORY;
  for (size_t i = 0; i < spec->n_added && code == NK_OK; i++) {
    const struct nki_added *added = &spec->added[i];
    const char *content = spec->added_bytes.data + added->offset;
    size_t length = added->length;
    if (added->normalized != normalized || length == 0) continue;
    if (normalized)
      code = nki_normalize(normalizer, work, match, content, length, &content, &length);
    if (code != NK_OK || length == 0) continue;
    offset[n] = set->bytes.size;
    /* Of equal strings the first is found: the largest value. */
    entry[n++] =
        (struct nki_prefix_entry){NULL, (uint32_t)length, (uint32_t)(spec->n_added - 1 - i)};
    nk_buffer_append(&set->bytes, content, length);
  }
  if (set->bytes.failed) code = nk_fail(NK_EMEMORY, "%s: out of memory", spec->name);
  for (size_t i = 0; i < n && code == NK_OK; i++) entry[i].bytes = set->bytes.data + offset[i];
  if (code != NK_OK)
    nk_free(entry);
  else
    nki_prefixes_build(&set->prefixes, entry, n);
  nk_free(offset);
  return code;
}

void nki_added_free(struct nki_added_set *set) {
  nki_prefixes_free(&set->prefixes);
  nk_buffer_free(&set->bytes);
}

/* The longest string of the set at s[0..n): its end, 0 when there is none; *index is that of its
 * token.
 */
static size_t longest(const struct nki_prefixes *prefixes, const char *s, size_t n, size_t *index) {
  struct nki_prefix_walk walk = {0};
  size_t end = 0;
  for (size_t i = 0; i < n && nki_prefixes_step(prefixes, &walk, s[i]); i++) {
    int64_t value = nki_prefixes_value(prefixes, &walk);
    if (value < 0) continue;
    *index = (size_t)value; /* from the end */
    end = i + 1;
  }
  return end;
}

static bool word_at(const char *s, size_t n, size_t at) {
  size_t width;
  return at < n && nki_is_word(nki_utf8_decode(s + at, &width));
}

/* Whether no word character stands next to s[begin..end). */
static bool stands_alone(const char *s, size_t n, size_t begin, size_t end) {
  return (begin == 0 || !word_at(s, n, nki_utf8_before(s, begin))) && !word_at(s, n, end);
}

/* The beginning of the white space that ends before s[end], not before s[limit]. */
static size_t space_before(const char *s, size_t end, size_t limit) {
  size_t width;
  while (end > limit) {
    size_t at = nki_utf8_before(s, end);
    if (at < limit || !nki_is_space(nki_utf8_decode(s + at, &width))) break;
    end = at;
  }
  return end;
}

static size_t space_after(const char *s, size_t n, size_t at) {
  size_t width;
  while (at < n && nki_is_space(nki_utf8_decode(s + at, &width))) at += width;
  return at;
}

bool nki_added_find(const struct nki_added_set *set, const char *s, size_t n, size_t at,
                    size_t taken, bool plain, struct nki_hit *hit) {
  if (set->prefixes.n == 0) return false;
  for (size_t index = 0, end; at < n; at++) {
    if (!nki_prefixes_may_begin(&set->prefixes, s + at, n - at)) continue;
    end = longest(&set->prefixes, s + at, n - at, &index);
    if (end == 0) continue;
    end += at;
    const struct nki_added *added = &set->added[set->n_added - 1 - index];
    if ((plain && added->special) || (added->single_word && !stands_alone(s, n, at, end))) {
      at = end - 1; /* skip it as a whole */
      continue;
    }
    *hit = (struct nki_hit){at, end, end, (int64_t)added->id};
    if (added->lstrip) hit->begin = space_before(s, at, taken < at ? taken : at);
    if (added->rstrip) hit->end = space_after(s, n, end);
    return true;
  }
  return false;
}
