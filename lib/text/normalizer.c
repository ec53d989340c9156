/* The normalizer: a list of steps, each from a text to a text. */
#include "text/normalizer.h"

#include <noken/base.h>
#include <string.h>
#include <utf8proc.h>

#include "base/utf8.h"
#include "text/byte_level.h"
#include "text/chars.h"
#include "text/charsmap.h"

enum kind {
  UNICODE,
  PREPEND,
  REPLACE,
  LOWERCASE,
  STRIP,
  STRIP_ACCENTS,
  BYTE_LEVEL,
  CHARSMAP,
  CLEAN,   /* BERT's: no control characters, and every white space is a space */
  CHINESE, /* BERT's: spaces around Chinese characters */
};

struct step {
  enum kind kind;
  utf8proc_option_t form; /* UNICODE */
  uint32_t stable;        /* UNICODE: code points below this do not change or compose */
  const char *from, *to;  /* REPLACE; PREPEND: to. In the spec's JSON, which is referenced */
  size_t n_from, n_to;
  struct nki_pattern *pattern; /* REPLACE by a pattern, instead of from */
  bool left, right;            /* STRIP */
  bool nonspacing;             /* STRIP_ACCENTS: only Mn */
  bool longest;                /* CHARSMAP: as SentencePiece, not as Hugging Face's library */
  struct nki_charsmap *map;    /* CHARSMAP */
};

struct nki_normalizer {
  json_t *json;
  struct step *step; /* [n_steps] */
  size_t n_steps, capacity;
};

/* ---- Reading the steps ---- */

static const struct {
  const char *type;
  int form;
  uint32_t stable; /* of the composed form, below the first combining mark; else ASCII */
} forms[] = {
    {"NFC", UTF8PROC_STABLE | UTF8PROC_COMPOSE, 0x300},
    {"NFD", UTF8PROC_STABLE | UTF8PROC_DECOMPOSE, 0x80},
    {"NFKC", UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT, 0x80},
    {"NFKD", UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT, 0x80},
};

static int not_supported(const struct nki_spec *spec, const char *type) {
  return nk_fail(NK_EUNSUPPORTED, "%s: the normalizer '%s' is not supported", spec->name, type);
}

static int malformed(const struct nki_spec *spec, const char *type) {
  return nk_fail(NK_EDATA, "%s: the normalizer '%s' lacks a part", spec->name, type);
}

static int read_replace(const struct nki_spec *spec, const json_t *json, struct step *step) {
  const json_t *pattern = json_object_get(json, "pattern"), *to = json_object_get(json, "content");
  const json_t *string = json_object_get(pattern, "String");
  const char *regex = json_string_value(json_object_get(pattern, "Regex"));
  step->kind = REPLACE;
  step->to = json_string_value(to);
  step->n_to = json_string_length(to);
  step->from = json_string_value(string);
  step->n_from = json_string_length(string);
  if (step->to == NULL || ((regex == NULL) && ((step->from == NULL) || step->n_from == 0)))
    return malformed(spec, "Replace");
  if (step->from != NULL) return NK_OK;
  step->pattern = nki_pattern_new(spec->name, regex);
  return step->pattern != NULL ? NK_OK : NK_EUNSUPPORTED;
}

/* Makes the step one of Unicode's forms; false when no form has this name. */
static bool set_form(struct step *step, const char *type) {
  for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
    if (strcmp(type, forms[i].type) != 0) continue;
    step->kind = UNICODE;
    step->form = (utf8proc_option_t)forms[i].form;
    step->stable = forms[i].stable;
    return true;
  }
  return false;
}

static struct step *new_step(struct nki_normalizer *normalizer, enum kind kind) {
  if (normalizer->n_steps == normalizer->capacity) {
    size_t capacity = normalizer->capacity != 0 ? 2 * normalizer->capacity : 8;
    struct step *grown = nk_realloc(normalizer->step, normalizer->n_steps, capacity, sizeof *grown);
    if (grown == NULL) return NULL;
    normalizer->step = grown;
    normalizer->capacity = capacity;
  }
  struct step *step = &normalizer->step[normalizer->n_steps++];
  memset(step, 0, sizeof *step);
  step->kind = kind;
  return step;
}

