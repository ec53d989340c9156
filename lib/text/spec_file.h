/* A tokenizer's file, of either format, as a spec. */
#ifndef NOKEN_TEXT_SPEC_FILE_H
#define NOKEN_TEXT_SPEC_FILE_H

#include "text/spec.h"

/* Reads tokenizer.json or a GGUF file. NULL on failure. Free with nki_spec_free. */
struct nki_spec *nki_spec_open(const char *path, bool vocabulary_only);

#endif
