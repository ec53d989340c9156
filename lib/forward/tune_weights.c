/* The weights that are trained, and AdamW. */
#include <math.h>
#include <noken/base.h>
#include <string.h>

#include "base/error.h"
#include "forward/backward.h"
#include "forward/tune.h"
#include "model/model.h"

static const double BETA1 = 0.9, BETA2 = 0.999, EPSILON = 1e-8; /* of the paper, and of PyTorch */
static const double MOST_LENGTH = 1; /* of a gradient; a longer one is shortened to it */

/* ---- Choosing ---- */

static bool is_norm(enum nki_part part) {
  return part == NKI_NORM1 || part == NKI_NORM1_POST || part == NKI_NORM2 ||
         part == NKI_NORM2_POST || part == NKI_Q_NORM || part == NKI_K_NORM;
}

static int add(struct nk_tune *tune, const struct nk_tensor *tensor) {
  if (tensor == NULL) return NK_OK;
  for (size_t i = 0; i < tune->n_tensors; i++)
    if (strcmp(tune->tensors[i].name, tensor->name) == 0) return NK_OK;
  struct nki_tune_tensor *grown =
      nk_realloc(tune->tensors, tune->n_tensors, tune->n_tensors + 1, sizeof *grown);
  if (grown == NULL) return NK_EMEMORY;
  tune->tensors = grown;
  grown[tune->n_tensors++] =
      (struct nki_tune_tensor){.name = tensor->name, .n = tensor->n_elements};
  return NK_OK;
}

static int add_weight(struct nk_tune *tune, const struct nki_weight *weight) {
  int code = add(tune, weight->weight);
  if (code == NK_OK) code = add(tune, weight->bias);
  if (code == NK_OK) code = add(tune, weight->scales);
  for (size_t i = 0; i < weight->n_each && code == NK_OK; i++) code = add(tune, weight->each[i]);
  return code;
}

static int add_blocks(struct nk_tune *tune) {
  const struct nk_tune_options *o = &tune->options;
  const struct nk_forward *f = tune->forward;
  size_t n = f->config.shape.n_layers;
  size_t first = o->train == NK_TUNE_LAYERS ? o->first_layer : 0;
  size_t last = o->train == NK_TUNE_LAYERS ? o->last_layer : n - 1;
  if (o->train == NK_TUNE_HALF && o->layer >= n)
    return nk_fail(NK_EUSAGE,
                   "nokens enter at layer %zu, after the last block: choose what to train",
                   o->layer);
  if (o->train == NK_TUNE_HALF) {
    first = o->layer;
    last = first + (n + 1) / 2 - 1 < n ? first + (n + 1) / 2 - 1 : n - 1;
  }
  int code = NK_OK;
  if (first > last || last >= n)
    return nk_fail(NK_EUSAGE, "blocks %zu to %zu: the model has blocks 0 to %zu", first, last,
                   n - 1);
  for (size_t layer = first; layer <= last && code == NK_OK; layer++)
    for (int part = 0; part < NKI_N_PARTS && code == NK_OK; part++)
      if (o->train != NK_TUNE_NORMS || is_norm((enum nki_part)part))
        code = add_weight(tune, &f->blocks[layer].part[part]);
  return code;
}

static int choose(struct nk_tune *tune) {
  enum nk_tune_part train = tune->options.train;
  const struct nk_forward *f = tune->forward;
  int code = NK_OK;
  if ((unsigned)train > NK_TUNE_NORMS) return nk_fail(NK_EUSAGE, "no such part: %d", (int)train);
  if (train == NK_TUNE_ALL || train == NK_TUNE_EMBEDDING) code = add(tune, f->embedding);
  if (train == NK_TUNE_ALL && code == NK_OK) code = add(tune, f->positions);
  if (train != NK_TUNE_EMBEDDING && code == NK_OK) code = add_blocks(tune);
  if (train == NK_TUNE_ALL && code == NK_OK) code = add(tune, f->unembedding);
  if (train == NK_TUNE_ALL && code == NK_OK) code = add(tune, f->unembedding_bias);
  if (train != NK_TUNE_ALL && train != NK_TUNE_NORMS) return code;
  if (code == NK_OK) code = add_weight(tune, &f->embedding_norm);
  return code == NK_OK ? add_weight(tune, &f->final_norm) : code;
}

/* ---- Values ---- */

static int make_room(struct nki_tune_tensor *t) {
  size_t size = sizeof(float);
  t->values = nk_alloc(t->n, size);
  t->gradient = nk_alloc(t->n, size);
  t->mean = nk_calloc(t->n, size);
  t->square = nk_calloc(t->n, size);
  t->best = nk_alloc(t->n, size);
  bool ok = t->values != NULL && t->gradient != NULL && t->mean != NULL && t->square != NULL &&
            t->best != NULL;
  return ok ? NK_OK : NK_EMEMORY;
}

