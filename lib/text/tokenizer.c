/* Opening a tokenizer; its tokens; decoding. */
#include "text/tokenizer.h"
#include "base/names.h"

#include <noken/base.h>
#include <stdlib.h>
#include <string.h>

#include <noken/tokenizer.h>
#include "base/error.h"
#include "model/model.h"
#include "text/chars.h"
#include "text/spec_file.h"

/* ---- Ranks ---- */

static int ranks_of_scores(struct nk_tokenizer *t);

/* The smallest rank of a merge that gives each token. */
static void ranks_of_merges(struct nk_tokenizer *t) {
  for (size_t i = 0; i < t->spec->n_merges; i++) {
    const struct nki_merge *merge = &t->spec->merges[i];
    int64_t *rank = &t->rank[merge->result];
    if (*rank < 0 || merge->rank < *rank) *rank = merge->rank;
  }
}

struct scored {
  double score;
  size_t id;
};

static int by_score(const void *a, const void *b) {
  const struct scored *x = a, *y = b;
  if (x->score != y->score) return x->score > y->score ? -1 : 1;
  return (x->id > y->id) - (x->id < y->id);
}

/* Unigram: the tokens' order by score. Added tokens have no rank. */
static int ranks_of_scores(struct nk_tokenizer *t) {
  const struct nki_pieces *pieces = &t->spec->pieces;
  struct scored *order = nk_alloc(pieces->n, sizeof *order);
  if (order == NULL) return NK_EMEMORY;
  size_t n = 0;
  for (size_t id = 0; id < pieces->n; id++)
    if (pieces->piece[id].present && !nki_vocabulary_is_added(t->vocabulary, id))
      order[n++] = (struct scored){pieces->score[id], id};
  if (n != 0) qsort(order, n, sizeof *order, by_score);
  for (size_t i = 0; i < n; i++) t->rank[order[i].id] = (int64_t)i;
  nk_free(order);
  return NK_OK;
}

static int build_ranks(struct nk_tokenizer *t) {
  size_t n = nki_vocabulary_n_tokens(t->vocabulary);
  t->rank = nk_alloc(n, sizeof *t->rank);
  if (t->rank == NULL) return NK_EMEMORY;
  for (size_t id = 0; id < n; id++) t->rank[id] = -1;
  if (t->unigram != NULL) return ranks_of_scores(t);
  ranks_of_merges(t);
  return NK_OK;
}

/* ---- Opening ---- */

static int build_model(struct nk_tokenizer *t) {
  const struct nki_spec *spec = t->spec;
  if (strcmp(spec->model, "BPE") == 0)
    t->bpe = nki_bpe_new(spec);
  else if (strcmp(spec->model, "Unigram") == 0)
    t->unigram = nki_unigram_new(spec);
  else if (strcmp(spec->model, "WordPiece") == 0)
    t->wordpiece = nki_wordpiece_new(spec);
  else
    return nk_fail(NK_EUNSUPPORTED, "%s: the tokenizer model '%s' is not supported", spec->name,
                   *spec->model != 0 ? spec->model : "(without a type)");
  return t->bpe != NULL || t->unigram != NULL || t->wordpiece != NULL ? NK_OK : NK_EDATA;
}

static int build_added(struct nk_tokenizer *t) {
  struct nki_encoder *encoder = nki_encoder_borrow(t);
  if (encoder == NULL) return NK_EMEMORY;
  int code = nki_added_build(&t->added, t->spec, false, t->normalizer, &encoder->normalizing,
                             encoder->match);
  if (code == NK_OK)
    code = nki_added_build(&t->added_normalized, t->spec, true, t->normalizer,
                           &encoder->normalizing, encoder->match);
  nki_encoder_return(t, encoder);
  return code;
}

/* All but the vocabulary. */
static int build(struct nk_tokenizer *t) {
  int code = build_model(t);
  if (code != NK_OK) return code;
  if ((t->pool = nki_pool_new()) == NULL || (t->normalizer = nki_normalizer_new(t->spec)) == NULL ||
      (t->pretokenizer = nki_pretokenizer_new(t->spec)) == NULL ||
      (t->decoder = nki_decoder_new(t->spec, false)) == NULL)
    return NK_EDATA;
  t->fast = nki_pretokenizer_fast(t->pretokenizer);
  code = nki_post_processor_read(t->spec, &t->before, &t->after);
  if (code == NK_OK) code = build_added(t);
  if (code == NK_OK) code = build_ranks(t);
  t->encodes = code == NK_OK;
  return code;
}

