/* Patterns through PCRE2. The two syntaxes agree on nearly all that tokenizers use; where they do
 * not, the pattern is rewritten:
 *
 *   Oniguruma          PCRE2
 *   \s \S              \p{White_Space}: PCRE2's \s matches U+180E too
 *   \w \W              Alphabetic, M, Nd, Pc: PCRE2's \w excludes the marks; outside a
 *                      set Oniguruma matches Latin-1's six other numbers too
 *   \b \B              between \w and not \w
 *   \h \H              hexadecimal digits
 *   \v                 U+000B
 *   \p{L}              with the letters that are newer than PCRE2's Unicode
 *   [a[b]] [^a[b]]     (?:[a]|[b]) (?:(?!(?:[a]|[b]))[\x{0}-\x{10FFFF}])
 *   [a&&b]             (?:(?=[b])[a])
 *   [:alpha:]          \p{Alphabetic}, and so on
 *   (?m)               (?s); ^ and $ always match at lines
 *   {,n} {n,m}+        {0,n} (?:{n,m})+: only ?+, ++ and *+ are possessive
 *
 * The rest ((?~, unknown escapes) is not supported. */
#include "text/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <noken/base.h>
#include <pcre2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "text/chars.h"

struct nki_pattern {
  pcre2_code *code;
};

struct nki_match {
  pcre2_match_data *data;
};

/* ---- Classes of characters ---- */

#define LATIN_NUMBERS "\\x{B2}\\x{B3}\\x{B9}\\x{BC}-\\x{BE}"
#define ANY "[\\x{0}-\\x{10FFFF}]"

enum {
  LETTERS = 1 << NKI_LU | 1 << NKI_LL | 1 << NKI_LT | 1 << NKI_LM | 1 << NKI_LO,
  MARKS = 1 << NKI_MN | 1 << NKI_MC | 1 << NKI_ME,
  NUMBERS = 1 << NKI_ND | 1 << NKI_NL | 1 << NKI_NO,
  PUNCTUATION = 1 << NKI_PC | 1 << NKI_PD | 1 << NKI_PS | 1 << NKI_PE | 1 << NKI_PI | 1 << NKI_PF |
                1 << NKI_PO,
  SYMBOLS = 1 << NKI_SM | 1 << NKI_SC | 1 << NKI_SK | 1 << NKI_SO,
  HAN = 1 << 30, /* not a category: letters of the Han script */
  ALPHABETIC = LETTERS | 1 << NKI_NL | 1 << NKI_MC,
  WORD = LETTERS | MARKS | 1 << NKI_NL | 1 << NKI_ND | 1 << NKI_PC,
};

/* A property: its name in a pattern, in PCRE2 between [ and ], and the categories whose newer
 * characters belong to it. */
