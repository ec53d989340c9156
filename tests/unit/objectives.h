/* What the tests of objectives and of the stiffest directions share: the shipped models with probes
 * in the prompts and places of tests/fixtures/forward/objectives.py, and what that wrote. */
#ifndef NOKEN_OBJECTIVES_H
#define NOKEN_OBJECTIVES_H

#include "model/safetensors.h"
#include "unit.h"

enum { MAX_DIM = 128, N_PLACES = 3, N_VECTORS = 2, N_PROMPTS = 2 };
static const char *const MODELS[] = {"gpt2-tiny", "llama-tiny"};
static const char *const PROMPTS[N_PROMPTS] = {"The {} of", "He said {} and then {} was"};
static const int64_t REFERENCE[] = {400,  500,  600,  700,  800,  900,
                                    1000, 1100, 1200, 1300, 1400, 1500};
enum { N_REFERENCE = sizeof REFERENCE / sizeof REFERENCE[0] };
static const struct {
  size_t layer;
  enum nk_override_mode mode;
} PLACES[N_PLACES] = {{0, NK_REPLACE}, {2, NK_REPLACE}, {1, NK_ADD}};

struct world {
  struct nk_model *model;
  size_t dim;
  struct nki_safetensors *file;
  struct nk_probe *probes[N_PLACES][N_PROMPTS];
};

static inline struct nk_probe *new_probe(struct nk_model *model, const char *prompt,
                                         struct nk_probe_options options) {
  options.reference_ids = REFERENCE;
  options.n_reference_ids = N_REFERENCE;
  struct nk_probe *probe = nk_probe_new(model, prompt, &options);
  if (probe == NULL) fail_msg("%s", nk_error());
  return probe;
}

static inline void open_world(const char *name, struct world *w) {
  char path[256];
  snprintf(path, sizeof path, "data/%s", name);
  w->model = nk_model_open(path);
  struct nk_forward *forward = nk_model_forward(w->model);
  if (forward == NULL) fail_msg("%s", nk_error());
  w->dim = nk_forward_shape(forward)->dim;
  snprintf(path, sizeof path, "tests/fixtures/gradients/objectives-%s.safetensors", name);
  w->file = nki_safetensors_open(path);
  if (w->file == NULL) fail_msg("%s", nk_error());
  for (size_t p = 0; p < N_PLACES; p++)
    for (size_t i = 0; i < N_PROMPTS; i++)
      w->probes[p][i] =
          new_probe(w->model, PROMPTS[i],
                    (struct nk_probe_options){.layer = PLACES[p].layer, .mode = PLACES[p].mode});
}

static inline void close_world(struct world *w) {
  for (size_t p = 0; p < N_PLACES; p++)
    for (size_t i = 0; i < N_PROMPTS; i++) nk_probe_free(w->probes[p][i]);
  nki_safetensors_free(w->file);
  nk_model_free(w->model);
}

static inline const void *data_of(const struct world *w, const char *name) {
  const struct nk_tensor *t = nki_safetensors_find(w->file, name);
  assert_non_null(t);
  return t->data;
}

/* The set of n rows x, not a copy. */
static inline struct nk_vectors *set_of(const float *x, size_t n, size_t dim) {
  struct nk_vectors *set = nk_vectors_new(n, dim, NULL, true);
  assert_non_null(set);
  set->values = x;
  return set;
}

#endif
