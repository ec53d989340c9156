/* Pruning: which tokens can go, and by what. A token that merges make goes with these merges. One
 * that a look-up of its string gives (Unigram, ignore_merges, a single character) keeps its id and
 * its score and is given another string, which no text holds: MARK and the old one, the mark
 * holding a space where the pre-tokenizer leaves none. (A very small score instead would change the
 * score of unknown characters, which is 10 below the smallest.) A new first step of the decoder
 * removes the mark.
 *
 * Unigram: the best path of a text without the token remains the best of fewer, the first of equals
 * too, since other paths only lose tokens or, where the token was a character of its own, get a
 * worse one in its place. */
#include "text/prune.h"

#include <noken/base.h>
#include <string.h>

#include "base/utf8.h"

/* ---- What stands for a text ---- */

/* What classifying needs to know of the model. */
struct model {
  const struct nk_tokenizer *tokenizer;
  const struct nki_spec *spec;
  int64_t unknown;
  int64_t fallback[256]; /* of nki_spec_fallback */
  struct nki_ids around; /* the tokens that the file or those beside it put around a text */
  bool *made;            /* [n] some merge gives the token */
  bool ignore_merges;
  bool simple;       /* BPE: the strings of units are those of the text */
  bool can_rename;   /* the decoder has steps */
  bool has_no_space; /* pieces hold no space */
};

static bool is_around(const struct model *m, int64_t id) {
  for (size_t i = 0; i < m->around.n; i++)
    if (m->around.id[i] == id) return true;
  return false;
}

/* Whether the character s[0..n) is encoded by byte tokens that decode to the same text, where it
 * has no token. */
static bool bytes_stand_for(const struct model *m, const char *s, size_t n) {
  struct nk_buffer text = {0};
  bool stand = m->simple && !m->spec->byte_level;
  for (size_t i = 0; i < n && stand; i++) {
    int64_t id = m->fallback[(unsigned char)s[i]];
    size_t length = 0;
    const char *byte = id >= 0 ? nk_tokenizer_bytes(m->tokenizer, (size_t)id, &length) : NULL;
    stand = byte != NULL && length == 1 && *byte == s[i];
  }
  stand = stand && nki_decoder_token(m->tokenizer->decoder, s, n, &text) == NK_OK && !text.failed &&
          text.size == n && memcmp(text.data, s, n) == 0;
  nk_buffer_free(&text);
  return stand;
}

static size_t width_at(const struct model *m, const char *s) {
  return m->spec->byte_level ? 1 : nki_utf8_width(*s);
}

/* Whether s[0..n) is one unit, the model's prefix and suffix apart. */
static bool is_unit(const struct model *m, const char *s, size_t n) {
  const json_t *model = json_object_get(m->spec->config, "model"), *affix;
  affix = json_object_get(model, "continuing_subword_prefix");
  size_t length = json_string_length(affix);
  if (length > 0 && n > length && memcmp(s, json_string_value(affix), length) == 0) {
    s += length;
    n -= length;
  }
  affix = json_object_get(model, "end_of_word_suffix");
  length = json_string_length(affix);
  if (length > 0 && n > length && memcmp(s + n - length, json_string_value(affix), length) == 0)
    n -= length;
  return n == 0 || width_at(m, s) >= n;
}

/* ---- What becomes of each token ---- */

static enum nk_prune_result judge_bpe(const struct model *m, size_t id, const char *s, size_t n,
                                      bool *renamed) {
  unsigned char first = n != 0 ? (unsigned char)*s : 0;
  if (m->spec->pieces.piece[id].hidden || n == 0) return NK_PRUNE_UNREACHABLE;
  if (is_unit(m, s, n)) {
    if (m->spec->byte_level && (first == 0xC0 || first == 0xC1 || first >= 0xF5))
      return NK_PRUNE_UNREACHABLE;
    if (!bytes_stand_for(m, s, n)) return NK_PRUNE_NO_PIECES;
    *renamed = true;
  } else if (m->ignore_merges) {
    *renamed = true;
  } else if (!m->made[id]) {
    return NK_PRUNE_UNREACHABLE;
  }
  bool is_free = m->can_rename && (!m->ignore_merges || m->has_no_space);
  return *renamed && !is_free ? NK_PRUNE_NO_NAME : NK_PRUNE_DONE;
}

/* The token of a character on its own is never pruned unless bytes stand for it: the others of the
 * text can rely on it. */
static enum nk_prune_result judge_unigram(const struct model *m, const char *s, size_t n,
                                          bool *renamed) {
  if (n == 0) return NK_PRUNE_UNREACHABLE;
  for (size_t i = 0, width; i < n; i += width) {
    width = width_at(m, s + i);
    bool has_token = width < n && nki_pieces_find(&m->spec->pieces, s + i, width) >= 0;
    if (!has_token && !bytes_stand_for(m, s + i, width)) return NK_PRUNE_NO_PIECES;
  }
  *renamed = true;
  return m->can_rename && m->has_no_space ? NK_PRUNE_DONE : NK_PRUNE_NO_NAME;
}