static const struct class {
  const char *name, *text;
  int categories;
} classes[] = {
    {"L", "\\p{L}", LETTERS},
    {"Letter", "\\p{L}", LETTERS},
    {"L&", "\\p{L&}", 1 << NKI_LU | 1 << NKI_LL | 1 << NKI_LT},
    {"Lu", "\\p{Lu}", 1 << NKI_LU},
    {"Ll", "\\p{Ll}", 1 << NKI_LL},
    {"Lt", "\\p{Lt}", 1 << NKI_LT},
    {"Lm", "\\p{Lm}", 1 << NKI_LM},
    {"Lo", "\\p{Lo}", 1 << NKI_LO},
    {"Uppercase_Letter", "\\p{Lu}", 1 << NKI_LU},
    {"Lowercase_Letter", "\\p{Ll}", 1 << NKI_LL},
    {"M", "\\p{M}", MARKS},
    {"Mark", "\\p{M}", MARKS},
    {"Mn", "\\p{Mn}", 1 << NKI_MN},
    {"Mc", "\\p{Mc}", 1 << NKI_MC},
    {"Me", "\\p{Me}", 1 << NKI_ME},
    {"N", "\\p{N}", NUMBERS},
    {"Number", "\\p{N}", NUMBERS},
    {"Nd", "\\p{Nd}", 1 << NKI_ND},
    {"Nl", "\\p{Nl}", 1 << NKI_NL},
    {"No", "\\p{No}", 1 << NKI_NO},
    {"P", "\\p{P}", PUNCTUATION},
    {"Punctuation", "\\p{P}", PUNCTUATION},
    {"Pc", "\\p{Pc}", 1 << NKI_PC},
    {"Pd", "\\p{Pd}", 1 << NKI_PD},
    {"Ps", "\\p{Ps}", 1 << NKI_PS},
    {"Pe", "\\p{Pe}", 1 << NKI_PE},
    {"Pi", "\\p{Pi}", 1 << NKI_PI},
    {"Pf", "\\p{Pf}", 1 << NKI_PF},
    {"Po", "\\p{Po}", 1 << NKI_PO},
    {"S", "\\p{S}", SYMBOLS},
    {"Symbol", "\\p{S}", SYMBOLS},
    {"Sm", "\\p{Sm}", 1 << NKI_SM},
    {"Sc", "\\p{Sc}", 1 << NKI_SC},
    {"Sk", "\\p{Sk}", 1 << NKI_SK},
    {"So", "\\p{So}", 1 << NKI_SO},
    {"Han", "\\p{sc:Han}", HAN},
    {"Alphabetic", "\\p{Alphabetic}", ALPHABETIC},
    {"alpha", "\\p{Alphabetic}", ALPHABETIC},
    {"digit", "\\p{Nd}", 1 << NKI_ND},
    {"alnum", "\\p{Alphabetic}\\p{Nd}", ALPHABETIC | 1 << NKI_ND},
    {"upper", "\\p{Uppercase}", 1 << NKI_LU},
    {"lower", "\\p{Lowercase}", 1 << NKI_LL},
    {"punct", "\\p{P}\\p{S}", PUNCTUATION | SYMBOLS},
    {"space", "\\p{White_Space}", 0},
    {"White_Space", "\\p{White_Space}", 0},
    {"xdigit", "0-9A-Fa-f", 0},
    {"cntrl", "\\p{Cc}", 0},
    {"word", "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}", WORD},
};

static const struct class *class_of(const char *name, size_t n) {
  for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
    if (strlen(classes[i].name) == n && strncasecmp(classes[i].name, name, n) == 0)
      return &classes[i];
  return NULL;
}

/* The version of PCRE2's Unicode as 100 major + minor. */
static int pcre2_unicode(void) {
  char text[64] = "";
  if (pcre2_config(PCRE2_CONFIG_UNICODE_VERSION, text) < 0) return 1400;
  char *rest = text;
  long major = strtol(text, &rest, 10);
  return (int)(100 * major + (*rest == '.' ? strtol(rest + 1, NULL, 10) : 0));
}

/* Appends the characters of these categories that PCRE2 does not know. */
static void append_newer(struct nk_buffer *out, int categories) {
  int version = pcre2_unicode();
  for (size_t i = 0; i < nki_unicode_n_newer; i++) {
    const struct nki_unicode_newer *newer = &nki_unicode_newer[i];
    bool is_han = newer->first >= 0x20000 || (newer->first >= 0x4E00 && newer->first <= 0x9FFF);
    int category = 1 << nki_category(newer->first) | (is_han ? HAN : 0);
    if (newer->version <= version || (category & categories) == 0) continue;
    nk_buffer_printf(out, "\\x{%X}-\\x{%X}", (unsigned)newer->first, (unsigned)newer->last);
  }
}

static void append_class(struct nk_buffer *out, const struct class *class) {
  nk_buffer_text(out, class->text);
  append_newer(out, class->categories);
}

