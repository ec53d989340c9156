/* BPE. The merges are a hash table from a pair of ids to the pair's rank and the merged id. Short
 * pieces, nearly all of them, are scanned for the best pair after each merge; the pairs of long
 * ones are kept in a heap, since scanning is quadratic. */
#include "text/bpe.h"

#include <noken/base.h>
#include <string.h>

#include "base/utf8.h"

enum { SHORT = 24 }; /* units up to which scanning is faster than the heap */
#define NO_RANK UINT32_MAX

struct merge_slot {
  uint64_t pair; /* left << 32 | right; EMPTY */
  uint32_t rank, result;
};
#define EMPTY UINT64_MAX

struct nki_bpe {
  const struct nki_pieces *pieces;
  struct merge_slot *slot; /* [n_slots], a power of two */
  size_t n_slots;
  int64_t byte_id[256];     /* byte-level: the token of each byte, or NKI_NO_ID */
  int64_t fallback_id[256]; /* of nki_spec_fallback */
  int64_t unknown;          /* the unk_token's id, or NKI_NO_ID */
  const char *missing;      /* the unk_token when the vocabulary does not have it, else NULL */
  /* What the strings of units have before them within a word, and after the last one (CLIP's </w>);
   * in the spec's JSON. */
  const char *prefix, *suffix;
  size_t n_prefix, n_suffix;
  bool byte_level, fuse_unknown, ignore_merges;
  bool cuts;        /* a piece may be cut before U+2581 ... */
  bool joined[256]; /* ... but not after these bytes, which some token has before it */
};

struct nki_symbol {
  uint32_t id;
  uint32_t rank;       /* of the pair with the next one (scanning) */
  uint32_t next, prev; /* places (heap); UINT32_MAX at the ends */
  bool gone;
};

struct nki_candidate {
  uint32_t rank, place;
  uint32_t left, right; /* the ids of the pair: the candidate is stale when they have changed */
  uint32_t result;
};

static const char mark[3] = {'\xE2', '\x96', '\x81'}; /* U+2581 */

/* ---- The table of merges ---- */

static uint64_t pair_of(uint32_t left, uint32_t right) {
  return (uint64_t)left << 32 | right;
}

static size_t first_slot(const struct nki_bpe *bpe, uint64_t pair) {
  uint64_t hash = pair * 0x9E3779B97F4A7C15u;
  return (size_t)(hash ^ hash >> 32) & (bpe->n_slots - 1);
}

static struct merge_slot *find_slot(const struct nki_bpe *bpe, uint64_t pair) {
  size_t i = first_slot(bpe, pair);
  while (bpe->slot[i].pair != pair && bpe->slot[i].pair != EMPTY) i = (i + 1) & (bpe->n_slots - 1);
  return &bpe->slot[i];
}

/* The merge of two tokens; NULL when there is none. */
static const struct merge_slot *merge_of(const struct nki_bpe *bpe, uint32_t left, uint32_t right) {
  const struct merge_slot *slot = find_slot(bpe, pair_of(left, right));
  return slot->pair == EMPTY ? NULL : slot;
}

static int build_merges(struct nki_bpe *bpe, const struct nki_spec *spec) {
  bpe->n_slots = 1024;
  while (bpe->n_slots < 2 * spec->n_merges) bpe->n_slots *= 2;
  bpe->slot = nk_alloc(bpe->n_slots, sizeof *bpe->slot);
  if (bpe->slot == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < bpe->n_slots; i++) bpe->slot[i].pair = EMPTY;
  for (size_t i = 0; i < spec->n_merges; i++) {
    const struct nki_merge *merge = &spec->merges[i];
    uint64_t pair = pair_of(merge->left, merge->right);
    *find_slot(bpe, pair) = (struct merge_slot){pair, merge->rank, merge->result};
  }
  return NK_OK;
}

/* ---- The rest of the model ---- */

static void find_bytes(struct nki_bpe *bpe, const struct nki_spec *spec) {
  nki_spec_fallback(spec, bpe->fallback_id);
  for (int byte = 0; byte < 256; byte++) {
    char raw = (char)byte;
    bpe->byte_id[byte] = nki_pieces_find(bpe->pieces, &raw, 1);
  }
}

/* Finds where pieces may be cut. Without a pre-tokenizer a whole text is one piece (Llama 2); but
 * no merge ever joins "x" and U+2581 when no token holds the two in this order, so that the words
 * can be encoded one by one. That is not so with merges of byte tokens or of the unknown
 * token: then nothing is cut. */
