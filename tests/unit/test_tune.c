/* Tuning: the loss, its gradient and the optimizer against PyTorch (tests/fixtures/tune.py); what
 * is held out; checkpoints; what is refused. */
#include <math.h>

#include "forward/tune.h"
#include "model/safetensors.h"
#include "unit.h"

enum { N_SIGNS = 4, N_ROWS = 12 };
static const char *const prompts[] = {"The {} of", "There was once a {} and", "Tell me about {}."};
static const struct nk_text texts[] = {{"In the beginning God created", 28},
                                       {"And God said, Let there be light: and there was", 47}};

static const void *data_of(const struct nki_safetensors *file, const char *name, size_t *n) {
  const struct nk_tensor *t = nki_safetensors_find(file, name);
  if (t == NULL) fail_msg("%s", nk_error());
  if (n != NULL) *n = t->shape[0];
  return t->data;
}

static struct nk_model *open_model(const char *name) {
  char path[256];
  snprintf(path, sizeof path, "data/%s", name);
  struct nk_model *model = nk_model_open(path);
  if (model == NULL) fail_msg("%s", nk_error());
  return model;
}

static struct nk_tune *open_run(struct nk_model *model, const struct nk_tune_options *options) {
  struct nk_tune *tune = nk_tune_new(model, options);
  if (tune == NULL) fail_msg("%s", nk_error());
  return tune;
}

/* N_ROWS vectors of random size on as many rays. */
static struct nk_vectors *make_nokens(size_t dim) {
  struct nk_vectors *set = nk_vectors_new(N_ROWS, dim, NULL, false);
  float *values = nk_vectors_writable(set);
  uint32_t x = 7;
  for (size_t i = 0; i < N_ROWS * dim; i++) {
    x = x * 1664525u + 1013904223u;
    values[i] = 0.3f * ((float)(x >> 8) / 8388608.0f - 1);
  }
  return set;
}

static struct nk_tune_options small_run(const struct nk_vectors *nokens) {
  return (struct nk_tune_options){.nokens = nokens,
                                  .prompts = prompts,
                                  .n_prompts = 3,
                                  .texts = texts,
                                  .n_texts = 2,
                                  .train = NK_TUNE_LAYERS,
                                  .n_steps = 4,
                                  .n_batch = 4,
                                  .n_evaluate = 2,
                                  .seed = 3};
}

/* ---- Against PyTorch ---- */

static double sign_of(size_t i, size_t k) {
  uint32_t x = (uint32_t)i * 2654435761u + 40503u * (uint32_t)(k + 1);
  x = (x ^ x >> 16) * 0x45d9f3bu;
  return (x ^ x >> 16) & 1 ? -1 : 1;
}

static void check_gradient(const struct nki_safetensors *file, const struct nki_tune_tensor *t,
                           double longest) {
  char name[300];
  snprintf(name, sizeof name, "weight:%.200s", t->name);
  const double *expected = data_of(file, name, NULL);
  double squares = 0, products[N_SIGNS] = {0};
  for (size_t i = 0; i < t->n; i++) {
    squares += (double)t->gradient[i] * (double)t->gradient[i];
    for (size_t k = 0; k < N_SIGNS; k++) products[k] += (double)t->gradient[i] * sign_of(i, k);
  }
  double worst = fabs(sqrt(squares) - expected[0]);
  for (size_t k = 0; k < N_SIGNS; k++) worst = fmax(worst, fabs(products[k] - expected[k + 1]));
  if (!(worst <= fmax(1e-5 * expected[0], 1e-6 * longest)))
    fail_msg("%s: length %.7g, expected %.7g; relative error %.3g", t->name, sqrt(squares),
             expected[0], worst / expected[0]);
}

static void check_gradients(const struct nki_safetensors *file, const struct nk_tune *tune) {
  double longest = 0;
  for (size_t i = 0; i < tune->n_tensors; i++) {
    char key[300];
    snprintf(key, sizeof key, "weight:%.200s", tune->tensors[i].name);
    longest = fmax(longest, *(const double *)data_of(file, key, NULL));
  }
  for (size_t i = 0; i < tune->n_tensors; i++) check_gradient(file, &tune->tensors[i], longest);
}

