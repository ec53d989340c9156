/* Kinds of characters, from utf8proc's general categories. */
#include "text/chars.h"

#include <utf8proc.h>

/* 1 letters, 2 digits, 3 white space. */
const unsigned char nki_ascii_kind[128] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 3, 3, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 0, 0, 0, 0, 0, 0,
    0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0,
    0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0};

static utf8proc_category_t category(uint32_t code) {
  return utf8proc_category((utf8proc_int32_t)code);
}

bool nki_is_space(uint32_t code) {
  if (code < 128) return nki_ascii_kind[code] == NKI_SPACE;
  if (code == 0x85) return true;
  utf8proc_category_t c = category(code);
  return c == UTF8PROC_CATEGORY_ZS || c == UTF8PROC_CATEGORY_ZL || c == UTF8PROC_CATEGORY_ZP;
}

enum nki_kind nki_kind_of_code(uint32_t code) {
  switch (category(code)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return NKI_LETTER;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return NKI_NUMBER;
    default:
      return nki_is_space(code) ? NKI_SPACE : NKI_OTHER;
  }
}

bool nki_is_number(uint32_t code) {
  return nki_kind(code) == NKI_NUMBER;
}

bool nki_is_mark(uint32_t code) {
  utf8proc_category_t c = category(code);
  return c == UTF8PROC_CATEGORY_MN || c == UTF8PROC_CATEGORY_MC || c == UTF8PROC_CATEGORY_ME;
}

bool nki_is_punctuation(uint32_t code) {
  if (code < 128) return code > 0x20 && code < 0x7F && nki_ascii_kind[code] == NKI_OTHER;
  utf8proc_category_t c = category(code);
  return c >= UTF8PROC_CATEGORY_PC && c <= UTF8PROC_CATEGORY_PO;
}

bool nki_is_word(uint32_t code) {
  if (code < 128)
    return nki_ascii_kind[code] == NKI_LETTER || nki_ascii_kind[code] == NKI_NUMBER || code == '_';
  if (code == 0x200C || code == 0x200D) return true; /* Join_Control */
  /* Alphabetic beyond letters, letter numbers and marks: the circled and squared letters. */
  if ((code >= 0x24B6 && code <= 0x24E9) || (code >= 0x1F130 && code <= 0x1F149) ||
      (code >= 0x1F150 && code <= 0x1F169) || (code >= 0x1F170 && code <= 0x1F189))
    return true;
  utf8proc_category_t c = category(code);
  return nki_kind(code) == NKI_LETTER || c == UTF8PROC_CATEGORY_NL || c == UTF8PROC_CATEGORY_ND ||
         c == UTF8PROC_CATEGORY_PC || nki_is_mark(code);
}
