/* Prompts, items and probes. */
#include "cli/probes.h"

#include "cli/chat.h"

int cli_open_prompts(const struct cli_run *run, const struct cli_strings *texts,
                     const struct cli_strings *tables, const char *chat, struct nk_model *model,
                     struct cli_prompts *prompts) {
  if (texts->n == 0 && tables->n == 0)
    return nk_fail(NK_EUSAGE, "no prompt: use -p TEXT or --prompts FILE");
  int code = cli_read_all_prompts(prompts, texts, tables);
  return code == NK_OK ? cli_chat_prompts(run, chat, model, prompts) : code;
}

int cli_check_dim(const char *name, size_t dim, const struct nk_forward_shape *shape) {
  if (dim == shape->dim) return NK_OK;
  return nk_fail(NK_EDATA, "%s: vectors have %zu values, the model's have %zu", name, dim,
                 shape->dim);
}

/* ---- Items ---- */

int cli_read_items(const struct cli_run *run, const char *ids, const char *ids_from, bool skip_bad,
                   const struct nk_forward_shape *shape, struct cli_items *items) {
  int code =
      cli_read_tokens(ids, ids_from, shape->n_vocabulary, &items->tokens, &items->all.n_tokens);
  if (code != NK_OK) return code;
  items->all.tokens = items->tokens;
  items->n = items->all.n_tokens;
  if (run->n_operands < 2 && (ids != NULL || ids_from != NULL)) return NK_OK;
  items->set = nk_vectors_read(cli_operand(run, 1));
  if (items->set == NULL) return nk_error_code();
  code = cli_check_dim(cli_operand_name(run, 1), items->set->dim, shape);
  if (code == NK_OK) code = cli_check_finite(&items->set, skip_bad);
  items->all.vectors = items->set;
  items->n += items->set->n;
  return code;
}

void cli_items_free(struct cli_items *items) {
  nk_vectors_free(items->set);
  nk_free(items->tokens);
}

/* ---- Probes ---- */

int cli_new_probes(struct nk_model *model, const struct cli_prompts *prompts, const size_t *layers,
                   size_t n_layers, const struct nk_probe_options *common,
                   struct nk_probe ***probes) {
  *probes = nk_calloc(prompts->n * n_layers, sizeof(struct nk_probe *));
  if (*probes == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < prompts->n * n_layers; i++) {
    const struct cli_prompt *prompt = &prompts->item[i / n_layers];
    struct nk_probe_options options = *common;
    options.name = prompt->name;
    options.repetition = prompt->repetition;
    options.layer = layers[i % n_layers];
    (*probes)[i] = nk_probe_new(model, prompt->text, &options);
    if ((*probes)[i] == NULL) return nk_error_code();
  }
  return NK_OK;
}

void cli_probes_free(struct nk_probe ***probes, size_t n) {
  for (size_t i = 0; *probes != NULL && i < n; i++) nk_probe_free((*probes)[i]);
  nk_free(*probes);
  *probes = NULL;
}
