/* The price of a change: how far the models' answers to ordinary tokens are apart, and what it does
 * to the loss on a text. */
#include <math.h>
#include <string.h>

#include "compare/compare.h"

static const struct compare_row ROW = {.distance = (double)NAN,
                                       .quantile = (double)NAN,
                                       .times = (double)NAN,
                                       .layer = COMPARE_NOT_GIVEN,
                                       .unit = "nats"};

/* ---- Divergence ---- */

enum { LOGITS_AT_ONCE = 1 << 23 }; /* 32 MiB of each model */

/* sum p (x - y) + log(sum exp y / sum exp x), from differences of the logits. */
double compare_divergence_of(const float *x, const float *y, size_t n) {
  double most_x = -INFINITY, most_y = -INFINITY, sum_x = 0, sum_y = 0, dot = 0;
  for (size_t i = 0; i < n; i++) {
    most_x = fmax(most_x, (double)x[i]);
    most_y = fmax(most_y, (double)y[i]);
  }
  double shift = most_x - most_y;
  for (size_t i = 0; i < n; i++) {
    double p = exp((double)x[i] - most_x);
    sum_x += p;
    sum_y += exp((double)y[i] - most_y);
    if (p > 0) dot += p * ((double)x[i] - (double)y[i] - shift);
  }
  return fmax(0, dot / sum_x + log(sum_y / sum_x));
}

/* A prompt with the tokens that are put into its slots. */
struct prompt {
  int64_t *ids; /* [n] NK_VECTOR in the slots */
  size_t n, first;
};

/* logits [n, vocabulary] at the prompt's end with each of tokens [n]. */
static int run_block(struct nk_model *model, const struct prompt *prompt, const int64_t *tokens,
                     size_t n, float *logits) {
  struct nk_forward *forward = nk_model_forward(model);
  size_t length = prompt->n - prompt->first, vocabulary = nk_forward_shape(forward)->n_vocabulary;
  int64_t *ids = nk_alloc(n, length * sizeof *ids);
  struct nk_sequence *sequences = nk_alloc(n, sizeof *sequences);
  struct nk_ask *asks = nk_calloc(n, sizeof *asks);
  int code = ids == NULL || sequences == NULL || asks == NULL ? NK_EMEMORY : NK_OK;
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    int64_t *own = ids + i * length;
    for (size_t k = 0; k < length; k++) {
      int64_t id = prompt->ids[prompt->first + k];
      own[k] = id == NK_VECTOR ? tokens[i] : id;
    }
    sequences[i] = (struct nk_sequence){own, length};
    asks[i] = (struct nk_ask){
        .sequence = i, .position = prompt->n - 1, .logits = logits + i * vocabulary};
  }
  const struct nk_batch batch = {.prefix = {prompt->ids, prompt->first},
                                 .sequences = sequences,
                                 .n_sequences = n,
                                 .asks = asks,
                                 .n_asks = n};
  if (code == NK_OK) code = nk_forward_run(forward, &batch);
  nk_free(ids);
  nk_free(sequences);
  nk_free(asks);
  return code;
}

/* out [n_ordinary] = KL(BEFORE || AFTER) in one prompt; logits [2, n_block, vocabulary]. */
static int diverge_in(const struct compare_job *job, const char *text, float *logits,
                      size_t n_block, double *out) {
  size_t vocabulary = job->shape->n_vocabulary, side_size = n_block * vocabulary;
  struct prompt prompt = {0};
  int code = nk_prompt_encode(job->tokenizer, text, strlen(text), true, &prompt.ids, &prompt.n);
  while (code == NK_OK && prompt.first < prompt.n && prompt.ids[prompt.first] != NK_VECTOR)
    prompt.first++;
  for (size_t at = 0; at < job->n_ordinary && code == NK_OK; at += n_block) {
    size_t n = job->n_ordinary - at < n_block ? job->n_ordinary - at : n_block;
    for (int side = 0; side < COMPARE_SIDES && code == NK_OK; side++)
      code = run_block(job->model[side], &prompt, job->ordinary + at, n,
                       logits + (size_t)side * side_size);
    for (size_t i = 0; i < n && code == NK_OK; i++)
      out[at + i] = compare_divergence_of(logits + i * vocabulary,
                                          logits + side_size + i * vocabulary, vocabulary);
  }
  nk_free(prompt.ids);
  return code;
}

static int write_divergence(const struct compare_job *job, const double *values) {
  static const struct {
    const char *name;
    enum compare_statistic statistic;
    double cut;
  } rows[] = {{"divergence_mean", COMPARE_MEAN, 0},
              {"divergence_q99", COMPARE_QUANTILE, 0.99},
              {"divergence_max", COMPARE_MAXIMUM, 0}};
  const struct compare_values of = {
      .value = {NULL, values}, .n_items = job->n_ordinary, .n_places = job->prompts.n};
  size_t *items = nk_alloc(job->n_ordinary, sizeof *items);
  int code = items == NULL ? NK_EMEMORY : NK_OK;
  for (size_t i = 0; i < job->n_ordinary && code == NK_OK; i++) items[i] = i;
  for (size_t r = 0; r < sizeof rows / sizeof *rows && code == NK_OK; r++) {
    struct compare_row row = ROW;
    row.name = rows[r].name;
    row.statistic = rows[r].statistic;
    row.cut = rows[r].cut;
    code = compare_write(job, &row, &of, items, job->n_ordinary);
  }
  nk_free(items);
  return code;
}

