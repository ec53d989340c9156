/* From evidence to a ranking: fusion of the matrices, p-values, ranks. */
#include <math.h>
#include <noken/base.h>
#include <noken/geometry.h>
#include <noken/glitch.h>
#include <stdlib.h>
#include <string.h>

#include "geometry/internal.h"
#include "glitch/internal.h"

enum {
  WINDOWS = 10, /* between the ball and the typical row, in which rows are counted */
  PEERS = 250,  /* tokens of neighbouring merge rank, on each side */
  FEWEST_ROWS = 8,
  LOWEST = 50, /* ordinary rows that show how their tail ends */
};

/* The normal tail is an extrapolation: smaller values would say more than is known. One token in
 * ten million is still reported at a false discovery rate of 0.05. */
static const double SMALLEST_P = 1e-9;

/* ---- Measuring ---- */

struct nk_glitch *nk_glitch_new(size_t n, const enum nk_glitch_role *role) {
  struct nk_glitch *glitch = nk_calloc(1, sizeof *glitch);
  if (glitch == NULL) return NULL;
  glitch->n = n;
  glitch->role = nk_alloc(n, sizeof *role);
  glitch->own = nk_calloc(1, sizeof *glitch->own);
  glitch->score = nk_calloc(n, sizeof(double));
  glitch->p_value = nk_calloc(n, sizeof(double));
  glitch->q_value = nk_calloc(n, sizeof(double));
  glitch->rank = nk_calloc(n, sizeof(size_t));
  glitch->order = nk_calloc(n, sizeof(size_t));
  if (glitch->role && glitch->own && glitch->score && glitch->p_value && glitch->q_value &&
      glitch->rank && glitch->order) {
    memcpy(glitch->role, role, n * sizeof *role);
    return glitch;
  }
  nk_glitch_free(glitch);
  return NULL;
}

void nk_glitch_free(struct nk_glitch *glitch) {
  if (glitch == NULL) return;
  for (size_t c = 0; c < glitch->n_columns; c++) nk_free(glitch->columns[c].values);
  nk_free(glitch->columns);
  nk_free(glitch->unused);
  nk_free(glitch->score);
  nk_free(glitch->role);
  nk_free(glitch->p_value);
  nk_free(glitch->q_value);
  nk_free(glitch->rank);
  nk_free(glitch->order);
  if (glitch->own != NULL) {
    nki_evidence_free(&glitch->own->output);
    nki_evidence_free(&glitch->own->input);
  }
  nk_free(glitch->own);
  nk_free(glitch);
}

int nk_glitch_output(struct nk_glitch *glitch, const float *x, size_t dim, bool tied,
                     const struct nk_glitch_options *options) {
  if (glitch->n < FEWEST_ROWS) return nk_fail(NK_EDATA, "%zu rows are too few to rank", glitch->n);
  int code = nk_find_unused(x, glitch->n, dim, glitch->role, &glitch->unused, &glitch->n_unused);
  if (code == NK_OK)
    code = nki_evidence(x, glitch->n, dim, glitch->unused, glitch->n_unused, &glitch->own->output);
  if (code == NK_OK) code = nki_output_columns(glitch, x, dim);
  if (code == NK_OK && tied) code = nki_input_columns(glitch, x, dim, options);
  return code;
}

int nk_glitch_input(struct nk_glitch *glitch, const float *x, size_t dim,
                    const struct nk_glitch_options *options) {
  struct nki_evidence *input = &glitch->own->input;
  int code = nki_evidence(x, glitch->n, dim, glitch->unused, glitch->n_unused, input);
  if (code == NK_OK) code = nki_input_columns(glitch, x, dim, options);
  double *evidence = code == NK_OK ? nki_column(glitch, "input_evidence", false) : NULL;
  if (evidence != NULL) memcpy(evidence, input->trained, glitch->n * sizeof *evidence);
  return code == NK_OK && evidence == NULL ? NK_EMEMORY : code;
}

const struct nk_glitch_column *nk_glitch_find(const struct nk_glitch *glitch, const char *name) {
  for (size_t c = 0; c < glitch->n_columns; c++)
    if (strcmp(glitch->columns[c].name, name) == 0) return &glitch->columns[c];
  return NULL;
}

