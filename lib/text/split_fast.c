/* Hand-written matchers for three patterns that most byte-level models share. Each alternative of a
 * pattern is an `if`, in the pattern's order. */
#include "text/split_fast.h"

#include <stdbool.h>
#include <string.h>

#include "base/utf8.h"
#include "text/chars.h"
#include "text/patterns.h"

static inline enum nki_kind kind_at(const char *s, size_t at, size_t *width) {
  unsigned char c = (unsigned char)s[at];
  if (c < 0x80) {
    *width = 1;
    return (enum nki_kind)nki_ascii_kind[c];
  }
  return nki_kind_of_code(nki_utf8_decode(s + at, width));
}

/* The end of the run of characters of one kind from `at`, at most `limit` of them. */
static inline size_t run(const char *s, size_t n, size_t at, enum nki_kind kind, size_t limit) {
  size_t width;
  for (; at < n && limit > 0 && kind_at(s, at, &width) == kind; limit--) at += width;
  return at;
}

/* \s+(?!\S)|\s+ at a white-space character: the run, without its last character where other
 * text follows. */
static size_t spaces(const char *s, size_t n, size_t at, size_t end) {
  if (end == n) return end;
  size_t last = nki_utf8_before(s, end);
  return last > at ? last : end;
}

/* 's|'t|'re|'ve|'m|'ll|'d after an apostrophe at s[at]; 0 when it is none of them. `fold` ignores
 * case, by which U+017F is an s too. */
static size_t contraction(const char *s, size_t n, size_t at, bool fold) {
  char a = at + 1 < n ? s[at + 1] : 0, b = at + 2 < n ? s[at + 2] : 0;
  if (fold && a == '\xC5' && b == '\xBF') return at + 3;
  if (fold) {
    if (a >= 'A' && a <= 'Z') a = (char)(a | 0x20);
    if (b >= 'A' && b <= 'Z') b = (char)(b | 0x20);
  }
  if (a == 's' || a == 't' || a == 'm' || a == 'd') return at + 2;
  if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return at + 3;
  return 0;
}

static size_t gpt2(const char *s, size_t n, size_t at) {
  if (s[at] == '\'') {
    size_t end = contraction(s, n, at, false);
    if (end != 0) return end;
  }
  size_t word = at + (s[at] == ' '), width;
  if (word < n) {
    enum nki_kind kind = kind_at(s, word, &width);
    if (kind != NKI_SPACE) return run(s, n, word + width, kind, n);
  }
  return spaces(s, n, at, run(s, n, at, NKI_SPACE, n));
}

static inline bool is_newline(char c) {
  return c == '\r' || c == '\n';
}

/* Llama 3's and Qwen 2's, which differ in the largest number of digits in a piece. */
static inline size_t llama3(const char *s, size_t n, size_t at, size_t max_digits) {
  if (s[at] == '\'') { /* (?i:'s|'t|...) */
    size_t end = contraction(s, n, at, true);
    if (end != 0) return end;
  }
  size_t width, next_width = 0;
  enum nki_kind kind = kind_at(s, at, &width);
  if (kind == NKI_LETTER) return run(s, n, at + width, NKI_LETTER, n);
  if (kind != NKI_NUMBER && !is_newline(s[at]) && at + width < n && /* [^\r\n\p{L}\p{N}]\p{L}+ */
      kind_at(s, at + width, &next_width) == NKI_LETTER)
    return run(s, n, at + width + next_width, NKI_LETTER, n);
  if (kind == NKI_NUMBER) return run(s, n, at + width, NKI_NUMBER, max_digits - 1);
  size_t other = at + (s[at] == ' '); /*  ?[^\s\p{L}\p{N}]+[\r\n]* */
  if (other < n && kind_at(s, other, &width) == NKI_OTHER) {
    size_t end = run(s, n, other + width, NKI_OTHER, n);
    while (end < n && is_newline(s[end])) end++;
    return end;
  }
  size_t end = run(s, n, at, NKI_SPACE, n); /* \s*[\r\n]+: to the run's last line break */
  for (size_t last = end; last > at; last--)
    if (is_newline(s[last - 1])) return last;
  return spaces(s, n, at, end);
}

static size_t llama3_split(const char *s, size_t n, size_t at) {
  return llama3(s, n, at, 3);
}

static size_t qwen2_split(const char *s, size_t n, size_t at) {
  return llama3(s, n, at, 1);
}

nki_split_fast *nki_split_fast_of(const char *pattern) {
  static const struct {
    const char *pattern;
    nki_split_fast *split;
  } known[] = {
      {NKI_PATTERN_GPT2, gpt2},
      {NKI_PATTERN_LLAMA3, llama3_split},
      {NKI_PATTERN_QWEN2, qwen2_split},
  };
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (strcmp(pattern, known[i].pattern) == 0) return known[i].split;
  return NULL;
}
