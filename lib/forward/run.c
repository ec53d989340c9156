/* Running a batch, a group after the other: the blocks, then the distributions that are asked for,
 * then generation, one token of all of the group's sequences at a time. */
#include <math.h>
#include <noken/base.h>
#include <string.h>

#include <noken/forward.h>
#include "base/error.h"
#include "forward/batch.h"

struct run {
  const struct nk_forward *forward;
  const struct nk_batch *batch;
  struct nki_plan plan;
  struct nki_work work;
  size_t done, total; /* passes, for progress */
};

/* ---- Distributions ---- */

static const float *final_row(const struct nki_pass *pass, size_t row, size_t width) {
  size_t lo = 0, hi = pass->n_final;
  while (hi - lo > 1) {
    size_t mid = (lo + hi) / 2;
    if (pass->final_rows[mid] <= row)
      lo = mid;
    else
      hi = mid;
  }
  return pass->final + lo * width;
}

static int answer(const struct run *run, const struct nki_pass *pass) {
  size_t width = nki_final_width(run->forward), n = 0;
  struct nk_ask **asks = nk_alloc(pass->n_asks, sizeof(struct nk_ask *));
  float *hidden = NULL;
  int code = NK_EMEMORY;
  if (asks == NULL) return code;
  for (size_t i = 0; i < pass->n_asks; i++)
    n += nki_ask_distribution(&run->batch->asks[pass->asks[i].index]);
  hidden = nk_alloc(n * width, sizeof *hidden);
  if (hidden == NULL) goto done;
  n = 0;
  for (size_t i = 0; i < pass->n_asks; i++) {
    struct nk_ask *ask = &run->batch->asks[pass->asks[i].index];
    if (!nki_ask_distribution(ask)) continue;
    memcpy(hidden + n * width, final_row(pass, pass->asks[i].row, width), width * sizeof *hidden);
    asks[n++] = ask;
  }
  code = nki_readout(run->forward, hidden, n, asks);
done:
  nk_free(hidden);
  nk_free(asks);
  return code;
}

/* ---- Generation ---- */

/* Stores the chosen tokens; keeps in live [*n_live] the spans that have not ended. */
static void take_tokens(const struct nk_generation *g, const struct nki_pass *pass,
                        const int64_t *tokens, size_t step, size_t *live, size_t *n_live) {
  size_t kept = 0;
  for (size_t i = 0; i < *n_live; i++) {
    size_t sequence = pass->spans[live[i]].sequence;
    bool stops = false;
    g->ids[sequence * g->n_tokens + step] = tokens[i];
    g->lengths[sequence] = step + 1;
    for (size_t k = 0; k < g->n_stop; k++) stops = stops || g->stop[k] == tokens[i];
    if (!stops) live[kept++] = live[i];
  }
  *n_live = kept;
}

/* One more position of every live sequence: its newest token through the blocks. */
static int decode(struct run *run, const struct nki_pass *prompt, const size_t *live, size_t n,
                  size_t step, struct nki_pass *pass) {
  const struct nk_generation *g = run->batch->generation;
  static const struct nk_batch nothing; /* overrides and asks belong to the prompt */
  for (size_t i = 0; i < n; i++) {
    const struct nki_span *from = &prompt->spans[live[i]];
    pass->spans[i] = (struct nki_span){.sequence = from->sequence,
                                       .ids = &g->ids[from->sequence * g->n_tokens + step - 1],
                                       .n = 1,
                                       .position = from->position + from->n + step - 1,
                                       .past = from->n + step - 1,
                                       .row = i,
                                       .cache = from->cache};
    pass->final_rows[i] = i;
  }
  pass->n_spans = pass->n_rows = pass->n_final = n;
  pass->depth = prompt->depth;
  pass->cache_k = prompt->cache_k;
  pass->cache_v = prompt->cache_v;
  pass->cache_rows = prompt->cache_rows;
  nki_pass_number(pass);
  return run->forward->engine->pass(&run->work, &nothing, pass);
}

