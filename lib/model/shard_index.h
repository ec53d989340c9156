/* model.safetensors.index.json: which shard holds which tensor. */
#ifndef NOKEN_MODEL_SHARD_INDEX_H
#define NOKEN_MODEL_SHARD_INDEX_H

#include <noken/base.h>
#include <stddef.h>

struct nki_shard_index {
  struct nki_shard_entry *entries; /* [n_entries] sorted by the tensors' names */
  size_t n_entries;
  struct nk_buffer names; /* of the tensors, each with a closing 0 */
  char **shards;          /* [n_shards] file names, sorted */
  size_t n_shards;
};

struct nki_shard_entry {
  size_t name;  /* offset in names */
  size_t shard; /* index in shards */
};

/* Reads the file. Returns NK_OK or a negative code (invalid JSON: line and column; a shard's name
 * that is not the name of a .safetensors file beside the index); free in either case. */
int nki_shard_index_read(const char *path, struct nki_shard_index *index);
void nki_shard_index_free(struct nki_shard_index *index);

/* The file name of the shard that holds tensor, or NULL. */
const char *nki_shard_index_find(const struct nki_shard_index *index, const char *tensor);
static inline const char *nki_shard_index_name(const struct nki_shard_index *index, size_t i) {
  return index->names.data + index->entries[i].name;
}

#endif
