/* The forward pass against Hugging Face Transformers (tests/fixtures/forward/make.py), for every
 * architecture. */
#include <math.h>

#include "families.h"
#include "forward/internal.h"
#include "model/safetensors.h"
#include "unit.h"

enum { MAX_LENGTH = 64, MAX_DIM = 64, MAX_VOCABULARY = 64, MAX_LAYERS = 64 };

struct fixture {
  const char *name;
  struct nk_model *model;
  struct nk_forward *forward;
  struct nki_safetensors *expected;
  const struct nk_forward_shape *shape;
  size_t length;
  int64_t ids[MAX_LENGTH];
  const float *logits;    /* [length, n_vocabulary] */
  const float *residuals; /* [n_layers + 1, length, dim] */
};

static const void *data_of(const struct fixture *f, const char *name, size_t *n) {
  const struct nk_tensor *t = nki_safetensors_find(f->expected, name);
  assert_non_null(t);
  if (n != NULL) *n = t->shape[0];
  return t->data;
}

static void open_fixture(struct fixture *f, const char *name) {
  char path[256];
  f->name = name;
  snprintf(path, sizeof path, "%s/%s", FIXTURES, name);
  f->model = nk_model_open(path);
  if (f->model == NULL) fail_msg("%s", nk_error());
  f->forward = nk_model_forward(f->model);
  if (f->forward == NULL) fail_msg("%s", nk_error());
  f->shape = nk_forward_shape(f->forward);
  snprintf(path, sizeof path, "%s/%s/expected.safetensors", FIXTURES, name);
  f->expected = nki_safetensors_open(path);
  if (f->expected == NULL) fail_msg("%s", nk_error());
  const int64_t *ids = data_of(f, "ids", &f->length);
  memcpy(f->ids, ids, f->length * sizeof *ids);
  f->logits = data_of(f, "logits", NULL);
  f->residuals = data_of(f, "residuals", NULL);
}

static void close_fixture(struct fixture *f) {
  nki_safetensors_free(f->expected);
  nk_model_free(f->model);
}

static void run(const struct fixture *f, const struct nk_batch *batch) {
  if (nk_forward_run(f->forward, batch) != NK_OK) fail_msg("%s: %s", f->name, nk_error());
}

static void assert_near(const struct fixture *f, const char *what, size_t index, const float *got,
                        const float *want, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (!(fabsf(got[i] - want[i]) <= 1e-4f))
      fail_msg("%s: %s %zu: component %zu is %.6f, the reference has %.6f", f->name, what, index, i,
               (double)got[i], (double)want[i]);
}

/* Asks for the logits of every position and returns them: [length, n_vocabulary]. The first
 * n_prefix ids are the shared prefix. */
static void run_logits(const struct fixture *f, size_t n_prefix,
                       const struct nk_override *overrides, size_t n_overrides, float *logits) {
  struct nk_ask asks[MAX_LENGTH] = {{0}};
  for (size_t p = 0; p < f->length; p++) {
    asks[p].sequence = p < n_prefix ? NK_PREFIX : 0;
    asks[p].position = p;
    asks[p].logits = logits + p * f->shape->n_vocabulary;
  }
  struct nk_sequence rest = {f->ids + n_prefix, f->length - n_prefix};
  struct nk_batch batch = {.prefix = {f->ids, n_prefix},
                           .sequences = &rest,
                           .n_sequences = 1,
                           .overrides = overrides,
                           .n_overrides = n_overrides,
                           .asks = asks,
                           .n_asks = f->length};
  run(f, &batch);
}

static void check_logits(const struct fixture *f, size_t n_prefix) {
  static float logits[MAX_LENGTH * MAX_VOCABULARY];
  run_logits(f, n_prefix, NULL, 0, logits);
  for (size_t p = 0; p < f->length; p++)
    assert_near(f, "logits at position", p, logits + p * f->shape->n_vocabulary,
                f->logits + p * f->shape->n_vocabulary, f->shape->n_vocabulary);
}

static void logits_equal_the_references(void **state) {
  (void)state;
  for (size_t i = 0; i < N_NAMES; i++) {
    struct fixture f;
    open_fixture(&f, NAMES[i]);
    check_logits(&f, 0);
    close_fixture(&f);
  }
}

/* The logits of a copy of the fixture's folder that a command in it has changed. */
static void check_changed(const char *name, const char *change, const char *folder) {
  struct fixture f;
  char command[1024], copy[256];
  snprintf(copy, sizeof copy, "%.200s/m", folder);
  snprintf(command, sizeof command, "rm -rf %s && cp -r %s/%s %s && cd %s && %s", copy, FIXTURES,
           name, copy, copy, change);
  assert_int_equal(system(command), 0);
  open_fixture(&f, name);
  nk_model_free(f.model);
  f.model = nk_model_open(copy);
  f.forward = nk_model_forward(f.model);
  if (f.forward == NULL) fail_msg("%s: %s", f.name, nk_error());
  f.shape = nk_forward_shape(f.forward);
  check_logits(&f, 0);
  close_fixture(&f);
}

/* config.json has the keys of published models, config-5.json what Transformers 5 saves. */
static void the_configuration_of_transformers_5_gives_the_same_logits(void **state) {
  for (size_t i = 0; i < N_NAMES; i++)
    check_changed(NAMES[i], "mv config-5.json config.json", *state);
}

