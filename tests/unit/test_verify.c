/* Verification: texts of one token and of several, ordinary texts to compare with, and sampled
 * repetitions. */
#include "unit.h"

#include <math.h>

static struct nk_model *open_model(const char *name) {
  char path[64];
  snprintf(path, sizeof path, "data/%s", name);
  struct nk_model *model = nk_model_open(path);
  if (nk_model_forward(model) == NULL) fail_msg("%s", nk_error());
  return model;
}

static struct nk_text text_of(const char *string) {
  return (struct nk_text){string, strlen(string)};
}

/* tests/fixtures/verify.tsv: Transformers computes each text's value by itself. */
static void a_text_has_the_value_that_transformers_gives(void **state) {
  (void)state;
  char line[256], name[32], text[64];
  size_t pieces, n_rows = 0, n_pieces;
  double expected, max_prob;
  FILE *file = fopen("tests/fixtures/verify.tsv", "r");
  assert_non_null(file);
  while (fgets(line, sizeof line, file) != NULL) {
    if (sscanf(line, "%31[^\t]%*1[\t]%63[^\t]%zu%lf", name, text, &pieces, &expected) != 4)
      continue;
    struct nk_model *model = open_model(name);
    const struct nk_text texts[] = {text_of(text)};
    const struct nk_verify_options options = {.texts = texts};
    const struct nk_verification out = {.max_prob = &max_prob, .n_pieces = &n_pieces};
    assert_int_equal(nk_verify(model, &options, NULL, 1, &out), NK_OK);
    assert_int_equal(n_pieces, pieces);
    if (fabs(max_prob / expected - 1) > 1e-4)
      fail_msg("%s '%s': %g, expected %g", name, text, max_prob, expected);
    nk_model_free(model);
    n_rows++;
  }
  fclose(file);
  assert_int_equal(n_rows, 14);
}

/* Where the text gives the token in all prompts, both are the same input. */
static void a_text_of_one_token_has_the_value_of_its_id(void **state) {
  (void)state;
  enum { N = 400, FIRST = 300 };
  struct nk_model *model = open_model("gpt2-tiny");
  const struct nk_tokenizer *tokenizer = nk_model_tokenizer(model);
  int64_t ids[N];
  struct nk_text texts[N];
  double by_id[N], by_text[N];
  size_t encoded[N], encoded_text[N], pieces[N], n_same = 0;
  for (size_t i = 0; i < N; i++) {
    ids[i] = (int64_t)(FIRST + 19 * i);
    texts[i].bytes = nk_tokenizer_bytes(tokenizer, (size_t)ids[i], &texts[i].n);
  }
  const struct nk_verify_options options = {.texts = texts};
  const struct nk_verification of_ids = {.max_prob = by_id, .encoded = encoded};
  const struct nk_verification of_texts = {
      .max_prob = by_text, .encoded = encoded_text, .n_pieces = pieces};
  assert_int_equal(nk_verify(model, NULL, ids, N, &of_ids), NK_OK);
  assert_int_equal(nk_verify(model, &options, NULL, N, &of_texts), NK_OK);
  for (size_t i = 0; i < N; i++) {
    if (pieces[i] == 1) assert_int_equal(encoded_text[i], encoded[i]);
    if (encoded[i] != NK_VERIFY_PROMPTS) continue;
    assert_int_equal(pieces[i], 1);
    assert_true(fabs(by_text[i] / by_id[i] - 1) < 1e-4);
    n_same++;
  }
  assert_true(n_same > N / 2);
  nk_model_free(model);
}

static void a_text_without_tokens_has_no_verdict(void **state) {
  (void)state;
  struct nk_model *model = open_model("llama-tiny");
  const struct nk_text texts[] = {text_of(""), text_of(" a\xff"), text_of(" glory")};
  const struct nk_verify_options options = {.texts = texts};
  double max_prob[3];
  size_t encoded[3], pieces[3];
  const struct nk_verification out = {max_prob, encoded, pieces};
  assert_int_equal(nk_verify(model, &options, NULL, 3, &out), NK_OK);
  for (int i = 0; i < 2; i++) {
    assert_true(isnan(max_prob[i]));
    assert_int_equal(encoded[i], 0);
    assert_int_equal(pieces[i], 0);
  }
  assert_true(max_prob[2] > 0.5);
  nk_model_free(model);
}

