/* Real tokenizers against what their own implementations gave: GPT-2, Llama 3 and Llama 2 with the
 * test vectors of llama.cpp, where they lie beside the repository. */
#include <noken/tokenizer.h>

#include "text_files.h"

static char *read_whole(const char *path, size_t *n) {
  FILE *file = fopen(path, "rb");
  assert_non_null(file);
  char *data = malloc(1 << 20);
  *n = fread(data, 1, (1 << 20) - 1, file);
  data[*n] = 0;
  fclose(file);
  return data;
}

/* Compares the ids of one text with a line of decimal numbers; returns where the line ends. */
static char *compare_line(const struct nk_tokenizer *t, const char *text, size_t n, char *line,
                          size_t number) {
  int64_t *ids;
  size_t n_ids, i = 0;
  char *end = strchr(line, '\n');
  assert_non_null(end);
  *end = 0;
  assert_int_equal(nk_tokenizer_encode(t, text, n, 0, &ids, &n_ids), NK_OK);
  for (char *at = line, *rest; *at != 0; at = rest, i++) {
    int64_t expected = strtoll(at, &rest, 10);
    if (rest == at) break;
    if (i >= n_ids || ids[i] != expected)
      fail_msg("text %zu '%.*s': id %zu is not %lld", number, (int)n, text, i, (long long)expected);
  }
  if (i != n_ids) fail_msg("text %zu '%.*s': %zu ids, not %zu", number, (int)n, text, n_ids, i);
  nk_free(ids);
  return end + 1;
}

/* .inp holds texts, each (but in one file the last) with a line __ggml_vocab_test__ behind it, .out
 * a line of ids for each. */
static size_t compare_vectors(const char *name) {
  static const char separator[] = "\n__ggml_vocab_test__\n";
  char path[64];
  size_t n, n_out, count = 0;
  snprintf(path, sizeof path, "vocab/ggml-vocab-%s.gguf", name);
  const char *file = shared_file(path);
  if (file == NULL) skip();
  struct nk_tokenizer *t = nk_tokenizer_open(file);
  if (t == NULL) fail_msg("%s", nk_error());
  strcat(path, ".inp");
  char *texts = read_whole(shared_file(path), &n);
  snprintf(path, sizeof path, "vocab/ggml-vocab-%s.gguf.out", name);
  char *lines = read_whole(shared_file(path), &n_out), *line = lines, *rest = texts;
  for (char *text = texts, *end; (end = strstr(text, separator)) != NULL; count++) {
    line = compare_line(t, text, (size_t)(end - text), line, count);
    text = end + sizeof separator - 1;
    rest = text;
  }
  if (*rest != 0) line = compare_line(t, rest, strlen(rest), line, count++);
  assert_int_equal(line - lines, n_out);
  free(texts);
  free(lines);
  nk_tokenizer_free(t);
  return count;
}

static void gpt2_gives_its_own_ids(void **state) {
  (void)state;
  assert_int_equal(compare_vectors("gpt-2"), 46);
}

static void llama3_gives_its_own_ids(void **state) {
  (void)state;
  assert_int_equal(compare_vectors("llama-bpe"), 46);
}

static void llama2_gives_its_own_ids(void **state) {
  (void)state;
  assert_int_equal(compare_vectors("llama-spm"), 46);
}

static void phi3_gives_its_own_ids(void **state) {
  (void)state;
  assert_int_equal(compare_vectors("phi-3"), 46);
}

static void qwen2_gives_its_own_ids(void **state) {
  (void)state;
  assert_int_equal(compare_vectors("qwen2"), 46);
}

static void mpt_gives_its_own_ids(void **state) {
  (void)state;
  assert_int_equal(compare_vectors("mpt"), 46);
}

static void starcoder_gives_its_own_ids(void **state) {
  (void)state;
  assert_int_equal(compare_vectors("starcoder"), 46);
}

static void command_r_gives_its_own_ids(void **state) {
  (void)state;
  assert_int_equal(compare_vectors("command-r"), 46);
}

static void refact_gives_its_own_ids(void **state) {
  (void)state;
  assert_int_equal(compare_vectors("refact"), 46);
}

static void falcon_gives_its_own_ids(void **state) {
  (void)state;
  assert_int_equal(compare_vectors("falcon"), 46);
}

static void deepseek_coder_gives_its_own_ids(void **state) {
  (void)state;
  assert_int_equal(compare_vectors("deepseek-coder"), 46);
}

static void deepseek_llm_gives_its_own_ids(void **state) {
  (void)state;
  assert_int_equal(compare_vectors("deepseek-llm"), 46);
}

static void gemma4_gives_its_own_ids(void **state) {
  (void)state;
  assert_int_equal(compare_vectors("gemma-4"), 46);
}

static void qwen35_gives_its_own_ids(void **state) {
  (void)state;
  assert_int_equal(compare_vectors("qwen35"), 50);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(gpt2_gives_its_own_ids),
      cmocka_unit_test(llama3_gives_its_own_ids),
      cmocka_unit_test(llama2_gives_its_own_ids),
      cmocka_unit_test(phi3_gives_its_own_ids),
      cmocka_unit_test(qwen2_gives_its_own_ids),
      cmocka_unit_test(mpt_gives_its_own_ids),
      cmocka_unit_test(starcoder_gives_its_own_ids),
      cmocka_unit_test(command_r_gives_its_own_ids),
      cmocka_unit_test(refact_gives_its_own_ids),
      cmocka_unit_test(falcon_gives_its_own_ids),
      cmocka_unit_test(deepseek_coder_gives_its_own_ids),
      cmocka_unit_test(deepseek_llm_gives_its_own_ids),
      cmocka_unit_test(gemma4_gives_its_own_ids),
      cmocka_unit_test(qwen35_gives_its_own_ids),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