static void compare_loss(const char *name, size_t layer) {
  char path[256];
  snprintf(path, sizeof path, "tests/fixtures/tune/%s.safetensors", name);
  struct nki_safetensors *file = nki_safetensors_open(path);
  if (file == NULL) fail_msg("%s", nk_error());
  struct nk_model *model = open_model(name);
  size_t n_nokens, n_tokens, n = 0, dim = nk_forward_shape(nk_model_forward(model))->dim;
  const float *values = data_of(file, "nokens", &n_nokens);
  const int64_t *tokens = data_of(file, "tokens", &n_tokens);
  struct nk_vectors *set = nk_vectors_new(n_nokens, dim, NULL, false);
  memcpy(nk_vectors_writable(set), values, n_nokens * dim * sizeof *values);
  const struct nk_tune_options options = {.nokens = set,
                                          .layer = layer,
                                          .prompts = prompts,
                                          .n_prompts = 2,
                                          .texts = texts,
                                          .n_texts = 1,
                                          .weight = 2,
                                          .train = NK_TUNE_ALL,
                                          .target = data_of(file, "target", NULL)};
  struct nk_tune *tune = open_run(model, &options);
  struct nki_example examples[16];
  for (size_t p = 0; p < 2; p++) {
    size_t length;
    char key[16];
    snprintf(key, sizeof key, "prompt:%zu", p);
    const int64_t *ids = data_of(file, key, &length);
    assert_int_equal(tune->probes[p]->prompt.n, length);
    assert_memory_equal(tune->probes[p]->prompt.ids, ids, length * sizeof *ids);
    for (size_t i = 0; i < n_nokens; i++)
      examples[n++] = (struct nki_example){.kind = NKI_NOKEN, .item = i, .prompt = p};
    for (size_t i = 0; i < n_tokens; i++) {
      tune->ordinary[i] = tokens[i];
      examples[n++] = (struct nki_example){.kind = NKI_ORDINARY, .item = i, .prompt = p};
    }
  }
  examples[n++] = (struct nki_example){.kind = NKI_TEXT};
  for (size_t i = 0; i < tune->n_tensors; i++)
    for (size_t k = 0; k < tune->tensors[i].n; k++) tune->tensors[i].values[k] *= 1.05f;
  double sums[NKI_N_TERMS] = {0};
  size_t n_terms[NKI_N_TERMS] = {0};
  if (nki_tune_loss(tune, examples, n, true, sums, n_terms) != NK_OK) fail_msg("%s", nk_error());
  /* A small divergence is exact to the rounding of float logarithms, about 1e-7 of a nat. */
  const double *losses = data_of(file, "losses", NULL);
  for (int kind = 0; kind < NKI_N_EXAMPLES; kind++) {
    double loss = sums[kind] / (double)n_terms[kind];
    if (!(fabs(loss - losses[kind]) <= 1e-5 * losses[kind] + 5e-7))
      fail_msg("loss %d: %.9g, expected %.9g", kind, loss, losses[kind]);
  }
  check_gradients(file, tune);
  assert_int_equal(tune->n_tensors, nk_model_n_tensors(model));
  nk_tune_free(tune);
  nk_vectors_free(set);
  nk_model_free(model);
  nki_safetensors_free(file);
}

static void the_loss_and_its_gradient_are_those_of_pytorch(void **state) {
  (void)state;
  compare_loss("gpt2-tiny", 0);
  compare_loss("llama-tiny", 2);
}

