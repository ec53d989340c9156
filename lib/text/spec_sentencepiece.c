/* SentencePiece's model file, a protobuf of which these fields are read:
 *
 *   ModelProto      1 pieces: 1 piece (string), 2 score (float), 3 type
 *                   2 trainer_spec: 3 model_type (1 unigram, 2 bpe), 35 byte_fallback, 40 unk_id
 *                   3 normalizer_spec: 2 precompiled_charsmap, 3 add_dummy_prefix,
 *                     4 remove_extra_whitespaces
 *
 * BPE has no merges: of all neighbours whose join is a piece, those of the best score join
 * first. */
#include <noken/base.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "text/spec_other.h"

enum { NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE };
enum { UNIGRAM = 1, BPE = 2 };
enum { MAX_PIECE = 4096 }; /* bytes; trying all cuts is quadratic */

/* ---- Protobuf ---- */

struct message {
  const unsigned char *at, *end;
};

struct field {
  uint64_t number, varint;
  struct message bytes; /* of a field of bytes or a message */
  uint32_t fixed;
};

static bool read_varint(struct message *m, uint64_t *value) {
  *value = 0;
  for (int shift = 0; shift < 64 && m->at < m->end; shift += 7) {
    unsigned char byte = *m->at++;
    *value |= (uint64_t)(byte & 0x7F) << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

/* The next field: 1, 0 at the end, -1 when the message is damaged. */
static int next_field(struct message *m, struct field *f) {
  uint64_t key, n;
  if (m->at == m->end) return 0;
  if (!read_varint(m, &key)) return -1;
  *f = (struct field){.number = key >> 3};
  size_t left = (size_t)(m->end - m->at);
  switch (key & 7) {
    case 0:
      return read_varint(m, &f->varint) ? 1 : -1;
    case 1:
      if (left < 8) return -1;
      m->at += 8;
      return 1;
    case 2:
      if (!read_varint(m, &n) || n > (uint64_t)(m->end - m->at)) return -1;
      f->bytes = (struct message){m->at, m->at + n};
      m->at += n;
      return 1;
    case 5:
      if (left < 4) return -1;
      f->fixed = (uint32_t)m->at[0] | (uint32_t)m->at[1] << 8 | (uint32_t)m->at[2] << 16 |
                 (uint32_t)m->at[3] << 24;
      m->at += 4;
      return 1;
    default:
      return -1;
  }
}

/* ---- The fields ---- */

struct model {
  uint64_t type, unknown;
  bool byte_fallback, dummy_prefix, remove_spaces;
  struct message charsmap;
  unsigned char *types; /* [n] of pieces */
  size_t n, capacity;
};

static int damaged(const struct nki_spec *spec) {
  return nk_fail(NK_EDATA, "%s: not a SentencePiece model, or a damaged one", spec->name);
}

static int grow(struct nki_spec *spec, struct model *model) {
  if (model->n < model->capacity) return NK_OK;
  size_t capacity = model->capacity != 0 ? 2 * model->capacity : 1024;
  unsigned char *types = nk_realloc(model->types, model->n, capacity, 1);
  if (types == NULL) return NK_EMEMORY;
  model->types = types;
  double *score = nk_realloc(spec->pieces.score, model->n, capacity, sizeof *score);
  if (score == NULL) return NK_EMEMORY;
  spec->pieces.score = score;
  model->capacity = capacity;
  return NK_OK;
}

/* Control and unused pieces are not found in text; control and user-defined ones are added
 * tokens. */
static int read_piece(struct nki_spec *spec, struct model *model, struct message m) {
  struct message text = {0};
  struct field f;
  float score = 0;
  int code = grow(spec, model), more, type = NORMAL;
  if (code != NK_OK) return code;
  while ((more = next_field(&m, &f)) == 1) {
    if (f.number == 1) text = f.bytes;
    if (f.number == 2) memcpy(&score, &f.fixed, sizeof score);
    if (f.number == 3) type = f.varint >= NORMAL && f.varint <= BYTE ? (int)f.varint : NORMAL;
  }
  const char *s = text.at != NULL ? (const char *)text.at : "";
  size_t n = (size_t)(text.end - text.at), id = model->n++, offset = spec->pieces.bytes.size;
  if (more < 0 || nki_utf8_first_invalid(s, n) < n) return damaged(spec);
  model->types[id] = (unsigned char)type;
  spec->pieces.score[id] = (double)score;
  nk_buffer_append(&spec->pieces.bytes, s, n);
  code = nki_pieces_add(&spec->pieces, id, offset, type == CONTROL || type == UNUSED);
  if (code != NK_OK || (type != CONTROL && type != USER_DEFINED && type != UNKNOWN)) return code;
  struct nki_added added = {
      .id = id, .offset = spec->added_bytes.size, .special = type != USER_DEFINED};
  nk_buffer_append(&spec->added_bytes, s, n);
  return nki_spec_push_added(spec, added);
}

static int read_trainer(const struct nki_spec *spec, struct model *model, struct message m) {
  struct field f;
  int more;
  while ((more = next_field(&m, &f)) == 1) {
    if (f.number == 3) model->type = f.varint;
    if (f.number == 35) model->byte_fallback = f.varint != 0;
    if (f.number == 40) model->unknown = f.varint;
  }
  return more < 0 ? damaged(spec) : NK_OK;
}

static int read_normalizer(const struct nki_spec *spec, struct model *model, struct message m) {
  struct field f;
  int more;
  while ((more = next_field(&m, &f)) == 1) {
    if (f.number == 2) model->charsmap = f.bytes;
    if (f.number == 3) model->dummy_prefix = f.varint != 0;
    if (f.number == 4) model->remove_spaces = f.varint != 0;
  }
  return more < 0 ? damaged(spec) : NK_OK;
}

static int read_model(struct nki_spec *spec, struct model *model, const struct nk_file *file) {
  struct message m = {file->data, file->data + file->size};
  struct field f;
  int more, code = NK_OK;
  while (code == NK_OK && (more = next_field(&m, &f)) != 0) {
    if (more < 0)
      code = damaged(spec);
    else if (f.number == 1)
      code = read_piece(spec, model, f.bytes);
    else if (f.number == 2)
      code = read_trainer(spec, model, f.bytes);
    else if (f.number == 3)
      code = read_normalizer(spec, model, f.bytes);
  }
  if (code == NK_OK && model->n == 0) code = damaged(spec);
  return code == NK_OK ? nki_pieces_index(&spec->pieces, false) : code;
}

/* ---- BPE's merges ---- */

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
static int add_cuts(struct nki_spec *spec, const struct model *model, uint32_t id, uint32_t rank) {
  const char *s = nki_pieces_bytes(&spec->pieces, id);
  size_t n = spec->pieces.piece[id].length;
  if (n > MAX_PIECE)
    return nk_fail(NK_EUNSUPPORTED, "%s: token %u is longer than %d bytes", spec->name, id,
                   MAX_PIECE);
  for (size_t cut = n != 0 ? nki_utf8_width(*s) : n; cut < n; cut += nki_utf8_width(s[cut])) {
    int64_t left = nki_pieces_find(&spec->pieces, s, cut);
    int64_t right = nki_pieces_find(&spec->pieces, s + cut, n - cut);
    if (left < 0 || right < 0 || model->types[left] != NORMAL || model->types[right] != NORMAL)
      continue;
    int code =
        nki_spec_push_merge(spec, (struct nki_merge){(uint32_t)left, (uint32_t)right, id, rank});
    if (code != NK_OK) return code;
  }
  return NK_OK;
}

static int make_merges(struct nki_spec *spec, const struct model *model) {
  struct scored *order = nk_alloc(model->n, sizeof *order);
  if (order == NULL) return NK_EMEMORY;
  size_t n = 0;
  int code = NK_OK;
  for (uint32_t id = 0; id < model->n; id++)
    if (model->types[id] == NORMAL) order[n++] = (struct scored){spec->pieces.score[id], id};
  if (n > 0) qsort(order, n, sizeof *order, by_score);
  uint32_t rank = 0;
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    if (i > 0 && order[i].score < order[i - 1].score) rank++;
    code = add_cuts(spec, model, order[i].id, rank);
  }
  nk_free(order);
  return code;
}

/* ---- The components as JSON ---- */

static json_t *base64_of(struct message m) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  struct nk_buffer out = {0};
  nk_buffer_text(&out, "");
  for (; m.at < m.end; m.at += 3) {
    size_t left = (size_t)(m.end - m.at);
    uint32_t bits = (uint32_t)m.at[0] << 16 | (left > 1 ? (uint32_t)m.at[1] << 8 : 0) |
                    (left > 2 ? m.at[2] : 0);
    for (size_t i = 0; i < 4; i++)
      nk_buffer_byte(&out, i <= left ? digits[bits >> (18 - 6 * i) & 63] : '=');
    if (left <= 3) break;
  }
  json_t *json = out.failed ? NULL : json_stringn(out.data, out.size);
  nk_buffer_free(&out);
  return json;
}

