/* Boundaries in the shipped models, against logits that this file asks of the forward pass itself:
 * a dense scan of radii, the softmax's Fisher matrix, and windows of generated tokens. Run from the
 * root of the repository. */
#include "unit.h"

#include <math.h>
#include "boundary/run.h"

static const char *const models[] = {"data/gpt2-tiny", "data/llama-tiny"};
enum { N_MODELS = 2, N_TOKENS = 6, PLACE = 3, N_RAYS = 4, SCAN = 231 };

/* A context, its place and rays from the context's own state there. */
struct world {
  struct nk_model *model;
  struct nk_forward *forward;
  size_t n_layers, dim, n_vocabulary;
  int64_t ids[N_TOKENS];
  struct nk_sequence context;
  size_t layer, read;
  struct nk_vectors *set;
  struct boundary_rays rays;
};

/* ---- The forward pass ---- */

/* logits [n, n_vocabulary] at the position, of vectors [n, dim] in the place. */
static void ask_logits(const struct world *w, const struct nk_sequence *context,
                       const float *vectors, size_t n, size_t position, float *logits) {
  struct nk_sequence *sequences = calloc(n, sizeof *sequences);
  struct nk_override *overrides = calloc(n, sizeof *overrides);
  struct nk_ask *asks = calloc(n, sizeof *asks);
  for (size_t i = 0; i < n; i++) {
    sequences[i] = *context;
    overrides[i] = (struct nk_override){i, PLACE, w->layer, NK_REPLACE, vectors + i * w->dim};
    asks[i] = (struct nk_ask){
        .sequence = i, .position = position, .logits = logits + i * w->n_vocabulary};
  }
  const struct nk_batch batch = {.sequences = sequences,
                                 .n_sequences = n,
                                 .overrides = overrides,
                                 .n_overrides = n,
                                 .asks = asks,
                                 .n_asks = n};
  assert_int_equal(nk_forward_run(w->forward, &batch), NK_OK);
  free(sequences);
  free(overrides);
  free(asks);
}

static double log_sum_exp(const float *logits, size_t n) {
  double most = (double)-INFINITY, sum = 0;
  for (size_t i = 0; i < n; i++) most = fmax(most, (double)logits[i]);
  for (size_t i = 0; i < n; i++) sum += exp((double)logits[i] - most);
  return most + log(sum);
}

/* sum p log(p / q), as it is written. */
static double divergence(const float *p, const float *q, size_t n) {
  double log_p = log_sum_exp(p, n), log_q = log_sum_exp(q, n), sum = 0;
  for (size_t i = 0; i < n; i++)
    sum += exp((double)p[i] - log_p) * (((double)p[i] - log_p) - ((double)q[i] - log_q));
  return sum;
}

/* ---- Rays ---- */

static double uniform(uint64_t *state) {
  *state = *state * 6364136223846793005U + 1442695040888963407U;
  return ((double)(*state >> 11) + 0.5) * 0x1p-53;
}

static double normal(uint64_t *state) {
  double radius = sqrt(-2 * log(uniform(state)));
  return radius * cos(6.283185307179586 * uniform(state));
}

/* Rays as long as their origin: 0 isotropic, 2 isotropic or in the direction of `second`; each odd
 * one is the opposite of the one before. */
