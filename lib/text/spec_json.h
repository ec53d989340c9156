/* A tokenizer.json as a spec. */
#ifndef NOKEN_TEXT_SPEC_JSON_H
#define NOKEN_TEXT_SPEC_JSON_H

#include "text/spec.h"

/* Fills a spec that has its name and max_id. Returns NK_OK or a negative code. */
int nki_spec_read_json(struct nki_spec *spec, const struct nk_file *file, bool vocabulary_only);

#endif
