/* The stiffest directions on the shipped models, against the singular value decomposition of the
 * whole Jacobian, which PyTorch computes in double (tests/fixtures/forward/objectives.py). */
#include <math.h>

#include "model/rows.h"
#include "objectives.h"

enum { K = 5, N_VALUES = 6 };

static struct nk_vectors *run(const struct nk_top_options *options, const struct nk_vectors *set) {
  struct nk_vectors *top = nk_top_directions(options, set);
  if (top == NULL) fail_msg("%s", nk_error());
  return top;
}

static double cosine(const float *x, const float *y, size_t n) {
  double xx = 0, yy = 0, xy = 0;
  for (size_t i = 0; i < n; i++) {
    xx += (double)x[i] * (double)x[i];
    yy += (double)y[i] * (double)y[i];
    xy += (double)x[i] * (double)y[i];
  }
  assert_true(fabs(xx - 1) < 1e-5);
  return xy / sqrt(xx * yy);
}

/* Values to 1e-3. A direction turns by what is left of it over the gap to the next value: the sine
 * of the angle is at most 1e-3 of the value over the gap. */
static void check_place(const struct world *w, const char *name, size_t p, bool fisher) {
  size_t at = p * 2 + fisher;
  const double *value = (const double *)data_of(w, "singular") + at * N_VALUES;
  const float *direction = (const float *)data_of(w, "directions") + at * K * w->dim;
  struct nk_vectors *origin =
      set_of((const float *)data_of(w, "vectors") + 2 * p * w->dim, 1, w->dim);
  const struct nk_top_options options = {
      .probes = w->probes[p], .n_probes = N_PROMPTS, .k = K, .fisher = fisher};
  origin->ids[0] = 70;
  struct nk_vectors *top = run(&options, origin);
  assert_int_equal(top->n, K);
  for (size_t i = 0; i < K; i++) {
    double got = numbers(top, "singular_value")[i], gap = value[i] - value[i + 1];
    double c = cosine(top->values + i * w->dim, direction + i * w->dim, w->dim);
    if (i > 0) gap = fmin(gap, value[i - 1] - value[i]);
    if (!(fabs(got / value[i] - 1) <= 1e-3))
      fail_msg("%s: place %zu, fisher %d, component %zu: %.9g, the decomposition has %.9g", name, p,
               fisher, i + 1, got, value[i]);
    double sine = sqrt(fmax(0, 1 - c * c)), bound = 1e-3 * value[i] / gap;
    if (!(sine <= bound))
      fail_msg("%s: place %zu, fisher %d, component %zu: the sine is %.3g, at most %.3g", name, p,
               fisher, i + 1, sine, bound);
    assert_true(numbers(top, "residual")[i] <= 1e-3);
    assert_int_equal(integers(top, "component")[i], i + 1);
    assert_int_equal(integers(top, "origin")[i], 70);
    assert_int_equal(integers(top, "origin_row")[i], 0);
  }
  nk_vectors_free(top);
  nk_vectors_free(origin);
}

static void directions_are_those_of_the_whole_jacobian(void **state) {
  (void)state;
  for (size_t m = 0; m < 2; m++) {
    struct world w;
    open_world(MODELS[m], &w);
    for (size_t p = 0; p < N_PLACES; p++)
      for (int fisher = 0; fisher < 2; fisher++) check_place(&w, MODELS[m], p, fisher == 1);
    close_world(&w);
  }
}

/* Two origins in one run are those of two runs. */
static void an_origin_does_not_depend_on_the_others(void **state) {
  (void)state;
  struct world w;
  open_world(MODELS[0], &w);
  const float *x = data_of(&w, "vectors");
  struct nk_vectors *both = set_of(x, 2, w.dim), *second = set_of(x + w.dim, 1, w.dim);
  const struct nk_top_options options = {.probes = w.probes[0], .n_probes = 1, .k = 3};
  both->ids[1] = 71;
  struct nk_vectors *a = run(&options, both), *b = run(&options, second);
  assert_int_equal(a->n, 6);
  for (size_t i = 0; i < 3; i++) {
    double together = numbers(a, "singular_value")[3 + i], alone = numbers(b, "singular_value")[i];
    assert_true(fabs(together / alone - 1) < 1e-4);
    assert_true(cosine(a->values + (3 + i) * w.dim, b->values + i * w.dim, w.dim) > 0.9999);
    assert_int_equal(integers(a, "origin_row")[3 + i], 1);
    assert_int_equal(integers(a, "origin")[3 + i], 71);
  }
  nk_vectors_free(a);
  nk_vectors_free(b);
  nk_vectors_free(both);
  nk_vectors_free(second);
  close_world(&w);
}

