/* Products of bfloat16 against PyTorch's (tests/fixtures/bf16.py): single ones, and those of every
 * family. Skipped where the module of oneDNN is not built, or the processor lacks the instructions.
 */
#include <math.h>
#include <unistd.h>

#include "families.h"
#include "forward/bf16.h"
#include "model/safetensors.h"
#include "unit.h"

enum { MAX_LENGTH = 64, MAX_WEIGHT = 1 << 14 };

static const struct nk_engine_options BF16 = {.precision = NK_PRECISION_BF16};
static struct nki_safetensors *expected;

static struct nk_model *open_bf16(const char *path) {
  struct nk_model *model = nk_model_open(path);
  if (model == NULL || nk_model_use_engine(model, &BF16) != NK_OK) fail_msg("%s", nk_error());
  return model;
}

static struct nk_forward *forward_of(struct nk_model *model) {
  struct nk_forward *forward = nk_model_forward(model);
  if (forward == NULL) fail_msg("%s", nk_error());
  return forward;
}

/* A test's set-up: its reason is printed where the products cannot be had. */
static bool can_run(void) {
  struct nk_model *model = open_bf16("data/llama-tiny");
  bool can = nk_model_forward(model) != NULL;
  if (!can && nk_error_code() != NK_EUNSUPPORTED) fail_msg("%s", nk_error());
  if (!can) print_message("%s\n", nk_error());
  nk_model_free(model);
  return can;
}

static const struct nk_tensor *find(const char *name) {
  const struct nk_tensor *tensor = nki_safetensors_find(expected, name);
  if (tensor == NULL) fail_msg("no tensor %s", name);
  return tensor;
}

/* ---- Single products ---- */

/* y [n, ld_y] (+)= x w^T with ld_x from row to row of x. */
static void multiply(const struct nk_tensor *w, size_t first, size_t n_out, bool add,
                     const float *x, size_t n, size_t ld_x, float *y, size_t ld_y) {
  static float scratch[MAX_WEIGHT];
  struct nk_model *model = open_bf16("data/llama-tiny");
  struct nki_bf16_run *run = nki_bf16_run_new(forward_of(model)->bf16);
  assert_non_null(run);
  const struct nki_product product = {.packed = nki_bf16_load_rows(run, w, first, n_out, scratch),
                                      .add = add,
                                      .n_out = n_out,
                                      .n_in = w->shape[1],
                                      .x = x,
                                      .ld_x = ld_x,
                                      .y = y,
                                      .ld_y = ld_y};
  nki_multiply(&product, n);
  if (nki_bf16_code(run) != NK_OK) fail_msg("%s", nk_error());
  nki_bf16_run_free(run);
  nk_model_free(model);
}

/* A product with the identity shows how x was rounded. Denormal numbers may count as 0. */
static void rows_are_rounded_to_nearest_ties_to_even(void **state) {
  (void)state;
  static float identity[100 * 100], y[7 * 100], x[7 * 100];
  if (!can_run()) skip();
  const struct nk_tensor w = {
      .name = "", .dtype = NK_F32, .n_dims = 2, .shape = {100, 100}, .data = identity};
  const uint16_t *rounded = find("rounded")->data;
  memcpy(x, find("x")->data, sizeof x);
  for (size_t i = 0; i < 100; i++) identity[101 * i] = 1;
  multiply(&w, 0, 100, false, x, 7, 100, y, 100);
  for (size_t i = 0; i < 700; i++) {
    uint32_t bits = (uint32_t)rounded[i] << 16;
    float want;
    memcpy(&want, &bits, sizeof want);
    if (fabsf(want) < 1.1754944e-38f) want = 0;
    if (y[i] != want) fail_msg("%zu: %.9g of %.9g, not %.9g", i, y[i], x[i], want);
  }
  x[0] = NAN;
  memcpy(&x[100], &(uint32_t){0x7fffffff}, sizeof x[0]);
  x[200] = 3.4e38f;
  multiply(&w, 0, 100, false, x, 3, 100, y, 100);
  assert_true(isnan(y[0]) && isnan(y[100]));
  assert_true(isinf(y[200]));
}

