/* The scan and the bisection. Each round of bisection is one call of the measure for all crossings
 * of all rays that are still open, so that the model sees large batches. */
#include "boundary/search.h"

#include <math.h>
#include <noken/base.h>

enum crossing_kind { AT_LEVEL, AT_TENTH, AT_NINE_TENTHS, QUADRATIC, N_KINDS };

/* A level between two radii of a ray. */
struct crossing {
  size_t ray;
  double level, tolerance;
  double low, high;             /* radii */
  double low_value, high_value; /* low_value < level <= high_value */
  bool found;                   /* the grid has such radii */
};

struct work {
  const struct boundary_search *search;
  boundary_measure *measure;
  void *user;
  const double *length;
  size_t n;                  /* rays */
  double *curve;             /* [n, n_grid] */
  struct crossing *crossing; /* [n, N_KINDS] */
  size_t *ray, *open;        /* of a call: rays; the crossings that it is for */
  double *radius, *value;    /* of a call */
  struct boundary_onset *out;
};

static double grid_radius(const struct work *w, size_t ray, size_t k) {
  size_t last = w->search->n_grid - 1;
  if (k == last) return w->length[ray];
  return w->length[ray] * pow(BOUNDARY_SPAN, (double)k / (double)last - 1);
}

static int measure_points(struct work *w, size_t n, double *value) {
  return n > 0 ? w->measure(w->user, w->ray, w->radius, n, value) : NK_OK;
}

/* ---- The scan ---- */

static int scan(struct work *w) {
  size_t n_grid = w->search->n_grid;
  for (size_t i = 0; i < w->n; i++)
    for (size_t k = 0; k < n_grid; k++) {
      w->ray[i * n_grid + k] = i;
      w->radius[i * n_grid + k] = grid_radius(w, i, k);
    }
  return measure_points(w, w->n * n_grid, w->curve);
}

static void find_slope(const struct work *w, size_t ray) {
  const double *value = w->curve + ray * w->search->n_grid;
  struct boundary_onset *out = &w->out[ray];
  double before = 0, radius_before = 0;
  out->slope_max = 0;
  for (size_t k = 0; k < w->search->n_grid; k++) {
    double radius = grid_radius(w, ray, k), slope = (value[k] - before) / (radius - radius_before);
    if (slope > out->slope_max) {
      out->slope_max = slope;
      out->slope_at = (radius + radius_before) / 2;
    }
    before = value[k];
    radius_before = radius;
  }
}

/* The first interval of the grid that ends at the level or above. */
static void find_interval(const struct work *w, size_t ray, double level, double tolerance,
                          struct crossing *out) {
  const double *value = w->curve + ray * w->search->n_grid;
  *out = (struct crossing){.ray = ray, .level = level, .tolerance = tolerance};
  for (size_t k = 0; k < w->search->n_grid && !out->found; k++) {
    out->low = out->high;
    out->low_value = out->high_value;
    out->high = grid_radius(w, ray, k);
    out->high_value = value[k];
    out->found = level > 0 && value[k] >= level;
  }
}

static void find_intervals(const struct work *w) {
  const struct boundary_search *s = w->search;
  for (size_t i = 0; i < w->n; i++) {
    struct boundary_onset *out = &w->out[i];
    struct crossing *of = w->crossing + i * N_KINDS;
    *out = (struct boundary_onset){NAN, NAN, NAN, NAN, NAN, NAN, NAN};
    out->far = w->curve[(i + 1) * s->n_grid - 1];
    find_slope(w, i);
    find_interval(w, i, s->level, s->tolerance, &of[AT_LEVEL]);
    find_interval(w, i, 0.1 * out->far, s->tolerance, &of[AT_TENTH]);
    find_interval(w, i, 0.9 * out->far, s->tolerance, &of[AT_NINE_TENTHS]);
    find_interval(w, i, s->predict ? BOUNDARY_QUADRATIC : 0, 1, &of[QUADRATIC]);
  }
}

/* ---- Bisection ---- */

static double middle(const struct crossing *of) {
  return of->low > 0 ? sqrt(of->low) * sqrt(of->high) : of->high / 2;
}

/* How near the radii have to come: relative to the radius, or for the two of `width` to the width,
 * which in a narrow step is far smaller; not so near that float vectors are the same. */
static double limit(const struct work *w, size_t c) {
  const struct crossing *of = &w->crossing[c];
  size_t kind = c % N_KINDS;
  if (kind != AT_TENTH && kind != AT_NINE_TENTHS) return of->tolerance * of->low;
  double width = (of - kind)[AT_NINE_TENTHS].high - (of - kind)[AT_TENTH].low;
  return fmax(of->tolerance / 2 * width, 1e-6 * of->low);
}

