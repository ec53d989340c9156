/* A list of different names, such as the columns of a table, each found in constant time. The hash
 * is keyed at random: names out of a file cannot be chosen so that they collide. */
#ifndef CLI_NAMES_H
#define CLI_NAMES_H

#include <noken/base.h>
#include <stddef.h>
#include <stdint.h>

/* All zero is an empty list. */
struct cli_names {
  struct nk_buffer text; /* the names, each with a closing 0 */
  size_t *begin;         /* [n] offsets into text */
  size_t n;
  size_t capacity;
  uint32_t *slots; /* [n_slots] 1 + a name's index; 0 where the slot is free */
  size_t n_slots;  /* a power of two, more than twice n */
  uint64_t key[2];
};

/* Sets *index to that of the name, which is added where it is not in the list: *index is then the
 * former n. Returns NK_OK or NK_EMEMORY. */
int cli_names_add(struct cli_names *names, const char *name, size_t *index);
/* The name's index, or -1. */
int64_t cli_names_find(const struct cli_names *names, const char *name);
/* Valid until a name is added. */
const char *cli_names_item(const struct cli_names *names, size_t index);
void cli_names_free(struct cli_names *names);

#endif
