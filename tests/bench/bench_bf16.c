/* Products of bfloat16 over those of F32, of the same BF16 weights: 128 nokens in a prompt of 24
 * tokens, at GPT-2 small's shape, and at that of a Llama of 1.1 billion parameters with 2 of its 22
 * blocks. The last lines say what to expect of the processor: what its instructions for bfloat16
 * reach, without and with a matrix around them. */
#include <cblas.h>
#include <math.h>

#include "model.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { N_NOKENS = 128, LENGTH = 24, SLOT = 12 };

struct work {
  struct nk_forward *forward;
  struct nk_batch batch;
};

static void run(void *argument) {
  struct work *work = argument;
  model_check(nk_forward_run(work->forward, &work->batch) == NK_OK);
}

static void fill_batch(struct work *work) {
  static int64_t ids[LENGTH];
  static struct nk_sequence sequences[N_NOKENS];
  static struct nk_override overrides[N_NOKENS];
  static struct nk_ask asks[N_NOKENS];
  size_t dim = nk_forward_shape(work->forward)->dim;
  float *vectors = malloc(N_NOKENS * dim * sizeof *vectors);
  if (vectors == NULL) exit(2);
  for (size_t t = 0; t < LENGTH; t++) ids[t] = (int64_t)(1000 + 37 * t);
  ids[SLOT] = NK_VECTOR;
  for (size_t i = 0; i < N_NOKENS; i++) {
    model_check(nk_forward_embedding(work->forward, (int64_t)(17 * i), vectors + i * dim) == NK_OK);
    sequences[i] = (struct nk_sequence){ids + SLOT, LENGTH - SLOT};
    overrides[i] =
        (struct nk_override){.sequence = i, .position = SLOT, .vector = vectors + i * dim};
    asks[i] = (struct nk_ask){.sequence = i, .position = LENGTH - 1, .distribution = true};
  }
  work->batch = (struct nk_batch){.prefix = {ids, SLOT},
                                  .sequences = sequences,
                                  .n_sequences = N_NOKENS,
                                  .overrides = overrides,
                                  .n_overrides = N_NOKENS,
                                  .asks = asks,
                                  .n_asks = N_NOKENS};
}

/* The least time, and the mean entropy. NAN where bfloat16 cannot be had. */
static double seconds_of(const char *folder, enum nk_precision precision, double *entropy) {
  const struct nk_engine_options options = {.precision = precision};
  struct nk_model *model = nk_model_open(folder);
  model_check(model != NULL && nk_model_use_engine(model, &options) == NK_OK);
  struct work work = {.forward = nk_model_forward(model)};
  double seconds = NAN;
  if (work.forward != NULL) {
    fill_batch(&work);
    seconds = bench_min(4, run, &work);
    *entropy = 0;
    for (size_t i = 0; i < N_NOKENS; i++) *entropy += work.batch.asks[i].entropy / N_NOKENS;
    free((void *)(uintptr_t)work.batch.overrides[0].vector);
  } else {
    printf("%s\n", nk_error());
  }
  nk_model_free(model);
  return seconds;
}

static void bench_shape(const char *folder, const char *name) {
  double exact, rounded = 0, f32 = seconds_of(folder, NK_PRECISION_F32, &exact);
  double bf16 = seconds_of(folder, NK_PRECISION_BF16, &rounded);
  if (isnan(bf16)) return;
  printf("%s: F32 %.3f s, bfloat16 %.3f s; mean entropy %.5f and %.5f\n", name, f32, bf16, exact,
         rounded);
  bench_ratio(name, bf16 / f32, 1 / 1.6);
}

/* ---- The processor ---- */

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)

enum { CHAINS = 16, ROUNDS = 1 << 22 };

struct sums {
  __m512 of[CHAINS];
};

/* Independent sums in registers, by one thread: 16 products of floats each, or 32 of bfloat16. */
__attribute__((target("avx512f"), optimize("unroll-loops"))) static void add_floats(
    void *argument) {
  struct sums *s = argument;
  const __m512 x = _mm512_set1_ps(1e-30f);
  __m512 sums[CHAINS];
  memcpy(sums, s->of, sizeof sums);
  for (int i = 0; i < ROUNDS; i++)
    for (int c = 0; c < CHAINS; c++) sums[c] = _mm512_fmadd_ps(x, x, sums[c]);
  memcpy(s->of, sums, sizeof sums);
}

__attribute__((target("avx512f,avx512bf16"), optimize("unroll-loops"))) static void add_bf16(
    void *argument) {
  struct sums *s = argument;
  const __m512bh x = _mm512_cvtne2ps_pbh(_mm512_set1_ps(1e-10f), _mm512_set1_ps(1e-10f));
  __m512 sums[CHAINS];
  memcpy(sums, s->of, sizeof sums);
  for (int i = 0; i < ROUNDS; i++)
    for (int c = 0; c < CHAINS; c++) sums[c] = _mm512_dpbf16_ps(sums[c], x, x);
  memcpy(s->of, sums, sizeof sums);
}

static void print_processor(void) {
  static struct sums sums;
  if (!__builtin_cpu_supports("avx512bf16")) return;
  double f32 = bench_min(5, add_floats, &sums), bf16 = bench_min(5, add_bf16, &sums);
  double rate = 1e-9 * CHAINS * ROUNDS * 32;
  printf(
      "one thread: fused multiply-add %.0f GFLOP/s, vdpbf16ps %.0f: %.2f times as many "
      "operations; AMX is used where there is one\n",
      rate / f32, 2 * rate / bf16, 2 * f32 / bf16);
}

#else

static void print_processor(void) {
}

#endif

int main(void) {
  char gpt2[4200], llama[4200], modules[4200];
  snprintf(modules, sizeof modules, "%s/../lib/noken", bench_tools());
  setenv("NOKEN_ENGINES", modules, 0);
  snprintf(gpt2, sizeof gpt2, "%s/bench-gpt2-small-bf16", bench_tools());
  snprintf(llama, sizeof llama, "%s/bench-llama-1b", bench_tools());
  bench_title("products of bfloat16");
  if (access(gpt2, R_OK) != 0) model_gpt2_small_of(gpt2, NK_BF16);
  if (access(llama, R_OK) != 0)
    model_llama(llama,
                &(struct bench_llama){
                    .dim = 2048, .mlp_dim = 5632, .n_heads = 32, .n_kv_heads = 4, .n_layers = 2});
  bench_shape(gpt2, "bf16_gpt2_small_over_F32");
  bench_shape(llama, "bf16_llama_1b_over_F32");
  print_processor();
  return bench_over;
}
