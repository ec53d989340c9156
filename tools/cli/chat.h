/* Prompts as turns of a chat, and the special tokens that prompts write. */
#ifndef CLI_CHAT_H
#define CLI_CHAT_H

#include "cli/tool.h"

/* The row of a tool's array of options, for the const char * at target. */
/* clang-format off */
#define CLI_CHAT_OPTION(target)                      \
  {0, "chat", CLI_OPTION_STRING, target, "FORMAT",   \
   "put prompts into this chat format; auto: the model's"}
/* clang-format on */

/* Brings prompts to the format of --chat (NULL and "none": as they are): each text becomes a user's
 * turn, followed by the beginning of the model's; where there are no prompts, those of nk_verify
 * are added first. "auto" is the format of the model's own template, which is printed. Then checks
 * that the tokenizer has the special tokens that the prompts write. Returns NK_OK or a negative
 * code. */
int cli_chat_prompts(const struct cli_run *run, const char *chat, struct nk_model *model,
                     struct cli_prompts *prompts);

#endif
