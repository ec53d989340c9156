/* Nokens: every distance is measured again here, by plain loops and Gaussian elimination. */
#include "nokens.h"

enum { EACH = 9 };

/* ---- Tests ---- */

static const struct nk_direction all_directions[] = {
    {.kind = NK_DIRECTION_ISOTROPIC},
    {.kind = NK_DIRECTION_COVARIANCE},
    {.kind = NK_DIRECTION_COMPONENTS, .first = 2, .last = 5},
    {.kind = NK_DIRECTION_TOKEN},
    {.kind = NK_DIRECTION_PAIR},
    {.kind = NK_DIRECTION_DIFFERENCE},
};

static struct nk_sample_options options_of(enum nk_metric metric, enum nk_origin origin,
                                           const double *distances, size_t n_distances) {
  return (struct nk_sample_options){.directions = all_directions,
                                    .n_directions = 6,
                                    .metric = metric,
                                    .distances = distances,
                                    .n_distances = n_distances,
                                    .n = EACH,
                                    .origin = origin,
                                    .origin_id = 1017,
                                    .seed = 5};
}

static void check_nokens(struct nk_region *region, enum nk_metric metric,
                         const struct nk_sample_options *options) {
  struct nk_vectors *set = nk_sample(region, options);
  if (set == NULL) fail_msg("%s: %s", nk_metric_names[metric], nk_error());
  assert_int_equal(set->n, 6 * options->n_distances * EACH);
  for (size_t i = 0; i < set->n; i++) {
    const float *x = set->values + i * DIM;
    double asked = options->distances[i / EACH % options->n_distances];
    assert_near(nk_vectors_column(set, "distance")->data.number[i], asked, 0);
    assert_near(measure(region, metric, x), asked, 1e-5);
    for (int other = NK_METRIC_L2; other < NK_N_METRICS; other++)
      assert_near(nk_vectors_column(set, nk_metric_names[other])->data.number[i],
                  measure(region, (enum nk_metric)other, x), 2e-6);
    assert_int_equal(nk_vectors_column(set, "direction")->data.integer[i],
                     i / EACH / options->n_distances);
  }
  nk_vectors_free(set);
}

/* From the centroid, and from tokens to distances that lie outward of nearly all of them. */
static void sample_reaches_the_asked_length_in_every_direction_and_origin(void **state) {
  (void)state;
  static const double far[NK_N_METRICS][2] = {
      [NK_METRIC_L2] = {9, 30}, [NK_METRIC_MAHALANOBIS] = {7.5, 25}, [NK_METRIC_KNN] = {8, 40}};
  struct nk_region *region = make_region();
  for (int metric = NK_METRIC_L2; metric < NK_N_METRICS; metric++)
    for (int origin = NK_ORIGIN_CENTROID; origin <= NK_ORIGIN_TOKENS; origin++) {
      struct nk_sample_options options =
          options_of((enum nk_metric)metric, (enum nk_origin)origin, far[metric], 2);
      if (metric == NK_METRIC_COSINE) continue; /* the next test */
      check_nokens(region, (enum nk_metric)metric, &options);
    }
  nk_region_free(region);
}

/* Not every ray has every cosine distance, as far out it tends to the direction's own. What one ray
 * does have is between what its origin has and what a point on it has, which sampling by l2, on the
 * same ray, tells. */
static void sample_reaches_the_asked_cosine_distance_in_every_direction_and_origin(void **state) {
  (void)state;
  static const double far[] = {9};
  struct nk_region *region = make_region();
  for (int origin = 0; origin < 3; origin++)
    for (size_t d = 0; d < 6; d++) {
      struct nk_sample_options options = options_of(NK_METRIC_L2, (enum nk_origin)origin, far, 1);
      options.directions = &all_directions[d];
      options.n_directions = 1;
      options.n = 1;
      struct nk_vectors *there = nk_sample(region, &options);
      assert_non_null(there);
      int64_t from = nk_vectors_column(there, "origin")->data.integer[0];
      double begin = 0;
      for (size_t i = 0; i < N && from >= 0; i++)
        if (region->tokens->ids[i] == from)
          begin = cosine(region, region->tokens->values + i * DIM);
      double asked = 0.5 * (begin + cosine(region, there->values));
      nk_vectors_free(there);
      options.metric = NK_METRIC_COSINE;
      options.distances = &asked;
      struct nk_vectors *set = nk_sample(region, &options);
      if (set == NULL) fail_msg("%s", nk_error());
      assert_near(cosine(region, set->values), asked, 1e-5);
      assert_near(nk_vectors_column(set, "achieved")->data.number[0], asked, 1e-5);
      nk_vectors_free(set);
    }
  nk_region_free(region);
}

