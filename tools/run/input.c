/* nk-run's input: which options go together, and what they name. */
#include <string.h>

#include "cli/own_layer.h"
#include "run/run.h"

/* ---- What goes together ---- */

/* What is printed or written. In prompts: the table of answers, its shares, what layers say, the
 * streams. In contexts: the streams. Vectors paired with an origin, in prompts or in contexts. */
enum mode {
  ANSWERS = 1,
  SHARES = 2,
  LENS = 4,
  CAPTURE = 8,
  STATES = 16,
  PAIRED = 32,
  PAIRED_IN_CONTEXTS = 64
};

static enum mode mode_of(const struct run_options *o, const char **name) {
  const struct {
    bool given;
    enum mode mode;
    const char *name;
  } modes[] = {{o->paired && o->contexts != NULL, PAIRED_IN_CONTEXTS, "with --paired --contexts"},
               {o->paired, PAIRED, "with --paired in a prompt"},
               {o->contexts != NULL, STATES, "with --contexts without --paired"},
               {o->lens != NULL, LENS, "with --lens"},
               {o->flag_summary, SHARES, "with --flag-summary"},
               {o->capture != NULL, CAPTURE, "with --capture"},
               {true, ANSWERS, "without --contexts or --paired"}};
  size_t i = 0;
  while (!modes[i].given) i++;
  *name = modes[i].name;
  return modes[i].mode;
}

static int check_mode(const struct cli_run *run, const struct run_options *o) {
  enum {
    IN_PROMPTS = ANSWERS | SHARES | LENS | CAPTURE,
    PAIRS = PAIRED | PAIRED_IN_CONTEXTS,
  };
  const struct {
    const char *name;
    bool given;
    int modes; /* that it goes with */
  } options[] = {
      {"--prompt", o->texts.n > 0, IN_PROMPTS | PAIRED},
      {"--prompts", o->prompts.n > 0, IN_PROMPTS | PAIRED},
      {"--chat", o->chat != NULL, IN_PROMPTS | PAIRED},
      {"--ids", o->ids != NULL, IN_PROMPTS},
      {"--ids-from", o->ids_from != NULL, IN_PROMPTS},
      {"SET", run->n_operands > 1, IN_PROMPTS | PAIRS},
      {"--skip-bad", o->skip_bad, IN_PROMPTS | PAIRS},
      {"--offsets", o->offsets != RUN_NOT_GIVEN, ANSWERS | LENS},
      {"--at", o->at != NULL, IN_PROMPTS | PAIRS},
      {"--mode", o->mode != 0, IN_PROMPTS | PAIRS},
      {"--fill", o->fill != NULL, IN_PROMPTS | PAIRED},
      {"--norms", o->norms != NULL, ANSWERS | PAIRS},
      {"--reference", o->reference != RUN_NOT_GIVEN, ANSWERS},
      {"--region", o->region != NULL, ANSWERS},
      {"--exclude", o->exclude.n > 0, ANSWERS},
      {"--unverified", o->unverified, ANSWERS},
      {"--generate", o->generate > 0, ANSWERS | SHARES},
      {"--flag", o->flag != NULL, ANSWERS | SHARES},
      {"--flag-summary", o->flag_summary, SHARES},
      {"--lens", o->lens != NULL, LENS},
      {"--lens-with", o->lens_with.n > 0, ANSWERS | LENS}, /* read_lens asks for --lens */
      {"--top", o->top != RUN_NOT_GIVEN, ANSWERS | LENS},
      {"--capture", o->capture != NULL, CAPTURE | STATES},
      {"--every", o->every > 0, STATES},
      {"--read", o->read > 0, PAIRS},
  };
  const char *name;
  enum mode mode = mode_of(o, &name);
  if (o->shard != NULL && mode == SHARES)
    return nk_fail(NK_EUSAGE, "--shard: a row of --flag-summary is of all items together");
  for (size_t i = 0; i < sizeof options / sizeof *options; i++)
    if (options[i].given && (options[i].modes & (int)mode) == 0)
      return nk_fail(NK_EUSAGE, "%s has no use %s", options[i].name, name);
  return NK_OK;
}

/* ---- Input ---- */

int run_read_items(struct run_job *job) {
  const struct run_options *o = &job->options;
  int code = cli_read_items(job->run, o->ids, o->ids_from, o->skip_bad, job->shape, &job->items);
  bool by_column = o->contexts != NULL && !job->at;
  if (code != NK_OK || job->items.set == NULL || by_column) return code;
  return cli_own_layer(job->model, cli_operand_name(job->run, 1), job->items.set, job->layers,
                       job->n_layers, &job->at);
}

static int read_prompts(struct run_job *job) {
  const struct run_options *o = &job->options;
  if (o->texts.n == 0 && o->prompts.n == 0 && (o->paired || o->capture != NULL))
    return nk_fail(NK_EUSAGE, "no prompt: use -p TEXT or --prompts FILE, or --contexts FILE");
  return cli_open_prompts(job->run, &o->texts, &o->prompts, o->chat, job->model, &job->prompts);
}

static int read_norms(struct run_job *job) {
  const char *text = job->options.norms;
  if (text == NULL) return NK_OK;
  return cli_parse_layers("--norms", text, 1, job->shape->n_layers, &job->norms, &job->n_norms);
}

int run_read_position(struct run_job *job) {
  const char *text = job->options.position;
  if (text == NULL) return NK_OK;
  job->probe.at_position = true;
  return cli_parse_integer("--position", text, &job->probe.position);
}

static int read_fill(struct run_job *job) {
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

/* Each of two readers of standard input would have a part of it. */
static int check_input(const struct run_job *job) {
  const struct run_options *o = &job->options;
  if (o->paired && o->contexts != NULL && strcmp(o->contexts, "-") == 0 &&
      strcmp(cli_operand(job->run, 1), "-") == 0)
    return nk_fail(NK_EUSAGE, "SET and --contexts are both standard input: name a file for one");
  return NK_OK;
}

int run_open(struct run_job *job) {
  int code = check_mode(job->run, &job->options);
  if (code == NK_OK) code = check_input(job);
  if (code == NK_OK) code = cli_shard_parse(job->options.shard, &job->shard);
  if (code != NK_OK) return code;
  job->model = nk_model_open(job->run->operands[0]);
  code = cli_use_engine(job->model, &job->options.engine);
  if (code != NK_OK) return code;
  job->shape = nk_forward_shape(nk_model_forward(job->model));
  return job->shape == NULL ? nk_error_code() : NK_OK;
}

/* What goes where, in all modes. */
int run_read_places(struct run_job *job) {
  const struct run_options *o = &job->options;
  int code = NK_OK;
  job->at = o->at != NULL;
  if (o->contexts == NULL) code = read_prompts(job);
  if (code == NK_OK)
    code = cli_parse_layers("--at", o->at != NULL ? o->at : "0", 0, job->shape->n_layers,
                            &job->layers, &job->n_layers);
  if (code == NK_OK) code = read_norms(job);
  if (code == NK_OK) code = run_read_position(job);
  return code == NK_OK ? read_fill(job) : code;
}

void run_free(struct run_job *job) {
  struct run_options *o = &job->options;
  run_free_probes(job);
  nk_flags_free(job->flags);
  cli_items_free(&job->items);
  cli_prompts_free(&job->prompts);
  nk_model_free(job->model);
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
