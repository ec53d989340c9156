/* The vocabulary: for each id the raw bytes of its token. */
#include "text/vocabulary.h"

#include <noken/base.h>
#include <string.h>

#include "text/decoder.h"

enum { PRESENT = 1, ADDED = 2, SPECIAL = 4 };

struct token {
  size_t offset; /* into bytes */
  uint32_t length;
  uint32_t added; /* ADDED: index into the spec's added tokens */
  unsigned char flags;
};

struct nki_vocabulary {
  const struct nki_spec *spec;
  struct token *token; /* [n] */
  size_t n;
  struct nk_buffer bytes;
};

/* Sets the token's bytes to those appended since `offset`. */
static void set(struct nki_vocabulary *vocabulary, size_t id, size_t offset, int flags) {
  vocabulary->token[id] = (struct token){
      .offset = offset,
      .length = (uint32_t)(vocabulary->bytes.size - offset),
      .flags = (unsigned char)(PRESENT | flags),
  };
}

static int fill(struct nki_vocabulary *vocabulary, const struct nki_spec *spec,
                const struct nki_decoder *decoder) {
  const struct nki_pieces *pieces = &spec->pieces;
  for (size_t id = 0; id < pieces->n; id++) {
    if (!pieces->piece[id].present) continue;
    size_t offset = vocabulary->bytes.size;
    int code = nki_decoder_token(decoder, nki_pieces_bytes(pieces, id), pieces->piece[id].length,
                                 &vocabulary->bytes);
    if (code != NK_OK) return code;
    set(vocabulary, id, offset, 0);
  }
  for (size_t i = 0; i < spec->n_added; i++) {
    const struct nki_added *added = &spec->added[i];
    size_t offset = vocabulary->bytes.size;
    int code = nki_decoder_token(decoder, spec->added_bytes.data + added->offset, added->length,
                                 &vocabulary->bytes);
    if (code != NK_OK) return code;
    set(vocabulary, added->id, offset, added->special ? ADDED | SPECIAL : ADDED);
    vocabulary->token[added->id].added = (uint32_t)i;
  }
  if (vocabulary->bytes.data == NULL) nk_buffer_text(&vocabulary->bytes, "");
  return vocabulary->bytes.failed
             ? nk_fail(NK_EMEMORY, "%s: out of memory for the vocabulary", spec->name)
             : NK_OK;
}

struct nki_vocabulary *nki_vocabulary_new(const struct nki_spec *spec) {
  struct nki_decoder *decoder = NULL;
  struct nki_vocabulary *vocabulary = nk_calloc(1, sizeof *vocabulary);
  if (vocabulary == NULL) return NULL;
  vocabulary->spec = spec;
  vocabulary->n = spec->pieces.n;
  for (size_t i = 0; i < spec->n_added; i++)
    if (spec->added[i].id >= vocabulary->n) vocabulary->n = spec->added[i].id + 1;
  vocabulary->token = nk_calloc(vocabulary->n, sizeof *vocabulary->token);
  if (vocabulary->token == NULL) goto fail;
  decoder = nki_decoder_new(spec, true);
  if (decoder == NULL || fill(vocabulary, spec, decoder) != NK_OK) goto fail;
  nki_decoder_free(decoder);
  return vocabulary;
fail:
  nki_decoder_free(decoder);
  nki_vocabulary_free(vocabulary);
  return NULL;
}

void nki_vocabulary_free(struct nki_vocabulary *vocabulary) {
  if (vocabulary == NULL) return;
  nk_free(vocabulary->token);
  nk_buffer_free(&vocabulary->bytes);
  nk_free(vocabulary);
}

size_t nki_vocabulary_n_tokens(const struct nki_vocabulary *vocabulary) {
  return vocabulary->n;
}

static int flags(const struct nki_vocabulary *vocabulary, size_t id) {
  return id < vocabulary->n ? vocabulary->token[id].flags : 0;
}

const char *nki_vocabulary_bytes(const struct nki_vocabulary *vocabulary, size_t id,
                                 size_t *n_bytes) {
  if ((flags(vocabulary, id) & PRESENT) == 0) return NULL;
  if (n_bytes != NULL) *n_bytes = vocabulary->token[id].length;
  return vocabulary->bytes.data + vocabulary->token[id].offset;
}

const char *nki_vocabulary_written(const struct nki_vocabulary *vocabulary, size_t id,
                                   size_t *n_bytes) {
  const struct nki_spec *spec = vocabulary->spec;
  if ((flags(vocabulary, id) & PRESENT) == 0) return NULL;
  if ((flags(vocabulary, id) & ADDED) == 0) {
    *n_bytes = spec->pieces.piece[id].length;
    return nki_pieces_bytes(&spec->pieces, id);
  }
  const struct nki_added *added = &spec->added[vocabulary->token[id].added];
  *n_bytes = added->length;
  return spec->added_bytes.data + added->offset;
}

bool nki_vocabulary_is_special(const struct nki_vocabulary *vocabulary, size_t id) {
  return (flags(vocabulary, id) & SPECIAL) != 0;
}

bool nki_vocabulary_is_added(const struct nki_vocabulary *vocabulary, size_t id) {
  return (flags(vocabulary, id) & ADDED) != 0;
}
