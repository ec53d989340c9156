/* nk-compare's input: what the options name. */
#include "cli/own_layer.h"
#include "compare/compare.h"

/* ---- Prompts, texts and layers ---- */

static int read_prompts(struct compare_job *job) {
  const struct compare_options *o = &job->options;
  if (!compare_has(job, COMPARE_PROMPTED)) return NK_OK;
  return cli_open_prompts(job->run, &o->texts, &o->prompts, o->chat, job->model[COMPARE_BEFORE],
                          &job->prompts);
}

static int read_text(struct compare_job *job) {
  if (!compare_has(job, COMPARE_TEXT)) return NK_OK;
  int code = cli_contexts_read(job->model[COMPARE_BEFORE], job->options.text, &job->text);
  for (size_t i = 0; i < job->text.n && code == NK_OK; i++)
    if (job->text.item[i].n >= 2) return NK_OK;
  return code != NK_OK ? code : nk_fail(NK_EDATA, "%s: no line has two tokens", job->text.name);
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
  if (path == NULL) return compare_has(job, COMPARE_GLITCH) ? find_glitch(job) : NK_OK;
  int code = cli_read_verified(path, &job->glitch, &job->n_glitch);
  for (size_t i = 0; i < job->n_glitch && code == NK_OK; i++)
    if (job->glitch[i] < 0 || (size_t)job->glitch[i] >= job->shape->n_vocabulary)
      code = nk_fail(NK_EDATA, "%s: id %lld: the models have tokens 0 to %zu", path,
                     (long long)job->glitch[i], job->shape->n_vocabulary - 1);
  if (code == NK_OK && job->n_glitch == 0) nk_warn("%s: no token is listed as verified", path);
  return code;
}

static int draw(const struct compare_job *job, const struct nk_ordinary_options *how, int64_t **ids,
                size_t *n) {
  int code = nk_ordinary_tokens(job->model[COMPARE_BEFORE], how, ids, n);
  return code == NK_OK ? code : nk_fail_in(code, "%s", job->run->operands[COMPARE_BEFORE]);
}

/* The reference of all probes, by half of which behaviour is judged. */
static int draw_reference(struct compare_job *job, struct nk_ordinary_options how) {
  const struct compare_options *o = &job->options;
  how.n = 2 * o->n_reference;
  int code = draw(job, &how, &job->reference, &job->n_reference);
  size_t half = job->n_reference / 2;
  double p_min = 1 / ((double)half + 1);
  if (code != NK_OK || p_min <= o->level) return code;
  return nk_fail(NK_EDATA,
                 "%s: %zu ordinary tokens to judge by, of --reference %zu: no p-value is below "
                 "%.3g, and none is at most --level %g; use a higher level",
                 job->run->operands[COMPARE_BEFORE], job->n_reference / 2, o->n_reference, p_min,
                 o->level);
}

/* Tokens that are not in the reference. */
static int draw_ordinary(struct compare_job *job, struct nk_ordinary_options how) {
  const struct compare_options *o = &job->options;
  int64_t *excluded = nk_alloc(job->n_glitch + job->n_reference, sizeof *excluded);
  if (excluded == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < job->n_glitch; i++) excluded[i] = job->glitch[i];
  for (size_t i = 0; i < job->n_reference; i++) excluded[job->n_glitch + i] = job->reference[i];
  how.excluded = excluded;
  how.n_excluded = job->n_glitch + job->n_reference;
  how.n = o->n_ordinary;
  int code = draw(job, &how, &job->ordinary, &job->n_ordinary);
  nk_free(excluded);
  if (job->n_reference == 0 || !(code == NK_EDATA || (code == NK_OK && job->n_ordinary == 0)))
    return code; /* the model could repeat those of the reference */
  return nk_fail(NK_EDATA,
                 "%s: no ordinary tokens are left for --ordinary %zu: --reference %zu takes %zu; "
                 "use fewer",
                 job->run->operands[COMPARE_BEFORE], o->n_ordinary, o->n_reference,
                 job->n_reference);
}