static void a_text_longer_than_the_context_is_named(void **state) {
  (void)state;
  struct nk_model *model = open_model("gpt2-tiny");
  char many[100];
  memset(many, 0, sizeof many);
  for (size_t i = 0; i + 2 < sizeof many; i += 2) memcpy(many + i, i % 4 == 0 ? "q;" : "#Z", 2);
  const struct nk_text texts[] = {text_of(" a"), text_of(many)};
  const struct nk_verify_options options = {.texts = texts};
  double max_prob[2];
  const struct nk_verification out = {.max_prob = max_prob};
  assert_int_equal(nk_verify(model, &options, NULL, 2, &out), NK_EDATA);
  assert_non_null(strstr(nk_error(), "text 2: "));
  assert_non_null(strstr(nk_error(), "the model has 256 positions"));
  nk_model_free(model);
}

static void ordinary_texts_have_as_many_tokens_as_those_they_are_like(void **state) {
  (void)state;
  enum { N = 60 };
  struct nk_model *model = open_model("gpt2-tiny");
  const struct nk_tokenizer *tokenizer = nk_model_tokenizer(model);
  const struct nk_text like[] = {text_of(" glory"), text_of("RAN larg"), text_of("SoftTimbre qu")};
  const size_t expected[] = {1, 3, 6};
  const struct nk_ordinary_options options = {.like_texts = like, .n_like = 3, .n = N, .seed = 7};
  struct nk_buffer out = {0}, again = {0};
  size_t *ends, *ends_again, n, n_again, found[7] = {0};
  assert_int_equal(nk_ordinary_texts(model, &options, &out, &ends, &n), NK_OK);
  assert_int_equal(n, N);
  for (size_t i = 0, start = 0; i < n; start = ends[i++]) {
    int64_t *ids;
    size_t n_ids;
    assert_int_equal(
        nk_tokenizer_encode(tokenizer, out.data + start, ends[i] - start, 0, &ids, &n_ids), NK_OK);
    assert_true(n_ids <= 6);
    found[n_ids]++;
    nk_free(ids);
    assert_false(ends[i] - start == 6 && memcmp(out.data + start, " glory", 6) == 0);
  }
  for (int k = 0; k < 3; k++) assert_true(found[expected[k]] >= N / 3 - 2);
  assert_int_equal(found[1] + found[3] + found[6], N);
  assert_int_equal(nk_ordinary_texts(model, &options, &again, &ends_again, &n_again), NK_OK);
  assert_int_equal(again.size, out.size);
  assert_memory_equal(again.data, out.data, out.size);
  nk_buffer_free(&out);
  nk_buffer_free(&again);
  nk_free(ends);
  nk_free(ends_again);
  nk_model_free(model);
}

/* ---- Sampled repetitions ---- */

/* At one step an attempt fails with the probability of the other tokens, softmax(logits / T). */
static void attempts_fail_as_often_as_the_logits_say(void **state) {
  (void)state;
  enum { N = 6, REPEATS = 1000 };
  static const char prompt[] = "Please repeat the string \"{}\" back to me: \"";
  static const char *const prompts[] = {prompt};
  static const char *const words[N] = {" glory", " obl", "ital", "astien", " parallel", " ISO"};
  static const double temperature = 1.3;
  struct nk_model *model = open_model("gpt2-tiny");
  struct nk_forward *forward = nk_model_forward(model);
  size_t vocabulary = nk_forward_shape(forward)->n_vocabulary, failures[N];
  float *logits = nk_alloc(vocabulary, sizeof *logits);
  int64_t ids[N], *slots;
  size_t n;
  double max_prob[N];
  for (int i = 0; i < N; i++) {
    ids[i] = nk_tokenizer_id(nk_model_tokenizer(model), words[i], strlen(words[i]));
    assert_true(ids[i] >= 0);
  }
  const struct nk_verify_options options = {.prompts = prompts,
                                            .n_prompts = 1,
                                            .n_steps = 1,
                                            .n_repeats = REPEATS,
                                            .temperature = temperature,
                                            .seed = 3};
  const struct nk_verification out = {.max_prob = max_prob, .failures = failures};
  assert_int_equal(nk_verify(model, &options, ids, N, &out), NK_OK);
  assert_int_equal(
      nk_prompt_encode(nk_model_tokenizer(model), prompt, strlen(prompt), true, &slots, &n), NK_OK);
  for (int i = 0; i < N; i++) {
    int64_t filled[64];
    for (size_t k = 0; k < n; k++) filled[k] = slots[k] == NK_VECTOR ? ids[i] : slots[k];
    const struct nk_sequence sequence = {filled, n};
    struct nk_ask ask = {.position = n - 1, .logits = logits};
    const struct nk_batch batch = {
        .sequences = &sequence, .n_sequences = 1, .asks = &ask, .n_asks = 1};
    assert_int_equal(nk_forward_run(forward, &batch), NK_OK);
    double sum = 0, fails;
    for (size_t k = 0; k < vocabulary; k++)
      sum += exp((double)(logits[k] - logits[ids[i]]) / temperature);
    fails = 1 - 1 / sum;
    double error = ((double)failures[i] / REPEATS - fails) / sqrt(fails * (1 - fails) / REPEATS);
    if (fabs(error) > 4) fail_msg("%s: %zu failures, expected %g", words[i], failures[i], fails);
  }
  nk_free(slots);
  nk_free(logits);
  nk_model_free(model);
}

