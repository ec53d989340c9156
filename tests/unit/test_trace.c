/* Activation patching: against PyTorch (tests/fixtures/trace.py), at its two ends, and in a model
 * in which one head alone carries what an item does. */
#include <math.h>

#include "model/safetensors.h"
#include "unit.h"

enum { MAX_DIM = 128, N_ORDINARY = 2 };
static const char PROMPT[] = "The{} of the";
static const int64_t ORDINARY[N_ORDINARY] = {600, 3000};
static const char *const NAMES[] = {"gpt2-tiny", "llama-tiny"};

static struct nk_model *open_model(const char *name) {
  char path[256];
  snprintf(path, sizeof path, "data/%s", name);
  struct nk_model *model = nk_model_open(path);
  if (model == NULL) fail_msg("%s", nk_error());
  return model;
}

static struct nk_probe *open_probe(struct nk_model *model, const char *prompt, size_t layer) {
  const struct nk_probe_options options = {
      .layer = layer, .reference_ids = ORDINARY, .n_reference_ids = N_ORDINARY};
  struct nk_probe *probe = nk_probe_new(model, prompt, &options);
  if (probe == NULL) fail_msg("%s", nk_error());
  return probe;
}

static struct nk_trace *trace(const struct nk_probe *probe, const float *vectors, size_t n,
                              bool heads) {
  const struct nk_vectors set = {.values = (float *)vectors, .n = n, .dim = MAX_DIM};
  const struct nk_items items = {.vectors = &set};
  struct nk_trace *t = nk_probe_trace(probe, &items, &(struct nk_trace_options){.heads = heads});
  if (t == NULL) fail_msg("%s", nk_error());
  return t;
}

static void assert_close(double got, double want, double tolerance) {
  if (!(fabs(got - want) <= tolerance)) fail_msg("%.9g, expected %.9g", got, want);
}

/* The number of a site. */
static size_t find(const struct nk_trace *t, enum nk_site site, size_t layer, size_t head,
                   size_t position) {
  for (size_t s = 0; s < t->n_sites; s++)
    if (t->sites[s].site == site && t->sites[s].layer == layer && t->sites[s].head == head &&
        t->sites[s].position == position)
      return s;
  fail_msg("no site %d of layer %zu, head %zu at %zu", (int)site, layer, head, position);
  return 0;
}

/* ---- Against PyTorch ---- */

static void check_case(struct nk_model *model, const struct nki_safetensors *expected, size_t k) {
  static const size_t layers[] = {0, 2};
  size_t layer = layers[k], slot = 1;
  const float *vectors = nki_safetensors_find(expected, "vectors")->data;
  const double *effect = nki_safetensors_find(expected, "effect")->data;
  const struct nk_tensor *parts = nki_safetensors_find(expected, k == 0 ? "case0" : "case1");
  const double *want = parts->data;
  struct nk_probe *probe = open_probe(model, PROMPT, layer);
  struct nk_trace *t = trace(probe, vectors + k * MAX_DIM, 1, true);
  size_t n_blocks = parts->shape[0], n_kinds = parts->shape[1], n = parts->shape[2];
  assert_int_equal(t->n_sites, n_blocks * n_kinds * n + 1);
  assert_close(t->effect[0], effect[k], 1e-5 * effect[k]);
  for (size_t b = 0; b < n_blocks; b++)
    for (size_t kind = 0; kind < n_kinds; kind++)
      for (size_t p = 0; p < n; p++, want += 2) {
        enum nk_site site = kind == 0 ? NK_SITE_ATTENTION : kind == 1 ? NK_SITE_MLP : NK_SITE_HEAD;
        size_t s = find(t, site, layer + b, kind < 2 ? 0 : kind - 2, slot + p);
        assert_close(t->undone[s], want[0], 2e-5);
        assert_close(t->caused[s], want[1], 2e-5);
      }
  nk_trace_free(t);
  nk_probe_free(probe);
}