static int generate(struct run *run, const struct nki_pass *prompt) {
  const struct nk_generation *g = run->batch->generation;
  size_t dim = run->forward->config.shape.dim, width = nki_final_width(run->forward), n = 0;
  struct nki_pass pass = {0};
  size_t *live = nk_alloc(prompt->n_spans, sizeof *live);
  size_t *sequences = nk_alloc(prompt->n_spans, sizeof *sequences);
  int64_t *tokens = nk_alloc(prompt->n_spans, sizeof *tokens);
  int code = NK_EMEMORY;
  pass.spans = nk_alloc(prompt->n_spans, sizeof *pass.spans);
  pass.x = nk_alloc(prompt->n_spans * dim, sizeof(float));
  pass.final = nk_alloc(prompt->n_spans * width, sizeof(float));
  pass.positions = nk_alloc(prompt->n_spans, sizeof(uint32_t));
  pass.numbers = nk_alloc(prompt->n_spans, sizeof(uint32_t));
  pass.final_rows = nk_alloc(prompt->n_spans, sizeof(size_t));
  if (live == NULL || sequences == NULL || tokens == NULL || pass.spans == NULL || pass.x == NULL ||
      pass.final == NULL || pass.positions == NULL || pass.numbers == NULL ||
      pass.final_rows == NULL)
    goto done;
  for (size_t s = 0; s < prompt->n_spans; s++) {
    const struct nki_span *span = &prompt->spans[s];
    if (span->sequence == NK_PREFIX) continue;
    memcpy(pass.final + n * width, final_row(prompt, span->row + span->n - 1, width),
           width * sizeof(float));
    live[n++] = s;
  }
  code = NK_OK;
  for (size_t step = 0; step < g->n_tokens && n > 0 && code == NK_OK; step++) {
    if (step > 0) code = decode(run, prompt, live, n, step, &pass);
    for (size_t i = 0; i < n; i++) sequences[i] = prompt->spans[live[i]].sequence;
    const struct nki_step at = {run->forward, g, sequences, n, step};
    if (code == NK_OK) code = nki_choose(&at, pass.final, tokens);
    if (code == NK_OK) take_tokens(g, prompt, tokens, step, live, &n);
    if (code == NK_OK) code = nk_progress("forward pass", ++run->done, run->total);
  }
done:
  pass.cache_k = pass.cache_v = NULL; /* the prompt's */
  nki_pass_free(&pass);
  nk_free(live);
  nk_free(sequences);
  nk_free(tokens);
  return code;
}

/* ---- The whole ---- */

static int run_group(struct run *run, size_t group) {
  struct nki_pass pass = {0};
  const struct nk_generation *g = run->batch->generation;
  int code = nki_pass_make(&run->plan, group, &pass);
  if (code == NK_OK && pass.n_spans > 0) {
    code = run->forward->engine->pass(&run->work, run->batch, &pass);
    if (code == NK_OK) code = answer(run, &pass);
    if (code == NK_OK) code = nk_progress("forward pass", ++run->done, run->total);
    if (code == NK_OK && g != NULL) code = generate(run, &pass);
  }
  run->done =
      (group + 1) * (1 + (g == NULL ? 0 : g->n_tokens)); /* sequences may have ended early */
  nki_pass_free(&pass);
  return code;
}

/* Every sequence has generated nothing yet. */
static void clear_generation(const struct nk_batch *batch) {
  const struct nk_generation *g = batch->generation;
  if (g == NULL) return;
  memset(g->lengths, 0, batch->n_sequences * sizeof *g->lengths);
  for (size_t i = 0; g->watch != NULL && i < batch->n_sequences * g->n_tokens; i++)
    g->watched[i] = NAN;
}

int nk_forward_run(struct nk_forward *forward, const struct nk_batch *batch) {
  if (forward == NULL) return nki_fail_null();
  struct run run = {.forward = forward, .batch = batch};
  size_t longest_span, most;
  int code = nki_plan_make(forward, batch, &run.plan);
  if (code != NK_OK) goto done;
  nki_plan_spans(&run.plan, &longest_span, &most);
  code = forward->engine->begin(&run.plan, longest_span, most, &run.work);
  if (code != NK_OK) goto done;
  clear_generation(batch);
  run.total =
      run.plan.n_groups * (1 + (batch->generation == NULL ? 0 : batch->generation->n_tokens));
  for (size_t g = 0; g < run.plan.n_groups && code == NK_OK; g++) code = run_group(&run, g);
  if (code == NK_OK) code = nk_progress("forward pass", run.total, run.total);
done:
  forward->engine->end(&run.work);
  nki_plan_free(&run.plan);
  return code;
}
