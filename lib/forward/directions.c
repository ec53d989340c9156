/* The directions in which a vector changes the answers most: the leading right singular vectors of
 * the map J from the vector to the logits, by subspace iteration (Halko, Martinsson and Tropp,
 * "Finding structure with randomness", SIAM Review 2011, section 4.5). J v is a central difference
 * of the forward pass; the products with the transpose are gradients. A singular value is
 * |J^T u|, u the unit vector of J v: errors of the difference across u change it by their square.
 * Rows of several origins go through the model together. */
#include "forward/directions.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/random.h"
#include "geometry/internal.h"
#include "io/vectors.h"
#include "model/dtype.h"

enum { DIRECTIONS = 4, EXTRA = 8, MOST_STEPS = 50 };
static const double STEP = 2e-3;       /* of the difference, in lengths of the origin */
static const double TOLERANCE = 1e-3;  /* of residuals, at which the iteration ends */
static const double DEPENDENT = 1e-10; /* what is left of a row that the others span */
static const size_t LOGIT_BYTES = (size_t)256 << 20;

/* ---- Rows of doubles ---- */

static double product(const double *a, const double *b, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += a[i] * b[i];
  return sum;
}

static void draw(double *row, size_t n, struct nki_random *random) {
  for (size_t i = 0; i < n; i++) row[i] = nki_random_normal(random);
}

/* Rows [n, dim] become orthonormal, by Gram and Schmidt, twice; one that the rows before it span is
 * drawn again. */
static void orthonormalize(double *rows, size_t n, size_t dim, struct nki_random *random) {
  for (size_t i = 0; i < n; i++) {
    double *row = rows + i * dim, length = sqrt(product(row, row, dim)), left = length;
    for (int pass = 0; pass < 2; pass++) {
      for (size_t j = 0; j < i; j++) {
        double part = product(row, rows + j * dim, dim);
        for (size_t d = 0; d < dim; d++) row[d] -= part * rows[j * dim + d];
      }
      left = sqrt(product(row, row, dim));
      if (pass == 0 && !(left > DEPENDENT * length)) {
        draw(row, dim, random);
        length = 0; /* in the next pass it is whatever is left */
      }
    }
    for (size_t d = 0; d < dim; d++) row[d] /= left;
  }
}

/* Row i of out = sum over j of turn[i, j] times row j of rows, both [n, dim]. */
static void turn_rows(const double *turn, const double *rows, size_t n, size_t dim, double *out) {
  memset(out, 0, n * dim * sizeof *out);
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < n; j++)
      for (size_t d = 0; d < dim; d++) out[i * dim + d] += turn[i * n + j] * rows[j * dim + d];
}

/* ---- The iteration ---- */

/* Turns an origin's rows to the directions that J keeps orthogonal, with the largest first, and
 * measures them. */
static int turn(struct nki_directions *block, size_t origin) {
  size_t width = block->width, dim = block->dim;
  double *v = block->v + origin * width * dim, *b = block->b + origin * width * dim;
  double *values = nk_alloc(width, sizeof *values), *vectors = NULL;
  double *out = nk_alloc(width, dim * sizeof *out);
  int code = values == NULL || out == NULL ? NK_EMEMORY : NK_OK;
  if (code == NK_OK)
    code = nki_eigen(block->gram + origin * width * width, width, width, values, &vectors);
  if (code != NK_OK) goto done;
  turn_rows(vectors, v, width, dim, out);
  memcpy(v, out, width * dim * sizeof *out);
  turn_rows(vectors, b, width, dim, out);
  memcpy(b, out, width * dim * sizeof *out);
  for (size_t i = 0; i < width; i++) {
    double square = values[i] > 0 ? product(b + i * dim, b + i * dim, dim) / values[i] : 0, sum = 0;
    for (size_t d = 0; d < dim; d++) sum += pow(b[i * dim + d] - square * v[i * dim + d], 2);
    block->value[origin * width + i] = sqrt(square);
    block->residual[origin * width + i] = square > 0 ? sqrt(sum) / square : (double)NAN;
  }
done:
  nk_free(values);
  nk_free(vectors);
  nk_free(out);
  return code;
}

