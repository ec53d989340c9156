/* Perturbations on the models of data/, against whole distributions and streams that the forward
 * pass gives one sequence at a time, and divergences of logits against long double. */
#include <math.h>

#include "forward/internal.h"
#include "unit.h"

enum { MAX_DIM = 512, MAX_LENGTH = 64, N_CONTEXTS = 3 };

/* ---- Divergences ---- */

enum { N_LOGITS = 5003 };

static double uniform(uint64_t *state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return (double)(*state >> 11) * 0x1p-53;
}

static double log_sum(const float *logits, long double *exact) {
  long double sum = 0;
  for (size_t i = 0; i < N_LOGITS; i++) sum += expl((long double)logits[i]);
  *exact = logl(sum);
  return (double)*exact;
}

/* Relative errors at differences of the logits from 1e-6, where both KL are 1e-13, to 300, with log
 * sums that are wrong by as much as sums of floats are. */
static void divergences_keep_the_digits_of_small_differences(void **state) {
  (void)state;
  static float a[N_LOGITS], b[N_LOGITS];
  static double q[N_LOGITS], scratch[N_LOGITS];
  const double scales[] = {1e-6, 1e-4, 1e-2, 1, 30, 300};
  uint64_t random = 1;
  for (size_t s = 0; s < sizeof scales / sizeof *scales; s++) {
    for (size_t i = 0; i < N_LOGITS; i++) a[i] = (float)(8 * uniform(&random));
    for (size_t i = 0; i < N_LOGITS; i++)
      b[i] = a[i] + (float)(scales[s] * (2 * uniform(&random) - 1));
    long double log_a, log_b, kl = 0, reverse = 0, js = 0;
    double sum_a = log_sum(a, &log_a), sum_b = log_sum(b, &log_b);
    for (size_t i = 0; i < N_LOGITS; i++) {
      long double x = (long double)a[i] - log_a, y = (long double)b[i] - log_b;
      long double e = y - x, half = expm1l(e) / 2; /* js in terms of q, e as in divergence.c */
      kl += expl(x) * (expm1l(e) - e);
      reverse += expl(y) * (expm1l(-e) + e);
      js += expl(x) * ((1 + 2 * half) * (e - log1pl(half)) - log1pl(half)) / 2;
    }
    struct nki_divergences got;
    const struct nki_distributions both = {a, b, q, sum_b + 3e-7 - sum_a, N_LOGITS};
    nki_probabilities(a, sum_a - 2e-7, N_LOGITS, q);
    nki_divergences(&both, scratch, &got);
    if (!(fabs(got.kl / (double)kl - 1) < 1e-7 &&
          fabs(got.kl_reverse / (double)reverse - 1) < 1e-7 &&
          fabs(got.js / (double)js - 1) < 1e-7))
      fail_msg("scale %g: %.9g %.9g %.9g, expected %.9g %.9g %.9g", scales[s], got.kl,
               got.kl_reverse, got.js, (double)kl, (double)reverse, (double)js);
  }
}

static void divergences_of_the_same_logits_are_0(void **state) {
  (void)state;
  static float a[N_LOGITS];
  static double q[N_LOGITS], scratch[N_LOGITS];
  uint64_t random = 5;
  long double exact;
  for (size_t i = 0; i < N_LOGITS; i++) a[i] = (float)(20 * uniform(&random));
  double sum = log_sum(a, &exact);
  struct nki_divergences got;
  const struct nki_distributions both = {a, a, q, 0, N_LOGITS};
  nki_probabilities(a, sum, N_LOGITS, q);
  nki_divergences(&both, scratch, &got);
  assert_true(got.kl == 0 && got.kl_reverse == 0 && got.js == 0);
}

/* ---- Perturbations ---- */

struct world {
  struct nk_model *model;
  struct nk_forward *forward;
  const struct nk_forward_shape *shape;
  int64_t ids[N_CONTEXTS][MAX_LENGTH];
  struct nk_sequence contexts[N_CONTEXTS];
};

