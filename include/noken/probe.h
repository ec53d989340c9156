/* What a vector does to a prompt when it stands in the prompt's slot: the distribution of the next
 * token after it, how far that is from what ordinary tokens give in the same place, what the model
 * goes on to say. */
#ifndef NOKEN_PROBE_H
#define NOKEN_PROBE_H

#include <noken/base.h>
#include <noken/forward.h>
#include <noken/tokenizer.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ==== Prompts ==== */

/* Prompts with slots: text in which every {} is a place for one token or vector. The text between
 * slots is encoded on its own, as the tokenizer does it in the middle of a text; before the first
 * come the tokens that the model is trained to begin with. */

struct nk_prompt {
  char *name;
  char *text;
  bool repetition; /* what follows it is the slot's token again, where the model knows the token */
  int64_t *ids;    /* [n] NK_VECTOR in the slots */
  size_t n;
  size_t *slots; /* [n_slots] positions */
  size_t n_slots;
};

struct nk_prompts {
  struct nk_prompt *item;
  size_t n;
};

/* Start from `struct nk_prompts p = {0};`, end with nk_prompts_free. Adds a prompt; name NULL: its
 * number. Returns 0, or NK_EUSAGE when there is no slot and need_slot. */
NK_API int nk_prompts_add(struct nk_prompts *prompts, const struct nk_tokenizer *tokenizer,
                          const char *name, const char *text, bool repetition, bool need_slot);

NK_API void nk_prompts_free(struct nk_prompts *prompts);

/* ==== Behaviour ==== */

/* What is put into the slot, one after the other: tokens, then vectors. */
struct nk_items {
  const int64_t *tokens; /* [n_tokens] */
  size_t n_tokens;
  const float *vectors; /* [n_vectors, dim] */
  size_t n_vectors;
};

/* Where and how a vector is put in. Tokens stand in the same place as tokens always do. */
struct nk_intervention {
  size_t layer; /* as in forward.h: 0 the input embedding, L the stream entering block L */
  enum nk_override_mode mode;
  bool at_position; /* at `position` instead of the slots */
  size_t position;
  /* [dim] what the input embedding is in a slot that the vector does not replace there: below the
   * layer, under NK_ADD, and in the slots of a prompt when the vector goes to `position`. */
  const float *fill;
};

/* The prompt's last place that the items are put in: offsets count from it. */
NK_API size_t nk_prompt_base(const struct nk_prompt *prompt, const struct nk_intervention *how);

/* fill [dim] = the mean of the input embedding: nothing in particular. */
NK_API int nk_mean_embedding(const struct nk_forward *forward, float *fill);

/* Checks what can be told before any work: layer, position, a prompt with n_more tokens to be
 * generated within the context. 0 or NK_EUSAGE. */
NK_API int nk_intervention_check(const struct nk_forward *forward, const struct nk_prompt *prompt,
                                 const struct nk_intervention *how, size_t n_more);

/* ---- Distributions ---- */

/* What ordinary tokens do at some offsets of a prompt. */
struct nk_reference;

/* Ordinary tokens in the prompt's place: the first n_mean of ids make the mean distribution that
 * kl is measured from, the other n - n_mean say how far from ordinary a behaviour is (half of them
 * fit the score, half calibrate it). offsets [n_offsets] count from the base. NULL on failure. */
NK_API struct nk_reference *nk_reference_new(struct nk_forward *forward,
                                             const struct nk_prompt *prompt,
                                             const struct nk_intervention *how, const int64_t *ids,
                                             size_t n, size_t n_mean, const size_t *offsets,
                                             size_t n_offsets, uint64_t seed);
NK_API void nk_reference_free(struct nk_reference *reference);

/* Row item * n_offsets + offset of each array. */
struct nk_behaviour {
  size_t n_items, n_offsets, n_layers;
  double *entropy; /* nats */
  int64_t *top_id; /* the most probable next token */
  double *top_prob;
  double *kl;        /* from the reference's mean distribution, nats */
  double *p_value;   /* conformal, against the reference's other tokens */
  double *self_prob; /* a token's probability of coming again; NaN for vectors */
  double *norms;     /* [.., n_layers] length of the residual stream at layers 1 to n_layers */
};

/* What every item does at the reference's offsets. NULL on failure; free with
 * nk_behaviour_free. */
NK_API struct nk_behaviour *nk_behave(struct nk_forward *forward, const struct nk_prompt *prompt,
                                      const struct nk_intervention *how,
                                      const struct nk_items *items,
                                      const struct nk_reference *reference);
NK_API void nk_behaviour_free(struct nk_behaviour *behaviour);

/* ids [n_items, n_tokens], lengths [n_items] = what the model goes on with after each item's
 * prompt, the most probable token each time, until one of stop [n_stop]. */