static enum nk_prune_result judge(const struct nki_pruning *p, const struct model *m, size_t id,
                                  bool *renamed) {
  const struct nki_pieces *pieces = &m->spec->pieces;
  if (nki_vocabulary_is_added(p->tokenizer->vocabulary, id)) return NK_PRUNE_ADDED;
  if (id >= pieces->n || !pieces->piece[id].present) return NK_PRUNE_UNREACHABLE;
  if ((int64_t)id == m->unknown) return NK_PRUNE_UNKNOWN;
  if (is_around(m, (int64_t)id)) return NK_PRUNE_AROUND;
  if (nki_is_fallback(m->fallback, (int64_t)id)) return NK_PRUNE_NO_PIECES;
  const char *s = nki_pieces_bytes(pieces, id);
  size_t n = pieces->piece[id].length;
  return p->tokenizer->bpe != NULL ? judge_bpe(m, id, s, n, renamed)
                                   : judge_unigram(m, s, n, renamed);
}

/* ---- The model ---- */

/* Whether the last step before the model leaves no space in any piece. */
static bool leaves_no_space(const struct nki_spec *spec) {
  json_t *steps = json_object_get(spec->config, "pre_tokenizer");
  size_t n = nki_spec_steps(steps);
  const json_t *last = n != 0 ? nki_spec_step(steps, n - 1) : NULL;
  const char *to = json_string_value(json_object_get(last, "replacement"));
  return strcmp(nki_spec_type(last), "ByteLevel") == 0 ||
         (strcmp(nki_spec_type(last), "Metaspace") == 0 && to != NULL && strchr(to, ' ') == NULL);
}

/* The tokens around a text: those of the tokenizer, and those of its file alone. */
static int read_around(struct model *m) {
  const struct nki_ids *sides[] = {&m->tokenizer->before, &m->tokenizer->after};
  struct nki_ids before = {0};
  int code = nki_post_processor_read(m->spec, &before, &m->around);
  for (size_t i = 0; i < before.n && code == NK_OK; i++)
    if (!nki_ids_add(&m->around, before.id[i])) code = NK_EMEMORY;
  for (size_t side = 0; side < 2; side++)
    for (size_t i = 0; i < sides[side]->n && code == NK_OK; i++)
      if (!nki_ids_add(&m->around, sides[side]->id[i])) code = NK_EMEMORY;
  nk_free(before.id);
  return code;
}

static int read_model(struct model *m, const struct nki_pruning *p) {
  const struct nki_spec *spec = p->tokenizer->spec;
  const json_t *model = json_object_get(spec->config, "model");
  m->spec = spec;
  m->tokenizer = p->tokenizer;
  m->unknown = nki_spec_unknown(spec);
  nki_spec_fallback(spec, m->fallback);
  m->ignore_merges = json_is_true(json_object_get(model, "ignore_merges"));
  m->simple = !nki_spec_has_affixes(spec);
  m->can_rename = nki_spec_steps(json_object_get(spec->config, "decoder")) != 0;
  m->has_no_space = leaves_no_space(spec);
  if ((m->made = nk_calloc(p->n, sizeof *m->made)) == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < spec->n_merges; i++) m->made[spec->merges[i].result] = true;
  return read_around(m);
}

/* ---- The mark ---- */

static bool holds(const char *s, size_t n, const struct nk_buffer *mark) {
  return memmem(s, n, mark->data, mark->size) != NULL;
}

/* Whether a string of the file holds the mark. Of byte-level vocabularies only hidden ones and
 * added tokens hold spaces. */
static bool is_taken(const struct nki_spec *spec, const struct nk_buffer *mark) {
  for (size_t id = 0; id < spec->pieces.n; id++) {
    const struct nki_piece *piece = &spec->pieces.piece[id];
    if (piece->present && (!spec->byte_level || piece->hidden) &&
        holds(nki_pieces_bytes(&spec->pieces, id), piece->length, mark))
      return true;
  }
  for (size_t i = 0; i < spec->n_added; i++)
    if (holds(spec->added_bytes.data + spec->added[i].offset, spec->added[i].length, mark))
      return true;
  return false;
}

static int choose_mark(struct nki_pruning *p) {
  nk_buffer_text(&p->mark, " ");
  while (!p->mark.failed && is_taken(p->tokenizer->spec, &p->mark)) nk_buffer_byte(&p->mark, '~');
  return p->mark.failed ? nk_fail(NK_EMEMORY, "no memory for a token's name") : NK_OK;
}

