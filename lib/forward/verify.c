/* Whether a model can repeat a token. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "forward/probe.h"

const char *const nk_verdict_names[NK_N_VERDICTS] = {"strongly verified", "weakly verified",
                                                     "weakly rejected", "strongly rejected"};

/* A request in words, and two patterns that a model without instructions continues. */
const char *const nki_verify_texts[NKI_N_VERIFY_PROMPTS] = {
    "Please repeat the string \"{}\" back to me: \"",
    "Repeat after me: \"{}\" \"{}\" \"{}\" \"",
    "{}{}{}{}{}{}{}{}",
};

int nki_verify_prompts(const struct nk_tokenizer *tokenizer, const char *const *texts, size_t n,
                       struct nki_prompt **prompts) {
  int code = NK_OK;
  *prompts = nk_calloc(n, sizeof **prompts);
  if (*prompts == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    code = nki_prompt_make(tokenizer, NULL, texts[i], &(*prompts)[i]);
    if (code == NK_OK && (*prompts)[i].n_slots == 0)
      code = nk_fail(NK_EUSAGE, "prompt '%s' has no slot {}", texts[i]);
  }
  return code;
}

void nki_verify_prompts_free(struct nki_prompt *prompts, size_t n) {
  for (size_t i = 0; i < n && prompts != NULL; i++) nki_prompt_free(&prompts[i]);
  nk_free(prompts);
}

static void take(double *max_prob, const float *watched, size_t n, size_t n_steps) {
  for (size_t i = 0; i < n; i++)
    for (size_t t = 0; t < n_steps; t++) {
      float log_prob = watched[i * n_steps + t];
      if (!isnan(log_prob)) max_prob[i] = fmax(max_prob[i], exp((double)log_prob));
    }
}

/* One prompt for all tokens. */
static int verify_prompt(struct nk_forward *forward, const struct nki_prompt *prompt,
                         const int64_t *ids, size_t n, size_t n_steps, double *max_prob) {
  size_t first = prompt->slots[0], length = prompt->n - first;
  int64_t *tokens = nk_alloc(n, length * sizeof *tokens);
  int64_t *generated = nk_alloc(n, n_steps * sizeof *generated);
  size_t *lengths = nk_alloc(n, sizeof *lengths);
  float *watched = nk_alloc(n, n_steps * sizeof *watched);
  struct nk_sequence *sequences = nk_alloc(n, sizeof *sequences);
  int code = NK_EMEMORY;
  if (tokens == NULL || generated == NULL || lengths == NULL || watched == NULL ||
      sequences == NULL)
    goto done;
  for (size_t i = 0; i < n; i++) {
    int64_t *mine = tokens + i * length;
    memcpy(mine, prompt->ids + first, length * sizeof *mine);
    for (size_t s = 0; s < prompt->n_slots; s++) mine[prompt->slots[s] - first] = ids[i];
    sequences[i] = (struct nk_sequence){mine, length};
  }
  struct nk_generation generation = {
      .n_tokens = n_steps, .watch = ids, .watched = watched, .ids = generated, .lengths = lengths};
  struct nk_batch batch = {.prefix = {prompt->ids, first},
                           .sequences = sequences,
                           .n_sequences = n,
                           .generation = &generation};
  code = nk_forward_run(forward, &batch);
  if (code == NK_OK) take(max_prob, watched, n, n_steps);
done:
  nk_free(tokens);
  nk_free(generated);
  nk_free(lengths);
  nk_free(watched);
  nk_free(sequences);
  return code;
}

int nki_verify(struct nk_forward *forward, const struct nki_prompt *prompts, size_t n_prompts,
               const int64_t *ids, size_t n, size_t n_steps, double *max_prob) {
  int code = NK_OK;
  if (n_steps == 0) return nk_fail(NK_EUSAGE, "0 steps: at least 1 is needed");
  for (size_t i = 0; i < n; i++) max_prob[i] = 0;
  for (size_t p = 0; p < n_prompts && code == NK_OK; p++) {
    code = verify_prompt(forward, &prompts[p], ids, n, n_steps, max_prob);
    if (code != NK_OK) nk_fail_in(code, "prompt '%s'", prompts[p].name);
  }
  return code;
}

/* ---- Whether text gives a token in its place ---- */

/* Appends the template with the token's bytes in its slots. */
static void fill_slots(const char *template, const char *bytes, size_t n, struct nk_buffer *out) {
  const char *brace;
  for (; (brace = strstr(template, "{}")) != NULL; template = brace + 2) {
    nk_buffer_append(out, template, (size_t)(brace - template));
    nk_buffer_append(out, bytes, n);
  }
  nk_buffer_text(out, template);
}

