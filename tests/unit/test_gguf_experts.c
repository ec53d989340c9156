/* A GGUF with a mixture of experts, or with windows: which family it is, the shapes that llama.cpp
 * has for the same part, and what hostile files say. */
#include "make_gguf.h"
#include "model/model.h"
#include "model/model_config.h"

enum { DIM = 32, HEADS = 2, ROWS = 8, EXPERTS = 3, WIDTH = 32 };

/* A model of one block. */
struct moe {
  const char *architecture;
  uint64_t n_experts, n_active; /* by the metadata */
  size_t stacked;               /* experts in the tensors */
  bool fused;                   /* gate and up */
  bool flat;                    /* the shared expert's scale is a vector */
};
static const struct moe SOUND = {"qwen2moe", EXPERTS, 2, EXPERTS, false, false};

static void put(struct gguf *g, const struct moe *moe, const char *name, uint64_t value) {
  char key[128];
  snprintf(key, sizeof key, "%s.%s", moe->architecture, name);
  put_u32(g, key, value);
}

static void put_metadata(struct gguf *g, const struct moe *moe) {
  char eps[128];
  put_string(g, "general.architecture", moe->architecture);
  put(g, moe, "block_count", 1);
  put(g, moe, "context_length", 100);
  put(g, moe, "embedding_length", DIM);
  put(g, moe, "feed_forward_length", WIDTH);
  put(g, moe, "attention.head_count", HEADS);
  put(g, moe, "expert_count", moe->n_experts);
  put(g, moe, "expert_used_count", moe->n_active);
  put(g, moe, "expert_feed_forward_length", WIDTH);
  put(g, moe, "expert_shared_feed_forward_length", WIDTH);
  snprintf(eps, sizeof eps, "%s.attention.layer_norm_rms_epsilon", moe->architecture);
  put_f32(g, eps, 1e-6f);
}

/* Values of a tensor by its name and place, so that a tensor's do not depend on the others'. */
static float value_of(const char *name, size_t i) {
  size_t hash = 7;
  for (const char *c = name; *c != 0; c++) hash = hash * 31 + (unsigned char)*c;
  return (float)((hash + i * 7919) % 101) / 200 - 0.25f;
}

static void put_values(struct gguf *g, const char *name, const size_t *shape, size_t n_dims) {
  static float values[8 * DIM * DIM];
  size_t n = 1;
  for (size_t d = 0; d < n_dims; d++) n *= shape[d];
  assert_true(n <= sizeof values / sizeof *values);
  for (size_t i = 0; i < n; i++) values[i] = value_of(name, i);
  put_shape(g, name, shape, n_dims, 0, values, n * sizeof *values);
}

/* Gate above up in each expert: what the two tensors of put_experts have. */
static void put_fused(struct gguf *g, size_t n_experts) {
  static float values[EXPERTS * 2 * WIDTH * DIM];
  const size_t shape[3] = {n_experts, (size_t)2 * WIDTH, DIM}, half = (size_t)WIDTH * DIM;
  assert_true(n_experts <= EXPERTS);
  for (size_t e = 0; e < n_experts; e++)
    for (size_t i = 0; i < half; i++) {
      values[2 * e * half + i] = value_of("blk.0.ffn_gate_exps.weight", e * half + i);
      values[(2 * e + 1) * half + i] = value_of("blk.0.ffn_up_exps.weight", e * half + i);
    }
  put_shape(g, "blk.0.ffn_gate_up_exps.weight", shape, 3, 0, values, n_experts * 2 * half * 4);
}

static void put_experts(struct gguf *g, const struct moe *moe) {
  const size_t router[2] = {EXPERTS, DIM}, in[3] = {moe->stacked, WIDTH, DIM};
  const size_t out[3] = {moe->stacked, DIM, WIDTH};
  put_values(g, "blk.0.ffn_gate_inp.weight", router, 2);
  if (moe->fused) put_fused(g, moe->stacked);
  if (!moe->fused) put_values(g, "blk.0.ffn_gate_exps.weight", in, 3);
  if (!moe->fused) put_values(g, "blk.0.ffn_up_exps.weight", in, 3);
  put_values(g, "blk.0.ffn_down_exps.weight", out, 3);
}