static void make_rays(struct world *w, const float *second) {
  uint64_t state = 7;
  float *values = nk_alloc(2 * N_RAYS, w->dim * sizeof *values), *origin = values;
  int64_t ray[2 * N_RAYS];
  double radius[2 * N_RAYS], length = 0;
  struct nk_ask ask = {.position = PLACE, .layers = &w->layer, .n_layers = 1, .residuals = origin};
  const struct nk_batch batch = {
      .sequences = &w->context, .n_sequences = 1, .asks = &ask, .n_asks = 1};
  assert_int_equal(nk_forward_run(w->forward, &batch), NK_OK);
  for (size_t k = 0; k < w->dim; k++) length += (double)origin[k] * (double)origin[k];
  length = sqrt(length);
  for (size_t i = 0; i < N_RAYS; i++) {
    float *from = values + 2 * i * w->dim, *to = from + w->dim;
    double norm = 0, square = 0;
    memmove(from, origin, w->dim * sizeof *from);
    for (size_t k = 0; k < w->dim; k++) {
      float direction = i == 2 && second != NULL ? second[k] : (float)normal(&state);
      to[k] = i % 2 == 0 ? direction : from[k] - ((from - w->dim)[k] - from[k]);
      norm += i % 2 == 0 ? (double)to[k] * (double)to[k] : 0;
    }
    for (size_t k = 0; k < w->dim && i % 2 == 0; k++)
      to[k] = (float)((double)from[k] + length / sqrt(norm) * (double)to[k]);
    for (size_t k = 0; k < w->dim; k++)
      square += ((double)to[k] - (double)from[k]) * ((double)to[k] - (double)from[k]);
    ray[2 * i] = ray[2 * i + 1] = (int64_t)i;
    radius[2 * i] = 0;
    radius[2 * i + 1] = sqrt(square);
  }
  w->set = nk_vectors_new(2 * N_RAYS, w->dim, values, false);
  assert_int_equal(nk_vectors_set_integers(w->set, "ray", ray), NK_OK);
  assert_int_equal(nk_vectors_set_numbers(w->set, "radius", radius), NK_OK);
  assert_int_equal(boundary_rays_of(w->set, &w->rays), NK_OK);
}

static void open_world(struct world *w, const char *path) {
  *w = (struct world){.model = nk_model_open(path), .ids = {400, 31, 7000, 555, 90, 1234}};
  w->forward = nk_model_forward(w->model);
  assert_non_null(w->forward);
  const struct nk_forward_shape *shape = nk_forward_shape(w->forward);
  w->n_layers = shape->n_layers;
  w->dim = shape->dim;
  w->n_vocabulary = shape->n_vocabulary;
  w->context = (struct nk_sequence){w->ids, N_TOKENS};
}

static void choose_layer(struct world *w, size_t layer, size_t read) {
  if (w->set != NULL) boundary_rays_free(&w->rays);
  nk_vectors_free(w->set);
  w->set = NULL;
  w->layer = layer;
  w->read = read;
  make_rays(w, NULL);
}

static void close_world(struct world *w) {
  boundary_rays_free(&w->rays);
  nk_vectors_free(w->set);
  nk_model_free(w->model);
}

static void find_onsets(const struct world *w, double level, size_t n_window,
                        struct boundary_onset *out) {
  struct nk_sequence context = w->context;
  const struct cli_contexts contexts = {.item = &context, .n = 1};
  struct nk_place place = {.position = PLACE,
                           .layer = w->layer,
                           .read = w->read,
                           .origin = w->set->values + w->rays.origin[0] * w->dim};
  size_t of_row[2 * N_RAYS] = {0};
  const struct cli_places places = {.item = &place, .n = 1, .of_row = of_row};
  const struct boundary_run run = {
      .model = w->model,
      .contexts = &contexts,
      .rays = &w->rays,
      .places = &places,
      .search = {.level = level, .tolerance = 0.01, .n_grid = 64, .predict = n_window == 0},
      .n_window = n_window,
      .n = w->rays.n,
  };
  assert_int_equal(boundary_run(&run, out), NK_OK);
}

static void assert_relative(double value, double expected, double tolerance, const char *what,
                            const struct world *w) {
  if (!(fabs(value / expected - 1) <= tolerance))
    fail_msg("%s, layer %zu: %s %.9g, expected %.9g to %g", nk_model_name(w->model), w->layer, what,
             value, expected, tolerance);
}

/* ---- A dense scan ---- */

/* The KL divergence at SCAN radii, each 2% larger than the one before, up to the ray's length. */
static void scan_ray(const struct world *w, size_t ray, double *radius, double *kl) {
  float *vectors = calloc((SCAN + 1) * w->dim, sizeof *vectors);
  float *logits = calloc((SCAN + 1) * w->n_vocabulary, sizeof *logits);
  boundary_point(&w->rays, ray, 0, vectors);
  for (size_t k = 0; k < SCAN; k++) {
    radius[k] = w->rays.length[ray] * pow(1.02, (double)k - (SCAN - 1));
    boundary_point(&w->rays, ray, radius[k], vectors + (k + 1) * w->dim);
  }
  ask_logits(w, &w->context, vectors, SCAN + 1, w->read, logits);
  for (size_t k = 0; k < SCAN; k++)
    kl[k] = divergence(logits, logits + (k + 1) * w->n_vocabulary, w->n_vocabulary);
  free(vectors);
  free(logits);
}

