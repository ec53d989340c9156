/* The bridge to jansson. */
#include "base/json.h"

#include <noken/error.h>
#include <noken/file.h>

json_t *nki_json_parse(const char *name, const void *bytes, size_t n, size_t flags) {
  json_error_t error;
  json_t *json = json_loadb(bytes, n, flags, &error);
  if (!json)
    nk_fail(NK_EDATA, "%s: line %d, column %d: %s", name, error.line, error.column, error.text);
  return json;
}

json_t *nki_json_load(const char *path, size_t flags) {
  struct nk_file *file = nk_file_open(path);
  if (!file) return NULL;
  json_t *json = nki_json_parse(path, file->data, file->size, flags);
  nk_file_close(file);
  return json;
}

void nki_json_quote(struct nk_buffer *out, const char *bytes, size_t n) {
  nk_buffer_byte(out, '"');
  for (size_t i = 0; i < n; i++) {
    unsigned char c = (unsigned char)bytes[i];
    if (c == '"' || c == '\\') {
      nk_buffer_byte(out, '\\');
      nk_buffer_byte(out, c);
    } else if (c < 0x20 || c == 0x7F) {
      nk_buffer_printf(out, "\\u%04x", c);
    } else {
      nk_buffer_byte(out, c);
    }
  }
  nk_buffer_byte(out, '"');
}
