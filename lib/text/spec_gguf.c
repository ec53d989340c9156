/* The vocabulary of a GGUF file, brought into the form of tokenizer.json. Of these kinds:
 *
 *   tokenizer.ggml.model = "gpt2": byte-level BPE with its merges; the pre-tokenizer is given by
 *     name only (tokenizer.ggml.pre): see gguf_pre.h
 *   tokenizer.ggml.model = "llama": SentencePiece's BPE, without merges: of all neighbours whose
 *     join is a piece, those of the best score join first
 *   tokenizer.ggml.model = "gemma4": the strings of the second kind with the merges of the first
 *
 * Each token has a type: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte. */
#include "text/spec_gguf.h"

#include <noken/base.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"
#include "text/gguf_pre.h"

#define BYTE_LEVEL "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": false}"
#define SPACE "\xE2\x96\x81"

enum { NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE };
enum { MAX_PIECE = 4096 }; /* bytes; trying all cuts is quadratic */

static bool is(const char *text, size_t n, const char *name) {
  return strlen(name) == n && memcmp(text, name, n) == 0;
}

/* ---- Tokens ---- */

static int type_of(const struct nki_gguf_value *types, size_t id) {
  double type = types != NULL && id < types->count ? nki_gguf_number_at(types, id) : NORMAL;
  return type >= NORMAL && type <= BYTE ? (int)type : NORMAL;
}

/* Rows of the matrix past the vocabulary are written as [PAD32000], by their ids. */
static bool is_padding(const char *s, size_t n, size_t id) {
  char name[32];
  int length = snprintf(name, sizeof name, "[PAD%zu]", id);
  return (size_t)length == n && memcmp(s, name, n) == 0;
}

static int read_tokens(struct nki_spec *spec, const struct nki_gguf_value *tokens,
                       const struct nki_gguf_value *types) {
  size_t cursor = 0, n, id = 0;
  for (const char *s; (s = nki_gguf_next_string(tokens, &cursor, &n)) != NULL; id++) {
    int type = type_of(types, id), code;
    if (is_padding(s, n, id)) continue;
    if (nki_utf8_first_invalid(s, n) < n)
      return nk_fail(NK_EDATA, "%s: token %zu is not valid UTF-8", spec->name, id);
    if (type == CONTROL || type == USER_DEFINED || type == UNKNOWN) {
      struct nki_added added = {
          .id = id, .offset = spec->added_bytes.size, .special = type != USER_DEFINED};
      nk_buffer_append(&spec->added_bytes, s, n);
      if ((code = nki_spec_push_added(spec, added)) != NK_OK) return code;
      if (type != UNKNOWN) continue; /* text gives the unknown token without its name too */
    }
    size_t offset = spec->pieces.bytes.size;
    nk_buffer_append(&spec->pieces.bytes, s, n);
    if ((code = nki_spec_add_piece(spec, id, offset)) != NK_OK) return code;
  }
  int code = nki_pieces_extend(&spec->pieces, id);
  return code != NK_OK ? code : nki_pieces_index(&spec->pieces, false);
}

/* ---- Merges ---- */

static int read_merges(struct nki_spec *spec, const struct nki_gguf *gguf) {
  const struct nki_gguf_value *merges = nki_gguf_strings(gguf, "tokenizer.ggml.merges");
  struct nk_buffer both = {0};
  size_t cursor = 0, n;
  uint32_t rank = 0;
  int code = merges != NULL ? NK_OK : NK_ENOTFOUND;
  for (const char *s; code == NK_OK && (s = nki_gguf_next_string(merges, &cursor, &n)) != NULL;
       rank++) {
    const char *space = n > 1 ? memchr(s + 1, ' ', n - 1) : NULL;
    if (space == NULL || nki_utf8_first_invalid(s, n) < n) {
      code = nk_fail(NK_EDATA, "%s: merge %u is not two strings with a space between", spec->name,
                     rank);
      break;
    }
    size_t split = (size_t)(space - s);
    nk_buffer_clear(&both);
    nk_buffer_append(&both, s, split);
    nk_buffer_append(&both, space + 1, n - split - 1);
    code = nki_spec_add_merge(spec, &both, split, rank);
  }
  nk_buffer_free(&both);
  return code;
}