static void put_weights(struct gguf *g, const struct moe *moe) {
  static const char *const square[] = {"attn_q", "attn_k", "attn_v", "attn_output"};
  static const char *const norms[] = {"output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"};
  static const char *const shared[] = {"gate", "up", "down"};
  const size_t matrix[2] = {DIM, DIM}, rows[2] = {ROWS, DIM}, scale[2] = {1, DIM};
  char name[64];
  put_values(g, "token_embd.weight", rows, 2);
  for (int i = 0; i < 3; i++) {
    snprintf(name, sizeof name, "%s.weight", norms[i]);
    put_values(g, name, matrix, 1);
  }
  for (int i = 0; i < 4; i++) {
    snprintf(name, sizeof name, "blk.0.%s.weight", square[i]);
    put_values(g, name, matrix, 2);
  }
  put_experts(g, moe);
  if (strcmp(moe->architecture, "qwen2moe") != 0) return;
  for (int i = 0; i < 3; i++) {
    snprintf(name, sizeof name, "blk.0.attn_%c.bias", "qkv"[i]);
    put_values(g, name, matrix, 1);
    snprintf(name, sizeof name, "blk.0.ffn_%s_shexp.weight", shared[i]);
    put_values(g, name, matrix, 2);
  }
  put_values(g, "blk.0.ffn_gate_inp_shexp.weight", moe->flat ? scale + 1 : scale,
             moe->flat ? 1 : 2);
}

static struct nk_model *make(void **state, const struct moe *moe) {
  struct gguf g = {0};
  put_metadata(&g, moe);
  put_weights(&g, moe);
  save(&g, in(state, "m.gguf"));
  struct nk_model *model = nk_model_open(in(state, "m.gguf"));
  if (model == NULL) fail_msg("%s", nk_error());
  return model;
}

static void run(void **state, const struct moe *moe, float logits[ROWS]) {
  static const int64_t ids[] = {1, 2, 3, 4};
  struct nk_model *model = make(state, moe);
  struct nk_forward *forward = nk_model_forward(model);
  if (forward == NULL) fail_msg("%s", nk_error());
  const struct nk_sequence sequence = {ids, 4};
  struct nk_ask ask = {.position = 3, .logits = logits};
  const struct nk_batch batch = {
      .sequences = &sequence, .n_sequences = 1, .asks = &ask, .n_asks = 1};
  if (nk_forward_run(forward, &batch) != NK_OK) fail_msg("%s", nk_error());
  nk_model_free(model);
}

static void parts_that_files_have_in_two_shapes_give_the_same(void **state) {
  float logits[4][ROWS];
  struct moe fused = SOUND, flat = SOUND, other = SOUND;
  fused.fused = flat.flat = true;
  other.n_active = 1;
  run(state, &SOUND, logits[0]);
  run(state, &fused, logits[1]);
  run(state, &flat, logits[2]);
  run(state, &other, logits[3]);
  assert_memory_equal(logits[0], logits[1], sizeof logits[0]);
  assert_memory_equal(logits[0], logits[2], sizeof logits[0]);
  assert_memory_not_equal(logits[0], logits[3], sizeof logits[0]);
}

static void a_llama_with_experts_is_a_mixtral(void **state) {
  struct moe moe = SOUND;
  moe.architecture = "llama";
  struct nk_model *model = make(state, &moe);
  assert_string_equal(nki_model_type(model), "mixtral");
  if (nk_model_forward(model) == NULL) fail_msg("%s", nk_error());
  nk_model_free(model);
}

