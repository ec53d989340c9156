/* What the files of nk-run share: its options, what is read by them, and its modes. */
#ifndef RUN_RUN_H
#define RUN_RUN_H

#include "cli/capture.h"
#include "cli/chat.h"
#include "cli/engine.h"
#include "cli/flag_summary.h"
#include "cli/lens.h"
#include "cli/probes.h"
#include "cli/shard.h"
#include "cli/tool.h"

#define RUN_NOT_GIVEN SIZE_MAX /* a number of an option */

struct run_options {
  struct cli_strings texts, prompts, exclude, lens_with;
  const char *ids, *ids_from, *region, *at, *norms, *position, *fill, *flag, *capture, *lens;
  const char *contexts, *chat, *shard;
  size_t reference, offsets, generate, top, every;
  int mode, read;
  bool skip_bad, unverified, flag_summary, paired;
  struct cli_engine engine;
};

struct run_job {
  const struct cli_run *run;
  struct run_options options;
  struct nk_model *model;
  const struct nk_forward_shape *shape;
  struct cli_shard shard;
  struct cli_prompts prompts;
  struct cli_items items;
  struct nk_probe_options probe; /* what all probes have in common */
  struct nk_probe **probes;      /* [prompts.n, n_layers] */
  size_t *layers, *norms;        /* of --at or the set, of --norms */
  size_t n_layers, n_norms;
  bool at; /* one of them says the layers */
  struct cli_capture capture;
  struct cli_lens lens;
  float *fill;
  int64_t *ordinary; /* [probe.n_reference_ids] */
  struct nk_flags *flags;
  struct cli_flag_summary flag_summary;
};

/* ---- Input (input.c): NK_OK or a negative code ---- */

/* Opens the model, after a check of which options go together. */
int run_open(struct run_job *job);
/* Reads what says where vectors go: prompts, --at, --norms, --position, --fill. */
int run_read_places(struct run_job *job);
/* Reads --position alone. */
int run_read_position(struct run_job *job);
/* Reads the tokens and the set, whose own layer is that of all probes without --at. */
int run_read_items(struct run_job *job);
void run_free(struct run_job *job);

/* ---- Modes: NK_OK or a negative code ---- */

/* The model's answers in prompts, by probes: tables, captures, lenses (answers.c). */
int run_answers(struct run_job *job);
/* The streams in contexts; vectors against their origins (contexts.c). */
int run_states(struct run_job *job);
int run_paired(struct run_job *job);

/* Frees the probes, which are made again with other options (answers.c). */
void run_free_probes(struct run_job *job);

#endif
