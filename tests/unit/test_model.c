/* Models: folders, shards, the cache, configurations, and each architecture's matrices. */
#include "unit.h"

#include <math.h>
#include <sys/stat.h>
#include <unistd.h>
#include "model/architecture.h"
#include "model/model.h"
#include "model/model_config.h"
#include "model/rows.h"
#include "model/safetensors.h"

/* ---- Small models made here ---- */

static char folder[512];

/* An empty folder of that name. */
static const char *make_model(void **state, const char *name) {
  snprintf(folder, sizeof folder, "%s/%s", (char *)*state, name);
  char command[1200];
  snprintf(command, sizeof command, "rm -rf '%s' && mkdir -p '%s'", folder, folder);
  assert_int_equal(system(command), 0);
  return folder;
}

static void add_text(const char *file, const char *text) {
  char path[1024];
  snprintf(path, sizeof path, "%s/%s", folder, file);
  write_bytes(path, text, strlen(text));
}

/* A safetensors file of F32 [rows, 2] tensors, as NAME=rows separated by spaces; every tensor has
 * values of its own, but for those of NAME=rows=k, which are those of the k-th. */
static void add_matrices(const char *file, const char *names) {
  char path[1024], list[512], *rest = list;
  snprintf(path, sizeof path, "%s/%s", folder, file);
  snprintf(list, sizeof list, "%s", names);
  static float values[256];
  for (size_t i = 0; i < 256; i++) values[i] = (float)i;
  struct nk_output *output = nk_output_open(path, NK_OUTPUT_BINARY);
  struct nki_safetensors_writer *writer = nki_safetensors_writer_new(output);
  for (char *name, k = 0; (name = strtok_r(rest, " ", &rest)) != NULL; k++) {
    char *equal = strchr(name, '='), *end;
    size_t rows = strtoul(equal + 1, &end, 10);
    size_t start = *end == '=' ? strtoul(end + 1, NULL, 10) : (size_t)k;
    *equal = 0;
    struct nk_tensor tensor = {
        .name = name, .dtype = NK_F32, .n_dims = 2, .shape = {rows, 2}, .data = values + start};
    if (name[0] == '<') { /* turned */
      tensor = (struct nk_tensor){.name = name + 1,
                                  .dtype = NK_F32,
                                  .n_dims = 2,
                                  .shape = {2, rows},
                                  .data = values + start};
    }
    assert_int_equal(nki_safetensors_writer_add(writer, &tensor), NK_OK);
  }
  assert_int_equal(nki_safetensors_writer_begin(writer), NK_OK);
  assert_int_equal(nki_safetensors_writer_finish(writer), NK_OK);
  assert_int_equal(nk_output_commit(output), NK_OK);
  nk_output_free(output);
}

/* A safetensors file with F32 [4, 2] tensors of these names, separated by spaces; a name with '!'
 * is 1-D. */