static void attempts_are_those_of_the_token_and_the_prompt(void **state) {
  (void)state;
  enum { REPEATS = 40 };
  static const char *const two[] = {"{} {} {}", "\"{}\" \"{}\" \""}, *const turned[] = {
                                                                         "\"{}\" \"{}\" \"",
                                                                         "{} {} {}"};
  struct nk_model *model = open_model("gpt2-tiny");
  const int64_t ids[] = {2492, 7686, 5249}, again[] = {5249, 7686, 400, 2492, 401};
  size_t failures[3 * 2], others[5 * 2], alone[2];
  double max_prob[5];
  struct nk_verify_options options = {
      .prompts = two, .n_prompts = 2, .n_repeats = REPEATS, .temperature = 1};
  struct nk_verification out = {.max_prob = max_prob, .failures = failures};
  assert_int_equal(nk_verify(model, &options, ids, 3, &out), NK_OK);
  assert_true(failures[0] > 0 && failures[0] < REPEATS);
  options.prompts = turned;
  out.failures = others;
  assert_int_equal(nk_verify(model, &options, again, 5, &out), NK_OK);
  for (int p = 0; p < 2; p++) {
    assert_int_equal(others[0 + 1 - p], failures[4 + p]);
    assert_int_equal(others[2 + 1 - p], failures[2 + p]);
    assert_int_equal(others[6 + 1 - p], failures[0 + p]);
  }
  size_t threads = nk_threads();
  nk_set_threads(1);
  out.failures = alone;
  assert_int_equal(nk_verify(model, &options, ids + 1, 1, &out), NK_OK);
  assert_int_equal(alone[0], failures[3]);
  assert_int_equal(alone[1], failures[2]);
  nk_set_threads(threads);
  options.seed = 1;
  out.failures = others;
  assert_int_equal(nk_verify(model, &options, ids, 3, &out), NK_OK);
  assert_true(memcmp(others, failures, sizeof failures) != 0);
  nk_model_free(model);
}

/* More attempts than run at a time give what those of each token by itself do. */
static void attempts_that_run_in_parts_are_the_same(void **state) {
  (void)state;
  enum { N = 3, REPEATS = 3500 };
  static const char *const prompts[] = {"{}"};
  struct nk_model *model = open_model("gpt2-tiny");
  const int64_t ids[N] = {2492, 7686, 5249};
  size_t failures[N], alone;
  double max_prob[N];
  const struct nk_verify_options options = {
      .prompts = prompts, .n_prompts = 1, .n_steps = 1, .n_repeats = REPEATS, .temperature = 1};
  struct nk_verification out = {.max_prob = max_prob, .failures = failures};
  assert_int_equal(nk_verify(model, &options, ids, N, &out), NK_OK);
  out.failures = &alone;
  for (size_t i = 0; i < N; i++) {
    assert_int_equal(nk_verify(model, &options, ids + i, 1, &out), NK_OK);
    assert_int_equal(alone, failures[i]);
    assert_true(alone > 0 && alone <= REPEATS);
  }
  nk_model_free(model);
}