/* A piece and its score, for sorting. */
struct scored {
  double score;
  uint32_t id;
};

static int by_score(const void *a, const void *b) {
  const struct scored *x = a, *y = b;
  if (x->score != y->score) return x->score > y->score ? -1 : 1;
  return (x->id > y->id) - (x->id < y->id);
}

/* All ways to cut a piece into two pieces are merges of its rank. */
static int add_cuts(struct nki_spec *spec, const struct nki_gguf_value *types, uint32_t id,
                    uint32_t rank) {
  const struct nki_pieces *pieces = &spec->pieces;
  const char *s = nki_pieces_bytes(pieces, id);
  size_t n = pieces->piece[id].length;
  if (n > MAX_PIECE)
    return nk_fail(NK_EUNSUPPORTED, "%s: token %u is longer than %d bytes", spec->name, id,
                   MAX_PIECE);
  for (size_t cut = n != 0 ? nki_utf8_width(*s) : n; cut < n; cut += nki_utf8_width(s[cut])) {
    int64_t left = nki_pieces_find(pieces, s, cut);
    int64_t right = nki_pieces_find(pieces, s + cut, n - cut);
    if (left < 0 || right < 0 || type_of(types, (size_t)left) > UNUSED ||
        type_of(types, (size_t)right) > UNUSED)
      continue;
    int code =
        nki_spec_push_merge(spec, (struct nki_merge){(uint32_t)left, (uint32_t)right, id, rank});
    if (code != NK_OK) return code;
  }
  return NK_OK;
}

/* An array beside the tokens has an element for each of them. */
static int check_length(const struct nki_spec *spec, const struct nki_gguf_value *array, size_t n) {
  return array->count >= n ? NK_OK
                           : nk_fail(NK_EDATA, "%s: '%s' has %zu elements for %zu tokens",
                                     spec->name, array->key, array->count, n);
}

/* Pieces of one score share a rank: of their merges the leftmost comes first. */
static int merges_by_score(struct nki_spec *spec, const struct nki_gguf *gguf,
                           const struct nki_gguf_value *types) {
  const struct nki_gguf_value *scores = nki_gguf_numbers(gguf, "tokenizer.ggml.scores");
  if (scores == NULL) return NK_ENOTFOUND;
  int code = check_length(spec, scores, spec->pieces.n);
  if (code != NK_OK) return code;
  struct scored *order = nk_alloc(spec->pieces.n, sizeof *order);
  if (order == NULL) return NK_EMEMORY;
  size_t n = 0;
  for (uint32_t id = 0; id < spec->pieces.n; id++) {
    int type = type_of(types, id);
    double score = nki_gguf_number_at(scores, id);
    if (!spec->pieces.piece[id].present || (type != NORMAL && type != UNUSED)) continue;
    if (score != score) {
      code = nk_fail(NK_EDATA, "%s: the score of token %u is a NaN", spec->name, id);
      goto done;
    }
    order[n++] = (struct scored){score, id};
  }
  qsort(order, n, sizeof *order, by_score);
  uint32_t rank = 0;
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    if (i > 0 && order[i].score != order[i - 1].score) rank++;
    code = add_cuts(spec, types, order[i].id, rank);
  }
done:
  nk_free(order);
  return code;
}

/* ---- The components as JSON ---- */

/* Sets a component of the spec, which then owns json; json is freed on failure. */
static int put(struct nki_spec *spec, const char *component, json_t *json) {
  if (json == NULL || json_object_set_new(spec->config, component, json) != 0)
    return nk_fail(NK_EMEMORY, "%s: out of memory", spec->name);
  return NK_OK;
}

