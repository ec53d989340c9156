/* Regions as files: what is written, and what is checked when one is read. The layout is drawn in
 * noken/region.h. */
#include "geometry/region.h"

#include <inttypes.h>
#include <math.h>
#include <noken/base.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "model/rows.h"
#include "model/safetensors.h"

#include <noken/geometry.h>
#include <noken/region.h>
#include <noken/vectors.h>
#include "geometry/conformal.h"
#include "geometry/gaussian.h"
#include "geometry/internal.h"
#include "geometry/tensors.h"
#include "model/dtype.h"

static const char *const OWN[NK_N_METRICS] = {
    [NK_METRIC_L2] = "own.l2",
    [NK_METRIC_COSINE] = "own.cosine",
    [NK_METRIC_MAHALANOBIS] = "own.mahalanobis",
    [NK_METRIC_KNN] = "own.knn",
};

static enum nk_dtype dtype_of(enum nk_region_tokens keep) {
  return keep == NK_TOKENS_F16 ? NK_F16 : keep == NK_TOKENS_BF16 ? NK_BF16 : NK_F32;
}

/* ---- Numbers in the metadata ---- */

enum { N_NUMBERS = 7 };
static const char *const NUMBER_NAMES[N_NUMBERS] = {
    "noken.region.k",    "noken.region.components", "noken.region.fit",   "noken.region.ranks",
    "noken.region.seed", "noken.region.kind",       "noken.region.metric"};

static int name_number(struct nki_safetensors_writer *writer, const char *name, uint64_t value) {
  char text[32];
  snprintf(text, sizeof text, "%" PRIu64, value);
  return nki_safetensors_writer_metadata(writer, name, text);
}

/* ---- Writing ---- */

static int write_metadata(const struct nk_region *region, struct nki_safetensors_writer *writer) {
  const uint64_t numbers[] = {region->k, region->n_components, region->n_fit, region->n_ranks,
                              region->seed};
  int code = nki_safetensors_writer_metadata(writer, "noken.kind", "region");
  if (code == NK_OK) code = nki_safetensors_writer_metadata(writer, "noken.version", "1");
  for (const char *const *key = nki_region_metadata; *key != NULL && code == NK_OK; key++) {
    const char *value = nk_vectors_metadata(region->tokens, *key);
    if (value != NULL) code = nki_safetensors_writer_metadata(writer, *key, value);
  }
  if (code == NK_OK)
    code = nki_safetensors_writer_metadata(writer, NUMBER_NAMES[5],
                                           nk_region_kind_names[region->kind]);
  if (code == NK_OK)
    code =
        nki_safetensors_writer_metadata(writer, NUMBER_NAMES[6], nk_metric_names[region->metric]);
  for (int i = 0; i < 5 && code == NK_OK; i++)
    code = name_number(writer, NUMBER_NAMES[i], numbers[i]);
  return code;
}

/* The tokens, narrowed to the type that they are kept in, a block at a time. */
static int write_tokens(const struct nk_region *region, struct nki_safetensors_writer *writer) {
  enum { BLOCK = 1 << 16 };
  const float *x = region->tokens->values;
  size_t size = region->tokens->n * region->dim;
  if (region->keep == NK_TOKENS_F32)
    return nki_safetensors_writer_bytes(writer, x, size * sizeof *x);
  uint16_t *block = nk_alloc(BLOCK, sizeof *block);
  int code = block != NULL ? NK_OK : NK_EMEMORY;
  for (size_t first = 0; first < size && code == NK_OK; first += BLOCK) {
    size_t count = size - first < BLOCK ? size - first : BLOCK;
    for (size_t i = 0; i < count; i++)
      block[i] = region->keep == NK_TOKENS_F16 ? nki_f16_of_float(x[first + i])
                                               : nki_bf16_of_float(x[first + i]);
    code = nki_safetensors_writer_bytes(writer, block, count * sizeof *block);
  }
  nk_free(block);
  return code;
}

enum { N_JOINT_PACKED = NKI_N_JOINT * (NKI_N_JOINT + 1) / 2 };

