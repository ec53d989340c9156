/* The proof that a pruned tokenizer.json does what it should. The file is read again, as any other,
 * and compared with the tokenizer that it was made from. */
#include <noken/base.h>
#include <string.h>

#include "base/utf8.h"
#include "text/prune.h"

struct proof {
  const struct nki_pruning *pruning;
  const struct nk_tokenizer *before, *after;
  int64_t first; /* an id that has a token */
  struct nki_ids ids_before, ids_after;
  struct nk_buffer text, text_before, text_after;
};

/* ---- The structure ---- */

/* Whether the rules of the new model still give the token to some text. */
static bool can_be_given(const struct proof *proof, size_t id, const bool *made) {
  const struct nki_spec *spec = proof->after->spec;
  const struct nki_piece *piece = &spec->pieces.piece[id];
  const struct nk_buffer *mark = &proof->pruning->mark;
  bool by_name =
      proof->after->unigram != NULL ||
      json_is_true(json_object_get(json_object_get(spec->config, "model"), "ignore_merges"));
  bool is_marked = piece->length > mark->size &&
                   memcmp(nki_pieces_bytes(&spec->pieces, id), mark->data, mark->size) == 0;
  size_t width = spec->byte_level ? 1 : nki_utf8_width(*nki_pieces_bytes(&spec->pieces, id));
  return made[id] || (by_name && !is_marked) || piece->length <= width;
}

/* The tokens that both files put around every text are those that stay. */
static int check_around(const struct proof *proof) {
  const struct nki_ids *sides[] = {&proof->before->before, &proof->before->after,
                                   &proof->after->before, &proof->after->after};
  for (size_t side = 0; side < sizeof sides / sizeof *sides; side++)
    for (size_t i = 0; i < sides[side]->n; i++)
      if (nki_is_pruned(proof->pruning, (size_t)sides[side]->id[i]))
        return nk_fail(NK_EDATA,
                       "%s: pruned, it puts token %lld around texts; leave it out of the list",
                       proof->after->spec->name, (long long)sides[side]->id[i]);
  return NK_OK;
}

static int check_structure(const struct proof *proof) {
  const struct nki_spec *spec = proof->after->spec;
  size_t n = nk_tokenizer_n_tokens(proof->after);
  if (n != proof->pruning->n)
    return nk_fail(NK_EDATA, "%s: pruned, it has %zu ids, %zu before", spec->name, n,
                   proof->pruning->n);
  bool *made = nk_calloc(n, sizeof *made);
  if (made == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < spec->n_merges; i++) made[spec->merges[i].result] = true;
  int code = NK_OK;
  for (size_t id = 0; id < n && code == NK_OK; id++)
    if (nki_is_pruned(proof->pruning, id) &&
        (id >= spec->pieces.n || !spec->pieces.piece[id].present || can_be_given(proof, id, made)))
      code = nk_fail(NK_EDATA,
                     "%s: pruned, its rules can still give token %zu; leave it out of the list",
                     spec->name, id);
  nk_free(made);
  return code == NK_OK ? check_around(proof) : code;
}

/* ---- Texts ---- */

/* The first pruned token of ids, or NKI_NO_ID. */
static int64_t find_pruned(const struct proof *proof, const struct nki_ids *ids) {
  for (size_t i = 1; i < ids->n; i++) /* the first is proof->first */
    if (nki_is_pruned(proof->pruning, (size_t)ids->id[i])) return ids->id[i];
  return NKI_NO_ID;
}

/* "NAME: pruned, it MESSAGE: 'TEXT'", with the first pruned token of ids, if any. */
static int fail_text(const struct proof *proof, const char *message, const char *text, size_t n,
                     const struct nki_ids *ids) {
  enum { MOST = 80 };
  struct nk_buffer shown = {0}, advice = {0};
  int64_t id = find_pruned(proof, ids);
  nk_escape(&shown, text, n < MOST ? n : MOST);
  if (id >= 0)
    nk_buffer_printf(&advice, "; leave token %lld out of the list", (long long)id);
  else
    nk_buffer_text(&advice, "; list fewer tokens");
  int code = nk_fail(NK_EDATA, "%s: pruned, it %s: '%s'%s", proof->after->spec->name, message,
                     shown.data != NULL ? shown.data : "", advice.data != NULL ? advice.data : "");
  nk_buffer_free(&shown);
  nk_buffer_free(&advice);
  return code;
}

static int decode_both(struct proof *proof, const struct nki_ids *before,
                       const struct nki_ids *after, bool *are_same) {
  struct nk_buffer *a = &proof->text_before, *b = &proof->text_after;
  nk_buffer_clear(a);
  nk_buffer_clear(b);
  int code = nk_tokenizer_decode(proof->before, before->id, before->n, 0, a);
  if (code == NK_OK) code = nk_tokenizer_decode(proof->after, after->id, after->n, 0, b);
  *are_same = a->size == b->size && (a->size == 0 || memcmp(a->data, b->data, a->size) == 0);
  return code;
}

/* The ids of a text after the id proof->first: some decoders drop spaces of a text's first token,
 * which may be another one now. */
static int encode_after_first(const struct proof *proof, const struct nk_tokenizer *tokenizer,
                              const char *text, size_t n, struct nki_ids *ids) {
  ids->n = 0;
  struct nki_encoder *encoder = nki_encoder_borrow(tokenizer);
  int code = encoder == NULL || !nki_ids_add(ids, proof->first)
                 ? NK_EMEMORY
                 : nki_encode(tokenizer, encoder, text, n, 0, ids);
  nki_encoder_return(tokenizer, encoder);
  return code;
}

