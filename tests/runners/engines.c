/* The same batches by the native engine and by llama.cpp.
 *
 *   engines FOLDER GGUF      a line for each part: its name, its layer, the largest difference of
 *                            logits, of log-probabilities and of residual streams, and the largest
 *                            absolute value among the latter
 *   engines FOLDER GGUF time sequences per second of processor time, by either
 *
 * FOLDER is a model, GGUF the same one as nk-convert --model gguf writes it. The batches have a
 * prefix, sequences of several lengths, tokens and vectors, overrides of the prefix and of the
 * sequences in both modes at every layer, residual streams at every layer, and generation. */
#include <math.h>
#include <noken/noken.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PREFIX = 5, LONGEST = 9, N = 7, GENERATED = 6, N_TIMED = 512 };

static void check(int good, const char *what) {
  if (good) return;
  fprintf(stderr, "engines: %s: %s\n", what, nk_error());
  exit(1);
}

struct engine {
  struct nk_model *model;
  struct nk_forward *forward;
};

static void open_engine(struct engine *e, const char *path, enum nk_engine engine) {
  const struct nk_engine_options options = {.engine = engine, .rpc = getenv("ENGINES_RPC")};
  const struct nk_engine_options native = {.engine = engine};
  e->model = nk_model_open(path);
  check(nk_model_use_engine(e->model, engine == NK_ENGINE_LLAMA ? &options : &native) == NK_OK,
        path);
  e->forward = nk_model_forward(e->model);
  check(e->forward != NULL, path);
}

static void *allocate(size_t n, size_t size) {
  void *block = nk_calloc(n, size);
  check(block != NULL, "memory");
  return block;
}

/* ---- A batch and its answers ---- */

struct answers {
  float *logits;    /* [N + 1, vocabulary] at the ends of the prefix and of the sequences */
  float *residuals; /* [N + 1, n_layers + 1, dim] there */
  float *middle;    /* [N, dim] the stream at `layer` of each sequence's vector */
  double *sum;      /* [vocabulary] */
  int64_t ids[N * GENERATED];
  size_t lengths[N];
  struct nk_ask asks[2 * N + 1];
};

static void make_answers(struct answers *a, const struct nk_forward_shape *shape) {
  a->logits = allocate((N + 1) * shape->n_vocabulary, sizeof(float));
  a->residuals = allocate((N + 1) * (shape->n_layers + 1) * shape->dim, sizeof(float));
  a->middle = allocate(N * shape->dim, sizeof(float));
  a->sum = allocate(shape->n_vocabulary, sizeof(double));
}

static void free_answers(struct answers *a) {
  nk_free(a->logits);
  nk_free(a->residuals);
  nk_free(a->middle);
  nk_free(a->sum);
}

struct part {
  size_t layer;
  enum nk_override_mode mode;
  bool prefix; /* an override of the prefix, too */
  double temperature;
};

