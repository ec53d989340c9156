/* What the files behind noken/probe.h share. */
#ifndef NOKEN_FORWARD_PROBE_H
#define NOKEN_FORWARD_PROBE_H

#include <noken/probe.h>
#include <noken/region.h>

#include "forward/internal.h"
#include "geometry/conformal.h"

/* ---- Prompts (prompt.c) ---- */

struct nki_prompt {
  char *name;   /* for messages */
  int64_t *ids; /* [n] NK_VECTOR in the slots */
  size_t n;
  size_t *slots; /* [n_slots] positions */
  size_t n_slots;
};

/* Encodes text. NK_OK or a negative code (NK_EUSAGE: no token at all); free with nki_prompt_free in
 * either case. name NULL: the text. */
int nki_prompt_make(const struct nk_tokenizer *tokenizer, const char *name, const char *text,
                    struct nki_prompt *prompt);
void nki_prompt_free(struct nki_prompt *prompt);

/* ---- The probe (probe.c) ---- */

struct nk_probe {
  struct nk_model *model;
  struct nk_forward *forward;
  struct nki_prompt prompt;
  bool at_position;
  size_t position;
  size_t layer;
  enum nk_override_mode mode;
  float *fill;     /* [dim]; NULL where no place needs it */
  size_t base;     /* position that offsets count from */
  size_t first;    /* position of the first place: the positions before it are the same for all */
  size_t end;      /* offset of the prompt's last token */
  size_t *offsets; /* [n_offsets] */
  size_t n_offsets;
  size_t n_generate;
  bool repetition;
  int64_t *reference_ids; /* [n_reference_ids], or NULL before they are drawn */
  size_t n_reference_ids, n_reference;
  uint64_t seed;
  struct nki_reference *reference; /* NULL before the first run */
  bool borrowed;                   /* it belongs to another probe */
};

/* ---- Laying items out (layout.c) ---- */

enum { NKI_ITEMS_AT_ONCE = 16384 }; /* bounds the memory of a batch's lists */

/* What is put into a probe's place: tokens, then vectors. */
struct nki_slice {
  size_t n;
  const int64_t *tokens; /* [n_tokens] */
  size_t n_tokens;
  const float *vectors; /* [n - n_tokens, dim] */
  const int64_t *tail;  /* [n_tail] tokens after the prompt's last one */
  size_t n_tail;
};

/* A batch of a sequence for each item, and its arrays. */
struct nki_layout {
  struct nk_batch batch; /* the prefix, the sequences and the overrides are set */
  int64_t *ids;          /* [n, length] */
  struct nk_sequence *sequences;
  struct nk_override *overrides; /* each vector is one of the items' or the probe's fill */
};

/* Whether an item stands at the position. */
bool nki_probe_is_place(const struct nk_probe *probe, size_t position);
/* NK_OK or NK_EMEMORY; free in either case. The arrays of the slice have to outlive the layout. */
int nki_layout_make(const struct nk_probe *probe, const struct nki_slice *slice,
                    struct nki_layout *layout);
void nki_layout_free(struct nki_layout *layout);

/* ---- Passes (probe.c) ---- */

/* What a pass of items through the model is to give; rows are item * n_offsets + offset. */
struct nki_wanted {
  double *sum;               /* [n_offsets, vocabulary] probabilities are added; or NULL */
  const float *log_mean;     /* [n_offsets, vocabulary] for KL; or NULL */
  struct nk_behaviour *into; /* everything but p-values and echoes; or NULL */
  const size_t *layers;      /* [n_layers] of residuals */
  size_t n_layers;
  float *residuals; /* [rows, n_layers, dim] or NULL */
  int64_t *ids;     /* [items, n_generate] generation, without any of the above; or NULL */
  size_t *lengths;  /* [items] */
};

/* Runs the items in the probe's place. NK_OK or a negative code. */
int nki_probe_pass(const struct nk_probe *probe, const struct nk_items *items,
                   const struct nki_wanted *wanted);
/* NK_OK, or a negative code for a probe or items of NULL, as a failed call leaves them: its error
 * stays. */
int nki_check_items(const struct nk_probe *probe, const struct nk_items *items);
/* Computes the probe's reference, once. NK_OK or a negative code. */
int nki_probe_need_reference(struct nk_probe *probe);

/* ---- Behaviour (behaviour.c) ---- */

struct nk_behaviour *nki_behaviour_new(const struct nk_probe *probe, size_t n_items);
/* Fills echo_rank where the probe asks for a repetition; see nk_probe_run. */
int nki_behaviour_echo(const struct nk_probe *probe, const struct nk_items *items,
                       struct nk_behaviour *behaviour);

/* ---- References (reference.c) ---- */

/* Ordinary tokens judged by others: how one fold of a reference behaves, measured from the mean
 * distribution of the other. */
struct nki_side {
  const int64_t *ids; /* [n] the fold that is judged */
  size_t n;
  float *log_mean;              /* [n_offsets, vocabulary] of the other fold */
  struct nk_behaviour *others;  /* [n] of the fold; NULL before it is computed */
  struct nki_typical **typical; /* [n_offsets] fitted to it */
};

/* What ordinary tokens do in a probe's place, in two folds. An item is measured from the mean of
 * fold 0 and compared with the tokens of fold 1, unless it is a token of fold 0: it is then
 * measured from the mean of fold 1 and compared with the tokens of fold 0. Belongs to the probe. */
struct nki_reference {
  size_t n_offsets;
  int64_t *ids;            /* [n_ids], no id twice: fold 0, then fold 1 */
  size_t n_ids;            /* the first half is fold 0 */
  struct nki_side side[2]; /* by the mean of fold 0; of fold 1, computed when it is needed */
};

struct nki_reference *nki_reference_new(const struct nk_probe *probe);
void nki_reference_free(struct nki_reference *reference);
/* Fills p_value and p_min of the items' behaviour, which is measured from side[0].log_mean; tokens
 * of the reference get the kl that their side has for them. */
int nki_reference_score(const struct nk_probe *probe, struct nki_reference *reference,
                        const struct nk_items *items, struct nk_behaviour *behaviour);

/* ---- Ordinary tokens like others (matched.c) ---- */

/* out [*n] = what nk_ordinary_tokens draws of tokens [0, n_tokens) with options.like; *n: wanted,
 * then drawn. NK_OK or a negative code. */
int nki_matched_tokens(const struct nk_tokenizer *tokenizer,
                       const struct nk_ordinary_options *options, size_t n_tokens, int64_t *out,
                       size_t *n);

/* ---- Verification (verify.c) ---- */

/* *prompts [n] = texts, each with a slot. Free with nki_verify_prompts_free in either case. */
int nki_verify_prompts(const struct nk_tokenizer *tokenizer, const char *const *texts, size_t n,
                       struct nki_prompt **prompts);
void nki_verify_prompts_free(struct nki_prompt *prompts, size_t n);
/* As nk_verify, of tokens. */
int nki_verify(struct nk_forward *forward, const struct nki_prompt *prompts, size_t n_prompts,
               const int64_t *ids, size_t n, size_t n_steps, double *max_prob);

#endif