/* All tensors but the tokens themselves; packed is the covariance, joint that of the features.
 * Returns how many. */
static size_t list_tensors(const struct nk_region *region, const double *packed,
                           const double *joint, struct nk_tensor *tensors) {
  const struct nk_vectors *tokens = region->tokens;
  size_t n = tokens->n, dim = region->dim, count = 0;
  tensors[count++] = nki_vector("mean", NK_F64, nki_gaussian_mean(region->gaussian), dim);
  tensors[count++] = nki_vector("covariance", NK_F64, packed, dim * (dim + 1) / 2);
  if (nki_region_takes(region->kind, NK_REGION_SUBSPACE)) {
    tensors[count++] = nki_vector("eigenvalues", NK_F64, region->basis->eigenvalues, dim);
    tensors[count++] = nki_matrix("components", NK_F32, region->basis->components, dim, dim);
    if (region->basis->precise != NULL)
      tensors[count++] = nki_matrix("components_f64", NK_F64, region->basis->precise, dim, dim);
  }
  tensors[count++] =
      nki_vector("calibration", NK_F64, region->calibration->scores, region->calibration->n);
  if (region->n_ranks > 0)
    tensors[count++] =
        nki_matrix("ranks", NK_F64, region->ranks,
                   region->joint != NULL ? NKI_N_RANKED : NKI_N_LEGACY, region->n_ranks);
  if (region->joint != NULL) {
    tensors[count++] =
        nki_vector("joint.mean", NK_F64, nki_gaussian_mean(region->joint), NKI_N_JOINT);
    tensors[count++] = nki_vector("joint.covariance", NK_F64, joint, N_JOINT_PACKED);
  }
  tensors[count++] = nki_vector("id", NK_I64, tokens->ids, n);
  if (tokens->text_offsets != NULL) {
    tensors[count++] = nki_vector("text.offsets", NK_I64, tokens->text_offsets, n + 1);
    tensors[count++] =
        nki_vector("text.bytes", NK_U8, tokens->text, (size_t)tokens->text_offsets[n]);
  }
  for (int m = NK_METRIC_L2; m < NK_N_METRICS; m++)
    if (region->own[m] != NULL) tensors[count++] = nki_vector(OWN[m], NK_F64, region->own[m], n);
  return count;
}

int nk_region_write(const struct nk_region *region, struct nk_output *output) {
  if (region == NULL || output == NULL) return nki_null("the region or the output");
  struct nk_tensor tensors[18];
  double joint[N_JOINT_PACKED];
  size_t dim = region->dim;
  double *packed = nk_alloc(dim * (dim + 1) / 2, sizeof *packed);
  struct nki_safetensors_writer *writer = nki_safetensors_writer_new(output);
  int code = packed != NULL && writer != NULL ? NK_OK : NK_EMEMORY;
  if (code == NK_OK) {
    nki_gaussian_packed(region->gaussian, packed);
    if (region->joint != NULL) nki_gaussian_packed(region->joint, joint);
    size_t count = list_tensors(region, packed, joint, tensors);
    if (region->tokens->values != NULL)
      tensors[count++] = nki_matrix("tokens", dtype_of(region->keep), NULL, region->tokens->n, dim);
    code = write_metadata(region, writer);
    for (size_t i = 0; i < count && code == NK_OK; i++)
      code = nki_safetensors_writer_add(writer, &tensors[i]);
  }
  if (code == NK_OK) code = nki_safetensors_writer_begin(writer);
  if (code == NK_OK && region->tokens->values != NULL) code = write_tokens(region, writer);
  if (code == NK_OK)
    code = nki_safetensors_writer_finish(writer);
  else
    nki_safetensors_writer_free(writer);
  nk_free(packed);
  return code;
}

/* ---- Reading ---- */

static int read_number(const struct nki_safetensors *file, const char *name, uint64_t *out) {
  const char *text = nki_safetensors_metadata_find(file, name);
  char *end = NULL;
  if (text != NULL && *text >= '0' && *text <= '9') *out = strtoull(text, &end, 10);
  if (end == NULL || *end != 0)
    return nk_fail(NK_EDATA, "metadata '%s' is not a number: '%s'", name, text != NULL ? text : "");
  return NK_OK;
}

