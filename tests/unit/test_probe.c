/* Probes on a model of data/, against whole distributions that the forward pass gives one sequence
 * at a time (test_forward.c checks those against float64 references). */
#include <math.h>
#include <pthread.h>

#include "unit.h"

enum { MAX_DIM = 256, MAX_IDS = 16, VOCABULARY = 8192 };
static const char MODEL[] = "data/gpt2-tiny";
static const int64_t REFERENCE[] = {400,  500,  600,  700,  800,  900,
                                    1000, 1100, 1200, 1300, 1400, 1500};
enum { N_REFERENCE = sizeof REFERENCE / sizeof REFERENCE[0], N_MEAN = N_REFERENCE / 2 };

struct world {
  struct nk_model *model;
  struct nk_forward *forward;
  const struct nk_tokenizer *tokenizer;
  size_t dim;
};

static int open_world(void **state) {
  static struct world w;
  w.model = nk_model_open(MODEL);
  w.forward = nk_model_forward(w.model);
  w.tokenizer = nk_model_tokenizer(w.model);
  if (w.forward == NULL || w.tokenizer == NULL) return -1;
  w.dim = nk_forward_shape(w.forward)->dim;
  *state = &w;
  return 0;
}

static int close_world(void **state) {
  struct world *w = *state;
  nk_model_free(w->model);
  return 0;
}

/* ---- Prompts as the tests know them ---- */

/* TEXT{} WORD: the tokens of TEXT, the slot, one token. */
struct prompt {
  const char *text, *before, *after;
};
static const struct prompt THE = {"The {} of", "The ", " of"};
static const struct prompt SAID = {"He said: {} and", "He said: ", " and"};

/* ids [*n] with `token` in the slot, whose position is returned. */
static size_t make_ids(const struct world *w, const struct prompt *prompt, int64_t token,
                       int64_t ids[MAX_IDS], size_t *n) {
  int64_t *before;
  size_t n_before;
  assert_int_equal(nk_tokenizer_encode(w->tokenizer, prompt->before, strlen(prompt->before), 0,
                                       &before, &n_before),
                   NK_OK);
  assert_true(n_before + 2 <= MAX_IDS);
  memcpy(ids, before, n_before * sizeof *ids);
  nk_free(before);
  ids[n_before] = token;
  ids[n_before + 1] = nk_tokenizer_id(w->tokenizer, prompt->after, strlen(prompt->after));
  assert_true(ids[n_before + 1] >= 0);
  *n = n_before + 2;
  return n_before;
}

/* p [VOCABULARY] = softmax of the logits at `position` of ids, in double. */
static void distribution(const struct world *w, const int64_t *ids, size_t n, size_t position,
                         const struct nk_override *override, double *p) {
  static float logits[VOCABULARY];
  struct nk_sequence sequence = {ids, n};
  struct nk_ask ask = {.position = position, .logits = logits};
  struct nk_batch batch = {.sequences = &sequence,
                           .n_sequences = 1,
                           .overrides = override,
                           .n_overrides = override == NULL ? 0 : 1,
                           .asks = &ask,
                           .n_asks = 1};
  if (nk_forward_run(w->forward, &batch) != NK_OK) fail_msg("%s", nk_error());
  double max = -INFINITY, sum = 0;
  for (size_t i = 0; i < VOCABULARY; i++) max = fmax(max, (double)logits[i]);
  for (size_t i = 0; i < VOCABULARY; i++) sum += exp((double)logits[i] - max);
  for (size_t i = 0; i < VOCABULARY; i++) p[i] = exp((double)logits[i] - max) / sum;
}

static void token_distribution(const struct world *w, const struct prompt *prompt, int64_t token,
                               size_t offset, double *p) {
  int64_t ids[MAX_IDS];
  size_t n, slot = make_ids(w, prompt, token, ids, &n);
  distribution(w, ids, n, slot + offset, NULL, p);
}

static double entropy_of(const double *p) {
  double entropy = 0;
  for (size_t i = 0; i < VOCABULARY; i++)
    if (p[i] > 0) entropy -= p[i] * log(p[i]);
  return entropy;
}

/* KL of the token's distribution from the mean of n others. */
static double kl_from(const struct world *w, const struct prompt *prompt, int64_t token,
                      size_t offset, const int64_t *others, size_t n) {
  static double p[VOCABULARY], q[VOCABULARY], mean[VOCABULARY];
  double kl = 0;
  memset(mean, 0, sizeof mean);
  for (size_t r = 0; r < n; r++) {
    token_distribution(w, prompt, others[r], offset, q);
    for (size_t i = 0; i < VOCABULARY; i++) mean[i] += q[i] / (double)n;
  }
  token_distribution(w, prompt, token, offset, p);
  for (size_t i = 0; i < VOCABULARY; i++)
    if (p[i] > 0) kl += p[i] * log(p[i] / mean[i]);
  return kl;
}

