/* nk-boundary: how far along a ray a vector has to go to change what the model does. */
#include <string.h>

#include "boundary/report.h"
#include "cli/engine.h"
#include "cli/own_layer.h"
#include "cli/probes.h"
#include "cli/shard.h"
#include "cli/tool.h"

enum { READ_END, READ_PLACE };
enum { WINDOW = 16 };      /* tokens, by default */
enum { RAYS = 1024 };      /* of a block that one process computes: each takes some 50 vectors */
#define NOT_GIVEN SIZE_MAX /* a size */

struct options {
  struct cli_strings texts, prompts;
  const char *contexts, *at, *position, *by, *shard;
  double level, tolerance;
  size_t grid, window;
  int measure, mode, read;
  bool dose, with_origin, summary;
  struct cli_engine engine;
};

struct job {
  const struct cli_run *run;
  struct options options;
  struct nk_model *model;
  const struct nk_forward_shape *shape;
  struct cli_shard shard;
  struct cli_prompts prompts;
  struct cli_contexts *contexts; /* [n_contexts] a prompt each, or the file of --contexts */
  struct cli_places *places;     /* [n_contexts] of the set's rows in them */
  size_t n_contexts;
  float *fill; /* [dim] or NULL */
  struct nk_vectors *set;
  struct boundary_rays rays;
  struct nk_place *place;        /* [n] */
  struct boundary_onset *onsets; /* [n] of all rays in each of contexts */
  size_t n;
};

/* ---- Options ---- */

static int check_options(const struct options *o) {
  if (!(o->level > 0))
    return nk_fail(
        NK_EUSAGE,
        o->level == 0 ? "no level: use --level X, above 0" : "--level: %g is not above 0",
        o->level);
  if (o->measure != BOUNDARY_L2 && o->level < 10 * BOUNDARY_ROUNDING)
    return nk_fail(NK_EUSAGE, "--level: %g is within the rounding of logits: %g or more is needed",
                   o->level, 10 * BOUNDARY_ROUNDING);
  if (!(o->tolerance > 0 && o->tolerance < 1))
    return nk_fail(NK_EUSAGE, "--tolerance: %g is not between 0 and 1", o->tolerance);
  if (o->grid < 2) return nk_fail(NK_EUSAGE, "--grid: 2 radii or more are needed");
  if (o->window != NOT_GIVEN && !o->dose)
    return nk_fail(NK_EUSAGE, "--window is for the measure of --dose");
  if (o->window == 0) return nk_fail(NK_EUSAGE, "--window: 1 token or more is needed");
  if (o->dose && (o->measure != BOUNDARY_KL || o->read != READ_END))
    return nk_fail(NK_EUSAGE, "--dose measures kl from the context's end on: no --%s goes with it",
                   o->measure != BOUNDARY_KL ? "measure" : "read");
  if (o->with_origin && (!o->dose || o->summary))
    return nk_fail(NK_EUSAGE, "--with-origin is for the vectors of --dose%s",
                   o->dose ? ", which --summary leaves out" : "");
  if (o->by != NULL && !o->summary)
    return nk_fail(NK_EUSAGE, "--by is for the groups of --summary");
  if (o->shard != NULL && (o->summary || o->dose))
    return nk_fail(NK_EUSAGE, "--shard: %s",
                   o->summary ? "a row of --summary is of all rays together"
                              : "--dose numbers the vectors of all rays");
  return NK_OK;
}

/* ---- Input ---- */

static int read_set(struct job *job) {
  job->set = nk_vectors_read(cli_operand(job->run, 1));
  if (job->set == NULL) return nk_error_code();
  int code = cli_check_dim(cli_operand_name(job->run, 1), job->set->dim, job->shape);
  if (code == NK_OK) code = nk_vectors_check_finite(&job->set, false);
  if (code != NK_OK) return code;
  code = boundary_rays_of(job->set, &job->rays);
  return code == NK_OK ? NK_OK : nk_fail_in(code, "%s", cli_operand_name(job->run, 1));
}

