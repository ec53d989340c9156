/* Fine-tuning of a model so that nokens do what ordinary tokens do and nothing else changes.
 *
 *   loss = mean of KL(target || tuned) over nokens in prompts
 *        + weight (mean of KL(frozen || tuned) over ordinary tokens in prompts
 *                  + mean of the same over the positions of texts, where there are any)
 *
 * at the prompts' ends. `frozen` is the model as it is in its files. The target is the mean
 * distribution of ordinary tokens in the same prompt by the frozen model, from which nk_behaviour's
 * kl is measured too, or the distribution of one token there. A share of nokens, prompts and texts
 * is held out: the loss of these alone chooses the weights that are kept. */
#ifndef NOKEN_TUNE_H
#define NOKEN_TUNE_H

#include <noken/base.h>
#include <noken/forward.h>
#include <noken/probe.h>
#include <noken/region.h>
#include <noken/vectors.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct nk_tune;

/* What is trained. */
enum nk_tune_part {
  NK_TUNE_HALF,      /* half of the blocks, from the one that nokens enter: with the embedding and
                      * the last blocks, ordinary tokens change more for the same nokens */
  NK_TUNE_ALL,       /* every weight of the forward pass */
  NK_TUNE_EMBEDDING, /* the input embedding, which is the output matrix too where they are tied */
  NK_TUNE_LAYERS,    /* all of blocks first_layer to last_layer */
  NK_TUNE_NORMS,     /* all norms */
};

/* Valid when zeroed but for nokens and prompts, which, as texts and target, are used by nk_tune_new
 * alone. */
struct nk_tune_options {
  const struct nk_vectors *nokens; /* rows with the same number in the column `ray` (without one:
                                    * with the same id) are all held out, or none */
  size_t layer;                    /* where they are put in, as in nk_probe_options */
  enum nk_override_mode mode;
  const char *const *prompts; /* [n_prompts] texts with slots {} */
  size_t n_prompts;
  const struct nk_text *texts; /* [n_texts] UTF-8; in pieces of at most 64 tokens, of which
                                * evaluations read at most 128 that are held out */
  size_t n_texts;
  const int64_t *target; /* the token whose distribution is the target; NULL: the mean */
  enum nk_tune_part train;
  size_t first_layer, last_layer; /* of NK_TUNE_LAYERS, from 0 */
  size_t n_steps;                 /* 0: 400 */
  double rate;                    /* the highest learning rate; 0: 1e-3 */
  double decay;                   /* of weights, decoupled, as in AdamW */
  double weight;                  /* of what shall not change; 0: 1 */
  size_t n_batch;    /* nokens, and as many ordinary tokens, in a step; a quarter as many pieces of
                      * text, in half of which a token is replaced by an
                      * ordinary one; 0: 64 */
  double hold_out;   /* share of nokens, prompts, ordinary tokens and texts; 0: 0.2 */
  size_t n_evaluate; /* steps between two evaluations; 0: a twentieth of n_steps */
  /* Steps between two searches (nk_search), each of the nokens that are trained on at its distance
   * (the column `distance`, of `metric` from the region) where they do the most with the weights of
   * the moment, in four of the prompts; those held out are searched so before each evaluation. 0:
   * nokens stay as they are given. */
  size_t n_search;
  struct nk_region *region; /* of n_search, as long as the run */
  enum nk_metric metric;    /* default: NK_METRIC_MAHALANOBIS */
  uint64_t seed;            /* of what is held out, and of each step's batch */
  const char *checkpoint;   /* a file of nk_tune_save to go on from, or NULL */
};

/* One evaluation. NaN: nothing to measure (no texts; no steps before step 0). */
struct nk_tune_row {
  double step, rate;
  double loss, noken_loss, ordinary_loss, text_loss; /* of the batches since the last row */
  double heldout_loss, heldout_noken_loss, heldout_ordinary_loss, heldout_text_loss;
  double heldout_share;   /* held-out nokens in held-out prompts with p_value <= 0.05, by reference
                          * tokens in the model at this step */
  double ordinary_share;  /* the same of held-out ordinary tokens, which are not in the reference */
  double next_token_loss; /* -log p of the next token of held-out texts, nats */
};
enum { NK_TUNE_COLUMNS = 13 };
extern NK_API const char *const nk_tune_columns[NK_TUNE_COLUMNS]; /* of a row, in its order */

/* A run that has not begun, or that of the checkpoint. Nokens are fixed vectors, whatever the input
 * embedding becomes. With one prompt none is held out. The model has other values
 * (nk_model_use_values) until nk_tune_free. NULL on failure, and for a model of NULL: NK_EUSAGE for
 * options out of range, nokens of fewer than two rays, and a checkpoint of other settings or input
 * (the message names the difference); NK_EUNSUPPORTED for weights that have no gradient
 * (nk_gradient_run). */
NK_API struct nk_tune *nk_tune_new(struct nk_model *model, const struct nk_tune_options *options);
NK_API void nk_tune_free(struct nk_tune *tune);

/* One step of AdamW (Loshchilov and Hutter, "Decoupled weight decay regularization", 2019) with
 * beta 0.9 and 0.999, epsilon 1e-8, the gradient's length limited to 1, and a learning rate that
 * rises for a twentieth of the steps and falls to 0 as half a cosine. Its batch follows from seed
 * and step alone. Evaluates before the first step, each n_evaluate steps and after the last one.
 * The run is *done after n_steps, or where five evaluations in turn did not lower the held-out
 * loss: the model then has the values with the lowest. Returns NK_OK or a negative code. */
NK_API int nk_tune_step(struct nk_tune *tune, bool *done);

/* The evaluations so far, [*n]; they belong to the run. */
NK_API const struct nk_tune_row *nk_tune_rows(const struct nk_tune *tune, size_t *n);

/* Writes the run as safetensors: values, both moments, the best values, rows and settings. A run
 * that goes on from it gives what this one gives, bit for bit with as many threads. Returns NK_OK
 * or a negative code. Does not commit the output. */
NK_API int nk_tune_save(const struct nk_tune *tune, struct nk_output *output);

#ifdef __cplusplus
}
#endif
#endif
