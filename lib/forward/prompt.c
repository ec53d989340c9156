/* Prompts with slots, as tokens. */
#include <string.h>

#include "base/error.h"
#include "forward/probe.h"

/* The tokens that the model is trained to begin with: those that special encoding puts before the
 * text's tokens. */
static int encode_begin(const struct nk_tokenizer *tokenizer, int64_t **ids, size_t *n_ids) {
  int64_t *plain = NULL;
  size_t n_plain = 0, n = 0;
  int code = nk_tokenizer_encode(tokenizer, "a", 1, 0, &plain, &n_plain);
  if (code == NK_OK) code = nk_tokenizer_encode(tokenizer, "a", 1, NK_ENCODE_SPECIAL, ids, n_ids);
  if (code == NK_OK) {
    while (n + n_plain <= *n_ids && memcmp(*ids + n, plain, n_plain * sizeof *plain) != 0) n++;
    *n_ids = n + n_plain <= *n_ids ? n : 0;
  }
  nk_free(plain);
  return code;
}

/* ---- One prompt ---- */

static int append(struct nki_prompt *prompt, const int64_t *more, size_t n_more) {
  if (n_more == 0) return NK_OK;
  int64_t *longer = nk_realloc(prompt->ids, prompt->n, prompt->n + n_more, sizeof *longer);
  if (longer == NULL) return NK_EMEMORY;
  memcpy(longer + prompt->n, more, n_more * sizeof *more);
  prompt->ids = longer;
  prompt->n += n_more;
  return NK_OK;
}

static int append_slot(struct nki_prompt *prompt) {
  static const int64_t slot = NK_VECTOR;
  size_t *slots = nk_realloc(prompt->slots, prompt->n_slots, prompt->n_slots + 1, sizeof *slots);
  if (slots == NULL) return NK_EMEMORY;
  prompt->slots = slots;
  prompt->slots[prompt->n_slots++] = prompt->n;
  return append(prompt, &slot, 1);
}

/* The text's tokens after those of the beginning. */
static int encode_prompt(const struct nk_tokenizer *tokenizer, const char *text, size_t n_text,
                         bool slots, struct nki_prompt *prompt) {
  int code = encode_begin(tokenizer, &prompt->ids, &prompt->n);
  for (bool first = true; code == NK_OK; first = false) {
    const char *brace = slots ? memmem(text, n_text, "{}", 2) : NULL;
    size_t length = brace == NULL ? n_text : (size_t)(brace - text), n = 0;
    int64_t *ids = NULL;
    code = nk_tokenizer_encode(tokenizer, text, length, first ? 0 : NK_ENCODE_WITHIN, &ids, &n);
    if (code == NK_OK) code = append(prompt, ids, n);
    nk_free(ids);
    if (code != NK_OK || brace == NULL) break;
    code = append_slot(prompt);
    text += length + 2;
    n_text -= length + 2;
  }
  return code;
}

int nki_prompt_make(const struct nk_tokenizer *tokenizer, const char *name, const char *text,
                    struct nki_prompt *prompt) {
  *prompt = (struct nki_prompt){.name = nk_strdup(name == NULL ? text : name)};
  if (prompt->name == NULL) return NK_EMEMORY;
  int code = encode_prompt(tokenizer, text, strlen(text), true, prompt);
  if (code != NK_OK) return nk_fail_in(code, "prompt '%s'", prompt->name);
  return prompt->n == 0 ? nk_fail(NK_EUSAGE, "an empty prompt") : NK_OK;
}

int nk_prompt_encode(const struct nk_tokenizer *tokenizer, const char *text, size_t n_text,
                     bool slots, int64_t **ids, size_t *n) {
  if (tokenizer == NULL) return nki_fail_null();
  struct nki_prompt prompt = {0};
  int code = encode_prompt(tokenizer, text, n_text, slots, &prompt);
  *ids = code == NK_OK ? prompt.ids : NULL;
  *n = code == NK_OK ? prompt.n : 0;
  if (code == NK_OK) prompt.ids = NULL; /* the caller's */
  nki_prompt_free(&prompt);
  return code;
}

void nki_prompt_free(struct nki_prompt *prompt) {
  nk_free(prompt->name);
  nk_free(prompt->ids);
  nk_free(prompt->slots);
}