/* Options that are absent are true; strip_accents is then what lowercase is. */
static int read_bert(struct nki_normalizer *normalizer, const json_t *json) {
  const json_t *accents = json_object_get(json, "strip_accents");
  bool lower = !json_is_false(json_object_get(json, "lowercase"));
  bool strip = json_is_boolean(accents) ? json_is_true(accents) : lower;
  bool clean = !json_is_false(json_object_get(json, "clean_text"));
  bool chinese = !json_is_false(json_object_get(json, "handle_chinese_chars"));
  struct step *step;
  if (clean && new_step(normalizer, CLEAN) == NULL) return NK_EMEMORY;
  if (chinese && new_step(normalizer, CHINESE) == NULL) return NK_EMEMORY;
  if (strip) {
    if ((step = new_step(normalizer, UNICODE)) == NULL) return NK_EMEMORY;
    set_form(step, "NFD");
    if ((step = new_step(normalizer, STRIP_ACCENTS)) == NULL) return NK_EMEMORY;
    step->nonspacing = true;
  }
  return lower && new_step(normalizer, LOWERCASE) == NULL ? NK_EMEMORY : NK_OK;
}

/* A map of characters, in base64; *skip: there is none. */
static int read_charsmap(const struct nki_spec *spec, const json_t *json, struct step *step,
                         bool *skip) {
  const json_t *map = json_object_get(json, "precompiled_charsmap");
  step->kind = CHARSMAP;
  step->longest = json_is_true(json_object_get(json, "longest"));
  *skip = json_string_length(map) == 0;
  if (*skip) return NK_OK;
  step->map = nki_charsmap_of_base64(spec->name, json_string_value(map), json_string_length(map));
  return step->map != NULL ? NK_OK : NK_EDATA;
}

/* Reads one step. *skip: it changes nothing. */
static int read_step(const struct nki_spec *spec, const json_t *json, struct step *step,
                     bool *skip) {
  const char *type = nki_spec_type(json);
  if (set_form(step, type)) return NK_OK;
  if (strcmp(type, "Replace") == 0) return read_replace(spec, json, step);
  if (strcmp(type, "Prepend") == 0) {
    const json_t *to = json_object_get(json, "prepend");
    step->kind = PREPEND;
    step->to = json_string_value(to);
    step->n_to = json_string_length(to);
    return step->to != NULL ? NK_OK : malformed(spec, type);
  }
  if (strcmp(type, "Strip") == 0) {
    step->kind = STRIP;
    step->left = !json_is_false(json_object_get(json, "strip_left"));
    step->right = !json_is_false(json_object_get(json, "strip_right"));
    return NK_OK;
  }
  if (strcmp(type, "Precompiled") == 0) return read_charsmap(spec, json, step, skip);
  if (strcmp(type, "ByteLevel") == 0) {
    step->kind = BYTE_LEVEL;
    return NK_OK;
  }
  step->kind = strcmp(type, "Lowercase") == 0 ? LOWERCASE : STRIP_ACCENTS;
  if (step->kind == LOWERCASE || strcmp(type, "StripAccents") == 0) return NK_OK;
  return not_supported(spec, type);
}

