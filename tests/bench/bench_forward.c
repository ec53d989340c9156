/* The forward pass at GPT-2 small's shape: 512 nokens in a prompt of 24 tokens, the noken at
 * position 12, the entropy at the end.
 *
 *   bench_forward           noken, on F32 and on quantized weights, and PyTorch and llama.cpp where
 *                           they can be had; 1,000 nokens through SmolLM2-135M, and llama.cpp; and
 *   bench_forward --gradient  the gradients of the entropies with respect to the nokens, over the
 *                           forward pass in the same run; the same as an objective; and PyTorch's;
 *                           then the gradients with respect to all weights
 *   bench_forward --verify  verification of 1,000 candidates together, and one at a time
 *   bench_forward --7b      Llama 2 7B's shape with 4 of its 32 blocks, extrapolated to all 32
 *
 * The arithmetic needed: (12 + 512 x 12) positions x 2 x 85 million weights, and 512 x 2 x 38.6
 * million for the logits. Work that is left out (in the last block, everything but keys and values
 * of the positions before the end) is counted as done. */
#include <cblas.h>
#include <dlfcn.h>
#include <math.h>

#include "forward/objective.h"
#include "model.h"

enum { N_NOKENS = 512, LENGTH = 24, SLOT = 12 };

/* ---- Where the time goes ---- */

static double product_seconds; /* of what is not in a parallel loop, as attention's products are */

/* In place of OpenBLAS's, which it calls. */
void cblas_sgemm(const enum CBLAS_ORDER order, const enum CBLAS_TRANSPOSE a_transposed,
                 const enum CBLAS_TRANSPOSE b_transposed, const blasint m, const blasint n,
                 const blasint k, const float alpha, const float *a, const blasint lda,
                 const float *b, const blasint ldb, const float beta, float *c, const blasint ldc) {
  typedef __typeof__(&cblas_sgemm) function;
  static function multiply_matrices;
  if (multiply_matrices == NULL) {
    void *found = dlsym(RTLD_NEXT, "cblas_sgemm");
    if (found == NULL) exit(2);
    memcpy(&multiply_matrices, &found, sizeof found);
  }
  double start = bench_now();
  multiply_matrices(order, a_transposed, b_transposed, m, n, k, alpha, a, lda, b, ldb, beta, c,
                    ldc);
  if (!omp_in_parallel()) product_seconds += bench_now() - start;
}

/* Runs once more, and prints what share of it the products of weights take. */
static void print_where(const char *what, void (*work)(void *), void *argument) {
  product_seconds = 0;
  double seconds = bench_min(1, work, argument);
  printf(
      "%s, where: products with weights %.1f %%, attention, norms, activations and copies %.1f "
      "%%\n",
      what, 100 * product_seconds / seconds, 100 * (1 - product_seconds / seconds));
}

/* ---- The forward pass ---- */

struct work {
  struct nk_forward *forward;
  struct nk_batch batch;
};

static void run(void *argument) {
  struct work *work = argument;
  model_check(nk_forward_run(work->forward, &work->batch) == NK_OK);
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
  if (g.a == NULL || g.b == NULL || g.c == NULL) exit(2);
  for (size_t i = 0; i < size; i++) g.a[i] = g.b[i] = (float)(i % 97) * 0.01f;
  double seconds = bench_min(4, multiply, &g);
  free(g.a);
  free(g.b);
  free(g.c);
  return 2.0 * g.n * g.n * g.n / seconds;
}

