/* The private part of a vector set, and functions for other parts of the library. */
#ifndef NOKEN_IO_VECTORS_H
#define NOKEN_IO_VECTORS_H

#include <noken/vectors.h>

#include "model/pairs.h"
#include "model/safetensors.h"

struct nk_vectors_private {
  char *name;                 /* of the file, for messages; NULL for a set made in memory */
  struct nki_safetensors *st; /* the file that values, text and carried tensors may point into */
  struct nk_file *npy;        /* or this one, .npy or .npz */
  struct nk_tensor source;    /* the file's matrix where it is F64; else its data is NULL */
  bool transposed;            /* source is [dim, n] */
  unsigned char *text;        /* the set's own text bytes, NULL when mapped */
  struct nki_pairs metadata;
  size_t columns_capacity; /* of nk_vectors.columns */
  /* Of a set without values: where nk_vectors_write takes them from. It passes the n x dim floats
   * in order to nki_safetensors_writer_bytes, in any number of parts, and returns NK_OK or a code.
   */
  int (*write_rows)(struct nki_safetensors_writer *writer, void *source);
  void *source_of_rows;
  void (*free_rows)(void *source);
};

/* A set with ids 0..n-1 and without values. NULL on failure. */
struct nk_vectors *nki_vectors_bare(size_t n, size_t dim);

/* The set's values from a matrix [n, dim], or [dim, n] for `transposed`: in place where they can be
 * (then the matrix must outlive the set), else widened or transposed. */
int nki_vectors_take_values(struct nk_vectors *set, const struct nk_tensor *matrix,
                            bool transposed);

/* NK_EUSAGE for a set with rows and without values. */
int nki_vectors_need_values(const struct nk_vectors *set);

/* NK_EDATA unless a tensor is a matrix, or one row (a steering vector). */
int nki_vectors_check_matrix(const struct nk_tensor *matrix);

/* The set's ids, or a column of its own, from a tensor that is one: of a type that columns have, or
 * for take_column of any float or integer, which it widens. */
int nki_vectors_take_ids(struct nk_vectors *set, const struct nk_tensor *tensor);
bool nki_vectors_is_column(const struct nk_vectors *set, const struct nk_tensor *tensor);
int nki_vectors_take_column(struct nk_vectors *set, const struct nk_tensor *tensor);

/* NK_EDATA where one of names [n] is there twice; `what` they name ("columns") is for the message.
 * Frees names; NULL is NK_EMEMORY. */
int nki_check_names(const char **names, size_t n, const char *what);

/* ---- Other formats: nk_vectors_read frees the file or keeps it in the set ---- */

struct nk_vectors *nki_vectors_read_npy(struct nk_file *file);
struct nk_vectors *nki_vectors_read_npz(struct nk_file *file);
/* Whether a file begins as a text does: no control byte but tabs and line ends. */
bool nki_text_is(const struct nk_file *file);
struct nk_vectors *nki_vectors_read_text(struct nk_file *file);

/* ---- Selecting and writing ---- */

/* Row i of `to` gets the text of row rows[i] of `from`, or of row i where rows is NULL; none where
 * `from` has none. NK_OK or a negative code. */
int nki_vectors_copy_texts(struct nk_vectors *to, const struct nk_vectors *from,
                           const size_t *rows);
/* A new set of the rows listed, in that order, with texts, columns and metadata. NULL on failure.
 */
struct nk_vectors *nki_vectors_select(const struct nk_vectors *set, const size_t *rows, size_t n);

/* Adds an empty column of n values under a name that no column of the set has. */
struct nk_column *nki_vectors_append_column(struct nk_vectors *set, const char *name,
                                            enum nk_dtype dtype);
/* Adds an empty column of n values to fill, or finds the one of that name and type. */
struct nk_column *nki_vectors_add_column(struct nk_vectors *set, const char *name,
                                         enum nk_dtype dtype);

#endif
