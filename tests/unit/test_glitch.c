/* Rankings of simulated embeddings, whose truth is drawn here, and of the models that ship. */
#include "unit.h"

#include <math.h>
#include "base/random.h"
#include "cli/frame.h"
#include "glitch/internal.h"

/* ---- Simulated models ---- */

struct world {
  const char *name;
  size_t n, dim, never, few; /* rows; of them never seen; seen 1 to 10 times */
  bool tied, unit;           /* unit: rows are normalized */
};

enum { UNUSED = 13 };

struct model {
  float *output, *input; /* input NULL: tied */
  double *steps;         /* [n] */
  bool *judged;
  enum nk_glitch_role *role;
  size_t n, dim;
};

/* How far rows of a token have gone that was seen this often: log(1 + steps), 1 for 1,000. */
static double distance_gone(double steps) {
  return log1p(steps) / log(1001);
}

/* Row i of a matrix: a ball of 0.02 around a common direction that training undoes, and a way of
 * its own, longer in the first dimensions. */
static void draw_row(const struct world *w, double common, double steps, struct nki_random *random,
                     float *row) {
  double gone = distance_gone(steps) * exp(0.15 * nki_random_normal(random)), squares = 0;
  for (size_t j = 0; j < w->dim; j++) {
    double value = 0.02 * nki_random_normal(random);
    value += gone * nki_random_normal(random) / sqrt((double)(j + 1) * 5);
    if (j == 0) value += common * exp(-2 * gone);
    row[j] = (float)value;
    squares += value * value;
  }
  for (size_t j = 0; w->unit && j < w->dim; j++) row[j] = (float)((double)row[j] / sqrt(squares));
}

static struct model simulate(const struct world *w) {
  struct model m = {.n = w->n, .dim = w->dim};
  m.output = calloc(w->n * w->dim, sizeof(float));
  m.input = w->tied ? NULL : calloc(w->n * w->dim, sizeof(float));
  m.steps = calloc(w->n, sizeof(double));
  m.judged = calloc(w->n, sizeof(bool));
  m.role = calloc(w->n, sizeof *m.role);
  size_t *order = calloc(w->n, sizeof *order);
  struct nki_random random = nki_random_stream(1, NKI_RANDOM_TEST, 0);
  nki_random_permutation(&random, w->n, order);
  for (size_t k = 0; k < w->n; k++) {
    size_t i = order[k];
    struct nki_random row = nki_random_stream(2, NKI_RANDOM_TEST, i);
    if (k < UNUSED) m.role[i] = NK_ROLE_UNUSED;
    m.judged[i] = k >= UNUSED;
    if (k < UNUSED + w->never)
      m.steps[i] = 0;
    else if (k < UNUSED + w->never + w->few)
      m.steps[i] = 1 + (double)nki_random_below(&row, 10);
    else
      m.steps[i] = 11 + floor(exp(6.5 + 1.5 * nki_random_normal(&row)));
    draw_row(w, 1, m.steps[i], &row, m.output + i * w->dim);
    if (m.input != NULL) draw_row(w, 0, m.steps[i], &row, m.input + i * w->dim);
  }
  free(order);
  return m;
}

static void model_free(struct model *m) {
  free(m->output);
  free(m->input);
  free(m->steps);
  free(m->judged);
  free(m->role);
}

static const struct nk_glitch_options PLAIN = {.knn_k = 0};

static struct nk_glitch *rank(const struct model *m) {
  struct nk_glitch *glitch = nki_glitch_new(m->n, m->role);
  assert_non_null(glitch);
  int code = nki_glitch_output(glitch, m->output, m->dim, m->input == NULL, &PLAIN);
  if (code == NK_OK && m->input != NULL) code = nki_glitch_input(glitch, m->input, m->dim, &PLAIN);
  if (code == NK_OK) code = nki_glitch_rank(glitch, NULL);
  if (code != NK_OK) fail_msg("%s", nk_error());
  return glitch;
}

enum { MOST_MEASURES = 32 };

