/* The worst case: vectors that do the most to a model's answer, under a constraint that can be
 * checked. An objective is a number for each vector that is put into the place of probes; its
 * gradient comes from nk_gradient_run.
 */
#ifndef NOKEN_SEARCH_H
#define NOKEN_SEARCH_H

#include <noken/base.h>
#include <noken/probe.h>
#include <noken/region.h>
#include <noken/vectors.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ==== Objectives ==== */

/* Of the model's answer at a prompt's end, p the distribution of the next token there. */
enum nk_objective {
  NK_OBJECTIVE_KL,      /* KL(p || q), q the mean distribution of ordinary tokens in the probe's
                         * place: nk_behaviour's kl */
  NK_OBJECTIVE_ENTROPY, /* -sum p log p */
  NK_OBJECTIVE_TOKENS,  /* log of the summed probability of ids as the next token */
  NK_OBJECTIVE_TEXT /* log-probability of ids, one after the other, as what follows the prompt */
};

/* What is made large: its mean over probes, which read the model at the prompt's end (their last
 * offset). Valid when zeroed but for probes. Natural logarithms. */
struct nk_objective_options {
  struct nk_probe *const *probes; /* [n_probes] of one model, one layer and one mode */
  size_t n_probes;
  enum nk_objective kind;
  bool minimize;      /* the opposite is made large: the value has the other sign */
  const int64_t *ids; /* [n_ids] of TOKENS (an id once) and TEXT */
  size_t n_ids;
};

/* values [n] and gradients [n, dim] (or NULL: not computed) = what is made large, and its gradient
 * with respect to the vector, with each row of x [n, dim] in the probes' place; where a prompt has
 * several slots, they hold the same vector, and the gradient is that of all. The first run with
 * NK_OBJECTIVE_KL computes the probes' references. Rows are run in blocks of bounded memory.
 * Returns NK_OK or a negative code: NK_EUSAGE for probes that do not go together, an id that does
 * not exist or that TOKENS has twice, a text longer than the context; NK_EDATA for a vector that is
 * not finite; those of nk_probe_run and nk_gradient_run; for a probe of NULL that of the failed
 * call that gave it. Where it fails, values and gradients are not defined. */
NK_API int nk_objective_run(const struct nk_objective_options *objective, const float *x, size_t n,
                            double *values, float *gradients);

/* ==== The stiffest directions ==== */

/* Valid when zeroed but for the probes. */
struct nk_top_options {
  struct nk_probe *const *probes; /* [n_probes] as of an objective */
  size_t n_probes;
  size_t k;      /* directions of each origin; 0: 4 */
  bool fisher;   /* weigh the logits' changes by the distribution at the origin: see below */
  uint64_t seed; /* of where the iteration starts */
};

/* The directions in which a vector in the probes' place changes the logits at the prompt's end most
 * at each row of origins: the leading right singular vectors of the Jacobian J of the logits less
 * their mean, of several probes of all their logits over the root of n_probes. With `fisher` of the
 * logits less their mean by p, times the root of p: the KL divergence from the origin's
 * distribution is then half the squared singular value times the squared length of a small step.
 *
 * The set has k unit vectors of each origin, those with the largest singular value first, and the
 * columns singular_value (change of the logits per unit of length), component (from 1), origin (the
 * row's id), origin_row, and residual, |J^T J v - s^2 v| / s^2: the iteration ends where all are
 * 1e-3 or less, or after 50 steps; those of values far below the largest stay larger, by the
 * rounding of differences of floats. A step runs 2 (k + 8) + 1 sequences forward and k + 8 backward
 * for each origin and probe. The logits of all of an origin's sequences are held at once, 4
 * (2 (k + 8) + 1) bytes times the vocabulary; those of several origins as long as they fit in 256
 * MiB. NULL on failure, as nk_objective_run, and NK_EDATA where no direction changes a logit;
 * origins of NULL leave the error of the call before. */
NK_API struct nk_vectors *nk_top_directions(const struct nk_top_options *options,
                                            const struct nk_vectors *origins);

/* ==== Search ==== */

enum nk_constraint {
  NK_WITHIN_REGION, /* the region's p-value is at least `bound`, in (0, 1] */
  NK_AT_DISTANCE,   /* the metric's value, from what the region calls in distribution as in
                     * nk_sample, is `bound` */
  NK_WITHIN_RADIUS /* |x - origin| is at most `bound`; origin: the row of `from` that x starts at */
};

/* Valid when zeroed but for the objective's probes and the bound. */
struct nk_search_options {
  struct nk_objective_options objective;
  enum nk_constraint constraint;
  double bound;
  enum nk_metric metric; /* of NK_AT_DISTANCE; default: NK_METRIC_MAHALANOBIS */
  /* [any, dim] where nokens start, one for each row; NULL: drawn, isotropic rays at the distance as
   * nk_sample draws them, or nk_sample_inside's nokens. Required for NK_WITHIN_RADIUS. */
  const struct nk_vectors *from;
  size_t n;          /* nokens, where `from` is NULL; 0: 1 */
  size_t n_restarts; /* starts of each noken, of which the best is returned; 0: 4 */
  size_t n_steps;    /* gradients of each start; 0: 50 */
  uint64_t seed;
};

/* Nokens at which the objective is large, each the best of n_restarts runs of projected gradient
 * ascent: in turn with steps that adapt (Auto-PGD: Croce and Hein, "Reliable evaluation of
 * adversarial robustness with an ensemble of diverse parameter-free attacks", 2020) and by Adam
 * (Kingma and Ba, 2015). Gradients are taken in coordinates in which the constraint is round:
 * whitened by the region's covariance for Mahalanobis distances and p-values. Every iterate keeps
 * the constraint, and the one with the largest objective is returned. Without `from` the starts of
 * a noken are draws; with it the first is the row itself (brought to the distance along its ray
 * from the centroid), the others begin half of the radius, or of its distance from the centroid,
 * away from it in random directions. The starts of a noken depend on the seed, n_restarts, its
 * number and its row alone; where it ends also on rounding, which depends on the batch and which
 * steps amplify. region is NULL for NK_WITHIN_RADIUS, or measures columns.
 *
 * Columns of the set: objective_start (at the first start) and objective (both in the objective's
 * own sign), steps (gradients taken from the start that was best to its best iterate), agreed (how
 * many of the starts reached it but for 0.02 of its gain over objective_start); with a region those
 * of nk_sample's nokens that measure a place: l2, cosine, mahalanobis, knn, nearest, p_value; for
 * NK_AT_DISTANCE distance, the bound; with `from` origin (the row's id), origin_row, radius (|x -
 * row|) and what nokens from a set have of its rows.
 *
 * NULL on failure: NK_EUSAGE for a bound outside its range, options that do not go together and
 * what nk_objective_run refuses; NK_EDATA for rows of `from` outside the region (the first is
 * named) or on a ray that never reaches the distance, vectors of another dim, or where floats are
 * too coarse for the bound; NK_EMEMORY; NK_EINTERRUPTED. */
NK_API struct nk_vectors *nk_search(struct nk_region *region,
                                    const struct nk_search_options *options);

#ifdef __cplusplus
}
#endif
#endif
