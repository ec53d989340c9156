/* nk-tune: a fine-tuned copy of a model in which nokens do what ordinary tokens do. */
#include "cli/chat.h"
#include "tune/tune.h"

static const struct tune_options none_given = {.at = TUNE_NOT_GIVEN,
                                               .steps = TUNE_NOT_GIVEN,
                                               .batch = TUNE_NOT_GIVEN,
                                               .evaluate = TUNE_NOT_GIVEN,
                                               .checkpoint = TUNE_NOT_GIVEN,
                                               .search = TUNE_NOT_GIVEN,
                                               .metric = TUNE_NO_METRIC,
                                               .rate = -1,
                                               .weight = -1,
                                               .hold_out = -1};

int main(int argc, char **argv) {
  struct cli_run run;
  struct tune_job job = {.run = &run, .options = none_given};
  struct tune_options *o = &job.options;
  const struct cli_option options[] = {
      {0, "nokens", CLI_OPTION_STRING, &o->nokens, "SET", "the vectors to train on (needed)"},
      {'p', "prompt", CLI_OPTION_LIST, &o->texts, "TEXT", "a prompt with slots {}; repeatable"},
      {0, "prompts", CLI_OPTION_LIST, &o->prompts, "FILE", "a table of prompts (prompt, text)"},
      CLI_CHAT_OPTION(&o->chat),
      {0, "text", CLI_OPTION_STRING, &o->text, "FILE",
       "lines of text whose distributions shall not change"},
      {0, "target", CLI_OPTION_STRING, &o->target, "TOKEN",
       "what nokens become: the token of this text (mean of ordinary ones)"},
      {0, "train", CLI_OPTION_STRING, &o->train, "PART",
       "half, all, embedding, norms or layers:A[-B] (half)"},
      {0, "at", CLI_OPTION_SIZE, &o->at, "L", "put nokens in at this layer (0)"},
      {0, "mode", CLI_OPTION_CHOICE, &o->mode, "replace|add",
       "replace the stream at the layer, or add to it"},
      {0, "search-every", CLI_OPTION_SIZE, &o->search, "N",
       "search nokens anew each N steps, at their distances", .most = 100000000},
      {0, "region", CLI_OPTION_STRING, &o->region, "REGION",
       "with --search-every: what distances are from"},
      {'m', "metric", CLI_OPTION_CHOICE, &o->metric, "l2|cosine|mahalanobis|knn",
       "with --search-every: of the distances (mahalanobis)"},
      {0, "steps", CLI_OPTION_SIZE, &o->steps, "N", "take N steps (400)", .most = 100000000},
      {0, "rate", CLI_OPTION_NUMBER, &o->rate, "R", "the highest learning rate (0.001)"},
      {0, "weight", CLI_OPTION_NUMBER, &o->weight, "W",
       "weight of what shall not change, in the loss (1)"},
      {0, "decay", CLI_OPTION_NUMBER, &o->decay, "D", "decay of the weights (0)"},
      {0, "batch", CLI_OPTION_SIZE, &o->batch, "N", "nokens in a step (64)", .most = 65536},
      {0, "hold-out", CLI_OPTION_NUMBER, &o->hold_out, "SHARE",
       "share of rays, prompts and texts never trained on (0.2)"},
      {0, "evaluate", CLI_OPTION_SIZE, &o->evaluate, "N",
       "evaluate each N steps (a twentieth of them)"},
      {0, "checkpoint", CLI_OPTION_SIZE, &o->checkpoint, "N",
       "write a checkpoint each N steps (each minute)", .most = 100000000},
      {0, "log", CLI_OPTION_STRING, &o->log, "TABLE",
       "write the table of losses here (standard output)"},
  };
  const struct cli_tool tool = {
      .name = "nk-tune",
      .summary = "a fine-tuned copy of a model in which nokens do nothing unusual",
      .usage = "--nokens SET -p TEXT -o FOLDER [OPTION]... MODEL",
      .options = options,
      .n_options = sizeof options / sizeof options[0],
      .example = "nk-tune data/gpt2-tiny --nokens nokens -p 'The {} of' -o tuned",
      .folder = "write the model into this new or empty folder",
  };
  cli_begin(&run, &tool, argc, argv, 1, 1);
  int code = o->checkpoint != 0 ? tune_read(&job) : nk_fail(NK_EUSAGE, "--checkpoint: at least 1");
  if (code == NK_OK) code = tune_run(&job);
  tune_free(&job);
  return cli_end(&run, code);
}
