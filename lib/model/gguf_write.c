/* A model as GGUF version 3:
 *
 *   "GGUF" | u32 version | u64 tensors | u64 values
 *   values:  key | u32 type | value          a string is a u64 length and its bytes
 *   tensors: name | u32 dims | u64 dim, innermost first .. | u32 type | u64 offset
 *   padding to 32 | data, each tensor padded to 32
 *
 * Names and layouts of a checkpoint's tensors are those of the table of architectures, changed as
 * llama.cpp's converter changes them: matrices of the form [in, out] are transposed, rows of q and
 * k are reordered where llama.cpp rotates pairs of components and the checkpoint rotates halves, q,
 * k and v that alternate by heads are put one after the other, and the 1 that Gemma's norms add is
 * added. A model that is a GGUF is written as it is, in another type. */
#include "model/gguf_write.h"

#include <math.h>
#include <noken/base.h>
#include <noken/model.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "model/dtype.h"
#include "model/model.h"
#include "model/model_config.h"
#include "model/quantized.h"
#include "model/rows.h"

enum { ALIGNMENT = 32 };

/* How a tensor's rows (a vector's elements) are laid out anew. */
enum change { AS_IS, TURNED, PAIRED_Q, PAIRED_K, IN_TURN };

struct entry {
  char name[NKI_MAX_NAME];
  const struct nk_tensor *tensor;
  enum change change;
  bool plus_one;
  enum nk_dtype dtype; /* as written */
  size_t rows, columns;
  uint64_t offset;
};

struct writing {
  struct nki_gguf_writing head;
  char prefix[NKI_MAX_PREFIX]; /* of the checkpoint's names */
  struct entry *entries;
  size_t n_entries, capacity;
  struct nk_tensor factors[2]; /* of rotary frequencies; data from nk_alloc */
};

/* ---- Tensors ---- */

/* Matrices get the type that is asked for, or F16 where their rows are not whole blocks of it. As
 * llama.cpp's converter does, vectors, positions and the routers of experts stay F32. */
static enum nk_dtype dtype_of(const struct writing *w, const char *name, size_t n_dims,
                              size_t columns) {
  bool is_exact = strcmp(name, "position_embd.weight") == 0 || strstr(name, "ffn_gate_inp") != NULL;
  struct nki_block_size block = nki_block_size(w->head.dtype);
  if (n_dims < 2 || is_exact) return NK_F32;
  return block.elements > 0 && columns % block.elements != 0 ? NK_F16 : w->head.dtype;
}

static int add_tensor(struct writing *w, const char *name, const struct nk_tensor *tensor,
                      enum change change) {
  if (w->n_entries == w->capacity) {
    size_t capacity = w->capacity * 2 + 64;
    struct entry *more = nk_realloc(w->entries, w->n_entries, capacity, sizeof *more);
    if (more == NULL) return NK_EMEMORY;
    w->entries = more;
    w->capacity = capacity;
  }
  if (tensor->n_dims < 1 || (tensor->n_dims > 2 && w->head.architecture != NULL))
    return nk_fail(NK_EDATA, "tensor '%s' is neither a vector nor a matrix", tensor->name);
  int code = nki_tensor_check_widens(tensor);
  if (code != NK_OK) return code;
  struct entry *entry = &w->entries[w->n_entries];
  *entry = (struct entry){.tensor = tensor, .change = change};
  if ((size_t)snprintf(entry->name, sizeof entry->name, "%s", name) >= sizeof entry->name)
    return nk_fail(NK_EDATA, "the name of tensor '%.200s' is too long", tensor->name);
  entry->columns = tensor->shape[tensor->n_dims - 1];
  if (change == TURNED) entry->columns = tensor->shape[0];
  entry->rows = entry->columns > 0 ? tensor->n_elements / entry->columns : 0;
  entry->dtype = dtype_of(w, name, tensor->n_dims, entry->columns);
  w->n_entries++;
  return NK_OK;
}

