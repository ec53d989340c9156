/* Every family's fixture written as GGUF gives its logits again, or is refused with the reason
 * (tests/fixtures/gguf-families.tsv). What llama.cpp makes of the files is tested by
 * cli/llama.bats, where it can be had. */
#include <math.h>

#include "families.h"
#include "model/safetensors.h"
#include "unit.h"

static const char TABLE[] = "tests/fixtures/gguf-families.tsv";
enum { MAX_LINES = 256, MAX_LENGTH = 64, MAX_VOCABULARY = 64 };

struct line {
  char text[512];
  const char *fixture, *change, *kind, *message;
};
static struct line LINES[MAX_LINES];
static size_t N_LINES;

static void read_table(void) {
  FILE *file = fopen(TABLE, "r");
  assert_non_null(file);
  for (N_LINES = 0; fgets(LINES[N_LINES].text, sizeof LINES[0].text, file) != NULL;) {
    struct line *line = &LINES[N_LINES];
    const char **const columns[] = {&line->fixture, &line->change, &line->kind, &line->message};
    char *rest = line->text;
    rest[strcspn(rest, "\n")] = 0;
    if (rest[0] == '#') continue;
    for (size_t i = 0; i < 4; i++) {
      const char *column = strsep(&rest, "\t");
      *columns[i] = column != NULL ? column : "";
    }
    assert_true(++N_LINES < MAX_LINES);
  }
  fclose(file);
}

/* The line's model, as a folder. */
static void copy(const struct line *line, const char *folder, char path[256]) {
  char command[2048];
  snprintf(path, 256, "%s/model", folder);
  snprintf(command, sizeof command, "rm -rf '%s' && cp -r %s/%s '%s'", path, FIXTURES,
           line->fixture, path);
  assert_int_equal(system(command), 0);
  if (strcmp(line->change, "-") == 0) return;
  snprintf(command, sizeof command,
           "cp '%s/config.json' '%s/before' && sed -i '%s' '%s/config.json' && "
           "! cmp -s '%s/config.json' '%s/before'",
           path, path, line->change, path, path, path);
  if (system(command) != 0) fail_msg("%s: '%s' changes nothing", line->fixture, line->change);
}

static int write_gguf(const char *from, enum nk_dtype dtype, const char *to) {
  struct nk_model *model = nk_model_open(from);
  struct nk_output *output = nk_output_open(to, NK_OUTPUT_BINARY);
  if (model == NULL || output == NULL) fail_msg("%s", nk_error());
  const struct nk_model_write_options options = {.format = NK_MODEL_GGUF, .dtype = dtype};
  int code = nk_model_write(model, &options, output);
  if (code == NK_OK) assert_int_equal(nk_output_commit(output), NK_OK);
  nk_output_free(output);
  nk_model_free(model);
  return code;
}

/* The logits at all positions of the fixture's ids; returns their number. */
static size_t run(const struct line *line, const char *path, float *logits) {
  char expected[256];
  snprintf(expected, sizeof expected, "%s/%s/expected.safetensors", FIXTURES, line->fixture);
  struct nki_safetensors *file = nki_safetensors_open(expected);
  const struct nk_tensor *ids = nki_safetensors_find(file, "ids");
  struct nk_model *model = nk_model_open(path);
  struct nk_forward *forward = nk_model_forward(model);
  if (forward == NULL || ids == NULL) fail_msg("%s: %s", line->fixture, nk_error());
  size_t length = ids->shape[0], width = nk_forward_shape(forward)->n_vocabulary;
  struct nk_ask asks[MAX_LENGTH] = {{0}};
  assert_true(length <= MAX_LENGTH && width <= MAX_VOCABULARY);
  for (size_t p = 0; p < length; p++)
    asks[p] = (struct nk_ask){.position = p, .logits = logits + p * width};
  const struct nk_sequence sequence = {ids->data, length};
  const struct nk_batch batch = {
      .sequences = &sequence, .n_sequences = 1, .asks = asks, .n_asks = length};
  if (nk_forward_run(forward, &batch) != NK_OK) fail_msg("%s: %s", line->fixture, nk_error());
  nk_model_free(model);
  nki_safetensors_free(file);
  return length * width;
}

static void check_near(const struct line *line, const char *what, const float *got,
                       const float *want, size_t n, double bound) {
  for (size_t i = 0; i < n; i++)
    if (!(fabs((double)got[i] - (double)want[i]) <= bound))
      fail_msg("%s '%s' as %s: logit %zu is %.6f, the checkpoint's %.6f", line->fixture,
               line->change, what, i, (double)got[i], (double)want[i]);
}

