/* What is read and overridden inside the blocks: against PyTorch (tests/fixtures/sites.py) on the
 * shipped models, and by consistency on a model of every family. */
#include <math.h>

#include "families.h"
#include "forward/internal.h"
#include "model/safetensors.h"
#include "unit.h"

enum { MAX_LENGTH = 16, MAX_DIM = 128, MAX_LAYERS = 64, MAX_HEADS = 16, MAX_VOCABULARY = 8192 };
enum { MAX_ROW = 640 }; /* of all layers side by side */
enum { PREFIX = 4 };

struct fixture {
  const char *name;
  struct nk_model *model;
  struct nk_forward *forward;
  const struct nk_forward_shape *shape;
  struct nki_safetensors *expected;
  int64_t ids[MAX_LENGTH];
  size_t length;
};

static const void *data_of(const struct fixture *f, const char *name, size_t *n) {
  const struct nk_tensor *t = nki_safetensors_find(f->expected, name);
  assert_non_null(t);
  if (n != NULL) *n = t->shape[0];
  return t->data;
}

static void open_fixture(struct fixture *f, const char *name, const char *model,
                         const char *expected) {
  *f = (struct fixture){.name = name, .model = nk_model_open(model)};
  f->forward = nk_model_forward(f->model);
  f->expected = nki_safetensors_open(expected);
  if (f->forward == NULL || f->expected == NULL) fail_msg("%s: %s", name, nk_error());
  f->shape = nk_forward_shape(f->forward);
  assert_in_range((f->shape->n_layers + 1) * f->shape->dim, 1, MAX_ROW);
  assert_in_range(f->shape->n_heads, 1, MAX_HEADS);
  const int64_t *ids = data_of(f, "ids", &f->length);
  memcpy(f->ids, ids, f->length * sizeof *ids);
}

static void open_family(struct fixture *f, size_t i) {
  char model[256], expected[512];
  snprintf(model, sizeof model, "%s/%.63s", FIXTURES, NAMES[i]);
  snprintf(expected, sizeof expected, "%s/expected.safetensors", model);
  open_fixture(f, NAMES[i], model, expected);
}

static void close_fixture(struct fixture *f) {
  nki_safetensors_free(f->expected);
  nk_model_free(f->model);
}

/* All that a run computes at the sites and after them. */
struct outputs {
  float attention[MAX_LENGTH][MAX_ROW];
  float mlp[MAX_LENGTH][MAX_ROW];
  float heads[MAX_LENGTH][MAX_HEADS][MAX_ROW];
  float streams[MAX_LENGTH][MAX_ROW];
  float logits[MAX_LENGTH][MAX_VOCABULARY];
};

static size_t sequence_of(size_t n_prefix, size_t position) {
  return position < n_prefix ? NK_PREFIX : 0;
}

static void run(const struct fixture *f, size_t n_prefix, const struct nk_override *overrides,
                size_t n_overrides, struct outputs *out) {
  static struct nk_ask asks[MAX_LENGTH * (3 + MAX_HEADS)];
  size_t layers[MAX_LAYERS + 1], n = 0, n_layers = f->shape->n_layers;
  for (size_t l = 0; l <= n_layers; l++) layers[l] = l;
  for (size_t p = 0; p < f->length; p++) {
    const struct nk_ask ask = {.sequence = sequence_of(n_prefix, p),
                               .position = p,
                               .layers = layers,
                               .n_layers = n_layers};
    asks[n] = ask;
    asks[n].n_layers = n_layers + 1;
    asks[n].residuals = out->streams[p];
    asks[n++].logits = out->logits[p];
    asks[n] = ask;
    asks[n].site = NK_SITE_ATTENTION;
    asks[n++].residuals = out->attention[p];
    asks[n] = ask;
    asks[n].site = NK_SITE_MLP;
    asks[n++].residuals = out->mlp[p];
    for (size_t h = 0; h < f->shape->n_heads; h++) {
      asks[n] = ask;
      asks[n].site = NK_SITE_HEAD;
      asks[n].head = h;
      asks[n++].residuals = out->heads[p][h];
    }
  }
  struct nk_sequence rest = {f->ids + n_prefix, f->length - n_prefix};
  struct nk_batch batch = {.prefix = {f->ids, n_prefix},
                           .sequences = &rest,
                           .n_sequences = 1,
                           .overrides = overrides,
                           .n_overrides = n_overrides,
                           .asks = asks,
                           .n_asks = n};
  if (nk_forward_run(f->forward, &batch) != NK_OK) fail_msg("%s: %s", f->name, nk_error());
}