static void quantiles_are_those_of_the_tokens_held_out(void **state) {
  (void)state;
  struct nk_region *region = make_region();
  for (int metric = NK_METRIC_L2; metric < NK_N_METRICS; metric++) {
    double distances[N], *sorted = NULL;
    size_t n = N - region->n_fit, n_sorted = 0;
    for (size_t i = 0; i < n; i++)
      distances[i] = measure(region, (enum nk_metric)metric,
                             region->tokens->values + (region->n_fit + i) * DIM);
    qsort(distances, n, sizeof *distances, ascending);
    assert_int_equal(nki_held_out(region, (enum nk_metric)metric, &sorted, &n_sorted), NK_OK);
    assert_int_equal(n_sorted, n);
    for (size_t i = 0; i < n; i++) assert_near(sorted[i], distances[i], 2e-5);

    const double value = distances[n - 1] * 1.1, levels[] = {0.5, 1}, times[] = {1, 2};
    struct nk_sample_options options = {.metric = (enum nk_metric)metric,
                                        .distances = &value,
                                        .quantiles = levels,
                                        .times = times,
                                        .n_distances = 1,
                                        .n_quantiles = 2,
                                        .n_times = 2};
    if (metric != NK_METRIC_COSINE) { /* few rays have its distances */
      struct nk_vectors *set = nk_sample(region, &options);
      if (set == NULL) fail_msg("%s", nk_error());
      const double *out = nk_vectors_column(set, "distance")->data.number;
      assert_int_equal(set->n, 5);
      assert_true(out[0] == value);
      assert_near(out[1], 0.5 * (sorted[(n - 1) / 2] + sorted[n / 2]), 1e-12);
      assert_true(out[2] == sorted[n - 1] && out[3] == sorted[n - 1]);
      assert_true(out[4] == 2 * sorted[n - 1]);
      nk_vectors_free(set);
    }
    nk_free(sorted);
  }
  const double bad = 1.5;
  struct nk_sample_options options = {.quantiles = &bad, .n_quantiles = 1};
  assert_null(nk_sample(region, &options));
  assert_int_equal(nk_error_code(), NK_EUSAGE);
  nk_region_free(region);
}

static void zeroed_options_sample_one_noken_at_the_0_99_quantile(void **state) {
  (void)state;
  struct nk_region *region = make_region();
  const struct nk_sample_options zeroed = {0};
  size_t n = N - region->n_fit;
  double distances[N];
  for (size_t i = 0; i < n; i++)
    distances[i] = mahalanobis(region, region->tokens->values + (region->n_fit + i) * DIM);
  qsort(distances, n, sizeof *distances, ascending);
  double place = 0.99 * (double)(n - 1), below = floor(place); /* numpy.quantile */
  double want = distances[(size_t)below] +
                (place - below) * (distances[(size_t)below + 1] - distances[(size_t)below]);
  struct nk_vectors *set = nk_sample(region, &zeroed), *without = nk_sample(region, NULL);
  if (set == NULL) fail_msg("%s", nk_error());
  assert_int_equal(set->n, 1);
  assert_near(mahalanobis(region, set->values), want, 2e-5);
  assert_int_equal(nk_vectors_column(set, "origin")->data.integer[0], -1);
  assert_string_equal(nk_vectors_metadata(set, "noken.codes.direction"), "isotropic");
  assert_string_equal(nk_vectors_metadata(set, "noken.p_min"), "0.00332225914"); /* 1 / 301 */
  assert_memory_equal(set->values, without->values, DIM * sizeof(float));
  nk_vectors_free(set);
  nk_vectors_free(without);
  nk_region_free(region);
}

