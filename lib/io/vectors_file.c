/* Vector sets from files. The layout is in vectors.h. */
#include <noken/base.h>
#include <noken/vectors.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include "io/npy.h"
#include "io/npz.h"
#include "io/vectors.h"
#include "model/dtype.h"
#include "model/rows.h"
#include "model/safetensors.h"

/* ---- The rows ---- */

/* out [n, dim] = the transpose of source [dim, n]. */
static void transpose(const float *source, size_t n, size_t dim, float *out) {
  enum { TILE = 32 }; /* 32 x 32 floats of both fit the first-level cache */
#pragma omp parallel for schedule(static)
  for (size_t i0 = 0; i0 < n; i0 += TILE) {
    for (size_t j0 = 0; j0 < dim; j0 += TILE) {
      for (size_t i = i0; i < n && i < i0 + TILE; i++) {
        for (size_t j = j0; j < dim && j < j0 + TILE; j++) out[i * dim + j] = source[j * n + i];
      }
    }
  }
}

/* Warns where a double is beyond a float's range. */
static void warn_of_range(const struct nk_vectors *set, const struct nk_tensor *matrix,
                          const float *values, bool transposed) {
  size_t at = nki_tensor_first_beyond(matrix, 0, values, matrix->n_elements);
  if (at == matrix->n_elements) return;
  const char *name = set->hidden->name != NULL ? set->hidden->name : matrix->name;
  nk_warn("%s: row %zu holds %.9g, beyond the range of a float: it is read as an infinity", name,
          transposed ? at % set->n : at / set->dim, nki_element_number(NK_F64, matrix->data, at));
}

int nki_vectors_take_values(struct nk_vectors *set, const struct nk_tensor *matrix,
                            bool transposed) {
  if (matrix->dtype == NK_F32 && !transposed && (uintptr_t)matrix->data % sizeof(float) == 0) {
    set->values = matrix->data;
    return NK_OK;
  }
  float *values = nk_alloc(matrix->n_elements, sizeof *values);
  if (values == NULL) return NK_EMEMORY;
  int code = nki_tensor_widen(matrix, 0, matrix->n_elements, values);
  if (code == NK_OK) warn_of_range(set, matrix, values, transposed);
  if (code == NK_OK && transposed) {
    float *rows = nk_alloc(matrix->n_elements, sizeof *rows);
    if (rows != NULL)
      transpose(values, set->n, set->dim, rows);
    else
      code = NK_EMEMORY;
    nk_free(values);
    values = rows;
  }
  set->values = set->own_values = values;
  return code;
}

int nki_vectors_check_matrix(const struct nk_tensor *matrix) {
  if (matrix->n_dims != 1 && matrix->n_dims != 2)
    return nk_fail(NK_EDATA, "has %zu dimensions, expected 2, or 1 for one row", matrix->n_dims);
  if (nki_tensor_row_dim(matrix) == 0) return nk_fail(NK_EDATA, "its rows have dimension 0");
  return NK_OK;
}

/* ---- safetensors ---- */

/* The file's only tensor of n_dims dimensions of a type that is read as floats, or of any type
 * where none is of such; *n is how many there are. */
static const struct nk_tensor *only_tensor(const struct nki_safetensors *st, size_t n_dims,
                                           size_t *n) {
  const struct nk_tensor *found = NULL;
  bool has_floats = false;
  *n = 0;
  for (size_t i = 0; i < nki_safetensors_n_tensors(st); i++) {
    const struct nk_tensor *tensor = nki_safetensors_tensor(st, i);
    bool floats = tensor->dtype <= NK_F64;
    if (tensor->n_dims != n_dims || (has_floats && !floats)) continue;
    if (floats && !has_floats) *n = 0;
    has_floats = floats;
    found = tensor;
    ++*n;
  }
  return *n == 1 ? found : NULL;
}