/* Appends a class by itself, or what is not of it, with Latin-1's other numbers for \w. */
static void append_alone(struct nk_buffer *out, const struct class *class, bool negated) {
  nk_buffer_text(out, negated ? "[^" : "[");
  append_class(out, class);
  if (class->categories == WORD) nk_buffer_text(out, LATIN_NUMBERS);
  nk_buffer_byte(out, ']');
}

/* ---- Translating ---- */

enum { MAX_DEPTH = 64 };

struct translation {
  const char *at;
  struct nk_buffer out;
  const char *refused;     /* the part that is not supported, or NULL */
  size_t atom;             /* where in out the last atom begins, which an interval repeats */
  size_t group[MAX_DEPTH]; /* [depth] where in out the open groups begin */
  size_t depth;
};

/* \uHHHH, t->at at the u. */
static void unicode_escape(struct translation *t, struct nk_buffer *out) {
  size_t digits = strspn(t->at + 1, "0123456789abcdefABCDEF");
  if (digits < 4) {
    t->refused = "\\u without four digits";
    return;
  }
  nk_buffer_printf(out, "\\x{%.4s}", t->at + 1);
  t->at += 5;
}

/* The class that an escape names, t->at at the character after the backslash, which is then passed;
 * NULL, with t->at unchanged, when it names none that is rewritten. */
static const struct class *class_escape(struct translation *t, bool *negated) {
  static const char letters[] = "swdh", *const names[] = {"space", "word", "digit", "xdigit"};
  char c = *t->at, lower = (char)(c | 0x20);
  const char *letter = c != 0 ? strchr(letters, lower) : NULL;
  *negated = c >= 'A' && c <= 'Z';
  if (letter != NULL && ((c >= 'a' && c <= 'z') || *negated)) {
    const char *name = names[letter - letters];
    t->at++;
    return class_of(name, strlen(name));
  }
  if (lower != 'p') return NULL;
  const char *name = t->at + 1;
  size_t n = 1, end = 2;
  if (*name == '{') {
    name++;
    if (*name == '^') {
      *negated = !*negated;
      name++;
    }
    n = strcspn(name, "}");
    if (name[n] == 0) return NULL;
    end = (size_t)(name + n + 1 - t->at);
  } else if (*name == 0) {
    return NULL;
  }
  const struct class *class = class_of(name, n);
  if (class != NULL) t->at += end;
  return class;
}

/* Whether name..end is a script, for which PCRE2 has to be told not to use Script_Extensions. */
static bool is_script(const char *name, const char *end) {
  char pattern[64];
  int error;
  size_t place;
  if (end - name > 32) return false;
  snprintf(pattern, sizeof pattern, "\\p{sc:%.*s}", (int)(end - name), name);
  pcre2_code *code =
      pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF, &error, &place, NULL);
  pcre2_code_free(code);
  return code != NULL;
}

/* An escape of a character or of what PCRE2 reads in the same way, t->at after the backslash. */
static void escape(struct translation *t, struct nk_buffer *out) {
  static const char same[] = "pPnrtfaezAZGRXx0123456789k";
  char c = *t->at;
  if (c == 'v') {
    nk_buffer_text(out, "\\x0B");
    t->at++;
  } else if (c == 'u') {
    unicode_escape(t, out);
  } else if (c == 0) {
    t->refused = "a backslash at the end";
  } else if ((c == 'p' || c == 'P' || c == 'x') && t->at[1] == '{') {
    const char *name = t->at + 2, *end = strchr(t->at, '}');
    if (end == NULL) {
      t->refused = "an escape without its }";
      return;
    }
    nk_buffer_printf(out, "\\%c{%s%.*s}", c, c != 'x' && is_script(name, end) ? "sc:" : "",
                     (int)(end - name), name);
    t->at = end + 1;
  } else if (((c | 0x20) >= 'a' && (c | 0x20) <= 'z' && strchr(same, c) == NULL) ||
             (c == 'x' && t->at[1] >= '8')) {
    t->refused = "an escape that the two syntaxes read differently";
  } else {
    size_t n = 1; /* of \k{name} the braces too, which are no interval */
    if (c == 'k' && t->at[1] == '{') n += strcspn(t->at + 1, "}");
    if (n > 1 && t->at[n] == '}') n++;
    nk_buffer_byte(out, '\\');
    nk_buffer_append(out, t->at, n);
    t->at += n;
  }
}