static struct nk_vectors *sample_with(struct nk_region *region, size_t n, size_t threads,
                                      uint64_t seed) {
  static const double distances[] = {3, 20};
  struct nk_sample_options options = options_of(NK_METRIC_KNN, NK_ORIGIN_TOKENS, distances + 1, 1);
  options.n = n;
  options.seed = seed;
  nk_set_threads(threads);
  struct nk_vectors *set = nk_sample(region, &options);
  nk_set_threads(0);
  assert_non_null(set);
  return set;
}

static void the_same_seed_gives_the_same_bytes_whatever_the_threads(void **state) {
  (void)state;
  struct nk_region *region = make_region();
  struct nk_vectors *one = sample_with(region, 150, 1, 9), *two = sample_with(region, 150, 2, 9);
  struct nk_vectors *other = sample_with(region, 150, 2, 10);
  size_t bytes = one->n * DIM * sizeof(float);
  assert_memory_equal(one->values, two->values, bytes);
  assert_int_not_equal(memcmp(one->values, other->values, bytes), 0);
  nk_vectors_free(one);
  nk_vectors_free(two);
  nk_vectors_free(other);
  nk_region_free(region);
}

static void the_first_of_many_are_those_of_few(void **state) {
  (void)state;
  struct nk_region *region = make_region();
  struct nk_vectors *few = sample_with(region, 10, 2, 9), *many = sample_with(region, 130, 2, 9);
  for (size_t d = 0; d < 6; d++)
    assert_memory_equal(few->values + d * 10 * DIM, many->values + d * 130 * DIM,
                        10 * DIM * sizeof(float));
  nk_vectors_free(few);
  nk_vectors_free(many);
  nk_region_free(region);
}

/* Rows of a direction at two distances lie on one ray: differences from the origin are parallel. */
static void distances_are_compared_on_the_same_rays(void **state) {
  (void)state;
  static const double distances[] = {4, 12};
  struct nk_region *region = make_region();
  const double *mean = nki_gaussian_mean(region->gaussian);
  struct nk_sample_options options =
      options_of(NK_METRIC_MAHALANOBIS, NK_ORIGIN_CENTROID, distances, 2);
  options.n_directions = 1;
  struct nk_vectors *set = nk_sample(region, &options);
  assert_non_null(set);
  for (size_t i = 0; i < EACH; i++)
    for (size_t j = 0; j < DIM; j++) {
      double near = (double)set->values[i * DIM + j] - mean[j];
      double far = (double)set->values[(EACH + i) * DIM + j] - mean[j];
      assert_true(fabs(far - 3 * near) < 1e-5);
    }
  nk_vectors_free(set);
  nk_region_free(region);
}

/* Tokens of lengths whose squares leave the range of a float. */
static void tokens_may_be_tiny_or_huge(void **state) {
  (void)state;
  static const double scales[] = {1e-30, 1e18}, times[] = {1.5, 4};
  for (int s = 0; s < 2; s++)
    for (int metric = NK_METRIC_L2; metric < NK_N_METRICS; metric++) {
      if (metric == NK_METRIC_COSINE) continue; /* few rays have its distances */
      struct nk_vectors *tokens = make_tokens();
      float *x = nk_vectors_writable(tokens);
      for (size_t i = 0; i < N * DIM; i++) x[i] = (float)((double)x[i] * scales[s]);
      struct nk_region *region =
          nk_region_fit(tokens, NULL, 0, &(struct nk_region_options){.k = K, .seed = 3});
      if (region == NULL) fail_msg("%s", nk_error());
      struct nk_sample_options options = {
          .n = 20, .metric = (enum nk_metric)metric, .times = times, .n_times = 2};
      struct nk_vectors *set = nk_sample(region, &options);
      if (set == NULL) fail_msg("%s", nk_error());
      for (size_t i = 0; i < set->n; i++)
        assert_near(measure(region, (enum nk_metric)metric, set->values + i * DIM),
                    nk_vectors_column(set, "distance")->data.number[i], 1e-5);
      nk_vectors_free(set);
      nk_region_free(region);
      nk_vectors_free(tokens);
    }
}

