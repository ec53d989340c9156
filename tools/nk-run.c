/* nk-run: what nokens and tokens do in a prompt. */
#include <stdlib.h>
#include <string.h>

#include "cli/capture.h"
#include "cli/contexts.h"
#include "cli/engine.h"
#include "cli/flag_summary.h"
#include "cli/lens.h"
#include "cli/paired.h"
#include "cli/tool.h"

enum { LEAST_REFERENCE = 8, REFERENCE = 256 };
#define NOT_GIVEN SIZE_MAX /* a number of an option */

struct options {
  struct cli_strings texts, prompts, exclude, lens_with;
  const char *ids, *ids_from, *region, *at, *norms, *position, *fill, *flag, *capture, *lens;
  const char *contexts;
  size_t reference, offsets, generate, top, every;
  int mode, read;
  bool skip_bad, unverified, flag_summary, paired;
  struct cli_engine engine;
};

struct job {
  const struct cli_run *run;
  struct options options;
  struct nk_model *model;
  const struct nk_forward_shape *shape;
  struct cli_prompts prompts;
  struct nk_vectors *set; /* or NULL */
  int64_t *tokens;        /* [items.n_tokens] */
  struct nk_items items;
  size_t n_items;
  struct nk_probe_options probe; /* what all probes have in common */
  struct nk_probe **probes;      /* [prompts.n, n_layers] */
  size_t *layers, *norms;        /* of --at, of --norms */
  size_t n_layers, n_norms;
  struct cli_capture capture;
  struct cli_lens lens;
  float *fill;
  int64_t *ordinary; /* [probe.n_reference_ids] */
  struct nk_flags *flags;
  struct cli_flag_summary flag_summary;
};

/* ---- What goes together ---- */

/* A prompt's answers; the streams in contexts; vectors paired with an origin, in prompts or in
 * contexts. */
enum mode { ANSWERS = 1, STATES = 2, PAIRED = 4, PAIRED_IN_CONTEXTS = 8 };

static enum mode mode_of(const struct options *o) {
  if (o->paired) return o->contexts == NULL ? PAIRED : PAIRED_IN_CONTEXTS;
  return o->contexts == NULL ? ANSWERS : STATES;
}

static int check_mode(const struct cli_run *run, const struct options *o) {
  const struct {
    const char *name;
    bool given;
    int modes; /* that it goes with */
  } options[] = {
      {"--prompt", o->texts.n > 0, ANSWERS | PAIRED},
      {"--prompts", o->prompts.n > 0, ANSWERS | PAIRED},
      {"--ids", o->ids != NULL, ANSWERS},
      {"--ids-from", o->ids_from != NULL, ANSWERS},
      {"SET", run->n_operands > 1, ANSWERS | PAIRED | PAIRED_IN_CONTEXTS},
      {"--offsets", o->offsets != NOT_GIVEN, ANSWERS},
      {"--at", o->at != NULL, ANSWERS | PAIRED | PAIRED_IN_CONTEXTS},
      {"--mode", o->mode != 0, ANSWERS | PAIRED | PAIRED_IN_CONTEXTS},
      {"--fill", o->fill != NULL, ANSWERS | PAIRED},
      {"--norms", o->norms != NULL, ANSWERS | PAIRED | PAIRED_IN_CONTEXTS},
      {"--reference", o->reference != NOT_GIVEN, ANSWERS},
      {"--region", o->region != NULL, ANSWERS},
      {"--exclude", o->exclude.n > 0, ANSWERS},
      {"--unverified", o->unverified, ANSWERS},
      {"--generate", o->generate > 0, ANSWERS},
      {"--flag", o->flag != NULL, ANSWERS},
      {"--flag-summary", o->flag_summary, ANSWERS},
      {"--lens", o->lens != NULL, ANSWERS},
      {"--lens-with", o->lens_with.n > 0, ANSWERS},
      {"--capture", o->capture != NULL, ANSWERS | STATES},
      {"--every", o->every > 0, STATES},
      {"--read", o->read > 0, PAIRED | PAIRED_IN_CONTEXTS},
  };
  enum mode mode = mode_of(o);
  const char *name = mode == ANSWERS  ? "without --contexts or --paired"
                     : mode == STATES ? "with --contexts without --paired"
                     : mode == PAIRED ? "with --paired in a prompt"
                                      : "with --paired --contexts";
  for (size_t i = 0; i < sizeof options / sizeof *options; i++)
    if (options[i].given && (options[i].modes & (int)mode) == 0)
      return nk_fail(NK_EUSAGE, "%s has no use %s", options[i].name, name);
  return NK_OK;
}

