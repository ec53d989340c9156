/* GGUF: reading, writing, and the errors of hostile files. The files are written here byte by
 * byte after the format's description. */
#include "model/gguf.h"

#include <unistd.h>

#include "model/dtype.h"

#include "text_files.h"

static struct nk_buffer file;

static void number(uint64_t value, int n_bytes) {
  for (int i = 0; i < n_bytes; i++) nk_buffer_byte(&file, (int)(value >> 8 * i & 0xFF));
}

static void string(const char *text) {
  number(strlen(text), 8);
  nk_buffer_text(&file, text);
}

static void head(uint64_t version, uint64_t n_tensors, uint64_t n_values) {
  nk_buffer_clear(&file);
  nk_buffer_text(&file, "GGUF");
  number(version, 4);
  number(n_tensors, 8);
  number(n_values, 8);
}

static void key(const char *name, uint64_t type) {
  string(name);
  number(type, 4);
}

static void tensor(const char *name, uint64_t n_dims, uint64_t a, uint64_t b, uint64_t type,
                   uint64_t offset) {
  string(name);
  number(n_dims, 4);
  number(a, 8);
  if (n_dims > 1) number(b, 8);
  number(type, 4);
  number(offset, 8);
}

static void pad(size_t alignment) {
  while (file.size % alignment) nk_buffer_byte(&file, 0);
}

static struct nki_gguf *open_file(void) {
  const char *path = temporary_file(file.data, file.size);
  struct nki_gguf *gguf = nki_gguf_open(path);
  unlink(path);
  return gguf;
}

static void metadata_of_every_type_is_read(void **state) {
  (void)state;
  int64_t integer;
  double real;
  bool yes;
  const char *text;
  size_t n, cursor = 0;
  head(3, 0, 9);
  key("u8", NKI_GGUF_UINT8), number(200, 1);
  key("i8", NKI_GGUF_INT8), number(200, 1);
  key("i64", NKI_GGUF_INT64), number((uint64_t)-5, 8);
  key("u64", NKI_GGUF_UINT64), number(UINT64_MAX, 8);
  key("f32", NKI_GGUF_FLOAT32), number(0x3FC00000, 4); /* 1.5 */
  key("bool", NKI_GGUF_BOOL), number(1, 1);
  key("text", NKI_GGUF_STRING), string("a\xC3\xA9");
  key("list", NKI_GGUF_ARRAY), number(NKI_GGUF_STRING, 4), number(2, 8), string(""), string("bc");
  key("nested", NKI_GGUF_ARRAY), number(NKI_GGUF_ARRAY, 4), number(1, 8), number(NKI_GGUF_INT16, 4),
      number(2, 8), number(1, 2), number(2, 2);
  struct nki_gguf *gguf = open_file();
  assert_non_null(gguf);
  assert_int_equal(gguf->n_values, 9);
  assert_string_equal(gguf->value[1].key, "i8");
  assert_int_equal(nki_gguf_integer(gguf, "u8", &integer), NK_OK);
  assert_int_equal(integer, 200);
  assert_int_equal(nki_gguf_integer(gguf, "i8", &integer), NK_OK);
  assert_int_equal(integer, -56);
  assert_int_equal(nki_gguf_integer(gguf, "i64", &integer), NK_OK);
  assert_int_equal(integer, -5);
  assert_int_equal(nki_gguf_integer(gguf, "u64", &integer), NK_EDATA);
  assert_int_equal(nki_gguf_integer(gguf, "f32", &integer), NK_EDATA);
  assert_int_equal(nki_gguf_number(gguf, "f32", &real), 0);
  assert_float_equal(real, 1.5, 0);
  assert_int_equal(nki_gguf_number(gguf, "u64", &real), 0);
  assert_float_equal(real, 18446744073709551615.0, 0);
  assert_int_equal(nki_gguf_bool(gguf, "bool", &yes), NK_OK);
  assert_true(yes);
  assert_int_equal(nki_gguf_string(gguf, "text", &text, &n), NK_OK);
  assert_int_equal(n, 3);
  assert_memory_equal(text, "a\xC3\xA9", 3);
  assert_int_equal(nki_gguf_string(gguf, "list", &text, &n), NK_EDATA);
  const struct nki_gguf_value *list = nki_gguf_strings(gguf, "list");
  assert_non_null(list);
  assert_non_null(nki_gguf_next_string(list, &cursor, &n));
  assert_int_equal(n, 0);
  assert_memory_equal(nki_gguf_next_string(list, &cursor, &n), "bc", 2);
  assert_null(nki_gguf_next_string(list, &cursor, &n));
  assert_null(nki_gguf_numbers(gguf, "list"));
  assert_int_equal(nki_gguf_integer(gguf, "none", &integer), NK_ENOTFOUND);
  nki_gguf_free(gguf);
}