static enum change change_of(const struct writing *w, enum nki_part part, size_t n_dims) {
  const struct nki_architecture *architecture = w->head.architecture;
  if (part == NKI_QKV && architecture->qkv == NKI_QKV_BY_HEAD) return IN_TURN;
  if (architecture->in_out && n_dims == 2) return TURNED;
  if (architecture->gguf_pairs && part == NKI_Q) return PAIRED_Q;
  if (architecture->gguf_pairs && part == NKI_K) return PAIRED_K;
  return AS_IS;
}

/* A part, or with suffix "bias" its bias. */
static int add_part(struct writing *w, size_t layer, enum nki_part part, const char *suffix) {
  const struct nki_architecture *architecture = w->head.architecture;
  const char *to = nki_part_gguf_name(part);
  char from[NKI_MAX_NAME], name[NKI_MAX_NAME];
  int code = nki_part_name(architecture, w->prefix, layer, part, suffix, from);
  if (code != NK_OK) return code;
  const struct nk_tensor *tensor = nk_model_find(w->head.model, from);
  if (tensor == NULL) return nk_error_code();
  if (to == NULL) return nk_fail(NK_EUNSUPPORTED, "tensor '%s' has no name in GGUF", from);
  snprintf(name, sizeof name, "blk.%zu.%s.%s", layer, to, suffix);
  code = add_tensor(w, name, tensor, change_of(w, part, tensor->n_dims));
  if (code == NK_OK && tensor->n_dims == 1 && architecture->norm == NKI_RMS_NORM_PLUS_ONE)
    w->entries[w->n_entries - 1].plus_one = strstr(to, "norm") != NULL;
  return code;
}

static int add_block(struct writing *w, size_t layer) {
  const char *key = w->head.architecture->qk_norm_key; /* llama.cpp's families have no such norms */
  int code = NK_OK;
  if (key != NULL && nki_flag_value(w->head.model, (struct nki_flag){key, false}))
    return nk_fail(NK_EUNSUPPORTED, "config.json: %s = true is not written as GGUF", key);
  for (int p = 0; p < NKI_N_PARTS && code == NK_OK; p++) {
    enum nki_part part = (enum nki_part)p;
    if (w->head.architecture->names[part] == NULL) continue;
    if (key != NULL && (part == NKI_Q_NORM || part == NKI_K_NORM)) continue;
    code = add_part(w, layer, part, "weight");
    if (code == NK_OK && nki_part_has_bias(w->head.architecture, w->head.model, part))
      code = add_part(w, layer, part, "bias");
  }
  return code;
}

static int add_final_norm(struct writing *w) {
  const struct nki_architecture *architecture = w->head.architecture;
  int code = NK_OK;
  for (int i = 0; i < 1 + (architecture->norm == NKI_LAYER_NORM) && code == NK_OK; i++) {
    const char *suffix = i == 0 ? "weight" : "bias";
    char from[NKI_MAX_NAME], name[NKI_MAX_NAME];
    snprintf(from, sizeof from, "%s%s.%s", w->prefix, architecture->final_norm, suffix);
    snprintf(name, sizeof name, "output_norm.%s", suffix);
    const struct nk_tensor *tensor = nk_model_find(w->head.model, from);
    code = tensor != NULL ? add_tensor(w, name, tensor, AS_IS) : nk_error_code();
  }
  if (code == NK_OK && architecture->norm == NKI_RMS_NORM_PLUS_ONE)
    w->entries[w->n_entries - 1].plus_one = true;
  return code;
}

static int add_matrix(struct writing *w, enum nk_matrix which, const char *name) {
  const struct nk_tensor *tensor = nk_model_matrix(w->head.model, which, NULL);
  return tensor != NULL ? add_tensor(w, name, tensor, AS_IS) : nk_error_code();
}