/* The same from the mean of the first half of REFERENCE. */
static double kl_of(const struct world *w, const struct prompt *prompt, int64_t token,
                    size_t offset) {
  return kl_from(w, prompt, token, offset, REFERENCE, N_MEAN);
}

static struct nk_probe *new_probe(const struct world *w, const char *text,
                                  struct nk_probe_options options) {
  options.reference_ids = REFERENCE;
  options.n_reference_ids = N_REFERENCE;
  struct nk_probe *probe = nk_probe_new(w->model, text, &options);
  if (probe == NULL) fail_msg("%s", nk_error());
  return probe;
}

static struct nk_behaviour *run(struct nk_probe *probe, const struct nk_items *items) {
  struct nk_behaviour *b = nk_probe_run(probe, items);
  if (b == NULL) fail_msg("%s", nk_error());
  return b;
}

static void assert_near(double got, double want, double bound) {
  if (!(fabs(got - want) <= bound)) fail_msg("%.9g, expected %.9g", got, want);
}

/* A set of one row: the token's embedding, plus `extra`. */
static struct nk_vectors *one_vector(const struct world *w, int64_t token, float extra) {
  float *values = nk_alloc(w->dim, sizeof *values);
  assert_int_equal(nk_forward_embedding(w->forward, token, values), NK_OK);
  for (size_t k = 0; k < w->dim; k++) values[k] += extra;
  struct nk_vectors *set = nk_vectors_new(1, w->dim, values, false);
  assert_non_null(set);
  return set;
}

/* ---- Behaviour ---- */

static void entropy_and_top_token_are_those_of_the_next_tokens_distribution(void **state) {
  const struct world *w = *state;
  static double p[VOCABULARY];
  const int64_t token = 321;
  struct nk_probe *probe = new_probe(w, THE.text, (struct nk_probe_options){.n_offsets = 9});
  struct nk_behaviour *b = run(probe, &(struct nk_items){.tokens = &token, .n_tokens = 1});
  assert_int_equal(b->n_offsets, 2); /* the slot and the token after it */
  assert_int_equal(b->end_offset, 1);
  for (size_t k = 0; k < b->n_offsets; k++) {
    size_t top = 0;
    token_distribution(w, &THE, token, k, p);
    for (size_t i = 0; i < VOCABULARY; i++)
      if (p[i] > p[top]) top = i;
    assert_int_equal(b->offsets[k], k);
    assert_near(b->entropy[k], entropy_of(p), 1e-4);
    assert_int_equal(b->top_id[k], top);
    assert_near(b->top_prob[k], p[top], 1e-5);
    assert_near(b->self_prob[k], p[token], 1e-5);
  }
  nk_behaviour_free(b);
  nk_probe_free(probe);
}

/* Each probe compares with tokens in its own prompt, at its own offset: runs of several probes in
 * turn give what the definition says for each. */
static void kl_is_measured_from_the_probes_own_prompt_and_offset(void **state) {
  const struct world *w = *state;
  const size_t zero = 0, one = 1;
  const int64_t token = 2000;
  const struct nk_items items = {.tokens = &token, .n_tokens = 1};
  const struct {
    const struct prompt *prompt;
    const size_t *offset;
  } cases[] = {{&THE, &zero}, {&THE, &one}, {&SAID, &zero}, {&SAID, &one}};
  struct nk_probe *probes[4];
  double want[4];
  for (size_t c = 0; c < 4; c++) {
    struct nk_probe_options options = {.offsets = cases[c].offset, .n_offsets = 1};
    probes[c] = new_probe(w, cases[c].prompt->text, options);
    want[c] = kl_of(w, cases[c].prompt, token, *cases[c].offset);
    for (size_t other = 0; other < c; other++) assert_true(fabs(want[c] - want[other]) > 1e-2);
  }
  for (size_t repeat = 0; repeat < 2; repeat++)
    for (size_t c = 0; c < 4; c++) {
      struct nk_behaviour *b = run(probes[c], &items);
      assert_near(b->kl[0], want[c], 1e-3);
      nk_behaviour_free(b);
    }
  for (size_t c = 0; c < 4; c++) nk_probe_free(probes[c]);
}

/* With m tokens in the second half of the reference, the p-value of another token is one of
 * 1/(m + 1), ..., 1. */
