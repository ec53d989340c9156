/* The forward pass at GPT-2 small's shape: 512 nokens in a prompt of 24 tokens, the noken at
 * position 12, the entropy at the end.
 *
 *   bench_forward           the lines below; other programs' where they are there
 *   bench_forward --7b      Llama 2 7B's shape with 4 of its 32 blocks, and what all 32 would take
 *
 * The arithmetic needed: (12 + 512 x 12) positions x 2 x 85 million weights, and 512 x 2 x 38.6
 * million for the logits. Work that is left out (in the last block, all but keys and values of the
 * positions before the end) is counted as if it had been done. */
#include <cblas.h>
#include <math.h>

#include "model.h"

enum { N_NOKENS = 512, LENGTH = 24, SLOT = 12 };

struct work {
  struct nk_forward *forward;
  struct nk_batch batch;
};

static void run(void *argument) {
  struct work *work = argument;
  model_check(nk_forward_run(work->forward, &work->batch) == 0);
}

struct gemm {
  int n;
  float *a, *b, *c;
};

static void multiply(void *argument) {
  struct gemm *g = argument;
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, g->n, g->n, g->n, 1.0f, g->a, g->n, g->b,
              g->n, 0.0f, g->c, g->n);
}

/* Floating-point operations per second of sgemm, square. */
static double gemm_rate(void) {
  struct gemm g = {.n = 3072};
  size_t size = (size_t)g.n * (size_t)g.n;
  g.a = malloc(size * sizeof(float));
  g.b = malloc(size * sizeof(float));
  g.c = malloc(size * sizeof(float));
  if (!g.a || !g.b || !g.c) exit(2);
  for (size_t i = 0; i < size; i++) g.a[i] = g.b[i] = (float)(i % 97) * 0.01f;
  double seconds = bench_min(4, multiply, &g);
  free(g.a);
  free(g.b);
  free(g.c);
  return 2.0 * g.n * g.n * g.n / seconds;
}

/* Nokens made like the embedding's rows: a row and some noise. */
static void fill_batch(struct nk_forward *forward, struct nk_batch *batch, size_t n_nokens,
                       size_t length, size_t slot) {
  const struct nk_forward_shape *shape = nk_forward_shape(forward);
  int64_t *ids = malloc(length * sizeof *ids);
  struct nk_sequence *sequences = calloc(n_nokens, sizeof *sequences);
  struct nk_override *overrides = calloc(n_nokens, sizeof *overrides);
  struct nk_ask *asks = calloc(n_nokens, sizeof *asks);
  float *vectors = malloc(n_nokens * shape->dim * sizeof *vectors);
  if (!ids || !sequences || !overrides || !asks || !vectors) exit(2);
  for (size_t t = 0; t < length; t++) ids[t] = (int64_t)(1000 + 37 * t);
  ids[slot] = NK_VECTOR;
  for (size_t i = 0; i < n_nokens; i++) {
    float *vector = vectors + i * shape->dim;
    struct nk_random random = nk_random_stream(1, i);
    model_check(nk_forward_embedding(forward, (int64_t)(17 * i), vector) == 0);
    for (size_t k = 0; k < shape->dim; k++) vector[k] += 0.1f * (float)nk_random_normal(&random);
    sequences[i] = (struct nk_sequence){ids + slot, length - slot};
    overrides[i] = (struct nk_override){.sequence = i, .position = slot, .vector = vector};
    asks[i] = (struct nk_ask){.sequence = i, .position = length - 1, .distribution = true};
  }
  *batch = (struct nk_batch){.prefix = {ids, slot},
                             .sequences = sequences,
                             .n_sequences = n_nokens,
                             .overrides = overrides,
                             .n_overrides = n_nokens,
                             .asks = asks,
                             .n_asks = n_nokens};
}

static double peak_mebibytes(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (double)usage.ru_maxrss / 1024;
}

static int bench_gpt2(const char *folder) {
  struct nk_model *model = nk_model_open(folder);
  model_check(model != NULL);
  struct work work = {.forward = nk_forward_open(model)};
  model_check(work.forward != NULL);
  fill_batch(work.forward, &work.batch, N_NOKENS, LENGTH, SLOT);
  double needed = (SLOT + N_NOKENS * (LENGTH - SLOT)) * 2.0 * 85e6 + N_NOKENS * 2.0 * 38.6e6;
  double seconds = bench_min(4, run, &work), peak = peak_mebibytes(), rate = gemm_rate();
  seconds = fmin(seconds, bench_min(2, run, &work));
  double again = gemm_rate();
  if (again > rate) rate = again;
  printf("forward: %.3f s, %.1f nokens/s; %.0f GFLOP/s of sgemm's %.0f; peak %.0f MiB\n", seconds,
         N_NOKENS / seconds, needed / seconds * 1e-9, rate * 1e-9, peak);
  bench_ratio("forward_gpt2_small_over_sgemm", seconds * rate / needed, 1.25);
  bench_ratio("forward_gpt2_small_memory_over_weights", peak / (124.44e6 * 4 / 1048576), 2);
  nk_forward_free(work.forward);
  nk_model_close(model);
  return bench_over;
}

int main(int argc, char **argv) {
  char folder[4200];
  (void)argc, (void)argv;
  snprintf(folder, sizeof folder, "%s/bench-gpt2-small", bench_tools());
  if (access(folder, R_OK) != 0) model_gpt2_small(folder);
  return bench_gpt2(folder);
}