static json_t *parse(const char *text) {
  return json_loads(text, JSON_DECODE_ANY, NULL);
}

/* *value as the file has it under key, unchanged where it has none. */
static int take_bool(const struct nki_gguf *gguf, const char *key, bool *value) {
  return nki_gguf_find(gguf, key) == NULL ? NK_OK : nki_gguf_bool(gguf, key, value);
}

static int take_integer(const struct nki_gguf *gguf, const char *key, int64_t *value) {
  return nki_gguf_find(gguf, key) == NULL ? NK_OK : nki_gguf_integer(gguf, key, value);
}

/* Adds the begin or end token that the file puts around a text to the parts of
 * TemplateProcessing. */
static int put_special(struct nki_spec *spec, const struct nki_gguf *gguf, const char *add_key,
                       const char *id_key, bool add, json_t *single, json_t *tokens) {
  int64_t id;
  int code = take_bool(gguf, add_key, &add);
  if (code != NK_OK || !add) return code;
  if ((code = nki_gguf_integer(gguf, id_key, &id)) != NK_OK) return code;
  if (id < 0 || (size_t)id >= spec->pieces.n)
    return nk_fail(NK_EDATA, "%s: '%s' is %lld, outside the %zu tokens", spec->name, id_key,
                   (long long)id, spec->pieces.n);
  json_array_append_new(single,
                        json_pack("{s:{s:s,s:i}}", "SpecialToken", "id", id_key, "type_id", 0));
  return json_object_set_new(tokens, id_key,
                             json_pack("{s:s,s:[I]}", "id", id_key, "ids", (json_int_t)id)) != 0
             ? nk_fail(NK_EMEMORY, "%s: out of memory", spec->name)
             : NK_OK;
}

static int put_template(struct nki_spec *spec, const struct nki_gguf *gguf, bool add_bos) {
  json_t *single = json_array(), *tokens = json_object();
  int code = put_special(spec, gguf, "tokenizer.ggml.add_bos_token", "tokenizer.ggml.bos_token_id",
                         add_bos, single, tokens);
  json_array_append_new(single, json_pack("{s:{s:s,s:i}}", "Sequence", "id", "A", "type_id", 0));
  if (code == NK_OK)
    code = put_special(spec, gguf, "tokenizer.ggml.add_eos_token", "tokenizer.ggml.eos_token_id",
                       false, single, tokens);
  json_t *template = json_pack("{s:s,s:o,s:o}", "type", "TemplateProcessing", "single", single,
                               "special_tokens", tokens);
  int put_code = put(spec, "post_processor", template);
  return code != NK_OK ? code : put_code;
}

/* ---- The kinds ---- */

/* The file's pre-tokenizer. A file without one was made before llama.cpp knew that they differ:
 * like llama.cpp, noken then warns and takes the one that it calls default. */
static const struct nki_gguf_pre *read_pre(const struct nki_spec *spec,
                                           const struct nki_gguf *gguf) {
  const char *name = "";
  size_t n = 0, n_pres;
  bool has_name = nki_gguf_find(gguf, "tokenizer.ggml.pre") != NULL;
  if (has_name && nki_gguf_string(gguf, "tokenizer.ggml.pre", &name, &n) != NK_OK) return NULL;
  const struct nki_gguf_pre *pre =
      n > 0 ? nki_gguf_pre_find(name, n) : nki_gguf_pre_find("default", strlen("default"));
  if (pre == NULL) {
    nki_gguf_pres(&n_pres);
    nk_fail(NK_EUNSUPPORTED,
            "%s: tokenizer.ggml.pre '%.*s' is unknown: expected one of the %zu names of "
            "noken-models(7)",
            spec->name, n > 64 ? 64 : (int)n, name, n_pres);
    return NULL;
  }
  if (pre->is_default)
    nk_warn(
        "%s: %s pre-tokenizer: text is split as llama.cpp does by default, perhaps otherwise "
        "than the model was trained with",
        spec->name, n > 0 ? "an unknown" : "no");
  return pre;
}

