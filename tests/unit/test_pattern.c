/* Tokenizers' patterns, in Oniguruma's syntax, on short texts whose matches are evident. */
#include "text/pattern.h"
#include "unit.h"

/* The first match of regex in text is `expected`; NULL: there is none. */
static void assert_match(const char *regex, const char *text, const char *expected) {
  struct nki_pattern *pattern = nki_pattern_new("test", regex);
  struct nki_match *match = nki_match_new();
  size_t begin = 0, end = 0;
  if (pattern == NULL) fail_msg("%s", nk_error());
  int found = nki_pattern_find(pattern, match, text, strlen(text), 0, &begin, &end);
  assert_int_equal(found, expected != NULL);
  if (expected != NULL) {
    assert_int_equal(end - begin, strlen(expected));
    assert_memory_equal(text + begin, expected, end - begin);
  }
  nki_match_free(match);
  nki_pattern_free(pattern);
}

static void properties_match_inside_and_outside_of_sets(void **state) {
  (void)state;
  assert_match("\\p{L}+", "12 \xC3\xA9t\xC3\xA9 3", "\xC3\xA9t\xC3\xA9");
  assert_match("[\\p{L}]+", "12 abc 3", "abc");
  assert_match("\\P{L}+", "ab12c", "12");
  assert_match(" ?\\p{N}{1,3}", "a 12345", " 123");
}

static void code_points_in_hexadecimal_match(void **state) {
  (void)state;
  assert_match("\\x{4E00}+", "a\xE4\xB8\x80", "\xE4\xB8\x80");
  assert_match("[\\x{4E00}-\\x{4E02}]+", "a\xE4\xB8\x81z", "\xE4\xB8\x81");
  assert_match("\\u4E00", "a\xE4\xB8\x80", "\xE4\xB8\x80");
}

static void a_brace_that_opens_no_interval_is_literal(void **state) {
  (void)state;
  assert_match("a{,2}", "aaa", "aa");
  assert_match("{a", "x{a", "{a");
  assert_match("p{L}", "xp{L}", "p{L}");
}

static void syntax_that_the_engines_read_differently_is_rejected(void **state) {
  (void)state;
  static const char *const refused[] = {"\\p{L", "\\", "(?~a)"};
  for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
    assert_null(nki_pattern_new("test", refused[i]));
    assert_non_null(strstr(nk_error(), "pattern"));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(properties_match_inside_and_outside_of_sets),
      cmocka_unit_test(code_points_in_hexadecimal_match),
      cmocka_unit_test(a_brace_that_opens_no_interval_is_literal),
      cmocka_unit_test(syntax_that_the_engines_read_differently_is_rejected),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
