/* Vector sets in other programs' formats. Rows of text are formatted by all threads, a batch at
 * a time, and written in order. */
#include <inttypes.h>
#include <noken/base.h>
#include <noken/vectors.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "io/npy.h"
#include "io/vectors.h"

/* ---- Values only ---- */

static int write_f32(const struct nk_vectors *set, struct nk_output *output) {
  return nk_output_write(output, set->values, set->n * set->dim * sizeof *set->values);
}

static int write_npy(const struct nk_vectors *set, struct nk_output *output) {
  const size_t shape[2] = {set->n, set->dim};
  int code = nki_npy_write_header(output, NK_F32, 2, shape);
  return code == NK_OK ? write_f32(set, output) : code;
}

/* ---- Rows of text ---- */

typedef void row_format(const struct nk_vectors *set, size_t row, struct nk_buffer *line);

/* One batch: buffers[t] gets the lines of rows [start + t * count, ...). */
static void format_batch(const struct nk_vectors *set, row_format *format, size_t start,
                         size_t count, struct nk_buffer *buffers, size_t n_buffers) {
#pragma omp parallel for schedule(dynamic, 1)
  for (size_t t = 0; t < n_buffers; t++) {
    nk_buffer_clear(&buffers[t]);
    for (size_t row = start + t * count; row < start + (t + 1) * count && row < set->n; row++) {
      format(set, row, &buffers[t]);
    }
  }
}

static int write_lines(const struct nk_vectors *set, row_format *format, struct nk_output *output) {
  enum { VALUES = 1 << 15 }; /* of one buffer: some 400 KiB of text */
  size_t count = set->dim < VALUES ? VALUES / set->dim : 1, n_buffers = 4 * nk_threads();
  struct nk_buffer *buffers = nk_calloc(n_buffers, sizeof *buffers);
  int code = buffers != NULL ? NK_OK : NK_EMEMORY;
  for (size_t start = 0; start < set->n && code == NK_OK; start += n_buffers * count) {
    format_batch(set, format, start, count, buffers, n_buffers);
    for (size_t t = 0; t < n_buffers && code == NK_OK; t++) {
      code = buffers[t].failed ? nk_fail(NK_EMEMORY, "out of memory for lines of text")
                               : nk_output_write(output, buffers[t].data, buffers[t].size);
    }
    if (code == NK_OK) code = nk_progress("rows", start, set->n);
  }
  for (size_t t = 0; buffers != NULL && t < n_buffers; t++) nk_buffer_free(&buffers[t]);
  nk_free(buffers);
  return code == NK_OK ? nk_progress("rows", set->n, set->n) : code;
}

/* ---- word2vec ---- */

/* Whether bytes[0..n), one character, has Unicode's property White_Space and is not a control,
 * which nk_escape escapes. */
static bool is_space(const char *bytes, size_t n) {
  static const char *const spaces[] = {" ",
                                       "\xC2\xA0",
                                       "\xE1\x9A\x80",
                                       "\xE2\x80\x80",
                                       "\xE2\x80\x81",
                                       "\xE2\x80\x82",
                                       "\xE2\x80\x83",
                                       "\xE2\x80\x84",
                                       "\xE2\x80\x85",
                                       "\xE2\x80\x86",
                                       "\xE2\x80\x87",
                                       "\xE2\x80\x88",
                                       "\xE2\x80\x89",
                                       "\xE2\x80\x8A",
                                       "\xE2\x80\xA8",
                                       "\xE2\x80\xA9",
                                       "\xE2\x80\xAF",
                                       "\xE2\x81\x9F",
                                       "\xE3\x80\x80"};
  for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++) {
    if (strlen(spaces[i]) == n && memcmp(bytes, spaces[i], n) == 0) return true;
  }
  return false;
}

static void append_word(const struct nk_vectors *set, size_t row, struct nk_buffer *line) {
  size_t n;
  const char *text = nk_vectors_text(set, row, &n);
  if (n == 0) {
    if (set->text_offsets != NULL) nk_buffer_text(line, "id:");
    nk_buffer_integer(line, set->ids[row]);
    return;
  }
  for (size_t i = 0, length; i < n; i += length) {
    length = nk_utf8_length(text + i, n - i);
    if (length == 0) length = 1;
    if (!is_space(text + i, length)) {
      nk_escape(line, text + i, length);
      continue;
    }
    for (size_t j = 0; j < length; j++) {
      nk_buffer_printf(line, "\\x%02X", (unsigned)(unsigned char)text[i + j]);
    }
  }
}