/* Sequence i has LONGEST - i % 4 positions; its second one has the vector. */
static void run(const struct engine *e, const struct part *part, const float *vectors,
                struct answers *a) {
  const struct nk_forward_shape *shape = nk_forward_shape(e->forward);
  size_t dim = shape->dim, all = shape->n_layers + 1, n_overrides = 0, n_asks = 0;
  int64_t ids[N + 1][LONGEST];
  struct nk_sequence sequences[N];
  struct nk_override overrides[2 * N + 2];
  size_t *layers = allocate(all, sizeof *layers);
  for (size_t l = 0; l < all; l++) layers[l] = l;
  for (size_t i = 0; i <= N; i++)
    for (size_t t = 0; t < LONGEST; t++)
      ids[i][t] = (int64_t)((300 + 37 * t + 101 * i) % shape->n_vocabulary);
  for (size_t i = 0; i < N; i++) {
    size_t n = LONGEST - i % 4;
    const float *vector = vectors + i * dim;
    sequences[i] = (struct nk_sequence){ids[i], n};
    if (part->layer == 0 && part->mode == NK_REPLACE) ids[i][1] = NK_VECTOR;
    overrides[n_overrides++] = (struct nk_override){i, PREFIX + 1, part->layer, part->mode, vector};
    if (i % 2 == 1) /* at the last position as well, which the last layer reads */
      overrides[n_overrides++] =
          (struct nk_override){i, PREFIX + n - 1, part->layer, NK_ADD, vector};
    a->asks[n_asks++] = (struct nk_ask){.sequence = i,
                                        .position = PREFIX + n - 1,
                                        .layers = layers,
                                        .n_layers = all,
                                        .residuals = a->residuals + i * all * dim,
                                        .sum = a->sum,
                                        .logits = a->logits + i * shape->n_vocabulary};
    a->asks[n_asks++] = (struct nk_ask){.sequence = i,
                                        .position = PREFIX + 1,
                                        .layers = &layers[part->layer],
                                        .n_layers = 1,
                                        .residuals = a->middle + i * dim};
  }
  if (part->prefix)
    overrides[n_overrides++] =
        (struct nk_override){NK_PREFIX, PREFIX - 1, part->layer, part->mode, vectors};
  a->asks[n_asks++] = (struct nk_ask){.sequence = NK_PREFIX,
                                      .position = PREFIX - 1,
                                      .layers = layers,
                                      .n_layers = all,
                                      .residuals = a->residuals + N * all * dim,
                                      .logits = a->logits + N * shape->n_vocabulary};
  struct nk_generation generation = {.n_tokens = GENERATED,
                                     .temperature = part->temperature,
                                     .ids = a->ids,
                                     .lengths = a->lengths};
  struct nk_batch batch = {.prefix = {ids[N], PREFIX},
                           .sequences = sequences,
                           .n_sequences = N,
                           .overrides = overrides,
                           .n_overrides = n_overrides,
                           .asks = a->asks,
                           .n_asks = n_asks,
                           .generation = &generation};
  memset(a->sum, 0, shape->n_vocabulary * sizeof *a->sum);
  check(nk_forward_run(e->forward, &batch) == NK_OK, "run");
  nk_free(layers);
}

/* ---- Differences ---- */

static void differ(const float *a, const float *b, size_t n, double *worst, double *largest) {
  for (size_t i = 0; i < n; i++) {
    double difference = fabs((double)a[i] - (double)b[i]);
    if (!(difference <= *worst)) *worst = difference; /* a NaN, too */
    if (fabs((double)a[i]) > *largest) *largest = fabs((double)a[i]);
  }
}

static void print_difference(const struct part *part, const struct nk_forward_shape *shape,
                             const struct answers *a, const struct answers *b) {
  double logits = 0, sums = 0, residuals = 0, unused = 0, largest = 0;
  size_t other = 0;
  differ(a->logits, b->logits, (N + 1) * shape->n_vocabulary, &logits, &unused);
  differ(a->residuals, b->residuals, (N + 1) * (shape->n_layers + 1) * shape->dim, &residuals,
         &largest);
  differ(a->middle, b->middle, N * shape->dim, &residuals, &largest);
  for (size_t i = 0; i < shape->n_vocabulary; i++)
    if (!(fabs(a->sum[i] - b->sum[i]) <= sums)) sums = fabs(a->sum[i] - b->sum[i]);
  for (size_t i = 0; i < N * GENERATED; i++) other += a->ids[i] != b->ids[i];
  printf("%s%s%s\t%zu\t%.3g\t%.3g\t%.3g\t%.3g\t%zu\n", part->mode == NK_ADD ? "add" : "replace",
         part->prefix ? "+prefix" : "", part->temperature > 0 ? "+sample" : "", part->layer, logits,
         sums, residuals, largest, other);
}

static float *make_vectors(const struct engine *e, size_t n) {
  const struct nk_forward_shape *shape = nk_forward_shape(e->forward);
  float *vectors = allocate(n * shape->dim, sizeof *vectors);
  float *other = allocate(shape->dim, sizeof *other);
  for (size_t i = 0; i < n; i++) {
    float *vector = vectors + i * shape->dim, share = 0.1f * (float)(i % 9);
    int64_t from = (int64_t)((300 + 7 * i) % shape->n_vocabulary);
    int64_t to = (int64_t)((900 + 3 * i) % shape->n_vocabulary);
    check(nk_forward_embedding(e->forward, from, vector) == NK_OK, "embedding");
    check(nk_forward_embedding(e->forward, to, other) == NK_OK, "embedding");
    for (size_t k = 0; k < shape->dim; k++) vector[k] += share * (other[k] - vector[k]);
  }
  nk_free(other);
  return vectors;
}

