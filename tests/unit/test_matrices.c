/* The input and output matrix of the model classes of Hugging Face Transformers, by the names of
 * their tensors. */
#include "model/safetensors.h"
#include "unit.h"

#include "matrices.h"

static char folder[512];

static void add_text(const char *file, const char *text) {
  char path[1024];
  snprintf(path, sizeof path, "%s/%s", folder, file);
  write_bytes(path, text, strlen(text));
}

/* model.safetensors of F32 tensors NAME=ROWSxCOLUMNS or NAME=LENGTH, separated by spaces. No two
 * have the same values. */
static void add_tensors(const char *list) {
  static float values[8192];
  char path[1024], *copy = strdup(list), *rest = copy;
  for (size_t i = 0; i < sizeof values / sizeof *values; i++) values[i] = (float)i;
  snprintf(path, sizeof path, "%s/model.safetensors", folder);
  struct nk_output *output = nk_output_open(path, NK_OUTPUT_BINARY);
  struct nki_safetensors_writer *writer = nki_safetensors_writer_new(output);
  size_t k = 0;
  for (char *name; (name = strtok_r(rest, " ", &rest)) != NULL; k++) {
    char *equal = strchr(name, '='), *end;
    struct nk_tensor tensor = {.name = name, .dtype = NK_F32, .n_dims = 1, .data = values + k};
    *equal = 0;
    tensor.shape[0] = strtoul(equal + 1, &end, 10);
    if (*end == 'x') {
      tensor.n_dims = 2;
      tensor.shape[1] = strtoul(end + 1, NULL, 10);
      assert_true(k + tensor.shape[0] * tensor.shape[1] < sizeof values / sizeof *values);
    }
    assert_int_equal(nki_safetensors_writer_add(writer, &tensor), NK_OK);
  }
  assert_int_equal(nki_safetensors_writer_begin(writer), NK_OK);
  assert_int_equal(nki_safetensors_writer_finish(writer), NK_OK);
  assert_int_equal(nk_output_commit(output), NK_OK);
  nk_output_free(output);
  free(copy);
}

/* Whether both are found; prints what is found instead. */
static bool is_right(const char *config, const char *input, const char *output) {
  struct nk_model *model = nk_model_open(folder);
  if (model == NULL) fail_msg("%s: %s", config, nk_error());
  bool tied = false;
  const struct nk_tensor *in = nk_model_matrix(model, NK_MATRIX_INPUT, &tied);
  const struct nk_tensor *out = nk_model_matrix(model, NK_MATRIX_OUTPUT, NULL);
  bool right = in != NULL && out != NULL && strcmp(in->name, input) == 0 &&
               strcmp(out->name, output) == 0 && tied == (in == out);
  if (!right)
    print_error("%s: input %s, output %s, tied %d%s%s\n", config, in != NULL ? in->name : "none",
                out != NULL ? out->name : "none", tied, in == NULL || out == NULL ? ": " : "",
                in == NULL || out == NULL ? nk_error() : "");
  nk_model_free(model);
  return right;
}

/* The configuration, and the same without what it says of tied matrices. */
static void the_matrices_of_every_class_are_found(void **state) {
  size_t n_wrong = 0;
  for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
    snprintf(folder, sizeof folder, "%s", (char *)*state);
    add_tensors(classes[i].tensors);
    char *copy = strdup(classes[i].configs), *rest = copy;
    for (char *config; (config = strtok_r(rest, "\n", &rest)) != NULL;) {
      add_text("config.json", config);
      n_wrong += !is_right(config, classes[i].input, classes[i].output);
      for (char *tie; (tie = strstr(config, "tie_word")) != NULL;) memcpy(tie, "not_", 4);
      add_text("config.json", config);
      n_wrong += !is_right(config, classes[i].input, classes[i].output);
    }
    free(copy);
  }
  assert_int_equal(n_wrong, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_matrices_of_every_class_are_found),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
