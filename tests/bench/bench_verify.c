/* Verification over the time of the matrix products that it needs, each timed alone in the same run
 * with the same numbers of rows and columns:
 *
 *   verify_gpt2_tiny_over_products    2,048 tokens of data/gpt2-tiny, three prompts
 *   verify_gpt2_small_over_products   256 candidates, GPT-2 small's shape, one prompt
 *
 * The products are those of the positions from the slot on: in the last block only keys and values
 * of all of them; then two more positions and three distributions of each token. Attention, norms,
 * activations and the reduction of the logits are what is above 1. */
#include <cblas.h>

#include "forward/batch.h"
#include "forward/probe.h"
#include "model.h"

/* ---- Products ---- */

struct product {
  bool transposed; /* the weight is [n_out, n_in] */
  size_t rows, n_out, n_in;
  float *x, *w, *y;
};

static void multiply(void *argument) {
  struct product *p = argument;
  cblas_sgemm(CblasRowMajor, CblasNoTrans, p->transposed ? CblasTrans : CblasNoTrans, (int)p->rows,
              (int)p->n_out, (int)p->n_in, 1.0f, p->x, (int)p->n_in, p->w,
              (int)(p->transposed ? p->n_in : p->n_out), 0.0f, p->y, (int)p->n_out);
}

static float *random_floats(size_t n) {
  float *x = malloc(n * sizeof *x);
  if (x == NULL) exit(2);
  for (size_t i = 0; i < n; i++) x[i] = (float)(i % 97) * 0.01f;
  return x;
}

/* Seconds of [rows, n_in] times [n_in, n_out], cut into pieces of at most `most` rows. */
static double seconds_of(size_t rows, size_t most, size_t n_out, size_t n_in, bool transposed) {
  struct product p = {transposed, rows < most ? rows : most, n_out, n_in, NULL, NULL, NULL};
  if (rows == 0) return 0;
  p.x = random_floats(p.rows * n_in);
  p.w = random_floats(n_in * n_out);
  p.y = random_floats(p.rows * n_out);
  double seconds = bench_min(3, multiply, &p);
  free(p.x);
  free(p.w);
  free(p.y);
  return seconds * (double)rows / (double)p.rows;
}

/* The products of one block for `rows` positions, of which n_out go on after keys and values. */
static double block_seconds(const struct nk_forward *f, size_t rows, size_t n_out) {
  const struct nk_forward_shape *s = &f->config.shape;
  size_t most = nki_piece_rows(&f->config), q = s->n_heads * s->head_dim;
  bool transposed = !f->config.in_out;
  return seconds_of(rows, most, 2 * s->n_kv_heads * s->head_dim, s->dim, transposed) +
         seconds_of(n_out, most, q, s->dim, transposed) +
         seconds_of(n_out, most, s->dim, q, transposed) +
         seconds_of(n_out, most, s->mlp_dim, s->dim, transposed) +
         seconds_of(n_out, most, s->dim, s->mlp_dim, transposed);
}

/* All products of nki_verify. */
static double product_seconds(const struct nk_forward *f, const struct nki_prompt *prompts,
                              size_t n_prompts, size_t n, size_t n_steps) {
  const struct nk_forward_shape *s = &f->config.shape;
  double seconds = 0,
         logits = seconds_of(n, 1024, 4096, s->dim, true) / 4096 * (double)s->n_vocabulary;
  double step = (double)s->n_layers * block_seconds(f, n, n);
  for (size_t p = 0; p < n_prompts; p++) {
    size_t rows = prompts[p].slots[0] + n * (prompts[p].n - prompts[p].slots[0]);
    seconds += (double)(s->n_layers - 1) * block_seconds(f, rows, rows) + block_seconds(f, rows, n);
    seconds += (double)(n_steps - 1) * step + (double)n_steps * logits;
  }
  return seconds;
}

/* ---- Verification ---- */

struct verification {
  struct nk_forward *forward;
  struct nki_prompt *prompts;
  size_t n_prompts, n;
  int64_t *ids;
  double *max_prob;
};

static void verify(void *argument) {
  struct verification *v = argument;
  model_check(nki_verify(v->forward, v->prompts, v->n_prompts, v->ids, v->n, 3, v->max_prob) ==
              NK_OK);
}

static void measure(const char *name, struct verification *v, size_t first, size_t apart) {
  v->ids = calloc(v->n, sizeof *v->ids);
  v->max_prob = calloc(v->n, sizeof *v->max_prob);
  if (v->ids == NULL || v->max_prob == NULL) exit(2);
  for (size_t i = 0; i < v->n; i++) v->ids[i] = (int64_t)(first + i * apart);
  double products = product_seconds(v->forward, v->prompts, v->n_prompts, v->n, 3);
  double seconds = bench_min(2, verify, v);
  double again = product_seconds(v->forward, v->prompts, v->n_prompts, v->n, 3);
  if (again < products) products = again;
  printf("%zu tokens, %zu prompts: %.2f s; their products alone %.2f s\n", v->n, v->n_prompts,
         seconds, products);
  bench_ratio(name, seconds / products, 1.5);
  free(v->ids);
  free(v->max_prob);
}

static void measure_tiny(void) {
  struct nk_model *model = nk_model_open("data/gpt2-tiny");
  model_check(model != NULL);
  struct verification v = {.forward = nk_model_forward(model), .n_prompts = NK_VERIFY_PROMPTS};
  model_check(v.forward != NULL);
  model_check(nki_verify_prompts(nk_model_tokenizer(model), nk_verify_prompts, v.n_prompts,
                                 &v.prompts) == NK_OK);
  v.n = 2048;
  measure("verify_gpt2_tiny_over_products", &v, 0, 4);
  nki_verify_prompts_free(v.prompts, v.n_prompts);
  nk_model_free(model);
}

static void measure_small(const char *folder) {
  /* A repetition prompt of GPT-2's tokens: "Please repeat the string" and so on. */
  int64_t ids[] = {5492, 9585, 262, 4731, 366, NK_VECTOR, 1, 736, 284, 502, 25, 366};
  size_t slot = 5;
  struct nki_prompt prompt = {(char[]){"repeat"}, ids, sizeof ids / sizeof ids[0], &slot, 1};
  struct nk_model *model = nk_model_open(folder);
  model_check(model != NULL);
  struct verification v = {
      .forward = nk_model_forward(model), .prompts = &prompt, .n_prompts = 1, .n = 256};
  model_check(v.forward != NULL);
  measure("verify_gpt2_small_over_products", &v, 300, 160);
  nk_model_free(model);
}

int main(int argc, char **argv) {
  char folder[4200];
  snprintf(folder, sizeof folder, "%s/%s", bench_tools(), "bench-gpt2-small");
  bench_title("verification");
  measure_tiny();
  if (argc > 1 && strcmp(argv[1], "--tiny") == 0) return bench_over;
  if (access(folder, R_OK) != 0) model_gpt2_small(folder);
  measure_small(folder);
  return bench_over;
}
