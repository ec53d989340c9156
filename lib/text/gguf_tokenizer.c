/* The tokenizer of a checkpoint as llama.cpp's converter writes it into a GGUF, and with it the
 * function that writes a model. The kinds are those of spec_gguf.c:
 *
 *   byte-level BPE: tokens in the byte-level alphabet, the merges, and the name whose patterns are
 *     the tokenizer's (gguf_pre.h)
 *   SentencePiece's BPE: tokens with scores. A tokenizer.json has merges instead; they are those of
 *     scores when all the ways to cut a token into two are there, one after another
 *
 * What GGUF cannot say is refused. So is Unigram: no family that is written has it. */
#include <noken/base.h>
#include <noken/model.h>
#include <noken/tokenizer.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/utf8.h"
#include "model/gguf_write.h"
#include "model/model.h"
#include "model/model_config.h"
#include "text/byte_level.h"
#include "text/gguf_tokenizer.h"

#define SPACE "\xE2\x96\x81"

enum { NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE };

struct writing {
  struct nki_gguf_writing *w;
  const struct nk_tokenizer *tokenizer;
  const struct nki_spec *spec;
  size_t n;                 /* rows of the matrix, and tokens of the file */
  bool spells;              /* pieces are raw bytes, and are spelled in the byte-level alphabet */
  struct nki_pieces tokens; /* [n] as the file has them */
  int32_t *types;           /* [n] */
  float *scores;            /* [n] */
};

static int refuse(const struct writing *s, const char *what, const char *name) {
  return nki_gguf_refuse(s->tokenizer, what, name);
}

/* ---- Values ---- */

static void value_string(const struct writing *s, const char *key, const char *text) {
  nki_gguf_put_key(s->w, key, NKI_GGUF_STRING);
  nki_gguf_put_string(&s->w->values, text, strlen(text));
}

static void value_id(const struct writing *s, const char *key, int64_t id) {
  nki_gguf_put_key(s->w, key, NKI_GGUF_UINT32);
  nki_gguf_put_u32(&s->w->values, (uint32_t)id);
}

static void value_bool(const struct writing *s, const char *key, bool value) {
  nki_gguf_put_key(s->w, key, NKI_GGUF_BOOL);
  nk_buffer_byte(&s->w->values, value);
}

static void put_array(const struct writing *s, const char *key, enum nki_gguf_type type, size_t n) {
  nki_gguf_put_key(s->w, key, NKI_GGUF_ARRAY);
  nki_gguf_put_u32(&s->w->values, type);
  nki_gguf_put_u64(&s->w->values, n);
}

static void put_tokens(const struct writing *s) {
  put_array(s, "tokenizer.ggml.tokens", NKI_GGUF_STRING, s->n);
  for (size_t id = 0; id < s->n; id++)
    nki_gguf_put_string(&s->w->values, nki_pieces_bytes(&s->tokens, id),
                        s->tokens.piece[id].length);
  put_array(s, "tokenizer.ggml.token_type", NKI_GGUF_INT32, s->n);
  nk_buffer_append(&s->w->values, s->types, s->n * sizeof *s->types);
}

static void put_scores(const struct writing *s) {
  put_array(s, "tokenizer.ggml.scores", NKI_GGUF_FLOAT32, s->n);
  nk_buffer_append(&s->w->values, s->scores, s->n * sizeof *s->scores);
}

/* ---- Tokens ---- */

static const json_t *model_option(const struct writing *s, const char *key) {
  return json_object_get(json_object_get(s->spec->config, "model"), key);
}

/* <0x0A> */
static bool names_byte(const char *text, size_t n) {
  return n == 6 && memcmp(text, "<0x", 3) == 0 && text[5] == '>' &&
         strspn(text + 3, "0123456789ABCDEF") >= 2;
}

static int add_token(struct writing *s, size_t id, size_t offset, int type) {
  if (id >= s->n)
    return nk_fail(NK_EDATA, "%s: a token has the id %zu, and the embedding %zu rows",
                   s->spec->name, id, s->n);
  s->types[id] = type;
  return nki_pieces_add(&s->tokens, id, offset, false);
}

