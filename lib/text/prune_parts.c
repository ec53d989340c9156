/* Which tokens others are built from.
 *
 * BPE merges the pair of the smallest rank first, the leftmost of equals. No merge crosses an end
 * of a token that a text ends with, so that the merges inside it are those of its own units alone,
 * in the same order: of the pairs inside, the best one is the same whatever stands outside. A token
 * is thus made in one way, by the merges that its own string has, and consists of the two tokens
 * that the last of them joins, and so on down to units.
 *
 * Without the merges that give a token t, a text in which t is never made has the same ids: none of
 * these merges was ever the best pair. t is made in the texts that end with t or with a token that
 * consists of t among others. Pruning t is therefore safe where all of those are pruned too, and
 * where one is not, t is kept.
 *
 * Strings do not tell the units where merges join byte tokens or the unknown token, or where
 * strings depend on their place in a word: then every merge of a token that stays counts. */
#include <noken/base.h>

#include "text/prune.h"

struct parts {
  struct nki_pruning *pruning;
  const struct nki_spec *spec;
  struct nki_bpe_work work;
  bool exact;       /* strings tell the units */
  uint32_t *first;  /* [n + 1] not exact: the merges of token i are merge[first[i]..first[i + 1]) */
  uint32_t *merge;  /* [n_merges] indices of spec->merges */
  size_t *waiting;  /* [n_waiting] tokens that stay, whose parts are to be kept */
  size_t n_waiting; /* at most n: each is added once */
};

/* ---- What is known of the merges ---- */

static bool strings_tell_units(const struct nki_spec *spec) {
  int64_t unknown = nki_spec_unknown(spec), fallback[256];
  nki_spec_fallback(spec, fallback);
  for (size_t i = 0; i < spec->n_merges; i++)
    for (int side = 0; side < 2; side++) {
      uint32_t id = side != 0 ? spec->merges[i].right : spec->merges[i].left;
      if (id == unknown) return false;
      if (spec->pieces.piece[id].length == 6 && nki_is_fallback(fallback, id)) return false;
    }
  return !nki_spec_has_affixes(spec);
}

/* The merges by the tokens that they give. */
static int sort_merges(struct parts *parts) {
  const struct nki_spec *spec = parts->spec;
  size_t n = parts->pruning->n;
  parts->first = nk_calloc(n + 2, sizeof *parts->first);
  parts->merge = nk_alloc(spec->n_merges, sizeof *parts->merge);
  if (parts->first == NULL || parts->merge == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < spec->n_merges; i++) parts->first[spec->merges[i].result + 2]++;
  for (size_t id = 2; id < n + 2; id++) parts->first[id] += parts->first[id - 1];
  for (size_t i = 0; i < spec->n_merges; i++)
    parts->merge[parts->first[spec->merges[i].result + 1]++] = (uint32_t)i;
  return NK_OK;
}

/* ---- Keeping parts ---- */

/* A token of which `whole`, or a token that is named there, consists. */
static void keep(struct parts *parts, uint32_t part, size_t whole) {
  struct nki_pruning *p = parts->pruning;
  if (!nki_is_pruned(p, part)) return;
  const struct nk_pruned *of = &p->what[whole];
  bool is_part = p->listed[whole] && of->result == NK_PRUNE_PART;
  p->what[part] = (struct nk_pruned){NK_PRUNE_PART, is_part ? of->other : (int64_t)whole};
  parts->waiting[parts->n_waiting++] = part;
}

static int keep_parts(struct parts *parts, size_t id) {
  const struct nki_pieces *pieces = &parts->spec->pieces;
  uint32_t both[2];
  int64_t made = NKI_NO_ID;
  if (id >= pieces->n || !pieces->piece[id].present || pieces->piece[id].hidden) return NK_OK;
  if (parts->exact) {
    int code = nki_bpe_parts(parts->pruning->tokenizer->bpe, &parts->work,
                             nki_pieces_bytes(pieces, id), pieces->piece[id].length, both, &made);
    if (code != NK_OK || made != (int64_t)id) return code;
    for (int side = 0; side < 2; side++) keep(parts, both[side], id);
    return NK_OK;
  }
  for (size_t i = parts->first[id]; i < parts->first[id + 1]; i++) {
    const struct nki_merge *merge = &parts->spec->merges[parts->merge[i]];
    keep(parts, merge->left, id);
    keep(parts, merge->right, id);
  }
  return NK_OK;
}

int nki_prune_parts(struct nki_pruning *pruning) {
  struct parts parts = {.pruning = pruning, .spec = pruning->tokenizer->spec};
  int code = NK_OK;
  parts.exact = strings_tell_units(parts.spec);
  parts.waiting = nk_alloc(pruning->n, sizeof *parts.waiting);
  if (parts.waiting == NULL) code = NK_EMEMORY;
  if (code == NK_OK && !parts.exact) code = sort_merges(&parts);
  for (size_t id = 0; id < pruning->n && code == NK_OK; id++)
    if (!nki_is_pruned(pruning, id)) parts.waiting[parts.n_waiting++] = id;
  while (parts.n_waiting > 0 && code == NK_OK)
    code = keep_parts(&parts, parts.waiting[--parts.n_waiting]);
  nki_bpe_work_free(&parts.work);
  nk_free(parts.first);
  nk_free(parts.merge);
  nk_free(parts.waiting);
  return code;
}
