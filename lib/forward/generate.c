/* The choice of the next token: the most probable one, or one drawn. A draw needs a row's whole
 * distribution, so the logits of a few rows at a time are kept. */
#include <math.h>
#include <noken/base.h>
#include <stdlib.h>
#include <string.h>
#include "base/random.h"

#include "forward/internal.h"

static const size_t LOGIT_BYTES = (size_t)64 << 20; /* of distributions kept at once */

int nki_generation_check(const struct nk_generation *g) {
  if (g->n_tokens == 0) return nk_fail(NK_EUSAGE, "0 tokens to generate");
  if (!(g->temperature >= 0) || isinf(g->temperature))
    return nk_fail(NK_EUSAGE, "temperature %g: at least 0 is needed", g->temperature);
  if (!(g->top_p >= 0 && g->top_p <= 1))
    return nk_fail(NK_EUSAGE, "top_p %g: a value between 0 and 1 is needed", g->top_p);
  return NK_OK;
}

struct candidate {
  float logit;
  int64_t id;
};

static int by_logit(const void *a, const void *b) {
  const struct candidate *x = a, *y = b;
  if (x->logit != y->logit) return x->logit < y->logit ? 1 : -1;
  return (x->id > y->id) - (x->id < y->id);
}

/* Draws from softmax(logits / temperature), cut to the top_k and then to the top_p most probable.
 */
static int64_t draw(const struct nk_generation *g, const float *logits, size_t n,
                    struct candidate *candidates, struct nki_random random) {
  for (size_t i = 0; i < n; i++) candidates[i] = (struct candidate){logits[i], (int64_t)i};
  bool cut_p = g->top_p > 0 && g->top_p < 1;
  if (g->top_k > 0 || cut_p) qsort(candidates, n, sizeof *candidates, by_logit);
  if (g->top_k > 0 && g->top_k < n) n = g->top_k;
  double max = -INFINITY, total = 0;
  for (size_t i = 0; i < n; i++) max = fmax(max, (double)candidates[i].logit);
  for (size_t i = 0; i < n; i++) total += exp(((double)candidates[i].logit - max) / g->temperature);
  double mass = cut_p ? 0 : total;
  for (size_t i = 0; i < n && cut_p; i++) {
    mass += exp(((double)candidates[i].logit - max) / g->temperature);
    if (mass >= g->top_p * total) n = i + 1;
  }
  double left = nki_random_uniform(&random) * mass;
  for (size_t i = 0; i < n; i++) {
    left -= exp(((double)candidates[i].logit - max) / g->temperature);
    if (left < 0) return candidates[i].id;
  }
  return candidates[n - 1].id;
}

/* Draws for the rows of final; asks[i] has what is watched. */
static int draw_rows(const struct nki_step *step, float *final, struct nk_ask **asks,
                     int64_t *out) {
  const struct nk_forward_shape *shape = &step->forward->config.shape;
  const struct nk_generation *g = step->generation;
  size_t vocabulary = shape->n_vocabulary, width = nki_final_width(step->forward), n = step->n;
  size_t tile = LOGIT_BYTES / (vocabulary * sizeof(float)) + 1;
  if (tile > n) tile = n;
  float *logits = nk_alloc(tile * vocabulary, sizeof *logits);
  struct candidate *candidates = nk_alloc(tile * vocabulary, sizeof *candidates);
  int code = logits == NULL || candidates == NULL ? NK_EMEMORY : NK_OK;
  for (size_t first = 0; first < n && code == NK_OK; first += tile) {
    size_t rows = n - first < tile ? n - first : tile;
    for (size_t i = 0; i < rows; i++) asks[first + i]->logits = logits + i * vocabulary;
    code = nki_readout(step->forward, final + first * width, rows, asks + first);
    if (code != NK_OK) break;
#pragma omp parallel for
    for (size_t i = 0; i < rows; i++) {
      size_t sequence = step->sequences[first + i];
      struct nki_random random = nki_random_stream(
          g->seed, NKI_RANDOM_GENERATION, g->streams == NULL ? sequence : g->streams[sequence]);
      random.position = 4 * step->step;
      out[first + i] =
          draw(g, logits + i * vocabulary, vocabulary, candidates + i * vocabulary, random);
    }
  }
  nk_free(logits);
  nk_free(candidates);
  return code;
}

int nki_choose(const struct nki_step *step, float *final, int64_t *out) {
  const struct nk_generation *g = step->generation;
  size_t n = step->n;
  struct nk_ask *asks = nk_calloc(n, sizeof *asks);
  struct nk_ask **pointers = nk_alloc(n, sizeof *pointers);
  float *top = nk_alloc(n, sizeof *top);
  int code = NK_EMEMORY;
  if (asks == NULL || pointers == NULL || top == NULL) goto done;
  for (size_t i = 0; i < n; i++) {
    pointers[i] = &asks[i];
    asks[i].distribution = true;
    if (g->temperature == 0) {
      asks[i].n_top = 1;
      asks[i].top_ids = &out[i];
      asks[i].top_log_probs = &top[i];
    }
    if (g->watch != NULL) {
      asks[i].n_ids = 1;
      asks[i].ids = &g->watch[step->sequences[i]];
      asks[i].log_probs = &g->watched[step->sequences[i] * g->n_tokens + step->step];
    }
  }
  if (g->temperature == 0)
    code = nki_readout(step->forward, final, n, pointers);
  else
    code = draw_rows(step, final, pointers, out);
done:
  nk_free(asks);
  nk_free(pointers);
  nk_free(top);
  return code;
}