/* \b, \B: a place between a word character and none, or the other places. */
static void boundary(struct nk_buffer *out, bool negated) {
  const struct class *word = class_of("word", 4);
  static const char *const parts[2][4] = {{"(?:(?<=", ")(?!", ")|(?<!", ")(?="},
                                          {"(?:(?<=", ")(?=", ")|(?<!", ")(?!"}};
  for (int i = 0; i < 4; i++) {
    nk_buffer_text(out, parts[negated][i]);
    append_alone(out, word, false);
  }
  nk_buffer_text(out, "))");
}

/* ---- Sets ---- */

/* A part of a set between && and &&: what PCRE2 reads within [ ], and atoms beside that. */
struct operand {
  struct nk_buffer simple, atoms; /* atoms: each with a | before it */
};

static void set(struct translation *t, struct nk_buffer *out, int depth);

static void add_class(struct operand *o, const struct class *class, bool negated) {
  if (!negated) {
    append_class(&o->simple, class);
    return;
  }
  nk_buffer_text(&o->atoms, "|[^");
  append_class(&o->atoms, class);
  nk_buffer_byte(&o->atoms, ']');
}

/* [:alpha:] and its kind, t->at at the [; false when it is none. */
static bool posix_class(struct translation *t, struct operand *o) {
  if (t->at[1] != ':') return false;
  bool negated = t->at[2] == '^';
  const char *name = t->at + 2 + negated, *end = strstr(name, ":]");
  const struct class *class = end != NULL ? class_of(name, (size_t)(end - name)) : NULL;
  if (class == NULL) return false;
  add_class(o, class, negated);
  t->at = end + 2;
  return true;
}

/* One item of a set, t->at at it. */
static void set_item(struct translation *t, struct operand *o, int depth) {
  bool negated;
  if (*t->at == '[') {
    if (posix_class(t, o)) return;
    nk_buffer_byte(&o->atoms, '|');
    set(t, &o->atoms, depth - 1);
  } else if (*t->at == '\\') {
    t->at++;
    const struct class *class = class_escape(t, &negated);
    if (class != NULL) {
      add_class(o, class, negated);
    } else if (*t->at == 'b') { /* a backspace within a set */
      nk_buffer_text(&o->simple, "\\x08");
      t->at++;
    } else {
      escape(t, &o->simple);
    }
  } else {
    nk_buffer_byte(&o->simple, *t->at++);
  }
}

/* Appends an operand as one atom. */
static void append_operand(struct nk_buffer *out, const struct operand *o) {
  bool has_simple = o->simple.size != 0, has_atoms = o->atoms.size != 0;
  if (!has_simple && !has_atoms) {
    nk_buffer_text(out, "(?!)");
    return;
  }
  if (has_atoms) nk_buffer_text(out, "(?:");
  if (has_simple) {
    nk_buffer_byte(out, '[');
    nk_buffer_append(out, o->simple.data, o->simple.size);
    nk_buffer_byte(out, ']');
  }
  size_t skip = has_simple ? 0 : 1;
  if (has_atoms) nk_buffer_append(out, o->atoms.data + skip, o->atoms.size - skip);
  if (has_atoms) nk_buffer_byte(out, ')');
}

static void operand_free(struct operand *o) {
  nk_buffer_free(&o->simple);
  nk_buffer_free(&o->atoms);
}