/* The divergence from the origin's answer a small step along a direction is half the square of the
 * step times its singular value by the Fisher matrix. */
static void a_fisher_value_is_the_curvature_of_the_divergence(void **state) {
  (void)state;
  struct world w;
  open_world(MODELS[1], &w);
  const float *x = data_of(&w, "vectors");
  struct nk_vectors *origin = set_of(x, 1, w.dim);
  const struct nk_top_options options = {
      .probes = w.probes[0], .n_probes = 1, .k = 3, .fisher = true};
  struct nk_vectors *top = run(&options, origin);
  int64_t ids[8];
  int64_t *encoded;
  size_t n;
  assert_int_equal(nk_prompt_encode(nk_model_tokenizer(w.model), PROMPTS[0], strlen(PROMPTS[0]),
                                    true, &encoded, &n),
                   NK_OK);
  assert_true(n <= 8);
  memcpy(ids, encoded, n * sizeof *ids);
  nk_free(encoded);
  size_t slot = 0;
  while (ids[slot] != NK_VECTOR) slot++;
  const struct nk_sequence context = {ids, n};
  const struct nk_place place = {.position = slot, .read = n - 1, .origin = x};
  const struct nk_perturb_options how = {
      .contexts = &context, .n_contexts = 1, .places = &place, .n_places = 1};
  struct nk_perturb *perturb = nk_perturb_new(w.model, &how);
  if (perturb == NULL) fail_msg("%s", nk_error());
  for (size_t i = 0; i < 3; i++) {
    float moved[2][MAX_DIM];
    double kl[2], step = 2e-2, s = numbers(top, "singular_value")[i];
    const size_t where[2] = {0, 0};
    for (int side = 0; side < 2; side++)
      for (size_t d = 0; d < w.dim; d++)
        moved[side][d] =
            x[d] + (float)((side == 0 ? step : -step) * (double)top->values[i * w.dim + d]);
    struct nk_effects effects = {.kl = kl};
    assert_int_equal(nk_perturb_run(perturb, where, moved[0], 2, &effects), NK_OK);
    double mean = (kl[0] + kl[1]) / 2; /* the third order has another sign on the other side */
    if (!(fabs(mean / (0.5 * s * s * step * step) - 1) < 0.02))
      fail_msg("component %zu: %.6g, by its value %.6g", i + 1, mean, 0.5 * s * s * step * step);
  }
  nk_perturb_free(perturb);
  nk_vectors_free(top);
  nk_vectors_free(origin);
  close_world(&w);
}

/* ---- In closed form ---- */

/* Behind the last block there are an RMS norm and the unembedding: W diag(g) (I / r - x x^T / (d
 * r^3)), whose largest singular value a power iteration finds here. */
