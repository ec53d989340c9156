/* What vectors and tokens do to a prompt: the distribution of the next token after them, how far
 * that is from what ordinary tokens give in the same place, and what the model generates.
 *
 *   struct nk_probe *probe = nk_probe_new(model, "The {} of", NULL);
 *   struct nk_behaviour *b = nk_probe_run(probe, &(struct nk_items){.vectors = nokens});
 *
 * A probe holds a prompt, the place and the layer at which vectors are put in, the positions at
 * which the model is read, and the reference that behaviour is compared with: one belongs to the
 * other. A second prompt, layer or position is a second probe. One thread at a time uses the probes
 * of a model; each call runs in all threads of the library (nk_set_threads). */
#ifndef NOKEN_PROBE_H
#define NOKEN_PROBE_H

#include <noken/base.h>
#include <noken/forward.h>
#include <noken/tokenizer.h>
#include <noken/vectors.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ==== Prompts ==== */

/* *ids [*n] (free with nk_free) = the tokens of a prompt, text[0..n_text): those that the model is
 * trained to begin with, then the text's. With `slots` every {} in it is NK_VECTOR, and the text
 * after a slot is encoded as the tokenizer encodes it in the middle of a text. Returns NK_OK or a
 * negative code (NK_EDATA: not valid UTF-8). */
NK_API int nk_prompt_encode(const struct nk_tokenizer *tokenizer, const char *text, size_t n_text,
                            bool slots, int64_t **ids, size_t *n);

/* ==== Probes ==== */

struct nk_probe;

#define NK_PROMPT_END SIZE_MAX /* an offset: that of the prompt's last token */

/* Valid when zeroed. The arrays are copied by nk_probe_new. */
struct nk_probe_options {
  /* The place: the prompt's slots {}, or one position, counted from 0 at the prompt's first token,
   * or from -1 at its last one. */
  bool at_position;
  int64_t position;
  size_t layer; /* as in forward.h: 0 the input embedding, L the stream that enters block L */
  enum nk_override_mode mode;
  /* [dim] input embedding of a place that a vector does not replace at layer 0: below `layer`,
   * under NK_ADD, and in the slots when the vector goes to `position`. NULL: the mean of the input
   * embedding matrix. */
  const float *fill;

  /* The positions that are read, counted from the base, which is the last slot, or `position`.
   * A position that is given twice is read once. NULL: the first n_offsets positions from the base
   * on, as many as the prompt has; with n_offsets 0, the prompt's end. */
  const size_t *offsets;
  size_t n_offsets;

  size_t n_generate; /* tokens that nk_probe_generate generates for each item, at most */
  bool repetition;   /* the prompt asks to repeat the item: nk_behaviour has echo_rank */

  /* The reference: ordinary tokens in the same place. The first half of them gives the mean
   * distribution, the other half the behaviour that p-values compare with; for a token of the first
   * half it is the other way round. */
  size_t n_reference;           /* tokens of each half; 0: 256 */
  const int64_t *reference_ids; /* [n_reference_ids] these tokens instead, in random order, an id
                                 * once; NULL: they are drawn */
  size_t n_reference_ids;
  uint64_t seed; /* of the draw */
  /* The reference of another probe instead, which has to live as long: of the same prompt and
   * offsets, perhaps of another layer, or of another model of the same shape and tokenizer, so that
   * this model is compared with what ordinary tokens do in that one. It is computed by
   * nk_probe_new. kl and p_value of the reference's own tokens are then those of any other token.
   * NULL: this probe's own. */
  struct nk_probe *reference_of;

  const char *name; /* of the prompt, in messages; NULL: its text */
};

/* A probe of model, which has to outlive it. `prompt` is text in which every {} is a slot for one
 * token or vector; several slots hold the same one. The text between slots is encoded as the
 * tokenizer encodes it in the middle of a text; before the first slot come the tokens that the
 * model is trained to begin with. options NULL: all zero. The reference is computed at the first
 * nk_probe_run. NULL on failure, and for a model of NULL: a layer, position or offset that does not
 * exist, a prompt without a slot, or longer than the context with the tokens to be generated. */
NK_API struct nk_probe *nk_probe_new(struct nk_model *model, const char *prompt,
                                     const struct nk_probe_options *options);
