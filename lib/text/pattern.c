/* Patterns through PCRE2. The two syntaxes agree on nearly all that tokenizers use; where they
 * do not, the pattern is rewritten:
 *
 *   Oniguruma          PCRE2
 *   \s \S              \p{White_Space} \P{White_Space}: PCRE2's \s matches U+180E too
 *   \w \W              Alphabetic, M, Nd, Pc: PCRE2's \w excludes the marks; outside a
 *                      set Oniguruma matches Latin-1's six other numbers too
 *   \h \H              hexadecimal digits
 *   \v                 U+000B
 *   (?m)               (?s); ^ and $ always match at lines
 *   {,n}               {0,n}
 *
 * The rest (sets within sets, &&, [:alpha:], {n,m}+, unknown escapes) is not supported. */
#include "text/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <noken/base.h>
#include <pcre2.h>
#include <stdbool.h>
#include <string.h>

struct nki_pattern {
  pcre2_code *code;
};

struct nki_match {
  pcre2_match_data *data;
};

/* ---- Translating ---- */

#define WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"
#define LATIN_NUMBERS "\\x{B2}\\x{B3}\\x{B9}\\x{BC}-\\x{BE}"
#define HEX "0-9A-Fa-f"

struct translation {
  const char *at;
  struct nk_buffer out;
  const char *refused; /* the part that is not supported, or NULL */
};

/* \uHHHH, t->at at the u. */
static void unicode_escape(struct translation *t) {
  size_t digits = strspn(t->at + 1, "0123456789abcdefABCDEF");
  if (digits < 4) {
    t->refused = "\\u without four digits";
    return;
  }
  nk_buffer_printf(&t->out, "\\x{%.4s}", t->at + 1);
  t->at += 5;
}

/* An escape, t->at at the character after the backslash; in_class: between [ and ]. */
static void escape(struct translation *t, bool in_class) {
  static const char same[] = "dDpPnrtfaezAZGbBRXx0123456789k";
  char c = *t->at;
  const char *replacement = c == 's'                ? "\\p{White_Space}"
                            : c == 'S'              ? "\\P{White_Space}"
                            : c == 'v'              ? "\\x0B"
                            : c == 'w'              ? (in_class ? WORD : "[" WORD LATIN_NUMBERS "]")
                            : c == 'h'              ? (in_class ? HEX : "[" HEX "]")
                            : c == 'W' && !in_class ? "[^" WORD LATIN_NUMBERS "]"
                            : c == 'H' && !in_class ? "[^" HEX "]"
                                                    : NULL;
  if (replacement != NULL) {
    nk_buffer_text(&t->out, replacement);
    t->at++;
  } else if (c == 'u') {
    unicode_escape(t);
  } else if (c == 0) {
    t->refused = "a backslash at the end";
  } else if ((c == 'p' || c == 'P' || c == 'x') && t->at[1] == '{') {
    const char *end = strchr(t->at, '}');
    if (end == NULL) {
      t->refused = "an escape without its }";
      return;
    }
    nk_buffer_byte(&t->out, '\\');
    nk_buffer_append(&t->out, t->at, (size_t)(end + 1 - t->at));
    t->at = end + 1;
  } else if (((c | 0x20) >= 'a' && (c | 0x20) <= 'z' && strchr(same, c) == NULL) ||
             (c == 'x' && t->at[1] >= '8')) {
    t->refused = "an escape that the two syntaxes read differently";
  } else {
    size_t n = 1; /* of \p{L}, \x{20AC}, \k{name} the braces too, which are no interval */
    if (strchr("pPxk", c) != NULL && t->at[1] == '{') n += strcspn(t->at + 1, "}");
    if (n > 1 && t->at[n] == '}') n++;
    nk_buffer_byte(&t->out, '\\');
    nk_buffer_append(&t->out, t->at, n);
    t->at += n;
  }
}

/* A set, t->at at its [. */
static void set(struct translation *t) {
  nk_buffer_byte(&t->out, *t->at++);
  if (*t->at == '^') nk_buffer_byte(&t->out, *t->at++);
  if (*t->at == ']') {
    nk_buffer_text(&t->out, "\\]");
    t->at++;
  }
  while (t->refused == NULL && *t->at != ']') {
    if (*t->at == 0)
      t->refused = "a set without its ]";
    else if (*t->at == '[')
      t->refused = t->at[1] == ':' ? "[:name:]" : "a set within a set";
    else if (t->at[0] == '&' && t->at[1] == '&')
      t->refused = "&& in a set";
    else if (*t->at == '\\') {
      t->at++;
      escape(t, true);
    } else
      nk_buffer_byte(&t->out, *t->at++);
  }
  if (t->refused == NULL) nk_buffer_byte(&t->out, *t->at++);
}