static void find_cuts(struct nki_bpe *bpe, const struct nki_spec *spec) {
  const struct nki_pieces *pieces = &spec->pieces;
  bool drops =
      bpe->unknown < 0; /* text without a token is dropped, and its neighbours become adjacent */
  if (drops && nki_is_fallback(bpe->fallback_id, NKI_NO_ID)) return;
  if (bpe->byte_level || bpe->ignore_merges || bpe->n_prefix != 0 || bpe->n_suffix != 0 ||
      bpe->missing != NULL || nki_pieces_find(pieces, mark, sizeof mark) < 0)
    return;
  for (size_t i = 0; i < spec->n_merges; i++) {
    const struct nki_merge *merge = &spec->merges[i];
    for (int side = 0; side < 2; side++) {
      uint32_t id = side != 0 ? merge->right : merge->left;
      if (id == bpe->unknown) return;
      if (pieces->piece[id].length == 6 && nki_is_fallback(bpe->fallback_id, id)) return;
    }
    const char *s = nki_pieces_bytes(pieces, merge->result),
               *end = s + pieces->piece[merge->result].length;
    for (const char *at = s + 1;
         at < end && (at = memmem(at, (size_t)(end - at), mark, sizeof mark)) != NULL; at++)
      bpe->joined[(unsigned char)at[-1]] = true;
  }
  bpe->cuts = true;
}

/* dropout, which drops merges at random, is for training: it is not read. */
static void read_options(struct nki_bpe *bpe, const struct nki_spec *spec) {
  const json_t *model = json_object_get(spec->config, "model");
  const json_t *unknown = json_object_get(model, "unk_token");
  const json_t *prefix = json_object_get(model, "continuing_subword_prefix");
  const json_t *suffix = json_object_get(model, "end_of_word_suffix");
  bpe->prefix = json_string_value(prefix);
  bpe->n_prefix = json_string_length(prefix);
  bpe->suffix = json_string_value(suffix);
  bpe->n_suffix = json_string_length(suffix);
  bpe->byte_level = spec->byte_level;
  bpe->fuse_unknown = json_is_true(json_object_get(model, "fuse_unk"));
  bpe->ignore_merges = json_is_true(json_object_get(model, "ignore_merges"));
  bpe->unknown = NKI_NO_ID;
  if (!json_is_string(unknown)) return;
  bpe->unknown = nki_spec_find(spec, json_string_value(unknown), json_string_length(unknown));
  if (bpe->unknown < 0) bpe->missing = json_string_value(unknown);
}

struct nki_bpe *nki_bpe_new(const struct nki_spec *spec) {
  struct nki_bpe *bpe = nk_calloc(1, sizeof *bpe);
  if (bpe == NULL) return NULL;
  bpe->pieces = &spec->pieces;
  read_options(bpe, spec);
  if (build_merges(bpe, spec) != NK_OK) {
    nki_bpe_free(bpe);
    return NULL;
  }
  find_bytes(bpe, spec);
  find_cuts(bpe, spec);
  return bpe;
}

void nki_bpe_free(struct nki_bpe *bpe) {
  if (bpe == NULL) return;
  nk_free(bpe->slot);
  nk_free(bpe);
}

void nki_bpe_work_free(struct nki_bpe_work *work) {
  nk_free(work->symbol);
  nk_free(work->heap);
  nk_buffer_free(&work->key);
}

size_t nki_bpe_cut(const struct nki_bpe *bpe, const char *s, size_t n, size_t at) {
  if (!bpe->cuts) return n;
  for (size_t i = at + 1; i + sizeof mark <= n; i++)
    if (s[i] == mark[0] && s[i + 1] == mark[1] && s[i + 2] == mark[2] &&
        !bpe->joined[(unsigned char)s[i - 1]])
      return i;
  return n;
}

/* ---- Units ---- */

static int reserve_symbols(struct nki_bpe_work *work, size_t n) {
  if (n <= work->n_symbols) return NK_OK;
  struct nki_symbol *grown = nk_realloc(work->symbol, 0, n + n / 2 + 64, sizeof *grown);
  if (grown == NULL) return NK_EMEMORY;
  work->symbol = grown;
  work->n_symbols = n + n / 2 + 64;
  return NK_OK;
}

/* The bytes of a character that has no token, as byte tokens, into symbol[0..width). False when one
 * of them has none. */
static bool fall_back(const struct nki_bpe *bpe, const char *s, size_t width,
                      struct nki_symbol *symbol) {
  for (size_t i = 0; i < width; i++) {
    int64_t id = bpe->fallback_id[(unsigned char)s[i]];
    if (id < 0) return false;
    symbol[i].id = (uint32_t)id;
  }
  return true;
}

/* The string of the unit s[0..n) with what the model writes before and after it: s itself where
 * that is nothing, else in key. */
