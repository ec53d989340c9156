/* Calls of jansson with noken's errors. */
#include "base/json.h"

#include <noken/base.h>

json_t *nki_json_parse(const char *name, const void *bytes, size_t n, size_t flags) {
  json_error_t error;
  json_t *json = json_loadb(bytes, n, flags, &error);
  if (json == NULL)
    nk_fail(NK_EDATA, "%s: line %d, column %d: %s", name, error.line, error.column, error.text);
  return json;
}

json_t *nki_json_load(const char *path, size_t flags) {
  struct nk_file *file = nk_file_open(path);
  if (file == NULL) return NULL;
  json_t *json = nki_json_parse(path, file->data, file->size, flags);
  nk_file_free(file);
  return json;
}