/* `vectors`, or the file's only 2-D tensor, or in a file without any its only 1-D tensor. */
static const struct nk_tensor *find_matrix(const struct nki_safetensors *st) {
  const struct nk_tensor *matrix = nki_safetensors_look_up(st, "vectors");
  size_t n_matrices = 0, n_rows = 0;
  if (matrix == NULL) matrix = only_tensor(st, 2, &n_matrices);
  if (matrix == NULL && n_matrices == 0) matrix = only_tensor(st, 1, &n_rows);
  if (matrix != NULL) {
    int code = nki_vectors_check_matrix(matrix);
    if (code == NK_OK) return matrix;
    nk_fail_in(code, "tensor '%s'", matrix->name);
  } else if (n_matrices == 0 && n_rows == 0) {
    nk_fail(NK_EDATA, "not a vector set: no tensor 'vectors' and none of 2 dimensions");
  } else {
    nk_fail(NK_EDATA,
            "not a vector set: no tensor 'vectors' and %zu of %d dimension%s, of which one must be "
            "extracted first",
            n_matrices > 0 ? n_matrices : n_rows, n_matrices > 0 ? 2 : 1,
            n_matrices > 0 ? "s" : "");
  }
  return NULL;
}

int nki_vectors_take_ids(struct nk_vectors *set, const struct nk_tensor *tensor) {
  if (tensor->n_dims != 1 || tensor->n_elements != set->n) {
    return nk_fail(NK_EDATA, "tensor 'id': has %zu elements, expected %zu (the rows of the set)",
                   tensor->n_elements, set->n);
  }
  if (tensor->dtype < NK_I64 || tensor->dtype > NK_U8) {
    return nk_fail(NK_EDATA, "tensor 'id': dtype %s, expected integers",
                   nk_dtype_names[tensor->dtype]);
  }
  for (size_t i = 0; i < set->n; i++) {
    set->ids[i] = nki_element_integer(tensor->dtype, tensor->data, i);
  }
  return NK_OK;
}

static int take_text(struct nk_vectors *set, const struct nk_tensor *bytes,
                     const struct nk_tensor *offsets) {
  if (bytes == NULL || offsets == NULL) {
    return nk_fail(NK_EDATA, "one of the tensors 'text.bytes' and 'text.offsets' is missing");
  }
  if (bytes->n_dims != 1 || bytes->dtype != NK_U8 || offsets->n_dims != 1 ||
      offsets->dtype != NK_I64 || offsets->n_elements != set->n + 1) {
    return nk_fail(NK_EDATA, "expected tensors 'text.bytes' U8 [m] and 'text.offsets' I64 [%zu]",
                   set->n + 1);
  }
  int64_t *own = nk_alloc(offsets->n_elements, sizeof *own);
  if (own == NULL) return NK_EMEMORY;
  memcpy(own, offsets->data, offsets->n_bytes);
  set->text = bytes->data;
  set->text_offsets = own;
  bool sound = own[0] == 0 && own[set->n] == (int64_t)bytes->n_elements;
  for (size_t i = 0; i < set->n; i++) sound = sound && own[i] <= own[i + 1];
  if (sound) return NK_OK;
  return nk_fail(NK_EDATA,
                 "tensor 'text.offsets': does not ascend from 0 to the %zu bytes of "
                 "'text.bytes'",
                 bytes->n_elements);
}

bool nki_vectors_is_column(const struct nk_vectors *set, const struct nk_tensor *tensor) {
  return tensor->n_dims == 1 && tensor->n_elements == set->n && tensor->dtype <= NK_I64;
}

int nki_vectors_take_column(struct nk_vectors *set, const struct nk_tensor *tensor) {
  bool whole = tensor->dtype >= NK_I64;
  enum nk_dtype dtype = whole ? NK_I64 : tensor->dtype == NK_F64 ? NK_F64 : NK_F32;
  struct nk_column *column = nki_vectors_append_column(set, tensor->name, dtype);
  if (column == NULL) return nk_error_code();
  for (size_t i = 0; i < set->n; i++)
    if (whole)
      column->data.integer[i] = nki_element_integer(tensor->dtype, tensor->data, i);
    else
      column->data.number[i] = nki_element_number(tensor->dtype, tensor->data, i);
  return NK_OK;
}

