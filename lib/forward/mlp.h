/* The parts of an mlp, for its output (mlp.c) and its gradient (backward_mlp.c). */
#ifndef NOKEN_FORWARD_MLP_H
#define NOKEN_FORWARD_MLP_H

#include "forward/batch.h"

/* Its weights: gate_up, or gate and up, or up alone. */
struct nki_mlp {
  struct nki_floats gate_up, gate, up, down;
  size_t width;
  bool in_out;
  bool in_turn; /* values of gate and up alternate in gate_up */
  float *keep;  /* [n, ..] values before the activation, without biases; or NULL */
};

/* An expert that a row has, and its share. */
struct nki_choice {
  size_t row;
  float share;
};

struct nki_mixture {
  float *weights;             /* [expert_floats] one expert, widened */
  float *scores;              /* [block_rows, n_experts] */
  size_t *active;             /* [block_rows, n_active] experts of each row */
  float *shares;              /* [block_rows, n_active] */
  size_t *start;              /* [n_experts + 1] where an expert's choices begin */
  struct nki_choice *choices; /* [block_rows * n_active], by expert */
  float *rows, *out, *sum;    /* [block_rows, dim] */
};

/* The layer's own, one of its experts (widened into mixture->weights), or the one for all rows. */
struct nki_mlp nki_mlp_of_layer(const struct nki_work *work);
struct nki_mlp nki_mlp_of_expert(struct nki_work *work, size_t layer, size_t expert);
struct nki_mlp nki_mlp_of_shared(const struct nki_work *work);

/* Floats of a row of inner values: of gate and up, or of up alone. */
size_t nki_mlp_row(const struct nki_mlp *mlp);
/* buffer [n, nki_mlp_row] = the inner values of y [n, dim], before biases and activation. */
void nki_mlp_inner(const struct nki_config *config, const struct nki_mlp *mlp, const float *y,
                   size_t n, float *buffer);
/* What activates them; *h = where the values of up begin. */
struct nki_activating nki_mlp_activating(const struct nki_config *config, const struct nki_mlp *mlp,
                                         float *buffer, float **h);

/* The experts of each row of y [n, dim], and the choices by expert, in work->own.mixture. NK_OK or
 * NK_EDATA. */
int nki_mixture_route(struct nki_work *work, size_t layer, const float *y, size_t n);
/* What the output of the expert for all rows is multiplied by, for a row y [dim]. */
double nki_shared_share(const struct nki_work *work, const float *y);

#endif