/* ---- Fusion ---- */

/* fused [n] = the first principal component of the two matrices' evidence over the ranked rows. A
 * matrix whose evidence varies little, or without the other's, gets little weight; the sign is that
 * of the output matrix, whose never-seen rows are known to lie apart. */
static void fuse(const struct nk_glitch *glitch, double *fused) {
  const double *a = glitch->own->output.trained, *b = glitch->own->input.trained;
  size_t n = glitch->n;
  if (b == NULL) {
    memcpy(fused, a, n * sizeof *fused);
    return;
  }
  double count = 0, mean_a = 0, mean_b = 0, aa = 0, bb = 0, ab = 0;
  for (size_t i = 0; i < n; i++) {
    if (glitch->role[i] != NK_ROLE_TEXT) continue;
    count++;
    mean_a += a[i];
    mean_b += b[i];
  }
  mean_a /= count;
  mean_b /= count;
  for (size_t i = 0; i < n; i++) {
    if (glitch->role[i] != NK_ROLE_TEXT) continue;
    aa += (a[i] - mean_a) * (a[i] - mean_a);
    bb += (b[i] - mean_b) * (b[i] - mean_b);
    ab += (a[i] - mean_a) * (b[i] - mean_b);
  }
  double angle = atan2(2 * ab, aa - bb) / 2; /* of the component, in (-pi/2, pi/2] */
  double weight_a = cos(angle), weight_b = sin(angle);
  if (weight_b < 0) { /* they disagree: only the output matrix is known to be right */
    weight_a = 1;
    weight_b = 0;
  }
  for (size_t i = 0; i < n; i++) fused[i] = weight_a * a[i] + weight_b * b[i];
}

/* ---- p-values ---- */

/* Where the ranked rows lie on the fused scale, and what an ordinary row's distribution is. */
struct null {
  double ball;            /* median of the rows in the ball */
  double typical, spread; /* median and lower spread of the rows outside */
  double edge;            /* up to here rows may be never-seen ones */
  double valley;          /* up to here ordinary rows have the valley's density */
  double density;         /* of ordinary rows up to the valley, per unit */
  double low, low_part;   /* a low value of ordinary rows, and the part of them below it */
  double excess;          /* how far below it those are in the mean */
  double *beyond;         /* [n_beyond] rows past the valley, ascending */
  size_t n_beyond;
  double ordinary; /* number of rows past the edge */
};

static double median_of(double *values, size_t n) {
  nki_sort_numbers(values, n);
  return nki_quantile_sorted(values, n, 0.5);
}

/* Counts rows in windows going out from the ball; the valley ends with the last window before the
 * counts rise. *count: of that window. */
static size_t find_valley(const double *values, size_t n, double ball, double width,
                          size_t *count) {
  size_t counts[WINDOWS + 1] = {0}, valley = 1;
  for (size_t i = 0; i < n; i++) {
    double window = floor((values[i] - ball) / width + 0.5);
    if (window <= WINDOWS) counts[window > 0 ? (size_t)window : 0]++;
  }
  while (valley < WINDOWS && counts[valley + 1] <= counts[valley]) valley++;
  *count = counts[valley];
  return valley;
}

/* The tail of the LOWEST smallest of values [n], ascending: beyond a low value, what is left of
 * most distributions is nearly exponential (Pickands, 1975). */
static void find_low_tail(const double *values, size_t n, struct null *null) {
  size_t k = n / 4 < LOWEST ? n / 4 : LOWEST;
  null->low = n > 0 ? values[k] : 0;
  null->low_part = n > 0 ? (double)k / (double)n : 1;
  null->excess = 0;
  for (size_t i = 0; i < k; i++) null->excess += (null->low - values[i]) / (double)k;
}

