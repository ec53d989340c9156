/* Writing a model as GGUF, for llama.cpp: GPT-2 and Llama with a byte-level BPE tokenizer. */
#ifndef NOKEN_GGUF_WRITE_H
#define NOKEN_GGUF_WRITE_H

#include <noken/file.h>
#include <noken/model.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Writes the model, a tensor at a time: matrices as F32, or with `half` as F16; vectors as F32.
 * Returns 0; NK_EUNSUPPORTED for another architecture, a rope scaling, biases that llama.cpp's form
 * has no place for, a tokenizer of another kind; or another negative code. Does not commit the
 * output. */
int nk_gguf_write_model(const struct nk_model *model, bool half, struct nk_output *output);

#ifdef __cplusplus
}
#endif
#endif
