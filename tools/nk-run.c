/* nk-run: what nokens and tokens do in a prompt. */
#include <stdlib.h>
#include <string.h>

#include "cli/tool.h"

struct options {
  struct cli_strings texts, prompts, exclude;
  const char *ids, *ids_from, *region, *at, *norms, *position, *fill, *flag, *capture;
  size_t reference, offsets, generate;
  int mode;
  bool skip_bad;
};

struct job {
  const struct cli_run *run;
  struct options options;
  struct nk_model *model;
  struct nk_forward *forward;
  const struct nk_forward_shape *shape;
  struct nk_tokenizer *tokenizer;
  struct nk_prompts prompts;
  struct nk_vectors *set; /* or NULL */
  int64_t *tokens;        /* [items.n_tokens] */
  struct nk_items items;
  struct cli_behaviour_table what;
  size_t *layers, *norms; /* of --at, of --norms */
  size_t n_layers, n_norms;
  float *fill;
  int64_t *ordinary;
  size_t n_ordinary;
  struct nk_flags *flags;
};

/* ---- What goes in ---- */

static int read_items(struct job *job) {
  const struct options *o = &job->options;
  const char *path = cli_operand(job->run, 1);
  int code = cli_read_tokens(o->ids, o->ids_from, job->shape->n_vocabulary, &job->tokens,
                             &job->items.n_tokens);
  job->items.tokens = job->tokens;
  if (code != NK_OK) return code;
  if (job->run->n_operands < 2 && (o->ids != NULL || o->ids_from != NULL)) return NK_OK;
  job->set = nk_vectors_read(path);
  if (job->set == NULL) return nk_error_code();
  if (job->set->dim != job->shape->dim)
    return nk_fail(NK_EDATA, "%s: vectors have %zu values, the model's have %zu",
                   strcmp(path, "-") == 0 ? "standard input" : path, job->set->dim,
                   job->shape->dim);
  code = cli_check_finite(&job->set, o->skip_bad);
  job->items.vectors = job->set->values;
  job->items.n_vectors = job->set->n;
  return code;
}

static int read_prompts(struct job *job) {
  const struct options *o = &job->options;
  bool need_slot = o->position == NULL;
  int code = NK_OK;
  if (o->texts.n == 0 && o->prompts.n == 0)
    return nk_fail(NK_EUSAGE, "no prompt: give one by -p TEXT or --prompts FILE");
  for (size_t i = 0; i < o->texts.n && code == NK_OK; i++)
    code = nk_prompts_add(&job->prompts, job->tokenizer, NULL, o->texts.item[i], false, need_slot);
  for (size_t i = 0; i < o->prompts.n && code == NK_OK; i++)
    code = cli_read_prompts(&job->prompts, job->tokenizer, o->prompts.item[i], need_slot);
  for (size_t p = 0; p < job->prompts.n; p++)
    job->what.echo = job->what.echo || job->prompts.item[p].repetition;
  return code;
}

/* The intervention in one prompt; a negative --position counts from the prompt's end. */
static int intervene(const struct job *job, const struct nk_prompt *prompt, size_t layer,
                     struct nk_intervention *how) {
  const struct options *o = &job->options;
  *how = (struct nk_intervention){
      .layer = layer, .mode = o->mode == 0 ? NK_REPLACE : NK_ADD, .fill = job->fill};
  if (o->position != NULL) {
    char *end;
    long long position = strtoll(o->position, &end, 10);
    if (*end != 0 || end == o->position)
      return nk_fail(NK_EUSAGE, "--position: '%s' is not a whole number", o->position);
    if (position < 0) position += (long long)prompt->n;
    how->at_position = true;
    how->position = position < 0 ? SIZE_MAX : (size_t)position;
  }
  return nk_intervention_check(job->forward, prompt, how, o->generate);
}

static int read_fill(struct job *job) {
  const char *fill = job->options.fill;
  job->fill = nk_alloc(job->shape->dim, sizeof *job->fill);
  if (job->fill == NULL) return NK_EMEMORY;
  if (fill == NULL) return nk_mean_embedding(job->forward, job->fill);
  int64_t id = nk_tokenizer_id(job->tokenizer, fill, strlen(fill));
  if (id < 0) return nk_fail(NK_EUSAGE, "--fill: no token is '%s'", fill);
  return nk_forward_embedding(job->forward, id, job->fill);
}

