/* The two models: of one shape and one tokenizer, so that a token, a noken and a prompt are the
 * same for both. */
#include <string.h>

#include "compare/compare.h"

static int differ(const struct compare_job *job, const char *what, size_t before, size_t after) {
  return nk_fail(NK_EDATA,
                 "%s has %zu %s, %s has %zu: compare a model with a changed copy of it, of the "
                 "same shape",
                 nk_model_name(job->model[COMPARE_BEFORE]), before, what,
                 nk_model_name(job->model[COMPARE_AFTER]), after);
}

static int check_shapes(struct compare_job *job) {
  const struct nk_forward_shape *shape[COMPARE_SIDES];
  for (int side = 0; side < COMPARE_SIDES; side++) {
    shape[side] = nk_forward_shape(nk_model_forward(job->model[side]));
    if (shape[side] == NULL) return nk_fail_in(nk_error_code(), "%s", job->run->operands[side]);
  }
  const struct {
    const char *name;
    size_t before, after;
  } parts[] = {{"blocks", shape[0]->n_layers, shape[1]->n_layers},
               {"dimensions", shape[0]->dim, shape[1]->dim},
               {"tokens", shape[0]->n_vocabulary, shape[1]->n_vocabulary},
               {"heads", shape[0]->n_heads, shape[1]->n_heads},
               {"heads of keys", shape[0]->n_kv_heads, shape[1]->n_kv_heads},
               {"MLP dimensions", shape[0]->mlp_dim, shape[1]->mlp_dim}};
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
    if (parts[i].before != parts[i].after)
      return differ(job, parts[i].name, parts[i].before, parts[i].after);
  job->shape = shape[COMPARE_BEFORE];
  return NK_OK;
}

/* Names the bytes that both have for a token. */
static int differ_in_token(const struct compare_job *job, size_t id,
                           const char *const bytes[COMPARE_SIDES], const size_t n[COMPARE_SIDES]) {
  struct nk_buffer text[COMPARE_SIDES] = {{0}, {0}};
  for (int side = 0; side < COMPARE_SIDES; side++) {
    nk_escape(&text[side], bytes[side] != NULL ? bytes[side] : "", n[side]);
    nk_buffer_byte(&text[side], 0);
  }
  bool failed = text[0].failed || text[1].failed;
  int code = nk_fail(failed ? NK_EMEMORY : NK_EDATA,
                     "the tokenizers differ: token %zu is '%s' in %s and '%s' in %s", id,
                     failed ? "" : text[0].data, nk_model_name(job->model[COMPARE_BEFORE]),
                     failed ? "" : text[1].data, nk_model_name(job->model[COMPARE_AFTER]));
  for (int side = 0; side < COMPARE_SIDES; side++) nk_buffer_free(&text[side]);
  return code;
}

static int check_tokenizers(struct compare_job *job) {
  const struct nk_tokenizer *tokenizer[COMPARE_SIDES];
  for (int side = 0; side < COMPARE_SIDES; side++) {
    tokenizer[side] = nk_model_tokenizer(job->model[side]);
    if (tokenizer[side] == NULL) return nk_fail_in(nk_error_code(), "%s", job->run->operands[side]);
  }
  size_t n_before = nk_tokenizer_n_tokens(tokenizer[COMPARE_BEFORE]);
  size_t n_after = nk_tokenizer_n_tokens(tokenizer[COMPARE_AFTER]);
  if (n_before != n_after) return differ(job, "tokens in its tokenizer", n_before, n_after);
  for (size_t id = 0; id < n_before; id++) {
    const char *bytes[COMPARE_SIDES];
    size_t n[COMPARE_SIDES] = {0, 0};
    for (int side = 0; side < COMPARE_SIDES; side++)
      bytes[side] = nk_tokenizer_bytes(tokenizer[side], id, &n[side]);
    bool same = (bytes[0] == NULL) == (bytes[1] == NULL) &&
                (bytes[0] == NULL || (n[0] == n[1] && memcmp(bytes[0], bytes[1], n[0]) == 0));
    if (!same) return differ_in_token(job, id, bytes, n);
  }
  job->tokenizer = tokenizer[COMPARE_BEFORE];
  return NK_OK;
}

int compare_open_models(struct compare_job *job) {
  for (int side = 0; side < COMPARE_SIDES; side++) {
    job->model[side] = nk_model_open(job->run->operands[side]);
    if (job->model[side] == NULL) return nk_error_code();
  }
  int code = check_shapes(job);
  return code == NK_OK ? check_tokenizers(job) : code;
}
