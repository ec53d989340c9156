/* Objectives on the command line. */
#include "cli/objective.h"

#include <stdlib.h>
#include <string.h>

#include "cli/own_layer.h"
#include "cli/probes.h"

/* ---- What is made large ---- */

static int read_token(struct cli_objective *o, const struct nk_tokenizer *tokenizer,
                      const char *text) {
  int64_t id = nk_tokenizer_id(tokenizer, text, strlen(text));
  if (id < 0)
    return nk_fail(NK_EUSAGE, "token:%s: no such token; with several tokens it is text:%s", text,
                   text);
  o->ids = nk_alloc(1, sizeof *o->ids);
  if (o->ids == NULL) return NK_EMEMORY;
  o->ids[0] = id;
  o->options.n_ids = 1;
  return NK_OK;
}

static int compare_ids(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

/* Each token is summed once, however often the list has it. */
static int read_ids(struct cli_objective *o, const char *list) {
  size_t n = 0, *n_kept = &o->options.n_ids;
  int code = cli_parse_ids("ids:", list, &o->ids, &n);
  if (code != NK_OK) return code;
  qsort(o->ids, n, sizeof *o->ids, compare_ids);
  for (size_t i = 0; i < n; i++)
    if (i == 0 || o->ids[i] != o->ids[*n_kept - 1]) o->ids[(*n_kept)++] = o->ids[i];
  return NK_OK;
}

/* The tokens whose text, alone, matches a pattern. */
static int read_flags(struct cli_objective *o, struct nk_model *model,
                      const struct nk_tokenizer *tokenizer, const char *path) {
  const struct nk_forward_shape *shape = nk_forward_shape(nk_model_forward(model));
  struct nk_flags *flags = shape == NULL ? NULL : cli_read_flags(path);
  struct nk_buffer names = {0};
  int code = flags == NULL ? nk_error_code() : NK_OK;
  if (code != NK_OK) return code;
  size_t n_tokens = nk_tokenizer_n_tokens(tokenizer);
  if (n_tokens > shape->n_vocabulary) n_tokens = shape->n_vocabulary;
  o->ids = nk_alloc(n_tokens, sizeof *o->ids);
  if (o->ids == NULL) code = NK_EMEMORY;
  for (size_t id = 0; id < n_tokens && code == NK_OK; id++) {
    size_t n_bytes;
    const char *bytes = nk_tokenizer_bytes(tokenizer, id, &n_bytes);
    names.size = 0;
    if (bytes == NULL) continue;
    code = nk_flags_match(flags, bytes, n_bytes, &names);
    if (names.size > 0) o->ids[o->options.n_ids++] = (int64_t)id;
  }
  if (code == NK_OK && o->options.n_ids == 0)
    code = nk_fail(NK_EDATA, "%s: no token's text matches a pattern", path);
  nk_buffer_free(&names);
  nk_flags_free(flags);
  return code;
}

/* The argument of a kind: what follows "token:". NULL where text is of another kind. */
static const char *argument_of(const char *text, const char *kind) {
  size_t n = strlen(kind);
  return strncmp(text, kind, n) == 0 ? text + n : NULL;
}

static int read_kind(struct cli_objective *o, struct nk_model *model, const char *option,
                     const char *text) {
  const struct nk_tokenizer *tokenizer = nk_model_tokenizer(model);
  const char *argument;
  if (tokenizer == NULL) return nk_error_code();
  o->options.kind = NK_OBJECTIVE_TOKENS;
  if ((argument = argument_of(text, "token:")) != NULL) return read_token(o, tokenizer, argument);
  if ((argument = argument_of(text, "ids:")) != NULL) return read_ids(o, argument);
  if ((argument = argument_of(text, "flag:")) != NULL)
    return read_flags(o, model, tokenizer, argument);
  o->options.kind = NK_OBJECTIVE_TEXT;
  if ((argument = argument_of(text, "text:")) != NULL && *argument == 0)
    return nk_fail(NK_EUSAGE, "%s text: the text is empty", option);
  if (argument != NULL)
    return nk_tokenizer_encode(tokenizer, argument, strlen(argument), NK_ENCODE_WITHIN, &o->ids,
                               &o->options.n_ids);
  o->options.kind = strcmp(text, "kl") == 0 ? NK_OBJECTIVE_KL : NK_OBJECTIVE_ENTROPY;
  if (o->options.kind == NK_OBJECTIVE_KL || strcmp(text, "entropy") == 0) return NK_OK;
  return nk_fail(NK_EUSAGE,
                 "%s %s: unknown objective: kl, entropy, token:TEXT, ids:LIST, text:TEXT or "
                 "flag:FILE",
                 option, text);
}

static int read_objective(struct cli_objective *o, struct nk_model *model) {
  if (o->maximize != NULL && o->minimize != NULL)
    return nk_fail(NK_EUSAGE, "--maximize and --minimize exclude one another");
  o->options.minimize = o->minimize != NULL;
  int code = read_kind(o, model, o->minimize != NULL ? "--minimize" : "--maximize",
                       o->minimize != NULL   ? o->minimize
                       : o->maximize != NULL ? o->maximize
                                             : "kl");
  o->options.ids = o->ids;
  return code;
}

/* ---- Probes ---- */

static int read_layer(struct cli_objective *o, struct nk_model *model) {
  const struct nk_forward_shape *shape = nk_forward_shape(nk_model_forward(model));
  size_t *layers = NULL, n = 0;
  bool given = o->at != NULL;
  if (shape == NULL) return nk_error_code();
  int code = given ? cli_parse_layers("--at", o->at, 0, shape->n_layers, &layers, &n) : NK_OK;
  if (code == NK_OK && given && n != 1)
    code = nk_fail(NK_EUSAGE, "--at %s: one layer is expected", o->at);
  if (code == NK_OK && given) o->probe.layer = layers[0];
  nk_free(layers);
  for (size_t i = 0; i < sizeof o->placed / sizeof *o->placed && code == NK_OK; i++) {
    const struct cli_placed *placed = &o->placed[i];
    if (placed->set == NULL) continue;
    code = cli_own_layer(model, placed->name, placed->set, &o->probe.layer, 1, &given);
    given = true;
  }
  return code;
}

static int make_probes(const struct cli_run *run, struct cli_objective *o, struct nk_model *model) {
  const struct nk_ordinary_options ordinary = {.seed = run->common.seed};
  int code = NK_OK;
  if (o->options.kind == NK_OBJECTIVE_KL && o->probe.reference_ids == NULL) {
    code = nk_ordinary_tokens(model, &ordinary, &o->ordinary, &o->probe.n_reference_ids);
    o->probe.reference_ids = o->ordinary;
  }
  if (code == NK_OK)
    code = cli_new_probes(model, &o->prompts, &o->probe.layer, 1, &o->probe, &o->probes);
  o->options.probes = o->probes;
  o->options.n_probes = o->prompts.n;
  return code;
}

bool cli_objective_given(const struct cli_objective *o) {
  return o->texts.n > 0 || o->tables.n > 0 || o->maximize != NULL || o->minimize != NULL ||
         o->at != NULL || o->chat != NULL;
}

int cli_objective_open(const struct cli_run *run, struct nk_model *model, struct cli_objective *o) {
  int code = read_layer(o, model);
  if (code == NK_OK)
    code = cli_open_prompts(run, &o->texts, &o->tables, o->chat, model, &o->prompts);
  if (code == NK_OK) code = read_objective(o, model);
  return code == NK_OK ? make_probes(run, o, model) : code;
}

int cli_objective_gradient(void *objective, const float *origins, size_t n, float *out) {
  const struct cli_objective *o = objective;
  double *values = nk_alloc(n, sizeof *values);
  int code = values != NULL ? nk_objective_run(&o->options, origins, n, values, out) : NK_EMEMORY;
  nk_free(values);
  return code;
}

void cli_objective_free(struct cli_objective *o) {
  cli_probes_free(&o->probes, o->prompts.n);
  nk_free(o->ids);
  nk_free(o->ordinary);
  cli_prompts_free(&o->prompts);
  cli_strings_free(&o->texts);
  cli_strings_free(&o->tables);
}
