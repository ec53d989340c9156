/* The general category of every code point, of one version of Unicode (unicode_data.py). */
#ifndef NOKEN_TEXT_UNICODE_DATA_H
#define NOKEN_TEXT_UNICODE_DATA_H

#include <stddef.h>
#include <stdint.h>

/* clang-format off */
enum nki_unicode_category {
  NKI_CN, NKI_LU, NKI_LL, NKI_LT, NKI_LM, NKI_LO, NKI_MN, NKI_MC, NKI_ME, NKI_ND, NKI_NL, NKI_NO,
  NKI_PC, NKI_PD, NKI_PS, NKI_PE, NKI_PI, NKI_PF, NKI_PO, NKI_SM, NKI_SC, NKI_SK, NKI_SO, NKI_ZS,
  NKI_ZL, NKI_ZP, NKI_CC, NKI_CF, NKI_CS, NKI_CO
};
/* clang-format on */

extern const uint32_t nki_unicode_runs[]; /* [n_runs] ascending */
extern const size_t nki_unicode_n_runs;

/* Code points of one category that came after Unicode 14.0, with a version as 100 major + minor. */
extern const struct nki_unicode_newer {
  uint32_t first, last;
  uint16_t version;
} nki_unicode_newer[]; /* [n_newer] ascending */
extern const size_t nki_unicode_n_newer;

#endif
