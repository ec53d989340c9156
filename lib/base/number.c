/* Numbers from text, and as text: what printf's %.9g and %lld give, several times faster, as a
 * matrix holds tens of millions of them. */
#include "base/number.h"

#include <locale.h>
#include <math.h>
#include <noken/base.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool nki_number_of_text(const char *text, size_t n, double *value) {
  char copy[256], *end;
  if (n == 0 || n >= sizeof copy || strchr("+-.0123456789iInN", text[0]) == NULL) return false;
  for (size_t i = 0; i < n; i++) {
    if (text[i] == 0 || text[i] == 'x' || text[i] == 'X') return false;
    /* strtod expects the decimal point of the program's locale. */
    copy[i] = text[i] == '.' ? *localeconv()->decimal_point : text[i];
  }
  copy[n] = 0;
  *value = strtod(copy, &end);
  return end == copy + n;
}

enum { DIGITS = 9 };

static const long double powers[] = {1e0L,  1e1L,  1e2L,  1e3L,  1e4L,  1e5L,  1e6L,
                                     1e7L,  1e8L,  1e9L,  1e10L, 1e11L, 1e12L, 1e13L,
                                     1e14L, 1e15L, 1e16L, 1e17L, 1e18L};

/* The DIGITS significant digits of value > 0 as a whole number, and the decimal exponent of the
 * first. False where a long double does not decide which way %.9g rounds. */
static bool significant(double value, uint64_t *digits, int *exponent) {
  if (!(value >= 1e-9 && value < 1e9)) return false;
  int e = (int)floor(log10(value));
  for (int attempt = 0; attempt < 3; attempt++) {
    int shift = DIGITS - 1 - e; /* 0 to 18 */
    if (shift < 0 || shift > 18) return false;
    long double scaled = (long double)value * powers[shift];
    uint64_t whole = (uint64_t)scaled;
    long double rest = scaled - (long double)whole;
    /* The product's error is below 2^-34 here; nearer to a tie than that, printf decides. */
    if (fabsl(rest - 0.5L) < 1e-8L) return false;
    whole += rest > 0.5L;
    if (whole >= 1000000000) {
      e++;
    } else if (whole < 100000000) {
      e--;
    } else {
      *digits = whole;
      *exponent = e;
      return true;
    }
  }
  return false;
}

void nk_buffer_number(struct nk_buffer *buffer, double value) {
  uint64_t digits;
  int exponent;
  char text[40], *p = text;
  double size = fabs(value);
  if (value == 0 || !significant(size, &digits, &exponent) || exponent < -4) {
    int n = snprintf(text, sizeof text, "%.9g", value);
    nk_buffer_append(buffer, text, (size_t)n);
    return;
  }
  char digit[DIGITS];
  for (int i = DIGITS - 1; i >= 0; i--, digits /= 10) digit[i] = (char)('0' + digits % 10);
  int used = DIGITS;
  while (used > 1 && digit[used - 1] == '0') used--;
  if (value < 0) *p++ = '-';
  if (exponent < 0) {
    *p++ = '0';
    *p++ = '.';
    for (int i = -1; i > exponent; i--) *p++ = '0';
  }
  for (int i = 0; i < used || i <= exponent; i++) {
    if (exponent >= 0 && i == exponent + 1) *p++ = '.';
    *p++ = i < used ? digit[i] : '0';
  }
  nk_buffer_append(buffer, text, (size_t)(p - text));
}

void nk_buffer_integer(struct nk_buffer *buffer, int64_t value) {
  char text[24], *p = text + sizeof text;
  uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
  do *--p = (char)('0' + rest % 10);
  while ((rest /= 10) != 0);
  if (value < 0) *--p = '-';
  nk_buffer_append(buffer, p, (size_t)(text + sizeof text - p));
}