struct nki_normalizer *nki_normalizer_new(const struct nki_spec *spec) {
  json_t *json = json_object_get(spec->config, "normalizer");
  size_t n = nki_spec_steps(json);
  struct nki_normalizer *normalizer = nk_calloc(1, sizeof *normalizer);
  if (normalizer == NULL) return NULL;
  normalizer->json = json_incref(json);
  for (size_t i = 0; i < n; i++) {
    const json_t *part = nki_spec_step(json, i);
    bool skip = false;
    if (strcmp(nki_spec_type(part), "BertNormalizer") == 0) {
      if (read_bert(normalizer, part) != NK_OK) goto fail;
      continue;
    }
    struct step *step = new_step(normalizer, UNICODE);
    if (step == NULL || read_step(spec, part, step, &skip) != NK_OK) goto fail;
    normalizer->n_steps -= skip;
  }
  return normalizer;
fail:
  nki_normalizer_free(normalizer);
  return NULL;
}

void nki_normalizer_free(struct nki_normalizer *normalizer) {
  if (normalizer == NULL) return;
  for (size_t i = 0; i < normalizer->n_steps; i++) {
    nki_pattern_free(normalizer->step[i].pattern);
    nki_charsmap_free(normalizer->step[i].map);
  }
  json_decref(normalizer->json);
  nk_free(normalizer->step);
  nk_free(normalizer);
}

void nki_normalizing_free(struct nki_normalizing *work) {
  nk_buffer_free(&work->buffer[0]);
  nk_buffer_free(&work->buffer[1]);
  nk_free(work->codes);
}

/* ---- Unicode's forms ---- */

/* Appends the normal form of s[0..n). */
static int unicode_run(const struct step *step, struct nki_normalizing *work, const char *s,
                       size_t n, struct nk_buffer *out) {
  utf8proc_ssize_t count;
  for (;;) {
    count = utf8proc_decompose((const utf8proc_uint8_t *)s, (utf8proc_ssize_t)n, work->codes,
                               (utf8proc_ssize_t)work->capacity, step->form);
    if (count < 0) return nk_fail(NK_EDATA, "normalizing: %s", utf8proc_errmsg(count));
    if ((size_t)count <= work->capacity) break;
    int32_t *grown = nk_realloc(work->codes, 0, 2 * (size_t)count, sizeof *grown);
    if (grown == NULL) return NK_EMEMORY;
    work->codes = grown;
    work->capacity = 2 * (size_t)count;
  }
  count = utf8proc_normalize_utf32(work->codes, count, step->form);
  if (count < 0) return nk_fail(NK_EDATA, "normalizing: %s", utf8proc_errmsg(count));
  for (utf8proc_ssize_t i = 0; i < count; i++) {
    char bytes[4];
    nk_buffer_append(out, bytes, nki_utf8_encode((uint32_t)work->codes[i], bytes));
  }
  return NK_OK;
}

/* The first character from `at` that the form may change or compose with its neighbour. */
static size_t next_unstable(const char *s, size_t n, size_t at, uint32_t stable) {
  unsigned char limit = stable == 0x80 ? 0x80 : 0xCC; /* U+0300 begins with the byte 0xCC */
  while (at < n && (unsigned char)s[at] < limit) at += nki_utf8_width(s[at]);
  return at;
}

/* Most text is stable: only the other runs are given to utf8proc, each with the stable character
 * before it, which may compose with what follows. */
static int unicode(const struct step *step, struct nki_normalizing *work, const char *s, size_t n,
                   struct nk_buffer *out) {
  unsigned char limit = step->stable == 0x80 ? 0x80 : 0xCC;
  size_t copied = 0;
  for (size_t at; (at = next_unstable(s, n, copied, step->stable)) < n;) {
    size_t begin = at > copied ? nki_utf8_before(s, at) : at, end = at;
    while (end < n && (unsigned char)s[end] >= limit) end += nki_utf8_width(s[end]);
    nk_buffer_append(out, s + copied, begin - copied);
    int code = unicode_run(step, work, s + begin, end - begin, out);
    if (code != NK_OK) return code;
    copied = end;
  }
  nk_buffer_append(out, s + copied, n - copied);
  return NK_OK;
}

/* ---- The other steps ---- */

/* The longest text that a normalizer may make of n bytes. Real ones make at most a few times the
 * text of it; a chain of replacements could make any amount. */
