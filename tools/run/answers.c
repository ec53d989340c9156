/* Answers in prompts: a probe for each prompt and layer, the reference that they compare with, and
 * what is printed of them. */
#include <string.h>

#include "run/run.h"

enum { LEAST_REFERENCE = 8, REFERENCE = 256 };

/* ---- Options ---- */

static int read_capture(struct run_job *job) {
  if (job->options.capture == NULL) return NK_OK;
  int code = cli_capture_parse(job->options.capture, job->shape->n_layers, &job->capture);
  if (code != NK_OK) return code;
  if (job->n_layers > 1) return nk_fail(NK_EUSAGE, "--capture: one layer of --at is expected");
  job->probe.offsets = job->capture.offsets;
  job->probe.n_offsets = job->capture.n_offsets;
  return NK_OK;
}

static int read_lens(struct run_job *job) {
  const struct run_options *o = &job->options;
  size_t n_top = o->top == RUN_NOT_GIVEN ? 1 : o->top;
  if (o->lens == NULL && (o->lens_with.n > 0 || o->top != RUN_NOT_GIVEN))
    return nk_fail(NK_EUSAGE, "%s needs the layers: use --lens L",
                   o->lens_with.n > 0 ? "--lens-with" : "--top");
  if (o->lens == NULL) return NK_OK;
  int code = cli_lens_read(o->lens, &o->lens_with, n_top, job->shape, &job->lens);
  if (code != NK_OK || o->offsets != RUN_NOT_GIVEN) return code;
  job->probe.offsets = job->lens.offsets;
  job->probe.n_offsets = sizeof job->lens.offsets / sizeof *job->lens.offsets;
  return NK_OK;
}

static int read_flags(struct run_job *job) {
  const struct run_options *o = &job->options;
  if (o->flag_summary && o->flag == NULL)
    return nk_fail(NK_EUSAGE, "--flag-summary needs the flags: use --flag FILE");
  if (o->flag == NULL) return NK_OK;
  if (o->generate == 0)
    return nk_fail(NK_EUSAGE, "--flag needs generated tokens: use --generate N");
  if (o->flag_summary) return cli_flag_summary_read(o->flag, &job->flag_summary);
  job->flags = cli_read_flags(o->flag);
  return job->flags == NULL ? nk_error_code() : NK_OK;
}

/* ---- The reference ---- */

/* Drawn once for all probes. */
static int draw_reference(struct run_job *job, bool is_needed) {
  const struct run_options *o = &job->options;
  struct nk_ordinary_options how = {.unverified = o->unverified, .seed = job->run->common.seed};
  struct nk_region *region = NULL;
  int64_t *excluded = NULL;
  int code = NK_OK;
  size_t n = o->reference == RUN_NOT_GIVEN ? REFERENCE : o->reference;
  if (n < LEAST_REFERENCE || !nk_size_mul(n, 2, &how.n))
    return nk_fail(NK_EUSAGE, "--reference: %d tokens or more are needed", LEAST_REFERENCE);
  for (size_t i = 0; i < o->exclude.n && code == NK_OK; i++)
    code = cli_read_verified(o->exclude.item[i], &excluded, &how.n_excluded);
  if (code != NK_OK) goto done;
  how.excluded = excluded;
  if (o->region != NULL) {
    region = nk_region_read(o->region);
    if (region == NULL) {
      code = nk_error_code();
      goto done;
    }
    how.from = region->tokens->ids;
    how.n_from = region->tokens->n;
  }
  if (!is_needed) goto done; /* all was checked as in any other part */
  code = nk_ordinary_tokens(job->model, &how, &job->ordinary, &job->probe.n_reference_ids);
  job->probe.reference_ids = job->ordinary;

done:
  nk_region_free(region);
  nk_free(excluded);
  return code;
}

/* ---- Probes and blocks ---- */

/* The items that go through the model by one call; those of a summary are not divided. */
static size_t block_size(const struct run_job *job) {
  return job->options.flag_summary && job->items.n > 0 ? job->items.n : CLI_BLOCK;
}

/* The blocks of this shard, a scan for each probe. */
static void find_blocks(const struct run_job *job, size_t range[2]) {
  size_t n_probes = job->prompts.n * job->n_layers;
  cli_shard_range(&job->shard, cli_count_blocks(n_probes, job->items.n, block_size(job)), range);
}

static int make_probes(struct run_job *job) {
  return cli_new_probes(job->model, &job->prompts, job->layers, job->n_layers, &job->probe,
                        &job->probes);
}

void run_free_probes(struct run_job *job) {
  cli_probes_free(&job->probes, job->prompts.n * job->n_layers);
}

