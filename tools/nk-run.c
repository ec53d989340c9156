/* nk-run: what nokens and tokens do in a prompt. */
#include "run/run.h"

/* What goes with --contexts and --paired. */
/* clang-format off */
#define CONTEXT_OPTIONS(o)                                                                     \
  {0, "contexts", CLI_OPTION_STRING, &(o)->contexts, "FILE",                                   \
   "run in the lines of a text file instead of prompts"},                                      \
  {0, "every", CLI_OPTION_SIZE, &(o)->every, "N", "with --contexts: capture each N-th token"}, \
  {0, "paired", CLI_OPTION_FLAG, &(o)->paired, NULL,                                           \
   "compare with the same context without the vector"},                                        \
  {0, "read", CLI_OPTION_CHOICE, &(o)->read, "end|place",                                      \
   "with --paired: where answers are read (end)"}
/* clang-format on */

static int answer(struct run_job *job) {
  int code = run_open(job);
  if (code != NK_OK) return code;
  if (job->options.paired) return run_paired(job);
  return job->options.contexts != NULL ? run_states(job) : run_answers(job);
}

int main(int argc, char **argv) {
  struct run_job job = {
      .options = {.reference = RUN_NOT_GIVEN, .offsets = RUN_NOT_GIVEN, .top = RUN_NOT_GIVEN}};
  struct run_options *o = &job.options;
  const struct cli_option options[] = {
      {'p', "prompt", CLI_OPTION_LIST, &o->texts, "TEXT", "a prompt with slots {}; repeatable"},
      {0, "prompts", CLI_OPTION_LIST, &o->prompts, "FILE", "a table of prompts (prompt, text)"},
      CLI_CHAT_OPTION(&o->chat),
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
       "text of the slot's token below the layer (mean)"},
      {0, "norms", CLI_OPTION_STRING, &o->norms, "L[,L..]", "print residual norms at these layers"},
      {0, "reference", CLI_OPTION_SIZE, &o->reference, "N",
       "compare with the mean of N ordinary tokens (256)"},
      {0, "region", CLI_OPTION_STRING, &o->region, "REGION",
       "draw the reference from the tokens of a region"},
      {0, "exclude", CLI_OPTION_LIST, &o->exclude, "TABLE",
       "exclude TABLE's verified tokens from the reference"},
      {0, "unverified", CLI_OPTION_FLAG, &o->unverified, NULL,
       "allow reference tokens that the model cannot repeat"},
      {0, "generate", CLI_OPTION_SIZE, &o->generate, "N", "generate N tokens greedily"},
      {0, "flag", CLI_OPTION_STRING, &o->flag, "FILE",
       "flag generations that match these regular expressions"},
      {0, "flag-summary", CLI_OPTION_FLAG, &o->flag_summary, NULL,
       "print the share of flagged generations instead"},
      {0, "capture", CLI_OPTION_STRING, &o->capture, "L[:POS]",
       "output streams at these layers as a vector set"},
      {0, "lens", CLI_OPTION_STRING, &o->lens, "L[,L..]",
       "print tokens read out of these layers (logit lens)"},
      {0, "lens-with", CLI_OPTION_LIST, &o->lens_with, "FILE",
       "multiply the stream by this matrix first"},
      {0, "top", CLI_OPTION_SIZE, &o->top, "N", "with --lens: print the first N tokens (1)"},
      CONTEXT_OPTIONS(o),
      {0, "skip-bad", CLI_OPTION_FLAG, &o->skip_bad, NULL, "skip rows with a NaN or an infinity"},
      CLI_SHARD_OPTION(&o->shard),
      CLI_ENGINE_OPTIONS(&o->engine),
      CLI_PRECISION_OPTION(&o->engine),
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
  int code = answer(&job);
  run_free(&job);
  return cli_end(&run, code);
}
