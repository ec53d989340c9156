/* The hand-written split functions against their patterns, matched by PCRE2. */
#include "base/random.h"
#include "base/utf8.h"
#include "text/chars.h"
#include "text/pattern.h"
#include "text/patterns.h"
#include "text/split_fast.h"
#include "text_files.h"

static const char *const patterns[] = {NKI_PATTERN_GPT2, NKI_PATTERN_LLAMA3, NKI_PATTERN_QWEN2};
enum { N_PATTERNS = sizeof patterns / sizeof *patterns };

static struct nki_pattern *compiled[N_PATTERNS];
static struct nki_match *match;

static int set_up(void **state) {
  (void)state;
  match = nki_match_new();
  for (int i = 0; i < N_PATTERNS; i++) compiled[i] = nki_pattern_new("test", patterns[i]);
  return match != NULL && compiled[0] != NULL && compiled[1] != NULL && compiled[2] != NULL ? 0
                                                                                            : -1;
}

static int tear_down(void **state) {
  (void)state;
  nki_match_free(match);
  for (int i = 0; i < N_PATTERNS; i++) nki_pattern_free(compiled[i]);
  return 0;
}

/* Fails unless both cut s[0..n) at the same places. */
static void compare(int which, const char *s, size_t n) {
  nki_split_fast *fast = nki_split_fast_of(patterns[which]);
  assert_non_null(fast);
  for (size_t at = 0, begin, end; at < n; at = end) {
    assert_int_equal(nki_pattern_find(compiled[which], match, s, n, at, &begin, &end), 1);
    assert_int_equal(begin, at);
    size_t got = fast(s, n, at);
    if (got == end) continue;
    struct nk_buffer text = {0};
    nk_escape(&text, s, n);
    fail_msg("pattern %d, '%s': from byte %zu to %zu, not %zu", which, text.data, at, got, end);
  }
}

/* The pattern engine's kind of a character, by the classes of the patterns themselves. */
static int engine_kind(struct nki_pattern *const class[3], const char *s, size_t n) {
  size_t begin, end;
  for (int i = 0; i < 3; i++)
    if (nki_pattern_find(class[i], match, s, n, 0, &begin, &end) == 1) return i + 1;
  return 0;
}

/* Every code point between others, and its kind: the patterns know the characters that PCRE2 does
 * not. Categories that changed after PCRE2's version of Unicode are few. */
static void every_code_point_is_split_as_by_the_pattern(void **state) {
  (void)state;
  struct nki_pattern *class[3] = {nki_pattern_new("test", "\\p{L}"),
                                  nki_pattern_new("test", "\\p{N}"),
                                  nki_pattern_new("test", "\\s")};
  size_t disagree = 0;
  for (uint32_t code = 0x80; code < 0x110000; code++) {
    if (code >= 0xD800 && code < 0xE000) continue;
    char s[4];
    size_t n = nki_utf8_encode(code, s);
    if ((int)nki_kind(code) != engine_kind(class, s, n)) {
      disagree++;
      continue;
    }
    char text[64];
    int length = snprintf(text, sizeof text, "a%.*s%.*sb %.*s1%.*s ' %.*s\n", (int)n, s, (int)n, s,
                          (int)n, s, (int)n, s, (int)n, s);
    if (code % 7 == 0 || code < 0x3100) /* a seventh of the rest, for time */
      for (int i = 0; i < N_PATTERNS; i++) compare(i, text, (size_t)length);
  }
  assert_true(disagree <= 8);
  for (int i = 0; i < 3; i++) nki_pattern_free(class[i]);
}

static void random_texts_are_split_as_by_the_pattern(void **state) {
  (void)state;
  static const char *const parts[] = {" ",
                                      "  ",
                                      "\n",
                                      "\r",
                                      "\r\n",
                                      "\t",
                                      "\xC2\xA0",
                                      "\xE2\x80\x83",
                                      "a",
                                      "Z",
                                      "the",
                                      "\xC3\xA9",
                                      "1",
                                      "23",
                                      "\xC2\xB2",
                                      "\xD9\xA3",
                                      "'",
                                      "'s",
                                      "'S",
                                      "'\xC5\xBF",
                                      "'ll",
                                      "'LL",
                                      "'lL",
                                      "'re",
                                      "'rE",
                                      "'v",
                                      "'ve",
                                      "'d",
                                      "'D",
                                      "'m",
                                      "'M",
                                      "'t",
                                      "'T",
                                      "\xE2\x80\x99",
                                      ".",
                                      "!?",
                                      "-",
                                      "_",
                                      "\xE4\xB8\xAD",
                                      "\xF0\x9F\x98\x80",
                                      "\xCC\x81",
                                      "\xE1\xA0\x8E",
                                      "\xE2\x80\x8D",
                                      "\xC2\x85",
                                      "\x0B",
                                      "\x1F"};
  struct nki_random random = nki_random_stream(1, NKI_RANDOM_TEST, 0);
  for (int trial = 0; trial < 100000; trial++) {
    char text[256];
    size_t n = 0;
    for (uint64_t left = 1 + nki_random_below(&random, 12); left > 0; left--) {
      const char *part = parts[nki_random_below(&random, sizeof parts / sizeof *parts)];
      memcpy(text + n, part, strlen(part));
      n += strlen(part);
    }
    compare(trial % N_PATTERNS, text, n);
  }
}