static void add_weights(const char *file, const char *names) {
  char path[1024], list[512], *rest = list;
  snprintf(path, sizeof path, "%s/%s", folder, file);
  snprintf(list, sizeof list, "%s", names);
  static const float values[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  struct nk_output *output = nk_output_open(path, NK_OUTPUT_BINARY);
  struct nki_safetensors_writer *writer = nki_safetensors_writer_new(output);
  for (char *name; (name = strtok_r(rest, " ", &rest)) != NULL;) {
    struct nk_tensor tensor = {
        .name = name, .dtype = NK_F32, .n_dims = 2, .shape = {4, 2}, .data = values};
    if (name[strlen(name) - 1] == '!') {
      name[strlen(name) - 1] = 0;
      tensor.n_dims = 1;
    }
    assert_int_equal(nki_safetensors_writer_add(writer, &tensor), NK_OK);
  }
  assert_int_equal(nki_safetensors_writer_begin(writer), NK_OK);
  assert_int_equal(nki_safetensors_writer_finish(writer), NK_OK);
  assert_int_equal(nk_output_commit(output), NK_OK);
  nk_output_free(output);
}

static void assert_no_model(const char *name, const char *message) {
  assert_null(nk_model_open(name));
  if (strstr(nk_error(), message) == NULL) fail_msg("'%s' instead of '%s'", nk_error(), message);
}

/* ---- Matrices ---- */

static void the_matrices_of_each_architecture_are_found(void **state) {
  static const struct {
    const char *config, *names;
    const char *input, *output, *position; /* NULL: none */
    bool tied;
  } cases[] = {
      /* the names of tensors and the defaults of Hugging Face's implementations */
      {"\"model_type\":\"gpt2\"", "wte.weight wpe.weight h.0.attn.c_attn.weight", "wte.weight",
       "wte.weight", "wpe.weight", true},
      {"\"model_type\":\"gpt2\"", "transformer.wte.weight transformer.wpe.weight lm_head.weight",
       "transformer.wte.weight", "transformer.wte.weight", "transformer.wpe.weight", true},
      {"\"model_type\":\"gpt2\",\"tie_word_embeddings\":false",
       "transformer.wte.weight transformer.wpe.weight lm_head.weight", "transformer.wte.weight",
       "lm_head.weight", "transformer.wpe.weight", false},
      {"\"model_type\":\"gptj\"", "transformer.wte.weight lm_head.bias! lm_head.weight",
       "transformer.wte.weight", "lm_head.weight", NULL, false},
      {"\"model_type\":\"gpt_neox\"", "gpt_neox.embed_in.weight embed_out.weight",
       "gpt_neox.embed_in.weight", "embed_out.weight", NULL, false},
      {"\"model_type\":\"opt\"",
       "model.decoder.embed_tokens.weight model.decoder.embed_positions.weight",
       "model.decoder.embed_tokens.weight", "model.decoder.embed_tokens.weight",
       "model.decoder.embed_positions.weight", true},
      {"\"model_type\":\"opt\"", "decoder.embed_tokens.weight decoder.embed_positions.weight",
       "decoder.embed_tokens.weight", "decoder.embed_tokens.weight",
       "decoder.embed_positions.weight", true},
      {"\"model_type\":\"llama\"", "model.embed_tokens.weight lm_head.weight model.norm.weight!",
       "model.embed_tokens.weight", "lm_head.weight", NULL, false},
      {"\"model_type\":\"llama\",\"tie_word_embeddings\":true", "model.embed_tokens.weight",
       "model.embed_tokens.weight", "model.embed_tokens.weight", NULL, true},
      {"\"model_type\":\"mistral\"", "model.embed_tokens.weight lm_head.weight",
       "model.embed_tokens.weight", "lm_head.weight", NULL, false},
      {"\"model_type\":\"qwen2\",\"tie_word_embeddings\":true", "model.embed_tokens.weight",
       "model.embed_tokens.weight", "model.embed_tokens.weight", NULL, true},
      {"\"model_type\":\"qwen3\"", "model.embed_tokens.weight lm_head.weight",
       "model.embed_tokens.weight", "lm_head.weight", NULL, false},
      {"\"model_type\":\"gemma\"", "model.embed_tokens.weight", "model.embed_tokens.weight",
       "model.embed_tokens.weight", NULL, true},
      {"\"model_type\":\"gemma2\"", "model.embed_tokens.weight", "model.embed_tokens.weight",
       "model.embed_tokens.weight", NULL, true},
      {"\"model_type\":\"phi\"", "model.embed_tokens.weight lm_head.weight lm_head.bias!",
       "model.embed_tokens.weight", "lm_head.weight", NULL, false},
      {"\"model_type\":\"phi3\"", "model.embed_tokens.weight lm_head.weight",
       "model.embed_tokens.weight", "lm_head.weight", NULL, false},
      /* a multimodal model: the language model's part counts */
      {"\"model_type\":\"llava\",\"text_config\":{\"model_type\":\"llama\"}",
       "language_model.model.embed_tokens.weight language_model.lm_head.weight "
       "vision_tower.patch.weight",
       "language_model.model.embed_tokens.weight", "language_model.lm_head.weight", NULL, false},
      {"\"model_type\":\"gemma3\",\"text_config\":{\"model_type\":\"gemma3_text\"}",
       "model.language_model.embed_tokens.weight", "model.language_model.embed_tokens.weight",
       "model.language_model.embed_tokens.weight", NULL, true},
      /* of two tied tensors only the output is stored */
      {"\"model_type\":\"llama\",\"tie_word_embeddings\":true", "lm_head.weight", "lm_head.weight",
       "lm_head.weight", NULL, true},
      /* an architecture that is not in the table, by the usual names; InternLM 2 as published */
      {"\"model_type\":\"internlm2\",\"tie_word_embeddings\":false",
       "model.tok_embeddings.weight model.layers.0.attention.wo.weight output.weight",
       "model.tok_embeddings.weight", "output.weight", NULL, false},
      {"\"model_type\":\"newcomer\"", "backbone.tok_embeddings.weight output.weight",
       "backbone.tok_embeddings.weight", "output.weight", NULL, false},
      {"\"model_type\":\"newcomer\"", "deep.below.wte.weight", "deep.below.wte.weight",
       "deep.below.wte.weight", NULL, true},
      {"", "wte.weight wpe.weight", "wte.weight", "wte.weight", "wpe.weight", true},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char config[512];
    make_model(state, "model");
    snprintf(config, sizeof config, "{%s}", cases[i].config);
    add_text("config.json", config);
    add_weights("model.safetensors", cases[i].names);
    struct nk_model *model = nk_model_open(folder);
    if (model == NULL) fail_msg("case %zu: %s", i, nk_error());
    const char *wanted[3] = {cases[i].input, cases[i].output, cases[i].position};
    for (int m = 0; m < 3; m++) {
      bool tied = false;
      const struct nk_tensor *tensor = nk_model_matrix(model, (enum nk_matrix)m, &tied);
      if ((tensor == NULL) != (wanted[m] == NULL) ||
          (tensor != NULL && strcmp(tensor->name, wanted[m]) != 0))
        fail_msg("case %zu, matrix %d: %s", i, m, tensor != NULL ? tensor->name : nk_error());
      if (m != NK_MATRIX_POSITION && tied != cases[i].tied) fail_msg("case %zu: tied %d", i, tied);
    }
    nk_model_free(model);
  }
}

static void a_matrix_that_is_not_found_names_the_candidates(void **state) {
  make_model(state, "model");
  add_text("config.json", "{\"model_type\":\"strange\",\"hidden_size\":2}");
  add_weights("model.safetensors", "first.table second.table bias!");
  struct nk_model *model = nk_model_open(folder);
  assert_null(nk_model_matrix(model, NK_MATRIX_INPUT, NULL));
  assert_string_equal(nk_error(),
                      "model: no input matrix known for model type strange; tensors "
                      "that could be meant: first.table [4, 2], second.table [4, 2]");
  assert_null(nk_model_matrix(model, NK_MATRIX_POSITION, NULL));
  nk_model_free(model);
  add_text("config.json", "{\"model_type\":\"llama\"}"); /* untied, and no lm_head */
  add_weights("model.safetensors", "model.embed_tokens.weight");
  assert_non_null(model = nk_model_open(folder));
  assert_non_null(nk_model_matrix(model, NK_MATRIX_INPUT, NULL));
  assert_null(nk_model_matrix(model, NK_MATRIX_OUTPUT, NULL));
  assert_non_null(strstr(nk_error(), "no output matrix in this llama model"));
  nk_model_free(model);
  add_text("config.json", "{\"model_type\":\"gpt2\",\"tie_word_embeddings\":0}");
  assert_non_null(model = nk_model_open(folder));
  assert_null(nk_model_matrix(model, NK_MATRIX_OUTPUT, NULL));
  assert_non_null(strstr(nk_error(), "'tie_word_embeddings' is not true or false"));
  nk_model_free(model);
}

static void count_warnings(const char *message, void *user) {
  (void)message;
  ++*(int *)user;
}

/* Where more than one tensor may be the output matrix, an error lists them; none is a wrong answer.
 * */
static void the_output_matrix_is_found_or_refused_under_any_name(void **state) {
  static const struct {
    const char *config, *weights;
    const char *output; /* NULL: an error that lists it */
    int warnings;
  } cases[] = {
      /* OLMo's own names, with and without a configuration that says */
      {"{\"model_type\":\"hf_olmo\",\"weight_tying\":false}",
       "model.transformer.wte.weight=40 model.transformer.ff_out.weight=40 "
       "model.transformer.blocks.0.ff_out.weight=40",
       "model.transformer.ff_out.weight", 1},
      {"{}", "model.transformer.wte.weight=40 model.transformer.ff_out.weight=40",
       "model.transformer.ff_out.weight", 1},
      {"{\"weight_tying\":true}", "model.transformer.wte.weight=40 ff_out.weight=40",
       "model.transformer.wte.weight", 0},
      /* a block's matrix of the same shape, a copy of the input, a position matrix: no candidates
       * */
      {"{}", "wte.weight=40 wpe.weight=40 layers.0.up.weight=40 copy.weight=40=0", "wte.weight", 0},
      /* a usual name in a block, or of another width, is no output matrix */
      {"{}", "wte.weight=40 blocks.0.mlp.output.weight=40", "wte.weight", 0},
      {"{}", "0.wrapped.wte.weight=40 0.wrapped.lm_head.weight=40", "0.wrapped.lm_head.weight", 0},
      {"{}", "wte.weight=40 <vision.head.weight=9", "wte.weight", 0},
      {"{}", "wte.weight=40 blocks.0.output.weight=9 generator.weight=40", "generator.weight", 1},
      /* padded, turned, another embedding, two of them: listed */
      {"{}", "wte.weight=40 generator.weight=42", NULL, 0},
      {"{}", "wte.weight=40 <generator.weight=40", NULL, 0},
      {"{}", "wte.weight=40 segment_embedding=40", NULL, 0},
      {"{}", "wte.weight=40 generator.weight=40 decoder.weight=40", NULL, 0},
      /* a family that is tied by default, with a matrix that its class does not know */
      {"{\"model_type\":\"gpt2\"}", "wte.weight=40 generator.weight=40", NULL, 0},
      {"{\"model_type\":\"gpt2\",\"tie_word_embeddings\":true}",
       "wte.weight=40 generator.weight=40", "wte.weight", 0},
      /* a family that is not tied by default */
      {"{\"model_type\":\"llama\"}", "model.embed_tokens.weight=40 generator.weight=40", NULL, 0},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    make_model(state, "unnamed");
    add_text("config.json", cases[i].config);
    add_matrices("model.safetensors", cases[i].weights);
    struct nk_model *model = nk_model_open(folder);
    assert_non_null(model);
    int warnings = 0;
    nk_on_warning(count_warnings, &warnings);
    bool tied = false;
    for (int twice = 0; twice < 2; twice++) {
      const struct nk_tensor *output = nk_model_matrix(model, NK_MATRIX_OUTPUT, &tied);
      const char *found = output != NULL ? output->name : NULL;
      if ((found == NULL) != (cases[i].output == NULL) ||
          (found != NULL && strcmp(found, cases[i].output) != 0))
        fail_msg("case %zu: %s", i, found != NULL ? found : nk_error());
      if (found == NULL &&
          strstr(nk_error(), strstr(cases[i].weights, "segment") != NULL
                                 ? "segment_embedding"
                                 : "generator.weight") == NULL &&
          strchr(cases[i].weights, '<') == NULL)
        fail_msg("case %zu: %s", i, nk_error());
    }
    nk_on_warning(NULL, NULL);
    assert_int_equal(warnings, cases[i].warnings);
    const struct nk_tensor *input = nk_model_matrix(model, NK_MATRIX_INPUT, NULL);
    assert_non_null(input);
    if (cases[i].output != NULL) assert_int_equal(tied, strcmp(cases[i].output, input->name) == 0);
    nk_model_free(model);
  }
}

/* Where the configuration does not say, as Transformers 5 does: "both are present in the
 * checkpoints with different values, so we will NOT tie them". */
static void matrices_that_differ_are_tied_only_where_the_configuration_says_so(void **state) {
  static const struct {
    const char *config, *weights, *output;
    int warnings;
  } cases[] = {
      {"{\"model_type\":\"gpt2\"}", "wte.weight=40 lm_head.weight=40", "lm_head.weight", 1},
      {"{\"model_type\":\"gpt2\"}", "wte.weight=40 lm_head.weight=40=0", "wte.weight", 0},
      {"{\"model_type\":\"gpt2\",\"tie_word_embeddings\":true}", "wte.weight=40 lm_head.weight=40",
       "wte.weight", 1},
      {"{\"model_type\":\"mistral3\",\"text_config\":{}}",
       "language_model.model.embed_tokens.weight=40", "language_model.model.embed_tokens.weight",
       0},
      {"{\"model_type\":\"mistral3\",\"text_config\":{}}",
       "language_model.model.embed_tokens.weight=40 language_model.lm_head.weight=40",
       "language_model.lm_head.weight", 1},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    make_model(state, "both");
    add_text("config.json", cases[i].config);
    add_matrices("model.safetensors", cases[i].weights);
    struct nk_model *model = nk_model_open(folder);
    int warnings = 0;
    nk_on_warning(count_warnings, &warnings);
    const struct nk_tensor *output = nk_model_matrix(model, NK_MATRIX_OUTPUT, NULL);
    nk_on_warning(NULL, NULL);
    assert_non_null(output);
    assert_string_equal(output->name, cases[i].output);
    assert_int_equal(warnings, cases[i].warnings);
    nk_model_free(model);
  }
}

/* ---- Files ---- */

static void shards_are_one_model(void **state) {
  make_model(state, "sharded");
  add_weights("model-1.safetensors", "model.embed_tokens.weight model.layers.0.w both");
  add_weights("model-2.safetensors", "lm_head.weight both");
  add_text("model.safetensors.index.json",
           "{\"metadata\":{\"total_size\":1},\"weight_map\":{"
           "\"lm_head.weight\":\"model-2.safetensors\",\"both\":\"model-2.safetensors\","
           "\"model.embed_tokens.weight\":\"model-1.safetensors\","
           "\"model.layers.0.w\":\"model-1.safetensors\"}}");
  struct nk_model *model = nk_model_open(folder);
  if (model == NULL) fail_msg("%s", nk_error());
  assert_int_equal(nk_model_n_tensors(model), 4);
  assert_string_equal(nk_model_name(model), "sharded");
  const struct nk_tensor *output = nk_model_find(model, "lm_head.weight");
  float row[2];
  assert_int_equal(nk_model_rows(output, 3, 1, row), NK_OK);
  assert_true(row[0] == 7 && row[1] == 8);
  assert_int_equal(nk_model_rows(output, 3, 2, row), NK_EUSAGE);
  nki_model_forget(model, output, 0, 4);
  assert_null(nki_model_type(model));
  nk_model_free(model);
}

static void faults_of_shards_are_named(void **state) {
  static const struct {
    const char *map, *message;
  } cases[] = {
      {"{\"a\":\"three.safetensors\",\"b\":\"two.safetensors\"}",
       "shard 'three.safetensors' is missing, and all others"},
      {"{\"a\":\"../../secret.safetensors\"}", "shard '../../secret.safetensors' is not the name"},
      {"{\"a\":\"/etc/one.safetensors\"}", "is not the name of a .safetensors file beside it"},
      {"{\"a\":\"config.json\"}", "is not the name of a .safetensors file beside it"},
      {"{\"a\":7}", "line 1, column 20: '\"' expected"},
      {"{\"a\":\"one.safetensors\",\"a\":\"one.safetensors\"}", "duplicate tensor 'a'"},
      {"{}", "'weight_map' is missing or empty"},
      {"[]", "line 1, column 15: '{' expected"},
      {"{\"a\":", "line 1, column"},
  };
  make_model(state, "faulty");
  add_weights("one.safetensors", "a b");
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char index[512];
    snprintf(index, sizeof index, "{\"weight_map\":%s}", cases[i].map);
    add_text("model.safetensors.index.json", index);
    assert_no_model(folder, cases[i].message);
  }
}