static int read_metadata(const struct nki_safetensors *file, struct nk_region *region) {
  uint64_t numbers[5] = {0};
  int code = NK_OK, kind = 0, metric = 0;
  const char *text = nki_safetensors_metadata_find(file, "noken.kind");
  if (text == NULL || strcmp(text, "region") != 0)
    return nk_fail(NK_EDATA, "not a region file (noken.kind is '%s')", text != NULL ? text : "");
  for (int i = 0; i < 5 && code == NK_OK; i++)
    code = read_number(file, NUMBER_NAMES[i], &numbers[i]);
  if (code != NK_OK) return code;
  text = nki_safetensors_metadata_find(file, NUMBER_NAMES[5]);
  while (kind < NK_N_REGION_KINDS &&
         (text == NULL || strcmp(text, nk_region_kind_names[kind]) != 0))
    kind++;
  if (kind == NK_N_REGION_KINDS)
    return nk_fail(NK_EDATA, "unknown kind of region '%s'", text != NULL ? text : "");
  text = nki_safetensors_metadata_find(file, NUMBER_NAMES[6]);
  metric = text != NULL && strcmp(text, "cosine") == 0 ? NK_METRIC_COSINE : NK_METRIC_L2;
  region->kind = (enum nk_region_kind)kind;
  region->metric = (enum nk_metric)metric;
  region->k = numbers[0];
  region->n_components = numbers[1];
  region->n_fit = numbers[2];
  region->n_ranks = numbers[3];
  region->seed = numbers[4];
  return NK_OK;
}

/* *out = the n doubles of a tensor of n_dims dimensions, none infinite, copied. */
static int read_doubles(const struct nki_safetensors *file, const char *name, size_t n_dims,
                        size_t n, double **out) {
  const struct nk_tensor *tensor = nki_find(file, name, NK_F64, n_dims);
  if (tensor == NULL) return NK_EDATA;
  if (tensor->n_elements != n)
    return nk_fail(NK_EDATA, "tensor '%s': %zu values, not %zu", name, tensor->n_elements, n);
  if ((*out = nk_alloc(n, sizeof **out)) == NULL) return NK_EMEMORY;
  memcpy(*out, tensor->data, tensor->n_bytes);
  for (size_t i = 0; i < n; i++)
    if (isinf((*out)[i])) return nk_fail(NK_EDATA, "tensor '%s' holds an infinity", name);
  return NK_OK;
}

/* The same of a tensor of one dimension, none NaN. */
static int read_finite(const struct nki_safetensors *file, const char *name, size_t n,
                       double **out) {
  int code = read_doubles(file, name, 1, n, out);
  for (size_t i = 0; i < n && code == NK_OK; i++)
    if (isnan((*out)[i])) code = nk_fail(NK_EDATA, "tensor '%s' holds a NaN", name);
  return code;
}

/* The tokens' values widened, or *values NULL when the file has none. */
static int read_values(const struct nki_safetensors *file, struct nk_region *region, size_t n,
                       float **values) {
  const struct nk_tensor *tensor = nki_safetensors_find(file, "tokens");
  size_t size = 0;
  *values = NULL;
  region->keep = NK_TOKENS_NONE;
  if (tensor == NULL) return NK_OK;
  region->keep = tensor->dtype == NK_F16    ? NK_TOKENS_F16
                 : tensor->dtype == NK_BF16 ? NK_TOKENS_BF16
                                            : NK_TOKENS_F32;
  if (tensor->n_dims != 2 || tensor->shape[0] != n || tensor->shape[1] != region->dim ||
      !nk_size_mul(n, region->dim, &size))
    return nk_fail(NK_EDATA, "tensor 'tokens' is not %zu x %zu", n, region->dim);
  if ((*values = nk_alloc(size, sizeof **values)) == NULL) return NK_EMEMORY;
  int code = nki_tensor_widen(tensor, 0, size, *values);
  if (code == NK_OK) code = nki_check_rows(*values, NULL, 0, n, region->dim);
  return code == NK_OK ? NK_OK : nk_fail_in(code, "tokens");
}

