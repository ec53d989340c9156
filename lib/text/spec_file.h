/* A tokenizer's file, of either format, as a spec. */
#ifndef NOKEN_TEXT_SPEC_FILE_H
#define NOKEN_TEXT_SPEC_FILE_H

#include "text/spec.h"

/* Other files of the folder that say which tokens are put around a text; NULL where there is
 * none. */
struct nki_spec_beside {
  const char *config;      /* tokenizer_config.json */
  const char *special_map; /* special_tokens_map.json */
};

/* Brings the post-processor of a tokenizer.json to what transformers makes of it by the files
 * beside it (spec_config.c). */
int nki_spec_apply_config(struct nki_spec *spec, const struct nki_spec_beside *beside);

/* Reads tokenizer.json or a GGUF file. NULL on failure. Free with nki_spec_free. */
struct nki_spec *nki_spec_open(const char *path, bool vocabulary_only);
/* The same for a tokenizer.json in memory, which the spec does not keep. */
struct nki_spec *nki_spec_parse(const struct nk_file *file);

#endif
