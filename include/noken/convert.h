/* Vector sets in other programs' formats. */
#ifndef NOKEN_CONVERT_H
#define NOKEN_CONVERT_H

#include <noken/file.h>
#include <noken/table.h>
#include <noken/vectors.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The rows alone: a .npy array F32 [n, dim]; or raw little-endian floats, row after row, as
 * llama.cpp's llama_batch.embd takes them. Return 0 or a negative code; none of these commits the
 * output. */
int nk_convert_npy(const struct nk_vectors *set, struct nk_output *output);
int nk_convert_f32(const struct nk_vectors *set, struct nk_output *output);

/* A table: id, text, the set's columns, then the values v1 .. vDIM. NK_EDATA when a column of the
 * set has the name of one of those. */
int nk_convert_table(const struct nk_vectors *set, struct nk_table *table);

/* word2vec's text format: a line "n dim", then a line per row: its word and its values, each after
 * one space. The word is the text escaped as in tables, with every space of Unicode written \xNN
 * too, so that no reader splits it; the id, as a decimal number, where the set has no texts; and
 * "id:NUMBER" for an empty text. */
int nk_convert_word2vec(const struct nk_vectors *set, struct nk_output *output);

/* The two files of TensorBoard's projector: the values, tab-separated, without a header; and what
 * is known of each row: text (escaped), id, the set's columns, with a header line (without one when
 * the id is all there is, as the projector wants it). */
int nk_convert_projector_vectors(const struct nk_vectors *set, struct nk_output *output);
int nk_convert_projector_metadata(const struct nk_vectors *set, struct nk_output *output);

#ifdef __cplusplus
}
#endif
#endif