static void the_read_out_has_its_closed_form(void **state) {
  (void)state;
  enum { V = 8192, STEPS = 400 };
  struct world w;
  open_world(MODELS[1], &w);
  size_t d = w.dim;
  float x[MAX_DIM];
  static float unembedding[V * MAX_DIM];
  static double a[MAX_DIM][MAX_DIM];
  float scratch[MAX_DIM];
  double v[MAX_DIM], mean[MAX_DIM] = {0}, square = 0, value = 0;
  for (size_t j = 0; j < d; j++) {
    x[j] = sinf(1.7f * (float)j) + 0.2f;
    square += (double)x[j] * (double)x[j];
  }
  assert_int_equal(
      nk_model_rows(nk_model_matrix(w.model, NK_MATRIX_OUTPUT, NULL), 0, V, unembedding), NK_OK);
  const struct nk_tensor *norm = nk_model_find(w.model, "model.norm.weight");
  assert_non_null(norm);
  const float *gain = nki_tensor_floats(norm, 0, d, scratch);
  for (size_t t = 0; t < V; t++)
    for (size_t j = 0; j < d; j++) mean[j] += (double)unembedding[t * d + j] / V;
  double r = sqrt(square / (double)d + 1e-5), rr = r * r * (double)d;
  /* a = J^T J, J = (W - mean) diag(g) (I / r - x x^T / (d r^3)) */
  for (size_t t = 0; t < V; t++) {
    double row[MAX_DIM], along = 0;
    for (size_t j = 0; j < d; j++) {
      row[j] = ((double)unembedding[t * d + j] - mean[j]) * (double)gain[j];
      along += row[j] * (double)x[j];
    }
    for (size_t j = 0; j < d; j++) row[j] = (row[j] - along * (double)x[j] / rr) / r;
    for (size_t i = 0; i < d; i++)
      for (size_t j = 0; j < d; j++) a[i][j] += row[i] * row[j];
  }
  for (size_t j = 0; j < d; j++) v[j] = cos((double)j);
  for (int step = 0; step < STEPS; step++) {
    double out[MAX_DIM] = {0}, length = 0;
    for (size_t i = 0; i < d; i++)
      for (size_t j = 0; j < d; j++) out[i] += a[i][j] * v[j];
    for (size_t i = 0; i < d; i++) length += out[i] * out[i];
    value = sqrt(sqrt(length));
    for (size_t i = 0; i < d; i++) v[i] = out[i] / sqrt(length);
  }
  const struct nk_probe_options last = {.at_position = true, .position = -1, .layer = 4};
  struct nk_probe *probe = nk_probe_new(w.model, "The end of", &last);
  if (probe == NULL) fail_msg("%s", nk_error());
  struct nk_vectors *origin = set_of(x, 1, d);
  const struct nk_top_options options = {.probes = &probe, .n_probes = 1, .k = 1};
  struct nk_vectors *top = run(&options, origin);
  double c = 0;
  for (size_t j = 0; j < d; j++) c += v[j] * (double)top->values[j];
  if (!(fabs(numbers(top, "singular_value")[0] / value - 1) < 1e-4) || !(fabs(c) > 0.9999))
    fail_msg("%.9g, in closed form %.9g; cosine %.6g", numbers(top, "singular_value")[0], value, c);
  nk_vectors_free(top);
  nk_vectors_free(origin);
  nk_probe_free(probe);
  close_world(&w);
}

/* ---- Refusals ---- */

static void assert_refused(const struct nk_top_options *options, const struct nk_vectors *set,
                           int code, const char *message) {
  assert_null(nk_top_directions(options, set));
  assert_int_equal(nk_error_code(), code);
  if (strstr(nk_error(), message) == NULL) fail_msg("'%s' is not in: %s", message, nk_error());
}

static void what_has_no_directions_is_refused(void **state) {
  (void)state;
  struct world w;
  open_world(MODELS[0], &w);
  float x[MAX_DIM] = {1};
  struct nk_vectors *set = set_of(x, 1, w.dim), *narrow = set_of(x, 1, 3);
  const struct nk_top_options good = {.probes = w.probes[0], .n_probes = 1};
  struct nk_top_options o = good;
  o.n_probes = 0;
  assert_refused(&o, set, NK_EUSAGE, "no probes");
  o = good;
  o.k = w.dim + 1;
  assert_refused(&o, set, NK_EUSAGE, "129 directions: vectors have 128 values");
  assert_refused(&good, narrow, NK_EDATA, "origins have 3 values");
  x[5] = INFINITY;
  assert_refused(&good, set, NK_EDATA, "origin 0: component 5 is not finite");
  assert_null(nk_top_directions(&good, NULL));
  nk_vectors_free(set);
  nk_vectors_free(narrow);
  close_world(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(directions_are_those_of_the_whole_jacobian),
      cmocka_unit_test(an_origin_does_not_depend_on_the_others),
      cmocka_unit_test(a_fisher_value_is_the_curvature_of_the_divergence),
      cmocka_unit_test(the_read_out_has_its_closed_form),
      cmocka_unit_test(what_has_no_directions_is_refused),
  };
  return cmocka_run_group_tests_name("directions", tests, NULL, NULL);
}
