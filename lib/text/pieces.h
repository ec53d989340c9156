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
  bool hidden;     /* its string, which byte-level text never holds, is kept as the file has it */
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
/* Makes ids below n valid, without strings where they have none. */
int nki_pieces_extend(struct nki_pieces *pieces, size_t n);
/* Builds the index from string to id; of equal strings the one added last is found. drop: the
 * others lose their ids, as the earlier of equal keys of a JSON object. */
int nki_pieces_index(struct nki_pieces *pieces, bool drop);
/* The id of a string that is not hidden, of a hidden one; NKI_NO_ID when there is none. */
int64_t nki_pieces_find(const struct nki_pieces *pieces, const char *bytes, size_t n);
int64_t nki_pieces_find_hidden(const struct nki_pieces *pieces, const char *bytes, size_t n);
/* The id of the token that stands for a byte where characters without a token are encoded by their
 * bytes, "<0x0A>" for 10; NKI_NO_ID when there is none. */
int64_t nki_pieces_find_byte(const struct nki_pieces *pieces, int byte);
static inline const char *nki_pieces_bytes(const struct nki_pieces *pieces, size_t id) {
  return pieces->bytes.data + pieces->piece[id].offset;
}
void nki_pieces_free(struct nki_pieces *pieces);

/* A hash of n bytes for tables in memory, by a key that differs from process to process: a file
 * cannot be made so that its strings collide. */
uint64_t nki_hash(const char *bytes, size_t n);

#endif
