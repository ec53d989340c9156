/* Rankings of simulated embeddings, whose truth is drawn here, and of the models that ship. */
#include "unit.h"

#include <math.h>
#include <unistd.h>
#include "base/random.h"
#include "cli/frame.h"

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
  struct nk_glitch *glitch = nk_glitch_new(m->n, m->role);
  assert_non_null(glitch);
  int code = nk_glitch_output(glitch, m->output, m->dim, m->input == NULL, &PLAIN);
  if (code == NK_OK && m->input) code = nk_glitch_input(glitch, m->input, m->dim, &PLAIN);
  if (code == NK_OK) code = nk_glitch_rank(glitch, NULL);
  if (code != NK_OK) fail_msg("%s", nk_error());
  return glitch;
}

static struct nk_glitch_report judge(const struct nk_glitch *glitch, const bool *judged,
                                     const double *count, const double *steps, double at_most,
                                     struct nk_glitch_measure *measures) {
  struct nk_glitch_report report;
  assert_int_equal(
      nk_glitch_evaluate(glitch, judged, count, steps, at_most, 0.05, measures, &report), 0);
  return report;
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
  struct nk_glitch_measure measures[32];
  for (size_t i = 0; i < sizeof worlds / sizeof *worlds; i++) {
    struct model m = simulate(&worlds[i]);
    struct nk_glitch *glitch = rank(&m);
    struct nk_glitch_report never = judge(glitch, m.judged, m.steps, m.steps, 0, measures);
    double auc = measures[0].retrieval.auc;
    struct nk_glitch_report few = judge(glitch, m.judged, m.steps, m.steps, 10, measures);
    if (!(auc > 0.999 && never.recall >= 0.9 && few.false_rate <= 0.1))
      fail_msg("%s: AUC %g, recall %g, false discoveries %g of %zu", worlds[i].name, auc,
               never.recall, few.false_rate, few.reported);
    nk_glitch_free(glitch);
    model_free(&m);
  }
}

static void p_values_of_ordinary_tokens_are_even(void **state) {
  (void)state;
  const struct world world = {"", 20000, 32, 500, 0, true, false};
  struct model m = simulate(&world);
  struct nk_glitch *glitch = rank(&m);
  for (double level = 0.01; level < 0.6; level *= 2) {
    double low = 0, all = 0;
    for (size_t i = 0; i < m.n; i++) {
      if (!m.judged[i] || m.steps[i] == 0) continue;
      low += glitch->p_value[i] <= level;
      all++;
    }
    /* Five standard deviations of a binomial. */
    assert_true(fabs(low - all * level) < 5 * sqrt(all * level * (1 - level)));
  }
  nk_glitch_free(glitch);
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

static void count_warning(const char *message, void *user) {
  (void)user;
  if (strstr(message, "unused tokens are known") != NULL) warnings++;
}

/* How many of the rows found were seen. */
static size_t seen_rows(const struct model *m, size_t *n_rows) {
  size_t *rows = NULL, seen = 0;
  warnings = 0;
  nk_on_warning(count_warning, NULL);
  assert_int_equal(nk_find_unused(m->output, m->n, m->dim, m->role, &rows, n_rows), 0);
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

static void sets_with_nothing_to_rank_are_refused(void **state) {
  (void)state;
  enum nk_glitch_role role[16] = {NK_ROLE_TEXT};
  float x[16 * 4] = {0};
  struct nk_glitch *glitch = nk_glitch_new(16, role);
  assert_int_equal(nk_glitch_output(glitch, x, 4, true, &PLAIN), NK_EDATA);
  nk_glitch_free(glitch);
  glitch = nk_glitch_new(2, role);
  assert_int_equal(nk_glitch_output(glitch, x, 4, true, &PLAIN), NK_EDATA);
  nk_glitch_free(glitch);
  for (int i = 0; i < 64; i++) x[i] = (float)(i * 7 % 13);
  x[22] = NAN;
  glitch = nk_glitch_new(16, role);
  assert_int_equal(nk_glitch_output(glitch, x, 4, true, &PLAIN), NK_EDATA);
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

static void no_indicator_beats_the_score(const char *folder) {
  char counts[256];
  snprintf(counts, sizeof counts, "%s/counts.tsv", folder);
  if (access(counts, R_OK) != 0) {
    print_message("%s is not there\n", counts);
    skip();
  }
  struct nk_model *model = nk_model_open(folder);
  struct nk_tokenizer *tokenizer = nk_tokenizer_open(folder);
  assert_true(model != NULL && tokenizer != NULL);
  const struct nk_glitch_options options = {.knn_k = 10, .knn_rows = 2000};
  enum nk_category *category = NULL;
  struct nk_glitch *glitch = nk_glitch_of_model(model, tokenizer, &options, &category);
  if (glitch == NULL) fail_msg("%s", nk_error());
  size_t n = glitch->n;
  double *count = calloc(n, sizeof *count), *steps = calloc(n, sizeof *steps);
  bool *judged = calloc(n, sizeof *judged);
  read_counts(counts, n, count, steps);
  for (size_t i = 0; i < n; i++) judged[i] = category[i] == NK_TOKEN_OK;

  struct nk_glitch_measure measures[32];
  for (int at_most = 0; at_most <= 10; at_most += 10) {
    struct nk_glitch_report report = judge(glitch, judged, count, steps, at_most, measures);
    const struct nk_retrieval *score = &measures[0].retrieval;
    for (size_t c = 1; c <= glitch->n_columns; c++) {
      const struct nk_retrieval *other = &measures[c].retrieval;
      if (strstr(measures[c].name, "evidence") != NULL) continue; /* parts of the score */
      /* Differences smaller than this are a few places of a token or two. */
      const double same = 2e-4;
      if (other->auc > score->auc + same ||
          other->average_precision > score->average_precision + same)
        fail_msg("%s, at most %d steps: score %.6f %.6f, %s %.6f %.6f", folder, at_most, score->auc,
                 score->average_precision, measures[c].name, other->auc, other->average_precision);
    }
    if (at_most == 0) assert_true(report.recall >= 0.9);
    if (at_most == 10) assert_true(report.false_rate <= 0.1);
  }
  free(count);
  free(steps);
  free(judged);
  nk_free(category);
  nk_glitch_free(glitch);
  nk_tokenizer_free(tokenizer);
  nk_model_free(model);
}

static void no_indicator_beats_the_score_on_the_tied_model(void **state) {
  (void)state;
  no_indicator_beats_the_score("data/gpt2-tiny");
}

static void no_indicator_beats_the_score_on_the_untied_model(void **state) {
  (void)state;
  no_indicator_beats_the_score("data/llama-tiny");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(simulated_glitch_tokens_are_found_and_few_others),
      cmocka_unit_test(p_values_of_ordinary_tokens_are_even),
      cmocka_unit_test(ranks_run_from_one_among_texts_and_among_the_others),
      cmocka_unit_test(rows_that_do_not_belong_are_left_out),
      cmocka_unit_test(suspects_and_then_extremes_stand_in_for_unused_rows),
      cmocka_unit_test(sets_with_nothing_to_rank_are_refused),
      cmocka_unit_test(small_and_thin_sets_are_ranked_without_fault),
      cmocka_unit_test(no_indicator_beats_the_score_on_the_tied_model),
      cmocka_unit_test(no_indicator_beats_the_score_on_the_untied_model),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
