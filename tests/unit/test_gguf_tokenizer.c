/* What a hostile GGUF may say of its tokenizer: each is refused in one line that names the key, or
 * read as llama.cpp reads it. The files are written here after the format's description. */
#include <noken/tokenizer.h>
#include <unistd.h>

#include "text_files.h"

enum { U32 = 4, I32, F32, BOOL, STRING, ARRAY }; /* types of values */

static struct nk_buffer file; /* the values */
static uint64_t n_values;

static void number(struct nk_buffer *out, uint64_t value, int n_bytes) {
  for (int i = 0; i < n_bytes; i++) nk_buffer_byte(out, (int)(value >> 8 * i & 0xFF));
}

static void string(const char *text) {
  number(&file, strlen(text), 8);
  nk_buffer_text(&file, text);
}

static void key(const char *name, uint64_t type) {
  string(name);
  number(&file, type, 4);
  n_values++;
}

static void put_string(const char *name, const char *value) {
  key(name, STRING);
  string(value);
}

static void put_u32(const char *name, uint64_t value) {
  key(name, U32);
  number(&file, value, 4);
}

static void put_bool(const char *name, bool value) {
  key(name, BOOL);
  nk_buffer_byte(&file, value);
}

/* Strings between bars. */
static void put_strings(const char *name, const char *list) {
  size_t n = 1;
  for (const char *bar = list; (bar = strchr(bar, '|')) != NULL; bar++) n++;
  key(name, ARRAY);
  number(&file, STRING, 4);
  number(&file, n, 8);
  for (const char *end; n-- > 0; list = end + 1) {
    end = strchrnul(list, '|');
    number(&file, (uint64_t)(end - list), 8);
    nk_buffer_append(&file, list, (size_t)(end - list));
  }
}

static void put_numbers(const char *name, uint64_t type, size_t n, const uint32_t *values) {
  key(name, ARRAY);
  number(&file, type, 4);
  number(&file, n, 8);
  for (size_t i = 0; i < n; i++) number(&file, values[i], 4);
}

static void begin(const char *model) {
  nk_buffer_clear(&file);
  n_values = 0;
  put_string("tokenizer.ggml.model", model);
}

/* SentencePiece's, of the same tokens. */
static void begin_llama(void) {
  begin("llama");
  put_strings("tokenizer.ggml.tokens", "a|b|ab|<s>");
  put_bool("tokenizer.ggml.add_space_prefix", false);
  put_bool("tokenizer.ggml.add_bos_token", false);
}

/* "a", "b", "ab" and a control token, with the merge of the first two. */
static void begin_bpe(void) {
  begin("gpt2");
  put_string("tokenizer.ggml.pre", "gpt-2");
  put_strings("tokenizer.ggml.tokens", "a|b|ab|<s>");
}

static const uint32_t TYPES[] = {1, 1, 1, 3};

static void put_rest(void) {
  put_numbers("tokenizer.ggml.token_type", I32, 4, TYPES);
  put_strings("tokenizer.ggml.merges", "a b");
}

static struct nk_tokenizer *open_file(bool vocabulary_only) {
  struct nk_buffer whole = {0};
  nk_buffer_text(&whole, "GGUF");
  number(&whole, 3, 4);
  number(&whole, 0, 8);
  number(&whole, n_values, 8);
  nk_buffer_append(&whole, file.data, file.size);
  const char *path = temporary_file(whole.data, whole.size);
  struct nk_tokenizer *t =
      vocabulary_only ? nk_tokenizer_open_vocabulary(path) : nk_tokenizer_open(path);
  unlink(path);
  nk_buffer_free(&whole);
  return t;
}

static void refuse(const char *message) {
  struct nk_tokenizer *t = open_file(false);
  if (t != NULL) fail_msg("taken, though '%s'", message);
  if (strstr(nk_error(), message) == NULL) fail_msg("'%s' does not say '%s'", nk_error(), message);
  assert_null(strchr(nk_error(), '\n'));
}

