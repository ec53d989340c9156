/* What the files that write a tokenizer into a GGUF share. */
#ifndef NOKEN_TEXT_GGUF_TOKENIZER_H
#define NOKEN_TEXT_GGUF_TOKENIZER_H

#include "text/gguf_pre.h"
#include "text/tokenizer.h"

/* The name of a byte-level tokenizer's pre-tokenizer. NK_EUNSUPPORTED when llama.cpp has none. */
int nki_gguf_pre_choose(const struct nk_tokenizer *tokenizer, const struct nki_gguf_pre **pre);

/* NK_EUNSUPPORTED: "what name is not written as GGUF". */
int nki_gguf_refuse(const struct nk_tokenizer *tokenizer, const char *what, const char *name);

#endif