NK_API int nk_continue(struct nk_forward *forward, const struct nk_prompt *prompt,
                       const struct nk_intervention *how, const struct nk_items *items,
                       size_t n_tokens, const int64_t *stop, size_t n_stop, int64_t *ids,
                       size_t *lengths);

/* out [n_items, dim] = the residual stream at `layer` and at `offset` from the base (SIZE_MAX: at
 * the prompt's end). NK_EUSAGE when the prompt has no such position. */
NK_API int nk_capture(struct nk_forward *forward, const struct nk_prompt *prompt,
                      const struct nk_intervention *how, const struct nk_items *items, size_t layer,
                      size_t offset, float *out);

/* ranks [n] = 1 + the number of tokens whose input embedding is nearer (L2) to row i of vectors
 * [n, dim] than token ids[i]'s is: how near what was said is to what was put in. */
NK_API int nk_echo_ranks(const struct nk_forward *forward, const float *vectors, const int64_t *ids,
                         size_t n, int64_t *ranks);

/* *ranks [n_items] (free with nk_free) = those of what each item's behaviour has at its last
 * offset, where the items were put in the input embedding; else NULL. */
NK_API int nk_behaviour_echo(const struct nk_forward *forward, const struct nk_intervention *how,
                             const struct nk_items *items, const struct nk_behaviour *behaviour,
                             int64_t **ranks);

/* *ids [*n] (free with nk_free) = up to n_wanted ordinary tokens drawn by seed: those that text can
 * give, without excluded [n_excluded]; with `known`, only those that the model does not fail to
 * repeat (verify.h: not strongly verified), as tokens that training never showed would make
 * everything look ordinary. When nearly all fail (a model that cannot repeat), this is left out,
 * with a warning. */
NK_API int nk_ordinary_tokens(struct nk_forward *forward, const struct nk_tokenizer *tokenizer,
                              const int64_t *excluded, size_t n_excluded, bool known, uint64_t seed,
                              size_t n_wanted, int64_t **ids, size_t *n);

/* The same from n_from ids given, all of which may be drawn. */
NK_API int nk_draw_ids(const int64_t *from, size_t n_from, uint64_t seed, size_t n_wanted,
                       int64_t **ids, size_t *n);

/* ---- Flags ---- */

/* Named patterns (PCRE2) of what a user calls unwanted in a text. */
struct nk_flags;
/* names and patterns [n]. NULL on failure: the pattern that is wrong, where and why. */
NK_API struct nk_flags *nk_flags_new(const char *const *names, const char *const *patterns,
                                     size_t n);
NK_API void nk_flags_free(struct nk_flags *flags);
/* Appends the names of the patterns that match text[0..n), with commas between. */
NK_API int nk_flags_match(const struct nk_flags *flags, const char *text, size_t n,
                          struct nk_buffer *out);

/* ==== Verification ==== */

/* Does a model know a token? Asked to repeat it, an ordinary token gets a high probability; one
 * that training never showed, or hardly ever, gets almost none (Land and Bartolo, "Fishing for
 * Magikarp", 2024). */

/* Their thresholds on the highest probability that any prompt and step gave the token. */
enum nk_verdict {
  NK_STRONGLY_VERIFIED, /* below 0.001: surely under-trained */
  NK_WEAKLY_VERIFIED,   /* below 0.1 */
  NK_WEAKLY_REJECTED,   /* below 0.9 */
  NK_STRONGLY_REJECTED, /* the model knows the token */
  NK_N_VERDICTS
};

NK_API enum nk_verdict nk_verdict_of(double max_prob);
/* "strongly verified", ... */
NK_API const char *nk_verdict_name(enum nk_verdict verdict);

/* The repetition prompts that are used where the caller has none of their own. */
NK_API int nk_verify_prompts(struct nk_prompts *prompts, const struct nk_tokenizer *tokenizer);

/* max_prob [n] = the highest probability of token ids[i], put into the slots of each prompt, at any
 * of the n_steps positions from the prompt's end on, the model continuing with its most probable
 * token. All tokens go through in one batch per prompt; what stands before the first slot is
 * computed once. memory as in nk_batch. Returns 0 or a negative code. */
NK_API int nk_verify(struct nk_forward *forward, const struct nk_prompts *prompts,
                     const int64_t *ids, size_t n, size_t n_steps, size_t memory, double *max_prob);

/* Verdicts by how often training showed the tokens: never, then by powers of ten. */
struct nk_verdict_range {
  int64_t least, most; /* count */
  size_t tokens;
  size_t verdicts[NK_N_VERDICTS];
};
enum { NK_VERDICT_RANGES = 6 };
/* Fills ranges [NK_VERDICT_RANGES] from n tokens. */
NK_API void nk_verdicts_by_count(const double *max_prob, const int64_t *counts, size_t n,
                                 struct nk_verdict_range *ranges);

#ifdef __cplusplus
}
#endif
#endif
