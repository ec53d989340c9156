/* Principal components against scikit-learn's, and what they are by definition. */
#include "unit.h"

#include <math.h>

#include "geometry/tensors.h"
#include "geometry_fixture.h"
#include "massive_fixture.h"

enum { N_CASES = sizeof geometry_cases / sizeof geometry_cases[0] };

static void assert_close(double got, double want, double relative, double scale) {
  double allowed = relative * (fabs(want) > scale ? fabs(want) : scale);
  if (!(fabs(got - want) <= allowed)) fail_msg("got %.12g, not %.12g", got, want);
}

static struct nk_pca *pca_of(const struct geometry_case *c, size_t n_components) {
  struct nk_moments *moments = nk_moments_compute(c->x, NULL, c->n, c->dim);
  struct nk_pca *pca = nk_pca_new(moments, n_components, true);
  if (pca == NULL) fail_msg("%s: %s", c->name, nk_error());
  return pca;
}

static void eigenvalues_equal_scikit_learns(void **state) {
  (void)state;
  for (size_t i = 0; i < N_CASES; i++) {
    const struct geometry_case *c = &geometry_cases[i];
    struct nk_pca *pca = pca_of(c, 1);
    double relative = strcmp(c->name, "far") == 0 ? 1e-4 : 1e-5;
    for (size_t k = 0; k < c->dim; k++)
      assert_close(pca->eigenvalues[k], c->eigenvalues[k], relative, 0.02 * c->eigenvalues[0]);
    nk_pca_free(pca);
  }
}

/* Scores on all components are uncorrelated, with the eigenvalues as variances, and rows can be put
 * together from them again. */
static void scores_have_the_spectrum_and_give_the_rows_back(void **state) {
  (void)state;
  for (size_t i = 0; i < N_CASES; i++) {
    const struct geometry_case *c = &geometry_cases[i];
    size_t d = c->dim;
    struct nk_pca *pca = pca_of(c, d);
    float *scores = nk_alloc(c->n, d * sizeof *scores);
    assert_int_equal(nk_pca_project(pca, c->x, c->n, d, false, scores), 0);
    for (size_t a = 0; a < d; a++)
      for (size_t b = 0; b < d; b++) {
        double sum = 0;
        for (size_t r = 0; r < c->n; r++)
          sum += (double)scores[r * d + a] * (double)scores[r * d + b];
        assert_close(sum / (double)(c->n - 1), a == b ? c->eigenvalues[a] : 0, 1e-4,
                     c->eigenvalues[0]);
      }
    for (size_t j = 0; j < d; j++) {
      double value = c->mean[j];
      for (size_t k = 0; k < d; k++)
        value += (double)scores[3 * d + k] * (double)pca->components[k * d + j];
      assert_close(value, (double)c->x[3 * d + j], 1e-6, sqrt(c->eigenvalues[0]) * 10);
    }
    nk_free(scores);
    nk_pca_free(pca);
  }
}

static void signs_follow_the_rule(void **state) {
  (void)state;
  struct nk_pca *few = pca_of(&geometry_cases[0], 3), *all = pca_of(&geometry_cases[0], 12);
  for (size_t k = 0; k < 12; k++) {
    float largest = 0;
    for (size_t j = 0; j < 12; j++)
      if (fabsf(all->components[k * 12 + j]) > fabsf(largest))
        largest = all->components[k * 12 + j];
    assert_true(largest > 0);
  }
  for (size_t i = 0; i < 36; i++)
    assert_close((double)few->components[i], (double)all->components[i], 1e-5, 1);
  nk_pca_free(few);
  nk_pca_free(all);
}