static void p_values_are_multiples_of_their_resolution(void **state) {
  const struct world *w = *state;
  const double m = N_REFERENCE - N_MEAN;
  int64_t tokens[40];
  for (size_t i = 0; i < 40; i++) tokens[i] = (int64_t)(310 + 150 * i);
  struct nk_probe *probe = new_probe(w, THE.text, (struct nk_probe_options){0});
  struct nk_behaviour *b = run(probe, &(struct nk_items){.tokens = tokens, .n_tokens = 40});
  assert_near(b->p_min, 1 / (m + 1), 1e-15);
  for (size_t i = 0; i < 40; i++) {
    double steps = b->p_value[i] * (m + 1);
    assert_near(steps, round(steps), 1e-9);
    assert_true(steps > 0.5 && steps < m + 1.5);
  }
  nk_behaviour_free(b);
  nk_probe_free(probe);
}

/* A token of either half is measured from the mean of the other half and judged among its own. */
static void a_token_of_the_reference_is_judged_without_itself(void **state) {
  const struct world *w = *state;
  const double m = N_REFERENCE - N_MEAN;
  size_t differ = 0; /* from the mean with the token itself */
  struct nk_probe *probe = new_probe(w, SAID.text, (struct nk_probe_options){.n_offsets = 2});
  struct nk_behaviour *b =
      run(probe, &(struct nk_items){.tokens = REFERENCE, .n_tokens = N_REFERENCE});
  for (size_t t = 0; t < N_REFERENCE; t++) {
    const int64_t *others = t < N_MEAN ? REFERENCE + N_MEAN : REFERENCE;
    size_t as_far = 0; /* tokens of the same half with a p-value at most as large */
    for (size_t k = 0; k < 2; k++)
      assert_near(b->kl[2 * t + k], kl_from(w, &SAID, REFERENCE[t], k, others, N_MEAN), 1e-3);
    differ += fabs(b->kl[2 * t] - kl_from(w, &SAID, REFERENCE[t], 0, REFERENCE, N_MEAN)) > 5e-3;
    for (size_t u = 0; u < N_REFERENCE; u++)
      as_far += (u < N_MEAN) == (t < N_MEAN) && b->p_value[2 * u] <= b->p_value[2 * t];
    assert_near(b->p_value[2 * t] * m, (double)as_far, 1e-9);
  }
  assert_true(differ >= N_MEAN);
  nk_behaviour_free(b);
  nk_probe_free(probe);
}

/* A token that is listed twice counts once: it would stand in both halves. */
static void a_reference_holds_each_token_once(void **state) {
  const struct world *w = *state;
  const int64_t token = 2000;
  const struct nk_items items = {.tokens = &token, .n_tokens = 1};
  int64_t twice[2 * N_REFERENCE];
  for (size_t i = 0; i < 2 * N_REFERENCE; i++) twice[i] = REFERENCE[i / 2];
  struct nk_probe_options options = {.reference_ids = twice, .n_reference_ids = 2 * N_REFERENCE};
  struct nk_probe *once = new_probe(w, THE.text, (struct nk_probe_options){0});
  struct nk_probe *repeated = nk_probe_new(w->model, THE.text, &options);
  struct nk_behaviour *a = run(once, &items), *b = run(repeated, &items);
  assert_true(a->kl[0] == b->kl[0] && a->p_value[0] == b->p_value[0] && a->p_min == b->p_min);
  nk_behaviour_free(a);
  nk_behaviour_free(b);
  nk_probe_free(once);
  nk_probe_free(repeated);
}

/* Opens the same model with other values: rows of its tied matrix are those of other tokens. */
static struct nk_model *open_changed(const char *folder) {
  char path[64], command[512];
  float values[2][MAX_DIM];
  int64_t rows[] = {777, 900};
  snprintf(command, sizeof command, "cp %s/config.json %s/tokenizer.json %s", MODEL, MODEL, folder);
  assert_int_equal(system(command), 0);
  struct nk_model *model = nk_model_open(MODEL);
  struct nk_patch patch = {.tensor = nk_model_matrix(model, NK_MATRIX_INPUT, NULL),
                           .rows = rows,
                           .n = 2,
                           .values = &values[0][0]};
  size_t dim = patch.tensor->shape[1];
  assert_int_equal(nk_model_rows(patch.tensor, 1300, 1, patch.values), NK_OK);
  assert_int_equal(nk_model_rows(patch.tensor, 1400, 1, patch.values + dim), NK_OK);
  snprintf(path, sizeof path, "%s/model.safetensors", folder);
  struct nk_output *output = nk_output_open(path, NK_OUTPUT_BINARY);
  const struct nk_model_write_options options = {
      .format = NK_MODEL_SAFETENSORS, .patches = &patch, .n_patches = 1};
  assert_int_equal(nk_model_write(model, &options, output), NK_OK);
  assert_int_equal(nk_output_commit(output), NK_OK);
  nk_output_free(output);
  nk_model_free(model);
  return nk_model_open(folder);
}