/* gpt-oss has YaRN by a factor of 32 where the configuration says nothing of scaling, which is that
 * of the fixture. */
static void a_family_has_its_own_scaling_by_default(void **state) {
  check_changed("gpt_oss", "sed -i 's/\"rope_scaling\"/\"other\"/' config.json", *state);
  check_changed("gpt_oss",
                "sed -i 's/\"rope_scaling\"/\"rope_scaling\": {}, \"other\"/' config.json", *state);
}

static void a_shared_prefix_changes_nothing(void **state) {
  (void)state;
  for (size_t i = 0; i < N_NAMES; i++) {
    struct fixture f;
    open_fixture(&f, NAMES[i]);
    for (size_t n_prefix = 1; n_prefix <= f.length; n_prefix += 3) check_logits(&f, n_prefix);
    close_fixture(&f);
  }
}

static void residual_streams_equal_the_references(void **state) {
  (void)state;
  static float residuals[MAX_LENGTH][(MAX_LAYERS + 1) * MAX_DIM];
  for (size_t i = 0; i < N_NAMES; i++) {
    struct fixture f;
    open_fixture(&f, NAMES[i]);
    size_t layers[MAX_LAYERS + 1], n_layers = f.shape->n_layers + 1, dim = f.shape->dim;
    for (size_t l = 0; l < n_layers; l++) layers[l] = l;
    struct nk_ask asks[MAX_LENGTH] = {{0}};
    for (size_t p = 0; p < f.length; p++)
      asks[p] = (struct nk_ask){
          .position = p, .layers = layers, .n_layers = n_layers, .residuals = residuals[p]};
    struct nk_sequence sequence = {f.ids, f.length};
    struct nk_batch batch = {
        .sequences = &sequence, .n_sequences = 1, .asks = asks, .n_asks = f.length};
    run(&f, &batch);
    for (size_t l = 0; l < n_layers; l++)
      for (size_t p = 0; p < f.length; p++)
        assert_near(&f, "stream at layer", l, residuals[p] + l * dim,
                    f.residuals + (l * f.length + p) * dim, dim);
    close_fixture(&f);
  }
}

/* Each alone: without the deeper layers being run. */
static void a_capture_runs_no_deeper_than_asked(void **state) {
  (void)state;
  struct fixture f;
  open_fixture(&f, "gemma2");
  size_t dim = f.shape->dim;
  for (size_t l = 0; l <= f.shape->n_layers; l++) {
    float residual[MAX_DIM];
    struct nk_ask ask = {.position = 9, .layers = &l, .n_layers = 1, .residuals = residual};
    struct nk_sequence sequence = {f.ids, f.length};
    struct nk_batch batch = {.sequences = &sequence, .n_sequences = 1, .asks = &ask, .n_asks = 1};
    run(&f, &batch);
    assert_near(&f, "stream at layer", l, residual, f.residuals + (l * f.length + 9) * dim, dim);
  }
  close_fixture(&f);
}

static void overrides_equal_overwriting_the_references_tensors(void **state) {
  (void)state;
  static float logits[MAX_LENGTH * MAX_VOCABULARY];
  for (size_t i = 0; i < N_NAMES; i++) {
    struct fixture f;
    open_fixture(&f, NAMES[i]);
    size_t n, size = f.length * f.shape->n_vocabulary;
    const int64_t *places = data_of(&f, "places", &n);
    const float *vectors = data_of(&f, "vectors", NULL);
    const float *expected = data_of(&f, "overridden", NULL);
    for (size_t k = 0; k < n; k++)
      for (size_t n_prefix = 0; n_prefix <= 8; n_prefix += 8) {
        struct nk_override o = {.sequence = n_prefix > 0 ? NK_PREFIX : 0,
                                .position = (size_t)places[3 * k + 1],
                                .layer = (size_t)places[3 * k],
                                .mode = places[3 * k + 2] ? NK_ADD : NK_REPLACE,
                                .vector = vectors + k * f.shape->dim};
        run_logits(&f, n_prefix, &o, 1, logits);
        assert_near(&f, "override", k, logits, expected + k * size, size);
      }
    close_fixture(&f);
  }
}

/* The streams before the final norm, in the reverse order of positions: all of them, where no
 * block has to run, and all but the first position's. */
static void a_stream_put_in_after_the_blocks_is_read_as_the_references_is(void **state) {
  (void)state;
  static float logits[MAX_LENGTH * MAX_VOCABULARY];
  for (size_t i = 0; i < N_NAMES; i++)
    for (size_t kept = 0; kept < 2; kept++) {
      struct fixture f;
      open_fixture(&f, NAMES[i]);
      size_t n = f.shape->n_vocabulary, last = f.shape->n_layers, n_prefix = f.length / 2;
      struct nk_override overrides[MAX_LENGTH];
      for (size_t p = kept; p < f.length; p++)
        overrides[p] = (struct nk_override){
            .sequence = p < n_prefix ? NK_PREFIX : 0,
            .position = p,
            .layer = last,
            .vector = f.residuals + (last * f.length + f.length - 1 - p) * f.shape->dim};
      run_logits(&f, n_prefix, overrides + kept, f.length - kept, logits);
      for (size_t p = 0; p < f.length; p++)
        assert_near(&f, "logits at position", p, logits + p * n,
                    f.logits + (p < kept ? p : f.length - 1 - p) * n, n);
      close_fixture(&f);
    }
}

