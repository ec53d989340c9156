/* nk-compare's options: which parts are compared, and what has no use in them. */
#include <math.h>
#include <string.h>

#include "compare/compare.h"

static int read_parts(struct compare_job *job) {
  static const char *const names[] = {"ordinary", "nokens",     "searched", "glitch",
                                      "streams",  "divergence", "text"};
  enum { N_NAMES = sizeof names / sizeof *names };
  const char *text = job->options.only;
  job->parts = (1U << N_NAMES) - 1;
  if (text == NULL) return NK_OK;
  job->parts = 0;
  for (;;) {
    size_t length = strcspn(text, ","), i = 0;
    while (i < N_NAMES && (strlen(names[i]) != length || strncmp(names[i], text, length) != 0)) i++;
    if (i == N_NAMES)
      return nk_fail(NK_EUSAGE,
                     "--only: unknown part '%.*s': ordinary, nokens, searched, glitch, streams, "
                     "divergence, text",
                     (int)length, text);
    job->parts |= 1U << i;
    if (text[length] == 0) return NK_OK;
    text += length + 1;
  }
}

static bool is_given(size_t number) {
  return number != COMPARE_NOT_GIVEN;
}

/* What is given has a part that uses it. */
static int check_uses(const struct compare_job *job) {
  const struct compare_options *o = &job->options;
  enum {
    SAMPLED = COMPARE_RANDOM | COMPARE_SEARCHED | COMPARE_STREAMS,
    DRAWN = COMPARE_RANDOM | COMPARE_STREAMS
  };
  const struct {
    const char *name;
    bool given;
    unsigned parts;
  } uses[] = {{"--prompt", o->texts.n > 0, COMPARE_PROMPTED},
              {"--prompts", o->prompts.n > 0, COMPARE_PROMPTED},
              {"--chat", o->chat != NULL, COMPARE_PROMPTED},
              {"--number", is_given(o->n), DRAWN},
              {"--direction", o->directions.n > 0, DRAWN},
              {"--quantile", o->quantiles != NULL, SAMPLED},
              {"--times", o->times != NULL, SAMPLED},
              {"--searched", is_given(o->n_searched), COMPARE_SEARCHED},
              {"--restarts", is_given(o->n_restarts), COMPARE_SEARCHED},
              {"--steps", is_given(o->n_steps), COMPARE_SEARCHED},
              {"--region", o->region != NULL, COMPARE_RANDOM | COMPARE_SEARCHED},
              {"--nokens", o->nokens != NULL, COMPARE_RANDOM},
              {"--at", o->at != NULL, COMPARE_STREAMS},
              {"--glitch", o->glitch != NULL, COMPARE_PROMPTED},
              {"--controls", is_given(o->n_controls), COMPARE_GLITCH},
              {"--text", o->text != NULL, COMPARE_TEXT},
              {"--ordinary", is_given(o->n_ordinary), COMPARE_ORDINARY | COMPARE_DIVERGENCE},
              {"--reference", is_given(o->n_reference), COMPARE_JUDGED},
              {"--own-reference", o->own_reference, COMPARE_JUDGED},
              {"--unverified", o->unverified, COMPARE_PROMPTED},
              {"--level", !isnan(o->level), COMPARE_JUDGED}};
  for (size_t i = 0; i < sizeof uses / sizeof *uses; i++)
    if (uses[i].given && !compare_has(job, uses[i].parts))
      return nk_fail(NK_EUSAGE, "%s has no use with --only %s", uses[i].name, o->only);
  return NK_OK;
}

static void set_defaults(struct compare_options *o) {
  const struct {
    size_t *number, value;
  } defaults[] = {{&o->n, 32},           {&o->n_searched, 8},   {&o->n_restarts, 2},
                  {&o->n_steps, 50},     {&o->n_controls, 200}, {&o->n_ordinary, 256},
                  {&o->n_reference, 256}};
  for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++)
    if (!is_given(*defaults[i].number)) *defaults[i].number = defaults[i].value;
  if (isnan(o->level)) o->level = 0.05;
}

/* A part has what it needs. */
static int check_needs(struct compare_job *job) {
  const struct compare_options *o = &job->options;
  if (o->text == NULL && o->only != NULL && compare_has(job, COMPARE_TEXT))
    return nk_fail(NK_EUSAGE, "--only text needs a text: use --text FILE");
  if (o->text == NULL) job->parts &= ~(unsigned)COMPARE_TEXT;
  if (!(o->level > 0 && o->level < 1))
    return nk_fail(NK_EUSAGE, "--level %g: a number between 0 and 1 is needed", o->level);
  if (o->n == 0 || o->n_searched == 0)
    return nk_fail(NK_EUSAGE, "-n, --searched: 1 noken or more is needed");
  if (o->n_restarts == 0 || o->n_steps == 0)
    return nk_fail(NK_EUSAGE, "--restarts, --steps: 1 or more are needed");
  if (o->n_ordinary == 0) return nk_fail(NK_EUSAGE, "--ordinary: 1 or more tokens are needed");
  if (o->n_reference < 8 || o->n_reference > SIZE_MAX / 2)
    return nk_fail(NK_EUSAGE, "--reference: 8 tokens or more are needed");
  double p_min = 1 / ((double)o->n_reference + 1);
  if (p_min > o->level)
    return nk_fail(NK_EUSAGE,
                   "--reference %zu: no p-value is below %.3g, and none is at most --level %g; use "
                   "%.0f tokens or more",
                   o->n_reference, p_min, o->level, ceil(1 / o->level - 1 - 1e-9));
  return NK_OK;
}

/* Quantiles, or multiples above 0. */
static int read_numbers(const char *option, const char *text, bool quantiles, double **out,
                        size_t *n) {
  int code = text != NULL ? cli_parse_numbers(option, text, out, n) : NK_OK;
  for (size_t i = 0; i < *n && code == NK_OK; i++) {
    double x = (*out)[i];
    if (quantiles ? !(x >= 0 && x <= 1) : !(x > 0 && isfinite(x)))
      code = nk_fail(NK_EUSAGE, "%s %g: a number %s is needed", option, x,
                     quantiles ? "from 0 to 1" : "above 0");
  }
  return code;
}

/* Directions and distances, of the embedding and of streams alike. */
static int read_sample(struct compare_job *job) {
  const struct compare_options *o = &job->options;
  struct nk_sample_options *sample = &job->sample;
  static const char *const names[] = {"covariance", "isotropic", "token"};
  struct cli_strings directions = o->directions;
  bool given = o->quantiles != NULL || o->times != NULL;
  if (directions.n == 0) directions = (struct cli_strings){(const char **)names, 3};
  int code = cli_read_directions(&directions, &job->directions, &sample->n_directions);
  if (code == NK_OK)
    code = read_numbers("--quantile", given ? o->quantiles : "0.5,0.9,0.99", true, &job->quantiles,
                        &sample->n_quantiles);
  if (code == NK_OK)
    code =
        read_numbers("--times", given ? o->times : "1.5,2,4", false, &job->times, &sample->n_times);
  sample->n = o->n;
  sample->directions = job->directions;
  sample->quantiles = job->quantiles;
  sample->times = job->times;
  sample->seed = job->run->common.seed;
  return code;
}

bool compare_has(const struct compare_job *job, unsigned parts) {
  return (job->parts & parts) != 0;
}

int compare_read_options(struct compare_job *job) {
  int code = read_parts(job);
  if (code == NK_OK) code = check_uses(job);
  set_defaults(&job->options);
  if (code == NK_OK) code = check_needs(job);
  return code == NK_OK ? read_sample(job) : code;
}
