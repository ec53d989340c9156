/* The table of architectures: its rows are complete, each that runs has a fixture, and nk-extract
 * and the forward pass read the same matrices of every fixture. */
#include <math.h>

#include "families.h"
#include "forward/internal.h"
#include "model/dtype.h"
#include "model/model_config.h"
#include "model/safetensors.h"
#include "unit.h"

/* ---- The rows ---- */

static void rows_that_run_name_all_that_a_block_needs(void **state) {
  (void)state;
  for (size_t i = 0; i < nki_n_architectures; i++) {
    const struct nki_architecture *a = &nki_architectures[i];
    assert_ptr_equal(nki_architecture_find(a->type), a); /* no type is in two rows */
    assert_true(a->prefix != NULL && a->embedding != NULL && a->head != NULL);
    if (a->block == NULL) continue;
    const char *const *names = a->names;
    bool qkv = names[NKI_QKV] != NULL ||
               (names[NKI_Q] != NULL && names[NKI_K] != NULL && names[NKI_V] != NULL);
    bool mlp = names[NKI_DOWN] != NULL && (names[NKI_GATE_UP] != NULL || names[NKI_UP] != NULL);
    bool experts = names[NKI_ROUTER] != NULL && names[NKI_EXPERTS_DOWN] != NULL &&
                   (names[NKI_EXPERTS_GATE_UP] != NULL || names[NKI_EXPERTS_UP] != NULL);
    bool weightless = a->norm == NKI_LAYER_NORM && a->final_norm == NULL; /* OLMo */
    bool outputs = a->no_input_norms && names[NKI_NORM1_POST] != NULL &&
                   names[NKI_NORM2_POST] != NULL && a->final_norm != NULL;
    bool inputs = names[NKI_NORM1] != NULL && a->final_norm != NULL &&
                  (names[NKI_NORM2] != NULL || a->order != NKI_SERIAL);
    bool norms = weightless || outputs || inputs;
    if (!qkv || !(mlp || experts) || !norms || names[NKI_O] == NULL)
      fail_msg("%s: a part is missing", a->type);
    if (strstr(a->block, "%zu") == NULL || !(a->norm_eps > 0) || a->activation == NULL)
      fail_msg("%s: a default is missing", a->type);
    bool placed = a->positions != NULL || a->alibi != NKI_NO_ALIBI;
    assert_true(a->rotary == NKI_NO_ROTARY ? placed : a->rotary_part > 0);
  }
}

static void parts_are_named_by_prefix_block_and_part(void **state) {
  (void)state;
  char name[NKI_MAX_NAME];
  const struct nki_architecture *llama = nki_architecture_find("llama");
  assert_int_equal(nki_part_name(llama, "model.", 31, NKI_UP, "weight", name), NK_OK);
  assert_string_equal(name, "model.layers.31.mlp.up_proj.weight");
  const struct nki_architecture *gpt2 = nki_architecture_find("gpt2");
  assert_int_equal(nki_part_name(gpt2, "", 0, NKI_QKV, "bias", name), NK_OK);
  assert_string_equal(name, "h.0.attn.c_attn.bias");
  char longest[NKI_MAX_NAME];
  memset(longest, 'x', sizeof longest);
  longest[sizeof longest - 1] = 0;
  assert_int_equal(nki_part_name(gpt2, longest, 0, NKI_QKV, "bias", name), NK_EDATA);
}

/* ---- Fixtures ---- */

struct fixture {
  char name[64];
  struct nk_model *model;
  struct nk_forward *forward;
  struct nki_safetensors *expected;
};

static void close_fixture(struct fixture *f) {
  nki_safetensors_free(f->expected);
  nk_model_free(f->model);
}

/* The folder's model, and what expected.safetensors of the fixture `name` holds of it. */
static void open_folder(struct fixture *f, const char *folder, const char *name) {
  char path[512];
  snprintf(f->name, sizeof f->name, "%s", name);
  f->model = nk_model_open(folder);
  f->forward = nk_model_forward(f->model);
  if (f->forward == NULL) fail_msg("%s: %s", folder, nk_error());
  snprintf(path, sizeof path, "%s/%s/expected.safetensors", FIXTURES, name);
  f->expected = nki_safetensors_open(path);
  if (f->expected == NULL) fail_msg("%s", nk_error());
}