NK_API void nk_probe_free(struct nk_probe *probe);

/* The offsets that are read, [*n], ascending where they were not given; NULL for a probe of NULL.
 * They belong to the probe. */
NK_API const size_t *nk_probe_offsets(const struct nk_probe *probe, size_t *n);

/* What is put into the place, one after the other: tokens, then the rows of a vector set. */
struct nk_items {
  const int64_t *tokens; /* [n_tokens]; they stand in the slots as tokens, whatever the layer */
  size_t n_tokens;
  const struct nk_vectors *vectors; /* or NULL */
};

/* Row item * n_offsets + offset of each array, unless it says otherwise. */
struct nk_behaviour {
  size_t n_items, n_offsets, n_layers;
  size_t *offsets;   /* [n_offsets] */
  size_t end_offset; /* offset of the prompt's last token */
  double p_min;      /* the least p-value that the reference can give */
  double *entropy;   /* of the next token's distribution, nats */
  int64_t *top_id;   /* its most probable token */
  double *top_prob;
  double *kl;         /* KL divergence from the mean distribution of a half of the reference that
                       * the item is not in, nats */
  double *p_value;    /* conformal, among the tokens of the other half: of the entropy, the top
                       * probability, the KL divergence and the logarithms of the norms */
  double *self_prob;  /* probability of the item's token as the next one; NaN for vectors */
  double *norms;      /* [.., n_layers] L2 norm of the residual stream at layers 1 to n_layers */
  int64_t *echo_rank; /* [n_items] or NULL: see below */
};

/* Runs the items, and the reference before the first of them. With options.repetition, vectors
 * that replace the input embedding and the prompt's end as the last offset, echo_rank is 1 + the
 * number of tokens whose input embedding is nearer (L2) to what was put in than that of the most
 * probable next token is. NULL on failure; when probe is NULL, or items has neither tokens nor
 * vectors, with the error of the call before it. Free with nk_behaviour_free. */
NK_API struct nk_behaviour *nk_probe_run(struct nk_probe *probe, const struct nk_items *items);
NK_API void nk_behaviour_free(struct nk_behaviour *behaviour);

/* ids [n_items, options.n_generate], lengths [n_items] = what the model generates after the prompt
 * with each item, the most probable token each time, until the model's end token. Returns NK_OK or
 * a negative code. */
NK_API int nk_probe_generate(struct nk_probe *probe, const struct nk_items *items, int64_t *ids,
                             size_t *lengths);

/* out [n_items, n_offsets, n_layers, dim] = the residual stream at `layers` and at the probe's
 * offsets, in one pass. Returns NK_OK or a negative code. */
NK_API int nk_probe_capture(struct nk_probe *probe, const struct nk_items *items,
                            const size_t *layers, size_t n_layers, float *out);

/* ==== Perturbations ==== */

/* What a vector in one place of a context changes, against the same context with another vector
 * there, the origin: with the context's own state, nothing is changed but the perturbation. All
 * logarithms are natural, all divergences in nats. */

/* A place, and what is compared after it. */
struct nk_place {
  size_t context;
  size_t position;     /* where the context has NK_VECTOR: all positions with it; see `alone` */
  size_t layer;        /* as in forward.h */
  size_t read;         /* the first position whose answer is compared, `position` or after it */
  const float *origin; /* [dim] what the baseline has in the place (NK_ADD: has added there). NULL:
                        * the context's own state (NK_ADD: nothing) */
  bool alone;          /* `position` alone, also where the context has NK_VECTOR there */
};

/* Valid with one context and one place; everything but the contexts is copied by nk_perturb_new. */
struct nk_perturb_options {
  const struct nk_sequence *contexts; /* [n_contexts] token ids, or NK_VECTOR */
  size_t n_contexts;
  const struct nk_place *places; /* [n_places] */
  size_t n_places;
  size_t n_reads; /* positions that are compared: `read` and those after it; 0: 1 */
  enum nk_override_mode mode;
  const float *fill; /* [dim] input embedding of NK_VECTOR that no vector replaces; NULL: the mean
                      * of the input embedding matrix */
  const size_t *layers; /* [n_layers] of nk_effects.relative */
  size_t n_layers;
};

