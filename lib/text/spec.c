/* Filling a spec: what the readers of both formats share. */
#include "text/spec.h"

#include <noken/base.h>
#include <string.h>

#include "text/byte_level.h"

void nki_spec_free(struct nki_spec *spec) {
  if (spec == NULL) return;
  nki_pieces_free(&spec->pieces);
  nk_buffer_free(&spec->added_bytes);
  nk_free(spec->added);
  nk_free(spec->merges);
  nk_free(spec->model);
  nk_free(spec->name);
  nk_free(spec->around);
  json_decref(spec->config);
  nk_free(spec);
}

int nki_spec_add_piece(struct nki_spec *spec, size_t id, size_t offset) {
  struct nk_buffer *bytes = &spec->pieces.bytes;
  bool hidden = false;
  if (spec->byte_level && !bytes->failed && bytes->data != NULL) {
    size_t n = bytes->size - offset;
    hidden = !nki_byte_level_decode(bytes->data + offset, &n);
    bytes->size = offset + n;
  }
  if (id > spec->max_id)
    return nk_fail(NK_EDATA, "%s: a token has the id %zu, too large for the size of the file",
                   spec->name, id);
  int code = nki_pieces_add(&spec->pieces, id, offset, hidden);
  return code != NK_OK ? nk_fail_in(code, "%s", spec->name) : NK_OK;
}

int nki_spec_push_added(struct nki_spec *spec, struct nki_added added) {
  if (spec->added_bytes.failed) return nk_fail(NK_EMEMORY, "%s: out of memory", spec->name);
  added.length = spec->added_bytes.size - added.offset;
  if (spec->n_added == spec->added_capacity) {
    size_t capacity = spec->added_capacity != 0 ? 2 * spec->added_capacity : 64;
    struct nki_added *grown = nk_realloc(spec->added, spec->n_added, capacity, sizeof *grown);
    if (grown == NULL) return NK_EMEMORY;
    spec->added = grown;
    spec->added_capacity = capacity;
  }
  spec->added[spec->n_added++] = added;
  return NK_OK;
}

int64_t nki_spec_find(const struct nki_spec *spec, const char *bytes, size_t n) {
  struct nk_buffer written = {0};
  nk_buffer_append(&written, bytes, n);
  bool hidden = false;
  int64_t id = NKI_NO_ID;
  if (spec->byte_level && n > 0 && !written.failed)
    hidden = !nki_byte_level_decode(written.data, &n);
  if (!written.failed)
    id = (hidden ? nki_pieces_find_hidden : nki_pieces_find)(&spec->pieces, written.data, n);
  nk_buffer_free(&written);
  return id;
}

int64_t nki_spec_unknown(const struct nki_spec *spec) {
  const json_t *model = json_object_get(spec->config, "model");
  const json_t *id = json_object_get(model, "unk_id"), *name = json_object_get(model, "unk_token");
  if (json_is_integer(id)) return json_integer_value(id);
  return json_is_string(name)
             ? nki_spec_find(spec, json_string_value(name), json_string_length(name))
             : NKI_NO_ID;
}

void nki_spec_fallback(const struct nki_spec *spec, int64_t ids[256]) {
  const json_t *model = json_object_get(spec->config, "model");
  bool falls_back = json_is_true(json_object_get(model, "byte_fallback"));
  for (int byte = 0; byte < 256; byte++)
    ids[byte] = falls_back ? nki_pieces_find_byte(&spec->pieces, byte) : NKI_NO_ID;
}

bool nki_is_fallback(const int64_t ids[256], int64_t id) {
  for (int byte = 0; byte < 256; byte++)
    if (ids[byte] == id) return true;
  return false;
}

bool nki_spec_has_affixes(const struct nki_spec *spec) {
  const json_t *model = json_object_get(spec->config, "model");
  return json_string_length(json_object_get(model, "continuing_subword_prefix")) > 0 ||
         json_string_length(json_object_get(model, "end_of_word_suffix")) > 0;
}

/* ---- Merges ---- */

int nki_spec_push_merge(struct nki_spec *spec, struct nki_merge merge) {
  if (spec->n_merges == spec->merges_capacity) {
    size_t capacity = spec->merges_capacity != 0 ? 2 * spec->merges_capacity : 1024;
    struct nki_merge *grown = nk_realloc(spec->merges, spec->n_merges, capacity, sizeof *grown);
    if (grown == NULL) return NK_EMEMORY;
    spec->merges = grown;
    spec->merges_capacity = capacity;
  }
  spec->merges[spec->n_merges++] = merge;
  return NK_OK;
}