/* Calls check for every folder of the fixtures; returns their number. */
static size_t for_each_fixture(void (*check)(struct fixture *f, const char *folder),
                               const char *folder) {
  assert_int_equal(list_fixtures(), 0);
  for (size_t i = 0; i < N_NAMES; i++) {
    struct fixture f;
    char path[512];
    snprintf(path, sizeof path, "%s/%.63s", FIXTURES, NAMES[i]);
    open_folder(&f, path, NAMES[i]);
    check(&f, folder);
    close_fixture(&f);
  }
  return N_NAMES;
}

/* ---- The same matrices ---- */

/* The matrix as nk-extract writes it. */
static struct nk_vectors *extract(const struct fixture *f, enum nk_matrix which,
                                  const char *folder) {
  char path[512];
  snprintf(path, sizeof path, "%s/extracted.safetensors", folder);
  const struct nk_tensor *tensor = nk_model_matrix(f->model, which, NULL);
  if (tensor == NULL) fail_msg("%s: %s", f->name, nk_error());
  struct nk_vectors *set = nk_extract_begin(f->model, tensor, "test", NULL, 0);
  struct nk_output *output = nk_output_open(path, NK_OUTPUT_BINARY);
  assert_true(set != NULL && output != NULL);
  assert_int_equal(nk_vectors_write(set, output), NK_OK);
  assert_int_equal(nk_output_commit(output), NK_OK);
  nk_output_free(output);
  nk_vectors_free(set);
  set = nk_vectors_read(path);
  if (set == NULL) fail_msg("%s: %s", f->name, nk_error());
  return set;
}

static const float *expected_floats(const struct fixture *f, const char *name, size_t *n_rows) {
  const struct nk_tensor *tensor = nki_safetensors_find(f->expected, name);
  assert_true(tensor != NULL && tensor->dtype == NK_F32 && tensor->n_dims >= 2);
  *n_rows = tensor->shape[tensor->n_dims - 2];
  return tensor->data;
}

/* Rows of the extracted input matrix: what the forward pass starts from, and, for the ids of the
 * fixture, the reference's stream at layer 0. */
static void check_input(const struct fixture *f, const char *folder) {
  struct nk_vectors *set = extract(f, NK_MATRIX_INPUT, folder);
  float *row = nk_alloc(set->dim, sizeof *row);
  for (size_t id = 0; id < set->n; id++) {
    assert_int_equal(nk_forward_embedding(f->forward, (int64_t)id, row), NK_OK);
    assert_memory_equal(row, set->values + id * set->dim, set->dim * sizeof *row);
  }
  size_t n;
  const float *streams = expected_floats(f, "residuals", &n);
  const int64_t *ids = nki_safetensors_find(f->expected, "ids")->data;
  for (size_t t = 0; t < n; t++) {
    const float *extracted = set->values + (size_t)ids[t] * set->dim;
    assert_memory_equal(streams + t * set->dim, extracted, set->dim * sizeof *row);
  }
  nk_free(row);
  nk_vectors_free(set);
}

/* y = the final norm of x, by its definition. */
static void final_norm(const struct nk_forward *forward, const float *x, double *y) {
  const struct nki_config *config = &forward->config;
  size_t dim = config->shape.dim;
  double mean = 0, square = 0;
  float weight[64], bias[64];
  const struct nki_weight *norm = &forward->final_norm;
  const float *w = NULL, *b = NULL;
  if (norm->weight != NULL) w = nki_tensor_floats(norm->weight, 0, dim, weight);
  if (norm->bias != NULL) b = nki_tensor_floats(norm->bias, 0, dim, bias);
  for (size_t i = 0; i < dim && !config->rms; i++) mean += (double)x[i] / (double)dim;
  for (size_t i = 0; i < dim; i++) square += pow((double)x[i] - mean, 2) / (double)dim;
  for (size_t i = 0; i < dim; i++) {
    double scale = w == NULL ? 1 : (double)w[i] + (config->norm_plus_one ? 1 : 0);
    y[i] = ((double)x[i] - mean) / sqrt(square + (double)config->norm_eps) * scale;
    if (b != NULL) y[i] += (double)b[i];
  }
}

