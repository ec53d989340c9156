/* Which of a model's tensors are its embedding, unembedding and position matrices. */
#include <noken/base.h>
#include <stdio.h>
#include <string.h>

#include <noken/model.h>
#include "model/gguf.h"
#include "model/model.h"

/* ---- What is known of each architecture ---- */

struct architecture {
  const char *type;     /* config.json's model_type */
  const char *names[3]; /* of input, output and position, below any prefix; NULL: has none */
  bool tied; /* when config.json has no tie_word_embeddings: the architecture's default */
};

#define GPT2_NAMES \
  { "wte.weight", "lm_head.weight", "wpe.weight" }
#define LLAMA_NAMES \
  { "embed_tokens.weight", "lm_head.weight", NULL }
#define WORD_NAMES \
  { "word_embeddings.weight", "lm_head.weight", NULL }

/* OPT's position matrix has two rows more than positions: position p is row p + 2. The output
 * biases of GPT-J and Phi are no part of a matrix and are left to the forward pass. */
static const struct architecture architectures[] = {
    {"gpt2", GPT2_NAMES, true},
    {"gpt_neo", GPT2_NAMES, true},
    {"gpt_bigcode", GPT2_NAMES, true},
    {"gptj", {"wte.weight", "lm_head.weight", NULL}, false},
    {"codegen", {"wte.weight", "lm_head.weight", NULL}, false},
    {"mpt", {"wte.weight", "lm_head.weight", NULL}, true},
    {"gpt_neox", {"embed_in.weight", "embed_out.weight", NULL}, false},
    {"opt", {"embed_tokens.weight", "lm_head.weight", "embed_positions.weight"}, true},
    {"bloom", WORD_NAMES, true},
    {"falcon", WORD_NAMES, true},
    {"llama", LLAMA_NAMES, false},
    {"mistral", LLAMA_NAMES, false},
    {"mixtral", LLAMA_NAMES, false},
    {"qwen2", LLAMA_NAMES, false},
    {"qwen2_moe", LLAMA_NAMES, false},
    {"qwen3", LLAMA_NAMES, false},
    {"qwen3_moe", LLAMA_NAMES, false},
    {"olmo", LLAMA_NAMES, false},
    {"olmo2", LLAMA_NAMES, false},
    {"stablelm", LLAMA_NAMES, false},
    {"gemma", LLAMA_NAMES, true},
    {"gemma2", LLAMA_NAMES, true},
    {"gemma3", LLAMA_NAMES, true},
    {"gemma3_text", LLAMA_NAMES, true},
    {"cohere", LLAMA_NAMES, true},
    {"phi", LLAMA_NAMES, false},
    {"phi3", LLAMA_NAMES, false},
};

/* For the other architectures: names to try, in this order. */
static const char *const usual_names[3][8] = {
    {"wte.weight", "embed_tokens.weight", "embed_in.weight", "word_embeddings.weight",
     "tok_embeddings.weight", "token_embedding.weight", "embeddings.weight", NULL},
    {"lm_head.weight", "embed_out.weight", "output.weight", "head.weight", "unembed.weight",
     "lm_head.linear.weight", NULL},
    {"wpe.weight", "embed_positions.weight", "position_embeddings.weight",
     "position_embedding.weight", NULL},
};

/* What stands before those names, by how the model was built and saved. */
static const char *const prefixes[] = {
    "",
    "transformer.",
    "model.",
    "gpt_neox.",
    "model.decoder.",
    "decoder.",
    "language_model.",
    "language_model.model.",
    "model.language_model.",
    "language_model.transformer.",
    "text_model.",
    "backbone.",
};

static const char *const matrix_names[3] = {"input", "output", "position"};

static const struct architecture *find_architecture(const struct nk_model *model) {
  const char *type = nk_model_type(model);
  for (size_t i = 0; type && i < sizeof architectures / sizeof *architectures; i++) {
    if (strcmp(architectures[i].type, type) == 0) return &architectures[i];
  }
  return NULL;
}

/* ---- Looking ---- */

/* The 2-D tensor called name below one of the prefixes, or the only one whose name ends so. */
static const struct nk_tensor *find_named(const struct nk_model *model, const char *name) {
  char full[128];
  for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
    snprintf(full, sizeof full, "%s%s", prefixes[i], name);
    const struct nk_tensor *tensor = nki_model_look_up(model, full);
    if (tensor && tensor->n_dims == 2) return tensor;
  }
  const struct nk_tensor *found = NULL;
  size_t n = strlen(name);
  for (size_t i = 0; i < model->n_tensors; i++) {
    const struct nk_tensor *tensor = model->tensors[i];
    size_t length = strlen(tensor->name);
    if (tensor->n_dims != 2 || length <= n || tensor->name[length - n - 1] != '.' ||
        strcmp(tensor->name + length - n, name) != 0) {
      continue;
    }
    if (found) return NULL;
    found = tensor;
  }
  return found;
}

static const struct nk_tensor *find_matrix(const struct nk_model *model,
                                           const struct architecture *architecture,
                                           enum nk_matrix which) {
  if (architecture) {
    const char *name = architecture->names[which];
    return name ? find_named(model, name) : NULL;
  }
  const struct nk_tensor *tensor = NULL;
  for (size_t i = 0; !tensor && usual_names[which][i]; i++) {
    tensor = find_named(model, usual_names[which][i]);
  }
  return tensor;
}

