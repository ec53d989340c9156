/* nk-compare's input: which parts are compared, and what the options name. */
#include <math.h>
#include <string.h>

#include "compare/compare.h"

/* ---- Options ---- */

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

static bool has(const struct compare_job *job, unsigned parts) {
  return (job->parts & parts) != 0;
}

/* What is given has a part that uses it; a part has what it needs. */
static int check_options(struct compare_job *job) {
  const struct compare_options *o = &job->options;
  enum {
    SAMPLED = COMPARE_RANDOM | COMPARE_SEARCHED | COMPARE_STREAMS,
    FROM_REGION = COMPARE_RANDOM | COMPARE_SEARCHED
  };
  const struct {
    const char *name;
    bool given;
    unsigned parts;
  } uses[] = {{"--nokens", o->nokens != NULL, COMPARE_RANDOM},
              {"--region", o->region != NULL, FROM_REGION},
              {"--direction", o->directions.n > 0, COMPARE_RANDOM | COMPARE_STREAMS},
              {"--quantile", o->quantiles != NULL, SAMPLED},
              {"--times", o->times != NULL, SAMPLED},
              {"--at", o->at != NULL, COMPARE_STREAMS},
              {"--text", o->text != NULL, COMPARE_TEXT}};
  for (size_t i = 0; i < sizeof uses / sizeof *uses; i++)
    if (uses[i].given && !has(job, uses[i].parts))
      return nk_fail(NK_EUSAGE, "%s has no use with --only %s", uses[i].name, o->only);
  if (o->text == NULL && o->only != NULL && has(job, COMPARE_TEXT))
    return nk_fail(NK_EUSAGE, "--only text needs a text: use --text FILE");
  if (o->text == NULL) job->parts &= ~(unsigned)COMPARE_TEXT;
  if (!(o->level > 0 && o->level < 1))
    return nk_fail(NK_EUSAGE, "--level %g: a number between 0 and 1 is needed", o->level);
  if (o->n == 0 || o->n_searched == 0)
    return nk_fail(NK_EUSAGE, "-n, --searched: 1 noken or more is needed");
  if (o->n_restarts == 0 || o->n_steps == 0)
    return nk_fail(NK_EUSAGE, "--restarts, --steps: 1 or more are needed");
  if (o->n_ordinary == 0) return nk_fail(NK_EUSAGE, "--ordinary: 1 or more tokens are needed");
  if (o->n_reference < 8) return nk_fail(NK_EUSAGE, "--reference: 8 tokens or more are needed");
  double p_min = 1 / ((double)o->n_reference + 1);
  if (p_min > o->level)
    return nk_fail(NK_EUSAGE,
                   "--reference %zu: no p-value is below %.3g, and none is at most --level %g; use "
                   "%.0f tokens or more",
                   o->n_reference, p_min, o->level, ceil(1 / o->level - 1 - 1e-9));
  return NK_OK;
}

static int read_numbers(const char *option, const char *text, double **out, size_t *n) {
  return text != NULL ? cli_parse_numbers(option, text, out, n) : NK_OK;
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
    code = read_numbers("--quantile", given ? o->quantiles : "0.5,0.9,0.99", &job->quantiles,
                        &sample->n_quantiles);
  if (code == NK_OK)
    code = read_numbers("--times", given ? o->times : "1.5,2,4", &job->times, &sample->n_times);
  sample->n = o->n;
  sample->directions = job->directions;
  sample->quantiles = job->quantiles;
  sample->times = job->times;
  sample->seed = job->run->common.seed;
  return code;
}

static int read_prompts(struct compare_job *job) {
  const struct compare_options *o = &job->options;
  if (o->texts.n == 0 && o->prompts.n == 0)
    return nk_fail(NK_EUSAGE, "no prompt: use -p TEXT or --prompts FILE");
  int code = cli_read_all_prompts(&job->prompts, &o->texts, &o->prompts);
  if (code != NK_OK) return code;
  return cli_chat_prompts(job->run, o->chat, job->model[COMPARE_BEFORE], &job->prompts);
}

static int read_layers(struct compare_job *job) {
  size_t n_blocks = job->shape->n_layers;
  if (job->options.at != NULL)
    return cli_parse_layers("--at", job->options.at, 1, n_blocks, &job->layers, &job->n_layers);
  job->layers = nk_alloc(n_blocks, sizeof *job->layers);
  if (job->layers == NULL) return NK_EMEMORY;
  for (size_t layer = 1; layer < n_blocks; layer++) job->layers[job->n_layers++] = layer;
  return NK_OK;
}

/* ---- Tokens ---- */

