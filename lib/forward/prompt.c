/* Prompts with slots. */
#include <noken/probe.h>

#include <noken/base.h>
#include <noken/forward.h>
#include <noken/tokenizer.h>
#include <stdio.h>
#include <string.h>

/* ---- Pieces of text ---- */

/* True when the tokens' bytes, one after the other, are the text. */
static bool spells(const struct nk_tokenizer *tokenizer, const int64_t *ids, size_t n,
                   const char *text, size_t n_text) {
  size_t at = 0;
  for (size_t i = 0; i < n; i++) {
    size_t length;
    const char *bytes = nk_tokenizer_bytes(tokenizer, (size_t)ids[i], &length);
    if (bytes == NULL || length > n_text - at || memcmp(bytes, text + at, length) != 0)
      return false;
    at += length;
  }
  return at == n_text;
}

/* Encodes text as it would be after `before`, a text whose tokens it does not change: true, with
 * the tokens in *ids, when it could be told apart. */
static bool encode_after(const struct nk_tokenizer *tokenizer, const char *before, const char *text,
                         size_t n, int64_t **ids, size_t *n_ids) {
  struct nk_buffer both = {0};
  int64_t *alone = NULL, *joined = NULL;
  size_t n_alone = 0, n_joined = 0;
  bool done = false;
  nk_buffer_text(&both, before);
  nk_buffer_append(&both, text, n);
  if (!both.failed &&
      nk_tokenizer_encode(tokenizer, before, strlen(before), 0, &alone, &n_alone) == 0 &&
      nk_tokenizer_encode(tokenizer, both.data, both.size, 0, &joined, &n_joined) == 0 &&
      n_joined >= n_alone && memcmp(joined, alone, n_alone * sizeof *alone) == 0 &&
      spells(tokenizer, joined + n_alone, n_joined - n_alone, text, n)) {
    memmove(joined, joined + n_alone, (n_joined - n_alone) * sizeof *joined);
    *ids = joined;
    *n_ids = n_joined - n_alone;
    joined = NULL;
    done = true;
  }
  nk_buffer_free(&both);
  nk_free(alone);
  nk_free(joined);
  return done;
}

/* A piece after a slot. Tokenizers that put a space before every text (SentencePiece's) must not do
 * so here, in the middle of one. */
static int encode_middle(const struct nk_tokenizer *tokenizer, const char *text, size_t n,
                         int64_t **ids, size_t *n_ids) {
  static const char *const befores[] = {"\n", "a", "0", ")"};
  int code = nk_tokenizer_encode(tokenizer, text, n, 0, ids, n_ids);
  if (code != NK_OK || n == 0 || spells(tokenizer, *ids, *n_ids, text, n)) return code;
  int64_t *better;
  for (size_t i = 0; i < sizeof befores / sizeof befores[0]; i++) {
    if (!encode_after(tokenizer, befores[i], text, n, &better, n_ids)) continue;
    nk_free(*ids);
    *ids = better;
    return 0;
  }
  return 0; /* a normalizer changed the text: then the tokens are what the tokenizer makes of it */
}

/* The tokens that the model is trained to begin with: those that special encoding puts before a
 * text's own. */
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

static int append(int64_t **ids, size_t *n, const int64_t *more, size_t n_more) {
  if (n_more == 0) return 0;
  int64_t *longer = nk_realloc(*ids, *n, *n + n_more, sizeof **ids);
  if (longer == NULL) return NK_EMEMORY;
  memcpy(longer + *n, more, n_more * sizeof *more);
  *ids = longer;
  *n += n_more;
  return 0;
}

static void free_prompt(struct nk_prompt *prompt) {
  nk_free(prompt->name);
  nk_free(prompt->text);
  nk_free(prompt->ids);
  nk_free(prompt->slots);
}

static int encode_prompt(struct nk_prompt *prompt, const struct nk_tokenizer *tokenizer) {
  static const int64_t slot = NK_VECTOR;
  const char *text = prompt->text;
  int code = encode_begin(tokenizer, &prompt->ids, &prompt->n);
  for (bool first = true; code == NK_OK; first = false) {
    const char *brace = strstr(text, "{}");
    size_t length = brace == NULL ? strlen(text) : (size_t)(brace - text), n = 0;
    int64_t *ids = NULL;
    code = first ? nk_tokenizer_encode(tokenizer, text, length, 0, &ids, &n)
                 : encode_middle(tokenizer, text, length, &ids, &n);
    if (code == NK_OK) code = append(&prompt->ids, &prompt->n, ids, n);
    nk_free(ids);
    if (code != NK_OK || brace == NULL) break;
    size_t *slots = nk_realloc(prompt->slots, prompt->n_slots, prompt->n_slots + 1, sizeof *slots);
    if (slots == NULL) return NK_EMEMORY;
    prompt->slots = slots;
    prompt->slots[prompt->n_slots++] = prompt->n;
    code = append(&prompt->ids, &prompt->n, &slot, 1);
    text = brace + 2;
  }
  return code;
}

int nk_prompts_add(struct nk_prompts *prompts, const struct nk_tokenizer *tokenizer,
                   const char *name, const char *text, bool repetition, bool need_slot) {
  struct nk_prompt prompt = {.repetition = repetition};
  char number[24];
  snprintf(number, sizeof number, "%zu", prompts->n + 1);
  prompt.name = nk_strdup(name == NULL ? number : name);
  prompt.text = nk_strdup(text);
  int code = prompt.name == NULL || prompt.text == NULL ? NK_EMEMORY : NK_OK;
  if (code == NK_OK) code = encode_prompt(&prompt, tokenizer);
  if (code != NK_OK)
    nk_fail_in(code, "prompt '%s'", text);
  else if (prompt.n == 0)
    code = nk_fail(NK_EUSAGE, "an empty prompt");
  else if (need_slot && prompt.n_slots == 0)
    code = nk_fail(NK_EUSAGE, "prompt '%s' has no slot {}", text);
  struct nk_prompt *item =
      code != NK_OK ? NULL : nk_realloc(prompts->item, prompts->n, prompts->n + 1, sizeof *item);
  if (item == NULL) {
    free_prompt(&prompt);
    return code != NK_OK ? code : NK_EMEMORY;
  }
  prompts->item = item;
  prompts->item[prompts->n++] = prompt;
  return 0;
}

/* ---- Sets of prompts ---- */

void nk_prompts_free(struct nk_prompts *prompts) {
  for (size_t i = 0; i < prompts->n; i++) free_prompt(&prompts->item[i]);
  nk_free(prompts->item);
  *prompts = (struct nk_prompts){0};
}
