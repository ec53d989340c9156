/* All tensors of a model as one safetensors file, as they are, with the entries of each in a random
 * order, with other values in some rows, or with the values that it was given. A tensor is copied
 * only to be changed. */
#include <math.h>
#include <noken/base.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/names.h"
#include "base/random.h"
#include "model/dtype.h"
#include "model/model.h"
#include "model/model_config.h"

struct writing {
  const struct nk_model *model;
  const struct nk_model_write_options *options;
  const struct nk_tensor **tensors; /* [n] in the order of the file */
  size_t n;
};

/* ---- The order of entries ---- */

/* A stream's number below 2^56: by name, so that the order does not depend on the shards that a
 * tensor and others are in. */
static uint64_t number_of(const char *name) {
  return nki_hash(name, strlen(name)) >> 8;
}

/* Puts n entries of `size` bytes in a random order (Fisher and Yates). The size is a constant where
 * this is called, so that the copies are single instructions. */
static inline void permute(unsigned char *bytes, size_t n, size_t size, struct nki_random *random) {
  for (size_t i = n; i > 1; i--) {
    unsigned char kept[8], *a = bytes + (i - 1) * size,
                           *b = bytes + (size_t)nki_random_below(random, i) * size;
    memcpy(kept, a, size);
    memmove(a, b, size);
    memcpy(b, kept, size);
  }
}

/* Tied matrices that a checkpoint holds twice stay the same: both have the order of the input
 * matrix. */
static void shuffle(const struct writing *w, const struct nk_tensor *tensor, unsigned char *bytes) {
  size_t n = tensor->n_elements;
  const struct nk_tensor *input = nki_model_copy(w->model, tensor) == NULL
                                      ? tensor
                                      : nk_model_matrix(w->model, NK_MATRIX_INPUT, NULL);
  struct nki_random random =
      nki_random_stream(w->options->seed, NKI_RANDOM_SHUFFLE, number_of(input->name));
  switch (nki_dtype_size(tensor->dtype)) {
    case 1:
      permute(bytes, n, 1, &random);
      break;
    case 2:
      permute(bytes, n, 2, &random);
      break;
    case 4:
      permute(bytes, n, 4, &random);
      break;
    case 8:
      permute(bytes, n, 8, &random);
      break;
  }
}

/* ---- Other rows ---- */

/* The patch of a tensor, or of the one that it is a copy of; NULL where there is none. */
static const struct nk_patch *patch_of(const struct writing *w, const struct nk_tensor *tensor) {
  const struct nk_model_write_options *o = w->options;
  const struct nk_tensor *copy = o->n_patches > 0 ? nki_model_copy(w->model, tensor) : NULL;
  for (int i = 0; i < 2 && (i == 0 || copy != NULL); i++)
    for (size_t p = 0; p < o->n_patches; p++)
      if (o->patches[p].tensor == (i == 0 ? tensor : copy)) return &o->patches[p];
  return NULL;
}

/* Writes the value as the index-th element of bytes, rounded to nearest even. */
static void put_number(unsigned char *bytes, enum nk_dtype dtype, size_t index, float value) {
  uint16_t half = dtype == NK_F16 ? nki_f16_of_float(value) : nki_bf16_of_float(value);
  double number = (double)value;
  if (dtype == NK_F32)
    memcpy(bytes + index * 4, &value, 4);
  else if (dtype == NK_F64)
    memcpy(bytes + index * 8, &number, 8);
  else
    memcpy(bytes + index * 2, &half, 2);
}

static void put_rows(const struct nk_patch *patch, unsigned char *bytes) {
  size_t dim = patch->tensor->shape[1];
  for (size_t i = 0; i < patch->n; i++)
    for (size_t j = 0; j < dim; j++)
      put_number(bytes, patch->tensor->dtype, (size_t)patch->rows[i] * dim + j,
                 patch->values[i * dim + j]);
}

static int check_patch(const struct nk_patch *patch) {
  const struct nk_tensor *tensor = patch->tensor;
  if (tensor == NULL || tensor->n_dims != 2 || tensor->dtype > NK_F64)
    return nk_fail(NK_EUNSUPPORTED, "%s: rows are replaced in matrices of F32, F16, BF16 and F64",
                   tensor != NULL ? tensor->name : "no tensor");
  for (size_t i = 0; i < patch->n; i++)
    if (patch->rows[i] < 0 || (size_t)patch->rows[i] >= tensor->shape[0])
      return nk_fail(NK_EUSAGE, "%s: no row %lld among %zu", tensor->name,
                     (long long)patch->rows[i], tensor->shape[0]);
  return NK_OK;
}

/* ---- Other values ---- */

/* The tensor as it is in the file. */
static const struct nk_tensor *in_file(const struct writing *w, const struct nk_tensor *tensor) {
  const struct nki_values *values = nki_model_values(w->model, tensor);
  return values != NULL ? &values->file : tensor;
}

static int fail_beyond(const struct nk_tensor *file, size_t index, float value) {
  return nk_fail(NK_EDATA, "tensor '%s': element %zu is %g, beyond the range of its type %s",
                 file->name, index, (double)value, nk_dtype_names[file->dtype]);
}

