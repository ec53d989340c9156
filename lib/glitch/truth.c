/* A ranking against what is known of the training. */
#include <math.h>
#include <noken/base.h>
#include <noken/glitch.h>

#include "glitch/internal.h"

/* The judged rows, packed. */
struct judged {
  size_t n;
  size_t *rows;
  bool *odd; /* glitch tokens */
  double *count, *values;
};

static void judged_free(struct judged *j) {
  nk_free(j->rows);
  nk_free(j->odd);
  nk_free(j->count);
  nk_free(j->values);
}

static int pack(size_t n, const struct nk_glitch_truth *truth, double at_most, struct judged *j) {
  j->rows = nk_alloc(n, sizeof *j->rows);
  j->odd = nk_alloc(n, sizeof *j->odd);
  j->count = nk_alloc(n, sizeof *j->count);
  j->values = nk_alloc(n, sizeof *j->values);
  if (j->rows == NULL || j->odd == NULL || j->count == NULL || j->values == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < n; i++) {
    if (!truth->judged[i]) continue;
    j->rows[j->n] = i;
    j->odd[j->n] = truth->steps[i] <= at_most;
    j->count[j->n++] = truth->count[i];
  }
  return NK_OK;
}

static int measure(const double *values, bool large_is_odd, struct judged *j,
                   struct nk_glitch_measure *out) {
  for (size_t k = 0; k < j->n; k++) j->values[k] = values[j->rows[k]];
  int code = nki_spearman(j->values, j->count, j->n, &out->spearman);
  for (size_t k = 0; k < j->n && !large_is_odd; k++) j->values[k] = -j->values[k];
  return code == NK_OK ? nk_retrieval(j->values, j->odd, j->n, &out->retrieval) : code;
}

static void judge_report(const struct nk_glitch *glitch, const struct judged *j, double level,
                         struct nk_glitch_report *report) {
  size_t found = 0, odd = 0;
  report->reported = 0;
  for (size_t k = 0; k < j->n; k++) {
    bool reported = glitch->q_value[j->rows[k]] <= level;
    report->reported += reported;
    found += reported && j->odd[k];
    odd += j->odd[k];
  }
  size_t wrong = report->reported - found;
  report->false_rate = wrong > 0 ? (double)wrong / (double)report->reported : 0;
  report->recall = odd > 0 ? (double)found / (double)odd : (double)NAN;
}

int nk_glitch_evaluate(const struct nk_glitch *glitch, const struct nk_glitch_truth *truth,
                       double at_most, double level, struct nk_glitch_measure *measures,
                       struct nk_glitch_report *report) {
  struct judged j = {0};
  int code = pack(glitch->n, truth, at_most, &j);
  measures[0].name = "score";
  if (code == NK_OK) code = measure(glitch->score, true, &j, &measures[0]);
  for (size_t c = 0; c < glitch->n_columns && code == NK_OK; c++) {
    const struct nk_glitch_column *column = &glitch->columns[c];
    measures[c + 1].name = column->name;
    code = measure(column->values, column->large_is_odd, &j, &measures[c + 1]);
  }
  if (code == NK_OK) judge_report(glitch, &j, level, report);
  judged_free(&j);
  return code;
}
