/* vocab.json with merges.txt, vocab.txt, tiktoken's files and tekken.json. The first two are
 * written as a tokenizer.json in memory, which its reader then reads. */
#include "text/spec_other.h"

#include <noken/base.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "text/patterns.h"
#include "text/spec_json.h"

#define BYTE_LEVEL(use_regex) \
  "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":" use_regex "}"

/* ---- Lines ---- */

/* The next line of the file from *at, without its line break; false at the end. */
static bool next_line(const struct nk_file *file, size_t *at, const char **line, size_t *n) {
  const char *data = (const char *)file->data;
  if (*at >= file->size) return false;
  const char *end = memchr(data + *at, '\n', file->size - *at);
  *line = data + *at;
  *n = end != NULL ? (size_t)(end - *line) : file->size - *at;
  *at += *n + 1;
  if (*n > 0 && (*line)[*n - 1] == '\r') (*n)--;
  return true;
}

/* Appends a JSON string. */
static void append_string(struct nk_buffer *out, const char *s, size_t n) {
  nk_buffer_byte(out, '"');
  for (size_t i = 0; i < n; i++) {
    unsigned char c = (unsigned char)s[i];
    if (c == '"' || c == '\\')
      nk_buffer_printf(out, "\\%c", c);
    else if (c < 0x20)
      nk_buffer_printf(out, "\\u%04X", c);
    else
      nk_buffer_byte(out, c);
  }
  nk_buffer_byte(out, '"');
}

/* Reads text as a tokenizer.json. */
static int read_text(struct nki_spec *spec, struct nk_buffer *text) {
  if (text->failed) return nk_fail(NK_EMEMORY, "%s: out of memory", spec->name);
  struct nk_file file = {.name = spec->name, .data = (const void *)text->data, .size = text->size};
  return nki_spec_read_json(spec, &file, false);
}

/* ---- vocab.json and merges.txt ---- */

/* Special tokens of the models that come in this form, where the vocabulary has them. */
static const char *const specials[] = {"<|endoftext|>", "<s>", "</s>", "<pad>", "<unk>", "<mask>"};

int nki_spec_read_merges_file(struct nki_spec *spec, const struct nk_file *vocab,
                              const struct nk_file *merges) {
  struct nk_buffer text = {0};
  const char *line;
  size_t at = 0, n;
  bool first = true;
  nk_buffer_text(&text,
                 "{\"pre_tokenizer\":" BYTE_LEVEL("true") ",\"decoder\":" BYTE_LEVEL("true"));
  nk_buffer_text(&text, ",\"model\":{\"type\":\"BPE\",\"vocab\":");
  nk_buffer_append(&text, vocab->data, vocab->size);
  nk_buffer_text(&text, ",\"merges\":[");
  while (next_line(merges, &at, &line, &n)) {
    if (n == 0 || (at == n + 1 && n > 8 && memcmp(line, "#version", 8) == 0)) continue;
    if (!first) nk_buffer_byte(&text, ',');
    append_string(&text, line, n);
    first = false;
  }
  nk_buffer_text(&text, "]},\"added_tokens\":[");
  first = true;
  for (size_t i = 0; i < sizeof specials / sizeof *specials; i++) {
    char quoted[32];
    int length = snprintf(quoted, sizeof quoted, "\"%s\"", specials[i]);
    if (memmem(vocab->data, vocab->size, quoted, (size_t)length) == NULL) continue;
    nk_buffer_printf(&text, "%s{\"id\":0,\"special\":true,\"content\":%s}", first ? "" : ",",
                     quoted);
    first = false;
  }
  nk_buffer_text(&text, "]}");
  int code = read_text(spec, &text);
  nk_buffer_free(&text);
  return code;
}

/* ---- vocab.txt ---- */

static void append_template(struct nk_buffer *text, size_t cls, size_t sep) {
  nk_buffer_printf(text,
                   ",\"post_processor\":{\"type\":\"BertProcessing\",\"cls\":[\"[CLS]\",%zu],"
                   "\"sep\":[\"[SEP]\",%zu]}",
                   cls, sep);
}