static json_t *replace(const char *kind, const char *from, const char *to) {
  return json_pack("{s:s,s:{s:s},s:s}", "type", "Replace", "pattern", kind, from, "content", to);
}

static json_t *normalizer_of(const struct model *model) {
  json_t *steps = json_array();
  if (model->charsmap.at != model->charsmap.end)
    json_array_append_new(steps,
                          json_pack("{s:s,s:o,s:b}", "type", "Precompiled", "precompiled_charsmap",
                                    base64_of(model->charsmap), "longest", 1));
  if (model->remove_spaces) {
    json_array_append_new(steps, replace("Regex", "\\A +| +\\z", ""));
    json_array_append_new(steps, replace("Regex", " +", " "));
  }
  if (model->dummy_prefix)
    json_array_append_new(steps, json_pack("{s:s,s:s}", "type", "Prepend", "prepend", " "));
  json_array_append_new(steps, replace("String", " ", "\xE2\x96\x81"));
  return json_pack("{s:s,s:o}", "type", "Sequence", "normalizers", steps);
}

static json_t *decoder_of(const struct model *model) {
  return json_pack("{s:s,s:[o,{s:s},{s:s},{s:s,s:s,s:i,s:i}]}", "type", "Sequence", "decoders",
                   replace("String", "\xE2\x96\x81", " "), "type", "ByteFallback", "type", "Fuse",
                   "type", "Strip", "content", " ", "start", model->dummy_prefix ? 1 : 0, "stop",
                   0);
}