static size_t growth_limit(size_t n) {
  return n < SIZE_MAX / 128 ? 64 * n + 4096 : SIZE_MAX;
}

static int replace_pattern(const struct step *step, struct nki_match *match, const char *s,
                           size_t n, size_t limit, struct nk_buffer *out) {
  size_t at = 0, copied = 0, begin, end;
  int found = 0;
  while (at <= n && out->size <= limit &&
         (found = nki_pattern_find(step->pattern, match, s, n, at, &begin, &end)) == 1) {
    nk_buffer_append(out, s + copied, begin - copied);
    nk_buffer_append(out, step->to, step->n_to);
    copied = end;
    at = end > begin ? end : end < n ? end + nki_utf8_width(s[end]) : n + 1;
  }
  nk_buffer_append(out, s + copied, n - copied);
  return found < 0 ? found : NK_OK;
}

/* One byte by a string, as spaces by U+2581: they are frequent, so the text is assembled in blocks.
 */
static void replace_byte(const struct step *step, const char *s, size_t n, struct nk_buffer *out) {
  char block[4096];
  size_t filled = 0;
  for (size_t i = 0; i < n; i++) {
    if (filled + step->n_to > sizeof block) {
      nk_buffer_append(out, block, filled);
      filled = 0;
    }
    if (s[i] != step->from[0]) {
      block[filled++] = s[i];
      continue;
    }
    for (size_t j = 0; j < step->n_to; j++) block[filled++] = step->to[j];
  }
  nk_buffer_append(out, block, filled);
}

static void replace(const struct step *step, const char *s, size_t n, size_t limit,
                    struct nk_buffer *out) {
  if (step->n_from == 1 && step->n_to > 0 && step->n_to <= 16) {
    replace_byte(step, s, n, out);
    return;
  }
  const char *end = s + n, *found;
  while (out->size <= limit &&
         (found = memmem(s, (size_t)(end - s), step->from, step->n_from)) != NULL) {
    nk_buffer_append(out, s, (size_t)(found - s));
    nk_buffer_append(out, step->to, step->n_to);
    s = found + step->n_from;
  }
  nk_buffer_append(out, s, (size_t)(end - s));
}

/* Character by character, without the rule for the final sigma, as in Hugging Face's library. */
static void lowercase(const char *s, size_t n, struct nk_buffer *out) {
  for (size_t i = 0, width; i < n; i += width) {
    uint32_t code = nki_utf8_decode(s + i, &width);
    char bytes[4];
    if (code == 0x130) /* the only letter whose lower case is two code points */
      nk_buffer_text(out, "i\xCC\x87");
    else
      nk_buffer_append(out, bytes,
                       nki_utf8_encode((uint32_t)utf8proc_tolower((int32_t)code), bytes));
  }
}

static void strip_accents(const struct step *step, const char *s, size_t n, struct nk_buffer *out) {
  for (size_t i = 0, width; i < n; i += width) {
    uint32_t code = nki_utf8_decode(s + i, &width);
    if (!(step->nonspacing ? nki_is_nonspacing(code) : nki_is_mark(code)))
      nk_buffer_append(out, s + i, width);
  }
}

static void clean(const char *s, size_t n, struct nk_buffer *out) {
  for (size_t i = 0, width; i < n; i += width) {
    uint32_t code = nki_utf8_decode(s + i, &width);
    bool control = code == '\t' || code == '\n' || code == '\r'; /* that is a space */
    if (!control && (code == 0 || code == 0xFFFD || nki_is_other(code))) continue;
    if (control || nki_is_space(code))
      nk_buffer_byte(out, ' ');
    else
      nk_buffer_append(out, s + i, width);
  }
}