static void steps_are_those_of_pytorchs_adamw(void **state) {
  (void)state;
  struct nki_safetensors *file = nki_safetensors_open("tests/fixtures/tune/adamw.safetensors");
  if (file == NULL) fail_msg("%s", nk_error());
  size_t n, n_steps;
  const float *gradients = data_of(file, "gradient", NULL), *before = data_of(file, "before", &n),
              *after = data_of(file, "after", NULL);
  const double *rates = data_of(file, "rates", &n_steps);
  struct nki_tune_tensor tensor = {.name = "x",
                                   .n = n,
                                   .values = nk_alloc(n, sizeof(float)),
                                   .gradient = nk_alloc(n, sizeof(float)),
                                   .mean = nk_calloc(n, sizeof(float)),
                                   .square = nk_calloc(n, sizeof(float))};
  struct nk_tune tune = {.tensors = &tensor,
                         .n_tensors = 1,
                         .options = {.decay = *(const double *)data_of(file, "decay", NULL)}};
  memcpy(tensor.values, before, n * sizeof *before);
  for (size_t step = 0; step < n_steps; step++) {
    memcpy(tensor.gradient, gradients + step * n, n * sizeof *gradients);
    nki_tune_update(&tune, rates[step], step + 1);
  }
  for (size_t i = 0; i < n; i++)
    if (!(fabsf(tensor.values[i] - after[i]) <= 1e-6f * fmaxf(1, fabsf(after[i]))))
      fail_msg("element %zu: %.9g, expected %.9g", i, (double)tensor.values[i], (double)after[i]);
  nk_free(tensor.values);
  nk_free(tensor.gradient);
  nk_free(tensor.mean);
  nk_free(tensor.square);
  nki_safetensors_free(file);
}

/* ---- Runs ---- */

static void nokens_of_one_ray_are_held_out_together(void **state) {
  (void)state;
  struct nk_model *model = open_model("gpt2-tiny");
  struct nk_vectors *set = make_nokens(128);
  int64_t rays[N_ROWS];
  for (size_t i = 0; i < N_ROWS; i++) rays[i] = (int64_t)(i * 5 % 4);
  assert_int_equal(nk_vectors_set_integers(set, "ray", rays), NK_OK);
  struct nk_tune_options options = small_run(set);
  for (options.seed = 0; options.seed < 3; options.seed++) {
    struct nk_tune *tune = open_run(model, &options);
    const struct nki_split *split = &tune->of_nokens;
    bool seen[N_ROWS] = {false};
    assert_int_equal(split->n_train, 9); /* of four rays one is held out */
    for (size_t i = 0; i < N_ROWS; i++) {
      assert_false(seen[split->order[i]]);
      seen[split->order[i]] = true;
      for (size_t k = 0; k < N_ROWS; k++)
        if ((i < 9) != (k < 9)) assert_true(rays[split->order[i]] != rays[split->order[k]]);
    }
    assert_int_equal(tune->of_prompts.n_train, 2);
    assert_int_equal(tune->of_pieces.n_train, 1);
    nk_tune_free(tune);
  }
  nk_vectors_free(set);
  nk_model_free(model);
}

/* All pieces of a line, and of lines with the same text, are on one side. */
static void pieces_of_one_text_are_held_out_together(void **state) {
  (void)state;
  static char line[1200];
  for (size_t i = 0; i + 4 < sizeof line; i += 4) memcpy(line + i, "the ", 5);
  const struct nk_text lines[] = {{line, strlen(line)}, texts[0], {line, strlen(line)}, texts[1]};
  struct nk_model *model = open_model("gpt2-tiny");
  struct nk_vectors *set = make_nokens(128);
  struct nk_tune_options options = small_run(set);
  options.n_prompts = 1;
  options.texts = lines;
  options.n_texts = 4;
  struct nk_tune *tune = open_run(model, &options);
  const struct nki_split *split = &tune->of_pieces;
  size_t n = (tune->n_pieces - 2) / 2;
  bool held[64] = {false};
  assert_true(n > 2 && tune->n_pieces < 64);
  for (size_t i = split->n_train; i < split->n; i++) held[split->order[i]] = true;
  for (size_t i = 0; i < n; i++) {
    assert_true(held[i] == held[0]);
    assert_true(held[n + 1 + i] == held[0]);
  }
  assert_true(split->n_train < split->n);
  nk_tune_free(tune);
  const struct nk_text same[] = {texts[0], texts[0]};
  options.texts = same;
  options.n_texts = 2;
  assert_null(nk_tune_new(model, &options));
  assert_non_null(strstr(nk_error(), "2 texts, all the same"));
  nk_vectors_free(set);
  nk_model_free(model);
}