int nki_tune_use(struct nk_tune *tune, bool trained) {
  int code = NK_OK;
  for (size_t i = 0; i < tune->n_tensors && code == NK_OK; i++) {
    struct nki_tune_tensor *t = &tune->tensors[i];
    code = nk_model_use_values(tune->model, t->name, trained ? t->values : NULL);
  }
  return code;
}

/* NK_OK where all have gradients. */
static int check_gradients(const struct nk_tune *tune) {
  const struct nk_gradient gradient = {.weights = tune->weights, .n_weights = tune->n_tensors};
  struct nki_weight_arrays arrays = {0};
  int code = nki_check_gradients(tune->forward);
  if (code == NK_OK) code = nki_weight_arrays_make(tune->forward, &gradient, &arrays);
  nki_weight_arrays_free(&arrays);
  return code;
}

int nki_tune_choose(struct nk_tune *tune) {
  int code = choose(tune);
  if (code != NK_OK) return code;
  if (tune->n_tensors == 0)
    return nk_fail(NK_EUSAGE, "%s: no weights to train: its norms have none",
                   nk_model_name(tune->model));
  tune->weights = nk_calloc(tune->n_tensors, sizeof *tune->weights);
  if (tune->weights == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < tune->n_tensors; i++) tune->weights[i].tensor = tune->tensors[i].name;
  code = check_gradients(tune);
  for (size_t i = 0; i < tune->n_tensors && code == NK_OK; i++) {
    struct nki_tune_tensor *t = &tune->tensors[i];
    code = make_room(t);
    if (code != NK_OK) break;
    tune->weights[i].gradient = t->gradient;
    code = nki_tensor_widen(nk_model_find(tune->model, t->name), 0, t->n, t->values);
    memcpy(t->best, t->values, t->n * sizeof *t->best);
  }
  tune->has_values = code == NK_OK;
  if (code == NK_OK) code = nki_tune_use(tune, true); /* whether it can */
  return code == NK_OK ? nki_tune_use(tune, false) : code;
}

/* ---- AdamW ---- */

/* In blocks whose sums are added in their order: the same with any number of threads. */
static double squared_length(const float *x, size_t n) {
  enum { BLOCK = 1 << 14, BLOCKS = 256 };
  double sum = 0, parts[BLOCKS];
  for (size_t first = 0; first < n; first += (size_t)BLOCK * BLOCKS) {
    size_t rest = (n - first + BLOCK - 1) / BLOCK, n_blocks = rest < BLOCKS ? rest : BLOCKS;
#pragma omp parallel for
    for (size_t b = 0; b < n_blocks; b++) {
      size_t from = first + b * BLOCK, to = n - from < BLOCK ? n : from + BLOCK;
      parts[b] = 0;
      for (size_t i = from; i < to; i++) parts[b] += (double)x[i] * (double)x[i];
    }
    for (size_t b = 0; b < n_blocks; b++) sum += parts[b];
  }
  return sum;
}

void nki_tune_update(struct nk_tune *tune, double rate, size_t step) {
  double squares = 0;
  for (size_t i = 0; i < tune->n_tensors; i++)
    squares += squared_length(tune->tensors[i].gradient, tune->tensors[i].n);
  float scale = squares > MOST_LENGTH * MOST_LENGTH ? (float)(MOST_LENGTH / sqrt(squares)) : 1;
  float beta1 = (float)BETA1, beta2 = (float)BETA2, rest1 = (float)(1 - BETA1),
        rest2 = (float)(1 - BETA2), epsilon = (float)EPSILON;
  float keep = (float)(1 - rate * tune->options.decay);
  float size = (float)(rate / (1 - pow(BETA1, (double)step)));
  float correction = (float)(1 / sqrt(1 - pow(BETA2, (double)step)));
  for (size_t t = 0; t < tune->n_tensors; t++) {
    const struct nki_tune_tensor *tensor = &tune->tensors[t];
    float *x = tensor->values, *mean = tensor->mean, *square = tensor->square;
#pragma omp parallel for
    for (size_t i = 0; i < tensor->n; i++) {
      float g = tensor->gradient[i] * scale;
      mean[i] = beta1 * mean[i] + rest1 * g;
      square[i] = beta2 * square[i] + rest2 * g * g;
      x[i] = keep * x[i] - size * mean[i] / (sqrtf(square[i]) * correction + epsilon);
    }
  }
}