static void parts_are_those_of_pytorch(void **state) {
  (void)state;
  for (size_t m = 0; m < 2; m++) {
    char path[256];
    struct nk_model *model = open_model(NAMES[m]);
    int64_t *ids;
    size_t n;
    snprintf(path, sizeof path, "tests/fixtures/trace/%s.safetensors", NAMES[m]);
    struct nki_safetensors *expected = nki_safetensors_open(path);
    assert_non_null(expected);
    assert_int_equal(
        nk_prompt_encode(nk_model_tokenizer(model), PROMPT, strlen(PROMPT), true, &ids, &n), NK_OK);
    const struct nk_tensor *tokens = nki_safetensors_find(expected, "ids");
    assert_int_equal(n, tokens->shape[0]);
    assert_memory_equal(ids, tokens->data, n * sizeof *ids);
    for (size_t k = 0; k < 2; k++) check_case(model, expected, k);
    nk_free(ids);
    nki_safetensors_free(expected);
    nk_model_free(model);
  }
}

/* ---- Its two ends ---- */

/* Two slots: replacing the item in both is the ordinary run, in one it is not. */
static void the_item_itself_is_the_whole_effect(void **state) {
  (void)state;
  float vectors[2 * MAX_DIM];
  for (size_t i = 0; i < 2 * MAX_DIM; i++) vectors[i] = sinf((float)(3 * i)) / 4;
  for (size_t m = 0; m < 2; m++) {
    struct nk_model *model = open_model(NAMES[m]);
    for (size_t layer = 0; layer <= 4; layer += 2) {
      struct nk_probe *probe = open_probe(model, "{}", layer);
      struct nk_trace *t = trace(probe, vectors, 2, false);
      assert_int_equal(t->sites[0].site, NK_SITE_STREAM);
      assert_int_equal(t->n_sites, 1 + 2 * (4 - layer));
      for (size_t i = 0; i < 2; i++) {
        assert_true(t->effect[i] > 0.01);
        assert_close(t->undone[i * t->n_sites], 1, 1e-9);
        assert_close(t->caused[i * t->n_sites], 1, 1e-4);
      }
      nk_trace_free(t);
      nk_probe_free(probe);
    }
    struct nk_probe *probe = open_probe(model, "{}, {},", 0);
    struct nk_trace *t = trace(probe, vectors, 1, false);
    assert_int_equal(t->sites[1].site, NK_SITE_STREAM);
    assert_int_equal(t->sites[1].position, 3);
    assert_true(t->undone[0] < 0.999 && t->undone[1] < 0.999);
    nk_trace_free(t);
    nk_probe_free(probe);
    nk_model_free(model);
  }
}

/* An ordinary token as an item has no effect of which there could be parts. */
static void nothing_has_no_parts(void **state) {
  (void)state;
  struct nk_model *model = open_model(NAMES[0]);
  const struct nk_probe_options options = {.reference_ids = ORDINARY, .n_reference_ids = 1};
  struct nk_probe *probe = nk_probe_new(model, PROMPT, &options);
  const int64_t tokens[] = {600, 601};
  const struct nk_items items = {.tokens = tokens, .n_tokens = 2};
  struct nk_trace *t = nk_probe_trace(probe, &items, NULL);
  assert_non_null(t);
  assert_close(t->effect[0], 0, 1e-10);
  assert_true(t->effect[1] > 0.1);
  for (size_t s = 0; s < t->n_sites; s++) {
    assert_true(isnan(t->undone[s]) && isnan(t->caused[s]));
    assert_true(isfinite(t->undone[t->n_sites + s]));
  }
  assert_int_equal(t->n_runs, 1 + 2 * (1 + 2 * t->n_sites));
  nk_trace_free(t);
  nk_probe_free(probe);
  nk_model_free(model);
}

static void a_token_is_traced_as_its_embedding(void **state) {
  (void)state;
  struct nk_model *model = open_model(NAMES[1]);
  struct nk_probe *probe = open_probe(model, PROMPT, 0);
  const int64_t token = 700;
  float vector[MAX_DIM];
  assert_int_equal(nk_forward_embedding(nk_model_forward(model), token, vector), NK_OK);
  struct nk_trace *a = nk_probe_trace(probe, &(struct nk_items){.tokens = &token, .n_tokens = 1},
                                      &(struct nk_trace_options){0});
  struct nk_trace *b = trace(probe, vector, 1, false);
  assert_non_null(a);
  assert_memory_equal(a->undone, b->undone, a->n_sites * sizeof *a->undone);
  assert_memory_equal(a->caused, b->caused, a->n_sites * sizeof *a->caused);
  nk_trace_free(a);
  nk_trace_free(b);
  nk_probe_free(probe);
  probe = open_probe(model, PROMPT, 1);
  assert_null(nk_probe_trace(probe, &(struct nk_items){.tokens = &token, .n_tokens = 1}, NULL));
  assert_int_equal(nk_error_code(), NK_EUSAGE);
  nk_probe_free(probe);
  nk_model_free(model);
}

