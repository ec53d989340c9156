/* The arrays of a file, whichever of the formats it has. */
#include "io/arrays.h"
#include <noken/base.h>
#include "io/npy.h"

/* A safetensors file owns `file`, also on failure. */
static int open_safetensors(struct nk_file *file, struct nki_arrays *arrays) {
  if (nki_npy_is(file) || nki_npz_is(file)) {
    nk_fail(NK_EDATA, "%s: %s, expected safetensors (Python: safetensors.torch.save_file)",
            file->name,
            nki_npy_is(file) ? "a file of NumPy's"
                             : "a zip archive, as NumPy's .npz and PyTorch's .pt files are");
    nk_file_free(file);
    return NK_EDATA;
  }
  arrays->st = nki_safetensors_read(file);
  if (arrays->st == NULL) return nk_error_code();
  arrays->file = nki_safetensors_file(arrays->st);
  arrays->n = nki_safetensors_n_tensors(arrays->st);
  return NK_OK;
}

static int open_numpy(struct nki_arrays *arrays) {
  const struct nk_file *file = arrays->file;
  if (nki_npz_is(file)) {
    int code = nki_npz_read(file, &arrays->npz, &arrays->n);
    return code == NK_OK ? NK_OK : nk_fail_in(code, "%s", file->name);
  }
  if (!nki_npy_is(file)) return nk_fail(NK_EDATA, "%s: neither .npz nor .npy", file->name);
  arrays->n = 1;
  return nki_npy_read(file, &arrays->single.tensor, &arrays->single.transposed);
}

int nki_arrays_open(const char *path, bool numpy, struct nki_arrays *arrays) {
  *arrays = (struct nki_arrays){0};
  struct nk_file *file = nk_file_open(path);
  if (file == NULL) return nk_error_code();
  if (!numpy) return open_safetensors(file, arrays);
  arrays->file = arrays->numpy = file;
  int code = open_numpy(arrays);
  if (code != NK_OK) nki_arrays_free(arrays);
  return code;
}

void nki_arrays_free(struct nki_arrays *arrays) {
  nki_safetensors_free(arrays->st);
  nki_npz_free(arrays->npz, arrays->npz != NULL ? arrays->n : 0);
  nk_file_free(arrays->numpy);
  *arrays = (struct nki_arrays){0};
}

const struct nk_tensor *nki_arrays_item(const struct nki_arrays *arrays, size_t i, bool *fortran) {
  const struct nki_npz_array *array = arrays->npz != NULL ? &arrays->npz[i] : &arrays->single;
  *fortran = arrays->st == NULL && array->transposed;
  return arrays->st != NULL ? nki_safetensors_tensor(arrays->st, i) : &array->tensor;
}
