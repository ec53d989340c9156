/* Vector sets one after another: nk-convert --cat. */
#ifndef CONVERT_CAT_H
#define CONVERT_CAT_H

#include <noken/vectors.h>
#include <stddef.h>

/* A set of the rows of all sets at paths [n], in their order, with their ids, texts and columns;
 * its values stay in the sets, which are read into sets [n] (NULL at first) and have to outlive it.
 * The sets have the same dimension and the same columns, of the same types and words, or NK_EDATA
 * names the difference. The histories are joined; other metadata are the first set's. NULL on
 * failure. */
struct nk_vectors *convert_cat(char *const *paths, size_t n, struct nk_vectors **sets);

#endif
