/* nk-convert --from: hidden states that other programs saved. */
#ifndef CONVERT_STATES_H
#define CONVERT_STATES_H

#include "cli/tool.h"

struct convert_states {
  int from;                     /* in the order of its choices; below 0: not given */
  const char *axes;             /* or NULL */
  const char *layers, *of_file; /* lists of --layer and --layer-ids, or NULL */
};

/* NK_EUSAGE where an option is given that needs --from. */
int convert_check_states(const struct convert_states *o);

/* Writes the states in the files that are the run's operands as a set. */
int convert_states(const struct cli_run *run, const struct convert_states *o);

#endif
