/* The pre-tokenizer: a list of steps, each from pieces of a text to finer pieces, of the same text
 * or (ByteLevel, Metaspace) of a changed one. ByteLevel as the last step leaves the text's bytes as
 * they are, for the model's strings are then read as bytes; before others it writes its
 * alphabet. */
#include "text/pretokenizer.h"

#include <noken/base.h>
#include <string.h>

#include "base/utf8.h"
#include "text/byte_level.h"
#include "text/chars.h"
#include "text/patterns.h"

enum kind { SPLIT, PREFIX_SPACE, METASPACE, ALPHABET };
enum behavior { REMOVED, ISOLATED, MERGED_WITH_PREVIOUS, MERGED_WITH_NEXT, CONTIGUOUS };
enum scheme { FIRST, ALWAYS, NEVER };

struct step {
  enum kind kind;
  /* SPLIT: by the first of these four that is set */
  nki_split_fast *fast;        /* cuts into neighbouring matches */
  struct nki_pattern *pattern; /* matches of a pattern */
  bool (*is_match)(uint32_t);  /* single characters */
  const char *literal;         /* a string, in the spec's JSON; METASPACE: the replacement */
  size_t n_literal;
  enum behavior behavior;
  bool invert;        /* what does not match is the match */
  enum scheme scheme; /* METASPACE */
};

struct nki_pretokenizer {
  json_t *json;
  struct step *step; /* [n_steps] */
  size_t n_steps, capacity;
};

/* ---- Reading the steps ---- */

static int refuse(const struct nki_spec *spec, const char *what) {
  return nk_fail(NK_EUNSUPPORTED, "%s: the pre-tokenizer %s is not supported", spec->name, what);
}

static int malformed(const struct nki_spec *spec, const char *type) {
  return nk_fail(NK_EDATA, "%s: the pre-tokenizer '%s' lacks a part or has an invalid one",
                 spec->name, type);
}

static struct step *new_step(struct nki_pretokenizer *p) {
  if (p->n_steps == p->capacity) {
    size_t capacity = p->capacity != 0 ? 2 * p->capacity : 4;
    struct step *grown = nk_realloc(p->step, p->n_steps, capacity, sizeof *grown);
    if (grown == NULL) return NULL;
    p->step = grown;
    p->capacity = capacity;
  }
  struct step *step = &p->step[p->n_steps++];
  memset(step, 0, sizeof *step);
  return step;
}

static int read_behavior(const struct nki_spec *spec, const json_t *json, enum behavior *out) {
  static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext",
                                      "Contiguous"};
  const char *name = json_string_value(json);
  for (size_t i = 0; name != NULL && i < sizeof names / sizeof *names; i++)
    if (strcmp(name, names[i]) == 0) {
      *out = (enum behavior)i;
      return NK_OK;
    }
  return malformed(spec, "behavior");
}

/* A split by a pattern whose neighbouring matches all become pieces. */
static int read_pattern(struct step *step, const struct nki_spec *spec, const char *regex) {
  if (step->behavior == ISOLATED) step->fast = nki_split_fast_of(regex);
  if (step->fast != NULL) return NK_OK;
  step->pattern = nki_pattern_new(spec->name, regex);
  return step->pattern != NULL ? NK_OK : NK_EUNSUPPORTED;
}

static int read_byte_level(struct nki_pretokenizer *p, const struct nki_spec *spec,
                           const json_t *json) {
  struct step *step;
  if (!json_is_false(json_object_get(json, "add_prefix_space"))) {
    if ((step = new_step(p)) == NULL) return NK_EMEMORY;
    step->kind = PREFIX_SPACE;
  }
  if (!json_is_false(json_object_get(json, "use_regex"))) {
    if ((step = new_step(p)) == NULL) return NK_EMEMORY;
    step->behavior = ISOLATED;
    int code = read_pattern(step, spec, NKI_PATTERN_GPT2);
    if (code != NK_OK) return code;
  }
  if (spec->byte_level) return NK_OK;
  if ((step = new_step(p)) == NULL) return NK_EMEMORY;
  step->kind = ALPHABET;
  return NK_OK;
}

static int read_split(struct nki_pretokenizer *p, const struct nki_spec *spec, const json_t *json) {
  struct step *step = new_step(p);
  if (step == NULL) return NK_EMEMORY;
  const json_t *pattern = json_object_get(json, "pattern");
  const json_t *literal = json_object_get(pattern, "String");
  const char *regex = json_string_value(json_object_get(pattern, "Regex"));
  int code = read_behavior(spec, json_object_get(json, "behavior"), &step->behavior);
  if (code != NK_OK) return code;
  step->invert = json_is_true(json_object_get(json, "invert"));
  if (regex != NULL) return read_pattern(step, spec, regex);
  step->literal = json_string_value(literal);
  step->n_literal = json_string_length(literal);
  return step->literal != NULL && step->n_literal != 0 ? NK_OK : malformed(spec, "Split");
}