static bool is_chinese(uint32_t code) {
  static const uint32_t blocks[][2] = {{0x4E00, 0x9FFF},   {0x3400, 0x4DBF},   {0x20000, 0x2A6DF},
                                       {0x2A700, 0x2B73F}, {0x2B740, 0x2B81F}, {0x2B920, 0x2CEAF},
                                       {0xF900, 0xFAFF},   {0x2F800, 0x2FA1F}};
  for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
    if (code >= blocks[i][0] && code <= blocks[i][1]) return true;
  return false;
}

static void space_chinese(const char *s, size_t n, struct nk_buffer *out) {
  for (size_t i = 0, width; i < n; i += width) {
    bool chinese = is_chinese(nki_utf8_decode(s + i, &width));
    if (chinese) nk_buffer_byte(out, ' ');
    nk_buffer_append(out, s + i, width);
    if (chinese) nk_buffer_byte(out, ' ');
  }
}

static void strip(const struct step *step, const char *s, size_t n, struct nk_buffer *out) {
  size_t begin = 0, width;
  while (step->left && begin < n && nki_is_space(nki_utf8_decode(s + begin, &width)))
    begin += width;
  while (step->right && n > begin) {
    size_t last = nki_utf8_before(s, n);
    if (!nki_is_space(nki_utf8_decode(s + last, &width))) break;
    n = last;
  }
  nk_buffer_append(out, s + begin, n - begin);
}

/* A quick test: true when the step certainly leaves the text unchanged. */
static bool leaves(const struct step *step, const char *s, size_t n) {
  if (step->kind == UNICODE) return next_unstable(s, n, 0, step->stable) == n;
  if (step->kind == REPLACE && step->pattern == NULL)
    return memmem(s, n, step->from, step->n_from) == NULL;
  return n == 0;
}

/* Stops early where out passes the limit. */
static int run_step(const struct step *step, struct nki_normalizing *work, struct nki_match *match,
                    const char *s, size_t n, size_t limit, struct nk_buffer *out) {
  switch (step->kind) {
    case UNICODE:
      return unicode(step, work, s, n, out);
    case REPLACE:
      if (step->pattern != NULL) return replace_pattern(step, match, s, n, limit, out);
      replace(step, s, n, limit, out);
      return NK_OK;
    case PREPEND:
      nk_buffer_append(out, step->to, step->n_to);
      nk_buffer_append(out, s, n);
      return NK_OK;
    case LOWERCASE:
      lowercase(s, n, out);
      return NK_OK;
    case STRIP:
      strip(step, s, n, out);
      return NK_OK;
    case STRIP_ACCENTS:
      strip_accents(step, s, n, out);
      return NK_OK;
    case BYTE_LEVEL:
      nki_byte_level_encode(s, n, out);
      return NK_OK;
    case CHARSMAP:
      (step->longest ? nki_charsmap_longest : nki_charsmap_graphemes)(step->map, s, n, out);
      return NK_OK;
    case CLEAN:
      clean(s, n, out);
      return NK_OK;
    case CHINESE:
      space_chinese(s, n, out);
      return NK_OK;
  }
  return NK_OK;
}

int nki_normalize(const struct nki_normalizer *normalizer, struct nki_normalizing *work,
                  struct nki_match *match, const char *s, size_t n, const char **out,
                  size_t *n_out) {
  size_t turn = 0, limit = growth_limit(n);
  for (size_t i = 0; i < normalizer->n_steps; i++) {
    const struct step *step = &normalizer->step[i];
    if (leaves(step, s, n)) continue;
    struct nk_buffer *to = &work->buffer[turn++ % 2];
    nk_buffer_clear(to);
    int code = run_step(step, work, match, s, n, limit, to);
    if (code == NK_OK && to->size > limit)
      code = nk_fail(NK_EUNSUPPORTED, "the normalizer makes more than %zu bytes of a text", limit);
    if (code == NK_OK && to->failed) code = nk_fail(NK_EMEMORY, "out of memory for normalizing");
    if (code != NK_OK) return code;
    s = to->data != NULL ? to->data : "";
    n = to->size;
  }
  *out = s;
  *n_out = n;
  return NK_OK;
}
