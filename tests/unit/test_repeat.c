/* The same run twice gives the same bytes, whatever else the machine does and wherever the caller's
 * arrays lie: training that is resumed must continue as it would have. */
#include <math.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit.h"

enum { N_RUNS = 3, N_SEQUENCES = 6, PREFIX = 5, LONGEST = 150, MAX_WEIGHTS = 64, MAX_DIM = 128 };

/* ---- Other load ---- */

enum { N_BUSY = 1 };

static void start_load(pid_t busy[N_BUSY]) {
  for (size_t i = 0; i < N_BUSY; i++) {
    busy[i] = fork();
    assert_true(busy[i] >= 0);
    if (busy[i] > 0) continue;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (volatile unsigned n = 0;; n++) continue;
  }
}

static void stop_load(const pid_t busy[N_BUSY]) {
  for (size_t i = 0; i < N_BUSY; i++) {
    kill(busy[i], SIGKILL);
    waitpid(busy[i], NULL, 0);
  }
}

/* ---- A batch ---- */

struct batch {
  struct nk_model *model;
  struct nk_forward *forward;
  size_t dim, n_vocabulary;
  int64_t ids[LONGEST + 64];
  struct nk_sequence sequences[N_SEQUENCES];
  struct nk_override overrides[N_SEQUENCES + 1];
  float *vectors; /* [N_SEQUENCES + 1, dim] */
  struct nk_batch batch;
};

/* Sequences of 7 to 150 positions, so that attention has loops and products, and several chunks. */
static void open_batch(const char *path, struct batch *b) {
  b->model = nk_model_open(path);
  if (b->model == NULL) fail_msg("%s", nk_error());
  b->forward = nk_model_forward(b->model);
  b->dim = nk_forward_shape(b->forward)->dim;
  b->n_vocabulary = nk_forward_shape(b->forward)->n_vocabulary;
  b->vectors = malloc((N_SEQUENCES + 1) * b->dim * sizeof(float));
  assert_non_null(b->vectors);
  for (size_t i = 0; i < LONGEST + 64; i++) b->ids[i] = (int64_t)((31 * i * i + 7 * i) % 7919);
  for (size_t i = 0; i < (N_SEQUENCES + 1) * b->dim; i++) b->vectors[i] = 0.1f * sinf((float)i);
  for (size_t s = 0; s < N_SEQUENCES; s++) {
    b->sequences[s] = (struct nk_sequence){b->ids + PREFIX + s, 7 + 28 * s};
    b->overrides[s] = (struct nk_override){.sequence = s,
                                           .position = PREFIX + 2 + s,
                                           .layer = s % 3,
                                           .mode = s % 2 == 0 ? NK_ADD : NK_REPLACE,
                                           .vector = b->vectors + s * b->dim};
  }
  b->overrides[N_SEQUENCES] = (struct nk_override){.sequence = NK_PREFIX,
                                                   .position = 3,
                                                   .mode = NK_ADD,
                                                   .vector = b->vectors + N_SEQUENCES * b->dim};
  b->batch = (struct nk_batch){.prefix = {b->ids, PREFIX},
                               .sequences = b->sequences,
                               .n_sequences = N_SEQUENCES,
                               .overrides = b->overrides,
                               .n_overrides = N_SEQUENCES + 1};
}

static void close_batch(struct batch *b) {
  free(b->vectors);
  nk_model_free(b->model);
}

/* Room for n floats that begins `shift` floats after a block's begin; *block for free. */
static float *shifted(size_t n, size_t shift, void **block) {
  *block = malloc((n + shift) * sizeof(float));
  assert_non_null(*block);
  return (float *)*block + shift;
}

/* Fails at the first run whose bytes differ from those of run 0, which are kept. */
static void compare(const char *what, size_t run, const void *got, size_t size, void **kept) {
  if (run == 0) {
    *kept = malloc(size);
    assert_non_null(*kept);
    memcpy(*kept, got, size);
  }
  if (memcmp(*kept, got, size) != 0) fail_msg("%s: run %zu gives other bytes", what, run);
  if (run + 1 == N_RUNS) free(*kept);
}

/* ---- Gradients ---- */

struct answers {
  double values[N_SEQUENCES];
  float *overrides;
  void *overrides_block;
  struct nk_weight_gradient weights[MAX_WEIGHTS];
  void *blocks[MAX_WEIGHTS];
  size_t n_weights, n_elements[MAX_WEIGHTS];
};