static void assert_near(const struct fixture *f, const char *what, const float *got,
                        const float *want, size_t n, double tolerance) {
  for (size_t i = 0; i < n; i++)
    if (!(fabs((double)got[i] - (double)want[i]) <= tolerance))
      fail_msg("%s: %s: component %zu is %.7g, expected %.7g", f->name, what, i, (double)got[i],
               (double)want[i]);
}

/* ---- Against PyTorch ---- */

static void open_shipped(struct fixture *f, const char *name) {
  char model[256], expected[256];
  snprintf(model, sizeof model, "data/%s", name);
  snprintf(expected, sizeof expected, "tests/fixtures/sites/%s.safetensors", name);
  open_fixture(f, name, model, expected);
}

static const char *const SHIPPED[] = {"gpt2-tiny", "llama-tiny"};

static void outputs_of_the_shipped_models_are_those_of_pytorch(void **state) {
  (void)state;
  static struct outputs got;
  for (size_t m = 0; m < 2; m++) {
    struct fixture f;
    open_shipped(&f, SHIPPED[m]);
    size_t dim = f.shape->dim, width = f.shape->head_dim, n_heads = f.shape->n_heads;
    const float *attention = data_of(&f, "attention", NULL), *mlp = data_of(&f, "mlp", NULL);
    const float *heads = data_of(&f, "heads", NULL);
    for (size_t n_prefix = 0; n_prefix <= PREFIX; n_prefix += PREFIX) {
      run(&f, n_prefix, NULL, 0, &got);
      for (size_t l = 0; l < f.shape->n_layers; l++)
        for (size_t p = 0; p < f.length; p++) {
          size_t row = l * f.length + p;
          assert_near(&f, "attention", got.attention[p] + l * dim, attention + row * dim, dim,
                      1e-4);
          assert_near(&f, "mlp", got.mlp[p] + l * dim, mlp + row * dim, dim, 1e-4);
          for (size_t h = 0; h < n_heads; h++)
            assert_near(&f, "head", got.heads[p][h] + l * width,
                        heads + (row * n_heads + h) * width, width, 1e-4);
        }
    }
    close_fixture(&f);
  }
}

static void replaced_outputs_give_the_logits_of_pytorch(void **state) {
  (void)state;
  static float logits[MAX_VOCABULARY];
  for (size_t m = 0; m < 2; m++) {
    struct fixture f;
    open_shipped(&f, SHIPPED[m]);
    size_t n_places;
    const int64_t *places = data_of(&f, "places", &n_places);
    const float *vectors = data_of(&f, "vectors", NULL);
    const float *expected = data_of(&f, "overridden", NULL);
    enum { N_LOGITS = 256 };
    for (size_t k = 0; k < n_places; k++)
      for (size_t n_prefix = 0; n_prefix <= PREFIX; n_prefix += PREFIX) {
        const int64_t *place = places + 5 * k;
        const struct nk_override o = {.sequence = sequence_of(n_prefix, (size_t)place[2]),
                                      .position = (size_t)place[2],
                                      .layer = (size_t)place[1],
                                      .mode = place[4] != 0 ? NK_ADD : NK_REPLACE,
                                      .vector = vectors + k * f.shape->dim,
                                      .site = (enum nk_site)place[0],
                                      .head = (size_t)place[3]};
        struct nk_ask ask = {.position = f.length - 1, .logits = logits};
        struct nk_sequence rest = {f.ids + n_prefix, f.length - n_prefix};
        const struct nk_batch batch = {.prefix = {f.ids, n_prefix},
                                       .sequences = &rest,
                                       .n_sequences = 1,
                                       .overrides = &o,
                                       .n_overrides = 1,
                                       .asks = &ask,
                                       .n_asks = 1};
        if (nk_forward_run(f.forward, &batch) != NK_OK) fail_msg("%s", nk_error());
        assert_near(&f, "logits", logits, expected + k * N_LOGITS, N_LOGITS, 1e-4);
      }
    close_fixture(&f);
  }
}