/* The output matrix and its bias, where the family has one. */
static int add_head(struct writing *w) {
  const struct nki_architecture *architecture = w->head.architecture;
  char name[NKI_MAX_NAME];
  bool tied;
  if (nk_model_matrix(w->head.model, NK_MATRIX_OUTPUT, &tied) == NULL) return nk_error_code();
  int code = tied ? NK_OK : add_matrix(w, NK_MATRIX_OUTPUT, "output.weight");
  if (code != NK_OK || !architecture->head_bias) return code;
  snprintf(name, sizeof name, "%s.bias", architecture->head);
  const struct nk_tensor *bias = nki_model_named(w->head.model, name, 1);
  return bias != NULL ? add_tensor(w, "output.bias", bias, AS_IS)
                      : nk_fail(NK_ENOTFOUND, "no tensor '%s'", name);
}

static int add_rope_factors(struct writing *w) {
  for (int which = 0; which < 2; which++) {
    const char *name;
    float *factors = NULL;
    size_t n = 0;
    int code = nki_gguf_rope_factors(&w->head, which, &name, &factors, &n);
    w->factors[which] = (struct nk_tensor){.name = name,
                                           .dtype = NK_F32,
                                           .n_dims = 1,
                                           .shape = {n},
                                           .n_elements = n,
                                           .n_bytes = n * sizeof *factors,
                                           .data = factors};
    if (code == NK_OK && name != NULL) code = add_tensor(w, name, &w->factors[which], AS_IS);
    if (code != NK_OK) return code;
  }
  return NK_OK;
}

static int add_tensors(struct writing *w) {
  const struct nki_architecture *architecture = w->head.architecture;
  if (!nki_architecture_prefix(architecture, w->head.model, w->prefix))
    return nk_fail(NK_EDATA, "no tensor '%s%s.weight'", architecture->prefix,
                   architecture->embedding);
  int code = add_matrix(w, NK_MATRIX_INPUT, "token_embd.weight");
  if (code == NK_OK && architecture->positions != NULL)
    code = add_matrix(w, NK_MATRIX_POSITION, "position_embd.weight");
  if (code == NK_OK) code = add_final_norm(w);
  if (code == NK_OK) code = add_rope_factors(w);
  for (int64_t i = 0; i < w->head.n_layers && code == NK_OK; i++) code = add_block(w, (size_t)i);
  return code == NK_OK ? add_head(w) : code;
}

static int copy_tensors(struct writing *w) {
  int code = NK_OK;
  for (size_t i = 0; i < nk_model_n_tensors(w->head.model) && code == NK_OK; i++) {
    const struct nk_tensor *tensor = nk_model_tensor(w->head.model, i);
    code = add_tensor(w, tensor->name, tensor, AS_IS);
  }
  return code;
}

/* The rows of q and k are whole heads. */
static int check_heads(const struct writing *w) {
  for (size_t i = 0; i < w->n_entries; i++) {
    const struct entry *e = &w->entries[i];
    size_t heads = (size_t)(e->change == PAIRED_K ? w->head.n_kv_heads : w->head.n_heads);
    size_t parts = e->change == IN_TURN ? 3 : 2, n = e->tensor->shape[0];
    if (e->change >= PAIRED_Q && n % (parts * heads) != 0)
      return nk_fail(NK_EDATA, "tensor '%s' is not %zu heads", e->tensor->name, heads);
  }
  return NK_OK;
}

/* ---- Data ---- */