static void make_answers(const struct batch *b, size_t shift, struct answers *a) {
  a->overrides = shifted((N_SEQUENCES + 1) * b->dim, shift, &a->overrides_block);
  a->n_weights = nk_model_n_tensors(b->model);
  assert_true(a->n_weights <= MAX_WEIGHTS);
  for (size_t i = 0; i < a->n_weights; i++) {
    const struct nk_tensor *tensor = nk_model_tensor(b->model, i);
    a->n_elements[i] = tensor->n_elements;
    a->weights[i] = (struct nk_weight_gradient){
        tensor->name, shifted(tensor->n_elements, shift + i, &a->blocks[i])};
  }
}

static void free_answers(struct answers *a) {
  free(a->overrides_block);
  for (size_t i = 0; i < a->n_weights; i++) free(a->blocks[i]);
}

static void differentiate(const struct batch *b, size_t memory, struct answers *a) {
  struct nk_term terms[2 * N_SEQUENCES];
  struct nk_batch batch = b->batch;
  batch.memory = memory;
  for (size_t s = 0; s < N_SEQUENCES; s++) {
    size_t last = PREFIX + b->sequences[s].n - 1;
    terms[2 * s] =
        (struct nk_term){.sequence = s, .position = last, .kind = NK_TERM_ENTROPY, .weight = 1};
    terms[2 * s + 1] = (struct nk_term){.sequence = s,
                                        .position = last - 3,
                                        .kind = NK_TERM_LOG_PROB,
                                        .weight = -0.5,
                                        .ids = b->ids + s,
                                        .n_ids = 2};
  }
  struct nk_gradient gradient = {.terms = terms,
                                 .n_terms = 2 * N_SEQUENCES,
                                 .values = a->values,
                                 .overrides = a->overrides,
                                 .weights = a->weights,
                                 .n_weights = a->n_weights};
  if (nk_gradient_run(b->forward, &batch, &gradient) != NK_OK) fail_msg("%s", nk_error());
}

/* In one group and in several. */
static void check_gradients(const char *path, size_t memory) {
  struct batch b;
  void *kept[MAX_WEIGHTS + 2] = {NULL};
  open_batch(path, &b);
  for (size_t run = 0; run < N_RUNS; run++) {
    struct answers a;
    make_answers(&b, 3 * run, &a);
    differentiate(&b, memory, &a);
    compare("values", run, a.values, sizeof a.values, &kept[0]);
    compare("overrides", run, a.overrides, (N_SEQUENCES + 1) * b.dim * sizeof(float), &kept[1]);
    for (size_t i = 0; i < a.n_weights; i++)
      compare(a.weights[i].tensor, run, a.weights[i].gradient, a.n_elements[i] * sizeof(float),
              &kept[2 + i]);
    free_answers(&a);
  }
  close_batch(&b);
}

static void gradients_are_the_same_bytes_in_every_run(void **state) {
  (void)state;
  pid_t busy[N_BUSY];
  start_load(busy);
  check_gradients("data/gpt2-tiny", 0);
  check_gradients("data/llama-tiny", 1 << 20);
  stop_load(busy);
}

/* ---- The forward pass ---- */

static void answers_are_the_same_bytes_in_every_run(void **state) {
  (void)state;
  struct batch b;
  pid_t busy[N_BUSY];
  void *kept[2] = {NULL};
  open_batch("data/llama-tiny", &b);
  start_load(busy);
  for (size_t run = 0; run < N_RUNS; run++) {
    struct nk_ask asks[N_SEQUENCES];
    size_t n = b.n_vocabulary;
    void *block, *sums = calloc(n, sizeof(double));
    float *logits = shifted(N_SEQUENCES * n, run, &block);
    assert_non_null(sums);
    for (size_t s = 0; s < N_SEQUENCES; s++)
      asks[s] = (struct nk_ask){.sequence = s,
                                .position = PREFIX + b.sequences[s].n - 1,
                                .distribution = true,
                                .logits = logits + s * n,
                                .sum = sums};
    struct nk_batch batch = b.batch;
    batch.asks = asks;
    batch.n_asks = N_SEQUENCES;
    if (nk_forward_run(b.forward, &batch) != NK_OK) fail_msg("%s", nk_error());
    compare("logits", run, logits, N_SEQUENCES * n * sizeof(float), &kept[0]);
    compare("sums", run, sums, n * sizeof(double), &kept[1]);
    free(block);
    free(sums);
  }
  stop_load(busy);
  close_batch(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(gradients_are_the_same_bytes_in_every_run),
      cmocka_unit_test(answers_are_the_same_bytes_in_every_run),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