/* A parenthesis, t->at at it; options among its first characters are renamed. */
static void group(struct translation *t) {
  nk_buffer_byte(&t->out, *t->at++);
  if (*t->at != '?') return;
  nk_buffer_byte(&t->out, *t->at++);
  if (*t->at == '~' || *t->at == '#' || *t->at == '(') {
    t->refused = "(?~, (?# or (?(";
    return;
  }
  for (; *t->at != 0 && strchr("imx-", *t->at) != NULL; t->at++) {
    if (*t->at == 'x') t->refused = "the option x";
    nk_buffer_byte(&t->out, *t->at == 'm' ? 's' : *t->at);
  }
}

/* {n,m} and similar, t->at at the {; a { that opens no interval is literal. */
static void interval(struct translation *t) {
  const char *first = t->at + 1;
  size_t low = strspn(first, "0123456789"), high = 0;
  const char *end = first + low;
  if (*end == ',') {
    high = strspn(end + 1, "0123456789");
    end += 1 + high;
  }
  if (*end != '}' || low + high == 0) {
    nk_buffer_text(&t->out, "\\{");
    t->at++;
    return;
  }
  if (end[1] == '+') t->refused = "{n,m}+";
  nk_buffer_text(&t->out, low != 0 ? "{" : "{0");
  nk_buffer_append(&t->out, first, (size_t)(end + 1 - first));
  t->at = end + 1;
}

static void translate(struct translation *t) {
  while (t->refused == NULL && *t->at != 0) {
    if (*t->at == '\\') {
      t->at++;
      escape(t, false);
    } else if (*t->at == '[')
      set(t);
    else if (*t->at == '(')
      group(t);
    else if (*t->at == '{')
      interval(t);
    else
      nk_buffer_byte(&t->out, *t->at++);
  }
}

/* ---- Compiling and matching ---- */

struct nki_pattern *nki_pattern_new(const char *name, const char *regex) {
  struct nki_pattern *pattern = NULL;
  struct translation t = {.at = regex};
  int error;
  size_t place;
  translate(&t);
  if (t.refused != NULL) {
    nk_fail(NK_EUNSUPPORTED, "%s: pattern '%s': %s is not supported", name, regex, t.refused);
    goto done;
  }
  pattern = nk_calloc(1, sizeof *pattern);
  if (pattern == NULL || t.out.failed) {
    nk_fail(NK_EMEMORY, "%s: out of memory", name);
    goto done;
  }
  pattern->code = pcre2_compile((PCRE2_SPTR)(t.out.data != NULL ? t.out.data : ""), t.out.size,
                                PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                                &error, &place, NULL);
  if (pattern->code == NULL) {
    char message[128] = "";
    pcre2_get_error_message(error, (PCRE2_UCHAR *)message, sizeof message);
    nk_fail(NK_EUNSUPPORTED, "%s: pattern '%s': %s", name, regex, message);
    nki_pattern_free(pattern);
    pattern = NULL;
    goto done;
  }
  pcre2_jit_compile(pattern->code, PCRE2_JIT_COMPLETE); /* may fail: matching is then slower */
done:
  nk_buffer_free(&t.out);
  return pattern;
}

void nki_pattern_free(struct nki_pattern *pattern) {
  if (pattern == NULL) return;
  pcre2_code_free(pattern->code);
  nk_free(pattern);
}

struct nki_match *nki_match_new(void) {
  struct nki_match *match = nk_calloc(1, sizeof *match);
  if (match == NULL) return NULL;
  match->data = pcre2_match_data_create(1, NULL);
  if (match->data != NULL) return match;
  nk_fail(NK_EMEMORY, "out of memory for matching");
  nk_free(match);
  return NULL;
}

void nki_match_free(struct nki_match *match) {
  if (match == NULL) return;
  pcre2_match_data_free(match->data);
  nk_free(match);
}

int nki_pattern_find(const struct nki_pattern *pattern, struct nki_match *match, const char *s,
                     size_t n, size_t from, size_t *begin, size_t *end) {
  int found =
      pcre2_match(pattern->code, (PCRE2_SPTR)s, n, from, PCRE2_NO_UTF_CHECK, match->data, NULL);
  if (found == PCRE2_ERROR_JIT_STACKLIMIT) /* the interpreter's stack is on the heap */
    found = pcre2_match(pattern->code, (PCRE2_SPTR)s, n, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                        match->data, NULL);
  if (found == PCRE2_ERROR_NOMATCH) return 0;
  if (found < 0) {
    char message[128] = "";
    pcre2_get_error_message(found, (PCRE2_UCHAR *)message, sizeof message);
    return nk_fail(NK_EDATA, "matching the tokenizer's pattern: %s", message);
  }
  const size_t *place = pcre2_get_ovector_pointer(match->data);
  *begin = place[0];
  *end = place[1] < place[0] ? place[0] : place[1]; /* \K is not supported */
  return 1;
}