/* Standard input can be read once. */
static int check_inputs(const struct job *job) {
  const struct options *o = &job->options;
  bool is_read = strcmp(cli_operand(job->run, 1), "-") == 0;
  for (size_t i = 0; i <= o->prompts.n; i++) {
    const char *path = i < o->prompts.n ? o->prompts.item[i] : o->contexts;
    bool reads = path != NULL && strcmp(path, "-") == 0;
    if (is_read && reads)
      return nk_fail(NK_EUSAGE, "%s: standard input has been given already; name a file",
                     i < o->prompts.n ? "--prompts" : "--contexts");
    is_read = is_read || reads;
  }
  return NK_OK;
}

static int read_contexts(struct job *job) {
  const struct options *o = &job->options;
  int code = check_inputs(job);
  if (code == NK_OK) code = cli_read_all_prompts(&job->prompts, &o->texts, &o->prompts);
  if (code != NK_OK) return code;
  if ((job->prompts.n > 0) == (o->contexts != NULL))
    return nk_fail(NK_EUSAGE, job->prompts.n > 0 ? "--contexts and prompts: one of them"
                                                 : "no context: use --contexts FILE or -p TEXT");
  if (o->dose && job->prompts.n > 1)
    return nk_fail(NK_EUSAGE, "--dose: one prompt is expected, not %zu", job->prompts.n);
  size_t n = o->contexts != NULL ? 1 : job->prompts.n;
  job->contexts = nk_calloc(n, sizeof *job->contexts);
  job->places = nk_calloc(n, sizeof *job->places);
  if (job->contexts == NULL || job->places == NULL) return NK_EMEMORY;
  job->n_contexts = n;
  if (o->contexts != NULL) return cli_contexts_read(job->model, o->contexts, job->contexts);
  for (size_t p = 0; p < n && code == NK_OK; p++)
    code = cli_contexts_of_prompt(job->model, job->prompts.item[p].name, job->prompts.item[p].text,
                                  &job->contexts[p]);
  return code;
}

/* The places of all rays in one of the contexts. */
static int places_of_rays(struct job *job, const struct cli_place_rules *rules, size_t number) {
  const struct boundary_rays *rays = &job->rays;
  struct cli_places *places = &job->places[number];
  size_t dim = job->set->dim;
  int code = cli_places_make(rules, places);
  for (size_t i = 0; i < rays->n && code == NK_OK; i++) {
    struct nk_place *place = &job->place[number * rays->n + i];
    const float *origin = job->set->values + rays->origin[i] * dim;
    *place = places->item[places->of_row[rays->far[i]]];
    if (place->origin == NULL || memcmp(place->origin, origin, dim * sizeof *origin) != 0)
      code = nk_fail(NK_EDATA, "%s: rows %zu and %zu are of one ray, but not of one origin_row",
                     rules->name, rays->origin[i], rays->far[i]);
    if (rules->of_prompt) place->context = number;
  }
  return code;
}

static int find_places(struct job *job) {
  const struct options *o = &job->options;
  struct cli_place_rules rules = {.set = job->set,
                                  .name = cli_operand_name(job->run, 1),
                                  .of_prompt = o->contexts == NULL,
                                  .at_position = o->position != NULL,
                                  .n_layers = job->shape->n_layers,
                                  .at_layer = o->contexts == NULL || o->at != NULL,
                                  .read_place = o->read == READ_PLACE};
  int64_t layer = 0;
  int code =
      o->position == NULL ? NK_OK : cli_parse_integer("--position", o->position, &rules.position);
  if (code == NK_OK && o->at != NULL) code = cli_parse_integer("--at", o->at, &layer);
  if (code == NK_OK && (layer < 0 || (size_t)layer > job->shape->n_layers))
    code = nk_fail(NK_EUSAGE, "--at: layer %lld, the model has 0 to %zu", (long long)layer,
                   job->shape->n_layers);
  rules.layer = (size_t)layer;
  bool given = o->at != NULL;
  if (code == NK_OK && rules.at_layer)
    code = cli_own_layer(job->model, rules.name, job->set, &rules.layer, 1, &given);
  if (code == NK_OK && !nk_size_mul(job->rays.n, job->n_contexts, &job->n))
    code = nk_fail(NK_EMEMORY, "%zu rays in %zu prompts: too many", job->rays.n, job->n_contexts);
  if (code != NK_OK) return code;
  job->place = nk_alloc(job->n, sizeof *job->place);
  job->onsets = nk_alloc(job->n, sizeof *job->onsets);
  if (job->place == NULL || job->onsets == NULL) return NK_EMEMORY;
  for (size_t c = 0; c < job->n_contexts && code == NK_OK; c++) {
    rules.contexts = &job->contexts[c];
    code = places_of_rays(job, &rules, c);
  }
  return code;
}