/* The mean of -log p of the next tokens of pieces, one run for each. */
static double next_token_loss(const struct nk_tune *tune, const size_t *pieces, size_t n) {
  double sum = 0;
  size_t n_terms = 0;
  for (size_t i = 0; i < n; i++) {
    const struct nk_sequence *piece = &tune->pieces[pieces[i]];
    for (size_t k = 0; k + 1 < piece->n; k++) {
      float log_prob;
      struct nk_ask ask = {
          .position = k, .ids = &piece->ids[k + 1], .n_ids = 1, .log_probs = &log_prob};
      const struct nk_batch batch = {
          .sequences = piece, .n_sequences = 1, .asks = &ask, .n_asks = 1};
      if (nk_forward_run(tune->forward, &batch) != NK_OK) fail_msg("%s", nk_error());
      sum -= (double)log_prob;
      n_terms++;
    }
  }
  return sum / (double)n_terms;
}

/* Of 200 held-out lines 128, drawn by the seed; the next-token loss is of these. */
static void evaluations_read_a_sample_of_a_long_text(void **state) {
  (void)state;
  enum { LINES = 400, HELD = 128 };
  static char lines[LINES][32];
  struct nk_text all[LINES];
  for (size_t i = 0; i < LINES; i++) {
    snprintf(lines[i], sizeof lines[i], "and %zu of", i);
    all[i] = (struct nk_text){lines[i], strlen(lines[i])};
  }
  struct nk_model *model = open_model("gpt2-tiny");
  struct nk_vectors *set = make_nokens(128);
  struct nk_tune_options options = small_run(set);
  options.n_prompts = 1;
  options.texts = all;
  options.n_texts = LINES;
  options.hold_out = 0.5;
  size_t first[HELD] = {0}, n_rows;
  for (uint64_t seed = 3; seed < 5; seed++) {
    options.seed = seed;
    struct nk_tune *tune = open_run(model, &options);
    const struct nki_split *split = &tune->of_pieces;
    bool seen[LINES] = {false}, done;
    assert_int_equal(split->n_train, LINES / 2);
    assert_int_equal(split->n, LINES / 2 + HELD);
    for (size_t i = 0; i < split->n; i++) {
      assert_false(seen[split->order[i]]);
      seen[split->order[i]] = true;
    }
    assert_memory_not_equal(first, split->order + split->n_train, sizeof first);
    memcpy(first, split->order + split->n_train, sizeof first);
    double loss = next_token_loss(tune, first, HELD);
    assert_int_equal(nk_tune_step(tune, &done), NK_OK);
    assert_true(fabs(nk_tune_rows(tune, &n_rows)->next_token_loss - loss) <= 1e-5 * loss);
    nk_tune_free(tune);
  }
  nk_vectors_free(set);
  nk_model_free(model);
}

static uint64_t input_of(struct nk_model *model, const struct nk_tune_options *options) {
  struct nk_tune *tune = open_run(model, options);
  uint64_t input = tune->input;
  nk_tune_free(tune);
  return input;
}

static void the_input_is_known_by_its_parts_and_the_configuration(void **state) {
  char path[300], command[1800];
  struct nk_model *model = open_model("gpt2-tiny");
  struct nk_vectors *set = make_nokens(128);
  struct nk_tune_options options = small_run(set);
  options.n_texts = 0;
  options.n_prompts = 1;
  const uint64_t input = input_of(model, &options);
  assert_true(input == input_of(model, &options));
  const int64_t target = 300;
  options.target = &target;
  assert_true(input != input_of(model, &options));
  options.target = NULL;
  snprintf(path, sizeof path, "%s/other", (char *)*state);
  snprintf(command, sizeof command,
           "cp -rL data/gpt2-tiny '%s' && chmod -R u+w '%s' && sed -i "
           "'s/\"layer_norm_epsilon\": *[-0-9.e]*/\"layer_norm_epsilon\": 0.001/' "
           "'%s/config.json' && ! cmp -s data/gpt2-tiny/config.json '%s/config.json'",
           path, path, path, path);
  assert_int_equal(system(command), 0);
  struct nk_model *other = nk_model_open(path);
  if (other == NULL) fail_msg("%s", nk_error());
  assert_true(input != input_of(other, &options));
  nk_vectors_free(set);
  nk_model_free(model);
  nk_model_free(other);
}

