/* nk_search on the shipped models: the constraint by another way than the search's, and what it
 * finds against one step of gradient ascent from the same start with the best of many lengths. */
#include "unit.h"

#include <math.h>
#include "geometry/gaussian.h"
#include "geometry/internal.h"

enum { DIM = 128, FOUND = 3, LENGTHS = 40 };

static const double DISTANCE = 12;

struct world {
  struct nk_model *model;
  struct nk_region *region;
  struct nk_probe *probe;
  struct nk_search_options search;
};

static void open_world(const char *path, struct world *w) {
  const struct nk_probe_options probe = {.n_reference = 64};
  *w = (struct world){.model = nk_model_open(path)};
  struct nk_vectors *tokens = nk_model_vectors(w->model, NK_MATRIX_INPUT);
  w->region = nk_region_fit(tokens, NULL, 0, NULL);
  nk_vectors_free(tokens);
  w->probe = nk_probe_new(w->model, "The {} of", &probe);
  if (w->region == NULL || w->probe == NULL) fail_msg("%s", nk_error());
  assert_int_equal(w->region->dim, DIM);
  w->search = (struct nk_search_options){.objective = {.probes = &w->probe, .n_probes = 1},
                                         .constraint = NK_AT_DISTANCE,
                                         .bound = DISTANCE,
                                         .n = FOUND,
                                         .n_restarts = 1,
                                         .n_steps = 10};
}

static void close_world(struct world *w) {
  nk_probe_free(w->probe);
  nk_region_free(w->region);
  nk_model_free(w->model);
}

/* The Mahalanobis distance by the inverse of the covariance. */
static double distance_of(const struct nk_region *region, const double *away) {
  double solved[DIM], square = 0;
  memcpy(solved, away, sizeof solved);
  nki_gaussian_precision(region->gaussian, solved, 1);
  for (size_t j = 0; j < DIM; j++) square += away[j] * solved[j];
  return sqrt(square);
}

static void assert_close(double got, double want) {
  if (!(fabs(got - want) <= 1e-4 * fabs(want))) fail_msg("got %.9g, not %.9g", got, want);
}

static void away_of(const struct nk_region *region, const float *x, double *away) {
  const double *mean = nki_gaussian_mean(region->gaussian);
  for (size_t j = 0; j < DIM; j++) away[j] = (double)x[j] - mean[j];
}

/* The largest objective after one step from x in a direction, scaled back to the distance. */
static double best_step(const struct world *w, const float *x, const double *direction) {
  const double *mean = nki_gaussian_mean(w->region->gaussian);
  double size = 0, values[LENGTHS], best = -INFINITY;
  float moved[LENGTHS * DIM];
  double from[DIM], away[DIM];
  away_of(w->region, x, from);
  for (size_t j = 0; j < DIM; j++) size += direction[j] * direction[j];
  double unit = distance_of(w->region, direction);
  assert_true(size > 0 && unit > 0);
  for (size_t l = 0; l < LENGTHS; l++) {
    double length = DISTANCE * 4 * pow(0.75, (double)l);
    for (size_t j = 0; j < DIM; j++) away[j] = from[j] + length / unit * direction[j];
    double scale = DISTANCE / distance_of(w->region, away);
    for (size_t j = 0; j < DIM; j++) moved[l * DIM + j] = (float)(mean[j] + scale * away[j]);
  }
  assert_int_equal(nk_objective_run(&w->search.objective, moved, LENGTHS, values, NULL), NK_OK);
  for (size_t l = 0; l < LENGTHS; l++) best = fmax(best, values[l]);
  return best;
}

/* The covariance times the gradient: the steepest direction by Mahalanobis distance. */
static void natural(const struct nk_region *region, const float *gradient, double *out) {
  for (size_t i = 0; i < DIM; i++) {
    out[i] = 0;
    for (size_t j = 0; j < DIM; j++)
      out[i] += nki_gaussian_covariance(region->gaussian, i > j ? i : j, i > j ? j : i) *
                (double)gradient[j];
  }
}