struct nk_tokenizer *nki_tokenizer_parse(const struct nk_file *file) {
  struct nk_tokenizer *t = nk_calloc(1, sizeof *t);
  if (t != NULL && (t->spec = nki_spec_parse(file)) != NULL &&
      (t->vocabulary = nki_vocabulary_new(t->spec)) != NULL && build(t) == NK_OK)
    return t;
  nk_tokenizer_free(t);
  return NULL;
}

/* The file of a model that holds the tokenizer. Of a folder also the files beside it. NULL on
 * failure. */
static const char *find_file(const char *model, struct nki_model_files *files,
                             struct nki_spec_beside *beside) {
  static const char *const names[] = {
      "tokenizer.json", "tekken.json",   "tokenizer.model",      "vocab.json",         "vocab.txt",
      "tiktoken.model", "qwen.tiktoken", "cl100k_base.tiktoken", "o200k_base.tiktoken"};
  const char *found = NULL;
  *beside = (struct nki_spec_beside){0};
  if (nki_model_files_locate(model, files) != NK_OK) return NULL;
  if (files->folder == NULL) return model;
  for (size_t i = 0; i < sizeof names / sizeof *names && found == NULL; i++)
    found = nki_model_files_path(files, names[i]);
  if (found == NULL)
    nk_fail(NK_ENOTFOUND,
            "%s: no tokenizer.json, tekken.json, tokenizer.model, vocab.json with merges.txt, "
            "vocab.txt or "
            "tiktoken file in this folder (transformers' save_pretrained writes tokenizer.json)",
            files->folder);
  beside->config = nki_model_files_path(files, "tokenizer_config.json");
  beside->special_map = nki_model_files_path(files, "special_tokens_map.json");
  return found;
}

static struct nk_tokenizer *open_model(const char *model, bool vocabulary_only) {
  struct nk_tokenizer *t = NULL;
  int code = NK_EMEMORY;
  struct nki_model_files files = {0};
  struct nki_spec_beside beside;
  nki_chars_begin();
  const char *path = find_file(model, &files, &beside);
  if (path == NULL) goto done;
  if (nki_ends_with(path, ".safetensors")) {
    code =
        nk_fail(NK_EUSAGE,
                "%s: a file of weights, which holds no tokenizer: name the model's folder", path);
    goto done;
  }
  t = nk_calloc(1, sizeof *t);
  if (t == NULL || (t->spec = nki_spec_open(path, vocabulary_only)) == NULL ||
      (t->vocabulary = nki_vocabulary_new(t->spec)) == NULL)
    goto done;
  code = vocabulary_only ? NK_OK : nki_spec_apply_config(t->spec, &beside);
  if (code == NK_OK && !vocabulary_only) code = build(t);
done:
  nki_model_files_free(&files);
  if (code == NK_OK) return t;
  nk_tokenizer_free(t);
  return NULL;
}

struct nk_tokenizer *nk_tokenizer_open(const char *model) {
  return open_model(model, false);
}

struct nk_tokenizer *nk_tokenizer_open_vocabulary(const char *model) {
  return open_model(model, true);
}

void nk_tokenizer_free(struct nk_tokenizer *t) {
  if (t == NULL) return;
  nki_pool_free(t->pool);
  nki_added_free(&t->added);
  nki_added_free(&t->added_normalized);
  nki_decoder_free(t->decoder);
  nki_pretokenizer_free(t->pretokenizer);
  nki_normalizer_free(t->normalizer);
  nki_bpe_free(t->bpe);
  nki_unigram_free(t->unigram);
  nki_wordpiece_free(t->wordpiece);
  nki_vocabulary_free(t->vocabulary);
  nki_spec_free(t->spec);
  nk_free(t->before.id);
  nk_free(t->after.id);
  nk_free(t->rank);
  nk_free(t);
}

/* ---- Tokens ---- */

size_t nk_tokenizer_n_tokens(const struct nk_tokenizer *tokenizer) {
  return tokenizer == NULL ? 0 : nki_vocabulary_n_tokens(tokenizer->vocabulary);
}

