/* Objectives on the shipped models: against PyTorch's autograd in double
 * (tests/fixtures/forward/objectives.py), and the behaviour of probes. */
#include <math.h>

#include "objectives.h"

enum { N_KINDS = 4 };
static const int64_t TOKENS[] = {5, 300, 4000}, TEXT[] = {300, 17, 900};

static struct nk_objective_options objective_of(const struct world *w, size_t place,
                                                enum nk_objective kind) {
  bool text = kind == NK_OBJECTIVE_TEXT;
  return (struct nk_objective_options){.probes = w->probes[place],
                                       .n_probes = N_PROMPTS,
                                       .kind = kind,
                                       .ids = text ? TEXT : TOKENS,
                                       .n_ids = 3};
}

static void run(const struct nk_objective_options *o, const float *x, size_t n, double *values,
                float *gradients) {
  if (nk_objective_run(o, x, n, values, gradients) != NK_OK) fail_msg("%s", nk_error());
}

/* The length of the error relative to that of what is expected. */
static double error_of(const float *got, const double *want, size_t n) {
  double error = 0, length = 0;
  for (size_t k = 0; k < n; k++) {
    error += pow((double)got[k] - want[k], 2);
    length += want[k] * want[k];
  }
  return sqrt(error / length);
}

static void check_place(const struct world *w, const char *name, size_t p) {
  const float *x = (const float *)data_of(w, "vectors") + p * N_VECTORS * w->dim;
  for (int kind = 0; kind < N_KINDS; kind++) {
    const struct nk_objective_options o = objective_of(w, p, (enum nk_objective)kind);
    size_t at = (p * N_KINDS + (size_t)kind) * N_VECTORS;
    const double *values = (const double *)data_of(w, "values") + at;
    const double *slopes = (const double *)data_of(w, "gradients") + at * w->dim;
    double got[N_VECTORS];
    float gradients[N_VECTORS * MAX_DIM];
    run(&o, x, N_VECTORS, got, gradients);
    for (size_t i = 0; i < N_VECTORS; i++) {
      double error = error_of(gradients + i * w->dim, slopes + i * w->dim, w->dim);
      if (!(fabs(got[i] - values[i]) <= 1e-5 * fmax(1, fabs(values[i]))))
        fail_msg("%s: place %zu, kind %d: %.9g, expected %.9g", name, p, kind, got[i], values[i]);
      if (!(error <= 1e-5))
        fail_msg("%s: place %zu, kind %d: the gradient's error is %.3g", name, p, kind, error);
    }
  }
}

static void objectives_equal_autograd(void **state) {
  (void)state;
  for (size_t m = 0; m < 2; m++) {
    struct world w;
    open_world(MODELS[m], &w);
    for (size_t p = 0; p < N_PLACES; p++) check_place(&w, MODELS[m], p);
    close_world(&w);
  }
}

/* ---- Against probes ---- */

static void kl_and_entropy_are_those_of_behaviour(void **state) {
  (void)state;
  struct world w;
  open_world(MODELS[0], &w);
  for (size_t p = 0; p < N_PLACES; p++) {
    const float *x = (const float *)data_of(&w, "vectors") + p * N_VECTORS * w.dim;
    struct nk_vectors *set = set_of(x, N_VECTORS, w.dim);
    for (size_t i = 0; i < N_PROMPTS; i++) {
      const struct nk_items items = {.vectors = set};
      struct nk_behaviour *b = nk_probe_run(w.probes[p][i], &items);
      assert_non_null(b);
      for (int kind = NK_OBJECTIVE_KL; kind <= NK_OBJECTIVE_ENTROPY; kind++) {
        struct nk_objective_options o = objective_of(&w, p, (enum nk_objective)kind);
        const double *want = kind == NK_OBJECTIVE_KL ? b->kl : b->entropy;
        double got[N_VECTORS];
        o.probes = &w.probes[p][i];
        o.n_probes = 1;
        run(&o, x, N_VECTORS, got, NULL);
        for (size_t v = 0; v < N_VECTORS; v++)
          if (!(fabs(got[v] - want[v]) <= 4e-6 * fmax(1, want[v]))) /* roundings of logits */
            fail_msg("kind %d, place %zu: %.9g, of behaviour %.9g", kind, p, got[v], want[v]);
      }
      nk_behaviour_free(b);
    }
    nk_vectors_free(set);
  }
  close_world(&w);
}