static int multiply(struct nki_directions *block) {
  size_t n = block->n * block->width;
  int code = NK_OK;
  memset(block->b, 0, n * block->dim * sizeof *block->b);
  memset(block->gram, 0, n * block->width * sizeof *block->gram);
  nki_directions_move(block);
  for (size_t i = 0; i < block->options->n_probes && code == NK_OK; i++)
    code = nki_directions_multiply(block, block->options->probes[i]);
  for (size_t o = 0; o < block->n && code == NK_OK; o++) code = turn(block, o);
  return code;
}

/* Whether all directions that are wanted have small residuals. */
static bool has_converged(const struct nki_directions *block) {
  for (size_t o = 0; o < block->n; o++)
    for (size_t i = 0; i < block->k; i++)
      if (block->residual[o * block->width + i] > TOLERANCE) return false;
  return true;
}

static struct nki_random stream_of(const struct nki_directions *block, size_t origin) {
  return nki_random_stream(block->options->seed, NKI_RANDOM_TOP, block->first + origin);
}

static int iterate(struct nki_directions *block) {
  size_t size = block->width * block->dim;
  for (size_t o = 0; o < block->n; o++) {
    struct nki_random random = stream_of(block, o);
    double length = nki_length(block->x + o * block->dim, block->dim);
    block->step[o] = length > 0 ? STEP * length : STEP;
    draw(block->v + o * size, size, &random);
    orthonormalize(block->v + o * size, block->width, block->dim, &random);
  }
  for (size_t step = 1;; step++) {
    int code = multiply(block);
    if (code != NK_OK || has_converged(block) || step == MOST_STEPS) return code;
    for (size_t o = 0; o < block->n; o++) {
      struct nki_random random = stream_of(block, o);
      random.position = (uint64_t)step << 40;
      memcpy(block->v + o * size, block->b + o * size, size * sizeof *block->v);
      orthonormalize(block->v + o * size, block->width, block->dim, &random);
    }
  }
}

/* ---- Blocks of origins ---- */

static void free_block(struct nki_directions *block) {
  nk_free(block->step);
  nk_free(block->v);
  nk_free(block->b);
  nk_free(block->gram);
  nk_free(block->moved);
  nk_free(block->logits);
  nk_free(block->slopes);
  nk_free(block->residual);
  nk_free(block->value);
}

static int make_block(struct nki_directions *block, size_t n) {
  size_t rows = n * block->width, dim = block->dim;
  block->step = nk_alloc(n, sizeof *block->step);
  block->v = nk_alloc(rows, dim * sizeof *block->v);
  block->b = nk_alloc(rows, dim * sizeof *block->b);
  block->gram = nk_alloc(rows, block->width * sizeof *block->gram);
  block->moved = nk_alloc(n * block->n_each, dim * sizeof *block->moved);
  block->logits = nk_alloc(n * block->n_each, block->vocabulary * sizeof *block->logits);
  block->slopes = nk_alloc(rows, dim * sizeof *block->slopes);
  block->residual = nk_alloc(rows, sizeof *block->residual);
  block->value = nk_alloc(rows, sizeof *block->value);
  bool made = block->step != NULL && block->v != NULL && block->b != NULL && block->gram != NULL &&
              block->moved != NULL && block->logits != NULL && block->slopes != NULL &&
              block->residual != NULL && block->value != NULL;
  return made ? NK_OK : NK_EMEMORY;
}

/* The columns of the result, [origins, k]. */
struct columns {
  double *value, *residual;
  int64_t *component, *origin, *row;
};

static void take(const struct nki_directions *block, const struct nk_vectors *origins, float *out,
                 const struct columns *columns) {
  size_t dim = block->dim, k = block->k;
  for (size_t i = 0; i < block->n * k; i++) {
    size_t from = i / k * block->width + i % k, to = block->first * k + i, largest = 0;
    const double *v = block->v + from * dim;
    for (size_t d = 1; d < dim; d++)
      if (fabs(v[d]) > fabs(v[largest])) largest = d;
    for (size_t d = 0; d < dim; d++) out[to * dim + d] = (float)(v[largest] < 0 ? -v[d] : v[d]);
    columns->value[to] = block->value[from];
    columns->residual[to] = block->residual[from];
    columns->component[to] = (int64_t)(i % k) + 1;
    columns->row[to] = (int64_t)(block->first + i / k);
    columns->origin[to] = origins->ids[columns->row[to]];
  }
}

