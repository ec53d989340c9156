/* The format of a model's chats. Templates are programs in Jinja; running those of strangers for a
 * few formats would be out of proportion. Each format is known by control tokens that are literally
 * in its templates, and by the absence of those of its relatives. */
#include <jansson.h>
#include <string.h>

#include <noken/tokenizer.h>
#include "base/error.h"
#include "base/json.h"
#include "model/model.h"

const struct nk_chat_format nk_chat_formats[NK_N_CHATS] = {
    [NK_CHAT_LLAMA3] = {"llama3", "<|start_header_id|>user<|end_header_id|>\n\n",
                        "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
                        "<|start_header_id|> <|end_header_id|> <|eot_id|>"},
    [NK_CHAT_CHATML] = {"chatml", "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n",
                        "<|im_start|> <|im_end|>"},
    [NK_CHAT_GEMMA] = {"gemma", "<start_of_turn>user\n", "<end_of_turn>\n<start_of_turn>model\n",
                       "<start_of_turn> <end_of_turn>"},
    [NK_CHAT_MISTRAL] = {"mistral", "[INST] ", "[/INST]", "[INST] [/INST]"},
    [NK_CHAT_MISTRAL_TEKKEN] = {"mistral-tekken", "[INST]", "[/INST]", "[INST] [/INST]"},
    [NK_CHAT_PHI] = {"phi", "<|user|>\n", "<|end|>\n<|assistant|>\n",
                     "<|user|> <|end|> <|assistant|>"},
};

/* What a template of each format has, and what it has not; NULL: nothing more. Functionary's turns
 * of Llama 3's tokens begin with >>> and the recipient. Phi-4 is ChatML with
 * <|im_sep|>, SmolVLM's turns end otherwise. Mistral's first tokenizer had a space before [/INST],
 * and Llama 2 <<SYS>>: in both, [INST] is not a token. Zephyr's <|user|> goes without <|end|>;
 * Phi-4-mini, without line breaks in it, makes <|user|> of the role;
 * Apriel's turns, of these tokens, end otherwise. */
enum { MAX_SIGNS = 3 };
static const struct signs {
  const char *has[MAX_SIGNS], *lacks[MAX_SIGNS];
} signs[NK_N_CHATS] = {
    [NK_CHAT_LLAMA3] = {{"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"}, {">>>"}},
    [NK_CHAT_CHATML] = {{"<|im_start|>", "<|im_end|>"}, {"<|im_sep|>", "<end_of_utterance>"}},
    [NK_CHAT_GEMMA] = {{"<start_of_turn>", "<end_of_turn>"}, {NULL}},
    [NK_CHAT_MISTRAL] = {{"[INST] ", "[/INST]"}, {"<<SYS>>", " [/INST]"}},
    [NK_CHAT_MISTRAL_TEKKEN] = {{"[INST]", "[/INST]"}, {"<<SYS>>", " [/INST]", "[INST] "}},
    [NK_CHAT_PHI] = {{"<|user|>", "<|end|>", "<|assistant|>"}, {"[BEGIN FINAL RESPONSE]"}},
};

struct text {
  const char *bytes; /* not 0-terminated */
  size_t n;
};

static bool contains(struct text text, const char *what) {
  return memmem(text.bytes, text.n, what, strlen(what)) != NULL;
}

static bool has_signs(struct text template, const struct signs *s) {
  for (size_t i = 0; i < MAX_SIGNS; i++) {
    if (s->has[i] != NULL && !contains(template, s->has[i])) return false;
    if (s->lacks[i] != NULL && contains(template, s->lacks[i])) return false;
  }
  return true;
}

/* ---- What another template has ---- */

/* The length of a control token at the start of the text, 0 if there is none: <...> and [...]
 * without white space, quotes and brackets within, at most 32 bytes. */
static size_t control_length(struct text text) {
  enum { MAX_LENGTH = 32 };
  char close = text.bytes[0] == '<' ? '>' : text.bytes[0] == '[' ? ']' : 0;
  for (size_t i = 1; close != 0 && i < text.n && i < MAX_LENGTH; i++) {
    if (text.bytes[i] == close) return i > 1 ? i + 1 : 0;
    if (strchr(" \t\r\n\\'\"<>[](){}", text.bytes[i]) != NULL) return 0; /* the closing 0 too */
    if (close == ']' && text.bytes[i] != '/' && text.bytes[i] != '_' &&
        (text.bytes[i] < 'A' || text.bytes[i] > 'Z'))
      return 0; /* an index of Jinja's */
  }
  return 0;
}

