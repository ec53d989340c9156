/* A GGUF file's vocabulary as a spec. */
#ifndef NOKEN_TEXT_SPEC_GGUF_H
#define NOKEN_TEXT_SPEC_GGUF_H

#include "model/gguf.h"
#include "text/spec.h"

/* Fills a spec that has its name and max_id. Returns NK_OK or a negative code. */
int nki_spec_read_gguf(struct nki_spec *spec, const struct nki_gguf *gguf, bool vocabulary_only);

#endif