/* ---- Input ---- */

static const char *set_name(const struct job *job) {
  const char *path = cli_operand(job->run, 1);
  return strcmp(path, "-") == 0 ? "standard input" : path;
}

static int read_items(struct job *job) {
  const struct options *o = &job->options;
  int code = cli_read_tokens(o->ids, o->ids_from, job->shape->n_vocabulary, &job->tokens,
                             &job->items.n_tokens);
  if (code != NK_OK) return code;
  job->items.tokens = job->tokens;
  job->n_items = job->items.n_tokens;
  if (job->run->n_operands < 2 && (o->ids != NULL || o->ids_from != NULL)) return NK_OK;
  job->set = nk_vectors_read(cli_operand(job->run, 1));
  if (job->set == NULL) return nk_error_code();
  if (job->set->dim != job->shape->dim)
    return nk_fail(NK_EDATA, "%s: vectors have %zu values, the model's have %zu", set_name(job),
                   job->set->dim, job->shape->dim);
  code = cli_check_finite(&job->set, o->skip_bad);
  job->items.vectors = job->set;
  job->n_items += job->set->n;
  return code;
}

static int read_prompts(struct job *job) {
  const struct options *o = &job->options;
  int code = NK_OK;
  if (o->texts.n == 0 && o->prompts.n == 0)
    return nk_fail(NK_EUSAGE, "no prompt: use -p TEXT or --prompts FILE");
  for (size_t i = 0; i < o->texts.n && code == NK_OK; i++)
    code = cli_prompts_add(&job->prompts, NULL, o->texts.item[i], false, NULL);
  for (size_t i = 0; i < o->prompts.n && code == NK_OK; i++)
    code = cli_read_prompts(&job->prompts, o->prompts.item[i]);
  return code;
}

static int read_position(struct job *job) {
  const char *text = job->options.position;
  char *end;
  if (text == NULL) return NK_OK;
  job->probe.at_position = true;
  job->probe.position = strtoll(text, &end, 10);
  if (*end != 0 || end == text)
    return nk_fail(NK_EUSAGE, "--position: '%s' is not a whole number", text);
  return NK_OK;
}

static int read_fill(struct job *job) {
  const char *fill = job->options.fill;
  if (fill == NULL) return NK_OK;
  const struct nk_tokenizer *tokenizer = nk_model_tokenizer(job->model);
  if (tokenizer == NULL) return nk_error_code();
  int64_t id = nk_tokenizer_id(tokenizer, fill, strlen(fill));
  if (id < 0) return nk_fail(NK_EUSAGE, "--fill: no token '%s'", fill);
  job->fill = nk_alloc(job->shape->dim, sizeof *job->fill);
  if (job->fill == NULL) return NK_EMEMORY;
  job->probe.fill = job->fill;
  return nk_forward_embedding(nk_model_forward(job->model), id, job->fill);
}

static int read_capture(struct job *job) {
  if (job->options.capture == NULL) return NK_OK;
  int code = cli_capture_parse(job->options.capture, job->shape->n_layers, &job->capture);
  if (code != NK_OK) return code;
  if (job->n_layers > 1) return nk_fail(NK_EUSAGE, "--capture: one layer of --at is expected");
  job->probe.offsets = job->capture.offsets;
  job->probe.n_offsets = job->capture.n_offsets;
  return NK_OK;
}

