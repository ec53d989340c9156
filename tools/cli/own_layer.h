/* The layer that the vectors of a set, or the tokens of a region, belong to, and the layers at
 * which they are put into a model. */
#ifndef CLI_OWN_LAYER_H
#define CLI_OWN_LAYER_H

#include <noken/forward.h>
#include <noken/vectors.h>

/* The set's own layer is L where its noken.space is residual:L, and 0 for input, and for output in
 * a model whose matrices are tied; residual (of several layers), position and other outputs have
 * none; a set of another space, or of none, belongs anywhere. Names of models are not compared: one
 * model has several, by its folder, its files and its copies.
 *   name    the set's file, for messages; NULL and "-" are standard input
 *   layers  [n] where the set is put in
 *   given   whether an option chose them; NULL where there is no such option
 * Without that choice layers[0] becomes L of residual:L, and *given true. A warning where the space
 * has another layer than all of layers, or none. Returns NK_OK, NK_EDATA (the model lacks that L),
 * or what nk_forward_shape fails with. */
int cli_own_layer(struct nk_model *model, const char *name, const struct nk_vectors *set,
                  size_t *layers, size_t n, bool *given);

#endif