/* The logit of token `id` by the extracted row, from the normed stream. */
static double logit_of(const struct nk_forward *forward, const struct nk_vectors *set, size_t id,
                       const double *y) {
  double logit = 0, cap = (double)forward->config.logit_cap;
  for (size_t i = 0; i < set->dim; i++) logit += (double)set->values[id * set->dim + i] * y[i];
  logit *= (double)forward->config.logit_scale;
  if (forward->unembedding_bias != NULL)
    logit +=
        nki_element_number(forward->unembedding_bias->dtype, forward->unembedding_bias->data, id);
  return cap > 0 ? cap * tanh(logit / cap) : logit;
}

/* The extracted output matrix: the forward pass's, and the one that makes the reference's logits of
 * its last stream. scale: of the logits, for variants of a fixture. */
static void check_output(const struct fixture *f, const char *folder, double scale) {
  struct nk_vectors *set = extract(f, NK_MATRIX_OUTPUT, folder);
  const struct nk_tensor *own = f->forward->unembedding;
  float *rows = nk_alloc(own->n_elements, sizeof *rows);
  assert_int_equal(own->n_elements, set->n * set->dim);
  assert_int_equal(nk_model_rows(own, 0, set->n, rows), NK_OK);
  assert_memory_equal(rows, set->values, own->n_elements * sizeof *rows);
  size_t n, n_layers = f->forward->config.shape.n_layers;
  const float *streams = expected_floats(f, "residuals", &n);
  const float *logits = expected_floats(f, "logits", &n);
  for (size_t t = 0; t < n; t++) {
    double y[64];
    final_norm(f->forward, streams + (n_layers * n + t) * set->dim, y);
    for (size_t id = 0; id < set->n; id++) {
      double got = logit_of(f->forward, set, id, y);
      double wanted = scale * (double)logits[t * set->n + id];
      if (!(fabs(got - wanted) < 1e-4))
        fail_msg("%s: logit of %zu at %zu is %g by the extracted row, the reference's %g", f->name,
                 id, t, got, wanted);
    }
  }
  nk_free(rows);
  nk_vectors_free(set);
}

static void check_positions(const struct fixture *f, const char *folder) {
  const struct nk_tensor *own = f->forward->positions;
  if (own == NULL) return;
  struct nk_vectors *set = extract(f, NK_MATRIX_POSITION, folder);
  float *rows = nk_alloc(own->n_elements, sizeof *rows);
  assert_int_equal(own->n_elements, set->n * set->dim);
  assert_int_equal(nk_model_rows(own, 0, own->shape[0], rows), NK_OK);
  assert_memory_equal(rows, set->values, own->n_elements * sizeof *rows);
  nk_free(rows);
  nk_vectors_free(set);
}

static void check_matrices(struct fixture *f, const char *folder) {
  check_input(f, folder);
  check_output(f, folder, 1);
  check_positions(f, folder);
}

static void extract_and_the_forward_pass_read_the_same_matrices(void **state) {
  assert_true(for_each_fixture(check_matrices, *state) >= 45);
}

static bool has_fixture[64];

static void note_type(struct fixture *f, const char *folder) {
  (void)folder;
  for (size_t i = 0; i < nki_n_architectures; i++)
    if (strcmp(nki_architectures[i].type, nki_model_type(f->model)) == 0) has_fixture[i] = true;
}

static void every_architecture_that_runs_has_a_fixture(void **state) {
  assert_true(nki_n_architectures <= sizeof has_fixture);
  for_each_fixture(note_type, *state);
  for (size_t i = 0; i < nki_n_architectures; i++)
    if (nki_architectures[i].block != NULL && !has_fixture[i])
      fail_msg("%s has no fixture", nki_architectures[i].type);
}

/* ---- What a model is ---- */

