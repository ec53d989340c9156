/* Eigenvalues and eigenvectors of a symmetric matrix. LAPACK's drivers give either all eigenvalues
 * or the top K pairs; the spectrum and the top K are wanted from one reduction, so its parts are
 * called: tridiagonal form (dsytrd, nearly all of the time), all eigenvalues of that (dsterf), K of
 * its eigenvectors (dstemr; dstedc when most are wanted), turned back (dormtr). */
#include <lapacke.h>
#include <math.h>
#include <noken/base.h>
#include <string.h>

#include "geometry/internal.h"

struct tridiagonal {
  size_t dim;
  double *a;                         /* [dim, dim] the matrix, then the reflectors */
  double *diagonal, *off, *tau;      /* [dim] each */
  double *values, *diagonal2, *off2; /* copies that LAPACK may overwrite */
};

/* vectors [count, dim] row by row (LAPACK's columns) of the largest eigenvalues, ascending. */
static int top_vectors(struct tridiagonal *t, size_t count, double *vectors) {
  lapack_int dim = (lapack_int)t->dim, found = 0, try_accuracy = 1, info;
  memcpy(t->diagonal2, t->diagonal, t->dim * sizeof(double));
  memcpy(t->off2, t->off, t->dim * sizeof(double));
  if (count == t->dim) {
    info = LAPACKE_dstedc(LAPACK_COL_MAJOR, 'I', dim, t->diagonal2, t->off2, vectors, dim);
  } else {
    lapack_int *support = nk_alloc(2 * t->dim, sizeof *support);
    if (support == NULL) return NK_EMEMORY;
    info = LAPACKE_dstemr(LAPACK_COL_MAJOR, 'V', 'I', dim, t->diagonal2, t->off2, 0, 0,
                          dim - (lapack_int)count + 1, dim, &found, t->values, vectors, dim,
                          (lapack_int)count, support, &try_accuracy);
    nk_free(support);
    if (info == 0 && found != (lapack_int)count) info = 1;
  }
  if (info == 0)
    info = LAPACKE_dormtr(LAPACK_COL_MAJOR, 'L', 'U', 'N', dim, (lapack_int)count, t->a, dim,
                          t->tau, vectors, dim);
  return info == 0 ? NK_OK : nk_fail(NK_EDATA, "the eigensolver failed (%d)", (int)info);
}

/* A vector's sign is free: its entry of largest size is made positive. */
static void set_sign(double *vector, size_t dim) {
  size_t largest = 0;
  for (size_t j = 1; j < dim; j++)
    if (fabs(vector[j]) > fabs(vector[largest])) largest = j;
  if (vector[largest] >= 0) return;
  for (size_t j = 0; j < dim; j++) vector[j] = -vector[j];
}

/* Rows [n, dim] in the opposite order. */
static void reverse(double *rows, size_t n, size_t dim) {
  for (size_t i = 0; i < n / 2; i++)
    for (size_t j = 0; j < dim; j++) {
      double value = rows[i * dim + j];
      rows[i * dim + j] = rows[(n - 1 - i) * dim + j];
      rows[(n - 1 - i) * dim + j] = value;
    }
}

static int reduce(struct tridiagonal *t, double *a, double *values) {
  size_t dim = t->dim;
  t->a = a;
  double *work = nk_alloc(6 * dim, sizeof *work);
  if (work == NULL) return NK_EMEMORY;
  t->diagonal = work;
  t->off = work + dim;
  t->tau = work + 2 * dim;
  t->values = work + 3 * dim;
  t->diagonal2 = work + 4 * dim;
  t->off2 = work + 5 * dim;
  t->off[dim - 1] = 0;
  lapack_int info = LAPACKE_dsytrd(LAPACK_COL_MAJOR, 'U', (lapack_int)dim, a, (lapack_int)dim,
                                   t->diagonal, t->off, t->tau);
  if (info == 0) {
    memcpy(values, t->diagonal, dim * sizeof *values);
    memcpy(t->off2, t->off, dim * sizeof(double));
    info = LAPACKE_dsterf((lapack_int)dim, values, t->off2);
  }
  if (info != 0) return nk_fail(NK_EDATA, "the eigensolver failed (%d)", (int)info);
  return NK_OK;
}

int nki_eigen(double *a, size_t dim, size_t count, double *values, double **vectors) {
  struct tridiagonal t = {.dim = dim};
  double *columns = NULL;
  int code = reduce(&t, a, values);
  if (code == NK_OK && count > 0) {
    size_t wanted = count > dim / 2 ? dim : count, size = 0;
    code = nk_size_mul(wanted, dim, &size) && (columns = nk_alloc(size, sizeof *columns)) != NULL
               ? top_vectors(&t, wanted, columns)
               : NK_EMEMORY;
    if (code == NK_OK) reverse(columns, wanted, dim); /* LAPACK's order is ascending */
    for (size_t i = 0; i < count && code == NK_OK; i++) set_sign(columns + i * dim, dim);
  }
  if (code == NK_OK) reverse(values, dim, 1);
  nk_free(t.diagonal);
  if (code != NK_OK) {
    nk_free(columns);
    columns = NULL;
  }
  *vectors = columns;
  return code;
}
