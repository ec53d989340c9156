/* Unigram by Viterbi's algorithm: the best tokens up to each place of the piece, from left to
 * right. A character without a token of its own is the unknown token, with a score 10 below the
 * smallest; unknown neighbours become one. */
#include "text/unigram.h"

#include <noken/base.h>
#include <string.h>

#include "base/utf8.h"
#include "text/prefixes.h"

struct nki_unigram {
  const struct nki_pieces *pieces;
  struct nki_prefixes prefixes;
  int64_t unknown; /* or NKI_NO_ID */
  double unknown_score;
  bool byte_level;
  bool single;              /* sums in single precision, as SentencePiece's, on which ties depend */
  int64_t fallback_id[256]; /* of nki_spec_fallback */
};

struct nki_node {
  double score;  /* of the best tokens from the beginning to here */
  uint32_t from; /* where the last of them begins; UINT32_MAX: none yet */
  int64_t id;    /* the last of them */
};

struct nki_span_ends {
  uint32_t begin, end;
};

/* ---- Making ---- */

static int read_options(struct nki_unigram *u, const struct nki_spec *spec) {
  const json_t *model = json_object_get(spec->config, "model");
  const json_t *unknown = json_object_get(model, "unk_id");
  u->byte_level = spec->byte_level;
  u->single = json_is_true(json_object_get(model, "single_precision"));
  u->unknown = NKI_NO_ID;
  if (json_is_integer(unknown)) u->unknown = json_integer_value(unknown);
  if (u->unknown != NKI_NO_ID && (u->unknown < 0 || (size_t)u->unknown >= spec->pieces.n))
    return nk_fail(NK_EDATA, "%s: unk_id is outside the vocabulary", spec->name);
  double lowest = 0;
  for (size_t id = 0; id < spec->pieces.n; id++) {
    double score = spec->pieces.score[id];
    if (!(score <= 1e300 && score >= -1e300))
      return nk_fail(NK_EDATA, "%s: the score of token %zu is not finite", spec->name, id);
    if (id == 0 || score < lowest) lowest = score;
  }
  u->unknown_score = lowest - 10;
  return NK_OK;
}

static int build_prefixes(struct nki_unigram *u) {
  const struct nki_pieces *pieces = u->pieces;
  struct nki_prefix_entry *entry = nk_alloc(pieces->n, sizeof *entry);
  if (entry == NULL) return NK_EMEMORY;
  size_t n = 0;
  for (size_t id = 0; id < pieces->n; id++)
    if (pieces->piece[id].present && !pieces->piece[id].hidden && pieces->piece[id].length != 0)
      entry[n++] = (struct nki_prefix_entry){nki_pieces_bytes(pieces, id), pieces->piece[id].length,
                                             (uint32_t)id};
  nki_prefixes_build(&u->prefixes, entry, n);
  return NK_OK;
}

struct nki_unigram *nki_unigram_new(const struct nki_spec *spec) {
  if (spec->pieces.score == NULL && spec->pieces.n > 0) {
    nk_fail(NK_EDATA, "%s: a Unigram vocabulary without scores", spec->name);
    return NULL;
  }
  struct nki_unigram *u = nk_calloc(1, sizeof *u);
  if (u == NULL) return NULL;
  u->pieces = &spec->pieces;
  if (read_options(u, spec) != NK_OK || build_prefixes(u) != NK_OK) {
    nki_unigram_free(u);
    return NULL;
  }
  nki_spec_fallback(spec, u->fallback_id);
  return u;
}

void nki_unigram_free(struct nki_unigram *unigram) {
  if (unigram == NULL) return;
  nki_prefixes_free(&unigram->prefixes);
  nk_free(unigram);
}

void nki_unigram_work_free(struct nki_unigram_work *work) {
  nk_free(work->node);
  nk_free(work->cut);
}

/* ---- Encoding ---- */

