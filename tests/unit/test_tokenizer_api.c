/* Properties of every tokenizer: decoding restores the text, threads can share it, tokens are
 * found; its errors. */
#include <noken/tokenizer.h>

#include <pthread.h>

#include "base/random.h"
#include "base/utf8.h"
#include "text/tokenizer.h"
#include "text_files.h"

/* Random text of every plane, often with parts that tokenizers treat specially. */
static size_t random_text(struct nki_random *random, char *text) {
  static const char *const parts[] = {
      " ",  "  ", "\n", "the", " of",          "'s",  "<|endoftext|>",
      "12", "\t", "\\", ",",   "\xE2\x96\x81", "\x7F"};
  size_t n = 0;
  for (uint64_t left = nki_random_below(random, 24); left > 0; left--) {
    if (nki_random_below(random, 2) != 0) {
      const char *part = parts[nki_random_below(random, sizeof parts / sizeof *parts)];
      memcpy(text + n, part, strlen(part));
      n += strlen(part);
    } else {
      uint32_t code =
          (uint32_t)nki_random_below(random, nki_random_below(random, 2) != 0 ? 0x3000 : 0x110000);
      if (code >= 0xD800 && code < 0xE000) code = 'x';
      n += nki_utf8_encode(code, text + n);
    }
  }
  return n;
}

/* These have no normalizer, or one that the decoder undoes. */
static void text_comes_back_from_its_ids(void **state) {
  (void)state;
  static const char *const models[] = {
      "data/gpt2-tiny", "data/llama-tiny", "tests/fixtures/tokenizers/llama3.json",
      "tests/fixtures/tokenizers/starcoder.json", "tests/fixtures/tokenizers/o200k.json"};
  for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
    struct nk_tokenizer *t = nk_tokenizer_open(models[m]);
    if (t == NULL) fail_msg("%s", nk_error());
    struct nki_random random = nki_random_stream(2, NKI_RANDOM_TEST, m);
    struct nk_buffer back = {0};
    for (int trial = 0; trial < 5000; trial++) {
      char text[512];
      int64_t *ids;
      size_t n = random_text(&random, text), n_ids;
      int flags = (trial % 2) != 0 ? NK_ENCODE_PLAIN : 0;
      nk_buffer_clear(&back);
      assert_int_equal(nk_tokenizer_encode(t, text, n, flags, &ids, &n_ids), NK_OK);
      assert_int_equal(nk_tokenizer_decode(t, ids, n_ids, 0, &back), NK_OK);
      if (back.size != n || ((n != 0) && memcmp(back.data, text, n) != 0))
        fail_msg("%s: '%.*s' became '%s'", models[m], (int)n, text, back.data);
      nk_free(ids);
    }
    nk_buffer_free(&back);
    nk_tokenizer_free(t);
  }
}

/* Many texts at once, against the same texts one by one. */
static void threads_share_a_tokenizer(void **state) {
  (void)state;
  enum { TEXTS = 2000 };
  struct nk_tokenizer *t = nk_tokenizer_open("data/gpt2-tiny");
  assert_non_null(t);
  int64_t *alone[TEXTS], *together[TEXTS];
  size_t n_alone[TEXTS], n_together[TEXTS];
  int failures = 0;
  for (int i = 0; i < TEXTS; i++) {
    char text[512];
    struct nki_random random = nki_random_stream(3, NKI_RANDOM_TEST, (uint64_t)i);
    size_t n = random_text(&random, text);
    assert_int_equal(nk_tokenizer_encode(t, text, n, 0, &alone[i], &n_alone[i]), NK_OK);
  }
#pragma omp parallel for num_threads(4) schedule(dynamic, 1) reduction(+ : failures)
  for (int i = 0; i < TEXTS; i++) {
    char text[512];
    struct nki_random random = nki_random_stream(3, NKI_RANDOM_TEST, (uint64_t)i);
    size_t n = random_text(&random, text);
    failures += nk_tokenizer_encode(t, text, n, 0, &together[i], &n_together[i]) != NK_OK;
  }
  assert_int_equal(failures, 0);
  for (int i = 0; i < TEXTS; i++) {
    assert_int_equal(n_alone[i], n_together[i]);
    assert_memory_equal(alone[i], together[i], n_alone[i] * sizeof *alone[i]);
    nk_free(alone[i]);
    nk_free(together[i]);
  }
  nk_tokenizer_free(t);
}