static int open_world(struct world *w, const char *name) {
  static const char *const texts[] = {"The king of the castle said that he would",
                                      "He said: it was a cold night and the", "Once"};
  w->model = nk_model_open(name);
  w->forward = nk_model_forward(w->model);
  const struct nk_tokenizer *tokenizer = nk_model_tokenizer(w->model);
  if (w->forward == NULL || tokenizer == NULL) return -1;
  w->shape = nk_forward_shape(w->forward);
  for (size_t c = 0; c < N_CONTEXTS; c++) {
    int64_t *ids;
    size_t n;
    if (nk_prompt_encode(tokenizer, texts[c], strlen(texts[c]), false, &ids, &n) != NK_OK)
      return -1;
    if (n == 0 || n > MAX_LENGTH) return -1;
    memcpy(w->ids[c], ids, n * sizeof *ids);
    w->contexts[c] = (struct nk_sequence){w->ids[c], n};
    nk_free(ids);
  }
  return 0;
}

static int open_gpt2(void **state) {
  static struct world w;
  *state = &w;
  return open_world(&w, "data/gpt2-tiny");
}

static int open_llama(void **state) {
  static struct world w;
  *state = &w;
  return open_world(&w, "data/llama-tiny");
}

static int close_world(void **state) {
  struct world *w = *state;
  nk_model_free(w->model);
  return 0;
}

/* What one sequence gives at a position: allocated, see free_answer. */
struct answer {
  float *logits, *streams; /* [vocabulary], [n_layers + 1, dim] */
};

static struct answer answer_of(const struct world *w, const struct nk_sequence *context,
                               size_t position, const struct nk_override *overrides, size_t n) {
  size_t layers[64];
  for (size_t l = 0; l <= w->shape->n_layers; l++) layers[l] = l;
  struct answer a = {malloc(w->shape->n_vocabulary * sizeof(float)),
                     malloc((w->shape->n_layers + 1) * w->shape->dim * sizeof(float))};
  struct nk_ask ask = {.position = position,
                       .logits = a.logits,
                       .layers = layers,
                       .n_layers = w->shape->n_layers + 1,
                       .residuals = a.streams};
  const struct nk_batch batch = {.sequences = context,
                                 .n_sequences = 1,
                                 .overrides = overrides,
                                 .n_overrides = n,
                                 .asks = &ask,
                                 .n_asks = 1};
  if (nk_forward_run(w->forward, &batch) != NK_OK) fail_msg("%s", nk_error());
  return a;
}

static void free_answer(struct answer a) {
  free(a.logits);
  free(a.streams);
}

struct expected {
  double kl, kl_reverse, js, l2, cosine, relative;
  double length; /* of the stream before the final norm */
  size_t top;
};

static double length_of(const float *x, const float *y, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) {
    double d = (double)x[i] - (y == NULL ? 0 : (double)y[i]);
    sum += d * d;
  }
  return sqrt(sum);
}

/* Divergences by their definitions. */
static struct expected compare(const struct world *w, const struct answer *a,
                               const struct answer *b, size_t layer) {
  size_t n = w->shape->n_vocabulary, dim = w->shape->dim;
  const float *last_a = a->streams + w->shape->n_layers * dim;
  const float *last_b = b->streams + w->shape->n_layers * dim;
  double sum_a = 0, sum_b = 0;
  struct expected e = {0};
  double dot = 0;
  for (size_t i = 0; i < n; i++) {
    sum_a += exp((double)a->logits[i]);
    sum_b += exp((double)b->logits[i]);
    if (b->logits[i] > b->logits[e.top]) e.top = i;
  }
  for (size_t i = 0; i < n; i++) {
    double p = exp((double)a->logits[i]) / sum_a;
    double q = exp((double)b->logits[i]) / sum_b, m = (p + q) / 2;
    e.kl += p * log(p / q);
    e.kl_reverse += q * log(q / p);
    e.js += (p * log(p / m) + q * log(q / m)) / 2;
  }
  for (size_t k = 0; k < dim; k++) dot += (double)last_a[k] * (double)last_b[k];
  e.l2 = length_of(last_a, last_b, dim);
  e.length = length_of(last_a, NULL, dim);
  e.cosine = dot / e.length / length_of(last_b, NULL, dim);
  e.relative = length_of(a->streams + layer * dim, b->streams + layer * dim, dim);
  return e;
}

