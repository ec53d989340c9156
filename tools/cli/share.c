/* Intervals of shares in closed form. */
#include "cli/share.h"

#include <math.h>

static const double Z = 1.959963984540054; /* quantile 0.975 of the normal distribution */

struct cli_share cli_share_of(size_t part, size_t n) {
  double size = (double)n, p = n == 0 ? (double)NAN : (double)part / size;
  double scale = 1 + Z * Z / size, middle = (p + Z * Z / (2 * size)) / scale;
  double half = Z / scale * sqrt(p * (1 - p) / size + Z * Z / (4 * size * size));
  struct cli_share share = {p, fmax(middle - half, 0), fmin(middle + half, 1)};
  if (n == 0) share.low = share.high = (double)NAN;
  if (part == 0 && n > 0) share.low = 0; /* as in the formula, without its rounding */
  if (part == n && n > 0) share.high = 1;
  return share;
}

struct cli_share cli_share_difference(struct cli_share a, struct cli_share b) {
  double value = a.value - b.value;
  return (struct cli_share){value, value - hypot(a.value - a.low, b.high - b.value),
                            value + hypot(a.high - a.value, b.value - b.low)};
}
