/* The kinds of characters that tokenizers distinguish, by Unicode's general categories. */
#ifndef NOKEN_TEXT_CHARS_H
#define NOKEN_TEXT_CHARS_H

#include <stdbool.h>
#include <stdint.h>

#include "text/unicode_data.h"

/* To be called before any other of these functions. */
void nki_chars_begin(void);

enum nki_unicode_category nki_category(uint32_t code);

/* The four kinds of the well-known split patterns: \p{L}, \p{N}, \s and the rest. */
enum nki_kind { NKI_OTHER, NKI_LETTER, NKI_NUMBER, NKI_SPACE };

extern const unsigned char nki_ascii_kind[128]; /* enum nki_kind */
enum nki_kind nki_kind_of_code(uint32_t code);
static inline enum nki_kind nki_kind(uint32_t code) {
  return code < 128 ? (enum nki_kind)nki_ascii_kind[code] : nki_kind_of_code(code);
}

bool nki_is_space(uint32_t code);       /* the property White_Space */
bool nki_is_number(uint32_t code);      /* Nd, Nl, No */
bool nki_is_mark(uint32_t code);        /* Mn, Mc, Me */
bool nki_is_nonspacing(uint32_t code);  /* Mn */
bool nki_is_other(uint32_t code);       /* Cc, Cf, Co */
bool nki_is_punctuation(uint32_t code); /* P*, and ASCII's symbols */
bool nki_is_word(uint32_t code);        /* \w: Alphabetic, M, Nd, Pc, Join_Control */

#endif
