/* The same model, prompt and nokens through noken and through llama.cpp.
 *
 *   llama MODEL GGUF LIBRARIES          the largest difference between their logits and the root of
 *                                       the mean square, over prompts with nokens at the start, in
 *                                       the middle and at the end; then the largest difference
 *                                       between noken's own of MODEL and of GGUF
 *   llama MODEL GGUF LIBRARIES set SET IDS
 *                                       a line for each vector of SET in the prompt IDS, token ids
 *                                       with `_` for its slot (599,_,290): entropy, most probable
 *                                       token and its probability by llama.cpp, at the prompt's
 *                                       end, and the divergence of noken's distribution from its
 *   llama MODEL GGUF LIBRARIES bench N  nokens per second of llama.cpp: N nokens in a prompt of 24
 *                                       tokens, the noken at 12, the logits at the end
 *
 * MODEL is the folder, GGUF the same model as nk-convert --model gguf writes it, LIBRARIES the
 * folder of llama.cpp's. Built by llama.sh, for tests only. llama.cpp's keys and values are kept in
 * F32 and its flash attention is off here, as both would round to half. */
#include <math.h>
#include <noken/noken.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ggml-backend.h"
#include "llama.h"

enum { LENGTH = 24, AT_ONCE = 128, SLOT = 12 };

static void check(int good, const char *what) {
  if (good) return;
  fprintf(stderr, "llama: %s: %s\n", what, nk_error());
  exit(2);
}

