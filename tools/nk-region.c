/* nk-region: a region in distribution, fitted to a set of tokens, and scores of other vectors. */
#include <math.h>
#include <string.h>

#include "region/region.h"

enum verb { FIT, SCORE, TEST, INFO, ELLIPSE, N_VERBS };

/* score, test, info and ellipse: a table from a region. */
static int write_table(const struct cli_run *run, const struct region_options *o, enum verb verb) {
  struct nk_output *output = NULL;
  struct cli_table *table = NULL;
  struct nk_region *region = NULL;
  if (verb != SCORE) region = nk_region_read(run->operands[1]); /* score reads its own */
  if (verb == SCORE || region != NULL) output = cli_output(run, NK_OUTPUT_TEXT);
  if (output != NULL) table = cli_new_table(run, output);
  int code = table != NULL ? NK_OK : nk_error_code();
  if (code == NK_OK)
    code = verb == SCORE  ? region_score(run, o, table)
           : verb == TEST ? region_test(run, o, region, table)
           : verb == INFO ? region_info(o, region, table)
                          : region_ellipse(o, region, table);
  code = cli_close(table, output, code);
  nk_region_free(region);
  return code;
}

/* A number of an option that is NaN where it is not given. */
static bool is_share(double value) {
  return isnan(value) || (value > 0 && value < 1);
}

static int work(const struct cli_run *run, const struct region_options *o) {
  static const struct {
    const char *name, *operands;
    size_t least, most;
  } VERBS[N_VERBS] = {[FIT] = {"fit", "[SET]", 1, 2},
                      [SCORE] = {"score", "REGION... [SET]", 2, CLI_MOST},
                      [TEST] = {"test", "REGION [SET]", 2, 3},
                      [INFO] = {"info", "REGION", 2, 2},
                      [ELLIPSE] = {"ellipse", "REGION", 2, 2}};
  const char *verb = run->operands[0];
  const struct cli_guarantees *g = &o->guarantees;
  if (!(o->level > 0 && o->level < 1))
    return nk_fail(NK_EUSAGE, "--level: a number between 0 and 1");
  if (!is_share(g->conditional) || !is_share(g->fdr) || !is_share(g->fdp))
    return nk_fail(NK_EUSAGE, "--conditional, --fdr, --fdp: a number between 0 and 1");
  if (o->n_components == 0) return nk_fail(NK_EUSAGE, "--subspace: at least 1 component");
  if (o->k == 0) return nk_fail(NK_EUSAGE, "-k: at least 1 neighbour");
  if (o->n_permutations == 0) return nk_fail(NK_EUSAGE, "--permutations: at least 1");
  if (o->include_all && o->exclude.n > 0)
    return nk_fail(NK_EUSAGE, "--include-all and --exclude exclude each other");
  if (o->all && o->by != NULL) return nk_fail(NK_EUSAGE, "--all and --by exclude each other");
  for (enum verb v = FIT; v < N_VERBS; v++) {
    if (strcmp(verb, VERBS[v].name) != 0) continue;
    if (run->n_operands < VERBS[v].least || run->n_operands > VERBS[v].most)
      return nk_fail(NK_EUSAGE, "%s: the operands are %s", verb, VERBS[v].operands);
    return v == FIT ? region_fit(run, o) : write_table(run, o, v);
  }
  return nk_fail(NK_EUSAGE, "unknown command '%s': fit, score, test, info or ellipse", verb);
}

static const struct region_options DEFAULTS = {
    .guarantees = {(double)NAN, (double)NAN, (double)NAN},
    .k = 10,
    .n_components = REGION_NOT_GIVEN,
    .points = 181,
    .n_permutations = 999,
    .components = "1,2",
    .level = 0.05,
};

int main(int argc, char **argv) {
  struct region_options o = DEFAULTS;
  const struct cli_option options[] = {
      {0, "kind", CLI_OPTION_CHOICE, &o.kind, "combined|mahalanobis|knn|subspace",
       "fit: score (default: combined)", .commands = "fit"},
      {'k', "neighbours", CLI_OPTION_SIZE, &o.k, "K",
       "knn: distance to the K-th neighbour (default: 10)", .commands = "fit"},
      {0, "metric", CLI_OPTION_CHOICE, &o.metric, "l2|cosine", "knn: distance (default: l2)",
       .commands = "fit"},
      {0, "subspace", CLI_OPTION_SIZE, &o.n_components, "K",
       "subspace: top K components (default: 90% of variance)", .commands = "fit"},
      {0, "exclude", CLI_OPTION_LIST, &o.exclude, "TABLE", "fit: omit TABLE's ids (those verified)",
       .commands = "fit"},
      {0, "include-all", CLI_OPTION_FLAG, &o.include_all, NULL, "fit: include padding rows",
       .commands = "fit"},
      {0, "tokens", CLI_OPTION_CHOICE, &o.tokens, "auto|f32|f16|bf16|none",
       "fit: type in which tokens are kept (default: auto)", .commands = "fit"},
      {0, "by", CLI_OPTION_STRING, &o.by, "COLUMN",
       "fit, score: a region for each value of COLUMN; {} in its file's name is the value",
       .commands = "fit, score"},
      {0, "all", CLI_OPTION_FLAG, &o.all, NULL, "score: a p-value by each of several regions",
       .commands = "score"},
      {0, "level", CLI_OPTION_NUMBER, &o.level, "A", "outside where p_value <= A (default: 0.05)",
       .commands = "score, info, ellipse"},
      {0, "conditional", CLI_OPTION_NUMBER, &o.guarantees.conditional, "DELTA",
       "score, info: p-values that hold given the calibrating half, with probability 1-DELTA",
       .commands = "score, info"},
      {0, "fdr", CLI_OPTION_NUMBER, &o.guarantees.fdr, "Q",
       "score: outside where q_value <= Q, the expected share of ordinary rows",
       .commands = "score"},
      {0, "fdp", CLI_OPTION_NUMBER, &o.guarantees.fdp, "DELTA",
       "score: bound of that share at every cut, with probability 1-DELTA", .commands = "score"},
      {0, "permutations", CLI_OPTION_SIZE, &o.n_permutations, "N",
       "test: random permutations (default: 999)", .commands = "test"},
      {0, "components", CLI_OPTION_STRING, &o.components, "A,B",
       "ellipse: components (default: 1,2)", .commands = "ellipse"},
      {0, "with", CLI_OPTION_STRING, &o.with, "BASIS", "ellipse: components of a basis of nk-pca",
       .commands = "ellipse"},
      {0, "skip-bad", CLI_OPTION_FLAG, &o.skip_bad, NULL,
       "omit rows that hold a NaN or an infinity", .commands = "fit, score, test"},
  };
  const struct cli_tool tool = {
      .name = "nk-region",
      .summary = "region in distribution, and conformal p-values of vectors",
      .usage = "fit [SET] | score REGION... [SET] | test REGION [SET] | ...",
      .options = options,
      .n_options = sizeof options / sizeof options[0],
      .example = "nk-extract data/gpt2-tiny | nk-region fit -o in.safetensors",
  };
  struct cli_run run;
  cli_begin(&run, &tool, argc, argv, 1, CLI_MOST);
  int code = work(&run, &o);
  cli_strings_free(&o.exclude);
  return cli_end(&run, code);
}