/* Warnings, joined. */
static void gather_warnings(const char *message, void *user) {
  char *all = user;
  snprintf(all + strlen(all), 1024 - strlen(all), "%s\n", message);
}

/* Transformers opens such folders, or those of which a user fetched the shard that matters. */
static void a_tensor_that_no_shard_holds_is_an_error_when_asked_for(void **state) {
  make_model(state, "partial");
  add_text("config.json", "{\"model_type\":\"llama\"}");
  add_weights("one.safetensors", "model.embed_tokens.weight model.norm.weight!");
  add_text("model.safetensors.index.json",
           "{\"weight_map\":{\"model.embed_tokens.weight\":\"one.safetensors\","
           "\"mtp.fc.weight\":\"one.safetensors\",\"model.norm.weight\":\"two.safetensors\","
           "\"lm_head.weight\":\"two.safetensors\"}}");
  char warnings[1024] = "";
  nk_on_warning(gather_warnings, warnings);
  struct nk_model *model = nk_model_open(folder);
  nk_on_warning(NULL, NULL);
  assert_non_null(model);
  assert_non_null(strstr(warnings, "1 of 2 shards are missing (the first is 'two.safetensors')"));
  assert_non_null(strstr(warnings,
                         "names 1 tensor that the shards do not hold (the first is "
                         "'mtp.fc.weight', not in one.safetensors)"));
  assert_int_equal(nk_model_n_tensors(model),
                   2); /* norm: where it is, not where it is said to be */
  assert_non_null(nk_model_find(model, "model.norm.weight"));
  assert_non_null(nk_model_matrix(model, NK_MATRIX_INPUT, NULL));
  assert_null(nk_model_find(model, "mtp.fc.weight"));
  assert_string_equal(nk_error(),
                      "partial: tensor 'mtp.fc.weight' is not there: its shard "
                      "'one.safetensors' does not hold it");
  assert_null(nk_model_find(model, "x"));
  assert_string_equal(nk_error(), "partial: no tensor 'x'");
  assert_null(nk_model_matrix(model, NK_MATRIX_OUTPUT, NULL)); /* not the input matrix */
  assert_string_equal(nk_error(),
                      "partial: tensor 'lm_head.weight' is not there: its shard "
                      "'two.safetensors' is missing");
  nk_model_free(model);
  add_text("config.json", "{\"model_type\":\"llama\",\"hidden_size\":2,\"num_attention_heads\":1}");
  assert_non_null(model = nk_model_open(folder));
  assert_null(nk_model_forward(model));
  assert_string_equal(nk_error(),
                      "partial: the forward pass needs all weights: 1 shard is missing");
  nk_model_free(model);
  add_text("config.json", "{}"); /* of an unknown architecture too */
  assert_non_null(model = nk_model_open(folder));
  bool tied = true;
  assert_non_null(nk_model_matrix(model, NK_MATRIX_INPUT, &tied));
  assert_false(tied);
  assert_null(nk_model_matrix(model, NK_MATRIX_OUTPUT, NULL));
  assert_non_null(strstr(nk_error(), "'two.safetensors' is missing"));
  nk_model_free(model);
}