static const char *unit_string(const struct nki_bpe *bpe, struct nk_buffer *key, const char *s,
                               size_t *n, bool first, bool last) {
  bool has_prefix = !first && bpe->n_prefix != 0, has_suffix = last && bpe->n_suffix != 0;
  if (!has_prefix && !has_suffix) return s;
  nk_buffer_clear(key);
  if (has_prefix) nk_buffer_append(key, bpe->prefix, bpe->n_prefix);
  nk_buffer_append(key, s, *n);
  if (has_suffix) nk_buffer_append(key, bpe->suffix, bpe->n_suffix);
  *n = key->size;
  return key->failed ? NULL : key->data;
}

/* The units of s[0..n) into symbol[0..*count); there are at most n, and the bytes of prefixes and
 * suffix. A unit that has no token is byte tokens, the unknown token, or nothing. An unknown token
 * is held until the next known one, so that unknown neighbours can be fused. */
static int split_units(const struct nki_bpe *bpe, const char *s, size_t n, struct nk_buffer *key,
                       struct nki_symbol *symbol, size_t *count) {
  size_t k = 0, width;
  bool waiting = false, plain = bpe->n_prefix == 0 && bpe->n_suffix == 0;
  for (size_t i = 0; i < n; i += width) {
    width = bpe->byte_level ? 1 : nki_utf8_width(s[i]);
    size_t length = width;
    const char *unit =
        plain ? s + i : unit_string(bpe, key, s + i, &length, i == 0, i + width == n);
    if (unit == NULL) return NK_EMEMORY;
    int64_t id = plain && bpe->byte_level ? bpe->byte_id[(unsigned char)s[i]]
                                          : nki_pieces_find(bpe->pieces, unit, length);
    if (id >= 0) {
      if (waiting) symbol[k++].id = (uint32_t)bpe->unknown;
      waiting = false;
      symbol[k++].id = (uint32_t)id;
    } else if (fall_back(bpe, unit, length, symbol + k)) {
      k += length;
    } else if (bpe->unknown >= 0) {
      if (waiting && !bpe->fuse_unknown) symbol[k++].id = (uint32_t)bpe->unknown;
      waiting = true;
    } else if (bpe->missing != NULL) {
      return nk_fail(NK_EDATA,
                     "'%.*s' has no token, and the vocabulary does not hold the unk_token '%s'",
                     (int)width, s + i, bpe->missing);
    }
  }
  if (waiting) symbol[k++].id = (uint32_t)bpe->unknown;
  *count = k;
  return NK_OK;
}

/* ---- Merging ---- */

static uint32_t rank_of(const struct nki_bpe *bpe, const struct nki_symbol *symbol) {
  const struct merge_slot *merge = merge_of(bpe, symbol[0].id, symbol[1].id);
  return merge != NULL ? merge->rank : NO_RANK;
}

/* Notes the two tokens that a merge joins: those of the last merge remain. */
static void note_parts(struct nki_bpe_work *work, uint32_t left, uint32_t right) {
  work->parts[0] = left;
  work->parts[1] = right;
}

/* Merges symbol[0..n), searching the best pair each time; returns the number of symbols left. */
static size_t merge_short(const struct nki_bpe *bpe, struct nki_bpe_work *work, size_t n) {
  struct nki_symbol *symbol = work->symbol;
  for (size_t i = 0; i + 1 < n; i++) symbol[i].rank = rank_of(bpe, symbol + i);
  while (n > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < n; i++)
      if (symbol[i].rank < symbol[best].rank) best = i;
    if (symbol[best].rank == NO_RANK) break;
    note_parts(work, symbol[best].id, symbol[best + 1].id);
    symbol[best].id = merge_of(bpe, symbol[best].id, symbol[best + 1].id)->result;
    memmove(symbol + best + 1, symbol + best + 2, (n - best - 2) * sizeof *symbol);
    n--;
    if (best + 1 < n) symbol[best].rank = rank_of(bpe, symbol + best);
    if (best > 0) symbol[best - 1].rank = rank_of(bpe, symbol + best - 1);
  }
  return n;
}

static bool before(const struct nki_candidate *a, const struct nki_candidate *b) {
  return a->rank != b->rank ? a->rank < b->rank : a->place < b->place;
}

static void push(struct nki_candidate *heap, size_t *n, struct nki_candidate candidate) {
  size_t at = (*n)++;
  for (size_t up; at > 0 && before(&candidate, &heap[up = (at - 1) / 2]); at = up)
    heap[at] = heap[up];
  heap[at] = candidate;
}

static struct nki_candidate pop(struct nki_candidate *heap, size_t *n) {
  struct nki_candidate top = heap[0], last = heap[--*n];
  size_t at = 0;
  for (size_t down; (down = 2 * at + 1) < *n; at = down) {
    if (down + 1 < *n && before(&heap[down + 1], &heap[down])) down++;
    if (!before(&heap[down], &last)) break;
    heap[at] = heap[down];
  }
  heap[at] = last;
  return top;
}

