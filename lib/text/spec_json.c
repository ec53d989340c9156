/* Reading tokenizer.json, as Hugging Face's tokenizers write it:
 *
 *   { "added_tokens": [{"id": 0, "content": "<|endoftext|>", "special": true, ...}, ...],
 *     "normalizer": ..., "pre_tokenizer": ..., "post_processor": ..., "decoder": ...,
 *     "model": {"type": "BPE", "vocab": {"!": 0, ...}, "merges": ["h e", ["i", "n"], ...]} }
 *
 * Unigram's vocab is an array of [string, score]. Vocabulary and merges are nearly all of the file:
 * a first pass finds their places, jansson reads the rest, and two more passes read them into
 * arrays. */
#include "text/spec_json.h"

#include <noken/base.h>
#include <string.h>

#include "base/json.h"
#include "base/json_scan.h"
#include "text/byte_level.h"

int nki_place_value(struct nki_scan *scan, struct nki_place *span) {
  nki_scan_peek(scan);
  span->begin = scan->at;
  int code = nki_scan_skip(scan);
  span->end = scan->at;
  return code;
}

int nki_place_members(struct nki_scan *scan, const char *const *name, struct nki_place *span,
                      size_t n_names) {
  struct nk_buffer key = {0};
  bool first = true;
  int code = nki_scan_expect(scan, '{');
  while (code == NK_OK && (code = nki_scan_next(scan, '}', &first)) == 1) {
    nk_buffer_clear(&key);
    code = nki_scan_string(scan, &key);
    if (code == NK_OK) code = nki_scan_expect(scan, ':');
    struct nki_place value;
    if (code == NK_OK) code = nki_place_value(scan, &value);
    if (code == NK_OK && key.failed) code = nk_fail(NK_EMEMORY, "%s: out of memory", scan->name);
    for (size_t i = 0; code == NK_OK && i < n_names; i++)
      if (key.size == strlen(name[i]) && memcmp(key.data, name[i], key.size) == 0) span[i] = value;
  }
  nk_buffer_free(&key);
  return code;
}

/* Appends the file's text [from, to). */
static void copy(struct nk_buffer *out, const char *from, const char *to) {
  nk_buffer_append(out, from, (size_t)(to - from));
}

/* Parses the file with null in place of the two spans, followed by their newlines, so that
 * jansson's line numbers are those of the file. */
static json_t *parse_rest(const struct nki_scan *scan, const struct nki_place *vocab,
                          const struct nki_place *merges) {
  const struct nki_place *cut[2] = {vocab, merges};
  if (vocab->begin != NULL && merges->begin != NULL && merges->begin < vocab->begin) {
    cut[0] = merges;
    cut[1] = vocab;
  }
  struct nk_buffer text = {0};
  const char *at = scan->start;
  for (int i = 0; i < 2; i++) {
    if (cut[i]->begin == NULL) continue;
    copy(&text, at, cut[i]->begin);
    nk_buffer_text(&text, "null");
    for (const char *s = cut[i]->begin; (s = memchr(s, '\n', (size_t)(cut[i]->end - s))) != NULL;
         s++)
      nk_buffer_byte(&text, '\n');
    at = cut[i]->end;
  }
  copy(&text, at, scan->end);
  json_t *json = NULL;
  if (text.failed)
    nk_fail(NK_EMEMORY, "%s: out of memory", scan->name);
  else
    json = nki_json_parse(scan->name, text.data, text.size, JSON_ALLOW_NUL);
  nk_buffer_free(&text);
  return json;
}

/* ---- The vocabulary ---- */

/* {"string": id, ...} */
static int read_vocab_object(struct nki_spec *spec, struct nki_scan *scan) {
  bool first = true;
  int code = nki_scan_expect(scan, '{');
  while (code == NK_OK && (code = nki_scan_next(scan, '}', &first)) == 1) {
    size_t offset = spec->pieces.bytes.size;
    int64_t id = 0;
    code = nki_scan_string(scan, &spec->pieces.bytes);
    if (code == NK_OK) code = nki_scan_expect(scan, ':');
    if (code == NK_OK) code = nki_scan_integer(scan, &id);
    if (code == NK_OK && id < 0) code = nki_scan_fail(scan, "a token's id is negative");
    if (code == NK_OK) code = nki_spec_add_piece(spec, (size_t)id, offset);
  }
  return code;
}

