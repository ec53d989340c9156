/* A model's files: a Hugging Face folder (config.json; model.safetensors, or the shards that
 * model.safetensors.index.json names; tokenizer.json), a single .safetensors file, or a name such
 * as openai-community/gpt2 found in the local Hugging Face cache (the first set of
 * HF_HUB_CACHE, HF_HOME/hub, XDG_CACHE_HOME/huggingface/hub, ~/.cache/huggingface/hub; the revision
 * of refs/main). Nothing is ever fetched. */
#ifndef NOKEN_MODEL_H
#define NOKEN_MODEL_H

#include <noken/base.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ==== Tensors ==== */

/* The element types of tensors in files. */
enum nk_dtype {
  NK_F32,
  NK_F16,
  NK_BF16,
  NK_F64,
  NK_I64,
  NK_I32,
  NK_I16,
  NK_I8,
  NK_U64,
  NK_U32,
  NK_U16,
  NK_U8,
  NK_BOOL,
  NK_F8_E4M3,
  NK_F8_E5M2,
  NK_N_DTYPES
};

/* The name in a safetensors header, "F32". */
NK_API const char *nk_dtype_name(enum nk_dtype dtype);

#define NK_MAX_DIMS 8

/* A tensor of a file or of memory: it points to names and bytes that its owner keeps. */
struct nk_tensor {
  const char *name;
  enum nk_dtype dtype;
  size_t n_dims;
  size_t shape[NK_MAX_DIMS]; /* row-major, outermost first */
  size_t n_elements;         /* product of shape; 1 for a scalar */
  size_t n_bytes;
  const void *data; /* [n_bytes], of any alignment */
};

/* ==== Models ==== */

struct nk_model;

/* Opens and maps the weights, reads the configuration. NULL on failure (no such folder or cached
 * name: the message lists where it looked; a shard is missing; a file is damaged; pickled .bin
 * weights only: says how to convert). A model without config.json opens, with no configuration. */
NK_API struct nk_model *nk_model_open(const char *model);
NK_API void nk_model_free(struct nk_model *model);

/* As the user named it, without directories: for noken.model and messages. */
NK_API const char *nk_model_name(const struct nk_model *model);
/* config.json's model_type ("gpt2", "llama", ...), or NULL. Here and below a multimodal model's
 * values are those of its language model (text_config), else its own. */
NK_API const char *nk_model_type(const struct nk_model *model);
/* Path of a file of the model's folder ("tokenizer.json"), or NULL when it is not there (no error
 * is set) or the model is a single file. */
NK_API const char *nk_model_path(const struct nk_model *model, const char *file);

/* Values of config.json. `path` is a key, or keys joined by dots ("rope_scaling.factor"). 0;
 * NK_ENOTFOUND when missing or null (out untouched); NK_EDATA when it is of another type or not in
 * range. Strings live as long as the model. */
NK_API int nk_model_config_integer(const struct nk_model *model, const char *path, int64_t *out);
NK_API int nk_model_config_number(const struct nk_model *model, const char *path, double *out);
NK_API int nk_model_config_bool(const struct nk_model *model, const char *path, bool *out);
NK_API int nk_model_config_string(const struct nk_model *model, const char *path, const char **out);
/* The i-th element of an array of numbers, or of strings ("architectures"); NK_ENOTFOUND past its
 * end. */
NK_API int nk_model_config_number_at(const struct nk_model *model, const char *path, size_t index,
                                     double *out);
NK_API int nk_model_config_string_at(const struct nk_model *model, const char *path, size_t index,
                                     const char **out);

/* All tensors of all shards. */
NK_API size_t nk_model_n_tensors(const struct nk_model *model);
NK_API const struct nk_tensor *nk_model_tensor(const struct nk_model *model, size_t index);
/* By name; NULL with nk_error() set when there is none. */
NK_API const struct nk_tensor *nk_model_find(const struct nk_model *model, const char *name);
/* Tells the system that rows [first, first + n) of a 2-D tensor were read (nk_file_forget). */
NK_API void nk_model_forget(const struct nk_model *model, const struct nk_tensor *tensor,
                            size_t first, size_t n);

/* Rows [first, first + n) of a 2-D tensor as floats, out [n, shape[1]], by all threads. Returns 0
 * or a negative code (no such rows; a type that is not widened). */
NK_API int nk_model_rows(const struct nk_tensor *tensor, size_t first, size_t n, float *out);

enum nk_matrix { NK_MATRIX_INPUT, NK_MATRIX_OUTPUT, NK_MATRIX_POSITION };

/* The matrix, [n_tokens, dim] (position: [n_positions, dim]; OPT's has two rows before the first
 * position's), found from the model type and otherwise by the usual names. *tied (may be NULL): the
 * output is the input matrix, which is so when tie_word_embeddings says it, else by the
 * architecture's default, else (an architecture that is not known) when there is no other. NULL on
 * failure; the message lists the model's 2-D tensors that could be meant. */
NK_API const struct nk_tensor *nk_model_matrix(const struct nk_model *model, enum nk_matrix which,
                                               bool *tied);

/* *n_rows = rows of the input embedding of the model called name (as in nk_model_open, or a .gguf
 * file); 0 where only a tokenizer is found. Returns NK_OK or a negative code (a damaged file). */
NK_API int nk_model_count_rows(const char *name, size_t *n_rows);

/* ==== Writing as GGUF ==== */

/* Writing a model as GGUF, for llama.cpp: GPT-2 and Llama with a byte-level BPE tokenizer. */

/* Writes the model, a tensor at a time: matrices as F32, or with `half` as F16; vectors as F32.
 * Returns 0; NK_EUNSUPPORTED for another architecture, a rope scaling, biases that llama.cpp's form
 * has no place for, a tokenizer of another kind; or another negative code. Does not commit the
 * output. */
NK_API int nk_gguf_write_model(const struct nk_model *model, bool half, struct nk_output *output);

#ifdef __cplusplus
}
#endif
#endif
