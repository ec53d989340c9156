/* nk-sample: nokens at controlled distances from a region. */
#include <stdint.h>
#include <string.h>

#include "cli/objective.h"
#include "cli/probes.h"
#include "cli/tool.h"

static const size_t NOT_GIVEN = SIZE_MAX;

/* Places among the choices of --metric, and none of them. */
enum { NOT_CHOSEN = -1, MAHALANOBIS = 2, RADIUS = 4, ANGLE = 5 };

struct options {
  const char *distances, *quantiles, *times, *from, *from_set, *match, *vectors, *pairs, *model,
      *along;
  struct cli_objective objective; /* of gradients */
  struct cli_strings directions;
  size_t n, gaussian, steps; /* NOT_GIVEN without the option */
  int metric;
  int unreached, angle_at;
  int path; /* -1 without the option */
  bool resample, keep_norm, with_origin;
};

/* ---- Options as the library takes them ---- */

/* What struct nk_sample_options points to. */
struct lists {
  double *distances, *quantiles, *times;
  struct nk_direction *directions;
};

static void free_lists(struct lists *lists) {
  nk_free(lists->distances);
  nk_free(lists->quantiles);
  nk_free(lists->times);
  nk_free(lists->directions);
}

static int read_numbers(const char *option, const char *text, double **out, size_t *n) {
  return text != NULL ? cli_parse_numbers(option, text, out, n) : NK_OK;
}

static int read_distances(const struct options *o, struct lists *lists,
                          struct nk_sample_options *out) {
  if (o->distances == NULL && o->quantiles == NULL && o->times == NULL)
    return nk_fail(NK_EUSAGE, "no distances: use --distance%s",
                   o->metric < RADIUS ? ", --quantile or --times" : "");
  int code = read_numbers("--distance", o->distances, &lists->distances, &out->n_distances);
  if (code == NK_OK)
    code = read_numbers("--quantile", o->quantiles, &lists->quantiles, &out->n_quantiles);
  if (code == NK_OK) code = read_numbers("--times", o->times, &lists->times, &out->n_times);
  out->distances = lists->distances;
  out->quantiles = lists->quantiles;
  out->times = lists->times;
  return code;
}

static int read_origin(const char *from, struct nk_sample_options *out) {
  static const char token[] = "token:";
  int64_t *ids = NULL;
  size_t n = 0;
  out->origin = out->set != NULL ? NK_ORIGIN_SET : NK_ORIGIN_CENTROID;
  if (from == NULL || strcmp(from, "centroid") == 0) return NK_OK;
  out->origin = NK_ORIGIN_TOKENS;
  if (strcmp(from, "tokens") == 0) return NK_OK;
  out->origin = NK_ORIGIN_TOKEN;
  if (strncmp(from, token, strlen(token)) != 0)
    return nk_fail(NK_EUSAGE, "--from %s: unknown origin: centroid, token:ID or tokens", from);
  int code = cli_parse_ids("--from token:", from + strlen(token), &ids, &n);
  if (code == NK_OK && n != 1)
    code = nk_fail(NK_EUSAGE, "--from %s: one token's id is needed", from);
  if (code == NK_OK) out->origin_id = ids[0];
  nk_free(ids);
  return code;
}

/* Whether a direction, or a part of one, is of that kind. */
static bool uses(const struct nk_sample_options *sample, enum nk_direction_kind kind) {
  for (size_t i = 0; i < sample->n_directions; i++) {
    const struct nk_direction *d = &sample->directions[i];
    if (d->kind == kind || d->parts[0].kind == kind || d->parts[1].kind == kind) return true;
  }
  return false;
}

/* Opens the model where a direction is a gradient. *model is to be freed in either case. */
static int read_gradient(const struct cli_run *run, struct options *o,
                         const struct nk_region *region, struct nk_sample_options *sample,
                         struct nk_model **model) {
  bool wanted = uses(sample, NK_DIRECTION_GRADIENT) || uses(sample, NK_DIRECTION_NATURAL);
  if (!wanted && (o->model != NULL || cli_objective_given(&o->objective)))
    return nk_fail(NK_EUSAGE, "--model and its prompts are of -d gradient and natural");
  if (!wanted) return NK_OK;
  if (o->model == NULL) return nk_fail(NK_EUSAGE, "-d gradient and natural need --model MODEL");
  *model = nk_model_open(o->model);
  int code = cli_objective_open(run, *model, &o->objective);
  if (code != NK_OK) return code;
  code = cli_check_dim(cli_operand_name(run, 0), region->dim,
                       nk_forward_shape(nk_model_forward(*model)));
  sample->gradient = cli_objective_gradient;
  sample->user = &o->objective;
  return code;
}

/* ---- The ways to make nokens ---- */

static size_t number(const struct options *o) {
  return o->n == NOT_GIVEN ? 1 : o->n;
}

/* The set, or for n = 0 none of its rows: without nokens it still has the columns of one. */
static struct nk_vectors *or_none(struct nk_vectors *set, size_t n) {
  if (set == NULL || n > 0) return set;
  struct nk_vectors *empty = nk_vectors_select_ids(set, NULL, 0);
  nk_vectors_free(set);
  return empty;
}