static struct nk_glitch_report judge(const struct nk_glitch *glitch,
                                     const struct nk_glitch_truth *truth, double at_most,
                                     double level, struct nk_glitch_measure *measures) {
  struct nk_glitch_report report;
  assert_true(glitch->n_columns < MOST_MEASURES);
  assert_int_equal(nk_glitch_evaluate(glitch, truth, at_most, level, measures, &report), NK_OK);
  return report;
}

/* No column's average precision or AUC is more than 0.001 above the score's. */
static void no_indicator_beats_the_score(const struct nk_glitch *glitch,
                                         const struct nk_glitch_truth *truth, double at_most,
                                         const char *what) {
  struct nk_glitch_measure measures[MOST_MEASURES];
  judge(glitch, truth, at_most, 0.05, measures);
  const struct nk_retrieval *score = &measures[0].retrieval;
  for (size_t c = 1; c <= glitch->n_columns; c++) {
    const struct nk_retrieval *other = &measures[c].retrieval;
    if (other->auc > score->auc + 1e-3 ||
        other->average_precision > score->average_precision + 1e-3)
      fail_msg("%s, at most %g steps: AUC %.5f, AP %.5f; %s: %.5f, %.5f", what, at_most, score->auc,
               score->average_precision, measures[c].name, other->auc, other->average_precision);
  }
}

static void simulated_glitch_tokens_are_found_and_few_others(void **state) {
  (void)state;
  static const struct world worlds[] = {
      {"a dozen, tied", 4096, 64, 12, 0, true, false},
      {"a dozen, untied, unit rows", 4096, 64, 12, 0, false, true},
      {"a dozen among many dimensions", 2048, 512, 12, 0, true, false},
      {"a dozen among many rows", 50000, 16, 12, 0, true, false},
      {"a dozen among many rows, untied", 30000, 64, 12, 0, false, false},
      {"a tenth, untied", 6000, 48, 600, 120, false, false},
      {"two thirds, tied, unit rows", 6000, 128, 4000, 200, true, true},
      {"two thirds, untied", 6000, 128, 4000, 200, false, false},
  };
  struct nk_glitch_measure measures[MOST_MEASURES];
  for (size_t i = 0; i < sizeof worlds / sizeof *worlds; i++) {
    struct model m = simulate(&worlds[i]);
    struct nk_glitch *glitch = rank(&m);
    const struct nk_glitch_truth truth = {m.judged, m.steps, m.steps};
    struct nk_glitch_report never = judge(glitch, &truth, 0, 0.05, measures);
    double auc = measures[0].retrieval.auc;
    struct nk_glitch_report few = judge(glitch, &truth, 10, 0.05, measures);
    if (!(auc > 0.999 && never.recall >= 0.9 && few.false_rate <= 0.05))
      fail_msg("%s: AUC %g, recall %g, false discoveries %g of %zu", worlds[i].name, auc,
               never.recall, few.false_rate, few.reported);
    no_indicator_beats_the_score(glitch, &truth, 0, worlds[i].name);
    if (worlds[i].few > 0) no_indicator_beats_the_score(glitch, &truth, 10, worlds[i].name);
    nk_glitch_free(glitch);
    model_free(&m);
  }
}

static double average_precision_of(const struct model *m, double at_most) {
  struct nk_glitch_measure measures[MOST_MEASURES];
  struct nk_glitch *glitch = rank(m);
  const struct nk_glitch_truth truth = {m->judged, m->steps, m->steps};
  judge(glitch, &truth, at_most, 0.05, measures);
  nk_glitch_free(glitch);
  return measures[0].retrieval.average_precision;
}

/* Of the input rows only the direction, the signs or nothing is left: the score is no worse than
 * that of the output matrix alone. */
static void odd_input_rows_do_not_pull_the_score_below_the_output_matrix(void **state) {
  (void)state;
  static const char *const kinds[] = {"tiny", "two-valued", "equal but for one row"};
  const struct world w = {"untied", 6000, 48, 600, 120, false, false};
  for (int kind = 0; kind < 3; kind++) {
    struct model m = simulate(&w), alone = m;
    alone.input = NULL;
    for (size_t i = 0; i < m.n * m.dim; i++) {
      float x = m.input[i];
      m.input[i] = kind == 0 ? x * 1e-20f : kind == 1 ? (x > 0 ? 0.02f : -0.02f) : i < m.dim;
    }
    for (double at_most = 0; at_most <= 10; at_most += 10) {
      double both = average_precision_of(&m, at_most),
             output = average_precision_of(&alone, at_most);
      if (!(both > output - 1e-3))
        fail_msg("%s, at most %g steps: %.5f, without the input matrix %.5f", kinds[kind], at_most,
                 both, output);
    }
    model_free(&m);
  }
}

