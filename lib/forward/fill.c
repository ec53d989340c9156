/* Prompts with items in their slots. A token is put there as it is. A text is encoded with the
 * whole prompt around it, as a model that is given the text meets it: its tokens may be others in
 * each slot, and may reach beyond it. */
#include "forward/fill.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"

void nki_filled_free(struct nki_filled *filled) {
  for (size_t i = 0; i < filled->n_whole; i++) nk_free(filled->whole[i]);
  nk_free(filled->whole);
  nk_free(filled->rows);
  nk_free(filled->sequences);
  nk_free(filled->answers);
  nk_free(filled->pool);
}

/* Chooses the items that have tokens. */
static int start(const struct nki_filling *f, struct nki_filled *filled) {
  size_t n = 0;
  *filled = (struct nki_filled){.rows = nk_alloc(f->n, sizeof *filled->rows),
                                .sequences = nk_alloc(f->n, sizeof *filled->sequences),
                                .answers = nk_alloc(f->n, sizeof *filled->answers)};
  if (filled->rows == NULL || filled->sequences == NULL || filled->answers == NULL)
    return NK_EMEMORY;
  for (size_t i = 0; i < f->n; i++) {
    if (f->items[i].answer.n == 0) continue;
    filled->rows[n] = i;
    filled->answers[n++] = f->items[i].answer;
  }
  filled->repetition = (struct nki_repetition){
      .sequences = filled->sequences, .answers = filled->answers, .n = n, .n_steps = f->n_steps};
  return NK_OK;
}

/* ---- Tokens ---- */

static int put_tokens(const struct nki_prompt *prompt, struct nki_filled *filled) {
  size_t first = prompt->slots[0], length = prompt->n - first, n = filled->repetition.n;
  filled->pool = nk_alloc(n, length * sizeof *filled->pool);
  if (filled->pool == NULL) return NK_EMEMORY;
  for (size_t k = 0; k < n; k++) {
    int64_t *mine = filled->pool + k * length;
    memcpy(mine, prompt->ids + first, length * sizeof *mine);
    for (size_t s = 0; s < prompt->n_slots; s++)
      mine[prompt->slots[s] - first] = filled->answers[k].ids[0];
    filled->sequences[k] = (struct nk_sequence){mine, length};
  }
  filled->repetition.prefix = (struct nk_sequence){prompt->ids, first};
  return NK_OK;
}

/* ---- Texts ---- */

/* Appends the template with the item's text in its slots. */
static void fill_slots(const char *template, const struct nki_item *item, struct nk_buffer *out) {
  const char *brace;
  for (; (brace = strstr(template, "{}")) != NULL; template = brace + 2) {
    nk_buffer_append(out, template, (size_t)(brace - template));
    nk_buffer_append(out, item->bytes, item->n_bytes);
  }
  nk_buffer_text(out, template);
}

/* *ids [*n] = the prompt with the item's text in its slots, encoded as a whole; NULL for an item
 * without text, or of bytes that are not valid UTF-8. */
static int encode_whole(const struct nki_filling *f, const struct nki_item *item, int64_t **ids,
                        size_t *n) {
  struct nk_buffer text = {0};
  *ids = NULL;
  *n = 0;
  if (item->bytes == NULL) return NK_OK;
  fill_slots(f->template, item, &text);
  int code = text.failed ? nk_fail(NK_EMEMORY, "no memory for a prompt")
                         : nk_prompt_encode(f->tokenizer, text.data, text.size, false, ids, n);
  nk_buffer_free(&text);
  return code == NK_EDATA ? NK_OK : code;
}

/* Whether ids [n] are the prompt's up to its last slot, with the answer in the slots. */
static bool is_given(const struct nki_prompt *prompt, const struct nk_sequence *answer,
                     const int64_t *ids, size_t n) {
  size_t at = 0, last = prompt->slots[prompt->n_slots - 1];
  for (size_t i = 0; i <= last; i++) {
    bool slot = prompt->ids[i] == NK_VECTOR;
    const int64_t *expected = slot ? answer->ids : prompt->ids + i;
    size_t length = slot ? answer->n : 1;
    if (length > n - at || memcmp(ids + at, expected, length * sizeof *ids) != 0) return false;
    at += length;
  }
  return true;
}