static void check_facts(struct fixture *f, const char *folder) {
  const struct nk_forward_shape *shape = nk_forward_shape(f->forward);
  struct nk_model_facts facts;
  enum nk_engine engine = NK_ENGINE_AUTO;
  (void)folder;
  assert_int_equal(nk_model_describe(f->model, &facts), NK_OK);
  if (strcmp(facts.type, shape->architecture) != 0 || facts.n_layers != shape->n_layers ||
      facts.dim != shape->dim || facts.n_heads != shape->n_heads ||
      facts.n_kv_heads != shape->n_kv_heads ||
      (facts.n_positions != shape->n_positions && strcmp(f->name, "phi3-longrope") != 0))
    fail_msg("%s: another shape than that of the forward pass", f->name);
  assert_int_equal(nk_model_check_ability(f->model, NK_ABILITY_RUN, &engine), NK_OK);
  assert_int_equal(engine, NK_ENGINE_NATIVE);
}

static void the_description_has_the_shape_of_the_forward_pass(void **state) {
  struct nk_model_facts facts;
  assert_true(for_each_fixture(check_facts, *state) >= 45);
  nk_fail(NK_ENOTFOUND, "a call before");
  assert_int_equal(nk_model_describe(NULL, &facts), NK_ENOTFOUND);
  assert_int_equal(nk_model_check_ability(NULL, NK_ABILITY_RUN, NULL), NK_ENOTFOUND);
}

/* ---- Tied, untied, nested ---- */

/* How a copy of a fixture differs from it. */
struct variant {
  const char *fixture, *config; /* what follows the opening brace of its config.json */
  const char *prefix;           /* before every tensor's name */
  const char *head;             /* the name of an added output matrix, or NULL */
  const char *renamed, *name;   /* a tensor (NULL: none) and its new name */
};

static void copy_tensor(struct nki_safetensors_writer *writer, const struct nk_tensor *source,
                        const char *name, const void *data) {
  struct nk_tensor tensor = *source;
  tensor.name = name;
  tensor.data = data;
  assert_int_equal(nki_safetensors_writer_add(writer, &tensor), NK_OK);
}

/* The fixture's tensors under their new names, and an output matrix of twice the input matrix. */
static void write_weights(const struct variant *v, const struct nk_model *model, const char *path) {
  struct nk_output *output = nk_output_open(path, NK_OUTPUT_BINARY);
  struct nki_safetensors_writer *writer = nki_safetensors_writer_new(output);
  const struct nk_tensor *input = nk_model_matrix(model, NK_MATRIX_INPUT, NULL);
  float *twice = nk_alloc(input->n_elements, sizeof *twice);
  assert_int_equal(input->dtype, NK_F32);
  for (size_t i = 0; i < input->n_elements; i++)
    twice[i] = (float)(2 * nki_element_number(NK_F32, input->data, i));
  for (size_t i = 0; i < nk_model_n_tensors(model); i++) {
    const struct nk_tensor *tensor = nk_model_tensor(model, i);
    bool renamed = v->renamed != NULL && strcmp(v->renamed, tensor->name) == 0;
    char name[256];
    snprintf(name, sizeof name, "%s%s", v->prefix, renamed ? v->name : tensor->name);
    copy_tensor(writer, tensor, name, tensor->data);
  }
  if (v->head != NULL) copy_tensor(writer, input, v->head, twice);
  assert_int_equal(nki_safetensors_writer_begin(writer), NK_OK);
  assert_int_equal(nki_safetensors_writer_finish(writer), NK_OK);
  assert_int_equal(nk_output_commit(output), NK_OK);
  nk_output_free(output);
  nk_free(twice);
}

static void write_config(const struct variant *v, const char *path) {
  char source[512], text[4096];
  snprintf(source, sizeof source, "%s/%s/config.json", FIXTURES, v->fixture);
  struct nk_file *file = nk_file_open(source);
  assert_true(file != NULL && file->data[0] == '{');
  int n = snprintf(text, sizeof text, "{%s%.*s", v->config, (int)file->size - 1,
                   (const char *)file->data + 1);
  write_bytes(path, text, (size_t)n);
  nk_file_free(file);
}

