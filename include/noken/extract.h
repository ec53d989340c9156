/* Rows of a model's matrix as a vector set, streamed: a block of rows is read, widened and written,
 * then forgotten, so that memory does not grow with the matrix. */
#ifndef NOKEN_EXTRACT_H
#define NOKEN_EXTRACT_H

#include <noken/file.h>
#include <noken/model.h>
#include <noken/vectors.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A set without values for rows ids [n] of a 2-D tensor, in that order (ids NULL: all rows), with
 * noken.model, and noken.space = space (`input`, `output`, `position`, a tensor's name). Give it
 * texts and a history, then write it with nk_extract_write. NULL on failure: not 2-D, a type that
 * is not widened, an id that is no row. */
struct nk_vectors *nk_extract_begin(const struct nk_model *model, const struct nk_tensor *tensor,
                                    const char *space, const int64_t *ids, size_t n);

/* Writes the set with the rows of tensor that its ids name, NaN and infinities as they are. Returns
 * 0 or a negative code. Does not commit the output. */
int nk_extract_write(const struct nk_model *model, const struct nk_tensor *tensor,
                     const struct nk_vectors *set, struct nk_output *output);

#ifdef __cplusplus
}
#endif
#endif