static int read_digits(struct nki_pretokenizer *p, const struct nki_spec *spec,
                       const json_t *json) {
  (void)spec;
  struct step *step = new_step(p);
  if (step == NULL) return NK_EMEMORY;
  step->is_match = nki_is_number;
  step->behavior = json_is_true(json_object_get(json, "individual_digits")) ? ISOLATED : CONTIGUOUS;
  return NK_OK;
}

static int read_punctuation(struct nki_pretokenizer *p, const struct nki_spec *spec,
                            const json_t *json) {
  const json_t *behavior = json_object_get(json, "behavior");
  struct step *step = new_step(p);
  if (step == NULL) return NK_EMEMORY;
  step->is_match = nki_is_punctuation;
  step->behavior = ISOLATED;
  return behavior != NULL ? read_behavior(spec, behavior, &step->behavior) : NK_OK;
}

static int read_whitespace_split(struct nki_pretokenizer *p, const struct nki_spec *spec,
                                 const json_t *json) {
  (void)spec, (void)json;
  struct step *step = new_step(p);
  if (step == NULL) return NK_EMEMORY;
  step->is_match = nki_is_space;
  step->behavior = REMOVED;
  return NK_OK;
}

static int read_bert(struct nki_pretokenizer *p, const struct nki_spec *spec, const json_t *json) {
  int code = read_whitespace_split(p, spec, json);
  struct step *step = code == NK_OK ? new_step(p) : NULL;
  if (step == NULL) return NK_EMEMORY;
  step->is_match = nki_is_punctuation;
  step->behavior = ISOLATED;
  return NK_OK;
}

/* Whitespace is the pattern \w+|[^\w\s]+, whose matches are kept; its \w is that of another engine
 * than Split's. */
static int read_whitespace(struct nki_pretokenizer *p, const struct nki_spec *spec,
                           const json_t *json) {
  (void)json;
  struct step *step = new_step(p);
  if (step == NULL) return NK_EMEMORY;
  step->behavior = REMOVED;
  step->invert = true;
#define WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}"
  return read_pattern(step, spec, "[" WORD "]+|[^" WORD "\\s]+");
}

static int read_metaspace(struct nki_pretokenizer *p, const struct nki_spec *spec,
                          const json_t *json) {
  const json_t *replacement = json_object_get(json, "replacement");
  const char *scheme = json_string_value(json_object_get(json, "prepend_scheme"));
  bool old_never = json_is_false(json_object_get(json, "add_prefix_space"));
  struct step *step = new_step(p);
  if (step == NULL) return NK_EMEMORY;
  step->kind = METASPACE;
  step->literal = json_string_value(replacement);
  step->n_literal = json_string_length(replacement);
  if (step->literal == NULL || step->n_literal == 0) return malformed(spec, "Metaspace");
  step->scheme = scheme != NULL && strcmp(scheme, "first") == 0                ? FIRST
                 : (scheme != NULL ? strcmp(scheme, "never") == 0 : old_never) ? NEVER
                                                                               : ALWAYS;
  if (scheme != NULL &&
      ((step->scheme == ALWAYS && strcmp(scheme, "always") != 0) ||
       (step->scheme != NEVER && old_never))) /* the old and the new form of the option disagree */
    return malformed(spec, "Metaspace");
  if (json_is_false(json_object_get(json, "split"))) return NK_OK;
  struct step *cut = new_step(p); /* may move step */
  if (cut == NULL) return NK_EMEMORY;
  cut->literal = json_string_value(replacement);
  cut->n_literal = json_string_length(replacement);
  cut->behavior = MERGED_WITH_NEXT;
  return NK_OK;
}

static int read_delimiter(struct nki_pretokenizer *p, const struct nki_spec *spec,
                          const json_t *json) {
  const json_t *delimiter = json_object_get(json, "delimiter");
  struct step *step = new_step(p);
  if (step == NULL) return NK_EMEMORY;
  step->literal = json_string_value(delimiter);
  step->n_literal = json_string_length(delimiter);
  step->behavior = REMOVED;
  return step->literal != NULL && step->n_literal != 0 ? NK_OK
                                                       : malformed(spec, "CharDelimiterSplit");
}

static const struct {
  const char *type;
  int (*read)(struct nki_pretokenizer *, const struct nki_spec *, const json_t *);
} readers[] = {
    {"ByteLevel", read_byte_level},  {"Split", read_split},
    {"Digits", read_digits},         {"Punctuation", read_punctuation},
    {"Whitespace", read_whitespace}, {"WhitespaceSplit", read_whitespace_split},
    {"Metaspace", read_metaspace},   {"CharDelimiterSplit", read_delimiter},
    {"BertPreTokenizer", read_bert},
};