/* ---- Every family ---- */

static void reading_the_outputs_changes_logits_and_streams_by_roundings_alone(void **state) {
  (void)state;
  static struct outputs got;
  for (size_t i = 0; i < N_NAMES; i++) {
    struct fixture f;
    open_family(&f, i);
    size_t dim = f.shape->dim, v = f.shape->n_vocabulary;
    const float *logits = data_of(&f, "logits", NULL), *streams = data_of(&f, "residuals", NULL);
    run(&f, PREFIX, NULL, 0, &got);
    for (size_t p = 0; p < f.length; p++) {
      assert_near(&f, "logits", got.logits[p], logits + p * v, v, 1e-4);
      for (size_t l = 0; l <= f.shape->n_layers; l++)
        assert_near(&f, "stream", got.streams[p] + l * dim, streams + (l * f.length + p) * dim, dim,
                    1e-4);
    }
    close_fixture(&f);
  }
}

/* To the bit; the stream that enters block 0 is not among those that can be read. */
static void the_outputs_add_up_to_the_stream(void **state) {
  (void)state;
  static struct outputs got;
  for (size_t i = 0; i < N_NAMES; i++) {
    struct fixture f;
    open_family(&f, i);
    size_t dim = f.shape->dim;
    run(&f, 0, NULL, 0, &got);
    for (size_t p = 0; p < f.length; p++)
      for (size_t k = dim; k < f.shape->n_layers * dim; k++) {
        float sum = got.streams[p][k] + got.attention[p][k] + got.mlp[p][k];
        if (sum != got.streams[p][dim + k])
          fail_msg("%s: position %zu, component %zu: %.9g and not %.9g", f.name, p, k, (double)sum,
                   (double)got.streams[p][dim + k]);
      }
    close_fixture(&f);
  }
}

enum { MAX_OVERRIDES = MAX_LENGTH * MAX_LAYERS * (2 + MAX_HEADS) };

/* All outputs of a run, as overrides of another one. */
static size_t put_in(const struct fixture *f, size_t n_prefix, const struct outputs *from,
                     bool heads, bool whole, struct nk_override *out) {
  size_t n = 0, dim = f->shape->dim, width = f->shape->head_dim;
  for (size_t p = 0; p < f->length; p++)
    for (size_t l = 0; l < f->shape->n_layers; l++) {
      const struct nk_override o = {
          .sequence = sequence_of(n_prefix, p), .position = p, .layer = l};
      for (size_t h = 0; heads && h < f->shape->n_heads; h++) {
        out[n] = o;
        out[n].site = NK_SITE_HEAD;
        out[n].head = h;
        out[n++].vector = from->heads[p][h] + l * width;
      }
      if (!whole) continue;
      out[n] = o;
      out[n].site = NK_SITE_ATTENTION;
      out[n++].vector = from->attention[p] + l * dim;
      out[n] = o;
      out[n].site = NK_SITE_MLP;
      out[n++].vector = from->mlp[p] + l * dim;
    }
  return n;
}

static void assert_same_end(const struct fixture *f, const struct outputs *got,
                            const struct outputs *want) {
  size_t dim = f->shape->dim, n_layers = f->shape->n_layers;
  for (size_t p = 0; p < f->length; p++) {
    assert_memory_equal(got->streams[p] + dim, want->streams[p] + dim,
                        n_layers * dim * sizeof(float));
    assert_memory_equal(got->logits[p], want->logits[p], f->shape->n_vocabulary * sizeof(float));
  }
}

static void outputs_replaced_by_what_was_read_change_nothing(void **state) {
  (void)state;
  static struct outputs got, again;
  static struct nk_override overrides[MAX_OVERRIDES];
  for (size_t i = 0; i < N_NAMES; i++)
    for (int which = 1; which < 4; which++) {
      struct fixture f;
      open_family(&f, i);
      size_t n_prefix = which == 3 ? PREFIX : 0;
      run(&f, n_prefix, NULL, 0, &got);
      size_t n = put_in(&f, n_prefix, &got, (which & 1) != 0, (which & 2) != 0, overrides);
      run(&f, n_prefix, overrides, n, &again);
      assert_same_end(&f, &again, &got);
      close_fixture(&f);
    }
}