static void numbered_shards_need_no_index(void **state) {
  make_model(state, "numbered");
  add_weights("model-00001-of-00003.safetensors", "model.embed_tokens.weight");
  add_weights("model-00003-of-00003.safetensors", "lm_head.weight");
  struct nk_model *model = nk_model_open(folder);
  assert_non_null(model);
  assert_int_equal(nk_model_n_tensors(model), 2);
  nk_model_free(model);
  add_weights("other-00001-of-00003.safetensors", "x");
  assert_no_model(folder, "3 .safetensors files and no model.safetensors.index.json");
}

static void folders_without_readable_weights_say_why(void **state) {
  make_model(state, "empty");
  assert_no_model(folder, "no weights in this folder");
  add_text("model.gguf", "GGUF");
  assert_no_model(folder, "name model.gguf itself");
  char path[1024];
  snprintf(path, sizeof path, "%s/model.gguf", folder);
  assert_no_model(path, "ends within the header");
  add_text("pytorch_model.bin", "x");
  assert_no_model(folder, "pytorch_model.bin: pickled weights are not read; save the model");
  add_text("adapter_config.json", "{\"peft_type\":\"LORA\"}");
  assert_no_model(folder, "an adapter without its model, which adapter_config.json names; merge");
  add_weights("adapter_model.safetensors", "lora_A");
  assert_no_model(folder, "an adapter without its model");
  make_model(state, "one");
  add_weights("a.safetensors", "w");
  struct nk_model *model = nk_model_open(folder); /* the only one */
  assert_non_null(model);
  nk_model_free(model);
  add_weights("b.safetensors", "w");
  assert_no_model(folder, "2 .safetensors files and no model.safetensors.index.json");
  add_weights("model.safetensors", "w");
  add_text("config.json", "{\n\"model_type\" 7}");
  assert_no_model(folder, "config.json: line 2, column");
  add_text("config.json", "[1]");
  assert_no_model(folder, "config.json: not a JSON object");
}

