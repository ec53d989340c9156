/* Vector sets to files. Tensors are written in the order of their element size, 8, 4, 2 and 1
 * bytes, then those of other sizes, so that every tensor of a file that noken writes is aligned to
 * its elements and can be used in place when it is mapped. */
#include <noken/base.h>
#include <noken/vectors.h>
#include "base/error.h"
#include "io/vectors.h"
#include "model/dtype.h"
#include "model/safetensors.h"

/* An F32 column's values as floats. */
static float *narrow(const struct nk_column *column, size_t n) {
  float *values = nk_alloc(n, sizeof *values);
  for (size_t i = 0; values != NULL && i < n; i++) values[i] = (float)column->data.number[i];
  return values;
}

/* Adds the columns and carried tensors whose elements have `size` bytes. narrowed[c] keeps column
 * c's floats until they are written. */
static int add_others(const struct nk_vectors *set, size_t size,
                      struct nki_safetensors_writer *writer, float **narrowed) {
  int code = NK_OK;
  for (size_t c = 0; c < set->n_columns && code == NK_OK; c++) {
    const struct nk_column *column = &set->columns[c];
    if (nki_dtype_size(column->dtype) != size) continue;
    struct nk_tensor tensor = {.name = column->name,
                               .dtype = column->dtype,
                               .n_dims = 1,
                               .shape = {set->n},
                               .data = column->data.number};
    if (column->dtype == NK_F32) tensor.data = narrowed[c] = narrow(column, set->n);
    code = tensor.data != NULL ? nki_safetensors_writer_add(writer, &tensor) : NK_EMEMORY;
  }
  for (size_t i = 0; i < set->n_carried && code == NK_OK; i++) {
    const struct nk_tensor *carried = &set->carried[i];
    if (nki_dtype_size(carried->dtype) == size) code = nki_safetensors_writer_add(writer, carried);
  }
  return code;
}

static int add_tensors(const struct nk_vectors *set, struct nki_safetensors_writer *writer,
                       float **narrowed) {
  struct nk_tensor id = {
      .name = "id", .dtype = NK_I64, .n_dims = 1, .shape = {set->n}, .data = set->ids};
  struct nk_tensor offsets = {.name = "text.offsets",
                              .dtype = NK_I64,
                              .n_dims = 1,
                              .shape = {set->n + 1},
                              .data = set->text_offsets};
  struct nk_tensor vectors = {.name = "vectors",
                              .dtype = NK_F32,
                              .n_dims = 2,
                              .shape = {set->n, set->dim},
                              .data = set->values};
  struct nk_tensor bytes = {.name = "text.bytes", .dtype = NK_U8, .n_dims = 1, .data = set->text};
  int code = nki_safetensors_writer_add(writer, &id);
  if (code == NK_OK && set->text_offsets != NULL)
    code = nki_safetensors_writer_add(writer, &offsets);
  if (code == NK_OK) code = add_others(set, 8, writer, narrowed);
  if (code == NK_OK) code = nki_safetensors_writer_add(writer, &vectors);
  if (code == NK_OK) code = add_others(set, 4, writer, narrowed);
  if (code == NK_OK) code = add_others(set, 2, writer, narrowed);
  if (code == NK_OK && set->text_offsets != NULL) {
    bytes.shape[0] = (size_t)set->text_offsets[set->n];
    code = nki_safetensors_writer_add(writer, &bytes);
  }
  if (code == NK_OK) code = add_others(set, 1, writer, narrowed);
  return code == NK_OK ? add_others(set, 0, writer, narrowed) : code;
}

static int write_parts(struct nki_safetensors_writer *writer, const struct nk_vectors *set) {
  int code = NK_OK;
  for (size_t i = 0, row = 0; i < set->n_parts && code == NK_OK; row += set->parts[i++]->n) {
    const struct nk_vectors *part = set->parts[i];
    code = nk_progress("rows", row, set->n);
    if (code == NK_OK && part->n > 0)
      code = nki_safetensors_writer_bytes(writer, part->values,
                                          part->n * part->dim * sizeof *part->values);
  }
  return code == NK_OK ? nk_progress("rows", set->n, set->n) : code;
}

static int check_parts(const struct nk_vectors *set) {
  size_t n = 0;
  if (set->n_parts == 0) return NK_OK;
  for (size_t i = 0; i < set->n_parts; i++) {
    if (set->parts[i] == NULL) return nki_fail_null();
    int code = nki_vectors_need_values(set->parts[i]);
    if (code != NK_OK) return nk_fail_in(code, "part %zu", i);
    if (set->parts[i]->dim != set->dim)
      return nk_fail(NK_EUSAGE, "part %zu has %zu dimensions, the set has %zu", i,
                     set->parts[i]->dim, set->dim);
    if (!nk_size_add(n, set->parts[i]->n, &n)) return nk_fail(NK_EMEMORY, "too many rows");
  }
  return n == set->n ? NK_OK
                     : nk_fail(NK_EUSAGE, "the parts have %zu rows, the set has %zu", n, set->n);
}

int nk_vectors_write(const struct nk_vectors *set, struct nk_output *output) {
  if (set == NULL || output == NULL) return nki_fail_null();
  struct nki_safetensors_writer *writer = nki_safetensors_writer_new(output);
  float **narrowed = nk_calloc(set->n_columns, sizeof *narrowed);
  const struct nk_vectors_private *hidden = set->hidden;
  const struct nki_pairs *metadata = &hidden->metadata;
  int code = writer != NULL && narrowed != NULL ? check_parts(set) : NK_EMEMORY;
  for (size_t i = 0; i < metadata->n && code == NK_OK; i++) {
    code = nki_safetensors_writer_metadata(writer, metadata->item[i].key, metadata->item[i].value);
  }
  if (code == NK_OK) code = add_tensors(set, writer, narrowed);
  if (code == NK_OK) code = nki_safetensors_writer_begin(writer);
  if (code == NK_OK && set->values == NULL && hidden->write_rows != NULL && set->n > 0)
    code = hidden->write_rows(writer, hidden->source_of_rows);
  if (code == NK_OK && set->n_parts > 0) code = write_parts(writer, set);
  if (code == NK_OK) {
    code = nki_safetensors_writer_finish(writer);
  } else {
    nki_safetensors_writer_free(writer);
  }
  for (size_t c = 0; narrowed != NULL && c < set->n_columns; c++) nk_free(narrowed[c]);
  nk_free(narrowed);
  return code;
}