static int reserve(struct nki_unigram_work *work, size_t n) {
  if (n <= work->n_nodes) return NK_OK;
  size_t size = n + n / 2 + 64;
  struct nki_node *node = nk_realloc(work->node, 0, size, sizeof *node);
  if (node == NULL) return NK_EMEMORY;
  work->node = node;
  struct nki_span_ends *cut = nk_realloc(work->cut, 0, size, sizeof *cut);
  if (cut == NULL) return NK_EMEMORY;
  work->cut = cut;
  work->n_nodes = work->n_cuts = size;
  return NK_OK;
}

static double sum(const struct nki_unigram *u, double a, double b) {
  return u->single ? (double)((float)a + (float)b) : a + b;
}

static void offer(struct nki_node *node, size_t at, size_t from, double score, int64_t id) {
  if (node[at].from != UINT32_MAX && score <= node[at].score) return;
  node[at] = (struct nki_node){score, (uint32_t)from, id};
}

/* Fills node[0..n]. */
static int forward(const struct nki_unigram *u, struct nki_node *node, const char *s, size_t n) {
  for (size_t i = 0; i <= n; i++) node[i] = (struct nki_node){0, UINT32_MAX, NKI_NO_ID};
  for (size_t at = 0, width; at < n; at += width) {
    width = u->byte_level ? 1 : nki_utf8_width(s[at]);
    bool single = false; /* the character at `at` has a token */
    struct nki_prefix_walk walk = {0};
    for (size_t end = at; end < n && nki_prefixes_step(&u->prefixes, &walk, s[end]); end++) {
      int64_t id = nki_prefixes_value(&u->prefixes, &walk);
      if (id < 0) continue;
      offer(node, end + 1, at, sum(u, node[at].score, u->pieces->score[id]), id);
      single |= end + 1 - at == width;
    }
    if (single) continue;
    if (u->unknown < 0)
      return nk_fail(NK_EDATA, "a character has no token and the tokenizer has no unk_id");
    offer(node, at + width, at, sum(u, node[at].score, u->unknown_score), u->unknown);
  }
  return NK_OK;
}

/* Adds the token of a stretch, or those of its bytes, or the unknown token. */
static bool add_stretch(const struct nki_unigram *u, const char *s, size_t n, struct nki_ids *ids) {
  int64_t id = nki_pieces_find(u->pieces, s, n);
  if (id >= 0) return nki_ids_add(ids, id);
  bool bytes = true;
  for (size_t i = 0; bytes && i < n; i++) bytes = u->fallback_id[(unsigned char)s[i]] >= 0;
  if (!bytes) return nki_ids_add(ids, u->unknown);
  for (size_t i = 0; i < n; i++)
    if (!nki_ids_add(ids, u->fallback_id[(unsigned char)s[i]])) return false;
  return true;
}

int nki_unigram_encode(const struct nki_unigram *u, struct nki_unigram_work *work, const char *s,
                       size_t n, struct nki_ids *ids) {
  if (n >= UINT32_MAX / 2)
    return nk_fail(NK_EUNSUPPORTED, "a piece of %zu bytes is too long to encode", n);
  int code = reserve(work, n + 1);
  if (code == NK_OK) code = forward(u, work->node, s, n);
  if (code != NK_OK) return code;
  size_t k = 0;
  bool fusing = false; /* the stretch last cut is unknown */
  for (size_t end = n; end > 0; end = work->node[end].from) {
    const struct nki_node *node = &work->node[end];
    bool unknown = u->unknown >= 0 && node->id == u->unknown;
    if (unknown && fusing)
      work->cut[k - 1].begin = node->from;
    else
      work->cut[k++] = (struct nki_span_ends){node->from, (uint32_t)end};
    fusing = unknown;
  }
  while (k-- > 0)
    if (!add_stretch(u, s + work->cut[k].begin, work->cut[k].end - work->cut[k].begin, ids))
      return NK_EMEMORY;
  return NK_OK;
}