/* The ids of a text, in words. */
static void assert_ids(const char *text, int flags, const char *expected) {
  struct nk_tokenizer *t = open_file(false);
  if (t == NULL) fail_msg("%s", nk_error());
  struct nk_buffer given = {0};
  int64_t *ids;
  size_t n;
  assert_int_equal(nk_tokenizer_encode(t, text, strlen(text), flags, &ids, &n), NK_OK);
  nk_buffer_text(&given, "");
  for (size_t i = 0; i < n; i++) nk_buffer_printf(&given, "%s%d", i > 0 ? " " : "", (int)ids[i]);
  assert_string_equal(given.data, expected);
  nk_buffer_free(&given);
  nk_free(ids);
  nk_tokenizer_free(t);
}

static void a_sound_file_is_read(void **state) {
  (void)state;
  begin_bpe(), put_rest(), assert_ids("abb<s>", 0, "2 1 3");
  put_bool("tokenizer.ggml.add_bos_token", true), put_u32("tokenizer.ggml.bos_token_id", 3);
  assert_ids("ab", NK_ENCODE_SPECIAL, "3 2");
}

static void merges_that_are_wrong_are_refused(void **state) {
  (void)state;
  static const uint32_t numbers[] = {1, 2};
  begin_bpe(), refuse("no 'tokenizer.ggml.merges' in the metadata");
  begin_bpe(), put_strings("tokenizer.ggml.merges", "a b|a c");
  refuse("the strings of merge 1 are not in the vocabulary");
  begin_bpe(), put_strings("tokenizer.ggml.merges", "b a"); /* its result is no token */
  refuse("the strings of merge 0 are not in the vocabulary");
  begin_bpe(), put_strings("tokenizer.ggml.merges", "ab");
  refuse("merge 0 is not two strings with a space between");
  begin_bpe(), put_strings("tokenizer.ggml.merges", "a b|");
  refuse("merge 1 is not two strings with a space between");
  begin_bpe(), put_strings("tokenizer.ggml.merges", "a \xff");
  refuse("merge 0 is not two strings with a space between");
  begin_bpe(), put_numbers("tokenizer.ggml.merges", U32, 2, numbers);
  refuse("'tokenizer.ggml.merges' is not an array of strings");
}

static void arrays_that_are_too_short_are_refused(void **state) {
  (void)state;
  static const uint32_t scores[] = {0, 0, 0, 0}, nan[] = {0, 0, 0x7FC00000, 0};
  begin_bpe(), put_numbers("tokenizer.ggml.token_type", I32, 3, TYPES);
  put_strings("tokenizer.ggml.merges", "a b");
  refuse("'tokenizer.ggml.token_type' has 3 elements for 4 tokens");
  begin_llama();
  refuse("no 'tokenizer.ggml.scores' in the metadata");
  put_numbers("tokenizer.ggml.scores", F32, 3, scores);
  refuse("'tokenizer.ggml.scores' has 3 elements for 4 tokens");
  begin_llama();
  put_numbers("tokenizer.ggml.scores", F32, 4, nan);
  refuse("the score of token 2 is a NaN");
  begin_llama();
  put_numbers("tokenizer.ggml.scores", F32, 4, scores);
  assert_ids("ab", 0, "2");
}

static void ids_of_special_tokens_outside_the_vocabulary_are_refused(void **state) {
  (void)state;
  begin_bpe(), put_rest(), put_bool("tokenizer.ggml.add_bos_token", true);
  refuse("no 'tokenizer.ggml.bos_token_id' in the metadata");
  put_u32("tokenizer.ggml.bos_token_id", 4);
  refuse("'tokenizer.ggml.bos_token_id' is 4, outside the 4 tokens");
  begin_bpe(), put_rest(), put_bool("tokenizer.ggml.add_eos_token", true);
  key("tokenizer.ggml.eos_token_id", I32), number(&file, UINT32_MAX, 4);
  refuse("'tokenizer.ggml.eos_token_id' is -1, outside the 4 tokens");
  begin_bpe(), put_rest(), put_u32("tokenizer.ggml.bos_token_id", UINT32_MAX);
  assert_ids("ab", NK_ENCODE_SPECIAL, "2"); /* which is not put around a text */
  begin_bpe(), put_rest(), put_u32("tokenizer.ggml.add_bos_token", 1);
  refuse("'tokenizer.ggml.add_bos_token' is not a boolean");
}

