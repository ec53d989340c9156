/* nk-glitch: the tokens of a model that training hardly showed, found from its weights. */
#include <math.h>

#include "glitch/glitch.h"

int main(int argc, char **argv) {
  struct cli_run run;
  struct glitch_tokens tokens = {
      .options = {.fdr = NAN, .threshold = -INFINITY, .how = {.knn_k = 10, .knn_rows = 4096}}};
  struct glitch_options *o = &tokens.options;
  const struct cli_option table_of_options[] = {
      {0, "fdr", CLI_OPTION_NUMBER, &o->fdr, "Q", "only tokens reported at false discovery rate Q"},
      {0, "threshold", CLI_OPTION_NUMBER, &o->threshold, "S",
       "only tokens whose score is at least S"},
      {'n', "top", CLI_OPTION_SIZE, &o->top, "N", "only the N highest scores"},
      {0, "with", CLI_OPTION_STRING, &o->with, "TABLE", "add the columns of TABLE, by id"},
      {0, "truth", CLI_OPTION_STRING, &o->truth, "TABLE",
       "evaluate the ranking against TABLE's counts (AUC, AP, FDR)"},
      {0, "ablate", CLI_OPTION_FLAG, &o->ablate, NULL,
       "with --truth: evaluate also the score without each of its parts"},
      {0, "summary", CLI_OPTION_FLAG, &o->summary, NULL,
       "print what the ranking rests on, and how many tokens are reported"},
      {0, "output-set", CLI_OPTION_STRING, &o->output_set, "SET",
       "instead of MODEL: the output matrix as a vector set"},
      {0, "input-set", CLI_OPTION_STRING, &o->input_set, "SET",
       "and the input matrix, where it is not tied to the output matrix"},
      {0, "unused", CLI_OPTION_STRING, &o->unused, "IDS",
       "with sets: ids of tokens known to be unused, 177,179,186-190"},
      {0, "skip-bad", CLI_OPTION_FLAG, &o->how.skip_bad, NULL,
       "do not rank rows that hold a NaN or an infinity"},
      {0, "knn", CLI_OPTION_SIZE, &o->how.knn_k, "K",
       "neighbours of input_knn (default: 10; 0: no such column)"},
      {0, "knn-rows", CLI_OPTION_SIZE, &o->how.knn_rows, "N",
       "rows drawn to search them in (default: 4096; 0: all)"},
  };
  const struct cli_tool tool = {
      .name = "nk-glitch",
      .summary = "rank a vocabulary by distance from the rows of unused tokens",
      .usage = "[OPTION]... MODEL | --output-set SET --unused IDS",
      .options = table_of_options,
      .n_options = sizeof table_of_options / sizeof *table_of_options,
      .example = "nk-glitch --fdr 0.05 data/gpt2-tiny",
  };
  struct nk_output *output = NULL;
  struct cli_table *table = NULL;
  cli_begin(&run, &tool, argc, argv, 0, 1);
  o->how.seed = run.common.seed;
  int code = glitch_open(&run, &tokens);
  if (code == NK_OK && (output = cli_output(&run, NK_OUTPUT_TEXT)) == NULL) code = nk_error_code();
  if (code == NK_OK && (table = cli_new_table(&run, output)) == NULL) code = nk_error_code();
  if (code == NK_OK)
    code = o->summary         ? glitch_write_summary(&tokens, table)
           : o->truth != NULL ? glitch_write_evaluation(&tokens, table)
                              : glitch_write_ranking(&tokens, table);
  code = cli_close(table, output, code);
  glitch_free(&tokens);
  return cli_end(&run, code);
}
