/* Prompts with slots, as tokens. */
#include <string.h>

#include "base/error.h"
#include "forward/probe.h"

/* ---- Pieces of text ---- */

struct piece {
  const char *bytes;
  size_t n;
};

/* True when the tokens' bytes, one after the other, are the text. */
static bool spells(const struct nk_tokenizer *tokenizer, const int64_t *ids, size_t n,
                   struct piece text) {
  size_t at = 0;
  for (size_t i = 0; i < n; i++) {
    size_t length;
    const char *bytes = nk_tokenizer_bytes(tokenizer, (size_t)ids[i], &length);
    if (bytes == NULL || length > text.n - at || memcmp(bytes, text.bytes + at, length) != 0)
      return false;
    at += length;
  }
  return at == text.n;
}

/* Encodes text as it is encoded after `before`: true, with the tokens in *ids, when the tokens of
 * `before` stay the same and, where `exact`, the others spell the text. */
static bool encode_after(const struct nk_tokenizer *tokenizer, const char *before, bool exact,
                         struct piece text, int64_t **ids, size_t *n_ids) {
  struct nk_buffer both = {0};
  int64_t *alone = NULL, *joined = NULL;
  size_t n_alone = 0, n_joined = 0;
  bool done = false;
  nk_buffer_text(&both, before);
  nk_buffer_append(&both, text.bytes, text.n);
  if (!both.failed &&
      nk_tokenizer_encode(tokenizer, before, strlen(before), 0, &alone, &n_alone) == NK_OK &&
      nk_tokenizer_encode(tokenizer, both.data, both.size, 0, &joined, &n_joined) == NK_OK &&
      n_joined >= n_alone && memcmp(joined, alone, n_alone * sizeof *alone) == 0 &&
      (!exact || spells(tokenizer, joined + n_alone, n_joined - n_alone, text))) {
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

/* A piece after a slot, in the middle of a text: without the space that some tokenizers
 * (SentencePiece's) put before every text. Where no tokens spell it, a normalizer changed it, or a
 * special token took the white space after it: the tokens are those of the changed text. */
int nki_encode_middle(const struct nk_tokenizer *tokenizer, const char *bytes, size_t n,
                      int64_t **ids, size_t *n_ids) {
  static const char *const befores[] = {"\n", "a", "0", ")"};
  enum { N_BEFORES = sizeof befores / sizeof befores[0] };
  const struct piece text = {bytes, n};
  int code = nk_tokenizer_encode(tokenizer, bytes, n, 0, ids, n_ids);
  if (code != NK_OK || n == 0 || spells(tokenizer, *ids, *n_ids, text)) return code;
  int64_t *better;
  for (size_t i = 0; i < 2 * N_BEFORES; i++) { /* exactly, then as it is changed */
    const char *before = befores[i % N_BEFORES];
    if (!encode_after(tokenizer, before, i < N_BEFORES, text, &better, n_ids)) continue;
    nk_free(*ids);
    *ids = better;
    return NK_OK;
  }
  return NK_OK;
}

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
    code = first ? nk_tokenizer_encode(tokenizer, text, length, 0, &ids, &n)
                 : nki_encode_middle(tokenizer, text, length, &ids, &n);
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
