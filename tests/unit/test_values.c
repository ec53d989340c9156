/* Models whose tensors have other values, against models whose files have these values: each
 * element with the other sign, which is one bit of it in the file. */
#include <math.h>
#include <sys/stat.h>

#include "families.h"
#include "model/dtype.h"
#include "model/safetensors.h"
#include "unit.h"

enum { N_IDS = 6, MAX_VALUES = 1 << 14 };

static bool is_float(const struct nk_tensor *tensor) {
  return tensor->dtype <= NK_F64;
}

/* FOLDER/turned: the model of `source` with the sign of each float turned in the file. */
static void make_turned(const char *source, const char *turned) {
  char path[600], command[1300];
  snprintf(command, sizeof command, "rm -rf '%s' && cp -rL '%s' '%s' && chmod -R u+w '%s'", turned,
           source, turned, turned);
  assert_int_equal(system(command), 0);
  snprintf(path, sizeof path, "%s/model.safetensors", turned);
  struct nki_safetensors *file = nki_safetensors_open(path);
  if (file == NULL) fail_msg("%s", nk_error());
  const struct nk_file *mapped = nki_safetensors_file(file);
  unsigned char *bytes = nk_alloc(mapped->size, 1);
  size_t n_bytes = mapped->size;
  memcpy(bytes, mapped->data, n_bytes);
  for (size_t i = 0; i < nki_safetensors_n_tensors(file); i++) {
    const struct nk_tensor *t = nki_safetensors_tensor(file, i);
    size_t at = (size_t)((const unsigned char *)t->data - mapped->data);
    size_t size = is_float(t) ? t->n_bytes / t->n_elements : 1;
    for (size_t k = size; is_float(t) && k <= t->n_bytes; k += size) bytes[at + k - 1] ^= 0x80;
  }
  nki_safetensors_free(file);
  remove(path); /* it may be a link's copy */
  write_bytes(path, bytes, n_bytes);
  nk_free(bytes);
}

/* The other values of a model's floats. */
struct values {
  float *of[MAX_VALUES];
  size_t n;
};

static void turn_all(struct nk_model *model, struct values *values) {
  values->n = nk_model_n_tensors(model);
  assert_true(values->n <= MAX_VALUES);
  for (size_t i = 0; i < values->n; i++) {
    const struct nk_tensor *t = nk_model_tensor(model, i);
    values->of[i] = NULL;
    if (!is_float(t)) continue;
    values->of[i] = nk_alloc(t->n_elements, sizeof(float));
    assert_int_equal(nki_widen(t->dtype, t->data, t->n_elements, values->of[i]), NK_OK);
    for (size_t k = 0; k < t->n_elements; k++) values->of[i][k] = -values->of[i][k];
  }
  for (size_t i = 0; i < values->n; i++)
    if (values->of[i] != NULL &&
        nk_model_use_values(model, nk_model_tensor(model, i)->name, values->of[i]) != NK_OK)
      fail_msg("%s", nk_error());
}

static void free_values(struct values *values) {
  for (size_t i = 0; i < values->n; i++) nk_free(values->of[i]);
}

/* The logits after a few tokens and a slot that has the mean embedding. NULL: the architecture's
 * arithmetic fails with such weights. */
static float *logits_of(struct nk_model *model, size_t *n) {
  struct nk_forward *forward = nk_model_forward(model);
  if (forward == NULL) fail_msg("%s", nk_error());
  static const int64_t ids[N_IDS] = {5, 9, 2, 30, 7, 11};
  *n = nk_forward_shape(forward)->n_vocabulary;
  float *logits = nk_alloc(*n, sizeof *logits);
  const struct nk_sequence sequence = {ids, N_IDS};
  struct nk_ask ask = {.position = N_IDS - 1, .distribution = true, .logits = logits};
  const struct nk_batch batch = {
      .sequences = &sequence, .n_sequences = 1, .asks = &ask, .n_asks = 1};
  if (nk_forward_run(forward, &batch) == NK_OK) return logits;
  nk_free(logits);
  return NULL;
}

static bool same(float *a, float *b, size_t n) {
  bool is_same = (a == NULL) == (b == NULL);
  if (a != NULL && b != NULL) is_same = memcmp(a, b, n * sizeof *a) == 0;
  nk_free(a);
  nk_free(b);
  return is_same;
}

static void compare(const char *source, const char *turned, bool opened) {
  struct values values;
  struct nk_model *model = nk_model_open(source), *other = nk_model_open(turned);
  if (model == NULL || other == NULL) fail_msg("%s: %s", source, nk_error());
  size_t n;
  float *before = opened ? logits_of(model, &n) : NULL;
  turn_all(model, &values);
  if (!same(logits_of(model, &n), logits_of(other, &n), n)) fail_msg("%s: other logits", source);
  for (size_t i = 0; i < values.n && opened; i++) /* and back */
    if (values.of[i] != NULL)
      assert_int_equal(nk_model_use_values(model, nk_model_tensor(model, i)->name, NULL), NK_OK);
  if (opened && !same(before, logits_of(model, &n), n)) fail_msg("%s: not as before", source);
  nk_model_free(model);
  nk_model_free(other);
  free_values(&values);
}

static void other_values_give_what_a_file_with_them_gives(void **state) {
  char source[400], turned[300], path[500];
  snprintf(turned, sizeof turned, "%s/turned", (char *)*state);
  assert_int_equal(list_fixtures(), 0);
  size_t n = 0;
  for (size_t i = 0; i < N_NAMES; i++) {
    struct stat status;
    snprintf(source, sizeof source, "%s/%.63s", FIXTURES, NAMES[i]);
    snprintf(path, sizeof path, "%s/model.safetensors", source);
    if (stat(path, &status) != 0) continue;
    make_turned(source, turned);
    compare(source, turned, n % 2 == 0);
    n++;
  }
  assert_true(n >= 40);
}