static void check_scan(const struct world *w, size_t ray, double level,
                       const struct boundary_onset *onset) {
  double radius[SCAN], kl[SCAN], expected = (double)NAN, steepest = 0;
  scan_ray(w, ray, radius, kl);
  for (size_t k = SCAN - 1; k > 0; k--)
    if (kl[k] >= level)
      expected =
          radius[k - 1] + (radius[k] - radius[k - 1]) * (level - kl[k - 1]) / (kl[k] - kl[k - 1]);
  for (size_t k = 1; k < SCAN; k++)
    steepest = fmax(steepest, (kl[k] - kl[k - 1]) / (radius[k] - radius[k - 1]));
  assert_true(isnan(expected) == isnan(onset->onset));
  if (!isnan(expected)) assert_relative(onset->onset, expected, 0.01, "onset", w);
  if (!isnan(expected)) assert_relative(onset->achieved, level, 0.01, "level", w);
  assert_relative(onset->far, kl[SCAN - 1], 1e-3, "far", w);
  assert_true(onset->slope_max <= steepest * 1.001); /* a mean of slopes */
  assert_relative(onset->slope_max, steepest, 0.2, "slope", w);
}

static void onsets_agree_with_a_dense_scan(void **state) {
  (void)state;
  for (int m = 0; m < N_MODELS; m++) {
    struct world w;
    open_world(&w, models[m]);
    for (size_t layer = 0; layer <= w.n_layers; layer += 2) {
      struct boundary_onset out[N_RAYS];
      choose_layer(&w, layer, layer == w.n_layers ? PLACE : N_TOKENS - 1);
      double level = 0.02;
      find_onsets(&w, level, 0, out);
      for (size_t i = 0; i < N_RAYS; i++) check_scan(&w, i, level, &out[i]);
    }
    close_world(&w);
  }
}

/* ---- Near 0 ---- */

/* v'Fv, F the Fisher matrix of the softmax: the variance under p of the logits' derivative along
 * the ray, by central differences. */
static double fisher(const struct world *w, size_t ray) {
  size_t n = w->n_vocabulary;
  double step = 0.02 * w->rays.length[ray], mean = 0, square = 0;
  float *vectors = calloc(3 * w->dim, sizeof *vectors);
  float *logits = calloc(3 * n, sizeof *logits);
  boundary_point(&w->rays, ray, 0, vectors);
  boundary_point(&w->rays, ray, step, vectors + w->dim);
  boundary_point(&w->rays, ray, -step, vectors + 2 * w->dim);
  ask_logits(w, &w->context, vectors, 3, w->read, logits);
  double log_p = log_sum_exp(logits, n);
  for (size_t i = 0; i < n; i++) {
    double slope = ((double)logits[n + i] - (double)logits[2 * n + i]) / (2 * step);
    double p = exp((double)logits[i] - log_p);
    mean += p * slope;
    square += p * slope * slope;
  }
  free(vectors);
  free(logits);
  return square - mean * mean;
}

/* A ray's curve has a third order, which the ray in the opposite direction has with the opposite
 * sign: the mean of both onsets is compared with what the second order predicts. */
static void onset_at_the_last_stream_is_that_of_the_fisher_matrix(void **state) {
  (void)state;
  for (int m = 0; m < N_MODELS; m++) {
    struct world w;
    struct boundary_onset out[N_RAYS];
    double level = 1e-3;
    open_world(&w, models[m]);
    choose_layer(&w, w.n_layers, PLACE);
    find_onsets(&w, level, 0, out);
    for (size_t i = 0; i < N_RAYS; i += 2) {
      double predicted = sqrt(2 * level / fisher(&w, i));
      assert_relative((out[i].onset + out[i + 1].onset) / 2, predicted, 0.01, "mean onset", &w);
      assert_relative(out[i].onset, predicted, 0.05, "onset", &w);
    }
    close_world(&w);
  }
}