static void save_run(const struct nk_tune *tune, const char *path) {
  struct nk_output *output = nk_output_open(path, NK_OUTPUT_BINARY);
  if (nk_tune_save(tune, output) != NK_OK || nk_output_commit(output) != NK_OK)
    fail_msg("%s", nk_error());
  nk_output_free(output);
}

static void assert_same_run(const struct nk_tune *a, const struct nk_tune *b) {
  assert_int_equal(a->n_rows, b->n_rows);
  assert_memory_equal(a->rows, b->rows, a->n_rows * sizeof *a->rows);
  for (size_t i = 0; i < a->n_tensors; i++)
    assert_memory_equal(a->tensors[i].values, b->tensors[i].values,
                        a->tensors[i].n * sizeof(float));
}

static void a_run_from_a_checkpoint_ends_as_one_without(void **state) {
  char path[300];
  snprintf(path, sizeof path, "%s/run", (char *)*state);
  struct nk_model *model = open_model("gpt2-tiny"), *other = open_model("gpt2-tiny");
  struct nk_vectors *set = make_nokens(128);
  struct nk_tune_options options = small_run(set);
  struct nk_tune *whole = open_run(model, &options), *part = NULL;
  bool done = false;
  for (size_t step = 0; !done; step++) {
    if (nk_tune_step(whole, &done) != NK_OK) fail_msg("%s", nk_error());
    if (step == 0) save_run(whole, path); /* between two evaluations */
  }
  assert_int_equal(whole->n_rows, 3);
  options.checkpoint = path;
  part = open_run(other, &options);
  assert_int_equal(part->step, 1);
  do {
    if (nk_tune_step(part, &done) != NK_OK) fail_msg("%s", nk_error());
  } while (!done);
  assert_same_run(whole, part);
  nk_tune_free(part);
  options.rate = 2e-3;
  assert_null(nk_tune_new(other, &options));
  assert_int_equal(nk_error_code(), NK_EUSAGE);
  assert_non_null(strstr(nk_error(), "rate is 0.001"));
  options.rate = 0;
  nk_vectors_writable(set)[5] += 1;
  assert_null(nk_tune_new(other, &options));
  assert_non_null(strstr(nk_error(), "other nokens, prompts, texts or of another model"));
  nk_tune_free(whole);
  nk_vectors_free(set);
  nk_model_free(model);
  nk_model_free(other);
}

static void refuse_checkpoint(struct nk_tune *tune, const char *path, const char *message) {
  nk_free(tune->rows);
  tune->rows = NULL;
  assert_int_equal(nki_tune_load(tune, path), NK_EDATA);
  if (strstr(nk_error(), message) == NULL || strstr(nk_error(), path) == NULL)
    fail_msg("'%s', expected '%s'", nk_error(), message);
}

/* The first number of the file's state, the step, is another one. */
static void patch_step(const char *path, double step) {
  struct nki_safetensors *file = nki_safetensors_open(path);
  if (file == NULL) fail_msg("%s", nk_error());
  const struct nk_file *mapped = nki_safetensors_file(file);
  size_t n = mapped->size;
  size_t at = (size_t)((const unsigned char *)data_of(file, "state", NULL) - mapped->data);
  unsigned char *bytes = nk_alloc(n, 1);
  memcpy(bytes, mapped->data, n);
  memcpy(bytes + at, &step, sizeof step);
  nki_safetensors_free(file);
  write_bytes(path, bytes, n);
  nk_free(bytes);
}