/* What is left after all but the top is orthogonal to the top, and nothing is left after all. */
static void removing_leaves_what_is_orthogonal(void **state) {
  (void)state;
  const struct geometry_case *c = &geometry_cases[0];
  struct nk_pca *pca = pca_of(c, 12);
  float *left = nk_alloc(c->n, 12 * sizeof *left), *scores = nk_alloc(c->n, 12 * sizeof *left);
  assert_int_equal(nk_pca_remove(pca, c->x, c->n, 4, left), 0);
  assert_int_equal(nk_pca_project(pca, c->x, c->n, 12, false, scores), 0);
  for (size_t r = 0; r < c->n; r++) {
    double square = 0, tail = 0;
    for (size_t j = 0; j < 12; j++) square += (double)left[r * 12 + j] * (double)left[r * 12 + j];
    for (size_t k = 4; k < 12; k++) tail += (double)scores[r * 12 + k] * (double)scores[r * 12 + k];
    assert_close(square, tail, 1e-4, 1e-3);
    for (size_t k = 0; k < 4; k++) {
      double product = 0;
      for (size_t j = 0; j < 12; j++)
        product += (double)left[r * 12 + j] * (double)pca->components[k * 12 + j];
      assert_close(product, 0, 1e-5, 1);
    }
  }
  assert_int_equal(nk_pca_remove(pca, c->x, c->n, 12, left), 0);
  for (size_t i = 0; i < c->n * 12; i++) assert_close((double)left[i], 0, 1e-5, 1);
  nk_free(left);
  nk_free(scores);
  nk_pca_free(pca);
}

static void whitened_scores_have_variance_one(void **state) {
  (void)state;
  const struct geometry_case *c = &geometry_cases[0];
  struct nk_pca *pca = pca_of(c, 12);
  float *scores = nk_alloc(c->n, 12 * sizeof *scores);
  assert_int_equal(nk_pca_project(pca, c->x, c->n, 12, true, scores), 0);
  for (size_t k = 0; k < 12; k++) {
    double sum = 0;
    for (size_t r = 0; r < c->n; r++) sum += pow((double)scores[r * 12 + k], 2);
    assert_close(sum / (double)(c->n - 1), 1, 1e-4, 0);
  }
  nk_free(scores);
  nk_pca_free(pca);
}

/* Ten rows span nine directions. */
static void a_component_without_variance_is_not_whitened(void **state) {
  (void)state;
  const struct geometry_case *c = &geometry_cases[1];
  struct nk_pca *pca = pca_of(c, 24);
  float out[10 * 24];
  assert_int_equal(nk_pca_project(pca, c->x, c->n, 24, true, out), NK_EUSAGE);
  assert_string_equal(nk_error(), "component 10 has no variance: at most 9 can be whitened");
  assert_int_equal(nk_pca_project(pca, c->x, c->n, 9, true, out), 0);
  assert_int_equal(nk_pca_project(pca, c->x, c->n, 25, false, out), NK_EUSAGE);
  nk_pca_free(pca);
}

/* Spreads with a ratio of up to 10^6, along an axis or not: eigenvalues, whitened scores and what
 * is left without the top two as numpy has them in double. */
static void massive_dimensions_cost_no_digits_of_the_others(void **state) {
  enum { D = MASSIVE_DIM, N = MASSIVE_N };
  char path[256];
  snprintf(path, sizeof path, "%s/massive.safetensors", (char *)*state);
  for (size_t i = 0; i < sizeof massive_cases / sizeof massive_cases[0]; i++) {
    const struct massive_case *c = &massive_cases[i];
    struct nk_pca *pca = nk_pca_new(nk_moments_compute(c->x, NULL, N, D), D, true);
    assert_non_null(pca);
    for (size_t k = 0; k < D; k++) assert_close(pca->eigenvalues[k], c->eigenvalues[k], 1e-3, 0);
    struct nk_output *output = nk_output_open(path, NK_OUTPUT_BINARY);
    assert_int_equal(nk_pca_write(pca, output), NK_OK);
    assert_int_equal(nk_output_commit(output), NK_OK);
    nk_output_free(output);
    nk_pca_free(pca);
    pca = nk_pca_read(path);
    assert_non_null(pca);
    float out[N * D];
    assert_int_equal(nk_pca_project(pca, c->x, N, D, true, out), NK_OK);
    for (size_t j = 0; j < N * D; j++) assert_close((double)out[j], c->whitened[j], 2e-3, 1);
    assert_int_equal(nk_pca_remove(pca, c->x, N, 2, out), NK_OK);
    for (size_t j = 0; j < N * D; j++) assert_close((double)out[j], c->removed[j], 1e-3, 1);
    nk_pca_free(pca);
  }
}

