/* SentencePiece's precompiled map of characters: strings to what normalization makes of them. */
#ifndef NOKEN_TEXT_CHARSMAP_H
#define NOKEN_TEXT_CHARSMAP_H

#include <noken/base.h>

struct nki_charsmap;

/* From the map's bytes, or from base64 as tokenizer.json has it. NULL on failure; name is the
 * file's, for messages. */
struct nki_charsmap *nki_charsmap_new(const char *name, const char *bytes, size_t n);
struct nki_charsmap *nki_charsmap_of_base64(const char *name, const char *text, size_t n);
void nki_charsmap_free(struct nki_charsmap *map);

/* Appends s[0..n), valid UTF-8, with the longest string of the map replaced at each place, as
 * SentencePiece does. */
void nki_charsmap_longest(const struct nki_charsmap *map, const char *s, size_t n,
                          struct nk_buffer *out);
/* The same as Hugging Face's library does it: grapheme clusters of less than six bytes as a whole
 * by the shortest string of the map that begins them, then single characters. */
void nki_charsmap_graphemes(const struct nki_charsmap *map, const char *s, size_t n,
                            struct nk_buffer *out);

#endif