static void check_model(const char *path) {
  struct world w;
  open_world(path, &w);
  struct nk_vectors *found = nk_search(w.region, &w.search);
  const struct nk_sample_options rays = {.n = FOUND, .distances = &DISTANCE, .n_distances = 1};
  struct nk_vectors *starts = nk_sample(w.region, &rays);
  if (found == NULL || starts == NULL) fail_msg("%s", nk_error());
  const double *objective = nk_vectors_column(found, "objective")->data.number;
  const double *at_start = nk_vectors_column(found, "objective_start")->data.number;
  double values[FOUND];
  float gradients[FOUND * DIM];
  assert_int_equal(nk_objective_run(&w.search.objective, starts->values, FOUND, values, gradients),
                   NK_OK);
  for (size_t i = 0; i < FOUND; i++) {
    double away[DIM], plain[DIM], steepest[DIM];
    away_of(w.region, found->values + i * DIM, away);
    assert_close(distance_of(w.region, away), DISTANCE);
    assert_close(at_start[i], values[i]);
    for (size_t j = 0; j < DIM; j++) plain[j] = (double)gradients[i * DIM + j];
    natural(w.region, gradients + i * DIM, steepest);
    double one = fmax(best_step(&w, starts->values + i * DIM, plain),
                      best_step(&w, starts->values + i * DIM, steepest));
    assert_true(one > at_start[i]);
    if (!(objective[i] > one)) fail_msg("%s, %zu: %g, one step %g", path, i, objective[i], one);
  }
  assert_int_equal(nk_objective_run(&w.search.objective, found->values, FOUND, values, NULL),
                   NK_OK);
  for (size_t i = 0; i < FOUND; i++) assert_close(objective[i], values[i]);
  nk_vectors_free(found);
  nk_vectors_free(starts);
  close_world(&w);
}

static void found_nokens_beat_one_step_of_gradient_ascent(void **state) {
  (void)state;
  check_model("data/gpt2-tiny");
  check_model("data/llama-tiny");
}

static void a_failed_call_is_passed_on(void **state) {
  (void)state;
  struct world w;
  open_world("data/gpt2-tiny", &w);
  assert_null(nk_search(NULL, &w.search));
  w.search.constraint = NK_WITHIN_RADIUS;
  assert_null(nk_search(w.region, &w.search));
  assert_int_equal(nk_error_code(), NK_EUSAGE);
  w.search.constraint = NK_WITHIN_REGION;
  double p_min = w.region->calibration->p_min;
  const double refused[] = {p_min, nextafter(p_min, 1), p_min * (1 + 1e-13), 1 + 1e-9, NAN};
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
    w.search.bound = refused[i];
    assert_null(nk_search(w.region, &w.search));
    assert_int_equal(nk_error_code(), NK_EUSAGE);
  }
  w.search.objective.n_probes = 0;
  assert_null(nk_search(w.region, &w.search));
  assert_int_equal(nk_error_code(), NK_EUSAGE);
  close_world(&w);
}

/* The least bound above p_min, and one that a p-value meets but for its last digits: its next score
 * counts. */
static void p_values_are_kept_at_the_ends(void **state) {
  (void)state;
  struct world w;
  open_world("data/gpt2-tiny", &w);
  double p_min = w.region->calibration->p_min;
  const double bounds[] = {p_min * 1.5, nextafter(2 * p_min, 1)};
  w.search.constraint = NK_WITHIN_REGION;
  w.search.n_steps = 3;
  for (size_t b = 0; b < 2; b++) {
    w.search.bound = bounds[b];
    struct nk_vectors *found = nk_search(w.region, &w.search);
    if (found == NULL) fail_msg("%s", nk_error());
    double p[FOUND];
    assert_int_equal(nk_region_score(w.region, found->values, FOUND, NULL, p), NK_OK);
    for (size_t i = 0; i < FOUND; i++) assert_true(p[i] >= 2 * p_min * (1 - 1e-9));
    nk_vectors_free(found);
  }
  close_world(&w);
}