static void assert_close(const char *what, double got, double want) {
  if (!(fabs(got - want) <= 1e-4 * fabs(want) + 1e-9))
    fail_msg("%s: %.9g, expected %.9g", what, got, want);
}

/* Roundings of logits and streams, which depend on the batch, as well. */
static void assert_divergence(const char *what, double got, double want) {
  if (!(fabs(got - want) <= 1e-4 * want + 4e-6 * sqrt(want) + 1e-11))
    fail_msg("%s: %.9g, expected %.9g", what, got, want);
}
static void assert_distance(const char *what, double got, double want, double length) {
  if (!(fabs(got - want) <= 1e-4 * want + 1e-6 * length))
    fail_msg("%s: %.9g, expected %.9g", what, got, want);
}

enum { N_ROWS = 12, N_READS = 2 };

/* The effects of n rows. */
struct effects {
  double kl[N_ROWS * N_READS], kl_reverse[N_ROWS * N_READS], js[N_ROWS * N_READS];
  double l2[N_ROWS * N_READS], cosine[N_ROWS * N_READS], relative[N_ROWS * N_READS];
  int64_t top[N_ROWS * N_READS], base_top[N_ROWS * N_READS];
};

static void run(struct nk_perturb *perturb, const size_t *place, const float *vectors, size_t n,
                struct effects *e) {
  struct nk_effects effects = {.kl = e->kl,
                               .kl_reverse = e->kl_reverse,
                               .js = e->js,
                               .top_id = e->top,
                               .base_top_id = e->base_top,
                               .final_l2 = e->l2,
                               .final_cosine = e->cosine,
                               .relative = e->relative};
  if (perturb == NULL || nk_perturb_run(perturb, place, vectors, n, &effects) != NK_OK)
    fail_msg("%s", nk_error());
}

/* vectors [n, dim]: a stream of the model, moved. */
static void make_vectors(const struct world *w, double scale, float *vectors, size_t n) {
  uint64_t random = 77;
  for (size_t i = 0; i < n; i++) {
    assert_int_equal(
        nk_forward_embedding(w->forward, (int64_t)(400 + 13 * i), vectors + i * w->shape->dim),
        NK_OK);
    for (size_t k = 0; k < w->shape->dim; k++)
      vectors[i * w->shape->dim + k] += (float)(scale * (uniform(&random) - 0.5));
  }
}

/* Places in all contexts at a layer, with their own origin and with the context's state: rows of
 * all of them together give what each gives alone, by the definitions. */