/* The vocabulary is cased where a token holds a capital letter. */
static bool is_cased(const struct nk_file *file) {
  const char *line;
  size_t at = 0, n;
  while (next_line(file, &at, &line, &n)) {
    if (n > 0 && line[0] == '[') continue;
    for (size_t i = 0; i < n; i++)
      if (line[i] >= 'A' && line[i] <= 'Z') return true;
  }
  return false;
}

int nki_spec_read_lines(struct nki_spec *spec, const struct nk_file *file) {
  static const char *const names[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
  enum { PAD, UNK, CLS, SEP, MASK, N_NAMES };
  size_t ids[N_NAMES], at = 0, n, id = 0;
  for (size_t i = 0; i < N_NAMES; i++) ids[i] = SIZE_MAX;
  struct nk_buffer text = {0};
  const char *line;
  nk_buffer_text(&text, "{\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},");
  nk_buffer_text(&text, "\"decoder\":{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true},");
  nk_buffer_printf(&text, "\"normalizer\":{\"type\":\"BertNormalizer\",\"lowercase\":%s},",
                   is_cased(file) ? "false" : "true");
  nk_buffer_text(&text, "\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"vocab\":{");
  for (; next_line(file, &at, &line, &n); id++) {
    if (id > 0) nk_buffer_byte(&text, ',');
    append_string(&text, line, n);
    nk_buffer_printf(&text, ":%zu", id);
    for (size_t i = 0; i < N_NAMES; i++)
      if (strlen(names[i]) == n && memcmp(names[i], line, n) == 0) ids[i] = id;
  }
  nk_buffer_text(&text, "}},\"added_tokens\":[");
  bool first = true;
  for (size_t i = 0; i < N_NAMES; i++) {
    if (ids[i] == SIZE_MAX) continue;
    nk_buffer_printf(&text, "%s{\"id\":%zu,\"special\":true,\"content\":\"%s\"}", first ? "" : ",",
                     ids[i], names[i]);
    first = false;
  }
  nk_buffer_byte(&text, ']');
  if (ids[CLS] != SIZE_MAX && ids[SEP] != SIZE_MAX) append_template(&text, ids[CLS], ids[SEP]);
  nk_buffer_byte(&text, '}');
  int code = read_text(spec, &text);
  nk_buffer_free(&text);
  return code;
}

/* ---- tiktoken ---- */

#define CL100K                                                                             \
  "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}++|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]" \
  "++[\\r\\n]*+|\\s++\\z|\\s*[\\r\\n]|\\s+(?!\\S)|\\s"

/* The pattern and the special tokens are in programs, not in the file: known by the number of
 * ranks. */
static const struct ranks {
  size_t n;
  const char *pattern;
  struct {
    const char *name;
    size_t id;
  } special[8];
} known[] = {
    {50256, NKI_PATTERN_GPT2, {{"<|endoftext|>", 50256}}},
    {50280, NKI_PATTERN_GPT2, {{"<|endoftext|>", 50256}}},
    {100256,
     CL100K,
     {{"<|endoftext|>", 100257},
      {"<|fim_prefix|>", 100258},
      {"<|fim_middle|>", 100259},
      {"<|fim_suffix|>", 100260},
      {"<|endofprompt|>", 100276}}},
    {199998, NKI_PATTERN_O200K, {{"<|endoftext|>", 199999}, {"<|endofprompt|>", 200018}}},
    {128000,
     NKI_PATTERN_LLAMA3,
     {{"<|begin_of_text|>", 128000},
      {"<|end_of_text|>", 128001},
      {"<|start_header_id|>", 128006},
      {"<|end_header_id|>", 128007},
      {"<|eot_id|>", 128009}}},
    {151643,
     NKI_PATTERN_QWEN2,
     {{"<|endoftext|>", 151643}, {"<|im_start|>", 151644}, {"<|im_end|>", 151645}}},
    {163584, NKI_PATTERN_KIMI, {{"[BOS]", 163584}, {"[EOS]", 163585}}},
};

static int digit(char c) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const char *at = c != 0 ? strchr(digits, c) : NULL;
  return at != NULL ? (int)(at - digits) : -1;
}

/* Appends the bytes that base64 stands for; false when it is none. */
static bool decode(const char *s, size_t n, struct nk_buffer *out) {
  uint32_t bits = 0;
  int n_bits = 0;
  while (n > 0 && s[n - 1] == '=') n--;
  for (size_t i = 0; i < n; i++) {
    if (digit(s[i]) < 0) return false;
    bits = bits << 6 | (uint32_t)digit(s[i]);
    n_bits += 6;
    if (n_bits < 8) continue;
    n_bits -= 8;
    nk_buffer_byte(out, (int)(bits >> n_bits & 0xFF));
  }
  return n > 0;
}