/* A noken that presses against a single limit ends beside it: not a whole margin inside. */
static void a_single_limit_is_used_up(void **state) {
  (void)state;
  static const enum nk_region_kind KINDS[] = {NK_REGION_MAHALANOBIS, NK_REGION_SUBSPACE};
  struct world w;
  open_world("data/gpt2-tiny", &w);
  struct nk_vectors *tokens = nk_model_vectors(w.model, NK_MATRIX_INPUT);
  w.search.constraint = NK_WITHIN_REGION;
  w.search.bound = 0.5;
  w.search.n_steps = 20;
  for (size_t k = 0; k < 2; k++) {
    const struct nk_region_options options = {.kind = KINDS[k]};
    struct nk_region *region = nk_region_fit(tokens, NULL, 0, &options);
    struct nk_vectors *found = nk_search(region, &w.search);
    if (found == NULL) fail_msg("%s", nk_error());
    const double *p = nk_vectors_column(found, "p_value")->data.number;
    double least = fmin(p[0], fmin(p[1], p[2]));
    if (!(least >= 0.5 && least < 0.51)) fail_msg("kind %zu: p-value %g", k, least);
    nk_vectors_free(found);
    nk_region_free(region);
  }
  nk_vectors_free(tokens);
  close_world(&w);
}

/* Far below the spacing of floats, about it, and far above; with one component as large as those of
 * streams. */
static void a_radius_is_never_exceeded(void **state) {
  (void)state;
  static const double RADII[] = {1e-12, 3e-8, 1e-6, 1e-4, 1e-2, 10};
  struct world w;
  open_world("data/gpt2-tiny", &w);
  struct nk_vectors *tokens = nk_model_vectors(w.model, NK_MATRIX_INPUT);
  struct nk_vectors *from = nk_vectors_new(FOUND, DIM, NULL, false);
  float *x = nk_vectors_writable(from);
  memcpy(x, tokens->values + 300 * DIM, FOUND * DIM * sizeof *x);
  x[5] = 3000.123F;
  w.search.constraint = NK_WITHIN_RADIUS;
  w.search.from = from;
  w.search.n_restarts = 2;
  w.search.n_steps = 3;
  for (size_t r = 0; r < sizeof RADII / sizeof *RADII; r++) {
    w.search.bound = RADII[r];
    struct nk_vectors *found = nk_search(NULL, &w.search);
    if (found == NULL) fail_msg("radius %g: %s", RADII[r], nk_error());
    for (size_t i = 0; i < FOUND; i++) {
      double square = 0;
      for (size_t j = i * DIM; j < (i + 1) * DIM; j++)
        square += pow((double)found->values[j] - (double)x[j], 2);
      if (!(sqrt(square) <= RADII[r])) fail_msg("%.17g beyond %g", sqrt(square), RADII[r]);
      /* Below, what a step gains is less than the rounding of the objective. */
      if (i > 0 && RADII[r] >= 1e-4) assert_true(sqrt(square) > 0.5 * RADII[r]);
    }
    nk_vectors_free(found);
  }
  const double refused[] = {0, -1, 3.5e38, 1e300, INFINITY, NAN};
  for (size_t r = 0; r < sizeof refused / sizeof *refused; r++) {
    w.search.bound = refused[r];
    assert_null(nk_search(NULL, &w.search));
    assert_int_equal(nk_error_code(), NK_EUSAGE);
  }
  nk_vectors_free(from);
  nk_vectors_free(tokens);
  close_world(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(found_nokens_beat_one_step_of_gradient_ascent),
      cmocka_unit_test(p_values_are_kept_at_the_ends),
      cmocka_unit_test(a_single_limit_is_used_up),
      cmocka_unit_test(a_radius_is_never_exceeded),
      cmocka_unit_test(a_failed_call_is_passed_on),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