static void generated_tokens_equal_the_references(void **state) {
  (void)state;
  for (size_t i = 0; i < N_NAMES; i++) {
    struct fixture f;
    open_fixture(&f, NAMES[i]);
    size_t n_generated, half = f.length / 2;
    const int64_t *expected = data_of(&f, "generated", &n_generated);
    for (size_t n_prefix = 0; n_prefix < half; n_prefix += 3) {
      int64_t ids[3 * MAX_LENGTH];
      size_t lengths[3];
      /* the sequence between two others of other lengths */
      struct nk_sequence sequences[3] = {
          {f.ids + n_prefix, 1}, {f.ids + n_prefix, half - n_prefix}, {f.ids + n_prefix, 2}};
      struct nk_generation generation = {.n_tokens = n_generated, .ids = ids, .lengths = lengths};
      struct nk_batch batch = {.prefix = {f.ids, n_prefix},
                               .sequences = sequences,
                               .n_sequences = 3,
                               .generation = &generation};
      run(&f, &batch);
      assert_int_equal(lengths[1], n_generated);
      for (size_t t = 0; t < n_generated; t++) assert_int_equal(ids[n_generated + t], expected[t]);
    }
    close_fixture(&f);
  }
}

/* ---- Kernels ---- */

/* Against the C library's functions in double. */
static void activations_equal_their_definitions(void **state) {
  (void)state;
  enum { N = 2001 };
  static float x[N], h[N];
  static const enum nki_activation kinds[] = {NKI_GELU, NKI_GELU_TANH, NKI_QUICK_GELU, NKI_SILU,
                                              NKI_RELU};
  for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
    for (size_t i = 0; i < N; i++) h[i] = x[i] = (float)i / 100 - 10;
    const struct nki_activating activating = {.f = kinds[k], .width = N, .ld = N};
    nki_activate(&activating, h, 1);
    for (size_t i = 0; i < N; i++) {
      double v = (double)x[i], u = sqrt(2 / M_PI) * (v + 0.044715 * v * v * v);
      double want = kinds[k] == NKI_GELU         ? v * erfc(-v / sqrt(2)) / 2
                    : kinds[k] == NKI_GELU_TANH  ? v * (1 + tanh(u)) / 2
                    : kinds[k] == NKI_QUICK_GELU ? v / (1 + exp(-1.702 * v))
                    : kinds[k] == NKI_SILU       ? v / (1 + exp(-v))
                                                 : fmax(v, 0);
      if (!(fabs((double)h[i] - want) <= 1e-6 * fmax(1, fabs(want))))
        fail_msg("activation %zu of %g is %.9g, not %.9g", k, v, (double)h[i], want);
    }
  }
}

/* ---- What a batch may not change ---- */

enum { N_MANY = 40 };

/* Many sequences of several lengths after a prefix, each ending at an ask for its logits; order[i]
 * is the place of sequence i in the batch. logits [N_MANY, n_vocabulary], by i. */
static void run_many(const struct fixture *f, const size_t *order, size_t n, size_t memory,
                     float *logits) {
  static int64_t ids[N_MANY][8];
  struct nk_sequence sequences[N_MANY];
  struct nk_ask asks[N_MANY] = {{0}};
  for (size_t i = 0; i < n; i++) {
    size_t at = order[i], length = 1 + i % 7;
    for (size_t t = 0; t < length; t++) ids[i][t] = (int64_t)((7 * i + 3 * t * t) % 40);
    sequences[at] = (struct nk_sequence){ids[i], length};
    asks[at] = (struct nk_ask){
        .sequence = at, .position = 3 + length - 1, .logits = logits + i * f->shape->n_vocabulary};
  }
  struct nk_batch batch = {.prefix = {f->ids, 3},
                           .sequences = sequences,
                           .n_sequences = n,
                           .asks = asks,
                           .n_asks = n,
                           .memory = memory};
  run(f, &batch);
}

static void answers_do_not_depend_on_order_groups_or_threads(void **state) {
  (void)state;
  static const char *const names[] = {"gpt2", "mistral", "gpt_neox", "gemma2"};
  static float expected[N_MANY * MAX_VOCABULARY], logits[N_MANY * MAX_VOCABULARY];
  size_t forwards[N_MANY], backwards[N_MANY], zero = 0;
  for (size_t i = 0; i < N_MANY; i++) forwards[i] = i, backwards[i] = N_MANY - 1 - i;
  for (size_t k = 0; k < 4; k++) {
    struct fixture f;
    open_fixture(&f, names[k]);
    size_t v = f.shape->n_vocabulary, size = N_MANY * v;
    run_many(&f, forwards, N_MANY, 0, expected);
    run_many(&f, backwards, N_MANY, 0, logits);
    assert_near(&f, "logits backwards", 0, logits, expected, size);
    run_many(&f, forwards, N_MANY, 2000, logits); /* a group for every few sequences */
    assert_near(&f, "logits in groups", 0, logits, expected, size);
    run_many(&f, &zero, 1, 0, logits);
    assert_near(&f, "logits alone", 0, logits, expected, v);
    nk_set_threads(1);
    run_many(&f, forwards, N_MANY, 0, logits);
    nk_set_threads(0);
    assert_near(&f, "logits in one thread", 0, logits, expected, size);
    close_fixture(&f);
  }
}