static void a_single_file_is_a_model_without_configuration(void **state) {
  make_model(state, "single");
  add_text("config.json", "{\"model_type\":\"llama\"}");
  add_text("tokenizer.json", "{}");
  add_weights("wte.safetensors", "wte.weight");
  char path[1024];
  snprintf(path, sizeof path, "%s/wte.safetensors", folder);
  struct nk_model *model = nk_model_open(path);
  assert_non_null(model);
  assert_string_equal(nk_model_name(model), "wte.safetensors");
  assert_null(nki_model_type(model));
  assert_null(nki_model_path(model, "tokenizer.json"));
  nk_model_free(model);
  assert_non_null(model = nk_model_open(folder));
  assert_non_null(strstr(nki_model_path(model, "tokenizer.json"), "single/tokenizer.json"));
  assert_null(nki_model_path(model, "merges.txt"));
  nk_model_free(model);
}

/* ---- The cache ---- */

/* A cached model under hub/models--NAME, its weights linked from blobs. */
static void add_cached(void **state, const char *name, const char *revision, bool with_ref) {
  char command[2048], hub[300];
  snprintf(hub, sizeof hub, "hub/models--%s/blobs", name);
  make_model(state, hub);
  add_weights("0f", "wte.weight");
  folder[strlen(folder) - strlen("/blobs")] = 0;
  snprintf(command, sizeof command,
           "cd '%s' && mkdir -p refs snapshots/%s && ln -s ../../blobs/0f "
           "snapshots/%s/model.safetensors",
           folder, revision, revision);
  if (with_ref) add_text("refs-main", revision);
  snprintf(command + strlen(command), 64, with_ref ? " && mv refs-main refs/main" : "");
  assert_int_equal(system(command), 0);
}

