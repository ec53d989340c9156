/* Pruned tokenizers against Hugging Face's own library and another implementation of what can be
 * pruned (tests/fixtures/prune, made by prune.py), and the edits of small files. */
#include <noken/tokenizer.h>

#include "cli/frame.h"
#include "text/prune.h"
#include "text_files.h"

enum { MOST = 1024 };

/* The ids of a cell. */
static size_t read_ids(const char *cell, int64_t ids[MOST]) {
  size_t n = 0;
  for (char *rest; *cell != 0; cell = rest) {
    assert_true(n < MOST);
    ids[n++] = strtoll(cell, &rest, 10);
  }
  return n;
}

static struct nk_tokenizer *open_named(const char *name) {
  char path[256];
  bool is_shipped = strstr(name, "-tiny") != NULL;
  snprintf(path, sizeof path, is_shipped ? "data/%s" : "tests/fixtures/tokenizers/%s.json", name);
  struct nk_tokenizer *t = nk_tokenizer_open(path);
  if (t == NULL) fail_msg("%s", nk_error());
  return t;
}

/* Prunes, and opens what came of it. */
static struct nk_tokenizer *prune(const struct nk_tokenizer *t, const int64_t *ids, size_t n,
                                  struct nk_pruned *pruned) {
  struct nk_buffer json = {0};
  if (nk_tokenizer_prune(t, ids, n, NULL, pruned, &json) != NK_OK) fail_msg("%s", nk_error());
  const char *path = temporary_file(json.data, json.size);
  struct nk_tokenizer *made = nk_tokenizer_open(path);
  unlink(path);
  nk_buffer_free(&json);
  if (made == NULL) fail_msg("%s", nk_error());
  return made;
}

/* ---- Against the reference ---- */

static void compare_pruned(const char *name, const int64_t *ids, size_t n,
                           const struct nk_pruned *pruned, const char *cell) {
  int64_t expected[MOST];
  size_t n_expected = read_ids(cell, expected), k = 0;
  for (size_t i = 0; i < n; i++) {
    if (pruned[i].result != NK_PRUNE_DONE) continue;
    if (k == n_expected || expected[k] != ids[i])
      fail_msg("%s: token %lld is pruned", name, (long long)ids[i]);
    k++;
  }
  if (k != n_expected) fail_msg("%s: token %lld is not pruned", name, (long long)expected[k]);
}

/* The rows of the table that are of this tokenizer; how many there are. */
static size_t compare_texts(const struct nk_tokenizer *made, const char *name,
                            const struct cli_frame *frame) {
  size_t n_rows = 0;
  for (size_t row = 0; row < cli_frame_n_rows(frame); row++) {
    if (strcmp(cli_frame_cell(frame, row, 0), name) != 0) continue;
    const char *text = cli_frame_cell(frame, row, 1);
    struct nk_buffer raw = {0};
    int64_t expected[MOST], *ids = NULL;
    size_t n = 0, n_expected = read_ids(cli_frame_cell(frame, row, 2), expected);
    nk_unescape(&raw, text, strlen(text));
    if (nk_tokenizer_encode(made, raw.data, raw.size, 0, &ids, &n) != NK_OK)
      fail_msg("%s", nk_error());
    if (n != n_expected || memcmp(ids, expected, n * sizeof *ids) != 0)
      fail_msg("%s: the ids of '%s' differ", name, text);
    nk_free(ids);
    nk_buffer_free(&raw);
    n_rows++;
  }
  return n_rows;
}

static void what_is_pruned_and_the_ids_of_texts_are_those_of_the_reference(void **state) {
  (void)state;
  struct cli_frame *lists = cli_frame_read("tests/fixtures/prune/lists.tsv");
  struct cli_frame *texts = cli_frame_read("tests/fixtures/prune/ids.tsv");
  assert_non_null(lists);
  assert_non_null(texts);
  assert_true(cli_frame_n_rows(lists) > 15);
  for (size_t row = 0; row < cli_frame_n_rows(lists); row++) {
    const char *name = cli_frame_cell(lists, row, 0);
    int64_t ids[MOST];
    struct nk_pruned pruned[MOST];
    size_t n = read_ids(cli_frame_cell(lists, row, 1), ids);
    struct nk_tokenizer *t = open_named(name), *made = prune(t, ids, n, pruned);
    compare_pruned(name, ids, n, pruned, cli_frame_cell(lists, row, 2));
    assert_true(compare_texts(made, name, texts) > 15);
    nk_tokenizer_free(made);
    nk_tokenizer_free(t);
  }
  cli_frame_free(lists);
  cli_frame_free(texts);
}

