/* What the readers of both formats share. */
#include "text/spec.h"

#include <noken/error.h>
#include <noken/memory.h>
#include <string.h>

#include "text/byte_level.h"

struct nki_spec *nki_spec_open(const char *path, bool vocabulary_only) {
  struct nki_spec *spec = NULL;
  struct nk_file *file = nk_file_open(path);
  if (!file) return NULL;
  spec = nk_calloc(1, sizeof *spec);
  if (!spec) goto fail;
  spec->name = nk_strdup(file->name);
  spec->max_id = file->size;
  if (!spec->name || nki_spec_read_json(spec, file, vocabulary_only)) goto fail;
  nk_file_close(file);
  return spec;
fail:
  nk_file_close(file);
  nki_spec_free(spec);
  return NULL;
}

void nki_spec_free(struct nki_spec *spec) {
  if (!spec) return;
  nki_pieces_free(&spec->pieces);
  nk_buffer_free(&spec->added_bytes);
  nk_free(spec->added);
  nk_free(spec->merges);
  nk_free(spec->model);
  nk_free(spec->name);
  json_decref(spec->config);
  nk_free(spec);
}

int nki_spec_add_piece(struct nki_spec *spec, size_t id, size_t offset) {
  struct nk_buffer *bytes = &spec->pieces.bytes;
  bool hidden = false;
  if (spec->byte_level && !bytes->failed && bytes->data) {
    size_t n = bytes->size - offset;
    hidden = !nki_byte_level_decode(bytes->data + offset, &n);
    bytes->size = offset + n;
  }
  if (id > spec->max_id)
    return nk_fail(NK_EDATA, "%s: a token has the id %zu, which no file of this size can hold",
                   spec->name, id);
  int code = nki_pieces_add(&spec->pieces, id, offset, hidden);
  return code ? nk_fail_in(code, "%s", spec->name) : 0;
}

const char *nki_spec_type(const json_t *step) {
  const char *type = json_string_value(json_object_get(step, "type"));
  return type ? type : "";
}

/* The array of a Sequence's steps, which each component calls otherwise; NULL for what is none. */
static json_t *sequence_of(const json_t *component) {
  static const char *const keys[] = {"normalizers", "pretokenizers", "processors", "decoders"};
  if (strcmp(nki_spec_type(component), "Sequence")) return NULL;
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    json_t *steps = json_object_get(component, keys[i]);
    if (json_is_array(steps)) return steps;
  }
  return NULL;
}

size_t nki_spec_steps(const json_t *component) {
  if (!json_is_object(component)) return 0;
  const json_t *sequence = sequence_of(component);
  return sequence ? json_array_size(sequence) : 1;
}

json_t *nki_spec_step(json_t *component, size_t index) {
  json_t *sequence = sequence_of(component);
  return sequence ? json_array_get(sequence, index) : component;
}

static bool has(json_t *component, const char *type, int depth) {
  if (!strcmp(nki_spec_type(component), type)) return true;
  if (!sequence_of(component) || depth > 8) return false;
  for (size_t i = 0; i < nki_spec_steps(component); i++)
    if (has(nki_spec_step(component, i), type, depth + 1)) return true;
  return false;
}

bool nki_spec_has(const struct nki_spec *spec, const char *component, const char *type) {
  return has(json_object_get(spec->config, component), type, 0);
}
