/* Reading a tokenizer's file by the format that its first bytes name. */
#include "text/spec_file.h"
#include "base/names.h"

#include <noken/base.h>
#include <string.h>

#include "model/gguf.h"
#include "text/spec_gguf.h"
#include "text/spec_json.h"
#include "text/spec_other.h"

/* GPT-2's vocab.json: merges.txt lies beside it. */
static int read_vocab_json(struct nki_spec *spec, const char *path, const struct nk_file *file) {
  struct nk_buffer beside = {0};
  nk_buffer_append(&beside, path, strlen(path) - strlen("vocab.json"));
  nk_buffer_text(&beside, "merges.txt");
  struct nk_file *merges = beside.failed ? NULL : nk_file_open(beside.data);
  int code = merges != NULL ? nki_spec_read_merges_file(spec, file, merges) : nk_error_code();
  nk_file_free(merges);
  nk_buffer_free(&beside);
  return code;
}

/* Reads the file by its name and its first bytes, all but GGUF. */
static int read_file(struct nki_spec *spec, const char *path, const struct nk_file *file,
                     bool vocabulary_only) {
  if (nki_ends_with(path, "vocab.json")) return read_vocab_json(spec, path, file);
  if (nki_ends_with(path, "vocab.txt")) return nki_spec_read_lines(spec, file);
  if (nki_ends_with(path, "tekken.json")) return nki_spec_read_tekken(spec, file);
  if (nki_spec_is_tiktoken(file)) return nki_spec_read_tiktoken(spec, file);
  if (nki_ends_with(path, ".model")) return nki_spec_read_sentencepiece(spec, file);
  return nki_spec_read_json(spec, file, vocabulary_only);
}

static struct nki_spec *new_spec(const char *name, size_t size) {
  struct nki_spec *spec = nk_calloc(1, sizeof *spec);
  if (spec == NULL) return NULL;
  spec->max_id = size;
  if ((spec->name = nk_strdup(name)) != NULL) return spec;
  nki_spec_free(spec);
  return NULL;
}

struct nki_spec *nki_spec_parse(const struct nk_file *file) {
  struct nki_spec *spec = new_spec(file->name, file->size);
  if (spec == NULL || nki_spec_read_json(spec, file, false) == NK_OK) return spec;
  nki_spec_free(spec);
  return NULL;
}

struct nki_spec *nki_spec_open(const char *path, bool vocabulary_only) {
  struct nki_gguf *gguf = NULL;
  int code = NK_EMEMORY;
  struct nk_file *file = nk_file_open(path);
  if (file == NULL) return NULL;
  struct nki_spec *spec = new_spec(file->name, file->size);
  if (spec == NULL) goto done;
  if (!nki_gguf_is(file)) {
    code = read_file(spec, path, file, vocabulary_only);
    goto done;
  }
  gguf = nki_gguf_read(file);
  file = NULL; /* the reader's now */
  code = gguf == NULL ? nk_error_code() : nki_spec_read_gguf(spec, gguf, vocabulary_only);
done:
  nki_gguf_free(gguf);
  nk_file_free(file);
  if (code == NK_OK) return spec;
  nki_spec_free(spec);
  return NULL;
}
