/* The decoder: a list of steps, each from a list of strings to a list of strings. All but Fuse and
 * ByteLevel, which leave one string, work on each string by itself.
 * Bytes that are not valid UTF-8 are kept, where Hugging Face's library puts U+FFFD: the bytes of a
 * token must not be lost. */
#include "text/decoder.h"

#include <noken/base.h>
#include <string.h>

#include "base/utf8.h"
#include "text/byte_level.h"

enum kind { BYTE_LEVEL, BYTE_FALLBACK, FUSE, REPLACE, STRIP, METASPACE, WORD_PIECE, WORD_END };

struct step {
  enum kind kind;
  /* REPLACE; STRIP, METASPACE: from; WORD_PIECE: from, the prefix within a word; WORD_END: from,
   * the suffix of a word's last token. In the spec's JSON, which is referenced. */
  const char *from, *to;
  size_t n_from, n_to;
  size_t start, stop; /* STRIP: how many of `from` are removed at either end */
  bool prefix;        /* METASPACE: the space that encoding put before the first token is removed */
  bool cleanup;       /* WORD_PIECE: spaces before punctuation are removed */
  bool alphabet;      /* BYTE_LEVEL: the strings are in its alphabet, not raw bytes */
};

struct nki_decoder {
  json_t *json;      /* what the steps point into */
  struct step *step; /* [n_steps] */
  size_t n_steps;
  bool join; /* there is no decoder: tokens are joined by spaces */
};

/* ---- Reading the steps ---- */

static bool take_string(const json_t *value, const char **bytes, size_t *n) {
  *bytes = json_string_value(value);
  *n = json_string_length(value);
  return *bytes != NULL && *n > 0;
}

static bool read_replace(struct step *step, const json_t *json) {
  const json_t *content = json_object_get(json, "content");
  step->to = json_string_value(content);
  step->n_to = json_string_length(content);
  return step->to != NULL &&
         take_string(json_object_get(json_object_get(json, "pattern"), "String"), &step->from,
                     &step->n_from);
}

static bool read_strip(struct step *step, const json_t *json) {
  json_int_t start = json_integer_value(json_object_get(json, "start"));
  json_int_t stop = json_integer_value(json_object_get(json, "stop"));
  if (start < 0 || stop < 0) return false;
  step->start = (size_t)start;
  step->stop = (size_t)stop;
  return take_string(json_object_get(json, "content"), &step->from, &step->n_from);
}

static bool read_metaspace(struct step *step, const json_t *json) {
  const char *scheme = json_string_value(json_object_get(json, "prepend_scheme"));
  step->prefix = scheme != NULL ? strcmp(scheme, "never") != 0
                                : !json_is_false(json_object_get(json, "add_prefix_space"));
  step->to = " ";
  step->n_to = 1;
  return take_string(json_object_get(json, "replacement"), &step->from, &step->n_from);
}

static bool read_word_piece(struct step *step, const json_t *json) {
  const json_t *prefix = json_object_get(json, "prefix");
  step->cleanup = !json_is_false(json_object_get(json, "cleanup"));
  step->from = json_is_string(prefix) ? json_string_value(prefix) : "##";
  step->n_from = json_is_string(prefix) ? json_string_length(prefix) : 2;
  return true;
}

static bool read_word_end(struct step *step, const json_t *json) {
  const json_t *suffix = json_object_get(json, "suffix");
  step->from = json_is_string(suffix) ? json_string_value(suffix) : "</w>";
  step->n_from = json_is_string(suffix) ? json_string_length(suffix) : 4;
  return step->n_from > 0;
}

static const struct {
  const char *type;
  enum kind kind;
  bool (*read)(struct step *step, const json_t *json);
} kinds[] = {
    {"ByteLevel", BYTE_LEVEL, NULL},
    {"ByteFallback", BYTE_FALLBACK, NULL},
    {"Fuse", FUSE, NULL},
    {"Replace", REPLACE, read_replace},
    {"Strip", STRIP, read_strip},
    {"Metaspace", METASPACE, read_metaspace},
    {"WordPiece", WORD_PIECE, read_word_piece},
    {"BPEDecoder", WORD_END, read_word_end},
};

/* Reads one step into decoder->step[n_steps]. */
static int add_step(struct nki_decoder *decoder, const struct nki_spec *spec, const json_t *json,
                    bool lenient) {
  struct step step = {0};
  const char *type = nki_spec_type(json);
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    if (strcmp(type, kinds[i].type) != 0) continue;
    step.kind = kinds[i].kind;
    step.alphabet = step.kind == BYTE_LEVEL && !spec->byte_level;
    if (kinds[i].read == NULL || kinds[i].read(&step, json)) {
      decoder->step[decoder->n_steps++] = step;
      return NK_OK;
    }
    if (lenient) return NK_OK;
    return nk_fail(NK_EUNSUPPORTED, "%s: this form of the decoder '%s' is not supported",
                   spec->name, type);
  }
  if (lenient) return NK_OK;
  return nk_fail(NK_EUNSUPPORTED, "%s: the decoder '%s' is not supported", spec->name, type);
}