static void a_checkpoint_of_no_possible_state_is_refused(void **state) {
  char path[300];
  snprintf(path, sizeof path, "%s/hostile", (char *)*state);
  struct nk_model *model = open_model("gpt2-tiny");
  struct nk_vectors *set = make_nokens(128);
  struct nk_tune_options options = small_run(set);
  options.n_prompts = 1;
  struct nk_tune *tune = open_run(model, &options), *to = open_run(model, &options);
  bool done = false;
  for (size_t step = 0; step < 2; step++) assert_int_equal(nk_tune_step(tune, &done), NK_OK);
  save_run(tune, path);
  if (nki_tune_load(to, path) != NK_OK) fail_msg("%s", nk_error());
  patch_step(path, 1.5);
  refuse_checkpoint(to, path, "step 1.5 of 4");
  patch_step(path, 3);
  refuse_checkpoint(to, path, "sums of 0 steps at step 3");
  tune->step = 4;
  save_run(tune, path);
  refuse_checkpoint(to, path, "done is 0 at step 4 of 4");
  tune->step = 2;
  double best = tune->best_loss;
  tune->best_loss = (double)NAN;
  save_run(tune, path);
  refuse_checkpoint(to, path, "number 2 is nan");
  tune->best_loss = best;
  size_t n_rows = tune->n_rows;
  tune->n_rows = 0;
  save_run(tune, path);
  refuse_checkpoint(to, path, "0 rows at step 2, expected 2");
  tune->n_rows = n_rows;
  tune->rows[1].step = 1;
  save_run(tune, path);
  refuse_checkpoint(to, path, "row 1 is of step 1, expected 2");
  tune->rows[1].step = 2;
  tune->tensors[0].square[3] = -1;
  save_run(tune, path);
  refuse_checkpoint(to, path, "element 3 is -1, below 0");
  nk_tune_free(to);
  nk_tune_free(tune);
  nk_vectors_free(set);
  nk_model_free(model);
}

static void keep_warning(const char *message, void *user) {
  snprintf(user, 200, "%s", message);
}

static void a_run_that_lowers_nothing_says_so(void **state) {
  (void)state;
  char warning[200] = "";
  struct nk_model *model = open_model("gpt2-tiny");
  struct nk_vectors *set = make_nokens(128);
  struct nk_tune_options options = small_run(set);
  options.n_steps = 1;
  options.rate = 1;
  options.n_prompts = 1;
  struct nk_tune *tune = open_run(model, &options);
  bool done = false;
  nk_on_warning(keep_warning, warning);
  assert_int_equal(nk_tune_step(tune, &done), NK_OK);
  nk_on_warning(NULL, NULL);
  assert_true(done);
  assert_string_equal(warning, "no step lowered the held-out loss: the weights are as they were");
  nk_tune_free(tune);
  nk_vectors_free(set);
  nk_model_free(model);
}

/* The mean over the training prompts of KL(p || mean), the mean of nokens that are trained on. */
static double mean_kl(struct nk_tune *tune, const float *nokens) {
  const struct nki_split *split = &tune->of_nokens;
  double sum = 0;
  for (size_t p = 0; p < tune->of_prompts.n_train; p++) {
    struct nk_vectors *set = nk_vectors_new(split->n, tune->dim, (float *)nokens, true);
    struct nk_probe *probe = tune->probes[tune->of_prompts.order[p]];
    struct nk_behaviour *b = nk_probe_run(probe, &(struct nk_items){.vectors = set});
    for (size_t i = 0; i < split->n_train; i++) sum += b->kl[split->order[i]];
    nk_behaviour_free(b);
    nk_vectors_free(set);
  }
  return sum;
}

