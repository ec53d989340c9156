/* Principal components: made from moments, applied to rows a block at a time, kept in files. */
#include <noken/geometry.h>

#include <cblas.h>
#include <math.h>
#include <noken/base.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "model/safetensors.h"

#include "geometry/internal.h"
#include "geometry/tensors.h"

/* Components whose variance is below this part of the first's are kept and applied in double: the
 * score of a row rounds in float by some 6e-8 of its score on the first. */
static const double SMALLEST_FLOAT_PART = 1e-6;

static struct nk_pca *allocate(size_t n, size_t dim, size_t n_components) {
  struct nk_pca *pca = nk_calloc(1, sizeof *pca);
  size_t size = 0;
  if (pca == NULL) return NULL;
  *pca = (struct nk_pca){.n = n, .dim = dim, .n_components = n_components};
  pca->mean = nk_alloc(dim, sizeof(double));
  pca->eigenvalues = nk_alloc(dim, sizeof(double));
  if (nk_size_mul(n_components, dim, &size)) pca->components = nk_alloc(size, sizeof(float));
  if (pca->mean != NULL && pca->eigenvalues != NULL && pca->components != NULL) return pca;
  nk_pca_free(pca);
  return NULL;
}

/* Whether one of the first `count` components, count > 0, varies so little beside the first. */
static bool is_narrow(const struct nk_pca *pca, size_t count) {
  return pca->eigenvalues[count - 1] < SMALLEST_FLOAT_PART * pca->eigenvalues[0];
}

/* Whether rows are to be projected in double: on narrow components, or because the first one of a
 * basis with narrow ones is that wide. */
static bool is_precise(const struct nk_pca *pca, size_t count) {
  return count > 0 && pca->precise != NULL;
}

void nki_pca_drop_precise(struct nk_pca *pca, size_t first) {
  if (is_narrow(pca, first + 1)) return;
  nk_free(pca->precise);
  pca->precise = NULL;
}

struct nk_pca *nk_pca_new(struct nk_moments *moments, size_t n_components, bool take) {
  if (moments == NULL) {
    nki_null("the moments");
    return NULL;
  }
  size_t dim = moments->dim;
  double *square = take ? moments->covariance : NULL;
  struct nk_pca *pca = NULL;
  double *vectors = NULL;
  int code = NK_EUSAGE;
  if (n_components > dim) {
    nk_fail(NK_EUSAGE, "%zu components asked for, vectors have %zu values", n_components, dim);
    goto done;
  }
  code = NK_EMEMORY;
  if ((pca = allocate(moments->n, dim, n_components)) == NULL) goto done;
  memcpy(pca->mean, moments->mean, dim * sizeof(double));
  pca->n_different = moments->n_different;
  for (size_t i = 0; i < dim; i++) pca->n_varying += moments->covariance[i * dim + i] > 0;
  if (!take) {
    if ((square = nk_alloc(dim * dim, sizeof(double))) == NULL) goto done;
    memcpy(square, moments->covariance, dim * dim * sizeof(double));
  }
  code = nki_eigen(square, dim, n_components, pca->eigenvalues, &vectors);
  if (code != NK_OK) goto done;
  for (size_t i = 0; i < n_components * dim; i++) pca->components[i] = (float)vectors[i];
  if (n_components > 0 && is_narrow(pca, n_components)) {
    pca->precise = vectors;
    vectors = NULL;
  }
  double n = (double)moments->n, unbiased = moments->n > 1 ? n / (n - 1) : 0;
  for (size_t i = 0; i < dim; i++)
    pca->eigenvalues[i] = pca->eigenvalues[i] > 0 ? pca->eigenvalues[i] * unbiased : 0;
  nki_pca_summarize(pca);

done:
  if (take)
    nk_moments_free(moments);
  else
    nk_free(square);
  nk_free(vectors);
  if (code == NK_OK) return pca;
  nk_pca_free(pca);
  return NULL;
}

void nk_pca_free(struct nk_pca *pca) {
  if (pca == NULL) return;
  nk_free(pca->mean);
  nk_free(pca->eigenvalues);
  nk_free(pca->components);
  nk_free(pca->precise);
  nk_free(pca);
}

/* ---- Projections ---- */

static int check_count(const struct nk_pca *pca, size_t count, bool whiten) {
  if (count > pca->n_components)
    return nk_fail(NK_EUSAGE, "%zu components asked for, there are %zu", count, pca->n_components);
  size_t rank = whiten ? nki_pca_rank(pca, count) : count;
  if (rank < count)
    return nk_fail(NK_EUSAGE, "component %zu has no variance: at most %zu can be whitened",
                   rank + 1, rank);
  return NK_OK;
}

void nki_pca_wide_scores(const struct nk_pca *pca, const float *x, size_t n,
                         const struct nki_range *range, double *block, double *scores) {
  size_t dim = pca->dim;
  nki_centre_rows(x, n, dim, pca->mean, block);
  cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)n, (int)range->count, (int)dim, 1,
              block, (int)dim, pca->precise + range->first * dim, (int)dim, 0, scores,
              (int)range->count);
}