/* Checks all options before any work. */
static int prepare(struct run_job *job) {
  const struct run_options *o = &job->options;
  job->probe =
      (struct nk_probe_options){.mode = o->mode == 0 ? NK_REPLACE : NK_ADD,
                                .n_offsets = o->offsets + 1, /* RUN_NOT_GIVEN: 0, the end */
                                .n_generate = o->generate,
                                .seed = job->run->common.seed};
  size_t blocks[2];
  int code = run_read_places(job);
  if (code == NK_OK) code = read_capture(job);
  if (code == NK_OK) code = read_lens(job);
  if (code == NK_OK) code = make_probes(job);
  if (code == NK_OK) code = read_flags(job);
  if (code == NK_OK) code = run_read_items(job);
  if (code != NK_OK) return code;
  run_free_probes(job); /* they were a check: the set's layer and the reference are still to come */
  if (o->capture == NULL && o->lens == NULL && !o->flag_summary) {
    find_blocks(job, blocks);
    code = draw_reference(job, job->shard.n <= 1 || blocks[0] < blocks[1]);
  }
  return code == NK_OK ? make_probes(job) : code;
}

/* ---- Output ---- */

static struct cli_behaviour_table describe(const struct run_job *job) {
  struct cli_behaviour_table table = {.tokenizer = nk_model_tokenizer(job->model),
                                      .items = &job->items.all,
                                      .at = job->at,
                                      .norms = job->norms,
                                      .n_norms = job->n_norms,
                                      .n_generate = job->options.generate,
                                      .flags = job->flags};
  for (size_t p = 0; p < job->prompts.n; p++)
    table.echo = table.echo || job->prompts.item[p].repetition;
  return table;
}

/* A row for each item and offset; or, with --flag-summary, one for each flag and group of items. */
static int run_block(const struct run_job *job, const struct cli_behaviour_table *what,
                     const struct cli_block *block, struct cli_table *table) {
  struct nk_vectors vectors;
  const struct nk_items items = cli_slice_items(&job->items.all, block->first, block->n, &vectors);
  struct nk_probe *probe = job->probes[block->scan];
  bool sums = job->options.flag_summary;
  struct nk_behaviour *behaviour = sums ? NULL : nk_probe_run(probe, &items);
  size_t generate = job->options.generate;
  int64_t *ids = nk_alloc(block->n, (generate + 1) * sizeof *ids);
  size_t *lengths = nk_alloc(block->n, sizeof *lengths);
  bool failed = (behaviour == NULL && !sums) || ids == NULL || lengths == NULL;
  int code = failed ? nk_error_code() : NK_OK;
  if (code == NK_OK && generate > 0) code = nk_probe_generate(probe, &items, ids, lengths);
  const struct cli_behaviour_result result = {
      .prompt = &job->prompts.item[block->scan / job->n_layers],
      .layer = job->layers[block->scan % job->n_layers],
      .first = block->first,
      .behaviour = behaviour,
      .ids = ids,
      .lengths = lengths};
  if (code == NK_OK)
    code = sums ? cli_flag_summary_rows(&job->flag_summary, what, &result, table)
                : cli_behaviour_table_rows(what, &result, table);
  nk_behaviour_free(behaviour);
  nk_free(ids);
  nk_free(lengths);
  return code;
}

static int run_lens(const struct run_job *job, const struct cli_behaviour_table *what,
                    const struct cli_block *block, struct cli_table *table) {
  const struct cli_lens_probe probe = {.model = job->model,
                                       .probe = job->probes[block->scan],
                                       .prompt = &job->prompts.item[block->scan / job->n_layers],
                                       .at = job->layers[block->scan % job->n_layers],
                                       .first = block->first,
                                       .n = block->n};
  return cli_lens_rows(&job->lens, what, &probe, table);
}

/* The rows of this shard's blocks. */
static int print_blocks(struct run_job *job, const struct cli_behaviour_table *what,
                        struct cli_table *table) {
  size_t range[2];
  int code = NK_OK;
  find_blocks(job, range);
  for (size_t i = range[0]; i < range[1] && code == NK_OK; i++) {
    const struct cli_block block = cli_block_at(i, job->items.n, block_size(job));
    code = cli_report_block(i, range);
    if (code == NK_OK)
      code = (job->options.lens != NULL ? run_lens : run_block)(job, what, &block, table);
    if (block.first + block.n < job->items.n) continue;
    nk_probe_free(job->probes[block.scan]); /* with its reference */
    job->probes[block.scan] = NULL;
  }
  return code == NK_OK ? cli_report_block(range[1], range) : code;
}

static int print_table(struct run_job *job) {
  const struct cli_behaviour_table what = describe(job);
  bool lens = job->options.lens != NULL;
  struct nk_output *output = cli_output(job->run, NK_OUTPUT_TEXT);
  struct cli_table *table = output != NULL ? cli_shard_table(&job->shard, job->run, output) : NULL;
  int code = table == NULL               ? nk_error_code()
             : lens                      ? cli_lens_head(&job->lens, &what, table)
             : job->options.flag_summary ? cli_flag_summary_head(&what, table)
                                         : cli_behaviour_table_head(&what, table);
  if (code == NK_OK) code = print_blocks(job, &what, table);
  return cli_close(table, output, code);
}

int run_answers(struct run_job *job) {
  int code = prepare(job);
  if (code != NK_OK) return code;
  if (job->options.capture == NULL) return print_table(job);
  struct nk_vectors *set = cli_capture_run(&job->capture, job->model, job->probes, &job->prompts,
                                           &job->items.all, &job->shard);
  code = cli_write_set(job->run, set);
  nk_vectors_free(set);
  return code;
}