/* Compares the ids of a text, valid UTF-8. */
static int check_text(struct proof *proof, const char *text, size_t n) {
  struct nki_ids *before = &proof->ids_before, *after = &proof->ids_after;
  bool are_same = true;
  int code = encode_after_first(proof, proof->before, text, n, before);
  if (code == NK_EDATA) return NK_OK; /* a character without a token */
  if (code == NK_OK) code = encode_after_first(proof, proof->after, text, n, after);
  if (code != NK_OK) return code;
  if (find_pruned(proof, after) >= 0)
    return fail_text(proof, "still gives a pruned token", text, n, after);
  if (find_pruned(proof, before) < 0) {
    are_same =
        before->n == after->n && memcmp(before->id, after->id, before->n * sizeof(int64_t)) == 0;
    return are_same ? NK_OK
                    : fail_text(proof, "changes a text without pruned tokens", text, n, before);
  }
  code = decode_both(proof, before, after, &are_same);
  return code != NK_OK || are_same
             ? code
             : fail_text(proof, "decodes a text differently", text, n, before);
}

/* The texts of single tokens and of each eight in a row, where they are valid UTF-8. */
static int check_tokens(struct proof *proof) {
  enum { IN_A_ROW = 8 };
  int code = NK_OK;
  nk_buffer_clear(&proof->text);
  for (size_t id = 0; id < proof->pruning->n && code == NK_OK; id++) {
    size_t n = 0;
    const char *bytes = nk_tokenizer_bytes(proof->before, id, &n);
    if (bytes != NULL && nki_utf8_first_invalid(bytes, n) == n) {
      code = check_text(proof, bytes, n);
      nk_buffer_append(&proof->text, bytes, n);
    }
    if (proof->text.failed) return nk_fail(NK_EMEMORY, "no memory for a text");
    if (code == NK_OK && (id + 1) % IN_A_ROW == 0 && proof->text.size > 0) {
      code = check_text(proof, proof->text.data, proof->text.size);
      nk_buffer_clear(&proof->text);
    }
    if (code == NK_OK) code = nk_progress("proof on tokens", id + 1, proof->pruning->n);
  }
  return code;
}

/* The lines of a text, empty ones with the line before. */
static int check_lines(struct proof *proof, const char *text, size_t n) {
  size_t bad = nki_utf8_first_invalid(text, n);
  int code = NK_OK;
  if (bad < n) return nk_fail(NK_EDATA, "a text to check is not valid UTF-8 at byte %zu", bad);
  for (size_t begin = 0, end; begin < n && code == NK_OK; begin = end) {
    const char *stop = memchr(text + begin, '\n', n - begin);
    end = stop != NULL ? (size_t)(stop - text) : n;
    while (end < n && text[end] == '\n') end++;
    code = check_text(proof, text + begin, end - begin);
  }
  return code;
}

/* ---- Decoding ---- */

/* Each id alone and after itself: first tokens of a text can be decoded differently. */
static int check_decoding(struct proof *proof) {
  int code = NK_OK;
  for (size_t id = 0; id < proof->pruning->n && code == NK_OK; id++) {
    size_t n_before = 0, n_after = 0;
    const char *before = nk_tokenizer_bytes(proof->before, id, &n_before);
    const char *after = nk_tokenizer_bytes(proof->after, id, &n_after);
    bool are_same = (before == NULL) == (after == NULL) && n_before == n_after &&
                    (before == NULL || memcmp(before, after, n_before) == 0);
    int64_t twice[2] = {(int64_t)id, (int64_t)id};
    struct nki_ids ids = {.id = twice};
    for (ids.n = 1; ids.n <= 2 && are_same && before != NULL && code == NK_OK; ids.n++)
      code = decode_both(proof, &ids, &ids, &are_same);
    if (code == NK_OK && !are_same)
      code = nk_fail(
          NK_EDATA, "%s: pruned, it decodes token %zu differently%s", proof->after->spec->name, id,
          nki_is_pruned(proof->pruning, id) ? "; leave it out of the list" : "; list fewer tokens");
  }
  return code;
}

int nki_prune_prove(const struct nki_pruning *pruning, const struct nk_file *file,
                    const struct nk_prune_options *options) {
  struct nk_tokenizer *after = nki_tokenizer_parse(file);
  if (after == NULL) return nk_fail_in(nk_error_code(), "pruned");
  struct proof proof = {.pruning = pruning, .before = pruning->tokenizer, .after = after};
  while (nk_tokenizer_bytes(proof.before, (size_t)proof.first, NULL) == NULL &&
         (size_t)proof.first + 1 < pruning->n)
    proof.first++;
  int code = check_structure(&proof);
  if (code == NK_OK) code = check_decoding(&proof);
  if (code == NK_OK) code = check_tokens(&proof);
  if (code == NK_OK && options->check != NULL)
    code = check_lines(&proof, options->check, options->n_check);
  nk_tokenizer_free(after);
  nk_free(proof.ids_before.id);
  nk_free(proof.ids_after.id);
  nk_buffer_free(&proof.text);
  nk_buffer_free(&proof.text_before);
  nk_buffer_free(&proof.text_after);
  return code;
}
