/* Gradients against PyTorch's autograd in double (tests/fixtures/forward/gradients.py), for every
 * architecture and the shipped models, and against differences of the forward pass itself. */
#include <float.h>
#include <math.h>

#include "families.h"
#include "model/safetensors.h"
#include "unit.h"

enum { MAX_PLACES = 16, MAX_TERMS = 16, MAX_DIM = 128, MAX_LENGTH = 64 };
static const char *const SHIPPED[] = {"gpt2-tiny", "llama-tiny"};

/* ---- A fixture ---- */

struct fixture {
  const char *name;
  struct nk_model *model;
  struct nk_forward *forward;
  const struct nk_forward_shape *shape;
  struct nki_safetensors *file;
  size_t length, n_places, n_terms;
  const int64_t *ids;
  struct nk_override overrides[MAX_PLACES];
  struct nk_term terms[MAX_TERMS];
  const double *values;    /* [n_terms] */
  const double *gradients; /* [n_places, dim] */
};

static const void *data_of(const struct fixture *f, const char *name, size_t *n) {
  const struct nk_tensor *t = nki_safetensors_find(f->file, name);
  assert_non_null(t);
  if (n != NULL) *n = t->shape[0];
  return t->data;
}

static void read_terms(struct fixture *f) {
  const int64_t *terms = data_of(f, "terms", &f->n_terms);
  const float *weights = data_of(f, "weights", NULL);
  static const char *const vectors[] = {[NK_TERM_KL] = "reference",
                                        [NK_TERM_KL_REVERSE] = "reference",
                                        [NK_TERM_LOGITS] = "coefficients",
                                        [NK_TERM_STREAM] = "direction",
                                        [NK_TERM_SQUARED_DIFFERENCE] = "target"};
  for (size_t i = 0; i < f->n_terms; i++) {
    enum nk_term_kind kind = (enum nk_term_kind)terms[3 * i];
    f->terms[i] = (struct nk_term){.position = (size_t)terms[3 * i + 1],
                                   .kind = kind,
                                   .weight = (double)weights[i],
                                   .layer = (size_t)terms[3 * i + 2]};
    if (kind == NK_TERM_LOG_PROB) {
      f->terms[i].ids = data_of(f, "token_ids", &f->terms[i].n_ids);
      f->terms[i].id_weights = data_of(f, "token_weights", NULL);
    } else if (kind != NK_TERM_ENTROPY) {
      f->terms[i].vector = data_of(f, vectors[kind], NULL);
    }
  }
}

static void open_files(struct fixture *f, const char *folder, const char *file) {
  f->model = nk_model_open(folder);
  if (f->model == NULL) fail_msg("%s", nk_error());
  f->forward = nk_model_forward(f->model);
  if (f->forward == NULL) fail_msg("%s", nk_error());
  f->shape = nk_forward_shape(f->forward);
  f->file = nki_safetensors_open(file);
  if (f->file == NULL) fail_msg("%s", nk_error());
  f->ids = data_of(f, "ids", &f->length);
  f->values = data_of(f, "values", NULL);
  f->gradients = data_of(f, "gradients", NULL);
  const int64_t *places = data_of(f, "places", &f->n_places);
  const float *vectors = data_of(f, "vectors", NULL);
  for (size_t i = 0; i < f->n_places; i++)
    f->overrides[i] = (struct nk_override){.layer = (size_t)places[3 * i],
                                           .position = (size_t)places[3 * i + 1],
                                           .mode = places[3 * i + 2] ? NK_ADD : NK_REPLACE,
                                           .vector = vectors + i * f->shape->dim};
  read_terms(f);
}

static void open_fixture(struct fixture *f, const char *name) {
  char folder[256], file[300];
  snprintf(folder, sizeof folder, "%s/%.200s", FIXTURES, name);
  snprintf(file, sizeof file, "%s/%.200s/gradients.safetensors", FIXTURES, name);
  f->name = name;
  open_files(f, folder, file);
}

static void open_shipped(struct fixture *f, const char *name) {
  char folder[256], file[256];
  snprintf(folder, sizeof folder, "data/%s", name);
  snprintf(file, sizeof file, "tests/fixtures/gradients/%s.safetensors", name);
  f->name = name;
  open_files(f, folder, file);
}

static void close_fixture(struct fixture *f) {
  nki_safetensors_free(f->file);
  nk_model_free(f->model);
}

/* ---- Running ---- */

/* The fixture's gradients with its first n_prefix ids as a shared prefix. The batch has n_copies of
 * the rest, whose terms are all of the last one, so that groups are cut where memory is short. */
static void run(struct fixture *f, size_t n_prefix, size_t n_copies, size_t memory,
                float *gradients) {
  struct nk_sequence rest[8];
  size_t last = n_copies - 1;
  for (size_t s = 0; s < n_copies; s++)
    rest[s] = (struct nk_sequence){f->ids + n_prefix, f->length - n_prefix};
  for (size_t i = 0; i < f->n_places; i++)
    f->overrides[i].sequence = f->overrides[i].position < n_prefix ? NK_PREFIX : last;
  for (size_t i = 0; i < f->n_terms; i++) f->terms[i].sequence = last;
  struct nk_batch batch = {.prefix = {f->ids, n_prefix},
                           .sequences = rest,
                           .n_sequences = n_copies,
                           .overrides = f->overrides,
                           .n_overrides = f->n_places,
                           .memory = memory};
  double values[8];
  struct nk_gradient gradient = {
      .terms = f->terms, .n_terms = f->n_terms, .values = values, .overrides = gradients};
  if (nk_gradient_run(f->forward, &batch, &gradient) != NK_OK)
    fail_msg("%s: %s", f->name, nk_error());
  double sum = 0;
  for (size_t i = 0; i < f->n_terms; i++) sum += f->terms[i].weight * f->terms[i].value;
  assert_true(fabs(values[last] - sum) <= 1e-12 * fabs(sum));
}

static double length_of(const double *x, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += x[i] * x[i];
  return sqrt(sum);
}

