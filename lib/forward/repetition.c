/* How well a model repeats what a prompt holds. The first token of every answer is watched while
 * the model generates, which is all for answers of one token. The other tokens are then given to
 * the model after what it generated, at those steps alone whose first token is probable enough to
 * raise the best value so far: the least of several probabilities is not above the first. A single
 * step generates nothing that is needed, and is an ask, which keeps no keys. */
#include "forward/repetition.h"

#include <math.h>
#include <string.h>

#include "base/error.h"

/* What the model generated greedily, and the log-probability of each answer's first token. */
struct greedy {
  int64_t *ids;   /* [n, n_steps] */
  float *watched; /* [n, n_steps] */
};

static void greedy_free(struct greedy *greedy) {
  nk_free(greedy->ids);
  nk_free(greedy->watched);
}

/* greedy->watched of a single step. */
static int ask_first(struct nk_forward *forward, const struct nki_repetition *r,
                     struct greedy *greedy) {
  struct nk_ask *asks = nk_calloc(r->n, sizeof *asks);
  if (asks == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < r->n; i++)
    asks[i] = (struct nk_ask){.sequence = i,
                              .position = r->prefix.n + r->sequences[i].n - 1,
                              .ids = r->answers[i].ids,
                              .n_ids = 1,
                              .log_probs = greedy->watched + i};
  struct nk_batch batch = {.prefix = r->prefix,
                           .sequences = r->sequences,
                           .n_sequences = r->n,
                           .asks = asks,
                           .n_asks = r->n};
  int code = nk_forward_run(forward, &batch);
  nk_free(asks);
  return code;
}

static int generate(struct nk_forward *forward, const struct nki_repetition *r,
                    struct greedy *greedy) {
  int64_t *watch = nk_alloc(r->n, sizeof *watch);
  size_t *lengths = nk_alloc(r->n, sizeof *lengths);
  int code = NK_EMEMORY;
  if (watch == NULL || lengths == NULL) goto done;
  for (size_t i = 0; i < r->n; i++) watch[i] = r->answers[i].ids[0];
  struct nk_generation generation = {.n_tokens = r->n_steps,
                                     .watch = watch,
                                     .watched = greedy->watched,
                                     .ids = greedy->ids,
                                     .lengths = lengths};
  struct nk_batch batch = {.prefix = r->prefix,
                           .sequences = r->sequences,
                           .n_sequences = r->n,
                           .generation = &generation};
  code = nk_forward_run(forward, &batch);
done:
  nk_free(watch);
  nk_free(lengths);
  return code;
}

/* Fills greedy; free it in either case. */
static int watch_steps(struct nk_forward *forward, const struct nki_repetition *r,
                       struct greedy *greedy) {
  greedy->ids = nk_alloc(r->n, r->n_steps * sizeof *greedy->ids);
  greedy->watched = nk_alloc(r->n, r->n_steps * sizeof *greedy->watched);
  if (greedy->ids == NULL || greedy->watched == NULL) return NK_EMEMORY;
  int code = r->n_steps == 1 ? ask_first(forward, r, greedy) : generate(forward, r, greedy);
  for (size_t i = 0; i < r->n * r->n_steps && code == NK_OK; i++) /* no sequence ends early */
    if (isnan(greedy->watched[i])) code = nk_fail(NK_EDATA, "a probability is not a number");
  return code;
}

/* ---- Answers of several tokens ---- */

/* The answers that are given to the model after `step` generated tokens. */
struct forced {
  size_t step;
  size_t n, n_asks;
  size_t *items;                 /* [n] */
  struct nk_sequence *sequences; /* [n] */
  int64_t *tokens;               /* of the sequences, one after the other */
  struct nk_ask *asks;           /* [n_asks] an answer's second token, its third, .. */
  float *log_probs;              /* [n_asks] */
};

static void forced_free(struct forced *forced) {
  nk_free(forced->items);
  nk_free(forced->sequences);
  nk_free(forced->tokens);
  nk_free(forced->asks);
  nk_free(forced->log_probs);
}

static int forced_choose(const struct nki_repetition *r, const struct greedy *greedy,
                         const double *best, struct forced *forced) {
  size_t n_tokens = 0;
  forced->items = nk_alloc(r->n, sizeof *forced->items);
  if (forced->items == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < r->n; i++) {
    double first = exp((double)greedy->watched[i * r->n_steps + forced->step]);
    if (r->answers[i].n < 2 || first <= best[i]) continue;
    forced->items[forced->n++] = i;
    n_tokens += r->sequences[i].n + forced->step + r->answers[i].n - 1;
    forced->n_asks += r->answers[i].n - 1;
  }
  forced->sequences = nk_alloc(forced->n, sizeof *forced->sequences);
  forced->tokens = nk_alloc(n_tokens, sizeof *forced->tokens);
  forced->asks = nk_calloc(forced->n_asks, sizeof *forced->asks);
  forced->log_probs = nk_alloc(forced->n_asks, sizeof *forced->log_probs);
  return forced->sequences == NULL || forced->tokens == NULL || forced->asks == NULL ||
                 forced->log_probs == NULL
             ? NK_EMEMORY
             : NK_OK;
}