static int add_added(struct writing *s) {
  const struct nki_spec *spec = s->spec;
  size_t n_strips = 0;
  int64_t unknown = nki_spec_unknown(s->spec);
  int code = NK_OK;
  for (size_t i = 0; i < spec->n_added && code == NK_OK; i++) {
    const struct nki_added *added = &spec->added[i];
    size_t offset = s->tokens.bytes.size;
    n_strips += added->lstrip || added->rstrip || added->single_word;
    nk_buffer_append(&s->tokens.bytes, spec->added_bytes.data + added->offset, added->length);
    code = add_token(s, added->id, offset,
                     (int64_t)added->id == unknown ? UNKNOWN
                     : added->special              ? CONTROL
                                                   : USER_DEFINED);
  }
  if (n_strips > 0)
    nk_warn("%s: %zu added tokens heed the spaces or words beside them, which a GGUF cannot say",
            spec->name, n_strips);
  return code;
}

/* Ids without a token become unused ones, named by their ids as llama.cpp's converter does. */
static int add_pieces(struct writing *s) {
  const struct nki_spec *spec = s->spec;
  bool falls_back = json_is_true(model_option(s, "byte_fallback"));
  int64_t unknown = nki_spec_unknown(s->spec);
  int code = NK_OK;
  for (size_t id = 0; (id < s->n || id < spec->pieces.n) && code == NK_OK; id++) {
    const struct nki_piece *piece = id < spec->pieces.n ? &spec->pieces.piece[id] : NULL;
    size_t offset = s->tokens.bytes.size;
    if (id < s->tokens.n && s->tokens.piece[id].present) continue;
    if (piece == NULL || !piece->present) {
      if (id >= s->n) continue;
      nk_buffer_printf(&s->tokens.bytes, "[PAD%zu]", id);
      code = add_token(s, id, offset, UNUSED);
      continue;
    }
    const char *text = nki_pieces_bytes(&spec->pieces, id);
    if (s->spells && !piece->hidden)
      nki_byte_level_encode(text, piece->length, &s->tokens.bytes);
    else
      nk_buffer_append(&s->tokens.bytes, text, piece->length);
    code = add_token(s, id, offset,
                     (int64_t)id == unknown                          ? UNKNOWN
                     : falls_back && names_byte(text, piece->length) ? BYTE
                                                                     : NORMAL);
  }
  return code;
}

/* llama.cpp ends the process when two tokens are the same. */
static int check_different(struct writing *s) {
  int code = nki_pieces_index(&s->tokens, false);
  for (size_t id = 0; id < s->n && code == NK_OK; id++) {
    int64_t found =
        nki_pieces_find(&s->tokens, nki_pieces_bytes(&s->tokens, id), s->tokens.piece[id].length);
    if (found != (int64_t)id)
      code = nk_fail(NK_EUNSUPPORTED, "%s: tokens %zu and %lld are written the same in a GGUF",
                     s->spec->name, id, (long long)found);
  }
  return code;
}

static int collect_tokens(struct writing *s) {
  s->types = nk_calloc(s->n, sizeof *s->types);
  s->scores = nk_calloc(s->n, sizeof *s->scores);
  if (s->types == NULL || s->scores == NULL) return NK_EMEMORY;
  int code = add_added(s);
  if (code == NK_OK) code = add_pieces(s);
  if (code == NK_OK && s->tokens.bytes.failed) code = nk_fail(NK_EMEMORY, "out of memory");
  return code == NK_OK ? check_different(s) : code;
}

/* ---- Byte-level BPE ---- */

static void spell(const struct writing *s, uint32_t id, struct nk_buffer *out) {
  const char *text = nki_pieces_bytes(&s->spec->pieces, id);
  size_t n = s->spec->pieces.piece[id].length;
  if (s->spells)
    nki_byte_level_encode(text, n, out);
  else
    nk_buffer_append(out, text, n);
}

/* A token is in merges as it is written, and an added one is written as its text. */
static int check_merges(const struct writing *s) {
  for (size_t i = 0; i < s->spec->n_merges; i++) {
    const struct nki_merge *m = &s->spec->merges[i];
    if (s->types[m->left] != NORMAL || s->types[m->right] != NORMAL ||
        s->types[m->result] != NORMAL)
      return refuse(s, "an added token that is part of a merge", "");
  }
  return NK_OK;
}