static int run_blocks(struct nki_directions *block, const struct nk_vectors *origins, float *out,
                      const struct columns *columns) {
  size_t most = LOGIT_BYTES / (block->n_each * block->vocabulary * sizeof(float));
  if (most < 1) most = 1;
  int code = make_block(block, most < origins->n ? most : origins->n);
  for (size_t first = 0; first < origins->n && code == NK_OK; first += block->n) {
    block->first = first;
    block->n = origins->n - first < most ? origins->n - first : most;
    block->x = origins->values + first * block->dim;
    code = iterate(block);
    if (code == NK_OK) take(block, origins, out, columns);
    if (code == NK_OK) code = nk_progress("top directions", first + block->n, origins->n);
  }
  free_block(block);
  return code;
}

/* ---- The set ---- */

static int check(const struct nk_top_options *o, const struct nk_vectors *origins, size_t k) {
  const struct nk_objective_options objective = {
      .probes = o->probes, .n_probes = o->n_probes, .kind = NK_OBJECTIVE_ENTROPY};
  int code = nki_objective_check(&objective);
  if (code != NK_OK) return code;
  if (origins == NULL) return nki_fail_null();
  size_t dim = o->probes[0]->forward->config.shape.dim, n = origins->n * dim;
  if (origins->dim != dim)
    return nk_fail(NK_EDATA, "origins have %zu values, the model's vectors have %zu", origins->dim,
                   dim);
  if (k > dim) return nk_fail(NK_EUSAGE, "%zu directions: vectors have %zu values", k, dim);
  code = nki_vectors_need_values(origins);
  if (code != NK_OK) return code;
  size_t bad = nki_first_not_finite(origins->values, n);
  if (bad < n)
    return nk_fail(NK_EDATA, "origin %zu: component %zu is not finite", bad / dim, bad % dim);
  return NK_OK;
}

/* Whether a direction was found: rows that attention never carries to the end have none. */
static int check_values(const double *value, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (value[i] > 0) return NK_OK;
  return nk_fail(NK_EDATA,
                 "no direction changes the logits at the prompt's end: what is at the slot does "
                 "not reach it from that layer on; take a lower layer or the end");
}

static int set_columns(struct nk_vectors *set, const struct columns *c) {
  int code = nk_vectors_set_numbers(set, "singular_value", c->value);
  if (code == NK_OK) code = nk_vectors_set_integers(set, "component", c->component);
  if (code == NK_OK) code = nk_vectors_set_integers(set, "origin", c->origin);
  if (code == NK_OK) code = nk_vectors_set_integers(set, "origin_row", c->row);
  if (code == NK_OK) code = nk_vectors_set_numbers(set, "residual", c->residual);
  return code;
}

struct nk_vectors *nk_top_directions(const struct nk_top_options *options,
                                     const struct nk_vectors *origins) {
  size_t k = options->k == 0 ? DIRECTIONS : options->k, rows;
  if (check(options, origins, k) != NK_OK) return NULL;
  const struct nk_forward_shape *shape = &options->probes[0]->forward->config.shape;
  struct nki_directions block = {
      .options = options, .dim = shape->dim, .vocabulary = shape->n_vocabulary, .k = k};
  block.width = k + EXTRA < shape->dim ? k + EXTRA : shape->dim;
  block.n_each = 2 * block.width + 1;
  if (!nk_size_mul(origins->n, k, &rows)) {
    nk_fail(NK_EMEMORY, "%zu directions of %zu origins", k, origins->n);
    return NULL;
  }
  struct nk_vectors *set = nk_vectors_new(rows, shape->dim, NULL, false);
  const struct columns columns = {.value = nk_alloc(rows, sizeof(double)),
                                  .residual = nk_alloc(rows, sizeof(double)),
                                  .component = nk_alloc(rows, sizeof(int64_t)),
                                  .origin = nk_alloc(rows, sizeof(int64_t)),
                                  .row = nk_alloc(rows, sizeof(int64_t))};
  bool made = set != NULL && columns.value != NULL && columns.residual != NULL &&
              columns.component != NULL && columns.origin != NULL && columns.row != NULL;
  int code = made ? NK_OK : NK_EMEMORY;
  if (code == NK_OK) code = run_blocks(&block, origins, nk_vectors_writable(set), &columns);
  if (code == NK_OK) code = check_values(columns.value, rows);
  if (code == NK_OK) code = set_columns(set, &columns);
  nk_free(columns.value);
  nk_free(columns.residual);
  nk_free(columns.component);
  nk_free(columns.origin);
  nk_free(columns.row);
  if (code == NK_OK) return set;
  nk_vectors_free(set);
  return NULL;
}
