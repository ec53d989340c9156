/* Models: a Hugging Face folder (config.json; model.safetensors, or the shards that
 * model.safetensors.index.json names; tokenizer.json), a single .safetensors file, a .gguf file (or
 * the first of its parts, "-00001-of-00003.gguf") with all that it holds, or a name such
 * as openai-community/gpt2 found in the local Hugging Face cache (the first set of
 * HF_HUB_CACHE, HF_HOME/hub, XDG_CACHE_HOME/huggingface/hub, ~/.cache/huggingface/hub; the revision
 * of refs/main). Nothing is downloaded. */
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

/* The element types of tensors in files. Rows are read of F32, F16, BF16 and F64, and of the
 * quantized types; tensors of any type can be listed. */
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
  NK_F8_E4M3FNUZ,
  NK_F8_E5M2FNUZ,
  NK_F8_E8M0,
  NK_F6_E2M3, /* four elements in three bytes */
  NK_F6_E3M2,
  NK_F4, /* two elements in a byte */
  NK_C64,
  NK_Q4_0, /* this and those below: GGUF's quantized types */
  NK_Q4_1,
  NK_Q5_0,
  NK_Q5_1,
  NK_Q8_0,
  NK_Q2_K,
  NK_Q3_K,
  NK_Q4_K,
  NK_Q5_K,
  NK_Q6_K,
  NK_IQ4_NL,
  NK_IQ4_XS,
  NK_MXFP4,
  NK_OTHER, /* a name that noken does not know: nk_tensor.dtype_name */
  NK_N_DTYPES
};

/* Their names in a safetensors header, "F32", or in ggml, "Q4_K"; "?" for NK_OTHER. */
NK_API extern const char *const nk_dtype_names[NK_N_DTYPES];

#define NK_MAX_DIMS 8

/* A tensor of a file or of memory: it points to a name and to bytes that its owner keeps. */
struct nk_tensor {
  const char *name;
  enum nk_dtype dtype;
  const char *dtype_name; /* in the file; NULL: nk_dtype_names[dtype] */
  size_t n_dims;
  size_t shape[NK_MAX_DIMS]; /* row-major, outermost first */
  size_t n_elements;         /* product of shape; 1 for a scalar */
  size_t n_bytes;            /* of NK_OTHER: as many as the file gives it */
  const void *data;          /* [n_bytes], of any alignment */
};

/* ==== Models ==== */

/* Owns its weights (mapped), its configuration and, once asked for, its tokenizer
 * (nk_model_tokenizer) and its forward pass (nk_model_forward). A function given NULL for a model
 * or a tensor returns NULL, 0 or the code of the call that failed before it, and keeps its message:
 * one check at the end of a chain of calls is enough. */
struct nk_model;

/* Opens and maps the weights, reads the configuration. A model without config.json opens, with no
 * configuration; a GGUF's metadata stand for it, under the keys of config.json, and its tensors
 * have the names that they have there. Shards that are missing and tensors that the index names in
 * vain are warnings, and errors when they are asked for. NULL on failure: no such folder or cached
 * name (the message lists the places searched), no shard is there, a file is damaged, only pickled
 * .bin weights are there (the message says how to convert them). */
NK_API struct nk_model *nk_model_open(const char *model);
NK_API void nk_model_free(struct nk_model *model);

/* As the user named it, without directories: for noken.model and messages. */
NK_API const char *nk_model_name(const struct nk_model *model);
/* What the model's tokenizer can be opened from: its folder, or its .gguf file. NULL, without an
 * error, when the model is a single .safetensors file. */
NK_API const char *nk_model_folder(const struct nk_model *model);
/* All tensors of all shards, in the order of shards and bytes. */
NK_API size_t nk_model_n_tensors(const struct nk_model *model);
NK_API const struct nk_tensor *nk_model_tensor(const struct nk_model *model, size_t index);
/* By name; NULL with nk_error() set when there is none. */
NK_API const struct nk_tensor *nk_model_find(const struct nk_model *model, const char *name);

/* Rows [first, first + n) of a tensor as floats, out [n, dim], by all threads: of a 2-D tensor
 * [rows, dim], or of a 1-D tensor [dim], which is one row. Returns NK_OK, NK_EUSAGE (no such rows)
 * or NK_EUNSUPPORTED (another type). */
NK_API int nk_model_rows(const struct nk_tensor *tensor, size_t first, size_t n, float *out);

enum nk_matrix { NK_MATRIX_INPUT, NK_MATRIX_OUTPUT, NK_MATRIX_POSITION };

/* The matrix, [n_tokens, dim] (position: [n_positions, dim]; OPT's has two rows before the first
 * position's), found by the names of the model's architecture, or by the usual names when the
 * architecture is unknown. *tied (may be NULL): the output is the input matrix, by
 * tie_word_embeddings, else by the architecture's default unless the file holds both and they
 * differ (a warning says so), else (an unknown architecture) when there is no output matrix. The
 * output matrix of an unknown architecture may have any name: it is then the one other matrix of
 * the input's shape outside the blocks, with a warning. NULL on failure, also where the output
 * matrix may be the input matrix or another; the message lists the 2-D tensors of the model's
 * width, or names the missing shard. */
