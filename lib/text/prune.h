/* Pruning: what the files that take tokens out of a tokenizer share. */
#ifndef NOKEN_TEXT_PRUNE_H
#define NOKEN_TEXT_PRUNE_H

#include <noken/tokenizer.h>

#include "text/tokenizer.h"

/* The listed tokens, and what pruning changes. */
struct nki_pruning {
  const struct nk_tokenizer *tokenizer;
  size_t n;               /* ids of the vocabulary */
  bool *listed;           /* [n] */
  struct nk_pruned *what; /* [n] of the listed ones */
  bool *renamed;          /* [n] of the listed ones: pruning it takes a new name */
  struct nk_buffer mark;  /* what a new name begins with; no string of the file holds it */
  bool *dropped;          /* [n_ranks] the merges that go, by rank */
  size_t n_ranks;
};

/* Whether no text gives the token any more. */
static inline bool nki_is_pruned(const struct nki_pruning *p, size_t id) {
  return id < p->n && p->listed[id] && p->what[id].result == NK_PRUNE_DONE;
}

/* Keeps the tokens from which others are built (prune_parts.c). */
int nki_prune_parts(struct nki_pruning *pruning);

/* Appends the edited file to json (prune_json.c). */
int nki_prune_edit(const struct nki_pruning *pruning, const struct nk_file *file,
                   struct nk_buffer *json);

/* The proof; `file` is the edited one (prune_proof.c). */
int nki_prune_prove(const struct nki_pruning *pruning, const struct nk_file *file,
                    const struct nk_prune_options *options);

#endif
