/* Regular expressions of what is unwanted in a text. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <noken/base.h>
#include <noken/probe.h>
#include <pcre2.h>
#include <string.h>

enum { MATCH_LIMIT = 1000000 }; /* steps of one match: bounds its time */

struct flag {
  char *name;
  pcre2_code *code;
};

struct nk_flags {
  struct flag *item;
  size_t n;
  pcre2_match_context *context;
};

static int add_flag(struct nk_flags *flags, const char *name, const char *pattern, size_t n) {
  struct flag flag = {.name = nk_strdup(name)};
  int number;
  PCRE2_SIZE at;
  if (flag.name == NULL) return NK_EMEMORY;
  if (*name == 0) {
    nk_free(flag.name);
    return nk_fail(NK_EDATA, "the flag with the pattern '%s' has an empty name", pattern);
  }
  /* A generation may end within a character: the text before it is matched. */
  flag.code = pcre2_compile((PCRE2_SPTR)pattern, n, PCRE2_UTF | PCRE2_MATCH_INVALID_UTF, &number,
                            &at, NULL);
  if (flag.code == NULL) {
    PCRE2_UCHAR message[160];
    pcre2_get_error_message(number, message, sizeof message);
    nk_free(flag.name);
    return nk_fail(NK_EDATA, "flag '%s': %s at character %zu of its pattern", name,
                   (const char *)message, (size_t)at);
  }
  pcre2_jit_compile(flag.code, PCRE2_JIT_COMPLETE); /* faster where it is supported */
  struct flag *longer = nk_realloc(flags->item, flags->n, flags->n + 1, sizeof *longer);
  if (longer == NULL) {
    pcre2_code_free(flag.code);
    nk_free(flag.name);
    return NK_EMEMORY;
  }
  flags->item = longer;
  flags->item[flags->n++] = flag;
  return NK_OK;
}

struct nk_flags *nk_flags_new(const char *const *names, const char *const *patterns, size_t n) {
  struct nk_flags *flags = nk_calloc(1, sizeof *flags);
  if (flags == NULL) return NULL;
  int code = NK_OK;
  flags->context = pcre2_match_context_create(NULL);
  if (flags->context == NULL) code = nk_fail(NK_EMEMORY, "no memory for patterns");
  if (code == NK_OK) pcre2_set_match_limit(flags->context, MATCH_LIMIT);
  for (size_t i = 0; i < n && code == NK_OK; i++)
    code = add_flag(flags, names[i], patterns[i], strlen(patterns[i]));
  if (code == NK_OK) return flags;
  nk_flags_free(flags);
  return NULL;
}

void nk_flags_free(struct nk_flags *flags) {
  if (flags == NULL) return;
  for (size_t i = 0; i < flags->n; i++) {
    nk_free(flags->item[i].name);
    pcre2_code_free(flags->item[i].code);
  }
  pcre2_match_context_free(flags->context);
  nk_free(flags->item);
  nk_free(flags);
}

int nk_flags_match(const struct nk_flags *flags, const char *text, size_t n,
                   struct nk_buffer *out) {
  size_t before = out->size;
  for (size_t i = 0; i < flags->n; i++) {
    pcre2_match_data *match = pcre2_match_data_create_from_pattern(flags->item[i].code, NULL);
    if (match == NULL) return nk_fail(NK_EMEMORY, "no memory for a match");
    int found = pcre2_match(flags->item[i].code, (PCRE2_SPTR)text, n, 0, 0, match, flags->context);
    pcre2_match_data_free(match);
    if (found == PCRE2_ERROR_NOMATCH) continue;
    if (found < 0) {
      PCRE2_UCHAR message[160];
      pcre2_get_error_message(found, message, sizeof message);
      return nk_fail(NK_EDATA, "flag '%s': %s", flags->item[i].name, (const char *)message);
    }
    if (out->size > before) nk_buffer_byte(out, ',');
    nk_buffer_text(out, flags->item[i].name);
  }
  return out->failed ? nk_fail(NK_EMEMORY, "no memory for flags") : 0;
}