/* *tied: whether the output is the input matrix, by the configuration, else by the architecture's
 * default; for an unknown architecture, when there is no output matrix of its own. NK_EDATA when
 * the configuration's value is neither true nor false. */
static int read_tied(const struct nk_model *model, const struct architecture *architecture,
                     bool *tied) {
  int code = nk_model_config_bool(model, "tie_word_embeddings", tied);
  if (code != NK_ENOTFOUND) return code;
  *tied = architecture ? architecture->tied : !find_matrix(model, NULL, NK_MATRIX_OUTPUT);
  return 0;
}

/* ---- When it is not there ---- */

/* Whether a tensor could be such a matrix: 2-D, and as wide as the model where that is known. */
static bool is_candidate(const struct nk_model *model, const struct nk_tensor *tensor) {
  int64_t width;
  if (tensor->n_dims != 2 || tensor->shape[0] < 2) return false;
  if (nk_model_config_integer(model, "hidden_size", &width) != 0 &&
      nk_model_config_integer(model, "n_embd", &width) != 0) {
    return true;
  }
  return width >= 0 && tensor->shape[1] == (size_t)width;
}

/* The candidates with the most rows come first: a vocabulary is longer than anything else. */
static void list_candidates(const struct nk_model *model, struct nk_buffer *out) {
  enum { MOST = 8 };
  const struct nk_tensor *best[MOST];
  size_t n = 0, n_all = 0;
  for (size_t i = 0; i < model->n_tensors; i++) {
    const struct nk_tensor *tensor = model->tensors[i];
    if (!is_candidate(model, tensor)) continue;
    n_all++;
    size_t at = n < MOST ? n++ : MOST;
    while (at > 0 && best[at - 1]->shape[0] < tensor->shape[0]) {
      if (at < MOST) best[at] = best[at - 1];
      at--;
    }
    if (at < MOST) best[at] = tensor;
  }
  for (size_t i = 0; i < n; i++) {
    nk_buffer_printf(out, "%s%.80s [%zu, %zu]", i == 0 ? "" : ", ", best[i]->name,
                     best[i]->shape[0], best[i]->shape[1]);
  }
  if (n_all > n) nk_buffer_printf(out, " and %zu more", n_all - n);
  if (n_all == 0) nk_buffer_text(out, "none");
}

static const struct nk_tensor *not_found(const struct nk_model *model,
                                         const struct architecture *architecture,
                                         enum nk_matrix which) {
  const char *type = nk_model_type(model);
  struct nk_buffer candidates = {0};
  list_candidates(model, &candidates);
  nk_fail(NK_ENOTFOUND, "%s: no %s matrix%s%s%s; tensors that could be meant: %s",
          model->files.name, matrix_names[which],
          architecture ? " in this "
          : type       ? " known for model type "
                       : " by the usual names",
          type ? type : "", architecture ? " model" : "", candidates.data ? candidates.data : "");
  nk_buffer_free(&candidates);
  return NULL;
}

const struct nk_tensor *nk_model_matrix(const struct nk_model *model, enum nk_matrix which,
                                        bool *tied) {
  const struct architecture *architecture = find_architecture(model);
  bool is_shared = false;
  if (which != NK_MATRIX_POSITION && read_tied(model, architecture, &is_shared) != 0) return NULL;
  enum nk_matrix stored = is_shared ? NK_MATRIX_INPUT : which;
  const struct nk_tensor *tensor = find_matrix(model, architecture, stored);
  /* Of two tied tensors a file holds one, and that may be the other. */
  if (!tensor && is_shared) tensor = find_matrix(model, architecture, NK_MATRIX_OUTPUT);
  if (tied) *tied = is_shared;
  return tensor ? tensor : not_found(model, architecture, which);
}

/* ---- Rows, without opening more than is needed ---- */

static bool ends_with(const char *string, const char *end) {
  size_t n = strlen(string), n_end = strlen(end);
  return n >= n_end && strcmp(string + n - n_end, end) == 0;
}

static int count_gguf_rows(const char *path, size_t *n_rows) {
  struct nk_gguf *gguf = nk_gguf_open(path);
  if (gguf == NULL) return nk_error_code();
  for (size_t i = 0; i < nk_gguf_n_tensors(gguf); i++) {
    const struct nk_gguf_entry *entry = nk_gguf_entry(gguf, i);
    if (strcmp(entry->name, "token_embd.weight") == 0 && entry->n_dims == 2)
      *n_rows = entry->shape[0];
  }
  nk_gguf_free(gguf);
  return NK_OK;
}

int nk_model_count_rows(const char *name, size_t *n_rows) {
  *n_rows = 0;
  if (ends_with(name, ".json")) return NK_OK;
  if (ends_with(name, ".gguf")) return count_gguf_rows(name, n_rows);
  struct nk_model *model = nk_model_open(name);
  if (model == NULL) return nk_error_code() == NK_ENOTFOUND ? NK_OK : nk_error_code();
  const struct nk_tensor *matrix = nk_model_matrix(model, NK_MATRIX_INPUT, NULL);
  if (matrix != NULL) *n_rows = matrix->shape[0];
  nk_model_free(model);
  return NK_OK;
}
