/* Perturbations: the object (perturb.c), and passes of rows through the model (perturb_pass.c). */
#ifndef NOKEN_FORWARD_PERTURB_H
#define NOKEN_FORWARD_PERTURB_H

#include <noken/probe.h>

#include "forward/internal.h"

/* Copies of one state differ by roundings, which depend on the batch: by some 1e-7 of its length.
 * A vector at this part of its origin's length or less from it is such a copy. */
#define NKI_ROUNDING_OF_STATES 1e-6

struct nk_perturb {
  struct nk_forward *forward;
  const struct nk_sequence *contexts; /* the caller's */
  struct nk_place *places;            /* [n_places] each origin in `origins`, or NULL */
  size_t n_places, n_reads;
  enum nk_override_mode mode;
  float *fill;    /* [dim]; NULL where no context has NK_VECTOR */
  size_t *layers; /* [n_layers + 1] the last one is that before the final norm */
  size_t n_layers;
  float *origins; /* [n_places, dim] */
  /* The baselines, [n_places, n_reads]: */
  float *logits;       /* [.., vocabulary] */
  double *log_sum_exp; /* [..] of the logits */
  int64_t *top_id;     /* [..] */
  float *streams;      /* [.., n_layers + 1, dim] */
};

/* Rows of a pass: row i is the place place[i] with a vector in it, or as the context has it. */
struct nki_perturb_rows {
  const size_t *place;         /* [n] */
  const float *const *vectors; /* [n] each [dim] or NULL */
  size_t n;
  float *own_states; /* [n_places, dim] the streams in the rows' places, or NULL: not read */
};

/* What a pass reads of rows at each position that is compared; row i's are at i * n_reads. */
struct nki_perturb_answers {
  float *logits; /* [.., vocabulary] */
  double *log_sum_exp;
  int64_t *top_id;
  float *streams; /* [.., n_layers + 1, dim] */
};

/* Takes the answers to the rows [n] of one batch, order[i] being the number of row i. */
typedef int nki_perturb_take(void *user, const size_t *order, size_t n,
                             const struct nki_perturb_answers *answers);

/* Runs the rows in batches. NK_OK or a negative code. */
int nki_perturb_pass(const struct nk_perturb *perturb, const struct nki_perturb_rows *rows,
                     nki_perturb_take *take, void *user);

#endif
