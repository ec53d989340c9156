/* A model as GGUF: what the two files that write it share. */
#ifndef NOKEN_MODEL_GGUF_WRITE_H
#define NOKEN_MODEL_GGUF_WRITE_H

#include <noken/base.h>
#include <noken/model.h>
#include <stdint.h>

#include "model/architecture.h"
#include "model/gguf.h"

struct nki_gguf_writing {
  const struct nk_model *model;
  const struct nki_architecture *architecture; /* NULL: the model is a GGUF */
  int64_t n_layers, n_heads, n_kv_heads;
  enum nk_dtype dtype; /* of matrices */
  /* Puts the metadata of the checkpoint's tokenizer, for a matrix of n_tokens rows. */
  int (*put_tokenizer)(struct nki_gguf_writing *w, size_t n_tokens);
  struct nk_buffer values; /* as the file has them */
  uint64_t n_values;
};

/* nk_model_write of a GGUF, with the tokenizer's part, which is in a later layer. */
int nki_gguf_write(const struct nk_model *model, enum nk_dtype dtype,
                   int (*put_tokenizer)(struct nki_gguf_writing *w, size_t n_tokens),
                   struct nk_output *output);

void nki_gguf_put_u32(struct nk_buffer *b, uint32_t v);
void nki_gguf_put_u64(struct nk_buffer *b, uint64_t v);
void nki_gguf_put_string(struct nk_buffer *b, const char *text, size_t n);
/* A value's key and type, before its bytes. */
void nki_gguf_put_key(struct nki_gguf_writing *w, const char *key, enum nki_gguf_type type);

/* ggml's numbers of the types that are written, and of the files that have them. */
uint32_t nki_gguf_type_number(enum nk_dtype dtype);

/* Puts the metadata of a checkpoint of n_tokens rows: what config.json says, and the tokenizer. */
int nki_gguf_describe(struct nki_gguf_writing *w, size_t n_tokens);
/* The metadata of a model that is a GGUF, as they are there, but for its file type and its parts.
 */
void nki_gguf_copy_values(struct nki_gguf_writing *w);

/* The factors that divide the rotary frequencies, where config.json scales them by one each: for
 * `which` 0 the list of GGUF's "rope_freqs.weight" (Llama 3) or "rope_factors_short.weight", for 1
 * "rope_factors_long.weight". *name is NULL where there are none; *factors [*n] is from nk_alloc.
 */
int nki_gguf_rope_factors(const struct nki_gguf_writing *w, int which, const char **name,
                          float **factors, size_t *n);

#endif