static int read_step(struct nki_pretokenizer *p, const struct nki_spec *spec, const json_t *json) {
  const char *type = nki_spec_type(json);
  for (size_t i = 0; i < sizeof readers / sizeof *readers; i++)
    if (strcmp(type, readers[i].type) == 0) return readers[i].read(p, spec, json);
  char what[128];
  snprintf(what, sizeof what, "'%.100s'", type);
  return refuse(spec, what);
}

struct nki_pretokenizer *nki_pretokenizer_new(const struct nki_spec *spec) {
  json_t *json = json_object_get(spec->config, "pre_tokenizer");
  struct nki_pretokenizer *p = nk_calloc(1, sizeof *p);
  if (p == NULL) return NULL;
  p->json = json_incref(json);
  size_t n = nki_spec_steps(json);
  for (size_t i = 0; i < n; i++) {
    const json_t *step = nki_spec_step(json, i);
    if (read_step(p, spec, step) != NK_OK) goto fail;
  }
  return p;
fail:
  nki_pretokenizer_free(p);
  return NULL;
}

void nki_pretokenizer_free(struct nki_pretokenizer *pretokenizer) {
  if (pretokenizer == NULL) return;
  for (size_t i = 0; i < pretokenizer->n_steps; i++)
    nki_pattern_free(pretokenizer->step[i].pattern);
  json_decref(pretokenizer->json);
  nk_free(pretokenizer->step);
  nk_free(pretokenizer);
}

nki_split_fast *nki_pretokenizer_fast(const struct nki_pretokenizer *pretokenizer) {
  return pretokenizer->n_steps == 1 && pretokenizer->step[0].kind == SPLIT
             ? pretokenizer->step[0].fast
             : NULL;
}

void nki_splitting_free(struct nki_splitting *work) {
  for (int i = 0; i < 2; i++) {
    nk_buffer_free(&work->text[i]);
    nk_free(work->spans[i].span);
  }
}

/* ---- Splitting ---- */

static int add(struct nki_spans *spans, size_t begin, size_t end) {
  if (begin == end) return NK_OK;
  if (spans->n == spans->capacity) {
    size_t capacity = spans->capacity != 0 ? 2 * spans->capacity : 256;
    struct nki_span *grown = nk_realloc(spans->span, spans->n, capacity, sizeof *grown);
    if (grown == NULL) return NK_EMEMORY;
    spans->span = grown;
    spans->capacity = capacity;
  }
  spans->span[spans->n++] = (struct nki_span){begin, end};
  return NK_OK;
}

/* Makes new pieces of the matches of one piece and the stretches between them. A stretch is kept in
 * `held` while the next one may join it. */
struct cutter {
  enum behavior behavior;
  struct nki_spans *out;
  bool holds, held_match;
  struct nki_span held;
};

static int release(struct cutter *cutter) {
  if (!cutter->holds) return NK_OK;
  cutter->holds = false;
  return add(cutter->out, cutter->held.begin, cutter->held.end);
}

static int cut(struct cutter *cutter, size_t begin, size_t end, bool match) {
  if (cutter->behavior == REMOVED) return match ? NK_OK : add(cutter->out, begin, end);
  bool join =
      cutter->holds && (cutter->behavior == CONTIGUOUS             ? match == cutter->held_match
                        : cutter->behavior == MERGED_WITH_PREVIOUS ? match && !cutter->held_match
                        : cutter->behavior == MERGED_WITH_NEXT     ? !match && cutter->held_match
                                                                   : false);
  if (join) {
    cutter->held.end = end;
    if (cutter->behavior != CONTIGUOUS) return release(cutter);
    return NK_OK;
  }
  int code = release(cutter);
  cutter->holds = true;
  cutter->held_match = match;
  cutter->held = (struct nki_span){begin, end};
  return code;
}

/* The next match of the step at or after `from` in s[0..n): 1, 0 or negative. */
static int next_match(const struct step *step, struct nki_match *match, const char *s, size_t n,
                      size_t from, size_t *begin, size_t *end) {
  if (step->pattern != NULL) return nki_pattern_find(step->pattern, match, s, n, from, begin, end);
  if (step->literal != NULL) {
    const char *found = memmem(s + from, n - from, step->literal, step->n_literal);
    if (found == NULL) return 0;
    *begin = (size_t)(found - s);
    *end = *begin + step->n_literal;
    return 1;
  }
  for (size_t width; from < n; from += width)
    if (step->is_match(nki_utf8_decode(s + from, &width))) {
      *begin = from;
      *end = from + width;
      return 1;
    }
  return 0;
}