static void a_distance_that_no_radius_reaches_is_named(void **state) {
  (void)state;
  static const double impossible[] = {1.97}, negative[] = {-1};
  struct nk_region *region = make_region();
  struct nk_sample_options options =
      options_of(NK_METRIC_COSINE, NK_ORIGIN_CENTROID, impossible, 1);
  assert_null(nk_sample(region, &options));
  assert_non_null(strstr(nk_error(), "in direction isotropic has cosine distance 1.97"));
  options = options_of(NK_METRIC_L2, NK_ORIGIN_CENTROID, negative, 1);
  assert_null(nk_sample(region, &options));
  assert_non_null(strstr(nk_error(), "distance -1"));
  options = options_of(NK_METRIC_L2, NK_ORIGIN_TOKEN, impossible, 1);
  options.origin_id = 5;
  assert_null(nk_sample(region, &options));
  assert_string_equal(nk_error(), "the region has no token 5");
  nk_region_free(region);
}

struct heard {
  int n;
  char last[256];
};

static void hear(const char *message, void *user) {
  struct heard *heard = user;
  heard->n++;
  snprintf(heard->last, sizeof heard->last, "%s", message);
}

/* A ray from the centroid m in direction u has the cosine distances up to 1 - cos(u, m). The rays
 * of a seed are seen by their nokens of metric l2. */
static void rays_that_never_reach_a_distance_are_skipped_and_counted(void **state) {
  (void)state;
  enum { RAYS = 150 };
  static const double ASKED[2] = {0.3, 0.9};
  const double length = 2;
  struct nk_region *region = make_region();
  struct nk_sample_options options = {
      .n = RAYS, .metric = NK_METRIC_L2, .distances = &length, .n_distances = 1, .seed = 8};
  struct nk_vectors *rays = nk_sample(region, &options);
  assert_non_null(rays);
  const double *mean = nki_gaussian_mean(region->gaussian);
  struct heard heard = {0, ""};
  char want[256];
  nk_on_warning(hear, &heard);
  options.metric = NK_METRIC_COSINE;
  options.distances = ASKED;
  options.n_distances = 2;
  assert_null(nk_sample(region, &options));
  options.unreached = NK_UNREACHED_SKIP;
  struct nk_vectors *set = nk_sample(region, &options);
  nk_on_warning(NULL, NULL);
  assert_non_null(set);
  const int64_t *ray = nk_vectors_column(set, "ray")->data.integer;
  const double *distance = nk_vectors_column(set, "distance")->data.number;
  size_t row = 0, missed[2] = {0, 0};
  for (size_t q = 0; q < 2; q++)
    for (size_t i = 0; i < RAYS; i++) {
      double u_m = 0, m_m = 0;
      for (size_t j = 0; j < DIM; j++) {
        u_m += ((double)rays->values[i * DIM + j] - mean[j]) / length * mean[j];
        m_m += mean[j] * mean[j];
      }
      if (1 - u_m / sqrt(m_m) <= ASKED[q]) {
        missed[q]++;
        continue;
      }
      assert_true(row < set->n);
      assert_int_equal(ray[row], (int64_t)i);
      assert_int_equal(set->ids[row], (int64_t)row);
      assert_true(distance[row] == ASKED[q]);
      assert_near(cosine(region, set->values + row * DIM), ASKED[q], 1e-5);
      row++;
    }
  assert_int_equal(set->n, row);
  assert_true(missed[0] < missed[1] && missed[1] > 20);
  assert_int_equal(heard.n, (missed[0] > 0) + 1);
  snprintf(want, sizeof want,
           "direction isotropic: %zu of %d rays never reach cosine distance 0.9: no nokens there",
           missed[1], RAYS);
  assert_string_equal(heard.last, want);
  nk_vectors_free(set);
  nk_vectors_free(rays);
  nk_region_free(region);
}