static void searched_nokens_do_more_at_the_same_distance(void **state) {
  (void)state;
  struct nk_model *model = open_model("gpt2-tiny");
  struct nk_vectors *embedding = nk_model_vectors(model, NK_MATRIX_INPUT);
  struct nk_region *region = nk_region_fit(embedding, NULL, 0, NULL);
  if (region == NULL) fail_msg("%s", nk_error());
  struct nk_vectors *set = make_nokens(128);
  float distances[N_ROWS], after[N_ROWS];
  double column[N_ROWS];
  assert_int_equal(nk_mahalanobis(region->gaussian, set->values, N_ROWS, distances), NK_OK);
  for (size_t i = 0; i < N_ROWS; i++) column[i] = (double)distances[i];
  struct nk_tune_options options = small_run(set);
  options.n_search = 2;
  options.region = region;
  assert_null(nk_tune_new(model, &options));
  assert_non_null(strstr(nk_error(), "without the column 'distance'"));
  assert_int_equal(nk_vectors_set_numbers(set, "distance", column), NK_OK);
  struct nk_tune *tune = open_run(model, &options);
  if (nki_tune_search(tune) != NK_OK) fail_msg("%s", nk_error());
  assert_int_equal(nk_mahalanobis(region->gaussian, tune->nokens, N_ROWS, after), NK_OK);
  for (size_t i = 0; i < N_ROWS; i++) {
    size_t row = tune->of_nokens.order[i];
    bool same = memcmp(tune->nokens + row * 128, set->values + row * 128, 128 * sizeof(float)) == 0;
    assert_true(same == (i >= tune->of_nokens.n_train)); /* what is held out stays */
    assert_true(fabsf(after[row] - distances[row]) <= 1e-4f * distances[row]);
  }
  assert_true(mean_kl(tune, tune->nokens) > 1.2 * mean_kl(tune, set->values));
  if (nki_tune_evaluate(tune) != NK_OK) fail_msg("%s", nk_error());
  assert_int_equal(nk_mahalanobis(region->gaussian, tune->nokens, N_ROWS, after), NK_OK);
  for (size_t i = tune->of_nokens.n_train; i < N_ROWS; i++) { /* for an evaluation it is searched */
    size_t row = tune->of_nokens.order[i];
    assert_memory_not_equal(tune->nokens + row * 128, set->values + row * 128, 512);
    assert_true(fabsf(after[row] - distances[row]) <= 1e-4f * distances[row]);
  }
  nk_tune_free(tune);
  nk_vectors_free(set);
  nk_vectors_free(embedding);
  nk_region_free(region);
  nk_model_free(model);
}

static void the_model_is_as_it_was_after_a_run(void **state) {
  (void)state;
  struct nk_model *model = open_model("llama-tiny");
  struct nk_vectors *set = make_nokens(128);
  struct nk_tune_options options = small_run(set);
  const struct nk_tensor *tensor = nk_model_find(model, "model.layers.0.mlp.down_proj.weight");
  assert_non_null(tensor);
  struct nk_tensor before = *tensor;
  struct nk_tune *tune = open_run(model, &options);
  bool done;
  assert_int_equal(nk_tune_step(tune, &done), NK_OK);
  assert_ptr_not_equal(tensor->data, before.data);
  size_t n;
  const struct nk_tune_row *rows = nk_tune_rows(tune, &n);
  assert_int_equal(n, 1);
  assert_true(rows[0].heldout_ordinary_loss < 1e-6); /* frozen and tuned are the same at step 0 */
  nk_tune_free(tune);
  assert_memory_equal(tensor, &before, sizeof before);
  nk_vectors_free(set);
  nk_model_free(model);
}

