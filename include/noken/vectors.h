/* Vector sets: n rows of dim floats with an id each, perhaps a text each, any number of columns,
 * and metadata with the history of the commands that made the set. This is what flows between
 * tools, as a safetensors stream:
 *
 *   tensor        dtype         shape      holds
 *   vectors       F32           [n, dim]   the rows
 *   id            I64           [n]        token ids, or other numbers of the rows
 *   text.bytes    U8            [m]        optional: row i's text is the raw bytes
 *   text.offsets  I64           [n + 1]      [offsets[i], offsets[i + 1])
 *   NAME          F32 F64 I64   [n]        a column
 *
 *   __metadata__  noken.kind=vectors, noken.version=1, noken.model, noken.space, noken.history
 *
 * Read as well: F16, BF16 and F64 vectors, F16 and BF16 columns, any safetensors file with exactly
 * one 2-D tensor, a 2-D .npy, an .npz without compression, and text: a CSV or TSV of numbers, all
 * of them values, or under names that count up (v1, v2, ...) beside id, text and columns. Tensors
 * and metadata that noken does not know are carried through. */
#ifndef NOKEN_VECTORS_H
#define NOKEN_VECTORS_H

#include <noken/base.h>
#include <noken/model.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One value per row. data is [n] of double, or of int64_t for NK_I64. An F32 column is widened, and
 * is what F16 and BF16 are read as. */
struct nk_column {
  char *name;
  enum nk_dtype dtype; /* NK_F32, NK_F64 or NK_I64: what it is written as */
  union {
    double *number;
    int64_t *integer;
  } data;
};

struct nk_vectors {
  size_t n;                    /* rows */
  size_t dim;                  /* values in a row */
  const float *values;         /* [n, dim] row-major; NULL: the set can be written and edited, and
                                * what needs values fails with NK_EUSAGE */
  float *own_values;           /* the same when the set owns them; NULL: mapped or borrowed */
  int64_t *ids;                /* [n] */
  const unsigned char *text;   /* raw bytes of all rows; NULL when the set has no text */
  const int64_t *text_offsets; /* [n + 1]; NULL when the set has no text */
  struct nk_column *columns;   /* [n_columns] */
  size_t n_columns;
  struct nk_tensor *carried; /* [n_carried] tensors of a safetensors file that are none of these */
  size_t n_carried;
  /* [n_parts] sets whose values, one set after another, nk_vectors_write takes as this one's, which
   * has NULL. They must outlive it. */
  const struct nk_vectors *const *parts;
  size_t n_parts;
  struct nk_vectors_private *hidden; /* metadata, what must be freed */
};

/* Reads a vector set from path ("-" or NULL: standard input), by its first bytes. NULL on
 * failure. Free with nk_vectors_free. */
NK_API struct nk_vectors *nk_vectors_read(const char *path);

/* A set of n x dim over memory: the set owns values (from nk_alloc; NULL: allocated, not
 * initialized), or with `borrowed` they must outlive it (NULL: a set without values). ids are
 * 0..n-1. NULL on failure; values is then the caller's. */
NK_API struct nk_vectors *nk_vectors_new(size_t n, size_t dim, float *values, bool borrowed);
NK_API void nk_vectors_free(struct nk_vectors *set);

/* The values for writing; NULL when they are mapped or borrowed. */
static inline float *nk_vectors_writable(struct nk_vectors *set) {
  return set == NULL ? NULL : set->own_values;
}

/* Text of a row: its bytes, not 0-terminated, and their number; "" and 0 for a set without texts.
 */
static inline const char *nk_vectors_text(const struct nk_vectors *set, size_t row,
                                          size_t *n_bytes) {
  *n_bytes = 0;
  if (set == NULL || set->text_offsets == NULL) return "";
  *n_bytes = (size_t)(set->text_offsets[row + 1] - set->text_offsets[row]);
  return (const char *)set->text + set->text_offsets[row];
}
/* Sets the texts (copied): row i's are bytes [offsets[i], offsets[i + 1]); offsets [n + 1] ascend
 * from 0. Returns NK_OK or a negative code. */
NK_API int nk_vectors_set_text(struct nk_vectors *set, const void *bytes, const int64_t *offsets);

/* Adds a column of n values (copied), or replaces the one of that name. Returns NK_OK or a negative
 * code (NK_EUSAGE: the names "vectors", "id" and those beginning with "text." are reserved). */
NK_API int nk_vectors_set_numbers(struct nk_vectors *set, const char *name, const double *values);
NK_API int nk_vectors_set_integers(struct nk_vectors *set, const char *name, const int64_t *values);
/* The column called name, or NULL (no error is set). */
static inline const struct nk_column *nk_vectors_column(const struct nk_vectors *set,
                                                        const char *name) {
  for (size_t i = 0; set != NULL && i < set->n_columns; i++)
    if (strcmp(set->columns[i].name, name) == 0) return &set->columns[i];
  return NULL;
}

/* Metadata: the value of key, or NULL (no error is set); set it (value NULL: remove it). */
NK_API const char *nk_vectors_metadata(const struct nk_vectors *set, const char *key);
NK_API int nk_vectors_set_metadata(struct nk_vectors *set, const char *key, const char *value);