/* ---- The merges ---- */

/* Merges that give a pruned token go, and those of strings that the vocabulary no longer has, which
 * could not be made any more. */
static int drop_merges(struct nki_pruning *p) {
  const struct nki_spec *spec = p->tokenizer->spec;
  for (size_t i = 0; i < spec->n_merges; i++)
    if (spec->merges[i].rank >= p->n_ranks) p->n_ranks = spec->merges[i].rank + (size_t)1;
  if ((p->dropped = nk_calloc(p->n_ranks, sizeof *p->dropped)) == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < spec->n_merges; i++) {
    const struct nki_merge *merge = &spec->merges[i];
    p->dropped[merge->rank] = nki_is_pruned(p, merge->result) ||
                              (nki_is_pruned(p, merge->left) && p->renamed[merge->left]) ||
                              (nki_is_pruned(p, merge->right) && p->renamed[merge->right]);
  }
  return NK_OK;
}

/* ---- Pruning ---- */

static int check(const struct nk_tokenizer *tokenizer, const int64_t *ids, size_t n) {
  const struct nki_spec *spec = tokenizer->spec;
  const json_t *model = json_object_get(spec->config, "model");
  if (tokenizer->wordpiece != NULL)
    return nk_fail(NK_EUNSUPPORTED, "%s: tokens of a WordPiece model cannot be pruned", spec->name);
  if (json_number_value(json_object_get(model, "dropout")) > 0)
    return nk_fail(NK_EUNSUPPORTED,
                   "%s: merges are dropped at random ('dropout'): no text has ids to keep",
                   spec->name);
  for (size_t i = 0; i < n; i++)
    if (ids[i] < 0) return nk_fail(NK_EUSAGE, "id %lld: ids begin at 0", (long long)ids[i]);
  return NK_OK;
}

/* Decides what becomes of ids [n]. */
static int decide(struct nki_pruning *p, const int64_t *ids, size_t n) {
  struct model model = {0};
  int code = read_model(&model, p);
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    size_t id = (size_t)ids[i];
    if (id >= p->n || p->listed[id]) continue;
    p->listed[id] = true;
    p->what[id] = (struct nk_pruned){judge(p, &model, id, &p->renamed[id]), NKI_NO_ID};
  }
  nk_free(model.made);
  nk_free(model.around.id);
  if (code == NK_OK && p->tokenizer->bpe != NULL) code = nki_prune_parts(p);
  if (code == NK_OK) code = drop_merges(p);
  return code != NK_OK ? code : choose_mark(p);
}

static int begin(struct nki_pruning *p, const struct nk_tokenizer *tokenizer) {
  p->tokenizer = tokenizer;
  p->n = nk_tokenizer_n_tokens(tokenizer);
  p->listed = nk_calloc(p->n, sizeof *p->listed);
  p->what = nk_calloc(p->n, sizeof *p->what);
  p->renamed = nk_calloc(p->n, sizeof *p->renamed);
  return p->listed != NULL && p->what != NULL && p->renamed != NULL ? NK_OK : NK_EMEMORY;
}

static void end(struct nki_pruning *p) {
  nk_free(p->listed);
  nk_free(p->what);
  nk_free(p->renamed);
  nk_free(p->dropped);
  nk_buffer_free(&p->mark);
}

int nk_tokenizer_prune(const struct nk_tokenizer *tokenizer, const int64_t *ids, size_t n,
                       const struct nk_prune_options *options, struct nk_pruned *pruned,
                       struct nk_buffer *json) {
  static const struct nk_prune_options none = {0};
  struct nki_pruning p = {0};
  struct nk_file *file = NULL;
  size_t first = json->size;
  int code = nki_tokenizer_check_encodes(tokenizer);
  if (code == NK_OK) code = check(tokenizer, ids, n);
  if (code != NK_OK) return code;
  code = begin(&p, tokenizer);
  if (code == NK_OK) code = decide(&p, ids, n);
  if (code != NK_OK) goto done;
  file = nk_file_open(tokenizer->spec->name);
  code = file != NULL ? nki_prune_edit(&p, file, json) : nk_error_code();
  if (code != NK_OK) goto done;
  const struct nk_file made = {
      .data = (const unsigned char *)json->data + first,
      .size = json->size - first,
      .name = tokenizer->spec->name,
  };
  code = nki_prune_prove(&p, &made, options != NULL ? options : &none);
  for (size_t i = 0; i < n && code == NK_OK; i++)
    pruned[i] =
        (size_t)ids[i] < p.n ? p.what[ids[i]] : (struct nk_pruned){NK_PRUNE_UNREACHABLE, NKI_NO_ID};
done:
  if (code != NK_OK && !json->failed && json->data != NULL) json->size = first;
  nk_file_free(file);
  end(&p);
  return code;
}
