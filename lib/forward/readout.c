/* From the residual stream to the next token's distribution. The unembedding is processed in blocks
 * of the vocabulary, each widened once for all rows. A block times a tile of rows gives logits that
 * are reduced at once and then overwritten, so that memory does not grow with the vocabulary times
 * the batch. Probabilities that are summed over asks need the log-sum-exp first: the logits of
 * those rows are computed a second time. An engine that gives logits has them reduced in place. */
#include <math.h>
#include <noken/base.h>
#include <string.h>

#include "forward/bf16.h"
#include "forward/internal.h"

enum {
  RUN = 512,
  NARROW = 256, /* rows up to here take less time to multiply than to write */
  NARROW_BLOCK = NKI_VOCABULARY_BLOCK / 4, /* whose logits of a tile of rows stay in the cache */
};

struct row {
  struct nk_ask *ask;
  struct nki_moments moments;
  size_t n_top; /* found so far */
};

struct readout {
  const struct nk_forward *forward;
  float *normed;             /* [n, dim] after the final norm, or NULL */
  const float *final;        /* normed, or [n, vocabulary] logits */
  float *scratch;            /* [NKI_VOCABULARY_BLOCK, dim] */
  struct nki_bf16_run *bf16; /* for products of bfloat16, or NULL */
  float *bias;               /* [NKI_VOCABULARY_BLOCK] */
  float *products;           /* [NKI_ROW_TILE, NKI_VOCABULARY_BLOCK], or those kept: */
  bool keep, kept;           /* [rows of a visit, vocabulary], to be filled or filled */
};

/* Tokens [first, first + n) of the vocabulary. */
struct block {
  size_t first, n;
  const float *weight, *bias; /* of these tokens; NULL where the logits are given, or packed: */
  const struct nki_packed *packed;
};

/* Logits of a block: row i at data + i * ld. */
struct logits {
  const float *data;
  size_t ld;
};

/* ---- One row's block ---- */

/* Keeps the largest so far, ties by id: logits are read in the order of their ids, so a later one
 * of the same value goes after an earlier one. top_log_probs hold logits until the end. */
static void take_top(struct row *row, float logit, int64_t id) {
  struct nk_ask *ask = row->ask;
  size_t at = row->n_top < ask->n_top ? row->n_top++ : ask->n_top - 1;
  for (; at > 0 && ask->top_log_probs[at - 1] < logit; at--) {
    ask->top_log_probs[at] = ask->top_log_probs[at - 1];
    ask->top_ids[at] = ask->top_ids[at - 1];
  }
  ask->top_log_probs[at] = logit;
  ask->top_ids[at] = id;
}

/* The first of the logits that is the largest. */
static size_t find(const float *logits, size_t n, float largest) {
  size_t i = 0;
  while (i + 1 < n && logits[i] != largest) i++;
  return i;
}

static void take_block(struct row *row, const float *logits, size_t first, size_t n) {
  struct nk_ask *ask = row->ask;
  size_t best = n;                         /* of the top 1: the run that has it */
  for (size_t at = 0; at < n; at += RUN) { /* short runs keep float sums exact enough */
    size_t length = n - at < RUN ? n - at : RUN;
    float largest;
    nki_moments_add(&row->moments, logits + at,
                    ask->reference == NULL ? NULL : ask->reference + first + at, length, &largest);
    if (ask->n_top == 0) continue;
    if (row->n_top == ask->n_top && !(largest > ask->top_log_probs[ask->n_top - 1])) continue;
    if (ask->n_top == 1) {
      row->n_top = 1;
      ask->top_log_probs[0] = largest;
      best = at;
      continue;
    }
    for (size_t i = at; i < at + length; i++)
      if (row->n_top < ask->n_top || logits[i] > ask->top_log_probs[ask->n_top - 1])
        take_top(row, logits[i], (int64_t)(first + i));
  }
  if (best < n) {
    size_t length = n - best < RUN ? n - best : RUN;
    ask->top_ids[0] = (int64_t)(first + best + find(logits + best, length, ask->top_log_probs[0]));
  }
  for (size_t k = 0; k < ask->n_ids; k++)
    if ((size_t)ask->ids[k] >= first && (size_t)ask->ids[k] < first + n)
      ask->log_probs[k] = logits[(size_t)ask->ids[k] - first];
  if (ask->logits != NULL) memcpy(ask->logits + first, logits, n * sizeof *logits);
}

/* False when the distribution is not finite. */
static bool finish(struct row *row) {
  struct nk_ask *ask = row->ask;
  const struct nki_moments *m = &row->moments;
  double log_sum = log(m->sum);
  ask->log_sum_exp = m->max + log_sum;
  /* -sum p log p with log p = (l - max) - log sum */
  ask->entropy = log_sum - m->sum_logit / m->sum;
  ask->kl = ask->reference == NULL ? NAN : -ask->entropy - m->sum_reference / m->sum;
  for (size_t k = 0; k < ask->n_top; k++)
    ask->top_log_probs[k] = (float)((double)ask->top_log_probs[k] - ask->log_sum_exp);
  for (size_t k = 0; k < ask->n_ids; k++)
    ask->log_probs[k] = (float)((double)ask->log_probs[k] - ask->log_sum_exp);
  return isfinite(ask->log_sum_exp) && isfinite(ask->entropy);
}