static void word2vec_line(const struct nk_vectors *set, size_t row, struct nk_buffer *line) {
  const float *values = set->values + row * set->dim;
  append_word(set, row, line);
  for (size_t i = 0; i < set->dim; i++) {
    nk_buffer_byte(line, ' ');
    nk_buffer_number(line, (double)values[i]);
  }
  nk_buffer_byte(line, '\n');
}

static int write_word2vec(const struct nk_vectors *set, struct nk_output *output) {
  char head[64];
  int n = snprintf(head, sizeof head, "%zu %zu\n", set->n, set->dim);
  int code = nk_output_write(output, head, (size_t)n);
  return code == NK_OK ? write_lines(set, word2vec_line, output) : code;
}

/* ---- TensorBoard's projector ---- */

static void projector_line(const struct nk_vectors *set, size_t row, struct nk_buffer *line) {
  const float *values = set->values + row * set->dim;
  for (size_t i = 0; i < set->dim; i++) {
    nk_buffer_number(line, (double)values[i]);
    nk_buffer_byte(line, i + 1 < set->dim ? '\t' : '\n');
  }
}

static int write_projector_vectors(const struct nk_vectors *set, struct nk_output *output) {
  return write_lines(set, projector_line, output);
}

static void metadata_line(const struct nk_vectors *set, size_t row, struct nk_buffer *line) {
  if (set->text_offsets != NULL) {
    size_t n;
    const char *text = nk_vectors_text(set, row, &n);
    nk_escape(line, text, n);
    nk_buffer_byte(line, '\t');
  }
  nk_buffer_integer(line, set->ids[row]);
  for (size_t c = 0; c < set->n_columns; c++) {
    const struct nk_column *column = &set->columns[c];
    nk_buffer_byte(line, '\t');
    if (column->dtype == NK_I64)
      nk_buffer_integer(line, column->data.integer[row]);
    else
      nk_buffer_number(line, column->data.number[row]);
  }
  nk_buffer_byte(line, '\n');
}

static int write_projector_metadata(const struct nk_vectors *set, struct nk_output *output) {
  struct nk_buffer head = {0};
  if (set->text_offsets != NULL) nk_buffer_text(&head, "text\t");
  nk_buffer_text(&head, "id");
  for (size_t c = 0; c < set->n_columns; c++) {
    nk_buffer_byte(&head, '\t');
    nk_escape(&head, set->columns[c].name, strlen(set->columns[c].name));
  }
  nk_buffer_byte(&head, '\n');
  int code = head.failed ? nk_fail(NK_EMEMORY, "out of memory for a header") : NK_OK;
  if (code == NK_OK && ((set->text_offsets != NULL) || set->n_columns > 0))
    code = nk_output_write(output, head.data, head.size);
  nk_buffer_free(&head);
  return code == NK_OK ? write_lines(set, metadata_line, output) : code;
}

/* ---- All formats ---- */

int nk_convert(const struct nk_vectors *set, enum nk_format format, struct nk_output *output) {
  static int (*const writers[NK_N_FORMATS])(const struct nk_vectors *, struct nk_output *) = {
      [NK_FORMAT_NPY] = write_npy,
      [NK_FORMAT_F32] = write_f32,
      [NK_FORMAT_WORD2VEC] = write_word2vec,
      [NK_FORMAT_PROJECTOR_VECTORS] = write_projector_vectors,
      [NK_FORMAT_PROJECTOR_METADATA] = write_projector_metadata,
  };
  if (set == NULL || output == NULL) return nki_fail_null();
  if ((unsigned)format >= NK_N_FORMATS)
    return nk_fail(NK_EUSAGE, "no format %d of vector sets", (int)format);
  int code = format == NK_FORMAT_PROJECTOR_METADATA ? NK_OK : nki_vectors_need_values(set);
  return code == NK_OK ? writers[format](set, output) : code;
}