/* Each vector's gradient: the length of its error relative to its own. */
static double worst_error(const struct fixture *f, const float *got) {
  size_t dim = f->shape->dim;
  double worst = 0;
  for (size_t i = 0; i < f->n_places; i++) {
    double difference[MAX_DIM], length = length_of(f->gradients + i * dim, dim);
    for (size_t k = 0; k < dim; k++)
      difference[k] = (double)got[i * dim + k] - f->gradients[i * dim + k];
    double error = length_of(difference, dim);
    error = length > 0 ? error / length : error > 0 ? INFINITY : 0;
    if (!(error <= worst)) worst = error;
  }
  return worst;
}

static void check(struct fixture *f, size_t n_prefix, size_t memory, double tolerance) {
  static float gradients[MAX_PLACES * MAX_DIM];
  run(f, n_prefix, 1, memory, gradients);
  for (size_t i = 0; i < f->n_terms; i++)
    if (!(fabs(f->terms[i].value - f->values[i]) <= tolerance * fmax(1, fabs(f->values[i]))))
      fail_msg("%s: term %zu is %.9g, the reference has %.9g", f->name, i, f->terms[i].value,
               f->values[i]);
  double error = worst_error(f, gradients);
  if (!(error <= tolerance))
    fail_msg("%s: prefix %zu: relative error %.3g, at most %.3g", f->name, n_prefix, error,
             tolerance);
}

static void every_family_equals_autograd(void **state) {
  (void)state;
  assert_int_equal(list_fixtures(), 0);
  for (size_t i = 0; i < N_NAMES; i++) {
    struct fixture f;
    open_fixture(&f, NAMES[i]);
    for (size_t n_prefix = 0; n_prefix <= 8; n_prefix += 4) check(&f, n_prefix, 0, 1e-4);
    close_fixture(&f);
  }
  assert_true(N_NAMES > 40);
}

static void the_shipped_models_equal_autograd(void **state) {
  (void)state;
  for (size_t i = 0; i < 2; i++) {
    struct fixture f;
    open_shipped(&f, SHIPPED[i]);
    for (size_t n_prefix = 0; n_prefix <= 8; n_prefix += 4) check(&f, n_prefix, 0, 1e-5);
    close_fixture(&f);
  }
}

/* ---- Weights ---- */

/* +1 or -1, as gradients.py has them. */
static double sign_of(size_t i, size_t k) {
  uint32_t x = (uint32_t)i * 2654435761u + 40503u * (uint32_t)(k + 1);
  x = (x ^ x >> 16) * 0x45d9f3bu;
  return (x ^ x >> 16) & 1 ? -1 : 1;
}

enum { MAX_WEIGHTS = 1024, N_SIGNS = 4 };

struct weights {
  size_t n;
  struct nk_weight_gradient of[MAX_WEIGHTS];
  const double *expected[MAX_WEIGHTS]; /* length, products with signs */
  size_t n_elements[MAX_WEIGHTS];
};

static void find_weights(const struct fixture *f, struct weights *w) {
  static const char prefix[] = "weight:";
  w->n = 0;
  for (size_t i = 0; i < nki_safetensors_n_tensors(f->file); i++) {
    const struct nk_tensor *t = nki_safetensors_tensor(f->file, i);
    if (strncmp(t->name, prefix, strlen(prefix)) != 0) continue;
    const struct nk_tensor *tensor = nk_model_find(f->model, t->name + strlen(prefix));
    assert_non_null(tensor);
    assert_true(w->n < MAX_WEIGHTS);
    float *gradient = malloc(tensor->n_elements * sizeof *gradient);
    assert_non_null(gradient);
    w->n_elements[w->n] = tensor->n_elements;
    w->expected[w->n] = t->data;
    w->of[w->n++] = (struct nk_weight_gradient){tensor->name, gradient};
  }
}

/* Each product with signs is that of the reference to the tolerance times the gradient's length, or
 * to 1e-6 of the longest, as those of keys' biases are 0 but for rounding; share: of the sequences,
 * the scalar's. */
static void check_weights(const struct fixture *f, const struct weights *w, double share,
                          double tolerance) {
  double longest = 0;
  for (size_t i = 0; i < w->n; i++) longest = fmax(longest, w->expected[i][0]);
  for (size_t i = 0; i < w->n; i++) {
    double length = 0, products[N_SIGNS] = {0}, worst = 0;
    for (size_t e = 0; e < w->n_elements[i]; e++) {
      double g = (double)w->of[i].gradient[e] / share;
      length += g * g;
      for (size_t k = 0; k < N_SIGNS; k++) products[k] += g * sign_of(e, k);
    }
    worst = fabs(sqrt(length) - w->expected[i][0]);
    for (size_t k = 0; k < N_SIGNS; k++)
      worst = fmax(worst, fabs(products[k] - w->expected[i][k + 1]));
    if (!(worst <= fmax(tolerance * w->expected[i][0], 1e-6 * longest)))
      fail_msg("%s: the gradient of %s: length %.6g, the reference has %.6g; relative error %.3g",
               f->name, w->of[i].tensor, sqrt(length), w->expected[i][0],
               worst / w->expected[i][0]);
  }
}

static void run_weights(struct fixture *f, const struct weights *w, size_t n_prefix,
                        size_t n_sequences, size_t memory) {
  struct nk_sequence rest[4];
  for (size_t s = 0; s < n_sequences; s++)
    rest[s] = (struct nk_sequence){f->ids + n_prefix, f->length - n_prefix};
  for (size_t i = 0; i < f->n_places; i++)
    f->overrides[i].sequence = f->overrides[i].position < n_prefix ? NK_PREFIX : 0;
  for (size_t i = 0; i < f->n_terms; i++) f->terms[i].sequence = 0;
  struct nk_batch batch = {.prefix = {f->ids, n_prefix},
                           .sequences = rest,
                           .n_sequences = n_sequences,
                           .overrides = f->overrides,
                           .n_overrides = f->n_places,
                           .memory = memory};
  struct nk_gradient gradient = {
      .terms = f->terms, .n_terms = f->n_terms, .weights = w->of, .n_weights = w->n};
  if (nk_gradient_run(f->forward, &batch, &gradient) != NK_OK)
    fail_msg("%s: %s", f->name, nk_error());
}