/* Keeps those of ids [*n] that BEFORE fails to repeat. */
static int keep_verified(const struct compare_job *job, int64_t *ids, size_t *n) {
  double *max_prob = nk_alloc(*n, sizeof *max_prob);
  const struct nk_verification found = {.max_prob = max_prob};
  size_t kept = 0;
  int code =
      max_prob == NULL ? NK_EMEMORY : nk_verify(job->model[COMPARE_BEFORE], NULL, ids, *n, &found);
  for (size_t i = 0; i < *n && code == NK_OK; i++)
    if (nk_verdict_of(max_prob[i]) <= NK_WEAKLY_VERIFIED) ids[kept++] = ids[i];
  *n = kept;
  nk_free(max_prob);
  return code;
}

/* The tokens that BEFORE's weights list as glitch tokens and that it fails to repeat. */
static int find_glitch(struct compare_job *job) {
  static const double q_most = 0.05;
  const struct nk_glitch_options options = {.seed = job->run->common.seed};
  struct nk_glitch *glitch =
      nk_glitch_of_model(job->model[COMPARE_BEFORE], job->tokenizer, &options, NULL);
  if (glitch == NULL) return nk_error_code();
  job->glitch = nk_alloc(glitch->n, sizeof *job->glitch);
  int code = job->glitch == NULL ? NK_EMEMORY : NK_OK;
  for (size_t i = 0; i < glitch->n && code == NK_OK; i++)
    if (glitch->role[i] == NK_ROLE_TEXT && glitch->q_value[i] <= q_most)
      job->glitch[job->n_glitch++] = (int64_t)i;
  nk_glitch_free(glitch);
  if (code == NK_OK && job->n_glitch > 0) code = keep_verified(job, job->glitch, &job->n_glitch);
  if (code == NK_OK && job->n_glitch == 0)
    nk_warn(
        "%s: no glitch tokens are found, and nothing is compared of them: --glitch TABLE gives "
        "some",
        nk_model_name(job->model[COMPARE_BEFORE]));
  return code;
}

static int read_glitch(struct compare_job *job) {
  const char *path = job->options.glitch;
  if (path == NULL) return has(job, COMPARE_GLITCH) ? find_glitch(job) : NK_OK;
  int code = cli_read_verified(path, &job->glitch, &job->n_glitch);
  for (size_t i = 0; i < job->n_glitch && code == NK_OK; i++)
    if (job->glitch[i] < 0 || (size_t)job->glitch[i] >= job->shape->n_vocabulary)
      code = nk_fail(NK_EDATA, "%s: id %lld: the models have tokens 0 to %zu", path,
                     (long long)job->glitch[i], job->shape->n_vocabulary - 1);
  if (code == NK_OK && job->n_glitch == 0) nk_warn("%s: no token is listed as verified", path);
  return code;
}

/* The reference of all probes and other ordinary tokens, neither of them glitch tokens. */
static int draw_tokens(struct compare_job *job) {
  const struct compare_options *o = &job->options;
  struct nk_model *before = job->model[COMPARE_BEFORE];
  struct nk_ordinary_options how = {.excluded = job->glitch,
                                    .n_excluded = job->n_glitch,
                                    .unverified = o->unverified,
                                    .n = 2 * o->n_reference,
                                    .seed = job->run->common.seed};
  int code = nk_ordinary_tokens(before, &how, &job->reference, &job->n_reference);
  code = cli_hint(code, NK_EDATA, "use --unverified");
  if (code != NK_OK || !has(job, COMPARE_ORDINARY | COMPARE_DIVERGENCE)) return code;
  int64_t *excluded = nk_alloc(job->n_glitch + job->n_reference, sizeof *excluded);
  if (excluded == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < job->n_glitch; i++) excluded[i] = job->glitch[i];
  for (size_t i = 0; i < job->n_reference; i++) excluded[job->n_glitch + i] = job->reference[i];
  how.excluded = excluded;
  how.n_excluded = job->n_glitch + job->n_reference;
  how.n = o->n_ordinary;
  code = nk_ordinary_tokens(before, &how, &job->ordinary, &job->n_ordinary);
  nk_free(excluded);
  return code;
}

/* ---- Nokens ---- */

struct nk_region *compare_fit(const struct nk_vectors *set, uint64_t seed) {
  if (set == NULL) return NULL;
  unsigned char *keep = nk_alloc(set->n, 1);
  size_t *rows = nk_alloc(set->n, sizeof *rows), n = 0;
  const struct nk_region_options options = {.seed = seed};
  struct nk_region *region = NULL;
  int code = keep == NULL || rows == NULL ? NK_EMEMORY
                                          : nk_ordinary_rows(set->values, set->n, set->dim, keep);
  for (size_t i = 0; i < set->n && code == NK_OK; i++)
    if (keep[i]) rows[n++] = i;
  if (code == NK_OK) region = nk_region_fit(set, rows, n, &options);
  nk_free(keep);
  nk_free(rows);
  return region;
}