static struct nk_glitch *rank_sets(float *output, float *input, size_t n, size_t dim,
                                   const int64_t *unused, bool skip_bad) {
  const struct nk_glitch_options options = {.skip_bad = skip_bad};
  struct nk_vectors *a = nk_vectors_new(n, dim, output, true);
  struct nk_vectors *b = nk_vectors_new(n, dim, input, true);
  assert_non_null(a);
  assert_non_null(b);
  struct nk_glitch *glitch = nk_glitch_of_sets(a, b, unused, UNUSED, &options);
  nk_vectors_free(a);
  nk_vectors_free(b);
  return glitch;
}

/* Rows that are not finite stand at the end of both matrices, so that the same sets can be ranked
 * without them. */
static void rows_that_are_not_finite_are_refused_or_not_ranked(void **state) {
  (void)state;
  const struct world w = {"untied", 3000, 32, 300, 50, false, false};
  struct model m = simulate(&w);
  int64_t unused[UNUSED];
  size_t n_unused = 0, last = m.n - 1;
  for (size_t i = 0; i < m.n; i++)
    if (m.role[i] == NK_ROLE_UNUSED) unused[n_unused++] = (int64_t)i;
  assert_true(n_unused == UNUSED && unused[UNUSED - 1] < (int64_t)last - 1);
  m.output[last * m.dim + 3] = NAN;
  m.input[(last - 1) * m.dim] = INFINITY;
  assert_null(rank_sets(m.output, m.input, m.n, m.dim, unused, false));
  assert_int_equal(nk_error_code(), NK_EDATA);
  struct nk_glitch *all = rank_sets(m.output, m.input, m.n, m.dim, unused, true);
  struct nk_glitch *finite = rank_sets(m.output, m.input, m.n - 2, m.dim, unused, false);
  assert_non_null(all);
  assert_non_null(finite);
  for (size_t i = 0; i < m.n - 2; i++) {
    assert_true(fabs(all->score[i] - finite->score[i]) < 0.01);
    assert_true(all->role[i] == finite->role[i]);
  }
  for (size_t i = m.n - 2; i < m.n; i++) {
    assert_true(isnan(all->score[i]) && isnan(all->p_value[i]) && isnan(all->q_value[i]));
    for (size_t c = 0; c < all->n_columns; c++) assert_true(isnan(all->columns[c].values[i]));
    assert_true(all->rank[i] > 0 && all->order[all->n_ranked + all->rank[i] - 1] == i);
  }
  nk_glitch_free(all);
  nk_glitch_free(finite);
  model_free(&m);
}

static void ranks_run_from_one_among_texts_and_among_the_others(void **state) {
  (void)state;
  const struct world world = {"", 1000, 16, 50, 0, true, false};
  struct model m = simulate(&world);
  m.role[7] = NK_ROLE_APART;
  struct nk_glitch *glitch = rank(&m);
  assert_int_equal(glitch->n_ranked + UNUSED + (m.judged[7] ? 1 : 0), 1000);
  for (size_t at = 0; at < m.n; at++) {
    size_t row = glitch->order[at];
    bool apart = at >= glitch->n_ranked;
    assert_int_equal(glitch->rank[row], (apart ? at - glitch->n_ranked : at) + 1);
    assert_true(apart == (m.role[row] != NK_ROLE_TEXT));
    assert_true(apart == isnan(glitch->p_value[row]));
    if (at > 0 && at != glitch->n_ranked)
      assert_true(glitch->score[glitch->order[at - 1]] >= glitch->score[row]);
  }
  nk_glitch_free(glitch);
  model_free(&m);
}

/* ---- Which rows mark the ball ---- */

static size_t warnings;
static enum nk_glitch_source source;

static void count_warning(const char *message, void *user) {
  (void)user;
  if (strstr(message, "unused tokens are known") != NULL) warnings++;
}

