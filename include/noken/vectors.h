/* Vector sets: n rows of dim floats with an id each, perhaps a text each, any number of columns,
 * and metadata with the history of the commands that made the set. This is what flows between
 * tools, as a safetensors stream: vectors       F32 [n, dim] id            I64 [n] text.bytes    U8
 * [m], text.offsets I64 [n + 1]   (optional: row i is bytes [offsets[i], offsets[i + 1]), raw) NAME
 * F32, F64 or I64 [n]                a column
 *   __metadata__  noken.kind=vectors, noken.version=1, noken.model, noken.space, noken.history
 * Read as well: F16, BF16 and F64 vectors, any safetensors file with exactly one 2-D tensor, and a
 * 2-D .npy. Tensors and metadata that noken does not know are carried through. */
#ifndef NOKEN_VECTORS_H
#define NOKEN_VECTORS_H

#include <noken/dtype.h>
#include <noken/file.h>
#include <noken/safetensors.h>
#include <noken/table.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One value per row. data is [n] of double, or of int64_t for NK_I64. An F32 column is widened. */
struct nk_column {
  char *name;
  enum nk_dtype dtype; /* NK_F32, NK_F64 or NK_I64: what it is in the file */
  union {
    double *number;
    int64_t *integer;
  } data;
};

struct nk_vectors {
  size_t n;                    /* rows */
  size_t dim;                  /* values in a row */
  const float *values;         /* [n, dim] row-major; mapped, or owned by the set */
  int64_t *ids;                /* [n] */
  const unsigned char *text;   /* raw bytes of all rows; NULL when the set has no text */
  const int64_t *text_offsets; /* [n + 1]; NULL when the set has no text */
  struct nk_column *columns;   /* [n_columns] */
  size_t n_columns;
  struct nk_vectors_private *hidden; /* metadata, carried tensors, what must be freed */
};

/* Reads a vector set from path ("-" or NULL: standard input): safetensors or .npy, told by its
 * first bytes. NULL on failure. */
struct nk_vectors *nk_vectors_read(const char *path);

/* A set of n x dim over memory: values is taken over (from nk_alloc; NULL: allocated, not set), or
 * with `borrowed` true must outlive the set (NULL: a set without values, whose rows
 * nk_vectors_write_rows asks for). ids are 0..n-1. NULL on failure; values is then the caller's. */
struct nk_vectors *nk_vectors_new(size_t n, size_t dim, float *values, bool borrowed);
void nk_vectors_free(struct nk_vectors *set);

/* The rows' own floats for writing; NULL when the set's values are mapped or borrowed. */
float *nk_vectors_writable(struct nk_vectors *set);

/* Text of row i: its bytes and their number; "" and 0 when the set has no text. */
const char *nk_vectors_text(const struct nk_vectors *set, size_t row, size_t *n_bytes);
/* Gives the set its texts (copied): offsets [n + 1] ascending from 0. */
int nk_vectors_set_text(struct nk_vectors *set, const void *bytes, const int64_t *offsets);

/* Adds a column of n values (copied), or replaces the one of that name. "vectors", "id" and names
 * beginning "text." are refused. */
int nk_vectors_set_numbers(struct nk_vectors *set, const char *name, const double *values);
int nk_vectors_set_integers(struct nk_vectors *set, const char *name, const int64_t *values);
/* The column called name, or NULL (no error is set). */
const struct nk_column *nk_vectors_column(const struct nk_vectors *set, const char *name);

/* Metadata: value of key, or NULL; set (value NULL removes). */
const char *nk_vectors_metadata(const struct nk_vectors *set, const char *key);
int nk_vectors_set_metadata(struct nk_vectors *set, const char *key, const char *value);
/* Appends this command line to noken.history: file arguments by their base names, and without
 * --threads, which says nothing of what was made. */
int nk_vectors_add_history(struct nk_vectors *set, int argc, char *const *argv);

/* A new set of the rows listed, in that order, with texts, columns and metadata (not the carried
 * tensors, whose meaning is unknown once rows are gone). */
struct nk_vectors *nk_vectors_select(const struct nk_vectors *set, const size_t *rows, size_t n);
/* The same by ids [n]; the first row of an id that is there twice. NULL when an id is not there. */
struct nk_vectors *nk_vectors_select_ids(const struct nk_vectors *set, const int64_t *ids,
                                         size_t n);
/* An empty-handed copy of everything but the values: for a set made row by row from another one.
 * values and dim as in nk_vectors_new; n is the source's. */
struct nk_vectors *nk_vectors_like(const struct nk_vectors *set, size_t dim, float *values);

/* Writes the set. Returns 0 or a negative code. Does not commit the output. */
int nk_vectors_write(const struct nk_vectors *set, struct nk_output *output);

/* The same for a set without values, larger perhaps than memory: source hands its n x dim floats in
 * order to nk_safetensors_writer_bytes, in as many pieces as it likes, and returns 0 or a code. */
typedef int nk_vectors_row_source(struct nk_safetensors_writer *writer, void *user);
int nk_vectors_write_rows(const struct nk_vectors *set, struct nk_output *output,
                          nk_vectors_row_source *source, void *user);

/* Rows with a NaN or an infinity. Returns 0 when there are none; NK_EDATA with "row 17 holds a NaN
 * (use --skip-bad to leave such rows out)" when there are and skip is false; with skip true *set is
 * replaced by a set without them (warned about, with their number). */
int nk_vectors_check_finite(struct nk_vectors **set, bool skip);

/* The columns that every table made from a set carries. nk_vectors_table_head names `id`, and
 * `text` when the set has texts; nk_vectors_table_row writes them for a row. The _tail pair does it
 * for the set's own columns, which stand after the tool's. A set column that the tool itself gives
 * is left out: taken [n_taken] holds the tool's column names. Where the metadata noken.codes.NAME
 * hold words ("isotropic covariance"), the integer column NAME is written as the word of that
 * number, counted from 0. */
int nk_vectors_table_head(const struct nk_vectors *set, struct nk_table *table);
void nk_vectors_table_row(const struct nk_vectors *set, size_t row, struct nk_table *table);
int nk_vectors_table_head_tail(const struct nk_vectors *set, const char *const *taken,
                               size_t n_taken, struct nk_table *table);
void nk_vectors_table_row_tail(const struct nk_vectors *set, size_t row, const char *const *taken,
                               size_t n_taken, struct nk_table *table);

#ifdef __cplusplus
}
#endif
#endif
