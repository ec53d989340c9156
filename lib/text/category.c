/* The category of each token: does some text give it? */
#include <noken/base.h>
#include <omp.h>
#include <string.h>

#include <noken/tokenizer.h>
#include "base/utf8.h"
#include "text/tokenizer.h"

const char *const nk_category_names[NK_N_CATEGORIES] = {
    "ok", "byte", "partial_utf8", "special", "unreachable", "unused_byte", "padding"};

/* What stands before and after a token's text when it is encoded. Many tokenizers put a space
 * before a text: then a token that continues a word is given only after other text. Some end a
 * piece only before certain text: then a token of spaces, or of a word's beginning, is given only
 * there. */
static const char *const before[] = {"",  "a",  "\n",           "A", "0", "!",
                                     " ", "  ", "\xE4\xB8\xAD", "'", "(", "_"};
static const char *const after[] = {
    " ",  "a",  "A",  "0", "!",        "\n",       "\xE4\xB8\xAD", "'",
    "'s", "\t", "\r", "/", "\xC2\xA0", "\xCC\x81", "\xE2\x96\x81"};
enum { N_BEFORE = sizeof before / sizeof *before, N_AFTER = sizeof after / sizeof *after };

/* One thread's work. */
struct trial {
  const struct nk_tokenizer *tokenizer;
  struct nki_encoder *encoder;
  struct nki_ids ids;
  struct nk_buffer text;
};

static int trial_begin(struct trial *trial, const struct nk_tokenizer *tokenizer) {
  memset(trial, 0, sizeof *trial);
  trial->tokenizer = tokenizer;
  trial->encoder = nki_encoder_borrow(tokenizer);
  return trial->encoder != NULL ? NK_OK : NK_EMEMORY;
}

static void trial_end(struct trial *trial) {
  nki_encoder_return(trial->tokenizer, trial->encoder);
  nk_free(trial->ids.id);
  nk_buffer_free(&trial->text);
}

/* Whether bytes[0..n), valid UTF-8, between these texts gives the token. */
static int gives(struct trial *trial, int64_t id, const char *left, const char *bytes, size_t n,
                 const char *right, bool *out) {
  nk_buffer_clear(&trial->text);
  nk_buffer_text(&trial->text, left);
  nk_buffer_append(&trial->text, bytes, n);
  nk_buffer_text(&trial->text, right);
  if (trial->text.failed) return nk_fail(NK_EMEMORY, "out of memory for a token's text");
  trial->ids.n = 0;
  int code = nki_encode(trial->tokenizer, trial->encoder, trial->text.data, trial->text.size, 0,
                        &trial->ids);
  *out = false;
  for (size_t i = 0; code == NK_OK && i < trial->ids.n && !*out; i++) *out = trial->ids.id[i] == id;
  return code;
}

/* Whether the text gives the token in one of the contexts: after each text, and between the first
 * few and each text. */
static int reaches(struct trial *trial, int64_t id, const char *bytes, size_t n, bool *out) {
  enum { N_FIRST = 3 };
  int code = NK_OK;
  *out = false;
  for (size_t i = 0; i < N_BEFORE && !*out && code == NK_OK; i++)
    code = gives(trial, id, before[i], bytes, n, "", out);
  for (size_t i = 0; i < N_FIRST && !*out && code == NK_OK; i++)
    for (size_t j = 0; j < N_AFTER && !*out && code == NK_OK; j++)
      code = gives(trial, id, before[i], bytes, n, after[j], out);
  return code;
}

static int categorize(struct trial *trial, size_t id, enum nk_category *category) {
  const struct nki_vocabulary *vocabulary = trial->tokenizer->vocabulary;
  size_t n = 0;
  bool reached;
  const char *bytes = nki_vocabulary_bytes(vocabulary, id, &n);
  *category = NK_TOKEN_PADDING;
  if (bytes == NULL) return NK_OK;
  *category = NK_TOKEN_SPECIAL;
  if (nki_vocabulary_is_special(vocabulary, id)) return NK_OK;
  unsigned char first = n != 0 ? (unsigned char)bytes[0] : 0;
  if (n == 1 && first >= 0x80) {
    bool unused = first == 0xC0 || first == 0xC1 || first >= 0xF5;
    *category = unused ? NK_TOKEN_UNUSED_BYTE : NK_TOKEN_BYTE;
    return NK_OK;
  }
  *category = NK_TOKEN_PARTIAL_UTF8;
  if (nki_utf8_first_invalid(bytes, n) < n) return NK_OK;
  if (trial->tokenizer->wordpiece != NULL)
    nki_wordpiece_within(trial->tokenizer->wordpiece, &bytes, &n);
  int code = reaches(trial, (int64_t)id, bytes, n, &reached);
  if (code == NK_OK && !reached && nki_vocabulary_is_added(vocabulary, id)) {
    bytes = nki_vocabulary_written(vocabulary, id, &n);
    code = reaches(trial, (int64_t)id, bytes, n, &reached);
  }
  *category = !reached ? NK_TOKEN_UNREACHABLE : n == 1 ? NK_TOKEN_BYTE : NK_TOKEN_OK;
  return code;
}

/* The categories of ids [begin, end) by all threads, one trial each. */
static int categorize_block(struct trial *trials, size_t n_trials, size_t begin, size_t end,
                            enum nk_category *category) {
  int code = NK_OK;
  char message[256] = ""; /* nk_error() belongs to the thread that failed */
#pragma omp parallel for schedule(dynamic, 256) num_threads((int)n_trials)
  for (size_t id = begin; id < end; id++) {
    int failed = categorize(&trials[omp_get_thread_num()], id, &category[id]);
    if (failed == NK_OK) continue;
#pragma omp critical(nki_category_failure)
    {
      code = failed;
      strncpy(message, nk_error(), sizeof message - 1);
    }
  }
  return code == NK_OK ? NK_OK : nk_fail(code, "%s", message);
}

int nk_tokenizer_categories(const struct nk_tokenizer *tokenizer, size_t n,
                            enum nk_category *category) {
  enum { BLOCK = 16384 };
  size_t n_threads = nk_threads(), n_trials = 0;
  int code = nki_tokenizer_check_encodes(tokenizer);
  if (code != NK_OK) return code;
  struct trial *trials = nk_alloc(n_threads, sizeof *trials);
  if (trials == NULL) return NK_EMEMORY;
  while (code == NK_OK && n_trials < n_threads) code = trial_begin(&trials[n_trials++], tokenizer);
  for (size_t begin = 0; begin < n && code == NK_OK; begin += BLOCK) {
    size_t end = n - begin < BLOCK ? n : begin + BLOCK;
    code = categorize_block(trials, n_trials, begin, end, category);
    if (code == NK_OK) code = nk_progress("categories of tokens", end, n);
  }
  for (size_t i = 0; i < n_trials; i++) trial_end(&trials[i]);
  nk_free(trials);
  return code;
}