/* Tensors that the fixture has no gradient of are refused. */
static void check_others_are_refused(struct fixture *f, const struct weights *w) {
  struct nk_sequence sequence = {f->ids, f->length};
  struct nk_batch batch = {.sequences = &sequence, .n_sequences = 1};
  struct nk_term term = {.position = 5, .kind = NK_TERM_ENTROPY, .weight = 1};
  for (size_t i = 0; i < nk_model_n_tensors(f->model); i++) {
    const struct nk_tensor *tensor = nk_model_tensor(f->model, i);
    const char *name = tensor->name;
    struct nk_weight_gradient weight = {name, malloc(tensor->n_elements * sizeof(float))};
    struct nk_gradient gradient = {
        .terms = &term, .n_terms = 1, .weights = &weight, .n_weights = 1};
    bool known = false;
    for (size_t k = 0; k < w->n; k++) known = known || strcmp(w->of[k].tensor, name) == 0;
    if (!known && nk_gradient_run(f->forward, &batch, &gradient) != NK_EUNSUPPORTED)
      fail_msg("%s: no reference of %s", f->name, name);
    free(weight.gradient);
  }
}

static void check_all_weights(struct fixture *f, double tolerance) {
  static struct weights w;
  find_weights(f, &w);
  check_others_are_refused(f, &w);
  assert_true(w.n >= 6);
  for (size_t n_prefix = 0; n_prefix <= 8; n_prefix += 8) {
    run_weights(f, &w, n_prefix, 1, 0);
    check_weights(f, &w, 1, tolerance);
  }
  run_weights(f, &w, 4, 4, 40000);
  check_weights(f, &w, 0.25, tolerance);
  for (size_t i = 0; i < w.n; i++) free(w.of[i].gradient);
}

static void weights_of_every_family_equal_autograd(void **state) {
  (void)state;
  assert_int_equal(list_fixtures(), 0);
  for (size_t i = 0; i < N_NAMES; i++) {
    struct fixture f;
    open_fixture(&f, NAMES[i]);
    check_all_weights(&f, 1e-4);
    close_fixture(&f);
  }
}

static void weights_of_the_shipped_models_equal_autograd(void **state) {
  (void)state;
  for (size_t i = 0; i < 2; i++) {
    struct fixture f;
    open_shipped(&f, SHIPPED[i]);
    check_all_weights(&f, 1e-4);
    close_fixture(&f);
  }
}

static void weights_without_a_gradient_are_refused(void **state) {
  (void)state;
  static const struct {
    const char *name, *tensor, *message;
    int code;
  } cases[] = {{"gpt_oss-mxfp4", "model.layers.0.mlp.experts.down_proj_blocks",
                "is not implemented", NK_EUNSUPPORTED},
               {"gpt_oss-mxfp4", "model.layers.1.mlp.experts.gate_up_proj_scales",
                "is not implemented", NK_EUNSUPPORTED},
               {"llama", "model.layers.0.no.weight", "model.layers.0.no.weight", NK_ENOTFOUND}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct fixture f;
    float values[4096];
    open_fixture(&f, cases[i].name);
    struct nk_sequence sequence = {f.ids, f.length};
    struct nk_batch batch = {.sequences = &sequence, .n_sequences = 1};
    struct nk_term term = {.position = 5, .kind = NK_TERM_ENTROPY, .weight = 1};
    struct nk_weight_gradient weight = {cases[i].tensor, values};
    struct nk_gradient gradient = {
        .terms = &term, .n_terms = 1, .weights = &weight, .n_weights = 1};
    assert_int_equal(nk_gradient_run(f.forward, &batch, &gradient), cases[i].code);
    if (strstr(nk_error(), cases[i].message) == NULL) fail_msg("%s", nk_error());
    close_fixture(&f);
  }
}

/* ---- What may not change them ---- */

static void assert_near(const struct fixture *f, const char *what, const float *got,
                        const float *want) {
  size_t dim = f->shape->dim;
  for (size_t i = 0; i < f->n_places; i++) {
    double squares = 0, length = 0;
    for (size_t k = i * dim; k < (i + 1) * dim; k++) {
      squares += pow((double)got[k] - (double)want[k], 2);
      length += pow((double)want[k], 2);
    }
    if (!(sqrt(squares) <= 1e-5 * sqrt(length)))
      fail_msg("%s: %s: vector %zu: relative change %.3g", f->name, what, i,
               sqrt(squares / length));
  }
}

/* 40,000 bytes are some rows with all that is inside the blocks, or the streams of one sequence and
 * a block's inside: the blocks are run again. */
static void gradients_do_not_depend_on_memory_groups_or_threads(void **state) {
  (void)state;
  static const char *const names[] = {"gpt2", "llama", "gemma2", "gpt_neox", "bloom", "qwen2_moe"};
  static float want[MAX_PLACES * MAX_DIM], got[MAX_PLACES * MAX_DIM];
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    for (size_t n_prefix = 0; n_prefix <= 8; n_prefix += 8) {
      struct fixture f;
      open_fixture(&f, names[i]);
      run(&f, n_prefix, 1, 0, want);
      run(&f, n_prefix, 8, 0, got);
      assert_near(&f, "beside others", got, want);
      run(&f, n_prefix, 8, 40000, got);
      assert_near(&f, "in little memory", got, want);
      run(&f, n_prefix, 8, 1, got);
      assert_near(&f, "one sequence at a time", got, want);
      nk_set_threads(1);
      run(&f, n_prefix, 8, 0, got);
      nk_set_threads(0);
      assert_near(&f, "in one thread", got, want);
      close_fixture(&f);
    }
}

/* More than 64 own keys and more than 128 queries: products in place of the small loops, a view in
 * several chunks; the gradient of one sequence is that of its parts with a prefix. */
