/* nk-trace: which outputs inside a model carry what nokens and tokens do. */
#include <string.h>

#include "cli/behaviour_table.h"
#include "cli/chat.h"
#include "cli/lists.h"
#include "cli/own_layer.h"
#include "cli/probes.h"
#include "cli/sets.h"
#include "cli/tool.h"

enum { ORDINARY = 8 };

struct options {
  struct cli_strings texts, prompts;
  const char *chat, *ids, *ids_from, *at;
  size_t ordinary;
  int mode;
  bool heads, unverified, skip_bad;
};

struct job {
  const struct cli_run *run;
  struct options options;
  struct nk_model *model;
  const struct nk_forward_shape *shape;
  struct cli_prompts prompts;
  struct cli_items items;
  size_t *layers; /* of --at or the set */
  size_t n_layers;
  bool at;                       /* one of them says the layers */
  struct nk_probe **probes;      /* [prompts.n, n_layers] */
  struct nk_probe_options probe; /* what all probes have in common */
  int64_t *ordinary;             /* [probe.n_reference_ids] */
};

/* ---- Input ---- */

static int open_model(struct job *job) {
  const struct options *o = &job->options;
  if (o->ordinary == 0) return nk_fail(NK_EUSAGE, "--ordinary: one token or more is needed");
  job->model = nk_model_open(job->run->operands[0]);
  job->shape = nk_forward_shape(nk_model_forward(job->model));
  if (job->shape == NULL) return nk_error_code();
  int code = cli_open_prompts(job->run, &o->texts, &o->prompts, o->chat, job->model, &job->prompts);
  if (code == NK_OK)
    code = cli_parse_layers("--at", o->at != NULL ? o->at : "0", 0, job->shape->n_layers,
                            &job->layers, &job->n_layers);
  return code;
}

static void free_probes(struct job *job) {
  cli_probes_free(&job->probes, job->prompts.n * job->n_layers);
}

static int make_probes(struct job *job) {
  return cli_new_probes(job->model, &job->prompts, job->layers, job->n_layers, &job->probe,
                        &job->probes);
}

/* Checks all options before any work; the ordinary tokens are the same in all prompts. */
static int prepare(struct job *job) {
  const struct options *o = &job->options;
  const struct nk_ordinary_options how = {
      .n = o->ordinary, .unverified = o->unverified, .seed = job->run->common.seed};
  job->probe.mode = o->mode == 0 ? NK_REPLACE : NK_ADD;
  job->probe.seed = job->run->common.seed;
  int code = open_model(job);
  if (code == NK_OK) code = make_probes(job);
  if (code == NK_OK)
    code = cli_read_items(job->run, o->ids, o->ids_from, o->skip_bad, job->shape, &job->items);
  job->at = o->at != NULL;
  if (code == NK_OK && job->items.set != NULL)
    code = cli_own_layer(job->model, cli_operand_name(job->run, 1), job->items.set, job->layers,
                         job->n_layers, &job->at);
  if (code == NK_OK && job->items.all.n_tokens > 0 && o->at == NULL && job->layers[0] > 0)
    code = nk_fail(NK_EUSAGE,
                   "%s: its vectors are of layer %zu, and tokens are traced from layer 0: trace "
                   "them apart",
                   cli_operand_name(job->run, 1), job->layers[0]);
  if (code != NK_OK) return code;
  free_probes(job); /* they were a check: tokens, and the set's layer, are still to be given */
  code = nk_ordinary_tokens(job->model, &how, &job->ordinary, &job->probe.n_reference_ids);
  job->probe.reference_ids = job->ordinary;
  return code == NK_OK ? make_probes(job) : code;
}

/* ---- Output ---- */

static int write_head(const struct cli_behaviour_table *what, struct cli_table *table) {
  static const char *const columns[] = {"position", "token",  "site",   "layer",
                                        "head",     "undone", "caused", "effect"};
  int code = cli_behaviour_head_place(what, table);
  for (size_t c = 0; c < sizeof columns / sizeof *columns && code == NK_OK; c++)
    code = cli_table_column(table, columns[c]);
  return code == NK_OK ? cli_behaviour_head_tail(what, table) : code;
}

/* A prompt's tokens, with NK_VECTOR in its slots. */
struct tokens {
  int64_t *ids;
  size_t n, base; /* base: the last slot */
};

static int read_tokens(const struct job *job, const struct cli_prompt *prompt,
                       struct tokens *tokens) {
  int code = nk_prompt_encode(nk_model_tokenizer(job->model), prompt->text, strlen(prompt->text),
                              true, &tokens->ids, &tokens->n);
  for (size_t i = 0; i < tokens->n; i++)
    if (tokens->ids[i] == NK_VECTOR) tokens->base = i;
  return code;
}