static uint64_t padded(uint64_t n) {
  return (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static size_t row_bytes(const struct entry *entry) {
  struct nki_block_size block = nki_block_size(entry->dtype);
  return block.elements > 0 ? entry->columns / block.elements * block.bytes
                            : entry->columns * nki_dtype_size(entry->dtype);
}

static void put_entries(struct writing *w, struct nk_buffer *out) {
  uint64_t offset = 0;
  for (size_t i = 0; i < w->n_entries; i++) {
    struct entry *entry = &w->entries[i];
    const struct nk_tensor *t = entry->tensor;
    nki_gguf_put_string(out, entry->name, strlen(entry->name));
    nki_gguf_put_u32(out, (uint32_t)t->n_dims);
    for (size_t d = 0; d < t->n_dims; d++)
      nki_gguf_put_u64(out, t->shape[entry->change == TURNED ? d : t->n_dims - 1 - d]);
    nki_gguf_put_u32(out, nki_gguf_type_number(entry->dtype));
    nki_gguf_put_u64(out, entry->offset = offset);
    offset = padded(offset + (uint64_t)entry->rows * row_bytes(entry));
  }
}

/* The row (of a vector: the element) of the checkpoint that is written at `row`. */
static size_t source_row(const struct writing *w, const struct entry *entry, size_t row) {
  size_t n = entry->tensor->shape[0], heads = (size_t)w->head.n_heads;
  if (entry->change == IN_TURN) { /* was [heads, (q, k, v), size], is [(q, k, v), heads, size] */
    size_t size = n / heads / 3, at = row % size, head = row / size % heads,
           part = row / size / heads;
    return (head * 3 + part) * size + at;
  }
  if (entry->change == PAIRED_K) heads = (size_t)w->head.n_kv_heads;
  size_t size = n / heads, half = size / 2, at = row % size; /* 2 j + s was s half + j */
  return row - at + at % 2 * half + at / 2;
}

/* row [columns] of the tensor as it is written; source: all of the checkpoint's. */
static void take_row(const struct writing *w, const struct entry *entry, const float *source,
                     size_t r, float *row) {
  size_t columns = entry->columns;
  bool is_vector = entry->tensor->n_dims == 1;
  if (entry->change == TURNED) {
    for (size_t c = 0; c < columns; c++) row[c] = source[c * entry->rows + r];
  } else if (entry->change != AS_IS && is_vector) {
    for (size_t c = 0; c < columns; c++) row[c] = source[source_row(w, entry, c)];
  } else {
    size_t from = entry->change == AS_IS ? r : source_row(w, entry, r);
    memcpy(row, source + from * columns, columns * sizeof *row);
  }
  for (size_t c = 0; c < columns && entry->plus_one; c++) row[c] += 1;
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

/* What a row holds that its type cannot: a finite value beyond F16's range, in Q8_0 a scale beyond
 * it or a value that is not finite. */
static int check_row(const struct entry *entry, const float *row) {
  bool is_quantized = entry->dtype == NK_Q8_0;
  float most = is_quantized ? MAX_F16 * 127 : MAX_F16;
  if (entry->dtype != NK_F16 && !is_quantized) return NK_OK;
  for (size_t c = 0; c < entry->columns; c++) {
    if (isfinite(row[c]) ? fabsf(row[c]) < most : !is_quantized) continue;
    return nk_fail(NK_EDATA, "tensor '%s' holds %.9g, beyond the range of %s", entry->tensor->name,
                   (double)row[c], nk_dtype_names[entry->dtype]);
  }
  return NK_OK;
}

static void round_row(const struct entry *entry, const float *row, unsigned char *out) {
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

static int write_tensor(const struct writing *w, const struct entry *entry,
                        struct nk_output *output) {
  static const char zeros[ALIGNMENT];
  size_t columns = entry->columns, rows = entry->rows, some = rows, size = row_bytes(entry);
  if (entry->change == AS_IS && columns > 0 && rows > AT_ONCE / columns + 1)
    some = AT_ONCE / columns + 1;
  float *scratch = nk_alloc(some, columns * sizeof *scratch), *row = nk_alloc(columns, sizeof *row);
  unsigned char *bytes = nk_alloc(columns, sizeof *row);
  int code = scratch == NULL || row == NULL || bytes == NULL ? NK_EMEMORY : NK_OK;
  for (size_t first = 0; first < rows && code == NK_OK; first += some) {
    size_t n = rows - first < some ? rows - first : some;
    const float *source = nki_tensor_floats(entry->tensor, first * columns, n * columns, scratch);
    for (size_t r = 0; r < n && code == NK_OK; r++) {
      take_row(w, entry, source, r, row);
      code = check_row(entry, row);
      if (code != NK_OK) break;
      round_row(entry, row, bytes);
      code = nk_output_write(output, bytes, size);
    }
  }
  uint64_t all = (uint64_t)rows * size;
  if (code == NK_OK) code = nk_output_write(output, zeros, (size_t)(padded(all) - all));
  nk_free(scratch);
  nk_free(row);
  nk_free(bytes);
  return code;
}

/* ---- The whole ---- */

static int prepare(struct writing *w) {
  struct nki_gguf_writing *head = &w->head;
  const char *type = nki_model_type(head->model);
  if (head->model->own != NULL) {
    nki_gguf_copy_values(head);
    return copy_tensors(w);
  }
  head->architecture = nki_model_architecture(head->model);
  if (head->architecture == NULL || !head->architecture->gguf_written)
    return nk_fail(NK_EUNSUPPORTED, "architecture '%s' is not written as GGUF",
                   type == NULL ? "unknown" : type);
  nki_setting_integer(head->model, NKI_SETTING_N_LAYERS, &head->n_layers);
  nki_setting_integer(head->model, NKI_SETTING_N_HEADS, &head->n_heads);
  head->n_kv_heads = head->n_heads;
  nki_setting_integer(head->model, NKI_SETTING_N_KV_HEADS, &head->n_kv_heads);
  if (head->n_heads < 1 || head->n_kv_heads < 1 || head->n_layers < 1 || head->n_layers > 1 << 16)
    return nk_fail(NK_EDATA,
                   "config.json: numbers of heads and blocks are missing or out of range");
  int code = add_tensors(w);
  if (code == NK_OK) code = nki_gguf_describe(head, w->entries[0].tensor->shape[0]);
  return code == NK_OK ? check_heads(w) : code;
}

static int check_dtype(enum nk_dtype dtype) {
  if (dtype == NK_F32 || dtype == NK_F16 || dtype == NK_BF16 || dtype == NK_Q8_0) return NK_OK;
  return nk_fail(NK_EUSAGE, "a GGUF is written as F32, F16, BF16 or Q8_0");
}

int nki_gguf_write(const struct nk_model *model, enum nk_dtype dtype,
                   int (*put_tokenizer)(struct nki_gguf_writing *w, size_t n_tokens),
                   struct nk_output *output) {
  struct writing w = {.head = {.model = model, .dtype = dtype, .put_tokenizer = put_tokenizer}};
  struct nk_buffer head = {0};
  if (model == NULL || output == NULL) return nki_fail_null();
  int code = check_dtype(dtype);
  if (code == NK_OK) code = prepare(&w);
  if (code == NK_OK) {
    nk_buffer_append(&head, "GGUF", 4);
    nki_gguf_put_u32(&head, 3);
    nki_gguf_put_u64(&head, w.n_entries);
    nki_gguf_put_u64(&head, w.head.n_values);
    nk_buffer_append(&head, w.head.values.data, w.head.values.size);
    put_entries(&w, &head);
    while (head.size % ALIGNMENT != 0 && !head.failed) nk_buffer_byte(&head, 0);
    if (head.failed || w.head.values.failed) code = nk_fail(NK_EMEMORY, "no memory for the header");
  }
  if (code == NK_OK) code = nk_output_write(output, head.data, head.size);
  for (size_t i = 0; i < w.n_entries && code == NK_OK; i++)
    code = write_tensor(&w, &w.entries[i], output);
  if (code != NK_OK) nk_fail_in(code, "%s", nk_model_name(model));
  for (int i = 0; i < 2; i++) nk_free((void *)w.factors[i].data);
  nk_buffer_free(&w.head.values);
  nk_buffer_free(&head);
  nk_free(w.entries);
  return code;
}
