/* nk-search: the nokens that do the most under a constraint. */
#include <math.h>
#include <string.h>

#include "cli/chat.h"
#include "cli/objective.h"
#include "cli/tool.h"

#define NOT_GIVEN ((double)NAN)
#define SIZE_NOT_GIVEN SIZE_MAX

struct options {
  struct cli_objective objective;
  const char *from_set, *position;
  double p_value, distance, quantile, times, radius; /* of which one is given */
  size_t n, restarts, steps;
  int metric, mode;
  size_t top; /* directions of each origin; not given: a search */
  bool fisher;
};

/* ---- Usage ---- */

static bool is_given(double number) {
  return !isnan(number);
}

static bool is_stdin(const char *path) {
  return path != NULL && strcmp(path, "-") == 0;
}

/* Without a region nokens stay within a radius and get no distances. */
static bool has_region(const struct cli_run *run, const struct options *o) {
  return run->n_operands > 1 || !is_given(o->radius);
}

static bool is_size_given(size_t number) {
  return number != SIZE_NOT_GIVEN;
}

static int check_size(const char *name, size_t number) {
  return number > 0 ? NK_OK : nk_fail(NK_EUSAGE, "%s: at least 1", name);
}

static int check_sizes(const struct options *o) {
  int code = check_size("-n", o->n);
  if (code == NK_OK) code = check_size("--restarts", o->restarts);
  if (code == NK_OK) code = check_size("--steps", o->steps);
  return code == NK_OK ? check_size("--top-directions", o->top) : code;
}

/* Directions are of all logits at each origin, without a search. */
static int check_top(const struct cli_run *run, const struct options *o, int n_constraints) {
  if (n_constraints > 0 || o->metric >= 0 || is_size_given(o->n) || is_size_given(o->restarts) ||
      is_size_given(o->steps))
    return nk_fail(NK_EUSAGE, "--top-directions and options of a search exclude one another");
  if (o->objective.maximize != NULL || o->objective.minimize != NULL)
    return nk_fail(NK_EUSAGE, "--top-directions are of all logits: without --maximize, --minimize");
  if (run->n_operands > 1)
    return nk_fail(NK_EUSAGE, "--top-directions without a region: origins are of --from-set SET");
  return NK_OK;
}

static int check_usage(const struct cli_run *run, const struct options *o) {
  int n = is_given(o->p_value) + is_given(o->distance) + is_given(o->quantile) +
          is_given(o->times) + is_given(o->radius);
  int code = check_sizes(o);
  if (code != NK_OK) return code;
  if (is_size_given(o->top)) return check_top(run, o, n);
  if (o->fisher) return nk_fail(NK_EUSAGE, "--fisher is of --top-directions");
  bool at_distance = is_given(o->distance) || is_given(o->quantile) || is_given(o->times);
  if (n != 1)
    return nk_fail(NK_EUSAGE,
                   "%s: --p-value A, --distance D, --quantile Q, --times X or --radius R",
                   n == 0 ? "a constraint is needed" : "constraints exclude one another");
  if (o->metric >= 0 && !at_distance)
    return nk_fail(NK_EUSAGE, "--metric is of --distance, --quantile and --times");
  if (is_given(o->radius) && o->from_set == NULL)
    return nk_fail(NK_EUSAGE, "--radius needs --from-set SET, the origins");
  if (is_size_given(o->n) && o->from_set != NULL)
    return nk_fail(NK_EUSAGE, "-n and --from-set exclude one another: each row gives one noken");
  if (has_region(run, o) && is_stdin(o->from_set) && is_stdin(cli_operand(run, 1)))
    return nk_fail(NK_EUSAGE, "--from-set and REGION are both standard input");
  return NK_OK;
}

/* ---- The search ---- */