/* [["string", score], ...], the id being the index. */
static int read_vocab_array(struct nki_spec *spec, struct nki_scan *scan) {
  bool first = true;
  size_t id = 0, capacity = 0;
  int code = nki_scan_expect(scan, '[');
  while (code == NK_OK && (code = nki_scan_next(scan, ']', &first)) == 1) {
    if (id == capacity) {
      size_t grown = capacity != 0 ? 2 * capacity : 1024;
      double *score = nk_realloc(spec->pieces.score, capacity, grown, sizeof *score);
      if (score == NULL) return NK_EMEMORY;
      spec->pieces.score = score;
      capacity = grown;
    }
    size_t offset = spec->pieces.bytes.size;
    code = nki_scan_expect(scan, '[');
    if (code == NK_OK) code = nki_scan_string(scan, &spec->pieces.bytes);
    if (code == NK_OK) code = nki_scan_expect(scan, ',');
    if (code == NK_OK) code = nki_scan_number(scan, &spec->pieces.score[id]);
    if (code == NK_OK) code = nki_scan_expect(scan, ']');
    if (code == NK_OK) code = nki_spec_add_piece(spec, id++, offset);
  }
  return code;
}

static int read_vocab(struct nki_spec *spec, struct nki_scan scan, const struct nki_place *span) {
  if (span->begin == NULL) return nk_fail(NK_EDATA, "%s: the model has no 'vocab'", spec->name);
  scan.at = span->begin;
  int code =
      nki_scan_peek(&scan) == '[' ? read_vocab_array(spec, &scan) : read_vocab_object(spec, &scan);
  return code != NK_OK ? code : nki_pieces_index(&spec->pieces, spec->pieces.score == NULL);
}

/* ---- The merges ---- */

/* One merge, "a b" or ["a", "b"], into both[0..*split) and both[*split..size). */
static int read_merge(struct nki_scan *scan, struct nk_buffer *both, size_t *split) {
  int code = NK_OK;
  nk_buffer_clear(both);
  if (nki_scan_peek(scan) == '[') {
    scan->at++;
    code = nki_scan_string(scan, both);
    *split = both->size;
    if (code == NK_OK) code = nki_scan_expect(scan, ',');
    if (code == NK_OK) code = nki_scan_string(scan, both);
    if (code == NK_OK) code = nki_scan_expect(scan, ']');
  } else {
    code = nki_scan_string(scan, both);
    char *space = code == NK_OK && both->data != NULL ? memchr(both->data, ' ', both->size) : NULL;
    if (code == NK_OK && both->failed) return nk_fail(NK_EMEMORY, "out of memory for merges");
    if (code == NK_OK &&
        ((space == NULL) ||
         memchr(space + 1, ' ', both->size - (size_t)(space + 1 - both->data)) != NULL))
      return nki_scan_fail(scan, "a merge is not two strings with a space between");
    if (code != NK_OK) return code;
    *split = (size_t)(space - both->data);
    both->size--;
    memmove(space, space + 1, both->size - *split);
  }
  if (code == NK_OK && both->failed) code = nk_fail(NK_EMEMORY, "%s: out of memory", scan->name);
  return code;
}

bool nki_place_is_comment(const struct nki_scan *scan) {
  static const char comment[] = "\"#version";
  return (size_t)(scan->end - scan->at) >= sizeof comment - 1 &&
         memcmp(scan->at, comment, sizeof comment - 1) == 0;
}

static int read_merges(struct nki_spec *spec, struct nki_scan scan, const struct nki_place *span) {
  if (span->begin == NULL)
    return nk_fail(NK_EDATA, "%s: the BPE model has no 'merges'", spec->name);
  struct nk_buffer both = {0};
  uint32_t rank = 0;
  bool first = true;
  scan.at = span->begin;
  int code = nki_scan_expect(&scan, '[');
  while (code == NK_OK && (code = nki_scan_next(&scan, ']', &first)) == 1) {
    size_t split = 0;
    if (nki_scan_peek(&scan) == '"' && nki_place_is_comment(&scan)) {
      code = nki_scan_skip(&scan);
      continue;
    }
    code = read_merge(&scan, &both, &split);
    if (code == NK_OK) code = nki_spec_add_merge(spec, &both, split, rank++);
  }
  nk_buffer_free(&both);
  return code;
}

/* ---- The added tokens ---- */

static int add_added(struct nki_spec *spec, const json_t *token) {
  const json_t *content = json_object_get(token, "content"), *id = json_object_get(token, "id");
  const json_t *special = json_object_get(token, "special");
  const json_t *normalized = json_object_get(token, "normalized");
  if (!json_is_string(content) || !json_is_integer(id) || json_integer_value(id) < 0)
    return nk_fail(NK_EDATA, "%s: an added token without 'id' and 'content'", spec->name);
  size_t offset = spec->added_bytes.size;
  nk_buffer_append(&spec->added_bytes, json_string_value(content), json_string_length(content));
  return nki_spec_push_added(
      spec,
      (struct nki_added){
          .id = (size_t)json_integer_value(id),
          .offset = offset,
          .single_word = json_is_true(json_object_get(token, "single_word")),
          .lstrip = json_is_true(json_object_get(token, "lstrip")),
          .rstrip = json_is_true(json_object_get(token, "rstrip")),
          .special = json_is_true(special),
          .normalized = normalized != NULL ? json_is_true(normalized) : !json_is_true(special),
      });
}