static int take_metadata(struct nk_vectors *set) {
  struct nk_vectors_private *hidden = set->hidden;
  const char *key, *value;
  int code = NK_OK;
  for (size_t i = 0; code == NK_OK; i++) {
    if (nki_safetensors_metadata(hidden->st, i, &key, &value) != NK_OK) break;
    code = nki_pairs_append(&hidden->metadata, key, value);
  }
  if (code == NK_OK && nk_vectors_metadata(set, "noken.kind") == NULL)
    code = nk_vectors_set_metadata(set, "noken.kind", "vectors");
  if (code == NK_OK && nk_vectors_metadata(set, "noken.version") == NULL)
    code = nk_vectors_set_metadata(set, "noken.version", "1");
  return code;
}

/* Everything but the matrix. */
static int take_rest(struct nk_vectors *set, const struct nk_tensor *matrix) {
  struct nk_vectors_private *hidden = set->hidden;
  const struct nk_tensor *bytes = nki_safetensors_look_up(hidden->st, "text.bytes");
  const struct nk_tensor *offsets = nki_safetensors_look_up(hidden->st, "text.offsets");
  int code = take_metadata(set);
  if (code == NK_OK && ((bytes != NULL) || offsets != NULL)) code = take_text(set, bytes, offsets);
  size_t n = nki_safetensors_n_tensors(hidden->st);
  set->carried = nk_calloc(n, sizeof *set->carried);
  if (set->carried == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    const struct nk_tensor *tensor = nki_safetensors_tensor(hidden->st, i);
    if (tensor == matrix || tensor == bytes || tensor == offsets) continue;
    if (strcmp(tensor->name, "id") == 0) {
      code = nki_vectors_take_ids(set, tensor);
    } else if (nki_vectors_is_column(set, tensor)) {
      code = nki_vectors_take_column(set, tensor);
    } else {
      struct nk_tensor *carried = &set->carried[set->n_carried++];
      *carried = *tensor;
      carried->name = nk_strdup(tensor->name);
      if (carried->name == NULL) code = NK_EMEMORY;
    }
  }
  return code;
}

static struct nk_vectors *read_safetensors(struct nk_file *file) {
  struct nki_safetensors *st = nki_safetensors_read(file);
  if (st == NULL) return NULL;
  struct nk_vectors *set = NULL;
  const char *kind = nki_safetensors_metadata_find(st, "noken.kind");
  const struct nk_tensor *matrix = NULL;
  if (kind != NULL && strcmp(kind, "vectors") != 0) {
    nk_fail(NK_EDATA, "not a vector set (noken.kind is '%.40s')", kind);
  } else {
    matrix = find_matrix(st);
  }
  if (matrix != NULL) set = nki_vectors_bare(nki_tensor_n_rows(matrix), nki_tensor_row_dim(matrix));
  if (set == NULL) {
    nk_fail_in(nk_error_code(), "%s", file->name);
    nki_safetensors_free(st);
    return NULL;
  }
  set->hidden->st = st;
  if (matrix->dtype == NK_F64) set->hidden->source = *matrix;
  set->hidden->name = nk_strdup(file->name);
  int code = set->hidden->name != NULL ? nki_vectors_take_values(set, matrix, false) : NK_EMEMORY;
  if (code == NK_OK) code = take_rest(set, matrix);
  if (code == NK_OK) return set;
  nk_fail_in(code, "%s", file->name);
  nk_vectors_free(set);
  return NULL;
}

struct nk_vectors *nk_vectors_read(const char *path) {
  struct nk_file *file = nk_file_open(path);
  struct stat status;
  if (file == NULL) {
    if (strcmp(path, "-") != 0 && stat(path, &status) == 0 && S_ISDIR(status.st_mode))
      nk_fail(NK_EIO, "%s: is a directory, expected a vector set; nk-extract makes one of a model",
              path);
    return NULL;
  }
  return nki_npy_is(file)    ? nki_vectors_read_npy(file)
         : nki_npz_is(file)  ? nki_vectors_read_npz(file)
         : nki_text_is(file) ? nki_vectors_read_text(file)
                             : read_safetensors(file);
}