static void compare(struct engine *engines) {
  const struct nk_forward_shape *shape = nk_forward_shape(engines[0].forward);
  float *vectors[2] = {make_vectors(&engines[0], N), make_vectors(&engines[1], N)};
  struct answers answers[2] = {0};
  double worst = 0, largest = 0;
  differ(vectors[0], vectors[1], N * shape->dim, &worst, &largest);
  printf("part\tlayer\tlogits\tsums\tresiduals\tlargest\tother_ids\n");
  printf("embedding\t0\t0\t0\t%.3g\t%.3g\t0\n", worst, largest);
  for (size_t i = 0; i < 2; i++) make_answers(&answers[i], shape);
  for (size_t layer = 0; layer <= shape->n_layers; layer++)
    for (int k = 0; k < 4; k++) {
      const struct part part = {layer, k % 2 ? NK_ADD : NK_REPLACE, k >= 2, k == 3 ? 0.5 : 0};
      for (size_t i = 0; i < 2; i++) run(&engines[i], &part, vectors[0], &answers[i]);
      print_difference(&part, shape, &answers[0], &answers[1]);
    }
  for (size_t i = 0; i < 2; i++) {
    free_answers(&answers[i]);
    nk_free(vectors[i]);
  }
}

/* ---- Time ---- */

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Nokens at position 12 of 24, the distribution at the end: the least of two times. */
static double sequences_per_second(const struct engine *e) {
  enum { LENGTH = 24, SLOT = 12 };
  const struct nk_forward_shape *shape = nk_forward_shape(e->forward);
  float *vectors = make_vectors(e, N_TIMED);
  struct nk_sequence *sequences = allocate(N_TIMED, sizeof *sequences);
  struct nk_override *overrides = allocate(N_TIMED, sizeof *overrides);
  struct nk_ask *asks = allocate(N_TIMED, sizeof *asks);
  int64_t ids[LENGTH];
  double least = INFINITY;
  for (size_t t = 0; t < LENGTH; t++) ids[t] = (int64_t)((260 + 37 * t) % shape->n_vocabulary);
  ids[SLOT] = NK_VECTOR;
  for (size_t i = 0; i < N_TIMED; i++) {
    sequences[i] = (struct nk_sequence){ids + SLOT, LENGTH - SLOT};
    overrides[i] = (struct nk_override){i, SLOT, 0, NK_REPLACE, vectors + i * shape->dim};
    asks[i] = (struct nk_ask){.sequence = i, .position = LENGTH - 1, .distribution = true};
  }
  struct nk_batch batch = {.prefix = {ids, SLOT},
                           .sequences = sequences,
                           .n_sequences = N_TIMED,
                           .overrides = overrides,
                           .n_overrides = N_TIMED,
                           .asks = asks,
                           .n_asks = N_TIMED};
  for (int repeat = 0; repeat < 2; repeat++) {
    double start = now();
    check(nk_forward_run(e->forward, &batch) == NK_OK, "run");
    if (now() - start < least) least = now() - start;
  }
  nk_free(vectors);
  nk_free(sequences);
  nk_free(overrides);
  nk_free(asks);
  return N_TIMED / least;
}

int main(int argc, char **argv) {
  struct engine engines[2];
  if (argc < 3) return 2;
  open_engine(&engines[0], argv[1], NK_ENGINE_NATIVE);
  open_engine(&engines[1], argv[2], NK_ENGINE_LLAMA);
  if (argc > 3)
    printf("%.1f\t%.1f\n", sequences_per_second(&engines[0]), sequences_per_second(&engines[1]));
  else
    compare(engines);
  for (size_t i = 0; i < 2; i++) nk_model_free(engines[i].model);
  return 0;
}
