/* From tokens' strings back to text: the steps that tokenizer.json calls the decoder. */
#ifndef NOKEN_TEXT_DECODER_H
#define NOKEN_TEXT_DECODER_H

#include <noken/base.h>
#include <stdbool.h>
#include <stddef.h>

#include "text/spec.h"

struct nki_decoder;

/* The spec's decoder. A step that is not implemented is refused by name or, with `lenient`, left
 * out. NULL on failure. */
struct nki_decoder *nki_decoder_new(const struct nki_spec *spec, bool lenient);
void nki_decoder_free(struct nki_decoder *decoder);

/* Appends what one token's string stands for wherever it is not at a text's beginning. */
int nki_decoder_token(const struct nki_decoder *decoder, const char *bytes, size_t n,
                      struct nk_buffer *out);

/* Strings standing one after another in `bytes`; the i-th ends before ends[i]. */
struct nki_strings {
  struct nk_buffer bytes;
  size_t *ends;
  size_t n;
};

/* Appends the text of a sequence of tokens' strings to out; strings is used up. */
int nki_decoder_run(const struct nki_decoder *decoder, struct nki_strings *strings,
                    struct nk_buffer *out);

#endif
