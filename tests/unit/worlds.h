/* Simulated models for the tests of lib/glitch: embedding matrices of which it is known in how many
 * optimizer steps each token was seen.
 *
 * A world is drawn or trained. Rows of a drawn world come from a formula: a ball of never-seen
 * rows, and a way out of it that grows with the number of steps. Rows of a trained world come from
 * a log-bilinear language model (Mnih and Hinton, 2007), trained with AdamW on a random text: its
 * never-seen rows are what the optimizer makes of them.
 *
 * world_at(i) is the i-th of a fixed list: its parameters are a function of i. Worlds with i % 3 ==
 * 2 were held out: they were not looked at while the score was chosen. Other seeds of the same
 * world have other rows, counts and texts. */
#ifndef NOKEN_WORLDS_H
#define NOKEN_WORLDS_H

#include "unit.h"

#include <cblas.h>
#include <math.h>

#include "base/random.h"
#include "glitch/internal.h"

enum { N_DRAWN = 60, N_TRAINED = 24, N_WORLDS = N_DRAWN + N_TRAINED };

enum padding { NO_PADDING, ZERO_PADDING, RANDOM_PADDING };

struct world {
  size_t index, n, dim;
  bool trained, tied, unit; /* unit: rows are normalized */
  double never, few;        /* shares of tokens seen in 0, and in 1 to 10 steps */
  double spread;            /* standard deviation of the log of the other tokens' frequency */
  double decay;             /* trained: weight decay; drawn: what is left of the initial rows */
  double initial;           /* standard deviation of the untied input rows' initial values */
  double anisotropy;        /* drawn: exponent of the spectrum of what training adds */
  double growth;            /* drawn: that grows as steps^growth; 0: as log(1 + steps) */
  double learning;          /* drawn: how far untied input rows move beside output rows */
  size_t known;             /* unused rows that are marked */
  enum padding padding;     /* 4% of the rows, marked as suspects */
  double rate;              /* trained: peak learning rate */
  size_t n_steps;           /* trained */
};

struct model {
  size_t n, dim;
  float *output, *input; /* input NULL: tied */
  double *steps;         /* [n] in how many optimizer steps the token was seen */
  bool *judged;          /* [n] neither padding nor marked */
  enum nk_glitch_role *role;
};

/* ---- The list of worlds ---- */

static inline double pick(struct nki_random *random, const double *values, size_t n) {
  return values[nki_random_below(random, n)];
}
#define PICK(random, ...) \
  pick(random, (const double[]){__VA_ARGS__}, sizeof(double[]){__VA_ARGS__} / sizeof(double))

static inline struct world world_at(size_t index) {
  struct nki_random random = nki_random_stream(20261125, NKI_RANDOM_TEST, index);
  struct world w = {.index = index, .trained = index >= N_DRAWN};
  w.tied = nki_random_below(&random, 2) == 0;
  w.unit = nki_random_below(&random, 4) == 0;
  w.never = PICK(&random, 0, 0.003, 0.02, 0.1, 0.1, 0.3, 0.7);
  w.few = w.never > 0 ? PICK(&random, 0, 0.02, 0.05) : 0;
  w.spread = PICK(&random, 0.8, 1.2, 1.6);
  w.padding = (enum padding)nki_random_below(&random, 3);
  w.known = (size_t)PICK(&random, 3, 7, 13, 13);
  w.growth = PICK(&random, 0, 0.25, 0.5);
  w.anisotropy = PICK(&random, 0, 0.5, 1, 2);
  w.learning = PICK(&random, 1, 1, 0.3, 0.05);
  if (w.trained) {
    w.n = (size_t)PICK(&random, 1500, 3000);
    w.dim = (size_t)PICK(&random, 24, 48);
    w.decay = PICK(&random, 0, 0.1, 0.5);
    w.initial = PICK(&random, 0.02, 0.02, 0.3);
    w.n_steps = (size_t)PICK(&random, 700, 1400);
    w.rate = PICK(&random, 1e-3, 3e-3, 1e-2);
  } else {
    w.n = (size_t)PICK(&random, 3000, 5000, 8000);
    w.dim = (size_t)PICK(&random, 16, 48, 96, 192);
    w.decay = PICK(&random, 1, 1, 0.5, 0.1);
    w.initial = PICK(&random, 0.02, 0.02, 0.02, 0.1);
  }
  return w;
}

/* ---- Which token is seen how often ---- */

