/* The vocabulary of tokenizer.json. */
#include "text_files.h"

#include <noken/base.h>
#include <noken/tokenizer.h>

#include "text/tokenizer.h"

static struct nk_tokenizer *vocabulary_of(const char *json) {
  const char *path = temporary_file(json, strlen(json));
  struct nk_tokenizer *vocabulary = nk_tokenizer_open_vocabulary(path);
  unlink(path);
  return vocabulary;
}

static void assert_token(const struct nk_tokenizer *vocabulary, size_t id, const char *expected,
                         size_t n_expected) {
  size_t n = 99;
  const char *bytes = nk_tokenizer_bytes(vocabulary, id, &n);
  assert_non_null(bytes);
  assert_int_equal(n, n_expected);
  assert_memory_equal(bytes, expected, n);
}

/* U+0120 is a space, U+010A a newline, U+0100 a zero byte, U+00C3 U+00A9 the bytes of e acute;
 * U+4E2D is not of the alphabet and is unchanged. */
static void byte_level_strings_become_raw_bytes(void **state) {
  (void)state;
  struct nk_tokenizer *v = vocabulary_of(
      "{\"added_tokens\": [{\"id\": 6, \"content\": \"\\u00c3\\u00aa\", \"special\": false},\n"
      " {\"id\": 7, \"content\": \"<|end|>\", \"special\": true}],\n"
      "\"pre_tokenizer\": {\"type\": \"ByteLevel\"}, \"decoder\": {\"type\": \"ByteLevel\"},\n"
      "\"model\": {\"type\": \"BPE\", \"merges\": [], \"vocab\": {\n"
      "\"a\": 0, \"\xC4\xA0the\": 1, \"\\u010a\": 2, \"\\u0100\": 3, \"\xC3\x83\xC2\xA9\": 4,\n"
      "\"\xE4\xB8\xAD\": 9}}}");
  assert_non_null(v);
  assert_int_equal(nk_tokenizer_n_tokens(v), 10);
  assert_token(v, 0, "a", 1);
  assert_token(v, 1, " the", 4);
  assert_token(v, 2, "\n", 1);
  assert_token(v, 3, "\0", 1);
  assert_token(v, 4, "\xC3\xA9", 2);
  assert_null(nk_tokenizer_bytes(v, 5, NULL));
  assert_token(v, 6, "\xC3\x83\xC2\xAA", 4); /* an added token is as written */
  assert_token(v, 7, "<|end|>", 7);
  assert_token(v, 9, "\xE4\xB8\xAD", 3);
  assert_null(nk_tokenizer_bytes(v, 10, NULL));
  assert_true(nki_vocabulary_is_special(v->vocabulary, 7));
  assert_true(nki_vocabulary_is_added(v->vocabulary, 7));
  assert_false(nki_vocabulary_is_special(v->vocabulary, 6));
  assert_true(nki_vocabulary_is_added(v->vocabulary, 6));
  assert_false(nki_vocabulary_is_added(v->vocabulary, 0));
  nk_tokenizer_free(v);
}

static void sentencepiece_strings_become_spaces_and_bytes(void **state) {
  (void)state;
  struct nk_tokenizer *v = vocabulary_of(
      "{\"decoder\": {\"type\": \"Sequence\", \"decoders\": [\n"
      " {\"type\": \"Replace\", \"pattern\": {\"String\": \"\xE2\x96\x81\"}, \"content\": \" \"},\n"
      " {\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"},\n"
      " {\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}]},\n"
      "\"model\": {\"vocab\": {\"\xE2\x96\x81the\": 0, \"<0x0A>\": 1, \"<0xE2>\": 2, \"<0x1>\": "
      "3,\n"
      "\"\xE2\x96\x81\xE2\x96\x81\": 4, \"\": 5}, \"merges\": [], \"type\": \"BPE\"}}");
  assert_non_null(v);
  assert_token(v, 0, " the", 4);
  assert_token(v, 1, "\n", 1);
  assert_token(v, 2, "\xE2", 1);
  assert_token(v, 3, "<0x1>", 5);
  assert_token(v, 4, "  ", 2);
  assert_token(v, 5, "", 0);
  nk_tokenizer_free(v);
}

