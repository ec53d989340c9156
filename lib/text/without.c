/* The same model built from the same specification with less in it: BPE without the merges that
 * make a banned token, Unigram without its string. The rest of the tokenizer is shared. */
#include "text/without.h"

#include <noken/base.h>
#include <string.h>

#include "base/utf8.h"
#include "text/tokenizer.h"

struct nki_without {
  const bool *banned;   /* [n_tokens] the caller's */
  struct nki_spec spec; /* the tokenizer's, but for what is banned */
  struct nk_tokenizer tokenizer;
  struct nki_encoder *encoder;
  int64_t unknown;          /* the unknown token, or NKI_NO_ID */
  int64_t fallback_id[256]; /* of nki_spec_fallback */
};

/* ---- The model ---- */

/* Without ignore_merges: a whole word that is banned is not to be taken directly. */
static int copy_config(struct nki_without *w) {
  w->spec.config = json_deep_copy(w->spec.config);
  if (w->spec.config == NULL) return nk_fail(NK_EMEMORY, "%s: out of memory", w->spec.name);
  json_t *model = json_object_get(w->spec.config, "model");
  if (json_object_get(model, "ignore_merges") == NULL) return NK_OK;
  return json_object_set_new(model, "ignore_merges", json_false()) == 0 ? NK_OK : NK_EMEMORY;
}

static int build_bpe(struct nki_without *w) {
  const struct nki_spec *whole = w->tokenizer.spec;
  if (nki_spec_has_affixes(whole))
    return nk_fail(NK_EUNSUPPORTED,
                   "%s: the pieces of tokens are not known of BPE with marks of a word's ends",
                   whole->name);
  w->spec.merges = nk_alloc(whole->n_merges, sizeof *w->spec.merges);
  if (w->spec.merges == NULL) return NK_EMEMORY;
  w->spec.n_merges = 0;
  for (size_t i = 0; i < whole->n_merges; i++)
    if (!w->banned[whole->merges[i].result]) w->spec.merges[w->spec.n_merges++] = whole->merges[i];
  w->tokenizer.bpe = nki_bpe_new(&w->spec);
  return w->tokenizer.bpe != NULL ? NK_OK : nk_error_code();
}

static int build_unigram(struct nki_without *w) {
  struct nki_pieces *pieces = &w->spec.pieces;
  const struct nki_piece *whole = pieces->piece;
  pieces->piece = nk_alloc(pieces->n, sizeof *pieces->piece);
  if (pieces->piece == NULL) return NK_EMEMORY;
  for (size_t id = 0; id < pieces->n; id++) {
    pieces->piece[id] = whole[id];
    pieces->piece[id].hidden |= w->banned[id];
  }
  w->tokenizer.unigram = nki_unigram_new(&w->spec);
  return w->tokenizer.unigram != NULL ? NK_OK : nk_error_code();
}

/* ---- What stands in, and what does not ---- */

static bool is_usable(const struct nki_without *w, int64_t id) {
  return id >= 0 && id != w->unknown && !w->banned[id];
}

/* Adds a token of a token's pieces, or for a banned character those of its bytes; *whole becomes
 * false where these cannot stand in. */
static int add_piece(const struct nki_without *w, int64_t id, struct nki_ids *ids, bool *whole) {
  const struct nki_pieces *pieces = &w->spec.pieces;
  if (is_usable(w, id)) return nki_ids_add(ids, id) ? NK_OK : NK_EMEMORY;
  *whole = id >= 0 && (size_t)id < pieces->n && id != w->unknown;
  for (size_t i = 0; *whole && i < pieces->piece[id].length; i++) {
    int64_t byte = w->fallback_id[(unsigned char)nki_pieces_bytes(pieces, (size_t)id)[i]];
    *whole = is_usable(w, byte);
    if (*whole && !nki_ids_add(ids, byte)) return NK_EMEMORY;
  }
  return NK_OK;
}