/* In the order of the file's merges: " t" is GPT-2's first, "he" its third. */
static void ranks_follow_the_merges(void **state) {
  (void)state;
  const char *path = shared_file("vocab/ggml-vocab-gpt-2.gguf");
  if (path == NULL) skip();
  struct nk_tokenizer *t = nk_tokenizer_open(path);
  assert_non_null(t);
  int64_t id = nk_tokenizer_id(t, " t", 2);
  assert_int_equal(id, 256);
  assert_int_equal(nki_tokenizer_merge_rank(t, (size_t)id), NK_OK);
  assert_int_equal(nki_tokenizer_merge_rank(t, (size_t)nk_tokenizer_id(t, "he", 2)), 2);
  assert_int_equal(nki_tokenizer_merge_rank(t, (size_t)nk_tokenizer_id(t, "a", 1)), -1);
  assert_int_equal(nk_tokenizer_id(t, "<|endoftext|>", 13), 50256);
  assert_int_equal(nki_tokenizer_merge_rank(t, 50256), -1);
  assert_int_equal(nki_tokenizer_merge_rank(t, 99999999), -1);
  assert_int_equal(nk_tokenizer_id(t, "no such token", 13), NK_ENOTFOUND);
  nk_tokenizer_free(t);
}

static void a_piece_of_a_hundred_thousand_letters_is_encoded(void **state) {
  (void)state;
  struct nk_tokenizer *t = nk_tokenizer_open("data/gpt2-tiny");
  assert_non_null(t);
  enum { N = 100000 };
  char *text = malloc(N);
  struct nk_buffer back = {0};
  int64_t *ids;
  size_t n;
  for (size_t i = 0; i < N; i++) text[i] = "thecatsat"[i % 9];
  assert_int_equal(nk_tokenizer_encode(t, text, N, 0, &ids, &n), NK_OK);
  assert_int_equal(nk_tokenizer_decode(t, ids, n, 0, &back), NK_OK);
  assert_int_equal(back.size, N);
  assert_memory_equal(back.data, text, N);
  assert_true(n < N / 2);
  nk_free(ids);
  free(text);
  nk_buffer_free(&back);
  nk_tokenizer_free(t);
}

static void invalid_text_and_ids_are_rejected(void **state) {
  (void)state;
  struct nk_tokenizer *t = nk_tokenizer_open("data/gpt2-tiny");
  struct nk_buffer out = {0};
  int64_t *ids = NULL, bad[] = {-1, 8192, INT64_MAX, INT64_MIN};
  size_t n = 0;
  assert_non_null(t);
  assert_int_equal(nk_tokenizer_encode(t, "ab\xC3", 3, 0, &ids, &n), NK_EDATA);
  assert_non_null(strstr(nk_error(), "at byte 2"));
  for (size_t i = 0; i < 4; i++)
    assert_int_equal(nk_tokenizer_decode(t, &bad[i], 1, 0, &out), NK_EDATA);
  assert_int_equal(nk_tokenizer_encode(t, "", 0, 0, &ids, &n), NK_OK);
  assert_int_equal(n, 0);
  nk_free(ids);
  assert_int_equal(nk_tokenizer_decode(t, NULL, 0, 0, &out), NK_OK);
  nk_buffer_free(&out);
  nk_tokenizer_free(t);
}

/* ---- Errors ---- */