static int find_ordinary(struct job *job) {
  const struct options *o = &job->options;
  const uint64_t seed = job->run->common.seed;
  int64_t *excluded = NULL;
  size_t n_excluded = 0, wanted;
  int code = NK_OK;
  if (o->reference < 8 || !nk_size_mul(o->reference, 2, &wanted))
    return nk_fail(NK_EUSAGE, "--reference: 8 tokens or more");
  for (size_t i = 0; i < o->exclude.n && code == NK_OK; i++)
    code = cli_read_verified(o->exclude.item[i], &excluded, &n_excluded);
  if (code == NK_OK && o->region == NULL)
    code = nk_ordinary_tokens(job->forward, job->tokenizer, excluded, n_excluded, o->exclude.n == 0,
                              seed, wanted, &job->ordinary, &job->n_ordinary);
  nk_free(excluded);
  if (code != NK_OK || o->region == NULL) return code;
  struct nk_region *region = nk_region_read(o->region);
  if (region == NULL) return nk_error_code();
  code = nk_draw_ids(region->tokens->ids, region->tokens->n, seed, wanted, &job->ordinary,
                     &job->n_ordinary);
  nk_region_free(region);
  return code;
}

/* What can be found wrong is found here, before any work. */
static int prepare(struct job *job) {
  const struct options *o = &job->options;
  const char *name = job->run->operands[0];
  if ((job->model = nk_model_open(name)) == NULL) return nk_error_code();
  if ((job->forward = nk_forward_open(job->model)) == NULL) return nk_error_code();
  if ((job->tokenizer = nk_tokenizer_open(name)) == NULL) return nk_error_code();
  job->shape = nk_forward_shape(job->forward);
  int code = read_prompts(job);
  if (code == NK_OK)
    code = cli_parse_layers(job->forward, "--at", o->at ? o->at : "0", 0, &job->layers,
                            &job->n_layers);
  if (code == NK_OK && o->norms != NULL)
    code = cli_parse_layers(job->forward, "--norms", o->norms, 1, &job->norms, &job->n_norms);
  if (code == NK_OK) code = read_fill(job);
  for (size_t p = 0; p < job->prompts.n && code == NK_OK; p++) {
    struct nk_intervention how;
    code = intervene(job, &job->prompts.item[p], 0, &how);
  }
  if (code == NK_OK && o->flag != NULL && o->generate == 0)
    code = nk_fail(NK_EUSAGE, "--flag looks at continuations: give --generate N");
  if (code == NK_OK && o->flag != NULL && (job->flags = cli_read_flags(o->flag)) == NULL)
    code = nk_error_code();
  if (code == NK_OK) code = read_items(job);
  if (code == NK_OK && o->capture == NULL) code = find_ordinary(job);
  job->what = (struct cli_behaviour_table){.tokenizer = job->tokenizer,
                                           .items = &job->items,
                                           .set = job->set,
                                           .at = o->at != NULL,
                                           .echo = job->what.echo,
                                           .norms = job->norms,
                                           .n_norms = job->n_norms,
                                           .n_generate = o->generate,
                                           .flags = job->flags};
  return code;
}

/* ---- What comes out ---- */

/* The offsets asked for: 0 to --offsets, or the prompt's end alone. */
static size_t choose_offsets(const struct job *job, const struct nk_prompt *prompt, size_t base,
                             size_t *offsets) {
  size_t end = prompt->n - 1 - base, n = 0;
  if (job->options.offsets == SIZE_MAX) offsets[n++] = end;
  for (size_t k = 0; n == k && k <= end && k <= job->options.offsets; k++) offsets[n++] = k;
  return n;
}

static int continue_items(const struct job *job, const struct nk_prompt *prompt,
                          const struct nk_intervention *how, int64_t *ids, size_t *lengths) {
  int64_t stop;
  bool stops = nk_model_config_integer(job->model, "eos_token_id", &stop) == NK_OK;
  return nk_continue(job->forward, prompt, how, &job->items, job->options.generate, &stop, stops,
                     ids, lengths);
}