static void a_long_sequence_has_the_gradients_of_one_behind_a_prefix(void **state) {
  (void)state;
  enum { LENGTH = 200, VECTORS = 3 };
  for (size_t i = 0; i < 2; i++) {
    struct fixture f;
    open_shipped(&f, SHIPPED[i]);
    size_t dim = f.shape->dim;
    int64_t ids[LENGTH];
    float vectors[VECTORS * MAX_DIM], gradients[3][VECTORS * MAX_DIM];
    static const size_t positions[VECTORS] = {5, 90, 170}, layers[VECTORS] = {0, 1, 2};
    static const size_t prefixes[] = {0, 60, 150};
    for (size_t t = 0; t < LENGTH; t++) ids[t] = (int64_t)((13 * t * t + 5 * t) % 8000);
    for (size_t k = 0; k < VECTORS * dim; k++) vectors[k] = 0.1f * sinf((float)k);
    for (size_t p = 0; p < 3; p++) {
      size_t n = prefixes[p];
      struct nk_override overrides[VECTORS];
      for (size_t k = 0; k < VECTORS; k++)
        overrides[k] = (struct nk_override){.sequence = positions[k] < n ? NK_PREFIX : 0,
                                            .position = positions[k],
                                            .layer = layers[k],
                                            .mode = NK_ADD,
                                            .vector = vectors + k * dim};
      struct nk_sequence rest = {ids + n, LENGTH - n};
      struct nk_batch batch = {.prefix = {ids, n},
                               .sequences = &rest,
                               .n_sequences = 1,
                               .overrides = overrides,
                               .n_overrides = VECTORS};
      struct nk_term terms[] = {
          {.position = LENGTH - 1, .kind = NK_TERM_ENTROPY, .weight = 1},
          {.position = 180, .kind = NK_TERM_LOG_PROB, .weight = 1, .ids = ids, .n_ids = 1}};
      struct nk_gradient gradient = {.terms = terms, .n_terms = 2, .overrides = gradients[p]};
      assert_int_equal(nk_gradient_run(f.forward, &batch, &gradient), NK_OK);
    }
    f.n_places = VECTORS;
    assert_near(&f, "a prefix of 60", gradients[1], gradients[0]);
    assert_near(&f, "a prefix of 150", gradients[2], gradients[0]);
    close_fixture(&f);
  }
}

/* ---- Against the forward pass ---- */

/* The scalar of an override's vector, moved along its gradient's direction by the step: the central
 * difference is the gradient's length, to what the rounding of the forward pass in float leaves. */
static double scalar_at(const struct fixture *f, const float *vector) {
  struct nk_sequence sequence = {f->ids, f->length};
  struct nk_override override = f->overrides[0];
  override.sequence = 0;
  override.vector = vector;
  struct nk_ask ask = {.position = f->length - 1, .distribution = true};
  struct nk_batch batch = {.sequences = &sequence,
                           .n_sequences = 1,
                           .overrides = &override,
                           .n_overrides = 1,
                           .asks = &ask,
                           .n_asks = 1};
  assert_int_equal(nk_forward_run(f->forward, &batch), NK_OK);
  return ask.entropy;
}

static void a_gradient_is_the_forward_passs_central_difference(void **state) {
  (void)state;
  for (size_t i = 0; i < 2; i++) {
    struct fixture f;
    open_shipped(&f, SHIPPED[i]);
    size_t dim = f.shape->dim;
    float g[MAX_DIM], moved[2][MAX_DIM];
    struct nk_sequence sequence = {f.ids, f.length};
    struct nk_term term = {.position = f.length - 1, .kind = NK_TERM_ENTROPY, .weight = 1};
    f.overrides[0].sequence = 0;
    struct nk_batch batch = {
        .sequences = &sequence, .n_sequences = 1, .overrides = f.overrides, .n_overrides = 1};
    struct nk_gradient gradient = {.terms = &term, .n_terms = 1, .overrides = g};
    assert_int_equal(nk_gradient_run(f.forward, &batch, &gradient), NK_OK);
    double length = 0, size = 0;
    for (size_t k = 0; k < dim; k++) {
      length += pow((double)g[k], 2);
      size += pow((double)f.overrides[0].vector[k], 2);
    }
    length = sqrt(length);
    double step = 1e-3 * sqrt(size);
    for (size_t k = 0; k < dim; k++)
      for (int side = 0; side < 2; side++)
        moved[side][k] =
            f.overrides[0].vector[k] + (float)((side == 0 ? -step : step) * (double)g[k] / length);
    double slope = (scalar_at(&f, moved[1]) - scalar_at(&f, moved[0])) / (2 * step);
    assert_true(fabs(term.value - scalar_at(&f, f.overrides[0].vector)) < 1e-6);
    if (!(fabs(slope / length - 1) < 1e-2))
      fail_msg("%s: the difference is %.6g, the gradient %.6g", f.name, slope, length);
    close_fixture(&f);
  }
}

/* The value of a term with an override's vector, and its gradient where it is not NULL. */
static double value_at(const struct fixture *f, struct nk_term *term, const float *vector,
                       float *gradients) {
  struct nk_sequence sequence = {f->ids, f->length};
  struct nk_override override = {.position = 5, .layer = 1, .mode = NK_ADD, .vector = vector};
  struct nk_batch batch = {
      .sequences = &sequence, .n_sequences = 1, .overrides = &override, .n_overrides = 1};
  struct nk_gradient gradient = {.terms = term, .n_terms = 1, .overrides = gradients};
  if (nk_gradient_run(f->forward, &batch, &gradient) != NK_OK) fail_msg("%s", nk_error());
  return term->value;
}

/* The difference of the term's values along its gradient is weight^-1 times the gradient's
 * length. */
static void check_difference(const struct fixture *f, struct nk_term term) {
  static const float zero[MAX_DIM];
  float g[MAX_DIM], moved[2][MAX_DIM];
  size_t dim = f->shape->dim;
  double length = 0, step = 4e-3;
  value_at(f, &term, zero, g);
  for (size_t k = 0; k < dim; k++) length += pow((double)g[k], 2);
  length = sqrt(length);
  assert_true(length > 0);
  for (size_t k = 0; k < dim; k++)
    for (int side = 0; side < 2; side++)
      moved[side][k] = (float)((side == 0 ? -step : step) * (double)g[k] / length);
  double slope = (value_at(f, &term, moved[1], NULL) - value_at(f, &term, moved[0], NULL)) *
                 term.weight / (2 * step);
  if (!(fabs(slope / length - 1) < 1e-2))
    fail_msg("%s: kind %d: the difference is %.6g, the gradient %.6g", f->name, (int)term.kind,
             slope, length);
}

