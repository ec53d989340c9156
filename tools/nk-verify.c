/* nk-verify: whether the model repeats a token or a text. */
#include "verify/verify.h"

/* One block: all prompts. */
static int run_block(const struct verify_job *job, const struct cli_block *block,
                     struct nk_verify_options options) {
  size_t first = block->first;
  const struct nk_verification found = {
      .max_prob = job->found.max_prob + first,
      .encoded = job->found.encoded + first,
      .n_pieces = job->found.n_pieces + first,
      .failures = job->found.failures + first * verify_n_prompts(job)};
  if (job->texts != NULL) options.texts = job->texts + first;
  int code =
      nk_verify(job->model, &options, job->ids == NULL ? NULL : job->ids + first, block->n, &found);
  if (code == NK_OK || job->texts == NULL || first == 0) return code;
  return nk_fail_in(code, "from row %zu on", first + 1);
}

static int run_blocks(const struct verify_job *job, const struct nk_verify_options *options) {
  size_t range[2];
  int code = NK_OK;
  cli_shard_range(&job->shard, cli_count_blocks(1, job->n, CLI_BLOCK), range);
  if (range[0] == range[1]) /* a check of the options, as in any other part */
    return run_block(job, &(struct cli_block){0}, *options);
  for (size_t i = range[0]; i < range[1] && code == NK_OK; i++) {
    const struct cli_block block = cli_block_at(i, job->n, CLI_BLOCK);
    code = cli_report_block(i, range);
    if (code == NK_OK) code = run_block(job, &block, *options);
  }
  return code == NK_OK ? cli_report_block(range[1], range) : code;
}

static int verify(struct verify_job *job) {
  struct nk_verify_options options = {.n_prompts = job->prompts.n,
                                      .n_steps = job->options.steps,
                                      .n_repeats = job->options.repeats,
                                      .temperature = job->options.temperature,
                                      .seed = job->run->common.seed};
  const char **prompts = NULL;
  if (job->known) return NK_OK;
  int code = verify_make_room(job);
  if (code != NK_OK) return code;
  if (job->prompts.n > 0 && (prompts = nk_alloc(job->prompts.n, sizeof *prompts)) == NULL)
    return NK_EMEMORY;
  for (size_t p = 0; p < job->prompts.n; p++) prompts[p] = job->prompts.item[p].text;
  options.prompts = prompts;
  code = run_blocks(job, &options);
  nk_free(prompts);
  return code;
}

static int write_output(const struct verify_job *job) {
  struct nk_output *output = cli_output(job->run, NK_OUTPUT_TEXT);
  struct cli_table *table = output != NULL ? cli_shard_table(&job->shard, job->run, output) : NULL;
  int code = table != NULL ? NK_OK : nk_error_code();
  if (code == NK_OK && job->options.truth != NULL)
    code = verify_write_counts(job, table);
  else if (code == NK_OK && job->options.agree)
    code = verify_write_agreement(job, table);
  else if (code == NK_OK)
    code = job->options.summary ? verify_write_summary(job, table) : verify_write_rows(job, table);
  return cli_close(table, output, code);
}

int main(int argc, char **argv) {
  struct cli_run run;
  struct verify_job job = {
      .run = &run,
      .options = {
          .steps = VERIFY_NOT_GIVEN, .controls = VERIFY_NOT_GIVEN, .level = VERIFY_NO_LEVEL}};
  struct verify_options *o = &job.options;
  const struct cli_option options[] = {
      {'a', "all", CLI_OPTION_FLAG, &o->all, NULL, "verify the whole vocabulary, without a table"},
      {0, "text", CLI_OPTION_FLAG, &o->text, NULL,
       "verify the texts of the table (text), not its ids"},
      {'p', "prompt", CLI_OPTION_LIST, &o->texts, "TEXT",
       "use this prompt, with slots {} for the token; repeatable"},
      {0, "prompts", CLI_OPTION_STRING, &o->prompts, "FILE",
       "use the prompts of a table (prompt, text)"},
      CLI_CHAT_OPTION(&o->chat),
      {0, "steps", CLI_OPTION_SIZE, &o->steps, "N",
       "look at N positions from the prompt's end on (3)", .most = 1024},
      {0, "controls", CLI_OPTION_SIZE, &o->controls, "N",
       "verify N ordinary tokens too, of the table's lengths and categories"},
      {0, "summary", CLI_OPTION_FLAG, &o->summary, NULL,
       "print the shares of listed tokens and controls that are verified"},
      {0, "repeats", CLI_OPTION_SIZE, &o->repeats, "N",
       "sample N repetitions of each token and prompt: rate of failures", .most = 1000000},
      {0, "temperature", CLI_OPTION_NUMBER, &o->temperature, "T", "the temperature of --repeats"},
      {0, "agree", CLI_OPTION_FLAG, &o->agree, NULL,
       "print the rows whose q_value and verdict disagree; with --summary, kappa"},
      {0, "level", CLI_OPTION_NUMBER, &o->level, "Q",
       "with --agree: weights list a token whose q_value is at most Q (0.05)"},
      {0, "truth", CLI_OPTION_STRING, &o->truth, "TABLE",
       "evaluate the verdicts against TABLE's counts (id, count)"},
      CLI_SHARD_OPTION(&o->shard),
      CLI_ENGINE_OPTIONS(&o->engine),
      CLI_PRECISION_OPTION(&o->engine),
  };
  const struct cli_tool tool = {
      .name = "nk-verify",
      .summary = "whether the model repeats a token",
      .usage = "[OPTION]... MODEL [TABLE]",
      .options = options,
      .n_options = sizeof options / sizeof options[0],
      .example = "nk-verify data/gpt2-tiny --all --truth data/gpt2-tiny/counts.tsv",
  };
  cli_begin(&run, &tool, argc, argv, 1, 2);

  int code = verify_open(&job);
  if (code == NK_OK) code = verify(&job);
  if (code == NK_OK) code = write_output(&job);
  verify_free(&job);
  cli_strings_free(&o->texts);
  return cli_end(&run, code);
}