static int put_merges(const struct writing *s) {
  struct nk_buffer both = {0};
  put_array(s, "tokenizer.ggml.merges", NKI_GGUF_STRING, s->spec->n_merges);
  for (size_t i = 0; i < s->spec->n_merges; i++) {
    nk_buffer_clear(&both);
    spell(s, s->spec->merges[i].left, &both);
    nk_buffer_byte(&both, ' ');
    spell(s, s->spec->merges[i].right, &both);
    nki_gguf_put_string(&s->w->values, both.data, both.size);
  }
  int code = both.failed ? nk_fail(NK_EMEMORY, "out of memory") : NK_OK;
  nk_buffer_free(&both);
  return code;
}

static int put_byte_level(struct writing *s) {
  static const char *const options[] = {"continuing_subword_prefix", "end_of_word_suffix"};
  const struct nki_gguf_pre *pre = NULL;
  for (size_t i = 0; i < sizeof options / sizeof *options; i++)
    if (json_string_length(model_option(s, options[i])) > 0)
      return refuse(s, options[i], " of the model");
  s->spells = s->spec->byte_level;
  int code = collect_tokens(s);
  if (code == NK_OK) code = check_merges(s);
  if (code == NK_OK) code = nki_gguf_pre_choose(s->tokenizer, &pre);
  if (code != NK_OK) return code;
  value_string(s, "tokenizer.ggml.model", "gpt2");
  value_string(s, "tokenizer.ggml.pre", pre->name);
  put_tokens(s);
  return put_merges(s);
}

/* ---- SentencePiece ---- */

static bool is_replace_of_spaces(const json_t *step) {
  const char *from = json_string_value(json_object_get(json_object_get(step, "pattern"), "String"));
  const char *to = json_string_value(json_object_get(step, "content"));
  return strcmp(nki_spec_type(step), "Replace") == 0 && from != NULL && to != NULL &&
         strcmp(from, " ") == 0 && strcmp(to, SPACE) == 0;
}

static bool prepends_a_space(const json_t *step) {
  const char *text = json_string_value(json_object_get(step, "prepend"));
  return strcmp(nki_spec_type(step), "Prepend") == 0 && text != NULL &&
         (strcmp(text, " ") == 0 || strcmp(text, SPACE) == 0);
}

/* Whether a space is put before a text, and spaces become U+2581, by the normalizer or by
 * Metaspace. A Split by spaces that comes after has none to find. */
static int find_spaces(const struct writing *s, bool *prefix) {
  json_t *normalizer = json_object_get(s->spec->config, "normalizer");
  json_t *steps = json_object_get(s->spec->config, "pre_tokenizer");
  bool replaces = false;
  *prefix = false;
  for (size_t i = 0; i < nki_spec_steps(normalizer); i++) {
    const json_t *step = nki_spec_step(normalizer, i);
    if (prepends_a_space(step))
      *prefix = true;
    else if (is_replace_of_spaces(step))
      replaces = true;
    else
      return refuse(s, "normalizer ", nki_spec_type(step));
  }
  for (size_t i = 0; i < nki_spec_steps(steps); i++) {
    const json_t *step = nki_spec_step(steps, i);
    const char *literal =
        json_string_value(json_object_get(json_object_get(step, "pattern"), "String"));
    const char *mark = json_string_value(json_object_get(step, "replacement"));
    const char *scheme = json_string_value(json_object_get(step, "prepend_scheme"));
    bool is_meta = strcmp(nki_spec_type(step), "Metaspace") == 0 && mark != NULL &&
                   strcmp(mark, SPACE) == 0 && json_is_false(json_object_get(step, "split"));
    if (is_meta && !replaces) {
      *prefix = scheme == NULL || strcmp(scheme, "never") != 0;
      replaces = true;
    } else if (!replaces || strcmp(nki_spec_type(step), "Split") != 0 || literal == NULL ||
               strcmp(literal, " ") != 0) {
      return refuse(s, "pre-tokenizer ", nki_spec_type(step));
    }
  }
  return replaces ? NK_OK : refuse(s, "a tokenizer that does not write spaces as U+2581", "");
}