enum { LLAMA_TOKENS = 40 };

/* log q: some tokens are `least`, the others give a sum of e^shift. */
static void make_reference(float least, float shift, float *out) {
  double sum = 0;
  for (size_t i = 0; i < LLAMA_TOKENS; i++)
    if (i % 3 != 0) sum += exp(sin((double)i));
  for (size_t i = 0; i < LLAMA_TOKENS; i++)
    out[i] = i % 3 == 0 ? least : (float)(sin((double)i) - log(sum)) + shift;
}

static void every_kind_of_term_has_the_gradient_of_its_differences(void **state) {
  (void)state;
  static const int64_t ids[] = {3, 17, 3};
  static const float id_weights[] = {1, 0.5f, -3}, shares[] = {1, 0.5f, 3};
  float full[LLAMA_TOKENS], masked[LLAMA_TOKENS], more[LLAMA_TOKENS], vector[LLAMA_TOKENS];
  make_reference(-4, 0, full);
  make_reference(-INFINITY, 0, masked);
  make_reference(-200, 1, more);
  for (size_t i = 0; i < LLAMA_TOKENS; i++) vector[i] = cosf((float)i);
  const struct nk_term terms[] = {
      {.kind = NK_TERM_LOG_PROB, .ids = ids, .n_ids = 3},
      {.kind = NK_TERM_LOG_PROB, .ids = ids, .id_weights = id_weights, .n_ids = 3},
      {.kind = NK_TERM_LOG_PROB, .ids = ids, .n_ids = 3, .summed = true},
      {.kind = NK_TERM_LOG_PROB, .ids = ids, .id_weights = shares, .n_ids = 3, .summed = true},
      {.kind = NK_TERM_ENTROPY},
      {.kind = NK_TERM_KL, .vector = full},
      {.kind = NK_TERM_KL, .vector = more},
      {.kind = NK_TERM_KL_REVERSE, .vector = full},
      {.kind = NK_TERM_KL_REVERSE, .vector = masked},
      {.kind = NK_TERM_KL_REVERSE, .vector = more},
      {.kind = NK_TERM_LOGITS, .vector = vector},
      {.kind = NK_TERM_STREAM, .layer = 2, .vector = vector},
      {.kind = NK_TERM_SQUARED_DIFFERENCE, .layer = 2, .vector = vector}};
  struct fixture f;
  open_fixture(&f, "llama");
  assert_int_equal(f.shape->n_vocabulary, LLAMA_TOKENS);
  for (size_t i = 0; i < sizeof terms / sizeof terms[0]; i++) {
    static const float zero[MAX_DIM];
    float g[MAX_DIM];
    struct nk_term term = terms[i];
    term.position = 9;
    term.weight = 1.5;
    check_difference(&f, term);
    term.weight = 0;
    value_at(&f, &term, zero, g);
    for (size_t k = 0; k < f.shape->dim; k++) assert_true(g[k] == 0);
  }
  close_fixture(&f);
}

/* Terms share the logits of their position, and each has its own reference. */
static void terms_at_one_position_add_up(void **state) {
  (void)state;
  static const int64_t ids[] = {3, 17};
  static const float zero[MAX_DIM];
  float one[LLAMA_TOKENS], other[LLAMA_TOKENS], vector[LLAMA_TOKENS], g[MAX_DIM];
  double sum[MAX_DIM] = {0};
  make_reference(-4, 0, one);
  make_reference(-2, 0.1f, other);
  for (size_t i = 0; i < LLAMA_TOKENS; i++) vector[i] = cosf((float)i);
  struct nk_term terms[] = {{.position = 9, .kind = NK_TERM_KL, .weight = 1, .vector = one},
                            {.position = 9, .kind = NK_TERM_KL, .weight = -2, .vector = other},
                            {.position = 8, .kind = NK_TERM_ENTROPY, .weight = 0.5},
                            {.position = 9, .kind = NK_TERM_ENTROPY, .weight = 3},
                            {.position = 9, .kind = NK_TERM_KL_REVERSE, .weight = 1, .vector = one},
                            {.position = 9, .kind = NK_TERM_LOGITS, .weight = 1, .vector = vector},
                            {.position = 9, .weight = 1, .ids = ids, .n_ids = 2}};
  enum { N = sizeof terms / sizeof terms[0] };
  struct fixture f;
  open_fixture(&f, "llama");
  double values[N];
  for (size_t i = 0; i < N; i++) {
    struct nk_term term = terms[i];
    values[i] = value_at(&f, &term, zero, g);
    for (size_t k = 0; k < f.shape->dim; k++) sum[k] += (double)g[k];
  }
  struct nk_sequence sequence = {f.ids, f.length};
  struct nk_override override = {.position = 5, .layer = 1, .mode = NK_ADD, .vector = zero};
  struct nk_batch batch = {
      .sequences = &sequence, .n_sequences = 1, .overrides = &override, .n_overrides = 1};
  struct nk_gradient gradient = {.terms = terms, .n_terms = N, .overrides = g};
  assert_int_equal(nk_gradient_run(f.forward, &batch, &gradient), NK_OK);
  double length = length_of(sum, f.shape->dim);
  for (size_t i = 0; i < N; i++)
    if (!(fabs(terms[i].value - values[i]) <= 1e-6 * fmax(1, fabs(values[i])))) /* of logits */
      fail_msg("term %zu: %.9g together, %.9g alone", i, terms[i].value, values[i]);
  for (size_t k = 0; k < f.shape->dim; k++)
    assert_true(fabs((double)g[k] - sum[k]) <= 1e-5 * length);
  close_fixture(&f);
}