/* "base64 rank": the base64's length, and the rank; false for other lines. */
static bool read_rank(const char *line, size_t n, size_t *n_base64, size_t *rank) {
  const char *space = memchr(line, ' ', n);
  if (space == NULL || (size_t)(line + n - space) > 12) return false;
  *n_base64 = (size_t)(space - line);
  *rank = 0;
  for (const char *c = space + 1; c < line + n; c++) {
    if (*c < '0' || *c > '9') return false;
    *rank = 10 * *rank + (size_t)(*c - '0');
  }
  for (size_t i = 0; i < *n_base64; i++)
    if (digit(line[i]) < 0 && line[i] != '=') return false;
  return space + 1 < line + n && *n_base64 > 0;
}

bool nki_spec_is_tiktoken(const struct nk_file *file) {
  const char *line;
  size_t at = 0, n, n_base64, rank;
  for (int i = 0; i < 3; i++)
    if (!next_line(file, &at, &line, &n) || !read_rank(line, n, &n_base64, &rank)) return false;
  return true;
}

/* Of two neighbours those whose join has the smallest rank are merged first. */
static int add_cuts(struct nki_spec *spec, size_t id) {
  enum { MAX_PIECE = 4096 };
  const char *s = nki_pieces_bytes(&spec->pieces, id);
  size_t n = spec->pieces.piece[id].length;
  if (n > MAX_PIECE)
    return nk_fail(NK_EUNSUPPORTED, "%s: token %zu is longer than %d bytes", spec->name, id,
                   MAX_PIECE);
  int code = NK_OK;
  for (size_t cut = 1; cut < n && code == NK_OK; cut++) {
    int64_t left = nki_pieces_find(&spec->pieces, s, cut);
    int64_t right = nki_pieces_find(&spec->pieces, s + cut, n - cut);
    if (left >= 0 && right >= 0)
      code = nki_spec_push_merge(
          spec, (struct nki_merge){(uint32_t)left, (uint32_t)right, (uint32_t)id, (uint32_t)id});
  }
  return code;
}

static int add_all_cuts(struct nki_spec *spec) {
  int code = NK_OK;
  for (size_t id = 0; id < spec->pieces.n && code == NK_OK; id++)
    if (spec->pieces.piece[id].present) code = add_cuts(spec, id);
  return code;
}

static int add_specials(struct nki_spec *spec, const struct ranks *ranks) {
  int code = NK_OK;
  for (size_t i = 0; i < 8 && ranks->special[i].name != NULL && code == NK_OK; i++) {
    struct nki_added added = {
        .id = ranks->special[i].id, .offset = spec->added_bytes.size, .special = true};
    nk_buffer_text(&spec->added_bytes, ranks->special[i].name);
    code = nki_spec_push_added(spec, added);
  }
  return code;
}

static int set_components(struct nki_spec *spec, const char *pattern) {
  json_t *steps = json_pack("[{s:s,s:{s:s},s:s,s:b},{s:s,s:b,s:b}]", "type", "Split", "pattern",
                            "Regex", pattern, "behavior", "Isolated", "invert", 0, "type",
                            "ByteLevel", "add_prefix_space", 0, "use_regex", 0);
  spec->config = json_pack("{s:{s:s,s:o},s:{s:s},s:{s:s,s:b}}", "pre_tokenizer", "type", "Sequence",
                           "pretokenizers", steps, "decoder", "type", "ByteLevel", "model", "type",
                           "BPE", "ignore_merges", 1);
  spec->model = nk_strdup("BPE");
  if (spec->config != NULL && spec->model != NULL) return NK_OK;
  return nk_fail(NK_EMEMORY, "%s: out of memory", spec->name);
}

