/* nk-compare: what differs between a model and a changed copy of it, in one table. */
#include <math.h>

#include "compare/compare.h"

static int compare(struct compare_job *job) {
  static const struct {
    enum compare_part part;
    int (*write)(struct compare_job *job);
  } parts[] = {{COMPARE_ORDINARY, compare_ordinary}, {COMPARE_RANDOM, compare_random},
               {COMPARE_SEARCHED, compare_searched}, {COMPARE_GLITCH, compare_glitch},
               {COMPARE_STREAMS, compare_streams},   {COMPARE_DIVERGENCE, compare_divergence},
               {COMPARE_TEXT, compare_text}};
  int code = compare_open(job);
  struct nk_output *output = code == NK_OK ? cli_output(job->run, NK_OUTPUT_TEXT) : NULL;
  job->table = cli_new_table(job->run, output);
  if (code == NK_OK) code = job->table != NULL ? compare_head(job->table) : nk_error_code();
  for (size_t i = 0; i < sizeof parts / sizeof *parts && code == NK_OK; i++)
    if (compare_has(job, parts[i].part)) code = parts[i].write(job);
  return cli_close(job->table, output, code);
}

/* What behaviour is judged by. */
/* clang-format off */
#define ORDINARY_OPTIONS(o)                                                                        \
  {0, "ordinary", CLI_OPTION_SIZE, &(o)->n_ordinary, "N", "compare N ordinary tokens (256)"},      \
  {0, "reference", CLI_OPTION_SIZE, &(o)->n_reference, "N",                                        \
   "judge behaviour by N ordinary tokens (256)"},                                                  \
  {0, "own-reference", CLI_OPTION_FLAG, &(o)->own_reference, NULL,                                 \
   "judge AFTER by its own ordinary tokens, not by BEFORE's"},                                     \
  {0, "unverified", CLI_OPTION_FLAG, &(o)->unverified, NULL,                                       \
   "allow ordinary tokens that BEFORE cannot repeat"},                                             \
  {0, "level", CLI_OPTION_NUMBER, &(o)->level, "A",                                                \
   "behaviour is out of distribution where p_value <= A (0.05)"}
/* clang-format on */

int main(int argc, char **argv) {
  struct cli_run run;
  struct compare_job job = {.run = &run,
                            .options = {.n = COMPARE_NOT_GIVEN,
                                        .n_searched = COMPARE_NOT_GIVEN,
                                        .n_restarts = COMPARE_NOT_GIVEN,
                                        .n_steps = COMPARE_NOT_GIVEN,
                                        .n_ordinary = COMPARE_NOT_GIVEN,
                                        .n_reference = COMPARE_NOT_GIVEN,
                                        .n_controls = COMPARE_NOT_GIVEN,
                                        .level = (double)NAN}};
  struct compare_options *o = &job.options;
  const struct cli_option options[] = {
      {'p', "prompt", CLI_OPTION_LIST, &o->texts, "TEXT", "a prompt with slots {}; repeatable"},
      {0, "prompts", CLI_OPTION_LIST, &o->prompts, "FILE", "a table of prompts (prompt, text)"},
      CLI_CHAT_OPTION(&o->chat),
      {0, "only", CLI_OPTION_STRING, &o->only, "LIST",
       "compare these parts: ordinary, nokens, searched, glitch, streams, divergence, text"},
      {'n', "number", CLI_OPTION_SIZE, &o->n, "N",
       "random nokens for each direction and distance (32)"},
      {'d', "direction", CLI_OPTION_LIST, &o->directions, "LIST",
       "directions of nk-sample (covariance,isotropic,token)"},
      {0, "quantile", CLI_OPTION_STRING, &o->quantiles, "LIST",
       "quantiles of the tokens' own distances (0.5,0.9,0.99)"},
      {0, "times", CLI_OPTION_STRING, &o->times, "LIST",
       "multiples of the tokens' largest distance (1.5,2,4)"},
      {0, "searched", CLI_OPTION_SIZE, &o->n_searched, "N",
       "search N nokens at each distance, against each model (8)"},
      {0, "restarts", CLI_OPTION_SIZE, &o->n_restarts, "N", "starts of each of them (2)"},
      {0, "steps", CLI_OPTION_SIZE, &o->n_steps, "N", "gradients of each start (50)"},
      {0, "region", CLI_OPTION_STRING, &o->region, "REGION",
       "the region nokens are drawn from (BEFORE's embedding)"},
      {0, "nokens", CLI_OPTION_STRING, &o->nokens, "SET", "also compare these nokens"},
      {0, "at", CLI_OPTION_STRING, &o->at, "L[,L..]", "the layers of streams (each from 1 on)"},
      {0, "glitch", CLI_OPTION_STRING, &o->glitch, "TABLE",
       "glitch tokens: TABLE's verified ones (found in BEFORE)"},
      {0, "controls", CLI_OPTION_SIZE, &o->n_controls, "N",
       "verify N ordinary tokens like the glitch tokens (200)"},
      {0, "text", CLI_OPTION_STRING, &o->text, "FILE", "a text whose lines give losses"},
      ORDINARY_OPTIONS(o),
  };
  const struct cli_tool tool = {
      .name = "nk-compare",
      .summary = "what differs between a model and a changed copy of it",
      .usage = "[OPTION]... BEFORE AFTER",
      .options = options,
      .n_options = sizeof options / sizeof options[0],
      .example = "nk-compare -p 'The {} of' --only ordinary,nokens original tuned",
  };
  cli_begin(&run, &tool, argc, argv, 2, 2);
  int code = compare(&job);
  compare_free(&job);
  return cli_end(&run, code);
}