const char *nk_tokenizer_bytes(const struct nk_tokenizer *tokenizer, size_t id, size_t *n_bytes) {
  return tokenizer == NULL ? NULL : nki_vocabulary_bytes(tokenizer->vocabulary, id, n_bytes);
}

int nki_tokenizer_check_encodes(const struct nk_tokenizer *tokenizer) {
  if (tokenizer == NULL) return nki_fail_null();
  if (tokenizer->encodes) return NK_OK;
  return nk_fail(NK_EUSAGE, "%s: opened for its vocabulary only", tokenizer->spec->name);
}

int64_t nki_tokenizer_merge_rank(const struct nk_tokenizer *tokenizer, size_t id) {
  bool known = tokenizer != NULL && tokenizer->encodes && id < nk_tokenizer_n_tokens(tokenizer);
  return known ? tokenizer->rank[id] : -1;
}

const char *nk_tokenizer_around(const struct nk_tokenizer *tokenizer) {
  if (tokenizer == NULL || !tokenizer->encodes) return NULL;
  if (tokenizer->spec->around != NULL) return tokenizer->spec->around;
  return json_is_object(json_object_get(tokenizer->spec->config, "post_processor"))
             ? "the tokenizer's own post-processor"
             : "the tokenizer has no post-processor";
}

int64_t nk_tokenizer_id(const struct nk_tokenizer *tokenizer, const char *bytes, size_t n) {
  if (tokenizer == NULL) return nki_fail_null();
  const struct nki_spec *spec = tokenizer->spec;
  for (size_t i = 0; i < spec->n_added; i++)
    if (spec->added[i].length == n &&
        memcmp(spec->added_bytes.data + spec->added[i].offset, bytes, n) == 0)
      return (int64_t)spec->added[i].id;
  /* The vocabulary's own string first: "a" is the token "a", not the byte token <0x61>. */
  int64_t id = nki_pieces_find(&spec->pieces, bytes, n);
  size_t size = nk_tokenizer_n_tokens(tokenizer), length;
  for (size_t i = 0; i < size && id < 0; i++) {
    const char *token = nk_tokenizer_bytes(tokenizer, i, &length);
    if (token != NULL && length == n && memcmp(token, bytes, n) == 0) id = (int64_t)i;
  }
  return id >= 0 ? id : nk_fail(NK_ENOTFOUND, "%s: no token '%.*s'", spec->name, (int)n, bytes);
}

/* ---- Decoding ---- */

/* Appends the token's string as it is in the model or the added tokens. */
static int append_token(const struct nk_tokenizer *t, int64_t id, struct nk_buffer *out) {
  size_t n = 0;
  const char *bytes = id >= 0 ? nki_vocabulary_written(t->vocabulary, (size_t)id, &n) : NULL;
  if (bytes == NULL)
    return nk_fail(NK_EDATA, "%s: no token has the id %lld", t->spec->name, (long long)id);
  nk_buffer_append(out, bytes, n);
  return NK_OK;
}

int nk_tokenizer_decode(const struct nk_tokenizer *tokenizer, const int64_t *ids, size_t n,
                        int flags, struct nk_buffer *out) {
  int code = nki_tokenizer_check_encodes(tokenizer);
  if (code != NK_OK) return code;
  struct nki_strings strings = {.ends = nk_alloc(n, sizeof *strings.ends)};
  if (strings.ends == NULL) code = NK_EMEMORY;
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    if ((flags & NK_DECODE_SKIP_SPECIAL) != 0 && ids[i] >= 0 &&
        nki_vocabulary_is_special(tokenizer->vocabulary, (size_t)ids[i]))
      continue;
    code = append_token(tokenizer, ids[i], &strings.bytes);
    strings.ends[strings.n++] = strings.bytes.size;
  }
  if (code == NK_OK) code = nki_decoder_run(tokenizer->decoder, &strings, out);
  nk_buffer_free(&strings.bytes);
  nk_free(strings.ends);
  return code;
}

static void free_part(void *tokenizer) {
  nk_tokenizer_free(tokenizer);
}

const struct nk_tokenizer *nk_model_tokenizer(struct nk_model *model) {
  if (model == NULL) return NULL;
  struct nki_model_slot *slot = &model->parts[NKI_MODEL_TOKENIZER];
  if (slot->object == NULL)
    *slot = (struct nki_model_slot){nk_tokenizer_open(model->source), free_part};
  return slot->object;
}