/* The answers to n vectors; arrays [n, n_reads], except `relative`. NULL: not wanted. */
struct nk_effects {
  double *kl;           /* KL(baseline || perturbed) of the next token's distributions */
  double *kl_reverse;   /* KL(perturbed || baseline) */
  double *js;           /* their Jensen-Shannon divergence, 0 to log 2 */
  int64_t *top_id;      /* the most probable token */
  int64_t *base_top_id; /* the baseline's */
  double *final_l2;     /* L2 distance of the streams before the final norm */
  double *final_cosine; /* their cosine; NaN where one is 0 */
  double *base_norm;    /* L2 norm of the baseline's; distances below 1e-6 of it are roundings */
  double *relative;     /* [n, n_reads, n_layers] L2 distance of the streams at a layer, over that
                          * of the vector from the origin; NaN where that is 1e-6 of the origin's
                          * length or less: the rounding of a state of the model */
};

struct nk_perturb;

/* The baselines of all places, computed once. Of each place and position that is read they hold
 * 4 (vocabulary + (n_layers + 1) dim) bytes: of many places a caller makes blocks. The model and
 * the contexts have to outlive it. NULL on failure, and for a model of NULL: a context, position or
 * layer that does not exist, a position to read before the place or past the context's end, a
 * context longer than the model's. */
NK_API struct nk_perturb *nk_perturb_new(struct nk_model *model,
                                         const struct nk_perturb_options *options);
NK_API void nk_perturb_free(struct nk_perturb *perturb);

/* Row i of vectors [n, dim] goes to the place with number place[i]. A vector that is the place's
 * origin bit for bit gives divergences and distances of exactly 0 and a cosine of 1. Divergences
 * are computed from the differences of the logits, in double, so that small ones lose no digits.
 * What remains are the roundings of the logits, which are floats: with an error e of a logit (about
 * 1e-6), a divergence is exact to about e sqrt(kl); below e^2 (1e-12) it is noise. Vectors in one
 * context share the positions before them, or, where they are few, many contexts go through the
 * model in one batch. Returns NK_OK or a negative code: NK_EUSAGE for a place that does not exist,
 * NK_EDATA for a vector that is not finite, and those of nk_forward_run. */
NK_API int nk_perturb_run(struct nk_perturb *perturb, const size_t *place, const float *vectors,
                          size_t n, struct nk_effects *effects);

/* ==== Traces ==== */

/* Which outputs inside the model carry what an item does: activation patching (Heimersheim and
 * Nanda, "How to use and interpret activation patching", 2024). An item's run is compared with that
 * of an ordinary token in its place, at the probe's last offset, by E = KL(run || ordinary run) of
 * the next token's distributions, in nats: that direction is nk_behaviour's, and no pair of answers
 * is needed whose logits could be compared. One output of one run is put into the other:
 *
 *   undone  1 - E'/E, E' being E of the item's run with the ordinary run's output there: 1 where
 *           that suffices to undo the effect, below 0 where it makes it larger
 *   caused  E''/E, E'' being E of the ordinary run with the item's output there: 1 where that
 *           suffices to cause the effect
 *
 * Divergences do not add up, and outputs can stand in for each other, so that neither has a sum of
 * 1 over the sites. Both runs have the ordinary token in the place; the item's has the vector over
 * it at the probe's layer, so that the runs differ in the vector alone: with one place, replacing
 * the item itself gives the ordinary run; of several, each is replaced alone. E, E' and E'' are
 * means over several ordinary tokens. */

struct nk_trace_site {
  enum nk_site site; /* NK_SITE_STREAM: the item itself, in one of its places */
  size_t layer, head;
  size_t position; /* from 0 at the prompt's first token */
};

/* Valid when zeroed. */
struct nk_trace_options {
  bool heads;        /* the outputs of single heads too */
  size_t n_ordinary; /* tokens, of the probe's reference_ids where it has them, else drawn by its
                      * seed as nk_ordinary_tokens draws them; 0: 8 */
};

struct nk_trace {
  size_t n_items, n_sites, n_ordinary;
  /* [n_sites] the places; then by block, from the probe's layer on: attention, the mlp, heads, each
   * at all positions from the first place to the one that is read. */
  struct nk_trace_site *sites;
  double *effect;          /* [n_items] E */
  double *undone, *caused; /* [n_items, n_sites]; NaN for an effect below 1e-9, where roundings of
                            * logits are more than 5% of it */
  size_t n_runs; /* sequences that were run: for each ordinary token 2 n_sites + 1 of each item, and
                  * 1 of each block of items */
};