/* ---- Small files ---- */

/* Prunes ids [n] of the tokenizer that `before` is, and compares the file with `after`. */
static void expect_edit(const char *before, const int64_t *ids, size_t n, const char *after,
                        struct nk_pruned *pruned) {
  struct nk_buffer json = {0};
  const char *path = temporary_file(before, strlen(before));
  struct nk_tokenizer *t = nk_tokenizer_open(path);
  if (t == NULL) fail_msg("%s", nk_error());
  if (nk_tokenizer_prune(t, ids, n, NULL, pruned, &json) != NK_OK) fail_msg("%s", nk_error());
  assert_string_equal(json.data, after);
  unlink(path);
  nk_tokenizer_free(t);
  nk_buffer_free(&json);
}

/* Characters a, b, c; tokens ab 3, abc 4, bc 5. */
#define VOCAB "\"vocab\": {\"a\":0,\"b\":1,\"c\":2,\"ab\":3,\"abc\":4,\"bc\":5}"
#define FILE_OF(merges)                                                       \
  "{\"decoder\": {\"type\":\"Fuse\"}, \"model\": {\"type\":\"BPE\",\n " VOCAB \
  ", \"merges\": " merges "}}\n"

static void a_merge_is_cut_out_with_one_comma(void **state) {
  (void)state;
  struct nk_pruned pruned[3];
  static const int64_t first[] = {4, 3}, middle[] = {4}, last[] = {5}, all[] = {3, 4, 5};
  static const char merges[] =
      FILE_OF("[\"#version: 0.2\", \"a b\" ,\n  [\"ab\", \"c\"],\n  \"b c\" ]");
  expect_edit(merges, middle, 1, FILE_OF("[\"#version: 0.2\", \"a b\",\n  \"b c\" ]"), pruned);
  expect_edit(merges, last, 1, FILE_OF("[\"#version: 0.2\", \"a b\" ,\n  [\"ab\", \"c\"] ]"),
              pruned);
  expect_edit(merges, all, 3, FILE_OF("[\"#version: 0.2\" ]"), pruned);
  expect_edit(FILE_OF("[ \"a b\" , \"ab c\", \"b c\"]"), first, 2, FILE_OF("[ \"b c\"]"), pruned);
  expect_edit(FILE_OF("[ \"a b\" , \"ab c\"]"), first, 2, FILE_OF("[ ]"), pruned);
  assert_int_equal(pruned[0].result, NK_PRUNE_DONE);
  assert_int_equal(pruned[1].result, NK_PRUNE_DONE);
}

static void a_part_of_a_token_that_stays_is_kept(void **state) {
  (void)state;
  struct nk_pruned pruned[2];
  static const int64_t part[] = {3, 5};
  /* abc is ab and c: "a b" comes first. bc is a part of the merge "a bc" only, which never acts. */
  expect_edit(FILE_OF("[\"a b\",\"b c\",\"a bc\",\"ab c\"]"), part, 2,
              FILE_OF("[\"a b\",\"a bc\",\"ab c\"]"), pruned);
  assert_int_equal(pruned[0].result, NK_PRUNE_PART);
  assert_int_equal(pruned[0].other, 4);
  assert_int_equal(pruned[1].result, NK_PRUNE_DONE);
  assert_int_equal(pruned[1].other, -1);
}

static void all_merges_that_make_a_token_go(void **state) {
  (void)state;
  struct nk_pruned pruned[1];
  static const int64_t whole[] = {4};
  expect_edit(FILE_OF("[\"a b\",\"b c\",\"a bc\",\"ab c\"]"), whole, 1,
              FILE_OF("[\"a b\",\"b c\"]"), pruned);
}

/* A token of bytes: x and y have no tokens, and byte tokens are merged. Strings do not tell that
 * <0x78><0x79> is a part of it, so that its merges do. */
#define BYTES(merges)                                                                            \
  "{\"decoder\":{\"type\":\"ByteFallback\"},\"model\":{\"type\":\"BPE\",\"byte_fallback\":true," \
  "\"vocab\":{\"<0x78>\":0,\"<0x79>\":1,\"<0x78><0x79>\":2,\"a\":3,\"a<0x78><0x79>\":4},"        \
  "\"merges\":" merges "}}"