static int read_added(struct nki_spec *spec) {
  json_t *added = json_object_get(spec->config, "added_tokens");
  size_t n = json_array_size(added);
  for (size_t i = 0; i < n; i++) {
    int code = add_added(spec, json_array_get(added, i));
    if (code != NK_OK) return code;
  }
  return nki_spec_number_added(spec);
}

/* ---- The file ---- */

/* The model's type; files of old versions have none. */
static const char *model_of(const struct nki_spec *spec, const struct nki_place *vocab,
                            const struct nki_place *merges) {
  const json_t *model = json_object_get(spec->config, "model");
  const char *type = nki_spec_type(model);
  if (*type != 0) return type;
  return merges->begin != NULL                          ? "BPE"
         : vocab->begin != NULL && *vocab->begin == '[' ? "Unigram"
                                                        : "";
}

static int flatten(struct nki_spec *spec) {
  static const char *const components[] = {"normalizer", "pre_tokenizer", "post_processor",
                                           "decoder"};
  int code = NK_OK;
  for (size_t i = 0; i < sizeof components / sizeof *components && code == NK_OK; i++)
    code = nki_spec_flatten(spec, components[i]);
  return code;
}

/* Whether the decoder has ByteLevel after a step that sees strings in its alphabet. */
static bool decodes_late(struct nki_spec *spec) {
  json_t *decoder = json_object_get(spec->config, "decoder");
  for (size_t i = 1; i < nki_spec_steps(decoder); i++)
    if (strcmp(nki_spec_type(nki_spec_step(decoder, i)), "ByteLevel") == 0) return true;
  return false;
}

/* Whether the model's strings are read as raw bytes, for which ByteLevel has to be the last step
 * before the model and the first after it, and every other step to see text. */
static void set_alphabet(struct nki_spec *spec) {
  json_t *steps = json_object_get(spec->config, "pre_tokenizer");
  const json_t *model = json_object_get(spec->config, "model");
  const char *suffix = json_string_value(json_object_get(model, "end_of_word_suffix"));
  size_t n = nki_spec_steps(steps);
  spec->merge_prefix = json_string_length(json_object_get(model, "continuing_subword_prefix"));
  spec->byte_level = n > 0 &&
                     strcmp(nki_spec_type(nki_spec_step(steps, n - 1)), "ByteLevel") == 0 &&
                     !nki_spec_has(spec, "normalizer", "ByteLevel") && !decodes_late(spec) &&
                     spec->merge_prefix == 0;
  for (size_t i = 0; i + 1 < n; i++)
    if (strcmp(nki_spec_type(nki_spec_step(steps, i)), "ByteLevel") == 0) spec->byte_level = false;
  for (; suffix != NULL && *suffix != 0; suffix++)
    if (*suffix < 0x21 || *suffix > 0x7E) spec->byte_level = false;
}

int nki_spec_read_json(struct nki_spec *spec, const struct nk_file *file, bool vocabulary_only) {
  static const char *const top[] = {"model"}, *const inner[] = {"vocab", "merges"};
  struct nki_scan scan = nki_scan_begin(spec->name, file->data, file->size);
  struct nki_place model = {0}, parts[2] = {{0}, {0}};
  int code = nki_place_members(&scan, top, &model, 1);
  if (code != NK_OK) return code;
  if (model.begin == NULL || *model.begin != '{')
    return nk_fail(NK_EDATA, "%s: no 'model': not a tokenizer.json", spec->name);
  scan.at = model.begin;
  if ((code = nki_place_members(&scan, inner, parts, 2)) != NK_OK) return code;
  spec->config = parse_rest(&scan, &parts[0], &parts[1]);
  if (spec->config == NULL) return NK_EDATA;
  spec->model = nk_strdup(model_of(spec, &parts[0], &parts[1]));
  if (spec->model == NULL) return NK_EMEMORY;
  if ((code = flatten(spec)) != NK_OK) return code;
  set_alphabet(spec);
  if ((code = read_vocab(spec, scan, &parts[0])) != NK_OK) return code;
  if (!vocabulary_only && strcmp(spec->model, "BPE") == 0 &&
      (code = read_merges(spec, scan, &parts[1])) != NK_OK)
    return code;
  return read_added(spec);
}