/* Divergences of the changed model's answers from the mean of the other one's. */
static void a_probe_compares_with_the_reference_of_another_models(void **state) {
  const struct world *w = *state;
  static const int64_t tokens[] = {600, 777, 3000}; /* one of the reference, one that changed */
  static double p[VOCABULARY], q[VOCABULARY], mean[VOCABULARY];
  void *folder;
  assert_int_equal(make_folder(&folder), 0);
  struct world changed = {.model = open_changed(folder), .tokenizer = w->tokenizer, .dim = w->dim};
  changed.forward = nk_model_forward(changed.model);
  struct nk_probe *of = new_probe(w, THE.text, (struct nk_probe_options){0});
  struct nk_probe *probe =
      new_probe(&changed, THE.text, (struct nk_probe_options){.reference_of = of});
  struct nk_behaviour *b = run(probe, &(struct nk_items){.tokens = tokens, .n_tokens = 3});
  memset(mean, 0, sizeof mean);
  for (size_t r = 0; r < N_MEAN; r++) {
    token_distribution(w, &THE, REFERENCE[r], 1, q);
    for (size_t i = 0; i < VOCABULARY; i++) mean[i] += q[i] / N_MEAN;
  }
  for (size_t t = 0; t < 3; t++) {
    double kl = 0;
    token_distribution(&changed, &THE, tokens[t], 1, p);
    for (size_t i = 0; i < VOCABULARY; i++) kl += p[i] * log(p[i] / mean[i]);
    assert_near(b->kl[t], kl, 1e-5);
  }
  nk_behaviour_free(b);
  nk_probe_free(probe);
  nk_probe_free(of);
  nk_model_free(changed.model);
  assert_int_equal(remove_folder(&folder), 0);
}

/* A vector at layer 2 is judged as by that probe's own reference: its tokens are the same ones. */
static void a_probe_of_another_layer_lends_its_reference(void **state) {
  const struct world *w = *state;
  struct nk_vectors *set = one_vector(w, 555, 0.25f);
  const struct nk_items items = {.vectors = set};
  struct nk_probe *of = new_probe(w, SAID.text, (struct nk_probe_options){0});
  struct nk_probe *own = new_probe(w, SAID.text, (struct nk_probe_options){.layer = 2});
  struct nk_probe *lent =
      new_probe(w, SAID.text, (struct nk_probe_options){.layer = 2, .reference_of = of});
  struct nk_behaviour *a = run(own, &items), *b = run(lent, &items);
  assert_true(a->kl[0] == b->kl[0] && a->p_value[0] == b->p_value[0] && a->p_min == b->p_min);
  nk_behaviour_free(a);
  nk_behaviour_free(b);
  nk_probe_free(lent);
  nk_probe_free(own);
  const struct nk_probe_options options = {.reference_of = of};
  assert_null(nk_probe_new(w->model, THE.text, &options)); /* another prompt */
  assert_int_equal(nk_error_code(), NK_EUSAGE);
  nk_probe_free(of);
  nk_vectors_free(set);
}

static void a_tokens_vector_behaves_as_the_token(void **state) {
  const struct world *w = *state;
  const int64_t token = 777;
  struct nk_vectors *set = one_vector(w, token, 0);
  struct nk_probe *probe = new_probe(w, SAID.text, (struct nk_probe_options){.repetition = true});
  struct nk_behaviour *b =
      run(probe, &(struct nk_items){.tokens = &token, .n_tokens = 1, .vectors = set});
  assert_int_equal(b->n_items, 2);
  assert_true(b->entropy[0] == b->entropy[1]);
  assert_true(b->kl[0] == b->kl[1]);
  assert_true(b->p_value[0] == b->p_value[1]);
  assert_int_equal(b->echo_rank[0], b->echo_rank[1]);
  assert_true(isnan(b->self_prob[1]));
  nk_behaviour_free(b);
  nk_probe_free(probe);
  nk_vectors_free(set);
}

/* ---- Places ---- */