/* fused [n]: the evidence; some [n] is used for, and has to outlive, null->beyond. */
static void find_null(const struct nk_glitch *glitch, const double *fused, double *some,
                      struct null *null) {
  const bool *member = glitch->own->output.member;
  size_t n = 0, outside = 0;
  for (size_t i = 0; i < glitch->n; i++)
    if ((glitch->role[i] == NK_ROLE_TEXT && member[i])) some[n++] = fused[i];
  for (size_t i = 0; i < glitch->n_unused; i++)
    if (glitch->role[glitch->unused[i]] != NK_ROLE_TEXT) some[n++] = fused[glitch->unused[i]];
  null->ball = median_of(some, n);
  for (size_t i = 0; i < glitch->n; i++)
    if (glitch->role[i] == NK_ROLE_TEXT && !member[i]) some[outside++] = fused[i];
  null->typical = median_of(some, outside);
  double width = (null->typical - null->ball) / WINDOWS;
  if (outside == 0 || !(width > 0)) { /* nothing is apart from anything */
    null->edge = -INFINITY;
    return;
  }
  size_t count = 0, ranked = 0, past = 0;
  for (size_t i = 0; i < glitch->n; i++)
    if (glitch->role[i] == NK_ROLE_TEXT) some[ranked++] = fused[i];
  size_t valley = find_valley(some, ranked, null->ball, width, &count);
  nki_sort_numbers(some, ranked);
  null->edge = null->ball + width / 2;
  null->valley = null->ball + ((double)valley + 0.5) * width;
  null->density = (double)count / width;
  while (past < ranked && some[past] <= null->edge) past++;
  null->ordinary = (double)(ranked - past);
  null->typical = nki_quantile_sorted(some + past, ranked - past, 0.5);
  /* The lower quartile of a normal distribution is 0.6745 below its median. */
  null->spread =
      (null->typical - nki_quantile_sorted(some + past, ranked - past, 0.25)) / 0.67448975;
  find_low_tail(some + past, ranked - past, null);
  while (past < ranked && some[past] <= null->valley) past++;
  null->n_beyond = ranked - past;
  memmove(some, some + past, null->n_beyond * sizeof *some);
  null->beyond = some;
}

/* How often an ordinary row lies at or below value, where value is in the ball. Rows there say
 * nothing of ordinary ones. Two guesses each err on the high side: the tail of the normal
 * distribution that ordinary rows have on this scale, of logarithms of how much a token was trained
 * (their tail is shorter: every token of a text was seen); and the exponential tail of the lowest
 * of them (which are those that were seen a few times, if there are such). The smaller one is
 * taken. */
static double tail_inside(const struct null *null, double value) {
  double z = (null->typical - value) / null->spread;
  double below = null->low - value;
  double part = below > 0 && null->excess > 0 ? exp(-below / null->excess) : 1;
  return fmin(erfc(z / sqrt(2)) / 2, null->low_part * part);
}

/* How often an ordinary row lies at or below value: beyond the edge the rows are counted. */
static double tail(const struct null *null, double value) {
  if (!(null->edge > -INFINITY)) return 1;
  double p = tail_inside(null, fmin(value, null->edge)), below = 0;
  if (value > null->edge) below = null->density * (fmin(value, null->valley) - null->edge);
  size_t low = 0, high = null->n_beyond; /* how many of beyond are <= value */
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (null->beyond[middle] <= value)
      low = middle + 1;
    else
      high = middle;
  }
  p += (below + (double)low) / null->ordinary;
  return fmin(1, fmax(p, SMALLEST_P));
}

/* ---- Ranks ---- */

struct place {
  double score;
  size_t row;
  bool apart;
};

static int by_score(const void *a, const void *b) {
  const struct place *x = a, *y = b;
  if (x->apart != y->apart) return x->apart ? 1 : -1;
  if (isnan(x->score) != isnan(y->score)) return isnan(x->score) ? 1 : -1;
  if (x->score != y->score && !isnan(x->score)) return x->score > y->score ? -1 : 1;
  return (x->row > y->row) - (x->row < y->row);
}

static int set_ranks(struct nk_glitch *glitch) {
  struct place *places = nk_alloc(glitch->n, sizeof *places);
  if (places == NULL) return NK_EMEMORY;
  glitch->n_ranked = 0;
  for (size_t i = 0; i < glitch->n; i++) {
    bool apart = glitch->role[i] != NK_ROLE_TEXT;
    places[i] = (struct place){glitch->score[i], i, apart};
    if (!apart) glitch->n_ranked++;
  }
  qsort(places, glitch->n, sizeof *places, by_score);
  for (size_t at = 0; at < glitch->n; at++) {
    glitch->order[at] = places[at].row;
    glitch->rank[places[at].row] = at < glitch->n_ranked ? at + 1 : at - glitch->n_ranked + 1;
  }
  nk_free(places);
  return NK_OK;
}