static void check_layer(const struct world *w, size_t layer, enum nk_override_mode mode) {
  size_t dim = w->shape->dim, relative_layer = (layer + w->shape->n_layers + 1) / 2;
  float *origin = malloc(dim * sizeof *origin), *vectors = malloc(N_ROWS * dim * sizeof *vectors);
  make_vectors(w, 0.4, vectors, N_ROWS);
  memcpy(origin, vectors + 3 * dim, dim * sizeof *origin);
  origin[0] += 0.5f;
  const size_t last[] = {w->contexts[0].n - N_READS, w->contexts[1].n - N_READS};
  const struct nk_place places[] = {{0, 2, layer, last[0], origin}, {0, 2, layer, last[0], NULL},
                                    {1, 1, layer, 1, origin},       {1, 4, layer, last[1], NULL},
                                    {0, 5, layer, 5, NULL},         {1, 0, layer, 3, NULL}};
  const size_t n_places = sizeof places / sizeof *places;
  const struct nk_perturb_options options = {.contexts = w->contexts,
                                             .n_contexts = N_CONTEXTS,
                                             .places = places,
                                             .n_places = n_places,
                                             .n_reads = N_READS,
                                             .mode = mode,
                                             .layers = &relative_layer,
                                             .n_layers = 1};
  struct nk_perturb *perturb = nk_perturb_new(w->model, &options);
  size_t place[N_ROWS];
  struct effects got;
  for (size_t i = 0; i < N_ROWS; i++) place[i] = (5 * i) % n_places;
  run(perturb, place, vectors, N_ROWS, &got);
  for (size_t i = 0; i < N_ROWS; i++)
    for (size_t k = 0; k < N_READS; k++) {
      const struct nk_place *at = &places[place[i]];
      const struct nk_sequence *context = &w->contexts[at->context];
      struct nk_override base = {0, at->position, layer, mode, at->origin}, moved = base;
      moved.vector = vectors + i * dim;
      struct answer a = answer_of(w, context, at->read + k, &base, at->origin != NULL);
      struct answer b = answer_of(w, context, at->read + k, &moved, 1);
      struct answer own = answer_of(w, context, at->position, NULL, 0);
      const float *from = at->origin != NULL   ? at->origin
                          : mode == NK_REPLACE ? own.streams + layer * dim
                                               : NULL;
      struct expected want = compare(w, &a, &b, relative_layer);
      size_t j = i * N_READS + k;
      double put_in = length_of(moved.vector, from, dim);
      assert_divergence("kl", got.kl[j], want.kl);
      assert_divergence("kl_reverse", got.kl_reverse[j], want.kl_reverse);
      assert_divergence("js", got.js[j], want.js);
      assert_distance("final_l2", got.l2[j], want.l2, want.length);
      assert_close("final_cosine", got.cosine[j], want.cosine);
      assert_distance("relative", got.relative[j], want.relative / put_in, want.length / put_in);
      assert_int_equal(got.top[j], want.top);
      assert_int_equal(got.base_top[j], compare(w, &b, &a, 0).top);
      free_answer(a);
      free_answer(b);
      free_answer(own);
    }
  nk_perturb_free(perturb);
  free(origin);
  free(vectors);
}

static void effects_are_those_of_the_definitions(void **state) {
  const struct world *w = *state;
  for (size_t layer = 0; layer <= w->shape->n_layers; layer += 2) {
    check_layer(w, layer, NK_REPLACE);
    check_layer(w, layer, NK_ADD);
  }
}

/* In both modes, whatever the batch: the context's own state put back, and the place's origin. */
static void the_origin_gives_exactly_0(void **state) {
  const struct world *w = *state;
  size_t dim = w->shape->dim, last = w->shape->n_layers, layers[] = {last, last};
  float *vectors = calloc(3 * dim, sizeof *vectors);
  for (size_t layer = 0; layer <= w->shape->n_layers; layer++) {
    struct answer own = answer_of(w, &w->contexts[0], 3, NULL, 0);
    memcpy(vectors, own.streams + layer * dim, dim * sizeof *vectors);
    memcpy(vectors + dim, vectors, dim * sizeof *vectors);
    memcpy(vectors + 2 * dim, vectors, dim * sizeof *vectors);
    vectors[dim] += 1;
    size_t read = layer == last ? 3 : w->contexts[0].n - 1;
    const struct nk_place places[] = {{0, 3, layer, read, vectors},
                                      {0, 3, layer, read, vectors + dim}};
    const struct nk_perturb_options options = {.contexts = w->contexts,
                                               .n_contexts = N_CONTEXTS,
                                               .places = places,
                                               .n_places = 2,
                                               .layers = layers,
                                               .n_layers = 2};
    struct nk_perturb *perturb = nk_perturb_new(w->model, &options);
    const size_t place[] = {0, 1, 1};
    struct effects e;
    run(perturb, place, vectors, 3, &e);
    for (size_t i = 0; i < 3; i++) {
      bool zero = i < 2;
      assert_true((e.kl[i] == 0) == zero && (e.kl_reverse[i] == 0) == zero);
      assert_true((e.js[i] == 0) == zero && (e.l2[i] == 0) == zero && (e.cosine[i] == 1) == zero);
      assert_true(isnan(e.relative[2 * i]) == zero && isnan(e.relative[2 * i + 1]) == zero);
      assert_true(!zero || e.top[i] == e.base_top[i]);
    }
    nk_perturb_free(perturb);
    free_answer(own);
  }
  free(vectors);
}