static void merges_of_byte_tokens_count_without_a_run(void **state) {
  (void)state;
  struct nk_pruned pruned[1];
  static const int64_t part[] = {2}, whole[] = {4};
  static const char merges[] = BYTES("[\"<0x78> <0x79>\",\"a <0x78><0x79>\"]");
  expect_edit(merges, part, 1, merges, pruned);
  assert_int_equal(pruned[0].result, NK_PRUNE_PART);
  assert_int_equal(pruned[0].other, 4);
  expect_edit(merges, whole, 1, BYTES("[\"<0x78> <0x79>\"]"), pruned);
}

/* A Unigram tokenizer; the score of the unknown character stays, 10 below that of "b". */
#define UNIGRAM(name, decoder)                                                         \
  "{\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"\xE2\x96\x81\"},"      \
  "\"decoder\":" decoder                                                               \
  ",\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"<unk>\",0],[\"a\",-1]," \
  "[\"b\",-5],[\"\xE2\x96\x81\",-1],[\"" name "\" , -2]]}}"
#define METASPACE "{\"type\":\"Metaspace\",\"replacement\":\"\xE2\x96\x81\"}"

static void a_token_found_by_its_string_gets_another(void **state) {
  (void)state;
  struct nk_pruned pruned[5];
  static const int64_t ids[] = {4, 1, 0};
  expect_edit(UNIGRAM("ab", METASPACE), ids, 3,
              UNIGRAM(" ab",
                      "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\","
                      "\"pattern\":{\"String\":\" \"},\"content\":\"\"}," METASPACE "]}"),
              pruned);
  assert_int_equal(pruned[0].result, NK_PRUNE_DONE);
  assert_int_equal(pruned[1].result, NK_PRUNE_NO_PIECES);
  assert_int_equal(pruned[2].result, NK_PRUNE_UNKNOWN);
}

#define AROUND                                                                                  \
  "{\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":" \
  "\"x\"}},"                                                                                    \
  "{\"Sequence\":{\"id\":\"A\"}}],\"special_tokens\":{\"x\":{\"ids\":[4]}}},"                   \
  "\"decoder\":{\"type\":\"Fuse\"},\"model\":{\"type\":\"BPE\"," VOCAB ",\"merges\":["

static void a_token_put_around_every_text_is_kept(void **state) {
  (void)state;
  struct nk_pruned pruned[1];
  static const int64_t whole[] = {4};
  static const char file[] = AROUND "\"a b\",\"ab c\"]}}";
  expect_edit(file, whole, 1, file, pruned);
  assert_int_equal(pruned[0].result, NK_PRUNE_AROUND);
}

/* ---- The proof ---- */

/* The proof's message for a file that is not what pruning token `id` of `before` gives; "" where
 * it holds. */
static const char *prove(const char *before, size_t id, const char *after, const char *check) {
  const char *path = temporary_file(before, strlen(before));
  struct nk_tokenizer *t = nk_tokenizer_open(path);
  if (t == NULL) fail_msg("%s", nk_error());
  bool listed[8] = {false}, renamed[8] = {false};
  struct nk_pruned what[8] = {{NK_PRUNE_DONE, -1}};
  struct nki_pruning pruning = {.tokenizer = t,
                                .n = nk_tokenizer_n_tokens(t),
                                .listed = listed,
                                .what = what,
                                .renamed = renamed};
  const struct nk_file file = {
      .data = (const unsigned char *)after, .size = strlen(after), .name = (char *)"made.json"};
  const struct nk_prune_options options = {.check = check, .n_check = strlen(check)};
  assert_true(pruning.n <= 8);
  listed[id] = true;
  what[id] = (struct nk_pruned){NK_PRUNE_DONE, -1};
  nk_buffer_text(&pruning.mark, " ");
  int code = nki_prune_prove(&pruning, &file, &options);
  nk_buffer_free(&pruning.mark);
  unlink(path);
  nk_tokenizer_free(t);
  if (code != NK_OK) assert_int_equal(code, NK_EDATA);
  return code != NK_OK ? nk_error() : "";
}