/* A ray that reaches every distance is the one of NK_UNREACHED_SKIP. */
static void rays_that_never_reach_a_distance_are_drawn_again(void **state) {
  (void)state;
  enum { RAYS = 150 };
  static const double ASKED[2] = {0.3, 0.9}, NEVER = 1.97;
  struct nk_region *region = make_region();
  struct nk_sample_options options = {.n = RAYS,
                                      .metric = NK_METRIC_COSINE,
                                      .distances = ASKED,
                                      .n_distances = 2,
                                      .seed = 8,
                                      .unreached = NK_UNREACHED_SKIP};
  struct heard heard = {0, ""};
  nk_on_warning(hear, &heard);
  struct nk_vectors *some = nk_sample(region, &options);
  options.unreached = NK_UNREACHED_REDRAW;
  heard.n = 0;
  struct nk_vectors *all = nk_sample(region, &options);
  assert_int_equal(heard.n, 1);
  assert_non_null(strstr(heard.last, "direction isotropic: "));
  assert_non_null(strstr(heard.last, " rays drawn never reach every cosine distance"));
  options.n = 70;
  struct nk_vectors *few = nk_sample(region, &options);
  nk_on_warning(NULL, NULL);
  assert_non_null(all);
  assert_int_equal(all->n, 2 * RAYS);
  const double *mean = nki_gaussian_mean(region->gaussian);
  for (size_t i = 0; i < RAYS; i++) {
    const float *near = all->values + i * DIM, *far = near + RAYS * DIM;
    double ratio = l2(region, far) / l2(region, near);
    assert_near(cosine(region, near), 0.3, 1e-5);
    assert_near(cosine(region, far), 0.9, 1e-5);
    for (size_t j = 0; j < DIM; j++)
      assert_near((double)far[j] - mean[j], ratio * ((double)near[j] - mean[j]), 1e-4);
    if (i < 70) assert_memory_equal(few->values + i * DIM, near, DIM * sizeof *near);
  }
  const int64_t *ray = nk_vectors_column(some, "ray")->data.integer;
  const double *distance = nk_vectors_column(some, "distance")->data.number;
  for (size_t row = 0; row < some->n; row++)
    if (distance[row] == 0.9)
      assert_memory_equal(some->values + row * DIM, all->values + (RAYS + (size_t)ray[row]) * DIM,
                          DIM * sizeof(float));
  options.distances = &NEVER;
  options.n_distances = 1;
  assert_null(nk_sample(region, &options));
  assert_string_equal(nk_error(),
                      "1000 rays drawn in the place of ray 0 never reach every distance: cosine "
                      "distance 1.97; choose another one, or other origins");
  options.unreached = NK_UNREACHED_SKIP;
  assert_null(nk_sample(region, &options));
  assert_string_equal(nk_error(), "no ray reaches any of the distances");
  nk_vectors_free(some);
  nk_vectors_free(all);
  nk_vectors_free(few);
  nk_region_free(region);
}

static void directions_spread_as_they_say(void **state) {
  (void)state;
  static const double distances[] = {1};
  struct nk_region *region = make_region();
  const double *mean = nki_gaussian_mean(region->gaussian);
  struct nk_sample_options options = options_of(NK_METRIC_L2, NK_ORIGIN_CENTROID, distances, 1);
  options.n = 20000;
  options.n_directions = 3;
  struct nk_vectors *set = nk_sample(region, &options);
  assert_non_null(set);
  /* Isotropic: each coordinate of a unit vector has variance 1 / d; its fourth moment is
   * 3 / (d (d + 2)). */
  double variance = 1.0 / DIM;
  double error = sqrt((3.0 / (DIM * (DIM + 2)) - variance * variance) / 20000);
  for (size_t j = 0; j < DIM; j++) {
    double square = 0;
    for (size_t i = 0; i < 20000; i++)
      square += pow((double)set->values[i * DIM + j] - mean[j], 2) / 20000;
    assert_true(fabs(square - variance) < 5 * error);
  }
  /* pc:2-5: nothing in the first and in the sixth component. */
  const float *components = nk_region_basis(region)->components;
  for (size_t i = 40000; i < 40100; i++)
    for (size_t c = 0; c < DIM; c++) {
      double product = 0;
      for (size_t j = 0; j < DIM; j++)
        product += ((double)set->values[i * DIM + j] - mean[j]) * (double)components[c * DIM + j];
      if (c < 1 || c > 4) assert_true(fabs(product) < 1e-5);
    }
  nk_vectors_free(set);
  nk_region_free(region);
}

