/* noken: analysis of the token embeddings of language models. This header includes all others.
 *
 * A first program needs a few calls (tests/examples/nokens.c is one):
 *
 *   nk_model_open       a model: its weights, configuration and tokenizer        model.h
 *   nk_model_vectors    its embedding matrix as a set of vectors with texts      vectors.h
 *   nk_region_fit       the region of the vectors that are in distribution       region.h
 *   nk_sample           nokens: vectors at given distances from that region      sample.h
 *   nk_probe_new, _run  what vectors do to a prompt, against ordinary tokens     probe.h
 *   nk_error            the message of the first call that failed                base.h
 *   nk_..._free         frees what a call returned
 *
 * Each of them accepts the NULL that a failed call returned, so that one check at the end is
 * enough. A zeroed options struct gives the defaults.
 *
 * The parts, in the order in which they build on each other:
 *
 *   base.h       errors, memory, threads, warnings and progress, text, files
 *   model.h      models as folders and files: configuration, tensors, rows as floats
 *   vectors.h    vector sets: what flows between programs; other formats
 *   tokenizer.h  text to token ids and back; what is known of each token
 *   geometry.h   moments, principal components, nearest neighbours, distances
 *   region.h     regions, and conformal p-values of vectors under them
 *   sample.h     nokens by direction and distance, controls, copies of a token's geometry
 *   glitch.h     how under-trained the tokens of a model are
 *   forward.h    the forward pass, with vectors in place of embeddings or residuals
 *   probe.h      prompts with slots: behaviour, generation, capture, verification
 *   search.h     objectives of vectors, and the vectors that do the most
 *   tune.h       fine-tuning, so that nokens do what ordinary tokens do
 *
 * Structs whose members are in a header can be read directly; the others are opaque. Objects are
 * made by nk_x_new, _open or _read, or by the call that computes them, and freed by nk_x_free,
 * which accepts NULL. Counts are n_x. */
#ifndef NOKEN_NOKEN_H
#define NOKEN_NOKEN_H

#include <noken/base.h>
#include <noken/forward.h>
#include <noken/geometry.h>
#include <noken/glitch.h>
#include <noken/model.h>
#include <noken/probe.h>
#include <noken/region.h>
#include <noken/sample.h>
#include <noken/search.h>
#include <noken/tokenizer.h>
#include <noken/tune.h>
#include <noken/vectors.h>

#endif