/* Splits the piece s[0..n), which begins at `base` in its text. */
static int split_piece(const struct step *step, struct nki_match *match, const char *s, size_t n,
                       size_t base, struct nki_spans *out) {
  struct cutter cutter = {.behavior = step->behavior, .out = out};
  size_t at = 0, done = 0, begin, end;
  int code = NK_OK;
  if (step->fast != NULL) {
    for (; at < n && code == NK_OK; at = end) {
      end = step->fast(s, n, at);
      code = add(out, base + at, base + end);
    }
    return code;
  }
  while (at <= n && (code = next_match(step, match, s, n, at, &begin, &end)) == 1) {
    code = begin > done ? cut(&cutter, base + done, base + begin, step->invert) : NK_OK;
    if (code == NK_OK && end > begin) code = cut(&cutter, base + begin, base + end, !step->invert);
    if (code != NK_OK) return code;
    done = end;
    at = end > begin ? end : end < n ? end + nki_utf8_width(s[end]) : n + 1;
  }
  if (code == NK_OK && done < n) code = cut(&cutter, base + done, base + n, step->invert);
  return code != NK_OK ? code : release(&cutter);
}

/* ---- Changing the text ---- */

/* ByteLevel's add_prefix_space: a space is put before a piece that does not begin with one. */
static void prefix_space(struct nk_buffer *out, const char *s, size_t n) {
  if (n > 0 && s[0] != ' ') nk_buffer_byte(out, ' ');
  nk_buffer_append(out, s, n);
}

/* Metaspace: spaces become marks, and one is put before the piece. first: the piece begins the
 * whole text. */
static void metaspace(const struct step *step, struct nk_buffer *out, const char *s, size_t n,
                      bool first) {
  bool marked = n > 0 && (s[0] == ' ' ||
                          (n >= step->n_literal && memcmp(s, step->literal, step->n_literal) == 0));
  if (!marked && (step->scheme == ALWAYS || (step->scheme == FIRST && first)))
    nk_buffer_append(out, step->literal, step->n_literal);
  const char *end = s + n, *space;
  while ((space = memchr(s, ' ', (size_t)(end - s))) != NULL) {
    nk_buffer_append(out, s, (size_t)(space - s));
    nk_buffer_append(out, step->literal, step->n_literal);
    s = space + 1;
  }
  nk_buffer_append(out, s, (size_t)(end - s));
}

/* ---- All steps ---- */

/* A step that splits each piece of s. */
static int run_split(const struct step *step, struct nki_match *match, const char *s,
                     const struct nki_spans *from, struct nki_spans *to) {
  int code = NK_OK;
  for (size_t i = 0; i < from->n && code == NK_OK; i++) {
    const struct nki_span *span = &from->span[i];
    code = split_piece(step, match, s + span->begin, span->end - span->begin, span->begin, to);
  }
  return code;
}

/* A step that writes each piece of s, changed, to text. */
static int run_change(const struct step *step, const char *s, bool at_start,
                      const struct nki_spans *from, struct nk_buffer *text, struct nki_spans *to) {
  int code = NK_OK;
  nk_buffer_clear(text);
  for (size_t i = 0; i < from->n && code == NK_OK; i++) {
    const struct nki_span *span = &from->span[i];
    size_t begin = text->size, n = span->end - span->begin;
    if (step->kind == ALPHABET)
      nki_byte_level_encode(s + span->begin, n, text);
    else if (step->kind == PREFIX_SPACE)
      prefix_space(text, s + span->begin, n);
    else
      metaspace(step, text, s + span->begin, n, at_start && span->begin == 0);
    code = add(to, begin, text->size);
  }
  return text->failed ? nk_fail(NK_EMEMORY, "out of memory for splitting") : code;
}

int nki_pretokenize(const struct nki_pretokenizer *pretokenizer, struct nki_splitting *work,
                    struct nki_match *match, const char *s, size_t n, bool at_start,
                    struct nki_split *out) {
  struct nki_spans *from = &work->spans[0], *to = &work->spans[1], *swap;
  size_t turn = 0;
  from->n = 0;
  int code = add(from, 0, n);
  for (size_t i = 0; i < pretokenizer->n_steps && code == NK_OK; i++) {
    const struct step *step = &pretokenizer->step[i];
    to->n = 0;
    if (step->kind == SPLIT) {
      code = run_split(step, match, s, from, to);
    } else {
      struct nk_buffer *text = &work->text[turn++ % 2];
      code = run_change(step, s, at_start, from, text, to);
      s = text->data != NULL ? text->data : "";
    }
    swap = from;
    from = to;
    to = swap;
  }
  *out = (struct nki_split){s, from->span, from->n};
  return code;
}