/* sum q (log q - log p) over the tokens with q > 0, by the forward pass's log p. */
static void a_reference_may_leave_tokens_out(void **state) {
  (void)state;
  static const float zero[MAX_DIM], least[] = {-INFINITY, -FLT_MAX, -1e30f, -200, -88};
  struct fixture f;
  float q[LLAMA_TOKENS], log_p[LLAMA_TOKENS], first[MAX_DIM], g[MAX_DIM];
  int64_t ids[LLAMA_TOKENS];
  double want = 0;
  open_fixture(&f, "llama");
  for (size_t i = 0; i < LLAMA_TOKENS; i++) ids[i] = (int64_t)i;
  struct nk_sequence sequence = {f.ids, f.length};
  struct nk_ask ask = {
      .position = 9, .distribution = true, .ids = ids, .n_ids = LLAMA_TOKENS, .log_probs = log_p};
  struct nk_batch batch = {.sequences = &sequence, .n_sequences = 1, .asks = &ask, .n_asks = 1};
  assert_int_equal(nk_forward_run(f.forward, &batch), NK_OK);
  make_reference(-INFINITY, 0, q);
  for (size_t i = 0; i < LLAMA_TOKENS; i++)
    if (i % 3 != 0) want += exp((double)q[i]) * ((double)q[i] - (double)log_p[i]);
  for (size_t i = 0; i < sizeof least / sizeof least[0]; i++) {
    make_reference(least[i], 0, q);
    struct nk_term term = {.position = 9, .kind = NK_TERM_KL_REVERSE, .weight = 1, .vector = q};
    double value = value_at(&f, &term, zero, g);
    if (!(fabs(value - want) < 1e-5)) fail_msg("%g: %.9g, not %.9g", (double)least[i], value, want);
    if (i == 0) memcpy(first, g, sizeof first);
    for (size_t k = 0; k < f.shape->dim; k++) assert_true(g[k] == first[k]);
  }
  close_fixture(&f);
}

/* ---- Edges ---- */

static struct nk_gradient entropy_of(struct nk_term *term, size_t position, float *gradients) {
  *term = (struct nk_term){.position = position, .kind = NK_TERM_ENTROPY, .weight = 1};
  return (struct nk_gradient){.terms = term, .n_terms = 1, .overrides = gradients};
}

static void what_no_term_depends_on_has_a_gradient_of_0(void **state) {
  (void)state;
  struct fixture f;
  open_fixture(&f, "llama");
  size_t dim = f.shape->dim, last = f.shape->n_layers;
  float gradients[4 * MAX_DIM], vector[MAX_DIM] = {1, 2, 3};
  struct nk_sequence sequences[2] = {{f.ids, f.length}, {f.ids, f.length}};
  struct nk_override overrides[4] = {
      {.position = 9, .vector = vector},                /* behind the term */
      {.position = 4, .layer = last, .vector = vector}, /* read by nothing */
      {.sequence = 1, .position = 2, .vector = vector}, /* of another sequence */
      {.position = 5, .layer = 1, .vector = vector}};
  struct nk_batch batch = {
      .sequences = sequences, .n_sequences = 2, .overrides = overrides, .n_overrides = 4};
  struct nk_term term;
  double values[2];
  struct nk_gradient gradient = entropy_of(&term, 8, gradients);
  gradient.values = values;
  assert_int_equal(nk_gradient_run(f.forward, &batch, &gradient), NK_OK);
  for (size_t k = 0; k < 3 * dim; k++) assert_true(gradients[k] == 0);
  assert_true(gradients[3 * dim] != 0);
  assert_true(values[1] == 0 && values[0] == term.value && values[0] > 0);
  close_fixture(&f);
}

static void a_later_replacement_leaves_nothing_to_an_earlier_vector(void **state) {
  (void)state;
  struct fixture f;
  open_fixture(&f, "gpt2");
  size_t dim = f.shape->dim;
  float gradients[3 * MAX_DIM], vector[MAX_DIM] = {1, -2, 3};
  struct nk_sequence sequence = {f.ids, f.length};
  struct nk_override overrides[3] = {{.position = 3, .layer = 1, .mode = NK_ADD, .vector = vector},
                                     {.position = 3, .layer = 1, .vector = vector},
                                     {.position = 3, .layer = 1, .mode = NK_ADD, .vector = vector}};
  struct nk_batch batch = {
      .sequences = &sequence, .n_sequences = 1, .overrides = overrides, .n_overrides = 3};
  struct nk_term term;
  struct nk_gradient gradient = entropy_of(&term, 7, gradients);
  assert_int_equal(nk_gradient_run(f.forward, &batch, &gradient), NK_OK);
  for (size_t k = 0; k < dim; k++) {
    assert_true(gradients[k] == 0);
    assert_true(gradients[dim + k] == gradients[2 * dim + k]);
  }
  assert_true(gradients[dim] != 0);
  close_fixture(&f);
}

/* All positions of the last layer are replaced: no block is run. */
static void a_stream_after_the_blocks_has_the_gradient_of_the_read_out(void **state) {
  (void)state;
  struct fixture f;
  open_fixture(&f, "cohere");
  size_t dim = f.shape->dim, last = f.shape->n_layers;
  float alone[MAX_DIM], beside[2 * MAX_DIM], vector[MAX_DIM];
  for (size_t k = 0; k < dim; k++) vector[k] = sinf((float)k);
  struct nk_sequence sequence = {f.ids, f.length};
  struct nk_override overrides[2] = {{.position = 7, .layer = last, .vector = vector},
                                     {.position = 3, .layer = 0, .vector = vector}};
  struct nk_batch batch = {
      .sequences = &sequence, .n_sequences = 1, .overrides = overrides, .n_overrides = 1};
  struct nk_term terms[2];
  struct nk_gradient gradient = entropy_of(&terms[0], 7, alone);
  assert_int_equal(nk_gradient_run(f.forward, &batch, &gradient), NK_OK);
  batch.n_overrides = 2; /* blocks run for another position */
  gradient = entropy_of(&terms[1], 9, beside);
  terms[0].weight = 1;
  gradient.terms = terms;
  gradient.n_terms = 2;
  assert_int_equal(nk_gradient_run(f.forward, &batch, &gradient), NK_OK);
  for (size_t k = 0; k < dim; k++) assert_true(fabsf(alone[k] - beside[k]) < 1e-6f);
  assert_true(fabsf(alone[0]) > 1e-4f && fabsf(beside[dim]) > 1e-6f);
  close_fixture(&f);
}

static void assert_refused(const struct fixture *f, struct nk_batch batch, struct nk_term term,
                           int code, const char *message) {
  struct nk_gradient gradient = {.terms = &term, .n_terms = 1};
  assert_int_equal(nk_gradient_run(f->forward, &batch, &gradient), code);
  if (strstr(nk_error(), message) == NULL) fail_msg("'%s' is not in: %s", message, nk_error());
}