static int read_lens(struct job *job) {
  const struct options *o = &job->options;
  if (o->lens == NULL && o->lens_with.n > 0)
    return nk_fail(NK_EUSAGE, "--lens-with needs the layers: use --lens L");
  if (o->lens == NULL) return NK_OK;
  if (o->capture != NULL || o->generate > 0 || o->norms != NULL)
    return nk_fail(NK_EUSAGE,
                   "--lens prints its own table, without --capture, --generate and --norms");
  int code = cli_lens_read(o->lens, &o->lens_with, o->top, job->shape, &job->lens);
  if (code != NK_OK || o->offsets != SIZE_MAX) return code;
  job->probe.offsets = job->lens.offsets;
  job->probe.n_offsets = sizeof job->lens.offsets / sizeof *job->lens.offsets;
  return NK_OK;
}

/* ---- The reference ---- */

/* Drawn once for all probes. */
static int draw_reference(struct job *job) {
  const struct options *o = &job->options;
  struct nk_ordinary_options how = {.unverified = o->unverified, .seed = job->run->common.seed};
  struct nk_region *region = NULL;
  int64_t *excluded = NULL;
  int code = NK_OK;
  size_t n = o->reference == NOT_GIVEN ? REFERENCE : o->reference;
  if (n < LEAST_REFERENCE || !nk_size_mul(n, 2, &how.n))
    return nk_fail(NK_EUSAGE, "--reference: %d tokens or more are needed", LEAST_REFERENCE);
  for (size_t i = 0; i < o->exclude.n && code == NK_OK; i++)
    code = cli_read_verified(o->exclude.item[i], &excluded, &how.n_excluded);
  if (code != NK_OK) goto done;
  how.excluded = excluded;
  if (o->region != NULL) {
    region = nk_region_read(o->region);
    if (region == NULL) {
      code = nk_error_code();
      goto done;
    }
    how.from = region->tokens->ids;
    how.n_from = region->tokens->n;
  }
  code = nk_ordinary_tokens(job->model, &how, &job->ordinary, &job->probe.n_reference_ids);
  job->probe.reference_ids = job->ordinary;

done:
  nk_region_free(region);
  nk_free(excluded);
  return code;
}

/* ---- Probes ---- */

static int make_probes(struct job *job) {
  job->probes = nk_calloc(job->prompts.n * job->n_layers, sizeof(struct nk_probe *));
  if (job->probes == NULL) return NK_EMEMORY;
  for (size_t p = 0; p < job->prompts.n; p++)
    for (size_t l = 0; l < job->n_layers; l++) {
      struct nk_probe_options options = job->probe;
      options.name = job->prompts.item[p].name;
      options.repetition = job->prompts.item[p].repetition;
      options.layer = job->layers[l];
      struct nk_probe *probe = nk_probe_new(job->model, job->prompts.item[p].text, &options);
      if (probe == NULL) return nk_error_code();
      job->probes[p * job->n_layers + l] = probe;
    }
  return NK_OK;
}

static void free_probes(struct job *job) {
  for (size_t i = 0; job->probes != NULL && i < job->prompts.n * job->n_layers; i++)
    nk_probe_free(job->probes[i]);
  nk_free(job->probes);
  job->probes = NULL;
}

static int read_flags(struct job *job) {
  const struct options *o = &job->options;
  if (o->flag_summary && o->flag == NULL)
    return nk_fail(NK_EUSAGE, "--flag-summary needs the flags: use --flag FILE");
  if (o->flag_summary && o->capture != NULL)
    return nk_fail(NK_EUSAGE, "--flag-summary prints its own table, without --capture");
  if (o->flag == NULL) return NK_OK;
  if (o->generate == 0)
    return nk_fail(NK_EUSAGE, "--flag needs generated tokens: use --generate N");
  if (o->flag_summary) return cli_flag_summary_read(o->flag, &job->flag_summary);
  job->flags = cli_read_flags(o->flag);
  return job->flags == NULL ? nk_error_code() : NK_OK;
}

static int open_model(struct job *job) {
  int code = check_mode(job->run, &job->options);
  if (code != NK_OK) return code;
  job->model = nk_model_open(job->run->operands[0]);
  code = cli_use_engine(job->model, &job->options.engine);
  if (code != NK_OK) return code;
  job->shape = nk_forward_shape(nk_model_forward(job->model));
  return job->shape == NULL ? nk_error_code() : NK_OK;
}

