/* A GGUF as a model: configuration, names, quantized weights, parts, and what hostile files say.
 * The files are written here after the format's description; a Llama of one block. */
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "make_gguf.h"
#include "model/architecture.h"
#include "model/model.h"
#include "model/model_config.h"
#include "model/rows.h"
#include "unit.h"

enum { DIM = 32, HEADS = 2, ROWS = 8, MLP = 64 };
static void put_metadata(struct gguf *g) {
  put_string(g, "general.architecture", "llama");
  put_u32(g, "llama.block_count", 1);
  put_u32(g, "llama.context_length", 100);
  put_u32(g, "llama.embedding_length", DIM);
  put_u32(g, "llama.feed_forward_length", MLP);
  put_u32(g, "llama.attention.head_count", HEADS);
  put_f32(g, "llama.attention.layer_norm_rms_epsilon", 0x1p-10f);
  put_f32(g, "llama.rope.freq_base", 500000);
}

/* A value of another size for the name. */
static void replace_u32(struct gguf *g, const char *name, uint32_t value) {
  char *at = memmem(g->values.data, g->values.size, name, strlen(name));
  assert_non_null(at);
  memcpy(at + strlen(name) + 4, &value, sizeof value);
}

static void put_weights(struct gguf *g) {
  put_zeros(g, "token_embd.weight", ROWS, DIM);
  put_zeros(g, "output_norm.weight", 0, DIM);
  put_zeros(g, "blk.0.attn_norm.weight", 0, DIM);
  put_zeros(g, "blk.0.ffn_norm.weight", 0, DIM);
  put_zeros(g, "blk.0.attn_k.weight", DIM, DIM);
  put_zeros(g, "blk.0.attn_v.weight", DIM, DIM);
  put_zeros(g, "blk.0.attn_output.weight", DIM, DIM);
  put_zeros(g, "blk.0.ffn_gate.weight", MLP, DIM);
  put_zeros(g, "blk.0.ffn_up.weight", MLP, DIM);
  put_zeros(g, "blk.0.ffn_down.weight", DIM, MLP);
}

static void metadata_stand_for_config_json(void **state) {
  struct gguf g = {0};
  put_metadata(&g);
  put_u32(&g, "llama.attention.head_count_kv", HEADS);
  put_weights(&g);
  put_zeros(&g, "blk.0.attn_q.weight", DIM, DIM);
  save(&g, in(state, "a.gguf"));
  struct nk_model *model = nk_model_open(in(state, "a.gguf"));
  if (model == NULL) fail_msg("%s", nk_error());
  static const struct {
    const char *key;
    int64_t value;
  } wanted[] = {{"num_hidden_layers", 1},       {"max_position_embeddings", 100},
                {"hidden_size", DIM},           {"intermediate_size", MLP},
                {"num_attention_heads", HEADS}, {"num_key_value_heads", HEADS},
                {"rope_theta", 500000}};
  for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
    int64_t value = 0;
    if (nki_model_config_integer(model, wanted[i].key, &value) != NK_OK) fail_msg("%s", nk_error());
    assert_int_equal(value, wanted[i].value);
  }
  double eps = 0;
  assert_int_equal(nki_setting_number(model, NKI_SETTING_RMS_NORM_EPS, &eps), NK_OK);
  assert_true(eps == 0x1p-10);
  assert_string_equal(nki_model_type(model), "llama");
  assert_string_equal(nk_model_name(model), "a.gguf");
  assert_string_equal(nk_model_folder(model), in(state, "a.gguf"));
  bool tied = false;
  const struct nk_tensor *output = nk_model_matrix(model, NK_MATRIX_OUTPUT, &tied);
  assert_true(tied); /* there is no output.weight */
  assert_string_equal(output->name, "token_embd.weight");
  if (nk_model_forward(model) == NULL) fail_msg("%s", nk_error());
  assert_int_equal(nk_forward_shape(nk_model_forward(model))->n_positions, 100);
  nk_model_free(model);
}

/* Row r of a head in the file was row r / 2, or half + r / 2 for an odd r (llama.cpp's converter:
 * [2, half] becomes [half, 2]). */