/* Rows of w from `first` on; a result beside others, added to what is there. */
static void products_equal_those_of_pytorch(void **state) {
  (void)state;
  const struct nk_tensor *w = find("w");
  const float *x = find("x")->data, *weights = w->data;
  const double *want = find("y")->data;
  if (!can_run()) skip();
  for (size_t first = 0; first < 75; first += 38)
    for (int add = 0; add < 2; add++) {
      size_t n_out = 75 - first < 38 ? 75 - first : 38;
      float y[7 * 50], wide[7 * 110];
      for (size_t i = 0; i < 350; i++) y[i] = 3;
      for (size_t r = 0; r < 7; r++) memcpy(wide + r * 110, x + r * 100, 100 * sizeof *x);
      multiply(w, first, n_out, add, wide, 7, 110, y, 50);
      for (size_t r = 0; r < 7; r++)
        for (size_t o = 0; o < 50; o++) {
          double sum = 0, value = o < n_out ? want[r * 75 + first + o] + (add ? 3 : 0) : 3;
          for (size_t k = 0; k < 100 && o < n_out; k++)
            sum += fabs((double)x[r * 100 + k] * (double)weights[(first + o) * 100 + k]);
          if (!(fabs((double)y[r * 50 + o] - value) <= 1e-6 * sum))
            fail_msg("[%zu, %zu] is %.9g, not %.9g", r, first + o, (double)y[r * 50 + o], value);
        }
    }
}

/* ---- Models ---- */

/* logits [length, n_vocabulary] at all positions of the last of `copies` sequences. */
static void run_logits(struct nk_model *model, const int64_t *ids, size_t length, size_t copies,
                       float *logits) {
  struct nk_forward *forward = forward_of(model);
  size_t n = nk_forward_shape(forward)->n_vocabulary;
  struct nk_sequence sequences[16];
  struct nk_ask asks[MAX_LENGTH + 16] = {{0}};
  for (size_t i = 0; i < copies; i++) {
    sequences[i] = (struct nk_sequence){ids, length};
    asks[length + i] = (struct nk_ask){.sequence = i, .position = length - 1, .distribution = true};
  }
  for (size_t p = 0; p < length; p++)
    asks[p] = (struct nk_ask){.sequence = copies - 1, .position = p, .logits = logits + p * n};
  const struct nk_batch batch = {
      .sequences = sequences, .n_sequences = copies, .asks = asks, .n_asks = length + copies};
  if (nk_forward_run(forward, &batch) != NK_OK) fail_msg("%s", nk_error());
}

/* Root mean square of the difference of logits from PyTorch's, over that of PyTorch's from products
 * of floats. A matrix that is not rounded gives 0.1 or more. So does a single activation whose sums
 * differ in the last bit where bfloat16 rounds up or down: PyTorch's sums are floats or doubles,
 * and the nearer ones count. both: theirs, n_all apart. */
static double distance(const float *logits, const float *both, size_t n, size_t n_all,
                       size_t stride) {
  const float *doubles = both + n_all, *exact = doubles + n_all;
  double by_floats = 0, by_doubles = 0, from_exact = 0;
  for (size_t i = 0; i < n; i++) {
    double logit = (double)logits[i * stride];
    by_floats += pow(logit - (double)both[i], 2);
    by_doubles += pow(logit - (double)doubles[i], 2);
    from_exact += pow((double)exact[i] - (double)both[i], 2);
  }
  return sqrt(fmin(by_floats, by_doubles) / from_exact);
}

/* That of a family's fixture, 0 where PyTorch has none (gpt_oss-mxfp4). */
static double distance_of(const char *name) {
  static float logits[MAX_LENGTH * 64];
  char path[256];
  if (nki_safetensors_find(expected, name) == NULL) return 0;
  snprintf(path, sizeof path, "%s/%.63s/expected.safetensors", FIXTURES, name);
  struct nki_safetensors *ids = nki_safetensors_open(path);
  assert_non_null(ids);
  const struct nk_tensor *tensor = nki_safetensors_find(ids, "ids");
  snprintf(path, sizeof path, "%s/%.63s", FIXTURES, name);
  struct nk_model *model = open_bf16(path);
  run_logits(model, tensor->data, tensor->shape[0], 1, logits);
  const float *both = find(name)->data;
  size_t n = find(name)->n_elements / 3;
  double far = distance(logits, both, n, n, 1);
  nk_model_free(model);
  nki_safetensors_free(ids);
  return far;
}

/* One family in ten may meet an activation that is rounded the other way. */
static void every_family_equals_pytorch(void **state) {
  (void)state;
  if (!can_run()) skip();
  size_t n_far = 0;
  for (size_t i = 0; i < N_NAMES; i++) {
    double far = distance_of(NAMES[i]);
    if (far <= 1e-3) continue;
    print_message("%s: %.3g of the distance from F32\n", NAMES[i], far);
    n_far++;
  }
  assert_true(n_far <= N_NAMES / 10);
}