/* For a small r, KL(r) = r^2 v'Fv / 2: a hundredth of the radius gives 1e-4 of the divergence, down
 * to 1e-10, where the difference of two sums of floats would be noise. */
static void small_divergences_are_quadratic_in_the_radius(void **state) {
  const struct world *w = *state;
  size_t dim = w->shape->dim, layer = w->shape->n_layers, read = w->contexts[0].n - 1;
  struct answer own = answer_of(w, &w->contexts[0], read, NULL, 0);
  float *vectors = malloc(N_ROWS * dim * sizeof *vectors);
  const struct nk_place place = {0, read, layer, read, NULL};
  const struct nk_perturb_options options = {
      .contexts = w->contexts, .n_contexts = N_CONTEXTS, .places = &place, .n_places = 1};
  uint64_t random = 3;
  struct effects e;
  size_t places[N_ROWS] = {0};
  for (size_t i = 0; i < N_ROWS; i++) {
    double radius = 0.03 * pow(0.5, (double)i);
    random = 3;
    for (size_t k = 0; k < dim; k++)
      vectors[i * dim + k] =
          own.streams[layer * dim + k] + (float)(radius * (2 * uniform(&random) - 1));
  }
  struct nk_perturb *perturb = nk_perturb_new(w->model, &options);
  run(perturb, places, vectors, N_ROWS, &e);
  assert_true(e.kl[0] > 1e-6 && e.kl[N_ROWS - 1] < 1e-10);
  for (size_t i = 0; i + 1 < N_ROWS && e.kl[i + 1] > 1e-10; i++) {
    double slope = log(e.kl[i] / e.kl[i + 1]) / log(e.l2[i] / e.l2[i + 1]);
    if (!(fabs(slope - 2) < 0.05))
      fail_msg("slope %g between %g and %g", slope, e.kl[i], e.kl[i + 1]);
    assert_true(fabs(e.js[i] / e.kl[i] - 0.25) < 0.01 &&
                fabs(e.kl_reverse[i] / e.kl[i] - 1) < 0.05);
  }
  nk_perturb_free(perturb);
  free_answer(own);
  free(vectors);
}

/* Many rows of a long context share what is before the place; one row goes as a whole sequence. */
static void effects_do_not_depend_on_the_batch(void **state) {
  const struct world *w = *state;
  enum { N = 40, LENGTH = 50, PLACE = 30 };
  size_t dim = w->shape->dim, place[N] = {0};
  int64_t ids[LENGTH];
  for (size_t i = 0; i < LENGTH; i++) ids[i] = (int64_t)(300 + 7 * i);
  const struct nk_sequence contexts[] = {{ids, LENGTH}, w->contexts[0]};
  const struct nk_place places[] = {{0, PLACE, 1, LENGTH - 1, NULL}, {1, 1, 1, 2, NULL}};
  const struct nk_perturb_options options = {
      .contexts = contexts, .n_contexts = 2, .places = places, .n_places = 2};
  float *vectors = malloc(N * dim * sizeof *vectors);
  double kl[N], alone;
  make_vectors(w, 1, vectors, N);
  place[20] = 1;
  struct nk_perturb *perturb = nk_perturb_new(w->model, &options);
  assert_int_equal(nk_perturb_run(perturb, place, vectors, N, &(struct nk_effects){.kl = kl}),
                   NK_OK);
  for (size_t i = 0; i < N; i += 10) {
    assert_int_equal(nk_perturb_run(perturb, place + i, vectors + i * dim, 1,
                                    &(struct nk_effects){.kl = &alone}),
                     NK_OK);
    assert_close("kl", kl[i], alone);
  }
  assert_int_equal(nk_perturb_run(perturb, place, vectors, 0, &(struct nk_effects){.kl = kl}),
                   NK_OK);
  nk_perturb_free(perturb);
  free(vectors);
}