/* k equal eigenvalues: both measures are k; and 4, 1: 25 / 17, and 2^H with H of {0.8, 0.2}. */
static void measures_of_the_spectrum_have_their_closed_forms(void **state) {
  (void)state;
  double equal[5] = {3, 3, 3, 0, 0}, two[2] = {4, 1}, none[2] = {0, 0};
  struct nk_pca pca = {.dim = 5, .eigenvalues = equal};
  nki_pca_summarize(&pca);
  assert_close(pca.participation_ratio, 3, 1e-12, 0);
  assert_close(pca.effective_rank, 3, 1e-12, 0);
  assert_close(pca.total_variance, 9, 1e-12, 0);
  pca = (struct nk_pca){.dim = 2, .eigenvalues = two};
  nki_pca_summarize(&pca);
  assert_close(pca.participation_ratio, 25.0 / 17, 1e-12, 0);
  assert_close(pca.effective_rank, 1.6493848884661177, 1e-12, 0);
  pca.eigenvalues = none;
  nki_pca_summarize(&pca);
  assert_close(pca.participation_ratio, 0, 0, 0);
  assert_close(pca.effective_rank, 0, 0, 0);
}

static void a_single_row_has_no_variance(void **state) {
  (void)state;
  float x[3] = {1, 2, 3}, score[2];
  struct nk_pca *pca = nk_pca_new(nk_moments_compute(x, NULL, 1, 3), 2, true);
  assert_non_null(pca);
  assert_close(pca->total_variance, 0, 0, 0);
  assert_int_equal(nk_pca_project(pca, x, 1, 2, false, score), 0);
  assert_close((double)score[0], 0, 0, 0);
  nk_pca_free(pca);
}

static void a_basis_reads_back_the_same(void **state) {
  char path[256];
  snprintf(path, sizeof path, "%s/basis.safetensors", (char *)*state);
  struct nk_pca *pca = pca_of(&geometry_cases[0], 5);
  struct nk_output *output = nk_output_open(path, NK_OUTPUT_BINARY);
  assert_int_equal(nk_pca_write(pca, output), 0);
  assert_int_equal(nk_output_commit(output), 0);
  nk_output_free(output);
  struct nk_pca *copy = nk_pca_read(path);
  assert_non_null(copy);
  assert_int_equal(copy->n, pca->n);
  assert_int_equal(copy->n_components, 5);
  assert_memory_equal(copy->mean, pca->mean, 12 * sizeof(double));
  assert_memory_equal(copy->eigenvalues, pca->eigenvalues, 12 * sizeof(double));
  assert_memory_equal(copy->components, pca->components, 60 * sizeof(float));
  nk_pca_free(copy);
  nk_pca_free(pca);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(eigenvalues_equal_scikit_learns),
      cmocka_unit_test(scores_have_the_spectrum_and_give_the_rows_back),
      cmocka_unit_test(signs_follow_the_rule),
      cmocka_unit_test(removing_leaves_what_is_orthogonal),
      cmocka_unit_test(whitened_scores_have_variance_one),
      cmocka_unit_test(a_component_without_variance_is_not_whitened),
      cmocka_unit_test(massive_dimensions_cost_no_digits_of_the_others),
      cmocka_unit_test(measures_of_the_spectrum_have_their_closed_forms),
      cmocka_unit_test(a_single_row_has_no_variance),
      cmocka_unit_test(a_basis_reads_back_the_same),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