/* To the bit, not only nearly. */
static void a_vector_equal_to_a_tokens_embedding_gives_what_the_token_gives(void **state) {
  (void)state;
  static float expected[MAX_LENGTH * MAX_VOCABULARY], logits[MAX_LENGTH * MAX_VOCABULARY];
  for (size_t i = 0; i < N_NAMES; i++) {
    struct fixture f;
    float vector[MAX_DIM];
    open_fixture(&f, NAMES[i]);
    run_logits(&f, 4, NULL, 0, expected);
    assert_int_equal(nk_forward_embedding(f.forward, f.ids[6], vector), NK_OK);
    f.ids[6] = NK_VECTOR;
    struct nk_override o = {.position = 6, .vector = vector};
    run_logits(&f, 4, &o, 1, logits);
    assert_memory_equal(logits, expected, f.length * f.shape->n_vocabulary * sizeof(float));
    close_fixture(&f);
  }
}

/* Against the definitions, from whole logits in double. */
static void distributions_are_reduced_as_defined(void **state) {
  (void)state;
  struct fixture f;
  open_fixture(&f, "llama");
  enum { TOP = 5 };
  size_t v = f.shape->n_vocabulary, last = f.length - 1;
  const float *l = f.logits + last * v;
  double p[MAX_VOCABULARY], z = 0, entropy = 0, kl = 0, sum[MAX_VOCABULARY];
  float reference[MAX_VOCABULARY], log_probs[2], top_log_probs[TOP];
  int64_t ids[2] = {0, 17}, top_ids[TOP];
  for (size_t i = 0; i < v; i++) z += exp((double)l[i]);
  for (size_t i = 0; i < v; i++) {
    p[i] = exp((double)l[i]) / z;
    entropy -= p[i] * log(p[i]);
    reference[i] = (float)log((double)(i + 1) / (double)(v * (v + 1) / 2));
    kl += p[i] * (log(p[i]) - (double)reference[i]);
    sum[i] = 2;
  }
  struct nk_ask asks[2] = {{.position = last,
                            .distribution = true,
                            .n_top = TOP,
                            .top_ids = top_ids,
                            .top_log_probs = top_log_probs,
                            .ids = ids,
                            .n_ids = 2,
                            .log_probs = log_probs,
                            .reference = reference,
                            .sum = sum},
                           {.position = last, .sum = sum}};
  struct nk_sequence sequence = {f.ids, f.length};
  struct nk_batch batch = {.sequences = &sequence, .n_sequences = 1, .asks = asks, .n_asks = 2};
  run(&f, &batch);
  assert_true(fabs(asks[0].entropy - entropy) < 1e-5);
  assert_true(fabs(asks[0].kl - kl) < 1e-5);
  assert_true(fabs(asks[0].log_sum_exp - log(z)) < 1e-5);
  assert_true(isnan(asks[1].kl));
  assert_true(fabs((double)log_probs[0] - log(p[0])) < 1e-5);
  assert_true(fabs((double)log_probs[1] - log(p[17])) < 1e-5);
  for (size_t i = 0; i < v; i++) assert_true(fabs(sum[i] - (2 + 2 * p[i])) < 1e-6);
  for (size_t k = 0; k < TOP; k++) {
    size_t above = 0;
    for (size_t i = 0; i < v; i++) above += p[i] > p[top_ids[k]];
    assert_int_equal(above, k);
    assert_true(fabs((double)top_log_probs[k] - log(p[top_ids[k]])) < 1e-5);
  }
  close_fixture(&f);
}

/* ---- Drawing ---- */

static void draw_tokens(const struct fixture *f, const struct nk_generation *how, int64_t *out,
                        size_t n) {
  struct nk_sequence sequences[MAX_LENGTH];
  size_t lengths[MAX_LENGTH];
  for (size_t i = 0; i < n; i++) sequences[i] = (struct nk_sequence){f->ids, f->length};
  struct nk_generation g = *how;
  g.ids = out;
  g.lengths = lengths;
  struct nk_batch batch = {.sequences = sequences, .n_sequences = n, .generation = &g};
  run(f, &batch);
}

static void drawn_tokens_follow_the_distribution(void **state) {
  (void)state;
  struct fixture f;
  open_fixture(&f, "phi3");
  size_t v = f.shape->n_vocabulary, count[MAX_VOCABULARY] = {0}, n = 0;
  const float *l = f.logits + (f.length - 1) * v;
  double z = 0, statistic = 0;
  for (size_t i = 0; i < v; i++) z += exp((double)l[i] / 1.5);
  for (uint64_t seed = 0; seed < 32; seed++) {
    int64_t ids[MAX_LENGTH];
    draw_tokens(&f, &(struct nk_generation){.n_tokens = 1, .temperature = 1.5, .seed = seed}, ids,
                MAX_LENGTH);
    for (size_t i = 0; i < MAX_LENGTH; i++, n++) count[ids[i]]++;
  }
  for (size_t i = 0; i < v; i++) {
    double expected = (double)n * exp((double)l[i] / 1.5) / z;
    statistic += ((double)count[i] - expected) * ((double)count[i] - expected) / expected;
  }
  assert_true(statistic < 86); /* chi-squared, 39 degrees of freedom: 1e-5 above 86 */
  close_fixture(&f);
}

