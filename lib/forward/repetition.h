/* One prompt, many items: how well the model repeats what stands in the prompt's slots. */
#ifndef NOKEN_FORWARD_REPETITION_H
#define NOKEN_FORWARD_REPETITION_H

#include <noken/forward.h>

/* The prompt with each of n items in it, and the tokens that repeat the item. */
struct nki_repetition {
  struct nk_sequence prefix;           /* of all prompts */
  const struct nk_sequence *sequences; /* [n] the rest of each, at least a token */
  const struct nk_sequence *answers;   /* [n] one token or more */
  size_t n;
  size_t n_steps; /* a repetition begins after 0 to n_steps - 1 generated tokens */
};

/* best [n] = the highest value, over the steps, of the least probability of a token of the answer:
 * the answer's tokens are given to the model one after the other, after the most probable tokens
 * that it generated up to the step. Of one token, its highest probability. NK_OK or a negative
 * code. */
int nki_repetition_best(struct nk_forward *forward, const struct nki_repetition *repetition,
                        double *best);

/* Sampled repetitions. */
struct nki_attempts {
  size_t n_repeats; /* of each item */
  double temperature;
  uint64_t seed;
  const uint32_t *keys; /* [n] the random numbers of an item are those of its key */
};

enum { NKI_MOST_REPEATS = 1 << 24 };

/* failures [n] = the attempts in which a sampled continuation, as long as the steps and the answer
 * need, has the answer at none of the steps. NK_OK or a negative code. */
int nki_repetition_failures(struct nk_forward *forward, const struct nki_repetition *repetition,
                            const struct nki_attempts *attempts, size_t *failures);

#endif