/* Traces the items. Tokens are traced as their input embeddings: NK_EUSAGE where the probe's layer
 * is not 0 or its mode not NK_REPLACE. Memory beside nk_forward_run's: up to 512 MiB, or the
 * outputs of two runs (n_positions n_layers (2 dim + n_heads head_dim) floats each). NULL on
 * failure, and for a probe or items of NULL. Free with nk_trace_free. */
NK_API struct nk_trace *nk_probe_trace(const struct nk_probe *probe, const struct nk_items *items,
                                       const struct nk_trace_options *options);
NK_API void nk_trace_free(struct nk_trace *trace);

/* ==== Ordinary tokens ==== */

/* A text of n bytes. */
struct nk_text {
  const char *bytes;
  size_t n;
};

/* Valid when zeroed. */
struct nk_ordinary_options {
  const int64_t *from; /* [n_from] draw from these as they are; NULL: from what text can give */
  size_t n_from;
  const int64_t *excluded; /* [n_excluded] but not these */
  size_t n_excluded;
  /* [n_like] draw tokens like these, but none of them, whether the model repeats them or not: for
   * each in turn, in a random order, one of the same category and, as far as there are any, of the
   * same number of bytes; for a category that text does not give, an ordinary one. `from` is
   * NULL. */
  const int64_t *like;
  size_t n_like;
  const struct nk_text *like_texts; /* [n_like] the same for nk_ordinary_texts */
  /* Also tokens that the model fails to repeat (nk_verify: strongly verified). Without them, unless
   * this is set or `from` is given, as a reference of tokens that training never showed would make
   * any behaviour ordinary. NK_EDATA when the model repeats one in 20 or less. */
  bool unverified;
  size_t n; /* 0: 512; fewer, with a warning, where there are no more, or where the model repeats no
               more of 4 n tokens */
  uint64_t seed;
};

/* *ids [*n] (free with nk_free) = tokens drawn without replacement: what a probe draws for its
 * reference, for callers that use the same tokens in several probes. options NULL: all zero.
 * Returns NK_OK or a negative code. */
NK_API int nk_ordinary_tokens(struct nk_model *model, const struct nk_ordinary_options *options,
                              int64_t **ids, size_t *n);

/* Texts like options->like_texts, `n` of them: for each in turn, in a random order, one of as many
 * tokens, each drawn as options.like draws it and a whole character or more. None has a text of
 * like_texts as a token; no text is drawn twice. Appends them to out; text i ends before
 * (*ends)[i], [*n] (free with nk_free). Of like_texts, n and seed alone. Returns NK_OK or a
 * negative code. */
NK_API int nk_ordinary_texts(struct nk_model *model, const struct nk_ordinary_options *options,
                             struct nk_buffer *out, size_t **ends, size_t *n);

/* ==== Flags ==== */

/* Named regular expressions (PCRE2) of what a user calls unwanted in a text. */
struct nk_flags;
/* names and patterns [n]. NULL on failure (an empty name; a pattern that does not compile: the
 * message names it and the position). */
NK_API struct nk_flags *nk_flags_new(const char *const *names, const char *const *patterns,
                                     size_t n);
NK_API void nk_flags_free(struct nk_flags *flags);
/* Appends the names of the patterns that match text[0..n), separated by commas. Returns NK_OK or a
 * negative code. */
NK_API int nk_flags_match(const struct nk_flags *flags, const char *text, size_t n,
                          struct nk_buffer *out);

/* ==== Verification ==== */

/* Whether a model knows a token. Asked to repeat it, the model gives an ordinary token a high
 * probability, and almost none to one that training never or hardly ever showed (Land and Bartolo,
 * "Fishing for Magikarp", 2024). */

/* Their thresholds on the highest probability that any prompt and step gave the token. */
enum nk_verdict {
  NK_STRONGLY_VERIFIED, /* below 0.001: under-trained */
  NK_WEAKLY_VERIFIED,   /* below 0.1 */
  NK_WEAKLY_REJECTED,   /* below 0.9 */
  NK_STRONGLY_REJECTED, /* the model knows the token */
  NK_N_VERDICTS
};

