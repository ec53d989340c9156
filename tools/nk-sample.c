/* nk-sample: nokens at controlled distances from a region. */
#include <string.h>

#include "sample/sample.h"

/* ---- Usage ---- */

static bool is_stdin(const char *path) {
  return path == NULL || strcmp(path, "-") == 0;
}

/* Options of nokens on rays alone. */
static int check_rays(const struct sample_options *o) {
  if (o->from != NULL && o->from_set != NULL)
    return nk_fail(NK_EUSAGE, "--from and --from-set exclude one another");
  if ((o->metric == SAMPLE_RADIUS || o->metric == SAMPLE_ANGLE) &&
      (o->quantiles != NULL || o->times != NULL))
    return nk_fail(NK_EUSAGE,
                   "--metric %s takes --distance: --quantile and --times are of the "
                   "tokens' distances by the other metrics",
                   o->metric == SAMPLE_RADIUS ? "radius" : "angle");
  if (o->angle_at != 0 && o->metric != SAMPLE_ANGLE)
    return nk_fail(NK_EUSAGE, "--angle-at is of --metric angle");
  return NK_OK;
}

static int check_paths(const struct cli_run *run, const struct sample_options *o) {
  if (o->path < 0 && (o->pairs != NULL || o->steps != SAMPLE_NOT_GIVEN))
    return nk_fail(NK_EUSAGE, "--pairs and --steps need --path");
  if (o->path >= 0 && o->pairs == NULL)
    return nk_fail(NK_EUSAGE, "--path needs --pairs TABLE, the ids of the rows to join");
  if (o->path >= 0 && o->steps == 0) return nk_fail(NK_EUSAGE, "--steps: at least 1 step");
  if (o->path >= 0 && is_stdin(o->vectors) &&
      (strcmp(o->pairs, "-") == 0 || (run->n_operands > 0 && is_stdin(run->operands[0]))))
    return nk_fail(NK_EUSAGE, "two inputs are standard input: use --vectors SET");
  return NK_OK;
}

static int check_usage(const struct cli_run *run, const struct sample_options *o) {
  bool rays = o->distances != NULL || o->quantiles != NULL || o->times != NULL ||
              o->directions.n > 0 || o->from != NULL || o->from_set != NULL || o->keep_norm ||
              o->with_origin || o->angle_at != 0 || o->metric != SAMPLE_NOT_CHOSEN ||
              o->unreached != NK_UNREACHED_ERROR || o->model != NULL || o->along != NULL ||
              cli_objective_given(&o->objective);
  bool gaussian = o->gaussian != SAMPLE_NOT_GIVEN;
  if (o->match != NULL && o->vectors == NULL)
    return nk_fail(NK_EUSAGE, "--match needs --vectors SET, the vectors of its tokens");
  if (o->vectors != NULL && o->match == NULL && o->path < 0)
    return nk_fail(NK_EUSAGE, "--vectors needs --match or --path");
  if (rays + (o->match != NULL) + o->resample + gaussian + (o->path >= 0) > 1)
    return nk_fail(NK_EUSAGE,
                   "metrics, distances and directions, --match, --resample, --gaussian and "
                   "--path exclude one another");
  if (o->n != SAMPLE_NOT_GIVEN && (gaussian || o->path >= 0))
    return nk_fail(NK_EUSAGE, "-n is not used with --gaussian N and --path");
  bool from_stdin = o->from_set != NULL && is_stdin(o->from_set);
  bool along_stdin = o->along != NULL && is_stdin(o->along);
  if (from_stdin + along_stdin + is_stdin(cli_operand(run, 0)) > 1 && (from_stdin || along_stdin))
    return nk_fail(NK_EUSAGE, "%s and %s are both standard input",
                   from_stdin ? "--from-set" : "--along",
                   from_stdin && along_stdin ? "--along" : "REGION");
  int code = check_rays(o);
  return code == NK_OK ? check_paths(run, o) : code;
}

static int sample(const struct cli_run *run, struct sample_options *o) {
  struct nk_region *region = NULL;
  struct nk_vectors *set = NULL;
  int code = check_usage(run, o);
  if (code != NK_OK) return code;
  bool none = o->path >= 0 && run->n_operands == 0; /* paths need no region */
  if (!none) region = nk_region_read(cli_operand(run, 0));
  if (region != NULL || none) set = sample_make(run, o, region);
  code = cli_write_set(run, set);
  nk_vectors_free(set);
  nk_region_free(region);
  return code;
}

