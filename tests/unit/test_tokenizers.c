/* Tokenizers of every supported kind against Hugging Face's own library, whose results are in
 * tests/fixtures/tokenizers (made by tests/fixtures/tokenizers.js and
 * tokenizers_more.py), and in other files against the library of each (tokenizers_files.py). */
#include <noken/tokenizer.h>

#include "cli/frame.h"
#include "text_files.h"

enum { TOKENIZER, TEXT, IDS, SPECIAL, DECODED, N_COLUMNS };
#ifndef FOLDER
#define FOLDER "tests/fixtures/tokenizers/"
#endif

static struct nk_buffer unescaped(const char *cell) {
  struct nk_buffer buffer = {0};
  nk_buffer_text(&buffer, "");
  nk_unescape(&buffer, cell, strlen(cell));
  return buffer;
}

/* Fails unless the ids of the text are those written in `expected`. */
static void compare_ids(const struct nk_tokenizer *t, const char *name, const char *text, int flags,
                        const char *expected) {
  struct nk_buffer raw = unescaped(text), given = {0};
  int64_t *ids;
  size_t n;
  nk_buffer_text(&given, "");
  if (nk_tokenizer_encode(t, raw.data, raw.size, flags, &ids, &n) != NK_OK)
    fail_msg("%s: '%s': %s", name, text, nk_error());
  for (size_t i = 0; i < n; i++)
    nk_buffer_printf(&given, i != 0 ? " %lld" : "%lld", (long long)ids[i]);
  if (strcmp(given.data, expected) != 0)
    fail_msg("%s: '%s' gives %s, not %s", name, text, given.data, expected);
  nk_free(ids);
  nk_buffer_free(&raw);
  nk_buffer_free(&given);
}

/* Fails unless the ids, as text, decode to `expected`. */
static void compare_text(const struct nk_tokenizer *t, const char *name, const char *ids_text,
                         const char *expected) {
  struct nk_buffer wanted = unescaped(expected), given = {0};
  int64_t ids[512];
  size_t n = 0;
  for (char *rest; *ids_text != 0; ids_text = rest) ids[n++] = strtoll(ids_text, &rest, 10);
  nk_buffer_text(&given, "");
  if (nk_tokenizer_decode(t, ids, n, 0, &given) != NK_OK) fail_msg("%s: %s", name, nk_error());
  if (given.size != wanted.size || memcmp(given.data, wanted.data, given.size) != 0)
    fail_msg("%s: decoded to '%s', not '%s'", name, given.data, wanted.data);
  nk_buffer_free(&wanted);
  nk_buffer_free(&given);
}

/* The table's tokenizers are files called by its first column and this ending. */
static void compare_table(const char *table, const char *ending, size_t at_least) {
  char open[64] = "", path[256];
  struct nk_tokenizer *t = NULL;
  struct cli_frame *frame = cli_frame_read(table);
  assert_non_null(frame);
  assert_true(cli_frame_n_rows(frame) > at_least);
  for (size_t row = 0; row < cli_frame_n_rows(frame); row++) {
    const char *cell[N_COLUMNS];
    for (size_t i = 0; i < N_COLUMNS; i++) cell[i] = cli_frame_cell(frame, row, i);
    if (strcmp(open, cell[TOKENIZER]) != 0) {
      nk_tokenizer_free(t);
      snprintf(open, sizeof open, "%s", cell[TOKENIZER]);
      snprintf(path, sizeof path, FOLDER "%s%s", open, ending);
      t = nk_tokenizer_open(path);
      if (t == NULL) fail_msg("%s", nk_error());
    }
    compare_ids(t, open, cell[TEXT], 0, cell[IDS]);
    compare_ids(t, open, cell[TEXT], NK_ENCODE_SPECIAL, cell[SPECIAL]);
    if (cell[DECODED][0] == '=') compare_text(t, open, cell[IDS], cell[DECODED] + 1);
  }
  nk_tokenizer_free(t);
  cli_frame_free(frame);
}

static void every_kind_gives_the_ids_and_text_of_the_reference(void **state) {
  (void)state;
  compare_table(FOLDER "expected.tsv", ".json", 1500);
}

static void components_of_other_models_give_the_ids_and_text_of_the_reference(void **state) {
  (void)state;
  compare_table(FOLDER "expected_more.tsv", ".json", 500);
}

static void other_files_give_the_ids_of_their_libraries(void **state) {
  (void)state;
  compare_table(FOLDER "expected_files.tsv", "", 300);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(other_files_give_the_ids_of_their_libraries),
      cmocka_unit_test(components_of_other_models_give_the_ids_and_text_of_the_reference),
      cmocka_unit_test(every_kind_gives_the_ids_and_text_of_the_reference),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