/* The mean embedding, in double. */
static void mean_embedding(const struct world *w, double *mean) {
  float row[MAX_DIM];
  memset(mean, 0, w->dim * sizeof *mean);
  for (int64_t id = 0; id < VOCABULARY; id++) {
    assert_int_equal(nk_forward_embedding(w->forward, id, row), NK_OK);
    for (size_t k = 0; k < w->dim; k++) mean[k] += (double)row[k] / VOCABULARY;
  }
}

static void a_vector_is_added_to_the_mean_embedding_where_no_fill_is_given(void **state) {
  const struct world *w = *state;
  static double p[VOCABULARY], mean[MAX_DIM];
  float sum[MAX_DIM];
  int64_t ids[MAX_IDS];
  size_t n, slot = make_ids(w, &THE, NK_VECTOR, ids, &n);
  struct nk_vectors *set = one_vector(w, 555, 0.25f);
  mean_embedding(w, mean);
  for (size_t k = 0; k < w->dim; k++) sum[k] = (float)(mean[k] + (double)set->values[k]);
  struct nk_override override = {.position = slot, .mode = NK_REPLACE, .vector = sum};
  distribution(w, ids, n, n - 1, &override, p);
  struct nk_probe *probe = new_probe(w, THE.text, (struct nk_probe_options){.mode = NK_ADD});
  struct nk_behaviour *b = run(probe, &(struct nk_items){.vectors = set});
  assert_near(b->entropy[0], entropy_of(p), 1e-4);
  nk_behaviour_free(b);
  nk_probe_free(probe);
  nk_vectors_free(set);
}

static void a_fill_takes_the_place_of_the_mean_embedding(void **state) {
  const struct world *w = *state;
  const size_t layer = 0, offset = 0;
  float fill[MAX_DIM], out[MAX_DIM];
  struct nk_vectors *set = one_vector(w, 555, 0.25f);
  for (size_t k = 0; k < w->dim; k++) fill[k] = (float)k / 16;
  struct nk_probe_options options = {
      .mode = NK_ADD, .fill = fill, .offsets = &offset, .n_offsets = 1};
  struct nk_probe *probe = new_probe(w, THE.text, options);
  assert_int_equal(nk_probe_capture(probe, &(struct nk_items){.vectors = set}, &layer, 1, out),
                   NK_OK);
  for (size_t k = 0; k < w->dim; k++)
    assert_near((double)out[k], (double)set->values[k] + (double)k / 16, 1e-6);
  nk_probe_free(probe);
  nk_vectors_free(set);
}

static void a_negative_position_counts_from_the_prompts_end(void **state) {
  const struct world *w = *state;
  const int64_t token = 640;
  const struct nk_items items = {.tokens = &token, .n_tokens = 1};
  struct nk_probe_options placed = {.at_position = true, .position = -2};
  struct nk_probe *slots = new_probe(w, THE.text, (struct nk_probe_options){0});
  struct nk_probe *position = new_probe(w, THE.text, placed);
  struct nk_behaviour *a = run(slots, &items), *b = run(position, &items);
  assert_true(a->entropy[0] == b->entropy[0] && a->kl[0] == b->kl[0]);
  nk_behaviour_free(a);
  nk_behaviour_free(b);
  nk_probe_free(slots);
  nk_probe_free(position);
}

/* ---- Captures and generation ---- */

static void several_layers_and_offsets_are_captured_in_one_pass(void **state) {
  const struct world *w = *state;
  const int64_t tokens[2] = {640, 650};
  const size_t layers[3] = {0, 2, 4}, offsets[2] = {0, 1};
  const struct nk_items items = {.tokens = tokens, .n_tokens = 2};
  static float all[2][2][3][MAX_DIM / 2], one[2][MAX_DIM / 2];
  float embedding[MAX_DIM];
  assert_int_equal(w->dim, MAX_DIM / 2);
  struct nk_probe *probe =
      new_probe(w, THE.text, (struct nk_probe_options){.offsets = offsets, .n_offsets = 2});
  assert_int_equal(nk_probe_capture(probe, &items, layers, 3, &all[0][0][0][0]), NK_OK);
  nk_probe_free(probe);
  for (size_t i = 0; i < 2; i++) {
    assert_int_equal(nk_forward_embedding(w->forward, tokens[i], embedding), NK_OK);
    assert_memory_equal(all[i][0][0], embedding, w->dim * sizeof(float));
  }
  for (size_t k = 0; k < 2; k++)
    for (size_t l = 0; l < 3; l++) {
      struct nk_probe_options single = {.offsets = &offsets[k], .n_offsets = 1};
      probe = new_probe(w, THE.text, single);
      assert_int_equal(nk_probe_capture(probe, &items, &layers[l], 1, one[0]), NK_OK);
      nk_probe_free(probe);
      for (size_t i = 0; i < 2; i++)
        for (size_t c = 0; c < w->dim; c++)
          assert_near((double)all[i][k][l][c], (double)one[i][c], 1e-4);
    }
}