/* What goes where, in all modes. */
static int read_places(struct job *job) {
  const struct options *o = &job->options;
  int code = NK_OK;
  if (o->contexts == NULL) code = read_prompts(job);
  if (code == NK_OK)
    code = cli_parse_layers("--at", o->at != NULL ? o->at : "0", 0, job->shape->n_layers,
                            &job->layers, &job->n_layers);
  if (code == NK_OK && o->norms != NULL)
    code =
        cli_parse_layers("--norms", o->norms, 1, job->shape->n_layers, &job->norms, &job->n_norms);
  if (code == NK_OK) code = read_position(job);
  return code == NK_OK ? read_fill(job) : code;
}

/* Checks all options before any work. */
static int prepare(struct job *job) {
  const struct options *o = &job->options;
  job->probe = (struct nk_probe_options){.mode = o->mode == 0 ? NK_REPLACE : NK_ADD,
                                         .n_offsets = o->offsets + 1, /* NOT_GIVEN: 0, the end */
                                         .n_generate = o->generate,
                                         .seed = job->run->common.seed};
  int code = read_places(job);
  if (code == NK_OK) code = read_capture(job);
  if (code == NK_OK) code = read_lens(job);
  if (code == NK_OK) code = make_probes(job);
  if (code == NK_OK) code = read_flags(job);
  if (code == NK_OK) code = read_items(job);
  if (code != NK_OK || o->capture != NULL || o->lens != NULL || o->flag_summary) return code;
  free_probes(job); /* they were a check: the reference's tokens are still to be given */
  code = draw_reference(job);
  return code == NK_OK ? make_probes(job) : code;
}

/* ---- Output ---- */

static struct cli_behaviour_table describe(const struct job *job) {
  struct cli_behaviour_table table = {.tokenizer = nk_model_tokenizer(job->model),
                                      .items = &job->items,
                                      .at = job->options.at != NULL,
                                      .norms = job->norms,
                                      .n_norms = job->n_norms,
                                      .n_generate = job->options.generate,
                                      .flags = job->flags};
  for (size_t p = 0; p < job->prompts.n; p++)
    table.echo = table.echo || job->prompts.item[p].repetition;
  return table;
}

/* A row for each item and offset; or, with --flag-summary, one for each flag and group of items. */
static int run_probe(const struct job *job, const struct cli_behaviour_table *what, size_t index,
                     struct cli_table *table) {
  struct nk_probe *probe = job->probes[index];
  bool sums = job->options.flag_summary;
  struct nk_behaviour *behaviour = sums ? NULL : nk_probe_run(probe, &job->items);
  size_t n = job->n_items, generate = job->options.generate;
  int64_t *ids = nk_alloc(n, (generate + 1) * sizeof *ids);
  size_t *lengths = nk_alloc(n, sizeof *lengths);
  bool failed = (behaviour == NULL && !sums) || ids == NULL || lengths == NULL;
  int code = failed ? nk_error_code() : NK_OK;
  if (code == NK_OK && generate > 0) code = nk_probe_generate(probe, &job->items, ids, lengths);
  const struct cli_behaviour_result result = {.prompt = &job->prompts.item[index / job->n_layers],
                                              .layer = job->layers[index % job->n_layers],
                                              .behaviour = behaviour,
                                              .ids = ids,
                                              .lengths = lengths};
  if (code == NK_OK)
    code = sums ? cli_flag_summary_rows(&job->flag_summary, what, &result, table)
                : cli_behaviour_table_rows(what, &result, table);
  nk_behaviour_free(behaviour);
  nk_free(ids);
  nk_free(lengths);
  return code;
}

static int run_lens(const struct job *job, const struct cli_behaviour_table *what, size_t index,
                    struct cli_table *table) {
  const struct cli_lens_probe probe = {.model = job->model,
                                       .probe = job->probes[index],
                                       .prompt = &job->prompts.item[index / job->n_layers],
                                       .at = job->layers[index % job->n_layers]};
  return cli_lens_rows(&job->lens, what, &probe, table);
}