/* *given: the text with the token's bytes in its slots gives the prompt's tokens up to the last
 * slot, with `id` in the slots. Bytes that are not valid UTF-8 give nothing. */
static int is_given(const struct nk_tokenizer *tokenizer, const char *template,
                    const struct nki_prompt *prompt, int64_t id, bool *given) {
  struct nk_buffer text = {0};
  int64_t *ids = NULL;
  size_t length = 0, n = 0, last = prompt->slots[prompt->n_slots - 1];
  const char *bytes = nk_tokenizer_bytes(tokenizer, (size_t)id, &length);
  *given = false;
  if (bytes == NULL) return NK_OK;
  fill_slots(template, bytes, length, &text);
  int code = text.failed ? nk_fail(NK_EMEMORY, "no memory for a prompt")
                         : nk_tokenizer_encode(tokenizer, text.data, text.size, NK_ENCODE_SPECIAL,
                                               &ids, &n);
  nk_buffer_free(&text);
  if (code == NK_EDATA) return NK_OK;
  if (code != NK_OK) return code;
  *given = n > last;
  for (size_t i = 0; *given && i <= last; i++)
    *given = ids[i] == (prompt->ids[i] == NK_VECTOR ? id : prompt->ids[i]);
  nk_free(ids);
  return NK_OK;
}

static int count_encoded(const struct nk_tokenizer *tokenizer, const char *const *texts,
                         const struct nki_prompt *prompts, size_t n_prompts, const int64_t *ids,
                         size_t n, size_t *encoded) {
  int code = NK_OK;
  char message[256] = ""; /* nk_error() belongs to the thread that failed */
#pragma omp parallel for schedule(dynamic, 64)
  for (size_t i = 0; i < n; i++) {
    encoded[i] = 0;
    for (size_t p = 0; p < n_prompts; p++) {
      bool given = false;
      int failed = is_given(tokenizer, texts[p], &prompts[p], ids[i], &given);
      encoded[i] += given;
      if (failed == NK_OK) continue;
#pragma omp critical(nki_verify_failure)
      {
        code = failed;
        snprintf(message, sizeof message, "prompt '%s', id %lld: %s", prompts[p].name,
                 (long long)ids[i], nk_error());
      }
    }
  }
  return code == NK_OK ? NK_OK : nk_fail(code, "%s", message);
}

int nk_verify(struct nk_model *model, const struct nk_verify_options *options, const int64_t *ids,
              size_t n, double *max_prob, size_t *encoded) {
  enum { DEFAULT_STEPS = 3 };
  static const struct nk_verify_options defaults;
  const struct nk_verify_options *o = options == NULL ? &defaults : options;
  struct nk_forward *forward = nk_model_forward(model);
  const struct nk_tokenizer *tokenizer = forward == NULL ? NULL : nk_model_tokenizer(model);
  const char *const *texts = o->prompts == NULL ? nki_verify_texts : o->prompts;
  size_t n_prompts = o->prompts == NULL ? NKI_N_VERIFY_PROMPTS : o->n_prompts;
  size_t n_steps = o->n_steps == 0 ? DEFAULT_STEPS : o->n_steps;
  struct nki_prompt *prompts;
  if (tokenizer == NULL) return nki_fail_null();
  int code = nki_verify_prompts(tokenizer, texts, n_prompts, &prompts);
  if (code == NK_OK) code = nki_verify(forward, prompts, n_prompts, ids, n, n_steps, max_prob);
  if (code == NK_OK && encoded != NULL)
    code = count_encoded(tokenizer, texts, prompts, n_prompts, ids, n, encoded);
  nki_verify_prompts_free(prompts, n_prompts);
  return code;
}

void nk_verdicts_by_count(const double *max_prob, const int64_t *counts, size_t n,
                          struct nk_verdict_range *ranges) {
  static const int64_t least[NK_VERDICT_RANGES] = {0, 1, 11, 101, 1001, 10001};
  for (size_t r = 0; r < NK_VERDICT_RANGES; r++) {
    int64_t most = r + 1 < NK_VERDICT_RANGES ? least[r + 1] - 1 : INT64_MAX;
    ranges[r] = (struct nk_verdict_range){.least = least[r], .most = most};
    for (size_t i = 0; i < n; i++) {
      if (counts[i] < least[r] || counts[i] > most) continue;
      ranges[r].n_tokens++;
      ranges[r].n_verdicts[nk_verdict_of(max_prob[i])]++;
    }
  }
}
