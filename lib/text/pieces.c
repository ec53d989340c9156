/* A vocabulary's strings: one block of bytes, an array by id, and a hash table of ids, since half a
 * million separate allocations cost more than the strings. */
#include "text/pieces.h"

#include <noken/base.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>

static uint64_t key[2] = {0x9E3779B97F4A7C15u, 0xD1B54A32D192ED03u};
static pthread_once_t key_once = PTHREAD_ONCE_INIT;

/* Without random bytes the key stays as it is: only the defence against collisions is lost. */
static void choose_key(void) {
  uint64_t random[2];
  if (getrandom(random, sizeof random, GRND_NONBLOCK) != (ssize_t)sizeof random) return;
  key[0] ^= random[0];
  key[1] ^= random[1];
}

static uint64_t mix(uint64_t a, uint64_t b) {
  __extension__ typedef unsigned __int128 wide;
  wide product = (wide)(a ^ key[0]) * (b ^ key[1]);
  return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint64_t nki_hash(const char *bytes, size_t n) {
  uint64_t hash = n, word, last = 0;
  for (; n > 8; n -= 8, bytes += 8) {
    memcpy(&word, bytes, 8);
    hash = mix(hash, word);
  }
  memcpy(&last, bytes, n);
  return mix(hash, last);
}

/* Room for ids 0..n-1. */
static int reserve(struct nki_pieces *pieces, size_t n) {
  if (n <= pieces->capacity) return NK_OK;
  size_t capacity = pieces->capacity != 0 ? pieces->capacity : 1024;
  while (capacity < n) capacity *= 2;
  struct nki_piece *grown = nk_realloc(pieces->piece, pieces->n, capacity, sizeof *pieces->piece);
  if (grown == NULL) return NK_EMEMORY;
  memset(grown + pieces->n, 0, (capacity - pieces->n) * sizeof *grown);
  pieces->piece = grown;
  pieces->capacity = capacity;
  return NK_OK;
}

int nki_pieces_add(struct nki_pieces *pieces, size_t id, size_t offset, bool hidden) {
  if (pieces->bytes.failed || pieces->bytes.size > UINT32_MAX || id >= UINT32_MAX)
    return nk_fail(NK_EMEMORY, "a vocabulary too large for memory");
  int code = reserve(pieces, id + 1);
  if (code != NK_OK) return code;
  if (id >= pieces->n) pieces->n = id + 1;
  if (pieces->piece[id].present) return nk_fail(NK_EDATA, "two tokens have the id %zu", id);
  pieces->piece[id] = (struct nki_piece){
      .offset = (uint32_t)offset,
      .length = (uint32_t)(pieces->bytes.size - offset),
      .present = true,
      .hidden = hidden,
  };
  return NK_OK;
}

int nki_pieces_extend(struct nki_pieces *pieces, size_t n) {
  int code = reserve(pieces, n);
  if (code == NK_OK && n > pieces->n) pieces->n = n;
  return code;
}

/* The slot of a string: that of its id, or the empty one where it belongs. */
static size_t slot_of(const struct nki_pieces *pieces, const char *bytes, size_t n, bool hidden) {
  size_t mask = pieces->n_slots - 1;
  for (size_t slot = nki_hash(bytes, n) & mask;; slot = (slot + 1) & mask) {
    uint32_t entry = pieces->slots[slot];
    if (entry == 0) return slot;
    const struct nki_piece *piece = &pieces->piece[entry - 1];
    if (piece->length == n && piece->hidden == hidden &&
        memcmp(pieces->bytes.data + piece->offset, bytes, n) == 0)
      return slot;
  }
}

int nki_pieces_index(struct nki_pieces *pieces, bool drop) {
  pthread_once(&key_once, choose_key);
  if (pieces->bytes.data == NULL) nk_buffer_text(&pieces->bytes, ""); /* so that data is not NULL */
  if (pieces->bytes.failed) return nk_fail(NK_EMEMORY, "out of memory for the vocabulary");
  size_t n_slots = 1024;
  while (n_slots < 2 * pieces->n) n_slots *= 2;
  pieces->slots = nk_calloc(n_slots, sizeof *pieces->slots);
  if (pieces->slots == NULL) return NK_EMEMORY;
  pieces->n_slots = n_slots;
  for (size_t id = 0; id < pieces->n; id++) {
    struct nki_piece *piece = &pieces->piece[id], *loser = NULL;
    if (!piece->present) continue;
    const char *bytes = nki_pieces_bytes(pieces, id);
    uint32_t *slot = &pieces->slots[slot_of(pieces, bytes, piece->length, piece->hidden)];
    if (*slot != 0) loser = &pieces->piece[*slot - 1];
    if (loser != NULL && loser->offset > piece->offset)
      loser = piece;
    else
      *slot = (uint32_t)id + 1;
    if (drop && loser != NULL) loser->present = false;
  }
  return NK_OK;
}

static int64_t find(const struct nki_pieces *pieces, const char *bytes, size_t n, bool hidden) {
  uint32_t entry = pieces->slots[slot_of(pieces, bytes, n, hidden)];
  return entry != 0 ? (int64_t)entry - 1 : NKI_NO_ID;
}

int64_t nki_pieces_find(const struct nki_pieces *pieces, const char *bytes, size_t n) {
  return find(pieces, bytes, n, false);
}

int64_t nki_pieces_find_hidden(const struct nki_pieces *pieces, const char *bytes, size_t n) {
  return find(pieces, bytes, n, true);
}

int64_t nki_pieces_find_byte(const struct nki_pieces *pieces, int byte) {
  static const char hex[] = "0123456789ABCDEF";
  const char named[6] = {'<', '0', 'x', hex[byte >> 4 & 15], hex[byte & 15], '>'};
  return nki_pieces_find(pieces, named, sizeof named);
}

void nki_pieces_free(struct nki_pieces *pieces) {
  nk_buffer_free(&pieces->bytes);
  nk_free(pieces->piece);
  nk_free(pieces->score);
  nk_free(pieces->slots);
  *pieces = (struct nki_pieces){0};
}