static void tied_untied_and_nested_models_are_read_alike(void **state) {
  static const struct variant variants[] = {
      {"gpt2", "\"tie_word_embeddings\": false,", "", "lm_head.weight", NULL, NULL},
      {"gpt2", "\"tie_word_embeddings\": false,", "transformer.", "lm_head.weight", NULL, NULL},
      {"gpt2", "", "transformer.", NULL, NULL, NULL},
      {"gpt2", "\"tie_word_embeddings\": true,", "", "lm_head.weight", NULL, NULL},
      {"gemma2", "", "language_model.", NULL, NULL, NULL},
      {"gemma2", "", "a.wrapper.of.its.own.", NULL, NULL, NULL},
      {"gemma2", "", "a.wrapper.", NULL, "model.embed_tokens.weight", "lm_head.weight"},
      /* of two tied tensors the file holds the output */
      {"gemma2", "", "", NULL, "model.embed_tokens.weight", "lm_head.weight"},
  };
  for (size_t i = 0; i < sizeof variants / sizeof variants[0]; i++) {
    const struct variant *v = &variants[i];
    char path[512], folder[256];
    snprintf(folder, sizeof folder, "%.200s/variant-%zu", (char *)*state, i);
    snprintf(path, sizeof path, "mkdir -p %s", folder);
    assert_int_equal(system(path), 0);
    snprintf(path, sizeof path, "%s/%s", FIXTURES, v->fixture);
    struct nk_model *model = nk_model_open(path);
    assert_non_null(model);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    write_weights(v, model, path);
    nk_model_free(model);
    snprintf(path, sizeof path, "%s/config.json", folder);
    write_config(v, path);
    struct fixture f;
    open_folder(&f, folder, v->fixture);
    bool untied = strstr(v->config, "false") != NULL, tied;
    assert_non_null(nk_model_matrix(f.model, NK_MATRIX_OUTPUT, &tied));
    assert_int_equal(tied, !untied);
    check_input(&f, folder);
    check_output(&f, folder, untied ? 2 : 1);
    close_fixture(&f);
  }
}

/* ---- Sizes that the weights do not have ---- */

static void sizes_beyond_the_weights_are_refused_before_they_are_allocated(void **state) {
  static const struct {
    const char *config, *message;
  } cases[] = {
      {"\"text_config\": {\"num_hidden_layers\": 65536},",
       "65536 blocks, but the model has 30 tensors"},
      {"\"text_config\": {\"head_dim\": 16777216},",
       "heads of 16777216 components, but the largest tensor has 640"},
      {"\"text_config\": {\"num_hidden_layers\": 65537},",
       "num_hidden_layers is 65537, outside 1 to 65536"},
      {"\"text_config\": {\"hidden_size\": 0},", "hidden_size is 0, outside 1 to"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct variant v = {.fixture = "llama", .config = cases[i].config, .prefix = ""};
    char path[1024], folder[256];
    snprintf(folder, sizeof folder, "%.200s/size-%zu", (char *)*state, i);
    snprintf(path, sizeof path, "mkdir -p %s && cp %s/llama/model.safetensors %s", folder, FIXTURES,
             folder);
    assert_int_equal(system(path), 0);
    snprintf(path, sizeof path, "%s/config.json", folder);
    write_config(&v, path);
    struct nk_model *model = nk_model_open(folder);
    assert_non_null(model);
    assert_null(nk_model_forward(model));
    if (strstr(nk_error(), cases[i].message) == NULL) fail_msg("case %zu: %s", i, nk_error());
    nk_model_free(model);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(rows_that_run_name_all_that_a_block_needs),
      cmocka_unit_test(parts_are_named_by_prefix_block_and_part),
      cmocka_unit_test(extract_and_the_forward_pass_read_the_same_matrices),
      cmocka_unit_test(every_architecture_that_runs_has_a_fixture),
      cmocka_unit_test(the_description_has_the_shape_of_the_forward_pass),
      cmocka_unit_test(tied_untied_and_nested_models_are_read_alike),
      cmocka_unit_test(sizes_beyond_the_weights_are_refused_before_they_are_allocated),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