/* nk_pca_project with pca->precise, for a block of n rows. */
static void project_block(const struct nk_pca *pca, const float *x, size_t n, size_t count,
                          bool whiten, double *work, float *out) {
  const struct nki_range range = {0, count};
  double *scores = work + n * pca->dim;
  nki_pca_wide_scores(pca, x, n, &range, work, scores);
  for (size_t i = 0; i < n; i++)
    for (size_t k = 0; k < count; k++)
      out[i * count + k] = (float)(whiten ? scores[i * count + k] / sqrt(pca->eigenvalues[k])
                                          : scores[i * count + k]);
}

/* nk_pca_remove with pca->precise, for a block of n rows. */
static void remove_block(const struct nk_pca *pca, const float *x, size_t n, size_t count,
                         double *work, float *out) {
  const struct nki_range range = {0, count};
  size_t dim = pca->dim;
  double *scores = work + n * dim;
  nki_pca_wide_scores(pca, x, n, &range, work, scores);
  cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)n, (int)dim, (int)count, -1, scores,
              (int)count, pca->precise, (int)dim, 1, work, (int)dim);
  for (size_t i = 0; i < n * dim; i++) out[i] = (float)work[i];
}

/* Either of them, block by block; `width` values of output a row. */
static int apply_in_double(const struct nk_pca *pca, const float *x, size_t n, size_t count,
                           bool remove, bool whiten, float *out) {
  size_t dim = pca->dim, width = remove ? dim : count;
  size_t block_rows = nki_block_rows(dim) < n ? nki_block_rows(dim) : n;
  double *work = nk_alloc(block_rows, (dim + count) * sizeof *work);
  int code = work != NULL ? NK_OK : NK_EMEMORY;
  for (size_t first = 0; first < n && code == NK_OK; first += block_rows) {
    size_t rows = n - first < block_rows ? n - first : block_rows;
    if (remove)
      remove_block(pca, x + first * dim, rows, count, work, out + first * width);
    else
      project_block(pca, x + first * dim, rows, count, whiten, work, out + first * width);
    code = nk_progress("projection", first + rows, n);
  }
  nk_free(work);
  return code;
}

int nk_pca_project(const struct nk_pca *pca, const float *x, size_t n, size_t count, bool whiten,
                   float *out) {
  if (pca == NULL || x == NULL) return nki_null("the basis or the rows");
  size_t dim = pca->dim, block_rows = nki_block_rows(dim) < n ? nki_block_rows(dim) : n;
  int code = check_count(pca, count, whiten);
  if (code != NK_OK || n == 0 || count == 0) return code;
  if (is_precise(pca, count)) return apply_in_double(pca, x, n, count, false, whiten, out);
  float *block = nk_alloc(block_rows, dim * sizeof(float));
  if (block == NULL) return NK_EMEMORY;
  for (size_t first = 0; first < n && code == NK_OK; first += block_rows) {
    size_t rows = n - first < block_rows ? n - first : block_rows;
    float *scores = out + first * count;
    nki_copy_rows_centred(x, NULL, first, rows, dim, pca->mean, block);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)count, (int)dim, 1.0f,
                block, (int)dim, pca->components, (int)dim, 0.0f, scores, (int)count);
    for (size_t i = 0; i < rows && whiten; i++)
      for (size_t k = 0; k < count; k++)
        scores[i * count + k] = (float)((double)scores[i * count + k] / sqrt(pca->eigenvalues[k]));
    code = nk_progress("projection", first + rows, n);
  }
  nk_free(block);
  return code;
}

int nk_pca_remove(const struct nk_pca *pca, const float *x, size_t n, size_t count, float *out) {
  if (pca == NULL || x == NULL) return nki_null("the basis or the rows");
  size_t dim = pca->dim, block_rows = nki_block_rows(dim) < n ? nki_block_rows(dim) : n;
  int code = check_count(pca, count, false);
  if (code != NK_OK || n == 0) return code;
  if (is_precise(pca, count)) return apply_in_double(pca, x, n, count, true, false, out);
  float *scores = nk_alloc(block_rows, count * sizeof(float));
  if (scores == NULL) return NK_EMEMORY;
  for (size_t first = 0; first < n && code == NK_OK; first += block_rows) {
    size_t rows = n - first < block_rows ? n - first : block_rows;
    float *block = out + first * dim;
    nki_copy_rows_centred(x, NULL, first, rows, dim, pca->mean, block);
    if (count > 0) {
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)count, (int)dim, 1.0f,
                  block, (int)dim, pca->components, (int)dim, 0.0f, scores, (int)count);
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)dim, (int)count, -1.0f,
                  scores, (int)count, pca->components, (int)dim, 1.0f, block, (int)dim);
    }
    code = nk_progress("projection", first + rows, n);
  }
  nk_free(scores);
  return code;
}

/* ---- Files ---- */

enum { N_COUNTS = 3 };
static const char *const COUNT_NAMES[N_COUNTS] = {"noken.rows", "noken.different", "noken.varying"};

