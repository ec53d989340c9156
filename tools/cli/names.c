/* Names in one text, and a hash table with open addressing over their indices. */
#include "cli/names.h"

#include <string.h>
#include <sys/random.h>

/* ---- SipHash-1-3 (Aumasson and Bernstein 2012) ---- */

static uint64_t rotate(uint64_t x, int bits) {
  return x << bits | x >> (64 - bits);
}

static void sip_round(uint64_t v[4]) {
  v[0] += v[1];
  v[1] = rotate(v[1], 13) ^ v[0];
  v[0] = rotate(v[0], 32);
  v[2] += v[3];
  v[3] = rotate(v[3], 16) ^ v[2];
  v[0] += v[3];
  v[3] = rotate(v[3], 21) ^ v[0];
  v[2] += v[1];
  v[1] = rotate(v[1], 17) ^ v[2];
  v[2] = rotate(v[2], 32);
}

static uint64_t hash(const struct cli_names *names, const char *name) {
  static const char initial[] = "somepseudorandomlygeneratedbytes";
  size_t n = strlen(name);
  uint64_t v[4], word;
  for (size_t i = 0; i < 4; i++) {
    v[i] = names->key[i % 2];
    for (int byte = 0; byte < 8; byte++)
      v[i] ^= (uint64_t)(unsigned char)initial[8 * i + (size_t)byte] << (56 - 8 * byte);
  }
  for (size_t i = 0; i <= n; i += 8) {
    size_t rest = n - i < 8 ? n - i : 8;
    word = rest < 8 ? (uint64_t)n << 56 : 0;
    for (size_t byte = 0; byte < rest; byte++)
      word |= (uint64_t)(unsigned char)name[i + byte] << (8 * byte);
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
  }
  v[2] ^= 0xFF;
  for (int i = 0; i < 3; i++) sip_round(v);
  return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* ---- The list ---- */

const char *cli_names_item(const struct cli_names *names, size_t index) {
  return names->text.data + names->begin[index];
}

/* The slot of the name, or the free one where it belongs. */
static size_t find_slot(const struct cli_names *names, const char *name) {
  size_t slot = (size_t)hash(names, name) & (names->n_slots - 1);
  while (names->slots[slot] != 0 &&
         strcmp(cli_names_item(names, names->slots[slot] - 1), name) != 0)
    slot = (slot + 1) & (names->n_slots - 1);
  return slot;
}

/* Makes room for one more name. */
static int grow(struct cli_names *names) {
  size_t capacity = names->capacity > 0 ? 2 * names->capacity : 16;
  if (names->n < names->capacity) return NK_OK;
  if (capacity > UINT32_MAX / 4) return nk_fail(NK_EMEMORY, "out of memory for names");
  if (names->n == 0 && getrandom(names->key, sizeof names->key, 0) != sizeof names->key)
    return nk_fail_errno("getrandom");
  size_t *begin = nk_realloc(names->begin, names->n, capacity, sizeof *begin);
  if (begin == NULL) return NK_EMEMORY;
  names->begin = begin;
  uint32_t *slots = nk_calloc(4 * capacity, sizeof *slots);
  if (slots == NULL) return NK_EMEMORY;
  nk_free(names->slots);
  names->slots = slots;
  names->n_slots = 4 * capacity;
  names->capacity = capacity;
  for (size_t i = 0; i < names->n; i++)
    slots[find_slot(names, cli_names_item(names, i))] = (uint32_t)(i + 1);
  return NK_OK;
}

int cli_names_add(struct cli_names *names, const char *name, size_t *index) {
  int code = grow(names);
  if (code != NK_OK) return code;
  size_t slot = find_slot(names, name), begin = names->text.size;
  if (names->slots[slot] == 0) {
    nk_buffer_append(&names->text, name, strlen(name) + 1);
    if (names->text.failed) return nk_fail(NK_EMEMORY, "out of memory for names");
    names->begin[names->n++] = begin;
    names->slots[slot] = (uint32_t)names->n;
  }
  *index = names->slots[slot] - 1;
  return NK_OK;
}

int64_t cli_names_find(const struct cli_names *names, const char *name) {
  return names->n > 0 ? (int64_t)names->slots[find_slot(names, name)] - 1 : -1;
}

void cli_names_free(struct cli_names *names) {
  nk_buffer_free(&names->text);
  nk_free(names->begin);
  nk_free(names->slots);
  *names = (struct cli_names){0};
}
