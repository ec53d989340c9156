/* The decoder: a list of steps, each from a list of strings to a list of strings. All but Fuse work
 * on each string by itself.
 * Bytes that are not valid UTF-8 are kept, where Hugging Face's library puts U+FFFD: the bytes of a
 * token must not be lost. */
#include "text/decoder.h"

#include <noken/base.h>
#include <string.h>

#include "base/utf8.h"

enum kind { BYTE_LEVEL, BYTE_FALLBACK, FUSE, REPLACE, STRIP, METASPACE };

struct step {
  enum kind kind;
  const char *from,
      *to; /* REPLACE; STRIP, METASPACE: from. In the spec's JSON, which is referenced */
  size_t n_from, n_to;
  size_t start, stop; /* STRIP: how many of `from` are removed at either end */
  bool prefix;        /* METASPACE: the space that encoding put before the first token is removed */
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
};

/* Reads one step into decoder->step[n_steps]. */
static int add_step(struct nki_decoder *decoder, const struct nki_spec *spec, const json_t *json,
                    bool lenient) {
  struct step step = {0};
  const char *type = nki_spec_type(json);
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    if (strcmp(type, kinds[i].type) != 0) continue;
    step.kind = kinds[i].kind;
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

struct nki_decoder *nki_decoder_new(const struct nki_spec *spec, bool lenient) {
  json_t *json = json_object_get(spec->config, "decoder");
  size_t n = nki_spec_steps(json);
  struct nki_decoder *decoder = nk_calloc(1, sizeof *decoder);
  if (decoder == NULL) return NULL;
  decoder->json = json_incref(json);
  decoder->join = n == 0;
  decoder->step = nk_alloc(n, sizeof *decoder->step);
  if (decoder->step == NULL) goto fail;
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

static void replace(const struct step *step, const char *s, size_t n, struct nk_buffer *out) {
  const char *end = s + n, *found;
  while ((found = memmem(s, (size_t)(end - s), step->from, step->n_from)) != NULL) {
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

/* Metaspace for the first token: its marks are removed. */
static void drop(const struct step *step, const char *s, size_t n, struct nk_buffer *out) {
  struct step nothing = *step;
  nothing.n_to = 0;
  replace(&nothing, s, n, out);
}

static void step_string(const struct step *step, const char *s, size_t n, bool first,
                        struct nk_buffer *out) {
  switch (step->kind) {
    case REPLACE:
      replace(step, s, n, out);
      break;
    case BYTE_FALLBACK:
      byte_fallback(s, n, out);
      break;
    case STRIP:
      strip(step, s, n, out);
      break;
    case METASPACE:
      (first && step->prefix ? drop : replace)(step, s, n, out);
      break;
    default:
      nk_buffer_append(out, s, n);
      break;
  }
}

int nki_decoder_token(const struct nki_decoder *decoder, const char *bytes, size_t n,
                      struct nk_buffer *out) {
  struct nk_buffer from = {0}, to = {0};
  nk_buffer_append(&from, bytes, n);
  for (size_t i = 0; i < decoder->n_steps; i++) {
    const struct step *step = &decoder->step[i];
    if (step->kind == BYTE_LEVEL || step->kind == FUSE || step->kind == STRIP) continue;
    nk_buffer_clear(&to);
    step_string(step, from.data, from.size, false, &to);
    struct nk_buffer swap = from;
    from = to;
    to = swap;
  }
  nk_buffer_append(out, from.data, from.size);
  bool failed = from.failed || to.failed || out->failed;
  nk_buffer_free(&from);
  nk_buffer_free(&to);
  return failed ? nk_fail(NK_EMEMORY, "out of memory for a token's text") : NK_OK;
}

static void run_step(const struct step *step, struct nki_strings *strings, struct nk_buffer *to) {
  if (step->kind == FUSE) {
    if (strings->n != 0) strings->ends[0] = strings->bytes.size;
    strings->n = strings->n > 0;
    return;
  }
  size_t begin = 0;
  nk_buffer_clear(to);
  for (size_t i = 0; i < strings->n; i++) {
    size_t end = strings->ends[i];
    if (end > begin) step_string(step, strings->bytes.data + begin, end - begin, i == 0, to);
    begin = end;
    strings->ends[i] = to->size;
  }
  struct nk_buffer swap = strings->bytes;
  strings->bytes = *to;
  *to = swap;
}

int nki_decoder_run(const struct nki_decoder *decoder, struct nki_strings *strings,
                    struct nk_buffer *out) {
  struct nk_buffer other = {0};
  for (size_t i = 0; i < decoder->n_steps; i++) run_step(&decoder->step[i], strings, &other);
  size_t begin = 0;
  for (size_t i = 0; i < strings->n; i++) {
    if (decoder->join && i > 0) nk_buffer_byte(out, ' ');
    size_t end = strings->ends[i];
    if (end > begin) nk_buffer_append(out, strings->bytes.data + begin, end - begin);
    begin = end;
  }
  bool failed = other.failed || strings->bytes.failed || out->failed;
  nk_buffer_free(&other);
  return failed ? nk_fail(NK_EMEMORY, "out of memory for decoded text") : NK_OK;
}
