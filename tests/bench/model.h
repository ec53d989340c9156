/* Models of a given shape with random weights, for benchmarks: folders as Hugging Face lays them
 * out, written tensor by tensor. */
#ifndef NOKEN_BENCH_MODEL_H
#define NOKEN_BENCH_MODEL_H

#include <math.h>
#include <noken/noken.h>
#include <sys/stat.h>

#include "bench.h"
#include "gguf.h"
#include "model/dtype.h"
#include "model/safetensors.h"

enum { MODEL_MAX_TENSORS = 2048 };

struct bench_model {
  struct nki_safetensors_writer *writer;
  struct nk_tensor tensors[MODEL_MAX_TENSORS];
  double scale[MODEL_MAX_TENSORS]; /* standard deviation; 0: all ones */
  size_t n;
  enum nk_dtype dtype;
};

static inline void model_check(bool ok) {
  if (ok) return;
  fprintf(stderr, "%s\n", nk_error());
  exit(2);
}

static inline void model_add(struct bench_model *model, const char *name, size_t rows,
                             size_t columns, double scale) {
  struct nk_tensor *t = &model->tensors[model->n];
  *t = (struct nk_tensor){.name = strdup(name),
                          .dtype = model->dtype,
                          .n_dims = columns ? 2 : 1,
                          .shape = {rows, columns},
                          .n_elements = rows * (columns ? columns : 1)};
  t->n_bytes = t->n_elements * nki_dtype_size(model->dtype);
  model->scale[model->n++] = scale;
}

/* Uniform numbers of the standard deviation asked, from a multiplicative generator: quick, and good
 * enough to multiply. */
static inline void model_fill(struct nki_safetensors_writer *writer, const struct nk_tensor *t,
                              double scale) {
  enum { CHUNK = 1 << 16 };
  static float values[CHUNK];
  static uint16_t halves[CHUNK];
  static uint64_t state = 88172645463325252u;
  for (size_t at = 0; at < t->n_elements; at += CHUNK) {
    size_t n = t->n_elements - at < CHUNK ? t->n_elements - at : CHUNK;
    for (size_t i = 0; i < n; i++) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      double uniform = (double)(state >> 40) / 16777216.0 - 0.5;
      values[i] = scale == 0 ? 1.0f : (float)(uniform * scale * 3.4641016);
      halves[i] = nki_bf16_of_float(values[i]);
    }
    int code = t->dtype == NK_F32 ? nki_safetensors_writer_bytes(writer, values, n * sizeof(float))
                                  : nki_safetensors_writer_bytes(writer, halves, 2 * n);
    model_check(code == NK_OK);
  }
}

static inline void model_write(struct bench_model *model, const char *folder, const char *config) {
  char path[4300];
  mkdir(folder, 0777);
  snprintf(path, sizeof path, "%s/config.json", folder);
  FILE *f = fopen(path, "w");
  if (f == NULL || fputs(config, f) < 0 || fclose(f) != 0) exit(2);
  snprintf(path, sizeof path, "%s/model.safetensors", folder);
  struct nk_output *output = nk_output_open(path, NK_OUTPUT_BINARY);
  model_check(output != NULL);
  struct nki_safetensors_writer *writer = nki_safetensors_writer_new(output);
  for (size_t i = 0; i < model->n; i++)
    model_check(nki_safetensors_writer_add(writer, &model->tensors[i]) == NK_OK);
  model_check(nki_safetensors_writer_begin(writer) == NK_OK);
  for (size_t i = 0; i < model->n; i++) model_fill(writer, &model->tensors[i], model->scale[i]);
  model_check(nki_safetensors_writer_finish(writer) == NK_OK);
  model_check(nk_output_commit(output) == NK_OK);
  nk_output_free(output);
  for (size_t i = 0; i < model->n; i++) free((char *)model->tensors[i].name);
}

/* A byte-level BPE tokenizer.json that names every token by its number and merges nothing: enough
 * to write the model in other forms. */