static bool is_open(const struct work *w, size_t c) {
  const struct crossing *of = &w->crossing[c];
  double between = middle(of);
  return of->found && of->high - of->low > limit(w, c) && between > of->low && between < of->high;
}

static int bisect(struct work *w) {
  for (;;) {
    size_t n = 0;
    for (size_t c = 0; c < w->n * N_KINDS; c++) {
      if (!is_open(w, c)) continue;
      w->open[n] = c;
      w->ray[n] = w->crossing[c].ray;
      w->radius[n++] = middle(&w->crossing[c]);
    }
    if (n == 0) return NK_OK;
    int code = measure_points(w, n, w->value);
    if (code != NK_OK) return code;
    for (size_t i = 0; i < n; i++) {
      struct crossing *of = &w->crossing[w->open[i]];
      bool reached = w->value[i] >= of->level;
      *(reached ? &of->high : &of->low) = w->radius[i];
      *(reached ? &of->high_value : &of->low_value) = w->value[i];
    }
  }
}

/* ---- The radii ---- */

/* The radius with the level, by a power law through both ends, as curves are near 0. */
static double radius_of(const struct crossing *of) {
  if (!of->found) return NAN;
  if (!(of->low > 0 && of->low_value > 0)) return of->high;
  double part = log(of->level / of->low_value) / log(of->high_value / of->low_value);
  return of->low * pow(of->high / of->low, part);
}

static int achieve(struct work *w) {
  size_t n = 0;
  for (size_t i = 0; i < w->n; i++) {
    struct boundary_onset *out = &w->out[i];
    const struct crossing *of = w->crossing + i * N_KINDS;
    out->onset = radius_of(&of[AT_LEVEL]);
    out->width = radius_of(&of[AT_NINE_TENTHS]) - radius_of(&of[AT_TENTH]);
    if (!of[AT_LEVEL].found) continue;
    w->ray[n] = i;
    w->radius[n++] = out->onset;
  }
  int code = measure_points(w, n, w->value);
  for (size_t i = 0; i < n && code == NK_OK; i++) w->out[w->ray[i]].achieved = w->value[i];
  return code;
}

/* ---- The second order ---- */

/* Odd orders cancel in the mean of both sides. */
static int predict(struct work *w) {
  size_t n = 0;
  for (size_t i = 0; i < w->n; i++) {
    const struct crossing *of = &w->crossing[i * N_KINDS + QUADRATIC];
    if (!of->found) continue;
    w->ray[n] = i;
    w->radius[n++] = -of->high;
  }
  int code = measure_points(w, n, w->value);
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    const struct crossing *of = &w->crossing[w->ray[i] * N_KINDS + QUADRATIC];
    double mean = (of->high_value + w->value[i]) / 2;
    w->out[of->ray].predicted = of->high * sqrt(w->search->level / mean);
  }
  return code;
}

/* ---- The whole ---- */

static int allocate(struct work *w, size_t n) {
  size_t n_grid = w->search->n_grid, n_curve, most;
  if (!nk_size_mul(n, n_grid, &n_curve) || !nk_size_mul(n, N_KINDS, &most)) {
    nk_fail(NK_EMEMORY, "%zu rays at %zu radii: too many", n, n_grid);
    return NK_EMEMORY;
  }
  most = most > n_curve ? most : n_curve;
  w->curve = nk_alloc(n_curve, sizeof *w->curve);
  w->crossing = nk_alloc(n, N_KINDS * sizeof *w->crossing);
  w->ray = nk_alloc(most, sizeof *w->ray);
  w->open = nk_alloc(most, sizeof *w->open);
  w->radius = nk_alloc(most, sizeof *w->radius);
  w->value = nk_alloc(most, sizeof *w->value);
  return w->curve == NULL || w->crossing == NULL || w->ray == NULL || w->open == NULL ||
                 w->radius == NULL || w->value == NULL
             ? NK_EMEMORY
             : NK_OK;
}

int boundary_search(const struct boundary_search *search, boundary_measure *measure, void *user,
                    const double *length, size_t n, struct boundary_onset *out) {
  struct work w = {
      .search = search, .measure = measure, .user = user, .length = length, .n = n, .out = out};
  int code = allocate(&w, n);
  if (code == NK_OK) code = scan(&w);
  if (code == NK_OK) {
    find_intervals(&w);
    code = bisect(&w);
  }
  if (code == NK_OK) code = achieve(&w);
  if (code == NK_OK && search->predict) code = predict(&w);
  nk_free(w.curve);
  nk_free(w.crossing);
  nk_free(w.ray);
  nk_free(w.open);
  nk_free(w.radius);
  nk_free(w.value);
  return code;
}
