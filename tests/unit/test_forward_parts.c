/* Parts of the forward pass by themselves, where the models of test_forward are too small or too
 * regular to show a fault. */
#include "forward/batch.h"
#include "unit.h"

/* A tensor of a file of zeros. */
struct zeros {
  const char *name, *dtype;
  size_t shape[4]; /* 0: no further dimension */
};

/* folder/model.safetensors */
static void write_zeros(const char *folder, const struct zeros *tensors, size_t n) {
  static char header[1 << 14];
  static const char zeros[1 << 14];
  size_t length = 0, bytes = 0;
  for (size_t i = 0; i < n; i++) {
    const struct zeros *t = &tensors[i];
    size_t size = strcmp(t->dtype, "U8") == 0 ? 1 : 2;
    length += (size_t)snprintf(header + length, sizeof header - length,
                               "%c\"%s\":{\"dtype\":\"%s\",\"shape\":[", i == 0 ? '{' : ',',
                               t->name, t->dtype);
    for (size_t d = 0; d < 4 && t->shape[d] != 0; size *= t->shape[d++])
      length += (size_t)snprintf(header + length, sizeof header - length, d == 0 ? "%zu" : ",%zu",
                                 t->shape[d]);
    length += (size_t)snprintf(header + length, sizeof header - length,
                               "],\"data_offsets\":[%zu,%zu]}", bytes, bytes + size);
    bytes += size;
  }
  header[length++] = '}';
  while (length % 8 != 0) header[length++] = ' ';
  assert_in_range(bytes, 1, sizeof zeros);
  char path[256];
  uint64_t n_header = length;
  snprintf(path, sizeof path, "%s/model.safetensors", folder);
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(&n_header, sizeof n_header, 1, file), 1);
  assert_int_equal(fwrite(header, 1, length, file), length);
  assert_int_equal(fwrite(zeros, 1, bytes, file), bytes);
  assert_int_equal(fclose(file), 0);
}

static void write_config(const char *folder, const char *config) {
  char path[256];
  snprintf(path, sizeof path, "%s/config.json", folder);
  write_bytes(path, config, strlen(config));
}

/* More biases of q, k, v (768) than a block of rows of the weight (64) and all parts after it. */
static void a_widened_block_stays_within_its_scratch(void **state) {
  enum { GUARD = 1024 };
  static const struct zeros tensors[] = {
      {"transformer.word_embeddings.weight", "F16", {4, 1}},
      {"transformer.word_embeddings_layernorm.weight", "F16", {1}},
      {"transformer.word_embeddings_layernorm.bias", "F16", {1}},
      {"transformer.h.0.input_layernorm.weight", "F16", {1}},
      {"transformer.h.0.input_layernorm.bias", "F16", {1}},
      {"transformer.h.0.self_attention.query_key_value.weight", "F16", {768, 1}},
      {"transformer.h.0.self_attention.query_key_value.bias", "F16", {768}},
      {"transformer.h.0.self_attention.dense.weight", "F16", {1, 256}},
      {"transformer.h.0.self_attention.dense.bias", "F16", {1}},
      {"transformer.h.0.post_attention_layernorm.weight", "F16", {1}},
      {"transformer.h.0.post_attention_layernorm.bias", "F16", {1}},
      {"transformer.h.0.mlp.dense_h_to_4h.weight", "F16", {4, 1}},
      {"transformer.h.0.mlp.dense_h_to_4h.bias", "F16", {4}},
      {"transformer.h.0.mlp.dense_4h_to_h.weight", "F16", {1, 4}},
      {"transformer.h.0.mlp.dense_4h_to_h.bias", "F16", {1}},
      {"transformer.ln_f.weight", "F16", {1}},
      {"transformer.ln_f.bias", "F16", {1}},
  };
  const char *folder = *state;
  write_config(folder,
               "{\"model_type\":\"bloom\",\"vocab_size\":4,\"hidden_size\":1,"
               "\"n_layer\":1,\"n_head\":2,\"head_dim\":128,\"seq_length\":64}");
  write_zeros(folder, tensors, sizeof tensors / sizeof tensors[0]);
  struct nk_model *model = nk_model_open(folder);
  const struct nk_forward *forward = nk_model_forward(model);
  if (forward == NULL) fail_msg("%s", nk_error());
  size_t n = forward->scratch_floats;
  float *scratch = malloc((n + GUARD) * sizeof *scratch);
  struct nki_floats floats[NKI_N_PARTS];
  assert_non_null(scratch);
  for (size_t i = 0; i < n + GUARD; i++) scratch[i] = 7;
  nki_block_widen(forward, 0, scratch, floats);
  for (size_t i = n; i < n + GUARD; i++) assert_true(scratch[i] == 7);
  free(scratch);
  nk_model_free(model);
}

