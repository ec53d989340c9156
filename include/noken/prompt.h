/* Prompts with slots: text in which every {} is a place for one token or vector. The text between
 * slots is encoded on its own, as the tokenizer does it in the middle of a text; before the first
 * come the tokens that the model is trained to begin with. */
#ifndef NOKEN_PROMPT_H
#define NOKEN_PROMPT_H

#include <noken/tokenizer.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct nk_prompt {
  char *name;
  char *text;
  bool repetition; /* what follows it is the slot's token again, where the model knows the token */
  int64_t *ids;    /* [n] NK_VECTOR in the slots */
  size_t n;
  size_t *slots; /* [n_slots] positions */
  size_t n_slots;
};

struct nk_prompts {
  struct nk_prompt *item;
  size_t n;
};

/* Start from `struct nk_prompts p = {0};`, end with nk_prompts_free. Adds a prompt; name NULL: its
 * number. Returns 0, or NK_EUSAGE when there is no slot and need_slot. */
int nk_prompts_add(struct nk_prompts *prompts, const struct nk_tokenizer *tokenizer,
                   const char *name, const char *text, bool repetition, bool need_slot);

/* Adds those of a table with the columns `prompt` (name), `text` and, where there are any,
 * `repetition` (1 or 0; missing: 0). In the text \n, \t and \\ stand as everywhere in tables. */
int nk_prompts_read(struct nk_prompts *prompts, const struct nk_tokenizer *tokenizer,
                    const char *path, bool need_slot);
void nk_prompts_free(struct nk_prompts *prompts);

#ifdef __cplusplus
}
#endif
#endif
