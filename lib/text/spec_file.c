/* Reading a tokenizer's file by the format that its first bytes name. */
#include "text/spec_file.h"

#include <noken/base.h>

#include "model/gguf.h"
#include "text/spec_gguf.h"
#include "text/spec_json.h"

struct nki_spec *nki_spec_open(const char *path, bool vocabulary_only) {
  struct nki_gguf *gguf = NULL;
  int code = NK_EMEMORY;
  struct nk_file *file = nk_file_open(path);
  if (file == NULL) return NULL;
  struct nki_spec *spec = nk_calloc(1, sizeof *spec);
  if (spec == NULL || (spec->name = nk_strdup(file->name)) == NULL) goto done;
  spec->max_id = file->size;
  if (!nki_gguf_is(file)) {
    code = nki_spec_read_json(spec, file, vocabulary_only);
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
