/* Which of llama.cpp's names of pre-tokenizers is a tokenizer's: the one with its patterns. */
#include <noken/base.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "text/byte_level.h"
#include "text/chars.h"
#include "text/gguf_tokenizer.h"
#include "text/patterns.h"

int nki_gguf_refuse(const struct nk_tokenizer *tokenizer, const char *what, const char *name) {
  return nk_fail(NK_EUNSUPPORTED, "%s: %s%s is not written as GGUF", tokenizer->spec->name, what,
                 name);
}

/* A pattern with the characters that its escapes stand for: files write them in both ways. */
static void spell_out(const char *pattern, struct nk_buffer *out) {
  nk_buffer_clear(out);
  for (const char *at = pattern; *at != 0;) {
    char *end = NULL;
    unsigned long code = strncmp(at, "\\x{", 3) == 0 ? strtoul(at + 3, &end, 16) : 0;
    if (at[0] == '\\' && (at[1] == 'r' || at[1] == 'n' || at[1] == 't')) {
      nk_buffer_byte(out, at[1] == 'r' ? '\r' : at[1] == 'n' ? '\n' : '\t');
      at += 2;
    } else if (end != NULL && *end == '}' && code <= 0x10FFFF) {
      char utf8[4];
      nk_buffer_append(out, utf8, nki_utf8_encode((uint32_t)code, utf8));
      at = end + 1;
    } else {
      if (at[0] == '\\' && at[1] != 0) nk_buffer_byte(out, *at++);
      nk_buffer_byte(out, *at++);
    }
  }
  nk_buffer_byte(out, 0);
}

/* Whether a Split's matches are the pieces: Isolated; or, of a pattern whose matches are all of a
 * text, what is between them Removed. */
static bool keeps_matches(const json_t *step, const char *regex) {
  static const char others[] = " ?[^\\s\\p{L}\\p{N}]+", spaces[] = "|\\s+(?!\\S)|\\s+";
  const char *behavior = json_string_value(json_object_get(step, "behavior"));
  bool inverted = json_is_true(json_object_get(step, "invert"));
  size_t n = strlen(regex);
  if (behavior == NULL) return false;
  if (strcmp(behavior, "Isolated") == 0) return !inverted;
  return strcmp(behavior, "Removed") == 0 && inverted && strstr(regex, others) != NULL &&
         strstr(regex, "|\\p{N}") != NULL && n > sizeof spaces &&
         strcmp(regex + n - (sizeof spaces - 1), spaces) == 0;
}

/* The pattern that a step cuts by; NULL for one that cuts in another way, "" for one that does not
 * cut. */
static const char *pattern_of(const json_t *step) {
  const char *type = nki_spec_type(step);
  const char *regex = json_string_value(json_object_get(json_object_get(step, "pattern"), "Regex"));
  if (strcmp(type, "Split") == 0 && regex != NULL && keeps_matches(step, regex)) return regex;
  if (strcmp(type, "ByteLevel") == 0 && json_is_false(json_object_get(step, "add_prefix_space")))
    return json_is_false(json_object_get(step, "use_regex")) ? "" : NKI_PATTERN_GPT2;
  const char *behavior = json_string_value(json_object_get(step, "behavior"));
  if (strcmp(type, "Punctuation") == 0 && behavior != NULL && strcmp(behavior, "Contiguous") == 0)
    return NKI_PATTERN_PUNCTUATION;
  if (strcmp(type, "Digits") == 0)
    return json_is_true(json_object_get(step, "individual_digits")) ? "\\p{N}" : "\\p{N}+";
  return NULL;
}

/* *same = whether these patterns, spelled out, are those of a name. NK_OK or NK_EMEMORY. */
static int compare_patterns(const char *const *patterns, size_t n, const struct nki_gguf_pre *pre,
                            bool *same) {
  struct nk_buffer ours = {0}, theirs = {0};
  bool failed = false;
  *same = n == NKI_PRE_MAX_PATTERNS || pre->patterns[n] == NULL;
  for (size_t i = 0; i < n && *same && !failed; i++) {
    *same = pre->patterns[i] != NULL;
    if (!*same) break;
    spell_out(patterns[i], &ours);
    spell_out(pre->patterns[i], &theirs);
    failed = ours.failed || theirs.failed;
    *same = !failed && strcmp(ours.data, theirs.data) == 0;
  }
  nk_buffer_free(&ours);
  nk_buffer_free(&theirs);
  return failed ? nk_fail(NK_EMEMORY, "no memory for a pattern") : NK_OK;
}

/* Whether the merges give each token out of its own text: then it makes no difference whether a
 * piece that is a token is taken as it is. */
