/* The loss of a batch of examples and its gradient: one sequence for each, all in one run, and
 * before it the frozen model on those that shall not change. */
#include <math.h>
#include <noken/base.h>
#include <string.h>

#include "base/error.h"
#include "forward/tune.h"

struct layout {
  struct nk_tune *tune;
  const struct nki_example *examples;
  bool train;
  struct nk_batch batch;
  int64_t *ids;
  struct nk_sequence *sequences;
  struct nk_override *overrides;
  struct nk_term *terms; /* in the order of the examples */
  int *kinds;            /* [n_terms] */
  size_t n_terms, of_kind[NKI_N_TERMS];
  struct nk_ask *asks; /* of the frozen model */
  float *frozen;       /* [n_asks, n_vocabulary] log q */
  size_t n_asks;
};

static size_t length_of(const struct nk_tune *tune, const struct nki_example *e) {
  return e->kind == NKI_TEXT ? tune->pieces[e->item].n : tune->probes[e->prompt]->prompt.n;
}

static void put_override(struct layout *l, struct nk_override override) {
  l->overrides[l->batch.n_overrides++] = override;
}

/* A prompt with the noken or the token in its slots. */
static void lay_prompt(struct layout *l, size_t s, int64_t *ids) {
  const struct nki_example *e = &l->examples[s];
  const struct nk_tune *tune = l->tune;
  const struct nk_probe *probe = tune->probes[e->prompt];
  bool replaces = probe->layer == 0 && probe->mode == NK_REPLACE;
  memcpy(ids, probe->prompt.ids, probe->prompt.n * sizeof *ids);
  for (size_t i = 0; i < probe->prompt.n_slots; i++) {
    size_t slot = probe->prompt.slots[i];
    if (e->kind == NKI_ORDINARY) {
      ids[slot] = tune->ordinary[e->item];
      continue;
    }
    if (!replaces) put_override(l, (struct nk_override){s, slot, 0, NK_REPLACE, probe->fill});
    put_override(l, (struct nk_override){s, slot, probe->layer, probe->mode,
                                         tune->nokens + e->item * tune->dim});
  }
}

static void lay_piece(const struct nk_tune *tune, const struct nki_example *e, int64_t *ids) {
  const struct nk_sequence *piece = &tune->pieces[e->item];
  memcpy(ids, piece->ids, piece->n * sizeof *ids);
  if (e->token > 0) ids[e->position] = tune->ordinary[e->token - 1];
}

static void put_term(struct layout *l, int kind, struct nk_term term) {
  l->terms[l->n_terms] = term;
  l->kinds[l->n_terms++] = kind;
  l->of_kind[kind]++;
}

static void put_terms(struct layout *l, size_t s, size_t n) {
  const struct nki_example *e = &l->examples[s];
  for (size_t position = e->kind == NKI_TEXT ? 0 : n - 1; position < n; position++) {
    struct nk_term term = {.sequence = s, .position = position, .kind = NK_TERM_KL_REVERSE};
    if (e->kind == NKI_NOKEN) {
      term.vector = l->tune->targets[e->prompt];
    } else {
      float *logits = l->frozen + l->n_asks * l->tune->n_vocabulary;
      l->asks[l->n_asks++] = (struct nk_ask){
          .sequence = s, .position = position, .distribution = true, .logits = logits};
      term.vector = logits;
    }
    put_term(l, (int)e->kind, term);
    if (e->kind != NKI_TEXT || l->train || position + 1 == n) continue;
    term = (struct nk_term){.sequence = s,
                            .position = position,
                            .kind = NK_TERM_LOG_PROB,
                            .ids = &l->sequences[s].ids[position + 1],
                            .n_ids = 1};
    put_term(l, NKI_NEXT_TOKEN, term);
  }
}