static void generated_tokens_are_the_most_probable_ones_in_turn(void **state) {
  const struct world *w = *state;
  enum { N = 5 };
  static double p[VOCABULARY];
  const int64_t token = 640;
  int64_t ids[MAX_IDS + N], generated[N];
  size_t n, length;
  make_ids(w, &THE, token, ids, &n);
  struct nk_probe *probe = new_probe(w, THE.text, (struct nk_probe_options){.n_generate = N});
  assert_int_equal(nk_probe_generate(probe, &(struct nk_items){.tokens = &token, .n_tokens = 1},
                                     generated, &length),
                   NK_OK);
  assert_int_equal(length, N);
  for (size_t t = 0; t < N; t++) {
    size_t top = 0;
    distribution(w, ids, n, n - 1, NULL, p);
    for (size_t i = 0; i < VOCABULARY; i++)
      if (p[i] > p[top]) top = i;
    assert_int_equal(generated[t], top);
    ids[n++] = (int64_t)top;
  }
  nk_probe_free(probe);
}

/* ---- References ---- */

static void a_probe_draws_the_tokens_that_nk_ordinary_tokens_gives(void **state) {
  const struct world *w = *state;
  const int64_t token = 2000;
  const struct nk_items items = {.tokens = &token, .n_tokens = 1};
  struct nk_ordinary_options how = {.n = 24, .seed = 5};
  struct nk_probe_options options = {.n_reference = 12, .seed = 5};
  int64_t *ids;
  size_t n;
  assert_int_equal(nk_ordinary_tokens(w->model, &how, &ids, &n), NK_OK);
  assert_int_equal(n, 24);
  struct nk_probe *drawn = nk_probe_new(w->model, THE.text, &options);
  options.reference_ids = ids;
  options.n_reference_ids = n;
  struct nk_probe *given = nk_probe_new(w->model, THE.text, &options);
  nk_free(ids); /* the probe has a copy */
  struct nk_behaviour *a = run(drawn, &items), *b = run(given, &items);
  assert_true(a->kl[0] == b->kl[0] && a->p_value[0] == b->p_value[0]);
  nk_behaviour_free(a);
  nk_behaviour_free(b);
  nk_probe_free(drawn);
  nk_probe_free(given);
}

static void ordinary_tokens_are_drawn_without_the_excluded_ones(void **state) {
  const struct world *w = *state;
  int64_t from[100], excluded[50], *ids;
  size_t n;
  for (int64_t i = 0; i < 100; i++) from[i] = 300 + i;
  for (int64_t i = 0; i < 50; i++) excluded[i] = 301 + 2 * i;
  struct nk_ordinary_options how = {
      .from = from, .n_from = 100, .excluded = excluded, .n_excluded = 50, .n = 80};
  assert_int_equal(nk_ordinary_tokens(w->model, &how, &ids, &n), NK_OK);
  assert_int_equal(n, 50);
  for (size_t i = 0; i < n; i++) {
    assert_true(ids[i] >= 300 && ids[i] < 400 && ids[i] % 2 == 0);
    for (size_t k = 0; k < i; k++) assert_int_not_equal(ids[i], ids[k]);
  }
  nk_free(ids);
}

/* Like an ordinary token and a byte, where three ordinary tokens are left: the byte's turns find
 * others. */
static void a_token_without_a_match_is_passed_over(void **state) {
  const struct world *w = *state;
  static enum nk_category category[VOCABULARY];
  static int64_t excluded[VOCABULARY];
  int64_t like[2] = {-1, -1}, *ids;
  size_t n, n_excluded = 0, n_ordinary = 0;
  assert_int_equal(nk_tokenizer_categories(w->tokenizer, VOCABULARY, category), NK_OK);
  for (int64_t i = 0; i < VOCABULARY; i++) {
    if (category[i] == NK_TOKEN_BYTE) like[1] = i;
    if (category[i] != NK_TOKEN_OK) continue;
    if (n_ordinary++ == 3) like[0] = i;
    if (n_ordinary > 3) excluded[n_excluded++] = i;
  }
  struct nk_ordinary_options how = {
      .excluded = excluded, .n_excluded = n_excluded, .like = like, .n_like = 2, .n = 20};
  for (how.seed = 0; how.seed < 2; how.seed++) { /* the two orders of turns, or one twice */
    size_t n_bytes = 0;
    assert_int_equal(nk_ordinary_tokens(w->model, &how, &ids, &n), NK_OK);
    assert_int_equal(n, 20);
    for (size_t i = 0; i < n; i++) n_bytes += category[ids[i]] == NK_TOKEN_BYTE;
    assert_int_equal(n_bytes, 17);
    nk_free(ids);
  }
}