static void consider(const struct nki_bpe *bpe, const struct nki_symbol *symbol, uint32_t place,
                     struct nki_candidate *heap, size_t *n_heap) {
  uint32_t next = symbol[place].next;
  if (next == UINT32_MAX) return;
  const struct merge_slot *merge = merge_of(bpe, symbol[place].id, symbol[next].id);
  if (merge != NULL)
    push(heap, n_heap,
         (struct nki_candidate){merge->rank, place, symbol[place].id, symbol[next].id,
                                merge->result});
}

/* The same with a heap. Each merge makes at most two new pairs, so 3n candidates are enough. */
static int merge_long(const struct nki_bpe *bpe, struct nki_bpe_work *work, size_t n,
                      size_t *n_left) {
  struct nki_symbol *symbol = work->symbol;
  if (work->n_heap < 3 * n) {
    nk_free(work->heap);
    work->n_heap = 0;
    if ((work->heap = nk_alloc(3 * n, sizeof *work->heap)) == NULL) return NK_EMEMORY;
    work->n_heap = 3 * n;
  }
  size_t n_heap = 0, k = 0;
  for (size_t i = 0; i < n; i++) {
    symbol[i].prev = i != 0 ? (uint32_t)i - 1 : UINT32_MAX;
    symbol[i].next = i + 1 < n ? (uint32_t)i + 1 : UINT32_MAX;
    symbol[i].gone = false;
  }
  for (size_t i = 0; i < n; i++) consider(bpe, symbol, (uint32_t)i, work->heap, &n_heap);
  while (n_heap > 0) {
    struct nki_candidate best = pop(work->heap, &n_heap);
    struct nki_symbol *left = &symbol[best.place];
    uint32_t right = left->next;
    if (left->gone || right == UINT32_MAX || left->id != best.left ||
        symbol[right].id != best.right)
      continue;
    note_parts(work, best.left, best.right);
    left->id = best.result;
    left->next = symbol[right].next;
    symbol[right].gone = true;
    if (left->next != UINT32_MAX) symbol[left->next].prev = best.place;
    consider(bpe, symbol, best.place, work->heap, &n_heap);
    if (left->prev != UINT32_MAX) consider(bpe, symbol, left->prev, work->heap, &n_heap);
  }
  for (size_t i = 0; i < n; i++)
    if (!symbol[i].gone) symbol[k++].id = symbol[i].id;
  *n_left = k;
  return NK_OK;
}

/* Merges the units of s[0..n) into work->symbol[0..*count). */
static int merge(const struct nki_bpe *bpe, struct nki_bpe_work *work, const char *s, size_t n,
                 size_t *count) {
  if (n >= UINT32_MAX / 4 / (1 + bpe->n_prefix))
    return nk_fail(NK_EUNSUPPORTED, "a piece of %zu bytes is too long to encode", n);
  int code = reserve_symbols(work, n * (1 + bpe->n_prefix) + bpe->n_suffix);
  if (code == NK_OK) code = split_units(bpe, s, n, &work->key, work->symbol, count);
  if (code != NK_OK) return code;
  if (*count > SHORT) return merge_long(bpe, work, *count, count);
  *count = merge_short(bpe, work, *count);
  return NK_OK;
}

int nki_bpe_encode(const struct nki_bpe *bpe, struct nki_bpe_work *work, const char *s, size_t n,
                   struct nki_ids *ids) {
  size_t count = 0;
  if (bpe->ignore_merges) {
    int64_t whole = nki_pieces_find(bpe->pieces, s, n);
    if (whole >= 0) return nki_ids_add(ids, whole) ? NK_OK : NK_EMEMORY;
  }
  int code = merge(bpe, work, s, n, &count);
  if (code != NK_OK) return code;
  if (!nki_ids_reserve(ids, count)) return NK_EMEMORY;
  for (size_t i = 0; i < count; i++) ids->id[ids->n++] = work->symbol[i].id;
  return NK_OK;
}

int nki_bpe_parts(const struct nki_bpe *bpe, struct nki_bpe_work *work, const char *s, size_t n,
                  uint32_t parts[2], int64_t *id) {
  size_t count = 0;
  *id = NKI_NO_ID;
  work->parts[0] = work->parts[1] = UINT32_MAX;
  int code = merge(bpe, work, s, n, &count);
  if (code != NK_OK || count != 1 || work->parts[0] == UINT32_MAX) return code;
  *id = work->symbol[0].id;
  memcpy(parts, work->parts, sizeof work->parts);
  return NK_OK;
}
