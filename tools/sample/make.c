/* The ways to make nokens: the options as the library takes them. */
#include "sample/sample.h"

#include <string.h>

#include "cli/probes.h"

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

static int read_distances(const struct sample_options *o, struct lists *lists,
                          struct nk_sample_options *out) {
  if (o->distances == NULL && o->quantiles == NULL && o->times == NULL)
    return nk_fail(NK_EUSAGE, "no distances: use --distance%s",
                   o->metric < SAMPLE_RADIUS ? ", --quantile or --times" : "");
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
static int read_gradient(const struct cli_run *run, struct sample_options *o,
                         const struct nk_region *region, struct nk_sample_options *sample,
                         struct nk_model **model) {
  bool wanted = uses(sample, NK_DIRECTION_GRADIENT) || uses(sample, NK_DIRECTION_NATURAL);
  if (!wanted && (o->model != NULL || cli_objective_given(&o->objective)))
    return nk_fail(NK_EUSAGE, "--model and its prompts are of -d gradient and natural");
  if (!wanted) return NK_OK;
  if (o->model == NULL) return nk_fail(NK_EUSAGE, "-d gradient and natural need --model MODEL");
  o->objective.placed[0] = (struct cli_placed){cli_operand_name(run, 0), region->tokens};
  o->objective.placed[1] = (struct cli_placed){o->from_set, sample->set};
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

static size_t number(const struct sample_options *o) {
  return o->n == SAMPLE_NOT_GIVEN ? 1 : o->n;
}

/* The set, or for n = 0 none of its rows: without nokens it still has the columns of one. */
static struct nk_vectors *or_none(struct nk_vectors *set, size_t n) {
  if (set == NULL || n > 0) return set;
  struct nk_vectors *empty = nk_vectors_select_ids(set, NULL, 0);
  nk_vectors_free(set);
  return empty;
}

/* Reads the sets whose rows are origins and directions: sets [2], to be freed in either case. */
static int read_sets(const struct sample_options *o, struct nk_sample_options *sample,
                     struct nk_vectors **sets) {
  if (o->from_set != NULL && (sets[0] = nk_vectors_read(o->from_set)) == NULL)
    return nk_error_code();
  if (o->along != NULL && (sets[1] = nk_vectors_read(o->along)) == NULL) return nk_error_code();
  sample->set = sets[0];
  sample->along = sets[1];
  size_t n_origins = sets[0] == NULL ? 1 : sets[0]->n;
  bool each = sets[1] != NULL && n_origins > 0 && sets[1]->n % n_origins == 0;
  if (o->n == SAMPLE_NOT_GIVEN && each) sample->n = sets[1]->n / n_origins;
  return NK_OK;
}

static struct nk_vectors *make_on_rays(const struct cli_run *run, struct sample_options *o,
                                       struct nk_region *region) {
  static const struct {
    enum nk_measure measure;
    enum nk_metric metric;
  } METRICS[] = {{NK_MEASURE_METRIC, NK_METRIC_L2},          {NK_MEASURE_METRIC, NK_METRIC_COSINE},
                 {NK_MEASURE_METRIC, NK_METRIC_MAHALANOBIS}, {NK_MEASURE_METRIC, NK_METRIC_KNN},
                 {NK_MEASURE_RADIUS, NK_METRIC_DEFAULT},     {NK_MEASURE_ANGLE, NK_METRIC_DEFAULT}};
  int metric = o->metric != SAMPLE_NOT_CHOSEN ? o->metric : SAMPLE_MAHALANOBIS;
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

static struct nk_vectors *make_gaussian(const struct cli_run *run, const struct sample_options *o,
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
static struct nk_vectors *make_paths(const struct sample_options *o, struct nk_region *region) {
  struct nk_sample_options sample = {.kind = o->path == 0 ? NK_SAMPLE_LERP : NK_SAMPLE_SLERP,
                                     .steps = o->steps == SAMPLE_NOT_GIVEN ? 0 : o->steps};
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

static struct nk_vectors *make_matches(const struct cli_run *run, const struct sample_options *o,
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

struct nk_vectors *sample_make(const struct cli_run *run, struct sample_options *o,
                               struct nk_region *region) {
  if (o->path >= 0) return make_paths(o, region);
  if (o->gaussian != SAMPLE_NOT_GIVEN) return make_gaussian(run, o, region);
  if (o->match != NULL) return make_matches(run, o, region);
  if (o->resample) return nk_sample_inside(region, number(o), run->common.seed);
  return make_on_rays(run, o, region);
}