int nki_spec_add_merge(struct nki_spec *spec, struct nk_buffer *both, size_t split, uint32_t rank) {
  const struct nki_pieces *pieces = &spec->pieces;
  size_t n_left = split, n_right = both->size - split;
  if (both->failed) return nk_fail(NK_EMEMORY, "%s: out of memory", spec->name);
  if (spec->byte_level) {
    if (!nki_byte_level_decode(both->data, &n_left) ||
        !nki_byte_level_decode(both->data + split, &n_right))
      return NK_OK;
    memmove(both->data + n_left, both->data + split, n_right);
  }
  int64_t left = nki_pieces_find(pieces, both->data, n_left);
  int64_t right = nki_pieces_find(pieces, both->data + n_left, n_right);
  size_t prefix = spec->merge_prefix < n_right ? spec->merge_prefix : n_right;
  memmove(both->data + n_left, both->data + n_left + prefix, n_right - prefix);
  int64_t whole = nki_pieces_find(pieces, both->data, n_left + n_right - prefix);
  if (left < 0 || right < 0 || whole < 0)
    return nk_fail(NK_EDATA, "%s: the strings of merge %u are not in the vocabulary", spec->name,
                   rank);
  struct nki_merge merge = {(uint32_t)left, (uint32_t)right, (uint32_t)whole, rank};
  return nki_spec_push_merge(spec, merge);
}

/* ---- Components ---- */

const char *nki_spec_type(const json_t *step) {
  const char *type = json_string_value(json_object_get(step, "type"));
  return type != NULL ? type : "";
}

/* The array of a Sequence's steps, which has another key in each component; NULL for other types.
 */
static json_t *sequence_of(const json_t *component) {
  static const char *const keys[] = {"normalizers", "pretokenizers", "processors", "decoders"};
  if (strcmp(nki_spec_type(component), "Sequence") != 0) return NULL;
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    json_t *steps = json_object_get(component, keys[i]);
    if (json_is_array(steps)) return steps;
  }
  return NULL;
}

size_t nki_spec_steps(const json_t *component) {
  if (!json_is_object(component)) return 0;
  const json_t *sequence = sequence_of(component);
  return sequence != NULL ? json_array_size(sequence) : 1;
}

json_t *nki_spec_step(json_t *component, size_t index) {
  json_t *sequence = sequence_of(component);
  return sequence != NULL ? json_array_get(sequence, index) : component;
}

/* Appends the steps of a component to flat. */
static int append_steps(json_t *flat, json_t *component, int depth) {
  json_t *steps = sequence_of(component);
  if (steps == NULL)
    return json_is_null(component)                   ? NK_OK
           : json_array_append(flat, component) != 0 ? NK_EMEMORY
                                                     : NK_OK;
  if (depth == 0) return NK_EDATA;
  int code = NK_OK;
  for (size_t i = 0; i < json_array_size(steps) && code == NK_OK; i++)
    code = append_steps(flat, json_array_get(steps, i), depth - 1);
  return code;
}

int nki_spec_flatten(struct nki_spec *spec, const char *component) {
  enum { MAX_DEPTH = 32 };
  json_t *json = json_object_get(spec->config, component);
  if (sequence_of(json) == NULL) return NK_OK;
  json_t *flat = json_array();
  int code = flat != NULL ? append_steps(flat, json, MAX_DEPTH) : NK_EMEMORY;
  if (code == NK_OK) {
    json_t *sequence = json_pack("{s:s,s:O}", "type", "Sequence", "normalizers", flat);
    if (sequence == NULL || json_object_set_new(spec->config, component, sequence) != 0)
      code = NK_EMEMORY;
  }
  json_decref(flat);
  if (code == NK_OK) return NK_OK;
  return nk_fail(code, "%s: %s", spec->name,
                 code == NK_EDATA ? "sequences of components nested too deep" : "out of memory");
}

static bool has(json_t *component, const char *type, int depth) {
  if (strcmp(nki_spec_type(component), type) == 0) return true;
  if (sequence_of(component) == NULL || depth > 8) return false;
  for (size_t i = 0; i < nki_spec_steps(component); i++)
    if (has(nki_spec_step(component, i), type, depth + 1)) return true;
  return false;
}

bool nki_spec_has(const struct nki_spec *spec, const char *component, const char *type) {
  return has(json_object_get(spec->config, component), type, 0);
}