static void the_input_and_all_outputs_of_a_run_put_into_another_give_that_run(void **state) {
  (void)state;
  static struct outputs first, second, mixed;
  static struct nk_override overrides[MAX_OVERRIDES + MAX_LENGTH];
  for (size_t i = 0; i < N_NAMES; i++) {
    struct fixture f;
    open_family(&f, i);
    run(&f, 0, NULL, 0, &first);
    for (size_t p = 0; p < f.length; p++) f.ids[p] = (f.ids[p] + 7) % 40;
    run(&f, 0, NULL, 0, &second);
    assert_memory_not_equal(first.logits[3], second.logits[3], sizeof(float));
    size_t n = put_in(&f, 0, &first, false, true, overrides);
    for (size_t p = 0; p < f.length; p++)
      overrides[n++] = (struct nk_override){.position = p, .vector = first.streams[p]};
    run(&f, 0, overrides, n, &mixed);
    assert_same_end(&f, &mixed, &first);
    close_fixture(&f);
  }
}

/* Attention's output is its bias and a sum over the heads: without one head at a time, the
 * differences add up to what all heads give together. Not where it is normed afterwards. */
static void attention_is_the_sum_of_its_heads(void **state) {
  (void)state;
  static const float zero[MAX_DIM];
  static struct outputs whole, without;
  size_t n_checked = 0;
  for (size_t i = 0; i < N_NAMES; i++) {
    struct fixture f;
    open_family(&f, i);
    size_t dim = f.shape->dim, n_heads = f.shape->n_heads, p = f.length - 1;
    struct nk_override o[MAX_HEADS];
    double sum[MAX_DIM] = {0};
    bool normed = f.forward->blocks[0].part[NKI_NORM1_POST].weight != NULL;
    run(&f, 0, NULL, 0, &whole);
    for (size_t h = 0; h < n_heads && !normed; h++) {
      o[h] = (struct nk_override){.position = p, .vector = zero, .site = NK_SITE_HEAD, .head = h};
      run(&f, 0, &o[h], 1, &without);
      for (size_t k = 0; k < dim; k++)
        sum[k] += (double)whole.attention[p][k] - (double)without.attention[p][k];
    }
    if (!normed) run(&f, 0, o, n_heads, &without);
    for (size_t k = 0; k < dim && !normed; k++) {
      double want = (double)whole.attention[p][k] - (double)without.attention[p][k];
      if (!(fabs(sum[k] - want) <= 1e-5))
        fail_msg("%s: component %zu: %.7g and not %.7g", f.name, k, sum[k], want);
    }
    n_checked += !normed;
    close_fixture(&f);
  }
  assert_true(n_checked > N_NAMES / 2);
}

/* Each output alone: no deeper block is run, and no other row goes on in the last one. */
static void an_output_is_read_where_nothing_else_is(void **state) {
  (void)state;
  static struct outputs whole;
  for (size_t i = 0; i < N_NAMES; i++) {
    struct fixture f;
    open_family(&f, i);
    size_t dim = f.shape->dim, width = f.shape->head_dim, head = f.shape->n_heads - 1, p = 5;
    run(&f, 0, NULL, 0, &whole);
    for (size_t l = 0; l < f.shape->n_layers; l++) {
      float attention[MAX_DIM], mlp[MAX_DIM], one[MAX_DIM], *const out[] = {attention, mlp, one};
      const enum nk_site sites[] = {NK_SITE_ATTENTION, NK_SITE_MLP, NK_SITE_HEAD};
      for (size_t k = 0; k < 3; k++) {
        struct nk_ask ask = {.position = p,
                             .layers = &l,
                             .n_layers = 1,
                             .residuals = out[k],
                             .site = sites[k],
                             .head = head};
        struct nk_sequence sequence = {f.ids, f.length};
        const struct nk_batch batch = {
            .sequences = &sequence, .n_sequences = 1, .asks = &ask, .n_asks = 1};
        if (nk_forward_run(f.forward, &batch) != NK_OK) fail_msg("%s: %s", f.name, nk_error());
      }
      assert_near(&f, "attention", attention, whole.attention[p] + l * dim, dim, 1e-4);
      assert_near(&f, "mlp", mlp, whole.mlp[p] + l * dim, dim, 1e-4);
      assert_near(&f, "head", one, whole.heads[p][head] + l * width, width, 1e-4);
    }
    close_fixture(&f);
  }
}

