/* The contents of a tokenizer's file, before anything is built from them: the model's strings and
 * merges, the added tokens, and the rest (normalizer, pre-tokenizer, post-processor, decoder) as
 * the JSON of tokenizer.json. A GGUF file's vocabulary is brought into the same form. */
#ifndef NOKEN_TEXT_SPEC_H
#define NOKEN_TEXT_SPEC_H

#include <jansson.h>
#include <noken/base.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text/pieces.h"

/* left and right, side by side, become result; the smallest rank first. */
struct nki_merge {
  uint32_t left, right, result;
  uint32_t rank;
};

struct nki_added {
  size_t id;
  size_t offset, length; /* of its content, in spec->added_bytes */
  bool single_word;      /* only where no word character is next to it */
  bool lstrip, rstrip;   /* includes the white space before, after it */
  bool normalized;       /* found after the normalizer, else before */
  bool special;
};

struct nki_spec {
  char *name;     /* the file's, for messages */
  char *around;   /* why which tokens are put around a text, in words; NULL: the post-processor */
  size_t max_id;  /* the largest valid id: the size of the file */
  json_t *config; /* tokenizer.json with null for the vocabulary and the merges */
  char *model;    /* "BPE", "Unigram", "WordPiece", ...; "" when it is not stated */
  /* The strings were written in the byte-level alphabet; here they are raw bytes. Only where the
   * last step before the model is ByteLevel; elsewhere they are kept as the file has them. */
  bool byte_level;
  size_t merge_prefix; /* bytes of continuing_subword_prefix, with which a right string begins */
  struct nki_pieces pieces;
  struct nki_merge *merges; /* [n_merges]; none when only the vocabulary was asked for */
  size_t n_merges, merges_capacity;
  struct nki_added *added; /* [n_added] */
  size_t n_added, added_capacity;
  struct nk_buffer added_bytes;
};

void nki_spec_free(struct nki_spec *spec);

/* Adds a string as the file writes it, bytes[offset, size) of spec->pieces.bytes, under id: decodes
 * it where the alphabet is byte-level. */
int nki_spec_add_piece(struct nki_spec *spec, size_t id, size_t offset);
/* Adds the merge of both[0..split) and both[split..size), strings as the file writes them; both is
 * overwritten. A merge whose strings byte-level text never holds is left out. */
int nki_spec_add_merge(struct nki_spec *spec, struct nk_buffer *both, size_t split, uint32_t rank);
/* The same for two pieces and what they make. */
int nki_spec_push_merge(struct nki_spec *spec, struct nki_merge merge);
/* Adds an added token: its content is added_bytes[added.offset, size), its length is set here. */
int nki_spec_push_added(struct nki_spec *spec, struct nki_added added);
/* The id of a string as the file writes it, bytes[0..n); NKI_NO_ID when the vocabulary has none. */
int64_t nki_spec_find(const struct nki_spec *spec, const char *bytes, size_t n);
/* The token for text without tokens, by the model's unk_id (Unigram) or unk_token; NKI_NO_ID when
 * there is none. */
int64_t nki_spec_unknown(const struct nki_spec *spec);
/* ids [256] = the tokens of bytes, by which characters without a token are encoded; NKI_NO_ID where
 * there is none, of all bytes without the model's byte_fallback. */
void nki_spec_fallback(const struct nki_spec *spec, int64_t ids[256]);
/* Whether id is one of them. */
bool nki_is_fallback(const int64_t ids[256], int64_t id);
/* Whether the model's strings depend on their place in a word: continuing_subword_prefix or
 * end_of_word_suffix is not empty. */
bool nki_spec_has_affixes(const struct nki_spec *spec);
/* Gives the added tokens of a tokenizer.json the ids of Hugging Face's library, and sorts them in
 * its order (spec_added.c). */
int nki_spec_number_added(struct nki_spec *spec);
/* Whether a component ("normalizer", "pre_tokenizer", ...) is of this type or, as a Sequence, has
 * one that is. */
bool nki_spec_has(const struct nki_spec *spec, const char *component, const char *type);
/* Replaces a component's nested Sequences by their steps. NK_EDATA when they are nested too
 * deep. */
int nki_spec_flatten(struct nki_spec *spec, const char *component);
/* The steps of a component: those of a Sequence, or the component itself; 0 when it is null. */
size_t nki_spec_steps(const json_t *component);
json_t *nki_spec_step(json_t *component, size_t index);
/* A step's "type", or "" when it has none. */
const char *nki_spec_type(const json_t *step);

#endif