static int read_tokens(const struct nki_safetensors *file, struct nk_region *region) {
  const struct nk_tensor *id = nki_find(file, "id", NK_I64, 1), *text = NULL, *offsets = NULL;
  float *values = NULL;
  if (id == NULL) return NK_EDATA;
  size_t n = id->n_elements;
  if (nki_safetensors_find(file, "text.offsets") != NULL) {
    text = nki_find(file, "text.bytes", NK_U8, 1);
    offsets = text != NULL ? nki_find(file, "text.offsets", NK_I64, 1) : NULL;
    if (offsets == NULL) return NK_EDATA;
    if (offsets->n_elements != n + 1)
      return nk_fail(NK_EDATA, "tensor 'text.offsets': %zu values, not %zu", offsets->n_elements,
                     n + 1);
  }
  if (region->n_fit < 1 || region->n_fit > n || region->n_ranks > n - region->n_fit)
    return nk_fail(NK_EDATA, "%zu tokens: fewer than the metadata's parts of them", n);
  region->n_calibration = n - region->n_fit - region->n_ranks;
  int64_t *copy = nk_alloc(n, sizeof *copy);
  int64_t *ends = nk_alloc(n + 1, sizeof *ends);
  int code = copy != NULL && ends != NULL ? read_values(file, region, n, &values) : NK_EMEMORY;
  if (code == NK_OK) memcpy(copy, id->data, id->n_bytes);
  if (code == NK_OK && offsets != NULL) {
    memcpy(ends, offsets->data, offsets->n_bytes);
    if (ends[0] != 0 || ends[n] < 0 || (size_t)ends[n] > text->n_bytes)
      code = nk_fail(NK_EDATA, "tensor 'text.offsets' does not fit 'text.bytes'");
    for (size_t i = 0; i < n && code == NK_OK; i++)
      if (ends[i] > ends[i + 1])
        code = nk_fail(NK_EDATA, "tensor 'text.offsets' falls at row %zu", i);
  }
  if (code == NK_OK) {
    const void *bytes = offsets != NULL ? text->data : NULL;
    region->tokens = nki_region_tokens(n, region->dim, values, copy, bytes, ends);
    if (region->tokens != NULL) values = NULL;
    if (region->tokens == NULL) code = nk_error_code();
  }
  for (const char *const *key = nki_region_metadata; *key != NULL && code == NK_OK; key++) {
    const char *value = nki_safetensors_metadata_find(file, *key);
    if (value != NULL) code = nk_vectors_set_metadata(region->tokens, *key, value);
  }
  nk_free(values);
  nk_free(copy);
  nk_free(ends);
  return code;
}

/* The normal distribution whose mean [dim] and covariance are tensors of these names. */
static struct nk_gaussian *read_normal(const struct nki_safetensors *file, const char *mean,
                                       const char *covariance, size_t dim) {
  double *values = NULL, *packed = NULL;
  struct nk_gaussian *dist = NULL;
  size_t square = 0;
  int code = nk_size_mul(dim, dim + 1, &square) ? read_finite(file, mean, dim, &values)
                                                : nk_fail(NK_EDATA, "%zu dimensions", dim);
  if (code == NK_OK) code = read_finite(file, covariance, square / 2, &packed);
  if (code == NK_OK) dist = nki_gaussian_of(values, packed, dim);
  nk_free(values);
  nk_free(packed);
  return dist;
}

static int read_gaussian(const struct nki_safetensors *file, struct nk_region *region) {
  const struct nk_tensor *mean = nki_find(file, "mean", NK_F64, 1);
  if (mean == NULL) return NK_EDATA;
  region->dim = mean->n_elements;
  if (region->dim == 0) return nk_fail(NK_EDATA, "tensor 'mean' has no values");
  region->gaussian = read_normal(file, "mean", "covariance", region->dim);
  return region->gaussian != NULL ? NK_OK : nk_error_code();
}