static void names_are_looked_up_in_the_cache(void **state) {
  char hub[400], home[300];
  snprintf(home, sizeof home, "%s", (char *)*state);
  snprintf(hub, sizeof hub, "%s/hub", home);
  add_cached(state, "openai-community--gpt2", "11aa", true);
  add_cached(state, "some--model", "22bb", false);
  unsetenv("HF_HUB_CACHE");
  setenv("HF_HOME", home, 1);
  static const char *const names[] = {"openai-community/gpt2", "gpt2", "some/model"};
  for (int i = 0; i < 3; i++) {
    struct nk_model *model = nk_model_open(names[i]);
    if (model == NULL) fail_msg("%s: %s", names[i], nk_error());
    assert_string_equal(nk_model_name(model), names[i]);
    nk_model_free(model);
  }
  struct nk_model *model = nk_model_open(folder); /* the cache's own folder of a model */
  assert_non_null(model);
  nk_model_free(model);
  assert_no_model("some/other", "hub (models--some--other)");
  assert_no_model("other", "models--other, models--openai-community--other");
  assert_no_model("../etc/passwd", "../etc/passwd: no such file or folder");
  assert_no_model("a/b/c", "a/b/c: no such file or folder");
  setenv("HF_HUB_CACHE", "/nonexistent", 1); /* it comes first */
  assert_no_model("openai-community/gpt2", "the cache /nonexistent (");
  setenv("HF_HUB_CACHE", hub, 1);
  setenv("HF_HOME", "/nonexistent", 1);
  assert_non_null(model = nk_model_open("some/model"));
  nk_model_free(model);
  add_cached(state, "odd--ref", "33cc", true);
  add_text("refs/main", "../../..");
  assert_no_model("odd/ref", "no commit hash in this file");
  add_text("refs/main", "44dd\n");
  assert_no_model("odd/ref", "the snapshot named in refs/main is missing");
  unsetenv("HF_HUB_CACHE");
  unsetenv("HF_HOME");
}