/* ---- Tokens against those of their merge rank ---- */

struct merge {
  int64_t rank;
  size_t row;
};

static int by_merge(const void *a, const void *b) {
  const struct merge *x = a, *y = b;
  if (x->rank != y->rank) return x->rank < y->rank ? -1 : 1;
  return (x->row > y->row) - (x->row < y->row);
}

/* How much higher a token scores than the tokens that the tokenizer learned just before and after
 * it, and so saw about as often: in units of those tokens' median distance from their median. */
static int rank_mismatch(struct nk_glitch *glitch, const int64_t *merge_rank) {
  size_t n = 0;
  double *out = nki_column(glitch, "rank_mismatch", true), *peers = NULL;
  struct merge *merges = nk_alloc(glitch->n, sizeof *merges);
  int code = out == NULL || merges == NULL ? NK_EMEMORY : NK_OK;
  if (code == NK_OK && (peers = nk_alloc(2 * PEERS + 1, sizeof *peers)) == NULL) code = NK_EMEMORY;
  for (size_t i = 0; i < glitch->n && code == NK_OK; i++) {
    out[i] = (double)NAN;
    if (merge_rank[i] >= 0) merges[n++] = (struct merge){merge_rank[i], i};
  }
  if (code == NK_OK) qsort(merges, n, sizeof *merges, by_merge);
  double median = 0, deviation = 0;
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    /* The window moves in steps of a fifth of its half, and is the last one at the end. */
    if (i % (PEERS / 5) == 0 || i == 0) {
      size_t first = i > PEERS ? i - PEERS : 0, m = 0;
      for (size_t j = first; j < n && j <= i + PEERS; j++)
        peers[m++] = glitch->score[merges[j].row];
      median = median_of(peers, m);
      for (size_t j = 0; j < m; j++) peers[j] = fabs(peers[j] - median);
      deviation = median_of(peers, m);
    }
    double above = glitch->score[merges[i].row] - median;
    out[merges[i].row] = deviation > 0 ? above / deviation : (double)NAN;
  }
  nk_free(merges);
  nk_free(peers);
  return code;
}

/* ---- q-values ---- */

static int by_p(const void *a, const void *b) {
  const struct place *x = a, *y = b;
  return (x->score > y->score) - (x->score < y->score);
}

int nk_q_values(const double *p_values, size_t n, double *q_values) {
  struct place *places = nk_alloc(n, sizeof *places);
  size_t known = 0;
  double least = 1;
  if (places == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < n; i++) {
    q_values[i] = (double)NAN;
    if (!isnan(p_values[i])) places[known++] = (struct place){p_values[i], i, false};
  }
  qsort(places, known, sizeof *places, by_p);
  for (size_t at = known; at > 0; at--) {
    double q = places[at - 1].score * (double)known / (double)at;
    if (q < least) least = q;
    q_values[places[at - 1].row] = least;
  }
  nk_free(places);
  return NK_OK;
}

/* ---- All of it ---- */

int nk_glitch_rank(struct nk_glitch *glitch, const int64_t *merge_rank) {
  size_t n = glitch->n;
  double *fused = nk_alloc(n, sizeof *fused), *some = nk_alloc(n, sizeof *some);
  int code = fused == NULL || some == NULL ? NK_EMEMORY : NK_OK;
  if (code != NK_OK) goto done;
  struct null null = {0};
  fuse(glitch, fused);
  find_null(glitch, fused, some, &null);
  double distance = null.typical - null.ball;
  for (size_t i = 0; i < n; i++) {
    glitch->score[i] = distance > 0 ? 1 - (fused[i] - null.ball) / distance : -fused[i];
    glitch->p_value[i] = glitch->role[i] == NK_ROLE_TEXT ? tail(&null, fused[i]) : (double)NAN;
  }
  code = nk_q_values(glitch->p_value, n, glitch->q_value);
  if (code == NK_OK) code = set_ranks(glitch);
  if (code == NK_OK && merge_rank != NULL) code = rank_mismatch(glitch, merge_rank);

done:
  nk_free(fused);
  nk_free(some);
  return code;
}