static int run_prompt(const struct job *job, const struct nk_prompt *prompt, size_t layer,
                      struct cli_table *table) {
  struct nk_intervention how;
  struct nk_reference *reference = NULL;
  struct nk_behaviour *behaviour = NULL;
  size_t n = job->items.n_tokens + job->items.n_vectors, generate = job->options.generate;
  size_t *offsets = nk_alloc(prompt->n, sizeof *offsets);
  int64_t *ids = nk_alloc(n, (generate + 1) * sizeof *ids);
  int64_t *ranks = NULL;
  size_t *lengths = nk_alloc(n, sizeof *lengths);
  int code = offsets == NULL || ids == NULL || lengths == NULL ? NK_EMEMORY : NK_OK;
  if (code == NK_OK) code = intervene(job, prompt, layer, &how);
  if (code != NK_OK) goto done;
  size_t n_offsets = choose_offsets(job, prompt, nk_prompt_base(prompt, &how), offsets);
  reference = nk_reference_new(job->forward, prompt, &how, job->ordinary, job->n_ordinary,
                               job->n_ordinary / 2, offsets, n_offsets, job->run->common.seed);
  behaviour =
      reference == NULL ? NULL : nk_behave(job->forward, prompt, &how, &job->items, reference);
  if (behaviour == NULL) {
    code = nk_error_code();
    goto done;
  }
  if (prompt->repetition)
    code = nk_behaviour_echo(job->forward, &how, &job->items, behaviour, &ranks);
  if (generate > 0 && code == NK_OK) code = continue_items(job, prompt, &how, ids, lengths);
  const struct cli_behaviour_result result = {prompt, &how, offsets, behaviour,
                                              ranks,  ids,  lengths};
  if (code == NK_OK) code = cli_behaviour_table_rows(&job->what, &result, table);
done:
  nk_behaviour_free(behaviour);
  nk_reference_free(reference);
  nk_free(offsets);
  nk_free(ids);
  nk_free(ranks);
  nk_free(lengths);
  return code;
}

static int print_table(const struct job *job) {
  struct nk_output *output = cli_output(job->run, NK_OUTPUT_TEXT);
  struct cli_table *table = output != NULL ? cli_new_table(job->run, output) : NULL;
  int code = table != NULL ? cli_behaviour_table_head(&job->what, table) : nk_error_code();
  for (size_t p = 0; p < job->prompts.n && code == NK_OK; p++)
    for (size_t l = 0; l < job->n_layers && code == NK_OK; l++)
      code = run_prompt(job, &job->prompts.item[p], job->layers[l], table);
  return cli_close(table, output, code);
}

/* --capture L[:POS]: POS is an offset from the slot, or `end`. */
static int parse_capture(const struct job *job, size_t *layer, size_t *offset) {
  char *end;
  const char *text = job->options.capture;
  unsigned long long value = strtoull(text, &end, 10);
  bool good = end != text && text[0] != '-' && (*end == 0 || *end == ':');
  *layer = (size_t)value;
  *offset = 0;
  if (good && strcmp(end, ":end") == 0) {
    *offset = SIZE_MAX;
  } else if (good && *end == ':') {
    const char *position = end + 1;
    *offset = (size_t)strtoull(position, &end, 10);
    good = end != position && position[0] != '-' && *end == 0;
  }
  if (!good) return nk_fail(NK_EUSAGE, "--capture: '%s' is not L, L:OFFSET or L:end", text);
  if (*layer > job->shape->n_layers)
    return nk_fail(NK_EUSAGE, "--capture: layer %zu: the model has layers 0 to %zu", *layer,
                   job->shape->n_layers);
  return NK_OK;
}

static int capture(const struct job *job) {
  size_t layer, offset, dim = job->shape->dim;
  size_t n = job->items.n_tokens + job->items.n_vectors;
  struct nk_vectors *set = NULL;
  struct nk_output *output = NULL;
  int code = parse_capture(job, &layer, &offset);
  if (code == NK_OK && job->n_layers > 1)
    code = nk_fail(NK_EUSAGE, "--capture takes one layer of --at");
  if (code != NK_OK) return code;
  float *values = nk_alloc(job->prompts.n * n, dim * sizeof *values);
  if (values == NULL) return NK_EMEMORY;
  for (size_t p = 0; p < job->prompts.n && code == NK_OK; p++) {
    const struct nk_prompt *prompt = &job->prompts.item[p];
    struct nk_intervention how;
    code = intervene(job, prompt, job->layers[0], &how);
    if (code == NK_OK)
      code =
          nk_capture(job->forward, prompt, &how, &job->items, layer, offset, values + p * n * dim);
  }
  if (code == NK_OK) {
    set = cli_capture_set(&job->what, dim, values, &job->prompts, layer, nk_model_name(job->model));
    code = set == NULL ? nk_error_code() : NK_OK;
  }
  if (set == NULL) nk_free(values);
  if (code == NK_OK) code = cli_add_history(set, job->run->argc, job->run->argv);
  if (code == NK_OK && (output = cli_output(job->run, NK_OUTPUT_BINARY)) == NULL)
    code = nk_error_code();
  if (code == NK_OK) code = nk_vectors_write(set, output);
  if (code == NK_OK) code = nk_output_commit(output);
  nk_output_free(output);
  nk_vectors_free(set);
  return code;
}

