/* Objectives, for what searches with their gradients. */
#ifndef NOKEN_FORWARD_OBJECTIVE_H
#define NOKEN_FORWARD_OBJECTIVE_H

#include <noken/search.h>

#include "forward/probe.h"

/* Whether nk_objective_run can run with it: NK_OK or a negative code. */
int nki_objective_check(const struct nk_objective_options *objective);
/* Adds the gradients of a layout's overrides to those of the vectors that they are, gradients
 * [sequences, dim]. */
void nki_add_vector_gradients(const struct nk_probe *probe, const struct nk_batch *batch,
                              const float *overrides, float *gradients);

#endif
