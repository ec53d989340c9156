/* Tokenizers of well-known models against Hugging Face's own library: ids and decoded text of a few
 * thousand texts and of every fifth token's text, also without every fortieth token where no text
 * of these holds one. The files are made by `setup.sh --test-data`
 * (tests/fixtures/test-data.js says how); without them every test is skipped. */
#include <noken/tokenizer.h>

#include "text_files.h"

enum { TEXT, IDS, SPECIAL, DECODED, N_COLUMNS };

/* Cuts a line of the table into its cells, in place. */
static void split_line(char *line, char *cells[N_COLUMNS]) {
  line[strcspn(line, "\n")] = 0;
  for (size_t i = 0; i < N_COLUMNS; i++) {
    cells[i] = strsep(&line, "\t");
    assert_non_null(cells[i]);
  }
  assert_null(line);
}

static struct nk_buffer unescaped(const char *cell) {
  struct nk_buffer buffer = {0};
  nk_buffer_text(&buffer, "");
  nk_unescape(&buffer, cell, strlen(cell));
  return buffer;
}

/* Fails unless the ids of the cell's text are those written in `expected`. */
static void compare_ids(const struct nk_tokenizer *t, const char *text, int flags,
                        const char *expected) {
  struct nk_buffer raw = unescaped(text), given = {0};
  int64_t *ids;
  size_t n_ids;
  nk_buffer_text(&given, "");
  if (nk_tokenizer_encode(t, raw.data, raw.size, flags, &ids, &n_ids) != NK_OK)
    fail_msg("'%s': %s", text, nk_error());
  for (size_t i = 0; i < n_ids; i++)
    nk_buffer_printf(&given, i > 0 ? " %lld" : "%lld", (long long)ids[i]);
  if (strcmp(given.data, expected) != 0)
    fail_msg("'%s' gives %s, not %s", text, given.data, expected);
  nk_free(ids);
  nk_buffer_free(&raw);
  nk_buffer_free(&given);
}

/* Fails unless the ids of a cell decode to the text of another. */
static void compare_text(const struct nk_tokenizer *t, const char *cell, const char *expected) {
  struct nk_buffer wanted = unescaped(expected), given = {0};
  int64_t *ids = malloc((strlen(cell) / 2 + 1) * sizeof *ids);
  size_t n_ids = 0;
  assert_non_null(ids);
  for (char *rest; *cell != 0; cell = rest) ids[n_ids++] = strtoll(cell, &rest, 10);
  nk_buffer_text(&given, "");
  if (nk_tokenizer_decode(t, ids, n_ids, 0, &given) != NK_OK) fail_msg("%s", nk_error());
  if (given.size != wanted.size || memcmp(given.data, wanted.data, given.size) != 0)
    fail_msg("decoded to '%s', not '%s'", given.data, wanted.data);
  free(ids);
  nk_buffer_free(&wanted);
  nk_buffer_free(&given);
}

enum { EVERY = 40 };

/* The tokenizer without every fortieth token, where it can be pruned; pruned [n_tokens / EVERY]. */
static struct nk_tokenizer *prune(const struct nk_tokenizer *t, struct nk_pruned *pruned) {
  size_t n = nk_tokenizer_n_tokens(t) / EVERY, n_pruned = 0;
  int64_t *ids = malloc(n * sizeof *ids);
  struct nk_buffer json = {0};
  assert_non_null(ids);
  for (size_t i = 0; i < n; i++) ids[i] = (int64_t)(i * EVERY);
  if (nk_tokenizer_prune(t, ids, n, NULL, pruned, &json) != NK_OK) fail_msg("%s", nk_error());
  for (size_t i = 0; i < n; i++) n_pruned += pruned[i].result == NK_PRUNE_DONE;
  assert_true(n_pruned > n / 2);
  const char *path = temporary_file(json.data, json.size);
  struct nk_tokenizer *made = nk_tokenizer_open(path);
  if (made == NULL) fail_msg("%s", nk_error());
  unlink(path);
  nk_buffer_free(&json);
  free(ids);
  return made;
}

static bool holds_pruned(const char *cell, const struct nk_pruned *pruned, size_t n) {
  for (char *rest; *cell != 0; cell = rest) {
    size_t id = (size_t)strtoll(cell, &rest, 10);
    if (id % EVERY == 0 && id / EVERY < n && pruned[id / EVERY].result == NK_PRUNE_DONE)
      return true;
  }
  return false;
}

/* All lines of a model's table; at_least guards against a table that was cut. */
static void compare_model(const char *name, size_t at_least) {
  char file[128], *line = NULL, *cells[N_COLUMNS] = {0};
  size_t room = 0, n_lines = 0;
  snprintf(file, sizeof file, "tokenizers/%s/tokenizer.json", name);
  const char *path = shared_file(file);
  if (path == NULL) skip();
  struct nk_tokenizer *t = nk_tokenizer_open(path);
  if (t == NULL) fail_msg("%s", nk_error());
  size_t n_pruned = nk_tokenizer_n_tokens(t) / EVERY, n_kept = 0;
  struct nk_pruned *pruned = malloc(n_pruned * sizeof *pruned);
  assert_non_null(pruned);
  struct nk_tokenizer *made = prune(t, pruned);
  snprintf(file, sizeof file, "tokenizers/%s/expected.tsv", name);
  path = shared_file(file);
  assert_non_null(path);
  FILE *table = fopen(path, "r");
  assert_non_null(table);
  for (; getline(&line, &room, table) > 0; n_lines++) {
    split_line(line, cells);
    compare_ids(t, cells[TEXT], 0, cells[IDS]);
    compare_ids(t, cells[TEXT], NK_ENCODE_SPECIAL, cells[SPECIAL]);
    if (cells[DECODED][0] == '=') compare_text(t, cells[IDS], cells[DECODED] + 1);
    if (holds_pruned(cells[IDS], pruned, n_pruned)) continue;
    compare_ids(made, cells[TEXT], 0, cells[IDS]);
    n_kept++;
  }
  assert_true(n_kept > n_lines / 2);
  assert_true(n_lines >= at_least);
  free(line);
  fclose(table);
  free(pruned);
  nk_tokenizer_free(made);
  nk_tokenizer_free(t);
}

/* The least number of lines is a fifth of the vocabulary, less the tokens that are not text. */
static void gpt2_gives_the_reference_ids(void **state) {
  (void)state;
  compare_model("gpt2", 10000);
}

static void llama2_gives_the_reference_ids(void **state) {
  (void)state;
  compare_model("llama2", 6300);
}

static void llama3_gives_the_reference_ids(void **state) {
  (void)state;
  compare_model("llama3", 25000);
}

static void gemma_gives_the_reference_ids(void **state) {
  (void)state;
  compare_model("gemma", 51000);
}

static void qwen3_gives_the_reference_ids(void **state) {
  (void)state;
  compare_model("qwen3", 30000);
}

static void gpt_oss_gives_the_reference_ids(void **state) {
  (void)state;
  compare_model("gptoss", 39000);
}

static void deepseek_v3_gives_the_reference_ids(void **state) {
  (void)state;
  compare_model("deepseek_v3", 25000);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(gpt2_gives_the_reference_ids),
      cmocka_unit_test(llama2_gives_the_reference_ids),
      cmocka_unit_test(llama3_gives_the_reference_ids),
      cmocka_unit_test(gemma_gives_the_reference_ids),
      cmocka_unit_test(qwen3_gives_the_reference_ids),
      cmocka_unit_test(gpt_oss_gives_the_reference_ids),
      cmocka_unit_test(deepseek_v3_gives_the_reference_ids),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
