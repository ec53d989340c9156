/* A set of strings searched by prefix: sorted strings, narrowed a byte at a time to those that
 * begin at a place of a text. */
#ifndef NOKEN_TEXT_PREFIXES_H
#define NOKEN_TEXT_PREFIXES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct nki_prefix_entry {
  const char *bytes; /* must outlive the set */
  uint32_t length;   /* > 0 */
  uint32_t value;
};

struct nki_prefixes {
  struct nki_prefix_entry *entry; /* [n] sorted by bytes, equal strings by descending value */
  size_t n;
  uint32_t first[257];       /* strings that begin with byte b: entry[first[b]..first[b + 1]) */
  unsigned char pairs[8192]; /* a bit per pair of first bytes: some string has it */
  bool begins[256];          /* some string begins with this byte */
  bool single[256];          /* there is a string of this one byte */
};

/* Sorts entry [n] (from nk_alloc), which the set then owns. */
void nki_prefixes_build(struct nki_prefixes *set, struct nki_prefix_entry *entry, size_t n);
void nki_prefixes_free(struct nki_prefixes *set);

/* A walk down the strings that agree with the text so far: entry[low..high), depth bytes known. */
struct nki_prefix_walk {
  size_t low, high, depth;
};

/* Narrows to the strings whose next byte is this; the first call begins the walk from {0}. False
 * when none is left. */
bool nki_prefixes_step(const struct nki_prefixes *set, struct nki_prefix_walk *walk, char byte);
/* The value of the string that the walk has just completed; -1 when it is only a prefix. */
static inline int64_t nki_prefixes_value(const struct nki_prefixes *set,
                                         const struct nki_prefix_walk *walk) {
  const struct nki_prefix_entry *entry = &set->entry[walk->low];
  return entry->length == walk->depth ? (int64_t)entry->value : -1;
}

/* False when certainly no string begins at s[0..n), n > 0. */
static inline bool nki_prefixes_may_begin(const struct nki_prefixes *set, const char *s, size_t n) {
  unsigned a = (unsigned char)s[0];
  if (!set->begins[a]) return false;
  if (set->single[a]) return true;
  if (n < 2) return false;
  unsigned pair = a << 8 | (unsigned char)s[1];
  return set->pairs[pair >> 3] >> (pair & 7) & 1;
}

#endif