static int set_components(struct nki_spec *spec, const struct model *model) {
  bool is_bpe = model->type == BPE, has_unknown = model->unknown < spec->pieces.n;
  json_t *options =
      json_pack("{s:s,s:b,s:b,s:b}", "type", is_bpe ? "BPE" : "Unigram", "byte_fallback",
                model->byte_fallback, "fuse_unk", 1, "single_precision", 1);
  if (has_unknown && is_bpe)
    json_object_set_new(options, "unk_token",
                        json_stringn(nki_pieces_bytes(&spec->pieces, model->unknown),
                                     spec->pieces.piece[model->unknown].length));
  if (has_unknown) json_object_set_new(options, "unk_id", json_integer((json_int_t)model->unknown));
  spec->config = json_pack("{s:o,s:o,s:o}", "model", options, "normalizer", normalizer_of(model),
                           "decoder", decoder_of(model));
  spec->model = nk_strdup(is_bpe ? "BPE" : "Unigram");
  if (spec->config != NULL && spec->model != NULL) return NK_OK;
  return nk_fail(NK_EMEMORY, "%s: out of memory", spec->name);
}

int nki_spec_read_sentencepiece(struct nki_spec *spec, const struct nk_file *file) {
  struct model model = {.type = UNIGRAM, .dummy_prefix = true, .remove_spaces = true};
  int code = read_model(spec, &model, file);
  if (code == NK_OK && model.type != UNIGRAM && model.type != BPE)
    code = nk_fail(NK_EUNSUPPORTED, "%s: a SentencePiece model of single words or characters",
                   spec->name);
  if (code == NK_OK) code = set_components(spec, &model);
  if (code == NK_OK && model.type == BPE) code = make_merges(spec, &model);
  nk_free(model.types);
  return code;
}
