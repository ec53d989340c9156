/* The ids of added tokens. Hugging Face's library does not use those that tokenizer.json writes: a
 * string of the vocabulary keeps its id, and every other one takes the next id after the number of
 * the vocabulary's strings, in the order of the file. Of a string that is there twice the last
 * entry counts; it is special where any of its entries is. Of two strings with one id, which a
 * vocabulary with gaps can give, the last one counts too. */
#include <noken/base.h>
#include <string.h>

#include "text/pieces.h"
#include "text/spec.h"

/* The added tokens of a file by their strings. */
struct numbering {
  struct nki_spec *spec;
  uint32_t *slots; /* [n_slots] open addressing: index of the first entry of a string, + 1 */
  size_t n_slots;  /* a power of two */
  uint32_t *last;  /* [n_added] of the first entry of a string: the entry that counts */
  uint32_t *owner; /* [n_ids] the entry that counts for an id */
  size_t n_ids;
};

static const char *content(const struct nki_spec *spec, size_t i) {
  return spec->added_bytes.data + spec->added[i].offset;
}

/* The first entry with the string of entry i, which is entered when it is the first. */
static size_t first_of(struct numbering *n, size_t i) {
  const struct nki_spec *spec = n->spec;
  size_t length = spec->added[i].length, mask = n->n_slots - 1;
  for (size_t slot = nki_hash(content(spec, i), length) & mask;; slot = (slot + 1) & mask) {
    if (n->slots[slot] == 0) n->slots[slot] = (uint32_t)i + 1;
    size_t first = n->slots[slot] - 1;
    if (spec->added[first].length == length &&
        memcmp(content(spec, first), content(spec, i), length) == 0)
      return first;
  }
}

/* Sets id and special of each string's first entry. An empty string is no token. */
static void number(struct numbering *n) {
  struct nki_spec *spec = n->spec;
  size_t next = 0;
  for (size_t id = 0; id < spec->pieces.n; id++) next += spec->pieces.piece[id].present;
  for (size_t i = 0; i < spec->n_added; i++) {
    struct nki_added *added = &spec->added[i];
    if (added->length == 0) continue;
    size_t first = first_of(n, i);
    n->last[first] = (uint32_t)i;
    if (first != i) {
      spec->added[first].special |= added->special;
      continue;
    }
    int64_t known = nki_spec_find(spec, content(spec, i), added->length);
    added->id = known >= 0 ? (size_t)known : next++;
  }
}

/* Finds the owner of each id. */
static int find_owners(struct numbering *n) {
  const struct nki_spec *spec = n->spec;
  for (size_t i = 0; i < spec->n_added; i++)
    if (spec->added[i].length != 0 && first_of(n, i) == i && spec->added[i].id >= n->n_ids)
      n->n_ids = spec->added[i].id + 1;
  n->owner = nk_calloc(n->n_ids, sizeof *n->owner);
  if (n->owner == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < spec->n_added; i++) {
    if (spec->added[i].length == 0 || first_of(n, i) != i) continue;
    uint32_t *owner = &n->owner[spec->added[i].id];
    if (n->last[i] >= *owner) *owner = n->last[i];
  }
  return NK_OK;
}

/* The tokens to out[0..*k), the special ones first: of equal normalized strings the first
 * counts. */
static void sort(struct numbering *n, struct nki_added *out, size_t *k) {
  const struct nki_spec *spec = n->spec;
  for (int special = 1; special >= 0; special--)
    for (size_t i = 0; i < spec->n_added; i++) {
      const struct nki_added *first = &spec->added[i];
      if (first->length == 0 || first_of(n, i) != i || first->special != (special != 0) ||
          n->owner[first->id] != n->last[i])
        continue;
      out[*k] = spec->added[n->last[i]];
      out[*k].id = first->id;
      out[(*k)++].special = first->special;
    }
}

int nki_spec_number_added(struct nki_spec *spec) {
  struct numbering n = {.spec = spec, .n_slots = 64};
  if (spec->n_added == 0) return NK_OK;
  while (n.n_slots < 2 * spec->n_added) n.n_slots *= 2;
  n.slots = nk_calloc(n.n_slots, sizeof *n.slots);
  n.last = nk_calloc(spec->n_added, sizeof *n.last);
  struct nki_added *sorted = nk_calloc(spec->n_added, sizeof *sorted);
  int code = n.slots != NULL && n.last != NULL && sorted != NULL ? NK_OK : NK_EMEMORY;
  if (code == NK_OK) {
    number(&n);
    code = find_owners(&n);
  }
  if (code == NK_OK) {
    size_t k = 0;
    sort(&n, sorted, &k);
    nk_free(spec->added);
    spec->added = sorted;
    spec->n_added = k;
    spec->added_capacity = k;
    sorted = NULL;
  }
  nk_free(sorted);
  nk_free(n.slots);
  nk_free(n.last);
  nk_free(n.owner);
  return code;
}