int main(int argc, char **argv) {
  struct sample_options o = {.n = SAMPLE_NOT_GIVEN,
                             .gaussian = SAMPLE_NOT_GIVEN,
                             .steps = SAMPLE_NOT_GIVEN,
                             .metric = SAMPLE_NOT_CHOSEN,
                             .path = -1};
  const struct cli_option options[] = {
      {'n', "number", CLI_OPTION_SIZE, &o.n, "N",
       "nokens for each direction, distance and origin (1)"},
      {'m', "metric", CLI_OPTION_CHOICE, &o.metric, "l2|cosine|mahalanobis|knn|radius|angle",
       "what the distances are (mahalanobis)"},
      {0, "distance", CLI_OPTION_STRING, &o.distances, "LIST", "distances: 3.5,4"},
      {0, "quantile", CLI_OPTION_STRING, &o.quantiles, "LIST",
       "quantiles of the tokens' own distances"},
      {0, "times", CLI_OPTION_STRING, &o.times, "LIST",
       "multiples of the tokens' largest distance"},
      {'d', "direction", CLI_OPTION_LIST, &o.directions, "LIST",
       "isotropic (default), covariance, pc:A-B, token, pair, difference, towards, "
       "towards:ROW, gradient, natural, along, mixture:A+B"},
      {0, "along", CLI_OPTION_STRING, &o.along, "SET", "rows that are directions of -d along"},
      {0, "model", CLI_OPTION_STRING, &o.model, "MODEL", "whose answers a gradient changes"},
      CLI_OBJECTIVE_OPTIONS(&o.objective),
      {0, "from", CLI_OPTION_STRING, &o.from, "ORIGIN", "centroid (default), token:ID or tokens"},
      {0, "from-set", CLI_OPTION_STRING, &o.from_set, "SET", "each row of a set is an origin"},
      {0, "angle-at", CLI_OPTION_CHOICE, &o.angle_at, "centroid|zero",
       "vertex of the angles of --metric angle (centroid)"},
      {0, "keep-norm", CLI_OPTION_FLAG, &o.keep_norm, NULL,
       "scale nokens to the length of their origin"},
      {0, "with-origin", CLI_OPTION_FLAG, &o.with_origin, NULL,
       "begin each ray with its origin, at radius 0"},
      {0, "unreached", CLI_OPTION_CHOICE, &o.unreached, "error|skip|redraw",
       "what to do with rays that never reach a distance"},
      {0, "path", CLI_OPTION_CHOICE, &o.path, "lerp|slerp",
       "paths between rows of a set, straight or around 0"},
      {0, "pairs", CLI_OPTION_STRING, &o.pairs, "TABLE",
       "ids a and b of the rows to join, or row_a, row_b"},
      {0, "steps", CLI_OPTION_SIZE, &o.steps, "N", "steps of a path (default: 10)"},
      {0, "gaussian", CLI_OPTION_SIZE, &o.gaussian, "N",
       "N draws from the region's normal distribution"},
      {0, "match", CLI_OPTION_STRING, &o.match, "TABLE",
       "N nokens at the norm and distances of each token"},
      {0, "vectors", CLI_OPTION_STRING, &o.vectors, "SET",
       "vectors of the tokens of --match, the rows of --path"},
      {0, "resample", CLI_OPTION_FLAG, &o.resample, NULL,
       "N nokens from inside the region, as controls"},
  };
  const struct cli_tool tool = {
      .name = "nk-sample",
      .summary = "nokens at controlled distances from a region",
      .usage = "[OPTION]... [REGION]",
      .options = options,
      .n_options = sizeof options / sizeof options[0],
      .example = "nk-sample in.safetensors --quantile 0.9 --times 2 -o n.safetensors",
  };
  struct cli_run run;
  cli_begin(&run, &tool, argc, argv, 0, 1);
  int code = sample(&run, &o);
  cli_strings_free(&o.directions);
  return cli_end(&run, code);
}