/* The verdict on a token with this highest probability. */
static inline enum nk_verdict nk_verdict_of(double max_prob) {
  if (max_prob < 0.001) return NK_STRONGLY_VERIFIED;
  if (max_prob < 0.1) return NK_WEAKLY_VERIFIED;
  return max_prob < 0.9 ? NK_WEAKLY_REJECTED : NK_STRONGLY_REJECTED;
}
/* "strongly verified", ... */
NK_API extern const char *const nk_verdict_names[NK_N_VERDICTS];

/* The prompts of nk_verify where it is given none: a request, and two patterns that a model without
 * instructions continues. */
enum { NK_VERIFY_PROMPTS = 3 };
NK_API extern const char *const nk_verify_prompts[NK_VERIFY_PROMPTS];

/* Valid when zeroed. */
struct nk_verify_options {
  const char *const *prompts; /* [n_prompts] texts with slots {}; NULL: nk_verify_prompts */
  size_t n_prompts;
  size_t n_steps; /* positions from the prompt's end on; 0: 3 */
  /* [n] texts instead of ids (NULL). Each is put into the slots and encoded with the prompt; what
   * the model is to repeat are its tokens as they are in the middle of a text. */
  const struct nk_text *texts;
  /* Sampled attempts to repeat each token or text, of each prompt; 0: none. Their random numbers
   * are those of the seed, the prompt's text and the token or text alone. */
  size_t n_repeats;
  double temperature; /* of the attempts, above 0 */
  uint64_t seed;
};

/* What nk_verify finds of n tokens or texts; NULL: not wanted. */
struct nk_verification {
  /* The highest probability of the token at any of the steps, of any prompt, while the model
   * generates its most probable token. Of a text with several tokens: the least probable of them,
   * when they are given to the model one after the other from that step on. NaN for a text without
   * tokens: it is empty, or not valid UTF-8. Not NULL. */
  double *max_prob;
  /* The number of prompts in which the text gives these tokens in every slot: with none, text never
   * shows the token there. */
  size_t *encoded;
  size_t *n_pieces; /* tokens of each text; 1 for a token */
  /* [n, n_prompts] of options.n_repeats attempts, those that fail: sampled from the prompt's end
   * on, the tokens to be repeated begin at none of the steps. */
  size_t *failures;
};

/* Asks the model to repeat tokens ids [n], or texts. options NULL: all zero. All go through in one
 * batch per prompt; the positions before the first slot are computed once. Returns NK_OK or a
 * negative code: NK_EDATA for a distribution that is not finite (the message names the first block
 * or weight), and for a text that the prompt and the repetition make longer than the context. */
NK_API int nk_verify(struct nk_model *model, const struct nk_verify_options *options,
                     const int64_t *ids, size_t n, const struct nk_verification *out);

/* Verdicts by how often training showed the tokens: never, then by powers of ten. */
struct nk_verdict_range {
  int64_t least, most; /* count */
  size_t n_tokens;
  size_t n_verdicts[NK_N_VERDICTS];
};
enum { NK_VERDICT_RANGES = 6 };
/* Fills ranges [NK_VERDICT_RANGES] from n tokens. */
static inline void nk_verdicts_by_count(const double *max_prob, const int64_t *counts, size_t n,
                                        struct nk_verdict_range *ranges) {
  static const int64_t least[NK_VERDICT_RANGES] = {0, 1, 11, 101, 1001, 10001};
  for (size_t r = 0; r < NK_VERDICT_RANGES; r++) {
    int64_t most = r + 1 < NK_VERDICT_RANGES ? least[r + 1] - 1 : INT64_MAX;
    ranges[r].least = least[r];
    ranges[r].most = most;
    ranges[r].n_tokens = 0;
    for (size_t v = 0; v < NK_N_VERDICTS; v++) ranges[r].n_verdicts[v] = 0;
    for (size_t i = 0; i < n; i++) {
      if (counts[i] < least[r] || counts[i] > most) continue;
      ranges[r].n_tokens++;
      ranges[r].n_verdicts[nk_verdict_of(max_prob[i])]++;
    }
  }
}

#ifdef __cplusplus
}
#endif
#endif