static void rows_in_pairs_are_put_back(void **state) {
  (void)state;
  enum { HEAD = 6, N = 2 * HEAD };
  float values[N], out[N];
  for (int row = 0; row < N; row++) {
    int at = row % HEAD;
    values[row] = (float)(row - at + at % 2 * (HEAD / 2) + at / 2);
  }
  const struct nk_tensor tensor = {
      .name = "k", .n_dims = 1, .shape = {N}, .n_elements = N, .n_bytes = 4 * N, .data = values};
  nki_tensor_widen_pairs(&tensor, 2, out);
  for (int row = 0; row < N; row++) assert_true(out[row] == (float)row);
}

static void a_model_of_another_architecture_gives_its_matrices(void **state) {
  struct gguf g = {0};
  put_string(&g, "general.architecture", "later");
  put_zeros(&g, "token_embd.weight", ROWS, DIM);
  put_zeros(&g, "output.weight", ROWS, DIM);
  save(&g, in(state, "b.gguf"));
  struct nk_model *model = nk_model_open(in(state, "b.gguf"));
  if (model == NULL) fail_msg("%s", nk_error());
  bool tied = true;
  assert_string_equal(nk_model_matrix(model, NK_MATRIX_OUTPUT, &tied)->name, "output.weight");
  assert_false(tied);
  assert_string_equal(nk_model_matrix(model, NK_MATRIX_INPUT, NULL)->name, "token_embd.weight");
  assert_null(nk_model_forward(model));
  assert_non_null(strstr(nk_error(), "architecture 'later' is not implemented"));
  nk_model_free(model);
}

static void rows_of_no_elements_are_not_ranked(void **state) {
  for (int turn = 0; turn < 2; turn++) {
    struct gguf g = {0};
    const struct nk_glitch_options options = {.skip_bad = true};
    put_string(&g, "general.architecture", "later");
    put_zeros(&g, "token_embd.weight", turn == 0 ? 8192 : (size_t)1 << 62, 0);
    save(&g, in(state, "z.gguf"));
    struct nk_model *model = nk_model_open(in(state, "z.gguf"));
    if (model == NULL) fail_msg("%s", nk_error());
    assert_null(nk_glitch_of_model(model, NULL, &options, NULL));
    assert_non_null(strstr(nk_error(), "'token_embd.weight': its rows have dimension 0"));
    nk_model_free(model);
  }
}

/* The message of a forward pass, or of opening, after `change` of an otherwise sound file. */
static void refuse(void **state, void (*change)(struct gguf *), bool with_q, const char *message) {
  struct gguf g = {0};
  put_metadata(&g);
  put_weights(&g);
  if (with_q) put_zeros(&g, "blk.0.attn_q.weight", DIM, DIM);
  change(&g);
  save(&g, in(state, "c.gguf"));
  struct nk_model *model = nk_model_open(in(state, "c.gguf"));
  if (nk_model_forward(model) != NULL) fail_msg("taken, though '%s'", message);
  if (strstr(nk_error(), message) == NULL) fail_msg("'%s' does not say '%s'", nk_error(), message);
  if (strstr(nk_error(), ".json") != NULL) fail_msg("'%s' is about no GGUF", nk_error());
  nk_model_free(model);
}