/* A vector at a position of the prompt, with a slot before it, read at the end. */
static void a_position_is_a_place_as_well(void **state) {
  (void)state;
  struct world w;
  open_world(MODELS[1], &w);
  const float *x = data_of(&w, "vectors");
  const size_t offsets[] = {0, NK_PROMPT_END};
  struct nk_probe *probe = new_probe(
      w.model, PROMPTS[0],
      (struct nk_probe_options){
          .at_position = true, .position = -1, .layer = 1, .offsets = offsets, .n_offsets = 2});
  struct nk_vectors *set = set_of(x, N_VECTORS, w.dim);
  const struct nk_items items = {.vectors = set};
  struct nk_behaviour *b = nk_probe_run(probe, &items);
  assert_non_null(b);
  const struct nk_objective_options o = {.probes = &probe, .n_probes = 1};
  double got[N_VECTORS];
  run(&o, x, N_VECTORS, got, NULL);
  for (size_t v = 0; v < N_VECTORS; v++)
    assert_true(fabs(got[v] - b->kl[v * b->n_offsets + b->n_offsets - 1]) <= 1e-6);
  nk_behaviour_free(b);
  nk_vectors_free(set);
  nk_probe_free(probe);
  close_world(&w);
}

/* ---- What each option does ---- */

static void minimize_turns_the_sign(void **state) {
  (void)state;
  struct world w;
  open_world(MODELS[0], &w);
  const float *x = data_of(&w, "vectors");
  for (int kind = 0; kind < N_KINDS; kind++) {
    struct nk_objective_options o = objective_of(&w, 0, (enum nk_objective)kind);
    double up[N_VECTORS], down[N_VECTORS];
    float g[2][N_VECTORS * MAX_DIM];
    run(&o, x, N_VECTORS, up, g[0]);
    o.minimize = true;
    run(&o, x, N_VECTORS, down, g[1]);
    for (size_t i = 0; i < N_VECTORS; i++) assert_true(up[i] == -down[i] && up[i] != 0);
    for (size_t k = 0; k < N_VECTORS * w.dim; k++) assert_true(fabsf(g[0][k] + g[1][k]) <= 1e-7f);
  }
  close_world(&w);
}

/* Of one token, TOKENS and TEXT are the same; its probability is part of that of several. */
static void one_token_is_a_text_as_well(void **state) {
  (void)state;
  struct world w;
  open_world(MODELS[1], &w);
  const float *x = data_of(&w, "vectors");
  struct nk_objective_options o = objective_of(&w, 0, NK_OBJECTIVE_TOKENS);
  double sum[N_VECTORS], parts[N_VECTORS] = {0}, got[N_VECTORS], text[N_VECTORS];
  o.n_probes = 1;
  run(&o, x, N_VECTORS, sum, NULL);
  o.n_ids = 1;
  for (size_t k = 0; k < 3; k++) {
    o.ids = &TOKENS[k];
    o.kind = NK_OBJECTIVE_TOKENS;
    run(&o, x, N_VECTORS, got, NULL);
    o.kind = NK_OBJECTIVE_TEXT;
    run(&o, x, N_VECTORS, text, NULL);
    for (size_t i = 0; i < N_VECTORS; i++) {
      assert_true(fabs(got[i] - text[i]) <= 1e-6);
      parts[i] += exp(got[i]);
    }
  }
  for (size_t i = 0; i < N_VECTORS; i++) assert_true(fabs(log(parts[i]) - sum[i]) <= 1e-5);
  close_world(&w);
}