/* ---- Configurations ---- */

static void values_of_the_configuration_are_checked(void **state) {
  make_model(state, "model");
  add_weights("model.safetensors", "wte.weight");
  add_text("config.json",
           "{\"n\":7,\"big\":1e4,\"half\":0.5,\"yes\":true,\"none\":null,\"s\":\"silu\","
           "\"rope_scaling\":{\"factor\":8,\"type\":\"linear\"},\"a\":[1,2.5],\"names\":[\"X\"],"
           "\"hidden_size\":1,\"text_config\":{\"hidden_size\":64,\"none\":null}}");
  struct nk_model *model = nk_model_open(folder);
  int64_t integer = -1;
  double number = -1;
  bool yes = false;
  const char *string = NULL;
  assert_int_equal(nki_model_config_integer(model, "n", &integer), NK_OK);
  assert_int_equal(integer, 7);
  assert_int_equal(nki_model_config_integer(model, "big", &integer), NK_OK);
  assert_int_equal(integer, 10000);
  assert_int_equal(nki_model_config_integer(model, "half", &integer), NK_EDATA);
  assert_int_equal(nki_model_config_integer(model, "none", &integer), NK_ENOTFOUND);
  assert_int_equal(nki_model_config_integer(model, "missing", &integer), NK_ENOTFOUND);
  assert_int_equal(integer, 10000);
  assert_int_equal(nki_model_config_integer(model, "hidden_size", &integer), NK_OK);
  assert_int_equal(integer, 64); /* the language model's */
  assert_int_equal(nki_model_config_number(model, "rope_scaling.factor", &number), NK_OK);
  assert_true(number == 8);
  assert_int_equal(nki_model_config_number(model, "s", &number), NK_EDATA);
  assert_string_equal(nk_error(), "model: config.json: 's' is not a number");
  assert_int_equal(nki_model_config_bool(model, "yes", &yes), NK_OK);
  assert_true(yes);
  assert_int_equal(nki_model_config_bool(model, "n", &yes), NK_EDATA);
  assert_int_equal(nki_model_config_string(model, "rope_scaling.type", &string), NK_OK);
  assert_string_equal(string, "linear");
  assert_int_equal(nki_model_config_string(model, "rope_scaling.type.x", &string), NK_ENOTFOUND);
  assert_int_equal(nki_model_config_number_at(model, "a", 1, &number), NK_OK);
  assert_true(number == 2.5);
  assert_int_equal(nki_model_config_number_at(model, "a", 2, &number), NK_ENOTFOUND);
  assert_int_equal(nki_model_config_number_at(model, "n", 0, &number), NK_EDATA);
  assert_int_equal(nki_model_config_string_at(model, "names", 0, &string), NK_OK);
  assert_int_equal(nki_model_config_string_at(model, "a", 0, &string), NK_EDATA);
  nk_model_free(model);
}

/* What is read of a configuration, in the order of the fixture. */
static const enum nki_setting read_settings[] = {
    NKI_SETTING_N_POSITIONS, NKI_SETTING_DIM,         NKI_SETTING_MLP_DIM,
    NKI_SETTING_N_LAYERS,    NKI_SETTING_N_HEADS,     NKI_SETTING_N_KV_HEADS,
    NKI_SETTING_HEAD_DIM,    NKI_SETTING_WINDOW,      NKI_SETTING_LAYER_NORM_EPS,
    NKI_SETTING_ROTARY_BASE, NKI_SETTING_ROTARY_PART, NKI_SETTING_ROPE_FACTOR,
    NKI_SETTING_N_EXPERTS,   NKI_SETTING_N_ACTIVE,    NKI_SETTING_EXPERT_DIM,
    NKI_SETTING_SHARED_DIM,  NKI_SETTING_LOGIT_SCALE,
};
enum { N_EXPECTED = sizeof read_settings / sizeof *read_settings };
#include "configurations.h"

/* The value of the setting, or what the forward pass takes where there is none. */
static double setting_of(const struct nk_model *model, size_t s) {
  const struct nki_architecture *architecture = nki_architecture_find(nki_model_type(model));
  enum nki_setting setting = read_settings[s];
  double value = 0, dim = 0, heads = 1;
  bool rms = architecture->norm != NKI_LAYER_NORM;
  if (setting == NKI_SETTING_LAYER_NORM_EPS && rms) setting = NKI_SETTING_RMS_NORM_EPS;
  int code = nki_setting_number(model, setting, &value);
  assert_true(code == NK_OK || code == NK_ENOTFOUND);
  if (code == NK_OK) return value;
  assert_int_equal(nki_setting_number(model, NKI_SETTING_DIM, &dim), NK_OK);
  assert_int_equal(nki_setting_number(model, NKI_SETTING_N_HEADS, &heads), NK_OK);
  switch (read_settings[s]) {
    case NKI_SETTING_MLP_DIM:
      return 4 * dim;
    case NKI_SETTING_N_KV_HEADS:
      return heads;
    case NKI_SETTING_HEAD_DIM:
      return floor(dim / heads);
    case NKI_SETTING_LAYER_NORM_EPS:
      return architecture->norm_eps;
    case NKI_SETTING_ROTARY_BASE:
      return 10000;
    case NKI_SETTING_ROTARY_PART:
      return architecture->rotary_part;
    default:
      return 0;
  }
}