/* Reads the sets whose rows are origins and directions: sets [2], to be freed in either case. */
static int read_sets(const struct options *o, struct nk_sample_options *sample,
                     struct nk_vectors **sets) {
  if (o->from_set != NULL && (sets[0] = nk_vectors_read(o->from_set)) == NULL)
    return nk_error_code();
  if (o->along != NULL && (sets[1] = nk_vectors_read(o->along)) == NULL) return nk_error_code();
  sample->set = sets[0];
  sample->along = sets[1];
  size_t n_origins = sets[0] == NULL ? 1 : sets[0]->n;
  bool each = sets[1] != NULL && n_origins > 0 && sets[1]->n % n_origins == 0;
  if (o->n == NOT_GIVEN && each) sample->n = sets[1]->n / n_origins;
  return NK_OK;
}

static struct nk_vectors *make_on_rays(const struct cli_run *run, struct options *o,
                                       struct nk_region *region) {
  static const struct {
    enum nk_measure measure;
    enum nk_metric metric;
  } METRICS[] = {{NK_MEASURE_METRIC, NK_METRIC_L2},          {NK_MEASURE_METRIC, NK_METRIC_COSINE},
                 {NK_MEASURE_METRIC, NK_METRIC_MAHALANOBIS}, {NK_MEASURE_METRIC, NK_METRIC_KNN},
                 {NK_MEASURE_RADIUS, NK_METRIC_DEFAULT},     {NK_MEASURE_ANGLE, NK_METRIC_DEFAULT}};
  int metric = o->metric != NOT_CHOSEN ? o->metric : MAHALANOBIS;
  struct nk_sample_options sample = {.n = number(o),
                                     .measure = METRICS[metric].measure,
                                     .metric = METRICS[metric].metric,
                                     .about_zero = o->angle_at == 1,
                                     .keep_norm = o->keep_norm,
                                     .with_origin = o->with_origin,
                                     .seed = run->common.seed,
                                     .unreached = (enum nk_unreached)o->unreached};
  struct lists lists = {NULL, NULL, NULL, NULL};
  struct nk_vectors *sets[2] = {NULL, NULL}, *set = NULL;
  struct nk_model *model = NULL;
  int code = read_sets(o, &sample, sets);
  if (code == NK_OK) code = read_origin(o->from, &sample);
  if (code == NK_OK)
    code = cli_read_directions(&o->directions, &lists.directions, &sample.n_directions);
  sample.directions = lists.directions;
  if (code == NK_OK) code = read_distances(o, &lists, &sample);
  if (code == NK_OK && uses(&sample, NK_DIRECTION_ALONG) != (o->along != NULL))
    code = nk_fail(NK_EUSAGE, "-d along and --along SET need one another");
  if (code == NK_OK) code = read_gradient(run, o, region, &sample, &model);
  if (code == NK_OK) set = or_none(nk_sample(region, &sample), number(o));
  cli_objective_free(&o->objective);
  nk_model_free(model);
  free_lists(&lists);
  nk_vectors_free(sets[0]);
  nk_vectors_free(sets[1]);
  return set;
}

static struct nk_vectors *make_gaussian(const struct cli_run *run, const struct options *o,
                                        struct nk_region *region) {
  const struct nk_sample_options sample = {
      .kind = NK_SAMPLE_GAUSSIAN, .n = o->gaussian, .seed = run->common.seed};
  return or_none(nk_sample(region, &sample), o->gaussian);
}

/* *pairs [n, 2] of the table's columns row_a and row_b, or without them a and b. */
static int read_pairs(const struct cli_frame *frame, struct nk_sample_options *out,
                      int64_t **pairs) {
  int64_t *a = NULL, *b = NULL;
  size_t n = out->n_pairs = cli_frame_n_rows(frame);
  out->pairs_are_rows = cli_frame_find(frame, "row_a") >= 0 && cli_frame_find(frame, "row_b") >= 0;
  int code = cli_frame_integers(frame, out->pairs_are_rows ? "row_a" : "a", &a);
  if (code == NK_OK) code = cli_frame_integers(frame, out->pairs_are_rows ? "row_b" : "b", &b);
  if (code == NK_OK && (*pairs = nk_alloc(n, 2 * sizeof **pairs)) == NULL) code = NK_EMEMORY;
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    (*pairs)[2 * i] = a[i];
    (*pairs)[2 * i + 1] = b[i];
  }
  out->pairs = *pairs;
  nk_free(a);
  nk_free(b);
  return code;
}

/* region: NULL for none. */
static struct nk_vectors *make_paths(const struct options *o, struct nk_region *region) {
  struct nk_sample_options sample = {.kind = o->path == 0 ? NK_SAMPLE_LERP : NK_SAMPLE_SLERP,
                                     .steps = o->steps == NOT_GIVEN ? 0 : o->steps};
  struct cli_frame *frame = cli_frame_read(o->pairs);
  struct nk_vectors *all = frame != NULL ? nk_vectors_read(o->vectors) : NULL, *set = NULL;
  int64_t *pairs = NULL;
  sample.set = all;
  if (all != NULL && read_pairs(frame, &sample, &pairs) == NK_OK) set = nk_sample(region, &sample);
  nk_vectors_free(all);
  cli_frame_free(frame);
  nk_free(pairs);
  return set;
}

