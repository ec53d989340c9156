/* nk-convert --model: a whole model as GGUF or as a folder. */
#ifndef CONVERT_MODEL_H
#define CONVERT_MODEL_H

#include <stddef.h>
#include "cli/tool.h"

enum { CONVERT_NOT_CHOSEN = -1 };  /* of an option that is a choice */
enum { CONVERT_GGUF, CONVERT_HF }; /* in the order of the option's choices */

struct convert_model {
  int format;                 /* CONVERT_GGUF, CONVERT_HF or CONVERT_NOT_CHOSEN */
  int type;                   /* of --type, in the order of its choices */
  struct cli_strings shuffle; /* one seed, or none */
  const char *patch;          /* a table of tokens whose rows are replaced, or NULL */
  int with;                   /* enum nk_patch_source */
  size_t k;                   /* of NK_PATCH_NEIGHBOURS; SIZE_MAX: not given */
  bool patch_output;          /* in an output matrix of its own too */
};

/* NK_EUSAGE where an option is given that needs --model, which is not. */
int convert_check_no_model(const struct convert_model *o);

/* Writes the model that is the run's operand. NK_OK or a negative code. */
int convert_model(const struct cli_run *run, const struct convert_model *o);

#endif