static void forced_fill(const struct nki_repetition *r, const struct greedy *greedy,
                        struct forced *forced) {
  int64_t *end = forced->tokens;
  size_t ask = 0;
  for (size_t k = 0; k < forced->n; k++) {
    size_t i = forced->items[k], before = r->sequences[i].n + forced->step;
    const struct nk_sequence *answer = &r->answers[i];
    forced->sequences[k] = (struct nk_sequence){end, before + answer->n - 1};
    memcpy(end, r->sequences[i].ids, r->sequences[i].n * sizeof *end);
    memcpy(end + r->sequences[i].n, greedy->ids + i * r->n_steps, forced->step * sizeof *end);
    memcpy(end + before, answer->ids, (answer->n - 1) * sizeof *end);
    end += before + answer->n - 1;
    for (size_t token = 1; token < answer->n; token++, ask++)
      forced->asks[ask] = (struct nk_ask){.sequence = k,
                                          .position = r->prefix.n + before + token - 1,
                                          .ids = answer->ids + token,
                                          .n_ids = 1,
                                          .log_probs = forced->log_probs + ask};
  }
}

/* Raises best [n] by the answers of several tokens that begin at `step`. */
static int force(struct nk_forward *forward, const struct nki_repetition *r,
                 const struct greedy *greedy, size_t step, double *best) {
  struct forced forced = {.step = step};
  int code = forced_choose(r, greedy, best, &forced);
  if (code != NK_OK || forced.n == 0) goto done;
  forced_fill(r, greedy, &forced);
  struct nk_batch batch = {.prefix = r->prefix,
                           .sequences = forced.sequences,
                           .n_sequences = forced.n,
                           .asks = forced.asks,
                           .n_asks = forced.n_asks};
  code = nk_forward_run(forward, &batch);
  if (code != NK_OK) goto done;
  for (size_t k = 0, ask = 0; k < forced.n; k++) {
    size_t i = forced.items[k];
    float least = greedy->watched[i * r->n_steps + step];
    for (size_t token = 1; token < r->answers[i].n; token++, ask++)
      least = fminf(least, forced.log_probs[ask]);
    best[i] = fmax(best[i], exp((double)least));
  }
done:
  forced_free(&forced);
  return code;
}

int nki_repetition_best(struct nk_forward *forward, const struct nki_repetition *r, double *best) {
  struct greedy greedy = {0};
  int code = watch_steps(forward, r, &greedy);
  for (size_t i = 0; i < r->n && code == NK_OK; i++) {
    best[i] = 0;
    for (size_t t = 0; t < r->n_steps && r->answers[i].n == 1; t++)
      best[i] = fmax(best[i], exp((double)greedy.watched[i * r->n_steps + t]));
  }
  for (size_t t = 0; t < r->n_steps && code == NK_OK; t++)
    code = force(forward, r, &greedy, t, best);
  greedy_free(&greedy);
  return code;
}

/* ---- Sampled answers ---- */

/* The attempts at answers of one length: attempt k is one at item items[k / n_repeats]. They run
 * some at a time, so that memory is bounded whatever their number is. */
struct sampled {
  const struct nki_repetition *repetition;
  const struct nki_attempts *attempts;
  size_t n_answer, n_tokens;     /* of an answer, of an attempt */
  size_t n;                      /* items */
  size_t *items;                 /* [n] */
  size_t n_most;                 /* attempts at a time */
  struct nk_sequence *sequences; /* [n_most] */
  uint64_t *streams;             /* [n_most] */
  int64_t *ids;                  /* [n_most, n_tokens] */
  size_t *lengths;               /* [n_most] */
  int64_t *before;               /* room for a whole prompt */
};

static void sampled_free(struct sampled *sampled) {
  nk_free(sampled->items);
  nk_free(sampled->sequences);
  nk_free(sampled->streams);
  nk_free(sampled->ids);
  nk_free(sampled->lengths);
  nk_free(sampled->before);
}

static int sampled_choose(struct sampled *sampled) {
  enum { MOST_TOKENS = 1 << 13 }; /* of the attempts at a time */
  const struct nki_repetition *r = sampled->repetition;
  size_t longest = 0, n_tokens = sampled->n_tokens;
  sampled->items = nk_alloc(r->n, sizeof *sampled->items);
  if (sampled->items == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < r->n; i++) {
    if (r->answers[i].n != sampled->n_answer) continue;
    sampled->items[sampled->n++] = i;
    if (r->sequences[i].n > longest) longest = r->sequences[i].n;
  }
  if (sampled->n == 0) return NK_OK;
  size_t n = sampled->n * sampled->attempts->n_repeats, most = MOST_TOKENS / n_tokens + 1;
  if (n > most) n = most;
  sampled->n_most = n;
  sampled->sequences = nk_alloc(n, sizeof *sampled->sequences);
  sampled->streams = nk_alloc(n, sizeof *sampled->streams);
  sampled->ids = nk_alloc(n, n_tokens * sizeof *sampled->ids);
  sampled->lengths = nk_alloc(n, sizeof *sampled->lengths);
  sampled->before = nk_alloc(r->prefix.n + longest, sizeof *sampled->before);
  return sampled->sequences == NULL || sampled->streams == NULL || sampled->ids == NULL ||
                 sampled->lengths == NULL || sampled->before == NULL
             ? NK_EMEMORY
             : NK_OK;
}