static void with_iq2(struct gguf *g) {
  put_tensor(g, "blk.0.attn_q.weight", DIM, 256, 16, NULL, (size_t)DIM * 66);
}
static void with_many_blocks(struct gguf *g) {
  replace_u32(g, "llama.block_count", 1000000);
}
static void with_two_counts(struct gguf *g) {
  put_u32(g, "llama.block_count", 1);
}
static void with_other_kv_heads(struct gguf *g) {
  put_u32(g, "llama.attention.head_count_kv", 3);
}
static void with_heads_by_layer(struct gguf *g) {
  key(g, "llama.attention.head_count_kv", ARRAY);
  number(&g->values, U32, 4);
  number(&g->values, 2, 8);
  number(&g->values, 1, 4);
  number(&g->values, 2, 4);
}
static void with_text(struct gguf *g) {
  put_string(g, "llama.attention.key_length", "16");
}
static void with_nan(struct gguf *g) {
  put_f32(g, "llama.rope.scaling.factor", 0);
  put_f32(g, "llama.final_logit_softcapping", NAN);
}
static void with_another_scaling(struct gguf *g) {
  put_string(g, "llama.rope.scaling.type", "else");
}
static void with_a_scaling_of_bytes(struct gguf *g) {
  put_string(g, "llama.rope.scaling.type", "\xff");
}
static void with_a_scaling_of_numbers(struct gguf *g) {
  put_u32(g, "llama.rope.scaling.type", 1);
}
static void with_nan_of_old_files(struct gguf *g) {
  put_f32(g, "llama.rope.scale_linear", NAN);
}
static void with_a_factor_in_words(struct gguf *g) {
  put_string(g, "llama.rope.scaling.factor", "4");
}
static void with_all_positions(struct gguf *g) {
  key(g, "llama.attention.causal", BOOL);
  number(&g->values, 0, 1);
}
static void with_fused(struct gguf *g) {
  put_zeros(g, "blk.0.attn_qkv.weight", (size_t)3 * DIM, DIM);
}
static void with_another_part(struct gguf *g) {
  put_zeros(g, "blk.0.attn_sinks.weight", 0, HEADS);
}
static void with_two_factors(struct gguf *g) {
  put_zeros(g, "rope_freqs.weight", 0, 2);
}
static void with_factors_and_a_factor(struct gguf *g) {
  put_zeros(g, "rope_freqs.weight", 0, DIM / HEADS / 2);
  put_f32(g, "llama.rope.scaling.factor", 4);
}
static void with_factors_and_yarn(struct gguf *g) {
  put_zeros(g, "rope_factors_short.weight", 0, DIM / HEADS / 2);
  put_string(g, "llama.rope.scaling.type", "yarn");
}
static void with_split(struct gguf *g) {
  put_u32(g, "split.count", 3);
}

static void what_cannot_run_says_why(void **state) {
  refuse(state, with_iq2, false, "IQ2_XXS");
  refuse(state, with_many_blocks, true, "c.gguf: llama.block_count is 1000000, outside 1 to 65536");
  refuse(state, with_two_counts, true, "duplicate name");
  refuse(state, with_other_kv_heads, true, "cannot share 3 key heads");
  refuse(state, with_heads_by_layer, true, "not a whole number");
  refuse(state, with_text, true, "not a whole number");
  refuse(state, with_nan, true, "'llama.final_logit_softcapping' is not finite");
  refuse(state, with_another_scaling, true,
         "c.gguf: metadata: rope type 'else' is not implemented");
  refuse(state, with_a_scaling_of_bytes, true, "'llama.rope.scaling.type' is not a string");
  refuse(state, with_a_scaling_of_numbers, true, "'llama.rope.scaling.type' is not a string");
  refuse(state, with_nan_of_old_files, true, "'llama.rope.scale_linear' is not finite");
  refuse(state, with_a_factor_in_words, true,
         "c.gguf: 'llama.rope.scaling.factor' is not a number");
  refuse(state, with_all_positions, true, "use_bidirectional_attention = true");
  refuse(state, with_fused, false, "no tensor 'blk.0.attn_q.weight'");
  refuse(state, with_factors_and_a_factor, true, "'linear' by 4 beside tensor 'rope_freqs.weight'");
  refuse(state, with_factors_and_yarn, true, "'yarn' by 0 beside");
  refuse(state, with_another_part, true, "attn_sinks");
  refuse(state, with_two_factors, true, "8 positive numbers");
  refuse(state, with_split, true, "part 1 of 3");
}

/* A Llama whose attention matters: norms of ones, an mlp of zeros. */
static void put_attention(struct gguf *g) {
  static const char *const square[] = {"attn_q", "attn_k", "attn_v", "attn_output"};
  float values[DIM * DIM], ones[DIM];
  for (int i = 0; i < DIM * DIM; i++) values[i] = (float)(i * 7919 % 101 - 50) / 200;
  for (int i = 0; i < DIM; i++) ones[i] = 1;
  put_tensor(g, "token_embd.weight", ROWS, DIM, 0, values, (size_t)ROWS * DIM * 4);
  put_tensor(g, "output_norm.weight", 0, DIM, 0, ones, sizeof ones);
  put_tensor(g, "blk.0.attn_norm.weight", 0, DIM, 0, ones, sizeof ones);
  put_tensor(g, "blk.0.ffn_norm.weight", 0, DIM, 0, ones, sizeof ones);
  for (int i = 0; i < 4; i++) {
    char name[64];
    snprintf(name, sizeof name, "blk.0.%s.weight", square[i]);
    put_tensor(g, name, DIM, DIM, 0, values, sizeof values);
  }
  put_zeros(g, "blk.0.ffn_gate.weight", MLP, DIM);
  put_zeros(g, "blk.0.ffn_up.weight", MLP, DIM);
  put_zeros(g, "blk.0.ffn_down.weight", DIM, MLP);
}