int compare_divergence(struct compare_job *job) {
  size_t vocabulary = job->shape->n_vocabulary, n = job->n_ordinary;
  size_t n_block = LOGITS_AT_ONCE / vocabulary < 1 ? 1 : LOGITS_AT_ONCE / vocabulary;
  if (n_block > n) n_block = n;
  float *logits = nk_alloc(n_block * vocabulary, COMPARE_SIDES * sizeof *logits);
  double *values = nk_alloc(n, job->prompts.n * sizeof *values);
  int code = logits == NULL || values == NULL ? NK_EMEMORY : NK_OK;
  for (size_t p = 0; p < job->prompts.n && code == NK_OK; p++)
    code = diverge_in(job, job->prompts.item[p].text, logits, n_block, values + p * n);
  if (code == NK_OK) code = write_divergence(job, values);
  nk_free(logits);
  nk_free(values);
  return code;
}

/* ---- Loss ---- */

enum { POSITIONS_AT_ONCE = 1 << 14 };

/* Adds to loss [*n] the surprises of the tokens of contexts [first, *end): -log p, each given those
 * before it. line [*n]: its context. */
static int run_lines(const struct cli_contexts *c, struct nk_model *model, size_t first,
                     size_t *end, double *loss, size_t *line, size_t *n) {
  size_t positions = 0, n_asks = 0;
  for (*end = first; *end < c->n && positions < POSITIONS_AT_ONCE; ++*end)
    positions += c->item[*end].n;
  struct nk_ask *asks = nk_calloc(positions, sizeof *asks);
  float *log_probs = nk_alloc(positions, sizeof *log_probs);
  struct nk_sequence *sequences = nk_alloc(*end - first, sizeof *sequences);
  int code = asks == NULL || log_probs == NULL || sequences == NULL ? NK_EMEMORY : NK_OK;
  size_t n_sequences = 0;
  for (size_t i = first; i < *end && code == NK_OK; i++) {
    if (c->item[i].n < 2) continue;
    sequences[n_sequences] = c->item[i];
    for (size_t k = c->n_begin > 0 ? c->n_begin - 1 : 0; k + 1 < c->item[i].n; k++) {
      asks[n_asks] = (struct nk_ask){.sequence = n_sequences,
                                     .position = k,
                                     .ids = &c->item[i].ids[k + 1],
                                     .n_ids = 1,
                                     .log_probs = &log_probs[n_asks]};
      line[*n + n_asks++] = i;
    }
    n_sequences++;
  }
  const struct nk_batch batch = {
      .sequences = sequences, .n_sequences = n_sequences, .asks = asks, .n_asks = n_asks};
  if (code == NK_OK && n_asks > 0) code = nk_forward_run(nk_model_forward(model), &batch);
  for (size_t i = 0; i < n_asks && code == NK_OK; i++) loss[*n + i] = -(double)log_probs[i];
  *n += n_asks;
  nk_free(asks);
  nk_free(log_probs);
  nk_free(sequences);
  return code;
}

/* Numbers the lines that have losses from 0. */
static void number_lines(size_t *line, size_t n) {
  size_t number = 0;
  for (size_t i = 0, last = n > 0 ? line[0] : 0; i < n; i++) {
    number += line[i] != last;
    last = line[i];
    line[i] = number;
  }
}

/* The mean loss of a token; lines are independent. */
static int write_loss(const struct compare_job *job, double *const loss[COMPARE_SIDES],
                      const size_t *line, size_t n) {
  struct compare_row row = ROW;
  const struct compare_values values = {.value = {loss[COMPARE_BEFORE], loss[COMPARE_AFTER]},
                                        .n_items = n,
                                        .n_places = 1,
                                        .cluster = line};
  size_t *items = nk_alloc(n, sizeof *items);
  if (items == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < n; i++) items[i] = i;
  row.name = "text_loss";
  row.statistic = COMPARE_MEAN;
  int code = compare_write(job, &row, &values, items, n);
  nk_free(items);
  return code;
}

int compare_text(struct compare_job *job) {
  const struct cli_contexts *text = &job->text;
  double *loss[COMPARE_SIDES] = {NULL, NULL};
  size_t *line = NULL, n = 0, most = 0;
  for (size_t i = 0; i < text->n; i++) most += text->item[i].n;
  line = nk_alloc(most, sizeof *line);
  for (int side = 0; side < COMPARE_SIDES; side++) loss[side] = nk_alloc(most, sizeof(double));
  int code = line == NULL || loss[0] == NULL || loss[1] == NULL ? NK_EMEMORY : NK_OK;
  for (int side = 0; side < COMPARE_SIDES && code == NK_OK; side++) {
    n = 0;
    for (size_t first = 0, end; first < text->n && code == NK_OK; first = end)
      code = run_lines(text, job->model[side], first, &end, loss[side], line, &n);
    if (code != NK_OK && code != NK_EMEMORY) nk_fail_in(code, "%s", job->run->operands[side]);
  }
  number_lines(line, n);
  if (code == NK_OK) code = write_loss(job, loss, line, n);
  for (int side = 0; side < COMPARE_SIDES; side++) nk_free(loss[side]);
  nk_free(line);
  return code;
}