/* A pattern in Oniguruma's syntax, a text, and its first match there by Hugging Face's library
 * (onig). */
static void oniguruma_syntax_keeps_its_meaning(void **state) {
  (void)state;
  static const struct {
    const char *pattern, *text, *matched;
  } cases[] = {
      {"\\s+", "a\xE1\xA0\x8E b", " "}, /* U+180E is not white space */
      {"\\h+", "xyzBEEFg", "BEEF"},     /* hexadecimal digits */
      {"\\v", "a\n\x0B", "\x0B"},       /* one character */
      {"[\\h]+", "xyz12g", "12"},
      {"\\w+", "-e\xCC\x81\xC2\xB2", "e\xCC\x81\xC2\xB2"}, /* marks, and outside sets U+00B2 */
      {"[\\w]+", "-e\xCC\x81\xC2\xB2", "e\xCC\x81"},
      {"(?m:a.b)", "a\nb", "a\nb"}, /* Ruby's m is Perl's s */
      {"^b", "a\nb", "b"},          /* lines, always */
      {"x{,2}y", "xxxy", "xxy"},
      {"a{b", "a{b", "a{b"},
      {"\\u00e9", "\xC3\xA9", "\xC3\xA9"},
      {"\\p{L}{2}", "abc", "ab"},
      {"[]a]+", "x]a", "]a"},
      {"(?i:k)", "\xE2\x84\xAA", "\xE2\x84\xAA"}, /* the Kelvin sign */
      {"[a[bc]]+", "xabcd", "abc"},               /* nested sets */
      {"[^a[bc]]+", "abxyc", "xy"},
      {"[\\p{L}&&[^x]]+", "1xabx", "ab"}, /* what both operands hold */
      {"[[:alpha:]]+", "1ab2", "ab"},
      {"[\\W]+", "a, b", ", "},
      {"a{1,2}+a", "aaaa", "aaaa"}, /* an interval repeated, not possessive */
      {"(?:ab){1,2}+", "ababab", "ababab"},
      {"a++b|a", "aac", "a"}, /* possessive: only the second alternative matches */
      {"\\bb\\w", "ab bc", "bc"},
      {"\\Bb", "b ab", "b"},
      {"\\p{^L}+", "ab12c", "12"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct nki_pattern *pattern = nki_pattern_new("test", cases[i].pattern);
    if (pattern == NULL) fail_msg("%s", nk_error());
    size_t begin = 0, end = 0, n = strlen(cases[i].text);
    int found = nki_pattern_find(pattern, match, cases[i].text, n, 0, &begin, &end);
    if (found != 1 || end - begin != strlen(cases[i].matched) ||
        memcmp(cases[i].text + begin, cases[i].matched, end - begin) != 0)
      fail_msg("'%s' matches bytes %zu to %zu", cases[i].pattern, begin, end);
    nki_pattern_free(pattern);
  }
}

static void syntax_that_the_engines_read_differently_is_rejected(void **state) {
  (void)state;
  static const char *const refused[] = {"\\N", "\\K",   "(?~a)",       "(?x: a)", "\\",
                                        "[a",  "\\xE9", "\\p{NoSuch}", "(a"};
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
    struct nki_pattern *pattern = nki_pattern_new("test", refused[i]);
    if (pattern != NULL) fail_msg("'%s' was taken", refused[i]);
    assert_non_null(strstr(nk_error(), refused[i]));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_code_point_is_split_as_by_the_pattern),
      cmocka_unit_test(random_texts_are_split_as_by_the_pattern),
      cmocka_unit_test(oniguruma_syntax_keeps_its_meaning),
      cmocka_unit_test(syntax_that_the_engines_read_differently_is_rejected),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