static void values_of_another_type_are_refused(void **state) {
  (void)state;
  static const uint32_t types[] = {1, 99, UINT32_MAX, 3}, numbers[] = {1, 2};
  nk_buffer_clear(&file), n_values = 0;
  refuse("no 'tokenizer.ggml.model' in the metadata");
  begin("later"), put_strings("tokenizer.ggml.tokens", "a");
  refuse("the tokenizer model 'later' is not supported");
  begin("gpt2"), refuse("no 'tokenizer.ggml.tokens' in the metadata");
  put_numbers("tokenizer.ggml.tokens", U32, 2, numbers);
  refuse("'tokenizer.ggml.tokens' is not an array of strings");
  begin("gpt2"), put_strings("tokenizer.ggml.tokens", "a|\xff");
  refuse("token 1 is not valid UTF-8");
  begin("gpt2"), put_strings("tokenizer.ggml.tokens", "a"), put_u32("tokenizer.ggml.pre", 1);
  put_strings("tokenizer.ggml.merges", "a a"), refuse("'tokenizer.ggml.pre' is not a string");
  begin("gpt2"), put_strings("tokenizer.ggml.tokens", "a"), put_strings("tokenizer.ggml.pre", "b");
  put_strings("tokenizer.ggml.merges", "a a"), refuse("'tokenizer.ggml.pre' is not a string");
  begin_bpe(), put_numbers("tokenizer.ggml.token_type", I32, 4, types); /* unknown: normal */
  put_strings("tokenizer.ggml.merges", "a b"), assert_ids("ab", 0, "2");
  begin_bpe(), put_string("tokenizer.ggml.token_type", "1");
  put_strings("tokenizer.ggml.merges", "a b");
  refuse("'tokenizer.ggml.token_type' is not an array of numbers");
}

/* Of tokens that are written the same, the last one is found, as in llama.cpp's table of them. */
static void of_equal_tokens_the_last_is_found(void **state) {
  (void)state;
  begin("gpt2"), put_string("tokenizer.ggml.pre", "gpt-2");
  put_strings("tokenizer.ggml.tokens", "a|b|ab|ab|"), put_strings("tokenizer.ggml.merges", "a b");
  assert_ids("ab", 0, "3");
}

static void a_count_of_2_to_the_60th_is_refused(void **state) {
  (void)state;
  begin("gpt2"), key("tokenizer.ggml.tokens", ARRAY), number(&file, STRING, 4);
  number(&file, 1ull << 60, 8), string("a"), refuse("ends within");
  begin_bpe(), key("tokenizer.ggml.token_type", ARRAY), number(&file, I32, 4);
  number(&file, 1ull << 60, 8), refuse("ends within");
  begin("gpt2"), key("tokenizer.ggml.tokens", ARRAY), number(&file, ARRAY, 4), number(&file, 1, 8);
  number(&file, STRING, 4), number(&file, 1, 8), string("a");
  refuse("'tokenizer.ggml.tokens' is not an array of strings");
}

/* An unknown pre-tokenizer changes how text is cut, and not which tokens there are. */
static void the_vocabulary_is_read_without_its_pre_tokenizer(void **state) {
  (void)state;
  begin("gpt2"), put_string("tokenizer.ggml.pre", "none\nsuch");
  put_strings("tokenizer.ggml.tokens", "a|\xC4\xA0"), put_strings("tokenizer.ggml.merges", "a a");
  refuse("tokenizer.ggml.pre 'none\\nsuch' is unknown");
  struct nk_tokenizer *t = open_file(true);
  if (t == NULL) fail_msg("%s", nk_error());
  assert_int_equal(nk_tokenizer_id(t, " ", 1), 1);
  nk_tokenizer_free(t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_sound_file_is_read),
      cmocka_unit_test(merges_that_are_wrong_are_refused),
      cmocka_unit_test(arrays_that_are_too_short_are_refused),
      cmocka_unit_test(ids_of_special_tokens_outside_the_vocabulary_are_refused),
      cmocka_unit_test(values_of_another_type_are_refused),
      cmocka_unit_test(of_equal_tokens_the_last_is_found),
      cmocka_unit_test(a_count_of_2_to_the_60th_is_refused),
      cmocka_unit_test(the_vocabulary_is_read_without_its_pre_tokenizer),
  };
  int status = cmocka_run_group_tests(tests, NULL, NULL);
  nk_buffer_free(&file);
  return status;
}