/* {"type": "Sequence", "pretokenizers": [a Split for each pattern, ByteLevel unless raw]} */
static json_t *splits_of(const struct nki_gguf_pre *pre) {
  json_t *steps = json_array();
  for (size_t i = 0; i < NKI_PRE_MAX_PATTERNS && pre->patterns[i] != NULL; i++)
    json_array_append_new(steps,
                          json_pack("{s:s,s:{s:s},s:s,s:b}", "type", "Split", "pattern", "Regex",
                                    pre->patterns[i], "behavior", "Isolated", "invert", 0));
  if (!pre->raw) json_array_append_new(steps, parse(BYTE_LEVEL));
  return json_pack("{s:s,s:o}", "type", "Sequence", "pretokenizers", steps);
}

static int read_byte_level(struct nki_spec *spec, const struct nki_gguf *gguf,
                           const struct nki_gguf_value *tokens, const struct nki_gguf_value *types,
                           bool vocabulary_only) {
  spec->byte_level = true;
  int code = put(spec, "decoder", parse(BYTE_LEVEL));
  if (code == NK_OK) code = read_tokens(spec, tokens, types);
  if (code != NK_OK || vocabulary_only) return code;
  const struct nki_gguf_pre *pre = read_pre(spec, gguf);
  if (pre == NULL) return nk_error_code();
  code = put(spec, "pre_tokenizer", splits_of(pre));
  if (code == NK_OK)
    code = put(spec, "normalizer", parse(pre->nfc ? "{\"type\": \"NFC\"}" : "null"));
  if (code == NK_OK)
    code = put(spec, "model",
               json_pack("{s:s,s:b}", "type", "BPE", "ignore_merges", pre->ignore_merges));
  if (code == NK_OK) code = put_template(spec, gguf, pre->add_bos);
  return code != NK_OK ? code : read_merges(spec, gguf);
}

/* Decoder and tokens of a vocabulary in which U+2581 is a space and <0x00> a byte. */
static int read_spaces(struct nki_spec *spec, bool prefix, const struct nki_gguf_value *tokens,
                       const struct nki_gguf_value *types) {
  int code = put(spec, "decoder",
                 json_pack("{s:s,s:[{s:s,s:{s:s},s:s},{s:s},{s:s},{s:s,s:s,s:i,s:i}]}", "type",
                           "Sequence", "decoders", "type", "Replace", "pattern", "String", SPACE,
                           "content", " ", "type", "ByteFallback", "type", "Fuse", "type", "Strip",
                           "content", " ", "start", prefix ? 1 : 0, "stop", 0));
  return code == NK_OK ? read_tokens(spec, tokens, types) : code;
}

/* Its normalizer and model. */
static int put_spaces(struct nki_spec *spec, const struct nki_gguf *gguf, bool prefix) {
  int64_t unknown = -1;
  int code = take_integer(gguf, "tokenizer.ggml.unknown_token_id", &unknown);
  if (code != NK_OK) return code;
  json_t *normalizer = json_pack("{s:s,s:[{s:s,s:{s:s},s:s}]}", "type", "Sequence", "normalizers",
                                 "type", "Replace", "pattern", "String", " ", "content", SPACE);
  if (prefix)
    json_array_insert_new(json_object_get(normalizer, "normalizers"), 0,
                          json_pack("{s:s,s:s}", "type", "Prepend", "prepend", SPACE));
  code = put(spec, "normalizer", normalizer);
  if (code != NK_OK) return code;
  json_t *model = json_pack("{s:s,s:b,s:b}", "type", "BPE", "byte_fallback", 1, "fuse_unk", 1);
  if (unknown >= 0 && (size_t)unknown < spec->pieces.n && spec->pieces.piece[unknown].present)
    json_object_set_new(model, "unk_token",
                        json_stringn(nki_pieces_bytes(&spec->pieces, (size_t)unknown),
                                     spec->pieces.piece[unknown].length));
  return put(spec, "model", model);
}