/* Such blocks are [out, in] and dense experts [in, out]: an expert has one order. */
static void experts_of_which_a_part_is_mxfp4_are_an_error_that_names_them(void **state) {
  static const struct zeros tensors[] = {
      {"model.embed_tokens.weight", "BF16", {4, 32}},
      {"model.norm.weight", "BF16", {32}},
      {"lm_head.weight", "BF16", {4, 32}},
      {"model.layers.0.input_layernorm.weight", "BF16", {32}},
      {"model.layers.0.post_attention_layernorm.weight", "BF16", {32}},
      {"model.layers.0.self_attn.q_proj.weight", "BF16", {8, 32}},
      {"model.layers.0.self_attn.q_proj.bias", "BF16", {8}},
      {"model.layers.0.self_attn.k_proj.weight", "BF16", {8, 32}},
      {"model.layers.0.self_attn.k_proj.bias", "BF16", {8}},
      {"model.layers.0.self_attn.v_proj.weight", "BF16", {8, 32}},
      {"model.layers.0.self_attn.v_proj.bias", "BF16", {8}},
      {"model.layers.0.self_attn.o_proj.weight", "BF16", {32, 8}},
      {"model.layers.0.self_attn.o_proj.bias", "BF16", {32}},
      {"model.layers.0.self_attn.sinks", "BF16", {1}},
      {"model.layers.0.mlp.router.weight", "BF16", {2, 32}},
      {"model.layers.0.mlp.router.bias", "BF16", {2}},
      {"model.layers.0.mlp.experts.gate_up_proj_blocks", "U8", {2, 64, 1, 16}},
      {"model.layers.0.mlp.experts.gate_up_proj_scales", "U8", {2, 64, 1}},
      {"model.layers.0.mlp.experts.gate_up_proj_bias", "BF16", {2, 64}},
      {"model.layers.0.mlp.experts.down_proj_bias", "BF16", {2, 32}},
      {"model.layers.0.mlp.experts.down_proj", "BF16", {2, 32, 32}},
      {"model.layers.0.mlp.experts.down_proj_scales", "U8", {2, 32, 1}},
  };
  const size_t n = sizeof tensors / sizeof tensors[0];
  struct zeros blocks[sizeof tensors / sizeof tensors[0]];
  const char *folder = *state;
  write_config(folder,
               "{\"model_type\":\"gpt_oss\",\"vocab_size\":4,\"hidden_size\":32,"
               "\"intermediate_size\":32,\"num_hidden_layers\":1,\"head_dim\":8,"
               "\"num_attention_heads\":1,\"num_key_value_heads\":1,"
               "\"num_local_experts\":2,\"num_experts_per_tok\":1,\"sliding_window\":4,"
               "\"max_position_embeddings\":64,\"tie_word_embeddings\":false}");
  write_zeros(folder, tensors, n - 1);
  struct nk_model *model = nk_model_open(folder);
  assert_non_null(model);
  assert_null(nk_model_forward(model));
  assert_non_null(strstr(nk_error(),
                         "'model.layers.0.mlp.experts.gate_up_proj_blocks' is MXFP4 "
                         "and 'model.layers.0.mlp.experts.down_proj' is not"));
  nk_model_free(model);
  memcpy(blocks, tensors, sizeof tensors);
  blocks[n - 2] =
      (struct zeros){"model.layers.0.mlp.experts.down_proj_blocks", "U8", {2, 32, 1, 16}};
  write_zeros(folder, blocks, n);
  model = nk_model_open(folder);
  if (nk_model_forward(model) == NULL) fail_msg("%s", nk_error());
  nk_model_free(model);
}

/* slopes[..., None].bfloat16() * positions, as torch computes it: the positions become bfloat16
 * first. 2^-0.25 and 2^-1.75 are the first and the seventh slope of 32 heads. */
static void falcons_linear_biases_are_those_of_torch(void **state) {
  (void)state;
  static const struct {
    size_t position;
    float first, seventh;
  } expected[] = {{0, 0, 0},         {1, 0.83984375f, 0.296875f},
                  {255, 214, 75.5f}, {256, 215, 76},
                  {257, 215, 76},    {259, 218, 77},
                  {511, 430, 152},   {1001, 840, 296},
                  {2047, 1720, 608}};
  struct nk_model *model = nk_model_open("tests/fixtures/forward/falcon-alibi");
  const struct nk_forward *opened = nk_model_forward(model);
  if (opened == NULL) fail_msg("%s", nk_error());
  assert_true(opened->config.slopes_rounded);
  struct nk_forward forward = *opened;
  float slopes[6] = {0.8408964152537145f, 0.29730177875068026f};
  forward.config.slopes = slopes;
  forward.config.attention_scale = 1;
  const struct nk_batch batch = {.n_sequences = 0};
  const struct nki_plan plan = {.forward = &forward, .batch = &batch, .longest = 2048};
  struct nki_work work;
  assert_int_equal(nki_work_make(&plan, 1, 1, &work), NK_OK);
  for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
    assert_true(work.alibi[expected[i].position] == expected[i].first);
    assert_true(work.alibi[work.ld_alibi + expected[i].position] == expected[i].seventh);
  }
  nki_work_free(&work);
  nk_model_free(model);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_widened_block_stays_within_its_scratch),
      cmocka_unit_test(experts_of_which_a_part_is_mxfp4_are_an_error_that_names_them),
      cmocka_unit_test(falcons_linear_biases_are_those_of_torch),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