/* ---- A circuit known by construction ---- */

enum { BLOCK = 2, HEAD = 1 };

/* A patch of all rows of a matrix: zeros but for columns [first, end). */
static struct nk_patch clear(const struct nk_model *model, const char *part, size_t layer,
                             size_t first, size_t end) {
  char name[128];
  snprintf(name, sizeof name, "model.layers.%zu.%s.weight", layer, part);
  struct nk_patch patch = {.tensor = nk_model_find(model, name)};
  assert_non_null(patch.tensor);
  size_t dim = patch.tensor->shape[1];
  patch.n = patch.tensor->shape[0];
  patch.rows = calloc(patch.n, sizeof *patch.rows);
  patch.values = calloc(patch.n * dim, sizeof *patch.values);
  assert_int_equal(nk_model_rows(patch.tensor, 0, patch.n, patch.values), NK_OK);
  for (size_t r = 0; r < patch.n; r++) {
    patch.rows[r] = (int64_t)r;
    for (size_t k = 0; k < dim; k++)
      if (k < first || k >= end) patch.values[r * dim + k] = 0;
  }
  return patch;
}

/* llama-tiny without mlps, and with one head. */
static struct nk_model *make_circuit(const char *folder) {
  enum { N_LAYERS = 4, WIDTH = 32 };
  char command[512], path[256];
  struct nk_patch patches[2 * N_LAYERS];
  struct nk_model *model = open_model("llama-tiny");
  snprintf(command, sizeof command, "cp data/llama-tiny/*.json %s", folder);
  assert_int_equal(system(command), 0);
  for (size_t l = 0; l < N_LAYERS; l++) {
    size_t first = l == BLOCK ? HEAD * WIDTH : 0;
    patches[2 * l] = clear(model, "mlp.down_proj", l, 0, 0);
    patches[2 * l + 1] = clear(model, "self_attn.o_proj", l, first, l == BLOCK ? first + WIDTH : 0);
  }
  snprintf(path, sizeof path, "%s/model.safetensors", folder);
  struct nk_output *output = nk_output_open(path, NK_OUTPUT_BINARY);
  const struct nk_model_write_options options = {
      .format = NK_MODEL_SAFETENSORS, .patches = patches, .n_patches = 2 * N_LAYERS};
  if (nk_model_write(model, &options, output) != NK_OK) fail_msg("%s", nk_error());
  assert_int_equal(nk_output_commit(output), NK_OK);
  nk_output_free(output);
  for (size_t i = 0; i < 2 * N_LAYERS; i++) {
    free(patches[i].rows);
    free(patches[i].values);
  }
  nk_model_free(model);
  return nk_model_open(folder);
}

/* What the slot has reaches the end through that head alone: patching it undoes and causes all,
 * patching anything else nothing. */
static void the_only_head_that_moves_the_item_is_found(void **state) {
  const char *folder = *state;
  float vector[MAX_DIM];
  struct nk_model *model = make_circuit(folder);
  struct nk_probe *probe = open_probe(model, PROMPT, 0);
  for (size_t i = 0; i < MAX_DIM; i++) vector[i] = cosf((float)(5 * i));
  struct nk_trace *t = trace(probe, vector, 1, true);
  assert_true(t->effect[0] > 1e-4);
  for (size_t s = 0; s < t->n_sites; s++) {
    const struct nk_trace_site *site = &t->sites[s];
    bool end = site->position == 3, block = site->layer == BLOCK;
    bool carries = site->site == NK_SITE_STREAM ||
                   (site->site == NK_SITE_ATTENTION && block && end) ||
                   (site->site == NK_SITE_HEAD && block && site->head == HEAD && end);
    assert_close(t->undone[s], carries ? 1 : 0, 1e-3);
    assert_close(t->caused[s], carries ? 1 : 0, 1e-3);
  }
  nk_trace_free(t);
  nk_probe_free(probe);
  nk_model_free(model);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(parts_are_those_of_pytorch),
      cmocka_unit_test(the_item_itself_is_the_whole_effect),
      cmocka_unit_test(nothing_has_no_parts),
      cmocka_unit_test(a_token_is_traced_as_its_embedding),
      cmocka_unit_test(the_only_head_that_moves_the_item_is_found),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