static void a_unigram_vocabulary_is_numbered_by_its_order(void **state) {
  (void)state;
  struct nk_tokenizer *v = vocabulary_of(
      "{\"decoder\": {\"type\": \"Metaspace\", \"replacement\": \"\xE2\x96\x81\"},\n"
      "\"model\": {\"type\": \"Unigram\", \"unk_id\": 0, \"vocab\": [[\"<unk>\", 0.0],\n"
      "[\"\xE2\x96\x81"
      "a\", -1.5e0], [\"b\\ud83d\\ude00\", -2]]}}");
  assert_non_null(v);
  assert_int_equal(nk_tokenizer_n_tokens(v), 3);
  assert_token(v, 0, "<unk>", 5);
  assert_token(v, 1, " a", 2);
  assert_token(v, 2, "b\xF0\x9F\x98\x80", 5);
  nk_tokenizer_free(v);
}

static void damaged_files_are_rejected_with_line_and_column(void **state) {
  (void)state;
  static const struct {
    const char *json, *message;
  } bad[] = {
      {"", "'{' expected"},
      {"{}", "not a tokenizer.json"},
      {"[1, 2]", "'{' expected"},
      {"{\"model\": {\"vocab\": {\"a\": 0}, }}", "line 1, column 31"},
      {"{\"model\": {\"type\": \"BPE\"}}", "no 'vocab'"},
      {"{\"model\":\n {\"vocab\": {\"a\": 0 \"b\": 1}}}", "line 2, column 20: ',' expected"},
      {"{\"model\": {\"vocab\": {\"a\": 0, \"b\": 0}}}", "two tokens have the id 0"},
      {"{\"model\": {\"vocab\": {\"a\": -1}}}", "negative"},
      {"{\"model\": {\"vocab\": {\"a\": 1.5}}}", "a whole number expected"},
      {"{\"model\": {\"vocab\": {\"a\": 4000000000}}}", "too large for the size of the file"},
      {"{\"model\": {\"vocab\": {\"a\": 99999999999999999999}}}", "too large"},
      {"{\"model\": {\"vocab\": {\"\\ud800\": 0}}}", "surrogate"},
      {"{\"model\": {\"vocab\": {\"\xFF\": 0}}}", "not valid UTF-8"},
      {"{\"model\": {\"vocab\": {\"a\n\": 0}}}", "control byte"},
      {"{\"model\": {\"vocab\": {\"a", "without its end"},
      {"{\"model\": {\"vocab\": [[\"a\", x]]}}", "a number expected"},
      {"{\"model\": {\"vocab\": {}}, \"decoder\":\n\n [nonsense]}", "line 3"},
      {"{\"model\": {\"vocab\":\n {\n}}, \"decoder\":\n\n [nonsense]}", "line 5"},
      {"{\"model\": {\"vocab\": {}}, \"added_tokens\": [{\"content\": \"x\"}]}", "without 'id'"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    assert_null(vocabulary_of(bad[i].json));
    if (strstr(nk_error(), bad[i].message) == NULL)
      fail_msg("case %zu: '%s' does not say '%s'", i, nk_error(), bad[i].message);
  }
}

/* Counted with Python's json over the file: 50,278 ids; 243 of one byte, since the
 * bytes that UTF-8 never holds have no token. */
static void pythia_has_the_tokens_of_its_file(void **state) {
  (void)state;
  const char *path = shared_file("pythia/tokenizer.json");
  if (path == NULL) skip();
  struct nk_tokenizer *v = nk_tokenizer_open_vocabulary(path);
  assert_non_null(v);
  assert_int_equal(nk_tokenizer_n_tokens(v), 50278);
  assert_token(v, 0, "<|endoftext|>", 13);
  assert_true(nki_vocabulary_is_special(v->vocabulary, 0));
  assert_token(v, 50276, "  ", 2);
  assert_false(nki_vocabulary_is_special(v->vocabulary, 50276));
  size_t single = 0, n;
  for (size_t id = 0; id < 50278; id++) single += nk_tokenizer_bytes(v, id, &n) != NULL && n == 1;
  assert_int_equal(single, 243);
  nk_tokenizer_free(v);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(byte_level_strings_become_raw_bytes),
      cmocka_unit_test(sentencepiece_strings_become_spaces_and_bytes),
      cmocka_unit_test(a_unigram_vocabulary_is_numbered_by_its_order),
      cmocka_unit_test(damaged_files_are_rejected_with_line_and_column),
      cmocka_unit_test(pythia_has_the_tokens_of_its_file),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