static void bad_terms_are_refused(void **state) {
  (void)state;
  struct fixture f;
  open_fixture(&f, "llama");
  int64_t beyond = (int64_t)f.shape->n_vocabulary;
  float vector[MAX_DIM] = {0}, nan[MAX_DIM] = {0};
  nan[3] = NAN;
  struct nk_sequence sequence = {f.ids + 2, 6};
  struct nk_batch batch = {.prefix = {f.ids, 2}, .sequences = &sequence, .n_sequences = 1};
  const struct nk_term good = {.position = 5, .kind = NK_TERM_ENTROPY, .weight = 1};
  struct nk_term t = good;
  t.position = 8;
  assert_refused(&f, batch, t, NK_EUSAGE, "term 0: position 8 is past the end");
  t.position = 1;
  assert_refused(&f, batch, t, NK_EUSAGE, "is in the shared prefix");
  t.sequence = NK_PREFIX;
  assert_refused(&f, batch, t, NK_EUSAGE, "term 0: the prefix has no terms");
  t = good;
  t.weight = NAN;
  assert_refused(&f, batch, t, NK_EDATA, "weight");
  t = good;
  t.kind = NK_TERM_LOG_PROB;
  assert_refused(&f, batch, t, NK_EUSAGE, "no ids");
  t.ids = &beyond;
  t.n_ids = 1;
  assert_refused(&f, batch, t, NK_EUSAGE, "the model has tokens 0 to 39");
  t.ids = f.ids;
  t.id_weights = &(float){0};
  t.summed = true;
  assert_refused(&f, batch, t, NK_EDATA, "probabilities are summed with weights above 0");
  t = good;
  t.kind = NK_TERM_STREAM;
  assert_refused(&f, batch, t, NK_EUSAGE, "no vector");
  t.vector = nan;
  assert_refused(&f, batch, t, NK_EDATA, "component 3 is not finite");
  float q[LLAMA_TOKENS];
  make_reference(-INFINITY, 0, q);
  t.kind = NK_TERM_KL;
  t.vector = q;
  assert_refused(&f, batch, t, NK_EDATA, "log q of token 0 is -inf: p is above 0 everywhere");
  static const float bad[] = {NAN, INFINITY, 89};
  for (size_t i = 0; i < 3; i++)
    for (t.kind = NK_TERM_KL; t.kind <= NK_TERM_KL_REVERSE; t.kind++) {
      make_reference(bad[i], 0, q);
      assert_refused(&f, batch, t, NK_EDATA, "give the natural logarithms of a distribution");
    }
  t.kind = NK_TERM_STREAM;
  t.vector = vector;
  t.layer = f.shape->n_layers + 1;
  assert_refused(&f, batch, t, NK_EUSAGE, "the model has layers 0 to 3");
  t = good;
  t.kind = (enum nk_term_kind)99;
  assert_refused(&f, batch, t, NK_EUSAGE, "no such kind");
  struct nk_ask ask = {.position = 5, .distribution = true};
  batch.asks = &ask;
  batch.n_asks = 1;
  assert_refused(&f, batch, good, NK_EUSAGE, "neither asks nor a generation");
  assert_int_not_equal(nk_gradient_run(NULL, &batch, NULL), NK_OK);
  close_fixture(&f);
}

/* A weight whose product is beyond a float's range: what is not finite is named. What is refused
 * leaves the answers as they are. */
static void numbers_beyond_a_float_are_refused(void **state) {
  (void)state;
  struct fixture f;
  open_fixture(&f, "llama");
  size_t dim = f.shape->dim;
  float far[MAX_DIM], zero[MAX_DIM] = {0}, g[MAX_DIM], norm[MAX_DIM];
  for (size_t k = 0; k < dim; k++) far[k] = 1e30f;
  struct nk_sequence sequence = {f.ids, f.length};
  struct nk_override override = {.position = 5, .layer = 1, .mode = NK_ADD, .vector = zero};
  struct nk_batch batch = {
      .sequences = &sequence, .n_sequences = 1, .overrides = &override, .n_overrides = 1};
  struct nk_term term = {
      .position = 9, .kind = NK_TERM_STREAM, .layer = 2, .weight = 1e39, .vector = far};
  assert_refused(&f, batch, term, NK_EDATA, "term 0: its weight is 1e+39");
  struct nk_weight_gradient weights[] = {{"model.layers.0.input_layernorm.weight", norm},
                                         {"model.no.weight", norm}};
  struct nk_gradient gradient = {
      .terms = &term, .n_terms = 1, .overrides = g, .weights = weights, .n_weights = 2};
  term.weight = 1e20;
  g[0] = norm[0] = 7;
  assert_int_equal(nk_gradient_run(f.forward, &batch, &gradient), NK_ENOTFOUND);
  assert_true(g[0] == 7 && norm[0] == 7);
  weights[1] = weights[0];
  assert_int_equal(nk_gradient_run(f.forward, &batch, &gradient), NK_EUSAGE);
  if (strstr(nk_error(), "is given twice") == NULL) fail_msg("%s", nk_error());
  gradient.n_weights = 1;
  assert_int_equal(nk_gradient_run(f.forward, &batch, &gradient), NK_EDATA);
  if (strstr(nk_error(), "override 0: its gradient") == NULL) fail_msg("%s", nk_error());
  gradient.overrides = NULL;
  assert_int_equal(nk_gradient_run(f.forward, &batch, &gradient), NK_EDATA);
  if (strstr(nk_error(), "input_layernorm.weight': its gradient") == NULL)
    fail_msg("%s", nk_error());
  float coefficients[LLAMA_TOKENS];
  for (size_t i = 0; i < LLAMA_TOKENS; i++) coefficients[i] = i % 2 == 0 ? FLT_MAX : -FLT_MAX;
  term =
      (struct nk_term){.position = 9, .kind = NK_TERM_LOGITS, .weight = 0, .vector = coefficients};
  assert_refused(&f, batch, term, NK_EDATA, "term 0: its value is beyond a float's range");
  close_fixture(&f);
}