/* A place at NK_VECTOR is all of them, or itself alone; below the layer, and where no vector is,
 * they hold the fill. */
static void check_slots(const struct world *w, bool alone) {
  size_t dim = w->shape->dim, length = 6;
  const int64_t ids[] = {300, NK_VECTOR, 400, NK_VECTOR, 500, 600};
  const struct nk_sequence context = {ids, length};
  float *v = malloc(3 * dim * sizeof *v), *fill = v + 2 * dim;
  make_vectors(w, 0.3, v, 3);
  for (size_t layer = 0; layer < 3; layer++)
    for (int mode = 0; mode < 2; mode++)
      for (size_t slot = 1; slot < 4; slot++) { /* position 2 is none */
        const struct nk_place place = {0, slot, layer, length - 1, v, alone};
        const struct nk_perturb_options options = {.contexts = &context,
                                                   .n_contexts = 1,
                                                   .places = &place,
                                                   .n_places = 1,
                                                   .mode = (enum nk_override_mode)mode,
                                                   .fill = fill};
        struct nk_override base[8], moved[8];
        size_t n = 0;
        for (size_t i = 1; i < 4; i += 2)
          base[n++] = (struct nk_override){.position = i, .vector = fill};
        for (size_t i = 1; i < 4; i++)
          if (alone ? i == slot : (slot == 2) == (i == 2))
            base[n++] = (struct nk_override){0, i, layer, (enum nk_override_mode)mode, v};
        for (size_t i = 0; i < n; i++) moved[i] = base[i];
        for (size_t i = 2; i < n; i++) moved[i].vector = v + dim;
        struct answer a = answer_of(w, &context, length - 1, base, n);
        struct answer b = answer_of(w, &context, length - 1, moved, n);
        struct expected want = compare(w, &a, &b, 0);
        struct nk_perturb *perturb = nk_perturb_new(w->model, &options);
        const size_t zero = 0;
        double kl, l2;
        assert_int_equal(nk_perturb_run(perturb, &zero, v + dim, 1,
                                        &(struct nk_effects){.kl = &kl, .final_l2 = &l2}),
                         NK_OK);
        assert_close("kl", kl, want.kl);
        assert_close("final_l2", l2, want.l2);
        nk_perturb_free(perturb);
        free_answer(a);
        free_answer(b);
      }
  free(v);
}

static void a_vector_goes_to_all_slots_of_its_context(void **state) {
  check_slots(*state, false);
}

static void a_vector_alone_goes_to_its_own_slot(void **state) {
  check_slots(*state, true);
}