/* ---- Blocks of the vocabulary ---- */

static size_t block_tokens(const struct nk_forward *forward) {
  return forward->config.shape.dim <= NARROW ? NARROW_BLOCK : NKI_VOCABULARY_BLOCK;
}

/* The block of tokens from `first` on, its weights and biases as floats. */
static struct block load_block(const struct readout *r, size_t first) {
  const struct nk_forward *f = r->forward;
  size_t dim = f->config.shape.dim, rest = f->config.shape.n_vocabulary - first;
  size_t most = block_tokens(f);
  struct block block = {.first = first, .n = rest < most ? rest : most};
  if (f->engine->gives_logits) return block;
  if (r->bf16 != NULL)
    block.packed = nki_bf16_load_rows(r->bf16, f->unembedding, first, block.n, r->scratch);
  else
    block.weight = nki_tensor_floats(f->unembedding, first * dim, block.n * dim, r->scratch);
  if (f->unembedding_bias != NULL)
    block.bias = nki_tensor_floats(f->unembedding_bias, first, block.n, r->bias);
  return block;
}

/* Those of the rows from `row` on, `at` rows into the visit: where they are, or computed into
 * r->products. */
static struct logits block_logits(const struct readout *r, const struct block *block, size_t row,
                                  size_t at, size_t n_rows) {
  const struct nki_config *c = &r->forward->config;
  size_t n = block->n, vocabulary = c->shape.n_vocabulary;
  if (r->forward->engine->gives_logits)
    return (struct logits){r->final + row * vocabulary + block->first, vocabulary};
  float *y = r->keep ? r->products + at * vocabulary + block->first : r->products;
  size_t ld = r->keep ? vocabulary : n;
  const struct logits logits = {y, ld};
  if (r->kept) return logits;
  const struct nki_product product = {.weight = block->weight,
                                      .packed = block->packed,
                                      .n_out = n,
                                      .total = n,
                                      .n_in = c->shape.dim,
                                      .x = r->final + row * c->shape.dim,
                                      .ld_x = c->shape.dim,
                                      .y = y,
                                      .ld_y = ld};
  nki_multiply(&product, n_rows);
  if (block->bias != NULL) nki_add_bias(y, n_rows, n, ld, block->bias);
  if (c->logit_cap == 0) return logits;
#pragma omp parallel for
  for (size_t i = 0; i < n_rows; i++) nki_soft_cap(y + i * ld, n, c->logit_cap);
  return logits;
}

/* Calls visit for each block of the vocabulary and tile of rows [from, end). */
static void visit_blocks(const struct readout *r, size_t from, size_t end, nki_visit_logits *visit,
                         void *argument) {
  size_t vocabulary = r->forward->config.shape.n_vocabulary;
  for (size_t first = 0; first < vocabulary; first += block_tokens(r->forward)) {
    const struct block block = load_block(r, first);
    for (size_t row = from; row < end; row += NKI_ROW_TILE) {
      size_t tile = end - row < NKI_ROW_TILE ? end - row : NKI_ROW_TILE;
      const struct logits logits = block_logits(r, &block, row, row - from, tile);
      const struct nki_logits seen = {.first = first,
                                      .n = block.n,
                                      .row = row,
                                      .n_rows = tile,
                                      .logits = logits.data,
                                      .ld = logits.ld,
                                      .weight = block.weight,
                                      .normed = r->final + row * r->forward->config.shape.dim};
      visit(argument, &seen);
    }
  }
}

/* Reduces the blocks of all rows. */
static void reduce(void *argument, const struct nki_logits *l) {
  struct row *rows = argument;
#pragma omp parallel for schedule(dynamic, 8)
  for (size_t i = 0; i < l->n_rows; i++)
    take_block(&rows[l->row + i], l->logits + i * l->ld, l->first, l->n);
}

/* The second pass of rows whose probabilities are summed: in the order of the asks for every token,
 * so the sums do not depend on the threads. */
static void sum_probabilities(void *argument, const struct nki_logits *l) {
  struct row *rows = argument;
  const size_t slice = 256;
#pragma omp parallel for
  for (size_t at = 0; at < l->n; at += slice) {
    size_t length = l->n - at < slice ? l->n - at : slice;
    for (size_t i = 0; i < l->n_rows; i++) {
      const struct nk_ask *ask = rows[l->row + i].ask;
      if (ask->sum != NULL)
        nki_add_probabilities(ask->sum + l->first + at, l->logits + i * l->ld + at,
                              ask->log_sum_exp, length);
    }
  }
}

/* ---- The whole ---- */

static int normalize(const struct nk_forward *f, float *hidden, size_t n, float *out) {
  size_t dim = f->config.shape.dim;
  float *scratch = nk_alloc(2 * dim, sizeof *scratch);
  if (scratch == NULL) return NK_EMEMORY;
  const struct nki_norm_step norm = nki_outer_norm(f, &f->final_norm, scratch);
  bool finite = nki_norm_rows(&norm, hidden, n, out);
  nk_free(scratch);
  if (f->config.logit_scale != 1.0f) nki_scale(out, n * dim, f->config.logit_scale);
  return finite ? NK_OK : nki_fail_block(f, f->config.shape.n_layers - 1);
}