static inline void set_roles(const struct world *w, const size_t *order, struct model *m) {
  size_t padding = w->padding != NO_PADDING ? w->n / 25 : 0;
  for (size_t k = 0; k < w->n; k++) {
    size_t i = order[k];
    m->role[i] = k < w->known ? NK_ROLE_UNUSED : NK_ROLE_TEXT;
    if (k >= w->n - padding) m->role[i] = NK_ROLE_SUSPECT;
    m->judged[i] = m->role[i] == NK_ROLE_TEXT;
  }
}

/* The group of the token at place k of the order: 0 never seen, 1 seen in 1 to 10 steps, 2 more. */
static inline int group_of(const struct world *w, size_t k) {
  double at = ((double)k - (double)w->known) / (double)w->n;
  size_t padding = w->padding != NO_PADDING ? w->n / 25 : 0;
  if (k < w->known || k >= w->n - padding || at < w->never) return 0;
  return at < w->never + w->few ? 1 : 2;
}

static inline void model_free(struct model *m) {
  free(m->output);
  free(m->input);
  free(m->steps);
  free(m->judged);
  free(m->role);
}

static inline void normalize(float *row, size_t dim) {
  double squares = 0;
  for (size_t j = 0; j < dim; j++) squares += (double)(row[j] * row[j]);
  for (size_t j = 0; j < dim && squares > 0; j++) row[j] = (float)((double)row[j] / sqrt(squares));
}

static inline void set_padding(const struct world *w, uint64_t seed, float *x,
                               const struct model *m) {
  for (size_t i = 0; i < m->n && w->padding != NO_PADDING; i++) {
    struct nki_random random = nki_random_stream(seed + 7, NKI_RANDOM_TEST, i);
    for (size_t j = 0; j < m->dim && m->role[i] == NK_ROLE_SUSPECT; j++)
      x[i * m->dim + j] =
          w->padding == ZERO_PADDING ? 0 : (float)(0.02 * nki_random_normal(&random));
  }
}

/* ---- Drawn worlds ---- */

/* A row of the output matrix (push 1: never-seen rows lie along the first axis) or of an untied
 * input matrix (push 0). */
static inline void draw_row(const struct world *w, double push, double initial, double learning,
                            double steps, struct nki_random *random, float *row) {
  double far = w->growth > 0 ? pow(steps / 1000, w->growth) : log1p(steps) / log(1001);
  double gone = fmin(far, 4) * exp(0.15 * nki_random_normal(random)), all = 0;
  for (size_t j = 0; j < w->dim; j++) all += pow((double)(j + 1), -w->anisotropy);
  for (size_t j = 0; j < w->dim; j++) {
    double share = pow((double)(j + 1), -w->anisotropy) / all;
    double value = initial * w->decay * nki_random_normal(random);
    value += learning * gone * sqrt(share) * nki_random_normal(random);
    if (j == 0) value += push * exp(-2 * gone);
    if (j == 1) value += 0.3 * learning * gone;
    row[j] = (float)value;
  }
  if (w->unit) normalize(row, w->dim);
}

static inline void draw(const struct world *w, uint64_t seed, const size_t *order,
                        struct model *m) {
  for (size_t k = 0; k < w->n; k++) {
    size_t i = order[k];
    int group = group_of(w, k);
    struct nki_random random = nki_random_stream(seed + 1, NKI_RANDOM_TEST, i);
    double usual = exp(6.5 + w->spread * nki_random_normal(&random));
    m->steps[i] = group == 0   ? 0
                  : group == 1 ? 1 + (double)nki_random_below(&random, 10)
                               : 11 + floor(usual);
    draw_row(w, 1, 0.02, 1, m->steps[i], &random, m->output + i * w->dim);
    if (m->input != NULL)
      draw_row(w, 0, w->initial, w->learning, m->steps[i], &random, m->input + i * w->dim);
  }
}

/* ---- Trained worlds ---- */

enum { BATCH = 256, CLASSES = 12 };

/* The text: tokens of a class follow one another by their frequency; now and then a token is
 * followed by its partner. planned [n_planned]: tokens of groups 0 to 2 that have to be seen, as
 * (step, token). */
struct text {
  double *weight; /* [n] cumulated within the class i % CLASSES */
  size_t *partner;
};

static inline size_t draw_token(const struct text *text, size_t n, size_t class,
                                struct nki_random *random) {
  size_t last = (n - 1 - class) / CLASSES, low = 0, high = last;
  double at = nki_random_uniform(random) * text->weight[last * CLASSES + class];
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (text->weight[middle * CLASSES + class] > at)
      high = middle;
    else
      low = middle + 1;
  }
  return low * CLASSES + class;
}

static inline size_t next_token(const struct text *text, size_t n, size_t token,
                                struct nki_random *random) {
  if (nki_random_below(random, 3) == 0) return text->partner[token];
  return draw_token(text, n, (token % CLASSES * 5 + nki_random_below(random, 3)) % CLASSES, random);
}