static void what_does_not_exist_is_an_error(void **state) {
  const struct world *w = *state;
  size_t n = w->contexts[2].n, layers = w->shape->n_layers, beyond = layers + 1;
  const int64_t slots[] = {NK_VECTOR, 300, NK_VECTOR}, no_token[] = {300, 1 << 30};
  const struct nk_sequence contexts[] = {w->contexts[2], {slots, 3}, {no_token, 2}};
  const struct {
    struct nk_place place;
    size_t n_reads;
    const char *says;
  } cases[] = {
      {{3, 0, 0, 0, NULL}, 1, "context 3"},           {{0, n, 0, n, NULL}, 1, "position"},
      {{0, 0, layers + 1, 0, NULL}, 1, "layer"},      {{0, 0, 0, n, NULL}, 1, "reads"},
      {{0, 0, 0, n - 1, NULL}, 2, "reads 2"},         {{1, 1, 0, 0, NULL}, 1, "reads"},
      {{1, 0, 0, 2, NULL}, 1, "an origin is needed"}, {{2, 0, 0, 1, NULL}, 1, "id"},
  };
  for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
    const struct nk_perturb_options options = {.contexts = contexts,
                                               .n_contexts = 3,
                                               .places = &cases[c].place,
                                               .n_places = 1,
                                               .n_reads = cases[c].n_reads};
    assert_null(nk_perturb_new(w->model, &options));
    assert_int_equal(nk_error_code(), NK_EUSAGE);
    if (strstr(nk_error(), cases[c].says) == NULL) fail_msg("case %zu: %s", c, nk_error());
  }
  const struct nk_place place = {0, 0, 0, 0, NULL};
  struct nk_perturb_options options = {
      .contexts = contexts, .n_contexts = 1, .places = &place, .n_places = 1};
  struct nk_perturb *perturb = nk_perturb_new(w->model, &options);
  float *vector = calloc(w->shape->dim, sizeof *vector);
  size_t number = 1;
  double kl;
  struct nk_effects effects = {.kl = &kl};
  assert_int_equal(nk_perturb_run(perturb, &number, vector, 1, &effects), NK_EUSAGE);
  number = 0;
  vector[1] = NAN;
  assert_int_equal(nk_perturb_run(perturb, &number, vector, 1, &effects), NK_EDATA);
  options.layers = &beyond;
  options.n_layers = 1;
  assert_null(nk_perturb_new(w->model, &options));
  assert_null(nk_perturb_new(NULL, &options));
  assert_int_equal(nk_perturb_run(NULL, &number, vector, 1, &effects), NK_EUSAGE);
  nk_perturb_free(perturb);
  nk_perturb_free(NULL);
  free(vector);
}

/* ---- Prompts ---- */

/* data/llama-tiny begins its texts with a token. */
static void a_prompt_begins_as_the_model_is_trained_to(void **state) {
  const struct world *w = *state;
  const struct nk_tokenizer *tokenizer = nk_model_tokenizer(w->model);
  int64_t *special, *ids, *slots;
  size_t n_special, n, n_slots;
  assert_int_equal(
      nk_tokenizer_encode(tokenizer, "the {} of", 9, NK_ENCODE_SPECIAL, &special, &n_special),
      NK_OK);
  assert_int_equal(nk_prompt_encode(tokenizer, "the {} of", 9, false, &ids, &n), NK_OK);
  assert_int_equal(n, n_special);
  assert_memory_equal(ids, special, n * sizeof *ids);
  assert_int_equal(nk_prompt_encode(tokenizer, "the {} of", 9, true, &slots, &n_slots), NK_OK);
  size_t found = 0;
  for (size_t i = 0; i < n_slots; i++) found += slots[i] == NK_VECTOR;
  assert_int_equal(found, 1);
  nk_free(slots);
  assert_int_equal(nk_prompt_encode(tokenizer, "\xff", 1, true, &slots, &n_slots), NK_EDATA);
  assert_int_equal(nk_prompt_encode(NULL, "a", 1, true, &slots, &n_slots), NK_EDATA);
  nk_free(special);
  nk_free(ids);
}

#define OF_BOTH(TEST)                                            \
  cmocka_unit_test_setup_teardown(TEST, open_gpt2, close_world), \
      cmocka_unit_test_setup_teardown(TEST, open_llama, close_world)

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(divergences_keep_the_digits_of_small_differences),
      cmocka_unit_test(divergences_of_the_same_logits_are_0),
      OF_BOTH(effects_are_those_of_the_definitions),
      OF_BOTH(the_origin_gives_exactly_0),
      OF_BOTH(small_divergences_are_quadratic_in_the_radius),
      OF_BOTH(effects_do_not_depend_on_the_batch),
      OF_BOTH(a_vector_goes_to_all_slots_of_its_context),
      OF_BOTH(a_vector_alone_goes_to_its_own_slot),
      OF_BOTH(what_does_not_exist_is_an_error),
      OF_BOTH(a_prompt_begins_as_the_model_is_trained_to),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