/* Runs in a thread of its own, whose message is "" at first. Returns the message at the end. */
static void *open_and_read(void *path) {
  static char message[256];
  snprintf(message, sizeof message, "a call failed");
  struct nk_model *model = nk_model_open("data/gpt2-tiny");
  struct nk_tokenizer *alone = nk_tokenizer_open(path); /* a folder without weights */
  struct nk_vectors *set = nk_vectors_read("tests/fixtures/npy/f4.npy");
  if (nk_model_tokenizer(model) != NULL && alone != NULL && set != NULL)
    snprintf(message, sizeof message, "%s", nk_error());
  nk_vectors_free(set);
  nk_tokenizer_free(alone);
  nk_model_free(model);
  return message;
}

static void successful_calls_leave_no_error_message(void **state) {
  (void)state;
  char folder[] = "/tmp/noken-unit-XXXXXX", path[64], target[4096], *message;
  assert_non_null(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/tokenizer.json", folder);
  assert_non_null(realpath("data/gpt2-tiny/tokenizer.json", target));
  assert_int_equal(symlink(target, path), 0);
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, open_and_read, folder), 0);
  assert_int_equal(pthread_join(thread, (void **)&message), 0);
  assert_string_equal(message, "");
  unlink(path);
  rmdir(folder);
}

/* A type of model that noken does not implement. */
static void a_vocabulary_opens_where_the_tokenizer_is_not_supported(void **state) {
  (void)state;
  static const char json[] =
      "{\"model\": {\"type\": \"Other\", \"vocab\": {\"the\": 0, \"##s\": 1}}}";
  const char *path = temporary_file(json, strlen(json));
  assert_null(nk_tokenizer_open(path));
  struct nk_tokenizer *t = nk_tokenizer_open_vocabulary(path);
  unlink(path);
  assert_non_null(t);
  assert_int_equal(nk_tokenizer_n_tokens(t), 2);
  assert_int_equal(nk_tokenizer_id(t, "##s", 3), 1);
  struct nk_buffer out = {0};
  enum nk_category category[2];
  int64_t *ids = NULL, id = 0;
  size_t n;
  assert_int_equal(nk_tokenizer_encode(t, "the", 3, 0, &ids, &n), NK_EUSAGE);
  assert_int_equal(nk_tokenizer_decode(t, &id, 1, 0, &out), NK_EUSAGE);
  assert_int_equal(nk_tokenizer_categories(t, 2, category), NK_EUSAGE);
  assert_int_equal(nki_tokenizer_merge_rank(t, 0), -1);
  nk_tokenizer_free(t);
}

static void a_tokenizer_that_did_not_open_keeps_its_message(void **state) {
  (void)state;
  struct nk_buffer out = {0};
  enum nk_category category;
  int64_t *ids = NULL, id = 0;
  size_t n;
  assert_null(nk_tokenizer_open("no/such/folder/tokenizer.json"));
  int code = nk_error_code();
  char message[512];
  snprintf(message, sizeof message, "%s", nk_error());
  assert_int_equal(nk_tokenizer_n_tokens(NULL), NK_OK);
  assert_null(nk_tokenizer_bytes(NULL, 0, &n));
  assert_int_equal(nk_tokenizer_encode(NULL, "a", 1, 0, &ids, &n), code);
  assert_int_equal(nk_tokenizer_decode(NULL, &id, 1, 0, &out), code);
  assert_int_equal(nk_tokenizer_categories(NULL, 1, &category), code);
  assert_int_equal(nk_tokenizer_id(NULL, "a", 1), code);
  assert_string_equal(nk_error(), message);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(text_comes_back_from_its_ids),
      cmocka_unit_test(threads_share_a_tokenizer),
      cmocka_unit_test(ranks_follow_the_merges),
      cmocka_unit_test(a_piece_of_a_hundred_thousand_letters_is_encoded),
      cmocka_unit_test(invalid_text_and_ids_are_rejected),
      cmocka_unit_test(successful_calls_leave_no_error_message),
      cmocka_unit_test(a_vocabulary_opens_where_the_tokenizer_is_not_supported),
      cmocka_unit_test(a_tokenizer_that_did_not_open_keeps_its_message),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