/* The mean of the input embedding: what is in the slots below the layer. */
static int make_fill(struct job *job) {
  size_t dim = job->shape->dim, n = job->shape->n_vocabulary;
  double *sum = nk_calloc(dim, sizeof *sum);
  job->fill = nk_alloc(dim, sizeof *job->fill);
  int code = sum == NULL || job->fill == NULL ? NK_EMEMORY : NK_OK;
  for (size_t id = 0; id < n && code == NK_OK; id++) {
    code = nk_forward_embedding(nk_model_forward(job->model), (int64_t)id, job->fill);
    for (size_t i = 0; i < dim && code == NK_OK; i++) sum[i] += (double)job->fill[i];
  }
  for (size_t i = 0; i < dim && code == NK_OK; i++) job->fill[i] = (float)(sum[i] / (double)n);
  nk_free(sum);
  return code;
}

static int prepare(struct job *job) {
  const struct options *o = &job->options;
  int code = check_options(o);
  if (code == NK_OK) code = cli_shard_parse(o->shard, &job->shard);
  if (code != NK_OK) return code;
  job->model = nk_model_open(job->run->operands[0]);
  code = cli_use_engine(job->model, &o->engine);
  if (code != NK_OK) return code;
  job->shape = nk_forward_shape(nk_model_forward(job->model));
  if (job->shape == NULL) return nk_error_code();
  code = read_contexts(job);
  if (code == NK_OK) code = read_set(job);
  if (code == NK_OK) code = find_places(job);
  if (code == NK_OK && o->dose && o->contexts == NULL) code = make_fill(job);
  return code;
}

/* ---- Boundaries ---- */

static int find_boundaries(struct job *job) {
  const struct options *o = &job->options;
  size_t range[2];
  cli_shard_items(&job->shard, job->n_contexts, job->rays.n, RAYS, range);
  struct boundary_run run = {
      .model = job->model,
      .rays = &job->rays,
      .mode = o->mode == 0 ? NK_REPLACE : NK_ADD,
      .fill = job->fill,
      .quantity = (enum boundary_quantity)o->measure,
      .search = {.level = o->level,
                 .tolerance = o->tolerance,
                 .n_grid = o->grid,
                 .predict = !o->dose && o->measure != BOUNDARY_L2},
      .n_window = !o->dose                 ? 0
                  : o->window == NOT_GIVEN ? WINDOW
                                           : o->window,
      .n_total = range[1] - range[0],
  };
  int code = NK_OK;
  for (size_t at = range[0]; at < range[1] && code == NK_OK; at += run.n) {
    size_t c = at / job->rays.n, left = (c + 1) * job->rays.n - at;
    run.contexts = &job->contexts[c];
    run.places = &job->places[c];
    run.first = at % job->rays.n;
    run.n = left < RAYS ? left : RAYS;
    code = boundary_run(&run, job->onsets + at);
    run.n_done += run.n;
  }
  return code;
}

/* ---- Output ---- */

static int print_table(const struct job *job, struct boundary_report *report) {
  struct nk_vectors *rows = boundary_rows(report);
  struct nk_output *output = rows == NULL ? NULL : cli_output(job->run, NK_OUTPUT_TEXT);
  struct cli_table *table = output == NULL ? NULL : cli_shard_table(&job->shard, job->run, output);
  report->rows = rows;
  int code = table == NULL          ? nk_error_code()
             : job->options.summary ? boundary_write_summary(report, job->options.by, table)
                                    : boundary_write_rows(report, table);
  code = cli_close(table, output, code);
  nk_vectors_free(rows);
  return code;
}

static int write_doses(const struct job *job, const struct boundary_report *report) {
  struct nk_vectors *set = boundary_doses(report, job->options.level, job->options.with_origin);
  int code = cli_write_set(job->run, set);
  nk_vectors_free(set);
  return code;
}