/* ---- Usage errors ---- */

static void options_out_of_range_are_errors(void **state) {
  const struct world *w = *state;
  const size_t far = 2;
  const struct {
    const char *text;
    struct nk_probe_options options;
    const char *says;
  } cases[] = {
      {"The {} of", {.layer = 5}, "layers 0 to 4"},
      {"The {} of", {.mode = (enum nk_override_mode)7}, "mode 7"},
      {"The {} of", {.at_position = true, .position = 99}, "position 99"},
      {"The {} of", {.at_position = true, .position = -99}, "position -99"},
      {"The {} of", {.offsets = &far, .n_offsets = 1}, "offset 2"},
      {"The {} of", {.offsets = &far}, "no offsets"},
      {"The {} of", {.n_generate = 300}, "context is 256"},
      {"The {} of", {.n_generate = SIZE_MAX}, "context is 256"},
      {"The of", {0}, "no slot {}"},
      {"", {.at_position = true}, "empty prompt"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    assert_null(nk_probe_new(w->model, cases[i].text, &cases[i].options));
    assert_int_equal(nk_error_code(), NK_EUSAGE);
    if (strstr(nk_error(), cases[i].says) == NULL) fail_msg("case %zu: %s", i, nk_error());
  }
}

static void vectors_of_another_width_are_an_error(void **state) {
  const struct world *w = *state;
  const size_t layer = 1;
  static const float values[6] = {1, 2, 3, 4, 5, 6};
  float out[MAX_DIM];
  int64_t ids[2];
  size_t lengths[2];
  struct nk_vectors *set = nk_vectors_new(2, 3, (float *)values, true);
  const struct nk_items items = {.vectors = set};
  struct nk_probe *probe = new_probe(w, THE.text, (struct nk_probe_options){.n_generate = 1});
  assert_null(nk_probe_run(probe, &items));
  assert_int_equal(nk_error_code(), NK_EDATA);
  assert_non_null(strstr(nk_error(), "3 values, the model's have 128"));
  assert_int_equal(nk_probe_generate(probe, &items, ids, lengths), NK_EDATA);
  assert_int_equal(nk_probe_capture(probe, &items, &layer, 1, out), NK_EDATA);
  nk_probe_free(probe);
  nk_vectors_free(set);
}

static void a_reference_of_too_few_tokens_is_an_error(void **state) {
  const struct world *w = *state;
  const int64_t token = 640;
  struct nk_probe_options options = {.reference_ids = REFERENCE, .n_reference_ids = 6};
  struct nk_probe *probe = nk_probe_new(w->model, THE.text, &options);
  assert_null(nk_probe_run(probe, &(struct nk_items){.tokens = &token, .n_tokens = 1}));
  assert_int_equal(nk_error_code(), NK_EUSAGE);
  nk_probe_free(probe);
}

/* ---- Errors ---- */

static void a_failed_chain_keeps_its_first_error(void **state) {
  (void)state;
  char first[512];
  int64_t ids[1], *drawn;
  size_t n, lengths[1], layer = 0;
  float out[1];
  struct nk_model *model = nk_model_open("/nowhere");
  assert_null(model);
  snprintf(first, sizeof first, "%s", nk_error());
  struct nk_vectors *set = nk_model_vectors(model, NK_MATRIX_INPUT);
  struct nk_probe *probe = nk_probe_new(model, "The {}", NULL);
  const struct nk_items items = {.vectors = set};
  assert_null(probe);
  assert_null(nk_probe_run(probe, &items));
  assert_null(nk_probe_offsets(probe, &n));
  assert_null(nk_forward_shape(nk_model_forward(model)));
  assert_int_equal(nk_forward_embedding(nk_model_forward(model), 0, out), nk_error_code());
  assert_int_equal(nk_forward_run(nk_model_forward(model), NULL), nk_error_code());
  assert_int_equal(nk_verify(model, NULL, NULL, 0, NULL), nk_error_code());
  assert_int_equal(nk_probe_generate(probe, &items, ids, lengths), nk_error_code());
  assert_int_equal(nk_probe_capture(probe, &items, &layer, 1, out), nk_error_code());
  assert_int_equal(nk_ordinary_tokens(model, NULL, &drawn, &n), nk_error_code());
  assert_null(drawn);
  assert_string_equal(nk_error(), first);
  nk_behaviour_free(NULL);
  nk_probe_free(probe);
}

/* The name of a model's folder in, the message that is left out. */
static void *use_model(void *argument) {
  const char *folder = argument;
  const int64_t token = 400;
  const struct nk_items items = {.tokens = &token, .n_tokens = 1};
  struct nk_probe_options options = {.n_reference = 8, .n_generate = 2, .repetition = true};
  const size_t layer = 1;
  int64_t ids[2];
  size_t length;
  float out[MAX_DIM];
  struct nk_model *model = nk_model_open(folder);
  struct nk_forward *forward = nk_model_forward(model);
  bool good = forward != NULL;
  if (good && strncmp(folder, "data/", 5) == 0) {
    struct nk_probe *probe = nk_probe_new(model, "The {} of", &options);
    struct nk_behaviour *b = nk_probe_run(probe, &items);
    good = b != NULL && nk_probe_generate(probe, &items, ids, &length) == NK_OK &&
           nk_probe_capture(probe, &items, &layer, 1, out) == NK_OK;
    nk_behaviour_free(b);
    nk_probe_free(probe);
  }
  nk_model_free(model);
  char *left = NULL;
  if (!good || nk_error_code() != NK_OK || nk_error()[0] != 0)
    left = nk_strdup(nk_error()[0] == 0 ? "failed" : nk_error());
  return left;
}

static void success_leaves_no_error(void **state) {
  (void)state;
  static const char *const folders[] = {
      "data/gpt2-tiny",
      "data/llama-tiny",
      "tests/fixtures/forward/gpt2",
      "tests/fixtures/forward/gptj",
      "tests/fixtures/forward/gpt_neox",
      "tests/fixtures/forward/gpt_neox-serial",
      "tests/fixtures/forward/opt",
      "tests/fixtures/forward/llama",
      "tests/fixtures/forward/llama-linear",
      "tests/fixtures/forward/llama3",
      "tests/fixtures/forward/mistral",
      "tests/fixtures/forward/qwen2",
      "tests/fixtures/forward/qwen3",
      "tests/fixtures/forward/gemma",
      "tests/fixtures/forward/gemma2",
      "tests/fixtures/forward/phi",
      "tests/fixtures/forward/phi3",
      "tests/fixtures/forward/phi3-longrope",
  };
  for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
    pthread_t thread;
    void *left;
    assert_int_equal(pthread_create(&thread, NULL, use_model, (void *)folders[i]), 0);
    assert_int_equal(pthread_join(thread, &left), 0);
    if (left != NULL) fail_msg("%s leaves: %s", folders[i], (char *)left);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(entropy_and_top_token_are_those_of_the_next_tokens_distribution),
      cmocka_unit_test(kl_is_measured_from_the_probes_own_prompt_and_offset),
      cmocka_unit_test(p_values_are_multiples_of_their_resolution),
      cmocka_unit_test(a_token_of_the_reference_is_judged_without_itself),
      cmocka_unit_test(a_reference_holds_each_token_once),
      cmocka_unit_test(a_probe_compares_with_the_reference_of_another_models),
      cmocka_unit_test(a_probe_of_another_layer_lends_its_reference),
      cmocka_unit_test(a_tokens_vector_behaves_as_the_token),
      cmocka_unit_test(a_vector_is_added_to_the_mean_embedding_where_no_fill_is_given),
      cmocka_unit_test(a_fill_takes_the_place_of_the_mean_embedding),
      cmocka_unit_test(a_negative_position_counts_from_the_prompts_end),
      cmocka_unit_test(several_layers_and_offsets_are_captured_in_one_pass),
      cmocka_unit_test(generated_tokens_are_the_most_probable_ones_in_turn),
      cmocka_unit_test(a_probe_draws_the_tokens_that_nk_ordinary_tokens_gives),
      cmocka_unit_test(ordinary_tokens_are_drawn_without_the_excluded_ones),
      cmocka_unit_test(a_token_without_a_match_is_passed_over),
      cmocka_unit_test(options_out_of_range_are_errors),
      cmocka_unit_test(vectors_of_another_width_are_an_error),
      cmocka_unit_test(a_reference_of_too_few_tokens_is_an_error),
      cmocka_unit_test(a_failed_chain_keeps_its_first_error),
      cmocka_unit_test(success_leaves_no_error),
  };
  return cmocka_run_group_tests(tests, open_world, close_world);
}