/* The file's dims run from the innermost: 3 columns, 2 rows. */
static void tensors_are_found_with_their_bytes(void **state) {
  (void)state;
  head(2, 3, 1);
  key("general.alignment", NKI_GGUF_UINT32), number(64, 4);
  tensor("floats", 2, 3, 2, 0, 0);
  tensor("blocks", 2, 64, 1, 12, 64);
  tensor("future", 1, 5, 0, 999, 64);
  struct nki_gguf *gguf = open_file();
  assert_null(gguf); /* no data */
  file.data[file.size - 8] = 64;
  pad(64);
  for (int i = 0; i < 6; i++) number(0x3F800000 + (uint64_t)i, 4);
  pad(64);
  gguf = open_file();
  assert_null(gguf); /* Q4_K comes in blocks of 256 */
  assert_non_null(strstr(nk_error(), "Q4_K"));
  for (size_t i = 0; i + 6 < file.size; i++)
    if (memcmp(file.data + i, "blocks", 6) == 0) file.data[i + 11] = 1; /* 64 + 256 */
  gguf = open_file();
  assert_null(gguf);
  head(2, 2, 1);
  key("general.alignment", NKI_GGUF_UINT32), number(64, 4);
  tensor("floats", 2, 3, 2, 0, 0);
  tensor("blocks", 2, 256, 1, 12, 64);
  pad(64);
  for (int i = 0; i < 6; i++) number(0x3F800000 + (uint64_t)i, 4);
  pad(64);
  for (int i = 0; i < 144; i++) number(0, 1);
  gguf = open_file();
  if (gguf == NULL) fail_msg("%s", nk_error());
  const struct nk_tensor *floats = nki_gguf_find_tensor(gguf, "floats");
  assert_non_null(floats);
  assert_int_equal(floats->dtype, NK_F32);
  assert_int_equal(floats->shape[0], 2);
  assert_int_equal(floats->shape[1], 3);
  assert_int_equal(floats->n_bytes, 24);
  assert_int_equal(((const unsigned char *)floats->data)[4], 1);
  assert_int_equal(gguf->tensor[1].dtype, NK_Q4_K);
  assert_int_equal(gguf->tensor[1].n_bytes, 144);
  assert_null(nki_gguf_find_tensor(gguf, "none"));
  nki_gguf_free(gguf);
}

static void refuse(const char *message) {
  struct nki_gguf *gguf = open_file();
  if (gguf != NULL) fail_msg("taken, though '%s'", message);
  if (strstr(nk_error(), message) == NULL) fail_msg("'%s' does not say '%s'", nk_error(), message);
}

static void hostile_files_are_refused(void **state) {
  (void)state;
  head(1, 0, 0), refuse("version 1");
  head(0x03000000, 0, 0), refuse("big-endian");
  head(3, 0, UINT64_MAX), refuse("more than the file can hold");
  head(3, UINT64_MAX / 2, 0), refuse("more than the file can hold");
  nk_buffer_clear(&file), nk_buffer_text(&file, "GGML"), refuse("not a GGUF file");
  nk_buffer_clear(&file), nk_buffer_text(&file, "GGUF\3"), refuse("ends within");
  head(3, 0, 1), number(UINT64_MAX, 8), number(0, 8), refuse("ends within");
  head(3, 0, 1), key("k", 13), number(0, 8), refuse("unknown type");
  head(3, 0, 1), key("k", NKI_GGUF_STRING), number(1000, 8), refuse("ends within");
  head(3, 0, 1), key("k", NKI_GGUF_ARRAY), number(NKI_GGUF_UINT64, 4), number(UINT64_MAX / 4, 8),
      refuse("ends within");
  head(3, 0, 1), key("k", NKI_GGUF_ARRAY), number(NKI_GGUF_STRING, 4), number(UINT64_MAX, 8),
      refuse("ends within");
  head(3, 0, 1), key("k", NKI_GGUF_ARRAY);
  for (int i = 0; i < 1000; i++) number(NKI_GGUF_ARRAY, 4), number(1, 8);
  refuse("unknown type");
  head(3, 0, 2), key("k", NKI_GGUF_BOOL), number(1, 1), key("k", NKI_GGUF_BOOL), number(1, 1);
  refuse("duplicate name");
  head(3, 0, 1), key("general.alignment", NKI_GGUF_UINT32), number(0, 4);
  refuse("general.alignment is 0");
  head(3, 0, 1), key("general.alignment", NKI_GGUF_UINT32), number(48, 4);
  refuse("general.alignment is 48");
  head(3, 0, 1), key("general.alignment", NKI_GGUF_UINT32), number(3, 4);
  refuse("general.alignment is 3");
  head(3, 0, 1), key("k", NKI_GGUF_ARRAY), number(NKI_GGUF_ARRAY, 4), number(1ull << 60, 8);
  refuse("ends within");
  head(3, 2, 0), tensor("t", 1, 0, 0, 0, 0), tensor("t", 1, 0, 0, 0, 0), refuse("duplicate name");
  head(3, 1, 0), tensor("t", 5, 1, 1, 0, 0), refuse("5 dimensions");
  head(3, 1, 0), tensor("t", 2, UINT64_MAX, 2, 0, 0), refuse("shape too large");
  head(3, 1, 0), tensor("t", 2, 1ull << 62, 1, 0, 0), refuse("do not fit F32");
  head(3, 1, 0), tensor("t", 1, 8, 0, 0, 0), pad(32), number(0, 8), refuse("needs 32 bytes");
  head(3, 1, 0), tensor("t", 1, 0, 0, 0, 1), pad(32), number(0, 8), refuse("not aligned");
  head(3, 1, 0), tensor("t", 1, 0, 0, 0, UINT64_MAX - 31), refuse("outside the file");
}

