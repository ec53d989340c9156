/* Strings by prefix. A sorted array takes a tenth of a trie's memory; its first level, where most
 * searches end, is a table. */
#include "text/prefixes.h"

#include <noken/base.h>
#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b) {
  const struct nki_prefix_entry *x = a, *y = b;
  uint32_t n = x->length < y->length ? x->length : y->length;
  int order = memcmp(x->bytes, y->bytes, n);
  if (order != 0) return order;
  if (x->length != y->length) return x->length < y->length ? -1 : 1;
  return x->value > y->value ? -1 : x->value < y->value;
}

void nki_prefixes_build(struct nki_prefixes *set, struct nki_prefix_entry *entry, size_t n) {
  memset(set, 0, sizeof *set);
  set->entry = entry;
  set->n = n;
  if (n != 0) qsort(entry, n, sizeof *entry, compare);
  size_t at = 0;
  for (unsigned byte = 0; byte < 256; byte++) {
    set->first[byte] = (uint32_t)at;
    while (at < n && (unsigned char)entry[at].bytes[0] == byte) at++;
  }
  set->first[256] = (uint32_t)n;
  for (size_t i = 0; i < n; i++) {
    unsigned a = (unsigned char)entry[i].bytes[0];
    set->begins[a] = true;
    if (entry[i].length == 1) {
      set->single[a] = true;
      continue;
    }
    unsigned pair = a << 8 | (unsigned char)entry[i].bytes[1];
    set->pairs[pair >> 3] |= (unsigned char)(1 << (pair & 7));
  }
}

void nki_prefixes_free(struct nki_prefixes *set) {
  nk_free(set->entry);
  set->entry = NULL;
  set->n = 0;
}

/* The first of entry[low..high) whose byte at `depth` is not below `byte`; strings that end
 * there come first. */
static size_t bound(const struct nki_prefixes *set, size_t low, size_t high, size_t depth,
                    unsigned byte) {
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    const struct nki_prefix_entry *entry = &set->entry[middle];
    if (entry->length <= depth || (unsigned char)entry->bytes[depth] < byte)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

bool nki_prefixes_step(const struct nki_prefixes *set, struct nki_prefix_walk *walk, char byte) {
  unsigned b = (unsigned char)byte;
  if (walk->depth == 0) {
    walk->low = set->first[b];
    walk->high = set->first[b + 1];
  } else {
    walk->low = bound(set, walk->low, walk->high, walk->depth, b);
    walk->high = bound(set, walk->low, walk->high, walk->depth, b + 1);
  }
  walk->depth++;
  return walk->low < walk->high;
}
