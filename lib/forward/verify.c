/* Whether a model can repeat a token. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "forward/fill.h"

const char *const nk_verdict_names[NK_N_VERDICTS] = {"strongly verified", "weakly verified",
                                                     "weakly rejected", "strongly rejected"};

const char *const nk_verify_prompts[NK_VERIFY_PROMPTS] = {
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

/* ---- Verification ---- */

/* Tokens or texts, and what stands for them in all prompts. */
struct verify {
  struct nk_forward *forward;
  const struct nk_tokenizer *tokenizer; /* NULL: `encoded` is not wanted */
  const char *const *templates;         /* [n_prompts] */
  const struct nki_prompt *prompts;     /* [n_prompts] */
  size_t n_prompts, n_steps;
  struct nki_item *items; /* [n] */
  size_t n;
  bool texts;
  size_t n_repeats;
  double temperature;
  uint64_t seed;
};

/* Samples the repetitions. The random numbers are those of the item and the prompt, whatever the
 * other items and prompts are. */
static int sample_prompt(const struct verify *v, size_t p, const struct nki_filled *filled,
                         size_t *failures) {
  const struct nki_repetition *repetition = &filled->repetition;
  uint32_t *keys = nk_alloc(repetition->n, sizeof *keys);
  size_t *failed = nk_alloc(repetition->n, sizeof *failed);
  int code = keys == NULL || failed == NULL ? NK_EMEMORY : NK_OK;
  for (size_t k = 0; k < repetition->n && code == NK_OK; k++) {
    const struct nki_item *item = &v->items[filled->rows[k]];
    uint64_t hash = v->texts ? nki_hash(item->bytes, item->n_bytes) : 0;
    keys[k] = v->texts ? (uint32_t)(hash ^ hash >> 32) : (uint32_t)item->answer.ids[0];
  }
  const struct nki_attempts attempts = {
      .n_repeats = v->n_repeats,
      .temperature = v->temperature,
      .seed = nki_hash(v->templates[p], strlen(v->templates[p])) ^ v->seed,
      .keys = keys};
  if (code == NK_OK) code = nki_repetition_failures(v->forward, repetition, &attempts, failed);
  for (size_t k = 0; k < repetition->n && code == NK_OK; k++)
    failures[filled->rows[k] * v->n_prompts + p] = failed[k];
  nk_free(keys);
  nk_free(failed);
  return code;
}

/* One prompt for all items. */
static int verify_prompt(const struct verify *v, size_t p, const struct nk_verification *out) {
  const struct nki_filling filling = {.tokenizer = v->tokenizer,
                                      .template = v->templates == NULL ? NULL : v->templates[p],
                                      .prompt = &v->prompts[p],
                                      .items = v->items,
                                      .n = v->n,
                                      .texts = v->texts,
                                      .n_positions = v->forward->config.shape.n_positions,
                                      .n_steps = v->n_steps};
  struct nki_filled filled;
  int code = nki_fill(&filling, out->encoded, &filled);
  const struct nki_repetition *repetition = &filled.repetition;
  double *best = code == NK_OK ? nk_alloc(repetition->n, sizeof *best) : NULL;
  if (code == NK_OK && best == NULL) code = NK_EMEMORY;
  if (code == NK_OK && repetition->n > 0) code = nki_repetition_best(v->forward, repetition, best);
  for (size_t k = 0; k < repetition->n && code == NK_OK; k++) {
    double *max_prob = &out->max_prob[filled.rows[k]];
    if (!(*max_prob >= best[k])) *max_prob = best[k];
  }
  if (code == NK_OK && v->n_repeats > 0 && out->failures != NULL)
    code = sample_prompt(v, p, &filled, out->failures);
  nk_free(best);
  nki_filled_free(&filled);
  return code == NK_OK ? NK_OK : nk_fail_in(code, "prompt '%s'", v->prompts[p].name);
}

static int verify_prompts(const struct verify *v, const struct nk_verification *out) {
  int code = NK_OK;
  for (size_t i = 0; i < v->n; i++) out->max_prob[i] = NAN; /* of an item in no prompt */
  for (size_t i = 0; i < v->n && out->encoded != NULL; i++) out->encoded[i] = 0;
  for (size_t i = 0; i < v->n * v->n_prompts && out->failures != NULL; i++) out->failures[i] = 0;
  for (size_t p = 0; p < v->n_prompts && code == NK_OK; p++) code = verify_prompt(v, p, out);
  return code;
}