/* *distance = the tokens' own at a quantile, or a multiple of their largest. */
static int read_distance(const struct options *o, struct nk_region *region, enum nk_metric metric,
                         double *distance) {
  *distance = o->distance;
  if (is_given(o->distance)) return NK_OK;
  struct nk_sample_options sample = {.metric = metric, .unreached = NK_UNREACHED_REDRAW};
  if (is_given(o->quantile)) {
    sample.quantiles = &o->quantile;
    sample.n_quantiles = 1;
  } else {
    sample.times = &o->times;
    sample.n_times = 1;
  }
  struct nk_vectors *one = nk_sample(region, &sample);
  if (one == NULL) return nk_error_code();
  *distance = nk_vectors_column(one, "distance")->data.number[0];
  nk_vectors_free(one);
  return NK_OK;
}

static int read_constraint(const struct options *o, struct nk_region *region,
                           struct nk_search_options *search) {
  static const enum nk_metric METRICS[] = {NK_METRIC_L2, NK_METRIC_COSINE, NK_METRIC_MAHALANOBIS,
                                           NK_METRIC_KNN};
  if (is_given(o->p_value) || is_given(o->radius)) {
    search->constraint = is_given(o->p_value) ? NK_WITHIN_REGION : NK_WITHIN_RADIUS;
    search->bound = is_given(o->p_value) ? o->p_value : o->radius;
    return NK_OK;
  }
  search->constraint = NK_AT_DISTANCE;
  search->metric = o->metric < 0 ? NK_METRIC_MAHALANOBIS : METRICS[o->metric];
  return read_distance(o, region, search->metric, &search->bound);
}

static int open_objective(const struct cli_run *run, struct options *o, struct nk_model *model) {
  struct nk_probe_options *probe = &o->objective.probe;
  int code = NK_OK;
  probe->mode = o->mode == 0 ? NK_REPLACE : NK_ADD;
  if (o->position != NULL) {
    probe->at_position = true;
    code = cli_parse_integer("--position", o->position, &probe->position);
  }
  return code == NK_OK ? cli_objective_open(run, model, &o->objective) : code;
}

/* nk_search's default where a number is not given. */
static size_t size_of(size_t number) {
  return is_size_given(number) ? number : 0;
}

static int find(const struct cli_run *run, struct options *o, struct nk_model *model,
                struct nk_region *region, struct nk_vectors **found) {
  struct nk_search_options search = {.n = size_of(o->n),
                                     .n_restarts = size_of(o->restarts),
                                     .n_steps = size_of(o->steps),
                                     .seed = run->common.seed};
  struct nk_vectors *from = o->from_set != NULL ? nk_vectors_read(o->from_set) : NULL;
  int code = o->from_set != NULL && from == NULL ? nk_error_code() : NK_OK;
  if (region != NULL)
    o->objective.placed[0] = (struct cli_placed){cli_operand_name(run, 1), region->tokens};
  o->objective.placed[1] = (struct cli_placed){o->from_set, from};
  if (code == NK_OK) code = open_objective(run, o, model);
  search.objective = o->objective.options;
  search.from = from;
  if (code == NK_OK) code = read_constraint(o, region, &search);
  if (code == NK_OK && (*found = nk_search(region, &search)) == NULL) code = nk_error_code();
  nk_vectors_free(from);
  return code;
}

/* ---- The stiffest directions ---- */

/* At each row of --from-set, or of standard input. */
static int find_directions(const struct cli_run *run, struct options *o, struct nk_model *model,
                           struct nk_vectors **found) {
  struct nk_vectors *origins = nk_vectors_read(o->from_set);
  int code = origins == NULL ? nk_error_code() : NK_OK;
  o->objective.maximize = "entropy"; /* it has no reference to compute */
  o->objective.placed[0] = (struct cli_placed){o->from_set, origins};
  if (code == NK_OK) code = open_objective(run, o, model);
  const struct nk_top_options top = {.probes = o->objective.options.probes,
                                     .n_probes = o->objective.options.n_probes,
                                     .k = o->top,
                                     .fisher = o->fisher,
                                     .seed = run->common.seed};
  if (code == NK_OK && (*found = nk_top_directions(&top, origins)) == NULL) code = nk_error_code();
  nk_vectors_free(origins);
  return code;
}