struct parameter {
  size_t n;
  float *value, *gradient, *first, *second; /* [n]; first and second moment */
};

static inline struct parameter parameter_new(size_t n, double initial, struct nki_random *random) {
  struct parameter p = {.n = n};
  p.value = malloc(n * sizeof(float));
  p.gradient = calloc(n, sizeof(float));
  p.first = calloc(n, sizeof(float));
  p.second = calloc(n, sizeof(float));
  for (size_t i = 0; i < n; i++) p.value[i] = (float)(initial * nki_random_normal(random));
  return p;
}

static inline void parameter_free(struct parameter *p) {
  free(p->value);
  free(p->gradient);
  free(p->first);
  free(p->second);
}

/* One step of AdamW (Loshchilov and Hutter, 2019); clears the gradient. */
static inline void update(struct parameter *p, size_t step, double rate, double decay) {
  const float b1 = 0.9f, b2 = 0.98f;
  float c1 = (float)(1 - pow((double)b1, (double)step)),
        c2 = (float)(1 - pow((double)b2, (double)step));
  for (size_t i = 0; i < p->n; i++) {
    float g = p->gradient[i];
    p->first[i] = b1 * p->first[i] + (1 - b1) * g;
    p->second[i] = b2 * p->second[i] + (1 - b2) * g * g;
    p->value[i] -= (float)rate * (p->first[i] / c1 / (sqrtf(p->second[i] / c2) + 1e-8f) +
                                  (float)decay * p->value[i]);
    p->gradient[i] = 0;
  }
}

/* What the model makes of a batch. */
struct batch {
  size_t tokens[BATCH + 2]; /* position t: t and t + 1 are read, t + 2 is the target */
  float z[BATCH * 64], h[BATCH * 64], dh[BATCH * 64]; /* h = z / rms(z) */
  float *logits;                                      /* [BATCH, n] */
};

/* z_t = E[x_t+1] + M E[x_t], h = z / rms(z), logits = U h; gradients of the mean cross-entropy. */
static inline void gradients(struct batch *b, size_t n, size_t dim, struct parameter *e,
                             struct parameter *u, struct parameter *mix) {
  int B = BATCH, N = (int)n, D = (int)dim;
  float before[BATCH * 64], rms[BATCH];
  for (size_t t = 0; t < BATCH; t++) {
    memcpy(before + t * dim, e->value + b->tokens[t] * dim, dim * sizeof(float));
    memcpy(b->z + t * dim, e->value + b->tokens[t + 1] * dim, dim * sizeof(float));
  }
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, B, D, D, 1, before, D, mix->value, D, 1,
              b->z, D);
  for (size_t t = 0; t < BATCH; t++) {
    rms[t] = sqrtf(cblas_sdot(D, b->z + t * dim, 1, b->z + t * dim, 1) / (float)D + 1e-8f);
    for (size_t j = 0; j < dim; j++) b->h[t * dim + j] = b->z[t * dim + j] / rms[t];
  }
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, B, N, D, 1, b->h, D, u->value, D, 0,
              b->logits, N);
  for (size_t t = 0; t < BATCH; t++) {
    float *row = b->logits + t * n, largest = row[0], sum = 0;
    for (size_t i = 0; i < n; i++) largest = fmaxf(largest, row[i]);
    for (size_t i = 0; i < n; i++) sum += row[i] = expf(row[i] - largest);
    for (size_t i = 0; i < n; i++) row[i] /= sum * (float)BATCH;
    row[b->tokens[t + 2]] -= 1.0f / (float)BATCH;
  }
  cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, N, D, B, 1, b->logits, N, b->h, D, 1,
              u->gradient, D);
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, B, D, N, 1, b->logits, N, u->value, D, 0,
              b->dh, D);
  for (size_t t = 0; t < BATCH; t++) { /* through the norm */
    float *g = b->dh + t * dim, along = cblas_sdot(D, g, 1, b->h + t * dim, 1) / (float)D;
    for (size_t j = 0; j < dim; j++) g[j] = (g[j] - along * b->h[t * dim + j]) / rms[t];
    cblas_saxpy(D, 1, g, 1, e->gradient + b->tokens[t + 1] * dim, 1);
  }
  cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, D, D, B, 1, b->dh, D, before, D, 1,
              mix->gradient, D);
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, B, D, D, 1, b->dh, D, mix->value, D, 0,
              before, D);
  for (size_t t = 0; t < BATCH; t++)
    cblas_saxpy(D, 1, before + t * dim, 1, e->gradient + b->tokens[t] * dim, 1);
}