static int write_report(const struct job *job) {
  struct boundary_report report = {
      .rays = &job->rays,
      .places = job->place,
      .onsets = job->onsets,
      .n = job->n,
      .prompts = job->options.contexts == NULL ? &job->prompts : NULL,
      .contexts = job->contexts,
  };
  cli_shard_items(&job->shard, job->n_contexts, job->rays.n, RAYS, report.range);
  return job->options.dose && !job->options.summary ? write_doses(job, &report)
                                                    : print_table(job, &report);
}

static void free_job(struct job *job) {
  nk_free(job->place);
  nk_free(job->onsets);
  nk_free(job->fill);
  boundary_rays_free(&job->rays);
  nk_vectors_free(job->set);
  for (size_t c = 0; c < job->n_contexts; c++) {
    cli_places_free(&job->places[c]);
    cli_contexts_free(&job->contexts[c]);
  }
  nk_free(job->places);
  nk_free(job->contexts);
  cli_prompts_free(&job->prompts);
  nk_model_free(job->model);
  cli_strings_free(&job->options.texts);
  cli_strings_free(&job->options.prompts);
}

int main(int argc, char **argv) {
  struct job job = {.options = {.tolerance = 0.01, .grid = 32, .window = NOT_GIVEN}};
  struct options *o = &job.options;
  const struct cli_option options[] = {
      {'p', "prompt", CLI_OPTION_LIST, &o->texts, "TEXT", "a prompt with slots {}; repeatable"},
      {0, "prompts", CLI_OPTION_LIST, &o->prompts, "FILE", "a table of prompts (prompt, text)"},
      {0, "contexts", CLI_OPTION_STRING, &o->contexts, "FILE",
       "a text a line; the set's columns say which and where"},
      {0, "at", CLI_OPTION_STRING, &o->at, "L", "put vectors in at this layer"},
      {0, "position", CLI_OPTION_STRING, &o->position, "P",
       "put vectors in at this position; -1 is the last"},
      {0, "mode", CLI_OPTION_CHOICE, &o->mode, "replace|add",
       "replace the stream at the layer, or add to it"},
      {0, "read", CLI_OPTION_CHOICE, &o->read, "end|place",
       "measure at the context's end, or where vectors are put in"},
      {0, "measure", CLI_OPTION_CHOICE, &o->measure, "kl|js|l2",
       "divergence of the next token, or distance of the last stream"},
      {0, "level", CLI_OPTION_NUMBER, &o->level, "X", "the value to reach; required"},
      {0, "tolerance", CLI_OPTION_NUMBER, &o->tolerance, "T", "relative, of radii (0.01)"},
      {0, "grid", CLI_OPTION_SIZE, &o->grid, "N", "radii that are scanned first (32)",
       .most = 100000},
      {0, "summary", CLI_OPTION_FLAG, &o->summary, NULL, "print median onsets of groups of rays"},
      {0, "by", CLI_OPTION_STRING, &o->by, "A,B",
       "summary: the groups' columns ([prompt,]direction)"},
      {0, "dose", CLI_OPTION_FLAG, &o->dose, NULL,
       "output the vectors at which generated tokens reach the level"},
      {0, "window", CLI_OPTION_SIZE, &o->window, "N", "dose: number of generated tokens (16)",
       .most = 65536},
      {0, "with-origin", CLI_OPTION_FLAG, &o->with_origin, NULL,
       "dose: output each ray's origin before it"},
      CLI_SHARD_OPTION(&o->shard),
      CLI_ENGINE_OPTIONS(&o->engine),
  };
  const struct cli_tool tool = {
      .name = "nk-boundary",
      .summary = "how far vectors have to go along rays to change the output",
      .usage = "[OPTION]... --level X MODEL [SET]",
      .options = options,
      .n_options = sizeof options / sizeof options[0],
      .example = "nk-boundary data/gpt2-tiny rays.safetensors -p 'The {} of' --level 0.1",
  };
  struct cli_run run;
  cli_begin(&run, &tool, argc, argv, 1, 2);
  job.run = &run;
  int code = prepare(&job);
  if (code == NK_OK) code = find_boundaries(&job);
  if (code == NK_OK) code = write_report(&job);
  free_job(&job);
  return cli_end(&run, code);
}
