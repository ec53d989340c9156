/* A GGUF's metadata stand for config.json, under its keys, and are checked as it is. The messages
 * of these checks name a key of config.json; here it is given the name that it has in the file. */
#include <noken/base.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "model/gguf.h"
#include "model/model.h"
#include "model/model_config.h"

/* GGUF's name of a key of config.json, without the architecture; NULL when it has none. */
static const char *gguf_key_of(const struct nk_model *model, const char *key, size_t n) {
  for (int s = 0; s < NKI_N_SETTINGS; s++) {
    const char *ours = nki_setting_key(model, (enum nki_setting)s);
    if (strlen(ours) == n && memcmp(ours, key, n) == 0)
      return nki_setting_gguf_key((enum nki_setting)s);
  }
  return NULL;
}

int nki_name_metadata(const struct nk_model *model, int code) {
  static const char file[] = "config.json", separator[] = ": ";
  const struct nki_gguf *gguf = model->own != NULL ? model->shards[0].gguf : NULL;
  const char *architecture = "", *message = nk_error(), *at = strstr(message, file);
  size_t n_architecture = 0;
  char context[256];
  if (code == NK_OK || gguf == NULL || at == NULL) return code;
  (void)nki_gguf_string(gguf, "general.architecture", &architecture, &n_architecture);
  snprintf(context, sizeof context, "%.*s", (int)(at - message), message);
  at += sizeof file - 1;
  if (strncmp(at, separator, sizeof separator - 1) != 0)
    return nk_fail(code, "%sthe metadata%s", context, at);
  at += sizeof separator - 1;
  const char *quote = *at == '\'' ? "'" : "";
  const char *key = at + strlen(quote);
  size_t n = strcspn(key, " :='");
  const char *name = gguf_key_of(model, key, n);
  if (name == NULL) return nk_fail(code, "%smetadata: %s", context, at);
  return nk_fail(code, "%s%s%.*s.%s%s", context, quote, (int)n_architecture, architecture, name,
                 key + n);
}