static void cut_draws_stay_among_the_most_probable(void **state) {
  (void)state;
  struct fixture f;
  open_fixture(&f, "phi3");
  size_t v = f.shape->n_vocabulary;
  const float *l = f.logits + (f.length - 1) * v;
  int64_t ids[MAX_LENGTH], again[MAX_LENGTH];
  struct nk_generation three = {.n_tokens = 1, .temperature = 5, .top_k = 3, .seed = 1};
  draw_tokens(&f, &three, ids, MAX_LENGTH);
  draw_tokens(&f, &three, again, MAX_LENGTH);
  assert_memory_equal(ids, again, sizeof ids);
  size_t best = 0, others = 0;
  for (size_t i = 0; i < v; i++)
    if (l[i] > l[best]) best = i;
  for (size_t i = 0; i < MAX_LENGTH; i++) {
    size_t above = 0;
    for (size_t k = 0; k < v; k++) above += l[k] > l[ids[i]];
    assert_true(above < 3);
    others += (size_t)ids[i] != best;
  }
  assert_true(others > 0);
  struct nk_generation least = {.n_tokens = 1, .temperature = 5, .top_p = 1e-6};
  draw_tokens(&f, &least, ids, MAX_LENGTH);
  for (size_t i = 0; i < MAX_LENGTH; i++) assert_int_equal(ids[i], best);
  close_fixture(&f);
}

static void a_stop_token_ends_a_generation_and_watched_tokens_are_recorded(void **state) {
  (void)state;
  struct fixture f;
  open_fixture(&f, "llama");
  const int64_t *expected = data_of(&f, "generated", NULL);
  int64_t ids[6], watch = expected[0];
  size_t length;
  float watched[6];
  struct nk_sequence sequence = {f.ids, f.length / 2};
  struct nk_generation g = {.n_tokens = 6,
                            .stop = &expected[2],
                            .n_stop = 1,
                            .watch = &watch,
                            .watched = watched,
                            .ids = ids,
                            .lengths = &length};
  struct nk_batch batch = {.sequences = &sequence, .n_sequences = 1, .generation = &g};
  run(&f, &batch);
  size_t stop = 0;
  while (expected[stop] != expected[2]) stop++;
  assert_int_equal(length, stop + 1);
  const float *l = f.logits + (f.length / 2 - 1) * f.shape->n_vocabulary;
  double z = 0;
  for (size_t i = 0; i < f.shape->n_vocabulary; i++) z += exp((double)l[i]);
  assert_true(fabs((double)watched[0] - ((double)l[watch] - log(z))) < 1e-4);
  assert_true(isnan(watched[5]));
  close_fixture(&f);
}

/* ---- Errors ---- */