/* `fisher` of nk-boundary, in which the matrix is that of the blocks too. */
static void predicted_radius_is_that_of_the_fisher_matrix_at_every_layer(void **state) {
  (void)state;
  for (int m = 0; m < N_MODELS; m++) {
    struct world w;
    open_world(&w, models[m]);
    for (size_t layer = 0; layer <= w.n_layers; layer++) {
      struct boundary_onset out[N_RAYS];
      choose_layer(&w, layer, PLACE);
      find_onsets(&w, 1e-3, 0, out);
      for (size_t i = 0; i < N_RAYS; i++)
        assert_relative(out[i].predicted, sqrt(2e-3 / fisher(&w, i)), 0.01, "predicted", &w);
    }
    close_world(&w);
  }
}

/* The first principal component of the streams at the place, of 256 tokens there. */
static struct nk_pca *find_component(const struct world *w) {
  enum { N = 256 };
  float *streams = calloc(N * w->dim, sizeof *streams);
  int64_t(*ids)[PLACE + 1] = calloc(N, sizeof *ids);
  struct nk_sequence *sequences = calloc(N, sizeof *sequences);
  struct nk_ask *asks = calloc(N, sizeof *asks);
  for (size_t i = 0; i < N; i++) {
    memcpy(ids[i], w->ids, sizeof ids[i]);
    ids[i][PLACE] = 300 + 20 * (int64_t)i;
    sequences[i] = (struct nk_sequence){ids[i], PLACE + 1};
    asks[i] = (struct nk_ask){.sequence = i,
                              .position = PLACE,
                              .layers = &w->layer,
                              .n_layers = 1,
                              .residuals = streams + i * w->dim};
  }
  const struct nk_batch batch = {
      .sequences = sequences, .n_sequences = N, .asks = asks, .n_asks = N};
  assert_int_equal(nk_forward_run(w->forward, &batch), NK_OK);
  struct nk_pca *pca = nk_pca_new(nk_moments_compute(streams, NULL, N, w->dim), 1, true);
  assert_non_null(pca);
  free(streams);
  free(ids);
  free(sequences);
  free(asks);
  return pca;
}

/* The slope of log kl over log radius, by least squares, from 1/8 of a radius to the radius. */
static double log_slope(const struct world *w, size_t ray, double radius) {
  enum { N = 4 };
  struct nk_place place = {.position = PLACE, .layer = w->layer, .read = w->read};
  const struct nk_perturb_options options = {
      .contexts = &w->context, .n_contexts = 1, .places = &place, .n_places = 1};
  float *vectors = calloc((N + 1) * w->dim, sizeof *vectors);
  double kl[N], x = 0, y = 0, xx = 0, xy = 0;
  const size_t at[N] = {0};
  boundary_point(&w->rays, ray, 0, vectors + N * w->dim);
  place.origin = vectors + N * w->dim;
  for (size_t i = 0; i < N; i++)
    boundary_point(&w->rays, ray, radius / (double)(1 << i), vectors + i * w->dim);
  struct nk_perturb *perturb = nk_perturb_new(w->model, &options);
  struct nk_effects effects = {.kl = kl};
  assert_int_equal(nk_perturb_run(perturb, at, vectors, N, &effects), NK_OK);
  for (int i = 0; i < N; i++) {
    double log_radius = -i * log(2), log_kl = log(kl[i]);
    x += log_radius;
    y += log_kl;
    xx += log_radius * log_radius;
    xy += log_radius * log_kl;
  }
  nk_perturb_free(perturb);
  free(vectors);
  return (N * xy - x * y) / (N * xx - x * x);
}