int nki_verify(struct nk_forward *forward, const struct nki_prompt *prompts, size_t n_prompts,
               const int64_t *ids, size_t n, size_t n_steps, double *max_prob) {
  struct nki_item *items = nk_calloc(n, sizeof *items);
  if (items == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < n; i++) items[i].answer = (struct nk_sequence){&ids[i], 1};
  const struct verify v = {.forward = forward,
                           .prompts = prompts,
                           .n_prompts = n_prompts,
                           .n_steps = n_steps,
                           .items = items,
                           .n = n};
  int code = verify_prompts(&v, &(struct nk_verification){.max_prob = max_prob});
  nk_free(items);
  return code;
}

/* items [n] = the tokens with their texts. */
static void take_ids(const struct nk_tokenizer *tokenizer, const int64_t *ids, size_t n,
                     struct nki_item *items) {
  for (size_t i = 0; i < n; i++) {
    items[i].bytes =
        ids[i] < 0 ? NULL : nk_tokenizer_bytes(tokenizer, (size_t)ids[i], &items[i].n_bytes);
    items[i].answer = (struct nk_sequence){&ids[i], 1};
  }
}

/* items [n] = the texts with their tokens, which the caller frees. */
static int take_texts(const struct nk_tokenizer *tokenizer, const struct nk_text *texts, size_t n,
                      struct nki_item *items) {
  int code = NK_OK;
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    int64_t *pieces = NULL;
    size_t n_pieces = 0;
    items[i] = (struct nki_item){.bytes = texts[i].bytes, .n_bytes = texts[i].n};
    code = nk_tokenizer_encode(tokenizer, texts[i].bytes, texts[i].n, NK_ENCODE_WITHIN, &pieces,
                               &n_pieces);
    if (code == NK_OK)
      items[i].answer = (struct nk_sequence){pieces, n_pieces};
    else if (code == NK_EDATA) /* not valid UTF-8: no tokens */
      code = NK_OK;
    else
      nk_fail_in(code, "text %zu", i + 1);
  }
  return code;
}

static int check_repeats(const struct nk_verify_options *o) {
  if (o->n_repeats == 0) return NK_OK;
  if (!(o->temperature > 0) || isinf(o->temperature))
    return nk_fail(NK_EUSAGE,
                   "repetitions at temperature %g: one above 0 is needed, as greedy decoding gives "
                   "the same answer each time",
                   o->temperature);
  if (o->n_repeats > NKI_MOST_REPEATS)
    return nk_fail(NK_EUSAGE, "%zu repetitions: %d at most", o->n_repeats, NKI_MOST_REPEATS);
  return NK_OK;
}

int nk_verify(struct nk_model *model, const struct nk_verify_options *options, const int64_t *ids,
              size_t n, const struct nk_verification *out) {
  enum { DEFAULT_STEPS = 3 };
  static const struct nk_verify_options defaults;
  const struct nk_verify_options *o = options == NULL ? &defaults : options;
  struct nk_forward *forward = nk_model_forward(model);
  const struct nk_tokenizer *tokenizer = forward == NULL ? NULL : nk_model_tokenizer(model);
  if (tokenizer == NULL) return nki_fail_null();
  struct verify v = {.forward = forward,
                     .tokenizer = tokenizer,
                     .templates = o->prompts == NULL ? nk_verify_prompts : o->prompts,
                     .n_prompts = o->prompts == NULL ? NK_VERIFY_PROMPTS : o->n_prompts,
                     .n_steps = o->n_steps == 0 ? DEFAULT_STEPS : o->n_steps,
                     .items = nk_calloc(n, sizeof *v.items),
                     .n = n,
                     .texts = o->texts != NULL,
                     .n_repeats = o->n_repeats,
                     .temperature = o->temperature,
                     .seed = o->seed};
  struct nki_prompt *prompts = NULL;
  int code = v.items == NULL ? NK_EMEMORY : check_repeats(o);
  if (code == NK_OK) code = nki_verify_prompts(tokenizer, v.templates, v.n_prompts, &prompts);
  v.prompts = prompts;
  if (code == NK_OK && v.texts)
    code = take_texts(tokenizer, o->texts, n, v.items);
  else if (code == NK_OK)
    take_ids(tokenizer, ids, n, v.items);
  if (code == NK_OK) code = verify_prompts(&v, out);
  for (size_t i = 0; i < n && code == NK_OK && out->n_pieces != NULL; i++)
    out->n_pieces[i] = v.items[i].answer.n;
  for (size_t i = 0; v.texts && v.items != NULL && i < n; i++)
    nk_free((int64_t *)v.items[i].answer.ids);
  nk_free(v.items);
  nki_verify_prompts_free(prompts, v.n_prompts);
  return code;
}