/* "text 3" or "id 300", for messages. */
static void name_item(const struct nki_filling *f, size_t i, char name[32]) {
  if (f->texts)
    snprintf(name, 32, "text %zu", i + 1);
  else
    snprintf(name, 32, "id %lld", (long long)f->items[i].answer.ids[0]);
}

/* Counts in encoded [n] (or NULL). whole and lengths [n], or NULL = the whole prompts' tokens. */
static int encode_items(const struct nki_filling *f, size_t *encoded, int64_t **whole,
                        size_t *lengths) {
  int code = NK_OK;
  char message[256] = ""; /* nk_error() belongs to the thread that failed */
#pragma omp parallel for schedule(dynamic, 64)
  for (size_t i = 0; i < f->n; i++) {
    int64_t *ids = NULL;
    size_t length = 0;
    const struct nk_sequence *answer = &f->items[i].answer;
    int failed = answer->n == 0 ? NK_OK : encode_whole(f, &f->items[i], &ids, &length);
    if (ids != NULL && encoded != NULL) encoded[i] += is_given(f->prompt, answer, ids, length);
    if (whole != NULL) {
      whole[i] = ids;
      lengths[i] = length;
    } else {
      nk_free(ids);
    }
    if (failed == NK_OK) continue;
#pragma omp critical(nki_verify_failure)
    {
      char name[32];
      name_item(f, i, name);
      code = failed;
      snprintf(message, sizeof message, "%s: %s", name, nk_error());
    }
  }
  return code == NK_OK ? NK_OK : nk_fail(code, "%s", message);
}

/* The number of tokens with which all sequences [n] begin, `most` at most; each keeps one. */
static size_t common_prefix(const struct nk_sequence *sequences, size_t n, size_t most) {
  for (size_t k = 0; k < n; k++) {
    size_t same = 0;
    if (most >= sequences[k].n) most = sequences[k].n - 1;
    while (same < most && sequences[k].ids[same] == sequences[0].ids[same]) same++;
    most = same;
  }
  return most;
}

static int put_texts(const struct nki_filling *f, size_t *encoded, struct nki_filled *filled) {
  size_t *lengths = nk_alloc(f->n, sizeof *lengths), n = filled->repetition.n;
  filled->whole = nk_calloc(f->n, sizeof *filled->whole);
  filled->n_whole = filled->whole == NULL ? 0 : f->n;
  int code = lengths == NULL || filled->whole == NULL ? NK_EMEMORY : NK_OK;
  if (code == NK_OK) code = encode_items(f, encoded, filled->whole, lengths);
  for (size_t k = 0; k < n && code == NK_OK; k++) {
    size_t i = filled->rows[k], more = filled->answers[k].n + f->n_steps - 1;
    filled->sequences[k] = (struct nk_sequence){filled->whole[i], lengths[i]};
    if (lengths[i] > f->n_positions || more > f->n_positions - lengths[i])
      code = nk_fail(NK_EDATA,
                     "text %zu: %zu tokens with the prompt and %zu to repeat it: the model has "
                     "%zu positions; give a prompt with fewer slots",
                     i + 1, lengths[i], more, f->n_positions);
  }
  nk_free(lengths);
  if (code != NK_OK || n == 0) return code;
  size_t prefix = common_prefix(filled->sequences, n, f->prompt->slots[0]);
  filled->repetition.prefix = (struct nk_sequence){filled->sequences[0].ids, prefix};
  for (size_t k = 0; k < n; k++) {
    filled->sequences[k].ids += prefix;
    filled->sequences[k].n -= prefix;
  }
  return NK_OK;
}

int nki_fill(const struct nki_filling *f, size_t *encoded, struct nki_filled *filled) {
  int code = start(f, filled);
  if (code != NK_OK) return code;
  if (f->texts) return put_texts(f, encoded, filled);
  code = put_tokens(f->prompt, filled);
  return code == NK_OK && encoded != NULL ? encode_items(f, encoded, NULL, NULL) : code;
}