/* ---- Written from a checkpoint ---- */

enum layout { AS_IS, TURNED, PAIRED };

/* How llama.cpp's converter changes a tensor (conversion script's permute: rows of a head as
 * [2, half] become [half, 2]). n_heads: of a PAIRED one. */
struct written {
  const char *name, *from;
  enum layout layout;
  size_t n_heads;
};

static void check_written(const struct nk_model *model, const struct nki_gguf *gguf,
                          const struct written *w) {
  const struct nk_tensor *to = nki_gguf_find_tensor(gguf, w->name),
                         *from = nk_model_find(model, w->from);
  if (to == NULL || from == NULL) fail_msg("%s", nk_error());
  assert_int_equal(to->n_elements, from->n_elements);
  size_t rows = to->n_dims == 2 ? to->shape[0] : 1, columns = to->n_elements / rows;
  size_t head = w->layout == PAIRED ? rows / w->n_heads : rows;
  for (size_t r = 0; r < rows; r++) {
    size_t at = r % head, source = r;
    if (w->layout == PAIRED) source = r - at + at % 2 * (head / 2) + at / 2;
    for (size_t c = 0; c < columns; c++) {
      size_t index = w->layout == TURNED ? c * rows + r : source * columns + c;
      double got = nki_element_number(to->dtype, to->data, r * columns + c);
      double wanted = nki_element_number(from->dtype, from->data, index);
      if (got != wanted) fail_msg("%s [%zu, %zu]: %g, not %g", w->name, r, c, got, wanted);
    }
  }
}

static void check_model(const char *name, const struct written *tensors, size_t n, size_t n_tensors,
                        const char *const (*values)[2]) {
  char path[] = "/tmp/noken-gguf-XXXXXX";
  assert_int_equal(close(mkstemp(path)), 0);
  struct nk_model *model = nk_model_open(name);
  struct nk_output *output = nk_output_open(path, NK_OUTPUT_BINARY);
  if (nk_model_write(model, NULL, output) != NK_OK) fail_msg("%s", nk_error());
  assert_int_equal(nk_output_commit(output), NK_OK);
  nk_output_free(output);
  struct nki_gguf *gguf = nki_gguf_open(path);
  if (gguf == NULL) fail_msg("%s", nk_error());
  assert_int_equal(gguf->n_tensors, n_tensors);
  for (size_t i = 0; i < n; i++) check_written(model, gguf, &tensors[i]);
  for (; (*values)[0] != NULL; values++) {
    double value = 0;
    if (nki_gguf_number(gguf, (*values)[0], &value) != NK_OK) fail_msg("%s", nk_error());
    if ((float)value != strtof((*values)[1], NULL)) fail_msg("%s is %g", (*values)[0], value);
  }
  size_t n_rows = 0;
  char renamed[64];
  snprintf(renamed, sizeof renamed, "%s.gguf", path);
  assert_int_equal(rename(path, renamed), 0);
  assert_int_equal(nk_model_count_rows(renamed, &n_rows), NK_OK);
  assert_int_equal(n_rows, nk_model_matrix(model, NK_MATRIX_INPUT, NULL)->shape[0]);
  unlink(renamed);
  nki_gguf_free(gguf);
  nk_model_free(model);
}