/* A set, t->at at its [, as one atom. */
static void set(struct translation *t, struct nk_buffer *out, int depth) {
  struct operand o = {0};
  struct nk_buffer others = {0}; /* the operands before the last one, as lookaheads */
  bool negated = t->at[1] == '^';
  t->at += 1 + negated;
  if (depth == 0) t->refused = "a set within so many sets";
  if (*t->at == ']') {
    nk_buffer_text(&o.simple, "\\]");
    t->at++;
  }
  while (t->refused == NULL && *t->at != ']') {
    if (*t->at == 0) {
      t->refused = "a set without its ]";
    } else if (t->at[0] == '&' && t->at[1] == '&') {
      nk_buffer_text(&others, "(?=");
      append_operand(&others, &o);
      nk_buffer_byte(&others, ')');
      operand_free(&o);
      o = (struct operand){0};
      t->at += 2;
    } else {
      set_item(t, &o, depth);
    }
  }
  if (t->refused == NULL) t->at++;
  if (negated && others.size == 0 && o.atoms.size == 0) {
    nk_buffer_text(out, "[^");
    nk_buffer_append(out, o.simple.data, o.simple.size);
    nk_buffer_byte(out, ']');
  } else {
    if (negated) nk_buffer_text(out, "(?:(?!");
    if (others.size != 0) nk_buffer_text(out, "(?:");
    nk_buffer_append(out, others.data, others.size);
    append_operand(out, &o);
    if (others.size != 0) nk_buffer_byte(out, ')');
    if (negated) nk_buffer_text(out, ")" ANY ")");
  }
  out->failed |= o.simple.failed || o.atoms.failed || others.failed;
  operand_free(&o);
  nk_buffer_free(&others);
}

/* ---- The rest ---- */

/* A parenthesis, t->at at it; options among its first characters are renamed. */
static void group(struct translation *t) {
  if (t->depth == MAX_DEPTH) {
    t->refused = "a group within so many groups";
    return;
  }
  t->group[t->depth++] = t->out.size;
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
    t->atom = t->out.size;
    nk_buffer_text(&t->out, "\\{");
    t->at++;
    return;
  }
  bool again = end[1] == '+'; /* the interval itself is repeated */
  if (again) {
    size_t n = t->out.size - t->atom;
    nk_buffer_text(&t->out, "(?:");
    if (t->out.failed) return;
    memmove(t->out.data + t->atom + 3, t->out.data + t->atom, n);
    memcpy(t->out.data + t->atom, "(?:", 3);
  }
  nk_buffer_text(&t->out, low != 0 ? "{" : "{0");
  nk_buffer_append(&t->out, first, (size_t)(end + 1 - first));
  if (again) nk_buffer_text(&t->out, ")+");
  t->at = end + 1 + again;
}

/* An escape outside of a set. */
static void escape_outside(struct translation *t) {
  bool negated;
  t->atom = t->out.size;
  t->at++;
  const struct class *class = class_escape(t, &negated);
  if (class != NULL) {
    append_alone(&t->out, class, negated);
  } else if (*t->at == 'b' || *t->at == 'B') {
    boundary(&t->out, *t->at == 'B');
    t->at++;
  } else {
    escape(t, &t->out);
  }
}

static void translate(struct translation *t) {
  while (t->refused == NULL && *t->at != 0) {
    if (*t->at == '\\') {
      escape_outside(t);
    } else if (*t->at == '[') {
      t->atom = t->out.size;
      set(t, &t->out, MAX_DEPTH);
    } else if (*t->at == '(') {
      group(t);
    } else if (*t->at == '{') {
      interval(t);
    } else {
      if (*t->at == ')')
        t->atom = t->depth > 0 ? t->group[--t->depth] : t->out.size;
      else if (strchr("*+?|", *t->at) == NULL && ((unsigned char)*t->at & 0xC0) != 0x80)
        t->atom = t->out.size;
      nk_buffer_byte(&t->out, *t->at++);
    }
  }
}

/* ---- Compiling and matching ---- */

struct nki_pattern *nki_pattern_new(const char *name, const char *regex) {
  struct nki_pattern *pattern = NULL;
  struct translation t = {.at = regex};
  int error;
  size_t place;
  nki_chars_begin();
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