static void matches_have_the_distances_of_their_tokens(void **state) {
  (void)state;
  struct nk_region *region = make_region();
  struct nk_vectors *tokens = nk_vectors_new(3, DIM, NULL, false);
  float *x = nk_vectors_writable(tokens);
  struct nki_random random = nki_random_stream(8, NKI_RANDOM_TEST, 8);
  for (size_t i = 0; i < 3 * DIM; i++) x[i] = (float)(2.5 * nki_random_normal(&random));
  struct nk_vectors *set = nk_sample_match(region, tokens, 40, 6);
  if (set == NULL) fail_msg("%s", nk_error());
  assert_int_equal(set->n, 120);
  for (size_t i = 0; i < set->n; i++) {
    const float *noken = set->values + i * DIM, *token = x + i / 40 * DIM;
    double norm = 0, wanted = 0, apart = 0;
    for (size_t j = 0; j < DIM; j++) {
      norm += (double)noken[j] * (double)noken[j];
      wanted += (double)token[j] * (double)token[j];
      apart += pow((double)noken[j] - (double)token[j], 2);
    }
    assert_near(sqrt(norm), sqrt(wanted), 1e-5);
    assert_near(mahalanobis(region, noken), mahalanobis(region, token), 1e-5);
    assert_near(knn(region, noken), knn(region, token), 1e-5);
    assert_true(apart > 1e-3 * wanted); /* it is not the token itself */
    assert_int_equal(nk_vectors_column(set, "match")->data.integer[i], i / 40);
  }
  nk_vectors_free(set);
  nk_vectors_free(tokens);
  nk_region_free(region);
}

static void nokens_from_inside_are_inside_and_spread_as_the_tokens(void **state) {
  (void)state;
  struct nk_region *region = make_region();
  struct nk_vectors *set = nk_sample_inside(region, 3000, 2);
  assert_non_null(set);
  const double *p = nk_vectors_column(set, "p_value")->data.number;
  double mean_square = 0;
  for (size_t i = 0; i < set->n; i++) {
    assert_true(p[i] > 0.05);
    mean_square += pow(mahalanobis(region, set->values + i * DIM), 2) / (double)set->n;
  }
  /* d for the whole distribution; a twentieth is cut off at the far end. */
  assert_true(mean_square > 0.8 * DIM && mean_square < 1.05 * DIM);
  nk_vectors_free(set);
  nk_region_free(region);
}

/* The distance of a draw from its token t is that of (sqrt(1 - h^2) - 1) (t - m) + h e, whose mean
 * square over t and e is ((1 - sqrt(1 - h^2))^2 + h^2) times the total variance. */
static void nokens_from_inside_are_tokens_with_a_little_noise(void **state) {
  (void)state;
  enum { COUNT = 2000 };
  struct nk_region *region = make_region();
  const struct nk_vectors *tokens = region->tokens;
  struct nk_moments *moments = nk_moments_compute(tokens->values, NULL, region->n_fit, DIM);
  struct nk_vectors *set = nk_sample_inside(region, COUNT, 2);
  assert_non_null(set);
  assert_non_null(moments);
  const int64_t *origin = nk_vectors_column(set, "origin")->data.integer;
  double h = nk_vectors_column(set, "blend")->data.number[0], mean_square = 0;
  assert_near(h, 0.2, 1e-15);
  for (size_t i = 0; i < COUNT; i++) {
    size_t row = 0;
    double square = 0;
    while (tokens->ids[row] != origin[i]) row++;
    for (size_t j = 0; j < DIM; j++)
      square += pow((double)set->values[i * DIM + j] - (double)tokens->values[row * DIM + j], 2);
    assert_true(square > 0);
    mean_square += square / COUNT;
  }
  double kept = sqrt(1 - h * h);
  double expected = ((1 - kept) * (1 - kept) + h * h) * moments->total_variance;
  assert_true(mean_square > 0.9 * expected && mean_square < 1.1 * expected);
  nk_moments_free(moments);
  nk_vectors_free(set);
  nk_region_free(region);
}

