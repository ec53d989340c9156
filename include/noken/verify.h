/* Does a model know a token? Asked to repeat it, an ordinary token gets a high probability; one
 * that training never showed, or hardly ever, gets almost none (Land and Bartolo, "Fishing for
 * Magikarp", 2024). */
#ifndef NOKEN_VERIFY_H
#define NOKEN_VERIFY_H

#include <noken/forward.h>
#include <noken/prompt.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Their thresholds on the highest probability that any prompt and step gave the token. */
enum nk_verdict {
  NK_STRONGLY_VERIFIED, /* below 0.001: surely under-trained */
  NK_WEAKLY_VERIFIED,   /* below 0.1 */
  NK_WEAKLY_REJECTED,   /* below 0.9 */
  NK_STRONGLY_REJECTED, /* the model knows the token */
  NK_N_VERDICTS
};

enum nk_verdict nk_verdict_of(double max_prob);
/* "strongly verified", ... */
const char *nk_verdict_name(enum nk_verdict verdict);

/* The repetition prompts that are used where the caller has none of their own. */
int nk_verify_prompts(struct nk_prompts *prompts, const struct nk_tokenizer *tokenizer);

/* max_prob [n] = the highest probability of token ids[i], put into the slots of each prompt, at any
 * of the n_steps positions from the prompt's end on, the model continuing with its most probable
 * token. All tokens go through in one batch per prompt; what stands before the first slot is
 * computed once. memory as in nk_batch. Returns 0 or a negative code. */
int nk_verify(struct nk_forward *forward, const struct nk_prompts *prompts, const int64_t *ids,
              size_t n, size_t n_steps, size_t memory, double *max_prob);

/* Adds to ids [*n] (from nk_alloc, or NULL) those of a table: all of them, or those verified where
 * it has a column `verdict`. */
int nk_verified_read(const char *path, int64_t **ids, size_t *n);

/* Verdicts by how often training showed the tokens: never, then by powers of ten. */
struct nk_verdict_range {
  int64_t least, most; /* count */
  size_t tokens;
  size_t verdicts[NK_N_VERDICTS];
};
enum { NK_VERDICT_RANGES = 6 };
/* Fills ranges [NK_VERDICT_RANGES] from n tokens. */
void nk_verdicts_by_count(const double *max_prob, const int64_t *counts, size_t n,
                          struct nk_verdict_range *ranges);

#ifdef __cplusplus
}
#endif
#endif
