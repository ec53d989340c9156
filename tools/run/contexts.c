/* nk-run in contexts: the streams there, and vectors against their origins. */
#include <string.h>

#include "cli/contexts.h"
#include "cli/paired.h"
#include "run/run.h"

/* The streams in contexts. */
int run_states(struct run_job *job) {
  const struct run_options *o = &job->options;
  struct cli_contexts contexts = {0};
  struct cli_states states = {.contexts = &contexts, .every = o->every, .shard = job->shard};
  if (o->capture == NULL)
    return nk_fail(NK_EUSAGE, "--contexts needs --capture L, or --paired and a SET");
  if ((o->position != NULL) == (o->every > 0))
    return nk_fail(NK_EUSAGE, "--contexts --capture needs --position P or --every N");
  if (strchr(o->capture, ':') != NULL)
    return nk_fail(NK_EUSAGE, "--capture: with --contexts, --position or --every says where");
  int code = cli_capture_parse(o->capture, job->shape->n_layers, &job->capture);
  if (code == NK_OK) code = run_read_position(job);
  if (code == NK_OK) code = cli_contexts_read(job->model, o->contexts, &contexts);
  states.layers = job->capture.layers;
  states.n_layers = job->capture.n_layers;
  states.position = job->probe.position;
  struct nk_vectors *set = code == NK_OK ? cli_states_capture(&states, job->model) : NULL;
  if (code == NK_OK) code = cli_write_set(job->run, set);
  nk_vectors_free(set);
  cli_contexts_free(&contexts);
  return code;
}

int run_paired(struct run_job *job) {
  const struct run_options *o = &job->options;
  int code = run_read_places(job);
  if (code == NK_OK) code = run_read_items(job);
  if (code != NK_OK) return code;
  const struct cli_paired paired = {.model = job->model,
                                    .set = job->items.set,
                                    .name = cli_operand_name(job->run, 1),
                                    .contexts = o->contexts,
                                    .prompts = &job->prompts,
                                    .at_position = job->probe.at_position,
                                    .position = job->probe.position,
                                    .at = job->at || o->contexts == NULL,
                                    .layers = job->layers,
                                    .n_layers = job->n_layers,
                                    .mode = o->mode == 0 ? NK_REPLACE : NK_ADD,
                                    .fill = job->fill,
                                    .read_place = o->read != 0,
                                    .norms = job->norms,
                                    .n_norms = job->n_norms,
                                    .shard = job->shard};
  return cli_paired_print(&paired, job->run);
}