static void a_batch_out_of_range_is_an_error(void **state) {
  (void)state;
  struct fixture f;
  open_fixture(&f, "gpt2");
  static const float zero[MAX_DIM], nan_vector[MAX_DIM] = {[3] = NAN};
  static int64_t vector_id = NK_VECTOR, big = 40, many[30];
  float residual[MAX_DIM];
  size_t deep = 4, layer = 1;
  struct nk_sequence good = {f.ids + 3, 5};
  const struct {
    struct nk_sequence sequence;
    struct nk_override override;
    struct nk_ask ask;
    int code;
    const char *says;
  } cases[] = {
      {{&big, 1}, {0, 3, 0, NK_ADD, zero}, {.position = 3}, NK_EUSAGE, "id 40"},
      {{&vector_id, 1}, {0, 3, 0, NK_ADD, zero}, {.position = 3}, NK_EUSAGE, "neither"},
      {good, {0, 8, 0, NK_ADD, zero}, {.position = 3}, NK_EUSAGE, "past the end"},
      {good, {0, 2, 0, NK_ADD, zero}, {.position = 3}, NK_EUSAGE, "prefix"},
      {good, {1, 3, 0, NK_ADD, zero}, {.position = 3}, NK_EUSAGE, "no sequence 1"},
      {good, {0, 3, 4, NK_ADD, zero}, {.position = 3}, NK_EUSAGE, "layers 0 to 3"},
      {good, {0, 3, 1, NK_ADD, nan_vector}, {.position = 3}, NK_EDATA, "component 3"},
      {good, {0, 3, 1, NK_ADD, zero}, {.position = 9}, NK_EUSAGE, "past the end"},
      {good,
       {0, 3, 1, NK_ADD, zero},
       {.position = 3, .layers = &deep, .n_layers = 1, .residuals = residual},
       NK_EUSAGE,
       "layers 0 to 3"},
      {{many, 30},
       {0, 3, 1, NK_ADD, zero},
       {.position = 30, .layers = &layer, .n_layers = 1, .residuals = residual},
       NK_EUSAGE,
       "model has 24"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct nk_ask ask = cases[i].ask;
    struct nk_batch batch = {.prefix = {f.ids, 3},
                             .sequences = &cases[i].sequence,
                             .n_sequences = 1,
                             .overrides = &cases[i].override,
                             .n_overrides = 1,
                             .asks = &ask,
                             .n_asks = 1};
    assert_int_equal(nk_forward_run(f.forward, &batch), cases[i].code);
    if (strstr(nk_error(), cases[i].says) == NULL) fail_msg("case %zu says: %s", i, nk_error());
  }
  close_fixture(&f);
}

/* Copies a fixture's folder with `from` in its config.json made `to`; the model must not open. */
static void assert_unsupported(const char *folder, const char *name, const char *from,
                               const char *to, const char *says) {
  char command[1024];
  snprintf(command, sizeof command,
           "rm -rf %s/m && cp -r %s/%s %s/m && sed -i 's/%s/%s/' %s/m/config.json && "
           "! cmp -s %s/%s/config.json %s/m/config.json",
           folder, FIXTURES, name, folder, from, to, folder, FIXTURES, name, folder);
  assert_int_equal(system(command), 0);
  snprintf(command, sizeof command, "%s/m", folder);
  struct nk_model *model = nk_model_open(command);
  assert_non_null(model);
  assert_null(nk_model_forward(model));
  if (strstr(nk_error(), says) == NULL) fail_msg("%s, %s: %s", name, to, nk_error());
  nk_model_free(model);
}

static void an_unsupported_configuration_is_an_error_that_names_it(void **state) {
  const char *folder = *state;
  assert_unsupported(folder, "llama", "\"llama\"", "\"mamba\"", "'mamba'");
  assert_unsupported(folder, "llama", "\"silu\"", "\"relu6\"", "'relu6'");
  assert_unsupported(folder, "llama3", "\"llama3\"", "\"spiral\"", "'spiral'");
  assert_unsupported(folder, "llama", "\"vocab_size\"",
                     "\"quantization_config\": {\"quant_method\": \"gptq\"}, &", "gptq");
  assert_unsupported(folder, "llama", "\"vocab_size\"",
                     "\"quantization_config\": {\"quant_method\": \"mxfp4\"}, &", "mxfp4");
  assert_unsupported(folder, "phi", "\"vocab_size\"", "\"qk_layernorm\": true, &", "q_layernorm");
  assert_unsupported(folder, "opt", "\"do_layer_norm_before\": true",
                     "\"do_layer_norm_before\": false", "do_layer_norm_before");
  assert_unsupported(folder, "opt", "proj_dim\": 16", "proj_dim\": 8", "word_embed_proj_dim");
  assert_unsupported(folder, "llama", "hidden_layers\": 3", "hidden_layers\": 2", "block 2");
  assert_unsupported(folder, "llama", "intermediate_size\": 24", "intermediate_size\": 25",
                     "[25, 16]");
  assert_unsupported(folder, "llama", "tie_word_embeddings\": false", "attention_bias\": true",
                     "q_proj.bias");
  assert_unsupported(folder, "qwen3", "\"qwen3\"", "\"llama\"", "k_norm");
  assert_unsupported(folder, "llama", "attention_heads\": 4", "attention_heads\": 3",
                     "3 attention heads");
  assert_unsupported(folder, "mixtral", "per_tok\": 2", "per_tok\": 5", "more than the 4 experts");
  assert_unsupported(folder, "mixtral", "local_experts\": 4", "local_experts\": 5", "[5, 16]");
  assert_unsupported(folder, "mixtral", "local_experts\": 4", "local_experts\": 0",
                     "num_local_experts");
  assert_unsupported(folder, "qwen3_moe", "sparse_step\": 2", "sparse_step\": 0", "sparse_step");
  assert_unsupported(folder, "codegen", "\"n_head\": 8", "\"n_head\": 2", "in 4 groups");
  assert_unsupported(folder, "gpt_neo", "\"local\"", "\"strided\"", "'strided'");
  assert_unsupported(folder, "mpt", "bias_max\": 8", "bias_max\": 4", "alibi_bias_max");
  assert_unsupported(folder, "gpt2", "\"n_head\": 2", "\"n_head\": 0", "n_head");
}

/* ---- Values that are not finite ---- */

/* Copies a fixture's model to folder/m. */
static void copy_model(const char *folder, const char *name) {
  char command[1024];
  snprintf(command, sizeof command, "rm -rf %s/m && cp -r %s/%s %s/m", folder, FIXTURES, name,
           folder);
  assert_int_equal(system(command), 0);
}

/* Exchanges element `index` of a tensor of folder/m, found by its name, with `value`. */
static void exchange(const char *folder, const char *tensor_name, size_t index,
                     unsigned char value[4]) {
  char path[512];
  unsigned char old[4];
  uint64_t header;
  snprintf(path, sizeof path, "%s/m/model.safetensors", folder);
  struct nki_safetensors *st = nki_safetensors_open(path);
  assert_non_null(st);
  const struct nk_tensor *tensor = nki_safetensors_find(st, tensor_name);
  const char *first = nki_safetensors_tensor(st, 0)->data;
  assert_non_null(tensor);
  size_t width = tensor->n_bytes / tensor->n_elements;
  FILE *file = fopen(path, "r+b");
  assert_non_null(file);
  assert_int_equal(fread(&header, sizeof header, 1, file), 1);
  long at = (long)(8 + header) + (long)((const char *)tensor->data - first);
  at += (long)(index * width);
  assert_int_equal(fseek(file, at, SEEK_SET), 0);
  assert_int_equal(fread(old, width, 1, file), 1);
  assert_int_equal(fseek(file, at, SEEK_SET), 0);
  assert_int_equal(fwrite(value, width, 1, file), 1);
  assert_int_equal(fclose(file), 0);
  memcpy(value, old, width);
  nki_safetensors_free(st);
}

/* A NaN of the tensor's type whose payload is not zero. */
static void make_nan(enum nk_dtype dtype, unsigned char nan[4]) {
  static const unsigned char f32[4] = {0x01, 0x00, 0xc0, 0x7f}, f16[4] = {0x01, 0x7e},
                             bf16[4] = {0xc1, 0x7f};
  memcpy(nan, dtype == NK_F32 ? f32 : dtype == NK_F16 ? f16 : bf16, 4);
}

/* A run of the fixture's ids must fail and name the tensor and, in a block, the block. */
static void assert_nan_is_named(const char *folder, const struct fixture *f,
                                const struct nk_tensor *of, size_t index) {
  char path[256], block[32] = "";
  static float logits[MAX_VOCABULARY];
  const char *tensor = of->name;
  unsigned char value[4];
  make_nan(of->dtype, value);
  exchange(folder, tensor, index, value);
  snprintf(path, sizeof path, "%s/m", folder);
  struct nk_model *model = nk_model_open(path);
  struct nk_forward *forward = nk_model_forward(model);
  if (forward == NULL) fail_msg("%s", nk_error());
  const struct nk_sequence sequence = {f->ids, f->length};
  struct nk_ask ask = {.position = f->length - 1, .logits = logits};
  const struct nk_batch batch = {
      .sequences = &sequence, .n_sequences = 1, .asks = &ask, .n_asks = 1};
  if (nk_forward_run(forward, &batch) != NK_EDATA)
    fail_msg("%s: %s: a NaN at %zu is not found", f->name, tensor, index);
  const char *number = strpbrk(tensor, "0123456789"); /* the block's, before that of an expert */
  if (number != NULL && number[strspn(number, "0123456789")] == '.')
    snprintf(block, sizeof block, "block %zu ", (size_t)strtoul(number, NULL, 10));
  if (strstr(nk_error(), tensor) == NULL || strstr(nk_error(), block) == NULL)
    fail_msg("%s: %s: %s", f->name, tensor, nk_error());
  nk_model_free(model);
  exchange(folder, tensor, index, value);
}

/* Whether a tensor belongs to a block other than `block`. */
static bool is_of_another_block(const char *tensor, size_t block) {
  const char *number = strpbrk(tensor, "0123456789");
  bool is_of_block = number != NULL && number[strspn(number, "0123456789")] == '.';
  return is_of_block && (size_t)strtoul(number, NULL, 10) != block;
}

/* Of each fixture the tensors of one block, and those outside of blocks. */
static void a_weight_that_is_not_finite_is_an_error_that_names_block_and_tensor(void **state) {
  const char *folder = *state;
  for (size_t i = 0; i < N_NAMES; i++) {
    struct fixture f;
    if (strcmp(NAMES[i], "llama3") == 0) continue;  /* in shards; else as llama */
    if (strstr(NAMES[i], "-all") != NULL) continue; /* as those without; rows reach fewer experts */
    open_fixture(&f, NAMES[i]);
    copy_model(folder, NAMES[i]);
    for (size_t t = 0; t < nk_model_n_tensors(f.model); t++) {
      const struct nk_tensor *tensor = nk_model_tensor(f.model, t);
      size_t dim = f.shape->dim, last = tensor->n_elements - 1;
      if (is_of_another_block(tensor->name, 1)) continue;
      const char *expert = strstr(tensor->name, "experts.");
      bool single = expert != NULL && expert[8] >= '0' && expert[8] <= '9';
      if (single && (expert[8] != '1' || strstr(NAMES[i], "-all") != NULL))
        continue; /* no row of the fixture reaches some of them */
      if (strstr(tensor->name, "attn.bias") != NULL) continue; /* GPT-2's causal mask: not read */
      if (tensor->dtype == NK_U8) continue; /* MXFP4's 4 bits and its scales hold no NaN */
      if (strstr(tensor->name, "vision") != NULL || strstr(tensor->name, "multi_modal") != NULL)
        continue; /* Gemma 3's pictures */
      bool matrix = tensor->n_dims == 2;
      if (matrix && (strstr(tensor->name, "wte") != NULL || strstr(tensor->name, "embed") != NULL))
        last = (size_t)f.ids[0] * dim; /* a row that is used */
      if (strstr(tensor->name, "wpe") != NULL || strstr(tensor->name, "positions") != NULL)
        last = 4 * dim; /* position 4, or 2 in OPT */
      assert_nan_is_named(folder, &f, tensor, last);
      if (tensor->n_dims == 1) assert_nan_is_named(folder, &f, tensor, 0);
    }
    close_fixture(&f);
  }
}

/* The stream alone is read, at the block's output. */
static void a_capture_that_is_not_finite_is_an_error(void **state) {
  const char *folder = *state;
  char path[256];
  static float residual[MAX_DIM];
  const size_t layers[] = {1, 2};
  const int64_t ids[] = {3, 5};
  unsigned char nan[4];
  make_nan(NK_F32, nan);
  copy_model(folder, "llama");
  exchange(folder, "model.layers.1.mlp.down_proj.weight", 7, nan);
  snprintf(path, sizeof path, "%s/m", folder);
  struct nk_model *model = nk_model_open(path);
  for (size_t l = 0; l < 2; l++) {
    const struct nk_sequence sequence = {ids, 2};
    struct nk_ask ask = {.position = 1, .layers = &layers[l], .n_layers = 1, .residuals = residual};
    const struct nk_batch batch = {
        .sequences = &sequence, .n_sequences = 1, .asks = &ask, .n_asks = 1};
    assert_int_equal(nk_forward_run(nk_model_forward(model), &batch), l == 0 ? NK_OK : NK_EDATA);
  }
  assert_non_null(strstr(nk_error(), "block 1 "));
  nk_model_free(model);
}

/* ---- Many pieces ---- */

/* Sequences of 1 to 4 tokens; enough for two threads to have pieces of their own, which have at
 * most 8,192 rows in a model as narrow as a fixture. */
enum { N_SHORT = 30000 };

static int run_short(const struct nk_model *model, size_t n_threads, double *entropies) {
  static const int64_t ids[] = {3, 5, 7, 11, 13, 17, 19};
  struct nk_sequence *sequences = calloc(N_SHORT, sizeof *sequences);
  struct nk_ask *asks = calloc(N_SHORT, sizeof *asks);
  struct nk_batch batch = {.prefix = {ids, 2},
                           .sequences = sequences,
                           .n_sequences = N_SHORT,
                           .asks = asks,
                           .n_asks = N_SHORT};
  for (size_t i = 0; i < N_SHORT; i++) {
    size_t n = 1 + i % 4;
    sequences[i] = (struct nk_sequence){ids + i % 3, n};
    asks[i] = (struct nk_ask){.sequence = i, .position = 1 + n, .distribution = true};
  }
  nk_set_threads(n_threads);
  int code = nk_forward_run(nk_model_forward((struct nk_model *)model), &batch);
  nk_set_threads(0);
  for (size_t i = 0; i < N_SHORT; i++) entropies[i] = asks[i].entropy;
  free(sequences);
  free(asks);
  return code;
}

static void many_pieces_give_the_same_whatever_the_threads(void **state) {
  static double one[N_SHORT], two[N_SHORT];
  const char *folder = *state;
  char path[256];
  unsigned char nan[4];
  make_nan(NK_F32, nan);
  copy_model(folder, "llama");
  snprintf(path, sizeof path, "%s/m", folder);
  for (int broken = 0; broken < 2; broken++) {
    if (broken == 1) exchange(folder, "model.layers.1.mlp.down_proj.weight", 7, nan);
    struct nk_model *model = nk_model_open(path);
    if (broken == 0) assert_int_equal(run_short(model, 1, one), NK_OK);
    assert_int_equal(run_short(model, 2, two), broken == 0 ? NK_OK : NK_EDATA);
    if (broken == 1) assert_non_null(strstr(nk_error(), "block 1 "));
    for (size_t i = 0; i < N_SHORT && broken == 0; i++)
      if (!(fabs(one[i] - two[i]) <= 1e-5 * fabs(one[i])))
        fail_msg("sequence %zu: %.9g by one thread, %.9g by two", i, one[i], two[i]);
    nk_model_free(model);
  }
}

static int prepare(void **state) {
  return list_fixtures() == 0 ? make_folder(state) : -1;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(logits_equal_the_references),
      cmocka_unit_test(the_configuration_of_transformers_5_gives_the_same_logits),
      cmocka_unit_test(a_family_has_its_own_scaling_by_default),
      cmocka_unit_test(a_shared_prefix_changes_nothing),
      cmocka_unit_test(residual_streams_equal_the_references),
      cmocka_unit_test(a_capture_runs_no_deeper_than_asked),
      cmocka_unit_test(overrides_equal_overwriting_the_references_tensors),
      cmocka_unit_test(a_stream_put_in_after_the_blocks_is_read_as_the_references_is),
      cmocka_unit_test(generated_tokens_equal_the_references),
      cmocka_unit_test(activations_equal_their_definitions),
      cmocka_unit_test(answers_do_not_depend_on_order_groups_or_threads),
      cmocka_unit_test(a_vector_equal_to_a_tokens_embedding_gives_what_the_token_gives),
      cmocka_unit_test(distributions_are_reduced_as_defined),
      cmocka_unit_test(drawn_tokens_follow_the_distribution),
      cmocka_unit_test(cut_draws_stay_among_the_most_probable),
      cmocka_unit_test(a_stop_token_ends_a_generation_and_watched_tokens_are_recorded),
      cmocka_unit_test(a_batch_out_of_range_is_an_error),
      cmocka_unit_test(an_unsupported_configuration_is_an_error_that_names_it),
      cmocka_unit_test(a_weight_that_is_not_finite_is_an_error_that_names_block_and_tensor),
      cmocka_unit_test(a_capture_that_is_not_finite_is_an_error),
      cmocka_unit_test(many_pieces_give_the_same_whatever_the_threads),
  };
  return cmocka_run_group_tests(tests, prepare, remove_folder);
}
