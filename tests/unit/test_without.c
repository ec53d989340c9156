/* What tokens become without others, against Hugging Face's library (tests/fixtures/without.py). */
#include "text/without.h"

#include "text/tokenizer.h"
#include "unit.h"

#define FIXTURES "tests/fixtures/tokenizers/"

struct expected {
  char file[40];
  size_t id;
  char pieces[200];
};

static size_t read_expected(struct expected *rows, size_t most) {
  char line[400];
  size_t n = 0;
  FILE *file = fopen(FIXTURES "without.tsv", "r");
  assert_non_null(file);
  assert_non_null(fgets(line, sizeof line, file)); /* the header */
  for (; fgets(line, sizeof line, file) != NULL; n++) {
    assert_true(n < most);
    rows[n] = (struct expected){0};
    assert_true(
        sscanf(line, "%39[^\t]\t%zu\t%199[^\n]", rows[n].file, &rows[n].id, rows[n].pieces) >= 2);
  }
  fclose(file);
  return n;
}

/* Compares the n tokens of one file, all of them listed. */
static void compare(const struct expected *rows, size_t n) {
  char path[100];
  snprintf(path, sizeof path, FIXTURES "%s", rows[0].file);
  struct nk_tokenizer *t = nk_tokenizer_open(path);
  if (t == NULL) fail_msg("%s", nk_error());
  bool *banned = nk_calloc(nk_tokenizer_n_tokens(t), sizeof *banned);
  for (size_t i = 0; i < n; i++) banned[rows[i].id] = true;
  struct nki_without *without = nki_without_new(t, banned);
  if (without == NULL) fail_msg("%s", nk_error());
  for (size_t i = 0; i < n; i++) {
    struct nki_ids ids = {0};
    struct nk_buffer text = {0};
    nk_buffer_text(&text, "");
    assert_int_equal(nki_without_pieces(without, rows[i].id, &ids), NK_OK);
    for (size_t k = 0; k < ids.n; k++)
      nk_buffer_printf(&text, "%s%lld", k > 0 ? "," : "", (long long)ids.id[k]);
    if (strcmp(text.data, rows[i].pieces) != 0)
      fail_msg("%s, token %zu: '%s', expected '%s'", path, rows[i].id, text.data, rows[i].pieces);
    nk_buffer_free(&text);
    nk_free(ids.id);
  }
  nki_without_free(without);
  nk_free(banned);
  nk_tokenizer_free(t);
}

static void pieces_are_those_of_a_tokenizer_that_never_had_the_tokens(void **state) {
  (void)state;
  static struct expected rows[200];
  size_t n = read_expected(rows, 200), n_files = 0;
  for (size_t i = 0, run; i < n; i += run, n_files++) {
    for (run = 1; i + run < n && strcmp(rows[i + run].file, rows[i].file) == 0;) run++;
    compare(rows + i, run);
  }
  assert_int_equal(n_files, 5);
}

/* <s> of llama2.json is made of characters that have tokens or bytes: ▁ < s >, the first by the
 * normalizer. */
static void an_added_token_is_encoded_as_text(void **state) {
  (void)state;
  static const char mark[] = "\xE2\x96\x81";
  struct nk_tokenizer *t = nk_tokenizer_open(FIXTURES "llama2.json");
  if (t == NULL) fail_msg("%s", nk_error());
  bool *banned = nk_calloc(nk_tokenizer_n_tokens(t), sizeof *banned);
  banned[1] = true;
  struct nki_without *without = nki_without_new(t, banned);
  struct nki_ids ids = {0};
  assert_int_equal(nki_without_pieces(without, 1, &ids), NK_OK);
  assert_int_equal(ids.n, 4);
  assert_int_equal(ids.id[0], nki_pieces_find(&t->spec->pieces, mark, 3));
  assert_int_equal(ids.id[1], nk_tokenizer_id(t, "<0x3C>", 6));
  assert_int_equal(ids.id[2], nki_pieces_find(&t->spec->pieces, "s", 1));
  assert_int_equal(ids.id[3], nk_tokenizer_id(t, "<0x3E>", 6));
  nk_free(ids.id);
  nki_without_free(without);
  nk_free(banned);
  nk_tokenizer_free(t);
}

static void wordpiece_and_words_with_an_end_are_refused(void **state) {
  (void)state;
  static const char *const files[] = {FIXTURES "bert.json", FIXTURES "clip.json"};
  for (size_t i = 0; i < 2; i++) {
    struct nk_tokenizer *t = nk_tokenizer_open(files[i]);
    if (t == NULL) fail_msg("%s", nk_error());
    bool *banned = nk_calloc(nk_tokenizer_n_tokens(t), sizeof *banned);
    assert_null(nki_without_new(t, banned));
    assert_int_equal(nk_error_code(), NK_EUNSUPPORTED);
    nk_free(banned);
    nk_tokenizer_free(t);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(pieces_are_those_of_a_tokenizer_that_never_had_the_tokens),
      cmocka_unit_test(an_added_token_is_encoded_as_text),
      cmocka_unit_test(wordpiece_and_words_with_an_end_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