/* How many of the rows found were seen. */
static size_t seen_rows(const struct model *m, size_t *n_rows) {
  size_t *rows = NULL, seen = 0;
  warnings = 0;
  nk_on_warning(count_warning, NULL);
  assert_int_equal(nki_find_unused(m->output, m->n, m->dim, m->role, &rows, n_rows, &source), 0);
  nk_on_warning(NULL, NULL);
  for (size_t i = 0; i < *n_rows; i++) seen += m->steps[rows[i]] > 0;
  nk_free(rows);
  return seen;
}

static void rows_that_do_not_belong_are_left_out(void **state) {
  (void)state;
  const struct world world = {"", 3000, 64, 200, 0, true, false};
  struct model m = simulate(&world);
  size_t n_rows = 0;
  assert_int_equal(seen_rows(&m, &n_rows), 0);
  assert_int_equal(n_rows, UNUSED);
  size_t wrong = 0; /* five "unused" tokens that were in the data after all */
  for (size_t i = 0; i < m.n && wrong < 5; i++)
    if (m.steps[i] > 100) m.role[i] = (wrong++, NK_ROLE_UNUSED);
  assert_int_equal(seen_rows(&m, &n_rows), 0);
  assert_int_equal(n_rows, UNUSED);
  assert_int_equal(warnings, 0);
  assert_int_equal(source, NK_SOURCE_KNOWN);
  model_free(&m);
}

static void suspects_and_then_extremes_stand_in_for_unused_rows(void **state) {
  (void)state;
  const struct world world = {"", 3000, 64, 200, 0, true, false};
  struct model m = simulate(&world);
  size_t n_rows = 0, seen = 0, zeros = 0;
  for (size_t i = 0; i < m.n; i++) { /* 13 that are unused, 50 that are not, 20 rows of zeros */
    if (m.role[i] == NK_ROLE_UNUSED)
      m.role[i] = NK_ROLE_SUSPECT;
    else if (m.steps[i] > 100 && seen < 50)
      m.role[i] = (seen++, NK_ROLE_SUSPECT);
    else if (m.steps[i] > 100 && zeros < 20) {
      m.role[i] = (zeros++, NK_ROLE_SUSPECT);
      memset(m.output + i * m.dim, 0, m.dim * sizeof(float));
    }
  }
  assert_int_equal(seen_rows(&m, &n_rows), 0);
  assert_int_equal(n_rows, UNUSED);
  assert_int_equal(warnings, 0);

  for (size_t i = 0; i < m.n; i++) m.role[i] = NK_ROLE_TEXT;
  assert_int_equal(seen_rows(&m, &n_rows), 0);
  assert_true(n_rows >= 3);
  assert_int_equal(warnings, 1);
  model_free(&m);
}

/* Moves each unused row to a hundredth of its distance from the first one. */
static void gather_unused(struct model *m) {
  const float *first = NULL;
  for (size_t i = 0; i < m->n; i++) {
    float *row = m->output + i * m->dim;
    if (m->role[i] != NK_ROLE_APART || m->steps[i] > 0) continue;
    if (first == NULL) first = row;
    for (size_t j = 0; j < m->dim; j++) row[j] = first[j] + 0.01f * (row[j] - first[j]);
  }
}

static void special_tokens_stand_in_where_their_rows_coincide(void **state) {
  (void)state;
  const struct world world = {"", 3000, 64, 200, 0, true, false};
  struct model m = simulate(&world);
  size_t n_rows = 0, used = 0;
  for (size_t i = 0; i < m.n; i++) /* reserved ones, and 20 that chats are full of */
    if (m.role[i] == NK_ROLE_UNUSED || (m.steps[i] > 100 && used++ < 20)) m.role[i] = NK_ROLE_APART;
  seen_rows(&m, &n_rows);
  assert_int_equal(source, NK_SOURCE_EXTREME); /* a ball of its usual size is not taken */
  gather_unused(&m);
  assert_int_equal(seen_rows(&m, &n_rows), 0);
  assert_int_equal(source, NK_SOURCE_SPECIAL);
  assert_int_equal(n_rows, UNUSED);
  assert_int_equal(warnings, 0);
  model_free(&m);
}