static void free_job(struct job *job) {
  struct options *o = &job->options;
  nk_flags_free(job->flags);
  nk_vectors_free(job->set);
  nk_prompts_free(&job->prompts);
  nk_tokenizer_free(job->tokenizer);
  nk_forward_free(job->forward);
  nk_model_free(job->model);
  nk_free(job->tokens);
  nk_free(job->layers);
  nk_free(job->norms);
  nk_free(job->fill);
  nk_free(job->ordinary);
  cli_strings_free(&o->texts);
  cli_strings_free(&o->prompts);
  cli_strings_free(&o->exclude);
}

int main(int argc, char **argv) {
  struct job job = {.options = {.reference = 256, .offsets = SIZE_MAX}};
  struct options *o = &job.options;
  const struct cli_option options[] = {
      {'p', "prompt", CLI_OPTION_LIST, &o->texts, "TEXT", "a prompt, {} the slot; repeatable"},
      {0, "prompts", CLI_OPTION_LIST, &o->prompts, "FILE", "a table of prompts (prompt, text)"},
      {0, "ids", CLI_OPTION_STRING, &o->ids, "LIST", "real tokens: 3,10-20"},
      {0, "ids-from", CLI_OPTION_STRING, &o->ids_from, "TABLE", "real tokens: a table's column id"},
      {0, "offsets", CLI_OPTION_SIZE, &o->offsets, "T", "a row for each position up to T after it"},
      {0, "at", CLI_OPTION_STRING, &o->at, "L[,L..]", "put vectors in at these layers in turn (0)"},
      {0, "mode", CLI_OPTION_CHOICE, &o->mode, "replace|add",
       "replace what is there, or add to it"},
      {0, "position", CLI_OPTION_STRING, &o->position, "P", "at this position; -1 is the last"},
      {0, "fill", CLI_OPTION_STRING, &o->fill, "TOKEN", "below the layer (the mean embedding)"},
      {0, "norms", CLI_OPTION_STRING, &o->norms, "L[,L..]", "residual norms at these layers"},
      {0, "reference", CLI_OPTION_SIZE, &o->reference, "N",
       "ordinary tokens to compare with (256)"},
      {0, "region", CLI_OPTION_STRING, &o->region, "REGION", "compare with a region's tokens"},
      {0, "exclude", CLI_OPTION_LIST, &o->exclude, "TABLE", "not with a table's verified tokens"},
      {0, "generate", CLI_OPTION_SIZE, &o->generate, "N", "let the model go on for N tokens"},
      {0, "flag", CLI_OPTION_STRING, &o->flag, "FILE", "patterns to find in that (name, pattern)"},
      {0, "capture", CLI_OPTION_STRING, &o->capture, "L[:POS]", "give residual vectors as a set"},
      {0, "skip-bad", CLI_OPTION_FLAG, &o->skip_bad, NULL, "leave out rows with a NaN"},
  };
  const struct cli_tool tool = {
      .name = "nk-run",
      .summary = "what nokens and tokens do in a prompt",
      .usage = "[OPTION]... MODEL [SET]",
      .options = options,
      .n_options = sizeof options / sizeof options[0],
      .example = "nk-run data/gpt2-tiny --ids 300,8100 --prompts data/prompts/repeat.tsv",
  };
  struct cli_run run;
  cli_begin(&run, &tool, argc, argv, 1, 2);
  job.run = &run;
  int code = prepare(&job);
  if (code == NK_OK) code = o->capture != NULL ? capture(&job) : print_table(&job);
  free_job(&job);
  return cli_end(&run, code);
}