static int search(const struct cli_run *run, struct options *o) {
  struct nk_region *region = NULL;
  struct nk_vectors *found = NULL;
  struct nk_model *model = NULL;
  bool directions = is_size_given(o->top);
  int code = check_usage(run, o);
  if (code == NK_OK && (model = nk_model_open(run->operands[0])) == NULL) code = nk_error_code();
  if (code == NK_OK && !directions && has_region(run, o) &&
      (region = nk_region_read(cli_operand(run, 1))) == NULL)
    code = nk_error_code();
  if (code == NK_OK)
    code =
        directions ? find_directions(run, o, model, &found) : find(run, o, model, region, &found);
  if (code == NK_OK) code = cli_write_set(run, found);
  nk_vectors_free(found);
  nk_region_free(region);
  cli_objective_free(&o->objective);
  nk_model_free(model);
  return code;
}

int main(int argc, char **argv) {
  struct options o = {.p_value = NOT_GIVEN,
                      .distance = NOT_GIVEN,
                      .quantile = NOT_GIVEN,
                      .times = NOT_GIVEN,
                      .radius = NOT_GIVEN,
                      .n = SIZE_NOT_GIVEN,
                      .restarts = SIZE_NOT_GIVEN,
                      .steps = SIZE_NOT_GIVEN,
                      .top = SIZE_NOT_GIVEN,
                      .metric = -1};
  const struct cli_option options[] = {
      CLI_OBJECTIVE_OPTIONS(&o.objective),
      CLI_CHAT_OPTION(&o.objective.chat),
      {0, "mode", CLI_OPTION_CHOICE, &o.mode, "replace|add",
       "replace the stream at the layer, or add to it"},
      {0, "position", CLI_OPTION_STRING, &o.position, "P",
       "put vectors in at this position; -1 is the last"},
      {0, "p-value", CLI_OPTION_NUMBER, &o.p_value, "A",
       "stay where the region's p-value is A or more"},
      {0, "distance", CLI_OPTION_NUMBER, &o.distance, "D", "stay at this distance"},
      {0, "quantile", CLI_OPTION_NUMBER, &o.quantile, "Q",
       "stay at a quantile of the tokens' own distances"},
      {0, "times", CLI_OPTION_NUMBER, &o.times, "X",
       "stay at a multiple of the tokens' largest distance"},
      {'m', "metric", CLI_OPTION_CHOICE, &o.metric, "l2|cosine|mahalanobis|knn",
       "what the distance is (mahalanobis)"},
      {0, "radius", CLI_OPTION_NUMBER, &o.radius, "R",
       "stay within this l2 distance of the origin"},
      {0, "from-set", CLI_OPTION_STRING, &o.from_set, "SET",
       "start from each row of a set: the origins"},
      {'n', "number", CLI_OPTION_SIZE, &o.n, "N", "nokens (1)"},
      {0, "restarts", CLI_OPTION_SIZE, &o.restarts, "N", "starts of each noken (4)"},
      {0, "steps", CLI_OPTION_SIZE, &o.steps, "N", "steps of each start (50)"},
      {0, "top-directions", CLI_OPTION_SIZE, &o.top, "K",
       "output the K directions that change logits most instead"},
      {0, "fisher", CLI_OPTION_FLAG, &o.fisher, NULL, "of them: weigh logits by probability"},
  };
  const struct cli_tool tool = {
      .name = "nk-search",
      .summary = "nokens that do the most under a constraint",
      .usage = "[OPTION]... MODEL [REGION]",
      .options = options,
      .n_options = sizeof options / sizeof options[0],
      .example = "nk-search data/gpt2-tiny in.safetensors -p {} --p-value 0.1 -o n.st",
  };
  struct cli_run run;
  cli_begin(&run, &tool, argc, argv, 1, 2);
  return cli_end(&run, search(&run, &o));
}