/* The ways to cut a token's text into two others, as SentencePiece tries them. */
static size_t count_cuts(const struct writing *s, size_t id) {
  const char *text = nki_pieces_bytes(&s->tokens, id);
  size_t n = s->tokens.piece[id].length, n_cuts = 0;
  for (size_t cut = n != 0 ? nki_utf8_width(*text) : n; cut < n; cut += nki_utf8_width(text[cut]))
    n_cuts += nki_pieces_find(&s->spec->pieces, text, cut) >= 0 &&
              nki_pieces_find(&s->spec->pieces, text + cut, n - cut) >= 0;
  return n_cuts;
}

/* Scores that give the merges: -1, -2, ... from the first token that is merged to the last. */
static int scores_of_merges(struct writing *s) {
  const struct nki_spec *spec = s->spec;
  size_t *n_made = nk_calloc(s->n, sizeof *n_made);
  float score = 0;
  int code = n_made != NULL ? NK_OK : NK_EMEMORY;
  for (size_t i = 0; i < spec->n_merges && code == NK_OK; i++) {
    const struct nki_merge *merge = &spec->merges[i], *before = i > 0 ? merge - 1 : NULL;
    bool goes_on = before != NULL && before->result == merge->result;
    if (!goes_on && (before == NULL || before->rank != merge->rank)) score -= 1;
    if (n_made[merge->result]++ > 0 && !goes_on) code = NK_EUNSUPPORTED;
    s->scores[merge->result] = score;
  }
  for (size_t id = 0; id < s->n && id < spec->pieces.n && code == NK_OK; id++) {
    if (s->types[id] != NORMAL) continue;
    if (count_cuts(s, id) != n_made[id]) code = NK_EUNSUPPORTED;
    if (n_made[id] == 0) s->scores[id] = score - 1;
  }
  nk_free(n_made);
  return code == NK_EUNSUPPORTED
             ? refuse(s, "a BPE without byte-level, whose merges are not those of scores", "")
             : code;
}

/* Each byte has a token, <0x09> or the character itself: else llama.cpp ends the process. */
static int check_bytes(const struct writing *s) {
  for (unsigned byte = 0; byte < 256; byte++) {
    char name[8], character = (char)byte;
    snprintf(name, sizeof name, "<0x%02X>", byte);
    if (nki_pieces_find(&s->tokens, name, 6) < 0 &&
        (byte > 127 || nki_pieces_find(&s->tokens, &character, 1) < 0))
      return refuse(s, "a byte_fallback without a token ", name);
  }
  return NK_OK;
}

static int put_sentencepiece(struct writing *s) {
  bool prefix;
  int code = find_spaces(s, &prefix);
  if (code == NK_OK) code = collect_tokens(s);
  if (code == NK_OK) code = check_bytes(s);
  if (code == NK_OK) code = scores_of_merges(s);
  if (code != NK_OK) return code;
  value_string(s, "tokenizer.ggml.model", "llama");
  value_string(s, "tokenizer.ggml.pre", "default");
  value_bool(s, "tokenizer.ggml.add_space_prefix", prefix);
  put_tokens(s);
  put_scores(s);
  return NK_OK;
}

/* ---- The tokens around a text ---- */

/* An id of config.json, of a list the first; NKI_NO_ID where it has none. */
static int64_t config_id(const struct writing *s, const char *key) {
  int64_t id = NKI_NO_ID;
  double first;
  if (nki_model_config_integer(s->w->model, key, &id) == NK_OK) return id;
  if (nki_model_config_number_at(s->w->model, key, 0, &first) == NK_OK) return (int64_t)first;
  return NKI_NO_ID;
}

static int put_side(const struct writing *s, const struct nki_ids *ids, const char *add_key,
                    const char *id_key, const char *config_key) {
  if (ids->n > 1) return refuse(s, "a post-processor that puts several tokens on a side", "");
  int64_t id = ids->n == 1 ? ids->id[0] : config_id(s, config_key);
  value_bool(s, add_key, ids->n == 1);
  if (id >= 0 && (size_t)id < s->n) value_id(s, id_key, id);
  return NK_OK;
}

static int put_special(const struct writing *s) {
  int64_t unknown = nki_spec_unknown(s->spec), padding = config_id(s, "pad_token_id");
  if (unknown >= 0) value_id(s, "tokenizer.ggml.unknown_token_id", unknown);
  if (padding >= 0 && (size_t)padding < s->n)
    value_id(s, "tokenizer.ggml.padding_token_id", padding);
  int code = put_side(s, &s->tokenizer->before, "tokenizer.ggml.add_bos_token",
                      "tokenizer.ggml.bos_token_id", "bos_token_id");
  if (code == NK_OK)
    code = put_side(s, &s->tokenizer->after, "tokenizer.ggml.add_eos_token",
                    "tokenizer.ggml.eos_token_id", "eos_token_id");
  nki_clear_error();
  return code;
}

