/* A set in the formats of nk-convert --to. */
#ifndef CONVERT_WRITE_H
#define CONVERT_WRITE_H

#include <noken/vectors.h>
#include "cli/tool.h"

/* In the order of the option's choices. */
enum convert_format {
  CONVERT_TO_SAFETENSORS,
  CONVERT_TO_NPY,
  CONVERT_TO_F32,
  CONVERT_TO_TSV,
  CONVERT_TO_WORD2VEC,
  CONVERT_TO_PROJECTOR
};

/* Writes the set to the run's output: a file, or the projector's folder. A set without values can
 * be written as safetensors. NK_OK or a negative code. */
int convert_write(const struct cli_run *run, enum convert_format format, struct nk_vectors *set);

#endif