static void run_file(const char *path, float logits[ROWS]) {
  static const int64_t ids[] = {1, 2, 3, 4};
  struct nk_model *model = nk_model_open(path);
  struct nk_forward *forward = nk_model_forward(model);
  if (forward == NULL) fail_msg("%s", nk_error());
  const struct nk_sequence sequence = {ids, 4};
  struct nk_ask ask = {.position = 3, .logits = logits};
  const struct nk_batch batch = {
      .sequences = &sequence, .n_sequences = 1, .asks = &ask, .n_asks = 1};
  if (nk_forward_run(forward, &batch) != NK_OK) fail_msg("%s", nk_error());
  nk_model_free(model);
}

/* Llama 3's rope_freqs: factors of 1 change nothing, factors of 4 are a linear scaling by 4. */
static void frequencies_are_divided_by_the_factors_of_a_tensor(void **state) {
  enum { PLAIN, BY_ONE, BY_FOUR, LINEAR, N };
  float factors[DIM / HEADS / 2], logits[N][ROWS];
  for (int turn = 0; turn < N; turn++) {
    struct gguf g = {0};
    put_metadata(&g);
    put_attention(&g);
    for (int i = 0; i < DIM / HEADS / 2; i++) factors[i] = turn == BY_FOUR ? 4 : 1;
    if (turn == BY_ONE || turn == BY_FOUR)
      put_tensor(&g, "rope_freqs.weight", 0, DIM / HEADS / 2, 0, factors, sizeof factors);
    if (turn == LINEAR) {
      put_string(&g, "llama.rope.scaling.type", "linear");
      put_f32(&g, "llama.rope.scaling.factor", 4);
    }
    save(&g, in(state, "d.gguf"));
    run_file(in(state, "d.gguf"), logits[turn]);
  }
  assert_memory_equal(logits[PLAIN], logits[BY_ONE], sizeof logits[0]);
  assert_memory_equal(logits[BY_FOUR], logits[LINEAR], sizeof logits[0]);
  assert_memory_not_equal(logits[PLAIN], logits[LINEAR], sizeof logits[0]);
}

/* attn_factor multiplies what YaRN amplifies by, 1 + 0.1 ln(factor), yarn_attn_factor takes its
 * place; other turns are blended. */
static void yarn_has_all_of_its_settings(void **state) {
  enum { PLAIN, BY_ONE, BY_THREE, THREE, TURNS, N };
  float logits[N][ROWS];
  for (int turn = 0; turn < N; turn++) {
    struct gguf g = {0};
    double amplitude = 0;
    put_metadata(&g);
    put_attention(&g);
    put_string(&g, "llama.rope.scaling.type", "yarn");
    put_f32(&g, "llama.rope.scaling.factor", 4);
    put_u32(&g, "llama.rope.scaling.original_context_length", 25);
    if (turn == BY_ONE) put_f32(&g, "llama.rope.scaling.attn_factor", 1);
    if (turn == BY_THREE) put_f32(&g, "llama.rope.scaling.attn_factor", 3);
    if (turn == THREE) put_f32(&g, "llama.rope.scaling.yarn_attn_factor", 3);
    if (turn == TURNS) put_f32(&g, "llama.rope.scaling.yarn_beta_fast", 0.5f);
    if (turn == TURNS) put_f32(&g, "llama.rope.scaling.yarn_beta_slow", 0.125f);
    save(&g, in(state, "y.gguf"));
    run_file(in(state, "y.gguf"), logits[turn]);
    struct nk_model *model = nk_model_open(in(state, "y.gguf"));
    nki_setting_number(model, NKI_SETTING_ROPE_AMPLITUDE, &amplitude);
    if (turn == BY_THREE) assert_true(fabs(amplitude - 3.4158883083) < 1e-9);
    if (turn == THREE) assert_true(amplitude == 3);
    nk_model_free(model);
  }
  assert_memory_equal(logits[PLAIN], logits[BY_ONE], sizeof logits[0]);
  assert_memory_not_equal(logits[PLAIN], logits[BY_THREE], sizeof logits[0]);
  assert_memory_not_equal(logits[PLAIN], logits[TURNS], sizeof logits[0]);
}

