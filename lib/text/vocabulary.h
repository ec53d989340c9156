/* Making a vocabulary from what the tokenizer's file says. */
#ifndef NOKEN_TEXT_VOCABULARY_H
#define NOKEN_TEXT_VOCABULARY_H

#include <noken/tokenizer.h>

#include "text/spec.h"

/* NULL on failure. The spec stays the caller's. */
struct nk_vocabulary *nki_vocabulary_new(const struct nki_spec *spec);

#endif
