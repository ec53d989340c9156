/* Vector sets from NumPy's files: .npy, one array; .npz, an archive of them. */
#include <noken/base.h>
#include <noken/model.h>
#include <noken/vectors.h>
#include <string.h>
#include "io/npy.h"
#include "io/npz.h"
#include "io/vectors.h"
#include "model/rows.h"

/* The set of a matrix in a file, which the set keeps. */
static struct nk_vectors *new_set(struct nk_file *file, const struct nk_tensor *matrix,
                                  bool transposed) {
  struct nk_vectors *set =
      nk_vectors_new(nki_tensor_n_rows(matrix), nki_tensor_row_dim(matrix), NULL, true);
  if (set == NULL) {
    nk_file_free(file);
    return NULL;
  }
  transposed = transposed && matrix->n_dims == 2;
  set->hidden->npy = file;
  if (matrix->dtype == NK_F64) set->hidden->source = *matrix;
  set->hidden->transposed = transposed;
  set->hidden->name = nk_strdup(file->name);
  int code =
      set->hidden->name != NULL ? nki_vectors_take_values(set, matrix, transposed) : NK_EMEMORY;
  if (code == NK_OK) return set;
  nk_fail_in(code, "%s", file->name);
  nk_vectors_free(set);
  return NULL;
}

struct nk_vectors *nki_vectors_read_npy(struct nk_file *file) {
  struct nk_tensor matrix = {0};
  bool transposed = false;
  int code = nki_npy_read(file, &matrix, &transposed);
  if (code == NK_OK) {
    code = nki_vectors_check_matrix(&matrix);
    if (code != NK_OK) nk_fail_in(code, "%s", file->name);
  }
  if (code == NK_OK) return new_set(file, &matrix, transposed);
  nk_file_free(file);
  return NULL;
}

/* `vectors`, or the only array of two dimensions, or without any the only one of one. */
static const struct nki_npz_array *find_matrix(const struct nki_npz_array *arrays, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (strcmp(arrays[i].tensor.name, "vectors") == 0) return &arrays[i];
  for (size_t n_dims = 2; n_dims > 0; n_dims--) {
    const struct nki_npz_array *found = NULL;
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
      if (arrays[i].tensor.n_dims == n_dims) {
        found = &arrays[i];
        count++;
      }
    if (count == 1) return found;
    if (count == 0) continue;
    nk_fail(NK_EDATA,
            "no array 'vectors' and %zu of %zu dimension%s, of which one must be saved alone",
            count, n_dims, n_dims > 1 ? "s" : "");
    return NULL;
  }
  nk_fail(NK_EDATA, "no array of two dimensions, or of one");
  return NULL;
}

/* The ids and columns of an archive. */
static int take_others(struct nk_vectors *set, const struct nki_npz_array *arrays, size_t n,
                       const struct nki_npz_array *matrix) {
  int code = NK_OK;
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    const struct nk_tensor *tensor = &arrays[i].tensor;
    if (&arrays[i] == matrix) continue;
    if (strcmp(tensor->name, "id") == 0)
      code = nki_vectors_take_ids(set, tensor);
    else if (tensor->n_dims == 1 && tensor->n_elements == set->n)
      code = nki_vectors_take_column(set, tensor);
    else
      nk_warn("%s: array '%s' is neither the matrix nor a column of numbers and is not read",
              set->hidden->name, tensor->name);
  }
  return code;
}

struct nk_vectors *nki_vectors_read_npz(struct nk_file *file) {
  struct nki_npz_array *arrays = NULL;
  const struct nki_npz_array *matrix = NULL;
  struct nk_vectors *set = NULL;
  size_t n = 0;
  int code = nki_npz_read(file, &arrays, &n);
  if (code == NK_OK && (matrix = find_matrix(arrays, n)) == NULL) code = nk_error_code();
  if (code == NK_OK && (code = nki_vectors_check_matrix(&matrix->tensor)) != NK_OK)
    nk_fail_in(code, "array '%s'", matrix->tensor.name);
  if (code != NK_OK) {
    nk_fail_in(code, "%s", file->name);
    nk_file_free(file);
  } else {
    set = new_set(file, &matrix->tensor, matrix->transposed);
  }
  if (set != NULL && (code = take_others(set, arrays, n, matrix)) != NK_OK) {
    nk_fail_in(code, "%s", set->hidden->name);
    nk_vectors_free(set);
    set = NULL;
  }
  if (set != NULL) set->hidden->source.name = NULL; /* it is freed with the arrays */
  nki_npz_free(arrays, n);
  return set;
}
