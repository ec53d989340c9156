/* The strings of a tokenizer's model by id, and the ids by string. */
#ifndef NOKEN_TEXT_PIECES_H
#define NOKEN_TEXT_PIECES_H

#include <noken/base.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NKI_NO_ID = -1 };

struct nki_piece {
  uint32_t offset; /* into pieces->bytes */
  uint32_t length; /* bytes */
  bool present;    /* the id has a string */
  bool hidden;     /* not found by its string, which byte-level text never holds */
};

struct nki_pieces {
  struct nk_buffer bytes;  /* all strings, one after another */
  struct nki_piece *piece; /* [n] by id */
  double *score;           /* [n] for models that score their pieces, else NULL */
  size_t n;                /* one more than the largest id */
  size_t capacity;
  uint32_t *slots; /* [n_slots] open addressing: id + 1, or 0 */
  size_t n_slots;  /* a power of two; 0 before nki_pieces_index */
};

/* Sets id's string to bytes[offset, end), which the caller has appended. Returns NK_OK, NK_EDATA
 * (the id has a string already) or NK_EMEMORY. */
int nki_pieces_add(struct nki_pieces *pieces, size_t id, size_t offset, bool hidden);
/* Builds the index from string to id; of equal strings the largest id is found. */
int nki_pieces_index(struct nki_pieces *pieces);
/* The id of a string, or NKI_NO_ID. */
int64_t nki_pieces_find(const struct nki_pieces *pieces, const char *bytes, size_t n);
static inline const char *nki_pieces_bytes(const struct nki_pieces *pieces, size_t id) {
  return pieces->bytes.data + pieces->piece[id].offset;
}
void nki_pieces_free(struct nki_pieces *pieces);

/* A hash of n bytes for tables in memory; it may change between versions. */
uint64_t nki_hash(const char *bytes, size_t n);

#endif
