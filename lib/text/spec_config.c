/* The tokens around a text by tokenizer_config.json. Some classes of transformers replace the
 * post-processor of tokenizer.json by begin and end tokens of their own: add_bos_token and
 * add_eos_token say whether, with a default for each class. The other classes leave it as it is,
 * whatever those two say. */
#include <noken/base.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "text/spec_file.h"

static const struct class {
  const char *name; /* without "Fast" */
  bool add_bos;     /* when the file does not say */
  const char *bos, *eos;
} classes[] = {
    {"LlamaTokenizer", true, "<s>", "</s>"},
    {"CodeLlamaTokenizer", true, "<s>", "</s>"},
    {"GemmaTokenizer", true, "<bos>", "<eos>"},
    {"CohereTokenizer", true, "<BOS_TOKEN>", "<|END_OF_TURN_TOKEN|>"},
    {"GPTNeoXTokenizer", false, "<|endoftext|>", "<|endoftext|>"},
};

static const struct class *class_of(const json_t *config) {
  const char *name = json_string_value(json_object_get(config, "tokenizer_class"));
  for (size_t i = 0; name != NULL && i < sizeof classes / sizeof *classes; i++) {
    size_t n = strlen(classes[i].name);
    if (strncmp(name, classes[i].name, n) == 0 && (name[n] == 0 || strcmp(name + n, "Fast") == 0))
      return &classes[i];
  }
  return NULL;
}

/* A token as a string or as {"content": string}; NULL for others. */
static const char *token_of(const json_t *value) {
  if (json_is_object(value)) value = json_object_get(value, "content");
  return json_string_value(value);
}

/* The name of a token: special_tokens_map.json counts before tokenizer_config.json, but not where
 * the latter lists its added tokens. NULL where a file says null. */
static const char *name_of(const json_t *config, const json_t *map, const char *key,
                           const char *otherwise) {
  const json_t *own = json_object_get(config, key), *mapped = json_object_get(map, key);
  bool lists = json_object_get(config, "added_tokens_decoder") != NULL;
  if (token_of(mapped) != NULL && (!lists || own == NULL)) return token_of(mapped);
  return own != NULL ? token_of(own) : otherwise;
}

/* The id of a token by its name; NKI_NO_ID when there is none. */
static int64_t id_of(const struct nki_spec *spec, const char *name) {
  size_t n = strlen(name);
  for (size_t i = 0; i < spec->n_added; i++)
    if (spec->added[i].length == n &&
        memcmp(spec->added_bytes.data + spec->added[i].offset, name, n) == 0)
      return (int64_t)spec->added[i].id;
  return nki_spec_find(spec, name, n);
}

static json_t *item_of(const char *name) {
  return json_pack("{s:{s:s,s:i}}", "SpecialToken", "id", name, "type_id", 0);
}

/* TemplateProcessing with a token before and one after a text, each NULL for none. */
static json_t *template_of(const char *bos, int64_t bos_id, const char *eos, int64_t eos_id) {
  json_t *single = json_array(), *tokens = json_object();
  if (bos != NULL) {
    json_array_append_new(single, item_of(bos));
    json_object_set_new(tokens, bos, json_pack("{s:[I]}", "ids", (json_int_t)bos_id));
  }
  json_array_append_new(single, json_pack("{s:{s:s}}", "Sequence", "id", "A"));
  if (eos != NULL) {
    json_array_append_new(single, item_of(eos));
    json_object_set_new(tokens, eos, json_pack("{s:[I]}", "ids", (json_int_t)eos_id));
  }
  return json_pack("{s:s,s:o,s:o}", "type", "TemplateProcessing", "single", single,
                   "special_tokens", tokens);
}

/* The token that config asks for, or NULL, with its id. */
static const char *asked(const struct nki_spec *spec, const json_t *config, const char *add_key,
                         bool otherwise, const char *name, int64_t *id) {
  const json_t *add = json_object_get(config, add_key);
  if (json_is_boolean(add) ? !json_is_true(add) : !otherwise) return NULL;
  *id = name != NULL ? id_of(spec, name) : NKI_NO_ID;
  if (*id >= 0) return name;
  nk_warn("%s: tokenizer_config.json: %s is true, but %s", spec->name, add_key,
          name != NULL ? "its token is not in the vocabulary" : "there is no such token");
  return NULL;
}

static int apply(struct nki_spec *spec, const json_t *config, const json_t *map) {
  const struct class *class = class_of(config);
  if (class == NULL) return NK_OK;
  int64_t bos_id = NKI_NO_ID, eos_id = NKI_NO_ID;
  const char *bos = asked(spec, config, "add_bos_token", class->add_bos,
                          name_of(config, map, "bos_token", class->bos), &bos_id);
  const char *eos = asked(spec, config, "add_eos_token", false,
                          name_of(config, map, "eos_token", class->eos), &eos_id);
  json_t *template = template_of(bos, bos_id, eos, eos_id);
  if (template == NULL || json_object_set_new(spec->config, "post_processor", template) != 0)
    return nk_fail(NK_EMEMORY, "%s: out of memory", spec->name);
  char words[256];
  bool says = json_object_get(config, "add_bos_token") != NULL;
  snprintf(words, sizeof words, "tokenizer_config.json: class %s, %s", class->name,
           says ? "add_bos_token" : "which has a default");
  spec->around = nk_strdup(words);
  return spec->around != NULL ? NK_OK : NK_EMEMORY;
}

int nki_spec_apply_config(struct nki_spec *spec, const struct nki_spec_beside *beside) {
  if (beside->config == NULL) return NK_OK;
  int code = NK_OK;
  json_t *map = NULL, *config = nki_json_load(beside->config, JSON_DECODE_INT_AS_REAL);
  if (config == NULL) code = nk_error_code();
  if (code == NK_OK && beside->special_map != NULL) {
    map = nki_json_load(beside->special_map, JSON_DECODE_INT_AS_REAL);
    if (map == NULL) code = nk_error_code();
  }
  if (code == NK_OK) code = apply(spec, config, map);
  json_decref(config);
  json_decref(map);
  return code;
}
