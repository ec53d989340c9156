/* Kinds of characters, from the general categories of unicode_data.c. */
#include "text/chars.h"

#include <pthread.h>
#include <string.h>

/* 1 letters, 2 digits, 3 white space. */
const unsigned char nki_ascii_kind[128] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 3, 3, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 0, 0, 0, 0, 0, 0,
    0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0,
    0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0};

/* Planes 0 to 3 in a table, in which most look-ups end; the rest, nearly all unassigned, by
 * search. */
enum { N_TABLE = 0x34000 };
static unsigned char table[N_TABLE];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void fill_table(void) {
  for (size_t i = 0; i < nki_unicode_n_runs; i++) {
    uint32_t begin = nki_unicode_runs[i] >> 5, end = N_TABLE;
    if (i + 1 < nki_unicode_n_runs && nki_unicode_runs[i + 1] >> 5 < N_TABLE)
      end = nki_unicode_runs[i + 1] >> 5;
    if (begin < end) memset(table + begin, (int)(nki_unicode_runs[i] & 31), end - begin);
  }
}

static enum nki_unicode_category search(uint32_t code) {
  size_t low = 0, high = nki_unicode_n_runs; /* the run is in [low, high) */
  while (high - low > 1) {
    size_t middle = low + (high - low) / 2;
    if (nki_unicode_runs[middle] >> 5 <= code)
      low = middle;
    else
      high = middle;
  }
  return (enum nki_unicode_category)(nki_unicode_runs[low] & 31);
}

void nki_chars_begin(void) {
  pthread_once(&table_once, fill_table);
}

enum nki_unicode_category nki_category(uint32_t code) {
  return code < N_TABLE ? (enum nki_unicode_category)table[code] : search(code);
}

bool nki_is_space(uint32_t code) {
  if (code < 128) return nki_ascii_kind[code] == NKI_SPACE;
  if (code == 0x85) return true;
  enum nki_unicode_category c = nki_category(code);
  return c == NKI_ZS || c == NKI_ZL || c == NKI_ZP;
}

enum nki_kind nki_kind_of_code(uint32_t code) {
  switch (nki_category(code)) {
    case NKI_LU:
    case NKI_LL:
    case NKI_LT:
    case NKI_LM:
    case NKI_LO:
      return NKI_LETTER;
    case NKI_ND:
    case NKI_NL:
    case NKI_NO:
      return NKI_NUMBER;
    default:
      return nki_is_space(code) ? NKI_SPACE : NKI_OTHER;
  }
}

bool nki_is_number(uint32_t code) {
  return nki_kind(code) == NKI_NUMBER;
}

bool nki_is_mark(uint32_t code) {
  enum nki_unicode_category c = nki_category(code);
  return c == NKI_MN || c == NKI_MC || c == NKI_ME;
}

bool nki_is_nonspacing(uint32_t code) {
  return nki_category(code) == NKI_MN;
}

bool nki_is_other(uint32_t code) {
  enum nki_unicode_category c = nki_category(code);
  return c == NKI_CC || c == NKI_CF || c == NKI_CO;
}

bool nki_is_punctuation(uint32_t code) {
  if (code < 128) return code > 0x20 && code < 0x7F && nki_ascii_kind[code] == NKI_OTHER;
  enum nki_unicode_category c = nki_category(code);
  return c >= NKI_PC && c <= NKI_PO;
}

bool nki_is_word(uint32_t code) {
  if (code < 128)
    return nki_ascii_kind[code] == NKI_LETTER || nki_ascii_kind[code] == NKI_NUMBER || code == '_';
  if (code == 0x200C || code == 0x200D) return true; /* Join_Control */
  /* Alphabetic beyond letters, letter numbers and marks: the circled and squared letters. */
  if ((code >= 0x24B6 && code <= 0x24E9) || (code >= 0x1F130 && code <= 0x1F149) ||
      (code >= 0x1F150 && code <= 0x1F169) || (code >= 0x1F170 && code <= 0x1F189))
    return true;
  enum nki_unicode_category c = nki_category(code);
  return nki_kind(code) == NKI_LETTER || c == NKI_NL || c == NKI_ND || c == NKI_PC ||
         nki_is_mark(code);
}