/* A new set of the rows with these ids [n], in that order, with texts, columns and metadata (not
 * the carried tensors, whose meaning is unknown once rows are gone). Of several rows with an id the
 * first is taken. NULL on failure (NK_ENOTFOUND: no row has an id). */
NK_API struct nk_vectors *nk_vectors_select_ids(const struct nk_vectors *set, const int64_t *ids,
                                                size_t n);
/* A copy of everything but the values, for a set made row by row from another one. values and dim
 * as in nk_vectors_new; n is the source's. NULL on failure. */
NK_API struct nk_vectors *nk_vectors_like(const struct nk_vectors *set, size_t dim, float *values);

/* Writes the set as safetensors; of a set of nk_extract_begin or nk_states_begin, which has no
 * values, in a stream from the files. Returns NK_OK or a negative code. Does not commit the output.
 */
NK_API int nk_vectors_write(const struct nk_vectors *set, struct nk_output *output);

/* Rows with a NaN or an infinity. Returns NK_OK when there are none; NK_EDATA with "row 17 holds a
 * NaN" when there are and skip is false; with skip true *set is replaced by a set without them,
 * and a warning gives their number. */
NK_API int nk_vectors_check_finite(struct nk_vectors **set, bool skip);

/* ==== Rows of a model ==== */

/* A model's matrix as a set of its rows: id i in row i, noken.model and noken.space, and for the
 * input and the output matrix the tokens' texts where the model has a tokenizer.json. F32 rows are
 * the model's own mapped bytes: free the set before the model. NULL on failure, and for a model of
 * NULL, which keeps the message of the call that gave it. */
NK_API struct nk_vectors *nk_model_vectors(struct nk_model *model, enum nk_matrix which);

/* A set without values for rows ids [n] of a 2-D tensor, in that order (ids NULL: all rows), with
 * noken.model, and noken.space = space (`input`, `output`, `position`, a tensor's name). Set its
 * texts and metadata, then write it with nk_vectors_write, which reads, widens, writes and releases
 * a block of rows at a time, NaN and infinities unchanged: memory does not grow with the matrix.
 * Free it before the model. NULL on failure (not 2-D; a type that cannot be widened; no row has an
 * id). */
NK_API struct nk_vectors *nk_extract_begin(const struct nk_model *model,
                                           const struct nk_tensor *tensor, const char *space,
                                           const int64_t *ids, size_t n);

/* ==== Hidden states of other programs ==== */

enum nk_states_format {
  NK_STATES_SAFETENSORS, /* as torch saves what Transformers returns: a tensor, or one a layer */
  NK_STATES_VLLM,        /* a request's file of vLLM: hidden_states and token_ids */
  NK_STATES_NPZ          /* NumPy's .npz without compression, or .npy */
};

/* Valid when zeroed. */
struct nk_states_options {
  enum nk_states_format format;
  /* The array's axes in order: "layers,positions,d" and perhaps "batch", the contexts. Without
   * layers there is an array for each layer, with the layer's number in its name. NULL: for 3 axes
   * these (of vLLM positions,layers,d), for 4 layers,batch,positions,d, and for several arrays
   * positions,d or batch,positions,d. */
  const char *axes;
  const int64_t *held; /* [n_held] numbers of the layers in the file, in order; NULL: those in the
                          arrays' names, else from 0 */
  size_t n_held;
  const int64_t *layers; /* [n_layers] those to read; NULL: all */
  size_t n_layers;
};

/* A set without values of the states in files, each with contexts of its own, as nk-run --capture
 * gives them: rows by context, position and layer; columns context, position, token (which is the
 * id too) where all files have token_ids or input_ids, and layer; noken.space residual:L or
 * residual. Positions that the file's attention_mask marks with 0 are left out, and others count
 * from 0. Of several arrays `hidden_states` is taken. Write it with nk_vectors_write, a block at a
 * time. NULL on failure (no such array or layer, shapes that disagree, a type other than F32, F16,
 * BF16 and F64). */
NK_API struct nk_vectors *nk_states_begin(const char *const *paths, size_t n,
                                          const struct nk_states_options *options);

/* ==== Other formats ==== */

/* Vector sets in other programs' formats. */
enum nk_format {
  /* A .npy array F32 [n, dim]. */
  NK_FORMAT_NPY,
  /* Raw little-endian floats, row after row, as llama.cpp's llama_batch.embd takes them. */
  NK_FORMAT_F32,
  /* word2vec's text format: a line "n dim", then a line per row: its word and its values, each
   * after one space. The word is the text escaped as in tables, with every space of Unicode written
   * \xNN too, so that no reader splits it; the id, as a decimal number, where the set has no texts;
   * and "id:NUMBER" for an empty text. */
  NK_FORMAT_WORD2VEC,
  /* The two files of TensorBoard's projector: the values, tab-separated, without a header; and what
   * is known of each row: text (escaped), id, the set's columns, with a header line (without one
   * when the id is the only column, as the projector expects). */
  NK_FORMAT_PROJECTOR_VECTORS,
  NK_FORMAT_PROJECTOR_METADATA,
  NK_N_FORMATS
};

/* Writes the set in a format. Returns NK_OK or a negative code. Does not commit the output. */
NK_API int nk_convert(const struct nk_vectors *set, enum nk_format format,
                      struct nk_output *output);

#ifdef __cplusplus
}
#endif
#endif