/* Nokens: rows of the embedding as vectors, so that other programs can make the same. */
static void fill_batch(struct nk_forward *forward, struct nk_batch *batch, size_t n_nokens,
                       size_t length, size_t slot) {
  const struct nk_forward_shape *shape = nk_forward_shape(forward);
  int64_t *ids = malloc(length * sizeof *ids);
  struct nk_sequence *sequences = calloc(n_nokens, sizeof *sequences);
  struct nk_override *overrides = calloc(n_nokens, sizeof *overrides);
  struct nk_ask *asks = calloc(n_nokens, sizeof *asks);
  float *vectors = malloc(n_nokens * shape->dim * sizeof *vectors);
  if (ids == NULL || sequences == NULL || overrides == NULL || asks == NULL || vectors == NULL)
    exit(2);
  for (size_t t = 0; t < length; t++) ids[t] = (int64_t)(1000 + 37 * t);
  ids[slot] = NK_VECTOR;
  for (size_t i = 0; i < n_nokens; i++) {
    float *vector = vectors + i * shape->dim;
    model_check(nk_forward_embedding(forward, (int64_t)(17 * i), vector) == NK_OK);
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

/* The number that a command prints first, 0 when it cannot be run. */
static double number_of(const char *command) {
  double value = 0;
  FILE *pipe = popen(command, "r");
  if (pipe == NULL) return 0;
  int found = fscanf(pipe, "%lf", &value);
  return pclose(pipe) == 0 && found == 1 ? value : 0;
}

/* PyTorch's nokens per second over `per_second`, where $NOKEN_PYTHON (Debian's Python) has it. */
static void bench_torch(const char *folder, const char *option, const char *name, double per_second,
                        double limit) {
  char command[8192];
  fflush(stdout);
  snprintf(command, sizeof command,
           "python=${NOKEN_PYTHON:-/usr/bin/python3}; \"$python\" -c 'import torch' 2>/dev/null && "
           "env -u OPENBLAS_CORETYPE \"$python\" tests/bench/forward_torch.py %s '%s'",
           option, folder);
  double torch = number_of(command);
  if (torch > 0) {
    printf("PyTorch: %.1f nokens/s\n", torch);
    bench_ratio(name, torch / per_second, limit);
  } else {
    printf("PyTorch: not here\n");
  }
}

static void bench_others(const char *folder, double nokens_per_second) {
  char command[32768];
  bench_torch(folder, "", "forward_torch_over_noken", nokens_per_second, 1 / 1.3);
  snprintf(command, sizeof command,
           "set -e; line=$(tests/runners/llama.sh '%s/..' | tail -n 1); "
           "[ -f '%s.gguf' ] || '%s/nk-convert' --model gguf '%s' -o '%s.gguf'; "
           "${line%%%% *} '%s' '%s.gguf' \"${line#* }\" bench %d 2>/dev/null | tail -n 1",
           bench_tools(), folder, bench_tools(), folder, folder, folder, folder, N_NOKENS);
  double llama = number_of(command);
  if (llama > 0) {
    printf("llama.cpp: %.1f nokens/s\n", llama);
    bench_ratio("forward_llama_cpp_over_noken", llama / nokens_per_second, 1 / 2.0);
  } else {
    printf("llama.cpp: not here\n");
  }
}

/* The least time of n_nokens through the model at path; that of `other` in turn with it, so that
 * other load disturbs both, where *other_seconds is wanted. */
static double seconds_of(const char *path, size_t n_nokens, struct work *other,
                         double *other_seconds) {
  struct nk_model *model = nk_model_open(path);
  model_check(model != NULL);
  struct work work = {.forward = nk_model_forward(model)};
  model_check(work.forward != NULL);
  fill_batch(work.forward, &work.batch, n_nokens, LENGTH, SLOT);
  double seconds = 1e300;
  if (other_seconds != NULL) *other_seconds = 1e300;
  for (int i = 0; i < 3; i++) {
    if (other_seconds != NULL) *other_seconds = fmin(*other_seconds, bench_min(1, run, other));
    seconds = fmin(seconds, bench_min(1, run, &work));
  }
  nk_model_free(model);
  return seconds;
}

/* The same shape with quantized matrices, which are widened a layer at a time. */
static void bench_quantized(const char *folder, struct work *work) {
  static const struct {
    const char *name;
    int type;
  } types[] = {{"Q8_0", GGUF_Q8_0}, {"Q4_K", GGUF_Q4_K}};
  char path[4300], line[64];
  for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
    snprintf(path, sizeof path, "%s-%s.gguf", folder, types[i].name);
    if (access(path, R_OK) != 0) model_gpt2_small_gguf(path, types[i].type);
    snprintf(line, sizeof line, "forward_gpt2_small_%s_over_F32", types[i].name);
    double plain, seconds = seconds_of(path, N_NOKENS, work, &plain);
    bench_ratio(line, seconds / plain, 1.1);
  }
}

/* A real model of 30 layers, Q4_1, and llama.cpp on the same file. */
static void bench_real(void) {
  enum { N = 1000 };
  char command[32768], path[4096] = "";
  FILE *pipe = popen("tests/runners/real-model.sh", "r");
  bool here = pipe != NULL && fgets(path, sizeof path, pipe) != NULL;
  here = pipe != NULL && pclose(pipe) == 0 && here;
  path[strcspn(path, "\n")] = 0;
  if (!here) {
    printf("SmolLM2-135M: not here: %s\n", path);
    return;
  }
  double ours = N / seconds_of(path, N, NULL, NULL);
  printf("SmolLM2-135M, Q4_1, %d nokens: %.1f nokens/s\n", N, ours);
  snprintf(command, sizeof command,
           "set -e; line=$(tests/runners/llama.sh '%s/..' | tail -n 1); "
           "${line%%%% *} '%s' '%s' \"${line#* }\" bench %d 2>/dev/null | tail -n 1",
           bench_tools(), path, path, N);
  double llama = number_of(command);
  if (llama > 0) {
    printf("llama.cpp: %.1f nokens/s\n", llama);
    bench_ratio("forward_smollm2_llama_cpp_over_noken", llama / ours, 1 / 3.0);
  } else {
    printf("llama.cpp: not here\n");
  }
}

/* ---- Perturbations ---- */

/* The same nokens, each against the prompt with another vector. */
struct paired {
  struct nk_perturb *perturb;
  float *vectors;         /* [N_NOKENS, dim] */
  size_t place[N_NOKENS]; /* all 0 */
  double kl[N_NOKENS], kl_reverse[N_NOKENS], js[N_NOKENS], l2[N_NOKENS], cosine[N_NOKENS];
};

static void run_paired(void *argument) {
  struct paired *p = argument;
  struct nk_effects effects = {.kl = p->kl,
                               .kl_reverse = p->kl_reverse,
                               .js = p->js,
                               .final_l2 = p->l2,
                               .final_cosine = p->cosine};
  model_check(nk_perturb_run(p->perturb, p->place, p->vectors, N_NOKENS, &effects) == NK_OK);
}

/* Both in turn, so that other load disturbs both. */
static void bench_paired(struct nk_model *model, struct work *work) {
  static struct paired p;
  size_t dim = nk_forward_shape(work->forward)->dim;
  int64_t ids[LENGTH];
  p.vectors = malloc(N_NOKENS * dim * sizeof *p.vectors);
  if (p.vectors == NULL) exit(2);
  for (size_t i = 0; i < N_NOKENS; i++)
    memcpy(p.vectors + i * dim, work->batch.overrides[i].vector, dim * sizeof *p.vectors);
  memcpy(ids, work->batch.prefix.ids, SLOT * sizeof *ids);
  memcpy(ids + SLOT, work->batch.sequences[0].ids, (LENGTH - SLOT) * sizeof *ids);
  float *origin = calloc(dim, sizeof *origin);
  const struct nk_sequence context = {ids, LENGTH};
  const struct nk_place place = {0, SLOT, 0, LENGTH - 1, origin};
  const struct nk_perturb_options options = {
      .contexts = &context, .n_contexts = 1, .places = &place, .n_places = 1};
  p.perturb = nk_perturb_new(model, &options);
  model_check(p.perturb != NULL);
  double paired = 1e300, alone = 1e300;
  for (int i = 0; i < 3; i++) {
    paired = fmin(paired, bench_min(1, run_paired, &p));
    alone = fmin(alone, bench_min(1, run, work));
  }
  printf("paired: %.3f s, the answers alone %.3f s\n", paired, alone);
  bench_ratio("forward_paired_over_answers", paired / alone, 1.1);
  nk_perturb_free(p.perturb);
  free(p.vectors);
  free(origin);
}

static void bench_gpt2(const char *folder) {
  struct nk_model *model = nk_model_open(folder);
  model_check(model != NULL);
  struct work work = {.forward = nk_model_forward(model)};
  model_check(work.forward != NULL);
  fill_batch(work.forward, &work.batch, N_NOKENS, LENGTH, SLOT);
  double needed = (SLOT + N_NOKENS * (LENGTH - SLOT)) * 2.0 * 85e6 + N_NOKENS * 2.0 * 38.6e6;
  double seconds = bench_min(4, run, &work), peak = peak_mebibytes(), rate = gemm_rate();
  seconds = fmin(seconds, bench_min(2, run, &work));
  double again = gemm_rate();
  if (again > rate) rate = again;
  printf("forward: %.3f s, %.1f nokens/s; %.0f GFLOP/s of sgemm's %.0f; peak %.0f MiB\n", seconds,
         N_NOKENS / seconds, needed / seconds * 1e-9, rate * 1e-9, peak);
  double sum = 0;
  for (size_t i = 0; i < N_NOKENS; i++) sum += work.batch.asks[i].entropy;
  printf("sum of the entropies: %.3f (forward_torch.py prints its own)\n", sum);
  bench_ratio("forward_gpt2_small_over_sgemm", seconds * rate / needed, 1 / 0.85);
  print_where("forward", run, &work);
  bench_ratio("forward_gpt2_small_memory_over_weights", peak / (124.44e6 * 4 / 1048576), 2);
  bench_paired(model, &work);
  bench_quantized(folder, &work);
  nk_model_free(model);
  fflush(stdout);
  bench_others(folder, N_NOKENS / seconds);
  bench_real();
}

/* ---- Gradients ---- */

struct differentiated {
  struct nk_forward *forward;
  struct nk_batch batch; /* without asks */
  struct nk_gradient gradient;
};

static void differentiate(void *argument) {
  struct differentiated *d = argument;
  model_check(nk_gradient_run(d->forward, &d->batch, &d->gradient) == NK_OK);
}

struct objective {
  struct nk_objective_options options;
  const float *x;
  double values[N_NOKENS];
  float *gradients; /* [N_NOKENS, dim] */
};

static void run_objective(void *argument) {
  struct objective *o = argument;
  model_check(nk_objective_run(&o->options, o->x, N_NOKENS, o->values, o->gradients) == NK_OK);
}

/* The same gradients by a probe, which the model has no tokenizer for. */
static void bench_objective(struct nk_model *model, struct differentiated *d) {
  static struct objective objective;
  size_t slot = SLOT, end = LENGTH - 1 - SLOT, dim = nk_forward_shape(d->forward)->dim;
  int64_t ids[LENGTH];
  memcpy(ids, d->batch.prefix.ids, LENGTH * sizeof *ids);
  struct nk_probe probe = {
      .model = model,
      .forward = d->forward,
      .prompt = {.name = "bench", .ids = ids, .n = LENGTH, .slots = &slot, .n_slots = 1},
      .base = SLOT,
      .first = SLOT,
      .end = end,
      .offsets = &end,
      .n_offsets = 1};
  struct nk_probe *const probes[] = {&probe};
  objective.options =
      (struct nk_objective_options){.probes = probes, .n_probes = 1, .kind = NK_OBJECTIVE_ENTROPY};
  objective.x = d->batch.overrides[0].vector;
  objective.gradients = malloc(N_NOKENS * dim * sizeof(float));
  if (objective.gradients == NULL) exit(2);
  double whole = 1e300, gradient = 1e300, worst = 0;
  for (int i = 0; i < 3; i++) {
    gradient = fmin(gradient, bench_min(1, differentiate, d));
    whole = fmin(whole, bench_min(1, run_objective, &objective));
  }
  for (size_t k = 0; k < N_NOKENS * dim; k++)
    worst = fmax(worst, fabs((double)objective.gradients[k] - (double)d->gradient.overrides[k]));
  printf("objective: %.3f s, its gradients alone %.3f s; they differ by at most %.3g\n", whole,
         gradient, worst);
  bench_ratio("objective_over_gradient", whole / gradient, 1.1);
  free(objective.gradients);
}

/* The same with respect to all weights too, whose products count as the others of the backward
 * pass do: three times those of the forward pass. */
static void bench_weights(struct nk_model *model, struct differentiated *d, const char *folder) {
  size_t n = nk_model_n_tensors(model), embedding = 0;
  struct nk_weight_gradient *weights = calloc(n, sizeof *weights);
  if (weights == NULL) exit(2);
  for (size_t i = 0; i < n; i++) {
    const struct nk_tensor *tensor = nk_model_tensor(model, i);
    weights[i] =
        (struct nk_weight_gradient){tensor->name, malloc(tensor->n_elements * sizeof(float))};
    if (weights[i].gradient == NULL) exit(2);
    if (strcmp(tensor->name, "wte.weight") == 0) embedding = i;
  }
  d->gradient.weights = weights;
  d->gradient.n_weights = n;
  double seconds = 1e300, rate = 0, squares = 0;
  for (int i = 0; i < 2; i++) {
    seconds = fmin(seconds, bench_min(1, differentiate, d));
    rate = fmax(rate, gemm_rate());
  }
  double needed = 3 * ((SLOT + N_NOKENS * (LENGTH - SLOT)) * 2.0 * 85e6 + N_NOKENS * 2.0 * 38.6e6);
  for (size_t k = 0; k < nk_model_tensor(model, embedding)->n_elements; k++)
    squares += pow((double)weights[embedding].gradient[k], 2);
  printf("gradients of weights: %.3f s; %.0f GFLOP/s of sgemm's %.0f\n", seconds,
         needed / seconds * 1e-9, rate * 1e-9);
  printf("length of the embeddings' gradient: %.6g (forward_torch.py prints its own)\n",
         sqrt(squares));
  print_where("gradients of weights", differentiate, d);
  bench_ratio("gradient_weights_gpt2_small_over_sgemm", seconds * rate / needed, 1 / 0.75);
  bench_torch(folder, "--weights", "gradient_weights_torch_over_noken", N_NOKENS / seconds, 1);
  for (size_t i = 0; i < n; i++) free(weights[i].gradient);
  free(weights);
}

/* Both in turn, so that other load disturbs both; products count twice, forward and backward. */
static int bench_gradient(const char *folder) {
  static struct nk_term terms[N_NOKENS];
  struct nk_model *model = nk_model_open(folder);
  model_check(model != NULL);
  struct work work = {.forward = nk_model_forward(model)};
  model_check(work.forward != NULL);
  fill_batch(work.forward, &work.batch, N_NOKENS, LENGTH, SLOT);
  struct differentiated d = {work.forward, work.batch, {.terms = terms, .n_terms = N_NOKENS}};
  size_t dim = nk_forward_shape(work.forward)->dim;
  d.batch.asks = NULL;
  d.batch.n_asks = 0;
  d.gradient.overrides = malloc(N_NOKENS * dim * sizeof(float));
  if (d.gradient.overrides == NULL) exit(2);
  for (size_t i = 0; i < N_NOKENS; i++)
    terms[i] = (struct nk_term){
        .sequence = i, .position = LENGTH - 1, .kind = NK_TERM_ENTROPY, .weight = 1};
  double forward = 1e300, both = 1e300, rate = 0;
  for (int i = 0; i < 3; i++) {
    forward = fmin(forward, bench_min(1, run, &work));
    both = fmin(both, bench_min(1, differentiate, &d));
    rate = fmax(rate, gemm_rate());
  }
  double needed = 2 * ((SLOT + N_NOKENS * (LENGTH - SLOT)) * 2.0 * 85e6 + N_NOKENS * 2.0 * 38.6e6);
  double squares = 0;
  for (size_t k = 0; k < N_NOKENS * dim; k++)
    squares += (double)d.gradient.overrides[k] * (double)d.gradient.overrides[k];
  printf("gradients: %.3f s, forward alone %.3f s; %.0f GFLOP/s of sgemm's %.0f\n", both, forward,
         needed / both * 1e-9, rate * 1e-9);
  printf("length of the gradients: %.6g (forward_torch.py prints its own)\n", sqrt(squares));
  print_where("gradients", differentiate, &d);
  bench_ratio("gradient_gpt2_small_over_forward", both / forward, 3.3);
  bench_ratio("gradient_gpt2_small_over_sgemm", both * rate / needed, 1 / 0.75);
  bench_objective(model, &d);
  bench_torch(folder, "--gradient", "gradient_torch_over_noken", N_NOKENS / both, 1);
  bench_weights(model, &d, folder);
  nk_model_free(model);
  free(d.gradient.overrides);
  return bench_over;
}

/* ---- Verification ---- */

/* A repetition prompt of GPT-2's tokens: "Please repeat the string" and so on. */
static int64_t repeat_ids[] = {5492, 9585, 262, 4731, 366, NK_VECTOR, 1, 736, 284, 502, 25, 366};
enum { REPEAT_LENGTH = 12, REPEAT_SLOT = 5, N_CANDIDATES = 1000, N_ALONE = 8 };

struct verification {
  struct nk_forward *forward;
  struct nki_prompt prompt;
  int64_t ids[N_CANDIDATES];
  double max_prob[N_CANDIDATES];
};

static void verify_all(void *argument) {
  struct verification *v = argument;
  model_check(nki_verify(v->forward, &v->prompt, 1, v->ids, N_CANDIDATES, 3, v->max_prob) == NK_OK);
}

/* One candidate after the other, each with the whole prompt. */
static void verify_alone(void *argument) {
  struct verification *v = argument;
  for (size_t i = 0; i < N_ALONE; i++) {
    int64_t ids[REPEAT_LENGTH], out[3];
    float watched[3];
    size_t length;
    memcpy(ids, repeat_ids, sizeof ids);
    ids[REPEAT_SLOT] = v->ids[i];
    struct nk_sequence sequence = {ids, REPEAT_LENGTH};
    struct nk_generation generation = {
        .n_tokens = 3, .watch = &v->ids[i], .watched = watched, .ids = out, .lengths = &length};
    struct nk_batch batch = {.sequences = &sequence, .n_sequences = 1, .generation = &generation};
    model_check(nk_forward_run(v->forward, &batch) == NK_OK);
  }
}

static int bench_verify(const char *folder) {
  static struct verification v;
  size_t slot = REPEAT_SLOT;
  struct nk_model *model = nk_model_open(folder);
  model_check(model != NULL);
  v.forward = nk_model_forward(model);
  model_check(v.forward != NULL);
  v.prompt = (struct nki_prompt){.name = (char[]){"repeat"},
                                 .ids = repeat_ids,
                                 .n = REPEAT_LENGTH,
                                 .slots = &slot,
                                 .n_slots = 1};
  for (size_t i = 0; i < N_CANDIDATES; i++) v.ids[i] = (int64_t)(40 * i + 300);
  double together = bench_min(1, verify_all, &v);
  double alone = bench_min(1, verify_alone, &v) * N_CANDIDATES / N_ALONE;
  printf(
      "verify: 1,000 candidates, a prompt of %d tokens and 3 steps: %.2f s; one at a time "
      "without a shared prefix %.0f s\n",
      REPEAT_LENGTH, together, alone);
  bench_ratio("verify_together_over_alone", together / alone, 0.25);
  nk_model_free(model);
  return bench_over;
}

/* ---- Seven billion parameters ---- */

static int bench_7b(const char *folder) {
  enum { N_BLOCKS = 4, ALL = 32, N = 128 };
  if (access(folder, R_OK) != 0) model_llama_7b(folder, N_BLOCKS);
  struct nk_model *model = nk_model_open(folder);
  model_check(model != NULL);
  struct work work = {.forward = nk_model_forward(model)};
  model_check(work.forward != NULL);
  const struct nk_forward_shape *shape = nk_forward_shape(work.forward);
  fill_batch(work.forward, &work.batch, N, LENGTH, SLOT);
  double seconds = bench_min(1, run, &work), peak = peak_mebibytes();
  double block = (double)shape->n_parameters / N_BLOCKS, embeddings = 2.0 * 32000 * 4096;
  double mapped = (embeddings + N_BLOCKS * block) * 2 / 1048576;
  double own = peak - mapped, weights = (embeddings + ALL * block) * 2 / 1048576;
  /* what grows with the blocks, beside the mapped weights: the prefix's keys and values */
  double prefix = 2.0 * SLOT * 4096 * 4 * (ALL - N_BLOCKS) / 1048576;
  printf(
      "7B: %d of %d blocks, %d nokens: %.2f s; peak %.0f MiB, of it %.0f MiB mapped BF16 "
      "weights\n",
      N_BLOCKS, ALL, N, seconds, peak, mapped);
  printf("7B: all %d blocks: %.0f MiB mapped + %.0f MiB = %.1f GiB; about %.0f s\n", ALL, weights,
         own + prefix, (weights + own + prefix) / 1024, seconds * ALL / N_BLOCKS);
  bench_ratio("forward_7b_gib_over_24", (weights + own + prefix) / 1024 / 24, 1);
  nk_model_free(model);
  return bench_over;
}

int main(int argc, char **argv) {
  char folder[4200];
  bool seven = argc > 1 && strcmp(argv[1], "--7b") == 0;
  snprintf(folder, sizeof folder, "%s/%s", bench_tools(), seven ? "bench-7b" : "bench-gpt2-small");
  bench_title("the forward pass");
  if (seven) return bench_7b(folder);
  if (access(folder, R_OK) != 0) model_gpt2_small(folder);
  if (argc > 1 && strcmp(argv[1], "--gradient") == 0) return bench_gradient(folder);
  if (argc > 1 && strcmp(argv[1], "--verify") == 0) return bench_verify(folder);
  bench_gpt2(folder);
  return bench_gradient(folder);
}