static struct nk_vectors *make_matches(const struct cli_run *run, const struct options *o,
                                       struct nk_region *region) {
  int64_t *ids = NULL;
  struct nk_vectors *wanted = NULL, *set = NULL;
  struct cli_frame *frame = cli_frame_read(o->match);
  struct nk_vectors *all = frame != NULL ? nk_vectors_read(o->vectors) : NULL;
  if (all != NULL && cli_frame_integers(frame, "id", &ids) == NK_OK)
    wanted = nk_vectors_select_ids(all, ids, cli_frame_n_rows(frame));
  if (wanted != NULL) set = nk_sample_match(region, wanted, number(o), run->common.seed);
  nk_vectors_free(wanted);
  nk_vectors_free(all);
  cli_frame_free(frame);
  nk_free(ids);
  return set;
}

static struct nk_vectors *make(const struct cli_run *run, struct options *o,
                               struct nk_region *region) {
  if (o->path >= 0) return make_paths(o, region);
  if (o->gaussian != NOT_GIVEN) return make_gaussian(run, o, region);
  if (o->match != NULL) return make_matches(run, o, region);
  if (o->resample) return nk_sample_inside(region, number(o), run->common.seed);
  return make_on_rays(run, o, region);
}

/* ---- Usage ---- */

static bool is_stdin(const char *path) {
  return path == NULL || strcmp(path, "-") == 0;
}

/* Options of nokens on rays alone. */
static int check_rays(const struct options *o) {
  if (o->from != NULL && o->from_set != NULL)
    return nk_fail(NK_EUSAGE, "--from and --from-set exclude one another");
  if ((o->metric == RADIUS || o->metric == ANGLE) && (o->quantiles != NULL || o->times != NULL))
    return nk_fail(NK_EUSAGE,
                   "--metric %s takes --distance: --quantile and --times are of the "
                   "tokens' distances by the other metrics",
                   o->metric == RADIUS ? "radius" : "angle");
  if (o->angle_at != 0 && o->metric != ANGLE)
    return nk_fail(NK_EUSAGE, "--angle-at is of --metric angle");
  return NK_OK;
}

static int check_paths(const struct cli_run *run, const struct options *o) {
  if (o->path < 0 && (o->pairs != NULL || o->steps != NOT_GIVEN))
    return nk_fail(NK_EUSAGE, "--pairs and --steps need --path");
  if (o->path >= 0 && o->pairs == NULL)
    return nk_fail(NK_EUSAGE, "--path needs --pairs TABLE, the ids of the rows to join");
  if (o->path >= 0 && o->steps == 0) return nk_fail(NK_EUSAGE, "--steps: at least 1 step");
  if (o->path >= 0 && is_stdin(o->vectors) &&
      (strcmp(o->pairs, "-") == 0 || (run->n_operands > 0 && is_stdin(run->operands[0]))))
    return nk_fail(NK_EUSAGE, "two inputs are standard input: use --vectors SET");
  return NK_OK;
}

static int check_usage(const struct cli_run *run, const struct options *o) {
  bool rays = o->distances != NULL || o->quantiles != NULL || o->times != NULL ||
              o->directions.n > 0 || o->from != NULL || o->from_set != NULL || o->keep_norm ||
              o->with_origin || o->angle_at != 0 || o->metric != NOT_CHOSEN ||
              o->unreached != NK_UNREACHED_ERROR || o->model != NULL || o->along != NULL ||
              cli_objective_given(&o->objective);
  bool gaussian = o->gaussian != NOT_GIVEN;
  if (o->match != NULL && o->vectors == NULL)
    return nk_fail(NK_EUSAGE, "--match needs --vectors SET, the vectors of its tokens");
  if (o->vectors != NULL && o->match == NULL && o->path < 0)
    return nk_fail(NK_EUSAGE, "--vectors needs --match or --path");
  if (rays + (o->match != NULL) + o->resample + gaussian + (o->path >= 0) > 1)
    return nk_fail(NK_EUSAGE,
                   "metrics, distances and directions, --match, --resample, --gaussian and "
                   "--path exclude one another");
  if (o->n != NOT_GIVEN && (gaussian || o->path >= 0))
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

static int sample(const struct cli_run *run, struct options *o) {
  struct nk_region *region = NULL;
  struct nk_vectors *set = NULL;
  int code = check_usage(run, o);
  if (code != NK_OK) return code;
  bool none = o->path >= 0 && run->n_operands == 0; /* paths need no region */
  if (!none) region = nk_region_read(cli_operand(run, 0));
  if (region != NULL || none) set = make(run, o, region);
  code = cli_write_set(run, set);
  nk_vectors_free(set);
  nk_region_free(region);
  return code;
}

int main(int argc, char **argv) {
  struct options o = {
      .n = NOT_GIVEN, .gaussian = NOT_GIVEN, .steps = NOT_GIVEN, .metric = NOT_CHOSEN, .path = -1};
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