NK_API const struct nk_tensor *nk_model_matrix(const struct nk_model *model, enum nk_matrix which,
                                               bool *tied);

/* n_rows = rows of the input embedding of the model called name (as in nk_model_open); 0 where only
 * a tokenizer is found. Returns NK_OK or a negative code (a damaged file). */
NK_API int nk_model_count_rows(const char *name, size_t *n_rows);

/* What a model is, as its configuration and the headers of its files state it. NULL and 0: they do
 * not. Strings live as long as the model. */
struct nk_model_facts {
  const char *type; /* config.json's model_type, of a multimodal model its language model's; of a
                     * GGUF that of the same family, or general.architecture */
  bool gguf;        /* else safetensors */
  size_t n_layers;  /* blocks */
  size_t dim;       /* of the residual stream */
  size_t n_heads, n_kv_heads;
  size_t n_positions;  /* the longest context; the forward pass may have fewer (Phi-3) */
  size_t n_parameters; /* elements of the weights that are there: causal masks, tables of
                        * frequencies and integers that are not packed weights are not counted */
  size_t n_missing;    /* shards that the index names and that are not there */
  /* [n_files] paths of the files that noken reads of the model, sorted: weights, config.json, the
   * index of the shards, the tokenizer's. */
  const char *const *files;
  size_t n_files;
};

/* Reads no weights. Returns NK_OK or a negative code. */
NK_API int nk_model_describe(const struct nk_model *model, struct nk_model_facts *facts);

/* Rows of one of the model's tensors with other values (nk_patch_rows makes them). */
struct nk_patch {
  const struct nk_tensor *tensor; /* 2-D, of F32, F16, BF16 or F64 */
  int64_t *rows;                  /* [n] */
  size_t n;
  float *values; /* [n, dim], rounded to the tensor's type when they are written */
};

/* From now on the elements of the tensor called name are values [n_elements] of the caller's, who
 * may change them between calls and keeps them until the model has others or is freed; NULL: those
 * of the file again. The tensor is then one of F32. Of tied input and output matrices that the file
 * holds twice the other one follows; so does the forward pass, open or not, but what was computed
 * before (probes' references, sets over the model's memory) stays. nk_model_write rounds the values
 * to the type in the file. Not while another thread uses the model. Returns NK_OK, NK_ENOTFOUND,
 * NK_EUNSUPPORTED (a GGUF; a type other than F32, F16, BF16 and F64) or NK_EMEMORY; for a model of
 * NULL the code of the failed call that gave it. */
NK_API int nk_model_use_values(struct nk_model *model, const char *name, const float *values);

enum nk_model_format { NK_MODEL_GGUF, NK_MODEL_SAFETENSORS };

/* Valid when zeroed. */
struct nk_model_write_options {
  enum nk_model_format format;
  enum nk_dtype dtype; /* of a GGUF's matrices: NK_F32, NK_F16, NK_BF16 or NK_Q8_0 */
  /* The entries of each tensor in a random order, for a model of the same values that knows
   * nothing. Tied matrices that the model holds twice get the same order. What is not a weight
   * keeps its values: integers and truth values, causal masks, rotary frequencies. Of safetensors
   * alone. */
  bool shuffle;
  uint64_t seed; /* of the order */
  /* [n_patches] rows to replace, in the other one of two tied matrices too. Of safetensors alone,
   * and not with `shuffle`. */
  const struct nk_patch *patches;
  size_t n_patches;
  /* Nothing is written, and the output may be NULL: whether the model can be, as far as that does
   * not depend on values. Of safetensors alone. */
  bool check_only;
};

/* Writes the model, a tensor at a time. As GGUF for llama.cpp: matrices of the dtype (F16 for Q8_0
 * where rows are not whole blocks of 32), vectors and positions as F32. A model that is a GGUF
 * keeps its metadata. Of checkpoints the architectures that noken-models(7) lists as llama.cpp's,
 * with a tokenizer that llama.cpp has (BPE, byte-level or SentencePiece's), or without one (a
 * warning). As safetensors: all tensors of all shards in one file, bytes as they are. options NULL:
 * all zero. Returns NK_OK; NK_EUNSUPPORTED for another architecture, a setting that GGUF cannot
 * say, another kind of tokenizer, a GGUF as safetensors, a quantized checkpoint to be shuffled or
 * patched, a patch of a tensor of another type; NK_ENOTFOUND when a shard is missing; or another
 * negative code. Does not commit the output. */
NK_API int nk_model_write(const struct nk_model *model,
                          const struct nk_model_write_options *options, struct nk_output *output);

#ifdef __cplusplus
}
#endif
#endif