enum { N_SEQUENCES = 25, N_VOCABULARY = 8192, STRIDE = 64 };

static int compare_doubles(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* The sequences of bf16.py; most of them meet no such activation. */
static void check_shipped(const char *path, const char *name) {
  static float logits[3 * N_VOCABULARY];
  double far[N_SEQUENCES];
  const size_t n = N_VOCABULARY / STRIDE;
  const float *both = find(name)->data;
  struct nk_model *model = open_bf16(path);
  for (size_t i = 0; i < N_SEQUENCES; i++) {
    int64_t ids[3];
    for (size_t k = 0; k < 3; k++) ids[k] = (int64_t)(260 + (997 * i + 331 * k) % 7900);
    run_logits(model, ids, 3, 1, logits);
    far[i] = distance(logits + 2 * N_VOCABULARY, both + i * n, n, N_SEQUENCES * n, STRIDE);
  }
  qsort(far, N_SEQUENCES, sizeof far[0], compare_doubles);
  if (!(far[N_SEQUENCES / 2] <= 1e-3))
    fail_msg("%s: median %.3g, largest %.3g", name, far[N_SEQUENCES / 2], far[N_SEQUENCES - 1]);
  nk_model_free(model);
}

static void shipped_models_equal_pytorch(void **state) {
  (void)state;
  if (!can_run()) skip();
  check_shipped("data/gpt2-tiny", "gpt2-tiny");
  check_shipped("data/llama-tiny", "llama-tiny");
}

static const int64_t IDS[] = {300, 1000, 17, 4242, 8100, 555, 2025, 77, 6001, 12};
enum { N_IDS = sizeof IDS / sizeof IDS[0] };

/* A row's products do not depend on the rows beside it. */
static void the_number_of_sequences_changes_nothing(void **state) {
  (void)state;
  static float alone[N_IDS * N_VOCABULARY], among[N_IDS * N_VOCABULARY];
  if (!can_run()) skip();
  struct nk_model *model = open_bf16("data/gpt2-tiny");
  run_logits(model, IDS, N_IDS, 1, alone);
  run_logits(model, IDS, N_IDS, 13, among);
  assert_memory_equal(alone, among, sizeof alone);
  nk_model_free(model);
}

static void gradients_are_refused(void **state) {
  (void)state;
  if (!can_run()) skip();
  struct nk_model *model = open_bf16("data/llama-tiny");
  const struct nk_sequence sequence = {IDS, N_IDS};
  const struct nk_batch batch = {.sequences = &sequence, .n_sequences = 1};
  float x[128];
  struct nk_gradient gradient = {.overrides = x};
  assert_int_equal(nk_gradient_run(forward_of(model), &batch, &gradient), NK_EUNSUPPORTED);
  assert_non_null(strstr(nk_error(), "products of bfloat16 have no gradients"));
  assert_int_equal(nk_model_check_ability(model, NK_ABILITY_WEIGHT_GRADIENTS, NULL),
                   NK_EUNSUPPORTED);
  assert_int_equal(nk_model_check_ability(model, NK_ABILITY_RUN, NULL), NK_OK);
  nk_model_free(model);
}

/* build/bin/test_bf16 finds the module in build/lib/noken. */
static int open_fixtures(void **state) {
  char path[4096], folder[4200];
  (void)state;
  ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
  if (n <= 0) return -1;
  path[n] = 0;
  *strrchr(path, '/') = 0;
  snprintf(folder, sizeof folder, "%s/../lib/noken", path);
  setenv("NOKEN_ENGINES", folder, 0);
  expected = nki_safetensors_open("tests/fixtures/bf16.safetensors");
  return expected == NULL ? -1 : list_fixtures();
}

static int close_fixtures(void **state) {
  (void)state;
  nki_safetensors_free(expected);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(rows_are_rounded_to_nearest_ties_to_even),
      cmocka_unit_test(products_equal_those_of_pytorch),
      cmocka_unit_test(every_family_equals_pytorch),
      cmocka_unit_test(shipped_models_equal_pytorch),
      cmocka_unit_test(the_number_of_sequences_changes_nothing),
      cmocka_unit_test(gradients_are_refused),
  };
  return cmocka_run_group_tests(tests, open_fixtures, close_fixtures);
}
