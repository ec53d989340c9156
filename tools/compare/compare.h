/* What the files of nk-compare share: its options, the two models, and the rows of its table. */
#ifndef COMPARE_COMPARE_H
#define COMPARE_COMPARE_H

#include <noken/noken.h>

#include "cli/chat.h"
#include "cli/contexts.h"
#include "cli/probes.h"
#include "cli/tool.h"

#define COMPARE_NOT_GIVEN SIZE_MAX /* a number of an option */

/* The two models: the first index of what there is one of each. */
enum compare_side { COMPARE_BEFORE, COMPARE_AFTER, COMPARE_SIDES };

/* What can be compared; a bit each, in the order of the table. */
enum compare_part {
  COMPARE_ORDINARY = 1,    /* behaviour of ordinary tokens */
  COMPARE_RANDOM = 2,      /* of random nokens, and of a given set */
  COMPARE_SEARCHED = 4,    /* of nokens searched against each model */
  COMPARE_GLITCH = 8,      /* of glitch tokens, and verdicts on them and on controls */
  COMPARE_STREAMS = 16,    /* of nokens in the residual stream */
  COMPARE_DIVERGENCE = 32, /* between the models' answers to ordinary tokens */
  COMPARE_TEXT = 64,       /* losses on a text */

  COMPARE_JUDGED = COMPARE_ORDINARY | COMPARE_RANDOM | COMPARE_SEARCHED | COMPARE_GLITCH |
                   COMPARE_STREAMS, /* by a reference */
  COMPARE_PROMPTED = COMPARE_JUDGED | COMPARE_DIVERGENCE
};

/* Numbers that are not given are COMPARE_NOT_GIVEN, the level NaN. */
struct compare_options {
  struct cli_strings texts, prompts, directions;
  const char *chat, *region, *nokens, *quantiles, *times, *at, *glitch, *text, *only;
  size_t n, n_searched, n_restarts, n_steps, n_ordinary, n_reference, n_controls;
  double level;
  bool own_reference, unverified;
};

struct compare_job {
  const struct cli_run *run;
  struct compare_options options;
  unsigned parts; /* enum compare_part, or-ed */
  struct nk_model *model[COMPARE_SIDES];
  const struct nk_forward_shape *shape; /* of both */
  const struct nk_tokenizer *tokenizer; /* of both */
  struct cli_prompts prompts;
  struct cli_contexts text;
  /* Probes of layer 0, read at the prompt's end: [prompts.n]. Those of AFTER have BEFORE's
   * reference, or with --own-reference their own of the same tokens. */
  struct nk_probe **probes[COMPARE_SIDES];
  int64_t *reference, *ordinary, *glitch; /* tokens, [n_...]; no token of another list */
  size_t n_reference, n_ordinary, n_glitch;
  struct nk_sample_options sample; /* of random nokens: directions, distances, seed */
  double *quantiles, *times;
  struct nk_direction *directions;
  struct nk_region *region;  /* of BEFORE's embedding, where a part needs it */
  struct nk_vectors *nokens; /* of --nokens, or NULL */
  size_t *layers;            /* [n_layers] of --at */
  size_t n_layers;
  struct cli_table *table;
};

/* ---- Input (options.c, models.c, input.c): NK_OK or a negative code ---- */

/* Chooses the parts and sets defaults; NK_EUSAGE where an option has no use or no sense. */
int compare_read_options(struct compare_job *job);
/* Whether one of the parts is compared. */
bool compare_has(const struct compare_job *job, unsigned parts);

/* Reads the options and what they name, opens the models, and draws the tokens. */
int compare_open(struct compare_job *job);
void compare_free(struct compare_job *job);
/* Opens both models; NK_EDATA where their shapes or tokenizers differ. */
int compare_open_models(struct compare_job *job);
/* *out [prompts.n] (free with compare_free_probes) of one model at a layer; `reference_of`
 * [prompts.n] or NULL: see nk_probe_options. */
int compare_new_probes(const struct compare_job *job, enum compare_side side, size_t layer,
                       struct nk_probe *const *reference_of, struct nk_probe ***out);
void compare_free_probes(const struct compare_job *job, struct nk_probe **probes);
/* A region of the rows of a set that are no padding. NULL on failure. */
struct nk_region *compare_fit(const struct nk_vectors *set, uint64_t seed);

/* ---- Rows (estimates.c) ---- */

enum compare_statistic {
  COMPARE_SHARE, /* of values that are at most `cut` */
  COMPARE_MEAN,
  COMPARE_QUANTILE, /* `cut` */
  COMPARE_MAXIMUM
};

/* What rows are about. */
struct compare_row {
  const char *name; /* of the statistic */
  const char *kind; /* appended to it: a direction, "all"; or NULL */
  const char *direction;
  double distance, quantile, times; /* NaN: none */
  size_t layer;                     /* COMPARE_NOT_GIVEN: none */
  const char *unit;
  enum compare_statistic statistic;
  double cut;
};

/* Values of items, each in as many places (prompts): value [n_places, n_items] of each model, the
 * same items in both; value[COMPARE_BEFORE] NULL: of both together, one row of a change. */
struct compare_values {
  const double *value[COMPARE_SIDES];
  size_t n_items, n_places;
  const size_t *cluster; /* [n_items] below n_items: items that are not independent; NULL: its own
                          * for each */
};

int compare_head(struct cli_table *table);
/* Rows for BEFORE, AFTER and their change, of items [n] of the values. */
int compare_write(const struct compare_job *job, const struct compare_row *row,
                  const struct compare_values *values, const size_t *items, size_t n);

/* ---- Behaviour (behaviour.c) ---- */

/* Of items in all prompts, arrays [prompts.n, n_items]; free with compare_behaviour_free. */
struct compare_behaviour {
  size_t n_items;
  double *p_value[COMPARE_SIDES], *kl[COMPARE_SIDES], *entropy[COMPARE_SIDES];
};

/* Runs items [COMPARE_SIDES], which have as many for each model, through both models' probes. */
int compare_run(const struct compare_job *job, struct nk_probe **const probes[COMPARE_SIDES],
                const struct nk_items items[COMPARE_SIDES], struct compare_behaviour *out);
void compare_behaviour_free(struct compare_behaviour *behaviour);
/* Writes the rows NAME_ood, and with `all` NAME_kl and NAME_entropy, of tokens. */
int compare_write_tokens(const struct compare_job *job, const char *name,
                         const struct compare_behaviour *behaviour, bool all);
/* The same of a set of nokens: by distance, by direction and distance, and of all. `layer`:
 * COMPARE_NOT_GIVEN, or where they were put in. */
int compare_write_nokens(const struct compare_job *job, const char *name, size_t layer,
                         const struct nk_vectors *set, const struct compare_behaviour *behaviour);

/* ---- Parts: NK_OK or a negative code ---- */

int compare_ordinary(struct compare_job *job); /* tokens.c */
int compare_glitch(struct compare_job *job);
int compare_random(struct compare_job *job); /* nokens.c */
int compare_streams(struct compare_job *job);
int compare_searched(struct compare_job *job);   /* searched.c */
int compare_divergence(struct compare_job *job); /* price.c */
int compare_text(struct compare_job *job);

/* KL(p || q) in nats of the distributions of logits x and y [n]; 0 where these are equal. */
double compare_divergence_of(const float *x, const float *y, size_t n);

#endif