/* A family's row says where positions are, and that a quarter of a head is rotated; llama.cpp needs
 * the matrix, and rotates whole heads where the file does not say. */
static void a_family_is_as_llama_cpp_has_it(void **state) {
  struct gguf g = {0};
  put_string(&g, "general.architecture", "gpt2");
  put_zeros(&g, "token_embd.weight", ROWS, DIM);
  save(&g, in(state, "g.gguf"));
  struct nk_model *model = nk_model_open(in(state, "g.gguf"));
  if (model == NULL) fail_msg("%s", nk_error());
  assert_string_equal(nki_model_architecture(model)->positions, "position_embd");
  assert_null(nk_model_matrix(model, NK_MATRIX_POSITION, NULL));
  nk_model_free(model);
  put_string(&g, "general.architecture", "gptneox");
  put_zeros(&g, "token_embd.weight", ROWS, DIM);
  save(&g, in(state, "g.gguf"));
  model = nk_model_open(in(state, "g.gguf"));
  if (model == NULL) fail_msg("%s", nk_error());
  assert_true(nki_model_architecture(model)->rotary_part == 1);
  nk_model_free(model);
}

static void save_part(void **state, int part, int of, int written_count) {
  struct gguf g = {0};
  char name[64];
  if (part == 0) put_metadata(&g);
  put_u32(&g, "split.no", (uint64_t)part);
  put_u32(&g, "split.count", (uint64_t)written_count);
  put_u32(&g, "split.tensors.count", 11);
  if (part == 0) put_weights(&g);
  if (part == 1) put_zeros(&g, "blk.0.attn_q.weight", DIM, DIM);
  snprintf(name, sizeof name, "p-%05d-of-%05d.gguf", part + 1, of);
  save(&g, in(state, name));
}

static void refuse_parts(void **state, const char *name, const char *message) {
  struct nk_model *model = nk_model_open(in(state, name));
  if (model != NULL) fail_msg("taken, though '%s'", message);
  if (strstr(nk_error(), message) == NULL) fail_msg("'%s' does not say '%s'", nk_error(), message);
}

static void parts_of_a_model_are_opened_together(void **state) {
  save_part(state, 0, 2, 2);
  refuse_parts(state, "p-00001-of-00002.gguf", "p-00002-of-00002.gguf");
  save_part(state, 1, 2, 2);
  struct nk_model *model = nk_model_open(in(state, "p-00001-of-00002.gguf"));
  if (model == NULL) fail_msg("%s", nk_error());
  assert_int_equal(nk_model_n_tensors(model), 11);
  if (nk_model_forward(model) == NULL) fail_msg("%s", nk_error());
  nk_model_free(model);
  refuse_parts(state, "p-00002-of-00002.gguf", "name the first");
  save_part(state, 0, 0, 0);
  refuse_parts(state, "p-00001-of-00000.gguf", "part 1 of 0");
  save_part(state, 1, 2, 3);
  refuse_parts(state, "p-00001-of-00002.gguf", "part 2 of 3 by its metadata, 2 of 2 by its name");
  struct gguf g = {0};
  put_u32(&g, "split.no", 1);
  put_u32(&g, "split.count", 2);
  save(&g, in(state, "p-00002-of-00002.gguf"));
  refuse_parts(state, "p-00001-of-00002.gguf", "11 tensors in all parts by its metadata, 10 found");
  save_part(state, 0, 2, 2);
  g = (struct gguf){0};
  put_u32(&g, "split.no", 1);
  put_u32(&g, "split.count", 2);
  put_zeros(&g, "output_norm.weight", 0, DIM);
  save(&g, in(state, "p-00002-of-00002.gguf"));
  refuse_parts(state, "p-00001-of-00002.gguf", "is in two shards");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(metadata_stand_for_config_json),
      cmocka_unit_test(rows_in_pairs_are_put_back),
      cmocka_unit_test(a_model_of_another_architecture_gives_its_matrices),
      cmocka_unit_test(rows_of_no_elements_are_not_ranked),
      cmocka_unit_test(what_cannot_run_says_why),
      cmocka_unit_test(frequencies_are_divided_by_the_factors_of_a_tensor),
      cmocka_unit_test(yarn_has_all_of_its_settings),
      cmocka_unit_test(a_family_is_as_llama_cpp_has_it),
      cmocka_unit_test(parts_of_a_model_are_opened_together),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
