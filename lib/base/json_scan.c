/* The reader of large JSON texts. */
#include "base/json_scan.h"

#include <noken/base.h>
#include <string.h>

#include "base/json.h"
#include "base/number.h"
#include "base/utf8.h"

struct nki_scan nki_scan_begin(const char *name, const void *text, size_t n) {
  const char *begin = text, *start = begin + nki_json_mark(begin, n);
  return (struct nki_scan){.name = name, .start = start, .at = start, .end = begin + n};
}

int nki_scan_fail(const struct nki_scan *scan, const char *reason) {
  size_t line = 1;
  const char *begin = scan->start;
  for (const char *s = scan->start; s < scan->at; s++)
    if (*s == '\n') {
      line++;
      begin = s + 1;
    }
  return nk_fail(NK_EDATA, "%s: line %zu, column %zu: %s", scan->name, line,
                 (size_t)(scan->at - begin) + 1, reason);
}

int nki_scan_peek(struct nki_scan *scan) {
  while (scan->at < scan->end &&
         (*scan->at == ' ' || *scan->at == '\n' || *scan->at == '\t' || *scan->at == '\r'))
    scan->at++;
  return scan->at < scan->end ? (unsigned char)*scan->at : 0;
}

int nki_scan_expect(struct nki_scan *scan, char c) {
  if (nki_scan_peek(scan) != (unsigned char)c) {
    char reason[] = "'?' expected";
    reason[1] = c;
    return nki_scan_fail(scan, reason);
  }
  scan->at++;
  return NK_OK;
}

int nki_scan_next(struct nki_scan *scan, char close, bool *first) {
  int c = nki_scan_peek(scan);
  if (c == close) {
    scan->at++;
    return 0;
  }
  if (!*first) {
    int code = nki_scan_expect(scan, ',');
    if (code != NK_OK) return code;
    if (nki_scan_peek(scan) == close) return nki_scan_fail(scan, "a value expected after ','");
  }
  *first = false;
  return 1;
}

/* ---- Strings ---- */

/* Four hexadecimal digits at s; -1 when they are not. */
static int32_t hex4(const char *s, const char *end) {
  if (end - s < 4) return -1;
  int32_t value = 0;
  for (int i = 0; i < 4; i++) {
    int c = s[i] | 0x20;
    int digit = s[i] >= '0' && s[i] <= '9' ? s[i] - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) return -1;
    value = value << 4 | digit;
  }
  return value;
}

/* One escape, scan->at after the backslash. */
static int escape(struct nki_scan *scan, struct nk_buffer *out) {
  static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
  if (scan->at == scan->end) return nki_scan_fail(scan, "a string without its end");
  const char *found = *scan->at != 0 ? strchr(from, *scan->at) : NULL;
  if (found != NULL) {
    if (out != NULL) nk_buffer_byte(out, to[found - from]);
    scan->at++;
    return NK_OK;
  }
  if (*scan->at != 'u') return nki_scan_fail(scan, "an unknown escape");
  int32_t code = hex4(scan->at + 1, scan->end);
  if (code < 0) return nki_scan_fail(scan, "\\u needs four hexadecimal digits");
  size_t taken = 5;
  if (code >= 0xD800 && code < 0xE000) { /* a pair of surrogates is one code point */
    int32_t low =
        code < 0xDC00 && scan->end - scan->at >= 11 && scan->at[5] == '\\' && scan->at[6] == 'u'
            ? hex4(scan->at + 7, scan->end)
            : -1;
    if (low < 0xDC00 || low >= 0xE000) return nki_scan_fail(scan, "a lone surrogate");
    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    taken = 11;
  }
  char bytes[4];
  size_t n = nki_utf8_encode((uint32_t)code, bytes);
  if (out != NULL) nk_buffer_append(out, bytes, n);
  scan->at += taken;
  return NK_OK;
}

int nki_scan_string(struct nki_scan *scan, struct nk_buffer *out) {
  int code = nki_scan_expect(scan, '"');
  if (code != NK_OK) return code;
  for (;;) {
    const char *run = scan->at;
    unsigned char high = 0;
    while (scan->at < scan->end && *scan->at != '"' && *scan->at != '\\' &&
           (unsigned char)*scan->at >= 0x20)
      high |= (unsigned char)*scan->at++;
    size_t n = (size_t)(scan->at - run);
    if ((high & 0x80) != 0) {
      size_t bad = nki_utf8_first_invalid(run, n);
      if (bad < n) {
        scan->at = run + bad;
        return nki_scan_fail(scan, "not valid UTF-8");
      }
    }
    if (out != NULL && n != 0) nk_buffer_append(out, run, n);
    if (scan->at == scan->end) return nki_scan_fail(scan, "a string without its end");
    if (*scan->at == '"') break;
    if (*scan->at != '\\') return nki_scan_fail(scan, "a control byte in a string");
    scan->at++;
    if ((code = escape(scan, out)) != NK_OK) return code;
  }
  scan->at++;
  return NK_OK;
}

/* ---- Numbers and whole values ---- */

int nki_scan_integer(struct nki_scan *scan, int64_t *value) {
  bool negative = nki_scan_peek(scan) == '-';
  const char *s = scan->at + negative;
  int64_t sum = 0;
  int digits = 0;
  for (; s < scan->end && *s >= '0' && *s <= '9'; s++, digits++) {
    if (digits == 18) return nki_scan_fail(scan, "a number too large");
    sum = sum * 10 + (*s - '0');
  }
  if (digits == 0 || (s < scan->end && (*s == '.' || *s == 'e' || *s == 'E')))
    return nki_scan_fail(scan, "a whole number expected");
  *value = negative ? -sum : sum;
  scan->at = s;
  return NK_OK;
}

int nki_scan_number(struct nki_scan *scan, double *value) {
  size_t n = 0;
  nki_scan_peek(scan);
  while (scan->at + n < scan->end && strchr("+-.eE0123456789", scan->at[n]) != NULL &&
         scan->at[n] != 0)
    n++;
  if (!nki_number_of_text(scan->at, n, value)) return nki_scan_fail(scan, "a number expected");
  scan->at += n;
  return NK_OK;
}

int nki_scan_word(struct nki_scan *scan, const char *word) {
  size_t n = strlen(word);
  nki_scan_peek(scan);
  if ((size_t)(scan->end - scan->at) < n || memcmp(scan->at, word, n) != 0)
    return nki_scan_fail(scan, "a value expected");
  scan->at += n;
  return NK_OK;
}

int nki_scan_skip(struct nki_scan *scan) {
  size_t depth = 0;
  do {
    int c = nki_scan_peek(scan), code = 0;
    if (c == 0) return nki_scan_fail(scan, "the file ends early");
    if (c == '"') {
      if ((code = nki_scan_string(scan, NULL)) != NK_OK) return code;
    } else if (c == '{' || c == '[') {
      depth++;
      scan->at++;
    } else if (c == '}' || c == ']') {
      if (depth == 0) return nki_scan_fail(scan, "a value expected");
      depth--;
      scan->at++;
    } else if (c == ',' || c == ':') {
      if (depth == 0) return nki_scan_fail(scan, "a value expected");
      scan->at++;
      continue; /* no value yet */
    } else {    /* a number or a word */
      const char *s = scan->at;
      while (s < scan->end && strchr(",:]}\" \t\r\n[{", *s) == NULL) s++;
      if (s == scan->at) return nki_scan_fail(scan, "a value expected");
      scan->at = s;
    }
  } while (depth > 0);
  return NK_OK;
}