/* Cumulated weights and partners. planned [n]: in how many steps a token is put into the text. */
static inline struct text make_text(const struct world *w, const size_t *order, size_t *planned,
                                    struct nki_random *random) {
  struct text text = {calloc(w->n, sizeof(double)), calloc(w->n, sizeof(size_t))};
  for (size_t k = 0; k < w->n; k++) {
    int group = group_of(w, k);
    double weight = exp(w->spread * nki_random_normal(random));
    planned[order[k]] = group == 1   ? 1 + nki_random_below(random, 10)
                        : group == 2 ? (w->never > 0 ? 2 : 30)
                                     : 0;
    text.weight[order[k]] = group == 2 ? weight : 0;
  }
  for (size_t i = CLASSES; i < w->n; i++) text.weight[i] += text.weight[i - CLASSES];
  for (size_t i = 0; i < w->n; i++)
    text.partner[i] = draw_token(&text, w->n, nki_random_below(random, CLASSES), random);
  return text;
}

static inline void draw_batch(const struct text *text, const size_t *planned, size_t n,
                              size_t n_steps, struct nki_random *random, struct batch *b) {
  size_t token = draw_token(text, n, 0, random);
  for (size_t t = 0; t < BATCH + 2; t++) b->tokens[t] = token = next_token(text, n, token, random);
  for (size_t i = 0; i < n; i++) /* planned tokens, at a random place */
    if (planned[i] > 0 && nki_random_below(random, n_steps) < planned[i])
      b->tokens[nki_random_below(random, BATCH + 2)] = i;
}

static inline void train(const struct world *w, uint64_t seed, const size_t *order,
                         struct model *m) {
  size_t n = w->n, dim = w->dim, *planned = calloc(n, sizeof *planned),
         *last = calloc(n, sizeof *last);
  struct nki_random random = nki_random_stream(seed + 2, NKI_RANDOM_TEST, 0);
  struct text text = make_text(w, order, planned, &random);
  struct parameter e = parameter_new(n * dim, w->tied ? 0.02 : w->initial, &random);
  struct parameter u = w->tied ? e : parameter_new(n * dim, 0.02, &random);
  struct parameter mix = parameter_new(dim * dim, 1 / sqrt((double)dim), &random);
  struct batch *b = malloc(sizeof *b);
  b->logits = malloc(BATCH * n * sizeof(float));
  for (size_t step = 1; step <= w->n_steps; step++) {
    double part = (double)step / (double)w->n_steps;
    double rate =
        w->rate * fmin(1, (double)step / 20) * (0.1 + 0.9 * (1 + cos(3.14159265 * part)) / 2);
    draw_batch(&text, planned, n, w->n_steps, &random, b);
    for (size_t t = 0; t < BATCH + 2; t++) {
      m->steps[b->tokens[t]] += last[b->tokens[t]] != step;
      last[b->tokens[t]] = step;
    }
    gradients(b, n, dim, &e, &u, &mix);
    update(&e, step, rate, w->decay);
    if (!w->tied) update(&u, step, rate, w->decay);
    update(&mix, step, rate, 0);
    for (size_t i = 0; i < n && w->unit; i++) normalize(e.value + i * dim, dim);
    for (size_t i = 0; i < n && w->unit && !w->tied; i++) normalize(u.value + i * dim, dim);
  }
  memcpy(m->output, u.value, n * dim * sizeof(float));
  if (m->input != NULL) memcpy(m->input, e.value, n * dim * sizeof(float));
  free(b->logits);
  free(b);
  if (!w->tied) parameter_free(&u);
  parameter_free(&e);
  parameter_free(&mix);
  free(text.weight);
  free(text.partner);
  free(planned);
  free(last);
}

/* ---- A model of a world ---- */

static inline struct model simulate(const struct world *w, uint64_t seed) {
  struct model m = {.n = w->n, .dim = w->dim};
  size_t *order = calloc(w->n, sizeof *order);
  struct nki_random random = nki_random_stream(seed, NKI_RANDOM_TEST, w->index);
  uint64_t own = nki_random_u64(&random);
  m.output = calloc(w->n * w->dim, sizeof(float));
  m.input = w->tied ? NULL : calloc(w->n * w->dim, sizeof(float));
  m.steps = calloc(w->n, sizeof(double));
  m.judged = calloc(w->n, sizeof(bool));
  m.role = calloc(w->n, sizeof *m.role);
  nki_random_permutation(&random, w->n, order);
  set_roles(w, order, &m);
  if (w->trained)
    train(w, own, order, &m);
  else
    draw(w, own, order, &m);
  set_padding(w, own, m.output, &m);
  if (m.input != NULL) set_padding(w, own, m.input, &m);
  free(order);
  return m;
}

#endif