int nki_spec_read_tiktoken(struct nki_spec *spec, const struct nk_file *file) {
  const struct ranks *ranks = NULL;
  const char *line;
  size_t at = 0, n, n_base64, rank, n_ranks = 0;
  int code = NK_OK;
  while (code == NK_OK && next_line(file, &at, &line, &n)) {
    if (n == 0) continue;
    size_t offset = spec->pieces.bytes.size;
    if (!read_rank(line, n, &n_base64, &rank) || !decode(line, n_base64, &spec->pieces.bytes))
      return nk_fail(NK_EDATA, "%s: line %zu is not base64 and a rank", spec->name, n_ranks + 1);
    if (rank > spec->max_id)
      return nk_fail(NK_EDATA, "%s: the rank %zu is too large", spec->name, rank);
    code = nki_pieces_add(&spec->pieces, rank, offset, false);
    n_ranks++;
  }
  if (code == NK_OK) code = nki_pieces_index(&spec->pieces, false);
  if (code != NK_OK) return code;
  for (size_t i = 0; i < sizeof known / sizeof *known && ranks == NULL; i++)
    if (known[i].n == n_ranks) ranks = &known[i];
  if (ranks == NULL)
    return nk_fail(NK_EUNSUPPORTED,
                   "%s: the pattern of a tiktoken file with %zu ranks is not known: convert it to "
                   "tokenizer.json (transformers' TikTokenConverter)",
                   spec->name, n_ranks);
  spec->byte_level = true;
  code = set_components(spec, ranks->pattern);
  if (code == NK_OK) code = add_specials(spec, ranks);
  return code == NK_OK ? add_all_cuts(spec) : code;
}

/* ---- tekken.json ---- */

/* {"config": {"pattern", "default_vocab_size", "default_num_special_tokens"}, "vocab": [{"rank",
 * "token_bytes": base64}], "special_tokens": [{"rank", "token_str"}]}: the special tokens' ids come
 * first. */
static int read_tekken(struct nki_spec *spec, const json_t *json) {
  const json_t *config = json_object_get(json, "config"), *vocab = json_object_get(json, "vocab");
  const json_t *special = json_object_get(json, "special_tokens"), *token;
  const char *pattern = json_string_value(json_object_get(config, "pattern"));
  json_int_t size = json_integer_value(json_object_get(config, "default_vocab_size"));
  json_int_t n_special = json_integer_value(json_object_get(config, "default_num_special_tokens"));
  size_t n_vocab = json_array_size(vocab);
  if (pattern == NULL || n_special < 0 || size < n_special || (size_t)size > spec->max_id)
    return nk_fail(NK_EDATA, "%s: not a tekken.json, or a damaged one", spec->name);
  if (n_vocab > (size_t)(size - n_special)) n_vocab = (size_t)(size - n_special);
  int code = NK_OK;
  for (size_t i = 0; i < n_vocab && code == NK_OK; i++) {
    const json_t *bytes = json_object_get(json_array_get(vocab, i), "token_bytes");
    size_t offset = spec->pieces.bytes.size;
    if (!json_is_string(bytes) ||
        !decode(json_string_value(bytes), json_string_length(bytes), &spec->pieces.bytes))
      return nk_fail(NK_EDATA, "%s: the bytes of rank %zu are not base64", spec->name, i);
    code = nki_pieces_add(&spec->pieces, (size_t)n_special + i, offset, false);
  }
  for (size_t i = 0; code == NK_OK && (token = json_array_get(special, i)) != NULL; i++) {
    const json_t *name = json_object_get(token, "token_str");
    json_int_t rank = json_integer_value(json_object_get(token, "rank"));
    if (!json_is_string(name) || rank < 0 || rank >= n_special)
      return nk_fail(NK_EDATA, "%s: a special token without a rank and a name", spec->name);
    struct nki_added added = {
        .id = (size_t)rank, .offset = spec->added_bytes.size, .special = true};
    nk_buffer_append(&spec->added_bytes, json_string_value(name), json_string_length(name));
    code = nki_spec_push_added(spec, added);
  }
  if (code == NK_OK) code = nki_pieces_index(&spec->pieces, false);
  spec->byte_level = true;
  if (code == NK_OK) code = set_components(spec, pattern);
  return code == NK_OK ? add_all_cuts(spec) : code;
}

int nki_spec_read_tekken(struct nki_spec *spec, const struct nk_file *file) {
  json_t *json = nki_json_parse(spec->name, file->data, file->size, 0);
  int code = json != NULL ? read_tekken(spec, json) : nk_error_code();
  json_decref(json);
  return code;
}