/* The step for end_of_word_suffix, which CLIP's decoder does not have, so that its class of
 * transformers does what this step does. False when the model has none. */
static bool suffix_of(const struct nki_spec *spec, struct step *step) {
  const json_t *model = json_object_get(spec->config, "model");
  *step = (struct step){.kind = WORD_END};
  return take_string(json_object_get(model, "end_of_word_suffix"), &step->from, &step->n_from);
}

struct nki_decoder *nki_decoder_new(const struct nki_spec *spec, bool lenient) {
  json_t *json = json_object_get(spec->config, "decoder");
  size_t n = nki_spec_steps(json);
  struct nki_decoder *decoder = nk_calloc(1, sizeof *decoder);
  if (decoder == NULL) return NULL;
  decoder->json = json_incref(json);
  decoder->join = n == 0;
  decoder->step = nk_alloc(n + 1, sizeof *decoder->step);
  if (decoder->step == NULL) goto fail;
  if (suffix_of(spec, &decoder->step[0]) && !nki_spec_has(spec, "decoder", "BPEDecoder"))
    decoder->n_steps = 1;
  for (size_t i = 0; i < n; i++)
    if (add_step(decoder, spec, nki_spec_step(json, i), lenient) != NK_OK) goto fail;
  return decoder;
fail:
  nki_decoder_free(decoder);
  return NULL;
}

void nki_decoder_free(struct nki_decoder *decoder) {
  if (decoder == NULL) return;
  json_decref(decoder->json);
  nk_free(decoder->step);
  nk_free(decoder);
}

/* ---- Decoding ---- */

/* The longest text that a decoder may make of strings of n bytes: a chain of replacements could
 * make any amount. A step that has passed the limit stops. */
static size_t growth_limit(size_t n) {
  return n < SIZE_MAX / 128 ? 64 * n + 4096 : SIZE_MAX;
}

static int check_growth(size_t size, size_t limit) {
  if (size <= limit) return NK_OK;
  return nk_fail(NK_EUNSUPPORTED, "the decoder makes more than %zu bytes of tokens", limit);
}

static void replace(const struct step *step, const char *s, size_t n, size_t limit,
                    struct nk_buffer *out) {
  const char *end = s + n, *found;
  while (out->size <= limit &&
         (found = memmem(s, (size_t)(end - s), step->from, step->n_from)) != NULL) {
    nk_buffer_append(out, s, (size_t)(found - s));
    nk_buffer_append(out, step->to, step->n_to);
    s = found + step->n_from;
  }
  nk_buffer_append(out, s, (size_t)(end - s));
}

static int hex_digit(char c) {
  return c >= '0' && c <= '9'   ? c - '0'
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                : -1;
}

/* "<0x0A>" is the byte 10; other strings are unchanged. */
static void byte_fallback(const char *s, size_t n, struct nk_buffer *out) {
  if (n == 6 && memcmp(s, "<0x", 3) == 0 && s[5] == '>' && hex_digit(s[3]) >= 0 &&
      hex_digit(s[4]) >= 0)
    nk_buffer_byte(out, hex_digit(s[3]) << 4 | hex_digit(s[4]));
  else
    nk_buffer_append(out, s, n);
}

static void strip(const struct step *step, const char *s, size_t n, struct nk_buffer *out) {
  size_t k = step->n_from;
  for (size_t i = 0; i < step->start && n >= k && memcmp(s, step->from, k) == 0; i++) {
    s += k;
    n -= k;
  }
  for (size_t i = 0; i < step->stop && n >= k && memcmp(s + n - k, step->from, k) == 0; i++) n -= k;
  nk_buffer_append(out, s, n);
}

/* The step's `from` becomes `to`. */
static void replace_by(const struct step *step, const char *to, const char *s, size_t n,
                       size_t limit, struct nk_buffer *out) {
  struct step other = *step;
  other.to = to;
  other.n_to = strlen(to);
  replace(&other, s, n, limit, out);
}

static void byte_level(const struct step *step, const char *s, size_t n, struct nk_buffer *out) {
  size_t begin = out->size;
  nk_buffer_append(out, s, n);
  if (!step->alphabet || out->failed || n == 0) return;
  nki_byte_level_decode(out->data + begin, &n);
  out->size = begin + n;
}

/* What transformers removes before and within English punctuation. */
static void clean_up(struct nk_buffer *text, size_t begin) {
  static const char *const pairs[][2] = {{" .", "."},     {" ?", "?"},           {" !", "!"},
                                         {" ,", ","},     {" ' ", "'"},          {" n't", "n't"},
                                         {" 'm", "'m"},   {" do not", " don't"}, {" 's", "'s"},
                                         {" 've", "'ve"}, {" 're", "'re"}};
  struct nk_buffer from = {0};
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs && !text->failed; i++) {
    if (text->size == begin ||
        memmem(text->data + begin, text->size - begin, pairs[i][0], strlen(pairs[i][0])) == NULL)
      continue;
    struct step step = {.from = pairs[i][0], .n_from = strlen(pairs[i][0])};
    nk_buffer_clear(&from);
    nk_buffer_append(&from, text->data + begin, text->size - begin);
    text->size = begin;
    if (!from.failed) replace_by(&step, pairs[i][1], from.data, from.size, SIZE_MAX, text);
  }
  text->failed |= from.failed;
  nk_buffer_free(&from);
}