static inline void model_tokenizer(const char *folder, size_t n) {
  char path[4300];
  snprintf(path, sizeof path, "%s/tokenizer.json", folder);
  FILE *f = fopen(path, "w");
  if (f == NULL) exit(2);
  fprintf(f,
          "{\"added_tokens\": [], \"normalizer\": null, \"pre_tokenizer\": {\"type\": "
          "\"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": true}, \"model\": "
          "{\"type\": \"BPE\", \"merges\": [\"1 2\"], \"vocab\": {");
  for (size_t i = 0; i < n; i++) fprintf(f, "%s\"%zu\": %zu", i ? ", " : "", i, i);
  fprintf(f, "}}}\n");
  if (fclose(f) != 0) exit(2);
}

/* GPT-2 small: 124 million parameters. */
static inline void model_gpt2_small_of(const char *folder, enum nk_dtype dtype) {
  static struct bench_model m;
  const size_t d = 768, n_layers = 12;
  char name[64];
  m = (struct bench_model){.dtype = dtype};
  model_add(&m, "wte.weight", 50257, d, 0.14);
  model_add(&m, "wpe.weight", 1024, d, 0.02);
  for (size_t i = 0; i < n_layers; i++) {
    const struct {
      const char *name;
      size_t rows, columns;
      double scale;
    } parts[] = {{"ln_1.weight", d, 0, 0},
                 {"ln_1.bias", d, 0, 0.02},
                 {"attn.c_attn.weight", d, 3 * d, 0.1},
                 {"attn.c_attn.bias", 3 * d, 0, 0.1},
                 {"attn.c_proj.weight", d, d, 0.1},
                 {"attn.c_proj.bias", d, 0, 0.1},
                 {"ln_2.weight", d, 0, 0},
                 {"ln_2.bias", d, 0, 0.02},
                 {"mlp.c_fc.weight", d, 4 * d, 0.1},
                 {"mlp.c_fc.bias", 4 * d, 0, 0.1},
                 {"mlp.c_proj.weight", 4 * d, d, 0.1},
                 {"mlp.c_proj.bias", d, 0, 0.1}};
    for (size_t k = 0; k < sizeof parts / sizeof parts[0]; k++) {
      snprintf(name, sizeof name, "h.%zu.%s", i, parts[k].name);
      model_add(&m, name, parts[k].rows, parts[k].columns, parts[k].scale);
    }
  }
  model_add(&m, "ln_f.weight", d, 0, 0);
  model_add(&m, "ln_f.bias", d, 0, 0.02);
  model_write(&m, folder,
              "{\"model_type\": \"gpt2\", \"vocab_size\": 50257, \"n_embd\": 768, \"n_head\": 12, "
              "\"n_layer\": 12, \"n_positions\": 1024, \"n_ctx\": 1024, "
              "\"layer_norm_epsilon\": 1e-05, \"activation_function\": \"gelu_new\"}\n");
  model_tokenizer(folder, 50257);
}

static inline void model_gpt2_small(const char *folder) {
  model_gpt2_small_of(folder, NK_F32);
}