static int make_room(struct layout *l, size_t n) {
  size_t n_ids = 0, n_slots = 0, n_terms = 0, n_frozen = 0;
  for (size_t s = 0; s < n; s++) {
    const struct nki_example *e = &l->examples[s];
    size_t terms = e->kind == NKI_TEXT ? l->tune->pieces[e->item].n : 1;
    n_ids += length_of(l->tune, e);
    n_terms += e->kind == NKI_TEXT && !l->train ? 2 * terms : terms;
    if (e->kind == NKI_NOKEN) n_slots += l->tune->probes[e->prompt]->prompt.n_slots;
    if (e->kind != NKI_NOKEN) n_frozen += terms;
  }
  l->ids = nk_alloc(n_ids, sizeof *l->ids);
  l->sequences = nk_alloc(n, sizeof *l->sequences);
  l->overrides = nk_alloc(n_slots, 2 * sizeof *l->overrides);
  l->terms = nk_alloc(n_terms, sizeof *l->terms);
  l->kinds = nk_alloc(n_terms, sizeof *l->kinds);
  l->asks = nk_alloc(n_frozen, sizeof *l->asks);
  l->frozen = nk_alloc(n_frozen, l->tune->n_vocabulary * sizeof *l->frozen);
  bool ok = l->ids != NULL && l->sequences != NULL && l->overrides != NULL && l->terms != NULL &&
            l->kinds != NULL && l->asks != NULL && l->frozen != NULL;
  return ok ? NK_OK : NK_EMEMORY;
}

static int lay_out(struct layout *l, size_t n) {
  int code = make_room(l, n);
  if (code != NK_OK) return code;
  int64_t *ids = l->ids;
  for (size_t s = 0; s < n; s++) {
    const struct nki_example *e = &l->examples[s];
    size_t length = length_of(l->tune, e);
    if (e->kind == NKI_TEXT)
      lay_piece(l->tune, e, ids);
    else
      lay_prompt(l, s, ids);
    l->sequences[s] = (struct nk_sequence){ids, length};
    put_terms(l, s, length);
    ids += length;
  }
  l->batch.sequences = l->sequences;
  l->batch.n_sequences = n;
  l->batch.overrides = l->overrides;
  return NK_OK;
}

static void free_layout(struct layout *l) {
  nk_free(l->ids);
  nk_free(l->sequences);
  nk_free(l->overrides);
  nk_free(l->terms);
  nk_free(l->kinds);
  nk_free(l->asks);
  nk_free(l->frozen);
}

/* The frozen model's log q. */
static int run_frozen(struct layout *l) {
  if (l->n_asks == 0) return NK_OK;
  struct nk_batch batch = l->batch;
  batch.asks = l->asks;
  batch.n_asks = l->n_asks;
  int code = nki_tune_use(l->tune, false);
  if (code == NK_OK) code = nk_forward_run(l->tune->forward, &batch);
  int again = nki_tune_use(l->tune, true);
  if (code != NK_OK || again != NK_OK) return code != NK_OK ? code : again;
  size_t n = l->tune->n_vocabulary;
#pragma omp parallel for
  for (size_t a = 0; a < l->n_asks; a++)
    for (size_t i = 0; i < n; i++)
      l->asks[a].logits[i] = (float)((double)l->asks[a].logits[i] - l->asks[a].log_sum_exp);
  return NK_OK;
}

/* The run's mean is over sequences, the loss's over terms of a kind. Weights are of gradients:
 * terms beside the loss are not in a run that has them. */
static void weigh(struct layout *l) {
  double n = (double)l->batch.n_sequences;
  for (size_t i = 0; i < l->n_terms; i++) {
    double weight = l->kinds[i] == NKI_NOKEN ? 1 : l->tune->options.weight;
    l->terms[i].weight = n * weight / (double)l->of_kind[l->kinds[i]];
  }
}

int nki_tune_loss(struct nk_tune *tune, const struct nki_example *examples, size_t n, bool train,
                  double *sums, size_t *n_terms) {
  struct layout l = {.tune = tune, .examples = examples, .train = train};
  int code = lay_out(&l, n);
  if (code == NK_OK) code = run_frozen(&l);
  if (code != NK_OK) goto done;
  weigh(&l);
  struct nk_gradient gradient = {.terms = l.terms,
                                 .n_terms = l.n_terms,
                                 .weights = tune->weights,
                                 .n_weights = train ? tune->n_tensors : 0};
  code = nk_gradient_run(tune->forward, &l.batch, &gradient);
  for (size_t i = 0; i < l.n_terms && code == NK_OK; i++) {
    sums[l.kinds[i]] += l.kinds[i] == NKI_NEXT_TOKEN ? -l.terms[i].value : l.terms[i].value;
    n_terms[l.kinds[i]]++;
  }

done:
  free_layout(&l);
  return code;
}