int nk_pca_write(const struct nk_pca *pca, struct nk_output *output) {
  if (pca == NULL || output == NULL) return nki_null("the basis or the output");
  const struct nk_tensor tensors[] = {
      nki_vector("mean", NK_F64, pca->mean, pca->dim),
      nki_vector("eigenvalues", NK_F64, pca->eigenvalues, pca->dim),
      nki_matrix("components", NK_F32, pca->components, pca->n_components, pca->dim),
      nki_matrix("components_f64", NK_F64, pca->precise, pca->n_components, pca->dim),
  };
  size_t n_tensors = sizeof tensors / sizeof tensors[0] - (pca->precise == NULL ? 1 : 0);
  struct nki_safetensors_writer *writer = nki_safetensors_writer_new(output);
  if (writer == NULL) return NK_EMEMORY;
  int code = nki_safetensors_writer_metadata(writer, "noken.kind", "basis");
  if (code == NK_OK) code = nki_safetensors_writer_metadata(writer, "noken.version", "1");
  for (int i = 0; i < N_COUNTS && code == NK_OK; i++) {
    const size_t counts[N_COUNTS] = {pca->n, pca->n_different, pca->n_varying};
    char text[32];
    snprintf(text, sizeof text, "%zu", counts[i]);
    code = nki_safetensors_writer_metadata(writer, COUNT_NAMES[i], text);
  }
  for (size_t i = 0; i < n_tensors && code == NK_OK; i++)
    code = nki_safetensors_writer_add(writer, &tensors[i]);
  if (code == NK_OK) code = nki_safetensors_writer_begin(writer);
  if (code == NK_OK) return nki_safetensors_writer_finish(writer);
  nki_safetensors_writer_free(writer);
  return code;
}

/* The components in double, where the file has them. */
static int read_precise(const struct nki_safetensors *file, struct nk_pca *pca) {
  size_t size = pca->n_components * pca->dim;
  if (nki_safetensors_find(file, "components_f64") == NULL) return NK_OK;
  const struct nk_tensor *precise = nki_find(file, "components_f64", NK_F64, 2);
  if (precise == NULL) return nk_error_code();
  if (precise->shape[0] != pca->n_components || precise->shape[1] != pca->dim)
    return nk_fail(NK_EDATA, "the shapes of components and components_f64 do not agree");
  pca->precise = nk_alloc(size, sizeof *pca->precise);
  if (pca->precise == NULL) return NK_EMEMORY;
  memcpy(pca->precise, precise->data, precise->n_bytes);
  for (size_t i = 0; i < size; i++)
    if (!isfinite(pca->precise[i]))
      return nk_fail(NK_EDATA, "components_f64 holds a NaN or an infinity");
  return NK_OK;
}

struct nk_pca *nki_read_basis(const struct nki_safetensors *file) {
  const struct nk_tensor *mean = nki_find(file, "mean", NK_F64, 1);
  const struct nk_tensor *eigenvalues =
      mean != NULL ? nki_find(file, "eigenvalues", NK_F64, 1) : NULL;
  const struct nk_tensor *components =
      eigenvalues != NULL ? nki_find(file, "components", NK_F32, 2) : NULL;
  if (components == NULL) return NULL;
  size_t dim = components->shape[1], count = components->shape[0];
  if (dim == 0 || count > dim || mean->n_elements != dim || eigenvalues->n_elements != dim) {
    nk_fail(NK_EDATA, "the shapes of mean, eigenvalues and components do not agree");
    return NULL;
  }
  size_t counts[N_COUNTS];
  for (int i = 0; i < N_COUNTS; i++) {
    const char *text = nki_safetensors_metadata_find(file, COUNT_NAMES[i]);
    counts[i] = text != NULL ? strtoull(text, NULL, 10) : 0;
  }
  struct nk_pca *pca = allocate(counts[0], dim, count);
  if (pca == NULL) return NULL;
  pca->n_different = counts[1] < counts[0] ? counts[1] : counts[0];
  pca->n_varying = counts[2] < dim ? counts[2] : dim;
  memcpy(pca->mean, mean->data, mean->n_bytes);
  memcpy(pca->eigenvalues, eigenvalues->data, eigenvalues->n_bytes);
  memcpy(pca->components, components->data, components->n_bytes);
  if (read_precise(file, pca) != NK_OK) {
    nk_pca_free(pca);
    return NULL;
  }
  for (size_t i = 0; i < dim; i++)
    if (!isfinite(pca->mean[i]) || !(pca->eigenvalues[i] >= 0) || !isfinite(pca->eigenvalues[i])) {
      nk_fail(NK_EDATA, "mean or eigenvalues are not finite, or an eigenvalue is negative");
      nk_pca_free(pca);
      return NULL;
    }
  nki_pca_summarize(pca);
  if (nki_check_rows(pca->components, NULL, 0, count, dim) == NK_OK) return pca;
  nk_pca_free(pca);
  return NULL;
}
