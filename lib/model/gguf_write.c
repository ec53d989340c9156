/* A model as GGUF version 3:
 *
 *   "GGUF" | u32 version | u64 tensors | u64 values
 *   values:  key | u32 type | value          a string is a u64 length and its bytes
 *   tensors: name | u32 dims | u64 dim, innermost first .. | u32 type | u64 offset
 *   padding to 32 | data, each tensor padded to 32
 *
 * What a checkpoint's tensors become is decided in gguf_tensors.c, its values in gguf_settings.c. A
 * model that is a GGUF is written as it is, in another type. */
#include "model/gguf_write.h"

#include <math.h>
#include <noken/base.h>
#include <noken/model.h>
#include <string.h>

#include "base/error.h"
#include "model/dtype.h"
#include "model/model.h"
#include "model/model_config.h"
#include "model/quantized.h"
#include "model/rows.h"

enum { ALIGNMENT = 32 };

/* ---- Data ---- */

static uint64_t padded(uint64_t n) {
  return (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static size_t row_bytes(const struct nki_gguf_entry *entry) {
  struct nki_block_size block = nki_block_size(entry->dtype);
  return block.elements > 0 ? entry->columns / block.elements * block.bytes
                            : entry->columns * nki_dtype_size(entry->dtype);
}

static void put_entries(struct nki_gguf_writing *w, struct nk_buffer *out) {
  uint64_t offset = 0;
  for (size_t i = 0; i < w->n_entries; i++) {
    struct nki_gguf_entry *entry = &w->entries[i];
    nki_gguf_put_string(out, entry->name, strlen(entry->name));
    nki_gguf_put_u32(out, (uint32_t)entry->n_dims);
    for (size_t d = entry->n_dims; d-- > 0;) nki_gguf_put_u64(out, entry->shape[d]);
    nki_gguf_put_u32(out, nki_gguf_type_number(entry->dtype));
    nki_gguf_put_u64(out, entry->offset = offset);
    offset = padded(offset + (uint64_t)entry->n_slices * entry->rows * row_bytes(entry));
  }
}

/* The row of a fused q, k, v that is written at `row`: was [groups, (q, k, v), rows of each]. */
static size_t source_row_in_turn(const struct nki_gguf_writing *w, size_t n, size_t row) {
  size_t size = n / (w->n_heads + 2 * w->n_kv_heads), groups = w->qkv_groups;
  size_t n_q = w->n_heads * size, n_k = w->n_kv_heads * size;
  size_t q = n_q / groups, k = n_k / groups; /* of a group */
  if (row < n_q) return row / q * (q + 2 * k) + row % q;
  size_t part = (row - n_q) / n_k, at = (row - n_q) % n_k;
  return at / k * (q + 2 * k) + q + part * k + at % k;
}

/* The row (of a vector: the element) of the checkpoint that is written at `row`. */
static size_t source_row(const struct nki_gguf_writing *w, const struct nki_gguf_entry *entry,
                         size_t row) {
  size_t n = entry->tensor->shape[0];
  if (entry->change == NKI_IN_TURN) return source_row_in_turn(w, n, row);
  size_t size = n / (entry->change == NKI_PAIRED_K ? w->n_kv_heads : w->n_heads);
  size_t half = size / 2, at = row % size; /* 2 j + s was s half + j */
  return row - at + at % 2 * half + at / 2;
}

/* row [columns] of a slice as it is written; source: the checkpoint's slice, or its rows from r on
 * where they stay in their order. */
static void take_row(const struct nki_gguf_writing *w, const struct nki_gguf_entry *entry,
                     const float *source, size_t r, float *row) {
  size_t columns = entry->columns;
  if (entry->change == NKI_STRIDED) {
    for (size_t c = 0; c < columns; c++)
      row[c] = source[c * entry->stride + r * entry->step + entry->start];
  } else if (entry->change != NKI_AS_IS && entry->n_dims == 1) {
    for (size_t c = 0; c < columns; c++) row[c] = source[source_row(w, entry, c)];
  } else {
    size_t from = entry->change == NKI_AS_IS ? r : source_row(w, entry, r);
    memcpy(row, source + from * columns, columns * sizeof *row);
  }
  for (size_t c = 0; c < columns && entry->plus_one; c++) row[c] += 1;
}

/* A row of MXFP4: gpt-oss has two values a byte in their order, and the scales apart; ggml's blocks
 * of 32 begin with the scale, then come values 0 to 15 in low halves, 16 to 31 in high ones. */
static void pack_row(const struct nki_gguf_entry *entry, size_t slice, size_t r,
                     unsigned char *out) {
  size_t n = entry->columns / 32, from = slice * entry->stride + r * entry->step + entry->start;
  const unsigned char *blocks = (const unsigned char *)entry->tensor->data + from * n * 16;
  const unsigned char *scales = (const unsigned char *)entry->scales->data + from * n;
  for (size_t b = 0; b < n; b++) {
    const unsigned char *in = blocks + 16 * b;
    out[17 * b] = scales[b];
    for (size_t i = 0; i < 16; i++) {
      int low = in[i / 2] >> 4 * (i % 2) & 15, high = in[8 + i / 2] >> 4 * (i % 2) & 15;
      out[17 * b + 1 + i] = (unsigned char)(low | high << 4);
    }
  }
}

/* 32 values as ggml rounds them: the largest becomes 127 or -127, halves are rounded away from
 * zero, the scale is then a half float. */
static void round_q8_0(const float *x, unsigned char *out) {
  float largest = 0;
  for (size_t i = 0; i < 32; i++) largest = fmaxf(largest, fabsf(x[i]));
  float scale = largest / 127, inverse = 1 / scale;
  if (!isfinite(inverse)) inverse = 0; /* the half is 0 then */
  uint16_t half = nki_f16_of_float(scale);
  memcpy(out, &half, sizeof half);
  for (size_t i = 0; i < 32; i++) out[2 + i] = (unsigned char)(int8_t)roundf(x[i] * inverse);
}

/* Rounds to infinity in half precision: half a unit beyond the largest, 65504. */
#define MAX_F16 65520.0f

static const char *source_name(const struct nki_gguf_entry *entry) {
  return entry->tensor != NULL ? entry->tensor->name : entry->each[0]->name;
}

/* What a row holds that its type cannot: a finite value beyond F16's range, in Q8_0 a scale beyond
 * it or a value that is not finite. */
static int check_row(const struct nki_gguf_entry *entry, const float *row) {
  bool is_quantized = entry->dtype == NK_Q8_0;
  float most = is_quantized ? MAX_F16 * 127 : MAX_F16;
  if (entry->dtype != NK_F16 && !is_quantized) return NK_OK;
  for (size_t c = 0; c < entry->columns; c++) {
    if (isfinite(row[c]) ? fabsf(row[c]) < most : !is_quantized) continue;
    return nk_fail(NK_EDATA, "tensor '%s' holds %.9g, beyond the range of %s", source_name(entry),
                   (double)row[c], nk_dtype_names[entry->dtype]);
  }
  return NK_OK;
}

static void round_row(const struct nki_gguf_entry *entry, const float *row, unsigned char *out) {
  for (size_t c = 0; c < entry->columns; c++) {
    if (entry->dtype == NK_F32) {
      memcpy(out + 4 * c, row + c, 4);
    } else if (entry->dtype == NK_Q8_0) {
      if (c % 32 == 0) round_q8_0(row + c, out + c / 32 * 34);
    } else {
      uint16_t narrow =
          entry->dtype == NK_F16 ? nki_f16_of_float(row[c]) : nki_bf16_of_float(row[c]);
      memcpy(out + 2 * c, &narrow, 2);
    }
  }
}

/* Floats of a tensor that are widened at once, where its rows stay in their order. */
enum { AT_ONCE = 1 << 22 };

/* What one slice's rows are made in. */
struct scratch {
  float *source, *row;
  unsigned char *bytes;
  size_t some; /* rows that are widened at once */
};

static int write_slice(const struct nki_gguf_writing *w, const struct nki_gguf_entry *entry,
                       size_t slice, const struct scratch *s, struct nk_output *output) {
  size_t columns = entry->columns, rows = entry->rows;
  const struct nk_tensor *tensor = entry->each != NULL ? entry->each[slice] : entry->tensor;
  size_t n = entry->each != NULL ? tensor->n_elements : tensor->n_elements / entry->n_slices;
  size_t at = entry->each != NULL ? 0 : slice * n;
  bool packed = entry->change == NKI_PACKED_MXFP4, whole = s->some == rows;
  const float *source = NULL;
  int code = NK_OK;
  for (size_t r = 0; r < rows && code == NK_OK; r++) {
    if (packed) {
      pack_row(entry, slice, r, s->bytes);
    } else {
      size_t left = rows - r < s->some ? rows - r : s->some;
      if (r % s->some == 0)
        source = nki_tensor_floats(tensor, at + r * columns, whole ? n : left * columns, s->source);
      take_row(w, entry, source, r % s->some, s->row);
      code = check_row(entry, s->row);
      if (code == NK_OK) round_row(entry, s->row, s->bytes);
    }
    if (code == NK_OK) code = nk_output_write(output, s->bytes, row_bytes(entry));
  }
  return code;
}

static int write_tensor(const struct nki_gguf_writing *w, const struct nki_gguf_entry *entry,
                        struct nk_output *output) {
  static const char zeros[ALIGNMENT];
  const struct nk_tensor *tensor = entry->each != NULL ? entry->each[0] : entry->tensor;
  size_t columns = entry->columns, all = tensor->n_elements;
  if (entry->each == NULL) all /= entry->n_slices;
  struct scratch s = {.some = entry->rows};
  if (entry->change == NKI_AS_IS && columns > 0 && s.some > AT_ONCE / columns + 1) {
    s.some = AT_ONCE / columns + 1;
    all = s.some * columns;
  }
  s.source = nk_alloc(all, sizeof *s.source);
  s.row = nk_alloc(columns, sizeof *s.row);
  s.bytes = nk_alloc(columns, sizeof *s.row);
  int code = s.source == NULL || s.row == NULL || s.bytes == NULL ? NK_EMEMORY : NK_OK;
  for (size_t slice = 0; slice < entry->n_slices && code == NK_OK; slice++)
    code = write_slice(w, entry, slice, &s, output);
  uint64_t written = (uint64_t)entry->n_slices * entry->rows * row_bytes(entry);
  if (code == NK_OK) code = nk_output_write(output, zeros, (size_t)(padded(written) - written));
  nk_free(s.source);
  nk_free(s.row);
  nk_free(s.bytes);
  return code;
}

/* ---- The whole ---- */

static int prepare(struct nki_gguf_writing *w) {
  const char *type = nki_model_type(w->model);
  if (w->model->own != NULL) {
    nki_gguf_copy_values(w);
    return nki_gguf_collect(w);
  }
  w->architecture = nki_model_architecture(w->model);
  if (w->architecture == NULL || w->architecture->gguf == NULL || w->architecture->block == NULL)
    return nk_fail(NK_EUNSUPPORTED, "architecture '%s' is not written as GGUF",
                   type == NULL ? "unknown" : type);
  int code = nki_gguf_check(w);
  if (code == NK_OK) code = nki_gguf_collect(w);
  return code == NK_OK ? nki_gguf_describe(w, w->entries[0].tensor->shape[0]) : code;
}

static int check_dtype(enum nk_dtype dtype) {
  if (dtype == NK_F32 || dtype == NK_F16 || dtype == NK_BF16 || dtype == NK_Q8_0) return NK_OK;
  return nk_fail(NK_EUSAGE, "a GGUF is written as F32, F16, BF16 or Q8_0");
}

int nki_gguf_write(const struct nk_model *model, enum nk_dtype dtype,
                   int (*put_tokenizer)(struct nki_gguf_writing *w, size_t n_tokens),
                   struct nk_output *output) {
  struct nki_gguf_writing w = {.model = model, .dtype = dtype, .put_tokenizer = put_tokenizer};
  struct nk_buffer head = {0};
  if (model == NULL || output == NULL) return nki_fail_null();
  int code = check_dtype(dtype);
  if (code == NK_OK) code = prepare(&w);
  if (code == NK_OK) {
    nk_buffer_append(&head, "GGUF", 4);
    nki_gguf_put_u32(&head, 3);
    nki_gguf_put_u64(&head, w.n_entries);
    nki_gguf_put_u64(&head, w.n_values);
    nk_buffer_append(&head, w.values.data, w.values.size);
    put_entries(&w, &head);
    while (head.size % ALIGNMENT != 0 && !head.failed) nk_buffer_byte(&head, 0);
    if (head.failed || w.values.failed) code = nk_fail(NK_EMEMORY, "no memory for the header");
  }
  if (code == NK_OK) code = nk_output_write(output, head.data, head.size);
  for (size_t i = 0; i < w.n_entries && code == NK_OK; i++)
    code = write_tensor(&w, &w.entries[i], output);
  if (code != NK_OK) nk_fail_in(code, "%s", nk_model_name(model));
  nki_gguf_free_entries(&w);
  nk_buffer_free(&w.values);
  nk_buffer_free(&head);
  return code;
}