/* Fails with the first control tokens of the template. */
static int fail_other(const struct nk_model *model, struct text template) {
  enum { MAX_NAMED = 4 };
  struct nk_buffer names = {0};
  size_t n_names = 0;
  nk_buffer_byte(&names, ' ');
  for (size_t i = 0; i < template.n && n_names < MAX_NAMED; i++) {
    size_t n = control_length((struct text){template.bytes + i, template.n - i});
    if (n == 0) continue;
    if (memmem(names.data, names.size, template.bytes + i, n) == NULL) {
      nk_escape(&names, template.bytes + i, n);
      nk_buffer_byte(&names, ' ');
      n_names++;
    }
    i += n - 1;
  }
  int code = names.failed  ? nk_fail(NK_EMEMORY, "out of memory for a chat template")
             : n_names > 0 ? nk_fail(NK_EUNSUPPORTED,
                                     "%s: its chat template is of another format: it has%.*s",
                                     nk_model_name(model), (int)names.size - 1, names.data)
                           : nk_fail(NK_EUNSUPPORTED,
                                     "%s: its chat template is of another format, without control "
                                     "tokens",
                                     nk_model_name(model));
  nk_buffer_free(&names);
  return code;
}

/* The format, or NULL. A template with the signs of two formats is of neither. */
static const struct nk_chat_format *format_of(const struct nk_model *model, struct text template) {
  enum { MAX_BYTES = 4 << 20 };
  const struct nk_chat_format *format = NULL;
  size_t n = 0;
  if (template.n > MAX_BYTES) {
    nk_fail(NK_EDATA, "%s: its chat template has %zu bytes, the limit is %d", nk_model_name(model),
            template.n, (int)MAX_BYTES);
    return NULL;
  }
  for (size_t i = 0; i < NK_N_CHATS; i++) {
    if (!has_signs(template, &signs[i])) continue;
    format = &nk_chat_formats[i];
    n++;
  }
  if (n == 1) return format;
  fail_other(model, template);
  return NULL;
}

/* ---- Where a template is ---- */

/* chat_template of tokenizer_config.json: a text, or a list of {"name", "template"}, of which the
 * one called "default" counts. NULL when there is none. */
static const json_t *template_in(const json_t *config) {
  const json_t *value = json_object_get(config, "chat_template"), *item;
  size_t i;
  if (!json_is_array(value)) return json_is_string(value) ? value : NULL;
  json_array_foreach(value, i, item) {
    const char *name = json_string_value(json_object_get(item, "name"));
    const json_t *template = json_object_get(item, "template");
    if (name != NULL && strcmp(name, "default") == 0 && json_is_string(template)) return template;
  }
  return NULL;
}

static const struct nk_chat_format *fail_absent(const struct nk_model *model) {
  nk_fail(NK_ENOTFOUND, "%s: the model has no chat template", nk_model_name(model));
  return NULL;
}

/* The failure where chat_template is a list without a default: its names, as many as fit a line. */
static void fail_no_default(const struct nk_model *model, const json_t *list) {
  enum { MAX_NAMED = 4, MAX_BYTES = 64 };
  struct nk_buffer names = {0};
  const json_t *item;
  size_t i, n = 0;
  json_array_foreach(list, i, item) {
    const json_t *name = json_object_get(item, "name");
    size_t length = json_string_length(name); /* 0 of what is not a string */
    if (length == 0 || n == MAX_NAMED) continue;
    nk_buffer_text(&names, n++ > 0 ? ", '" : "'");
    nk_escape(&names, json_string_value(name), length < MAX_BYTES ? length : MAX_BYTES);
    nk_buffer_byte(&names, '\'');
  }
  if (names.failed)
    nk_fail(NK_EMEMORY, "out of memory for a chat template");
  else
    nk_fail(NK_ENOTFOUND, "%s: none of the model's %zu chat templates is called 'default': %s",
            nk_model_name(model), json_array_size(list), n > 0 ? names.data : "they have no names");
  nk_buffer_free(&names);
}

static const struct nk_chat_format *of_folder(const struct nk_model *model) {
  const struct nk_chat_format *format;
  const char *path = nki_model_path(model, "chat_template.jinja");
  if (path != NULL) {
    struct nk_file *file = nk_file_open(path);
    if (file == NULL) return NULL;
    format = format_of(model, (struct text){(const char *)file->data, file->size});
    nk_file_free(file);
    return format;
  }
  path = nki_model_path(model, "tokenizer_config.json");
  if (path == NULL) return fail_absent(model);
  json_t *config = nki_json_load(path, JSON_DECODE_INT_AS_REAL);
  if (config == NULL) return NULL;
  const json_t *template = template_in(config), *value = json_object_get(config, "chat_template");
  format = NULL;
  if (template != NULL)
    format =
        format_of(model, (struct text){json_string_value(template), json_string_length(template)});
  else if (json_array_size(value) > 0) /* 0 of what is not a list */
    fail_no_default(model, value);
  else
    fail_absent(model);
  json_decref(config);
  return format;
}

const struct nk_chat_format *nk_model_chat_format(const struct nk_model *model) {
  if (model == NULL) {
    nki_fail_null();
    return NULL;
  }
  struct text template = {NULL, 0};
  for (size_t i = 0; i < model->files.n_shards; i++) {
    if (model->shards[i].gguf == NULL) continue;
    int code = nki_gguf_string(model->shards[i].gguf, "tokenizer.chat_template", &template.bytes,
                               &template.n);
    if (code == NK_OK) return format_of(model, template);
    if (code != NK_ENOTFOUND) return NULL;
  }
  return nk_model_folder(model) != NULL ? of_folder(model) : fail_absent(model);
}