/* ---- The whole ---- */

/* Strings with a mark that the first step of the decoder removes (prune.c): llama.cpp would not
 * remove it, and would find the tokens again by their strings without it. */
static int check_marks(const struct writing *s) {
  json_t *decoder = json_object_get(s->spec->config, "decoder");
  const json_t *step = nki_spec_steps(decoder) > 0 ? nki_spec_step(decoder, 0) : NULL;
  const json_t *mark = json_object_get(json_object_get(step, "pattern"), "String");
  const json_t *content = json_object_get(step, "content");
  size_t n = json_string_length(mark);
  if (strcmp(nki_spec_type(step), "Replace") != 0 || n == 0 || !json_is_string(content) ||
      json_string_length(content) > 0)
    return NK_OK;
  for (size_t id = 0; id < s->spec->pieces.n; id++) {
    const struct nki_piece *piece = &s->spec->pieces.piece[id];
    if (piece->present && piece->length >= n &&
        memcmp(nki_pieces_bytes(&s->spec->pieces, id), json_string_value(mark), n) == 0)
      return nk_fail(NK_EUNSUPPORTED,
                     "%s: the tokenizer is pruned and token %zu has a string with a mark, which a "
                     "GGUF cannot say; write it with the tokenizer as it was",
                     s->spec->name, id);
  }
  return NK_OK;
}

static int put_kind(struct writing *s) {
  bool is_bpe = strcmp(s->spec->model, "BPE") == 0;
  if (is_bpe && nki_spec_has(s->spec, "pre_tokenizer", "ByteLevel")) return put_byte_level(s);
  if (is_bpe && json_is_true(model_option(s, "byte_fallback"))) return put_sentencepiece(s);
  if (is_bpe) return refuse(s, "a BPE that is not byte-level and has no byte_fallback", "");
  return refuse(s, "the tokenizer model ", s->spec->model);
}

/* llama.cpp loads a model whose tokenizer is "none", and runs ids and vectors through it. */
static int put_nothing(const struct writing *s) {
  char key[NKI_MAX_NAME];
  nki_clear_error();
  nk_warn("%s: no tokenizer beside the model: the GGUF has no vocabulary",
          nk_model_name(s->w->model));
  value_string(s, "tokenizer.ggml.model", "none");
  snprintf(key, sizeof key, "%s.vocab_size", s->w->architecture->gguf);
  value_id(s, key, (int64_t)s->n);
  return NK_OK;
}

static int put_tokenizer(struct nki_gguf_writing *w, size_t n_tokens) {
  const char *folder = nk_model_folder(w->model);
  struct nk_tokenizer *tokenizer = folder != NULL ? nk_tokenizer_open(folder) : NULL;
  struct writing s = {.w = w, .tokenizer = tokenizer, .n = n_tokens};
  if (tokenizer == NULL && (folder == NULL || nk_error_code() == NK_ENOTFOUND))
    return put_nothing(&s);
  if (tokenizer == NULL) return nk_error_code();
  s.spec = tokenizer->spec;
  int code = check_marks(&s);
  if (code == NK_OK) code = put_kind(&s);
  if (code == NK_OK) code = put_special(&s);
  nki_pieces_free(&s.tokens);
  nk_free(s.types);
  nk_free(s.scores);
  nk_tokenizer_free(tokenizer);
  return code;
}

int nk_model_write(const struct nk_model *model, const struct nk_model_write_options *options,
                   struct nk_output *output) {
  static const struct nk_model_write_options defaults;
  if (options == NULL) options = &defaults;
  if (model == NULL || (output == NULL && !options->check_only)) return nki_fail_null();
  if (options->format == NK_MODEL_SAFETENSORS)
    return nki_model_write_safetensors(model, options, output);
  if (options->shuffle || options->n_patches > 0 || options->check_only)
    return nk_fail(NK_EUSAGE, "a GGUF is not shuffled, patched or checked: write safetensors");
  return nki_gguf_write(model, options->dtype, put_tokenizer, output);
}
