/* The normalizer: a list of steps, each from a text to a text. */
#include "text/normalizer.h"

#include <noken/base.h>
#include <string.h>
#include <utf8proc.h>

#include "base/utf8.h"
#include "text/chars.h"

enum kind { UNICODE, PREPEND, REPLACE, LOWERCASE, STRIP, STRIP_ACCENTS };

struct step {
  enum kind kind;
  utf8proc_option_t form; /* UNICODE */
  uint32_t stable;        /* UNICODE: code points below this do not change or compose */
  const char *from, *to;  /* REPLACE; PREPEND: to. In the spec's JSON, which is referenced */
  size_t n_from, n_to;
  struct nki_pattern *pattern; /* REPLACE by a pattern, instead of from */
  bool left, right;            /* STRIP */
};

struct nki_normalizer {
  json_t *json;
  struct step *step; /* [n_steps] */
  size_t n_steps;
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

/* Reads one step. *skip: it changes nothing. */
static int read_step(const struct nki_spec *spec, const json_t *json, struct step *step,
                     bool *skip) {
  const char *type = nki_spec_type(json);
  for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
    if (strcmp(type, forms[i].type) == 0) {
      step->kind = UNICODE;
      step->form = (utf8proc_option_t)forms[i].form;
      step->stable = forms[i].stable;
      return NK_OK;
    }
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
  if (strcmp(type, "Precompiled") == 0) {
    const json_t *map = json_object_get(json, "precompiled_charsmap");
    *skip =
        map == NULL || json_is_null(map) || (json_is_string(map) && json_string_length(map) == 0);
    return *skip ? NK_OK : not_supported(spec, "Precompiled (with a character map)");
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
  normalizer->step = nk_calloc(n, sizeof *normalizer->step);
  if (normalizer->step == NULL) goto fail;
  for (size_t i = 0; i < n; i++) {
    bool skip = false;
    if (read_step(spec, nki_spec_step(json, i), &normalizer->step[normalizer->n_steps], &skip) !=
        NK_OK)
      goto fail;
    normalizer->n_steps += !skip;
  }
  return normalizer;
fail:
  nki_normalizer_free(normalizer);
  return NULL;
}

void nki_normalizer_free(struct nki_normalizer *normalizer) {
  if (normalizer == NULL) return;
  for (size_t i = 0; i < normalizer->n_steps; i++) nki_pattern_free(normalizer->step[i].pattern);
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

static int replace_pattern(const struct step *step, struct nki_match *match, const char *s,
                           size_t n, struct nk_buffer *out) {
  size_t at = 0, copied = 0, begin, end;
  int found = 0;
  while (at <= n && (found = nki_pattern_find(step->pattern, match, s, n, at, &begin, &end)) == 1) {
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

static void replace(const struct step *step, const char *s, size_t n, struct nk_buffer *out) {
  if (step->n_from == 1 && step->n_to > 0 && step->n_to <= 16) {
    replace_byte(step, s, n, out);
    return;
  }
  const char *end = s + n, *found;
  while ((found = memmem(s, (size_t)(end - s), step->from, step->n_from)) != NULL) {
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

static void strip_accents(const char *s, size_t n, struct nk_buffer *out) {
  for (size_t i = 0, width; i < n; i += width)
    if (!nki_is_mark(nki_utf8_decode(s + i, &width))) nk_buffer_append(out, s + i, width);
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

static int run_step(const struct step *step, struct nki_normalizing *work, struct nki_match *match,
                    const char *s, size_t n, struct nk_buffer *out) {
  switch (step->kind) {
    case UNICODE:
      return unicode(step, work, s, n, out);
    case REPLACE:
      if (step->pattern != NULL) return replace_pattern(step, match, s, n, out);
      replace(step, s, n, out);
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
      strip_accents(s, n, out);
      return NK_OK;
  }
  return NK_OK;
}

int nki_normalize(const struct nki_normalizer *normalizer, struct nki_normalizing *work,
                  struct nki_match *match, const char *s, size_t n, const char **out,
                  size_t *n_out) {
  size_t turn = 0;
  for (size_t i = 0; i < normalizer->n_steps; i++) {
    const struct step *step = &normalizer->step[i];
    if (leaves(step, s, n)) continue;
    struct nk_buffer *to = &work->buffer[turn++ % 2];
    nk_buffer_clear(to);
    int code = run_step(step, work, match, s, n, to);
    if (code == NK_OK && to->failed) code = nk_fail(NK_EMEMORY, "out of memory for normalizing");
    if (code != NK_OK) return code;
    s = to->data != NULL ? to->data : "";
    n = to->size;
  }
  *out = s;
  *n_out = n;
  return NK_OK;
}