/* Whether the answer begins at one of the first n_steps of ids. */
static bool has_answer(const int64_t *ids, size_t n_steps, const struct nk_sequence *answer) {
  for (size_t t = 0; t < n_steps; t++)
    if (memcmp(ids + t, answer->ids, answer->n * sizeof *ids) == 0) return true;
  return false;
}

static size_t item_of(const struct sampled *sampled, size_t attempt) {
  return sampled->items[attempt / sampled->attempts->n_repeats];
}

/* Whether the attempts at an item run by themselves, its whole prompt their prefix: where computing
 * the prefix of all prompts again costs less than computing the rest for each attempt. */
static bool runs_alone(const struct sampled *sampled, size_t item) {
  const struct nki_repetition *r = sampled->repetition;
  size_t rest = r->sequences[item].n - 1;
  return rest > 0 && sampled->attempts->n_repeats - 1 > r->prefix.n / rest;
}

/* The number of attempts from `first` on that run together. */
static size_t count_run(const struct sampled *sampled, size_t first) {
  size_t repeats = sampled->attempts->n_repeats, left = sampled->n * repeats - first, n = 1;
  bool alone = runs_alone(sampled, item_of(sampled, first));
  if (left > sampled->n_most) left = sampled->n_most;
  while (n < left &&
         (alone ? (first + n) % repeats != 0 : !runs_alone(sampled, item_of(sampled, first + n))))
    n++;
  return n;
}

/* Runs n attempts from `first` on. */
static int sample_run(struct nk_forward *forward, struct sampled *sampled, size_t first, size_t n,
                      size_t *failures) {
  const struct nki_repetition *r = sampled->repetition;
  const struct nki_attempts *a = sampled->attempts;
  const struct nk_sequence *whole = &r->sequences[item_of(sampled, first)];
  bool alone = runs_alone(sampled, item_of(sampled, first));
  struct nk_generation generation = {.n_tokens = sampled->n_tokens,
                                     .temperature = a->temperature,
                                     .seed = a->seed,
                                     .streams = sampled->streams,
                                     .ids = sampled->ids,
                                     .lengths = sampled->lengths};
  struct nk_batch batch = {.prefix = r->prefix,
                           .sequences = sampled->sequences,
                           .n_sequences = n,
                           .generation = &generation};
  if (alone) {
    if (r->prefix.n > 0)
      memcpy(sampled->before, r->prefix.ids, r->prefix.n * sizeof *sampled->before);
    memcpy(sampled->before + r->prefix.n, whole->ids, (whole->n - 1) * sizeof *sampled->before);
    batch.prefix = (struct nk_sequence){sampled->before, r->prefix.n + whole->n - 1};
  }
  for (size_t k = 0; k < n; k++) {
    size_t i = item_of(sampled, first + k), number = (first + k) % a->n_repeats;
    sampled->sequences[k] =
        alone ? (struct nk_sequence){whole->ids + whole->n - 1, 1} : r->sequences[i];
    sampled->streams[k] = (uint64_t)a->keys[i] * NKI_MOST_REPEATS + number;
  }
  int code = nk_forward_run(forward, &batch);
  for (size_t k = 0; k < n && code == NK_OK; k++) {
    size_t i = item_of(sampled, first + k);
    failures[i] += !has_answer(sampled->ids + k * sampled->n_tokens, r->n_steps, &r->answers[i]);
  }
  return code;
}

/* The failures at answers of n_answer tokens. */
static int sample(struct nk_forward *forward, const struct nki_repetition *r,
                  const struct nki_attempts *a, size_t n_answer, size_t *failures) {
  struct sampled sampled = {
      .repetition = r, .attempts = a, .n_answer = n_answer, .n_tokens = r->n_steps + n_answer - 1};
  int code = sampled_choose(&sampled);
  for (size_t first = 0, n; code == NK_OK && first < sampled.n * a->n_repeats; first += n) {
    n = count_run(&sampled, first);
    code = sample_run(forward, &sampled, first, n, failures);
  }
  sampled_free(&sampled);
  return code;
}

int nki_repetition_failures(struct nk_forward *forward, const struct nki_repetition *r,
                            const struct nki_attempts *attempts, size_t *failures) {
  size_t longest = 0;
  int code = NK_OK;
  for (size_t i = 0; i < r->n; i++) {
    failures[i] = 0;
    if (r->answers[i].n > longest) longest = r->answers[i].n;
  }
  for (size_t n_answer = 1; n_answer <= longest && code == NK_OK; n_answer++)
    code = sample(forward, r, attempts, n_answer, failures);
  return code;
}
