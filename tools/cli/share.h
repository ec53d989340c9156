/* Shares of independent objects, with 95% intervals. */
#ifndef CLI_SHARE_H
#define CLI_SHARE_H

#include <stddef.h>

/* NaN where it is not defined: of no objects. */
struct cli_share {
  double value, low, high;
};

/* part of n, by the score interval of Wilson (1927). */
struct cli_share cli_share_of(size_t part, size_t n);
/* a - b, of different objects: method 10 of Newcombe (1998). */
struct cli_share cli_share_difference(struct cli_share a, struct cli_share b);

#endif