/* More vectors than one batch has, after the last block: each as alone. */
static void many_vectors_are_run_in_blocks(void **state) {
  (void)state;
  enum { N = 16384 + 3 };
  struct world w;
  open_world(MODELS[0], &w);
  struct nk_probe *probe =
      new_probe(w.model, PROMPTS[0],
                (struct nk_probe_options){.at_position = true, .position = -1, .layer = 4});
  const struct nk_objective_options o = {
      .probes = &probe, .n_probes = 1, .kind = NK_OBJECTIVE_TOKENS, .ids = TOKENS, .n_ids = 1};
  float *x = malloc(N * w.dim * sizeof *x), *g = malloc(N * w.dim * sizeof *g), alone[MAX_DIM];
  double *values = malloc(N * sizeof *values), value;
  assert_true(x != NULL && g != NULL && values != NULL);
  for (size_t k = 0; k < N * w.dim; k++) x[k] = sinf((float)(k % 9973));
  run(&o, x, N, values, g);
  for (size_t i = 0; i < N; i += 16383) {
    run(&o, x + i * w.dim, 1, &value, alone);
    assert_true(fabs(value - values[i]) <= 1e-5 * fabs(value));
    for (size_t k = 0; k < w.dim; k++) assert_true(fabsf(alone[k] - g[i * w.dim + k]) <= 1e-5f);
  }
  free(x);
  free(g);
  free(values);
  nk_probe_free(probe);
  close_world(&w);
}

/* ---- Refusals ---- */

static void assert_refused(const struct nk_objective_options *o, const float *x, int code,
                           const char *message) {
  double value;
  assert_int_equal(nk_objective_run(o, x, 1, &value, NULL), code);
  if (strstr(nk_error(), message) == NULL) fail_msg("'%s' is not in: %s", message, nk_error());
}

static void what_cannot_be_an_objective_is_refused(void **state) {
  (void)state;
  struct world w;
  open_world(MODELS[0], &w);
  float x[MAX_DIM] = {0};
  static const int64_t beyond = 8192, many[256];
  const size_t first = 0;
  struct nk_probe *slot =
      new_probe(w.model, PROMPTS[0], (struct nk_probe_options){.offsets = &first, .n_offsets = 1});
  struct nk_probe *mixed[] = {w.probes[0][0], w.probes[1][0]}, *none[] = {NULL};
  const struct nk_objective_options good = objective_of(&w, 0, NK_OBJECTIVE_TOKENS);
  struct nk_objective_options o = good;
  o.n_probes = 0;
  assert_refused(&o, x, NK_EUSAGE, "no probes");
  o = good;
  o.kind = (enum nk_objective)9;
  assert_refused(&o, x, NK_EUSAGE, "no such kind");
  o = good;
  o.n_ids = 0;
  assert_refused(&o, x, NK_EUSAGE, "no ids");
  o.ids = &beyond;
  o.n_ids = 1;
  assert_refused(&o, x, NK_EUSAGE, "id 8192: the model has tokens 0 to 8191");
  o.ids = (const int64_t[]){3, 17, 3};
  o.n_ids = 3;
  assert_refused(&o, x, NK_EUSAGE, "id 3 is given twice");
  o = good;
  o.probes = mixed;
  assert_refused(&o, x, NK_EUSAGE, "expected the model, the layer and the mode");
  o.probes = &slot;
  o.n_probes = 1;
  assert_refused(&o, x, NK_EUSAGE, "its last offset is 0, not its end at 1");
  o = objective_of(&w, 0, NK_OBJECTIVE_TEXT);
  o.ids = many;
  o.n_ids = 256;
  assert_refused(&o, x, NK_EUSAGE, "the model's context is 256");
  o = good;
  o.probes = none;
  assert_int_not_equal(nk_objective_run(&o, x, 1, &(double){0}, NULL), NK_OK);
  x[3] = NAN;
  assert_refused(&good, x, NK_EDATA, "vector 0: component 3 is not finite");
  nk_probe_free(slot);
  close_world(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(objectives_equal_autograd),
      cmocka_unit_test(kl_and_entropy_are_those_of_behaviour),
      cmocka_unit_test(a_position_is_a_place_as_well),
      cmocka_unit_test(minimize_turns_the_sign),
      cmocka_unit_test(one_token_is_a_text_as_well),
      cmocka_unit_test(many_vectors_are_run_in_blocks),
      cmocka_unit_test(what_cannot_be_an_objective_is_refused),
  };
  return cmocka_run_group_tests_name("objective", tests, NULL, NULL);
}