static void the_proof_finds_what_a_pruned_file_must_not_do(void **state) {
  (void)state;
  static const char whole[] = FILE_OF("[\"a b\",\"b c\",\"ab c\"]");
  static const char right[] = FILE_OF("[\"a b\",\"b c\"]");
  assert_string_equal(prove(whole, 4, right, "abc ab"), "");
  assert_string_equal(prove(whole, 4, whole, ""),
                      "made.json: pruned, its rules can still give token 4; leave it out of the "
                      "list");
  assert_string_equal(
      prove(whole, 4, FILE_OF("[\"b c\"]"), ""),
      "made.json: pruned, it changes a text without pruned tokens: 'ab'; list fewer tokens");
  static const char more[] =
      "{\"decoder\":{\"type\":\"Fuse\"},\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,"
      "\"c\":2,\"ab\":3,\"abc\":4,\"bc\":5,\"d\":6},\"merges\":[\"a b\",\"b c\"]}}";
  assert_string_equal(prove(whole, 4, more, ""), "made.json: pruned, it has 7 ids, 6 before");
  static const char other[] =
      "{\"decoder\":{\"type\":\"Fuse\"},\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,"
      "\"c\":2,\"ab\":3,\"abx\":4,\"bc\":5},\"merges\":[\"a b\",\"b c\"]}}";
  assert_string_equal(prove(whole, 4, other, ""),
                      "made.json: pruned, it decodes token 4 differently; leave it out of the "
                      "list");
  /* A normalizer that changes texts, as no pruning does. */
  static const char changed[] =
      "{\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\"abc\"},\"content\":\"ab\"},"
      "\"decoder\":{\"type\":\"Fuse\"},\"model\":{\"type\":\"BPE\"," VOCAB
      ",\"merges\":[\"a b\",\"b c\"]}}";
  assert_string_equal(
      prove(whole, 4, changed, ""),
      "made.json: pruned, it decodes a text differently: 'abc'; leave token 4 out of the list");
  /* An added token gives the id whatever the merges are. */
  static const char added[] =
      "{\"added_tokens\":[{\"id\":4,\"content\":\"abc\"}],\"decoder\":{\"type\":\"Fuse\"},"
      "\"model\":{\"type\":\"BPE\"," VOCAB ",\"merges\":[\"a b\",\"b c\"]}}";
  assert_string_equal(
      prove(whole, 4, added, ""),
      "made.json: pruned, it still gives a pruned token: 'abc'; leave token 4 out of the list");
  assert_string_equal(prove(AROUND "\"a b\",\"ab c\"]}}", 4, AROUND "\"a b\"]}}", ""),
                      "made.json: pruned, it puts token 4 around texts; leave it out of the list");
}

static void failures_state_the_reason(void **state) {
  (void)state;
  struct nk_pruned pruned[1];
  struct nk_buffer json = {0};
  static const int64_t low[] = {-1}, id[] = {300};
  assert_int_not_equal(nk_tokenizer_prune(NULL, id, 1, NULL, pruned, &json), NK_OK);
  struct nk_tokenizer *t = nk_tokenizer_open("data/gpt2-tiny");
  assert_int_equal(nk_tokenizer_prune(t, low, 1, NULL, pruned, &json), NK_EUSAGE);
  const struct nk_prune_options bad = {.check = "a\xFF", .n_check = 2};
  assert_int_equal(nk_tokenizer_prune(t, id, 1, &bad, pruned, &json), NK_EDATA);
  assert_non_null(strstr(nk_error(), "not valid UTF-8 at byte 1"));
  assert_int_equal(json.size, 0);
  nk_tokenizer_free(t);
  t = nk_tokenizer_open_vocabulary("data/gpt2-tiny");
  assert_int_equal(nk_tokenizer_prune(t, id, 1, NULL, pruned, &json), NK_EUSAGE);
  nk_tokenizer_free(t);
  nk_buffer_free(&json);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_pruned_and_the_ids_of_texts_are_those_of_the_reference),
      cmocka_unit_test(a_merge_is_cut_out_with_one_comma),
      cmocka_unit_test(a_part_of_a_token_that_stays_is_kept),
      cmocka_unit_test(all_merges_that_make_a_token_go),
      cmocka_unit_test(merges_of_byte_tokens_count_without_a_run),
      cmocka_unit_test(a_token_found_by_its_string_gets_another),
      cmocka_unit_test(a_token_put_around_every_text_is_kept),
      cmocka_unit_test(the_proof_finds_what_a_pruned_file_must_not_do),
      cmocka_unit_test(failures_state_the_reason),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