static void quiet(enum ggml_log_level level, const char *text, void *user) {
  (void)user;
  if (level >= GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
}

struct both {
  struct nk_model *model, *gguf;
  struct nk_forward *forward, *forward_gguf;
  struct llama_model *llama;
  struct llama_context *context;
  size_t dim, n_vocabulary;
  float scale; /* of vectors for llama.cpp: Gemma 3 scales tokens alone */
};

static void open_both(struct both *b, char **argv, int n_positions) {
  b->model = nk_model_open(argv[1]);
  check(b->model != NULL, argv[1]);
  b->forward = nk_model_forward(b->model);
  check(b->forward != NULL, argv[1]);
  b->gguf = nk_model_open(argv[2]);
  b->forward_gguf = nk_model_forward(b->gguf);
  check(b->forward_gguf != NULL, argv[2]);
  b->dim = nk_forward_shape(b->forward)->dim;
  b->n_vocabulary = nk_forward_shape(b->forward)->n_vocabulary;
  llama_log_set(quiet, NULL);
  ggml_backend_load_all_from_path(argv[3]);
  struct llama_model_params model = llama_model_default_params();
  model.n_gpu_layers = 0;
  b->llama = llama_model_load_from_file(argv[2], model);
  check(b->llama != NULL, argv[2]);
  struct llama_context_params context = llama_context_default_params();
  context.n_ctx = (uint32_t)n_positions;
  context.n_batch = context.n_ubatch = 2048;
  context.n_seq_max = AT_ONCE + 1;
  context.kv_unified = true;
  context.n_threads = context.n_threads_batch = (int)nk_threads();
  context.type_k = context.type_v = GGML_TYPE_F32;
  context.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
  b->context = llama_init_from_model(b->llama, context);
  check(b->context != NULL, "context");
  char architecture[64] = "";
  llama_model_meta_val_str(b->llama, "general.architecture", architecture, sizeof architecture);
  b->scale = strcmp(architecture, "gemma3") == 0 ? sqrtf((float)b->dim) : 1;
  check((size_t)llama_vocab_n_tokens(llama_model_get_vocab(b->llama)) == b->n_vocabulary,
        "vocabularies differ");
}

static void close_both(struct both *b) {
  llama_free(b->context);
  llama_model_free(b->llama);
  nk_model_free(b->model);
  nk_model_free(b->gguf);
}

/* Adds a token, or a vector, at `position` of sequence `sequence`; with its logits or without. */
static void add(struct llama_batch *batch, int32_t id, const float *vector, size_t dim,
                int position, int sequence, bool logits) {
  int at = batch->n_tokens++;
  if (vector == NULL)
    batch->token[at] = id;
  else
    memcpy(batch->embd + (size_t)at * dim, vector, dim * sizeof *vector);
  batch->pos[at] = position;
  batch->n_seq_id[at] = 1;
  batch->seq_id[at][0] = sequence;
  batch->logits[at] = logits;
}

/* Nokens [first, first + n) in the prompt; logits [n, n_vocabulary] may be NULL. The prefix is
 * computed once, by sequence 0, and shared. */
static void run_llama(struct both *b, const int64_t *ids, int slot, int length,
                      const float *vectors, int n, float *logits) {
  struct llama_batch tokens = llama_batch_init(2048, 0, 1);
  struct llama_batch embedded = llama_batch_init(AT_ONCE, (int32_t)b->dim, 1);
  llama_memory_t memory = llama_get_memory(b->context);
  llama_memory_clear(memory, true);
  for (int t = 0; t < slot; t++) add(&tokens, (int32_t)ids[t], NULL, b->dim, t, 0, false);
  if (slot > 0) check(llama_decode(b->context, tokens) == 0, "decode prefix");
  for (int i = 0; i < n; i++) {
    if (slot > 0) llama_memory_seq_cp(memory, 0, i + 1, -1, -1);
    add(&embedded, 0, vectors + (size_t)i * b->dim, b->dim, slot, i + 1, slot + 1 == length);
  }
  for (size_t k = 0; k < (size_t)n * b->dim; k++) embedded.embd[k] *= b->scale;
  check(llama_decode(b->context, embedded) == 0, "decode nokens");
  tokens.n_tokens = 0;
  for (int i = 0; i < n && slot + 1 < length; i++)
    for (int t = slot + 1; t < length; t++)
      add(&tokens, (int32_t)ids[t], NULL, b->dim, t, i + 1, t + 1 == length);
  if (slot + 1 < length) check(llama_decode(b->context, tokens) == 0, "decode the rest");
  for (int i = 0; i < n && logits != NULL; i++) {
    int at = slot + 1 == length ? i : (i + 1) * (length - slot - 1) - 1;
    memcpy(logits + (size_t)i * b->n_vocabulary, llama_get_logits_ith(b->context, at),
           b->n_vocabulary * sizeof *logits);
  }
  llama_batch_free(tokens);
  llama_batch_free(embedded);
}

static void run_noken(struct nk_forward *forward, const int64_t *ids, size_t slot, size_t length,
                      const float *vectors, size_t n, float *logits) {
  const struct nk_forward_shape *shape = nk_forward_shape(forward);
  int64_t rest[LENGTH];
  struct nk_sequence sequences[AT_ONCE];
  struct nk_override overrides[AT_ONCE];
  struct nk_ask asks[AT_ONCE];
  memcpy(rest, ids + slot, (length - slot) * sizeof *ids);
  rest[0] = NK_VECTOR;
  for (size_t i = 0; i < n; i++) {
    sequences[i] = (struct nk_sequence){rest, length - slot};
    overrides[i] = (struct nk_override){i, slot, 0, NK_REPLACE, vectors + i * shape->dim};
    asks[i] = (struct nk_ask){
        .sequence = i, .position = length - 1, .logits = logits + i * shape->n_vocabulary};
  }
  struct nk_batch batch = {.prefix = {ids, slot},
                           .sequences = sequences,
                           .n_sequences = n,
                           .overrides = overrides,
                           .n_overrides = n,
                           .asks = asks,
                           .n_asks = n};
  check(nk_forward_run(forward, &batch) == NK_OK, "noken");
}

/* Vectors on the way from one token's embedding to another's. */
static float *make_vectors(struct both *b, size_t n) {
  float *vectors = malloc(n * b->dim * sizeof *vectors), *other = malloc(b->dim * sizeof *other);
  check(vectors != NULL && other != NULL, "memory");
  for (size_t i = 0; i < n; i++) {
    float *vector = vectors + i * b->dim, share = 0.1f * (float)(i % 9);
    check(nk_forward_embedding(b->forward, (int64_t)(300 + 7 * i) % (int64_t)b->n_vocabulary,
                               vector) == NK_OK,
          "embedding");
    check(nk_forward_embedding(b->forward, (int64_t)(900 + 3 * i) % (int64_t)b->n_vocabulary,
                               other) == NK_OK,
          "embedding");
    for (size_t k = 0; k < b->dim; k++) vector[k] += share * (other[k] - vector[k]);
  }
  free(other);
  return vectors;
}

static void compare(struct both *b, const int64_t *ids) {
  enum { N = 8 };
  static const size_t slots[] = {0, SLOT, LENGTH - 1};
  size_t n = N * b->n_vocabulary;
  float *vectors = make_vectors(b, N), *logits = malloc(3 * n * sizeof *logits);
  double worst = 0, squares = 0, own = 0;
  check(logits != NULL, "memory");
  float *ours = logits, *theirs = logits + n, *again = logits + 2 * n;
  for (size_t s = 0; s < 3; s++) {
    run_noken(b->forward, ids, slots[s], LENGTH, vectors, N, ours);
    run_noken(b->forward_gguf, ids, slots[s], LENGTH, vectors, N, again);
    run_llama(b, ids, (int)slots[s], LENGTH, vectors, N, theirs);
    for (size_t i = 0; i < n; i++) {
      double difference = fabs((double)ours[i] - (double)theirs[i]);
      double of_own = fabs((double)ours[i] - (double)again[i]);
      if (!(difference <= worst)) worst = difference;
      if (!(of_own <= own)) own = of_own;
      squares += difference * difference / (double)(3 * n);
    }
  }
  free(vectors);
  free(logits);
  printf("%.3g %.3g %.3g\n", worst, sqrt(squares), own);
}

/* ---- A set ---- */

/* log_p [n] = the logarithm of the softmax of the logits. */
static void log_softmax(const float *logits, size_t n, double *log_p) {
  double most = -INFINITY, sum = 0;
  for (size_t i = 0; i < n; i++)
    if (logits[i] > most) most = logits[i];
  for (size_t i = 0; i < n; i++) sum += exp(logits[i] - most);
  for (size_t i = 0; i < n; i++) log_p[i] = logits[i] - most - log(sum);
}

/* p by llama.cpp, q by noken: logarithms. */
static void print_row(const double *p, const double *q, size_t n) {
  double entropy = 0, kl = 0;
  size_t top = 0;
  for (size_t i = 0; i < n; i++) {
    entropy -= exp(p[i]) * p[i];
    kl += exp(p[i]) * (p[i] - q[i]);
    if (p[i] > p[top]) top = i;
  }
  printf("%.9g\t%zu\t%.9g\t%.3g\n", entropy, top, exp(p[top]), kl);
}

static size_t read_ids(const char *text, int64_t *ids, size_t *slot) {
  size_t n = 0;
  for (bool more = true; more && n < LENGTH; n++) {
    if (*text == '_') *slot = n;
    ids[n] = strtoll(text, NULL, 10);
    text += strcspn(text, ",");
    more = *text++ == ',';
  }
  return n;
}

static void print_set(struct both *b, const char *path, const char *text) {
  int64_t ids[LENGTH];
  size_t slot = 0, length = read_ids(text, ids, &slot), n = b->n_vocabulary;
  struct nk_vectors *set = nk_vectors_read(path);
  check(set != NULL && set->dim == b->dim && set->n <= AT_ONCE, path);
  float *logits = malloc(2 * set->n * n * sizeof *logits);
  double *log_p = malloc(2 * n * sizeof *log_p);
  check(logits != NULL && log_p != NULL, "memory");
  run_noken(b->forward, ids, slot, length, set->values, set->n, logits);
  run_llama(b, ids, (int)slot, (int)length, set->values, (int)set->n, logits + set->n * n);
  for (size_t i = 0; i < set->n; i++) {
    log_softmax(logits + i * n, n, log_p);
    log_softmax(logits + (set->n + i) * n, n, log_p + n);
    print_row(log_p + n, log_p, n);
  }
  free(logits);
  free(log_p);
  nk_vectors_free(set);
}

/* ---- Time ---- */

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double bench(struct both *b, const int64_t *ids, size_t n) {
  float *vectors = make_vectors(b, n);
  double least = INFINITY;
  for (int repeat = 0; repeat < 2; repeat++) {
    double start = now();
    for (size_t i = 0; i < n; i += AT_ONCE)
      run_llama(b, ids, SLOT, LENGTH, vectors + i * b->dim,
                (int)(n - i < AT_ONCE ? n - i : AT_ONCE), NULL);
    if (now() - start < least) least = now() - start;
  }
  free(vectors);
  return (double)n / least;
}

int main(int argc, char **argv) {
  struct both b = {0};
  int64_t ids[LENGTH];
  if (argc < 4) return 2;
  /* As few positions as will do: a context longer than the original one changes Phi-3's
   * frequencies. */
  open_both(&b, argv, argc == 6 ? 8192 : argc == 7 ? AT_ONCE * LENGTH : 256);
  for (size_t t = 0; t < LENGTH; t++) ids[t] = (int64_t)((260 + 37 * t) % b.n_vocabulary);
  if (argc == 7)
    print_set(&b, argv[5], argv[6]);
  else if (argc == 6)
    printf("%.2f\n", bench(&b, ids, strtoul(argv[5], NULL, 10)));
  else
    compare(&b, ids);
  close_both(&b);
  return 0;
}
