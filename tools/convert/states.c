/* nk-convert --from: hidden states that other programs saved. */
#include "convert/states.h"

int convert_check_states(const struct convert_states *o) {
  const char *option = o->axes != NULL      ? "--axes"
                       : o->layers != NULL  ? "--layer"
                       : o->of_file != NULL ? "--layer-ids"
                                            : NULL;
  if (o->from >= 0 || option == NULL) return NK_OK;
  return nk_fail(NK_EUSAGE, "%s is of other programs' hidden states: give --from FORMAT", option);
}

/* The set of the files that are operands, or of standard input. NULL on failure. */
static struct nk_vectors *begin(const struct cli_run *run,
                                const struct nk_states_options *options) {
  const char *input = "-";
  if (run->n_operands == 0) return nk_states_begin(&input, 1, options);
  const char **paths = nk_alloc(run->n_operands, sizeof *paths);
  if (paths == NULL) return NULL;
  for (size_t i = 0; i < run->n_operands; i++) paths[i] = run->operands[i];
  struct nk_vectors *set = nk_states_begin(paths, run->n_operands, options);
  nk_free(paths);
  return set;
}

int convert_states(const struct cli_run *run, const struct convert_states *o) {
  static const enum nk_states_format formats[] = {NK_STATES_VLLM, NK_STATES_NPZ,
                                                  NK_STATES_SAFETENSORS};
  struct nk_states_options options = {.format = formats[o->from], .axes = o->axes};
  int64_t *layers = NULL, *held = NULL;
  struct nk_vectors *set = NULL;
  int code = NK_OK;
  if (o->layers != NULL) code = cli_parse_ids("--layer", o->layers, &layers, &options.n_layers);
  if (code == NK_OK && o->of_file != NULL)
    code = cli_parse_ids("--layer-ids", o->of_file, &held, &options.n_held);
  if (code != NK_OK) goto done;
  options.layers = layers;
  options.held = held;
  if (held == NULL && options.format == NK_STATES_VLLM)
    nk_warn("vLLM's files do not number their layers: counted from 0; number them by --layer-ids");
  set = begin(run, &options);
  code = cli_write_set(run, set);
done:
  nk_vectors_free(set);
  nk_free(layers);
  nk_free(held);
  return code;
}