static void count_overlap(const char *message, void *user) {
  (void)user;
  warnings += strstr(message, "every p-value is 1") != NULL;
}

/* Of the 13 "unused" tokens 7 or more were in the data after all. */
static void unused_rows_among_ordinary_ones_report_nothing(void **state) {
  (void)state;
  const struct world world = {"", 3000, 64, 0, 0, true, false};
  for (size_t wrong = 7; wrong <= UNUSED; wrong += 3) {
    struct model m = simulate(&world);
    size_t right = UNUSED - wrong, left = wrong;
    for (size_t i = 0; i < m.n; i++) {
      if (m.role[i] == NK_ROLE_UNUSED)
        m.role[i] = right > 0 ? (right--, NK_ROLE_UNUSED) : NK_ROLE_APART;
      else if (m.steps[i] > 500 && left > 0)
        m.role[i] = (left--, NK_ROLE_UNUSED);
    }
    warnings = 0;
    nk_on_warning(count_overlap, NULL);
    struct nk_glitch *glitch = rank(&m);
    nk_on_warning(NULL, NULL);
    if (warnings != 1 || !glitch->overlap) fail_msg("%zu wrong ones are believed", wrong);
    for (size_t i = 0; i < m.n; i++)
      assert_true(m.role[i] == NK_ROLE_TEXT ? glitch->p_value[i] == 1 : isnan(glitch->p_value[i]));
    nk_glitch_free(glitch);
    model_free(&m);
  }
}

static void a_score_without_its_distance_is_worse(void **state) {
  (void)state;
  const struct world world = {"", 6000, 48, 600, 120, false, false};
  struct model m = simulate(&world);
  const struct nk_glitch_truth truth = {m.judged, m.steps, m.steps};
  struct nk_glitch_measure measures[MOST_MEASURES];
  double precision[2];
  for (int i = 0; i < 2; i++) {
    struct nk_glitch_options options = {.without = i == 0 ? 0 : NK_PART_DISTANCE};
    struct nk_glitch *glitch = nki_glitch_new(m.n, m.role);
    assert_int_equal(nki_glitch_output(glitch, m.output, m.dim, false, &options), NK_OK);
    assert_int_equal(nki_glitch_input(glitch, m.input, m.dim, &options), NK_OK);
    assert_int_equal(nki_glitch_rank(glitch, NULL), NK_OK);
    judge(glitch, &truth, 0, 0.05, measures);
    precision[i] = measures[0].retrieval.average_precision;
    nk_glitch_free(glitch);
  }
  assert_true(precision[0] > precision[1] + 0.01);
  model_free(&m);
}

static void sets_with_nothing_to_rank_are_refused(void **state) {
  (void)state;
  enum nk_glitch_role role[16] = {NK_ROLE_TEXT};
  float x[16 * 4] = {0};
  struct nk_glitch *glitch = nki_glitch_new(16, role);
  assert_int_equal(nki_glitch_output(glitch, x, 4, true, &PLAIN), NK_EDATA);
  nk_glitch_free(glitch);
  glitch = nki_glitch_new(2, role);
  assert_int_equal(nki_glitch_output(glitch, x, 4, true, &PLAIN), NK_EDATA);
  nk_glitch_free(glitch);
  for (int i = 0; i < 64; i++) x[i] = (float)(i * 7 % 13);
  x[22] = NAN;
  glitch = nki_glitch_new(16, role);
  assert_int_equal(nki_glitch_output(glitch, x, 4, true, &PLAIN), NK_EDATA);
  assert_non_null(strstr(nk_error(), "row 5 "));
  nk_glitch_free(glitch);
}

static void small_and_thin_sets_are_ranked_without_fault(void **state) {
  (void)state;
  static const size_t shapes[][2] = {{8, 1}, {8, 64}, {100, 1}, {300, 2}, {40, 300}};
  for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
    size_t n = shapes[s][0], dim = shapes[s][1];
    struct model m = {.n = n, .dim = dim};
    m.output = calloc(n * dim, sizeof(float));
    m.role = calloc(n, sizeof *m.role);
    struct nki_random random = nki_random_stream(3, NKI_RANDOM_TEST, s);
    for (size_t i = 0; i < n * dim; i++) m.output[i] = (float)nki_random_normal(&random);
    for (size_t i = 0; i < 3; i++) m.role[i] = NK_ROLE_UNUSED;
    struct nk_glitch *glitch = rank(&m);
    for (size_t i = 0; i < n; i++) assert_true(isfinite(glitch->score[i]));
    nk_glitch_free(glitch);
    model_free(&m);
  }
}