/* A block at a time. */
static int write_values(const struct nki_values *values, struct nki_safetensors_writer *writer) {
  enum { BLOCK = 1 << 16 };
  const struct nk_tensor *file = &values->file;
  const float *from = values->tensor->data;
  size_t size = nki_dtype_size(file->dtype);
  unsigned char *bytes = nk_alloc(BLOCK, size);
  int code = bytes == NULL ? NK_EMEMORY : NK_OK;
  for (size_t first = 0; first < file->n_elements && code == NK_OK; first += BLOCK) {
    size_t n = file->n_elements - first < BLOCK ? file->n_elements - first : BLOCK;
    for (size_t i = 0; i < n && code == NK_OK; i++) {
      put_number(bytes, file->dtype, i, from[first + i]);
      if (isfinite(from[first + i]) && !isfinite(nki_element_number(file->dtype, bytes, i)))
        code = fail_beyond(file, first + i, from[first + i]);
    }
    if (code == NK_OK) code = nki_safetensors_writer_bytes(writer, bytes, n * size);
  }
  nk_free(bytes);
  return code;
}

/* ---- Tensors ---- */

static bool is_changed(const struct writing *w, const struct nk_tensor *tensor) {
  return (w->options->shuffle && nki_is_weight(tensor)) || patch_of(w, tensor) != NULL ||
         nki_model_values(w->model, tensor) != NULL;
}

static int write_changed(const struct writing *w, const struct nk_tensor *tensor,
                         struct nki_safetensors_writer *writer) {
  const struct nki_values *values = nki_model_values(w->model, tensor);
  if (values != NULL) return write_values(values, writer);
  const struct nk_patch *patch = patch_of(w, tensor);
  unsigned char *bytes = nk_alloc(tensor->n_bytes, 1);
  if (bytes == NULL) return NK_EMEMORY;
  if (tensor->n_bytes > 0) memcpy(bytes, tensor->data, tensor->n_bytes);
  if (patch != NULL)
    put_rows(patch, bytes);
  else
    shuffle(w, tensor, bytes);
  int code = nki_safetensors_writer_bytes(writer, bytes, tensor->n_bytes);
  nk_free(bytes);
  return code;
}

/* Those of large elements first, so that each is aligned to its own. */
static int order_tensors(struct writing *w) {
  static const size_t sizes[] = {8, 4, 2, 1, 0};
  w->tensors = nk_alloc(w->model->n_tensors, sizeof(struct nk_tensor *));
  if (w->tensors == NULL) return NK_EMEMORY;
  for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
    for (size_t i = 0; i < w->model->n_tensors; i++)
      if (nki_dtype_size(in_file(w, w->model->tensors[i])->dtype) == sizes[s])
        w->tensors[w->n++] = w->model->tensors[i];
  return NK_OK;
}

static int check(const struct writing *w) {
  const struct nk_model *model = w->model;
  if (model->own != NULL || (model->files.n_shards > 0 && model->shards[0].gguf != NULL))
    return nk_fail(NK_EUNSUPPORTED, "a GGUF is not written as safetensors");
  if (nki_model_n_missing(model) > 0)
    return nk_fail(NK_ENOTFOUND, "%zu of %zu shards are missing", nki_model_n_missing(model),
                   model->files.index.n_shards);
  const struct nk_model_write_options *o = w->options;
  bool changes = o->shuffle || o->n_patches > 0;
  if (changes && nki_model_config_value(model, "quantization_config") != NULL)
    return nk_fail(NK_EUNSUPPORTED,
                   "a quantized checkpoint is not %s: use one that is not quantized",
                   o->shuffle ? "shuffled" : "patched");
  if (o->shuffle && o->n_patches > 0)
    return nk_fail(NK_EUSAGE, "a model is shuffled or patched, not both");
  for (size_t i = 0; i < model->n_values && changes; i++)
    if (model->values[i].in_use)
      return nk_fail(NK_EUSAGE, "a model with other values is neither shuffled nor patched");
  int code = NK_OK;
  for (size_t i = 0; i < o->n_patches && code == NK_OK; i++) code = check_patch(&o->patches[i]);
  return code;
}

static int write_tensors(const struct writing *w, struct nki_safetensors_writer *writer) {
  int code = nki_safetensors_writer_metadata(writer, "format", "pt"); /* Transformers asks for it */
  for (size_t i = 0; i < w->n && code == NK_OK; i++) {
    struct nk_tensor tensor = *in_file(w, w->tensors[i]);
    if (is_changed(w, w->tensors[i])) tensor.data = NULL;
    code = nki_safetensors_writer_add(writer, &tensor);
  }
  if (code == NK_OK) code = nki_safetensors_writer_begin(writer);
  for (size_t i = 0; i < w->n && code == NK_OK; i++) {
    if (is_changed(w, w->tensors[i])) code = write_changed(w, w->tensors[i], writer);
    if (code == NK_OK) code = nk_progress("tensors", i + 1, w->n);
  }
  return code;
}

int nki_model_write_safetensors(const struct nk_model *model,
                                const struct nk_model_write_options *options,
                                struct nk_output *output) {
  struct writing w = {.model = model, .options = options};
  struct nki_safetensors_writer *writer = NULL;
  int code = check(&w);
  if (code != NK_OK || options->check_only)
    return code == NK_OK ? NK_OK : nk_fail_in(code, "%s", nk_model_name(model));
  code = order_tensors(&w);
  if (code == NK_OK && (writer = nki_safetensors_writer_new(output)) == NULL) code = NK_EMEMORY;
  if (code == NK_OK) code = write_tensors(&w, writer);
  if (code == NK_OK)
    code = nki_safetensors_writer_finish(writer);
  else
    nki_safetensors_writer_free(writer);
  nk_free(w.tensors);
  return code == NK_OK ? NK_OK : nk_fail_in(code, "%s", nk_model_name(model));
}