static int check_dim(const struct compare_job *job, const char *path, size_t dim) {
  if (dim == job->shape->dim) return NK_OK;
  return nk_fail(NK_EDATA, "%s: vectors have %zu values, the models' have %zu", path, dim,
                 job->shape->dim);
}

static int read_region(struct compare_job *job) {
  const char *path = job->options.region;
  if (!has(job, COMPARE_RANDOM | COMPARE_SEARCHED)) return NK_OK;
  if (path == NULL) {
    struct nk_vectors *set = nk_model_vectors(job->model[COMPARE_BEFORE], NK_MATRIX_INPUT);
    job->region = compare_fit(set, job->run->common.seed);
    nk_vectors_free(set);
  } else {
    job->region = nk_region_read(path);
  }
  if (job->region == NULL) return nk_error_code();
  return path == NULL ? NK_OK : check_dim(job, path, job->region->dim);
}

static int read_nokens(struct compare_job *job) {
  const char *path = job->options.nokens;
  if (path == NULL) return NK_OK;
  job->nokens = nk_vectors_read(path);
  if (job->nokens == NULL) return nk_error_code();
  int code = check_dim(job, path, job->nokens->dim);
  if (code == NK_OK) code = nk_vectors_check_finite(&job->nokens, false);
  if (code == NK_OK && job->nokens->n == 0) code = nk_fail(NK_EDATA, "a set without rows");
  return code == NK_OK ? NK_OK : nk_fail_in(code, "%s", path);
}

/* ---- Probes ---- */

int compare_new_probes(const struct compare_job *job, enum compare_side side, size_t layer,
                       struct nk_probe *const *reference_of, struct nk_probe ***out) {
  struct nk_probe **probes = *out = nk_calloc(job->prompts.n, sizeof *probes);
  if (probes == NULL) return NK_EMEMORY;
  for (size_t p = 0; p < job->prompts.n; p++) {
    const struct cli_prompt *prompt = &job->prompts.item[p];
    const struct nk_probe_options options = {
        .layer = layer,
        .reference_ids = job->reference,
        .n_reference_ids = job->n_reference,
        .reference_of = reference_of == NULL ? NULL : reference_of[p],
        .name = prompt->name};
    probes[p] = nk_probe_new(job->model[side], prompt->text, &options);
    if (probes[p] == NULL) return nk_error_code();
  }
  return NK_OK;
}

void compare_free_probes(const struct compare_job *job, struct nk_probe **probes) {
  for (size_t p = 0; probes != NULL && p < job->prompts.n; p++) nk_probe_free(probes[p]);
  nk_free(probes);
}

int compare_open(struct compare_job *job) {
  int code = read_parts(job);
  if (code == NK_OK) code = check_options(job);
  if (code == NK_OK) code = read_sample(job);
  if (code == NK_OK) code = compare_open_models(job);
  if (code == NK_OK) code = read_prompts(job);
  if (code == NK_OK) code = read_layers(job);
  if (code == NK_OK) code = read_nokens(job);
  if (code == NK_OK) code = read_glitch(job);
  if (code == NK_OK) code = draw_tokens(job);
  if (code == NK_OK) code = read_region(job);
  if (code == NK_OK)
    code = compare_new_probes(job, COMPARE_BEFORE, 0, NULL, &job->probes[COMPARE_BEFORE]);
  struct nk_probe **before = job->options.own_reference ? NULL : job->probes[COMPARE_BEFORE];
  if (code == NK_OK)
    code = compare_new_probes(job, COMPARE_AFTER, 0, before, &job->probes[COMPARE_AFTER]);
  return code;
}

void compare_free(struct compare_job *job) {
  struct compare_options *o = &job->options;
  for (int side = COMPARE_AFTER; side >= COMPARE_BEFORE; side--) /* AFTER's borrow of BEFORE's */
    compare_free_probes(job, job->probes[side]);
  nk_vectors_free(job->nokens);
  nk_region_free(job->region);
  cli_prompts_free(&job->prompts);
  for (int side = 0; side < COMPARE_SIDES; side++) nk_model_free(job->model[side]);
  nk_free(job->reference);
  nk_free(job->ordinary);
  nk_free(job->glitch);
  nk_free(job->directions);
  nk_free(job->quantiles);
  nk_free(job->times);
  nk_free(job->layers);
  cli_strings_free(&o->texts);
  cli_strings_free(&o->prompts);
  cli_strings_free(&o->directions);
}
