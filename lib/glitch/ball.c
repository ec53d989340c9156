/* The ball of never-seen rows: its centre, its radius, and the rows in it.
 *
 * A few rows are known to be unused. Rows nearer to their mean than a typical one of them are the
 * ball's core: as many never-seen rows as there are on that side, and few others, so that the
 * core's mean is a better centre. In d dimensions the squared distances of a ball's rows from its
 * centre spread little; their cube roots are nearly normal (Wilson and Hilferty, 1931). */
#include <math.h>
#include <noken/base.h>
#include <noken/geometry.h>

#include "glitch/constants.h"
#include "glitch/internal.h"

/* Squared distances of fresh never-seen rows: the typical one, and one that 99% do not exceed. */
struct reach {
  double typical, edge;
};

/* From the squared distances of the unused rows, each taken from the centre without that row. With
 * few of them their own spread says little, and a round ball's is the least that is possible. */
static struct reach predict(const double *square, const size_t *unused, size_t n_unused,
                            size_t dim) {
  double n = (double)n_unused, mean = 0, squares = 0;
  for (size_t i = 0; i < n_unused; i++) mean += cbrt(square[unused[i]]) / n;
  for (size_t i = 0; i < n_unused; i++) {
    double left = cbrt(square[unused[i]]) - mean;
    squares += left * left;
  }
  double round = mean / 3 * sqrt(2 / (double)dim);
  double deviation = fmax(sqrt(squares / (n - 1)), round);
  double edge = mean + NKI_MEMBER_Z * deviation * sqrt(1 + 1 / n);
  return (struct reach){mean * mean * mean, edge * edge * edge};
}

/* out->centre and out->square [n] from the rows with core [n] set. A row that took part in making
 * the centre of k rows is k / (k - 1) times as far from that of the others. */
static int measure(const float *x, size_t n, size_t dim, const bool *core, struct nki_ball *out) {
  size_t k = 0, *rows = nk_alloc(n, sizeof *rows);
  if (rows == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < n; i++)
    if (core[i]) rows[k++] = i;
  int code = nk_mean(x, rows, k, dim, out->centre);
  nk_free(rows);
  if (code != NK_OK) return code;
  out->n_core = k;
  nk_row_distances(x, n, dim, out->centre, NULL, out->square, NULL);
  double without = (double)k / (double)(k - 1);
  for (size_t i = 0; i < n; i++) {
    out->square[i] *= core[i] ? without : 1;
    out->square[i] *= out->square[i];
  }
  return NK_OK;
}

int nki_ball_find(const float *x, size_t n, size_t dim, const size_t *unused, size_t n_unused,
                  bool core, struct nki_ball *out) {
  struct reach reach;
  int code = NK_EMEMORY;
  *out = (struct nki_ball){0};
  out->centre = nk_alloc(dim, sizeof(double));
  out->square = nk_alloc(n, sizeof(double));
  out->member = nk_calloc(n, sizeof(bool));
  if (out->centre == NULL || out->square == NULL || out->member == NULL) return code;
  for (size_t i = 0; i < n_unused; i++) out->member[unused[i]] = true;
  for (int pass = 0, last = core ? 1 : 0; pass <= last; pass++) {
    if ((code = measure(x, n, dim, out->member, out)) != NK_OK) return code;
    reach = predict(out->square, unused, n_unused, dim);
    for (size_t i = 0; i < n && pass < last; i++)
      out->member[i] = out->member[i] || out->square[i] <= reach.typical;
  }
  double all = 0; /* rows of zeros, say, are a ball too */
  for (size_t i = 0; i < n; i++) all += out->square[i] / (double)n;
  reach.typical = fmax(reach.typical, NKI_LEAST_SQUARE * all);
  if (!(all > 0)) return nk_fail(NK_EDATA, "the rows do not differ: there is nothing to rank");
  out->radius = sqrt(reach.typical);
  out->edge = sqrt(fmax(reach.edge, reach.typical));
  for (size_t i = 0; i < n; i++) {
    out->member[i] = out->member[i] || out->square[i] <= reach.edge;
    out->square[i] /= reach.typical;
  }
  return NK_OK;
}