/* The first number of a ray's stream draws its origin, that of a control's stream its token. From
 * one stream, as many agree as controls are inside at the first draw, more than nine tenths; from
 * two, 1 in 600, and 8 or more of 900 agree once in 5,000 seeds. */
static void nokens_and_controls_of_one_seed_share_no_numbers(void **state) {
  (void)state;
  enum { COUNT = 900 };
  static const double distance = 12;
  struct nk_region *region = make_region();
  for (uint64_t seed = 0; seed < 3; seed++) {
    struct nk_sample_options options =
        options_of(NK_METRIC_MAHALANOBIS, NK_ORIGIN_TOKENS, &distance, 1);
    options.n_directions = 1;
    options.n = COUNT;
    options.seed = seed;
    struct nk_vectors *nokens = nk_sample(region, &options);
    struct nk_vectors *controls = nk_sample_inside(region, COUNT, seed);
    assert_non_null(nokens);
    assert_non_null(controls);
    size_t same = 0;
    for (size_t i = 0; i < COUNT; i++)
      same += nk_vectors_column(nokens, "origin")->data.integer[i] ==
              nk_vectors_column(controls, "origin")->data.integer[i];
    assert_true(same < 8);
    nk_vectors_free(nokens);
    nk_vectors_free(controls);
  }
  nk_region_free(region);
}

static void directions_are_read_and_named(void **state) {
  (void)state;
  static const char *const good[] = {"isotropic",
                                     "covariance",
                                     "pc:3-10",
                                     "token",
                                     "pair",
                                     "difference",
                                     "towards",
                                     "towards:0",
                                     "towards:1234567",
                                     "mixture:isotropic+token",
                                     "mixture:pc:1-1+pc:2-2",
                                     "mixture:towards+towards:7"};
  static const char *const bad[] = {"",
                                    "pc",
                                    "pc:",
                                    "pc:0-2",
                                    "pc:5-2",
                                    "pc:1-",
                                    "pc:-1",
                                    "tokens",
                                    "towards:",
                                    "towards:-1",
                                    "towards:1x",
                                    "mixture:",
                                    "mixture:token",
                                    "mixture:token+",
                                    "mixture:+token",
                                    "mixture:token+pair+pair",
                                    "mixture:mixture:token+pair+pair",
                                    "isotropic+token"};
  struct nk_direction direction;
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    struct nk_buffer name = {0};
    assert_int_equal(nk_direction_parse(good[i], &direction), 0);
    nki_direction_name(&direction, &name);
    assert_string_equal(name.data, good[i]);
    nk_buffer_free(&name);
  }
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_int_equal(nk_direction_parse(bad[i], &direction), NK_EUSAGE);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sample_reaches_the_asked_length_in_every_direction_and_origin),
      cmocka_unit_test(sample_reaches_the_asked_cosine_distance_in_every_direction_and_origin),
      cmocka_unit_test(quantiles_are_those_of_the_tokens_held_out),
      cmocka_unit_test(zeroed_options_sample_one_noken_at_the_0_99_quantile),
      cmocka_unit_test(the_same_seed_gives_the_same_bytes_whatever_the_threads),
      cmocka_unit_test(the_first_of_many_are_those_of_few),
      cmocka_unit_test(distances_are_compared_on_the_same_rays),
      cmocka_unit_test(tokens_may_be_tiny_or_huge),
      cmocka_unit_test(a_distance_that_no_radius_reaches_is_named),
      cmocka_unit_test(rays_that_never_reach_a_distance_are_skipped_and_counted),
      cmocka_unit_test(rays_that_never_reach_a_distance_are_drawn_again),
      cmocka_unit_test(directions_spread_as_they_say),
      cmocka_unit_test(matches_have_the_distances_of_their_tokens),
      cmocka_unit_test(nokens_from_inside_are_inside_and_spread_as_the_tokens),
      cmocka_unit_test(nokens_from_inside_are_tokens_with_a_little_noise),
      cmocka_unit_test(nokens_and_controls_of_one_seed_share_no_numbers),
      cmocka_unit_test(directions_are_read_and_named),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