static void write_site(const struct cli_behaviour_table *what, const struct nk_trace_site *site,
                       const struct tokens *tokens, struct cli_table *table) {
  static const char *const names[] = {[NK_SITE_STREAM] = "stream",
                                      [NK_SITE_ATTENTION] = "attention",
                                      [NK_SITE_MLP] = "mlp",
                                      [NK_SITE_HEAD] = "head"};
  int64_t id = tokens->ids[site->position];
  cli_table_integer(table, (int64_t)site->position);
  if (id == NK_VECTOR)
    cli_table_string(table, "{}");
  else
    cli_behaviour_token(what, id, table);
  cli_table_string(table, names[site->site]);
  cli_table_integer(table, (int64_t)site->layer);
  if (site->site == NK_SITE_HEAD)
    cli_table_integer(table, (int64_t)site->head);
  else
    cli_table_missing(table);
}

static int write_rows(const struct job *job, const struct cli_behaviour_table *what, size_t probe,
                      const struct nk_trace *trace, struct cli_table *table) {
  const struct cli_prompt *prompt = &job->prompts.item[probe / job->n_layers];
  struct tokens tokens = {0};
  int code = read_tokens(job, prompt, &tokens);
  for (size_t i = 0; i < trace->n_items && code == NK_OK; i++)
    for (size_t s = 0; s < trace->n_sites && code == NK_OK; s++) {
      const struct nk_trace_site *site = &trace->sites[s];
      size_t at = i * trace->n_sites + s;
      const struct cli_place place = {.item = i,
                                      .prompt = prompt,
                                      .offset = site->position - tokens.base,
                                      .layer = job->layers[probe % job->n_layers]};
      cli_behaviour_place(what, &place, table);
      write_site(what, site, &tokens, table);
      cli_table_number(table, trace->undone[at]);
      cli_table_number(table, trace->caused[at]);
      cli_table_number(table, trace->effect[i]);
      cli_behaviour_tail(what, i, table);
      code = cli_table_end_row(table);
    }
  nk_free(tokens.ids);
  return code;
}

static int trace(struct job *job) {
  int code = prepare(job);
  if (code != NK_OK) return code;
  const struct nk_trace_options options = {.heads = job->options.heads,
                                           .n_ordinary = job->probe.n_reference_ids};
  const struct cli_behaviour_table what = {
      .tokenizer = nk_model_tokenizer(job->model), .items = &job->items.all, .at = job->at};
  struct nk_output *output = cli_output(job->run, NK_OUTPUT_TEXT);
  struct cli_table *table = output != NULL ? cli_new_table(job->run, output) : NULL;
  code = table == NULL ? nk_error_code() : write_head(&what, table);
  for (size_t i = 0; i < job->prompts.n * job->n_layers && code == NK_OK; i++) {
    struct nk_trace *found = nk_probe_trace(job->probes[i], &job->items.all, &options);
    code = found == NULL ? nk_error_code() : write_rows(job, &what, i, found, table);
    nk_trace_free(found);
  }
  return cli_close(table, output, code);
}

static void free_job(struct job *job) {
  free_probes(job);
  cli_items_free(&job->items);
  cli_prompts_free(&job->prompts);
  nk_model_free(job->model);
  nk_free(job->layers);
  nk_free(job->ordinary);
  cli_strings_free(&job->options.texts);
  cli_strings_free(&job->options.prompts);
}

int main(int argc, char **argv) {
  struct job job = {.options = {.ordinary = ORDINARY}};
  struct options *o = &job.options;
  const struct cli_option options[] = {
      {'p', "prompt", CLI_OPTION_LIST, &o->texts, "TEXT", "a prompt with slots {}; repeatable"},
      {0, "prompts", CLI_OPTION_LIST, &o->prompts, "FILE", "a table of prompts (prompt, text)"},
      CLI_CHAT_OPTION(&o->chat),
      {0, "ids", CLI_OPTION_STRING, &o->ids, "LIST", "trace real tokens: 3,10-20"},
      {0, "ids-from", CLI_OPTION_STRING, &o->ids_from, "TABLE", "trace the tokens of a table (id)"},
      {0, "heads", CLI_OPTION_FLAG, &o->heads, NULL, "trace each attention head too"},
      {0, "at", CLI_OPTION_STRING, &o->at, "L[,L..]", "put vectors in at each of these layers (0)"},
      {0, "mode", CLI_OPTION_CHOICE, &o->mode, "replace|add",
       "replace the stream at the layer, or add to it"},
      {0, "ordinary", CLI_OPTION_SIZE, &o->ordinary, "N", "compare with N ordinary tokens (8)"},
      {0, "unverified", CLI_OPTION_FLAG, &o->unverified, NULL,
       "allow ordinary tokens that the model cannot repeat"},
      {0, "skip-bad", CLI_OPTION_FLAG, &o->skip_bad, NULL, "skip rows with a NaN or an infinity"},
  };
  const struct cli_tool tool = {
      .name = "nk-trace",
      .summary = "which outputs inside a model carry what nokens and tokens do",
      .usage = "[OPTION]... MODEL [SET]",
      .options = options,
      .n_options = sizeof options / sizeof options[0],
      .example = "nk-trace data/gpt2-tiny --ids 2000,2001 -p 'The{} of the'",
  };
  struct cli_run run;
  cli_begin(&run, &tool, argc, argv, 1, 2);
  job.run = &run;
  int code = trace(&job);
  free_job(&job);
  return cli_end(&run, code);
}