static void other_values_are_written_in_the_types_of_the_file(void **state) {
  char turned[300], path[400];
  snprintf(turned, sizeof turned, "%s/turned", (char *)*state);
  snprintf(path, sizeof path, "%s/written.safetensors", (char *)*state);
  make_turned("data/gpt2-tiny", turned);
  struct nk_model *model = nk_model_open("data/gpt2-tiny"), *other = nk_model_open(turned);
  struct values values;
  turn_all(model, &values);
  struct nk_output *output = nk_output_open(path, NK_OUTPUT_BINARY);
  const struct nk_model_write_options options = {.format = NK_MODEL_SAFETENSORS};
  if (nk_model_write(model, &options, output) != NK_OK) fail_msg("%s", nk_error());
  assert_int_equal(nk_output_commit(output), NK_OK);
  nk_output_free(output);
  struct nki_safetensors *file = nki_safetensors_open(path);
  assert_int_equal(nki_safetensors_n_tensors(file), nk_model_n_tensors(other));
  for (size_t i = 0; i < nk_model_n_tensors(other); i++) {
    const struct nk_tensor *a = nk_model_tensor(other, i);
    const struct nk_tensor *b = nki_safetensors_find(file, a->name);
    assert_non_null(b);
    assert_int_equal(a->dtype, b->dtype);
    assert_memory_equal(a->shape, b->shape, sizeof a->shape);
    assert_memory_equal(a->data, b->data, a->n_bytes);
  }
  /* Beyond the range of F16: refused, not an infinity. */
  values.of[0][3] = 70000;
  output = nk_output_open(path, NK_OUTPUT_BINARY);
  assert_int_equal(nk_model_write(model, &options, output), NK_EDATA);
  assert_non_null(strstr(nk_error(), "element 3 is 70000, beyond the range of its type F16"));
  nk_output_free(output);
  nki_safetensors_free(file);
  nk_model_free(model);
  nk_model_free(other);
  free_values(&values);
}

static void a_tied_matrix_that_is_there_twice_has_them_twice(void **state) {
  char folder[300], path[400];
  static const float matrix[] = {1, 2, 3, 4, 5, 6}, others[] = {6, 5, 4, 3, 2, 1};
  snprintf(folder, sizeof folder, "%s/tied", (char *)*state);
  assert_int_equal(mkdir(folder, 0700), 0);
  snprintf(path, sizeof path, "%s/config.json", folder);
  static const char config[] = "{\"model_type\": \"gpt2\", \"tie_word_embeddings\": true}";
  write_bytes(path, config, sizeof config - 1);
  snprintf(path, sizeof path, "%s/model.safetensors", folder);
  struct nk_output *output = nk_output_open(path, NK_OUTPUT_BINARY);
  struct nki_safetensors_writer *writer = nki_safetensors_writer_new(output);
  static const char *const names[] = {"wte.weight", "lm_head.weight", "h.0.a.weight",
                                      "h.1.a.weight"}; /* those of blocks are equal by chance */
  for (size_t i = 0; i < 4; i++)
    assert_int_equal(
        nki_safetensors_writer_add(
            writer,
            &(struct nk_tensor){
                .name = names[i], .dtype = NK_F32, .n_dims = 2, .shape = {3, 2}, .data = matrix}),
        NK_OK);
  assert_int_equal(nki_safetensors_writer_begin(writer), NK_OK);
  assert_int_equal(nki_safetensors_writer_finish(writer), NK_OK);
  assert_int_equal(nk_output_commit(output), NK_OK);
  nk_output_free(output);
  struct nk_model *model = nk_model_open(folder);
  assert_non_null(model);
  assert_int_equal(nk_model_use_values(model, "wte.weight", others), NK_OK);
  bool tied = false;
  const struct nk_tensor *out = nk_model_matrix(model, NK_MATRIX_OUTPUT, &tied);
  assert_true(tied);
  assert_ptr_equal(out->data, others);
  assert_ptr_equal(nk_model_find(model, "lm_head.weight")->data, others);
  assert_memory_equal(nk_model_find(model, "h.0.a.weight")->data, matrix, sizeof matrix);
  assert_int_equal(nk_model_use_values(model, "h.0.a.weight", others), NK_OK);
  assert_memory_equal(nk_model_find(model, "h.1.a.weight")->data, matrix, sizeof matrix);
  assert_int_equal(nk_model_use_values(model, "lm_head.weight", NULL), NK_OK);
  assert_ptr_equal(nk_model_find(model, "h.0.a.weight")->data, others);
  assert_memory_equal(nk_model_find(model, "wte.weight")->data, matrix, sizeof matrix);
  nk_model_free(model);
}

static void what_has_no_other_values_is_refused(void **state) {
  (void)state;
  static const float value[1];
  struct nk_model *model = nk_model_open("data/gpt2-tiny");
  assert_int_equal(nk_model_use_values(model, "no.such", value), NK_ENOTFOUND);
  nk_model_free(model);
  model = nk_model_open("/nonexistent/model");
  assert_int_equal(nk_model_use_values(model, "wte.weight", value), NK_ENOTFOUND);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(other_values_give_what_a_file_with_them_gives),
      cmocka_unit_test(other_values_are_written_in_the_types_of_the_file),
      cmocka_unit_test(a_tied_matrix_that_is_there_twice_has_them_twice),
      cmocka_unit_test(what_has_no_other_values_is_refused),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
