/* What a vector does to a prompt when it stands in the prompt's slot: the distribution of the next
 * token after it, how far that is from what ordinary tokens give in the same place, what the model
 * goes on to say. */
#ifndef NOKEN_BEHAVIOUR_H
#define NOKEN_BEHAVIOUR_H

#include <noken/buffer.h>
#include <noken/forward.h>
#include <noken/prompt.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

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

/* Token ids from a list ("3,10-20", or NULL) and from the column `id` of a table (or NULL), each
 * checked against n_vocabulary: *ids [*n], free with nk_free. */
int nk_read_tokens(const char *list, const char *table, size_t n_vocabulary, int64_t **ids,
                   size_t *n);

/* "1,3-5" as layers from `least` to the model's last: *layers [*n], free with nk_free. */
int nk_parse_layers(const struct nk_forward *forward, const char *what, const char *text,
                    size_t least, size_t **layers, size_t *n);

/* The prompt's last place that the items are put in: offsets count from it. */
size_t nk_prompt_base(const struct nk_prompt *prompt, const struct nk_intervention *how);

/* fill [dim] = the mean of the input embedding: nothing in particular. */
int nk_mean_embedding(const struct nk_forward *forward, float *fill);

/* Checks what can be told before any work: layer, position, a prompt with n_more tokens to be
 * generated within the context. 0 or NK_EUSAGE. */
int nk_intervention_check(const struct nk_forward *forward, const struct nk_prompt *prompt,
                          const struct nk_intervention *how, size_t n_more);

/* ---- Distributions ---- */

/* What ordinary tokens do at some offsets of a prompt. */
struct nk_reference;

/* Ordinary tokens in the prompt's place: the first n_mean of ids make the mean distribution that
 * kl is measured from, the other n - n_mean say how far from ordinary a behaviour is (half of them
 * fit the score, half calibrate it). offsets [n_offsets] count from the base. NULL on failure. */
struct nk_reference *nk_reference_new(struct nk_forward *forward, const struct nk_prompt *prompt,
                                      const struct nk_intervention *how, const int64_t *ids,
                                      size_t n, size_t n_mean, const size_t *offsets,
                                      size_t n_offsets, uint64_t seed);
void nk_reference_free(struct nk_reference *reference);

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
struct nk_behaviour *nk_behave(struct nk_forward *forward, const struct nk_prompt *prompt,
                               const struct nk_intervention *how, const struct nk_items *items,
                               const struct nk_reference *reference);
void nk_behaviour_free(struct nk_behaviour *behaviour);

/* ids [n_items, n_tokens], lengths [n_items] = what the model goes on with after each item's
 * prompt, the most probable token each time, until one of stop [n_stop]. */
int nk_continue(struct nk_forward *forward, const struct nk_prompt *prompt,
                const struct nk_intervention *how, const struct nk_items *items, size_t n_tokens,
                const int64_t *stop, size_t n_stop, int64_t *ids, size_t *lengths);

/* out [n_items, dim] = the residual stream at `layer` and at `offset` from the base (SIZE_MAX: at
 * the prompt's end). NK_EUSAGE when the prompt has no such position. */
int nk_capture(struct nk_forward *forward, const struct nk_prompt *prompt,
               const struct nk_intervention *how, const struct nk_items *items, size_t layer,
               size_t offset, float *out);

/* ranks [n] = 1 + the number of tokens whose input embedding is nearer (L2) to row i of vectors
 * [n, dim] than token ids[i]'s is: how near what was said is to what was put in. */
int nk_echo_ranks(const struct nk_forward *forward, const float *vectors, const int64_t *ids,
                  size_t n, int64_t *ranks);

/* *ranks [n_items] (free with nk_free) = those of what each item's behaviour has at its last
 * offset, where the items were put in the input embedding; else NULL. */
int nk_behaviour_echo(const struct nk_forward *forward, const struct nk_intervention *how,
                      const struct nk_items *items, const struct nk_behaviour *behaviour,
                      int64_t **ranks);

/* *ids [*n] (free with nk_free) = up to n_wanted ordinary tokens drawn by seed: those that text can
 * give, without excluded [n_excluded]; with `known`, only those that the model does not fail to
 * repeat (verify.h: not strongly verified), as tokens that training never showed would make
 * everything look ordinary. When nearly all fail (a model that cannot repeat), this is left out,
 * with a warning. */
int nk_ordinary_tokens(struct nk_forward *forward, const struct nk_tokenizer *tokenizer,
                       const int64_t *excluded, size_t n_excluded, bool known, uint64_t seed,
                       size_t n_wanted, int64_t **ids, size_t *n);

/* The same from n_from ids given, all of which may be drawn. */
int nk_draw_ids(const int64_t *from, size_t n_from, uint64_t seed, size_t n_wanted, int64_t **ids,
                size_t *n);

/* ---- Flags ---- */

/* Named patterns (PCRE2) of what a user calls unwanted in a text. */
struct nk_flags;
/* From a table with the columns `name` and `pattern`. NULL on failure: the pattern that is wrong,
 * where and why. */
struct nk_flags *nk_flags_read(const char *path);
void nk_flags_free(struct nk_flags *flags);
/* Appends the names of the patterns that match text[0..n), with commas between. */
int nk_flags_match(const struct nk_flags *flags, const char *text, size_t n, struct nk_buffer *out);

#ifdef __cplusplus
}
#endif
#endif
