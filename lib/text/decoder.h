/* From tokens' strings back to text: the steps that tokenizer.json calls the decoder. */
#ifndef NOKEN_TEXT_DECODER_H
#define NOKEN_TEXT_DECODER_H

#include <noken/base.h>
#include <stdbool.h>
#include <stddef.h>

#include "text/spec.h"

struct nki_decoder;

/* The spec's decoder. NULL on failure (a step that is not implemented: the message names it). With
 * `lenient` such steps are left out. */
struct nki_decoder *nki_decoder_new(const struct nki_spec *spec, bool lenient);
void nki_decoder_free(struct nki_decoder *decoder);

/* Appends the text of one token that is not the first of a text. */
int nki_decoder_token(const struct nki_decoder *decoder, const char *bytes, size_t n,
                      struct nk_buffer *out);

/* Strings one after another in `bytes`; the i-th ends before ends[i]. */
struct nki_strings {
  struct nk_buffer bytes;
  size_t *ends;
  size_t n;
};

/* Appends the text of a sequence of tokens' strings to out; strings is overwritten. */
int nki_decoder_run(const struct nki_decoder *decoder, struct nki_strings *strings,
                    struct nk_buffer *out);

#endif