static void divergence_near_0_is_quadratic_in_the_radius_at_every_layer(void **state) {
  (void)state;
  for (int m = 0; m < N_MODELS; m++) {
    struct world w;
    open_world(&w, models[m]);
    for (size_t layer = 0; layer <= w.n_layers; layer++) {
      struct boundary_onset out[N_RAYS];
      choose_layer(&w, layer, PLACE);
      struct nk_pca *pca = find_component(&w);
      boundary_rays_free(&w.rays);
      nk_vectors_free(w.set);
      make_rays(&w, pca->components);
      find_onsets(&w, 1e-5, 0, out);
      for (size_t i = 0; i < N_RAYS; i++) {
        double slope = log_slope(&w, i, out[i].onset);
        if (!(fabs(slope - 2) <= 0.1))
          fail_msg("%s, layer %zu, ray %zu: slope %.3f", models[m], layer, i, slope);
      }
      nk_pca_free(pca);
    }
    close_world(&w);
  }
}

/* ---- Windows ---- */

/* The 0.95 quantile, as numpy has it, of the divergences after the context and after each of the
 * generated tokens but the last. */
static double window_quantile(const struct world *w, size_t ray, double radius) {
  enum { WINDOW = 5 };
  int64_t ids[N_TOKENS + WINDOW], generated[WINDOW];
  size_t length, n = w->n_vocabulary;
  float *vectors = calloc(2 * w->dim, sizeof *vectors), *logits = calloc(2 * n, sizeof *logits);
  double kl[WINDOW];
  boundary_point(&w->rays, ray, 0, vectors);
  boundary_point(&w->rays, ray, radius, vectors + w->dim);
  struct nk_generation generation = {.n_tokens = WINDOW, .ids = generated, .lengths = &length};
  const struct nk_override override = {0, PLACE, w->layer, NK_REPLACE, vectors};
  const struct nk_batch batch = {.sequences = &w->context,
                                 .n_sequences = 1,
                                 .overrides = &override,
                                 .n_overrides = 1,
                                 .generation = &generation};
  assert_int_equal(nk_forward_run(w->forward, &batch), NK_OK);
  memcpy(ids, w->ids, sizeof w->ids);
  memcpy(ids + N_TOKENS, generated, sizeof generated);
  for (size_t i = 0; i < WINDOW; i++) {
    const struct nk_sequence context = {ids, N_TOKENS + i};
    ask_logits(w, &context, vectors, 2, N_TOKENS + i - 1, logits);
    kl[i] = divergence(logits, logits + n, n);
    for (size_t k = i; k > 0 && kl[k] < kl[k - 1]; k--) { /* sorted */
      double larger = kl[k - 1];
      kl[k - 1] = kl[k];
      kl[k] = larger;
    }
  }
  free(vectors);
  free(logits);
  return kl[3] + 0.8 * (kl[4] - kl[3]); /* 0.95 * 4 = 3.8 */
}

static void window_reaches_the_level_at_the_onset(void **state) {
  (void)state;
  for (int m = 0; m < N_MODELS; m++) {
    struct world w;
    open_world(&w, models[m]);
    for (size_t layer = 0; layer < w.n_layers; layer += 2) {
      struct boundary_onset out[N_RAYS];
      choose_layer(&w, layer, N_TOKENS - 1);
      find_onsets(&w, 0.02, 5, out);
      for (size_t i = 0; i < N_RAYS; i++) {
        if (isnan(out[i].onset)) {
          assert_relative(out[i].far, window_quantile(&w, i, w.rays.length[i]), 1e-3, "far", &w);
          continue;
        }
        double quantile = window_quantile(&w, i, out[i].onset);
        assert_relative(quantile, 0.02, 0.02, "quantile at the onset", &w);
        assert_true(window_quantile(&w, i, 0.98 * out[i].onset) < 0.02);
      }
    }
    close_world(&w);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(onsets_agree_with_a_dense_scan),
      cmocka_unit_test(onset_at_the_last_stream_is_that_of_the_fisher_matrix),
      cmocka_unit_test(predicted_radius_is_that_of_the_fisher_matrix_at_every_layer),
      cmocka_unit_test(divergence_near_0_is_quadratic_in_the_radius_at_every_layer),
      cmocka_unit_test(window_reaches_the_level_at_the_onset),
  };
  return cmocka_run_group_tests_name("boundary_model", tests, NULL, NULL);
}