/* ---- The models that ship ---- */

/* steps [n] and count [n] of counts.tsv. */
static void read_counts(const char *path, size_t n, double *count, double *steps) {
  struct cli_frame *frame = cli_frame_read(path);
  assert_non_null(frame);
  assert_int_equal(cli_frame_n_rows(frame), n);
  for (size_t i = 0; i < n; i++) {
    assert_int_equal(cli_frame_number(frame, i, 1, &count[i]), 0);
    assert_int_equal(cli_frame_number(frame, i, 2, &steps[i]), 0);
  }
  cli_frame_free(frame);
}

/* Without the data this fails: the models ship. */
static void shipped_model_is_ranked_well(const char *folder) {
  char counts[256];
  snprintf(counts, sizeof counts, "%s/counts.tsv", folder);
  struct nk_model *model = nk_model_open(folder);
  struct nk_tokenizer *tokenizer = nk_tokenizer_open(folder);
  if (model == NULL || tokenizer == NULL) fail_msg("%s", nk_error());
  const struct nk_glitch_options options = {.knn_k = 10, .knn_rows = 2000};
  struct nk_glitch *glitch = nk_glitch_of_model(model, tokenizer, &options, NULL);
  if (glitch == NULL) fail_msg("%s", nk_error());
  size_t n = glitch->n;
  double *count = calloc(n, sizeof *count), *steps = calloc(n, sizeof *steps);
  bool *judged = calloc(n, sizeof *judged);
  read_counts(counts, n, count, steps);
  for (size_t i = 0; i < n; i++) judged[i] = glitch->role[i] == NK_ROLE_TEXT;

  const struct nk_glitch_truth truth = {judged, count, steps};
  struct nk_glitch_measure measures[MOST_MEASURES];
  static const double levels[] = {0.05, 0.1, 0.2};
  for (double at_most = 0; at_most <= 10; at_most += 10)
    no_indicator_beats_the_score(glitch, &truth, at_most, folder);
  for (size_t l = 0; l < sizeof levels / sizeof *levels; l++) {
    assert_true(judge(glitch, &truth, 0, levels[l], measures).recall >= 0.99);
    assert_true(judge(glitch, &truth, 10, levels[l], measures).false_rate <= levels[l]);
  }
  free(count);
  free(steps);
  free(judged);
  nk_glitch_free(glitch);
  nk_tokenizer_free(tokenizer);
  nk_model_free(model);
}

static void the_tied_model_that_ships_is_ranked_well(void **state) {
  (void)state;
  shipped_model_is_ranked_well("data/gpt2-tiny");
}

static void the_untied_model_that_ships_is_ranked_well(void **state) {
  (void)state;
  shipped_model_is_ranked_well("data/llama-tiny");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(simulated_glitch_tokens_are_found_and_few_others),
      cmocka_unit_test(odd_input_rows_do_not_pull_the_score_below_the_output_matrix),
      cmocka_unit_test(rows_that_are_not_finite_are_refused_or_not_ranked),
      cmocka_unit_test(ranks_run_from_one_among_texts_and_among_the_others),
      cmocka_unit_test(rows_that_do_not_belong_are_left_out),
      cmocka_unit_test(suspects_and_then_extremes_stand_in_for_unused_rows),
      cmocka_unit_test(special_tokens_stand_in_where_their_rows_coincide),
      cmocka_unit_test(unused_rows_among_ordinary_ones_report_nothing),
      cmocka_unit_test(a_score_without_its_distance_is_worse),
      cmocka_unit_test(sets_with_nothing_to_rank_are_refused),
      cmocka_unit_test(small_and_thin_sets_are_ranked_without_fault),
      cmocka_unit_test(the_tied_model_that_ships_is_ranked_well),
      cmocka_unit_test(the_untied_model_that_ships_is_ranked_well),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