static int print_table(struct job *job) {
  const struct cli_behaviour_table what = describe(job);
  bool lens = job->options.lens != NULL;
  struct nk_output *output = cli_output(job->run, NK_OUTPUT_TEXT);
  struct cli_table *table = output != NULL ? cli_new_table(job->run, output) : NULL;
  int code = table == NULL               ? nk_error_code()
             : lens                      ? cli_lens_head(&job->lens, &what, table)
             : job->options.flag_summary ? cli_flag_summary_head(&what, table)
                                         : cli_behaviour_table_head(&what, table);
  for (size_t i = 0; i < job->prompts.n * job->n_layers && code == NK_OK; i++) {
    code = lens ? run_lens(job, &what, i, table) : run_probe(job, &what, i, table);
    nk_probe_free(job->probes[i]); /* with its reference */
    job->probes[i] = NULL;
  }
  return cli_close(table, output, code);
}

/* Writes the set, which may be NULL after a failure, and frees it. */
static int write_set(const struct job *job, struct nk_vectors *set) {
  struct nk_output *output = NULL;
  int code = set == NULL ? nk_error_code() : NK_OK;
  if (code == NK_OK) code = cli_add_history(set, job->run->argc, job->run->argv);
  if (code == NK_OK && (output = cli_output(job->run, NK_OUTPUT_BINARY)) == NULL)
    code = nk_error_code();
  if (code == NK_OK) code = nk_vectors_write(set, output);
  if (code == NK_OK) code = nk_output_commit(output);
  nk_output_free(output);
  nk_vectors_free(set);
  return code;
}

static int run_answers(struct job *job) {
  int code = prepare(job);
  if (code != NK_OK) return code;
  if (job->options.capture == NULL) return print_table(job);
  return write_set(
      job, cli_capture_run(&job->capture, job->model, job->probes, &job->prompts, &job->items));
}

/* The streams in contexts. */
static int run_states(struct job *job) {
  const struct options *o = &job->options;
  struct cli_contexts contexts = {0};
  struct cli_states states = {.contexts = &contexts, .every = o->every};
  if (o->capture == NULL)
    return nk_fail(NK_EUSAGE, "--contexts needs --capture L, or --paired and a SET");
  if ((o->position != NULL) == (o->every > 0))
    return nk_fail(NK_EUSAGE, "--contexts --capture needs --position P or --every N");
  if (strchr(o->capture, ':') != NULL)
    return nk_fail(NK_EUSAGE, "--capture: with --contexts, --position or --every says where");
  int code = cli_capture_parse(o->capture, job->shape->n_layers, &job->capture);
  if (code == NK_OK) code = read_position(job);
  if (code == NK_OK) code = cli_contexts_read(job->model, o->contexts, &contexts);
  states.layers = job->capture.layers;
  states.n_layers = job->capture.n_layers;
  states.position = job->probe.position;
  if (code == NK_OK) code = write_set(job, cli_states_capture(&states, job->model));
  cli_contexts_free(&contexts);
  return code;
}

static int run_paired(struct job *job) {
  const struct options *o = &job->options;
  int code = read_places(job);
  if (code == NK_OK) code = read_items(job);
  if (code != NK_OK) return code;
  const struct cli_paired paired = {.model = job->model,
                                    .set = job->set,
                                    .name = set_name(job),
                                    .contexts = o->contexts,
                                    .prompts = &job->prompts,
                                    .at_position = job->probe.at_position,
                                    .position = job->probe.position,
                                    .at = o->at != NULL || o->contexts == NULL,
                                    .layers = job->layers,
                                    .n_layers = job->n_layers,
                                    .mode = o->mode == 0 ? NK_REPLACE : NK_ADD,
                                    .fill = job->fill,
                                    .read_place = o->read != 0,
                                    .norms = job->norms,
                                    .n_norms = job->n_norms};
  return cli_paired_print(&paired, job->run);
}

static void free_job(struct job *job) {
  struct options *o = &job->options;
  free_probes(job);
  nk_flags_free(job->flags);
  nk_vectors_free(job->set);
  cli_prompts_free(&job->prompts);
  nk_model_free(job->model);
  nk_free(job->tokens);
  nk_free(job->layers);
  nk_free(job->norms);
  nk_free(job->fill);
  nk_free(job->ordinary);
  cli_capture_free(&job->capture);
  cli_lens_free(&job->lens);
  cli_flag_summary_free(&job->flag_summary);
  cli_strings_free(&o->texts);
  cli_strings_free(&o->prompts);
  cli_strings_free(&o->exclude);
  cli_strings_free(&o->lens_with);
}