static void a_gguf_gives_the_checkpoints_logits_or_the_reason(void **state) {
  static float want[MAX_LENGTH * MAX_VOCABULARY], got[MAX_LENGTH * MAX_VOCABULARY];
  for (size_t i = 0; i < N_LINES; i++) {
    const struct line *line = &LINES[i];
    char folder[256], file[256];
    copy(line, *state, folder);
    snprintf(file, sizeof file, "%s/model.gguf", (const char *)*state);
    int code = write_gguf(folder, NK_F32, file);
    if (strcmp(line->kind, "refused") == 0) {
      if (code == NK_OK || line->message[0] == 0 || strstr(nk_error(), line->message) == NULL)
        fail_msg("%s '%s': '%s' does not say '%s'", line->fixture, line->change,
                 code == NK_OK ? "" : nk_error(), line->message);
      continue;
    }
    if (code != NK_OK) fail_msg("%s '%s': %s", line->fixture, line->change, nk_error());
    size_t n = run(line, folder, want);
    assert_int_equal(run(line, file, got), n);
    check_near(line, "F32", got, want, n, 1e-5);
  }
}

/* The type of most of the fixtures' weights, F16 or BF16, keeps them. */
static void weights_in_their_own_type_give_the_same_logits(void **state) {
  static float want[MAX_LENGTH * MAX_VOCABULARY], got[MAX_LENGTH * MAX_VOCABULARY];
  size_t n_checked = 0;
  for (size_t i = 0; i < N_LINES; i++) {
    const struct line *line = &LINES[i];
    char folder[256], file[256];
    if (strcmp(line->kind, "refused") == 0) continue;
    copy(line, *state, folder);
    struct nk_model *model = nk_model_open(folder);
    enum nk_dtype dtype = nk_model_matrix(model, NK_MATRIX_INPUT, NULL)->dtype;
    nk_model_free(model);
    if (dtype == NK_F32) continue;
    snprintf(file, sizeof file, "%s/own.gguf", (const char *)*state);
    if (write_gguf(folder, dtype, file) != NK_OK) fail_msg("%s: %s", line->fixture, nk_error());
    size_t n = run(line, folder, want);
    assert_int_equal(run(line, file, got), n);
    check_near(line, nk_dtype_names[dtype], got, want, n, 1e-5);
    n_checked++;
  }
  assert_true(n_checked > N_LINES / 4);
}

/* In Q8_0 each weight is within 1/254 of its block's largest, so that the logits are close: 0.03 of
 * their norm at most, in the fixture with the fewest bits. */
static void weights_in_q8_0_give_logits_close_by(void **state) {
  static float want[MAX_LENGTH * MAX_VOCABULARY], got[MAX_LENGTH * MAX_VOCABULARY];
  for (size_t i = 0; i < N_LINES; i++) {
    const struct line *line = &LINES[i];
    char folder[256], file[256];
    double squares = 0, differences = 0;
    if (strcmp(line->kind, "refused") == 0) continue;
    copy(line, *state, folder);
    snprintf(file, sizeof file, "%s/q8.gguf", (const char *)*state);
    if (write_gguf(folder, NK_Q8_0, file) != NK_OK) fail_msg("%s: %s", line->fixture, nk_error());
    size_t n = run(line, folder, want);
    assert_int_equal(run(line, file, got), n);
    for (size_t k = 0; k < n; k++) {
      squares += (double)want[k] * (double)want[k];
      differences += pow((double)want[k] - (double)got[k], 2);
    }
    if (!(differences < 1e-3 * squares))
      fail_msg("%s: %g of the logits' norm", line->fixture, sqrt(differences / squares));
  }
}

static void every_fixture_has_a_line(void **state) {
  (void)state;
  assert_int_equal(list_fixtures(), 0);
  for (size_t n = 0; n < N_NAMES; n++) {
    bool found = false;
    for (size_t i = 0; i < N_LINES; i++) found = found || strcmp(NAMES[n], LINES[i].fixture) == 0;
    if (!found) fail_msg("%s has no line in %s", NAMES[n], TABLE);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_fixture_has_a_line),
      cmocka_unit_test(a_gguf_gives_the_checkpoints_logits_or_the_reason),
      cmocka_unit_test(weights_in_their_own_type_give_the_same_logits),
      cmocka_unit_test(weights_in_q8_0_give_logits_close_by),
  };
  read_table();
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