/* ---- Errors ---- */

static void check_refused(const struct fixture *f, const struct nk_override *o, int code,
                          const char *words) {
  float logits[64];
  struct nk_ask ask = {.position = f->length - 1, .logits = logits};
  struct nk_sequence sequence = {f->ids, f->length};
  const struct nk_batch batch = {.sequences = &sequence,
                                 .n_sequences = 1,
                                 .overrides = o,
                                 .n_overrides = 1,
                                 .asks = &ask,
                                 .n_asks = 1};
  assert_int_equal(nk_forward_run(f->forward, &batch), code);
  if (strstr(nk_error(), words) == NULL) fail_msg("'%s' does not say '%s'", nk_error(), words);
}

static void a_site_that_does_not_exist_is_an_error(void **state) {
  (void)state;
  struct fixture f;
  float vector[MAX_DIM] = {0}, read[MAX_DIM];
  open_family(&f, 0);
  size_t n = f.shape->n_layers;
  struct nk_override o = {.vector = vector, .site = NK_SITE_MLP, .layer = n};
  check_refused(&f, &o, NK_EUSAGE, "override 0: block");
  o = (struct nk_override){.vector = vector, .site = NK_SITE_HEAD, .head = f.shape->n_heads};
  check_refused(&f, &o, NK_EUSAGE, "override 0: head");
  o = (struct nk_override){.vector = vector, .site = (enum nk_site)9};
  check_refused(&f, &o, NK_EUSAGE, "no such site: 9");
  vector[f.shape->head_dim] = NAN; /* behind a head's vector */
  o = (struct nk_override){.vector = vector, .site = NK_SITE_ATTENTION};
  check_refused(&f, &o, NK_EDATA, "not finite");
  size_t layer = n;
  struct nk_sequence sequence = {f.ids, f.length};
  struct nk_ask ask = {.layers = &layer, .n_layers = 1, .residuals = read, .site = NK_SITE_HEAD};
  const struct nk_batch batch = {
      .sequences = &sequence, .n_sequences = 1, .asks = &ask, .n_asks = 1};
  assert_int_equal(nk_forward_run(f.forward, &batch), NK_EUSAGE);
  assert_non_null(strstr(nk_error(), "ask 0: block"));
  close_fixture(&f);
}

static void gradients_are_refused_at_sites(void **state) {
  (void)state;
  struct fixture f;
  float vector[MAX_DIM] = {0};
  open_family(&f, 0);
  const struct nk_override o = {.vector = vector, .site = NK_SITE_MLP};
  struct nk_sequence sequence = {f.ids, f.length};
  const struct nk_batch batch = {
      .sequences = &sequence, .n_sequences = 1, .overrides = &o, .n_overrides = 1};
  struct nk_gradient gradient = {0};
  assert_int_equal(nk_gradient_run(f.forward, &batch, &gradient), NK_EUNSUPPORTED);
  assert_non_null(strstr(nk_error(), "override 0"));
  close_fixture(&f);
}

static int prepare(void **state) {
  (void)state;
  return list_fixtures();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(outputs_of_the_shipped_models_are_those_of_pytorch),
      cmocka_unit_test(replaced_outputs_give_the_logits_of_pytorch),
      cmocka_unit_test(reading_the_outputs_changes_logits_and_streams_by_roundings_alone),
      cmocka_unit_test(the_outputs_add_up_to_the_stream),
      cmocka_unit_test(outputs_replaced_by_what_was_read_change_nothing),
      cmocka_unit_test(the_input_and_all_outputs_of_a_run_put_into_another_give_that_run),
      cmocka_unit_test(attention_is_the_sum_of_its_heads),
      cmocka_unit_test(an_output_is_read_where_nothing_else_is),
      cmocka_unit_test(a_site_that_does_not_exist_is_an_error),
      cmocka_unit_test(gradients_are_refused_at_sites),
  };
  return cmocka_run_group_tests(tests, prepare, NULL);
}
