/* nk-sample: nokens at controlled distances from a region. */
#include <string.h>

#include "cli/tool.h"

static const char *distances, *quantiles, *multiples, *from = "centroid", *match, *vectors;
static struct cli_strings directions;
static size_t n_each = 1;
static int metric = NK_METRIC_MAHALANOBIS;
static bool resample;

static const struct cli_option options[] = {
    {'n', "number", CLI_OPTION_SIZE, &n_each, "N",
     "nokens for each direction and distance (default: 1)"},
    {'m', "metric", CLI_OPTION_CHOICE, &metric, "l2|cosine|mahalanobis|knn",
     "what is measured from the region (default: mahalanobis)"},
    {0, "distance", CLI_OPTION_STRING, &distances, "LIST", "distances: 3.5,4"},
    {0, "quantile", CLI_OPTION_STRING, &quantiles, "LIST",
     "quantiles of the tokens' own distances"},
    {0, "times", CLI_OPTION_STRING, &multiples, "LIST",
     "multiples of the tokens' largest distance"},
    {'d', "direction", CLI_OPTION_LIST, &directions, "LIST",
     "isotropic (default), covariance, pc:A-B, token, pair, difference"},
    {0, "from", CLI_OPTION_STRING, &from, "ORIGIN", "centroid (default), token:ID or tokens"},
    {0, "match", CLI_OPTION_STRING, &match, "TABLE",
     "N nokens like each token of the table in norm, Mahalanobis and k-NN distance"},
    {0, "vectors", CLI_OPTION_STRING, &vectors, "SET", "where the vectors of --match are"},
    {0, "resample", CLI_OPTION_FLAG, &resample, NULL, "N nokens from inside the region: controls"},
};

static const struct cli_tool tool = {
    .name = "nk-sample",
    .summary = "nokens at controlled distances from a region",
    .usage = "[OPTION]... [REGION]",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .example = "nk-sample in.safetensors --quantile 0.9 --times 2 -o n.safetensors",
};

/* ---- Options that take work to read ---- */

static int parse_list(const char *option, const char *text, double **out, size_t *n) {
  *out = NULL;
  *n = 0;
  return text ? cli_parse_numbers(option, text, out, n) : 0;
}

/* The distances of --distance, then those of --quantile, then those of --times. */
static int read_distances(struct nk_region *region, struct nk_sample_options *out) {
  double *values = NULL, *levels = NULL, *factors = NULL, *all = NULL, largest;
  size_t n_values, n_levels, n_factors;
  int code = parse_list("--distance", distances, &values, &n_values);
  if (code == NK_OK) code = parse_list("--quantile", quantiles, &levels, &n_levels);
  if (code == NK_OK) code = parse_list("--times", multiples, &factors, &n_factors);
  if (code == NK_OK && !distances && !quantiles && !multiples)
    code = nk_fail(NK_EUSAGE, "how far? --distance, --quantile or --times say");
  if (code == NK_OK && !(all = nk_alloc(n_values + n_levels + n_factors, sizeof *all)))
    code = NK_EMEMORY;
  if (code == NK_OK && n_values) memcpy(all, values, n_values * sizeof *all);
  if (code == NK_OK && n_levels + n_factors > 0)
    code = nk_sample_quantiles(region, (enum nk_metric)metric, levels, n_levels, all + n_values,
                               &largest);
  if (code == NK_OK) {
    for (size_t i = 0; i < n_factors; i++) all[n_values + n_levels + i] = factors[i] * largest;
    out->distances = all;
    out->n_distances = n_values + n_levels + n_factors;
    all = NULL;
  }
  nk_free(values);
  nk_free(levels);
  nk_free(factors);
  nk_free(all);
  return code;
}

/* Each use of --direction names one, or several with commas. */
static int read_directions(struct nk_sample_options *out) {
  static const char *const usual = "isotropic";
  const char *const *items = directions.n ? directions.item : &usual;
  size_t n = directions.n ? directions.n : 1, most = 0, used = 0;
  for (size_t i = 0; i < n; i++)
    for (const char *p = items[i]; p; p = strchr(p + 1, ',')) most++;
  struct nk_direction *list = nk_alloc(most, sizeof *list);
  int code = list ? 0 : NK_EMEMORY;
  for (size_t i = 0; i < n && code == NK_OK; i++)
    for (const char *p = items[i]; p && code == NK_OK;) {
      size_t length = strcspn(p, ",");
      char *name = nk_strndup(p, length);
      code = name ? nk_direction_parse(name, &list[used++]) : NK_EMEMORY;
      nk_free(name);
      p = p[length] ? p + length + 1 : NULL;
    }
  out->directions = list;
  out->n_directions = used;
  return code;
}