static void close_readout(struct readout *r) {
  nki_bf16_run_free(r->bf16);
  nk_free(r->normed);
  nk_free(r->scratch);
  nk_free(r->bias);
  nk_free(r->products);
}

/* For visits of at most n_kept rows whose logits are kept; 0: none are. NK_OK or a negative code;
 * close_readout in either case. */
static int open_readout(const struct nk_forward *forward, float *final, size_t n, size_t n_kept,
                        struct readout *r) {
  size_t dim = forward->config.shape.dim, tile = n < NKI_ROW_TILE ? n : NKI_ROW_TILE;
  size_t row = n_kept > 0 ? forward->config.shape.n_vocabulary : NKI_VOCABULARY_BLOCK;
  *r = (struct readout){.forward = forward, .final = final, .keep = n_kept > 0};
  if (forward->engine->gives_logits) return NK_OK;
  r->final = r->normed = nk_alloc(n * dim, sizeof(float));
  r->scratch = nk_alloc(NKI_VOCABULARY_BLOCK * dim, sizeof(float));
  r->bias = nk_alloc(NKI_VOCABULARY_BLOCK, sizeof(float));
  r->products = nk_alloc(n_kept > 0 ? n_kept : tile, row * sizeof(float));
  if (forward->bf16 != NULL) r->bf16 = nki_bf16_run_new(forward->bf16);
  if (r->normed == NULL || r->scratch == NULL || r->bias == NULL || r->products == NULL ||
      (forward->bf16 != NULL && r->bf16 == NULL))
    return NK_EMEMORY;
  return normalize(forward, final, n, r->normed);
}

int nki_readout(const struct nk_forward *forward, float *final, size_t n, struct nk_ask **asks) {
  struct readout r;
  if (n == 0) return NK_OK;
  struct row *rows = nk_calloc(n, sizeof *rows);
  int code = open_readout(forward, final, n, 0, &r);
  if (code == NK_OK && rows == NULL) code = NK_EMEMORY;
  if (code != NK_OK) goto done;
  bool sums = false, finite = true;
  for (size_t i = 0; i < n; i++) {
    rows[i].ask = asks[i];
    rows[i].moments.max = -INFINITY;
    sums = sums || asks[i]->sum != NULL;
  }
  visit_blocks(&r, 0, n, reduce, rows);
  for (size_t i = 0; i < n; i++) finite = finish(&rows[i]) && finite;
  if (nki_bf16_code(r.bf16) == NK_OK && !finite)
    code = nki_fail_logits(forward, r.final, n);
  else if (sums)
    visit_blocks(&r, 0, n, sum_probabilities, rows);
  if (code == NK_OK) code = nki_bf16_code(r.bf16);
done:
  close_readout(&r);
  nk_free(rows);
  return code;
}

/* Reduces the blocks of rows with any number of asks. */
struct shared {
  struct row *rows;    /* of the asks */
  const size_t *start; /* [n + 1] */
};

static void reduce_shared(void *argument, const struct nki_logits *l) {
  const struct shared *s = argument;
#pragma omp parallel for schedule(dynamic, 8)
  for (size_t i = 0; i < l->n_rows; i++)
    for (size_t k = s->start[l->row + i]; k < s->start[l->row + i + 1]; k++)
      take_block(&s->rows[k], l->logits + i * l->ld, l->first, l->n);
}

int nki_readout_twice(const struct nk_forward *forward, struct nki_readers *readers,
                      nki_visit_logits *visit, void *argument) {
  struct readout r;
  size_t n = readers->n, n_asks = n == 0 ? 0 : readers->start[n];
  size_t most = 1 + readers->memory / sizeof(float) / forward->config.shape.n_vocabulary;
  if (n == 0) return NK_OK;
  if (most > n || visit == NULL) most = n;
  struct row *rows = nk_calloc(n_asks, sizeof *rows);
  struct shared shared = {rows, readers->start};
  int code = open_readout(forward, readers->final, n, visit == NULL ? 0 : most, &r);
  if (code == NK_OK && rows == NULL) code = NK_EMEMORY;
  for (size_t i = 0; i < n_asks && code == NK_OK; i++) {
    rows[i].ask = readers->asks[i];
    rows[i].moments.max = -INFINITY;
  }
  for (size_t row = 0; row < n && code == NK_OK; row += most) {
    size_t end = n - row < most ? n : row + most;
    bool finite = true;
    r.kept = false;
    visit_blocks(&r, row, end, reduce_shared, &shared);
    for (size_t i = readers->start[row]; i < readers->start[end]; i++)
      finite = finish(&rows[i]) && finite;
    r.kept = true;
    if (!finite)
      code = nki_fail_logits(forward, r.final, n);
    else if (visit != NULL)
      visit_blocks(&r, row, end, visit, argument);
  }
  close_readout(&r);
  nk_free(rows);
  return code;
}