static void configurations_are_read_as_transformers_reads_them(void **state) {
  for (size_t i = 0; i < sizeof configurations / sizeof *configurations; i++) {
    make_model(state, "model");
    add_weights("model.safetensors", "wte.weight");
    add_text("config.json", configurations[i].config);
    struct nk_model *model = nk_model_open(folder);
    assert_non_null(model);
    assert_string_equal(nki_model_type(model), configurations[i].type);
    for (size_t s = 0; s < N_EXPECTED; s++) {
      enum nki_setting setting = read_settings[s];
      double expected = configurations[i].expected[s], found = setting_of(model, s);
      /* 0: the class has no such value (no rotary positions, eps within the code; windows unused)
       * */
      if (expected == 0 && setting != NKI_SETTING_ROPE_FACTOR) continue;
      if (found != expected)
        fail_msg("%s: setting %d is %g, expected %g", configurations[i].config, (int)setting, found,
                 expected);
    }
    double window = 0;
    if (strstr(configurations[i].config, "\"sliding_window\": null") != NULL)
      assert_int_equal(nki_setting_number(model, NKI_SETTING_WINDOW, &window), NK_ENOTFOUND);
    nk_model_free(model);
  }
}

/* ---- Chains of calls ---- */

static void counting_the_rows_of_a_tokenizer_alone_leaves_no_error(void **state) {
  make_model(state, "tokenizer-only");
  add_text("tokenizer.json", "{}");
  size_t n_rows = 9;
  assert_int_equal(nk_model_count_rows(folder, &n_rows), NK_OK);
  assert_int_equal(n_rows, 0);
  assert_string_equal(nk_error(), "");
  assert_int_equal(nk_error_code(), NK_OK);
  add_weights("model.safetensors", "wte.weight");
  assert_int_equal(nk_model_count_rows(folder, &n_rows), NK_OK);
  assert_int_equal(n_rows, 4);
  add_text("model.safetensors", "x");
  assert_int_equal(nk_model_count_rows(folder, &n_rows), NK_EDATA);
}

static void the_message_of_a_failed_open_lasts_through_later_calls(void **state) {
  (void)state;
  struct nk_model *model = nk_model_open("/nonexistent/model");
  char message[256];
  float row[1];
  int64_t integer = 7;
  snprintf(message, sizeof message, "%s", nk_error());
  assert_null(model);
  const struct nk_tensor *matrix = nk_model_matrix(model, NK_MATRIX_INPUT, NULL);
  assert_true(matrix == NULL && nk_model_find(model, "wte.weight") == NULL);
  assert_int_equal(nk_model_rows(matrix, 0, 1, row), NK_ENOTFOUND);
  assert_null(nk_extract_begin(model, matrix, "input", NULL, 0));
  assert_null(nk_model_name(model));
  assert_null(nk_model_folder(model));
  assert_int_equal(nk_model_n_tensors(model), 0);
  assert_null(nk_model_tensor(model, 0));
  assert_int_equal(nk_model_write(model, NULL, NULL), NK_ENOTFOUND);
  assert_int_equal(integer, 7);
  nk_model_free(model);
  assert_string_equal(nk_error(), message);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_matrices_of_each_architecture_are_found),
      cmocka_unit_test(a_matrix_that_is_not_found_names_the_candidates),
      cmocka_unit_test(shards_are_one_model),
      cmocka_unit_test(faults_of_shards_are_named),
      cmocka_unit_test(a_tensor_that_no_shard_holds_is_an_error_when_asked_for),
      cmocka_unit_test(numbered_shards_need_no_index),
      cmocka_unit_test(the_output_matrix_is_found_or_refused_under_any_name),
      cmocka_unit_test(matrices_that_differ_are_tied_only_where_the_configuration_says_so),
      cmocka_unit_test(folders_without_readable_weights_say_why),
      cmocka_unit_test(a_single_file_is_a_model_without_configuration),
      cmocka_unit_test(names_are_looked_up_in_the_cache),
      cmocka_unit_test(values_of_the_configuration_are_checked),
      cmocka_unit_test(configurations_are_read_as_transformers_reads_them),
      cmocka_unit_test(counting_the_rows_of_a_tokenizer_alone_leaves_no_error),
      cmocka_unit_test(the_message_of_a_failed_open_lasts_through_later_calls),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