/* Neither are glitch tokens. */
static int draw_tokens(struct compare_job *job) {
  const struct nk_ordinary_options how = {.excluded = job->glitch,
                                          .n_excluded = job->n_glitch,
                                          .unverified = job->options.unverified,
                                          .seed = job->run->common.seed};
  int code = compare_has(job, COMPARE_JUDGED) ? draw_reference(job, how) : NK_OK;
  if (code == NK_OK && compare_has(job, COMPARE_ORDINARY | COMPARE_DIVERGENCE))
    code = draw_ordinary(job, how);
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

/* Nokens given, or of a region given, stand in the slot as the input embedding. */
static int check_space(const struct compare_job *job, const char *path,
                       const struct nk_vectors *set) {
  size_t layer = 0;
  return cli_own_layer(job->model[COMPARE_BEFORE], path, set, &layer, 1, NULL);
}

static int read_region(struct compare_job *job) {
  const char *path = job->options.region;
  if (path == NULL) return NK_OK;
  job->region = nk_region_read(path);
  int code = job->region == NULL ? nk_error_code() : check_dim(job, path, job->region->dim);
  return code == NK_OK ? check_space(job, path, job->region->tokens) : code;
}

static int fit_region(struct compare_job *job) {
  if (job->region != NULL || !compare_has(job, COMPARE_RANDOM | COMPARE_SEARCHED)) return NK_OK;
  struct nk_vectors *set = nk_model_vectors(job->model[COMPARE_BEFORE], NK_MATRIX_INPUT);
  job->region = compare_fit(set, job->run->common.seed);
  nk_vectors_free(set);
  return job->region == NULL ? nk_error_code() : NK_OK;
}

static int read_nokens(struct compare_job *job) {
  const char *path = job->options.nokens;
  if (path == NULL) return NK_OK;
  job->nokens = nk_vectors_read(path);
  if (job->nokens == NULL) return nk_error_code();
  int code = check_dim(job, path, job->nokens->dim);
  if (code == NK_OK) code = nk_vectors_check_finite(&job->nokens, false);
  if (code == NK_OK && job->nokens->n == 0) code = nk_fail(NK_EDATA, "a set without rows");
  return code == NK_OK ? check_space(job, path, job->nokens) : nk_fail_in(code, "%s", path);
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

static int make_probes(struct compare_job *job) {
  if (!compare_has(job, COMPARE_JUDGED)) return NK_OK;
  int code = compare_new_probes(job, COMPARE_BEFORE, 0, NULL, &job->probes[COMPARE_BEFORE]);
  struct nk_probe **before = job->options.own_reference ? NULL : job->probes[COMPARE_BEFORE];
  if (code != NK_OK) return code;
  return compare_new_probes(job, COMPARE_AFTER, 0, before, &job->probes[COMPARE_AFTER]);
}

int compare_open(struct compare_job *job) {
  int code = compare_read_options(job);
  if (code == NK_OK) code = compare_open_models(job);
  if (code == NK_OK) code = read_prompts(job);
  if (code == NK_OK) code = read_layers(job);
  if (code == NK_OK) code = read_text(job);
  if (code == NK_OK) code = read_nokens(job);
  if (code == NK_OK) code = read_region(job);
  if (code == NK_OK) code = read_glitch(job);
  if (code == NK_OK) code = draw_tokens(job);
  if (code == NK_OK) code = fit_region(job);
  return code == NK_OK ? make_probes(job) : code;
}

void compare_free(struct compare_job *job) {
  struct compare_options *o = &job->options;
  for (int side = COMPARE_AFTER; side >= COMPARE_BEFORE; side--) /* AFTER's borrow of BEFORE's */
    compare_free_probes(job, job->probes[side]);
  nk_vectors_free(job->nokens);
  nk_region_free(job->region);
  cli_prompts_free(&job->prompts);
  cli_contexts_free(&job->text);
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