static int merges_suffice(const struct nk_tokenizer *t, bool *suffice) {
  const struct nki_pieces *pieces = &t->spec->pieces;
  struct nki_bpe_work work = {0};
  struct nki_ids ids = {0};
  json_object_set_new(json_object_get(t->spec->config, "model"), "ignore_merges", json_false());
  struct nki_bpe *bpe = nki_bpe_new(t->spec);
  int code = bpe != NULL ? NK_OK : nk_error_code();
  *suffice = true;
  for (size_t id = 0; id < pieces->n && code == NK_OK && *suffice; id++) {
    if (!pieces->piece[id].present || pieces->piece[id].hidden ||
        nki_vocabulary_is_added(t->vocabulary, id))
      continue;
    ids.n = 0;
    code = nki_bpe_encode(bpe, &work, nki_pieces_bytes(pieces, id), pieces->piece[id].length, &ids);
    *suffice = ids.n == 1 && ids.id[0] == (int64_t)id;
  }
  nki_bpe_work_free(&work);
  nki_bpe_free(bpe);
  nk_free(ids.id);
  return code;
}

/* The first name of these patterns that also takes or ignores merges as the tokenizer does, else
 * the first, where that makes no difference. (gpt-oss ignores them, and so has the name of a
 * tokenizer for which llama.cpp, unlike for gpt-4o, keeps marks with their letters.) */
static int choose_pre(const struct nk_tokenizer *t, const char *const *patterns, size_t n, bool nfc,
                      const struct nki_gguf_pre **chosen) {
  const json_t *model = json_object_get(t->spec->config, "model");
  bool ignores = json_is_true(json_object_get(model, "ignore_merges")), suffice = false;
  size_t n_pres;
  const struct nki_gguf_pre *pres = nki_gguf_pres(&n_pres), *first = NULL;
  for (size_t i = 0; i < n_pres; i++) {
    bool same;
    *chosen = &pres[i];
    if (pres[i].raw || pres[i].is_default || pres[i].nfc != nfc) continue;
    int code = compare_patterns(patterns, n, &pres[i], &same);
    if (code != NK_OK) return code;
    if (!same) continue;
    if (pres[i].ignore_merges == ignores) return NK_OK;
    if (first == NULL) first = &pres[i];
  }
  if (first == NULL)
    return nki_gguf_refuse(t, "a pre-tokenizer whose patterns have no name in llama.cpp",
                           nfc ? " beside the normalizer NFC" : "");
  *chosen = first;
  int code = merges_suffice(t, &suffice);
  if (code != NK_OK) return code;
  return suffice ? NK_OK : nki_gguf_refuse(t, "ignore_merges beside the patterns of ", first->name);
}

/* Whether a token's string in the byte-level alphabet has numbers beside other characters. Where
 * none has, it makes no difference that Falcon's tokenizer also cuts numbers, in this alphabet, off
 * what is beside them, and llama.cpp does not. */
static bool joins_numbers(const struct nk_tokenizer *t) {
  bool joins = false;
  struct nk_buffer text = {0};
  for (size_t id = 0; id < t->spec->pieces.n && !joins; id++) {
    const struct nki_piece *piece = &t->spec->pieces.piece[id];
    size_t n_numbers = 0, n = 0;
    if (!piece->present || nki_vocabulary_is_added(t->vocabulary, id)) continue;
    nk_buffer_clear(&text);
    const char *bytes = nki_pieces_bytes(&t->spec->pieces, id);
    if (t->spec->byte_level)
      nki_byte_level_encode(bytes, piece->length, &text);
    else
      nk_buffer_append(&text, bytes, piece->length);
    for (size_t at = 0, width; at < text.size && !text.failed; at += width, n++)
      n_numbers += nki_is_number(nki_utf8_decode(text.data + at, &width));
    joins = text.failed || (n_numbers > 0 && n_numbers < n);
  }
  nk_buffer_free(&text);
  return joins;
}

int nki_gguf_pre_choose(const struct nk_tokenizer *t, const struct nki_gguf_pre **pre) {
  json_t *steps = json_object_get(t->spec->config, "pre_tokenizer");
  json_t *normalizer = json_object_get(t->spec->config, "normalizer");
  const char *patterns[NKI_PRE_MAX_PATTERNS];
  size_t n = 0;
  bool nfc = false;
  for (size_t i = 0; i < nki_spec_steps(normalizer); i++) {
    const char *type = nki_spec_type(nki_spec_step(normalizer, i));
    if (strcmp(type, "NFC") != 0) return nki_gguf_refuse(t, "normalizer ", type);
    nfc = true;
  }
  for (size_t i = 0; i < nki_spec_steps(steps); i++) {
    const json_t *step = nki_spec_step(steps, i);
    const char *pattern = pattern_of(step);
    if (pattern == NULL || n == NKI_PRE_MAX_PATTERNS)
      return nki_gguf_refuse(t, "pre-tokenizer ", nki_spec_type(step));
    bool is_idle = n > 0 && strcmp(patterns[n - 1], NKI_PATTERN_GPT2) == 0 &&
                   strcmp(pattern, "\\p{N}+") == 0 && !joins_numbers(t);
    if (*pattern != 0 && !is_idle) patterns[n++] = pattern;
  }
  return choose_pre(t, patterns, n, nfc, pre);
}