/* Appends the tokens of the token's string in the reduced model. A byte's string is a name. */
static int encode(struct nki_without *w, size_t id, struct nki_ids *ids) {
  const struct nk_tokenizer *t = &w->tokenizer;
  const struct nki_pieces *pieces = &w->spec.pieces;
  bool added = nki_vocabulary_is_added(t->vocabulary, id);
  size_t n = 0;
  const char *s = NULL;
  if (added) {
    s = nki_vocabulary_written(t->vocabulary, id, &n);
  } else if (id < pieces->n && pieces->piece[id].present) {
    s = nki_pieces_bytes(pieces, id);
    n = pieces->piece[id].length;
  }
  if (s == NULL || n == 0 || nki_is_fallback(w->fallback_id, (int64_t)id)) return NK_OK;
  if ((added || !w->spec.byte_level) && nki_utf8_first_invalid(s, n) < n) return NK_OK;
  if (added) return nki_encode(t, w->encoder, s, n, NK_ENCODE_PLAIN, ids);
  return t->bpe != NULL ? nki_bpe_encode(t->bpe, &w->encoder->bpe, s, n, ids)
                        : nki_unigram_encode(t->unigram, &w->encoder->unigram, s, n, ids);
}

/* ---- The whole ---- */

struct nki_without *nki_without_new(const struct nk_tokenizer *tokenizer, const bool *banned) {
  if (nki_tokenizer_check_encodes(tokenizer) != NK_OK) return NULL;
  struct nki_without *w = nk_calloc(1, sizeof *w);
  if (w == NULL) return NULL;
  w->banned = banned;
  w->unknown = nki_spec_unknown(tokenizer->spec); /* w->spec will not show the banned ones */
  nki_spec_fallback(tokenizer->spec, w->fallback_id);
  w->spec = *tokenizer->spec;
  w->tokenizer = *tokenizer;
  w->tokenizer.bpe = NULL;
  w->tokenizer.unigram = NULL;
  w->tokenizer.added = w->tokenizer.added_normalized = (struct nki_added_set){0};
  w->tokenizer.pool = nki_pool_new(); /* its encoders remember words */
  int code = w->tokenizer.pool != NULL ? copy_config(w) : NK_EMEMORY;
  if (code == NK_OK && tokenizer->wordpiece != NULL)
    code = nk_fail(NK_EUNSUPPORTED, "%s: the pieces of tokens are not known of WordPiece",
                   w->spec.name);
  else if (code == NK_OK)
    code = tokenizer->bpe != NULL ? build_bpe(w) : build_unigram(w);
  if (code == NK_OK && (w->encoder = nki_encoder_borrow(&w->tokenizer)) == NULL) code = NK_EMEMORY;
  if (code == NK_OK) return w;
  nki_without_free(w);
  return NULL;
}

void nki_without_free(struct nki_without *w) {
  if (w == NULL) return;
  const struct nki_spec *whole = w->tokenizer.spec;
  nki_encoder_return(&w->tokenizer, w->encoder);
  nki_pool_free(w->tokenizer.pool);
  nki_bpe_free(w->tokenizer.bpe);
  nki_unigram_free(w->tokenizer.unigram);
  if (w->spec.merges != whole->merges) nk_free(w->spec.merges);
  if (w->spec.pieces.piece != whole->pieces.piece) nk_free(w->spec.pieces.piece);
  if (w->spec.config != whole->config) json_decref(w->spec.config);
  nk_free(w);
}

int nki_without_pieces(struct nki_without *w, size_t id, struct nki_ids *ids) {
  struct nki_ids found = {0};
  size_t first = ids->n;
  int code = encode(w, id, &found);
  bool whole = code == NK_OK;
  for (size_t i = 0; i < found.n && whole && code == NK_OK; i++)
    code = add_piece(w, found.id[i], ids, &whole);
  if (!whole || code != NK_OK) ids->n = first;
  nk_free(found.id);
  return code == NK_EDATA ? NK_OK : code; /* a unit without a token */
}