/* What the forward pass of a file says. */
static void refuse(void **state, struct moe moe, const char *message) {
  struct nk_model *model = make(state, &moe);
  if (nk_model_forward(model) != NULL) fail_msg("taken, though '%s'", message);
  if (strstr(nk_error(), message) == NULL) fail_msg("'%s' does not say '%s'", nk_error(), message);
  nk_model_free(model);
}

static void numbers_of_experts_that_the_tensors_do_not_have_are_refused(void **state) {
  struct moe moe = SOUND;
  moe.n_experts = 1000000000;
  refuse(state, moe, "expert_count is 1000000000, outside 1 to 65536");
  moe.n_experts = 65536;
  refuse(state, moe, "'blk.0.ffn_gate_inp.weight' is not [65536, 32]");
  moe.n_experts = 0;
  refuse(state, moe, "expert_count is 0, outside 1 to 65536");
  moe = SOUND;
  moe.n_active = 4;
  refuse(state, moe, "expert_used_count is 4, more than the 3 experts");
  moe.n_active = 0;
  refuse(state, moe, "expert_used_count is 0, outside 1 to 65536");
  moe.n_active = UINT32_MAX;
  refuse(state, moe, "expert_used_count is 4294967295, outside 1 to 65536");
  for (moe = SOUND, moe.stacked = 2; moe.stacked <= 4; moe.stacked += 2) {
    refuse(state, moe, "tensor 'blk.0.ffn_gate_exps.weight' is not [3, 32, 32]");
  }
}

static void experts_of_a_family_that_has_none_are_refused_by_name(void **state) {
  struct moe moe = SOUND;
  moe.architecture = "granite";
  refuse(state, moe, "architecture 'granite with experts' is not implemented");
  moe.architecture = "granitemoe";
  refuse(state, moe, "architecture 'granitemoe' is not implemented");
}

/* A file of `architecture` with windows, and a list of n truths. */
static struct nk_model *make_windowed(void **state, const char *architecture, size_t n) {
  struct gguf g = {0};
  struct moe moe = SOUND;
  char name[128];
  moe.architecture = architecture;
  moe.n_experts = 0;
  put_metadata(&g, &moe);
  put(&g, &moe, "attention.sliding_window", 4);
  snprintf(name, sizeof name, "%s.attention.sliding_window_pattern", architecture);
  if (n > 0) {
    key(&g, name, ARRAY);
    number(&g.values, BOOL, 4);
    number(&g.values, n, 8);
    for (size_t i = 0; i < n; i++) number(&g.values, i % 2, 1);
  }
  put_weights(&g, &moe);
  save(&g, in(state, "w.gguf"));
  return nk_model_open(in(state, "w.gguf"));
}

static void windows_are_those_of_the_list_or_of_a_family_that_has_some(void **state) {
  const char *kind = "";
  struct nk_model *model = make_windowed(state, "llama", 1);
  if (model == NULL) fail_msg("%s", nk_error());
  assert_string_equal(nki_model_type(model), "mistral");
  assert_int_equal(nki_model_config_string_at(model, "layer_types", 0, &kind), NK_OK);
  assert_string_equal(kind, "full_attention");
  nk_model_free(model);
  assert_null(make_windowed(state, "llama", 2));
  assert_non_null(strstr(nk_error(), "sliding_window_pattern' has 2 values for 1 blocks"));
  model = make_windowed(state, "olmo2", 0);
  if (model == NULL) fail_msg("%s", nk_error());
  assert_null(nk_model_forward(model));
  assert_non_null(
      strstr(nk_error(), "architecture 'olmo2 with a sliding window' is not implemented"));
  nk_model_free(model);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(parts_that_files_have_in_two_shapes_give_the_same),
      cmocka_unit_test(a_llama_with_experts_is_a_mixtral),
      cmocka_unit_test(numbers_of_experts_that_the_tensors_do_not_have_are_refused),
      cmocka_unit_test(experts_of_a_family_that_has_none_are_refused_by_name),
      cmocka_unit_test(windows_are_those_of_the_list_or_of_a_family_that_has_some),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