static void checkpoints_are_written_with_llama_cpps_names_and_layouts(void **state) {
  (void)state;
  static const struct written llama[] = {
      {"token_embd.weight", "model.embed_tokens.weight", AS_IS, 0},
      {"output.weight", "lm_head.weight", AS_IS, 0},
      {"output_norm.weight", "model.norm.weight", AS_IS, 0},
      {"blk.0.attn_norm.weight", "model.layers.0.input_layernorm.weight", AS_IS, 0},
      {"blk.2.attn_q.weight", "model.layers.2.self_attn.q_proj.weight", PAIRED, 4},
      {"blk.2.attn_k.weight", "model.layers.2.self_attn.k_proj.weight", PAIRED, 2},
      {"blk.1.attn_v.weight", "model.layers.1.self_attn.v_proj.weight", AS_IS, 0},
      {"blk.1.attn_output.weight", "model.layers.1.self_attn.o_proj.weight", AS_IS, 0},
      {"blk.1.ffn_norm.weight", "model.layers.1.post_attention_layernorm.weight", AS_IS, 0},
      {"blk.1.ffn_gate.weight", "model.layers.1.mlp.gate_proj.weight", AS_IS, 0},
      {"blk.1.ffn_up.weight", "model.layers.1.mlp.up_proj.weight", AS_IS, 0},
      {"blk.1.ffn_down.weight", "model.layers.1.mlp.down_proj.weight", AS_IS, 0},
  };
  static const char *const llama_values[][2] = {
      {"llama.context_length", "256"},
      {"llama.embedding_length", "128"},
      {"llama.feed_forward_length", "256"},
      {"llama.block_count", "4"},
      {"llama.attention.head_count", "4"},
      {"llama.attention.head_count_kv", "2"},
      {"llama.attention.key_length", "32"},
      {"llama.attention.value_length", "32"},
      {"llama.rope.dimension_count", "32"},
      {"llama.attention.layer_norm_rms_epsilon", "1e-05"},
      {"llama.rope.freq_base", "10000"},
      {"tokenizer.ggml.bos_token_id", "8191"},
      {NULL, NULL},
  };
  check_model("data/llama-tiny", llama, sizeof llama / sizeof llama[0], 39, llama_values);
  static const struct written gpt2[] = {
      {"token_embd.weight", "wte.weight", AS_IS, 0},
      {"position_embd.weight", "wpe.weight", AS_IS, 0},
      {"output_norm.bias", "ln_f.bias", AS_IS, 0},
      {"blk.1.attn_norm.bias", "h.1.ln_1.bias", AS_IS, 0},
      {"blk.1.attn_qkv.weight", "h.1.attn.c_attn.weight", TURNED, 0},
      {"blk.1.attn_qkv.bias", "h.1.attn.c_attn.bias", AS_IS, 0},
      {"blk.1.attn_output.weight", "h.1.attn.c_proj.weight", TURNED, 0},
      {"blk.1.ffn_norm.weight", "h.1.ln_2.weight", AS_IS, 0},
      {"blk.1.ffn_up.weight", "h.1.mlp.c_fc.weight", TURNED, 0},
      {"blk.1.ffn_down.weight", "h.1.mlp.c_proj.weight", TURNED, 0},
      {"blk.1.ffn_down.bias", "h.1.mlp.c_proj.bias", AS_IS, 0},
  };
  static const char *const gpt2_values[][2] = {
      {"gpt2.context_length", "256"},
      {"gpt2.embedding_length", "128"},
      {"gpt2.feed_forward_length", "512"},
      {"gpt2.block_count", "4"},
      {"gpt2.attention.head_count", "4"},
      {"gpt2.attention.layer_norm_epsilon", "1e-05"},
      {NULL, NULL},
  };
  check_model("data/gpt2-tiny", gpt2, sizeof gpt2 / sizeof gpt2[0], 52, gpt2_values);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(metadata_of_every_type_is_read),
      cmocka_unit_test(tensors_are_found_with_their_bytes),
      cmocka_unit_test(hostile_files_are_refused),
      cmocka_unit_test(checkpoints_are_written_with_llama_cpps_names_and_layouts),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  nk_buffer_free(&file);
  return failed;
}