static void word_piece(const struct step *step, const char *s, size_t n, bool first,
                       struct nk_buffer *out) {
  size_t begin = out->size;
  bool within = n >= step->n_from && memcmp(s, step->from, step->n_from) == 0;
  if (!first && !within) nk_buffer_byte(out, ' ');
  size_t skip = !first && within ? step->n_from : 0;
  nk_buffer_append(out, s + skip, n - skip);
  if (step->cleanup) clean_up(out, begin);
}

/* Where a string stands in its list. */
struct position {
  bool first, last;
};

static void step_string(const struct step *step, const char *s, size_t n, struct position position,
                        size_t limit, struct nk_buffer *out) {
  switch (step->kind) {
    case REPLACE:
      replace(step, s, n, limit, out);
      break;
    case BYTE_LEVEL:
      byte_level(step, s, n, out);
      break;
    case WORD_PIECE:
      word_piece(step, s, n, position.first, out);
      break;
    case WORD_END:
      replace_by(step, position.last ? "" : " ", s, n, limit, out);
      break;
    case BYTE_FALLBACK:
      byte_fallback(s, n, out);
      break;
    case STRIP:
      strip(step, s, n, out);
      break;
    case METASPACE:
      replace_by(step, position.first && step->prefix ? "" : " ", s, n, limit, out);
      break;
    default:
      nk_buffer_append(out, s, n);
      break;
  }
}

int nki_decoder_token(const struct nki_decoder *decoder, const char *bytes, size_t n,
                      struct nk_buffer *out) {
  struct nk_buffer from = {0}, to = {0};
  size_t limit = growth_limit(n);
  int code = NK_OK;
  nk_buffer_append(&from, bytes, n);
  for (size_t i = 0; i < decoder->n_steps && code == NK_OK && from.size > 0; i++) {
    const struct step *step = &decoder->step[i];
    if (step->kind == FUSE || step->kind == STRIP || step->kind == WORD_PIECE) continue;
    nk_buffer_clear(&to);
    step_string(step, from.data, from.size, (struct position){false, false}, limit, &to);
    code = check_growth(to.size, limit);
    struct nk_buffer swap = from;
    from = to;
    to = swap;
  }
  nk_buffer_append(out, from.data, from.size);
  bool failed = from.failed || to.failed || out->failed;
  nk_buffer_free(&from);
  nk_buffer_free(&to);
  return failed ? nk_fail(NK_EMEMORY, "out of memory for a token's text") : code;
}

static void fuse(struct nki_strings *strings) {
  if (strings->n != 0) strings->ends[0] = strings->bytes.size;
  strings->n = strings->n > 0;
}

static void run_step(const struct step *step, struct nki_strings *strings, size_t limit,
                     struct nk_buffer *to) {
  if (step->kind == FUSE) {
    fuse(strings);
    return;
  }
  size_t begin = 0;
  nk_buffer_clear(to);
  for (size_t i = 0; i < strings->n; i++) {
    size_t end = strings->ends[i];
    struct position position = {i == 0, i + 1 == strings->n};
    if (end > begin || step->kind == WORD_PIECE)
      step_string(step, strings->bytes.data + begin, end - begin, position, limit, to);
    begin = end;
    strings->ends[i] = to->size;
  }
  struct nk_buffer swap = strings->bytes;
  strings->bytes = *to;
  *to = swap;
  if (step->kind == BYTE_LEVEL) fuse(strings);
}

int nki_decoder_run(const struct nki_decoder *decoder, struct nki_strings *strings,
                    struct nk_buffer *out) {
  struct nk_buffer other = {0};
  size_t begin = 0, limit = growth_limit(strings->bytes.size + strings->n);
  int code = NK_OK;
  for (size_t i = 0; i < decoder->n_steps && code == NK_OK; i++) {
    run_step(&decoder->step[i], strings, limit, &other);
    code = check_growth(strings->bytes.size, limit);
  }
  for (size_t i = 0; i < strings->n && code == NK_OK; i++) {
    if (decoder->join && i > 0) nk_buffer_byte(out, ' ');
    size_t end = strings->ends[i];
    if (end > begin) nk_buffer_append(out, strings->bytes.data + begin, end - begin);
    begin = end;
  }
  bool failed = other.failed || strings->bytes.failed || out->failed;
  nk_buffer_free(&other);
  return failed ? nk_fail(NK_EMEMORY, "out of memory for decoded text") : code;
}
