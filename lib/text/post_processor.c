/* The post-processor, of which only the tokens that it puts around a text are used.
 */
#include <noken/base.h>
#include <string.h>

#include "text/tokenizer.h"

static int malformed(const struct nki_spec *spec, const char *type) {
  return nk_fail(NK_EDATA, "%s: the post-processor '%s' lacks a part", spec->name, type);
}

static int add(const struct nki_spec *spec, const json_t *id, struct nki_ids *ids) {
  if (!json_is_integer(id) || json_integer_value(id) < 0)
    return nk_fail(NK_EDATA, "%s: the post-processor's token has no id", spec->name);
  return nki_ids_add(ids, json_integer_value(id)) ? NK_OK : NK_EMEMORY;
}

/* "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}, ...], the special tokens'
 * ids being in "special_tokens": {"<s>": {"ids": [1]}}. */
static int read_template(const struct nki_spec *spec, const json_t *json, struct nki_ids *before,
                         struct nki_ids *after) {
  const json_t *single = json_object_get(json, "single"), *item, *id;
  const json_t *tokens = json_object_get(json, "special_tokens");
  struct nki_ids *side = before;
  if (!json_is_array(single)) return malformed(spec, "TemplateProcessing");
  for (size_t i = 0; i < json_array_size(single); i++) {
    item = json_object_get(json_array_get(single, i), "SpecialToken");
    if (item == NULL) {
      if (json_object_get(json_array_get(single, i), "Sequence") == NULL || side == after)
        return malformed(spec, "TemplateProcessing");
      side = after;
      continue;
    }
    const char *name = json_string_value(json_object_get(item, "id"));
    const json_t *ids = name != NULL ? json_object_get(json_object_get(tokens, name), "ids") : NULL;
    if (!json_is_array(ids)) return malformed(spec, "TemplateProcessing");
    for (size_t j = 0; (id = json_array_get(ids, j)) != NULL; j++) {
      int code = add(spec, id, side);
      if (code != NK_OK) return code;
    }
  }
  return side == after ? NK_OK : malformed(spec, "TemplateProcessing");
}

/* "cls": ["<s>", 0], "sep": ["</s>", 2]. */
static int read_pair(const struct nki_spec *spec, const json_t *json, struct nki_ids *before,
                     struct nki_ids *after) {
  int code = add(spec, json_array_get(json_object_get(json, "cls"), 1), before);
  return code != NK_OK ? code : add(spec, json_array_get(json_object_get(json, "sep"), 1), after);
}

int nki_post_processor_read(const struct nki_spec *spec, struct nki_ids *before,
                            struct nki_ids *after) {
  json_t *json = json_object_get(spec->config, "post_processor");
  for (size_t i = 0; i < nki_spec_steps(json); i++) {
    const json_t *step = nki_spec_step(json, i);
    const char *type = nki_spec_type(step);
    bool pair = strcmp(type, "BertProcessing") == 0 || strcmp(type, "RobertaProcessing") == 0;
    if (strcmp(type, "ByteLevel") == 0)
      continue; /* changes offsets only, which are not used here */
    if ((!pair && strcmp(type, "TemplateProcessing") != 0) || before->n != 0 || after->n != 0)
      return nk_fail(NK_EUNSUPPORTED, "%s: the post-processor '%s' is not supported%s", spec->name,
                     type, (before->n != 0) || after->n != 0 ? " after another" : "");
    int code = (pair ? read_pair : read_template)(spec, step, before, after);
    if (code != NK_OK) return code;
  }
  return NK_OK;
}
