/* A model as GGUF: what the files that write it share. */
#ifndef NOKEN_MODEL_GGUF_WRITE_H
#define NOKEN_MODEL_GGUF_WRITE_H

#include <noken/base.h>
#include <noken/model.h>
#include <stdbool.h>
#include <stdint.h>

#include "model/architecture.h"
#include "model/gguf.h"

/* How a row of a slice (a vector: its elements) is taken out of the checkpoint's slice. */
enum nki_gguf_change {
  NKI_AS_IS,
  NKI_STRIDED,  /* element c of row r is source[c * stride + r * step + start] */
  NKI_PAIRED_Q, /* heads in the order of pairs */
  NKI_PAIRED_K,
  NKI_IN_TURN,      /* fused q, k, v, from [groups, (q, k, v), ..] */
  NKI_PACKED_MXFP4, /* row r is row r * step + start of gpt-oss's blocks and scales */
};

/* A tensor as it is written: slices (experts, heads; else one) of rows. */
struct nki_gguf_entry {
  char name[NKI_MAX_NAME];
  const struct nk_tensor *tensor;      /* of all slices, or NULL */
  const struct nk_tensor *const *each; /* [n_slices], from nk_alloc, or NULL */
  const struct nk_tensor *scales;      /* of NKI_PACKED_MXFP4 */
  enum nki_gguf_change change;
  size_t stride, step, start;
  bool plus_one;
  enum nk_dtype dtype;
  size_t n_slices, rows, columns; /* of a slice */
  size_t shape[NK_MAX_DIMS], n_dims;
  uint64_t offset;
};

struct nki_gguf_writing {
  const struct nk_model *model;
  const struct nki_architecture *architecture; /* NULL: the model is a GGUF */
  char prefix[NKI_MAX_PREFIX];                 /* of the checkpoint's names */
  size_t dim, n_layers, n_heads, n_kv_heads, head_dim, qkv_groups, n_experts;
  bool parallel, two_norms;
  enum nk_dtype dtype; /* of matrices */
  /* Puts the metadata of the checkpoint's tokenizer, for a matrix of n_tokens rows. */
  int (*put_tokenizer)(struct nki_gguf_writing *w, size_t n_tokens);
  struct nk_buffer values; /* as the file has them */
  uint64_t n_values;
  struct nki_gguf_entry *entries;
  size_t n_entries, capacity;
  struct nk_tensor factors[2]; /* of rotary frequencies; data from nk_alloc */
};

/* nk_model_write of a GGUF, with the tokenizer's part, which is in a later layer. */
int nki_gguf_write(const struct nk_model *model, enum nk_dtype dtype,
                   int (*put_tokenizer)(struct nki_gguf_writing *w, size_t n_tokens),
                   struct nk_output *output);

/* ---- Values (gguf_describe.c) ---- */

void nki_gguf_put_u32(struct nk_buffer *b, uint32_t v);
void nki_gguf_put_u64(struct nk_buffer *b, uint64_t v);
void nki_gguf_put_string(struct nk_buffer *b, const char *text, size_t n);
/* A value's key and type, before its bytes; "ARCHITECTURE.KEY" where the key begins with a dot. */
void nki_gguf_put_key(struct nki_gguf_writing *w, const char *key, enum nki_gguf_type type);
/* Values under a key, as above. */
void nki_gguf_value_u32(struct nki_gguf_writing *w, const char *key, int64_t value);
void nki_gguf_value_f32(struct nki_gguf_writing *w, const char *key, double value);
void nki_gguf_value_bool(struct nki_gguf_writing *w, const char *key, bool value);
void nki_gguf_value_string(struct nki_gguf_writing *w, const char *key, const char *text);
/* The head of an array, whose n elements the caller appends to w->values. */
void nki_gguf_value_array(struct nki_gguf_writing *w, const char *key, enum nki_gguf_type type,
                          size_t n);

/* ggml's numbers of the types that are written, and of the files that have them. */
uint32_t nki_gguf_type_number(enum nk_dtype dtype);

/* Puts the metadata of a checkpoint of n_tokens rows: what config.json says, and the tokenizer. */
int nki_gguf_describe(struct nki_gguf_writing *w, size_t n_tokens);
/* The metadata of a model that is a GGUF, as they are there, but for its file type and its parts.
 */
void nki_gguf_copy_values(struct nki_gguf_writing *w);

/* ---- What config.json says (gguf_settings.c, gguf_check.c) ---- */

/* Sets the sizes, parallel and two_norms of w, and fails with NK_EUNSUPPORTED where llama.cpp's
 * implementation of the family, or GGUF, lacks what the configuration asks for. */
int nki_gguf_check(struct nki_gguf_writing *w);
/* NK_OK, or an error that names a tensor of a block that no entry of w is made of. */
int nki_gguf_check_complete(const struct nki_gguf_writing *w);
/* *out = components of a head that are rotated. NK_OK or a negative code. */
int nki_gguf_rotary_dim(const struct nki_gguf_writing *w, size_t *out);
/* Puts the values of the family. */
int nki_gguf_settings(struct nki_gguf_writing *w);

/* The factors that divide the rotary frequencies, where config.json scales them by one each: for
 * `which` 0 the list of GGUF's "rope_freqs.weight" (Llama 3) or "rope_factors_short.weight", for 1
 * "rope_factors_long.weight". *name is NULL where there are none; *factors [*n] is from nk_alloc.
 */
int nki_gguf_rope_factors(const struct nki_gguf_writing *w, int which, const char **name,
                          float **factors, size_t *n);

/* ---- Tensors (gguf_tensors.c) ---- */

/* Sets w->entries: a checkpoint's, whose sizes are set, or a GGUF's as they are there. */
int nki_gguf_collect(struct nki_gguf_writing *w);
void nki_gguf_free_entries(struct nki_gguf_writing *w);

#endif