int main(int argc, char **argv) {
  struct job job = {.options = {.reference = NOT_GIVEN, .offsets = NOT_GIVEN, .top = 1}};
  struct options *o = &job.options;
  const struct cli_option options[] = {
      {'p', "prompt", CLI_OPTION_LIST, &o->texts, "TEXT", "a prompt with slots {}; repeatable"},
      {0, "prompts", CLI_OPTION_LIST, &o->prompts, "FILE", "a table of prompts (prompt, text)"},
      {0, "ids", CLI_OPTION_STRING, &o->ids, "LIST", "run real tokens: 3,10-20"},
      {0, "ids-from", CLI_OPTION_STRING, &o->ids_from, "TABLE", "run the tokens of a table (id)"},
      {0, "offsets", CLI_OPTION_SIZE, &o->offsets, "T",
       "print a row for each offset from 0, the slot, to T"},
      {0, "at", CLI_OPTION_STRING, &o->at, "L[,L..]", "put vectors in at each of these layers (0)"},
      {0, "mode", CLI_OPTION_CHOICE, &o->mode, "replace|add",
       "replace the stream at the layer, or add to it"},
      {0, "position", CLI_OPTION_STRING, &o->position, "P",
       "put vectors in at this position; -1 is the last"},
      {0, "fill", CLI_OPTION_STRING, &o->fill, "TOKEN",
       "token in the slot below the layer (mean embedding)"},
      {0, "norms", CLI_OPTION_STRING, &o->norms, "L[,L..]", "print residual norms at these layers"},
      {0, "reference", CLI_OPTION_SIZE, &o->reference, "N",
       "compare with the mean of N ordinary tokens (256)"},
      {0, "region", CLI_OPTION_STRING, &o->region, "REGION",
       "draw the reference from the tokens of a region"},
      {0, "exclude", CLI_OPTION_LIST, &o->exclude, "TABLE",
       "exclude TABLE's verified tokens from the reference"},
      {0, "unverified", CLI_OPTION_FLAG, &o->unverified, NULL,
       "allow tokens that the model fails to repeat there"},
      {0, "generate", CLI_OPTION_SIZE, &o->generate, "N", "generate N tokens greedily"},
      {0, "flag", CLI_OPTION_STRING, &o->flag, "FILE",
       "flag generations that match these regular expressions"},
      {0, "flag-summary", CLI_OPTION_FLAG, &o->flag_summary, NULL,
       "print the share of flagged generations instead"},
      {0, "capture", CLI_OPTION_STRING, &o->capture, "LAYERS[:POS]",
       "output streams at these layers as a vector set"},
      {0, "lens", CLI_OPTION_STRING, &o->lens, "L[,L..]",
       "print tokens read out of these layers (logit lens)"},
      {0, "lens-with", CLI_OPTION_LIST, &o->lens_with, "FILE",
       "multiply the stream by this matrix first"},
      {0, "top", CLI_OPTION_SIZE, &o->top, "N", "with --lens: print the first N tokens (1)"},
      {0, "contexts", CLI_OPTION_STRING, &o->contexts, "FILE",
       "run in the lines of a text file instead of prompts"},
      {0, "every", CLI_OPTION_SIZE, &o->every, "N", "with --contexts: capture each N-th token"},
      {0, "paired", CLI_OPTION_FLAG, &o->paired, NULL,
       "compare with the same context without the vector"},
      {0, "read", CLI_OPTION_CHOICE, &o->read, "end|place",
       "with --paired: where answers are read (end)"},
      {0, "skip-bad", CLI_OPTION_FLAG, &o->skip_bad, NULL, "skip rows with a NaN or an infinity"},
      CLI_ENGINE_OPTIONS(&o->engine),
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
  int code = open_model(&job);
  if (code == NK_OK)
    code = o->paired             ? run_paired(&job)
           : o->contexts != NULL ? run_states(&job)
                                 : run_answers(&job);
  free_job(&job);
  return cli_end(&run, code);
}