static int read_llama(struct nki_spec *spec, const struct nki_gguf *gguf,
                      const struct nki_gguf_value *tokens, const struct nki_gguf_value *types,
                      bool vocabulary_only) {
  bool prefix = true;
  int code = take_bool(gguf, "tokenizer.ggml.add_space_prefix", &prefix);
  if (code == NK_OK) code = read_spaces(spec, prefix, tokens, types);
  if (code != NK_OK || vocabulary_only) return code;
  code = put_spaces(spec, gguf, prefix);
  if (code == NK_OK) code = put_template(spec, gguf, true);
  return code != NK_OK ? code : merges_by_score(spec, gguf, types);
}

static int read_raw(struct nki_spec *spec, const struct nki_gguf *gguf,
                    const struct nki_gguf_pre *pre, const struct nki_gguf_value *tokens,
                    const struct nki_gguf_value *types, bool vocabulary_only) {
  int code = read_spaces(spec, false, tokens, types);
  if (code != NK_OK || vocabulary_only) return code;
  code = put_spaces(spec, gguf, false);
  if (code == NK_OK) code = put(spec, "pre_tokenizer", splits_of(pre));
  if (code == NK_OK) code = put_template(spec, gguf, pre->add_bos);
  return code != NK_OK ? code : read_merges(spec, gguf);
}

/* The pre-tokenizer of a vocabulary that has merges and is not byte-level, else NULL. */
static const struct nki_gguf_pre *find_raw(const struct nki_gguf *gguf, const char *model,
                                           size_t n) {
  const struct nki_gguf_value *value = nki_gguf_find(gguf, "tokenizer.ggml.pre");
  const struct nki_gguf_pre *pre = NULL;
  if (is(model, n, "gemma4")) return nki_gguf_pre_find(model, n);
  if (is(model, n, "gpt2") && value != NULL && !value->is_array && value->type == NKI_GGUF_STRING)
    pre = nki_gguf_pre_find((const char *)value->data + 8, value->n_bytes - 8);
  return pre != NULL && pre->raw ? pre : NULL;
}

int nki_spec_read_gguf(struct nki_spec *spec, const struct nki_gguf *gguf, bool vocabulary_only) {
  const char *model;
  size_t n;
  int code = nki_gguf_string(gguf, "tokenizer.ggml.model", &model, &n);
  if (code != NK_OK) return code;
  const struct nki_gguf_value *tokens = nki_gguf_strings(gguf, "tokenizer.ggml.tokens");
  if (tokens == NULL) return NK_EDATA;
  const struct nki_gguf_value *types = nki_gguf_find(gguf, "tokenizer.ggml.token_type");
  if (types != NULL && (types = nki_gguf_numbers(gguf, "tokenizer.ggml.token_type")) == NULL)
    return NK_EDATA;
  spec->config = json_object();
  spec->model = nk_strdup("BPE");
  if (spec->config == NULL || spec->model == NULL)
    return nk_fail(NK_EMEMORY, "%s: out of memory", spec->name);
  if (types != NULL && (code = check_length(spec, types, tokens->count)) != NK_OK) return code;
  const struct nki_gguf_pre *raw = find_raw(gguf, model, n);
  if (raw != NULL) return read_raw(spec, gguf, raw, tokens, types, vocabulary_only);
  if (is(model, n, "gpt2")) return read_byte_level(spec, gguf, tokens, types, vocabulary_only);
  if (is(model, n, "llama")) return read_llama(spec, gguf, tokens, types, vocabulary_only);
  return nk_fail(NK_EUNSUPPORTED, "%s: the tokenizer model '%.*s' is not supported", spec->name,
                 n > 64 ? 64 : (int)n, model);
}