static int read_components(const struct nki_safetensors *file, struct nk_region *region) {
  if (!nki_region_takes(region->kind, NK_REGION_SUBSPACE)) return NK_OK;
  region->basis = nki_read_basis(file);
  if (region->basis == NULL) return nk_error_code();
  if (region->basis->dim != region->dim || region->basis->n_components != region->dim ||
      region->n_components >= region->dim)
    return nk_fail(NK_EDATA, "the components do not fit the region");
  return NK_OK;
}

static int read_combined(const struct nki_safetensors *file, struct nk_region *region) {
  size_t m = region->n_ranks, rows = NKI_N_LEGACY;
  if (m == 0) return nk_fail(NK_EDATA, "a combined region without ranks");
  if (nki_safetensors_find(file, "joint.mean") != NULL) {
    rows = NKI_N_RANKED;
    region->joint = read_normal(file, "joint.mean", "joint.covariance", NKI_N_JOINT);
    if (region->joint == NULL) return nk_error_code();
  }
  int code = read_doubles(file, "ranks", 2, rows * m, &region->ranks);
  for (size_t i = 0; i < rows * m && code == NK_OK; i++)
    if (isnan(region->ranks[i]) || (i % m > 0 && region->ranks[i] < region->ranks[i - 1]))
      code = nk_fail(NK_EDATA, "tensor 'ranks' is not in order");
  return code;
}

static int read_scores(const struct nki_safetensors *file, struct nk_region *region) {
  double *scores = NULL;
  int code = read_doubles(file, "calibration", 1, region->n_calibration, &scores);
  if (code == NK_OK) {
    region->calibration = nki_conformal_new(scores, region->n_calibration);
    if (region->calibration == NULL) code = nk_error_code();
  }
  nk_free(scores);
  if (code == NK_OK && region->kind == NK_REGION_COMBINED) code = read_combined(file, region);
  for (int m = NK_METRIC_L2; m < NK_N_METRICS && code == NK_OK; m++)
    if (nki_safetensors_find(file, OWN[m]) != NULL)
      code = read_doubles(file, OWN[m], 1, region->tokens->n, &region->own[m]);
  return code;
}

static struct nk_region *read_region(const struct nki_safetensors *file) {
  struct nk_region *region = nk_calloc(1, sizeof *region);
  int code = region != NULL ? read_metadata(file, region) : NK_EMEMORY;
  if (code == NK_OK) code = read_gaussian(file, region);
  if (code == NK_OK) code = read_tokens(file, region);
  if (code == NK_OK) code = read_components(file, region);
  if (code == NK_OK) code = read_scores(file, region);
  if (code == NK_OK) return region;
  nk_region_free(region);
  return NULL;
}

struct nk_region *nk_region_read(const char *path) {
  struct nki_safetensors *file = nki_safetensors_open(path);
  if (file == NULL) return NULL;
  struct nk_region *region = read_region(file);
  if (region == NULL) nk_fail_in(nk_error_code(), "%s", nki_safetensors_file(file)->name);
  nki_safetensors_free(file);
  return region;
}

/* ---- A basis, in a file of its own or of a region ---- */

/* The components of a region, computed where its file has none. */
static struct nk_pca *read_region_basis(const struct nki_safetensors *file) {
  struct nk_region *region = read_region(file);
  struct nk_pca *pca = NULL;
  if (nk_region_basis(region) != NULL) {
    pca = region->basis;
    region->basis = NULL;
  }
  nk_region_free(region);
  return pca;
}

struct nk_pca *nk_pca_read(const char *path) {
  struct nki_safetensors *file = nki_safetensors_open(path);
  struct nk_pca *pca = NULL;
  if (file == NULL) return NULL;
  const char *kind = nki_safetensors_metadata_find(file, "noken.kind");
  if (kind != NULL && strcmp(kind, "region") == 0)
    pca = read_region_basis(file);
  else if (kind != NULL && strcmp(kind, "basis") == 0)
    pca = nki_read_basis(file);
  else
    nk_fail(NK_EDATA, "not a basis or a region file (noken.kind is '%s')",
            kind != NULL ? kind : "");
  if (pca == NULL) nk_fail_in(nk_error_code(), "%s", nki_safetensors_file(file)->name);
  nki_safetensors_free(file);
  return pca;
}
