/* A row of the table of architectures (config.c): what config.json cannot say, and the names of the
 * weights. */
#ifndef NOKEN_FORWARD_FAMILY_H
#define NOKEN_FORWARD_FAMILY_H

#include "forward/internal.h"

enum nki_bias {
  NKI_NO_BIAS,
  NKI_BIAS,          /* on every part of the block but q and k norms */
  NKI_BIAS_NOT_QKVO, /* on every part but attention's products (GPT-J) */
  NKI_BIAS_QKV,      /* on q, k, v only (Qwen2) */
  NKI_BIAS_CONFIG,   /* as attention_bias and mlp_bias say */
};

struct nki_family {
  const char *type;               /* config.json's model_type */
  const char *prefixes[3];        /* before every name; the first under which block 0 is found */
  const char *block;              /* printf pattern of a block's prefix */
  const char *names[NKI_N_PARTS]; /* NULL: the architecture has no such part */
  const char *embedding, *positions, *final_norm; /* the first and second without .weight too */
  const char *head; /* the unembedding, without the prefix; NULL: always tied */
  bool tied;        /* what a configuration that does not say means */
  bool head_bias;
  enum nki_bias biases;
  bool rms, norm_plus_one, in_out, heads_inside, rotary, rotary_pairs, scaled_embedding;
  size_t position_offset;
  double norm_eps;    /* when the configuration does not say */
  double rotary_part; /* of a head that is rotated when the configuration does not say */
  enum { NKI_SERIAL, NKI_PARALLEL, NKI_PARALLEL_CONFIG } order; /* of attention and mlp */
  enum { NKI_NO_WINDOW, NKI_WINDOW, NKI_WINDOW_QWEN, NKI_WINDOW_ALTERNATING } window;
  const char *activation; /* when the configuration does not say */
};

#endif