/* A vector of the prefix has the sum of what each sequence's terms give. */
static void a_prefix_has_the_gradients_of_all_sequences(void **state) {
  (void)state;
  enum { N = 3, PREFIX = 4 };
  struct fixture f;
  open_fixture(&f, "llama");
  size_t dim = f.shape->dim;
  float vector[MAX_DIM], together[MAX_DIM], alone[MAX_DIM];
  double sum[MAX_DIM] = {0};
  for (size_t k = 0; k < dim; k++) vector[k] = sinf((float)k);
  struct nk_override override = {.sequence = NK_PREFIX, .position = 2, .vector = vector};
  for (size_t memory = 0; memory <= 1; memory++) {
    struct nk_sequence sequences[N];
    struct nk_term terms[N];
    for (size_t s = 0; s < N; s++) {
      sequences[s] = (struct nk_sequence){f.ids + PREFIX + s, 2 + s};
      terms[s] = (struct nk_term){.sequence = s,
                                  .position = PREFIX + 1 + s,
                                  .kind = NK_TERM_ENTROPY,
                                  .weight = 1 + (double)s};
    }
    struct nk_batch batch = {.prefix = {f.ids, PREFIX},
                             .sequences = sequences,
                             .n_sequences = N,
                             .overrides = &override,
                             .n_overrides = 1,
                             .memory = memory};
    struct nk_gradient gradient = {.terms = terms, .n_terms = N, .overrides = together};
    assert_int_equal(nk_gradient_run(f.forward, &batch, &gradient), NK_OK);
    memset(sum, 0, sizeof sum);
    for (size_t s = 0; s < N; s++) {
      struct nk_term term = terms[s];
      term.sequence = 0;
      batch.sequences = &sequences[s];
      batch.n_sequences = 1;
      gradient = (struct nk_gradient){.terms = &term, .n_terms = 1, .overrides = alone};
      assert_int_equal(nk_gradient_run(f.forward, &batch, &gradient), NK_OK);
      for (size_t k = 0; k < dim; k++) sum[k] += (double)alone[k];
    }
    double length = length_of(sum, dim);
    assert_true(length > 1e-4);
    for (size_t k = 0; k < dim; k++)
      assert_true(fabs((double)together[k] - sum[k]) <= 1e-5 * length);
  }
  close_fixture(&f);
}

static int count_groups(const char *what, size_t done, size_t total, void *user) {
  size_t *n = user;
  (void)done;
  if (strcmp(what, "gradient") == 0) *n = total;
  return 0;
}

/* Groups of 64 sequences of 2 positions behind a prefix of 64, with or without gradients. */
static size_t groups_of(const struct fixture *f, bool of_prefix, size_t memory) {
  enum { N = 64, PREFIX = 64 };
  static const float zero[MAX_DIM];
  static struct nk_term terms[N];
  static float gradients[MAX_DIM];
  static int64_t ids[PREFIX + 2];
  struct nk_sequence sequences[N];
  size_t n = 0;
  for (size_t i = 0; i < PREFIX + 2; i++) ids[i] = (int64_t)(i % 30);
  for (size_t s = 0; s < N; s++) {
    sequences[s] = (struct nk_sequence){ids + PREFIX, 2};
    terms[s] = (struct nk_term){
        .sequence = s, .position = PREFIX + 1, .kind = NK_TERM_ENTROPY, .weight = 1};
  }
  struct nk_override override = {.sequence = of_prefix ? NK_PREFIX : 0,
                                 .position = of_prefix ? 3 : PREFIX,
                                 .mode = NK_ADD,
                                 .vector = zero};
  struct nk_batch batch = {.prefix = {ids, PREFIX},
                           .sequences = sequences,
                           .n_sequences = N,
                           .overrides = &override,
                           .n_overrides = 1,
                           .memory = memory};
  struct nk_gradient gradient = {.terms = terms, .n_terms = N, .overrides = gradients};
  nk_on_progress(count_groups, &n);
  if (nk_gradient_run(f->forward, &batch, &gradient) != NK_OK) fail_msg("%s", nk_error());
  nk_on_progress(NULL, NULL);
  return n;
}

/* What is kept of the prefix is taken from the memory of the groups. */
static void a_prefix_with_gradients_leaves_less_room(void **state) {
  (void)state;
  struct fixture f;
  size_t memory = 1 << 20;
  open_shipped(&f, "llama-tiny");
  while (groups_of(&f, false, memory) > 3) memory += memory / 4; /* the prefix's and 2 */
  size_t without = groups_of(&f, false, memory), with = groups_of(&f, true, memory);
  if (without != 3 || with < 4) fail_msg("%zu groups without, %zu with", without, with);
  assert_int_equal(groups_of(&f, true, 0), 2);
  close_fixture(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_family_equals_autograd),
      cmocka_unit_test(the_shipped_models_equal_autograd),
      cmocka_unit_test(weights_of_every_family_equal_autograd),
      cmocka_unit_test(weights_of_the_shipped_models_equal_autograd),
      cmocka_unit_test(weights_without_a_gradient_are_refused),
      cmocka_unit_test(gradients_do_not_depend_on_memory_groups_or_threads),
      cmocka_unit_test(a_long_sequence_has_the_gradients_of_one_behind_a_prefix),
      cmocka_unit_test(a_gradient_is_the_forward_passs_central_difference),
      cmocka_unit_test(every_kind_of_term_has_the_gradient_of_its_differences),
      cmocka_unit_test(terms_at_one_position_add_up),
      cmocka_unit_test(a_reference_may_leave_tokens_out),
      cmocka_unit_test(what_no_term_depends_on_has_a_gradient_of_0),
      cmocka_unit_test(a_later_replacement_leaves_nothing_to_an_earlier_vector),
      cmocka_unit_test(a_stream_after_the_blocks_has_the_gradient_of_the_read_out),
      cmocka_unit_test(numbers_beyond_a_float_are_refused),
      cmocka_unit_test(a_prefix_has_the_gradients_of_all_sequences),
      cmocka_unit_test(a_prefix_with_gradients_leaves_less_room),
      cmocka_unit_test(bad_terms_are_refused),
  };
  return cmocka_run_group_tests_name("gradient", tests, NULL, NULL);
}