static void parts_choose_their_tensors(void **state) {
  (void)state;
  static const struct {
    enum nk_tune_part train;
    size_t first, last, n;
  } cases[] = {{NK_TUNE_HALF, 0, 0, 24},
               {NK_TUNE_EMBEDDING, 0, 0, 1},
               {NK_TUNE_NORMS, 0, 0, 18},
               {NK_TUNE_LAYERS, 1, 2, 24}};
  struct nk_model *model = open_model("gpt2-tiny");
  struct nk_vectors *set = make_nokens(128);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct nk_tune_options options = small_run(set);
    options.train = cases[i].train;
    options.first_layer = cases[i].first;
    options.last_layer = cases[i].last;
    struct nk_tune *tune = open_run(model, &options);
    assert_int_equal(tune->n_tensors, cases[i].n);
    for (size_t t = 0; t < tune->n_tensors; t++)
      if (cases[i].train == NK_TUNE_NORMS) assert_non_null(strstr(tune->tensors[t].name, "ln_"));
    nk_tune_free(tune);
  }
  struct nk_tune_options options = small_run(set);
  options.first_layer = options.last_layer = 4;
  assert_null(nk_tune_new(model, &options));
  assert_non_null(strstr(nk_error(), "blocks 4 to 4: the model has blocks 0 to 3"));
  nk_vectors_free(set);
  nk_model_free(model);
}

static void what_cannot_be_tuned_is_refused(void **state) {
  (void)state;
  struct nk_model *model = open_model("gpt2-tiny");
  struct nk_vectors *set = make_nokens(128);
  struct nk_tune_options options = small_run(set);
  options.hold_out = 1;
  assert_null(nk_tune_new(model, &options));
  options = small_run(set);
  options.rate = -1;
  assert_null(nk_tune_new(model, &options));
  options = small_run(set);
  options.n_prompts = 0;
  assert_null(nk_tune_new(model, &options));
  assert_int_equal(nk_error_code(), NK_EUSAGE);
  options = small_run(set);
  options.train = NK_TUNE_HALF;
  options.layer = 4;
  assert_null(nk_tune_new(model, &options));
  assert_non_null(strstr(nk_error(), "after the last block"));
  options = small_run(set);
  options.n_batch = SIZE_MAX / 2 + 1;
  assert_null(nk_tune_new(model, &options));
  assert_int_equal(nk_error_code(), NK_EUSAGE);
  options = small_run(set);
  const int64_t target = -1;
  options.target = &target;
  assert_null(nk_tune_new(model, &options));
  assert_non_null(strstr(nk_error(), "target token -1: the model has tokens 0 to "));
  options = small_run(set);
  const char *const twice[] = {prompts[0], prompts[1], prompts[0]};
  options.prompts = twice;
  assert_null(nk_tune_new(model, &options));
  assert_non_null(strstr(nk_error(), "prompts 1 and 3 are the same"));
  options = small_run(set);
  options.train = NK_TUNE_NORMS;
  struct nk_model *olmo = nk_model_open("tests/fixtures/forward/olmo");
  assert_non_null(olmo);
  assert_null(nk_tune_new(olmo, &options));
  assert_non_null(strstr(nk_error(), "no weights to train: its norms have none"));
  nk_model_free(olmo);
  options = small_run(set);
  int64_t rays[N_ROWS] = {0};
  assert_int_equal(nk_vectors_set_integers(set, "ray", rays), NK_OK);
  assert_null(nk_tune_new(model, &options));
  assert_non_null(strstr(nk_error(), "12 nokens of 1 ray"));
  nk_vectors_free(set);
  nk_model_free(model);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_loss_and_its_gradient_are_those_of_pytorch),
      cmocka_unit_test(steps_are_those_of_pytorchs_adamw),
      cmocka_unit_test(nokens_of_one_ray_are_held_out_together),
      cmocka_unit_test(pieces_of_one_text_are_held_out_together),
      cmocka_unit_test(evaluations_read_a_sample_of_a_long_text),
      cmocka_unit_test(the_input_is_known_by_its_parts_and_the_configuration),
      cmocka_unit_test(a_run_from_a_checkpoint_ends_as_one_without),
      cmocka_unit_test(a_checkpoint_of_no_possible_state_is_refused),
      cmocka_unit_test(a_run_that_lowers_nothing_says_so),
      cmocka_unit_test(searched_nokens_do_more_at_the_same_distance),
      cmocka_unit_test(the_model_is_as_it_was_after_a_run),
      cmocka_unit_test(parts_choose_their_tensors),
      cmocka_unit_test(what_cannot_be_tuned_is_refused),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