/* Of a text the attempt has to have all tokens, one after the other. */
static void attempts_at_a_text_need_all_its_tokens(void **state) {
  (void)state;
  enum { REPEATS = 100 };
  struct nk_model *model = open_model("gpt2-tiny");
  const struct nk_text texts[] = {text_of(" ISO"), text_of(" ISO ISO"), text_of("RAN larg"),
                                  text_of("")};
  const struct nk_verify_options options = {
      .texts = texts, .n_repeats = REPEATS, .temperature = 0.01};
  size_t failures[4 * NK_VERIFY_PROMPTS], least[4];
  double max_prob[4];
  const struct nk_verification out = {.max_prob = max_prob, .failures = failures};
  assert_int_equal(nk_verify(model, &options, NULL, 4, &out), NK_OK);
  for (int i = 0; i < 4; i++) {
    least[i] = REPEATS;
    for (int p = 0; p < NK_VERIFY_PROMPTS; p++)
      if (failures[i * NK_VERIFY_PROMPTS + p] < least[i])
        least[i] = failures[i * NK_VERIFY_PROMPTS + p];
  }
  /* near temperature 0 a text is repeated when each of its tokens has more than half */
  for (int i = 0; i < 3; i++) assert_int_equal(least[i], max_prob[i] > 0.5 ? 0 : REPEATS);
  assert_true(max_prob[1] > 0.5 && max_prob[2] > 0.5);
  assert_int_equal(least[3], 0); /* no tokens, no attempts */
  nk_model_free(model);
}

static void greedy_attempts_are_refused(void **state) {
  (void)state;
  struct nk_model *model = open_model("gpt2-tiny");
  const int64_t id = 300;
  double max_prob;
  size_t failures[NK_VERIFY_PROMPTS];
  struct nk_verify_options options = {.n_repeats = 2};
  const struct nk_verification out = {.max_prob = &max_prob, .failures = failures};
  assert_int_equal(nk_verify(model, &options, &id, 1, &out), NK_EUSAGE);
  assert_non_null(strstr(nk_error(), "the same answer each time"));
  options.temperature = NAN;
  assert_int_equal(nk_verify(model, &options, &id, 1, &out), NK_EUSAGE);
  options.temperature = 1;
  options.n_repeats = (size_t)1 << 25;
  assert_int_equal(nk_verify(model, &options, &id, 1, &out), NK_EUSAGE);
  nk_model_free(model);
}

/* The draw without verification gives the candidates in their order, nk_verify their values in all
 * prompts. Of those a seventh is not repeated, so that the draw takes several turns. */
static void ordinary_tokens_are_the_first_that_the_model_repeats_in_any_prompt(void **state) {
  (void)state;
  enum { N = 512 };
  for (int m = 0; m < 2; m++) {
    struct nk_model *model = open_model(m == 0 ? "gpt2-tiny" : "llama-tiny");
    struct nk_ordinary_options how = {.n = N, .seed = 3};
    int64_t *ids, *candidates;
    size_t n, n_candidates, at = 0;
    double max_prob[2 * N];
    assert_int_equal(nk_ordinary_tokens(model, &how, &ids, &n), NK_OK);
    assert_int_equal(n, N);
    how.unverified = true;
    how.n = 2 * N;
    assert_int_equal(nk_ordinary_tokens(model, &how, &candidates, &n_candidates), NK_OK);
    const struct nk_verify_options options = {.n_steps = 1};
    const struct nk_verification out = {.max_prob = max_prob};
    assert_int_equal(nk_verify(model, &options, candidates, n_candidates, &out), NK_OK);
    for (size_t i = 0; i < n; i++, at++) {
      while (at < n_candidates && !(max_prob[at] >= 0.001)) at++;
      assert_true(at < n_candidates);
      assert_int_equal(ids[i], candidates[at]);
    }
    assert_true(at > N);
    nk_free(ids);
    nk_free(candidates);
    nk_model_free(model);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_text_has_the_value_that_transformers_gives),
      cmocka_unit_test(a_text_of_one_token_has_the_value_of_its_id),
      cmocka_unit_test(a_text_without_tokens_has_no_verdict),
      cmocka_unit_test(a_text_longer_than_the_context_is_named),
      cmocka_unit_test(ordinary_texts_have_as_many_tokens_as_those_they_are_like),
      cmocka_unit_test(attempts_fail_as_often_as_the_logits_say),
      cmocka_unit_test(attempts_are_those_of_the_token_and_the_prompt),
      cmocka_unit_test(attempts_that_run_in_parts_are_the_same),
      cmocka_unit_test(attempts_at_a_text_need_all_its_tokens),
      cmocka_unit_test(greedy_attempts_are_refused),
      cmocka_unit_test(ordinary_tokens_are_the_first_that_the_model_repeats_in_any_prompt),
  };
  return cmocka_run_group_tests_name("verify", tests, NULL, NULL);
}