static int read_origin(struct nk_sample_options *out) {
  int64_t *ids;
  size_t n;
  if (strcmp(from, "centroid") == 0) {
    out->origin = NK_ORIGIN_CENTROID;
  } else if (strcmp(from, "tokens") == 0) {
    out->origin = NK_ORIGIN_TOKENS;
  } else if (strncmp(from, "token:", 6) == 0) {
    int code = cli_parse_ids("--from token:", from + 6, &ids, &n);
    if (code != NK_OK) return code;
    out->origin = NK_ORIGIN_TOKEN;
    out->origin_id = ids[0];
    nk_free(ids);
    if (n != 1) return nk_fail(NK_EUSAGE, "--from %s: one token's id is needed", from);
  } else {
    return nk_fail(NK_EUSAGE, "--from %s: it is centroid, token:ID or tokens", from);
  }
  return 0;
}

/* ---- The three ways to make nokens ---- */

static struct nk_vectors *make_on_rays(const struct cli_run *run, struct nk_region *region) {
  struct nk_sample_options sample = {
      .metric = (enum nk_metric)metric, .n = n_each, .seed = run->common.seed};
  int code = read_origin(&sample);
  if (code == NK_OK) code = read_directions(&sample);
  if (code == NK_OK) code = read_distances(region, &sample);
  struct nk_vectors *set = code == NK_OK ? nk_sample(region, &sample) : NULL;
  nk_free((void *)(uintptr_t)sample.directions);
  nk_free((void *)(uintptr_t)sample.distances);
  return set;
}

static struct nk_vectors *make_matches(const struct cli_run *run, struct nk_region *region) {
  int64_t *ids = NULL;
  struct nk_vectors *wanted = NULL, *set = NULL;
  struct cli_frame *frame = cli_frame_read(match);
  struct nk_vectors *all = frame ? nk_vectors_read(vectors) : NULL;
  if (all && cli_frame_integers(frame, "id", &ids) == 0)
    wanted = nk_vectors_select_ids(all, ids, cli_frame_n_rows(frame));
  if (wanted) set = nk_sample_match(region, wanted, n_each, run->common.seed);
  nk_vectors_free(wanted);
  nk_vectors_free(all);
  cli_frame_free(frame);
  nk_free(ids);
  return set;
}

static int check_usage(void) {
  bool rays = distances || quantiles || multiples || directions.n || strcmp(from, "centroid") != 0;
  if (match && !vectors)
    return nk_fail(NK_EUSAGE, "--match needs --vectors SET, where its tokens' vectors are");
  if (vectors && !match) return nk_fail(NK_EUSAGE, "--vectors goes with --match");
  if ((match && resample) || (rays && (match || resample)))
    return nk_fail(NK_EUSAGE,
                   "distances and directions, --match and --resample exclude one another");
  return 0;
}

static int sample(const struct cli_run *run) {
  int code = check_usage();
  if (code != NK_OK) return code;
  struct nk_region *region = nk_region_read(cli_operand(run, 0));
  if (!region) return nk_error_code();
  struct nk_vectors *set = match      ? make_matches(run, region)
                           : resample ? nk_sample_inside(region, n_each, run->common.seed)
                                      : make_on_rays(run, region);
  struct nk_output *output = NULL;
  code = set ? cli_add_history(set, run->argc, run->argv) : nk_error_code();
  if (code == NK_OK && !(output = cli_output(run, NK_OUTPUT_BINARY))) code = nk_error_code();
  if (code == NK_OK) code = nk_vectors_write(set, output);
  if (code == NK_OK) code = nk_output_commit(output);
  nk_output_free(output);
  nk_vectors_free(set);
  nk_region_free(region);
  return code;
}

int main(int argc, char **argv) {
  struct cli_run run;
  cli_begin(&run, &tool, argc, argv, 0, 1);
  int code = sample(&run);
  cli_strings_free(&directions);
  return cli_end(&run, code);
}
