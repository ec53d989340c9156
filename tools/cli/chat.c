/* Prompts as turns of a chat. A special token that the tokenizer does not have would be read as the
 * characters of its name, and what the model answers to those says nothing of the format: it is an
 * error, before anything runs. */
#include "cli/chat.h"

#include <string.h>

/* The format by its name, or NULL. */
static const struct nk_chat_format *find_format(const char *name) {
  for (size_t i = 0; i < NK_N_CHATS; i++)
    if (strcmp(nk_chat_formats[i].name, name) == 0) return &nk_chat_formats[i];
  struct nk_buffer names = {0};
  for (size_t i = 0; i < NK_N_CHATS; i++) nk_buffer_printf(&names, ", %s", nk_chat_formats[i].name);
  nk_fail(NK_EUSAGE, "--chat: unknown format '%s': auto, none%s", name,
          names.failed ? "" : names.data);
  nk_buffer_free(&names);
  return NULL;
}

static const struct nk_chat_format *choose_format(const struct cli_run *run, const char *chat,
                                                  const struct nk_model *model) {
  if (strcmp(chat, "auto") != 0) return find_format(chat);
  const struct nk_chat_format *format = nk_model_chat_format(model);
  if (format == NULL) {
    nk_fail_in(nk_error_code(), "--chat auto");
    cli_hint(nk_error_code(), nk_error_code(), "name one of the formats, or none");
    return NULL;
  }
  struct nk_buffer message = {0};
  nk_buffer_printf(&message, "%s: the chat template has the format %s", nk_model_name(model),
                   format->name);
  if (!run->common.quiet && !message.failed) cli_print_message(run->tool->name, "", message.data);
  nk_buffer_free(&message);
  return format;
}

static int add_default_prompts(struct cli_prompts *prompts) {
  int code = NK_OK;
  for (size_t i = 0; i < NK_VERIFY_PROMPTS && code == NK_OK; i++)
    code = cli_prompts_add(prompts, NULL, nk_verify_prompts[i], true, NULL);
  return code;
}

static int wrap(struct cli_prompt *prompt, const struct nk_chat_format *format) {
  if (prompt->special != NULL)
    return nk_fail(NK_EUSAGE,
                   "%s: the prompt writes special tokens itself: leave out --chat, or clear the "
                   "prompt's cell of 'special'",
                   prompt->place);
  struct nk_buffer text = {0};
  nk_buffer_printf(&text, "%s%s%s", format->before, prompt->text, format->after);
  char *wrapped = text.failed ? NULL : nk_strndup(text.data, text.size);
  nk_buffer_free(&text);
  prompt->special = nk_strdup(format->special);
  if (wrapped == NULL || prompt->special == NULL) {
    nk_free(wrapped);
    return nk_fail(NK_EMEMORY, "no memory for a prompt");
  }
  nk_free(prompt->text);
  prompt->text = wrapped;
  return NK_OK;
}

/* Whether the name of a special token, alone in a text, gives the token. */
static int check_token(const struct nk_tokenizer *tokenizer, const char *name, size_t n,
                       const char *place) {
  int64_t id = nk_tokenizer_id(tokenizer, name, n), *ids = NULL;
  size_t n_ids = 0;
  bool given = false;
  if (id >= 0) {
    int code = nk_tokenizer_encode(tokenizer, name, n, 0, &ids, &n_ids);
    if (code != NK_OK) return code;
    for (size_t i = 0; i < n_ids; i++) given = given || ids[i] == id;
    nk_free(ids);
  }
  return given ? NK_OK
               : nk_fail(NK_EDATA,
                         "%s: the model's tokenizer has no token '%.*s': the prompt is not of this "
                         "model's chat format",
                         place, (int)n, name);
}

static int check_special(const struct nk_tokenizer *tokenizer, const struct cli_prompt *prompt) {
  const char *at = prompt->special;
  int code = NK_OK;
  while (at != NULL && code == NK_OK && *(at += strspn(at, " ")) != 0) {
    size_t n = strcspn(at, " ");
    code = check_token(tokenizer, at, n, prompt->place);
    at += n;
  }
  return code;
}

int cli_chat_prompts(const struct cli_run *run, const char *chat, struct nk_model *model,
                     struct cli_prompts *prompts) {
  const struct nk_tokenizer *tokenizer = nk_model_tokenizer(model);
  int code = tokenizer == NULL ? nk_error_code() : NK_OK;
  if (code == NK_OK && chat != NULL && strcmp(chat, "none") != 0) {
    const struct nk_chat_format *format = choose_format(run, chat, model);
    code = format == NULL ? nk_error_code() : NK_OK;
    if (code == NK_OK && prompts->n == 0) code = add_default_prompts(prompts);
    for (size_t i = 0; i < prompts->n && code == NK_OK; i++) code = wrap(&prompts->item[i], format);
  }
  for (size_t i = 0; i < prompts->n && code == NK_OK; i++)
    code = check_special(tokenizer, &prompts->item[i]);
  return code;
}