/* GPT-2 small as a GGUF without a tokenizer, its matrices of `type`. */
static inline void model_gpt2_small_gguf(const char *path, int type) {
  const struct {
    const char *name;
    size_t rows, columns;
    float value;
  } parts[] = {{"attn_norm.weight", 0, 768, 1},      {"attn_norm.bias", 0, 768, 0.02f},
               {"attn_qkv.weight", 2304, 768, 0},    {"attn_qkv.bias", 0, 2304, 0.1f},
               {"attn_output.weight", 768, 768, 0},  {"attn_output.bias", 0, 768, 0.1f},
               {"ffn_norm.weight", 0, 768, 1},       {"ffn_norm.bias", 0, 768, 0.02f},
               {"ffn_up.weight", 3072, 768, 0},      {"ffn_up.bias", 0, 3072, 0.1f},
               {"ffn_down.weight", 768, 3072, 0},    {"ffn_down.bias", 0, 768, 0.1f},
               {"token_embd.weight", 50257, 768, 0}, {"position_embd.weight", 1024, 768, 0.02f},
               {"output_norm.weight", 0, 768, 1},    {"output_norm.bias", 0, 768, 0.02f}};
  enum { N_BLOCKS = 12, N_BLOCK_PARTS = 12, N_OTHERS = 4 };
  uint64_t offset = 0;
  FILE *file = fopen(path, "wb");
  if (file == NULL) exit(2);
  gguf_begin(file, N_BLOCKS * N_BLOCK_PARTS + N_OTHERS, 7);
  gguf_text_value(file, "general.architecture", "gpt2");
  gguf_u32_value(file, "gpt2.context_length", 1024);
  gguf_u32_value(file, "gpt2.embedding_length", 768);
  gguf_u32_value(file, "gpt2.block_count", N_BLOCKS);
  gguf_u32_value(file, "gpt2.feed_forward_length", 3072);
  gguf_u32_value(file, "gpt2.attention.head_count", 12);
  gguf_f32_value(file, "gpt2.attention.layer_norm_epsilon", 1e-5f);
  for (int pass = 0; pass < 2; pass++) { /* names and places, then the data */
    if (pass == 1) gguf_pad(file);
    for (size_t i = 0; i < N_BLOCKS * N_BLOCK_PARTS + N_OTHERS; i++) {
      bool other = i >= N_BLOCKS * N_BLOCK_PARTS;
      size_t p = other ? i - (N_BLOCKS - 1) * N_BLOCK_PARTS : i % N_BLOCK_PARTS;
      size_t rows = parts[p].rows, columns = parts[p].columns;
      int its_type = rows > 0 && parts[p].value == 0 ? type : GGUF_F32;
      char name[64] = "";
      if (!other) snprintf(name, sizeof name, "blk.%zu.", i / N_BLOCK_PARTS);
      strncat(name, parts[p].name, sizeof name - strlen(name) - 1);
      if (pass == 0)
        gguf_tensor(file, name, rows, columns, its_type, &offset);
      else
        gguf_data(file, (rows > 0 ? rows : 1) * columns, its_type, parts[p].value);
    }
  }
  if (fclose(file) != 0) exit(2);
}

struct bench_llama {
  size_t dim, mlp_dim, n_heads, n_kv_heads, n_layers; /* layers: a few of the model's */
};

/* A Llama with a vocabulary of 32,000, BF16. */
static inline void model_llama(const char *folder, const struct bench_llama *l) {
  static struct bench_model m;
  const size_t d = l->dim, ff = l->mlp_dim, kv = d / l->n_heads * l->n_kv_heads;
  const size_t vocabulary = 32000;
  char name[96], config[512];
  m = (struct bench_model){.dtype = NK_BF16};
  model_add(&m, "model.embed_tokens.weight", vocabulary, d, 0.02);
  for (size_t i = 0; i < l->n_layers; i++) {
    const struct {
      const char *name;
      size_t rows, columns;
    } parts[] = {
        {"input_layernorm", d, 0},   {"self_attn.q_proj", d, d}, {"self_attn.k_proj", kv, d},
        {"self_attn.v_proj", kv, d}, {"self_attn.o_proj", d, d}, {"post_attention_layernorm", d, 0},
        {"mlp.gate_proj", ff, d},    {"mlp.up_proj", ff, d},     {"mlp.down_proj", d, ff}};
    for (size_t k = 0; k < sizeof parts / sizeof parts[0]; k++) {
      snprintf(name, sizeof name, "model.layers.%zu.%s.weight", i, parts[k].name);
      model_add(&m, name, parts[k].rows, parts[k].columns, parts[k].columns ? 0.02 : 0);
    }
  }
  model_add(&m, "model.norm.weight", d, 0, 0);
  model_add(&m, "lm_head.weight", vocabulary, d, 0.02);
  snprintf(config, sizeof config,
           "{\"model_type\": \"llama\", \"vocab_size\": 32000, \"hidden_size\": %zu, "
           "\"num_attention_heads\": %zu, \"num_key_value_heads\": %zu, "
           "\"num_hidden_layers\": %zu, \"intermediate_size\": %zu, "
           "\"max_position_embeddings\": 4096, \"rms_norm_eps\": 1e-05, \"hidden_act\": \"silu\", "
           "\"tie_word_embeddings\": false}\n",
           d, l->n_heads, l->n_kv_heads, l->n_layers, ff);
  model_write(&m, folder, config);
}

/* Llama 2 7B's shape with n_layers of its 32 blocks. */
static inline void model_llama_7b(const char *folder, size_t n_layers) {
  model_llama(folder, &(struct bench_llama){4096, 11008, 32, 32, n_layers});
}

#endif
